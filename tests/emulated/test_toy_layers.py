"""A layer kind and a layout from outside the package: the same integers in Python, C and emulated cores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.extension import register_layer, register_layout
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import FLOAT_LAYERS, LAYERS, FloatDense, Layer
from serq_mcu.layers.kernels import KernelCost, cores
from serq_mcu.layers.packing import LAYOUTS
from serq_mcu.quantization.lowering import Lowering, dequantized, device_inputs
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantized_model.interpreter import scores, stages
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.models import SMALL_SPEC
from tests.support.toy_layers.plain_bytes import COSTS, PLAIN_BYTES
from tests.support.toy_layers.relu6 import FloatRelu6, Relu6Layer

LABELS = ("calm", "loud", "sad")


@pytest.fixture(autouse=True)
def extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The extension, registered, and gone again after the test."""
    monkeypatch.setattr("serq_mcu.layers.kernels._added", {})
    register_layer(Relu6Layer, FloatRelu6)
    register_layout(PLAIN_BYTES, COSTS)
    yield
    for registry, name in ((LAYERS, "dense_relu6"), (FLOAT_LAYERS, "dense_relu6"), (LAYOUTS, "toy_bytes")):
        registry.remove(name)
    monkeypatch.undo()
    cores.cache_clear()


@pytest.fixture
def model() -> QuantizedModel:
    """A network whose second layer has ReLU6, lowered from floats at 3, 8 and 8 bits."""
    rng = np.random.default_rng(3)
    pooled = rng.normal(0, 800, (300, SMALL_SPEC.feature_count)).astype(np.int32)
    shapes = [(SMALL_SPEC.feature_count, 24), (24, 16), (16, 3)]
    kernels = [rng.normal(0, 1.2, shape) for shape in shapes]
    biases = [rng.normal(0, 1, shape[1]) for shape in shapes]
    layers = (
        FloatDense(kernels[0], biases[0]),
        FloatRelu6(kernels[1], biases[1]),
        FloatDense(kernels[2], biases[2], relu=False),
    )
    network = FloatNetwork(layers, *standardisation(pooled))
    return Lowering(network, pooled, SMALL_SPEC, build_tables(SMALL_SPEC), LABELS).model((3, 8, 8))


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 4000, 2500).astype(np.int16)


@pytest.mark.parametrize(
    ("board", "on"), [("esp32", "host"), ("emulated-m0", "emulator"), ("emulated-rv32imc", "emulator")]
)
def test_firmware_equals_python(model: QuantizedModel, board: str, on: str, tmp_path: Path) -> None:
    project = export(model, load_board(board), tmp_path / "p")
    assert {part.layout.name for part in Plan(model, load_board(board)).parts[1]} == {"toy_bytes"}
    clips = [Recording(f"noise {seed}", _noise(seed), "calm") for seed in range(6)]
    with open_target(project, on) as target:
        report = verify(model, clips, target)
    assert report.ok
    assert (report.clips, report.differing_integers) == (6, 0)


@pytest.mark.parametrize("on", ["host", "emulator"])
@pytest.mark.parametrize(
    ("file", "owner"), [("toy_limit.c", "layer kind 'dense_relu6'"), ("toy_bytes.c", "layout 'toy_bytes'")]
)
def test_c_that_does_not_compile_names_what_brought_it(
    model: QuantizedModel, on: str, file: str, owner: str, tmp_path: Path
) -> None:
    project = export(model, load_board("emulated-m0"), tmp_path / "p")
    source = project.folder / "lib" / "serq" / "src" / file
    source.write_text(source.read_text() + "\nint broken(void) { return nothing; }\n")
    with pytest.raises(SerqError, match=rf"{owner}: .*{file}:\d+:\d+: error: .*nothing") as refusal:
        open_target(project, on, allow_changes=True).__enter__()
    assert "\n" not in str(refusal.value)


def test_the_limit_takes_effect_and_is_the_floats(model: QuantizedModel) -> None:
    """Some activations reach 6, none is above it, and the integers' scores follow the float network's."""
    rng = np.random.default_rng(5)
    pooled = rng.normal(0, 800, (200, SMALL_SPEC.feature_count)).astype(np.int32)
    layer = model.layers[1]
    assert isinstance(layer, Relu6Layer)
    found = dict(stages(model, pooled))
    assert found["layer 1 limited"].max() == layer.ceiling < found["layer 1 output"].max()
    network = FloatNetwork(tuple(one.dequantized(0) for one in model.layers), np.zeros(21), np.ones(21))
    floats = dequantized(model, network)
    assert [one.kind for one in floats.layers] == ["dense", "dense_relu6", "dense"]
    inputs = device_inputs(model, pooled)
    assert np.corrcoef(floats.logits(inputs).ravel(), found["scores"].ravel())[0, 1] > 0.99


def test_the_model_file_keeps_the_kind(model: QuantizedModel, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "m.serq")
    again = load_model(path)
    assert [layer.kind for layer in again.layers] == ["dense", "dense_relu6", "dense"]
    pooled = np.random.default_rng(1).normal(0, 800, (50, 21)).astype(np.int32)
    assert np.array_equal(scores(again, pooled), scores(model, pooled))
    LAYERS.remove("dense_relu6")
    with pytest.raises(SerqError, match="layer kind 'dense_relu6' is not one of dense"):
        load_model(path)


def test_a_kind_or_layout_that_is_taken_or_lacks_a_part_is_refused() -> None:
    with pytest.raises(SerqError, match="layer kind 'dense_relu6' is registered already"):
        register_layer(Relu6Layer)
    with pytest.raises(SerqError, match="layout 'toy_bytes' is registered already"):
        register_layout(PLAIN_BYTES, COSTS)

    class Unfinished(Layer):
        kind = "unfinished"

    with pytest.raises(SerqError, match=r"layer kind 'unfinished' lacks accumulator_bound, .*run"):
        register_layer(Unfinished)  # type: ignore[type-abstract]
    with pytest.raises(SerqError, match="layer kind 'dense_relu6' has a float layer of another kind"):
        register_layer(Relu6Layer, FloatDense)
    other = replace(PLAIN_BYTES, name="other", widths=(4, 8))
    with pytest.raises(SerqError, match="layout 'other' lacks costs"):
        register_layout(other, {})
    with pytest.raises(SerqError, match="layout 'other' lacks the cost of other_4, other_8 on Cortex-M0"):
        register_layout(other, COSTS)
    with pytest.raises(SerqError, match="core 'Z80' is not one of Cortex-M0"):
        register_layout(other, {"Z80": {}})
    uncounted = {
        "Cortex-M4F": {"other_4": KernelCost((1.0,) * 5, 100), "other_8": KernelCost((1.0,) * 5, 100)}
    }
    with pytest.raises(SerqError, match="lacks the cycles of other_4, other_8 on Cortex-M4F"):
        register_layout(other, uncounted)
    lost = replace(PLAIN_BYTES, name="other", sources=(Path("none.c"),))
    cost = COSTS["Cortex-M0"]["toy_bytes"]
    with pytest.raises(SerqError, match=r"layout 'other' lacks its source none\.c"):
        register_layout(lost, {"Cortex-M0": {"other": cost}})
    with pytest.raises(SerqError, match="1 to 32 lower-case letters"):
        register_layout(replace(PLAIN_BYTES, name="Toy Bytes"), {"Cortex-M0": {"Toy Bytes": cost}})
