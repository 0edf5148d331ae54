"""Which frames count (SPEC.md section 2): those within some steps of level below the loudest.

Levels lie on a grid of steps that hangs from the first frame with sound, so a gain moves grid and frames
alike. The loudest frame's step and the `tiers` - 1 below it count. Sums are kept for each tier, so a louder
frame drops the lowest tiers and nothing is ever computed again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.arithmetic import LEVEL_MIN

NEVER = -(2**15)  # the step of a frame without sound, which never counts


@dataclass(frozen=True)
class Tiers:
    """How many steps of level count, and how wide one is in Q8 log2; of width 0, all frames count."""

    count: int
    width: int

    def anchor(self, levels: NDArray[np.int64]) -> int | None:
        """Return the level that the grid hangs from, Q8 log2: that of the first frame with sound, if any."""
        sounding = np.flatnonzero(levels > LEVEL_MIN)
        return int(levels[sounding[0]]) if sounding.size else None

    def steps(self, levels: NDArray[np.int64], anchor: int | None = None) -> NDArray[np.int64]:
        """Return the step of each frame, int64 [frames], from levels in Q8 log2 [frames].

        anchor: of the grid; by default that of these frames.
        """
        if self.width == 0:
            return np.zeros_like(levels)
        anchor = self.anchor(levels) if anchor is None else anchor
        if anchor is None:
            return np.full_like(levels, NEVER)
        return np.where(levels > LEVEL_MIN, (levels - anchor) // self.width, NEVER)

    def counted(self, levels: NDArray[np.int64], anchor: int | None = None) -> NDArray[np.bool_]:
        """Tell which frames count, bool [frames]; arguments are those of `steps`."""
        steps = self.steps(levels, anchor)
        if not steps.size:
            return np.zeros(0, np.bool_)
        counted: NDArray[np.bool_] = (steps > steps.max() - self.count) & (steps != NEVER)
        return counted
