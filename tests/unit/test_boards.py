"""Boards: what ships is sound, the names people say find it, and a file that says what it may not is
refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from serq_mcu.base import resources
from serq_mcu.base.validation import parse_toml, read_toml
from serq_mcu.boards import board as boards
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
from serq_mcu.boards.family import FAMILIES, require_port
from serq_mcu.boards.framework import FRAMEWORKS, FrameworkName
from serq_mcu.boards.samples import conversion
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError
from serq_mcu.extension import register_boards, register_family

NAMES = [path.stem for path in sorted(resources.BOARDS.glob("*.toml"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_board_is_named_after_its_file_and_gives_a_source_for_its_figures(name: str) -> None:
    board = read_board(resources.BOARDS / f"{name}.toml")
    assert board.name == name
    assert {"mcu.flash_bytes", "mcu.ram_bytes", "port.stack_bytes"} <= set(board.sources)
    table = parse_toml(board.toml, "board.toml")
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
        "xiao-esp32s3-sense",
        "m5stack-atoms3u",
        "m5stack-atom-echo",
        "m5stickc-plus2",
        "esp32c3-supermini",
        "teensy40",
        "nano-rp2040-connect",
        "emulated-m0",
        "emulated-m33",
        "emulated-m4f",
        "emulated-m55",
        "emulated-m7",
        "emulated-rv32imc",
        "emulated-xtensa",
    ]
    assert sorted(load_board(name).name for name in asked) == sorted(NAMES)
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
        ("cortex-m33", "emulated-m33"),
        ("Cortex-M55", "emulated-m55"),
        ("risc-v", "emulated-rv32imc"),
        ("lx106", "emulated-xtensa"),
    ],
)
def test_names_people_say(said: str, meant: str) -> None:
    assert load_board(said).name == meant


def test_every_board_has_a_microphone_and_a_source_for_its_choice() -> None:
    for board in all_boards():
        assert board.takes(board.microphone.interface)
        assert "audio.microphone" in board.sources
        assert all(path.is_file() for path in board.sources_in_project("live").values())


def test_every_driver_is_some_boards() -> None:
    drivers = {path.name for path in (resources.FIRMWARE / "ports").glob("audio_*_*.c*")}
    used = {
        board.driver(i).name
        for board in all_boards()
        for i in ("i2s", "pdm", "adc", "line")
        if board.takes(i)
    }
    assert used == drivers


@pytest.mark.parametrize("microphone", all_microphones(), ids=lambda m: m.name)
def test_every_microphone_names_its_file_and_sources_and_has_a_board(microphone: Microphone) -> None:
    text = (resources.MICROPHONES / f"{microphone.name}.toml").read_text()
    table = parse_toml(text, "microphone")
    assert {"microphone.dc_shift", "microphone.gain_db"} <= set(table["sources"])
    assert [board for board in all_boards() if board.takes(microphone.interface)]


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
            "nucleo_f446re",
            "inmp441",
            [],
            r"inmp441 needs I2S, for which nucleo_f446re has no pins or no driver; it takes max4466, max9814",
        ),
        ("esp32c3", "mp34dt06j", [], r"needs PDM, for which esp32c3 has no pins"),
        ("esp32", "inmp442", [], r"unknown microphone 'inmp442'; use one of clip, ics43434, inmp441"),
        ("esp32", "../x", [], "unknown microphone '../x'"),
        ("esp32", "none.toml", [], "cannot read the microphone file none.toml"),
        ("esp32", None, ["gain=3"], "'gain=3' is not a setting; use --set audio.KEY=VALUE"),
        ("esp32", None, ["mcu.flash_bytes=3"], "is not a setting"),
        (
            "esp32",
            None,
            ["microphone.gain=3"],
            r"unknown key 'gain' in \[microphone\]; did you mean gain_db\?",
        ),
        (
            "esp32",
            None,
            ["microphone.gain_db=99"],
            r"microphone.gain_db is 99; it must be a whole number from -20 to 40",
        ),
        ("esp32", None, ["audio.ring_samples=3000"], "must be a power of two, not 3000"),
        (
            "esp32",
            None,
            ["audio.i2s_data=5; evil"],
            r"audio.i2s_data is '5; evil'; it must be text of the form \[A-Z\]",
        ),
        ("esp32", None, ['microphone.title=x"\n#define'], "is not a setting"),
        (
            "esp32",
            None,
            ["microphone.slot=left"],
            "microphone.slot is 'left'; it must be one of msb, philips",
        ),
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
        SerqError, match=r"unknown board 'nucleo_f466re'; did you mean nucleo_f446re\?.*serq-mcu boards"
    ):
        load_board("nucleo_f466re")
    with pytest.raises(SerqError, match=r"unknown board 'wio-terminal'; `serq-mcu boards` lists all"):
        load_board("wio-terminal")
    with pytest.raises(SerqError, match=r"unknown board ''; `serq-mcu boards`"):
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
            r"unknown key 'baord' in \[platformio\]; did you mean board",
        ),
        (
            ESP32,
            "baud = 460_800",
            "baud = 300",
            r"port.baud is 300; it must be a whole number from 1200 to 4000000",
        ),
        (ESP32, "baud = 460_800", "baud = true", r"port.baud is True; it must be a whole number"),
        (ESP32, "baud = 460_800", "", "real board needs"),
        (
            ESP32,
            "ram_bytes = 327_680",
            "ram_bytes = 327.5",
            r"mcu.ram_bytes is 327.5; it must be a whole number",
        ),
        (ESP32, "flash_bytes = 4_194_304\n", "", r"mcu.flash_bytes is missing"),
        (ESP32, "[mcu]", "[mpu]", r"unknown key 'mpu'; did you mean mcu\?"),
        (ESP32, "[mcu]", "[extra]\n[mcu]", r"unknown key 'extra'; it may have board, platformio"),
        (
            ESP32,
            "espressif32@6.13.0",
            "https://example.org/evil.git",
            r"platformio.platform is .*; it must be text of the form serq_emulated",
        ),
        (
            ESP32,
            "espressif32@6.13.0",
            "espressif32",
            r"platformio.platform is 'espressif32'; it must be text",
        ),
        (
            ESP32,
            '"esp32dev"',
            '"x\\nextra_scripts = evil.py"',
            r"board.aliases\[0\] .* holds a control character",
        ),
        (
            ESP32,
            "CONFIG_ESPTOOLPY_FLASHSIZE_4MB=y",
            "CONFIG_A=y\\nCONFIG_B=y",
            r"platformio.sdkconfig\[0\] .* holds a control character",
        ),
        (ESP32, 'family = "esp32"', 'family = "semihosting"', "does not fit"),
        (ESP32, "stack_bytes = 8_192", "stack_bytes = 400_000", "stack_bytes is more than"),
        (
            M0,
            '"-mthumb"',
            '"-fplugin=evil.so"',
            r"emulator.compile_flags\[1\] is '-fplugin=evil.so'; it must be text of the form -m",
        ),
        (M0, '"-mthumb"', "7", r"emulator.compile_flags\[1\] is 7; it must be text of the form -m"),
        (M0, 'command = "qemu-system-arm"', 'command = "sh"', r"emulator.command is 'sh'; it must be text"),
        (
            M0,
            'machine = "microbit"',
            'machine = "microbit -monitor stdio"',
            r"emulator.machine is .*; it must be text",
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


def test_two_boards_that_answer_to_one_alias_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "esp32.toml").write_text(ESP32)
    (tmp_path / "other.toml").write_text(ESP32.replace('name = "esp32"', 'name = "other"'))
    monkeypatch.setattr(resources, "BOARDS", tmp_path)
    with pytest.raises(SerqError, match="esp32 and other both have the name 'esp32dev'"):
        load_board("esp32dev")
    assert load_board("other").name == "other"


def test_a_board_is_found_by_its_file_without_reading_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path, what: str) -> tuple[dict[str, Any], str]:
        read.append(path.name)
        return read_toml(path, what)

    monkeypatch.setattr(boards, "read_toml", counted)
    assert load_board("M5Stack Core2").name == "m5stack-core2"
    assert read == ["m5stack-core2.toml", "spm1423.toml"]


def test_a_shipped_board_that_is_not_named_after_its_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(ESP32)
    monkeypatch.setattr(resources, "BOARDS", tmp_path)
    with pytest.raises(SerqError, match=r"mine\.toml: board\.name is 'esp32'"):
        load_board("mine")


def test_a_setting_keeps_comments_and_order_of_the_file() -> None:
    board = load_board("nucleo_f446re")
    changed = with_changes(board, None, ["audio.adc_pin=A3"])
    before, after = board.toml.splitlines(), changed.toml.splitlines()
    assert [line for line in before if line not in after] == ['adc_pin = "A0"']
    assert after[: len(before)] == [line.replace('"A0"', '"A3"') for line in before]
    assert "[microphone]" in after[len(before) :]


@pytest.mark.parametrize("said", ["m5atoms3", "stm32m0", "teensy36", "esp32-c5", "esp", "lolin32"])
def test_the_nearest_of_a_real_board_is_no_emulated_one(said: str) -> None:
    with pytest.raises(SerqError, match=r"did you mean (?!emulated).*a board file \(\.toml\) works too"):
        load_board(said)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("m5atoms3", "m5stack-atoms3u"),
        ("teensy36", "teensy4"),
        ("nucleo_l432kc", "nucleo_l4"),
        ("lolin32", "esp32:lolin32"),
        ("emulated-m85", "emulated-m"),
    ],
)
def test_the_nearest_board_is_of_the_same_chip_or_maker(said: str, meant: str) -> None:
    with pytest.raises(SerqError, match=rf"did you mean {meant}"):
        load_board(said)


@pytest.mark.parametrize(
    "said", ["ESP32-S3-BOX-3", "Pico 2", "xiao nrf52840 sense", "microbit", "nicla_voice"]
)
def test_a_board_that_cannot_be_served_is_refused_with_the_reason(said: str) -> None:
    with pytest.raises(SerqError, match=rf"{said} is not supported: .*; a board file of your own"):
        load_board(said)


PORT = """
#include "port.h"
size_t port_read(uint8_t *bytes, size_t capacity) { return 0; }
size_t port_poll(uint8_t *bytes, size_t capacity) { return 0; }
void port_write(const uint8_t *bytes, size_t count) { }
uint32_t port_cycles(void) { return 0; }
int main(void) { application_run(); }
"""


def _own(folder: Path, port: str = PORT, source: str = "my_port.c") -> Path:
    """A board file in a folder, with a port of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my_port.c").write_text(port)
    path = folder / "mine.toml"
    path.write_text(M0.replace('family = "semihosting"', f'family = "mine"\nsource = {json.dumps(source)}'))
    return path


def test_a_board_file_may_bring_its_port(tmp_path: Path) -> None:
    board = load_board(str(_own(tmp_path)))
    assert board.sources_in_project() == {"src/port_mine.c": tmp_path / "my_port.c"}
    assert set(board.sources_in_project("live")) == {"src/port_mine.c", "src/audio_port_line.c"}
    text = board.project_files(render)["board.toml"]
    assert text == board.toml.replace('"my_port.c"', '"src/port_mine.c"')


@pytest.mark.parametrize(
    "source",
    [
        *(
            "/tmp/my_port.c",
            "../own/my_port.c",
            "a/../my_port.c",
            "./my_port.c",
            "~/my_port.c",
            "C:\\my_port.c",
        ),
        *("my_port.py", "my_port.c\n", "my port.c", "-my_port.c", "my_port.c;x.c", ""),
    ],
)
def test_a_port_that_lies_elsewhere_or_is_no_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(SerqError, match=r"mine\.toml: port\.source .*(it must be text of|control character)"):
        load_board(str(_own(tmp_path / "own", source=source)))


def test_a_port_that_is_missing_a_folder_or_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    path = _own(tmp_path / "own", source="none.c")
    with pytest.raises(SerqError, match=r"mine\.toml: port\.source: .*none\.c is not a file"):
        load_board(str(path))
    (tmp_path / "own" / "none.c").mkdir()
    with pytest.raises(SerqError, match="is not a file"):
        load_board(str(path))
    (tmp_path / "own" / "none.c").rmdir()
    (tmp_path / "elsewhere.c").write_text(PORT)
    (tmp_path / "own" / "none.c").symlink_to(tmp_path / "elsewhere.c")
    with pytest.raises(SerqError, match="is a link out of the folder of the board file"):
        load_board(str(path))


@pytest.mark.parametrize(
    "function", ["port_read", "port_poll", "port_write", "port_cycles", "application_run"]
)
def test_a_port_that_lacks_a_function_is_refused_with_file_and_function(
    tmp_path: Path, function: str
) -> None:
    port = PORT.replace(function, "other") + f"/* {function} */\n// {function}\n"
    with pytest.raises(SerqError, match=rf"my_port\.c has no {function}\(\)"):
        load_board(str(_own(tmp_path, port)))


def test_a_family_or_driver_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ESP32.replace('family = "esp32"', 'family = "stm32cube"'))
    known = "arduino, esp32, semihosting, simcall"
    with pytest.raises(SerqError, match=rf"'stm32cube' is not one of {known}; .* port\.source"):
        load_board(str(path))
    path.write_text(ESP32.replace('driver = "esp32"', 'driver = "mine"'))
    with pytest.raises(SerqError, match=r"'mine' is not one of esp32, mbed, .* audio\.source"):
        load_board(str(path))
    path.write_text(ESP32.replace('family = "esp32"', 'family = "host"'))
    with pytest.raises(SerqError, match="'host' is not one of"):
        load_board(str(path))


def test_every_port_of_the_folder_is_a_family_and_has_what_a_port_needs() -> None:
    assert {board.port.family for board in all_boards()} == set(FAMILIES)
    for family in FAMILIES.values():
        require_port(family.port)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers goes again."""
    monkeypatch.setattr(boards, "_registered", {})
    known = set(FAMILIES)
    yield
    for name in set(FAMILIES) - known:
        FAMILIES.remove(name)


@pytest.mark.usefixtures("clean")
def test_a_family_that_lacks_its_port_or_is_there_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match=rf"{tmp_path} is no chip family: it has no port_FAMILY\.c"):
        register_family(tmp_path)
    with pytest.raises(SerqError, match="none is no chip family"):
        register_family(tmp_path / "none")
    (tmp_path / "port_mine.c").write_text(PORT.replace("port_cycles", "cycles"))
    with pytest.raises(SerqError, match=r"port_mine\.c has no port_cycles\(\)"):
        register_family(tmp_path)
    assert "mine" not in FAMILIES
    (tmp_path / "port_mine.c").write_text(PORT)
    register_family(tmp_path)
    with pytest.raises(SerqError, match="chip family 'mine' is registered already"):
        register_family(tmp_path)
    (tmp_path / "port_mine.c").rename(tmp_path / "port_esp32.c")
    with pytest.raises(SerqError, match="chip family 'esp32' is registered already"):
        register_family(tmp_path)


@pytest.mark.usefixtures("clean")
def test_boards_of_a_folder_are_found_by_name_and_no_name_is_taken_twice(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match=r"has no board file \(\.toml\)"):
        register_boards(tmp_path)
    (tmp_path / "my-board.toml").write_text(ESP32.replace('name = "esp32"', 'name = "my-board"', 1))
    register_boards(tmp_path)
    assert load_board("My Board").name == "my-board" in {board.name for board in all_boards()}
    with pytest.raises(SerqError, match=r"my-board\.toml has the name of .*my-board\.toml"):
        register_boards(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ESP_32.toml").write_text(ESP32)
    with pytest.raises(SerqError, match=r"ESP_32\.toml has the name of .*esp32\.toml"):
        register_boards(tmp_path / "other")


def test_each_framework_that_a_board_may_name_has_its_files() -> None:
    assert get_args(FrameworkName) == tuple(FRAMEWORKS)


def test_project_files_of_an_esp32() -> None:
    files = load_board("esp32").project_files(render)
    assert set(files) == {
        "platformio.ini",
        "src/serq_board.h",
        "board.toml",
        "CMakeLists.txt",
        "src/CMakeLists.txt",
        "sdkconfig.defaults",
        "partitions.csv",
    }
    assert "platform = espressif32@6.13.0\nboard = esp32dev\nframework = espidf\n" in files["platformio.ini"]
    assert "monitor_speed = 460800\n" in files["platformio.ini"]
    assert "#define SERQ_BOARD_CLOCK_HZ 240000000U" in files["src/serq_board.h"]
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
