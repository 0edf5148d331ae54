"""A model adapted to one speaker: the last layer fitted again to a few labelled clips, the rest as it was.

The last layer is a multinomial logistic regression on the activations before it, which are the device's own
integers. It is fitted by maximum a posteriori: its prior is what it was (a Gaussian about the old weights),
so that no corpus is needed, and one clip moves it a little. It is stored at 8 bits, as few bits could not
hold a small change. The voice that the clips teach becomes the input's new center.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import Score
from serq_mcu.errors import SerqError
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers import DenseLayer
from serq_mcu.layers.base import Grid
from serq_mcu.layers.dense import FloatDense, tuned_layer
from serq_mcu.layers.quantizer import quantize
from serq_mcu.quantized_model.interpreter import classify, input_steps, learn, quantize_input, require_voices
from serq_mcu.quantized_model.types import INPUT_GRID, NEVER, NO_SPEECH_LABEL, DecisionRule, QuantizedModel
from serq_mcu.quantized_model.voice import STEP_MAX, Voice, divide

LAST_BITS = 8
PRIOR = 0.05  # weight of the old layer; by a look at speakers of nEMO and RAVDESS, whom no model had heard


@dataclass(frozen=True)
class Adaptation:
    """An adapted model, and what it gives on the speaker's clips, each left out in turn.

    before: by the model as it was; after: by one that was adapted to all other clips.
    """

    model: QuantizedModel
    clips: int
    before: Score
    after: Score

    @property
    def helps(self) -> bool:
        """Whether the clips that were left out were answered better."""
        return self.after.correct > self.before.correct

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        scores = {"before": self.before.to_json(), "after": self.after.to_json()}
        return {"model": self.model.identity.hex(), "clips": self.clips, "helps": self.helps, **scores}


def adapt(model: QuantizedModel, pooled: NDArray[np.int32], labels: Sequence[str]) -> Adaptation:
    """Adapt a model to the clips of one speaker.

    pooled: features [clips, features] as recorded; labels: of each clip. They may be some of the model's
    classes, or others. Raises SerqError if the model was not trained for voices, its last layer is not a
    dense one, or there are clips of fewer than two classes.
    """
    require_voices(model)
    spoken = (pooled != MISSING).any(axis=1)
    kept, names = pooled[spoken], [name for name, there in zip(labels, spoken, strict=True) if there]
    classes = _classes(model, names)
    truth = np.array([classes.index(name) for name in names])
    answers = [_left_out(model, kept, truth, classes, index) for index in range(len(truth))]
    before = _old_answers(model, kept, classes)
    scores = (Score.of(truth, answer, classes) for answer in (before, np.array(answers)))
    return Adaptation(_told(_fit(model, kept, truth, classes), model, names), len(names), *scores)


def adapted(model: QuantizedModel, pooled: NDArray[np.int32], labels: Sequence[str]) -> QuantizedModel:
    """Adapt a model as `adapt` does, for clips that hold speech, without judging it."""
    classes = _classes(model, labels)
    return _fit(model, pooled, np.array([classes.index(name) for name in labels]), classes)


def _classes(model: QuantizedModel, names: Sequence[str]) -> tuple[str, ...]:
    """Return the model's classes that are spoken, then others, then its class of no speech."""
    spoken = set(names)
    if len(spoken) < 2:
        raise SerqError(
            f"clips of {len(spoken)} class{'es' if len(spoken) != 1 else ''} hold speech; adapting needs two"
            " classes at least"
        )
    known = [name for name in model.labels if name in spoken and name != NO_SPEECH_LABEL]
    new = sorted(spoken - set(model.labels))
    none = [NO_SPEECH_LABEL] if model.no_speech >= 0 else []
    return (*known, *new, *none)


def _fit(
    model: QuantizedModel, pooled: NDArray[np.int32], truth: NDArray[np.int64], classes: tuple[str, ...]
) -> QuantizedModel:
    """Make the model of a speaker's clips: [clips, features], and indices of `classes` [clips]."""
    voiced = _with_voice(model, pooled, [classes[index] for index in truth])
    last = voiced.layers[-1]
    if not isinstance(last, DenseLayer):
        raise SerqError(f"the model's last layer is {last.kind}; only a dense one can be adapted")
    activations, grid = _before_last(voiced, pooled)
    old = _old_layer(voiced, last, grid.zero, classes)
    inputs = ((activations - grid.zero) * grid.scale).astype(np.float64)
    new = _fitted(old, inputs, truth)
    _, scale = quantize(new.kernel.T, LAST_BITS)
    kernel, bias = new.kernel.astype(np.float32), new.bias.astype(np.float32)
    layer = tuned_layer(kernel, bias, LAST_BITS, np.float32(scale), grid, None)
    prior = require_voices(voiced)
    means = [_class_steps(voiced, pooled[truth == index], name) for index, name in enumerate(classes)]
    ratio = last.output_grid.scale / layer.output_grid.scale
    return replace(
        voiced,
        layers=(*voiced.layers[:-1], layer),
        labels=classes,
        score_scale=layer.output_grid.scale,
        decision=voiced.decision and _same_margin(voiced.decision, ratio),
        voice=replace(prior, means=np.array(means, np.int8)),
    )


def _with_voice(model: QuantizedModel, pooled: NDArray[np.int32], names: Sequence[str]) -> QuantizedModel:
    """Move the input's centers by the voice that the clips of the model's classes teach."""
    voice = Voice.unknown(require_voices(model))
    for features, name in zip(pooled, names, strict=True):
        if name in model.labels:
            voice = learn(model, voice, features, model.labels.index(name))
    constants = model.input
    units = voice.shift(require_voices(model)) * 2.0**constants.shift / constants.multiplier
    center = np.clip(np.rint(constants.center + units), -(2**19), 2**19).astype(np.int32)
    return replace(model, input=replace(constants, center=center))


def _class_steps(model: QuantizedModel, clips: NDArray[np.int32], name: str) -> NDArray[np.int64]:
    """Return a class's mean in input steps [features]: as known, or of a new one as its clips say."""
    if name in model.labels:
        known_mean: NDArray[np.int64] = require_voices(model).means[model.labels.index(name)].astype(np.int64)
        return known_mean
    known = clips != MISSING
    sums = np.where(known, input_steps(model.input, clips), 0).sum(axis=0)
    means = divide(sums, np.maximum(known.sum(axis=0), 1))
    return np.clip(means, -STEP_MAX, STEP_MAX, out=means)


def _before_last(model: QuantizedModel, pooled: NDArray[np.int32]) -> tuple[NDArray[np.int64], Grid]:
    """Compute what the last layer reads [clips, inputs], and what its steps stand for."""
    activations, grid = quantize_input(model.input, pooled), INPUT_GRID
    for layer in model.layers[:-1]:
        activations, grid = layer.run(activations)[-1], layer.output_grid
    return activations, grid


def _old_layer(model: QuantizedModel, last: DenseLayer, zero: int, classes: tuple[str, ...]) -> FloatDense:
    """Return the last layer's rows of these classes; one that is new begins with the mean of all rows."""
    float_layer = last.dequantized(zero)
    rows = [model.labels.index(name) if name in model.labels else -1 for name in classes]
    mean_kernel, mean_bias = float_layer.kernel.mean(axis=1), float_layer.bias.mean()
    kernel = np.stack([float_layer.kernel[:, row] if row >= 0 else mean_kernel for row in rows], axis=1)
    bias = np.array([float_layer.bias[row] if row >= 0 else mean_bias for row in rows])
    return FloatDense(kernel, bias, relu=False)


def _fitted(old: FloatDense, inputs: NDArray[np.float64], truth: NDArray[np.int64]) -> FloatDense:
    """Fit the layer to clips by maximum a posteriori, with its old weights for a prior."""
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise SerqError(
            "adapting needs packages that are not installed (scipy); run `pip install 'serq-mcu[train]'`"
        ) from error
    shape = old.kernel.shape
    wanted = np.eye(shape[1])[truth]
    weight = 1 / np.maximum(wanted.sum(axis=0), 1)[truth]  # each class alike
    spread = float(np.mean(inputs**2)) * shape[0]

    def loss(change: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        kernel, bias = change[: -shape[1]].reshape(shape), change[-shape[1] :]
        logits = inputs @ (old.kernel + kernel) + old.bias + bias
        logits = logits - logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        shares = odds / odds.sum(axis=1, keepdims=True)
        fit = -float(weight @ np.log(np.maximum(shares[np.arange(len(truth)), truth], 1e-300)))
        error = weight[:, None] * (shares - wanted)
        penalty = PRIOR / 2 * (spread * float((kernel**2).sum()) + float((bias**2).sum()))
        slopes = np.append((inputs.T @ error + PRIOR * spread * kernel).ravel(), error.sum(0) + PRIOR * bias)
        return fit + penalty, slopes

    found = minimize(loss, np.zeros(old.kernel.size + old.bias.size), jac=True, method="L-BFGS-B").x
    kernel, bias = found[: -shape[1]].reshape(shape), found[-shape[1] :]
    return FloatDense(old.kernel + kernel, old.bias + bias, relu=False)


def _same_margin(rule: DecisionRule, ratio: float) -> DecisionRule:
    """Keep the leads of answers and confidence, in logits, where a step of scores is smaller by `ratio`."""
    leads = tuple(lead if lead == NEVER else min(round(lead * ratio), NEVER) for lead in rule.confidence)
    margin = min(round(rule.unsure_margin * ratio), 2**31 - 1)
    return replace(rule, unsure_margin=margin, confidence=leads)


def _left_out(
    model: QuantizedModel,
    pooled: NDArray[np.int32],
    truth: NDArray[np.int64],
    classes: tuple[str, ...],
    index: int,
) -> int:
    """Answer a clip, an index of `classes`, by a model that is adapted to all others."""
    others = np.arange(len(truth)) != index
    return int(classify(_fit(model, pooled[others], truth[others], classes), pooled[index]))


def _old_answers(
    model: QuantizedModel, pooled: NDArray[np.int32], classes: tuple[str, ...]
) -> NDArray[np.int64]:
    """Answer the clips by the model as it was: an index of `classes`, or -1 for any other class."""
    places = [classes.index(name) if name in classes else -1 for name in model.labels]
    answers = classify(model, pooled)
    return np.where(answers < 0, -1, np.array(places)[answers])


def _told(model: QuantizedModel, before: QuantizedModel, names: Sequence[str]) -> QuantizedModel:
    """Let the model tell what it was made of: no name of a person or file."""
    made: dict[str, Any] = {"from": before.sha256[:16], "clips": {name: names.count(name) for name in names}}
    return replace(model, provenance=before.provenance | {"adapted": made})
