"""PlatformIO without a network, and the ports under each emulator: every byte passes both ways, and a run
ends when its input does.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serq_mcu.base import resources
from serq_mcu.base.progress import silent
from serq_mcu.boards.board import Board, all_boards, load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.export import board_files, write_project
from serq_mcu.errors import SerqError

PROGRAMS = Path(__file__).parents[1] / "programs"
PORTS = resources.FIRMWARE / "ports"
EMULATED = [
    "emulated-m0",
    "emulated-m33",
    "emulated-m4f",
    "emulated-m55",
    "emulated-m7",
    "emulated-rv32imc",
    "emulated-xtensa",
]
STREAM = bytes(range(256)) + random.Random(1).randbytes(65536) + bytes(reversed(range(256)))


def _no_network() -> list[str]:
    """A prefix that takes every network interface away, where the system permits it."""
    command = ["unshare", "--net", "--map-root-user"]
    permitted = (
        shutil.which("unshare")
        and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if permitted else []


@pytest.fixture(scope="module", autouse=True)
def fresh_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty PlatformIO core folder, proxies that refuse, so that a build that touched the network would
    fail, and no object files of other builds.
    """
    core = tmp_path_factory.mktemp("core")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLATFORMIO_CORE_DIR", str(core))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name in ("PLATFORMIO_PACKAGES_DIR", "PLATFORMIO_PLATFORMS_DIR"):
            patch.delenv(name, raising=False)
        patch.delenv("PLATFORMIO_EXTRA_SCRIPTS")
        yield core


def _project(board: Board, folder: Path, application: str | None = None) -> Path:
    """An exported folder whose application is the tests' own."""
    source = application or (PROGRAMS / "port_exerciser.c").read_text()
    files = {"src/main.c": source.encode(), "src/port.h": (PORTS / "port.h").read_bytes()}
    write_project(files | board_files(board), "0" * 16, board, folder)
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, platformio.BuildResult]:
    """The exerciser, built for each emulated board."""
    folder = tmp_path_factory.mktemp("programs")
    return {name: platformio.build(_project(load_board(name), folder / name)) for name in EMULATED}


def _run(name: str, elf: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        platformio.emulator_command(load_board(name), elf),
        input=data,
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_all_emulated_boards_are_tested() -> None:
    assert sorted(EMULATED) == sorted(board.name for board in all_boards() if board.emulated)


@pytest.mark.parametrize("name", EMULATED)
def test_every_byte_passes_an_emulated_line_both_ways(
    name: str, programs: dict[str, platformio.BuildResult]
) -> None:
    done = _run(name, programs[name].elf, b"e" + STREAM)
    assert done.returncode == 0, done.stderr
    assert done.stdout == STREAM


@pytest.mark.parametrize("name", EMULATED)
def test_a_read_returns_what_is_there_and_does_not_wait_for_more(
    name: str, programs: dict[str, platformio.BuildResult]
) -> None:
    command = platformio.emulator_command(load_board(name), programs[name].elf)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"e")
            for size in (1, 255, 256, 512):
                process.stdin.write(STREAM[:size])
                received = b""
                while len(received) < size:
                    part = process.stdout.read(size - len(received))
                    assert part, "the program ended"
                    received += part
                assert received == STREAM[:size]
            process.stdin.close()
            assert process.wait(120) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("name", EMULATED)
def test_a_fault_ends_the_run_with_an_exit_code_of_its_own(
    name: str, programs: dict[str, platformio.BuildResult]
) -> None:
    assert 70 <= _run(name, programs[name].elf, b"!").returncode < 70 + 64


@pytest.mark.parametrize("name", EMULATED)
def test_integer_arithmetic_is_right(name: str, programs: dict[str, platformio.BuildResult]) -> None:
    """On Xtensa it is ours (libgcc lacks most of it); elsewhere this guards the compiler flags."""
    source = random.Random(2)
    edges = [
        0,
        1,
        2,
        3,
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
        0x100000000,
        0x7FFFFFFFFFFFFFFF,
        0x8000000000000000,
        0xFFFFFFFFFFFFFFFF,
    ]
    pairs = [(a, b) for a in edges for b in edges] + [
        (source.getrandbits(source.randint(1, 64)), source.getrandbits(source.randint(1, 64)))
        for _ in range(500)
    ]
    done = _run(name, programs[name].elf, b"c" + b"".join(struct.pack("<QQ", a, b) for a, b in pairs))
    found = list(struct.iter_unpack("<QQQqqIIiiQQ", done.stdout))
    assert found == [_calculate(a, b) for a, b in pairs]


def _calculate(a: int, b: int) -> tuple[int, ...]:
    """What port_exerciser.c's calculate() must give; C divides towards zero."""
    low_a, low_b, d, n = a & 0xFFFFFFFF, b & 0xFFFFFFFF | 1, b | 1, a >> 1
    s = -(d >> 1) - 1 if b & 2 else (d >> 1) + 1
    if s == 1 << 63:  # (int64_t)(d >> 1) + 1 stays below 2^63 for every d
        raise AssertionError("the exerciser would overflow")
    low_n, low_s = (low_a >> 1) - 0x40000000, -(low_b >> 2) - 1 if low_b & 2 else (low_b >> 2) + 1
    signed = (_truncated(n, s), n - _truncated(n, s) * s)
    low_signed = (_truncated(low_n, low_s), low_n - _truncated(low_n, low_s) * low_s)
    return (
        a * b % 2**64,
        a // d,
        a % d,
        *signed,
        low_a // low_b,
        low_a % low_b,
        *low_signed,
        a >> (low_b & 63),
        low_a * low_b,
    )


def _truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@pytest.mark.parametrize("name", EMULATED)
def test_sizes_are_the_sections_and_the_stack_is_linked(
    name: str, programs: dict[str, platformio.BuildResult]
) -> None:
    from elftools.elf.elffile import ELFFile

    board, result = load_board(name), programs[name]
    with result.elf.open("rb") as file:
        sections = {section.name: section["sh_size"] for section in ELFFile(file).iter_sections()}
    assert sections[".stack"] == board.port.stack_bytes
    assert result.ram_bytes == sections[".data"] + sections[".bss"] + board.port.stack_bytes
    assert result.flash_bytes == sum(
        sections.get(part, 0) for part in (".vectors", ".reset", ".init", ".text", ".data")
    )
    assert result.log.read_text().count("SUCCESS") == 1


@pytest.mark.slow(7)
def test_the_same_sources_give_the_same_program_in_another_folder(
    tmp_path: Path, programs: dict[str, platformio.BuildResult]
) -> None:
    for name in EMULATED:
        assert (
            platformio.build(_project(load_board(name), tmp_path / "elsewhere" / name)).elf.read_bytes()
            == programs[name].elf.read_bytes()
        ), name


def test_a_program_too_large_for_ram_does_not_link(tmp_path: Path) -> None:
    """13 KB of data and 1 KB of stack fit the M0's 16 KB; 15.5 KB and the stack do not, though 15.5 KB alone
    would.
    """
    application = (
        '#include "port.h"\nstatic uint8_t held[%d];\nvoid application_run(void) { while (port_read(held,'
        " sizeof(held))) port_write(held, sizeof(held)); }\n"
    )
    board = load_board("emulated-m0")
    assert (
        platformio.build(_project(board, tmp_path / "fits", application % 13_000)).ram_bytes
        < board.mcu.ram_bytes
    )
    with pytest.raises(SerqError, match=r"the build of .* failed; .*build.log ends with"):
        platformio.build(_project(board, tmp_path / "not", application % 15_500))


def test_a_build_and_a_run_need_no_network(tmp_path: Path) -> None:
    """`pio run -t exec` as a user would type it, from an empty core folder, without a network interface
    where that can be arranged.
    """
    environment = platformio.environment() | {"PLATFORMIO_CORE_DIR": str(tmp_path / "core")}
    code = "from serq_mcu.build.platformio import _scons; _scons(print)"
    subprocess.run(
        [*_no_network(), sys.executable, "-c", code], env=environment, check=True, capture_output=True
    )
    folder = _project(load_board("emulated-rv32imc"), tmp_path / "project")
    command = [*_no_network(), sys.executable, "-m", "platformio", "run", "-d", str(folder), "-t", "exec"]
    done = subprocess.run(
        command, input=b"e" + b"speech" * 9, capture_output=True, timeout=600, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"speech" * 9 in done.stdout


def test_platformio_finds_nothing_wrong_with_the_ini_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from platformio.project.config import ProjectConfig

    for board in all_boards():
        for app in ("harness", "live"):
            folder = tmp_path / f"{board.name}-{app}"
            write_project(board_files(board, app), "0" * 16, board, folder, app=app)
            monkeypatch.chdir(folder)
            assert ProjectConfig.lint(str(folder / "platformio.ini")) == {"errors": [], "warnings": []}, (
                board.name
            )


def test_setup_lays_out_the_core_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    first = {tool.name: tool for tool in platformio.setup_toolchain(offline=True)}
    again = {tool.name: tool for tool in platformio.setup_toolchain(offline=True)}
    assert (first["tool-scons"].state, again["tool-scons"].state) == ("installed", "ready")
    assert {tool.state for name, tool in again.items() if "@" not in name} == {"ready"}
    assert again["qemu-system-arm"].found[0].isdigit()
    assert again["espressif32@6.13.0 for esp32"].state == "on demand"
    assert sorted(path.name for path in (tmp_path / "core").iterdir()) == ["packages"]


def test_what_is_missing_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _project(load_board("emulated-m4f"), tmp_path / "m4f")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SerqError,
        match=(
            r"arm-none-eabi-gcc is not installed; .*apt-get install gcc-arm-none-eabi picolibc-arm-none-eabi"
        ),
    ):
        platformio.build(folder)
    with pytest.raises(SerqError, match=r"qemu-system-riscv32 is not installed; .*qemu-system-misc"):
        platformio.emulator_command(load_board("emulated-rv32imc"), tmp_path / "x.elf")
    with pytest.raises(
        SerqError,
        match=(
            r"sudo apt-get install gcc-arm-none-eabi gcc-riscv64-unknown-elf gcc-xtensa-lx106"
            r" .*qemu-system-misc"
        ),
    ):
        platformio.setup_toolchain(offline=True)
    assert not (folder / platformio.LOG).exists()


def test_a_missing_platformio_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _project(load_board("emulated-m0"), tmp_path / "m0")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SerqError, match=r"pip install 'serq-mcu\[build\]'"):
        platformio.build(folder)


@pytest.mark.parametrize("name", [board.name for board in all_boards() if not board.emulated])
def test_missing_vendor_packages_are_named_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = load_board(name)
    folder = _project(board, tmp_path / name)
    monkeypatch.setattr(platformio, "_registry_reachable", lambda: False)
    with pytest.raises(
        SerqError,
        match=f"{board.platformio.platform}.*no network.*run `serq-mcu build {folder}` once with a network",
    ):
        platformio.build(folder)
    assert not (folder / ".pio").exists()


def test_installed_vendor_packages_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    board = load_board("esp32")
    for path, text in [
        ("platforms/espressif32/platform.json", '{"name": "espressif32", "version": "6.13.0"}')
    ] + [(f"packages/{package}@1.2.3/package.json", "{}") for package in board.platformio.packages]:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert platformio.missing_packages(board) == [platformio.IDF_PYTHON]
    (tmp_path / "penv/.espidf-5.5.3").mkdir(parents=True)
    (tmp_path / "penv/.espidf-5.5.3/pio-idf-venv.json").write_text("{}")
    assert platformio.missing_packages(board) == []
    (tmp_path / "platforms/espressif32/platform.json").write_text(
        '{"name": "espressif32", "version": "6.12.0"}'
    )
    assert platformio.missing_packages(board) == ["espressif32@6.13.0"]


def test_a_network_that_is_not_there_is_noticed_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that can never resolve (RFC 2606) stands for a machine without a network."""
    for name in platformio._PROXIES:
        monkeypatch.delenv(name, raising=False)
    real = subprocess.run

    def without_network(command: list[str], **options: object) -> object:
        return real(
            [
                part.replace("platformio.__registry_mirror_hosts__[0]", "'registry.invalid'")
                for part in command
            ],
            **options,
        )  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", without_network)
    assert platformio._registry_reachable() is False


def test_a_failed_build_shows_the_end_of_its_log(tmp_path: Path) -> None:
    folder = _project(load_board("emulated-m0"), tmp_path / "bad", "this is not C;\n")
    with pytest.raises(SerqError, match=r"main\.c:1:1: error"):
        platformio.build(folder)


def test_folders_and_ports_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match=r"is not an exported project"):
        platformio.build(tmp_path)
    esp32 = _project(load_board("esp32"), tmp_path / "esp32")
    with pytest.raises(SerqError, match=r"there is no port /dev/none; "):
        platformio.flash(esp32, "/dev/none")
    m0 = _project(load_board("emulated-m0"), tmp_path / "m0")
    with pytest.raises(SerqError, match="is an emulated board and has no port"):
        platformio.flash(m0, "/dev/ttyUSB0")
    with pytest.raises(SerqError, match="is an emulated board and has no port"):
        platformio.monitor(m0)
    with pytest.raises(SerqError, match="is not emulated; export for emulated-xtensa"):
        platformio.emulator_command(load_board("esp32"), tmp_path / "x.elf")


STRICT = [
    "-O1",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Werror",
    "-fsanitize=undefined,address",
    "-fno-sanitize-recover=all",
]

ARDUINO = """
#pragma once
#include <stddef.h>
#include <stdint.h>
struct Line { void begin(unsigned long); int available(); int read(); size_t write(const uint8_t *,
  size_t); };
extern Line Serial;
static inline void yield() {}
"""

ARDUINO_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "Arduino.h"
Line Serial;
static int next = -2, idle = 0;
void Line::begin(unsigned long baud) { if (baud != 460800) abort(); }
int Line::available()
{
    if (next == -2) next = getchar();
    if (next != EOF) return 1;
    if (idle++) exit(fflush(stdout)); // asked again with nothing left: the host has gone
    return 0;
}
int Line::read() { int byte = next; next = -2; return byte; }
size_t Line::write(const uint8_t *bytes, size_t count) { return fwrite(bytes, 1, count, stdout); }
void setup();
int main() { setup(); }
"""

ESP_IDF = {
    "driver/uart.h": (
        """
#include <stddef.h>
#include <stdint.h>
typedef struct { int baud_rate, data_bits, parity, stop_bits, flow_ctrl, source_clk; } uart_config_t;
enum { UART_NUM_0, UART_DATA_8_BITS, UART_PARITY_DISABLE, UART_STOP_BITS_1, UART_HW_FLOWCTRL_DISABLE,
  UART_SCLK_DEFAULT, UART_PIN_NO_CHANGE = -1 };
int uart_driver_install(int, int, int, int, void *, int);
int uart_param_config(int, const uart_config_t *);
int uart_set_pin(int, int, int, int, int);
int uart_read_bytes(int, void *, uint32_t, uint32_t);
int uart_get_buffered_data_len(int, size_t *);
int uart_write_bytes(int, const void *, size_t);
"""
    ),
    "esp_cpu.h": "#include <stdint.h>\nstatic inline uint32_t esp_cpu_get_cycle_count(void) { return 0; }\n",
    "esp_err.h": "#include <stdlib.h>\n#define ESP_ERROR_CHECK(call) do { if (call) abort(); } while (0)\n",
    "freertos/FreeRTOS.h": "#define portMAX_DELAY 0xffffffffu\n",
    "soc/uart_pins.h": "#define U0TXD_GPIO_NUM 1\n#define U0RXD_GPIO_NUM 3\n",
}

ESP_IDF_MAIN = """
#include <stdio.h>
#include <string.h>
#include "driver/uart.h"
static unsigned char waiting[300];
static size_t have;
int uart_driver_install(int n, int rx, int tx, int q, void *p, int f) { (void)n; (void)q; (void)p; (void)f;
  return rx > 128 && tx == 0 ? 0 : 1; }
int uart_param_config(int n, const uart_config_t *c) { (void)n; return c->baud_rate == 460800 ? 0 : 1; }
int uart_set_pin(int n, int tx, int rx, int a, int b) { (void)n;
  return tx == 1 && rx == 3 && a == -1 && b == -1 ? 0 : 1; }
static void fill(void) { if (have == 0) have = fread(waiting, 1, sizeof(waiting), stdin); }
int uart_read_bytes(int n, void *to, uint32_t count, uint32_t ticks)
{
    (void)n;
    if (ticks) fill();
    if (count > have) count = (uint32_t)have;
    memcpy(to, waiting, count);
    memmove(waiting, waiting + count, have - count);
    have -= count;
    return (int)count;
}
int uart_get_buffered_data_len(int n, size_t *count) { (void)n; *count = have; return 0; }
int uart_write_bytes(int n, const void *from, size_t count) { (void)n; return (int)fwrite(from, 1, count,
  stdout); }
void app_main(void);
int main(void) { app_main(); return 0; }
"""


def _host_program(folder: Path, sources: dict[str, str], ports: list[str], compiler: str = "gcc") -> Path:
    """Compile the exerciser with ports on the host, strictly and with sanitizers; `sources` stand for a
    framework.
    """
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    exerciser = folder / "exerciser.o"
    subprocess.run(
        [
            "gcc",
            *STRICT,
            "-std=c99",
            f"-I{PORTS}",
            "-c",
            str(PROGRAMS / "port_exerciser.c"),
            "-o",
            str(exerciser),
        ],
        check=True,
    )
    command = [
        compiler,
        *STRICT,
        f"-I{PORTS}",
        f"-I{folder}",
        *ports,
        *(str(folder / name) for name in sources if name.endswith((".c", ".cpp"))),
        str(exerciser),
    ]
    subprocess.run([*command, "-o", str(folder / "program")], check=True)
    return folder / "program"


def _echoes(program: Path) -> bool:
    done = subprocess.run(
        [str(program)],
        input=b"e" + STREAM,
        capture_output=True,
        timeout=300,
        check=True,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},
    )
    return done.stdout == STREAM


def test_the_host_port_passes_every_byte(tmp_path: Path) -> None:
    assert _echoes(_host_program(tmp_path, {}, [str(PORTS / "port_host.c")]))


def test_the_arduino_port_passes_every_byte_through_serial(tmp_path: Path) -> None:
    """The port itself, on the host, with the framework's Serial imitated; the real one needs its vendor's
    packages.
    """
    files = {
        "Arduino.h": ARDUINO,
        "main.cpp": ARDUINO_MAIN,
        "serq_board.h": "#define SERQ_BOARD_BAUD 460800u\n",
    }
    assert _echoes(_host_program(tmp_path, files, [str(PORTS / "port_arduino.cpp")], "g++"))


def test_the_esp32_port_passes_every_byte_through_its_uart(tmp_path: Path) -> None:
    """The port itself, on the host, with ESP-IDF's driver imitated; the real one needs its vendor's
    packages.
    """
    files = ESP_IDF | {"main.c": ESP_IDF_MAIN, "serq_board.h": "#define SERQ_BOARD_BAUD 460800u\n"}
    assert _echoes(_host_program(tmp_path, files, [str(PORTS / "port_esp32.c")]))


def test_the_ports_are_clean_under_their_compilers(tmp_path: Path) -> None:
    strict = [
        "-std=c99",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-c",
        "-o",
        os.devnull,
        f"-I{PORTS}",
    ]
    for name in EMULATED:
        emulator = load_board(name).emulator
        port = str(PORTS / f"port_{load_board(name).port.family}.c")
        helpers = (
            sorted(map(str, (resources.FIRMWARE / "platforms").rglob("*.c")))
            if name == "emulated-xtensa"
            else []
        )
        for source in [port, *helpers]:
            subprocess.run([f"{emulator.compiler}gcc", *emulator.compile_flags, *strict, source], check=True)  # type: ignore[union-attr]
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    (tmp_path / "serq_board.h").write_text("#define SERQ_BOARD_BAUD 460800u\n")
    arduino = [
        "-mcpu=cortex-m4",
        "-mthumb",
        "-fno-exceptions",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-c",
        "-o",
        os.devnull,
    ]
    subprocess.run(
        [
            "arm-none-eabi-g++",
            "--specs=picolibc.specs",
            *arduino,
            f"-I{PORTS}",
            f"-I{tmp_path}",
            str(PORTS / "port_arduino.cpp"),
        ],
        check=True,
    )


ODD_NAMES = [
    "a b",
    "a;touch PWNED;b",
    "$(touch PWNED)`touch PWNED`",
    "a'b\"c&touch PWNED&|<>",
    "new\nline\ttab",
    "100%s ${PROJECT_DIR} %(here)s $HOME",
    "back\\slash,#!*?[x]{y}",
    "-Wl,-x",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_name_builds_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = _project(load_board("emulated-m0"), Path(name))
    for _ in range(2):  # the second time there is something to replace
        built = platformio.build(folder)
    assert _run("emulated-m0", built.elf, b"eheard").stdout == b"heard"
    assert platformio.last_build(folder) == built
    assert list(tmp_path.rglob("PWNED")) == []
    assert [path.name for path in (tmp_path / "here").iterdir()] == [name]


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if "touch" in name])
def test_platformio_itself_refuses_such_a_folder_of_an_emulated_board(name: str, tmp_path: Path) -> None:
    folder = _project(load_board("emulated-m0"), tmp_path / name)
    platformio._scons(silent)
    command = [sys.executable, "-m", "platformio", "run", "--project-dir", str(folder)]
    done = subprocess.run(
        command, cwd=tmp_path, env=platformio.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    if "$" not in name:  # SCons itself fails at those
        assert "run `serq-mcu build`, which builds elsewhere" in done.stderr
    assert list(tmp_path.rglob("PWNED")) == []


def test_without_a_plain_place_to_build_in_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t;t").mkdir()
    monkeypatch.setattr("serq_mcu.base.shell._TEMPORARY", ())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t;t"))
    folder = _project(load_board("emulated-m0"), tmp_path / "a b")
    with pytest.raises(SerqError, match="set TMPDIR to a folder whose path has only letters"):
        platformio.build(folder)
    assert not (folder / "build.log").exists()
