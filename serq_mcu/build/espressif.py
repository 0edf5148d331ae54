"""Espressif's own QEMU, which boots an ESP32 or ESP32-C3 from its flash: ROM, boot loader, ESP-IDF, program.

ESP-IDF's tools install it (`idf_tools.py install qemu-xtensa qemu-riscv32`). The command line and the eFuses
are those of ESP-IDF 5.5.3's `idf.py qemu` (tools/idf_py_actions/qemu_ext.py); the places in flash are those
of its boot loader and of the project's partition table.

Its cycle counters count the emulated clock, so time of this computer, unless `-icount` lets each instruction
take the same: then they count instructions. An ESP32's runs at the clock that the program sets
(hw/xtensa/esp32.c: esp32_clk_update), an ESP32-C3's always at 160 MHz (target/riscv/esp_cpu.c).
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards.board import Board, Relative
from serq_mcu.errors import SerqError

_TABLE, _PROGRAM = 0x8000, 0x10000  # in flash: the partition table, and the program
_SIZES = tuple(2**exponent for exponent in range(21, 25))  # of flash chips that QEMU has: 2 to 16 MiB
_TOOLS = "tools/qemu-*/*/qemu/bin"  # in the folder of ESP-IDF's tools
_SHIFT = 3  # an instruction takes 2 ** 3 ns: as many a second as the chips run
_SECONDS = 10  # for a program to list its machines


@dataclass(frozen=True)
class _Machine:
    """A chip of the emulator's.

    loader: where in flash its boot loader is. efuses: their size, place and value, which say the revision
    that ESP-IDF asks for. counter_hz: of its cycle counter, 0 if it is the clock that the program sets.
    """

    command: str
    loader: int
    efuses: tuple[int, dict[int, int]]
    options: tuple[str, ...] = ()
    counter_hz: int = 0


_MACHINES = {
    "esp32": _Machine("qemu-system-xtensa", 0x1000, (124, {13: 0x80, 22: 0x10}), ("-m", "4M")),
    "esp32c3": _Machine("qemu-system-riscv32", 0, (1024, {38: 0x0C}), counter_hz=160_000_000),
}


def find(board: Board) -> Path | None:
    """Find the emulator that boots a board's own firmware: in PATH, or where ESP-IDF's tools put it.

    Returns None where there is none for its chip, or its line to the host is not a UART.
    """
    machine = _MACHINES.get(board.emulator.machine) if isinstance(board.emulator, Relative) else None
    if machine is None or board.port.kind != "uart":
        return None
    home = Path(os.environ.get("IDF_TOOLS_PATH") or Path.home() / ".espressif")
    known = [shutil.which(machine.command), *sorted(home.glob(f"{_TOOLS}/{machine.command}"), reverse=True)]
    found = (Path(path) for path in known if path)
    return next((path for path in found if board.emulator.machine in _machines_of(path)), None)


@functools.cache
def _machines_of(command: Path) -> frozenset[str]:
    """Return the machines that a QEMU lists; Debian's has none of Espressif's."""
    try:
        listed = subprocess.run(
            [command, "-machine", "help"], capture_output=True, text=True, timeout=_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(line.split()[0] for line in listed.splitlines() if line.strip())


def command_line(board: Board, qemu: Path, built: Path, work: Path) -> Callable[[int], list[str]]:
    """Write the flash and the eFuses of a board to `work`, and return how to boot it with its UART on a port.

    built: the folder with what PlatformIO built. The emulator connects to the port, on this computer.
    """
    assert isinstance(board.emulator, Relative)
    name = board.emulator.machine
    machine = _MACHINES[name]
    flash, efuses = work / "flash.bin", work / "efuse.bin"
    flash.write_bytes(flash_image(built, machine.loader, board.mcu.flash_bytes))
    size, values = machine.efuses
    efuses.write_bytes(bytes(values.get(place, 0) for place in range(size)))
    words = [
        *(str(qemu), "-M", name, *machine.options, "-display", "none", "-monitor", "none", "-nic", "none"),
        *("-icount", f"shift={_SHIFT}"),
        *("-drive", f"file={flash},if=mtd,format=raw"),
        *("-drive", f"file={efuses},if=none,format=raw,id=efuse"),
        *("-global", f"driver=nvram.{name}.efuse,property=drive,value=efuse"),
        *("-global", f"driver=timer.{name}.timg,property=wdt_disable,value=true"),  # it may run slowly
    ]
    return lambda port: [*words, "-serial", f"tcp:127.0.0.1:{port}"]


def instructions(board: Board, cycles: int) -> int:
    """Return how many instructions took as many cycles of an emulated board's own counter."""
    hz = _MACHINES[board.emulator.machine].counter_hz or board.mcu.clock_hz
    return round(cycles * 10**9 / (hz << _SHIFT))


def flash_image(built: Path, loader: int, size: int) -> bytes:
    """Return the whole flash, as uploading to an empty chip of at least `size` bytes leaves it.

    Raises SerqError if a part of it was not built, or they do not fit.
    """
    chip = next((chip for chip in _SIZES if chip >= size), _SIZES[-1])
    flash = bytearray(b"\xff") * chip
    end = 0
    for name, place in (("bootloader", loader), ("partitions", _TABLE), ("firmware", _PROGRAM)):
        try:
            data = (built / f"{name}.bin").read_bytes()
        except OSError as error:
            raise SerqError(
                f"PlatformIO built no {name}.bin, which the emulator boots from; look at the project's"
                " build.log"
            ) from error
        if place < end or place + len(data) > chip:
            raise SerqError(f"{name}.bin does not fit into the flash of the emulated chip")
        end = place + len(data)
        flash[place:end] = data
    return bytes(flash)
