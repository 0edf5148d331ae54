"""A microphone's raw samples to 16-bit PCM, in the device's integers (SPEC.md section 13).

Its twin in C is firmware/lib/serq_audio.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DC_SHIFT = 11  # a level of 20 bits and as many more must fit an int32
PDM_DECIMATION = 64  # bits of PDM to a sample
_HALF_SCALE = 1 << 19  # of a 20-bit value
_RATE_RATIO = 4  # of the filter below to the samples
# Half of a symmetric low-pass in 2^-14 at four times the samples' rate, the last its middle. A least-squares
# design (scipy.signal.firls, 63 taps at 64 kHz): the inverse of the integrators' droop to 6.4 kHz, nothing
# from 9.6 kHz on with weight 30. fmt: off
_HALF_FILTER = np.array(
    [
        -3,
        -4,
        1,
        12,
        23,
        25,
        9,
        -22,
        -54,
        -63,
        -32,
        35,
        105,
        131,
        77,
        -48,
        -185,
        -245,
        -161,
        59,
        313,
        444,
        324,
        -59,
        -550,
        -869,
        -733,
        2,
        1236,
        2631,
        3730,
        4126,
    ]
)
# fmt: on


@dataclass(frozen=True)
class Conversion:
    """How raw samples become PCM.

    Their late bits, the time constant 2^dc_shift samples of the DC offset (0: it stays), and the gain gain /
    2^gain_shift from 20 to 16 bits.
    """

    bit_shift: int
    dc_shift: int
    gain: int
    gain_shift: int


def conversion(bit_shift: int, dc_shift: int, gain_db: int) -> Conversion:
    """Find the integers of a gain in dB (-20 to 40), within 0.1 %.

    They are a multiplier of 512 to 1023 and a shift.
    """
    factor, shift = 10 ** (gain_db / 20) / 16, 0
    while round(factor * 2**shift) < 512:
        shift += 1
    return Conversion(bit_shift, dc_shift, min(1023, round(factor * 2**shift)), shift)


@dataclass
class Converter:
    """Convert raw samples of one microphone to PCM, any number at a time."""

    settings: Conversion
    _level: int | None = None
    _pdm: _Decimator = field(default_factory=lambda: _Decimator())

    def i2s(self, raw: NDArray[np.int32]) -> NDArray[np.int16]:
        """Convert left-justified 32-bit samples, signed."""
        return self._samples(raw.astype(np.int64) >> (12 - self.settings.bit_shift))

    def pcm(self, raw: NDArray[np.int16]) -> NDArray[np.int16]:
        """Convert 16-bit samples, signed."""
        return self._samples(raw.astype(np.int64) * 16)

    def adc(self, raw: NDArray[np.uint16]) -> NDArray[np.int16]:
        """Convert 12-bit samples around 2048; higher bits do not count."""
        return self._samples(((raw.astype(np.int64) & 0xFFF) - 2048) * 256)

    def pdm(self, raw: NDArray[np.uint16]) -> NDArray[np.int16]:
        """Convert PDM bits, 16 in a number, the first bit the highest; four numbers give one sample."""
        return self._samples(self._pdm.filtered(raw))

    def _samples(self, values: NDArray[Any]) -> NDArray[np.int16]:
        values = np.clip(values, -_HALF_SCALE, _HALF_SCALE - 1)
        if self.settings.dc_shift:
            values = np.array(list(self._without_level(values.tolist())), np.int64)
        half = 1 << (self.settings.gain_shift - 1)
        samples: NDArray[np.int16] = np.clip(
            (values * self.settings.gain + half) >> self.settings.gain_shift, -32768, 32767
        ).astype(np.int16)
        return samples

    def _without_level(self, values: Iterable[int]) -> Iterable[int]:
        shift = self.settings.dc_shift
        for value in values:
            level = value << shift if self._level is None else self._level
            rest = value - ((level + (1 << (shift - 1))) >> shift)
            self._level = level + rest
            yield rest


class _Decimator:
    """Four integrators and combs over 16 bits, then the low-pass and one value of four.

    All is linear, so it is written as sums.
    """

    def __init__(self) -> None:
        ones = np.ones(16, np.int64)
        self._window = np.convolve(
            np.convolve(ones, ones), np.convolve(ones, ones)
        )  # 61 taps: what integrators and combs weight bits with
        self._bits = np.zeros(len(self._window) - 16, np.int64)
        self._history = np.zeros(2 * len(_HALF_FILTER) - 2, np.int64)

    def filtered(self, raw: NDArray[np.uint16]) -> NDArray[np.int64]:
        bits = np.concatenate(
            [self._bits, (raw.astype(np.int64)[:, None] >> np.arange(15, -1, -1) & 1).ravel()]
        )
        sums = np.convolve(bits, self._window, "valid")[::16]
        self._bits = bits[len(bits) - len(self._bits) :]
        values = np.concatenate([self._history, np.clip(sums - 32768, -32768, 32767)])
        self._history = values[len(values) - len(self._history) :]
        taps = np.concatenate([_HALF_FILTER, _HALF_FILTER[-2::-1]])
        return np.convolve(values, taps, "valid")[_RATE_RATIO - 1 :: _RATE_RATIO] >> 10
