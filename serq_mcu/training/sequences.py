"""The layers that read a sequence of frames: from words of the configuration to Keras and to float layers.

`conv FILTERS TAPS` is a convolution over time with a ReLU, `depthwise TAPS` one with a filter of its own for
each channel; `mean` and `maximum` pool all frames, or with a number so many at a time. After a convolution
may follow `stride S`, `dilation D`, and how it treats the
edges: `same` (as many frames come out as go in), `causal` (only frames before count) or `valid`, the default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.layers import FloatConv1D, FloatDepthwise, FloatLayer, FloatPooling, Windows

CONVOLUTION, DEPTHWISE, MAXIMUM, SAME, CAUSAL = "conv", "depthwise", "maximum", "same", "causal"


@dataclass(frozen=True)
class SequenceLayer:
    """A layer as the configuration names it, and the windows that it has.

    filters: 0 where channels stay; edges: how a convolution treats them, nothing of pooling.
    """

    name: str
    windows: Windows
    filters: int = 0
    edges: str = ""

    def keras(self, layers: Any) -> list[Any]:
        """Make the Keras layers; layers: the module that has them."""
        windows = self.windows
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


def sequence_layers(words: Sequence[str], frames: int, channels: int) -> tuple[SequenceLayer, ...]:
    """Read the layers of a network on a sequence of `frames` frames of `channels` values.

    Raises SerqError, naming the layer, if its windows do not fit what arrives.
    """
    found: list[SequenceLayer] = []
    for line in words:
        try:
            layer = _layer(line.split(), frames, channels)
        except SerqError as error:
            raise SerqError(f"training.sequence_layers, {line!r}: {error}") from error
        frames, channels = layer.windows.count, layer.filters or channels
        found.append(layer)
    return tuple(found)


def _layer(words: list[str], frames: int, channels: int) -> SequenceLayer:
    name, *rest = words
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
    before, after = _padding(frames, int(taps), stride, dilation, edges)
    return SequenceLayer(
        name, Windows(frames, channels, int(taps), stride, dilation, before, after), int(filters), edges
    )


def _padding(frames: int, taps: int, stride: int, dilation: int, edges: str) -> tuple[int, int]:
    """Compute the frames of padding before and after a sequence, as Keras does."""
    span = dilation * (taps - 1) + 1
    if edges == CAUSAL:
        return span - 1, 0
    if edges != SAME:
        return 0, 0
    missing = max((-(-frames // stride) - 1) * stride + span - frames, 0)
    return missing // 2, missing - missing // 2
