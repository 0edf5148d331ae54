"""The user's own code: src/app.c is called, stays through exports, and runs here where that is allowed."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio
from serq_mcu.cli import main
from serq_mcu.codegen.examples import ESPHOME, EXAMPLES, new_project
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.trust import buildable
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import save_model
from serq_mcu.quantized_model.streaming import Decision, confidence, stream_decisions
from tests.emulated.test_applications import LABELS, MODEL, PROGRAMS, _host, _speech
from tests.support.tools import needs

HOOKS = PROGRAMS / "hooks.c"
NAMES = {-1: "no speech", -2: "not sure"} | dict(enumerate(LABELS))


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def _own_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if not line.startswith("{")]


def _decided(decisions: list[Decision]) -> list[str]:
    """What hooks.c writes for the decisions of a stream."""
    last = steady = -1
    lines = []
    for decision in decisions:
        changed = decision.answer == last and decision.answer != steady
        last, steady = decision.answer, decision.answer if changed else steady
        decibels = int(decision.level * 771 / 65536)  # towards zero, as C has it
        words = "changed" if changed else "kept"
        sure = -1 if decision.frames == 0 else 5 + 5 * min(decision.margin // 60, 18)
        numbers = [decision.answer, steady, decibels, decision.scores[0], decision.margin, sure]
        heard, held = NAMES[decision.answer], NAMES[steady]
        lines.append(f"decided {heard} | {held} {words} {' '.join(map(str, numbers))}")
    return lines


def _levels(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("level")]


def test_every_function_of_an_app_is_called_with_what_the_reference_says(tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    shutil.copy(HOOKS, tmp_path / "p" / "src" / "app.c")
    program = _host(tmp_path / "p", FIRMWARE / "ports" / "audio_port_line.c")
    pcm = _speech(60_000)
    done = subprocess.run([str(program)], input=pcm.tobytes(), capture_output=True, check=True)
    lines = _own_lines(done.stdout.decode())
    assert lines[0] == "started"
    wanted = _decided(stream_decisions(MODEL, pcm))
    assert [line for line in lines if line.startswith("decided")] == wanted
    assert {"changed", "kept"} <= {word for line in wanted for word in line.split()}
    assert len({line.split()[-1] for line in wanted}) > 3  # "-1" and several confidences
    assert [confidence(MODEL.decision, decision) for decision in stream_decisions(MODEL, pcm)] == [
        int(line.split()[-1]) for line in wanted
    ]
    pieces = pcm[: len(pcm) // 1000 * 1000].astype(np.float64).reshape(-1, 1000)
    power = np.maximum((pieces**2).mean(axis=1) / 2**30, 10**-9.6)
    levels = _levels(lines)
    assert len(levels) == len(power)
    assert np.abs(10 * np.log10(power) - levels).max() < 1.3  # 0.3 of the line, 1 of rounding towards zero


def test_a_margin_has_the_confidence_of_the_lead_that_it_equals(tmp_path: Path) -> None:
    pcm = _speech(60_000)
    margins = [d.margin for d in stream_decisions(MODEL, pcm) if d.frames > 0]
    leads = np.sort(np.resize(margins, 19))
    assert MODEL.decision is not None
    model = replace(MODEL, decision=replace(MODEL.decision, confidence=tuple(leads.tolist())))
    export(model, load_board("emulated-m0"), tmp_path / "p", app="live")
    shutil.copy(HOOKS, tmp_path / "p" / "src" / "app.c")
    program = _host(tmp_path / "p", FIRMWARE / "ports" / "audio_port_line.c")
    said = subprocess.run([str(program)], input=pcm.tobytes(), capture_output=True, check=True).stdout
    told = [int(line.split()[-1]) for line in said.decode().splitlines() if line.startswith("decided")]
    assert [sure for sure in told if sure >= 0] == (5 * np.searchsorted(leads, margins, "right")).tolist()


def test_an_app_hears_of_errors(tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    shutil.copy(HOOKS, tmp_path / "p" / "src" / "app.c")
    silent = _host(tmp_path / "p", PROGRAMS / "silent_microphone.c")
    said = subprocess.run([str(silent)], input=b"", capture_output=True, check=True).stdout.decode()
    assert _own_lines(said) == ["started", "error the microphone's driver did not start"]
    feeder = _host(tmp_path / "p", PROGRAMS / "live_feeder.c")
    pcm = _speech(4000)
    data = b"".join(struct.pack("<H", burst) + pcm[:burst].tobytes() for burst in (400, 700, 400, 400))
    said = subprocess.run([str(feeder)], input=data, capture_output=True, check=True).stdout.decode()
    assert "error sound was lost: something took too long" in _own_lines(said)


@pytest.mark.parametrize("board", ["emulated-m4f", "nucleo_f446re"])
def test_own_code_runs_in_the_emulator_where_that_is_allowed(board: str, tmp_path: Path) -> None:
    folder, pcm = tmp_path / "p", _speech(30_000)
    export(MODEL, load_board(board), folder, app="live")
    soundfile.write(tmp_path / "clip.wav", pcm, 16000)
    plain = _run("listen", folder, tmp_path / "clip.wav")
    assert plain.exit_code == 0 and not _own_lines(plain.stdout), plain.output
    shutil.copy(HOOKS, folder / "src" / "app.c")
    refused = _run("listen", folder, tmp_path / "clip.wav")
    assert refused.exit_code == 1 and "(src/app.c), and it would run on this computer" in refused.output
    own = _run("listen", folder, tmp_path / "clip.wav", "--allow-changes")
    assert own.exit_code == 0, own.output
    found = [line for line in _own_lines(own.stdout) if line.startswith("decided")]
    assert found == _decided(stream_decisions(MODEL, pcm)) and found
    built = json.loads(_run("build", folder, "--json").stdout) if board == "emulated-m4f" else None
    assert built is None or built["changed"] == ["src/app.c"]


def test_own_code_stays_and_what_was_exported_is_not_lost_silently(tmp_path: Path) -> None:
    folder, board = tmp_path / "p", load_board("emulated-m0")
    export(MODEL, board, folder, app="live")
    assert "on_decision" in (folder / "src" / "app.c").read_text()
    (folder / "src" / "app.c").write_text("/* mine */\n")
    (folder / "src" / "more.cpp").write_text("// mine, too\n")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("mine")
    (folder / "notes" / "link").symlink_to("a.txt")
    export(MODEL, board, folder, app="live")
    export(MODEL, load_board("emulated-m4f"), folder, app="live", force=True)
    assert (folder / "src" / "app.c").read_text() == "/* mine */\n"
    assert (folder / "src" / "more.cpp").read_text() == "// mine, too\n"
    assert (folder / "notes" / "a.txt").read_text() == "mine" and (folder / "notes" / "link").is_symlink()
    (folder / "src" / "app.c").rename(folder / "src" / "app.cpp")
    export(MODEL, board, folder, app="live")
    assert not (folder / "src" / "app.c").exists() and (folder / "src" / "app.cpp").exists()
    with pytest.raises(SerqError, match=r"holds your own code \(src/app\.cpp\), .* folder for harness"):
        export(MODEL, board, folder, app="harness", force=True)
    assert (folder / "src" / "app.cpp").read_text() == "/* mine */\n"
    (folder / "src" / "main.c").write_text("/* changed */\n")
    with pytest.raises(SerqError, match=r"would lose \(src/main\.c\)"):
        export(MODEL, board, folder, app="live")


def test_own_code_is_flashed_and_scripts_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    project = export(MODEL, load_board("esp32"), folder, app="live")
    (folder / "src" / "app.c").rename(folder / "src" / "app.cpp")
    (folder / "src" / "light.h").write_text("#define PIN 2\n")
    with buildable(project, runs_here=False) as own:
        assert own.folder != folder
        assert (own.folder / "src" / "light.h").read_text() == "#define PIN 2\n"
        assert (own.folder / "src" / "app.cpp").exists() and not (own.folder / "src" / "app.c").exists()
    for name in ("src/main.c", "lib/zz/x.c", "src/deep/x.c", "src/CMakeLists.txt"):
        shutil.rmtree(folder)
        project = export(MODEL, load_board("esp32"), folder, app="live")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
        with pytest.raises(SerqError, match=rf"not what its model and board give \({name}\)"):
            platformio.flash(folder)
    shutil.rmtree(folder)
    project = export(MODEL, load_board("esp32"), folder, app="live")
    (folder / "src" / "stolen.h").symlink_to("/etc/passwd")
    with pytest.raises(SerqError, match=r"src/stolen\.h"), buildable(project, runs_here=False):
        pass


@pytest.mark.parametrize("compiler", ["g++", pytest.param("clang++", marks=needs("clang++"))])
def test_an_app_may_be_written_in_cpp(compiler: str, tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    text = (tmp_path / "p" / "src" / "app.c").read_text()
    (tmp_path / "p" / "src" / "app.cpp").write_text(text)
    flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror", "-Isrc", "-Ilib/serq/src", "-c", "src/app.cpp"]
    done = subprocess.run([compiler, *flags], cwd=tmp_path / "p", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    symbols = subprocess.run(["nm", "app.o"], cwd=tmp_path / "p", capture_output=True, text=True, check=True)
    assert " T on_decision" in symbols.stdout  # C's name, so that it takes the place of the weak one


@pytest.mark.parametrize("board", ["emulated-m4f", "esp32", "nucleo_f446re"])
def test_an_example_runs_as_it_was_written_and_not_when_somebody_changed_it(
    board: str, tmp_path: Path
) -> None:
    """On a real board's emulated relative, which prints the colour that the pins would show."""
    save_model(MODEL, tmp_path / "m.serq")
    soundfile.write(tmp_path / "clip.wav", _speech(60_000), 16000)
    made = _run("new", "led", "-b", board, "--model", tmp_path / "m.serq", "-o", tmp_path / "lamp")
    assert made.exit_code == 0, made.output
    said = _run("listen", tmp_path / "lamp", tmp_path / "clip.wav")
    assert said.exit_code == 0, said.output
    changed = [line for line in _decided(stream_decisions(MODEL, _speech(60_000))) if " changed " in line]
    assert len(_own_lines(said.stdout)) == len(changed) > 0
    shown = {"fear": "violet", "no speech": "dark", "not sure": "dark"}
    wanted = [shown.get(line.split(" | ")[1].split(" changed ")[0], "white") for line in changed]
    assert _own_lines(said.stdout) == wanted
    (own,) = (tmp_path / "lamp" / "src").glob("app.*")
    first = own.read_text()
    exported = _run("export", "emodb-small", "-b", board, "-o", tmp_path / "lamp")
    assert exported.exit_code == 0, exported.output
    assert "RED" in own.read_text() and own.read_text() != first  # the same example, for other labels
    own.write_text("/* of an earlier day */\n" + first)
    again = _run("new", "led", "-b", board, "-o", tmp_path / "lamp")
    assert again.exit_code == 1 and "is your own code, which stays" in again.output
    refused = _run("listen", tmp_path / "lamp", tmp_path / "clip.wav")
    assert refused.exit_code == 1 and "--allow-changes" in refused.output


@pytest.mark.parametrize("board", ["esp32", "esp32s3", "esp32c3", "pico", "nucleo_f446re", "teensy40"])
def test_an_example_is_written_for_free_pins_and_compiles(board: str, tmp_path: Path) -> None:
    """Against headers with the vendors' declarations, which stand in for the frameworks."""
    target = load_board(board)
    new_project("led", Plan(MODEL, target, "live"), tmp_path / "p")
    (name,) = (tmp_path / "p" / "src").glob("app.*")
    text = name.read_text()
    pins = dict(re.findall(r"^ \*   (red|green|blue): pin (\w+)$", text, re.M))
    used = {getattr(target.audio, key) for key in target.microphone_pins}
    assert len(set(pins.values())) == 3 and not used & set(pins.values())
    for pin in pins.values():
        assert target.pins.warning(pin) is None
        assert not list(target.pins.reasons_against(pin, "i2s_clock", target.port_pins)) or "i2s_clock" in (
            target.pins.only
        )
    assert name.suffix == (".cpp" if target.platformio.framework == "arduino" else ".c")
    compiler = ["g++", "-std=gnu++14"] if name.suffix == ".cpp" else ["gcc", "-std=gnu11"]
    stm32 = [f"-D{pin}={index}" for index, pin in enumerate(pins.values()) if not pin.isdigit()]
    flags = ["-Wall", "-Wextra", "-Werror", f"-I{PROGRAMS / 'vendor'}", "-Ilib/serq/src", "-Isrc", *stm32]
    framework = "ARDUINO" if name.suffix == ".cpp" else "ESP_PLATFORM"
    command = [
        *compiler,
        *flags,
        "-DVENDOR_LIGHTS",
        f"-D{framework}",
        "-c",
        f"src/{name.name}",
        "-o",
        "app.o",
    ]
    done = subprocess.run(command, cwd=tmp_path / "p", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_class_name_cannot_leave_the_comment_or_the_string_of_generated_code(tmp_path: Path) -> None:
    model = replace(MODEL, labels=("*/ int evil; /*", '"}; int evil; //', "calm", "fear", "joy"))
    export(model, load_board("emulated-m0"), tmp_path / "p", app="live")
    assert "evil" not in (tmp_path / "p" / "src" / "app.c").read_text()
    new_project("led", Plan(model, load_board("emulated-m0"), "live"), tmp_path / "q")
    for folder in ("p", "q"):
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Isrc", "-Ilib/serq/src", "-c", "src/app.c"]
        done = subprocess.run(
            ["gcc", *flags], cwd=tmp_path / folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        symbols = subprocess.run(["nm", "app.o"], cwd=tmp_path / folder, capture_output=True, text=True)
        assert "evil" not in symbols.stdout


def test_examples_are_listed_and_refused_in_a_sentence(tmp_path: Path) -> None:
    assert "led" in _run("new").output and json.loads(_run("new", "--json").stdout).keys() == {
        *EXAMPLES,
        ESPHOME,
    }
    for words, said in (
        (
            ("new", "disco", "-b", "esp32"),
            "there is no example 'disco'; there are led, homeassistant, ble, sleep, esphome",
        ),
        (("new", "led"), "--board"),
        (("new", "led", "-b", "nano33ble", "-o", tmp_path / "n"), "no free pins are known of nano33ble"),
        (("new", "ble", "-b", "pico", "-o", tmp_path / "b"), "the example ble needs ESP-IDF, and pico has"),
    ):
        done = _run(*words)
        assert done.exit_code == 1 and said in done.output, done.output
