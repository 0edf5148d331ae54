"""Measure and write the cards of the models that ship, and the page that holds them.

`python -m tools.cards emodb/ nemo/ ravdess/ savee/ tess/ --sounds other_sounds/` asks each model for the
corpora that did not train it, and for sounds without speech; what models made alike answer for held-out clips
is in docs/life.csv. Writes NAME.card.json beside each model, and the models' README.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from serq_mcu.base import resources
from serq_mcu.base.files import write_file
from serq_mcu.base.resources import BEST
from serq_mcu.corpus.loaders import Corpus, load_corpus
from serq_mcu.evaluation.clips import evaluate
from serq_mcu.evaluation.sessions import evaluate_alone, evaluate_sounds, without_speech
from serq_mcu.extraction.recordings import read_recordings
from serq_mcu.quantized_model.card import SUFFIX, Card, Elsewhere, FalseAnswers, Figure, TrainedOn, read_card
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.card import card_markdown
from tools import life
from tools.rows import read_rows

LANGUAGES = {
    "emodb": "German",
    "nemo": "Polish",
    "ravdess": "North American English",
    "savee": "British English",
    "tess": "Canadian English",
}
EMODB = "freely available for research"
NON_COMMERCIAL = "CC BY-NC-SA 4.0: not for commercial use"
LICENCES = {"emodb": EMODB, "nemo": "CC BY-NC-SA 4.0", "ravdess": "CC BY-NC-SA 4.0"}
MULTI = Path(__file__).parents[1] / "models"
THIRTY_ONE = "31 actors (ten German, nine Polish, twelve North American)"
PAGE = resources.MODELS / "README.md"


@dataclass(frozen=True)
class Shipped:
    """A model that ships: its file, the preset that made it, and what people should know of it."""

    path: Path
    preset: str
    title: str
    voices: str
    licence: str


MODELS = (
    Shipped(resources.MODELS / "emodb.serq", "best", "The default", "ten German actors", EMODB),
    Shipped(resources.MODELS / "emodb-light.serq", "light", "Fewer cycles", "ten German actors", EMODB),
    Shipped(resources.MODELS / "emodb-small.serq", "tiny", "Weights in 3 KB", "ten German actors", EMODB),
    Shipped(MULTI / "multi.serq", "", "Three corpora", THIRTY_ONE, NON_COMMERCIAL),
    Shipped(MULTI / "multi-tiny.serq", "", "Three corpora, weights in 3 KB", THIRTY_ONE, NON_COMMERCIAL),
)
_PROTOCOL = (
    "Models made alike, on clips of EMO-DB that they never saw: ten stratified folds of 535 clips, or each of"
    " ten speakers held out in turn; the interval is that of the mean over splits."
)
_ABOUT = """\
# Models that ship with the package

Written by `python -m tools.cards`; `serq-mcu models NAME` shows the same.
A MODEL of any command is a file or one of these names; where none is given it is `emodb`.

    serq-mcu export emodb-small --board nucleo_f446re --out firmware/
    serq-mcu evaluate emodb-light --clips emodb/

All are trained on EMO-DB with the first of ten stratified folds held out, so that anyone who has the
recordings can check them: the held-out clips are named in the model's provenance, and
`serq-mcu evaluate NAME --clips emodb/` asks for them.
Seven classes: anger, boredom, disgust, fear, happiness, neutral, sadness; and "no speech", from 135 sounds of
ESC-10 (CC0 or CC BY 3.0) and generated noise.
One fold of 54 clips says little, so the cards have means over all folds and speakers (`docs/life.md` of the
project).
"""
_REST = """\
## What does not ship

Models of EMO-DB, nEMO and RAVDESS are in the project's folder `models/`, under a licence of their own.
No weights trained on SAVEE, whose terms forbid passing it on, nor on TESS, whose licence (CC BY-NC-ND 4.0)
allows neither derivatives nor commercial use; whether weights are a derivative is unsettled, and the careful
answer is not to ship them.
`docs/product.md` has the two commands that make a TESS model.

EMO-DB: Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, *A Database of German Emotional Speech*,
Interspeech 2005.
ESC-10: Piczak, *ESC: Dataset for Environmental Sound Classification*, ACM Multimedia 2015; its clips are of
freesound.org's contributors, named in that dataset.
"""
_LIMITS = (
    "The speakers are actors in a studio, and only recordings whose emotion listeners recognised were kept.",
    "Acted emotion is not what people show in a room; use no model to judge a person.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each model, write its card, and the page of those that come with the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--sounds", type=Path, required=True)
    given = parser.parse_args(arguments)
    corpora = {corpus.name: corpus for corpus in map(load_corpus, given.corpora)}
    for shipped in MODELS:
        card = card_of(shipped, corpora, given.sounds)
        path = shipped.path.with_name(shipped.path.stem + SUFFIX)
        write_file(path, msgspec.json.format(msgspec.json.encode(card), indent=1).decode() + "\n")
        print(path.name, card.line, flush=True)
    write_file(PAGE, page())


def page() -> str:
    """Write the page of the models that come with the package, from their files and cards."""
    return "\n".join([_ABOUT, *(_section(shipped) for shipped in MODELS if shipped.preset), _REST])


def _section(shipped: Shipped) -> str:
    model, name = load_model(shipped.path), shipped.path.stem
    card = read_card(shipped.path.with_name(name + SUFFIX))
    shape = "-".join(map(str, (model.layers[0].inputs, *(layer.outputs for layer in model.layers))))
    size = f"{model.weights_only_bytes:.0f} bytes of weights, {model.stored_bytes} stored"
    preset = "" if shipped.preset == BEST else f" --preset {shipped.preset}"
    return f"""\
## {name}

{shape} at {", ".join(map(str, model.widths))} bits, {model.average_bits:.2f} on average; identity \
`{model.sha256[:16]}`; {size}.

    serq-mcu train emodb/{preset} --other-sounds sounds/ --out run/
    serq-mcu quantize run/ --out {name}.serq

{card_markdown(card)}
"""


def card_of(shipped: Shipped, corpora: Mapping[str, Corpus], sounds: Path) -> Card:
    """Measure a model and make its card."""
    model = load_model(shipped.path)
    names = str(model.provenance["corpus"]).split("+")
    trained = [_trained_on(corpora[name], model) for name in names]
    return Card(
        identity=model.sha256[:16],
        title=shipped.title,
        voices=shipped.voices,
        licence=shipped.licence,
        protocol=_PROTOCOL if shipped.preset else _held_out(model),
        trained_on=tuple(trained),
        figures=tuple(_figures(shipped.preset)),
        elsewhere=tuple(
            _elsewhere(model, corpus) for name, corpus in sorted(corpora.items()) if name not in names
        ),
        false_answers=tuple(_false_answers(model, sounds)),
        limits=_LIMITS,
    )


def _trained_on(corpus: Corpus, model: QuantizedModel) -> TrainedOn:
    told = model.provenance["recordings"]
    used = {*told["train"], *told["validation"]}
    recordings = read_recordings(corpus.clips, model.spec.sample_rate)
    return TrainedOn(
        corpus=corpus.name,
        language=LANGUAGES[corpus.name],
        speakers=len({clip.speaker for clip in corpus.clips}),
        clips=sum(digest in used for digest in recordings.short_digests),
        licence=LICENCES[corpus.name],
    )


def _held_out(model: QuantizedModel) -> str:
    score = model.provenance["metrics"]["quantized"]["test"]
    low, high = (100 * end for end in score["interval95"])
    return (
        f"Of {score['n']} held-out clips of speakers who train too, {100 * score['accuracy']:.1f} % are right"
        f" (95 % interval {low:.1f} to {high:.1f} %; UAR {100 * score['uar']:.1f} %)."
    )


def _figures(preset: str) -> Iterator[Figure]:
    rows = [row for row in read_rows(life.RESULTS, life.Row) if (row.corpus, row.preset) == ("emodb", preset)]
    for protocol in dict.fromkeys(row.protocol for row in rows):
        for condition in life.CONDITIONS:
            own = [row for row in rows if (row.protocol, row.condition) == (protocol, condition)]
            mean, half = life.mean_and_half_width(own)
            yield Figure(
                condition=condition,
                protocol=life.TITLES[protocol],
                percent=round(100 * mean, 1),
                half_width=round(100 * half, 1),
            )


def _elsewhere(model: QuantizedModel, corpus: Corpus) -> Elsewhere:
    score = evaluate(model, corpus.folder).score
    return Elsewhere(
        corpus=corpus.name,
        language=LANGUAGES[corpus.name],
        uar=round(100 * score.balanced_accuracy, 1),
        clips=score.n,
    )


def _false_answers(model: QuantizedModel, sounds: Path) -> Iterator[FalseAnswers]:
    alone = evaluate_alone(model)
    others = without_speech(evaluate_sounds(model, sounds))
    silent = sum(found.claims for found in alone.values()), sum(found.decisions for found in alone.values())
    rows = {"silence, and noise from -80 to -30 dB": silent}
    if others is not None:
        rows["other sounds: animals, machines, music, weather"] = others.claims, others.decisions
    for name, (claims, decisions) in rows.items():
        yield FalseAnswers(sound=name, percent=round(100 * claims / decisions, 1), decisions=decisions)


if __name__ == "__main__":
    main()
