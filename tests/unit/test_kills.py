"""Commands that are killed while they write lose nothing, and run again."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import soundfile

from serq_mcu.base.resources import MODELS
from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.quantized_model.store import shipped_model
from tests.fuzz.kills import COMMANDS, attempt, prepare
from tests.fuzz.kills import places as kill_places
from tests.support.commands import commands
from tests.support.kills import Killed, kill_at_every_step, run_whole
from tests.support.streaming import quiet_and_loud
from tests.support.tools import absent

EXPORT = ("export", "--board", "emulated-m0", "--out")
LIBRARY = ("library", "--board", "emulated-m0", "--kind", "header", "--out")
SYNTHESISE = ("corpus", "synthesise", "--seconds", "1")
REPORT = ("report", str(MODELS / "emodb-small.serq"), "--out")
STEP = 9  # of how many steps one is tried
FILES = {  # words before the file to write, and of how many steps one is tried: verify compiles each time
    ("classify", "CLIP", "--html"): 2,
    ("classify", "CLIP", "--svg"): 2,
    ("verify", "PROJECT", "--clips", "CLIPS", "--on", "host", "--update-baseline", "--baseline"): 20,
}


@pytest.mark.slow(20)
@pytest.mark.parametrize("end", [Killed.SIGKILL, Killed.CTRL_C])
@pytest.mark.parametrize(
    "words", [EXPORT, LIBRARY, SYNTHESISE, REPORT], ids=["export", "library", "synthesise", "report"]
)
def test_a_killed_command_leaves_the_old_output_or_the_new_and_runs_again(
    words: tuple[str, ...], end: Killed, tmp_path: Path
) -> None:
    if words is SYNTHESISE and importlib.util.find_spec("espeakng_loader") is None:
        absent("espeakng-loader is not installed")
    out = tmp_path / "out"

    def run() -> None:
        main([*words, str(out), "-q"])

    def build() -> None:
        (out / "build").mkdir()
        for number in range(20):
            (out / "build" / f"{number}.o").write_text("old")

    run_whole(run)
    whole = _files(out)
    build()
    old = _files(out)

    def check(step: int) -> None:
        assert _files(out) in (old, whole), step
        run_whole(run)
        assert _files(out) == whole, step
        assert [path.name for path in tmp_path.iterdir()] == ["out"], step
        build()

    assert kill_at_every_step(run, end, check, within=tmp_path, every=STEP) > 3


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A recording, a folder of them and a project, for the words of the same names."""
    folder = tmp_path_factory.mktemp("places")
    for label in ("fear", "anger"):
        (folder / "clips" / label).mkdir(parents=True)
        clip = folder / "clips" / label / "a.wav"
        soundfile.write(clip, quiet_and_loud(shipped_model().spec, len(label)), 16000, subtype="PCM_16")
    export(shipped_model(), load_board("emulated-m0"), folder / "project")
    return {"CLIP": str(clip), "CLIPS": str(folder / "clips"), "PROJECT": str(folder / "project")}


@pytest.mark.slow(30)
@pytest.mark.parametrize("end", [Killed.SIGKILL, Killed.CTRL_C])
@pytest.mark.parametrize("words", FILES, ids=" ".join)
def test_a_killed_command_leaves_the_old_file_or_the_new_and_runs_again(
    words: tuple[str, ...], end: Killed, tmp_path: Path, places: dict[str, str]
) -> None:
    out = tmp_path / "out"

    def run() -> None:
        main([*(places.get(word, word) for word in words), str(out), "-q"])

    run_whole(run)
    assert out.stat().st_size > 4
    out.write_text("old")

    def check(step: int) -> None:
        assert (out.read_text() == "old") or out.stat().st_size > 4, step
        run_whole(run)
        assert out.stat().st_size > 4, step
        assert [path.name for path in tmp_path.iterdir()] == ["out"], step
        out.write_text("old")

    assert kill_at_every_step(run, end, check, within=tmp_path, every=FILES[words]) > 2


ONCE = ["corpus fetch", "corpus check --table", "record", "import-model", "quantize"]


@pytest.mark.slow(14)
@pytest.mark.train
def test_commands_that_take_longer_lose_nothing_either() -> None:
    """Once each; `python -m tests.fuzz.kills` kills all commands often."""
    chosen = [command for command in COMMANDS if command.name in ONCE]
    assert len(chosen) == len(ONCE)
    with kill_places() as place:
        prepare(place, chosen)
        for command in chosen:
            found = attempt(command, place, 1, pytest.fail)
            assert (found.kills, found.lost, found.refused, found.left) == (1, 0, 0, 0), command.name


def test_every_output_of_every_command_is_killed() -> None:
    outputs = set()
    for path in commands(main):
        found: Any = main
        for name in path:
            found = found.commands[name]
        for option in found.params:
            if type(option.type).__name__ == "_NewFile" or "--out" in option.opts:
                outputs.add(" ".join(path if "--out" in option.opts else (*path, option.opts[0])))
    killed = {command.name for command in COMMANDS}
    # another name of import-model; and what needs a vendor's build, which test_web.py kills without one
    assert outputs - {"import-keras", "flash"} <= killed


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
