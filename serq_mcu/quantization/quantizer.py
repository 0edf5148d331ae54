"""The quantizer: weights to 1 to 8 bits, all 2^bits levels used, symmetric, without a zero (SPEC.md section 3).

w ~ scale * (2u - (2^bits - 1)) / 2 with u in 0..2^bits - 1; one scale per layer. This is the truth for post-training
quantization, packing and C alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError

_SEARCH = np.linspace(0.1, 1.2, 45)  # of the scale that reaches the largest weight: few bits want far less
_ZOOM = np.linspace(0.85, 1.15, 61)  # around the best of these: with few weights and many levels the error is jagged
_REFINEMENTS = 4


def quantize(weights: NDArray[np.float64], bits: int) -> tuple[NDArray[np.uint8], float]:
    """Fields u, of the weights' shape, and the scale with the least squared error.

    From each start of a fixed search, nearest levels and least-squares scale alternate (Lloyd's method with evenly spaced levels);
    at 1 bit both have a closed form. Raises SerqError if all weights are zero or bits is not 1 to 8.
    """
    if not 1 <= bits <= 8:
        raise SerqError(f"{bits} bits per weight are not offered; choose 1 to 8")
    largest = float(np.abs(weights).max())
    if largest == 0:
        raise SerqError("a layer's weights are all zero; train again")
    if bits == 1:
        scale = 2 * float(np.abs(weights).mean())
        return fields(weights, bits, scale), scale
    scale, ordered = 2 * largest / (2**bits - 1), Ordered(weights)
    for factors in (_SEARCH, _ZOOM):
        candidates = [_refine(ordered, bits, float(factor) * scale) for factor in factors]
        scale = min(candidates, key=lambda candidate: ordered.excess(candidate, *_levels(bits, candidate)))
    return fields(weights, bits, scale), scale


def fields(weights: NDArray[np.floating], bits: int, scale: float | np.float32) -> NDArray[np.uint8]:
    """The nearest level of each weight, computed in the weights' precision."""
    u: NDArray[np.uint8] = np.clip(np.floor(weights / scale + 2 ** (bits - 1)), 0, 2**bits - 1).astype(np.uint8)
    return u


def dequantize(u: NDArray[np.uint8], bits: int, scale: float) -> NDArray[np.float64]:
    """What fields stand for."""
    weights: NDArray[np.float64] = scale / 2 * (2 * u.astype(np.float64) - (2**bits - 1))
    return weights


class Ordered:
    """Sorted values and their running sums: all that a search for scales asks of them, without looking at each value again."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = np.sort(values, axis=None)
        self._sums = np.concatenate([[0.0], np.cumsum(self._values)])

    def moments(self, edges: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[float, float]:
        """Sums of value * level and of level^2, each value at the level [n + 1] that the edges [n] around it say; an edge belongs upwards."""
        bounds = np.concatenate([[0], np.searchsorted(self._values, edges), [self._values.size]])
        return float(levels @ np.diff(self._sums[bounds])), float(np.square(levels) @ np.diff(bounds))

    def excess(self, scale: float, edges: NDArray[np.float64], levels: NDArray[np.float64]) -> float:
        """The squared error of scale * level, less the sum of squared values, which no scale changes."""
        product, power = self.moments(edges, levels)
        return scale * (scale * power - 2 * product)


def _levels(bits: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the nearest level changes, and the levels of scale 1."""
    return scale * np.arange(1 - 2 ** (bits - 1), 2 ** (bits - 1)), np.arange(2**bits) - (2**bits - 1) / 2


def _refine(ordered: Ordered, bits: int, scale: float) -> float:
    for _ in range(_REFINEMENTS):
        product, power = ordered.moments(*_levels(bits, scale))
        if product <= 0:
            break
        scale = product / power
    return scale
