"""What a model needs of a board, before any build: each figure with its basis."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from serq_mcu.base.text import memory_text
from serq_mcu.boards.board import Board
from serq_mcu.boards.framework import FRAMEWORKS
from serq_mcu.codegen.costs import (
    Row,
    estimate,
    milliseconds,
    row_lines,
    silence,
    silence_line,
    timing,
    total,
)
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.program_size import ProgramSize, measure_program
from serq_mcu.layers.kernels import core_of
from serq_mcu.quantized_model.types import QuantizedModel

_STARTUP = "start-up code, C library"
_HEAP = "framework's heap"


@dataclass(frozen=True)
class Item:
    """One figure: bytes of flash and of RAM (None: not known yet), and where it is from."""

    name: str
    flash: int | None
    ram: int | None
    basis: str
    static: bool = True  # whether the RAM is static data, and no stack or heap


@dataclass(frozen=True)
class Limit:
    """What a board grants of one thing, and what is known to be needed of it, in bytes."""

    name: str
    needed: int
    granted: int
    basis: str
    remedy: str

    @property
    def kept(self) -> bool:
        """Whether what is known fits."""
        return self.needed <= self.granted


@dataclass(frozen=True)
class Budget:
    """All figures of a model on a board."""

    board: Board
    model: QuantizedModel
    items: tuple[Item, ...]
    rows: tuple[Row, ...]  # of a frame and a decision
    silence: Row | None  # of a second in which nobody speaks, where that is not all its frames
    stack: int  # bytes of it that the application uses at most, as far as is known
    read_bytes: int = 0  # of flash, each decision: the weights

    @property
    def flash(self) -> int:
        """Bytes of flash that are known to be needed."""
        return sum(item.flash or 0 for item in self.items)

    @property
    def ram(self) -> int:
        """Bytes of RAM that are known to be needed."""
        return sum(item.ram or 0 for item in self.items)

    @property
    def heap(self) -> int:
        """Bytes of RAM that a framework takes while the program runs, which no linker counts."""
        return sum(item.ram or 0 for item in self.items if item.name == _HEAP)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All that a program must keep to on this board."""
        board, smaller = self.board, "choose fewer bits, smaller layers or a larger board"
        static = self.ram - sum(item.ram or 0 for item in self.items if not item.static)
        partition = FRAMEWORKS[board.platformio.framework].partition_origin
        program = self._source("program_bytes") or ("the project's partitions.csv" if partition else "[mcu]")
        stack = f"raise [port] stack_bytes in its board file to {self.stack} or more"
        return (
            Limit("flash", self.flash, board.program_bytes, program, smaller),
            Limit("static RAM", static, board.static_bytes, self._source("static_bytes") or "[mcu]", smaller),
            Limit("RAM", self.ram, board.mcu.ram_bytes, "[mcu]", smaller),
            Limit("stack", self.stack, board.port.stack_bytes, "[port]", stack),
        )

    @property
    def fits(self) -> bool:
        """Whether what is known fits the board, and the stack what is reserved for it."""
        return all(limit.kept for limit in self.limits)

    def _source(self, key: str) -> str:
        return self.board.sources.get(f"memory.{key}", "")

    @property
    def decision_milliseconds(self) -> tuple[float, float] | None:
        """Time of a decision, with the weights in the cache and with all of them read from slow flash."""
        fast = milliseconds(total(self.rows, "decision"), self.board.mcu.clock_hz)
        return None if fast is None else (fast, fast + self._flash_milliseconds)

    @property
    def core_share(self) -> tuple[float, float] | None:
        """Share of the core's time that listening in real time takes, likewise; None without a clock."""
        spec, rule = self.model.spec, self.model.decision
        frame = milliseconds(total(self.rows, "frame"), self.board.mcu.clock_hz)
        decision = self.decision_milliseconds
        if rule is None or frame is None or decision is None:
            return None
        frames = spec.sample_rate / spec.hop_length / 1000
        low, high = (frames * (frame + time / rule.block_frames) for time in decision)
        return low, high

    @property
    def milliamps(self) -> tuple[float, float] | None:
        """Current of the chip alone while it listens in real time, from cached weights to slow flash.

        Where nothing is known of a core that waits, it is that of one that computes. None without a figure.
        """
        return None if self.core_share is None else self._current(*self.core_share)

    @property
    def silent_milliamps(self) -> float | None:
        """Current of the chip alone while nobody speaks; None where silence costs as much, or unknown."""
        time = None if self.silence is None else milliseconds(self.silence, self.board.mcu.clock_hz)
        current = None if time is None else self._current(time / 1000)
        return None if current is None else current[0]

    def _current(self, *shares: float) -> tuple[float, float] | None:
        """Return the lowest and the highest current for shares of the core's time."""
        power = self.board.power
        waiting = power.waiting_ma or power.computing_ma
        values = [waiting + (power.computing_ma - waiting) * min(share, 1.0) for share in shares]
        return (values[0], values[-1]) if power.computing_ma else None

    @property
    def _flash_milliseconds(self) -> float:
        speed = self.board.memory.flash_bytes_per_cycle * self.board.mcu.clock_hz / 1000
        return self.read_bytes / speed if speed else 0.0

    def _load_lines(self) -> list[str]:
        """Say what slow flash and real time make of the times above."""
        rows = []
        if self._flash_milliseconds:
            rows.append(
                f"each decision reads {self.read_bytes} bytes of weights: up to"
                f" {self._flash_milliseconds:.3f} ms more where the flash's cache does not hold them"
            )
        if self.core_share:
            rows.append(f"listening in real time takes {_span(self.core_share, 100, 1)} % of the core's time")
        if self.milliamps:
            rows.append(self._current_line(self.milliamps))
        return rows

    def _current_line(self, listening: tuple[float, float]) -> str:
        """Say what the chip takes while it listens."""
        silent, waiting = self.silent_milliamps, self.board.power.waiting_ma
        quiet = "" if silent is None or not waiting else f", and about {silent:.1f} mA where nobody speaks"
        return (
            f"the chip takes {'about' if waiting else 'at most'} {_span(listening, 1, 1)} mA while it"
            f" listens{quiet}, without the microphone"
            f" ({self.board.sources.get('power.computing_ma', '[power]')})"
        )

    @property
    def basis(self) -> str:
        """What instructions, cycles and times rest on, in a sentence."""
        core = core_of(self.board.mcu.features).name
        counts = f"estimated from counts in QEMU of every stage on {core} at other sizes"
        return f"{counts}; {timing(self.board.mcu)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `check --json`."""
        return {
            "board": self.board.name,
            "identity": self.model.sha256[:16],
            "fits": self.fits,
            "flash_bytes": self.flash,
            "ram_bytes": self.ram,
            "board_flash_bytes": self.board.program_bytes,
            "board_ram_bytes": self.board.mcu.ram_bytes,
            "stack_bytes": self.stack,
            "board_stack_bytes": self.board.port.stack_bytes,
            "limits": [
                {"name": limit.name, "needed_bytes": limit.needed, "granted_bytes": limit.granted}
                | {"basis": limit.basis, "fits": limit.kept}
                for limit in self.limits
            ],
            "basis": self.basis,
            "decision_milliseconds": self.decision_milliseconds,
            "core_share": self.core_share,
            "milliamps": self.milliamps,
            "silent_milliamps": self.silent_milliamps,
            "rows": [
                self._timed(row)
                for row in (*self.rows, total(self.rows, "frame"), total(self.rows, "decision"))
            ],
            "silence": None if self.silence is None else self._timed(self.silence),
            "items": [
                {"name": i.name, "flash_bytes": i.flash, "ram_bytes": i.ram, "basis": i.basis}
                for i in self.items
            ],
        }

    def _timed(self, row: Row) -> dict[str, Any]:
        return asdict(row) | {"milliseconds": milliseconds(row, self.board.mcu.clock_hz)}

    @property
    def summary(self) -> str:
        """All of it in a line, for `export`."""
        mcu, decision = self.board.mcu, self.decision_milliseconds
        known = "" if self.complete else "; the framework's own share is estimated"
        if not self.counted:
            known = "; the framework's own share is not known yet"
        time = "" if decision is None else f"; about {_span(decision, 1, 1)} ms per decision"
        sizes = (
            f"{memory_text(self.flash)} of {memory_text(self.board.program_bytes)} flash,"
            f" {memory_text(self.ram)} of {memory_text(mcu.ram_bytes)} RAM"
            f" ({memory_text(self.board.port.stack_bytes)} of it stack)"
        )
        return f"{'fits' if self.fits else 'does not fit'}: {sizes}{known}{time}"

    @property
    def counted(self) -> bool:
        """Whether every item has a figure."""
        return all(item.flash is not None for item in self.items)

    @property
    def complete(self) -> bool:
        """Whether nothing is left that only a build can tell: all was linked."""
        return self.board.emulated and self.counted

    def lines(self) -> list[str]:
        """Write the budget as lines of text."""
        rows = [f"{'':<28}{'flash B':>10}{'RAM B':>10}  basis"]
        rows += [f"{i.name:<28}{_bytes(i.flash):>10}{_bytes(i.ram):>10}  {i.basis}" for i in self.items]
        rows.append(f"{'known so far':<28}{self.flash:>10}{self.ram:>10}")
        rows.append(
            f"{self.board.name + ' has':<28}{self.board.program_bytes:>10}{self.board.mcu.ram_bytes:>10} "
            f" {self.board.title}"
        )
        rows += [
            f"of {limit.name}, {limit.granted} bytes are granted ({limit.basis})"
            for limit in self.limits
            if limit.name == "static RAM" and limit.granted < self.board.mcu.ram_bytes
        ]
        rows += row_lines(self.rows, self.board.mcu.clock_hz)
        rows += [] if self.silence is None else [silence_line(self.silence, self.board.mcu.clock_hz)]
        rows += self._load_lines()
        rows.append(self.basis)
        broken = [
            f"does not fit {self.board.name}: {limit.needed} bytes of {limit.name} are needed and"
            f" {limit.granted} granted ({limit.basis}); {limit.remedy}"
            for limit in self.limits
            if not limit.kept
        ]
        return rows + (broken or ["fits"])


def budget(plan: Plan) -> Budget:
    """Count what a plan takes of flash and RAM: what the model stores, and the code.

    Code is measured where the board's compiler is there; what is not known yet is stated.
    """
    board, core, listens_only = plan.board, plan.core, plan.app == "capture"
    program = measure_program(plan)
    used = program.stack or core.stack
    known = (
        f"{plan.app} needs {used} at most, by the compiler's figures on {program.core} and an interrupt"
        if program.stack
        else f"the harness used {used} when counted on {core.name}"
    )
    items = [
        *([] if listens_only else _model_items(plan)),
        *_program_items(plan, program),
        Item("stack", 0, board.port.stack_bytes, f"reserved in the board's settings; {known}", static=False),
    ]
    if listens_only:
        return Budget(board, plan.model, tuple(items), (), None, used)
    return Budget(board, plan.model, tuple(items), estimate(plan), silence(plan), used, plan.packed_bytes)


def _model_items(plan: Plan) -> list[Item]:
    """List what is the model's own, and absent from an application that only passes samples on."""
    return [
        Item("packed weights", plan.packed_bytes, 0, "counted"),
        Item("biases, requantization", plan.constant_bytes, 0, "counted"),
        Item("input constants", plan.input_bytes, 0, "counted"),
        Item("front-end tables", plan.table_bytes, 0, "counted"),
        Item("recogniser state", 0, plan.state_bytes, "counted: sizeof(serq_state)"),
        *_voice_items(plan),
    ]


def _voice_items(plan: Plan) -> list[Item]:
    basis = "counted: sizeof(serq_voice)"
    return [Item("speaker's voice", 0, plan.voice_bytes, basis)] if plan.voice_bytes else []


def _program_items(plan: Plan, program: ProgramSize) -> list[Item]:
    """List text and data of runtime and application.

    They are compiled for the board's instruction set or the nearest that can be emulated; an emulated board's
    items include what is linked to them.
    """
    board, app = plan.board, plan.app
    name = f"code of runtime and {app}"
    framework = _framework_items(board)
    if isinstance(program.application, str):
        return [Item(name, None, None, f"not known yet: {program.application}"), *framework]
    flash, ram = program.application
    if isinstance(program.whole, str):
        framework = [Item(_STARTUP, None, None, f"not known yet: it does not link ({program.whole})")]
    elif program.whole is not None:
        basis = f"compiled and linked for {program.core}"
        framework = [Item(_STARTUP, program.whole[0] - flash, program.whole[1] - ram, basis)]
    basis = f"compiled for {program.core} with -O2"
    if program.core != board.mcu.core:
        basis += f", the nearest compiler to {board.mcu.core}"
    own = Item(name, flash, ram, basis)
    if app != "capture":
        # the tables and weights of serq_model.c are counted above; what is left is the application's own
        counted = plan.state_bytes + plan.voice_bytes
        own = Item(name, flash - plan.array_bytes, ram - counted, f"{basis}; RAM beyond what is counted")
    return [own, *_code_in_ram(board, own.flash or 0), *framework]


def _framework_items(board: Board) -> list[Item]:
    """List what the framework and its drivers take beside the project, as far as it was measured once."""
    memory, name = board.memory, _STARTUP if board.emulated else "framework, drivers"
    if not memory.framework_flash_bytes:
        return [Item(name, None, None, "not known yet: `serq-mcu build` measures it")]
    basis = board.sources.get("memory.framework_flash_bytes", "the board's file")
    items = [Item(name, memory.framework_flash_bytes, memory.framework_ram_bytes, basis)]
    if memory.framework_heap_bytes:
        basis = board.sources.get("memory.framework_heap_bytes", "the board's file")
        items.append(Item(_HEAP, 0, memory.framework_heap_bytes, basis, static=False))
    return items


def _code_in_ram(board: Board, code: int) -> list[Item]:
    """List the RAM that holds code, on a board that copies it there in blocks."""
    block = board.memory.code_block_bytes
    if not block:
        return []
    blocks = -(-(code + board.memory.framework_code_bytes) // block)
    basis = f"the board's linker copies all code there, in blocks of {block}"
    return [Item("code in RAM", 0, blocks * block, basis)]


def _span(values: tuple[float, float], factor: float, digits: int) -> str:
    """Write two values as one, or as a range where they differ."""
    low, high = (f"{factor * value:.{digits}f}" for value in values)
    return low if low == high else f"{low} to {high}"


def _bytes(value: int | None) -> str:
    return "?" if value is None else str(value)
