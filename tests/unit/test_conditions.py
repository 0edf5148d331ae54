"""Conditions of hearing: what a made noise, room, speed or gain is must be what its name and numbers say;
augmented clips, voices and the cache.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serq_mcu.base.cache import Cache
from serq_mcu.corpus import conditions as conditions_module
from serq_mcu.corpus.bands import in_band, mu_law
from serq_mcu.corpus.conditions import AS_RECORDED, FLOORS, Condition, apply_condition, at_speed
from serq_mcu.corpus.loaders import Clip
from serq_mcu.corpus.noise import BABBLE, NOISES, ROOMS, make_noise
from serq_mcu.errors import SerqError
from serq_mcu.extraction import recordings as recordings_module
from serq_mcu.extraction.recordings import (
    FEATURE_CODE,
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
    assert (
        str(Condition(before=0.25, after=0.25, floor="pink", floor_db=-60.0, band="telephone"))
        == "0.25 s of pause before and after, pink floor at -60 dB, telephone band"
    )
    assert (
        str(Condition(before=0.1, after=0.2, within=0.3, offset=-0.01))
        == "0.1 s of pause before, 0.2 s of pause after, 0.3 s of pause within, offset -0.01"
    )
    assert str(Condition(blocks=3, block_seconds=0.992)) == "window of 3 x 0.992 s"


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
        ({"noise": "rain"}, "unknown noise 'rain'; "),
        ({"room": "hall", "reverberation": 1}, "room 'hall'"),
        ({"room": "diffuse"}, "reverberation 0"),
        ({"noise": "white", "snr_db": 100}, "SNR of 100 dB"),
        ({"gain_db": float("nan")}, "gain of nan dB"),
        ({"before": -0.1}, "pause of -0.1 s must be 0 to 60 s"),
        ({"within": float("inf")}, "pause of inf s"),
        ({"floor": BABBLE}, "unknown floor 'babble'; .* one of white"),
        ({"floor": "white", "floor_db": 3.0}, "floor at 3 dB"),
        ({"offset": 0.6}, "offset of 0.6"),
        ({"band": "4k"}, "unknown band '4k'; .* one of 8k, 11k, mu-law, telephone"),
        ({"blocks": -1}, "window of -1 blocks"),
        ({"blocks": 2}, "block of 0 s"),
        ({"blocks": 2, "block_seconds": 1.0, "after": 0.5}, "give it no pauses there"),
    ],
)
def test_conditions_that_there_are_not(values: dict[str, object], words: str) -> None:
    with pytest.raises(SerqError, match=words):
        Condition(**values)  # type: ignore[arg-type]


# Pauses, floors, offsets, bands, windows of streams


def two_words(gap: float, seed: int = 1, hiss_level: float = 16.0) -> np.ndarray:
    """Two loud quarters of a second, with a gap between them that lies 50 dB lower."""
    word = np.random.default_rng(seed).normal(scale=5000, size=(2, RATE // 4))
    hiss = np.random.default_rng(seed + 1).normal(scale=hiss_level, size=round(gap * RATE))
    return np.rint(np.concatenate([word[0], hiss, word[1]])).astype(np.int16)


def applied(pcm: np.ndarray, seed: int = 0, **values: object) -> np.ndarray:
    return apply_condition(pcm, RATE, Condition(**values), np.random.default_rng(seed))  # type: ignore[arg-type]


def test_pauses_before_and_after_are_digital_zeros_around_the_same_samples() -> None:
    clip = speech_like(1)
    heard = applied(clip, before=0.25, after=0.5)
    assert heard.size == clip.size + 0.75 * RATE
    assert not heard[: RATE // 4].any() and not heard[RATE // 4 + clip.size :].any()
    assert (heard[RATE // 4 : RATE // 4 + clip.size] == clip).all()


def test_a_pause_within_lies_between_words_and_cuts_none() -> None:
    clip = two_words(0.2)
    heard = applied(clip, within=0.3)
    word = RATE // 4
    assert heard.size == clip.size + 0.3 * RATE
    assert (heard[:word] == clip[:word]).all() and (heard[-word:] == clip[-word:]).all()
    silent = np.flatnonzero(heard == 0)
    assert np.isin(np.arange(word + 0.1 * RATE, word + 0.4 * RATE), silent).all()  # from the gap's middle


def test_what_is_left_in_a_gap_fades_into_the_pause_and_out_of_it() -> None:
    heard = applied(two_words(0.2, hiss_level=300.0), within=0.3)
    start, end = RATE // 4 + RATE // 10, RATE // 4 + RATE // 10 + 3 * RATE // 10
    for edge in (heard[start - 8 : start], heard[end : end + 8]):
        assert 0 < rms(edge) < 60  # a tenth of the way into a fade of 80 samples: 30 at most, of 300
    for inside in (heard[start - 240 : start - 80], heard[end + 80 : end + 240]):
        assert 250 < rms(inside) < 350


@pytest.mark.parametrize("gap", [0.0, 0.07])
def test_where_nobody_could_pause_there_is_no_pause_within(gap: float) -> None:
    """A gap of 70 ms is a stop's closure, not one between words."""
    assert (applied(two_words(gap), within=0.3) == two_words(gap)).all()


def test_which_gap_is_chosen_follows_the_generator() -> None:
    clip = np.concatenate([two_words(0.2), two_words(0.2, 9)[RATE // 4 :]])
    starts = {
        int(np.argmax(applied(clip, seed, within=1.0) != np.pad(clip, (0, RATE)))) for seed in range(20)
    }
    assert len({start // 1000 for start in starts}) == 2


@pytest.mark.parametrize("floor", [kind for kind in FLOORS if kind != "clatter"])
def test_a_floor_has_its_level_under_all(floor: str) -> None:
    """Clatter has its level over the whole clip only; the others in every part of it (brown and pink noise
    and sirens swing slowly: 1 dB in 2 s).
    """
    clip = speech_like(1)
    heard = applied(clip, before=2.0, after=2.0, floor=floor, floor_db=-40.0).astype(np.float64)
    heard[2 * RATE : 2 * RATE + clip.size] -= clip
    for part in (heard[: 2 * RATE], heard[2 * RATE : -2 * RATE], heard[-2 * RATE :]):
        assert 20 * np.log10(rms(part) / 32768) == pytest.approx(-40, abs=1.5 if floor == "brown" else 1)


def test_the_gain_raises_the_floor_and_the_offset_is_of_the_converter() -> None:
    silence = np.zeros(RATE, np.int16)
    loud = applied(silence, floor="white", floor_db=-50.0, gain_db=12.0, offset=0.01).astype(np.float64)
    assert loud.mean() == pytest.approx(327.68, abs=15)  # 4 standard errors of noise of 412
    assert 20 * np.log10(loud.std() / 32768) == pytest.approx(-38, abs=0.1)


def test_pauses_do_not_change_what_a_signal_to_noise_ratio_is() -> None:
    clip = speech_like(1)
    heard = applied(clip, before=1.0, after=3.0, noise="white", snr_db=20.0)
    for pause in (heard[:RATE], heard[-3 * RATE :]):
        assert 20 * np.log10(rms(clip) / rms(pause)) == pytest.approx(20, abs=0.15)  # 16000 samples: 0.05


def test_a_room_answers_into_the_pause() -> None:
    burst = np.zeros(RATE, np.int16)
    burst[-800:] = 8000
    heard = applied(burst, room="diffuse", reverberation=0.5, after=0.5)
    assert rms(heard[RATE : RATE + 1600]) > 0.03 * rms(burst[-800:])


def tone(hertz: float, level: float = 8000.0) -> np.ndarray:
    return np.rint(level * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype(np.int16)


@pytest.mark.parametrize(
    ("band", "hertz", "through"),
    [
        ("8k", 100, True),
        ("8k", 3500, True),
        ("8k", 4500, False),
        ("11k", 4500, True),
        ("11k", 6000, False),
        ("telephone", 100, False),
        ("telephone", 400, True),
        ("telephone", 3300, True),
        ("telephone", 3600, False),
    ],
)
def test_a_band_lets_through_what_its_name_says(band: str, hertz: float, through: bool) -> None:
    heard = applied(tone(hertz), band=band)[2000:-2000]
    level = 20 * np.log10(max(rms(heard), 1e-3) / rms(tone(hertz)))
    assert heard.size == RATE - 4000
    # mu-law's own noise is 38 dB below the tone
    assert level == pytest.approx(0, abs=0.2) if through else level < (-50 if band == "telephone" else -70)


def test_a_telephones_noise_is_that_of_eight_bits() -> None:
    """Sixteen steps an octave leave a tone some 38 dB, whatever its level is; G.712 asks for 33."""
    for level in (2000.0, 7000.0, 30000.0):
        coded = mu_law(tone(987, level)).astype(np.float64)
        assert 36 < 20 * np.log10(rms(tone(987, level)) / rms(coded - tone(987, level))) < 42


def test_mu_law_is_libsndfiles_for_every_sample() -> None:
    every, file = np.arange(-32768, 32768).astype(np.int16), io.BytesIO()
    soundfile.write(file, every, 8000, format="WAV", subtype="ULAW")
    file.seek(0)
    assert (mu_law(every) == soundfile.read(file, dtype="int16")[0]).all()


def test_the_converter_saturates_before_a_band_and_a_telephone_takes_its_offset_away() -> None:
    loud = speech_like(2, level=9000)
    assert (applied(loud, gain_db=18.0, band="8k") == in_band(applied(loud, gain_db=18.0), RATE, "8k")).all()
    assert abs(applied(tone(1000), offset=0.1).mean()) == pytest.approx(3277, abs=1)
    assert abs(applied(tone(1000), offset=0.1, band="telephone")[500:-500].mean()) < 20


def test_what_is_no_wider_than_a_band_stays() -> None:
    assert (in_band(speech_like(1), 8000, "8k") == speech_like(1)).all()
    assert in_band(speech_like(1, 9001), RATE, "11k").size == 9001


@pytest.mark.parametrize(("blocks", "seconds"), [(1, 0.5), (2, 1.0), (4, 1.0)])
def test_a_window_of_a_stream_begins_with_a_loud_block_and_holds_enough_of_the_clip(
    blocks: int, seconds: float
) -> None:
    clip = two_words(1.0)  # 1.5 s, of which the outer quarters are loud
    block = round(seconds * RATE)
    padded = np.pad(clip, 4 * RATE)
    starts = set()
    for seed in range(60):
        heard = applied(clip, seed, blocks=blocks, block_seconds=seconds)
        assert heard.size == blocks * block
        loud = np.abs(heard) > 500
        assert loud[:block].any()
        most = 0.4 if blocks * seconds >= 1.5 else 0.25  # no shorter window reaches both words
        assert loud.sum() >= 0.85 * most * RATE  # 92 % of such samples are beyond 500
        (place,) = np.flatnonzero(
            [(padded[at : at + heard.size] == heard).all() for at in range(0, padded.size - heard.size, 160)]
        )
        starts.add(int(place))
    assert len(starts) > 20


def test_a_window_of_silence_is_silence() -> None:
    assert not applied(np.zeros(RATE, np.int16), blocks=3, block_seconds=0.5).any()


def test_the_same_generator_gives_the_same_surroundings() -> None:
    clip, values = two_words(0.3), {"within": 0.2, "floor": "pink", "floor_db": -50.0, "band": "telephone"}
    values |= {"blocks": 2, "block_seconds": 0.5}
    assert (applied(clip, 3, **values) == applied(clip, 3, **values)).all()
    assert (applied(clip, 3, **values) != applied(clip, 4, **values)).any()


def test_the_cache_knows_all_the_code_that_conditions_are_made_by() -> None:
    names = {name for name in FEATURE_CODE if isinstance(name, str)}
    source = Path(conditions_module.__file__).read_text()
    used = set(re.findall(r"^from (serq_mcu\.corpus\.\w+) import", source, re.MULTILINE))
    assert "serq_mcu.corpus.bands" in used <= names


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
