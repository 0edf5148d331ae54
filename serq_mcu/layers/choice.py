"""Which kernels a model's layers get on a core: the cheapest by counted cost, of few kinds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from serq_mcu.layers.base import Layer
from serq_mcu.layers.kernels import Choice, Core, Storage

MOST_CODE = 3000  # bytes of all kernels of a model; the rest of its network takes up to 1600
MOST_KINDS = 4  # of kernels, where more would be too large
SLOWER = 1.01  # times as long as the fastest choice that fewer kinds of kernels may take


def choose(layers: Sequence[Layer], core: Core, storage: Storage = Storage.COMPACT) -> Choice:
    """Choose the cheapest parts of each layer for a core, of few kinds.

    Weights take more bits than they have only if the whole model is faster so, which slow flash decides too.
    Without, a board has the parts of all boards of its core.
    """
    compact, _ = _of_few_kinds(layers, replace(core, flash_bytes_per_cycle=0), Storage.COMPACT)
    if storage is Storage.COMPACT:
        return compact
    wider, cost = _of_few_kinds(layers, core, storage)
    return wider if cost < _cost(layers, core, compact) else compact


def _of_few_kinds(layers: Sequence[Layer], core: Core, storage: Storage) -> tuple[Choice, float]:
    """Choose the cheapest parts whose kernels fit, of fewer kinds where that costs next to nothing."""
    chosen, cost = _cheapest(layers, core, frozenset(core.kernels), storage)
    if _code(_used(chosen), core) > MOST_CODE:
        small, time = _cheapest_that_fit(layers, core, storage)
        chosen, cost = (small, time) if time < math.inf else (chosen, cost)
    most = SLOWER * cost
    while used := _used(chosen):
        fewer = [_cheapest(layers, core, used - {kernel}, storage) for kernel in sorted(used)]
        best, time = min(fewer, key=lambda way: way[1])
        if time > most:
            break
        chosen, cost = best, time
    return chosen, cost


def _used(chosen: Choice) -> frozenset[str]:
    return frozenset(part.kernel for parts in chosen for part in parts)


def _code(kernels: frozenset[str], core: Core) -> int:
    return sum(core.code[kernel] for kernel in kernels)


def _cheapest_that_fit(layers: Sequence[Layer], core: Core, storage: Storage) -> tuple[Choice, float]:
    few = (
        frozenset(kernels)
        for kinds in range(1, MOST_KINDS + 1)
        for kernels in itertools.combinations(sorted(core.kernels), kinds)
    )
    ways = (_cheapest(layers, core, some, storage) for some in few if _code(some, core) <= MOST_CODE)
    return min(ways, key=lambda way: way[1], default=((), math.inf))


def _cheapest(
    layers: Sequence[Layer], core: Core, allowed: frozenset[str], storage: Storage
) -> tuple[Choice, float]:
    found = [layer.choose(core, allowed, storage) for layer in layers]
    chosen = tuple(parts for parts in found if parts is not None)
    if len(chosen) < len(found):
        return (), math.inf
    return chosen, _cost(layers, core, chosen)


def _cost(layers: Sequence[Layer], core: Core, chosen: Choice) -> float:
    return sum(layer.kernel_cost(core, parts) for layer, parts in zip(layers, chosen, strict=True))
