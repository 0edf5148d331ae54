"""The component of ESPHome: what it publishes, and that ESPHome takes it, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.boards.samples import Converter
from serq_mcu.codegen.library import export_esphome
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.streaming import confidence, stream_decisions
from tests.emulated.test_applications import LABELS, MODEL, PROGRAMS, _speech
from tests.support.tools import needs

VENDOR = PROGRAMS / "vendor_esphome"
NAMES = {-1: "no speech", -2: "not sure"} | dict(enumerate(LABELS))


def _component(folder: Path, board: str = "esp32") -> Path:
    export_esphome(Plan(MODEL, load_board(board), "live"), folder)
    return folder / "components" / "serq_mcu"


def _wanted(pcm: np.ndarray) -> list[str]:
    """What is published of a stream: "no speech", then steady emotions and confidences."""
    assert MODEL.decision is not None
    lines, last, steady = ["emotion no speech"], -1, -1
    for decision in stream_decisions(MODEL, pcm):
        if decision.answer == last and decision.answer != steady:
            steady = decision.answer
            lines.append(f"emotion {NAMES[steady]}")
        last = decision.answer
        if last == steady:
            percent = confidence(MODEL.decision, decision)
            lines.append(f"confidence {'nan' if percent < 0 else percent}")
    return lines


@needs("g++")
def test_the_component_publishes_what_the_reference_says(tmp_path: Path) -> None:
    folder, board = _component(tmp_path / "p"), load_board("esp32")
    flags = ["-std=gnu++20", "-Wall", "-Wextra", "-Werror", "-DUSE_ESP32", f"-I{VENDOR}", f"-I{folder}"]
    sources = [str(folder / "serq_mcu.cpp"), str(PROGRAMS / "esphome_component.cpp")]
    implementation = str(folder / "serq_implementation.c")
    for command in (
        ["gcc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-c", implementation, "-o", "serq.o"],
        ["g++", *flags, *sources, "serq.o", "-o", "component"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    words = (_speech(60_000).astype(np.int32) << 12) // 4
    heard = Converter(board.microphone.conversion).i2s(words)
    program = [str(tmp_path / "component")]
    found = subprocess.run([*program, "-1"], input=words.tobytes(), capture_output=True, check=True).stdout
    assert found.decode().splitlines() == _wanted(heard) and len(set(found.splitlines())) > 5
    lost = subprocess.run([*program, "100"], input=words.tobytes(), capture_output=True, check=True).stdout
    assert lost.decode().splitlines().count("serq_mcu: Sound was lost: the loop was late") == 1


def test_only_boards_with_a_microphone_of_espressifs_are_taken(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="needs an ESP32 with an I2S or PDM microphone, not pico"):
        _component(tmp_path / "p", "pico")


def test_a_second_export_keeps_the_passwords(tmp_path: Path) -> None:
    _component(tmp_path / "p")
    secrets = tmp_path / "p" / "secrets.yaml"
    secrets.write_text("wifi_ssid: mine\nwifi_password: mine\n")
    _component(tmp_path / "p")
    assert secrets.read_text().startswith("wifi_ssid: mine")
    assert "secrets.yaml" in (tmp_path / "p" / ".gitignore").read_text().splitlines()


@needs("esphome", "g++")
@pytest.mark.parametrize("board", ["esp32", "m5stack-atom-echo"])
def test_esphome_takes_the_configuration_and_its_headers_the_component(board: str, tmp_path: Path) -> None:
    """By the version of ESPHome that the Makefile installs."""
    _component(tmp_path / "p", board)
    command = [shutil.which("esphome") or "", "compile", "--only-generate", "emotion.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path / "p", capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    generated = tmp_path / "p" / ".esphome" / "build" / "emotion" / "src"
    flags = ["-std=gnu++20", "-Wall", "-DUSE_ESP32", f"-I{generated}", f"-I{VENDOR / 'idf'}", "-fsyntax-only"]
    source = generated / "esphome" / "components" / "serq_mcu" / "serq_mcu.cpp"
    done = subprocess.run(["g++", *flags, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "set_confidence_sensor" in (generated / "main.cpp").read_text()
