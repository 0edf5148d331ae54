"""Pins: what the chip, the board or the port rules out is refused with the reason and free pins; what is
sound passes, with a warning where a pin does something else besides.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from serq_mcu.base import resources
from serq_mcu.boards.board import all_boards, load_board, read_board, with_changes
from serq_mcu.boards.pins import INTERFACE_PINS, chip_tables, expanded
from serq_mcu.errors import SerqError

BAD = [
    ("esp32", ["i2s_data=99"], "pin 99 does not exist on this chip"),
    ("esp32", ["i2s_data=24"], "pin 24 does not exist"),
    ("esp32", ["i2s_data=26"], r"audio.i2s_data: pin 26 is audio.i2s_clock, too"),
    ("esp32", ["i2s_clock=6"], "pin 6 is wired to the flash memory"),
    ("esp32", ["i2s_clock=34"], "pin 34 can only be an input"),
    ("esp32", ["i2s_select=39"], "pin 39 can only be an input"),
    ("esp32", ["i2s_data=1"], "pin 1 belongs to the line to the host"),
    ("esp32", ["i2s_data=A0"], "pin A0 does not exist"),
    ("esp32s3", ["i2s_clock=43"], "pin 43 belongs to the line to the host"),
    ("esp32s3", ["i2s_data=22"], "pin 22 does not exist"),
    ("esp32s3", ["i2s_data=30"], "pin 30 is wired to the flash memory or the PSRAM"),
    ("esp32c3", ["i2s_data=22"], "pin 22 does not exist"),
    ("esp32c3", ["i2s_data=12"], "pin 12 is wired to the flash memory"),
    ("esp32c6", ["i2s_clock=17"], "pin 17 belongs to the line to the host"),
    ("m5stack-core2", ["pdm_data=16"], "pin 16 is wired to the PSRAM"),
    ("nrf52840_dk", ["pdm_clock=0"], "pin 0 is wired to the 32 kHz crystal"),
    ("nrf52840_dk", ["pdm_data=18"], "pin 18 is the reset pin"),
    ("nrf52840_dk", ["pdm_clock=40"], "pin 40 does not exist"),
    ("pico", ["adc_pin=22"], "pin 22 is none that the driver can take for adc_pin; 26, 27, 28 are free"),
    ("pico", ["i2s_select=5"], r"pin 5 is not the one after audio.i2s_clock \(2\)"),
    ("pico", ["i2s_data=24"], "pin 24 senses the USB plug"),
    ("pico", ["adc_pin=29"], "pin 29 measures the supply"),
    ("teensy41", ["adc_pin=A12"], "pin A12 is none that the driver can take"),
    ("teensy41", ["adc_pin=39"], "pin 39 is none that the driver can take"),
    ("nucleo_f446re", ["adc_pin=PA3"], "pin PA3 belongs to the line to the host"),
    ("nucleo_f446re", ["adc_pin=PB5"], "pin PB5 is none that the driver can take"),
    ("disco_f407vg", ["pdm_clock=PA1"], "pin PA1 is none that the driver can take for pdm_clock"),
]
GOOD = [
    ("esp32", ["i2s_data=32"]),
    ("esp32", ["i2s_data=34"]),
    ("esp32", ["i2s_clock=14", "i2s_select=27", "i2s_data=39"]),
    ("esp32", ["i2s_clock=33", "i2s_data=26"]),
    ("esp32", ["pdm_clock=22", "i2s_data=22"]),
    ("esp32s3", ["i2s_clock=1", "i2s_data=2"]),
    ("esp32s3", ["i2s_data=48"]),
    ("esp32s3", ["i2s_data=33"]),
    ("esp32c3", ["i2s_data=7"]),
    ("esp32c3", ["i2s_clock=0", "i2s_select=1"]),
    ("esp32c6", ["i2s_data=3"]),
    ("m5stack-core2", ["i2s_data=32"]),
    ("nrf52840_dk", ["pdm_clock=3", "pdm_data=4"]),
    ("nrf52840_dk", ["pdm_data=31"]),
    ("pico", ["adc_pin=27"]),
    ("pico", ["adc_pin=A2"]),
    ("pico", ["i2s_clock=10", "i2s_select=11", "i2s_data=12"]),
    ("pico", ["pdm_clock=14", "pdm_data=15"]),
    ("teensy41", ["adc_pin=A11"]),
    ("teensy41", ["adc_pin=41"]),
    ("nucleo_f446re", ["adc_pin=A3"]),
    ("nucleo_f446re", ["adc_pin=PC5"]),
    ("nucleo_h743zi", ["adc_pin=PC0"]),
    ("disco_f407vg", ["pdm_clock=PB13", "pdm_data=PB15"]),
]


@pytest.mark.parametrize(("board", "pins", "reason"), BAD)
def test_a_pin_that_cannot_serve_is_refused_with_the_reason(board: str, pins: list[str], reason: str) -> None:
    with pytest.raises(SerqError, match=reason + r".*free|" + reason):
        with_changes(load_board(board), None, [f"audio.{pin}" for pin in pins])


@pytest.mark.parametrize(("board", "pins"), GOOD)
def test_a_pin_that_can_serve_passes(board: str, pins: list[str]) -> None:
    changed = with_changes(load_board(board), None, [f"audio.{pin}" for pin in pins])
    key, _, pin = pins[0].partition("=")
    assert getattr(changed.audio, key) == pin


def test_the_pins_that_a_refusal_names_are_indeed_free() -> None:
    for board in all_boards():
        for interface, keys in INTERFACE_PINS.items():
            if board.takes(interface):
                used = [getattr(board.audio, key) for key in keys]
                pairs = {*board.pins.after, *board.pins.after.values()}  # they move together
                for key in [key for key in keys if key not in pairs]:
                    for pin in board.pins.free(key, used, board.port_pins)[:2]:
                        assert with_changes(board, None, [f"audio.{key}={pin}"]).warnings == board.warnings


def test_every_real_boards_pins_are_checked_and_its_own_need_no_warning() -> None:
    for board in all_boards():
        if not board.emulated:
            assert board.pins.exist, f"{board.name} has no [pins]"
            assert board.warnings == []
            for interface, keys in INTERFACE_PINS.items():
                if board.takes(interface):
                    assert not [k for k in keys if board.pins.warning(getattr(board.audio, k))], board.name


def test_every_pin_of_the_line_to_the_host_is_refused() -> None:
    for board in all_boards():
        for pin in board.port_pins:
            key = next(key for keys in INTERFACE_PINS.values() for key in keys if getattr(board.audio, key))
            with pytest.raises(SerqError, match=rf"pin {pin} "):
                with_changes(board, None, [f"audio.{key}={pin}"])


def test_a_strapping_pin_passes_with_a_warning() -> None:
    changed = with_changes(load_board("esp32"), None, ["audio.i2s_clock=12"])
    assert changed.warnings == [
        "audio.i2s_clock: pin 12 sets the flash's voltage at reset: high there, and the board does not start"
    ]


def test_a_file_of_ones_own_is_checked_by_its_core(tmp_path: Path) -> None:
    text = (resources.BOARDS / "esp32s3.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('i2s_data = "6"', 'i2s_data = "27"'))
    with pytest.raises(SerqError, match=r"mine\.toml: audio\.i2s_data: pin 27 is wired to the flash"):
        read_board(path)
    path.write_text(text.replace("[audio]", '[pins]\nchip = "esp8266"\n[audio]'))
    with pytest.raises(SerqError, match=r"pins\.chip 'esp8266' is not one of esp32, esp32c3"):
        read_board(path)


def test_the_line_moves_with_the_ports_kind() -> None:
    usb = with_changes(load_board("esp32s3"), None, ["port.kind=usb_serial_jtag", "audio.i2s_data=44"])
    assert usb.port_pins == ["19", "20"]
    with pytest.raises(SerqError, match="pin 20 belongs to the line to the host"):
        with_changes(usb, None, ["audio.i2s_data=20"])


def test_every_list_of_a_pin_table_has_its_source() -> None:
    for chip, pins in chip_tables().items():
        text = (resources.BOARDS / "pins" / f"{chip}.toml").read_text()
        for name in ("exist", "taken", "caution", "uart"):
            assert f'"pins.{name}" = ' in text
        lists = [*pins.uart, *pins.usb, *pins.taken, *pins.caution, *pins.input_only]
        assert set(expanded(lists)) <= set(expanded(pins.exist))
