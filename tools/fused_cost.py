"""What mel bands cost where no trace sees the power spectrum, against the power and the bands computed apart.

Without a trace, cores with a long multiply square as they sum. `python -m tools.fused_cost` counts it in
firmware without a trace and writes serq_mcu/codegen/fused_costs.toml again, which takes a minute.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import load_board
from serq_mcu.codegen.costs import FUSED, estimate
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import load_config
from serq_mcu.counting.qemu import counted
from serq_mcu.frontend.code import frame_functions
from serq_mcu.frontend.spec import FeatureSpec
from tools.frontend_cost import build_frontend, synthetic_speech
from tools.network_cost import random_network

BOARDS = ("emulated-m4f", "emulated-rv32imc")
SPECS = (load_config().features, FeatureSpec())


@dataclass(frozen=True)
class Ratio:
    """Instructions and cycles of the fused stage, by those of power and mel bands apart."""

    instructions: float
    cycles: float | None


def ratio(board_name: str, spec: FeatureSpec) -> Ratio:
    """Count the fused stage of a specification on an emulated board."""
    board, model = load_board(board_name), random_network(spec, 1)
    apart = [row for row in estimate(Plan(model, board)) if row.name in ("power", "mel")]
    with tempfile.TemporaryDirectory(prefix="serq-fused-") as work:
        elf = build_frontend(board, model, Path(work) / "p").elf
        calls = [*frame_functions(spec, model.tables), "serq_model_frame", "serq_push", "serq_take_frame"]
        around = ["application_run", "serq_features", "serq_model_features"]
        with counted(board, elf, calls, around) as (command, read):
            clip = synthetic_speech(1).tobytes()
            subprocess.run(command, input=clip, capture_output=True, timeout=120, check=True)
            records = [record for record in read().records if record.function == "serq_mel"]
    instructions = float(np.mean([record.instructions for record in records]))
    known = [record.cycles for record in records if record.cycles is not None]
    cycles = [row.cycles for row in apart if row.cycles is not None]
    return Ratio(
        instructions / sum(row.instructions or 0 for row in apart),
        float(np.mean(known)) / sum(cycles) if cycles else None,
    )


def main() -> None:
    """Write the file."""
    lines = [
        "# Mel bands that square as they sum, as fractions of power and mel bands apart, counted in QEMU by",
        "# `python -m tools.fused_cost`. Other cores compute the two apart without a trace, too.",
    ]
    for name in BOARDS:
        found = [ratio(name, spec) for spec in SPECS]
        lines.append(f'\n["{Plan(random_network(SPECS[0], 1), load_board(name)).core.name}"]')
        lines.append(f"instructions = {np.mean([r.instructions for r in found]):.3f}")
        cycles = [r.cycles for r in found if r.cycles is not None]
        lines += [f"cycles = {np.mean(cycles):.3f}"] if cycles else []
        print(name, found)
    write_file(FUSED, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
