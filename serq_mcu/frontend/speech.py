"""Whether there is speech (SPEC.md section 2): voiced frames, if that is known, above the noise floor.

The floor is the least mean of four levels so far, which steady noise hardly leaves and speech does with every
syllable. It needs no absolute level, so no microphone's gain decides. The loudness of samples, which needs no
transform, has such a floor too (section 12).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.analysis import Analysis
from serq_mcu.frontend.arithmetic import LEVEL_MIN, log2_q16

SMOOTHED = 4  # frames of a mean
PIECE = 64  # samples whose variance loudness is: of 4 ms at 16 kHz, what is below 100 Hz hardly counts
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

    @property
    def known(self) -> bool:
        """Whether one of the blocks that are remembered has a floor."""
        return self._before < _NO_FLOOR

    def speech(self, levels: NDArray[np.int64], voiced: NDArray[np.bool_]) -> int:
        """Count the frames of the next block that are speech, from levels in Q8 log2 and voicing [frames]."""
        return int((self.rises(levels) & voiced).sum())

    def rises(self, levels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which frames of the next block rise above the floor, bool [frames], from levels in Q8 log2."""
        before, floor, found = self._before, _NO_FLOOR, []
        for level in levels.tolist():
            sounds = level > LEVEL_MIN
            if sounds:
                self._recent.append(level)
            if sounds and len(self._recent) == SMOOTHED:
                floor = min(floor, sum(self._recent) >> 2)
                found.append(level - min(floor, before) >= self._rise)
            else:
                found.append(False)
        self._floors.append(floor)
        return np.array(found, np.bool_)

    @property
    def _before(self) -> int:
        return min(self._floors, default=_NO_FLOOR)


def loudness(analysis: Analysis, log_table: NDArray[np.uint16], pcm: NDArray[np.int16]) -> NDArray[np.int64]:
    """Compute how loud the newest samples of each frame are, int64 [frames], without a transform.

    pcm: int16 [samples]. In Q8 log2 of the variance within pieces of 64 samples, plus one: neither an offset
    nor rumble is sound, nor is less than a step of the converter.
    """
    hop = analysis.hop_length
    newest = pcm[analysis.frame_length - hop :]
    x = newest[: len(newest) // hop * hop].astype(np.int64).reshape(-1, hop)
    spread = np.full(len(x), PIECE * hop)
    for start in range(0, hop, PIECE):
        piece = x[:, start : start + PIECE]
        spread += piece.shape[1] * (piece * piece).sum(axis=1) - piece.sum(axis=1) ** 2
    loud: NDArray[np.int64] = log2_q16(log_table, spread.astype(np.uint64)) >> 8
    return loud
