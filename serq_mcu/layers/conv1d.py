"""The convolution over time: a dense layer on each window of a sequence of frames (SPEC.md section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CPart, Loop
from serq_mcu.layers.base import (
    ACTIVATION_MAX,
    FLOAT_LAYERS,
    LAYERS,
    MAX_SEQUENCE,
    FloatLayer,
    Floats,
    Grid,
    LayerStage,
    Memory,
    Operands,
    Tuned,
    require,
)
from serq_mcu.layers.dense import DenseLayer, FloatDense, OfDense
from serq_mcu.layers.encodings import Width, width_label
from serq_mcu.layers.kernels import CostStage, times
from serq_mcu.layers.packing import Part, whole_groups
from serq_mcu.layers.windows import OverWindows, Windows, clip_by_clip

FITTED = 20_000  # windows that a width is fitted to, evenly spaced


@dataclass(frozen=True)
class Conv1DLayer(OverWindows, OfDense):
    """A convolution in integers.

    dense: what computes a frame of the output, its filters' fields [filters, taps * channels]; windows: where
    it looks; padding: the activation that stands where a window reaches beyond the sequence, the input's zero
    point. Raises SerqError when shapes do not fit or a bound fails.
    """

    kind: ClassVar[str] = "conv1d"

    dense: DenseLayer
    windows: Windows
    padding: int

    def __post_init__(self) -> None:
        require(not self.dense.gives_scores, "a convolution cannot be the last layer; add a dense one")
        require(
            type(self.padding) is int and 0 <= self.padding <= ACTIVATION_MAX,
            f"a convolution's padding must be 0 to {ACTIVATION_MAX}",
        )
        require(
            self.outputs <= MAX_SEQUENCE,
            f"{self.windows.count} frames of {self.dense.outputs} are more than {MAX_SEQUENCE} values",
        )
        self.require_filters()

    def require_filters(self) -> None:
        """Raise SerqError unless the filters are as large as a window."""
        require(
            self.dense.inputs == self.windows.size,
            f"conv1d: filters of {self.dense.inputs} weights for windows of {self.windows.size}",
        )

    @property
    def frame_size(self) -> int:
        """Values of a frame that it gives: one a filter."""
        return self.dense.outputs

    @property
    def repeats(self) -> int:
        """Once for each window."""
        return self.windows.count

    @property
    def sums(self) -> int:
        """Accumulators at a time: one a filter."""
        return self.dense.outputs

    @property
    def work(self) -> int:
        """Bytes of a window."""
        return self.windows.size

    @property
    def parameters(self) -> int:
        """Weights and biases of the filters."""
        return self.dense.parameters

    @property
    def output_grid(self) -> Grid:
        """What its outputs stand for."""
        return self.dense.output_grid

    def header(self) -> dict[str, Any]:
        """Return the values for the model file's JSON header."""
        return self.dense.header() | {"windows": self.windows.to_json(), "padding": self.padding}

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Conv1DLayer:
        """Make the layer of `header()` and `tensors()` again. Raises SerqError if a bound fails."""
        dense = DenseLayer.from_parts(header, tensors)
        return cls(dense, Windows.from_json(header["windows"]), header["padding"])

    def stages(self) -> tuple[LayerStage, ...]:
        """Return accumulators and outputs, each an event for every frame of the output."""
        return tuple(stage._replace(events=self.windows.count) for stage in self.dense.stages())

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute accumulators and outputs [..., count * filters] from activations [..., inputs]."""
        return clip_by_clip(activations, lambda some: self.dense.run(self.windows.rows(some, self.padding)))

    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64; activations are saturated as they are read."""

        def outputs(some: Floats) -> tuple[Floats]:
            return (self.dense.run_without_rounding(self.windows.rows(some, self.padding)),)

        return clip_by_clip(activations, outputs)[0]

    def dequantized(self, zero: int) -> FloatConv1D:
        """Make the float layer whose weights and biases are what these integers stand for."""
        dense = self.dense.dequantized(zero)
        return FloatConv1D(dense.kernel, dense.bias, self.windows)

    @property
    def memory(self) -> Memory:
        """Both sequences, a window, and what a dense layer of its size needs."""
        sequences = whole_groups(self.inputs), whole_groups(self.outputs)
        return replace(
            self.dense.memory,
            input_bytes=sequences[0],
            output_bytes=sequences[1],
            work_bytes=whole_groups(self.windows.size),
        )

    def code(self, operands: Operands, parts: tuple[Part, ...]) -> CPart:
        """Write a loop over the output's frames: its window, and a dense layer's calls on that."""
        dense = self.dense.code(replace(operands, input="window", output="row"), parts)
        steps = (*self.cut_steps(operands), *dense.steps)
        loop = Loop(self.counter(operands), self.windows.count, steps)
        return CPart((loop,), dense.arrays, ("serq_conv1d.h", *dense.headers), dense.sources)

    def counter(self, operands: Operands) -> str:
        """Name the variable that counts the output's frames."""
        return f"frame{operands.number}"

    def cut_steps(self, operands: Operands) -> tuple[Call, Call]:
        """Return the calls that find a frame's window, and where the frame goes."""
        windows, at = self.windows, self.counter(operands)
        shape = windows.frames, windows.channels, windows.taps, windows.stride, windows.dilation
        window = (operands.input, *shape, windows.before, at, self.padding, operands.work)
        return (
            Call("serq_cut_window", window, result="uint8_t *window"),
            Call("serq_row", (operands.output, self.dense.outputs, at), result="uint8_t *row"),
        )

    def cost_stages(self, number: int, parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return the cost of all windows as one."""
        windows, count = self.windows, self.windows.count
        products, rest = self.dense.cost_stages(number, parts)
        kernels = " + ".join(part.kernel for part in parts)
        shape = f"{windows.taps}x{windows.channels}x{self.dense.outputs} on {count} frames"
        return (
            CostStage(
                "decision",
                f"layer {number}: conv1d {shape}, {width_label(self.width)}, {kernels}",
                *self.cut_cost(),
                tuple((kernel, times(terms, count)) for kernel, terms in products.kernels),
                ("serq_cut_window", *products.calls, *rest.calls) * count,
                ((products.cost, times(products.terms, count)), (rest.cost, times(rest.terms, count))),
            ),
        )

    def cut_cost(self) -> tuple[str, tuple[int, int, int]]:
        """Return the name of the windows' counted cost, and its terms: bytes and frames copied, windows."""
        copied = self.windows.count - len(self.windows.in_place)
        return "cut window", (copied * self.windows.size, copied * self.windows.taps, self.windows.count)


@dataclass(frozen=True, eq=False)
class FloatConv1D(OverWindows, FloatLayer):
    """A convolution over time and a ReLU.

    kernel [taps * channels, filters], taps slowest; bias [filters]; padding is with 0. Raises SerqError if
    shapes do not fit each other or a number is not finite.
    """

    kind: ClassVar[str] = "conv1d"

    kernel: Floats
    bias: Floats
    windows: Windows
    dense: FloatDense = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dense", FloatDense(self.kernel, self.bias))
        self.require_filters()

    def require_filters(self) -> None:
        """Raise SerqError unless the filters are as large as a window."""
        require(
            self.dense.inputs == self.windows.size,
            f"a kernel of {self.dense.inputs} weights a filter does not fit windows of {self.windows.size}",
        )

    @property
    def frame_size(self) -> int:
        """Values of a frame that it gives: one a filter."""
        return self.dense.outputs

    @property
    def repeated(self) -> tuple[int, int, int]:
        """Inputs and outputs of the products, and how often they are computed."""
        return self.dense.inputs, self.dense.outputs, self.windows.count

    @property
    def parameters(self) -> int:
        """Weights and biases of the filters."""
        return self.dense.parameters

    @property
    def weights(self) -> Floats:
        """The kernel, without the biases."""
        return self.kernel

    def tensors(self) -> dict[str, Floats]:
        """Return kernel, bias and the numbers of the windows."""
        return {"kernel": self.kernel, "bias": self.bias, "windows": self.windows.to_array()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], *, last: bool) -> FloatConv1D:
        """Make the layer of `tensors()` again. Raises SerqError if it is the last one."""
        require(not last, "a convolution cannot be the last layer; train again")
        return cls(tensors["kernel"], tensors["bias"], Windows.from_array(tensors["windows"]))

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute pre-activations and outputs [n, count * filters]."""

        def both(some: Floats) -> tuple[Floats, Floats]:
            return self.dense.forward(self.windows.rows(some, 0.0))

        target, outputs = clip_by_clip(x, both)
        return target, outputs

    def lower(self, width: Width, activations: NDArray[np.int64], grid: Grid, target: Floats) -> Conv1DLayer:
        """Make the integer layer of a width, fitted to windows as a dense layer is to clips."""
        step = -(-len(activations) * self.windows.count // FITTED)
        some = activations[::step]
        windows = self.windows.rows(some, grid.zero).reshape(-1, self.windows.size)
        targets = target[::step].reshape(-1, self.dense.outputs)
        return Conv1DLayer(self.dense.lower(width, windows, grid, targets), self.windows, grid.zero)

    def start(self, lowered: Conv1DLayer, zero: int) -> Tuned:  # type: ignore[override]
        """Return what a dense layer on windows does."""
        return self.dense.start(lowered.dense, zero)

    def tuned(self, values: Tuned, width: Width, grid: Grid) -> Conv1DLayer:
        """Write a fine-tuned layer down as integers."""
        return Conv1DLayer(self.dense.tuned(values, width, grid), self.windows, grid.zero)


LAYERS.register(Conv1DLayer.kind, Conv1DLayer)
FLOAT_LAYERS.register(FloatConv1D.kind, FloatConv1D)
