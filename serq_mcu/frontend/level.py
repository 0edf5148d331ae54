"""The level of a frame, from the power that its features are made of (SPEC.md section 2).

In Q8 log2 of power relative to a full-scale square wave: a step is 3.01/256 dB, a full-scale sine is at -3.01
dB. With mel bands it is the power within them, so that hum below the lowest band is no sound.
"""

from __future__ import annotations

import math

from serq_mcu.frontend.analysis import Analysis

_STEP_DB = 10 * math.log10(2) / 256


def level_offset(analysis: Analysis, headroom: int, *, uses_mel: bool) -> int:
    """Return the Q16 log2 of a full-scale frame's power, in the units of the bins' integers."""
    # A bin is X * 2^(31 - L - h + s) with |x| <= 1; by Parseval the powers |X|^2 of bins 0 to N/2 sum to N/2
    # * sum of (x * window)^2.
    log2_length = analysis.fft_length.bit_length() - 1
    window = 3 / 8 * analysis.frame_length  # sum of the squares of a periodic Hann window
    half = 1 if uses_mel else 0  # a band's energy is half its power
    return round(
        65536 * (2 * (31 - log2_length - headroom) - half + math.log2(analysis.fft_length / 2 * window))
    )


def level_from_db(decibel: float) -> int:
    """Return the Q8 log2 level nearest to `decibel`, dB relative to a full-scale square wave."""
    return round(decibel / _STEP_DB)


def level_in_db(level: float) -> float:
    """Convert a Q8 log2 level to dB."""
    return level * _STEP_DB
