"""Networks on sequences of frames: what Keras trains is what the float layers compute, and a run of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import FLOAT_LAYERS, FloatAttention, FloatConv1D, FloatDepthwise, FloatGru, FloatPooling
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.training.mlp import Examples, train_mlp
from serq_mcu.training.sequences import sequence_layers

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


@pytest.mark.parametrize("names", [CONVOLUTIONS, RECURRENT])
def test_float_layers_are_the_keras_layers(names: Sequence[str]) -> None:
    import tf_keras

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
    rng = np.random.default_rng(1)
    truth = np.arange(120) % 2
    ramp = np.linspace(-1, 1, FRAMES)[:, None] * np.ones(COEFFICIENTS)
    clips = np.where(truth[:, None, None], ramp, -ramp) + rng.normal(0, 0.3, (120, FRAMES, COEFFICIENTS))
    pooled = np.rint(1000 * clips).astype(np.int32).reshape(120, -1)
    own = {"sequence_layers": layers, "hidden": (8,), "max_epochs": 30, "teacher": "labels", "mixup": 0.0}
    features = {
        "blocks": [{"kind": "mfcc", "size": COEFFICIENTS, "statistics": []}],
        "sequence_frames": FRAMES,
    }
    whole = load_config().changed(features=features, training=own)
    config, spec = whole.training, whole.features
    train, held = (
        Examples(pooled[part], truth[part], frames=FRAMES) for part in (slice(80), slice(80, None))
    )
    trained = train_mlp(train, held, 2, config)
    assert [type(layer) for layer in trained.network.layers[: len(kinds)]] == kinds
    assert trained.network.mean.size == COEFFICIENTS
    predicted = trained.network.classify(trained.network.standardise(pooled[80:]))
    assert (predicted == truth[80:]).mean() > 0.95
    *first, last = trained.network.layers
    again = [FLOAT_LAYERS[one.kind].from_tensors(one.tensors(), last=False) for one in first]
    network = FloatNetwork((*again, last), trained.network.mean, trained.network.sd)
    lowering = Lowering(network, pooled[:80], spec, build_tables(spec), ("falls", "rises"))
    answers = [classify(lowering.model([bits] * len(network.weighted)), pooled[80:]) for bits in (8, 2)]
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
