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

HISTOGRAM_BINS = 16
PERCENTILE_COST = "percentiles"  # the name of their counted cost
SCALE = 16  # a pooled integer has 4 fractional bits
MISSING = -(2**31)  # the pooled integer of a statistic of nothing: the network takes the training clips' mean


@dataclass(frozen=True)
class Sums:
    """What is kept of a coefficient's values v over the frames that count, each array [coefficients].

    frames: that count; pairs: of neighbouring frames that both count; sum: of v; square: of v^2; delta: of
    d^2 and drift: of d, the differences of pairs.
    """

    frames: int
    pairs: int
    sum: NDArray[np.int64]
    square: NDArray[np.int64]
    delta: NDArray[np.int64]
    drift: NDArray[np.int64]
    histogram: Histogram | None = None


@dataclass(frozen=True)
class Histogram:
    """How often values fall into each of HISTOGRAM_BINS equal bins: counts [coefficients, bins].

    table: int [coefficients, 3], the lowest value, a bin's width, and 65536 over it. Values beyond the ends
    are counted in the last bins.
    """

    table: NDArray[np.int64]
    counts: NDArray[np.int64]

    @staticmethod
    def of(table: NDArray[np.integer], v: NDArray[np.int64]) -> Histogram:
        """Count rounded values [frames, coefficients]."""
        low, _, scale = table.astype(np.int64).T
        bins = np.clip((v - low) * scale >> 16, 0, HISTOGRAM_BINS - 1)
        counts = (bins[:, :, None] == np.arange(HISTOGRAM_BINS)).sum(axis=0)
        return Histogram(table.astype(np.int64), counts)

    def percentile(self, percent: int) -> NDArray[np.int64]:
        """Interpolate within the bin that holds the percentile; int64 [coefficients], 4 fractional bits."""
        total = int(self.counts[0].sum())
        if total == 0:
            return np.full(len(self.counts), MISSING)
        above = np.cumsum(self.counts, axis=1)
        index = np.argmax(100 * above >= percent * total, axis=1)
        rows = np.arange(len(index))
        inside = self.counts[rows, index]
        fraction = (percent * total - 100 * (above[rows, index] - inside)) * 256 // (100 * inside)
        low, width, _ = self.table.T
        value: NDArray[np.int64] = SCALE * low + ((256 * index + fraction) * width >> 4)
        return value


@dataclass(frozen=True)
class Statistic:
    """One statistic of a coefficient.

    integers: from sums to int64 [coefficients] with 4 fractional bits, or MISSING; floats: from values
    [frames, coefficients] and differences [pairs, coefficients], none of them empty, to float64
    [coefficients]; of_pairs: whether it is one of differences; percent: the percentile that it is, or 0;
    function: the C function, called with pools or histograms, their number, their tiers, the counts or the
    histograms' table and percent, and where to write; cost: the name of its counted cost (kernel_costs.toml),
    which is linear in the number of coefficients of each statistic that shares it.
    """

    name: str
    integers: Callable[[Sums], NDArray[np.int64]]
    floats: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
    function: str
    cost: str
    of_pairs: bool = False
    percent: int = 0


def sums_of(v: NDArray[np.int64], counted: NDArray[np.bool_]) -> Sums:
    """Sum rounded values [frames, coefficients] over the frames that count, bool [frames].

    Raises SerqError for fewer than 2 or more than 4096 frames.
    """
    if not MIN_FRAMES <= len(v) <= MAX_FRAMES:
        raise SerqError(
            f"{len(v)} frames cannot be pooled; give a clip of {MIN_FRAMES} to {MAX_FRAMES} frames"
        )
    pairs = counted[1:] & counted[:-1]
    kept, d = v[counted], np.diff(v, axis=0)[pairs]
    sums = (part.sum(axis=0) for part in (kept, kept * kept, d * d, d))
    return Sums(int(counted.sum()), int(pairs.sum()), *sums)


def _mean(sums: Sums) -> NDArray[np.int64]:
    return _ratio(SCALE * sums.sum, sums.frames)


def _sd(sums: Sums) -> NDArray[np.int64]:
    return _deviation(sums.frames * sums.square - sums.sum * sums.sum, sums.frames)


def _delta_mean(sums: Sums) -> NDArray[np.int64]:
    return _ratio(SCALE * sums.drift, sums.pairs)


def _delta_sd(sums: Sums) -> NDArray[np.int64]:
    return _deviation(sums.pairs * sums.delta - sums.drift * sums.drift, sums.pairs)


def _ratio(dividend: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return (dividend + (n >> 1)) // n if n else np.full_like(dividend, MISSING)


def _deviation(spread: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    if n == 0:
        return np.full_like(spread, MISSING)
    return isqrt(spread.astype(np.uint64) * np.uint64(SCALE * SCALE)) // n


def _percentile(percent: int) -> Statistic:
    def integers(sums: Sums) -> NDArray[np.int64]:
        assert sums.histogram is not None
        return sums.histogram.percentile(percent)

    def floats(values: NDArray[np.float64], _: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.percentile(values, percent, axis=0, method="inverted_cdf"))

    return Statistic(f"p{percent}", integers, floats, "serq_percentiles", PERCENTILE_COST, percent=percent)


_PERCENTS = (10, 25, 50, 75, 90)
STATISTICS: Registry[Statistic] = Registry("statistic")
for _statistic in (
    Statistic("mean", _mean, lambda v, _: v.mean(axis=0), "serq_pool_mean", "statistics"),
    Statistic("sd", _sd, lambda v, _: v.std(axis=0), "serq_pool_sd", "statistics"),
    Statistic(
        "delta_mean",
        _delta_mean,
        lambda _, d: d.mean(axis=0),
        "serq_pool_delta_mean",
        "statistics",
        of_pairs=True,
    ),
    Statistic(
        "delta_sd", _delta_sd, lambda _, d: d.std(axis=0), "serq_pool_delta_sd", "statistics", of_pairs=True
    ),
    *map(_percentile, _PERCENTS),
):
    STATISTICS.register(_statistic.name, _statistic)
PERCENTILES = tuple(f"p{percent}" for percent in _PERCENTS)  # not asked of the registry: extensions load then
