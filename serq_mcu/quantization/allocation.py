"""Bits per layer: the adaptive mixed precision of Shinde, Jain and Sharma, and fixed widths beside it.

Layers are visited in decreasing importance. Each gets the fewest bits with which validation accuracy, the
layers already visited quantized, is at most margin(l) = margin * importance(l) below the float model's. Every
accuracy is that of a whole integer model run by the interpreter: layers not yet visited stand in it with 8
bits, which is next to float (the accuracy losses of an allocation tell how near), so the last model tried is
the one that ships.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import wilson_interval
from serq_mcu.base.progress import Progress
from serq_mcu.config import ADAPTIVE, MAX_BITS, MIN_BITS, QuantizationConfig
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers.encodings import Width
from serq_mcu.quantization.importance import LayerImportance, layer_importance
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantized_model.interpreter import best_labels


@dataclass(frozen=True)
class ValidationData:
    """What bits are chosen on: pooled features of validation clips, int32 [versions, clips, features].

    The versions are the clips as recorded and further ones. The versions of a clip err together, so they
    sharpen the mean but not the interval, which counts clips. truth: [clips].
    """

    pooled: NDArray[np.int32]
    truth: NDArray[np.int64]

    @property
    def clips(self) -> int:
        """Validation clips."""
        return int(self.truth.size)

    @property
    def spoken(self) -> NDArray[np.bool_]:
        """Which versions of which clips hold speech, bool [versions, clips]: the others ask no network."""
        spoken: NDArray[np.bool_] = (self.pooled != MISSING).any(axis=-1)
        return spoken

    def accuracy(self, predicted: NDArray[np.integer]) -> float:
        """Compute the mean over all versions with speech, for predictions [versions, clips]."""
        spoken = self.spoken
        return float((predicted == self.truth)[spoken].mean()) if spoken.any() else 0.0


@dataclass(frozen=True)
class Trial:
    """A width that was tried on a layer, and what became of validation accuracy."""

    bits: int
    accuracy: float
    interval95: tuple[float, float]
    accepted: bool


@dataclass(frozen=True)
class LayerChoice:
    """A layer's bits and every reason for them.

    Accuracies are fractions; `required` is what a width had to hold.
    """

    inputs: int
    outputs: int
    importance: LayerImportance
    required: float
    trials: tuple[Trial, ...]
    bits: Width
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return asdict(self) | {
            "trials": [asdict(trial) | {"interval95": list(trial.interval95)} for trial in self.trials]
        }


def choose_widths(
    lowering: Lowering,
    validation: ValidationData,
    config: QuantizationConfig,
    progress: Progress | None = None,
) -> tuple[LayerChoice, ...]:
    """Choose the bits of each layer, in the network's order.

    Looks at validation data only; the same data gives the same choices.
    """
    network = lowering.network
    float_accuracy = validation.accuracy(network.classify(network.standardise(validation.pooled)))
    ranked = layer_importance(network, config)
    widths = config.start(len(ranked))
    choices: dict[int, LayerChoice] = {}
    for visited, index in enumerate(sorted(range(len(ranked)), key=lambda i: ranked[i].rank)):
        required = float_accuracy - ranked[index].margin
        trials: tuple[Trial, ...] = ()
        reason = "this width was asked for"
        if config.method == ADAPTIVE:
            if progress is not None:
                progress("choosing bits per layer", visited, len(ranked))
            trials = _try_widths(lowering, validation, widths, index, required)
            widths[index], reason = _decide(trials)
        inputs, outputs = network.layers[index].inputs, network.layers[index].outputs
        choices[index] = LayerChoice(inputs, outputs, ranked[index], required, trials, widths[index], reason)
    if progress is not None and config.method == ADAPTIVE:
        progress("choosing bits per layer", len(ranked), len(ranked))
    return tuple(choices[index] for index in range(len(ranked)))


def _try_widths(
    lowering: Lowering, validation: ValidationData, widths: list[Width], index: int, required: float
) -> tuple[Trial, ...]:
    """Try widths of layer `index` from 1 bit on, up to the first that holds what is required."""
    trials: list[Trial] = []
    for bits in range(MIN_BITS, MAX_BITS + 1):
        model = lowering.model([*widths[:index], bits, *widths[index + 1 :]])
        accuracy = validation.accuracy(best_labels(model, validation.pooled))
        accepted = accuracy >= required - 1e-12  # equal fractions may differ in their last bit
        trials.append(
            Trial(bits, accuracy, wilson_interval(accuracy * validation.clips, validation.clips), accepted)
        )
        if accepted:
            break
    return tuple(trials)


def _decide(trials: tuple[Trial, ...]) -> tuple[int, str]:
    last = trials[-1]
    if not last.accepted:
        best = max(trials, key=lambda trial: trial.accuracy)
        return best.bits, "no width stays within the margin; this one loses the least"
    return (
        last.bits,
        ("already within the margin" if last.bits == MIN_BITS else "the fewest that stay within the margin"),
    )
