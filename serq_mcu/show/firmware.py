"""What firmware costs, counted or built, as text."""

from __future__ import annotations

from serq_mcu.boards.board import LISTENING
from serq_mcu.boards.wiring import wiring_line
from serq_mcu.build.sizes import SizeComparison
from serq_mcu.codegen.costs import row_lines
from serq_mcu.codegen.lines import purpose
from serq_mcu.codegen.plan import Plan
from serq_mcu.counting.bench import Bench


def bench_lines(bench: Bench) -> list[str]:
    """Return the counted stages and totals, what they rest on, and memory, as lines of text."""
    lines = row_lines(bench.rows, bench.board.mcu.clock_hz)
    lines.append(f"{bench.board.title}: {bench.basis}")
    if bench.flash_bytes is not None:
        lines.append(
            f"flash {bench.flash_bytes} B, RAM {bench.ram_bytes} B with the reserved stack, of which"
            f" {bench.stack_bytes} B were used; code of the network {bench.network_code_bytes} B"
        )
    return lines


def wiring_lines(plan: Plan) -> list[str]:
    """Return which pin goes where, and what the firmware does, as lines of text."""
    wiring = wiring_line(plan.board) if plan.app in LISTENING else ""
    return [*([wiring] if wiring else []), purpose(plan)]


def size_lines(comparison: SizeComparison) -> list[str]:
    """Return built sizes beside their estimates, and warnings, as lines of text."""
    lines = [_size_line(comparison, what) for what in comparison.built]
    return lines + [f"warning: {warning}" for warning in comparison.warnings]


def _size_line(comparison: SizeComparison, what: str) -> str:
    estimated, built = comparison.estimated[what], comparison.built[what]
    if comparison.counted:
        return f"{what}: {built} bytes, {estimated} estimated ({comparison.errors[what]:+.1%})"
    return (
        f"{what}: {built} bytes, {estimated} of them estimated; the other {built - estimated} are the"
        " framework's and the drivers'"
    )
