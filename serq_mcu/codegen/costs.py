"""What a frame and a decision of a model take on a core, before any build.

That is counted costs (kernel_costs.toml) times sizes, of firmware without a trace, as a product has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.plan import Plan
from serq_mcu.frontend.code import features_part, frame_costs
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.speech import PIECE
from serq_mcu.frontend.statistics import PERCENTILE_COST, STATISTICS
from serq_mcu.layers.kernels import CostStage, Terms


@dataclass(frozen=True)
class Row:
    """One stage: what it executes for each frame or each decision."""

    part: str  # "frame", "decision" or "silence"
    name: str
    instructions: int | None
    cycles: int | None  # estimated for timed cores (Mcu), counted on a board, None elsewhere


def estimate(plan: Plan) -> tuple[Row, ...]:
    """Estimate each stage of a frame and of a decision, named as `bench` names what it counts."""
    return tuple(_row(stage, plan) for stage in stages(plan))


def total(rows: Iterable[Row], part: str) -> Row:
    """Add up the rows of a frame or a decision."""
    rows = [row for row in rows if row.part == part]
    return Row(part, "all", _sum(row.instructions for row in rows), _sum(row.cycles for row in rows))


def silence(plan: Plan) -> Row | None:
    """Estimate a second of a stream in which nobody speaks and nothing rises above what was heard before.

    One frame of each block is transformed and ends at its level, and of the others the loudness is computed.
    Returns None for a model that hears all frames, or that cannot stream.
    """
    spec, rule = plan.model.spec, plan.model.decision
    if rule is None or not (rule.wake_rise and rule.floor_blocks and spec.speech_frames):
        return None
    hop, kept = spec.hop_length, spec.frame_length - spec.hop_length
    frame = total((_row(stage, plan) for stage in _frame(plan, quiet=True)), "frame")
    loudness = _row(CostStage("silence", "loudness", "loudness", loudness_terms(hop)), plan)
    moving = _row(CostStage("silence", "moving samples", "moving", (kept, hop, 0)), plan)
    passed = rule.block_frames - 1
    blocks = spec.sample_rate / (hop * rule.block_frames)

    def second(*counts: int | None) -> int | None:
        known = [count for count in counts if count is not None]
        return None if len(known) < len(counts) else round(blocks * (known[0] + passed * sum(known[1:])))

    rows = (frame, loudness, moving)
    instructions, cycles = (
        second(*(getattr(row, unit) for row in rows)) for unit in ("instructions", "cycles")
    )
    return Row("silence", "a second in which nobody speaks", instructions, cycles)


def loudness_terms(hop: int) -> Terms:
    """Give what the cost of a frame's loudness depends on: pieces of the hop, samples left, and 1."""
    return (hop // PIECE, hop % PIECE, 1)


def milliseconds(row: Row, clock_hz: int) -> float | None:
    """Convert a row to milliseconds at a clock: its cycles, or its instructions at one a cycle.

    Returns None if it is not known.
    """
    count = row.instructions if row.cycles is None else row.cycles
    return None if count is None or not clock_hz else 1000 * count / clock_hz


def row_lines(rows: Iterable[Row], clock_hz: int) -> list[str]:
    """Write the rows and their totals as a text table."""
    rows, text = list(rows), []
    for part in ("frame", "decision"):
        text.append(f"each {part:<43}{'instructions':>14}{'cycles':>10}{'ms':>9}")
        for row in (*(row for row in rows if row.part == part), total(rows, part)):
            time = milliseconds(row, clock_hz)
            counts = f"{_number(row.instructions):>14}{_number(row.cycles):>10}"
            text.append(f"  {row.name:<46}{counts}{'?' if time is None else f'{time:.3f}':>9}")
    return text


def silence_line(row: Row, clock_hz: int) -> str:
    """Write the row of a second of silence as a line of the text table."""
    time = milliseconds(row, clock_hz)
    counts = (
        f"{_number(row.instructions):>14}{_number(row.cycles):>10}{'?' if time is None else f'{time:.3f}':>9}"
    )
    return f"{row.name:<48}{counts}"


def timing(mcu: Mcu) -> str:
    """Describe in words what estimated cycles and times rest on."""
    if mcu.timed:
        return "cycles and times are estimates: Cortex-M timing without wait states, caches or dual issue"
    return "times are estimates: one instruction a cycle, no cache misses"


def stages(plan: Plan) -> Iterator[CostStage]:
    """List the stages of a plan's model in the order in which `bench` names them."""
    model, spec = plan.model, plan.model.spec
    yield from _frame(plan)
    for cost in dict.fromkeys(statistic.cost for statistic in STATISTICS.values()):
        counts = _pooled(spec, cost)
        if any(counts):
            yield CostStage("decision", cost, cost, (*counts, *_read(plan, cost, sum(counts))))
    yield from _sequence(spec)
    yield CostStage(
        "decision", "standardize", "standardize", (spec.feature_count, max(spec.sequence_frames, 1))
    )
    yield from plan.layer_costs
    yield CostStage("decision", "argmax", "argmax", (len(model.labels), 1))
    pooled = len(features_part(spec).steps) if spec.sequence_frames else _statistics(spec)
    yield CostStage("decision", "calls", "calls", (len(model.layers), pooled, 1))


def _frame(plan: Plan, *, quiet: bool = False) -> Iterator[CostStage]:
    spec = plan.model.spec
    for row in frame_costs(spec, plan.model.tables, quiet=quiet):
        yield CostStage("frame", *row)
    kept = spec.frame_length - spec.hop_length
    yield CostStage("frame", "calls, moving samples", "moving", (kept, spec.hop_length, 1))


def _statistics(spec: FeatureSpec) -> int:
    return sum(len(block.statistics) for block in spec.blocks)


def _sequence(spec: FeatureSpec) -> Iterator[CostStage]:
    """List what makes the features of a sequence: values, and those relative to their mean."""
    relative = [len(block.moved_by_gain) for block in spec.blocks if block.moved_by_gain]
    frames = spec.sequence_frames
    if frames:
        yield CostStage("decision", "sequence values", "sequence values", (spec.feature_count, frames, 1))
    if frames and relative:
        terms = (frames * sum(relative), frames * len(relative), len(relative))
        yield CostStage("decision", "sequence relate", "sequence relate", terms)


def _pooled(spec: FeatureSpec, cost: str) -> Terms:
    """Return the coefficients that each statistic of a counted cost is taken of."""
    return tuple(
        sum(block.end(name) - block.first(name) for block in spec.blocks if name in block.statistics)
        for name in STATISTICS
        if STATISTICS[name].cost == cost
    )


def _read(plan: Plan, cost: str, computed: int) -> Terms:
    """Return how many coefficients' tiers are read; of histograms also how many coefficients.

    A histogram is read once for all its percentiles, sums for each of the `computed` statistics.
    """
    if cost == PERCENTILE_COST:
        return plan.histograms, plan.histograms * plan.tiers
    return (computed * plan.tiers,)


def _row(stage: CostStage, plan: Plan) -> Row:
    cycles = plan.core.cycles(stage) if plan.board.mcu.timed else None
    return Row(stage.part, stage.name, plan.core.instructions(stage), cycles)


def _sum(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
