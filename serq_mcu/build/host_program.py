"""The exported C as a program of this computer: the fastest device there is."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from serq_mcu.base import resources
from serq_mcu.base.host import compiler
from serq_mcu.codegen.export import read_project
from serq_mcu.errors import SerqError

PAYLOAD = 4096  # bytes a frame: memory is plenty here, and longer frames are fewer
SMALL_FRAMES = ("-std=c99", "-O2", "-DSERQ_TRACE=1")  # the payload of a board
FLAGS = (*SMALL_FRAMES, f"-DSERQ_HARNESS_PAYLOAD={PAYLOAD}")


@contextlib.contextmanager
def host_build(folder: Path, flags: Sequence[str] = FLAGS) -> Iterator[Path]:
    """Compile the exported project `folder` with the port for a POSIX process.

    The program is removed when the block ends. Raises SerqError if there is no C compiler or it refuses the
    code.
    """
    ports, place = resources.FIRMWARE / "ports", folder.absolute()  # no name that begins like an option
    sources = [
        *sorted((place / "lib" / "serq" / "src").glob("*.c")),
        *sorted(path for path in (place / "src").glob("*.c") if not path.name.startswith("port_")),
        ports / "port_host.c",
    ]
    with tempfile.TemporaryDirectory(prefix="serq-host-") as work:
        program = Path(work) / "harness"
        includes = [f"-I{place / 'lib' / 'serq' / 'src'}", f"-I{place / 'src'}", f"-I{ports}"]
        command = [compiler(), *flags, *includes, *map(str, sources), "-o", str(program)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if run.returncode != 0:
            lines = (
                [line for line in run.stderr.splitlines() if "error" in line]
                or run.stderr.splitlines()
                or ["no message"]
            )
            error = read_project(folder).blamed(lines[0].strip())
            raise SerqError(f"the C compiler refused {folder}: {error}")
        yield program
