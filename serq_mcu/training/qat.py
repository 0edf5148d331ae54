"""Quantization-aware training: a float network fine-tuned as the device will compute it.

At any widths from 1 to 8 bits, or ternary. tfmot's machinery (`QuantizeWrapperV2`, `QuantizeConfig`,
`Quantizer`) wraps the layers (twins.py); the levels are this project's own (layers/quantizer.py), its
gradients pass straight through (Bengio et al. 2013). Activations are the device's: inputs on its grid, hidden
ones 0 to 127 steps, states as a recurrent matrix reads them. Weight scales and activation steps learn too
(LSQ, Esser et al. 2020), as logarithms. The float network teaches (distillation, Hinton et al. 2015).
Everything about a width is a variable, so one compiled step serves all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.progress import Progress
from serq_mcu.base.validation import changed
from serq_mcu.config import Config, TrainingConfig, TuningConfig
from serq_mcu.layers.base import ACTIVATION_MAX, Tuned
from serq_mcu.layers.encodings import ENCODINGS, Width, encoding_of
from serq_mcu.quantization.allocation import Judge, ValidationData
from serq_mcu.quantization.lowering import Lowering, TunedNetwork
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.run_folder import CALIBRATION_VERSIONS, Run
from serq_mcu.quantized_model.types import INPUT_STEPS_PER_SD, INPUT_ZERO_POINT, QuantizedModel
from serq_mcu.training.mlp import Examples, refit_mlp, train_others, with_other_seeds
from serq_mcu.training.splits import inner_folds
from serq_mcu.training.twins import DenseTwin, straight_through, twin

# after mlp, which sets how TensorFlow and Keras load
import tensorflow as tf  # isort: skip
import tensorflow_model_optimization as tfmot  # isort: skip
import tf_keras  # isort: skip

_quantization: Any = tfmot.quantization.keras
_Wrapper: Any = _quantization.QuantizeWrapperV2
_INPUT_RANGE = (
    -INPUT_ZERO_POINT / INPUT_STEPS_PER_SD,
    (ACTIVATION_MAX - INPUT_ZERO_POINT) / INPUT_STEPS_PER_SD,
)


def tuner(run: Run, progress: Progress | None = None) -> NetworkTuner:
    """Make what `quantization.pipeline.quantize` calls to fine-tune the networks of a run."""
    hidden = tuple(layer.outputs for layer in run.network.dense[:-1])  # the configuration may not say
    frames = max(run.config.features.sequence_frames, 1)
    train, validation = (
        Examples(
            run.pooled[:, members],
            run.truth[members],
            None if run.weight is None else run.weight[members],
            frames,
        )
        for members in (run.members("train"), run.members("validation"))
    )
    training = changed(run.config.training, hidden=hidden)
    own = FineTuner(run.network, training, run.config.tuning)
    members = np.concatenate([run.members("train"), run.members("validation")])
    speakers = [run.speakers[index] for index in members]
    inner = InnerFolds.dealt(train.joined(validation), speakers, run.config)
    return NetworkTuner(own, train, validation, run.best_epoch, inner, progress)


@dataclass(frozen=True)
class InnerFolds:
    """The clips that train and validate, each in a fold [clips], and how long a trial of widths is tuned.

    Versions of a clip are in its fold.
    """

    examples: Examples
    fold: NDArray[np.int64]
    trial_epochs: int

    @classmethod
    def dealt(cls, examples: Examples, speakers: Sequence[str], config: Config) -> InnerFolds:
        """Deal clips, joined as training and validation clips, to as many folds as the configuration says."""
        chosen = config.quantization
        fold = inner_folds(examples.truth, speakers, max(chosen.folds, 2), config.training.seed)
        return cls(examples, fold, chosen.trial_epochs)

    def parts(self) -> Iterator[tuple[Examples, Examples]]:
        """Yield for each fold the clips of the others, and its own."""
        for fold in range(int(self.fold.max()) + 1):
            yield self.examples.of(self.fold != fold), self.examples.of(self.fold == fold)


class NetworkTuner:
    """A fine-tuner with the clips and the teachers of one training: quantization.pipeline.Tuner.

    epochs: after how many the float network was best; inner: the folds of `train` and `validation` together.
    """

    def __init__(
        self,
        tuner: FineTuner,
        train: Examples,
        validation: Examples,
        epochs: int,
        inner: InnerFolds,
        progress: Progress | None = None,
    ) -> None:
        self._tuner, self._train, self._validation = tuner, train, validation
        self._epochs, self._inner, self._progress = epochs, inner, progress

    @functools.cached_property
    def _others(self) -> list[FloatNetwork]:
        own = self._tuner
        return train_others(
            self._train, self._validation, own.classes, own.training, own.others, self._progress
        )

    @functools.cached_property
    def _others_of_both(self) -> list[FloatNetwork]:
        own = self._tuner
        return [
            refit_mlp(self._inner.examples, own.classes, training, self._epochs, self._progress)
            for training in with_other_seeds(own.training, own.others)
        ]

    def tune(self, lowering: Lowering, widths: Sequence[Width]) -> TunedNetwork:
        """Fine-tune on training clips, until validation clips say that it is best."""
        return self._tuner.tune(lowering, widths, self._train, self._validation, self._progress, self._others)

    def retune(self, lowering: Lowering, widths: Sequence[Width], epochs: int) -> TunedNetwork:
        """Fine-tune on training and validation clips, for as many epochs."""
        both = self._inner.examples
        return self._tuner.retune(lowering, widths, both, epochs, self._progress, self._others_of_both)

    def judges(self, lowering: Lowering) -> list[Judge]:
        """Train a network on the clips outside each inner fold, which judges what it is worth fine-tuned.

        A network that was not trained here cannot be trained again: it is evaluated itself, on validation
        clips.
        """
        own = self._tuner
        if not self._epochs:
            held = ValidationData(self._validation.pooled, self._validation.truth)
            model = functools.partial(self._trial, lowering, self._train)
            return [Judge(lowering.network, held, model)]
        found = []
        for place, (learned, asked) in enumerate(self._inner.parts()):
            if self._progress is not None:
                self._progress("training networks that test widths", place, int(self._inner.fold.max()) + 1)
            network = refit_mlp(learned, own.classes, own.training, self._epochs)
            calibration = learned.pooled[:CALIBRATION_VERSIONS].reshape(-1, learned.pooled.shape[-1])
            model = functools.partial(self._trial, lowering.of(network, calibration), learned)
            found.append(Judge(network, ValidationData(asked.pooled, asked.truth), model))
        return found

    def _trial(self, lowering: Lowering, learned: Examples, widths: Sequence[Width]) -> QuantizedModel:
        epochs, teachers = self._inner.trial_epochs, [lowering.network] * self._tuner.others
        tuned = self._tuner.retune(lowering, widths, learned, epochs, None, teachers, of=epochs)
        return lowering.tuned_model(tuned)


class WeightQuantizer(_quantization.quantizers.Quantizer):  # type: ignore[misc]
    """The project's quantizer on a kernel: evenly spaced levels, a scale for the layer."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Make the variables of one kernel: the logarithm of its scale, and its levels."""
        log_scale = layer.add_weight(f"{name}_log_scale", initializer="zeros", trainable=True)
        levels = layer.add_weight(
            f"{name}_levels", initializer=tf_keras.initializers.Constant(256.0), trainable=False
        )
        return {"log_scale": log_scale, "levels": levels}

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Compute what the kernel's fields stand for."""
        return quantize_weights(inputs, tf.exp(weights["log_scale"]), weights["levels"])

    def get_config(self) -> dict[str, Any]:
        """Return nothing: all is in variables."""
        return {}


class BiasQuantizer(_quantization.quantizers.Quantizer):  # type: ignore[misc]
    """Biases in whole steps of their layer's accumulator."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Make the variable of the value of a step.

        `FineTuner` keeps it equal to half the kernel's scale times the step of the layer's input.
        """
        return {"unit": layer.add_weight(f"{name}_unit", initializer="ones", trainable=False)}

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Compute the values that the device's integers stand for."""
        return straight_through(inputs, weights["unit"] * tf.round(inputs / weights["unit"]))

    def get_config(self) -> dict[str, Any]:
        """Return nothing: all is in variables."""
        return {}


class ActivationQuantizer(_quantization.quantizers.Quantizer):  # type: ignore[misc]
    """What `requantize` does to a hidden layer's outputs: 0 to 127 steps."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Make the variable of the logarithm of the step."""
        return {"log_step": layer.add_weight(f"{name}_log_step", initializer="zeros", trainable=True)}

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Compute the values that the device's integers stand for."""
        step = tf.exp(weights["log_step"])
        steps = tf.clip_by_value(inputs / step, 0.0, float(ACTIVATION_MAX))
        return step * straight_through(steps, tf.floor(steps + 0.5))

    def get_config(self) -> dict[str, Any]:
        """Return nothing: all is in variables."""
        return {}


def quantize_weights(weights: Any, scale: Any, levels: Any) -> Any:
    """Compute `dequantize(fields(weights, bits, scale), bits, scale)` in TensorFlow.

    levels: their number. Gradients are as if nothing were rounded, but weights were held within the levels'
    range: those beyond it get none, and pull the scale up. If theirs passed too, they would pull it down, and
    fine-tuning at few bits would run away.
    """
    scaled = tf.clip_by_value(weights / scale, -levels / 2, levels / 2)
    u = tf.clip_by_value(tf.floor(scaled + levels / 2), 0.0, levels - 1)
    return scale * straight_through(scaled, u - (levels - 1) / 2)


class _Quantizers(_quantization.QuantizeConfig):  # type: ignore[misc]
    """Which parts of a twin are quantized: kernels, biases and, where it requantizes, its output."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        kinds = (BiasQuantizer if name.endswith("bias") else WeightQuantizer for name in self.of.names)
        return [(getattr(layer, name), kind()) for name, kind in zip(self.of.names, kinds, strict=True)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        for name, value in zip(self.of.names, quantize_weights, strict=True):
            setattr(layer, name, value)

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        pass

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return [ActivationQuantizer()] if self.of.requantized else []

    def get_config(self) -> dict[str, Any]:
        return {"of": self.of}


class SeededDropout(tf_keras.layers.Layer):  # type: ignore[misc]
    """Dropout whose masks can be drawn again.

    They follow from `draw`, two integers of which the second counts.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape: Any) -> None:
        """Make the variable that masks are drawn from."""
        self.draw = self.add_weight("draw", shape=(2,), dtype=tf.int32, initializer="zeros", trainable=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, in training a share `rate` of them 0 and the others larger for it."""
        if not training:
            return inputs
        self.draw.assign_add([0, 1])
        kept = tf.random.stateless_uniform(tf.shape(inputs), self.draw) >= self.rate
        return tf.where(kept, inputs / (1 - self.rate), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        return {**super().get_config(), "rate": self.rate}


class FineTuner:
    """Fine-tuning of networks of one shape at any bits; its step is compiled once.

    network: one of them. Raises SerqError if a kind of its layers cannot be fine-tuned.
    """

    def __init__(self, network: FloatNetwork, training: TrainingConfig, tuning: TuningConfig) -> None:
        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(training.seed)
        tf.config.experimental.enable_op_determinism()
        self._training, self._tuning, self._classes = training, tuning, network.layers[-1].outputs
        self._twins = [twin(layer) for layer in network.layers]
        self._network = _build(network.features, self._twins, tuning.dropout)
        wrapped = [layer for layer in self._network.layers if isinstance(layer, _Wrapper)]
        self._parts = [{w.name.split("/")[-1].split(":")[0]: w for w in layer.weights} for layer in wrapped]
        self._dropouts = [layer for layer in self._network.layers if isinstance(layer, SeededDropout)]
        self._teachers = [self._copies() for _ in range(tuning.ensemble)]
        self._start: tuple[Tuned, ...] = ()
        self._optimizer = tf_keras.optimizers.legacy.Adam()  # one fused operation a variable
        self._variables = [
            variable
            for own, part in self._pairs()
            for name, variable in part.items()
            if name in own.names or name.endswith(("_log_scale", "_log_step"))
        ]
        self._optimizer._create_all_weights(self._variables)
        self._fresh = [variable.numpy() for variable in self._optimizer.variables()]
        self._epoch = tf.function(self._run_epoch, reduce_retracing=True)
        self._evaluate = tf.function(self._loss_without_training, reduce_retracing=True)

    def _copies(self) -> list[list[Any]]:
        return [[tf.Variable(part[name]) for name in own.names] for own, part in self._pairs()]

    def _pairs(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        yield from zip(self._twins, self._parts, strict=True)

    @property
    def training(self) -> TrainingConfig:
        """How the network that is tuned was trained."""
        return self._training

    @property
    def classes(self) -> int:
        """How many classes the network has."""
        return self._classes

    @property
    def others(self) -> int:
        """How many networks teach besides the one that is tuned."""
        return self._tuning.ensemble - 1

    def with_seed(self, seed: int) -> FineTuner:
        """Return the tuner with another seed from now on."""
        self._training = changed(self._training, seed=seed)
        return self

    def tune(
        self,
        lowering: Lowering,
        widths: Sequence[Width],
        train: Examples,
        validation: Examples,
        progress: Progress | None = None,
        others: Sequence[FloatNetwork] = (),
    ) -> TunedNetwork:
        """Fine-tune the network of `lowering` at `widths` bits on `train`.

        Returns it as it was at its least loss on `validation`. It and the `others`, one less than the
        configuration's ensemble, teach. The start is what post-training quantization makes of it, so no epoch
        is kept that is worse on validation clips.
        """
        self._load(lowering.start(widths), [lowering.network, *others])
        held = self._tensors(lowering, validation)
        best, kept, after = float(self._evaluate(*held)), self._state(), 0
        total = self._tuning.epochs
        for epoch in self._epochs(lowering, train, total, total, progress):
            loss = float(self._evaluate(*held))
            if loss < best:
                best, kept, after = loss, self._state(), epoch
        return self._tuned(kept, widths, after)

    def retune(
        self,
        lowering: Lowering,
        widths: Sequence[Width],
        train: Examples,
        epochs: int,
        progress: Progress | None = None,
        others: Sequence[FloatNetwork] = (),
        of: int | None = None,
    ) -> TunedNetwork:
        """Fine-tune on `train` for the first `epochs` `of` so many; the others are those of `tune`.

        By default they are of the configuration's.
        """
        self._load(lowering.start(widths), [lowering.network, *others])
        for _ in self._epochs(lowering, train, epochs, of or self._tuning.epochs, progress):
            pass
        return self._tuned(self._state(), widths, epochs)

    def _epochs(
        self, lowering: Lowering, train: Examples, count: int, total: int, progress: Progress | None
    ) -> Iterator[int]:
        """Run the first `count` of `total` epochs, over which the learning rate falls.

        Yields the number of each when it has run.
        """
        rng = np.random.default_rng(self._training.seed)
        inputs, targets = self._tensors(lowering, train)
        chances, clips = train.chances, len(train.truth)
        for epoch in range(count):
            shuffled = self._shuffled(rng, int(inputs.shape[0]), chances, clips, epoch, total)
            self._epoch(inputs, targets, *shuffled)
            yield epoch + 1
            if progress is not None:
                progress("fine-tuning with quantization", epoch + 1, count)

    def logits(
        self, tuned: TunedNetwork, lowering: Lowering, pooled: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Compute logits [n, classes] of the network as training sees it.

        pooled: features [n, features].
        """
        self._load(tuned, [lowering.network] * self._tuning.ensemble)
        answer: NDArray[np.float32] = self._network(
            tf.constant(lowering.device_inputs(pooled), tf.float32), training=False
        ).numpy()
        return answer

    def _tensors(self, lowering: Lowering, examples: Examples) -> tuple[Any, Any]:
        pooled, truth = examples.flat
        return tf.constant(lowering.device_inputs(pooled), tf.float32), tf.constant(
            np.eye(self._classes, dtype=np.float32)[truth]
        )

    def _shuffled(
        self,
        rng: np.random.Generator,
        versions: int,
        chances: NDArray[np.float64] | None,
        clips: int,
        epoch: int,
        total: int,
    ) -> tuple[Any, ...]:
        """Draw the order of one epoch, the first being 0, of so many.

        Order [batches, size], shares and partners of mixup alike, learning rates [batches]. Each clip comes
        as often as the configuration says, in one of all versions or another.
        """
        presented = min(self._training.presentations * clips, versions)
        size = min(self._training.batch_size, presented)
        batches = presented // size
        drawn = (
            rng.permutation(versions)[: batches * size]
            if chances is None
            else rng.choice(versions, batches * size, p=chances)
        )
        order = drawn.reshape(batches, size)
        partner = rng.permuted(order, axis=1)
        share = (
            rng.beta(self._training.mixup, self._training.mixup, order.shape)
            if self._training.mixup
            else np.ones(order.shape)
        )
        done = (epoch + np.arange(batches) / batches) / total
        rates = self._tuning.learning_rate * (1 + np.cos(np.pi * done)) / 2
        return (
            tf.constant(order),
            tf.constant(partner),
            tf.constant(share[..., None], tf.float32),
            tf.constant(rates, tf.float32),
        )

    def _run_epoch(self, inputs: Any, targets: Any, order: Any, partner: Any, share: Any, rates: Any) -> None:
        for batch in tf.range(tf.shape(order)[0]):
            one, other, part = order[batch], partner[batch], share[batch]
            x = _on_grid(part * tf.gather(inputs, one) + (1 - part) * tf.gather(inputs, other))
            y = part * tf.gather(targets, one) + (1 - part) * tf.gather(targets, other)
            y = self._tuning.distillation * self._taught(x) + (1 - self._tuning.distillation) * y
            self._update_units()
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    tf.nn.softmax_cross_entropy_with_logits(y, self._network(x, training=True))
                )
            self._optimizer.learning_rate.assign(rates[batch])
            self._optimizer.apply_gradients(
                zip(tape.gradient(loss, self._variables), self._variables, strict=True)
            )

    def _update_units(self) -> None:
        step: Any = 1 / INPUT_STEPS_PER_SD
        for own, part in self._pairs():
            step = own.update(part, step)

    def _loss_without_training(self, inputs: Any, targets: Any) -> Any:
        self._update_units()
        if self._tuning.distillation == 1.0:
            targets = self._taught(inputs)
        return tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(targets, self._network(inputs, training=False))
        )

    def _taught(self, inputs: Any) -> Any:
        """Average the probabilities [batch, classes] of the float networks."""
        answers = []
        for teacher in self._teachers:
            x = inputs
            for own, weights in zip(self._twins, teacher, strict=True):
                x = own.taught(x, *weights)
            answers.append(tf.nn.softmax(x))
        return tf.add_n(answers) / len(answers)

    def _load(self, start: TunedNetwork, teachers: Sequence[FloatNetwork]) -> None:
        self._start = start.values
        for part, values in zip(self._parts, start.values, strict=True):
            for name, value in values.items():
                if name in part:
                    part[name].assign(value)
                elif (log := _logarithm(name)) in part:
                    part[log].assign(np.log(value))
        levels = [part[name] for part in self._parts for name in part if name.endswith("_levels")]
        for variable, width in zip(levels, start.widths, strict=True):
            variable.assign(float(ENCODINGS[encoding_of(width)].levels))
        for copies, teacher in zip(self._teachers, teachers, strict=True):
            self._load_teacher(copies, teacher)
        self._update_units()
        for index, dropout in enumerate(self._dropouts):
            dropout.draw.assign([self._training.seed % 2**31, index * 2**24])
        for variable, value in zip(self._optimizer.variables(), self._fresh, strict=True):
            variable.assign(value)

    def _load_teacher(self, copies: list[list[Any]], teacher: FloatNetwork) -> None:
        for own, variables, layer in zip(self._twins, copies, teacher.layers, strict=True):
            for name, variable in zip(own.names, variables, strict=True):
                variable.assign(layer.tensors()[name].astype(np.float32))

    def _state(self) -> list[NDArray[np.float32]]:
        return [variable.numpy() for variable in self._variables]

    def _tuned(self, state: list[NDArray[np.float32]], widths: Sequence[Width], epochs: int) -> TunedNetwork:
        values = {variable.ref(): value for variable, value in zip(self._variables, state, strict=True)}

        def trained(part: dict[str, Any], name: str, before: NDArray[np.float32]) -> NDArray[np.float32]:
            if name in part:
                return values.get(part[name].ref(), before)
            log = _logarithm(name)
            return np.asarray(np.exp(values[part[log].ref()])) if log in part else before

        return TunedNetwork(
            tuple(widths),
            tuple(
                {name: trained(part, name, before) for name, before in start.items()}
                for part, start in zip(self._parts, self._start, strict=True)
            ),
            epochs,
        )


def _logarithm(name: str) -> str:
    """Name the variable of the logarithm of a scale or a step."""
    before, _, what = name.rpartition("_")
    return f"{before}_log_{what}"


def _on_grid(inputs: Any) -> Any:
    """Round standard deviations as the device's integer inputs hold them."""
    rounded = tf.floor(inputs * INPUT_STEPS_PER_SD + 0.5) / INPUT_STEPS_PER_SD
    return tf.clip_by_value(rounded, *_INPUT_RANGE)


def _build(features: int, twins: Sequence[Any], dropout: float) -> Any:
    layers = [tf_keras.layers.InputLayer((features,))]
    for own in twins:
        layers.append(_Wrapper(own, _Quantizers(own)))
        if dropout and isinstance(own, DenseTwin) and own.requantized:
            layers.append(SeededDropout(dropout))
    return tf_keras.Sequential(layers)
