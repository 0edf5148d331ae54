"""The long short-term memory, as Keras has it (SPEC.md section 3).

Its gates, in the order of the matrices' rows: i, how much of the new goes into the cell, f, how much of the
cell is kept, n, the new itself, and o, how much of the cell the state shows.
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
    kind: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    memories: ClassVar[int] = 2
    biases: ClassVar[int] = 1


@dataclass(frozen=True)
class LstmLayer(_Shape, RecurrentLayer):
    """An LSTM in integers: its state is what it shows, then the cells."""

    @staticmethod
    def advance(x: NDArray[np.int64], h: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the next state in Q15 from sums in Q12."""
        i, f, n, o = np.split(x + h, 4, axis=-1)
        _, cell = np.split(state, 2, axis=-1)
        kept = rshift_round(4 * cell * sigmoid(f) >> 16, 1)
        cell = kept + rshift_round(sigmoid(i) * tanh(n), 15)
        shown = rshift_round(sigmoid(o) * tanh(rshift_round(cell, 3)), 15)
        return np.concatenate([shown, cell], axis=-1)

    def dequantized(self, zero: int) -> FloatLstm:
        """Make the float layer whose weights and biases are what these integers stand for."""
        return FloatLstm(*self.dequantized_matrices(zero), self.frames, self.sequence)


@dataclass(frozen=True, eq=False)
class FloatLstm(_Shape, FloatRecurrent):
    """An LSTM."""

    integers: ClassVar[type[RecurrentLayer]] = LstmLayer

    @staticmethod
    def advance(x: Floats, h: Floats, state: Floats) -> Floats:
        """Compute the next state."""
        i, f, n, o = np.split(x + h, 4, axis=-1)
        _, cell = np.split(state, 2, axis=-1)
        cell = float_sigmoid(f) * cell + float_sigmoid(i) * np.tanh(n)
        return np.concatenate([float_sigmoid(o) * np.tanh(cell), cell], axis=-1)


LAYERS.register(LstmLayer.kind, LstmLayer)
FLOAT_LAYERS.register(FloatLstm.kind, FloatLstm)
