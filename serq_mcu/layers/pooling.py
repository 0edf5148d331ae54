"""Pooling over time: the mean or the maximum of each channel in windows of a sequence (SPEC.md section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CPart, Trace
from serq_mcu.layers.base import (
    ACTIVATION_MAX,
    FLOAT_LAYERS,
    LAYERS,
    FloatLayer,
    Floats,
    Grid,
    Layer,
    LayerStage,
    Memory,
    Operands,
    require,
)
from serq_mcu.layers.encodings import Width
from serq_mcu.layers.kernels import Core, CostStage, Storage
from serq_mcu.layers.packing import Part, whole_groups
from serq_mcu.layers.windows import OverWindows, Windows

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


def require_pooling(function: str, windows: Windows) -> None:
    """Raise SerqError unless there is such a pooling."""
    require(function in FUNCTIONS, f"pooling by {function!r} is not one of {', '.join(FUNCTIONS)}")
    require(not windows.before and not windows.after, "pooling: its windows have no padding")


def _pooled(function: str, windows: Windows, x: Floats) -> Floats:
    cut = windows.cut(x, 0.0)
    found = cut.max(axis=-2) if function == MAXIMUM else cut.mean(axis=-2)
    pooled: Floats = found.reshape(*found.shape[:-2], windows.count * windows.channels)
    return pooled


LAYERS.register(PoolingLayer.kind, PoolingLayer)
FLOAT_LAYERS.register(FloatPooling.kind, FloatPooling)
