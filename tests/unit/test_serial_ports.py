"""Ports and uploads that fail: one sentence each, from real errors of the system, pyserial, esptool and
PlatformIO on a pseudo-terminal.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial

from serq_mcu.base.progress import silent
from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.harness import serial_ports
from serq_mcu.harness.serial_ports import why_not_open, why_not_written
from tests.support.models import made_up_model

ESPTOOL = [sys.executable, "-m", "esptool", "--chip", "esp32"]


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The far end of a pseudo-terminal, and the name of its port."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def _esptool(port: str) -> str:
    """What esptool prints when it fails to write this file to the port."""
    command = [
        *ESPTOOL,
        "--port",
        port,
        "--connect-attempts",
        "1",
        "--after",
        "no_reset",
        "write_flash",
        "0x0",
        __file__,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


def _open_error(port: str) -> Exception:
    with pytest.raises((OSError, ValueError)) as caught:
        serial.serial_for_url(port, exclusive=True).close()
    return caught.value


def test_a_port_that_is_not_there() -> None:
    for said in (
        why_not_open("/dev/none", _open_error("/dev/none")),
        why_not_written(_esptool("/dev/none"), "/dev/none", "esp32"),
    ):
        assert said is not None and said.startswith("there is no port /dev/none; ")


def test_a_port_that_is_no_serial_port() -> None:
    assert why_not_open("/dev/null", _open_error("/dev/null")).startswith("/dev/null is not a serial port; ")


def test_a_port_in_use(terminal: tuple[int, str]) -> None:
    port = terminal[1]
    with serial.Serial(port, exclusive=True):
        for said in (why_not_open(port, _open_error(port)), why_not_written(_esptool(port), port, "esp32")):
            assert said == f"{port} is in use by another program; close its serial monitor and try again"


def test_a_port_without_permission_names_the_group_and_the_udev_rule(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, whom no port refuses; so the system call does, and pyserial's own words go
    through.
    """
    port, real = terminal[1], os.open

    def refuse(path: str, *rest: int) -> int:
        if path == port:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(serial_ports, "comports", lambda: [SimpleNamespace(device=port, vid=0x10C4)])
    said = why_not_open(port, _open_error(port))
    assert said.startswith(
        f"no permission to use {port}; add yourself to the group that owns it (dialout or uucp)"
    )
    assert (
        'put `SUBSYSTEM=="tty", ATTRS{idVendor}=="10c4", MODE="0666"` into /etc/udev/rules.d/99-serq.rules'
        in said
    )


def test_a_port_on_which_nothing_answers(terminal: tuple[int, str]) -> None:
    said = why_not_written(_esptool(terminal[1]), terminal[1], "esp32")
    assert said is not None and said.startswith(
        f"nothing answers on {terminal[1]}: hold the BOOT button while it connects"
    )


class Rom(threading.Thread):
    """As much of an ESP chip's boot loader as esptool asks before it knows the chip: SYNC, and what tells
    chips apart.

    That is the chip's number in its security information (ESP32-S3 and later), or a register (ESP32,
    ESP32-S2).
    """

    def __init__(self, line: int, chip: int) -> None:
        super().__init__(daemon=True)
        self._line, self._chip = line, chip

    def run(self) -> None:
        """Serve until the line closes."""
        data = b""
        while True:
            try:
                data += os.read(self._line, 4096)
            except OSError:
                return
            *frames, data = data.split(b"\xc0")
            for frame in frames:
                if len(frame) >= 8:
                    self._answer(frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb"))

    def _answer(self, request: bytes) -> None:
        value = self._chip if request[1] == 0x0A else 0
        data = (
            struct.pack("<I8BII", *bytes(9), self._chip, 0)
            if request[1] == 0x14 and self._chip < 256
            else b""
        )
        body = struct.pack("<BBHI", 1, request[1], len(data) + 4, value) + data + bytes(4)
        escaped = body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        os.write(self._line, (b"\xc0" + escaped + b"\xc0") * (8 if request[1] == 0x08 else 1))


@pytest.mark.parametrize(("chip", "name"), [(0x9, "ESP32-S3"), (0x000007C6, "ESP32-S2")])
def test_the_wrong_chip_is_named_with_the_right_one(chip: int, name: str, terminal: tuple[int, str]) -> None:
    Rom(terminal[0], chip).start()
    said = why_not_written(_esptool(terminal[1]), terminal[1], "esp32")
    assert (
        said
        == f"the chip on {terminal[1]} is an {name} and the project is for an ESP32: export it for that board"
        " (`serq-mcu boards`), or name its port"
    )


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            (
                "Error: open failed\nin procedure 'program'\n** OpenOCD init failed **\nshutdown command"
                " invoked\n"
            ),
            "no debug probe was found for pico",
        ),
        (
            "Error: libusb_open() failed with LIBUSB_ERROR_ACCESS\nError: open failed\n",
            "PlatformIO's udev rules",
        ),
        (
            "Error: libusb_claim_interface() failed with LIBUSB_ERROR_BUSY\nError: open failed\n",
            "in use by another program",
        ),
        (
            "Warn : UNEXPECTED idcode: 0x2ba01477\nError: expected 1 of 1: 0x1ba01477\n",
            "finds another chip than pico's",
        ),
        ("\nNo device found on ttyNONE\n", "press its reset button twice"),
        ("No accessible RP2040 devices in BOOTSEL mode were found.\n", "hold BOOTSEL"),
        (
            (
                "A fatal error occurred: Failed to connect to ESP32: Wrong boot mode detected (0x13)! The"
                " chip needs to be in download mode.\n"
            ),
            "hold the BOOT",
        ),
        (
            "A fatal error occurred: Failed to connect to ESP32-C3: Invalid head of packet (0x7B)\n",
            "is no ESP32 in its boot loader",
        ),
        (
            "Error: Please specify `upload_port` for environment or use global `--upload-port` option.\n",
            "Name the port with --port",
        ),
    ],
)
def test_what_other_uploaders_say(log: str, said: str) -> None:
    found = why_not_written(
        "Compiling .pio/build/x/main.o\n" + log + "*** [upload] Error 1\n", "ttyNONE", "pico"
    )
    assert found is not None and said in found and "\n" not in found


def test_an_upload_that_failed_for_an_unknown_reason_has_no_sentence() -> None:
    assert why_not_written("*** [upload] Error 1\n", "/dev/x", "pico") is None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    export(made_up_model((4, 3), (2, 1)), load_board("esp32"), tmp_path / "p")
    return tmp_path / "p"


def test_flash_says_why_and_keeps_the_log(
    project: Path, terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor's platform cannot be here, so its build is left out and its uploader, the real esptool,
    runs where PlatformIO would start it.
    """
    monkeypatch.setattr(platformio, "build", lambda folder, progress, log: None)

    def upload(
        arguments: list[str], folder: Path, log: Path, what: str, progress: Callable[[str], None]
    ) -> Path:
        assert arguments == ["run", "--target", "upload", "--upload-port", terminal[1]]
        log.write_text(_esptool(terminal[1]))
        raise SerqError("the upload failed")

    monkeypatch.setattr(platformio, "_run", upload)
    Rom(terminal[0], 0x9).start()
    with pytest.raises(
        SerqError, match=r"is an ESP32-S3 and the project is for an ESP32.*build\.log has all that was said"
    ):
        platformio.flash(project, terminal[1], allow_changes=True)
    with pytest.raises(SerqError, match="there is no port /dev/none"):
        platformio.flash(project, "/dev/none")


def test_platformio_without_a_board_says_that_none_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PlatformIO's own search for a port, in a build that has only an upload to do, on a computer without
    ports.
    """
    folder = tmp_path / "platforms" / "nothing"
    (folder / "builder").mkdir(parents=True)
    (folder / "boards").mkdir()
    (folder / "platform.json").write_text('{"name": "nothing", "version": "0.0.1", "packages": {}}')
    (folder / "platform.py").write_text(
        "from platformio.public import PlatformBase\n\n\nclass NothingPlatform(PlatformBase):\n    pass\n"
    )
    (folder / "boards" / "none.json").write_text(
        '{"name": "n", "vendor": "n", "url": "n", "frameworks": [], "build": {"mcu": "n"}, "upload": {}}'
    )
    (folder / "builder" / "main.py").write_text(
        "from platformio.device import finder\nfrom SCons.Script import DefaultEnvironment\n\nenv ="
        " DefaultEnvironment()\nfinder.list_serial_ports = lambda **_: []  # this computer may have"
        " some\nenv.AddPlatformTarget('upload', None, env.VerboseAction(env.AutodetectUploadPort, 'Looking"
        " for a port'), 'Upload')\n"
    )
    (tmp_path / "platformio.ini").write_text(
        "[platformio]\nplatforms_dir = platforms\n[env:n]\nplatform = nothing\nboard = none\n"
    )
    (tmp_path / "src").mkdir()
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    platformio._scons(silent)
    command = [sys.executable, "-m", "platformio", "run", "-t", "upload", "-d", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=platformio.environment(), timeout=600, check=False
    )
    said = why_not_written(done.stdout + done.stderr, None, "esp32")
    assert said is not None and said.startswith("no port was found to write esp32 through"), (
        done.stdout + done.stderr
    )


def test_monitor_copies_a_line_into_a_pipe(project: Path, terminal: tuple[int, str]) -> None:
    master, port = terminal
    sent = b'{"answer": "joy"}\r\n\x00\xff'

    heard = threading.Event()

    def talk() -> None:
        for byte in itertools.cycle(sent):  # until the other side has opened the line, what comes is dropped
            if heard.wait(0.005):
                return
            os.write(master, bytes([byte]))

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    code = (
        "from pathlib import Path; from serq_mcu.build import"
        f" platformio\nplatformio.monitor(Path({str(project)!r}), {port!r})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        received = b""
        while sent not in received:
            more = os.read(process.stdout.fileno(), 100)
            assert more, "monitor ended"
            received += more
        heard.set()
        talker.join()
        process.kill()
    assert received in sent * (len(received) // len(sent) + 2)


def test_monitor_refuses_what_cannot_be_opened(project: Path, terminal: tuple[int, str]) -> None:
    with pytest.raises(SerqError, match="there is no port /dev/none"):
        platformio.monitor(project, "/dev/none")
    with (
        serial.Serial(terminal[1], exclusive=True),
        pytest.raises(SerqError, match="in use by another program"),
    ):
        platformio.monitor(project, terminal[1])
