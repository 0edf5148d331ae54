"""The pitch stage: fundamental frequency and voicing of a frame, from its power (SPEC.md section 2, step 11).

A compressed power spectrum's autocorrelation has a peak at the period (Tolonen and Karjalainen, 2000). Only
the spectrum below 2 kHz is used, so that a short transform gives all lags that are searched.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.analysis import Analysis, Tables, TableType, require
from serq_mcu.frontend.arithmetic import Q15, log2_q16, top_bit
from serq_mcu.frontend.transform import bit_reversal, fft, spectrum_of

TABLE_KIND = "pitch"
EXPONENT = 0.4  # of power
LAG_BITS = 10  # of a lag's fraction, in steps
MAX_SCALE = 4
MANTISSAS, OCTAVES = 32, 32

_BAND_HZ = 2000.0  # where the taper ends
_LEAST_BAND_HZ = 1900.0  # a step of lags resolves at least this
_HUM_HZ, _LOBE_BINS = 45.0, 3  # below either a bin is left out: hum, and what the window spreads of an offset
_OCTAVE_COST = 0.02  # of voicing, for each octave below the highest pitch
_OFFSET_LIMIT = 1 << 24
_POWER_BITS = 62  # of a frame's total, once it is scaled
_VALUE_LIMIT = 2**30  # of r, so that differences of two stay in int32
_FLOORS = 2 * math.sqrt(2)  # what two floors in each component add to a modulus


def lag_step(analysis: Analysis) -> int:
    """Return the samples between two lags: the largest power of two that keeps 1.9 kHz."""
    step = 1
    while analysis.sample_rate / (4 * step) >= _LEAST_BAND_HZ:
        step *= 2
    return step


def lag_range(analysis: Analysis) -> tuple[int, int]:
    """Return the first and the last lag that is searched, in steps."""
    rate = analysis.sample_rate / lag_step(analysis)
    last = math.floor(rate / analysis.pitch_low)
    return math.ceil(rate / analysis.pitch_high), min(last, _bins(analysis) - 1)


def misfit(analysis: Analysis) -> str | None:
    """Return a sentence if frames are too short to hear the lowest pitch, or None."""
    if analysis.frame_length * analysis.pitch_low >= 2 * analysis.sample_rate:
        return None
    milliseconds = 1000 * analysis.frame_length / analysis.sample_rate
    return (
        f"frames of {milliseconds:g} ms are shorter than two periods of the lowest pitch,"
        f" {analysis.pitch_low:g} Hz; use a longer FFT or raise pitch_low"
    )


def table_types(analysis: Analysis) -> dict[str, TableType]:
    """Return type and shape of the stage's tables.

    weight: of each bin, Q15; compress: factors of 32 mantissas and of 32 octaves; cost: of each lag, Q16 of
    voicing; search: first lag, scale, offset, threshold.
    """
    first, last = lag_range(analysis)
    return {
        "weight": TableType(np.uint16, (_bins(analysis),)),
        "compress": TableType(np.uint16, (MANTISSAS + OCTAVES,)),
        "cost": TableType(np.int16, (last - first + 1,)),
        "search": TableType(np.int32, (4,)),
    }


def build_tables(analysis: Analysis, twiddle: NDArray[np.int16]) -> dict[str, NDArray[Any]]:
    """Make the tables, with the largest scale that can be proved.

    twiddle: the frame's own. Raises SerqError if there is none.
    """
    first, last = lag_range(analysis)
    rate = analysis.sample_rate / lag_step(analysis)
    octaves = np.log2(np.arange(first, last + 1) * analysis.pitch_high / rate)
    offset = LAG_BITS + math.log2(rate / analysis.pitch_low)
    tables = {
        "weight": np.rint((Q15 - 1) * _taper(analysis)).astype(np.uint16),
        "compress": _compression(),
        "cost": np.rint(65536 * _OCTAVE_COST * octaves).astype(np.int16),
        "search": np.array(
            [first, MAX_SCALE, round(65536 * offset), round(Q15 * analysis.voiced_above)], dtype=np.int32
        ),
    }
    scales = range(MAX_SCALE, 0, -1)
    tables["search"][1] = next((s for s in scales if _reach(tables, s, twiddle) < _VALUE_LIMIT), 0)
    return tables


def check(tables: Tables, twiddle: NDArray[np.int16], power: float) -> None:
    """Prove that no frame makes the stage overflow, from the tables alone.

    power: what the powers of all bins of a frame together do not exceed. Raises SerqError naming what fails.
    """
    first, scale, offset, threshold = tables["search"].tolist()
    bins = len(tables["weight"])
    _require(first >= 1 and first + len(tables["cost"]) <= bins, f"its lags leave the {bins} that there are")
    _require(0 <= scale <= MAX_SCALE, f"scale {scale} must be 0 to {MAX_SCALE}")
    _require(abs(offset) <= _OFFSET_LIMIT, f"offset {offset} is out of range")
    _require(0 < threshold <= Q15, f"threshold {threshold} must be 1 to {Q15}")
    _require(int(tables["cost"].min()) >= 0, "a cost is negative")
    _require(power < 2.0**_POWER_BITS, f"a frame's power can reach {power:.3g}, more than 62 bits hold")
    largest = int(_largest_compressed(tables)[0])
    _require(largest < Q15, f"a compressed bin can reach {largest}, more than 15 bits hold")
    reach = _reach(tables, scale, twiddle)
    _require(reach < _VALUE_LIMIT, f"the autocorrelation can reach {reach:.3g}, more than 30 bits hold")


def value_range(tables: Tables, log_table: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest pitch and voicing, int64 [2] each."""
    first, _, offset, _ = tables["search"].tolist()
    lags = np.array([first, first + len(tables["cost"]) - 1], dtype=np.int64) << LAG_BITS
    half = 1 << (LAG_BITS - 1)
    shortest, longest = int(lags[0]) - half - 1, int(lags[1]) + half
    highest = offset - (shortest.bit_length() - 1 << 16)
    lowest = offset - (longest.bit_length() - 1 << 16) - int(log_table.astype(np.int64).sum(axis=1).max())
    return np.array([min(lowest, 0), 0]), np.array([max(highest, 0), Q15])


def integers(
    tables: Tables, twiddle: NDArray[np.int16], log_table: NDArray[np.uint16], power: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Compute pitch and voicing, int64 [2, frames], of powers uint64 [bins, frames].

    Pitch is Q16 octaves above the lowest one, voicing Q15; both are 0 where there is no peak. twiddle: the
    frame's own.
    """
    step = 2 * len(twiddle) // len(tables["weight"])
    scale = int(tables["search"][1])
    r = _autocorrelation(_compressed(tables, power), twiddle[::step].astype(np.int64), scale)
    return best_pitch(tables, log_table, r)


def best_pitch(tables: Tables, log_table: NDArray[np.uint16], r: NDArray[np.int64]) -> NDArray[np.int64]:
    """Search the autocorrelation r, int64 [lags, frames], for the best peak, and refine it by a parabola.

    Returns what `integers` does.
    """
    first, _, offset, _ = tables["search"].tolist()
    cost = tables["cost"].astype(np.int64)[:, None]
    last = first + len(cost) - 1
    before, at, after = r[first - 1 : last], r[first : last + 1], r[first + 1 : last + 2]
    score = np.where((at > before) & (at >= after), at - (r[0] * cost >> 16), 0)
    place = score.argmax(axis=0)
    found = (score.max(axis=0) > 0) & (r[0] > 0)
    best = (place, np.arange(r.shape[1]))
    bend = np.where(found, 2 * at[best] - before[best] - after[best], 1)
    down = np.maximum(top_bit(bend.astype(np.uint64)) - 15, 0)
    lag = ((first + place) << LAG_BITS) + ((after[best] - before[best]) >> down << 9) // (bend >> down)
    pitch = offset - log2_q16(log_table, lag.astype(np.uint64))
    whole = np.where(found, r[0], 1)
    down = np.maximum(top_bit(whole.astype(np.uint64)) - 15, 0)
    voicing = (np.minimum(at[best], whole) >> down << 15) // (whole >> down)
    return np.where(found, [pitch, voicing], 0)


def voiced(tables: Tables, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which frames of `integers` are voiced [frames]."""
    return np.asarray(values[1] >= tables["search"][3])


def floats(analysis: Analysis, power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the same in float64: octaves above the lowest pitch and voicing [2, frames].

    power: float64 [bins, frames], in any unit.
    """
    step, (first, last) = lag_step(analysis), lag_range(analysis)
    taper = _taper(analysis)
    r = np.fft.irfft((power[: len(taper)] ** EXPONENT).T * taper, analysis.fft_length // step).T
    lags = np.arange(first, last + 1)
    before, at, after = r[first - 1 : last], r[first : last + 1], r[first + 1 : last + 2]
    rate = analysis.sample_rate / step
    cost = _OCTAVE_COST * np.log2(lags * analysis.pitch_high / rate)
    score = np.where((at > before) & (at >= after), at - r[0] * cost[:, None], 0)
    found = score.max(axis=0) > 0
    best = (score.argmax(axis=0), np.arange(r.shape[1]))
    bend = np.where(found, 2 * at[best] - before[best] - after[best], 1)
    lag = lags[best[0]] + (after[best] - before[best]) / (2 * bend)
    voicing = at[best] / np.where(found, r[0], 1)
    return np.where(found, [np.log2(rate / analysis.pitch_low / lag), voicing], 0)


def _bins(analysis: Analysis) -> int:
    """Return the bins that the transform takes, half its points."""
    return analysis.fft_length // (2 * lag_step(analysis))


def _taper(analysis: Analysis) -> NDArray[np.float64]:
    """Return the weight of each bin: a quarter of a cosine to 2 kHz, nothing of hum and offset."""
    k = np.arange(_bins(analysis))
    hertz = k * analysis.sample_rate / analysis.fft_length
    low = (hertz < _HUM_HZ) | (k * analysis.frame_length < _LOBE_BINS * analysis.fft_length)
    return np.where(low, 0, np.cos(np.pi / 2 * np.minimum(hertz / _BAND_HZ, 1)))


def _compression() -> NDArray[np.uint16]:
    """Return factors of the mantissa, then of the octave by its leading zeros, for power^EXPONENT.

    The last octave, which holds 1, is 0.
    """
    mantissa = Q15 * (1 + (np.arange(MANTISSAS) + 0.5) / MANTISSAS) ** EXPONENT
    zeros = np.maximum(np.arange(OCTAVES), 2)  # a power has at most 62 bits
    octave = 49152 * 2 ** (-EXPONENT * (zeros - 2))
    octave[-1] = 0
    factors: NDArray[np.uint16] = np.rint(np.concatenate([mantissa, octave])).astype(np.uint16)
    return factors


def _compressed(tables: Tables, power: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Compress and weigh the bins' powers, scaled by the frame's total [bins + 1, frames]; the ends are 0."""
    mantissa, octave = np.split(tables["compress"].astype(np.int64), [MANTISSAS])
    weight = tables["weight"].astype(np.int64)[:, None]
    up = (_POWER_BITS - 1 - top_bit(power.sum(axis=0, dtype=np.uint64))) // 2 * 2
    right, left = np.maximum(32 - up, 0).astype(np.uint64), np.maximum(up - 32, 0).astype(np.uint64)
    p = ((power[: len(weight)] >> right) << left).astype(np.int64) | 1
    zeros = 31 - top_bit(p.astype(np.uint64))
    values = (mantissa[(p << zeros) >> 26 & 31] * octave[zeros] >> 16) * weight >> 15
    values[0] = 0
    return np.concatenate([values, np.zeros_like(values[:1])])


def _autocorrelation(f: NDArray[np.int64], turn: NDArray[np.int64], scale: int) -> NDArray[np.int64]:
    """Transform compressed bins f [n + 1, frames] to r [n + 1, frames]: sums of f[k] * cos(pi*k*lag/n).

    That is a DCT-I by the FFT of half as many real numbers. turn int64 [n/2, 2]: cos and sin of pi*j/n.
    """
    n = len(f) - 1
    half = n // 2
    sums, differences = (f + f[::-1])[1:half], (f - f[::-1])[1:half]
    cosine, sine = (part[1:half, None] for part in turn.T)
    u, v = sums << scale >> 1, differences * sine >> (15 - scale)
    y = np.zeros_like(f[:n])
    y[1:half], y[half], y[:half:-1] = u - v, f[half] << scale, u + v
    order = bit_reversal(half)
    ones = np.array([int(i).bit_count() for i in order])[:, None]
    packed = y.reshape(half, 2, -1)[order] << ones[:, None]
    twiddle = turn[::2].astype(np.int16)
    re, im = spectrum_of(twiddle, fft(twiddle, (packed[:, 0].astype(float), packed[:, 1].astype(float))))
    r = np.zeros_like(f)
    r[0::2] = re
    im[half // 2 + 1 :] *= -1
    im[0] = -(differences * cosine >> (14 - scale)).sum(axis=0)
    r[1::2] = -np.cumsum(im[:half], axis=0)
    return r


def _largest_compressed(tables: Tables) -> NDArray[np.int64]:
    """Bound the compressed bins, largest first, of any frame.

    All powers together are below 2^62. The i-th largest power is at most an i-th of that; the largest weights
    meet the largest powers.
    """
    mantissa, octave = np.split(tables["compress"].astype(np.int64), [MANTISSAS])
    weights = np.sort(tables["weight"][1:].astype(np.int64))[::-1]
    most = np.uint64(2 ** (_POWER_BITS - 32)) // np.arange(1, len(weights) + 1, dtype=np.uint64)
    least_zeros = 31 - top_bit(most | np.uint64(1))
    reachable = np.maximum.accumulate(octave[::-1])[::-1]  # the largest factor of this octave or a lower one
    return np.asarray((int(mantissa.max()) * reachable[least_zeros] >> 16) * weights >> 15)


def _reach(tables: Tables, scale: int, twiddle: NDArray[np.int16]) -> float:
    """Bound all numbers of the transform at a scale, from the largest bin and the sum of all."""
    bounds, bins = _largest_compressed(tables).astype(np.float64), len(tables["weight"])
    largest, total = float(bounds[0]), float(bounds.sum())
    levels = bins.bit_length() - 2
    gain = max(1.0, float(np.hypot(*twiddle.astype(np.float64).T).max()) / Q15)
    unit = 2.0**scale
    point = math.sqrt(2) * (2 * unit * largest + 1)  # |y| <= u + |v|, u and |v| <= unit * largest + 1
    floors = _FLOORS * sum((1 + gain / 2) ** level for level in range(levels))
    worst = 2**levels * gain**levels * (point + floors)
    # |y[j]| + |y[n-j]| = 2 * max(u, |v|)
    final = gain**levels * (2 * unit * total + bins) + floors
    bin_ = 2 * final * (1 + gain) + 2 * _FLOORS
    added = (int(tables["search"][0]) + len(tables["cost"])) // 2  # to the odd lags that the search reads
    return float(max(worst, 2 * unit * total + bins + (added + 1) * bin_))


def _require(condition: object, message: str) -> None:
    require(condition, f"front-end tables: pitch: {message}")
