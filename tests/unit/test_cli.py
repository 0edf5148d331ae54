"""The command line as a user meets it: help everywhere, JSON where it reports, one clear sentence for bad
input.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.quantization.run_folder import save_run
from serq_mcu.quantized_model.store import load_model, model_bytes, save_model, shipped_model
from serq_mcu.report.gather import gather
from tests.support.commands import commands
from tests.support.models import made_up_model
from tests.support.training import made_up_run

RATE = 16000
HOSTILE = '"; } int x = 0;'


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _refused(result: Result, words: str) -> None:
    """One sentence that says `words`, no traceback, a non-zero exit."""
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    message = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(message) == 1, result.output
    assert re.search(words, message[0]), message[0]


def _speech(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * RATE))).clip(-1, 1)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two classes with two clips each."""
    for index, label in enumerate(["calm", "calm", "loud", "loud"]):
        (tmp_path / "clips" / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(
            tmp_path / "clips" / label / f"{index}.wav", _speech(seed=index), RATE, subtype="PCM_16"
        )
    return tmp_path / "clips"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return save_model(made_up_model((8, 2), (2, 4), labels=("calm", "loud")), tmp_path / "m.serq")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return save_run(made_up_run(), tmp_path / "run", {})


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    result = _run(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: serq-mcu {' '.join(command)}" in " ".join(result.output.split())


def test_the_promised_commands_exist() -> None:
    promised = {
        "corpus check",
        "frontend compare",
        "train",
        "quantize",
        "evaluate",
        "robustness",
        "boards",
        "export",
        "check",
        "build",
        "flash",
        "monitor",
        "verify",
        "bench",
        "experiment run",
        "experiment page",
        "toolchain setup",
        "demo",
    }
    assert promised <= {" ".join(command) for command in commands(main)}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from serq_mcu.cli import main\nmain(['--help'], standalone_mode=False)\nheavy ="
        " {'tensorflow', 'tf_keras', 'librosa', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'platformio'} &"
        " set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_corpus_check_reports_and_exits_by_the_outcome(clips: Path) -> None:
    assert _run("corpus", "check", clips).exit_code == 0
    report = json.loads(_run("corpus", "check", clips, "--json").stdout)
    assert report["ok"] is True
    (clips / "calm" / "bad.wav").write_bytes(b"")
    result = _run("corpus", "check", clips)
    assert result.exit_code == 1
    assert "calm/bad" in result.output


def test_corpus_synthesise_writes_labelled_speech_and_says_what_it_is(tmp_path: Path) -> None:
    result = _run("corpus", "synthesise", tmp_path / "speech", "--seconds", "2")
    assert result.exit_code == 0, result.output
    assert "means nothing" in result.output
    assert sorted(path.name for path in (tmp_path / "speech").iterdir() if path.is_dir()) == [
        "anger",
        "fear",
        "happiness",
        "neutral",
        "sadness",
    ]
    report = json.loads(
        _run("corpus", "synthesise", tmp_path / "speech", "--seconds", "1", "--seed", "1", "--json").stdout
    )
    assert report["clips"] == len(list((tmp_path / "speech").rglob("*.wav"))) == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    _refused(_run("corpus", "synthesise", tmp_path / "mine"), "was not made by serq-mcu")


@pytest.mark.train
def test_frontend_compare_reports_and_writes_its_page(clips: Path, tmp_path: Path, model_file: Path) -> None:
    page = tmp_path / "page.md"
    report = json.loads(_run("frontend", "compare", clips, "--page", page, "--json").stdout)
    assert report["clips"] == 4
    assert 0 < report["stages"]["mel"]["mean"] < 0.02
    assert f"{report['stages']['chroma']['max']:.5f}" in page.read_text()
    assert report["effect"] is None  # the model that ships has other classes
    assert _run("frontend", "compare", clips, "--model", model_file).stdout.startswith("4 clips")
    effect = json.loads(
        _run("frontend", "compare", clips, "--model", model_file, "--page", page, "--json").stdout
    )["effect"]
    assert [row["n"] for row in effect["scores"]] == [4] * 4
    assert {(row["changed"], row["n"]) for row in effect["labels_changed"]} == {(0, 4)}
    assert "## What the difference does to the answers" in page.read_text()
    soundfile.write(clips / "calm" / "0.wav", _speech(0.05), RATE, subtype="PCM_16")
    _refused(_run("frontend", "compare", clips, "--page", page), r"clip number 0: .*longer recording")


def _write(path: Path, data: np.ndarray, rate: int = RATE, **how: str) -> Path:
    soundfile.write(path, data, rate, **how)
    return path


CONVERSIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "stereo": (
        lambda p: _write(p, np.stack([_speech(), _speech(seed=1)], axis=1), subtype="PCM_16"),
        "stereo|channels",
    ),
    "8 bit": (lambda p: _write(p, _speech(), subtype="PCM_U8"), "8-bit"),
    "24 bit": (lambda p: _write(p, _speech(), subtype="PCM_24"), "24-bit"),
    "float": (lambda p: _write(p, _speech(), subtype="FLOAT"), "float"),
    "96 kHz": (lambda p: _write(p, _speech(6), 96000, subtype="PCM_16"), "96000"),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_odd_formats_are_converted_and_said(clips: Path, kind: str) -> None:
    write, words = CONVERSIONS[kind]
    write(clips / "calm" / "odd.wav")
    result = _run("corpus", "check", clips)
    assert result.exit_code == 0, result.output
    assert re.search(words, result.output), result.output


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero length": (lambda p: p.write_bytes(b""), "odd"),
    "truncated": (
        lambda p: p.write_bytes(_write(p, _speech(), subtype="PCM_16").read_bytes()[:9000]),
        "odd.*(truncated|cut)",
    ),
    "too short": (lambda p: _write(p, _speech(0.02), subtype="PCM_16"), "too short.*odd"),
    "NaN": (
        lambda p: _write(p, np.where(np.arange(RATE) == 5, np.nan, _speech()), subtype="FLOAT"),
        "odd.*(NaN|finite|not a number)",
    ),
    "no audio": (lambda p: p.write_bytes(b"this is no audio" * 100), "odd"),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.train] * (kind == "too short")) for kind in DAMAGE]
)
def test_damaged_clips_are_named(clips: Path, model_file: Path, kind: str, tmp_path: Path) -> None:
    write, words = DAMAGE[kind]
    write(clips / "calm" / "odd.wav")
    checked = _run("corpus", "check", clips)
    assert checked.exit_code == 1
    assert re.search(words, checked.output), checked.output
    _refused(_run("evaluate", model_file, "--corpus", clips), "odd")
    _refused(_run("train", clips, "--out", tmp_path / "run"), "odd|fold|clips")
    assert not (tmp_path / "run").exists()


def test_a_model_is_evaluated_in_noise_and_at_a_gain(clips: Path, model_file: Path) -> None:
    arguments = (
        "evaluate",
        model_file,
        "--corpus",
        clips,
        "--noise",
        "babble",
        "--snr",
        "5",
        "--gain",
        "-12",
    )
    first, second = _run(*arguments), _run(*arguments)
    assert first.exit_code == 0, first.output
    assert "babble at 5 dB, gain -12 dB" in first.output
    assert first.stdout == second.stdout
    _refused(_run(*arguments[:5], "rain"), "unknown noise 'rain'; .* one of white, pink")
    _refused(_run(*arguments, "--gain", "99"), "gain of 99 dB must be")


def test_a_model_is_evaluated_between_pauses_and_through_bands(clips: Path, model_file: Path) -> None:
    base = ("evaluate", model_file, "--corpus", clips, "--gain", "-6")
    around = ("--pauses", "0.25", "--pauses", "1", "--room-noise", "-60")
    arguments = (*base, *around, "--band", "telephone", "--band", "8k", "--offset", "0.01")
    text, found = _run(*arguments), json.loads(_run(*arguments, "--json").stdout)
    names = [condition["name"] for condition in found["conditions"]]
    pauses = [f"{seconds} s of pause before and after, " for seconds in ("0.25", "1")]
    assert names == [
        *(f"{pause}gain -6 dB" for pause in pauses),
        *(f"{pause}white floor at -60 dB, gain -6 dB" for pause in pauses),
        "gain -6 dB, telephone band",
        "gain -6 dB, 8k band",
        "gain -6 dB, offset +0.01",
    ]
    table = text.stdout.split("\n\n")[1].splitlines()
    assert [line.split("  ")[0] for line in table] == ["condition", "gain -6 dB", *names]
    for line, condition in zip(table[2:], found["conditions"], strict=True):
        change = condition["change"]
        assert f"{condition['accuracy']:.1%}" in line and f"{100 * change['difference']:+.1f}" in line
        assert change["interval95"][0] <= change["difference"] <= change["interval95"][1]
        assert condition["correct"] - found["correct"] == change["only_after"] - change["only_before"]
        assert condition["n"] == found["n"]
    assert json.loads(_run(*base, "--json").stdout)["conditions"] == []
    _refused(_run(*base, "--pauses", "-1"), "a pause of -1 s must be 0 to 60 s")
    _refused(_run(*base, "--room-noise", "5"), "a floor at 5 dB must be -120 to 0 dB")


@pytest.mark.parametrize("command", [("corpus", "check"), ("train", "--out", "RUN")])
def test_an_empty_folder_and_one_class_are_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "one" / "calm").mkdir(parents=True)
    _write(tmp_path / "one" / "calm" / "a.wav", _speech(), subtype="PCM_16")
    words = [str(tmp_path / "run") if word == "RUN" else word for word in command]
    _refused(_run(*words, tmp_path / "none"), "holds no")
    _refused(_run(*words, tmp_path / "one"), "two classes|one class")
    assert not (tmp_path / "run").exists()


def test_model_files_that_cannot_be_used(tmp_path: Path, model_file: Path) -> None:
    out = tmp_path / "out"
    for content, words in [
        (model_file.read_bytes()[:500], "damaged"),
        (b"", "damaged"),
        (b"PK\x03\x04 something else", "damaged"),
    ]:
        (tmp_path / "bad.serq").write_bytes(content)
        _refused(_run("export", tmp_path / "bad.serq", "--board", "esp32", "--out", out), words)
    _refused(_run("export", tmp_path / "missing.serq", "--board", "esp32", "--out", out), "does not exist")
    assert not out.exists()


def test_an_unknown_board_names_the_nearest(tmp_path: Path, model_file: Path) -> None:
    for command in (("export", model_file, "--out", tmp_path / "p"), ("check", model_file)):
        _refused(_run(*command, "--board", "esp33"), "esp32")
    assert not (tmp_path / "p").exists()


@pytest.mark.emulator
@pytest.mark.slow(6)
def test_missing_tools_are_named(
    tmp_path: Path, model_file: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("export", model_file, "-b", "m4f", "--app", "harness", "-o", tmp_path / "p").exit_code == 0
    assert _run("build", tmp_path / "p").exit_code == 0
    tools = tmp_path / "tools"  # all of today's PATH but the named ones
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("CC", raising=False)
    _refused(
        _run("verify", tmp_path / "p", "--clips", clips, "--on", "host"), "compiler.*install gcc or clang"
    )
    _refused(_run("build", tmp_path / "p"), "gcc-arm-none-eabi")
    _refused(_run("verify", tmp_path / "p", "--clips", clips, "--on", "emulator"), "gcc-arm-none-eabi|qemu")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    _refused(_run("build", tmp_path / "p"), r"serq-mcu\[build\]")


@pytest.mark.emulator
def test_no_qemu_is_said(
    tmp_path: Path, model_file: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("export", model_file, "-b", "m4f", "--app", "harness", "-o", tmp_path / "p").exit_code == 0
    real = shutil.which
    monkeypatch.setattr(
        "shutil.which", lambda name, *rest, **more: None if "qemu" in name else real(name, *rest, **more)
    )
    _refused(_run("verify", tmp_path / "p", "--clips", clips, "--on", "emulator"), "qemu-system-arm")


def test_esp32_without_vendor_packages_says_so_at_once(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    monkeypatch.setattr("serq_mcu.build.platformio._registry_reachable", lambda: False)
    assert _run("export", model_file, "--board", "esp32", "--out", tmp_path / "p").exit_code == 0
    _refused(_run("build", tmp_path / "p"), "espressif32.*network")


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path, clips: Path) -> None:
    for command in (
        ("build", clips),
        ("flash", clips, "--port", "/dev/null"),
        ("monitor", clips),
        ("verify", clips, "--clips", clips),
    ):
        _refused(_run(*command), "not an exported project")


@pytest.mark.slow
def test_export_check_verify_with_a_hostile_class_name(tmp_path: Path) -> None:
    model = made_up_model((8, 2), (2, 4), labels=(HOSTILE, "calm"))
    for label in model.labels:
        (tmp_path / "clips" / label).mkdir(parents=True)
        _write(tmp_path / "clips" / label / "a.wav", _speech(), subtype="PCM_16")
    (tmp_path / "m.serq").write_bytes(model_bytes(model))
    words = ("--board", "esp32", "--app", "harness", "--out", tmp_path / "p")
    assert _run("export", tmp_path / "m.serq", *words).exit_code == 0
    verified = CliRunner().invoke(
        main, ["verify", str(tmp_path / "p"), "--clips", str(tmp_path / "clips"), "--json"]
    )
    assert verified.exit_code == 0, verified.output
    report = json.loads(verified.stdout)
    assert (report["differing_clips"], report["differing_integers"], report["clips"]) == (0, 0, 2)


@pytest.mark.slow(12)
def test_check_says_the_basis_of_each_figure_and_exits_by_the_fit(tmp_path: Path, model_file: Path) -> None:
    result = _run("check", model_file, "--board", "esp32", "--json")
    assert result.exit_code == 0
    items = json.loads(result.output)["items"]
    assert all(item["basis"] for item in items)
    assert any("linked with ESP-IDF" in item["basis"] for item in items)
    large = save_model(made_up_model((4096, 512, 2), (8, 8, 1)), tmp_path / "large.serq")
    seven = save_model(made_up_model((64, 2), (7, 7)), tmp_path / "seven.serq")
    kept = {
        storage: json.loads(_run("check", seven, "--board", "m0", "--storage", storage, "--json").output)
        for storage in ("compact", "fast")
    }
    assert [report["items"][0]["flash_bytes"] for report in kept.values()] == [
        24 * 64 * 7 // 8 + 64 * 2 * 7 // 8,
        24 * 64 + 64 * 2 * 7 // 8,
    ]
    assert kept["fast"]["rows"][-1]["instructions"] < kept["compact"]["rows"][-1]["instructions"]
    assert _run("export", seven, "--board", "m0", "--storage", "fast", "--out", tmp_path / "p").exit_code == 0
    assert "layout mul8" in (tmp_path / "p/lib/serq/src/serq_weights.h").read_text()
    result = _run("check", large, "--board", "m0")
    assert result.exit_code == 1
    assert "does not fit" in result.output


def test_boards_lists_all_with_json() -> None:
    names = {board["board"]["name"] for board in json.loads(_run("boards", "--json").output)}
    assert {
        "esp32",
        "esp32c3",
        "nucleo_f446re",
        "emulated-m0",
        "emulated-m4f",
        "emulated-m7",
        "emulated-rv32imc",
        "emulated-xtensa",
    } <= names
    assert "esp32c3" in _run("boards").output


def test_experiments_page_follows_its_results(tmp_path: Path) -> None:
    _refused(
        _run("experiment", "page", tmp_path / "none.csv", "--page", tmp_path / "p.md"), "holds no results"
    )
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    _refused(
        _run("experiment", "page", tmp_path / "other.csv", "--page", tmp_path / "p.md"), "not a results file"
    )
    assert not (tmp_path / "p.md").exists()


@pytest.mark.train
def test_experiments_run_refuses_what_it_cannot_run(clips: Path, tmp_path: Path) -> None:
    _refused(
        _run("experiment", "run", clips, "--plan", "none", "--results", tmp_path / "r.csv"),
        "there is no plan none",
    )
    _refused(
        _run("experiment", "run", clips, "--plan", "short", "--results", tmp_path / "r.csv"),
        "of which no folder was given",
    )


def test_quantize_takes_a_configuration_and_options_in_its_place(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[quantization]\nmethod = "3"\nmargin = 0.25\n[decision]\nblocks = 2\n')
    given = ("quantize", run_folder, "--out", tmp_path / "m.serq", "--config", tmp_path / "c.toml", "--json")
    for options, widths in ((), [3, 3]), (("--method", "2"), [2, 2]):
        made = json.loads(_run(*given, *options).stdout)
        assert (made["widths"], made["margin"]) == (widths, 0.25)
    model = load_model(tmp_path / "m.serq")
    assert model.decision is not None and model.decision.blocks == 2
    _refused(_run(*given, "--margin", "2"), "quantization.margin is 2.0; it must be a number from 0 to 1")
    (tmp_path / "c.toml").write_text("[training]\nseed = 1\n")
    _refused(_run(*given), r"\[training\] made the run")


def test_the_help_states_the_defaults_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    margin = load_config().quantization.margin
    assert f"[default: {margin:g}, or what the run's configuration says]" in _help("quantize")
    given = load_config().to_json()["quantization"]
    table = {"quantization": given | {"margin": 0.375}}
    monkeypatch.setattr("serq_mcu.base.validation.parse_toml", lambda *_: table)
    assert "[default: 0.375, or what the run's configuration says]" in _help("quantize")


def _help(command: str) -> str:
    return " ".join(_run(command, "--help").output.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-bytes", "100", "--max-cycles", "5", "--board", "esp32"], "each choose"),
        (["--max-cycles", "5"], "go together"),
        (["--board", "esp32"], "go together"),
        (["--max-bytes", "100", "--method", "2"], "each choose"),
        (["--max-bytes", "100"], "smallest model needs"),
    ],
)
def test_quantize_refuses_budgets_that_cannot_be(
    run_folder: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    _refused(_run("quantize", run_folder, "--out", tmp_path / "m.serq", *options), words)


@pytest.mark.train
@pytest.mark.parametrize(
    "options",
    [
        ["--max-bytes", "900"],
        ["--max-cycles", "9000", "--board", "nucleo_f446re"],
        ["--max-bytes", "900", "--no-qat"],
        ["--method", "1"],
        [],
    ],
)
def test_quantize_within_a_budget_and_fine_tuned(
    run_folder: Path, tmp_path: Path, options: list[str]
) -> None:
    report = json.loads(_run("quantize", run_folder, "--out", tmp_path / "m.serq", *options, "--json").stdout)
    assert (tmp_path / "m.serq").exists()
    assert report["fine_tuned"] == ("--no-qat" not in options)
    assert report["judges"] == (3 if report["fine_tuned"] and "--method" not in options else 1)
    if "--max-bytes" in options:
        assert report["weights_only_bytes"] <= float(options[1])
    if "--max-cycles" in options:
        assert report["budget"]["cost"] <= report["budget"]["most"] == float(options[1])
        assert report["budget"]["unit"].startswith("cycles on nucleo")


def test_firmware_that_the_run_did_not_give_is_refused_before_it_is_quantized(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serq_mcu.report.gather.quantize", lambda *_: pytest.fail("the work began"))
    export(shipped_model(), load_board("emulated-m0"), tmp_path / "fw")
    with pytest.raises(SerqError, match="holds a model that was not quantized from the run in"):
        gather(run_folder, corpus=tmp_path, firmware=tmp_path / "fw")


@pytest.mark.parametrize("command", ["check", "export", "library"])
def test_a_folder_may_have_the_name_of_a_model_that_ships(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the recordings that it was trained on."""
    monkeypatch.chdir(tmp_path)
    for name in ("emodb-small", "mine"):
        (tmp_path / name).mkdir()
    rest = ["--board", "emulated-m4f", *([] if command == "check" else ["--out", "out"])]
    rest += ["--kind", "header"] if command == "library" else []
    assert CliRunner().invoke(main, [command, "emodb-small", *rest]).exit_code == 0
    refused = CliRunner().invoke(main, [command, "mine", *rest])
    assert refused.exit_code == 1
    assert "mine is not a model file" in refused.stderr and "it is a folder" in refused.stderr
