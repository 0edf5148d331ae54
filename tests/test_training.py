"""Training: configuration, splits, the network, run folders; synthetic speech-like clips, and EMO-DB where it is at hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.frontend.recordings import at_speed, recorded_features
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.pipeline import quantize, quantize_run
from serq_mcu.quantization.run_folder import load_run
from serq_mcu.quantized_model.evaluation import evaluate
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.store import model_bytes
from serq_mcu.training.config import Config, load_config
from serq_mcu.training.run import read_dataset, train, train_dataset
from serq_mcu.training.splits import TEST, TRAIN, VALIDATION, split_clips

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


def _small(**changes: object) -> Config:
    config = load_config()
    small = {"hidden": (16, 8), "max_epochs": 6, "speeds": (0.9,), "validation_fraction": 0.2}
    return replace(config, training=replace(config.training, **{**small, **changes}))


# Configuration


def test_defaults_are_the_default_specification_and_survive_toml(tmp_path: Path) -> None:
    config = load_config()
    assert config.features == FeatureSpec()
    assert (config.training.hidden, config.training.batch_size, config.training.learning_rate) == ((256, 512, 64), 32, 0.001)
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert load_config(tmp_path / "c.toml") == config


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[training]\nhidden = [8]\ndropout = 0\n[quantization]\nmethod = "4"\n')
    config = load_config(tmp_path / "c.toml", split=3)
    assert (config.training.hidden, config.training.dropout, config.training.split, config.quantization.method) == ((8,), 0.0, 3, "4")
    assert config.training.patience == load_config().training.patience


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[trianing]\nseed = 1", r"'trianing' is not one of the sections"),
        ("seed = 1", r"'seed' is not one of the sections"),
        ("[training]\nsede = 1", r"unknown key training\.sede"),
        ('[training]\nseed = "1"', r"training\.seed must be a whole number"),
        ("[training]\nseed = true", r"training\.seed must be a whole number"),
        ('[training]\nhidden = [16, "a"]', r"each entry of training\.hidden"),
        ("[training]\nsplit = 5", r"training\.split must be 0 to 4"),
        ("[training]\nlearning_rate = nan", r"training\.learning_rate"),
        ("[training]\nspeeds = [1.0]", r"training\.speeds"),
        ("[features]\nhop_length = 0", "hop length"),
        ("[features]\nblocks = [3]", "malformed"),
        ('[quantization]\nmethod = "16"', "method"),
        ("[quantization]\nmargin = 2", "margin"),
        ("[decision]\ngate_db = 31", r"decision\.gate_db"),
        ("[decision]\ncoverage = 0", r"decision\.coverage"),
        ("[decision]\nblocks = 1.5", r"decision\.blocks must be a whole number"),
        ("[decision]\nsmoothing = 5", r"decision\.smoothing"),
        ("[training\n", "TOML"),
    ],
)
def test_bad_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SerqError, match=words):
        load_config(tmp_path / "c.toml")


def test_missing_configuration_and_split_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(SerqError, match="split"):
        load_config(split=5)


# Splits


def test_splits_are_stratified_disjoint_and_cover_every_clip_once() -> None:
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    tested = np.zeros(truth.size, dtype=int)
    for split in range(5):
        part = split_clips(truth, "abc", _small(split=split, validation_fraction=0.25).training)
        assert np.bincount(truth[part == TEST]).tolist() == [10, 6, 4]
        assert np.bincount(truth[part == VALIDATION]).tolist() == [10, 6, 4]
        assert np.bincount(truth[part == TRAIN]).tolist() == [30, 18, 12]
        tested += part == TEST
    assert (tested == 1).all()


def test_splits_follow_the_seed() -> None:
    truth = np.repeat([0, 1], 40)
    one, same, other = (split_clips(truth, "ab", _small(seed=seed).training) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_too_few_clips_are_refused_with_the_class() -> None:
    with pytest.raises(SerqError, match="'rare' has 3 clips, fewer than the 5 folds"):
        split_clips(np.repeat([0, 1], [30, 3]), ("common", "rare"), _small().training)
    with pytest.raises(SerqError, match="too few"):
        split_clips(np.repeat([0, 1], [2, 2]), "ab", _small(folds=2).training)


# Features


def test_recorded_features_are_the_references(clips: Path) -> None:
    spec, corpus = FeatureSpec(), load_corpus(clips)
    tables = build_tables(spec)
    chosen = corpus.clips[:3]
    pooled = recorded_features(spec, tables, chosen, (1.0, 0.9))
    for index, clip in enumerate(chosen):
        pcm = read_audio(clip.path, RATE).pcm
        assert (pooled[0, index] == features(spec, tables, pcm)).all()
        assert (pooled[1, index] == features(spec, tables, at_speed(pcm, 0.9))).all()


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_a_speed_shifts_pitch_and_length(speed: float) -> None:
    time = np.arange(RATE) / RATE
    played = at_speed(np.rint(8000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16), speed)
    assert played.size == pytest.approx(RATE / speed, abs=2)
    peak = np.argmax(np.abs(np.fft.rfft(played * np.hanning(played.size)))) * RATE / played.size
    assert peak == pytest.approx(1000 * speed, abs=RATE / played.size)  # a bin of the transform
    assert (played == at_speed(np.rint(8000 * np.sin(2 * np.pi * 1000 * time)).astype(np.int16), speed)).all()


# Training


def test_a_run_is_whole_reproducible_and_leads_to_a_model(clips: Path, tmp_path: Path) -> None:
    config = _small()
    said: list[tuple[object, ...]] = []
    run = train(clips, tmp_path / "run", config, lambda *words: said.append(words))
    again = train_dataset(read_dataset(clips, config), tmp_path / "again", config)
    expected = {"run.json", "config.toml", "features.safetensors", "weights.safetensors", "history.csv", "confusion.csv", "confusion.txt"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == expected
    for name in expected:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert model_bytes(quantize_run(tmp_path / "run")[0]) == model_bytes(quantize(again)[0])
    assert load_config(tmp_path / "run" / "config.toml") == config
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert sorted(name for names in header["split"].values() for name in names) == sorted(clip.name for clip in load_corpus(clips).clips)
    assert [header["clips"][part] for part in ("train", "validation", "test")] == [19, 5, 6]
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == run.epochs + 1
    assert {"computing features", "training, at most 6 epochs"} <= {words[0] for words in said}


def test_another_seed_gives_other_weights(clips: Path, tmp_path: Path) -> None:
    dataset = read_dataset(clips, _small())
    one, other = (train_dataset(dataset, tmp_path / str(seed), _small(seed=seed, max_epochs=2)) for seed in (1, 2))
    assert (one.network.kernels[0] != other.network.kernels[0]).any()


def test_training_learns(clips: Path, tmp_path: Path) -> None:
    run = train(clips, tmp_path / "run", _small(max_epochs=60, mixup=0.0))
    assert run.float_score("test").interval[0] > 1 / 3  # surely better than chance among three classes


def test_training_stops_in_time_and_keeps_the_best_epoch(clips: Path, tmp_path: Path) -> None:
    config = _small(max_epochs=100, mixup=0.0, patience=8, learning_rate=0.005)
    dataset = read_dataset(clips, config)
    shuffled = replace(dataset, truth=np.random.default_rng(0).permutation(dataset.truth))  # nothing to learn but by heart
    run = train_dataset(shuffled, tmp_path / "run", config)
    assert run.best_epoch < run.epochs == run.best_epoch + 8
    history = np.loadtxt(tmp_path / "run" / "history.csv", delimiter=",", skiprows=1)
    assert history[:, 3].argmin() + 1 == run.best_epoch
    pooled, truth = run.validation.pooled, run.validation.truth
    logits = run.network.logits(run.network.standardise(pooled)).reshape(-1, 3)
    loss = (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), np.tile(truth, len(pooled))]).mean()
    assert loss == pytest.approx(history[:, 3].min(), rel=1e-4)  # the kept weights give the best epoch's loss; Keras computed it in float32


def test_evaluation_judges_the_held_out_clips(clips: Path, tmp_path: Path) -> None:
    run = train(clips, tmp_path / "run", _small(max_epochs=60))
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


def _short(folder: Path) -> None:
    soundfile.write(folder / "calm" / "odd.wav", np.zeros(800), RATE, subtype="PCM_16")


def _rare(folder: Path) -> None:
    (folder / "rare").mkdir()
    soundfile.write(folder / "rare" / "0.wav", np.zeros(RATE), RATE, subtype="PCM_16")


@pytest.mark.parametrize(("spoil", "words"), [(_short, r"odd\.wav"), (_rare, "'rare' has 1 clip")])
def test_bad_corpora_leave_nothing_behind(clips: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    spoil(folder)
    with pytest.raises(SerqError, match=words):
        train(folder, tmp_path / "run", _small())
    assert not (tmp_path / "run").exists()


def test_a_folder_of_others_is_not_replaced(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("do not lose")
    with pytest.raises(SerqError, match="not made by serq-mcu"):
        train(clips, tmp_path / "run", _small(max_epochs=1))
    assert (tmp_path / "run" / "thesis.txt").read_text() == "do not lose"


def test_emodb_first_fold(emodb_dir: Path, tmp_path: Path) -> None:
    """The defaults on real recordings; all five folds are the demo's business."""
    run = train(emodb_dir, tmp_path / "run", load_config())
    model, _ = quantize(load_run(tmp_path / "run"))
    assert [len(run.members(part)) for part in ("train", "validation", "test")] == [363, 65, 107]
    found = evaluate(model, emodb_dir)
    assert (found.held_out, found.score.n) == (True, 107)
    low, _ = run.float_score("test").interval
    assert low > 127 / 535  # surely better than always naming the commonest class
    assert found.score.interval[0] > 127 / 535
