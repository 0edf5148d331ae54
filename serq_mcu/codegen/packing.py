"""Layouts: how a layer's fields and the chroma table lie in bytes (SPEC.md section 4). Results never depend on the layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.quantized_model.types import DenseLayer, QuantizedModel

GROUP = 8
TILE_GROUPS = 4
REQUANTIZATION_BYTES = 8  # multiplier and shift of a layer, as stored
BIAS_BYTES = 4
CHROMA_WIDTH = 4  # pitch classes that a run's bins touch


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


@dataclass(frozen=True, eq=False)
class ChromaRuns:
    """A chroma table without its zeros: runs uint16 [runs, 3] of first bin, bins and first class; weights int16 [bins of all runs, 4]."""

    runs: NDArray[np.uint16]
    weights: NDArray[np.int16]


def chroma_runs(table: NDArray[np.int16]) -> ChromaRuns:
    """Runs of bins that touch the same 4 classes (which may go past the last to the first), for a table [classes, bins].

    A bin that touches more belongs to several runs.
    """
    windows = (np.arange(len(table))[:, None] + np.arange(CHROMA_WIDTH)) % len(table)  # [first class, 4]
    used = table != 0
    holds = used[windows].sum(axis=1) == used.sum(axis=0)  # [first class, bins]: the window holds all that the bin touches
    runs: list[tuple[int, int, int]] = []
    start = 0
    while start < table.shape[1]:
        wide = not holds[:, start].any()
        if wide:  # as many windows as cover all classes, over all such bins in a row
            end = start + _leading(~holds[:, start:].any(axis=0))
            firsts = range(0, len(table), CHROMA_WIDTH)
        else:
            reach = [_leading(row[start:]) for row in holds]
            end = start + max(reach)
            firsts = range(int(np.argmax(reach)), int(np.argmax(reach)) + 1)
        runs += [(start, end - start, first) for first in firsts if used[windows[first], start:end].any()]
        start = end
    weights = [table[windows[first], bin_] for begin, count, first in runs for bin_ in range(begin, begin + count)]
    return ChromaRuns(np.array(runs, dtype=np.uint16).reshape(-1, 3), np.array(weights, dtype=np.int16).reshape(-1, CHROMA_WIDTH))


def _leading(condition: NDArray[np.bool_]) -> int:
    """How many elements hold before the first that does not."""
    return len(condition) if condition.all() else int(np.argmin(condition))


def _planes(u: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Fields [outputs, inputs] to bytes [outputs, bits, groups]."""
    planes = (u[:, None, :] >> np.arange(bits, dtype=np.uint8)[:, None]) & 1
    return np.packbits(planes, axis=2, bitorder="little")
