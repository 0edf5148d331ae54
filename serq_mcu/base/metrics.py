"""Classification figures, each with its n and interval. numpy only, but for `half_width`."""

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
    """Count the clips [classes, classes] of each true class (row) and answer (column)."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth, answer), 1)
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
class Score:
    """How well a classifier did, by its confusion matrix.

    `confusion` int64 [classes, classes] has the true classes in rows; `labels` names them.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]

    @staticmethod
    def of(truth: NDArray[np.integer], predicted: NDArray[np.integer], labels: Sequence[str]) -> Score:
        """Score predicted class indices [n] against the true ones [n]."""
        return Score(tuple(labels), confusion_matrix(truth, predicted, len(labels)))

    @property
    def n(self) -> int:
        """Number of clips that were evaluated."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Number of clips answered correctly."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of clips answered correctly; 0 where there are none."""
        return accuracy(self.confusion)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(self.correct, self.n)

    @property
    def recall(self) -> dict[str, float | None]:
        """Share answered correctly within each class; None where the class has no clip."""
        counts = self.confusion.sum(axis=1)
        return {
            label: int(self.confusion[i, i]) / int(counts[i]) if counts[i] else None
            for i, label in enumerate(self.labels)
        }

    @property
    def balanced_accuracy(self) -> float:
        """Unweighted average recall (UAR) over the classes that have clips."""
        return balanced_accuracy(self.confusion)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the confusion matrix."""
        return {
            "accuracy": self.accuracy,
            "n": self.n,
            "correct": self.correct,
            "interval95": list(self.interval),
            "uar": self.balanced_accuracy,
            "recall": self.recall,
        }

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.accuracy:.1%} of n = {self.n} (95 % interval {low:.1%} to {high:.1%}), UAR"
            f" {self.balanced_accuracy:.1%}"
        )

    def confusion_csv(self) -> str:
        """Write the confusion matrix as CSV: a row per true class."""
        rows = [
            ["true \\ predicted", *self.labels],
            *([label, *map(str, row)] for label, row in zip(self.labels, self.confusion, strict=True)),
        ]
        return "".join(",".join(map(_csv_field, row)) + "\n" for row in rows)

    def confusion_lines(self) -> list[str]:
        """Write the confusion matrix as text: a row per true class, columns in the same order."""
        width = max(len(label) for label in self.labels)
        cell = max(4, len(str(int(self.confusion.max(initial=0)))) + 1)
        head = " " * width + "".join(f"{i:>{cell}}" for i in range(len(self.labels))) + "  recall"
        body = []
        for i, (label, row) in enumerate(zip(self.labels, self.confusion, strict=True)):
            recall = self.recall[label]
            share = "-" if recall is None else f"{recall:.0%}"
            body.append(
                f"{label:<{width}}" + "".join(f"{count:>{cell}}" for count in row) + f"{share:>8}  {i}"
            )
        return [head, *body]


def _csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text
