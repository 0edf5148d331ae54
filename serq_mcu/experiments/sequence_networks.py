"""Float networks on sequences of frames, to compare the perceptron with.

LSTM, GRU with attention, convolutions over time. The paper names such networks without their sizes. This is
our reading: one or two layers of 64 or 128 units, mean or attention over time, trained as the perceptron is
(Adam, cross-entropy, early stopping on validation loss).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.config import TrainingConfig
from serq_mcu.training import mlp  # noqa: F401

import tensorflow as tf  # isort: skip  # after mlp, which sets how TensorFlow and Keras load
import tf_keras  # isort: skip

_TRAIN, _VALIDATION = 0, 1


@dataclass(frozen=True)
class SequenceResult:
    """Class indices of all clips, and the network's parameters."""

    predicted: NDArray[np.int64]
    parameters: int


def train_sequences(
    kind: str,
    frames: NDArray[np.float32],
    truth: NDArray[np.int64],
    part: NDArray[np.uint8],
    classes: int,
    config: TrainingConfig,
) -> SequenceResult:
    """Train a network on the training part (0) and answer for all clips.

    frames: [clips, frames, coefficients], standardised by the training clips' frames. It stops by the
    validation part (1).
    """
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    training = frames[part == _TRAIN].reshape(-1, frames.shape[-1])
    inputs = ((frames - training.mean(axis=0)) / np.maximum(training.std(axis=0), 1e-6)).astype(np.float32)
    network = build(kind, frames.shape[1:], classes, config.dropout)
    network.compile(
        tf_keras.optimizers.Adam(config.learning_rate),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    network.fit(
        inputs[part == _TRAIN],
        truth[part == _TRAIN],
        validation_data=(inputs[part == _VALIDATION], truth[part == _VALIDATION]),
        epochs=config.max_epochs,
        batch_size=config.batch_size,
        callbacks=[
            tf_keras.callbacks.EarlyStopping("val_loss", patience=config.patience, restore_best_weights=True)
        ],
        verbose=0,
    )
    logits = network.predict(inputs, verbose=0, batch_size=256)
    return SequenceResult(np.argmax(logits, axis=1).astype(np.int64), int(network.count_params()))


def build(kind: str, shape: tuple[int, ...], classes: int, dropout: float) -> Any:
    """Build the network `lstm`, `gru_attention` or `cnn1d` on [frames, coefficients]."""
    layers = tf_keras.layers
    inputs = layers.Input(shape)
    if kind == "lstm":
        x = layers.LSTM(128)(inputs)
    elif kind == "gru_attention":
        states = layers.GRU(128, return_sequences=True)(inputs)
        weights = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(64, activation="tanh")(states)))
        x = layers.Flatten()(layers.Dot(axes=1)([weights, states]))
    else:
        x = inputs
        for filters in (64, 128):
            x = layers.MaxPooling1D(2)(layers.Conv1D(filters, 5, padding="same", activation="relu")(x))
        x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dropout(dropout)(layers.Dense(64, activation="relu")(layers.Dropout(dropout)(x)))
    return tf_keras.Model(inputs, layers.Dense(classes)(x))
