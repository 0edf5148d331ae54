"""The pytest plugin, and the example repository that uses it, as a firmware team would run them: in a
pytest of their own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.quantized_model.store import save_model
from tests.support.models import made_up_model
from tests.support.virtual_boards import firmware_on_a_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "regression_tests"
LABELS = ("calm", "loud")
MODEL = made_up_model((5, 2), (2, 4), labels=LABELS)
PLUGIN = "serq_mcu.verification.pytest_plugin"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The example, with a model and clips."""
    shutil.copytree(EXAMPLE, tmp_path / "repository")
    save_model(MODEL, tmp_path / "repository" / "model.serq")
    rng = np.random.default_rng(0)
    for index in range(6):
        path = tmp_path / "repository" / "clips" / LABELS[index % 2] / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.integers(-9000, 9000, 2000).astype(np.int16), 16000)
    return tmp_path / "repository"


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and what a pytest in `folder` says.

    The plugin has the name of its entry point, so that it is loaded once.
    """
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    return done.returncode, done.stdout + done.stderr


def test_the_plugin_is_an_entry_point() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert f'[project.entry-points.pytest11]\n"{PLUGIN}" = "{PLUGIN}"\n' in project


@pytest.mark.slow(7)
def test_the_example_holds_baselines_and_notices_regressions(repository: Path) -> None:
    """As its README says, on the emulated board of its configuration; then against a baseline that was
    better.
    """
    code, said = run(repository, "--serq-update-baseline")
    assert code == 0 and "2 passed" in said
    baseline = repository / "baselines" / "emulated-m4f.json"
    value = json.loads(baseline.read_text())
    assert set(value["answers"]) == {f"{LABELS[index % 2]}/{index}" for index in range(6)}
    baseline.write_text(json.dumps(value | {"flash_bytes": value["flash_bytes"] - 8}))
    code, said = run(repository)
    assert code == 1 and "1 failed, 1 passed" in said
    assert (
        f"REGRESSION flash, bytes: {value['flash_bytes'] - 8} before, {value['flash_bytes']} now, worse"
        in said
    )


def test_the_readme_of_the_example_names_what_is_there() -> None:
    readme, workflow = (
        (EXAMPLE / "README.md").read_text(),
        (EXAMPLE / ".github/workflows/firmware.yml").read_text(),
    )
    options = set(re.findall(r"--serq-[a-z-]+", readme + workflow))
    code, said = run(EXAMPLE, "--help")
    assert code == 0 and options and all(option in said for option in options)


@pytest.mark.slow(7)
def test_what_is_missing_or_wrong_is_one_sentence(repository: Path) -> None:
    (repository / "pytest.ini").unlink()
    clips, tests = (
        str(repository / "clips"),
        "tests/test_firmware.py::test_every_stage_equals_the_reference",
    )
    for arguments, words in (
        (["--serq-clips", clips], "--serq-board (or serq_board in pytest's configuration) is missing"),
        (["--serq-clips", clips, "--serq-board", "esp33"], "unknown board 'esp33'; did you mean esp32"),
        (["--serq-clips", clips, "--serq-count", "0"], "--serq-count must be a number from 1, not 0"),
        (
            ["--serq-clips", clips, "--serq-board", "esp32", "--serq-port", "/dev/no"],
            "there is no port /dev/no",
        ),
    ):
        code, said = run(repository, tests, "--tb=short", *arguments)
        assert code != 0 and words in said, said
        assert "Traceback" not in said and "SerqError" not in said


@pytest.fixture
def board(tmp_path: Path) -> Iterator[str]:
    """The port of a board: a pseudo-terminal with the firmware behind it."""
    export(MODEL, load_board("esp32"), tmp_path / "firmware")
    with firmware_on_a_port(tmp_path / "firmware") as port:
        yield port


DUT = """
import contextlib
import pytest

def pytest_addoption(parser):
    parser.addoption("--embedded-services", dest="embedded_services")

class Serial:
    port, held = {port!r}, True

    @contextlib.contextmanager
    def disable_redirect_thread(self, kill_port=False):
        self.held = not kill_port
        yield
        self.held = True

@pytest.fixture
def dut():
    dut = type("Dut", (), {{"serial": Serial()}})()
    yield dut
    assert dut.serial.held
"""


def test_the_port_may_be_that_of_pytest_embedded(repository: Path, board: str) -> None:
    """Its fixture `dut` and option, as version 2.9 has them: the port is free while ours need it, and
    given back.
    """
    (repository / "tests" / "conftest.py").write_text(DUT.format(port=board))
    (repository / "tests" / "test_firmware.py").write_text(
        "def test_verified(serq_report, dut):\n    assert serq_report.ok and not dut.serial.held\n\n"
        "def test_values(serq_device, serq_clips):\n"
        "    assert len(serq_device.values(serq_clips[0].pcm, 'window', 0)) == 256\n"
    )
    code, said = run(
        repository, "--embedded-services", "serial", "--serq-board", "esp32", "--serq-count", "2"
    )
    assert code == 0 and "2 passed" in said, said
