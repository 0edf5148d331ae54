"""What a network takes in a device's flash."""

from __future__ import annotations

import functools

from serq_mcu.boards import Board, load_board
from serq_mcu.codegen.kernels import choose, packed_bytes
from serq_mcu.codegen.packing import BIAS_BYTES, REQUANTIZATION_BYTES
from serq_mcu.quantized_model.types import QuantizedModel

BOARD = "nucleo_f446re"  # a Cortex-M4


def stored_bytes(model: QuantizedModel) -> int:
    """Packed weights, biases and requantization of a model on a Cortex-M4, in bytes."""
    parts = choose(model, _board().mcu)
    packed = sum(packed_bytes(layer, way) for layer, way in zip(model.layers, parts, strict=True))
    return packed + sum(layer.outputs * BIAS_BYTES + REQUANTIZATION_BYTES for layer in model.layers)


@functools.cache
def _board() -> Board:
    return load_board(BOARD)
