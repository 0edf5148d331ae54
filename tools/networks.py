"""The paper's other networks on the chip: floats, adaptive bits, and these fine-tuned, over splits.

`python -m tools.networks emodb/ --seeds 10` trains in each split what `serq-mcu train --preset NAME` does,
chooses bits as `serq-mcu quantize` does within an average of 4, with and without fine-tuning, and adds rows
to docs/networks.csv, of which it writes docs/networks.md. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.base.metrics import Score, half_width
from serq_mcu.base.validation import changed
from serq_mcu.boards.board import load_board
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import CLIPS, PROTOCOLS, SPEAKERS, Config, load_config
from serq_mcu.corpus.loaders import Corpus, load_corpus
from serq_mcu.layers.base import Floats
from serq_mcu.quantization.pipeline import STEPS, allocate, lower, model_pair, step_scores, width_judges
from serq_mcu.quantization.run_folder import Run
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.training.run import Dataset, fine_tuning, fit, read_dataset
from tools.rows import read_rows, to_csv

DOCS = Path(__file__).parents[1] / "docs"
RESULTS, PAGE = DOCS / "networks.csv", DOCS / "networks.md"
FOLDS, MOST_BITS, MOST_LOSS = 10, 4, 1.5
NETWORKS = {"lstm": "LSTM", "gru": "GRU with attention", "cnn1d": "1D convolutions", "paper": "MLP"}
FLOATS, ADAPTIVE, TUNED = METHODS = ("floats", "adaptive", "adaptive, fine-tuned")
BOARD = "nucleo_f446re"


@dataclass(frozen=True)
class Row:
    """What one network answers in one split: as floats, or as integers of the widths named."""

    corpus: str
    network: str
    protocol: str
    seed: int
    split: int
    method: str
    n: int
    correct: int
    uar: float
    validation: float
    widths: str
    average_bits: float
    weight_bytes: int
    cycles: int


class Split(NamedTuple):
    """A network to train, and what it leaves out."""

    corpus: str
    network: str
    protocol: str
    seed: int
    split: int

    @property
    def config(self) -> Config:
        """The preset, for this split."""
        own = {"protocol": self.protocol, "folds": FOLDS, "seed": self.seed, "split": self.split}
        return load_config(preset=self.network).changed(training=own)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="*")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    corpora = {corpus.name: corpus for corpus in map(load_corpus, given.corpora)}
    folders = dict(zip(corpora, given.corpora, strict=True))
    wanted: list[Split] = []
    for protocol, corpus in itertools.product(given.protocol or PROTOCOLS, corpora.values()):
        for seed, split in _places(protocol, corpus, given.seeds):
            names = given.network or NETWORKS
            wanted += [Split(corpus.name, name, protocol, seed, split) for name in names]
    rows = read_rows(RESULTS, Row)
    known = {Split(*astuple(row)[:5]) for row in rows}
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(judge, split, folders[split.corpus]) for split in wanted if split not in known]
        for done in as_completed(running):
            rows = [*read_rows(RESULTS, Row), *done.result()]  # another process may have added some
            write_file(RESULTS, to_csv(sorted(rows, key=_order)))
            print(*astuple(rows[-1]), flush=True)
    write_file(PAGE, page(rows))


def _places(protocol: str, corpus: Corpus, seeds: int) -> list[tuple[int, int]]:
    """Return seeds and splits: the first fold of each seed's clips, or each speaker with one seed."""
    speakers = len({clip.speaker for clip in corpus.clips})
    return [(seed, 0) for seed in range(seeds)] if protocol == CLIPS else [(0, s) for s in range(speakers)]


def _order(row: Row) -> tuple[int | str, ...]:
    return row.corpus, row.protocol, [*NETWORKS].index(row.network), row.seed, row.split, row.method


@functools.lru_cache(maxsize=2)
def _dataset(network: str, corpus: Path) -> Dataset:
    return read_dataset(corpus, load_config(preset=network))


def judge(split: Split, corpus: Path) -> list[Row]:
    """Train one split; return what its floats and its integers answer for the clips held out."""
    run, _ = fit(_dataset(split.network, corpus), split.config)
    return list(_judged(split, run))


def _judged(split: Split, run: Run) -> Iterator[Row]:
    """Choose bits on validation clips, post-training, of at most MOST_BITS on average; fine-tune at these."""
    lowering, own = lower(run), run.config.quantization
    network = lowering.network
    config = changed(own, max_bytes=sum(network.parameters) * MOST_BITS // 8)
    judges = width_judges(lowering, run.validation, config, None)
    widths = [layer.bits for layer in allocate(network, judges, config)[0]]
    models = {
        method: model_pair(lowering, None, widths, tuner)[1]
        for method, tuner in ((ADAPTIVE, None), (TUNED, fine_tuning(run)))
    }
    heard = {method: _scores(run, model) for method, model in models.items()}
    floats = [found[STEPS[0]] for found in heard[ADAPTIVE]]
    parameters = sum(network.parameters)
    yield Row(*split, FLOATS, *_counted(*floats), "32", 32.0, 4 * parameters, 0)
    for method, model in models.items():
        named = "-".join(map(str, model.widths))
        size = round(model.average_bits, 3), round(model.weights_only_bytes)
        counted = _counted(*(found[STEPS[-1]] for found in heard[method]))
        yield Row(*split, method, *counted, named, *size, cycles(model))


def _scores(run: Run, model: QuantizedModel) -> list[dict[str, Score]]:
    return [step_scores(run, run.network, model, part) for part in ("test", "validation")]


def _counted(test: Score, validation: Score) -> tuple[int, int, float, float]:
    return test.n, test.correct, round(test.balanced_accuracy, 6), round(validation.accuracy, 6)


def cycles(model: QuantizedModel) -> int:
    """Estimate the cycles of a decision's layers on a Cortex-M4, by counted costs."""
    plan = Plan(model, load_board(BOARD))
    return sum(plan.core.cycles(stage) or 0 for stage in plan.layer_costs)


_INTRODUCTION = """\
# The paper's other networks on the chip

Written by `python -m tools.networks emodb/ --seeds {seeds}` from [networks.csv](networks.csv).
The LSTM, the GRU with attention and the 1D convolutions that Shinde, Jain and Sharma compare with, in our
reading ([paper.md](paper.md)), as the presets `lstm`, `gru` and `cnn1d` have them: 40 MFCC of each of the
last 94 frames, as the device computes them, and the paper's hyper-parameters.
*MLP* is the preset `paper`, 256-512-64 on the default statistics, with the same hyper-parameters and splits.

- *floats*: what was trained, 32 bits.
- *adaptive*: integers of the bits that importance chose on validation clips, each matrix of a recurrent layer
  for itself; where the margin of 2 % asks for more than {most} bits on average, those that lose least within
  that.
- *adaptive, fine-tuned*: the same bits, trained on for 30 epochs with the quantizers in place.

Accuracy in % of clips that neither training nor any choice saw, with the 95 % interval of the mean
(Student's t).
*clips*: a stratified tenth is held out, another one in each seed; the interval counts splits, which share
clips.
*other speakers*: each speaker is held out in turn, with one seed; the interval counts speakers.
*difference*: fine-tuned integers less floats, split by split, with the interval of its mean.
KB of 1000 bytes, weights only.
*M cycles*: millions, of all layers in one decision, estimated for a Cortex-M4 at the fine-tuned row's bits by
counted costs (as `serq-mcu check` does), mean of the splits.
"""

_OTHERS = """\
## Small networks on sequences against the best MLP

A sequence network within 25 KB that is better than the MLP with other speakers is not shown: it is still
to be measured.
A first look at two convolutions of 48 and 64 filters of 5 taps, each with a maximum of 2 frames behind it,
the mean and 64 neurons, on 94 frames of 28 MFCC, pitch, voicing and level, was below it on three of EMO-DB's
speakers; with attention in place of the mean it was far below.
"""


def page(rows: Sequence[Row]) -> str:
    """Write the page of the results."""
    seeds = 1 + max(row.seed for row in rows if row.protocol == CLIPS)
    parts = [_INTRODUCTION.format(seeds=seeds, most=MOST_BITS)]
    for name, protocol in dict.fromkeys((row.corpus, row.protocol) for row in rows):
        own = [row for row in rows if (row.corpus, row.protocol) == (name, protocol)]
        title = {CLIPS: "clips", SPEAKERS: "other speakers"}[protocol]
        parts.append(f"## {name}, {title}\n\n{_table(own).markdown()}\n\n{_finding(own)}\n")
    return "\n".join([*parts, _OTHERS])


def _finding(rows: Sequence[Row]) -> str:
    """Say which networks are within MOST_LOSS points of their floats, by the mean difference."""
    found = {}
    for network, title in NETWORKS.items():
        of = [[row for row in rows if (row.network, row.method) == (network, m)] for m in (TUNED, FLOATS)]
        if of[0]:
            found[title] = float((_shares(of[0]) - _shares(of[1])).mean())
    named = {
        words: ", ".join(title for title, change in found.items() if (change >= -MOST_LOSS) == kept)
        for words, kept in (("Within", True), ("Beyond", False))
    }
    said = " ".join(f"{words} that: {titles}." for words, titles in named.items() if titles)
    aim = (
        f"The aim is at most {MOST_LOSS} points below the floats at {MOST_BITS} bits on average or fewer.\n"
        "It is judged by the mean difference; its interval says how little some splits of 54 clips tell.\n"
    )
    return aim + said


def _table(rows: Sequence[Row]) -> Table:
    names = (*METHODS, "difference", "bits", "KB", "KB as floats", "M cycles", "splits")
    lines: list[tuple[str | int, ...]] = []
    for network, title in NETWORKS.items():
        own = {m: [row for row in rows if (row.network, row.method) == (network, m)] for m in METHODS}
        if not own[FLOATS]:
            continue
        shares = {
            method: 100 * np.array([row.correct / row.n for row in found]) for method, found in own.items()
        }
        tuned = own[TUNED]
        bits, size, time = (
            float(np.mean([getattr(row, key) for row in tuned]))
            for key in ("average_bits", "weight_bytes", "cycles")
        )
        figures = *map(_mean, shares.values()), _mean(shares[TUNED] - shares[FLOATS], sign="+")
        sizes = f"{bits:.2f}", f"{size / 1000:.1f}", f"{own[FLOATS][0].weight_bytes / 1000:.0f}"
        lines.append((title, *figures, *sizes, f"{time / 1e6:.2f}", len(tuned)))
    return Table((Column("network"), *columns(names, "right")), lines)


def _shares(rows: Sequence[Row]) -> Floats:
    return 100 * np.array([row.correct / row.n for row in rows])


def _mean(values: Floats, sign: str = "") -> str:
    return f"{values.mean():{sign}.1f} ± {half_width(values):.1f}"


if __name__ == "__main__":
    main()
