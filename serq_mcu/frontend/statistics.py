"""Statistics that pool a coefficient over the frames of a clip (SPEC.md section 2).

Each is an object: its integer and float references, the C function that computes it from the sums in a
serq_pool, and the name of its counted cost. A further one is one more object here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.registry import Registry
from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import MAX_FRAMES, MIN_FRAMES
from serq_mcu.frontend.arithmetic import isqrt

SCALE = 16  # a pooled integer has 4 fractional bits


@dataclass(frozen=True)
class Sums:
    """What is kept of a coefficient's values v over `frames` frames, each array [coefficients].

    sum: of v; square: of v^2; delta: of (v - previous v)^2; first and last: v of the first and last frame.
    """

    frames: int
    sum: NDArray[np.int64]
    square: NDArray[np.int64]
    delta: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


@dataclass(frozen=True)
class Statistic:
    """One statistic of a coefficient.

    integers: from sums to int64 [coefficients] with 4 fractional bits; floats: from values [frames,
    coefficients] to float64 [coefficients]; function: the C function, called with pools, their number, the
    number of frames and where to write; cost: the name of its counted cost (kernel_costs.toml), which is
    linear in the number of coefficients of each statistic that shares it.
    """

    name: str
    integers: Callable[[Sums], NDArray[np.int64]]
    floats: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    function: str
    cost: str


def sums_of(v: NDArray[np.int64]) -> Sums:
    """Sum rounded values [frames, coefficients].

    Raises SerqError for fewer than 2 or more than 4096 frames.
    """
    n = len(v)
    if not MIN_FRAMES <= n <= MAX_FRAMES:
        raise SerqError(f"{n} frames cannot be pooled; give a clip of {MIN_FRAMES} to {MAX_FRAMES} frames")
    d = np.diff(v, axis=0)
    return Sums(n, v.sum(axis=0), (v * v).sum(axis=0), (d * d).sum(axis=0), v[0], v[-1])


def _mean(sums: Sums) -> NDArray[np.int64]:
    return (SCALE * sums.sum + (sums.frames >> 1)) // sums.frames


def _sd(sums: Sums) -> NDArray[np.int64]:
    return _root(sums.frames * sums.square - sums.sum * sums.sum) // sums.frames


def _delta_sd(sums: Sums) -> NDArray[np.int64]:
    differences = sums.frames - 1
    return _root(differences * sums.delta - (sums.last - sums.first) ** 2) // differences


def _root(spread: NDArray[np.int64]) -> NDArray[np.int64]:
    return isqrt(spread.astype(np.uint64) * np.uint64(SCALE * SCALE))


def _float_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=0))


def _float_sd(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.std(axis=0))


def _float_delta_sd(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.diff(values, axis=0).std(axis=0))


STATISTICS: Registry[Statistic] = Registry("statistic")
for _statistic in (
    Statistic("mean", _mean, _float_mean, "serq_pool_mean", "statistics"),
    Statistic("sd", _sd, _float_sd, "serq_pool_sd", "statistics"),
    Statistic("delta_sd", _delta_sd, _float_delta_sd, "serq_pool_delta_sd", "statistics"),
):
    STATISTICS.register(_statistic.name, _statistic)
