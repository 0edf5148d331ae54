"""Examples for users to change: a live project whose src/app.c does something with the decisions.

All files of an example are the user's own: an export writes them once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from serq_mcu.boards.board import Board, with_sdkconfig
from serq_mcu.codegen.export import MANIFEST, OWN, Project, export_plan, read_project, written_code
from serq_mcu.codegen.plan import Files, Plan
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.types import NO_SPEECH_LABEL
from serq_mcu.version import __version__

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
NOTES = "EXAMPLE.md"
ESPHOME = "esphome"  # no project, but a component: library.export_esphome
ESPHOME_TITLE = "a component of ESPHome, with a configuration"
_NO_NVS = ("CONFIG_ESP_WIFI_NVS_ENABLED=n", "CONFIG_ESP_PHY_CALIBRATION_AND_DATA_STORAGE=n")
_BLUETOOTH = (
    "CONFIG_BT_ENABLED=y",
    "CONFIG_BT_BLUEDROID_ENABLED=n",
    "CONFIG_BT_NIMBLE_ENABLED=y",
    _NO_NVS[1],
)
# pins that wake a chip from deep sleep, by its core (ESP-IDF 5.5, esp_sleep.h; of the ESP32-C3 its datasheet)
_WAKING = {
    "Xtensa LX6": (32, 27, 4, 14, 13, 33, 25, 26),
    "Xtensa LX7": tuple(range(22)),
    "RISC-V RV32IMC": tuple(range(6)),
    "RISC-V RV32IMAC": tuple(range(8)),
}


def _nothing(_: Plan) -> dict[str, str]:
    return {}


def _no_wiring(_: Board) -> str:
    return ""


@dataclass(frozen=True)
class Example:
    """An example.

    title: what it does; code: C for a plan; more: its other files for a plan, by their names; wiring: what to
    wire, in a sentence, or nothing; sdkconfig: what ESP-IDF must be told; espidf: whether it is for ESP-IDF
    alone.
    """

    title: str
    code: Callable[[Plan], str]
    more: Callable[[Plan], dict[str, str]] = _nothing
    wiring: Callable[[Board], str] = _no_wiring
    sdkconfig: tuple[str, ...] = ()
    espidf: bool = False


def new_project(name: str, plan: Plan, out: Path, *, force: bool = False) -> Project:
    """Write a live project with the code of the example `name` to the folder `out`, atomically.

    Raises SerqError if there is no such example, if the board cannot have it, if the folder holds a
    user's own code already, and as `export_plan` does.
    """
    example = find_example(name)
    for own in written_code(out):
        if own in OWN:
            raise SerqError(f"{out / own} is your own code, which stays; choose another folder with --out")
    return _export(name, example, plan, out, force=force)


def export_project(plan: Plan, out: Path, *, force: bool = False) -> Project:
    """Write the project of a plan as `export_plan` does; where an example is, it stays one, for this plan."""
    name = read_project(out).example if (out / MANIFEST).exists() else ""
    if plan.app != "live" or not name:
        return export_plan(plan, out, force=force)
    return _export(name, find_example(name), plan, out, force=force)


def _export(name: str, example: Example, plan: Plan, out: Path, *, force: bool) -> Project:
    framework = plan.board.platformio.framework
    if example.espidf and framework != "espidf" and not plan.board.emulated:
        raise SerqError(f"the example {name} needs ESP-IDF, and {plan.board.name} has {framework or 'none'}")
    if framework == "espidf":
        plan = replace(plan, board=with_sdkconfig(plan.board, example.sdkconfig))
    return export_plan(plan, out, force=force, own=example_files(example, plan), example=name)


def find_example(name: str) -> Example:
    """Return an example. Raises SerqError, with those there are, if there is none of that name."""
    if name not in EXAMPLES:
        raise SerqError(f"there is no example {name!r}; there are {', '.join([*EXAMPLES, ESPHOME])}")
    return EXAMPLES[name]


def example_files(example: Example, plan: Plan) -> Files:
    """Return the example's files, its code under the name that the board's framework asks for."""
    cpp = plan.board.platformio.framework == "arduino"
    files = {OWN[1] if cpp else OWN[0]: example.code(plan)} | example.more(plan)
    return {name: text.encode() for name, text in files.items()}


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


def _home(plan: Plan) -> str:
    labels = [json.dumps(label)[1:-1] for label in plan.model.labels]
    options = [label for label in labels if label != NO_SPEECH_LABEL]
    return render("examples/homeassistant.c.j2", labels=labels, options=options, version=__version__)


def _home_files(_: Plan) -> dict[str, str]:
    return {
        "src/secrets.h": render("examples/homeassistant.secrets.h.j2"),
        ".gitignore": "src/secrets.h\n.pio/\n",
        NOTES: render("examples/homeassistant.md.j2"),
    }


def _wake_pin(board: Board) -> int | None:
    """Return a free pin that wakes the chip, or None of an emulated board."""
    if board.emulated:
        return None
    used = {getattr(board.audio, key) for key in board.microphone_pins}
    free = board.pins.free_outputs(used, board.port_pins)
    waking = [pin for pin in _WAKING.get(board.mcu.core, ()) if str(pin) in free]
    if not waking:
        raise SerqError(f"no free pin is known that wakes {board.name} from deep sleep")
    return waking[0]


def _sleep_wiring(board: Board) -> str:
    pin = _wake_pin(board)
    return "" if pin is None else f"wire the digital output of a sound detector to pin {pin} (see {NOTES})"


def _sleep_code(plan: Plan) -> str:
    return render("examples/sleep.c.j2", pin=_wake_pin(plan.board))


def _ble(_: Plan) -> str:
    return render("examples/ble.c.j2")


def _ble_files(_: Plan) -> dict[str, str]:
    return {NOTES: render("examples/ble.md.j2")}


def _sleep_files(plan: Plan) -> dict[str, str]:
    return {NOTES: render("examples/sleep.md.j2", pin=_wake_pin(plan.board))}


EXAMPLES = {
    "led": Example("an RGB LED in the colour of the emotion", _led, wiring=_led_wiring),
    "homeassistant": Example(
        "sensors of Home Assistant, by Wi-Fi and MQTT", _home, _home_files, sdkconfig=_NO_NVS, espidf=True
    ),
    "ble": Example(
        "a Bluetooth notification with the emotion and its confidence",
        _ble,
        _ble_files,
        sdkconfig=_BLUETOOTH,
        espidf=True,
    ),
    "sleep": Example(
        "deep sleep until a sound detector wakes the chip",
        _sleep_code,
        _sleep_files,
        _sleep_wiring,
        espidf=True,
    ),
}
