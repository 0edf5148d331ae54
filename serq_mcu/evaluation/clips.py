"""The integer model on recordings: what the device would answer, on the clips that its training never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.metrics import Score
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.corpus.loaders import Clip, Corpus, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import augmented_clips, augmented_features, read_recordings
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel


@dataclass(frozen=True)
class Evaluation:
    """The score of a model on a corpus.

    `held_out` tells whether its clips are those that training set aside, `basis` tells it in words.
    """

    corpus: str
    held_out: bool
    basis: str
    score: Score

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the confusion matrix: true classes in rows, in the order of labels."""
        return {
            "corpus": self.corpus,
            "held_out": self.held_out,
            "basis": self.basis,
            **self.score.to_json(),
            "labels": list(self.score.labels),
            "confusion": self.score.confusion.tolist(),
        }


def evaluate(
    model: QuantizedModel,
    folder: Path,
    progress: Callable[..., None] | None = None,
    condition: Condition = AS_RECORDED,
    seed: int = 0,
) -> Evaluation:
    """Evaluate the model on the recordings in `folder`.

    These are its held-out clips if they are there, else every clip of its classes. The clips are under
    `condition`; `seed` decides its noise and room, and which of the evaluated clips make a clip's babble.
    Raises SerqError if the corpus or a clip cannot be read, or no clip is of a class of the model.
    """
    corpus = load_corpus(folder)
    clips, held_out, basis = choose_clips(model, corpus)
    if not clips:
        raise SerqError(
            f"{folder}: no clip is of a class the model knows ({', '.join(model.labels)}); evaluate it on"
            " another corpus"
        )
    recordings = read_recordings(clips, model.spec.sample_rate, progress)
    pooled = augmented_features(
        model.spec,
        model.tables,
        recordings,
        augmented_clips(recordings, range(len(clips)), range(len(clips)), condition, seed),
        progress,
    )
    truth = np.array([model.labels.index(clip.label) for clip in clips])
    if condition != AS_RECORDED:
        basis += f"; {condition}"
    return Evaluation(corpus.name, held_out, basis, Score.of(truth, classify(model, pooled), model.labels))


def choose_clips(
    model: QuantizedModel, corpus: Corpus, part: str = "held_out"
) -> tuple[list[Clip], bool, str]:
    """Choose the clips to evaluate a model on.

    Returns them, whether the model names them as its `part` ("held_out" or "validation"; without any: all of
    its classes), and a sentence about that.
    """
    known = [clip for clip in corpus.clips if clip.label in model.labels]
    foreign = len(corpus.clips) - len(known)
    left_out = f"; {foreign} clips of classes the model does not know are left out" if foreign else ""
    trained_on = model.provenance.get("corpus")
    if trained_on != corpus.name:
        return (
            known,
            False,
            (
                f"all {len(known)} clips of the model's classes; the model was trained on another corpus"
                f" ({trained_on}){left_out}"
            ),
        )
    named = model.provenance.get(part)
    names = {name for name in named if isinstance(name, str)} if isinstance(named, list) else set()
    chosen = [clip for clip in known if clip.name in names]
    if chosen:
        imported = (model.provenance.get("versions") or {}).get("imported")
        unknown = (
            f"; the network was imported ({imported}), and whether it was trained on them is not known"
            if imported
            else ""
        )
        return chosen, not imported, f"{len(chosen)} of the {len(names)} clips that {_PARTS[part]}{unknown}"
    return (
        known,
        False,
        (
            f"all {len(known)} clips; none is named as {part.replace('_', ' ')}, so the model may have been"
            f" trained on them{left_out}"
        ),
    )


_PARTS = {
    "held_out": "training and the choice of bits never saw",
    "validation": "chose the bits and the defaults (validation), and did not train",
}
