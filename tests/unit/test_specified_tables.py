"""Tables, their scaling and a model's hash as SPEC.md words them, beside what the package makes.

The transcription shares nothing with the package but the specification's numbers.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from serq_mcu.boards.samples import conversion
from serq_mcu.config import load_config
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables, build_tables
from serq_mcu.quantized_model.store import shipped_models
from tests.support import vectors
from tests.support.frontend import GRID, SPECS

ROOT2 = math.sqrt(2)
ALL = {"the default": load_config().features, **SPECS, **GRID}


def q15(value: float) -> int:
    return min(round(32768 * value), 32767)


def edges(spec: FeatureSpec) -> list[float]:
    def mel(f: float) -> float:
        if spec.mel_scale == "htk":
            return 2595 * math.log10(1 + f / 700)
        return 3 * f / 200 if f < 1000 else 15 + 27 * math.log(f / 1000) / math.log(6.4)

    def hertz(m: float) -> float:
        if spec.mel_scale == "htk":
            return 700 * (10 ** (m / 2595) - 1)
        return 200 * m / 3 if m < 15 else 1000 * math.exp(math.log(6.4) / 27 * (m - 15))

    low, high = mel(spec.fmin), mel(spec.fmax)
    return [hertz(low + (high - low) * j / (spec.mel_bands + 1)) for j in range(spec.mel_bands + 2)]


def segments(e: list[float]) -> list[tuple[int, int, int]]:
    s, rows = [math.ceil(value) for value in e], []
    for j in range(len(e) - 1):
        n = s[j + 1] - s[j]
        if n == 0:
            rows.append((0, 0, 0))
            continue
        slope = 32768 / (e[j + 1] - e[j])
        a = min(round(slope), 32768 // (n - 1)) if n > 1 else 0
        b = round((e[j + 1] - s[j + 1] + 1) * slope + (n - 1) / 2 * (slope - a))
        rows.append((n, a, max(0, min(b, 32768 - (n - 1) * a))))
    return rows


def chroma(spec: FeatureSpec) -> np.ndarray:
    n = spec.fft_length
    t = [0.0] + [12 * math.log2(k * spec.sample_rate / n / 27.5) for k in range(1, n)]
    t[0] = t[1] - 18
    table = np.zeros((12, n))
    for k in range(n):
        width = max(t[k + 1] - t[k], 1) if k + 1 < n else 1
        bin_ = [math.exp(-((2 * (((t[k] - c + 6) % 12) - 6) / width) ** 2) / 2) for c in range(12)]
        scale = math.exp(-(((t[k] / 12 - 5) / 2) ** 2) / 2) / math.sqrt(sum(w * w for w in bin_))
        for c in range(12):
            table[(c + 9) % 12, k] = bin_[c] * scale
    table = table[:, : n // 2 + 1]
    table[table < table.max(axis=0) / 512] = 0
    return table / table.max() * 32767


@pytest.mark.parametrize("name", ALL)
def test_tables_are_those_of_the_words(name: str) -> None:
    spec = ALL[name]
    tables, rate = build_tables(spec), spec.sample_rate
    W, N = spec.frame_length, spec.fft_length
    h, length = tables.headroom, N.bit_length() - 1
    f = edges(spec)
    e = [value * N / rate for value in f]
    window = [q15(0.5 - 0.5 * math.cos(2 * math.pi * i / W)) for i in range(W)]
    angles = [2 * math.pi * k / N for k in range(N // 4)]
    base = [round(65536 * math.log2(1 + i / 64)) for i in range(65)]
    norm = [math.log2(2 / (f[j + 2] - f[j])) * (spec.mel_norm == "slaney") for j in range(spec.mel_bands)]
    offset = [round(65536 * (2 * (31 - length - h) - 1 - value)) for value in norm]
    # a last bit may hang on the order in which a platform's functions round
    assert np.abs(np.subtract(window, tables.window)).max() <= 1
    assert (
        np.abs(np.subtract([(q15(math.cos(a)), q15(math.sin(a))) for a in angles], tables.twiddle)).max() <= 1
    )
    assert tables.first_bin == math.ceil(e[0])
    assert np.abs(np.subtract(segments(e), tables.segment.astype(int))).max() <= 1
    assert np.abs(np.subtract(offset, tables.mel_offset)).max() <= 1
    assert tables.log_table.tolist() == [[base[i], base[i + 1] - base[i]] for i in range(64)]
    assert tables.log_floor == round(65536 * math.log2(spec.log_floor))
    if spec.block("chroma"):
        assert np.abs(chroma(spec) - tables.blocks["chroma"]["weights"]).max() <= 1


def bounds(tables: FrontendTables) -> tuple[float, float, float]:
    """Compute the bounds of SPEC.md section 16: the amplitude's, P and G."""
    m, length = 2 * len(tables.twiddle), (4 * len(tables.twiddle)).bit_length() - 1
    window = [*tables.window.tolist(), *[0] * (2 * m - len(tables.window))]
    g = max(1.0, max(math.hypot(c, s) for c, s in tables.twiddle.tolist()) / 32768)
    scale = -length - tables.headroom
    b = [
        32768 * math.hypot(window[2 * j], window[2 * j + 1]) * 2.0 ** (j.bit_count() + scale) + ROOT2
        for j in range(m)
    ]
    digits = length - 1
    b = [b[int(f"{i:0{digits}b}"[::-1], 2)] for i in range(m)]
    largest = max(b)
    while len(b) > 1:
        b = [b[2 * i] + g / 2 * b[2 * i + 1] + 2 * ROOT2 for i in range(len(b) // 2)]
        largest = max(largest, *b)
    amplitude = max(largest, 2 * b[0] * (1 + g) + 4 * ROOT2)
    p = 32768 * math.sqrt(sum(w * w for w in window)) * 2.0**scale + math.sqrt(2 * m)
    for _ in range(length - 1):
        p = ROOT2 * g * p + 2 * math.sqrt(2 * m)
    p = 2 * g * p + 4 * math.sqrt(2 * m)
    return amplitude, p * p + 4 * b[0] ** 2, g


def reach(tables: FrontendTables, scale: int, g: float) -> float:
    """Bound |r| of the pitch stage at a scale."""
    own = tables.pitch
    n, factors = len(own["weight"]), own["compress"].tolist()
    w = sorted(own["weight"].tolist()[1:], reverse=True)
    c = []
    for i in range(1, n):
        z = 32 - (2**30 // i | 1).bit_length()
        c.append((((max(factors[:32]) * max(factors[32 + z :])) >> 16) * w[i - 1]) >> 15)
    u, v = 2**scale, n.bit_length() - 2
    y = 2 * ROOT2 * sum((1 + g / 2) ** i for i in range(v))
    last = g**v * (2 * u * sum(c) + n) + y
    lags = (int(own["search"][0]) + len(own["cost"])) // 2 + 1
    spread = 2 * u * sum(c) + n + lags * (2 * last * (1 + g) + 4 * ROOT2)
    return max((2 * g) ** v * (ROOT2 * (2 * u * c[0] + 1) + y), spread)


def ranges(spec: FeatureSpec, tables: FrontendTables, power: float) -> dict[str, list[tuple[int, int]]]:
    """List the range of each coefficient that a kind of block pools."""
    step = int(tables.log_table.astype(int).sum(axis=1).max())
    top, floor = (int(power).bit_length() - 1) * 65536 + step, tables.log_floor
    logs = [(floor, max(top - int(offset), floor)) for offset in tables.mel_offset]
    found = {
        "mel": logs,
        "energy": [(-10240, 32767)],
        "voicing": [(0, 32768)] * 2,
        "chroma": [(0, 32768)] * 12,
    }
    if spec.uses_pitch:
        first, _, offset, _ = tables.pitch["search"].tolist()
        last = first + len(tables.pitch["cost"]) - 1
        lowest = offset - ((1024 * last + 512).bit_length() - 1) * 65536 - step
        highest = offset - ((1024 * first - 513).bit_length() - 1) * 65536
        found["f0"] = [(min(0, lowest), max(0, highest))]
    if spec.block("mfcc"):
        dct, found["mfcc"] = tables.blocks["mfcc"]["dct"].tolist(), []
        bands = 2 * len(dct[0])
        for r, row in enumerate(dct):
            low = high = 0
            for i, weight in enumerate(row):
                (low_a, high_a), (low_b, high_b) = logs[i], logs[bands - 1 - i]
                ends = (low_a - high_b, high_a - low_b) if r % 2 else (low_a + low_b, high_a + high_b)
                products = [(end * weight) >> 16 for end in ends]
                low, high = low + min(products), high + max(products)
            found["mfcc"].append((low, high))
    return found


def proved(spec: FeatureSpec, tables: FrontendTables, amplitude: float, power: float) -> bool:
    """Tell whether a headroom is enough."""
    longest = max(1, int(tables.segment[:, 0].max()))
    whole = 62 if spec.uses_pitch or spec.block("chroma") else 64
    return amplitude < 2**31 and power * longest < 2**64 and power < 2**whole


@pytest.mark.parametrize("name", ALL)
def test_headroom_and_pool_shifts_are_the_least_that_the_words_prove(name: str) -> None:
    spec = ALL[name]
    tables = build_tables(spec)
    amplitude, power, g = bounds(tables)
    assert proved(spec, tables, amplitude, power)
    if tables.headroom:
        assert not proved(spec, tables, *bounds(replace(tables, headroom=tables.headroom - 1))[:2])
    found = ranges(spec, tables, power * (1 + 1e-9))
    for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True):
        fits = [
            all(-(2**15) < (end + 2 ** (r - 1)) >> r < 2**15 for pair in found[block.kind] for end in pair)
            for r in range(1, 17)
        ]
        assert shift == fits.index(True) + 1, block.kind
    if spec.uses_pitch:
        scale = int(tables.pitch["search"][1])
        safe = [at for at in (4, 3, 2, 1) if reach(tables, at, g) < 2**30]
        assert scale == (safe[0] if safe else 0)


def canonical(value: Any) -> str:
    """Write JSON as the page words it, without the json module."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        units = [int.from_bytes(pair, "big") for pair in _pairs(value.encode("utf-16-be"))]
        return '"' + "".join(_escaped(unit) for unit in units) + '"'
    plain = {"None": "null", "True": "true", "False": "false"}
    return plain.get(repr(value), repr(value))  # the shortest digits of a float, as in the page


def _pairs(data: bytes) -> list[bytes]:
    return [data[i : i + 2] for i in range(0, len(data), 2)]


def _escaped(unit: int) -> str:
    short = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    return short.get(unit) or (chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}")


FILES = {path.stem: path for path in (*sorted(vectors.FOLDER.glob("*.serq")), *shipped_models().values())}


@pytest.mark.parametrize("name", FILES)
def test_a_models_hash_is_of_the_canonical_bytes_of_the_words(name: str) -> None:
    data = FILES[name].read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["serq"])
    stated = header.pop("sha256")
    content = canonical(header).encode("ascii")
    for tensor, values in sorted(load(data).items()):
        shape = f"({values.shape[0]},)" if values.ndim == 1 else f"({', '.join(map(str, values.shape))})"
        content += f"{tensor} {values.dtype.name} {shape}".encode() + values.tobytes()
    assert sha256(content).hexdigest() == stated


def test_the_gains_shift_is_within_the_words_range() -> None:
    found = [conversion(0, 0, gain) for gain in range(-20, 41)]
    assert (min(one.gain_shift for one in found), max(one.gain_shift for one in found)) == (7, 17)
    assert all(512 <= one.gain <= 1023 for one in found)
