"""The drawings of the documentation that come from the code: the wiring of a board.

`python -m tools.pictures docs/images` writes them again; `tests/unit/test_door.py` fails where they are
stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import load_board
from serq_mcu.show.wiring import wiring_svg

BOARD = "esp32"  # of the README


def pictures() -> dict[str, str]:
    """Return each drawing by the name of its file."""
    return {f"wiring_{BOARD}.svg": wiring_svg(load_board(BOARD))}


def main() -> None:
    """Write the drawings to the folder that is named."""
    for name, text in pictures().items():
        print(f"wrote {write_file(Path(sys.argv[1]) / name, text)}")


if __name__ == "__main__":
    main()
