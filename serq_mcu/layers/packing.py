"""Layouts: how a layer's fields are laid out in bytes (SPEC.md section 4).

Results never depend on the layout.

A layout is one formula: the place of bit k of the field of output o and input i. Packing scatters bits by it,
unpacking gathers them. An extension adds a layout with `serq_mcu.extension.register_layout`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.registry import Registry

GROUP = 8  # all layouts: inputs are padded with zero activations to a multiple
TILE_GROUPS = 4
BLOCK = 512  # most inputs that a lane sums
LANES = 16  # inputs of a vector of bytes

Index = NDArray[np.int64]
Place = Callable[[Index, Index, Index, "Shape"], "tuple[Index, Any]"]


def whole_groups(count: int) -> int:
    """Round up to whole groups."""
    return -(-count // GROUP) * GROUP


@dataclass(frozen=True)
class Shape:
    """What is packed: `outputs` x `inputs` fields of `bits` bits."""

    inputs: int
    outputs: int
    bits: int

    @property
    def padded_inputs(self) -> int:
        """Inputs, rounded up to whole groups."""
        return whole_groups(self.inputs)


@dataclass(frozen=True)
class Layout:
    """A way to lay fields of some widths: the array's C type, rows packed together, and where each bit is.

    place(o, i, k, shape) gives the position of the bit in the array and whether it is stored inverted.
    zero_bit: what the kernel adds for each bit that is 0, which the layer's bias takes off again; such a
    kernel leaves the sum of activations to the layer's start. tile_groups: groups of inputs that its kernel
    takes at a time. headers, sources: C of an extension, beside the runtime's.
    """

    name: str
    widths: tuple[int, ...]
    word_bytes: int
    rows: int
    last_first: int  # a part may begin at this bit of the fields, or at a lower one
    place: Place
    zero_bit: int = 0
    tile_groups: int = TILE_GROUPS
    headers: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()

    def kernel(self, bits: int) -> str:
        """Return the name of the C function after `serq_dense_`."""
        return self.name if len(self.widths) == 1 else f"{self.name}_{bits}"

    def packed_bytes(self, shape: Shape) -> int:
        """Return the size of the array."""
        return -(-shape.outputs // self.rows) * self.rows * shape.padded_inputs * shape.bits // 8

    def pack(self, u: NDArray[np.uint8], bits: int) -> NDArray[Any]:
        """Pack fields [outputs, inputs] below 2^bits into the array that C reads, uint8 or uint32."""
        shape = Shape(u.shape[1], u.shape[0], bits)
        positions, inverted = _places(self, shape)
        flat = np.zeros(8 * self.packed_bytes(shape), np.bool_)
        flat[positions] = (u[:, :, None] >> np.arange(bits) & 1 != 0) ^ inverted
        return np.packbits(flat, bitorder="little").view(f"<u{self.word_bytes}")

    def unpack(self, packed: NDArray[Any], inputs: int, outputs: int, bits: int) -> NDArray[np.uint8]:
        """Unpack the fields [outputs, inputs] of an array of `pack`.

        Raises ValueError if its size is wrong.
        """
        shape = Shape(inputs, outputs, bits)
        flat = np.unpackbits(np.ascontiguousarray(packed).view(np.uint8), bitorder="little")
        if flat.size != 8 * self.packed_bytes(shape):
            raise ValueError(
                f"{flat.size // 8} bytes do not hold {outputs}x{inputs} fields of {bits} bits in layout"
                f" {self.name}"
            )
        positions, inverted = _places(self, shape)
        fields: NDArray[np.uint8] = (
            ((flat[positions] ^ inverted) << np.arange(bits)).sum(axis=2).astype(np.uint8)
        )
        return fields


def _places(layout: Layout, shape: Shape) -> tuple[Index, Any]:
    o, i, k = np.ix_(range(shape.outputs), range(shape.inputs), range(shape.bits))
    return layout.place(o, i, k, shape)


def _planes8(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    group, tiled = i // GROUP, shape.padded_inputs // GROUP // TILE_GROUPS * TILE_GROUPS
    width = np.where(group < tiled, TILE_GROUPS, 1)  # what is left over is in tiles of one group
    first = group - np.where(group < tiled, group % TILE_GROUPS, 0)  # the tile's first group
    byte = (first * shape.outputs + o * width) * shape.bits + (shape.bits - 1 - k) * width + group - first
    return 8 * byte + i % 8, False


def _in_blocks(i: Index, shape: Shape, rows: int) -> tuple[Index, Index, Index]:
    """Return the bits before the block of input i, the input's number in it, the block's number of inputs."""
    start = i // BLOCK * BLOCK
    return (
        start * (-(-shape.outputs // rows) * rows) * shape.bits,
        i - start,
        np.minimum(shape.padded_inputs - start, BLOCK),
    )


def _dsp8(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    before, i, inputs = _in_blocks(i, shape, 4)
    word = o // 4 * inputs + i // 2 * 2 + o % 4 // 2
    return before + 32 * word + 16 * (i % 2) + 8 * (1 - o % 2) + k, (o % 2 == 0) & (k == 7)


def _dsp4(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    before, i, inputs = _in_blocks(i, shape, 8)
    word = o // 8 * inputs + i // 2 * 2 + o % 8 // 4
    return before + 32 * word + 16 * (i % 2) + 4 * (o % 4) + k, (o % 4 == 3) & (k == 3)


def _dsp2(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    before, i, inputs = _in_blocks(i, shape, 8)
    word = o // 8 * (inputs // 2) + i // 2
    return before + 32 * word + (16 * (i % 2) + 14 * (o % 2) + k + o % 8 // 2 * 4) % 32, (o % 2 == 1) & (
        k == 1
    )


def _dsp1(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    word = o // 4 * (shape.padded_inputs // 8) + i // 8
    return 32 * word + 8 * (i % 4) + 7 - 2 * (o % 4) - i % 8 // 4 + k, True


def _mul8(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    before, i, inputs = _in_blocks(i, shape, 4)
    word = o // 4 * inputs + i // 2 * 2 + o % 4 // 2
    return before + 32 * word + 16 * (1 - i % 2) + 8 * (o % 2) + k, False


def _mul4(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    return 32 * (o // 8 * shape.padded_inputs + i) + 4 * (o % 8) + k, False


def _vec(o: Index, i: Index, k: Index, shape: Shape) -> tuple[Index, Any]:
    rows, together = 8 if shape.bits == 1 else 4, 8 // shape.bits  # of a block; of a byte
    vectors, start = rows // together, i // LANES * LANES
    lanes = np.minimum(shape.padded_inputs - start, LANES)
    byte = (o // rows * shape.padded_inputs + start) * vectors + o % rows // together * lanes + i % LANES
    return 8 * byte + shape.bits * (o % together) + k, False


LAYOUTS: Registry[Layout] = Registry("layout")
for _layout in (
    Layout("planes8", (1, 2, 3, 4), 1, 1, 5, _planes8),
    Layout("dsp8", (8,), 4, 4, 0, _dsp8),
    Layout("dsp4", (4,), 4, 8, 0, _dsp4),
    Layout("dsp2", (2,), 4, 8, 6, _dsp2),
    Layout("dsp1", (1,), 4, 4, 7, _dsp1, zero_bit=128),
    Layout("mul8", (8,), 4, 4, 0, _mul8),
    Layout("mul4", (4,), 4, 8, 0, _mul4),
    Layout("vec8", (8,), 4, 4, 0, _vec, tile_groups=LANES // GROUP),
    Layout("vec4", (4,), 4, 4, 4, _vec, tile_groups=LANES // GROUP),
    Layout("vec2", (2,), 4, 4, 6, _vec, tile_groups=LANES // GROUP),
    Layout("vec1", (1,), 4, 8, 7, _vec, tile_groups=LANES // GROUP),
):
    LAYOUTS.register(_layout.name, _layout)


@dataclass(frozen=True)
class Part:
    """Bits `first` to `first + bits - 1` of every field of a layer, in a layout."""

    layout: Layout
    first: int
    bits: int

    @property
    def kernel(self) -> str:
        """The name of the C function after `serq_dense_`."""
        return self.layout.kernel(self.bits)

    def pack(self, u: NDArray[np.uint8]) -> NDArray[Any]:
        """Pack these bits of fields [outputs, inputs]."""
        return self.layout.pack(u >> self.first & (2**self.bits - 1), self.bits)

    def packed_bytes(self, inputs: int, outputs: int) -> int:
        """Return the size of the array for the layer's fields."""
        return self.layout.packed_bytes(Shape(inputs, outputs, self.bits))


@dataclass(frozen=True, eq=False)
class PackedBias:
    """A layer's biases, less the least of them (`base`), in the fewest bytes: uint8, uint16 or uint32.

    Of 24 bits: the low halves of all, then their high bytes, two a halfword.
    """

    base: int
    bits: int
    array: NDArray[Any]


def pack_bias(bias: NDArray[np.int32]) -> PackedBias:
    """Pack biases for serq_dense_start8() to serq_dense_start32()."""
    base = int(bias.min())
    above = bias.astype(np.int64) - base
    bits = next(bits for bits in (8, 16, 24, 32) if int(above.max()) < 2**bits)
    if bits == 24:
        high = np.zeros(-(-above.size // 2) * 2, np.uint8)
        high[: above.size] = above >> 16
        return PackedBias(base, bits, np.concatenate([(above & 0xFFFF).astype("<u2"), high.view("<u2")]))
    return PackedBias(base, bits, above.astype(f"<u{bits // 8}"))
