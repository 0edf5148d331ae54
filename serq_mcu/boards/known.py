"""Boards that a platform knows and that have no board file: `--board esp32:ID` takes their chip's.

boards/known/espressif32.csv is written by tools/platform_facts.py from the platform's own board files.
"""

from __future__ import annotations

import csv
import difflib
from typing import Any

import msgspec

from serq_mcu.base import resources
from serq_mcu.errors import SerqError

FAMILY = "esp32"
KNOWN = resources.BOARDS / "known" / "espressif32.csv"
_PSRAM_PINS = {"esp32": {"16-17": "is wired to the PSRAM"}, "esp32s3": {"33-37": "may be wired to the PSRAM"}}
_MEBIBYTE = 2**20


class KnownBoard(msgspec.Struct, frozen=True):
    """What a platform's board file says: the chip (the name of its board here), flash, and extras.

    usb: its Arduino core speaks on the chip's USB.
    """

    id: str
    chip: str
    flash_bytes: int
    usb: bool
    psram: bool
    title: str


def known_boards() -> dict[str, KnownBoard]:
    """Read the platform's boards, by their ids."""
    with KNOWN.open(encoding="utf-8", newline="") as file:
        boards = msgspec.convert(list(csv.DictReader(file)), list[KnownBoard], strict=False)
    return {board.id: board for board in boards}


def known_board(name: str) -> KnownBoard:
    """Return the board `family:id`.

    Raises SerqError, with the nearest ones, for another family or an unknown id.
    """
    family, _, wanted = name.partition(":")
    boards = known_boards()
    if family != FAMILY:
        raise SerqError(f"unknown board {name!r}; FAMILY:ID is for esp32, such as esp32:{next(iter(boards))}")
    if wanted not in boards:
        near = difflib.get_close_matches(wanted, boards, n=3, cutoff=0.0)
        raise SerqError(
            f"PlatformIO's espressif32 has no board {wanted!r} that ESP-IDF builds for on a known chip"
            f"; near are {', '.join(near)}"
        )
    return boards[wanted]


def rewrite(document: Any, board: KnownBoard) -> None:
    """Turn the document of the chip's board file into that of a known board."""
    document["board"]["name"] = f"{FAMILY}-{board.id}".lower()
    document["board"]["title"] = f"{board.title} ({board.id}), with the pins of {document['board']['title']}"
    document["board"].pop("aliases", None)
    document["platformio"]["board"] = board.id
    size = f"CONFIG_ESPTOOLPY_FLASHSIZE_{board.flash_bytes // _MEBIBYTE}MB=y"
    lines = [line for line in document["platformio"]["sdkconfig"] if "FLASHSIZE" not in line]
    document["platformio"]["sdkconfig"] = [size, *lines]
    document["mcu"]["flash_bytes"] = board.flash_bytes
    if board.chip == "esp32" and board.flash_bytes > 4 * _MEBIBYTE:
        document["memory"]["program_bytes"] = 0x3F0000  # the chip maps 4 MiB of data
    if board.usb:
        document["port"]["kind"] = "usb_serial_jtag"
    if board.psram and board.chip in _PSRAM_PINS:
        document.setdefault("pins", {}).setdefault("taken", {}).update(_PSRAM_PINS[board.chip])
    where = (
        f"platform-espressif32 {document['platformio']['platform'].partition('@')[2]}, boards/{board.id}.json"
    )
    for figure in ("mcu.flash_bytes", "platformio.board"):
        document["sources"][figure] = where
