"""Streams with and without what rises above their noise floor, for tests of decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from serq_mcu.frontend.spec import FeatureSpec
from tests.support.frontend import stimulus

RULE: dict[str, Any] = {  # of decisions, with every part of it at work
    "blocks": 3,
    "block_frames": 4,
    "floor_blocks": 2,
    "unsure_margin": 700,
    "smoothing": 1,
    "wake_rise": 255,
}


def with_speech_rule(spec: FeatureSpec, frames: int = 3) -> FeatureSpec:
    """The specification with a rule of what is speech: `frames` frames 6 dB above the noise floor."""
    return replace(spec, speech_frames=frames)


def with_pauses(spec: FeatureSpec, seed: int, pieces: int = 20) -> np.ndarray:
    """PCM of `quiet_and_loud` between pauses of forty frames: noise at three levels, and silence."""
    rng = np.random.default_rng(seed)
    count = spec.frame_length + 40 * spec.hop_length
    pauses = [rng.normal(offset, scale, count) for offset, scale in ((0, 3), (-900, 100), (5, 2000), (0, 0))]
    parts = [quiet_and_loud(spec, seed + number, pieces // 4) for number in range(4)]
    pairs = [part for pair in zip(pauses, parts, strict=True) for part in pair]
    return np.rint(np.concatenate([*pairs, pauses[0]])).astype(np.int16)


def quiet_and_loud(spec: FeatureSpec, seed: int, pieces: int = 40) -> np.ndarray:
    """PCM of pieces of one to four frames at levels of 90 dB: silence, direct current, runs of -32768,
    squares, noise and tones.
    """
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = [stimulus(spec.frame_length, seed)]
    for _ in range(pieces):
        n = np.arange(rng.integers(spec.frame_length, 4 * spec.frame_length))
        height = 10 ** rng.uniform(-4.5, 0) * 32767
        parts.append(
            [
                np.zeros(n.size),
                np.full(n.size, rng.choice([-32768, 32767, -1, 100])),
                np.where(n // rng.integers(1, 99) % 2, 32767, -32768),
                height * rng.normal(size=n.size),
                height * np.sin(n * rng.uniform(0.01, 3)),
            ][rng.integers(5)]
        )
    return np.clip(np.rint(np.concatenate(parts)), -32768, 32767).astype(np.int16)
