"""The network in integers: the reference that firmware equals (SPEC.md section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.arithmetic import rshift_round
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers.base import ACTIVATION_MAX
from serq_mcu.quantized_model.types import INPUT_ZERO_POINT, NO_SPEECH, InputQuantization, QuantizedModel

DEVIATION_MAX = 2**20 - 1


def quantize_input(constants: InputQuantization, pooled: NDArray[np.integer]) -> NDArray[np.int64]:
    """Quantize pooled features [..., features] to activations 0..127 of the same shape.

    Where a statistic is missing, it is taken to be the training clips' mean.
    """
    deviation = np.clip(pooled.astype(np.int64) - constants.center, -DEVIATION_MAX, DEVIATION_MAX)
    scaled = rshift_round(deviation * constants.multiplier, constants.shift.astype(np.int64))
    quantized = np.clip(INPUT_ZERO_POINT + scaled, 0, ACTIVATION_MAX)
    return np.where(pooled == MISSING, INPUT_ZERO_POINT, quantized)


def stages(model: QuantizedModel, pooled: NDArray[np.integer]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Compute each stage of SPEC.md section 7 from pooled on, by name, for features [..., features]."""
    yield "pooled", pooled.astype(np.int64)
    activations = quantize_input(model.input, pooled)
    yield "input", activations
    for index, layer in enumerate(model.layers):
        computed = layer.run(activations)
        yield from (
            (f"layer {index} {stage.name}", values)
            for stage, values in zip(layer.stages(), computed, strict=True)
        )
        activations = computed[-1]
    yield "scores", activations


def scores(model: QuantizedModel, pooled: NDArray[np.integer]) -> NDArray[np.int64]:
    """Compute the scores [..., classes] of pooled features [..., features]."""
    return dict(stages(model, pooled))["scores"]


def classify_in_float(model: QuantizedModel, pooled: NDArray[Any]) -> NDArray[np.int64]:
    """Classify in float64 by the same network, without rounding of input and activations.

    pooled: features [..., features] in the units of the pooled integers. Returns label indices [...]. A
    comparison, no reference.
    """
    constants = model.input
    deviation = np.where(pooled == MISSING, 0.0, pooled.astype(np.float64) - constants.center)
    activations = INPUT_ZERO_POINT + deviation * constants.multiplier / 2.0**constants.shift
    for layer in model.layers:
        activations = layer.run_without_rounding(activations)
    labels: NDArray[np.int64] = np.argmax(activations, axis=-1)
    return labels


def best_labels(model: QuantizedModel, pooled: NDArray[np.integer]) -> NDArray[np.int64]:
    """Find the indices [...] of the largest scores, the lowest among equals."""
    labels: NDArray[np.int64] = np.argmax(scores(model, pooled), axis=-1)
    return labels


def classify(model: QuantizedModel, pooled: NDArray[np.integer]) -> NDArray[np.int64]:
    """Answer [...]: the index of the largest score, or NO_SPEECH.

    That is the answer where all features are missing, and where the class `no speech` has the largest score.
    """
    labels = best_labels(model, pooled)
    silent = (pooled == MISSING).all(axis=-1) | (labels == model.no_speech)
    return np.where(silent, NO_SPEECH, labels)
