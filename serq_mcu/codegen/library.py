"""The runtime and a model as a library: Arduino, PlatformIO, ESP-IDF, Zephyr, CMSIS-Pack, or one header."""

from __future__ import annotations

import re
from pathlib import Path

from serq_mcu.base import resources
from serq_mcu.boards.board import Board
from serq_mcu.boards.wiring import wires
from serq_mcu.codegen.export import Project, require_runnable, runtime_files, write_project
from serq_mcu.codegen.plan import LIBRARY, MODEL, Files, Plan
from serq_mcu.codegen.render import render
from serq_mcu.errors import SerqError
from serq_mcu.layers.kernels import Storage
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.version import __version__

KINDS = ("arduino", "cmsis-pack", "espidf", "header", "zephyr")
HEADER = "serq_amalgamated.h"
PACK_DESCRIPTION = "serq-mcu.serq.pdsc"  # vendor and name of a CMSIS-Pack
_INCLUDE = re.compile(r'^#include "(\w+\.h)".*\n', re.MULTILINE)


def export_library(
    model: QuantizedModel,
    board: Board,
    kind: str,
    out: Path,
    storage: Storage = Storage.COMPACT,
    *,
    force: bool = False,
) -> Project:
    """Write `model` as a library of one of KINDS to the folder `out`, as export() writes a project.

    Takes the kernels that are fastest on `board`; all kinds compute the same integers on any core. Raises
    SerqError as export() does.
    """
    if kind not in KINDS:
        raise SerqError(f"there is no library of the kind {kind!r}; choose {', '.join(KINDS)}")
    makers = {
        "arduino": _arduino,
        "cmsis-pack": _cmsis_pack,
        "espidf": _component,
        "header": _header,
        "zephyr": _zephyr,
    }
    plan = Plan(model, board, f"library ({kind})", storage)
    files = makers[kind](plan, _sources(plan)) | {MODEL: plan.model_files[MODEL]}
    return write_project(files, plan.identity, board, out, plan.app, storage, force=force)


def export_esphome(plan: Plan, out: Path, *, force: bool = False) -> Project:
    """Write an external component of ESPHome, and a configuration that uses it, to the folder `out`.

    Raises SerqError as export() does, and if ESPHome cannot read the board's microphone or the model cannot
    listen.
    """
    board, interface = plan.board, plan.board.microphone.interface
    if board.platformio.framework != "espidf" or interface not in ("i2s", "pdm"):
        raise SerqError(f"the example esphome needs an ESP32 with an I2S or PDM microphone, not {board.name}")
    require_runnable(plan)
    place, firmware = "components/serq_mcu", resources.FIRMWARE
    audio = {path.name: path.read_text() for path in sorted((firmware / "lib/serq_audio/src").glob("*.[ch]"))}
    texts = _portable(plan, _sources(plan)) | audio
    component = {path.name: path.read_text() for path in sorted((firmware / "esphome").glob("*.*"))}
    component |= {
        "__init__.py": render("examples/esphome.init.j2", rate=plan.model.spec.sample_rate),
        HEADER: amalgamate(texts, ["serq.h", "serq_stream.h", "serq_audio.h"]),
        "serq_implementation.c": f'#define SERQ_IMPLEMENTATION\n#include "{HEADER}"\n',
        "serq_board.h": board.project_files(render, plan.app)["src/serq_board.h"],
    }
    files = {f"{place}/{name}": text for name, text in component.items()}
    files |= {"README.md": render("examples/esphome.md.j2", board=board, wires=wires(board))}
    first = {
        "emotion.yaml": render("examples/esphome.yaml.j2", board=board),
        "secrets.yaml": 'wifi_ssid: "my network"\nwifi_password: "its password"\n',
        ".gitignore": "secrets.yaml\n.esphome/\n",
    }
    made = _encoded(files) | {MODEL: plan.model_files[MODEL]}
    return write_project(
        made, plan.identity, board, out, "esphome", plan.storage, force=force, own=_encoded(first)
    )


def amalgamate(sources: dict[str, str], public: list[str]) -> str:
    """Join C sources, file name to text, into one header.

    `public` headers with all that they include come first, then, where SERQ_IMPLEMENTATION is defined, the
    rest. Each header comes once. Nothing is renamed: no two .c files define the same name at file scope.
    """
    seen: set[str] = set()

    def inlined(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        return _INCLUDE.sub(
            lambda match: inlined(match[1]) if match[1] in sources else match[0], sources[name]
        )

    declarations = "\n".join(inlined(name) for name in public)
    names = sorted(name for name in sources if name.endswith(".c"))
    bodies = "\n".join(f"/* ---- {name} ---- */\n{inlined(name)}" for name in names)
    return render("amalgamated.h.j2", declarations=declarations, bodies=bodies)


def _sources(plan: Plan) -> Files:
    """Read lib/serq/src as it is in a project: file name to content."""
    files, place = runtime_files() | plan.model_files, f"{LIBRARY}/"
    return {name.removeprefix(place): data for name, data in files.items() if name.startswith(place)}


def _arduino(plan: Plan, sources: Files) -> Files:
    texts = {
        "library.properties": render("library.properties.j2", version=__version__),
        "library.json": render("library.json.j2", version=__version__),
        "examples/minimal/minimal.ino": render("minimal.ino.j2", model=plan.model, identity=plan.identity),
    }
    return {f"src/{name}": data for name, data in sources.items()} | _encoded(texts) | _live_sketch(plan)


def _live_sketch(plan: Plan) -> Files:
    """Return a sketch that listens, with the driver of the board's microphone: for the ESP32 family.

    Its Arduino core has the drivers of ESP-IDF, so these are the files of a project for ESP-IDF.
    """
    board = plan.board
    if plan.model.decision is None or board.port.family != "esp32" or board.audio.driver != "esp32":
        return {}
    audio, ports = resources.FIRMWARE / "lib/serq_audio/src", resources.FIRMWARE / "ports"
    drivers = [path for path in board.sources_in_project("live").values() if path.name.startswith("audio")]
    names = {"identity": plan.identity, "wires": wires(board)}
    texts = {"live.ino": render("live.ino.j2", **names)}
    texts |= {"serq_board.h": board.project_files(render, "live")["src/serq_board.h"]}
    texts |= {path.name: path.read_text() for path in (ports / "audio.h", ports / "audio.c", *drivers)}
    sketch = {f"examples/live/{name}": text for name, text in texts.items()}
    return _encoded(sketch | {f"src/{path.name}": path.read_text() for path in sorted(audio.glob("*.[ch]"))})


def _cmsis_pack(plan: Plan, sources: Files) -> Files:
    example = "examples/minimal/main.c"
    names = [f"src/{name}" for name in sorted(sources)]
    languages = {".c": "c", ".S": "asm"}
    description = render(
        "cmsis_pack.pdsc.j2",
        version=__version__,
        identity=plan.identity,
        headers=[name for name in names if name.endswith(".h")],
        sources=[(name, languages[suffix]) for name in names if (suffix := Path(name).suffix) in languages],
        example=example,
    )
    texts = {PACK_DESCRIPTION: description, example: _minimal(plan, "serq.h", "main")}
    return {f"src/{name}": data for name, data in sources.items()} | _encoded(texts)


def _component(plan: Plan, sources: Files) -> Files:
    texts = {
        "CMakeLists.txt": render("component_CMakeLists.txt.j2"),
        "idf_component.yml": render("idf_component.yml.j2", version=__version__),
        "examples/minimal/CMakeLists.txt": render("example_CMakeLists.txt.j2"),
        "examples/minimal/main/CMakeLists.txt": render("example_main_CMakeLists.txt.j2"),
        "examples/minimal/main/main.c": _minimal(plan, "serq.h", "app_main"),
    }
    return {f"src/{name}": data for name, data in sources.items()} | _encoded(texts)


def _header(plan: Plan, sources: Files) -> Files:
    public = ["serq.h", *(["serq_stream.h"] if plan.model.decision else [])]
    texts = _portable(plan, sources)
    example = _minimal(plan, HEADER, "main").replace(
        "#include", "#define SERQ_IMPLEMENTATION /* in one .c file of a program */\n#include", 1
    )
    return _encoded({HEADER: amalgamate(texts, public), "minimal.c": example})


def _portable(plan: Plan, sources: Files) -> dict[str, str]:
    """Return the sources in C that one header can hold."""
    return {
        name: data.decode()
        for name, data in sources.items()
        if not name.endswith(".S") and (plan.model.decision or "stream" not in name)
    }


def _zephyr(plan: Plan, sources: Files) -> Files:
    texts = {
        "zephyr/module.yml": render("zephyr_module.yml.j2"),
        "Kconfig": render("zephyr_Kconfig.j2"),
        "CMakeLists.txt": render("zephyr_CMakeLists.txt.j2"),
        "samples/minimal/CMakeLists.txt": render("zephyr_sample_CMakeLists.txt.j2"),
        "samples/minimal/prj.conf": render("zephyr_prj.conf.j2"),
        "samples/minimal/src/main.c": _minimal(plan, "serq.h", "main"),
    }
    return {f"src/{name}": data for name, data in sources.items()} | _encoded(texts)


def _minimal(plan: Plan, header: str, entry: str) -> str:
    names = {"model": plan.model, "identity": plan.identity, "header": header, "entry": entry}
    return render("minimal.c.j2", **names)


def _encoded(texts: dict[str, str]) -> Files:
    return {name: text.encode() for name, text in texts.items()}
