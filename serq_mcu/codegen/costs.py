"""What a frame and a decision of a model take on a core, before any build: counted costs times sizes
(kernel_costs.toml).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.kernels import Core, core_of
from serq_mcu.codegen.packing import GROUP, Part, pack_bias, start_bias
from serq_mcu.frontend.code import frame_costs
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import STATISTICS
from serq_mcu.quantized_model.types import DenseLayer, QuantizedModel, spoken

Terms = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One stage: what it executes for each frame or each decision."""

    part: str  # "frame" or "decision"
    name: str
    instructions: int | None
    cycles: int | None  # estimated for Cortex-M, counted on a board, None elsewhere


@dataclass(frozen=True)
class Stage:
    """One stage: its name, that of its counted cost, and what that is a linear function of; a layer's has
    its kernels' costs too.
    """

    part: str
    name: str
    cost: str
    terms: Terms
    layer: DenseLayer | None = None
    kernels: tuple[Part, ...] = ()


def estimate(model: QuantizedModel, mcu: Mcu, parts: list[tuple[Part, ...]]) -> tuple[Row, ...]:
    """A row for each stage of a frame and of a decision whose layers are computed by `parts`, named as
    `bench` names what it counts.
    """
    core = core_of(mcu)
    return tuple(_row(stage, core) for stage in stages(model, parts))


def total(rows: Iterable[Row], part: str) -> Row:
    """The sum of the rows of a frame or a decision."""
    rows = [row for row in rows if row.part == part]
    return Row(part, "all", _sum(row.instructions for row in rows), _sum(row.cycles for row in rows))


def milliseconds(row: Row, clock_hz: int) -> float | None:
    """Time of a row at a clock: of its cycles, or of its instructions at one a cycle. None: not known."""
    count = row.instructions if row.cycles is None else row.cycles
    return None if count is None or not clock_hz else 1000 * count / clock_hz


def row_lines(rows: Iterable[Row], clock_hz: int) -> list[str]:
    """The rows and their totals as a table for people."""
    rows, text = list(rows), []
    for part in ("frame", "decision"):
        text.append(f"each {part:<43}{'instructions':>14}{'cycles':>10}{'ms':>9}")
        for row in (*(row for row in rows if row.part == part), total(rows, part)):
            time = milliseconds(row, clock_hz)
            counts = f"{_number(row.instructions):>14}{_number(row.cycles):>10}"
            text.append(f"  {row.name:<46}{counts}{'?' if time is None else f'{time:.3f}':>9}")
    return text


def timing(mcu: Mcu) -> str:
    """What estimated cycles and times rest on, in words."""
    if mcu.core.startswith("Cortex-M"):
        return "cycles and times are estimates: Cortex-M timing without wait states, caches or dual issue"
    return "times are estimates: one instruction a cycle, no cache misses"


def stages(model: QuantizedModel, parts: list[tuple[Part, ...]]) -> Iterator[Stage]:
    """The stages of a model whose layers are computed by `parts`, in the order in which `bench` names
    them.
    """
    yield from _frame(model)
    spec = model.spec
    for cost in dict.fromkeys(statistic.cost for statistic in STATISTICS.values()):
        counts = _pooled(spec, cost)
        if any(counts):
            yield Stage("decision", cost, cost, counts)
    yield Stage("decision", "standardize", "standardize", (spec.feature_count, 1))
    for index, (layer, ways) in enumerate(zip(model.layers, parts, strict=True)):
        names = " + ".join(part.kernel for part in ways)
        start = "start 24" if pack_bias(start_bias(layer, ways)).bits == 24 else "start"
        terms = (layer.outputs, -(-layer.inputs // GROUP), 1)
        yield Stage(
            "decision",
            f"layer {index}: {layer.inputs}x{layer.outputs}, {spoken(layer.width)}, {names}",
            start,
            terms,
            layer,
            ways,
        )
        if layer.multiplier is not None:
            long = layer.multiplier << 2 >> (layer.shift or 0) == 0  # what serq_requantize() tells apart
            yield Stage(
                "decision",
                f"layer {index}: ReLU, requantization",
                "requantize" if long else "requantize large",
                (layer.outputs, 1),
            )
    yield Stage("decision", "argmax", "argmax", (len(model.labels), 1))
    yield Stage(
        "decision",
        "calls",
        "calls",
        (len(model.layers), sum(len(block.statistics) for block in spec.blocks), 1),
    )


def _frame(model: QuantizedModel) -> Iterator[Stage]:
    spec = model.spec
    for row in frame_costs(spec, model.tables):
        yield Stage("frame", *row)
    kept = spec.frame_length - spec.hop_length
    yield Stage("frame", "calls, moving samples", "moving", (kept, spec.hop_length, 1))


def _pooled(spec: FeatureSpec, cost: str) -> Terms:
    """Coefficients that each statistic of a counted cost is taken of."""
    return tuple(
        sum(block.size - block.first(name) for block in spec.blocks if name in block.statistics)
        for name in STATISTICS
        if STATISTICS[name].cost == cost
    )


def _row(stage: Stage, core: Core) -> Row:
    def cost(kernels: dict[str, tuple[float, ...]], costs: dict[str, tuple[float, ...]]) -> int | None:
        if stage.cost not in costs:  # of a block from outside, which nobody counted
            return None
        own = sum(c * t for c, t in zip(costs[stage.cost], stage.terms, strict=True))
        return round(own + (core.layer_cost(stage.layer, stage.kernels, kernels) if stage.layer else 0))

    cycles = cost(core.kernel_cycles, core.stage_cycles) if core.stage_cycles else None
    return Row(stage.part, stage.name, cost(core.kernels, core.stages), cycles)


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
