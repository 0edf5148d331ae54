"""Which kernels a model's layers get on a core: the cheapest by counted cost, of few kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from serq_mcu.layers.base import Layer
from serq_mcu.layers.kernels import Choice, Core, Storage

MOST_CODE = 3000  # bytes of all kernels of a model, beside about 1000 of the rest of its network
SLOWER = 1.01  # times the instructions of the fastest choice that fewer kinds of kernels may take


def choose(layers: Sequence[Layer], core: Core, storage: Storage = Storage.COMPACT) -> Choice:
    """Choose the cheapest parts of each layer for a core.

    Takes fewer kinds of kernels where that costs next to nothing or they are too large.
    """
    chosen, cost = _cheapest(layers, core, frozenset(core.kernels), storage)
    most = SLOWER * cost
    while used := {part.kernel for parts in chosen for part in parts}:
        too_large = sum(core.code[kernel] for kernel in used) > MOST_CODE
        fewer = [_cheapest(layers, core, frozenset(used - {kernel}), storage) for kernel in sorted(used)]
        best, cost = min(fewer, key=lambda way: way[1])
        if cost > most and not (too_large and cost < math.inf):
            break
        chosen = best
    return chosen


def _cheapest(
    layers: Sequence[Layer], core: Core, allowed: frozenset[str], storage: Storage
) -> tuple[Choice, float]:
    found = [layer.choose(core, allowed, storage) for layer in layers]
    chosen = tuple(parts for parts in found if parts is not None)
    if len(chosen) < len(found):
        return (), math.inf
    costs = (
        core.cost(parts, layer.inputs, layer.outputs) for layer, parts in zip(layers, chosen, strict=True)
    )
    return chosen, sum(costs)
