"""Generated projects: reviewed text, safe names, same bytes, and no way to lose work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from serq_mcu.base.csource import c_numbers, c_string
from serq_mcu.boards.board import Relative, all_boards, load_board
from serq_mcu.cli import main
from serq_mcu.codegen import plan as plan_module
from serq_mcu.codegen.export import APPS, export, read_project, retarget, runtime_files
from serq_mcu.codegen.plan import GENERATED, Plan
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError
from serq_mcu.layers.packing import Part
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.types import QuantizedModel
from tests.support import golden


@pytest.fixture
def model() -> QuantizedModel:
    return golden.deciding_model()


@pytest.mark.parametrize(
    ("macro", "smaller", "check"),
    [
        ("SERQ_ACTIVATIONS", 39, "input"),  # one byte less than the largest pair of layers needs
        ("SERQ_ACTIVATIONS", 24, "input"),
        ("SERQ_ACCUMULATORS", 15, "accumulators0"),
        ("SERQ_STATE_BYTES", 2920, "state"),
        ("SERQ_STREAM_BYTES", 3220, "stream"),
    ],
)
def test_a_buffer_of_the_wrong_size_does_not_compile(
    model: QuantizedModel, macro: str, smaller: int, check: str, tmp_path: Path
) -> None:
    """Whatever sized it: the generated C checks it against the layers themselves."""
    files = runtime_files() | Plan(model, load_board("esp32")).model_files
    for name, data in files.items():
        if name.startswith("lib/serq/src/"):
            (tmp_path / Path(name).name).write_bytes(data)
    header = tmp_path / "serq_model.h"
    defined = re.search(rf"#define {macro} (\d+)", header.read_text())
    assert defined is not None and int(defined[1]) > smaller

    def errors() -> str:
        command = ["gcc", "-std=c99", "-fsyntax-only", *sorted(path.name for path in tmp_path.glob("*.c"))]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr

    assert errors() == ""
    header.write_text(header.read_text().replace(defined[0], f"#define {macro} {smaller}"))
    assert f"serq_check_{check}" in errors()


def test_buffers_that_touch_each_other_do_not_compile(model: QuantizedModel, tmp_path: Path) -> None:
    plan = Plan(model, load_board("esp32"))
    assert plan.buffers.offsets[1] == 24
    files = runtime_files() | plan.model_files
    for name, data in files.items():
        if name.startswith("lib/serq/src/"):
            (tmp_path / Path(name).name).write_bytes(data)
    source = tmp_path / "serq_model.c"
    source.write_text(re.sub(r"(SERQ_CHECK_APART\(0, 21, 0, 16, )24\)", r"\g<1>16)", source.read_text()))
    command = ["gcc", "-std=c99", "-fsyntax-only", "serq_model.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "serq_check_apart0" in done.stderr


@pytest.mark.parametrize("name", golden.FILES)
@pytest.mark.parametrize("kind", golden.MODELS)
def test_the_order_of_calls_is_the_reviewed_one(kind: str, name: str) -> None:
    assert golden.generated(golden.MODELS[kind]())[name] == (golden.FOLDER / kind / name).read_text(), (
        "the generated text changed: run `python -m tests.support.golden` and review the difference"
    )


def test_two_exports_are_byte_identical(model: QuantizedModel, tmp_path: Path) -> None:
    first = export(model, load_board("esp32"), tmp_path / "a")
    second = export(load_model(save_model(model, tmp_path / "m.serq")), load_board("esp32"), tmp_path / "b")
    assert first.files == second.files
    for name in [*first.files, "serq.json"]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    found = {
        path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file()
    }
    assert found == {*first.files, "serq.json"}


@pytest.mark.parametrize("board", [board.name for board in all_boards()])
def test_every_board_exports_every_application_to_the_same_bytes(
    model: QuantizedModel, board: str, tmp_path: Path
) -> None:
    for app in APPS:
        project = export(model, load_board(board), tmp_path / app, app=app)
        first = {name: (tmp_path / app / name).read_bytes() for name in project.files}
        assert (project.board, project.app, project.changed()) == (board, app, [])
        assert project.added() == (
            ["src/app.c"] if app == "live" else []
        )  # written once, then the user's own
        assert {
            "platformio.ini",
            "src/main.c",
            "src/serq_board.h",
            "lib/serq/src/serq.h",
            "model.serq",
            "README.md",
        } <= set(first)
        again = export(model, load_board(board), tmp_path / "again", app=app)
        assert {name: (tmp_path / "again" / name).read_bytes() for name in again.files} == first
        assert again.added() == project.added()  # an untouched first version goes with its application


def test_a_real_board_runs_the_very_c_of_its_emulated_relative(model: QuantizedModel) -> None:
    """So what is bit for bit on the relative (tests/emulated/test_firmware.py) is the same text, compiled
    for the same instruction set or the nearest.
    """
    for board in all_boards():
        if isinstance(board.emulator, Relative):
            assert (
                Plan(model, board).model_files == Plan(model, load_board(board.emulator.relative)).model_files
            ), board.name


def test_a_hostile_class_name_is_only_ever_a_string(model: QuantizedModel) -> None:
    for name, data in Plan(model, load_board("esp32")).model_files.items():
        if name.endswith((".c", ".h")):
            assert golden.HOSTILE.encode() not in data
    assert c_string(golden.HOSTILE) == r'"\042\073 \175 int x \075 0\073"'
    assert c_string("日") == r'"\346\227\245"'


def test_numbers_survive_their_lines() -> None:
    values = np.random.default_rng(0).integers(-(2**31) + 1, 2**31, 500)
    text = c_numbers(values)
    assert [int(item) for item in text.replace("\n", " ").split(",") if item.strip()] == values.tolist()
    assert max(map(len, text.splitlines())) <= 120


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("serq_model.h.j2")


def test_changed_and_added_files_are_not_lost(model: QuantizedModel, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    export(model, load_board("esp32"), folder)
    export(model, load_board("nucleo_f446re"), folder)  # untouched: replaced
    (folder / ".pio").mkdir()
    (folder / ".pio" / "x.o").write_bytes(b"x")
    export(model, load_board("esp32"), folder)  # a build's traces do not count
    (folder / "src" / "main.c").write_text("mine")
    with pytest.raises(SerqError, match=r"src/main\.c.*--force"):
        export(model, load_board("esp32"), folder)
    assert (folder / "src" / "main.c").read_text() == "mine"
    export(model, load_board("esp32"), folder, force=True)
    (folder / "notes.txt").write_text("mine")
    export(model, load_board("esp32"), folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "src" / "port_semihosting.c").write_text("mine")  # a name of the next export
    with pytest.raises(SerqError, match=r"port_semihosting\.c.*--force"):
        export(model, load_board("emulated-m0"), folder)
    assert (folder / "src" / "port_semihosting.c").read_text() == "mine"


def test_a_foreign_folder_is_left_alone(model: QuantizedModel, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    for force in (False, True):
        with pytest.raises(SerqError, match="choose another folder"):
            export(model, load_board("esp32"), tmp_path / "home", force=force)
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


def test_retarget_keeps_the_very_same_c(model: QuantizedModel, tmp_path: Path) -> None:
    project = export(model, load_board("esp32"), tmp_path / "p")
    (tmp_path / "p" / "lib/serq/src/serq_network.c").write_text("changed by hand")
    moved = retarget(project, load_board("emulated-m4f"), tmp_path / "q")
    assert (tmp_path / "q" / "lib/serq/src/serq_network.c").read_text() == "changed by hand"
    assert moved.board == "emulated-m4f"
    assert "src/port_semihosting.c" in moved.files
    assert "src/port_esp32.c" not in moved.files


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"files": 3}',
        json.dumps({"board": "x", "identity": "y", "abi": 1, "files": {"../../etc/passwd": "0"}}),
    ],
)
def test_a_damaged_manifest_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "serq.json").write_text(content)
    with pytest.raises(SerqError, match="damaged"):
        read_project(tmp_path)


def test_export_loads_nothing_heavy(model: QuantizedModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.serq")
    code = (
        f"import sys; from serq_mcu.cli import main\nmain(['export', {str(tmp_path / 'm.serq')!r}, '--board',"
        f" 'esp32', '--out', {str(tmp_path / 'p')!r}], standalone_mode=False)\nheavy = {{'tensorflow',"
        " 'tf_keras', 'keras', 'librosa', 'sklearn', 'scipy', 'matplotlib', 'platformio', 'numba'} &"
        " set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read_project(tmp_path / "p").board == "esp32"


def test_an_export_packs_and_generates_a_model_once(
    model: QuantizedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the command says of sizes, costs and time comes of the same plan as the files."""
    done: list[tuple[str, object]] = []

    def count(owner: type | ModuleType, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            done.append((name, arguments[0]))
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    count(Part, "pack")
    count(plan_module, "pack_scale")
    count(plan_module, "render")
    path, folder = save_model(model, tmp_path / "m.serq"), tmp_path / "project"
    result = CliRunner().invoke(main, ["export", str(path), "--board", "esp32", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    parts = [part for parts in Plan(model, load_board("esp32")).parts for part in parts]
    assert [what for name, what in done if name == "pack"] == parts
    assert len([name for name, _ in done if name == "pack_scale"]) == 1
    assert sorted(str(what) for name, what in done if name == "render") == sorted(
        f"{name}.j2" for name in GENERATED
    )
