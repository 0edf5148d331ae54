"""A sentence without words, made of sines: for a first try where there is no recording.

Nobody speaks in it: a row of vowels, each the harmonics of a falling or rising pitch under the resonances
of a vocal tract, as vowel synthesisers have it since Peterson and Barney measured vowels (1952). What a
model answers to it says nothing about the model.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SECONDS = 4.0
_PAUSE = 0.4  # before and after, seconds
_SYLLABLE = 0.24  # seconds
_PITCH = 210.0  # Hz, in the middle
_HIGHEST = 5000.0  # Hz, of a harmonic
_PEAK = 0.5  # of full scale
# resonances in Hz and their bandwidths: of ah, ee, oh, eh, oo
_VOWELS = (
    (730, 1090, 2440, 3400),
    (270, 2290, 3010, 3600),
    (570, 840, 2410, 3300),
    (530, 1840, 2480, 3500),
    (300, 870, 2240, 3200),
)
_BANDWIDTHS = (80, 100, 140, 200)


def example_clip(rate: int) -> NDArray[np.int16]:
    """Return the clip, int16 [samples], at `rate` samples a second; the same samples for the same rate."""
    time = np.arange(round(_SECONDS * rate)) / rate
    spoken = np.clip((time - _PAUSE) / (_SECONDS - 2 * _PAUSE), 0, 1)
    pitch = _PITCH * 2 ** (0.45 * np.sin(2 * np.pi * 1.6 * spoken) - 0.35 * spoken)
    pitch *= 1 + 0.012 * np.sin(2 * np.pi * 5.3 * time)  # vibrato
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    resonances = _glide(time)
    voice = np.zeros(len(time))
    for harmonic in range(1, int(_HIGHEST / pitch.min()) + 1):
        frequency = harmonic * pitch
        loudness = _envelope(frequency, resonances) / harmonic * (frequency < _HIGHEST)
        voice += loudness * np.sin(harmonic * phase)
    syllable = np.sin(np.pi * np.clip(((time - _PAUSE) % _SYLLABLE) / (0.85 * _SYLLABLE), 0, 1)) ** 0.6
    voice *= syllable * ((time > _PAUSE) & (time < _SECONDS - _PAUSE))
    loud: NDArray[np.float64] = _PEAK * 32767 / np.abs(voice).max() * voice
    return np.rint(loud).astype(np.int16)


@contextlib.contextmanager
def example_file(rate: int) -> Iterator[Path]:
    """Write the clip to a file that is there while the block runs, and yield its path."""
    import soundfile

    with tempfile.TemporaryDirectory(prefix="serq-example-") as work:
        path = Path(work) / "example.wav"
        soundfile.write(path, example_clip(rate), rate, subtype="PCM_16")
        yield path


def _glide(time: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return each resonance over time: from vowel to vowel, one a syllable."""
    place = (time - _PAUSE) / _SYLLABLE
    order = np.array(_VOWELS, np.float64)[[0, 3, 1, 2, 0, 1, 4, 0, 3, 2, 1, 0, 4, 0]]
    return [np.interp(place, np.arange(len(order)) + 0.5, column) for column in order.T]


def _envelope(frequency: NDArray[np.float64], resonances: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return how loud resonances in a row make a frequency."""
    gain = np.ones(len(frequency))
    for centre, width in zip(resonances, _BANDWIDTHS, strict=True):
        power = centre**4 / ((centre**2 - frequency**2) ** 2 + (width * frequency) ** 2)
        gain *= np.sqrt(power)
    return gain
