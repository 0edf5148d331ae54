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
    scale, ordered = 2 * largest / (2**bits - 1), _Ordered(weights)
    for factors in (_SEARCH, _ZOOM):
        candidates = [_refine(ordered, bits, float(factor) * scale) for factor in factors]
        scale = min(candidates, key=lambda candidate: ordered.excess(bits, candidate))
    return fields(weights, bits, scale), scale


def fields(weights: NDArray[np.floating], bits: int, scale: float | np.float32) -> NDArray[np.uint8]:
    """The nearest level of each weight, computed in the weights' precision."""
    u: NDArray[np.uint8] = np.clip(np.floor(weights / scale + 2 ** (bits - 1)), 0, 2**bits - 1).astype(np.uint8)
    return u


def dequantize(u: NDArray[np.uint8], bits: int, scale: float) -> NDArray[np.float64]:
    """What fields stand for."""
    weights: NDArray[np.float64] = scale / 2 * (2 * u.astype(np.float64) - (2**bits - 1))
    return weights


class _Ordered:
    """Sorted weights and their running sums: all that a search for scales asks of them, without looking at each weight again."""

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weights = np.sort(weights, axis=None)
        self._sums = np.concatenate([[0.0], np.cumsum(self._weights)])

    def moments(self, bits: int, scale: float) -> tuple[float, float]:
        """Sums of weight * level and of level^2, each weight at its nearest level of scale 1."""
        edges = scale * np.arange(1 - 2 ** (bits - 1), 2 ** (bits - 1))
        bounds = np.concatenate([[0], np.searchsorted(self._weights, edges), [self._weights.size]])
        levels = np.arange(2**bits) - (2**bits - 1) / 2
        return float(levels @ np.diff(self._sums[bounds])), float(np.square(levels) @ np.diff(bounds))

    def excess(self, bits: int, scale: float) -> float:
        """The squared error, less the sum of squared weights, which no scale changes."""
        product, power = self.moments(bits, scale)
        return scale * (scale * power - 2 * product)


def _refine(ordered: _Ordered, bits: int, scale: float) -> float:
    for _ in range(_REFINEMENTS):
        product, power = ordered.moments(bits, scale)
        if product <= 0:
            break
        scale = product / power
    return scale
