"""Listening: classify, listen, live."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from serq_mcu.cli.shared import (
    FILE,
    FOLDER,
    MODEL,
    NEW_FILE,
    AliasOption,
    baud_option,
    browser_port_option,
    card_line_of,
    changes_option,
    chosen_model,
    json_option,
    main,
    new_progress,
    port_option,
    print_result,
)
from serq_mcu.errors import SerqError

browser_option = click.option(
    "--browser",
    "with_page",
    cls=AliasOption,
    aliases=("--page",),
    is_flag=True,
    help="Show the decisions in a browser, too: the address of a page on this computer is printed.",
)
count_option = click.option(
    "--count", type=click.IntRange(min=1), help="Stop after N decisions.  [default: when interrupted]"
)
example_option = click.option(
    "--example",
    is_flag=True,
    help="Take a synthetic example, four seconds of sung vowels, instead of a recording.",
)


@main.command()
@click.argument("what", metavar="[FILE|mic]", default="")
@example_option
@click.option("--model", "file", type=MODEL, help="A model file (.serq).  [default: the model that ships]")
@click.option("--voice", "voice_file", type=FILE, help="The speaker's, as `serq-mcu calibrate` writes it.")
@click.option(
    "--svg", "svg_file", type=NEW_FILE, help="Draw waveform, answers and scores over time to this file."
)
@click.option(
    "--page",
    "html_file",
    cls=AliasOption,
    aliases=("--html",),
    type=NEW_FILE,
    help="The same as a page (.html), with all decisions in a table.",
)
@click.option(
    "--device",
    default="",
    help="Which microphone: its number, or a part of its name.  [default: the system's choice]",
)
@count_option
@click.option(
    "--browser",
    "with_page",
    is_flag=True,
    help="Show the microphone's decisions in a browser, too: the address of a page here is printed.",
)
@browser_port_option
@json_option
def classify(
    what: str,
    example: bool,
    file: Path | None,
    voice_file: Path | None,
    svg_file: Path | None,
    html_file: Path | None,
    device: str,
    count: int | None,
    with_page: bool,
    page_port: int,
    as_json: bool,
) -> None:
    """Classify a recording, or the microphone of this computer, and show the decisions over time.

    `mic` is the microphone (with serq-mcu[microphone]). The command runs the device's own C code, compiled
    once for each model; without a compiler the Python reference computes the same integers, and the output
    states that. --svg and --page are for recordings, --device, --count and --browser for the microphone.

    Example: serq-mcu classify angry.wav --page angry.html
    """
    model, progress = chosen_model(file), new_progress()
    if what != "mic":
        if with_page or page_port or device or count:
            raise SerqError("--browser, --device and --count are for `mic`; for a recording, --page FILE")
        drawings = svg_file, html_file
        line = card_line_of(model, file)
        with _recording(what, model, example=example) as path:
            _classify_file(path, model, line, voice_file, drawings, as_json, progress)
        return
    from serq_mcu.listening.classify import classify_microphone
    from serq_mcu.listening.microphone import Microphone

    if voice_file:
        raise SerqError("--voice is for a recording; the microphone of this computer has none")
    if svg_file or html_file:
        raise SerqError(
            "--svg and --page draw a recording; of a microphone, --browser shows the decisions as they come"
        )
    events = classify_microphone(model, Microphone(device), progress)
    with _views(with_page, page_port, as_json, progress) as views, contextlib.closing(events):
        _show(events, views, count)


@main.command()
@click.argument("folder", type=FOLDER)
@click.argument("clip", type=FILE, required=False)
@example_option
@changes_option
@json_option
def listen(folder: Path, clip: Path | None, example: bool, allow_changes: bool, as_json: bool) -> None:
    """Run the live firmware in FOLDER on CLIP, in the emulator, and print its decisions.

    Each is a line of JSON. Your own code runs, too, and its lines appear among them, with --allow-changes.

    Example: serq-mcu listen firmware/ angry.wav
    """
    from serq_mcu.codegen.export import read_project
    from serq_mcu.codegen.plan import MODEL as MODEL_FILE
    from serq_mcu.listening.emulated import listen_to
    from serq_mcu.quantized_model.store import load_model

    read_project(folder)
    model = load_model(folder / MODEL_FILE)
    with _recording("" if clip is None else str(clip), model, example=example) as path:
        lines = list(listen_to(folder, path, new_progress(), allow_changes=allow_changes))
    print_result([json.loads(line) if line.startswith("{") else line for line in lines], lines, as_json)


@main.command()
@click.argument("source", metavar="[PORT|FOLDER]", default="")
@port_option()
@click.option("--clip", type=FILE, help="Play this recording to the emulator of a FOLDER, in real time.")
@baud_option
@changes_option
@count_option
@browser_option
@browser_port_option
@json_option
def live(
    source: str,
    port: str | None,
    clip: Path | None,
    baud: int,
    allow_changes: bool,
    count: int | None,
    with_page: bool,
    page_port: int,
    as_json: bool,
) -> None:
    """Show the decisions of a board that runs a live project, in real time.

    They appear in the terminal, and with --browser on a page of this computer. PORT is a serial port or a URL
    that pyserial opens (socket://host:port); without it, the only board there is. A FOLDER runs in the
    emulator instead.

    Example: serq-mcu live /dev/ttyUSB0 --browser
    """
    from serq_mcu.harness.serial_ports import only_port
    from serq_mcu.listening.live import live_events, open_source

    if source and port:
        raise SerqError("name the port once, after `live` or with --port")
    progress, where = new_progress(), source or port or only_port()
    with (
        open_source(where, clip, baud, progress, allow_changes=allow_changes) as board,
        _views(with_page, page_port, as_json, progress) as views,
    ):
        _show(live_events(board, progress), views, count)


@contextlib.contextmanager
def _recording(name: str, model: Any, *, example: bool) -> Iterator[Path]:
    """Yield the recording that is named, or the example."""
    from serq_mcu.corpus.example import example_file

    if example == bool(name):
        raise SerqError("name a recording, or take the example with --example")
    if not example:
        yield Path(name)
        return
    with example_file(model.spec.sample_rate) as path:
        yield path


def _classify_file(
    path: Path,
    model: Any,
    card_line: str,
    voice_file: Path | None,
    drawings: tuple[Path | None, Path | None],
    as_json: bool,
    progress: Any,
) -> None:
    from serq_mcu.base.files import write_file
    from serq_mcu.evaluation.calibration import load_voice
    from serq_mcu.listening.classify import classify_file
    from serq_mcu.show import recording
    from serq_mcu.show.terminal import Rows

    voice = load_voice(voice_file, model) if voice_file else None
    found = classify_file(path, model, progress, voice)
    lines = [f"note: the model was {card_line}", *recording.classification_lines(found)]
    for file, draw in zip(drawings, (recording.svg, recording.html), strict=True):
        if file:
            lines.append(f"wrote {write_file(file, draw(found))}")
    if found.decisions and not as_json:
        rows = Rows(model.labels, max(decision.span for decision in found.decisions))
        rows.heading()
        for decision in found.decisions:
            rows.row(decision)
    print_result(found.to_json(), lines, as_json)


@contextlib.contextmanager
def _views(with_page: bool, page_port: int, as_json: bool, progress: Any) -> Iterator[list[Any]]:
    """Open the views that show decisions."""
    from serq_mcu.show.live_page import Page
    from serq_mcu.show.views import JsonView, TerminalView

    views: list[Any] = [JsonView() if as_json else TerminalView(progress)]
    if not with_page:
        yield views
        return
    page = Page(page_port)
    click.echo(f"the page is at {page.url} until this ends", err=True)
    try:
        yield [*views, page]
    except SerqError as error:
        page.failed(str(error))
        raise
    finally:
        page.close()


def _show(*arguments: Any) -> None:
    from serq_mcu.show.views import show

    show(*arguments)
