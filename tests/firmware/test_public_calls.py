"""The public C functions keep what their headers promise of NULL, order and sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import runtime_files
from serq_mcu.codegen.plan import Plan
from tests.support.golden import MODELS
from tests.support.native import compile_program, run

PROGRAM = Path(__file__).parents[1] / "programs" / "public_calls.c"
AUDIO = FIRMWARE / "lib" / "serq_audio" / "src"


@pytest.mark.parametrize("name", ["decides", "centred"])
def test_null_order_and_sizes_are_what_the_headers_promise(name: str, tmp_path: Path) -> None:
    plan = Plan(MODELS[name](), load_board("esp32"))
    for file, data in (runtime_files() | plan.model_files).items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data)
    runtime = tmp_path / "lib" / "serq" / "src"
    sources = [PROGRAM, AUDIO / "serq_ring.c", *sorted(runtime.glob("*.c"))]
    program = compile_program(tmp_path / "calls", sources, ["-O0", f"-I{AUDIO}"], runtime=runtime)
    assert run(program, b"") == b""
