"""Where a clip is loud and where it is quiet: levels of frames of 10 ms, in dB.

0 dB is a full-scale square wave, as everywhere. What a clip's loud part is follows its own loudest frames, so
that none of this depends on gain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME_SECONDS = 0.01
SPOKEN_DB = 30.0  # frames so far below the loud ones are not speech: the range of voices and fricatives
QUIET_DB, QUIET_SECONDS = 20.0, 0.1  # of a place where words may part; a stop's closure is mostly shorter
_LOUD_PERCENTILE = 95.0
_SILENCE_DB = -120.0  # of frames without any power


def frame_samples(rate: int) -> int:
    """Return the samples of a frame at `rate` Hz."""
    return max(1, round(FRAME_SECONDS * rate))


def frame_levels(signal: NDArray[np.number], rate: int) -> NDArray[np.float64]:
    """Compute the level in dB of each frame of a signal [samples] in 16-bit units at `rate` Hz.

    The last frame may be short. The signal's mean is taken off first.
    """
    size = frame_samples(rate)
    starts = np.arange(0, signal.size, size)
    centred = signal / 32768.0 - float(np.mean(signal)) / 32768.0
    power = np.add.reduceat(np.square(centred), starts) / np.minimum(size, signal.size - starts)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (_SILENCE_DB / 10)))
    return levels


def loud_level(levels: NDArray[np.float64]) -> float:
    """Return the level in dB of a clip's loud part: the 95th percentile of its frames."""
    return float(np.percentile(levels, _LOUD_PERCENTILE))


def spoken_frames(signal: NDArray[np.number], rate: int) -> NDArray[np.bool_]:
    """Tell of each frame whether it is within SPOKEN_DB of the clip's loud part."""
    levels = frame_levels(signal, rate)
    spoken: NDArray[np.bool_] = levels >= loud_level(levels) - SPOKEN_DB
    return spoken


def quiet_places(signal: NDArray[np.number], rate: int) -> list[int]:
    """Find where a talker could have paused, as samples from the beginning.

    They are the middles of the stretches of QUIET_SECONDS and more that lie QUIET_DB under the loud part, and
    have frames that do not before and after them.
    """
    levels, size = frame_levels(signal, rate), frame_samples(rate)
    edges = np.flatnonzero(np.diff(np.pad(levels >= loud_level(levels) - QUIET_DB, 1).astype(np.int8)))
    ends, starts = edges[1:-1:2], edges[2:-1:2]  # of the loud stretches around each quiet one
    return [
        int(size * (start + end) // 2)
        for end, start in zip(ends, starts, strict=True)
        if start - end >= round(QUIET_SECONDS / FRAME_SECONDS)
    ]
