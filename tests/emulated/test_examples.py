"""Examples that `serq-mcu new` writes: what they send, that they compile with vendors' declarations."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.examples import ESPHOME, EXAMPLES, export_project, new_project
from serq_mcu.codegen.export import Project, export_plan
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.trust import buildable
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import save_model
from serq_mcu.quantized_model.streaming import confidence, stream_decisions
from tests.emulated.test_applications import LABELS, MODEL, PROGRAMS, _host, _speech

ROOT = Path(__file__).parents[2]
BUS = ("homeassistant", "ble", "sleep")
NAMES = {-1: "no speech", -2: "not sure"} | dict(enumerate(LABELS))
ESPRESSIF = ("esp32", "esp32s3", "esp32c3", "esp32c6")  # one of each core
EXT1 = "SOC_PM_SUPPORT_EXT1_WAKEUP"


def _made(example: str, board: str, folder: Path) -> Project:
    return new_project(example, Plan(MODEL, load_board(board), "live"), folder)


def _printed(example: str, folder: Path, pcm: np.ndarray) -> list[str]:
    """What the example prints on this computer, where it has no network, radio or sleep."""
    _made(example, "emulated-m0", folder)
    program = _host(folder, FIRMWARE / "ports" / "audio_port_line.c")
    done = subprocess.run([str(program)], input=pcm.tobytes(), capture_output=True, check=True)
    return [line for line in done.stdout.decode().splitlines() if not line.startswith("{")]


def _steady(pcm: np.ndarray) -> list[tuple[int, int]]:
    """Answer and confidence of the decisions whose answer is the steady one."""
    assert MODEL.decision is not None
    found, last, steady = [], -1, -1
    for decision in stream_decisions(MODEL, pcm):
        steady = decision.answer if decision.answer == last else steady
        last = decision.answer
        if steady == last:
            found.append((last, confidence(MODEL.decision, decision)))
    return found


def _changes(values: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [value for index, value in enumerate(values) if index == 0 or value != values[index - 1]]


def test_home_assistant_gets_two_sensors_and_their_states_as_valid_json(tmp_path: Path) -> None:
    pcm = _speech(60_000)
    lines = [line.split(" ", 1) for line in _printed("homeassistant", tmp_path / "p", pcm)]
    sensors = {topic: json.loads(payload) for topic, payload in lines[:2]}
    assert list(sensors) == [
        f"homeassistant/sensor/serq_1/{name}/config" for name in ("emotion", "confidence")
    ]
    assert lines[2] == ["serq/serq_1/availability", "online"]
    emotion, percent = sensors.values()
    for sensor in (emotion, percent):
        assert sensor["state_topic"] == "serq/serq_1/state"
        assert sensor["availability_topic"] == "serq/serq_1/availability"
        assert sensor["device"]["identifiers"] == ["serq_1"] and sensor["origin"]["name"] == "serq-mcu"
    assert emotion["unique_id"] != percent["unique_id"] and emotion["device"] == percent["device"]
    assert emotion["device_class"] == "enum" and emotion["options"] == [*LABELS, "no speech", "not sure"]
    assert "unit_of_measurement" not in emotion and percent["unit_of_measurement"] == "%"
    assert emotion["value_template"] == "{{ value_json.emotion }}"
    assert percent["value_template"] == "{{ value_json.confidence }}"
    assert {topic for topic, _ in lines[3:]} == {"serq/serq_1/state"}
    states = [json.loads(payload) for _, payload in lines[3:]]
    told = [(state["emotion"], state["confidence"]) for state in states]
    wanted = [(NAMES[answer], None if sure < 0 else sure) for answer, sure in _changes(_steady(pcm))]
    assert told == wanted and len(set(told)) > 2


def test_a_class_of_no_speech_is_one_option(tmp_path: Path) -> None:
    model = replace(MODEL, labels=("anger", "no speech", "calm", "fear", "joy"))
    new_project("homeassistant", Plan(model, load_board("emulated-m0"), "live"), tmp_path / "p")
    text = (tmp_path / "p" / "src" / "app.c").read_text()
    assert text.count('QUOTED("no speech")') == 3  # as a class, an option, and an answer


def test_bluetooth_sends_the_label_with_its_percent(tmp_path: Path) -> None:
    pcm = _speech(60_000)
    wanted = [NAMES[answer] + (f" {sure:02} %" if sure >= 0 else "") for answer, sure in _steady(pcm)]
    kept = [text for index, text in enumerate(wanted) if index == 0 or text != wanted[index - 1]]
    assert _printed("ble", tmp_path / "p", pcm) == kept and len(set(kept)) > 2


def test_the_chip_sleeps_after_thirty_decisions_without_speech(tmp_path: Path) -> None:
    block = MODEL.decision.block_frames * MODEL.spec.hop_length if MODEL.decision else 0
    silence = np.zeros(29 * block + MODEL.spec.frame_length, np.int16)
    assert _printed("sleep", tmp_path / "short", silence) == []
    assert _printed("sleep", tmp_path / "long", np.concatenate([silence, silence[:block]])) == ["sleep"]


def test_an_example_compiles_against_the_vendors_declarations(tmp_path: Path) -> None:
    """Headers in tests/programs/vendor_idf have the declarations; no vendor's framework is here."""
    for board in ESPRESSIF:
        for example in BUS:
            folder = tmp_path / board / example
            _made(example, board, folder)
            chip = "SOC_GPIO_SUPPORT_DEEPSLEEP_WAKEUP" if board == "esp32c3" else EXT1
            flags = ["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-DESP_PLATFORM", f"-D{chip}=1"]
            flags += [f"-I{PROGRAMS / 'vendor_idf'}", "-Isrc", "-Ilib/serq/src", "-fsyntax-only", "src/app.c"]
            done = subprocess.run(["gcc", *flags], cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (board, example, done.stderr)


def test_what_an_example_needs_of_the_framework_is_in_the_board_file_and_is_flashed(tmp_path: Path) -> None:
    project = _made("ble", "esp32", tmp_path / "p")
    assert "CONFIG_BT_NIMBLE_ENABLED=y" in (tmp_path / "p" / "sdkconfig.defaults").read_text()
    (tmp_path / "p" / "src" / "app.c").write_text("/* mine */\n")
    with buildable(project, runs_here=False) as fresh:
        assert "CONFIG_BT_NIMBLE_ENABLED=y" in (fresh.folder / "sdkconfig.defaults").read_text()
        assert (fresh.folder / "src" / "app.c").read_text() == "/* mine */\n"
    again = new_project(
        "ble", Plan(MODEL, load_board(str(tmp_path / "p" / "board.toml")), "live"), tmp_path / "q"
    )
    assert again.files["board.toml"] == project.files["board.toml"]


def test_passwords_are_the_users_own_and_git_ignores_them(tmp_path: Path) -> None:
    project = _made("homeassistant", "esp32", tmp_path / "p")
    assert "src/secrets.h" in (tmp_path / "p" / ".gitignore").read_text().splitlines()
    assert "WIFI_PASSWORD" not in (tmp_path / "p" / "src" / "app.c").read_text().replace(
        "= WIFI_PASSWORD", ""
    )
    secrets = tmp_path / "p" / "src" / "secrets.h"
    secrets.write_text(secrets.read_text().replace("my network", "home"))
    again = Plan(MODEL, load_board(str(tmp_path / "p" / "board.toml")), "live")
    assert export_project(again, tmp_path / "p").example == "homeassistant"
    assert export_plan(again, tmp_path / "p").example == ""  # its code gone, the rest is the user's
    assert "src/secrets.h" in (tmp_path / "p" / ".gitignore").read_text().splitlines()
    assert '"home"' in secrets.read_text()
    with buildable(project, runs_here=False) as fresh:
        assert "home" in (fresh.folder / "src" / "secrets.h").read_text()
    with pytest.raises(SerqError, match=r"\(src/secrets\.h\), and it would run"), buildable(project):
        pass


def test_an_untouched_example_runs_in_the_emulator(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "m.serq")
    pcm = _speech(60_000)
    soundfile.write(tmp_path / "clip.wav", pcm, 16000)
    run = CliRunner()
    words = [
        "new",
        "homeassistant",
        "-b",
        "emulated-m4f",
        "--model",
        str(tmp_path / "m.serq"),
        "-o",
        str(tmp_path / "p"),
    ]
    assert run.invoke(main, words).exit_code == 0
    said = run.invoke(main, ["listen", str(tmp_path / "p"), str(tmp_path / "clip.wav")])
    assert said.exit_code == 0, said.output
    lines = [line for line in said.stdout.splitlines() if not line.startswith("{")]
    assert lines == _printed("homeassistant", tmp_path / "here", pcm)


def test_each_example_has_a_page() -> None:
    page = (ROOT / "docs/howto/examples.md").read_text()
    assert all(f"serq-mcu new {name} --board" in page for name in [*EXAMPLES, ESPHOME])
