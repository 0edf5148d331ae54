"""The wires between a board and its microphone as a drawing (SVG)."""

from __future__ import annotations

from collections.abc import Iterator

from serq_mcu.boards.board import Board
from serq_mcu.boards.wiring import Wire, wires, wiring_line
from serq_mcu.show import drawing

_WIDTH, _BOX, _TOP, _ROW, _BOTTOM = 720, 190, 64, 34, 20


def wiring_svg(board: Board) -> str:
    """Return a drawing of a microphone, a board, and a line for each wire, named by what it carries."""
    found = wires(board)
    height = _TOP + _ROW * len(found) + _BOTTOM
    boxes = [*_box(10, height, board.microphone.title), *_box(_WIDTH - _BOX - 10, height, board.title)]
    rows = [element for index, wire in enumerate(found) for element in _row(index, wire)]
    return drawing.document(_WIDTH, height, wiring_line(board), [*boxes, *rows])


def _box(left: float, height: float, title: str) -> Iterator[str]:
    yield drawing.rectangle("empty", (left, 6, _BOX, height - 12), rounded=8)
    letters = int((_BOX - 12) / drawing.LETTER)
    yield drawing.text(left + _BOX / 2, 32, drawing.shortened(title, letters), "middle", "soft")


def _row(index: int, wire: Wire) -> Iterator[str]:
    y = _TOP + _ROW * (index + 0.5)
    left, right = 10 + _BOX, _WIDTH - _BOX - 10
    yield drawing.polyline("curve", [(left, y), (right, y)])
    yield drawing.circle("best", left, y, 5)
    yield drawing.circle("best", right, y, 5)
    yield drawing.text(left - 14, y + 4, wire.microphone, "end")
    yield drawing.text(right + 14, y + 4, wire.board)
    yield drawing.text((left + right) / 2, y - 6, wire.carries, "middle", "small soft")
