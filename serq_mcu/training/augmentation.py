"""The versions of each clip that training uses: conditions drawn at random from a seed.

The same audio is never in two parts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serq_mcu.config import DRAWN_ROOM, AugmentationConfig
from serq_mcu.corpus.conditions import Condition
from serq_mcu.extraction.recordings import AugmentedClip, Recordings, choose_voices


def draw_augmented_clips(
    recordings: Recordings, part: NDArray[np.uint8], training_part: int, config: AugmentationConfig, seed: int
) -> list[list[AugmentedClip]]:
    """Draw a condition for every clip in each version; the first version is as recorded.

    part: the part of each clip. Babble is made of training clips only, so no clip of another part has any
    share in training. What is drawn follows the clip's name, the version and the seed, so that a clip added
    or removed changes nothing for the others.
    """
    voices = np.flatnonzero(part == training_part).tolist()
    clips = range(len(recordings.clips))
    return [[AugmentedClip(clip) for clip in clips]] + [
        [_draw(recordings, clip, version, voices, config, seed) for clip in clips]
        for version in range(1, config.versions + 1)
    ]


def _draw(
    recordings: Recordings,
    clip: int,
    version: int,
    voices: Sequence[int],
    config: AugmentationConfig,
    seed: int,
) -> AugmentedClip:
    rng = np.random.default_rng([seed, version, zlib.crc32(recordings.clips[clip].name.encode())])
    condition = draw_condition(config, rng)
    chosen = choose_voices(recordings, clip, voices, rng) if condition.needs_voices else ()
    return AugmentedClip(clip, condition, int(rng.integers(2**31)), chosen)


def draw_condition(config: AugmentationConfig, rng: np.random.Generator) -> Condition:
    """Draw one condition, every value to three digits, so that it can be written down."""
    speed, reverberation, snr_db, gain_db = (
        round(float(rng.uniform(*ends)), 3)
        for ends in (config.speed, config.reverberation, config.snr_db, config.gain_db)
    )
    in_room, in_noise = rng.random() < config.room_share, rng.random() < config.noise_share
    noise = str(rng.choice(config.noises)) if in_noise else ""
    return Condition(
        speed,
        DRAWN_ROOM if in_room else "",
        reverberation if in_room else 0.0,
        noise,
        snr_db if in_noise else 0.0,
        gain_db,
    )
