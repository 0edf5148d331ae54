"""A recording as a device would record it elsewhere: between pauses, in a room, in noise, over a telephone.

The order is that of the world. The talker speaks at a speed, and is silent before, after and within the clip.
The room answers. At the microphone there is noise: one kind at a signal-to-noise ratio, and the floor of a
quiet room at a level of its own; both go on in the pauses. Then come the gain, the converter's offset and its
rounding to 16 bits, which saturates, and last a narrow channel, whose output is 16 bits again. What a live
device pools is a window of blocks that is cut out of all this.

Pauses without a floor are digital zeros, as an editor leaves them. The signal-to-noise ratio is that of root
mean squares over the clip without its pauses, of the speech (in its room) and of the noise. The floor's level
is relative to a full-scale square wave, before the gain.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.text import unknown
from serq_mcu.corpus.audio import rounded
from serq_mcu.corpus.bands import BANDS, in_band
from serq_mcu.corpus.loudness import frame_samples, quiet_places, spoken_frames
from serq_mcu.corpus.noise import BABBLE, NOISES, ROOMS, make_noise, transform_length, unit
from serq_mcu.errors import SerqError

VOICES = 5  # that talk at once in babble
MAX_PAUSE = 60.0  # s
LEAST_SPEECH = 0.4  # s of a clip's loud part that a window holds, where the clip has so much
_FADE = 0.005  # s of speech that fades out before a pause within, and in after it


@dataclass(frozen=True)
class Condition:
    """A condition of recording.

    speed (1: as recorded); room ("" or one of ROOMS) with a reverberation time in seconds; noise ("" or one
    of NOISES) at an SNR in dB; gain in dB. before, after, within: seconds of pause; a clip has one within it
    where its talker could have paused, and none if there is no such place. floor ("" or one of NOISES but
    babble) at floor_db, dB of full scale; offset of full scale; band ("" or one of BANDS). blocks: 0, or how
    many blocks of block_seconds the window of a stream has that is cut out; it takes the silence around the
    clip that it needs. Raises SerqError on values out of range.
    """

    speed: float = 1.0
    room: str = ""
    reverberation: float = 0.0
    noise: str = ""
    snr_db: float = 0.0
    gain_db: float = 0.0
    before: float = 0.0
    after: float = 0.0
    within: float = 0.0
    floor: str = ""
    floor_db: float = 0.0
    offset: float = 0.0
    band: str = ""
    blocks: int = 0
    block_seconds: float = 0.0

    def __post_init__(self) -> None:
        _require(0.5 <= self.speed <= 2, f"speed {self.speed:g} must be 0.5 to 2")
        _require_known("room", self.room, ROOMS)
        _require(
            not self.room or 0.05 <= self.reverberation <= 2,
            f"reverberation {self.reverberation:g} must be 0.05 to 2 s",
        )
        _require_known("noise", self.noise, NOISES)
        _require(-20 <= self.snr_db <= 80, f"an SNR of {self.snr_db:g} dB must be -20 to 80 dB")
        _require(-60 <= self.gain_db <= 40, f"a gain of {self.gain_db:g} dB must be -60 to 40 dB")
        for seconds in (self.before, self.after, self.within):
            _require(0 <= seconds <= MAX_PAUSE, f"a pause of {seconds:g} s must be 0 to {MAX_PAUSE:g} s")
        _require_known("floor", self.floor, FLOORS)
        _require(-120 <= self.floor_db <= 0, f"a floor at {self.floor_db:g} dB must be -120 to 0 dB")
        _require(-0.5 <= self.offset <= 0.5, f"an offset of {self.offset:g} must be -0.5 to 0.5")
        _require_known("band", self.band, BANDS)
        _require(0 <= self.blocks <= 64, f"a window of {self.blocks} blocks must have 0 to 64")
        _require(
            not self.blocks or 0.05 <= self.block_seconds <= 60,
            f"a block of {self.block_seconds:g} s must have 0.05 to 60 s",
        )
        _require(
            not self.blocks or not self.before + self.after,
            "a window takes the silence before and after a clip that it needs; give it no pauses there",
        )

    @property
    def needs_voices(self) -> bool:
        """Whether it is made of other recordings too."""
        return self.noise == BABBLE

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        parts = [f"speed {self.speed:g}"] if self.speed != 1 else []
        parts += self._pauses()
        parts += [f"{self.room} room, {self.reverberation:g} s"] if self.room else []
        parts += [f"{self.noise} at {self.snr_db:g} dB"] if self.noise else []
        parts += [f"{self.floor} floor at {self.floor_db:g} dB"] if self.floor else []
        parts += [f"gain {self.gain_db:+g} dB"] if self.gain_db else []
        parts += [f"offset {self.offset:+g}"] if self.offset else []
        parts += [f"{self.band} band"] if self.band else []
        parts += [f"window of {self.blocks} x {self.block_seconds:g} s"] if self.blocks else []
        return ", ".join(parts) or "as recorded"

    def _pauses(self) -> list[str]:
        within = [f"{self.within:g} s of pause within"] if self.within else []
        if self.before and self.before == self.after:
            return [f"{self.before:g} s of pause before and after", *within]
        ends = (("before", self.before), ("after", self.after))
        return [*(f"{seconds:g} s of pause {where}" for where, seconds in ends if seconds), *within]


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
    talker = at_speed(pcm, condition.speed).astype(np.float64)
    signal, window = _session(talker, rate, condition, rng)
    if condition.room:
        signal = _in_room(signal, ROOMS[condition.room](condition.reverberation, rate, rng))
    if condition.noise:
        level = math.sqrt(float(np.sum(np.square(signal))) / talker.size) * 10 ** (-condition.snr_db / 20)
        noise = make_noise(condition.noise, signal.size, rate, rng, voices)
        noise *= level
        signal += noise
    if condition.floor:
        signal += floor_noise(condition.floor, condition.floor_db, signal.size, rate, rng)
    signal *= 10 ** (condition.gain_db / 20)
    signal += 32768 * condition.offset
    heard = rounded(signal)
    return (in_band(heard, rate, condition.band) if condition.band else heard)[window]


def floor_noise(
    kind: str, level_db: float, samples: int, rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Make the noise of a quiet room, float64 [samples] in 16-bit units at `rate` Hz.

    kind: one of FLOORS; level_db: its root mean square, dB relative to a full-scale square wave.
    """
    noise = make_noise(kind, samples, rate, rng)
    noise *= 32768 * 10 ** (level_db / 20)
    return noise


def at_speed(pcm: NDArray[np.int16], speed: float) -> NDArray[np.int16]:
    """Play PCM [samples] `speed` times as fast, pitch and all.

    Resampled by soxr (quality HQ), rounded to nearest, saturated.
    """
    if speed == 1.0:
        return pcm
    import soxr

    # floats in and out: soxr dithers 16-bit output, and two runs must agree
    return rounded(soxr.resample(pcm.astype(np.float32), speed, 1.0, quality="HQ"))


def _session(
    talker: NDArray[np.float64], rate: int, condition: Condition, rng: np.random.Generator
) -> tuple[NDArray[np.float64], slice]:
    """Return the talker with his pauses, and what of that is heard: all of it, or a stream's window."""
    if condition.within:
        talker = _paused(talker, rate, condition.within, rng)
    if not condition.blocks:
        pauses = (round(condition.before * rate), round(condition.after * rate))
        return np.pad(talker, pauses), slice(None)
    block = round(condition.block_seconds * rate)
    window = condition.blocks * block
    start = _window_start(talker, rate, block, window, rng)
    before, after = max(0, -start), max(0, start + window - talker.size)
    return np.pad(talker, (before, after)), slice(start + before, start + before + window)


def _paused(
    talker: NDArray[np.float64], rate: int, seconds: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Put a pause into one of the clip's quiet places, if it has any; speech fades at both its ends."""
    places = quiet_places(talker, rate)
    if not places:
        return talker
    place, fade = int(rng.choice(places)), round(_FADE * rate)
    rise = (np.arange(fade) + 0.5) / fade
    first, second = talker[:place].copy(), talker[place:].copy()
    first[-fade:] *= rise[::-1]
    second[:fade] *= rise
    return np.concatenate([first, np.zeros(round(seconds * rate)), second])


def _window_start(
    talker: NDArray[np.float64], rate: int, block: int, window: int, rng: np.random.Generator
) -> int:
    """Draw where a window of a stream starts, in samples of the clip; before it, where negative.

    As in a stream, its first block holds some of the loud part. The whole holds LEAST_SPEECH of it, or as
    much as any window of this length where that is less.
    """
    step = frame_samples(rate)
    spoken = np.concatenate([[0], np.cumsum(spoken_frames(talker, rate))])
    starts = np.arange(-(block // step), len(spoken) - 1)
    first, whole = (_held(spoken, starts, samples // step) for samples in (block, window))
    least = min(round(LEAST_SPEECH * rate / step), int(whole[first > 0].max()))
    return int(rng.choice(starts[(first > 0) & (whole >= least)])) * step


def _held(spoken: NDArray[np.int64], starts: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Count the spoken frames in windows of so many frames; spoken: their number before each frame."""
    last = len(spoken) - 1
    held: NDArray[np.int64] = spoken[np.clip(starts + frames, 0, last)] - spoken[np.clip(starts, 0, last)]
    return held


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


def _require_known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in ("", *known):
        raise SerqError(unknown(what, name, known))


def _require(condition: object, message: str) -> None:
    if not condition:
        raise SerqError(message)


FLOORS = tuple(kind for kind in NOISES if kind != BABBLE)
AS_RECORDED = Condition()
