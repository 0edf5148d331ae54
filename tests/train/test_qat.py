"""Quantization-aware training: its quantizers against numpy's, its network against the integers, and what
it buys.
"""

from __future__ import annotations

import numpy as np
import pytest

from serq_mcu.base.validation import changed
from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import FloatDense
from serq_mcu.layers.encodings import ENCODINGS, TERNARY, Width, encoding_of
from serq_mcu.layers.quantizer import dequantize, fields
from serq_mcu.layers.quantizer import quantize as quantize_numpy
from serq_mcu.quantization.lowering import Lowering, TunedNetwork
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.store import model_bytes
from serq_mcu.training import qat
from serq_mcu.training.mlp import Examples, train_mlp, train_others
from serq_mcu.training.qat import FineTuner, InnerFolds, NetworkTuner, quantize_weights

import tensorflow as tf  # isort: skip  # after mlp, which sets how it loads

SPEC = FeatureSpec(mel_bands=10, blocks=(Mfcc(8),))
LABELS = ("calm", "angry", "sad")
HIDDEN = 40


def _examples(seed: int, clips: int) -> Examples:
    """Three overlapping classes in device units."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(LABELS), clips)
    centers = np.random.default_rng(99).normal(0, 1.0, (len(LABELS), SPEC.feature_count))
    values = (centers[truth] + rng.normal(0, 2.0, (clips, SPEC.feature_count))) * 3000 + 500
    return Examples(np.rint(values).astype(np.int32)[None], truth)


@pytest.fixture(scope="module")
def data() -> tuple[Examples, Examples]:
    return _examples(1, 320), _examples(2, 120)


def _kernels(network: FloatNetwork) -> list[np.ndarray]:
    return [layer.kernel for layer in network.dense]


def _first(tuned: TunedNetwork) -> np.ndarray:
    return tuned.values[0]["kernel"]


@pytest.fixture(scope="module")
def lowering(data: tuple[Examples, Examples]) -> Lowering:
    """A random hidden layer under a least-squares last one: a classifier that works, without training."""
    train, rng = data[0], np.random.default_rng(5)
    mean, sd = standardisation(train.pooled[0])
    kernels = [rng.normal(0, 0.25, (SPEC.feature_count, HIDDEN)), rng.normal(0, 0.2, (HIDDEN, HIDDEN))]
    biases = [rng.normal(0, 0.2, HIDDEN), rng.normal(0, 0.2, HIDDEN)]
    front = FloatNetwork.mlp(tuple(kernels), tuple(biases), mean, sd)
    hidden = np.maximum(front.targets(front.standardise(train.pooled[0]))[-1], 0)
    design = np.hstack([hidden, np.ones((len(hidden), 1))])
    last = np.linalg.solve(design.T @ design + 3 * np.eye(HIDDEN + 1), design.T @ np.eye(3)[train.truth]) * 4
    network = FloatNetwork.mlp((*kernels, last[:-1]), (*biases, last[-1]), mean, sd)
    return Lowering(network, train.pooled[0], SPEC, build_tables(SPEC), LABELS)


def _tuner(lowering: Lowering, **changes: object) -> FineTuner:
    config = load_config().changed(
        training={"presentations": 1, "mixup": 0.0}, tuning={"epochs": 6, "dropout": 0.1, **changes}
    )
    return FineTuner(lowering.network, config.training, config.tuning)


@pytest.fixture(scope="module")
def tuner(lowering: Lowering) -> FineTuner:
    return _tuner(lowering)


def _loss(logits: np.ndarray, truth: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(truth)), truth]).mean())


@pytest.mark.parametrize("bits", [*range(1, 9), TERNARY])
def test_training_and_numpy_quantize_alike(bits: Width) -> None:
    rng, levels = np.random.default_rng(3), ENCODINGS[encoding_of(bits)].levels
    weights = rng.normal(0, 0.1, (64, 48)).astype(np.float32)
    scale = np.float32(quantize_numpy(weights.astype(np.float64), bits)[1])
    weights.flat[:levels] = scale * (
        np.arange(levels, dtype=np.float32) - np.float32(levels / 2)
    )  # where two levels are as near
    weights.flat[-2:] = [-50, 50]  # beyond all levels
    variable = tf.Variable(weights)
    with tf.GradientTape() as tape:
        seen = quantize_weights(variable, tf.constant(scale), tf.constant(float(levels)))
    u = fields(weights, bits, scale)
    assert (u.min(), u.max()) == (0, levels - 1)
    # the same field everywhere: levels are a scale apart, and float32 is good to 1e-6 of the largest of at
    # most 256
    assert np.abs(seen.numpy() - dequantize(u, bits, float(scale))).max() < 1e-4 * scale
    gradient = tape.gradient(seen, variable).numpy()
    inside = np.abs(weights) <= scale * levels / 2
    assert (gradient[inside] == 1).all()
    assert (gradient[~inside] == 0).all()  # what is held at the last level moves with the scale alone


@pytest.mark.parametrize("bits", [1, 2, 4, TERNARY])
def test_a_weight_beyond_the_levels_pulls_the_scale_toward_it(bits: Width) -> None:
    levels = ENCODINGS[encoding_of(bits)].levels
    weights, scale = tf.constant([-3.0, 3.0]), tf.Variable(0.1)
    with tf.GradientTape() as tape:
        off = tf.reduce_sum(tf.square(quantize_weights(weights, scale, tf.constant(float(levels))) - weights))
    assert tape.gradient(off, scale).numpy() < 0  # descent makes the scale larger


@pytest.mark.parametrize("widths", [(8, 8, 8), (5, 3, 7), (4, 2, 6), (1, 1, 1), (TERNARY, 1, TERNARY)])
def test_the_integers_answer_as_the_network_in_training(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner, widths: tuple[Width, ...]
) -> None:
    tuned = tuner.tune(lowering, widths, *data)
    model = lowering.tuned_model(tuned)
    assert model.widths == widths
    floating, integer = (
        tuner.logits(tuned, lowering, data[1].pooled[0]),
        scores(model, data[1].pooled[0]) * model.score_scale,
    )
    # all that differs is float32: a sum a hair from a rounding boundary may move one activation by one of its
    # 127 steps, rarely
    apart = np.abs(floating - integer).max(axis=1)
    assert np.median(apart) < 1e-4 * np.abs(floating).max()
    assert apart.max() < 0.02 * np.abs(floating).max()
    assert (floating.argmax(axis=1) == integer.argmax(axis=1)).mean() >= 0.99


@pytest.mark.parametrize("widths", [(8, 8, 8), (1, 1, 1)])
def test_it_starts_from_post_training_quantization(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner, widths: tuple[Width, ...]
) -> None:
    model, start = lowering.model(widths), lowering.start(widths)
    integer = scores(model, data[1].pooled[0]) * model.score_scale
    floating = tuner.logits(start, lowering, data[1].pooled[0])
    # the fields are found anew with the refitted scale, so a few weights stand a level further; at 1 bit only
    # signs count
    assert np.abs(floating - integer).max() < 0.02 * np.abs(integer).max()


def test_fine_tuning_wins_back_what_one_bit_loses(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner
) -> None:
    train, validation = data
    after = lowering.model((1, 1, 1))
    tuned = lowering.tuned_model(tuner.tune(lowering, (1, 1, 1), train, validation))
    losses = [
        _loss(scores(model, validation.pooled[0]) * model.score_scale, validation.truth)
        for model in (after, tuned)
    ]
    assert losses[1] < losses[0] - 0.02


def test_tuning_on_does_not_run_away(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner
) -> None:
    train = data[0]
    short, long = (
        lowering.tuned_model(tuner.retune(lowering, (2, 2, 2), train, epochs, of=epochs))
        for epochs in (1, 40)
    )
    losses = [
        _loss(scores(model, train.pooled[0]) * model.score_scale, train.truth) for model in (short, long)
    ]
    assert losses[1] < losses[0]


def test_the_same_seed_gives_the_same_bytes_whatever_was_tuned_before(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner
) -> None:
    first = model_bytes(lowering.tuned_model(tuner.tune(lowering, (2, 1, 3), *data)))
    tuner.tune(lowering, (4, 4, 4), *data)
    assert model_bytes(lowering.tuned_model(tuner.tune(lowering, (2, 1, 3), *data))) == first
    fresh = _tuner(lowering)
    assert model_bytes(lowering.tuned_model(fresh.tune(lowering, (2, 1, 3), *data))) == first


def test_tuning_anew_goes_the_same_way_for_as_many_epochs(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner
) -> None:
    tuned = tuner.tune(lowering, (2, 1, 3), *data)
    assert 0 < tuned.epochs <= 6
    again = tuner.retune(lowering, (2, 1, 3), data[0], tuned.epochs)
    assert model_bytes(lowering.tuned_model(again)) == model_bytes(lowering.tuned_model(tuned))
    more = tuner.retune(lowering, (2, 1, 3), data[0].joined(data[1]), tuned.epochs)
    assert (_first(more) != _first(again)).any()


def test_a_run_is_tuned_anew_for_as_many_epochs_and_each_judge_never_saw_its_clips(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation = data
    both = train.joined(validation)
    inner = InnerFolds(both, np.arange(len(both.truth)) % 3, 2)
    own = NetworkTuner(tuner, train, validation, 4, inner)
    assert own.retune(lowering, (2, 1, 3), 2).epochs == 2
    learned: list[Examples] = []

    def trained(examples: Examples, classes: int, _: object, epochs: int) -> FloatNetwork:
        learned.append(examples)
        assert (classes, epochs) == (len(LABELS), 4)
        return lowering.network

    monkeypatch.setattr(qat, "refit_mlp", trained)
    judges = own.judges(lowering)
    for fold, (judge, examples) in enumerate(zip(judges, learned, strict=True)):
        assert (judge.validation.pooled == both.pooled[:, inner.fold == fold]).all()
        assert (examples.pooled == both.pooled[:, inner.fold != fold]).all()
    assert sum(judge.validation.clips for judge in judges) == len(both.truth)
    assert judges[0].right((2, 1, 3)).mean() > 0.5
    (alone,) = NetworkTuner(tuner, train, validation, 0, inner).judges(lowering)  # an imported network
    assert alone.network is lowering.network
    assert (alone.validation.pooled == validation.pooled).all()


def test_an_ensemble_teaches_what_its_networks_say_on_average(
    lowering: Lowering, data: tuple[Examples, Examples], tuner: FineTuner
) -> None:
    config = changed(
        load_config().training, hidden=(HIDDEN, HIDDEN), batch_size=32, presentations=2, max_epochs=3, seed=7
    )
    others = train_others(*data, len(LABELS), config, 2)
    assert len(others) == 2
    alone = train_mlp(*data, len(LABELS), changed(config, seed=8)).network
    assert all((a == b).all() for a, b in zip(_kernels(others[0]), _kernels(alone), strict=True))
    assert (_kernels(others[0])[0] != _kernels(others[1])[0]).any()
    by_three = _tuner(lowering, ensemble=3)
    tuned = by_three.tune(lowering, (2, 2, 2), *data, others=others)
    inputs = np.random.default_rng(3).integers(-16, 17, (5, SPEC.feature_count)) / 16
    logits = [network.logits(inputs) for network in (lowering.network, *others)]
    said = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in logits]
    assert by_three._taught(tf.constant(inputs, tf.float32)).numpy() == pytest.approx(
        np.mean(said, axis=0), abs=1e-5
    )
    assert (_first(tuned) != _first(tuner.tune(lowering, (2, 2, 2), *data))).any()
    with pytest.raises(ValueError, match="zip"):
        by_three.tune(lowering, (2, 2, 2), *data, others=others[:1])


def test_a_kind_of_layer_without_a_twin_is_refused_by_its_name(lowering: Lowering) -> None:
    class Bent(FloatDense):
        kind = "bent"

    first, *rest = lowering.network.dense
    bent = FloatNetwork((Bent(first.kernel, first.bias), *rest), lowering.network.mean, lowering.network.sd)
    config = load_config()
    with pytest.raises(SerqError, match="a layer bent cannot be fine-tuned"):
        FineTuner(bent, config.training, config.tuning)
