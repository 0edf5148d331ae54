"""The quantizer: weights to 1 to 8 bits, or to -1, 0, 1 (SPEC.md section 3).

All 2^bits levels are used, symmetric, without a zero: w ~ scale * (2u - (levels - 1)) / 2 with u in 0..levels
- 1; one scale per layer. levels is 2^bits, or 3 for ternary weights. This is the truth for post-training
quantization, packing and C alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.layers.encodings import ENCODINGS, TERNARY, Width, encoding_of

_SEARCH = np.linspace(0.1, 1.2, 45)  # of the scale that reaches the largest weight: few bits want far less
_ZOOM = np.linspace(
    0.85, 1.15, 61
)  # around the best of these: with few weights and many levels the error is jagged
_REFINEMENTS = 4


def quantize(weights: NDArray[np.float64], bits: Width) -> tuple[NDArray[np.uint8], float]:
    """Quantize weights: fields u, of the weights' shape, and the scale with the least squared error.

    From each start of a fixed search, nearest levels and least-squares scale alternate (Lloyd's method with
    evenly spaced levels); 1 bit and ternary weights have a closed form. Raises SerqError if all weights are
    zero or there is no such width.
    """
    levels = _levels(bits)
    largest = float(np.abs(weights).max())
    if largest == 0:
        raise SerqError("a layer's weights are all zero; train again")
    if bits in (1, TERNARY):
        scale = 2 * float(np.abs(weights).mean()) if bits == 1 else _ternary_scale(weights)
        return fields(weights, bits, scale), scale
    scale, ordered = 2 * largest / (levels - 1), Ordered(weights)
    for factors in (_SEARCH, _ZOOM):
        candidates = [_refine(ordered, levels, float(factor) * scale) for factor in factors]
        scale = min(candidates, key=lambda candidate: ordered.excess(candidate, *_steps(levels, candidate)))
    return fields(weights, bits, scale), scale


def fields(weights: NDArray[np.floating], bits: Width, scale: float | np.float32) -> NDArray[np.uint8]:
    """Find the nearest level of each weight, computed in the weights' precision."""
    levels = _levels(bits)
    u: NDArray[np.uint8] = np.clip(np.floor(weights / scale + levels / 2), 0, levels - 1).astype(np.uint8)
    return u


def dequantize(u: NDArray[np.uint8], bits: Width, scale: float) -> NDArray[np.float64]:
    """Return what fields stand for."""
    weights: NDArray[np.float64] = scale / 2 * (2 * u.astype(np.float64) - (_levels(bits) - 1))
    return weights


def _levels(bits: Width) -> int:
    return ENCODINGS[encoding_of(bits)].levels


def _ternary_scale(weights: NDArray[np.float64]) -> float:
    """Find the scale with the least squared error of all.

    If the k largest weights are not zero it is their mean, which takes k * mean^2 off. The threshold of
    `fields`, half the scale, then keeps these k: else keeping others would err less still.
    """
    sums = np.cumsum(np.sort(np.abs(weights), axis=None)[::-1])
    counts = np.arange(1, sums.size + 1)
    best = int(np.argmax(sums * sums / counts))
    return float(sums[best] / counts[best])


class Ordered:
    """Sorted values and their running sums: all that a search for scales needs, without each value again."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = np.sort(values, axis=None)
        self._sums = np.concatenate([[0.0], np.cumsum(self._values)])

    def moments(self, edges: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[float, float]:
        """Sum value * level and level^2, each value at its level [n + 1] between the edges [n].

        An edge belongs to the level above it.
        """
        bounds = np.concatenate([[0], np.searchsorted(self._values, edges), [self._values.size]])
        return float(levels @ np.diff(self._sums[bounds])), float(np.square(levels) @ np.diff(bounds))

    def excess(self, scale: float, edges: NDArray[np.float64], levels: NDArray[np.float64]) -> float:
        """Compute the squared error of scale * level, less the sum of squared values.

        No scale changes that sum.
        """
        product, power = self.moments(edges, levels)
        return scale * (scale * power - 2 * product)


def _steps(levels: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the nearest of the levels changes, and the levels of scale 1."""
    counted = np.arange(levels, dtype=np.float64)
    return scale * (counted[1:] - levels / 2), counted - (levels - 1) / 2


def _refine(ordered: Ordered, levels: int, scale: float) -> float:
    for _ in range(_REFINEMENTS):
        product, power = ordered.moments(*_steps(levels, scale))
        if product <= 0:
            break
        scale = product / power
    return scale
