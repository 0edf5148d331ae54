"""The float64 reference that the integer front end is held to: librosa with the specification's parameters.

It departs from librosa's defaults as the specification does: no centre padding, and no top_db, which is relative to the
loudest frame of a clip and so cannot be computed while the clip is still being heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import Q15, FrontendTables


def pooled_db(spec: FeatureSpec, pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """Pooled features in dB, float64 [features], of a clip int16 [samples], by librosa in float64. Needs librosa."""
    import librosa

    (block,) = spec.blocks
    mel = librosa.feature.melspectrogram(
        y=pcm.astype(np.float64) / 32768,
        sr=spec.sample_rate,
        n_fft=spec.fft_length,
        hop_length=spec.hop_length,
        window=spec.window,
        center=spec.center,
        power=2.0,
        n_mels=spec.mel_bands,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=False,
        norm=spec.mel_norm,
        dtype=np.float64,
    )
    log = librosa.power_to_db(mel, ref=1.0, amin=spec.log_floor, top_db=None)
    mfcc = librosa.feature.mfcc(S=log, n_mfcc=block.size, dct_type=2, norm="ortho")
    statistics = {"mean": mfcc.mean(axis=1), "sd": mfcc.std(axis=1), "delta_sd": np.diff(mfcc, axis=1).std(axis=1)}
    return np.concatenate([statistics[name] for name in block.statistics])


def to_db(spec: FeatureSpec, tables: FrontendTables, pooled: NDArray[np.integer]) -> NDArray[np.float64]:
    """Integer pooled features [..., features] in the unit of `pooled_db`."""
    (block,), (shift,) = spec.blocks, tables.pool_shifts
    decibel = 10 * math.log10(2) / Q15 * 2.0**shift / 16  # of one unit, before the DCT's orthonormal factor
    orthonormal = np.sqrt(np.where(np.arange(block.size) == 0, 1.0, 2.0) / spec.mel_bands)
    return pooled.astype(np.float64) * np.tile(decibel * orthonormal, len(block.statistics))


def compare(spec: FeatureSpec, tables: FrontendTables, clips: Iterable[NDArray[np.int16]]) -> dict[str, Any]:
    """Absolute differences in dB between the integer features and librosa's over all clips, at least one.

    Keys: clips, overall and one per statistic with their mean, p99 and max, and worst: clip (its place), feature (its name).
    """
    rows = [np.abs(to_db(spec, tables, features(spec, tables, pcm)) - pooled_db(spec, pcm)) for pcm in clips]
    differences = np.array(rows)
    (block,) = spec.blocks
    parts = np.split(differences, len(block.statistics), axis=1)
    clip, feature = np.unravel_index(int(differences.argmax()), differences.shape)
    return {
        "clips": len(rows),
        "overall": _summary(differences),
        **{name: _summary(part) for name, part in zip(block.statistics, parts, strict=True)},
        "worst": {"clip": int(clip), "feature": spec.feature_names[feature]},
    }


def _summary(differences: NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(differences.mean()), "p99": float(np.percentile(differences, 99)), "max": float(differences.max())}
