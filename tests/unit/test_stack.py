"""The stack that an application needs, from graphs of calls as GCC writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.stack import INTERRUPT, UNKNOWN, deepest_stack
from serq_mcu.errors import SerqError
from tests.support.models import made_up_model
from tests.support.tools import needs

MODEL = made_up_model([6, 3], [4, 8])


def _graph(sizes: dict[str, int | str], calls: list[tuple[str, str]]) -> str:
    nodes = [
        f'node: {{ title: "{n}" label: "{n}\\na.c:1:1\\n{s} bytes (static)" }}' for n, s in sizes.items()
    ]
    edges = [f'edge: {{ sourcename: "{a}" targetname: "{b}" label: "a.c:2:3" }}' for a, b in calls]
    return "\n".join(['graph: { title: "a.c"', *nodes, *edges, "}"])


def test_the_deepest_path_counts_and_an_interrupt_on_top_of_it() -> None:
    own = _graph(
        {"main": 16, "left": 100, "right": 40, "callback": 8},
        [("main", "left"), ("main", "right"), ("right", "deep"), ("callback", "deep")],
    )
    library = _graph({"deep": 200, "never": 4000}, [("deep", "memcpy")])
    deep = 200 + UNKNOWN
    assert deepest_stack([own], [library]) == 16 + 40 + deep + INTERRUPT + 8 + deep


def test_assembly_in_c_counts_as_unknown() -> None:
    assert (
        deepest_stack([_graph({"main": 8, "naked": 0}, [("main", "naked")])], []) == 8 + UNKNOWN + INTERRUPT
    )


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (_graph({"main": 8, "f": 8}, [("main", "f"), ("f", "main")]), "main calls f calls main"),
        (_graph({"main": 8}, [("main", "__indirect_call")]), "main calls __indirect_call"),
        (_graph({"main": 8}, []).replace("(static)", "(dynamic)"), r"main is not known before it runs"),
    ],
)
def test_what_has_no_bound_is_refused(graph: str, said: str) -> None:
    with pytest.raises(SerqError, match=said):
        deepest_stack([graph], [])


@pytest.mark.parametrize("app", ["harness", "live"])
@needs("arm-none-eabi-gcc")
def test_each_application_states_its_own_stack_by_the_compilers_figures(app: str) -> None:
    stated = budget(Plan(MODEL, load_board("emulated-m0"), app))
    item = next(item for item in stated.items if item.name == "stack")
    assert f"{app} needs {stated.stack} at most, by the compiler's figures" in item.basis
    assert 500 < stated.stack < 1536


@needs("arm-none-eabi-gcc")
def test_a_board_with_too_little_stack_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    board = load_board("emulated-m0")
    (tmp_path / "small.toml").write_text(board.toml.replace("stack_bytes = 1_024", "stack_bytes = 512"))
    words = ["--board", str(tmp_path / "small.toml"), "--app", "harness"]
    done = CliRunner().invoke(main, ["export", "emodb-small", *words, "--out", str(tmp_path / "out"), "-q"])
    assert done.exit_code == 1 and "reserves 512 bytes of stack and harness needs" in done.stderr
    assert not (tmp_path / "out").exists()
    checked = CliRunner().invoke(main, ["check", "emodb-small", *words])
    assert checked.exit_code == 1 and "raise [port] stack_bytes" in checked.stdout
