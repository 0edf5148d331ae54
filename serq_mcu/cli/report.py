"""One page about a model: report."""

from __future__ import annotations

from pathlib import Path

import click

from serq_mcu.base.files import check_folder
from serq_mcu.cli.shared import (
    FILE,
    FOLDER,
    MODEL,
    changes_option,
    clips_option,
    json_option,
    main,
    new_progress,
    out_option,
    print_result,
)


@main.command()
@click.argument("source", metavar="RUN|MODEL", type=click.Path(path_type=Path))
@click.argument("model", metavar="[MODEL]", required=False, type=MODEL)
@out_option("The folder to write: report.html, and each drawing as SVG.", FOLDER, "report")
@clips_option("Recordings to evaluate a model file, or firmware, on.", required=False, folder=True)
@click.option(
    "--firmware",
    type=FOLDER,
    help="An exported project of this model; its answers are shown beside Python's.",
)
@click.option(
    "--on",
    "target",
    default="host",
    show_default=True,
    metavar="host|emulator|PORT",
    help="Where --firmware runs.",
)
@changes_option
@click.option(
    "-b",
    "--board",
    "board_name",
    default="esp32",
    show_default=True,
    metavar="BOARD",
    help="The board whose flash, RAM and time are shown.",
)
@click.option("--clip", type=FILE, help="A recording to show from waveform to decision.")
@json_option
def report(
    source: Path,
    model: Path | None,
    out: Path,
    folder: Path | None,
    firmware: Path | None,
    target: str,
    allow_changes: bool,
    board_name: str,
    clip: Path | None,
    as_json: bool,
) -> None:
    """Write one page, which needs no network, about a RUN or a MODEL.

    It shows accuracy against bits, why each layer has its bits, where accuracy went, confusion matrices,
    flash, RAM, time, and one recording from waveform to decision.

    A run folder and the model quantized from it hold most. Without MODEL, the page describes the run
    quantized as its configuration says, without fine-tuning or a budget; a model file alone holds less. The
    page names what is missing and which option adds it.

    Example: serq-mcu report run/ model.serq --clips emodb/ --firmware fw/ --clip angry.wav --out report/
    """
    from serq_mcu.boards.board import load_board
    from serq_mcu.codegen.budget import budget
    from serq_mcu.codegen.plan import Plan
    from serq_mcu.report.gather import gather
    from serq_mcu.report.page import PAGE, report_json, write_report

    check_folder(out, PAGE)
    board, progress = load_board(board_name), new_progress()
    data = gather(source, model, folder, firmware, target, progress, allow_changes=allow_changes)
    needed = budget(Plan(data.model, board))
    written = write_report(data, needed, clip, out, progress)
    print_result(report_json(data, needed, written), [f"wrote {path}" for path in written], as_json)
