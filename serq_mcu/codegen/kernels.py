"""Which kernels compute a model on a core: for each layer the cheapest by counted instructions among those that keep to its bits."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards import Mcu
from serq_mcu.codegen.packing import GROUP, LAYOUTS, TILE_GROUPS, Layout, Part, Shape
from serq_mcu.quantized_model.types import DenseLayer, QuantizedModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COSTS = Path(__file__).with_name("kernel_costs.toml")


@dataclass(frozen=True)
class Core:
    """What a call of each kernel costs on a kind of core: coefficients of `terms`, in instructions."""

    name: str
    features: frozenset[str]  # an Mcu with all of them is of this kind
    kernels: dict[str, tuple[float, ...]]

    def cost(self, part: Part, inputs: int, outputs: int) -> float:
        """Instructions of a part's kernel."""
        return sum(c * t for c, t in zip(self.kernels[part.kernel], terms(part.layout, inputs, outputs), strict=True))


def terms(layout: Layout, inputs: int, outputs: int) -> tuple[int, ...]:
    """What a kernel's instructions are a linear function of: blocks of rows times groups of inputs, and so on."""
    blocks, groups = -(-outputs // layout.rows), -(-inputs // GROUP)
    return blocks * groups, blocks * (groups % TILE_GROUPS), blocks, groups, 1


def choose(model: QuantizedModel, mcu: Mcu) -> list[tuple[Part, ...]]:
    """The parts of each layer for a core."""
    core = core_of(mcu)
    return [choose_layer(layer, core) for layer in model.layers]


def choose_layer(layer: DenseLayer, core: Core) -> tuple[Part, ...]:
    """The cheapest parts of a layer; of equals, the first in the order of LAYOUTS."""
    best: dict[int, tuple[float, tuple[Part, ...]]] = {layer.bits: (0.0, ())}  # for the fields' bits from a first one on
    for first in reversed(range(layer.bits)):
        for part in possible_parts(layer, first):
            if first + part.bits in best:
                cost, rest = best[first + part.bits]
                cost += core.cost(part, layer.inputs, layer.outputs)
                if first not in best or cost < best[first][0]:
                    best[first] = cost, (part, *rest)
    return best[0][1]


def possible_parts(layer: DenseLayer, first: int) -> Iterator[Part]:
    """The parts of a layer that may begin at bit `first` of its fields."""
    for layout in LAYOUTS.values():
        padding = -layer.outputs % layout.rows
        if first <= layout.last_first and padding <= min(3, layer.outputs // 3):  # 6 or 7 classes become 8
            yield from (Part(layout, first, bits) for bits in layout.widths if first + bits <= layer.bits)


def core_of(mcu: Mcu) -> Core:
    """The first kind of core whose features `mcu` has all; the last, which runs C alone, if there is none."""
    return next((core for core in cores() if core.features <= set(mcu.features)), cores()[-1])


@functools.cache
def cores() -> tuple[Core, ...]:
    """The kinds of cores that were counted."""
    data = tomllib.loads(COSTS.read_text())
    return tuple(
        Core(core["name"], frozenset(core["features"]), {name: tuple(map(float, values)) for name, values in core["kernels"].items()})
        for core in data["core"]
    )


def packed_bytes(layer: DenseLayer, parts: tuple[Part, ...]) -> int:
    """Bytes of a layer's packed weights."""
    return sum(part.layout.packed_bytes(Shape(layer.inputs, layer.outputs, part.bits)) for part in parts)
