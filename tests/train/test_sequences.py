"""Networks on sequences of frames: what Keras trains is what the float layers compute, and a run of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from serq_mcu.base.validation import changed
from serq_mcu.config import Config, load_config
from serq_mcu.errors import SerqError
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import (
    FLOAT_LAYERS,
    FloatAttention,
    FloatConv1D,
    FloatDense,
    FloatDepthwise,
    FloatGru,
    FloatLstm,
    FloatPooling,
)
from serq_mcu.layers.base import Tuned
from serq_mcu.layers.encodings import TERNARY, Width
from serq_mcu.quantization.importance import layer_importance
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantization.pipeline import allocate
from serq_mcu.quantized_model.interpreter import classify, scores
from serq_mcu.training.mlp import Examples, train_mlp
from serq_mcu.training.qat import FineTuner, InnerFolds, NetworkTuner
from serq_mcu.training.sequences import sequence_layers

import tf_keras  # isort: skip  # after mlp, which sets how it loads

FRAMES, COEFFICIENTS = 21, 6
CONVOLUTIONS = (
    "conv 7 4 stride 2 same",
    "depthwise 3 dilation 2 causal",
    "conv 5 2",
    "maximum 2",
    "depthwise 2 same",
    "mean",
)
RECURRENT = ("lstm 5", "gru 7", "attention", "gru 4 last")


def rising_and_falling() -> tuple[np.ndarray, np.ndarray]:
    """Two classes with the same frames in another order: features int32 [clips, n], and which it is."""
    rng = np.random.default_rng(1)
    truth = np.arange(120) % 2
    ramp = np.linspace(-1, 1, FRAMES)[:, None] * np.ones(COEFFICIENTS)
    clips = np.where(truth[:, None, None], ramp, -ramp) + rng.normal(0, 0.3, (120, FRAMES, COEFFICIENTS))
    return np.rint(1000 * clips).astype(np.int32).reshape(120, -1), truth


def sequence_config(layers: Sequence[str]) -> Config:
    """A configuration of a network with these layers on such clips."""
    own = {"sequence_layers": layers, "hidden": (8,), "max_epochs": 30, "teacher": "labels", "mixup": 0.0}
    features = {
        "blocks": [{"kind": "mfcc", "size": COEFFICIENTS, "statistics": []}],
        "sequence_frames": FRAMES,
    }
    return load_config().changed(features=features, training=own)


@pytest.mark.parametrize("names", [CONVOLUTIONS, RECURRENT])
def test_float_layers_are_the_keras_layers(names: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    tf_keras.utils.set_random_seed(3)
    layers = sequence_layers(names, FRAMES, COEFFICIENTS)
    network = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((FRAMES, COEFFICIENTS)),
            *(one for layer in layers for one in layer.keras(tf_keras)),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(3),
        ]
    )
    network.set_weights([rng.normal(0, 0.6, array.shape) for array in network.get_weights()])
    weights = iter(np.asarray(array, np.float64) for array in network.get_weights())
    first = [layer.floats(weights) for layer in layers]
    own = sum(layer.parameters for layer in first)
    assert own == network.count_params() - network.layers[-1].count_params()
    kernel, bias = weights
    alone = np.zeros(COEFFICIENTS), np.ones(COEFFICIENTS)
    floats = FloatNetwork.mlp([kernel], [bias], *alone, first)
    x = rng.normal(0, 1, (30, FRAMES, COEFFICIENTS)).astype(np.float32)
    wanted = network.predict(x, verbose=0)
    assert wanted.std() > 0.1
    np.testing.assert_allclose(floats.logits(x.reshape(30, -1).astype(np.float64)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "kinds"),
    [
        (
            ["conv 8 5 same", "maximum 3", "conv 8 3", "mean"],
            [FloatConv1D, FloatPooling, FloatConv1D, FloatPooling],
        ),
        (["maximum 7", "gru 8", "attention"], [FloatPooling, FloatGru, FloatAttention]),
    ],
)
def test_training_learns_what_statistics_cannot_see(layers: list[str], kinds: list[type]) -> None:
    """Two classes with the same frames in another order: rising or falling."""
    pooled, truth = rising_and_falling()
    config = sequence_config(layers)
    spec = config.features
    train, held = (
        Examples(pooled[part], truth[part], frames=FRAMES) for part in (slice(80), slice(80, None))
    )
    trained = train_mlp(train, held, 2, config.training)
    assert [type(layer) for layer in trained.network.layers[: len(kinds)]] == kinds
    assert trained.network.mean.size == COEFFICIENTS
    predicted = trained.network.classify(trained.network.standardise(pooled[80:]))
    assert (predicted == truth[80:]).mean() > 0.95
    *first, last = trained.network.layers
    again = [FLOAT_LAYERS[one.kind].from_tensors(one.tensors(), last=False) for one in first]
    network = FloatNetwork((*again, last), trained.network.mean, trained.network.sd)
    lowering = Lowering(network, pooled[:80], spec, build_tables(spec), ("falls", "rises"))
    answers = [classify(lowering.model([bits] * len(network.matrices)), pooled[80:]) for bits in (8, 2)]
    assert [(given == truth[80:]).mean() > 0.9 for given in answers] == [True, True]


def test_the_configuration_names_layers_that_fit() -> None:
    layers = sequence_layers(("conv 4 3 same", "depthwise 2", "maximum"), 10, 5)
    assert [one.shape for one in layers] == [(10, 4), (9, 4), (1, 4)]
    more = sequence_layers(("gru 4", "lstm 3 last", "attention"), 10, 5)
    assert [one.shape for one in more] == [(10, 4), (1, 3), (1, 3)]
    assert isinstance(layers[1].floats(iter([np.ones((2, 4, 1)), np.zeros(4)])), FloatDepthwise)
    with pytest.raises(
        SerqError, match=r"training\.sequence_layers, 'mean 3': windows of 3 frames do not fit"
    ):
        sequence_layers(("conv 4 9", "mean 3"), 10, 5)
    with pytest.raises(SerqError, match="no convolution with a stride and a dilation"):
        sequence_layers(("conv 4 3 stride 2 dilation 2",), 10, 5)
    with pytest.raises(SerqError, match="'gru 1366': 1366 units are too many; 1365 are the most"):
        sequence_layers(("gru 1366",), 10, 5)
    with pytest.raises(SerqError, match="'attention': 1025 frames are too many; pool to 1024 before"):
        sequence_layers(("attention",), 1025, 3)
    for word in (
        "conv 4",
        "conv 4 3 stride",
        "gru",
        "lstm 0",
        "attention 4",
        "gru 4 first",
        "mean 0",
        "depthwise 4 3",
        "conv 4 3 SAME",
    ):
        with pytest.raises(SerqError, match="conv FILTERS TAPS or depthwise TAPS"):
            load_config().changed(training={"sequence_layers": [word]})
    with pytest.raises(SerqError, match=r"read a sequence; set features\.sequence_frames"):
        load_config().changed(training={"sequence_layers": ["mean"]})


@pytest.fixture(scope="module", params=[CONVOLUTIONS, RECURRENT], ids=["convolutions", "recurrent"])
def lowering(request: pytest.FixtureRequest) -> Lowering:
    """Every kind of layer on each other, of random weights, on two classes that differ in order alone."""
    rng = np.random.default_rng(3)
    layers = sequence_layers(request.param, FRAMES, COEFFICIENTS)
    keras = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((FRAMES, COEFFICIENTS)),
            *(one for layer in layers for one in layer.keras(tf_keras)),
            tf_keras.layers.Flatten(),
        ]
    )
    weights = iter([rng.normal(0, 0.6, array.shape) for array in keras.get_weights()])
    first = [layer.floats(weights) for layer in layers]
    size = first[-1].outputs
    kernels = rng.normal(0, 0.6, (size, 9)), rng.normal(0, 0.6, (9, 2))
    pooled, _ = rising_and_falling()
    mean, sd = standardisation(pooled, COEFFICIENTS)
    network = FloatNetwork.mlp(kernels, [np.zeros(9), np.zeros(2)], mean, sd, first)
    spec = sequence_config([]).features
    return Lowering(network, pooled[:80], spec, build_tables(spec), ("falls", "rises"))


@pytest.mark.parametrize("width", [8, 4, 1, TERNARY])
def test_the_integers_answer_as_the_network_in_fine_tuning(lowering: Lowering, width: Width) -> None:
    pooled, truth = rising_and_falling()
    train, held = (
        Examples(pooled[part], truth[part], frames=FRAMES) for part in (slice(80), slice(80, None))
    )
    config = load_config().changed(
        training={"presentations": 1, "mixup": 0.0, "batch_size": 16}, tuning={"epochs": 3}
    )
    tuner = FineTuner(lowering.network, config.training, config.tuning)
    first, *rest = [width] * len(lowering.network.matrices)
    widths = (3 if first == 8 else 8, *rest)  # one of a recurrent layer's two matrices has another width
    start, tuned = lowering.start(widths), tuner.retune(lowering, widths, train, 3)
    assert all(_differ(a, b) for a, b in zip(start.values, tuned.values, strict=True) if a)
    model = lowering.tuned_model(tuned)
    assert model.widths == widths
    floating, integer = (
        tuner.logits(tuned, lowering, held.pooled),
        scores(model, held.pooled) * model.score_scale,
    )
    apart = np.abs(floating - integer).max(axis=1)
    assert np.median(apart) < 1e-3 * np.abs(floating).max()  # gates are tables on a device
    assert apart.max() < 0.15 * np.abs(floating).max()  # a state or two by a step
    assert np.ptp(integer, axis=0).min() > 0


def _differ(before: Tuned, after: Tuned) -> bool:
    return any((before[name] != after[name]).any() for name in before)


def test_each_matrix_of_a_recurrent_layer_is_given_bits_by_its_own_importance() -> None:
    rng = np.random.default_rng(0)
    gru = FloatGru.of(
        rng.normal(0, 1, (6, 12)), rng.normal(0, 0.1, (4, 12)), np.zeros((2, 12)), 5, sequence=False
    )
    lstm = FloatLstm.of(rng.normal(0, 1, (4, 12)), rng.normal(0, 1, (3, 12)), np.zeros(12), 1, sequence=False)
    last = FloatDense(rng.normal(0, 1, (3, 2)), np.zeros(2), relu=False)
    network = FloatNetwork((gru, lstm, last), np.zeros(6), np.ones(6))
    found = layer_importance(network, load_config().quantization)
    assert [(one.layer, one.matrix) for one in found] == [
        (0, "input"),
        (0, "recurrent"),
        (1, "input"),
        (1, "recurrent"),
        (2, ""),
    ]
    # an LSTM's recurrent matrix has no biases but those that mend rounding
    assert network.parameters == (7 * 12, 5 * 12, 5 * 12, 3 * 12, 8)
    assert sum(network.parameters) == sum(layer.parameters for layer in network.layers)
    np.testing.assert_allclose([one.parameter_share for one in found], np.array(network.parameters) / 248)
    variances = [one.variance for one in found]
    assert variances == [float(np.var(matrix.weights)) for matrix in network.matrices]
    assert variances[1] < 0.05 < variances[0]
    assert found[1].rank == 4


@pytest.mark.slow(30)
def test_networks_of_inner_folds_judge_the_widths_of_each_matrix_fine_tuned() -> None:
    pooled, truth = rising_and_falling()
    whole = sequence_config(["maximum 7", "gru 4 last"]).changed(
        training={"batch_size": 16, "learning_rate": 0.02}, tuning={"epochs": 2}
    )
    train, held = (
        Examples(pooled[part][None], truth[part], frames=FRAMES) for part in (slice(80), slice(80, None))
    )
    trained = train_mlp(train, held, 2, whole.training).network
    spec = whole.features
    lowering = Lowering(trained, pooled[:80], spec, build_tables(spec), ("falls", "rises"))
    both = train.joined(held)
    inner = InnerFolds(both, np.arange(len(truth)) // 2 % 2, 1)
    own = NetworkTuner(FineTuner(trained, whole.training, whole.tuning), train, held, 12, inner)
    judges = own.judges(lowering)
    assert [judge.validation.clips for judge in judges] == [60, 60]
    layers, plan = allocate(trained, judges, changed(whole.quantization, margin=0.4, max_bytes=0))
    assert plan is None
    assert [choice.importance.matrix for choice in layers] == ["input", "recurrent", "", ""]
    assert all(choice.trials for choice in layers)
    chosen = [choice.bits for choice in layers]
    assert np.mean([judge.right(chosen).mean() for judge in judges]) > 0.8
