"""Commands that are killed while they write lose nothing, and run again."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from serq_mcu.cli import main
from tests.support.kills import Killed, kill_at_every_step, run_whole

EXPORT = ("export", "--board", "emulated-m0", "--out")
LIBRARY = ("library", "--board", "emulated-m0", "--kind", "header", "--out")
SYNTHESISE = ("corpus", "synthesise", "--seconds", "1")
STEP = 9  # of how many steps one is tried; each was, with 1


@pytest.mark.slow(20)
@pytest.mark.parametrize("end", [Killed.SIGKILL, Killed.CTRL_C])
@pytest.mark.parametrize("words", [EXPORT, LIBRARY, SYNTHESISE], ids=["export", "library", "synthesise"])
def test_a_killed_command_leaves_the_old_output_or_the_new_and_runs_again(
    words: tuple[str, ...], end: Killed, tmp_path: Path
) -> None:
    if words is SYNTHESISE and importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("espeakng-loader is not installed")
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


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
