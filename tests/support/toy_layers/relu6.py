"""A dense layer whose activation stops at 6: the integers are a dense layer's, limited to `ceiling`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CPart, Trace
from serq_mcu.layers import DenseLayer, FloatDense, Grid
from serq_mcu.layers.base import ACTIVATION_MAX, LayerStage, Operands, require
from serq_mcu.layers.encodings import Width
from serq_mcu.layers.kernels import CostStage
from serq_mcu.layers.packing import Part

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Relu6Layer(DenseLayer):
    """ceiling: the largest output, at most 127."""

    kind: ClassVar[str] = "dense_relu6"
    ceiling: int = ACTIVATION_MAX

    def __post_init__(self) -> None:
        super().__post_init__()
        require(type(self.ceiling) is int and 1 <= self.ceiling <= ACTIVATION_MAX, "ceiling must be 1 to 127")
        require(not self.gives_scores, "a layer with ReLU6 cannot be the last")

    def header(self) -> dict[str, Any]:
        return super().header() | {"ceiling": self.ceiling}

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Relu6Layer:
        names = ("encoding", "multiplier", "shift", "weight_scale", "input_scale", "ceiling")
        return cls(tensors["u"], tensors["bias"], **{name: header[name] for name in names})

    def stages(self) -> tuple[LayerStage, ...]:
        return (*super().stages(), LayerStage("limited", "uint8"))

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        found = super().run(activations)
        return (*found, np.minimum(found[-1], self.ceiling))

    def dequantized(self, zero: int) -> FloatRelu6:
        dense = super().dequantized(zero)
        return FloatRelu6(dense.kernel, dense.bias)

    def code(self, operands: Operands, parts: tuple[Part, ...]) -> CPart:
        dense = super().code(operands, parts)
        limit = Call("toy_limit", (operands.output, self.outputs, self.ceiling))
        trace = Trace(operands.stage("limited"), operands.output, self.outputs, "uint8_t")
        sources = (_HERE / "toy_limit.c", _HERE / "toy_limit.h")
        headers = ("toy_limit.h", *dense.headers)
        return CPart((*dense.steps, limit, trace), dense.arrays, headers, (*sources, *dense.sources))

    def cost_stages(self, number: int, parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        limit = CostStage("decision", f"layer {number}: ReLU6", "toy limit", (1,), calls=("toy_limit",))
        return (*super().cost_stages(number, parts), limit)


class FloatRelu6(FloatDense):
    """The float layer: ReLU6 follows the dense part."""

    kind: ClassVar[str] = "dense_relu6"

    def forward(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        target, outputs = super().forward(x)
        return target, np.minimum(outputs, 6)

    def lower(
        self, width: Width, activations: NDArray[np.int64], grid: Grid, target: NDArray[np.float64]
    ) -> Relu6Layer:
        dense = super().lower(width, activations, grid, np.minimum(target, 6))
        ceiling = min(ACTIVATION_MAX, max(1, round(6 / dense.output_grid.scale)))
        names = ("u", "bias", "encoding", "multiplier", "shift", "weight_scale", "input_scale")
        return Relu6Layer(**{name: getattr(dense, name) for name in names}, ceiling=ceiling)
