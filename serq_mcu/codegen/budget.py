"""What a model needs of a board, before any build: each figure with its basis."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from serq_mcu.boards.board import Board
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
    silence: Row | None  # of a second in which nobody speaks, where that is not all its frames
    stack: int  # bytes of it that the application uses at most, as far as is known

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
            and self.stack <= self.board.port.stack_bytes
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
            "board_flash_bytes": self.board.mcu.flash_bytes,
            "board_ram_bytes": self.board.mcu.ram_bytes,
            "stack_bytes": self.stack,
            "board_stack_bytes": self.board.port.stack_bytes,
            "basis": self.basis,
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
        """Write the budget as lines of text."""
        rows = [f"{'':<28}{'flash B':>10}{'RAM B':>10}  basis"]
        rows += [f"{i.name:<28}{_bytes(i.flash):>10}{_bytes(i.ram):>10}  {i.basis}" for i in self.items]
        rows.append(f"{'known so far':<28}{self.flash:>10}{self.ram:>10}")
        rows.append(
            f"{self.board.name + ' has':<28}{self.board.mcu.flash_bytes:>10}{self.board.mcu.ram_bytes:>10} "
            f" {self.board.title}"
        )
        rows += row_lines(self.rows, self.board.mcu.clock_hz)
        rows += [] if self.silence is None else [silence_line(self.silence, self.board.mcu.clock_hz)]
        rows.append(self.basis)
        remedy = "choose fewer bits, smaller layers or a larger board"
        if self.stack > self.board.port.stack_bytes:
            remedy = f"the stack needs {self.stack} bytes; raise [port] stack_bytes in its board file"
        rows.append("fits" if self.fits else f"does not fit {self.board.name}: {remedy}")
        return rows


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
        Item("stack", 0, board.port.stack_bytes, f"reserved in the board's settings; {known}"),
    ]
    rows = () if listens_only else estimate(plan)
    return Budget(board, plan.model, tuple(items), rows, None if listens_only else silence(plan), used)


def _model_items(plan: Plan) -> list[Item]:
    """List what is the model's own, and absent from an application that only passes samples on."""
    return [
        Item("packed weights", plan.packed_bytes, 0, "counted"),
        Item("biases, requantization", plan.constant_bytes, 0, "counted"),
        Item("input constants", plan.input_bytes, 0, "counted"),
        Item("front-end tables", plan.table_bytes, 0, "counted"),
        Item("recogniser state", 0, plan.state_bytes, "counted: sizeof(serq_state)"),
    ]


def _program_items(plan: Plan, program: ProgramSize) -> list[Item]:
    """List text and data of runtime and application.

    They are compiled for the board's instruction set or the nearest that can be emulated; an emulated board's
    items include what is linked to them.
    """
    board, app = plan.board, plan.app
    name = f"code of runtime and {app}"
    rest = "start-up code, C library" if board.emulated else "framework, drivers"
    unknown = Item(rest, None, None, "not known yet: `serq-mcu build` measures it")
    if isinstance(program.application, str):
        return [Item(name, None, None, f"not known yet: {program.application}"), unknown]
    flash, ram = program.application
    if isinstance(program.whole, str):
        unknown = Item(rest, None, None, f"not known yet: it does not link ({program.whole})")
    elif program.whole is not None:
        basis = f"compiled and linked for {program.core}"
        unknown = Item(rest, program.whole[0] - flash, program.whole[1] - ram, basis)
    basis = f"compiled for {program.core} with -O2"
    if program.core != board.mcu.core:
        basis += f", the nearest compiler to {board.mcu.core}"
    if app == "capture":
        return [Item(name, flash, ram, basis), unknown]
    # the tables and weights of serq_model.c are counted above; what is left is the application's own
    own = Item(name, flash - plan.array_bytes, ram - plan.state_bytes, f"{basis}; RAM beyond the state")
    return [own, unknown]


def _bytes(value: int | None) -> str:
    return "?" if value is None else str(value)
