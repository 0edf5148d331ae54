"""Decisions of a model on a recording, or on this computer's microphone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.quality import remarks
from serq_mcu.errors import SerqError
from serq_mcu.listening.answers import Hello, LabelledDecision, TimedDecision, answer_words, timed_decisions
from serq_mcu.listening.engine import ClipAnswer, Engine, open_engine
from serq_mcu.listening.microphone import Microphone
from serq_mcu.quantized_model.streaming import require_decision_rule
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice


@dataclass(frozen=True)
class Classification:
    """A recording's decisions, in their order, and its answer as a clip.

    clip: the answer as a clip, None where it is too long for one. pcm:
    int16 [samples]; by: what computed it, in words; notes: what was converted; remarks: what is odd about it.
    """

    model: QuantizedModel
    name: str
    pcm: NDArray[np.int16]
    decisions: tuple[TimedDecision, ...]
    clip: ClipAnswer | None
    by: str
    notes: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def answer(self) -> str | None:
        """The clip's label, or that there is no speech."""
        return None if self.clip is None else answer_words(self.model, self.clip.label)

    @property
    def seconds(self) -> float:
        """The recording's length."""
        return len(self.pcm) / self.model.spec.sample_rate

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return {
            "file": self.name,
            "seconds": round(self.seconds, 3),
            "model": self.model.identity.hex(),
            "labels": list(self.model.labels),
            "computed_by": self.by,
            "notes": list(self.notes),
            "remarks": list(self.remarks),
            "answer": self.answer,
            "scores": None if self.clip is None else list(self.clip.scores),
            "decisions": [decision.to_json() for decision in self.decisions],
        }


def classify_file(
    path: Path, model: QuantizedModel, progress: Callable[..., None], voice: Voice | None = None
) -> Classification:
    """Classify a recording: decisions after each block, and one for the whole clip.

    There are decisions by block where the model can stream. voice: the speaker's. Raises SerqError if the
    recording cannot be read, or is too short for any answer.
    """
    audio = read_audio(path, model.spec.sample_rate)
    engine = open_engine(model, progress)
    if voice is not None:
        engine.use_voice(voice)
    decisions = tuple(timed_decisions(model, engine.push(audio.pcm))) if model.decision else ()
    clip = engine.clip(audio.pcm)
    if clip is None and not decisions:
        raise SerqError(
            f"{path} is too short for an answer: {len(audio.pcm)} samples, and two frames are"
            f" {model.spec.min_samples}"
        )
    odd = remarks(audio, model.spec.sample_rate)
    return Classification(model, path.name, audio.pcm, decisions, clip, engine.by, audio.notes, odd)


def classify_microphone(
    model: QuantizedModel, microphone: Microphone, progress: Callable[..., None]
) -> Generator[Hello | LabelledDecision]:
    """Classify this computer's microphone until the caller stops.

    After a gap the stream starts afresh, as on a board.

    Raises SerqError if the model cannot stream or the microphone fails.
    """
    require_decision_rule(model)
    engine = open_engine(model, progress)
    with microphone.listen(model.spec.sample_rate) as pieces:
        yield Hello("this computer's microphone", model.identity.hex(), model.labels)
        for decision in _decide(model, engine, pieces):
            yield LabelledDecision(decision, model.labels)


def _decide(
    model: QuantizedModel, engine: Engine, pieces: Iterator[tuple[NDArray[np.int16], int]]
) -> Iterator[TimedDecision]:
    start, number, lost, received = 0.0, 0, 0, 0
    for pcm, overruns in pieces:
        if overruns:
            engine.start()
            lost += overruns
            start, number = (received + lost) / model.spec.sample_rate, 0
        received += len(pcm)
        decisions = engine.push(pcm)
        for found in timed_decisions(model, decisions, number, lost):
            yield replace(found, seconds=start + found.seconds)
        number += len(decisions)
