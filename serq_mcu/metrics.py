"""Classification figures, each with its n and interval. numpy only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # standard normal quantile of 97.5 %


def wilson_interval(correct: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a proportion of `correct` in `n` (Wilson, JASA 22, 1927); 0 to 1 for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share, spread = correct / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion_matrix(truth: NDArray[np.integer], answer: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts [classes, classes]: row is the true class, column the answer."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth, answer), 1)
    return matrix


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Share of right answers; 0 without any."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else 0.0


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """Mean of the classes' recalls (unweighted average recall, UAR), over classes that occur."""
    rows = confusion.sum(axis=1)
    occurring = rows > 0
    return float((np.diag(confusion)[occurring] / rows[occurring]).mean()) if occurring.any() else 0.0
