"""Quantization: the quantizer, importance, lowering to integers, and the choice of bits, on synthetic
networks. No TensorFlow.
"""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serq_mcu.base.metrics import PairedDifference, Score, wilson_interval
from serq_mcu.config import QuantizationConfig, load_config
from serq_mcu.errors import SerqError
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers.encodings import width_label
from serq_mcu.layers.quantizer import dequantize
from serq_mcu.layers.quantizer import quantize as quantize_weights
from serq_mcu.quantization.allocation import Judge, LayerChoice, ValidationData, choose_widths
from serq_mcu.quantization.decision import confidence_leads, unsure_margin
from serq_mcu.quantization.importance import layer_importance
from serq_mcu.quantization.lowering import Lowering, dequantized, device_inputs
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantization.pipeline import STEPS, quantize
from serq_mcu.quantization.run_folder import FEATURES, MARKER, WEIGHTS, Run, load_run, save_run
from serq_mcu.quantized_model.interpreter import classify, scores
from serq_mcu.quantized_model.store import model_bytes
from serq_mcu.quantized_model.types import NEVER, QuantizedModel
from serq_mcu.show.quantization import allocation_lines, choice_lines

SPEC = FeatureSpec(mel_bands=10, blocks=(Mfcc(8),))
FEATURE_COUNT = SPEC.feature_count
LABELS = ("calm", "angry", "sad")


def _data(rng: np.random.Generator, clips: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Three overlapping classes in device units: pooled [clips, features], truth [clips]."""
    truth = rng.integers(0, len(LABELS), clips)
    centers = np.random.default_rng(99).normal(0, 1.0, (len(LABELS), FEATURE_COUNT))
    values = (centers[truth] + rng.normal(0, 2.0, (clips, FEATURE_COUNT))) * 3000 + 500
    return np.rint(values).astype(np.int32), truth


def _network(pooled: NDArray[np.int32], truth: NDArray[np.int64], hidden: int = 48) -> FloatNetwork:
    """Random hidden layers under a least-squares last layer: a classifier that works, without training."""
    rng = np.random.default_rng(5)
    mean, sd = standardisation(pooled)
    kernels = [
        rng.normal(0, 1 / math.sqrt(FEATURE_COUNT), (FEATURE_COUNT, hidden)),
        rng.normal(0, 1 / math.sqrt(hidden), (hidden, hidden)),
    ]
    biases = [rng.normal(0, 0.2, hidden), rng.normal(0, 0.2, hidden)]
    front = FloatNetwork.mlp(tuple(kernels), tuple(biases), mean, sd)
    x = np.maximum(front.targets(front.standardise(pooled))[-1], 0)
    design = np.hstack([x, np.ones((len(x), 1))])
    solved = np.linalg.solve(
        design.T @ design + 3 * np.eye(hidden + 1), design.T @ np.eye(len(LABELS))[truth]
    )
    return FloatNetwork.mlp((*kernels, solved[:-1]), (*biases, solved[-1]), mean, sd)


@pytest.fixture(scope="module")
def run() -> Run:
    rng = np.random.default_rng(1)
    pooled, truth = _data(rng, 600)
    part = np.repeat(np.array([0, 1, 2], dtype=np.uint8), [360, 120, 120])
    version = pooled + rng.integers(-300, 301, pooled.shape).astype(np.int32)
    network = _network(pooled[part == 0], truth[part == 0])
    rounded = FloatNetwork.mlp(  # a run stores float32
        tuple(k.astype(np.float32).astype(np.float64) for k in (layer.kernel for layer in network.dense)),
        tuple(b.astype(np.float32).astype(np.float64) for b in (layer.bias for layer in network.dense)),
        network.mean,
        network.sd,
    )
    config = load_config().changed(
        features=SPEC.to_json(),
        training={"seed": 3, "split": 0},
        quantization={"method": "adaptive", "alpha": 0.5, "margin": 0.02},
        decision={"blocks": 3, "block_seconds": 0.5, "floor_seconds": 2.0, "coverage": 0.8, "smoothing": 1},
    )
    names = tuple(f"clip{index:03}" for index in range(600))
    return Run(
        config,
        "made",
        LABELS,
        names,
        ("",) * 600,
        tuple(f"{index:012x}" for index in range(600)),
        np.stack([pooled, version]),
        truth,
        part,
        "speaker b, who does not train",
        rounded,
        7,
        4,
        {"tool": "1"},
    )


def _lowering(run: Run) -> Lowering:
    return Lowering(run.network, run.calibration, SPEC, build_tables(SPEC), LABELS)


def _choosing(method: str, alpha: float, margin: float) -> QuantizationConfig:
    return (
        load_config().changed(quantization={"method": method, "alpha": alpha, "margin": margin}).quantization
    )


def _choose(
    lowering: Lowering, validation: ValidationData, config: QuantizationConfig
) -> tuple[LayerChoice, ...]:
    return choose_widths(lowering.network, [Judge.after_training(lowering, validation)], config)


# The quantizer


@pytest.mark.parametrize("bits", range(1, 9))
def test_quantizer_finds_no_worse_scale_than_a_fine_search(bits: int) -> None:
    w = np.random.default_rng(bits).normal(0, 0.1, (30, 20))
    u, scale = quantize_weights(w, bits)
    error = np.square(w - dequantize(u, bits, scale)).sum()
    levels = 2**bits - 1
    for candidate in np.abs(w).max() * 2 / levels * np.linspace(0.05, 1.3, 400):
        nearest = candidate / 2 * (2 * np.clip(np.round(w / candidate + levels / 2), 0, levels) - levels)
        # 2 %, or 0.1 dB: the error is jagged in the scale, and no search but an endless one finds its deepest
        # notch
        assert error <= np.square(w - nearest).sum() * 1.02
    assert u.dtype == np.uint8
    assert u.max() <= levels


def test_more_bits_never_err_more() -> None:
    w = np.random.default_rng(0).laplace(0, 0.1, (64, 64))
    errors = [
        float(np.square(w - dequantize(u, bits, scale)).sum())
        for bits in range(1, 9)
        for u, scale in [quantize_weights(w, bits)]
    ]
    assert all(after < before / 2 for before, after in itertools.pairwise(errors))  # a bit is worth some 5 dB


def test_one_bit_has_its_closed_form() -> None:
    w = np.array([[0.5, -0.25], [0.75, -1.5]])
    u, scale = quantize_weights(w, 1)
    assert u.tolist() == [[1, 0], [1, 0]]
    assert scale == pytest.approx(2 * 0.75)


def test_ternary_weights_have_the_least_error_of_all_thresholds_and_scales() -> None:
    rng = np.random.default_rng(0)
    for w in (
        rng.normal(0, 0.1, (12, 5)),
        rng.laplace(0, 1, (7, 9)),
        np.array([[0.0, 0.0, -3.0]]),
        np.array([[1.0, 1.0, -1.0, 0.25]]),
    ):
        u, scale = quantize_weights(w, "ternary")
        error = np.square(w - dequantize(u, "ternary", scale)).sum()
        assert set(u.ravel().tolist()) <= {0, 1, 2}
        assert np.array_equal(dequantize(u, "ternary", 1.0), np.where(np.abs(w) < scale / 2, 0, np.sign(w)))
        for threshold in np.unique(np.abs(w)):
            kept = (np.abs(w) >= threshold) * np.sign(w)
            if kept.any():
                best = (w * kept).sum() / np.abs(kept).sum()
                assert error <= np.square(w - best * kept).sum() + 1e-12  # rounding of float64 sums


@pytest.mark.parametrize("bits", range(1, 9))
def test_levels_are_represented_exactly(bits: int) -> None:
    u = np.arange(2**bits, dtype=np.uint8).reshape(1, -1)
    found, scale = quantize_weights(dequantize(u, bits, 0.125), bits)
    assert found.tolist() == u.tolist()
    assert scale == pytest.approx(0.125)


def test_quantizer_refuses_what_it_cannot_do() -> None:
    for width in (9, 0, "binary", "b4"):
        with pytest.raises(SerqError, match="choose 1 to 8, or ternary"):
            quantize_weights(np.ones((2, 2)), width)
    with pytest.raises(SerqError, match="zero"):
        quantize_weights(np.zeros((2, 2)), 4)


# Importance


def test_importance_is_the_papers_formula() -> None:
    kernels = (np.array([[1.0, -1.0], [1.0, -1.0]]), np.array([[0.5], [-0.5]]))
    network = FloatNetwork.mlp(kernels, (np.zeros(2), np.zeros(1)), np.zeros(2), np.ones(2))
    first, second = layer_importance(network, _choosing("adaptive", 0.25, 0.1))
    assert (first.parameter_share, second.parameter_share) == pytest.approx((6 / 9, 3 / 9))
    assert (first.variance, second.variance) == pytest.approx((1.0, 0.25))
    assert first.variance_term == pytest.approx(1.0)
    assert second.variance_term == pytest.approx(math.log(math.e - 1 + 0.25))
    assert first.importance == pytest.approx(0.25 * 6 / 9 + 0.75)
    assert (first.rank, second.rank) == (0, 1)
    assert first.margin == pytest.approx(0.1 * first.importance)


# Lowering


def test_eight_bits_follow_the_float_network_closely(run: Run) -> None:
    model = _lowering(run).model((8, 8, 8))
    pooled = run.pooled[0, run.members("test")]
    expected = run.network.logits(run.network.standardise(pooled))
    error = scores(model, pooled) * model.score_scale - expected
    # 7-bit activations err by at most half of 1/127 of their range, some 40 dB below the signal; three layers
    # of them leave over 25 dB
    assert 10 * math.log10(np.square(expected - expected.mean()).sum() / np.square(error).sum()) > 25
    assert (classify(model, pooled) == run.network.classify(run.network.standardise(pooled))).mean() > 0.95


@pytest.mark.parametrize("bits", [1, "ternary", 2, 3, 8])
def test_bias_correction_keeps_each_scores_mean(run: Run, bits: int | str) -> None:
    model = _lowering(run).model((bits,) * 3)
    got = (scores(model, run.calibration) * model.score_scale).mean(axis=0)
    # exact but for the rounding of the last bias to half an accumulator step
    assert np.allclose(
        got,
        run.network.logits(run.network.standardise(run.calibration)).mean(axis=0),
        atol=0.51 * model.score_scale,
    )


def test_refitted_gain_is_the_least_squares_one(run: Run) -> None:
    """At 1 bit in the last layer, no other unit explains the float logits better."""
    model = _lowering(run).model((8, 8, 1))
    got, want = (
        scores(model, run.calibration).astype(np.float64),
        run.network.logits(run.network.standardise(run.calibration)),
    )
    got, want = got - got.mean(axis=0), want - want.mean(axis=0)
    best = float((got * want).sum() / (got * got).sum())
    assert model.score_scale == pytest.approx(best, rel=1e-9)


def test_inputs_stand_for_standard_deviations(run: Run) -> None:
    model = _lowering(run).model((8, 8, 8))
    pooled = run.pooled[0]
    exact = run.network.standardise(pooled)
    inside = np.abs(exact) < 3.9  # the last step below +4 saturates at 63/16
    # half a step of 1/16 for rounding, and 4 sd times the multiplier's relative error of at most 1/2048, and
    # half a unit of center
    bound = 1 / 32 + 4 / 2048 + (0.5 / run.network.sd).max()
    assert np.abs(device_inputs(model, pooled) - exact)[inside].max() <= bound


def test_constant_features_stay_silent_and_dead_layers_are_lowered() -> None:
    rng = np.random.default_rng(2)
    pooled, truth = _data(rng, 200)
    pooled[:, 4] = 777
    network = _network(pooled, truth, hidden=16)
    dead = FloatNetwork.mlp(
        [layer.kernel for layer in network.dense],
        [np.full(16, -100.0), *(layer.bias for layer in network.dense[1:])],
        network.mean,
        network.sd,
    )
    for candidate in (network, dead):
        for bits in (1, 8):
            model = Lowering(candidate, pooled, SPEC, build_tables(SPEC), LABELS).model((bits,) * 3)
            strange = pooled.copy()
            strange[:, 4] += 5000
            assert (scores(model, strange) == scores(model, pooled)).all()
    want = dead.logits(dead.standardise(pooled))
    got = scores(model, pooled) * model.score_scale
    assert np.allclose(
        got, want, atol=0.01 * np.abs(want).max()
    )  # constant logits; 1 %: biases in the waist are integers


def test_dequantized_weights_with_exact_activations_differ_only_by_activation_rounding(run: Run) -> None:
    model = _lowering(run).model((3, 2, 4))
    pooled = run.calibration
    floating = dequantized(model, run.network).logits(device_inputs(model, pooled))
    integer = scores(model, pooled) * model.score_scale
    assert (
        10
        * math.log10(np.square(floating - floating.mean(axis=0)).sum() / np.square(floating - integer).sum())
        > 20
    )  # see the 8-bit test


def test_a_rare_outlier_does_not_coarsen_the_steps_of_all_activations() -> None:
    """One clip in 20000 makes a neuron fire far above all others. It is clipped: steps that reach so far
    would cost the others more. No score depends on that neuron, so what is lost is the others' alone.
    """
    pooled, truth = _data(np.random.default_rng(11), 20000)
    plain = _network(pooled[:500], truth[:500])
    pooled[0] = np.rint(plain.mean + 4 * plain.sd)
    ordinary = pooled[1:]
    weight = np.abs(plain.dense[0].kernel).max()  # no larger than others, so integer weights stay as fine
    highest = float((plain.standardise(ordinary).sum(axis=1) * weight).max())
    lost = {}
    for name, bias in (("never fires", -1e3), ("fires once", -highest)):
        kernels = [layer.kernel.copy() for layer in plain.dense]
        biases = [layer.bias.copy() for layer in plain.dense]
        kernels[0][:, 0], biases[0][0], kernels[1][0] = weight, bias, 0.0
        network = FloatNetwork.mlp(kernels, biases, plain.mean, plain.sd)
        model = Lowering(network, pooled, SPEC, build_tables(SPEC), LABELS).model((8, 8, 8))
        exact = dequantized(model, network).logits(device_inputs(model, ordinary))
        lost[name] = float(np.square(scores(model, ordinary) * model.score_scale - exact).mean())
    assert lost["fires once"] < 5 * lost["never fires"]  # 3.5; 9 if steps reach the outlier


# The choice of bits


def test_adaptive_choice_keeps_its_own_rule(run: Run) -> None:
    lowering, validation = _lowering(run), run.validation
    config = _choosing("adaptive", 0.5, 0.02)
    choices = _choose(lowering, validation, config)
    baseline = validation.accuracy(run.network.classify(run.network.standardise(validation.pooled)))
    widths = [8] * 3
    for choice in sorted(choices, key=lambda item: item.importance.rank):
        assert choice.required == pytest.approx(baseline - 0.02 * choice.importance.importance)
        assert [trial.bits for trial in choice.trials] == list(range(1, len(choice.trials) + 1))
        for (
            trial
        ) in choice.trials:  # each accuracy is that of the integer model, layers visited before at their bits
            widths[choice.importance.layer] = trial.bits
            assert trial.accuracy == validation.accuracy(classify(lowering.model(widths), validation.pooled))
            assert trial.accepted == (trial.accuracy >= choice.required - 1e-12)
        assert not any(trial.accepted for trial in choice.trials[:-1])
        assert choice.trials[-1].accepted
        assert choice.bits == choice.trials[-1].bits
        widths[choice.importance.layer] = choice.bits


def test_a_margin_that_allows_everything_gives_one_bit_and_a_fixed_width_asks_nothing(run: Run) -> None:
    asked = (
        ("5", 0.0, (5, 5, 5)),
        ("ternary", 0.0, ("ternary",) * 3),
        ("8,ternary,1", 0.0, (8, "ternary", 1)),
    )
    for method, margin, widths in (("adaptive", 1.0, (1, 1, 1)), *asked):
        choices = _choose(_lowering(run), run.validation, _choosing(method, 1.0, margin))
        if (
            method == "adaptive"
        ):  # alpha 1: margins are shares of parameters; every layer's is wide enough only if accuracy holds
            assert all(choice.trials for choice in choices)
            assert all(choice.bits == 1 for choice in choices if choice.importance.margin > 0.7)
        else:
            assert tuple(choice.bits for choice in choices) == widths
            assert not any(choice.trials for choice in choices)
            assert any(line.startswith(f"  {width_label(widths[1])}: ") for line in choice_lines(choices[1]))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("9", r"quantization\.method is '9'; it must be adaptive, one of 8, 7, "),
        ("4,", "one of these for each layer"),
        ("adaptive,4", "one of"),
        ("4\n", "control character"),
        (4, "one of"),
    ],
)
def test_a_method_that_is_none_is_refused(run: Run, method: object, words: str) -> None:
    with pytest.raises(SerqError, match=words):
        run.changed(quantization={"method": method})


def test_a_width_too_few_is_refused(run: Run) -> None:
    with pytest.raises(SerqError, match="names 2 widths, but the network takes 3: one for each layer"):
        quantize(run.changed(quantization={"method": "4,ternary"}))


def test_a_ternary_model_is_stored_at_two_bits_and_says_so(run: Run) -> None:
    model, allocation = quantize(run.changed(quantization={"method": "ternary"}))
    assert model.widths == allocation.widths == ("ternary",) * 3
    assert allocation.average_bits == 2
    assert all(set(layer.tensors()["u"].ravel().tolist()) == {0, 1, 2} for layer in model.layers)


def test_a_width_that_loses_nothing_is_taken_at_a_margin_of_0(run: Run) -> None:
    """Clips that a network of 1 bit answers as the float network does, a tenth of them wrongly."""
    lowering, pooled = _lowering(run), run.pooled[0]
    answers = run.network.classify(run.network.standardise(pooled))
    ranked = sorted(
        _choose(lowering, run.validation, _choosing("8", 0.5, 0.0)), key=lambda c: c.importance.rank
    )
    alike, widths = np.ones(len(answers), dtype=bool), [8] * 3
    for choice in ranked:  # the models that the choice will try, when each takes its first width
        widths[choice.importance.layer] = 1
        alike &= classify(lowering.model(widths), pooled) == answers
    truth = answers[alike].copy()
    truth[::10] = (truth[::10] + 1) % len(LABELS)
    validation = ValidationData(pooled[alike][None], truth)
    choices = _choose(lowering, validation, _choosing("adaptive", 0.5, 0.0))
    assert all(choice.trials[0].accuracy == choice.required < 1 for choice in choices)
    assert [[trial.accepted for trial in choice.trials] for choice in choices] == [[True]] * 3


def test_where_no_width_holds_the_best_is_taken(run: Run) -> None:
    truth = run.network.classify(
        run.network.standardise(run.validation.pooled[0])
    )  # the float network is right by definition
    impossible = ValidationData(run.validation.pooled[:1], truth)
    choices = _choose(_lowering(run), impossible, _choosing("adaptive", 0.5, 0.0))
    for choice in choices:
        if not choice.trials[-1].accepted:
            assert len(choice.trials) == 8
            assert choice.bits == max(choice.trials, key=lambda trial: trial.accuracy).bits
            assert "no width" in choice.reason


def test_test_clips_have_no_say(run: Run) -> None:
    scrambled = run.truth.copy()
    members = run.members("test")
    scrambled[members] = (scrambled[members] + 1) % 3
    pooled = run.pooled.copy()
    pooled[:, members] = pooled[:, members][:, ::-1] // 2
    other = replace(run, truth=scrambled, pooled=pooled)
    assert quantize(other)[1].layers == quantize(run)[1].layers


@pytest.mark.parametrize(
    ("method", "alpha", "margin", "words"),
    [("9", 0.5, 0.02, "method"), ("2", 1.5, 0.02, "alpha"), ("2", 0.5, -1.0, "margin")],
)
def test_options_out_of_range_are_named(
    run: Run, method: str, alpha: float, margin: float, words: str
) -> None:
    with pytest.raises(SerqError, match=words):
        run.changed(quantization={"method": method, "alpha": alpha, "margin": margin})


def test_the_same_run_gives_the_same_bytes_and_a_full_account(run: Run) -> None:
    (model, allocation), (again, _) = quantize(run), quantize(run)
    assert model_bytes(model) == model_bytes(again)
    assert model.widths == allocation.widths
    provenance = json.loads(json.dumps(model.provenance))
    assert provenance["held_out"] == [f"clip{index}" for index in range(480, 600)]
    assert provenance["clips"] == {"train": 360, "validation": 120, "test": 120}
    assert provenance["validated_by"] == "speaker b, who does not train"
    assert provenance["recordings"]["test"] == [f"{index:012x}" for index in range(480, 600)]
    assert {part: len(own) for part, own in provenance["recordings"].items()} == provenance["clips"]
    test = provenance["metrics"]["quantized"]["test"]
    truth = run.truth[run.members("test")]
    assert test["correct"] == int((classify(model, run.pooled[0, run.members("test")]) == truth).sum())
    assert (test["n"], test["interval95"]) == (120, list(wilson_interval(test["correct"], 120)))
    assert json.loads(json.dumps(allocation.to_json()))["widths"] == list(model.widths)
    assert any("importance" in line for line in allocation_lines(allocation))
    assert provenance["config"] == run.config.to_json()
    assert provenance["run"] == run.digest != replace(run, pooled=run.pooled + 1).digest


# A network trained anew on validation clips too, and the one that chooses


def _refitted(run: Run) -> Run:
    """The run with a network that ships of its own: another random one, which saw training clips alone."""
    members = run.members("train")
    network = _network(run.pooled[1, members], run.truth[members])
    parts = [layer.kernel.astype(np.float32).astype(np.float64) for layer in network.dense]
    biases = [layer.bias.astype(np.float32).astype(np.float64) for layer in network.dense]
    shipped = FloatNetwork.mlp(tuple(parts), tuple(biases), network.mean, network.sd)
    return replace(run, network=shipped, chooser=run.network)


def test_the_chooser_chooses_and_the_other_ships(run: Run) -> None:
    refitted = _refitted(run)
    (model, allocation), (before, chosen) = quantize(refitted), quantize(run)
    alone = quantize(replace(refitted, chooser=None).changed(quantization={"method": _named(before)}))[0]
    assert allocation.layers == chosen.layers
    assert model.decision == before.decision
    assert _bare(model) == _bare(alone) != _bare(before)
    for step in STEPS:
        own, before_it = (found.scores[step]["validation"] for found in (allocation, chosen))
        assert own.to_json() == before_it.to_json()
    truth = run.truth[run.members("test")]
    answers = classify(model, run.pooled[0, run.members("test")])
    assert allocation.quantized_scores["test"].correct == int((answers == truth).sum())
    assert refitted.float_score("validation").to_json() == run.float_score("validation").to_json()
    assert refitted.float_score("train").to_json() != run.float_score("train").to_json()
    assert refitted.digest != run.digest != replace(refitted, chooser=None).digest != refitted.digest


def _bare(model: QuantizedModel) -> bytes:
    return model_bytes(replace(model, provenance={}, decision=None))


def _named(model: QuantizedModel) -> str:
    return ",".join(map(str, model.widths))


def test_both_networks_are_in_the_run_folder(run: Run, tmp_path: Path) -> None:
    refitted = _refitted(run)
    back = load_run(save_run(refitted, tmp_path / "run", {}))
    assert model_bytes(quantize(back)[0]) == model_bytes(quantize(refitted)[0])
    assert back.digest == refitted.digest
    assert any("with the validation clips" in line for line in back.lines())


def test_networks_of_other_shapes_are_refused(run: Run) -> None:
    members = run.members("train")
    other = _network(run.pooled[0, members], run.truth[members], hidden=8)
    with pytest.raises(SerqError, match="do not fit each other"):
        replace(run, chooser=other)


# The decision rule


def test_the_rule_is_what_the_configuration_wishes(run: Run) -> None:
    model = quantize(run)[0]
    rule = model.decision
    assert rule is not None
    spec = model.spec
    assert rule.block_frames == round(0.5 * spec.sample_rate / spec.hop_length)
    assert (rule.blocks, rule.smoothing) == (3, 1)
    assert rule.floor_blocks == 4
    assert rule.wake_rise == 255  # 3 dB in Q8 log2
    leads = np.diff(np.sort(scores(model, run.pooled[0, run.members("validation")]), axis=1)[:, -2:])[:, 0]
    assert (leads >= rule.unsure_margin).mean() >= 0.8 > (leads >= rule.unsure_margin + 1).mean()
    assert model.provenance["validation"] == run.names_of("validation")


def test_confidence_is_the_share_of_right_answers_at_a_lead(run: Run) -> None:
    rng = np.random.default_rng(1)
    leads = rng.integers(0, 100_000, 20_000)
    right = rng.random(leads.size) < 1 / (1 + np.exp(0.5 - leads / 20_000))
    steps = np.searchsorted(confidence_leads(leads, right), leads, side="right")
    for step in range(9, 19):  # 45 % to 90 %
        assert abs(100 * right[steps == step].mean() - 5 * step) < 4.5, step
    assert steps.min() == 8 and steps.max() == 19
    rule = quantize(run)[0].decision
    assert rule is not None and len(rule.confidence) == 19


def test_few_clips_and_leads_that_tell_nothing_make_nobody_certain() -> None:
    leads = np.array([10, 500, 900])
    all_right = confidence_leads(leads, np.ones(3, np.bool_))
    assert all_right[:16] == (0,) * 16 and set(all_right[16:]) == {NEVER}  # 4 of 5: 80 %
    assert confidence_leads(leads, np.array([True, True, False]))[10:] == (0, 0, *(NEVER,) * 7)  # 61 %
    assert confidence_leads(leads[:0], np.ones(0, np.bool_)) == ()
    apart = confidence_leads(np.arange(200) * 50, np.arange(200) >= 100)
    assert 3_000 < apart[9] < 7_000 and apart[18] < 10_000


def test_a_margin_leaves_the_share_of_answers_that_was_asked_for() -> None:
    found = np.array([[10, 0, -5], [3, 9, 0], [0, 0, 4], [7, 7, 1]])  # leads 10, 6, 4, 0
    assert [unsure_margin(found, coverage) for coverage in (1.0, 0.75, 0.5, 0.25, 0.01)] == [0, 4, 6, 10, 10]


def test_a_changed_run_is_quantized_and_described_by_what_was_changed(run: Run) -> None:
    model, allocation = quantize(run.changed(quantization={"margin": 1.0}, decision={"blocks": 5}))
    assert allocation.config.margin == model.provenance["config"]["quantization"]["margin"] == 1.0
    assert model.decision is not None and model.decision.blocks == 5
    assert model.provenance["run"] == run.digest  # which configuration quantized it is no part of the run


@pytest.mark.parametrize("section", ["features", "augmentation", "training", "voice"])
def test_what_made_a_run_cannot_be_changed_after_it(run: Run, section: str) -> None:
    with pytest.raises(SerqError, match=rf"^c\.toml: \[{section}\] made the run"):
        run.merged({section: {}}, "c.toml")


# The run folder


def test_a_run_folder_reads_back(run: Run, tmp_path: Path) -> None:
    back = load_run(save_run(run, tmp_path / "run", {"config.toml": ""}))
    assert model_bytes(quantize(back)[0]) == model_bytes(quantize(run)[0])
    assert back.to_json() == run.to_json()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        MARKER,
        FEATURES,
        WEIGHTS,
        "confusion.csv",
        "confusion.txt",
        "config.toml",
    }


def _flip_byte(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 1
    (folder / name).write_bytes(data)


def _edit_header(folder: Path, key: str, value: object) -> None:
    header = json.loads((folder / MARKER).read_text())
    (folder / MARKER).write_text(json.dumps(header | {key: value}))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped weight": (lambda f: _flip_byte(f, WEIGHTS), "damaged"),
    "flipped feature": (lambda f: _flip_byte(f, FEATURES), "damaged"),
    "missing weights": (lambda f: (f / WEIGHTS).unlink(), WEIGHTS),
    "no header": (lambda f: (f / MARKER).unlink(), "not a run folder"),
    "header cut": (lambda f: (f / MARKER).write_text('{"format": 1,'), "damaged"),
    "header a list": (lambda f: (f / MARKER).write_text("[]"), "damaged"),
    "newer": (lambda f: _edit_header(f, "format", 3), "it has format 3, and this serq-mcu reads format 2"),
    "a label less": (lambda f: _edit_header(f, "labels", ["calm", "sad"]), "fit"),
    "no configuration": (lambda f: _edit_header(f, "config", {}), r"\[features\] is missing; train again"),
    "configuration a list": (lambda f: _edit_header(f, "config", []), "damaged"),
    "a section a list": (lambda f: _edit_header(f, "config", {"tuning": []}), "'tuning' is not one of"),
    "a name less": (lambda f: _edit_header(f, "names", ["a"]), "fit"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_folder_is_refused(run: Run, tmp_path: Path, kind: str) -> None:
    folder = save_run(run, tmp_path / "run", {})
    damage, words = DAMAGE[kind]
    damage(folder)
    with pytest.raises(SerqError, match=words):
        load_run(folder)


def test_quantizing_loads_no_training_library() -> None:
    code = "import sys, serq_mcu.quantization.pipeline, serq_mcu.evaluation.clips; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'numpy'" in loaded
    assert not [name for name in ("tensorflow", "tf_keras", "sklearn", "librosa") if f"'{name}'" in loaded]


# Metrics


def test_wilson_interval_against_its_definition() -> None:
    for correct, n in ((0, 10), (7, 10), (10, 10), (83, 107)):
        low, high = wilson_interval(correct, n)
        for end in (low, high):  # its ends are the proportions p with (share - p)^2 = z^2 p (1 - p) / n
            assert (correct / n - end) ** 2 == pytest.approx(
                1.959963984540054**2 * end * (1 - end) / n, rel=1e-9, abs=1e-15
            )
        assert 0 <= low < high <= 1


def test_score_counts() -> None:
    score = Score.of(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("a", "b, c", "d"))
    assert (score.correct, score.n, score.accuracy) == (3, 4, 0.75)
    assert score.recall == {"a": 2 / 3, "b, c": 1.0, "d": None}
    assert score.balanced_accuracy == pytest.approx(5 / 6)
    assert score.confusion_csv().splitlines()[1:] == ["a,2,1,0", '"b, c",0,1,0', "d,0,0,0"]
    assert score.confusion_lines()[1].split() == ["0", "a", "2", "1", "0", "67%"]


def test_a_clip_without_an_answer_counts_and_is_not_right() -> None:
    score = Score.of(np.array([0, 0, 0, 1, 1, 1]), np.array([0, -1, 1, 1, -1, -2]), ("a", "b"))
    assert (score.correct, score.n, score.unanswered) == (2, 6, (1, 2))
    assert score.accuracy == pytest.approx(2 / 6)
    assert score.recall == {"a": pytest.approx(1 / 3), "b": pytest.approx(1 / 3)}
    assert score.balanced_accuracy == pytest.approx(1 / 3)
    assert score.confusion.tolist() == [[1, 1], [0, 1]]
    assert score.confusion_csv().splitlines() == ["true \\ predicted,a,b,no answer", "a,1,1,1", "b,0,1,2"]
    assert score.confusion_lines()[1].split() == ["0", "a", "1", "1", "1", "33%"]
    assert "3 clips got no answer" in str(score)
    assert "no answer" not in str(Score.of(np.array([0]), np.array([0]), ("a", "b")))


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.25), (0.05, 0.05), (0.3, 0.0)])
def test_the_interval_of_a_paired_difference_covers_it_in_95_of_100_draws(
    before: float, after: float
) -> None:
    """Over all outcomes of 60 cases with their probabilities; it may be wide where cases rarely differ."""
    n, covered = 60, 0.0
    for first in range(n + 1):
        for second in range(n + 1 - first):
            found = PairedDifference(n, first, second)
            low, high = found.interval
            same = n - first - second
            ways = math.comb(n, first) * math.comb(n - first, second)
            chance = ways * before**first * after**second * (1 - before - after) ** same
            covered += chance * (low <= after - before <= high)
            assert low <= found.mean <= high or first == second == 0
    assert 0.93 <= covered <= 0.99


def test_a_paired_difference_counts_cases() -> None:
    right = np.array([True, True, True, False, False]), np.array([True, False, False, True, False])
    found = PairedDifference.of(*right)
    assert (found.n, found.only_first, found.only_second) == (5, 2, 1)
    assert found.mean == pytest.approx(-0.2)


def test_a_run_whose_place_is_refused_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(SerqError, match=r"^cannot write .*; what was made is in .*/run$") as refused:
        save_run(run, tmp_path / "file" / "run", {"config.toml": ""})
    assert load_run(Path(str(refused.value).split("is in ")[1])).digest == run.digest
