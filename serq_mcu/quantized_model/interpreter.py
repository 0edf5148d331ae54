"""The network in integers: the reference that firmware equals (SPEC.md section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.arithmetic import rshift_round
from serq_mcu.frontend.sequence import by_frame
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers.base import ACTIVATION_MAX
from serq_mcu.quantized_model.types import INPUT_ZERO_POINT, NO_SPEECH, InputQuantization, QuantizedModel
from serq_mcu.quantized_model.voice import Voice, VoicePrior

DEVIATION_MAX = 2**20 - 1


def input_steps(constants: InputQuantization, pooled: NDArray[np.integer]) -> NDArray[np.int64]:
    """Compute how far pooled features [..., features] are from the training clips' mean, in input steps."""
    rows = by_frame(pooled.astype(np.int64), constants.center.size)
    deviation = np.clip(rows - constants.center, -DEVIATION_MAX, DEVIATION_MAX)
    steps = rshift_round(deviation * constants.multiplier, constants.shift.astype(np.int64))
    return steps.reshape(pooled.shape)


def quantize_input(
    constants: InputQuantization, pooled: NDArray[np.integer], shift: NDArray[np.int64] | int = 0
) -> NDArray[np.int64]:
    """Quantize pooled features [..., features] to activations 0..127 of the same shape.

    shift: what a voice deviates by, in steps [features]. Where a statistic is missing, it is taken to be the
    training clips' mean.
    """
    quantized = np.clip(INPUT_ZERO_POINT + input_steps(constants, pooled) - shift, 0, ACTIVATION_MAX)
    return np.where(pooled == MISSING, INPUT_ZERO_POINT, quantized)


def learn(model: QuantizedModel, voice: Voice, pooled: NDArray[np.integer], label: int) -> Voice:
    """Return a voice that has also learned from a window, pooled features [features].

    label: the emotion that the speaker was asked for, or the model's answer. Nothing is learned without
    speech, of NO_SPEECH and NOT_SURE, nor of the class `no speech`. Raises SerqError if the model was not
    trained for voices.
    """
    missing = pooled == MISSING
    if label < 0 or label == model.no_speech or missing.all():
        return voice
    return voice.learned(require_voices(model), input_steps(model.input, pooled), missing, label)


def require_voices(model: QuantizedModel) -> VoicePrior:
    """Return what the model knows of all voices. Raises SerqError if it was not trained for voices."""
    if model.voice is None:
        raise SerqError(
            "the model was not trained for voices; train on a corpus that names three speakers or more, with"
            " voice.train = true"
        )
    return model.voice


def stages(
    model: QuantizedModel, pooled: NDArray[np.integer], voice: Voice | None = None
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Compute each stage of SPEC.md section 7 from pooled on, by name, for features [..., features].

    voice: whose features they are, if something was learned of that.
    """
    yield "pooled", pooled.astype(np.int64)
    activations = _inputs(model, pooled, voice)
    yield "input", activations
    for index, layer in enumerate(model.layers):
        computed = layer.run(activations)
        yield from (
            (f"layer {index} {stage.name}", values)
            for stage, values in zip(layer.stages(), computed, strict=True)
        )
        activations = computed[-1]
    yield "scores", activations


def _inputs(model: QuantizedModel, pooled: NDArray[np.integer], voice: Voice | None) -> NDArray[np.int64]:
    shift = 0 if voice is None else voice.shift(require_voices(model))
    return quantize_input(model.input, pooled, shift)


def scores(
    model: QuantizedModel, pooled: NDArray[np.integer], voice: Voice | None = None
) -> NDArray[np.int64]:
    """Compute the scores [..., classes] of pooled features [..., features], of a voice."""
    activations = _inputs(model, pooled, voice)
    for layer in model.layers:
        activations = layer.answer(activations)
    return activations


def classify_in_float(model: QuantizedModel, pooled: NDArray[Any]) -> NDArray[np.int64]:
    """Classify in float64 by the same network, without rounding of input and activations.

    pooled: features [..., features] in the units of the pooled integers. Returns label indices [...]. A
    comparison, no reference.
    """
    constants = model.input
    rows = by_frame(pooled, constants.center.size)
    deviation = np.where(rows == MISSING, 0.0, rows.astype(np.float64) - constants.center)
    activations = INPUT_ZERO_POINT + deviation * constants.multiplier / 2.0**constants.shift
    activations = activations.reshape(pooled.shape)
    for layer in model.layers:
        activations = layer.run_without_rounding(activations)
    labels: NDArray[np.int64] = np.argmax(activations, axis=-1)
    return labels


def best_labels(
    model: QuantizedModel, pooled: NDArray[np.integer], voice: Voice | None = None
) -> NDArray[np.int64]:
    """Find the indices [...] of the largest scores, the lowest among equals."""
    labels: NDArray[np.int64] = np.argmax(scores(model, pooled, voice), axis=-1)
    return labels


def classify(
    model: QuantizedModel, pooled: NDArray[np.integer], voice: Voice | None = None
) -> NDArray[np.int64]:
    """Answer [...]: the index of the largest score, or NO_SPEECH.

    That is the answer where all features are missing, and where the class `no speech` has the largest score.
    """
    labels = best_labels(model, pooled, voice)
    silent = (pooled == MISSING).all(axis=-1) | (labels == model.no_speech)
    return np.where(silent, NO_SPEECH, labels)
