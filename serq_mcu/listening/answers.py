"""Decisions with their time and level, from any source: a recording, a microphone, a board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serq_mcu.frontend.level import level_in_db
from serq_mcu.quantized_model.streaming import Decision, confidence
from serq_mcu.quantized_model.types import NO_SPEECH, NOT_SURE, UNKNOWN_CONFIDENCE, QuantizedModel

WORDS = {NO_SPEECH: "no speech", NOT_SURE: "not sure"}


@dataclass(frozen=True)
class TimedDecision:
    """A decision with its time in seconds since listening began and its level in dB.

    label: the answer's index, None for no speech and not sure; margin: of the best score over the second;
    level_db: of the newest block, relative to a full-scale square wave; frames: of the window; latency_us:
    from the window's last samples to the decision, 0 where there is no clock; overruns: samples lost since
    listening began; confidence: that the best class is the right one, in percent, None where it is unknown.
    """

    seconds: float
    answer: str
    label: int | None
    scores: tuple[int, ...]
    margin: int
    level_db: float
    frames: int
    latency_us: int = 0
    overruns: int = 0
    confidence: int | None = None

    @property
    def span(self) -> int:
        """From the lowest score to the highest."""
        return max(self.scores) - min(self.scores)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return asdict(self) | {"seconds": round(self.seconds, 3), "level_db": round(self.level_db, 2)}

    def shares(self, span: int) -> list[float]:
        """Return how long to draw each score, 0 to 1, if 1 is `span` above the lowest score."""
        low = min(self.scores)
        return [min(1.0, (score - low) / max(span, 1)) for score in self.scores]


@dataclass(frozen=True)
class Hello:
    """Listening began. board: who listens; model: its identity, in hexadecimal."""

    board: str
    model: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelledDecision:
    """A decision, and the labels of its scores."""

    decision: TimedDecision
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Damaged:
    """A line that began as a decision came damaged, in printable text."""

    text: str


LiveEvent = Hello | LabelledDecision | Damaged


def answer_words(model: QuantizedModel, answer: int) -> str:
    """Return the words of an answer: a label's name, "no speech" or "not sure"."""
    return WORDS[answer] if answer < 0 else model.labels[answer]


def timed_decisions(
    model: QuantizedModel, decisions: Sequence[Decision], first: int = 0, overruns: int = 0
) -> Iterator[TimedDecision]:
    """Attach labels and times to the decisions of a stream of this model.

    The first of them is number `first` of its stream; each has the time at which its block ends.
    """
    assert model.decision is not None
    spec, block = model.spec, model.decision.block_frames
    for number, decision in enumerate(decisions, start=first + 1):
        end = (number * block - 1) * spec.hop_length + spec.frame_length
        answer = answer_words(model, decision.answer)
        label = None if decision.answer < 0 else decision.answer
        level, sure = level_in_db(decision.level), confidence(model.decision, decision)
        yield TimedDecision(
            end / spec.sample_rate,
            answer,
            label,
            decision.scores,
            decision.margin,
            level,
            decision.frames,
            0,
            overruns,
            None if sure == UNKNOWN_CONFIDENCE else sure,
        )
