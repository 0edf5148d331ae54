"""PlatformIO: lay out its core without a network, find compilers and emulators, build, flash, monitor.

The `platformio` of this Python environment is used, and its normal core folder (PLATFORMIO_CORE_DIR or
~/.platformio); all that is ever added there is the package tool-scons, made from the pinned `scons` of the
same environment where PlatformIO would download it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serq_mcu.base.files import new_folder, open_log, write_file
from serq_mcu.base.progress import Progress, silent
from serq_mcu.base.shell import plain_folder, quoted
from serq_mcu.boards.board import BOARD_FILE, Board, Emulator, all_boards, read_board
from serq_mcu.codegen.export import read_project
from serq_mcu.codegen.trust import buildable
from serq_mcu.errors import SerqError
from serq_mcu.harness.serial_ports import why_not_open, why_not_written

LOG = "build.log"
_BUILT = ".pio"
_NO_PLATFORMIO = "PlatformIO is not installed in this Python environment; run `pip install 'serq-mcu[build]'`"
# of picolibc and STM32; with the prefix, of ESP-IDF; a board's file names sections of code in RAM
_RAM_SECTIONS = re.compile(r"\.(dram0\.)?(data|bss|noinit)")
_COMPILER_ERROR = re.compile(r"^.*?:\d+: (?:fatal )?error: .*|^.*undefined reference to .*", re.M)
# platform-espressif32 v6.13.0, builder/frameworks/espidf.py: get_idf_venv_dir, ensure_python_venv_available
IDF_PYTHON = "the Python packages of ESP-IDF"
_IDF_PYTHON_FILE = "penv/.espidf-*/pio-idf-venv.json"
_HOST_PACKAGES = ("gcc", "libc6-dev")  # of Debian and Ubuntu
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600")  # waits for whoever holds the packages' lock
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@dataclass(frozen=True)
class Tool:
    """One thing that builds or emulation need."""

    name: str
    state: str  # "ready", "installed" (just now), "missing", or "on demand" (the first build downloads it)
    found: str  # version and place, or what to do


@dataclass(frozen=True)
class BuildResult:
    """A built program.

    flash_bytes: all that is stored in flash; ram_bytes: static data and the board's stack.
    """

    elf: Path
    flash_bytes: int
    ram_bytes: int
    log: Path


def environment() -> dict[str, str]:
    """Return the variables for a PlatformIO process.

    They are this process's, with everything silenced that would call home.
    """
    return os.environ | {
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "9999",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
    }


def setup_toolchain(
    *,
    offline: bool = False,
    progress: Progress = silent,
    agreed: Callable[[Sequence[str]], bool] = lambda _: True,
) -> list[Tool]:
    """Make builds for the host and the emulated boards possible, and report every tool.

    Running it again changes nothing.

    Missing compilers and emulators are installed with apt-get where that is possible: on Debian and Ubuntu,
    as root, not `offline`, and where `agreed` says so of the packages. Raises SerqError that names the
    command to type where it is not.
    """
    tools = [_platformio(), _scons(progress)]
    before = {board.name: lacks(board) for board in _emulated_boards()}
    packages = sorted(
        {
            package
            for board in _emulated_boards()
            if before[board.name]
            for package in emulator_of(board).packages
        }
    )
    host = host_compiler()
    packages += () if host else _HOST_PACKAGES
    if packages:
        _apt_install(packages, progress, offline=offline or not agreed(packages))
    for board in _emulated_boards():
        if still := lacks(board):
            raise SerqError(
                f"{still} for {board.title} is still missing after apt-get installed"
                f" {' '.join(emulator_of(board).packages)}"
            )
        tools += _emulation_tools(board, "installed" if before[board.name] else "ready")
    compiler = host_compiler()
    if not compiler:
        raise SerqError(
            "a C compiler for this computer is still missing after apt-get installed"
            f" {' '.join(_HOST_PACKAGES)}"
        )
    tools.append(
        Tool(Path(compiler).name, "ready" if host else "installed", f"{tool_version(compiler)} in {compiler}")
    )
    return list(dict.fromkeys(tools)) + _vendor_tools()


def build(folder: Path, progress: Progress = silent, log: Path | None = None) -> BuildResult:
    """Build an exported project with PlatformIO, and whatever code the folder holds with it.

    PlatformIO's output goes to `log`, by default build.log in the folder, and line by line to `progress`.
    Raises SerqError, before anything runs, where a tool is missing or must be downloaded without a network;
    and for a failed build, with the last lines of its log.
    """
    log = log or folder / LOG
    board = _project_board(folder)
    _platformio()
    _scons(progress)
    _check_tools(board, folder)
    _run(["run"], folder, log, "build", progress)
    elf = _elf(folder, board)
    flash, ram = _sizes(elf, board)
    return BuildResult(elf, flash, ram, log)


def downloads(folder: Path) -> list[str]:
    """List what the first build of an exported project downloads: packages of its chip's vendor."""
    board = _project_board(folder)
    return [] if board.emulated else missing_packages(board)


def built_folder(folder: Path) -> Path:
    """Return where PlatformIO puts what it builds of an exported project."""
    return _elf(folder, _project_board(folder)).parent


def last_build(folder: Path) -> BuildResult | None:
    """Return what `build` left in an exported project, or None if it was not built.

    Raises SerqError if it is no project or the program is damaged.
    """
    board = _project_board(folder)
    elf = _elf(folder, board)
    return BuildResult(elf, *_sizes(elf, board), folder / LOG) if elf.exists() else None


def flash(
    folder: Path, port: str | None = None, progress: Progress = silent, *, allow_changes: bool = False
) -> Path:
    """Build an exported project and write it to the board, on `port` if it is named; returns the log.

    What is built is a fresh export of the folder's model and board with the user's own code in src/, or with
    allow_changes the folder. Raises SerqError if the folder holds other code, and in one sentence with the
    remedy: for a port that cannot be opened before anything is built, for an upload that failed from what the
    uploader printed.
    """
    board = _project_board(folder)
    _refuse_emulated(board)
    if port is not None:
        _open_port(board, port).close()
    arguments = ["run", "--target", "upload", *(["--upload-port", port] if port else [])]
    with for_board(folder, progress, allow_changes=allow_changes) as place:
        return _upload(arguments, place, folder / LOG, port, board, progress)


@contextlib.contextmanager
def for_board(folder: Path, progress: Progress = silent, *, allow_changes: bool = False) -> Iterator[Path]:
    """Build what `flash` writes to a board, and yield the project in which it was built.

    Raises SerqError as `flash` does: for an emulated board, other code in the folder or a failed build.
    """
    _refuse_emulated(_project_board(folder))
    with buildable(read_project(folder), allow_changes=allow_changes, runs_here=False) as own:
        build(own.folder, progress, folder / LOG)
        if own.folder != folder:
            _keep_built(own.folder, folder)
        yield own.folder


def _upload(
    arguments: list[str], folder: Path, log: Path, port: str | None, board: Board, progress: Progress
) -> Path:
    try:
        return _run(arguments, folder, log, "upload", progress)
    except SerqError as error:
        reason = why_not_written(log.read_text(errors="replace"), port, board.name) if log.exists() else None
        if reason is None:
            raise
        raise SerqError(f"{reason}; {log} has all that was said") from error


def monitor(folder: Path, port: str | None = None) -> None:
    """Show what the board sends, until the user ends it (Ctrl+C).

    Without a port PlatformIO looks for one. Raises SerqError.

    Where standard input is no terminal, all that the board sends goes to standard output as it is, for a pipe
    or a file.
    """
    board = _project_board(folder)
    _refuse_emulated(board)
    _platformio()
    line = _open_port(board, port) if port else None
    if line and not sys.stdin.isatty():
        return _copy(line, port or "")
    if line:
        line.close()
    command = [sys.executable, "-m", "platformio", "device", "monitor", "--project-dir", str(folder)]
    if subprocess.run(
        command + (["--port", port] if port else []), env=environment(), check=False
    ).returncode:
        raise SerqError("PlatformIO's monitor could not open a serial port; name it with --port")


def emulator_command(board: Board, elf: Path) -> list[str]:
    """Return the command that runs `elf` in the board's emulator.

    Its standard input and output are the program's line, and it ends when its input does. While the program
    waits for input, QEMU does not act on SIGTERM: close its input, or kill it. Raises SerqError without QEMU.
    """
    if not isinstance(board.emulator, Emulator):
        raise SerqError(
            f"{board.name} is not emulated; export for {board.emulator.relative}, which runs the closest"
            " instruction set"
        )
    if not shutil.which(board.emulator.command):
        raise SerqError(_install(board.emulator.command, board.emulator.packages))
    return [*board.emulator.command_line, str(elf)]


def _project_board(folder: Path) -> Board:
    read_project(folder)
    return read_board(folder / BOARD_FILE)


def _elf(folder: Path, board: Board) -> Path:
    return folder / _BUILT / "build" / board.name / "firmware.elf"


def _emulated_boards() -> list[Board]:
    return [board for board in all_boards() if board.emulated]


def emulator_of(board: Board) -> Emulator:
    """Return what an emulated board is emulated with."""
    assert isinstance(board.emulator, Emulator)
    return board.emulator


def core_folder() -> Path:
    """Return PlatformIO's own folder."""
    try:
        return Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio").expanduser()
    except RuntimeError as error:
        raise SerqError(
            "PlatformIO's folder would be in your home folder, and you have none; set PLATFORMIO_CORE_DIR"
        ) from error


def _folder(kind: str) -> Path:
    """Return PlatformIO's `packages` or `platforms`."""
    return Path(os.environ.get(f"PLATFORMIO_{kind.upper()}_DIR") or core_folder() / kind).expanduser()


def _platformio() -> Tool:
    if importlib.util.find_spec("platformio") is None:
        raise SerqError(_NO_PLATFORMIO)
    return Tool("platformio", "ready", importlib.metadata.version("platformio"))


def _scons(progress: Progress) -> Tool:
    """Lay out PlatformIO's package tool-scons from this environment's SCons.

    A suitable one that is there stays.
    """
    from platformio.dependencies import get_core_dependencies
    from semantic_version import SimpleSpec, Version

    wanted = SimpleSpec(get_core_dependencies()["tool-scons"])
    for manifest in _folder("packages").glob("tool-scons*/package.json"):
        version = _manifest(manifest).get("version", "0.0.0")
        if (manifest.parent / ".piopm").exists() and Version.coerce(version) in wanted:
            return Tool("tool-scons", "ready", f"{version} in {manifest.parent}")
    version = _scons_version()
    if Version(version) not in wanted:
        raise SerqError(
            f"PlatformIO wants tool-scons {wanted}, which this environment's SCons is not; run `pip install"
            " 'serq-mcu[build]'`"
        )
    folder = _folder("packages") / f"tool-scons@{version}"
    with new_folder(folder, "scons.py") as fresh:
        write_file(fresh / "scons.py", "import sys\n\nfrom SCons.Script import main\n\nsys.exit(main())\n")
        write_file(
            fresh / "package.json",
            json.dumps(
                {"name": "tool-scons", "version": version, "description": "SCons of a Python environment"}
            ),
        )
        origin = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
        write_file(
            fresh / ".piopm",
            json.dumps({"type": "tool", "name": "tool-scons", "version": version, "spec": origin}),
        )
    progress(f"laid out {folder}")
    return Tool("tool-scons", "installed", f"{version} in {folder}")


def _scons_version() -> str:
    """Return PlatformIO's number for this environment's SCons: 4.11.1 is 4.41101.0."""
    try:
        major, minor, patch = (int(part) for part in importlib.metadata.version("scons").split(".")[:3])
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise SerqError(
            "SCons is not installed in this Python environment; run `pip install 'serq-mcu[build]'`"
        ) from error
    return f"{major}.{major}{minor:02}{patch:02}.0"


def _manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def lacks(board: Board) -> str:
    """Return what an emulated board still lacks: its compiler, its C library, its emulator, or nothing."""
    emulator = emulator_of(board)
    compiler = f"{emulator.compiler}gcc"
    if not shutil.which(compiler):
        return compiler
    if not _preprocesses([compiler, *emulator.compile_flags]):
        return "picolibc"
    return "" if shutil.which(emulator.command) else emulator.command


def host_compiler() -> str:
    """Find this computer's C compiler with its C library, or nothing."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)) and _preprocesses([path]):
            return path
    return ""


def _preprocesses(command: list[str]) -> bool:
    """Tell whether a compiler finds the C library's headers."""
    return (
        subprocess.run(
            [*command, "-E", "-include", "string.h", "-x", "c", os.devnull], capture_output=True, check=False
        ).returncode
        == 0
    )


def _emulation_tools(board: Board, state: str) -> list[Tool]:
    return [
        Tool(command, state, f"{tool_version(command)} in {shutil.which(command)}")
        for command in (f"{emulator_of(board).compiler}gcc", emulator_of(board).command)
    ]


def tool_version(command: str) -> str:
    """Return the version in the first line that a tool prints for --version."""
    line = subprocess.run(
        [command, "--version"], capture_output=True, text=True, errors="replace", check=False
    ).stdout.splitlines()[0]
    return next((word.strip("()") for word in line.split() if word[0].isdigit()), line)


def _vendor_tools() -> list[Tool]:
    """List the vendors' platforms of the real boards, which PlatformIO downloads at the first build."""
    boards = [board for board in all_boards() if not board.emulated]
    return [
        Tool(
            f"{board.platformio.platform} for {board.name}",
            *(("on demand", f"the first build downloads {missing[0]} …") if missing else ("ready", "")),
        )
        for board in boards
        for missing in [missing_packages(board)]
    ]


def missing_packages(board: Board) -> list[str]:
    """List those of the vendor's platform and packages that PlatformIO has not installed yet.

    ESP-IDF's builder also installs Python packages, in an environment of its own.
    """
    name, version = board.platformio.platform.split("@")
    platforms = [_manifest(path) for path in _folder("platforms").glob("*/platform.json")]
    found = {path.parent.name.split("@")[0] for path in _folder("packages").glob("*/package.json")}
    missing = [package for package in board.platformio.packages if package not in found]
    if board.platformio.framework == "espidf" and not any(core_folder().glob(_IDF_PYTHON_FILE)):
        missing.append(IDF_PYTHON)
    return (
        missing
        if any((p.get("name"), p.get("version")) == (name, version) for p in platforms)
        else [board.platformio.platform, *missing]
    )


def _check_tools(board: Board, folder: Path) -> None:
    if isinstance(board.emulator, Emulator):
        lacking = lacks(board)
        if lacking and lacking != board.emulator.command:  # a build needs no emulator
            raise SerqError(_install(lacking, board.emulator.packages))
        return
    missing = missing_packages(board)
    if missing and not _registry_reachable():
        raise SerqError(
            f"what PlatformIO needs for {board.title} is not installed ({', '.join(missing)}) and there is"
            f" no network to download them; run `serq-mcu build {quoted(folder)}` once with a network"
            " connection"
        )


def _registry_reachable() -> bool:
    """Tell in seconds whether PlatformIO could download: its own attempt takes a minute to give up.

    With a proxy, only it can tell.
    """
    if any(os.environ.get(name) for name in _PROXIES):
        return True
    probe = (
        "import socket, platformio; socket.create_connection((platformio.__registry_mirror_hosts__[0], 443),"
        " 3).close()"
    )
    try:
        return (
            subprocess.run(
                [sys.executable, "-c", probe], capture_output=True, timeout=6, check=False
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


def _install(missing: str, packages: tuple[str, ...]) -> str:
    return (
        f"{missing} is not installed; run `serq-mcu toolchain setup`, or `sudo apt-get install"
        f" {' '.join(packages)}` on Debian and Ubuntu"
    )


def _apt_install(packages: list[str], progress: Progress, *, offline: bool) -> None:
    command = [*_APT, "install", "--yes", "--no-install-recommends", *packages]
    if offline or not shutil.which("apt-get") or os.geteuid() != 0:
        by_hand = f"sudo apt-get install {' '.join(packages)}"
        raise SerqError(
            f"compilers or emulators are missing; run `{by_hand}` on Debian and Ubuntu (elsewhere, the"
            " packages of these names)"
        )
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in ([*_APT, "update"], command):
        progress(" ".join(step))
        done = subprocess.run(step, env=quiet, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:  # an update may fail for a list that does not matter here; the installation decides
        raise SerqError(f"`{' '.join(command)}` failed: {_last_lines(done.stderr or done.stdout, 3)}")


def _keep_built(place: Path, folder: Path) -> None:
    """Copy what was built in `place` to the folder."""
    with new_folder(folder / _BUILT, "build") as fresh:
        shutil.copytree(place / _BUILT, fresh, symlinks=True, dirs_exist_ok=True)


def _run(arguments: list[str], folder: Path, log: Path, what: str, progress: Progress) -> Path:
    """Run PlatformIO on the folder, its output to the log, which is in the folder that errors name.

    It works on a copy where the folder's path is not plain; what it built comes back.
    """
    with plain_folder(folder) as place:
        code = _run_at(place, arguments, log, progress)
        if code == 0 and place != folder.resolve() and (place / _BUILT).is_dir():
            _keep_built(place, folder)
    if code:
        text = log.read_text(errors="replace")
        if said := _COMPILER_ERROR.search(text):
            refusal = read_project(folder).blamed(said[0].strip())
            raise SerqError(f"the {what} of {log.parent} failed: {refusal}; {log} has the rest")
        raise SerqError(f"the {what} of {log.parent} failed; {log} ends with:\n{_last_lines(text, 12)}")
    return log


def _run_at(place: Path, arguments: list[str], log: Path, progress: Progress) -> int:
    """Run PlatformIO in `place`, which the log calls its own folder, and return its exit code."""
    command = [sys.executable, "-m", "platformio", *arguments, "--project-dir", str(place)]
    try:
        with (
            open_log(log) as file,
            subprocess.Popen(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            for line in process.stdout or ():
                said = line.replace(str(place), str(log.parent.resolve()))
                file.write(said)
                progress(said.rstrip())
    except OSError as error:
        raise SerqError(f"cannot write {log}: {error.strerror or error}") from error
    return process.returncode


def _last_lines(text: str, count: int) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def _refuse_emulated(board: Board) -> None:
    if board.emulated:
        raise SerqError(
            f"{board.name} is an emulated board and has no port; run it with `serq-mcu verify --on emulator`"
        )


def _open_port(board: Board, port: str) -> Any:
    import serial

    try:
        return serial.serial_for_url(port, baudrate=board.baud, exclusive=True)
    except (OSError, ValueError) as error:  # serial.SerialException is an OSError
        raise SerqError(why_not_open(port, error)) from error


def _copy(line: Any, port: str) -> None:
    with line:
        while True:
            try:
                heard = line.read(max(1, line.in_waiting))
            except OSError as error:
                raise SerqError(f"{port} was lost ({error}); check the cable and try again") from error
            try:
                while heard:
                    heard = heard[os.write(sys.stdout.fileno(), heard) :]
            except BrokenPipeError:  # nobody reads on
                return
            except OSError as error:
                raise SerqError(f"cannot write standard output: {error.strerror or error}") from error


def _sizes(elf: Path, board: Board) -> tuple[int, int]:
    """Flash and RAM bytes of an ELF file: its stored sections, and its static data with the board's stack."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    try:
        with elf.open("rb") as file:
            sections = [
                section
                for section in ELFFile(file).iter_sections()
                if section["sh_flags"] & SH_FLAGS.SHF_ALLOC
            ]
            flash_bytes = sum(
                section["sh_size"] for section in sections if section["sh_type"] != "SHT_NOBITS"
            )
            ram_bytes = sum(
                section["sh_size"] for section in sections if _RAM_SECTIONS.fullmatch(section.name)
            )
            code = sum(s["sh_size"] for s in sections if s.name in board.memory.code_sections)
    except (OSError, ELFError) as error:
        raise SerqError(f"the build left no readable program at {elf}: {error}") from error
    block = board.memory.code_block_bytes or 1
    return flash_bytes, ram_bytes + -(-code // block) * block + board.port.stack_bytes
