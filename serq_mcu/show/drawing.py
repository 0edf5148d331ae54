"""SVG elements, and the one theme of all pages and drawings, light or dark as the reader prefers.

No drawing relies on colour alone.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.text import html_text

LETTER = 7.2  # width of a letter of the drawings' font, about
_LIGHT = {
    "paper": "#fafaf7",
    "card": "#ffffff",
    "ink": "#1c1f23",
    "soft": "#5b636d",
    "line": "#d9dbd4",
    "wave": "#8a97a3",
    "bar": "#b4c5d2",
    "best": "#17608f",
    "on": "#ffffff",
    "alert": "#9c3a12",
}
_DARK = {
    "paper": "#14171a",
    "card": "#1d2126",
    "ink": "#eceef0",
    "soft": "#a3abb4",
    "line": "#343a41",
    "wave": "#77838f",
    "bar": "#4d6272",
    "best": "#6cb6e6",
    "on": "#10222e",
    "alert": "#f0a07c",
}
_RULES = """
.serq text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.serq text.small { font-size: 12px; }
.serq .soft { fill: var(--soft); }
.serq .on { fill: var(--on); }
.serq .grid { stroke: var(--line); }
.serq .wave { fill: var(--wave); }
.serq .bar { fill: var(--bar); }
.serq .best { fill: var(--best); }
.serq .star { fill: var(--alert); }
.serq .empty { fill: none; stroke: var(--line); }
.serq .open { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
.serq .curve { fill: none; stroke: var(--best); stroke-width: 2; }
.serq .whisker { stroke: var(--best); }
.serq .dotted { stroke: var(--soft); stroke-dasharray: 4 4; }
.serq .halo { paint-order: stroke; stroke: var(--card); stroke-width: 5px; stroke-linejoin: round; }
"""
# dark to light, evenly in lightness: read in grey as in colour (after Smith and van der Walt's viridis)
_SHADES = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def theme(selector: str) -> str:
    """Return CSS that defines the theme's colours as variables, light and dark."""
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items()) for colours in (_LIGHT, _DARK)
    )
    return f"{selector} {{ {light} }}\n@media (prefers-color-scheme: dark) {{ {selector} {{ {dark} }} }}"


@dataclass(frozen=True)
class Figure:
    """A drawing: the name of its file without its suffix, a caption of one sentence, and its SVG."""

    name: str
    caption: str
    svg: str

    @property
    def width(self) -> int:
        """The width of its view box: in pixels, what its text needs to be as large as it says."""
        return int(self.svg.split('viewBox="0 0 ', 1)[1].split(" ", 1)[0])


def document(width: float, height: float, description: str, elements: Iterable[str]) -> str:
    """Return a whole SVG file with the theme in it; description: for readers who cannot see it."""
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="serq" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' role="img" aria-label="{html_text(description)}">'
    )
    style = f"<style>\n{theme('.serq')}{_RULES}</style>"
    return "\n".join([start, style, *elements, "</svg>\n"])


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Return a line of text that starts, ends or has its middle at (x, y)."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{_class(kind)}>{html_text(words)}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def polyline(kind: str, points: Iterable[tuple[float, float]], dashes: str = "") -> str:
    """Return lines through `points`; dashes: lengths of dashes and gaps, "" for a solid line."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline class="{kind}"{dashed} points="{_points(points)}"/>'


def polygon(kind: str, points: Iterable[tuple[float, float]], title: str) -> str:
    """Return a filled area; title: what a pointer over it shows."""
    return f'<polygon class="{kind}" points="{_points(points)}">{_title(title)}</polygon>'


def circle(kind: str, x: float, y: float, radius: float, title: str = "") -> str:
    """Return a filled circle; title: what a pointer over it shows."""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{_title(title)}</circle>'


def rectangle(
    kind: str,
    place: tuple[float, float, float, float],
    title: str = "",
    rounded: float = 2,
    opacity: float = 1.0,
) -> str:
    """Return a rectangle; place: x, y, width, height; title: what a pointer over it shows."""
    x, y, width, height = place
    faint = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{rounded:g}"{faint}>{_title(title)}</rect>'
    )


def image(place: tuple[float, float, float, float], values: NDArray[np.floating]) -> str:
    """Return values [rows, columns] as an image, one rectangle each; lighter is more."""
    x, y, width, height = place
    data = base64.b64encode(_png(values)).decode()
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        ' preserveAspectRatio="none" style="image-rendering: pixelated"'
        f' href="data:image/png;base64,{data}"/>'
    )


def star(x: float, y: float, outer: float, inner: float) -> list[tuple[float, float]]:
    """Return the ten corners of a star around (x, y), the first at the top."""
    angles = np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, inner, outer)
    return list(
        zip((x + radii * np.cos(angles)).tolist(), (y - radii * np.sin(angles)).tolist(), strict=True)
    )


def seconds_axis(seconds: float, most: int) -> list[float]:
    """Return round times from 0 to `seconds`, at most about `most` of them."""
    step = next((step for step in (0.5, 1, 2, 5, 10, 30, 60) if seconds / step <= most), 120)
    return [number * step for number in range(int(seconds / step) + 1)]


def shortened(words: str, letters: int) -> str:
    """Return text of at most `letters` letters, with an ellipsis where it was longer."""
    return words if len(words) <= letters else f"{words[: letters - 1]}…"


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _title(title: str) -> str:
    return f"<title>{html_text(title)}</title>" if title else ""


def _png(values: NDArray[np.floating]) -> bytes:
    """Encode values [rows, columns] as PNG, the smallest dark and the largest light, a pixel each.

    The core has no image library among its dependencies, and one is not worth these lines.
    """
    pixels = _shades(values)
    lines = np.concatenate([np.zeros((len(pixels), 1), np.uint8), pixels.reshape(len(pixels), -1)], axis=1)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _shades(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the colours uint8 [rows, columns, 3] of values; outliers take the colour at their end."""
    low, high = float(np.percentile(values, 1)), float(np.percentile(values, 99.5))
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * (len(_SHADES) - 1)
    table = np.array(_SHADES, dtype=np.float64)
    channels = [np.interp(share, np.arange(len(_SHADES)), table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
