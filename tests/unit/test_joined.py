"""Several corpora as one: classes by their names, speakers apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from serq_mcu.corpus.emotions import emotion_of, read_synonyms
from serq_mcu.corpus.joined import join, load_corpora
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError

EMODB = ("03a01Fa", "03a01Wa", "08a02Na", "08a02La")  # happiness, anger; neutral, boredom
PLAIN = ("angry/one", "happy/one", "neutral/one", "shouting/one")


def _folder(parent: Path, name: str, stems: tuple[str, ...]) -> Path:
    for stem in stems:
        path = parent / name / f"{stem}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stem.encode())
    return parent / name


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return _folder(tmp_path, "emodb", EMODB), _folder(tmp_path, "mine", PLAIN)


def test_classes_that_all_have_are_kept_under_one_name_and_speakers_stay_apart(
    folders: tuple[Path, Path],
) -> None:
    joined = load_corpora(folders)
    assert (joined.name, joined.labels) == ("emodb+mine", ("anger", "happiness", "neutral"))
    assert [clip.name for clip in joined.clips] == [
        *("emodb/03a01Fa", "emodb/03a01Wa", "emodb/08a02Na"),
        *("mine/angry/one", "mine/happy/one", "mine/neutral/one"),
    ]
    assert {clip.speaker for clip in joined.clips} == {"emodb/03", "emodb/08", "mine/unknown"}
    assert {clip.corpus for clip in joined.clips} == {"emodb", "mine"}


def test_a_union_has_all_classes_and_a_list_those_it_names(folders: tuple[Path, Path]) -> None:
    every = {"anger", "boredom", "happiness", "neutral", "shouting"}
    assert set(load_corpora(folders, "union").labels) == every
    assert load_corpora(folders, "boredom, anger").labels == ("anger", "boredom")
    with pytest.raises(SerqError, match="no corpus has a class 'joy'; there are anger, boredom"):
        load_corpora(folders, "joy,anger")


def test_synonyms_of_the_user_go_first(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('anger = ["shouting"]\nrage = ["angry"]\n')
    synonyms = read_synonyms(tmp_path / "own.toml")
    joined = load_corpora(folders, "union", synonyms)
    labels = {clip.name: clip.label for clip in joined.clips}
    assert labels["mine/shouting/one"] == "anger" == labels["emodb/03a01Wa"]
    assert labels["mine/angry/one"] == "rage"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('anger = "angry"', "'anger' must have a list of names"),
        ("anger = [1]", "'anger' must have a list of names"),
        ('anger = ["mad"]\nfear = ["mad"]', "'mad' stands for 'anger' and for 'fear'"),
        ("anger = [", "TOML"),
    ],
)
def test_a_bad_table_of_synonyms_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(SerqError, match=words):
        read_synonyms(tmp_path / "own.toml")


def test_corpora_that_do_not_go_together_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="two folders hold the corpus emodb"):
        load_corpora((folders[0], folders[0]))
    other = _folder(tmp_path, "other", ("cat/one", "dog/one"))
    with pytest.raises(SerqError, match=r"fewer than two classes are in all corpora .*other has cat, dog"):
        load_corpora((folders[0], other))


def test_two_classes_of_a_corpus_become_one_only_when_the_user_says_so(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    both = _folder(tmp_path, "both", ("mad/one", "rage/one", "neutral/one"))
    with pytest.raises(
        SerqError, match=r"classes mad and rage of both are both names of anger; .*--synonyms"
    ):
        load_corpora((folders[0], both))
    joined = load_corpora((folders[0], both), synonyms={"mad": "anger", "rage": "anger"})
    assert joined.labels == ("anger", "neutral")
    signs = _folder(tmp_path, "signs", ("positive/one", "negative/one"))
    assert load_corpora((folders[0], signs), "union").labels[-2:] == ("neutral", "positive")


def test_one_folder_is_what_it_was_until_it_is_asked_otherwise(folders: tuple[Path, Path]) -> None:
    assert load_corpora(folders[:1]) == load_corpus(folders[0])
    alone = join([load_corpus(folders[1])])
    assert alone.labels == ("anger", "happiness", "neutral", "shouting")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Angry", "anger"),
        ("pleasant_surprise", "surprise"),
        ("wütend", "anger"),
        ("happy or sad", ""),
        ("cat", ""),
    ],
)
def test_words_of_emotions_are_known(name: str, label: str) -> None:
    assert emotion_of(name) == label
