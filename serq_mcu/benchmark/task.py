"""One task: train a network on one split and judge every method on the clips held out. Runs in any process that is handed its data."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.benchmark.features import in_units
from serq_mcu.benchmark.plan import BUDGET, FLOAT, MLP, SHARED_EMOTIONS, Task
from serq_mcu.benchmark.results import PTQ, QAT, Row, hex_bits
from serq_mcu.codegen.packing import stored_bytes
from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.metrics import Score
from serq_mcu.quantization.allocation import QuantizationConfig, ValidationData, choose_widths
from serq_mcu.quantization.budgeted import Sensitivity, WidthBudget, byte_costs, measure, plan_widths
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import Width
from serq_mcu.training.config import CLIPS, SPEAKERS, TrainingConfig, load_config

TRAIN, VALIDATION, TEST = range(3)
ALPHA, MARGIN = 0.5, 0.02  # of the paper's allocation: see quantization/importance.py


@dataclass(frozen=True)
class CorpusData:
    """A corpus as arrays: class names, and per clip its features, class index int64 and speaker."""

    name: str
    labels: tuple[str, ...]
    values: NDArray[Any]
    truth: NDArray[np.int64]
    speakers: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """What a task trains and judges on: features [clips, ...], class indices and parts (TRAIN, VALIDATION, TEST) of all clips."""

    labels: tuple[str, ...]
    values: NDArray[Any]
    truth: NDArray[np.int64]
    part: NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What one method says of the test clips, and its size."""

    method: str
    tuning: str
    predicted: NDArray[np.integer]
    validation_accuracy: float
    widths: tuple[Width, ...]
    average_bits: float
    parameters: int
    weights_only_bytes: float
    stored_bytes: int
    seconds: float


def run_task(task: Task, corpora: Sequence[CorpusData]) -> list[Row]:
    """The rows of a task: for each corpus that it judges on, one a method."""
    config = _config(task)
    train = [corpus for corpus in corpora if corpus.name in task.train]
    rows = []
    problem, names = _problem(task, train, corpora, config)
    answers = list(_judge_mlp(task, problem, config) if task.model == MLP else _judge_sequences(task, problem, config))
    for name in task.test:
        inside = names[problem.part == TEST] == name
        rows += [_row(task, name, problem, inside, answer) for answer in answers]
    return rows


def _config(task: Task) -> TrainingConfig:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in task.training.items()}
    given |= {"protocol": SPEAKERS if task.protocol == "speakers" else CLIPS, "seed": task.seed, "split": task.split, "folds": task.folds}
    try:
        return replace(load_config().training, **given)
    except TypeError as error:
        raise SerqError(f"study {task.study}: {error}") from error


def _problem(task: Task, train: Sequence[CorpusData], corpora: Sequence[CorpusData], config: TrainingConfig) -> tuple[Problem, NDArray[Any]]:
    """The clips of a task, and the corpus of each."""
    from serq_mcu.training.splits import split_clips

    if task.protocol in ("corpus", "corpora"):
        return _across(task, train, corpora, config)
    (corpus,) = train
    part = split_clips(corpus.truth, corpus.labels, corpus.speakers, config)
    return Problem(corpus.labels, corpus.values, corpus.truth, part), np.full(len(part), corpus.name)


def _across(task: Task, train: Sequence[CorpusData], corpora: Sequence[CorpusData], config: TrainingConfig) -> tuple[Problem, NDArray[Any]]:
    """Corpora on the six emotions that they share: some train and choose, others judge. No statistic of a test clip is used."""
    from sklearn.model_selection import train_test_split

    values, truth, names = [], [], []
    for corpus in corpora:
        known = np.array([label in SHARED_EMOTIONS for label in corpus.labels])[corpus.truth]
        values.append(corpus.values[known])
        truth.append(np.array([SHARED_EMOTIONS.index(corpus.labels[index]) for index in corpus.truth[known]], dtype=np.int64))
        names += [corpus.name] * int(known.sum())
    classes, of = np.concatenate(truth), np.array(names)
    part = np.full(len(of), TEST, dtype=np.uint8)
    inside = np.flatnonzero(np.isin(of, [corpus.name for corpus in train]))
    chosen, held = train_test_split(inside, test_size=config.validation_fraction, stratify=classes[inside], random_state=task.seed)
    part[chosen], part[held] = TRAIN, VALIDATION
    return Problem(SHARED_EMOTIONS, np.concatenate(values), classes, part), of


def _judge_mlp(task: Task, problem: Problem, config: TrainingConfig) -> Iterator[Answer]:
    """The float network, then each method, post-training and fine-tuned."""
    from serq_mcu.training.mlp import Examples, train_mlp

    spec = FeatureSpec.from_json(dict(task.spec))
    pooled = in_units(problem.values, problem.part == TRAIN)
    train, validation = (Examples(pooled[None, problem.part == part], problem.truth[problem.part == part]) for part in (TRAIN, VALIDATION))
    held, test = ValidationData(validation.pooled, validation.truth), pooled[problem.part == TEST]
    start = time.perf_counter()
    network = train_mlp(train, validation, len(problem.labels), config).network
    if FLOAT in task.methods:
        predicted = network.classify(network.standardise(test))
        score = held.accuracy(network.classify(network.standardise(validation.pooled)))
        parameters = sum(network.parameters)
        yield Answer(FLOAT, "", predicted, score, (), 32.0, parameters, 4.0 * parameters, 4 * parameters, time.perf_counter() - start)
    lowering = Lowering(network, train.pooled[0], spec, build_tables(spec), problem.labels)
    tuner: Any = _tuner(network, config) if task.fine_tuned else None
    sensitivity = functools.cache(lambda: measure(lowering, held))
    for method in dict.fromkeys((*task.methods, *task.fine_tuned)):
        if method == FLOAT:
            continue
        start = time.perf_counter()
        widths = _widths(method, lowering, held, sensitivity)
        for tuning in (PTQ, QAT):
            if method not in (task.methods if tuning == PTQ else task.fine_tuned):
                continue
            model = lowering.model(widths) if tuning == PTQ else lowering.tuned_model(tuner.tune(lowering, widths, train, validation))
            yield Answer(
                method,
                tuning,
                classify(model, test),
                held.accuracy(classify(model, validation.pooled)),
                tuple(widths),
                model.average_bits,
                model.parameters,
                model.weights_only_bytes,
                stored_bytes(model),
                time.perf_counter() - start,
            )


def _widths(method: str, lowering: Lowering, validation: ValidationData, sensitivity: Callable[[], Sensitivity]) -> Sequence[Width]:
    name, _, budget = method.partition(":")
    if name == BUDGET:
        most = WidthBudget(byte_costs(lowering.network.parameters), float(budget), "bytes")
        return plan_widths(lowering, validation, most, sensitivity()).widths
    return [layer.bits for layer in choose_widths(lowering, validation, QuantizationConfig(method, ALPHA, MARGIN))]


_tuners: dict[Any, Any] = {}  # the last one of this process: its step is compiled once for all networks of a shape


def _tuner(network: FloatNetwork, config: TrainingConfig) -> Any:
    from serq_mcu.training.qat import FineTuner, TuningConfig

    names = ("batch_size", "hearings", "dropout", "mixup", "seed")
    options = TuningConfig(**{name: getattr(config, name) for name in names})
    key = network.shape, replace(options, seed=0)
    if key not in _tuners:
        _tuners.clear()
        _tuners[key] = FineTuner(network.shape, options)
    return _tuners[key].with_seed(config.seed)


def _judge_sequences(task: Task, problem: Problem, config: TrainingConfig) -> Iterator[Answer]:
    """A float network on sequences of frames."""
    from serq_mcu.training.zoo import train_sequences

    start = time.perf_counter()
    found = train_sequences(task.model, problem.values, problem.truth, problem.part, len(problem.labels), config)
    predicted, size = found.predicted, 4 * found.parameters
    score = float((predicted == problem.truth)[problem.part == VALIDATION].mean())
    answered = predicted[problem.part == TEST]
    yield Answer(FLOAT, "", answered, score, (), 32.0, found.parameters, float(size), size, time.perf_counter() - start)


def _row(task: Task, test: str, problem: Problem, inside: NDArray[np.bool_], answer: Answer) -> Row:
    truth, predicted = problem.truth[problem.part == TEST][inside], answer.predicted[inside]
    score = Score.of(truth, predicted, problem.labels)
    return Row(
        task=task.key,
        study=task.study,
        train="+".join(task.train),
        test=test,
        model=task.model,
        features=task.features,
        inputs=int(np.prod(problem.values.shape[1:])),
        protocol=task.protocol,
        seed=task.seed,
        split=task.split,
        method=answer.method,
        tuning=answer.tuning,
        n=score.n,
        correct=score.correct,
        accuracy=score.accuracy,
        low=score.interval[0],
        high=score.interval[1],
        uar=score.balanced_accuracy,
        validation_accuracy=answer.validation_accuracy,
        widths="-".join(map(str, answer.widths)),
        average_bits=answer.average_bits,
        parameters=answer.parameters,
        weights_only_bytes=answer.weights_only_bytes,
        stored_bytes=answer.stored_bytes,
        seconds=round(answer.seconds, 2),
        right=hex_bits(predicted == truth),
    )
