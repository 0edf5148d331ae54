"""The network's C equals the integer interpreter: every width, odd sizes, extremes, under the sanitizers too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serq_mcu.codegen.packing import pack_planes8
from serq_mcu.quantized_model.interpreter import accumulate, quantize_input, requantize
from serq_mcu.quantized_model.types import DenseLayer, InputQuantization
from tests.native import RUNTIME, SANITIZERS, compile_program, run

SOURCES = [Path(__file__).parent / "network_layers.c", RUNTIME / "serq_network.c"]
FEATURES = 12


@pytest.fixture(scope="module", params=[(), SANITIZERS], ids=["plain", "sanitized"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("network") / "layers", SOURCES, request.param)


def _activations(kind: str, inputs: int, rng: np.random.Generator) -> np.ndarray:
    return {"random": rng.integers(0, 128, inputs), "zeros": np.zeros(inputs), "saturated": np.full(inputs, 127)}[kind].astype(np.uint8)


def _fields(kind: str, shape: tuple[int, int], bits: int, rng: np.random.Generator) -> np.ndarray:
    top = 2**bits - 1
    return {"random": rng.integers(0, top + 1, shape), "low": np.zeros(shape), "high": np.full(shape, top)}[kind].astype(np.uint8)


def _check(program: Path, layer: DenseLayer, activations: np.ndarray, rng: np.random.Generator) -> None:
    assert layer.multiplier is not None
    assert layer.shift is not None
    constants = InputQuantization(
        rng.integers(-(2**19), 2**19 + 1, FEATURES).astype(np.int32),
        rng.integers(1, 2048, FEATURES).astype(np.uint16),
        rng.integers(1, 32, FEATURES).astype(np.uint8),
    )
    pooled = (rng.integers(-(2**31), 2**31, FEATURES) >> rng.integers(0, 31, FEATURES)).astype(np.int32)
    pooled[:2] = 2**31 - 1, -(2**31)
    packed = pack_planes8(layer)
    sizes = np.array([FEATURES, layer.inputs, layer.outputs, layer.bits, len(packed), layer.multiplier, layer.shift], np.uint32)
    arrays = [sizes, pooled, constants.center, constants.multiplier, constants.shift, np.frombuffer(packed, np.uint8), activations, layer.bias]
    accumulators = accumulate(layer, activations.astype(np.int64))
    expected = quantize_input(constants, pooled).astype(np.uint8).tobytes() + accumulators.astype(np.int32).tobytes()
    expected += requantize(layer, accumulators).astype(np.uint8).tobytes() + bytes([int(np.argmax(accumulators[:255]))])
    assert run(program, b"".join(array.tobytes() for array in arrays)) == expected


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_width_at_sizes_that_are_multiples_of_nothing(program: Path, bits: int) -> None:
    rng = np.random.default_rng(bits)
    for inputs, outputs in [(1, 1), (7, 3), (8, 1), (31, 5), (32, 2), (33, 9), (40, 256), (120, 31), (129, 64)]:
        layer = DenseLayer(
            _fields("random", (outputs, inputs), bits, rng),
            rng.integers(-(2**20), 2**20, outputs).astype(np.int32),
            f"b{bits}",
            int(rng.integers(1, 2**24)),
            int(rng.integers(1, 25)),
            1.0,
            1.0,
        )
        _check(program, layer, _activations("random", inputs, rng), rng)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("fields", ["low", "high"])
@pytest.mark.parametrize("activations", ["zeros", "saturated"])
def test_extremes(program: Path, bits: int, fields: str, activations: str) -> None:
    rng = np.random.default_rng(bits)
    inputs, outputs = 4096, 3
    room = 2**31 - 1 - inputs * 127 * (2**bits - 1)
    bias = np.array([room, -room, 0], np.int32)  # as far as the proof lets it
    for multiplier, shift in [(1, 1), (2**24 - 1, 24), (2**24 - 1, 1), (1, 24)]:
        layer = DenseLayer(_fields(fields, (outputs, inputs), bits, rng), bias, f"b{bits}", multiplier, shift, 1.0, 1.0)
        _check(program, layer, _activations(activations, inputs, rng), rng)


def test_ties_go_to_the_lowest_index(program: Path) -> None:
    rng = np.random.default_rng(0)
    layer = DenseLayer(np.ones((5, 8), np.uint8), np.array([1, 2, 2, 0, 2], np.int32), "b1", 1, 1, 1.0, 1.0)
    _check(program, layer, _activations("random", 8, rng), rng)
