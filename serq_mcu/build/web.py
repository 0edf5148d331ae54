"""What a browser writes to a board: the images of a built project, and the program that writes them.

The program is ESP Web Tools (Apache-2.0), which npm has; nothing of it is part of this package.
"""

from __future__ import annotations

import re
from pathlib import Path

from serq_mcu.base.npm import Package, package_files
from serq_mcu.base.progress import Progress, silent
from serq_mcu.base.shell import quoted
from serq_mcu.boards.board import BOARD_FILE, read_board
from serq_mcu.build import platformio
from serq_mcu.build.espressif import Images, built_images, has_images
from serq_mcu.codegen.export import read_project
from serq_mcu.errors import SerqError

ESP_WEB_TOOLS = Package(
    "esp-web-tools",
    "10.4.0",
    "sha512-3pwkeFFm5Fj7UQo8SJNYK5RXrtNCpq6X9QoI6bMT4GBZWgrJqjn0YvM9ihG74BtMoSFYXfmDtkehuxe50PTMPQ==",
)
_WANTED = re.compile(r"dist/web/([\w-]+\.js)|(LICENSE)")


def require_web(folder: Path) -> None:
    """Raise SerqError if no browser can write an exported project to its board."""
    read_project(folder)
    board = read_board(folder / BOARD_FILE)
    if board.emulated or not has_images(board):
        instead = f"serq-mcu {'listen' if board.emulated else 'flash'} {quoted(folder)}"
        raise SerqError(
            f"--web is for Espressif's chips (ESP32, S3, C3 and C6), and {board.name} has none; run"
            f" `{instead}` instead"
        )


def web_images(folder: Path, progress: Progress = silent, *, allow_changes: bool = False) -> Images:
    """Build an exported project as `flash` does, and return what is written to the board.

    Raises SerqError as `require_web`, `platformio.for_board` and `built_images` do.
    """
    require_web(folder)
    with platformio.for_board(folder, progress, allow_changes=allow_changes) as place:
        return built_images(platformio.built_folder(place))


def web_tools(progress: Progress = silent) -> dict[str, bytes]:
    """Return the files of ESP Web Tools that a page loads, and its licence, by name.

    Raises SerqError as `package_files` does.
    """
    files = package_files(ESP_WEB_TOOLS, progress)
    return {match[1] or match[2]: data for path, data in files.items() if (match := _WANTED.fullmatch(path))}
