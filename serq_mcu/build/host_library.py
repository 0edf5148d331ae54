"""C of a model as a shared library of this computer, compiled once for each state of its sources."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from serq_mcu.base.cache import Cache, key, private_file
from serq_mcu.base.host import compiler, compiler_identity
from serq_mcu.errors import SerqError

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared")


def host_library(
    name: str,
    files: Mapping[str, bytes],
    defines: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
    owners: Mapping[str, str] | None = None,
) -> ctypes.CDLL:
    """Load the shared library of C files, by file name, from the cache, or compile it into it.

    defines: macros; owners: what to name in an error in a file, by file name. progress is called with a
    sentence if it is compiled. Raises SerqError without a compiler, if it refuses the code, or if this
    computer does not load the result.
    """
    command = (compiler(), *FLAGS, *(f"-D{macro}" for macro in defines))

    def build(library: Path) -> None:
        if progress is not None:
            progress("compiling the model's C for this computer, once")
        _compile(command, files, owners or {}, library)

    contents = sorted((path, data) for path, data in files.items())
    path = Cache().file(key(name, compiler_identity(command[0]), command, contents), ".so", build)
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # nothing may run from the cache's disk, or its digest was made for damage
        return _load_private(private_file(path.name, build))


def _load_private(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise SerqError(
            f"this computer does not load the C that it compiled ({error}); set TMPDIR to a folder from which"
            " programs may run"
        ) from error


def first_error(said: str) -> str:
    """Pick the line of a compiler's messages that tells what is wrong."""
    lines = said.splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "no message").strip()


def _compile(
    command: Sequence[str], files: Mapping[str, bytes], owners: Mapping[str, str], library: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="serq-library-") as work:
        for name, data in files.items():
            (Path(work) / name).write_bytes(data)
        sources = [name for name in sorted(files) if name.endswith(".c")]
        done = subprocess.run(
            [*command, *sources, "-o", str(library)],
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            error = first_error(done.stderr)
            owner = next((owner for name, owner in owners.items() if name in error), "the model")
            raise SerqError(f"{command[0]} does not compile the C of {owner}: {error}")
