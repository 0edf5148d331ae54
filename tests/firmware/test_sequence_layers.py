"""Layers that read a sequence: against loops written out, C against Python at every width, in whole networks
on every core, and what is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import (
    Conv1DLayer,
    DenseLayer,
    DepthwiseLayer,
    FloatConv1D,
    FloatDense,
    FloatDepthwise,
    FloatLayer,
    FloatPooling,
    PoolingLayer,
    Windows,
)
from serq_mcu.layers.encodings import ENCODINGS, Width
from serq_mcu.quantization.importance import layer_importance
from serq_mcu.quantization.lowering import Lowering, dequantized, device_inputs
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.models import SEQUENCE_SPEC
from tests.support.native import RUNTIME, SANITIZERS, compile_program, run
from tests.support.streaming import with_pauses

BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
PROGRAM = Path(__file__).parents[1] / "programs" / "sequence_layers.c"
SOURCES = [PROGRAM, *(RUNTIME / f"serq_{kind}.c" for kind in ("conv1d", "depthwise", "functions", "pooling"))]
SHAPES = [  # frames, channels, taps, stride, dilation, before, after
    Windows(1, 1, 1),
    Windows(9, 8, 3),  # lies contiguous
    Windows(9, 4, 2, 3),  # contiguous, at multiples of 4
    Windows(9, 6, 4, 1),  # whole groups, but not at multiples of 4
    Windows(11, 5, 3, 2, 2, 4, 0),  # causal
    Windows(7, 3, 5, 1, 1, 2, 2),  # as many frames come out
    Windows(12, 8, 3, 3, 2, 0, 4),
    Windows(40, 7, 7, 5, 6),
]


def accumulated(layer: Conv1DLayer, sequence: Sequence[int]) -> list[int]:
    """The accumulators of a convolution, product by product."""
    shape, q, found = layer.windows, layer.dense.q.tolist(), []
    for window in range(shape.count):
        for output, bias in enumerate(layer.dense.bias.tolist()):
            total = bias
            for tap in range(shape.taps):
                frame = window * shape.stride - shape.before + tap * shape.dilation
                for channel in range(shape.channels):
                    inside = 0 <= frame < shape.frames
                    x = sequence[frame * shape.channels + channel] if inside else layer.padding
                    if not isinstance(layer, DepthwiseLayer):
                        total += q[output][tap * shape.channels + channel] * x
                    elif channel == output:
                        total += q[output][tap] * x
            found.append(total)
    return found


def convolution(kind: type[Conv1DLayer], windows: Windows, encoding: str, seed: int = 0) -> Conv1DLayer:
    rng = np.random.default_rng(seed)
    deep = kind is DepthwiseLayer
    shape = (windows.channels, windows.taps) if deep else (5, windows.size)
    u = rng.integers(0, ENCODINGS[encoding].levels, shape).astype(np.uint8)
    u.flat[0], u.flat[-1] = 0, ENCODINGS[encoding].levels - 1
    bias = rng.integers(-(2**20), 2**20, shape[0]).astype(np.int32)
    return kind(DenseLayer(u, bias, encoding, 12_345, 20, 1.0, 1.0), windows, 64)


@pytest.mark.parametrize("windows", SHAPES, ids=lambda shape: "-".join(map(str, shape.to_json().values())))
def test_integers_are_those_of_loops(windows: Windows) -> None:
    rng = np.random.default_rng(1)
    clips = rng.integers(0, 128, (2, 3, windows.inputs))
    for kind in (Conv1DLayer, DepthwiseLayer):
        layer = convolution(kind, windows, "b3")
        sums, outputs = layer.run(clips)
        assert sums.shape == (2, 3, layer.outputs) == outputs.shape
        assert sums[1, 2].tolist() == accumulated(layer, clips[1, 2].tolist())
        np.testing.assert_array_equal(outputs, layer.dense.requantize(sums))
    if not windows.before and not windows.after:
        rows = clips[0, 0].reshape(windows.frames, -1)
        starts = [w * windows.stride for w in range(windows.count)]
        cut = [rows[s : s + windows.span : windows.dilation] for s in starts]
        found = {
            name: PoolingLayer(name, windows, 1.0, 0).run(clips[0, 0])[0] for name in ("mean", "maximum")
        }
        assert found["maximum"].tolist() == np.concatenate([part.max(axis=0) for part in cut]).tolist()
        exact = np.concatenate([part.mean(axis=0) for part in cut])
        assert found["mean"].tolist() == np.floor(exact + 0.5).tolist()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("layers") / "sequence", SOURCES, SANITIZERS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("extreme", [False, True])
def test_c_equals_python(program: Path, encoding: str, extreme: bool) -> None:
    rng = np.random.default_rng(2)
    cases, expected = [], []
    for windows in SHAPES:
        layer = convolution(DepthwiseLayer, windows, encoding)
        sequence = rng.integers(127 * extreme, 128, windows.inputs)
        cut = windows.cut(sequence, 64).reshape(windows.count, -1)
        shape = *windows.to_json().values(), windows.count
        numbers = [*shape, 64, layer.bits, layer.dense.levels - 1]
        assert isinstance(layer, DepthwiseLayer)
        fields = layer.code_fields()
        given = [np.array([*numbers, fields.nbytes], np.uint32), sequence.astype(np.uint8), fields]
        cases += [*given, layer.dense.bias, cut[0].astype(np.uint8)]
        copies = [w not in windows.in_place for w in range(windows.count)]
        for window, copied in zip(cut, copies, strict=True):
            expected.append(window.astype(np.uint8).tobytes() + bytes([copied]))
        sums = (cut[0].reshape(windows.taps, -1) * layer.dense.q.T).sum(axis=0) + layer.dense.bias
        expected.append(sums.astype(np.int32).tobytes())
        if not windows.before and not windows.after:
            kinds = [PoolingLayer(name, windows, 1.0, 0) for name in ("maximum", "mean")]
            expected += [kind.run(sequence)[0].astype(np.uint8).tobytes() for kind in kinds]
    found = run(program, b"".join(np.ascontiguousarray(case).tobytes() for case in cases))
    assert found == b"".join(expected)


def network(seed: int = 0) -> FloatNetwork:
    """Every kind, in a network of odd sizes on the frames of SEQUENCE_SPEC."""
    rng, spec = np.random.default_rng(seed), SEQUENCE_SPEC
    frames, channels = spec.sequence_frames, spec.coefficients

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape)

    layers: tuple[FloatLayer, ...] = (
        FloatConv1D(drawn(3 * channels, 10), drawn(10), Windows(frames, channels, 3, 1, 1, 1, 1)),
        FloatPooling("maximum", Windows(frames, 10, 2, 2)),
        FloatDepthwise(drawn(3, 10), drawn(10), Windows(8, 10, 3, 1, 2, 4, 0)),
        FloatConv1D(drawn(10, 16), drawn(16), Windows(8, 10, 1, 2)),
        FloatPooling("mean", Windows(4, 16, 4)),
        FloatDense(drawn(16, 3), drawn(3), relu=False),
    )
    return FloatNetwork(layers, *standardisation(features(), channels))


def features(count: int = 120) -> np.ndarray:
    rng, spec = np.random.default_rng(4), SEQUENCE_SPEC
    return rng.normal(0, 800, (count, spec.feature_count)).astype(np.int32)


def lowered(widths: Sequence[Width]) -> QuantizedModel:
    spec, labels = SEQUENCE_SPEC, ("calm", "loud", "sad")
    return Lowering(network(), features(), spec, build_tables(spec), labels).model(widths)


@pytest.mark.parametrize(
    ("board", "on", "widths"),
    [
        ("esp32", "host", (1, 2, 3, 4)),
        pytest.param("esp32", "host", (5, 6, 7, 8), marks=pytest.mark.slow(60)),
        pytest.param("esp32", "host", ("ternary", "ternary", 8, 1), marks=pytest.mark.slow(60)),
        pytest.param("nucleo_f446re", "host", (8, 1, 2, "ternary"), marks=pytest.mark.slow(60)),
        *(
            pytest.param(board, "emulator", widths, marks=pytest.mark.emulator)
            for board in BOARDS
            for widths in ((2, 3, 4, 8), (8, 1, 1, 5))
        ),
    ],
)
def test_firmware_equals_python(board: str, on: str, widths: Sequence[Width], tmp_path: Path) -> None:
    model = lowered(widths)
    project = export(model, load_board(board), tmp_path / "p")
    whole = [with_pauses(SEQUENCE_SPEC, seed, 8) for seed in range(2)]
    clips = [
        Recording(f"clip {i}", pcm) for i, pcm in enumerate((*whole, whole[0][:1500], whole[1][5000:9000]))
    ]
    with open_target(project, on) as target:
        report = verify(model, clips, target)
    assert (report.ok, report.clips, report.differing_integers) == (True, 4, 0)


def test_a_difference_is_found_in_its_frame(tmp_path: Path) -> None:
    model = lowered((4, 4, 4, 4))
    layer = model.layers[3]
    assert isinstance(layer, Conv1DLayer)
    assert [stage.events for stage in layer.stages()] == [4, 4]
    project = export(model, load_board("esp32"), tmp_path / "p")
    source = project.folder / "lib" / "serq" / "src" / "serq_model.c"
    text = source.read_text()
    (spoiled,) = re.findall(r"serq_row\(activations[ +0-9]*, 16, frame3\)", text)
    source.write_text(text.replace(spoiled, f"{spoiled};\n        window[0] ^= frame3 == 2"))
    with open_target(project, "host", allow_changes=True) as target:
        report = verify(model, [Recording("clip", with_pauses(SEQUENCE_SPEC, 0, 8))], target)
    (difference,) = report.differences
    assert (difference.stage, difference.event) == ("layer 3 accumulator", 2)


def test_integers_follow_the_float_network_and_few_bits_less() -> None:
    floats = network()
    pooled = features()
    wanted = floats.logits(floats.standardise(pooled))
    near = [
        np.corrcoef(scores(lowered([bits] * 4), pooled).ravel(), wanted.ravel())[0, 1] for bits in (8, 4, 2)
    ]
    assert near[0] > 0.995
    assert near == sorted(near, reverse=True)
    model = lowered([8] * 4)
    again = dequantized(model, floats).logits(device_inputs(model, pooled))
    assert np.corrcoef(again.ravel(), scores(model, pooled).ravel())[0, 1] > 0.998


def test_the_model_file_keeps_the_kinds(tmp_path: Path) -> None:
    model = lowered((3, 5, 2, 8))
    again = load_model(save_model(model, tmp_path / "m.serq"))
    kinds = ["conv1d", "pooling", "depthwise", "conv1d", "pooling", "dense"]
    assert [layer.kind for layer in again.layers] == kinds
    assert again.widths == (3, 5, 2, 8)
    np.testing.assert_array_equal(scores(again, features()), scores(model, features()))
    assert scores(model, features()[:0]).shape == (0, 3)
    parameters = [(99 + 1) * 10, (3 + 1) * 10, (10 + 1) * 16, (16 + 1) * 3]
    assert model.parameters == sum(parameters)
    bits = sum(count * int(width) for count, width in zip(parameters, model.widths, strict=True))
    assert model.weights_only_bytes == bits / 8


def test_importance_names_layers_by_their_number_in_the_network() -> None:
    """Pooling has no weights, and so no importance; the numbers of the others stay."""
    ranked = layer_importance(network(), load_config().quantization)
    assert [layer.layer for layer in ranked] == [0, 2, 3, 5]
    assert sum(layer.parameter_share for layer in ranked) == pytest.approx(1)


def test_all_is_counted_before_the_build() -> None:
    plan = Plan(lowered((3, 5, 2, 8)), load_board("nucleo_f446re"))
    assert plan.work == 104  # a window of the first layer, in whole groups
    assert plan.buffers.size == 568 + 176  # its input and output
    assert all(stage.calls for stage in plan.layer_costs)
    first = plan.layer_costs[0]
    assert first.calls.count("serq_cut_window") == first.calls.count("serq_requantize") == 17


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({"taps": 5}, "windows of 5 frames do not fit a sequence of 4"),
        ({"taps": 0}, "taps must be 1 to 4096"),
        ({"before": 3}, "windows of 3 frames: padding must be less than that"),
        ({"frames": 4096, "channels": 9}, "4096 frames of 9 has more than 32768 values"),
        ({"stride": 1.0}, "stride"),
    ],
)
def test_windows_that_there_are_none_of_are_refused(windows: dict[str, int], message: str) -> None:
    with pytest.raises(SerqError, match=message):
        Windows(**({"frames": 4, "channels": 2, "taps": 3} | windows))


def test_layers_that_do_not_fit_are_refused() -> None:
    layer = convolution(Conv1DLayer, Windows(9, 4, 2), "b8")
    with pytest.raises(SerqError, match="filters of 8 weights for windows of 12"):
        replace(layer, windows=Windows(9, 4, 3))
    with pytest.raises(SerqError, match="padding must be 0 to 127"):
        replace(layer, padding=128)
    with pytest.raises(SerqError, match="cannot be the last layer"):
        replace(layer, dense=replace(layer.dense, multiplier=None, shift=None))
    with pytest.raises(SerqError, match=r"filters are \(5, 8\), not \(4, 2\)"):
        DepthwiseLayer(layer.dense, layer.windows, 0)
    wide = DenseLayer(np.zeros((4096, 8), np.uint8), np.zeros(4096, np.int32), "b1", 1, 1, 1.0, 1.0)
    with pytest.raises(SerqError, match="9 frames of 4096 are more than 32768 values"):
        Conv1DLayer(wide, Windows(9, 8, 1), 0)
    fields, full = np.zeros((1, 8), np.uint8), np.array([2**31 - 1], np.int32)
    with pytest.raises(SerqError, match=r"an accumulator of a layer of 8x1 can reach"):
        DenseLayer(fields, full, "b8", 1, 1, 1.0, 1.0)
    with pytest.raises(SerqError, match="'median' is not one of mean, maximum"):
        PoolingLayer("median", Windows(9, 4, 2), 1.0, 0)
    with pytest.raises(SerqError, match="its windows have no padding"):
        PoolingLayer("mean", Windows(9, 4, 2, 1, 1, 1), 1.0, 0)
