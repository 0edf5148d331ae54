"""Drivers and clocks for real chips, compiled for this computer against made-up vendors' headers
(tests/programs/vendor): what they set, and that late interrupts do no harm.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from serq_mcu.base import resources
from serq_mcu.boards.board import load_board
from tests.support.tools import needs

PROGRAMS = Path(__file__).parents[1] / "programs"
PORTS = resources.FIRMWARE / "ports"
WORDS = 128  # of the RP2040 driver's buffer

pytestmark = needs("g++")


def _compiled(folder: Path, driver: str, program: str, *flags: str) -> Path:
    (folder / "serq_board.h").write_text("#define SERQ_AUDIO_RATE 16000\n")
    command = ["g++", "-std=gnu++14", "-Wall", "-Wextra", "-Werror", f"-I{PROGRAMS / 'vendor'}", f"-I{PORTS}"]
    command += [f"-I{folder}", *flags, str(PORTS / driver), str(PROGRAMS / program), "-o", str(folder / "p")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "p"


def _output(program: Path, *arguments: object) -> list[str]:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("name", "flag", "buses", "latency"),
    [("nucleo_f446re", "-DDIVIDED_BY_P", (4, 2), 5), ("nucleo_l476rg", "-DDIVIDED_BY_R", (1, 1), 4)],
)
def test_the_debuggers_crystal_is_the_clock_and_the_chips_own_where_there_is_none(
    name: str, flag: str, buses: tuple[int, int], latency: int, tmp_path: Path
) -> None:
    board = load_board(name)
    assert board.port.clock == name and f"src/clock_{name}.cpp" in board.sources_in_project("live")
    program = _compiled(tmp_path, f"clock_{name}.cpp", "stm32_clocks.cpp", "-DVENDOR_STM32", flag)
    clock = board.mcu.clock_hz
    wanted = [str(clock), *(str(clock // divider) for divider in buses), str(latency)]
    assert _output(program, "8 MHz") == ["external", *wanted]
    assert _output(program, "none") == ["internal", *wanted]


def test_late_interrupts_of_the_rp2040_keep_order_and_memory(tmp_path: Path) -> None:
    program = _compiled(tmp_path, "audio_rp2040_adc.cpp", "rp2040_dma.cpp", "-DSERQ_AUDIO_ADC_PIN=26")
    outside, *words = map(int, _output(program, 0, 0, 60, 0, 127, 3))
    assert not outside and words == list(range(6 * WORDS))
    outside, *words = map(int, _output(program, 0, WORDS, 0, 0))  # both buffers are full
    assert not outside and words == list(range(len(words))) and len(words) >= 4 * WORDS
    outside, *words = map(int, _output(program, 0, 5 * WORDS, 0, 0))  # samples are lost, and no memory
    assert not outside


@pytest.mark.parametrize(("pin", "starts"), [(14, True), (25, True), (26, False)])
def test_a_teensy_refuses_a_pin_of_its_second_converter(pin: int, starts: bool, tmp_path: Path) -> None:
    flags = ("-DVENDOR_TEENSY", f"-DSERQ_AUDIO_ADC_PIN={pin}")
    program = _compiled(tmp_path, "audio_teensy_adc.cpp", "teensy_pins.cpp", *flags)
    assert (subprocess.run([program], check=False).returncode == 0) == starts


def test_the_cycle_counter_is_read_and_never_set() -> None:
    """Teensy's micros() rests on the same counter."""
    text = (PORTS / "port_arduino.cpp").read_text()
    assert "return *dwt_cycles;" in text and "*dwt_cycles =" not in text
