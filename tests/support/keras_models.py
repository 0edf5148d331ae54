"""Networks as people save them, made by a framework and saved with what it answers to 100 inputs.

A program, for a process of its own: Keras 3 and tf_keras exclude each other. Its arguments are the framework
and a folder; for each model it writes NAME.keras and NAME.h5, and NAME.npy, the answers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, CLASSES = 12, 3


def inputs() -> np.ndarray:
    """The inputs that every model answers to, float32 [100, FEATURES]."""
    rng = np.random.default_rng(7)
    return (rng.normal(size=(100, FEATURES)) * 3 + np.arange(FEATURES)).astype(np.float32)


def models(keras: Any) -> dict[str, Any]:
    """Models by name, with weights that are not what they start with."""
    layers, x = keras.layers, inputs()

    def dense(units: int = 16, **options: Any) -> Any:
        return layers.Dense(units, bias_initializer="random_normal", **options)

    def last(**options: Any) -> Any:
        return dense(CLASSES, activation="softmax", **options)

    def norm(**options: Any) -> Any:
        return layers.BatchNormalization(
            beta_initializer="random_normal",
            gamma_initializer=keras.initializers.RandomUniform(0.5, 2.0),
            moving_mean_initializer="random_normal",
            moving_variance_initializer=keras.initializers.RandomUniform(0.5, 4.0),
            **options,
        )

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
    for name, model in models(keras).items():
        np.save(folder / f"{name}.npy", np.asarray(model(inputs(), training=False)))
        for suffix in (".keras", ".h5"):
            model.save(folder / f"{name}{suffix}")


if __name__ == "__main__":
    main()
