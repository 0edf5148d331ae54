"""The gated recurrent unit, as Keras has it with reset_after (SPEC.md section 3).

Its gates, in the order of the matrices' rows: z, how much of the state is kept, r, how much of it the new
one hears, and the new one itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.arithmetic import rshift_round
from serq_mcu.layers.base import FLOAT_LAYERS, LAYERS, Floats
from serq_mcu.layers.functions import float_sigmoid, sigmoid, tanh
from serq_mcu.layers.recurrent import FloatRecurrent, RecurrentLayer


class _Shape:
    kind: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    memories: ClassVar[int] = 1
    biases: ClassVar[int] = 2


@dataclass(frozen=True)
class GruLayer(_Shape, RecurrentLayer):
    """A GRU in integers."""

    @staticmethod
    def advance(x: NDArray[np.int64], h: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the next state in Q15 from sums in Q12."""
        (xz, xr, xn), (hz, hr, hn) = np.split(x, 3, axis=-1), np.split(h, 3, axis=-1)
        new = tanh(xn + (2 * hn * sigmoid(xr + hr) >> 16))
        return new + rshift_round(sigmoid(xz + hz) * (state - new), 15)

    def dequantized(self, zero: int) -> FloatGru:
        """Make the float layer whose weights and biases are what these integers stand for."""
        return FloatGru(*self.dequantized_matrices(zero), self.frames, self.sequence)


@dataclass(frozen=True, eq=False)
class FloatGru(_Shape, FloatRecurrent):
    """A GRU."""

    integers: ClassVar[type[RecurrentLayer]] = GruLayer

    @staticmethod
    def advance(x: Floats, h: Floats, state: Floats) -> Floats:
        """Compute the next state."""
        (xz, xr, xn), (hz, hr, hn) = np.split(x, 3, axis=-1), np.split(h, 3, axis=-1)
        new = np.tanh(xn + float_sigmoid(xr + hr) * hn)
        return new + float_sigmoid(xz + hz) * (state - new)


LAYERS.register(GruLayer.kind, GruLayer)
FLOAT_LAYERS.register(FloatGru.kind, FloatGru)
