"""The estimate before a build against what was built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards.board import BOARD_FILE, Board, read_board
from serq_mcu.build.platformio import BuildResult
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import read_project
from serq_mcu.codegen.plan import MODEL, Plan
from serq_mcu.quantized_model.store import load_model

TOLERANCE = 0.05  # of the built size: other compiler versions, and the linker's padding between sections


@dataclass(frozen=True)
class SizeComparison:
    """Bytes of flash and RAM, estimated and built, all with the stack.

    counted: whether the estimate includes a figure for everything; complete: whether all of it was linked
    here (a framework's own part was measured in another build, or is not known).
    """

    board: Board
    estimated: dict[str, int]
    built: dict[str, int]
    counted: bool
    complete: bool

    @property
    def warnings(self) -> list[str]:
        """A sentence for each size that exceeds the board's, and for each estimate that is far off.

        An estimate is far off if it differs by more than TOLERANCE.
        """
        has = {"flash": self.board.program_bytes, "RAM": self.board.mcu.ram_bytes}
        large = [
            f"{what}: the build takes {self.built[what]} bytes and {self.board.name} has {has[what]}"
            for what in has
            if self.built[what] > has[what]
        ]
        return large + [
            f"{what}: {self.estimated[what]} bytes were estimated and {self.built[what]} built, {off:+.1%};"
            " estimates are meant to be within 5 %"
            for what, off in self.errors.items()
            if self.complete and abs(off) > TOLERANCE
        ]

    @property
    def errors(self) -> dict[str, float]:
        """Relative errors of the estimate: above 0 it was too small."""
        return {what: (self.built[what] - self.estimated[what]) / self.built[what] for what in self.built}


def compare(folder: Path, built: BuildResult) -> SizeComparison:
    """Compare the estimate for the project in `folder` as it was exported with its build.

    Raises SerqError if the folder is damaged.
    """
    project, board = read_project(folder), read_board(folder / BOARD_FILE)
    stated = budget(Plan(load_model(folder / MODEL), board, project.app, project.storage))
    return SizeComparison(
        board,
        {"flash": stated.flash, "RAM": stated.ram - stated.heap},
        {"flash": built.flash_bytes, "RAM": built.ram_bytes},
        stated.counted,
        stated.complete,
    )
