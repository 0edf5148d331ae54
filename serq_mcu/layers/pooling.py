"""Pooling over time: the mean or the maximum of each channel in windows of a sequence (SPEC.md section 3).

Attention is a mean of all frames whose weights the frames give themselves: the softmax of a dense layer's
score of each frame, w . frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CPart, Loop, Trace
from serq_mcu.layers.base import (
    ACTIVATION_MAX,
    FLOAT_LAYERS,
    LAYERS,
    MAX_SEQUENCE,
    FloatLayer,
    Floats,
    Grid,
    Layer,
    LayerStage,
    Memory,
    Operands,
    Tuned,
    require,
)
from serq_mcu.layers.dense import DenseLayer, FloatDense, OfDense
from serq_mcu.layers.encodings import Width, width_label
from serq_mcu.layers.functions import Q12, Rescale, exp2_minus
from serq_mcu.layers.kernels import Core, CostStage, Storage, times
from serq_mcu.layers.packing import GROUP, Part, whole_groups
from serq_mcu.layers.windows import OverWindows, Windows, clip_by_clip, sequence_memory

MAX_ATTENDED = 1024  # frames whose weights in Q15, times activations, a uint32 holds
_FITTED = 20_000  # frames that a width is fitted to
MEAN, MAXIMUM = FUNCTIONS = ("mean", "maximum")


@dataclass(frozen=True)
class PoolingLayer(OverWindows, Layer):
    """Pooling in integers: what its outputs stand for is what its inputs do, so it has no constants.

    function: one of FUNCTIONS; windows: without padding; scale and zero: of the input's grid, for reading,
    not for computing. Raises SerqError when they do not go together.
    """

    kind: ClassVar[str] = "pooling"

    function: str
    windows: Windows
    scale: float
    zero: int

    def __post_init__(self) -> None:
        require_pooling(self.function, self.windows)
        require(isinstance(self.scale, float) and self.scale > 0, "pooling: the scale must be positive")
        require(type(self.zero) is int and 0 <= self.zero <= ACTIVATION_MAX, "pooling: zero must be 0 to 127")

    @property
    def sums(self) -> int:
        """None."""
        return 0

    @property
    def parameters(self) -> int:
        """None."""
        return 0

    @property
    def bits(self) -> int:
        """None, as there are no weights."""
        return 0

    @property
    def width(self) -> Width:
        """None, as there are no weights."""
        return 0

    @property
    def gives_scores(self) -> bool:
        """Never."""
        return False

    @property
    def accumulator_bound(self) -> int:
        """Twice the largest sum of a window, and half its length (4096 * 127 * 2 is far below 2^31)."""
        return 2 * ACTIVATION_MAX * self.windows.taps + self.windows.taps

    @property
    def output_grid(self) -> Grid:
        """What its outputs stand for: the same as its inputs."""
        return Grid(self.scale, self.zero)

    def header(self) -> dict[str, Any]:
        """Return the values for the model file's JSON header."""
        own = {"function": self.function, "scale": self.scale, "zero": self.zero}
        return own | {"windows": self.windows.to_json()}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return nothing: it has no weights."""
        return {}

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], _tensors: Mapping[str, NDArray[Any]]) -> PoolingLayer:
        """Make the layer of `header()` again. Raises SerqError if a bound fails."""
        windows = Windows.from_json(header["windows"])
        return cls(header["function"], windows, header["scale"], header["zero"])

    def stages(self) -> tuple[LayerStage, ...]:
        """Return the outputs."""
        return (LayerStage("output", "uint8"),)

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute outputs [..., count * channels] from activations [..., inputs]."""
        cut = self.windows.cut(activations, 0)
        if self.function == MAXIMUM:
            found = cut.max(axis=-2)
        else:
            taps = self.windows.taps
            found = (2 * cut.sum(axis=-2) + taps) // (2 * taps)
        return (found.reshape(*found.shape[:-2], self.outputs),)

    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64; activations are saturated as they are read."""
        return _pooled(self.function, self.windows, np.clip(activations, 0, ACTIVATION_MAX))

    def dequantized(self, _zero: int) -> FloatPooling:
        """Make the float layer."""
        return FloatPooling(self.function, self.windows)

    def choose(self, _core: Core, _allowed: frozenset[str], _storage: Storage) -> tuple[Part, ...] | None:
        """Choose no kernel: it has no weights."""
        return ()

    def kernel_cost(self, _core: Core, _parts: tuple[Part, ...]) -> float:
        """Return 0: there is no kernel."""
        return 0.0

    def packed_bytes(self, _parts: tuple[Part, ...]) -> int:
        """Return 0: there are no weights."""
        return 0

    def constant_bytes(self, _parts: tuple[Part, ...]) -> int:
        """Return 0: there are no constants."""
        return 0

    @property
    def stored_bytes(self) -> int:
        """None."""
        return 0

    @property
    def memory(self) -> Memory:
        """Both sequences."""
        return Memory(whole_groups(self.inputs), whole_groups(self.outputs), 0, table=False)

    def code(self, operands: Operands, _parts: tuple[Part, ...]) -> CPart:
        """Write the call."""
        windows = self.windows
        shape = windows.count, windows.channels, windows.taps, windows.stride, windows.dilation
        call = Call(f"serq_time_{self.function}", (operands.input, *shape, operands.output))
        trace = Trace(operands.stage("output"), operands.output, self.outputs, "uint8_t")
        return CPart((call, trace), (), ("serq_pooling.h",))

    def cost_stages(self, number: int, _parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return its cost: by values read, values written, and frames written."""
        windows, name = self.windows, f"time {self.function}"
        of = (self.outputs * windows.taps, self.outputs, windows.count, 1)
        title = (
            f"layer {number}: {self.function} of {windows.taps} frames, {windows.count}x{windows.channels}"
        )
        return (CostStage("decision", title, name, of, calls=(f"serq_time_{self.function}",)),)


@dataclass(frozen=True, eq=False)
class FloatPooling(OverWindows, FloatLayer):
    """The mean or the maximum over time. Raises SerqError as the integer layer does."""

    kind: ClassVar[str] = "pooling"

    function: str
    windows: Windows

    def __post_init__(self) -> None:
        require_pooling(self.function, self.windows)

    @property
    def parameters(self) -> int:
        """None."""
        return 0

    @property
    def weights(self) -> Floats:
        """None."""
        return np.zeros(0)

    def tensors(self) -> dict[str, Floats]:
        """Return the numbers of the windows, and which function it is."""
        return {
            "windows": self.windows.to_array(),
            "function": np.array([FUNCTIONS.index(self.function)], float),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], *, last: bool) -> FloatPooling:
        """Make the layer of `tensors()` again. Raises SerqError if it is the last one."""
        require(not last, "pooling cannot be the last layer; train again")
        return cls(FUNCTIONS[int(tensors["function"][0])], Windows.from_array(tensors["windows"]))

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute outputs [n, count * channels]; nothing is fitted to them."""
        found = _pooled(self.function, self.windows, x)
        return found, found

    def lower(
        self, _width: Width, _activations: NDArray[np.int64], grid: Grid, _target: Floats
    ) -> PoolingLayer:
        """Make the integer layer on the grid that arrives."""
        return PoolingLayer(self.function, self.windows, float(grid.scale), grid.zero)

    def start(self, _lowered: Layer, _zero: int) -> Tuned:
        """Return nothing: there is nothing to tune."""
        return {}

    def tuned(self, _values: Tuned, _width: Width, grid: Grid) -> PoolingLayer:
        """Make the integer layer on the grid that arrives."""
        return PoolingLayer(self.function, self.windows, float(grid.scale), grid.zero)


def require_pooling(function: str, windows: Windows) -> None:
    """Raise SerqError unless there is such a pooling."""
    require(function in FUNCTIONS, f"pooling by {function!r} is not one of {', '.join(FUNCTIONS)}")
    require(not windows.before and not windows.after, "pooling: its windows have no padding")


def _pooled(function: str, windows: Windows, x: Floats) -> Floats:
    cut = windows.cut(x, 0.0)
    found = cut.max(axis=-2) if function == MAXIMUM else cut.mean(axis=-2)
    pooled: Floats = found.reshape(*found.shape[:-2], windows.count * windows.channels)
    return pooled


class Attended:
    """Attention over `frames` frames, whose scores `dense` gives."""

    dense: DenseLayer | FloatDense
    frames: int

    @property
    def inputs(self) -> int:
        """Values of the sequence that it takes."""
        return self.frames * self.outputs

    @property
    def outputs(self) -> int:
        """Channels."""
        return self.dense.inputs

    @property
    def windows(self) -> Windows:
        """Its frames, each one a window."""
        return Windows(self.frames, self.outputs, 1)

    def require_shapes(self) -> None:
        """Raise SerqError unless there is one score a frame, and not too many frames."""
        require(self.dense.outputs == 1, f"attention: a frame has one score, not {self.dense.outputs}")
        fits = type(self.frames) is int and 1 <= self.frames <= MAX_ATTENDED
        require(fits, f"attention: frames must be 1 to {MAX_ATTENDED}, not {self.frames}; pool before it")
        require(self.inputs <= MAX_SEQUENCE, f"attention: {self.inputs} values are more than {MAX_SEQUENCE}")


@dataclass(frozen=True)
class AttentionLayer(Attended, OfDense):
    """Attention in integers.

    dense: the score of a frame; scale: brings it to Q12 of base 2, so that log2(e) is in it; zero: of the
    input's grid, for reading, not for computing. Raises SerqError when shapes do not fit or a bound fails.
    """

    kind: ClassVar[str] = "attention"

    dense: DenseLayer
    scale: Rescale
    frames: int
    zero: int

    def __post_init__(self) -> None:
        require(self.dense.gives_scores, "attention: scores are not requantized")
        self.require_shapes()
        zero = type(self.zero) is int and 0 <= self.zero <= ACTIVATION_MAX
        require(zero, f"attention: zero must be 0 to {ACTIVATION_MAX}")
        self.scale.require_room(self.dense.accumulator_bound)

    @property
    def repeats(self) -> int:
        """Once for each frame."""
        return self.frames

    @property
    def sums(self) -> int:
        """A score for each frame, and a kernel's whole group for the last one."""
        return self.frames - 1 + GROUP

    @property
    def work(self) -> int:
        """Bytes of a frame."""
        return self.outputs

    @property
    def parameters(self) -> int:
        """Weights: the same score more for all frames changes nothing."""
        return self.dense.u.size

    @property
    def output_grid(self) -> Grid:
        """What its outputs stand for: the same as its inputs."""
        return Grid(self.dense.input_scale, self.zero)

    def header(self) -> dict[str, Any]:
        """Return the values for the model file's JSON header."""
        own = {"frames": self.frames, "zero": self.zero, "scale": self.scale.to_json()}
        return self.dense.header() | own

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> AttentionLayer:
        """Make the layer of `header()` and `tensors()` again. Raises SerqError if a bound fails."""
        dense, scale = DenseLayer.from_parts(header, tensors), Rescale.from_json(header["scale"])
        return cls(dense, scale, header["frames"], header["zero"])

    def stages(self) -> tuple[LayerStage, ...]:
        """Return the frames' scores, an event each, their weights, and the outputs."""
        score = LayerStage("accumulator", "int32", self.frames)
        return score, LayerStage("weight", "int32"), LayerStage("output", "uint8")

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute scores and weights [..., frames] and outputs [..., channels] from activations."""

        def of_some(some: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
            rows = some.reshape(-1, self.frames, self.outputs)
            scores = self.dense.accumulate(rows)[..., 0]
            weights = attention_weights(self.scale.run(scores))
            return scores, weights, attended(rows, weights)

        return clip_by_clip(activations, of_some)

    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64; activations are saturated as they are read."""
        saturated = np.clip(activations, 0, ACTIVATION_MAX)
        _, pooled = self.dequantized(0).forward(self.dense.input_scale * saturated)
        return pooled / self.dense.input_scale

    def dequantized(self, zero: int) -> FloatAttention:
        """Make the float layer whose weights are what these integers stand for."""
        return FloatAttention(self.dense.dequantized(zero), self.frames)

    @property
    def memory(self) -> Memory:
        """The sequence, what it gives, the scores, and a frame."""
        return sequence_memory(self, table=True)

    def code(self, operands: Operands, parts: tuple[Part, ...]) -> CPart:
        """Write a loop over the frames: the score of each; then their weights, and the mean by these."""
        sums, at, channels = operands.accumulators, f"frame{operands.number}", self.outputs
        frame = (operands.input, self.frames, channels, 1, 1, 1, 0, at, 0, operands.work)
        dense = self.dense.code(replace(operands, input="window", accumulators=f"{sums} + {at}"), parts)
        loop = (Call("serq_cut_window", frame, result="uint8_t *window"), *dense.steps)
        factor = self.scale.multiplier, self.scale.left, self.scale.right
        steps = (
            Loop(at, self.frames, loop),
            Call("serq_rescale", (sums, self.frames, *factor)),
            Call("serq_attention_weights", (sums, self.frames)),
            Trace(operands.stage("weight"), sums, self.frames, "int32_t"),
            Call("serq_time_attention", (operands.input, sums, self.frames, channels, operands.output)),
            Trace(operands.stage("output"), operands.output, channels, "uint8_t"),
        )
        headers = ("serq_conv1d.h", "serq_functions.h", "serq_pooling.h", *dense.headers)
        return CPart(steps, dense.arrays, headers, dense.sources)

    def cost_stages(self, number: int, parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return the cost of all frames as one."""
        frames, channels = self.frames, self.outputs
        (score,) = self.dense.cost_stages(number, parts)
        copied = frames - len(self.windows.in_place)
        further = (
            ("cut window", (copied * channels, copied, frames)),
            (score.cost, times(score.terms, frames)),
            ("rescale", (frames, 1)),
            ("attention weights", (frames, 1)),
        )
        rest = "serq_rescale", "serq_attention_weights", "serq_time_attention"
        kernels = " + ".join(part.kernel for part in parts)
        return (
            CostStage(
                "decision",
                f"layer {number}: attention on {frames}x{channels}, {width_label(self.width)}, {kernels}",
                "time attention",
                (frames * channels, channels, frames, 1),
                tuple((kernel, times(terms, frames)) for kernel, terms in score.kernels),
                (*("serq_cut_window", *score.calls) * frames, *rest),
                further,
            ),
        )


@dataclass(frozen=True, eq=False)
class FloatAttention(Attended, FloatLayer):
    """The mean of all frames by the softmax of their scores. Raises SerqError as the integer layer does."""

    kind: ClassVar[str] = "attention"

    dense: FloatDense
    frames: int

    def __post_init__(self) -> None:
        self.require_shapes()

    @classmethod
    def of(cls, kernel: Floats, frames: int) -> FloatAttention:
        """Make the layer of the weights [channels, 1] of a frame's score."""
        return cls(FloatDense(kernel, np.zeros(1), relu=False), frames)

    @property
    def repeated(self) -> tuple[int, int, int]:
        """Inputs and outputs of the products, and how often they are computed."""
        return self.outputs, 1, self.frames

    @property
    def parameters(self) -> int:
        """Weights."""
        return self.dense.kernel.size

    @property
    def weights(self) -> Floats:
        """The kernel."""
        return self.dense.kernel

    def tensors(self) -> dict[str, Floats]:
        """Return the kernel and the number of frames."""
        return {"kernel": self.dense.kernel, "frames": np.array([self.frames], np.float64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], *, last: bool) -> FloatAttention:
        """Make the layer of `tensors()` again. Raises SerqError if it is the last one."""
        require(not last, "attention cannot be the last layer; train again")
        return cls.of(tensors["kernel"], int(tensors["frames"][0]))

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute scores [n, frames] and outputs [n, channels]."""

        def both(some: Floats) -> tuple[Floats, Floats]:
            rows = some.reshape(-1, self.frames, self.outputs)
            scores = self.dense.forward(rows)[0][..., 0]
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            shares = weights / weights.sum(axis=-1, keepdims=True)
            return scores, (shares[..., None] * rows).sum(axis=-2)

        scores, outputs = clip_by_clip(x, both)
        return scores, outputs

    def lower(
        self, width: Width, activations: NDArray[np.int64], grid: Grid, target: Floats
    ) -> AttentionLayer:
        """Make the integer layer of a width, its scores fitted as those of a dense layer on frames."""
        rows = activations.reshape(-1, self.outputs)
        step = -(-len(rows) // _FITTED)
        dense = self.dense.lower(width, rows[::step], grid, target.reshape(-1, 1)[::step])
        return self._of(dense, grid)

    def _of(self, dense: DenseLayer, grid: Grid) -> AttentionLayer:
        return AttentionLayer(dense, Rescale.by(Q12 * math.log2(math.e) * dense.unit), self.frames, grid.zero)

    def start(self, lowered: AttentionLayer, zero: int) -> Tuned:  # type: ignore[override]
        """Return the kernel and its scale; the bias of all scores alike stays."""
        return self.dense.start(lowered.dense, zero)

    def tuned(self, values: Tuned, width: Width, grid: Grid) -> AttentionLayer:
        """Write a fine-tuned layer down as integers."""
        return self._of(self.dense.tuned(values, width, grid), grid)


def attention_weights(scores: NDArray[np.int64]) -> NDArray[np.int64]:
    """Compute the weights in Q15 of scores [..., frames] in Q12: 2^score, over the largest one."""
    return exp2_minus(scores.max(axis=-1, keepdims=True) - scores)


def attended(rows: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Compute the mean [..., channels] of rows [..., frames, channels] by weights [..., frames]."""
    sums, all_weights = (weights[..., None] * rows).sum(axis=-2), weights.sum(axis=-1, keepdims=True)
    mean: NDArray[np.int64] = (sums + (all_weights >> 1)) // all_weights
    return mean


LAYERS.register(AttentionLayer.kind, AttentionLayer)
FLOAT_LAYERS.register(FloatAttention.kind, FloatAttention)
LAYERS.register(PoolingLayer.kind, PoolingLayer)
FLOAT_LAYERS.register(FloatPooling.kind, FloatPooling)
