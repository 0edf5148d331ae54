"""Compile C for the host: portable sources under the project's own warnings, optionally with sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from serq_mcu.base.resources import FIRMWARE
from tests.support.shared import made_once

RUNTIME = FIRMWARE / "lib" / "serq" / "src"
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
SANITIZERS = ("-g1", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
VARIANTS = {
    "long multiply": ["-DSERQ_LONG_MULTIPLY=1", "-DSERQ_DIVIDE=1"],
    "long multiply, powers stored": ["-DSERQ_LONG_MULTIPLY=1", "-DSERQ_STORED_POWER=1"],
    "short multiply": ["-DSERQ_LONG_MULTIPLY=0"],
    "long multiply, sanitizers": ["-DSERQ_LONG_MULTIPLY=1", "-DSERQ_DIVIDE=1", *SANITIZERS],
    "short multiply, sanitizers": ["-DSERQ_LONG_MULTIPLY=0", *SANITIZERS],
}


def compile_program(
    output: Path,
    sources: Sequence[Path],
    flags: Sequence[str] = (),
    compiler: str = "cc",
    standard: str = "c99",
    runtime: Path = RUNTIME,
) -> Path:
    """Compile and link `sources` with the headers in `runtime` to the executable `output`, once for the
    same content in a test run; fail with the compiler's message if it refuses.
    """
    options = [f"-std={standard}", "-O2", *WARNINGS, *flags]
    includes = [runtime, *(Path(flag[2:]) for flag in flags if flag.startswith("-I"))]

    def compiled(program: Path) -> None:
        command = [compiler, *options, "-I", str(runtime), "-o", str(program), *map(str, sources)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"

    return made_once(_content(compiler, options, sources, includes), output, compiled)


def _content(
    compiler: str, options: Sequence[str], sources: Sequence[Path], includes: Sequence[Path]
) -> Iterator[str | bytes]:
    """All that decides a program: compiler, options but for where headers lie, sources, and every file that
    they may include.
    """
    yield str(shutil.which(compiler))
    yield from (option for option in options if not option.startswith("-I"))
    for source in sources:
        yield from (source.name, source.read_bytes())
    for folder in (*includes, *dict.fromkeys(source.parent for source in sources)):
        for path in sorted(path for path in folder.glob("*.[ch]") if path.is_file()):
            yield from (path.name, path.read_bytes())


def run(program: Path, stdin: bytes, *arguments: str) -> bytes:
    """Return what `program` writes for `stdin`; fail with its diagnostics, such as a sanitizer's."""
    result = subprocess.run([str(program), *arguments], input=stdin, capture_output=True)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    return result.stdout
