"""Corpora: naming, decoding, the check, synthetic speech.

Recordings here are made up on the spot, except where a fixture says so.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import sys
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serq_mcu.corpus import check, synthetic
from serq_mcu.corpus.audio import Audio, read_audio
from serq_mcu.corpus.bands import in_band
from serq_mcu.corpus.check import CorpusReport, check_corpus, published_checksums
from serq_mcu.corpus.loaders import RULES, load_corpus
from serq_mcu.corpus.synthetic import synthesise
from serq_mcu.errors import SerqError
from serq_mcu.show.corpus import corpus_lines

RATE = 16000


def noise(seed: int, samples: int = 2000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype(np.int16)


def write(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **options: str) -> Path:
    """A recording at `path`; by default two thousand samples that depend on the path's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = noise(int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4], "big"))
    options.setdefault("format", "FLAC" if path.suffix == ".flac" else "WAV")
    soundfile.write(path, samples, rate, **options)
    return path


def plain(folder: Path, *names: str) -> Path:
    for name in names or ("angry/a.wav", "angry/b.wav", "calm/a.wav", "calm/b.wav"):
        write(folder / name)
    return folder


def kinds(report: CorpusReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in report.problems:
        found.setdefault(problem.kind, []).append(problem.file)
    return found


# --- naming
# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("corpus", "path", "name", "label", "speaker"),
    [
        ("emodb", "03a01Fa.wav", "03a01Fa", "happiness", "03"),
        ("emodb", "wav/16b10Wb.flac", "16b10Wb", "anger", "16"),
        ("emodb", "11a05Lc.wav", "11a05Lc", "boredom", "11"),
        ("emodb", "08b01Ea.wav", "08b01Ea", "disgust", "08"),
        ("emodb", "09a04Ad.WAV", "09a04Ad", "fear", "09"),
        ("emodb", "10a04Td.wav", "10a04Td", "sadness", "10"),
        ("emodb", "12b02Nb.wav", "12b02Nb", "neutral", "12"),
        ("savee", "DC_a01.wav", "DC_a01", "anger", "DC"),
        ("savee", "AudioData/JE/sa15.wav", "JE_sa15", "sadness", "JE"),
        ("savee", "JK/su03.wav", "JK_su03", "surprise", "JK"),
        ("savee", "ALL/KL_n30.wav", "KL_n30", "neutral", "KL"),
        ("tess", "OAF_back_angry.wav", "OAF_back_angry", "anger", "OAF"),
        ("tess", "YAF_pleasant_surprised/YAF_voice_ps.wav", "YAF_voice_ps", "surprise", "YAF"),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "OA_bite_neutral", "neutral", "OAF"),
        ("ravdess", "Actor_12/03-01-05-01-02-01-12.wav", "03-01-05-01-02-01-12", "anger", "12"),
        ("ravdess", "Actor_01/03-01-02-02-01-02-01.wav", "03-01-02-02-01-02-01", "calm", "01"),
        ("ravdess", "03-01-08-01-01-01-24.wav", "03-01-08-01-01-01-24", "surprise", "24"),
        ("crema-d", "AudioWAV/1001_DFA_ANG_XX.wav", "1001_DFA_ANG_XX", "anger", "1001"),
        ("crema-d", "1091_IEO_HAP_HI.wav", "1091_IEO_HAP_HI", "happiness", "1091"),
        ("crema-d", "1040_ITH_SAD_X.wav", "1040_ITH_SAD_X", "sadness", "1040"),
        (
            "tess",
            "OAF_Sad/OAF_king_happy.wav",
            "OAF_king_happy",
            "happiness",
            "OAF",
        ),  # the file name counts, not the folder
    ],
)
def test_published_names(tmp_path: Path, corpus: str, path: str, name: str, label: str, speaker: str) -> None:
    other = {"emodb": "03a01Wa.wav", "savee": "DC_d01.wav", "tess": "OAF_a_disgust.wav"}.get(corpus)
    other = other or {"ravdess": "03-01-01-01-01-01-03.wav", "crema-d": "1002_IEO_NEU_XX.wav"}[corpus]
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()  # loading reads no audio
    (tmp_path / other).touch()
    if label == "anger" and corpus == "emodb":
        (tmp_path / "03a01Na.wav").touch()
    loaded = load_corpus(tmp_path)
    assert loaded.name == corpus
    assert [(clip.path, clip.label, clip.speaker) for clip in loaded.clips if clip.name == name] == [
        (tmp_path / path, label, speaker)
    ]


def test_every_rule_has_a_label_for_every_emotion_it_matches() -> None:
    for rule in RULES:
        for emotion in rule.labels:
            examples = [
                f"03a01{emotion}a",
                f"DC_{emotion}01",
                f"OAF_back_{emotion}",
                f"03-01-{emotion}-01-01-01-01",
                f"1001_DFA_{emotion}_XX",
                f"EB0_{emotion}_10",
            ]
            assert any(rule.clip(Path(f"{stem}.wav")) for stem in examples), (rule.corpus, emotion)


NEAR_MISSES = [
    "03-02-05-01-02-01-12",
    "03-01-09-01-02-01-12",
    "03-01-05-01-02-01-25",
    "1001_DFA_CAL_XX",
    "1001_DFA_ANG_ZZ",
    "101_DFA_ANG_XX",
]


@pytest.mark.parametrize(
    "stem",
    [
        "03a01Xa",
        "3a01Fa",
        "03c01Fa",
        "DC_x01",
        "XX_a01",
        "OAF_back_sadness",
        "QAF_back_sad",
        "OAF_back_ps_2",
        *NEAR_MISSES,
    ],
)
def test_near_misses_are_no_published_names(stem: str) -> None:
    assert not any(rule.clip(Path("folder", f"{stem}.wav")) for rule in RULES)


def test_ravdess_and_crema_d_by_speaker_emotion_and_intensity(tmp_path: Path) -> None:
    """Synthetic twins, named as published: every actor, emotion and intensity once; one pair is the same
    recording.
    """
    ravdess, cremad = tmp_path / "ravdess", tmp_path / "crema-d"
    for actor in (1, 2, 24):
        for emotion in range(1, 9):
            for intensity in (1,) if emotion == 1 else (1, 2):  # neutral has no strong intensity
                write(
                    ravdess / f"Actor_{actor:02}" / f"03-01-{emotion:02}-{intensity:02}-01-01-{actor:02}.wav",
                    rate=48000,
                    samples=noise(actor * 99 + emotion * 9 + intensity, 9000),
                )
    write(
        ravdess / "Actor_01" / "03-01-01-01-01-01-01.wav", np.stack([noise(7, 9000)] * 2, axis=1), rate=48000
    )  # some files are stereo
    twin = ravdess / "Actor_24" / "03-01-08-01-01-01-24.wav"
    twin.write_bytes((ravdess / "Actor_24" / "03-01-08-02-01-01-24.wav").read_bytes())
    report = check_corpus(ravdess)
    assert (report.corpus, report.clips, set(report.counts["anger"])) == ("ravdess", 45, {"01", "02", "24"})
    assert report.intensities == {"high": 21, "normal": 24}
    found = kinds(report)
    assert len(found.pop("missing")) == 1440 - 45
    assert found == {"duplicate": ["03-01-08-02-01-01-24"]}
    assert report.conversions["stereo mixed to mono"] == 1
    for actor, line, label, level in [
        (1001, "IEO", "ANG", "LO"),
        (1001, "DFA", "NEU", "XX"),
        (1091, "IEO", "SAD", "MD"),
        (1040, "ITH", "SAD", "X"),
    ]:
        write(cremad / f"{actor}_{line}_{label}_{level}.wav")
    write(cremad / "1006_TIE_HAP_XX.wav")
    write(cremad / "1076_MTI_SAD_XX.wav", np.zeros(4000, dtype=np.int16))
    report = check_corpus(cremad)
    assert (report.corpus, report.clips, sorted(report.counts)) == (
        "crema-d",
        6,
        ["anger", "happiness", "neutral", "sadness"],
    )
    assert report.intensities == {"low": 1, "medium": 1}
    found = kinds(report)
    assert len(found.pop("missing")) == 7442 - 6
    assert found == {"silent": ["1076_MTI_SAD_XX"], "known fault": ["1006_TIE_HAP_XX", "1076_MTI_SAD_XX"]}
    assert any("intensity" in line for line in corpus_lines(report))


def test_a_plain_folder(tmp_path: Path) -> None:
    loaded = load_corpus(plain(tmp_path, "calm/x.wav", "angry/x.wav", "angry/a.flac"))
    assert loaded.name == "plain"
    assert loaded.labels == ("angry", "calm")
    assert [(clip.name, clip.label, clip.speaker) for clip in loaded.clips] == [
        ("angry/a", "angry", ""),
        ("angry/x", "angry", ""),
        ("calm/x", "calm", ""),
    ]


def test_a_few_chance_matches_leave_a_folder_plain(tmp_path: Path) -> None:
    loaded = load_corpus(plain(tmp_path, "angry/03a01Fa.wav", "angry/b.wav", "calm/c.wav"))
    assert (loaded.name, len(loaded.clips)) == ("plain", 3)


def test_hidden_and_archive_leftovers_are_passed_over(tmp_path: Path) -> None:
    plain(tmp_path)
    for leftover in ("__MACOSX/angry/._a.wav", "angry/._a.wav", ".cache/angry/z.wav"):
        write(tmp_path / leftover)
    assert len(load_corpus(tmp_path).clips) == 4


def test_a_corpus_unpacked_twice_counts_once(tmp_path: Path) -> None:
    for stem in ("OAF_back_angry", "OAF_back_sad"):
        write(tmp_path / f"{stem}.wav")
        copy = tmp_path / "again" / f"{stem}.wav"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((tmp_path / f"{stem}.wav").read_bytes())
    loaded = load_corpus(tmp_path)
    assert [clip.path for clip in loaded.clips] == [
        tmp_path / "OAF_back_angry.wav",
        tmp_path / "OAF_back_sad.wav",
    ]
    assert check_corpus(tmp_path).copies == 2


def test_different_recordings_of_one_name_are_refused(tmp_path: Path) -> None:
    for path in ("OAF_back_angry.wav", "OAF_back_sad.wav", "again/OAF_back_sad.wav"):
        write(tmp_path / path)
    with pytest.raises(
        SerqError, match=r"again/OAF_back_sad\.wav and OAF_back_sad\.wav are different recordings of one name"
    ):
        load_corpus(tmp_path)
    assert kinds(check_corpus(tmp_path))["conflict"] == ["again/OAF_back_sad.wav"]


def test_a_class_name_is_data(tmp_path: Path) -> None:
    weird = '"; } int x = 0;'
    assert load_corpus(plain(tmp_path, f"{weird}/a.wav", "fröhlich/a.wav")).labels == (weird, "fröhlich")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"holds no recording: no \.wav, "),
        (
            ("a.wav", "b.wav"),
            r"no file is named as a known corpus names it \(EMO-DB as 03a01Fa\.wav; .*label/clip\.wav",
        ),
        (
            ("angry/a.wav", "angry/b.wav"),
            r"every recording is of class 'angry'; a corpus needs at least two classes",
        ),
        (("03a01Wa.wav", "03a02Wa.wav"), r"every recording is of class 'anger'"),
        (
            ("angry/a.wav", "calm/a.wav", "stray.wav"),
            r"1 file is not named as label/clip\.wav \(such as stray\.wav\)",
        ),
        (
            ("03a01Wa.wav", "03a01Na.wav", "x/03a01Xa.wav"),
            r"1 file is not named as EMO-DB names its files, 03a01Fa\.wav \(such as 03a01Xa\.wav\)",
        ),
        (("03a01Wa.wav", "DC_a01.wav"), r"every recording is of class 'anger'"),
        (("an\x1bgry/a.wav", "calm/a.wav"), r"the name 'an\\x1bgry/a\.wav' is not printable text"),
        (("angry/a\n.wav", "calm/a.wav"), r"not printable text"),
        ((" /a.wav", "calm/a.wav"), r"a class folder's name is blank"),
        (("ä" * 33 + "/a.wav", "calm/a.wav"), r"is longer than 64 bytes"),
    ],
)
def test_what_cannot_be_a_corpus(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    for name in names:
        write(tmp_path / name)
    with pytest.raises(SerqError, match=message) as error:
        load_corpus(tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    plain(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path / "calm") + b"/\xff.wav")).touch()
    with pytest.raises(SerqError, match=r"the name 'calm/\\udcff\.wav' is not printable text"):
        load_corpus(tmp_path)


def test_64_bytes_of_class_name_are_fine(tmp_path: Path) -> None:
    assert load_corpus(plain(tmp_path, "ä" * 32 + "/a.wav", "calm/a.wav")).labels == ("calm", "ä" * 32)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="is not a folder"):
        load_corpus(tmp_path / "nowhere")


# --- decoding
# ---------------------------------------------------------------------------------------------------------

EXTREMES = np.array([-32768, -32767, -1, 0, 1, 32766, 32767] * 300, dtype=np.int16)


@pytest.mark.parametrize(
    "container",
    [
        {"format": "WAV"},
        {"format": "FLAC"},
        {"format": "AIFF"},
        {"format": "AIFF", "endian": "LITTLE"},
        {"format": "WAVEX"},
    ],
)
def test_16_bit_mono_comes_through_bit_for_bit(tmp_path: Path, container: dict[str, Any]) -> None:
    path = write(
        tmp_path / "a.wav", EXTREMES, subtype="PCM_16", **container
    )  # whatever it is, under a .wav name
    audio = read_audio(path, RATE)
    assert audio.notes == ()
    assert audio.pcm.dtype == np.int16
    np.testing.assert_array_equal(audio.pcm, EXTREMES)


@settings(max_examples=50, deadline=None)
@given(pcm=hnp.arrays(np.int16, st.integers(1, 3000)))
def test_any_16_bit_mono_comes_through(tmp_path_factory: pytest.TempPathFactory, pcm: np.ndarray) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.wav", pcm)
    np.testing.assert_array_equal(read_audio(path, RATE).pcm, pcm)


def test_long_files_are_read_in_blocks(tmp_path: Path) -> None:
    pcm = noise(1, 3 * 65536 + 7)
    np.testing.assert_array_equal(read_audio(write(tmp_path / "a.flac", pcm), RATE).pcm, pcm)


def test_stereo_is_the_mean_of_its_channels_ties_to_even(tmp_path: Path) -> None:
    left, right = noise(1), noise(2)
    audio = read_audio(write(tmp_path / "a.wav", np.stack([left, right], axis=1)), RATE)
    assert audio.notes == ("stereo mixed to mono",)
    np.testing.assert_array_equal(audio.pcm, np.rint((left.astype(int) + right) / 2))


def test_24_bit_is_rounded_ties_to_even_and_saturates(tmp_path: Path) -> None:
    wide = np.array([0, 127, 128, 129, 384, -128, -384, 0x7FFFFF, -0x800000], dtype=np.int32)
    audio = read_audio(write(tmp_path / "a.wav", wide << 8, subtype="PCM_24"), RATE)
    assert audio.notes == ("24-bit reduced to 16",)
    assert audio.pcm.tolist() == [0, 0, 0, 1, 2, 0, -2, 32767, -32768]


def test_32_bit_is_rounded(tmp_path: Path) -> None:
    wide = np.array([0x8000, 0x8001, -0x8000, 0x18000], dtype=np.int32)
    audio = read_audio(write(tmp_path / "a.wav", wide, subtype="PCM_32"), RATE)
    assert audio.notes == ("32-bit reduced to 16",)
    assert audio.pcm.tolist() == [0, 1, 0, 2]


def test_8_bit_is_widened(tmp_path: Path) -> None:
    pcm = np.array([-128, -1, 0, 1, 127], dtype=np.int16) << 8
    audio = read_audio(write(tmp_path / "a.wav", pcm, subtype="PCM_U8"), RATE)
    assert audio.notes == ("8-bit widened to 16",)
    assert audio.pcm.tolist() == pcm.tolist()


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_float_beyond_full_scale_is_clipped_and_said(tmp_path: Path, subtype: str) -> None:
    values = np.array([0.0, 0.5, -1.0, 1.0, 1.5, -2.0, 1e30])
    audio = read_audio(write(tmp_path / "a.wav", values, subtype=subtype), RATE)
    assert audio.notes == ("float reduced to 16-bit", "samples beyond full scale clipped")
    assert audio.pcm.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 32767]


def test_float_within_full_scale_is_not_said_to_be_clipped(tmp_path: Path) -> None:
    assert read_audio(write(tmp_path / "a.wav", np.array([-1.0, 1.0]), subtype="FLOAT"), RATE).notes == (
        "float reduced to 16-bit",
    )


@pytest.mark.parametrize("rate", [8000, 24414, 44100, 48000, 96000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    def tone(at: int) -> np.ndarray:
        return 20000 * np.sin(2 * np.pi * 440 * np.arange(at) / at)  # one second

    audio = read_audio(write(tmp_path / "a.wav", tone(rate) / 32768, rate, subtype="DOUBLE"), RATE)
    assert audio.notes == ("float reduced to 16-bit", f"{rate} Hz resampled to {RATE}")
    assert abs(audio.pcm.size - RATE) <= 1
    middle = slice(1000, 15000)  # the filter's ends see silence
    # one rounding is half a step; quality HQ promises 20 bits, which is 1/16 of a step of 16 bits
    assert np.abs(audio.pcm[middle] - tone(RATE)[middle]).max() <= 0.5 + 1 / 16


def test_conversions_are_all_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros((96000, 2)) + 0.25, 96000, subtype="PCM_24")
    assert read_audio(path, RATE).notes == (
        "stereo mixed to mono",
        "24-bit reduced to 16",
        "96000 Hz resampled to 16000",
    )


def cut(path: Path, drop: int) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - drop])
    return path


@pytest.mark.parametrize("drop", [1, 2, 1000, 3990])
@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC"])
def test_a_cut_file_is_refused(tmp_path: Path, container: str, drop: int) -> None:
    path = cut(write(tmp_path / "a.wav", noise(3), format=container), drop)
    with pytest.raises(SerqError, match=r"a\.wav (is truncated|cannot be decoded).*fetch"):
        read_audio(path, RATE)


def test_a_header_cut_before_its_data_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(SerqError, match="is truncated"):
        read_audio(path, RATE)


def test_a_flac_header_that_claims_terabytes_is_not_believed(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # STREAMINFO's 36-bit count of samples: its upper bits
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(SerqError, match=r"is longer than 10 minutes"):
        read_audio(tmp_path / "a.flac", RATE)


def test_a_decoder_that_ends_early_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever libsndfile makes of a cut file, fewer samples than promised are refused."""
    path = write(tmp_path / "a.flac", noise(1, 2000))
    monkeypatch.setattr(soundfile.SoundFile, "frames", property(lambda sound: 2001))
    with pytest.raises(SerqError, match="is truncated"):
        read_audio(path, RATE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    samples = np.zeros((2000, 2))
    samples[1234, 0] = value
    with pytest.raises(SerqError, match=r"a\.wav holds samples that are not numbers"):
        read_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"), RATE)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"RI", "is text and not a recording"), (b"fLaC" + bytes(100), "cannot be decoded")],
)
def test_what_is_not_audio_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(SerqError, match=message):
        read_audio(path, RATE)


@pytest.mark.parametrize(
    ("samples", "rate", "options", "message"),
    [
        (np.zeros(0, np.int16), RATE, {}, "holds no samples"),
        (np.zeros(1, np.int16), 44100, {}, "is too short: nothing is left of it at 16000 Hz"),
        (np.zeros((100, 9), np.int16), RATE, {}, "has 9 channels"),
        (noise(1), 4000, {}, "sample rate of 4000 Hz; it must be 8000 to 192000 Hz"),
        (np.zeros(601 * 8000, np.int16), 8000, {"format": "FLAC"}, "longer than 10 minutes"),
    ],
)
def test_what_is_not_read(
    tmp_path: Path, samples: np.ndarray, rate: int, options: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "a.wav", samples, rate, **options)
    with pytest.raises(SerqError, match=message):
        read_audio(path, RATE)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match=r"cannot read .*a\.wav: No such file"):
        read_audio(tmp_path / "a.wav", RATE)


def audio_or_sentence(path: Path) -> Audio | str:
    try:
        return read_audio(path, RATE)
    except SerqError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_gives_audio_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Flip bytes anywhere and cut anywhere: never another exception, never an absurd amount of samples."""
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    content = bytearray(
        write(path, noise(5, 600), format=data.draw(st.sampled_from(["WAV", "FLAC", "AIFF"]))).read_bytes()
    )
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=6)
    ):
        content[position] = value
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    outcome = audio_or_sentence(path)
    if isinstance(outcome, Audio):
        assert 0 < outcome.pcm.size <= 8 * 600  # the densest reading: a byte a sample, from 8 to 16 kHz
    else:
        assert str(path) in outcome
        assert "\n" not in outcome


# --- the check
# --------------------------------------------------------------------------------------------------------


def test_a_sound_folder(tmp_path: Path) -> None:
    report = check_corpus(plain(tmp_path))
    assert report.ok
    assert report.counts == {"angry": {"": 2}, "calm": {"": 2}}
    assert report.seconds == 0.5
    assert report.checksums == ()
    lines = corpus_lines(report)
    assert lines[0] == "own recordings: 4 recordings, speakers unknown, 2 classes, 0.0 minutes"
    assert lines[-1] == "problems     none"
    assert json.loads(json.dumps(report.to_json()))["ok"] is True


def test_progress_counts_recordings(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    check_corpus(plain(tmp_path), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_every_kind_of_damage_is_found(tmp_path: Path) -> None:
    plain(tmp_path)
    cut(write(tmp_path / "angry/cut.wav"), 100)
    (tmp_path / "angry/empty.wav").touch()
    (tmp_path / "angry/page.wav").write_text("<html>not found</html>")
    write(tmp_path / "angry/nan.wav", np.full(2000, np.nan), subtype="FLOAT")
    write(tmp_path / "calm/short.wav", noise(1, 1535))
    write(tmp_path / "calm/just.wav", noise(1, 1536))
    write(tmp_path / "calm/short_after_resampling.wav", noise(2, 5000), 96000)
    write(tmp_path / "calm/long.wav", noise(3, 2_098_176))
    write(tmp_path / "calm/silent.wav", np.zeros(2000, np.int16))
    write(tmp_path / "stray.wav")
    report = check_corpus(tmp_path)
    assert not report.ok
    assert kinds(report) == {
        "misnamed": ["stray.wav"],
        "damaged": ["angry/cut", "angry/empty", "angry/nan", "angry/page"],
        "too short": ["calm/short", "calm/short_after_resampling"],
        "too long": ["calm/long"],
        "silent": ["calm/silent"],
    }
    text = "\n".join(corpus_lines(report))
    assert "problems     9" in text
    assert "  damaged    angry/cut: is truncated" in text


def test_lengths_and_rate_are_the_callers(tmp_path: Path) -> None:
    plain(tmp_path)
    assert check_corpus(tmp_path, minimum_samples=2000).ok
    assert len(kinds(check_corpus(tmp_path, minimum_samples=2001))["too short"]) == 4
    report = check_corpus(tmp_path, sample_rate=8000, minimum_samples=1000)
    assert report.ok
    assert report.conversions == {"16000 Hz resampled to 8000": 4}


def test_conversions_and_clipping_are_counted(tmp_path: Path) -> None:
    plain(tmp_path)
    write(tmp_path / "calm/stereo.wav", np.stack([noise(1), noise(2)], axis=1))
    write(tmp_path / "calm/other.wav", np.stack([noise(3), noise(4)], axis=1), subtype="PCM_24")
    peak, clipped = noise(5), noise(6)
    peak[7] = 32767
    clipped[[7, 9]] = 32767, -32768
    write(tmp_path / "calm/peak.wav", peak)
    write(tmp_path / "calm/clipped.wav", clipped)
    report = check_corpus(tmp_path)
    assert report.conversions == {"24-bit reduced to 16": 1, "stereo mixed to mono": 2}
    assert report.clipped == 1
    assert report.ok
    assert "converted    2: stereo mixed to mono" in corpus_lines(report)


def test_one_recording_under_two_names_is_found_whatever_its_form(tmp_path: Path) -> None:
    plain(tmp_path)
    write(tmp_path / "calm/first.wav", noise(1))
    write(tmp_path / "angry/second.flac", noise(1))
    assert kinds(check_corpus(tmp_path)) == {"duplicate": ["calm/first"]}


# --- warnings
# ---------------------------------------------------------------------------------------------------------


def warned(folder: Path) -> dict[str, tuple[int, str]]:
    """Each kind of warning with the clips and the words; the corpus stays fit for use."""
    report = check_corpus(folder)
    assert report.ok and report.to_json()["ok"]
    found = {warning.kind: (warning.clips, warning.text) for warning in report.warnings}
    assert len(found) == len(report.warnings)
    lines = corpus_lines(report)
    assert f"warnings     {len(found) or 'none'}" in lines
    assert all(any(text in line for line in lines) for _, text in found.values())
    return found


def clean(folder: Path, clips: int = 12) -> Path:
    """White noise of a second in two classes."""
    for index in range(clips):
        write(folder / ("angry", "calm")[index % 2] / f"{index:02}.wav", noise(index, RATE))
    return folder


def test_sound_recordings_have_no_warning(tmp_path: Path) -> None:
    assert warned(clean(tmp_path)) == {}


def test_long_edges_are_counted_and_the_longest_is_named(tmp_path: Path) -> None:
    clean(tmp_path)
    hiss = noise(50, RATE) // 200  # 46 dB lower
    write(tmp_path / "calm/long.wav", np.concatenate([hiss[:2000], noise(51, RATE), hiss[: RATE // 2]]))
    write(tmp_path / "calm/longest.wav", np.concatenate([np.zeros(RATE * 7 // 10, np.int16), noise(52)]))
    write(tmp_path / "calm/short.wav", np.concatenate([hiss[: RATE // 4], noise(53), hiss[: RATE // 4]]))
    write(tmp_path / "calm/loud.wav", np.concatenate([noise(54, RATE) // 50, noise(55)]))  # 34 dB lower
    found = warned(tmp_path)
    assert set(found) == {"long edges"}
    assert found["long edges"][0] == 2
    assert "calm/longest with 0.7 s; keep pauses in training" in found["long edges"][1]


def test_a_long_edge_in_twenty_is_no_warning(tmp_path: Path) -> None:
    clean(tmp_path, 19)
    write(tmp_path / "calm/long.wav", np.concatenate([np.zeros(RATE, np.int16), noise(52)]))
    assert warned(tmp_path) == {}


@pytest.mark.parametrize(("band", "end"), [("8k", 4000), ("11k", 5500), ("telephone", 4000)])
def test_half_empty_bands_are_found_with_their_end(tmp_path: Path, band: str, end: int) -> None:
    clean(tmp_path)
    for seed, label in ((60, "angry"), (61, "calm")):
        write(tmp_path / label / "narrow.wav", in_band(noise(seed, RATE), RATE, band))
    found = warned(tmp_path)
    assert set(found) == {"half-empty"}
    count, text = found["half-empty"]
    assert count == 2 and text.startswith("2 recordings, such as angry/narrow: nothing is above some ")
    assert float(text.split("above some ")[1].split()[0]) == pytest.approx(end, abs=250)


def test_an_offset_is_named_with_its_size(tmp_path: Path) -> None:
    clean(tmp_path)
    write(tmp_path / "calm/least.wav", noise(70, RATE) + np.int16(200))  # of a root mean square of 5196
    write(tmp_path / "calm/small.wav", noise(74, RATE) + np.int16(350))
    write(tmp_path / "calm/offset.wav", noise(71, RATE) - np.int16(3000))
    found = warned(tmp_path)
    assert set(found) == {"offset"}
    assert found["offset"][0] == 2 and "in calm/offset -0.09" in found["offset"][1]


def test_faint_recordings_are_found(tmp_path: Path) -> None:
    clean(tmp_path)
    write(tmp_path / "calm/faint.wav", noise(72, RATE) // 300)  # -65 dB
    write(tmp_path / "calm/soft.wav", noise(73, RATE) // 100)  # -56 dB
    assert {kind: count for kind, (count, _) in warned(tmp_path).items()} == {"faint": 1}


def test_channels_that_cancel_are_found_and_no_other_stereo(tmp_path: Path) -> None:
    clean(tmp_path)
    one, other, silence = noise(80, RATE), noise(81, RATE), np.zeros(RATE, np.int16)
    for name, right in (("same", one), ("other", other), ("none", silence), ("part", (other - one) // 2)):
        write(
            tmp_path / f"calm/{name}.wav",
            np.stack([one if name != "none" else noise(82, RATE), right], axis=1),
        )
    write(tmp_path / "calm/antiphase.wav", np.stack([one, np.rint(-0.8 * one).astype(np.int16)], axis=1))
    found = check_corpus(tmp_path)
    assert [(w.kind, w.clips, w.text.split(":")[0]) for w in found.warnings] == [
        ("cancelled", 1, "calm/antiphase")
    ]
    assert found.conversions["stereo mixed to mono, whose channels cancel each other"] == 1
    write(tmp_path / "calm/nothing.wav", np.stack([one, -one], axis=1))
    (problem,) = (p for p in check_corpus(tmp_path).problems if p.kind == "silent")
    assert problem.text == "every sample is zero once its channels are mixed: they cancel each other"


def test_a_class_that_its_sample_rate_tells_is_named(tmp_path: Path) -> None:
    for index in range(12):
        write(tmp_path / f"calm/{index}.wav", noise(index, 2 * RATE), rate=32000)
        write(tmp_path / f"angry/{index}.wav", noise(20 + index, 2 * RATE), rate=32000)
        rate = 32000 if index < 4 else 48000
        write(tmp_path / f"fear/{index}.wav", noise(40 + index, 2 * RATE), rate=rate)
    found = warned(tmp_path)
    assert set(found) == {"told apart"}
    assert (
        "the class fear differs from the others in sample rate: at most 32000 Hz in 33% of"
        in found["told apart"][1]
    )


def test_a_class_that_its_bandwidth_tells_is_named_and_a_mixture_is_not(tmp_path: Path) -> None:
    for folder, narrow in ((tmp_path / "one", ("calm",)), (tmp_path / "mixed", ("calm", "angry"))):
        for index in range(10):
            for label in ("calm", "angry"):
                pcm = noise(index + 10 * (label == "calm"), RATE)
                narrowed = label in narrow and (index < 7 or narrow == ("calm",))
                write(folder / label / f"{index}.wav", in_band(pcm, RATE, "8k") if narrowed else pcm)
    assert set(warned(tmp_path / "mixed")) == {"half-empty"}
    found = warned(tmp_path / "one")
    assert set(found) == {"half-empty", "told apart"}
    assert "differs from the others in bandwidth" in found["told apart"][1]


def test_missing_recordings_of_a_published_corpus(tmp_path: Path) -> None:
    for stem in ("03a01Fa", "03a01Nc"):
        write(tmp_path / f"{stem}.flac")
    report = check_corpus(tmp_path)
    assert len(kinds(report)["missing"]) == 533
    assert "03a01Fa" not in kinds(report)["missing"]
    assert "  missing    … and 523 more" in corpus_lines(report)


def emodb_with_checksums(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three recordings in place of the published EMO-DB, whose list they become."""
    paths = [write(folder / f"{stem}.wav") for stem in ("03a01Fa", "03a01Nc", "03a01Wa")]
    listed = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    monkeypatch.setattr(check, "published_checksums", lambda corpus: listed)


def test_published_files_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emodb_with_checksums(tmp_path, monkeypatch)
    write(tmp_path / "03a09Wz.wav")  # named like one of them
    report = check_corpus(tmp_path)
    assert report.ok
    assert "checksums    3 match the published files, 0 differ, 1 are not listed" in corpus_lines(report)


def test_one_changed_published_file_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emodb_with_checksums(tmp_path, monkeypatch)
    content = bytearray((tmp_path / "03a01Nc.wav").read_bytes())
    content[-1] ^= 1
    (tmp_path / "03a01Nc.wav").write_bytes(content)
    assert kinds(check_corpus(tmp_path)) == {"checksum": ["03a01Nc"]}


def test_converted_copies_are_no_problem_but_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emodb_with_checksums(tmp_path, monkeypatch)
    for path in tmp_path.glob("*.wav"):
        write(path, noise(int(path.stem[:2]) + ord(path.stem[5])))
    report = check_corpus(tmp_path)
    assert report.ok
    assert any(line.startswith("checksums    none") for line in corpus_lines(report))


def manifest(folder: Path, extra: str = "") -> Path:
    rows = "".join(
        f"{path.relative_to(folder).as_posix()},{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in sorted(folder.rglob("*.wav"))
    )
    path = folder / "MANIFEST.csv"
    path.write_text(f"file,sha256\n{rows}{extra}")
    return path


def test_a_manifest_is_verified(tmp_path: Path) -> None:
    plain(tmp_path)
    manifest(tmp_path)
    lines = corpus_lines(check_corpus(tmp_path))
    assert "checksums    4 match MANIFEST.csv, 0 differ, 0 are not listed" in lines
    write(tmp_path / "calm/b.wav", noise(99))
    write(tmp_path / "calm/new.wav")
    (tmp_path / "calm/a.wav").unlink()
    report = check_corpus(tmp_path)
    assert kinds(report) == {"missing": ["calm/a.wav"], "checksum": ["calm/b"]}
    assert "checksums    2 match MANIFEST.csv, 1 differ, 1 are not listed" in corpus_lines(report)


def test_a_manifest_cannot_name_files_outside(tmp_path: Path) -> None:
    write(tmp_path / "secret.wav")
    folder = plain(tmp_path / "corpus")
    manifest(folder, extra=f"../secret.wav,{'0' * 64}\n")
    assert kinds(check_corpus(folder)) == {"missing": ["../secret.wav"]}


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"name,hash\na,b\n", b"file,sha256\nangry/a.wav\n"]
)
def test_a_malformed_manifest_is_a_problem(tmp_path: Path, content: bytes) -> None:
    (plain(tmp_path) / "MANIFEST.csv").write_bytes(content)
    assert kinds(check_corpus(tmp_path)) == {"manifest": ["MANIFEST.csv"]}


def test_a_folder_without_a_corpus_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="at least two classes"):
        check_corpus(plain(tmp_path, "angry/a.wav"))


def test_the_shipped_checksums_fit_the_naming_rules() -> None:
    sizes = {}
    for rule in RULES:
        published = published_checksums(rule.corpus)
        assert all(rule.clip(Path(f"{name}.wav")).name == name for name in published)
        assert all(len(bytes.fromhex(digest)) == 32 for digest in published.values())
        sizes[rule.corpus] = len(published)
    assert sizes == {"emodb": 535, "savee": 480, "tess": 2800, "ravdess": 1440, "crema-d": 7442, "nemo": 0}
    assert published_checksums("plain") == {}


def test_the_shipped_checksums_are_the_collected_ones(emodb_dir: Path) -> None:
    source = emodb_dir.parent / "original_wav_sha256.csv.gz"
    if not source.is_file():  # a collection of our own; who has only the corpus cannot compare with it
        pytest.skip(f"no {source.name} beside the recordings")
    with gzip.open(source, "rt") as file:
        rows = list(csv.DictReader(file))
    for rule in RULES:
        assert published_checksums(rule.corpus) == {
            Path(row["file"]).stem: row["sha256"] for row in rows if row["dataset"] == rule.corpus
        }


# --- real recordings
# --------------------------------------------------------------------------------------------------


def test_emodb(emodb_dir: Path) -> None:
    report = check_corpus(emodb_dir)
    assert report.problems == ()
    assert report.warnings == ()
    assert (report.corpus, report.clips) == ("emodb", 535)
    totals = {label: sum(row.values()) for label, row in report.counts.items()}
    assert totals == {
        "anger": 127,
        "boredom": 81,
        "neutral": 79,
        "happiness": 71,
        "fear": 69,
        "sadness": 62,
        "disgust": 46,
    }
    assert {speaker for row in report.counts.values() for speaker in row} == {
        "03",
        "08",
        "09",
        "10",
        "11",
        "12",
        "13",
        "14",
        "15",
        "16",
    }
    assert report.conversions == {}


def test_emodb_as_wav_equals_the_published_files(emodb_dir: Path, tmp_path: Path) -> None:
    """The FLAC copies are lossless and the published files have the plain 44-byte header, but for four,
    which have a longer one.
    """
    for path in emodb_dir.glob("*.flac"):
        with wave.open(str(tmp_path / f"{path.stem}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(read_audio(path, RATE).pcm.tobytes())
    report = check_corpus(tmp_path)
    assert [(sums.against, sums.matching, sums.differing, sums.unlisted) for sums in report.checksums] == [
        ("the published files", 531, 4, 0)
    ]
    assert kinds(report) == {"checksum": ["14a07Aa", "14a07Fd", "14a07Na", "14a07Wc"]}


def test_savee(savee_dir: Path) -> None:
    report = check_corpus(savee_dir)
    assert report.problems == ()
    assert [warning.kind for warning in report.warnings] == ["long edges", "offset"]  # it has both
    assert (report.corpus, report.clips) == ("savee", 480)
    for label, row in report.counts.items():
        assert row == dict.fromkeys(("DC", "JE", "JK", "KL"), 30 if label == "neutral" else 15)
    assert len(report.counts) == 7


def test_tess(tess_dir: Path) -> None:
    report = check_corpus(tess_dir)
    assert report.problems == ()
    assert report.warnings == ()
    assert (report.corpus, report.clips) == ("tess", 2800)
    labels = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert report.counts == {label: {"OAF": 200, "YAF": 200} for label in labels}


@pytest.mark.parametrize("corpus", ["emodb", "savee", "tess"])
def test_labels_and_speakers_agree_with_the_manifest(corpus: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"{corpus}_dir")
    with (folder / "MANIFEST.csv").open(newline="") as file:
        rows = {row["file"]: (row["emotion"], row["speaker"]) for row in csv.DictReader(file)}
    assert rows == {clip.path.name: (clip.label, clip.speaker) for clip in load_corpus(folder).clips}


# --- synthetic speech
# -------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_synthetic_speech_is_a_sound_corpus(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    folder = synthesise(
        tmp_path / "speech", seconds=40, progress=lambda done, total: calls.append((done, total))
    )
    report = check_corpus(folder)
    assert report.problems == ()
    assert report.conversions == {}
    assert report.clipped == 0
    assert 40 <= report.seconds < 60
    assert set(report.counts) == set(synthetic.STYLES)
    assert len({row[""] for row in report.counts.values()}) == 1
    assert {clip.path.stem[:5] for clip in load_corpus(folder).clips} == {"de-m1", "de-f2", "en-m3", "en-f4"}
    assert "synthetic" in (folder / "README.txt").read_text()
    assert "accuracy means nothing" in " ".join((folder / "README.txt").read_text().split())
    assert calls[-1] == (40, 40)


def test_synthetic_speech_is_reproducible(tmp_path: Path) -> None:
    first = contents(synthesise(tmp_path / "a", seconds=10, seed=1))
    time.sleep(1.1)  # espeak-ng seeds its noise from the clock's seconds unless told otherwise
    assert contents(synthesise(tmp_path / "b", seconds=10, seed=1)) == first
    other = contents(synthesise(tmp_path / "a", seconds=10, seed=2))  # replaces the earlier result
    waves = [name for name in first if name.endswith(".wav")]
    assert all(other.get(name) != first[name] for name in waves)


def test_without_the_wheel_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SerqError, match=r"pip install 'serq-mcu\[demo\]'"):
        synthesise(tmp_path / "speech")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path / "speech", seconds=10, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_foreign_folders_and_odd_lengths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("mine")
    with pytest.raises(SerqError, match="was not made by serq-mcu"):
        synthesise(tmp_path, seconds=10)
    for seconds in (0, -1, float("nan"), float("inf"), 3601):
        with pytest.raises(SerqError, match="ask for 1 to 3600"):
            synthesise(tmp_path / "speech", seconds=seconds)
