"""What the vendors' own builds ask for: partitions, linker scripts, pins, packages, limits of memory."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from serq_mcu.base import resources
from serq_mcu.boards.board import Board, all_boards, load_board, read_board, with_changes
from serq_mcu.boards.known import known_boards
from serq_mcu.build import platformio
from serq_mcu.build.doctor import diagnose
from serq_mcu.codegen.budget import Budget, Item, _code_in_ram, _framework_items, _model_items
from serq_mcu.codegen.costs import Row, estimate
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError
from tests.support.models import made_up_model

MANIFESTS = json.loads((Path(__file__).parents[1] / "support" / "platform_manifests.json").read_text())
PORTS = resources.FIRMWARE / "ports"
REAL = [board for board in all_boards() if not board.emulated]
IDF = [board for board in REAL if board.platformio.framework == "espidf"]
MODEL = made_up_model([4], [8])
# flash and RAM of linker scripts of arduino-nRF5 0.8.0, cores/nRF5/SDK/components/toolchain/gcc
LINKER_SCRIPTS = {"nrf52_xxaa.ld": (0x80000, 0x10000), "nrf52840_xxaa.ld": (0x100000, 0x40000)}
# of an application's partition: ESP-IDF 5.5.3, components/partition_table/gen_esp32part.py
IDF_ALIGNMENT = 0x10000
IDF_SECTOR = 0x1000


def _files(board: Board) -> dict[str, str]:
    return board.project_files(render)


@pytest.mark.parametrize("board", IDF, ids=lambda b: b.name)
def test_a_partition_has_what_check_grants_and_both_builds_use_it(board: Board) -> None:
    files = _files(board)
    (row,) = [line for line in files["partitions.csv"].splitlines() if not line.startswith("#")]
    _, kind, subtype, offset, size = (cell.strip() for cell in row.split(","))
    assert (kind, subtype) == ("app", "factory")
    assert int(offset, 0) % IDF_ALIGNMENT == 0 and int(size, 0) % IDF_SECTOR == 0
    assert int(offset, 0) + int(size, 0) <= board.mcu.flash_bytes
    assert int(size, 0) == board.program_bytes
    assert "board_build.partitions = partitions.csv\n" in files["platformio.ini"]
    assert "CONFIG_PARTITION_TABLE_CUSTOM=y\n" in files["sdkconfig.defaults"]


@pytest.mark.parametrize("board", IDF, ids=lambda b: b.name)
def test_a_model_beyond_the_vendors_default_partition_fits(board: Board) -> None:
    """PlatformIO's default table gives an application 1 MiB."""
    model = made_up_model([1020, 1012, 4], [8, 8, 8])
    needed = Budget(board, model, (*_model_items(Plan(model, board)), *_framework_items(board)), (), None, 0)
    assert needed.flash > 1_048_576 and needed.fits


@pytest.mark.parametrize("board", all_boards(), ids=lambda b: b.name)
def test_a_program_just_under_and_just_over_each_limit_is_judged_rightly(board: Board) -> None:
    static, whole = board.static_bytes, board.mcu.ram_bytes
    cases = [
        ("flash", Item("x", board.program_bytes, 0, ""), Item("x", board.program_bytes + 1, 0, "")),
        ("static RAM", Item("x", 0, static, ""), Item("x", 0, static + 1, "")),
        ("RAM", Item("x", 0, whole, "", static=False), Item("x", 0, whole + 1, "", static=False)),
    ]
    for name, under, over in cases:
        assert Budget(board, MODEL, (under,), (), None, 0).fits
        too_large = Budget(board, MODEL, (over,), (), None, 0)
        assert not too_large.fits
        (first, *_) = [limit for limit in too_large.limits if not limit.kept]
        assert first.name == name
        assert any(f"bytes of {name} are needed" in line for line in too_large.lines())


def test_what_a_vendors_framework_takes_is_stated_with_its_basis() -> None:
    for board in REAL:
        known = board.memory.framework_flash_bytes
        items = [item for item in _framework_items(board) if item.name == "framework, drivers"]
        assert [item.flash for item in items] == [known or None]
        if known:
            assert "linked with" in items[0].basis
        for key in ("program_bytes", "static_bytes", "framework_flash_bytes", "framework_ram_bytes"):
            assert not getattr(board.memory, key) or f"memory.{key}" in board.sources, (board.name, key)


@pytest.mark.parametrize("board", REAL, ids=lambda b: b.name)
def test_a_board_agrees_with_its_platforms_manifest(board: Board) -> None:
    manifest = MANIFESTS[board.platformio.platform]["boards"][board.platformio.board]
    assert sorted(board.platformio.packages) == manifest["packages"]
    script = board.platformio.ldscript or manifest["ldscript"]
    if script in LINKER_SCRIPTS:
        assert LINKER_SCRIPTS[script] == (board.mcu.flash_bytes, board.mcu.ram_bytes)
    if "espidf" not in board.platformio.framework:
        assert board.mcu.flash_bytes <= manifest["flash_bytes"]


def test_the_nrf52840_takes_its_own_linker_script_and_leaves_the_reset_pin_alone() -> None:
    ini = _files(load_board("nrf52840_dk"))["platformio.ini"]
    assert "board_build.arduino.ldscript = nrf52840_xxaa.ld\n" in ini
    # arduino-nRF5 0.8.0: the variant nRF52DK, which the platform's board file names, writes P0.21 into UICR
    assert "board_build.variant = Generic\n" in ini
    assert {"-DARDUINO_GENERIC", "-DSERQ_SERIAL_RX=8", "-DSERQ_SERIAL_TX=6"} <= set(ini.split())


def test_tables_and_weights_stay_out_of_a_teensys_ram(tmp_path: Path) -> None:
    export(MODEL, load_board("teensy41"), tmp_path / "p")
    source = tmp_path / "p" / "lib" / "serq" / "src"
    for name in ("serq_tables.h", "serq_weights.h"):
        arrays = re.findall(r"^static const \w+ \w+\[\d+\](.*)", (source / name).read_text(), re.M)
        assert arrays and all(place.startswith(" SERQ_IN_FLASH ") for place in arrays)
    assert (
        '#ifdef __IMXRT1062__\n#define SERQ_IN_FLASH __attribute__((section(".progmem")))'
        in (source / "serq_model.h").read_text()
    )


def test_code_that_is_copied_to_ram_counts_there_in_whole_blocks() -> None:
    board = load_board("teensy41")
    rest = board.memory.framework_code_bytes
    for code, blocks in ((0, 1), (32_768 - rest, 1), (32_769 - rest, 2)):
        assert [item.ram for item in _code_in_ram(board, code)] == [blocks * 32_768]
    assert _code_in_ram(load_board("esp32"), 40_000) == []


@pytest.mark.parametrize("name", ["esp32c3", "esp32s3", "esp32c6", "teensy41"])
def test_a_build_counts_code_in_ram(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    sections = {".dram0.data": 1000, board.memory.code_sections[0]: 40_000, ".flash.text": 5000}
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(_elf(sections))
    _, ram = platformio._sizes(elf, board)
    assert ram == 1000 + (65_536 if name == "teensy41" else 40_000) + board.port.stack_bytes


def _elf(sections: dict[str, int]) -> bytes:
    """A little 32-bit ELF file whose sections are stored and have these sizes."""
    names, rows = b"\0", [(0, 0, 0, 0)]
    for name, size in sections.items():
        rows.append((len(names), 1, 2, size))  # SHT_PROGBITS, SHF_ALLOC
        names += name.encode() + b"\0"
    rows.append((len(names), 3, 0, 0))
    names += b".shstrtab\0"
    header = 52
    table = header + len(names)
    text = b"\x7fELF\x01\x01\x01" + bytes(9)
    words = [2, 40, 1]
    text += words[0].to_bytes(2, "little") + words[1].to_bytes(2, "little") + words[2].to_bytes(4, "little")
    text += bytes(8) + table.to_bytes(4, "little") + bytes(4)
    text += b"".join(v.to_bytes(2, "little") for v in (header, 32, 0, 40, len(rows), len(rows) - 1))
    text += names
    rows[-1] = (*rows[-1][:3], len(names))
    for at, kind, flags, size in rows:
        text += b"".join(v.to_bytes(4, "little") for v in (at, kind, flags, 0, header, size, 0, 0, 1, 0))
    return text


def test_a_baud_rates_error_is_what_the_divider_gives() -> None:
    found = 0
    for board in REAL:
        said = re.search(
            r"at an? (\d+) MHz \w+ clock divides to (\d+) with ([\d.]+) % error",
            board.sources.get("port.baud", ""),
        )
        if said:
            clock, baud, error = int(said[1]) * 1e6, board.port.baud, float(said[3])
            assert baud == int(said[2])
            true = clock / round(clock / baud)
            assert round(100 * abs(true / baud - 1), 2) == error, board.name
            found += 1
    assert found == 5


def _installed(core: Path, board: Board) -> None:
    """Lay out a PlatformIO core folder in which the board's platform and packages are."""
    name, version = board.platformio.platform.split("@")
    for kind, folder, manifest in [
        ("platforms", name, {"name": name, "version": version}),
        *(("packages", package, {"name": package}) for package in board.platformio.packages),
    ]:
        place = core / kind / folder
        place.mkdir(parents=True)
        file = "platform.json" if kind == "platforms" else "package.json"
        (place / file).write_text(json.dumps(manifest))


def test_python_packages_of_the_idf_builder_are_missed_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    monkeypatch.setattr(platformio, "_registry_reachable", lambda: False)
    board = load_board("esp32c3")
    _installed(tmp_path / "core", board)
    assert platformio.missing_packages(board) == [platformio.IDF_PYTHON]
    export(MODEL, board, tmp_path / "p")
    with pytest.raises(SerqError, match=r"the Python packages of ESP-IDF.*no network.*once with a network"):
        platformio._check_tools(board, tmp_path / "p")
    (found,) = [f.found for f in diagnose().findings if f.name.startswith("espressif32")]
    assert "the Python packages of ESP-IDF" in found and "esp32c3" in found
    place = tmp_path / "core" / "penv" / ".espidf-5.5.3"
    place.mkdir(parents=True)
    (place / "pio-idf-venv.json").write_text("{}")
    assert platformio.missing_packages(board) == []


def test_any_board_that_the_platform_knows_can_be_chosen_by_its_id(tmp_path: Path) -> None:
    known = known_boards()
    assert len(known) > 200
    for identifier in ("lolin32", "seeed_xiao_esp32c3", "esp32-c6-devkitm-1", "adafruit_feather_esp32_v2"):
        board = load_board(f"esp32:{identifier}")
        chip = load_board(known[identifier].chip)
        assert board.platformio.board == identifier
        assert board.mcu.flash_bytes == known[identifier].flash_bytes
        assert (board.mcu.core, board.platformio.platform) == (chip.mcu.core, chip.platformio.platform)
        assert (
            f"CONFIG_ESPTOOLPY_FLASHSIZE_{known[identifier].flash_bytes >> 20}MB=y"
            in board.platformio.sdkconfig
        )
        (tmp_path / "board.toml").write_text(_files(board)["board.toml"])
        assert read_board(tmp_path / "board.toml").audio == board.audio
    assert load_board("esp32:seeed_xiao_esp32c3").port.kind == "usb_serial_jtag"
    assert load_board("esp32:lolin32").port.kind == "uart"


def test_an_unknown_id_names_near_ones() -> None:
    with pytest.raises(SerqError, match=r"no board 'lolin33'.*near are lolin32"):
        load_board("esp32:lolin33")
    with pytest.raises(SerqError, match="FAMILY:ID is for esp32"):
        load_board("avr:uno")


def test_slow_flash_makes_a_decisions_time_a_range() -> None:
    model = made_up_model([64, 4], [8, 8])
    for name in ("pico", "esp32", "nucleo_f446re"):
        board = load_board(name)
        plan = Plan(model, board, "live")
        needed = Budget(board, model, (), estimate(plan), None, 0, plan.packed_bytes)
        low, high = needed.decision_milliseconds or (0, 0)
        speed = board.memory.flash_bytes_per_cycle
        wanted = plan.packed_bytes / speed / board.mcu.clock_hz * 1000 if speed else 0
        assert low > 0 and high - low == pytest.approx(wanted)
        assert any("more where the flash's cache" in line for line in needed.lines()) == bool(speed)


def test_the_share_of_a_core_is_frames_and_decisions_of_a_second() -> None:
    board = load_board("nucleo_f446re")
    rows = (Row("frame", "x", 100, 180_000), Row("decision", "y", 100, 1_800_000))  # 1 ms and 10 ms
    needed = Budget(board, MODEL, (), rows, None, 0)
    spec, rule = MODEL.spec, MODEL.decision
    assert rule is not None
    frames = spec.sample_rate / spec.hop_length
    share = frames * 0.001 + frames / rule.block_frames * 0.010
    assert list(needed.core_share or ()) == [pytest.approx(share)] * 2


def test_the_current_is_between_a_waiting_and_a_computing_core_by_its_share() -> None:
    board = load_board("esp32c3")
    power = board.power
    rows = (Row("frame", "x", 160_000, None), Row("decision", "y", 1_600_000, None))  # 1 ms and 10 ms
    quiet = Row("silence", "z", 16_000_000, None)  # a tenth of a second
    needed = Budget(board, MODEL, (), rows, quiet, 0)
    (share, _), between = needed.core_share or (0, 0), power.computing_ma - power.waiting_ma
    assert 0 < share < 1
    assert needed.milliamps == pytest.approx([power.waiting_ma + between * share] * 2)
    assert needed.silent_milliamps == pytest.approx(power.waiting_ma + between * 0.1)
    line = f"the chip takes about {needed.milliamps[0]:.1f} mA while it listens, and about"
    (said,) = [text for text in needed.lines() if text.startswith(line)]
    assert f" {needed.silent_milliamps:.1f} mA where nobody speaks" in said and "datasheet" in said
    assert needed.to_json()["milliamps"] == needed.milliamps
    busy = Budget(board, MODEL, (), (*rows, *rows * 99), None, 0)
    assert busy.milliamps == (power.computing_ma, power.computing_ma)  # no more than all of the time


def test_without_a_figure_of_a_waiting_core_the_current_is_a_limit_and_without_any_it_is_not_said() -> None:
    rows = (Row("frame", "x", 100, 100), Row("decision", "y", 100, 100))
    teensy, unknown = (
        Budget(load_board(name), MODEL, (), rows, None, 0) for name in ("teensy41", "nucleo_f446re")
    )
    assert teensy.milliamps == (100, 100)
    assert any("at most 100.0 mA" in line for line in teensy.lines())
    assert unknown.milliamps is None and not any(" mA " in line for line in unknown.lines())


def test_every_current_has_its_source_and_no_core_takes_more_while_it_waits(tmp_path: Path) -> None:
    for board in all_boards():
        if board.power.computing_ma:
            assert "power.computing_ma" in board.sources, board.name
    path = tmp_path / "mine.toml"
    path.write_text(
        (resources.BOARDS / "esp32.toml").read_text().replace("waiting_ma = 30", "waiting_ma = 69")
    )
    with pytest.raises(SerqError, match=r"power\.waiting_ma is more than power\.computing_ma"):
        read_board(path)


def test_a_frame_is_priced_without_the_harness_trace() -> None:
    """Cores with a long multiply compute powers as they read them; the others store them."""
    for name, stored in (("emulated-m4f", False), ("emulated-rv32imc", False), ("emulated-m0", True)):
        harness, live = (estimate(Plan(MODEL, load_board(name), app)) for app in ("harness", "live"))
        (power,) = (row.instructions for row in live if row.name == "power")
        assert harness == live
        assert (power is not None and power > 0) == stored


def test_the_line_of_a_project_is_the_ports_kind() -> None:
    uart = load_board("esp32s3")
    usb = with_changes(uart, None, ["port.kind=usb_serial_jtag"])
    for board, flag, component in ((uart, 0, "esp_driver_uart"), (usb, 1, "esp_driver_usb_serial_jtag")):
        files = _files(board)
        assert f"#define SERQ_PORT_USB_SERIAL_JTAG {flag} " in files["src/serq_board.h"]
        assert f"PRIV_REQUIRES {component} " in files["src/CMakeLists.txt"]
        # the second console is on by default, and would write logs among the answers
        assert (
            "CONFIG_ESP_CONSOLE_NONE=y\nCONFIG_ESP_CONSOLE_SECONDARY_NONE=y\n" in files["sdkconfig.defaults"]
        )
    for name in ("esp32", "nucleo_f446re"):
        with pytest.raises(SerqError, match=r"port\.kind 'usb_serial_jtag' is not for"):
            with_changes(load_board(name), None, ["port.kind=usb_serial_jtag"])


def test_a_console_of_ones_own_is_refused(tmp_path: Path) -> None:
    text = (resources.BOARDS / "esp32s3.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("sdkconfig = [", 'sdkconfig = ["CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG=y", '))
    with pytest.raises(SerqError, match=r"puts logs on the line to the host; say \[port\] kind"):
        read_board(path)


def test_a_usb_line_is_opened_at_some_rate() -> None:
    for board in REAL:
        assert board.baud >= 1200
        assert (board.port.kind == "uart") == bool(board.port.baud) or board.port.kind == "usb_serial_jtag"
