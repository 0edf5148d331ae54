"""What a live board writes: lines of JSON (SPEC.md section 14).

They come among boot messages, damaged lines and whatever else comes over a wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serq_mcu.base.text import shown
from serq_mcu.base.validation import parse_json
from serq_mcu.frontend.level import level_in_db
from serq_mcu.listening.answers import WORDS, Damaged, Hello, LabelledDecision, TimedDecision

_LONGEST = 16_384  # bytes of a line: 64 classes of 64 bytes and their scores fit three times
_LABELS = 64
_PERCENT = 100


@dataclass(frozen=True)
class Complaint:
    """An error that a board reports of itself."""

    text: str


@dataclass(frozen=True)
class Passed:
    """A line that is no decision and never was one."""

    text: str


@dataclass(frozen=True)
class VoiceReport:
    """From how many windows a board has learned a voice, and what it learns from; or a refused command."""

    windows: int
    learns: str
    refused: bool


@dataclass(frozen=True)
class StoredVoice:
    """The bytes of a board's voice, as they are stored."""

    stored: bytes


Event = Hello | LabelledDecision | Damaged | Complaint | Passed | VoiceReport | StoredVoice


class LineReader:
    """Events out of a byte stream. labels: of the model, where they are known before the board sends them.

    windows: that the board's voice was learned from, as its last decision says; None where it has none.
    """

    def __init__(self, labels: Sequence[str] = ()) -> None:
        self.labels = tuple(labels)
        self._rest = b""
        self._first = True
        self._greeted: Hello | None = None
        self.windows: int | None = None

    def feed(self, data: bytes, seconds: float) -> Iterator[Event]:
        """Yield the events whose lines `data` ends, `seconds` after listening began."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            lines, self._rest = [*lines, self._rest[:_LONGEST]], b""
        for line in lines:
            text = line.decode(errors="replace").strip()
            event = self._event(text, seconds) if text else None
            if event:
                yield event
            self._first = False

    def _event(self, text: str, seconds: float) -> Event | None:
        """Return the event of a line; None for a greeting that only repeats what is known."""
        event: Hello | Complaint | TimedDecision | VoiceReport | StoredVoice | None
        start = text.find("{")
        try:
            value = parse_json(text[start:]) if start >= 0 else None
        except ValueError:
            value = None
        event = (
            self._hello(value) or self._complaint(value) or _voice(value) or self._decision(value, seconds)
            if isinstance(value, dict)
            else None
        )
        if isinstance(event, Hello):
            known, self._greeted = self._greeted, event
            return None if event == known and '"again": true' in text else event
        if isinstance(event, TimedDecision):
            return LabelledDecision(event, self.labels)
        begun = not self._first and any(word in text for word in ('"answer"', '"scores"', '"overruns"'))
        return event or (Damaged if begun else Passed)(shown(text)[:120])

    def _hello(self, value: dict[str, Any]) -> Hello | None:
        labels = value.get("labels")
        if value.get("serq") != "live" or not isinstance(labels, list) or not 0 < len(labels) <= _LABELS:
            return None
        self.labels = tuple(shown(str(label)) for label in labels)
        return Hello(shown(str(value.get("board"))), shown(str(value.get("model"))), self.labels)

    def _complaint(self, value: dict[str, Any]) -> Complaint | None:
        return Complaint(shown(value["error"])) if isinstance(value.get("error"), str) else None

    def _decision(self, value: dict[str, Any], seconds: float) -> TimedDecision | None:
        scores, answer, label = value.get("scores"), value.get("answer"), value.get("label")
        numbers: list[Any] = [
            value.get(name) for name in ("margin", "level", "frames", "latency_us", "overruns")
        ]
        if (
            not isinstance(scores, list)
            or not 0 < len(scores) <= _LABELS
            or not all(_integer(number) for number in (*scores, *numbers))
        ):
            return None
        if not isinstance(answer, str) or not (
            _integer(label) or (label is None and answer in WORDS.values())
        ):
            return None
        if self.labels and len(scores) != len(self.labels):
            return None
        if not self.labels:  # listening began when the board had already said them
            self.labels = tuple(f"class {index}" for index in range(len(scores)))
        if label is not None:
            if not 0 <= label < len(scores):
                return None
            self.labels = (*self.labels[:label], shown(answer), *self.labels[label + 1 :])
        voice = value.get("voice")
        self.windows = voice if _integer(voice) else None
        margin, level, frames, latency, overruns = numbers
        sure = value.get("confidence")
        return TimedDecision(
            seconds,
            shown(answer),
            label,
            tuple(scores),
            margin,
            level_in_db(level),
            frames,
            latency,
            overruns,
            sure if isinstance(sure, int) and _integer(sure) and 0 <= sure <= _PERCENT else None,
        )


def _voice(value: dict[str, Any]) -> VoiceReport | StoredVoice | None:
    windows, learns, stored = value.get("voice"), value.get("learns"), value.get("stored")
    if isinstance(stored, str) and re.fullmatch("([0-9a-f]{2})+", stored):
        return StoredVoice(bytes.fromhex(stored))
    if isinstance(windows, int) and isinstance(learns, str):
        return VoiceReport(windows, shown(learns), value.get("refused") is True)
    return None


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**33
