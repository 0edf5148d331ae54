"""A model and its speaker: calibrate, adapt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from serq_mcu.cli.shared import (
    FILE,
    FOLDER,
    MODEL,
    NEW_FILE,
    baud_option,
    chosen_model,
    json_option,
    main,
    new_progress,
    out_option,
    print_result,
)
from serq_mcu.errors import SerqError


@main.command()
@click.argument("source", metavar="FOLDER|PORT")
@click.option("--model", "file", type=MODEL, help="A model file (.serq).  [default: the model that ships]")
@click.option(
    "--label",
    default="",
    help="All is spoken in this emotion.  [default: of a folder as its names say; of a port neutral]",
)
@click.option(
    "--unlabelled", is_flag=True, help="The emotions are not known: the model's own answers say them."
)
@out_option("The voice file to write.", NEW_FILE)
@click.option("--voice", type=FILE, help="Of a port: give the board this voice, and learn nothing.")
@click.option(
    "--windows",
    type=click.IntRange(1, 128),
    default=8,
    show_default=True,
    help="Of a port: how many windows of speech to learn from.",
)
@baud_option
@json_option
def calibrate(
    source: str,
    file: Path | None,
    label: str,
    unlabelled: bool,
    out: Path | None,
    voice: Path | None,
    windows: int,
    baud: int,
    as_json: bool,
) -> None:
    """Learn a speaker's voice from recordings, or on a board that listens.

    FOLDER holds recordings of one speaker, such as those of `serq-mcu record`. With labels, accuracy is shown
    without the voice and with it: each clip is evaluated with what the others taught. PORT is a board that
    runs a live project; you speak, it learns. Five neutral sentences help, twenty of any kind help more. A
    voice file is personal data.

    Example: serq-mcu calibrate clips/ --label neutral --out anna.voice
    """
    if label and unlabelled:
        raise SerqError("--label and --unlabelled exclude each other; give one of them")
    model = chosen_model(file)
    if not Path(source).is_dir():
        asked = "answers" if unlabelled else label or "neutral"
        _calibrate_board(source, baud, model, voice, (asked, windows, out), as_json=as_json)
        return
    from serq_mcu.evaluation.calibration import calibrate as learn_voice
    from serq_mcu.evaluation.calibration import save_voice
    from serq_mcu.show.evaluation import calibration_lines

    if voice is not None:
        raise SerqError("--voice is for a board's port; a folder of recordings teaches a new voice")
    if out is None:
        raise SerqError("name the voice file to write with --out")
    found = learn_voice(model, Path(source), label, new_progress(), unlabelled=unlabelled)
    save_voice(found.voice, model, out)
    print_result(found.to_json() | {"out": str(out)}, [*calibration_lines(found), f"wrote {out}"], as_json)


def _calibrate_board(
    port: str,
    baud: int,
    model: Any,
    voice: Path | None,
    learning: tuple[str, int, Path | None],
    *,
    as_json: bool,
) -> None:
    """Give a board a voice, or let it learn one: of what, from how many windows, to which file."""
    from serq_mcu.base.files import write_file
    from serq_mcu.evaluation.calibration import load_voice
    from serq_mcu.listening.enrol import enrol, send_voice

    if voice is not None:
        send_voice(port, baud, load_voice(voice, model).to_bytes(model.identity))
        print_result({"sent": str(voice)}, [f"{port} answers by {voice} now, until it is reset"], as_json)
        return
    asked, windows, out = learning
    stored = enrol(port, baud, asked, windows, new_progress())
    lines = [f"{port} has learned from {windows} windows, and goes on learning from its own answers"]
    if out is not None:
        lines.append(f"wrote {write_file(out, stored)}")
    print_result({"windows": windows, "out": None if out is None else str(out)}, lines, as_json)


@main.command()
@click.argument("model", type=MODEL)
@click.option(
    "--clips", "folder", required=True, type=FOLDER, help="The speaker's clips, a folder for each emotion."
)
@out_option("The model file to write.", NEW_FILE, "adapted.serq")
@json_option
def adapt(model: Path, folder: Path, out: Path, as_json: bool) -> None:
    """Adapt MODEL to one speaker's labelled clips: 1 to 20 of each emotion, such as `serq-mcu record` makes.

    The emotions may be some of the model's, or others. No corpus is needed. Accuracy is shown before and
    after, each clip left out in turn; exit 1, with the model written, where adapting does not help.

    Example: serq-mcu adapt emodb --clips mine/ --out mine.serq
    """
    from serq_mcu.evaluation.calibration import adapt_to_clips
    from serq_mcu.quantized_model.store import find_model, save_model
    from serq_mcu.show.evaluation import adaptation_lines

    found = adapt_to_clips(find_model(model), folder, new_progress())
    save_model(found.model, out)
    print_result(found.to_json() | {"out": str(out)}, [*adaptation_lines(found), f"wrote {out}"], as_json)
    sys.exit(0 if found.helps else 1)
