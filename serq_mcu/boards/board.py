"""Boards are data: boards/*.toml to frozen, validated objects, found by the names people say; and so are
microphones.

A board file may come from anywhere, so each value must match the pattern or range that stands beside its
field below: nothing in it can add a line to an ini file, an option to a compiler or a program to a command.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from serq_mcu.base import resources
from serq_mcu.boards.samples import MAX_DC_SHIFT, Conversion, conversion
from serq_mcu.errors import SerqError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EMULATED_PLATFORM = "serq_emulated"
BOARD_FILE = "board.toml"  # in an exported project: the board as it was then
_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_PROSE = r"[^\x00-\x1f\"\\$%{}]+"  # what may stand in a C string, an ini comment and JSON alike
_PIN = "[A-Z][A-Z0-9_]{1,31}|[0-9]{1,3}"  # a number, or a name that the board's framework knows
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
    """[platformio]: the pinned platform that builds for it, and what its environment in platformio.ini
    says beside the common part.
    """

    platform: str = _text(rf"{EMULATED_PLATFORM}|[a-z0-9]+@\d+\.\d+\.\d+")
    board: str = _text(_IDENTIFIER)
    framework: str = _text("arduino|espidf", "")
    packages: tuple[str, ...] = _text(
        _IDENTIFIER, ()
    )  # without these in PlatformIO's packages folder a build needs the network
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
    """[port]: how the application reaches its host.

    Family f is firmware/ports/port_f.*; no baud rate: not a serial line.
    """

    family: str = _text("arduino|esp32|semihosting|simcall")
    stack_bytes: int = _number(range(512, 2**20))
    baud: int = _number(range(1200, 4_000_001), 0)


@dataclass(frozen=True)
class Audio:
    """[audio]: the microphone it listens to unless another is chosen, and where one of each interface is
    wired.

    Driver d takes the interfaces i of firmware/ports/audio_d_i.*. rate_hz is what the driver is asked for;
    true_rate_hz, where it differs, what it then gives. ring_samples, a power of two, is what may wait while
    the processor decides.
    """

    driver: str = _text("esp32|nano33ble|nrf52|port|rp2040|stm32|teensy")
    microphone: str = _text(_IDENTIFIER)
    rate_hz: int = _number(range(8000, 48001))
    true_rate_hz: int = _number(range(48001), 0)
    channel: str = _text("left|right", "left")
    i2s_clock: str = _text(_PIN, "")
    i2s_select: str = _text(_PIN, "")
    i2s_data: str = _text(_PIN, "")
    pdm_clock: str = _text(_PIN, "")
    pdm_data: str = _text(_PIN, "")
    adc_pin: str = _text(_PIN, "")
    ring_samples: int = _number(range(256, 65537), 4096)

    @property
    def nominal_rate_hz(self) -> int:
        """Samples a second that really come, as far as the clocks are what they say."""
        return self.true_rate_hz or self.rate_hz

    def takes(self, interface: str) -> bool:
        """Whether this board has pins and a driver for a microphone of that interface."""
        wired = {
            "i2s": self.i2s_clock and self.i2s_select and self.i2s_data,
            "pdm": self.pdm_clock and self.pdm_data,
            "adc": self.adc_pin,
        }
        return bool(wired.get(interface, "line")) and bool(self.source(interface))

    def source(self, interface: str) -> Path | None:
        """The driver's source file for an interface, if there is one."""
        return next(
            iter(sorted((resources.FIRMWARE / "ports").glob(f"audio_{self.driver}_{interface}.c*"))), None
        )


@dataclass(frozen=True)
class Microphone:
    """[microphone] of boards/microphones/*.toml: how its raw samples become PCM (SPEC.md section 13).

    No slot: not I2S.
    """

    name: str = _text(_IDENTIFIER)
    title: str = _text(_PROSE)
    interface: str = _text("adc|i2s|line|pdm")
    dc_shift: int = _number(range(MAX_DC_SHIFT + 1))
    gain_db: int = _number(range(-20, 41))
    slot: str = _text("philips|msb", "")
    bit_shift: int = _number(range(9), 0)

    @property
    def conversion(self) -> Conversion:
        """The integers that the device computes with."""
        return conversion(self.bit_shift, self.dc_shift, self.gain_db)


@dataclass(frozen=True)
class Emulator:
    """[emulator] of an emulated board: the QEMU machine, the compiler for it, and where flash and RAM
    begin.
    """

    command: str = _text("qemu-system-[a-z0-9]+")
    machine: str = _text(_IDENTIFIER)
    compiler: str = _text("([a-z0-9]+-)+")  # prefix of gcc, objcopy, …
    compile_flags: tuple[str, ...] = _text(
        r"-m[a-z0-9=+.-]+|--specs=(/usr/lib/xtensa-lx106-elf/)?picolibc\.specs"
    )
    flash_origin: int = _number(_ADDRESS)
    ram_origin: int = _number(_ADDRESS)
    packages: tuple[str, ...] = _text(_IDENTIFIER)  # of Debian and Ubuntu: compiler, C library, emulator
    cpu: str = _text(_IDENTIFIER, "")
    bios: str = _text("none", "")
    runtime: str = _text(
        "xtensa", ""
    )  # folder of the platform with start-up code and link.ld, where the C library has none

    @property
    def command_line(self) -> list[str]:
        """QEMU with its options, up to the program: semihosting is on, and standard input and output are
        the program's own.
        """
        chosen = [
            option
            for name, value in (("-cpu", self.cpu), ("-bios", self.bios))
            if value
            for option in (name, value)
        ]
        quiet = [
            "-nographic",
            "-monitor",
            "none",
            "-serial",
            "none",
            "-semihosting-config",
            "enable=on,target=native",
        ]
        return [self.command, "-M", self.machine, *chosen, *quiet, "-kernel"]


@dataclass(frozen=True)
class Relative:
    """[emulator] of a real board: the emulated board that runs its instruction set, or the closest there
    is.
    """

    relative: str = _text(_IDENTIFIER)


@dataclass(frozen=True)
class Board:
    """All that is known of a board, and where each figure is from."""

    board: Identity
    platformio: PlatformIO
    mcu: Mcu
    port: Port
    audio: Audio
    microphone: Microphone
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

    @property
    def linker_symbols(self) -> dict[str, int]:
        """Where an emulated board's program lies, in picolibc's words."""
        assert isinstance(self.emulator, Emulator)
        return {
            "__flash": self.emulator.flash_origin,
            "__flash_size": self.mcu.flash_bytes,
            "__ram": self.emulator.ram_origin,
            "__ram_size": self.mcu.ram_bytes,
            "__stack_size": self.port.stack_bytes,
        }

    def audio_sources(self) -> list[Path]:
        """The microphone's driver: what the family shares, and the file of its interface."""
        ports, source = resources.FIRMWARE / "ports", self.audio.source(self.microphone.interface)
        assert source is not None  # checked when the board was read
        return [*sorted(ports.glob(f"audio_{self.port.family}.*")), source]

    def project_files(self, render: Render, app: str = "harness") -> dict[str, str]:
        """What an exported project with an application holds for this board beside its ports: path to text.

        `render(template, **names)` fills a template.
        """
        templates = {"platformio.ini": "platformio.ini.j2", "src/serq_board.h": "serq_board.h.j2"}
        if self.platformio.framework == "espidf":
            templates |= {
                "CMakeLists.txt": "CMakeLists.txt.j2",
                "src/CMakeLists.txt": "src_CMakeLists.txt.j2",
            }
            templates |= {"sdkconfig.defaults": "sdkconfig.defaults.j2"}
        names = {"board": self, "conversion": self.microphone.conversion, "app": app}
        files = {path: render(template, **names) for path, template in templates.items()} | {
            BOARD_FILE: self.toml
        }
        return files | (
            _emulated_platform(self, self.emulator) if isinstance(self.emulator, Emulator) else {}
        )


def load_board(name: str) -> Board:
    """The board of that name or alias (case, spaces, dashes and underscores do not count), or of that TOML
    file.

    Raises SerqError for an unknown name, with the nearest one, and for a file that is damaged or says what no
    board may say.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    boards = _by_spoken_name()
    if _spoken(name) in boards:
        return boards[_spoken(name)]
    near = difflib.get_close_matches(_spoken(name), boards, n=1, cutoff=0.0)
    raise SerqError(
        f"there is no board {name!r}; the nearest is {boards[near[0]].name}, and `serq-mcu boards` lists all"
    )


def all_boards() -> list[Board]:
    """Every board that ships, real ones first, then by name."""
    boards = [read_board(path) for path in sorted(resources.BOARDS.glob("*.toml"))]
    return sorted(boards, key=lambda board: (board.emulated, board.name))


def read_board(path: Path) -> Board:
    """The board of a TOML file. Raises SerqError that names the file and the key."""
    return _board(*_read_toml(path, "board"), path)


def with_changes(board: Board, microphone: str | None, settings: Sequence[str]) -> Board:
    """The board with another microphone (a name or a .toml file) and with settings `section.key=value` of
    [audio] and [microphone].

    Raises SerqError for a microphone the board cannot take, and for a setting that is not one, with what
    there is.
    """
    if microphone is None and not settings:
        return board
    data = tomllib.loads(board.toml)
    known = None if microphone else data.get("microphone")
    data["microphone"] = known or _microphone_table(microphone or board.audio.microphone)[0]
    data["audio"]["microphone"] = data["microphone"].get("name", "")
    for setting in settings:
        match = re.fullmatch(r"(audio|microphone)\.([a-z0-9_]+)=(.+)", setting)
        if not match:
            raise SerqError(
                f"{setting!r} is not a setting; say --set audio.KEY=VALUE or --set microphone.KEY=VALUE, as"
                " in --set microphone.gain_db=30"
            )
        section, key, value = match.groups()
        number = re.fullmatch(r"-?[0-9]{1,9}", value) and not re.fullmatch(".*_(clock|select|data|pin)", key)
        data[section][key] = int(value) if number else value
    return _board(data, _toml(data), Path(f"{board.name} with --microphone or --set"))


def all_microphones() -> list[Microphone]:
    """Every microphone that ships, by name."""
    tables = [
        (_read_toml(path, "microphone")[0], path) for path in sorted(resources.MICROPHONES.glob("*.toml"))
    ]
    return [_section(Microphone, data.get("microphone"), f"{path}: [microphone]") for data, path in tables]


def _board(data: dict[str, Any], text: str, path: Path) -> Board:
    emulated = (
        isinstance(data.get("platformio"), dict) and data["platformio"].get("platform") == EMULATED_PLATFORM
    )
    sections: dict[str, Any] = {
        "board": Identity,
        "platformio": PlatformIO,
        "mcu": Mcu,
        "port": Port,
        "audio": Audio,
    }
    sections["emulator"] = Emulator if emulated else Relative
    read = {
        name: _section(section, data.get(name), f"{path}: [{name}]") for name, section in sections.items()
    }
    unknown = sorted(set(data) - {*sections, "microphone", "sources"})
    if unknown:
        raise SerqError(
            f"{path}: unknown section [{unknown[0]}]; a board has"
            f" {', '.join([*sections, 'microphone', 'sources'])}"
        )
    table, source = (
        (data["microphone"], path) if "microphone" in data else _microphone_table(read["audio"].microphone)
    )
    microphone = _section(Microphone, table, f"{source}: [microphone]")
    board = Board(**read, microphone=microphone, sources=_sources(data.get("sources", {}), path), toml=text)
    _check(board, path)
    return board


def _microphone_table(name: str) -> tuple[dict[str, Any], Path]:
    """The [microphone] of a file, or of one that ships, found by name."""
    path = Path(name) if name.endswith(".toml") else resources.MICROPHONES / f"{name.casefold()}.toml"
    if not name.endswith(".toml") and not (re.fullmatch(_IDENTIFIER, name) and path.is_file()):
        known = ", ".join(sorted(path.stem for path in resources.MICROPHONES.glob("*.toml")))
        raise SerqError(
            f"there is no microphone {name!r}; known are {known}, or name a microphone file (.toml)"
        )
    table = _read_toml(path, "microphone")[0].get("microphone")
    if not isinstance(table, dict):
        raise SerqError(f"{path}: [microphone] is missing")
    return table, path


def _read_toml(path: Path, what: str) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except OSError as error:
        raise SerqError(f"cannot read the {what} file {path}: {error.strerror or error}") from error
    except ValueError as error:  # TOML and UTF-8 errors are both
        raise SerqError(f"the {what} file {path} is not valid TOML: {error}") from error


def _toml(data: dict[str, dict[str, Any]]) -> str:
    """Sections of texts, integers and lists of texts, as TOML: JSON's strings and lists are TOML's too."""
    return "\n".join(
        f"[{name}]\n"
        + "".join(
            f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in section.items()
        )
        for name, section in data.items()
    )


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
    return section(
        **{
            key: _value(value, types[key], known[key].metadata, f"{where} {key}")
            for key, value in table.items()
        }
    )


def _value(value: Any, kind: Any, rule: Any, where: str) -> Any:
    if kind is int:
        if type(value) is not int or value not in rule["range"]:
            raise SerqError(
                f"{where} must be an integer from {rule['range'][0]} to {rule['range'][-1]}, not {value!r}"
            )
        return value
    texts = [value] if kind is str else value
    if not isinstance(texts, list) or not all(
        isinstance(text, str) and re.fullmatch(rule["pattern"], text) for text in texts
    ):
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
        raise SerqError(
            f"{path}: a real board needs [port] baud, [mcu] clock_hz above 0 and [platformio] framework"
        )
    if board.emulated != (board.port.family in ("semihosting", "simcall")):
        raise SerqError(
            f"{path}: [port] family {board.port.family!r} does not fit [platformio] platform"
            f" {board.platformio.platform!r}"
        )
    interface, ring = board.microphone.interface, board.audio.ring_samples
    if not board.audio.takes(interface):
        able = [m.name for m in all_microphones() if board.audio.takes(m.interface)]
        raise SerqError(
            f"{path}: the microphone {board.microphone.name} needs {interface.upper()}, for which"
            f" {board.name} has no pins or no driver; it takes {', '.join(able)}"
        )
    if (interface == "i2s") != bool(board.microphone.slot):
        raise SerqError(
            f"{path}: [microphone] slot is for I2S microphones, and they need one (philips or msb)"
        )
    if board.microphone.bit_shift and interface != "i2s":
        raise SerqError(f"{path}: [microphone] bit_shift is for I2S microphones alone")
    if ring & (ring - 1):
        raise SerqError(f"{path}: [audio] ring_samples must be a power of two, not {ring}")


def _spoken(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _by_spoken_name() -> dict[str, Board]:
    found: dict[str, Board] = {}
    for board in all_boards():
        for name in (board.name, *board.board.aliases):
            if found.setdefault(_spoken(name), board) is not board:
                raise SerqError(
                    f"the boards {found[_spoken(name)].name} and {board.name} both answer to {name!r}; change"
                    " one's aliases"
                )
    return found


def _emulated_platform(board: Board, emulator: Emulator) -> dict[str, str]:
    """The PlatformIO platform of the emulated boards, with the one board file that it needs."""
    root = resources.FIRMWARE / "platforms"
    folder = root / EMULATED_PLATFORM
    paths = [
        *folder.glob("*.*"),
        *folder.glob("builder/*.py"),
        *(folder.glob(f"{emulator.runtime}/*") if emulator.runtime else []),
    ]
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
            "symbols": board.linker_symbols,
        },
        "upload": {"maximum_size": board.mcu.flash_bytes, "maximum_ram_size": board.mcu.ram_bytes},
    }
    return files | {
        f"platforms/{EMULATED_PLATFORM}/boards/{board.platformio.board}.json": (
            json.dumps(manifest, indent=2) + "\n"
        )
    }
