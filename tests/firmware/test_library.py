"""The runtime as a library: each kind's minimal example compiles with the strictest compilers at hand and
says what the reference says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import Emulator, all_boards, load_board
from serq_mcu.boards.samples import Converter
from serq_mcu.codegen.library import HEADER, KINDS, amalgamate, export_library
from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import features
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.streaming import stream_decisions
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.version import __version__
from tests.support.models import SMALL_SPEC, made_up_model
from tests.support.native import WARNINGS
from tests.support.streaming import with_speech_rule
from tests.support.tools import needs

PROGRAMS = Path(__file__).parents[1] / "programs"

pytestmark = pytest.mark.slow
EMULATED = [board.name for board in all_boards() if board.emulated]
BUZZ = np.where(np.arange(32000) // 40 % 2, 8000, -8000).astype(np.int16)
ARDUINO_LIVE = """
#pragma once
#include <cstdint>
#include <cstdio>
struct { void begin(int) {} void print(const char *t) { fputs(t, stdout); } void print(char c) { putchar(c); }
         void println(const char *t) { puts(t); } void println(int n) { printf("%d\\n", n); } } Serial;
inline void delay(int) {}
void setup();
void loop();
static bool ended;
extern "C" size_t port_read(uint8_t *bytes, size_t capacity)
{
    size_t count = fread(bytes, 1, capacity, stdin);
    ended = count == 0;
    return count;
}
int main() { setup(); while (!ended) { loop(); } }
"""

ARDUINO = """
#pragma once
#include <stdio.h>
#include <stdlib.h>
struct Line { void begin(long) {} void println(const char *text) { puts(text); } };
static Line Serial;
static inline void delay(unsigned long) { exit(0); }
void setup();
void loop();
int main() { setup(); for (;;) loop(); }
"""


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    """One whose answer to the buzz is not the first label."""
    made = (
        made_up_model((12, 7, 4), (3, 2, 5), seed=seed, labels=("anger", "fear", "joy", "日本語"))
        for seed in range(99)
    )
    return next(model for model in made if _answer(model) == "日本語")


def _answer(model: QuantizedModel) -> str:
    return model.labels[int(np.argmax(scores(model, features(model.spec, model.tables, BUZZ))))]


@pytest.fixture(scope="module")
def libraries(model: QuantizedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    for kind in KINDS:
        export_library(model, load_board("esp32"), kind, folder / kind)
    return folder


def _file_scope(source: Path) -> set[str]:
    """What a .c file names for itself: macros, static functions and objects, types and enumerators."""
    text = re.sub(r"/\*.*?\*/", "", source.read_text(encoding="utf-8"), flags=re.DOTALL)
    enums = re.findall(r"^enum \{([^}]*)\};", text, re.MULTILINE)
    return {
        *re.findall(r"^ *# *define +(\w+)", text, re.MULTILINE),
        *re.findall(r"^(?:static|SERQ_INLINE) [^;={(\[]*?(\w+) *[(\[=;]", text, re.MULTILINE),
        *re.findall(r"^typedef [^;{]*?\(?\*?(\w+)\)?(?:\([^;]*)?;", text, re.MULTILINE),
        *re.findall(r"^\} (\w+);", text, re.MULTILINE),
        *(item.split("=")[0].strip() for group in enums for item in group.split(",") if item.strip()),
    }


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=needs("clang"))])
def test_the_one_header_is_a_program(compiler: str, libraries: Path, tmp_path: Path) -> None:
    _run(
        compiler,
        "-std=c99",
        "-O1",
        *WARNINGS,
        "minimal.c",
        "-o",
        tmp_path / "minimal",
        cwd=libraries / "header",
    )
    assert _run(tmp_path / "minimal", cwd=tmp_path) == "日本語\n"


def test_the_one_header_declares_for_cpp_what_c_implements(libraries: Path, tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text(f'#define SERQ_IMPLEMENTATION\n#include "{HEADER}"\n')
    body = "serq_state s; serq_init(&s); return serq_classify(&s, 0) != SERQ_ERROR_TOO_SHORT;"
    (tmp_path / "two.cpp").write_text(f'#include "{HEADER}"\n#include "{HEADER}"\nint main() {{ {body} }}\n')
    _run("gcc", "-std=c99", *WARNINGS, f"-I{libraries / 'header'}", "-c", "one.c", cwd=tmp_path)
    _run(
        "g++",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{libraries / 'header'}",
        "two.cpp",
        "one.o",
        "-o",
        "both",
        cwd=tmp_path,
    )
    _run(tmp_path / "both", cwd=tmp_path)


@pytest.mark.emulator
@pytest.mark.parametrize("board", EMULATED)
def test_the_one_header_compiles_for_every_core(board: str, libraries: Path) -> None:
    emulator = load_board(board).emulator
    assert isinstance(emulator, Emulator)
    flags = [*emulator.compile_flags, "-std=c99", "-O2", *WARNINGS, "-c", "-o", "/dev/null"]
    _run(f"{emulator.compiler}gcc", *flags, "minimal.c", cwd=libraries / "header")


def test_the_esp_idf_component_and_its_example_are_a_program(libraries: Path, tmp_path: Path) -> None:
    folder = libraries / "espidf"
    (tmp_path / "start.c").write_text("void app_main(void);\nint main(void) { app_main(); return 0; }\n")
    sources = [
        *sorted((folder / "src").glob("*.c")),
        folder / "examples/minimal/main/main.c",
        tmp_path / "start.c",
    ]
    _run(
        "gcc",
        "-std=gnu17",
        "-O1",
        "-Wall",
        "-Wextra",
        f"-I{folder / 'src'}",
        *sources,
        "-o",
        tmp_path / "minimal",
        cwd=tmp_path,
    )
    assert _run(tmp_path / "minimal", cwd=tmp_path) == "日本語\n"


def test_cmake_builds_the_component_as_esp_idf_would(libraries: Path, tmp_path: Path) -> None:
    """ESP-IDF's part imitated: what register does with SRC_DIRS, SRCS, INCLUDE_DIRS and requirements by
    the components' folder names.
    """
    (tmp_path / "tools/cmake").mkdir(parents=True)
    (tmp_path / "tools/cmake/project.cmake").write_text(
        'function(idf_component_register)\n  cmake_parse_arguments(C "" ""'
        ' "SRC_DIRS;SRCS;INCLUDE_DIRS;PRIV_REQUIRES" ${ARGN})\n  get_filename_component(name'
        " ${CMAKE_CURRENT_LIST_DIR} NAME)\n  foreach(folder ${C_SRC_DIRS})\n    file(GLOB more"
        " ${CMAKE_CURRENT_LIST_DIR}/${folder}/*.c)\n    list(APPEND C_SRCS ${more})\n  endforeach()\n "
        " add_library(${name} STATIC ${C_SRCS})\n  target_include_directories(${name} PUBLIC"
        " ${C_INCLUDE_DIRS})\n  target_link_libraries(${name} PUBLIC ${C_PRIV_REQUIRES})\n  set(COMPONENT_LIB"
        " ${name} PARENT_SCOPE)\nendfunction()\nmacro(project name)\n  _project(${name} C)\n  foreach(folder"
        " ${EXTRA_COMPONENT_DIRS})\n    add_subdirectory(${folder} component)\n  endforeach()\n "
        ' add_subdirectory(main)\n  file(WRITE ${CMAKE_BINARY_DIR}/start.c "void app_main(void); int'
        ' main(void) { app_main(); return 0; }")\n  add_executable(firmware ${CMAKE_BINARY_DIR}/start.c)\n '
        " target_link_libraries(firmware main)\nendmacro()\n"
    )
    shutil.copytree(libraries / "espidf", tmp_path / "serq")
    example = tmp_path / "serq/examples/minimal"
    _run("env", f"IDF_PATH={tmp_path}", "cmake", "-S", example, "-B", tmp_path / "build", cwd=tmp_path)
    _run("cmake", "--build", tmp_path / "build", cwd=tmp_path)
    assert _run(tmp_path / "build/firmware", cwd=tmp_path) == "日本語\n"


def test_cmake_builds_the_zephyr_module_as_zephyr_would(libraries: Path, tmp_path: Path) -> None:
    """Zephyr's part imitated: modules by their module.yml, options of prj.conf, and the commands of its
    extensions.cmake that the module calls.
    """
    (tmp_path / "zephyr").mkdir()
    (tmp_path / "zephyr" / "ZephyrConfig.cmake").write_text(
        "file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/prj.conf lines REGEX ^CONFIG_)\n"
        'foreach(line ${lines})\n  string(REPLACE "=" ";" pair ${line})\n  list(GET pair 0 name)\n'
        "  list(GET pair 1 value)\n  set(${name} ${value})\nendforeach()\n"
        'file(WRITE ${CMAKE_BINARY_DIR}/empty.c "")\n'
        "enable_language(C)\nadd_executable(app ${CMAKE_BINARY_DIR}/empty.c)\n"
        "macro(zephyr_include_directories folder)\n"
        "  target_include_directories(app PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${folder})\nendmacro()\n"
        "macro(zephyr_library_named name)\n  add_library(${name} STATIC)\n  set(current ${name})\n"
        "  target_link_libraries(app PRIVATE ${name})\nendmacro()\n"
        "macro(zephyr_library_sources)\n  target_sources(${current} PRIVATE ${ARGN})\nendmacro()\n"
        "macro(zephyr_library_compile_options)\n  target_compile_options(${current} PRIVATE ${ARGN})\n"
        "endmacro()\n"
        "foreach(module ${EXTRA_ZEPHYR_MODULES})\n"
        "  file(STRINGS ${module}/zephyr/module.yml found REGEX cmake:)\n"
        '  string(REGEX REPLACE ".*cmake: *" "" place ${found})\n'
        "  add_subdirectory(${module}/${place} ${CMAKE_BINARY_DIR}/module)\nendforeach()\n"
    )
    shutil.copytree(libraries / "zephyr", tmp_path / "serq")
    sample, build = tmp_path / "serq/samples/minimal", tmp_path / "build"
    (tmp_path / "serq/Kconfig").read_text().index("config SERQ\n")
    _run("cmake", "-S", sample, "-B", build, f"-DZephyr_DIR={tmp_path / 'zephyr'}", cwd=tmp_path)
    _run("cmake", "--build", build, cwd=tmp_path)
    assert _run(build / "app", cwd=tmp_path) == "日本語\n"
    (sample / "prj.conf").write_text("")
    shutil.rmtree(build)
    _run("cmake", "-S", sample, "-B", build, f"-DZephyr_DIR={tmp_path / 'zephyr'}", cwd=tmp_path)
    done = subprocess.run(["cmake", "--build", build], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "serq.h" in done.stderr


def test_what_a_cmsis_pack_describes_is_there_and_is_a_program(libraries: Path, tmp_path: Path) -> None:
    """As a tool that reads packs would: vendor and name are the file's, and what it lists is compiled."""
    folder = libraries / "cmsis-pack"
    (description,) = folder.glob("*.pdsc")
    package = ElementTree.parse(description).getroot()
    assert f"{package.findtext('vendor')}.{package.findtext('name')}.pdsc" == description.name
    assert [release.get("version") for release in package.iter("release")] == [__version__]
    listed: dict[str, list[str]] = {}
    for file in package.iter("file"):
        assert (folder / file.attrib["name"]).exists()
        listed.setdefault(file.attrib["category"], []).append(file.attrib["name"])
    made = {str(path.relative_to(folder)) for path in folder.rglob("*.[chS]")}
    assert made == {*listed["header"], *listed["source"]}
    sources = [folder / name for name in listed["source"]]
    _run("gcc", "-std=c99", *(f"-I{folder / name}" for name in listed["include"]), *sources, cwd=tmp_path)
    assert _run(tmp_path / "a.out", cwd=tmp_path) == "日本語\n"


def test_the_arduino_library_and_its_example_are_a_program(libraries: Path, tmp_path: Path) -> None:
    folder = libraries / "arduino"
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    _run(
        "gcc",
        "-std=gnu11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-c",
        f"-I{folder / 'src'}",
        *sorted((folder / "src").glob("*.c")),
        cwd=tmp_path,
    )
    sketch: list[str | Path] = [
        "-x",
        "c++",
        "-include",
        "Arduino.h",
        f"-I{folder / 'src'}",
        "-Wall",
        "-Wextra",
        folder / "examples/minimal/minimal.ino",
    ]
    _run("g++", f"-I{tmp_path}", "-c", *sketch, "-o", "sketch.o", cwd=tmp_path)
    _run("g++", *sorted(tmp_path.glob("*.o")), "-o", "minimal", cwd=tmp_path)
    assert _run(tmp_path / "minimal", cwd=tmp_path) == "日本語\n"
    for name in ("library.properties", "library.json", "src/serq.h", "src/serq_thumb1.S", "model.serq"):
        assert (folder / name).is_file()


@pytest.mark.parametrize("board", ["esp32", "m5stack-atom-echo"])
def test_the_live_sketch_prints_what_the_reference_says_and_its_driver_compiles(
    board: str, tmp_path: Path
) -> None:
    """The driver against declarations of ESP-IDF's; the sketch with a recording in the driver's place."""
    streams = made_up_model((16, 5), (4, 3), seed=2, spec=with_speech_rule(SMALL_SPEC), unsure_margin=400)
    target = load_board(board)
    folder = tmp_path / "library"
    export_library(streams, target, "arduino", folder)
    live = folder / "examples" / "live"
    includes = [f"-I{live}", f"-I{folder / 'src'}"]
    for driver in live.glob("audio_esp32*.c"):
        _run(
            "gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", f"-I{PROGRAMS / 'vendor_idf'}", *includes,
            "-c", driver, "-o", "driver.o", cwd=tmp_path,
        )  # fmt: skip
    assert len(list(live.glob("audio_esp32*.c"))) == 2
    (tmp_path / "Arduino.h").write_text(ARDUINO_LIVE)
    (tmp_path / "port.h").write_text(
        "#include <stddef.h>\n#include <stdint.h>\nsize_t port_read(uint8_t *, size_t);\n"
    )
    sources = [
        *sorted((folder / "src").glob("*.c")),
        live / "audio.c",
        FIRMWARE / "ports" / "audio_port_line.c",
    ]
    _run("gcc", "-std=gnu17", f"-I{tmp_path}", *includes, "-c", *sources, cwd=tmp_path)
    (tmp_path / "driver.o").unlink()
    sketch: list[str | Path] = ["-x", "c++", "-include", "Arduino.h", "-Wall", "-Wextra", live / "live.ino"]
    _run("g++", f"-I{tmp_path}", *includes, "-c", *sketch, "-o", "sketch.o", cwd=tmp_path)
    _run("g++", *sorted(tmp_path.glob("*.o")), "-o", "live", cwd=tmp_path)
    words = np.rint(np.random.default_rng(4).normal(0, 900, 40_000)).astype(np.int16)
    words[8000:20_000] //= 90
    said = subprocess.run([tmp_path / "live"], input=words.tobytes(), capture_output=True, check=True).stdout
    names = {-1: "no speech", -2: "not sure"} | dict(enumerate(streams.labels))
    heard = Converter(target.microphone.conversion).pcm(words)
    wanted = [f"{names[decision.answer]} -1" for decision in stream_decisions(streams, heard)]
    assert said.decode().splitlines() == wanted and len(set(wanted)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_library_is_the_same_bytes_twice(
    kind: str, model: QuantizedModel, libraries: Path, tmp_path: Path
) -> None:
    again = export_library(model, load_board("esp32"), kind, tmp_path / "again")
    for name in again.files:
        assert (tmp_path / "again" / name).read_bytes() == (libraries / kind / name).read_bytes()


def test_amalgamation_brings_each_header_once_and_renames_nothing() -> None:
    sources = {
        "a.h": "int a;\n",
        "b.h": '#include "a.h"\nint b;\n',
        "x.c": '#include "b.h"\n#include <stdint.h>\n#define T 1\nstatic int own;\nint x = T;\n',
        "y.c": '#include "a.h"\nint y;\n',
    }
    text = amalgamate(sources, ["a.h"])
    assert text.count("int a;") == text.count("int b;") == 1
    assert (
        text.index("int a;")
        < text.index("SERQ_IMPLEMENTATION\n/*")
        < text.index("int b;")
        < text.index("static int own;")
        < text.index("int y;")
    )
    assert "#include <stdint.h>" in text
    assert "#undef" not in text


def test_no_two_c_files_of_the_runtime_define_the_same_name(libraries: Path, tmp_path: Path) -> None:
    files = sorted((libraries / "espidf" / "src").glob("*.c"))
    shared = [name for name, count in Counter(chain(*map(_file_scope, files))).items() if count > 1]
    assert len(files) > 5
    assert shared == []


def test_file_scope_names_are_found(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text(
        """#define A 1
# define B(x) x
static inline const int *c(int d)
{
    static int e;
    return &e;
}
static int32_t f[2] = {A, 2}, g;
enum { H = 3, I };
typedef struct {
    int j;
} k;
int l(void);
"""
    )
    assert _file_scope(source) == {"A", "B", "c", "f", "H", "I", "k"}


def test_a_kind_that_is_none_is_refused(model: QuantizedModel, tmp_path: Path) -> None:
    with pytest.raises(
        SerqError, match=r"no library of the kind 'mbed'; choose arduino, cmsis-pack, espidf, header, zephyr"
    ):
        export_library(model, load_board("esp32"), "mbed", tmp_path)
