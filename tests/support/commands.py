"""serq-mcu as a process: all its commands, and Ctrl-C while one runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

SERQ = [sys.executable, "-m", "serq_mcu"]
PATIENCE = 600  # seconds, far more than a busy computer needs


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """List the words of every command below a group."""
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


def heed_interrupts() -> None:
    """Let a new process end by Ctrl-C, which a shell's background jobs ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt(
    words: list[str], when: Callable[[str], bool], errors: Path, program: Sequence[str] = SERQ
) -> tuple[int, str]:
    """Run a command, press Ctrl-C as soon as `when` holds of its standard error, and return its exit code
    and standard error.

    Fails if a process of the command or a temporary file of it is left.
    """
    work = errors.parent / "temporary"
    work.mkdir()
    with errors.open("w") as file:
        process = subprocess.Popen(
            [*program, *words],
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=os.environ | {"TMPDIR": str(work)},
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )
    until = time.monotonic() + PATIENCE
    while not when(errors.read_text()):
        assert process.poll() is None, errors.read_text()
        assert time.monotonic() < until, errors.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # to all processes, as a terminal does
    code = process.wait(PATIENCE)
    left = [path for path in work.iterdir() if not path.name.startswith("__autograph")]  # TensorFlow's
    assert left == []
    while running := [line for line in _command_lines() if str(work.parent) in line]:
        assert time.monotonic() < until, running  # its workers may need a moment longer than itself
        time.sleep(0.05)
    return code, errors.read_text()


def _command_lines() -> list[str]:
    """Of all processes that run; not of those that ended and are still listed."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end while this looks
            lines.append((process / "cmdline").read_text(errors="replace"))
    return lines


def assert_one_line(said: str, words: str) -> None:
    """Check that an interrupted command wrote one sentence about it, and no traceback."""
    assert "Traceback" not in said, said
    assert [line for line in said.splitlines() if "interrupted" in line] == [f"interrupted; {words}"]
