"""The class "no speech": other sounds, and noise alone, that a network learns to give no emotion to."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.config import AugmentationConfig
from serq_mcu.corpus.audio import rounded
from serq_mcu.corpus.loaders import Clip
from serq_mcu.corpus.noise import make_noise
from serq_mcu.corpus.sounds import SPEECH, find_sounds
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import Recordings, read_recordings
from serq_mcu.quantized_model.types import NO_SPEECH_LABEL

_KINDS = ("white", "pink", "hum", "speech-shaped")
_EACH = 10  # clips of each kind of noise
_SECONDS = 5.0
_LEVELS_DB = (-80.0, -20.0)  # of full scale, root mean square


def no_speech_recordings(folder: Path, rate: int, progress: Callable[..., None] | None = None) -> Recordings:
    """Read the sounds in `folder` but those of people who speak, and make noise of several kinds and levels.

    Returns clips of the class "no speech" at `rate` Hz. Raises SerqError if there is no such sound, or one
    cannot be read.
    """
    paths = [
        path for kind, found in find_sounds(folder).items() if not kind.startswith(SPEECH) for path in found
    ]
    if not paths:
        raise SerqError(f"{folder} holds nothing but speech; give a folder of other sounds")
    names = [f"{NO_SPEECH_LABEL}/{path.relative_to(folder).as_posix()}" for path in paths]
    clips = [Clip(path, name, NO_SPEECH_LABEL, "") for path, name in zip(paths, names, strict=True)]
    sounds = read_recordings(clips, rate, progress)
    made = [(kind, number) for kind in _KINDS for number in range(_EACH)]
    noises = tuple(_noise_clip(kind, number) for kind, number in made)
    audio = tuple(_noise(kind, number, rate) for kind, number in made)
    return Recordings((*sounds.clips, *noises), rate, (*sounds.audio, *audio))


def validates(name: str, fraction: float) -> bool:
    """Tell whether a sound of this name is among the fraction that validates; it never tests."""
    return zlib.crc32(name.encode()) / 2**32 < fraction


def heard_alone(config: AugmentationConfig) -> AugmentationConfig:
    """Return how sounds are drawn: as windows of a stream, without noise, babble or pauses of their own."""
    changes = {"noise_share": 0.0, "pause_share": 0.0, "within_share": 0.0, "window_share": 1.0}
    return AugmentationConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | changes)


def _noise_clip(kind: str, number: int) -> Clip:
    name = f"{NO_SPEECH_LABEL}/{kind} noise {number}"
    return Clip(Path(name), name, NO_SPEECH_LABEL, "")


def _noise(kind: str, number: int, rate: int) -> NDArray[np.int16]:
    rng = np.random.default_rng([zlib.crc32(kind.encode()), number])
    level = 32768 * 10 ** (rng.uniform(*_LEVELS_DB) / 20)
    return rounded(level * make_noise(kind, round(_SECONDS * rate), rate, rng))
