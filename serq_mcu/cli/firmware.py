"""From a model to a board: boards, microphones, check, export, library, build, flash, record, toolchain."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serq_mcu.cli.shared import (
    FOLDER,
    MODEL,
    app_option,
    board_option,
    browser_port_option,
    card_line_of,
    changes_option,
    chosen_model,
    json_option,
    main,
    new_progress,
    out_option,
    port_option,
    print_result,
    storage_option,
    without_blas_threads,
)
from serq_mcu.errors import SerqError

if TYPE_CHECKING:
    from serq_mcu.codegen.plan import Plan


@main.command()
@json_option
def boards(as_json: bool) -> None:
    """List the boards that `--board` accepts.

    Example: serq-mcu boards
    """
    from serq_mcu.base.text import memory_text
    from serq_mcu.boards.board import all_boards

    known = all_boards()
    lines = [
        f"{b.name:<20} {memory_text(b.mcu.flash_bytes):>7} flash {memory_text(b.mcu.ram_bytes):>8} RAM  "
        + b.title
        for b in known
    ]
    print_result([b.to_json() for b in known], lines, as_json)


def _pin_warnings(plan: Plan) -> list[str]:
    """Return a line for each pin that is worth a warning, of an application that listens."""
    from serq_mcu.boards.board import LISTENING

    return [f"warning: {text}" for text in plan.board.warnings] if plan.app in LISTENING else []


@main.command()
@json_option
def microphones(as_json: bool) -> None:
    """List the microphones that `--microphone` accepts.

    Example: serq-mcu microphones
    """
    from msgspec import to_builtins

    from serq_mcu.boards.board import all_microphones

    known = all_microphones()
    lines = [f"{m.name:<12}{m.interface:<6}{m.gain_db:>4} dB  {m.title}" for m in known]
    print_result([to_builtins(m) for m in known], lines, as_json)


@main.command()
@click.argument("model", type=MODEL, required=False)
@board_option
@app_option
@storage_option
@json_option
def check(model: Path | None, board_name: str, app: str, storage: str, as_json: bool) -> None:
    """Compare the flash, RAM and stack that MODEL needs with what a board has.

    Shows what a frame and a decision take, with the source of each figure; nothing is built. Exit 1 if it
    does not fit.

    Example: serq-mcu check model.serq --board esp32
    """
    without_blas_threads()
    from serq_mcu.boards.board import load_board
    from serq_mcu.codegen.budget import budget
    from serq_mcu.codegen.export import require_runnable
    from serq_mcu.codegen.plan import Plan
    from serq_mcu.layers.kernels import Storage

    plan = Plan(chosen_model(model), load_board(board_name), app, Storage(storage))
    require_runnable(plan)
    report = budget(plan)
    print_result(report.to_json(), [*_pin_warnings(plan), *report.lines()], as_json)
    sys.exit(0 if report.fits else 1)


@main.command()
@click.argument("model", type=MODEL, required=False)
@board_option
@out_option("The project folder to write.  [default: serq-BOARD, or serq-BOARD-APP]", FOLDER)
@app_option
@click.option(
    "--microphone",
    help="A name that `serq-mcu microphones` lists, or a microphone file (.toml).  [default: the board's]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the board's [audio] or of [microphone]; may be repeated.",
)
@click.option(
    "--force", is_flag=True, help="Replace an earlier export even if files in it were changed or added."
)
@storage_option
@json_option
def export(
    model: Path | None,
    board_name: str,
    out: Path | None,
    app: str,
    microphone: str | None,
    settings: tuple[str, ...],
    force: bool,
    storage: str,
    as_json: bool,
) -> None:
    """Write a PlatformIO project that runs MODEL on a board.

    Without MODEL, it is the model that comes with serq-mcu. Prints which pin of the microphone goes where,
    what the firmware needs, and what the board will do.

    Example: serq-mcu export --board esp32 --microphone inmp441 --set audio.i2s_data=32 --out lamp/
    """
    without_blas_threads()
    from serq_mcu.base.shell import quoted
    from serq_mcu.boards.board import LISTENING, load_board, with_changes
    from serq_mcu.boards.wiring import wires
    from serq_mcu.codegen.budget import budget
    from serq_mcu.codegen.examples import export_project
    from serq_mcu.codegen.export import default_folder
    from serq_mcu.codegen.plan import Plan
    from serq_mcu.layers.kernels import Storage
    from serq_mcu.show.firmware import wiring_lines

    board = with_changes(load_board(board_name), microphone, settings)
    found = chosen_model(model)
    out = out or default_folder(board, app)
    plan = Plan(found, board, app, Storage(storage))
    needed = budget(plan)
    if needed.stack > board.port.stack_bytes:
        raise SerqError(
            f"{board.name} reserves {board.port.stack_bytes} bytes of stack and {app} needs {needed.stack};"
            " raise [port] stack_bytes in its board file"
        )
    project = export_project(plan, out, force=force)
    lines = [
        *_pin_warnings(plan),
        f"wrote {out}: {len(project.files)} files for {board.title}, model {project.identity}",
        needed.summary,
        f"the model was {card_line_of(found, model)}",
        *wiring_lines(plan),
        f"next: serq-mcu build {quoted(out)}",
    ]
    value = {
        "folder": str(out),
        "board": board.name,
        "app": app,
        "identity": project.identity,
        "files": sorted(project.files),
        "warnings": board.warnings,
        "wires": [dataclasses.asdict(wire) for wire in (wires(board) if app in LISTENING else ())],
    }
    print_result(value | {"needs": needed.to_json()}, lines, as_json)


@main.command()
@click.argument("example", required=False)
@click.option("-b", "--board", "board_name", metavar="BOARD", help="The board to make it for.")
@click.option("--model", "file", type=MODEL, help="A model file (.serq).  [default: the model that ships]")
@out_option("The project folder to write.  [default: serq-EXAMPLE]", FOLDER)
@json_option
def new(
    example: str | None, board_name: str | None, file: Path | None, out: Path | None, as_json: bool
) -> None:
    """Write an example project, whose src/app.c does something with the decisions; alone, list examples.

    The code is yours to change.

    Example: serq-mcu new led --board esp32 --out lamp/
    """
    from serq_mcu.codegen.examples import ESPHOME, ESPHOME_TITLE, EXAMPLES

    if example is None:
        titles = {name: known.title for name, known in EXAMPLES.items()} | {ESPHOME: ESPHOME_TITLE}
        print_result(titles, [f"{name:<15}{title}" for name, title in titles.items()], as_json)
        return
    if board_name is None:
        raise SerqError("name the board with --board; `serq-mcu boards` lists them")
    without_blas_threads()
    from serq_mcu.base.shell import quoted
    from serq_mcu.boards.board import load_board
    from serq_mcu.codegen.examples import NOTES, find_example, new_project
    from serq_mcu.codegen.plan import Plan
    from serq_mcu.show.firmware import wiring_lines

    plan, out = Plan(chosen_model(file), load_board(board_name), "live"), out or Path(f"serq-{example}")
    if example == ESPHOME:
        _new_esphome(plan, out, as_json)
        return
    project = new_project(example, plan, out)
    wiring = find_example(example).wiring(plan.board)
    lines = [
        f"wrote {out}: {find_example(example).title}, for {plan.board.title}",
        *wiring_lines(plan),
        *([wiring] if wiring else []),
        f"your code: {', '.join(project.own_code())}",
        *([f"read first: {out / NOTES}"] if (out / NOTES).exists() else []),
        f"next: serq-mcu build {quoted(out)}",
    ]
    value = {"folder": str(out), "board": plan.board.name, "example": example, "own": project.own_code()}
    print_result(value, lines, as_json)


def _new_esphome(plan: Plan, out: Path, as_json: bool) -> None:
    from serq_mcu.base.shell import quoted
    from serq_mcu.codegen.examples import ESPHOME, ESPHOME_TITLE
    from serq_mcu.codegen.library import export_esphome
    from serq_mcu.show.firmware import wiring_lines

    export_esphome(plan, out)
    lines = [
        f"wrote {out}: {ESPHOME_TITLE}, for {plan.board.title}",
        wiring_lines(plan)[0],
        f"your Wi-Fi: {out / 'secrets.yaml'}",
        f"next: esphome run {quoted(out / 'emotion.yaml')}",
    ]
    print_result({"folder": str(out), "board": plan.board.name, "example": ESPHOME}, lines, as_json)


@main.command()
@click.argument("model", type=MODEL, required=False)
@board_option
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["arduino", "cmsis-pack", "espidf", "header", "zephyr"]),
    help="For whose build; arduino serves PlatformIO too.",
)
@out_option("The folder to write.  [default: serq-KIND]", FOLDER)
@click.option(
    "--force", is_flag=True, help="Replace an earlier export even if files in it were changed or added."
)
@storage_option
@json_option
def library(
    model: Path | None, board_name: str, kind: str, out: Path | None, force: bool, storage: str, as_json: bool
) -> None:
    """Write MODEL and the runtime as a library with a minimal example.

    It is for Arduino and PlatformIO, a CMSIS-Pack, an ESP-IDF component, a Zephyr module, or one header. It
    computes the same on any core; BOARD only chooses the fastest kernels.

    Example: serq-mcu library model.serq --board esp32 --kind espidf --out components/serq/
    """
    without_blas_threads()
    from serq_mcu.boards.board import load_board
    from serq_mcu.codegen.library import export_library
    from serq_mcu.layers.kernels import Storage

    board = load_board(board_name)
    out = out or Path(f"serq-{kind}")
    project = export_library(chosen_model(model), board, kind, out, Storage(storage), force=force)
    lines = [f"wrote {out}: {len(project.files)} files, model {project.identity}"]
    print_result(
        {"folder": str(out), "kind": kind, "identity": project.identity, "files": sorted(project.files)},
        lines,
        as_json,
    )


def _announce(folder: Path, what: str) -> None:
    """Print what begins, and that it takes long where a chip's tools are not there yet."""
    from serq_mcu.build.platformio import downloads

    progress = new_progress()
    progress(what)
    if missing := downloads(folder):
        progress(f"PlatformIO first downloads {missing[0]} and what it needs, which are some gigabytes")


@main.command()
@click.argument("folder", type=FOLDER)
@json_option
def build(folder: Path, as_json: bool) -> None:
    """Build an exported project with PlatformIO and report its flash and RAM, compared with the estimate.

    It builds the folder as it is, as PlatformIO does: build scripts in it run. Where the folder is not what
    its model and board give, the files are named.

    Example: serq-mcu build firmware/
    """
    from serq_mcu.build import platformio
    from serq_mcu.build.sizes import compare
    from serq_mcu.codegen.export import read_project
    from serq_mcu.codegen.trust import changes
    from serq_mcu.show.firmware import size_lines

    _announce(folder, f"building {folder}")
    result = platformio.build(folder)
    compared = compare(folder, result)
    value = {
        "elf": str(result.elf),
        "flash_bytes": result.flash_bytes,
        "ram_bytes": result.ram_bytes,
        "log": str(result.log),
    }
    value |= {
        "estimated_flash_bytes": compared.estimated["flash"],
        "estimated_ram_bytes": compared.estimated["RAM"],
        "warnings": compared.warnings,
    }
    project = read_project(folder)
    value["changed"] = changed = changes(project)
    mine = [name for name in changed if name in project.own_code()]
    others = [name for name in changed if name not in mine]
    built = (
        f"built {result.elf}: {result.flash_bytes} bytes of flash, {result.ram_bytes} bytes of RAM with the"
        " stack"
    )
    own = [f"with your own code: {', '.join(mine)}"] if mine else []
    own += [f"with code that its model and board do not give: {', '.join(others)}"] if others else []
    print_result(value, [built, *own, *size_lines(compared)], as_json)


@main.command()
@click.argument("folder", type=FOLDER)
@port_option()
@click.option(
    "--web", is_flag=True, help="Instead, make a page that writes the firmware to the board from a browser."
)
@out_option("The folder of the page.  [default: FOLDER-web]", FOLDER)
@click.option(
    "--serve/--no-serve",
    default=True,
    show_default="--serve",
    help="Serve the page to the browsers of this computer, until Ctrl-C.",
)
@browser_port_option
@changes_option
@json_option
def flash(
    folder: Path,
    port: str | None,
    web: bool,
    out: Path | None,
    serve: bool,
    page_port: int,
    allow_changes: bool,
    as_json: bool,
) -> None:
    """Build an exported project and write it to a board.

    What is built is exported again from the folder's model and board, with your own code in src/. --web is
    for boards of the ESP32 family; it takes ESP Web Tools from npm and shows the board's decisions in the
    browser, too. --out, --serve and --browser-port are for --web.

    Example: serq-mcu flash firmware/ --port /dev/ttyUSB0
    """
    from serq_mcu.build import platformio

    if web:
        if port:
            raise SerqError("leave --port out: with --web, the browser asks for the board's port")
        _flash_from_a_browser(folder, out, page_port if serve else None, as_json, allow_changes)
        return
    if out or page_port or not serve:
        raise SerqError("--out, --no-serve and --browser-port are for --web; add it")
    where = f"the board on {port}" if port else "the board"
    _announce(folder, f"building {folder} and writing it to {where}")
    log = platformio.flash(folder, port, allow_changes=allow_changes)
    value = {"folder": str(folder), "port": port, "log": str(log)}
    print_result(value, [f"{where} runs {folder}; what PlatformIO said is in {log}"], as_json)


def _flash_from_a_browser(
    folder: Path, out: Path | None, page_port: int | None, as_json: bool, allow_changes: bool
) -> None:
    """Write the page, and serve it at a port unless that is None."""
    from serq_mcu.base.files import check_folder
    from serq_mcu.build.web import require_web, web_images, web_tools
    from serq_mcu.show.flash_page import MANIFEST, serve, web_project, write_flash_page

    place = out or folder.with_name(f"{folder.resolve().name}-web")
    require_web(folder)
    check_folder(place, MANIFEST)
    tools = web_tools(new_progress())
    files: dict[str, bytes] = {}
    server = None if page_port is None else serve(files, page_port)  # a port that is taken is told at once
    try:
        _announce(folder, f"building {folder}")
        images = web_images(folder, allow_changes=allow_changes)
        files |= write_flash_page(place, web_project(folder), images, tools)
        value = {
            "folder": str(place),
            "chip": images.chip,
            "parts": {image.name: image.place for image in images.images},
            "files": sorted(files),
        }
        print_result(
            value, [f"wrote {place}: {len(files)} files that write {folder} to an {images.chip}"], as_json
        )
        if server is not None:
            told = f"the page is at {server.url} until Ctrl-C; open it in Chrome, Edge or Opera"
            click.echo(told, err=True)
            while True:
                time.sleep(3600)
    finally:
        if server is not None:
            server.close()


@main.command()
@click.argument("folder", type=FOLDER)
@port_option()
def monitor(folder: Path, port: str | None) -> None:
    """Show what a board sends on its serial port.

    Example: serq-mcu monitor firmware/
    """
    from serq_mcu.build import platformio

    platformio.monitor(folder, port)


@main.command()
@click.argument("folder", type=FOLDER)
@port_option()
@click.option("--label", help="What the clips are of.  [default: only the self-test]")
@out_option("Clips go to OUT/LABEL/LABEL_0001.wav and on.", FOLDER, "clips")
@click.option(
    "--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many clips."
)
@click.option(
    "--seconds", type=click.FloatRange(0.2, 60), default=3.0, show_default=True, help="Length of each."
)
@click.option("--anyway", is_flag=True, help="Record even if the self-test fails.")
@json_option
def record(
    folder: Path,
    port: str | None,
    label: str | None,
    out: Path,
    count: int,
    seconds: float,
    anyway: bool,
    as_json: bool,
) -> None:
    """Record clips for training through a board's own microphone, after a self-test.

    FOLDER is a project of `serq-mcu export --app capture` that runs on the board. Exit 1 if the self-test
    fails.

    Example: serq-mcu record firmware/ --port /dev/ttyUSB0 --label anger --out clips/
    """
    from serq_mcu.harness.serial_ports import only_port
    from serq_mcu.listening.recorder import record as record_clips
    from serq_mcu.show.recording import session_lines

    session = record_clips(
        folder, port or only_port(), out, label, count, seconds, new_progress(), anyway=anyway
    )
    print_result(session.to_json(), session_lines(session), as_json)
    sys.exit(0 if session.ok else 1)


@main.group()
def toolchain() -> None:
    """PlatformIO, compilers and emulators."""


@toolchain.command("setup")
@click.option("--offline", is_flag=True, help="Use only what is on this machine.")
@click.option("-y", "--yes", is_flag=True, help="Install packages of the system without asking.")
@json_option
def toolchain_setup(offline: bool, yes: bool, as_json: bool) -> None:
    """Install PlatformIO's core, compilers and emulators where possible, and list what is still missing.

    In a terminal it asks before it installs packages of the system, as root, with apt-get.

    Example: serq-mcu toolchain setup
    """
    from serq_mcu.build import platformio

    def agreed(packages: Sequence[str]) -> bool:
        if yes or os.environ.get("CI") or not sys.stdin.isatty():
            return True
        return click.confirm(f"Install {' '.join(packages)} with apt-get?", default=True, err=True)

    tools = platformio.setup_toolchain(offline=offline, progress=new_progress(), agreed=agreed)
    print_result(
        [dataclasses.asdict(tool) for tool in tools],
        [f"{tool.name:<36}{tool.state:<11}{tool.found}" for tool in tools],
        as_json,
    )
