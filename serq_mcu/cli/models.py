"""From recordings to a model: train, quantize, evaluate, models, robustness, experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serq_mcu.base.files import check_folder, kept_if_refused
from serq_mcu.base.resources import BEST, PRESETS
from serq_mcu.cli.shared import (
    CORPUS,
    FILE,
    FOLDER,
    MODEL,
    NEW_FILE,
    ConfiguredOption,
    clips_option,
    corpus_envvar,
    corpus_options,
    json_option,
    main,
    new_progress,
    out_option,
    print_result,
)
from serq_mcu.errors import SerqError

if TYPE_CHECKING:
    from serq_mcu.corpus.loaders import CorpusOptions

RUN_BYTES = 1_000_000  # that a disk needs for a run of a few recordings


@main.command()
@click.argument("folders", metavar="FOLDER...", type=CORPUS, nargs=-1, required=True, envvar=corpus_envvar)
@corpus_options
@out_option("The run folder to write.", FOLDER, "run")
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default=BEST,
    show_default=True,
    help="best; light, at 60 % of the cycles of listening; tiny, whose weights take 3 KB; paper, the"
    " network and hyper-parameters of Shinde, Jain and Sharma; or, over frames, cnn1d, convolutions, gru, a"
    " recurrent layer with attention, and lstm, another.",
)
@click.option("--config", type=FILE, help="A TOML file with what differs from the preset.")
@click.option(
    "--split",
    type=int,
    help="Which fold, speaker or group of speakers is held out for testing (0 is the first).",
)
@click.option(
    "--other-sounds",
    type=FOLDER,
    help="A folder of sounds without speech, to learn a class of: its answer is that there is no speech.",
)
@click.option(
    "--classes",
    default="intersection",
    show_default=True,
    help="Of several folders: the classes that all have, or any (union), or these (anger,neutral,sadness).",
)
@click.option(
    "--synonyms",
    type=FILE,
    help='A TOML file with names of classes, such as anger = ["irate"]; usual names of emotions are known.',
)
@json_option
def train(
    folders: tuple[Path, ...],
    options: CorpusOptions,
    out: Path,
    preset: str,
    config: Path | None,
    split: int | None,
    other_sounds: Path | None,
    classes: str,
    synonyms: Path | None,
    as_json: bool,
) -> None:
    """Train the float network on the recordings in each FOLDER, with the features that the device computes.

    Classes of several folders are brought together by their names; speakers stay apart, and each folder
    counts as much as another.

    Example: serq-mcu train emodb/ --out run/
    """
    from serq_mcu.config import load_config
    from serq_mcu.corpus.emotions import read_synonyms
    from serq_mcu.corpus.joined import load_corpora
    from serq_mcu.quantization.run_folder import MARKER
    from serq_mcu.training.run import train as train_run

    check_folder(out, MARKER, RUN_BYTES)
    chosen = load_config(config, split, preset)
    corpus = load_corpora(folders, classes, read_synonyms(synonyms) if synonyms else None, options)
    run = train_run(corpus, out, chosen, new_progress(), other_sounds)
    print_result(run.to_json(), run.lines(), as_json)


@main.command()
@click.argument("run", type=FOLDER)
@out_option("The model file to write (.serq).", NEW_FILE, "model.serq")
@click.option(
    "--config",
    type=FILE,
    help="A TOML file with what differs from the run's [tuning], [quantization] and [decision].",
)
@click.option(
    "--method",
    cls=ConfiguredOption,
    section="quantization",
    help="adaptive; a width 8 to 1 or ternary for every layer; or one for each layer (8,ternary,2,1).",
)
@click.option(
    "--alpha",
    cls=ConfiguredOption,
    section="quantization",
    type=float,
    help="How strongly a layer's importance depends on its share of parameters (1) or on its weights'"
    " variance (0).",
)
@click.option(
    "--margin",
    cls=ConfiguredOption,
    section="quantization",
    type=float,
    help="Validation accuracy that may be lost, as a fraction, scaled by importance.",
)
@click.option(
    "--max-bytes",
    cls=ConfiguredOption,
    section="quantization",
    type=click.IntRange(min=0),
    help="The most bytes of weights: where the margin asks for more, pick the bit widths with the lowest loss"
    " that fit; 0: no limit.",
)
@click.option(
    "--max-cycles",
    type=click.IntRange(min=1),
    help="Choose the bits with the lowest loss whose layers take at most this many cycles of a decision"
    " (instructions on a core without an estimate of cycles).",
)
@click.option("-b", "--board", "board_name", metavar="BOARD", help="The board that --max-cycles counts for.")
@click.option(
    "--qat/--no-qat",
    "fine_tune",
    cls=ConfiguredOption,
    section="quantization",
    default=None,
    help="Fine-tune the network at the bits chosen (quantization-aware training), and choose them by what"
    " that gives; needs serq-mcu[train].",
)
@json_option
def quantize(
    run: Path,
    out: Path,
    config: Path | None,
    max_cycles: int | None,
    board_name: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Choose each layer's bits by its importance and write the integer model; each choice is explained.

    Example: serq-mcu quantize run/ --out model.serq
    """
    from serq_mcu.base.validation import read_toml
    from serq_mcu.quantization.pipeline import quantize as quantize_run
    from serq_mcu.quantization.run_folder import load_run
    from serq_mcu.quantized_model.store import save_model
    from serq_mcu.show.quantization import allocation_lines
    from serq_mcu.training.run import fine_tuning

    given = {name: value for name, value in options.items() if value is not None}
    trained, progress = load_run(run), new_progress()
    if config is not None:
        trained = trained.merged(read_toml(config, "configuration")[0], str(config))
    trained = trained.changed(quantization=given)
    budget = _width_budget(trained.network, max_cycles, board_name)
    if len({"method", "max_bytes"} & set(given)) + (budget is not None) > 1:
        raise SerqError("--method, --max-bytes and --max-cycles each choose the bits; give one of them")
    tuner = fine_tuning(trained, progress) if trained.config.quantization.fine_tune else None
    model, allocation = quantize_run(trained, progress, tuner, budget)
    kept_if_refused(lambda path: save_model(model, path), out)
    print_result(
        allocation.to_json() | {"model": str(out), "identity": model.sha256[:16]},
        [*allocation_lines(allocation), f"wrote {out}"],
        as_json,
    )


@main.command()
@click.argument("model", type=MODEL)
@clips_option("Recordings to evaluate on.")
@click.option(
    "--noise",
    default="",
    metavar="KIND",
    help="Add noise: white, pink, babble of other clips, ... (an unknown kind lists them all).",
)
@click.option(
    "--snr",
    default=20.0,
    show_default=True,
    help="Signal-to-noise ratio of --noise in dB, of root mean squares over the whole clip.",
)
@click.option("--gain", default=0.0, show_default=True, help="Gain in dB; peaks saturate.")
@click.option(
    "--pauses",
    type=float,
    multiple=True,
    metavar="SECONDS",
    help="Also with this much digital silence before and after each clip. May be given several times.",
)
@click.option(
    "--room-noise",
    type=float,
    multiple=True,
    metavar="DB",
    help="Also with white noise under clips and pauses, dB of a full-scale square wave. May be given several"
    " times.",
)
@click.option(
    "--band",
    "bands",
    type=click.Choice(["8k", "11k", "mu-law", "telephone"]),
    multiple=True,
    help="Also through a narrow channel: 8 or 11.025 kHz, or a telephone (300 to 3400 Hz, mu-law). May be"
    " given several times.",
)
@click.option(
    "--offset",
    "offsets",
    type=float,
    multiple=True,
    metavar="SHARE",
    help="Also with this constant offset, 1 = full scale. May be given several times.",
)
@click.option("--voice", type=FILE, help="Of the clips' speaker, as `serq-mcu calibrate` writes it.")
@json_option
def evaluate(
    model: Path,
    folder: Path,
    noise: str,
    snr: float,
    gain: float,
    pauses: tuple[float, ...],
    room_noise: tuple[float, ...],
    bands: tuple[str, ...],
    offsets: tuple[float, ...],
    voice: Path | None,
    as_json: bool,
) -> None:
    """Evaluate the integer model on the clips of a corpus that its training never saw.

    Prints the accuracy with n and a 95 % interval; with --pauses, --room-noise, --band or --offset, a row for
    each, and what it changes clip by clip.

    Example: serq-mcu evaluate model.serq --clips emodb/ --pauses 0.25 --pauses 1 --room-noise -60
    """
    from serq_mcu.corpus.conditions import Condition
    from serq_mcu.evaluation.calibration import load_voice
    from serq_mcu.evaluation.clips import evaluate as evaluate_model
    from serq_mcu.evaluation.clips import surroundings
    from serq_mcu.quantized_model.store import find_model
    from serq_mcu.show.evaluation import evaluation_lines

    condition = Condition(noise=noise, snr_db=snr if noise else 0.0, gain_db=gain)
    others = surroundings(condition, pauses, room_noise, bands, offsets)
    known = find_model(model)
    learned = load_voice(voice, known) if voice else None
    evaluation = evaluate_model(known, folder, new_progress(), condition, others=others, voice=learned)
    print_result(evaluation.to_json(), evaluation_lines(evaluation), as_json)


@main.command()
@click.argument("model", required=False)
@json_option
def models(model: str | None, as_json: bool) -> None:
    """List the models that ship, or show the card of MODEL, a name or a file.

    A card says on whom the model was trained, how often it is right where, and how often it answers where
    nobody speaks.

    Example: serq-mcu models emodb
    """
    from msgspec import to_builtins

    from serq_mcu.quantized_model.card import card_line, find_card
    from serq_mcu.quantized_model.store import find_model, load_model, shipped_models
    from serq_mcu.show.card import card_lines

    if model is None:
        known = {name: load_model(path) for name, path in shipped_models().items()}
        lines = [f"{name:<14}{card_line(own)}" for name, own in known.items()]
        print_result({name: to_builtins(find_card(own)) for name, own in known.items()}, lines, as_json)
        return
    found = find_model(Path(model))
    card = find_card(found, Path(model))
    lines = [f"{model} has no card: {card_line(found)}"] if card is None else card_lines(card)
    print_result(to_builtins(card), lines, as_json)


@main.command("import-model", aliases=["import-keras"])
@click.argument("model", type=CORPUS)
@clips_option("Clips of each class, for calibration and validation.")
@click.option(
    "--labels",
    required=True,
    help="The classes of the network's outputs, in their order: anger,neutral,... Of one sigmoid unit,"
    " the class of 0 first.",
)
@out_option("The run folder to write.", FOLDER, "run")
@click.option(
    "--config",
    type=FILE,
    help="A TOML file with what differs from the default configuration, such as the features that it takes.",
)
@click.option(
    "--features",
    default="",
    metavar="NAME",
    help="The network takes librosa's mean MFCC: librosa-mfcc40, -mfcc20 or -mfcc13, at 22.05 kHz, or 16 kHz"
    " with -16k after it.",
)
@json_option
def import_model(
    model: Path, folder: Path, labels: str, out: Path, config: Path | None, features: str, as_json: bool
) -> None:
    """Import a network of your own as a run that quantize, report and export continue from.

    MODEL is a .keras, .h5 or .onnx file: Dense layers with ReLU, and what can be folded into them; of Keras
    also convolutions, pooling, GRU and LSTM on a sequence, whose frames --config states. Its inputs are the
    device's features, as a run's features.safetensors has them (pooled), before its normalisation; if it has
    none, in standard deviations of the training clips here.

    Example: serq-mcu import-model mine.keras --clips clips/ --labels anger,neutral,sadness --out run/
    """
    from serq_mcu.config import load_config
    from serq_mcu.quantization.run_folder import MARKER
    from serq_mcu.training.imported import import_model as import_network

    check_folder(out, MARKER, RUN_BYTES)
    names = [name.strip() for name in labels.split(",")]
    run, notes = import_network(model, folder, names, out, load_config(config), new_progress(), features)
    caution = (
        "which clips the network was trained on is not known here: accuracy means something only on clips"
        " that it never saw"
    )
    print_result(run.to_json() | {"notes": notes}, [*run.lines(), *notes, caution, f"wrote {out}"], as_json)


@main.command("evaluate-streams")
@click.argument("model", type=MODEL)
@clips_option("The recordings to play.")
@click.option(
    "--validation",
    is_flag=True,
    help="Play the clips that chose the bits, to choose the decision rule's parameters by.",
)
@click.option(
    "--pauses",
    type=(float, float),
    default=(0.5, 8.0),
    show_default=True,
    metavar="LOW HIGH",
    help="The range of the pauses between clips of a session, s.",
)
@click.option(
    "--room-noise",
    type=float,
    multiple=True,
    default=(-87.0, -60.0, -50.0),
    show_default=True,
    metavar="DB",
    help="White noise under sessions, dB of a full-scale square wave. May be given several times.",
)
@click.option(
    "--sounds",
    type=FOLDER,
    help="A folder of other sounds in which nobody speaks: every answer is a false one.",
)
@click.option("--page", type=NEW_FILE, help="Write the report as Markdown too.")
@json_option
def evaluate_streams(
    model: Path,
    folder: Path,
    validation: bool,
    pauses: tuple[float, float],
    room_noise: tuple[float, ...],
    sounds: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Play the clips that training never saw as live audio, alone and in sessions with pauses.

    Shows decisions by window, smoothing and level, what other parameters would answer, how many decisions are
    right while somebody speaks, and how many answers come where nobody does.

    Example: serq-mcu evaluate-streams model.serq --clips emodb/ --sounds noises/
    """
    from serq_mcu.base.files import write_file
    from serq_mcu.base.shell import quoted
    from serq_mcu.evaluation.sessions import SessionPlan
    from serq_mcu.evaluation.streams import evaluate_streams
    from serq_mcu.quantized_model.store import find_model
    from serq_mcu.show.streams import streams_lines, streams_page

    evaluation = evaluate_streams(
        find_model(model),
        folder,
        "validation" if validation else "held_out",
        new_progress(),
        SessionPlan(pauses, room_noise),
        sounds,
    )
    lines = streams_lines(evaluation)
    if page:
        plan = SessionPlan(pauses, room_noise)
        option = " --validation" if validation else ""
        option += "" if plan.pauses == SessionPlan().pauses else " --pauses {:g} {:g}".format(*pauses)
        if plan.floors_db != SessionPlan().floors_db:
            option += "".join(f" --room-noise {level:g}" for level in room_noise)
        option += f" --sounds {quoted(sounds.name)}/" if sounds else ""
        command = (
            f"serq-mcu evaluate-streams {quoted(model.name)} --clips {quoted(folder.name)}/{option}"
            f" --page docs/{quoted(page.name)}"
        )
        write_file(page, streams_page(evaluation, command))
        lines.append(f"wrote {page}")
    print_result(evaluation.to_json(), lines, as_json)


@main.command(resumable=True)
@click.argument("folder", type=CORPUS, envvar=corpus_envvar)
@click.option(
    "--protocol", type=click.Choice(["clips", "speakers"]), help="What is held out in turn.  [default: both]"
)
@click.option(
    "--folds", type=click.IntRange(min=2), default=10, show_default=True, help="Folds of the clips."
)
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Measure the configuration without augmentation beside it.",
)
@click.option("--config", type=FILE, help="A TOML file with what differs from the default configuration.")
@click.option("--page", type=NEW_FILE, help="Write the report as Markdown too.")
@json_option
def robustness(
    folder: Path,
    protocol: str | None,
    folds: int,
    baseline: bool,
    config: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Train, quantize and evaluate the recordings in FOLDER clean, in noise, in rooms and at other gains.

    Does so with augmentation and without. Many trainings: most of an hour for EMO-DB. Interrupted, it resumes
    where it stopped.

    Example: serq-mcu robustness emodb/ --page docs/robustness.md
    """
    from serq_mcu.base.files import write_file
    from serq_mcu.base.shell import quoted
    from serq_mcu.config import PROTOCOLS, load_config
    from serq_mcu.show.robustness import robustness_lines, robustness_page
    from serq_mcu.training.robustness import RECIPES, measure_robustness

    recipes = RECIPES if baseline else RECIPES[:1]
    report = measure_robustness(
        folder,
        load_config(config).changed(training={"folds": folds}),
        [protocol] if protocol else PROTOCOLS,
        recipes,
        new_progress(),
    )
    lines = robustness_lines(report)
    if page:
        given = (f" --protocol {protocol}" if protocol else "") + (f" --folds {folds}" if folds != 10 else "")
        given += "" if baseline else " --no-baseline"
        given += f" --config {quoted(config.name)}" if config else ""
        command = f"serq-mcu robustness {quoted(folder.name)}/{given} --page docs/{quoted(page.name)}"
        write_file(page, robustness_page(report, command))
        lines.append(f"wrote {page}")
    print_result(report.to_json(), lines, as_json)


@main.group()
def experiment() -> None:
    """Accuracy of many networks and methods over many splits, in tables and plots."""


@experiment.command("run", resumable=True)
@click.argument("folders", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--plan",
    default="paper",
    show_default=True,
    help="paper, product, transfer, validation, short, or a plan of your own (.toml).",
)
@click.option(
    "--results",
    required=True,
    type=NEW_FILE,
    help="The results file (.csv) to write; rows that are already in it are skipped.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one for each processor]")
@click.option(
    "--scheduler", metavar="ADDRESS", help="Send the tasks to a Dask scheduler, such as tcp://10.0.0.1:8786."
)
@json_option
def experiment_run(
    folders: tuple[Path, ...],
    plan: str,
    results: Path,
    jobs: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Train and evaluate all that a plan names on the corpora in FOLDERS.

    Stopped at any time, it resumes where it was.

    Example: serq-mcu experiment run emodb/ savee/ --plan paper --results docs/paper.csv
    """
    from serq_mcu.experiments.engine import run_plan
    from serq_mcu.experiments.plan import load_plan

    rows = run_plan(load_plan(plan), folders, results, jobs, scheduler, new_progress())
    print_result({"results": str(results), "rows": len(rows)}, [f"{results}: {len(rows)} rows"], as_json)


@experiment.command("page")
@click.argument("results", type=FILE)
@click.option("--page", required=True, type=NEW_FILE, help="The Markdown page to write; plots go beside it.")
@json_option
def experiment_page(results: Path, page: Path, as_json: bool) -> None:
    """Write tables and plots from a results file, without training anything.

    Example: serq-mcu experiment page docs/paper.csv --page docs/paper_tables.md
    """
    from serq_mcu.experiments.results import read_results
    from serq_mcu.show.experiments.page import write_page

    command = f"serq-mcu experiment page docs/{results.name} --page docs/{page.name}"
    written = write_page(read_results(results), results, page, command)
    print_result([str(path) for path in written], [f"wrote {path}" for path in written], as_json)


def _width_budget(network: Any, max_cycles: int | None, board_name: str | None) -> Any:
    """Return the budget of a network's widths, or None where nothing is limited."""
    from serq_mcu.boards.board import load_board
    from serq_mcu.codegen.width_costs import width_costs
    from serq_mcu.layers.kernels import core_of
    from serq_mcu.quantization.budgeted import WidthBudget

    if (max_cycles is None) != (board_name is None):
        raise SerqError("--max-cycles and --board go together; give both or neither")
    if max_cycles is not None and board_name is not None:
        board = load_board(board_name)
        unit = f"{core_of(board.mcu.features).unit} on {board_name}"
        costs = width_costs([matrix[1:4] for matrix in network.matrices], board)
        return WidthBudget(costs, max_cycles, unit)
    return None
