"""Programs that some tests need: skip where one is absent, fail where continuous integration lacks it."""

from __future__ import annotations

import os
import shutil

import pytest

from serq_mcu.boards.board import all_boards
from serq_mcu.build.platformio import lacks


def needs(*programs: str) -> pytest.MarkDecorator:
    """Mark a test, or a `pytest.param`, that runs these programs."""
    return pytest.mark.needs(*programs)


def require(*programs: str) -> None:
    """End the running test if one of the programs is not in PATH.

    It is skipped with the reason, or fails if the environment has CI=true, where every test must run.
    """
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        absent(f"{', '.join(missing)} is not installed")


def require_emulators() -> None:
    """`require` for the compilers and the QEMU of every emulated board."""
    lacking = {board.name: lacks(board) for board in all_boards() if board.emulated}
    if missing := sorted({program for program in lacking.values() if program}):
        absent(f"{', '.join(missing)} is not installed; run `serq-mcu toolchain setup`")


def absent(reason: str) -> None:
    """End the running test: what it needs is not here."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and continuous integration must run this test")
    pytest.skip(reason)
