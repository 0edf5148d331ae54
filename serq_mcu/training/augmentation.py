"""The versions of each clip that training uses: conditions drawn at random from a seed.

The same audio is never in two parts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.config import DRAWN_ROOM, AugmentationConfig
from serq_mcu.corpus.conditions import Condition
from serq_mcu.extraction.recordings import AugmentedClip, Recordings, choose_voices
from serq_mcu.training.no_speech import heard_alone


def draw_augmented_clips(
    recordings: Recordings,
    part: NDArray[np.uint8],
    training_part: int,
    config: AugmentationConfig,
    seed: int,
    sounds: int = 0,
) -> list[list[AugmentedClip]]:
    """Draw a condition for every clip in each version; the first version is as recorded.

    part: the part of each clip; sounds: how many of them, the last, are no speech. Babble is made of training
    clips only, so no clip of another part has any share in training. What is drawn follows the clip's name,
    the version and the seed, so that a clip added or removed changes nothing for the others.
    """
    clips = len(recordings.clips)
    voices = np.flatnonzero(part[: clips - sounds] == training_part).tolist()
    configs = [config] * (clips - sounds) + [heard_alone(config)] * sounds
    return [[AugmentedClip(clip) for clip in range(clips)]] + [
        [_draw(recordings, clip, version, voices, own, seed) for clip, own in enumerate(configs)]
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
    """Draw one condition, every value to three digits, so that it can be written down.

    Pauses, floors, offsets, bands and windows follow a generator of their own: whether they are drawn at all
    changes neither speed, room, noise and gain nor what is drawn of `rng` afterwards.
    """
    speed, reverberation, snr_db, gain_db = (
        _between(ends, rng) for ends in (config.speed, config.reverberation, config.snr_db, config.gain_db)
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
        **_draw_surroundings(config, rng.spawn(1)[0]),
    )


def _draw_surroundings(config: AugmentationConfig, rng: np.random.Generator) -> dict[str, Any]:
    """Draw what is around and under a clip, and what it passes through, as values of a Condition."""
    drawn: dict[str, Any] = {}
    if rng.random() < config.window_share:
        drawn["blocks"] = int(rng.integers(config.window_blocks[0], config.window_blocks[1] + 1))
        drawn["block_seconds"] = _between(config.block_seconds, rng)
    elif rng.random() < config.pause_share:
        drawn["before"], drawn["after"] = _between(config.pause, rng), _between(config.pause, rng)
    if rng.random() < config.within_share:
        drawn["within"] = _between(config.within, rng)
    if rng.random() < config.floor_share:
        drawn["floor"], drawn["floor_db"] = str(rng.choice(config.floors)), _between(config.floor_db, rng)
    if rng.random() < config.offset_share:
        drawn["offset"] = _between(config.offset, rng)
    if rng.random() < config.band_share:
        drawn["band"] = str(rng.choice(config.bands))
    return drawn


def _between(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return round(float(rng.uniform(*ends)), 3)
