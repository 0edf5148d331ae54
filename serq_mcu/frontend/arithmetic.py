"""The integer operations that every stage shares (SPEC.md section 1), over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Q15 = 32768
LEVEL_MIN = -40 * 256  # Q8 log2, -120 dB of full scale: the level of silence, and of all below


def rshift_round(a: NDArray[np.int64], n: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide by 2^n, n >= 1, and round to nearest, ties towards plus infinity: the one rounding rule."""
    one = np.int64(1)
    return (a + (one << (np.asarray(n, dtype=np.int64) - one))) >> n


def isqrt(a: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Compute the floor of the square root, exact for all of uint64."""
    # float64 rounds the square up at most, never below a smaller square (32 of its 53 bits suffice), so one
    # step down mends it
    root = np.minimum(np.sqrt(a.astype(np.float64)), 2.0**32 - 1).astype(np.uint64)
    root -= root * root > a
    return root.astype(np.int64)


def top_bit(a: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Find the index of the highest set bit; 0 for 0."""
    a, index = a.copy(), np.zeros(a.shape, dtype=np.int64)
    for n in (32, 16, 8, 4, 2, 1):
        above = a >> np.uint64(n)
        found = above != 0
        a[found] = above[found]
        index += n * found
    return index


def log2_q16(log_table: NDArray[np.uint16], a: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Compute Q16 log2, -64 of 0, by a table uint16 [64, 2] of bases and steps."""
    top = top_bit(a)
    mantissa = ((a << (63 - top).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
    index, fraction = (mantissa >> 25) & 63, (mantissa >> 9) & 0xFFFF
    base, step = log_table.astype(np.int64).T
    log2: NDArray[np.int64] = (top << 16) + base[index] + ((step[index] * fraction) >> 16)
    log2[a == 0] = -64 << 16
    return log2


def q15(values: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round values of -1 to 1 to int16 in Q15; 1 becomes the largest int16."""
    return np.minimum(np.rint(values * Q15), Q15 - 1).astype(np.int16)
