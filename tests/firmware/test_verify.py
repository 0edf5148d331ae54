"""What `verify` reports, remembers and refuses: formats, baselines, features, failures, and firmware that
is not what it should be.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from junitparser import JUnitXml

from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio
from serq_mcu.build.host_program import host_build
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import MODEL
from serq_mcu.codegen.render import ABI
from serq_mcu.errors import SerqError
from serq_mcu.harness.device import Device, LineError
from serq_mcu.harness.transports import ProcessTransport
from serq_mcu.quantized_model.store import model_bytes
from serq_mcu.quantized_model.types import FORMAT, QuantizedModel
from serq_mcu.show.verification import change_text, comparison_lines, junit, markdown, report_lines
from serq_mcu.verification.baseline import CYCLES, Baseline, Change, load_baseline, save_baseline
from serq_mcu.verification.duration import line_time, message_bytes, rough_duration
from serq_mcu.verification.report import Difference, Mode, Outcome, VerifyReport
from serq_mcu.verification.target import Target, open_target
from serq_mcu.verification.verify import Recording, reference, require_same_firmware, verify, verify_project
from tests.support.models import dense, made_up_model

LABELS = ("anger", "joy & <fear>", "calm")
MODEL_UNDER_TEST = made_up_model([24, 3], [3, 4], labels=LABELS)
MODES: tuple[Mode, ...] = ("pcm", "features")
EMULATED = ["emulated-m0", "emulated-m4f", "emulated-rv32imc", "emulated-xtensa"]
WHERE = (
    "target",
    "on",
    "board",
    "frontend_cycles_per_frame",
    "network_cycles",
    "flash_bytes",
    "ram_bytes",
    "requests_repeated",
    "seconds",
)


def noise(seconds: float = 0.1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, 3000 * (seed + 1), round(16000 * seconds)), -32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "project"
    export(MODEL_UNDER_TEST, load_board("esp32"), folder)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "clips"
    for index in range(6):
        path = folder / LABELS[index % 3] / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(0.1 + 0.01 * index, index), 16000)
    return folder


@pytest.fixture(scope="module")
def program(project: Path) -> Iterator[Path]:
    with host_build(project) as path:
        yield path


@pytest.fixture
def device(program: Path) -> Iterator[Device]:
    device = Device(ProcessTransport([str(program)]))
    yield device
    device.close()


@pytest.fixture
def target(device: Device) -> Target:
    return Target(device, "host", "esp32", "host")


def recordings(count: int = 6) -> list[Recording]:
    return [Recording(f"clip {index}", noise(seed=index), LABELS[index % 3]) for index in range(count)]


def report(answers: str = "abcabc", **changes: Any) -> VerifyReport:
    """Of six clips, answered so (a, b, c: the labels)."""
    outcomes = tuple(
        Outcome(f"clip {index}", LABELS[index % 3], LABELS["abc".index(answer)], 1000, 10, 50_000, 700)
        for index, answer in enumerate(answers)
    )
    figures: dict[str, Any] = {"flash_bytes": 40_000, "ram_bytes": 12_000, "outcomes": outcomes} | changes
    return VerifyReport(
        "/dev/ttyUSB0",
        "port",
        "esp32",
        "0123456789abcdef",
        "pcm",
        LABELS,
        requests_repeated=0,
        seconds=1.0,
        **figures,
    )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


# ---- the same everywhere ----


def test_a_reference_is_computed_once_per_model_samples_and_mode():
    first = reference(MODEL_UNDER_TEST, Recording("first", noise()))
    assert reference(MODEL_UNDER_TEST, Recording("the same samples", noise())) is first
    other_model = made_up_model([24, 3], [3, 4], seed=1, labels=LABELS)
    assert not np.array_equal(reference(other_model, Recording("first", noise())).scores, first.scores)
    other_samples = reference(MODEL_UNDER_TEST, Recording("first", noise(seed=1)))
    assert not np.array_equal(other_samples.pooled, first.pooled)
    from_features = reference(MODEL_UNDER_TEST, Recording("first", noise()), "features")
    assert first.frames > 0 and from_features.frames == 0


def test_what_was_not_built_has_no_size(project: Path) -> None:
    assert platformio.last_build(project) is None


@pytest.mark.emulator
@pytest.mark.parametrize("board", EMULATED)
def test_every_core_gives_the_report_of_the_host(program: Path, board: str, tmp_path: Path) -> None:
    """Apart from where it ran, cycles and sizes. (The clips are few here; docs/verification.md has the 60
    of EMO-DB.)
    """
    device = Device(ProcessTransport([str(program)]))
    project = export(MODEL_UNDER_TEST, load_board(board), tmp_path / board)
    with open_target(project, "emulator", allow_changes=True) as emulated:  # built there, to compare with
        for mode in MODES:
            host = verify(MODEL_UNDER_TEST, recordings(), Target(device, "host", "esp32", "host"), mode=mode)
            found = verify(MODEL_UNDER_TEST, recordings(), emulated, mode=mode)
            assert host.ok and host.clips == 6
            assert (found.on, found.board) == ("emulator", board)
            built = platformio.last_build(tmp_path / board)
            assert built is not None
            assert (found.flash_bytes, found.ram_bytes) == (built.flash_bytes, built.ram_bytes)
            here, there = (
                {name: value for name, value in one.to_json().items() if name not in WHERE}
                for one in (host, found)
            )
            assert here == there
    device.close()


# ---- firmware that is not what it should be ----


@pytest.mark.slow
def test_swapped_labels_are_caught_and_named(project: Path, clips: Path, tmp_path: Path) -> None:
    _change(project, tmp_path, "serq_model.c", '        "anger",\n', '        "calm",\n')
    with pytest.raises(
        SerqError,
        match=r"label 0 of the firmware on host is 'calm', not 'anger': its labels are not the model's",
    ):
        verify_project(tmp_path / "changed", clips, "host", allow_changes=True)


def test_a_stale_header_is_caught_and_named(project: Path, clips: Path, tmp_path: Path) -> None:
    _change(project, tmp_path, "serq_model.h", f"#define SERQ_MODEL_ABI {ABI}", "#define SERQ_MODEL_ABI 99")
    with pytest.raises(SerqError, match=r"generated for another serq runtime: run serq-mcu export again"):
        verify_project(tmp_path / "changed", clips, "host", allow_changes=True)


@pytest.mark.slow
def test_another_runtime_in_the_device_is_caught_and_named(target: Target) -> None:
    target.device.identity = dataclasses.replace(target.device.identity, abi=9)
    with pytest.raises(SerqError, match=r"has runtime interface 9, this serq-mcu has \d"):
        require_same_firmware(MODEL_UNDER_TEST, target)


@pytest.mark.slow
def test_a_stale_identity_is_caught_and_named(project: Path, clips: Path, tmp_path: Path) -> None:
    ours = MODEL_UNDER_TEST.identity
    other = bytes([ours[0] ^ 1]) + ours[1:]
    _change(
        project,
        tmp_path,
        "serq_model.h",
        *("{ " + ", ".join(map(str, identity)) for identity in (ours, other)),
    )
    with pytest.raises(SerqError, match=rf"carries model {other.hex()}, not {ours.hex()}"):
        verify_project(tmp_path / "changed", clips, "host", allow_changes=True)


def test_a_wrong_board_is_caught_and_named(target: Target) -> None:
    with pytest.raises(SerqError, match=r"was exported for board esp32, not for nucleo_f446re"):
        verify(MODEL_UNDER_TEST, recordings(), dataclasses.replace(target, board="nucleo_f446re"))


def test_a_model_file_of_another_version_is_caught_and_named(
    project: Path, clips: Path, tmp_path: Path
) -> None:
    shutil.copytree(project, tmp_path / "changed")
    data, written = model_bytes(MODEL_UNDER_TEST), f'\\"format\\": {FORMAT},'.encode()
    assert data.count(written) == 1
    (tmp_path / "changed" / MODEL).write_bytes(data.replace(written, b'\\"format\\": 9,'))
    with pytest.raises(SerqError, match=r"has format 9, and this serq-mcu reads format 5"):
        verify_project(tmp_path / "changed", clips, "host")


@pytest.mark.slow
def test_from_features_too_the_first_wrong_stage_is_named(project: Path, clips: Path, tmp_path: Path) -> None:
    """Where no stage of the front end is compared. (tests/firmware/test_harness.py breaks rounding bits
    and others, from samples.)
    """
    shift = dense(MODEL_UNDER_TEST)[0].shift
    assert shift is not None
    _change(
        project,
        tmp_path,
        "serq_model.c",
        f", {shift}, activations + 24);",
        f", {shift - 1}, activations + 24);",
    )
    found = verify_project(tmp_path / "changed", clips, "host", mode="features", allow_changes=True)
    assert found.differing_by_stage == {"layer 0 output": found.differing_integers}
    assert found.differing_integers >= found.differing_clips > 0
    assert all(difference.actual > difference.expected for difference in found.differences)


def _change(project: Path, tmp_path: Path, file: str, old: str, new: str) -> None:
    shutil.copytree(project, tmp_path / "changed")
    source = tmp_path / "changed" / "lib" / "serq" / "src" / file
    assert source.read_text().count(old) == 1
    source.write_text(source.read_text().replace(old, new))


# ---- failures ----


class Failing(Device):
    """Loses the clips whose turns are in `lost`."""

    lost: frozenset[int] = frozenset()
    turn = -1

    def run_clip(self, pcm: np.ndarray):
        self.turn += 1
        if self.turn in self.lost:
            raise LineError("the cable was moved")
        return super().run_clip(pcm)


def test_a_clip_without_a_result_is_reported_with_its_cause(program: Path) -> None:
    device = Failing(ProcessTransport([str(program)]))
    device.lost = frozenset({1, 3, 4})
    found = verify(MODEL_UNDER_TEST, recordings(), Target(device, "host", "esp32"))
    assert not found.ok
    assert (found.clips, found.differing_clips, [outcome.clip for outcome in found.failures]) == (
        3,
        0,
        ["clip 1", "clip 3", "clip 4"],
    )
    assert found.to_json()["failures"][0] == {"clip": "clip 1", "cause": "the cable was moved"}
    assert found.to_json()["accuracy"]["n"] == 3
    assert {"failed_clips: 3", "clip 1: no result: the cable was moved"} <= set(report_lines(found))
    with pytest.raises(SerqError, match="3 clips have no result, so that the run is no baseline"):
        Baseline.of(found)
    device.close()


def test_three_failures_in_a_row_end_it(program: Path) -> None:
    device = Failing(ProcessTransport([str(program)]))
    device.lost = frozenset({1, 2, 3})
    with pytest.raises(SerqError, match="3 clips in a row failed, at last clip 3: the cable was moved"):
        verify(MODEL_UNDER_TEST, recordings(), Target(device, "host", "esp32"))
    device.close()


class Waiting(Device):
    """Works on a clip until the reference of the next is begun, of which the last has none."""

    begun: tuple[threading.Event, ...] = ()
    turn = 0

    def run_clip(self, pcm: np.ndarray):
        self.turn += 1
        assert self.begun[min(self.turn, len(self.begun) - 1)].wait(60)
        return super().run_clip(pcm)


def test_the_next_reference_is_computed_while_the_device_works(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Waiting(ProcessTransport([str(program)]))
    device.begun = tuple(threading.Event() for _ in recordings(3))

    def watched(model: QuantizedModel, recording: Recording, mode: Mode):
        device.begun[int(recording.name.removeprefix("clip "))].set()
        return reference(model, recording, mode)

    monkeypatch.setattr("serq_mcu.verification.verify.reference", watched)
    assert verify(MODEL_UNDER_TEST, recordings(3), Target(device, "host", "esp32")).ok
    device.close()


# ---- formats ----


def _bad() -> VerifyReport:
    good = report()
    difference = Difference("clip 1", "layer 0 output", 2, 0, 4, 17, 18)
    outcomes = list(good.outcomes)
    outcomes[1] = dataclasses.replace(outcomes[1], difference=difference)
    outcomes[2] = Outcome("clip 2", "calm", failure="silence | *after* <reset>")
    return dataclasses.replace(good, outcomes=tuple(outcomes))


def test_junit_has_a_case_for_each_clip_and_each_figure() -> None:
    before = Baseline.of(report())
    text = junit(_bad(), before.compare(_bad()))
    (suite,) = JUnitXml.fromstring(text.encode())
    assert (suite.tests, suite.failures, suite.errors) == (6 + len(before.compare(_bad()).changes), 3, 1)
    cases = {case.name: case for case in suite}
    assert cases["clip 0"].is_passed
    assert "layer 0 output, event 0, index 4: expected 17, found 18" in cases["clip 1"].result[0].message
    assert cases["clip 2"].result[0].message == "silence | *after* <reset>"
    assert "REGRESSION" not in text
    assert "0 before, 1 now, worse" in cases["clips without a result"].result[0].message
    assert ElementTree.fromstring(text.encode()).tag == "testsuites"


def test_markdown_is_a_summary() -> None:
    text = markdown(_bad(), Baseline.of(report()).compare(_bad()))
    assert text.startswith("### serq-mcu verify: FAILED on /dev/ttyUSB0\n")
    assert "| clips compared / differing / failed | 5 / 1 / 1 |" in text
    assert "| recall joy & \\<fear\\> | 2 of 2 |" in text
    assert "| clips without a result | 0 | 1 | worse |" in text
    assert "| correct labels of joy & \\<fear\\> | 2 | 2 | same |" in text
    assert "silence \\| \\*after\\* \\<reset\\>" in text
    assert markdown(report()).startswith("### serq-mcu verify: passed")


def test_figures_are_of_the_clips() -> None:
    values = report("abcaaa").to_json()
    assert (values["accuracy"]["correct"], values["accuracy"]["n"]) == (4, 6)
    assert values["accuracy"]["interval95"] == pytest.approx(
        [0.300, 0.903], abs=5e-4
    )  # Wilson, to the digits given
    assert {label: recall["correct"] for label, recall in values["recall"].items()} == dict(
        zip(LABELS, (2, 1, 1), strict=True)
    )
    assert (values["frontend_cycles_per_frame"], values["network_cycles"]) == (5000, 700)
    other = dataclasses.replace(report(), labels=("x", "y"))
    assert other.correct is None and other.recall == {} and other.to_json()["accuracy"] is None


# ---- baselines ----


def test_a_baseline_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = save_baseline(tmp_path / "baseline.json", report())
    assert load_baseline(tmp_path / "baseline.json") == saved
    assert not saved.compare(report()).worse
    assert comparison_lines(saved.compare(report())) == [
        f"no figure of {len(saved.compare(report()).changes)} is worse than the baseline"
    ]


@pytest.mark.parametrize(
    ("changed", "worse"),
    [
        ({}, []),
        ({"flash_bytes": 40_001}, ["flash, bytes"]),
        ({"ram_bytes": 12_004}, ["RAM, bytes"]),
        ({"flash_bytes": 39_000, "ram_bytes": 11_000}, []),
        ({"flash_bytes": None}, []),
    ],
)
def test_sizes_that_grow_are_regressions(changed: dict[str, Any], worse: list[str]) -> None:
    assert [change.name for change in Baseline.of(report()).compare(report(**changed)).worse] == worse


def test_a_class_that_loses_is_a_regression_even_if_another_gains() -> None:
    comparison = Baseline.of(report("abcabb")).compare(report("abcacc"))
    assert [change_text(change) for change in comparison.worse] == [
        "correct labels of joy & <fear>: 2 before, 1 now, worse"
    ]
    assert "clip 5 (calm): answered joy & <fear> before, calm now" in comparison.notes
    assert any(
        line.startswith("REGRESSION correct labels of joy & <fear>: 2 before, 1 now")
        for line in comparison_lines(comparison)
    )


def test_integers_that_differ_are_a_regression_by_stage() -> None:
    comparison = Baseline.of(report()).compare(_bad())
    assert "differing integers in layer 0 output" in [change.name for change in comparison.worse]


@pytest.mark.parametrize(
    ("now", "worse"), [(1000 * (1 + CYCLES), False), (1000 * (1 + CYCLES) + 1, True), (900, False)]
)
def test_cycles_have_a_tolerance(now: float, worse: bool) -> None:
    assert Change("cycles", 1000, now, -1, CYCLES).worse == worse
    assert not Change("cycles", None, now, -1, CYCLES).worse


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda r: dataclasses.replace(r, board="esp32c3"), "is of board esp32, this run of esp32c3"),
        (lambda r: dataclasses.replace(r, on="host"), "is of place port, this run of host"),
        (lambda r: dataclasses.replace(r, mode="features"), "is of mode pcm, this run of features"),
        (
            lambda r: dataclasses.replace(r, outcomes=r.outcomes[:-1]),
            r"is of other clips \(1 differ, such as clip 5\)",
        ),
    ],
)
def test_a_baseline_of_something_else_is_refused(
    other: Callable[[VerifyReport], VerifyReport], words: str
) -> None:
    with pytest.raises(SerqError, match=words):
        Baseline.of(report()).compare(other(report()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": 2}',
        b"\xff",
        b"[" * 9999,
        b'{"format": 1, "on": 3}',
        "flash",
        "answers",
        "stage",
    ],
)
def test_a_damaged_baseline_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    save_baseline(path, report())
    if isinstance(content, str):
        value = json.loads(path.read_text())
        name, wrong = {
            "flash": ("flash_bytes", "many"),
            "answers": ("answers", {"x": ["a"]}),
            "stage": ("differing_by_stage", {"x": None}),
        }[content]
        content = json.dumps(value | {name: wrong}).encode()
    path.write_bytes(content)
    with pytest.raises(
        SerqError, match=r"baseline.json is damaged \(.*\); make it again with --update-baseline"
    ):
        load_baseline(path)


@pytest.mark.slow
def test_the_command_remembers_compares_and_exits_by_it(project: Path, clips: Path, tmp_path: Path) -> None:
    baseline, files = tmp_path / "baseline.json", (tmp_path / "junit.xml", tmp_path / "summary.md")
    common = (project, "--clips", clips, "--baseline", baseline)
    missing = run(*common)
    assert missing.exit_code == 1 and f"there is no baseline {baseline}; make it with" in missing.output
    first = run(*common, "--update-baseline")
    assert first.exit_code == 0 and f"wrote {baseline}" in first.output
    second = run(*common, "--junit", files[0], "--markdown", files[1], "--json")
    assert second.exit_code == 0
    assert json.loads(second.stdout)["baseline"]["worse"] == 0
    assert len(list(JUnitXml.fromfile(str(files[0])))) == 1
    assert "passed on host" in files[1].read_text()
    value = json.loads(baseline.read_text())
    worst = next(clip for clip, (label, answer) in value["answers"].items() if label != answer)
    value["answers"][worst][1] = value["answers"][worst][0]
    baseline.write_text(json.dumps(value))
    third = run(*common)
    assert third.exit_code == 1
    assert "REGRESSION correct labels:" in third.output
    other = run(*common, "--count", "3")
    assert other.exit_code == 1 and "the baseline is of other clips (3 differ" in other.output
    lonely = run(project, "--clips", clips, "--update-baseline")
    assert lonely.exit_code == 1 and "--update-baseline needs --baseline FILE" in lonely.output


# ---- time and sizes ----


def test_the_time_on_the_line_is_what_the_bytes_take(program: Path, clips: Path) -> None:
    """Counted on the way of a real run: the estimate is within 2 % of it (escapes of COBS and the labels
    are not in it).
    """

    class Counting(ProcessTransport):
        passed = 0

        def write(self, data: bytes) -> None:
            self.passed += len(data)
            super().write(data)

        def read(self, timeout: float) -> bytes:
            data = super().read(timeout)
            self.passed += len(data)
            return data

    line = Counting([str(program)])
    device = Device(line)
    before = line.passed
    pcm = noise(4.0)
    device.run_clip(pcm)
    assert message_bytes(2 * len(pcm), device.identity.max_payload) + 400 == pytest.approx(
        line.passed - before, rel=0.02
    )
    device.close()


def test_a_long_run_offers_shorter_ways(device: Device, tmp_path: Path) -> None:
    for index in range(70):
        soundfile.write(tmp_path / f"{index}.wav", np.zeros(32000, np.int16), 16000)
    paths = sorted(tmp_path.glob("*.wav"))
    slow = Target(device, "/dev/ttyUSB0", "esp32", "port", 115_200)
    said = line_time(MODEL_UNDER_TEST, slow, paths, "pcm")
    assert said.startswith(
        "70 clips, 4.5 MB of samples: about 7 min on the line at 115200 baud; shorter: --count 60 takes 6"
        " min; --features "
    )
    assert "baud = 921600 under [port] of the board file, exported and flashed again, takes 50 s" in said
    assert (
        line_time(MODEL_UNDER_TEST, slow, paths, "features")
        == "70 clips, features only: about 3 s at 115200 baud"
    )
    assert "shorter" not in line_time(MODEL_UNDER_TEST, slow, paths[:5], "pcm")
    assert [rough_duration(seconds) for seconds in (5, 89, 90, 5399, 5400)] == [
        "5 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]
