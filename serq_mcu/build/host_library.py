"""C of a model as a shared library of this computer, compiled once for each state of its sources."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from serq_mcu.base.cache import Cache, key
from serq_mcu.base.host import compiler
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
    sentence if it is compiled. Raises SerqError without a compiler, or if it refuses the code.
    """
    cc = compiler()
    command = (cc, *FLAGS, *(f"-D{macro}" for macro in defines))
    version = subprocess.run([cc, "--version"], capture_output=True, text=True, check=False).stdout

    def build(library: Path) -> None:
        if progress is not None:
            progress("compiling the model's C for this computer, once")
        _compile(command, files, owners or {}, library)

    contents = sorted((path, data) for path, data in files.items())
    return ctypes.CDLL(str(Cache().file(key(name, command, version, contents), ".so", build)))


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
