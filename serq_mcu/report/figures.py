"""Drawings as SVG that follow the reader's choice of light or dark and say nothing by colour alone."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import Score

WIDTH = 600
_STYLE = """
  .serq { --ink: #1c1f23; --soft: #5b636d; --line: #d9dbd4; --bar: #b4c5d2; --best: #17608f; --on: #ffffff;
    --alert: #9c3a12; --under: #ffffff; }
  @media (prefers-color-scheme: dark) {
    .serq { --ink: #eceef0; --soft: #a3abb4; --line: #343a41; --bar: #4d6272; --best: #6cb6e6;
      --on: #10222e; --alert: #f0a07c; --under: #1d2126; }
  }
  .serq text { font: 13px system-ui, sans-serif; fill: var(--ink); } .serq .soft { fill: var(--soft); }
    .serq .small { font-size: 12px; }
  .serq .grid { stroke: var(--line); } .serq .bar { fill: var(--bar); } .serq .best { fill: var(--best); }
    .serq .on { fill: var(--on); }
  .serq .curve { fill: none; stroke: var(--best); stroke-width: 2; } .serq .whisker { stroke: var(--best); }
  .serq .dotted { stroke: var(--soft); stroke-dasharray: 4 4; } .serq .star { fill: var(--alert); }
  .serq .one { stroke: var(--best); fill: none; stroke-width: 2; }
  .serq .halo { paint-order: stroke; stroke: var(--under); stroke-width: 5px; stroke-linejoin: round; }
"""
_LETTER = 7.2  # columns of a letter
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "5 2", "1 3")  # tell the lines of a drawing apart
# dark to light, evenly in lightness: read in grey as in colour (after Smith and van der Walt's viridis)
_SHADES = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


@dataclass(frozen=True)
class Figure:
    """A drawing: the name of its file, what it shows in a sentence, and its SVG."""

    name: str
    words: str
    svg: str


@dataclass(frozen=True)
class Point:
    """A value with its 95 % interval, as shares, over an abscissa."""

    x: float
    value: float
    interval: tuple[float, float]


def _figure(name: str, words: str, height: float, body: Iterator[str]) -> Figure:
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="serq" viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
        f' aria-label="{escape(words)}">'
    )
    return Figure(name, words, "\n".join([start, f"<style>{_STYLE}</style>", *body, "</svg>\n"]))


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{dashes}/>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def accuracy_against_bits(points: Sequence[Point], star: Point, floats: float, n: int) -> Figure:
    """Accuracy at fixed widths as a line, the model's at its average bits as a star, the float network's
    as a dotted line.
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
            yield _line("grid", left, y, WIDTH - 12, y)
            yield _text(left - 8, y + 4, f"{5 * step} %", "end", "soft")
        for bits in range(1, 9):
            yield _text(place(bits, low)[0], height - 22, str(bits), "middle", "soft")
        yield _text((left + WIDTH) / 2, height - 4, "average bits of a weight", "middle", "soft")
        y = place(1, floats)[1]
        yield _line("dotted", left, y, WIDTH - 12, y)
        yield _text(left + 6, y - 6, f"float {floats:.1%}", kind="soft small")
        places = [place(p.x, p.value) for p in points]
        yield f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
        for point, (x, y) in zip(points, places, strict=True):
            yield _line("whisker", x, place(1, point.interval[0])[1], x, place(1, point.interval[1])[1])
            yield (
                f'<circle class="best" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{point.x:g} bits:'
                f" {point.value:.1%}</title></circle>"
            )
        x, y = place(star.x, star.value)
        angles = np.pi / 2 + np.arange(10) * np.pi / 5
        radii = np.where(np.arange(10) % 2, 5, 12)
        corners = " ".join(
            f"{x + r * np.cos(a):.1f},{y - r * np.sin(a):.1f}" for a, r in zip(angles, radii, strict=True)
        )
        yield f'<polygon class="star" points="{corners}"><title>this model</title></polygon>'
        yield _text(x, y + 34, f"this model: {star.x:.2f} bits, {star.value:.1%}", "middle", "halo")

    words = (
        f"Accuracy on {n} held-out clips against bits. Line: the same width for every layer; star: this"
        " model; bars: 95 % intervals."
    )
    return _figure("accuracy", words, height, body())


def confusion(name: str, title: str, score: Score) -> Figure:
    """A confusion matrix with its counts; a darker cell is a larger share of its row."""
    count = len(score.labels)
    left, top = 110, 52
    cell = min(64.0, (WIDTH - left - 70) / count)
    height = top + 0.62 * cell * count + 16

    def body() -> Iterator[str]:
        yield _text(0, 18, f"{title}: {score.accuracy:.1%} of {score.n} clips")
        yield _text(left + cell * count + 12, top - 8, "recall", kind="soft")
        for index, label in enumerate(score.labels):
            yield _text(
                left + (index + 0.5) * cell,
                top - 8,
                _short(label, max(3, int(cell / 6.2))),
                "middle",
                "soft small",
            )
            y = top + (index + 0.5) * 0.62 * cell + 4
            yield _text(left - 10, y, _short(label, 14), "end")
            row = score.confusion[index]
            recall = score.recall[label]
            yield _text(left + cell * count + 12, y, "no clip" if recall is None else f"{recall:.0%}")
            for other, number in enumerate(row):
                share = number / max(int(row.sum()), 1)
                kind = "best" if index == other else "bar"
                at = (
                    f'x="{left + other * cell + 1:.1f}" y="{top + index * 0.62 * cell + 1:.1f}"'
                    f' width="{cell - 2:.1f}" height="{0.62 * cell - 2:.1f}"'
                )
                yield (
                    f'<rect class="{kind}" {at} rx="3"'
                    f' opacity="{0.08 + 0.92 * share:.2f}"><title>{escape(label)} answered as '
                )
                yield f"{escape(score.labels[other])}: {number}</title></rect>"
                tone = "on" if share > 0.55 and index == other else ("soft" if number == 0 else "")
                yield _text(left + (other + 0.5) * cell, y, str(number), "middle", tone)

    return _figure(
        name,
        f"{title}: true classes in rows, answers in columns; {score.correct} of {score.n} right.",
        height,
        body(),
    )


def bars(name: str, words: str, rows: Sequence[tuple[str, float, str]], label_columns: int = 34) -> Figure:
    """A bar for each row of label, value and what to write beside it."""
    left, step = min(label_columns, max(len(label) for label, _, _ in rows)) * _LETTER + 14, 24
    most = max(max(value for _, value, _ in rows), 1e-12)
    room = WIDTH - left - (max(len(said) for _, _, said in rows) * _LETTER + 12)

    def body() -> Iterator[str]:
        for index, (label, value, said) in enumerate(rows):
            y, length = index * step, max(1.0, room * value / most)
            yield _text(left - 10, y + 16, _short(label, label_columns), "end")
            yield (
                f'<rect class="best" x="{left:.1f}" y="{y + 4}" width="{length:.1f}" height="{step - 8}"'
                ' rx="2"/>'
            )
            yield _text(left + length + 8, y + 16, said, kind="soft")

    return _figure(name, words, step * len(rows) + 4, body())


def layer_bits(layers: Sequence[tuple[str, float, str, int]]) -> Figure:
    """For each layer its name, importance, width in words, and bits: a bar for the importance and a block
    for each bit.
    """
    left, step, block = 110, 40, 18
    longest, blocks = 100, 272
    most = max(importance for _, importance, _, _ in layers)

    def body() -> Iterator[str]:
        yield _text(left, 14, "importance", kind="soft")
        yield _text(blocks, 14, "bits of a weight", kind="soft")
        for index, (name, importance, width, bits) in enumerate(layers):
            y, length = 24 + index * step, longest * importance / most
            yield _text(left - 10, y + 20, _short(name, 14), "end")
            yield f'<rect class="bar" x="{left}" y="{y + 6}" width="{length:.1f}" height="20" rx="2"/>'
            yield _text(left + length + 8, y + 20, f"{importance:.3f}", kind="soft")
            for bit in range(8):
                x = blocks + bit * block
                kind = 'class="best"' if bit < bits else 'fill="none" class="grid"'
                yield f'<rect {kind} x="{x}" y="{y + 6}" width="{block - 4}" height="20" rx="2"/>'
            yield _text(blocks + 8 * block + 6, y + 20, width)

    return _figure(
        "layers", "Importance of each layer, and the bits it was given.", 28 + step * len(layers), body()
    )


def steps(name: str, words: str, rows: Sequence[tuple[str, Point]]) -> Figure:
    """A dot with its interval for each row."""
    left, step = 220, 30
    low = min(point.interval[0] for _, point in rows)
    high = max(point.interval[1] for _, point in rows)
    low, high = np.floor(20 * low) / 20, np.ceil(20 * high) / 20

    def x(value: float) -> float:
        return float(left + (value - low) / max(high - low, 1e-9) * (WIDTH - left - 60))

    def body() -> Iterator[str]:
        for mark in range(round(20 * low), round(20 * high) + 1, 2):
            yield _line("grid", x(mark / 20), 20, x(mark / 20), 24 + step * len(rows))
            yield _text(x(mark / 20), 14, f"{5 * mark} %", "middle", "soft small")
        for index, (label, point) in enumerate(rows):
            y = 24 + index * step + step / 2
            yield _text(left - 12, y + 4, _short(label, 32), "end")
            yield _line("whisker", x(point.interval[0]), y, x(point.interval[1]), y)
            yield f'<circle class="best" cx="{x(point.value):.1f}" cy="{y}" r="5"/>'
            yield _text(x(point.interval[1]) + 8, y + 4, f"{point.value:.1%}", kind="soft")

    return _figure(name, words, 28 + step * len(rows), body())


def sensitivity(added: Sequence[Sequence[float]]) -> Figure:
    """Validation loss that each layer alone adds at 1 to 8 bits, a line for each layer; its first value is
    written at its left end.
    """
    left, top, bottom, height = 110, 16, 64, 340
    low, high = min(min(map(min, added)), 0.0), max(max(map(max, added)), 1e-3)

    def place(bits: int, value: float) -> tuple[float, float]:
        return left + (bits - 1) / 7 * (WIDTH - left - 24), top + (high - value) / (high - low) * (
            height - top - bottom
        )

    def body() -> Iterator[str]:
        zero = place(1, 0.0)[1]
        yield _line("grid", left, zero, WIDTH - 12, zero)
        yield _text(WIDTH - 14, zero - 5, "as with 8 bits", "end", "soft small")
        for bits in range(1, 9):
            yield _text(place(bits, low)[0], height - 22, str(bits), "middle", "soft")
        yield _text((left + WIDTH) / 2, height - 4, "bits of one layer, the others at 8", "middle", "soft")
        taken: list[float] = []
        for layer in sorted(range(len(added)), key=lambda layer: -added[layer][0]):
            row = added[layer]
            places = [place(bits, value) for bits, value in enumerate(row, start=1)]
            dash = _DASHES[layer % len(_DASHES)]
            yield (
                f'<polyline class="one" stroke-dasharray="{dash}"'
                f' points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'
            )
            y = max(places[0][1] + 4, *(other + 16 for other in taken)) if taken else places[0][1] + 4
            taken.append(y)
            yield _text(left - 8, y, f"layer {layer} {row[0]:+.2f}", "end")

    words = (
        "Validation loss (cross-entropy, nats) that each layer alone adds with fewer bits. The written number"
        " is that of 1 bit."
    )
    return _figure("sensitivity", words, height, body())


def heat(
    name: str, words: str, values: NDArray[np.floating], seconds: float, low_label: str, high_label: str
) -> Figure:
    """Values [frames, rows] over time, the first row at the bottom; lighter is more."""
    left, height, foot = 80, 190, 26

    def body() -> Iterator[str]:
        yield _text(left - 10, 14, high_label, "end", "soft")
        yield _text(left - 10, height - foot - 2, low_label, "end", "soft")
        at = (
            f'x="{left}" y="0" width="{WIDTH - left - 16}" height="{height - foot}"'
            ' preserveAspectRatio="none" style="image-rendering: pixelated"'
        )
        yield f'<image {at} href="data:image/png;base64,{base64.b64encode(_png(values.T[::-1])).decode()}"/>'
        step = next((step for step in (0.5, 1, 2, 5, 10, 30, 60) if seconds / step <= 10), 120)
        for number in range(int(seconds / step) + 1):
            x = left + (WIDTH - left - 16) * number * step / seconds
            yield _text(x, height - 6, f"{number * step:g} s", "middle", "soft small")

    return _figure(name, words, height, body())


def _png(values: NDArray[np.floating]) -> bytes:
    """Values [rows, columns], smallest dark and largest light, as a PNG of one pixel each."""
    low, high = float(np.percentile(values, 1)), float(np.percentile(values, 99.5))
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (len(_SHADES) - 1)
    table = np.array(_SHADES, dtype=np.float64)
    pixels = (
        np.stack(
            [np.interp(share, np.arange(len(_SHADES)), table[:, channel]) for channel in range(3)], axis=-1
        )
        .round()
        .astype(np.uint8)
    )
    lines = np.concatenate([np.zeros((len(pixels), 1), np.uint8), pixels.reshape(len(pixels), -1)], axis=1)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks
    )
