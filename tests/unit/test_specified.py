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
from serq_mcu.quantized_model.interpreter import learn, scores, stages
from serq_mcu.quantized_model.streaming import analyse, listen, require_decision_rule, stream_decisions
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from tests.support.models import made_up_features, made_up_model
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
    "one block": replace(DEFAULT, blocks=EVERY, speech_frames=1),
}
RULES: dict[str, dict[str, Any]] = {
    "default": {
        "blocks": 4,
        "block_frames": 12,
        "floor_blocks": 8,
        "unsure_margin": 4000,
        "smoothing": 1,
        "wake_rise": 255,
    },
    "every statistic": {"blocks": 1, "block_frames": 9, "floor_blocks": 0, "smoothing": 2, "wake_rise": 255},
    "narrow tiers": {
        "blocks": 3,
        "block_frames": 7,
        "floor_blocks": 2,
        "unsure_margin": 4000,
        "wake_rise": 255,
    },
    "all frames": {"blocks": 3, "block_frames": 9, "floor_blocks": 2, "smoothing": 3, "wake_rise": 100},
    "one block": {"blocks": 1, "block_frames": 9, "floor_blocks": 2, "wake_rise": 300},
}
PASSING = {"default", "all frames", "one block"}  # the others know no floor, or ask for no speech


@dataclass
class Floor:
    """The last levels with sound, and the floors of the blocks that have ended."""

    remembered: int
    levels: list[int]
    floors: list[int | None]

    def before(self) -> list[int]:
        """List the floors that are remembered."""
        last = self.floors[-self.remembered :] if self.remembered else []
        return [floor for floor in last if floor is not None]

    def rises(self, levels: Sequence[int], rise: int) -> list[bool]:
        """Tell which frames of a block rise."""
        own, before, found = None, self.before(), []
        for level in levels:
            found.append(False)
            if level <= -10240:
                continue
            self.levels.append(level)
            if len(self.levels) < 4:
                continue
            mean = sum(self.levels[-4:]) >> 2
            own = mean if own is None else min(own, mean)
            found[-1] = level - min([own, *before]) >= rise
        self.floors.append(own)
        return found

    def speech(self, levels: Sequence[int], voiced: Sequence[bool], rise: int) -> int:
        """Count the frames of a block that are speech."""
        return sum(up and its for up, its in zip(self.rises(levels, rise), voiced, strict=True))


@dataclass(frozen=True)
class Clip:
    """The frames of a clip or a window."""

    stages: dict[str, np.ndarray]
    level: list[int]
    voiced: list[bool]
    heard: list[bool]

    @staticmethod
    def of(spec: FeatureSpec, tables: FrontendTables, pcm: np.ndarray) -> Clip:
        stages: dict[str, Any] = frame_stages(spec, tables, pcm)
        voiced = stages["pitch"][:, 1] >= tables.pitch["search"][3]
        return Clip(stages, stages["level"][:, 0].tolist(), voiced.tolist(), [True] * len(voiced))

    def part(self, first: int, end: int) -> Clip:
        stages = {name: values[first:end] for name, values in self.stages.items()}
        return Clip(stages, self.level[first:end], self.voiced[first:end], self.heard[first:end])

    def levels(self) -> list[int]:
        """List the levels of all frames; those passed over have no sound."""
        return [level if one else -10240 for level, one in zip(self.level, self.heard, strict=True)]


def log2q16(a: int, table: Sequence[Sequence[int]]) -> int:
    e = a.bit_length() - 1
    h = (a << (63 - e)) >> 32
    base, step = table[(h >> 25) & 63]
    return (e << 16) + base + ((step * ((h >> 9) & 0xFFFF)) >> 16)


def loudness(spec: FeatureSpec, tables: FrontendTables, pcm: np.ndarray) -> list[int]:
    h, found = spec.hop_length, []
    for f in range(spec.frame_count(len(pcm))):
        x = pcm[f * h + spec.frame_length - h : f * h + spec.frame_length].tolist()
        pieces = [x[start : start + 64] for start in range(0, h, 64)]
        spread = sum(len(piece) * sum(v * v for v in piece) - sum(piece) ** 2 for piece in pieces)
        found.append(log2q16(spread + 64 * h, tables.log_table.tolist()) >> 8)
    return found


def pass_over(model: QuantizedModel, floor: Floor, loud: Sequence[int], speech: Sequence[int]) -> list[bool]:
    """Tell which frames of the next block are heard; speech: of the blocks before it."""
    rule, known = model.decision, bool(floor.before())
    assert rule is not None
    rises = floor.rises(loud, rule.wake_rise)
    earlier = speech[-(rule.blocks - 1) :] if rule.blocks > 1 else []
    if not (rule.wake_rise and model.spec.speech_frames and known) or any(earlier):
        return [True] * len(loud)
    return [f == 0 or any(rises[: f + 1]) for f in range(len(loud))]


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
    counts = counted(spec, tables.tier_width, clip.levels(), anchor)
    counts = [one and heard for one, heard in zip(counts, clip.heard, strict=True)]
    return list(_pooled(spec, tables, clip, counts))


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
    floor, quiet = Floor(rule.floor_blocks, [], []), Floor(rule.floor_blocks, [], [])
    loud = loudness(spec, tables, pcm)
    speech: list[int] = []
    average: list[int] | None = None
    anchor: int | None = None
    for j in range(len(stream.level) // n):
        stream.heard[j * n : j * n + n] = pass_over(model, quiet, loud[j * n : j * n + n], speech)
        block = stream.part(j * n, j * n + n)
        anchor = first_sound(block.levels()) if anchor is None else anchor
        speech.append(floor.speech(block.levels(), block.voiced, tables.speech_rise))
        heard = [level for level, one in zip(block.level, block.heard, strict=True) if one]
        level = (sum(heard) + (len(heard) >> 1)) // len(heard)
        last = list(range(max(0, j + 1 - rule.blocks), j + 1))
        if sum(speech[i] for i in last) < spec.speech_frames:
            average = None
            yield -1, (0,) * len(model.labels), 0, level, 0
            continue
        first = last[0] if spec.speech_frames == 0 else next(i for i in last if speech[i])
        window = stream.part(first * n, j * n + n)
        features_of_window = pooled(spec, tables, window, anchor)
        if all(value == MISSING for value in features_of_window):
            average = None
            yield -1, (0,) * len(model.labels), 0, level, 0
            continue
        new = scores(model, np.array([features_of_window]))[0].tolist()
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
    found, passed = [], 0
    for seed in range(3):
        model = made_up_model((16, 4), (8, 8), seed=seed, spec=SPECS[name], labels=labels, **RULES[name])
        hiss = np.rint(np.random.default_rng(seed).normal(0, 9 * seed + 1, 40000)).astype(np.int16)
        pcm = np.concatenate([sounds(seed), np.zeros(20000, np.int16), hiss, sounds(seed + 9)])
        words = list(decisions(model, pcm))
        assert words == [
            (d.answer, d.scores, d.margin, d.level, d.frames) for d in stream_decisions(model, pcm)
        ]
        found += words
        blocks = listen(model, require_decision_rule(model), analyse(model, pcm))
        passed += sum(int((~block.heard).sum()) for block in blocks)
    assert (passed > 0) == (name in PASSING)
    kinds = {(min(answer, 0), frames > 0) for answer, *_, frames in found}
    assert {(0, True), (-1, True)} <= kinds  # labels, and the class "no speech"
    assert (-1, False) in kinds  # too little speech, or digital silence
    assert ((-2, True) in kinds) == (RULES[name].get("unsure_margin", 0) > 0)


def near(a: int, d: int) -> int:
    """div_near of section 19."""
    return (1 if a > 0 else -1) * ((2 * abs(a) + d) // (2 * d))


@pytest.mark.parametrize("most", [1, 3, 128])
def test_a_voice_learns_by_the_words(most: int) -> None:
    made = made_up_model((6, 5), (4, 4), seed=most)
    assert made.voice is not None
    model = replace(made, voice=replace(made.voice, most=most))
    means, counts = made.voice.means.tolist(), made.voice.counts.tolist()
    constants = zip(model.input.center, model.input.multiplier, model.input.shift, strict=True)
    rows = made_up_features(model, 140, seed=most)
    n, sums, heard, voice = 0, [0] * len(counts), [0] * 5, Voice.unknown(made.voice)
    scale = [(int(c), int(m), int(s)) for c, m, s in constants]
    for row, label in zip(rows.tolist(), np.random.default_rng(most).integers(0, 5, len(rows)), strict=True):
        evidence = n + ((max(heard) + 128) >> 8)
        shift = [near(s, evidence + k) for s, k in zip(sums, counts, strict=True)]
        inputs = []
        for i, (value, (center, multiplier, bits)) in enumerate(zip(row, scale, strict=True)):
            t = min(max(value - center, -(2**20 - 1)), 2**20 - 1)
            u = (t * multiplier + (1 << (bits - 1))) >> bits
            missing = value == MISSING
            inputs.append(64 if missing else min(max(64 + u - shift[i], 0), 127))
            r = shift[i] if missing else min(max(u, -127), 127) - means[label][i]
            sums[i] = sums[i] + r if n < most else sums[i] - near(sums[i], most) + r
            assert abs(sums[i]) <= 254 * min(n + 1, most)
        for c in range(5):
            heard[c] += 256 * (c == label) - (near(heard[c], most) if n == most else 0)
            assert 0 <= heard[c] <= 256 * most
        n = min(n + 1, most)
        assert dict(stages(model, np.array(row), voice))["input"].tolist() == inputs
        voice = learn(model, voice, np.array(row), int(label))
        assert (voice.windows, voice.sums.tolist(), voice.heard.tolist()) == (n, sums, heard)
