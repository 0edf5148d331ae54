"""A chip family from outside the package: registered, or brought by a board file, and bit-exact in QEMU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.base import resources
from serq_mcu.boards import board as boards
from serq_mcu.boards.board import Board, load_board
from serq_mcu.boards.family import FAMILIES
from serq_mcu.build import platformio
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.extension import register_boards, register_family
from serq_mcu.quantized_model.streaming import stream_decisions
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.models import SMALL_SPEC, made_up_model
from tests.support.streaming import with_speech_rule

TOY = Path(__file__).parents[1] / "support" / "toy_family"
MODEL = made_up_model((16, 5), (4, 3), spec=with_speech_rule(SMALL_SPEC), unsure_margin=40)
PCM = np.random.default_rng(5).integers(-20000, 20000, 6000).astype(np.int16)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy family and its boards, registered as a script would."""
    monkeypatch.setattr(boards, "_registered", {})
    register_family(TOY)
    register_boards(TOY / "boards")
    yield
    FAMILIES.remove("toyhost")


@pytest.fixture
def own_board(tmp_path: Path) -> Path:
    """A board file that brings its port and its audio driver."""
    text = (TOY / "boards" / "toy_m0.toml").read_text()
    for old, new in (
        ('family = "toyhost"', 'family = "mine"\nsource = "my_port.c" # my own'),
        ('driver = "toyhost"', 'driver = "mine"\nsource = "drivers/my_audio.c"'),
    ):
        assert old in text
        text = text.replace(old, new)
    folder = tmp_path / "own"
    (folder / "drivers").mkdir(parents=True)
    shutil.copy(TOY / "port_toyhost.c", folder / "my_port.c")
    shutil.copy(TOY / "audio_toyhost_line.c", folder / "drivers" / "my_audio.c")
    (folder / "toy.toml").write_text(text)
    return folder / "toy.toml"


def _verify(board: Board, folder: Path) -> None:
    project = export(MODEL, board, folder)
    with open_target(project, "emulator", allow_changes=True) as target:  # the board's own port is trusted
        report = verify(MODEL, [Recording("noise", PCM)], target)
    assert report.ok and report.compared_integers > 10_000, report_lines(report)


def _listen(board: Board, folder: Path) -> None:
    export(MODEL, board, folder, app="live")
    done = subprocess.run(
        platformio.emulator_command(board, platformio.build(folder).elf),
        input=PCM.tobytes(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    found = [json.loads(line)["scores"] for line in done.stdout.decode().splitlines()[1:]]
    assert found == [list(decision.scores) for decision in stream_decisions(MODEL, PCM)] != []


def _ports(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("src/*_*.c") if path.name.startswith(("port_", "audio_"))}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", ["toy_m0", "toy_rv32"])
def test_a_registered_family_is_bit_exact_on_its_boards(name: str, tmp_path: Path) -> None:
    _verify(load_board(name), tmp_path / "p")
    assert _ports(tmp_path / "p") == {"port_toyhost.c"}


@pytest.mark.usefixtures("registered")
def test_a_registered_family_listens_through_its_own_driver(tmp_path: Path) -> None:
    _listen(load_board("toy_rv32"), tmp_path / "p")
    assert _ports(tmp_path / "p") == {"port_toyhost.c", "audio_toyhost_line.c"}


def test_a_board_file_that_brings_its_port_is_bit_exact(own_board: Path, tmp_path: Path) -> None:
    _verify(load_board(str(own_board)), tmp_path / "p")
    assert _ports(tmp_path / "p") == {"port_mine.c"}


def test_a_project_keeps_what_its_board_file_brought(own_board: Path, tmp_path: Path) -> None:
    """The board file in a project names the copies there, so a project's board can be exported again."""
    export(MODEL, load_board(str(own_board)), tmp_path / "harness")
    shutil.rmtree(own_board.parent)
    kept = load_board(str(tmp_path / "harness" / "board.toml"))
    assert (kept.port.source, kept.audio.source) == ("src/port_mine.c", "audio_mine_line.c")
    assert "# my own" in kept.toml
    again = export(MODEL, kept, tmp_path / "again")
    assert again.files == export(MODEL, kept, tmp_path / "harness").files
    _listen(kept, tmp_path / "live")
    back = load_board(str(tmp_path / "live" / "board.toml"))
    assert export(MODEL, back, tmp_path / "back").files == again.files


def test_a_port_that_does_not_compile_is_named_in_one_sentence(own_board: Path, tmp_path: Path) -> None:
    port = own_board.parent / "my_port.c"
    port.write_text(port.read_text() + "\nint broken(void) { return nothing; }\n")
    export(MODEL, load_board(str(own_board)), tmp_path / "p")
    with pytest.raises(
        SerqError, match=r"src/port_mine\.c:\d+:\d+: error: .*nothing.*; .*build\.log"
    ) as caught:
        platformio.build(tmp_path / "p")
    assert "\n" not in str(caught.value)


def test_an_installed_package_adds_its_family_and_boards_through_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "toy_extension.py").write_text(
        "from pathlib import Path\n"
        "from serq_mcu.extension import register_boards, register_family\n\n"
        "def register():\n"
        f"    register_family(Path({str(TOY)!r}))\n"
        f"    register_boards(Path({str(TOY)!r}) / 'boards')\n"
    )
    info = tmp_path / "toy_extension-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-extension\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[serq_mcu]\ntoy = toy_extension:register\n")
    environment = os.environ | {"PYTHONPATH": f"{resources.BOARDS.parent}{os.pathsep}{tmp_path}"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "serq_mcu", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert "toy_m0" in run("boards").stdout
    done = run("export", "--board", "Toy M0", "--out", str(tmp_path / "p"))
    assert done.returncode == 0 and (tmp_path / "p/src/port_toyhost.c").is_file(), done.stderr
    (info / "entry_points.txt").write_text(
        "[serq_mcu]\ntoy = toy_extension:register\nlater = toy_extension:register\n"
    )
    refused = run("boards")
    assert refused.returncode != 0
    assert "extension later" in refused.stderr.replace("\n", " ") and "toyhost" in refused.stderr
