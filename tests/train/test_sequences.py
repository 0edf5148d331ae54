"""Networks on sequences of frames: what Keras trains is what the float layers compute, and a run of one."""

from __future__ import annotations

import numpy as np
import pytest

from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.layers import FloatConv1D, FloatDepthwise, FloatPooling
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.training.mlp import Examples, train_mlp
from serq_mcu.training.sequences import sequence_layers

FRAMES, COEFFICIENTS = 21, 6
EVERY = (
    "conv 7 4 stride 2 same",
    "depthwise 3 dilation 2 causal",
    "conv 5 2",
    "maximum 2",
    "depthwise 2 same",
    "mean",
)


def test_float_layers_are_the_keras_layers() -> None:
    import tf_keras

    rng = np.random.default_rng(0)
    tf_keras.utils.set_random_seed(3)
    layers = sequence_layers(EVERY, FRAMES, COEFFICIENTS)
    network = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((FRAMES, COEFFICIENTS)),
            *(one for layer in layers for one in layer.keras(tf_keras.layers)),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(3),
        ]
    )
    network.set_weights([rng.normal(0, 0.6, array.shape) for array in network.get_weights()])
    weights = iter(np.asarray(array, np.float64) for array in network.get_weights())
    first = [layer.floats(weights) for layer in layers]
    kernel, bias = weights
    alone = np.zeros(COEFFICIENTS), np.ones(COEFFICIENTS)
    floats = FloatNetwork.mlp([kernel], [bias], *alone, first)
    x = rng.normal(0, 1, (30, FRAMES, COEFFICIENTS)).astype(np.float32)
    wanted = network.predict(x, verbose=0)
    assert np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(floats.logits(x.reshape(30, -1).astype(np.float64)), wanted, atol=1e-5)


def test_training_learns_what_statistics_cannot_see() -> None:
    """Two classes with the same frames in another order: rising or falling."""
    rng = np.random.default_rng(1)
    truth = np.arange(120) % 2
    ramp = np.linspace(-1, 1, FRAMES)[:, None] * np.ones(COEFFICIENTS)
    clips = np.where(truth[:, None, None], ramp, -ramp) + rng.normal(0, 0.3, (120, FRAMES, COEFFICIENTS))
    pooled = np.rint(1000 * clips).astype(np.int32).reshape(120, -1)
    layers = ["conv 8 5 same", "maximum 3", "conv 8 3", "mean"]
    own = {"sequence_layers": layers, "hidden": (8,), "max_epochs": 30, "teacher": "labels", "mixup": 0.0}
    features = {
        "blocks": [{"kind": "mfcc", "size": COEFFICIENTS, "statistics": []}],
        "sequence_frames": FRAMES,
    }
    config = load_config().changed(features=features, training=own).training
    train, held = (
        Examples(pooled[part], truth[part], frames=FRAMES) for part in (slice(80), slice(80, None))
    )
    trained = train_mlp(train, held, 2, config)
    kinds = [FloatConv1D, FloatPooling, FloatConv1D, FloatPooling]
    assert [type(layer) for layer in trained.network.layers[:4]] == kinds
    assert trained.network.mean.size == COEFFICIENTS
    predicted = trained.network.classify(trained.network.standardise(pooled[80:]))
    assert (predicted == truth[80:]).mean() > 0.95


def test_the_configuration_names_layers_that_fit() -> None:
    layers = sequence_layers(("conv 4 3 same", "depthwise 2", "maximum"), 10, 5)
    assert [(one.windows.count, one.windows.channels) for one in layers] == [(10, 5), (9, 4), (1, 4)]
    assert isinstance(layers[1].floats(iter([np.ones((2, 4, 1)), np.zeros(4)])), FloatDepthwise)
    with pytest.raises(
        SerqError, match=r"training\.sequence_layers, 'mean 3': windows of 3 frames do not fit"
    ):
        sequence_layers(("conv 4 9", "mean 3"), 10, 5)
    with pytest.raises(SerqError, match="no convolution with a stride and a dilation"):
        sequence_layers(("conv 4 3 stride 2 dilation 2",), 10, 5)
    for word in ("conv 4", "conv 4 3 stride", "gru 4", "mean 0", "depthwise 4 3", "conv 4 3 SAME"):
        with pytest.raises(SerqError, match="conv FILTERS TAPS or depthwise TAPS"):
            load_config().changed(training={"sequence_layers": [word]})
    with pytest.raises(SerqError, match=r"read a sequence; set features\.sequence_frames"):
        load_config().changed(training={"sequence_layers": ["mean"]})
