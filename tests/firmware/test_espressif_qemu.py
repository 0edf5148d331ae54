"""Espressif's QEMU as a target, with a program in its place that boots as it does: checks the flash, connects
its UART to the port, sends what a ROM sends, and then is the firmware.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.boards.board import load_board, with_changes
from serq_mcu.build import espressif, platformio
from serq_mcu.build.host_program import host_build
from serq_mcu.build.platformio import BuildResult
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.harness.device import Device
from serq_mcu.harness.protocol import Result
from serq_mcu.harness.transports import SocketTransport
from serq_mcu.quantized_model.store import shipped_model

PARTS = {"bootloader": b"\xe9boot", "partitions": b"\xaaPtable", "firmware": b"\xe9app"}
STAND_IN = """#!{python}
import socket, subprocess, sys, threading
words = sys.argv[1:]
if words == ["-machine", "help"]:
    print("none                 empty machine\\n{machine}                Espressif machine")
    sys.exit()
drives = [words[i + 1].split(",")[0].removeprefix("file=") for i, w in enumerate(words) if w == "-drive"]
flash, efuse = (open(drive, "rb").read() for drive in drives)
assert words[:2] == ["-M", "{machine}"] and len(flash) == 4 << 20, words
assert flash[{loader}:].startswith(b"\\xe9boot") and flash[0x10000:].startswith(b"\\xe9app"), "no program"
assert flash[0x8000:].startswith(b"\\xaaPtable") and flash[-1:] == b"\\xff", "no partition table"
assert any(efuse), "no revision"
assert words[words.index("-icount") + 1] == "shift=3", words
if {fails}:
    sys.exit("qemu: could not load the image")
host, port = words[words.index("-serial") + 1].removeprefix("tcp:").split(":")
line = socket.create_connection((host, int(port)))
line.sendall(b"ets Jul 29 2019 12:21:46\\r\\n\\r\\nrst:0x1 (POWERON_RESET)\\r\\n\\0\\xff")
firmware = subprocess.Popen(["{firmware}"], stdin=line, stdout=line)
firmware.wait()
"""


def _install(folder: Path, board: str, firmware: Path, fails: bool = False) -> None:
    machine, name, loader = {
        "esp32": ("esp32", "qemu-system-xtensa", 0x1000),
        "esp32c3": ("esp32c3", "qemu-system-riscv32", 0),
    }[board]
    folder.mkdir(exist_ok=True)
    words = {"python": sys.executable, "machine": machine, "loader": loader, "fails": fails}
    (folder / name).write_text(STAND_IN.format(firmware=firmware, **words))
    (folder / name).chmod(0o755)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PlatformIO that has all packages and builds three files."""
    folder = tmp_path / "built"
    folder.mkdir()
    for name, data in PARTS.items():
        (folder / f"{name}.bin").write_bytes(data)
    result = BuildResult(folder / "firmware.elf", 300_000, 20_000, folder / "log")
    monkeypatch.setattr(platformio, "build", lambda *_, **__: result)
    monkeypatch.setattr(platformio, "missing_packages", lambda _: [])
    monkeypatch.setenv("IDF_TOOLS_PATH", str(tmp_path / "idf"))
    espressif._machines_of.cache_clear()
    return folder


def test_a_project_boots_from_flash_and_is_verified_over_its_uart(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, clips = tmp_path / "p", tmp_path / "clips"
    export(shipped_model(), load_board("esp32"), project)
    for label in ("fear", "joy"):
        (clips / label).mkdir(parents=True)
        noise = np.random.default_rng(len(label)).normal(0, 3000, 12_000).astype(np.int16)
        soundfile.write(clips / label / "a.wav", noise, 16000)
    words = ["verify", str(project), "--clips", str(clips), "--on", "emulator", "--json", "-q"]
    run_clip = Device.run_clip

    def counting(device: Device, pcm: np.ndarray) -> Result:
        """1000 instructions a frame and 10,000 a decision: 8 ns each, at 240 MHz."""
        result = run_clip(device, pcm)
        return replace(result, frontend_cycles=1920 * result.frames, network_cycles=19_200)

    monkeypatch.setattr(Device, "run_clip", counting)  # as this computer's port counts none
    with host_build(project) as firmware:
        _install(tmp_path / "bin", "esp32", firmware)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        done = CliRunner().invoke(main, words)
        read = CliRunner().invoke(main, [*words[:-2], "-q"]).stdout
    assert "instructions: 1000 a frame, 10000 a decision of the network" in read
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and report["target"] == "esp32 (Espressif's QEMU)" and report["on"] == "emulator"
    assert report["compared_integers"] > 1000 and report["flash_bytes"] == 300_000
    assert (report["frontend_cycles_per_frame"], report["network_cycles"]) == (1000, 10_000)
    _install(tmp_path / "bin", "esp32", tmp_path, fails=True)
    done = CliRunner().invoke(main, words)
    assert "ended with exit code 1 before it had answered: qemu: could not load the image" in done.stderr
    (built / "bootloader.bin").unlink()
    assert "built no bootloader.bin" in CliRunner().invoke(main, words).stderr


def test_each_chip_boots_its_own_machine_and_loader(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    for name in ("esp32", "esp32c3"):
        _install(tmp_path / "bin", name, Path("/bin/cat"))
        board = load_board(name)
        qemu = espressif.find(board)
        assert qemu is not None
        line = SocketTransport(espressif.command_line(board, qemu, built, tmp_path))
        line.write(b"echo")
        heard = b""
        while not heard.endswith(b"echo"):
            heard += line.read(5)
        assert heard.startswith(b"ets Jul 29")
        line.close()
        line.close()


def test_cycles_of_the_emulated_counter_are_instructions_of_8_ns() -> None:
    slow = replace(
        load_board("esp32"), mcu=msgspec.structs.replace(load_board("esp32").mcu, clock_hz=80_000_000)
    )
    assert espressif.instructions(load_board("esp32"), 192_000) == 100_000
    assert espressif.instructions(slow, 64_000) == 100_000
    assert espressif.instructions(load_board("esp32c3"), 128_000) == 100_000


def test_it_is_found_where_esp_idf_puts_it_and_only_with_the_chip(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    board = load_board("esp32")
    assert espressif.find(board) is None
    place = tmp_path / "idf" / "tools" / "qemu-xtensa" / "esp_develop_9.2.2" / "qemu" / "bin"
    place.parent.mkdir(parents=True)
    _install(place, "esp32", tmp_path)
    assert espressif.find(board) == place / "qemu-system-xtensa"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "qemu-system-xtensa").write_text("#!/bin/sh\necho 'lx60 Avnet'\n")  # as Debian's
    (tmp_path / "none" / "qemu-system-xtensa").chmod(0o755)
    assert espressif.find(board) == place / "qemu-system-xtensa"
    for other in ("esp32s3", "esp32c3-supermini", "nucleo_f446re", "emulated-m0"):
        assert espressif.find(load_board(other)) is None, other
    assert espressif.find(with_changes(load_board("esp32c3"), None, ["port.kind=usb_serial_jtag"])) is None


def test_parts_that_do_not_fit_into_flash_are_refused(tmp_path: Path) -> None:
    for name, data in PARTS.items():
        (tmp_path / f"{name}.bin").write_bytes(data)
    assert len(espressif.flash_image(tmp_path, 0, 3 << 20)) == 4 << 20
    (tmp_path / "bootloader.bin").write_bytes(bytes(0x8001))
    with pytest.raises(SerqError, match=r"partitions\.bin does not fit"):
        espressif.flash_image(tmp_path, 0, 4 << 20)
    (tmp_path / "bootloader.bin").write_bytes(b"\xe9")
    (tmp_path / "firmware.bin").write_bytes(bytes(4 << 20))
    with pytest.raises(SerqError, match=r"firmware\.bin does not fit"):
        espressif.flash_image(tmp_path, 0, 4 << 20)
