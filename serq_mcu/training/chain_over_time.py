"""Steps of a chain that read a sequence of frames, and the float layers that they become.

Convolutions (Keras's Conv1D and DepthwiseConv1D), pooling over time, and recurrent layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.layers import FloatConv1D, FloatDepthwise, FloatLayer, FloatPooling, Windows
from serq_mcu.layers.pooling import MAXIMUM
from serq_mcu.training.sequences import RECURRENT, padding

Floats = NDArray[np.float64]
VALID = "valid"
_NOTHING = 1e-9  # of a shift by which padding would not be the mean


@dataclass(frozen=True)
class Convolution:
    """A convolution over time, whose ReLU is a step of its own.

    kernel [taps, channels, filters], or [taps, channels] where each channel has a filter of its own; bias
    [filters]; edges: "valid", "same" or "causal".
    """

    name: str
    kernel: Floats
    bias: Floats
    stride: int = 1
    dilation: int = 1
    edges: str = VALID

    def windows(self, frames: int) -> Windows:
        """Return where it looks in so many frames. Raises SerqError if that does not fit."""
        taps, channels = self.kernel.shape[:2]
        around = padding(frames, taps, self.stride, self.dilation, self.edges)
        return Windows(frames, channels, taps, self.stride, self.dilation, *around)

    def after(self, scale: Floats, shift: Floats) -> Convolution:
        """Return the same of inputs that are scaled and shifted before.

        Raises SerqError if its padding is not.
        """
        if self.edges != VALID and np.abs(shift).max() > _NOTHING:
            raise SerqError(
                f"{self.name} pads with 0 what a scaling before it has shifted; put BatchNormalization before"
                " the ReLU, or Normalization before everything, or take padding='valid'"
            )
        wide = self.kernel.ndim == 3
        moved = shift @ self.kernel.sum(axis=0) if wide else shift * self.kernel.sum(axis=0)
        return replace(self, kernel=self.kernel * (scale[:, None] if wide else scale), bias=self.bias + moved)

    def floats(self, frames: int) -> FloatLayer:
        """Make the float layer."""
        windows = self.windows(frames)
        if self.kernel.ndim == 2:
            return FloatDepthwise(self.kernel, self.bias, windows)
        return FloatConv1D(self.kernel.reshape(windows.size, -1), self.bias, windows)

    @property
    def channels(self) -> int:
        """Values of a frame that it takes."""
        return int(self.kernel.shape[1])

    @property
    def outputs(self) -> int:
        """Values of a frame that it gives."""
        return int(self.bias.size)

    def frames(self, frames: int) -> int:
        """Return how many frames it gives for so many."""
        return self.windows(frames).count


@dataclass(frozen=True)
class Pooling:
    """The mean or the maximum of `size` frames at a time, each `stride` behind the last; 0: of all frames.

    channels: values of a frame, which what comes before it says.
    """

    name: str
    function: str
    size: int = 0
    stride: int = 0
    channels: int = 0

    def windows(self, frames: int) -> Windows:
        """Return where it looks in so many frames. Raises SerqError if that does not fit."""
        size = self.size or frames
        return Windows(frames, self.channels, size, self.stride or size)

    def after(self, scale: Floats, shift: Floats) -> Pooling:
        """Return itself. Raises SerqError if inputs are scaled or shifted before."""
        if np.abs(scale - 1).max() > _NOTHING or np.abs(shift).max() > _NOTHING:
            raise SerqError(f"{self.name} comes before any weights; put keras.layers.Normalization before it")
        return self

    def passes(self, scale: Floats) -> bool:
        """Tell whether what is scaled before it may be scaled after it instead."""
        return self.function != MAXIMUM or bool((scale >= 0).all())

    def floats(self, frames: int) -> FloatLayer:
        """Make the float layer."""
        return FloatPooling(self.function, self.windows(frames))

    @property
    def outputs(self) -> int:
        """Values of a frame that it gives."""
        return self.channels

    def frames(self, frames: int) -> int:
        """Return how many frames it gives for so many; 0 is a plain vector."""
        return self.windows(frames).count if self.size else 0


@dataclass(frozen=True)
class Recurrence:
    """A recurrent layer: kind `gru` or `lstm`, with Keras's kernels and biases.

    sequence: it gives all states, not the last one alone.
    """

    name: str
    kind: str
    kernel: Floats
    recurrent: Floats
    bias: Floats
    sequence: bool

    def after(self, scale: Floats, shift: Floats) -> Recurrence:
        """Return the same of inputs that are scaled and shifted before."""
        moved = self.bias.copy()
        moved[(0,) if moved.ndim == 2 else ...] += shift @ self.kernel
        return replace(self, kernel=self.kernel * scale[:, None], bias=moved)

    def floats(self, frames: int) -> FloatLayer:
        """Make the float layer."""
        of = RECURRENT[self.kind].of
        return of(self.kernel, self.recurrent, self.bias, frames, sequence=self.sequence)

    @property
    def channels(self) -> int:
        """Values of a frame that it takes."""
        return int(self.kernel.shape[0])

    @property
    def outputs(self) -> int:
        """Values of a frame that it gives."""
        return int(self.recurrent.shape[0])

    def frames(self, frames: int) -> int:
        """Return how many frames it gives for so many; 0 is a plain vector."""
        return frames if self.sequence else 0


OverTime = Convolution | Pooling | Recurrence


def float_layers(steps: tuple[OverTime, ...], frames: int) -> list[FloatLayer]:
    """Make the float layers of steps on so many frames. Raises SerqError, naming one that does not fit."""
    made = []
    for step in steps:
        try:
            made.append(step.floats(frames))
        except SerqError as error:
            raise SerqError(f"{step.name}: {error}") from error
        frames = step.frames(frames)
    return made
