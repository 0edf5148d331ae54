"""What the code of a plan takes of flash and RAM, by the board's compiler or the nearest one.

Results are kept by digest.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.base.cache import Cache, key
from serq_mcu.base.host import compiler_identity
from serq_mcu.boards.board import EMULATED_PLATFORM, Board, Emulator, load_board
from serq_mcu.codegen.export import board_files, runtime_files
from serq_mcu.codegen.plan import Files, Plan
from serq_mcu.codegen.stack import deepest_stack
from serq_mcu.errors import SerqError

_NOT_STORED = re.compile(r"\.(comment|debug|note|riscv|ARM\.attributes|xt|xtensa|stack|heap)")
_INCLUDES = ("-Ilib/serq/src", "-Ilib/serq_audio/src", "-Isrc")
_FLAGS = ("-O2", "-std=gnu11", "-ffunction-sections", "-fdata-sections", "-fcallgraph-info=su", *_INCLUDES)
_APPLICATION = ("-nostdlib", "-r", "-Wl,--entry=application_run")

Size = tuple[int, int]  # bytes of flash and of RAM


@dataclass(frozen=True)
class ProgramSize:
    """Sizes for `core`: of what is portable, and, of an emulated board, of the whole program; or why not.

    stack: the most bytes of it, of what is compiled; None where that is not known.
    """

    core: str
    application: Size | str
    whole: Size | str | None = None
    stack: int | None = None


def measure_program(plan: Plan) -> ProgramSize:
    """Compile a plan's project where its compiler is installed.

    The result is kept, by all that it depends on.
    """
    board = plan.board
    target = board if isinstance(board.emulator, Emulator) else load_board(board.emulator.relative)
    assert isinstance(target.emulator, Emulator)
    name = f"{target.emulator.compiler}gcc"
    compiler = shutil.which(name)
    if compiler is None:
        return ProgramSize(target.mcu.core, f"{name} is not installed (`serq-mcu toolchain setup`)")
    files = runtime_files(plan.app) | plan.model_files | _portable_files(board, target, plan.app)
    contents = sorted((path, data) for path, data in files.items())
    parts = [compiler, compiler_identity(compiler), plan.app, board.emulated, target.toml, contents]
    kept = Cache().remembered(
        key("program size", *parts, code=(__name__,)),
        lambda: json.dumps(_measure(files, target, compiler, plan.app, link=board.emulated)).encode(),
    )
    application, whole, stack = json.loads(kept)
    return ProgramSize(target.mcu.core, _size(application), None if whole is None else _size(whole), stack)


def _size(value: list[int] | str) -> Size | str:
    return value if isinstance(value, str) else (value[0], value[1])


def _measure(
    files: Files, target: Board, compiler: str, app: str, *, link: bool
) -> tuple[Size | str, Size | str | None, int | None]:
    with tempfile.TemporaryDirectory(prefix="serq-size-") as work:
        folder = Path(work)
        for path, data in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        application = _built(compiler, target, folder, app, _APPLICATION)
        # most often it does not link since it is larger than the board's memory, which the rest then shows
        whole = _built(compiler, target, folder, app, _program_flags(target)) if link else None
        stack = None if isinstance(application, str) else _stack(folder)
    failed = f"{compiler} failed ({application})"
    return (failed if isinstance(application, str) else application), whole, stack


def _stack(folder: Path) -> int | None:
    """Find the most bytes of stack by what the compiler wrote beside objects; None if it is no bound."""
    application = {path.stem for path in (folder / "src").iterdir()}
    graphs = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.ci"))}
    own, libraries = ([graphs[n] for n in graphs if (n in application) is of] for of in (True, False))
    try:
        return deepest_stack(own, libraries) if own else None
    except SerqError:
        return None


def _built(compiler: str, target: Board, folder: Path, app: str, link: Sequence[str]) -> Size | str:
    """Measure the program in `folder`, or with -r what is portable in it.

    Returns the compiler's message if it fails.
    """
    assert isinstance(target.emulator, Emulator)
    partial = "-r" in link
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".S"))
    sources = [path.relative_to(folder).as_posix() for path in found]
    if partial:
        sources = [path for path in sources if path.startswith(("lib/", "src/")) and "port_" not in path]
    trace = ["-DSERQ_TRACE=1"] if app == "harness" else []
    # -r takes no --specs; unused sections go in both, so that no kernel counts which the model does not call
    machine = [flag for flag in target.emulator.compile_flags if flag.startswith("-m") or not partial]
    objects = [f"{Path(source).stem}.o" for source in sources]
    commands = (
        [*target.emulator.compile_flags, *_FLAGS, *trace, "-c", *sources],
        [*machine, "-Wl,--gc-sections", *link, *objects, "-o", "program"],
    )
    for command in commands:
        done = subprocess.run(
            [compiler, *command], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode != 0:
            messages = done.stderr.strip().splitlines() or ["no message"]
            return next((line for line in messages if "overflowed" in line), messages[-1])
    size = [compiler.removesuffix("gcc") + "size", "-A", "program"]
    listed = subprocess.run(size, cwd=folder, capture_output=True, text=True, errors="replace", check=True)
    return _sections(listed.stdout.splitlines())


def _program_flags(board: Board) -> list[str]:
    """Return the flags with which the emulated platform's builder links a program."""
    assert isinstance(board.emulator, Emulator)
    own = board.emulator.runtime
    script = f"platforms/{EMULATED_PLATFORM}/{own}/link.ld" if own else "picolibc.ld"
    symbols = [f"-Wl,--defsym={symbol}={value:#x}" for symbol, value in board.linker_symbols.items()]
    return [*symbols, "-T", script, *(["-nostartfiles"] if own else [])]


def _portable_files(board: Board, target: Board, app: str) -> Files:
    """Read the files for the emulated `target` that stand for the board's own.

    They have the board's settings: its ring is as long as it is.
    """
    settings = "src/serq_board.h"
    return board_files(target, app) | {settings: board_files(board, app)[settings]}


def _sections(lines: Iterable[str]) -> Size:
    """Flash and RAM bytes of `size -A` lines."""
    flash = ram = 0
    for line in lines:
        name, number, *rest = [*line.split(), "", ""]
        if not name.startswith(".") or not number.isdigit() or len(rest) != 3 or _NOT_STORED.match(name):
            continue
        size = int(number)
        flash += 0 if name.startswith(".bss") else size
        ram += size if name.startswith((".bss", ".data")) else 0
    return flash, ram
