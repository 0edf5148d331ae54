"""What was stated before a build against what was built."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards.board import BOARD_FILE, Board, read_board
from serq_mcu.build.platformio import BuildResult
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import MODEL, model_files, read_project
from serq_mcu.quantized_model.store import load_model

_WEIGHTS = "lib/serq/src/serq_weights.h"
TOLERANCE = 0.05  # of what was built: other compiler versions, and what the linker puts between sections


@dataclass(frozen=True)
class Comparison:
    """Bytes of flash and RAM before and after a build, and what nobody could know before (a framework);
    all with the stack.
    """

    board: Board
    stated: dict[str, int]
    built: dict[str, int]
    complete: bool  # whether the statement had all

    @property
    def warnings(self) -> list[str]:
        """A sentence for each figure that is further off than TOLERANCE, and for each that the board has
        not got.
        """
        has = {"flash": self.board.mcu.flash_bytes, "RAM": self.board.mcu.ram_bytes}
        large = [
            f"{what}: {self.built[what]} bytes were built and {self.board.name} has {has[what]}"
            for what in has
            if self.built[what] > has[what]
        ]
        return large + [
            f"{what}: {self.stated[what]} bytes were stated before the build and {self.built[what]} built,"
            f" {off:+.1%}; the statement is good to 5 %"
            for what, off in self.errors.items()
            if self.complete and abs(off) > TOLERANCE
        ]

    @property
    def errors(self) -> dict[str, float]:
        """By how much of what was built the statement was too small (above 0) or too large."""
        return {what: (self.built[what] - self.stated[what]) / self.built[what] for what in self.built}

    def lines(self) -> list[str]:
        """For people."""
        return [self._line(what) for what in self.built] + [
            f"warning: {warning}" for warning in self.warnings
        ]

    def _line(self, what: str) -> str:
        known, built = self.stated[what], self.built[what]
        if self.complete:
            return f"{what}: {built} bytes, {known} stated before ({self.errors[what]:+.1%})"
        return (
            f"{what}: {built} bytes, {known} of them stated before; the other {built - known} are the"
            " framework's and the drivers'"
        )


def compare(folder: Path, built: BuildResult) -> Comparison:
    """The statement for the project in `folder` as it was exported, against its build.

    Raises SerqError if the folder is damaged.
    """
    project, board = read_project(folder), read_board(folder / BOARD_FILE)
    model = load_model(folder / MODEL)
    plain = hashlib.sha256(model_files(model, board)[_WEIGHTS]).hexdigest()
    stated = budget(model, board, wider=project.files.get(_WEIGHTS) != plain, app=project.app)
    return Comparison(
        board,
        {"flash": stated.flash, "RAM": stated.ram},
        {"flash": built.flash_bytes, "RAM": built.ram_bytes},
        stated.complete,
    )
