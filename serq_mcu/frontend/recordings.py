"""Recordings to the feature arrays of training and evaluation: what the device computes, clip by clip and speed by speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import Clip
from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables


def recorded_features(
    spec: FeatureSpec, tables: FrontendTables, clips: Sequence[Clip], speeds: Sequence[float] = (1.0,), progress: Callable[..., None] | None = None
) -> NDArray[np.int32]:
    """Pooled features int32 [speeds, clips, features] of each recording, played at each speed.

    progress is called with a sentence, the clips done and their number. Raises SerqError, naming the clip, if one cannot be read
    or is too short or too long.
    """
    pooled = np.empty((len(speeds), len(clips), spec.feature_count), dtype=np.int32)
    for index, clip in enumerate(clips):
        pcm = read_audio(clip.path, spec.sample_rate).pcm
        for row, speed in enumerate(speeds):
            try:
                pooled[row, index] = features(spec, tables, at_speed(pcm, speed))
            except SerqError as error:
                raise SerqError(f"{clip.path}{'' if speed == 1.0 else f' at speed {speed:g}'}: {error}") from error
        if progress is not None:
            progress("computing features", index + 1, len(clips))
    return pooled


def at_speed(pcm: NDArray[np.int16], speed: float) -> NDArray[np.int16]:
    """PCM [samples] played `speed` times as fast, pitch and all: resampled by soxr (quality HQ), rounded to nearest, saturated."""
    if speed == 1.0:
        return pcm
    import soxr

    # float64 in and out: soxr dithers 16-bit output, and two runs must agree
    played: NDArray[np.float64] = soxr.resample(pcm.astype(np.float64), speed, 1.0, quality="HQ")
    rounded: NDArray[np.int16] = np.clip(np.rint(played), -32768, 32767).astype(np.int16)
    return rounded
