"""The command line: parse, call one function, print. Heavy imports wait until a command needs them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

from serq_mcu import __version__
from serq_mcu.errors import SerqError

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output instead of text.")
board_option = click.option(
    "--board", "board_name", required=True, metavar="BOARD", help="A name that `serq-mcu boards` lists, or a board file (.toml)."
)
layout_option = click.option(
    "--layout",
    type=click.Choice(["dense", "fast"]),
    default="dense",
    show_default=True,
    help="fast: store weights with more bits than they have where that runs faster (5 to 7 bits as 8, say).",
)
app_option = click.option(
    "--app", default="harness", show_default=True, type=click.Choice(["harness", "live", "capture"]), help="What the firmware does; see README.md."
)
corpus_envvar = "SERQ_CORPUS"


class Group(click.Group):
    """A group whose commands turn SerqError into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see the class."""
        try:
            return super().invoke(ctx)
        except SerqError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="serq-mcu")
def main() -> None:
    """Speech emotion recognition on microcontrollers: from recordings to firmware that is proved to compute what Python computes."""


@main.group()
def corpus() -> None:
    """Look at folders of emotional speech."""


@corpus.command("check")
@click.argument("folder", type=FOLDER)
@json_option
def corpus_check(folder: Path, as_json: bool) -> None:
    """Say what FOLDER holds, per class and speaker, and what is missing or damaged; exit 1 if anything is.

    Example: serq-mcu corpus check emodb/
    """
    from serq_mcu.corpus.check import check_corpus

    report = check_corpus(folder)
    _print(report.to_json(), report.lines(), as_json)
    sys.exit(0 if report.ok else 1)


@main.group()
def frontend() -> None:
    """Look at the features that the device computes."""


@frontend.command("compare")
@click.argument("folder", type=FOLDER, envvar=corpus_envvar)
@click.option(
    "--model",
    "file",
    type=FILE,
    help="Take this model, and its specification.  [default: the model that ships; speech235's parameters with mfcc, mel and chroma]",
)
@click.option("--page", type=FILE, help="Write the report as Markdown too.")
@json_option
def frontend_compare(folder: Path, file: Path | None, page: Path | None, as_json: bool) -> None:
    """Compare the integer front end with librosa in float64 on the recordings in FOLDER: errors per stage and coefficient, SNR over level, and
    what they do to a model's answers on its held-out clips.

    Example: serq-mcu frontend compare emodb/ --page docs/frontend.md
    """
    from serq_mcu.corpus.audio import read_audio
    from serq_mcu.corpus.loaders import load_corpus
    from serq_mcu.files import write_file
    from serq_mcu.frontend.compare import EVERY_BLOCK, compare_frontend
    from serq_mcu.quantized_model.frontend_effect import frontend_effect

    model = _model(file)
    spec, tables = (model.spec, model.tables) if file else (EVERY_BLOCK, None)
    clips = [read_audio(clip.path, spec.sample_rate).pcm for clip in load_corpus(folder).clips]
    progress = _progress()
    report = compare_frontend(spec, clips, progress, tables)
    effect = frontend_effect(model, folder, progress)
    lines = report.lines() + (effect.lines() if effect else [f"no clip is of a class that model {model.identity.hex()} knows"])
    if page:
        command = f"serq-mcu frontend compare {folder.name}/{f' --model {file.name}' if file else ''} --page docs/frontend.md"
        write_file(page, report.page(command, [effect.page()] if effect else []).encode())
        lines.append(f"wrote {page}")
    _print(report.to_json() | {"effect": effect.to_json() if effect else None}, lines, as_json)


@main.command()
@click.argument("folder", type=FOLDER, envvar=corpus_envvar)
@click.option("--out", required=True, type=FOLDER, help="The run folder to write.")
@click.option("--config", type=FILE, help="A TOML file with what differs from the default configuration.")
@click.option("--split", type=int, help="Which of the configured folds is held out for testing (0 is the first).")
@json_option
def train(folder: Path, out: Path, config: Path | None, split: int | None, as_json: bool) -> None:
    """Train the float network on the recordings in FOLDER, with the features that the device computes.

    Example: serq-mcu train emodb/ --out run/
    """
    from serq_mcu.training.config import load_config
    from serq_mcu.training.run import train as train_run

    run = train_run(folder, out, load_config(config, split=split), _progress())
    _print(run.to_json(), run.lines(), as_json)


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--out", required=True, type=FILE, help="The model file to write (.serq).")
@click.option(
    "--method",
    help="adaptive; a width 8 to 1 or ternary for every layer; or one for each layer (8,ternary,2,1).  [default: the run's configuration, adaptive]",
)
@click.option("--alpha", type=float, help="Weight of a layer's share of parameters against its variance in its importance.  [default: 0.5]")
@click.option("--margin", type=float, help="Validation accuracy that may be lost, as a fraction, scaled by importance.  [default: 0.005]")
@click.option("--max-bytes", type=click.IntRange(min=1), help="Choose the bits that lose least within so many bytes, weights only.")
@click.option("--max-instructions", type=click.IntRange(min=1), help="Choose the bits that lose least within so many instructions of a decision.")
@click.option("--board", "board_name", metavar="BOARD", help="The board that --max-instructions counts for.")
@click.option("--qat", is_flag=True, help="Fine-tune the network at the bits chosen (quantization-aware training); needs serq-mcu[train].")
@json_option
def quantize(
    run: Path,
    out: Path,
    method: str | None,
    alpha: float | None,
    margin: float | None,
    qat: bool,
    max_bytes: int | None,
    max_instructions: int | None,
    board_name: str | None,
    as_json: bool,
) -> None:
    """Choose each layer's bits by its importance and write the integer model; each choice is explained.

    Example: serq-mcu quantize run/ --out model.serq
    """
    from serq_mcu.quantization.pipeline import quantize_run
    from serq_mcu.quantized_model.store import save_model

    budget = _width_budget(max_bytes, max_instructions, board_name)
    model, allocation = quantize_run(run, method, alpha, margin, _progress(), _tuner() if qat else None, budget)
    save_model(model, out)
    _print(allocation.to_json() | {"model": str(out), "identity": model.sha256[:16]}, [*allocation.lines(), f"wrote {out}"], as_json)


@main.command()
@click.argument("model", type=FILE)
@click.option("--corpus", "folder", required=True, type=FOLDER, envvar=corpus_envvar, help="The recordings to answer for.")
@click.option("--noise", default="", metavar="KIND", help="Add noise: white, pink, babble of other clips, ... (a wrong kind lists them all).")
@click.option("--snr", default=20.0, show_default=True, help="Signal-to-noise ratio of --noise in dB, of root mean squares over the whole clip.")
@click.option("--gain", default=0.0, show_default=True, help="Gain in dB; peaks saturate.")
@click.option("--streaming", is_flag=True, help="Play the clips as live audio: decisions by window, smoothing and level.")
@click.option("--validation", is_flag=True, help="With --streaming: judge on the clips that chose the bits, to choose parameters by.")
@click.option("--page", type=FILE, help="With --streaming: write the report as Markdown too.")
@json_option
def evaluate(
    model: Path, folder: Path, noise: str, snr: float, gain: float, streaming: bool, validation: bool, page: Path | None, as_json: bool
) -> None:
    """Accuracy of the integer model on the clips of a corpus that its training never saw, with n and a 95 % interval.

    Example: serq-mcu evaluate model.serq --corpus emodb/ --noise babble --snr 10
    """
    if streaming:
        _evaluate_streams(model, folder, "validation" if validation else "held_out", page, as_json)
        return
    if validation or page:
        raise click.UsageError("--validation and --page go with --streaming")
    from serq_mcu.corpus.conditions import Condition
    from serq_mcu.quantized_model.evaluation import evaluate as evaluate_model
    from serq_mcu.quantized_model.store import load_model

    condition = Condition(noise=noise, snr_db=snr if noise else 0.0, gain_db=gain)
    evaluation = evaluate_model(load_model(model), folder, _progress(), condition)
    _print(evaluation.to_json(), evaluation.lines(), as_json)


def _evaluate_streams(model: Path, folder: Path, part: str, page: Path | None, as_json: bool) -> None:
    from serq_mcu.files import write_file
    from serq_mcu.quantized_model.store import load_model
    from serq_mcu.quantized_model.stream_evaluation import evaluate_streams

    evaluation = evaluate_streams(load_model(model), folder, part, _progress())
    lines = evaluation.lines()
    if page:
        option = " --validation" if part == "validation" else ""
        command = f"serq-mcu evaluate {model.name} --corpus {folder.name}/ --streaming{option} --page docs/{page.name}"
        write_file(page, evaluation.page(command).encode())
        lines.append(f"wrote {page}")
    _print(evaluation.to_json(), lines, as_json)


@main.command()
@click.argument("folder", type=FOLDER, envvar=corpus_envvar)
@click.option("--protocol", type=click.Choice(["clips", "speakers"]), help="What is held out in turn.  [default: both]")
@click.option("--folds", type=click.IntRange(min=2), default=10, show_default=True, help="Folds of the clips.")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="Measure the configuration without augmentation beside it.")
@click.option("--config", type=FILE, help="A TOML file with what differs from the default configuration.")
@click.option("--page", type=FILE, help="Write the report as Markdown too.")
@json_option
def robustness(folder: Path, protocol: str | None, folds: int, baseline: bool, config: Path | None, page: Path | None, as_json: bool) -> None:
    """Train, quantize and judge the recordings in FOLDER clean, in noise, in rooms and at other gains, with augmentation and without.

    Many trainings: most of an hour for EMO-DB. Interrupted, it goes on where it stopped.

    Example: serq-mcu robustness emodb/ --page docs/robustness.md
    """
    from serq_mcu.files import write_file
    from serq_mcu.training.config import PROTOCOLS, load_config
    from serq_mcu.training.robustness import RECIPES, measure_robustness

    recipes = RECIPES if baseline else RECIPES[:1]
    report = measure_robustness(folder, load_config(config).with_folds(folds), [protocol] if protocol else PROTOCOLS, recipes, _progress())
    lines = report.lines()
    if page:
        given = f"{f' --protocol {protocol}' if protocol else ''}{f' --folds {folds}' if folds != 10 else ''}{'' if baseline else ' --no-baseline'}"
        given += f" --config {config.name}" if config else ""
        write_file(page, report.page(f"serq-mcu robustness {folder.name}/{given} --page docs/robustness.md"))
        lines.append(f"wrote {page}")
    _print(report.to_json(), lines, as_json)


@main.command()
@json_option
def boards(as_json: bool) -> None:
    """List the boards that `--board` knows.

    Example: serq-mcu boards
    """
    from serq_mcu.boards import all_boards

    known = all_boards()
    lines = [f"{b.name:<18}{b.title:<44}{b.mcu.flash_bytes // 1000:>6} KB flash {b.mcu.ram_bytes // 1000:>5} KB RAM" for b in known]
    _print([dataclasses.asdict(b) for b in known], lines, as_json)


@main.command()
@json_option
def microphones(as_json: bool) -> None:
    """List the microphones that `--microphone` knows.

    Example: serq-mcu microphones
    """
    from serq_mcu.boards import all_microphones

    known = all_microphones()
    lines = [f"{m.name:<12}{m.interface:<6}{m.gain_db:>4} dB  {m.title}" for m in known]
    _print([dataclasses.asdict(m) for m in known], lines, as_json)


@main.command()
@click.argument("model", type=FILE, required=False)
@board_option
@click.option("--out", required=True, type=FOLDER, help="The project folder to write.")
@app_option
@click.option("--microphone", help="A name that `serq-mcu microphones` lists, or a microphone file (.toml).  [default: the board's]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the board's [audio] or of [microphone]; may be repeated.")
@click.option("--force", is_flag=True, help="Replace an earlier export even if files in it were changed or added.")
@layout_option
@json_option
def export(
    model: Path | None,
    board_name: str,
    out: Path,
    app: str,
    microphone: str | None,
    settings: tuple[str, ...],
    force: bool,
    layout: str,
    as_json: bool,
) -> None:
    """Write a PlatformIO project that runs MODEL (without one: the model that ships with serq-mcu) on a board.

    harness answers `serq-mcu verify`, live listens and writes a line of JSON for each decision, capture feeds `serq-mcu record`.

    Example: serq-mcu export --board esp32 --app live --microphone inmp441 --set audio.i2s_data=33 --out firmware/
    """
    from serq_mcu.boards import load_board, with_changes
    from serq_mcu.codegen.budget import budget
    from serq_mcu.codegen.export import export as export_project

    board, loaded = with_changes(load_board(board_name), microphone, settings), _model(model)
    project = export_project(loaded, board, out, force, app, wider=layout == "fast")
    needed = budget(loaded, board, layout == "fast", app)
    lines = [f"wrote {out}: {len(project.files)} files for {board.title}, model {project.identity}", needed.summary, f"next: serq-mcu build {out}"]
    value = {"folder": str(out), "board": board.name, "app": app, "identity": project.identity, "files": sorted(project.files)}
    _print(value | {"needs": needed.to_json()}, lines, as_json)


@main.command()
@click.argument("model", type=FILE, required=False)
@board_option
@click.option("--kind", required=True, type=click.Choice(["arduino", "espidf", "header"]), help="For whose build; arduino serves PlatformIO too.")
@click.option("--out", required=True, type=FOLDER, help="The folder to write.")
@click.option("--force", is_flag=True, help="Replace an earlier export even if files in it were changed or added.")
@json_option
def library(model: Path | None, board_name: str, kind: str, out: Path, force: bool, as_json: bool) -> None:
    """Write MODEL and the runtime as a library with a minimal example: Arduino and PlatformIO, an ESP-IDF component, or one header.

    It computes the same on any core; BOARD only chooses the fastest kernels.

    Example: serq-mcu library model.serq --board esp32 --kind espidf --out components/serq/
    """
    from serq_mcu.boards import load_board
    from serq_mcu.codegen.library import export_library

    project = export_library(_model(model), load_board(board_name), kind, out, force)
    lines = [f"wrote {out}: {len(project.files)} files, model {project.identity}"]
    _print({"folder": str(out), "kind": kind, "identity": project.identity, "files": sorted(project.files)}, lines, as_json)


@main.command()
@click.argument("model", type=FILE, required=False)
@board_option
@app_option
@layout_option
@json_option
def check(model: Path | None, board_name: str, app: str, layout: str, as_json: bool) -> None:
    """Compare the flash, RAM and stack that MODEL needs with what a board has, and say what a frame and a decision take, each figure with its
    basis and without a build; exit 1 if it does not fit.

    Example: serq-mcu check model.serq --board esp32
    """
    from serq_mcu.boards import load_board
    from serq_mcu.codegen.budget import budget

    report = budget(_model(model), load_board(board_name), layout == "fast", app)
    _print(report.to_json(), report.lines(), as_json)
    sys.exit(0 if report.fits else 1)


@main.command()
@click.argument("folder", type=FOLDER)
@json_option
def build(folder: Path, as_json: bool) -> None:
    """Build an exported project with PlatformIO and say its flash and RAM, and how near the statement before the build was.

    Example: serq-mcu build firmware/
    """
    from serq_mcu import platformio
    from serq_mcu.built import compare

    _progress()(f"building {folder}")
    result = platformio.build(folder)
    compared = compare(folder, result)
    value = {"elf": str(result.elf), "flash_bytes": result.flash_bytes, "ram_bytes": result.ram_bytes, "log": str(result.log)}
    value |= {"stated_flash_bytes": compared.stated["flash"], "stated_ram_bytes": compared.stated["RAM"], "warnings": compared.warnings}
    built = f"built {result.elf}: {result.flash_bytes} bytes of flash, {result.ram_bytes} bytes of RAM with the stack"
    _print(value, [built, *compared.lines()], as_json)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--port", help="The board's serial port, such as /dev/ttyUSB0, /dev/cu.usbserial-0001 or COM3.  [default: PlatformIO's choice]")
def flash(folder: Path, port: str | None) -> None:
    """Build an exported project and write it to a board.

    Example: serq-mcu flash firmware/ --port /dev/ttyUSB0
    """
    from serq_mcu import platformio

    where = f"the board on {port}" if port else "the board"
    _progress()(f"building {folder} and writing it to {where}")
    log = platformio.flash(folder, port)
    click.echo(f"{where} runs {folder}; what PlatformIO said is in {log}")


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--port", help="The board's serial port.  [default: PlatformIO's choice]")
def monitor(folder: Path, port: str | None) -> None:
    """Show what a board says on its serial port.

    Example: serq-mcu monitor firmware/
    """
    from serq_mcu import platformio

    platformio.monitor(folder, port)


@main.command()
@click.argument("folder", type=FOLDER)
@click.argument("clip", type=FILE)
def listen(folder: Path, clip: Path) -> None:
    """Let the live firmware in FOLDER hear CLIP, in the emulator, and print what it answers: a line of JSON for each decision.

    Example: serq-mcu listen firmware/ angry.wav
    """
    from serq_mcu.listening import listen_to

    for line in listen_to(folder, clip, _progress()):
        click.echo(line)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--port", required=True, help="The board's serial port.")
@click.option("--label", help="What the clips are of.  [default: only the self-test]")
@click.option("--out", type=FOLDER, default=Path("clips"), show_default=True, help="Clips go to OUT/LABEL/LABEL_0001.wav and on.")
@click.option("--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many clips.")
@click.option("--seconds", type=click.FloatRange(0.2, 60), default=3.0, show_default=True, help="Length of each.")
@click.option("--anyway", is_flag=True, help="Record although the self-test finds something wrong.")
@json_option
def record(folder: Path, port: str, label: str | None, out: Path, count: int, seconds: float, anyway: bool, as_json: bool) -> None:
    """Record clips for training through a board's own microphone, after a self-test; exit 1 if that finds something wrong.

    FOLDER is a project of `serq-mcu export --app capture` that runs on the board.

    Example: serq-mcu record firmware/ --port /dev/ttyUSB0 --label anger --out clips/
    """
    from serq_mcu.recorder import record as record_clips

    session = record_clips(folder, port, out, label, count, seconds, anyway, _progress())
    _print(session.to_json(), session.lines(), as_json)
    sys.exit(0 if session.ok else 1)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--clips", required=True, type=FOLDER, envvar=corpus_envvar, help="Recordings to compare on.")
@click.option("--on", "target", default="host", show_default=True, metavar="host|emulator|PORT", help="Where the exported C runs.")
@click.option("--count", type=click.IntRange(min=1), help="A stratified choice of so many clips.  [default: all]")
@click.option("--features", is_flag=True, help="Send features that Python computed instead of samples: quick, but the front end is not compared.")
@click.option("--baseline", type=FILE, help="Compare with what this file remembers; exit 1 if accuracy, a class, cycles, flash or RAM is worse.")
@click.option("--update-baseline", is_flag=True, help="Let the baseline file remember this run.")
@click.option("--junit", "junit_file", type=FILE, help="Write JUnit XML too.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write a job's summary in Markdown too.")
@json_option
def verify(
    folder: Path,
    clips: Path,
    target: str,
    count: int | None,
    features: bool,
    baseline: Path | None,
    update_baseline: bool,
    junit_file: Path | None,
    markdown_file: Path | None,
    as_json: bool,
) -> None:
    """Compare every stage of the firmware in FOLDER with the Python integer reference, clip by clip; exit 1 on any difference or regression.

    Example: serq-mcu verify firmware/ --clips emodb/ --on emulator --count 60 --baseline baseline.json
    """
    from serq_mcu.files import write_file
    from serq_mcu.verification.baseline import load_baseline, save_baseline
    from serq_mcu.verification.report import junit, markdown
    from serq_mcu.verification.verify import verify_project

    if update_baseline and not baseline:
        raise SerqError("--update-baseline needs --baseline FILE, the file to write")
    before = load_baseline(baseline) if baseline and not update_baseline else None
    report = verify_project(folder, clips, target, count, _progress(), "features" if features else "pcm", before)
    comparison = before.compare(report) if before else None
    if junit_file:
        write_file(junit_file, junit(report, comparison))
    if markdown_file:
        write_file(markdown_file, markdown(report, comparison))
    value, lines = report.to_json(), report.lines()
    if comparison:
        value, lines = value | {"baseline": comparison.to_json()}, lines + comparison.lines()
    if baseline and update_baseline:
        save_baseline(baseline, report)
        lines.append(f"wrote {baseline}")
    _print(value, lines, as_json)
    sys.exit(0 if report.ok and not (comparison and comparison.worse) else 1)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--board", "board_name", metavar="BOARD", help="Export the folder's model for this board first.  [default: the folder's own]")
@click.option("--on", "target", default="emulator", show_default=True, metavar="emulator|PORT", help="Where the exported C runs.")
@json_option
def bench(folder: Path, board_name: str | None, target: str, as_json: bool) -> None:
    """Count what the firmware in FOLDER executes, stage by stage and layer by layer, and what memory it takes.

    Example: serq-mcu bench firmware/ --board nucleo_f446re
    """
    from serq_mcu.boards import load_board
    from serq_mcu.verification.bench import bench

    report = bench(folder, load_board(board_name) if board_name else None, target)
    _print(report.to_json(), report.lines(), as_json)


@main.group()
def benchmark() -> None:
    """Accuracy of many networks and methods over many splits, in tables and plots."""


@benchmark.command("run")
@click.argument("folders", type=FOLDER, nargs=-1, required=True)
@click.option("--plan", default="paper", show_default=True, help="paper, product, short, or a plan of your own (.toml).")
@click.option("--results", required=True, type=FILE, help="The results file (.csv) to write; what it holds already is not run again.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one for each processor]")
@click.option("--scheduler", metavar="ADDRESS", help="Send the tasks to a Dask scheduler, such as tcp://10.0.0.1:8786.")
@json_option
def benchmark_run(folders: tuple[Path, ...], plan: str, results: Path, jobs: int | None, scheduler: str | None, as_json: bool) -> None:
    """Train and judge all that a plan names on the corpora in FOLDERS; stopped at any time, it goes on where it was.

    Example: serq-mcu benchmark run emodb/ savee/ --plan paper --results docs/paper.csv
    """
    from serq_mcu.benchmark.engine import run_plan
    from serq_mcu.benchmark.plan import load_plan

    rows = run_plan(load_plan(plan), folders, results, jobs, scheduler, _progress())
    _print({"results": str(results), "rows": len(rows)}, [f"{results}: {len(rows)} rows"], as_json)


@benchmark.command("page")
@click.argument("results", type=FILE)
@click.option("--page", required=True, type=FILE, help="The Markdown page to write; plots go beside it.")
@json_option
def benchmark_page(results: Path, page: Path, as_json: bool) -> None:
    """Write tables and plots from a results file, without training anything.

    Example: serq-mcu benchmark page docs/paper.csv --page docs/paper_tables.md
    """
    from serq_mcu.benchmark.page import write_page
    from serq_mcu.benchmark.results import read_results

    command = f"serq-mcu benchmark page docs/{results.name} --page docs/{page.name}"
    written = write_page(read_results(results), results, page, command)
    _print([str(path) for path in written], [f"wrote {path}" for path in written], as_json)


@main.group()
def toolchain() -> None:
    """PlatformIO, compilers and emulators."""


@toolchain.command("setup")
@click.option("--offline", is_flag=True, help="Use only what is on this machine.")
@json_option
def toolchain_setup(offline: bool, as_json: bool) -> None:
    """Lay out PlatformIO's core, install compilers and emulators where that is possible, and say what is still missing.

    Example: serq-mcu toolchain setup
    """
    from serq_mcu import platformio

    tools = platformio.setup_toolchain(offline, _progress())
    _print([dataclasses.asdict(tool) for tool in tools], [f"{tool.name:<36}{tool.state:<11}{tool.found}" for tool in tools], as_json)


@main.command()
@click.option("--corpus", "folder", type=FOLDER, envvar=corpus_envvar, help="Recordings to train on.  [default: speech synthesised on the spot]")
@click.option("--out", required=True, type=FOLDER, help="The folder to write.")
@json_option
def demo(folder: Path | None, out: Path, as_json: bool) -> None:
    """Go the whole path once: speech, features, network, bits, C, firmware, and the proof that they agree.

    Example: serq-mcu demo --corpus emodb/ --out demo/
    """
    from serq_mcu.demo import run_demo

    summary = run_demo(folder, out, _progress())
    _print(summary.to_json(), summary.lines(), as_json)
    sys.exit(0 if summary.ok else 1)


def _model(path: Path | None) -> Any:
    from serq_mcu.quantized_model.store import load_model, shipped_model

    return shipped_model() if path is None else load_model(path)


def _width_budget(max_bytes: int | None, max_instructions: int | None, board_name: str | None) -> Any:
    """Makes a budget for a network, or None where nothing is limited."""
    from serq_mcu.boards import load_board
    from serq_mcu.codegen.width_costs import width_costs
    from serq_mcu.quantization.budgeted import WidthBudget, byte_costs

    if (max_instructions is None) != (board_name is None):
        raise SerqError("--max-instructions and --board go together; give both or neither")
    if max_bytes is not None and max_instructions is not None:
        raise SerqError("--max-bytes and --max-instructions are two budgets; give one of them")
    if max_bytes is not None:
        return lambda network: WidthBudget(byte_costs(network.parameters), max_bytes, "bytes")
    if max_instructions is not None and board_name is not None:
        mcu = load_board(board_name).mcu
        return lambda network: WidthBudget(width_costs(network.shape, mcu), max_instructions, f"instructions on {board_name}")
    return None


def _tuner() -> Any:
    """Makes fine-tuning for a run; TensorFlow is imported here."""
    try:
        from serq_mcu.training import qat
    except ImportError as error:
        raise SerqError(f"fine-tuning needs packages that are not installed ({error.name}); run `pip install 'serq-mcu[train]'`") from error
    progress = _progress()
    return lambda run: qat.tuner(run, progress)


def _progress() -> Any:
    from serq_mcu.progress import Progress

    return Progress()


def _print(value: Any, lines: list[str], as_json: bool) -> None:
    click.echo(json.dumps(value, indent=1) if as_json else "\n".join(lines))
