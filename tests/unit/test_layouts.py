"""How corpora lie about: what a person would read in a folder is what is read, or both readings are told."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.cli import main
from serq_mcu.corpus.check import check_corpus
from serq_mcu.corpus.loaders import CorpusOptions, load_corpus, scan_folder
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.clips import choose_clips
from serq_mcu.extraction.recordings import read_recordings
from tests.support.models import made_up_model

EMODB = ("03a01Wa.wav", "03a01Na.wav", "08a02Fb.wav", "08a02Nb.wav")
RAVDESS = tuple(f"Actor_0{who}/03-01-0{what}-01-01-01-0{who}.wav" for who in (1, 2) for what in (1, 5))
VIDEOS = tuple(name.replace("/03-", "/01-") for name in RAVDESS)
SONGS = tuple(name.replace("/03-01-", "/03-02-") for name in RAVDESS)


def lay(folder: Path, *names: str) -> Path:
    """Files of these names, each with other bytes; reading a layout reads no audio."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def crossed(pattern: str, *choices: str) -> tuple[str, ...]:
    """All names that a pattern gives, whose {} stand for choices separated by spaces."""
    names = [pattern]
    for choice in choices:
        names = [name.replace("{}", each, 1) for name in names for each in choice.split()]
    return tuple(names)


# files, options, classes with their clips, speakers
READ: dict[str, tuple[tuple[str, ...], CorpusOptions, dict[str, int], set[str]]] = {
    "label/clip": (crossed("{}/{}.wav", "anger calm", "1 2"), CorpusOptions(), {"anger": 2, "calm": 2}, {""}),
    "data/label/clip": (
        crossed("my data/{}/{}.wav", "anger calm", "1 2"),
        CorpusOptions(),
        {"anger": 2, "calm": 2},
        {""},
    ),
    "label/speaker/clip": (
        crossed("{}/{}/1.wav", "wut freude", "anna bert"),
        CorpusOptions(),
        {"wut": 2, "freude": 2},
        {"anna", "bert"},
    ),
    "speaker/label/clip": (
        crossed("{}/{}/1.wav", "S1 S2 S3", "anger joy"),
        CorpusOptions(),
        {"anger": 3, "joy": 3},
        {"S1", "S2", "S3"},
    ),
    "labels of one's own under speakers": (
        crossed("{}/{}/1.wav", "spk_a spk_b", "interested not"),
        CorpusOptions(),
        {"interested": 2, "not": 2},
        {"spk_a", "spk_b"},
    ),
    "part/label/clip": (
        crossed("{}/{}/{}.wav", "train test", "anger calm", "1 2"),
        CorpusOptions(),
        {"anger": 4, "calm": 4},
        {""},
    ),
    "part/speaker/label/clip": (
        crossed("{}/{}/{}/1.wav", "train val test", "01 02", "anger calm"),
        CorpusOptions(),
        {"anger": 6, "calm": 6},
        {"01", "02"},
    ),
    "a layout that says it": (
        crossed("{}/{}/x/1.wav", "red blue", "hot cold"),
        CorpusOptions("speaker/label/*"),
        {"hot": 2, "cold": 2},
        {"red", "blue"},
    ),
    "speakers that are classes, as asked": (
        crossed("{}/{}.wav", "Actor_01 Actor_02", "1 2"),
        CorpusOptions("folders"),
        {"Actor_01": 2, "Actor_02": 2},
        {""},
    ),
    "speakers in names": (
        crossed("{}/{}_{}.wav", "anger calm", "ann bob", "1 2"),
        CorpusOptions(speaker_pattern="([^/_]+)_[^/]*$"),
        {"anger": 4, "calm": 4},
        {"ann", "bob"},
    ),
    "a corpus in one folder": (
        tuple(f"wav/{name}" for name in EMODB),
        CorpusOptions(),
        {"anger": 1, "happiness": 1, "neutral": 2},
        {"03", "08"},
    ),
    "a corpus by actors": (RAVDESS, CorpusOptions(), {"neutral": 2, "anger": 2}, {"01", "02"}),
    "videos skipped": (
        RAVDESS + VIDEOS,
        CorpusOptions(skip=("videos",)),
        {"neutral": 2, "anger": 2},
        {"01", "02"},
    ),
    "songs skipped": (
        tuple(f"speech/{name}" for name in RAVDESS) + tuple(f"song/{name}" for name in SONGS),
        CorpusOptions(skip=("songs",)),
        {"neutral": 2, "anger": 2},
        {"01", "02"},
    ),
    "names and folders agree": (
        ("OAF_angry/OAF_a_angry.wav", "YAF_angry/YAF_a_angry.wav", "OAF_Pleasant_surprise/OAF_b_ps.wav"),
        CorpusOptions(),
        {"anger": 2, "surprise": 1},
        {"OAF", "YAF"},
    ),
    "names, as asked": (
        ("aroused/03a01Wa.wav", "aroused/03a03Fa.wav", "calm/03a01Na.wav"),
        CorpusOptions("names"),
        {"anger": 1, "happiness": 1, "neutral": 1},
        {"03"},
    ),
    "folders, as asked, speakers from names": (
        ("aroused/03a01Wa.wav", "aroused/08a03Fa.wav", "calm/03a01Na.wav"),
        CorpusOptions("folders"),
        {"aroused": 2, "calm": 1},
        {"emodb/03", "emodb/08"},
    ),
    "two corpora in one folder": (
        ("anger/03a01Wa.wav", "anger/OAF_back_angry.wav", "fear/03a01Aa.wav", "fear/OAF_back_fear.wav"),
        CorpusOptions(),
        {"anger": 2, "fear": 2},
        {"emodb/03", "tess/OAF"},
    ),
    "short numbers": (
        ("DC/a1.wav", "DC/sa1.wav", "KL/n3.wav"),
        CorpusOptions(),
        {"anger": 1, "sadness": 1, "neutral": 1},
        {"DC", "KL"},
    ),
    "every suffix": (
        ("anger/1.wav", "fear/1.mp3", "joy/1.OGG", "sad/1.aif", "calm/1.m4a", "calm/2.FLAC", "calm/3.opus"),
        CorpusOptions(),
        {"anger": 1, "fear": 1, "joy": 1, "sad": 1, "calm": 3},
        {""},
    ),
    "a lossy copy beside each file": (
        tuple(f"AudioWAV/1001_DFA_{e}_XX.wav" for e in ("ANG", "SAD"))
        + tuple(f"AudioMP3/1001_DFA_{e}_XX.mp3" for e in ("ANG", "SAD")),
        CorpusOptions(),
        {"anger": 1, "sadness": 1},
        {"1001"},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_layout_is_read_as_a_person_would(tmp_path: Path, name: str) -> None:
    files, options, classes, speakers = READ[name]
    loaded = load_corpus(lay(tmp_path, *files), options)
    assert Counter(clip.label for clip in loaded.clips) == classes
    assert {clip.speaker for clip in loaded.clips} == speakers
    assert len({clip.name for clip in loaded.clips}) == len(loaded.clips)
    assert all(clip.path.is_file() for clip in loaded.clips)


STOPS = {
    "names against folders": (
        ("aroused/03a01Wa.wav", "aroused/03a02Wb.wav", "aroused/03a03Fa.wav", "calm/03a01Na.wav"),
        CorpusOptions(),
        "names and folders give different classes: by names anger 2, happiness 1, neutral 1;"
        " by folders aroused 3, calm 1; give --labels names or --labels folders",
    ),
    "a class of names parted by folders": (
        ("hot anger/03a01Wa.wav", "cold anger/03a02Wb.wav", "neutral/03a01Na.wav"),
        CorpusOptions(),
        "by folders cold anger 1, hot anger 1, neutral 1",
    ),
    "folders with other emotions": (
        ("anger/03a01Na.wav", "neutral/03a01Wa.wav"),
        CorpusOptions(),
        "names and folders give different classes",
    ),
    "actors": (RAVDESS + VIDEOS, CorpusOptions(), "4 files are no part of the corpus but of its videos"),
    "people": (
        crossed("{}/{}.wav", "Actor_01 Actor_02", "1 2"),
        CorpusOptions(),
        "called as speakers are, so they are not taken for classes",
    ),
    "initials": (crossed("{}/{}.wav", "DC KL", "x1 x2"), CorpusOptions(), "called as speakers are"),
    "women and men": (crossed("{}/{}.wav", "female male", "1 2"), CorpusOptions(), "called as speakers are"),
    "two levels of people": (
        crossed("{}/{}/1.wav", "s1 s2", "01 02"),
        CorpusOptions(),
        "may all be speakers; say which is which, as in --labels label/speaker",
    ),
    "two levels of anything": (
        crossed("{}/{}/1.wav", "red blue", "hot cold"),
        CorpusOptions(),
        "may all be classes; say which is which, as in --labels label/speaker",
    ),
    "parts alone": (crossed("{}/{}.wav", "train test", "1 2"), CorpusOptions(), "name parts, such as train"),
    "no folders": (EMODB, CorpusOptions("folders"), "no such folders are around the recordings"),
    "no table": (EMODB, CorpusOptions("table"), "has no table with a column for file and label"),
    "a layout without label": (EMODB, CorpusOptions("speaker/part"), "has no level 'label'"),
    "no layout": (EMODB, CorpusOptions("emotion/clip"), "'emotion/clip' is no layout of folders"),
    "no pattern": (EMODB, CorpusOptions(speaker_pattern="("), r"no regular expression"),
    "no group": (EMODB, CorpusOptions(speaker_pattern="[a-z]"), "has no group"),
    "another pattern": (EMODB, CorpusOptions(speaker_pattern="(x+)"), "finds no speaker in 03a01Na"),
}


@pytest.mark.parametrize("name", STOPS)
def test_what_is_in_doubt_stops_with_all_readings(tmp_path: Path, name: str) -> None:
    files, options, message = STOPS[name]
    with pytest.raises(SerqError) as stopped:
        load_corpus(lay(tmp_path, *files), options)
    assert message in str(stopped.value) and "\n" not in str(stopped.value)


TABLES = {
    "labels.csv": "file;emotion;actor\n1.wav;wut;a\n2.wav;freude;b\n3.flac;wut;b\n",  # semicolons; 3 is .wav
    "metadata.csv": "file_name,label,speaker_id,split\n1.wav,wut,a,train\n2.wav,freude,b,test\n"
    "3.wav,wut,b,test\n",
    "MANIFEST.csv": "File,Label,Speaker\n1.wav,wut,a\n./2.wav,freude,b\n3,wut,b\n",
    "metadata.jsonl": '{"file_name": "1.wav", "label": "wut", "speaker": "a"}\n'
    '{"file_name": "2.wav", "label": "freude", "speaker": "b", "text": "x"}\n\n'
    '{"file_name": "3.wav", "label": "wut", "speaker": "b"}\n',
}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_in_its_folder_or_by_its_name(tmp_path: Path, name: str, given: bool) -> None:
    lay(tmp_path, "1.wav", "2.wav", "3.wav", "4.wav")
    (tmp_path / name).write_text(TABLES[name])
    scan = scan_folder(tmp_path / name if given else tmp_path)
    assert scan.basis == f"table {name}"
    assert [(clip.name, clip.label, clip.speaker) for clip in scan.clips] == [
        ("1", "wut", "a"),
        ("2", "freude", "b"),
        ("3", "wut", "b"),
    ]
    assert scan.passed_over == ({} if given else {"recordings that the table does not list": 1})
    assert {clip.part for clip in scan.clips} == ({"train", "test"} if name == "metadata.csv" else {""})


def test_audiofolders_have_a_table_in_each_part(tmp_path: Path) -> None:
    lay(tmp_path, *crossed("{}/{}.wav", "train test", "1 2"))
    for part in ("train", "test"):
        (tmp_path / part / "metadata.csv").write_text("file_name,label\n1.wav,wut\n2.wav,freude\n")
    loaded = load_corpus(tmp_path)
    assert {(clip.name, clip.label, clip.part) for clip in loaded.clips} == {
        (f"{part}/{number}", label, part)
        for part in ("train", "test")
        for number, label in (("1", "wut"), ("2", "freude"))
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n../1.wav,wut\n", "row 1 names '../1.wav', which is outside the folder"),
        ("file,label\n/etc/1.wav,wut\n", "outside the folder"),
        ("file,label\n1.wav,wut\n1.wav,freude\n", r"lists 1.wav twice, as wut and freude"),
        ("file,label\n1.wav,wut\n2.wav,\x1bx\n", "row 2 has text that is not printable"),
        ("file,label\n,wut\n", "row 1 names no file"),
        ("file,text\n1.wav,wut\n", "has no column for the label; name it label or emotion"),
        ("", "has no column for the file"),
        ("file,label\n9.wav,wut\n", "lists no file that is there"),
        ("file,label\n1.wav,wut\n2.wav,freude\n9.wav,wut\n", "1 file is listed and not there"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    lay(tmp_path, "1.wav", "2.wav")
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(SerqError, match=message):
        load_corpus(tmp_path / "mine.csv")


def test_a_table_that_contradicts_names_stops(tmp_path: Path) -> None:
    lay(tmp_path, *EMODB)
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,label\n" + "".join(f"{name},{'loud' if 'a01' in name else 'soft'}\n" for name in EMODB)
    )
    with pytest.raises(SerqError, match="names and table give different classes"):
        load_corpus(tmp_path)
    assert load_corpus(tmp_path, CorpusOptions("table")).labels == ("loud", "soft")
    assert load_corpus(table).labels == ("loud", "soft")


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    lay(tmp_path / "elsewhere", "1.wav", "2.wav")
    corpus = lay(tmp_path / "corpus", "calm/1.wav", "calm/2.wav")
    (corpus / "anger").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (corpus / "a second one").symlink_to(corpus / "calm", target_is_directory=True)
    (corpus / "calm" / "up").symlink_to(corpus, target_is_directory=True)
    (corpus / "calm" / "out").symlink_to(tmp_path, target_is_directory=True)
    (corpus / "calm" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    scan = scan_folder(corpus)
    assert Counter(clip.label for clip in scan.clips) == {"anger": 2, "calm": 2}
    assert scan.passed_over == {"linked folders that were read already": 3, "broken links or devices": 1}


def test_what_is_passed_over_is_counted_and_a_lost_class_is_a_problem(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in crossed("{}/{}.wav", "anger calm", "1 2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 3000), 16000)
    lay(tmp_path, "fear/1.mp4", "fear/2.mp4", "calm/notes.txt", "LICENSE", "anger/.DS_Store", "calm/2.mp4")
    (tmp_path / "copy").mkdir()
    os.link(tmp_path / "anger/1.wav", lay(tmp_path, "copy/anger/x.txt") / "copy/anger/1.wav")
    report = check_corpus(tmp_path)
    assert [(problem.kind, problem.file) for problem in report.problems] == [("class lost", "fear")]
    assert not report.ok and report.copies == 1
    assert report.passed_over == {".mp4 files": 3, ".txt files": 2, "no suffix files": 1, "hidden files": 1}


def test_speakers_are_guessed_aloud_and_not_used(tmp_path: Path) -> None:
    lay(tmp_path, *crossed("{}/{}_{}.wav", "anger calm", "ann bob", "1 2 3"))
    scan = scan_folder(tmp_path)
    assert {clip.speaker for clip in scan.clips} == {""}
    assert "2 beginnings of names go with several classes each (ann, bob)" in scan.hint
    pattern = scan.hint.split("--speaker-pattern '")[1].removesuffix("'")
    given = scan_folder(tmp_path, CorpusOptions(speaker_pattern=pattern))
    assert {clip.speaker for clip in given.clips} == {"ann", "bob"} and not given.hint


def test_a_choice_is_written_down_for_the_other_commands(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("aroused/03a01Wa.wav", "aroused/08a03Fa.wav", "calm/03a01Na.wav", "calm/08a02Nb.wav"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "mine" / name, rng.normal(0, 0.1, 3000), 16000)
    arguments = ["corpus", "check", str(tmp_path / "mine")]
    stopped = CliRunner().invoke(main, arguments)
    assert stopped.exit_code == 1 and "--labels folders" in stopped.stderr
    table = tmp_path / "mine.csv"
    done = CliRunner().invoke(main, [*arguments, "--labels", "folders", "--table", str(table), "--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == 0 and report["basis"] == "folders (label/clip)"
    assert report["counts"] == {label: {"emodb/03": 1, "emodb/08": 1} for label in ("aroused", "calm")}
    with table.open(newline="") as file:
        assert next(csv.DictReader(file)) == {
            "file": "mine/aroused/03a01Wa.wav",
            "label": "aroused",
            "speaker": "emodb/03",
            "part": "",
        }
    again = json.loads(CliRunner().invoke(main, ["corpus", "check", str(table), "--json"]).stdout)
    assert again["counts"] == report["counts"] and again["ok"]


def speech_by(folder: Path, voices: dict[str, str], gain: dict[str, float] | None = None) -> Path:
    """Six recordings of a third of a second for each class, by these speakers in turn."""
    rng = np.random.default_rng(1)
    for label, speakers in voices.items():
        for number in range(6):
            who = speakers.split()[number % len(speakers.split())]
            path = folder / label / who / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1 * (gain or {}).get(label, 1), 5000), 16000)
    return folder


def test_a_class_that_its_speakers_tell_is_named(tmp_path: Path) -> None:
    folder = speech_by(tmp_path, {"anger": "s1 s2 s3", "calm": "s1 s2 s4", "joy": "s7"})
    (warning,) = check_corpus(folder).warnings
    assert warning.kind == "speakers" and warning.clips == 6
    assert (
        "the class joy differs from the others in who speaks: its 6 clips are by 1 of 5 speakers"
        in warning.text
    )


def test_a_class_that_its_level_tells_is_named(tmp_path: Path) -> None:
    folder = speech_by(tmp_path, {"anger": "s1 s2", "calm": "s1 s2"}, {"calm": 0.1})
    (warning,) = check_corpus(folder).warnings
    assert warning.kind == "loudness"
    assert "differs from the others in level: at most -" in warning.text and " dB in 100% of" in warning.text


def test_classes_alike_in_speakers_and_level_have_no_warning(tmp_path: Path) -> None:
    assert check_corpus(speech_by(tmp_path, {"anger": "s1 s2 s3", "calm": "s1 s2 s3"})).warnings == ()


def test_small_classes_are_named_before_training_refuses_them(tmp_path: Path) -> None:
    folder = speech_by(tmp_path, {"anger": "s1 s2", "calm": "s1 s2"})
    for number in (1, 3):
        (folder / "calm" / "s2" / f"{number}.wav").unlink()
    (warning,) = check_corpus(folder).warnings
    assert warning.kind == "small class" and "of calm 4 there are fewer" in warning.text
    assert "train refuses a class of one" in warning.text


def test_other_recordings_under_published_names_are_not_held_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for name in EMODB:
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 3000), 16000)
    corpus = load_corpus(tmp_path)
    own = read_recordings(corpus.clips, 16000).short_digests
    digests = {clip.name: digest for clip, digest in zip(corpus.clips, own, strict=True)}
    held = ["03a01Wa", "08a02Fb"]
    told = {"train": [], "validation": [], "test": [digests[name] for name in held]}
    bare = made_up_model((8, 3), (2, 4), labels=("anger", "happiness", "neutral"))
    model = dataclasses.replace(bare, provenance={"corpus": "emodb", "held_out": held, "recordings": told})
    chosen, held_out, basis = choose_clips(model, corpus)
    assert [clip.name for clip in chosen] == held and held_out and "other samples" not in basis
    soundfile.write(tmp_path / "03a01Wa.wav", rng.normal(0, 0.1, 3000), 16000)
    chosen, held_out, basis = choose_clips(model, corpus)
    assert [clip.name for clip in chosen] == ["08a02Fb"] and held_out
    assert basis.endswith("; 1 with such names hold other samples and are left out")
    soundfile.write(tmp_path / "08a02Fb.wav", rng.normal(0, 0.1, 3000), 16000)
    chosen, held_out, basis = choose_clips(model, corpus)
    assert len(chosen) == 4 and not held_out and "2 with such names hold other samples" in basis
