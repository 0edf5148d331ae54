"""Classification figures, each with its n and interval. numpy only, except `half_width`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # standard normal quantile of 97.5 %


def wilson_interval(correct: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a proportion of `correct` in `n` (Wilson, JASA 22, 1927); 0 to 1 for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share, spread = correct / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def half_width(values: NDArray[np.float64]) -> float:
    """Compute half of the 95 % interval of the mean of two or more values [n], from their spread.

    By Student's t; needs scipy.
    """
    from scipy import stats

    return float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size))


def confusion_matrix(
    truth: NDArray[np.integer], answer: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Count the clips [classes, classes] of each true class (row) and answer (column).

    An answer below 0 names no class, and is in no column.
    """
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth[answer >= 0], answer[answer >= 0]), 1)
    return matrix


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Return the share of right answers; 0 without any."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else 0.0


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """Compute the mean recall over the classes that occur (unweighted average recall, UAR)."""
    rows = confusion.sum(axis=1)
    occurring = rows > 0
    return float((np.diag(confusion)[occurring] / rows[occurring]).mean()) if occurring.any() else 0.0


def cross_entropy(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Compute the mean loss in nats of logits [..., classes] against class indices [...]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    right = np.take_along_axis(shifted, truth[..., None], axis=-1)[..., 0]
    return float((np.log(np.exp(shifted).sum(axis=-1)) - right).mean())


@dataclass(frozen=True)
class PairedDifference:
    """What the second of two answers to each of `n` cases gained over the first.

    Cases that only the first, and only the second, answered rightly.
    """

    n: int
    only_first: int
    only_second: int

    @staticmethod
    def of(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
        """Compare which cases [n] each answered rightly."""
        return PairedDifference(len(first), int((first & ~second).sum()), int((second & ~first).sum()))

    @property
    def mean(self) -> float:
        """Difference of the shares of right answers, second less first."""
        return (self.only_second - self.only_first) / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference (Bonett and Price, J. Educ. Behav. Stat. 37, 2012)."""
        first, second = ((count + 1) / (self.n + 2) for count in (self.only_first, self.only_second))
        middle = second - first
        half = Z95 * math.sqrt((first + second - middle**2) / (self.n + 2))
        return max(-1.0, middle - half), min(1.0, middle + half)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "difference": self.mean,
            "interval95": list(self.interval),
            "only_before": self.only_first,
            "only_after": self.only_second,
        }


@dataclass(frozen=True)
class Score:
    """How well a classifier did, by its confusion matrix.

    `confusion` int64 [classes, classes] has the true classes in rows; `labels` names them. `unanswered`: the
    clips of each class that got no class for an answer; () where there are none.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    unanswered: tuple[int, ...] = ()

    @staticmethod
    def of(truth: NDArray[np.integer], predicted: NDArray[np.integer], labels: Sequence[str]) -> Score:
        """Score predicted class indices [n], below 0 for none, against the true ones [n]."""
        unanswered = np.bincount(truth[predicted < 0], minlength=len(labels))
        return Score(
            tuple(labels),
            confusion_matrix(truth, predicted, len(labels)),
            tuple(unanswered.tolist()) if unanswered.any() else (),
        )

    @property
    def n(self) -> int:
        """Number of clips that were evaluated."""
        return int(self.counts.sum())

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of clips of each class that were evaluated."""
        rows: NDArray[np.int64] = self.confusion.sum(axis=1) + np.array(self.unanswered or 0, np.int64)
        return rows

    @property
    def correct(self) -> int:
        """Number of clips answered correctly."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of clips answered correctly; 0 where there are none."""
        return self.correct / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(self.correct, self.n)

    @property
    def recall(self) -> dict[str, float | None]:
        """Share answered correctly within each class; None where the class has no clip."""
        counts = self.counts
        return {
            label: int(self.confusion[i, i]) / int(counts[i]) if counts[i] else None
            for i, label in enumerate(self.labels)
        }

    @property
    def balanced_accuracy(self) -> float:
        """Unweighted average recall (UAR) over the classes that have clips."""
        if not self.unanswered:
            return balanced_accuracy(self.confusion)
        found = [share for share in self.recall.values() if share is not None]
        return float(np.mean(found)) if found else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the confusion matrix."""
        return {
            "accuracy": self.accuracy,
            "n": self.n,
            "correct": self.correct,
            "interval95": list(self.interval),
            "uar": self.balanced_accuracy,
            "recall": self.recall,
            "unanswered": sum(self.unanswered),
        }

    def __str__(self) -> str:
        low, high = self.interval
        none = f"; {sum(self.unanswered)} clips got no answer" if self.unanswered else ""
        return (
            f"{self.accuracy:.1%} of n = {self.n} (95 % interval {low:.1%} to {high:.1%}), UAR"
            f" {self.balanced_accuracy:.1%}{none}"
        )

    @property
    def _shown(self) -> NDArray[np.int64]:
        """The confusion matrix, with a last column of clips without an answer where there are any."""
        if not self.unanswered:
            return self.confusion
        return np.column_stack([self.confusion, self.unanswered])

    def confusion_csv(self) -> str:
        """Write the confusion matrix as CSV: a row per true class."""
        rows = [
            ["true \\ predicted", *self.labels, *(["no answer"] if self.unanswered else [])],
            *([label, *map(str, row)] for label, row in zip(self.labels, self._shown, strict=True)),
        ]
        return "".join(",".join(map(_csv_field, row)) + "\n" for row in rows)

    def confusion_lines(self) -> list[str]:
        """Write the confusion matrix as text: a row per true class, columns in the same order."""
        named = [f"{i:>2} {label}" for i, label in enumerate(self.labels)]
        width = max(map(len, named))
        cell = max(5 if self.unanswered else 4, len(str(int(self._shown.max(initial=0)))) + 1)
        names = [*map(str, range(len(self.labels))), *(["none"] if self.unanswered else [])]
        head = " " * width + "".join(f"{name:>{cell}}" for name in names) + "  recall"
        body = []
        for name, label, row in zip(named, self.labels, self._shown, strict=True):
            recall = self.recall[label]
            share = "-" if recall is None else f"{recall:.0%}"
            body.append(f"{name:<{width}}" + "".join(f"{count:>{cell}}" for count in row) + f"{share:>8}")
        return [head, *body]


def _csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text
