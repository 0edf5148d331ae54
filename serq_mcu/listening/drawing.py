"""A recording's decisions as a drawing (SVG) and as a page that needs nothing else (HTML): waveform,
answers, a lane for each class's scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from serq_mcu.listening.answers import Heard
from serq_mcu.listening.classify import Classification

_WIDTH, _LEFT, _RIGHT = 960, 120, 16
_WAVE, _STRIP, _LANE, _GAP = 90, 30, 26, 14  # heights
_LETTER = 7.2  # columns of a letter: what does not fit is left out, and the title says it

_STYLE = """
  .serq { --ink: #1c1f23; --soft: #5b636d; --line: #d9dbd4; --wave: #8a97a3; --bar: #b4c5d2;
    --best: #17608f; --on: #ffffff; }
  @media (prefers-color-scheme: dark) {
    .serq { --ink: #eceef0; --soft: #a3abb4; --line: #343a41; --wave: #77838f; --bar: #4d6272;
      --best: #6cb6e6; --on: #10222e; }
  }
  .serq text { font: 13px system-ui, sans-serif; fill: var(--ink); }
  .serq .soft { fill: var(--soft); } .serq .grid { stroke: var(--line); } .serq .wave { fill: var(--wave); }
  .serq .bar { fill: var(--bar); } .serq .best { fill: var(--best); } .serq .on { fill: var(--on); }
  .serq .open { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,
  initial-scale=1"><title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem;
    background: #fafaf7; color: #1c1f23; }}
  h1 {{ font-size: 1.3rem; overflow-wrap: anywhere; }} svg {{ width: 100%; height: auto; min-width: 40rem;
    }} .wide {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
  th, td {{ text-align: right; padding: .2rem .6rem; border-bottom: 1px solid #8886; }} th:nth-child(2),
    td:nth-child(2) {{ text-align: left; }}
  @media (prefers-color-scheme: dark) {{ body {{ background: #14171a; color: #eceef0; }} }}
</style></head>
<body><h1>{title}</h1><p>{account}</p><div class="wide" tabindex="0">{drawing}</div>
<h2>Decisions</h2><div class="wide" tabindex="0"><table>
<thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table></div></body></html>
"""


def svg(found: Classification) -> str:
    """The drawing.

    It follows the reader's choice of light or dark; answers are told by place and words too, not by colour
    alone.
    """
    body = "\n".join([*_axis(found), *_waveform(found), *_answers(found), *_lanes(found)])
    height = _height(found)
    said = (
        ", ".join(f"{heard.seconds:.1f} s {heard.answer}" for heard in found.decisions)
        or f"as a clip: {found.answer}"
    )
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="serq" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="{escape(said)}">'
    )
    return f"{start}\n<style>{_STYLE}</style>\n{body}\n</svg>\n"


def html(found: Classification) -> str:
    """The drawing in a page, with all decisions in a table."""
    head = "".join(
        f'<th scope="col">{escape(text)}</th>'
        for text in ("time", "answer", "lead", "level", *found.model.labels)
    )
    rows = "\n".join(_row(heard) for heard in found.decisions)
    account = "<br>".join(map(escape, found.lines()))
    return _PAGE.format(title=escape(found.name), account=account, drawing=svg(found), head=head, rows=rows)


def _row(heard: Heard) -> str:
    cells = (
        f"{heard.seconds:.2f} s",
        heard.answer,
        str(heard.margin),
        f"{heard.level_db:.0f} dB",
        *map(str, heard.scores),
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _height(found: Classification) -> int:
    return (
        _WAVE + _GAP + (_STRIP + _GAP + _LANE * len(found.model.labels) + _GAP if found.decisions else 0) + 24
    )


def _x(found: Classification, seconds: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, seconds / found.seconds)


def _spans(found: Classification) -> Iterator[tuple[float, float, Heard]]:
    """Each decision with the time since the one before, as places."""
    before = _x(found, 0)
    for heard in found.decisions:
        end = _x(found, heard.seconds)
        yield before, end, heard
        before = end


def _waveform(found: Classification) -> Iterator[str]:
    middle, columns = _WAVE / 2, _WIDTH - _LEFT - _RIGHT
    parts = np.array_split(found.pcm.astype(np.float64) / 32768, min(columns, len(found.pcm)))
    loudest = max(float(np.abs(found.pcm.astype(np.float64)).max()) / 32768, 1e-3)
    width = columns / len(parts)
    points = [
        (_LEFT + (index + 0.5) * width, part.max() / loudest, part.min() / loudest)
        for index, part in enumerate(parts)
    ]
    upper = [f"{x:.1f},{middle - high * middle * 0.95 - 0.3:.1f}" for x, high, _ in points]
    lower = [f"{x:.1f},{middle - low * middle * 0.95 + 0.3:.1f}" for x, _, low in reversed(points)]
    yield f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">waveform</text>'
    yield (
        f'<polygon class="wave" points="{" ".join(upper + lower)}"><title>its peak is at'
        f" {20 * np.log10(loudest):.0f} dBFS</title></polygon>"
    )


def _answers(found: Classification) -> Iterator[str]:
    if found.decisions:
        yield f'<text x="{_LEFT - 10}" y="{_WAVE + _GAP + _STRIP / 2 + 4}" text-anchor="end">answer</text>'
    for start, end, heard in _spans(found):
        sure = heard.label is not None
        place = (
            f'x="{start + 1:.1f}" y="{_WAVE + _GAP}" width="{max(end - start - 2, 1):.1f}" height="{_STRIP}"'
            ' rx="4"'
        )
        yield (
            f'<rect class="{"best" if sure else "open"}" {place}><title>{heard.seconds:.1f} s:'
            f" {escape(heard.answer)}</title></rect>"
        )
        if len(heard.answer) * _LETTER <= end - start:
            kind = "on" if sure else "soft"
            at = f'x="{(start + end) / 2:.1f}" y="{_WAVE + _GAP + _STRIP / 2 + 4}"'
            yield f'<text class="{kind}" {at} text-anchor="middle">{escape(heard.answer)}</text>'


def _lanes(found: Classification) -> Iterator[str]:
    span = max((heard.span for heard in found.decisions), default=1)
    top = _WAVE + _GAP + _STRIP + _GAP
    for index, label in enumerate(found.model.labels if found.decisions else ()):
        floor = top + (index + 1) * _LANE
        name = label if len(label) <= 15 else f"{label[:14]}…"
        yield f'<text x="{_LEFT - 10}" y="{floor - 7}" text-anchor="end">{escape(name)}</text>'
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'
        for start, end, heard in _spans(found):
            if heard.frames:
                height = heard.shares(span)[index] * (_LANE - 5)
                first = heard.scores[index] == max(heard.scores)
                place = (
                    f'x="{start + 2:.1f}" y="{floor - height:.1f}" width="{max(end - start - 4, 1):.1f}"'
                    f' height="{height:.1f}"'
                )
                yield (
                    f'<rect class="{"best" if first else "bar"}" {place}><title>{escape(label)}'
                    f" {heard.scores[index]}</title></rect>"
                )


def _axis(found: Classification) -> Iterator[str]:
    step = next((step for step in (0.5, 1, 2, 5, 10, 30, 60) if found.seconds / step <= 14), 120)
    for number in range(int(found.seconds / step) + 1):
        x = _x(found, number * step)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_height(found) - 22}"/>'
        yield (
            f'<text class="soft" x="{x:.1f}" y="{_height(found) - 6}" text-anchor="middle">{number * step:g}'
            " s</text>"
        )
