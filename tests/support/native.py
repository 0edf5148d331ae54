"""Compile C for the host: portable sources under the project's own warnings, optionally with sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from serq_mcu.base.resources import FIRMWARE

RUNTIME = FIRMWARE / "lib" / "serq" / "src"
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
SANITIZERS = ("-g1", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_program(
    output: Path,
    sources: Sequence[Path],
    flags: Sequence[str] = (),
    compiler: str = "cc",
    standard: str = "c99",
    runtime: Path = RUNTIME,
) -> Path:
    """Compile and link `sources` with the headers in `runtime` to the executable `output`; the compiler's
    own words if it refuses.
    """
    command = [
        compiler,
        f"-std={standard}",
        "-O2",
        *WARNINGS,
        "-I",
        str(runtime),
        *flags,
        "-o",
        str(output),
        *map(str, sources),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
    return output


def run(program: Path, stdin: bytes, *arguments: str) -> bytes:
    """What `program` writes for `stdin`; its diagnostics (a sanitizer's, say) if it fails."""
    result = subprocess.run([str(program), *arguments], input=stdin, capture_output=True)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    return result.stdout
