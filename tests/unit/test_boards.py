"""Boards: what ships is sound, the names people say find it, and a file that says what it may not is
refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from serq_mcu.base import resources
from serq_mcu.boards.board import (
    EMULATED_PLATFORM,
    Emulator,
    Microphone,
    Relative,
    all_boards,
    all_microphones,
    load_board,
    read_board,
    with_changes,
)
from serq_mcu.boards.samples import conversion
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = [path.stem for path in sorted(resources.BOARDS.glob("*.toml"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_board_is_named_after_its_file_and_gives_a_source_for_its_figures(name: str) -> None:
    board = read_board(resources.BOARDS / f"{name}.toml")
    assert board.name == name
    assert {"mcu.flash_bytes", "mcu.ram_bytes", "port.stack_bytes"} <= set(board.sources)
    table = tomllib.loads(board.toml)
    for figure in board.sources:
        section, key = figure.split(".")
        assert key in table[section], f"{figure} has a source but no value"


def test_the_boards_that_were_promised() -> None:
    asked = [
        "esp32dev",
        "esp32-s3-devkitc-1",
        "esp32-c3-devkitm-1",
        "esp32-c6-devkitc-1",
        "m5stack-core2",
        "nucleo_f446re",
        "disco_f407vg",
        "blackpill_f411ce",
        "nucleo_h743zi",
        "nucleo_l476rg",
        "nrf52840_dk",
        "nano33ble",
        "teensy41",
        "pico",
        "emulated-m0",
        "emulated-m4f",
        "emulated-m7",
        "emulated-rv32imc",
        "emulated-xtensa",
    ]
    assert sorted(load_board(name).name for name in asked) == NAMES
    m0 = load_board("emulated-m0").mcu
    assert (m0.flash_bytes, m0.ram_bytes) == (256 * 1024, 16 * 1024)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("ESP32", "esp32"),
        ("esp32dev", "esp32"),
        ("ESP32 DevKit V1", "esp32"),
        ("esp32-c3", "esp32c3"),
        ("esp32_c3_devkitm_1", "esp32c3"),
        ("Nucleo F446RE", "nucleo_f446re"),
        ("stm32f446re", "nucleo_f446re"),
        ("cortex-m0", "emulated-m0"),
        ("M4F", "emulated-m4f"),
        ("Cortex M7", "emulated-m7"),
        ("risc-v", "emulated-rv32imc"),
        ("lx106", "emulated-xtensa"),
    ],
)
def test_names_people_say(said: str, meant: str) -> None:
    assert load_board(said).name == meant


def test_every_board_has_a_microphone_and_a_source_for_its_choice() -> None:
    for board in all_boards():
        assert board.audio.takes(board.microphone.interface)
        assert "audio.microphone" in board.sources
        assert all(path.is_file() for path in board.audio_sources())


def test_every_driver_is_some_boards() -> None:
    drivers = {path.name for path in (resources.FIRMWARE / "ports").glob("audio_*_*.c*")}
    used = {
        board.audio.source(i).name
        for board in all_boards()
        for i in ("i2s", "pdm", "adc", "line")
        if board.audio.takes(i)
    }
    assert used == drivers


@pytest.mark.parametrize("microphone", all_microphones(), ids=lambda m: m.name)
def test_every_microphone_names_its_file_and_sources_and_has_a_board(microphone: Microphone) -> None:
    text = (resources.MICROPHONES / f"{microphone.name}.toml").read_text()
    table = tomllib.loads(text)
    assert {"microphone.dc_shift", "microphone.gain_db"} <= set(table["sources"])
    assert [board for board in all_boards() if board.audio.takes(microphone.interface)]


def test_microphone_and_settings_can_be_overridden_and_stay_with_the_project(tmp_path: Path) -> None:
    esp32 = load_board("esp32")
    assert with_changes(esp32, None, []) is esp32
    changed = with_changes(
        esp32,
        "SPH0645",
        ["audio.i2s_data=32", "microphone.gain_db=-3", "audio.channel=right", "audio.ring_samples=8192"],
    )
    assert (changed.microphone.name, changed.microphone.slot, changed.microphone.gain_db) == (
        "sph0645",
        "msb",
        -3,
    )
    assert (changed.audio.i2s_data, changed.audio.channel, changed.audio.ring_samples) == (
        "32",
        "right",
        8192,
    )
    header = changed.project_files(render)["src/serq_board.h"]
    for line in (
        "SERQ_AUDIO_SLOT_MSB 1",
        "SERQ_AUDIO_I2S_DATA 32",
        "SERQ_AUDIO_RIGHT 1",
        "SERQ_AUDIO_RING_SAMPLES 8192",
    ):
        assert f"#define {line}\n" in header
    (tmp_path / "board.toml").write_text(changed.project_files(render)["board.toml"])
    again = read_board(tmp_path / "board.toml")
    assert (again.audio, again.microphone, again.sources) == (
        changed.audio,
        changed.microphone,
        esp32.sources,
    )
    mine = tmp_path / "mine.toml"
    mine.write_text(
        (resources.MICROPHONES / "inmp441.toml")
        .read_text()
        .replace("gain_db = 24", "gain_db = 30")
        .replace('"inmp441"', '"mine"')
    )
    assert with_changes(again, str(mine), ["microphone.bit_shift=1"]).microphone.conversion == conversion(
        1, 7, 30
    )


@pytest.mark.parametrize(
    ("board", "microphone", "setting", "complaint"),
    [
        (
            "pico",
            "inmp441",
            [],
            r"inmp441 needs I2S, for which pico has no pins or no driver; it takes max4466, max9814",
        ),
        ("esp32c3", "mp34dt06j", [], r"needs PDM, for which esp32c3 has no pins"),
        ("esp32", "inmp442", [], r"no microphone 'inmp442'; known are clip, ics43434, inmp441"),
        ("esp32", "../x", [], "no microphone '../x'"),
        ("esp32", "none.toml", [], "cannot read the microphone file none.toml"),
        ("esp32", None, ["gain=3"], "'gain=3' is not a setting; say --set audio.KEY=VALUE"),
        ("esp32", None, ["mcu.flash_bytes=3"], "is not a setting"),
        (
            "esp32",
            None,
            ["microphone.gain=3"],
            r"\[microphone\] has an unknown key 'gain'; it may have name, title, interface",
        ),
        ("esp32", None, ["microphone.gain_db=99"], r"gain_db must be an integer from -20 to 40, not 99"),
        ("esp32", None, ["audio.ring_samples=3000"], "must be a power of two, not 3000"),
        ("esp32", None, ["audio.i2s_data=5; evil"], r"\[audio\] i2s_data must be text"),
        ("esp32", None, ['microphone.title=x"\n#define'], "title must be text|is not a setting"),
        ("esp32", None, ["microphone.slot=left"], "slot must be text of the form philips"),
        ("pico", None, ["microphone.bit_shift=1"], "bit_shift is for I2S microphones alone"),
        ("pico", None, ["microphone.slot=msb"], "slot is for I2S microphones"),
    ],
)
def test_a_microphone_or_setting_that_does_not_fit_is_refused(
    board: str, microphone: str | None, setting: list[str], complaint: str
) -> None:
    with pytest.raises(SerqError, match=complaint):
        with_changes(load_board(board), microphone, setting)


def test_a_title_cannot_leave_its_comment() -> None:
    """A title may hold what ends a comment of C; so no title stands in one."""
    sly = with_changes(load_board("esp32"), None, ["microphone.title=x */ int evil; /*"])
    assert "evil" not in "".join(
        text for name, text in sly.project_files(render).items() if name.endswith((".h", ".c"))
    )


def test_an_unknown_board_names_the_nearest_and_the_list() -> None:
    with pytest.raises(
        SerqError, match=r"no board 'nucleo_f466re'; the nearest is nucleo_f446re.*serq-mcu boards"
    ):
        load_board("nucleo_f466re")
    with pytest.raises(SerqError, match="the nearest is"):
        load_board("")


def test_every_real_board_has_an_emulated_relative() -> None:
    for board in all_boards():
        if isinstance(board.emulator, Relative):
            assert load_board(board.emulator.relative).emulated


ESP32 = (resources.BOARDS / "esp32.toml").read_text()
M0 = (resources.BOARDS / "emulated-m0.toml").read_text()


@pytest.mark.parametrize(
    ("text", "old", "new", "complaint"),
    [
        (
            ESP32,
            'board = "esp32dev"',
            'board = "esp32dev"\nbaord = "x"',
            r"\[platformio\] has an unknown key 'baord'",
        ),
        (ESP32, "baud = 460_800", "baud = 300", r"\[port\] baud must be an integer from 1200"),
        (ESP32, "baud = 460_800", "baud = true", r"\[port\] baud must be an integer"),
        (ESP32, "baud = 460_800", "", "real board needs"),
        (ESP32, "ram_bytes = 327_680", "ram_bytes = 327.5", r"\[mcu\] ram_bytes must be an integer"),
        (ESP32, "flash_bytes = 4_194_304\n", "", r"\[mcu\] has no 'flash_bytes'"),
        (ESP32, "[mcu]", "[mpu]", r"\[mcu\] is missing"),
        (ESP32, "[mcu]", "[extra]\n[mcu]", r"unknown section \[extra\]"),
        (
            ESP32,
            "espressif32@6.13.0",
            "https://example.org/evil.git",
            r"\[platformio\] platform must be text of the form",
        ),
        (ESP32, "espressif32@6.13.0", "espressif32", r"\[platformio\] platform must be text"),
        (ESP32, '"esp32dev"', '"x\\nextra_scripts = evil.py"', r"board must be text|aliases must be"),
        (ESP32, "CONFIG_ESPTOOLPY_FLASHSIZE_4MB=y", "CONFIG_A=y\\nCONFIG_B=y", r"sdkconfig must be a list"),
        (ESP32, 'family = "esp32"', 'family = "semihosting"', "does not fit"),
        (ESP32, "stack_bytes = 8_192", "stack_bytes = 400_000", "stack_bytes is more than"),
        (M0, '"-mthumb"', '"-fplugin=evil.so"', r"\[emulator\] compile_flags must be a list"),
        (M0, '"-mthumb"', "7", r"\[emulator\] compile_flags must be a list"),
        (M0, 'command = "qemu-system-arm"', 'command = "sh"', r"\[emulator\] command must be text"),
        (
            M0,
            'machine = "microbit"',
            'machine = "microbit -monitor stdio"',
            r"\[emulator\] machine must be text",
        ),
        (M0, 'machine = "microbit"', 'machine = "microbit', "not valid TOML"),
    ],
)
def test_a_bad_board_file_is_refused_with_file_and_key(
    tmp_path: Path, text: str, old: str, new: str, complaint: str
) -> None:
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SerqError, match=complaint) as caught:
        load_board(str(path))
    assert "mine.toml" in str(caught.value)


def test_a_board_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ESP32.replace('name = "esp32"', 'name = "my-esp32"'))
    assert load_board(str(path)).name == "my-esp32"
    with pytest.raises(SerqError, match="cannot read the board file"):
        load_board(str(tmp_path / "none.toml"))


def test_two_boards_that_answer_to_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "esp32.toml").write_text(ESP32)
    (tmp_path / "other.toml").write_text(ESP32.replace('name = "esp32"', 'name = "other"'))
    monkeypatch.setattr(resources, "BOARDS", tmp_path)
    with pytest.raises(SerqError, match="both answer to"):
        load_board("esp32")


def test_project_files_of_an_esp32() -> None:
    files = load_board("esp32").project_files(render)
    assert set(files) == {
        "platformio.ini",
        "src/serq_board.h",
        "board.toml",
        "CMakeLists.txt",
        "src/CMakeLists.txt",
        "sdkconfig.defaults",
    }
    assert "platform = espressif32@6.13.0\nboard = esp32dev\nframework = espidf\n" in files["platformio.ini"]
    assert "monitor_speed = 460800\n" in files["platformio.ini"]
    assert "#define SERQ_BOARD_CLOCK_HZ 240000000u" in files["src/serq_board.h"]
    assert "CONFIG_ESP_CONSOLE_NONE=y\n" in files["sdkconfig.defaults"]
    assert "CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_240=y\n" in files["sdkconfig.defaults"]


def test_project_files_of_an_emulated_board_repeat_the_toml() -> None:
    board = load_board("emulated-xtensa")
    assert isinstance(board.emulator, Emulator)
    files = board.project_files(render)
    manifest = json.loads(files[f"platforms/{EMULATED_PLATFORM}/boards/emulated-xtensa.json"])
    assert manifest["build"]["symbols"]["__stack_size"] == board.port.stack_bytes
    assert manifest["upload"] == {
        "maximum_size": board.mcu.flash_bytes,
        "maximum_ram_size": board.mcu.ram_bytes,
    }
    assert manifest["build"]["emulator"] == board.emulator.command_line
    assert f"platforms/{EMULATED_PLATFORM}/xtensa/link.ld" in files
    assert f"platforms/{EMULATED_PLATFORM}/xtensa/link.ld" not in load_board("emulated-m0").project_files(
        render
    )


def test_project_files_are_the_same_each_time() -> None:
    for board in all_boards():
        assert board.project_files(render) == load_board(board.name).project_files(render)
