"""Boards are data: boards/*.toml to frozen, validated objects, found by the names people say.

A board file may come from anywhere, so each value must match the pattern or range that stands beside its field below: nothing
in it can add a line to an ini file, an option to a compiler or a program to a command.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from serq_mcu import resources
from serq_mcu.errors import SerqError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EMULATED_PLATFORM = "serq_emulated"
BOARD_FILE = "board.toml"  # in an exported project: the board as it was then
_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_PROSE = r"[^\x00-\x1f\"\\$%{}]+"  # what may stand in a C string, an ini comment and JSON alike
_ADDRESS = range(2**32)
_SIZE = range(1, 2**32)

Section = TypeVar("Section")
Render = Callable[..., str]


def _text(pattern: str, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"pattern": pattern})


def _number(allowed: range, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"range": allowed})


@dataclass(frozen=True)
class Identity:
    """[board]: what it is called."""

    name: str = _text(_IDENTIFIER)
    title: str = _text(_PROSE)
    aliases: tuple[str, ...] = _text(_PROSE, ())


@dataclass(frozen=True)
class PlatformIO:
    """[platformio]: the pinned platform that builds for it, and what its environment in platformio.ini says beside the common part."""

    platform: str = _text(rf"{EMULATED_PLATFORM}|[a-z0-9]+@\d+\.\d+\.\d+")
    board: str = _text(_IDENTIFIER)
    framework: str = _text("arduino|espidf", "")
    packages: tuple[str, ...] = _text(_IDENTIFIER, ())  # without these in PlatformIO's packages folder a build needs the network
    build_flags: tuple[str, ...] = _text(r"-D[A-Z][A-Z0-9_]*(=[A-Za-z0-9_]+)?", ())
    sdkconfig: tuple[str, ...] = _text(r"CONFIG_[A-Z0-9_]+=[A-Za-z0-9]+", ())


@dataclass(frozen=True)
class Mcu:
    """[mcu]: the core, and what a program may fill. A clock of 0 Hz: it has none (an emulator)."""

    core: str = _text(_PROSE)
    features: tuple[str, ...] = _text(_IDENTIFIER)
    clock_hz: int = _number(_ADDRESS)
    flash_bytes: int = _number(_SIZE)
    ram_bytes: int = _number(_SIZE)


@dataclass(frozen=True)
class Port:
    """[port]: how the application reaches its host. Family f is firmware/ports/port_f.*; no baud rate: not a serial line."""

    family: str = _text("arduino|esp32|semihosting|simcall")
    stack_bytes: int = _number(range(512, 2**20))
    baud: int = _number(range(1200, 4_000_001), 0)


@dataclass(frozen=True)
class Emulator:
    """[emulator] of an emulated board: the QEMU machine, the compiler for it, and where flash and RAM begin."""

    command: str = _text("qemu-system-[a-z0-9]+")
    machine: str = _text(_IDENTIFIER)
    compiler: str = _text("([a-z0-9]+-)+")  # prefix of gcc, objcopy, …
    compile_flags: tuple[str, ...] = _text(r"-m[a-z0-9=+.-]+|--specs=(/usr/lib/xtensa-lx106-elf/)?picolibc\.specs")
    flash_origin: int = _number(_ADDRESS)
    ram_origin: int = _number(_ADDRESS)
    packages: tuple[str, ...] = _text(_IDENTIFIER)  # of Debian and Ubuntu: compiler, C library, emulator
    cpu: str = _text(_IDENTIFIER, "")
    bios: str = _text("none", "")
    runtime: str = _text("xtensa", "")  # folder of the platform with start-up code and link.ld, where the C library has none

    @property
    def command_line(self) -> list[str]:
        """QEMU with its options, up to the program: semihosting is on, and standard input and output are the program's own."""
        chosen = [option for name, value in (("-cpu", self.cpu), ("-bios", self.bios)) if value for option in (name, value)]
        quiet = ["-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
        return [self.command, "-M", self.machine, *chosen, *quiet, "-kernel"]


@dataclass(frozen=True)
class Relative:
    """[emulator] of a real board: the emulated board that runs its instruction set, or the closest there is."""

    relative: str = _text(_IDENTIFIER)


@dataclass(frozen=True)
class Board:
    """All that is known of a board, and where each figure is from."""

    board: Identity
    platformio: PlatformIO
    mcu: Mcu
    port: Port
    emulator: Emulator | Relative
    sources: dict[str, str]
    toml: str  # the file all this was read from

    @property
    def name(self) -> str:
        return self.board.name

    @property
    def title(self) -> str:
        return self.board.title

    @property
    def emulated(self) -> bool:
        return isinstance(self.emulator, Emulator)

    def project_files(self, render: Render) -> dict[str, str]:
        """What an exported project holds for this board beside its port: path to text. `render(template, **names)` fills a template."""
        templates = {"platformio.ini": "platformio.ini.j2", "src/serq_board.h": "serq_board.h.j2"}
        if self.platformio.framework == "espidf":
            templates |= {"CMakeLists.txt": "CMakeLists.txt.j2", "src/CMakeLists.txt": "src_CMakeLists.txt.j2"}
            templates |= {"sdkconfig.defaults": "sdkconfig.defaults.j2"}
        files = {path: render(template, board=self) for path, template in templates.items()} | {BOARD_FILE: self.toml}
        return files | (_emulated_platform(self, self.emulator) if isinstance(self.emulator, Emulator) else {})


def load_board(name: str) -> Board:
    """The board of that name or alias (case, spaces, dashes and underscores do not count), or of that TOML file.

    Raises SerqError for an unknown name, with the nearest one, and for a file that is damaged or says what no board may say.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    boards = _by_spoken_name()
    if _spoken(name) in boards:
        return boards[_spoken(name)]
    near = difflib.get_close_matches(_spoken(name), boards, n=1, cutoff=0.0)
    raise SerqError(f"there is no board {name!r}; the nearest is {boards[near[0]].name}, and `serq-mcu boards` lists all")


def all_boards() -> list[Board]:
    """Every board that ships, real ones first, then by name."""
    boards = [read_board(path) for path in sorted(resources.BOARDS.glob("*.toml"))]
    return sorted(boards, key=lambda board: (board.emulated, board.name))


def read_board(path: Path) -> Board:
    """The board of a TOML file. Raises SerqError that names the file and the key."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise SerqError(f"cannot read the board file {path}: {error.strerror or error}") from error
    except ValueError as error:  # TOML and UTF-8 errors are both
        raise SerqError(f"the board file {path} is not valid TOML: {error}") from error
    emulated = isinstance(data.get("platformio"), dict) and data["platformio"].get("platform") == EMULATED_PLATFORM
    sections: dict[str, Any] = {"board": Identity, "platformio": PlatformIO, "mcu": Mcu, "port": Port, "emulator": Emulator if emulated else Relative}
    read = {name: _section(section, data.get(name), f"{path}: [{name}]") for name, section in sections.items()}
    unknown = sorted(set(data) - {*sections, "sources"})
    if unknown:
        raise SerqError(f"{path}: unknown section [{unknown[0]}]; a board has {', '.join([*sections, 'sources'])}")
    board = Board(**read, sources=_sources(data.get("sources", {}), path), toml=text)
    _check(board, path)
    return board


def _section(section: type[Section], table: Any, where: str) -> Section:
    if not isinstance(table, dict):
        raise SerqError(f"{where} is missing")
    types, known = get_type_hints(section), {item.name: item for item in fields(section)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise SerqError(f"{where} has an unknown key {key!r}; it may have {', '.join(known)}")
    for key, item in known.items():
        if key not in table and item.default is MISSING:
            raise SerqError(f"{where} has no {key!r}")
    return section(**{key: _value(value, types[key], known[key].metadata, f"{where} {key}") for key, value in table.items()})


def _value(value: Any, kind: Any, rule: Any, where: str) -> Any:
    if kind is int:
        if type(value) is not int or value not in rule["range"]:
            raise SerqError(f"{where} must be an integer from {rule['range'][0]} to {rule['range'][-1]}, not {value!r}")
        return value
    texts = [value] if kind is str else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and re.fullmatch(rule["pattern"], text) for text in texts):
        shape = "text" if kind is str else "a list of texts, each"
        raise SerqError(f"{where} must be {shape} of the form {rule['pattern']}, not {value!r}")
    return value if kind is str else tuple(texts)


def _sources(table: Any, path: Path) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise SerqError(f"{path}: [sources] must name a source, as text, for each figure")
    return dict(table)


def _check(board: Board, path: Path) -> None:
    """What no single field can say."""
    if board.port.stack_bytes > board.mcu.ram_bytes:
        raise SerqError(f"{path}: [port] stack_bytes is more than [mcu] ram_bytes")
    if not board.emulated and not (board.port.baud and board.mcu.clock_hz and board.platformio.framework):
        raise SerqError(f"{path}: a real board needs [port] baud, [mcu] clock_hz above 0 and [platformio] framework")
    if board.emulated != (board.port.family in ("semihosting", "simcall")):
        raise SerqError(f"{path}: [port] family {board.port.family!r} does not fit [platformio] platform {board.platformio.platform!r}")


def _spoken(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _by_spoken_name() -> dict[str, Board]:
    found: dict[str, Board] = {}
    for board in all_boards():
        for name in (board.name, *board.board.aliases):
            if found.setdefault(_spoken(name), board) is not board:
                raise SerqError(f"the boards {found[_spoken(name)].name} and {board.name} both answer to {name!r}; change one's aliases")
    return found


def _emulated_platform(board: Board, emulator: Emulator) -> dict[str, str]:
    """The PlatformIO platform of the emulated boards, with the one board file that it needs."""
    root = resources.FIRMWARE / "platforms"
    folder = root / EMULATED_PLATFORM
    paths = [*folder.glob("*.*"), *folder.glob("builder/*.py"), *(folder.glob(f"{emulator.runtime}/*") if emulator.runtime else [])]
    files = {f"platforms/{path.relative_to(root).as_posix()}": path.read_text() for path in sorted(paths)}
    manifest = {
        "name": board.title,
        "vendor": "QEMU",
        "url": "https://www.qemu.org/",
        "frameworks": [],
        "build": {
            "mcu": board.mcu.core,
            "compiler": emulator.compiler,
            "flags": emulator.compile_flags,
            "runtime": emulator.runtime,
            "emulator": emulator.command_line,
            "symbols": {
                "__flash": emulator.flash_origin,
                "__flash_size": board.mcu.flash_bytes,
                "__ram": emulator.ram_origin,
                "__ram_size": board.mcu.ram_bytes,
                "__stack_size": board.port.stack_bytes,
            },
        },
        "upload": {"maximum_size": board.mcu.flash_bytes, "maximum_ram_size": board.mcu.ram_bytes},
    }
    return files | {f"platforms/{EMULATED_PLATFORM}/boards/{board.platformio.board}.json": json.dumps(manifest, indent=2) + "\n"}
