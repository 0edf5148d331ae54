"""The kernel teacher against a Gaussian process, and what a network learns from it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from serq_mcu.base.validation import changed
from serq_mcu.config import load_config
from serq_mcu.training import teacher as module
from serq_mcu.training.mlp import Examples, train_mlp
from serq_mcu.training.teacher import RIDGE, SHARPNESS, KernelTeacher


def _rings(count: int, seed: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Two classes that no plane parts: an inner and an outer ring in 2 of 12 features."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, count), 1 + 1.2 * truth + rng.normal(0, 0.12, count)
    values = rng.normal(0, 0.3, (count, 12))
    values[:, :2] += np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return np.rint(1000 * values).astype(np.int32), truth.astype(np.int64)


def test_answers_are_the_mean_of_a_gaussian_process() -> None:
    pooled, truth = _rings(80, 0)
    inputs, targets = pooled / 1000, np.eye(2)[truth]
    asked = _rings(30, 1)[0] / 1000
    mean = targets.mean(axis=0)
    process = GaussianProcessRegressor(RBF(np.sqrt(6)), alpha=RIDGE, optimizer=None).fit(
        inputs, targets - mean
    )  # 1/(2 l^2) = 1/12
    known = process.predict(asked) + mean  # the same mean function by other code
    expected = np.exp(SHARPNESS * known) / np.exp(SHARPNESS * known).sum(axis=1, keepdims=True)
    assert KernelTeacher(inputs, targets).answers(asked) == pytest.approx(expected, abs=1e-9)
    half = RBF(np.sqrt(12))  # of half the gamma
    wider = GaussianProcessRegressor(half, alpha=RIDGE, optimizer=None).fit(inputs, targets - mean)
    answered = KernelTeacher(inputs, targets, 0.5).answers(asked)
    assert answered.argmax(axis=1).tolist() == (wider.predict(asked) + mean).argmax(axis=1).tolist()
    assert answered != pytest.approx(expected, abs=1e-3)


def test_many_are_answered_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled, truth = _rings(80, 0)
    inputs, asked = pooled / 1000, _rings(10, 1)[0] / 1000
    teacher = KernelTeacher(inputs, np.eye(2)[truth])
    whole = teacher.answers(asked)
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    assert teacher.answers(asked) == pytest.approx(whole, abs=1e-12)


def test_only_the_first_anchors_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled, truth = _rings(80, 0)
    inputs, targets = pooled / 1000, np.eye(2)[truth]
    asked = _rings(10, 1)[0] / 1000
    monkeypatch.setattr(module, "ANCHORS", 40)
    few = KernelTeacher(inputs[:40], targets[:40])
    assert (KernelTeacher(inputs, targets).answers(asked) == few.answers(asked)).all()


def test_what_counts_more_is_answered_more() -> None:
    pooled, truth = _rings(80, 0)
    inputs, targets = np.tile(pooled / 1000, (2, 1)), np.eye(2)[np.concatenate([truth, 1 - truth])]
    chances = np.repeat([0.9, 0.1], 80) / 80  # each place has both labels
    right = KernelTeacher(inputs, targets, chances=chances).answers(inputs[:80]).argmax(axis=1) == truth
    assert right.all()
    turned = KernelTeacher(inputs, targets, chances=chances[::-1]).answers(inputs[:80]).argmax(axis=1)
    assert (turned == 1 - truth).all()


def test_of_many_those_that_count_more_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled, truth = _rings(80, 0)
    inputs, targets = pooled / 1000, np.eye(2)[truth]
    monkeypatch.setattr(module, "ANCHORS", 40)
    chances = np.where(np.arange(80) < 40, 1e-9, 1.0)
    late = KernelTeacher(inputs, targets, chances=chances / chances.sum()).answers(inputs[:9])
    assert late == pytest.approx(KernelTeacher(inputs[40:], targets[40:]).answers(inputs[:9]), abs=1e-9)


@pytest.mark.slow(9)
def test_a_network_learns_from_the_teacher_and_not_from_the_labels() -> None:
    """A tenth of the labels is wrong; the teacher's answers to other clips are what its pupil comes near
    to, and labels do not lead there.
    """
    pooled, truth = _rings(120, 2)
    truth[:12] = 1 - truth[:12]
    held = Examples(_rings(40, 4)[0][None], _rings(40, 4)[1])
    asked = _rings(400, 3)[0]
    apart = {}
    for taught_by in ("labels", "kernel"):
        config = changed(
            load_config().training,
            hidden=(32, 16),
            dropout=0.0,
            learning_rate=0.005,
            batch_size=32,
            presentations=20,
            max_epochs=20,
            teacher=taught_by,
            kernel_gamma=1.0,
        )
        network = train_mlp(Examples(pooled[None], truth), held, 2, config).network
        answers = KernelTeacher(network.standardise(pooled), np.eye(2)[truth]).answers(
            network.standardise(asked)
        )
        odds = np.exp(network.logits(network.standardise(asked)))
        apart[taught_by] = np.abs(odds / odds.sum(axis=1, keepdims=True) - answers).mean()
    assert apart["kernel"] < 0.75 * apart["labels"]
