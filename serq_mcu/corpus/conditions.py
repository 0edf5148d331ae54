"""A recording as a device would record it elsewhere: at another speed, in a room, in noise, at another gain.

The order is that of the world: the talker's speed, the room, noise at the microphone, the microphone's gain;
then one rounding to 16 bits, which saturates. The signal-to-noise ratio is that of root mean squares over the
whole clip, of the speech (in its room) and of the noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.noise import BABBLE, NOISES, ROOMS, make_noise, transform_length, unit
from serq_mcu.errors import SerqError

VOICES = 5  # that talk at once in babble


@dataclass(frozen=True)
class Condition:
    """A condition of recording.

    speed (1: as recorded); room ("" or one of ROOMS) with a reverberation time in seconds; noise ("" or one
    of NOISES) at an SNR in dB; gain in dB. Raises SerqError on values out of range.
    """

    speed: float = 1.0
    room: str = ""
    reverberation: float = 0.0
    noise: str = ""
    snr_db: float = 0.0
    gain_db: float = 0.0

    def __post_init__(self) -> None:
        _require(0.5 <= self.speed <= 2, f"speed {self.speed:g} must be 0.5 to 2")
        _require(self.room in ("", *ROOMS), f"room {self.room!r} is not one of {', '.join(ROOMS)}")
        _require(
            not self.room or 0.05 <= self.reverberation <= 2,
            f"reverberation {self.reverberation:g} must be 0.05 to 2 s",
        )
        _require(self.noise in ("", *NOISES), f"noise {self.noise!r} is not one of {', '.join(NOISES)}")
        _require(-20 <= self.snr_db <= 80, f"an SNR of {self.snr_db:g} dB must be -20 to 80 dB")
        _require(-60 <= self.gain_db <= 40, f"a gain of {self.gain_db:g} dB must be -60 to 40 dB")

    @property
    def needs_voices(self) -> bool:
        """Whether it is made of other recordings too."""
        return self.noise == BABBLE

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        parts = [f"speed {self.speed:g}"] if self.speed != 1 else []
        parts += [f"{self.room} room, {self.reverberation:g} s"] if self.room else []
        parts += [f"{self.noise} at {self.snr_db:g} dB"] if self.noise else []
        parts += [f"gain {self.gain_db:+g} dB"] if self.gain_db else []
        return ", ".join(parts) or "as recorded"


def apply_condition(
    pcm: NDArray[np.int16],
    rate: int,
    condition: Condition,
    rng: np.random.Generator,
    voices: Sequence[NDArray[np.int16]] = (),
) -> NDArray[np.int16]:
    """Return a clip, int16 [samples] at `rate` Hz, under a condition; as recorded it is unchanged.

    voices: what babble is made of. The same generator state gives the same samples.
    """
    signal = at_speed(pcm, condition.speed).astype(np.float64)
    if condition.room:
        signal = _in_room(signal, ROOMS[condition.room](condition.reverberation, rate, rng))
    if condition.noise:
        level = float(np.sqrt(np.mean(np.square(signal)))) * 10 ** (-condition.snr_db / 20)
        noise = make_noise(condition.noise, signal.size, rate, rng, voices)
        noise *= level
        signal += noise
    signal *= 10 ** (condition.gain_db / 20)
    return _rounded(signal)


def at_speed(pcm: NDArray[np.int16], speed: float) -> NDArray[np.int16]:
    """Play PCM [samples] `speed` times as fast, pitch and all.

    Resampled by soxr (quality HQ), rounded to nearest, saturated.
    """
    if speed == 1.0:
        return pcm
    import soxr

    # floats in and out: soxr dithers 16-bit output, and two runs must agree
    return _rounded(soxr.resample(pcm.astype(np.float32), speed, 1.0, quality="HQ"))


def _in_room(signal: NDArray[np.float64], response: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve the signal with a response; it stays as long and as loud as before."""
    length = transform_length(signal.size + response.size - 1)
    signal_spectrum, response_spectrum = (
        np.fft.rfft(part.astype(np.float32), length) for part in (signal, response)
    )
    wet = np.fft.irfft(signal_spectrum * response_spectrum, length)[: signal.size].astype(np.float64)
    loudness: float = np.sqrt(np.mean(np.square(signal)))
    wet = unit(wet)
    wet *= loudness
    return wet


def _rounded(signal: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round to 16 bits, saturated; the signal itself is overwritten."""
    np.clip(np.rint(signal, out=signal), -32768, 32767, out=signal)
    return signal.astype(np.int16)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise SerqError(message)


AS_RECORDED = Condition()
