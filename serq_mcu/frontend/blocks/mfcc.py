"""MFCC block: the first cepstral coefficients, a DCT-II of the logs of mel energies (as librosa's mfcc)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CArray, CPart, Declare, Trace
from serq_mcu.frontend.analysis import Analysis, require
from serq_mcu.frontend.arithmetic import Q15, q15
from serq_mcu.frontend.blocks.base import (
    MAX_SIZE,
    VALUES,
    Bounds,
    Buffer,
    Cost,
    FeatureBlock,
    FloatFrames,
    Frames,
    Tables,
    TableType,
)
from serq_mcu.frontend.blocks.mel import DECIBEL
from serq_mcu.frontend.statistics import PERCENTILES

PERCENTILES_OF = 12
SPREAD_DB = 25.0  # of coefficient 0 over the root of the number of bands


@dataclass(frozen=True)
class Mfcc(FeatureBlock):
    """The first `size` cepstral coefficients of the lowest `bands` mel bands, or of all if `bands` is 0.

    Fewer bands leave out what telephones and narrow microphones do not carry. Without `loudness`, the mean of
    coefficient 0 is left out: then no statistic depends on the microphone's gain.
    """

    kind: ClassVar[str] = "mfcc"
    reads: ClassVar[Buffer] = "log"
    destroys: ClassVar[bool] = True
    unit: ClassVar[str] = "dB"
    loud: ClassVar[int] = 1

    loudness: bool = True
    bands: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.bands <= MAX_SIZE and self.bands % 2 == 0,
            f"mfcc: bands {self.bands!r} must be an even number up to {MAX_SIZE}, or 0 for all",
        )
        some = self.feature_count if self.statistics else len(self.sequence_range)
        require(some > 0, "mfcc: without its loudness nothing is left of it")

    def first(self, statistic: str) -> int:
        """Return 1 for percentiles, which leave out the loudness, and for the mean where it is left out."""
        return 1 if statistic in PERCENTILES or (statistic == "mean" and not self.loudness) else 0

    def end(self, statistic: str) -> int:
        """Return the end of percentiles, which are of the lowest 12 coefficients alone."""
        return min(self.size, 1 + PERCENTILES_OF) if statistic in PERCENTILES else self.size

    def spread(self, analysis: Analysis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a symmetric range for each coefficient, which falls with its number as speech's does."""
        reach = np.sqrt(self._bands(analysis)) * SPREAD_DB / (1 + np.arange(self.size) / 4)
        return -reach, reach

    def misfit(self, analysis: Analysis) -> str | None:
        """Return a sentence if there are more coefficients than mel bands, or more bands than there are."""
        if self.bands > analysis.mel_bands:
            return f"mfcc: bands {self.bands} are more than the {analysis.mel_bands} mel bands"
        return None if self.size <= self._bands(analysis) else "more MFCC than mel bands"

    def _bands(self, analysis: Analysis) -> int:
        return self.bands or analysis.mel_bands

    def table_types(self, analysis: Analysis) -> dict[str, TableType]:
        """Return the type of `dct`: Q15 cosines of half the bands; the other half mirrors them."""
        return {"dct": TableType(np.int16, (self.size, self._bands(analysis) // 2))}

    def build_tables(self, analysis: Analysis) -> dict[str, NDArray[Any]]:
        """Make the cosines of the DCT-II."""
        bands = self._bands(analysis)
        phase = np.pi / bands * (np.arange(bands // 2) + 0.5)
        return {"dct": q15(np.cos(np.outer(np.arange(self.size), phase)))}

    def value_range(self, tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Bound each coefficient by interval arithmetic.

        Raises SerqError if a partial sum may leave int32.
        """
        half = tables["dct"].shape[1]
        low, high = bounds.log_low[: 2 * half], bounds.log_high[: 2 * half]
        mirrored_low, mirrored_high = low[::-1], high[::-1]
        even = (low + mirrored_low)[:half], (high + mirrored_high)[:half]
        odd = (low - mirrored_high)[:half], (high - mirrored_low)[:half]
        cosines = tables["dct"].astype(np.int64)
        is_odd = (np.arange(len(cosines)) % 2 == 1)[:, None]
        ends = np.stack(
            [np.where(is_odd, o, e) * cosines >> 16 for e, o in zip(even, odd, strict=True)]
        )  # mulw is monotonic
        require(
            int(np.abs(ends).max(axis=0).sum(axis=1).max()) < 2**31 - 2**15,  # 2^15: pooling's rounding
            "front-end tables: an mfcc can exceed 32 bits",
        )
        return ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)

    def integers(self, frames: Frames, tables: Tables) -> NDArray[np.int64]:
        """Compute the coefficients from mirrored logs.

        Rows of even number are computed from their sums, of odd number from their differences.
        """
        assert frames.log is not None
        half = tables["dct"].shape[1]
        log = frames.log[: 2 * half]
        mirrored = log[::-1]
        folded = (log + mirrored)[:half], (log - mirrored)[:half]
        cosines = tables["dct"].astype(np.int64)
        return np.stack([((folded[r & 1] * row[:, None]) >> 16).sum(axis=0) for r, row in enumerate(cosines)])

    def floats(self, frames: FloatFrames, analysis: Analysis) -> NDArray[np.float64]:
        """Compute the coefficients by librosa."""
        import librosa

        assert frames.log is not None
        log = frames.log[: self._bands(analysis)]
        return np.asarray(librosa.feature.mfcc(S=log, n_mfcc=self.size, dct_type=2, norm="ortho"))

    def steps(self, analysis: Analysis) -> NDArray[np.float64]:
        """Return the dB of a step: the DCT's orthonormal factor is not in the integers."""
        norm = np.sqrt(np.where(np.arange(self.size) == 0, 1.0, 2.0) / self._bands(analysis))
        return np.asarray(DECIBEL / Q15 * norm)

    def code(self, analysis: Analysis, tables: Tables) -> CPart:
        """Transform the logs, in place in part."""
        return CPart(
            steps=(
                Declare("int32_t *", "mfcc", VALUES),
                Call("serq_dct", ("log", self._bands(analysis), "serq_dct_table", self.size, "mfcc")),
                Trace("mfcc", "mfcc", self.size, "int32_t"),
            ),
            arrays=(CArray("serq_dct_table", tables["dct"]),),
        )

    def costs(self, analysis: Analysis, _tables: Tables) -> tuple[Cost, ...]:
        """Count by pairs of rows of the DCT, which share loads."""
        bands = self._bands(analysis)
        pairs = -(-self.size // 4) + -(-(self.size // 2) // 2)
        return (Cost("dct", "dct", (pairs * (bands // 8), pairs * (bands // 2 % 4), pairs, bands, 1)),)
