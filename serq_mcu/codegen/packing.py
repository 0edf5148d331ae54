"""Weight layouts: how a layer's fields lie in bytes (SPEC.md section 4). Results never depend on the layout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serq_mcu.quantized_model.types import DenseLayer, QuantizedModel

GROUP = 8
TILE_GROUPS = 4
REQUANTIZATION_BYTES = 8  # multiplier and shift of a layer, as stored
BIAS_BYTES = 4


def pack_planes8(layer: DenseLayer) -> bytes:
    """The layer's fields in layout planes8: order tile, output, bit plane, group; bit i of a byte is input 8*group + i."""
    planes = _planes(layer.u, layer.bits)
    tiles = [planes[:, :, start : start + TILE_GROUPS] for start in range(0, planes.shape[2], TILE_GROUPS)]
    return b"".join(np.ascontiguousarray(tile).tobytes() for tile in tiles)


def unpack_planes8(packed: bytes, inputs: int, outputs: int, bits: int) -> NDArray[np.uint8]:
    """Fields [outputs, inputs] of `pack_planes8`'s bytes. Raises ValueError if their number is wrong."""
    groups = -(-inputs // GROUP)
    flat = np.frombuffer(packed, np.uint8)
    if flat.size != outputs * bits * groups:
        raise ValueError(f"{flat.size} bytes do not hold {outputs}x{inputs} fields of {bits} bits")
    tiles, offset = [], 0
    for start in range(0, groups, TILE_GROUPS):
        width = min(TILE_GROUPS, groups - start)
        size = outputs * bits * width
        tiles.append(flat[offset : offset + size].reshape(outputs, bits, width))
        offset += size
    planes = np.unpackbits(np.concatenate(tiles, axis=2), axis=2, bitorder="little")[:, :, :inputs]
    u: NDArray[np.uint8] = np.bitwise_or.reduce(planes << np.arange(bits, dtype=np.uint8)[:, None], axis=1)
    return u


def stored_bytes(model: QuantizedModel) -> int:
    """All bytes the device keeps for the network: packed weights, biases, requantization constants."""
    return sum(len(pack_planes8(layer)) + layer.outputs * BIAS_BYTES + REQUANTIZATION_BYTES for layer in model.layers)


def _planes(u: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Fields [outputs, inputs] to bytes [outputs, bits, groups]."""
    planes = (u[:, None, :] >> np.arange(bits, dtype=np.uint8)[:, None]) & 1
    return np.packbits(planes, axis=2, bitorder="little")
