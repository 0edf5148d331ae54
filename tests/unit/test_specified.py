"""Pooling, speech and streams as SPEC.md words them, frame by frame in plain Python, beside the reference.

The transcription shares nothing with the package but the per-frame stages, the tables and the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from serq_mcu.config import load_config
from serq_mcu.frontend.blocks import F0, Energy, Mfcc
from serq_mcu.frontend.reference import features, frame_stages
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.speech import NoiseFloor, SpeechRule
from serq_mcu.frontend.tables import FrontendTables, build_tables
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.streaming import stream_decisions
from serq_mcu.quantized_model.types import QuantizedModel
from tests.support.models import made_up_model
from tests.support.streaming import quiet_and_loud

MISSING = -(2**31)
DEFAULT = load_config().features
ALL = ("mean", "sd", "delta_mean", "delta_sd", "p10", "p25", "p50", "p75", "p90")
EVERY = (Mfcc(14, ALL, loudness=False, bands=20), F0(statistics=ALL), Energy())
SPECS = {
    "default": DEFAULT,
    "every statistic": replace(DEFAULT, blocks=EVERY, tiers=1, speech_frames=1),
    "narrow tiers": replace(DEFAULT, blocks=EVERY, tiers=8, tier_db=3.0, speech_frames=0),
    "all frames": replace(DEFAULT, tiers=0, speech_frames=2),
}
RULES: dict[str, dict[str, Any]] = {
    "default": {"blocks": 4, "block_frames": 12, "floor_blocks": 8, "unsure_margin": 4000, "smoothing": 1},
    "every statistic": {"blocks": 1, "block_frames": 9, "floor_blocks": 0, "smoothing": 2},
    "narrow tiers": {"blocks": 3, "block_frames": 7, "floor_blocks": 2, "unsure_margin": 4000},
    "all frames": {"blocks": 3, "block_frames": 9, "floor_blocks": 2, "smoothing": 3},
}


@dataclass
class Floor:
    """The last levels with sound, and the floors of the blocks that have ended."""

    remembered: int
    levels: list[int]
    floors: list[int | None]

    def speech(self, levels: Sequence[int], voiced: Sequence[bool], rise: int) -> int:
        """Count the frames of a block that are speech."""
        own, count = None, 0
        before = [floor for floor in self.floors[-self.remembered :] if floor is not None]
        for level, is_voiced in zip(levels, voiced, strict=True):
            if level <= -10240:
                continue
            self.levels.append(level)
            if len(self.levels) < 4:
                continue
            mean = sum(self.levels[-4:]) >> 2
            own = mean if own is None else min(own, mean)
            count += is_voiced and level - min([own, *(before if self.remembered else [])]) >= rise
        self.floors.append(own)
        return count


@dataclass(frozen=True)
class Clip:
    """The frames of a clip or a window."""

    stages: dict[str, np.ndarray]
    level: list[int]
    voiced: list[bool]

    @staticmethod
    def of(spec: FeatureSpec, tables: FrontendTables, pcm: np.ndarray) -> Clip:
        stages: dict[str, Any] = frame_stages(spec, tables, pcm)
        voiced = stages["pitch"][:, 1] >= tables.pitch["search"][3]
        return Clip(stages, stages["level"][:, 0].tolist(), voiced.tolist())

    def part(self, first: int, end: int) -> Clip:
        stages = {name: values[first:end] for name, values in self.stages.items()}
        return Clip(stages, self.level[first:end], self.voiced[first:end])


def first_sound(levels: Sequence[int]) -> int | None:
    return next((level for level in levels if level > -10240), None)


def counted(spec: FeatureSpec, width: int, levels: Sequence[int], anchor: int | None) -> list[bool]:
    if spec.tiers == 0:
        return [True] * len(levels)
    if anchor is None:
        return [False] * len(levels)
    steps = [(level - anchor) // width if level > -10240 else None for level in levels]
    loudest = max((step for step in steps if step is not None), default=0)
    return [step is not None and step > loudest - spec.tiers for step in steps]


def pooled(spec: FeatureSpec, tables: FrontendTables, clip: Clip, anchor: int | None) -> list[int]:
    return list(_pooled(spec, tables, clip, counted(spec, tables.tier_width, clip.level, anchor)))


def _pooled(spec: FeatureSpec, tables: FrontendTables, clip: Clip, counts: list[bool]) -> Iterator[int]:
    stage_of = {"mel": "log", "energy": "level"}
    for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True):
        own = [c and (block.kind != "f0" or v) for c, v in zip(counts, clip.voiced, strict=True)]
        values = clip.stages[stage_of.get(block.kind, block.kind)].tolist()
        for name in block.statistics:
            first, end = 0, block.size
            if block.kind == "mfcc":
                first = int(name[0] == "p" or (name == "mean" and not getattr(block, "loudness")))  # noqa: B009
                end = min(end, 13) if name[0] == "p" else end
            for r in range(first, end):
                v = [(frame[r] + (1 << (shift - 1))) >> shift for frame in values]
                table = tables.of(block)["histogram"][r - (block.kind == "mfcc")] if name[0] == "p" else ()
                yield statistic(name, v, own, [int(number) for number in table])


def statistic(name: str, v: list[int], counts: list[bool], table: list[int]) -> int:
    kept = [value for value, one in zip(v, counts, strict=True) if one]
    pairs = [v[f] - v[f - 1] for f in range(1, len(v)) if counts[f] and counts[f - 1]]
    if name[0] == "p":
        return percentile(int(name[1:]), kept, *table)
    of = pairs if name.startswith("delta") else kept
    n, total, squares = len(of), sum(of), sum(value * value for value in of)
    if n == 0:
        return MISSING
    if name.endswith("mean"):
        return (16 * total + (n >> 1)) // n
    return math.isqrt((n * squares - total * total) * 256) // n


def percentile(p: int, kept: list[int], low: int, width: int, scale: int) -> int:
    n, bins = len(kept), [0] * 16
    if n == 0:
        return MISSING
    for value in kept:
        bins[max(0, min(15, ((value - low) * scale) >> 16))] += 1
    b = next(i for i in range(16) if 100 * sum(bins[: i + 1]) >= p * n)
    f = (p * n - 100 * sum(bins[:b])) * 256 // (100 * bins[b])
    return 16 * low + (((256 * b + f) * width) >> 4)


def clip_features(spec: FeatureSpec, tables: FrontendTables, pcm: np.ndarray) -> list[int]:
    clip = Clip.of(spec, tables, pcm)
    if Floor(0, [], []).speech(clip.level, clip.voiced, tables.speech_rise) < spec.speech_frames:
        return [MISSING] * spec.feature_count
    return pooled(spec, tables, clip, first_sound(clip.level))


def decisions(model: QuantizedModel, pcm: np.ndarray) -> Iterator[tuple[int, tuple[int, ...], int, int, int]]:
    spec, tables, rule = model.spec, model.tables, model.decision
    assert rule is not None
    stream, n = Clip.of(spec, tables, pcm), rule.block_frames
    anchor, floor = first_sound(stream.level), Floor(rule.floor_blocks, [], [])
    speech: list[int] = []
    average: list[int] | None = None
    for j in range(len(stream.level) // n):
        block = stream.part(j * n, j * n + n)
        speech.append(floor.speech(block.level, block.voiced, tables.speech_rise))
        level = (sum(block.level) + (n >> 1)) // n
        last = list(range(max(0, j + 1 - rule.blocks), j + 1))
        if sum(speech[i] for i in last) < spec.speech_frames:
            average = None
            yield -1, (0,) * len(model.labels), 0, level, 0
            continue
        first = last[0] if spec.speech_frames == 0 else next(i for i in last if speech[i])
        window = stream.part(first * n, j * n + n)
        new = scores(model, np.array([pooled(spec, tables, window, anchor)]))[0].tolist()
        k = rule.smoothing
        average = (
            [score << k for score in new]
            if average is None
            else [a - (a >> k) + score for a, score in zip(average, new, strict=True)]
        )
        smoothed = tuple(a >> k for a in average)
        best, second = sorted(smoothed, reverse=True)[:2]
        label = smoothed.index(best)
        unsure = -2 if best - second < rule.unsure_margin else label
        answer = -1 if model.labels[label] == "no speech" else unsure
        yield answer, smoothed, best - second, level, len(window.level)


def sounds(seed: int) -> np.ndarray:
    """Silence, noise, tones and squares at many levels, and harmonic tones like vowels between them."""
    rng = np.random.default_rng(seed)
    rate, parts = DEFAULT.sample_rate, [np.zeros(rng.integers(1, 3000))]
    for _ in range(6):
        t, pitch = np.arange(rng.integers(4000, 12000)) / rate, rng.uniform(80, 300)
        tone = np.sum([np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 9)], axis=0)
        parts += [10 ** rng.uniform(-3, -0.7) * 32767 / 2 * tone, rng.normal(0, 30, rng.integers(2000, 9000))]
    own = np.clip(np.rint(np.concatenate(parts)), -32768, 32767).astype(np.int16)
    return np.concatenate([own, quiet_and_loud(DEFAULT, seed, pieces=12)])


@pytest.mark.parametrize("name", SPECS)
def test_a_clips_features_are_those_of_the_words(name: str) -> None:
    spec = SPECS[name]
    tables, missing = build_tables(spec), 0
    rng = np.random.default_rng(1)
    steady = rng.normal(0, 20, 9000).round().astype(np.int16)
    for pcm in (sounds(0), sounds(1), steady, np.zeros(9000, np.int16)):
        words = clip_features(spec, tables, pcm)
        assert words == features(spec, tables, pcm).tolist()
        missing += MISSING in words
    assert missing  # the quiet ones have nothing that counts, or that is speech, or that is voiced


@pytest.mark.parametrize("remembered", [0, 1, 5])
def test_frames_are_speech_by_the_words_also_where_they_just_are(remembered: int) -> None:
    rng = np.random.default_rng(remembered)
    ours, words, found = NoiseFloor(SpeechRule(6, 1), remembered), Floor(remembered, [], []), []
    for _ in range(300):
        level = rng.choice([-10240, *range(-12, 13)], rng.integers(1, 9))
        voiced = rng.random(level.size) < 0.8
        found.append(words.speech(level.tolist(), voiced.tolist(), 6))
        assert ours.speech(level, voiced) == found[-1]
    assert min(found) == 0 < max(found)


@pytest.mark.parametrize("name", SPECS)
def test_a_streams_decisions_are_those_of_the_words(name: str) -> None:
    labels = ("no speech", "a", "b", "c")
    found = []
    for seed in range(3):
        model = made_up_model((16, 4), (8, 8), seed=seed, spec=SPECS[name], labels=labels, **RULES[name])
        pcm = np.concatenate([sounds(seed), np.zeros(20000, np.int16), sounds(seed + 9)])
        words = list(decisions(model, pcm))
        assert words == [
            (d.answer, d.scores, d.margin, d.level, d.frames) for d in stream_decisions(model, pcm)
        ]
        found += words
    kinds = {(min(answer, 0), frames > 0) for answer, *_, frames in found}
    assert {(0, True), (-1, True)} <= kinds  # labels, and the class "no speech"
    assert ((-1, False) in kinds) == (SPECS[name].speech_frames > 0)
    assert ((-2, True) in kinds) == (RULES[name].get("unsure_margin", 0) > 0)
