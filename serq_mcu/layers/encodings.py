"""Encodings: which values a layer's weights may have (SPEC.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serq_mcu.errors import SerqError

TERNARY = "ternary"
Width = int | str  # what a layer is asked to have: 1 to 8 bits a weight, or TERNARY
NO_WIDTH = 0  # of a layer without weights


class Encoding(NamedTuple):
    """`levels` evenly spaced weights around zero, stored as fields of `bits` bits that are below `levels`."""

    bits: int
    levels: int


ENCODINGS = {f"b{bits}": Encoding(bits, 2**bits) for bits in range(1, 9)} | {TERNARY: Encoding(2, 3)}


def encoding_of(width: Width) -> str:
    """Name the encoding for a width.

    Raises SerqError if there is none.
    """
    name = width if width == TERNARY else f"b{width}"
    if name not in ENCODINGS:
        raise SerqError(f"{width} bits per weight are not supported; choose 1 to 8, or {TERNARY}")
    return str(name)


def joined_width(widths: Sequence[Width]) -> Width:
    """Return the width of a layer whose matrices have these: one where they are alike, else as in `8+2`."""
    different = dict.fromkeys(widths)
    return "+".join(map(str, widths)) if len(different) > 1 else next(iter(different), NO_WIDTH)


def width_label(width: Width) -> str:
    """Write a width for people: `1 bit`, `4 bits`, `ternary`."""
    return TERNARY if width == TERNARY else f"{width} bit{'' if width == 1 else 's'}"
