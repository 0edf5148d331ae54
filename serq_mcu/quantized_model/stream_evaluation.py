"""What a model answers on live audio: recordings as streams, by window and smoothing, by level, and in silence.

Each recording is a stream of its own: a second of a microphone's self-noise, the recording with that noise, two more seconds of noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.frontend.level import level_in_db
from serq_mcu.metrics import wilson_interval
from serq_mcu.quantized_model.evaluation import choose_clips
from serq_mcu.quantized_model.streaming import SILENCE, Decision, Frames, analyse, block_levels, decide, decision_rule
from serq_mcu.quantized_model.types import DecisionRule, QuantizedModel

NOISE_DB = -87.0  # self-noise of a digital microphone of 61 dB SNR (re 94 dB SPL) and a sensitivity of -26 dB
LEVELS_DB = (0, -18, -30, -40)
BEFORE, AFTER, NOISE_ALONE = 1.0, 2.0, 120.0  # seconds of noise
BLOCKS, BLOCK_SECONDS, SMOOTHINGS = (1, 2, 4, 8), (0.25, 0.5, 1.0), (0, 1, 2)
_COVERAGES = (1.0, 0.9, 0.8, 0.7)

Progress = Callable[..., None]


@dataclass(frozen=True)
class StreamScore:
    """Decisions that are not silence, how many of them are answers, and how many of these are right; `clips` have at least one answer.

    Decisions on one clip err together, so the interval counts clips.
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
        """Plain values."""
        return asdict(self) | {"accuracy": self.accuracy, "interval95": list(self.interval)}

    def cells(self) -> list[str]:
        """Decisions, share of answers, accuracy, its interval, clips."""
        low, high = self.interval
        share = self.answered / self.decisions if self.decisions else 0.0
        return [str(self.decisions), f"{share:.0%}", f"{self.accuracy:.1%}", f"{100 * low:.1f} to {high:.1%}", str(self.clips)]


@dataclass(frozen=True)
class GateScore:
    """At a level: the score, and blocks of speech that were the only reason to answer but were taken for silence.

    speech_blocks lie wholly within a recording; silenced: decisions at their ends that are silence. quietest: median of their levels, dB.
    """

    score: StreamScore
    speech_blocks: int
    silenced: int
    median_db: float


@dataclass(frozen=True)
class StreamEvaluation:
    """All figures of a model on a corpus of recordings as streams."""

    corpus: str
    basis: str
    rule: DecisionRule
    block_seconds: float
    variants: dict[tuple[float, int, int], StreamScore]  # seconds of a block, blocks, smoothing
    coverages: dict[int, StreamScore]  # by unsure margin
    gate: dict[int, GateScore]  # by attenuation, dB
    noise: dict[str, tuple[int, int, float]]  # decisions, those that are not silence, loudest block in dB

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "corpus": self.corpus,
            "basis": self.basis,
            "decision": asdict(self.rule),
            "variants": [
                {"block_seconds": seconds, "blocks": blocks, "smoothing": smoothing, **score.to_json()}
                for (seconds, blocks, smoothing), score in self.variants.items()
            ],
            "margins": [{"unsure_margin": margin, **score.to_json()} for margin, score in self.coverages.items()],
            "levels": [
                {"attenuation_db": level, "speech_blocks": g.speech_blocks, "silenced": g.silenced, "median_db": g.median_db, **g.score.to_json()}
                for level, g in self.gate.items()
            ],
            "noise": [{"signal": name, "decisions": n, "not_silent": loud, "loudest_db": db} for name, (n, loud, db) in self.noise.items()],
        }

    def lines(self) -> list[str]:
        """The report for a person."""
        lines = [f"{self.corpus}: {self.basis}", self._rule_sentence()]
        for title, head, rows in self._tables():
            widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
            lines += ["", title, *("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows])]
        return lines

    def page(self, command: str) -> str:
        """The report as Markdown; `command` is what regenerates it."""
        parts = [
            "# Live audio: what is answered, and how well",
            f"Regenerated by `{command}`. {self.corpus}: {self.basis}.",
            f"Each recording is a stream of its own, with {BEFORE:g} s of white noise before it, {AFTER:g} s after it, and noise under it, at "
            f"{NOISE_DB:g} dB like a microphone's self-noise. Levels are dB relative to a full-scale square wave. A decision is answered unless it "
            "is not sure; silence is not counted. Decisions on one clip err together, so the 95 % intervals (Wilson) count clips with an answer.",
            self._rule_sentence(),
        ]
        for title, head, rows in self._tables():
            parts += [f"## {title}", "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))]
        return "\n\n".join(parts) + "\n"

    def _rule_sentence(self) -> str:
        rule = self.rule
        window = f"{rule.blocks} blocks of {rule.block_frames} frames ({self.block_seconds:.3g} s)"
        gate = f"gate at {level_in_db(rule.gate_level):.0f} dB"
        return f"The model's own rule: {window}, {gate}, least lead {rule.unsure_margin} score steps, smoothing {rule.smoothing}."

    def _tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        cells = ["decisions", "answered", "accuracy", "95 % interval", "clips"]
        variants = [[f"{s:g} s", str(b), str(k), *score.cells()] for (s, b, k), score in self.variants.items()]
        margins = [[str(margin), *score.cells()] for margin, score in self.coverages.items()]
        levels = [
            [f"{level} dB", f"{g.median_db:.0f} dB", str(g.speech_blocks), f"{g.silenced / max(g.speech_blocks, 1):.1%}", *g.score.cells()]
            for level, g in self.gate.items()
        ]
        noise = [[name, str(n), str(loud), f"{db:.0f} dB"] for name, (n, loud, db) in self.noise.items()]
        return [
            ("Window and smoothing, at the model's margin", ["block", "blocks", "smoothing", *cells], variants),
            ("Least lead of an answer, in score steps", ["lead", *cells], margins),
            ("Recordings attenuated", ["level", "median of a block", "blocks of speech", "silence", *cells], levels),
            ("Nobody speaks", ["signal", "decisions", "not silence", "loudest block"], noise),
        ]


def evaluate_streams(model: QuantizedModel, folder: Path, part: str = "held_out", progress: Progress | None = None) -> StreamEvaluation:
    """Judge the model on the recordings in `folder` as streams; part: "held_out", or "validation" to choose parameters by.

    Raises SerqError if the model cannot stream, the corpus or a clip cannot be read, or no clip is of a class that the model knows.
    """
    rule = decision_rule(model)
    corpus = load_corpus(folder)
    clips, _, basis = choose_clips(model, corpus, part)
    if not clips:
        raise SerqError(f"{folder}: no clip is of a class the model knows ({', '.join(model.labels)}); evaluate it on another corpus")
    truth = [model.labels.index(clip.label) for clip in clips]
    recordings = [read_audio(clip.path, model.spec.sample_rate).pcm for clip in clips]
    streams: dict[int, list[Frames]] = {}
    for number, level in enumerate(LEVELS_DB):
        streams[level] = []
        for index, pcm in enumerate(recordings):
            streams[level].append(analyse(model, _in_noise(pcm, level, model.spec.sample_rate, index)))
            if progress is not None:
                progress("listening", number * len(recordings) + index + 1, len(LEVELS_DB) * len(recordings))
    return StreamEvaluation(
        corpus=corpus.name,
        basis=basis,
        rule=rule,
        block_seconds=rule.block_frames * model.spec.hop_length / model.spec.sample_rate,
        variants=_variants(model, rule, streams[0], truth),
        coverages=_coverages(model, rule, streams[0], truth),
        gate={level: _gate(model, rule, streams[level], truth, recordings) for level in LEVELS_DB},
        noise={name: _noise(model, rule, pcm) for name, pcm in _silences(model.spec.sample_rate).items()},
    )


def _white(count: int, db: float, seed: int) -> NDArray[np.float64]:
    noise: NDArray[np.float64] = np.random.default_rng(seed).normal(scale=32768 * 10 ** (db / 20), size=count)
    return noise


def _in_noise(pcm: NDArray[np.int16], level: float, rate: int, seed: int) -> NDArray[np.int16]:
    """The recording at `level` dB, with noise before, under and after it."""
    padded = np.pad(pcm * 10 ** (level / 20), (round(BEFORE * rate), round(AFTER * rate)))
    return _rounded(padded + _white(padded.size, NOISE_DB, seed))


def _silences(rate: int) -> dict[str, NDArray[np.int16]]:
    count = round(NOISE_ALONE * rate)
    noises = {f"white noise at {db:g} dB": _rounded(_white(count, db, 0)) for db in (NOISE_DB, NOISE_DB + 10, NOISE_DB + 20)}
    return {"digital silence": np.zeros(count, np.int16), **noises}


def _rounded(signal: NDArray[np.float64]) -> NDArray[np.int16]:
    pcm: NDArray[np.int16] = np.clip(np.rint(signal), -32768, 32767).astype(np.int16)
    return pcm


def _score(streams: Sequence[list[Decision]], truth: Sequence[int]) -> StreamScore:
    spoken = [[decision.answer for decision in stream if decision.answer != SILENCE] for stream in streams]
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
            for smoothing in SMOOTHINGS:
                variant = replace(rule, blocks=blocks, block_frames=frames, smoothing=smoothing)
                found[seconds, blocks, smoothing] = _score([list(decide(model, variant, stream)) for stream in streams], truth)
    return found


def _coverages(model: QuantizedModel, rule: DecisionRule, streams: Sequence[Frames], truth: Sequence[int]) -> dict[int, StreamScore]:
    """The score by the least lead: the model's own, and those that leave round shares of these decisions answered."""
    leads = sorted(d.margin for stream in streams for d in decide(model, rule, stream) if d.answer != SILENCE)
    margins = {0 if share == 1 else leads[min(math.floor((1 - share) * len(leads)), len(leads) - 1)] for share in _COVERAGES} if leads else set()
    margins.add(rule.unsure_margin)
    rules = {margin: replace(rule, unsure_margin=margin) for margin in sorted(margins)}
    return {margin: _score([list(decide(model, changed, stream)) for stream in streams], truth) for margin, changed in rules.items()}


def _gate(
    model: QuantizedModel, rule: DecisionRule, streams: Sequence[Frames], truth: Sequence[int], recordings: Sequence[NDArray[np.int16]]
) -> GateScore:
    decisions = [list(decide(model, rule, stream)) for stream in streams]
    rate, step = model.spec.sample_rate, rule.block_frames * model.spec.hop_length
    levels: list[int] = []
    silenced = 0
    for stream, found, pcm in zip(streams, decisions, recordings, strict=True):
        start = round(BEFORE * rate)
        inside = range(-(-start // step), (start + pcm.size - model.spec.frame_length) // step)
        blocks = block_levels(rule, stream)
        levels += [blocks[i] for i in inside]
        silenced += sum(found[i].answer == SILENCE for i in inside)
    return GateScore(_score(decisions, truth), len(levels), silenced, level_in_db(float(np.median(levels))) if levels else math.nan)


def _noise(model: QuantizedModel, rule: DecisionRule, pcm: NDArray[np.int16]) -> tuple[int, int, float]:
    found = list(decide(model, rule, analyse(model, pcm)))
    return len(found), sum(decision.answer != SILENCE for decision in found), level_in_db(max(decision.level for decision in found))
