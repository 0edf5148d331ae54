"""What the processes of one test run share: a folder, made anew for each run, and work done once in it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

FOLDER = "SERQ_TEST_RUN"  # the environment variable that names the folder
WORKER = "PYTEST_XDIST_WORKER"


def shared_folder(base: Path) -> Path:
    """Return the run's folder from a process's own base folder, which lies in it if it is a worker's."""
    folder = (base.parent if WORKER in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock, alone among processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made_once(parts: Iterable[str | bytes], output: Path, make: Callable[[Path], None]) -> Path:
    """Let `make` write the file `output`, or copy what it wrote for the same parts earlier in this run.

    parts: all that decides the file's content.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:  # a program of tests that runs outside pytest
        make(output)
        return output
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    kept = Path(folder) / digest.hexdigest()
    with locked(kept.with_suffix(".lock")):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                make(Path(work) / output.name)
                (Path(work) / output.name).rename(kept)
    shutil.copy(kept, output)
    return output
