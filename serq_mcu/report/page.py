"""The report as files: one page that needs nothing else, and each of its drawings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.files import new_folder
from serq_mcu.base.progress import Progress
from serq_mcu.codegen.budget import Budget
from serq_mcu.codegen.costs import Row, milliseconds
from serq_mcu.frontend.reference import frame_stages
from serq_mcu.listening.classify import Classification, classify_file
from serq_mcu.quantization.pipeline import STEPS
from serq_mcu.quantized_model.card import card_line
from serq_mcu.report import figures
from serq_mcu.report.figures import Point
from serq_mcu.report.gather import LayerSummary, ReportData
from serq_mcu.show.drawing import Figure
from serq_mcu.show.page import Page, Section, Tile
from serq_mcu.show.recording import classification_lines, svg
from serq_mcu.show.table import Column, Table, Value, columns

PAGE = "report.html"  # what marks a folder as ours to replace
_DB = 10 * np.log10(2) / 65536  # of a step of the log stage, which is Q16 of log2
_PARTS = {"test": "held-out", "validation": "validation"}
_NOTE = (
    "Acted emotion of few speakers: this accuracy shows how well the model separates these recordings, not"
    " how it will do on real people in a room."
)


def write_report(
    data: ReportData, needed: Budget, clip: Path | None, folder: Path, progress: Progress
) -> list[Path]:
    """Write the page and its drawings as the folder `folder`, whole or not at all.

    needed: of the board to show. Returns the files written. Raises SerqError if the recording cannot be used,
    or the folder is not a report's to replace.
    """
    classified = None if clip is None else classify_file(clip, data.model, progress)
    page = report_page(data, needed, classified)
    drawings = [figure for section in page.sections for figure in section.figures]
    files = {f"{figure.name}.svg": figure.svg for figure in drawings} | {PAGE: page.html()}
    with new_folder(folder, PAGE) as fresh:
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="utf-8")
    return [folder / name for name in sorted(files, key=lambda name: (name != PAGE, name))]


def report_page(data: ReportData, needed: Budget, classified: Classification | None) -> Page:
    """Return the page with its sections in their order."""
    sections = (
        _network(data),
        _accuracy(data),
        _bits(data),
        _losses(data),
        _sensitivity(data),
        _confusion(data),
        _memory(needed),
        _time(needed),
        _clip(data, classified),
    )
    found = [section for section in sections if not section.missing]
    missing = tuple((f"{section.title}:", section.missing) for section in sections if section.missing)
    if missing:
        found.append(Section("What is not here", points=missing))
    name = f"Model of {corpus}" if (corpus := data.model.provenance.get("corpus")) else "Model"
    title = f"serq-mcu report {data.model.identity.hex()}"
    return Page(title, name, tuple(found), tuple(_facts(data)), _NOTE, tiles=tuple(_tiles(data, needed)))


def _tiles(data: ReportData, needed: Budget) -> Iterator[Tile]:
    """Yield how good the model is, whether it fits the board, and how loaded the core is."""
    test, board, load = data.accuracy(STEPS[-1]), needed.board, needed.core_share
    if test is not None:
        note = f"of {test.n} held-out clips{_voices(data)} (95 %: {_interval(test.point)})"
        yield Tile("Accuracy", f"{test.point.value:.1%}", note)
    gauges = (("flash", needed.flash / board.program_bytes), ("RAM", needed.ram / board.mcu.ram_bytes))
    yield Tile("Memory", "Fits" if needed.fits else "Does not fit", f"of the {board.title}", gauges)
    if load is not None:
        low, high = (f"{100 * share:.1f}" for share in load)
        value = f"{low} %" if low == high else f"{low} to {high} %"
        note = f"of the core of the {board.title}, to listen in real time; an estimate, not measured there"
        yield Tile("Load", value, note, (("core", load[-1]),))


def _voices(data: ReportData) -> str:
    """Return whose the held-out clips are, where the model says by which protocol they were chosen."""
    protocol = data.model.provenance.get("config", {}).get("training", {}).get("protocol")
    words = {"clips": ", whose speakers also trained", "speakers": ", of speakers who did not train"}
    return words.get(protocol, "")


def _network(data: ReportData) -> Section:
    layers = data.model.layers
    steps = [(layer.inputs, f"{layer.width}" if layer.parameters else layer.kind) for layer in layers]
    return Section("The network", (), (figures.network(steps, data.model.labels),))


def _facts(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yield the names and values at the top of the page."""
    model, test = data.model, data.accuracy(STEPS[-1])
    if test is not None:
        share = f"{test.point.value:.1%} of {test.n} held-out clips"
        yield "Integer accuracy", f"{share} (95 %: {_interval(test.point)})"
    if (floats := data.accuracy(STEPS[0])) is not None:
        yield "Float accuracy", f"{floats.point.value:.1%} of the same clips"
    yield "Network", "-".join(map(str, (model.layers[0].inputs, *(layer.outputs for layer in model.layers))))
    widths = " ".join(map(str, model.widths))
    yield "Identity", model.identity.hex()
    yield "Bits", f"{widths}; {data.average_bits:.2f} on average"
    weights, stored = model.weights_only_bytes / 1000, model.stored_bytes / 1000
    yield "Size", f"{weights:.1f} KB of weights, {stored:.1f} KB stored"
    if data.quantized or data.assumed:
        yield "Quantized", " ".join(filter(None, (data.quantized, data.assumed)))
    training = model.provenance
    if training.get("corpus"):
        split, seed = training.get("split"), training.get("seed")
        yield "Trained on", f"{training['corpus']}, split {split}, seed {seed}"
    yield "What it knows", card_line(model)
    if training.get("validated_by"):
        yield "Validated by", str(training["validated_by"])


def _accuracy(data: ReportData) -> Section:
    title, test, floats = "Accuracy against bits", data.accuracy(STEPS[-1]), data.accuracy(STEPS[0])
    if not data.fixed or test is None or floats is None:
        return Section(title, missing="Needs a run folder: `serq-mcu report run/`.")
    star = Point(data.average_bits, test.point.value, test.point.interval)
    sentence = (
        "Every layer at the same width, quantized after training, against this model. All points are of the"
        " same clips, so their differences are less due to chance than their intervals suggest. No width was"
        " chosen on these clips."
    )
    rows = [(f"{point.x:g}", point.value, _interval(point)) for point in data.fixed]
    rows.append((f"{star.x:.2f} (this model)", star.value, _interval(star)))
    figure = figures.accuracy_against_bits(data.fixed, star, floats.point.value, test.n)
    return Section(title, (sentence,), (figure,), _accuracies("bits", rows))


def _bits(data: ReportData) -> Section:
    title = "How each layer got its bits"
    if not data.layers:
        return Section(title, missing="The model file does not record how its bits were chosen.")
    figure = figures.layer_bits(
        [
            (f"{index}: {layer.shape}", layer.importance, layer.width, layer.bits)
            for index, layer in enumerate(data.layers)
        ]
    )
    sentence = (
        "The most important layer chooses first. Each takes the fewest bits that keep validation accuracy,"
        " with the layers before it quantized, within its margin."
    )
    ranked = sorted(enumerate(data.layers), key=lambda item: item[1].rank)
    points = tuple((f"Layer {index}, {layer.width}:", f"{layer.reason}.") for index, layer in ranked)
    head = ("order", "layer", "importance", "margin", "required", "tried (bits: accuracy)", "chosen")
    table = Table(columns(head), [_layer_row(index, layer) for index, layer in ranked])
    return Section(title, (sentence,), (figure,), table, points)


def _layer_row(index: int, layer: LayerSummary) -> tuple[str, ...]:
    return (
        str(layer.rank),
        f"{index}: {layer.shape}",
        f"{layer.importance:.3f}",
        f"{100 * layer.margin:.2f} points",
        f"{layer.required:.1%}",
        ", ".join(f"{bits}: {accuracy:.1%}" for bits, accuracy in layer.tried) or "none",
        layer.width,
    )


def _losses(data: ReportData) -> Section:
    title = "Where the accuracy went"
    if not data.steps:
        return Section(title, missing="The model file does not record the accuracy of its network.")
    steps = sorted(data.steps, key=lambda item: item.part != "test")
    rows = [(f"{item.step}, {_PARTS[item.part]}", item.point) for item in steps]
    sentences = [
        "Each step adds one thing to the step above it: inputs on the device's grid, then integer weights,"
        " then integers throughout."
    ]
    if data.device is not None and data.device_score is not None:
        sentences.append(_device_sentence(data))
        score = data.device_score
        point = Point(0, score.accuracy, score.interval)
        tests = sum(item.part == "test" for item in steps)
        rows.insert(tests, (f"{_where(data.device.target)}, {score.n} clips", point))
    figure = figures.steps(
        "losses",
        "Accuracy on held-out and on validation clips after each step of quantization, with 95 % intervals.",
        rows,
    )
    table = _accuracies("step", [(label, point.value, _interval(point)) for label, point in rows])
    return Section(title, tuple(sentences), (figure,), table)


def _where(target: str) -> str:
    """Return what a reader calls the place where firmware ran."""
    return "this computer" if target == "host" else target


def _device_sentence(data: ReportData) -> str:
    report = data.device
    assert report is not None
    failed = f", {len(report.failures)} clips without a result" if report.failures else ""
    return (
        f"Firmware on {_where(report.target)}: {report.differing_integers} of {report.compared_integers:,}"
        f" integers differ from Python's{failed}."
    )


def _sensitivity(data: ReportData) -> Section:
    title = "How sensitive each layer is"
    if not data.added:
        return Section(title, missing="Needs a run folder, which has the validation clips.")
    head = (
        Column("layer"),
        *(Column(f"{bits} bit{'s' if bits > 1 else ''}", "right", "+.3f") for bits in range(1, 9)),
    )
    rows: list[Sequence[Value]] = [(str(index), *row) for index, row in enumerate(data.added)]
    sentence = (
        "The change of the validation loss with one layer alone at each width, the other layers at 8 bits."
    )
    beside = (
        "The importance above comes from the weights alone, before anything is measured: it is the order in"
        " which layers choose. Sensitivity is measured afterwards, so the two can differ."
    )
    return Section(title, (sentence, beside), (figures.sensitivity(data.added),), Table(head, rows))


def _confusion(data: ReportData) -> Section:
    device = f"Firmware on {_where(data.device.target)}" if data.device else ""
    scores = (
        ("float", "Float network", data.float_score),
        ("integers", "Integers, Python", data.integer_score),
        ("device", device, data.device_score),
    )
    drawings = [
        figures.confusion(f"confusion_{name}", title, score)
        for name, title, score in scores
        if score is not None
    ]
    if not drawings:
        missing = "Give --clips to evaluate a model file on recordings, or a run folder instead of the model."
        return Section("Confusion matrix", missing=missing)
    sentences = [f"Evaluated on {data.integer_basis}."] if data.integer_basis else []
    if data.device is None:
        sentences.append("Add --firmware and --clips to show a device's own answers here.")
    return Section("Confusion matrix", tuple(sentences), tuple(drawings))


def _memory(needed: Budget) -> Section:
    mcu = needed.board.mcu
    drawings = (
        _memory_bars(needed, "flash", "Flash", needed.board.program_bytes),
        _memory_bars(needed, "ram", "RAM", mcu.ram_bytes),
    )
    head = (Column("part"), *columns(("flash B", "RAM B"), "right"), Column("basis"))
    rows = [(item.name, _number(item.flash), _number(item.ram), item.basis) for item in needed.items]
    return Section("What fills flash and RAM", (_sentence(needed.summary),), drawings, Table(head, rows))


def _memory_bars(needed: Budget, kind: str, title: str, has: int) -> Figure:
    """Draw the bytes of each part; kind: the attribute of Budget and of its items."""
    parts = [(item.name, getattr(item, kind)) for item in needed.items if getattr(item, kind)]
    total = getattr(needed, kind)
    caption = (
        f"{title} on {needed.board.title}, which has {has:,} bytes. Known before a build: {total:,}"
        f" ({total / has:.1%})."
    )
    return figures.bars(kind, caption, [(name, float(count), f"{count:,} B") for name, count in parts])


def _time(needed: Budget) -> Section:
    drawings = []
    for part in ("frame", "decision"):
        rows = [
            (row.name, float(row.instructions or 0), _cost(row, needed.board.mcu.clock_hz))
            for row in needed.rows
            if row.part == part
        ]
        drawings.append(figures.bars(f"time_{part}", f"Instructions of each {part}, by stage.", rows, 44))
    return Section("What takes the time", (_sentence(needed.basis),), tuple(drawings))


def _cost(row: Row, clock_hz: int) -> str:
    time = milliseconds(row, clock_hz)
    return f"{row.instructions or 0:,}" + ("" if time is None else f", {time:.3f} ms")


def _clip(data: ReportData, classified: Classification | None) -> Section:
    title = "From waveform to decision"
    if classified is None:
        missing = "Give --clip FILE to see a recording's waveform, spectrogram, MFCC and decisions."
        return Section(title, missing=missing)
    caption = f"{classified.name}: waveform, answers, and the scores of each class over time."
    drawings = [Figure("clip", caption, svg(classified)), *_heat_maps(data, classified)]
    return Section(title, tuple(classification_lines(classified)), tuple(drawings))


def _heat_maps(data: ReportData, classified: Classification) -> Iterator[Figure]:
    spec = data.model.spec
    stages = frame_stages(spec, data.model.tables, classified.pcm)
    if "log" in stages:
        log = stages["log"].astype(np.float64) * _DB
        caption = (
            f"Spectrogram: {spec.mel_bands} mel bands, in dB, as the device computes them. Lighter is louder."
        )
        ends = f"{spec.fmin:g} Hz", f"{spec.fmax:g} Hz"
        yield figures.heat("spectrogram", caption, log, classified.seconds, *ends)
    if "mfcc" in stages:
        mfcc = stages["mfcc"].astype(np.float64)
        mfcc = (mfcc - mfcc.mean(axis=0)) / np.maximum(mfcc.std(axis=0), 1)
        caption = "MFCC as the device computes them, each in its own standard deviations. Lighter is more."
        yield figures.heat("mfcc", caption, mfcc, classified.seconds, "0", str(mfcc.shape[1] - 1))


def _accuracies(first: str, rows: Sequence[tuple[str, float, str]]) -> Table:
    return Table((Column(first), Column("accuracy", "right", ".1%"), Column("95 % interval", "right")), rows)


def _interval(point: Point) -> str:
    return f"{100 * point.interval[0]:.1f} to {point.interval[1]:.1%}"


def _number(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def report_json(data: ReportData, needed: Budget, written: Sequence[Path]) -> dict[str, Any]:
    """Return plain values for `report --json`."""
    return {
        "model": data.model.identity.hex(),
        "average_bits": data.average_bits,
        "accuracy": [
            {
                "step": item.step,
                "part": item.part,
                "accuracy": item.point.value,
                "interval95": list(item.point.interval),
                "n": item.n,
            }
            for item in data.steps
        ],
        "fixed_widths": [
            {"bits": point.x, "accuracy": point.value, "interval95": list(point.interval)}
            for point in data.fixed
        ],
        "sensitivity": [list(row) for row in data.added],
        "device": None if data.device is None else data.device.to_json(),
        "needs": needed.to_json(),
        "wrote": [str(path) for path in written],
    }
