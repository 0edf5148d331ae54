"""Conditions of hearing: what a made noise, room, speed or gain is must be what its name and numbers say;
augmented clips, voices and the cache.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.base.cache import Cache
from serq_mcu.corpus.conditions import AS_RECORDED, Condition, apply_condition, at_speed
from serq_mcu.corpus.loaders import Clip
from serq_mcu.corpus.noise import BABBLE, NOISES, ROOMS, make_noise
from serq_mcu.errors import SerqError
from serq_mcu.extraction import recordings as recordings_module
from serq_mcu.extraction.recordings import (
    AugmentedClip,
    Recordings,
    augmented_clips,
    augmented_features,
    choose_voices,
)
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from tests.support.models import SMALL_SPEC

RATE = 16000
SMALL_TABLES = build_tables(SMALL_SPEC)


def speech_like(seed: int, samples: int = RATE, level: float = 2000.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    tone = sum(np.sin(2 * np.pi * (110 + 10 * seed) * k * time) / k for k in range(1, 12))
    return np.rint(
        level * (tone * np.sin(2 * np.pi * 3 * time) ** 2 + 0.05 * rng.normal(size=samples))
    ).astype(np.int16)


def made_up_recordings(speakers: str) -> Recordings:
    clips = tuple(
        Clip(Path(f"{index}.wav"), f"clip{index}", "joy", speaker) for index, speaker in enumerate(speakers)
    )
    return Recordings(clips, RATE, tuple(speech_like(index) for index in range(len(clips))))


def rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal.astype(np.float64)))))


@pytest.mark.parametrize("snr_db", [30.0, 10.0, 0.0])
@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_the_snr_that_it_is_given(noise: str, snr_db: float) -> None:
    clip, voices = speech_like(1), [speech_like(2), speech_like(3, 9000)]
    noisy = apply_condition(
        clip, RATE, Condition(noise=noise, snr_db=snr_db), np.random.default_rng(5), voices
    )
    added = noisy.astype(np.float64) - clip
    assert 20 * np.log10(rms(clip) / rms(added)) == pytest.approx(
        snr_db, abs=0.05
    )  # the noise is rounded to 16 bits: 0.3 in 60
    again = apply_condition(
        clip, RATE, Condition(noise=noise, snr_db=snr_db), np.random.default_rng(5), voices
    )
    other = apply_condition(
        clip, RATE, Condition(noise=noise, snr_db=snr_db), np.random.default_rng(6), voices
    )
    assert (again == noisy).all()
    assert (other != noisy).any()


@pytest.mark.parametrize(("noise", "slope"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0), ("blue", 3.0)])
def test_coloured_noise_has_its_colour(noise: str, slope: float) -> None:
    power = np.abs(np.fft.rfft(make_noise(noise, 8 * RATE, RATE, np.random.default_rng(1)))) ** 2
    octave = lambda low: power[8 * low : 16 * low].mean()  # noqa: E731 (8 bins a hertz)
    found = 10 * np.log10(octave(4000) / octave(250)) / 4
    assert found == pytest.approx(
        slope, abs=0.25
    )  # the lower octave has 2000 bins: 0.1 dB of standard error, over 4 octaves


@pytest.mark.parametrize("gain_db", [-30.0, -6.0, 12.0])
def test_gain_is_exact_and_saturates(gain_db: float) -> None:
    clip = speech_like(2, level=8000)
    expected = np.clip(np.rint(clip * 10 ** (gain_db / 20)), -32768, 32767)
    assert (
        apply_condition(clip, RATE, Condition(gain_db=gain_db), np.random.default_rng(0)) == expected
    ).all()
    assert (np.abs(expected).max() >= 32767) == (gain_db > 0)


def test_as_recorded_is_as_recorded() -> None:
    clip = speech_like(3)
    assert (apply_condition(clip, RATE, AS_RECORDED, np.random.default_rng(0)) == clip).all()
    assert str(AS_RECORDED) == "as recorded"
    assert (
        str(Condition(1.1, "diffuse", 0.4, "hum", 12.5, -6.0))
        == "speed 1.1, diffuse room, 0.4 s, hum at 12.5 dB, gain -6 dB"
    )


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_a_speed_shifts_pitch_and_length(speed: float) -> None:
    time = np.arange(RATE) / RATE
    played = at_speed(np.rint(8000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16), speed)
    assert played.size == pytest.approx(RATE / speed, abs=2)
    peak = np.argmax(np.abs(np.fft.rfft(played * np.hanning(played.size)))) * RATE / played.size
    assert peak == pytest.approx(1000 * speed, abs=RATE / played.size)  # a bin of the transform
    assert (played == at_speed(np.rint(8000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16), speed)).all()


@pytest.mark.parametrize("seconds", [0.2, 0.6])
@pytest.mark.parametrize("room", ROOMS)
def test_a_room_decays_in_its_time(room: str, seconds: float) -> None:
    slopes = []
    for seed in range(5):
        response = ROOMS[room](seconds, RATE, np.random.default_rng(seed))
        left = np.cumsum(response[::-1] ** 2)[::-1]  # Schroeder's backward integral
        decay = 10 * np.log10(left / left[0])
        start, end = np.argmax(decay < decay[1] - 5), np.argmax(decay < decay[1] - 25)
        slopes.append(20 / ((end - start) / RATE))
    # Eyring's formula is for a diffuse field; in a box with a low ceiling, sound that travels level decays
    # more slowly
    assert 60 / np.mean(slopes) == pytest.approx(seconds, rel=0.1 if room == "diffuse" else 0.35)


def test_a_room_keeps_length_loudness_and_silence() -> None:
    clip = speech_like(4)
    wet = apply_condition(clip, RATE, Condition(room="shoebox", reverberation=0.3), np.random.default_rng(1))
    assert wet.size == clip.size
    assert rms(wet) == pytest.approx(rms(clip), rel=0.001)
    assert not apply_condition(
        np.zeros(RATE, np.int16), RATE, Condition(room="diffuse", reverberation=0.3), np.random.default_rng(1)
    ).any()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"speed": 3}, "speed 3 must be"),
        ({"noise": "rain"}, "noise 'rain' is not one of white"),
        ({"room": "hall", "reverberation": 1}, "room 'hall'"),
        ({"room": "diffuse"}, "reverberation 0"),
        ({"noise": "white", "snr_db": 100}, "SNR of 100 dB"),
        ({"gain_db": float("nan")}, "gain of nan dB"),
    ],
)
def test_conditions_that_there_are_not(values: dict[str, object], words: str) -> None:
    with pytest.raises(SerqError, match=words):
        Condition(**values)  # type: ignore[arg-type]


def test_babble_is_of_other_speakers_among_those_allowed() -> None:
    recordings = made_up_recordings("aaabbbccc")
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert set(choose_voices(recordings, 0, [0, 1, 4, 5, 8], rng)) <= {4, 5, 8}
    assert set(choose_voices(recordings, 0, [0, 1, 2], rng)) <= {
        1,
        2,
    }  # nobody else there: at least not the clip itself
    with pytest.raises(SerqError, match="no other clip to make babble of for clip0"):
        choose_voices(recordings, 0, [0], rng)
    with pytest.raises(SerqError, match="babble needs"):
        make_noise(BABBLE, 100, RATE, rng)


# Augmented clips and their cache


def test_the_features_of_augmented_clips_are_those_of_their_audio() -> None:
    recordings = made_up_recordings("abc")
    augmented = [
        AugmentedClip(1),
        *augmented_clips(recordings, [0, 2], [0, 1, 2], Condition(noise=BABBLE, snr_db=5.0), seed=3),
    ]
    pooled = augmented_features(SMALL_SPEC, SMALL_TABLES, recordings, augmented)
    for item, row in zip(augmented, pooled, strict=True):
        voices = [recordings.audio[voice] for voice in item.voices]
        pcm = apply_condition(
            recordings.audio[item.clip], RATE, item.condition, np.random.default_rng(item.seed), voices
        )
        assert (row == features(SMALL_SPEC, SMALL_TABLES, pcm)).all()
    assert augmented == [
        AugmentedClip(1),
        *augmented_clips(recordings, [0, 2], [0, 1, 2], Condition(noise=BABBLE, snr_db=5.0), seed=3),
    ]
    assert (
        augmented[1].seed
        != augmented_clips(recordings, [0], [1, 2], Condition(noise=BABBLE, snr_db=5.0), seed=4)[0].seed
    )


def test_the_cache_spares_the_work_and_knows_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []

    def counted(pcm: np.ndarray, *rest: object) -> np.ndarray:
        computed.append(pcm.size)
        return apply_condition(pcm, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(recordings_module, "apply_condition", counted)
    cache, recordings = Cache(tmp_path / "deep" / "cache"), made_up_recordings("abcd")
    augmented = [AugmentedClip(clip, Condition(noise="pink", snr_db=10.0), seed=clip) for clip in range(4)]

    def work(spec: FeatureSpec, recordings: Recordings, augmented: list[AugmentedClip]) -> int:
        before = len(computed)
        pooled = augmented_features(spec, build_tables(spec), recordings, augmented, cache=cache)
        assert (pooled == augmented_features(spec, build_tables(spec), recordings, augmented)).all()
        return len(computed) - before - len(augmented)

    assert work(SMALL_SPEC, recordings, augmented) == 4
    assert work(SMALL_SPEC, recordings, augmented) == 0
    assert work(SMALL_SPEC, recordings, [*augmented, AugmentedClip(0)]) == 1
    assert work(SMALL_SPEC, recordings, [replace(augmented[0], seed=9), *augmented[1:]]) == 1
    assert (
        work(
            SMALL_SPEC,
            recordings,
            [replace(augmented[0], condition=Condition(noise="pink", snr_db=11.0)), *augmented[1:]],
        )
        == 1
    )
    audible = replace(recordings, audio=(recordings.audio[0] + np.int16(1), *recordings.audio[1:]))
    assert work(SMALL_SPEC, audible, augmented) == 1
    assert work(replace(SMALL_SPEC, blocks=(Mfcc(7, loudness=False),)), recordings, augmented) == 4
    monkeypatch.setattr(recordings_module, "FEATURE_CODE", (tmp_path / "other.py",))
    (tmp_path / "other.py").write_text("another = 1")
    assert work(SMALL_SPEC, recordings, augmented) == 4


def test_a_cache_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cache.sqlite").mkdir()
    (tmp_path / "file").write_text("")
    recordings = made_up_recordings("ab")
    for path in (tmp_path / "broken", tmp_path / "file" / "cache"):
        clips = [AugmentedClip(0), AugmentedClip(1)]
        pooled = augmented_features(SMALL_SPEC, SMALL_TABLES, recordings, clips, cache=Cache(path))
        assert (pooled[1] == features(SMALL_SPEC, SMALL_TABLES, recordings.audio[1])).all()


def test_a_clip_that_is_too_short_is_named_with_its_condition() -> None:
    recordings = made_up_recordings("ab")
    short = replace(
        recordings, audio=(recordings.audio[0], recordings.audio[1][: SMALL_SPEC.min_samples + 10])
    )
    with pytest.raises(SerqError, match=r"1\.wav \(speed 1\.5\): the clip has \d+ samples"):
        augmented_features(
            SMALL_SPEC, SMALL_TABLES, short, [AugmentedClip(0), AugmentedClip(1, Condition(speed=1.5))]
        )
