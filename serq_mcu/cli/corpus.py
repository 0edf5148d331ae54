"""Recordings and features: corpus, frontend."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serq_mcu.cli.shared import (
    CORPUS,
    FOLDER,
    MODEL,
    NEW_FILE,
    chosen_model,
    corpus_envvar,
    corpus_options,
    json_option,
    main,
    new_progress,
    out_option,
    print_result,
)

if TYPE_CHECKING:
    from serq_mcu.corpus.loaders import CorpusOptions


@main.group()
def corpus() -> None:
    """Look at folders of emotional speech."""


@corpus.command("check")
@click.argument("folder", type=CORPUS)
@corpus_options
@click.option(
    "--table",
    type=NEW_FILE,
    help="A table (.csv) to write, in FOLDER or beside it: file, label, speaker and part of each recording."
    " Every command takes it in place of FOLDER.",
)
@json_option
def corpus_check(folder: Path, options: CorpusOptions, table: Path | None, as_json: bool) -> None:
    """Count the recordings in FOLDER per class and speaker, and report missing and damaged ones.

    Exit 1 if there are any. Warnings name what may mislead training, and change nothing.

    Example: serq-mcu corpus check emodb/
    """
    from serq_mcu.base.files import write_file
    from serq_mcu.corpus.check import check_corpus
    from serq_mcu.corpus.loaders import scan_folder
    from serq_mcu.corpus.tables import table_text
    from serq_mcu.show.corpus import corpus_lines

    progress = new_progress()
    text = table_text(table, scan_folder(folder, options).clips) if table else ""
    report = check_corpus(
        folder, progress=lambda done, total: progress("reading recordings", done, total), options=options
    )
    lines = corpus_lines(report)
    if table:
        write_file(table, text.encode())
        lines.append(f"wrote {table}")
    print_result(report.to_json(), lines, as_json)
    sys.exit(0 if report.ok else 1)


@corpus.command("fetch", resumable=True)
@click.argument("name", metavar="emodb|savee|tess|ravdess|crema-d")
@out_option("The folder to write.  [default: only show where the corpus is and under which licence]", FOLDER)
@click.option(
    "--from",
    "source",
    default="",
    metavar="URL",
    help="A mirror of the publisher's file (of CREMA-D: of its folder of recordings).",
)
@json_option
def corpus_fetch(name: str, out: Path | None, source: str, as_json: bool) -> None:
    """Show where a corpus is published and under which licence, download it, and check it.

    It is downloaded where automated download is allowed (with serq-mcu[fetch]). Exit 1 if anything is missing
    or damaged, as `corpus check`. By downloading you accept the publisher's terms.

    Example: serq-mcu corpus fetch emodb --out emodb/
    """
    from serq_mcu.corpus.fetch import Fetched, fetch_corpus, publication_of
    from serq_mcu.show.corpus import corpus_lines, publication_lines

    publication = publication_of(name)
    if not as_json:
        click.echo("\n".join(publication_lines(publication)))
    fetched = fetch_corpus(name, out, new_progress(), source) if out else Fetched(publication, None)
    lines = corpus_lines(fetched.report) if fetched.report else []
    print_result(fetched.to_json(), lines, as_json)
    sys.exit(0 if fetched.report is None or fetched.report.ok else 1)


@corpus.command("synthesise")
@click.argument("folder", type=FOLDER)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=180.0,
    show_default=True,
    help="Total length of speech, at least.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
@json_option
def corpus_synthesise(folder: Path, seconds: float, seed: int, as_json: bool) -> None:
    """Write synthetic speech to FOLDER, to try everything without recordings.

    Its accuracies mean nothing for emotion; needs serq-mcu[demo].

    Example: serq-mcu corpus synthesise speech/ --seconds 60
    """
    from serq_mcu.corpus.loaders import load_corpus
    from serq_mcu.corpus.synthetic import synthesise

    progress = new_progress()
    synthesise(
        folder, seconds, seed, lambda done, total: progress("synthesising speech (seconds)", done, total)
    )
    clips = load_corpus(folder).clips
    lines = [f"wrote {folder}: {len(clips)} clips of synthetic speech; accuracy on it means nothing"]
    print_result({"folder": str(folder), "clips": len(clips), "synthetic": True}, lines, as_json)


@main.group()
def frontend() -> None:
    """Look at the features that the device computes."""


@frontend.command("compare")
@click.argument("folder", type=CORPUS, envvar=corpus_envvar)
@click.option(
    "--model",
    "file",
    type=MODEL,
    help=(
        "Take this model, and its specification.  [default: the model that ships; speech235's parameters with"
        " mfcc, mel and chroma]"
    ),
)
@click.option("--page", type=NEW_FILE, help="Write the report as Markdown too.")
@json_option
def frontend_compare(folder: Path, file: Path | None, page: Path | None, as_json: bool) -> None:
    """Compare the integer front end with librosa in float64 on the recordings in FOLDER.

    Reports errors per stage and coefficient, SNR over level, and what they do to a model's answers on its
    held-out clips.

    Example: serq-mcu frontend compare emodb/ --page docs/frontend.md
    """
    from serq_mcu.base.files import write_file
    from serq_mcu.base.shell import quoted
    from serq_mcu.corpus.audio import read_audio
    from serq_mcu.corpus.loaders import load_corpus
    from serq_mcu.frontend.compare import EVERY_BLOCK, compare_frontend
    from serq_mcu.show.evaluation import effect_lines, effect_section
    from serq_mcu.verification.frontend_effect import frontend_effect

    model = chosen_model(file)
    spec, tables = (model.spec, model.tables) if file else (EVERY_BLOCK, None)
    clips = [read_audio(clip.path, spec.sample_rate).pcm for clip in load_corpus(folder).clips]
    progress = new_progress()
    report = compare_frontend(spec, clips, progress, tables)
    effect = frontend_effect(model, folder, progress)
    lines = report.lines() + (
        effect_lines(effect) if effect else [f"no clip is of a class that model {model.identity.hex()} knows"]
    )
    if page:
        command = (
            f"serq-mcu frontend compare {quoted(folder.name)}/"
            f"{f' --model {quoted(file.name)}' if file else ''} --page"
            " docs/frontend.md"
        )
        write_file(page, report.page(command, [effect_section(effect)] if effect else []).encode())
        lines.append(f"wrote {page}")
    print_result(report.to_json() | {"effect": effect.to_json() if effect else None}, lines, as_json)
