"""The float64 reference that the integer front end is held to: librosa with the specification's parameters.

It departs from librosa's defaults as the specification does: centre padding only where the specification has
it, no top_db (it is relative to the loudest frame of a clip and so cannot be computed while the clip is still
being heard), and no estimate of the tuning (for the same reason).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend import pitch
from serq_mcu.frontend.arithmetic import LEVEL_MIN
from serq_mcu.frontend.blocks.base import FloatFrames
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import MISSING, SCALE, STATISTICS
from serq_mcu.frontend.tables import FrontendTables, mel_edges


def frame_values(spec: FeatureSpec, pcm: NDArray[np.int16]) -> dict[str, NDArray[np.float64]]:
    """Compute a clip's stages power, mel, log and those of the blocks by librosa in float64.

    pcm: int16 [samples]. Returns stage name to values [frames, coefficients]: power relative to full scale,
    log in dB, a block's in its unit. Needs librosa.
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
    values = {"power": power}
    if spec.uses_mel:
        values["mel"] = librosa.feature.melspectrogram(
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
        values["log"] = librosa.power_to_db(values["mel"], ref=1.0, amin=spec.log_floor, top_db=None)
    values["level"] = _level(spec, values)[None]
    voiced = None
    if spec.uses_pitch:
        values["pitch"] = pitch.floats(spec, power)
        voiced = values["pitch"][1] >= spec.voiced_above
    frames = FloatFrames(power, values.get("log"), values["level"][0], values.get("pitch"), voiced)
    for block in spec.order:
        values[block.stage] = block.floats(frames, spec)
    return {stage: value.T for stage, value in values.items()}


def pool_values(
    spec: FeatureSpec, stages: Mapping[str, NDArray[np.float64]], counted: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """Pool `frame_values` to features, float64 [features], in their units.

    counted: the frames that count for each kind of block, bool [frames]: what the integers decided. A
    statistic of nothing is NaN.
    """
    parts = []
    for block in spec.blocks:
        values, kept = stages[block.stage], counted[block.kind]
        differences = np.diff(values, axis=0)[kept[1:] & kept[:-1]]
        for name in block.statistics:
            statistic = STATISTICS[name]
            some = len(differences) if statistic.of_pairs else kept.any()
            of_all = statistic.floats(values[kept], differences) if some else np.full(block.size, np.nan)
            parts.append(of_all[block.first(name) : block.end(name)])
    return np.concatenate(parts)


def _level(spec: FeatureSpec, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Compute the level of each frame in dB of a full-scale square wave, from the power in the mel bands."""
    if spec.uses_mel:
        edges = mel_edges(spec)
        area = (edges[2:] - edges[:-2]) / 2 if spec.mel_norm == "slaney" else np.ones(spec.mel_bands)
        power = (values["mel"] * area[:, None]).sum(axis=0)
    else:
        power = values["power"].sum(axis=0)
    full = spec.fft_length / 2 * 3 / 8 * spec.frame_length
    floor = 10 * np.log10(2) * LEVEL_MIN / 256
    return np.asarray(np.maximum(10 * np.log10(np.maximum(power / full, 1e-30)), floor))


def pooled_in_units(
    spec: FeatureSpec, tables: FrontendTables, pooled: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Convert integer pooled features [..., features] to the units of `pool_values`.

    What is missing becomes NaN.
    """
    return np.where(pooled == MISSING, np.nan, pooled.astype(np.float64)) * _pooled_scale(spec, tables)


def pooled_from_units(
    spec: FeatureSpec, tables: FrontendTables, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Convert features [..., features] of `pool_values` to the units of the pooled integers, not rounded."""
    return np.where(np.isnan(values), MISSING, values / _pooled_scale(spec, tables))


def _pooled_scale(spec: FeatureSpec, tables: FrontendTables) -> NDArray[np.float64]:
    """Return the value of one unit of each pooled integer [features]."""
    if spec.sequence_frames:
        blocks = zip(spec.blocks, tables.pool_shifts, strict=True)
        units = [
            np.broadcast_to(block.steps(spec), block.size)[block.sequence_range] * 2.0**shift / SCALE
            for block, shift in blocks
        ]
        return np.tile(np.concatenate(units), spec.sequence_frames)
    scales = [
        np.broadcast_to(block.steps(spec), block.size)[block.first(name) : block.end(name)]
        * 2.0**shift
        / SCALE
        for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True)
        for name in block.statistics
    ]
    return np.concatenate(scales)


def summary(differences: NDArray[np.float64]) -> dict[str, float]:
    """Summarise absolute differences: mean, 99th percentile and largest."""
    return {
        "mean": float(differences.mean()),
        "p99": float(np.percentile(differences, 99)),
        "max": float(differences.max()),
    }
