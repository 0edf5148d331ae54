"""What a model of several corpora answers for voices that it never heard.

`python -m tools.abroad emodb/ nemo/ ravdess/ savee/ tess/ --sounds other_sounds_train/` does what `serq-mcu
train A/ B/ ...` and `serq-mcu quantize` do, on all corpora but one, which it then asks; and on the corpora of
`--multi`, without some of RAVDESS's actors, whom it asks. It adds rows to docs/abroad.csv, of which it writes
docs/abroad.md. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.config import load_config
from serq_mcu.corpus.conditions import AS_RECORDED
from serq_mcu.corpus.joined import join
from serq_mcu.corpus.loaders import Corpus, load_corpus
from serq_mcu.extraction.recordings import augmented_clips, augmented_features, read_recordings
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.training.run import read_dataset
from tools.held_out import held_out_model
from tools.rows import read_rows, to_csv

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "abroad.csv", DOCS / "abroad.md"
EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
PRESETS = ("best", "tiny")
GROUPS = 3  # of RAVDESS's actors, each held out once
ACTORS = "ravdess"

_INTRODUCTION = """\
# Voices that a model never heard

Written by `python -m tools.abroad emodb/ nemo/ ravdess/ savee/ tess/ --sounds sounds/`.
Each model is what `serq-mcu train A/ B/ ... --classes {classes} --other-sounds sounds/`
and `serq-mcu quantize` make; its **integers** answer for clips as published, pauses and all.
No clip of the voices that are asked trained it or chose anything.
UAR is the mean over the emotions of the share of right answers, in %; of six emotions guessing has 16.7.
"No speech" counts as not right.
Seeds: {seeds}; the mean is over seeds.
A group of actors is asked of a model of {multi}, which never heard them.
"""


@dataclass(frozen=True)
class Row:
    """The answers of one model to one corpus or group of actors: the share right of each emotion, in [0, 1].

    An emotion that nobody acts there is -1.
    """

    asked: str
    preset: str
    seed: int
    n: int
    average_bits: float
    weight_bytes: int
    anger: float
    disgust: float
    fear: float
    happiness: float
    neutral: float
    sadness: float

    @property
    def uar(self) -> float:
        """The mean over the emotions that are there."""
        shares = [getattr(self, name) for name in EMOTIONS]
        return float(np.mean([share for share in shares if share >= 0]))


class Question(NamedTuple):
    """Who is asked, of what."""

    asked: str
    preset: str
    seed: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--multi", nargs="+", default=["emodb", "nemo", "ravdess"])
    parser.add_argument("--preset", choices=PRESETS, action="append")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    corpora = {corpus.name: corpus for corpus in map(load_corpus, given.corpora)}
    asked = [*corpora, *(f"{ACTORS} {group + 1} of {GROUPS}" for group in range(GROUPS))]
    for seed in range(given.seeds):
        for preset in given.preset or PRESETS:
            for name in asked:
                _answer(Question(name, preset, seed), corpora, given.multi, given.sounds)
    write_file(PAGE, page(read_rows(RESULTS, Row)))


def _answer(question: Question, corpora: Mapping[str, Corpus], multi: Sequence[str], sounds: Path) -> None:
    rows = read_rows(RESULTS, Row)
    if question in {Question(row.asked, row.preset, row.seed) for row in rows}:
        return
    held = corpora.get(question.asked) or _actors(question, corpora, kept=True)
    model = trained(learned_from(question, corpora, multi), question, sounds)
    rows.append(judged(model, held, question))
    write_file(RESULTS, to_csv(rows))
    print(*question, f"UAR {rows[-1].uar:.1%}", flush=True)


def learned_from(question: Question, corpora: Mapping[str, Corpus], multi: Sequence[str]) -> list[Corpus]:
    """Return what a model learns from: all corpora but that which is asked, or `multi` without the actors."""
    if question.asked in corpora:
        return [corpus for name, corpus in corpora.items() if name != question.asked]
    rest = _actors(question, corpora, kept=False)
    return [rest if name == ACTORS else corpora[name] for name in multi]


def _actors(question: Question, corpora: Mapping[str, Corpus], *, kept: bool) -> Corpus:
    """Return the clips of the actors that are asked, or of the others."""
    corpus, group = corpora[ACTORS], int(question.asked.split()[1]) - 1
    actors = np.array_split(sorted({clip.speaker for clip in corpus.clips}), GROUPS)[group]
    return replace(corpus, clips=tuple(clip for clip in corpus.clips if (clip.speaker in actors) == kept))


def trained(corpora: Sequence[Corpus], question: Question, sounds: Path) -> QuantizedModel:
    """Make the model that is asked, or read it if it was kept."""
    config = load_config(preset=question.preset).changed(training={"folds": 10, "seed": question.seed})
    name = f"without {question.asked}-{question.preset}-{question.seed}".replace(" ", "_")
    joined = join(corpora, ",".join(EMOTIONS))
    return held_out_model(name, config, lambda: read_dataset(joined, config, None, sounds))


def judged(model: QuantizedModel, held: Corpus, question: Question) -> Row:
    """Ask a model for clips, as recorded."""
    clips = [clip for clip in held.clips if clip.label in EMOTIONS]
    recordings = read_recordings(clips, model.spec.sample_rate)
    every = range(len(clips))
    asked = augmented_clips(recordings, every, every, AS_RECORDED, 0)
    answers = classify(model, augmented_features(model.spec, model.tables, recordings, asked))
    truth = np.array([model.labels.index(clip.label) for clip in clips])
    shares = [
        round(float((answers[truth == index] == index).mean()), 4) if (truth == index).any() else -1.0
        for index in map(model.labels.index, EMOTIONS)
    ]
    size = round(model.average_bits, 3), round(model.weights_only_bytes)
    return Row(*question, len(clips), *size, *shares)


def page(rows: Sequence[Row]) -> str:
    """Write the page of the results."""
    seeds = ", ".join(map(str, sorted({row.seed for row in rows})))
    parts = [_INTRODUCTION.format(seeds=seeds, classes=",".join(EMOTIONS), multi="EMO-DB, nEMO and RAVDESS")]
    for preset in dict.fromkeys(row.preset for row in rows):
        own = [row for row in rows if row.preset == preset]
        bits, sizes = ([getattr(row, key) for row in own] for key in ("average_bits", "weight_bytes"))
        size = f"Average bits {np.mean(bits):.2f}; {min(sizes)} to {max(sizes)} bytes of weights."
        head = (Column("asked"), *columns(["UAR", *EMOTIONS, "clips"], "right"))
        parts.append(f"## {preset}\n\n{size}\n\n{Table(head, list(_lines(own))).markdown()}\n")
    return "\n".join(parts)


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    groups = {
        name: [row for row in rows if row.asked == name] for name in dict.fromkeys(r.asked for r in rows)
    }
    corpora = [name for name in groups if not name.startswith(f"{ACTORS} ")]
    actors = [name for name in groups if name.startswith(f"{ACTORS} ")]
    for name in corpora:
        yield f"all but {name}, on {name}", *_cells(groups[name])
    yield "mean over corpora", f"{_mean(groups, corpora):.1f}", *[""] * 7
    if actors:
        words = f"{len(actors)} of {GROUPS} groups of {ACTORS}'s actors, each held out once"
        yield words, f"{_mean(groups, actors):.1f}", *[""] * 7


def _mean(groups: Mapping[str, Sequence[Row]], names: Sequence[str]) -> float:
    return 100 * float(np.mean([np.mean([row.uar for row in groups[name]]) for name in names]))


def _cells(rows: Sequence[Row]) -> Iterator[str]:
    yield f"{100 * np.mean([row.uar for row in rows]):.1f}"
    for emotion in EMOTIONS:
        shares = [getattr(row, emotion) for row in rows]
        yield "-" if min(shares) < 0 else f"{100 * np.mean(shares):.0f}"
    yield str(rows[0].n)


if __name__ == "__main__":
    main()
