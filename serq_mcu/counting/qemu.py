"""Count what firmware executes, function by function, in QEMU.

Instructions exactly, and for Cortex-M an estimate of cycles. QEMU's plugin counter.c is compiled on demand:
the system's emulators are needed anyway, count all three instruction sets alike and run the very program that
a board would. The estimate of cycles is Cortex-M's own timing without wait states, caches or dual issue (Arm,
"Cortex-M4 Technical Reference Manual", r0p1, table 3-1; "Cortex-M0+ Technical Reference Manual", r0p1, table
3-1).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.base.host import compiler
from serq_mcu.boards.board import Board, Emulator
from serq_mcu.build import platformio
from serq_mcu.errors import SerqError

_COUNTER = Path(__file__).with_name("counter.c")
_SPECIALISED = re.compile(r"([.$](constprop|isra)[.$]\d+)+$")
_INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\t([0-9a-f ]+)\t(\S+)\s*([^@;<]*)")


@dataclass(frozen=True)
class Count:
    """What one call of a function, or all calls together, executed.

    cycles: None where they cannot be estimated.
    """

    function: str
    instructions: int
    cycles: int | None


@dataclass
class Counts:
    """What was counted, filled when the counted program has ended.

    Calls in their order, then the functions counted as one; bytes of stack used.
    """

    records: list[Count]
    stack_bytes: int


@contextlib.contextmanager
def counted(
    board: Board, elf: Path, calls: list[str], whole: list[str]
) -> Iterator[tuple[list[str], Callable[[], Counts]]]:
    """Return the command that runs `elf` and counts, and a function that reads the counts after its end.

    Each call of a function in `calls` is a record of its own; those in `whole` have one each. Callees count
    for their callers. Raises SerqError if there is no C compiler for the plugin, or QEMU cannot load it.
    """
    assert isinstance(board.emulator, Emulator)
    found = symbols(board, elf)
    with tempfile.TemporaryDirectory(prefix="serq-count-") as folder:
        plugin, table, out = Path(folder) / "counter.so", Path(folder) / "table", Path(folder) / "out"
        build = subprocess.run(
            [compiler(), "-std=c99", "-O2", "-shared", "-fPIC", "-o", str(plugin), str(_COUNTER)],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if build.returncode:
            raise SerqError(f"the C compiler refused {_COUNTER}: {build.stderr.strip().splitlines()[-1]}")
        names = [name for name in [*calls, *whole] if name in found]
        lines = [f"F {found[n][0]:x} {sum(found[n]):x} {i} {int(n in calls)}" for i, n in enumerate(names, 1)]
        timing = _timing(board)
        if timing:
            lines += [
                f"I {start:x} {next:x} {base} {taken}"
                for start, next, base, taken in _cycles(board.emulator, elf, timing)
            ]
        lines.append(f"S {_static_end(found):x}")
        table.write_text("\n".join(lines) + "\n")
        run = platformio.emulator_command(board, elf)

        def read() -> Counts:
            if not out.exists() or "stack" not in (text := out.read_text()):
                raise SerqError(f"{run[0]} did not count: its plugin interface is not that of QEMU 4.2 to 8")
            *rows, (_, lowest) = (line.split() for line in text.splitlines())
            records = [Count((["", *names])[int(i)], int(n), int(c) if timing else None) for i, n, c in rows]
            return Counts(records, _stack_top(found) - int(lowest, 16))

        plugged = ",".join(  # a comma ends an option's value, and two are one
            f"{name}{str(path).replace(',', ',,')}"
            for name, path in (("", plugin), ("table=", table), ("out=", out))
        )
        yield [*run[:-2], "-plugin", plugged, *run[-2:]], read


def functions(board: Board, folder: Path, files: tuple[str, ...]) -> set[str]:
    """List the functions that a built project's objects define.

    files: how the names of their source files begin.
    """
    assert isinstance(board.emulator, Emulator)
    objects = [path for path in (folder / ".pio" / "build").rglob("*.o") if path.name.startswith(files)]
    text = subprocess.run(
        [_tool(board.emulator, "nm"), *map(str, objects)],
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    ).stdout
    rows = [line.split() for line in text.splitlines()]
    return {_SPECIALISED.sub("", row[2]) for row in rows if len(row) == 3 and row[1] in "tT"}


def code_bytes(board: Board, elf: Path, names: set[str]) -> int:
    """Add up the bytes of the functions in a program."""
    return sum(size for name, (_, size) in symbols(board, elf).items() if name in names)


def _tool(emulator: Emulator, name: str) -> str:
    path = shutil.which(f"{emulator.compiler}{name}")
    if path is None:
        raise SerqError(f"{emulator.compiler}{name} is not installed; run `serq-mcu toolchain setup`")
    return path


def symbols(board: Board, elf: Path) -> Mapping[str, tuple[int, int]]:
    """Read address and size of each symbol.

    The lowest bit of Thumb's function addresses is cleared by the tool. What GCC adds to the name of a
    function that it made for constant arguments is left out.
    """
    assert isinstance(board.emulator, Emulator)
    text = subprocess.run(
        [_tool(board.emulator, "nm"), "-S", str(elf)],
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    ).stdout
    rows = [line.split() for line in text.splitlines()]
    return {
        _SPECIALISED.sub("", row[-1]): (int(row[0], 16), int(row[1], 16) if len(row) == 4 else 0)
        for row in rows
        if len(row) >= 3
    }


def _static_end(found: Mapping[str, tuple[int, int]]) -> int:
    return max(
        found[name][0] for name in ("__bss_end", "_end", "__bss_end__", "__heap_start") if name in found
    )


def _stack_top(found: Mapping[str, tuple[int, int]]) -> int:
    return found["__stack"][0]


Timing = Callable[
    [str, str, str], tuple[int, int]
]  # mnemonic, operands, the mnemonic before: cycles, and those of a jump


def _timing(board: Board) -> Timing | None:
    """Find the timing of a core; None where it has no model."""
    if not board.mcu.timed:
        return None
    return _cortex_m0 if "armv6-m" in board.mcu.features else _cortex_m4


def _cycles(emulator: Emulator, elf: Path, timing: Timing) -> Iterator[tuple[int, int, int, int]]:
    """Yield each instruction of the program, in order.

    That is its address, the next one's, its cycles and those of a jump from it.
    """
    text = subprocess.run(
        [_tool(emulator, "objdump"), "-d", str(elf)],
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    ).stdout
    before = ""
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            address, mnemonic, operands = int(match[1], 16), match[3].split(".")[0], match[4]
            yield address, address + len(match[2].replace(" ", "")) // 2, *timing(mnemonic, operands, before)
            before = f"{mnemonic} {operands}"


def _registers(operands: str) -> int:
    """Count the registers that a list such as {r0, r4-r7} names."""
    total = 0
    for item in operands[operands.find("{") + 1 : operands.find("}")].split(","):
        first, _, last = item.strip().partition("-")
        total += 1 if not last else int(last.strip(" r")) - int(first.strip(" r")) + 1
    return total


def _cortex_m0(mnemonic: str, operands: str, _before: str) -> tuple[int, int]:
    if mnemonic.startswith(("ldm", "stm", "push", "pop")):
        return 1 + _registers(operands), 2
    if mnemonic.startswith(("ldr", "str")):
        return 2, 1
    return 1, 2 if mnemonic == "bl" else 1


def _cortex_m4(mnemonic: str, operands: str, before: str) -> tuple[int, int]:
    if mnemonic.startswith(("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")):
        return 1 + _registers(operands), 2
    if mnemonic.startswith(("ldrd", "strd")):
        return 3, 0
    if mnemonic.startswith(("ldr", "str", "vldr", "vstr")):
        earlier, _, result = before.partition(" ")
        address = re.findall(r"\w+", operands[operands.find("[") : operands.find("]")])
        overlaps = earlier.startswith(("ldr", "str", "vldr")) and not earlier.startswith(
            ("ldrd", "strd")
        )  # neighbours are pipelined
        waits = (
            not earlier.startswith(("ldr", "str", "cmp", "b", "ldm", "stm"))
            and result.split(",")[0] in address
        )
        immediate = mnemonic.startswith(("str", "vstr")) and (
            len(address) < 2 or not address[1].startswith("r")
        )  # stores go through a buffer
        return (1 if overlaps or immediate else 2) + waits, 2
    if mnemonic.startswith(("sdiv", "udiv")):
        return 7, 0  # 2 to 12
    return 1, 1 if mnemonic in ("b", "bl") else 2
