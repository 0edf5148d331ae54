"""A feature block from outside the package on emulated cores: every stage, and what a product runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.extension import register_block
from serq_mcu.frontend.blocks import BLOCKS
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.emulated.test_frontend_firmware import assert_computes_the_features
from tests.firmware.test_extension_block import specification
from tests.support.frontend import stimulus
from tests.support.models import made_up_model
from tests.support.toy_centroid import Bright, Centroid

BOARDS = ["emulated-m0", "emulated-rv32imc"]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_block(Centroid)
    register_block(Bright)
    yield
    BLOCKS.remove("centroid")
    BLOCKS.remove("bright")


@pytest.mark.parametrize("board", BOARDS)
def test_every_stage_is_the_references(board: str, tmp_path: Path) -> None:
    spec = specification(fft_length=512, hop_length=256)
    model = made_up_model((8, 3), (2, 5), spec=spec)
    with open_target(export(model, load_board(board), tmp_path / "p"), "emulator") as target:
        report = verify(model, [Recording("hard", stimulus(spec.fft_length))], target)
    assert report.ok, report_lines(report)


@pytest.mark.parametrize("board", BOARDS)
def test_features_without_a_trace_are_the_references(board: str, tmp_path: Path) -> None:
    spec = specification(fft_length=256, hop_length=128)
    assert_computes_the_features(board, made_up_model((4, 2), (1, 2), spec=spec), tmp_path / "p")
