"""The float64 reference that the integer front end is held to: librosa with the specification's parameters.

It departs from librosa's defaults as the specification does: centre padding only where the specification has
it, no top_db (it is relative to the loudest frame of a clip and so cannot be computed while the clip is still
being heard), and no estimate of the tuning (for the same reason).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.spec import PITCH_CLASSES, FeatureSpec
from serq_mcu.frontend.stages import BLOCK_STAGES, STAGE_CHROMA, STAGE_LOG, STAGE_MEL, STAGE_MFCC, STAGE_POWER
from serq_mcu.frontend.tables import Q15, FrontendTables

_DECIBEL = 10 * math.log10(2)  # of an octave of power


def frame_values(spec: FeatureSpec, pcm: NDArray[np.int16]) -> dict[int, NDArray[np.float64]]:
    """The stages power, mel, log, mfcc and chroma (those that the specification has) of a clip int16
    [samples], by librosa in float64.

    Stage identifier to values [frames, coefficients]: power relative to full scale, log and mfcc in dB,
    chroma 0 to 1. Needs librosa.
    """
    import librosa

    # librosa puts a shorter window in the middle of its frame of n_fft; its own padding, n_fft / 2, makes up
    # for that
    around = 0 if spec.center else (spec.fft_length - spec.frame_length) // 2
    y = np.pad(pcm.astype(np.float64) / 32768, around)
    spectrum = librosa.stft(
        y,
        n_fft=spec.fft_length,
        hop_length=spec.hop_length,
        win_length=spec.frame_length,
        window=spec.window,
        center=spec.center,
        pad_mode="constant",
        dtype=np.complex128,
    )
    power = np.abs(spectrum) ** 2
    values = {STAGE_POWER: power}
    if spec.uses_mel:
        values[STAGE_MEL] = librosa.feature.melspectrogram(
            S=power,
            sr=spec.sample_rate,
            n_fft=spec.fft_length,
            n_mels=spec.mel_bands,
            fmin=spec.fmin,
            fmax=spec.fmax,
            htk=spec.mel_scale == "htk",
            norm="slaney" if spec.mel_norm == "slaney" else None,
            dtype=np.float64,
        )
        values[STAGE_LOG] = librosa.power_to_db(values[STAGE_MEL], ref=1.0, amin=spec.log_floor, top_db=None)
    mfcc = spec.block("mfcc")
    if mfcc is not None:
        values[STAGE_MFCC] = librosa.feature.mfcc(
            S=values[STAGE_LOG], n_mfcc=mfcc.size, dct_type=2, norm="ortho"
        )
    if spec.block("chroma") is not None:
        weights = librosa.filters.chroma(
            sr=spec.sample_rate, n_fft=spec.fft_length, tuning=0.0, n_chroma=PITCH_CLASSES, dtype=np.float64
        )
        values[STAGE_CHROMA] = librosa.util.normalize(weights @ power, norm=np.inf, axis=0)
    return {stage: value.T for stage, value in values.items()}


def pool_values(spec: FeatureSpec, stages: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Pooled features, float64 [features], of `frame_values`, in their units."""
    parts = []
    for block in spec.blocks:
        values = stages[BLOCK_STAGES[block.kind]]
        statistics = {
            "mean": values.mean(axis=0),
            "sd": values.std(axis=0),
            "delta_sd": np.diff(values, axis=0).std(axis=0),
        }
        parts += [statistics[name][block.first(name) :] for name in block.statistics]
    return np.concatenate(parts)


def stage_in_units(spec: FeatureSpec, stage: int, values: NDArray[Any]) -> NDArray[np.float64]:
    """Integers [frames, coefficients] of the log, mfcc or chroma stage in the units of `frame_values`."""
    kind = next(kind for kind, its_stage in BLOCK_STAGES.items() if its_stage == stage)
    return values.astype(np.float64) * _units(spec, kind)


def pooled_in_units(
    spec: FeatureSpec, tables: FrontendTables, pooled: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Integer pooled features [..., features] in the units of `pool_values`."""
    return pooled.astype(np.float64) * _pooled_scale(spec, tables)


def pooled_from_units(
    spec: FeatureSpec, tables: FrontendTables, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Features [..., features] of `pool_values` in the units of the pooled integers, not rounded."""
    return values / _pooled_scale(spec, tables)


def _pooled_scale(spec: FeatureSpec, tables: FrontendTables) -> NDArray[np.float64]:
    """Value of one unit of each pooled integer [features]."""
    scales = [
        np.broadcast_to(_units(spec, block.kind), block.size)[block.first(name) :] * 2.0**shift / 16
        for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True)
        for name in block.statistics
    ]
    return np.concatenate(scales)


def _units(spec: FeatureSpec, kind: str) -> NDArray[np.float64]:
    """Value of one unit of a block's stage, one for all coefficients or one for each."""
    if kind == "chroma":
        return np.array(1 / Q15)
    if kind == "mel":
        return np.array(_DECIBEL / 65536)
    mfcc = spec.block("mfcc")
    assert mfcc is not None
    return (
        _DECIBEL / Q15 * np.sqrt(np.where(np.arange(mfcc.size) == 0, 1.0, 2.0) / spec.mel_bands)
    )  # the DCT's orthonormal factor


def summary(differences: NDArray[np.float64]) -> dict[str, float]:
    """Mean, 99th percentile and largest of absolute differences."""
    return {
        "mean": float(differences.mean()),
        "p99": float(np.percentile(differences, 99)),
        "max": float(differences.max()),
    }
