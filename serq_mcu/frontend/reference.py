"""The front end in integers: the reference that firmware equals (SPEC.md section 2).

Arrays inside have the frames last, so that each numpy operation runs over many frames; what leaves has the
frames first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend import pitch
from serq_mcu.frontend.arithmetic import LEVEL_MIN, log2_q16, rshift_round, top_bit
from serq_mcu.frontend.blocks.base import Frames
from serq_mcu.frontend.sequence import last_frames, sequence_of
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.speech import NoiseFloor
from serq_mcu.frontend.statistics import MISSING, STATISTICS, Histogram, sums_of
from serq_mcu.frontend.tables import HISTOGRAM, FrontendTables
from serq_mcu.frontend.transform import Complex, bit_reversal, fft, spectrum_of

_CHUNK = 64  # frames at a time: the work arrays stay within a processor's cache


@dataclass(frozen=True)
class PooledFrames:
    """What pooling reads of successive frames.

    level int64 [frames], Q8 log2 of full scale; voiced: whether each is, bool [frames], all if no stage
    tells; stages: the blocks' stages, name to integers [frames, coefficients]; counts: by kind of the
    selective blocks, whether a frame counts for it, bool [frames].
    """

    level: NDArray[np.int64]
    voiced: NDArray[np.bool_]
    stages: dict[str, NDArray[np.int64]]
    counts: dict[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.level)

    def __getitem__(self, frames: slice | NDArray[np.integer]) -> PooledFrames:
        stages = {name: values[frames] for name, values in self.stages.items()}
        counts = {kind: counts[frames] for kind, counts in self.counts.items()}
        return PooledFrames(self.level[frames], self.voiced[frames], stages, counts)

    @staticmethod
    def joined(parts: Sequence[PooledFrames]) -> PooledFrames:
        """Return the frames of all parts, one after another."""
        stages = {name: np.concatenate([part.stages[name] for part in parts]) for name in parts[0].stages}
        counts = {kind: np.concatenate([part.counts[kind] for part in parts]) for kind in parts[0].counts}
        level = np.concatenate([part.level for part in parts])
        return PooledFrames(level, np.concatenate([part.voiced for part in parts]), stages, counts)


def features(spec: FeatureSpec, tables: FrontendTables, pcm: NDArray[np.int16]) -> NDArray[np.int32]:
    """Compute the pooled features int32 [features] of a clip, int16 [samples], all MISSING without speech.

    Raises SerqError if the clip is too short or too long.
    """
    return clip_features(spec, tables, pooled_frames(spec, tables, pcm))


def clip_features(spec: FeatureSpec, tables: FrontendTables, frames: PooledFrames) -> NDArray[np.int32]:
    """Pool all frames of a clip, int32 [features]; all are MISSING if it holds too little speech."""
    rule = tables.speech_rule(spec)
    if NoiseFloor(rule).speech(frames.level, frames.voiced) < rule.frames:
        return np.full(spec.feature_count, MISSING, np.int32)
    return pool(spec, tables, frames)


def pooled_frames(spec: FeatureSpec, tables: FrontendTables, pcm: NDArray[np.int16]) -> PooledFrames:
    """Compute what pooling reads of the frames of a clip, int16 [samples].

    Raises SerqError for fewer than two frames, or more than a clip may have.
    """
    parts = []
    for shift, _, spectrum in _spectra(spec, tables, pcm):
        parts.append(_to_pool(spec, tables, *_values(spec, tables, _power(spectrum), shift)))
    return PooledFrames.joined(parts)


def frame_stages(
    spec: FeatureSpec, tables: FrontendTables, pcm: NDArray[np.int16]
) -> dict[str, NDArray[np.int32] | NDArray[np.uint64]]:
    """Compute every per-frame stage of a clip, int16 [samples]: stage name to array [frames, integers].

    Type and order are those of SPEC.md section 7, so the CRC-32 of an array's little-endian bytes is the
    stage's digest. Raises SerqError if the clip is too short or too long.
    """
    return traced_frames(spec, tables, pcm)[0]


def traced_frames(
    spec: FeatureSpec, tables: FrontendTables, pcm: NDArray[np.int16]
) -> tuple[dict[str, NDArray[np.int32] | NDArray[np.uint64]], PooledFrames]:
    """Compute the stages of `frame_stages` and, at once, what pooling reads of the same frames."""
    parts: dict[str, list[NDArray[Any]]] = {}
    pooled = []
    for shift, window, spectrum in _spectra(spec, tables, pcm):
        power = _power(spectrum)
        stages: dict[str, NDArray[Any]] = {
            "window": _interleaved(window),
            "spectrum": _interleaved(spectrum),
            "power": power,
        }
        values, frames = _values(spec, tables, power, shift)
        for stage, integers in values.items():
            stages[stage] = integers if stage == "mel" else integers.astype(np.int32)
        for stage, integers in stages.items():
            parts.setdefault(stage, []).append(integers.T)
        pooled.append(_to_pool(spec, tables, values, frames))
    joined = {stage: np.ascontiguousarray(np.concatenate(values)) for stage, values in parts.items()}
    return joined, PooledFrames.joined(pooled)


def _to_pool(
    spec: FeatureSpec, tables: FrontendTables, values: dict[str, NDArray[Any]], frames: Frames
) -> PooledFrames:
    stages = {block.stage: values[block.stage].T for block in spec.blocks}
    selective = [block for block in spec.blocks if block.selective]
    counts = {block.kind: block.counts(frames, tables.of(block)) for block in selective}
    voiced = np.ones(frames.level.shape, np.bool_) if frames.voiced is None else frames.voiced
    return PooledFrames(frames.level, voiced, stages, counts)


def pool(
    spec: FeatureSpec,
    tables: FrontendTables,
    frames: PooledFrames,
    anchor: int | None = None,
    heard: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Pool frames to features int32 [features] with 4 fractional bits, or take the last ones as they are.

    anchor: the level, Q8 log2, that the grid of levels hangs from; by default that of these frames. heard:
    frames that were not passed over, bool [frames]; by default none was.

    Raises SerqError for fewer than 2 or more than 4096 frames.
    """
    if spec.sequence_frames:
        return _sequence(spec, tables, frames, anchor, heard)
    counted = counted_frames(spec, tables, frames, anchor, heard)
    parts = []
    for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True):
        v, kept = rshift_round(frames.stages[block.stage].astype(np.int64), shift), counted[block.kind]
        sums = sums_of(v, kept)
        if block.percentiles:
            of = slice(block.histograms.start, block.histograms.stop)
            sums = replace(sums, histogram=Histogram.of(tables.of(block)[HISTOGRAM], v[kept, of]))
        for name in block.statistics:
            values = STATISTICS[name].integers(sums)
            parts.append(values if STATISTICS[name].percent else values[block.first(name) : block.end(name)])
    return np.concatenate(parts).astype(np.int32)


def _sequence(
    spec: FeatureSpec,
    tables: FrontendTables,
    frames: PooledFrames,
    anchor: int | None,
    heard: NDArray[np.bool_] | None,
) -> NDArray[np.int32]:
    heard = np.ones(len(frames), np.bool_) if heard is None else heard
    if anchor is None:
        anchor = tables.tiers(spec).anchor(frames.level[heard])
    last = slice(-spec.sequence_frames, None)
    frames, heard = frames[last], heard[last]
    counted = counted_frames(spec, tables, frames, anchor, heard)
    rows = []
    for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True):
        chosen, relative = block.sequence_range, block.moved_by_gain
        v = rshift_round(frames.stages[block.stage][:, chosen.start : chosen.stop].astype(np.int64), shift)
        of = slice(relative.start - chosen.start, relative.stop - chosen.start)
        rows.append(sequence_of(v, counted[block.kind], of))
    return last_frames(np.concatenate(rows, axis=1), spec.sequence_frames).ravel().astype(np.int32)


def counted_frames(
    spec: FeatureSpec,
    tables: FrontendTables,
    frames: PooledFrames,
    anchor: int | None = None,
    heard: NDArray[np.bool_] | None = None,
) -> dict[str, NDArray[np.bool_]]:
    """Tell in which frames each block counts, bool [frames] by kind; arguments are those of `pool`."""
    heard = np.ones(len(frames), np.bool_) if heard is None else heard
    levels = np.where(heard, frames.level, LEVEL_MIN)
    counted = tables.tiers(spec).counted(levels, anchor) & heard
    return {
        block.kind: counted & frames.counts[block.kind] if block.selective else counted
        for block in spec.blocks
    }


def check_clip(spec: FeatureSpec, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the clip, int16 [samples], as an array.

    Raises SerqError if it is of another type, or too short or too long to be pooled.
    """
    pcm = np.asarray(pcm)
    if pcm.dtype != np.int16 or pcm.ndim != 1:
        raise SerqError("a clip must be one channel of 16-bit samples; convert it first")
    if pcm.size < spec.min_samples:
        raise SerqError(
            f"the clip has {pcm.size} samples, fewer than the {spec.min_samples} of two frames; use a longer"
            " recording"
        )
    if pcm.size > spec.max_samples:
        raise SerqError(
            f"the clip has {pcm.size} samples, more than the {spec.max_samples} that can be pooled; cut it"
            " into shorter clips"
        )
    return pcm


def _spectra(
    spec: FeatureSpec, tables: FrontendTables, pcm: NDArray[np.int16]
) -> Iterator[tuple[NDArray[np.int64], Complex, Complex]]:
    """Transform successive chunks of frames.

    Yields shift [frames], windowed points [M, frames] and spectrum [M+1, frames].
    """
    clip = np.pad(check_clip(spec, pcm), spec.padding)
    frames = np.lib.stride_tricks.sliding_window_view(clip, spec.frame_length)[:: spec.hop_length]
    for start in range(0, len(frames), _CHUNK):
        chunk = np.ascontiguousarray(frames[start : start + _CHUNK].T, dtype=np.int64)
        shift = _shift(chunk)
        window = _window(tables, chunk, shift)
        yield shift, window, spectrum_of(tables.twiddle, fft(tables.twiddle, window))


def _shift(x: NDArray[np.int64]) -> NDArray[np.int64]:
    significant = np.bitwise_or.reduce(
        np.where(x < 0, ~x, x), axis=0
    )  # as many bits as the frame needs beside the sign
    return 15 - top_bit(significant.astype(np.uint64) << np.uint64(1))


def _window(tables: FrontendTables, x: NDArray[np.int64], shift: NDArray[np.int64]) -> Complex:
    length = 4 * len(tables.twiddle)
    order = bit_reversal(length // 2)
    down = np.array([length.bit_length() - 1 + tables.headroom - int(j).bit_count() for j in order])[:, None]
    scaled = np.zeros((length, x.shape[1]), dtype=np.int64)
    scaled[: len(x)] = (x * tables.window.astype(np.int64)[:, None]) << shift
    re, im = ((part[order] >> down).astype(np.float64) for part in (scaled[0::2], scaled[1::2]))
    return re, im


def _power(spectrum: Complex) -> NDArray[np.uint64]:
    re, im = (part.astype(np.int64) for part in spectrum)
    return (re * re).astype(np.uint64) + (im * im).astype(np.uint64)


def _values(
    spec: FeatureSpec, tables: FrontendTables, power: NDArray[np.uint64], shift: NDArray[np.int64]
) -> tuple[dict[str, NDArray[Any]], Frames]:
    """Compute the stages after power, each [integers, frames], and what blocks read of the frames."""
    values: dict[str, NDArray[Any]] = {}
    if spec.uses_mel:
        values["mel"] = _mel(tables, power)
        values["log"] = _log(tables, values["mel"], shift)
    total = values.get("mel", power).sum(axis=0, dtype=np.uint64)
    level = log2_q16(tables.log_table, total) - tables.level_offset - (shift << 17) >> 8
    values["level"] = np.maximum(level, LEVEL_MIN)[None]
    voiced = None
    if spec.uses_pitch:
        values["pitch"] = pitch.integers(tables.pitch, tables.twiddle, tables.log_table, power)
        voiced = pitch.voiced(tables.pitch, values["pitch"])
    frames = Frames(power, values.get("log"), shift, values["level"][0], values.get("pitch"), voiced)
    for block in spec.order:
        values[block.stage] = block.integers(frames, tables.of(block))
    return values, frames


def _mel(tables: FrontendTables, power: NDArray[np.uint64]) -> NDArray[np.uint64]:
    low = np.uint64(0xFFFFFFFF)
    bits32, bits16, one = np.uint64(32), np.uint64(16), np.uint64(1)
    energy = np.empty((len(tables.segment) - 1, power.shape[1]), dtype=np.uint64)
    carry = np.zeros(power.shape[1], dtype=np.uint64)
    position = tables.first_bin
    for j, (count, a, b) in enumerate(tables.segment.astype(np.uint64)):
        bins = power[position : position + int(count)]
        position += int(count)
        s = bins.sum(axis=0, dtype=np.uint64)
        t = (bins * np.arange(int(count), dtype=np.uint64)[::-1, None]).sum(
            axis=0, dtype=np.uint64
        )  # each bin once per later bin
        # (t*a + s*b) >> 16 in two halves, since the sum may need 80 bits; exact, as the upper half is a
        # multiple of 2^32
        f = (((t >> bits32) * a + (s >> bits32) * b) << bits16) + (((t & low) * a + (s & low) * b) >> bits16)
        if j:
            energy[j - 1] = carry + f
        carry = (s >> one) - f
    return energy


def _log(tables: FrontendTables, energy: NDArray[np.uint64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
    log: NDArray[np.int64] = np.maximum(
        log2_q16(tables.log_table, energy) - tables.mel_offset.astype(np.int64)[:, None] - (shift << 17),
        tables.log_floor,
    )
    return log


def _interleaved(z: Complex) -> NDArray[np.int32]:
    """Interleave real and imaginary parts along the first axis."""
    return np.stack(z, axis=1).reshape(-1, z[0].shape[1]).astype(np.int32)
