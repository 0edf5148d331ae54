"""docs/boards.md says of every board what was done with it, and of every microphone what to know."""

from __future__ import annotations

from pathlib import Path

from serq_mcu.boards.board import all_boards, all_microphones

PAGE = (Path(__file__).parents[2] / "docs" / "boards.md").read_text()
INTERFACES = {"i2s": "I2S", "pdm": "PDM", "adc": "ADC", "line": "line"}


def test_the_table_has_every_board_with_its_core_interfaces_and_relative() -> None:
    rows = {
        row.split("|")[1].strip(): row
        for row in PAGE.splitlines()
        if row.startswith("| ") and row.count("|") == 7
    }
    assert set(rows) - {"board"} == {board.name for board in all_boards()}
    for board in all_boards():
        row = rows[board.name]
        _, _, core, framework, microphones, emulated, done, _ = (cell.strip() for cell in row.split("|"))
        assert core == board.mcu.core.removeprefix("RISC-V ")
        assert {i for i, word in INTERFACES.items() if word in microphones} == {
            i for i in INTERFACES if board.takes(i)
        }
        assert done in (("run",) if board.emulated else ("compiled", "read"))
        assert emulated.split()[0] == ("itself" if board.emulated else board.emulator.relative)  # type: ignore[union-attr]
        assert (framework == "none") == board.emulated


def test_the_page_names_every_microphone() -> None:
    text = PAGE.lower().replace("-", "")
    for microphone in all_microphones():
        if microphone.interface != "line":
            assert microphone.name.removesuffix("06j").removesuffix("06") in text, microphone.name
