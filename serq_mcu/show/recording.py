"""A classified recording as lines, drawing (SVG) and page (HTML); a session of `serq-mcu record` as lines.

The drawing has the waveform, answers and a lane for each class's scores.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator, Sequence

import numpy as np

from serq_mcu.listening.answers import TimedDecision
from serq_mcu.listening.classify import Classification
from serq_mcu.listening.recorder import Session
from serq_mcu.show import drawing
from serq_mcu.show.drawing import Figure
from serq_mcu.show.page import Page, Section
from serq_mcu.show.table import Column, Table, Value, columns

_WIDTH, _LEFT, _RIGHT = 880, 120, 16
_PLAYED = 60  # seconds of a recording that a page holds
_WAVE, _STRIP, _LANE, _GAP = 90, 30, 26, 14  # heights


def classification_lines(found: Classification) -> list[str]:
    """Return the lines that follow the decisions: conversions, and the answer for the whole clip."""
    clip = "as a clip: too long" if found.answer is None else f"as a clip: {found.answer}"
    return [
        *(f"converted: {note}" for note in found.notes),
        *(f"note: {remark}" for remark in found.remarks),
        f"{clip} ({found.seconds:.2f} s, model {found.model.identity.hex()}, by {found.by})",
    ]


def session_lines(session: Session) -> list[str]:
    """Return the findings of the self-test and the clips that `serq-mcu record` wrote."""
    rate = "" if session.rate_hz is None else f", {session.rate_hz:.0f} samples a second"
    verdict = "good" if session.ok else "see below"
    return [
        f"self-test: peak {session.peak_dbfs:.1f} dBFS{rate}: {verdict}",
        *session.findings,
        *(f"wrote {path}" for path in session.clips),
    ]


def svg(found: Classification) -> str:
    """Return the drawing.

    Place and words show the answers, not colour alone.
    """
    answers = ", ".join(f"{decision.seconds:.1f} s {decision.answer}" for decision in found.decisions)
    elements = [*_axis(found), *_waveform(found), *_answers(found), *_lanes(found)]
    return drawing.document(_WIDTH, _height(found), answers or f"as a clip: {found.answer}", elements)


def html(found: Classification) -> str:
    """Return a page of the drawing and a table of all decisions."""
    caption = (
        "Waveform, answers, and the scores of each class over time; the strong colour is the best score of a"
        " decision."
    )
    if found.decisions:
        caption += (
            " An answer is that of the last few seconds, so it stays for a while after the voice has stopped."
        )
    sentences, figure = tuple(classification_lines(found)), Figure("clip", caption, svg(found))
    sections = [Section("Recording", sentences, (figure,), audio=_audio(found))]
    if found.decisions:
        sections.append(Section("Decisions", table=decisions_table(found)))
    page = Page(found.name, found.name, tuple(sections), drawing_width="60rem")
    return page.html()


def _audio(found: Classification) -> str:
    """Return what the model heard as a data URL, or nothing of a long recording."""
    if found.seconds > _PLAYED:
        return ""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, found.model.spec.sample_rate, 0, "NONE", ""))
        written.writeframes(found.pcm.astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()


def decisions_table(found: Classification) -> Table:
    """Return a row for each decision: time, answer, confidence if it is calibrated, lead, level, scores."""
    rule = found.model.decision
    calibrated = rule is not None and bool(rule.confidence)
    head = (
        Column("time", "right"),
        Column("answer"),
        *columns(("confidence",) if calibrated else (), align="right"),
        *columns(("lead", "level", *found.model.labels), align="right"),
    )
    rows: list[Sequence[Value]] = [
        (
            f"{decision.seconds:.2f} s",
            decision.answer,
            *((("–" if decision.confidence is None else f"{decision.confidence} %"),) if calibrated else ()),
            decision.margin,
            f"{decision.level_db:.0f} dB",
            *decision.scores,
        )
        for decision in found.decisions
    ]
    return Table(head, rows)


def _height(found: Classification) -> int:
    lanes = _STRIP + _GAP + _LANE * len(found.model.labels) + _GAP if found.decisions else 0
    return _WAVE + _GAP + lanes + 24


def _x(found: Classification, seconds: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, seconds / found.seconds)


def _spans(found: Classification) -> Iterator[tuple[float, float, TimedDecision]]:
    """Yield each decision with the places of the decision before it and of its own."""
    before = _x(found, 0)
    for decision in found.decisions:
        end = _x(found, decision.seconds)
        yield before, end, decision
        before = end


def _waveform(found: Classification) -> Iterator[str]:
    middle, width = _WAVE / 2, _WIDTH - _LEFT - _RIGHT
    parts = np.array_split(found.pcm.astype(np.float64) / 32768, min(width, len(found.pcm)))
    loudest = max(float(np.abs(found.pcm.astype(np.float64)).max()) / 32768, 1e-3)
    places = [_LEFT + (index + 0.5) * width / len(parts) for index in range(len(parts))]
    scale = middle * 0.95 / loudest
    upper = [(x, middle - part.max() * scale - 0.3) for x, part in zip(places, parts, strict=True)]
    lower = [(x, middle - part.min() * scale + 0.3) for x, part in zip(places, parts, strict=True)]
    yield drawing.text(_LEFT - 10, middle + 4, "waveform", "end")
    peak = f"its peak is at {20 * np.log10(loudest):.0f} dBFS"
    yield drawing.polygon("wave", [*upper, *reversed(lower)], peak)


def _answers(found: Classification) -> Iterator[str]:
    baseline = _WAVE + _GAP + _STRIP / 2 + 4
    if found.decisions:
        yield drawing.text(_LEFT - 10, baseline, "answer", "end")
    for start, end, decision in _spans(found):
        sure = decision.label is not None
        place = (start + 1, _WAVE + _GAP, max(end - start - 2, 1), _STRIP)
        title = f"{decision.seconds:.1f} s: {decision.answer}"
        yield drawing.rectangle("best" if sure else "open", place, title, rounded=4)
        if len(decision.answer) * drawing.LETTER <= end - start:  # else the title alone shows it
            kind = "on" if sure else "soft"
            yield drawing.text((start + end) / 2, baseline, decision.answer, "middle", kind)


def _lanes(found: Classification) -> Iterator[str]:
    top = _WAVE + _GAP + _STRIP + _GAP
    for index, label in enumerate(found.model.labels if found.decisions else ()):
        floor = top + (index + 1) * _LANE
        yield drawing.text(_LEFT - 10, floor - 7, drawing.shortened(label, 15), "end")
        yield drawing.line("grid", _LEFT, floor, _WIDTH - _RIGHT, floor)
        yield from _lane(found, index, floor)


def _lane(found: Classification, index: int, floor: float) -> Iterator[str]:
    """Yield a bar for each decision's score of one class; all classes share one scale."""
    most = max((decision.span for decision in found.decisions), default=1)
    for start, end, decision in _spans(found):
        if decision.frames:
            height = decision.shares(most)[index] * (_LANE - 5)
            kind = "best" if decision.scores[index] == max(decision.scores) else "bar"
            place = (start + 2, floor - height, max(end - start - 4, 1), height)
            title = f"{found.model.labels[index]} {decision.scores[index]}"
            yield drawing.rectangle(kind, place, title, rounded=0)


def _axis(found: Classification) -> Iterator[str]:
    for seconds in drawing.seconds_axis(found.seconds, 14):
        x = _x(found, seconds)
        yield drawing.line("grid", x, 0, x, _height(found) - 22)
        yield drawing.text(x, _height(found) - 6, f"{seconds:g} s", "middle", "soft")
