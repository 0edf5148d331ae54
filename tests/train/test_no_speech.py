"""The class "no speech": what it is made of, whose part it is, and what a model answers by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from serq_mcu.errors import SerqError
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import NO_SPEECH, NO_SPEECH_LABEL
from serq_mcu.training.no_speech import heard_alone, no_speech_recordings, validates
from serq_mcu.training.run import fit, read_dataset
from tests.support.training import small_config

RATE = 16000
TONES = {"high": 900.0, "low": 300.0}

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng, time = np.random.default_rng(0), np.arange(RATE) / RATE
    for label, pitch in TONES.items():
        (folder / label).mkdir()
        for take in range(10):
            signal = 0.2 * np.sin(2 * np.pi * pitch * (1 + 0.01 * take) * time)
            signal += 0.002 * rng.normal(size=RATE)
            soundfile.write(folder / label / f"{take}.wav", signal, RATE, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(1)
    for kind in ("rain", "speech: read"):
        (folder / kind).mkdir()
        for take in range(6):
            noise = 0.1 * rng.normal(size=2 * RATE)
            soundfile.write(folder / kind / f"{take}.wav", noise, RATE, subtype="PCM_16")
    return folder


def test_it_is_made_of_sounds_but_people_who_speak_and_of_noise(sounds: Path) -> None:
    found = no_speech_recordings(sounds, RATE)
    names = [clip.name for clip in found.clips]
    assert {clip.label for clip in found.clips} == {NO_SPEECH_LABEL}
    assert sum("rain" in name for name in names) == 6 and not any("read" in name for name in names)
    assert sum("noise" in name for name in names) == 40 == len(names) - 6
    levels = [20 * np.log10(np.sqrt(np.mean((pcm / 32768.0) ** 2)) + 1e-9) for pcm in found.audio[6:]]
    assert min(levels) < -65 and max(levels) > -35  # from faint to loud
    again = no_speech_recordings(sounds, RATE)
    assert all((one == other).all() for one, other in zip(found.audio, again.audio, strict=True))


def test_a_folder_of_speech_alone_is_refused(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "a.wav").write_bytes((sounds / "rain" / "0.wav").read_bytes())
    with pytest.raises(SerqError, match="nothing but speech"):
        no_speech_recordings(tmp_path, RATE)


def test_sounds_train_and_validate_and_never_test_and_noise_is_answered_by_the_class(
    corpus: Path, sounds: Path
) -> None:
    config = small_config(max_epochs=12, folds=5)
    dataset = read_dataset(corpus, config, None, sounds)
    assert dataset.labels == ("high", "low", NO_SPEECH_LABEL) and dataset.sounds == 46
    run, _ = fit(dataset, config)
    part = run.part[-46:]
    assert set(part.tolist()) == {0, 1}
    fraction = config.training.validation_fraction
    assert part.tolist() == [int(validates(name, fraction)) for name in run.names[-46:]]
    alone = fit(read_dataset(corpus, config), config)[0]
    assert (alone.part == run.part[:-46]).all()  # the clips' own split does not know of them
    model, _ = quantize(run)
    answers = classify(model, run.pooled[0])
    assert (answers[-46:] == NO_SPEECH).mean() > 0.9
    assert (answers[:-46] == run.truth[:-46]).mean() > 0.9


def test_sounds_are_heard_without_babble(corpus: Path) -> None:
    config = heard_alone(small_config().augmentation)
    assert (config.noise_share, config.pause_share, config.window_share) == (0, 0, 1)


def test_a_corpus_with_a_class_of_that_name_is_told(corpus: Path, sounds: Path, tmp_path: Path) -> None:
    for label in ("high", "no speech"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.wav").write_bytes((corpus / "high" / "0.wav").read_bytes())
    with pytest.raises(SerqError, match="class 'no speech' of their own"):
        read_dataset(tmp_path, small_config(), None, sounds)
