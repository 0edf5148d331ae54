"""What a model answers while people speak and pause, and what where nobody speaks.

A session is a speaker's clips one after another, in an order and with pauses that are drawn, and the noise of
a room under all. Noise, silence and other sounds are played alone: every answer there is a false one.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import wilson_interval
from serq_mcu.base.parallel import in_threads
from serq_mcu.corpus.audio import read_audio, rounded
from serq_mcu.corpus.conditions import floor_noise
from serq_mcu.corpus.loaders import Clip
from serq_mcu.corpus.loudness import frame_samples, spoken_frames
from serq_mcu.corpus.sounds import SPEECH, find_sounds
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.streaming import Decision, require_decision_rule, stream_decisions
from serq_mcu.quantized_model.types import NO_SPEECH, QuantizedModel

SELF_NOISE_DB = -87.0  # of a digital microphone of 61 dB SNR (re 94 dB SPL) and a sensitivity of -26 dB
ALONE_SECONDS = 60.0
ALONE_DB = (SELF_NOISE_DB, -80.0, -70.0, -60.0, -50.0, -40.0, -30.0)
ALONE_KINDS = ("white", "pink")
SOUND_BEFORE, SOUND_AFTER = 1.0, 2.0  # seconds of self-noise around a sound
_HOUR = 3600.0

Progress = Callable[..., None]


@dataclass(frozen=True)
class SessionPlan:
    """What sessions are made of.

    pauses: the range, in seconds, that each pause is drawn from; floors_db: levels of the room's noise, dB of
    a full-scale square wave, each a session of its own. Raises SerqError on values out of range.
    """

    pauses: tuple[float, float] = (0.5, 8.0)
    floors_db: tuple[float, ...] = (SELF_NOISE_DB, -60.0, -50.0)
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.pauses
        if not 0 <= low <= high <= 60:
            raise SerqError(f"pauses from {low:g} to {high:g} s must be a range within 0 to 60 s")
        for level in self.floors_db:
            if not -120 <= level <= 0:
                raise SerqError(f"room noise at {level:g} dB must be -120 to 0 dB")


@dataclass(frozen=True)
class Utterance:
    """A clip's place in a session: its first and last spoken samples, and its class."""

    start: int
    end: int
    label: int


@dataclass(frozen=True)
class Session:
    """The samples, int16 [samples], of clips and digital pauses, and where somebody speaks."""

    pcm: NDArray[np.int16]
    utterances: tuple[Utterance, ...]


@dataclass(frozen=True)
class SessionScore:
    """Decisions in sessions.

    Of those while somebody speaks: how many say that nobody does, are not sure, and are right; the others are
    wrong. clips: that were spoken for at least one decision. Decisions on one clip err together, so the
    interval counts clips. pause: decisions in whose window nobody speaks, and false answers among them.
    """

    decisions: int
    silent: int
    unsure: int
    right: int
    clips: int
    pause: FalseAnswers

    @property
    def share_right(self) -> float:
        """Share of all decisions while somebody speaks that are right."""
        return self.right / self.decisions if self.decisions else 0.0

    @property
    def accuracy(self) -> float:
        """Share of the answers that are right."""
        answered = self.decisions - self.silent - self.unsure
        return self.right / answered if answered else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the share of right decisions, as of one decision a clip."""
        return wilson_interval(self.share_right * self.clips, self.clips)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return asdict(self) | {
            "share_right": self.share_right,
            "accuracy": self.accuracy,
            "interval95": list(self.interval),
            "pause": self.pause.to_json(),
        }


@dataclass(frozen=True)
class FalseAnswers:
    """Decisions where nobody speaks, and how many of them claim an emotion; of so many sounds.

    seconds: from one decision to the next.
    """

    decisions: int
    claims: int
    sounds: int
    seconds: float

    @property
    def share(self) -> float:
        """Share of the decisions that claim an emotion."""
        return self.claims / self.decisions if self.decisions else 0.0

    @property
    def per_hour(self) -> float:
        """False answers an hour of such sound."""
        return self.share * _HOUR / self.seconds

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the share, as of one decision a sound."""
        return wilson_interval(self.share * self.sounds, self.sounds)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return asdict(self) | {
            "share": self.share,
            "per_hour": self.per_hour,
            "interval95": list(self.interval),
        }


def make_sessions(
    clips: Sequence[Clip],
    recordings: Sequence[NDArray[np.int16]],
    truth: Sequence[int],
    rate: int,
    plan: SessionPlan,
) -> list[Session]:
    """Make a session of each speaker's clips, int16 [samples] at `rate` Hz; one of all if none is known.

    A pause is before the first clip and after each. What is drawn follows the speaker's name and the seed.
    """
    by_speaker: dict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(clips):
        by_speaker[clip.speaker].append(index)
    made = []
    for speaker, own in sorted(by_speaker.items()):
        rng = np.random.default_rng([plan.seed, zlib.crc32(speaker.encode())])
        parts, utterances, place = [], [], 0
        for index in rng.permutation(own).tolist():
            pcm, pause = recordings[index], round(rng.uniform(*plan.pauses) * rate)
            parts += [np.zeros(pause, np.int16), pcm]
            utterances.append(_utterance(pcm, place + pause, rate, truth[index]))
            place += pause + pcm.size
        parts.append(np.zeros(round(rng.uniform(*plan.pauses) * rate), np.int16))
        made.append(Session(np.concatenate(parts), tuple(utterances)))
    return made


def _utterance(pcm: NDArray[np.int16], place: int, rate: int, label: int) -> Utterance:
    spoken, size = np.flatnonzero(spoken_frames(pcm, rate)), frame_samples(rate)
    return Utterance(place + int(spoken[0]) * size, place + min(pcm.size, int(spoken[-1] + 1) * size), label)


def evaluate_sessions(
    model: QuantizedModel, sessions: Sequence[Session], plan: SessionPlan, progress: Progress | None = None
) -> dict[float, SessionScore]:
    """Play the sessions at each level of room noise and score them together, by level."""
    rate, done = model.spec.sample_rate, 0
    found = {}
    for level in plan.floors_db:

        def play(numbered: tuple[int, Session], level: float = level) -> _Judged:
            number, session = numbered
            heard = in_room_noise(session.pcm, level, rate, number)
            return _judge(model, session, stream_decisions(model, heard))

        judged = []
        for one in in_threads(play, enumerate(sessions)):
            judged.append(one)
            done += 1
            if progress is not None:
                progress("playing sessions", done, len(sessions) * len(plan.floors_db))
        found[level] = _together(judged, seconds_of_block(model))
    return found


def in_room_noise(
    pcm: NDArray[np.int16], level_db: float, rate: int, seed: int, kind: str = "white"
) -> NDArray[np.int16]:
    """Put a room's noise under all of a recording, int16 [samples] at `rate` Hz; `seed` decides it."""
    return rounded(pcm + floor_noise(kind, level_db, pcm.size, rate, np.random.default_rng(seed)))


def seconds_of_block(model: QuantizedModel) -> float:
    """Return the time from one decision to the next, s."""
    return require_decision_rule(model).block_frames * model.spec.hop_length / model.spec.sample_rate


@dataclass(frozen=True)
class _Judged:
    """Of a session: (utterance, answer) while somebody speaks; answers where nobody is in the window."""

    spoken: list[tuple[Utterance, int]]
    alone: list[int]


def _judge(model: QuantizedModel, session: Session, decisions: Sequence[Decision]) -> _Judged:
    """Sort decisions: somebody speaks in half of the newest block or more; nobody speaks in the window.

    Those between, where speech has ended or begins, are neither.
    """
    rule = require_decision_rule(model)
    step = rule.block_frames * model.spec.hop_length
    judged = _Judged([], [])
    for index, decision in enumerate(decisions):
        end = (index + 1) * step
        newest = max(session.utterances, key=lambda utterance: _overlap(utterance, end - step, end))
        if 2 * _overlap(newest, end - step, end) >= step:
            judged.spoken.append((newest, decision.answer))
        elif not any(_overlap(utterance, end - rule.blocks * step, end) for utterance in session.utterances):
            judged.alone.append(decision.answer)
    return judged


def _overlap(utterance: Utterance, start: int, end: int) -> int:
    return max(0, min(utterance.end, end) - max(utterance.start, start))


def _together(judged: Sequence[_Judged], seconds: float) -> SessionScore:
    spoken = [pair for session in judged for pair in session.spoken]
    alone = [answer for session in judged for answer in session.alone]
    return SessionScore(
        decisions=len(spoken),
        silent=sum(answer == NO_SPEECH for _, answer in spoken),
        unsure=sum(answer < 0 and answer != NO_SPEECH for _, answer in spoken),
        right=sum(answer == utterance.label for utterance, answer in spoken),
        clips=sum(len({id(utterance) for utterance, _ in session.spoken}) for session in judged),
        pause=FalseAnswers(len(alone), sum(answer >= 0 for answer in alone), len(judged), seconds),
    )


def evaluate_alone(model: QuantizedModel, progress: Progress | None = None) -> dict[str, FalseAnswers]:
    """Play a minute of digital silence, and of noise of ALONE_KINDS at each of ALONE_DB."""
    rate, seconds = model.spec.sample_rate, seconds_of_block(model)
    silence = np.zeros(round(ALONE_SECONDS * rate), np.int16)
    signals = {"digital silence": silence} | {
        f"{kind} noise at {level:g} dB": in_room_noise(silence, level, rate, 0, kind)
        for kind in ALONE_KINDS
        for level in ALONE_DB
    }
    found = {}
    played = in_threads(lambda pcm: stream_decisions(model, pcm), signals.values())
    for done, (name, decisions) in enumerate(zip(signals, played, strict=True), 1):
        answers = [decision.answer for decision in decisions]
        found[name] = FalseAnswers(len(answers), sum(answer >= 0 for answer in answers), 1, seconds)
        if progress is not None:
            progress("playing silence and noise", done, len(signals))
    return found


def evaluate_sounds(
    model: QuantizedModel, folder: Path, progress: Progress | None = None
) -> dict[str, FalseAnswers]:
    """Play each recording of a folder with a microphone's self-noise before, under and after it.

    Returns, by kind, the decisions whose newest block holds some of the sound. Raises SerqError if a
    recording cannot be read.
    """
    kinds = find_sounds(folder)
    count, done = sum(map(len, kinds.values())), 0
    found = {}
    for kind, paths in kinds.items():
        answers: list[int] = []
        played = in_threads(lambda numbered: _sound_answers(model, *numbered), enumerate(paths, done))
        for of_sound in played:
            answers += of_sound
            done += 1
            if progress is not None:
                progress("playing other sounds", done, count)
        claims = sum(answer >= 0 for answer in answers)
        found[kind] = FalseAnswers(len(answers), claims, len(paths), seconds_of_block(model))
    return found


def _sound_answers(model: QuantizedModel, seed: int, path: Path) -> list[int]:
    rate, step = model.spec.sample_rate, round(seconds_of_block(model) * model.spec.sample_rate)
    sound = read_audio(path, rate).pcm
    start, after = round(SOUND_BEFORE * rate), round(SOUND_AFTER * rate)
    heard = in_room_noise(np.pad(sound, (start, after)), SELF_NOISE_DB, rate, seed)
    blocks = range(start // step, -(-(start + sound.size) // step))
    return [decision.answer for decision in stream_decisions(model, heard)[blocks.start : blocks.stop]]


def without_speech(kinds: dict[str, FalseAnswers]) -> FalseAnswers | None:
    """Add up the kinds of sounds that are not speech; None if there are none."""
    others = [found for kind, found in kinds.items() if not kind.startswith(SPEECH)]
    if not others:
        return None
    return FalseAnswers(
        sum(found.decisions for found in others),
        sum(found.claims for found in others),
        sum(found.sounds for found in others),
        others[0].seconds,
    )
