"""How the input's constants and the chroma table lie in bytes (SPEC.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.quantized_model.types import InputQuantization

CHROMA_WIDTH = 4  # pitch classes that a run's bins touch


def pack_scale(constants: InputQuantization) -> NDArray[np.uint16]:
    """Multipliers (11 bits) and shifts (5) of the input for serq_standardize()."""
    return (constants.multiplier << 5 | constants.shift).astype(np.uint16)


@dataclass(frozen=True, eq=False)
class ChromaRuns:
    """A chroma table without its zeros: runs uint16 [runs, 3] of first bin, bins and first class; weights
    int16 [bins of all runs, 4].
    """

    runs: NDArray[np.uint16]
    weights: NDArray[np.int16]


def chroma_runs(table: NDArray[np.int16]) -> ChromaRuns:
    """Runs of bins that touch the same 4 classes (which may go past the last to the first), for a table
    [classes, bins].

    A bin that touches more belongs to several runs.
    """
    windows = (np.arange(len(table))[:, None] + np.arange(CHROMA_WIDTH)) % len(table)  # [first class, 4]
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
            firsts = range(0, len(table), CHROMA_WIDTH)
        else:
            reach = [_leading(row[start:]) for row in holds]
            end = start + max(reach)
            firsts = range(int(np.argmax(reach)), int(np.argmax(reach)) + 1)
        runs += [(start, end - start, first) for first in firsts if used[windows[first], start:end].any()]
        start = end
    weights = [
        table[windows[first], bin_] for begin, count, first in runs for bin_ in range(begin, begin + count)
    ]
    return ChromaRuns(
        np.array(runs, dtype=np.uint16).reshape(-1, 3),
        np.array(weights, dtype=np.int16).reshape(-1, CHROMA_WIDTH),
    )


def _leading(condition: NDArray[np.bool_]) -> int:
    """How many elements hold before the first that does not."""
    return len(condition) if condition.all() else int(np.argmin(condition))
