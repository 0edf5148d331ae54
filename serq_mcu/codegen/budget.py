"""What a model needs of a board, before any build: each figure with its basis."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serq_mcu.boards.board import EMULATED_PLATFORM, Board, Emulator, load_board
from serq_mcu.codegen.costs import Row, estimate, milliseconds, row_lines, timing, total
from serq_mcu.codegen.export import Files, board_files, model_files, runtime_files
from serq_mcu.codegen.kernels import choose, core_of, packed_bytes
from serq_mcu.codegen.packing import CONSTANT_BYTES, Part, pack_bias, pack_scale, start_bias
from serq_mcu.codegen.render import model_names
from serq_mcu.frontend.code import frontend_arrays
from serq_mcu.quantized_model.types import QuantizedModel

_POOL_BYTES = 24  # sizeof(serq_pool)
_TABLE_BYTES = 2048  # sizeof(serq_table)
_NOT_STORED = re.compile(r"\.(comment|debug|note|riscv|ARM\.attributes|xt|xtensa|stack|heap)")


@dataclass(frozen=True)
class Item:
    """One figure: bytes of flash and of RAM (None: not known yet), and where it is from."""

    name: str
    flash: int | None
    ram: int | None
    basis: str


@dataclass(frozen=True)
class Budget:
    """All figures of a model on a board."""

    board: Board
    model: QuantizedModel
    items: tuple[Item, ...]
    rows: tuple[Row, ...]  # of a frame and a decision

    @property
    def flash(self) -> int:
        """Bytes of flash that are known to be needed."""
        return sum(item.flash or 0 for item in self.items)

    @property
    def ram(self) -> int:
        """Bytes of RAM that are known to be needed."""
        return sum(item.ram or 0 for item in self.items)

    @property
    def fits(self) -> bool:
        """Whether what is known fits the board, and the stack what is reserved for it."""
        return (
            self.flash <= self.board.mcu.flash_bytes
            and self.ram <= self.board.mcu.ram_bytes
            and self._stack <= self.board.port.stack_bytes
        )

    @property
    def _stack(self) -> int:
        return core_of(self.board.mcu).stack

    @property
    def basis(self) -> str:
        """What instructions, cycles and times rest on, in a sentence."""
        return (
            f"estimated from counts in QEMU of every stage on {core_of(self.board.mcu).name} at other sizes;"
            f" {timing(self.board.mcu)}"
        )

    def to_json(self) -> dict[str, Any]:
        """For `check --json`."""
        return {
            "board": self.board.name,
            "identity": self.model.sha256[:16],
            "fits": self.fits,
            "flash_bytes": self.flash,
            "ram_bytes": self.ram,
            "board_flash_bytes": self.board.mcu.flash_bytes,
            "board_ram_bytes": self.board.mcu.ram_bytes,
            "stack_bytes": self._stack,
            "board_stack_bytes": self.board.port.stack_bytes,
            "basis": self.basis,
            "rows": [
                asdict(row) | {"milliseconds": milliseconds(row, self.board.mcu.clock_hz)}
                for row in (*self.rows, total(self.rows, "frame"), total(self.rows, "decision"))
            ],
            "items": [
                {"name": i.name, "flash_bytes": i.flash, "ram_bytes": i.ram, "basis": i.basis}
                for i in self.items
            ],
        }

    @property
    def summary(self) -> str:
        """All of it in a line, for `export`."""
        mcu, decision = self.board.mcu, milliseconds(total(self.rows, "decision"), self.board.mcu.clock_hz)
        known = "" if self.complete else ", a framework's own not counted"
        time = "" if decision is None else f", about {decision:.1f} ms a decision"
        sizes = (
            f"{self.flash} of {mcu.flash_bytes} bytes of flash, {self.ram} of {mcu.ram_bytes} of RAM with"
            f" {self.board.port.stack_bytes} of stack"
        )
        return f"{'fits' if self.fits else 'does not fit'}: {sizes}{known}{time}"

    @property
    def complete(self) -> bool:
        """Whether nothing is left that only a build can tell."""
        return all(item.flash is not None for item in self.items)

    def lines(self) -> list[str]:
        """For people."""
        rows = [f"{'':<28}{'flash B':>10}{'RAM B':>10}  basis"]
        rows += [f"{i.name:<28}{_bytes(i.flash):>10}{_bytes(i.ram):>10}  {i.basis}" for i in self.items]
        rows.append(f"{'known so far':<28}{self.flash:>10}{self.ram:>10}")
        rows.append(
            f"{self.board.name + ' has':<28}{self.board.mcu.flash_bytes:>10}{self.board.mcu.ram_bytes:>10} "
            f" {self.board.title}"
        )
        rows += [*row_lines(self.rows, self.board.mcu.clock_hz), self.basis]
        remedy = "choose fewer bits, smaller layers or a larger board"
        if self._stack > self.board.port.stack_bytes:
            remedy = f"the stack needs {self._stack} bytes; raise [port] stack_bytes in its board file"
        rows.append("fits" if self.fits else f"does not fit {self.board.name}: {remedy}")
        return rows


def budget(model: QuantizedModel, board: Board, wider: bool = False, app: str = "harness") -> Budget:
    """Count what the model stores, measure the code where the board's compiler is at hand, and say what is
    not known yet.

    wider and app: as of `export`.
    """
    core, parts = core_of(board.mcu), choose(model, board.mcu, wider)
    items = [
        *(_model_items(model, board, parts) if app != "capture" else []),
        *_program_items(model, board, parts, model_files(model, board, wider), app),
        Item(
            "stack",
            0,
            board.port.stack_bytes,
            f"reserved in the board's settings; the harness used {core.stack} when counted on {core.name}",
        ),
    ]
    return Budget(board, model, tuple(items), estimate(model, board.mcu, parts) if app != "capture" else ())


def _model_items(model: QuantizedModel, board: Board, parts: list[tuple[Part, ...]]) -> list[Item]:
    """What is the model's own, and not at all in an application that only passes samples on."""
    return [
        Item("packed weights", _packed_bytes(model, parts), 0, "counted"),
        Item(
            "biases, requantization",
            _bias_bytes(model, parts) + CONSTANT_BYTES * len(model.layers),
            0,
            "counted",
        ),
        Item("input constants", _input_bytes(model), 0, "counted"),
        Item("front-end tables", _table_bytes(model), 0, "counted"),
        Item("recogniser state", 0, state_bytes(model, board), "counted: sizeof(serq_state)"),
    ]


def state_bytes(model: QuantizedModel, board: Board) -> int:
    """sizeof(serq_state) on a 32-bit core, from the layout in serq.h."""
    spec, names = model.spec, model_names(model, board.mcu)
    frame = (
        _aligned(
            8 * (spec.fft_length // 2 + 1) + 8 * spec.mel_bands * spec.uses_mel + 4 * names["max_values"]
        )
        + 8
        + 1
    )
    decision = (
        4 * spec.feature_count
        + 4 * names["max_outputs"]
        + _TABLE_BYTES
        + names["even_width"]
        + names["odd_width"]
    )
    scratch = _aligned(max(_aligned(frame), _aligned(decision)))
    return _aligned(scratch + _POOL_BYTES * names["pools"] + 2 * spec.frame_length + 4 + 2 + 2)


def _table_bytes(model: QuantizedModel) -> int:
    return sum(array.values.nbytes for array in frontend_arrays(model.spec, model.tables))


def _packed_bytes(model: QuantizedModel, parts: list[tuple[Part, ...]]) -> int:
    return sum(packed_bytes(layer, ways) for layer, ways in zip(model.layers, parts, strict=True))


def _bias_bytes(model: QuantizedModel, parts: list[tuple[Part, ...]]) -> int:
    biases = (start_bias(layer, ways) for layer, ways in zip(model.layers, parts, strict=True))
    return sum(pack_bias(bias).array.nbytes for bias in biases)


def _input_bytes(model: QuantizedModel) -> int:
    return model.input.center.nbytes + pack_scale(model.input).nbytes


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def _program_items(
    model: QuantizedModel, board: Board, parts: list[tuple[Part, ...]], generated: Files, app: str
) -> list[Item]:
    """Text and data of runtime and application, compiled for the board's instruction set or the nearest
    that can be emulated; and, of an emulated board, what is linked to them.
    """
    name, rest = (
        f"code of runtime and {app}",
        "start-up code, C library" if board.emulated else "framework, drivers",
    )
    unknown = [Item(rest, None, None, "not known yet: `serq-mcu build` measures it")]
    target = board if isinstance(board.emulator, Emulator) else load_board(board.emulator.relative)
    assert isinstance(target.emulator, Emulator)
    compiler = shutil.which(f"{target.emulator.compiler}gcc")
    if compiler is None:
        return [
            Item(
                name,
                None,
                None,
                f"not known yet: {target.emulator.compiler}gcc is not installed (`serq-mcu toolchain setup`)",
            ),
            *unknown,
        ]
    with tempfile.TemporaryDirectory() as folder:
        files = runtime_files(app) | generated | _portable_files(board, target, app)
        for path, data in files.items():
            place = Path(folder) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        application = _linked(
            compiler, target, Path(folder), app, ["-nostdlib", "-r", "-Wl,--entry=application_run"]
        )
        whole = (
            _linked(compiler, target, Path(folder), app, _program_flags(target))
            if board.emulated
            else application
        )
    if isinstance(application, str):
        return [Item(name, None, None, f"not known yet: {compiler} failed ({application})"), *unknown]
    flash, ram = application
    if isinstance(
        whole, str
    ):  # most often because it is larger than the board's memory, which the rest then shows
        unknown = [Item(rest, None, None, f"not known yet: it does not link ({whole})")]
    elif board.emulated:
        whole_flash, whole_ram = whole
        unknown = [
            Item(rest, whole_flash - flash, whole_ram - ram, f"compiled and linked for {target.mcu.core}")
        ]
    basis = (
        f"compiled for {target.mcu.core} with"
        f" -O2{'' if target is board else f', the nearest compiler to {board.mcu.core}'}"
    )
    if app == "capture":
        return [Item(name, flash, ram, basis), *unknown]
    # the tables and weights of serq_model.c are counted above; what is left of the read-only data is the
    # application's own
    flash -= (
        _table_bytes(model) + _bias_bytes(model, parts) + _input_bytes(model) + _packed_bytes(model, parts)
    )
    return [Item(name, flash, ram - state_bytes(model, board), f"{basis}; RAM beyond the state"), *unknown]


def _linked(compiler: str, target: Board, folder: Path, app: str, link: list[str]) -> tuple[int, int] | str:
    """Flash and RAM bytes of the program in `folder`, or with -r of what is portable in it; or what the
    compiler said.
    """
    assert isinstance(target.emulator, Emulator)
    found = (
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".c", ".S")
    )
    sources = [
        path
        for path in found
        if "-r" not in link or (path.startswith(("lib/", "src/")) and "port_" not in path)
    ]
    trace = ["-DSERQ_TRACE=1"] if app == "harness" else []
    flags = [
        "-O2",
        "-std=gnu11",
        *trace,
        "-ffunction-sections",
        "-fdata-sections",
        "-Ilib/serq/src",
        "-Ilib/serq_audio/src",
        "-Isrc",
    ]
    # -r takes no --specs; unused sections go in both, so that no kernel counts which the model does not call
    machine = (
        [flag for flag in target.emulator.compile_flags if flag.startswith("-m")]
        if "-r" in link
        else target.emulator.compile_flags
    )
    objects = [f"{Path(source).stem}.o" for source in sources]
    for command in (
        [*target.emulator.compile_flags, *flags, "-c", *sources],
        [*machine, "-Wl,--gc-sections", *link, *objects, "-o", "program"],
    ):
        done = subprocess.run([compiler, *command], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["no message"]
            return next((line for line in said if "overflowed" in line), said[-1])
    size = subprocess.run(
        [compiler.removesuffix("gcc") + "size", "-A", "program"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return _sections(size.stdout.splitlines())


def _program_flags(board: Board) -> list[str]:
    """How the emulated platform's builder links a program."""
    assert isinstance(board.emulator, Emulator)
    own = board.emulator.runtime
    script = f"platforms/{EMULATED_PLATFORM}/{own}/link.ld" if own else "picolibc.ld"
    symbols = [f"-Wl,--defsym={symbol}={value:#x}" for symbol, value in board.linker_symbols.items()]
    return [*symbols, "-T", script, *(["-nostartfiles"] if own else [])]


def _portable_files(board: Board, target: Board, app: str) -> Files:
    """The files for the emulated `target` that stand for the board's own, with the board's settings: its
    ring is as long as it is.
    """
    settings = "src/serq_board.h"
    return board_files(target, app) | {settings: board_files(board, app)[settings]}


def _sections(lines: Iterable[str]) -> tuple[int, int]:
    """Flash and RAM bytes of `size -A` lines."""
    flash = ram = 0
    for line in lines:
        parts = line.split()
        if (
            len(parts) == 3
            and parts[0].startswith(".")
            and parts[1].isdigit()
            and not _NOT_STORED.match(parts[0])
        ):
            size = int(parts[1])
            flash += 0 if parts[0].startswith(".bss") else size
            ram += size if parts[0].startswith((".bss", ".data")) else 0
    return flash, ram


def _bytes(value: int | None) -> str:
    return "?" if value is None else str(value)
