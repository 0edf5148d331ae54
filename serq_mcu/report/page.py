"""The report as files: one page that needs nothing else, and each of its drawings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from serq_mcu.base.files import new_folder
from serq_mcu.codegen.budget import Budget
from serq_mcu.codegen.costs import Row, milliseconds
from serq_mcu.codegen.packing import stored_bytes
from serq_mcu.frontend.reference import frame_stages
from serq_mcu.listening.classify import Classification, classify_file
from serq_mcu.listening.drawing import svg
from serq_mcu.quantization.pipeline import STEPS
from serq_mcu.report import figures
from serq_mcu.report.figures import Figure, Point
from serq_mcu.report.gather import Told

PAGE = "report.html"  # what marks a folder as ours to replace
_TEMPLATE = "page.html"
_DB = 10 * np.log10(2) / 65536  # of a step of the log stage, which is Q16 of log2


@dataclass(frozen=True)
class Section:
    """A part of the page: a heading, sentences, drawings, numbered points of a name and a sentence, a
    table of headings and rows, or what is missing and which option brings it.
    """

    title: str
    words: tuple[str, ...] = ()
    drawings: tuple[Figure, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    points: tuple[tuple[str, str], ...] = ()
    missing: str = ""


def write_report(
    told: Told, needed: Budget, clip: Path | None, folder: Path, progress: Callable[..., None]
) -> list[Path]:
    """Write the page and its drawings as the folder `folder`, whole or not at all; needed: of the board to
    show. Returns what was written.

    Raises SerqError if the recording cannot be used, or the folder is not a report's to replace.
    """
    heard = None if clip is None else classify_file(clip, told.model, progress)
    parts = list(sections(told, needed, heard))
    files = {f"{drawing.name}.svg": drawing.svg for part in parts for drawing in part.drawings} | {
        PAGE: page(told, parts)
    }
    with new_folder(folder, PAGE) as fresh:
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="utf-8")
    return [folder / name for name in sorted(files, key=lambda name: (name != PAGE, name))]


def page(told: Told, parts: Sequence[Section]) -> str:
    """The page in HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(_TEMPLATE).render(told=told, parts=parts, facts=list(_facts(told))) + "\n"


def sections(told: Told, needed: Budget, heard: Classification | None) -> Iterator[Section]:
    """The parts of the page in their order."""
    yield _accuracy(told)
    yield _bits(told)
    yield _losses(told)
    yield _sensitivity(told)
    yield _confusion(told)
    yield _memory(needed)
    yield _time(needed)
    yield _clip(told, heard)


def _facts(told: Told) -> Iterator[tuple[str, str]]:
    """What stands at the top: a name and a value in words."""
    model, test = told.model, told.accuracy(STEPS[-1])
    if test is not None:
        low, high = test.point.interval
        yield (
            "Integer accuracy",
            f"{test.point.value:.1%} of {test.n} held-out clips (95 %: {100 * low:.1f} to {high:.1%})",
        )
    if (floats := told.accuracy(STEPS[0])) is not None:
        yield "Float accuracy", f"{floats.point.value:.1%} of the same clips"
    yield "Network", "-".join(map(str, (model.layers[0].inputs, *(layer.outputs for layer in model.layers))))
    yield (
        "Bits",
        f"{' '.join(str(layer.width) for layer in model.layers)}; {told.average_bits:.2f} on average",
    )
    yield (
        "Size",
        f"{model.weights_only_bytes / 1000:.1f} KB of weights, {stored_bytes(model) / 1000:.1f} KB stored",
    )
    if model.provenance.get("corpus"):
        yield (
            "Trained on",
            (
                f"{model.provenance['corpus']}, split {model.provenance.get('split')}, seed"
                f" {model.provenance.get('seed')}"
            ),
        )


def _accuracy(told: Told) -> Section:
    title, test, floats = "Accuracy against bits", told.accuracy(STEPS[-1]), told.accuracy(STEPS[0])
    if not told.fixed or test is None or floats is None:
        return Section(
            title,
            missing=(
                "A model file holds no other widths than its own: give the run folder instead of the model."
            ),
        )
    star = Point(told.average_bits, test.point.value, test.point.interval)
    words = (
        (
            "Every layer at the same width, post-training, against this model. All points are of the same"
            " clips, so they differ less by chance than"
        ),
        "their intervals say. No width was chosen by these clips.",
    )
    drawing = figures.accuracy_against_bits(told.fixed, star, floats.point.value, test.n)
    rows = [(f"{point.x:g}", f"{point.value:.1%}", _span(point)) for point in told.fixed]
    rows.append((f"{star.x:.2f} (this model)", f"{star.value:.1%}", _span(star)))
    return Section(title, (" ".join(words),), (drawing,), ("bits", "accuracy", "95 % interval"), tuple(rows))


def _bits(told: Told) -> Section:
    title = "How each layer got its bits"
    if not told.layers:
        return Section(title, missing="The model's file does not say how its bits were chosen.")
    drawing = figures.layer_bits(
        [
            (f"{index}: {layer.shape}", layer.importance, layer.width, layer.bits)
            for index, layer in enumerate(told.layers)
        ]
    )
    words = (
        (
            "The most important layer chooses first; each takes the fewest bits that keep validation"
            " accuracy, with the layers before it quantized, within its margin."
        ),
    )
    ranked = sorted(enumerate(told.layers), key=lambda item: item[1].rank)
    rows = tuple(
        (
            str(layer.rank),
            f"{index}: {layer.shape}",
            f"{layer.importance:.3f}",
            f"{100 * layer.margin:.2f} points",
            f"{layer.required:.1%}",
            ", ".join(f"{bits}: {accuracy:.1%}" for bits, accuracy in layer.tried) or "none",
            layer.width,
        )
        for index, layer in ranked
    )
    points = tuple((f"Layer {index}, {layer.width}:", f"{layer.reason}.") for index, layer in ranked)
    head = ("order", "layer", "importance", "margin", "required", "tried (bits: accuracy)", "chosen")
    return Section(title, words, (drawing,), head, rows, points)


def _losses(told: Told) -> Section:
    title = "Where the accuracy went"
    if not told.judged:
        return Section(title, missing="The model's file does not say how accurate its network was.")
    names = {"test": "held-out", "validation": "validation"}
    rows = [
        (f"{item.step}, {names[item.part]}", item.point)
        for item in sorted(told.judged, key=lambda item: item.part != "test")
    ]
    words = [
        "Each step adds one thing to the step above it: inputs on the device's grid, then integer weights,"
        " then integers throughout."
    ]
    if told.device is not None and told.device_score is not None:
        words.append(_device_words(told))
        score = told.device_score
        before = sum(item.part == "test" for item in told.judged)
        rows.insert(
            before,
            (f"device ({told.device.target}), {score.n} clips", Point(0, score.accuracy, score.interval)),
        )
    table = tuple((label, f"{point.value:.1%}", _span(point)) for label, point in rows)
    drawing = figures.steps(
        "losses",
        "Accuracy on held-out and on validation clips after each step of quantization, with 95 % intervals.",
        rows,
    )
    return Section(title, tuple(words), (drawing,), ("step", "accuracy", "95 % interval"), table)


def _device_words(told: Told) -> str:
    report = told.device
    assert report is not None
    failed = f", {len(report.failures)} clips without a result" if report.failures else ""
    return (
        f"Firmware on {report.target}: {report.differing_integers} of {report.compared_integers:,} integers"
        f" differ from Python's{failed}."
    )


def _sensitivity(told: Told) -> Section:
    title = "How sensitive each layer is"
    if not told.added:
        return Section(
            title,
            missing="Measured on validation clips, which a run folder has: give it instead of the model.",
        )
    head = ("layer", *(f"{bits} bit{'s' if bits > 1 else ''}" for bits in range(1, 9)))
    rows = tuple((str(index), *(f"{value:+.3f}" for value in row)) for index, row in enumerate(told.added))
    words = (
        "What each width of one layer alone does to the loss on validation clips, the other layers kept at 8"
        " bits."
    )
    return Section(title, (words,), (figures.sensitivity(told.added),), head, rows)


def _confusion(told: Told) -> Section:
    found = [
        figures.confusion(f"confusion_{name}", words, score)
        for name, words, score in (
            ("float", "Float network", told.float_score),
            ("integers", "Integers, Python", told.integer_score),
            ("device", f"Device ({told.device.target})" if told.device else "", told.device_score),
        )
        if score is not None
    ]
    title = "What is taken for what"
    if not found:
        return Section(
            title,
            missing=(
                "Give --corpus to judge a model file on recordings, or the run folder instead of the model."
            ),
        )
    words = [f"Judged on {told.integer_basis}." if told.integer_basis else ""]
    if told.device is None:
        words.append("A device's own answers appear here with --firmware and --corpus.")
    return Section(title, tuple(word for word in words if word), tuple(found))


def _memory(needed: Budget) -> Section:
    mcu, drawings = needed.board.mcu, []
    for name, words, of, has in (
        (
            "flash",
            f"Flash on {needed.board.title}, which has {mcu.flash_bytes:,} bytes.",
            "flash",
            mcu.flash_bytes,
        ),
        ("ram", f"RAM on {needed.board.title}, which has {mcu.ram_bytes:,} bytes.", "ram", mcu.ram_bytes),
    ):
        rows = [
            (item.name, float(getattr(item, of)), f"{getattr(item, of):,} B")
            for item in needed.items
            if getattr(item, of)
        ]
        drawings.append(
            figures.bars(
                name,
                f"{words} Known before a build: {getattr(needed, of):,} ({getattr(needed, of) / has:.1%}).",
                rows,
            )
        )
    table = tuple((item.name, _number(item.flash), _number(item.ram), item.basis) for item in needed.items)
    summary = f"{needed.summary[:1].upper()}{needed.summary[1:]}."
    return Section(
        "What fills flash and RAM", (summary,), tuple(drawings), ("", "flash B", "RAM B", "basis"), table
    )


def _time(needed: Budget) -> Section:
    drawings = []
    for part in ("frame", "decision"):
        rows = [
            (row.name, float(row.instructions or 0), _cost(row, needed.board.mcu.clock_hz))
            for row in needed.rows
            if row.part == part
        ]
        drawings.append(figures.bars(f"time_{part}", f"Instructions of each {part}, by stage.", rows, 44))
    return Section(
        "What takes the time", (f"{needed.basis[:1].upper()}{needed.basis[1:]}.",), tuple(drawings)
    )


def _cost(row: Row, clock_hz: int) -> str:
    time = milliseconds(row, clock_hz)
    return f"{row.instructions or 0:,}" + ("" if time is None else f", {time:.3f} ms")


def _clip(told: Told, heard: Classification | None) -> Section:
    title = "A recording on its way through"
    if heard is None:
        return Section(
            title, missing="Give --clip FILE to see a recording's waveform, spectrogram, MFCC and decisions."
        )
    spec = told.model.spec
    stages = frame_stages(spec, told.model.tables, heard.pcm)
    drawings = [
        Figure(
            "clip", f"{heard.name}: waveform, answers, and the scores of each class over time.", svg(heard)
        )
    ]
    if "log" in stages:
        log = stages["log"].astype(np.float64) * _DB
        words = (
            f"Spectrogram: {spec.mel_bands} mel bands, in dB, as the device computes them. Lighter is louder."
        )
        drawings.append(
            figures.heat("spectrogram", words, log, heard.seconds, f"{spec.fmin:g} Hz", f"{spec.fmax:g} Hz")
        )
    if "mfcc" in stages:
        mfcc = stages["mfcc"].astype(np.float64)
        mfcc = (mfcc - mfcc.mean(axis=0)) / np.maximum(mfcc.std(axis=0), 1)
        words = "MFCC as the device computes them, each in its own standard deviations. Lighter is more."
        drawings.append(figures.heat("mfcc", words, mfcc, heard.seconds, "0", str(mfcc.shape[1] - 1)))
    return Section(title, tuple(heard.lines()), tuple(drawings))


def _span(point: Point) -> str:
    return f"{100 * point.interval[0]:.1f} to {point.interval[1]:.1%}"


def _number(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def report_json(told: Told, needed: Budget, written: Sequence[Path]) -> dict[str, Any]:
    """For `report --json`."""
    return {
        "model": told.model.identity.hex(),
        "average_bits": told.average_bits,
        "accuracy": [
            {
                "step": item.step,
                "part": item.part,
                "accuracy": item.point.value,
                "interval95": list(item.point.interval),
                "n": item.n,
            }
            for item in told.judged
        ],
        "fixed_widths": [
            {"bits": point.x, "accuracy": point.value, "interval95": list(point.interval)}
            for point in told.fixed
        ],
        "sensitivity": [list(row) for row in told.added],
        "device": None if told.device is None else told.device.to_json(),
        "needs": needed.to_json(),
        "wrote": [str(path) for path in written],
    }
