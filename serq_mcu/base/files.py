"""Atomic writing: a file or folder appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serq_mcu.errors import SerqError


def write_file(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path` through a temporary file beside it, and return the path.

    Raises SerqError if the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise SerqError(f"cannot write {path}: {error.strerror or error}") from error
    return path


@contextlib.contextmanager
def new_folder(path: Path, marker: str) -> Iterator[Path]:
    """Yield a temporary folder that replaces `path` when the block ends well, and vanishes when it does not.

    An existing folder is replaced only if it is empty or holds the file `marker`, a sign that we made it.
    Raises SerqError for any other existing folder or where nothing can be written.
    """
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / marker).exists())):
        raise SerqError(f"{path} exists and was not made by serq-mcu; choose another folder or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise SerqError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        os.chmod(fresh, 0o777 & ~_umask())
        yield fresh
        if path.exists():
            shutil.rmtree(path)
        os.replace(fresh, path)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise SerqError(f"cannot write {path}: {error.strerror or error}") from error
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
