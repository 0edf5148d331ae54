"""The workflows are what their hosts understand, and the action's steps do what its inputs say: run here
as a runner would run them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.corpus.synthetic import synthesise
from serq_mcu.quantized_model.store import save_model, shipped_model
from serq_mcu.verification.baseline import save_baseline
from serq_mcu.verification.verify import verify_project
from tests.support.documented import TextFile, shown

ROOT = Path(__file__).parents[2]
WORKFLOWS = (
    ROOT / ".github/workflows/ci.yml",
    ROOT / "examples/regression_tests/.github/workflows/firmware.yml",
)
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
HOW_TO = "docs/howto/keep_a_regression_test.md"


def test_workflows_and_action_are_valid() -> None:
    for schema, files in (
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.github-actions", [ROOT / "action.yml"]),
    ):
        checked = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files],
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stdout
    assert "bash .ci/run" in WORKFLOWS[0].read_text()
    matrix = yaml.safe_load(WORKFLOWS[0].read_text())["jobs"]["smoke"]["strategy"]["matrix"]
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert matrix["python"] == classifiers and {name.split("-")[0] for name in matrix["os"]} == {
        "ubuntu",
        "macos",
        "windows",
    }


def test_the_how_to_page_names_the_actions_inputs(tmp_path: Path) -> None:
    (example,) = (item for item in shown(HOW_TO) if isinstance(item, TextFile) and item.name.endswith(".yml"))
    (tmp_path / "firmware.yml").write_text(example.text)
    checked = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        str(tmp_path / "firmware.yml"),
    ]
    assert subprocess.run(checked, capture_output=True).returncode == 0
    used = yaml.safe_load(example.text)["jobs"]["verify"]["steps"][-1]["with"]
    assert {str(key).replace("True", "on") for key in used} <= set(ACTION["inputs"])
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) ?\|$", (ROOT / HOW_TO).read_text(), re.M))
    defaults = {
        name: "required" if value.get("required") else f"`{value['default']}`" * bool(value["default"])
        for name, value in ACTION["inputs"].items()
    }
    assert {name: rows[name].strip() for name in defaults} == defaults


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a user's repository has, under names with spaces, and how the action is called."""
    folder = tmp_path_factory.mktemp("a repository")
    speech, model = synthesise(folder / "speech", 5), save_model(shipped_model(), folder / "model.serq")
    project, baseline = folder / "p", folder / "baseline.json"
    export(shipped_model(), load_board("esp32"), project)
    save_baseline(baseline, verify_project(project, speech, "host", 5))
    return {"model": str(model), "clips": str(speech), "baseline": str(baseline), "count": "5"}


@pytest.mark.slow(7)
@pytest.mark.parametrize("worse", [False, True])
def test_the_actions_steps_verify_and_show(given: dict[str, str], tmp_path: Path, worse: bool) -> None:
    if worse:  # every clip was answered rightly once
        value = json.loads(Path(given["baseline"]).read_text())
        better = value | {"answers": {clip: [label, label] for clip, (label, _) in value["answers"].items()}}
        (tmp_path / "better.json").write_text(json.dumps(better))
        given = given | {"baseline": str(tmp_path / "better.json")}
    codes = _act(tmp_path, given)
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert Path(outputs["junit"]).read_text().startswith("<?xml")
    assert (tmp_path / "summary").read_text() == Path(outputs["markdown"]).read_text() != ""
    assert codes == {"verify": int(worse), "show": 0}, outputs


def _act(folder: Path, given: dict[str, str]) -> dict[str, int]:
    """The exit code of each step of the action that runs a script, but for the installation."""
    inputs = {name: given.get(name, value.get("default", "")) for name, value in ACTION["inputs"].items()}
    codes = {}
    for step in ACTION["runs"]["steps"]:
        if step.get("id") in (None, "install"):
            continue
        names = {
            name: re.sub(r"\$\{\{ (.*?) \}\}", lambda match: _value(match[1], inputs, folder), text)
            for name, text in step["env"].items()
        }
        files = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
        codes[step["id"]] = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]], cwd=folder, env=_environment() | files | names
        ).returncode
    return codes


def _value(expression: str, inputs: dict[str, str], folder: Path) -> str:
    return str(folder / "temp") if expression == "runner.temp" else inputs[expression.removeprefix("inputs.")]


def _environment() -> dict[str, str]:
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
