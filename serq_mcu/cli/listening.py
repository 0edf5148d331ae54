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
    baud_option,
    card_line_of,
    changes_option,
    chosen_model,
    json_option,
    main,
    new_progress,
    print_result,
)
from serq_mcu.errors import SerqError

page_option = click.option(
    "--page",
    "with_page",
    is_flag=True,
    help="Show the decisions on a page of this computer too; its address is printed.",
)
page_port_option = click.option(
    "--page-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="The page's port.",
)
count_option = click.option(
    "--count", type=click.IntRange(min=1), help="End after so many decisions.  [default: when interrupted]"
)


@main.command()
@click.argument("what", metavar="FILE|mic")
@click.option("--model", "file", type=MODEL, help="A model file (.serq).  [default: the model that ships]")
@click.option("--voice", "voice_file", type=FILE, help="The speaker's, as `serq-mcu calibrate` writes it.")
@click.option(
    "--svg", "svg_file", type=NEW_FILE, help="Draw waveform, answers and scores over time to this file."
)
@click.option("--html", "html_file", type=NEW_FILE, help="The same as a page, with all decisions in a table.")
@click.option(
    "--device",
    default="",
    help="Which microphone: its number, or a part of its name.  [default: the system's choice]",
)
@count_option
@page_option
@page_port_option
@json_option
def classify(
    what: str,
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

    `mic` is the microphone (with serq-mcu[microphone]). The command runs the C that ships, compiled once for
    each model; without a compiler the Python reference computes the same integers, and the output states
    that. --svg and --html are for recordings, --device, --count and --page for the microphone.

    Example: serq-mcu classify angry.wav --html angry.html
    """
    model, progress = chosen_model(file), new_progress()
    if what != "mic":
        drawings = svg_file, html_file
        line = card_line_of(model, file)
        _classify_file(Path(what), model, line, voice_file, drawings, as_json, progress)
        return
    from serq_mcu.listening.classify import classify_microphone
    from serq_mcu.listening.microphone import Microphone

    if voice_file:
        raise SerqError("--voice is for a recording; the microphone of this computer has none")
    if svg_file or html_file:
        raise SerqError(
            "--svg and --html draw a recording; of a microphone, --page shows the decisions as they come"
        )
    events = classify_microphone(model, Microphone(device), progress)
    with _views(with_page, page_port, as_json, progress) as views, contextlib.closing(events):
        _show(events, views, count)


@main.command()
@click.argument("folder", type=FOLDER)
@click.argument("clip", type=FILE)
@changes_option
@json_option
def listen(folder: Path, clip: Path, allow_changes: bool, as_json: bool) -> None:
    """Run the live firmware in FOLDER on CLIP, in the emulator, and print its decisions.

    Each is a line of JSON.

    Example: serq-mcu listen firmware/ angry.wav
    """
    from serq_mcu.listening.emulated import listen_to

    lines = list(listen_to(folder, clip, new_progress(), allow_changes=allow_changes))
    print_result([json.loads(line) for line in lines], lines, as_json)


@main.command()
@click.argument("port", metavar="PORT|FOLDER")
@click.option("--clip", type=FILE, help="The recording that a FOLDER's emulator hears, at the speed of life.")
@baud_option
@changes_option
@count_option
@page_option
@page_port_option
@json_option
def live(
    port: str,
    clip: Path | None,
    baud: int,
    allow_changes: bool,
    count: int | None,
    with_page: bool,
    page_port: int,
    as_json: bool,
) -> None:
    """Show the decisions of a board that runs `serq-mcu export --app live`, as they come.

    They are shown in the terminal, and on a page of this computer. PORT is a serial port or a URL that
    pyserial opens (socket://host:port); a FOLDER runs in the emulator instead.

    Example: serq-mcu live /dev/ttyUSB0 --page
    """
    from serq_mcu.listening.live import live_events, open_source

    progress = new_progress()
    with (
        _views(with_page, page_port, as_json, progress) as views,
        open_source(port, clip, baud, progress, allow_changes=allow_changes) as source,
    ):
        _show(live_events(source, progress), views, count)


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
    finally:
        page.close()


def _show(*arguments: Any) -> None:
    from serq_mcu.show.views import show

    show(*arguments)
