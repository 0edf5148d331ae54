"""Recurrent layers and attention: functions against float64, C against Python at every width and at the
extremes, in whole networks on every core, and what is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.width_costs import width_costs
from serq_mcu.errors import SerqError
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import (
    AttentionLayer,
    FloatAttention,
    FloatDense,
    FloatGru,
    FloatLayer,
    FloatLstm,
    GruLayer,
    LstmLayer,
)
from serq_mcu.layers.encodings import Width
from serq_mcu.layers.functions import POWERS, SIGMOID, Rescale, exp2_minus, sigmoid, tanh
from serq_mcu.layers.kernels import Storage
from serq_mcu.layers.pooling import attended, attention_weights
from serq_mcu.layers.recurrent import FloatRecurrent, RecurrentLayer, each_width, state_activations
from serq_mcu.quantization.lowering import Lowering, dequantized, device_inputs
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantized_model.interpreter import quantize_input, scores, stages
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.models import SEQUENCE_SPEC
from tests.support.native import RUNTIME, SANITIZERS, compile_program, run
from tests.support.streaming import with_pauses

BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
PROGRAM = Path(__file__).parents[1] / "programs" / "recurrent_layers.c"
NAMES = ("functions", "recurrent", "gru", "lstm", "pooling")
SOURCES = [PROGRAM, *(RUNTIME / f"serq_{name}.c" for name in NAMES)]
EVERY_WIDTH: tuple[Width, ...] = ("1+2", "3+4", "5+6", "7+8", "ternary+1")  # input and recurrent matrix
KINDS = [(GruLayer, FloatGru), (LstmLayer, FloatLstm)]
FLOATS: dict[str, type[FloatRecurrent]] = {"gru": FloatGru, "lstm": FloatLstm}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("layers") / "recurrent", SOURCES, SANITIZERS)


def test_functions_are_near_the_real_ones() -> None:
    x = np.arange(-(2**17), 2**17)
    wanted, curved = 2**15 / (1 + np.exp(-x / 4096)), 2**15 * np.tanh(x / 4096)
    positive = np.arange(2**17)
    assert np.abs(exp2_minus(positive) - 2.0 ** (15 - positive / 4096)).max() < 3
    assert np.abs(sigmoid(x) - wanted).max() < 3
    assert np.abs(tanh(x) - curved).max() < 6
    assert (sigmoid(x).min(), sigmoid(x).max(), tanh(x).max()) == (1, 2**15 - 1, 2**15 - 2)
    exact = 2**15 / (1 + np.exp(-np.arange(161) / 16))
    assert np.abs(exact % 1 - 0.5).min() > 1e-4  # every computer rounds it to the same table
    np.testing.assert_array_equal(SIGMOID, np.floor(exact + 0.5))
    powers = 2.0 ** (15 - np.arange(1, 32) / 32)
    assert np.abs(powers % 1 - 0.5).min() > 1e-4
    np.testing.assert_array_equal(POWERS[1:32], np.floor(powers + 0.5))
    for factor in (1e-9, 0.12, 0.2499999, 0.25, 0.999999, 1.0, 77.7, 2.0**27):
        rescaled = Rescale.by(factor)
        assert rescaled.factor == pytest.approx(factor, rel=2**-14)
        assert rescaled.left == 0 or rescaled.right == 1


def test_c_equals_python_at_the_extremes(program: Path) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([np.arange(-42_000, 42_001), rng.integers(-(2**30), 2**30, 1000), [2**30, -(2**30)]])
    cases: list[np.ndarray] = [np.array([0, x.size, 0, 0, 0, 0, 0]), x]
    expected = [np.stack([sigmoid(x), tanh(x), exp2_minus(np.abs(x))], axis=-1)]
    for units, scale, most in (
        (1, Rescale(2**14, 0, 31), 2**31),
        (7, Rescale(2**15 - 1, 0, 1), 2**31),  # the largest numbers that there are
        (5, Rescale(20_000, 9, 1), 2**22),
        (33, Rescale(17_000, 1, 3), 2**20),
    ):
        for code, (kind, _) in enumerate(KINDS, 1):
            sums = rng.integers(-most, most, (40, 2, kind.gates * units))
            sums[::3] = np.where(sums[::3] < 0, -most + 1, most - 1)
            sums = np.where(rng.random(sums.shape) < 0.3, sums >> 10, sums)
            shift = int(rng.integers(1, 10))
            cases += [np.array([code, units, 40, scale.multiplier, scale.left, scale.right, shift]), sums]
            state = np.zeros((1, kind.memories * units), np.int64)
            expected.append(np.full(units, 64, np.uint8))
            for x_sums, h_sums in sums:
                state = kind.advance(scale.run(x_sums[None]), scale.run(h_sums[None]), state)
                expected += [state, state_activations(state[:, :units], shift).astype(np.uint8)]
    for frames, channels, most in ((1, 1, 2**29), (2, 5, 2**29), (17, 3, 2**15), (1024, 2, 1)):
        heard, rows = rng.integers(-most, most, frames), rng.integers(100, 128, (frames, channels))
        rows[:, 0], weights = 127, attention_weights(heard)
        cases += [np.array([3, channels, frames, 0, 0, 0, 0]), heard, rows.astype(np.uint8)]
        expected += [weights, attended(rows, weights).astype(np.uint8)]
    assert run(program, packed(cases)) == packed(expected)


def packed(arrays: Sequence[np.ndarray]) -> bytes:
    """The bytes of all: of uint8 as they are, of others as int32."""
    return b"".join((one if one.dtype == np.uint8 else one.astype("<i4")).tobytes() for one in arrays)


def network(*names: str) -> FloatNetwork:
    """Layers of odd sizes on each other, from the frames of SEQUENCE_SPEC on: `gru`, `lstm`, and `last` of
    these, or `attention` and frames. A dense layer follows.
    """
    rng, spec = np.random.default_rng(0), SEQUENCE_SPEC
    frames, channels, sizes = spec.sequence_frames, spec.coefficients, (16, 5, 8, 3, 11, 9)
    layers: list[FloatLayer] = []
    for units, name in zip(sizes, names, strict=False):
        kind, *more = name.split()
        values = layers[-1].outputs if layers else frames * channels
        if kind == "attention":
            frames = int(more[0])
            layers.append(FloatAttention.of(rng.normal(0, 1, (values // frames, 1)), frames))
            continue
        made, channels = FLOATS[kind], values // frames
        rows = made.gates * units
        kernel, own = rng.normal(0, channels**-0.5, (channels, rows)), rng.normal(0, 1.5, (units, rows))
        bias = rng.normal(0, 0.5, (made.biases, rows))
        own *= units**-0.5
        layers.append(made.of(kernel, own, np.squeeze(bias), frames, sequence="last" not in more))
    values = layers[-1].outputs
    dense = FloatDense(rng.normal(0, 1, (values, 3)), rng.normal(0, 1, 3), relu=False)
    return FloatNetwork((*layers, dense), *standardisation(features(), spec.coefficients))


def features(count: int = 90) -> np.ndarray:
    return np.random.default_rng(4).normal(0, 800, (count, SEQUENCE_SPEC.feature_count)).astype(np.int32)


def lowered(floats: FloatNetwork, widths: Sequence[Width]) -> QuantizedModel:
    spec, labels = SEQUENCE_SPEC, ("calm", "loud", "sad")
    return Lowering(floats, features(), spec, build_tables(spec), labels).model(each_matrix(floats, widths))


def test_a_model_does_not_depend_on_what_was_lowered_before() -> None:
    """Layers of the same widths in front are taken from the model before."""
    floats, spec, labels = network("gru", "attention 17"), SEQUENCE_SPEC, ("calm", "loud", "sad")
    lowering = Lowering(floats, features(), spec, build_tables(spec), labels)
    for widths in ((8, 8, 8, 8), (8, 8, 8, 2), (8, 8, 3, 2), (8, 4, 3, 2), (8, 4, 3, 2), (1, 4, 3, 2)):
        fresh = Lowering(floats, features(), spec, build_tables(spec), labels).model(widths)
        assert lowering.model(widths).sha256 == fresh.sha256


@pytest.mark.parametrize("board", ["nucleo_f446re", "esp32"])
def test_a_budget_of_time_counts_each_matrix_on_every_frame(board: str) -> None:
    floats = network("gru", "lstm last")
    costs = width_costs([matrix[1:4] for matrix in floats.matrices], load_board(board))
    widths = (2, 5, 8, 1, 4)
    model = lowered(floats, ("2+5", "8+1", 4))
    plan = Plan(model, load_board(board))
    whole = zip(
        model.layers, (costs[:2], costs[2:4], costs[4:]), (widths[:2], widths[2:4], widths[4:]), strict=True
    )
    for layer, own, bits in whole:
        parts = layer.choose(plan.core, frozenset(plan.core.kernels), Storage.COMPACT)
        assert parts is not None
        each = [row[width - 1] for row, width in zip(own, bits, strict=True)]
        assert sum(each) == pytest.approx(layer.kernel_cost(plan.core, parts))
        assert min(each) > 0


def each_matrix(floats: FloatNetwork, widths: Sequence[Width]) -> tuple[Width, ...]:
    """The widths of all matrices, for those of layers, of which `4+8` names two."""
    each = [layer.matrices for layer in floats.layers]
    named = [each_width(width)[: len(own)] for own, width in zip(each, widths, strict=True)]
    return tuple(width for own in named for width in own)


@pytest.mark.parametrize(
    ("board", "on", "names", "widths"),
    [
        ("esp32", "host", (*["gru"] * 5, "gru last"), (*EVERY_WIDTH, 8, 4)),
        pytest.param(
            *("esp32", "host", (*["lstm"] * 5, "attention 17"), (*EVERY_WIDTH, 8, 4)),
            marks=pytest.mark.slow(60),
        ),
        pytest.param(
            *("esp32", "host", ("lstm last", *["attention 2"] * 4), (8, 1, 2, 3, "ternary", 4)),
            marks=pytest.mark.slow(60),
        ),
        pytest.param(
            *("nucleo_f446re", "host", ("gru", "attention 17", *["attention 2"] * 3), (3, 4, 5, 6, 7, 4)),
            marks=pytest.mark.slow(60),
        ),
        *(
            pytest.param(
                *(board, "emulator", ("lstm", "gru", "attention 17"), (2, "4+8", 8, 3)),
                marks=pytest.mark.emulator,
            )
            for board in BOARDS
        ),
    ],
)
def test_firmware_equals_python(
    board: str, on: str, names: Sequence[str], widths: Sequence[Width], tmp_path: Path
) -> None:
    floats = network(*names)
    model = lowered(floats, widths)
    assert model.widths == each_matrix(floats, widths)
    project = export(model, load_board(board), tmp_path / "p")
    whole = [with_pauses(SEQUENCE_SPEC, seed, 8) for seed in range(2)]
    clips = [Recording(f"clip {i}", pcm) for i, pcm in enumerate((*whole, whole[0][:1500]))]
    with open_target(project, on) as target:
        report = verify(model, clips, target)
    assert (report.ok, report.clips, report.differing_integers) == (True, 3, 0)


@pytest.mark.parametrize(("kind", "floats"), KINDS)
def test_rounding_does_not_add_up(kind: type[RecurrentLayer], floats: type[FloatRecurrent]) -> None:
    """After 500 frames, also with a state that is hardly ever forgotten, it is off by less than half a
    step of its activations.
    """
    rng, units = np.random.default_rng(2), 40
    sums = rng.normal(0, 4096, (500, 2, 1, kind.gates * units)).astype(np.int64)
    sums[..., : units // 2] += 6 * 4096  # gate z of a GRU: keep
    sums[..., units : units + units // 2] += 6 * 4096  # gate f of an LSTM: keep
    state = np.zeros((1, kind.memories * units), np.int64)
    exact = state.astype(np.float64)
    for x, h in sums:
        state, exact = kind.advance(x, h, state), floats.advance(x / 4096, h / 4096, exact)
    assert np.abs(state / 2**15 - exact)[:, :units].max() < 1 / 128
    assert np.abs(exact[:, :units]).max() > 0.5


@pytest.mark.parametrize("names", [("gru", "lstm", "attention 17"), ("lstm", "gru last", "attention 1")])
def test_integers_follow_the_float_network_and_few_bits_less(names: Sequence[str]) -> None:
    floats, pooled = network(*names), features()
    wanted = floats.logits(floats.standardise(pooled)).ravel()
    models = [lowered(floats, (width, 8, width, 8)) for width in (8, 4, 2)]
    near = [float(np.corrcoef(scores(model, pooled).ravel(), wanted)[0, 1]) for model in models]
    assert near[0] > 0.999
    assert near == sorted(near, reverse=True)
    for model in models[::2]:
        again = dequantized(model, floats).logits(device_inputs(model, pooled)).ravel()
        assert np.corrcoef(again, scores(model, pooled).ravel())[0, 1] > 0.998
        read = quantize_input(model.input, pooled)
        for layer in model.layers[:-1]:
            unrounded, given = layer.run_without_rounding(read.astype(np.float64)), layer.answer(read)
            assert np.abs(unrounded - given).mean() < 1
            assert given.std() > 1 or layer.outputs == 1
            read = given


def test_the_model_file_keeps_them_and_all_is_counted(tmp_path: Path) -> None:
    model = lowered(network("gru", "lstm", "attention 17"), ("3+8", "ternary", 4, 5))
    again = load_model(save_model(model, tmp_path / "m.serq"))
    assert [layer.kind for layer in again.layers] == ["gru", "lstm", "attention", "dense"]
    assert again.widths == (3, 8, "ternary", "ternary", 4, 5)
    stage = dict(stages(model, features()))
    assert all((values == stage[name]).all() for name, values in stages(again, features()))
    assert stage["layer 0 state"].shape == (90, 17 * 16)
    assert (scores(again, features()[:0]).shape, stage["scores"].shape) == ((0, 3), (90, 3))
    sizes = [(34 * 48, 3), (17 * 48, 8), ((16 + 5 + 1) * 20, 2), (5, 4), (6 * 3, 5)]
    assert model.parameters == sum(count for count, _ in sizes)
    assert model.weights_only_bytes == sum(count * bits for count, bits in sizes) / 8
    plan = Plan(model, load_board("nucleo_f446re"))
    first = model.layers[0]
    assert plan.accumulators == first.sums == 2 * 48 + 16
    assert plan.work == 56  # a state's activations and a frame, in whole groups
    assert plan.packed_bytes >= 33 * 48 * 3 / 8 + 16 * 48
    counts = map(plan.layer_costs[0].calls.count, ("serq_gru", "serq_rescale", "serq_state_start"))
    assert list(counts) == [17, 34, 1]


def test_layers_that_do_not_fit_are_refused() -> None:
    layer = lowered(network("gru"), (4, 8)).layers[0]
    assert isinstance(layer, GruLayer)
    for changes, message in (
        ({"recurrent": layer.input}, "48 and 48 sums, not 99"),
        ({"frames": 4097}, "frames must be 1 to 4096"),
        ({"frames": 2000}, "a sequence of 66000 values"),
        ({"frames": True}, "frames must be a number"),
        ({"shift": 10}, "shift must be 1 to 9"),
        ({"input": replace(layer.input, multiplier=1, shift=1)}, "sums of gates are not requantized"),
        ({"input_scale": Rescale(2**14, 30, 1)}, "more than 32 bits hold"),
    ):
        with pytest.raises(SerqError, match=message):
            replace(layer, **changes)
    attention = lowered(network("attention 17"), (4, 8)).layers[0]
    assert isinstance(attention, AttentionLayer)
    for changes, message in (
        ({"dense": layer.input}, "a frame has one score, not 48"),
        ({"dense": replace(attention.dense, multiplier=1, shift=1)}, "scores are not requantized"),
        ({"frames": 1025}, "frames must be 1 to 1024, not 1025; pool before it"),
        ({"frames": 1024}, "33792 values are more than 32768"),
        ({"zero": 128}, "zero must be 0 to 127"),
        ({"scale": Rescale(2**14, 30, 1)}, "more than 32 bits hold"),
    ):
        with pytest.raises(SerqError, match=message):
            replace(attention, **changes)
    for numbers in ((2**14 - 1, 0, 1), (2**15, 0, 1), (2**14, 31, 1), (2**14, 0, 0), (2**14, 0, 32)):
        with pytest.raises(SerqError, match="out of range"):
            Rescale(*numbers)
    for factor in (0.0, 1e-12, 1e12, float("nan")):
        with pytest.raises(SerqError, match="outside the device's range"):
            Rescale.by(factor)
    with pytest.raises(SerqError, match="widths of more than two matrices"):
        each_width("1+2+3")
    for kind in (FloatGru, FloatLstm, FloatAttention):
        with pytest.raises(SerqError, match=f"{kind.kind} cannot be the last layer"):
            kind.from_tensors({}, last=True)
