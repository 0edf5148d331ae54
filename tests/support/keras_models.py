"""Networks as people save them, made by a framework and saved with what it answers to 100 inputs.

A program, for a process of its own: Keras 3 and tf_keras exclude each other. Its arguments are the framework
and a folder; for each model it writes NAME.keras and NAME.h5, and NAME.npy, the answers.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, CLASSES = 12, 3
FRAMES, CHANNELS = 9, 4  # of the models on sequences, whose names begin with `frames`


def inputs() -> np.ndarray:
    """The inputs that every model answers to, float32 [100, FEATURES]."""
    rng = np.random.default_rng(7)
    return (rng.normal(size=(100, FEATURES)) * 3 + np.arange(FEATURES)).astype(np.float32)


def batch_normalization(keras: Any, **options: Any) -> Any:
    """A layer of Keras whose numbers are not what they start with."""
    return keras.layers.BatchNormalization(
        beta_initializer="random_normal",
        gamma_initializer=keras.initializers.RandomUniform(0.5, 2.0),
        moving_mean_initializer="random_normal",
        moving_variance_initializer=keras.initializers.RandomUniform(0.5, 4.0),
        **options,
    )


def sequences() -> np.ndarray:
    """The inputs that every model on sequences answers to, float32 [100, FRAMES, CHANNELS]."""
    rng = np.random.default_rng(8)
    return (rng.normal(size=(100, FRAMES, CHANNELS)) * 3 + np.arange(CHANNELS)).astype(np.float32)


def models_on_sequences(keras: Any) -> dict[str, Any]:
    """Models on sequences by name, with weights that are not what they start with."""
    layers = keras.layers
    biased = {"bias_initializer": "random_normal"}
    relu = {"activation": "relu", **biased}

    def adapted() -> Any:
        layer = layers.Normalization(axis=-1)
        layer.adapt(sequences())
        return layer

    norm = functools.partial(batch_normalization, keras)

    def chain(*items: Any, shape: tuple[int | None, ...] = (FRAMES, CHANNELS)) -> Any:
        last = layers.Dense(CLASSES, activation="softmax", **biased)
        return keras.Sequential([layers.Input(shape), *items, last])

    conv, gru, lstm = layers.Conv1D, layers.GRU, layers.LSTM
    mean, most = layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D
    return {
        "frames_conv": chain(adapted(), conv(5, 3, **relu), layers.Flatten(), layers.Dense(6, **relu)),
        "frames_same": chain(
            adapted(), conv(5, 4, padding="same", strides=2, **relu), norm(), mean(), layers.Dropout(0.1)
        ),
        "frames_causal": chain(conv(5, 3, padding="causal", dilation_rate=2, **relu), most()),
        "frames_batch": chain(
            adapted(), conv(6, 2, **biased), norm(), layers.ReLU(), norm(), layers.MaxPooling1D(2),
            conv(4, 2, **relu), norm(), layers.AveragePooling1D(2, strides=1), layers.Flatten(),
        ),
        "frames_depthwise": chain(
            norm(), layers.DepthwiseConv1D(3, **relu), norm(),
            layers.DepthwiseConv1D(2, strides=2, **relu), conv(7, 1, use_bias=False, activation="relu"),
            mean(keepdims=True), layers.Flatten(),
        ),
        "frames_dense": chain(adapted(), layers.Dense(5, **relu), layers.SpatialDropout1D(0.1), mean()),
        "frames_vector": chain(
            layers.Reshape((FRAMES, CHANNELS)), conv(5, 3, **relu), most(), shape=(FRAMES * CHANNELS,)
        ),
        "frames_flat": chain(layers.Flatten(), layers.Dense(6, **relu)),
        "frames_any": chain(adapted(), conv(5, 3, padding="same", **relu), mean(), shape=(None, CHANNELS)),
        "frames_gru": chain(adapted(), gru(5, return_sequences=True, **biased), norm(), gru(4, **biased)),
        "frames_lstm": chain(
            adapted(), lstm(5, return_sequences=True, dropout=0.1, **biased), mean(), layers.Dense(6, **relu)
        ),
        "frames_unbiased": chain(
            adapted(), gru(3, use_bias=False, return_sequences=True), lstm(4, use_bias=False)
        ),
        "frames_pooled": chain(adapted(), layers.MaxPooling1D(3), gru(6, **biased)),
    }  # fmt: skip


def models(keras: Any) -> dict[str, Any]:
    """Models by name, with weights that are not what they start with."""
    layers, x = keras.layers, inputs()

    def dense(units: int = 16, **options: Any) -> Any:
        return layers.Dense(units, bias_initializer="random_normal", **options)

    def last(**options: Any) -> Any:
        return dense(CLASSES, activation="softmax", **options)

    norm = functools.partial(batch_normalization, keras)

    def adapted() -> Any:
        layer = layers.Normalization()
        layer.adapt(x)
        return layer

    def chain(*items: Any) -> Any:
        return keras.Sequential([layers.Input((FEATURES,)), *items])

    def functional(*items: Any) -> Any:
        value = start = layers.Input((FEATURES,), name="features")
        for item in items:
            value = item(value)
        return keras.Model(start, value)

    relu: dict[str, Any] = {"activation": "relu"}
    inner = keras.Sequential([layers.Input((FEATURES,)), dense(**relu), norm()], name="encoder")
    return {
        "plain": chain(dense(**relu), last()),
        "logits": chain(dense(**relu), dense(CLASSES)),
        "no_bias": chain(dense(use_bias=False, **relu), last()),
        "normalized": chain(adapted(), dense(**relu), last()),
        "layers": chain(
            dense(), layers.ReLU(), dense(), layers.Activation("relu"), dense(CLASSES), layers.Softmax()
        ),
        "relu_object": chain(dense(activation=layers.ReLU()), last()),
        "batch_after_dense": chain(dense(), norm(), layers.ReLU(), last()),
        "batch_after_relu": chain(dense(**relu), norm(), last()),
        "batch_first": chain(norm(), dense(**relu), last()),
        "batch_last": chain(dense(**relu), dense(CLASSES), norm(), layers.Softmax()),
        "batch_plain": chain(
            dense(), norm(scale=False), layers.ReLU(), dense(), norm(center=False), layers.ReLU(), last()
        ),
        "normalized_and_batch": chain(adapted(), norm(), dense(**relu), last()),
        "rescaled": chain(layers.Rescaling(1 / 8, offset=-0.5), dense(**relu), last()),
        "rescaled_and_normalized": chain(layers.Rescaling(0.5), norm(), dense(**relu), last()),
        "silent": chain(
            layers.Dropout(0.2),
            layers.Flatten(),
            dense(**relu),
            layers.GaussianDropout(0.1),
            layers.GaussianNoise(0.1),
            layers.ActivityRegularization(0.1),
            last(),
        ),
        "sigmoid": chain(dense(**relu), dense(1, activation="sigmoid")),
        "functional": functional(dense(**relu), layers.Dropout(0.1), norm(), last()),
        "nested": chain(inner, layers.Dropout(0.1), last()),
        "nested_functional": functional(inner, last()),
        "twice_nested": chain(keras.Sequential([inner], name="outer"), last()),
        "named": chain(dense(name="layer.one>x", **relu), dense(name="dense_7", **relu), last(name="dense")),
        "deep": chain(*(dense(**relu) for _ in range(5)), last()),
    }


def main() -> None:
    """Write every model, its answers, and those layers' refusals that only a framework can write."""
    framework, folder = sys.argv[1], Path(sys.argv[2])
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if framework == "tf_keras" else "0"
    if framework == "tf_keras":
        import tf_keras as keras
    else:
        import keras
    keras.utils.set_random_seed(1)
    for name, model in (models(keras) | models_on_sequences(keras)).items():
        given = sequences() if name.startswith("frames") else inputs()
        given = given.reshape(len(given), -1) if len(model.input_shape) == 2 else given
        np.save(folder / f"{name}.npy", np.asarray(model(given, training=False)))
        for suffix in (".keras", ".h5"):
            model.save(folder / f"{name}{suffix}")


if __name__ == "__main__":
    main()
