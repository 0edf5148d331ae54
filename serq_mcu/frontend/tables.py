"""The front end's integer tables: made once from a specification, stored in the model file, then proved.

SPEC.md section 2 defines them and section 5 gives what is proved. The mel scales are Slaney's (Auditory
Toolbox, 1998) and HTK's, the pitch classes' weights Ellis's (chroma features, 2007), all as in librosa.
Proofs look at the tables themselves, never at how they were made, so that no model file, however made, can
cause an overflow or a read out of range.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.validation import check_types, is_int
from serq_mcu.errors import SerqError
from serq_mcu.frontend import pitch
from serq_mcu.frontend.analysis import Analysis
from serq_mcu.frontend.arithmetic import Q15, q15, rshift_round
from serq_mcu.frontend.blocks.base import Bounds, FeatureBlock, Tables, TableType
from serq_mcu.frontend.level import level_from_db, level_offset
from serq_mcu.frontend.selection import Tiers
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.speech import SpeechRule
from serq_mcu.frontend.statistics import HISTOGRAM_BINS
from serq_mcu.frontend.transform import bit_reversal

LOG_SEGMENTS = 64
SAMPLE_MAX = 32768  # |x * 2^s| of any sample after the frame's shift
_OCTAVES_LIMIT = (
    256 << 16
)  # |mel_offset|, |log_floor|: far beyond use, small enough for the log's sums to stay in int32

HISTOGRAM = "histogram"  # the name of its table among a block's own
_MIN_BIN_WIDTH = 3  # so that 65536 over it fits 16 bits
_LEVEL_LIMIT = 62 << 16  # |level_offset|: with any log_table, a level and its step stay within 16 bits
_MIN_TIER_WIDTH = 16

# What floor division can add to the modulus of a complex integer: one unit a component and product.
_FLOOR = math.sqrt(2)  # one floor in each component
_ROTATE = 2 * math.sqrt(2)  # two floors in each component: mulw(re, c) + mulw(im, s)
_SLACK = 1 + 1e-9  # covers float64's rounding in the bounds below (some 100 operations of 2^-53 each)

_ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    "window": (np.int16, 1),
    "twiddle": (np.int16, 2),
    "segment": (np.uint16, 2),
    "mel_offset": (np.int32, 1),
    "log_table": (np.uint16, 2),
}
_SCALARS = ("headroom", "first_bin", "log_floor", "level_offset", "tier_width", "speech_rise", "pool_shifts")


@dataclass(frozen=True, eq=False)
class FrontendTables:
    """Tables and scalars of SPEC.md section 2.

    Arrays are read-only; N = FFT length, W = frame length, B = mel bands.

    window int16 [W], twiddle int16 [N/4, 2], segment uint16 [B+1, 3], mel_offset int32 [B], log_table uint16
    [64, 2]; one pool shift per block; blocks: each block's own tables, by kind and name, and those of the
    pitch stage. Raises SerqError on a wrong type; `check` proves the rest.
    """

    window: NDArray[np.int16]
    twiddle: NDArray[np.int16]
    segment: NDArray[np.uint16]
    mel_offset: NDArray[np.int32]
    log_table: NDArray[np.uint16]
    headroom: int
    first_bin: int
    log_floor: int
    level_offset: int
    tier_width: int
    speech_rise: int
    pool_shifts: tuple[int, ...]
    blocks: Mapping[str, Tables] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (kind, dimensions) in _ARRAYS.items():
            array = np.asarray(getattr(self, name))
            _require(
                array.dtype == kind and array.ndim == dimensions,
                f"{name} must be a {dimensions}-dimensional {np.dtype(kind).name} array",
            )
            object.__setattr__(self, name, _frozen(array))
        check_types(self, "front-end tables: ")
        _require(
            isinstance(self.pool_shifts, tuple) and all(is_int(shift) for shift in self.pool_shifts),
            "pool_shifts must be integers",
        )
        blocks = {
            kind: MappingProxyType({name: _frozen(np.asarray(array)) for name, array in tables.items()})
            for kind, tables in self.blocks.items()
        }
        object.__setattr__(self, "blocks", MappingProxyType(blocks))

    def of(self, block: FeatureBlock) -> Tables:
        """Return a block's own tables by name."""
        return self.blocks.get(block.kind, {})

    def tiers(self, spec: FeatureSpec) -> Tiers:
        """Return the rule of which frames count."""
        return Tiers(max(spec.tiers, 1), self.tier_width)

    def speech_rule(self, spec: FeatureSpec) -> SpeechRule:
        """Return the rule of whether there is speech."""
        return SpeechRule(self.speech_rise, spec.speech_frames)

    @property
    def pitch(self) -> Tables:
        """The pitch stage's own tables by name; none where no block reads it."""
        return self.blocks.get(pitch.TABLE_KIND, {})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all tables by name, a block's as `kind.name`."""
        own = {
            f"{kind}.{name}": array for kind, tables in self.blocks.items() for name, array in tables.items()
        }
        return {name: getattr(self, name) for name in _ARRAYS} | own

    def scalars(self) -> dict[str, Any]:
        """Return the scalars by name, as JSON can hold them."""
        return {
            "headroom": self.headroom,
            "first_bin": self.first_bin,
            "log_floor": self.log_floor,
            "level_offset": self.level_offset,
            "tier_width": self.tier_width,
            "speech_rise": self.speech_rise,
            "pool_shifts": list(self.pool_shifts),
        }

    @staticmethod
    def from_parts(scalars: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> FrontendTables:
        """Make the tables of `scalars()` and `arrays()`.

        Raises SerqError on anything missing, unknown or of the wrong type; `check` tells whether the blocks'
        own tables are those of a specification.
        """
        _require(isinstance(scalars, dict), "its scalars must be a table")
        shared = {name: array for name, array in arrays.items() if "." not in name}
        for what, given, known in (("scalar", scalars, _SCALARS), ("table", shared, tuple(_ARRAYS))):
            missing, unknown = set(known) - set(given), set(given) - set(known)
            _require(not missing, f"{what} {', '.join(sorted(missing))} is missing")
            _require(not unknown, f"unknown {what} {', '.join(sorted(map(str, unknown)))}")
        _require(isinstance(scalars["pool_shifts"], list), "pool_shifts must be a list")
        blocks: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            kind, dot, table = name.partition(".")
            if dot:
                blocks.setdefault(kind, {})[table] = array
        parts: dict[str, Any] = {**shared, **scalars, "pool_shifts": tuple(scalars["pool_shifts"])}
        return FrontendTables(**parts, blocks=blocks)

    def check(self, spec: FeatureSpec) -> None:
        """Prove shapes and every bound of SPEC.md section 5 from the tables.

        Raises SerqError naming the stage that fails.
        """
        self._check_shapes(spec)
        self._check_segments()
        self._check_histograms()
        amplitude, power = self.amplitude_bound(), self.power_bound()
        _require(amplitude < 2**31, f"the spectrum can reach {amplitude:.3g}, more than 32 bits hold")
        # T is a sum of (bins after this one) * power, so at most the longest segment times all power; F,
        # carry and E are less.
        reach = power * max(1, int(self.segment[:, 0].max()))
        _require(reach < 2**64, f"a mel running sum can reach {reach:.3g}, more than 64 bits hold")
        # |v| < 2^15 makes every pooled sum fit, for at most 4096 frames. |16*sum v| < 2^31. With d = v -
        # previous v, |d| <= 65534: runs of frames that count number 1365 at most and d sums to at most 65534
        # in each, so |16 * sum d| < 2^31 (and a tier's own sum, or that of some tiers, is below 8 * 2^28).
        # n * sum v^2 * 256 < 2^12 * 2^12 * 2^30 * 2^8 = 2^62, and pairs * sum d^2 * 256 <= 4095^2 * 65534^2 *
        # 256 < 2^64.
        bounds = self.bounds()
        if spec.uses_pitch:
            pitch.check(self.pitch, self.twiddle, power)
        for block, shift in zip(spec.blocks, self.pool_shifts, strict=True):
            low, high = block.value_range(self.of(block), bounds)
            _require(_pooled_fits(low, high, shift), f"a pooled {block.kind} value does not fit 16 bits")

    def bounds(self) -> Bounds:
        """Return what is proved of a frame before any block."""
        reached = pitch.value_range(self.pitch, self.log_table) if self.pitch else (None, None)
        return Bounds(self.power_bound(), *self._log_range(), *reached)

    def amplitude_bound(self) -> float:
        """Return a bound on the magnitude of components of z, at any level of the FFT, and the spectrum."""
        worst, final = self._modulus_bounds()
        spectrum = 2 * final * (1 + self._gain()) + 2 * _ROTATE  # |e| + |2t| with |e|, |o| <= 2 |z|
        return max(worst, spectrum) * _SLACK

    def power_bound(self) -> float:
        """Return what the powers of all bins of a frame together do not exceed."""
        # Parseval, level by level, for points as they would be without the popcount's doubling: a butterfly a
        # +- t, |t| <= gain*|b|, multiplies the 2-norm of the points by at most sqrt(2)*gain, and its floors
        # add at most _ROTATE to each of them.
        points = self._fft_length // 2
        gain = self._gain()
        norm = (
            SAMPLE_MAX
            * float(np.linalg.norm(self.window.astype(np.float64)))
            / 2.0 ** (self._log2_length + self.headroom)
        )
        norm += _FLOOR * math.sqrt(points)
        for _ in range(self._log2_length - 1):
            norm = math.sqrt(2) * gain * norm + _ROTATE * math.sqrt(points)
        # Splitting: |e|^2 + |o|^2 = 2(|p|^2 + |y|^2) and then e +- 2t; only bins 0 and M hold 8|z0|^2 instead
        # of 4|z0|^2.
        norm = 2 * gain * norm + 2 * _ROTATE * math.sqrt(points)
        _, final = self._modulus_bounds()
        return (norm**2 + 4 * final**2) * _SLACK

    @property
    def _fft_length(self) -> int:
        return 4 * len(self.twiddle)

    @property
    def _log2_length(self) -> int:
        return self._fft_length.bit_length() - 1

    def _check_shapes(self, spec: FeatureSpec) -> None:
        kinds = {block.kind: dict(block.table_types(spec)) for block in spec.blocks}
        for block in spec.blocks:
            if block.percentiles:
                kinds[block.kind][HISTOGRAM] = TableType(np.int16, (len(block.histograms), 3))
        if spec.uses_pitch:
            kinds[pitch.TABLE_KIND] = pitch.table_types(spec)
        own = {f"{kind}.{name}": type_ for kind, types in kinds.items() for name, type_ in types.items()}
        shapes: dict[str, tuple[int, ...]] = {
            "window": (spec.frame_length,),
            "twiddle": (spec.fft_length // 4, 2),
            "segment": (spec.mel_bands + 1, 3),
            "mel_offset": (spec.mel_bands,),
            "log_table": (LOG_SEGMENTS, 2),
        } | {name: type_.shape for name, type_ in own.items()}
        arrays = self.arrays()
        missing, foreign = sorted(set(shapes) - set(arrays)), sorted(set(arrays) - set(shapes))
        _require(not missing, f"table {', '.join(missing)} is missing")
        _require(not foreign, f"table {', '.join(foreign)} is for a block that there is not")
        for name, shape in shapes.items():
            array = arrays[name]
            _require(
                name not in own or array.dtype == own[name].type,
                f"{name} must be of {np.dtype(own[name].type).name}" if name in own else "",
            )
            _require(
                array.shape == shape,
                f"{name} has shape {list(array.shape)}, the specification needs {list(shape)}",
            )
        _require(int(self.twiddle.min()) > -Q15, "a twiddle factor is -1, which cannot be negated in 16 bits")
        # int32 holds ((x * window) << s), at most 2^30, whatever the window. With a shift right of at most
        # 16, firmware may floor a product by 16 bits instead, of x shifted left by the rest.
        _require(
            0 <= self.headroom <= 16 - self._log2_length,
            f"headroom {self.headroom} must be 0 to {16 - self._log2_length}",
        )
        _require(
            len(self.pool_shifts) == len(spec.blocks) and all(1 <= shift <= 16 for shift in self.pool_shifts),
            f"pool_shifts {list(self.pool_shifts)} must be one number from 1 to 16 per block",
        )
        # |log2q16| < 2^23, so the log's sum stays in int32 and so does that of two logs.
        _require(abs(self.log_floor) <= _OCTAVES_LIMIT, f"log_floor {self.log_floor} is out of range")
        # a level fits 16 bits, and so does its step
        _require(abs(self.level_offset) <= _LEVEL_LIMIT, f"level_offset {self.level_offset} is out of range")
        _require(
            _MIN_TIER_WIDTH <= self.tier_width < 2**15 if spec.tiers else self.tier_width == 0,
            f"tier_width {self.tier_width} must be {_MIN_TIER_WIDTH} to {2**15 - 1}, or 0 for all frames",
        )
        _require(1 <= self.speech_rise < 2**15, f"speech_rise {self.speech_rise} must be 1 to {2**15 - 1}")
        _require(
            int(np.abs(self.mel_offset.astype(np.int64)).max()) <= _OCTAVES_LIMIT,
            "a mel_offset is out of range",
        )

    def _check_segments(self) -> None:
        count, slope, last = self.segment.astype(np.int64).T
        bins = self._fft_length // 2 + 1
        _require(
            self.first_bin >= 0 and self.first_bin + int(count.sum()) <= bins,
            f"the mel segments read beyond the {bins} bins of the spectrum",
        )
        # The largest weight, that of a segment's first bin, is (n-1)*a + b; at most 1/2 of the power may
        # fall, or carry = S/2 - F wraps.
        _require(
            bool(np.all((count == 0) | ((count - 1) * slope + last <= Q15))),
            "a mel segment's weights exceed 1",
        )

    def _check_histograms(self) -> None:
        for kind, own in self.blocks.items():
            if HISTOGRAM not in own:
                continue
            _, width, scale = own[HISTOGRAM].astype(np.int64).T
            # |v - low| < 2^16, so the product with a scale below 2^15 fits 32 bits, as 16 bins' widths do
            _require(
                bool(np.all((width >= _MIN_BIN_WIDTH) & (scale == 65536 // np.maximum(width, 1)))),
                f"a histogram of {kind} has bins that are too narrow, or a scale that is not theirs",
            )

    def _gain(self) -> float:
        """Return the largest modulus of a twiddle factor, at least 1."""
        return max(1.0, float(np.hypot(*self.twiddle.astype(np.float64).T).max()) / Q15)

    def _modulus_bounds(self) -> tuple[float, float]:
        """Bound |z| at any level of the FFT, and after the last: the L1 norm of what entered each block."""
        log2_length, gain = self._log2_length, self._gain()
        padded = np.zeros(self._fft_length)
        padded[: self.window.size] = self.window
        pairs = SAMPLE_MAX * np.hypot(*padded.reshape(-1, 2).T)
        doubling = np.array([j.bit_count() for j in range(pairs.size)]) - (log2_length + self.headroom)
        blocks = (np.ldexp(pairs, doubling) + _FLOOR)[bit_reversal(pairs.size)]
        worst = float(blocks.max())
        while blocks.size > 1:
            blocks = blocks[0::2] + gain / 2 * blocks[1::2] + _ROTATE
            worst = max(worst, float(blocks.max()))
        return worst, float(blocks[0])

    def _log_range(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lowest and highest log [B]."""
        top = (int(self.power_bound()).bit_length() - 1 << 16) + int(
            self.log_table.astype(np.int64).sum(axis=1).max()
        )
        high = np.maximum(top - self.mel_offset.astype(np.int64), self.log_floor)
        return np.full_like(high, self.log_floor), high


def build_tables(spec: FeatureSpec) -> FrontendTables:
    """Build the tables of a specification, with the least headroom and pool shift that prove the bounds.

    Raises SerqError if no headroom does.
    """
    edges = mel_edges(spec)
    first_bin, segment = _segments(edges / (spec.sample_rate / spec.fft_length))
    base = np.rint(65536 * np.log2(1 + np.arange(LOG_SEGMENTS + 1) / LOG_SEGMENTS)).astype(np.int64)
    quarter = _angles(spec.fft_length)[: spec.fft_length // 4]
    twiddle = q15(np.stack([np.cos(quarter), np.sin(quarter)], axis=1))
    tables = FrontendTables(
        window=q15(0.5 - 0.5 * np.cos(_angles(spec.frame_length))),
        twiddle=twiddle,
        segment=segment,
        mel_offset=_mel_offset(spec, edges, 0),
        log_table=np.stack([base[:-1], np.diff(base)], axis=1).astype(np.uint16),
        headroom=0,
        first_bin=first_bin,
        log_floor=round(65536 * math.log2(spec.log_floor)),
        level_offset=level_offset(spec, 0, uses_mel=spec.uses_mel),
        tier_width=level_from_db(spec.tier_db) if spec.tiers else 0,
        speech_rise=level_from_db(spec.speech_rise_db),
        pool_shifts=(1,) * len(spec.blocks),
        blocks=_own_tables(spec, twiddle),
    )
    refusal = SerqError("nothing was tried")
    for headroom in range(17 - (spec.fft_length.bit_length() - 1)):
        scaled = replace(
            tables,
            headroom=headroom,
            mel_offset=_mel_offset(spec, edges, headroom),
            level_offset=level_offset(spec, headroom, uses_mel=spec.uses_mel),
        )
        try:
            bounds = scaled.bounds()
            ranges = [block.value_range(scaled.of(block), bounds) for block in spec.blocks]
            shifts = tuple(_least_shift(*range_) for range_ in ranges)
            candidate = replace(scaled, pool_shifts=shifts, blocks=_with_histograms(spec, scaled, shifts))
            candidate.check(spec)
            return candidate
        except SerqError as error:
            refusal = error
    raise refusal


def histogram_table(block: FeatureBlock, analysis: Analysis, shift: int) -> NDArray[np.int16]:
    """Make a block's table of histograms [coefficients, 3]: lowest value, a bin's width, 65536 over it."""
    low, high = block.spread(analysis)
    step = np.broadcast_to(block.steps(analysis), block.size) * 2.0**shift
    edges = np.stack([low / step, high / step])[:, block.histograms.start : block.histograms.stop]
    width = np.clip(np.rint((edges[1] - edges[0]) / HISTOGRAM_BINS), _MIN_BIN_WIDTH, 2**15 - 1)
    rows = np.stack([np.clip(np.rint(edges[0]), -(2**15), 2**15 - 1), width, 65536 // width], axis=1)
    return rows.astype(np.int16)


def _with_histograms(spec: FeatureSpec, tables: FrontendTables, shifts: tuple[int, ...]) -> dict[str, Tables]:
    """Return all own tables of `tables`, and those of the blocks' histograms."""
    found = {kind: dict(own) for kind, own in tables.blocks.items()}
    for block, shift in zip(spec.blocks, shifts, strict=True):
        if block.percentiles:
            found.setdefault(block.kind, {})[HISTOGRAM] = histogram_table(block, spec, shift)
    return dict(found)


def _own_tables(spec: FeatureSpec, twiddle: NDArray[np.int16]) -> dict[str, Tables]:
    """Build the blocks' own tables and those of the pitch stage, by kind and name."""
    own: dict[str, Tables] = {block.kind: block.build_tables(spec) for block in spec.blocks}
    if spec.uses_pitch:
        own[pitch.TABLE_KIND] = pitch.build_tables(spec, twiddle)
    return {kind: tables for kind, tables in own.items() if tables}


def mel_edges(spec: Analysis) -> NDArray[np.float64]:
    """Compute frequencies in Hz [bands+2] of the triangles' corners, equally spaced on the mel scale."""
    if spec.mel_scale == "htk":
        low, high = (_HTK_FACTOR * math.log10(1 + f / _HTK_KNEE_HZ) for f in (spec.fmin, spec.fmax))
        return _HTK_KNEE_HZ * (10 ** (np.linspace(low, high, spec.mel_bands + 2) / _HTK_FACTOR) - 1)
    low, high = (_hz_to_mel(f) for f in (spec.fmin, spec.fmax))
    mels = np.linspace(low, high, spec.mel_bands + 2)
    return np.where(mels < _KNEE_MEL, mels * _HZ_PER_MEL, _KNEE_HZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL)))


# Slaney's scale: 3 mel for 200 Hz up to 1 kHz, then 27 mel for a factor of 6.4.
_HZ_PER_MEL, _KNEE_HZ, _LOG_STEP = 200 / 3, 1000.0, math.log(6.4) / 27
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_HTK_FACTOR, _HTK_KNEE_HZ = 2595.0, 700.0


def _hz_to_mel(hertz: float) -> float:
    return hertz / _HZ_PER_MEL if hertz < _KNEE_HZ else _KNEE_MEL + math.log(hertz / _KNEE_HZ) / _LOG_STEP


def _segments(edges: NDArray[np.float64]) -> tuple[int, NDArray[np.uint16]]:
    """Return the first bin, and (n, a, b) per segment between two edges (in bins).

    Bin i of n weighs b + (n-1-i)*a, in Q15, in the band that ends there.
    """
    starts = np.ceil(edges).astype(np.int64)
    rows = []
    for j, (left, right) in enumerate(itertools.pairwise(edges)):
        count = int(starts[j + 1] - starts[j])
        if count == 0:
            rows.append((0, 0, 0))
            continue
        ideal = Q15 / (right - left)
        slope = min(round(ideal), Q15 // (count - 1)) if count > 1 else 0
        last = (right - (starts[j + 1] - 1)) * ideal
        middle = last + (count - 1) / 2 * (ideal - slope)  # spreads the slope's rounding over both ends
        rows.append((count, slope, min(max(round(middle), 0), Q15 - (count - 1) * slope)))
    return int(starts[0]), np.array(rows, dtype=np.uint16)


def _mel_offset(spec: Analysis, edges: NDArray[np.float64], headroom: int) -> NDArray[np.int32]:
    # An integer bin is X * 2^(31 - L - h + s) with |x| <= 1; E is half the weighted power; Slaney's norm is 2
    # / bandwidth.
    log2_length = spec.fft_length.bit_length() - 1
    norm = np.log2(2 / (edges[2:] - edges[:-2])) if spec.mel_norm == "slaney" else np.zeros(spec.mel_bands)
    scale = 2 * (31 - log2_length - headroom) - 1 - norm
    offset: NDArray[np.int32] = np.rint(65536 * scale).astype(np.int32)
    return offset


def _angles(count: int) -> NDArray[np.float64]:
    return 2 * np.pi * np.arange(count) / count


def _pooled_fits(low: NDArray[np.int64], high: NDArray[np.int64], shift: int) -> bool:
    return int(rshift_round(low, shift).min()) > -(2**15) and int(rshift_round(high, shift).max()) < 2**15


def _least_shift(low: NDArray[np.int64], high: NDArray[np.int64]) -> int:
    return next((shift for shift in range(1, 16) if _pooled_fits(low, high, shift)), 16)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy of an array."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


def _require(condition: object, message: str) -> None:
    if not condition:
        raise SerqError(f"front-end tables: {message}")
