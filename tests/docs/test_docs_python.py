"""Every Python example of README and of the page of the Python interface runs and prints what the page says;
those of the how-to pages compile.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import serq_mcu
from serq_mcu import api
from serq_mcu.config import load_config
from serq_mcu.corpus.synthetic import synthesise
from tests.support.documented import PAGES, ROOT, Example, examples, masked

RUN = ("README.md", "docs/reference/python_api.md")
TRAINING = ("serq_mcu.train(", "serq_mcu.quantize(")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some clips of five classes."""
    return synthesise(tmp_path_factory.mktemp("examples") / "speech", 30)


@pytest.fixture
def folder(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has: recordings under the pages' names."""
    for name in ("clips", "emodb"):
        shutil.copytree(speech, tmp_path / name)
    shutil.copy(speech / "anger" / "de-m1_000.wav", tmp_path / "angry.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.needs("clang")
@pytest.mark.parametrize("page", RUN)
def test_examples_without_training_run(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = [example for example in examples(page) if not _trains(example)]
    assert chosen
    _run(chosen, capsys)


@pytest.mark.train
@pytest.mark.slow(20)
@pytest.mark.needs("clang")
@pytest.mark.parametrize("page", RUN)
def test_all_examples_run(
    page: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_little(monkeypatch)
    assert any(map(_trains, examples(page)))
    _run(examples(page), capsys)


@pytest.mark.train
@pytest.mark.slow(10)
@pytest.mark.needs("clang")
def test_the_notebook_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_little(monkeypatch)
    notebook = json.loads((ROOT / "examples" / "train_and_export.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    exec(compile("\n".join(cells), "train_and_export.ipynb", "exec"), {})
    said = capsys.readouterr().out
    assert "\n0 of " in said and "bits on average" in said and "held-out clips are right" in said
    assert (folder / "live" / "src" / "app.c").exists()


def _train_little(monkeypatch: pytest.MonkeyPatch) -> None:
    small = load_config().changed(
        training={"hidden": [16, 12], "max_epochs": 3, "presentations": 1, "folds": 2},
        augmentation={"versions": 1},
    )
    monkeypatch.setattr(api, "read_config", lambda path, preset: small)


@pytest.mark.parametrize("page", PAGES)
def test_examples_compile(page: str) -> None:
    for example in examples(page):
        compile(example.code, page, "exec")


def test_an_example_that_prints_something_else_fails(capsys: pytest.CaptureFixture[str]) -> None:
    _run([Example("print('a', 1)", ("a 2",))], capsys)  # figures may differ
    with pytest.raises(AssertionError):
        _run([Example("print('b', 1)", ("a 2",))], capsys)


def test_the_package_gives_what_the_interface_has() -> None:
    assert {*serq_mcu.__all__} == {*api.__all__, "__version__"} == {*dir(serq_mcu)}
    for name in api.__all__:
        assert getattr(serq_mcu, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = serq_mcu.nothing  # type: ignore[attr-defined]


def test_the_interface_is_documented() -> None:
    page = (ROOT / "docs/reference/python_api.md").read_text()
    for name in api.__all__:
        found = getattr(api, name)
        assert found.__doc__ and f"::: {found.__module__}.{name}\n" in page, name


def test_no_room_has_the_name_of_a_function() -> None:
    """Importing the room would put it in the function's place."""
    rooms = {path.stem for path in (ROOT / "serq_mcu").iterdir()}
    assert not rooms & set(api.__all__)


def test_importing_the_package_imports_no_room_of_it() -> None:
    names = "[name for name in sys.modules if name.startswith(('serq_mcu.', 'numpy'))]"
    assert _printed("import sys, serq_mcu", f"print({names})") == "['serq_mcu.version']"


def _printed(*lines: str) -> str:
    """What a fresh Python prints."""
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _trains(example: Example) -> bool:
    return any(call in example.code for call in TRAINING)


def _run(chosen: list[Example], capsys: pytest.CaptureFixture[str]) -> None:
    """Run the examples of a page in order, with the names of those before."""
    names: dict[str, object] = {}
    for example in chosen:
        exec(compile(example.code, "example", "exec"), names)
        printed = [masked(line) for line in capsys.readouterr().out.splitlines()]
        if example.printed:
            assert printed == [masked(line) for line in example.printed], example.code
