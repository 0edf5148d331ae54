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
WORDS = 256  # of the RP2040 driver's buffer

pytestmark = needs("g++")


def _compiled(folder: Path, driver: str, program: str, *flags: str) -> Path:
    (folder / "serq_board.h").write_text("#pragma once\n#define SERQ_AUDIO_RATE 16000\n")
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
    program = _compiled(
        tmp_path,
        "audio_rp2040_adc.cpp",
        "rp2040_dma.cpp",
        "-DSERQ_AUDIO_ADC_PIN=26",
        str(PORTS / "audio_rp2040.cpp"),
    )
    outside, *words = map(int, _output(program, 0, 0, 60, 0, 127, 3))
    assert not outside and words == list(range(6 * WORDS))
    outside, *words = map(int, _output(program, 0, WORDS, 0, 0))  # both buffers are full
    assert not outside and words == list(range(len(words))) and len(words) >= 4 * WORDS
    outside, *words = map(int, _output(program, 0, 5 * WORDS, 0, 0))  # samples are lost, and no memory
    assert not outside


@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("msb", [0, 1])
def test_the_rp2040s_pio_reads_a_slot_of_i2s(right: int, msb: int, tmp_path: Path) -> None:
    pins = {"I2S_CLOCK": 2, "I2S_SELECT": 3, "I2S_DATA": 4, "RIGHT": right, "SLOT_MSB": msb}
    flags = [f"-DSERQ_AUDIO_{name}={value}" for name, value in pins.items()]
    program = _compiled(tmp_path, "audio_rp2040_i2s.cpp", "rp2040_pio.cpp", *flags)
    divider, *words = _output(program)
    assert float(divider) == pytest.approx(125e6 / (16000 * 64 * 2), rel=1e-4)
    found = [-int(word) if right else int(word) for word in words]
    first = found[1] // 65536  # the first word begins before the microphone's clock runs
    assert first in (1, 2) and found[1:] == [(first + n) * 65536 + 1 for n in range(63)]


@pytest.mark.parametrize("right", [0, 1])
def test_the_rp2040s_pio_reads_one_of_two_pdm_microphones(right: int, tmp_path: Path) -> None:
    pins = {"PDM_CLOCK": 6, "PDM_DATA": 7, "RIGHT": right}
    flags = ["-DPDM", *(f"-DSERQ_AUDIO_{name}={value}" for name, value in pins.items())]
    program = _compiled(tmp_path, "audio_rp2040_pdm.cpp", "rp2040_pio.cpp", *flags)
    divider, *words = _output(program)
    assert float(divider) == pytest.approx(125e6 / (16000 * 64 * 2), rel=1e-4)
    bits = "".join(f"{int(word):016b}" for word in words)
    left = [n * 2654435761 % 2**32 >> 31 for n in range(len(bits) + 2)]
    other = [n * 40503 % 2**32 >> 15 & 1 for n in range(len(bits) + 2)]
    heard = "".join(map(str, other if right else left))
    assert heard.index(bits[8:]) in range(12)  # the first bits come before the microphone's clock runs


@pytest.mark.parametrize(("pin", "starts"), [(14, True), (25, True), (26, False)])
def test_a_teensy_refuses_a_pin_of_its_second_converter(pin: int, starts: bool, tmp_path: Path) -> None:
    flags = ("-DVENDOR_TEENSY", f"-DSERQ_AUDIO_ADC_PIN={pin}")
    program = _compiled(tmp_path, "audio_teensy_adc.cpp", "teensy_pins.cpp", *flags)
    assert (subprocess.run([program], check=False).returncode == 0) == starts


def test_the_cycle_counter_is_read_and_never_set() -> None:
    """Teensy's micros() rests on the same counter."""
    text = (PORTS / "port_arduino.cpp").read_text()
    assert "return *dwt_cycles;" in text and "*dwt_cycles =" not in text
