"""Which kernels compute a model on a core, and their cost as it was counted (kernel_costs.toml)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from serq_mcu.errors import SerqError
from serq_mcu.layers.packing import GROUP, LAYOUTS, Layout, Part

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


COSTS = Path(__file__).with_name("kernel_costs.toml")

Costs = dict[str, tuple[float, ...]]
Terms = tuple[int, ...]
Choice = tuple[tuple[Part, ...], ...]  # the parts of each layer


class Storage(str, Enum):
    """How weights may be stored: in their own bits, or in more where that runs faster (5 to 7 bits as 8)."""

    COMPACT = "compact"
    FAST = "fast"


@dataclass(frozen=True)
class CostStage:
    """One stage of a frame or a decision.

    Its counted cost is a linear function of `terms`, looked up by `cost`, of the terms of `further` costs,
    and of those of each kernel that it calls. calls: the C functions that it consists of, in order, where
    that is known before it runs.
    """

    part: str  # "frame" or "decision"
    name: str
    cost: str
    terms: Terms
    kernels: tuple[tuple[str, Terms], ...] = ()
    calls: tuple[str, ...] = ()
    further: tuple[tuple[str, Terms], ...] = ()


@dataclass(frozen=True)
class KernelCost:
    """What a layout's kernel costs on a core.

    Coefficients of `terms`, in instructions and, which a core needs whose kernels are chosen by them
    (Cortex-M), in estimated cycles, and its bytes of code.
    """

    instructions: tuple[float, ...]
    code: int
    cycles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Core:
    """What was counted on a kind of core: coefficients of the terms of each kernel and of the other stages.

    In instructions, and on Cortex-M in estimated cycles too (elsewhere empty). code: bytes of each kernel;
    stack: the most bytes that were used. flash_bytes_per_cycle: how fast the weights are read (0: as fast as
    the core).
    """

    name: str
    features: frozenset[str]  # a processor with all of them is of this kind
    stack: int
    kernels: Costs
    kernel_cycles: Costs
    stages: Costs
    stage_cycles: Costs
    code: dict[str, int]
    flash_bytes_per_cycle: float = 0

    @property
    def unit(self) -> str:
        """What time on this core is counted in: "cycles" where they are estimated, else "instructions"."""
        return "cycles" if self.stage_cycles else "instructions"

    def cost(self, parts: Sequence[Part], inputs: int, outputs: int) -> float:
        """Return the time, in `unit`, of the kernels of these parts for a layer of a shape.

        Where flash is slow, with the cycles in which it brings the weights, each read once.
        """
        costs = self.kernel_cycles if self.stage_cycles else self.kernels
        computed = sum(_linear(costs[part.kernel], terms(part.layout, inputs, outputs)) for part in parts)
        if not self.flash_bytes_per_cycle:
            return computed
        read = sum(part.packed_bytes(inputs, outputs) for part in parts)
        return computed + read / self.flash_bytes_per_cycle

    def instructions(self, stage: CostStage) -> int | None:
        """Return the instructions of a stage; None if they were not counted on this core."""
        return _total(stage, self.stages, self.kernels)

    def cycles(self, stage: CostStage) -> int | None:
        """Return the estimated cycles of a stage; None where there is no estimate."""
        return _total(stage, self.stage_cycles, self.kernel_cycles) if self.stage_cycles else None


def _total(stage: CostStage, stages: Costs, kernels: Costs) -> int | None:
    own = ((stage.cost, stage.terms), *stage.further)
    if any(cost not in stages for cost, _ in own) or any(
        kernel not in kernels for kernel, _ in stage.kernels
    ):
        return None
    of_kernels = sum(_linear(kernels[kernel], of) for kernel, of in stage.kernels)
    return round(sum(_linear(stages[cost], of) for cost, of in own) + of_kernels)


def _linear(coefficients: Sequence[float], of: Terms) -> float:
    return sum(c * t for c, t in zip(coefficients, of, strict=True))


def times(of: Terms, count: int) -> Terms:
    """Return the terms of as many calls."""
    return tuple(count * term for term in of)


def terms(layout: Layout, inputs: int, outputs: int) -> Terms:
    """Give what a kernel's instructions are a linear function of.

    That is blocks of rows times groups of inputs, blocks times the groups beyond whole tiles, blocks, groups,
    and 1.
    """
    blocks, groups = -(-outputs // layout.rows), -(-inputs // GROUP)
    return blocks * groups, blocks * (groups % layout.tile_groups), blocks, groups, 1


def cheapest_parts(
    inputs: int,
    outputs: int,
    bits: int,
    core: Core,
    allowed: Collection[str],
    storage: Storage = Storage.COMPACT,
) -> tuple[Part, ...] | None:
    """Find the cheapest parts for fields of a shape whose kernels are allowed, or None.

    Of equals, the first in the order of LAYOUTS. Dynamic programming over the fields' bits from the top.
    """
    best: dict[int, tuple[float, tuple[Part, ...]]] = {bits: (0.0, ())}
    for first in reversed(range(bits)):
        for part in possible_parts(outputs, bits, first, storage):
            end = min(first + part.bits, bits)
            if end in best and part.kernel in allowed:
                cost, rest = best[end]
                cost += core.cost((part,), inputs, outputs)
                if first not in best or cost < best[first][0]:
                    best[first] = cost, (part, *rest)
    return best[0][1] if 0 in best else None


def possible_parts(outputs: int, bits: int, first: int, storage: Storage = Storage.COMPACT) -> Iterator[Part]:
    """List the parts that may begin at bit `first` of fields of `bits` bits for so many outputs."""
    for layout in LAYOUTS.values():
        padding = -outputs % layout.rows
        if first <= layout.last_first and padding <= min(3, outputs // 3):  # 6 or 7 classes become 8
            for width in layout.widths:
                if first + width <= bits or (storage is Storage.FAST and first == 0):
                    yield Part(layout, first, width)


def core_of(features: Collection[str], flash_bytes_per_cycle: float = 0) -> Core:
    """Find the first kind of core whose features a processor has all, else the last, the generic C core.

    flash_bytes_per_cycle: how fast it reads its flash, where that is slower than the core.
    """
    core = next((core for core in cores() if core.features <= set(features)), cores()[-1])
    return replace(core, flash_bytes_per_cycle=flash_bytes_per_cycle) if flash_bytes_per_cycle else core


def register_layout(layout: Layout, costs: Mapping[str, Mapping[str, KernelCost]]) -> None:
    """Add a layout, with what its kernels cost: a core's name to the kernels by name.

    A layout is used on the cores that it has costs for, in the place that they give it among the others.

    Raises SerqError, naming the layout, if a part is missing or the name is taken.
    """
    known = {core.name: core for core in cores()}
    kernels = {layout.kernel(bits) for bits in layout.widths}
    for core, given in costs.items():
        if core not in known:
            raise SerqError(f"layout {layout.name!r}: core {core!r} is not one of {', '.join(known)}")
        if missing := sorted(kernels - set(given)):
            raise SerqError(
                f"layout {layout.name!r} lacks the cost of {', '.join(missing)} on {core}; give it"
            )
        if known[core].unit == "cycles" and (missing := sorted(k for k in kernels if not given[k].cycles)):
            raise SerqError(
                f"layout {layout.name!r} lacks the cycles of {', '.join(missing)} on {core}; give them"
            )
    if not costs:
        raise SerqError(f"layout {layout.name!r} lacks costs; without them it is never chosen")
    for source in layout.sources:
        if not source.is_file():
            raise SerqError(f"layout {layout.name!r} lacks its source {source}; give the file's path")
    LAYOUTS.register(layout.name, layout)
    _add_costs(costs)


_added: dict[str, dict[str, KernelCost]] = {}  # of extensions: core's name to kernels


def _add_costs(costs: Mapping[str, Mapping[str, KernelCost]]) -> None:
    for core, kernels in costs.items():
        _added.setdefault(core, {}).update(kernels)
    cores.cache_clear()


@functools.cache
def cores() -> tuple[Core, ...]:
    """List the kinds of cores that were counted."""
    data = tomllib.loads(COSTS.read_text(encoding="utf-8"))
    return tuple(_with_added(_core(table)) for table in data["core"])


def _core(table: dict[str, Any]) -> Core:
    kernels, cycles, stages, stage_cycles = (
        _floats(table.get(name, {})) for name in ("kernels", "kernel_cycles", "stages", "stage_cycles")
    )
    own = table["name"], frozenset(table["features"]), table["stack"]
    return Core(*own, kernels, cycles, stages, stage_cycles, table["code"])


def _with_added(core: Core) -> Core:
    kernels = _added.get(core.name, {})
    return replace(
        core,
        kernels=core.kernels | {name: cost.instructions for name, cost in kernels.items()},
        kernel_cycles=core.kernel_cycles | {name: cost.cycles for name, cost in kernels.items()},
        code=core.code | {name: cost.code for name, cost in kernels.items()},
    )


def _floats(table: object) -> Costs:
    assert isinstance(table, dict)
    return {name: tuple(map(float, values)) for name, values in table.items()}
