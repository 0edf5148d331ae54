"""What each width of a layer costs a board, for allocations under a budget of instructions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.kernels import choose_layer, core_of
from serq_mcu.quantized_model.types import DenseLayer


def width_costs(shape: Sequence[int], mcu: Mcu) -> NDArray[np.float64]:
    """Instructions [layers, 8] of each dense layer at 1 to 8 bits on a core, by its cheapest kernels as
    they were counted.

    shape: features, neurons of each hidden layer, classes.
    """
    core = core_of(mcu)
    costs = np.empty((len(shape) - 1, 8))
    for index, (inputs, outputs) in enumerate(itertools.pairwise(shape)):
        for bits in range(1, 9):
            weights, biases = np.zeros((outputs, inputs), dtype=np.uint8), np.zeros(outputs, dtype=np.int32)
            layer = DenseLayer(weights, biases, f"b{bits}", None, None, weight_scale=1.0, input_scale=1.0)
            parts = choose_layer(layer, core, frozenset(core.kernels))
            assert parts is not None, "every width has kernels on every core"
            costs[index, bits - 1] = core.layer_cost(layer, parts)
    return costs
