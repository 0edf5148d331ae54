"""Experiments: plans to tasks to rows to pages; budgets; resuming; processes and a Dask cluster.

Tones in noise, and EMO-DB where it is at hand.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.width_costs import width_costs
from serq_mcu.config import load_config
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.experiments import engine
from serq_mcu.experiments.choice import bars, choices
from serq_mcu.experiments.engine import run_plan
from serq_mcu.experiments.features import FEATURE_SETS, UNITS_PER_SD, compute, corpus_digest, in_units
from serq_mcu.experiments.plan import LATER, PLANS, SHARED_EMOTIONS, Plan, Study, Task, load_plan, tasks
from serq_mcu.experiments.results import (
    AS_RECORDED,
    PTQ,
    QAT,
    WEIGHTS,
    Row,
    groups,
    hex_bits,
    mcnemar,
    mean_difference,
    read_results,
    write_results,
)
from serq_mcu.experiments.sequence_networks import SequenceResult, build, train_sequences
from serq_mcu.experiments.task import CorpusData, _standardised_by, run_task
from serq_mcu.frontend.blocks import Voicing
from serq_mcu.layers.kernels import core_of
from serq_mcu.quantization.budgeted import WidthBudget, byte_costs, combinations
from serq_mcu.show.experiments.across import choice_parts
from serq_mcu.show.experiments.page import write_page
from serq_mcu.show.experiments.paper import beside_paper_parts
from serq_mcu.show.experiments.within import bar_parts
from serq_mcu.show.experiments.words import TITLES
from serq_mcu.training.splits import TEST, TRAIN, VALIDATION
from serq_mcu.version import __version__
from tests.support.training import small_config

RATE = 16000
TRAINING = {
    "hidden": [12],
    "max_epochs": 30,
    "batch_size": 8,
    "presentations": 1,
    "mixup": 0.0,
    "validation_fraction": 0.2,
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve half-second harmonic tones in noise for each of three classes, as label/clip.wav."""
    folder, rng, time = (
        tmp_path_factory.mktemp("tones"),
        np.random.default_rng(0),
        np.arange(RATE // 2) / RATE,
    )
    for label, pitch in {"calm": 120.0, "angry": 260.0, "sad": 80.0}.items():
        (folder / label).mkdir()
        for take in range(12):
            tone = sum(np.sin(2 * np.pi * pitch * (1 + 0.02 * take) * k * time) / k for k in range(1, 8))
            soundfile.write(
                folder / label / f"{take}.wav",
                0.1 * tone + 0.02 * rng.normal(size=time.size),
                RATE,
                subtype="PCM_16",
            )
    return folder


def _study(**changes: object) -> Study:
    values: dict[str, Any] = {
        "name": "tones",
        "corpora": ("plain",),
        "models": ("mlp",),
        "features": ("librosa15", "device15"),
        "methods": ("32", "4", "1", "adaptive", "budget:150"),
        "fine_tuned": ("1",),
        "protocol": "clips",
        "folds": 3,
        "seeds": 1,
        "training": TRAINING,
    }
    return Study(**values | changes)


def _data(
    name: str, clips: int = 60, seed: int = 0, shift: float = 0.0, labels: tuple[str, ...] = SHARED_EMOTIONS
) -> CorpusData:
    """Separable classes in 15 librosa-like features; the fourth half are of speaker b."""
    rng = np.random.default_rng(seed)
    truth = np.arange(clips) % len(labels)
    centres = np.random.default_rng(5).normal(0, 3, (len(labels), 15))
    values = centres[truth] + rng.normal(0, 1, (clips, 15)) + shift
    return CorpusData(
        name, labels, values, truth.astype(np.int64), tuple("ab"[i // (clips // 2)] for i in range(clips))
    )


def _tasks(study: Study, **contents: str) -> list[Task]:
    return tasks(Plan("t", (study,), {}), contents, dict.fromkeys(contents, 2))


# Features


@pytest.mark.slow(25)
def test_features_are_librosas_means_and_remembered_by_content(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import librosa

    chosen = load_corpus(clips).clips[:2]
    found = compute(FEATURE_SETS["librosa180"], chosen, corpus_digest(chosen))
    y = soundfile.read(chosen[1].path)[0]
    means = [
        librosa.feature.mfcc(y=y, sr=RATE, n_mfcc=40).mean(axis=1),
        librosa.feature.chroma_stft(y=y, sr=RATE).mean(axis=1),
        librosa.feature.melspectrogram(y=y, sr=RATE).mean(axis=1),
    ]
    assert found.shape == (2, 180)
    assert np.allclose(
        found[1], np.concatenate(means), rtol=1e-5
    )  # librosa reckons in float32 or float64 as its input is
    monkeypatch.setattr("serq_mcu.experiments.features._means", lambda *_: pytest.fail("computed again"))
    assert (compute(FEATURE_SETS["librosa180"], chosen, corpus_digest(chosen)) == found).all()
    assert corpus_digest(chosen) != corpus_digest([replace(chosen[0], label="other"), chosen[1]])


def test_units_come_from_training_clips_alone() -> None:
    values = np.random.default_rng(0).normal(3, 0.01, (50, 4))
    training = np.arange(50) < 40
    units = in_units(values, training)
    assert np.abs(units[training].mean(axis=0)).max() <= 0.5
    assert units[training].std(axis=0) == pytest.approx([UNITS_PER_SD] * 4, rel=1e-3)
    changed = values.copy()
    changed[~training] *= 2
    assert (in_units(changed, training)[training] == units[training]).all()


# Plans and tasks


def test_the_plans_that_ship_are_sound() -> None:
    for name in PLANS:
        plan = load_plan(name)
        assert plan.corpora[0] == "emodb"
        keys = [
            task.key for task in tasks(plan, dict.fromkeys(plan.corpora, "x"), dict.fromkeys(plan.corpora, 4))
        ]
        assert len(set(keys)) == len(keys) > 0


def test_protocols_make_their_tasks() -> None:
    assert [task.split for task in _tasks(_study(features=("librosa15",)), plain="x")] == [0, 1, 2]
    assert [
        (task.seed, task.split)
        for task in _tasks(_study(features=("librosa15",), protocol="holdout", seeds=2), plain="x")
    ] == [(0, 0), (1, 0)]
    assert [
        task.split for task in _tasks(_study(features=("librosa15",), protocol="speakers"), plain="x")
    ] == [0, 1]
    across = _study(corpora=("a", "b", "c"), features=("librosa15",), protocol="corpus")
    assert [(task.train, task.test) for task in _tasks(across, a="1", b="2", c="3")] == [
        (("a",), ("b", "c")),
        (("b",), ("a", "c")),
        (("c",), ("a", "b")),
    ]
    all_but_one = [
        (task.train, task.test) for task in _tasks(replace(across, protocol="corpora"), a="1", b="2", c="3")
    ]
    assert all_but_one == [(("b", "c"), ("a",)), (("a", "c"), ("b",)), (("a", "b"), ("c",))]


def test_a_tasks_key_follows_all_that_it_depends_on() -> None:
    task = _tasks(_study(), plain="x")[0]
    assert replace(task, study="renamed", bar="any").key == task.key
    assert len({replace(task, inner=inner, inner_folds=2 if inner else 0).key for inner in range(3)}) == 3
    changes: list[dict[str, Any]] = [
        {"content": "y"},
        {"seed": 1},
        {"training": {}},
        {"tuning": {"epochs": 2}},
        {"quantization": {"margin": 0.02}},
        {"fine_tuned": ()},
        {"spec": {**task.spec, "hop_length": 256}},
        {"augmentation": {"versions": 1}},
    ]
    for change in changes:
        assert replace(task, **change).key != task.key


def _key_as_measured(task: Task) -> str:
    """Return the key of a task on MFCC as rows in docs have it, before there were later keys."""
    later = {"tiers", "tier_db", "speech_frames", "speech_rise_db", "pitch_low", "pitch_high", "voiced_above"}
    (mfcc,) = task.spec["blocks"]
    spec = {key: value for key, value in task.spec.items() if key not in later}
    spec["blocks"] = [{key: value for key, value in mfcc.items() if key != "bands"}]
    values = {name: value for name, value in asdict(task).items() if name not in ("study", "bar")}
    text = json.dumps([values | {"spec": spec}, __version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_later_key_of_augmentation_counts_in_a_tasks_key_by_what_it_draws() -> None:
    before = replace(_tasks(_study(), plain="x")[0], augmentation={"versions": 1})
    off = replace(before, augmentation={"versions": 1, **dict.fromkeys(LATER, 0.0)})
    assert off.key == before.key == _key_as_measured(before)  # base.toml draws none of them
    unused = replace(off, augmentation={**off.augmentation, "pause": [0.0, 9.0]})
    assert unused.key == off.key
    said = replace(off, augmentation={**off.augmentation, "pause_share": 0.5})
    longer = replace(said, augmentation={**said.augmentation, "pause": [0.0, 9.0]})
    assert len({off.key, said.key, longer.key}) == 3


def test_a_later_key_of_features_counts_in_a_tasks_key_by_what_it_does() -> None:
    task = _tasks(_study(), plain="x")[0]
    assert task.key == _key_as_measured(task)

    def key(**changes: Any) -> str:
        return replace(task, spec={**task.spec, **changes}).key

    assert key(tier_db=20.0, speech_rise_db=9.0, pitch_low=80.0) == task.key  # nothing reads them
    pitched = [*task.spec["blocks"], Voicing().to_json()]
    narrow = [{**block, "bands": 28} for block in task.spec["blocks"]]
    different = [
        task.key,
        *(key(**changes) for changes in ({"tiers": 3}, {"tiers": 3, "tier_db": 20.0}, {"speech_frames": 8})),
        *(key(**changes) for changes in ({"blocks": narrow}, {"blocks": pitched})),
        key(blocks=pitched, pitch_low=80.0),
    ]
    assert len(set(different)) == len(different)


def test_every_share_of_augmentation_is_as_old_as_the_rows_or_listed() -> None:
    shares = {key for key in load_config().to_json()["augmentation"] if key.endswith("_share")}
    assert shares == {"room_share", "noise_share", *LATER}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ("svm",)}, "model 'svm'"),
        ({"protocol": "leave"}, "protocol"),
        ({"methods": ("9",)}, "method '9'"),
        ({"methods": ("budget:much",)}, "method"),
        ({"methods": ("32:5",)}, "method"),
        ({"folds": 1}, "folds"),
        ({"training": {"sede": 1}}, r"study tones: unknown key 'sede' in \[training\]; did you mean seed"),
        ({"tuning": {"epochs": 0}}, r"study tones: tuning\.epochs is 0"),
        ({"quantization": {"margin": 2}}, r"study tones: quantization\.margin is 2"),
        ({"white_noise_db": (10.0,)}, "augmentation"),
        ({"bar": "b"}, "inner_folds"),
        ({"inner_folds": 2}, "a bar"),
        ({"bar": "b", "inner_folds": 2, "protocol": "corpus"}, "clips or speakers"),
    ],
)
def test_bad_studies_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(SerqError, match=words):
        _study(**change)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 1", "malformed"),
        ("[study\n", "TOML"),
        ("title = 't'\n[[study]]\nname = 'x'\nsize = 3\n", "malformed"),
        (None, "there is no plan"),
    ],
)
def test_bad_plans_are_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "plan.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SerqError, match=words):
        load_plan(str(path))


# One task


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    study = _study(
        features=("librosa15",),
        methods=("32", *"87654321", "adaptive", "budget:150"),
        fine_tuned=("2", "1"),
        protocol="holdout",
        seeds=2,
    )
    data = _data("plain", 120)
    return [row for task in _tasks(study, plain="x") for row in run_task(task, [data])]


def test_a_row_says_what_happened(rows: list[Row]) -> None:
    assert len(rows) == 2 * (11 + 2)
    for row in rows:
        assert row.n == 40
        assert row.correct == int(row.hits.sum()) == round(row.accuracy * row.n)
        assert row.low < row.accuracy <= row.high
        assert row.parameters == 15 * 12 + 12 + 12 * 6 + 6
    by_name = {(row.method, row.tuning): row for row in rows if row.seed == 0}
    assert by_name["32", ""].weights_only_bytes == 4 * by_name["32", ""].parameters
    assert by_name["32", ""].accuracy > 0.8  # classes lie some sixteen standard deviations apart
    assert by_name["8", PTQ].accuracy >= by_name["32", ""].accuracy - 0.05
    assert by_name["4", PTQ].widths == "4-4"
    assert by_name["4", PTQ].weights_only_bytes == by_name["4", PTQ].parameters / 2
    assert by_name["4", PTQ].stored_bytes > by_name["4", PTQ].weights_only_bytes
    assert by_name["budget:150", PTQ].weights_only_bytes <= 150
    assert by_name["1", QAT].accuracy >= by_name["1", PTQ].accuracy - 0.05


def test_speakers_and_other_corpora_are_held_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[Any, Any] = {}

    def judge(task: Task, problem: object, config: object) -> list[object]:
        seen["problem"] = problem
        return []

    monkeypatch.setattr("serq_mcu.experiments.task._judge_mlp", judge)
    data = _data("plain", 120)
    task, _ = _tasks(_study(features=("librosa15",), protocol="speakers"), plain="x")
    run_task(task, [data])
    assert (np.array(data.speakers)[seen["problem"].part == TEST] == "a").all()
    assert (np.array(data.speakers)[seen["problem"].part != TEST] == "b").all()
    one, other = _data("one", labels=("anger", "boredom", *SHARED_EMOTIONS[1:])), _data("other", seed=1)
    task, _ = _tasks(
        _study(corpora=("one", "other"), features=("librosa15",), protocol="corpus"), one="1", other="2"
    )
    run_task(task, [one, other])
    problem = seen["problem"]
    known = [label for label in np.array(one.labels)[one.truth] if label != "boredom"]
    assert [problem.labels[index] for index in problem.truth[: len(known)]] == known
    assert (problem.part[: len(known)] != TEST).all()
    assert (problem.part[len(known) :] == TEST).all()
    assert {TRAIN, VALIDATION, TEST} == set(problem.part.tolist())


def _six_speakers(name: str, seed: int = 0) -> CorpusData:
    """Of whom each has 20 clips, one behind the other."""
    return replace(_data(name, 120, seed=seed), speakers=tuple("abcdef"[index // 20] for index in range(120)))


def _problem(task: Task, corpora: list[CorpusData], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The data that a task would train on."""
    seen: list[Any] = []

    def judge(_: object, problem: object, __: object) -> list[object]:
        seen.append(problem)
        return []

    monkeypatch.setattr("serq_mcu.experiments.task._judge_mlp", judge)
    run_task(task, corpora)
    return seen[0]


def _whose(names: np.ndarray, problem: Any) -> list[set[str]]:
    return [set(names[problem.part == part].tolist()) for part in (TRAIN, VALIDATION, TEST)]


@pytest.mark.parametrize(("protocol", "splits"), [("clips", 3), ("holdout", 1), ("speakers", 3)])
def test_speakers_who_do_not_train_validate(
    protocol: str, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _six_speakers("one")
    training = {**TRAINING, "speakers_out": 2}
    study = _study(corpora=("one",), features=("librosa15",), protocol=protocol, training=training)
    made = tasks(Plan("t", (study,), {}), {"one": "x"}, {"one": 6})
    assert len(made) == splits
    for task in made:
        problem = _problem(task, [data], monkeypatch)
        train, validation, test = _whose(np.array(data.speakers), problem)
        assert problem.validation == "speakers" and validation and not train & validation
        if protocol == "speakers":
            assert test == {"abcdef"[2 * task.split], "abcdef"[2 * task.split + 1]}
            assert problem.speakers_out == 2 and not test & (train | validation)
        else:
            assert problem.speakers_out == 0


def test_inner_folds_of_speakers_validate_by_speakers_who_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold of dealt speakers is asked; of the others, one validates and the rest train."""
    data = _six_speakers("one")
    study = _study(
        corpora=("one",), features=("librosa15",), protocol="speakers", bar="b", inner_folds=3
    )  # five speakers are left in; two of them, or one, are asked
    made = tasks(Plan("t", (study,), {}), {"one": "x"}, {"one": 6})
    for task in (task for task in made if task.inner):
        left = np.array([name for name in data.speakers if name != "abcdef"[task.split]])
        problem = _problem(task, [data], monkeypatch)
        train, validation, test = _whose(left, problem)
        assert test == set(np.unique(left)[task.inner - 1 :: 3].tolist())
        assert problem.validation == "speakers" and len(validation) == 1
        assert not train & validation and not test & (train | validation)


def test_speakers_of_the_corpora_that_train_validate_across_corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speakers of one name in two corpora are two people."""
    corpora = [_six_speakers(name, seed) for seed, name in enumerate(("one", "two", "three"))]
    study = _study(corpora=("one", "two", "three"), features=("librosa15",), protocol="corpora")
    task = _tasks(study, one="1", two="2", three="3")[0]
    problem = _problem(task, [corpora[1], corpora[2], corpora[0]], monkeypatch)
    names = np.array(
        [
            f"{corpus.name}/{name}"
            for corpus in (corpora[1], corpora[2], corpora[0])
            for name in corpus.speakers
        ]
    )
    train, validation, test = _whose(names, problem)
    assert problem.validation == "speakers" and problem.speakers_out == 0
    assert not train & validation and {name.split("/")[0] for name in train | validation} == {"two", "three"}
    assert test == {f"one/{name}" for name in "abcdef"}


def test_every_study_that_ships_says_who_validates() -> None:
    """Rows in docs are of plans that said nothing when clips validated; the default is another one now."""
    for name in PLANS:
        assert {study.training["validation"] for study in load_plan(name).studies} <= {"clips", "speakers"}
    planned = {study.name: study.training["validation"] for study in load_plan("product").studies}
    assert set(planned.values()) == {"clips", "speakers"}
    for row in read_results(DOCS / "product.csv"):
        assert row.validation == planned[row.study]
        assert row.speakers_out == (1 if row.protocol == "speakers" else 0)


@pytest.mark.parametrize("protocol", ["clips", "speakers"])
def test_inner_folds_part_what_a_split_does_not_hold_out(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Any, Any] = {}
    monkeypatch.setattr(
        "serq_mcu.experiments.task._judge_mlp",
        lambda task, problem, config: seen.update({(task.split, task.inner): problem}) or (),
    )
    data = replace(_data("plain", 120), speakers=tuple("abcdef"[index // 20] for index in range(120)))
    data = replace(
        data, values=np.column_stack([data.values[:, :-1], np.arange(120)])
    )  # the last feature names the clip
    study = _study(features=("librosa15",), protocol=protocol, bar="b", inner_folds=2, seeds=2)
    made = tasks(Plan("t", (study,), {}), {"plain": "x"}, {"plain": 6})
    assert len({task.key for task in made}) == len(made)
    if protocol == "clips":
        assert len(made) == 2 * 3 * (1 + 2)
    else:  # whose speakers are the same for every seed
        assert len(made) == 2 * 6 + 6 * 2
    for task in (task for task in made if task.seed == 0):
        run_task(task, [data])

    def names(split: int, inner: int, part: int) -> set[int]:
        problem = seen[split, inner]
        order = np.argsort(np.argsort(problem.values[0][:, -1]))  # units keep the order
        kept = sorted(set(range(120)) - names(split, 0, TEST)) if inner else list(range(120))
        return {kept[index] for index in order[problem.part == part]}

    for split in {task.split for task in made}:
        outside = names(split, 0, TEST)
        asked = [names(split, inner, TEST) for inner in (1, 2)]
        assert asked[0] | asked[1] == set(range(120)) - outside
        assert not asked[0] & asked[1]
        for inner in (1, 2):
            trained = names(split, inner, TRAIN) | names(split, inner, VALIDATION)
            assert trained == asked[2 - inner]
            if protocol == "speakers":
                assert not {data.speakers[index] for index in trained} & {
                    data.speakers[index] for index in asked[inner - 1]
                }


def test_in_every_split_the_inner_folds_choose_what_stands_for_a_bar(rows: list[Row]) -> None:
    one = replace(
        next(row for row in rows if row.tuning == QAT),
        bar="b",
        protocol="clips",
        n=40,
        weights_only_bytes=10.0,
    )

    def row(study: str, split: int, inner: int, correct: int, **changes: Any) -> Row:
        return replace(
            one,
            study=study,
            split=split,
            inner=inner,
            correct=correct,
            accuracy=correct / 40,
            seed=0,
            **changes,
        )

    given = [
        *(row("x", 0, inner, correct) for inner, correct in enumerate((10, 30, 31))),  # 0: judges
        *(row("y", 0, inner, correct) for inner, correct in enumerate((40, 30, 30))),
        *(row("x", 1, inner, correct) for inner, correct in enumerate((11, 30, 30))),
        *(row("y", 1, inner, correct) for inner, correct in enumerate((20, 31, 29))),  # as many, but larger
        *(row("x", 2, inner, correct) for inner, correct in enumerate((12, 20, 20))),
        *(row("y", 2, inner, correct) for inner, correct in enumerate((21, 20, 21))),
        *(row("x", 3, inner, correct) for inner, correct in enumerate((40, 40, 40))),
        *(row("y", 3, inner, correct) for inner, correct in enumerate((40, 40))),  # an inner fold is missing
        row("x", 4, 0, 40),
    ]
    given = [replace(row, weights_only_bytes=12.0) if row.study == "y" else row for row in given]
    given += [
        replace(given[0], tuning="", correct=0),
        replace(given[0], bar="", study="other"),
    ]  # floats and others have no part
    (bar,) = bars(given)
    assert [(row.split, row.study) for row in bar.judged[AS_RECORDED].rows] == [(0, "x"), (1, "x"), (2, "y")]
    assert bar.judged[AS_RECORDED].accuracy == (10 + 11 + 21) / 120
    assert {key[0]: times for key, times in bar.chosen.items()} == {"x": 2, "y": 1}
    page = "\n".join(bar_parts(given))
    assert "| as recorded | 35.0 |" in page
    assert f"| y | {one.features} |" in page
    assert (
        sum(group.first.study == "x" for group in groups(given).values()) == 2
    )  # integers and floats; inner folds do not judge
    assert bars([row for row in given if row.split > 2]) == []
    assert list(bar_parts([])) == []


def test_a_speakers_bar_is_chosen_once_for_all_seeds(rows: list[Row]) -> None:
    one = replace(
        next(row for row in rows if row.tuning == QAT), bar="b", protocol="speakers", seed=0, split=0
    )
    judged = [replace(one, study=study, seed=seed, correct=seed) for study in "xy" for seed in (0, 1)]
    (bar,) = bars(
        [*judged, replace(one, study="x", inner=1, correct=3), replace(one, study="y", inner=1, correct=4)]
    )
    assert [(row.study, row.seed) for row in bar.judged[AS_RECORDED].rows] == [("y", 0), ("y", 1)]


def test_transductive_features_are_standardised_corpus_by_corpus() -> None:
    values = np.random.default_rng(0).normal(0, 1, (2, 40, 3)) * 500
    values[:, 20:] = 7 * values[:, 20:] + 9000
    names = np.repeat(["one", "other"], 20)
    units = _standardised_by(names, np.rint(values).astype(np.int32))
    for name in ("one", "other"):  # by the clips as recorded, the first version
        assert np.abs(units[0, names == name].mean(axis=0)).max() <= 1
        assert units[0, names == name].std(axis=0) == pytest.approx([UNITS_PER_SD] * 3, rel=1e-3)
    study = _study(
        corpora=("one", "other"),
        features=("librosa15",),
        protocol="corpus_transductive",
        methods=("32",),
        fine_tuned=(),
    )
    task = _tasks(study, one="1", other="2")[0]
    (row,) = run_task(task, [_data("one", 120), _data("other", seed=1, shift=50.0)])
    assert row.uar > 0.7  # the shift of the other corpus does not matter


def test_transductive_features_by_speaker_forget_what_a_speaker_shifts() -> None:
    """One speaker of the judging corpus is shifted by much: standardised by corpus that hides the classes,
    by speaker it does not matter.
    """
    other = _data("other", seed=1)
    shifted = replace(
        other, values=other.values + np.where(np.array(other.speakers) == "a", 50.0, 0.0)[:, None]
    )
    uar = {}
    for protocol in ("corpus_transductive", "corpus_transductive_by_speaker"):
        study = _study(
            corpora=("one", "other"),
            features=("librosa15",),
            protocol=protocol,
            methods=("32",),
            fine_tuned=(),
        )
        (row,) = run_task(_tasks(study, one="1", other="2")[0], [_data("one", 120), shifted])
        uar[protocol] = row.uar
    assert uar["corpus_transductive_by_speaker"] > 0.7
    assert uar["corpus_transductive"] < 0.5


def test_features_are_chosen_by_the_corpora_that_train_alone(rows: list[Row]) -> None:
    one = next(row for row in rows if row.method == "32")

    def judged(train: str, test: str, protocol: str, features: str, uar: float, seed: int = 0) -> Row:
        return replace(one, train=train, test=test, protocol=protocol, features=features, uar=uar, seed=seed)

    found = choices(
        [
            judged("a", "a", "speakers", "x", 0.4),
            judged("a", "a", "speakers", "y", 0.3),
            judged("a", "c", "corpus", "x", 0.2),
            judged("a", "c", "corpus", "y", 0.9),  # the better where it judges
            judged("a", "b", "corpus", "x", 0.1),
            judged("a", "b", "corpus", "y", 0.7),
            judged("b", "a", "corpus", "x", 0.4),
            judged("b", "a", "corpus", "y", 0.1),
            judged("a+b", "c", "corpora", "x", 0.8),
            judged("a+b", "c", "corpora", "x", 0.6, seed=1),
            judged("a+b", "c", "corpora", "y", 0.5),
            judged("a+b", "c", "corpora_transductive", "y", 0.5),  # nothing to choose it by
        ]
    )
    chosen = {
        (choice.protocol, choice.train, choice.test): (choice.features, round(choice.chosen_at, 3))
        for choice in found
    }
    assert chosen == {
        ("corpus", "a", "b"): ("x", 0.4),
        ("corpus", "a", "c"): ("x", 0.4),
        ("corpora", "a+b", "c"): ("y", 0.4),
    }
    (last,) = [choice for choice in found if choice.protocol == "corpora"]
    assert [group.uar for group in last.judged] == [0.5]
    page = "\n".join(
        choice_parts(
            [
                *(group.rows[0] for choice in found for group in choice.judged),
                judged("a", "a", "speakers", "x", 0.4),
            ]
        )
    )
    assert "| a | c | x | 40.0 | 20.0 |" in page
    assert "| mean |  |  |  | 15.0 |" in page


def test_versions_of_recordings_train_and_the_recording_judges(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Any, Any] = {}
    monkeypatch.setattr(
        "serq_mcu.experiments.task._judge_mlp",
        lambda task, problem, config: seen.setdefault("problem", problem) and (),
    )
    study = _study(
        features=("device15",),
        augmentation={"versions": 2, "noises": ["white"]},
        methods=("32",),
        fine_tuned=(),
    )
    corpus = load_corpus(clips)
    recorded = compute(FEATURE_SETS["device15"], corpus.clips, corpus_digest(corpus.clips))
    truth = np.array([corpus.labels.index(clip.label) for clip in corpus.clips])
    run_task(
        _tasks(study, plain="x")[0], [CorpusData("plain", corpus.labels, recorded, truth, ("",) * 36, clips)]
    )
    values = seen["problem"].values
    assert values.shape == (3, 36, 15)
    assert (values[0] == recorded).all()
    assert (values[1] != values[2]).any()


def test_one_network_is_judged_as_recorded_and_in_noise(clips: Path) -> None:
    study = _study(
        features=("device15",),
        augmentation={"versions": 1},
        methods=("32",),
        fine_tuned=(),
        protocol="holdout",
        folds=3,
        white_noise_db=(40.0, -10.0),
    )
    corpus = load_corpus(clips)
    recorded = compute(FEATURE_SETS["device15"], corpus.clips, corpus_digest(corpus.clips))
    truth = np.array([corpus.labels.index(clip.label) for clip in corpus.clips])
    (task,) = _tasks(study, plain="x")
    plain, faint, loud = run_task(
        task, [CorpusData("plain", corpus.labels, recorded, truth, ("",) * 36, clips)]
    )
    assert [row.condition for row in (plain, faint, loud)] == [
        "as recorded",
        "white at 40 dB",
        "white at -10 dB",
    ]
    assert plain.n == faint.n == loud.n == 12
    assert plain.task == faint.task == loud.task == task.key
    assert plain.correct > loud.correct  # noise ten decibels above the tones drowns them
    assert replace(task, white_noise_db=(20.0,)).key != task.key != replace(task, white_noise_db=()).key


def test_the_loss_is_split_into_weights_and_activations() -> None:
    study = _study(
        features=("librosa15",), methods=("32", "8", "1"), fine_tuned=(), protocol="holdout", loss_split=True
    )
    (task,) = _tasks(study, plain="x")
    found = {(row.method, row.tuning): row for row in run_task(task, [_data("plain", 120)])}
    assert list(found) == [("32", ""), ("8", PTQ), ("8", WEIGHTS), ("1", PTQ), ("1", WEIGHTS)]
    assert (
        found["8", WEIGHTS].right == found["32", ""].right
    )  # 8 bits change no answer where classes lie far apart
    assert found["1", WEIGHTS].weights_only_bytes == found["1", PTQ].weights_only_bytes


def test_another_corpus_of_the_same_kind_is_recognised() -> None:
    study = _study(
        corpora=("one", "other"),
        features=("librosa15",),
        protocol="corpus",
        methods=("32", "2"),
        fine_tuned=(),
    )
    task = _tasks(study, one="1", other="2")[0]
    found = run_task(task, [_data("one", 120), _data("other", seed=1)])
    assert [(row.train, row.test, row.method, row.n) for row in found] == [
        ("one", "other", "32", 60),
        ("one", "other", "2", 60),
    ]
    assert all(row.uar > 0.7 for row in found)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("lstm", 4 * 128 * (4 + 128 + 1)),
        ("gru_attention", 3 * 128 * (4 + 128 + 2)),
        ("cnn1d", 5 * 4 * 64 + 64),
    ],
)
def test_networks_on_sequences_learn(kind: str, parameters: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    frames = (rng.normal(0, 1, (90, 12, 4)) + truth[:, None, None] * np.array([1.0, -1.0, 2.0, 0.0])).astype(
        np.float32
    )
    part = np.repeat(np.array([TRAIN, VALIDATION, TEST], dtype=np.uint8), 30)
    found = train_sequences(kind, frames, truth, part, 3, small_config(max_epochs=15, batch_size=8).training)
    assert (found.predicted == truth)[part == TEST].mean() > 0.8
    network = build(kind, (12, 4), 3, 0.1)
    assert found.parameters == network.count_params()
    assert network.layers[1].count_params() == parameters


def test_a_task_on_frames_reaches_its_network_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).normal(-20, 5, (60, 6, 4)).astype(np.float32)
    seen: dict[Any, Any] = {}

    def train(kind: str, values: np.ndarray, truth: np.ndarray, *rest: object) -> SequenceResult:
        seen[kind] = values
        return SequenceResult(truth, 7)

    monkeypatch.setattr("serq_mcu.experiments.sequence_networks.train_sequences", train)
    study = _study(models=("lstm",), features=("frames",), methods=("32",), fine_tuned=())
    (row,) = run_task(_tasks(study, plain="x")[0], [replace(_data("plain"), values=frames)])
    assert (seen["lstm"] == frames).all()
    assert (row.accuracy, row.parameters, row.inputs) == (1.0, 7, 24)


# Budgets


def test_combinations_are_the_best_of_all_that_fit() -> None:
    rng = np.random.default_rng(0)
    added = np.sort(rng.random((3, 8)), axis=1)[:, ::-1]
    budget = WidthBudget(byte_costs((200, 700, 90)), 400.0, "bytes")
    every = [
        (sum(added[i, b - 1] for i, b in enumerate(widths)), widths)
        for widths in itertools.product(range(1, 9), repeat=3)
        if sum(budget.costs[i, b - 1] for i, b in enumerate(widths)) <= 400
    ]
    assert combinations(added, budget, 5) == [widths for _, widths in sorted(every)[:5]]
    with pytest.raises(SerqError, match="smallest model needs 124 bytes"):
        combinations(added, replace(budget, most=100.0), 5)


def test_costs_in_instructions_are_those_of_the_cheapest_kernels() -> None:
    board = load_board("nucleo_f446re")
    products = [(120, 64, 1), (64, 7, 1)]
    costs = width_costs(products, board)
    assert costs.shape == (2, 8)
    assert (costs[0] > costs[1]).all()
    assert costs[0, 0] < costs[0, 7]  # fewer bits are faster
    assert core_of(board.mcu.features) is not core_of(load_board("emulated-m0").mcu.features)
    assert (width_costs(products, load_board("emulated-m0")) > costs).any()
    assert (width_costs([(120, 64, 38)], board) == 38 * costs[0]).all()


# Results and pages


def test_results_read_back_and_other_files_are_refused(rows: list[Row], tmp_path: Path) -> None:
    path = write_results(tmp_path / "r.csv", rows)
    back = read_results(path)
    assert write_results(tmp_path / "again.csv", back).read_bytes() == path.read_bytes()
    assert {row.right for row in back} == {row.right for row in rows}
    assert read_results(tmp_path / "none.csv") == []
    (tmp_path / "bad.csv").write_text("task,seed\n1,2\n")
    with pytest.raises(SerqError, match="not a results file"):
        read_results(tmp_path / "bad.csv")


def _row(template: Row, hits: list[int], seed: int, method: str) -> Row:
    right = np.array(hits, dtype=bool)
    return replace(
        template,
        seed=seed,
        method=method,
        n=right.size,
        correct=int(right.sum()),
        accuracy=float(right.mean()),
        right=hex_bits(right),
    )


def test_paired_tests_against_their_definitions(rows: list[Row]) -> None:
    first = [_row(rows[0], [1, 1, 1, 1, 1, 1, 0, 0], seed, "a") for seed in (0, 1)]
    second = [_row(rows[0], [1, 0, 0, 0, 1, 0, 1, 0], seed, "b") for seed in (0, 1)]
    test = mcnemar(first[:1], second)
    assert (test.only_first, test.only_second) == (4, 1)
    assert test.p == pytest.approx(2 * (5 + 1) / 2**5)  # at least 4 of 5 fair coins, both sides
    change = mean_difference(first, second)
    assert (change.mean, change.low, change.high) == pytest.approx((3 / 8,) * 3)


def _speakers_rows(template: Row, answers: dict[int, list[float]], method: str) -> list[Row]:
    """Rows of speakers 0 to 2, who have 10, 20 and 30 clips, by their accuracy with each seed."""
    rows = []
    for speaker, shares in answers.items():
        for seed, share in enumerate(shares):
            n = 10 * (speaker + 1)
            right = [1] * round(share * n) + [0] * (n - round(share * n))
            row = replace(template, protocol="speakers", split=speaker, speakers_out=1, tuning=method and QAT)
            rows.append(replace(_row(row, right, seed, method or "32"), uar=share, condition=AS_RECORDED))
    return rows


def test_speakers_are_averaged_over_seeds_and_then_counted(rows: list[Row]) -> None:
    given = {0: [0.5, 0.7], 1: [0.8, 0.8], 2: [0.9, 0.7]}
    (group,) = groups(_speakers_rows(rows[0], given, "2")).values()
    assert group.cases.tolist() == pytest.approx([0.6, 0.8, 0.8])
    assert group.accuracy == group.uar == pytest.approx(2.2 / 3)
    assert group.pooled == pytest.approx((12 + 32 + 48) / 120)  # those with more clips count more there
    half = 4.30265 * np.std([0.6, 0.8, 0.8], ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert group.mean_interval == pytest.approx((2.2 / 3 - half, min(1.0, 2.2 / 3 + half)), abs=1e-5)
    clips = replace(group, rows=tuple(replace(row, protocol="clips") for row in group.rows))
    assert clips.cases.size == 6 and clips.accuracy == group.pooled
    low, high = clips.mean_interval
    assert high - low < 2 * half  # six cases where there are three speakers


def test_a_difference_between_methods_is_over_speakers(rows: list[Row]) -> None:
    first = _speakers_rows(rows[0], {0: [0.5, 0.7], 1: [0.8, 0.8], 2: [0.9, 0.7]}, "2")
    second = _speakers_rows(rows[0], {0: [0.5, 0.5], 1: [0.8, 0.8], 2: [0.8, 0.6]}, "")
    change = mean_difference(first, second)
    half = 4.30265 * np.std([0.1, 0.0, 0.1], ddof=1) / np.sqrt(3)
    assert (change.mean, change.high - change.mean) == pytest.approx((0.2 / 3, half), abs=1e-5)


def test_a_page_says_how_many_speakers_an_interval_counts(rows: list[Row], tmp_path: Path) -> None:
    given = {0: [0.5, 0.7], 1: [0.8, 0.8], 2: [0.9, 0.7]}
    own = [*_speakers_rows(rows[0], given, "2"), *_speakers_rows(rows[0], given, "")]
    text = write_page(own, tmp_path / "r.csv", tmp_path / "page.md", "make it")[0].read_text()
    assert (
        "over speakers; validated by clips; seeds 0 to 1; 6 splits of 10 to 30 clips; n = 3 speakers." in text
    )
    assert "| 2 bits | fine-tuned | 73.3 | 44.6 to 100.0 | 60.0 to 80.0 |" in text
    assert "95 %, over speakers" in text
    grouped = [replace(row, speakers_out=3 - row.split // 2, validation="speakers") for row in own]
    text = write_page(grouped, tmp_path / "r.csv", tmp_path / "page.md", "make it")[0].read_text()
    assert "validated by speakers who do not train" in text
    assert "n = 3 groups of up to 3 speakers." in text


def test_a_page_follows_from_its_results_alone(rows: list[Row], tmp_path: Path) -> None:
    renamed = [replace(row, train="emodb", test="emodb") for row in rows]
    first, second = (
        write_page(renamed, tmp_path / "r.csv", tmp_path / name / "page.md", "make it") for name in "ab"
    )
    assert [path.name for path in first] == ["page.md", "page_tones_emodb_librosa15_holdout.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    text, plot = (path.read_text() for path in first)
    found = groups(renamed)
    for group in found.values():
        assert f"{100 * group.accuracy:.1f}" in text
    assert "How near to the paper" in text
    assert "75.93" in text  # the paper's figure stands beside ours
    assert "2 bits, fine-tuned, against post-training" in text
    assert re.search(r"seeds 0 to 1; 2 splits of 40 clips", text)
    assert "adaptive, post-training" in plot
    with pytest.raises(SerqError, match="no results"):
        write_page([], tmp_path / "r.csv", tmp_path / "page.md", "")


def test_matrices_say_seeds_and_clips_and_ours_stands_beside_the_papers(
    rows: list[Row], tmp_path: Path
) -> None:
    one = next(row for row in rows if row.method == "32")
    across = [
        replace(one, train="emodb", test="tess", protocol="corpus", seed=seed, uar=uar)
        for seed, uar in enumerate((0.31, 0.35, 0.36))
    ]
    text = write_page(across, tmp_path / "r.csv", tmp_path / "page.md", "make it")[0].read_text()
    assert f"| trained on | TESS, n {one.n} |" in text
    assert "| EMO-DB | 34.0 (31.0 to 36.0) |" in text
    assert "corpus that shows such an emotion" in text
    assert "; 3 seeds." in text
    tuned = replace(
        one, train="emodb", protocol="holdout", method="adaptive", tuning=QAT, weights_only_bytes=28000.0
    )
    judged = [
        replace(tuned, seed=seed, n=54, correct=correct, accuracy=correct / 54)
        for seed, correct in enumerate((40, 41, 42))
    ]
    _, table = beside_paper_parts(judged)
    (line,) = [line for line in table.splitlines() if "adaptive fine-tuned" in line]
    assert line.endswith("| 28.0 | 75.93 at 43 | -0.0 | 2 of 3 |")  # 41 of 54 are the paper's 75.93 %
    assert beside_paper_parts(across) == []


DOCS = Path(__file__).parents[2] / "docs"
PAGES = [path for path in sorted(DOCS.glob("*.csv")) if path.with_name(f"{path.stem}_tables.md").exists()]


@pytest.mark.parametrize("results", PAGES, ids=lambda path: path.stem)
def test_the_tables_in_docs_are_those_of_their_results(results: Path, tmp_path: Path) -> None:
    page = results.with_name(f"{results.stem}_tables.md")
    command = f"serq-mcu experiment page docs/{results.name} --page docs/{page.name}"
    written, *plots = write_page(read_results(results), results, tmp_path / page.name, command)
    assert written.read_text() == page.read_text(), f"run `{command}`"
    assert all((DOCS / plot.name).exists() for plot in plots)


def test_the_papers_findings_are_those_of_its_results() -> None:
    findings = (DOCS / "paper.md").read_text()
    for part in beside_paper_parts(read_results(DOCS / "paper.csv")):
        assert part in findings


@pytest.mark.parametrize("plan", ["paper", "product", "transfer", "validation"])
def test_every_row_in_docs_is_of_the_plan_that_ships(
    plan: str, emodb_dir: Path, savee_dir: Path, tess_dir: Path
) -> None:
    corpora = {corpus.name: corpus for corpus in map(load_corpus, (emodb_dir, savee_dir, tess_dir))}
    contents = {name: corpus_digest(corpus.clips) for name, corpus in corpora.items()}
    speakers = {name: len({clip.speaker for clip in corpus.clips}) for name, corpus in corpora.items()}
    planned = {task.key for task in tasks(load_plan(plan), contents, speakers)}
    strange = {
        (row.study, row.train, row.model, row.seed)
        for row in read_results(DOCS / f"{plan}.csv")
        if row.task not in planned
    }
    assert not strange  # such rows would stand beside those that the command adds, and count a seed twice


def test_the_products_figures_are_those_of_its_results() -> None:
    """Each row of the page's first table: corpus, study, bits, condition, accuracy, UAR, seeds,
    answers, bytes.
    """
    found = {
        (key[0], key[6], key[7]): group for key, group in groups(read_results(DOCS / "product.csv")).items()
    }
    table = [
        line
        for line in (DOCS / "product.md").read_text().splitlines()
        if line.startswith(("| EMO-DB |", "| SAVEE |", "| TESS |"))
    ]
    assert table
    for line in table:
        corpus, study, bits, condition, *figures = [cell.strip() for cell in line.strip("|").split("|")]
        group = found[study, condition, bits]
        low, high = group.mean_interval
        seeds, answers = len({row.seed for row in group.rows}), sum(row.n for row in group.rows)
        assert corpus == TITLES[group.first.train]
        assert figures == [
            f"{100 * group.accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})",
            f"{100 * group.uar:.1f}",
            f"{seeds}",
            f"{answers}",
            f"{group.mean('weights_only_bytes'):.0f}",
            f"{group.mean('stored_bytes'):.0f}",
        ]


def test_the_products_bars_are_what_inner_folds_chose() -> None:
    """The page's tables of bars and of candidates."""
    rows, page = read_results(DOCS / "product.csv"), (DOCS / "product.md").read_text()
    alone = {(key[0], key[7]): group for key, group in groups(rows).items() if key[6] == AS_RECORDED}
    found = bars(rows)
    assert {bar.name for bar in found} == {study.bar for study in load_plan("product").studies} - {""}
    for bar in found:
        group = bar.judged[AS_RECORDED]
        assert sum(bar.chosen.values()) == len(group.rows)
        seeds = [
            replace(group, rows=tuple(row for row in group.rows if row.seed == seed)).accuracy
            for seed in sorted({row.seed for row in group.rows})
        ]
        (line,) = [
            line
            for line in page.splitlines()
            if f" | {', '.join(f'{100 * seed:.1f}' for seed in seeds)} | " in line and "chosen of" in line
        ]
        assert f"| chosen of {len(bar.inner)} | {100 * group.accuracy:.1f} % at " in line
        asked = re.findall(r"([0-9.]+) %", line.split("|")[1])[0]
        assert line.endswith("| met |") == (100 * group.accuracy >= float(asked)), line
        for candidate, share in bar.inner.items():
            study, _, method, _ = candidate
            figures = (
                f"{100 * share:.1f} | {bar.chosen[candidate]} | {100 * alone[study, method].accuracy:.1f} |"
            )
            assert f"| {TITLES[bar.train]}, {bar.name} | {study}, {method} bits | {figures}" in page


def test_what_validation_by_speakers_does_is_in_its_results() -> None:
    """Held out, who validates, bits, validation, held out with its interval, mean bits."""
    found = {
        (group.first.protocol, group.first.validation, group.first.method): group
        for group in groups(read_results(DOCS / "validation.csv")).values()
    }
    page = (DOCS / "product.md").read_text().split("## Validation by speakers")[1].split("\n## ")[0]
    table = [line for line in page.splitlines() if line.startswith(("| speakers |", "| clips |"))]
    assert len(table) == len(found) == 2 * 2 * 3
    for line in table:
        held, by, bits, *figures = [cell.strip() for cell in line.strip("|").split("|")]
        group = found[held, by, bits.split(",")[0]]
        low, high = group.mean_interval
        assert figures == [
            f"{100 * group.mean('validation_accuracy'):.1f}",
            f"{100 * group.accuracy:.1f} ({100 * low:.1f} to {100 * high:.1f})",
            f"{group.mean('average_bits'):.2f}",
        ]


# The engine


def _without_time(rows: list[Row]) -> list[Row]:
    return sorted(
        (replace(row, seconds=0.0) for row in rows), key=lambda row: (row.task, row.method, row.tuning)
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as found:
        yield found.scheduler_address


@pytest.mark.slow(14)
def test_processes_and_a_cluster_agree_and_a_stopped_run_goes_on(
    clips: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan("tones", (_study(methods=("32", "1"), features=("librosa15",), fine_tuned=(), folds=2),), {})
    said: list[tuple[object, ...]] = []
    results = tmp_path / "r.csv"
    found = run_plan(plan, [clips], results, jobs=1, progress=lambda *words: said.append(words))
    assert len(found) == 2 * 2
    assert ("training and judging networks", 2, 2) in said
    assert sum(row.n for row in found if row.method == "32") == 36  # every clip once
    whole = results.read_bytes()
    kept = read_results(results)
    stopped = [row for row in kept if row.task != kept[0].task]
    write_results(results, stopped)
    again = run_plan(plan, [clips], results, scheduler=cluster)  # only what is missing, by the cluster
    assert _without_time(read_results(results)) == _without_time(kept)
    assert len(again) == len(found)
    monkeypatch.setattr(engine, "ProcessPoolExecutor", lambda *_: pytest.fail("nothing is left to do"))
    results.write_bytes(whole)
    run_plan(plan, [clips], results)
    assert results.read_bytes() == whole


def test_what_cannot_be_run_is_said(clips: Path, tmp_path: Path) -> None:
    plan = Plan("tones", (_study(corpora=("emodb",)),), {})
    with pytest.raises(SerqError, match="of which no folder was given"):
        run_plan(plan, [clips], tmp_path / "r.csv")
    with pytest.raises(SerqError, match="no Dask scheduler answers"):
        run_plan(Plan("tones", (_study(),), {}), [clips], tmp_path / "r.csv", scheduler="tcp://127.0.0.1:9")


SHORT = {
    ("32", ""): 0.66,
    ("8", PTQ): 0.66,
    ("adaptive", PTQ): 0.62,
    ("adaptive", QAT): 0.66,
    ("1", QAT): 0.64,
}  # as first measured


@pytest.mark.slow(54)
def test_a_short_version_on_emodb_stays_within_its_interval(emodb_dir: Path, tmp_path: Path) -> None:
    """The whole experiment on one seed; a figure must not leave the 95 % interval of its 107 clips around
    what was measured before.
    """
    rows = run_plan(load_plan("short"), [emodb_dir], tmp_path / "short.csv")
    assert {row.n for row in rows} == {107}
    for row in rows:
        if (expected := SHORT.get((row.method, row.tuning))) is not None:
            assert row.low <= expected <= row.high, (row.method, row.tuning, row.accuracy)
    assert {(row.method, row.tuning) for row in rows} >= set(SHORT)
    assert all(row.weights_only_bytes <= 43000 for row in rows if row.method == "budget:43000")
