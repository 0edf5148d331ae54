"""Work in a child process: ended at each step that it takes in the file system, without a clock or a race; or
as another user.
"""

from __future__ import annotations

import contextlib
import enum
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STEPS = ("open", "os.", "shutil.", "tempfile.", "fcntl.flock")  # how audit events of files begin
_NOBODY = 65534
_DONE, _FAILED, _ENDED = 0, 97, 99


class Killed(enum.Enum):
    """How a process ends: at once, or by an exception that it may handle."""

    SIGKILL = "SIGKILL"
    CTRL_C = "Ctrl-C"


def kill_at_every_step(
    work: Callable[[], Any],
    end: Killed,
    check: Callable[[int], Any],
    within: Path | None = None,
    every: int = 1,
) -> int:
    """Do `work` in a child that ends before step 1, then in one that ends before step 1 + `every`, and so on
    until one comes through; `check` runs after each. Returns the number of kills.

    within: count the steps in this folder alone.
    """
    kills = 0
    while True:
        step = 1 + kills * every
        code = _child(work, end, step, within)
        if code == _DONE:
            return kills
        assert code == (-signal.SIGKILL if end is Killed.SIGKILL else _ENDED), (step, code)
        check(step)
        kills += 1


def steps_of(work: Callable[[], Any], within: Path) -> int:
    """Do `work` in a child, and return the steps that it takes in a folder."""
    near, far = os.pipe()
    try:
        assert _child(work, Killed.SIGKILL, sys.maxsize, within, far) == _DONE
        return int(os.read(near, 99))
    finally:
        os.close(near)
        os.close(far)


def killed_at(work: Callable[[], Any], end: Killed, step: int, within: Path) -> bool:
    """Do `work` in a child that ends before a step within a folder, and return whether it got so far."""
    code = _child(work, end, step, within)
    assert code in (_DONE, -signal.SIGKILL if end is Killed.SIGKILL else _ENDED), (step, code)
    return code != _DONE


def run_whole(work: Callable[[], Any]) -> None:
    """Do `work` in a child, as the next run of a command would."""
    assert _child(work, Killed.SIGKILL, sys.maxsize) == _DONE


def as_another_user(work: Callable[[Path], Any]) -> None:
    """Do `work` in a child with a folder of its own, and as a user who may not write everywhere."""
    folder = Path(tempfile.mkdtemp(prefix="serq-user-"))

    def enter() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        work(folder)

    try:
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        run_whole(enter)
    finally:
        shutil.rmtree(folder)


def _child(
    work: Callable[[], Any], end: Killed, at: int, within: Path | None = None, told: int | None = None
) -> int:
    """Do `work` in a child and its process group, and return how it ended.

    told: a file descriptor, to which the child writes the number of its steps.
    """
    child = os.fork()
    if child == 0:
        code = _FAILED
        try:
            os.setpgid(0, 0)
            steps = _end_at(end, at, within)
            try:
                work()
            finally:
                if told is not None:
                    os.write(told, str(steps()).encode())
            code = _DONE
        except KeyboardInterrupt:
            code = _ENDED
        except SystemExit as error:
            code = _ENDED if error.code == 130 else _DONE if error.code in (0, None) else _FAILED
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(ProcessLookupError):  # what it started, and a kill left
        os.killpg(child, signal.SIGKILL)
    return code


def _end_at(end: Killed, at: int, within: Path | None) -> Callable[[], int]:
    """End this process before a step; gives the number of steps so far."""
    steps, folder = 0, str(within or "")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        here = event.startswith(_STEPS) and event != "os.fork"
        removed = (
            event in ("os.remove", "os.rmdir") and arguments[-1] != -1
        )  # by an open folder, as rmtree does
        if here and (not folder or removed or any(_is_in(value, folder) for value in arguments)):
            steps += 1
            if steps == at and end is Killed.SIGKILL:
                os.kill(os.getpid(), signal.SIGKILL)
            if steps == at:
                raise KeyboardInterrupt

    sys.addaudithook(hook)
    return lambda: steps


def _is_in(value: Any, folder: str) -> bool:
    """Tell whether an argument of a step is a path in the folder."""
    if isinstance(value, (str, bytes, Path)):
        return os.fsdecode(value).startswith(folder)
    return False
