"""What the presets answer as life has it: every fold and every speaker held out, under conditions.

`python -m tools.life emodb/ savee/ --sounds other_sounds_train/` does in each split of each seed what
`serq-mcu train --preset` and `serq-mcu quantize` do, and adds rows to docs/life.csv, of which it writes
docs/life.md. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.base.metrics import half_width
from serq_mcu.config import CLIPS, PROTOCOLS, SPEAKERS, load_config
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.evaluation.sessions import SessionPlan, evaluate_sessions, make_sessions
from serq_mcu.extraction.recordings import augmented_clips, augmented_features
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.training.run import Dataset, read_dataset
from tools.held_out import held_out_model
from tools.rows import read_rows, to_csv

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "life.csv", DOCS / "life.md"
FOLDS, SEEDS = 10, 3
PRESETS = ("best", "light", "tiny")
TITLES = {CLIPS: "clips", SPEAKERS: "other speakers"}
LIVE = {f"live, room noise at {level:g} dB": level for level in (-60.0, -50.0)}
CONDITIONS = {
    "as recorded": AS_RECORDED,
    **{f"pauses of {s:g} s, digital": Condition(before=s, after=s) for s in (0.25, 0.5, 1.0)},
    **{
        f"pauses of {s:g} s, room noise at -60 dB": Condition(
            before=s, after=s, floor="white", floor_db=-60.0
        )
        for s in (0.25, 0.5, 1.0)
    },
    "8 kHz": Condition(band="8k"),
    "8 kHz, mu-law": Condition(band="mu-law"),
    "telephone": Condition(band="telephone"),
    "white noise at 10 dB": Condition(noise="white", snr_db=10.0),
}

_INTRODUCTION = """\
# As life has it

Written by `python -m tools.life emodb/ savee/ --sounds other_sounds_train/`.
In every split it does what `serq-mcu train --preset NAME --other-sounds sounds/` and `serq-mcu quantize` do.

Accuracy of the **integer models** on clips that neither training nor any choice saw.
The 95 % interval is that of the mean over splits (Student's t).
*clips*: {folds} stratified folds; 535 clips of EMO-DB, 480 of SAVEE.
*other speakers*: each speaker held out in turn, 10 of EMO-DB, 4 of SAVEE; the interval counts speakers.
The seeds stand in brackets; those of a speaker are averaged first.
Speakers who neither train nor test choose the epochs and the margin of answers, inner folds of the others the
bits.
Then the network is trained anew on all clips that are not held out (`refit`).
An answer "no speech" counts as not right; how many there were stands in brackets where there were any.
Pauses lie on both sides of each clip; room noise is white and under all.
*live*: a session of each speaker's held-out clips with pauses of {low:g} to {high:g} s.
Of all decisions while somebody speaks it gives those that are right; in brackets stand those without an
answer ("no speech" or "not sure"). The line below leaves these out.
"""


@dataclass(frozen=True)
class Row:
    """One split of a preset under one condition."""

    corpus: str
    preset: str
    protocol: str
    seed: int
    split: int
    condition: str
    n: int
    correct: int
    no_speech: int
    average_bits: float
    weight_bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--preset", choices=PRESETS, action="append")
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    folders = {load_corpus(folder).name: folder for folder in given.corpora}
    speakers = {name: {clip.speaker for clip in load_corpus(f).clips} for name, f in folders.items()}
    named = itertools.product(
        folders, range(given.seeds), given.preset or PRESETS, given.protocol or PROTOCOLS
    )
    wanted = [
        Split(corpus, preset, seed, protocol, split)
        for corpus, seed, preset, protocol in named
        for split in range(FOLDS if protocol == CLIPS else len(speakers[corpus]))
    ]
    compute(wanted, folders, given.sounds, given.jobs)
    write_file(PAGE, page(read_rows(RESULTS, Row)))


class Split(NamedTuple):
    """A model to make, and what it leaves out."""

    corpus: str
    preset: str
    seed: int
    protocol: str
    split: int


def compute(splits: Sequence[Split], folders: Mapping[str, Path], sounds: Path, jobs: int) -> None:
    """Add the rows of the splits that are missing."""
    rows = read_rows(RESULTS, Row)
    there: dict[Split, set[str]] = defaultdict(set)
    for row in rows:
        there[Split(row.corpus, row.preset, row.seed, row.protocol, row.split)].add(row.condition)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        running = [
            pool.submit(judge, split, missing, folders[split.corpus], sounds)
            for split in splits
            if (missing := [name for name in conditions(split) if name not in there[split]])
        ]
        for done in as_completed(running):
            rows += done.result()
            write_file(RESULTS, to_csv(sorted(rows, key=_order)))
            print(*astuple(rows[-1]), flush=True)


def conditions(split: Split) -> tuple[str, ...]:
    """Return the conditions that a split is judged under."""
    live = split.protocol == CLIPS and split.preset == PRESETS[0]
    return (*CONDITIONS, *LIVE) if live else tuple(CONDITIONS)


def _order(row: Row) -> tuple[Any, ...]:
    """Return where a row stands: presets, protocols and conditions in the order of this file."""
    places = (row.corpus, PRESETS.index(row.preset), PROTOCOLS.index(row.protocol))
    return *places, row.seed, row.split, [*CONDITIONS, *LIVE].index(row.condition)


@functools.lru_cache(maxsize=1)
def _dataset(preset: str, corpus: Path, sounds: Path) -> Dataset:
    return read_dataset(corpus, load_config(preset=preset), None, sounds)


def judge(split: Split, names: Sequence[str], corpus: Path, sounds: Path) -> list[Row]:
    """Train and quantize one split; return what its integers answer under the conditions of these names."""
    dataset = _dataset(split.preset, corpus, sounds)
    return list(_judged(split, names, dataset, split_model(split, lambda: dataset)))


def split_model(split: Split, dataset: Callable[[], Dataset]) -> QuantizedModel:
    """Make the model of a split, or read it if it was kept."""
    config = load_config(preset=split.preset).changed(
        training={"protocol": split.protocol, "folds": FOLDS, "seed": split.seed, "split": split.split}
    )
    name = f"{split.corpus}-{split.preset}-{split.protocol}-{split.seed}-{split.split}"
    return held_out_model(name, config, dataset)


def _judged(split: Split, names: Sequence[str], dataset: Dataset, model: QuantizedModel) -> Iterator[Row]:
    held_out = set(model.provenance["held_out"])
    test = [index for index, name in enumerate(dataset.names) if name in held_out]
    size = round(model.average_bits, 3), round(model.weights_only_bytes)
    for name in names:
        counted = _heard_live if name in LIVE else _as_clips
        key = split.corpus, split.preset, split.protocol, split.seed, split.split, name
        yield Row(*key, *counted(name, dataset, model, test), *size)


def _as_clips(
    condition: str, dataset: Dataset, model: QuantizedModel, test: Sequence[int]
) -> tuple[int, int, int]:
    """Return how many clips were asked, were right, and were taken for no speech."""
    clips = augmented_clips(dataset.recordings, test, test, CONDITIONS[condition], 0)
    answers = classify(model, augmented_features(model.spec, model.tables, dataset.recordings, clips))
    return len(test), int((answers == dataset.truth[test]).sum()), int((answers < 0).sum())


def _heard_live(
    condition: str, dataset: Dataset, model: QuantizedModel, test: Sequence[int]
) -> tuple[int, int, int]:
    """Return the decisions while somebody speaks, those that are right, and those without an answer."""
    recordings, plan = dataset.recordings, SessionPlan(floors_db=(LIVE[condition],))
    clips = [recordings.clips[index] for index in test]
    audio = [recordings.audio[index] for index in test]
    sessions = make_sessions(clips, audio, dataset.truth[test].tolist(), recordings.rate, plan)
    score = evaluate_sessions(model, sessions, plan)[LIVE[condition]]
    return score.decisions, score.right, score.silent + score.unsure


def page(rows: Sequence[Row]) -> str:
    """Write the page of the results."""
    low, high = SessionPlan().pauses
    parts = [_INTRODUCTION.format(folds=FOLDS, low=low, high=high)]
    for name in dict.fromkeys((row.corpus, row.preset) for row in rows):
        own = [row for row in rows if (row.corpus, row.preset) == name]
        bits, sizes = ([getattr(row, key) for row in own] for key in ("average_bits", "weight_bytes"))
        size = (
            f"Average bits {np.mean(bits):.2f} ({min(bits):.2f} to {max(bits):.2f});"
            f" {min(sizes)} to {max(sizes)} bytes of weights."
        )
        parts.append(f"## {name[0]}, {name[1]}\n\n{size}\n\n{_table(own).markdown()}\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> Table:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.condition, row.protocol].append(row)
    whole = [name for name in PROTOCOLS if any(row.protocol == name for row in rows)]
    lines = []
    for condition in dict.fromkeys(row.condition for row in rows):
        own = [found[condition, protocol] for protocol in whole]
        lines.append((condition, *map(_cell, own)))
        if condition in LIVE:
            lines.append(("the same, of decisions with an answer", *(_cell(_answered(some)) for some in own)))
    seeds = {name: sorted({row.seed for row in rows if row.protocol == name}) for name in whole}
    titles = [f"{TITLES[name]} (seeds {', '.join(map(str, seeds[name]))})" for name in whole]
    return Table((Column("condition"), *columns(titles, "right")), lines)


def _answered(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, n=row.n - row.no_speech, no_speech=0) for row in rows]


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    mean, half = mean_and_half_width(rows)
    none = sum(row.no_speech for row in rows)
    return f"{mean:.1%} ± {100 * half:.1f}" + (f" [{none}]" if none else "")


def mean_and_half_width(rows: Sequence[Row]) -> tuple[float, float]:
    """Compute the mean of the splits' shares and half its 95 % interval; a speaker's seeds count once."""
    by_split: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in rows:
        by_split[row.split, row.seed if row.protocol == CLIPS else 0].append(row.correct / row.n)
    shares = np.array([np.mean(own) for own in by_split.values()])
    return float(shares.mean()), float(half_width(shares))


if __name__ == "__main__":
    main()
