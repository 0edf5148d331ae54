"""Whose code is built and run: what a project's model and board give, unless the user asks for other.

A project folder may be somebody else's. Of its files, the model and the board file are data, which are
checked when they are read. All others are code: C, build scripts, PlatformIO's configuration. So what is
built to be run on this computer, or to be flashed, is exported again from model and board to a private
folder; a folder that holds anything else is refused by the names of the files. SECURITY.md has the whole
boundary.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serq_mcu.boards.board import BOARD_FILE, Board, all_boards, read_board
from serq_mcu.codegen.export import README, Project, export, same_content
from serq_mcu.codegen.plan import MODEL
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import load_model

_NAMED = 3  # files that a refusal names


@contextlib.contextmanager
def buildable(project: Project, *, allow_changes: bool = False) -> Iterator[Project]:
    """Yield a project that may be built and run: a fresh export of the model and board in the folder.

    With allow_changes it is the folder itself, and whatever code it holds. Else raises SerqError that names
    the files by which the folder differs from that export.
    """
    if allow_changes:
        yield project
        return
    with tempfile.TemporaryDirectory(prefix="serq-project-") as work:
        fresh = _exported_again(project, Path(work) / "project")
        if names := differences(project, fresh):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise SerqError(
                f"{project.folder} is not what its model and board give ({', '.join(names[:_NAMED])}{more}):"
                " export it again, or, if you trust who changed it, add --allow-changes to build and run it"
                " as it is"
            )
        yield fresh


def changes(project: Project) -> list[str]:
    """List the files by which a folder differs from an export of its model and board."""
    with tempfile.TemporaryDirectory(prefix="serq-project-") as work:
        return differences(project, _exported_again(project, Path(work) / "project"))


def differences(project: Project, fresh: Project) -> list[str]:
    """List the files of a folder that another export has otherwise or has not; its README is nobody's code.

    A file that was added at the top of the folder is none that a build reads.
    """
    differ = [
        name
        for name, digest in fresh.files.items()
        if name != README and not same_content(project.folder / name, digest)
    ]
    return differ + [name for name in project.added(fresh.files) if len(Path(name).parts) > 1]


def _exported_again(project: Project, folder: Path) -> Project:
    """Export the model and board of a project to another folder."""
    board = read_board(project.folder / BOARD_FILE)
    _require_known(project, board)
    return export(load_model(project.folder / MODEL), board, folder, project.app, project.storage)


def _require_known(project: Project, board: Board) -> None:
    """Raise SerqError for a board file that brings what PlatformIO or an emulator would run here."""
    known = all_boards()
    foreign = ""
    if board.platformio.platform not in {one.platformio.platform for one in known}:
        foreign = f"PlatformIO's platform {board.platformio.platform}"
    elif board.emulated and board.port.source and board.toml not in {one.toml for one in known}:
        foreign = f"the port {board.port.source} of an emulated board"
    if foreign:
        raise SerqError(
            f"{project.folder / BOARD_FILE} brings {foreign}, which would run on this computer; if you trust"
            " who made it, add --allow-changes"
        )
