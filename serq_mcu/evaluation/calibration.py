"""A model calibrated to a speaker: a voice learned from recordings, and what it changes.

A clip is never judged by a voice that learned from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import read_regular, write_file
from serq_mcu.base.metrics import Score
from serq_mcu.corpus.loaders import Clip, load_corpus
from serq_mcu.corpus.walk import find_recordings
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import recorded_features
from serq_mcu.quantization.adaptation import Adaptation, adapt
from serq_mcu.quantized_model.interpreter import classify, learn, require_voices
from serq_mcu.quantized_model.types import INPUT_STEPS_PER_SD, QuantizedModel
from serq_mcu.quantized_model.voice import Voice

OWN_ANSWER = -1  # in place of a label: the model's answer says what the voice is of
_MOST_BYTES = 2**20  # of a voice file


@dataclass(frozen=True)
class Calibration:
    """A voice, and what it changes on the clips that it was learned from, each judged without itself.

    clips: recordings; deviation: root mean square of what the features deviate by, in standard deviations.
    before, after: scores where the clips' labels are known, else None.
    """

    model: str
    voice: Voice
    clips: int
    deviation: float
    before: Score | None
    after: Score | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        scores = {
            name: None if score is None else score.to_json()
            for name, score in (("before", self.before), ("after", self.after))
        }
        learned = {"windows": self.voice.windows, "clips": self.clips, "deviation_sd": self.deviation}
        return {"model": self.model, **learned, **scores}


def calibrate(
    model: QuantizedModel,
    folder: Path,
    label: str = "",
    progress: Callable[..., None] | None = None,
    *,
    unlabelled: bool = False,
) -> Calibration:
    """Learn the voice of the speaker in a folder of recordings.

    What each is of, its folder or name says; or all are of one `label`; or, `unlabelled`, the model's own
    answers say it. Raises SerqError if the model was not trained for voices, a recording cannot be read, no
    label is one of the model's, or nothing could be learned.
    """
    require_voices(model)
    if label and label not in model.labels:
        raise SerqError(f"{label!r} is not a class of the model; choose among {', '.join(model.labels)}")
    clips = _clips(model, folder, label, unlabelled=unlabelled)
    pooled = recorded_features(model.spec, model.tables, clips, progress)
    labels = [OWN_ANSWER if unlabelled else model.labels.index(clip.label) for clip in clips]
    voice = learned_voice(model, pooled, labels)
    if not voice.windows:
        raise SerqError(f"{folder}: none of the {len(clips)} recordings holds speech to learn from")
    before, after = (None, None) if unlabelled else _scores(model, pooled, labels)
    shift = voice.shift(require_voices(model)) / INPUT_STEPS_PER_SD
    deviation = float(np.sqrt(np.mean(shift**2)))
    return Calibration(model.identity.hex(), voice, len(clips), round(deviation, 3), before, after)


def learned_voice(model: QuantizedModel, pooled: NDArray[np.int32], labels: Sequence[int]) -> Voice:
    """Learn from clips, pooled features [clips, features], one after another.

    labels: of each, or OWN_ANSWER: what the model answers by what it has learned until then.
    """
    voice = Voice.unknown(require_voices(model))
    for features, label in zip(pooled, labels, strict=True):
        known = int(classify(model, features, voice)) if label == OWN_ANSWER else label
        voice = learn(model, voice, features, known)
    return voice


def save_voice(voice: Voice, model: QuantizedModel, path: Path) -> Path:
    """Write a voice file for a model. Raises SerqError if the path cannot be written."""
    return write_file(path, voice.to_bytes(model.identity))


def load_voice(path: Path, model: QuantizedModel) -> Voice:
    """Read a voice file. Raises SerqError if it is missing, damaged or of another model."""
    prior = require_voices(model)
    try:
        return Voice.from_bytes(read_regular(path, _MOST_BYTES), prior, model.identity)
    except FileNotFoundError as error:
        raise SerqError(f"{path} does not exist; `serq-mcu calibrate` writes voice files") from error
    except OSError as error:
        raise SerqError(f"cannot read {path}: {error.strerror or error}") from error
    except SerqError as error:
        raise SerqError(f"{path}: {error}") from error


def adapt_to_clips(
    model: QuantizedModel, folder: Path, progress: Callable[..., None] | None = None
) -> Adaptation:
    """Adapt a model to the labelled clips of one speaker in a folder.

    Raises SerqError as `quantization.adaptation.adapt` does, or if a clip cannot be read or there are clips
    of several speakers.
    """
    require_voices(model)
    corpus = load_corpus(folder)
    _require_one_speaker(folder, corpus.clips)
    if progress is not None:
        progress(f"adapting to {len(corpus.clips)} clips, each left out in turn")
    pooled = recorded_features(model.spec, model.tables, corpus.clips, progress)
    return adapt(model, pooled, [clip.label for clip in corpus.clips])


def _require_one_speaker(folder: Path, clips: Sequence[Clip]) -> None:
    speakers = sorted({clip.speaker for clip in clips})
    if len(speakers) > 1:
        raise SerqError(
            f"{folder} holds {len(speakers)} speakers ({', '.join(speakers[:4])}); a voice is of one: give a"
            " folder with the recordings of one speaker"
        )


def _clips(model: QuantizedModel, folder: Path, label: str, *, unlabelled: bool) -> list[Clip]:
    if label or unlabelled:
        paths = find_recordings(folder).recordings
        return [Clip(path, str(path.relative_to(folder).with_suffix("")), label, "") for path in paths]
    corpus = load_corpus(folder)
    _require_one_speaker(folder, corpus.clips)
    clips = [clip for clip in corpus.clips if clip.label in model.labels]
    if not clips:
        raise SerqError(
            f"{folder}: no clip is of a class of the model ({', '.join(model.labels)}); say with --label what"
            " all are of, or --unlabelled"
        )
    return clips


def _scores(model: QuantizedModel, pooled: NDArray[np.int32], labels: Sequence[int]) -> tuple[Score, Score]:
    """Score the clips without a voice, and each by the voice that all others teach."""
    truth = np.array(labels)
    others = [np.arange(len(truth)) != index for index in range(len(truth))]
    voices = [learned_voice(model, pooled[kept], truth[kept].tolist()) for kept in others]
    after = [int(classify(model, row, voice)) for row, voice in zip(pooled, voices, strict=True)]
    answers = classify(model, pooled), np.array(after)
    before, after_score = (Score.of(truth, answer, model.labels) for answer in answers)
    return before, after_score
