"""The door: which pin goes where, what a board will do, the example, the everyday commands."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from serq_mcu.base.text import memory_text
from serq_mcu.boards.board import all_boards, load_board, with_changes
from serq_mcu.boards.wiring import example_setting, soldered, wires, wiring_line
from serq_mcu.cli import main
from serq_mcu.cli.shared import PANELS
from serq_mcu.codegen.lines import greeting, silent_decision
from serq_mcu.codegen.plan import Plan
from serq_mcu.corpus.example import example_clip
from serq_mcu.harness import serial_ports
from serq_mcu.listening.answers import Hello, LabelledDecision
from serq_mcu.listening.lines import LineReader
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.quantized_model.streaming import stream_decisions
from serq_mcu.show.wiring import wiring_svg
from tools.pictures import pictures

ROOT = Path(__file__).parents[2]
ON_BOARD = {
    "disco_f407vg",
    "m5stack-atom-echo",
    "m5stack-atoms3u",
    "m5stack-core2",
    "m5stickc-plus2",
    "nano-rp2040-connect",
    "nano33ble",
    "xiao-esp32s3-sense",
}


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def _pairs(board: str, microphone: str | None = None, *settings: str) -> dict[str, str]:
    found = wires(with_changes(load_board(board), microphone, settings))
    return {wire.microphone: wire.board for wire in found}


def test_wires_are_those_of_the_board_file_by_the_names_that_are_printed() -> None:
    power = {"VDD": "3V3", "GND": "GND"}
    assert _pairs("esp32") == power | {"SCK": "GPIO 26", "WS": "GPIO 25", "SD": "GPIO 33", "L/R": "GND"}
    moved = _pairs("esp32", None, "audio.i2s_data=32", "audio.channel=right")
    assert moved == power | {"SCK": "GPIO 26", "WS": "GPIO 25", "SD": "GPIO 32", "L/R": "3V3"}
    adafruit = _pairs("esp32", "sph0645")
    assert adafruit["BCLK"] == "GPIO 26" and adafruit["DOUT"] == "GPIO 33" and adafruit["SEL"] == "GND"
    assert _pairs("pico") == power | {"OUT": "GP26"}
    assert _pairs("nucleo_f446re", "max4466") == {"VCC": "3V3", "GND": "GND", "OUT": "A0"}


def test_boards_with_a_microphone_of_their_own_have_nothing_to_wire() -> None:
    real = [board for board in all_boards() if not board.emulated]
    assert {board.name for board in real if soldered(board)} == ON_BOARD
    for board in real:
        assert bool(wires(board)) == (board.name not in ON_BOARD)
        assert wiring_line(board).startswith("wire the " if wires(board) else "the microphone (")
    assert wiring_line(load_board("emulated-m0")) == ""
    assert _pairs("xiao-esp32s3-sense", "inmp441")["SD"] == "GPIO 4"


@pytest.mark.parametrize("board", [board for board in all_boards() if wires(board)], ids=lambda b: b.name)
def test_the_pin_that_a_readme_suggests_can_be_chosen(board: object) -> None:
    assert hasattr(board, "name")
    setting = example_setting(load_board(board.name)).removeprefix("--set ")
    changed = with_changes(load_board(board.name), None, [setting])
    assert wires(changed) != wires(load_board(board.name))


def test_export_listens_unless_it_is_told_otherwise_and_says_where_and_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run("export", "-b", "ESP32")
    assert done.exit_code == 0, done.output
    assert "SCK to GPIO 26, WS to GPIO 25, SD to GPIO 33" in done.output
    assert "The board listens, and writes a line of JSON every 1.0 seconds" in done.output
    assert json.loads((tmp_path / "serq-esp32" / "serq.json").read_text())["app"] == "live"
    readme = (tmp_path / "serq-esp32" / "README.md").read_text()
    for row in ("| SCK | GPIO 26 | clock |", "| SD | GPIO 33 | data |", "serq-mcu live PORT"):
        assert row in readme
    harness = json.loads(_run("export", "-b", "esp32", "--app", "harness", "--json").output)
    assert harness["folder"] == "serq-esp32-harness" and harness["wires"] == []
    said = _run("export", "emodb-small", "-b", "esp32", "--app", "harness", "-o", "h").output
    assert "waits on its serial port for `serq-mcu verify`, and prints nothing" in said and "SCK" not in said
    assert "uses no microphone" in (tmp_path / "h" / "README.md").read_text()


def test_the_lines_that_a_readme_shows_are_what_a_board_writes() -> None:
    plan = Plan(shipped_model(), load_board("esp32"), "live")
    reader, wanted = LineReader(), stream_decisions(shipped_model(), np.zeros(40_000, np.int16))[0]
    lines = [json.dumps(greeting(plan)), json.dumps(silent_decision(plan)), ""]
    hello, decision = reader.feed("\n".join(lines).encode(), 0.0)
    assert isinstance(hello, Hello) and hello.labels == shipped_model().labels
    assert isinstance(decision, LabelledDecision)
    shown = silent_decision(plan)
    assert tuple(shown["scores"]) == wanted.scores and shown["answer"] == "no speech"
    assert (shown["margin"], shown["level"], shown["frames"]) == (wanted.margin, wanted.level, wanted.frames)


def test_a_model_for_clips_alone_is_told_of_the_application_that_runs_it(tmp_path: Path) -> None:
    from dataclasses import replace

    from serq_mcu.quantized_model.store import save_model

    save_model(replace(shipped_model(), decision=None), tmp_path / "clips.serq")
    for command in ("check", "export"):
        done = _run(command, tmp_path / "clips.serq", "-b", "esp32")
        assert done.exit_code == 1 and "--app harness" in done.output, done.output


class _Port:
    def __init__(self, device: str, vid: int | None) -> None:
        self.device, self.vid = device, vid


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ([("/dev/ttyS0", None)], "no board was found on a serial port"),
        (
            [("/dev/ttyUSB0", 1), ("/dev/ttyACM0", 2)],
            "several boards may be meant (/dev/ttyUSB0, /dev/ttyACM0)",
        ),
    ],
)
def test_a_port_is_asked_for_where_it_is_not_the_only_one(
    ports: list[tuple[str, int | None]], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_ports, "comports", lambda: [_Port(*port) for port in ports])
    done = _run("live")
    assert done.exit_code == 1 and words in done.output
    monkeypatch.setattr(
        serial_ports, "comports", lambda: [_Port("/dev/none-7", 1), _Port("/dev/ttyS0", None)]
    )
    assert "/dev/none-7" in _run("live").output


def test_earlier_names_of_options_still_work(tmp_path: Path) -> None:
    for words in (("--corpus", tmp_path), ("--clips", tmp_path)):
        done = _run("evaluate", "emodb-small", *words)
        assert (done.exit_code == 1 and "holds no recordings" in done.output) or str(tmp_path) in done.output
    assert "--corpus" not in _run("evaluate", "--help").output
    assert _run("evaluate", "emodb-small").exit_code == 2


def test_the_drawing_has_each_wire_and_the_one_of_the_documentation_is_current() -> None:
    board = load_board("esp32")
    text = wiring_svg(board)
    for wire in wires(board):
        assert all(f">{words}</text>" in text for words in (wire.microphone, wire.board, wire.carries))
    assert text.count("<polyline") == len(wires(board)) == 6
    for name, drawn in pictures().items():
        assert (ROOT / "docs/images" / name).read_text() == drawn, (
            "run `python -m tools.pictures docs/images`"
        )
    assert "docs/images/wiring_esp32.svg" in (ROOT / "README.md").read_text()


def test_the_example_is_made_up_speech_that_a_model_answers(tmp_path: Path) -> None:
    pcm = example_clip(16_000)
    assert pcm.dtype == np.int16 and len(pcm) == 64_000 and np.array_equal(pcm, example_clip(16_000))
    assert not pcm[:6000].any() and not pcm[-6000:].any()
    answers = [decision.answer for decision in stream_decisions(shipped_model(), pcm)]
    assert len(answers) == 4 and max(answers) >= 0
    for words in ((), ("--example", tmp_path / "a.wav")):
        done = _run("classify", *words)
        assert done.exit_code == 1 and "--example" in done.output


def test_the_program_alone_shows_the_everyday_commands() -> None:
    done = _run()
    assert done.exit_code == 0
    everyday, *others = PANELS.values()
    assert len(everyday) == 8
    assert [line.split()[0] for line in done.output.splitlines() if line.startswith("  ")] == list(everyday)
    assert not any(f"  {name}" in done.output for names in others for name in names)
    assert "serq-mcu --help" in done.output


def test_memory_is_written_as_vendors_count_it() -> None:
    sizes = {4_194_304: "4 MiB", 327_680: "320 KiB", 4_128_768: "3.9 MiB", 512: "512 bytes", 1536: "1.5 KiB"}
    assert {size: memory_text(size) for size in sizes} == sizes
    rows = _run("boards").output.splitlines()
    (esp32,) = [row for row in rows if row.startswith("esp32 ")]
    assert esp32.split()[1:7] == ["4", "MiB", "flash", "320", "KiB", "RAM"]


@pytest.mark.parametrize(
    ("words", "terminal", "typed", "installs"),
    [((), True, "n\n", False), ((), True, "\n", True), (("--yes",), True, "", True), ((), False, "", True)],
)
def test_packages_of_the_system_are_asked_for_in_a_terminal(
    words: tuple[str, ...], terminal: bool, typed: str, installs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serq_mcu.build import platformio

    asked: list[bool] = []

    def setup(*, agreed: object, **_: object) -> list[object]:
        assert callable(agreed)
        asked.append(bool(agreed(["gcc-arm-none-eabi"])))
        return []

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(platformio, "setup_toolchain", setup)
    runner = CliRunner()
    with runner.isolation(typed):
        import sys

        monkeypatch.setattr(type(sys.stdin), "isatty", lambda _: terminal, raising=False)
        with contextlib.suppress(SystemExit):
            main.main(["toolchain", "setup", *words], standalone_mode=False)
    assert asked == [installs]
