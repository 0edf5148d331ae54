"""What a model answers on live audio: recordings as streams, by window, smoothing and level; and no speech.

Each recording is a stream of its own: a second of a microphone's self-noise, the recording with that noise,
two more seconds of noise. Sessions (sessions.py) play recordings one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import wilson_interval
from serq_mcu.base.parallel import in_threads
from serq_mcu.corpus.audio import read_audio, rounded
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.clips import choose_clips
from serq_mcu.evaluation.sessions import (
    SELF_NOISE_DB,
    FalseAnswers,
    SessionPlan,
    SessionScore,
    evaluate_alone,
    evaluate_sessions,
    evaluate_sounds,
    make_sessions,
)
from serq_mcu.frontend.level import level_in_db
from serq_mcu.quantized_model.streaming import (
    Decision,
    Frames,
    analyse,
    answer,
    decide,
    require_decision_rule,
    score_windows,
)
from serq_mcu.quantized_model.types import NO_SPEECH, DecisionRule, QuantizedModel

NOISE_DB = SELF_NOISE_DB
LEVELS_DB = (0, -18, -30, -40)
BEFORE, AFTER, NOISE_ALONE = 1.0, 2.0, 120.0  # seconds of noise
BLOCKS, BLOCK_SECONDS, SMOOTHINGS = (1, 2, 4, 8), (0.25, 0.5, 1.0), (0, 1, 2)
_COVERAGES = (1.0, 0.9, 0.8, 0.7)

Progress = Callable[..., None]


@dataclass(frozen=True)
class StreamScore:
    """Decisions but those of no speech, how many of them are answers, and how many of these are right.

    `clips` have at least one answer. Decisions on one clip err together, so the interval counts clips.
    """

    decisions: int
    answered: int
    correct: int
    clips: int

    @property
    def accuracy(self) -> float:
        """Share of the answers that are right; 0 where there are none."""
        return self.correct / self.answered if self.answered else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy, as of one answer a clip."""
        return wilson_interval(self.accuracy * self.clips, self.clips)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return asdict(self) | {"accuracy": self.accuracy, "interval95": list(self.interval)}


@dataclass(frozen=True)
class LevelScore:
    """The score at a level, and how often speech is taken as none there.

    Blocks that are wholly within a recording, the median of their levels in dB, and how many of the decisions
    at their ends are "no speech".
    """

    score: StreamScore
    speech_blocks: int
    median_db: float
    silenced: int


@dataclass(frozen=True)
class NoiseScore:
    """What happens where nobody speaks.

    Decisions, those that are not "no speech", and the level of the loudest block in dB.
    """

    decisions: int
    loudest_db: float
    not_silent: int


@dataclass(frozen=True)
class StreamEvaluation:
    """All figures of a model on a corpus of recordings as streams."""

    corpus: str
    basis: str
    rule: DecisionRule
    block_seconds: float
    variants: dict[tuple[float, int, int], StreamScore]  # seconds of a block, blocks, smoothing
    coverages: dict[int, StreamScore]  # by unsure margin
    levels: dict[int, LevelScore]  # by attenuation, dB
    noise: dict[str, NoiseScore]
    floors: dict[float, StreamScore]  # by level of the room's noise, dB
    plan: SessionPlan
    sessions: dict[float, SessionScore]  # by level of the room's noise, dB
    alone: dict[str, FalseAnswers]
    sounds: dict[str, FalseAnswers]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return {
            "corpus": self.corpus,
            "basis": self.basis,
            "decision": self.rule.to_json(),
            "variants": [
                {"block_seconds": seconds, "blocks": blocks, "smoothing": smoothing, **score.to_json()}
                for (seconds, blocks, smoothing), score in self.variants.items()
            ],
            "margins": [
                {"unsure_margin": margin, **score.to_json()} for margin, score in self.coverages.items()
            ],
            "levels": [
                {
                    "attenuation_db": level,
                    "speech_blocks": g.speech_blocks,
                    "median_db": g.median_db,
                    "silenced": g.silenced,
                    **g.score.to_json(),
                }
                for level, g in self.levels.items()
            ],
            "noise": [{"signal": name, **asdict(noise)} for name, noise in self.noise.items()],
            "floors": [{"floor_db": level, **score.to_json()} for level, score in self.floors.items()],
            "pauses": list(self.plan.pauses),
            "sessions": [{"floor_db": level, **score.to_json()} for level, score in self.sessions.items()],
            "alone": [{"signal": name, **found.to_json()} for name, found in self.alone.items()],
            "sounds": [{"kind": kind, **found.to_json()} for kind, found in self.sounds.items()],
        }


def evaluate_streams(
    model: QuantizedModel,
    folder: Path,
    part: str = "held_out",
    progress: Progress | None = None,
    plan: SessionPlan | None = None,
    sounds: Path | None = None,
) -> StreamEvaluation:
    """Evaluate the model on the recordings in `folder` as streams and in sessions.

    part: "held_out", or "validation" to choose parameters by; plan: of the sessions; sounds: a folder of
    recordings in which nobody speaks. Raises SerqError if the model cannot stream, the corpus, a clip or a
    sound cannot be read, or no clip is of a class of the model.
    """
    plan = plan or SessionPlan()
    rule = require_decision_rule(model)
    corpus = load_corpus(folder)
    clips, _, basis = choose_clips(model, corpus, part)
    if not clips:
        raise SerqError(
            f"{folder}: no clip is of a class the model knows ({', '.join(model.labels)}); evaluate it on"
            " another corpus"
        )
    truth = [model.labels.index(clip.label) for clip in clips]
    recordings = [read_audio(clip.path, model.spec.sample_rate).pcm for clip in clips]
    streams: dict[int, list[Frames]] = {}
    for number, level in enumerate(LEVELS_DB):
        streams[level] = []
        for index, frames in enumerate(_frames_in_noise(model, recordings, level)):
            streams[level].append(frames)
            if progress is not None:
                progress("listening", number * len(recordings) + index + 1, len(LEVELS_DB) * len(recordings))
    floors = {
        level: _in_room(model, rule, recordings, truth, level)
        for level in plan.floors_db
        if level != NOISE_DB
    }
    sessions = make_sessions(clips, recordings, truth, model.spec.sample_rate, plan)
    return StreamEvaluation(
        corpus=corpus.name,
        basis=basis,
        rule=rule,
        block_seconds=rule.block_frames * model.spec.hop_length / model.spec.sample_rate,
        variants=_variants(model, rule, streams[0], truth),
        coverages=_coverages(model, rule, streams[0], truth),
        levels={level: _level(model, rule, streams[level], truth, recordings) for level in LEVELS_DB},
        noise={name: _noise(model, rule, pcm) for name, pcm in _silences(model.spec.sample_rate).items()},
        floors=floors,
        plan=plan,
        sessions=evaluate_sessions(model, sessions, plan, progress),
        alone=evaluate_alone(model, progress),
        sounds=evaluate_sounds(model, sounds, progress) if sounds else {},
    )


def _white(count: int, db: float, seed: int) -> NDArray[np.float64]:
    noise: NDArray[np.float64] = np.random.default_rng(seed).normal(scale=32768 * 10 ** (db / 20), size=count)
    return noise


def in_noise(
    pcm: NDArray[np.int16], level: float, rate: int, seed: int, noise_db: float = NOISE_DB
) -> NDArray[np.int16]:
    """Put the recording int16 [samples] at `level` dB, with noise from `seed` before, under and after it."""
    padded = np.pad(pcm * 10 ** (level / 20), (round(BEFORE * rate), round(AFTER * rate)))
    return rounded(padded + _white(padded.size, noise_db, seed))


def _frames_in_noise(
    model: QuantizedModel, recordings: Sequence[NDArray[np.int16]], level: float, noise_db: float = NOISE_DB
) -> Iterator[Frames]:
    """Yield the frames of each recording in noise of its own, computed on all processors."""

    def compute(numbered: tuple[int, NDArray[np.int16]]) -> Frames:
        index, pcm = numbered
        return analyse(model, in_noise(pcm, level, model.spec.sample_rate, index, noise_db))

    return in_threads(compute, enumerate(recordings))


def _silences(rate: int) -> dict[str, NDArray[np.int16]]:
    count = round(NOISE_ALONE * rate)
    noises = {
        f"white noise at {db:g} dB": rounded(_white(count, db, 0))
        for db in (NOISE_DB, NOISE_DB + 10, NOISE_DB + 20)
    }
    return {"digital silence": np.zeros(count, np.int16), **noises}


def _score(streams: Sequence[list[Decision]], truth: Sequence[int]) -> StreamScore:
    spoken = [[decision.answer for decision in stream if decision.answer != NO_SPEECH] for stream in streams]
    answers = [[answer for answer in stream if answer >= 0] for stream in spoken]
    correct = sum(stream.count(label) for stream, label in zip(answers, truth, strict=True))
    return StreamScore(sum(map(len, spoken)), sum(map(len, answers)), correct, sum(map(bool, answers)))


def _variants(
    model: QuantizedModel, rule: DecisionRule, streams: Sequence[Frames], truth: Sequence[int]
) -> dict[tuple[float, int, int], StreamScore]:
    found = {}
    for seconds in BLOCK_SECONDS:
        frames = max(2, round(seconds * model.spec.sample_rate / model.spec.hop_length))
        for blocks in BLOCKS:
            variant = replace(rule, blocks=blocks, block_frames=frames)
            windowed = [score_windows(model, variant, stream) for stream in streams]
            for smoothing in SMOOTHINGS:
                found[seconds, blocks, smoothing] = _score(
                    [list(answer(replace(rule, smoothing=smoothing), windows)) for windows in windowed], truth
                )
    return found


def _coverages(
    model: QuantizedModel, rule: DecisionRule, streams: Sequence[Frames], truth: Sequence[int]
) -> dict[int, StreamScore]:
    """Score by the least lead: the model's own, and those that leave round shares of decisions answered."""
    windowed = [score_windows(model, rule, stream) for stream in streams]
    leads = sorted(
        decision.margin
        for windows in windowed
        for decision in answer(rule, windows)
        if decision.answer != NO_SPEECH
    )
    margins = (
        {
            0 if share == 1 else leads[min(math.floor((1 - share) * len(leads)), len(leads) - 1)]
            for share in _COVERAGES
        }
        if leads
        else set()
    )
    margins.add(rule.unsure_margin)
    rules = {margin: replace(rule, unsure_margin=margin) for margin in sorted(margins)}
    return {
        margin: _score([list(answer(changed, windows)) for windows in windowed], truth)
        for margin, changed in rules.items()
    }


def _level(
    model: QuantizedModel,
    rule: DecisionRule,
    streams: Sequence[Frames],
    truth: Sequence[int],
    recordings: Sequence[NDArray[np.int16]],
) -> LevelScore:
    decisions = [list(decide(model, rule, stream)) for stream in streams]
    start, step = round(BEFORE * model.spec.sample_rate), rule.block_frames * model.spec.hop_length
    levels: list[int] = []
    silenced = 0
    for stream, pcm in zip(decisions, recordings, strict=True):
        inside = stream[-(-start // step) : (start + pcm.size - model.spec.frame_length) // step]
        levels += [decision.level for decision in inside]
        silenced += sum(decision.answer == NO_SPEECH for decision in inside)
    median = level_in_db(float(np.median(levels))) if levels else math.nan
    return LevelScore(_score(decisions, truth), len(levels), median, silenced)


def _in_room(
    model: QuantizedModel,
    rule: DecisionRule,
    recordings: Sequence[NDArray[np.int16]],
    truth: Sequence[int],
    noise_db: float,
) -> StreamScore:
    """Score the recordings as streams in a room whose noise is louder than the microphone's own."""
    streams = _frames_in_noise(model, recordings, 0, noise_db)
    return _score([list(decide(model, rule, stream)) for stream in streams], truth)


def _noise(model: QuantizedModel, rule: DecisionRule, pcm: NDArray[np.int16]) -> NoiseScore:
    decisions = list(decide(model, rule, analyse(model, pcm)))
    loudest = level_in_db(max(decision.level for decision in decisions))
    return NoiseScore(len(decisions), loudest, sum(d.answer != NO_SPEECH for d in decisions))
