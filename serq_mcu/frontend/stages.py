"""Stages: the names by which Python speaks of intermediate integers (SPEC.md section 7), and, on the wire,
their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

# Of every specification, and of those with a block that reads mel bands; the blocks' own stages follow.
SPECTRAL_STAGES = ("window", "spectrum", "power")
MEL_STAGES = ("mel", "log")

_NUMBERS = {
    name: number for number, name in enumerate((*SPECTRAL_STAGES, *MEL_STAGES, "mfcc", "chroma"), start=1)
} | {"pooled": 16, "input": 17, "scores": 31}
FIRST_FREE, _FIRST_LAYER = 8, 32  # the first number for a block's stage that has none of its own


def wire_numbers(stages: Iterable[str]) -> dict[str, int]:
    """Number a model's stages, given in pipeline order, as the harness protocol does.

    A block's stage that has no number of its own gets the next free one after chroma's.
    """
    numbers: dict[str, int] = {}
    free = FIRST_FREE
    for name in stages:
        if name in _NUMBERS:
            numbers[name] = _NUMBERS[name]
        elif name.startswith("layer "):
            _, layer, part = name.split()
            numbers[name] = _FIRST_LAYER + 2 * int(layer) + (part == "output")
        else:
            numbers[name] = free
            free += 1
    return numbers
