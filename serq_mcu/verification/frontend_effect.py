"""What the front end's distance from librosa does to a model's answers.

The same network answers on the features of either, in integers and in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import Score
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.clips import choose_clips
from serq_mcu.frontend.librosa_reference import frame_values, pool_values, pooled_from_units
from serq_mcu.frontend.reference import counted_frames, pool, pooled_frames
from serq_mcu.quantized_model.interpreter import classify, classify_in_float
from serq_mcu.quantized_model.types import QuantizedModel

INTEGERS, LIBROSA = "integers, as the device", "librosa, float64"


def _classify_rounded(model: QuantizedModel, pooled: NDArray[Any]) -> NDArray[np.int64]:
    return classify(model, np.rint(pooled).astype(np.int64))


NETWORKS = {"integers, as the device": _classify_rounded, "float64, the same weights": classify_in_float}


@dataclass(frozen=True)
class FrontendEffect:
    """Scores by network and front end.

    And on how many of the `clips` clips a network answers otherwise for librosa's features.
    """

    identity: str
    corpus: str
    basis: str
    clips: int
    scores: dict[tuple[str, str], Score]
    changed: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `frontend compare --json`."""
        rows = [
            {"network": network, "features": kind, **score.to_json()}
            for (network, kind), score in self.scores.items()
        ]
        changed = [
            {"network": network, "changed": count, "n": self.clips} for network, count in self.changed.items()
        ]
        return {
            "model": self.identity,
            "corpus": self.corpus,
            "basis": self.basis,
            "scores": rows,
            "labels_changed": changed,
        }


def frontend_effect(
    model: QuantizedModel, folder: Path, progress: Callable[[str, int, int], None] | None = None
) -> FrontendEffect | None:
    """Evaluate the model with either front end on the clips in `folder` that `evaluate` would take.

    Returns None if none is of its classes. progress is called with a sentence, the clips done and their
    number. Raises SerqError if a clip cannot be read or is too short or too long. Needs librosa.
    """
    corpus = load_corpus(folder)
    clips, _, basis = choose_clips(model, corpus)
    if not clips:
        return None
    spec, tables = model.spec, model.tables
    pooled: dict[str, list[NDArray[Any]]] = {INTEGERS: [], LIBROSA: []}
    for done, clip in enumerate(clips):
        pcm = read_audio(clip.path, spec.sample_rate).pcm
        try:
            frames = pooled_frames(spec, tables, pcm)
        except SerqError as error:
            raise SerqError(f"{clip.path}: {error}") from error
        pooled[INTEGERS].append(pool(spec, tables, frames))
        values = pool_values(spec, frame_values(spec, pcm), counted_frames(spec, tables, frames))
        pooled[LIBROSA].append(pooled_from_units(spec, tables, values))
        if progress is not None:
            progress("classifying with either front end", done + 1, len(clips))
    truth = np.array([model.labels.index(clip.label) for clip in clips])
    answers = {
        (network, kind): answer(model, np.array(rows))
        for network, answer in NETWORKS.items()
        for kind, rows in pooled.items()
    }
    return FrontendEffect(
        identity=model.identity.hex(),
        corpus=corpus.name,
        basis=basis,
        clips=len(clips),
        scores={key: Score.of(truth, labels, model.labels) for key, labels in answers.items()},
        changed={
            network: int((answers[network, INTEGERS] != answers[network, LIBROSA]).sum())
            for network in NETWORKS
        },
    )
