"""Chroma block: the parts of the 12 pitch classes in a frame's power, relative to the largest.

The weights are Ellis's (chroma features, 2007), as in librosa's filters.chroma with tuning 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CArray, CPart, Declare, Trace
from serq_mcu.frontend.analysis import Analysis, require
from serq_mcu.frontend.arithmetic import Q15, top_bit
from serq_mcu.frontend.blocks.base import (
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

PITCH_CLASSES = 12
RUN_WIDTH = 4  # pitch classes that a run's bins touch
_THRESHOLD = 1 / 512  # of a bin's largest weight; less is left out: most bins then touch 4 classes at most


@dataclass(frozen=True)
class Chroma(FeatureBlock):
    """The 12 pitch classes, C first."""

    kind: ClassVar[str] = "chroma"
    reads: ClassVar[Buffer] = "power"
    destroys: ClassVar[bool] = True
    needs_total: ClassVar[bool] = True
    unit: ClassVar[str] = "of the largest"

    size: int = PITCH_CLASSES

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.size == PITCH_CLASSES, f"chroma: size {self.size} must be {PITCH_CLASSES}, the pitch classes"
        )

    def table_types(self, analysis: Analysis) -> dict[str, TableType]:
        """Return the type of `weights`: Q15, of each bin in each class."""
        return {"weights": TableType(np.int16, (self.size, analysis.bins))}

    def build_tables(self, analysis: Analysis) -> dict[str, NDArray[Any]]:
        """Round the weights and leave the smallest out."""
        weights = chroma_weights(analysis)
        kept = np.where(weights < _THRESHOLD * weights.max(axis=0), 0, weights)
        return {"weights": np.rint(kept / kept.max() * (Q15 - 1)).astype(np.int16)}

    def value_range(self, tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return 0 and 1 in Q15, since each class is divided by the largest.

        Raises SerqError if a frame's power may exceed 62 bits, or a weight is negative.
        """
        require(int(tables["weights"].min()) >= 0, "front-end tables: a chroma weight is negative")
        require(
            bounds.power < 2**62,
            f"front-end tables: a frame's power can reach {bounds.power:.3g},"
            " more than chroma's 62 bits hold",
        )
        return np.zeros(self.size, np.int64), np.full(self.size, Q15, np.int64)

    def integers(self, frames: Frames, tables: Tables) -> NDArray[np.int64]:
        """Weigh the powers, scaled to 31 bits by the frame's total, and divide by the largest class."""
        power = frames.power
        up = (61 - top_bit(power.sum(axis=0, dtype=np.uint64))) // 2 * 2
        right, left = np.maximum(32 - up, 0).astype(np.uint64), np.maximum(up - 32, 0).astype(np.uint64)
        p = ((power >> right) << left).astype(np.int64)
        rows = []
        for row in tables["weights"].astype(np.int64):
            touched = np.flatnonzero(row)
            rows.append((p[touched] * row[touched, None] >> 16).sum(axis=0))
        sums = np.stack(rows)
        largest = sums.max(axis=0)
        zeros = 31 - top_bit(largest.astype(np.uint64))
        divisor = np.maximum((largest << zeros) >> 16, 1)  # 1 only where all sums are 0
        chroma: NDArray[np.int64] = (((sums << zeros) >> 16) * ((2**31 - 1) // divisor)) >> 16
        return chroma

    def floats(self, frames: FloatFrames, analysis: Analysis) -> NDArray[np.float64]:
        """Compute the classes by librosa."""
        import librosa

        weights = librosa.filters.chroma(
            sr=analysis.sample_rate,
            n_fft=analysis.fft_length,
            tuning=0.0,
            n_chroma=PITCH_CLASSES,
            dtype=np.float64,
        )
        return np.asarray(librosa.util.normalize(weights @ frames.power, norm=np.inf, axis=0))

    def steps(self, _analysis: Analysis) -> NDArray[np.float64]:
        """Return a step of Q15."""
        return np.array(1 / Q15)

    def code(self, analysis: Analysis, tables: Tables) -> CPart:
        """Weigh the bins run by run."""
        runs = chroma_runs(tables["weights"])
        arguments = (
            *("bins", analysis.bins, "power"),
            *("serq_chroma_run_table", len(runs.runs), "serq_chroma_weight_table", "chroma"),
        )
        return CPart(
            steps=(
                Declare("int32_t *", "chroma", VALUES),
                Call("serq_chroma", arguments),
                Trace("chroma", "chroma", self.size, "int32_t"),
            ),
            arrays=(
                CArray("serq_chroma_run_table", runs.runs),
                CArray("serq_chroma_weight_table", runs.weights),
            ),
        )

    def costs(self, analysis: Analysis, tables: Tables) -> tuple[Cost, ...]:
        """Count by bins of all runs, runs and bins."""
        runs = chroma_runs(tables["weights"])
        return (Cost("chroma", "chroma", (len(runs.weights), len(runs.runs), analysis.fft_length // 2, 1)),)


def chroma_weights(analysis: Analysis) -> NDArray[np.float64]:
    """Return the weight [12, N/2+1] of each bin's power in each pitch class, C first.

    Gaussians around the pitch, columns of unit length, and a wide Gaussian over the octaves (centre 5, width
    2).
    """
    length = analysis.fft_length
    pitch = np.empty(length)
    pitch[1:] = PITCH_CLASSES * np.log2(np.arange(1, length) * analysis.sample_rate / length / (440 / 16))
    pitch[0] = pitch[1] - 1.5 * PITCH_CLASSES
    width = np.append(np.maximum(np.diff(pitch), 1), 1)
    half = PITCH_CLASSES // 2
    distance = (pitch - np.arange(PITCH_CLASSES)[:, None] + half) % PITCH_CLASSES - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((pitch / PITCH_CLASSES - 5) / 2) ** 2)
    return np.asarray(np.roll(weights, -3, axis=0)[:, : analysis.bins])


@dataclass(frozen=True, eq=False)
class ChromaRuns:
    """A table of weights without its zeros.

    runs uint16 [runs, 3]: first bin, bins and first class, by first class; weights int16 [bins of all runs,
    4].
    """

    runs: NDArray[np.uint16]
    weights: NDArray[np.int16]


def chroma_runs(table: NDArray[np.int16]) -> ChromaRuns:
    """Find the runs of bins that touch the same 4 classes, for a table [classes, bins].

    The 4 classes may go past the last to the first. A bin that touches more belongs to several runs.
    """
    windows = (np.arange(len(table))[:, None] + np.arange(RUN_WIDTH)) % len(table)  # [first class, 4]
    used = table != 0
    holds = used[windows].sum(axis=1) == used.sum(
        axis=0
    )  # [first class, bins]: the window holds all that the bin touches
    runs: list[tuple[int, int, int]] = []
    start = 0
    while start < table.shape[1]:
        wide = not holds[:, start].any()
        if wide:  # as many windows as cover all classes, over all such bins in a row
            end = start + _leading(~holds[:, start:].any(axis=0))
            firsts = range(0, len(table), RUN_WIDTH)
        else:
            reach = [_leading(row[start:]) for row in holds]
            end = start + max(reach)
            firsts = range(int(np.argmax(reach)), int(np.argmax(reach)) + 1)
        runs += [(start, end - start, first) for first in firsts if used[windows[first], start:end].any()]
        start = end
    runs.sort(key=lambda run: run[2])  # so that sums stay in registers
    weights = [
        table[windows[first], bin_] for begin, count, first in runs for bin_ in range(begin, begin + count)
    ]
    return ChromaRuns(
        np.array(runs, dtype=np.uint16).reshape(-1, 3),
        np.array(weights, dtype=np.int16).reshape(-1, RUN_WIDTH),
    )


def _leading(condition: NDArray[np.bool_]) -> int:
    """Count the elements that hold before the first that does not."""
    return len(condition) if condition.all() else int(np.argmin(condition))
