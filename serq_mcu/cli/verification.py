"""Commands that check the firmware against Python: verify, bench, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from serq_mcu.cli.shared import (
    CORPUS,
    FILE,
    FOLDER,
    NEW_FILE,
    changes_option,
    clips_option,
    corpus_envvar,
    json_option,
    main,
    new_progress,
    out_option,
    print_result,
)
from serq_mcu.errors import SerqError


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--clips", required=True, type=CORPUS, envvar=corpus_envvar, help="Recordings to compare on.")
@click.option(
    "--on",
    "target",
    default="host",
    show_default=True,
    metavar="host|emulator|PORT",
    help="Where the exported C runs.",
)
@click.option("-p", "--port", help="The serial port of a board that runs it: --on PORT, in short.")
@click.option("--count", type=click.IntRange(min=1), help="Use N clips, stratified by class.  [default: all]")
@click.option(
    "--features",
    is_flag=True,
    help="Send features that Python computed instead of samples: quick, but the front end is not compared.",
)
@click.option(
    "--baseline",
    type=FILE,
    help="Compare with the run in this file; exit 1 if accuracy, a class, cycles, flash or RAM is worse.",
)
@click.option("--update-baseline", is_flag=True, help="Save this run as the new baseline.")
@changes_option
@click.option("--junit", "junit_file", type=NEW_FILE, help="Write JUnit XML too.")
@click.option("--markdown", "markdown_file", type=NEW_FILE, help="Write a job's summary in Markdown too.")
@json_option
def verify(
    folder: Path,
    clips: Path,
    target: str,
    port: str | None,
    count: int | None,
    features: bool,
    baseline: Path | None,
    update_baseline: bool,
    allow_changes: bool,
    junit_file: Path | None,
    markdown_file: Path | None,
    as_json: bool,
) -> None:
    """Compare every stage of the firmware in FOLDER with the Python integer reference, clip by clip.

    Exit 1 on any difference or regression.

    Example: serq-mcu verify firmware/ --clips emodb/ --on emulator --count 60 --baseline baseline.json
    """
    from serq_mcu.base.files import check_file, write_file
    from serq_mcu.show.verification import comparison_lines, junit, markdown, report_lines
    from serq_mcu.verification.baseline import load_baseline, save_baseline
    from serq_mcu.verification.verify import verify_project

    if update_baseline and not baseline:
        raise SerqError("--update-baseline needs --baseline FILE, the file to write")
    if baseline and update_baseline:
        check_file(baseline)
    before = load_baseline(baseline) if baseline and not update_baseline else None
    mode: Any = "features" if features else "pcm"
    report = verify_project(
        folder, clips, port or target, count, new_progress(), mode, before, allow_changes=allow_changes
    )
    comparison = before.compare(report) if before else None
    if junit_file:
        write_file(junit_file, junit(report, comparison))
    if markdown_file:
        write_file(markdown_file, markdown(report, comparison))
    value, lines = report.to_json(), report_lines(report)
    if comparison:
        value, lines = value | {"baseline": comparison.to_json()}, lines + comparison_lines(comparison)
    if baseline and update_baseline:
        save_baseline(baseline, report)
        lines.append(f"wrote {baseline}")
    print_result(value, lines, as_json)
    sys.exit(0 if report.ok and not (comparison and comparison.worse) else 1)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "-b",
    "--board",
    "board_name",
    metavar="BOARD",
    help="Export the folder's model for this board first.  [default: the folder's own]",
)
@click.option(
    "--on",
    "target",
    default="emulator",
    show_default=True,
    metavar="emulator|PORT",
    help="Where the exported C runs.",
)
@changes_option
@json_option
def bench(folder: Path, board_name: str | None, target: str, allow_changes: bool, as_json: bool) -> None:
    """Count what the firmware in FOLDER executes, stage by stage and layer by layer, and its memory.

    Example: serq-mcu bench firmware/ --board nucleo_f446re
    """
    from serq_mcu.boards.board import load_board
    from serq_mcu.counting.bench import bench
    from serq_mcu.show.firmware import bench_lines

    new_progress()(f"building {folder} and counting what it executes on {target}")
    report = bench(
        folder, load_board(board_name) if board_name else None, target, allow_changes=allow_changes
    )
    print_result(report.to_json(), bench_lines(report), as_json)


@main.command()
@clips_option("Recordings to train on.  [default: speech generated on the fly]", required=False)
@out_option("The folder to write.", FOLDER, "demo")
@json_option
def demo(folder: Path | None, out: Path, as_json: bool) -> None:
    """Run the whole pipeline once: speech, features, network, bits, C, firmware, and a check that they agree.

    Example: serq-mcu demo --clips emodb/ --out demo/
    """
    from serq_mcu.demo import run_demo
    from serq_mcu.show.demo import demo_lines

    summary = run_demo(folder, out, new_progress())
    print_result(summary.to_json(), demo_lines(summary.value, summary.folder), as_json)
    sys.exit(0 if summary.ok else 1)
