"""What a frame and a decision of a model take on a core, before any build: counted costs times sizes
(kernel_costs.toml).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.packing import chroma_runs
from serq_mcu.codegen.plan import Plan
from serq_mcu.frontend.spec import STATISTICS
from serq_mcu.layers.kernels import Core, CostStage
from serq_mcu.quantized_model.types import QuantizedModel


@dataclass(frozen=True)
class Row:
    """One stage: what it executes for each frame or each decision."""

    part: str  # "frame" or "decision"
    name: str
    instructions: int | None
    cycles: int | None  # estimated for Cortex-M, counted on a board, None elsewhere


def estimate(plan: Plan) -> tuple[Row, ...]:
    """Estimate each stage of a frame and of a decision, named as `bench` names what it counts."""
    return tuple(_row(stage, plan.core) for stage in stages(plan))


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


def stages(plan: Plan) -> Iterator[CostStage]:
    """List the stages of a plan's model in the order in which `bench` names them."""
    model, spec = plan.model, plan.model.spec
    yield from _frame(model)
    counts = [
        sum(block.size - block.first(name) for block in spec.blocks if name in block.statistics)
        for name in STATISTICS
    ]
    yield CostStage("decision", "statistics", "statistics", tuple(counts))
    yield CostStage("decision", "standardize", "standardize", (spec.feature_count, 1))
    yield from plan.layer_costs
    yield CostStage("decision", "argmax", "argmax", (len(model.labels), 1))
    pooled = sum(len(block.statistics) for block in spec.blocks)
    yield CostStage("decision", "calls", "calls", (len(model.layers), pooled, 1))


def _frame(model: QuantizedModel) -> Iterator[CostStage]:
    spec, tables = model.spec, model.tables
    length, points, bands = spec.frame_length, spec.fft_length // 2, spec.mel_bands
    yield CostStage("frame", "frame shift", "frame shift", (length, 1))
    yield CostStage("frame", "fft", f"fft {spec.fft_length}", (length, 1))
    yield CostStage("frame", "spectrum", "spectrum", (points, 1))
    yield CostStage("frame", "power", "power", (points, 1))
    read = 0
    if spec.uses_mel:
        read = int(tables.segment[:, 0].sum())
        yield CostStage("frame", "mel", "mel", (read, bands, 1))
        yield CostStage("frame", "log", "log", (bands, 1))
    if mfcc := spec.block("mfcc"):
        pairs = -(-mfcc.size // 4) + -(-(mfcc.size // 2) // 2)  # of rows of the DCT
        yield CostStage(
            "frame", "dct", "dct", (pairs * (bands // 8), pairs * (bands // 2 % 4), pairs, bands, 1)
        )
    if tables.chroma is not None:
        runs = chroma_runs(tables.chroma)
        if points + 1 > read:
            yield CostStage("frame", "add power", "add power", (points + 1 - read, 1))
        yield CostStage("frame", "chroma", "chroma", (len(runs.weights), len(runs.runs), points, 1))
    yield CostStage(
        "frame", "pool add", "pool add", (sum(block.size for block in spec.blocks), len(spec.blocks))
    )
    yield CostStage(
        "frame", "calls, moving samples", "moving", (length - spec.hop_length, spec.hop_length, 1)
    )


def _row(stage: CostStage, core: Core) -> Row:
    return Row(stage.part, stage.name, core.instructions(stage), core.cycles(stage))


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
