"""Generated noise and the responses of made-up rooms.

Stationary colours, mains hum, babble of given voices, clatter, sirens. All of it is float64 and follows a
random generator alone. Noise has a root mean square of 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.text import unknown
from serq_mcu.errors import SerqError

Floats = NDArray[np.float64]
Shape = Callable[[Floats], Floats]

BABBLE = "babble"
SPEED_OF_SOUND = 343.0  # metres a second
_LOWEST_HZ = 20.0  # of coloured noise
_SPEECH_LOW_HZ, _SPEECH_KNEE_HZ = 80.0, 500.0


def make_noise(
    kind: str, samples: int, rate: int, rng: np.random.Generator, voices: Sequence[NDArray[np.int16]] = ()
) -> Floats:
    """Make noise [samples] of one of NOISES at `rate` Hz.

    voices: the recordings that babble is made of, all of them at once. Raises SerqError for another kind, or
    babble without voices.
    """
    if kind not in NOISES:
        raise SerqError(unknown("noise", kind, NOISES))
    made = _babble(samples, rng, voices) if kind == BABBLE else _MAKERS[kind](samples, rate, rng)
    return unit(made)


def unit(signal: Floats) -> Floats:
    """Scale the signal to a root mean square of 1; silence stays silence."""
    level = _level(signal)
    return signal / level if level else signal


def _level(signal: Floats) -> float:
    """Compute a signal's root mean square."""
    return math.sqrt(float(np.mean(np.square(signal))))


def transform_length(samples: int) -> int:
    """Return a number of at least `samples` whose Fourier transform is fast.

    A multiple of 4800, so of few large prime factors.
    """
    return -(-samples // 4800) * 4800


def _coloured(shape: Shape) -> Callable[[int, int, np.random.Generator], Floats]:
    """Return a maker of Gaussian noise whose power spectrum is `shape` of the frequency in Hz."""

    @functools.lru_cache(maxsize=32)  # lengths are few, and there are many clips of each
    def amplitude(length: int, rate: int) -> NDArray[np.float32]:
        frequency = np.fft.rfftfreq(length, 1 / rate)
        found = np.sqrt(shape(np.maximum(frequency, _LOWEST_HZ))) * (frequency > 0)
        return found.astype(np.float32)

    def make(samples: int, rate: int, rng: np.random.Generator) -> Floats:
        length = transform_length(samples)
        wanted = amplitude(length, rate)
        spectrum = rng.standard_normal(2 * wanted.size, dtype=np.float32).view(np.complex64)
        spectrum *= wanted
        return np.fft.irfft(spectrum, length)[:samples].astype(np.float64)

    return make


def _speech_shape(f: Floats) -> Floats:
    """Approximate the long-term average spectrum of speech.

    Flat to 500 Hz, then falling by 9 dB an octave (Byrne et al. 1994 measured it).
    """
    shape: Floats = (f > _SPEECH_LOW_HZ) / (1 + (f / _SPEECH_KNEE_HZ) ** 3)
    return shape


def _white(samples: int, _rate: int, rng: np.random.Generator) -> Floats:
    return rng.standard_normal(samples)


def _hum(samples: int, rate: int, rng: np.random.Generator) -> Floats:
    """Make mains hum: 50 or 60 Hz and overtones of random strength, over a little noise."""
    mains, phase = (
        rng.choice([50.0, 60.0]),
        2 * np.pi * np.arange(rate // 5) / rate,
    )  # whole periods of both, repeated
    strengths = rng.uniform(0, 1, 24) / np.arange(1, 25) ** 0.7
    tones = (
        a * np.sin(mains * k * phase + rng.uniform(0, 2 * np.pi)) for k, a in enumerate(strengths, start=1)
    )
    return np.resize(unit(sum(tones, np.zeros(rate // 5))), samples) + 0.1 * rng.standard_normal(samples)


def _babble(samples: int, rng: np.random.Generator, voices: Sequence[NDArray[np.int16]]) -> Floats:
    """Mix the voices, all at once and equally loud, each from a random place on and round again."""
    if not len(voices):
        raise SerqError("babble needs recordings of other clips; there are none")
    mixed = np.zeros(samples)
    for voice in voices:
        turned = np.roll(voice, int(rng.integers(voice.size)))
        level = _level(voice.astype(np.float64)) or 1.0
        mixed += np.divide(np.resize(turned, samples), level, dtype=np.float64)
    return mixed


def _clatter(samples: int, rate: int, rng: np.random.Generator) -> Floats:
    """Make things fall and knock: 8 damped resonances a second at random times, over a little noise."""
    made = np.zeros(samples + rate)
    time = np.arange(rate // 4) / rate
    for start in rng.integers(0, samples, max(2, 8 * samples // rate)):
        frequency, decay = rng.uniform(400, 5000), rng.uniform(0.004, 0.04)
        made[start : start + time.size] += (
            rng.uniform(0.2, 1) * np.exp(-time / decay) * np.sin(2 * np.pi * frequency * time)
        )
    return unit(made[:samples]) + 0.1 * rng.standard_normal(samples)


def _siren(samples: int, rate: int, rng: np.random.Generator) -> Floats:
    """Make a tone with overtones that glides between 500 and 1500 Hz."""
    time = np.arange(samples) / rate
    pitch = 1000 + 500 * np.sin(2 * np.pi * (rng.uniform(0.3, 2) * time + rng.uniform()))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    return np.asarray(np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase))


_MAKERS: dict[str, Callable[[int, int, np.random.Generator], Floats]] = {
    "white": _white,
    "pink": _coloured(lambda f: 1 / f),
    "brown": _coloured(lambda f: 1 / f**2),
    "blue": _coloured(lambda f: f),
    "speech-shaped": _coloured(_speech_shape),
    "hum": _hum,
    "clatter": _clatter,
    "siren": _siren,
}
NOISES = (*_MAKERS, BABBLE)


def diffuse_room(seconds: float, rate: int, rng: np.random.Generator) -> Floats:
    """Make the response of a room with a reverberation time: the direct sound, then noise that decays.

    The noise is Gaussian and decays by 60 dB in that time. The reverberation is 0 to 12 dB below the direct
    sound, as it is near and far from a talker.
    """
    time = np.arange(1, round(seconds * rate) + 1) / rate
    tail = rng.standard_normal(time.size) * 10 ** (-3 * time / seconds)
    return np.concatenate([[1.0], unit(tail) / math.sqrt(time.size) * 10 ** (-rng.uniform(0, 12) / 20)])


def shoebox_room(seconds: float, rate: int, rng: np.random.Generator) -> Floats:
    """Make the response of a rectangular room by image sources (Allen and Berkley 1979).

    The room has a random size and the given reverberation time. Talker and microphone stand anywhere in it,
    half a metre from the walls. Eyring's formula gives the walls' absorption; as low ceilings go, it decays
    about a quarter more slowly. Walls turn the sign of what they reflect, or pressure would build up.
    """
    size = rng.uniform((3, 3, 2.4), (8, 6, 3.2))
    talker, microphone = (rng.uniform(0.5, size - 0.5) for _ in range(2))
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    reflection = math.sqrt(math.exp(-0.161 * float(size.prod()) / (float(surface) * seconds)))
    squares, bounces = np.zeros(1), np.zeros(1)
    for axis in range(3):
        order = np.arange(
            -math.ceil(SPEED_OF_SOUND * seconds / (2 * size[axis])),
            math.ceil(SPEED_OF_SOUND * seconds / (2 * size[axis])) + 1,
        )
        place = (
            np.concatenate([2 * order * size[axis] + talker[axis], 2 * order * size[axis] - talker[axis]])
            - microphone[axis]
        )
        count = np.concatenate([np.abs(2 * order), np.abs(2 * order - 1)])
        squares, bounces = np.add.outer(squares, place**2).ravel(), np.add.outer(bounces, count).ravel()
        near = squares < (SPEED_OF_SOUND * seconds) ** 2
        squares, bounces = squares[near], bounces[near]
    distance = np.sqrt(squares)
    delay = np.rint((distance - distance.min()) / SPEED_OF_SOUND * rate).astype(np.int64)
    response: Floats = np.bincount(
        delay, weights=(-reflection) ** bounces / np.maximum(distance, 0.1)
    ).astype(np.float64)
    return response


ROOMS = {"diffuse": diffuse_room, "shoebox": shoebox_room}
