"""Sessions: where somebody speaks and where nobody does, what counts as a false answer, other sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serq_mcu.corpus.loaders import Clip
from serq_mcu.corpus.sounds import find_sounds
from serq_mcu.errors import SerqError
from serq_mcu.evaluation import sessions as module
from serq_mcu.evaluation.sessions import (
    FalseAnswers,
    Session,
    SessionPlan,
    evaluate_alone,
    evaluate_sessions,
    evaluate_sounds,
    in_room_noise,
    make_sessions,
    without_speech,
)
from serq_mcu.quantized_model.streaming import Decision
from serq_mcu.quantized_model.types import NO_SPEECH, NOT_SURE
from tests.support.models import made_up_model

RATE = 16000
LABELS = ("calm", "loud")
MODEL = made_up_model((8, 2), (2, 4), labels=LABELS)  # 3 blocks of 512 samples, 32 ms
STEP, SECONDS = 512, 512 / RATE


def voices(speakers: str) -> tuple[list[Clip], list[np.ndarray]]:
    """A clip for each letter, half a second of noise between a tenth of a second of silence."""
    clips = [
        Clip(Path(f"{index}.wav"), str(index), LABELS[index % 2], speaker)
        for index, speaker in enumerate(speakers)
    ]
    noise = [np.random.default_rng(index).normal(scale=3000, size=RATE // 2) for index in range(len(clips))]
    return clips, [np.pad(np.rint(pcm).astype(np.int16), RATE // 10) for pcm in noise]


def sessions_of(speakers: str, plan: SessionPlan) -> tuple[list[Session], list[np.ndarray]]:
    clips, recordings = voices(speakers)
    truth = [LABELS.index(clip.label) for clip in clips]
    return make_sessions(clips, recordings, truth, RATE, plan), recordings


def test_a_session_is_a_speakers_clips_with_pauses_of_drawn_length() -> None:
    plan = SessionPlan((0.2, 0.6), (-60.0,))
    made, recordings = sessions_of("aaabb", plan)
    assert [len(session.utterances) for session in made] == [3, 2]
    pauses, played = [], []
    for session, own in zip(made, (range(3), range(3, 5)), strict=True):
        place = 0
        for utterance in session.utterances:
            start = utterance.start - RATE // 10
            (which,) = (
                index
                for index in own
                if (session.pcm[start : start + recordings[index].size] == recordings[index]).all()
            )
            assert utterance.label == which % 2
            assert utterance.end - utterance.start == RATE // 2
            assert not session.pcm[place:start].any()
            pauses.append((start - place) / RATE)
            played.append(which)
            place = start + recordings[which].size
        pauses.append((session.pcm.size - place) / RATE)
        assert not session.pcm[place:].any()
    assert sorted(played) == [0, 1, 2, 3, 4]
    assert all(0.2 <= pause <= 0.6 for pause in pauses) and len(set(pauses)) == len(pauses) == 7
    again, _ = sessions_of("aaabb", plan)
    assert all((one.pcm == other.pcm).all() for one, other in zip(made, again, strict=True))
    orders = {
        tuple(u.label for u in sessions_of("aaaaaa", SessionPlan((0.2, 0.6), seed=seed))[0][0].utterances)
        for seed in range(6)
    }
    assert len(orders) > 1


def test_where_no_speaker_is_known_all_clips_are_one_session() -> None:
    clips, recordings = voices("aaa")
    unknown = [Clip(clip.path, clip.name, clip.label, "") for clip in clips]
    (session,) = make_sessions(unknown, recordings, [0, 1, 0], RATE, SessionPlan())
    assert len(session.utterances) == 3


def decided(answers: Sequence[int]) -> list[Decision]:
    return [Decision(answer, (0, 0), 0, 0, 4) for answer in answers]


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the model: blocks above -50 dB are class 0, others no speech."""

    def listen(_: object, pcm: np.ndarray) -> list[Decision]:
        blocks = pcm[: pcm.size // STEP * STEP].reshape(-1, STEP) / 32768
        loud = np.sqrt(np.square(blocks).mean(axis=1)) > 10 ** (-50 / 20)
        return decided([0 if is_loud else NO_SPEECH for is_loud in loud])

    monkeypatch.setattr(module, "stream_decisions", listen)


def listener(session: Session, answer: Callable[[int, int], int]) -> Callable[..., list[Decision]]:
    """In place of a model: `answer` of the class and the samples that somebody speaks in a block; class -1
    where nobody does.
    """

    def listen(_: object, pcm: np.ndarray) -> list[Decision]:
        answers = []
        for start in range(0, pcm.size - STEP + 1, STEP):
            held = [
                (max(0, min(u.end, start + STEP) - max(u.start, start)), u.label) for u in session.utterances
            ]
            samples, label = max(held)
            answers.append(answer(label if samples else -1, samples))
        return decided(answers)

    return listen


def test_decisions_are_counted_while_somebody_speaks_and_where_nobody_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = SessionPlan((0.3, 0.6), (-60.0,))
    (session,), _ = sessions_of("aaaa", plan)

    def score(answer: Callable[[int, int], int]) -> module.SessionScore:
        monkeypatch.setattr(module, "stream_decisions", listener(session, answer))
        return evaluate_sessions(MODEL, [session], plan)[-60.0]

    perfect = score(lambda label, samples: label if 2 * samples >= STEP else NO_SPEECH)
    assert perfect.clips == 4
    assert 4 * 15 <= perfect.decisions <= 4 * 16  # half a second: 15.6 blocks
    assert (perfect.right, perfect.silent, perfect.unsure) == (perfect.decisions, 0, 0)
    assert perfect.share_right == perfect.accuracy == 1
    assert perfect.pause.decisions > 20 and perfect.pause.claims == 0
    # two more blocks of each window have speech after a clip, one where it began in the middle of a block
    blocks = session.pcm.size // STEP
    assert 4 * 2 <= blocks - perfect.decisions - perfect.pause.decisions <= 4 * 4
    always = score(lambda label, samples: 0)
    calm = sum(u.label == 0 for u in session.utterances)
    assert always.share_right == pytest.approx(calm / 4, abs=0.04)
    assert always.pause.claims == always.pause.decisions == perfect.pause.decisions
    assert always.pause.share == 1 and always.pause.per_hour == pytest.approx(3600 / SECONDS)
    unsure = score(lambda label, samples: NOT_SURE if label == 1 else label)
    assert unsure.right == always.right and unsure.unsure == unsure.decisions - unsure.right
    assert unsure.accuracy == 1 and unsure.pause.claims == 0
    deaf = score(lambda label, samples: NO_SPEECH)
    assert deaf.silent == deaf.decisions and deaf.share_right == deaf.accuracy == 0


@pytest.mark.usefixtures("gated")
def test_sessions_are_judged_under_each_room_noise() -> None:
    plan = SessionPlan((0.3, 0.6), (-87.0, -30.0))
    made, _ = sessions_of("aabb", plan)
    found = evaluate_sessions(MODEL, made, plan)
    assert list(found) == [-87.0, -30.0]
    quiet, loud = found.values()
    assert quiet.clips == loud.clips == 4 and quiet.decisions == loud.decisions > 0
    assert quiet.silent == 0 and quiet.pause.claims == 0
    assert loud.pause.claims == loud.pause.decisions == quiet.pause.decisions > 0


def test_room_noise_has_its_level_under_all() -> None:
    heard = in_room_noise(np.full(RATE, 100, np.int16), -40.0, RATE, 0)
    assert heard.mean() == pytest.approx(100, abs=11)  # 4 standard errors
    assert 20 * np.log10(heard.std() / 32768) == pytest.approx(-40, abs=0.01)


@pytest.mark.usefixtures("gated")
def test_every_answer_to_silence_and_noise_is_a_false_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE_SECONDS", 2.0)
    found = evaluate_alone(MODEL)
    assert found["digital silence"].claims == 0
    for level in module.ALONE_DB:
        white = found[f"white noise at {level:g} dB"]
        assert white.decisions == 62
        assert level == -50 or white.claims == (62 if level > -50 else 0)
        assert white.per_hour == pytest.approx(white.share * 3600 / SECONDS)


def write_sound(path: Path, seconds: float, level: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).normal(size=round(seconds * RATE))
    soundfile.write(path, level * noise.clip(-3, 3), RATE, subtype="PCM_16")


@pytest.mark.usefixtures("gated")
def test_other_sounds_are_judged_while_they_sound(tmp_path: Path) -> None:
    write_sound(tmp_path / "rain" / "one.wav", 0.5)
    write_sound(tmp_path / "rain" / "faint.flac", 0.5, 1e-5)
    write_sound(tmp_path / "speech" / "word.wav", 0.25)
    write_sound(tmp_path / "listed.wav", 0.25)
    write_sound(tmp_path / "bare.wav", 0.25)
    (tmp_path / "MANIFEST.csv").write_text("file,kind\nlisted.wav,music\n")
    found = evaluate_sounds(MODEL, tmp_path)
    assert {kind: one.sounds for kind, one in found.items()} == {
        "music": 1,
        "rain": 2,
        "sounds": 1,
        "speech": 1,
    }
    # a second before a sound is 31.25 blocks, and a second and a half 46.9
    assert found["rain"].decisions == 2 * 16
    assert found["rain"].claims == 16  # the faint one is below the gate
    assert found["music"].decisions == 9
    total = without_speech(found)
    assert total is not None
    assert total.sounds == 4 and total.decisions == 2 * 16 + 2 * 9
    assert total.claims == sum(one.claims for kind, one in found.items() if kind != "speech")
    assert without_speech({"speech:read": found["speech"]}) is None


def test_an_interval_of_false_answers_counts_sounds() -> None:
    low, high = FalseAnswers(400, 100, 10, 1.0).interval
    assert low < 0.1 and high > 0.5
    assert FalseAnswers(0, 0, 0, 1.0).share == 0


def test_folders_of_sounds_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="is not a folder"):
        find_sounds(tmp_path / "none")
    with pytest.raises(SerqError, match=r"holds no recording"):
        find_sounds(tmp_path)
    write_sound(tmp_path / "one.wav", 0.25)
    (tmp_path / "MANIFEST.csv").write_bytes(b"file,kind\n\xff,x\n")
    with pytest.raises(SerqError, match="save it as CSV in UTF-8"):
        find_sounds(tmp_path)
    (tmp_path / "MANIFEST.csv").write_text("name,kind\none.wav,x\n")
    with pytest.raises(SerqError, match="it needs the columns file and kind"):
        find_sounds(tmp_path)
    (tmp_path / "MANIFEST.csv").write_text("file,sha256\none.wav,0\n")  # says nothing of kinds
    assert list(find_sounds(tmp_path)) == ["sounds"]
    (tmp_path / "two.wav").write_text("no audio")
    with pytest.raises(SerqError, match=r"two\.wav is text and not a recording"):
        evaluate_sounds(MODEL, tmp_path)


@pytest.mark.parametrize("pauses", [(-1.0, 1.0), (2.0, 1.0), (0.0, 99.0), (0.0, float("nan"))])
def test_pauses_that_there_are_not(pauses: tuple[float, float]) -> None:
    with pytest.raises(SerqError, match="must be a range within 0 to 60 s"):
        SessionPlan(pauses)
    with pytest.raises(SerqError, match="room noise at 10 dB must be -120 to 0 dB"):
        SessionPlan(floors_db=(10.0,))
