"""A trained network as a chain of simple steps, folded into what the device computes.

The device computes dense layers with ReLU between them, of features in standard deviations, and before them
layers on a sequence of frames (chain_over_time.py). A step that multiplies and adds to each value by itself
(batch normalisation, a scaler) is folded into the layer before it, or, after a ReLU, into the next one; the
first may say in which units the features come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.training.chain_over_time import Convolution, OverTime, Pooling, Recurrence, float_layers

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
class Shaped:
    """What only shapes values: to frames and values of each, or to a vector; None: whatever fits."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Activation:
    """RELU, SOFTMAX or SIGMOID."""

    name: str
    kind: str


Step = Linear | Scaling | Activation | Shaped | OverTime


@dataclass(frozen=True)
class ImportedNetwork:
    """Dense layers with ReLU between them, after layers on a sequence if there are any.

    kernels [inputs, outputs], biases [outputs]. first: the scaling before the first layer, None where the
    features are expected in standard deviations of the training clips. over_time: what reads the sequence of
    `frames` frames, 1 of statistics.
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    first: Scaling | None
    over_time: tuple[OverTime, ...] = ()
    frames: int = 1

    @property
    def coefficients(self) -> int:
        """How many values of a frame it takes."""
        return self.over_time[0].channels if self.over_time else self.features // self.frames

    @property
    def features(self) -> int:
        """How many features it takes, those of all frames."""
        if self.over_time:
            return self.frames * self.over_time[0].channels
        return int(self.kernels[0].shape[0])

    def scores(self, values: Floats) -> Floats:
        """Compute the scores [clips, classes] of features [clips, features] in the network's own units."""
        if self.first is not None:
            rows = values.reshape(-1, self.coefficients)
            values = (rows * self.first.scale + self.first.shift).reshape(values.shape)
        for layer in float_layers(self.over_time, self.frames):
            _, values = layer.forward(values)
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            values = (np.maximum(values, 0) if index else values) @ kernel + bias
        return values

    def standardised(self, mean: Floats, sd: Floats) -> FloatNetwork:
        """Return the network of features in standard deviations.

        mean, sd [coefficients]: of the training clips, taken where the network does not say which it expects.
        What the first scaling computes otherwise is folded into the first layer. Raises SerqError if it
        cannot be.
        """
        layers = float_layers(self.over_time, self.frames)
        if self.first is None:
            return FloatNetwork.mlp(self.kernels, self.biases, mean, sd, layers)
        scale, shift = (
            np.broadcast_to(value, self.coefficients) for value in (self.first.scale, self.first.shift)
        )
        if self.first.mean is not None and self.first.sd is not None:
            mean, sd = self.first.mean, np.maximum(self.first.sd, _EPSILON)
        elif self.first.scale.size > 1 and (scale != 0).all():
            mean, sd = -shift / scale, 1 / np.abs(scale)
        factor, offset = scale * sd, scale * mean + shift
        if self.over_time:
            first = self.over_time[0].after(factor, offset)
            layers = float_layers((first, *self.over_time[1:]), self.frames)
            return FloatNetwork.mlp(self.kernels, self.biases, mean, sd, layers)
        factor, offset = np.tile(factor, self.frames), np.tile(offset, self.frames)
        kernel = factor[:, None] * self.kernels[0]
        bias = self.biases[0] + offset @ self.kernels[0]
        return FloatNetwork.mlp((kernel, *self.kernels[1:]), (bias, *self.biases[1:]), mean, sd)


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


def fold(steps: Iterable[Step], frames: int = 1, coefficients: int = 0) -> ImportedNetwork:
    """Fold a chain into layers.

    frames, coefficients: of the sequence that it reads, and of a frame; 1 and any number of statistics.
    Raises SerqError that begins with a step's name if the device cannot compute it where it stands, or if the
    chain is no classifier.
    """
    folder = _Folder(frames, coefficients)
    values = 0
    for step in steps:
        if isinstance(step, (Linear, Convolution, Recurrence)):
            values += step.kernel.size
            require_room(f"the network up to {step.name}", values)
        folder.add(step)
    return folder.network()


class _Folder:
    """A network while its steps are read, in their order."""

    def __init__(self, frames: int, coefficients: int) -> None:
        self._over_time: list[OverTime] = []
        self._layers: list[Linear] = []
        self._whole = frames
        self._frames = frames if frames > 1 else 0  # of what arrives; 0 is a plain vector
        self._channels = coefficients  # of such a frame
        self._first: Scaling | None = None
        self._pending: Scaling | None = None  # after a ReLU, until the next layer with weights
        self._rectified = True  # whether another layer may follow
        self._signed = True  # whether what arrives may be below 0
        self._end = ""  # SOFTMAX or SIGMOID, after which neither a dense layer nor a ReLU may follow

    def add(self, step: Step) -> None:
        if isinstance(step, Shaped):
            self._reshape(step)
            return
        if self._end and not (isinstance(step, Activation) and step.kind == self._end):
            raise SerqError(
                f"{step.name} follows a {self._end}, which can only be the last; take the {self._end} before"
                " it out"
            )
        if isinstance(step, Linear):
            self._add_linear(step)
        elif isinstance(step, Scaling):
            self._add_scaling(step)
        elif isinstance(step, OverTime):
            self._add_over_time(step)
        elif step.kind == RELU:
            self._add_relu(step)
        else:
            self._end = step.kind

    def network(self) -> ImportedNetwork:
        if not self._layers:
            raise SerqError("it has no Dense layer at its end; build a classifier with one")
        if self._rectified:
            raise SerqError(
                "its last layer has a ReLU; the scores of the classes must be able to fall below 0, so take"
                " it out and train again"
            )
        kernels, biases = ([getattr(layer, name) for layer in self._layers] for name in ("kernel", "bias"))
        if self._end == SIGMOID:
            if biases[-1].size != 1:
                raise SerqError(
                    f"its last layer is a sigmoid of {biases[-1].size} units, which answer independently; end"
                    " with a softmax, or with a sigmoid of one unit for two classes"
                )
            kernels[-1], biases[-1] = two_classes(kernels[-1], biases[-1])
        steps = tuple(self._over_time)
        found = ImportedNetwork(tuple(kernels), tuple(biases), self._first, steps, self._whole)
        self._check_sizes(found)
        return found

    def _check_sizes(self, found: ImportedNetwork) -> None:
        """Raise SerqError if the first scaling is not of as many features as the first layer takes."""
        inputs, first = found.coefficients, self._first
        sizes = () if first is None else (first.scale.size, first.shift.size)
        if any(size not in (1, inputs) for size in sizes):
            raise SerqError(
                f"its Normalization is of {max(sizes)} features, and its first layer takes {inputs}"
            )

    def _reshape(self, step: Shaped) -> None:
        """Take what only shapes values: a vector of all frames, or the frames that are there already."""
        if self._whole == 1:
            return
        if len(step.shape) == 1:
            self._frames = 0
        elif not self._frames and not self._made:
            self._frames = self._whole
        if len(step.shape) > 1 and step.shape[0] not in (None, -1, max(self._frames, 1)):
            raise SerqError(
                f"{step.name} has {step.shape[0]} frames, and {max(self._frames, 1)} arrive; give a --config"
                " with features.sequence_frames as the network has them, and take Reshape between layers out"
            )

    @property
    def _made(self) -> bool:
        return bool(self._over_time or self._layers)

    def _add_linear(self, step: Linear) -> None:
        if self._frames:  # on each frame by itself
            self._add_over_time(Convolution(step.name, step.kernel[None], step.bias))
            return
        self._require_rectified(step.name)
        kernel, bias = step.kernel, step.bias
        if self._pending is not None:
            scale, shift = self._taken(step.name, kernel.shape[0])
            bias = bias + shift @ kernel
            kernel = scale[:, None] * kernel
        self._layers.append(replace(step, kernel=kernel, bias=bias))
        self._rectified = False

    def _add_over_time(self, step: OverTime) -> None:
        self._require_rectified(step.name)
        if not self._frames:
            raise SerqError(
                f"{step.name} reads a sequence of frames, and a vector arrives; give a --config with"
                " features.sequence_frames and blocks with statistics = [], and let Dense layers read vectors"
            )
        if isinstance(step, Pooling):
            step = replace(step, channels=self._channels)
        if self._pending is not None:
            passes = isinstance(step, Pooling) and step.passes(self._pending.scale)
            if not passes:
                step = step.after(*self._taken(step.name, step.channels))
        if step.channels != self._channels:
            raise SerqError(
                f"{step.name} reads frames of {step.channels} values, and {self._channels} arrive; give a"
                " --config with the blocks that the network was trained on"
            )
        try:
            frames = step.frames(self._frames)
        except SerqError as error:
            raise SerqError(f"{step.name}: {error}") from error
        self._over_time.append(step)
        self._frames, self._channels = frames, step.outputs
        self._rectified = not isinstance(step, Convolution)
        self._signed = self._signed or isinstance(step, Recurrence)

    def _taken(self, name: str, size: int) -> tuple[Floats, Floats]:
        """Return scale and shift [size] that wait for a layer; those of a frame are those of all frames."""
        assert self._pending is not None
        pending, self._pending = self._pending, None
        fit = {1, size, self._channels or size}
        if not {pending.scale.size, pending.shift.size} <= fit:
            raise SerqError(f"{pending.name} does not fit {name}; save the model again")
        scale, shift = (np.resize(value, size) for value in (pending.scale, pending.shift))
        return scale, shift

    def _require_rectified(self, name: str) -> None:
        if not self._rectified:
            raise SerqError(
                f"{name} follows a {'Dense' if self._layers else 'convolution'} layer without ReLU; give that"
                " one activation='relu', or merge the two"
            )

    def _add_scaling(self, step: Scaling) -> None:
        if not self._made:
            self._first = step if self._first is None else after(self._first, step)
        elif self._rectified:
            self._pending = step if self._pending is None else after(self._pending, step)
        else:
            made = self._layers or self._over_time
            last: Any = made[-1]
            if any(value.size not in (1, last.bias.size) for value in (step.scale, step.shift)):
                raise SerqError(f"{step.name} does not fit the layer before it; save the model again")
            scaled = {"kernel": last.kernel * step.scale, "bias": last.bias * step.scale + step.shift}
            made[-1] = replace(last, **scaled)

    def _add_relu(self, step: Activation) -> None:
        if not self._made:
            raise SerqError(
                f"{step.name} comes before the first layer, and the device takes features as they are;"
                " take it out and train again"
            )
        if self._pending is not None:
            raise SerqError(
                f"{step.name} follows {self._pending.name}, which follows a ReLU; put a Dense layer between"
                " them, or take one ReLU out, and train again"
            )
        if self._rectified and self._signed:
            raise SerqError(
                f"{step.name} follows a layer whose values it would change and the device keeps; take it out"
                " and train again"
            )
        self._rectified, self._signed = True, False


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
