"""Whose code is built and run: what a project's model and board give, unless the user asks for other.

A project folder may be somebody else's. Of its files, the model and the board file are data, which are
checked when they are read. All others are code: C, build scripts, PlatformIO's configuration. So what is
built to be run on this computer, or to be flashed, is exported again from model and board to a private
folder; a folder that holds anything else is refused by the names of the files. One thing may differ where
the program runs on a board and not here: the user's own C and C++ in src/, which a compiler reads and nothing
here runs. SECURITY.md has the whole boundary.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serq_mcu.base.files import read_regular
from serq_mcu.boards.board import BOARD_FILE, Board, all_boards, read_board
from serq_mcu.codegen.examples import EXAMPLES, example_files
from serq_mcu.codegen.export import OWN, README, Project, export, own_code, same_content
from serq_mcu.codegen.plan import MODEL, Plan
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import load_model

_NAMED = 3  # files that a refusal names


@contextlib.contextmanager
def buildable(project: Project, *, allow_changes: bool = False, runs_here: bool = True) -> Iterator[Project]:
    """Yield a project that may be built and run: a fresh export of the model and board in the folder.

    With allow_changes it is the folder itself, and whatever code it holds. Without runs_here, the program
    runs on a board alone: the user's own code comes along. Else raises SerqError that names the files by
    which the folder differs from that export.
    """
    if allow_changes:
        yield project
        return
    with tempfile.TemporaryDirectory(prefix="serq-project-") as work:
        fresh = _exported_again(project, Path(work) / "project")
        own = project.own_code(fresh.files)
        names = differences(project, fresh)
        if others := [name for name in names if runs_here or name not in own]:
            raise SerqError(_refusal(project, others, own))
        ours = _first_versions(fresh) if runs_here and own else {}
        for name in OWN:
            (fresh.folder / name).unlink(missing_ok=True)
        for name in own:
            data = read_regular(project.folder / name)
            if runs_here and data not in ours.get(name, []):  # changed since it was compared
                raise SerqError(_refusal(project, [name], own))
            (fresh.folder / name).write_bytes(data)
        yield fresh


def _refusal(project: Project, names: list[str], own: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    shown = f"{', '.join(names[:_NAMED])}{more}"
    if all(name in own for name in names):
        return (
            f"{project.folder} holds code that is not serq-mcu's own ({shown}), and it would run on this"
            " computer: if you wrote it, or trust who did, add --allow-changes"
        )
    return (
        f"{project.folder} is not what its model and board give ({shown}): export it again, or, if you trust"
        " who changed it, add --allow-changes to build and run it as it is"
    )


def changes(project: Project) -> list[str]:
    """List the files by which a folder differs from an export of its model and board."""
    with tempfile.TemporaryDirectory(prefix="serq-project-") as work:
        return differences(project, _exported_again(project, Path(work) / "project"))


def differences(project: Project, fresh: Project) -> list[str]:
    """List the files of a folder that another export has otherwise or has not; its README is nobody's code.

    A file that was added at the top of the folder is none that a build reads. Of the user's own code, what an
    export or an example writes is no difference.
    """
    differ = [
        name
        for name, digest in fresh.files.items()
        if name != README and not same_content(project.folder / name, digest)
    ]
    added = [name for name in project.added(fresh.files) if len(Path(name).parts) > 1]
    ours = _first_versions(fresh) if added else {}
    return differ + [name for name in added if not _is_one_of(project.folder / name, ours.get(name, []))]


def _first_versions(fresh: Project) -> dict[str, list[bytes]]:
    """Return what an export and each example write as the user's own code, by the name of the file."""
    if fresh.app != "live":
        return {}
    model, board = load_model(fresh.folder / MODEL), read_board(fresh.folder / BOARD_FILE)
    plan = Plan(model, board, fresh.app, fresh.storage)
    made = [own_code(plan)]
    for example in EXAMPLES.values():
        with contextlib.suppress(SerqError):  # not for this board
            made.append(example_files(example, plan))
    names = {name for files in made for name in files}
    return {name: [files[name] for files in made if name in files] for name in names}


def _is_one_of(path: Path, versions: list[bytes]) -> bool:
    return any(same_content(path, hashlib.sha256(data).hexdigest()) for data in versions)


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
