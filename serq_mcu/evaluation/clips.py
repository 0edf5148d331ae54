"""The integer model on recordings: what the device would answer, on the clips that its training never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.metrics import PairedDifference, Score
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.corpus.loaders import PLAIN, Clip, Corpus, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import (
    SHORT_DIGEST,
    audio_digest,
    augmented_clips,
    augmented_features,
    read_recordings,
)
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice


@dataclass(frozen=True)
class ConditionScore:
    """The score on the same clips under another condition, and what that changed, clip by clip."""

    condition: Condition
    score: Score
    change: PairedDifference

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": str(self.condition),
            "condition": self.condition.to_json(),
            **self.score.to_json(),
            "change": self.change.to_json(),
        }


@dataclass(frozen=True)
class Evaluation:
    """The score of a model on a corpus.

    `held_out` tells whether its clips are those that training set aside, `basis` tells it in words. `others`:
    scores under other conditions, beside `condition`, that of `score`.
    """

    corpus: str
    held_out: bool
    basis: str
    score: Score
    condition: Condition = AS_RECORDED
    others: tuple[ConditionScore, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the confusion matrix: true classes in rows, in the order of labels."""
        return {
            "corpus": self.corpus,
            "held_out": self.held_out,
            "basis": self.basis,
            **self.score.to_json(),
            "labels": list(self.score.labels),
            "confusion": self.score.confusion.tolist(),
            "conditions": [other.to_json() for other in self.others],
        }


def surroundings(
    base: Condition,
    pauses: Sequence[float] = (),
    floors_db: Sequence[float] = (),
    bands: Iterable[str] = (),
    offsets: Iterable[float] = (),
) -> list[Condition]:
    """List what a condition is to be compared with.

    pauses: seconds before and after a clip, each as digital silence and with the white noise of a room under
    all at each of `floors_db`; without pauses, the floors alone. bands: of BANDS, and
    offsets, of full scale: each alone. Raises SerqError on values that no condition has.
    """
    around = [replace(base, before=seconds, after=seconds) for seconds in pauses]
    floors = [
        replace(condition, floor="white", floor_db=level)
        for condition in around or [base]
        for level in floors_db
    ]
    shifted = [replace(base, offset=offset) for offset in offsets]
    return [*around, *floors, *(replace(base, band=band) for band in bands), *shifted]


def evaluate(
    model: QuantizedModel,
    folder: Path,
    progress: Callable[..., None] | None = None,
    condition: Condition = AS_RECORDED,
    seed: int = 0,
    others: Sequence[Condition] = (),
    voice: Voice | None = None,
) -> Evaluation:
    """Evaluate the model on the recordings in `folder`.

    These are its held-out clips if they are there, else every clip of its classes. The clips are under
    `condition`; `seed` decides its noise and room, and which of the evaluated clips make a clip's babble.
    others: conditions under which the same clips are evaluated too, to be compared with the first. voice: the
    speaker's, if something was learned of it. Raises
    SerqError if the corpus or a clip cannot be read, or no clip is of a class of the model.
    """
    corpus = load_corpus(folder)
    clips, held_out, basis = choose_clips(model, corpus)
    if not clips:
        raise SerqError(
            f"{folder}: no clip is of a class the model knows ({', '.join(model.labels)}); evaluate it on"
            " another corpus"
        )
    recordings = read_recordings(clips, model.spec.sample_rate, progress)
    every, conditions = range(len(clips)), [condition, *others]
    augmented = [
        clip for each in conditions for clip in augmented_clips(recordings, every, every, each, seed)
    ]
    pooled = augmented_features(model.spec, model.tables, recordings, augmented, progress)
    truth = np.array([model.labels.index(clip.label) for clip in clips])
    answers = classify(model, pooled, voice).reshape(len(conditions), len(clips))
    if condition != AS_RECORDED:
        basis += f"; {condition}"
    scores = [Score.of(truth, answer, model.labels) for answer in answers]
    changes = [PairedDifference.of(answers[0] == truth, answer == truth) for answer in answers]
    compared = [ConditionScore(*each) for each in zip(conditions, scores, changes, strict=True)]
    return Evaluation(corpus.name, held_out, basis, scores[0], condition, tuple(compared[1:]))


def choose_clips(
    model: QuantizedModel, corpus: Corpus, part: str = "held_out"
) -> tuple[list[Clip], bool, str]:
    """Choose the clips to evaluate a model on.

    Returns them, whether they are the model's `part` ("held_out" or "validation"; without any: all of its
    classes), and a sentence about that. A published corpus names its recordings, so names tell which were
    whose, if the samples are the same too; everywhere else the samples do, whatever the files are called.
    Raises SerqError if a clip whose samples are compared cannot be read.
    """
    known = [clip for clip in corpus.clips if clip.label in model.labels]
    foreign = len(corpus.clips) - len(known)
    left_out = f"; {foreign} clips of classes the model does not know are left out" if foreign else ""
    of_same_names = model.provenance.get("corpus") == corpus.name != PLAIN
    chosen, size, otherwise = (
        _by_name(model, known, part) if of_same_names else _by_content(model, corpus.name, known, part)
    )
    chosen, changed = _of_same_content(model, chosen, part) if of_same_names else (chosen, "")
    otherwise = changed or otherwise
    if not chosen:
        return known, False, f"all {len(known)} clips{otherwise}{left_out}"
    imported = (model.provenance.get("versions") or {}).get("imported")
    unknown = (
        f"; the network was imported ({imported}), and whether it was trained on them is not known"
        if imported
        else ""
    )
    return chosen, not imported, f"{len(chosen)} of the {size} clips that {_PARTS[part]}{changed}{unknown}"


def _by_name(model: QuantizedModel, known: list[Clip], part: str) -> tuple[list[Clip], int, str]:
    """Find the clips that the model names as its part, their number in the model, and what to say if none."""
    names = _strings(model.provenance.get(part))
    chosen = [clip for clip in known if clip.name in names]
    named = part.replace("_", " ")
    return chosen, len(names), f"; none is named as {named}, so the model may have been trained on them"


def _of_same_content(model: QuantizedModel, chosen: list[Clip], part: str) -> tuple[list[Clip], str]:
    """Leave out clips whose samples are not those of the recordings whose names they have; and say so."""
    told = model.provenance.get("recordings")
    if not isinstance(told, dict):
        return chosen, ""
    wanted = _strings(told.get("validation" if part == "validation" else "test"))
    kept = [clip for clip, digest in zip(chosen, _digests(model, chosen), strict=True) if digest in wanted]
    other = len(chosen) - len(kept)
    words = f"; {other} with such names hold other samples and are left out"
    return kept, words if other else ""


def _digests(model: QuantizedModel, clips: list[Clip]) -> list[str]:
    return [audio_digest(read_audio(clip.path, model.spec.sample_rate).pcm)[:SHORT_DIGEST] for clip in clips]


def _by_content(
    model: QuantizedModel, corpus: str, known: list[Clip], part: str
) -> tuple[list[Clip], int, str]:
    """Find clips as `_by_name` does, by their samples. A recording that trained is never held out."""
    trained_on = model.provenance.get("corpus")
    other = (
        f" of the model's classes; the model was trained on another corpus ({trained_on})"
        if trained_on != corpus
        else ""
    )
    told = model.provenance.get("recordings")
    if not isinstance(told, dict):
        return [], 0, other or "; which recordings trained the model is not known"
    train, validation, test = (_strings(told.get(name)) for name in ("train", "validation", "test"))
    wanted = validation - train if part == "validation" else test - train - validation
    digests = _digests(model, known)
    chosen = [clip for clip, digest in zip(known, digests, strict=True) if digest in wanted]
    used = sum(digest in train | validation for digest in digests)
    if used:
        return chosen, len(wanted), f"; {used} of these recordings trained the model or chose its bits"
    who = "it" if other else "the model"
    return chosen, len(wanted), f"{other}; none of these recordings trained {who} or chose its bits"


def _strings(value: Any) -> frozenset[str]:
    return (
        frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()
    )


_PARTS = {
    "held_out": "training and the choice of bits never saw",
    "validation": "chose the bits and the defaults (validation), and did not train",
}
