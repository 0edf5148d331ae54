"""The network's C equals the integer interpreter: every width in every layout, odd sizes, extremes, under
the sanitizers too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.codegen.packing import pack_scale
from serq_mcu.layers import DenseLayer
from serq_mcu.layers.encodings import ENCODINGS
from serq_mcu.layers.kernels import Storage, possible_parts
from serq_mcu.layers.packing import LAYOUTS, Part, pack_bias
from serq_mcu.quantized_model.interpreter import quantize_input
from serq_mcu.quantized_model.types import InputQuantization
from tests.support.native import RUNTIME, SANITIZERS, compile_program, run

SOURCES = [
    Path(__file__).parents[1] / "programs" / "network_layers.c",
    RUNTIME / "serq_network.c",
    *sorted(RUNTIME.glob("serq_dense_*.c")),
]
KERNELS = [layout.kernel(bits) for layout in LAYOUTS.values() for bits in layout.widths]
FEATURES = 13


@pytest.fixture(
    scope="module",
    params=[(), ("-DSERQ_LONG_MULTIPLY=0",), pytest.param(SANITIZERS, marks=pytest.mark.slow)],
    ids=["plain", "short multiply", "sanitized"],
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("network") / "layers", SOURCES, request.param)


def _ways(layer: DenseLayer, first: int = 0) -> Iterator[tuple[Part, ...]]:
    """All ways to compute a layer, two parts at most."""
    for part in possible_parts(layer.outputs, layer.bits, first):
        if first + part.bits == layer.bits:
            yield (part,)
        elif first == 0:
            yield from ((part, *rest) for rest in _ways(layer, part.bits))


def _activations(kind: str, inputs: int, rng: np.random.Generator) -> np.ndarray:
    return {
        "random": rng.integers(0, 128, inputs),
        "zeros": np.zeros(inputs),
        "saturated": np.full(inputs, 127),
    }[kind].astype(np.uint8)


def _fields(kind: str, shape: tuple[int, int], encoding: str, rng: np.random.Generator) -> np.ndarray:
    top = ENCODINGS[encoding].levels - 1
    return {"random": rng.integers(0, top + 1, shape), "low": np.zeros(shape), "high": np.full(shape, top)}[
        kind
    ].astype(np.uint8)


def _check(
    program: Path,
    layer: DenseLayer,
    activations: np.ndarray,
    rng: np.random.Generator,
    ways: Sequence[tuple[Part, ...]] | None = None,
) -> None:
    assert layer.multiplier is not None
    assert layer.shift is not None
    constants = InputQuantization(
        rng.integers(-(2**19), 2**19 + 1, FEATURES).astype(np.int32),
        rng.integers(1, 2048, FEATURES).astype(np.uint16),
        rng.integers(1, 32, FEATURES).astype(np.uint8),
    )
    pooled = (rng.integers(-(2**31), 2**31, FEATURES) >> rng.integers(0, 31, FEATURES)).astype(np.int32)
    pooled[:2] = 2**31 - 1, -(2**31)
    accumulators, outputs = layer.run(activations.astype(np.int64))
    expected = (
        quantize_input(constants, pooled).astype(np.uint8).tobytes() + accumulators.astype(np.int32).tobytes()
    )
    expected += outputs.astype(np.uint8).tobytes() + bytes([int(np.argmax(accumulators[:255]))])
    ways = ways or list(_ways(layer))
    assert ways
    cases = [_case(layer, parts, constants, pooled, activations) for parts in ways]
    results = run(program, b"".join(cases))
    assert len(results) == len(expected) * len(cases)
    for place, parts in enumerate(ways):
        assert results[place * len(expected) :][: len(expected)] == expected, [
            (part.kernel, part.first) for part in parts
        ]


def _case(
    layer: DenseLayer,
    parts: tuple[Part, ...],
    constants: InputQuantization,
    pooled: np.ndarray,
    activations: np.ndarray,
) -> bytes:
    """One layer in one layout, as network_layers.c reads it."""
    assert layer.multiplier is not None
    assert layer.shift is not None
    bias, factor = layer.packed_bias(parts), layer.start_factor(parts)
    numbers = [
        FEATURES,
        layer.inputs,
        layer.outputs,
        len(parts),
        layer.multiplier,
        layer.shift,
        bias.bits,
        bias.array.nbytes,
    ]
    arrays = [np.array(numbers, np.uint32), np.array([bias.base, factor], np.int32), pooled]
    arrays += [constants.center, pack_scale(constants), activations, bias.array]
    for part in parts:
        packed = part.pack(layer.u)
        arrays += [np.array([KERNELS.index(part.kernel), part.first, packed.nbytes], np.uint32), packed]
    return b"".join(array.tobytes() for array in arrays)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_width_at_sizes_that_are_multiples_of_nothing(program: Path, encoding: str) -> None:
    rng = np.random.default_rng(ENCODINGS[encoding].bits)
    for inputs, outputs in [
        (1, 1),
        (7, 3),
        (8, 1),
        (31, 5),
        (32, 2),
        (33, 7),
        (40, 256),
        (120, 31),
        (129, 64),
        (531, 16),
    ]:
        layer = DenseLayer(
            _fields("random", (outputs, inputs), encoding, rng),
            rng.integers(-(2**20), 2**20, outputs).astype(np.int32),
            encoding,
            int(rng.integers(1, 2**24)),
            int(rng.integers(1, 25)),
            1.0,
            1.0,
        )
        _check(program, layer, _activations("random", inputs, rng), rng)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("fields", ["low", "high"])
@pytest.mark.parametrize("activations", ["zeros", "saturated"])
def test_extremes(program: Path, encoding: str, fields: str, activations: str) -> None:
    rng = np.random.default_rng(ENCODINGS[encoding].bits)
    inputs, outputs = 4096, 8  # a multiple of every layout's rows, so that none is left out
    room = 2**31 - 1 - inputs * 127 * (ENCODINGS[encoding].levels - 1)
    bias = np.array([room, -room, 0, room, -room, 0, 1, -1], np.int32)  # as far as the proof lets it
    for multiplier, shift in [(1, 1), (2**24 - 1, 24), (2**24 - 1, 1), (1, 24)]:
        layer = DenseLayer(
            _fields(fields, (outputs, inputs), encoding, rng), bias, encoding, multiplier, shift, 1.0, 1.0
        )
        _check(program, layer, _activations(activations, inputs, rng), rng)


@pytest.mark.parametrize("encoding", ["b1", "ternary", "b3", "b5", "b7"])
def test_fields_may_be_stored_with_more_bits_than_they_have(program: Path, encoding: str) -> None:
    rng = np.random.default_rng(3)
    bias = rng.integers(-(2**20), 2**20, 16).astype(np.int32)
    layer = DenseLayer(_fields("random", (16, 531), encoding, rng), bias, encoding, 12_345, 24, 1.0, 1.0)
    ways = [
        (part,)
        for part in possible_parts(layer.outputs, layer.bits, 0, Storage.FAST)
        if part.bits > layer.bits
    ]
    assert {"mul8", "dsp8"} <= {part.kernel for (part,) in ways}
    _check(program, layer, _activations("random", 531, rng), rng, ways)


def test_biases_of_every_range(program: Path) -> None:
    rng = np.random.default_rng(0)
    for most in (0, 255, 256, 65_535, 65_536, 2**24 - 1, 2**24, 2**31 - 1):
        for base in (-(2**30), -1, 0, 2**20):
            if base + most <= 2**30:
                bias = rng.integers(base, base + most + 1, 9)
                bias[[0, -1]] = base, base + most
                layer = DenseLayer(
                    np.zeros((9, 1), np.uint8), rng.permutation(bias).astype(np.int32), "b1", 1, 7, 1.0, 1.0
                )
                assert pack_bias(layer.bias).array.nbytes == (9 * pack_bias(layer.bias).bits + 7) // 8 + (
                    pack_bias(layer.bias).bits == 24
                )
                _check(program, layer, _activations("random", 1, rng), rng)


def test_every_kernel_is_among_the_ways() -> None:
    layers = [
        DenseLayer(np.zeros((8, 8), np.uint8), np.zeros(8, np.int32), f"b{bits}", None, None, 1.0, 1.0)
        for bits in range(1, 9)
    ]
    assert {part.kernel for layer in layers for parts in _ways(layer) for part in parts} == set(KERNELS)


def test_requantization_at_every_step_between_two_outputs(program: Path) -> None:
    rng = np.random.default_rng(1)
    # a quarter is where cores with a long product change their way
    scales = [
        (1, 1),
        (3, 1),
        (255, 8),
        (257, 8),
        (63, 8),
        (64, 8),
        (1, 3),
        (129, 15),
        (2**22 - 1, 24),
        (2**24 - 1, 24),
        (12_345_678, 23),
        (2**23 + 1, 12),
    ]
    for multiplier, shift in scales:
        edges = np.array(
            [((2 * y - 1) * 2 ** (shift - 1) + multiplier - 1) // multiplier for y in range(1, 129)]
        )  # first that gives y
        bias = np.clip((edges[:, None] + [-1, 0, 1]).ravel(), -(2**30), 2**30)
        layer = DenseLayer(
            np.zeros((len(bias), 1), np.uint8), bias.astype(np.int32), "b1", multiplier, shift, 1.0, 1.0
        )
        _check(program, layer, _activations("zeros", 1, rng), rng)


def test_ties_go_to_the_lowest_index(program: Path) -> None:
    rng = np.random.default_rng(0)
    layer = DenseLayer(np.ones((5, 8), np.uint8), np.array([1, 2, 2, 0, 2], np.int32), "b1", 1, 1, 1.0, 1.0)
    _check(program, layer, _activations("random", 8, rng), rng)
