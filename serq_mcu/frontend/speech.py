"""Whether there is speech (SPEC.md section 2): voiced frames, if that is known, above the noise floor.

The floor is the least mean of four levels so far, which steady noise hardly leaves and speech does with every
syllable. It needs no absolute level, so no microphone's gain decides.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.arithmetic import LEVEL_MIN

SMOOTHED = 4  # frames of a mean
_NO_FLOOR = 2**15 - 1


@dataclass(frozen=True)
class SpeechRule:
    """A clip holds speech if `frames` of its frames lie `rise`, Q8 log2, above the floor; with 0 always."""

    rise: int
    frames: int


class NoiseFloor:
    """The noise floor of a stream, or of a clip, which is one block; in integers, as firmware keeps it."""

    def __init__(self, rule: SpeechRule, blocks: int = 0) -> None:
        """Begin without a floor; it remembers the floors of so many blocks that have ended."""
        self._rise = rule.rise
        self._recent: deque[int] = deque(maxlen=SMOOTHED)
        self._floors: deque[int] = deque(maxlen=blocks)

    def speech(self, levels: NDArray[np.int64], voiced: NDArray[np.bool_]) -> int:
        """Count the frames of the next block that are speech, from levels in Q8 log2 and voicing [frames]."""
        before = min(self._floors, default=_NO_FLOOR)
        floor, count = _NO_FLOOR, 0
        for level, is_voiced in zip(levels.tolist(), voiced.tolist(), strict=True):
            if level <= LEVEL_MIN:
                continue
            self._recent.append(level)
            if len(self._recent) < SMOOTHED:
                continue
            floor = min(floor, sum(self._recent) >> 2)
            count += is_voiced and level - min(floor, before) >= self._rise
        self._floors.append(floor)
        return count
