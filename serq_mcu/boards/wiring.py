"""Which pin of a microphone goes to which pin of a board."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serq_mcu.boards.board import Board
from serq_mcu.boards.pins import INTERFACE_PINS, expanded

_NUMBERED = {"esp32": "GPIO ", "rp2040": "GP"}  # what makers print before a pin's number
_SUPPLY, _GROUND = "3V3", "GND"


@dataclass(frozen=True)
class Wire:
    """A wire: the microphone's pin, the board's pin, and what it carries."""

    microphone: str
    board: str
    carries: str


def soldered(board: Board) -> bool:
    """Return whether the microphone is on the board: there is nothing to wire."""
    keys = INTERFACE_PINS.get(board.microphone.interface, ())
    wired = expanded(board.pins.wired)
    return bool(keys) and all(board.pins.canonical(getattr(board.audio, key)) in wired for key in keys)


def wires(board: Board) -> tuple[Wire, ...]:
    """Return the wires between a board and its microphone, none where it is soldered or emulated."""
    names = board.microphone.pin_names
    keys = INTERFACE_PINS.get(board.microphone.interface, ())
    if not keys or soldered(board):
        return ()
    found = [
        Wire(names["power"], _SUPPLY, "power"),
        Wire(names["ground"], _GROUND, "ground"),
        *(Wire(names[key], board_pin(board, key), carries) for key, carries in _carried(keys)),
    ]
    if "channel" in names:
        level = _SUPPLY if board.audio.channel == "right" else _GROUND
        found.append(Wire(names["channel"], level, f"{board.audio.channel} channel"))
    return tuple(found)


def board_pin(board: Board, key: str) -> str:
    """Return the pin that a key of [audio] names, as it is printed on the board."""
    pin: str = getattr(board.audio, key)
    if not pin.isdigit():
        return pin
    return _NUMBERED.get(board.port.family, _NUMBERED.get(board.audio.driver, "pin ")) + pin


def wiring_line(board: Board) -> str:
    """Return the wiring in a sentence, or nothing for an emulated board."""
    title = board.microphone.title
    if soldered(board):
        return f"the microphone ({title}) is on the board: there is nothing to wire"
    pairs = ", ".join(f"{wire.microphone} to {wire.board}" for wire in wires(board))
    return f"wire the {title}: {pairs}" if pairs else ""


def example_setting(board: Board) -> str:
    """Return a `--set` that moves one pin of the microphone, or nothing where none can move."""
    keys = INTERFACE_PINS.get(board.microphone.interface, ())
    used = [getattr(board.audio, key) for key in keys]
    for key in reversed(keys):
        free = board.pins.free(key, used, board.port_pins) if board.pins.exist else []
        if free:
            return f"--set audio.{key}={free[0]}"
    return ""


def _carried(keys: Iterable[str]) -> list[tuple[str, str]]:
    carries = {"clock": "clock", "select": "word select", "data": "data", "pin": "signal"}
    return [(key, carries[key.rpartition("_")[2]]) for key in keys]
