"""What the default recipe answers in EmoBox's folds, so that its figures stand beside published ones.

`python -m tools.emobox EMOBOX/data emodb/ savee/ tess/ --sounds other_sounds_train/` reads which clips test
in each fold from the lists that EmoBox (Ma et al., Interspeech 2024) publishes. On the others it does what
`serq-mcu train` and `serq-mcu quantize` do. It adds a row for each fold to docs/emobox.csv, of which it
writes docs/emobox.md. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import write_file
from serq_mcu.config import load_config
from serq_mcu.corpus.loaders import Corpus, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import recorded_features
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.training.run import read_dataset
from tools.held_out import held_out_model
from tools.rows import read_rows, to_csv

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "emobox.csv", DOCS / "emobox.md"
_INTRODUCTION = """\
# In EmoBox's folds

Written by `python -m tools.emobox EMOBOX/data emodb/ savee/ tess/ --sounds other_sounds_train/`.
EmoBox (Ma et al., Interspeech 2024) publishes which clips test in each fold, so that figures of different
authors can stand side by side.
[Its benchmark](https://emo-box.github.io/leaderboard1.html) has those of large pre-trained networks with a
small classifier on top.
These are the **integers** of the default recipe (`serq-mcu train`, `serq-mcu quantize`), in {least:.1f} to
{most:.1f} KB of weights.
The mean is over folds. UA: the mean over the classes of the share of right answers. F1: its mean over the
classes. "No speech" counts as not right. Seed: {seeds}.
EMO-DB's folds share speakers, SAVEE's are its speakers, TESS has one.
"""


@dataclass(frozen=True)
class Row:
    """The answers of one model to the clips that test in a fold; shares in [0, 1]."""

    corpus: str
    fold: int
    seed: int
    n: int
    correct: int
    uar: float
    f1: float
    average_bits: float
    weight_bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lists", type=Path, help="EmoBox's folder `data`")
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--sounds", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args(arguments)
    for corpus in map(load_corpus, given.corpora):
        for fold, tests in enumerate(folds(given.lists, corpus.name), 1):
            for seed in range(given.seeds):
                _answer(parted(corpus, tests), fold, seed, given.sounds)
    write_file(PAGE, page(read_rows(RESULTS, Row)))


def folds(lists: Path, corpus: str) -> list[frozenset[str]]:
    """Read the names, without folder and ending, of the clips that test in each fold of a corpus."""
    found = sorted((lists / corpus).glob(f"fold_*/{corpus}_test_fold_*.jsonl"))
    if not found:
        raise SerqError(
            f"{lists / corpus} has no fold_1/{corpus}_test_fold_1.jsonl; give EmoBox's folder `data`"
        )
    return [
        frozenset(Path(json.loads(line)["wav"]).stem for line in path.read_text().splitlines())
        for path in found
    ]


def parted(corpus: Corpus, tests: frozenset[str]) -> Corpus:
    """Let the corpus say which clips test. Raises SerqError if some that should are not there."""
    absent = tests - {clip.path.stem for clip in corpus.clips}
    if absent:
        raise SerqError(f"{len(absent)} clips of the fold are not in {corpus.name}, such as {min(absent)}")
    clips = (replace(clip, part="test" if clip.path.stem in tests else "train") for clip in corpus.clips)
    return replace(corpus, clips=tuple(clips))


def _answer(corpus: Corpus, fold: int, seed: int, sounds: Path) -> None:
    rows = read_rows(RESULTS, Row)
    if (corpus.name, fold, seed) in {(row.corpus, row.fold, row.seed) for row in rows}:
        return
    config = load_config().changed(training={"seed": seed})
    dataset = functools.partial(read_dataset, corpus, config, None, sounds)
    model = held_out_model(f"emobox-{corpus.name}-{fold}-{seed}", config, dataset)
    rows.append(judged(model, corpus, fold, seed))
    write_file(RESULTS, to_csv(rows))
    print(corpus.name, fold, seed, f"{rows[-1].correct} of {rows[-1].n}", flush=True)


def judged(model: QuantizedModel, corpus: Corpus, fold: int, seed: int) -> Row:
    """Ask a model for the clips that test, as recorded."""
    clips = [clip for clip in corpus.clips if clip.part == "test"]
    answers = classify(model, recorded_features(model.spec, model.tables, clips))
    truth = np.array([model.labels.index(clip.label) for clip in clips])
    uar, f1 = recall_and_f1(truth, answers)
    size = round(model.average_bits, 3), round(model.weights_only_bytes)
    correct = int((answers == truth).sum())
    return Row(corpus.name, fold, seed, len(clips), correct, round(uar, 4), round(f1, 4), *size)


def recall_and_f1(truth: NDArray[np.int64], answers: NDArray[np.int64]) -> tuple[float, float]:
    """Compute the means over the classes that are there of recall and F1, in [0, 1]."""
    recalls, scores = [], []
    for label in np.unique(truth):
        right = int(((answers == label) & (truth == label)).sum())
        recalls.append(right / int((truth == label).sum()))
        scores.append(2 * right / (int((truth == label).sum()) + int((answers == label).sum())))
    return float(np.mean(recalls)), float(np.mean(scores))


def page(rows: Sequence[Row]) -> str:
    """Write the page of the results."""
    sizes = [row.weight_bytes / 1000 for row in rows]
    seeds = ", ".join(map(str, sorted({row.seed for row in rows})))
    head = (Column("corpus"), *columns(["accuracy", "UA", "F1", "folds", "clips", "average bits"], "right"))
    lines = []
    for corpus in dict.fromkeys(row.corpus for row in rows):
        own = [row for row in rows if row.corpus == corpus]
        accuracy = np.mean([row.correct / row.n for row in own])
        shares = (accuracy, np.mean([row.uar for row in own]), np.mean([row.f1 for row in own]))
        counts = (str(len({row.fold for row in own})), str(sum(row.n for row in own)))
        bits = f"{np.mean([row.average_bits for row in own]):.2f}"
        lines.append((corpus, *(f"{100 * share:.1f}" for share in shares), *counts, bits))
    text = _INTRODUCTION.format(least=min(sizes), most=max(sizes), seeds=seeds)
    return f"{text}\n{Table(head, lines).markdown()}\n"


if __name__ == "__main__":
    main()
