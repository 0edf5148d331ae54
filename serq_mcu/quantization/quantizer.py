"""The quantizer: weights to 1 to 8 bits, all 2^bits levels used, symmetric, without a zero; or to -1, 0, 1 (SPEC.md section 3).

w ~ scale * (2u - (levels - 1)) / 2 with u in 0..levels - 1; one scale per layer. levels is 2^bits, or 3 for ternary weights. This is the
truth for post-training quantization, packing and C alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.types import ENCODINGS, TERNARY, Width, encoding_of

_SEARCH = np.linspace(0.1, 1.2, 45)  # of the scale that reaches the largest weight: few bits want far less
_ZOOM = np.linspace(0.85, 1.15, 61)  # around the best of these: with few weights and many levels the error is jagged
_REFINEMENTS = 4


def quantize(weights: NDArray[np.float64], bits: Width) -> tuple[NDArray[np.uint8], float]:
    """Fields u, of the weights' shape, and the scale with the least squared error.

    From each start of a fixed search, nearest levels and least-squares scale alternate (Lloyd's method with evenly spaced levels);
    1 bit and ternary weights have a closed form. Raises SerqError if all weights are zero or there is no such width.
    """
    levels = _levels(bits)
    largest = float(np.abs(weights).max())
    if largest == 0:
        raise SerqError("a layer's weights are all zero; train again")
    if bits in (1, TERNARY):
        scale = 2 * float(np.abs(weights).mean()) if bits == 1 else _ternary_scale(weights)
        return fields(weights, bits, scale), scale
    scale = 2 * largest / (levels - 1)
    for factors in (_SEARCH, _ZOOM):
        candidates = [_refine(weights, bits, float(factor) * scale) for factor in factors]
        scale = min(candidates, key=lambda candidate: _squared_error(weights, bits, candidate))
    return fields(weights, bits, scale), scale


def fields(weights: NDArray[np.float64], bits: Width, scale: float) -> NDArray[np.uint8]:
    """The nearest level of each weight."""
    levels = _levels(bits)
    u: NDArray[np.uint8] = np.clip(np.floor(weights / scale + levels / 2), 0, levels - 1).astype(np.uint8)
    return u


def dequantize(u: NDArray[np.uint8], bits: Width, scale: float) -> NDArray[np.float64]:
    """What fields stand for."""
    weights: NDArray[np.float64] = scale / 2 * (2 * u.astype(np.float64) - (_levels(bits) - 1))
    return weights


def _levels(bits: Width) -> int:
    return ENCODINGS[encoding_of(bits)].levels


def _ternary_scale(weights: NDArray[np.float64]) -> float:
    """The scale with the least squared error of all: if the k largest weights are not zero it is their mean, which takes k * mean^2 off.

    The threshold of `fields`, half the scale, then keeps these k: else keeping others would err less still.
    """
    sums = np.cumsum(np.sort(np.abs(weights), axis=None)[::-1])
    counts = np.arange(1, sums.size + 1)
    best = int(np.argmax(sums * sums / counts))
    return float(sums[best] / counts[best])


def _refine(weights: NDArray[np.float64], bits: Width, scale: float) -> float:
    for _ in range(_REFINEMENTS):
        levels = dequantize(fields(weights, bits, scale), bits, 1.0)
        fitted = float((weights * levels).sum() / (levels * levels).sum())
        if fitted <= 0:
            break
        scale = fitted
    return scale


def _squared_error(weights: NDArray[np.float64], bits: Width, scale: float) -> float:
    return float(((weights - dequantize(fields(weights, bits, scale), bits, scale)) ** 2).sum())
