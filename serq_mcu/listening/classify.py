"""A recording, or this computer's microphone, heard by a model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.audio import read_audio
from serq_mcu.errors import SerqError
from serq_mcu.listening.answers import Heard, Hello, Labelled, from_decisions
from serq_mcu.listening.engine import Ear, open_ear
from serq_mcu.listening.microphone import Microphone
from serq_mcu.quantized_model.streaming import decision_rule
from serq_mcu.quantized_model.types import QuantizedModel


@dataclass(frozen=True)
class Classification:
    """A recording's decisions, in their order, and its answer as a clip: an index of the model's labels
    and their scores, None where it is too long for a clip. pcm: int16 [samples]; by: what computed it, in
    words; notes: what was converted.
    """

    model: QuantizedModel
    name: str
    pcm: NDArray[np.int16]
    decisions: tuple[Heard, ...]
    scores: tuple[int, ...] | None
    by: str
    notes: tuple[str, ...]

    @property
    def answer(self) -> str | None:
        """The clip's label."""
        return None if self.scores is None else self.model.labels[int(np.argmax(self.scores))]

    @property
    def seconds(self) -> float:
        """The recording's length."""
        return len(self.pcm) / self.model.spec.sample_rate

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "file": self.name,
            "seconds": round(self.seconds, 3),
            "model": self.model.identity.hex(),
            "labels": list(self.model.labels),
            "computed_by": self.by,
            "notes": list(self.notes),
            "answer": self.answer,
            "scores": None if self.scores is None else list(self.scores),
            "decisions": [heard.to_json() for heard in self.decisions],
        }

    def lines(self) -> list[str]:
        """The account after the decisions, for people."""
        clip = "as a clip: too long" if self.answer is None else f"as a clip: {self.answer}"
        return [
            *(f"converted: {note}" for note in self.notes),
            f"{clip} ({self.seconds:.2f} s, model {self.model.identity.hex()}, by {self.by})",
        ]


def classify_file(path: Path, model: QuantizedModel, progress: Callable[..., None]) -> Classification:
    """Let the model hear a recording: decisions after each block where it can stream, and one on the whole
    as a clip.

    Raises SerqError if the recording cannot be read, or is too short for any answer.
    """
    audio = read_audio(path, model.spec.sample_rate)
    ear = open_ear(model, progress)
    decisions = tuple(from_decisions(model, ear.push(audio.pcm))) if model.decision else ()
    scores = ear.scores(audio.pcm)
    if scores is None and not decisions:
        raise SerqError(
            f"{path} is too short for an answer: {len(audio.pcm)} samples, and two frames are"
            f" {model.spec.min_samples}"
        )
    return Classification(model, path.name, audio.pcm, decisions, scores, ear.by, audio.notes)


def classify_microphone(
    model: QuantizedModel, microphone: Microphone, progress: Callable[..., None]
) -> Generator[Hello | Labelled]:
    """Let the model hear this computer's microphone until the caller stops.

    After a gap the stream starts afresh, as on a board.

    Raises SerqError if the model cannot stream or the microphone fails.
    """
    decision_rule(model)
    ear = open_ear(model, progress)
    with microphone.listen(model.spec.sample_rate) as pieces:
        yield Hello("this computer's microphone", model.identity.hex(), model.labels)
        for heard in _hear(model, ear, pieces):
            yield Labelled(heard, model.labels)


def _hear(
    model: QuantizedModel, ear: Ear, pieces: Iterator[tuple[NDArray[np.int16], int]]
) -> Iterator[Heard]:
    start, number, lost, heard = 0.0, 0, 0, 0
    for pcm, overruns in pieces:
        if overruns:
            ear.start()
            lost += overruns
            start, number = (heard + lost) / model.spec.sample_rate, 0
        heard += len(pcm)
        decisions = ear.push(pcm)
        for found in from_decisions(model, decisions, number, lost):
            yield replace(found, seconds=start + found.seconds)
        number += len(decisions)
