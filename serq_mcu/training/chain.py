"""A trained network as a chain of simple steps, folded into what the device computes.

The device computes dense layers with ReLU between them, of features in standard deviations. A step that
multiplies and adds to each value by itself (batch normalisation, a scaler) is folded into the dense layer
before it, or, after a ReLU, into the next one; the first may say in which units the features come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError

Floats = NDArray[np.float64]
_EPSILON = 1e-7  # what Keras's Normalization takes for a deviation of 0
RELU, SOFTMAX, SIGMOID = "relu", "softmax", "sigmoid"
_MOST_VALUES = 2**22  # of all arrays of a file: 16 MiB as 32-bit floats


@dataclass(frozen=True)
class Linear:
    """values @ kernel + bias; kernel [inputs, outputs], bias [outputs]."""

    name: str
    kernel: Floats
    bias: Floats


@dataclass(frozen=True)
class Scaling:
    """values * scale + shift, of each value by itself; scale and shift [values], or of one value for all.

    mean, sd: what the values are distributed as, if the step knows.
    """

    name: str
    scale: Floats
    shift: Floats
    mean: Floats | None = None
    sd: Floats | None = None


@dataclass(frozen=True)
class Activation:
    """RELU, SOFTMAX or SIGMOID."""

    name: str
    kind: str


Step = Linear | Scaling | Activation


@dataclass(frozen=True)
class ImportedNetwork:
    """Dense layers with ReLU between them.

    kernels [inputs, outputs], biases [outputs]. first: the scaling before the first of them, None where the
    features are expected in standard deviations of the training clips.
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    first: Scaling | None

    @property
    def features(self) -> int:
        """How many features it takes."""
        return int(self.kernels[0].shape[0])

    def scores(self, values: Floats) -> Floats:
        """Compute the scores [clips, classes] of features [clips, features] in the network's own units."""
        if self.first is not None:
            values = values * self.first.scale + self.first.shift
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            values = (np.maximum(values, 0) if index else values) @ kernel + bias
        return values

    def standardised(
        self, mean: Floats, sd: Floats
    ) -> tuple[Floats, Floats, tuple[Floats, ...], tuple[Floats, ...]]:
        """Return mean and sd [features], kernels and biases for features in standard deviations.

        mean, sd: of the training clips, taken where the network does not say which it expects. What the first
        scaling computes otherwise is folded into the first kernel.
        """
        if self.first is None:
            return mean, sd, self.kernels, self.biases
        scale, shift = (
            np.broadcast_to(value, self.features) for value in (self.first.scale, self.first.shift)
        )
        if self.first.mean is not None and self.first.sd is not None:
            mean, sd = self.first.mean, np.maximum(self.first.sd, _EPSILON)
        elif self.first.scale.size > 1 and (scale != 0).all():
            mean, sd = -shift / scale, 1 / np.abs(scale)
        kernel = (scale * sd)[:, None] * self.kernels[0]
        bias = self.biases[0] + (scale * mean + shift) @ self.kernels[0]
        return mean, sd, (kernel, *self.kernels[1:]), (bias, *self.biases[1:])


def batch_normalization(
    name: str, gamma: Floats, beta: Floats, mean: Floats, variance: Floats, epsilon: float
) -> Scaling:
    """Return the step of a batch normalisation as it is after training."""
    sd = np.sqrt(np.maximum(variance, 0) + epsilon)
    return Scaling(name, gamma / sd, beta - gamma * mean / sd, mean, sd)


_OVER_TIME = ("Conv", "LSTM", "GRU", "RNN", "Pool", "Attention", "TimeDistributed", "Bidirectional")


def not_imported(name: str, kind: str, known: str, advice: str = "") -> SerqError:
    """Return the refusal of a layer or node that is none of the known kinds."""
    advice = advice or "build the model of these"
    if any(part in kind for part in _OVER_TIME):
        advice += ", or train a network over frames with `serq-mcu train --preset cnn1d` (gru, lstm)"
    return SerqError(f"{name} cannot be imported; {known} can: {advice}")


def require_room(name: str, values: int) -> None:
    """Raise SerqError if a file has more values than any network for a microcontroller."""
    if values > _MOST_VALUES:
        raise SerqError(
            f"{name} holds {values} values, and at most {_MOST_VALUES} are read; a network for a"
            " microcontroller has fewer"
        )


def fold(steps: Iterable[Step]) -> ImportedNetwork:
    """Fold a chain into dense layers.

    Raises SerqError that begins with a step's name if the device cannot compute it where it stands, or if the
    chain is no classifier.
    """
    folder = _Folder()
    values = 0
    for step in steps:
        if isinstance(step, Linear):
            values += step.kernel.size
            require_room(f"the network up to {step.name}", values)
        folder.add(step)
    return folder.network()


class _Folder:
    """A network while its steps are read, in their order."""

    def __init__(self) -> None:
        self._layers: list[tuple[Floats, Floats]] = []
        self._first: Scaling | None = None
        self._pending: Scaling | None = None  # after a ReLU, until the next dense layer
        self._rectified = True  # whether there is a ReLU since the last dense layer
        self._end = ""  # SOFTMAX or SIGMOID, after which neither a dense layer nor a ReLU may follow

    def add(self, step: Step) -> None:
        if self._end and not (isinstance(step, Activation) and step.kind == self._end):
            raise SerqError(
                f"{step.name} follows a {self._end}, which can only be the last; take the {self._end} before"
                " it out"
            )
        if isinstance(step, Linear):
            self._add_linear(step)
        elif isinstance(step, Scaling):
            self._add_scaling(step)
        elif step.kind == RELU:
            self._add_relu(step)
        else:
            self._end = step.kind

    def network(self) -> ImportedNetwork:
        if not self._layers:
            raise SerqError("it has no Dense layer; build a multilayer perceptron")
        if self._rectified:
            raise SerqError(
                "its last layer has a ReLU; the scores of the classes must be able to fall below 0, so take"
                " it out and train again"
            )
        self._check_first()
        kernel, bias = self._layers[-1]
        if self._end == SIGMOID:
            if bias.size != 1:
                raise SerqError(
                    f"its last layer is a sigmoid of {bias.size} units, which answer independently; end with"
                    " a softmax, or with a sigmoid of one unit for two classes"
                )
            self._layers[-1] = two_classes(kernel, bias)
        kernels, biases = zip(*self._layers, strict=True)
        return ImportedNetwork(kernels, biases, self._first)

    def _check_first(self) -> None:
        """Raise SerqError if the first scaling is not of as many features as the first layer takes."""
        inputs, first = self._layers[0][0].shape[0], self._first
        sizes = () if first is None else (first.scale.size, first.shift.size)
        if any(size not in (1, inputs) for size in sizes):
            raise SerqError(
                f"its Normalization is of {max(sizes)} features, and its first Dense layer takes {inputs}"
            )

    def _add_linear(self, step: Linear) -> None:
        if not self._rectified:
            raise SerqError(
                f"{step.name} follows a Dense layer without ReLU; give that one activation='relu', or merge"
                " the two"
            )
        kernel, bias = step.kernel, step.bias
        if self._pending is not None:
            scaling = self._pending
            if any(value.size not in (1, kernel.shape[0]) for value in (scaling.scale, scaling.shift)):
                raise SerqError(f"{scaling.name} does not fit {step.name}; save the model again")
            bias = bias + np.broadcast_to(scaling.shift, kernel.shape[0]) @ kernel
            kernel = np.broadcast_to(scaling.scale, kernel.shape[0])[:, None] * kernel
            self._pending = None
        self._layers.append((kernel, bias))
        self._rectified = False

    def _add_scaling(self, step: Scaling) -> None:
        if not self._layers:
            self._first = step if self._first is None else after(self._first, step)
        elif self._rectified:
            self._pending = step if self._pending is None else after(self._pending, step)
        else:
            kernel, bias = self._layers[-1]
            if any(value.size not in (1, bias.size) for value in (step.scale, step.shift)):
                raise SerqError(f"{step.name} does not fit the layer before it; save the model again")
            self._layers[-1] = (kernel * step.scale, bias * step.scale + step.shift)

    def _add_relu(self, step: Activation) -> None:
        if not self._layers:
            raise SerqError(
                f"{step.name} comes before the first Dense layer, and the device takes features as they are;"
                " take it out and train again"
            )
        if self._pending is not None:
            raise SerqError(
                f"{step.name} follows {self._pending.name}, which follows a ReLU; put a Dense layer between"
                " them, or take one ReLU out, and train again"
            )
        self._rectified = True


def two_classes(kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return a last layer [inputs, 2] whose softmax is the sigmoid of one unit: half of it against half."""
    return np.concatenate([-kernel / 2, kernel / 2], axis=1), np.concatenate([-bias / 2, bias / 2])


def after(first: Scaling, then: Scaling) -> Scaling:
    """Return two scalings as one; the distribution is that of the values before the first."""
    try:
        scale, shift = first.scale * then.scale, first.shift * then.scale + then.shift
    except ValueError as error:
        raise SerqError(f"{then.name} does not fit {first.name}; save the model again") from error
    mean, sd = first.mean, first.sd
    if mean is None and then.mean is not None and then.sd is not None and (first.scale != 0).all():
        mean, sd = (then.mean - first.shift) / first.scale, then.sd / np.abs(first.scale)
    return Scaling(f"{first.name} and {then.name}", scale, shift, mean, sd)
