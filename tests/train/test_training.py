"""Training: configuration, splits, the network, run folders; synthetic speech-like clips, and EMO-DB where
it is at hand.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from numpy.typing import NDArray

from serq_mcu.base.validation import changed
from serq_mcu.cli import main
from serq_mcu.config import load_config
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.conditions import Condition
from serq_mcu.corpus.loaders import Clip, load_corpus
from serq_mcu.corpus.noise import BABBLE
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.clips import evaluate
from serq_mcu.experiments.plan import LATER
from serq_mcu.extraction.recordings import Recordings, recorded_features
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.network import FloatNetwork, standardisation, standardise
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantization.run_folder import Run, load_run
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.store import load_model, model_bytes
from serq_mcu.training import mlp
from serq_mcu.training.augmentation import draw_augmented_clips, draw_condition
from serq_mcu.training.mlp import Examples, train_mlp
from serq_mcu.training.robustness import UNSEEN_NOISES, held_out_clips
from serq_mcu.training.run import Dataset, clip_weights, fit, read_dataset, train, train_dataset
from serq_mcu.training.splits import TEST, TRAIN, VALIDATION, inner_folds, split_clips, split_count
from tests.support.training import small_config

RATE = 16000
PITCHES = {"calm": 120.0, "angry": 260.0, "sad": 80.0}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten half-second harmonic tones per class in noise, as a label/clip.wav folder."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    for label, pitch in PITCHES.items():
        (folder / label).mkdir()
        for take in range(10):
            tone = sum(np.sin(2 * np.pi * pitch * (1 + 0.02 * take) * k * time) / k for k in range(1, 8))
            signal = 0.1 * tone + 0.02 * rng.normal(size=time.size)
            soundfile.write(folder / label / f"{take}.wav", signal, RATE, subtype="PCM_16")
    return folder


# Configuration


def test_defaults_are_the_default_specification_and_survive_toml(tmp_path: Path) -> None:
    config = load_config()
    assert (config.features.name, config.features.feature_count) == ("best", 273)
    assert (config.training.hidden, config.training.protocol) == ((128, 128, 64), "clips")
    assert not set(config.augmentation.noises) & set(UNSEEN_NOISES)
    config = config.changed(training={"hidden": (3,), "dropout": 0.25}, tuning={"epochs": 3, "ensemble": 2})
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert load_config(tmp_path / "c.toml") == config != load_config()


def test_presets_are_what_their_names_say() -> None:
    best, light, tiny, paper = (load_config(preset=name) for name in ("best", "light", "tiny", "paper"))
    assert best == load_config()
    assert light.features.fft_length * 2 == best.features.fft_length
    assert light.training == best.training
    assert tiny.quantization.max_bytes == 3000
    given = paper.training
    assert (given.hidden, given.dropout, given.learning_rate) == ((256, 512, 64), 0.1, 0.001)
    assert (given.batch_size, given.teacher, given.mixup, given.refit) == (32, "labels", 0.0, False)
    assert paper.augmentation.versions == 0
    assert not paper.quantization.fine_tune
    with pytest.raises(SerqError, match="no preset 'huge'; choose among best, light, tiny, paper"):
        load_config(preset="huge")


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[training]\nhidden = [8]\ndropout = 0\n[quantization]\nmethod = "4"\n')
    config = load_config(tmp_path / "c.toml", split=3)
    assert (
        config.training.hidden,
        config.training.dropout,
        config.training.split,
        config.quantization.method,
    ) == ((8,), 0.0, 3, "4")
    assert config.training.patience == load_config().training.patience


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[trianing]\nseed = 1", r"'trianing' is not one of the sections"),
        ("seed = 1", r"'seed' is not one of the sections"),
        ("where = 1", r"'where' is not one of the sections"),
        ("[training]\nsede = 1", r"unknown key 'sede' in \[training\]; did you mean seed\?"),
        ('[training]\nseed = "1"', r"training\.seed is '1'; it must be a whole number from 0 to 4294967295"),
        ("[training]\nseed = true", r"training\.seed is True; it must be a whole number"),
        ('[training]\nhidden = [16, "a"]', r"training\.hidden\[1\] is 'a'; it must be a whole number"),
        (
            "[training]\nhidden = [1, 1, 1, 1, 1, 1, 1, 1]",
            r"training\.hidden is .* a list of at most 7, each item a",
        ),
        ("[training]\nsplit = 10", r"training\.split is 10; it must be 0 to 9"),
        ("[training]\nlearning_rate = nan", r"it holds the number nan"),
        ("[training]\ndropout = 1.0", r"training\.dropout is 1\.0; .* a number of at least 0 and below 1"),
        ('[training]\nprotocol = "loso"', r"training\.protocol is 'loso'; it must be one of clips, speakers"),
        ('[training]\nteacher = "me"', r"training\.teacher is 'me'; it must be one of kernel, labels"),
        (
            "[tuning]\ndistillation = 0.5",
            r"tuning\.distillation is 0\.5; it must be 1 where training\.teacher",
        ),
        ("[training]\npresentations = 0", r"training\.presentations"),
        ("[training]\nweight_decay = 2", r"training\.weight_decay"),
        ("[training]\nlabel_smoothing = 1.0", r"training\.label_smoothing"),
        ("[tuning]\nensemble = 0", r"tuning\.ensemble is 0; it must be a whole number from 1 to 100"),
        ("[tuning]\nepochs = 1.5", r"tuning\.epochs is 1\.5; it must be a whole number of at least 1"),
        ("[tuning]\ndistillation = 2", r"tuning\.distillation is 2; it must be a number from 0 to 1"),
        ("[augmentation]\nversions = -1", r"augmentation\.versions"),
        ("[augmentation]\nsnr_db = [20]", r"augmentation\.snr_db is \[20\]; it must be a range"),
        ("[augmentation]\nspeed = [1.2, 0.8]", r"augmentation\.speed is \[1\.2, 0\.8\]; it must be a range"),
        ("[augmentation]\nspeed = [0.1, 1]", "speed 0.1 must be 0.5 to 2"),
        ("[augmentation]\nnoise_share = 1.5", r"augmentation\.noise_share"),
        (
            '[augmentation]\nnoises = ["rain"]',
            r"augmentation\.noises\[0\] is 'rain'; it must be one of white",
        ),
        ("[augmentation]\nnoises = []", r"augmentation\.noises is empty; name at least one"),
        ("[augmentation]\nbands = []", r"augmentation\.bands is empty; .* or set band_share to 0"),
        ("[augmentation]\npause = [-1, 1]", r"a pause of -1 s must be 0 to 60 s"),
        ("[augmentation]\nfloor_db = [-60, 3]", r"a floor at 3 dB must be -120 to 0 dB"),
        ("[augmentation]\nwindow_blocks = [0, 4]", r"augmentation.*window_blocks must be 1 block and more"),
        ("[augmentation]\nwindow_blocks = [1, 2.5]", r"augmentation\.window_blocks"),
        ("[augmentation]\nblock_seconds = [0.01, 1]", r"a block of 0\.01 s must have 0\.05 to 60 s"),
        ('[augmentation]\nfloors = ["babble"]', r"augmentation\.floors\[0\] is 'babble'"),
        ("[features]\nhop_length = 0", "features: hop length"),
        ("[features]\nblocks = [3]", "features: the feature block 3 must be a table"),
        (f"[features]\nfmax = 1{'0' * 400}", "features: int too large"),
        ('[quantization]\nmethod = "16"', r"quantization\.method is '16'; it must be adaptive, one of 8"),
        ("[quantization]\nmargin = 2", r"quantization\.margin is 2; it must be a number from 0 to 1"),
        ("[decision]\nfloor_seconds = 61", r"decision\.floor_seconds"),
        ("[decision]\ncoverage = 0", r"decision\.coverage"),
        ("[decision]\nblocks = 1.5", r"decision\.blocks is 1\.5; it must be a whole number from 1 to 32"),
        ("[decision]\nsmoothing = 5", r"decision\.smoothing"),
        ("[training\n", "TOML"),
    ],
)
def test_bad_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SerqError, match=rf"c\.toml.*{words}"):
        load_config(tmp_path / "c.toml")


def test_missing_configuration_and_split_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match=r"cannot read the configuration file .*none\.toml"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(SerqError, match="split"):
        load_config(split=10)


# Splits


def test_splits_are_stratified_disjoint_and_cover_every_clip_once() -> None:
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    tested = np.zeros(truth.size, dtype=int)
    for split in range(5):
        part = split_clips(
            truth, "abc", [""] * 100, small_config(split=split, validation_fraction=0.25).training
        ).part
        assert np.bincount(truth[part == TEST]).tolist() == [10, 6, 4]
        assert np.bincount(truth[part == VALIDATION]).tolist() == [10, 6, 4]
        assert np.bincount(truth[part == TRAIN]).tolist() == [30, 18, 12]
        tested += part == TEST
    assert (tested == 1).all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "test"), {"test": TEST}),
        (("Training", "dev", "eval"), {"dev": VALIDATION, "eval": TEST, "Training": TRAIN}),
        (("train", "validation"), {"validation": TEST}),
    ],
)
def test_parts_that_the_corpus_states_take_the_place_of_folds(
    names: tuple[str, ...], expected: dict[str, int]
) -> None:
    truth, stated = np.tile([0, 1], 60), [names[(i // 2) % len(names)] for i in range(120)]
    split = split_clips(truth, "ab", [""] * 120, small_config().training, stated)
    for name, part in expected.items():
        assert {own for own, its in zip(stated, split.part, strict=True) if its == part} == {name}
        assert ((np.array(stated) != name) | (split.part == part)).all()
    assert set(split.part.tolist()) == {TRAIN, VALIDATION, TEST}
    assert "the corpus says which clips test" in split.words
    alike = split_clips(truth, "ab", [""] * 120, small_config().training, ["train"] * 120)
    assert (alike.part == split_clips(truth, "ab", [""] * 120, small_config().training).part).all()


@pytest.mark.parametrize(
    ("stated", "split", "words"),
    [
        (["train", "fold 2"] * 30, 0, "30 recordings belong to the part 'fold 2'; call the part of each"),
        ([*["train", "test"] * 29, "", ""], 0, "2 recordings belong to no part, and others do"),
        (["train", "test"] * 30, 0, r"the part (train|test) that the recordings state has no clip of '[ab]'"),
        ([*["train"] * 30, *["test"] * 30], 1, "which is the only split; leave out --split"),
    ],
)
def test_parts_that_cannot_be_taken_are_refused(stated: list[str], split: int, words: str) -> None:
    with pytest.raises(SerqError, match=words):
        split_clips(np.tile([0, 1], 30), "ab", [""] * 60, small_config(split=split).training, stated)


def test_splits_follow_the_seed() -> None:
    truth = np.repeat([0, 1], 40)
    one, same, other = (
        split_clips(truth, "ab", [""] * 80, small_config(seed=seed).training).part for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_too_few_clips_are_refused_with_the_class() -> None:
    rare = np.repeat([0, 1], [30, 3]), ("common", "rare"), [""] * 33
    tests = [split_clips(*rare, small_config(split=split).training).part == TEST for split in range(3)]
    assert np.sum(tests, axis=0).tolist() == [1] * 33  # three folds, not five
    with pytest.raises(SerqError, match="must be 0 to 2, one of the 3 folds: class 'rare' has 3 clips"):
        split_clips(*rare, small_config(split=3).training)
    with pytest.raises(SerqError, match="class 'b' has 1 clips; record at least two of each"):
        split_clips(np.repeat([0, 1], [30, 1]), "ab", [""] * 31, small_config().training)
    with pytest.raises(SerqError, match="too few"):
        split_clips(np.repeat([0, 1], [2, 2]), "ab", [""] * 4, small_config(folds=2).training)


def test_a_speaker_is_held_out_whole_and_never_chooses() -> None:
    truth, speakers = np.tile([0, 1], 30), np.repeat(["mia", "ann", "zoe"], 20).tolist()
    assert split_count(speakers, small_config(protocol="speakers").training) == 3
    for split, name in enumerate(("ann", "mia", "zoe")):
        config = small_config(protocol="speakers", split=split, validation="clips")
        part = split_clips(truth, "ab", speakers, config.training).part
        assert {speaker for speaker, its in zip(speakers, part, strict=True) if its == TEST} == {name}
        assert np.bincount(part).tolist() == [32, 8, 20]
        assert np.bincount(truth[part == VALIDATION]).tolist() == [4, 4]
    with pytest.raises(SerqError, match="one of the 3 speakers"):
        split_clips(truth, "ab", speakers, small_config(protocol="speakers", split=3).training)
    with pytest.raises(SerqError, match="at least two speakers"):
        split_clips(truth, "ab", [""] * 60, small_config(protocol="speakers").training)


def _speaking(speakers: int, clips: int, classes: int = 2) -> tuple[np.ndarray, list[str]]:
    """Class indices and names of speakers who each say every class alike often."""
    names = [f"s{speaker:02}" for speaker in range(speakers) for _ in range(clips)]
    return np.arange(speakers * clips) % classes, names


def _of(part: np.ndarray, speakers: list[str], which: int) -> set[str]:
    return {speaker for speaker, its in zip(speakers, part, strict=True) if its == which}


@pytest.mark.parametrize("protocol", ["clips", "speakers"])
def test_speakers_who_do_not_train_validate(protocol: str) -> None:
    truth, speakers = _speaking(10, 20)
    drawn = set()
    for seed in range(6):
        config = small_config(protocol=protocol, split=1, seed=seed).training  # a fifth of what is left
        split = split_clips(truth, "ab", speakers, config)
        train, validation = (_of(split.part, speakers, part) for part in (TRAIN, VALIDATION))
        assert split.validation == "speakers"
        assert len(validation) == 2 and not train & validation
        assert split.words == f"speakers {', '.join(sorted(validation))}, who do not train"
        assert set(truth[split.part == TRAIN]) == set(truth[split.part == VALIDATION]) == {0, 1}
        assert (split.part == split_clips(truth, "ab", speakers, config).part).all()
        drawn.add(tuple(sorted(validation)))
        if protocol == "speakers":
            assert _of(split.part, speakers, TEST) == {"s01"} and len(train) == 7
    assert len(drawn) > 1  # the seed draws them


def test_every_class_is_in_training_and_in_validation() -> None:
    """Four of six speakers never say the third class; each of the two who do can validate, not both."""
    truth, speakers = _speaking(6, 20)
    truth[[0, 1, 2, 20, 21, 22]] = 2
    for seed in range(20):
        config = small_config(protocol="speakers", split=5, seed=seed).training
        split = split_clips(truth, "abc", speakers, config)
        assert len(_of(split.part, speakers, VALIDATION) & {"s00", "s01"}) == 1
        assert set(truth[split.part == TRAIN]) == set(truth[split.part == VALIDATION]) == {0, 1, 2}


def test_a_speaker_with_more_clips_than_the_fraction_validates_where_no_other_can() -> None:
    truth, speakers = _speaking(4, 20)
    config = small_config(protocol="speakers", split=0, validation_fraction=0.05).training
    split = split_clips(truth, "ab", speakers, config)
    assert split.validation == "speakers" and np.bincount(split.part).tolist() == [40, 20, 20]


@pytest.mark.parametrize(
    ("count", "protocol", "words"),
    [
        (2, "clips", "clips of speakers who train too: none of the 2 speakers can be spared from training"),
        (
            3,
            "speakers",
            "clips of speakers who train too: none of the 2 speakers can be spared from training",
        ),
        (2, "speakers", "clips of speakers who train too: the only speaker cannot be spared from training"),
        (0, "clips", "clips; the speakers are unknown, so the same voice may train, validate and test"),
    ],
)
def test_where_speakers_cannot_validate_clips_do_and_it_is_said(
    count: int, protocol: str, words: str
) -> None:
    truth, speakers = _speaking(count or 4, 30)
    split = split_clips(
        truth, "ab", speakers if count else [""] * truth.size, small_config(protocol=protocol).training
    )
    assert split.validation == "clips" and split.words.startswith(words)
    assert (split.part == VALIDATION).any()
    if count:
        asked = small_config(protocol=protocol, validation="clips").training
        same = split_clips(truth, "ab", speakers, asked)
        assert (same.part == split.part).all() and "as training.validation says" in same.words


def test_a_class_of_one_speaker_alone_leaves_validation_to_clips() -> None:
    truth, speakers = _speaking(5, 20)
    truth[:6] = 2
    split = split_clips(truth, "abc", speakers, small_config().training)
    assert split.validation == "clips"
    assert np.bincount(truth[split.part == VALIDATION], minlength=3).min() > 0


@pytest.mark.parametrize(("out", "sizes"), [(2, [2, 2, 2, 1]), (3, [3, 2, 2]), (4, [4, 3]), (6, [4, 3])])
def test_groups_of_speakers_are_held_out_each_once(out: int, sizes: list[int]) -> None:
    truth, speakers = _speaking(7, 10)
    config = small_config(protocol="speakers", speakers_out=out).training
    assert split_count(speakers, config) == len(sizes)
    groups = [
        _of(split_clips(truth, "ab", speakers, changed(config, split=split)).part, speakers, TEST)
        for split in range(len(sizes))
    ]
    assert [len(group) for group in groups] == sizes
    assert [name for group in groups for name in sorted(group)] == sorted(set(speakers))
    with pytest.raises(SerqError, match=rf"0 to {len(sizes) - 1}, one of the {len(sizes)} groups of the 7"):
        split_clips(truth, "ab", speakers, changed(config, split=len(sizes)))
    with pytest.raises(SerqError, match="speakers_out is 7, and there are 7 speakers"):
        split_clips(truth, "ab", speakers, changed(config, speakers_out=7))


# Features


def test_recorded_features_are_the_references(clips: Path) -> None:
    spec, corpus = FeatureSpec(), load_corpus(clips)
    tables = build_tables(spec)
    chosen = corpus.clips[:3]
    pooled = recorded_features(spec, tables, chosen)
    for index, clip in enumerate(chosen):
        assert (pooled[index] == features(spec, tables, read_audio(clip.path, RATE).pcm)).all()


# Versions


def test_versions_are_drawn_within_their_ranges_and_by_seed() -> None:
    config = load_config().augmentation
    drawn = [draw_condition(config, np.random.default_rng(seed)) for seed in range(400)]
    for name, values in (
        ("speed", [c.speed for c in drawn]),
        ("gain_db", [c.gain_db for c in drawn]),
        ("snr_db", [c.snr_db for c in drawn if c.noise]),
        ("reverberation", [c.reverberation for c in drawn if c.room]),
    ):
        low, high = getattr(config, name)
        assert (
            low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
        ), name
    assert {c.noise for c in drawn} == {"", *config.noises}
    assert not set(config.floors) & set(UNSEEN_NOISES)
    assert np.mean([bool(c.noise) for c in drawn]) == pytest.approx(
        config.noise_share, abs=0.1
    )  # 4 standard errors of 400 draws
    assert np.mean([bool(c.room) for c in drawn]) == pytest.approx(config.room_share, abs=0.1)
    assert drawn == [draw_condition(config, np.random.default_rng(seed)) for seed in range(400)]


def test_surroundings_are_drawn_within_their_ranges_and_in_their_shares() -> None:
    config = load_config().augmentation
    drawn = [draw_condition(config, np.random.default_rng(seed)) for seed in range(1000)]
    around = [c for c in drawn if c.before or c.after]
    for name, values in (
        ("pause", [seconds for c in around for seconds in (c.before, c.after)]),
        ("within", [c.within for c in drawn if c.within]),
        ("floor_db", [c.floor_db for c in drawn if c.floor]),
        ("offset", [c.offset for c in drawn if c.offset]),
        ("block_seconds", [c.block_seconds for c in drawn if c.blocks]),
        ("window_blocks", [c.blocks for c in drawn if c.blocks]),
    ):
        low, high = getattr(config, name)
        near = 0.1 * (high - low)
        assert low <= min(values) < low + near and high - near < max(values) <= high, name
        assert len(set(values)) > 3, name  # never one fixed length
    windows = np.array([bool(c.blocks) for c in drawn])
    assert not any(c.blocks for c in around)
    for share, found in (
        (config.window_share, windows),
        (config.pause_share, np.array([bool(c.before or c.after) for c in drawn])[~windows]),
        (config.within_share, [bool(c.within) for c in drawn]),
        (config.floor_share, [bool(c.floor) for c in drawn]),
        (config.offset_share, [bool(c.offset) for c in drawn]),
        (config.band_share, [bool(c.band) for c in drawn]),
    ):
        assert np.mean(found) == pytest.approx(share, abs=0.075)  # 4 standard errors of 700 draws
    assert {c.band for c in drawn} == {"", *config.bands}
    assert {c.floor for c in drawn} == {"", *config.floors}


def test_without_surroundings_versions_are_what_they_were_before_there_were_any() -> None:
    """Each as drawn at seeds 0 and 1 before they came, and what follows of the generator too."""
    off = dict.fromkeys(LATER, 0.0)
    config = load_config().changed(
        augmentation={
            "speed": (0.88, 1.12),
            "room_share": 0.3,
            "noise_share": 0.7,
            "noises": ("white", "pink", "speech-shaped", "hum", "babble", "babble", "babble"),
            "gain_db": (-30.0, 6.0),
        }
    )
    for seed, words in (
        (0, "speed 1.033, gain -29.405 dB"),
        (1, "speed 1.003, pink at 6.892 dB, gain +4.151 dB"),
    ):
        plain, full = np.random.default_rng(seed), np.random.default_rng(seed)
        found = draw_condition(config.changed(augmentation=off).augmentation, plain)
        assert str(found) == words
        other = draw_condition(config.augmentation, full)
        names = ("speed", "room", "reverberation", "noise", "snr_db", "gain_db")
        assert all(getattr(found, name) == getattr(other, name) for name in names)
        assert plain.integers(2**31) == full.integers(2**31)


def test_no_audio_crosses_from_one_part_to_another(clips: Path) -> None:
    config = small_config()
    babbling = changed(config.augmentation, noises=(BABBLE,), noise_share=1.0, versions=4)
    dataset = read_dataset(clips, config)
    part = split_clips(dataset.truth, dataset.labels, dataset.speakers, config.training).part
    versions = draw_augmented_clips(dataset.recordings, part, TRAIN, babbling, seed=0)
    assert [clip.clip for clip in versions[0]] == list(range(30)) and all(
        not clip.condition.noise for clip in versions[0]
    )
    for clip in (clip for version in versions[1:] for clip in version):
        assert len(clip.voices) == 5 and clip.clip not in clip.voices
        assert (part[list(clip.voices)] == TRAIN).all()
    for clip in held_out_clips(dataset, part, Condition(noise=BABBLE, snr_db=10.0), seed=0):
        assert part[clip.clip] == TEST
        assert clip.voices and (part[list(clip.voices)] != TRAIN).all()


def test_a_run_of_known_speakers_learns_with_their_voices_and_held_out_clips_teach_none(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(max_epochs=1, presentations=1)
    found = read_dataset(clips, config)
    speakers = [f"s{index % 5}" for index in range(30)]
    told = tuple(
        replace(clip, speaker=name) for clip, name in zip(found.recordings.clips, speakers, strict=True)
    )
    dataset = replace(found, recordings=replace(found.recordings, clips=told))
    rng = np.random.default_rng(0)
    pooled = rng.integers(0, 5000, (3, 30, config.features.feature_count)).astype(np.int32)

    def fitted(pooled: NDArray[np.int32], dataset: Dataset = dataset) -> Run:
        monkeypatch.setattr("serq_mcu.training.run.version_features", lambda *_: pooled)
        return fit(dataset, config)[0]

    run = fitted(pooled)
    held = run.part == TEST
    assert held.any()
    recorded, voiced, known, plain = run.pooled
    assert (recorded == pooled[0]).all() and (plain == pooled[2]).all()
    shifts = pooled[0] - voiced
    assert shifts.any() and (pooled[1] - known == shifts).all()
    for name in set(speakers):  # one shift for all clips of a speaker
        own = shifts[np.array(speakers) == name]
        assert (own == own[0]).all()

    changed_clips = pooled.copy()
    changed_clips[:, held] += 3000
    other = fitted(changed_clips)
    assert (other.pooled[:, ~held] == run.pooled[:, ~held]).all()
    assert run.voices is not None and other.voices is not None
    assert (run.voices.means == other.voices.means).all()

    model, _ = quantize(run)
    assert model.voice is not None and model.voice.most == config.voice.windows
    assert model.voice.means.shape == (3, config.features.feature_count)
    assert fitted(pooled, found).voices is None, "nobody is known"
    assert quantize(fitted(pooled, found))[0].voice is None


def test_versions_of_a_clip_do_not_depend_on_other_clips(clips: Path) -> None:
    config, dataset = small_config(), read_dataset(clips, small_config())
    part = split_clips(dataset.truth, dataset.labels, dataset.speakers, config.training).part
    quiet = changed(config.augmentation, noises=("white",), versions=3)
    fewer = replace(
        dataset.recordings, clips=dataset.recordings.clips[5:], audio=dataset.recordings.audio[5:]
    )
    all_takes, its_takes = (
        draw_augmented_clips(dataset.recordings, part, TRAIN, quiet, 1),
        draw_augmented_clips(fewer, part[5:], TRAIN, quiet, 1),
    )
    for one, other in zip(all_takes, its_takes, strict=True):
        assert [(clip.condition, clip.seed) for clip in one[5:]] == [
            (clip.condition, clip.seed) for clip in other
        ]
    assert all_takes != draw_augmented_clips(dataset.recordings, part, TRAIN, quiet, 2)


# Training


def test_a_run_is_whole_reproducible_and_leads_to_a_model(clips: Path, tmp_path: Path) -> None:
    config = small_config()
    said: list[tuple[object, ...]] = []
    run = train(clips, tmp_path / "run", config, lambda *words: said.append(words))
    again = train_dataset(read_dataset(clips, config), tmp_path / "again", config)
    expected = {
        "run.json",
        "config.toml",
        "features.safetensors",
        "weights.safetensors",
        "history.csv",
        "confusion.csv",
        "confusion.txt",
    }
    assert {path.name for path in (tmp_path / "run").iterdir()} == expected
    for name in expected:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert model_bytes(quantize(load_run(tmp_path / "run"))[0]) == model_bytes(quantize(again)[0])
    assert load_config(tmp_path / "run" / "config.toml") == config
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert sorted(name for names in header["split"].values() for name in names) == sorted(
        clip.name for clip in load_corpus(clips).clips
    )
    assert [header["clips"][part] for part in ("train", "validation", "test")] == [19, 5, 6]
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == run.epochs + 1
    assert {"reading recordings", "training, at most 6 epochs"} <= {words[0] for words in said}


def test_examples_with_and_without_versions_are_the_same_thing() -> None:
    from serq_mcu.training.mlp import Examples

    pooled, truth = np.arange(24, dtype=np.int32).reshape(2, 3, 4), np.array([0, 1, 2])
    rows, classes = Examples(pooled, truth).flat
    assert rows.tolist() == pooled.reshape(6, 4).tolist()
    assert classes.tolist() == [0, 1, 2, 0, 1, 2]
    again = Examples(rows, classes).flat
    assert again[0].tolist() == rows.tolist() and again[1].tolist() == classes.tolist()


def test_clips_that_train_and_those_that_validate_share_their_features() -> None:
    """Training holds a copy of the integers and one of the inputs at a time."""
    rng = np.random.default_rng(0)
    pooled = rng.integers(-99, 99, (5, 9, 4)).astype(np.int32)
    pooled[2, 3], pooled[:, 7, 1] = MISSING, MISSING  # a version without speech; a value
    examples = Examples(pooled, np.arange(9) % 3, np.arange(1.0, 10.0))
    mean, sd = standardisation(pooled)
    for part, clips in zip(examples.parted(6), (slice(6), slice(6, None)), strict=True):
        assert np.shares_memory(part.pooled, pooled)
        alone = Examples(pooled[:, clips].copy(), part.truth, part.weight)
        rows, truth = alone.flat
        inputs, classes = part.standardised(mean, sd)
        assert np.array_equal(inputs, standardise(rows, mean, sd).astype(np.float32))
        assert np.array_equal(classes, truth)
        assert np.array_equal(part.chances, alone.chances)


def test_another_seed_gives_other_weights(clips: Path, tmp_path: Path) -> None:
    dataset = read_dataset(clips, small_config())
    one, other = (
        train_dataset(dataset, tmp_path / str(seed), small_config(seed=seed, max_epochs=2)) for seed in (1, 2)
    )
    assert (one.network.dense[0].kernel != other.network.dense[0].kernel).any()


def test_training_learns(clips: Path, tmp_path: Path) -> None:
    run = train(clips, tmp_path / "run", small_config(max_epochs=60, mixup=0.0))
    assert run.float_score("test").interval[0] > 1 / 3  # surely better than chance among three classes


def test_training_stops_in_time_and_keeps_the_best_epoch(clips: Path, tmp_path: Path) -> None:
    config = small_config(max_epochs=100, mixup=0.0, patience=8, learning_rate=0.005)
    dataset = read_dataset(clips, config)
    shuffled = replace(
        dataset, truth=np.random.default_rng(0).permutation(dataset.truth)
    )  # nothing to learn but by heart
    run = train_dataset(shuffled, tmp_path / "run", config)
    assert run.best_epoch < run.epochs == run.best_epoch + 8
    history = np.loadtxt(tmp_path / "run" / "history.csv", delimiter=",", skiprows=1)
    assert history[:, 3].argmin() + 1 == run.best_epoch
    pooled, truth = run.validation.pooled, run.validation.truth

    def loss(network: FloatNetwork) -> float:
        logits = network.logits(network.standardise(pooled)).reshape(-1, 3)
        right = logits[np.arange(len(logits)), np.tile(truth, len(pooled))]
        return float((np.log(np.exp(logits).sum(axis=1)) - right).mean())

    # the kept weights give the best epoch's loss; Keras computed it in float32
    assert loss(run.unbiased) == pytest.approx(history[:, 3].min(), rel=1e-4)
    assert loss(run.network) < loss(run.unbiased)  # it learned these clips by heart too
    alone = train_dataset(shuffled, tmp_path / "alone", config.changed(training={"refit": False}))
    assert alone.chooser is None
    assert loss(alone.network) == loss(run.unbiased)


def test_evaluation_judges_the_held_out_clips(clips: Path, tmp_path: Path) -> None:
    run = train(clips, tmp_path / "run", small_config(max_epochs=60))
    model, allocation = quantize(run)
    found = evaluate(model, clips)
    assert found.held_out
    assert (found.score.confusion == allocation.quantized_scores["test"].confusion).all()
    stranger = replace(model, provenance={"corpus": "emodb"})
    everything = evaluate(stranger, clips)
    assert not everything.held_out
    assert "another corpus" in everything.basis
    assert everything.score.n == 30
    assert everything.score.correct == int((classify(model, run.pooled[0]) == run.truth).sum())
    with pytest.raises(SerqError, match="class the model knows"):
        evaluate(replace(model, labels=("x", "y", "z"), provenance={}), clips)


def test_recordings_of_a_plain_folder_are_known_by_their_samples(clips: Path, tmp_path: Path) -> None:
    run = train(clips, tmp_path / "run", small_config(max_epochs=1))
    model, _ = quantize(run)
    again, other = tmp_path / "again", tmp_path / "other"
    for index, path in enumerate(sorted(clips.rglob("*.wav"))):  # the same recordings under other names
        (again / path.parent.name).mkdir(parents=True, exist_ok=True)
        pcm, rate = soundfile.read(path, dtype="int16")
        soundfile.write(again / path.parent.name / f"x{index}.flac", pcm, rate)
        (other / path.parent.name).mkdir(parents=True, exist_ok=True)
        soundfile.write(other / path.parent.name / path.name, pcm[::-1], rate)  # others under the same names
    found, renamed, strange = (evaluate(model, folder) for folder in (clips, again, other))
    assert found.held_out and found.basis.startswith("6 of the 6 clips that training")
    assert (renamed.held_out, renamed.basis, renamed.score.correct) == (
        True,
        found.basis,
        found.score.correct,
    )
    assert not strange.held_out and strange.score.n == 30
    assert strange.basis == "all 30 clips; none of these recordings trained the model or chose its bits"
    for path in again.rglob("*.flac"):
        if any(_same_sound(clips / f"{name}.wav", path) for name in run.names_of("test")):
            path.unlink()
    left = evaluate(model, again)
    assert not left.held_out and "24 of these recordings trained the model or chose its bits" in left.basis
    silent = replace(model, provenance={"corpus": "plain"})
    assert "which recordings trained the model is not known" in evaluate(silent, clips).basis


def _same_sound(one: Path, other: Path) -> bool:
    return bool(np.array_equal(soundfile.read(one)[0], soundfile.read(other)[0]))


def test_a_labelled_folder_of_ones_own_goes_all_the_way(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(small_config().to_toml())
    steps = (
        ["train", clips, "--config", tmp_path / "small.toml", "--out", tmp_path / "run"],
        ["quantize", tmp_path / "run", "--out", tmp_path / "own.serq"],
        ["evaluate", tmp_path / "own.serq", "--corpus", clips, "--json"],
        ["export", tmp_path / "own.serq", "--board", "esp32", "--out", tmp_path / "fw"],
    )
    done = [CliRunner().invoke(main, [str(word) for word in step]) for step in steps]
    assert [result.exit_code for result in done] == [0] * len(steps), [result.output for result in done]
    told = "validation is by clips; the speakers are unknown, so the same voice may train, validate and test"
    assert told in done[0].output
    assert json.loads((tmp_path / "run" / "run.json").read_text())["validated_by"] in done[0].output
    report = json.loads(done[2].stdout)
    assert report["held_out"] and report["n"] == 6
    own, exported = load_model(tmp_path / "own.serq"), load_model(tmp_path / "fw" / "model.serq")
    assert exported.identity == own.identity
    assert sorted(own.labels) == sorted(PITCHES)


def _short(folder: Path) -> None:
    soundfile.write(folder / "calm" / "odd.wav", np.zeros(800), RATE, subtype="PCM_16")


def _rare(folder: Path) -> None:
    (folder / "rare").mkdir()
    soundfile.write(folder / "rare" / "0.wav", np.zeros(RATE), RATE, subtype="PCM_16")


@pytest.mark.parametrize(("spoil", "words"), [(_short, r"odd\.wav"), (_rare, "'rare' has 1 clip")])
def test_bad_corpora_leave_nothing_behind(
    clips: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    spoil(folder)
    with pytest.raises(SerqError, match=words):
        train(folder, tmp_path / "run", small_config())
    assert not (tmp_path / "run").exists()


def test_a_folder_of_others_is_not_replaced(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("do not lose")
    with pytest.raises(SerqError, match="not made by serq-mcu"):
        train(clips, tmp_path / "run", small_config(max_epochs=1))
    assert (tmp_path / "run" / "thesis.txt").read_text() == "do not lose"


# Balance, inner folds


def _weighed(corpora: str, truth: list[int], balance: str, sounds: int = 0) -> NDArray[np.float64] | None:
    clips = tuple(Clip(Path(f"{i}"), f"{i}", "", "", corpus=name) for i, name in enumerate(corpora))
    recordings = Recordings(clips, 16000, (np.zeros(1, np.int16),) * len(clips))
    dataset = Dataset("", ("a", "b", "none"), recordings, np.array(truth), sounds)
    return clip_weights(dataset, np.ones(len(clips), dtype=bool), balance)


def test_corpora_and_their_classes_count_alike_whatever_their_sizes() -> None:
    corpora, truth = "xxxxxxyy", [0, 0, 0, 0, 0, 1, 0, 1]
    weight = _weighed(corpora, truth, "corpora")
    assert weight is not None
    for corpus in "xy":
        for label in (0, 1):
            members = [i for i in range(8) if corpora[i] == corpus and truth[i] == label]
            assert weight[members].sum() == pytest.approx(8 / 4)
    by_class = _weighed(corpora, truth, "classes")
    assert by_class is not None
    assert by_class[[1, 7]] == pytest.approx([8 / 2 / 6, 8 / 2 / 2])
    more = _weighed("xxyyyyyy", [0, 1, 0, 1, 1, 1, 2, 2], "corpora")  # one has a class more
    assert more is not None
    assert more[:2].sum() == pytest.approx(more[2:].sum())
    assert _weighed(corpora, truth, "none") is None
    assert _weighed("xxxx", [0, 0, 0, 1], "corpora") is None  # one corpus: as it is


def test_sounds_keep_their_weight() -> None:
    weight = _weighed("xxxyyzz", [0, 0, 1, 0, 1, 2, 2], "corpora", sounds=2)
    assert weight is not None
    assert weight[-2:].tolist() == [1, 1]
    assert weight[:-2].mean() == pytest.approx(1)


@pytest.mark.parametrize(("teacher", "mixup"), [("labels", 1.0), ("kernel", 1.0), ("kernel", 0.0)])
def test_what_weighs_more_is_learned_first(teacher: str, mixup: float) -> None:
    """Two classes at the same place: a network that cannot tell them says the one that weighs more."""
    rng = np.random.default_rng(0)
    pooled = rng.integers(-1000, 1000, (2, 60, 4)).astype(np.int32)
    pooled[..., 30:, :] = pooled[..., :30, :]
    truth = np.repeat([0, 1], 30)
    config = small_config(teacher=teacher, mixup=mixup, max_epochs=20, learning_rate=0.01).training
    for heavy in (0, 1):
        weight = np.where(truth == heavy, 9.0, 1.0)
        trained = train_mlp(Examples(pooled, truth, weight), Examples(pooled, truth), 2, config)
        answers = trained.network.classify(trained.network.standardise(pooled[0]))
        assert (answers == heavy).mean() > 0.9, heavy


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_what_a_kernel_method_answers_for_is_drawn_by_weight_once(
    mixup: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As blends, where there are any, or as they are presented."""
    drawn: dict[str, bool] = {}
    blends, batches = mlp._blends, mlp._shuffled_batches

    def seen_blends(inputs: Any, chances: Any, config: Any) -> Any:
        drawn["blends"] = chances is not None and bool(config.mixup)
        return blends(inputs, chances, config)

    def seen_batches(inputs: Any, targets: Any, chances: Any, *rest: Any) -> Any:
        drawn["batches"] = chances is not None
        return batches(inputs, targets, chances, *rest)

    monkeypatch.setattr(mlp, "_blends", seen_blends)
    monkeypatch.setattr(mlp, "_shuffled_batches", seen_batches)
    pooled = np.random.default_rng(0).integers(-9, 9, (2, 20, 4)).astype(np.int32)
    examples = Examples(pooled, np.tile([0, 1], 10), np.arange(1.0, 21.0))
    train_mlp(examples, examples, 2, small_config(teacher="kernel", mixup=mixup, max_epochs=1).training)
    assert drawn == {"blends": bool(mixup), "batches": not mixup}


def test_inner_folds_keep_speakers_apart_and_leave_every_class_to_learn() -> None:
    truth, speakers = np.tile([0, 1, 2], 40), np.repeat([f"s{i}" for i in range(6)], 20).tolist()
    folds = inner_folds(truth, speakers, 3, 0)
    assert all(np.unique(folds[np.array(speakers) == name]).size == 1 for name in set(speakers))
    assert sorted(np.bincount(folds).tolist()) == [40, 40, 40]
    alone = np.where(np.array(speakers) == "s0", 3, truth)  # a class that one speaker has
    folds = inner_folds(alone, speakers, 3, 0)
    assert np.unique(folds[alone == 3]).size == 3
    assert np.unique(inner_folds(truth, ["me"] * 120, 3, 0)).size == 3  # the only speaker is in all of them
    unknown = inner_folds(truth, [""] * 120, 3, 0)
    assert np.ptp([np.bincount(truth[unknown == fold], minlength=3) for fold in range(3)]) <= 1
