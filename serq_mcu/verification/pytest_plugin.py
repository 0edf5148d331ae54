"""A pytest plugin: fixtures for a device, its clips and the verification of both.

Loaded by pytest where serq-mcu is installed.

    from serq_mcu.show.verification import comparison_text, report_text

    def test_every_stage_equals_the_reference(serq_report):
        assert serq_report.ok, report_text(serq_report)

    def test_nothing_is_worse_than_the_baseline(serq_comparison):
        assert not serq_comparison.worse, comparison_text(serq_comparison)

The options below may stand in pytest's configuration too, under their names with underscores and without
dashes (`serq_board = "esp32"`). With pytest-embedded (`--embedded-services serial` or `esp`) the port is the
one of its `dut`, which lets go of it meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if (
    TYPE_CHECKING
):  # pytest loads this file in every run of every project, so the rest waits until a fixture is asked for
    from serq_mcu.codegen.export import Project
    from serq_mcu.harness.device import Device
    from serq_mcu.quantized_model.types import QuantizedModel
    from serq_mcu.verification.baseline import BaselineComparison
    from serq_mcu.verification.report import VerifyReport
    from serq_mcu.verification.target import Target
    from serq_mcu.verification.verify import Recording

_OPTIONS = {
    "serq-model": (
        "The model file (.serq) that the firmware is made of; without it the model that ships with serq-mcu."
    ),
    "serq-board": (
        "The board that the firmware is for: a name that `serq-mcu boards` lists, or a board file (.toml)."
    ),
    "serq-port": "Where it runs: host (the default), emulator, or the board's serial port.",
    "serq-clips": "The folder of recordings to verify on.",
    "serq-count": "Number of clips, chosen stratified by class; without it all.",
    "serq-baseline": "The baseline file that serq_comparison compares with.",
}
_FILES = ("serq-model", "serq-clips", "serq-baseline")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the configuration."""
    group = parser.getgroup("serq-mcu", "firmware of serq-mcu against its Python reference")
    for name, text in _OPTIONS.items():
        group.addoption(f"--{name}", metavar=name.removeprefix("serq-").upper(), help=text)
        parser.addini(name.replace("-", "_"), text, default="")
    group.addoption(
        "--serq-flash",
        action="store_true",
        help="Build the firmware and write it to the board on the serial port first.",
    )
    group.addoption("--serq-update-baseline", action="store_true", help="Save this run as the new baseline.")


def _scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 (pytest passes both by name)
    """Return "session"; "function" under pytest-embedded, whose `dut` lives as long."""
    return "function" if _embedded(config) else "session"


def _embedded(config: pytest.Config) -> bool:
    return bool(config.getoption("embedded_services", None))


def _option(config: pytest.Config, name: str) -> str:
    """Read an option, of the command line first.

    Paths in the configuration are relative to its folder.
    """
    given: str | None = config.getoption(f"--{name}")
    if given is not None:
        return given
    configured = str(config.getini(name.replace("-", "_")))
    return str(config.rootpath / configured) if configured and name in _FILES else configured


def _needed(config: pytest.Config, name: str) -> str:
    value = _option(config, name)
    if not value:
        raise pytest.UsageError(
            f"--{name} (or {name.replace('-', '_')} in pytest's configuration) is missing: {_OPTIONS[name]}"
        )
    return value


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Report an error of serq-mcu as one sentence, without a traceback."""
    from serq_mcu.errors import SerqError

    try:
        yield
    except SerqError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope=_scope)
def serq_model(pytestconfig: pytest.Config) -> QuantizedModel:
    """Load the model that the firmware is made of."""
    from serq_mcu.quantized_model.store import load_model, shipped_model

    path = _option(pytestconfig, "serq-model")
    with _usage():
        return load_model(Path(path)) if path else shipped_model()


@pytest.fixture(scope=_scope)
def serq_project(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, serq_model: QuantizedModel
) -> Project:
    """Export the firmware for the board."""
    from serq_mcu.boards.board import load_board
    from serq_mcu.codegen.export import export

    with _usage():
        return export(
            serq_model,
            load_board(_needed(pytestconfig, "serq-board")),
            tmp_path_factory.mktemp("serq") / "project",
        )


@pytest.fixture(scope=_scope)
def serq_port(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the firmware runs: host, emulator or a serial port."""
    if not _embedded(request.config):
        yield _option(request.config, "serq-port") or "host"
        return
    serial = request.getfixturevalue("dut").serial
    with serial.disable_redirect_thread(kill_port=True):
        yield serial.port


@pytest.fixture(scope=_scope)
def serq_target(
    request: pytest.FixtureRequest, serq_project: Project, serq_model: QuantizedModel, serq_port: str
) -> Iterator[Target]:
    """Run the firmware, with the board and the model that it should have."""
    from serq_mcu.build import platformio
    from serq_mcu.verification.target import open_target
    from serq_mcu.verification.verify import require_same_firmware

    with contextlib.ExitStack() as stack:
        with _usage():
            if request.config.getoption("--serq-flash"):
                platformio.flash(serq_project.folder, serq_port, allow_changes=True)
            own = open_target(serq_project, serq_port, allow_changes=True)  # it was exported above
            target = stack.enter_context(own)
            require_same_firmware(serq_model, target)
        yield target


@pytest.fixture(scope=_scope)
def serq_device(serq_target: Target) -> Device:
    """Return the device: `run_clip`, `run_features`, `values` of any stage."""
    return serq_target.device


@pytest.fixture(scope=_scope)
def serq_clips(pytestconfig: pytest.Config, serq_model: QuantizedModel) -> list[Recording]:
    """Read the recordings: name, samples, label."""
    from serq_mcu.verification.verify import choose_clips, recordings

    count = _option(pytestconfig, "serq-count")
    if count and not (count.isdecimal() and int(count)):
        raise pytest.UsageError(f"--serq-count must be a number from 1, not {count}")
    with _usage():
        clips = choose_clips(Path(_needed(pytestconfig, "serq-clips")), int(count) if count else None)
        return list(recordings(clips, serq_model.spec.sample_rate))


@pytest.fixture(scope=_scope)
def serq_report(serq_model: QuantizedModel, serq_clips: list[Recording], serq_target: Target) -> VerifyReport:
    """Every clip verified."""
    from serq_mcu.verification.verify import verify

    with _usage():
        return verify(serq_model, serq_clips, serq_target)


@pytest.fixture(scope=_scope)
def serq_comparison(pytestconfig: pytest.Config, serq_report: VerifyReport) -> BaselineComparison:
    """Compare the report with the baseline, which is written first under --serq-update-baseline."""
    from serq_mcu.verification.baseline import load_baseline, save_baseline

    path = Path(_needed(pytestconfig, "serq-baseline"))
    with _usage():
        if pytestconfig.getoption("--serq-update-baseline"):
            save_baseline(path, serq_report)
        return load_baseline(path).compare(serq_report)
