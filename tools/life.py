"""What shipped recipes answer as life has it: every fold and every speaker held out, under conditions.

`python -m tools.life emodb/ --sounds other_sounds_train/` trains the recipes of models/ anew in each split
and adds rows to docs/life.csv, of which it writes docs/life.md. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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
FOLDS = 10
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
Speakers who do not train validate in both.
Seed 0.
An answer "no speech" counts as not right; how many there were stands in brackets where there were any.
Pauses lie on both sides of each clip; room noise is white and under all.
"""


@dataclass(frozen=True)
class Row:
    """One split of a recipe under one condition."""

    recipe: str
    protocol: str
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
    given = parser.parse_args(arguments)
    for recipe, protocol in itertools.product(given.recipe or METHODS, given.protocol or PROTOCOLS):
        compute(recipe, protocol, given.corpus, given.sounds)
    write_file(PAGE, page(read_rows(RESULTS)))


def compute(recipe: str, protocol: str, corpus: Path, sounds: Path) -> None:
    """Add the rows of all splits of a recipe that are missing."""
    config = load_config(resources.MODELS / f"{recipe}.toml").changed(
        training={"protocol": protocol, "folds": FOLDS}
    )
    dataset = read_dataset(corpus, config, None, sounds)
    count = FOLDS if protocol == CLIPS else len(set(dataset.speakers[: len(dataset.truth) - dataset.sounds]))
    for split in range(count):
        rows = read_rows(RESULTS)
        if not any((row.recipe, row.protocol, row.split) == (recipe, protocol, split) for row in rows):
            own = config.changed(training={"split": split})
            new = list(judge(recipe, dataset, own))
            write_file(RESULTS, to_csv([*rows, *new]))
            print(recipe, protocol, split, new[0].correct, "of", new[0].n, flush=True)


def judge(recipe: str, dataset: Dataset, config: Config) -> Iterator[Row]:
    """Train, quantize and fine-tune one split; yield what its integers answer under each condition."""
    run, _ = fit(dataset, config)
    model = quantized(run, METHODS[recipe])
    test = np.flatnonzero(run.part == 2).tolist()
    for name, condition in CONDITIONS.items():
        clips = augmented_clips(dataset.recordings, test, test, condition, 0)
        answers = classify(model, augmented_features(model.spec, model.tables, dataset.recordings, clips))
        correct, none = int((answers == dataset.truth[test]).sum()), int((answers < 0).sum())
        yield Row(recipe, config.training.protocol, config.training.split, name, len(test), correct, none)


def quantized(run: Run, method: str) -> QuantizedModel:
    """Quantize all layers at a width and fine-tune."""
    model, _ = quantize(run.changed(quantization={"method": method}), tune=fine_tuning(run))
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
    parts = [_INTRODUCTION.format(folds=FOLDS)]
    for recipe in dict.fromkeys(row.recipe for row in rows):
        parts.append(f"## {recipe}\n\n{_table([row for row in rows if row.recipe == recipe]).markdown()}\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> Table:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.condition, row.protocol].append(row)
    splits = {protocol: {row.split for row in rows if row.protocol == protocol} for protocol in PROTOCOLS}
    protocols = [protocol for protocol in PROTOCOLS if len(splits[protocol]) == FOLDS]  # the whole ones
    lines = [
        (condition, *(_cell(found[condition, protocol]) for protocol in protocols))
        for condition in dict.fromkeys(row.condition for row in rows)
    ]
    titles = {CLIPS: "clips", SPEAKERS: "other speakers"}
    return Table((Column("condition"), *columns([titles[p] for p in protocols], "right")), lines)


def _cell(rows: Sequence[Row]) -> str:
    shares = np.array([row.correct / row.n for row in rows])
    none = sum(row.no_speech for row in rows)
    return f"{shares.mean():.1%} ± {100 * half_width(shares):.1f}" + (f" [{none}]" if none else "")


if __name__ == "__main__":
    main()
