"""Live audio in integers: the reference of what firmware answers, block by block (SPEC.md section 12).

A window is pooled from its frames again, as a clip is, so nothing here depends on how firmware keeps and
drops blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import MAX_FRAMES, MIN_FRAMES
from serq_mcu.frontend.reference import PooledFrames, pool, pooled_frames
from serq_mcu.frontend.speech import NoiseFloor, SpeechRule, loudness
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.quantized_model.interpreter import learn, scores
from serq_mcu.quantized_model.types import (
    CONFIDENCE_STEP,
    NO_SPEECH,
    NOT_SURE,
    UNKNOWN_CONFIDENCE,
    DecisionRule,
    QuantizedModel,
)
from serq_mcu.quantized_model.voice import Voice

# what a voice is learned from, besides the index of a label: nothing, or the stream's own answers, if sure
LEARN_NOTHING, LEARN_ANSWERS = -2, -1


@dataclass(frozen=True)
class Frames:
    """All frames of a stream, whether they are heard or not, and how loud their newest samples are.

    loudness: Q8 log2, int64 [frames].
    """

    pooled: PooledFrames
    loudness: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pooled)

    def __getitem__(self, frames: slice | NDArray[np.integer]) -> Frames:
        return Frames(self.pooled[frames], self.loudness[frames])

    @property
    def levels(self) -> NDArray[np.int64]:
        """The level of each frame, Q8 log2 [frames]."""
        return self.pooled.level


@dataclass(frozen=True)
class Block:
    """A block as a stream hears it.

    frames: all of them; heard: those that were not passed over, bool [frames]; speech: how many are speech.
    """

    frames: PooledFrames
    heard: NDArray[np.bool_]
    speech: int

    @property
    def level(self) -> int:
        """The mean level of the frames that were heard, Q8 log2."""
        levels = self.frames.level[self.heard]
        return int((levels.sum() + levels.size // 2) // levels.size)


@dataclass(frozen=True)
class Decision:
    """What a stream answers when a block ends.

    answer: index of a label, NO_SPEECH or NOT_SURE; scores: averaged over decisions, zeros without speech;
    margin: of the best over the second best; level: of the newest block, Q8 log2; frames: of the window,
    which ends with the newest block, 0 without speech.
    """

    answer: int
    scores: tuple[int, ...]
    margin: int
    level: int
    frames: int


def require_decision_rule(model: QuantizedModel) -> DecisionRule:
    """Return the model's own rule.

    Raises SerqError if it has none.
    """
    if model.decision is None:
        raise SerqError(
            "the model cannot stream: its specification pads clips, or it was made without decision"
            " parameters; quantize its run again"
        )
    return model.decision


def confidence(rule: DecisionRule, decision: Decision) -> int:
    """Return how likely the best class of a decision is the right one, in percent and steps of 5.

    UNKNOWN_CONFIDENCE without speech, and where the rule was not calibrated.
    """
    if decision.frames == 0 or not rule.confidence:
        return UNKNOWN_CONFIDENCE
    return CONFIDENCE_STEP * sum(decision.margin >= lead for lead in rule.confidence)


def stream_decisions(model: QuantizedModel, pcm: NDArray[np.int16]) -> list[Decision]:
    """Decide on a stream, int16 [samples], by the model's own rule; decisions come in their order.

    Raises SerqError if the model cannot stream.
    """
    return list(decide(model, require_decision_rule(model), analyse(model, pcm)))


def analyse(model: QuantizedModel, pcm: NDArray[np.int16]) -> Frames:
    """Compute the frames of a stream of any length, int16 [samples].

    Raises SerqError if the model cannot stream or there is less than one block.
    """
    spec, rule = model.spec, require_decision_rule(model)
    count = spec.frame_count(len(pcm))
    if count < MIN_FRAMES:
        raise SerqError(
            f"a stream of {len(pcm)} samples has no decision; a block has {rule.block_frames} frames"
        )
    parts = np.array_split(np.arange(count), -(-count // MAX_FRAMES))
    pieces = [
        pcm[part[0] * spec.hop_length : part[-1] * spec.hop_length + spec.frame_length] for part in parts
    ]
    frames = PooledFrames.joined([pooled_frames(spec, model.tables, piece) for piece in pieces])
    return Frames(frames, loudness(spec, model.tables.log_table, pcm))


def listen(model: QuantizedModel, rule: DecisionRule, frames: Frames) -> list[Block]:
    """Hear the whole blocks of a stream by any rule: which frames are passed over, and which are speech."""
    ear, size = _Ear(model, rule), rule.block_frames
    return [ear.hear(frames[i : i + size]) for i in range(0, len(frames) // size * size, size)]


class _Ear:
    """What hearing remembers from block to block: the floors of noise and loudness, and recent speech."""

    def __init__(self, model: QuantizedModel, rule: DecisionRule) -> None:
        self._noise = NoiseFloor(model.tables.speech_rule(model.spec), rule.floor_blocks)
        self._quiet = NoiseFloor(SpeechRule(rule.wake_rise, 0), rule.floor_blocks)
        self._sleeps = rule.wake_rise > 0 and model.spec.speech_frames > 0
        self._speech: deque[int] = deque(maxlen=rule.blocks - 1)

    def hear(self, frames: Frames) -> Block:
        asleep = self._sleeps and self._quiet.known and not any(self._speech)
        rises = self._quiet.rises(frames.loudness)
        heard = np.logical_or.accumulate(rises) if asleep else np.ones(len(frames), np.bool_)
        heard[0] = True
        pooled = frames.pooled
        speech = self._noise.speech(pooled.level[heard], pooled.voiced[heard])
        self._speech.append(speech)
        return Block(pooled, heard, speech)


def decide(model: QuantizedModel, rule: DecisionRule, frames: Frames) -> Iterator[Decision]:
    """Decide on a stream's frames by any rule."""
    return answer(rule, score_windows(model, rule, frames))


@dataclass(frozen=True)
class Windows:
    """The windows of a stream.

    level of each newest block, Q8 log2; frames, 0 without speech; scores int64 [windows, classes], then 0
    too; no_speech: the index of the class that says so, or -1.
    """

    levels: list[int]
    frames: list[int]
    scores: NDArray[np.int64]
    no_speech: int


def score_windows(model: QuantizedModel, rule: DecisionRule, frames: Frames) -> Windows:
    """Compute the windows of a stream; of the rule, margin and smoothing do not matter."""
    blocks = listen(model, rule, frames)
    grid = anchor(model, blocks)
    windows = [_window(rule, blocks[: i + 1], model.spec.speech_frames) for i in range(len(blocks))]
    return _scored(model, blocks, [_pooled(model, window, grid) for window in windows])


def anchor(model: QuantizedModel, blocks: Sequence[Block]) -> int | None:
    """Return the level, Q8 log2, that a stream's grid hangs from, if there was sound in its blocks."""
    tiers = model.tables.tiers(model.spec)
    levels = (tiers.anchor(block.frames.level[block.heard]) for block in blocks)
    return next((level for level in levels if level is not None), None)


def _scored(
    model: QuantizedModel, blocks: Sequence[Block], pooled: Sequence[_Pooled], voice: Voice | None = None
) -> Windows:
    """Score windows, each of which ends with its block; those without any feature have no speech."""
    found = np.zeros((len(blocks), len(model.labels)), np.int64)
    spoken = [i for i, window in enumerate(pooled) if window.frames]
    if spoken:
        found[spoken] = scores(model, np.array([pooled[i].features for i in spoken]), voice)
    levels, sizes = [block.level for block in blocks], [window.frames for window in pooled]
    return Windows(levels, sizes, found, model.no_speech)


def answer(rule: DecisionRule, windows: Windows) -> Iterator[Decision]:
    """Decide on each window; of the rule, only margin and smoothing matter."""
    smoothing = _Smoothing(rule, windows.no_speech)
    for level, frames, new in zip(windows.levels, windows.frames, windows.scores, strict=True):
        yield smoothing.decide(level, frames, new)


class Stream:
    """A stream that is processed piece by piece, as in firmware.

    Raises SerqError if the model cannot stream.
    """

    def __init__(self, model: QuantizedModel) -> None:
        self._model, self._rule = model, require_decision_rule(model)
        self.start()

    def start(self) -> None:
        """Forget all samples so far."""
        self._pcm = np.zeros(0, np.int16)
        self._ear = _Ear(self._model, self._rule)
        self._blocks: deque[Block] = deque(maxlen=self._rule.blocks)
        self._anchor: int | None = None
        self._smoothing = _Smoothing(self._rule, self._model.no_speech)
        self.voice: Voice | None = None
        self._learns, self._wait = LEARN_NOTHING, 0

    def use_voice(self, voice: Voice | None, learns: int = LEARN_NOTHING) -> None:
        """Answer by a voice until the next start, and learn: from a label, LEARN_ANSWERS or LEARN_NOTHING."""
        label = 0 <= learns < len(self._model.labels) and learns != self._model.no_speech
        self.voice = voice
        self._learns = learns if label or learns == LEARN_ANSWERS else LEARN_NOTHING

    def push(self, pcm: NDArray[np.int16]) -> list[Decision]:
        """Take samples, int16 [samples] of any number, and return the decisions that they complete."""
        spec, rule = self._model.spec, self._rule
        hop = rule.block_frames * spec.hop_length
        needed = hop - spec.hop_length + spec.frame_length
        self._pcm = np.concatenate([self._pcm, pcm])
        found = []
        while len(self._pcm) >= needed:
            self._blocks.append(self._ear.hear(analyse(self._model, self._pcm[:needed])))
            self._pcm = self._pcm[hop:]
            found.append(self._decide())
        return found

    def _decide(self) -> Decision:
        model, newest = self._model, self._blocks[-1]
        if self._anchor is None:
            self._anchor = anchor(model, [newest])
        window = _window(self._rule, list(self._blocks), model.spec.speech_frames)
        pooled = _pooled(model, window, self._anchor)
        windows = _scored(model, [newest], [pooled], self.voice)
        decision = self._smoothing.decide(windows.levels[0], windows.frames[0], windows.scores[0])
        self._learn(pooled, decision)
        return decision

    def _learn(self, pooled: _Pooled, decision: Decision) -> None:
        """Learn from the window, if it has speech and shares no block with the one that was learned last."""
        self._wait = max(self._wait - 1, 0)
        label = decision.answer if self._learns == LEARN_ANSWERS else self._learns
        if self.voice is None or self._wait or decision.answer == NO_SPEECH or label < 0:
            return
        self.voice = learn(self._model, self.voice, pooled.features, label)
        self._wait = self._rule.blocks


class _Smoothing:
    """Averages of scores over decisions, and the answer that they give."""

    def __init__(self, rule: DecisionRule, no_speech: int) -> None:
        self._rule, self._no_speech = rule, no_speech
        self._sums: NDArray[np.int64] | None = None

    def decide(self, level: int, frames: int, new: NDArray[np.int64]) -> Decision:
        shift = self._rule.smoothing
        if frames == 0:
            self._sums = None
            return Decision(NO_SPEECH, (0,) * new.size, 0, level, 0)
        self._sums = new << shift if self._sums is None else self._sums - (self._sums >> shift) + new
        return self._answer((self._sums >> shift).tolist(), level, frames)

    def _answer(self, smoothed: list[int], level: int, frames: int) -> Decision:
        first, second = sorted(smoothed, reverse=True)[:2]
        best = smoothed.index(first)
        found = best if first - second >= self._rule.unsure_margin else NOT_SURE
        chosen = NO_SPEECH if best == self._no_speech else found
        return Decision(chosen, tuple(smoothed), first - second, level, frames)


@dataclass(frozen=True)
class _Pooled:
    """The features of a window, int32 [features], and its frames, 0 where it has no speech or no feature."""

    features: NDArray[np.int32]
    frames: int


def _pooled(model: QuantizedModel, window: Sequence[Block], grid: int | None) -> _Pooled:
    if not window:
        return _Pooled(np.full(model.spec.feature_count, MISSING, np.int32), 0)
    frames = PooledFrames.joined([block.frames for block in window])
    heard = np.concatenate([block.heard for block in window])
    features = pool(model.spec, model.tables, frames, grid, heard)
    return _Pooled(features, 0 if (features == MISSING).all() else len(frames))


def _window(rule: DecisionRule, blocks: Sequence[Block], enough: int) -> Sequence[Block]:
    """Return the window that ends with the last block, empty if it holds too little speech.

    It is of the last `blocks` all from the first one with speech on.
    """
    last = blocks[-rule.blocks :]
    speech = [block.speech for block in last]
    if sum(speech) < enough:
        return []
    first = 0 if enough == 0 else next(i for i, count in enumerate(speech) if count)
    return last[first:]
