"""What shipped recipes answer as life has it: every fold and every speaker held out, under conditions.

`python -m tools.life emodb/ --sounds other_sounds_train/` trains the recipes of models/ anew in each split
of each seed and adds rows to docs/life.csv, of which it writes docs/life.md. Rows that are there are not
computed again.
"""

from __future__ import annotations

import argparse
import csv
import functools
import io
import itertools
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from serq_mcu.base import resources
from serq_mcu.base.files import write_file
from serq_mcu.base.metrics import half_width
from serq_mcu.config import CLIPS, PROTOCOLS, SPEAKERS, Config, load_config
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.extraction.recordings import augmented_clips, augmented_features
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantization.run_folder import Run
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.training.run import Dataset, fine_tuning, fit, read_dataset

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "life.csv", DOCS / "life.md"
FOLDS, SEEDS = 10, 3
METHODS = {"emodb": "5", "emodb-light": "5", "emodb-small": "4"}  # widths of all layers, as the models ship
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

Written by `python -m tools.life emodb/ --sounds other_sounds_train/`.
It trains the recipe of each model that ships (`serq_mcu/models/NAME.toml`) anew in every split.

Accuracy of the **integer models** on clips of EMO-DB that neither training nor any choice saw.
The 95 % interval is that of the mean over splits (Student's t).
*clips*: {folds} stratified folds, n = 535 clips.
*other speakers*: each of 10 speakers held out in turn; the interval counts speakers.
Seeds: {seeds}; those of a speaker are averaged first.
Speakers who neither train nor test choose the epochs and the margin of answers in both.
Then the network is trained anew on their clips too (`refit`).
An answer "no speech" counts as not right; how many there were stands in brackets where there were any.
Pauses lie on both sides of each clip; room noise is white and under all.
"""


_CHOICE = """\
## How the recipes were chosen

By speakers who neither train nor test.
In each of 10 splits two of them validate, and no clip of the speaker who is held out was asked.
Float networks without `refit`, seed 0, mean of the 10 splits in %; a script measured this.
*room*: a simulated box with 0.4 s of reverberation, of a kind that training never draws; *babble*: at 10 dB.

| what differs | recorded | pauses 0.5 s, digital | -60 dB | mu-law | white, 10 dB | room | babble |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| noise, pauses and bands | 77.8 | 75.7 | 75.9 | 74.9 | 74.0 | 36.7 | 61.4 |
| and 10 % in rooms | 77.0 | 76.3 | 75.9 | 72.8 | 72.4 | 62.7 | 53.8 |
| and 30 % as windows of streams | 77.9 | 76.9 | 75.7 | 73.3 | 71.1 | 40.3 | 59.9 |
| 15 % in rooms, babble, 20 % windows | 77.7 | 75.9 | 75.2 | 70.5 | 70.6 | 65.1 | 63.9 |
| network 96-64-64 | 76.6 | 75.9 | 74.0 | 72.5 | 72.6 | 37.4 | 59.6 |
| network 96 | 78.3 | 76.1 | 76.0 | 72.8 | 72.9 | 37.4 | 63.7 |
| twice as many presentations | 77.6 | 75.5 | 76.2 | 76.2 | 72.4 | 36.4 | 61.7 |
| 24 versions, 10 % in rooms, 9,000 anchors | 78.7 | 76.9 | 75.5 | 73.7 | 71.3 | 63.6 | 55.6 |

A board stands in a room.
So the models that ship train in rooms and babble, which cost a point or two of everything else.
[The study "best features"](product.md) trains without them.
"""


@dataclass(frozen=True)
class Row:
    """One split of a recipe under one condition."""

    recipe: str
    protocol: str
    seed: int
    split: int
    condition: str
    n: int
    correct: int
    no_speech: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--recipe", choices=METHODS, action="append")
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    wanted = itertools.product(
        given.recipe or METHODS, range(given.seeds), given.protocol or PROTOCOLS, range(FOLDS)
    )
    compute([_Split(*names) for names in wanted], given.corpus, given.sounds, given.jobs)
    write_file(PAGE, page(read_rows(RESULTS)))


class _Split(NamedTuple):
    recipe: str
    seed: int
    protocol: str
    split: int


def compute(splits: Sequence[_Split], corpus: Path, sounds: Path, jobs: int) -> None:
    """Add the rows of the splits that are missing."""
    rows = read_rows(RESULTS)
    there = {_Split(row.recipe, row.seed, row.protocol, row.split) for row in rows}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(judge, split, corpus, sounds) for split in splits if split not in there]
        for done in as_completed(running):
            rows += done.result()
            write_file(RESULTS, to_csv(sorted(rows, key=_order)))
            print(*astuple(rows[-1])[:4], rows[-len(CONDITIONS)].correct, "of", rows[-1].n, flush=True)


def _order(row: Row) -> tuple[int, int, int, int, int]:
    """Return where a row stands: recipes, protocols and conditions in the order of this file."""
    places = (list(METHODS).index(row.recipe), PROTOCOLS.index(row.protocol))
    return *places, row.seed, row.split, list(CONDITIONS).index(row.condition)


@functools.lru_cache(maxsize=1)
def _dataset(recipe: str, corpus: Path, sounds: Path) -> Dataset:
    return read_dataset(corpus, load_config(resources.MODELS / f"{recipe}.toml"), None, sounds)


def judge(split: _Split, corpus: Path, sounds: Path) -> list[Row]:
    """Train, quantize and fine-tune one split; return what its integers answer under each condition."""
    config = load_config(resources.MODELS / f"{split.recipe}.toml").changed(
        training={"protocol": split.protocol, "folds": FOLDS, "seed": split.seed, "split": split.split}
    )
    return list(_judged(split, _dataset(split.recipe, corpus, sounds), config))


def _judged(split: _Split, dataset: Dataset, config: Config) -> Iterator[Row]:
    run, _ = fit(dataset, config)
    model = quantized(run, METHODS[split.recipe])
    test = np.flatnonzero(run.part == 2).tolist()
    for name, condition in CONDITIONS.items():
        clips = augmented_clips(dataset.recordings, test, test, condition, 0)
        answers = classify(model, augmented_features(model.spec, model.tables, dataset.recordings, clips))
        correct, none = int((answers == dataset.truth[test]).sum()), int((answers < 0).sum())
        yield Row(split.recipe, split.protocol, split.seed, split.split, name, len(test), correct, none)


def quantized(run: Run, method: str) -> QuantizedModel:
    """Quantize all layers at a width and fine-tune."""
    model, _ = quantize(run.changed(quantization={"method": method}), tuner=fine_tuning(run))
    return model


def read_rows(path: Path) -> list[Row]:
    """Read the results, none where there is no file."""
    if not path.exists():
        return []
    kinds = {"int": int, "str": str}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(**{f.name: kinds[str(f.type)](row[f.name]) for f in fields(Row)})
            for row in csv.DictReader(file)
        ]


def to_csv(rows: Sequence[Row]) -> str:
    """Write results as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue()


def page(rows: Sequence[Row]) -> str:
    """Write the page of the results."""
    parts = [_INTRODUCTION.format(folds=FOLDS, seeds=", ".join(map(str, sorted({row.seed for row in rows}))))]
    for recipe in dict.fromkeys(row.recipe for row in rows):
        parts.append(f"## {recipe}\n\n{_table([row for row in rows if row.recipe == recipe]).markdown()}\n")
    return "\n".join([*parts, _CHOICE])


def _table(rows: Sequence[Row]) -> Table:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.condition, row.protocol].append(row)
    splits = Counter((row.protocol, row.seed) for row in rows if row.condition == rows[0].condition)
    whole = [name for name in PROTOCOLS if any(splits[name, seed] == FOLDS for seed in range(SEEDS))]
    lines = [
        (condition, *(_cell(found[condition, protocol]) for protocol in whole))
        for condition in dict.fromkeys(row.condition for row in rows)
    ]
    titles = {CLIPS: "clips", SPEAKERS: "other speakers"}
    return Table((Column("condition"), *columns([titles[name] for name in whole], "right")), lines)


def _cell(rows: Sequence[Row]) -> str:
    by_split: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in rows:
        by_split[row.split, row.seed if row.protocol == CLIPS else 0].append(row.correct / row.n)
    shares = np.array([np.mean(own) for own in by_split.values()])
    none = sum(row.no_speech for row in rows)
    return f"{shares.mean():.1%} ± {100 * half_width(shares):.1f}" + (f" [{none}]" if none else "")


if __name__ == "__main__":
    main()
