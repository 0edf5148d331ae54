"""What each width of a layer costs a board, for allocations under a budget of time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serq_mcu.boards.board import Board
from serq_mcu.layers.kernels import cheapest_parts, core_of


def width_costs(products: Sequence[tuple[int, int, int]], board: Board) -> NDArray[np.float64]:
    """Compute the time [layers, 8] of each layer with weights at 1 to 8 bits on a board, in its core's unit.

    By its fastest kernels, as they were counted, and with the time in which slow flash brings their weights.
    products: of each layer, or each matrix of one, inputs, outputs, and how often they are computed for an
    answer (`Matrix`).
    """
    core = core_of(board.mcu.features, board.memory.flash_bytes_per_cycle)
    costs = np.empty((len(products), 8))
    for index, (inputs, outputs, times) in enumerate(products):
        for bits in range(1, 9):
            parts = cheapest_parts(inputs, outputs, bits, core, core.kernels)
            assert parts is not None, "every width has kernels on every core"
            costs[index, bits - 1] = times * core.cost(parts, inputs, outputs)
    return costs
