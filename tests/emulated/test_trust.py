"""Somebody else's project: nothing that it brought runs in verify, bench, report, flash, listen and live."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio
from serq_mcu.cli import main
from serq_mcu.codegen.export import MANIFEST, Project, export, read_project
from serq_mcu.codegen.trust import buildable, changes
from serq_mcu.errors import SerqError
from tests.support.models import made_up_model

pytestmark = [pytest.mark.emulator]
MODEL = made_up_model([6, 3], [4, 8], labels=("anger", "fear", "joy"))
BOARD = "emulated-m4f"


def _script(mark: Path) -> str:
    return f"open({str(mark)!r}, 'a').write('ran\\n')\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _extra_script(folder: Path, mark: Path) -> None:
    _write(folder / "evil.py", _script(mark))
    _append(folder / "platformio.ini", "\nextra_scripts = pre:evil.py\n")


def _post_script(folder: Path, mark: Path) -> None:
    _write(folder / "evil.py", _script(mark))
    _append(folder / "platformio.ini", "\nextra_scripts = post:evil.py\n")


def _build_flags(folder: Path, mark: Path) -> None:
    ini = folder / "platformio.ini"
    ini.write_text(ini.read_text().replace("build_flags =", f"build_flags =\n  !echo ran >> {mark}", 1))


def _more_configuration(folder: Path, mark: Path) -> None:
    _write(folder / "more.ini", f"[env:{BOARD}]\nextra_scripts = pre:evil.py\n")
    _write(folder / "evil.py", _script(mark))
    ini = folder / "platformio.ini"
    ini.write_text(ini.read_text().replace("[platformio]", "[platformio]\nextra_configs = more.ini", 1))


def _library_script(folder: Path, mark: Path) -> None:
    _write(folder / "lib/serq/evil.py", _script(mark))
    manifest = folder / "lib/serq/library.json"
    content = json.loads(manifest.read_text())
    content.setdefault("build", {})["extraScript"] = "evil.py"
    manifest.write_text(json.dumps(content))


def _library(place: Path, mark: Path) -> None:
    """Make a library that every file wants which includes string.h."""
    _write(place / "evil.py", _script(mark))
    _write(place / "library.json", json.dumps({"name": "zz", "build": {"extraScript": "evil.py"}}))
    _write(place / "src/string.h", "#include_next <string.h>\n")


def _added_library(folder: Path, mark: Path) -> None:
    _library(folder / "lib/zz", mark)


def _linked_library(folder: Path, mark: Path) -> None:
    _added_library(folder, mark)
    (folder / "lib/zz").rename(folder.parent / "elsewhere")
    (folder / "lib/zz").symlink_to(folder.parent / "elsewhere")


def _platform(folder: Path, mark: Path) -> None:
    builder = next(folder.glob("platforms/*/builder/main.py"))
    builder.write_text(_script(mark) + builder.read_text())


def _platform_class(folder: Path, mark: Path) -> None:
    module = next(folder.glob("platforms/*/platform.py"))
    module.write_text(_script(mark) + module.read_text())


class _Pickled:
    """What a pickle runs when it is read."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"(open({self._mark!r}, 'a').write('ran'), {{}})[1]",)


def _state_of_a_build(folder: Path, mark: Path) -> None:
    """In PlatformIO's own folder, which an export takes for a build's: SCons keeps its state as pickles."""
    platformio.build(folder)
    (state,) = (folder / ".pio/build" / BOARD).glob(".sconsign*.dblite")
    state.write_bytes(pickle.dumps(_Pickled(mark)))


def _code(folder: Path, mark: Path) -> None:
    main_c = folder / "src/main.c"
    code = (
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "static void evil(void) __attribute__((constructor));\n"
        f'static void evil(void) {{ FILE *f = fopen("{mark}", "a"); if (f) fclose(f); }}\n'
    )
    main_c.write_text(code + main_c.read_text())


def _log(folder: Path, mark: Path) -> None:
    (folder / "build.log").symlink_to(mark)


TRICKS: dict[str, Callable[[Path, Path], None]] = {
    name.strip("_").replace("_", " "): trick
    for name, trick in list(globals().items())
    if callable(trick) and getattr(trick, "__annotations__", {}).keys() == {"folder", "mark", "return"}
}  # all functions above of a folder and a mark
UNSEEN = {"state of a build", "log"}  # a build's own place, where nothing is refused and nothing is used


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trust")
    for app in ("harness", "live"):
        export(MODEL, load_board(BOARD), folder / app, app)
    for label in MODEL.labels:
        path = folder / "clips" / label / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.random.default_rng(0).integers(-9000, 9000, 1500).astype(np.int16), 16000)
    (folder / "model.serq").write_bytes((folder / "harness" / "model.serq").read_bytes())
    return {path.name: path for path in folder.iterdir()}


def _commands(projects: dict[str, Path], folder: Path, live: Path) -> list[list[str]]:
    clips = str(projects["clips"])
    report = ["report", str(projects["model.serq"]), "--corpus", clips, "--out", str(folder.parent / "page")]
    clip = str(projects["clips"] / "joy" / "a.wav")
    return [
        ["verify", str(folder), "--clips", clips],
        ["verify", str(folder), "--clips", clips, "--on", "emulator"],
        ["bench", str(folder)],
        [*report, "--firmware", str(folder)],
        [*report, "--firmware", str(folder), "--on", "emulator"],
        ["listen", str(live), clip],
        ["live", str(live), "--clip", clip, "--count", "1"],
    ]


@pytest.mark.parametrize("trick", sorted(TRICKS.keys() - UNSEEN))
def test_a_project_with_other_code_is_refused_and_nothing_of_it_runs(
    trick: str, projects: dict[str, Path], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    for app in ("harness", "live"):
        shutil.copytree(projects[app], tmp_path / app / "project")
        TRICKS[trick](tmp_path / app / "project", mark)
    for command in _commands(projects, tmp_path / "harness" / "project", tmp_path / "live" / "project"):
        done = CliRunner().invoke(main, [*command, "-q"])
        assert (done.exit_code, done.stdout) == (1, ""), (command, done.output)
        assert "is not what its model and board give (" in done.stderr, (command, done.output)
        assert "--allow-changes" in done.stderr
        assert "\n" not in done.stderr.strip()
    assert not mark.exists()
    assert not list(tmp_path.rglob("*.elf"))


@pytest.mark.parametrize(("trick", "command"), [("extra script", ["--on", "emulator"]), ("code", [])])
def test_these_tricks_do_run_where_the_user_allows_it(
    trick: str, command: list[str], projects: dict[str, Path], tmp_path: Path
) -> None:
    """Else the test above could not fail."""
    mark, folder = tmp_path / "mark", tmp_path / "project"
    shutil.copytree(projects["harness"], folder)
    TRICKS[trick](folder, mark)
    verify = ["verify", str(folder), "--clips", str(projects["clips"]), "-q", *command]
    done = CliRunner().invoke(main, [*verify, "--allow-changes"])
    assert done.exit_code == 0, done.output
    assert mark.exists()


def test_a_builds_own_state_is_as_if_it_were_not_there(projects: dict[str, Path], tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "project"
    shutil.copytree(projects["harness"], folder)
    _state_of_a_build(folder, mark)
    verify = ["verify", str(folder), "--clips", str(projects["clips"]), "-q", "--on", "emulator"]
    assert CliRunner().invoke(main, verify).exit_code == 0
    assert not mark.exists()


def test_a_linked_log_is_refused_and_not_written_through(projects: dict[str, Path], tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "project"
    precious.write_text("mine")
    shutil.copytree(projects["harness"], folder)
    _log(folder, precious)
    with pytest.raises(SerqError, match=r"build\.log is a link to"):
        platformio.build(folder)
    done = CliRunner().invoke(main, ["bench", str(folder), "-q"])
    assert done.exit_code == 1 and "build.log is a link to" in done.stderr
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("allow", [False, True])
def test_what_is_flashed_is_exported_again(
    allow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = export(MODEL, load_board("esp32"), tmp_path / "project")
    built: list[Path] = []

    def build(folder: Path, *_: object) -> None:
        built.append(folder)
        (folder / ".pio" / "build").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(platformio, "build", build)

    def upload(_: object, folder: Path, log: Path, *__: object) -> Path:
        built.append(folder)
        return log

    monkeypatch.setattr(platformio, "_run", upload)
    assert platformio.flash(project.folder, allow_changes=allow) == project.folder / "build.log"
    assert [folder == project.folder for folder in built] == [allow, allow]
    _extra_script(project.folder, tmp_path / "mark")
    if allow:
        platformio.flash(project.folder, allow_changes=True)
        return
    with pytest.raises(SerqError, match=r"not what its model and board give \(platformio\.ini\)"):
        platformio.flash(project.folder)
    assert len(built) == 2


def _changed_board(folder: Path, old: str, new: str) -> Project:
    """Export a project with another board file, as somebody may who knows how."""
    project = export(MODEL, load_board("esp32"), folder)
    text = (folder / "board.toml").read_text()
    assert old in text
    (folder / "board.toml").write_text(text.replace(old, new, 1))
    return project


def test_a_platform_that_no_board_of_ours_has_is_refused(tmp_path: Path) -> None:
    project = _changed_board(tmp_path / "project", 'platform = "espressif32@', 'platform = "evil@')
    with pytest.raises(SerqError, match=r"board\.toml brings PlatformIO's platform evil@.* --allow-changes"):
        changes(project)
    with buildable(project, allow_changes=True) as own:
        assert own is project


def test_an_emulated_boards_own_port_is_refused(tmp_path: Path) -> None:
    project = export(MODEL, load_board(BOARD), tmp_path / "project")
    text = (tmp_path / "project" / "board.toml").read_text()
    port = (tmp_path / "project" / "src" / "port_semihosting.c").read_text()
    (tmp_path / "project" / "src" / "port_evil.c").write_text(port)
    ours = 'family = "semihosting"'
    assert ours in text
    text = text.replace(ours, 'family = "evil"\nsource = "src/port_evil.c"')
    (tmp_path / "project" / "board.toml").write_text(text)
    with pytest.raises(SerqError, match=r"brings the port src/port_evil\.c of an emulated board"):
        changes(project)


def test_what_no_build_reads_may_differ(projects: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(projects["harness"], folder)
    (folder / "README.md").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    (folder / ".pio").mkdir()
    (folder / ".pio" / "x").write_text("built")
    assert changes(read_project(folder)) == []
    (folder / "src" / "more.c").write_text("int more;")
    (folder / "lib" / "link").symlink_to("/")
    (folder / "src" / "main.c").unlink()
    os.mkfifo(folder / "src" / "main.c")
    assert changes(read_project(folder)) == ["src/main.c", "lib/link", "src/more.c"]
    (folder / "src" / "main.c").unlink()
    with (folder / "src" / "main.c").open("wb") as file:
        file.truncate(2**40)  # a hole: reading it would take hours
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(content | {"files": {}}))  # it says nothing of what is there
    assert changes(read_project(folder)) == ["src/main.c", "lib/link", "src/more.c"]
