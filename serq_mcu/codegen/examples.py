"""Examples for users to change: a live project whose src/app.c does something with the decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.boards.board import Board
from serq_mcu.codegen.export import OWN, Project, export_plan, written_code
from serq_mcu.codegen.plan import Files, Plan
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError

_COLOURS = {
    "anger": "RED",
    "boredom": "GREEN | BLUE",
    "calm": "GREEN | BLUE",
    "disgust": "GREEN",
    "fear": "RED | BLUE",
    "happiness": "RED | GREEN",
    "sadness": "BLUE",
    "surprise": "RED | GREEN | BLUE",
    "no speech": "0",
}
_OTHER = "RED | GREEN | BLUE"  # neutral, and what has no colour of its own
_LEDS = ("red", "green", "blue")


@dataclass(frozen=True)
class Example:
    """An example: what it does, its code for a plan, and what to wire, in a sentence, or nothing."""

    title: str
    code: Callable[[Plan], str]
    wiring: Callable[[Board], str]


def new_project(name: str, plan: Plan, out: Path, *, force: bool = False) -> Project:
    """Write a live project with the code of the example `name` to the folder `out`, atomically.

    Raises SerqError if there is no such example, if the folder holds a user's own code already, and as
    `export_plan` does.
    """
    example = find_example(name)
    for own in written_code(out):
        if own in OWN:
            raise SerqError(f"{out / own} is your own code, which stays; choose another folder with --out")
    return export_plan(plan, out, force=force, own=example_files(example, plan))


def find_example(name: str) -> Example:
    """Return an example. Raises SerqError, with those there are, if there is none of that name."""
    if name not in EXAMPLES:
        raise SerqError(f"there is no example {name!r}; there are {', '.join(EXAMPLES)}")
    return EXAMPLES[name]


def example_files(example: Example, plan: Plan) -> Files:
    """Return the example's code under the name that the board's framework asks for."""
    cpp = plan.board.platformio.framework == "arduino"
    return {OWN[1] if cpp else OWN[0]: example.code(plan).encode()}


def _led(plan: Plan) -> str:
    board = plan.board
    return render(
        "examples/led.c.j2",
        pins={} if board.emulated else _led_pins(board),
        framework=board.platformio.framework,
        colours=[(label, _COLOURS.get(label, _OTHER)) for label in plan.model.labels],
    )


def _led_pins(board: Board) -> dict[str, str]:
    """Return a free pin for each colour."""
    used = {getattr(board.audio, key) for key in board.microphone_pins}
    free = board.pins.free_outputs(used, board.port_pins)
    if len(free) < len(_LEDS):
        raise SerqError(
            f"no free pins are known of {board.name}; make the example for another board, and write your"
            " board's pins into its src/app.c"
        )
    return dict(zip(_LEDS, free, strict=False))


def _led_wiring(board: Board) -> str:
    if board.emulated:
        return ""
    wired = ", ".join(f"{colour} to pin {pin}" for colour, pin in _led_pins(board).items())
    return f"wire an RGB LED with three resistors of 330 ohms: {wired}, its long leg to GND"


EXAMPLES = {"led": Example("an RGB LED in the colour of the emotion", _led, _led_wiring)}
