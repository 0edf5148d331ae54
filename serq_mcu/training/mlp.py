"""The float network: a multilayer perceptron trained with tf_keras.

Dense-ReLU-Dropout, Adam, cross-entropy, mini-batches, as in the adaptive mixed-precision paper (Shinde, Jain
and Sharma), with decoupled weight decay and a falling learning rate; early stopping on validation loss
restores the best weights. An epoch presents each clip so many times, in whatever versions of it there are.
Mixup (Zhang et al. 2018) blends pairs of clips; where these are few, a kernel method may teach (teacher.py).
The same data, configuration and seed give the same weights on the same machine and TensorFlow build.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the processor

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.progress import Progress
from serq_mcu.base.validation import changed
from serq_mcu.config import KERNEL, TrainingConfig
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.quantization.network import FloatNetwork, standardisation, standardise
from serq_mcu.training.sequences import OverTime, sequence_layers
from serq_mcu.training.teacher import BLENDS, KernelTeacher


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what C++ libraries write to standard error while they load; show it if loading fails."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


with _quiet():
    import tensorflow as tf
    import tf_keras

with contextlib.suppress(RuntimeError):  # where TensorFlow runs already, it is its user's to say
    # sums depend on the number of threads, and these networks are too small to need them
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

HISTORY = ("loss", "accuracy", "val_loss", "val_accuracy")
_BATCHES_AT_ONCE = 32  # without Python between them, for which Ctrl-C waits; it changes no number


@dataclass(frozen=True)
class Examples:
    """What a network trains on.

    Pooled features int32 [clips, features] or [versions, clips, features], and class indices int64 [clips].
    weight: how often a clip is presented, relative to others [clips]; without it all are alike. frames: of a
    sequence, whose values the features are; 1 for statistics.
    """

    pooled: NDArray[np.int32]
    truth: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None
    frames: int = 1

    @property
    def coefficients(self) -> int:
        """Features of a frame."""
        return int(self.pooled.shape[-1]) // self.frames

    @property
    def flat(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All versions one after another, but those without speech: [n, features] and [n]."""
        spoken = self._spoken
        return self._versions[spoken], np.tile(self.truth, (len(spoken), 1))[spoken]

    def standardised(
        self, mean: NDArray[np.float64], sd: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return what `flat` does, the features in standard deviations, float32; without another copy."""
        spoken, at = self._spoken, 0
        inputs = np.empty((np.count_nonzero(spoken), self.pooled.shape[-1]), np.float32)
        for version, kept in zip(self._versions, spoken, strict=True):
            rows = standardise(version[kept], mean, sd)
            inputs[at : at + len(rows)] = rows
            at += len(rows)
        return inputs, np.tile(self.truth, (len(spoken), 1))[spoken]

    @property
    def _versions(self) -> NDArray[np.int32]:
        return self.pooled.reshape(-1, *self.pooled.shape[-2:])

    @property
    def chances(self) -> NDArray[np.float64] | None:
        """The chance of each version of `flat` to be drawn, of sum 1; None where all are alike."""
        if self.weight is None:
            return None
        spoken = self._spoken
        own = np.tile(self.weight, (len(spoken), 1))[spoken]
        chances: NDArray[np.float64] = own / own.sum()
        return chances

    @property
    def _spoken(self) -> NDArray[np.bool_]:
        """Which versions of which clips have speech [versions, clips]."""
        return np.array([(version != MISSING).any(axis=-1) for version in self._versions])

    def of(self, kept: NDArray[np.bool_] | slice) -> Examples:
        """Return some of the clips, by a mask [clips]; or a slice of them, which shares its features."""
        weight = None if self.weight is None else self.weight[kept]
        return Examples(self.pooled[..., kept, :], self.truth[kept], weight, self.frames)

    def parted(self, first: int) -> tuple[Examples, Examples]:
        """Return the first clips and the others, which share their features with these."""
        return self.of(slice(first)), self.of(slice(first, None))

    def joined(self, more: Examples) -> Examples:
        """Return these clips and more of as many versions."""
        weights = [own for own in (self.weight, more.weight) if own is not None]
        return Examples(
            np.concatenate([self.pooled, more.pooled], axis=-2),
            np.concatenate([self.truth, more.truth]),
            np.concatenate(weights) if len(weights) == 2 else None,
            self.frames,
        )


@dataclass(frozen=True)
class Trained:
    """The network of the best epoch, and each epoch's HISTORY [epochs, 4]."""

    network: FloatNetwork
    history: NDArray[np.float64]

    @property
    def epochs(self) -> int:
        """Number of epochs that were run."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, whose weights were kept: the least validation loss."""
        return int(np.argmin(self.history[:, HISTORY.index("val_loss")])) + 1


def train_mlp(
    train: Examples,
    validation: Examples,
    classes: int,
    config: TrainingConfig,
    progress: Progress | None = None,
) -> Trained:
    """Train on `train`, stop by `validation`, its labels or the answers of what teaches.

    progress is called with a sentence, the epochs done and their limit.
    """
    return _fit(train, validation, classes, config, config.max_epochs, progress)


def train_and_refit(
    examples: Examples, training: int, classes: int, config: TrainingConfig, progress: Progress | None = None
) -> tuple[Trained, FloatNetwork | None]:
    """Train as `train_mlp` does, then again on validation clips too, if the configuration says so.

    training: how many of the clips train, the first; the others validate. Returns the first training, and the
    network of the second.
    """
    first = train_mlp(*examples.parted(training), classes, config, progress)
    if not config.refit:
        return first, None
    return first, refit_mlp(examples, classes, config, first.best_epoch, progress)


def refit_mlp(
    train: Examples, classes: int, config: TrainingConfig, epochs: int, progress: Progress | None = None
) -> FloatNetwork:
    """Train on `train` for as many epochs as another training was found best at; nothing stops it."""
    return _fit(train, None, classes, config, epochs, progress).network


def _fit(
    train: Examples,
    validation: Examples | None,
    classes: int,
    config: TrainingConfig,
    epochs: int,
    progress: Progress | None,
) -> Trained:
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    mean, sd = standardisation(train.pooled, train.coefficients)  # what is without speech is missing there
    layers = sequence_layers(config.sequence_layers, train.frames, train.coefficients)

    def arrays(examples: Examples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        inputs, truth = examples.standardised(mean, sd)
        return inputs, np.eye(classes, dtype=np.float32)[truth]

    learned, held = arrays(train), None if validation is None else arrays(validation)
    chances = train.chances
    if config.teacher == KERNEL:
        teacher = KernelTeacher(*learned, config.kernel_gamma, chances)
        inputs = _blends(learned[0], chances, config)
        chances = None if config.mixup else chances  # blends are drawn by them
        learned = inputs, teacher.answers(inputs)
        held = held and (held[0], teacher.answers(held[0]))
    steps = -(-config.presentations * len(train.truth) // config.batch_size)
    network = _build((train.frames, train.coefficients), layers, classes, config, steps)
    history = network.fit(
        _shuffled_batches(*learned, chances, epochs * steps, config),
        validation_data=held and tf.data.Dataset.from_tensor_slices(held).batch(1024),
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=_callbacks(config, epochs, validated=validation is not None, progress=progress),
        verbose=0,
    ).history
    weights = iter(_float64(network.get_weights()))
    first = tuple(layer.floats(weights) for layer in layers)
    rest = list(weights)
    return Trained(
        FloatNetwork.mlp(rest[::2], rest[1::2], mean, sd, first),
        np.array([history[name] for name in HISTORY if name in history]).T,
    )


def train_others(
    train: Examples,
    validation: Examples,
    classes: int,
    config: TrainingConfig,
    count: int,
    progress: Progress | None = None,
) -> list[FloatNetwork]:
    """Train as many networks of the seeds after the configuration's own, as `train_mlp` does."""
    return [
        train_mlp(train, validation, classes, own, progress).network
        for own in with_other_seeds(config, count)
    ]


def with_other_seeds(config: TrainingConfig, count: int) -> list[TrainingConfig]:
    """Return the configuration with each of as many seeds after its own."""
    return [changed(config, seed=(config.seed + place) % 2**32) for place in range(1, count + 1)]


def _float64(arrays: list[Any]) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.asarray(array, dtype=np.float64) for array in arrays)


def _build(
    shape: tuple[int, int], first: Sequence[OverTime], classes: int, config: TrainingConfig, steps: int
) -> Any:
    """Build and compile the network: the layers `first`, then hidden ones and the classes.

    shape: frames of a sequence, or 1, and features of each. The learning rate falls along a cosine to 0 at
    the last of max_epochs, of `steps` batches each.
    """
    layers = [tf_keras.layers.InputLayer((shape[0] * shape[1],))]
    if first:
        own = [one for layer in first for one in layer.keras(tf_keras)]
        layers += [tf_keras.layers.Reshape(shape), *own, tf_keras.layers.Flatten()]
    for width in config.hidden:
        layers += [tf_keras.layers.Dense(width, activation="relu"), tf_keras.layers.Dropout(config.dropout)]
    network = tf_keras.Sequential([*layers, tf_keras.layers.Dense(classes)])
    loss = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)
    rate = tf_keras.optimizers.schedules.CosineDecay(config.learning_rate, config.max_epochs * steps)
    network.compile(
        tf_keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
        loss,
        metrics=["accuracy"],
        steps_per_execution=min(steps, _BATCHES_AT_ONCE),
    )
    return network


def _blends(
    inputs: NDArray[np.float32], chances: NDArray[np.float64] | None, config: TrainingConfig
) -> NDArray[np.float32]:
    """Blend random pairs of inputs [n, features] by mixup for a teacher to answer; without it, none are."""
    if not config.mixup:
        return inputs
    rng = np.random.default_rng(config.seed)
    one, other = (
        rng.integers(len(inputs), size=(2, BLENDS))
        if chances is None
        else rng.choice(len(inputs), (2, BLENDS), p=chances)
    )
    share = rng.beta(config.mixup, config.mixup, (BLENDS, 1)).astype(np.float32)
    blended: NDArray[np.float32] = share * inputs[one] + (1 - share) * inputs[other]
    return blended


def _shuffled_batches(
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    chances: NDArray[np.float64] | None,
    batches_needed: int,
    config: TrainingConfig,
) -> Any:
    """Return batches: all examples in a new order each time round, without end; or drawn by their chances.

    Labels are blended by mixup; what a teacher answers for is blended already.
    """
    count = len(inputs)
    if chances is None:
        one_by_one = tf.data.Dataset.range(count).shuffle(count, seed=config.seed).repeat()
    else:
        drawn = np.random.default_rng(config.seed).choice(
            count, batches_needed * config.batch_size, p=chances
        )
        one_by_one = tf.data.Dataset.from_tensor_slices(drawn)
    order = one_by_one.batch(config.batch_size)
    x, y = tf.constant(inputs), tf.constant(targets)
    batches = order.map(lambda index: (tf.gather(x, index), tf.gather(y, index)))
    if config.mixup and config.teacher != KERNEL:
        batches = batches.map(lambda inputs, targets: _mixup(inputs, targets, config.mixup))
    return batches


def _mixup(inputs: Any, targets: Any, alpha: float) -> tuple[Any, Any]:
    """Blend each example of the batch with a random other one (mixup).

    The proportion is drawn from Beta(alpha, alpha).
    """
    count = tf.shape(inputs)[0]
    one, other = tf.random.gamma([count, 1], alpha), tf.random.gamma([count, 1], alpha)
    share = (one + 1e-12) / (
        one + other + 2e-12
    )  # a ratio of gamma variates is a beta variate; both may underflow
    partner = tf.random.shuffle(tf.range(count))
    return tuple(share * values + (1 - share) * tf.gather(values, partner) for values in (inputs, targets))


def _callbacks(
    config: TrainingConfig, epochs: int, *, validated: bool, progress: Progress | None
) -> list[Any]:
    callbacks, what = [], "training on all clips that are not held out"
    if validated:
        what = f"training, at most {epochs} epochs"
        stop = tf_keras.callbacks.EarlyStopping(
            "val_loss", patience=config.patience, restore_best_weights=True
        )
        callbacks.append(stop)
    if progress is not None:

        def report(epoch: int, _logs: dict[str, float]) -> None:
            progress(what, epoch + 1, epochs)

        callbacks.append(tf_keras.callbacks.LambdaCallback(on_epoch_end=report))
    return callbacks
