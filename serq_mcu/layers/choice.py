"""Which kernels a model's layers get on a core: the cheapest by counted cost, of few kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serq_mcu.layers.base import Layer
from serq_mcu.layers.kernels import Choice, Core, Storage

MOST_CODE = 3000  # bytes of all kernels of a model, beside about 1000 of the rest of its network
SLOWER = 1.01  # times as long as the fastest choice that fewer kinds of kernels may take


def choose(layers: Sequence[Layer], core: Core, storage: Storage = Storage.COMPACT) -> Choice:
    """Choose the cheapest parts of each layer for a core, of few kinds.

    Weights take more bits than they have only if the whole model is faster so.
    """
    chosen, cost = _of_few_kinds(layers, core, storage)
    if storage is not Storage.COMPACT:
        compact, least = _of_few_kinds(layers, core, Storage.COMPACT)
        chosen = chosen if cost < least else compact
    return chosen


def _of_few_kinds(layers: Sequence[Layer], core: Core, storage: Storage) -> tuple[Choice, float]:
    """Choose the cheapest parts, of fewer kinds where that costs next to nothing or they are too large."""
    chosen, cost = _cheapest(layers, core, frozenset(core.kernels), storage)
    most = SLOWER * cost
    while used := {part.kernel for parts in chosen for part in parts}:
        too_large = sum(core.code[kernel] for kernel in used) > MOST_CODE
        fewer = [_cheapest(layers, core, frozenset(used - {kernel}), storage) for kernel in sorted(used)]
        best, time = min(fewer, key=lambda way: way[1])
        if time > most and not (too_large and time < math.inf):
            break
        chosen, cost = best, time
    return chosen, cost


def _cheapest(
    layers: Sequence[Layer], core: Core, allowed: frozenset[str], storage: Storage
) -> tuple[Choice, float]:
    found = [layer.choose(core, allowed, storage) for layer in layers]
    chosen = tuple(parts for parts in found if parts is not None)
    if len(chosen) < len(found):
        return (), math.inf
    return chosen, sum(layer.kernel_cost(core, parts) for layer, parts in zip(layers, chosen, strict=True))
