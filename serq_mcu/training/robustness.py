"""What noise, rooms, gain, pauses and narrow bands do to the integer model, and what augmentation brings.

Measured on clips and on speakers that its training never saw. Every split is trained and quantized on its own
and evaluated on its test part under each of CONDITIONS; the splits' answers together make one score, in which
each clip counts once. Where speakers are held out, the mean and its interval are over these. A split's
answers are kept in the user's cache, so that an interrupted measurement resumes where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.cache import Cache, key
from serq_mcu.base.metrics import Score, half_width
from serq_mcu.base.progress import Progress
from serq_mcu.config import PROTOCOLS, SPEAKERS, Config, load_config
from serq_mcu.corpus.bands import BANDS
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.extraction.recordings import (
    FEATURE_CODE,
    FEATURE_VERSIONS,
    AugmentedClip,
    augmented_clips,
    augmented_features,
)
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantization.run_folder import PARTS
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.training.run import PACKAGES, Dataset, fit, read_dataset

UNSEEN_NOISES = ("brown", "blue", "clatter", "siren")  # kept out of the default training, and of every choice
CONDITIONS: tuple[Condition, ...] = (
    AS_RECORDED,
    *(Condition(noise=noise, snr_db=snr) for noise in ("white", "babble") for snr in (20.0, 10.0)),
    *(Condition(noise=noise, snr_db=10.0) for noise in ("pink", "speech-shaped", "hum")),
    *(Condition(noise=noise, snr_db=snr) for noise in UNSEEN_NOISES for snr in (20.0, 10.0)),
    *(Condition(gain_db=gain) for gain in (-30.0, -18.0, -6.0, 12.0)),
    *(
        Condition(before=seconds, after=seconds, floor=floor, floor_db=-60.0 if floor else 0.0)
        for floor in ("", "white")
        for seconds in (0.25, 0.5, 1.0)
    ),
    *(Condition(floor="white", floor_db=level) for level in (-60.0, -50.0)),
    *(Condition(band=band) for band in BANDS),
    Condition(offset=0.05),
    Condition(room="diffuse", reverberation=0.5),
    *(Condition(room="shoebox", reverberation=seconds) for seconds in (0.3, 0.6)),
    Condition(room="shoebox", reverberation=0.4, noise="babble", snr_db=15.0, gain_db=-12.0),
)
_ROOMS = ("corpus", "frontend", "extraction", "layers", "training", "quantization", "quantized_model")
_OWN = ("serq_mcu.config", *(f"serq_mcu.{room}" for room in _ROOMS))
_CODE = (*FEATURE_CODE, *_OWN)  # what the answers depend on
_VERSIONS = (*FEATURE_VERSIONS, *PACKAGES)
RECIPES = ("default", "without augmentation")


@dataclass(frozen=True)
class Judged:
    """The answers of all splits under one condition: their score, and the accuracy of each split."""

    score: Score
    splits: tuple[float, ...]
    by_speakers: bool

    @property
    def accuracy(self) -> float:
        """The mean over speakers, or groups of them, where they are held out; else of all answers."""
        return float(np.mean(self.splits)) if self.by_speakers else self.score.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `accuracy`: from the spread between speakers (Student's t), or Wilson's."""
        if not self.by_speakers or len(self.splits) < 2:
            return self.score.interval
        half = half_width(np.array(self.splits))
        return max(0.0, self.accuracy - half), min(1.0, self.accuracy + half)

    def to_json(self) -> dict[str, Any]:
        """Return the score of all answers and, where speakers are held out, mean and interval over them."""
        over = {"mean_over_speakers": self.accuracy, "interval95_over_speakers": list(self.interval)}
        return self.score.to_json() | (over if self.by_speakers else {})


@dataclass(frozen=True)
class Robustness:
    """Answers of the integer model by (protocol, recipe), one for each of `conditions`."""

    corpus: str
    config: Config
    conditions: tuple[Condition, ...]
    splits: dict[str, int]
    scores: dict[tuple[str, str], tuple[Judged, ...]]
    float_scores: dict[tuple[str, str], Judged]
    average_bits: dict[tuple[str, str], float]
    kilobytes: dict[tuple[str, str], float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `robustness --json`."""
        return {
            "corpus": self.corpus,
            "config": self.config.to_json(),
            "measured": [
                {
                    "protocol": protocol,
                    "splits": self.splits[protocol],
                    "recipe": recipe,
                    "average_bits": self.average_bits[protocol, recipe],
                    "weights_only_kilobytes": self.kilobytes[protocol, recipe],
                    "float_as_recorded": self.float_scores[protocol, recipe].to_json(),
                    "conditions": [
                        c.to_json() | s.to_json() for c, s in zip(self.conditions, scores, strict=True)
                    ],
                }
                for (protocol, recipe), scores in self.scores.items()
            ],
        }


def measure_robustness(
    folder: Path,
    config: Config,
    protocols: Sequence[str] = PROTOCOLS,
    recipes: Sequence[str] = RECIPES,
    progress: Progress | None = None,
) -> Robustness:
    """Train, quantize and evaluate every split of each protocol with each recipe, on recordings in `folder`.

    Raises SerqError if the corpus cannot be used or names no speakers where a protocol needs them.
    """
    from serq_mcu.training.splits import split_count

    dataset = read_dataset(folder, config, progress)
    splits = {p: split_count(dataset.speakers, _with_protocol(config, p).training) for p in protocols}
    total, done = len(recipes) * sum(splits.values()), 0
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for protocol in protocols:
        for recipe in recipes:
            chosen = _with_protocol(
                config if recipe == RECIPES[0] else config.changed(augmentation={"versions": 0}), protocol
            )
            for split in range(splits[protocol]):
                found.setdefault((protocol, recipe), []).append(
                    _remembered_split(dataset, chosen.changed(training={"split": split}))
                )
                done += 1
                if progress is not None:
                    progress("training, quantizing and evaluating splits", done, total)
    return Robustness(
        corpus=dataset.corpus,
        config=config,
        conditions=CONDITIONS,
        splits=splits,
        scores={
            key: tuple(_judged(dataset, key[0], rows, i) for i in range(len(CONDITIONS)))
            for key, rows in found.items()
        },
        float_scores={key: _judged(dataset, key[0], rows, None) for key, rows in found.items()},
        average_bits={
            key: float(np.mean([row["average_bits"] for row in rows])) for key, rows in found.items()
        },
        kilobytes={
            key: float(np.mean([row["weights_only_bytes"] for row in rows])) / 1000
            for key, rows in found.items()
        },
    )


def held_out_clips(
    dataset: Dataset, part: NDArray[np.uint8], condition: Condition, seed: int
) -> list[AugmentedClip]:
    """Return each clip of the test part under a condition.

    Babble is of clips outside the training part.
    """
    test, outside = (
        np.flatnonzero(chosen).tolist()
        for chosen in (part == PARTS.index("test"), part != PARTS.index("train"))
    )
    return augmented_clips(dataset.recordings, test, outside, condition, seed)


def changed_settings(config: Config) -> list[str]:
    """List what differs from the default configuration besides the splits, as lines of its file."""
    own, usual = config.to_json(), load_config().to_json()
    splits = ("protocol", "folds", "split")
    return [
        f"{section}.{key} = {own[section][key]}"
        for section, table in usual.items()
        for key, value in table.items()
        if own[section][key] != value and key not in splits
    ]


def _with_protocol(config: Config, protocol: str) -> Config:
    return config.changed(training={"protocol": protocol, "split": 0})


def _remembered_split(dataset: Dataset, config: Config) -> dict[str, Any]:
    """Return `_split`, from the cache if it is there."""
    name = key(
        "robustness",
        config.to_json(),
        dataset.recordings.digests,
        dataset.names,
        dataset.truth.tolist(),
        [str(c) for c in CONDITIONS],
        code=_CODE,
        versions=_VERSIONS,
    )
    result: dict[str, Any] = json.loads(
        Cache().remembered(name, lambda: json.dumps(_split(dataset, config)).encode())
    )
    return result


def _split(dataset: Dataset, config: Config) -> dict[str, Any]:
    """Train a split and answer for the clips that it holds out.

    Returns these clips, and what its float network and its integer model answer, the latter under each of
    CONDITIONS.
    """
    run, _ = fit(dataset, config)
    model, _ = quantize(run)
    members = run.members("test")
    clips = [
        clip
        for condition in CONDITIONS
        for clip in held_out_clips(dataset, run.part, condition, config.training.seed)
    ]
    pooled = augmented_features(model.spec, model.tables, dataset.recordings, clips, cache=Cache()).reshape(
        len(CONDITIONS), len(members), -1
    )
    return {
        "clips": members.tolist(),
        "answers": classify(model, pooled).tolist(),
        "float_answers": run.network.classify(run.network.standardise(pooled[0])).tolist(),
        "average_bits": model.average_bits,
        "weights_only_bytes": model.weights_only_bytes,
    }


def _judged(dataset: Dataset, protocol: str, rows: Sequence[dict[str, Any]], condition: int | None) -> Judged:
    """Score all splits together, and each, under a condition; None: the float networks, as recorded."""
    clips = [np.array(row["clips"], dtype=np.int64) for row in rows]
    answers = [
        np.array(row["float_answers"] if condition is None else row["answers"][condition], dtype=np.int64)
        for row in rows
    ]
    splits = tuple(
        float((dataset.truth[own] == answer).mean()) for own, answer in zip(clips, answers, strict=True)
    )
    truth, answer = dataset.truth[np.concatenate(clips)], np.concatenate(answers)
    return Judged(Score.of(truth, answer, dataset.labels), splits, protocol == SPEAKERS)
