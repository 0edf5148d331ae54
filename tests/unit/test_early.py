"""What cannot be written is refused before the work, and what was computed is kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from serq_mcu.base.files import check_file, check_folder, kept_if_refused, write_file
from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import save_model, shipped_model
from serq_mcu.report.gather import gather
from tests.support.commands import commands
from tests.support.models import made_up_model

# their inputs are not there: what refuses the output first, did so before the work
FOLDERS = [
    ["train", "none", "--out", "OUT"],
    ["import-model", "none.keras", "--corpus", "none", "--labels", "a,b", "--out", "OUT"],
    ["report", "none", "--out", "OUT"],
]
FILES = [
    ["quantize", "none", "--out", "OUT"],
    ["classify", "none.wav", "--html", "OUT"],
    ["classify", "none.wav", "--svg", "OUT"],
    ["verify", "none", "--clips", "none", "--junit", "OUT"],
    ["verify", "none", "--clips", "none", "--baseline", "OUT", "--update-baseline"],
    ["robustness", "none", "--page", "OUT"],
    ["evaluate-streams", "none.serq", "--corpus", "none", "--page", "OUT"],
    ["frontend", "compare", "none", "--page", "OUT"],
    ["experiment", "run", "none", "--results", "OUT"],
]


def _refused(words: list[str], out: Path, match: str) -> None:
    said = CliRunner().invoke(main, [str(out) if word == "OUT" else word for word in words])
    assert said.exit_code == 1
    assert re.search(match, said.stderr), said.stderr


@pytest.mark.parametrize("words", FOLDERS, ids=" ".join)
def test_a_folder_is_refused_before_the_work(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("")
    (tmp_path / "link").symlink_to("theirs")
    for name in ("theirs", "link"):
        _refused(words, tmp_path / name, "was not made by serq-mcu")
    _refused(words, tmp_path / "theirs" / "file" / "x", "cannot write .*Not a directory")


@pytest.mark.parametrize("words", FILES, ids=" ".join)
def test_a_file_is_refused_before_the_work(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("target")
    _refused(words, tmp_path / "link", "is a link to target; name the file itself")
    full = SimpleNamespace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    _refused(words, tmp_path / "file", "cannot write .*No space left on device")


def test_every_option_that_names_an_output_file_is_checked() -> None:
    written = re.compile(r"\b[Ww]rite\b.* too|to write|[Dd]raw .* to this file|The same as a page")
    for path in commands(main):
        found: Any = main
        for name in path:
            found = found.commands[name]
        options = [option for option in found.params if isinstance(option, click.Option)]
        files = [
            option for option in options if isinstance(option.type, click.Path) and option.type.file_okay
        ]
        for option in files:
            checked = type(option.type).__name__ == "_NewFile"
            assert checked == bool(written.search(option.help or "")), (path, option.name)


def test_space_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = SimpleNamespace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: some)
    check_file(tmp_path / "f", 10**6)
    check_folder(tmp_path / "f", "mark", 10**6)
    for check in (
        lambda: check_file(tmp_path / "f", 10**6 + 1),
        lambda: check_folder(tmp_path / "a" / "f", "mark", 10**6 + 1),
    ):
        with pytest.raises(SerqError, match="No space left"):
            check()


def test_what_was_computed_is_kept_when_its_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(SerqError, match=r"^cannot write .*; what was made is in .*/m\.serq$") as refused:
        kept_if_refused(lambda path: write_file(path, "computed"), tmp_path / "file" / "m.serq")
    assert Path(str(refused.value).split("is in ")[1]).read_text() == "computed"


def test_firmware_of_another_model_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serq_mcu.report.gather.evaluate", lambda *_: pytest.fail("the work began"))
    file = save_model(made_up_model((2,), (2,)), tmp_path / "m.serq")
    export(shipped_model(), load_board("emulated-m0"), tmp_path / "fw")
    with pytest.raises(SerqError, match=r"fw holds model .*, and this is"):
        gather(file, corpus=tmp_path, firmware=tmp_path / "fw")


def test_a_place_for_clips_is_refused_before_anybody_speaks(tmp_path: Path) -> None:
    export(shipped_model(), load_board("esp32"), tmp_path / "fw", "capture")
    (tmp_path / "file").write_text("")
    words = ["record", str(tmp_path / "fw"), "--port", "/dev/none", "--label", "joy", "--out", "OUT"]
    _refused(words, tmp_path / "file" / "x", "cannot write .*Not a directory")
    _refused(words, tmp_path / "clips", "there is no port /dev/none")
