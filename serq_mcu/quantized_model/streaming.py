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
from serq_mcu.frontend.speech import NoiseFloor
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.types import NO_SPEECH, NOT_SURE, DecisionRule, QuantizedModel


@dataclass(frozen=True)
class Frames:
    """The frames of a stream, and the level, Q8 log2, that its grid hangs from, if there was sound."""

    pooled: PooledFrames
    anchor: int | None

    def __len__(self) -> int:
        return len(self.pooled)

    @property
    def levels(self) -> NDArray[np.int64]:
        """The level of each frame, Q8 log2 [frames]."""
        return self.pooled.level


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
    return Frames(frames, model.tables.tiers(spec).anchor(frames.level))


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


def score_windows(
    model: QuantizedModel, rule: DecisionRule, frames: Frames, speech: Sequence[int] | None = None
) -> Windows:
    """Compute the windows of a stream; of the rule, margin and smoothing do not matter.

    speech: frames that are speech, of each block; without it, it is counted in these frames.
    """
    levels = block_levels(rule, frames)
    speech = block_speech(model, rule, frames) if speech is None else speech
    sizes = [
        _window(rule, speech[: i + 1], model.spec.speech_frames) * rule.block_frames
        for i in range(len(levels))
    ]
    spoken = [i for i, size in enumerate(sizes) if size]
    found = np.zeros((len(levels), len(model.labels)), np.int64)
    if spoken:
        found[spoken] = scores(
            model, np.array([_pooled(model, frames, (i + 1) * rule.block_frames, sizes[i]) for i in spoken])
        )
    return Windows(levels, sizes, found, model.no_speech)


def block_speech(model: QuantizedModel, rule: DecisionRule, frames: Frames) -> list[int]:
    """Count the frames that are speech, of each whole block."""
    floor = NoiseFloor(model.tables.speech_rule(model.spec), rule.floor_blocks)
    size, pooled = rule.block_frames, frames.pooled
    starts = range(0, len(frames) // size * size, size)
    return [floor.speech(pooled.level[i : i + size], pooled.voiced[i : i + size]) for i in starts]


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
        self._blocks: deque[PooledFrames] = deque(maxlen=self._rule.blocks)
        self._anchor: int | None = None
        self._smoothing = _Smoothing(self._rule, self._model.no_speech)
        self._floor = NoiseFloor(self._model.tables.speech_rule(self._model.spec), self._rule.floor_blocks)
        self._speech: deque[int] = deque(maxlen=self._rule.blocks)

    def push(self, pcm: NDArray[np.int16]) -> list[Decision]:
        """Take samples, int16 [samples] of any number, and return the decisions that they complete."""
        spec, rule = self._model.spec, self._rule
        hop = rule.block_frames * spec.hop_length
        needed = hop - spec.hop_length + spec.frame_length
        self._pcm = np.concatenate([self._pcm, pcm])
        found = []
        while len(self._pcm) >= needed:
            block = pooled_frames(spec, self._model.tables, self._pcm[:needed])
            if self._anchor is None:
                self._anchor = self._model.tables.tiers(spec).anchor(block.level)
            self._blocks.append(block)
            self._speech.append(self._floor.speech(block.level, block.voiced))
            self._pcm = self._pcm[hop:]
            found.append(self._decide())
        return found

    def _decide(self) -> Decision:
        frames = Frames(PooledFrames.joined(list(self._blocks)), self._anchor)
        windows = score_windows(self._model, self._rule, frames, list(self._speech))
        return self._smoothing.decide(windows.levels[-1], windows.frames[-1], windows.scores[-1])


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


def block_levels(rule: DecisionRule, frames: Frames) -> list[int]:
    """Compute the level, Q8 log2, of each whole block."""
    size = rule.block_frames
    count = len(frames) // size
    sums = frames.levels[: count * size].reshape(count, size).sum(axis=1)
    levels: list[int] = ((sums + size // 2) // size).tolist()
    return levels


def _pooled(model: QuantizedModel, frames: Frames, end: int, count: int) -> NDArray[np.int32]:
    return pool(model.spec, model.tables, frames.pooled[end - count : end], frames.anchor)


def _window(rule: DecisionRule, speech: Sequence[int], enough: int) -> int:
    """Count the blocks of the window that ends with the last, 0 if it holds too little speech.

    They are of the last `blocks` all from the first one with speech on.
    """
    last = speech[-rule.blocks :]
    if sum(last) < enough:
        return 0
    return len(last) if enough == 0 else next(len(last) - i for i, count in enumerate(last) if count)
