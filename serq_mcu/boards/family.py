"""Chip families, each two sorts of files in a folder: port_FAMILY.* and audio_DRIVER_INTERFACE.*.

A family is what stands in the folder: the package's own is firmware/ports, and an extension registers others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.base import resources
from serq_mcu.base.files import read_regular
from serq_mcu.base.registry import Registry
from serq_mcu.errors import SerqError

INTERFACES = ("adc", "i2s", "line", "pdm")
PORTS = resources.FIRMWARE / "ports"
_SOURCES = (".c", ".cpp", ".S")
_EMULATED = ("semihosting", "simcall")  # ports that reach their host through QEMU
_THIS_COMPUTER = "host"  # the port of `verify --on host`, which no board has
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


@dataclass(frozen=True)
class Family:
    """A chip family: its name, and the folder that has its port and drivers."""

    name: str
    folder: Path

    @property
    def emulated(self) -> bool | None:
        """Whether its port needs an emulator; None for a port that is not the package's own."""
        return self.name in _EMULATED if self.folder == PORTS else None

    @property
    def port(self) -> list[Path]:
        """Return the files of the port."""
        return sorted(path for path in self.folder.glob(f"port_{self.name}.*") if _is_code(path))

    @property
    def shared_audio(self) -> list[Path]:
        """Return the files that all audio drivers of the family share."""
        return sorted(path for path in self.folder.glob(f"audio_{self.name}.*") if _is_code(path))

    def shared_by_driver(self, name: str) -> list[Path]:
        """Return the files that the drivers of a name share, whatever their interface."""
        found = (path for folder in (PORTS, self.folder) for path in folder.glob(f"audio_{name}*"))
        shared = {p for p in found if p.suffix == ".h" or (p.stem == f"audio_{name}" and _is_code(p))}
        return sorted(shared)

    def clock(self, name: str) -> Path | None:
        """Return the file that sets the clocks of a board, or None if there is none."""
        found = (folder / f"clock_{name}{suffix}" for folder in (self.folder, PORTS) for suffix in _SOURCES)
        return next((path for path in found if path.is_file()), None)

    def driver(self, name: str, interface: str) -> Path | None:
        """Return the audio driver for an interface: the family's own, or one of the package."""
        return self._drivers().get((name, interface))

    def drivers(self) -> list[str]:
        """Return the names of the audio drivers that the family's boards can have."""
        return sorted({name for name, _ in self._drivers()})

    def _drivers(self) -> dict[tuple[str, str], Path]:
        return {key: path for folder in (PORTS, self.folder) for key, path in _driver_files(folder)}


FAMILIES: Registry[Family] = Registry("chip family")


def register_family(folder: Path) -> None:
    """Add the chip families of a folder that has port_FAMILY.c, and audio_DRIVER_INTERFACE.c to listen.

    A port may be C, C++ or assembly (.c, .cpp, .S). Raises SerqError if the folder has no port, if a port
    lacks a function of firmware/ports/port.h, or if the name of a family is taken.
    """
    families = [Family(name, folder) for name in _port_names(folder)]
    if not families:
        raise SerqError(
            f"the folder {folder} is no chip family: it has no port_FAMILY.c; firmware/ports/port.h says what"
            " a port has"
        )
    for family in families:
        require_port(family.port)
    for family in families:
        FAMILIES.register(family.name, family)


def require_port(files: Sequence[Path]) -> None:
    """Raise SerqError, naming file and function, if the files of a port lack a function of port.h.

    A name that occurs nowhere in the text is lacking; the rest is left to the compiler.
    """
    text = "".join(_without_comments(path) for path in files)
    for function in re.findall(r"\b(\w+)\(", _without_comments(PORTS / "port.h")):
        if not re.search(rf"\b{function}\b", text):
            raise SerqError(
                f"the port {files[0]} has no {function}(); a port defines port_read(), port_poll(),"
                " port_write() and port_cycles() and calls application_run(), as firmware/ports/port.h says"
            )


def _without_comments(path: Path) -> str:
    try:
        return _COMMENT.sub(" ", read_regular(path).decode(errors="replace"))
    except OSError as error:
        raise SerqError(f"cannot read the port {path}: {error.strerror or error}") from error


def _port_names(folder: Path) -> list[str]:
    return sorted({path.stem[len("port_") :] for path in folder.glob("port_*") if path.suffix in _SOURCES})


def _driver_files(folder: Path) -> Iterator[tuple[tuple[str, str], Path]]:
    """Yield driver and interface of each audio_DRIVER_INTERFACE.* in a folder, with the file."""
    for path in sorted(folder.glob("audio_*_*")):
        name, _, interface = path.stem[len("audio_") :].rpartition("_")
        if interface in INTERFACES and path.suffix in _SOURCES:
            yield (name, interface), path


def _is_code(path: Path) -> bool:
    return path.suffix in (*_SOURCES, ".h")


for _name in _port_names(PORTS):
    if _name != _THIS_COMPUTER:
        FAMILIES.register(_name, Family(_name, PORTS))
