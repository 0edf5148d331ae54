"""The report's drawings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import Score
from serq_mcu.show import drawing
from serq_mcu.show.drawing import Figure

WIDTH = 600
_NAMED = 9  # classes of a network
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "5 2", "1 3")  # tell the lines of a drawing apart


@dataclass(frozen=True)
class Point:
    """A value with its 95 % interval, as shares, over an abscissa."""

    x: float
    value: float
    interval: tuple[float, float]


def _figure(name: str, caption: str, height: float, elements: Iterator[str]) -> Figure:
    return Figure(name, caption, drawing.document(WIDTH, height, caption, elements))


def network(steps: Sequence[tuple[int, str]], labels: Sequence[str]) -> Figure:
    """Draw what goes from layer to layer as columns, with the bits of the weights between them.

    steps: of each layer, how many values go in, and the bits of its weights or, without any, its kind.
    """
    height, middle, first, last = 190, 84, 70, WIDTH - 130
    counts = [*(count for count, _ in steps), len(labels)]
    places = [first + index * (last - first) / len(steps) for index in range(len(counts))]

    def body() -> Iterator[str]:
        for (left, right), (_, bits) in zip(itertools.pairwise(places), steps, strict=True):
            yield drawing.line("whisker", left + 12, middle, right - 12, middle)
            words = f"{bits} bit{'' if bits == '1' else 's'}" if bits.isdigit() else bits
            yield drawing.text((left + right) / 2, middle - 8, words, "middle", "small halo")
        for count, x in zip(counts, places, strict=True):
            tall = 16 + 12 * math.log2(count)
            place = (x - 10, middle - tall / 2, 20.0, tall)
            yield drawing.rectangle("best" if x == places[-1] else "bar", place, f"{count} values", rounded=4)
            yield drawing.text(x, middle + tall / 2 + 18, str(count), "middle")
        yield drawing.text(first, height - 4, "features", "middle", "soft")
        yield drawing.text(places[-1], height - 4, "classes", "middle", "soft")
        shown = labels[:_NAMED]
        for row, label in enumerate(shown):
            y = middle + 16 * (row - (len(shown) - 1) / 2) + 4
            yield drawing.text(last + 20, y, drawing.shortened(label, 14), kind="small")

    caption = "How many values go from layer to layer, and the bits of the weights between them."
    return _figure("network", caption, height, body())


def accuracy_against_bits(points: Sequence[Point], star: Point, floats: float, n: int) -> Figure:
    """Draw accuracy at fixed widths as a line, the model's as a star, the float network's as a dotted line.

    The star is at the model's average bits.
    """
    left, top, bottom, height = 60, 16, 44, 340
    low = min([p.interval[0] for p in (*points, star)] + [floats])
    high = max([p.interval[1] for p in (*points, star)] + [floats])
    low, high = np.floor(20 * low) / 20, min(1.0, np.ceil(20 * high) / 20)

    def place(point_x: float, value: float) -> tuple[float, float]:
        x = left + 24 + (point_x - 1) / 7 * (WIDTH - left - 60)
        return x, top + (high - value) / max(high - low, 1e-9) * (height - top - bottom)

    def body() -> Iterator[str]:
        for step in range(round(20 * low), round(20 * high) + 1):
            y = place(1, step / 20)[1]
            yield drawing.line("grid", left, y, WIDTH - 12, y)
            yield drawing.text(left - 8, y + 4, f"{5 * step} %", "end", "soft")
        for bits in range(1, 9):
            yield drawing.text(place(bits, low)[0], height - 22, str(bits), "middle", "soft")
        yield drawing.text((left + WIDTH) / 2, height - 4, "average bits per weight", "middle", "soft")
        y = place(1, floats)[1]
        yield drawing.line("dotted", left, y, WIDTH - 12, y)
        yield drawing.text(left + 6, y - 6, f"float {floats:.1%}", kind="soft small")
        places = [place(p.x, p.value) for p in points]
        yield drawing.polyline("curve", places)
        for point, (x, y) in zip(points, places, strict=True):
            yield drawing.line(
                "whisker", x, place(1, point.interval[0])[1], x, place(1, point.interval[1])[1]
            )
            yield drawing.circle("best", x, y, 4, f"{point.x:g} bits: {point.value:.1%}")
        x, y = place(star.x, star.value)
        yield drawing.polygon("star", drawing.star(x, y, outer=12, inner=5), "this model")
        yield drawing.text(x, y + 34, f"this model: {star.x:.2f} bits, {star.value:.1%}", "middle", "halo")

    caption = (
        f"Accuracy on {n} held-out clips against bits. Line: the same width for every layer; star: this"
        " model; bars: 95 % intervals."
    )
    return _figure("accuracy", caption, height, body())


def confusion(name: str, title: str, score: Score) -> Figure:
    """Draw a confusion matrix with its counts; a darker cell is a larger share of its row."""
    count = len(score.labels)
    left, top = 110, 52
    cell = min(64.0, (WIDTH - left - 70) / count)
    height = top + 0.62 * cell * count + 16

    def body() -> Iterator[str]:
        yield drawing.text(0, 18, f"{title}: {score.accuracy:.1%} of {score.n} clips")
        yield drawing.text(left + cell * count + 12, top - 8, "recall", kind="soft")
        for index, label in enumerate(score.labels):
            yield drawing.text(
                left + (index + 0.5) * cell,
                top - 8,
                drawing.shortened(label, max(3, int(cell / 6.2))),
                "middle",
                "soft small",
            )
            y = top + (index + 0.5) * 0.62 * cell + 4
            yield drawing.text(left - 10, y, drawing.shortened(label, 14), "end")
            row = score.confusion[index]
            recall = score.recall[label]
            yield drawing.text(left + cell * count + 12, y, "no clip" if recall is None else f"{recall:.0%}")
            for other, number in enumerate(row):
                share = number / max(int(row.sum()), 1)
                kind = "best" if index == other else "bar"
                place = (left + other * cell + 1, top + index * 0.62 * cell + 1, cell - 2, 0.62 * cell - 2)
                tip = f"{label} classified as {score.labels[other]}: {number}"
                yield drawing.rectangle(kind, place, tip, rounded=3, opacity=0.08 + 0.92 * share)
                tone = "on" if share > 0.55 and index == other else ("soft" if number == 0 else "")
                yield drawing.text(left + (other + 0.5) * cell, y, str(number), "middle", tone)

    return _figure(
        name,
        f"{title}: true classes in rows, predicted classes in columns; {score.correct} of {score.n} correct.",
        height,
        body(),
    )


def bars(name: str, caption: str, rows: Sequence[tuple[str, float, str]], label_columns: int = 34) -> Figure:
    """Draw a bar for each row of label, value and note; the note is written beside the bar."""
    left, step = min(label_columns, max(len(label) for label, _, _ in rows)) * drawing.LETTER + 14, 24
    most = max(max(value for _, value, _ in rows), 1e-12)
    room = WIDTH - left - (max(len(note) for _, _, note in rows) * drawing.LETTER + 12)

    def body() -> Iterator[str]:
        for index, (label, value, note) in enumerate(rows):
            y, length = index * step, max(1.0, room * value / most)
            yield drawing.text(left - 10, y + 16, drawing.shortened(label, label_columns), "end")
            yield drawing.rectangle("best", (left, y + 4, length, step - 8))
            yield drawing.text(left + length + 8, y + 16, note, kind="soft")

    return _figure(name, caption, step * len(rows) + 4, body())


def layer_bits(layers: Sequence[tuple[str, float, str, int]]) -> Figure:
    """Draw the bits of each layer: a bar for its importance and a block for each bit.

    layers: name, importance, width in words, bits.
    """
    left, step, block = 110, 40, 18
    longest, blocks = 100, 272
    most = max(importance for _, importance, _, _ in layers)

    def body() -> Iterator[str]:
        yield drawing.text(left, 14, "importance", kind="soft")
        yield drawing.text(blocks, 14, "bits per weight", kind="soft")
        for index, (name, importance, width, bits) in enumerate(layers):
            y, length = 24 + index * step, longest * importance / most
            yield drawing.text(left - 10, y + 20, drawing.shortened(name, 14), "end")
            yield drawing.rectangle("bar", (left, y + 6, length, 20))
            yield drawing.text(left + length + 8, y + 20, f"{importance:.3f}", kind="soft")
            for bit in range(8):
                place = (blocks + bit * block, y + 6, block - 4, 20)
                yield drawing.rectangle("best" if bit < bits else "empty", place)
            yield drawing.text(blocks + 8 * block + 6, y + 20, width)

    return _figure(
        "layers", "Importance of each layer, and the bits it was given.", 28 + step * len(layers), body()
    )


def steps(name: str, caption: str, rows: Sequence[tuple[str, Point]]) -> Figure:
    """Draw a dot with its interval for each row."""
    left, step = 220, 30
    low = min(point.interval[0] for _, point in rows)
    high = max(point.interval[1] for _, point in rows)
    low, high = np.floor(20 * low) / 20, np.ceil(20 * high) / 20

    def x(value: float) -> float:
        return float(left + (value - low) / max(high - low, 1e-9) * (WIDTH - left - 60))

    def body() -> Iterator[str]:
        for mark in range(round(20 * low), round(20 * high) + 1, 2):
            yield drawing.line("grid", x(mark / 20), 20, x(mark / 20), 24 + step * len(rows))
            yield drawing.text(x(mark / 20), 14, f"{5 * mark} %", "middle", "soft small")
        for index, (label, point) in enumerate(rows):
            y = 24 + index * step + step / 2
            yield drawing.text(left - 12, y + 4, drawing.shortened(label, 32), "end")
            yield drawing.line("whisker", x(point.interval[0]), y, x(point.interval[1]), y)
            yield drawing.circle("best", x(point.value), y, 5)
            yield drawing.text(x(point.interval[1]) + 8, y + 4, f"{point.value:.1%}", kind="soft")

    return _figure(name, caption, 28 + step * len(rows), body())


def sensitivity(added: Sequence[Sequence[float]]) -> Figure:
    """Draw the validation loss that each layer alone adds at 1 to 8 bits, a line for each layer.

    Its first value is written at its left end.
    """
    left, top, bottom, height = 110, 16, 64, 340
    low, high = min(min(map(min, added)), 0.0), max(max(map(max, added)), 1e-3)

    def place(bits: int, value: float) -> tuple[float, float]:
        return left + (bits - 1) / 7 * (WIDTH - left - 24), top + (high - value) / (high - low) * (
            height - top - bottom
        )

    def body() -> Iterator[str]:
        zero = place(1, 0.0)[1]
        yield drawing.line("grid", left, zero, WIDTH - 12, zero)
        yield drawing.text(WIDTH - 14, zero - 5, "as with 8 bits", "end", "soft small")
        for bits in range(1, 9):
            yield drawing.text(place(bits, low)[0], height - 22, str(bits), "middle", "soft")
        yield drawing.text(
            (left + WIDTH) / 2, height - 4, "bits of one layer, the others at 8", "middle", "soft"
        )
        taken: list[float] = []
        for layer in sorted(range(len(added)), key=lambda layer: -added[layer][0]):
            row = added[layer]
            places = [place(bits, value) for bits, value in enumerate(row, start=1)]
            yield drawing.polyline("curve", places, _DASHES[layer % len(_DASHES)])
            y = max(places[0][1] + 4, *(other + 16 for other in taken)) if taken else places[0][1] + 4
            taken.append(y)
            yield drawing.text(left - 8, y, f"layer {layer} {row[0]:+.2f}", "end")

    caption = (
        "Validation loss (cross-entropy, nats) that each layer alone adds with fewer bits. The written number"
        " is that of 1 bit."
    )
    return _figure("sensitivity", caption, height, body())


def heat(
    name: str, caption: str, values: NDArray[np.floating], seconds: float, low_label: str, high_label: str
) -> Figure:
    """Draw values [frames, rows] over time, the first row at the bottom; lighter is more."""
    left, height, foot = 80, 190, 26

    def body() -> Iterator[str]:
        yield drawing.text(left - 10, 14, high_label, "end", "soft")
        yield drawing.text(left - 10, height - foot - 2, low_label, "end", "soft")
        width = WIDTH - left - 16
        yield drawing.image((left, 0, width, height - foot), values.T[::-1])
        for time in drawing.seconds_axis(seconds, 10):
            yield drawing.text(
                left + width * time / seconds, height - 6, f"{time:g} s", "middle", "soft small"
            )

    return _figure(name, caption, height, body())
