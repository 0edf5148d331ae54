"""What the toolchain can use of this computer: what is there, what is missing, and how to get it."""

from __future__ import annotations

import ctypes.util
import errno
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from serq_mcu.base import resources
from serq_mcu.base.cache import check_private
from serq_mcu.base.host import cache_folder
from serq_mcu.boards.board import all_boards
from serq_mcu.build import platformio
from serq_mcu.errors import SerqError
from serq_mcu.harness.serial_ports import comports, why_not_open

_PACKAGE = "serq-mcu"
_FOR = {  # what each extra of the package is for
    "train": "train, quantize --qat, robustness, frontend compare",
    "build": "build, flash, monitor",
    "experiments": "experiment",
    "cluster": "experiment run --scheduler",
    "demo": "demo without a corpus",
    "microphone": "classify mic",
    "fetch": "corpus fetch",
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_OF_EXTRA = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for: where it belongs and what was found.

    Where it is missing, `get` is the command to type and `needed_for` what waits for it. needed: that the way
    from a model to a verified project of this computer ends without it.
    """

    area: str
    name: str
    ready: bool
    found: str
    get: str = ""
    needed_for: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked for and found, or not."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that is needed is missing."""
        return all(finding.ready or not finding.needed for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with `ok`."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def browser() -> str | None:
    """Return the path of Chromium, or None."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def diagnose() -> Diagnosis:
    """Look at this computer: nothing is installed, changed or downloaded."""
    return Diagnosis(
        (*_python(), *_extras(), *_compilers(), *_platformio(), *_npm(), *_screenshots(), *_ports())
    )


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} in {sys.executable}"
    yield Finding(
        "Python",
        "Python",
        sys.version_info >= (3, 10),
        found,
        "install Python 3.10 or newer",
        "everything",
        needed=True,
    )
    for name in _requirements().get("", []):
        yield _distribution("Python", name, f"pip install --upgrade {_PACKAGE}", "everything", needed=True)
    parts = (resources.TEMPLATES, resources.FIRMWARE, resources.BOARDS, resources.MODELS)
    absent = [part.name for part in parts if not part.is_dir()]
    found = f"lacks {', '.join(absent)}" if absent else str(resources.FIRMWARE.parent)
    yield Finding(
        "Python",
        "templates, firmware, boards",
        not absent,
        found,
        f"pip install --force-reinstall {_PACKAGE}",
        "everything",
        needed=True,
    )
    usable, found = _cache()
    yield Finding(
        "Python",
        "cache",
        usable,
        found,
        "export SERQ_CACHE=FOLDER, a folder of your own",
        "quick second runs",
    )


def _cache() -> tuple[bool, str]:
    """Tell whether the cache folder can be used, and the folder or why not."""
    folder = cache_folder()
    try:
        if folder.exists():
            check_private(folder)
        above = next(place for place in (folder, *folder.parents) if place.exists())
        return os.access(above, os.W_OK), str(folder)
    except SerqError as error:
        return False, str(error).split(";")[0]


def _extras() -> Iterator[Finding]:
    for extra, names in _requirements().items():
        for name in names if extra in _FOR else ():
            yield _distribution(
                f"{_PACKAGE}[{extra}]", name, f"pip install '{_PACKAGE}[{extra}]'", _FOR[extra]
            )
    if sys.platform.startswith("linux"):  # elsewhere it comes with sounddevice
        library = ctypes.util.find_library("portaudio") or ""
        get = "sudo apt-get install libportaudio2"
        yield Finding(f"{_PACKAGE}[microphone]", "PortAudio", bool(library), library, get, _FOR["microphone"])


def _distribution(area: str, name: str, get: str, needed_for: str, *, needed: bool = False) -> Finding:
    try:
        return Finding(area, name, ready=True, found=importlib.metadata.version(name), needed=needed)
    except importlib.metadata.PackageNotFoundError:
        return Finding(area, name, ready=False, found="", get=get, needed_for=needed_for, needed=needed)


def _requirements() -> dict[str, list[str]]:
    """List the packages that this package asks for, by extra; "" for those that it always needs."""
    try:
        asked = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        asked = []
    found: dict[str, list[str]] = {}
    for text in asked:
        name, extra = re.match(r"[\w.-]+", text), _OF_EXTRA.search(text)
        if name and (extra or ";" not in text):
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _compilers() -> Iterator[Finding]:
    host = platformio.host_compiler()
    found = f"{platformio.tool_version(host)} in {host}" if host else ""
    area = "compilers and emulators"
    waiting = "verify, quick features, classify by the shipped C"
    yield Finding(
        area, "C compiler", bool(host), found, "sudo apt-get install gcc libc6-dev", waiting, needed=True
    )
    for board in all_boards():
        if board.emulated:
            lacking, emulator = platformio.lacks(board), platformio.emulator_of(board)
            found = f"lacks {lacking}" if lacking else f"{emulator.compiler}gcc and {emulator.command}"
            get = f"serq-mcu toolchain setup, or sudo apt-get install {' '.join(emulator.packages)}"
            yield Finding(
                area,
                board.name,
                not lacking,
                found,
                get,
                f"verify --on emulator, bench and listen on {board.name}",
            )


def _platformio() -> Iterator[Finding]:
    area = "PlatformIO"
    core = platformio.core_folder()
    yield Finding(
        area, "core folder", core.is_dir(), str(core), "serq-mcu toolchain setup", "build, flash, monitor"
    )
    boards = [board for board in all_boards() if not board.emulated]
    for vendor in sorted({board.platformio.platform for board in boards}):
        of_it = [board for board in boards if board.platformio.platform == vendor]
        missing = {board.name: platformio.missing_packages(board) for board in of_it}
        lacking = [name for name, packages in missing.items() if packages]
        python = platformio.IDF_PYTHON if any(platformio.IDF_PYTHON in m for m in missing.values()) else ""
        found = (
            f"the first build downloads it{f', and {python}' if python else ''}: {', '.join(lacking)}"
            if lacking
            else ", ".join(missing)
        )
        yield Finding(area, vendor, not lacking, found)


def _npm() -> Iterator[Finding]:
    path = shutil.which("npm") or ""
    yield Finding("browser", "npm", bool(path), path, "sudo apt-get install npm", "serq-mcu flash --web")


def _screenshots() -> Iterator[Finding]:
    path = browser() or ""
    yield Finding(
        "browser",
        "Chromium",
        bool(path),
        path,
        "sudo apt-get install chromium",
        "regenerating the documentation's screenshots",
    )


def _ports() -> Iterator[Finding]:
    ports = comports()
    if not ports:
        yield Finding(
            "serial ports", "none", ready=False, found="plug a board in, with a cable that carries data"
        )
    for port in ports:
        allowed = os.name == "nt" or os.access(port.device, os.R_OK | os.W_OK)
        why = "" if allowed else why_not_open(port.device, PermissionError(errno.EACCES, "no permission"))
        yield Finding("serial ports", port.device, allowed, port.description if allowed else why)
