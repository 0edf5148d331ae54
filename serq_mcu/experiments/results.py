"""The results file: a tidy CSV, a row for each network, method and split; and statistics of groups."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import read_regular, write_file
from serq_mcu.base.metrics import half_width, wilson_interval
from serq_mcu.errors import SerqError

PTQ, QAT, WEIGHTS = "post-training", "fine-tuned", "weights alone"
AS_RECORDED = "as recorded"


@dataclass(frozen=True)
class Row:
    """One method on one network and split.

    method: "32", "8" to "1", "adaptive" or "budget:BYTES"; tuning: post-training, fine-tuned or, of the
    former, its weights alone with floats for inputs and activations ("" for floats). Sizes in bytes.
    condition: of the test clips, "as recorded" or in noise. seconds: of training the floats, or of choosing
    the widths and all that led from them to the model. right: which test clips, in the order of their names,
    were answered correctly: hexadecimal, the first clip in the lowest bit. bar: what the study is a candidate
    for, if anything. inner: 0, or which inner fold of the split was evaluated instead: such a row chooses a
    candidate. speakers_out: how many speakers the split holds out; 0 where the protocol holds out something
    else. validation: "speakers" who do not train stopped the training and chose bits, or "clips".
    """

    task: str
    study: str
    train: str
    test: str
    model: str
    features: str
    inputs: int
    protocol: str
    seed: int
    split: int
    method: str
    tuning: str
    n: int
    correct: int
    accuracy: float
    low: float
    high: float
    uar: float
    validation_accuracy: float
    widths: str
    average_bits: float
    parameters: int
    weights_only_bytes: float
    stored_bytes: int
    seconds: float
    right: str
    condition: str = AS_RECORDED
    bar: str = ""
    inner: int = 0
    speakers_out: int = 0
    validation: str = "clips"

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether each test clip was answered correctly."""
        number = int(self.right, 16)
        return np.array([number >> index & 1 for index in range(self.n)], dtype=bool)


def hex_bits(right: NDArray[np.bool_]) -> str:
    """Encode what `Row.right` holds."""
    return f"{sum(1 << int(index) for index in np.flatnonzero(right)):x}"


_READ = {field.name: {"int": int, "float": float, "str": str}[str(field.type)] for field in fields(Row)}
_ORDER = (
    "study",
    "train",
    "test",
    "model",
    "features",
    "seed",
    "split",
    "inner",
    "task",
    "method",
    "tuning",
    "condition",
)


def read_results(path: Path) -> list[Row]:
    """Read the rows of a results file; none where it does not exist yet.

    Raises SerqError if it is something else.
    """
    try:
        text = read_regular(path).decode()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SerqError(f"cannot read {path}: {error}") from error
    try:
        return [
            Row(**{name: read(plain[name]) for name, read in _READ.items()})
            for plain in csv.DictReader(io.StringIO(text))
        ]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise SerqError(
            f"{path} is not a results file of this version ({error!r}); choose another name"
        ) from error


def write_results(path: Path, rows: Iterable[Row]) -> Path:
    """Write rows, in an order of their own, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_READ), lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=lambda row: tuple(getattr(row, name) for name in _ORDER)):
        writer.writerow(
            {
                name: f"{value:.6g}" if isinstance(value, float) else value
                for name, value in asdict(row).items()
            }
        )
    return write_file(path, text.getvalue())


@dataclass(frozen=True)
class Group:
    """Rows that differ in seed and split alone.

    Where speakers are held out, a speaker (or group of speakers) is one case: the seeds of each are averaged
    first, and all count alike, however many clips they have. Elsewhere each split of each seed is one;
    such splits share clips, so that an interval from their spread is a little narrow.
    """

    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        """Any one of them, for what they share."""
        return self.rows[0]

    @property
    def by_speakers(self) -> bool:
        """Whether speakers are held out."""
        return self.first.protocol == "speakers"

    @property
    def cases(self) -> NDArray[np.float64]:
        """The accuracy of each case [cases]: of speakers, mean over seeds; else of each split and seed."""
        return case_means(self.rows, [row.accuracy for row in self.rows])

    @property
    def accuracy(self) -> float:
        """Mean over speakers, where they are held out; else right answers of all splits over all answers."""
        return float(self.cases.mean()) if self.by_speakers else self.pooled

    @property
    def pooled(self) -> float:
        """Right answers of all splits over all answers."""
        return sum(row.correct for row in self.rows) / sum(row.n for row in self.rows)

    @property
    def uar(self) -> float:
        """Mean of the cases' unweighted average recalls."""
        return float(case_means(self.rows, [row.uar for row in self.rows]).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of one split's n clips, around the mean (Wilson): what a single split can say."""
        n = sum(row.n for row in self.rows) / len(self.rows)
        return wilson_interval(self.accuracy * n, round(n))

    @property
    def mean_interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean over cases, from their spread (Student's t).

        Where there is one case, it is that of one split.
        """
        if self.cases.size < 2:
            return self.interval
        half = half_width(self.cases)
        return max(0.0, self.accuracy - half), min(1.0, self.accuracy + half)

    def mean(self, name: str) -> float:
        """Return the mean of a numeric column."""
        return float(np.mean([getattr(row, name) for row in self.rows]))


def groups(rows: Iterable[Row]) -> dict[tuple[str, ...], Group]:
    """Group the rows, inner folds left out.

    By study, train, test, model, features, protocol, condition, method and tuning.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in (row for row in rows if not row.inner):
        key = (
            row.study,
            row.train,
            row.test,
            row.model,
            row.features,
            row.protocol,
            row.condition,
            row.method,
            row.tuning,
        )
        found.setdefault(key, []).append(row)
    return {key: Group(tuple(value)) for key, value in found.items()}


@dataclass(frozen=True)
class Paired:
    """Two methods on the same clips.

    Those that only the first, and only the second, answered rightly, and the p-value that the two are alike.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[Row], second: Sequence[Row]) -> Paired:
    """Apply McNemar's exact test over the splits that both have.

    A clip that several seeds hold out counts each time, so that p is too small where seeds are many; with one
    seed it is exact.
    """
    from scipy import stats

    other = {(row.task, row.seed, row.split): row for row in second}
    pairs = [
        (row.hits, other[key].hits) for row in first if (key := (row.task, row.seed, row.split)) in other
    ]
    only_first = sum(int((a & ~b).sum()) for a, b in pairs)
    only_second = sum(int((b & ~a).sum()) for a, b in pairs)
    total = only_first + only_second
    return Paired(only_first, only_second, float(stats.binomtest(only_first, total).pvalue) if total else 1.0)


@dataclass(frozen=True)
class MeanDifference:
    """Mean difference of accuracy, first less second, with its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_difference(first: Sequence[Row], second: Sequence[Row], draws: int = 2000) -> MeanDifference:
    """Compute the difference over the splits that both have.

    Where speakers are held out: the mean over these, each the mean of its seeds, with an interval from their
    spread (Student's t). Elsewhere by a bootstrap of whole seeds, so that clips which seeds share do not
    count twice within one.
    """
    other = {(row.task, row.seed, row.split): row for row in second}
    shared = [row for row in first if (row.task, row.seed, row.split) in other]
    changes = [row.accuracy - other[row.task, row.seed, row.split].accuracy for row in shared]
    if shared[0].protocol == "speakers":
        cases = case_means(shared, changes)
        mean, half = float(cases.mean()), half_width(cases)
        return MeanDifference(mean, mean - half, mean + half)
    by_seed: dict[int, list[float]] = {}
    for row, change in zip(shared, changes, strict=True):
        by_seed.setdefault(row.seed, []).append(change)
    values = np.array([np.mean(values) for values in by_seed.values()])
    rng = np.random.default_rng(0)
    means = rng.choice(values, (draws, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return MeanDifference(float(values.mean()), float(low), float(high))


def case_means(rows: Sequence[Row], values: Sequence[float]) -> NDArray[np.float64]:
    """Return one value a case [cases] of a value a row.

    Where speakers are held out, the mean over the seeds of each speaker or group of them, by its split;
    elsewhere the values as they are.
    """
    if rows[0].protocol != "speakers":
        return np.array(values, dtype=np.float64)
    found: dict[int, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        found.setdefault(row.split, []).append(value)
    return np.array([np.mean(own) for own in found.values()])
