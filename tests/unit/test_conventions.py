"""What all commands share: sections of the help, --json and --quiet, did-you-mean, exit codes, colour,
Ctrl-C, doctor, completion.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.base.progress import TerminalProgress, duration
from serq_mcu.boards.board import load_board
from serq_mcu.build import doctor, platformio
from serq_mcu.cli import main
from serq_mcu.cli.conventions import EXIT_CODES, TRACEBACK
from serq_mcu.cli.shared import PANELS
from serq_mcu.codegen.export import export
from serq_mcu.experiments.results import read_results
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.show.setup import diagnosis_lines
from tests.support.commands import SERQ, assert_one_line, commands, interrupt
from tests.support.tools import require

RATE = 16000
WITHOUT_JSON = {("monitor",): "what a board says goes on as it is", ("completion",): "a script for a shell"}


def _result(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SERQ, *words], capture_output=True, text=True, check=False, timeout=600)


def _command(path: tuple[str, ...]) -> click.Command:
    found: click.Command = main
    for name in path:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


# --- help


def test_help_shows_every_command_once_in_the_order_of_the_path() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    places = [
        re.search(rf"^  {name}[ ,]", shown, re.MULTILINE)
        for commands in PANELS.values()
        for name in commands
        if name in main.commands
    ]
    assert all(places)
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    assert {name for commands in PANELS.values() for name in commands} >= set(main.commands)
    sections = [shown.index(f"{title}:") for title in PANELS]
    assert sections == sorted(sections)


def test_help_says_the_exit_codes() -> None:
    shown = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown
    assert "Exit codes" not in CliRunner().invoke(main, ["check", "--help"]).output
    index = (Path(__file__).parents[2] / "docs/reference/commands/index.md").read_text()
    assert [f"| {code} | {meaning} |" in index for code, meaning in EXIT_CODES.items()] == [True] * 4


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_the_example_is_a_section_of_its_own_and_a_command_that_can_be_parsed(
    command: tuple[str, ...],
) -> None:
    found: Any = _command(command)
    shown = CliRunner().invoke(main, [*command, "--help"]).output
    assert re.search(r"^Example:\n  serq-mcu ", shown, re.MULTILINE)
    assert found.example.startswith(f"serq-mcu {' '.join(command)}")
    context = found.make_context(
        " ".join(command), found.example.split()[1 + len(command) :], resilient_parsing=False
    )
    assert context.params


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_every_command_has_json_and_quiet(command: tuple[str, ...]) -> None:
    options = {name for option in _command(command).params for name in option.opts}
    assert {"-q", "--quiet"} <= options
    assert ("--json" in options) == (command not in WITHOUT_JSON)


def test_help_is_quick_and_plain_where_nobody_looks_and_coloured_where_somebody_does() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    piped = subprocess.run([*SERQ, "check", "--help"], capture_output=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    )  # seconds of a processor: 0.3, and TensorFlow alone takes 3
    assert b"\x1b" not in piped
    require("script")  # makes a terminal
    terminal = ["script", "-qec", f"{sys.executable} -m serq_mcu check --help", "/dev/null"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")
    } | {"TERM": "xterm"}
    assert b"\x1b[" in subprocess.run(terminal, capture_output=True, check=True, env=environment).stdout
    plain = subprocess.run(
        terminal, capture_output=True, check=True, env=environment | {"NO_COLOR": "1"}
    ).stdout
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]", plain)


# --- exit codes


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("boards",), 0, ""),
        (("check", "none.serq", "--board", "esp32"), 1, "Error: none.serq does not exist"),
        (("check", "--board", "esp33"), 1, "esp32"),
        (("expert",), 2, "did you mean `serq-mcu export`?"),
        (("experiment", "rum"), 2, "did you mean `serq-mcu experiment run`?"),
        (("xyzzy",), 2, "`serq-mcu --help` lists all"),
        (("check", "--bord", "esp32"), 2, "--board"),
        (("check",), 2, "--board"),
        ((), 0, ""),
    ],
)
def test_exit_codes_are_what_the_table_says(words: tuple[str, ...], code: int, said: str) -> None:
    done = _result(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unforeseen_error_is_a_sentence_and_its_traceback_can_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a planet fell")

    monkeypatch.delenv(TRACEBACK, raising=False)
    monkeypatch.setattr("serq_mcu.boards.board.all_boards", broken)
    done = CliRunner().invoke(main, ["boards"])
    assert done.exit_code == 1
    assert done.output.startswith(
        "Error: unexpected error: ZeroDivisionError: a planet fell; run it again with SERQ_TRACEBACK=1"
    )
    assert len(done.output.splitlines()) == 1
    monkeypatch.setenv(TRACEBACK, "1")
    assert isinstance(CliRunner().invoke(main, ["boards"]).exception, ZeroDivisionError)


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m serq_mcu boards --json | head -1"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[\n"
    assert done.stderr == ""


# --- progress


def test_quiet_keeps_progress_and_not_results(tmp_path: Path) -> None:
    _speech(tmp_path / "clips")
    loud, quiet = (_result("corpus", "check", str(tmp_path / "clips"), *more) for more in ((), ("--quiet",)))
    assert "reading recordings" in loud.stderr
    assert quiet.stderr == ""
    assert loud.stdout == quiet.stdout != ""
    wrong = _result("corpus", "check", str(tmp_path / "none"), "-q")
    assert wrong.stderr.startswith("Error: ")


def test_progress_says_how_long_still(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 40.0, 41.0, 100.0, 160.0, 4000.0])
    monkeypatch.setattr("serq_mcu.base.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    progress = TerminalProgress()
    for done in (0, 10, 11, 25, 40, 1000):  # units of 1000, at those seconds
        progress("counting", done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "counting: 1000 to do",
        "counting: 10/1000, about 1 h 6 min left",
        "counting: 25/1000, about 1 h 5 min left",
        "counting: 40/1000, about 1 h 4 min left",
        "counting: 1000 in 1 h 6 min",
    ]
    assert [duration(seconds) for seconds in (0.4, 59.4, 60, 3599, 3600, 86400)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "24 h 0 min",
    ]


# --- Ctrl-C


def _speech(folder: Path, count: int = 24, seconds: float = 1.0) -> Path:
    """Two classes of noise."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / ("calm", "loud")[index % 2] / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            path, rng.normal(0, 0.01 + 0.1 * (index % 2), int(seconds * RATE)), RATE, subtype="PCM_16"
        )
    return folder


@pytest.mark.slow(7)
@pytest.mark.train
def test_an_interrupted_training_leaves_nothing_half_written(tmp_path: Path) -> None:
    _speech(tmp_path / "clips")
    (tmp_path / "long.toml").write_text(
        "[features]\nspeech_frames = 0\n"  # what these clips hold is no speech
        "[training]\nmax_epochs = 100000\npatience = 100000\n[augmentation]\nversions = 1\n"
    )
    words = [
        "train",
        str(tmp_path / "clips"),
        "--out",
        str(tmp_path / "made" / "run"),
        "--config",
        str(tmp_path / "long.toml"),
    ]
    code, said = interrupt(words, lambda text: "training, at most" in text, tmp_path / "errors")
    assert code == 130
    assert_one_line(said, "nothing half-written was left")
    assert not (tmp_path / "made").exists() or not list((tmp_path / "made").iterdir())


@pytest.mark.slow(24)
@pytest.mark.train
def test_an_interrupted_experiment_goes_on_where_it_stopped(tmp_path: Path) -> None:
    _speech(tmp_path / "clips")
    study: dict[str, object] = {
        "name": "t",
        "corpora": ["plain"],
        "models": ["mlp"],
        "features": ["librosa15"],
        "methods": ["32"],
        "fine_tuned": [],
    }
    study |= {"protocol": "clips", "folds": 3, "seeds": 1}
    training = "{ hidden = [8], presentations = 1, max_epochs = 60, patience = 60, mixup = 0.0 }"
    lines = [f"{name} = {json.dumps(value)}" for name, value in study.items()]
    (tmp_path / "plan.toml").write_text(
        "\n".join(['title = "t"', "[[study]]", *lines, f"training = {training}"])
    )
    results = tmp_path / "r.csv"
    words = [
        "experiment",
        "run",
        str(tmp_path / "clips"),
        "--plan",
        str(tmp_path / "plan.toml"),
        "--results",
        str(results),
        "--jobs",
        "1",
    ]
    code, said = interrupt(words, lambda text: results.exists(), tmp_path / "errors")
    assert code == 130
    assert_one_line(
        said,
        "`python -m serq_mcu experiment run` resumes where it stopped when it is called again".replace(
            "python -m serq_mcu", "serq-mcu"
        ),
    )
    kept = read_results(results)
    assert 0 < len(kept) < 3
    assert {path.name for path in tmp_path.iterdir()} == {
        "clips",
        "plan.toml",
        "r.csv",
        "errors",
        "temporary",
    }
    assert _result(*words).returncode == 0
    assert len(read_results(results)) == 3
    assert read_results(results)[: len(kept)] == kept


_WAITS_BEFORE_THE_SECOND_CLIP = """
import itertools, time
from serq_mcu.__main__ import main
from serq_mcu.harness.device import Device
run, clips = Device.run_clip, itertools.count()
def one_clip(device, pcm):
    if next(clips):
        time.sleep(600)
    return run(device, pcm)
Device.run_clip = one_clip
main()
"""


def test_an_interrupted_verification_ends_the_program_too(tmp_path: Path) -> None:
    export(shipped_model(), load_board("emulated-m4f"), tmp_path / "p")
    _speech(tmp_path / "clips", count=3, seconds=1)
    words = [
        "verify",
        str(tmp_path / "p"),
        "--clips",
        str(tmp_path / "clips"),
        "--junit",
        str(tmp_path / "junit.xml"),
    ]
    program = [sys.executable, "-c", _WAITS_BEFORE_THE_SECOND_CLIP]
    code, said = interrupt(words, lambda text: "verify on host" in text, tmp_path / "errors", program)
    assert code == 130
    assert_one_line(said, "nothing half-written was left")
    assert not (tmp_path / "junit.xml").exists()


def test_ctrl_c_while_commands_are_still_imported_is_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'serq_mcu.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Press())\n"
        "from serq_mcu.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted; nothing was begun\n")


# --- doctor, completion


def test_doctor_says_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(main, ["doctor", "--json"])
    report = json.loads(done.stdout)
    by_name = {finding["name"]: finding for finding in report["findings"]}
    assert (done.exit_code == 0) == report["ok"] is True
    assert by_name["numpy"]["found"] == np.__version__
    assert by_name["C compiler"]["found"].endswith(platformio.host_compiler())
    assert {"emulated-m0", "core folder", "Chromium"} <= by_name.keys()


def test_doctor_names_the_command_for_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99")
    monkeypatch.setattr(
        doctor,
        "_requirements",
        lambda: {"": ["numpy", "no-such-package"], "train": ["no-such-tensorflow"], "dev": ["x"]},
    )
    monkeypatch.setattr(doctor, "comports", lambda: [])
    without = doctor.diagnose()
    by_name = {finding.name: finding for finding in without.findings}
    assert not without.ok and by_name["no-such-package"].needed and not by_name["no-such-tensorflow"].needed
    text = "\n".join(diagnosis_lines(without))
    assert (
        "pip install 'serq-mcu[train]'" in text
        and "MISSING   no-such-package" in text
        and "plug a board in" in text
    )
    assert "something that is needed is missing" in text
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1
    monkeypatch.setattr(doctor, "_requirements", lambda: {"train": ["no-such-tensorflow"]})
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 0, "an extra is not needed"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    bare = {finding.name: finding for finding in doctor.diagnose().findings}
    assert not bare["C compiler"].ready and "gcc" in bare["C compiler"].get
    assert not bare["emulated-m4f"].ready and "gcc-arm-none-eabi" in bare["emulated-m4f"].get
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1


def test_doctor_says_how_to_get_at_a_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB7"
    port.write_text("")
    described = type("Port", (), {"device": str(port), "description": "CP2102", "vid": None})()
    monkeypatch.setattr(doctor, "comports", lambda: [described])
    assert next(f for f in doctor.diagnose().findings if f.area == "serial ports").found == "CP2102"
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(port))
    finding = next(f for f in doctor.diagnose().findings if f.area == "serial ports")
    assert not finding.ready and "dialout" in finding.found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).output
    assert "_SERQ_MCU_COMPLETE" in script and f"{shell}_complete" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script.encode(), check=True)


def test_completion_knows_commands_and_boards() -> None:
    def complete(words: str, place: int) -> list[str]:
        environment = os.environ | {
            "_SERQ_MCU_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(place),
        }
        return subprocess.run(
            SERQ, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()

    assert complete("serq-mcu ch", 1) == ["plain,check"]
    assert complete("serq-mcu check --board esp32c", 3) == [
        *("plain,esp32c3", "plain,esp32c3-supermini", "plain,esp32c6")
    ]
