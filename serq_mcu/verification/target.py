"""Where exported C runs: this computer, an emulated board, or a board on a serial port."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards.board import BOARD_FILE, Relative, load_board, read_board
from serq_mcu.build.host_program import host_build
from serq_mcu.codegen.export import Project, retarget
from serq_mcu.codegen.trust import buildable
from serq_mcu.errors import SerqError
from serq_mcu.harness.device import Device
from serq_mcu.harness.transports import ProcessTransport, SerialTransport, SocketTransport, Transport


@dataclass(frozen=True)
class Target:
    """A device, what to call it, and the board whose firmware it must be running."""

    device: Device
    name: str
    board: str
    on: str = "port"  # host, emulator or port
    baud: int = 0  # of a serial line
    flash_bytes: int | None = None  # of the build, where there is one
    ram_bytes: int | None = None
    counted: Callable[[int], int] = int  # what its cycle counter's figures stand for, in an emulator


@contextlib.contextmanager
def open_target(project: Project, on: str, *, allow_changes: bool = False) -> Iterator[Target]:
    """Run the project's C on `host`, on the board's `emulator`, or on the board at a serial port.

    A port may be a pyserial URL. A real board's emulator is Espressif's QEMU where that has its chip and is
    installed, as is what PlatformIO builds with; else the emulated board of its instruction set: the same C,
    built for that one. What is built is a fresh export of the folder's model and board, or with allow_changes
    the folder. Raises SerqError if it is not the harness, holds other code, or cannot be built, started or
    reached.
    """
    project.require_app("harness")
    opener = {"host": _host, "emulator": _emulator}.get(on)
    if opener is None:
        with _port(project, on) as target:
            yield target
        return
    with buildable(project, allow_changes=allow_changes) as own, opener(own, project.folder) as target:
        yield target


@contextlib.contextmanager
def _host(project: Project, _: Path) -> Iterator[Target]:
    with host_build(project.folder) as program, _device(ProcessTransport([str(program)])) as device:
        yield Target(device, "host", project.board, "host")


@contextlib.contextmanager
def _emulator(project: Project, folder: Path) -> Iterator[Target]:
    from serq_mcu.build import espressif, platformio

    board = read_board(project.folder / BOARD_FILE)
    with tempfile.TemporaryDirectory(prefix="serq-emulator-") as work:
        if (qemu := espressif.find(board)) is not None and not platformio.missing_packages(board):
            built = platformio.build(project.folder, log=folder / platformio.LOG)
            command = espressif.command_line(board, qemu, built.elf.parent, Path(work))
            with _device(SocketTransport(command)) as device:
                name = f"{board.name} (Espressif's QEMU)"
                sizes = (built.flash_bytes, built.ram_bytes)
                counted = functools.partial(espressif.instructions, board)
                yield Target(device, name, board.name, "emulator", 0, *sizes, counted)
            return
        if isinstance(board.emulator, Relative):
            board = load_board(board.emulator.relative)
            project = retarget(project, board, Path(work) / board.name)
        built = platformio.build(project.folder, log=folder / platformio.LOG)
        with _device(ProcessTransport(platformio.emulator_command(board, built.elf))) as device:
            yield Target(device, board.name, board.name, "emulator", 0, built.flash_bytes, built.ram_bytes)


@contextlib.contextmanager
def _port(project: Project, port: str) -> Iterator[Target]:
    from serq_mcu.build import platformio

    board = read_board(project.folder / BOARD_FILE)
    if board.emulated:
        raise SerqError(f"{board.name} is an emulated board and has no port; use --on emulator")
    with _device(SerialTransport(port, board.baud)) as device:
        built = platformio.last_build(project.folder)
        sizes = (built.flash_bytes, built.ram_bytes) if built else (None, None)
        yield Target(device, port, board.name, "port", board.baud, *sizes)


@contextlib.contextmanager
def _device(transport: Transport) -> Iterator[Device]:
    try:
        yield Device(transport)
    finally:
        transport.close()
