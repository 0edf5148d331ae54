"""What clips say about all voices, against numpy's own; a model calibrated and adapted to a speaker."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serq_mcu.errors import SerqError
from serq_mcu.evaluation.calibration import (
    OWN_ANSWER,
    adapt_to_clips,
    calibrate,
    learned_voice,
    load_voice,
    save_voice,
)
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers.dense import FloatDense
from serq_mcu.quantization import adaptation
from serq_mcu.quantization.adaptation import adapt
from serq_mcu.quantization.voices import VoiceStatistics, heard_by_voice
from serq_mcu.quantized_model.interpreter import classify, input_steps
from serq_mcu.quantized_model.types import NEVER, QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from tests.support.models import dense, made_up_features, made_up_model

CLASSES, SPEAKERS, CLIPS, FEATURES = 3, 8, 30, 5
ALL = np.ones(CLASSES * SPEAKERS * CLIPS, bool)
LEADS = (*range(0, 1800, 100), NEVER)
SPREAD = np.array([0.0, 10.0, 40.0, 100.0, 100.0])  # of speakers, where clips spread by 40


def corpus(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Clips of a random-effects model: a class, a speaker and chance; and the speakers' true effects."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(0, 1, (SPEAKERS, FEATURES)) * SPREAD
    truth = np.tile(np.arange(CLASSES), SPEAKERS * CLIPS)
    speaker = np.repeat(np.arange(SPEAKERS), CLASSES * CLIPS)
    clips = 1000 + 300 * truth[:, None] + effects[speaker] + rng.normal(0, 40, (len(truth), FEATURES))
    return np.rint(clips).astype(np.int32), truth, [f"s{index}" for index in speaker], effects


def test_pseudo_windows_are_the_ratio_of_variances_that_made_the_clips() -> None:
    clips, truth, speakers, effects = corpus()
    voices = VoiceStatistics.of(clips, truth, speakers, ALL, CLASSES, shrinkage=2.0)
    assert voices is not None
    exact = 2 * 40**2 / effects.var(axis=0, ddof=1)[1:]
    assert np.abs(voices.counts[2:] / exact[1:] - 1).max() < 0.25  # of 90 clips of each of 8 speakers
    assert voices.counts[0] > 1000, "a feature that is alike in all speakers is never shifted much"
    mean = 1000 + 300 * np.arange(CLASSES)[:, None] + effects.mean(axis=0)
    assert np.abs(voices.means - mean).max() < 12  # 240 clips that spread by 40


def test_a_speakers_shift_is_what_the_speaker_deviates_by() -> None:
    clips, truth, speakers, effects = corpus()
    voices = VoiceStatistics.of(clips, truth, speakers, ALL, CLASSES, 2.0)
    assert voices is not None
    shifts = voices.shifts(clips, truth, speakers, ALL)
    deviation = effects - effects.mean(axis=0)
    assert np.abs(shifts[:: CLASSES * CLIPS, 3:] - deviation[:, 3:]).max() < 15


def test_a_clip_that_is_held_out_teaches_no_shift() -> None:
    clips, truth, speakers, _ = corpus()
    voices = VoiceStatistics.of(clips, truth, speakers, ALL, CLASSES, 2.0)
    assert voices is not None
    used = np.arange(len(truth)) % 2 == 0
    changed = clips.copy()
    changed[~used] += 5000
    again = VoiceStatistics.of(changed, truth, speakers, used, CLASSES, 2.0)
    before = VoiceStatistics.of(clips, truth, speakers, used, CLASSES, 2.0)
    assert again is not None and before is not None
    assert np.array_equal(again.means, before.means) and np.array_equal(again.counts, before.counts)
    first, second = (voices.shifts(found, truth, speakers, used) for found in (clips, changed))
    assert np.array_equal(first, second)
    nobody = voices.shifts(clips, truth, [""] * len(truth), used)
    assert not nobody.any()


def test_two_speakers_say_nothing_about_all_voices() -> None:
    clips, truth, speakers, _ = corpus()
    few = [name if name in ("s0", "s1") else "" for name in speakers]
    assert VoiceStatistics.of(clips, truth, few, ALL, CLASSES, 2.0) is None


def test_every_second_version_is_of_a_known_voice_and_what_is_missing_stays_so() -> None:
    pooled = np.arange(4 * 2 * 3, dtype=np.int32).reshape(4, 2, 3)
    pooled[:, 1, 2] = MISSING
    shifts = np.array([[1.0, 2.4, 3.0], [10.0, 20.0, 30.0]])
    heard = heard_by_voice(pooled, shifts)
    known = pooled - np.rint(shifts).astype(np.int32)
    assert heard.shape == (5, 2, 3)
    for place, version in enumerate((pooled[0], known[0], known[1], pooled[2], known[3])):
        assert (heard[place][:, :2] == version[:, :2]).all()
        assert heard[place][1, 2] == MISSING


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    """Its scores are a few units of logits apart, as those of a trained network are."""
    made = made_up_model((24, 4), (8, 4), labels=("anger", "joy", "neutral", "no speech"))
    first, last = dense(made)
    first = dataclasses.replace(first, weight_scale=0.05 / first.output_grid.scale)
    last = dataclasses.replace(last, weight_scale=0.02, input_scale=0.05)
    return dataclasses.replace(made, layers=(first, last), score_scale=last.output_grid.scale)


def speaker(model: QuantizedModel, count: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Clips of somebody whose classes lie apart, though the model's random weights do not know them."""
    rng = np.random.default_rng(seed)
    names = ["anger", "joy", "neutral"] * count
    step = 2.0**model.input.shift / model.input.multiplier
    centers = np.random.default_rng(99).normal(0, 12, (3, model.spec.feature_count))
    steps = np.tile(centers, (count, 1)) + rng.normal(0, 4, (len(names), model.spec.feature_count))
    return np.rint(model.input.center + steps * step).astype(np.int32), names


def test_own_answers_teach_as_labels_would_where_they_are_right(model: QuantizedModel) -> None:
    clips = made_up_features(model, 20)[4:]
    answers = [int(classify(model, clips[0]))]
    voice = learned_voice(model, clips[:1], [OWN_ANSWER])
    assert (voice.sums == learned_voice(model, clips[:1], answers).sums).all()


def test_adapting_to_clips_answers_others_of_the_same_speaker(model: QuantizedModel) -> None:
    clips, names = speaker(model, 6)
    found = adapt(model, clips, names)
    assert found.helps
    assert found.after.accuracy > 0.9
    assert found.model.labels == ("anger", "joy", "neutral", "no speech")
    later, wanted = speaker(model, 10, seed=5)
    answers = [found.model.labels[index] for index in classify(found.model, later)]
    assert np.mean(np.array(answers) == np.array(wanted)) > 0.9
    assert found.model.widths == (8, 8), "the last layer holds small changes"
    assert (found.model.layers[0].tensors()["u"] == model.layers[0].tensors()["u"]).all()
    made = found.model.provenance["adapted"]
    assert made == {"from": model.sha256[:16], "clips": {"anger": 6, "joy": 6, "neutral": 6}}


def test_classes_may_be_fewer_or_have_other_names(model: QuantizedModel) -> None:
    clips, names = speaker(model, 6)
    renamed = ["mum" if name == "joy" else name for name in names if name != "neutral"]
    kept = clips[[name != "neutral" for name in names]]
    found = adapt(model, kept, renamed)
    assert found.model.labels == ("anger", "mum", "no speech")
    assert found.after.accuracy > 0.9
    assert found.model.voice is not None
    assert model.voice is not None
    anger, mum, none = found.model.voice.means.astype(int)
    assert (anger == model.voice.means[0]).all() and (none == model.voice.means[3]).all()
    own = input_steps(found.model.input, kept[[name == "mum" for name in renamed]]).mean(axis=0)
    assert np.abs(mum - np.clip(own, -127, 127)).max() <= 0.5


def test_a_clip_that_is_left_out_is_not_learned_from(
    model: QuantizedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, names = speaker(model, 4)
    learned: list[list[bytes]] = []
    fit = adaptation._fit

    def watched(model: QuantizedModel, pooled: np.ndarray, *rest: Any) -> QuantizedModel:
        learned.append([row.tobytes() for row in pooled])
        return fit(model, pooled, *rest)

    monkeypatch.setattr(adaptation, "_fit", watched)
    adapt(model, clips, names)
    *left, every = learned
    assert every == [row.tobytes() for row in clips]
    assert [[row for row in every if row not in kept] for kept in left] == [[row] for row in every]


def test_the_last_layer_is_where_clips_and_prior_are_likeliest_together() -> None:
    """No small change of it makes the two more likely, as written down here from the definition."""
    rng = np.random.default_rng(0)
    old = FloatDense(rng.normal(size=(4, 3)), rng.normal(size=3), relu=False)
    inputs, truth = rng.normal(size=(9, 4)), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    found = adaptation._fitted(old, inputs, truth)

    def cost(kernel: np.ndarray, bias: np.ndarray) -> float:
        logits = inputs @ kernel + bias
        likely = logits[np.arange(9), truth] - np.log(np.exp(logits).sum(axis=1))
        by_class = sum(likely[truth == index].mean() for index in range(3))
        moved = 4 * (inputs**2).mean() * ((kernel - old.kernel) ** 2).sum() + ((bias - old.bias) ** 2).sum()
        return float(adaptation.PRIOR / 2 * moved - by_class)

    best = cost(found.kernel, found.bias)
    assert best < cost(old.kernel, old.bias)
    for _ in range(200):
        kernel, bias = (0.01 * rng.normal(size=part.shape) for part in (found.kernel, found.bias))
        assert cost(found.kernel + kernel, found.bias + bias) > best


def test_an_answer_needs_the_same_lead_in_logits_as_before(model: QuantizedModel) -> None:
    clips, names = speaker(model, 6)
    assert model.decision is not None
    rule = dataclasses.replace(model.decision, unsure_margin=900, confidence=LEADS)
    sure = dataclasses.replace(model, decision=rule)
    found = adapt(sure, clips, names).model
    assert found.decision is not None
    lead = found.decision.unsure_margin * found.score_scale
    assert abs(lead - 900 * sure.score_scale) <= found.score_scale / 2
    assert found.score_scale < sure.score_scale / 2
    assert found.decision.confidence[-1] == NEVER
    moved = np.array(found.decision.confidence[:-1]) * found.score_scale
    assert np.abs(moved - np.array(LEADS[:-1]) * sure.score_scale).max() <= found.score_scale / 2


def test_one_class_cannot_be_adapted_to(model: QuantizedModel) -> None:
    clips, _ = speaker(model, 2)
    with pytest.raises(SerqError, match="clips of 1 class hold speech; adapting needs two classes"):
        adapt(model, clips, ["anger"] * len(clips))
    silent = np.full_like(clips, MISSING)
    with pytest.raises(SerqError, match="clips of 0 classes hold speech"):
        adapt(model, silent, ["anger"] * len(clips))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speaker")
    rng = np.random.default_rng(1)
    for label in ("anger", "neutral"):
        (folder / label).mkdir()
        for number in range(3):
            sound = rng.normal(0, 0.1, 16000) * np.hanning(16000)
            soundfile.write(folder / label / f"{number}.wav", sound, 16000)
    return folder


def test_recordings_calibrate_and_the_voice_file_is_of_one_model(
    model: QuantizedModel, recordings: Path, tmp_path: Path
) -> None:
    by_folders = calibrate(model, recordings)
    assert (by_folders.clips, by_folders.voice.windows) == (6, 3)  # it remembers three
    assert by_folders.before is not None
    assert by_folders.before.n == 6
    unlabelled = calibrate(model, recordings, unlabelled=True)
    assert unlabelled.before is None
    neutral = calibrate(model, recordings / "neutral", "neutral")
    path = save_voice(neutral.voice, model, tmp_path / "anna.voice")
    assert (load_voice(path, model).sums == neutral.voice.sums).all()
    other = made_up_model((24, 4), (8, 4), seed=1, labels=model.labels)
    with pytest.raises(SerqError, match=r"anna\.voice: the voice is of model"):
        load_voice(path, other)
    with pytest.raises(SerqError, match=r"missing\.voice does not exist; `serq-mcu calibrate` writes"):
        load_voice(tmp_path / "missing.voice", model)


def test_a_clip_is_judged_by_the_voice_of_all_others(
    model: QuantizedModel, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []

    def watched(model: QuantizedModel, pooled: np.ndarray, labels: list[int]) -> Voice:
        learned.append([row.tobytes() for row in pooled])
        return learned_voice(model, pooled, labels)

    monkeypatch.setattr("serq_mcu.evaluation.calibration.learned_voice", watched)
    found = calibrate(model, recordings)
    every, *left = learned
    assert [[row for row in every if row not in kept] for kept in left] == [[row] for row in every]
    assert found.after is not None and found.after.n == 6


def test_what_cannot_calibrate_says_why(model: QuantizedModel, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="'calm' is not a class of the model; choose among anger"):
        calibrate(model, recordings, "calm")
    with pytest.raises(SerqError, match="was not trained for voices"):
        calibrate(made_up_model((4,), (8,), voices=False), recordings)
    found = adapt_to_clips(model, recordings)
    assert found.clips == 6
    for name in ("DC_a01", "JE_a01", "DC_n01", "JE_n01"):
        shutil.copy(recordings / "anger" / "0.wav", tmp_path / f"{name}.wav")
    for refused in (calibrate, adapt_to_clips):
        with pytest.raises(SerqError, match=r"holds 2 speakers \(DC, JE\); a voice is of one"):
            refused(model, tmp_path)
