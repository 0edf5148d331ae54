"""The depthwise convolution over time: each channel has a filter of its own (SPEC.md section 3).

With a convolution of one tap behind it, it is a depthwise-separable convolution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CArray, CPart, Loop, Trace
from serq_mcu.layers.base import (
    ACTIVATION_MAX,
    FLOAT_LAYERS,
    LAYERS,
    Floats,
    Grid,
    Memory,
    Operands,
    Tuned,
    require,
)
from serq_mcu.layers.conv1d import FITTED, Conv1DLayer, FloatConv1D
from serq_mcu.layers.dense import fitted_layer, signed
from serq_mcu.layers.encodings import Width, encoding_of, width_label
from serq_mcu.layers.kernels import Core, CostStage, Storage
from serq_mcu.layers.packing import Part
from serq_mcu.layers.quantizer import quantize
from serq_mcu.layers.windows import clip_by_clip, sequence_memory


@dataclass(frozen=True)
class DepthwiseLayer(Conv1DLayer):
    """A depthwise convolution in integers.

    dense: the filters, fields [channels, taps], with biases and requantization. Raises SerqError when shapes
    do not fit or a bound fails.
    """

    kind: ClassVar[str] = "depthwise"

    def require_filters(self) -> None:
        """Raise SerqError unless there is a filter of as many taps for each channel."""
        shape = self.windows.channels, self.windows.taps
        require(self.dense.u.shape == shape, f"depthwise: filters are {self.dense.u.shape}, not {shape}")

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute accumulators and outputs [..., count * channels] from activations [..., inputs]."""

        def of_some(some: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
            accumulators = self._sums(some) + self.dense.bias.astype(np.int64)
            return accumulators, self.dense.requantize(accumulators)

        return clip_by_clip(activations, of_some)

    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64; activations are saturated as they are read."""
        assert self.dense.multiplier is not None and self.dense.shift is not None
        scale = self.dense.multiplier / 2.0**self.dense.shift

        def of_some(some: Floats) -> tuple[Floats]:
            sums: Floats = self._sums(np.clip(some, 0, ACTIVATION_MAX)) + self.dense.bias.astype(np.float64)
            return (sums * scale,)

        return clip_by_clip(activations, of_some)[0]

    def _sums(self, some: NDArray[Any]) -> NDArray[Any]:
        cut = self.windows.cut(some, self.padding)
        sums: NDArray[Any] = (cut * self.dense.q.T).sum(axis=-2)
        return sums

    def dequantized(self, zero: int) -> FloatDepthwise:
        """Make the float layer whose weights and biases are what these integers stand for."""
        dense = self.dense.dequantized(zero)
        return FloatDepthwise(dense.kernel, dense.bias, self.windows)

    def choose(self, _core: Core, _allowed: frozenset[str], _storage: Storage) -> tuple[Part, ...] | None:
        """Choose no kernel: its own function reads fields as they follow each other."""
        return ()

    def kernel_cost(self, _core: Core, _parts: tuple[Part, ...]) -> float:
        """Return 0: no kernel is chosen."""
        return 0.0

    def packed_bytes(self, _parts: tuple[Part, ...]) -> int:
        """Return the bytes of the fields, one after another."""
        return self.code_fields().nbytes

    def constant_bytes(self, _parts: tuple[Part, ...]) -> int:
        """Return the bytes of the biases and the constants of the requantization."""
        return self.dense.bias.nbytes + 4

    @property
    def stored_bytes(self) -> int:
        """All bytes that a device keeps for it."""
        return self.packed_bytes(()) + self.constant_bytes(())

    @property
    def memory(self) -> Memory:
        """Both sequences, a window, and an accumulator for each channel."""
        return sequence_memory(self, table=False)

    def code_fields(self) -> NDArray[np.uint8]:
        """Pack the fields by taps, then channels, each from its lowest bit on; a byte follows the last."""
        bits = self.dense.u.T.ravel()[:, None] >> np.arange(self.bits) & 1
        return np.append(np.packbits(bits.ravel().astype(np.bool_), bitorder="little"), np.uint8(0))

    def code(self, operands: Operands, _parts: tuple[Part, ...]) -> CPart:
        """Write a loop over the output's frames: its window, the sums of all channels, requantization."""
        number, windows, channels = operands.number, self.windows, self.windows.channels
        weights, bias = f"serq_weights{number}", f"serq_bias{number}"
        sums = operands.accumulators
        of = (weights, self.bits, self.dense.levels - 1, bias, "window", windows.taps, channels, sums)
        requantize = (sums, channels, self.dense.multiplier or 0, self.dense.shift or 0, "row")
        steps = (
            *self.cut_steps(operands),
            Call("serq_depthwise", of),
            Trace(operands.stage("accumulator"), sums, channels, "int32_t"),
            Call("serq_requantize", requantize),
            Trace(operands.stage("output"), "row", channels, "uint8_t"),
        )
        title = f"Layer {number}: {channels} channels, {windows.taps} taps, {self.bits} bits"
        arrays = CArray(bias, self.dense.bias, title), CArray(weights, self.code_fields(), "fields by taps")
        loop = Loop(self.counter(operands), windows.count, steps)
        return CPart((loop,), arrays, ("serq_conv1d.h", "serq_depthwise.h"))

    def cost_stages(self, number: int, _parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return the cost of all windows as one."""
        windows, count = self.windows, self.windows.count
        name = f"layer {number}: depthwise {windows.taps}x{windows.channels} on {count} frames"
        sums = ("depthwise", (count * windows.size, count * windows.channels, count))
        rest = self.dense.cost_stages(number, ())[-1]
        requantize = (rest.cost, (count * windows.channels, count))
        calls = ("serq_cut_window", "serq_depthwise", "serq_requantize") * count
        title = f"{name}, {width_label(self.width)}"
        return (CostStage("decision", title, *self.cut_cost(), (), calls, (sums, requantize)),)


@dataclass(frozen=True, eq=False)
class FloatDepthwise(FloatConv1D):
    """A depthwise convolution over time and a ReLU: kernel [taps, channels], bias [channels]."""

    kind: ClassVar[str] = "depthwise"

    _fields: dict[Width, tuple[NDArray[np.uint8], float]] = field(default_factory=dict, repr=False)

    def require_filters(self) -> None:
        """Raise SerqError unless there is a filter of as many taps for each channel."""
        shape = self.windows.taps, self.windows.channels
        require(self.kernel.shape == shape, f"a depthwise kernel is {self.kernel.shape}, not {shape}")

    @property
    def repeated(self) -> tuple[int, int, int]:
        """Inputs and outputs of the products, and how often they are computed."""
        return self.windows.taps, 1, self.windows.count * self.windows.channels

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute pre-activations and outputs [n, count * channels]."""

        def both(some: Floats) -> tuple[Floats, Floats]:
            found = (self.windows.cut(some, 0.0) * self.kernel).sum(axis=-2) + self.bias
            return found, np.maximum(found, 0)

        target, outputs = clip_by_clip(x, both)
        return target, outputs

    def lower(
        self, width: Width, activations: NDArray[np.int64], grid: Grid, target: Floats
    ) -> DepthwiseLayer:
        """Make the integer layer of a width, fitted to windows as a dense layer is to clips."""
        if width not in self._fields:
            self._fields[width] = quantize(self.kernel.T, width)
        u, weight_scale = self._fields[width]
        step = -(-len(activations) * self.windows.count // FITTED)
        some = self.windows.cut(activations[::step] - grid.zero, 0)
        sums = (some * signed(u, encoding_of(width)).T).sum(axis=-2).astype(np.float64)
        channels = self.windows.channels
        targets = target[::step].reshape(-1, channels)
        dense = fitted_layer(u, width, weight_scale, sums.reshape(-1, channels), grid, targets, relu=True)
        return DepthwiseLayer(dense, self.windows, grid.zero)

    def tuned(self, values: Tuned, width: Width, grid: Grid) -> DepthwiseLayer:
        """Write a fine-tuned layer down as integers."""
        return DepthwiseLayer(self.dense.tuned(values, width, grid), self.windows, grid.zero)


LAYERS.register(DepthwiseLayer.kind, DepthwiseLayer)
FLOAT_LAYERS.register(FloatDepthwise.kind, FloatDepthwise)
