"""EmoBox's folds: which clips test is read from its lists, and the scores are scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.corpus.loaders import Clip, Corpus
from serq_mcu.errors import SerqError
from tools.emobox import folds, parted, recall_and_f1


def corpus(*names: str) -> Corpus:
    clips = tuple(Clip(Path(f"{name}.flac"), name, "anger", "03") for name in names)
    return Corpus("emodb", Path(), clips, ("anger",))


def test_each_list_says_which_clips_test(tmp_path: Path) -> None:
    for fold, names in ((1, ["03a01Wa", "03a02Wb"]), (2, ["08a01Wa"])):
        path = tmp_path / "emodb" / f"fold_{fold}" / f"emodb_test_fold_{fold}.jsonl"
        path.parent.mkdir(parents=True)
        lines = [
            json.dumps({"key": f"emodb-{name}", "wav": f"downloads/emodb/wav/{name}.wav"}) for name in names
        ]
        path.write_text("\n".join(lines) + "\n")
    first, second = folds(tmp_path, "emodb")
    assert first == {"03a01Wa", "03a02Wb"}
    split = parted(corpus("03a01Wa", "03a02Wb", "08a01Wa"), second)
    assert [clip.part for clip in split.clips] == ["train", "train", "test"]
    with pytest.raises(SerqError, match="2 clips of the fold are not in emodb, such as 03a01Wa"):
        parted(corpus("08a01Wa"), first)
    with pytest.raises(SerqError, match="give EmoBox's folder"):
        folds(tmp_path, "savee")


def test_the_scores_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score, recall_score

    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 4, 200), rng.integers(-1, 4, 200)
    options = {"labels": range(4), "average": "macro"}
    expected = recall_score(truth, answers, **options), f1_score(truth, answers, **options)
    assert recall_and_f1(truth, answers) == pytest.approx(expected)
