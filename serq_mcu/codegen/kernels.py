"""Which kernels compute a model on a core: for each layer the cheapest by counted instructions among those
that keep to its bits.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.packing import GROUP, LAYOUTS, TILE_GROUPS, Layout, Part, Shape
from serq_mcu.quantized_model.types import DenseLayer, QuantizedModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COSTS = Path(__file__).with_name("kernel_costs.toml")
MOST_CODE = 3000  # bytes of all kernels of a model, beside about 1000 of the rest of its network
SLOWER = 1.01  # times the instructions of the fastest choice that fewer kinds of kernels may take

Costs = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Core:
    """What was counted on a kind of core: coefficients of `terms` for a call of each kernel, of the terms
    in costs.py for the other stages.

    In instructions, and on Cortex-M in estimated cycles too (elsewhere empty). code: bytes of each kernel;
    stack: the most bytes that were used.
    """

    name: str
    features: frozenset[str]  # an Mcu with all of them is of this kind
    stack: int
    kernels: Costs
    kernel_cycles: Costs
    stages: Costs
    stage_cycles: Costs
    code: dict[str, int]

    def cost(self, part: Part, inputs: int, outputs: int) -> float:
        """Instructions of a part's kernel."""
        return _cost(self.kernels, part, inputs, outputs)

    def layer_cost(self, layer: DenseLayer, parts: tuple[Part, ...], kernels: Costs | None = None) -> float:
        """Instructions of a layer's kernels, or another of their costs."""
        return sum(_cost(kernels or self.kernels, part, layer.inputs, layer.outputs) for part in parts)


def _cost(kernels: Costs, part: Part, inputs: int, outputs: int) -> float:
    return sum(c * t for c, t in zip(kernels[part.kernel], terms(part.layout, inputs, outputs), strict=True))


def terms(layout: Layout, inputs: int, outputs: int) -> tuple[int, ...]:
    """What a kernel's instructions are a linear function of: blocks of rows times groups of inputs, and so
    on.
    """
    blocks, groups = -(-outputs // layout.rows), -(-inputs // GROUP)
    return blocks * groups, blocks * (groups % TILE_GROUPS), blocks, groups, 1


def choose(model: QuantizedModel, mcu: Mcu, wider: bool = False) -> list[tuple[Part, ...]]:
    """The parts of each layer for a core: the cheapest, but with fewer kinds of kernels where that costs
    next to nothing or they are too large.

    wider: fields may be stored with more bits than they have.
    """
    core, allowed = core_of(mcu), frozenset(core_of(mcu).kernels)
    chosen, cost = _cheapest(model, core, allowed, wider)
    most = SLOWER * cost
    while True:
        used = {part.kernel for parts in chosen for part in parts}
        too_large = sum(core.code[kernel] for kernel in used) > MOST_CODE
        fewer = [
            (*_cheapest(model, core, frozenset(used - {kernel}), wider), kernel) for kernel in sorted(used)
        ]
        best, cost, _ = min(fewer, key=lambda way: way[1])
        if cost > most and not (too_large and cost < math.inf):
            return chosen
        chosen = best


def _cheapest(
    model: QuantizedModel, core: Core, allowed: frozenset[str], wider: bool
) -> tuple[list[tuple[Part, ...]], float]:
    parts = [choose_layer(layer, core, allowed, wider) for layer in model.layers]
    found = [way for way in parts if way is not None]
    if len(found) < len(parts):
        return [], math.inf
    return found, sum(core.layer_cost(layer, way) for layer, way in zip(model.layers, found, strict=True))


def choose_layer(
    layer: DenseLayer, core: Core, allowed: frozenset[str], wider: bool = False
) -> tuple[Part, ...] | None:
    """The cheapest parts of a layer whose kernels are allowed, or None; of equals, the first in the order
    of LAYOUTS.
    """
    best: dict[int, tuple[float, tuple[Part, ...]]] = {
        layer.bits: (0.0, ())
    }  # for the fields' bits from a first one on
    for first in reversed(range(layer.bits)):
        for part in possible_parts(layer, first, wider):
            end = min(first + part.bits, layer.bits)
            if end in best and part.kernel in allowed:
                cost, rest = best[end]
                cost += core.cost(part, layer.inputs, layer.outputs)
                if first not in best or cost < best[first][0]:
                    best[first] = cost, (part, *rest)
    return best[0][1] if 0 in best else None


def possible_parts(layer: DenseLayer, first: int, wider: bool = False) -> Iterator[Part]:
    """The parts of a layer that may begin at bit `first` of its fields; wider: one that holds all of them
    may have more.
    """
    for layout in LAYOUTS.values():
        padding = -layer.outputs % layout.rows
        if first <= layout.last_first and padding <= min(3, layer.outputs // 3):  # 6 or 7 classes become 8
            yield from (
                Part(layout, first, bits)
                for bits in layout.widths
                if first + bits <= layer.bits or (wider and first == 0)
            )


def core_of(mcu: Mcu) -> Core:
    """The first kind of core whose features `mcu` has all; the last, which runs C alone, if there is none."""
    return next((core for core in cores() if core.features <= set(mcu.features)), cores()[-1])


@functools.cache
def cores() -> tuple[Core, ...]:
    """The kinds of cores that were counted."""
    data = tomllib.loads(COSTS.read_text())
    tables = ("kernels", "kernel_cycles", "stages", "stage_cycles")
    return tuple(
        Core(
            core["name"],
            frozenset(core["features"]),
            core["stack"],
            code=core["code"],
            **{table: _floats(core.get(table, {})) for table in tables},
        )
        for core in data["core"]
    )


def _floats(table: dict[str, list[float]]) -> Costs:
    return {name: tuple(map(float, values)) for name, values in table.items()}


def packed_bytes(layer: DenseLayer, parts: tuple[Part, ...]) -> int:
    """Bytes of a layer's packed weights."""
    return sum(part.layout.packed_bytes(Shape(layer.inputs, layer.outputs, part.bits)) for part in parts)
