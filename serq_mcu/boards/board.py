"""Boards and microphones are data: TOML files to frozen, validated objects, found by their usual names.

A board file may come from anywhere, so each value must match the pattern or range of its type below, and no
text may hold a control character: nothing in a board file can add a line to an ini file, an option to a
compiler or a program to a command. A port or audio driver that a board file brings is a program, as the
firmware is: it is copied into the project and compiled there.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from serq_mcu.base import resources
from serq_mcu.base.registry import load_extensions
from serq_mcu.base.validation import Section, checked, parse_toml, read_toml
from serq_mcu.boards.family import FAMILIES, PORTS, Family, require_port
from serq_mcu.boards.framework import FRAMEWORKS, FrameworkName
from serq_mcu.boards.known import FAMILY, KnownBoard, known_board, known_boards, rewrite
from serq_mcu.boards.pins import INTERFACE_PINS, Pins, expanded, suggestion, with_chip
from serq_mcu.boards.samples import MAX_DC_SHIFT, Conversion, conversion
from serq_mcu.errors import SerqError

EMULATED_PLATFORM = "serq_emulated"
BOARD_FILE = "board.toml"  # in an exported project: the board as it was then
_USB_BAUD = 460_800
_LEAST_SHARED = 4  # letters and digits of a name that another must have to be near
LISTENING = ("live", "capture")  # applications that need the board's microphone


def _form(pattern: str) -> Meta:
    return Meta(pattern=f"^(?:{pattern})$")


_IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_FILE = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"

Identifier = Annotated[str, _form(_IDENTIFIER)]
# fits a C string, an ini comment and JSON, and turns no letters round
Prose = Annotated[str, _form(r'[^\x00-\x1f\x7f-\x9f"\\$%{}\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+')]
Pin = Annotated[str, _form("[A-Z][A-Z0-9_]{1,31}|[0-9]{1,3}")]  # a number, or the framework's name
CName = Annotated[str, _form("[a-z][a-z0-9_]{0,31}")]
Source = Annotated[str, _form(rf"({_FILE}/)*{_FILE}\.(c|cpp|S)")]  # relative, and no .. in it
Address = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Size = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Render = Callable[..., str]
MicrophonePin = Literal[
    "power", "ground", "channel", "i2s_clock", "i2s_select", "i2s_data", "pdm_clock", "pdm_data", "adc_pin"
]
_POWER = {"power": "VDD", "ground": "GND"}
_PIN_NAMES: dict[str, dict[str, str]] = {
    "line": {},
    "adc": _POWER | {"adc_pin": "OUT"},
    "pdm": _POWER | {"pdm_clock": "CLK", "pdm_data": "DAT", "channel": "SEL"},
    "i2s": _POWER | {"i2s_clock": "SCK", "i2s_select": "WS", "i2s_data": "SD", "channel": "L/R"},
}


class Identity(Section, frozen=True):
    """[board]: what it is called."""

    name: Identifier
    title: Prose
    aliases: tuple[Prose, ...] = ()


class PlatformIO(Section, frozen=True):
    """[platformio]: the pinned platform that builds for the board, and its environment in platformio.ini.

    The environment is what stands there beside the common part. Without the platform's packages in
    PlatformIO's packages folder, a build needs the network. ldscript and variant: the framework's linker
    script and folder of pins where its board file names those of another chip.
    """

    platform: Annotated[str, _form(rf"{EMULATED_PLATFORM}|[a-z0-9]+@[0-9]+\.[0-9]+\.[0-9]+")]
    board: Identifier
    framework: FrameworkName = ""
    packages: tuple[Identifier, ...] = ()
    ldscript: Annotated[str, _form(r"[A-Za-z0-9_]+\.ld")] = ""
    variant: Identifier = ""
    build_flags: tuple[Annotated[str, _form(r"-D[A-Z][A-Z0-9_]*(=[A-Za-z0-9_]+)?")], ...] = ()
    sdkconfig: tuple[Annotated[str, _form(r"CONFIG_[A-Z0-9_]+=[A-Za-z0-9]+")], ...] = ()

    def configures(self, beginning: str) -> bool:
        """Tell whether a line of sdkconfig begins so."""
        return any(line.startswith(beginning) for line in self.sdkconfig)


_UNTIMED = ("Cortex-M7", "Cortex-M55", "Cortex-M85")


class Mcu(Section, frozen=True):
    """[mcu]: the core, and what a program may fill.

    A clock of 0 Hz: it has none (an emulator).
    """

    core: Prose
    features: tuple[Identifier, ...]
    clock_hz: Address
    flash_bytes: Size
    ram_bytes: Size

    @property
    def timed(self) -> bool:
        """Whether its instructions' cycles have a model: of a Cortex-M with one at a time and no vectors."""
        return self.core.startswith("Cortex-M") and self.core not in _UNTIMED


class Memory(Section, frozen=True):
    """[memory]: what the vendor's linker grants a program, and what the vendor's framework takes of it.

    program_bytes, static_bytes: flash for the program and RAM for its static data, where that is less than
    [mcu] has (0: no less). framework_*: flash, static RAM and heap beside the project's own (0: not known).
    flash_bytes_per_cycle: how fast flash is read where its cache misses (0: as fast as the core, or not
    known). code_sections: sections of code that are in the same RAM as data. code_block_bytes: the project's
    own code and framework_code_bytes are among them, in blocks of this size.
    """

    program_bytes: Address = 0
    static_bytes: Address = 0
    framework_flash_bytes: Address = 0
    framework_ram_bytes: Address = 0
    framework_heap_bytes: Address = 0
    framework_code_bytes: Address = 0
    flash_bytes_per_cycle: Annotated[float, Meta(ge=0, le=64)] = 0
    code_sections: tuple[Annotated[str, _form(r"\.[A-Za-z0-9_.]+")], ...] = ()
    code_block_bytes: Address = 0


class Power(Section, frozen=True):
    """[power]: the current of the chip alone at its clock, with the radio off, in mA (0: not known).

    computing_ma: while the core executes. waiting_ma: while it waits for an interrupt, as ports do between
    samples.
    """

    computing_ma: Annotated[float, Meta(ge=0, le=10_000)] = 0
    waiting_ma: Annotated[float, Meta(ge=0, le=10_000)] = 0


class Port(Section, frozen=True):
    """[port]: how the application reaches its host.

    Family f is firmware/ports/port_f.*, or a family that an extension registered. With a source, a file
    beside the board file is the port, and family a name for it. kind: a UART behind a USB bridge or on pins,
    the USB of the chip itself (ESP32-S3, -C3, -C6), or the framework's USB CDC. No baud rate: not a serial
    line. clock: the project has the family's file clock_CLOCK.*, which sets the chip's clocks instead of the
    framework.
    """

    family: CName
    stack_bytes: Annotated[int, Meta(ge=512, le=2**20 - 1)]
    source: Source = ""
    clock: CName = ""
    kind: Literal["uart", "usb_serial_jtag", "usb_cdc"] = "uart"
    baud: Annotated[int, Meta(ge=1200, le=4_000_000)] = 0


class Audio(Section, frozen=True):
    """[audio]: the microphone it listens to unless another is chosen, and the pins for each interface.

    Driver d takes the interfaces i of firmware/ports/audio_d_i.*, or of the folder of the board's family.
    With a source, a file beside the board file is the driver, for each interface that has pins. rate_hz is
    what the driver is asked for; true_rate_hz, where it differs, what it then gives. ring_samples, a power of
    two, is what may wait while the processor decides.
    """

    driver: CName
    microphone: Identifier
    rate_hz: Annotated[int, Meta(ge=8000, le=48000)]
    source: Source = ""
    true_rate_hz: Annotated[int, Meta(ge=0, le=48000)] = 0
    channel: Literal["left", "right"] = "left"
    i2s_clock: Pin = ""
    i2s_select: Pin = ""
    i2s_data: Pin = ""
    pdm_clock: Pin = ""
    pdm_data: Pin = ""
    adc_pin: Pin = ""
    ring_samples: Annotated[int, Meta(ge=256, le=65536)] = 4096

    @property
    def nominal_rate_hz(self) -> int:
        """Samples a second that really come, as far as the clocks are exact."""
        return self.true_rate_hz or self.rate_hz

    def wired(self, interface: str) -> bool:
        """Return whether a microphone of that interface has pins."""
        return all(getattr(self, key) for key in INTERFACE_PINS.get(interface, ()))


class Microphone(Section, frozen=True):
    """[microphone] of boards/microphones/*.toml: how its raw samples become PCM (SPEC.md section 13).

    No slot: not I2S. pins: what its maker prints at its pins where that is not what is usual.
    """

    name: Identifier
    title: Prose
    interface: Literal["adc", "i2s", "line", "pdm"]
    dc_shift: Annotated[int, Meta(ge=0, le=MAX_DC_SHIFT)]
    gain_db: Annotated[int, Meta(ge=-20, le=40)]
    slot: Literal["", "philips", "msb"] = ""
    bit_shift: Annotated[int, Meta(ge=0, le=8)] = 0
    pins: dict[MicrophonePin, Prose] = msgspec.field(default_factory=dict)

    @property
    def pin_names(self) -> dict[str, str]:
        """What is printed at the microphone's pins: power, ground, those of [audio], channel select."""
        return _PIN_NAMES[self.interface] | self.pins

    @property
    def conversion(self) -> Conversion:
        """The integers that the device computes with."""
        return conversion(self.bit_shift, self.dc_shift, self.gain_db)


class Emulator(Section, frozen=True):
    """[emulator] of an emulated board: the QEMU machine, its compiler, and where flash and RAM begin.

    compiler is the prefix of gcc, objcopy and so on; packages are those of Debian and Ubuntu with compiler, C
    library and emulator; runtime is the folder of the platform with start-up code and link.ld, where the C
    library has none.
    """

    command: Annotated[str, _form("qemu-system-[a-z0-9]+")]
    machine: Identifier
    compiler: Annotated[str, _form("([a-z0-9]+-)+")]
    compile_flags: tuple[
        Annotated[str, _form(r"-m[a-z0-9=+.-]+|--specs=(/usr/lib/xtensa-lx106-elf/)?picolibc\.specs")], ...
    ]
    flash_origin: Address
    ram_origin: Address
    packages: tuple[Identifier, ...]
    cpu: Identifier = ""
    bios: Literal["", "none"] = ""
    runtime: Literal["", "xtensa"] = ""

    @property
    def command_line(self) -> list[str]:
        """QEMU with its options, up to the program.

        Semihosting is on, and standard input and output are the program's own.
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


class Relative(Section, frozen=True):
    """[emulator] of a real board: the emulated board that runs its instruction set, or the closest one.

    machine: what Espressif's own QEMU calls the chip, where it has it.
    """

    relative: Identifier
    machine: Literal["", "esp32", "esp32c3"] = ""


class BoardFile(Section, frozen=True):
    """A board file. [microphone] is there where it differs from the one that [audio] names."""

    board: Identity
    platformio: PlatformIO
    mcu: Mcu
    port: Port
    audio: Audio
    memory: Memory = Memory()
    power: Power = Power()
    pins: Pins = Pins()
    microphone: Microphone | None = None
    sources: dict[str, str] = msgspec.field(default_factory=dict)


class RealBoardFile(BoardFile, frozen=True, kw_only=True):
    """The file of a board with a vendor's PlatformIO platform."""

    emulator: Relative


class EmulatedBoardFile(BoardFile, frozen=True, kw_only=True):
    """The file of a board that QEMU emulates."""

    emulator: Emulator


class _Refusal(Section, frozen=True):
    """A board that is asked for and is not here: its names, and why."""

    names: tuple[str, ...]
    reason: str


class _Refused(Section, frozen=True):
    """The file of refusals."""

    refused: tuple[_Refusal, ...]


class MicrophoneFile(Section, frozen=True):
    """A microphone file."""

    microphone: Microphone
    sources: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """All that is known of a board, and where each figure is from."""

    board: Identity
    platformio: PlatformIO
    mcu: Mcu
    memory: Memory
    power: Power
    pins: Pins
    port: Port
    audio: Audio
    microphone: Microphone
    emulator: Emulator | Relative
    sources: dict[str, str]
    toml: str  # the file all this was read from
    folder: Path  # of that file: the files that it brings are relative to it

    @property
    def name(self) -> str:
        """Name by which users choose the board."""
        return self.board.name

    @property
    def title(self) -> str:
        """Name of the board for people to read."""
        return self.board.title

    @property
    def emulated(self) -> bool:
        """Whether the board exists in QEMU only."""
        return isinstance(self.emulator, Emulator)

    @property
    def baud(self) -> int:
        """Baud rate with which a computer opens the line: of a USB line one that it ignores."""
        return self.port.baud or (0 if self.port.kind == "uart" else _USB_BAUD)

    @property
    def port_pins(self) -> list[str]:
        """Pins of the line to the host."""
        return expanded(self.pins.uart if self.port.kind == "uart" else self.pins.usb)

    @property
    def warnings(self) -> list[str]:
        """A sentence for each pin of the microphone that does something else besides."""
        found = {key: self.pins.warning(getattr(self.audio, key)) for key in self.microphone_pins}
        return [
            f"audio.{key}: pin {getattr(self.audio, key)} {reason}" for key, reason in found.items() if reason
        ]

    @property
    def microphone_pins(self) -> tuple[str, ...]:
        """Keys of [audio] that name the pins of its microphone."""
        return INTERFACE_PINS.get(self.microphone.interface, ())

    @property
    def program_bytes(self) -> int:
        """Bytes of flash that a program may fill: the framework's partition or the linker's region."""
        partition = FRAMEWORKS[self.platformio.framework].partition_origin
        limits = (self.mcu.flash_bytes - partition, self.memory.program_bytes)
        return min(limit for limit in limits if limit)

    @property
    def static_bytes(self) -> int:
        """Bytes of RAM that static data may fill."""
        return self.memory.static_bytes or self.mcu.ram_bytes

    @property
    def linker_symbols(self) -> dict[str, int]:
        """Where an emulated board's program is placed, in picolibc's terms."""
        assert isinstance(self.emulator, Emulator)
        return {
            "__flash": self.emulator.flash_origin,
            "__flash_size": self.mcu.flash_bytes,
            "__ram": self.emulator.ram_origin,
            "__ram_size": self.mcu.ram_bytes,
            "__stack_size": self.port.stack_bytes,
        }

    @property
    def family(self) -> Family:
        """The chip family; of a board that brings its port under a name of its own, one without files."""
        name = self.port.family
        return FAMILIES[name] if name in FAMILIES else Family(name, PORTS)

    def takes(self, interface: str) -> bool:
        """Return whether this board has pins and a driver for a microphone of that interface."""
        return self.audio.wired(interface) and self.driver(interface) is not None

    def driver(self, interface: str) -> Path | None:
        """Return the source file of the audio driver for an interface, if there is one."""
        if self.audio.source:
            return self.folder / self.audio.source
        return self.family.driver(self.audio.driver, interface)

    def sources_in_project(self, app: str = "harness") -> dict[str, Path]:
        """Return the port's files and, for an application that listens, those of the audio driver.

        Path in a project to file. A file that the board file brings gets the name that the family's own file
        would have. An audio driver that the application does not use goes beside board.toml, where no build
        looks for sources.
        """
        port = [] if self.port.source else self.family.port
        audio = self._driver_files() if app in LISTENING else []
        clock = [self.family.clock(self.port.clock)] if self.port.clock else []
        found = {f"src/{path.name}": path for path in (*port, *clock, *audio) if path}
        return found | {place: self.folder / source for source, place in self._brought(app).values()}

    def _driver_files(self) -> list[Path]:
        """Return the family's files of the audio driver."""
        if self.audio.source:
            return self.family.shared_audio
        driver = self.driver(self.microphone.interface)
        assert driver is not None  # checked when the board was read
        shared = [*self.family.shared_audio, *self.family.shared_by_driver(self.audio.driver)]
        return [*dict.fromkeys(shared), driver]

    def _brought(self, app: str) -> dict[str, tuple[str, str]]:
        """Return what [port] and [audio] bring.

        Section to the path beside the board file and to that in a project.
        """
        port, audio, found = self.port, self.audio, {}
        if port.source:
            found["port"] = (port.source, f"src/port_{port.family}{Path(port.source).suffix}")
        if audio.source:
            name = f"audio_{audio.driver}_{self.microphone.interface}{Path(audio.source).suffix}"
            found["audio"] = (audio.source, f"src/{name}" if app in LISTENING else name)
        return found

    def project_files(self, render: Render, app: str = "harness") -> dict[str, str]:
        """Return what an exported project holds for this board beside its ports: path to text.

        `render(template, **names)` fills a template.
        """
        framework = FRAMEWORKS[self.platformio.framework]
        templates = {"platformio.ini": "platformio.ini.j2", "src/serq_board.h": "serq_board.h.j2"}
        names = {"board": self, "framework": framework, "conversion": self.microphone.conversion, "app": app}
        files = {path: render(name, **names) for path, name in (templates | framework.templates).items()}
        files[BOARD_FILE] = self._moved(app)
        if isinstance(self.emulator, Emulator):
            files |= _emulated_platform(self, self.emulator)
        return files

    def _moved(self, app: str) -> str:
        """Return the board file as it stands in a project: what it brings has its place there."""
        brought = self._brought(app)
        if not brought:
            return self.toml
        document = _document(self.toml)
        for section, (_, place) in brought.items():
            document[section]["source"] = place
        return str(document.as_string())

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        names = [item.name for item in fields(self) if item.name != "folder"]
        return {name: msgspec.to_builtins(getattr(self, name)) for name in names}


_registered: dict[str, Path] = {}  # board files of extensions, by the names people say


def register_boards(folder: Path) -> None:
    """Add the boards of a folder of board files: `--board` then finds each by its file's name.

    Raises SerqError if the folder has no board file, or if the name of one is taken. A file is read when its
    board is asked for.
    """
    files = {_spoken(path.stem): path for path in sorted(folder.glob("*.toml"))}
    if not files:
        raise SerqError(f"the folder {folder} has no board file (.toml)")
    taken = {_spoken(path.stem): path for path in _board_files()}
    for name in files.keys() & taken.keys():
        raise SerqError(f"the board file {files[name]} has the name of {taken[name]}; give it another name")
    _registered.update(files)


def load_board(name: str) -> Board:
    """Load the board of a name or alias, of a TOML file, or `esp32:ID` with an id of PlatformIO's.

    Case, spaces, dashes and underscores of a name do not count. Raises SerqError for an unknown name, with
    the nearest one, and for a file that is damaged or has a value that no board may have.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    if ":" in name:
        return _board_of_platform(known_board(name))
    spoken = _spoken(name)
    for path in _board_files():
        if _spoken(path.stem) == spoken:
            return _named_board(path)
    boards = _by_spoken_name()
    if spoken in boards:
        return boards[spoken]
    if reason := _refusals().get(spoken):
        raise SerqError(f"{name} is not supported: {reason}; a board file of your own (.toml) works too")
    raise SerqError(
        f"unknown board {name!r}; {_nearest(name, boards)}`serq-mcu boards` lists all boards, esp32:ID takes"
        " any of PlatformIO's, and a board file (.toml) works too"
    )


def _refusals() -> dict[str, str]:
    """Return why boards that are asked for are not here, by the names people say."""
    path = resources.BOARDS / "refused" / "refused.toml"
    refused = checked(read_toml(path, "board")[0], _Refused, str(path)).refused
    return {_spoken(name): item.reason for item in refused for name in item.names}


def _nearest(name: str, boards: Mapping[str, Board]) -> str:
    """Ask for the board whose name or chip is nearest, or for nothing where none is near.

    Of a real board it is never an emulated one. Those that have the longest piece of the name in theirs, from
    the beginning of one of its words on, come before those that are only spelled alike: it is the maker's
    name or the chip's.
    """
    spoken = _spoken(name)
    known = {_spoken(board): board for board in known_boards()}
    if spoken in known:
        return f"did you mean {FAMILY}:{known[spoken]}? "
    emulated = spoken.startswith(("emul", "qemu"))
    likely = [other for other, board in boards.items() if board.emulated == emulated]
    words = re.findall("[^0-9 _-]+|[0-9]+", name.casefold())
    ends = ["".join(words[first:]) for first in range(len(words))]

    def shared(other: str) -> int:
        return max((size for end in ends for size in range(len(end) + 1) if end[:size] in other), default=0)

    longest = max(map(shared, likely))
    if longest < max(1, min(_LEAST_SHARED, len(spoken))):
        return ""
    best = [other for other in likely if shared(other) == longest]
    return f"did you mean {boards[difflib.get_close_matches(spoken, best, n=1, cutoff=0.0)[0]].name}? "


def _board_of_platform(known: KnownBoard) -> Board:
    """Return a board that has no file: its chip's board with what the platform says of it."""
    chip = load_board(known.chip)
    document = _document(chip.toml)
    rewrite(document, known)
    text = document.as_string()
    where = Path(f"{FAMILY}:{known.id}")
    return _board(parse_toml(text, str(where)), text, where, chip.folder)


def all_boards() -> list[Board]:
    """Return every board that ships or is registered, real ones first, then by name."""
    boards = [_named_board(path) for path in _board_files()]
    return sorted(boards, key=lambda board: (board.emulated, board.name))


def read_board(path: Path) -> Board:
    """Return the board of a TOML file.

    Raises SerqError that names the file and the key.
    """
    return _board(*read_toml(path, "board"), path, path.parent)


def with_changes(board: Board, microphone: str | None, settings: Sequence[str]) -> Board:
    """Return the board with another microphone and other settings.

    microphone: a name or a .toml file; settings: `section.key=value` of [audio] and [microphone]. Comments
    and order of the board's file stay. Raises SerqError for a microphone the board cannot take, and for a
    setting that is not one, with those there are.
    """
    if microphone is None and not settings:
        return board
    document = _document(board.toml)
    if microphone or "microphone" not in document:
        path = _microphone_path(microphone or board.audio.microphone)
        document["audio"]["microphone"] = _read_microphone(path).name
        document["microphone"] = _document(read_toml(path, "microphone")[1])["microphone"]
    for setting in settings:
        section, key, value = _setting(setting)
        document[section][key] = value
    return _of_document(board, document, "--microphone or --set")


def with_sdkconfig(board: Board, lines: Sequence[str]) -> Board:
    """Return the board with more lines of ESP-IDF's configuration, where it has not got them."""
    new = [line for line in lines if line not in board.platformio.sdkconfig]
    if not new:
        return board
    document = _document(board.toml)
    for line in new:
        document["platformio"]["sdkconfig"].append(line)
    return _of_document(board, document, "more of sdkconfig")


def _of_document(board: Board, document: Any, what: str) -> Board:
    """Make the board again of its changed file; what: what errors say it was changed with."""
    text, where = document.as_string(), Path(f"{board.name} with {what}")
    return _board(parse_toml(text, str(where)), text, where, board.folder)


def all_microphones() -> list[Microphone]:
    """Return every microphone that ships, by name."""
    return [_read_microphone(path) for path in sorted(resources.MICROPHONES.glob("*.toml"))]


def _document(text: str) -> Any:
    """Return a TOML text as a document that keeps comments and order when it is changed."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise SerqError(f"the board or microphone file cannot be changed: {error}") from error


def _setting(text: str) -> tuple[str, str, str | int]:
    match = re.fullmatch(r"(audio|microphone|port)\.([a-z0-9_]+)=(.+)", text)
    if not match or (match[1] == "port" and match[2] not in ("kind", "baud")):
        raise SerqError(
            f"{text!r} is not a setting; use --set audio.KEY=VALUE or --set microphone.KEY=VALUE, as"
            " in --set microphone.gain_db=30, --set port.kind=KIND or --set port.baud=RATE"
        )
    section, key, value = match.groups()
    number = re.fullmatch(r"-?[0-9]{1,9}", value) and not re.fullmatch(".*_(clock|select|data|pin)", key)
    return section, key, int(value) if number else value


def _board(data: dict[str, Any], text: str, path: Path, folder: Path) -> Board:
    platform = data.get("platformio")
    emulated = isinstance(platform, dict) and platform.get("platform") == EMULATED_PLATFORM
    kind: type[RealBoardFile | EmulatedBoardFile] = EmulatedBoardFile if emulated else RealBoardFile
    file = checked(data, kind, str(path))
    board = Board(
        board=file.board,
        platformio=file.platformio,
        mcu=file.mcu,
        memory=file.memory,
        power=file.power,
        pins=with_chip(file.pins, file.mcu.core, file.port.family, str(path)),
        port=file.port,
        audio=file.audio,
        microphone=file.microphone or _read_microphone(_microphone_path(file.audio.microphone)),
        emulator=file.emulator,
        sources=file.sources,
        toml=text,
        folder=folder,
    )
    _check(board, path)
    return board


def _named_board(path: Path) -> Board:
    board = read_board(path)
    if board.name != path.stem:
        raise SerqError(f"{path}: board.name is {board.name!r}; a board that is found by name has its file's")
    return board


def _read_microphone(path: Path) -> Microphone:
    return checked(read_toml(path, "microphone")[0], MicrophoneFile, str(path)).microphone


def _microphone_path(name: str) -> Path:
    """Return a microphone's file, or that of one that ships, found by name."""
    if name.endswith(".toml"):
        return Path(name)
    path = resources.MICROPHONES / f"{name.casefold()}.toml"
    if not (re.fullmatch(_IDENTIFIER, name) and path.is_file()):
        known = ", ".join(sorted(path.stem for path in resources.MICROPHONES.glob("*.toml")))
        raise SerqError(f"unknown microphone {name!r}; use one of {known}, or a microphone file (.toml)")
    return path


def _check(board: Board, path: Path) -> None:
    """Raise SerqError for what no single field of a board file can contradict."""
    _check_core(board, path)
    _check_port(board, path)
    _check_line(board, path)
    _check_audio(board, path)
    _check_pins(board, path)


def _check_core(board: Board, path: Path) -> None:
    for limit, whole in (("program_bytes", board.mcu.flash_bytes), ("static_bytes", board.mcu.ram_bytes)):
        if getattr(board.memory, limit) > whole:
            raise SerqError(f"{path}: memory.{limit} is more than the {whole} that [mcu] has")
    if board.mcu.flash_bytes <= FRAMEWORKS[board.platformio.framework].partition_origin:
        raise SerqError(f"{path}: mcu.flash_bytes leaves no room for a program")
    if board.port.stack_bytes > board.mcu.ram_bytes:
        raise SerqError(f"{path}: port.stack_bytes is more than mcu.ram_bytes")
    if board.power.waiting_ma > board.power.computing_ma:
        raise SerqError(f"{path}: power.waiting_ma is more than power.computing_ma")
    line = board.port.baud or board.port.kind != "uart"
    if not board.emulated and not (line and board.mcu.clock_hz and board.platformio.framework):
        raise SerqError(
            f"{path}: a real board needs port.baud, mcu.clock_hz above 0 and platformio.framework"
        )


def _check_port(board: Board, path: Path) -> None:
    if board.port.family not in FAMILIES and not board.port.source:
        raise SerqError(
            f"{path}: port.family {board.port.family!r} is not one of {', '.join(FAMILIES)}; install the"
            " extension that has it, or name the port's file with port.source"
        )
    for key, source in (("port", board.port.source), ("audio", board.audio.source)):
        if source:
            _require_beside(board.folder, source, f"{path}: {key}.source")
    if board.port.clock and board.family.clock(board.port.clock) is None:
        raise SerqError(
            f"{path}: port.clock {board.port.clock!r}: the family has no clock_{board.port.clock}.cpp"
        )
    if board.port.source:
        require_port([board.folder / board.port.source])
    elif board.family.emulated is not None and board.emulated != board.family.emulated:
        raise SerqError(
            f"{path}: port.family {board.port.family!r} does not fit platformio.platform"
            f" {board.platformio.platform!r}"
        )


def _check_line(board: Board, path: Path) -> None:
    """Raise SerqError for a line to the host that the chip or framework does not have."""
    kind = board.port.kind
    able = {"usb_serial_jtag": bool(board.pins.usb), "usb_cdc": board.platformio.framework == "arduino"}
    if not able.get(kind, True) and not board.port.source:
        raise SerqError(
            f"{path}: port.kind {kind!r} is not for {board.mcu.core} with {board.platformio.framework}; say"
            " uart"
        )
    for line in board.platformio.sdkconfig:
        if line.startswith("CONFIG_ESP_CONSOLE_"):
            raise SerqError(
                f"{path}: platformio.sdkconfig has {line}, which puts logs on the line to the host; say"
                " [port] kind instead"
            )


def _check_pins(board: Board, path: Path) -> None:
    """Raise SerqError, with the reason and free pins, for a pin of [audio] that a microphone cannot have."""
    if not board.pins.exist:
        return
    for keys in INTERFACE_PINS.values():
        chosen = {key: getattr(board.audio, key) for key in keys if getattr(board.audio, key)}
        for key, pin in chosen.items():
            others = [other for other, its in chosen.items() if other < key and its == pin]
            against = [*(f"is audio.{other}, too" for other in others)]
            against += board.pins.reasons_against(pin, key, board.port_pins)
            if against:
                free = board.pins.free(key, chosen.values(), board.port_pins)
                raise SerqError(f"{path}: audio.{key}: pin {pin} {against[0]}; {suggestion(free)}")
        for key, first in board.pins.after.items():
            if key in chosen and chosen[key] != str(int(board.pins.canonical(chosen[first])) + 1):
                raise SerqError(
                    f"{path}: audio.{key}: pin {chosen[key]} is not the one after audio.{first}"
                    f" ({chosen[first]}), which the driver needs"
                )


def _check_audio(board: Board, path: Path) -> None:
    interface, ring = board.microphone.interface, board.audio.ring_samples
    if not board.audio.source and board.audio.driver not in board.family.drivers():
        raise SerqError(
            f"{path}: audio.driver {board.audio.driver!r} is not one of {', '.join(board.family.drivers())};"
            " name the driver's file with audio.source"
        )
    if not board.takes(interface):
        able = [m.name for m in all_microphones() if board.takes(m.interface)]
        raise SerqError(
            f"{path}: the microphone {board.microphone.name} needs {interface.upper()}, for which"
            f" {board.name} has no pins or no driver; it takes {', '.join(able)}"
        )
    if (interface == "i2s") != bool(board.microphone.slot):
        raise SerqError(f"{path}: microphone.slot is for I2S microphones, and they need one (philips or msb)")
    if board.microphone.bit_shift and interface != "i2s":
        raise SerqError(f"{path}: microphone.bit_shift is for I2S microphones alone")
    if ring & (ring - 1):
        raise SerqError(f"{path}: audio.ring_samples must be a power of two, not {ring}")


def _require_beside(folder: Path, source: str, where: str) -> None:
    """Raise SerqError unless a file that a board file brings is a regular file below its folder."""
    path = folder / source
    if not path.is_file():
        raise SerqError(f"{where}: {path} is not a file")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SerqError(f"{where}: {path} is a link out of the folder of the board file; copy the file there")


def _board_files() -> list[Path]:
    load_extensions()
    return [*sorted(resources.BOARDS.glob("*.toml")), *_registered.values()]


def _spoken(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _by_spoken_name() -> dict[str, Board]:
    found: dict[str, Board] = {}
    for board in all_boards():
        for name in (board.name, *board.board.aliases):
            if found.setdefault(_spoken(name), board) is not board:
                raise SerqError(
                    f"the boards {found[_spoken(name)].name} and {board.name} both have the name {name!r};"
                    " change the aliases of one"
                )
    return found


def _emulated_platform(board: Board, emulator: Emulator) -> dict[str, str]:
    """Read the PlatformIO platform of the emulated boards, with the one board file that it needs."""
    root = resources.FIRMWARE / "platforms"
    folder = root / EMULATED_PLATFORM
    paths = [
        *folder.glob("*.*"),
        *folder.glob("builder/*.py"),
        *(folder.glob(f"{emulator.runtime}/*") if emulator.runtime else []),
    ]
    files = {
        f"platforms/{path.relative_to(root).as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted(paths)
    }
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
