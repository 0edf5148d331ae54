"""The layers that read a sequence of frames: from words of the configuration to Keras and to float layers.

`conv FILTERS TAPS` is a convolution over time with a ReLU, `depthwise TAPS` one with a filter of its own for
each channel; `mean` and `maximum` pool all frames, or with a number so many at a time. After a convolution
may follow `stride S`, `dilation D`, and how it treats the
edges: `same` (as many frames come out as go in), `causal` (only frames before count) or `valid`, the default.
`gru UNITS` and `lstm UNITS` give the state after each frame, with `last` that after the last one alone;
`attention` is the mean of all frames, weighed by the softmax of a score of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.layers import (
    FloatAttention,
    FloatConv1D,
    FloatDepthwise,
    FloatGru,
    FloatLayer,
    FloatLstm,
    FloatPooling,
    Windows,
)
from serq_mcu.layers.base import MAX_WIDTH, require
from serq_mcu.layers.pooling import MAX_ATTENDED

CONVOLUTION, DEPTHWISE, MAXIMUM, SAME, CAUSAL = "conv", "depthwise", "maximum", "same", "causal"
ATTENTION, LAST = "attention", "last"
RECURRENT = {"gru": FloatGru, "lstm": FloatLstm}


@dataclass(frozen=True)
class SequenceLayer:
    """A layer as the configuration names it, and the windows that it has.

    filters: 0 where channels stay; edges: how a convolution treats them, nothing of pooling.
    """

    name: str
    windows: Windows
    filters: int = 0
    edges: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and channels that it gives."""
        return self.windows.count, self.filters or self.windows.channels

    def keras(self, keras: Any) -> list[Any]:
        """Make the Keras layers; keras: the module."""
        windows, layers = self.windows, keras.layers
        if not self.edges:
            kind = layers.MaxPooling1D if self.name == MAXIMUM else layers.AveragePooling1D
            return [kind(windows.taps, strides=windows.stride)]
        made = [layers.ZeroPadding1D((windows.before, windows.after))]  # depthwise ones pad in no other
        given = {"strides": windows.stride, "dilation_rate": windows.dilation, "activation": "relu"}
        if self.name == CONVOLUTION:
            return [*made, layers.Conv1D(self.filters, windows.taps, **given)]
        return [*made, layers.DepthwiseConv1D(windows.taps, **given)]

    def floats(self, weights: Iterator[NDArray[np.floating]]) -> FloatLayer:
        """Make the float layer, taking what it needs of the Keras network's weights in their order."""
        if self.name == CONVOLUTION:
            kernel, bias = next(weights), next(weights)
            return FloatConv1D(
                kernel.reshape(-1, self.filters).astype(np.float64), bias.astype(np.float64), self.windows
            )
        if self.name == DEPTHWISE:
            kernel, bias = next(weights), next(weights)
            return FloatDepthwise(kernel[..., 0].astype(np.float64), bias.astype(np.float64), self.windows)
        return FloatPooling(self.name, self.windows)


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer as the configuration names it; last: it gives the last state alone."""

    name: str
    frames: int
    channels: int
    units: int
    last: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and channels that it gives."""
        return 1 if self.last else self.frames, self.units

    def keras(self, keras: Any) -> list[Any]:
        """Make the Keras layers; keras: the module."""
        kind = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[self.name]
        made = kind(self.units, return_sequences=not self.last)
        return [made, keras.layers.Reshape((1, self.units))] if self.last else [made]

    def floats(self, weights: Iterator[NDArray[np.floating]]) -> FloatLayer:
        """Make the float layer, taking what it needs of the Keras network's weights in their order."""
        kernel, recurrent, bias = (next(weights).astype(np.float64) for _ in range(3))
        return RECURRENT[self.name].of(kernel, recurrent, bias, self.frames, sequence=not self.last)


@dataclass(frozen=True)
class Attention:
    """Attention over so many frames."""

    frames: int
    channels: int

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and channels that it gives."""
        return 1, self.channels

    def keras(self, keras: Any) -> list[Any]:
        """Make the Keras layers; keras: the module."""
        layers = keras.layers
        frames = layers.Input((self.frames, self.channels))
        shares = layers.Softmax(axis=1)(layers.Dense(1, use_bias=False)(frames))
        return [keras.Model(frames, layers.Dot(axes=1)([shares, frames]))]

    def floats(self, weights: Iterator[NDArray[np.floating]]) -> FloatLayer:
        """Make the float layer, taking what it needs of the Keras network's weights in their order."""
        return FloatAttention.of(next(weights).astype(np.float64), self.frames)


OverTime = SequenceLayer | Recurrent | Attention


def sequence_layers(words: Sequence[str], frames: int, channels: int) -> tuple[OverTime, ...]:
    """Read the layers of a network on a sequence of `frames` frames of `channels` values.

    Raises SerqError, naming the layer, if its windows do not fit what arrives.
    """
    found: list[OverTime] = []
    for line in words:
        try:
            layer = _layer(line.split(), frames, channels)
        except SerqError as error:
            raise SerqError(f"training.sequence_layers, {line!r}: {error}") from error
        frames, channels = layer.shape
        found.append(layer)
    return tuple(found)


def _layer(words: list[str], frames: int, channels: int) -> OverTime:
    name, *rest = words
    if name in RECURRENT:
        units, most = int(rest[0]), MAX_WIDTH // RECURRENT[name].gates
        require(units <= most, f"{units} units are too many; {most} are the most")
        return Recurrent(name, frames, channels, units, LAST in rest)
    if name == ATTENTION:
        require(frames <= MAX_ATTENDED, f"{frames} frames are too many; pool to {MAX_ATTENDED} before")
        return Attention(frames, channels)
    if name not in (CONVOLUTION, DEPTHWISE):
        size = int(rest[0]) if rest else frames
        return SequenceLayer(name, Windows(frames, channels, size, size))
    filters = rest.pop(0) if name == CONVOLUTION else "0"
    taps, *rest = rest
    options = {
        word: int(rest[index + 1]) for index, word in enumerate(rest) if word in ("stride", "dilation")
    }
    edges = next((word for word in rest if word in (SAME, CAUSAL)), "valid")
    stride, dilation = options.get("stride", 1), options.get("dilation", 1)
    if stride > 1 and dilation > 1:
        raise SerqError("Keras trains no convolution with a stride and a dilation; take one of them out")
    before, after = padding(frames, int(taps), stride, dilation, edges)
    return SequenceLayer(
        name, Windows(frames, channels, int(taps), stride, dilation, before, after), int(filters), edges
    )


def padding(frames: int, taps: int, stride: int, dilation: int, edges: str) -> tuple[int, int]:
    """Compute the frames of padding before and after a sequence, as Keras does."""
    span = dilation * (taps - 1) + 1
    if edges == CAUSAL:
        return span - 1, 0
    if edges != SAME:
        return 0, 0
    missing = max((-(-frames // stride) - 1) * stride + span - frames, 0)
    return missing // 2, missing - missing // 2
