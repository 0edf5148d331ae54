"""Windows: which frames of a sequence each frame of a layer's output is made of (SPEC.md section 3)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.validation import check_types
from serq_mcu.layers.base import MAX_SEQUENCE, Layer, Memory, require
from serq_mcu.layers.packing import whole_groups

_MOST = 4096  # of each number
_CLIPS = 64  # at a time


@dataclass(frozen=True)
class Windows:
    """The windows of a sequence of `frames` frames of `channels` values each.

    A window has `taps` frames, `dilation` apart, and the next one begins `stride` frames later. The first
    begins `before` frames before the sequence and the last ends at most `after` frames behind it; these are
    padding. Raises SerqError if a number is out of range or there is no window.
    """

    frames: int
    channels: int
    taps: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        check_types(self, "windows: ")
        for name in ("frames", "channels", "taps", "stride", "dilation"):
            require(1 <= getattr(self, name) <= _MOST, f"windows: {name} must be 1 to {_MOST}")
        padded = 0 <= self.before < self.span and 0 <= self.after < self.span
        require(padded, f"windows of {self.span} frames: padding must be less than that, and not negative")
        require(self.count >= 1, f"windows of {self.span} frames do not fit a sequence of {self.frames}")
        for frames in (self.frames, self.count):
            require(
                frames * self.channels <= MAX_SEQUENCE,
                f"a sequence of {frames} frames of {self.channels} has more than {MAX_SEQUENCE} values",
            )

    @property
    def span(self) -> int:
        """Frames from a window's first to its last."""
        return self.dilation * (self.taps - 1) + 1

    @property
    def count(self) -> int:
        """Windows: frames of the output."""
        return (self.frames + self.before + self.after - self.span) // self.stride + 1

    @property
    def inputs(self) -> int:
        """Values of the sequence."""
        return self.frames * self.channels

    @property
    def size(self) -> int:
        """Values of a window."""
        return self.taps * self.channels

    @functools.cached_property
    def _sources(self) -> NDArray[np.int64]:
        """The frame that each tap of each window reads [count, taps]; that of padding is `frames`."""
        first = np.arange(self.count) * self.stride - self.before
        found = first[:, None] + np.arange(self.taps) * self.dilation
        return np.where((found >= 0) & (found < self.frames), found, self.frames)

    def cut(self, sequence: NDArray[Any], padding: float) -> NDArray[Any]:
        """Return the windows [..., count, taps, channels] of a sequence [..., frames * channels]."""
        rows = sequence.reshape(*sequence.shape[:-1], self.frames, self.channels)
        edge = np.full((*rows.shape[:-2], 1, self.channels), padding, rows.dtype)
        return np.concatenate([rows, edge], axis=-2)[..., self._sources, :]

    @property
    def in_place(self) -> tuple[int, ...]:
        """The windows that lie in memory as a kernel reads them: all others are copied."""
        if self.dilation > 1 or self.size % 8:
            return ()
        first = np.arange(self.count) * self.stride - self.before
        lies = (first >= 0) & (first + self.taps <= self.frames) & (first * self.channels % 4 == 0)
        return tuple(np.flatnonzero(lies).tolist())

    def rows(self, sequence: NDArray[Any], padding: float) -> NDArray[Any]:
        """Return the windows as `cut` does, each as one vector [..., count, taps * channels]."""
        cut = self.cut(sequence, padding)
        return cut.reshape(*cut.shape[:-2], self.size)

    def to_json(self) -> dict[str, int]:
        """Return plain values for the model file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Windows:
        """Make the windows of `to_json`'s values. Raises TypeError where a key is missing or unknown."""
        if not isinstance(value, dict):
            raise TypeError("windows must be a table")
        return cls(**value)

    def to_array(self) -> NDArray[np.float64]:
        """Return the numbers as an array, for a run folder."""
        return np.array([getattr(self, field.name) for field in fields(self)], np.float64)

    @classmethod
    def from_array(cls, numbers: NDArray[np.floating]) -> Windows:
        """Make the windows of `to_array`'s numbers."""
        return cls(*(int(number) for number in numbers))


class OverWindows:
    """A layer that gives a frame of `frame_size` values for each of its windows."""

    windows: Windows

    @property
    def frame_size(self) -> int:
        """Values of a frame that it gives: as many as one that it takes."""
        return self.windows.channels

    @property
    def inputs(self) -> int:
        """Values of the sequence that it takes."""
        return self.windows.inputs

    @property
    def outputs(self) -> int:
        """Values of the sequence that it gives."""
        return self.windows.count * self.frame_size


def sequence_memory(layer: Layer, *, table: bool) -> Memory:
    """Return what a layer on a sequence works in: both sequences, its sums, and its work, in whole groups.

    table: whether it needs the kernels'.
    """
    sizes = (layer.inputs, layer.outputs, layer.sums, layer.work)
    given, taken, sums, work = map(whole_groups, sizes)
    return Memory(given, taken, sums, table=table, work_bytes=work)


def clip_by_clip(
    rows: NDArray[Any], compute: Callable[[NDArray[Any]], tuple[NDArray[Any], ...]]
) -> tuple[NDArray[Any], ...]:
    """Compute arrays [..., n] from rows [..., inputs], some clips at a time: all windows take gigabytes.

    compute: gives arrays of [clips, ...] for [clips, inputs].
    """
    flat = rows.reshape(-1, rows.shape[-1])
    parts = [compute(flat[start : start + _CLIPS]) for start in range(0, max(len(flat), 1), _CLIPS)]
    whole = (np.concatenate(part) for part in zip(*parts, strict=True))
    return tuple(part.reshape(*rows.shape[:-1], math.prod(part.shape[1:])) for part in whole)
