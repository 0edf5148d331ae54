"""Static analysis of the runtime's C; any finding is an error.

clang-tidy takes its checks from .clang-tidy, cppcheck its exceptions from .cppcheck-suppressions.

`python -m tools.lint_c` exports the default model to build/lint, for the headers that are generated, and
analyses the runtime twice: as the harness compiles it, with SERQ_TRACE, and as the live application does,
without. What needs a vendor's headers is left to the builds for the boards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.quantized_model.store import shipped_model

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "lint"
BIN = Path(sys.executable).parent
APPLICATIONS = {  # exported application: its flags, and folders and files of firmware/ compiled with them
    "harness": (["-DSERQ_TRACE=1"], ["lib/serq/src", "apps/harness", "ports/port_host.c"]),
    "live": (
        ["-DSERQ_TRACE=0"],
        [
            "lib/serq/src",
            "lib/serq_audio/src",
            "apps/live",
            "apps/capture",
            "apps/classify",
            "ports/audio.c",
            "ports/audio_port_line.c",
        ],
    ),
}


def main() -> None:
    """Analyse all; print the findings and exit with status 1 if there are any."""
    commands = [command for app in APPLICATIONS for command in _commands(app)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(_run, commands))
    print("".join(dict.fromkeys(output for output, _ in results)), end="")
    sys.exit(any(failed for _, failed in results))


def _commands(app: str) -> list[list[str]]:
    """List one command of clang-tidy a source file, and one of cppcheck for all of them."""
    folder = BUILD / app
    export(shipped_model(), load_board("esp32"), folder, force=True, app=app)
    flags, places = APPLICATIONS[app]
    generated = folder / "lib" / "serq" / "src"
    sources = [generated / "serq_model.c", *_sources(places)]
    headers = ["lib/serq/src", "lib/serq_audio/src", "ports"]
    includes = [f"-I{path}" for path in [*(FIRMWARE / name for name in headers), generated, folder / "src"]]
    cppcheck = [
        f"{BIN / 'cppcheck'}",
        "--quiet",
        "--std=c99",
        "--enable=warning,style,performance,portability",
        "--error-exitcode=1",
        f"--suppressions-list={ROOT / '.cppcheck-suppressions'}",
        f"--relative-paths={ROOT}",
        "-D__GNUC__",
        *flags,
        *includes,
        *map(str, sources),
    ]
    compilation = ["--", "-std=c99", *flags, *includes]
    tidy = [[f"{BIN / 'clang-tidy'}", "--quiet", str(source), *compilation] for source in sources]
    return [cppcheck, *tidy]


def _sources(places: Sequence[str]) -> list[Path]:
    found = (FIRMWARE / place for place in places)
    return [source for path in found for source in (sorted(path.glob("*.c")) if path.is_dir() else [path])]


def _run(command: Sequence[str]) -> tuple[str, bool]:
    """Run a command and return its findings, and whether it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = done.stdout + (done.stderr if done.returncode != 0 else "")
    return findings, done.returncode != 0


if __name__ == "__main__":
    main()
