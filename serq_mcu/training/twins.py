"""Layers of a float network in TensorFlow, each with what a device rounds in it and where (training/qat.py).

A twin computes what its layer does, from weights that quantizers may stand for: with its own variables as a
layer of a network that is fine-tuned, and with a teacher's in its place. Between twins there are vectors, as
between layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from serq_mcu.frontend.arithmetic import Q15
from serq_mcu.layers.base import ACTIVATION_MAX, FloatLayer
from serq_mcu.layers.pooling import MAXIMUM
from serq_mcu.layers.recurrent import ZERO
from serq_mcu.training import mlp  # noqa: F401

# after mlp, which sets how TensorFlow and Keras load
import tensorflow as tf  # isort: skip
import tf_keras  # isort: skip

Round = Callable[[Any], Any]
Part = Mapping[str, Any]  # variables by name: weights, and what their quantizers have


def straight_through(value: Any, rounded: Any) -> Any:
    """Return what was rounded, with gradients as if it was not (Bengio et al. 2013)."""
    return value + tf.stop_gradient(rounded - value)


def _update_dense(part: Part, step: Any) -> Any:
    part["bias_unit"].assign(step * tf.exp(part["kernel_log_scale"]) / 2)
    return tf.exp(part.get("output_log_step", 0.0))


class DenseTwin(tf_keras.layers.Dense):  # type: ignore[misc]
    """A dense layer; `requantized` unless it is the last one."""

    names: ClassVar[tuple[str, ...]] = ("kernel", "bias")

    def __init__(self, of: Any, **kwargs: Any) -> None:
        super().__init__(of.outputs, activation="relu" if of.relu else None, **kwargs)
        self.of, self.requantized = of, of.relu

    def taught(self, x: Any, kernel: Any, bias: Any) -> Any:
        """Compute outputs [batch, outputs] with other weights."""
        found = x @ kernel + bias
        return tf.nn.relu(found) if self.of.relu else found

    def update(self, part: Part, step: Any) -> Any:
        """Set the value of a step of the accumulator, for inputs of this `step`; return that of an output."""
        return _update_dense(part, step)


class Twin(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer on a sequence. `step`: the value of a step of what it rounds itself."""

    names: ClassVar[tuple[str, ...]] = ()
    requantized: ClassVar[bool] = False

    def __init__(self, of: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of = of

    def build(self, input_shape: Any) -> None:
        """Make the variables."""
        del input_shape
        for name in self.names:
            setattr(self, name, self.add_weight(name, self.of.tensors()[name].shape))
        self.step = self.add_weight("step", (), initializer="ones", trainable=False)

    def call(self, inputs: Any) -> Any:
        """Compute outputs [batch, outputs] as a device does."""
        return self.compute(inputs, self.rounded, *(getattr(self, name) for name in self.names))

    def taught(self, x: Any, *weights: Any) -> Any:
        """Compute outputs [batch, outputs] with other weights, and nothing rounded."""
        return self.compute(x, lambda value: value, *weights)

    def compute(self, x: Any, rounded: Round, *weights: Any) -> Any:
        """Compute outputs [batch, outputs] of inputs [batch, inputs]."""
        raise NotImplementedError

    def rounded(self, value: Any) -> Any:
        """Round to whole steps of the activations that arrive."""
        return self.step * straight_through(value / self.step, tf.floor(value / self.step + 0.5))

    def update(self, part: Part, step: Any) -> Any:
        """Take over the step of the activations that arrive; those that it gives have the same."""
        del part
        self.step.assign(step)
        return step


class ConvolutionTwin(Twin):
    """A convolution, and its ReLU."""

    names = ("kernel", "bias")
    requantized = True

    def compute(self, x: Any, rounded: Round, *weights: Any) -> Any:
        """Compute outputs [batch, outputs] of inputs [batch, inputs]; padding is 0."""
        del rounded
        kernel, bias = weights
        windows = self.of.windows
        frames = tf.reshape(x, (-1, windows.frames, windows.channels))
        padded = tf.pad(frames, [[0, 0], [windows.before, windows.after], [0, 0]])
        return tf.reshape(tf.nn.relu(self.products(padded, kernel) + bias), (-1, self.of.outputs))

    def products(self, frames: Any, kernel: Any) -> Any:
        """Compute the sums of all windows of padded frames [batch, frames, channels]."""
        windows = self.of.windows
        taps = tf.reshape(kernel, (windows.taps, windows.channels, -1))
        return tf.nn.conv1d(frames, taps, windows.stride, "VALID", dilations=windows.dilation)

    def update(self, part: Part, step: Any) -> Any:
        """Do what a dense layer does."""
        return _update_dense(part, step)


class DepthwiseTwin(ConvolutionTwin):
    """A depthwise convolution, and its ReLU."""

    def products(self, frames: Any, kernel: Any) -> Any:
        """Compute the sums of all windows of padded frames [batch, frames, channels]."""
        windows = self.of.windows
        strides, dilations = [1, windows.stride, windows.stride, 1], [windows.dilation, 1]
        taps = kernel[:, None, :, None]
        sums = tf.nn.depthwise_conv2d(frames[:, :, None], taps, strides, "VALID", dilations=dilations)
        return sums[:, :, 0]


class PoolingTwin(Twin):
    """The mean or the maximum over time."""

    def compute(self, x: Any, rounded: Round, *weights: Any) -> Any:
        """Compute outputs [batch, outputs] of inputs [batch, inputs]."""
        windows, kind = self.of.windows, "MAX" if self.of.function == MAXIMUM else "AVG"
        frames = tf.reshape(x, (-1, windows.frames, windows.channels))
        taken = {"strides": [windows.stride], "dilations": [windows.dilation], "padding": "VALID"}
        return rounded(tf.reshape(tf.nn.pool(frames, [windows.taps], kind, **taken), (-1, self.of.outputs)))


class AttentionTwin(Twin):
    """The mean of all frames by the softmax of their scores."""

    names = ("kernel",)

    def compute(self, x: Any, rounded: Round, *weights: Any) -> Any:
        """Compute outputs [batch, channels] of inputs [batch, inputs]."""
        (kernel,) = weights
        frames = tf.reshape(x, (-1, self.of.frames, self.of.outputs))
        shares = tf.nn.softmax(frames @ kernel, axis=1)
        return rounded(tf.reduce_sum(shares * frames, axis=1))


class RecurrentTwin(Twin):
    """A recurrent layer: what its recurrent matrix reads, and what it gives, are rounded states."""

    names = ("kernel", "bias", "recurrent_kernel", "recurrent_bias")

    @staticmethod
    def advance(x: Any, h: Any, memory: Any) -> tuple[Any, Any]:
        """Compute what is shown and remembered next [batch, units] from the sums of both matrices."""
        raise NotImplementedError

    def compute(self, x: Any, rounded: Round, *weights: Any) -> Any:
        """Compute outputs [batch, outputs] of inputs [batch, inputs]."""
        kernel, bias, recurrent, recurrent_bias = weights
        of = self.of
        sums = tf.reshape(x, (-1, of.frames, of.channels)) @ kernel + bias

        def frame(now: Any, states: Any) -> tuple[Any, list[Any]]:
            shown, memory = self.advance(now, states[0] @ recurrent + recurrent_bias, states[1])
            given = rounded(shown)
            return given, [given, memory]

        nothing = tf.zeros((tf.shape(x)[0], of.units))
        last, every, _ = tf_keras.backend.rnn(frame, sums, [nothing, nothing])
        return tf.reshape(every if of.sequence else last, (-1, of.outputs))

    def rounded(self, value: Any) -> Any:
        """Round states to activations."""
        steps = tf.clip_by_value(value / self.step, float(-ZERO), float(ACTIVATION_MAX - ZERO))
        return self.step * straight_through(steps, tf.floor(steps + 0.5))

    def update(self, part: Part, step: Any) -> Any:
        """Set the value of a step of both accumulators; return that of a state's activations."""
        _update_dense(part, step)
        own = 2.0 ** part["shift"] / Q15
        self.step.assign(own)
        part["recurrent_bias_unit"].assign(own * tf.exp(part["recurrent_kernel_log_scale"]) / 2)
        return own

    def build(self, input_shape: Any) -> None:
        """Make the variables."""
        super().build(input_shape)
        self.shift = self.add_weight("shift", (), trainable=False)


class GruTwin(RecurrentTwin):
    """A GRU."""

    @staticmethod
    def advance(x: Any, h: Any, memory: Any) -> tuple[Any, Any]:
        """Compute the next state."""
        (xz, xr, xn), (hz, hr, hn) = tf.split(x, 3, axis=-1), tf.split(h, 3, axis=-1)
        new = tf.tanh(xn + tf.sigmoid(xr + hr) * hn)
        state = new + tf.sigmoid(xz + hz) * (memory - new)
        return state, state


class LstmTwin(RecurrentTwin):
    """An LSTM."""

    @staticmethod
    def advance(x: Any, h: Any, memory: Any) -> tuple[Any, Any]:
        """Compute what is shown, and the next cell."""
        i, f, n, o = tf.split(x + h, 4, axis=-1)
        cell = tf.sigmoid(f) * memory + tf.sigmoid(i) * tf.tanh(n)
        return tf.sigmoid(o) * tf.tanh(cell), cell


_TWINS: dict[str, Any] = {
    "dense": DenseTwin,
    "conv1d": ConvolutionTwin,
    "depthwise": DepthwiseTwin,
    "pooling": PoolingTwin,
    "attention": AttentionTwin,
    "gru": GruTwin,
    "lstm": LstmTwin,
}


def twin(layer: FloatLayer) -> Any:
    """Make the twin of a layer. Raises SerqError if its kind has none."""
    if layer.kind not in _TWINS:
        raise layer.not_tuned()
    return _TWINS[layer.kind](layer)
