"""Bits per layer: the adaptive mixed precision of Shinde, Jain and Sharma, and fixed widths beside it.

Layers are visited in decreasing importance. Each gets the fewest bits with which validation accuracy, the
layers already visited quantized, is at most margin(l) = margin * importance(l) below the float model's. Every
accuracy is that of whole integer models run by the interpreter: layers not yet visited stand in them with 8
bits, which is next to float (the accuracy losses of an allocation tell how near). A judge makes such a model
and has the clips that judge it. Several judges, each with clips that its network never saw, answer for more
clips than one validation part has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import cross_entropy, wilson_interval
from serq_mcu.base.progress import Progress
from serq_mcu.config import ADAPTIVE, MAX_BITS, MIN_BITS, QuantizationConfig
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers.encodings import Width
from serq_mcu.quantization.importance import LayerImportance, layer_importance
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantized_model.interpreter import best_labels, scores
from serq_mcu.quantized_model.types import QuantizedModel


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
        right = self.right(predicted)
        return float(right.mean()) if right.size else 0.0

    def right(self, predicted: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell for each version with speech [n] whether it is right, for predictions [versions, clips]."""
        right: NDArray[np.bool_] = (predicted == self.truth)[self.spoken]
        return right


@dataclass(frozen=True)
class Judge:
    """A float network, clips that it never saw, and what makes its integer model of given widths."""

    network: FloatNetwork
    validation: ValidationData
    model: Callable[[Sequence[Width]], QuantizedModel]

    @classmethod
    def after_training(cls, lowering: Lowering, validation: ValidationData) -> Judge:
        """Make the judge of post-training quantization."""
        return cls(lowering.network, validation, lowering.model)

    def float_right(self) -> NDArray[np.bool_]:
        """Tell which versions with speech [n] the float network answers right."""
        pooled = self.validation.pooled
        return self.validation.right(self.network.classify(self.network.standardise(pooled)))

    def loss(self, widths: Sequence[Width]) -> float:
        """Compute the mean cross-entropy, in nats, of the integer model's answers to versions with speech."""
        model, held = self.model(widths), self.validation
        truth = np.broadcast_to(held.truth, held.pooled.shape[:2])
        return cross_entropy(scores(model, held.pooled[held.spoken]) * model.score_scale, truth[held.spoken])

    def right(self, widths: Sequence[Width]) -> NDArray[np.bool_]:
        """Tell which versions with speech [n] the integer model of these widths answers right."""
        return self.validation.right(best_labels(self.model(widths), self.validation.pooled))


@dataclass(frozen=True)
class Trial:
    """A width that was tried on a layer, and what became of validation accuracy."""

    bits: int
    accuracy: float
    interval95: tuple[float, float]
    accepted: bool


@dataclass(frozen=True)
class LayerChoice:
    """The bits of a layer, or of a matrix of it, and every reason for them.

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
    network: FloatNetwork,
    judges: Sequence[Judge],
    config: QuantizationConfig,
    progress: Progress | None = None,
) -> tuple[LayerChoice, ...]:
    """Choose the bits of each layer of a network that has weights, in its order; of each of its matrices.

    Looks at the judges' clips only; the same clips give the same choices.
    """
    float_accuracy = _mean([judge.float_right() for judge in judges])
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
            trials = _try_widths(judges, widths, index, required)
            widths[index], reason = _decide(trials)
        matrix = network.matrices[index]
        choices[index] = LayerChoice(
            matrix.inputs, matrix.outputs, ranked[index], required, trials, widths[index], reason
        )
    if progress is not None and config.method == ADAPTIVE:
        progress("choosing bits per layer", len(ranked), len(ranked))
    return tuple(choices[index] for index in range(len(ranked)))


def _try_widths(
    judges: Sequence[Judge], widths: list[Width], index: int, required: float
) -> tuple[Trial, ...]:
    """Try widths of layer `index` from 1 bit on, up to the first that holds what is required."""
    trials: list[Trial] = []
    clips = sum(judge.validation.clips for judge in judges)
    for bits in range(MIN_BITS, MAX_BITS + 1):
        tried = [*widths[:index], bits, *widths[index + 1 :]]
        accuracy = _mean([judge.right(tried) for judge in judges])
        accepted = accuracy >= required - 1e-12  # equal fractions may differ in their last bit
        trials.append(Trial(bits, accuracy, wilson_interval(accuracy * clips, clips), accepted))
        if accepted:
            break
    return tuple(trials)


def _mean(right: Sequence[NDArray[np.bool_]]) -> float:
    answers = np.concatenate(right)
    return float(answers.mean()) if answers.size else 0.0


def _decide(trials: tuple[Trial, ...]) -> tuple[int, str]:
    last = trials[-1]
    if not last.accepted:
        best = max(trials, key=lambda trial: trial.accuracy)
        return best.bits, "no width stays within the margin; this one loses the least"
    return (
        last.bits,
        ("already within the margin" if last.bits == MIN_BITS else "the fewest that stay within the margin"),
    )
