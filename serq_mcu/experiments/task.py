"""One task: train a network on one split and evaluate every method on the clips held out.

Runs in any process that is handed its data.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.cache import Cache
from serq_mcu.base.metrics import Score
from serq_mcu.base.validation import changed
from serq_mcu.config import CLIPS, SPEAKERS, Config
from serq_mcu.corpus.conditions import Condition
from serq_mcu.corpus.loaders import Clip, load_corpus
from serq_mcu.experiments.features import in_units
from serq_mcu.experiments.plan import (
    ACROSS,
    ADAPTIVE,
    BUDGET,
    BY_CORPUS,
    BY_SPEAKER,
    FLOAT,
    MLP,
    SHARED_EMOTIONS,
    Task,
    base,
    configured,
)
from serq_mcu.experiments.results import AS_RECORDED, PTQ, QAT, WEIGHTS, Row, hex_bits
from serq_mcu.extraction.recordings import Recordings, augmented_features, read_recordings
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers.encodings import Width
from serq_mcu.quantization.allocation import ValidationData
from serq_mcu.quantization.budgeted import WidthBudget, byte_costs
from serq_mcu.quantization.lowering import Lowering, dequantized
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.pipeline import Tuner, allocate, model_pair, width_judges
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.training.robustness import held_out_clips
from serq_mcu.training.run import Dataset, version_features
from serq_mcu.training.splits import TEST, TRAIN, VALIDATION, Split, part_clips, split_clips


@dataclass(frozen=True)
class CorpusData:
    """A corpus: class names, and per clip its features, class index int64 and speaker.

    Tasks that train on versions of the recordings read these from `folder`, which every process must see.
    """

    name: str
    labels: tuple[str, ...]
    values: NDArray[Any]
    truth: NDArray[np.int64]
    speakers: tuple[str, ...]
    folder: Path | None = None


@dataclass(frozen=True)
class TaskData:
    """What a task trains and evaluates on.

    Class indices, parts (TRAIN, VALIDATION, TEST), corpora's names and speakers of all clips [clips], and
    features [versions, clips, ...], the first version as recorded; validation: CLIPS or SPEAKERS, as it came
    out; speakers_out: how many speakers are held out for testing, 0 where the protocol holds out something
    else; noisy: features of the test clips in noise.
    """

    labels: tuple[str, ...]
    values: NDArray[Any]
    truth: NDArray[np.int64]
    part: NDArray[np.uint8]
    corpus: NDArray[np.str_]
    speakers: NDArray[np.str_]
    validation: str
    speakers_out: int
    noisy: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def tests(self) -> dict[str, NDArray[Any]]:
        """Return the features of the test clips by condition."""
        return {AS_RECORDED: self.values[0, self.part == TEST], **self.noisy}


@dataclass(frozen=True)
class Answer:
    """Predictions of one method on the test clips, by condition, and its size."""

    method: str
    tuning: str
    predicted: Mapping[str, NDArray[np.integer]]
    validation_accuracy: float
    widths: tuple[Width, ...]
    average_bits: float
    parameters: int
    weights_only_bytes: float
    stored_bytes: int
    seconds: float


def run_task(task: Task, corpora: Sequence[CorpusData]) -> list[Row]:
    """Run a task and return its rows: for each corpus that it evaluates on, one a method."""
    config = _config(task)
    rows = []
    data = _task_data(task, corpora, config)
    answers = list(
        _judge_mlp(task, data, config) if task.model == MLP else _judge_sequences(task, data, config)
    )
    for name in task.test:
        inside = data.corpus[data.part == TEST] == name
        rows += [
            _row(task, name, data, inside, answer, condition)
            for answer in answers
            for condition in answer.predicted
        ]
    return rows


def _config(task: Task) -> Config:
    """Return the studies' base with what the task changes."""
    tables = configured(task)
    given = {
        "protocol": SPEAKERS if task.protocol == "speakers" else CLIPS,
        "seed": task.seed,
        "split": task.split,
        "folds": task.folds,
    }
    changes = {**tables, "training": {**tables["training"], **given}}
    config = base().merged(changes, f"study {task.study}")
    return msgspec.structs.replace(config, features=FeatureSpec.from_json(dict(task.spec)))


def _task_data(task: Task, corpora: Sequence[CorpusData], config: Config) -> TaskData:
    """Return the clips of a task and their parts.

    Across corpora: those of the six shared emotions, without any statistic of a test clip except where the
    protocol is transductive, which standardises each corpus or each speaker by itself.
    """
    across = task.protocol in ACROSS
    labels = SHARED_EMOTIONS if across else corpora[0].labels
    known = [np.isin(corpus.labels, labels)[corpus.truth] for corpus in corpora]
    if task.inner:
        one = corpora[0]
        known[0] = split_clips(one.truth, labels, one.speakers, config.training).part != TEST
    truth = np.array(
        [
            labels.index(corpus.labels[c])
            for corpus, mask in zip(corpora, known, strict=True)
            for c in corpus.truth[mask]
        ]
    )
    names = np.concatenate(
        [np.full(int(mask.sum()), corpus.name) for corpus, mask in zip(corpora, known, strict=True)]
    )
    speakers = _speakers(corpora, known)
    split = _split(task, truth, labels, speakers, ~np.isin(names, task.train), config)
    part = split.part
    noisy = {}
    if task.augmentation:
        dataset = _dataset(corpora, known, labels, truth, config)
        values: NDArray[Any] = version_features(dataset, part, TRAIN, config)
        noisy = _in_noise(dataset, part, task.white_noise_db, config)
    else:
        values = np.concatenate([corpus.values[mask] for corpus, mask in zip(corpora, known, strict=True)])[
            None
        ]
    if task.model == MLP and not task.augmentation:
        values = in_units(values[0], part == TRAIN)[None]
    if task.protocol.endswith(BY_CORPUS):
        values = _standardised_by(names, values)
    elif task.protocol.endswith(BY_SPEAKER):
        values = _standardised_by(np.char.add(np.char.add(names, "/"), speakers), values)
    out = np.unique(speakers[part == TEST]).size if task.protocol == SPEAKERS else 0
    return TaskData(labels, values, truth, part, names, speakers, split.validation, out, noisy)


def _speakers(corpora: Sequence[CorpusData], known: Sequence[NDArray[np.bool_]]) -> NDArray[np.str_]:
    """Return the speakers of the clips that are `known`; of several corpora, with the corpus before them."""
    found = []
    for corpus, mask in zip(corpora, known, strict=True):
        before = f"{corpus.name}/" if len(corpora) > 1 else ""
        found += [name and f"{before}{name}" for name in np.array(corpus.speakers)[mask].tolist()]
    return np.array(found)


def _split(
    task: Task,
    truth: NDArray[np.int64],
    labels: Sequence[str],
    speakers: NDArray[np.str_],
    elsewhere: NDArray[np.bool_],
    config: Config,
) -> Split:
    """Part the clips of a task; elsewhere: which are of corpora that do not train [clips].

    Inner folds of speakers: these are dealt to the folds in the order of their names.
    """
    given, names = config.training, speakers.tolist()
    if task.protocol in ACROSS:
        return part_clips(truth, labels, names, elsewhere, given)
    if task.inner and task.protocol == SPEAKERS:
        dealt = np.unique(speakers, return_inverse=True)[1] % task.inner_folds
        return part_clips(truth, labels, names, dealt == task.inner - 1, given)
    if task.inner:
        given = changed(given, folds=task.inner_folds, split=task.inner - 1)
    return split_clips(truth, labels, names, given)


def _standardised_by(groups: NDArray[np.str_], values: NDArray[Any]) -> NDArray[np.int32]:
    """Standardise features [versions, clips, features] group by group.

    Each group's are by mean and standard deviation of its own clips as recorded.
    """
    units = np.empty(values.shape, dtype=np.int32)
    for group in np.unique(groups):
        own = values[:, groups == group].astype(np.float64)
        units[:, groups == group] = in_units(
            np.concatenate(own), np.arange(own.shape[0] * own.shape[1]) < own.shape[1]
        ).reshape(own.shape)
    return units


def _dataset(
    corpora: Sequence[CorpusData],
    known: Sequence[NDArray[np.bool_]],
    labels: tuple[str, ...],
    truth: NDArray[np.int64],
    config: Config,
) -> Dataset:
    """Read the recordings of the clips that are `known`."""
    clips: list[Clip] = []
    audio: list[NDArray[np.int16]] = []
    for corpus, mask in zip(corpora, known, strict=True):
        recordings = _recordings(corpus.folder, config.features.sample_rate)
        clips += [recordings.clips[index] for index in np.flatnonzero(mask)]
        audio += [recordings.audio[index] for index in np.flatnonzero(mask)]
    return Dataset("", labels, Recordings(tuple(clips), config.features.sample_rate, tuple(audio)), truth)


def _in_noise(
    dataset: Dataset, part: NDArray[np.uint8], ratios_db: Sequence[float], config: Config
) -> dict[str, NDArray[np.int32]]:
    """Compute device features int32 [test clips, features] in white noise at each ratio."""
    found, spec = {}, config.features
    for ratio in ratios_db:
        clips = held_out_clips(dataset, part, Condition(noise="white", snr_db=ratio), config.training.seed)
        found[str(clips[0].condition)] = augmented_features(
            spec, build_tables(spec), dataset.recordings, clips, cache=Cache()
        )
    return found


@functools.lru_cache(maxsize=4)
def _recordings(folder: Path, rate: int) -> Recordings:
    return read_recordings(load_corpus(folder).clips, rate)


class _Networks:
    """The networks of a task: one that chooses, and the one that is kept, trained again on validation too."""

    def __init__(self, task: Task, data: TaskData, config: Config) -> None:
        from serq_mcu.training.mlp import Examples, train_and_refit

        learn, choose = (np.flatnonzero(data.part == part) for part in (TRAIN, VALIDATION))
        used = np.concatenate([learn, choose])
        frames = max(config.features.sequence_frames, 1)
        examples = Examples(data.values[:, used], data.truth[used], None, frames)
        train, validation = examples.parted(learn.size)
        self.held = ValidationData(validation.pooled, validation.truth)
        trained, refitted = train_and_refit(examples, learn.size, len(data.labels), config.training)
        self.first, self.kept = trained.network, refitted or trained.network
        spec = config.features
        of_all = train.pooled[0], spec, build_tables(spec), data.labels
        self.lowering = Lowering(self.first, *of_all)
        self._final = None if refitted is None else Lowering(refitted, *of_all)
        self._config, self._tuner = config.quantization, None
        if task.fine_tuned:
            speakers = [data.speakers[data.part == part].tolist() for part in (TRAIN, VALIDATION)]
            self._tuner = _network_tuner(
                self.first, train, validation, [*speakers[0], *speakers[1]], trained, config
            )

    def widths(self, method: str, tuning: str) -> Sequence[Width]:
        """Choose the widths of a method, for a network that is fine-tuned at them or not."""
        name, _, most = method.partition(":")
        config = changed(self._config, method=ADAPTIVE if name == BUDGET else method)
        judges = width_judges(self.lowering, self.held, config, self._tuner if tuning == QAT else None)
        network = self.lowering.network
        costs = byte_costs(network.parameters)
        budget = WidthBudget(costs, float(most), "bytes") if name == BUDGET else None
        return [layer.bits for layer in allocate(network, judges, config, budget)[0]]

    def models(self, widths: Sequence[Width], tuning: str) -> tuple[QuantizedModel, QuantizedModel]:
        """Make the model of the network that chooses, and that of the one that is kept."""
        return model_pair(self.lowering, self._final, widths, self._tuner if tuning == QAT else None)

    def validated(self, network: FloatNetwork) -> float:
        """Compute the accuracy of a float network on validation clips."""
        return self.held.accuracy(network.classify(network.standardise(self.held.pooled)))


def _judge_mlp(task: Task, data: TaskData, config: Config) -> Iterator[Answer]:
    """Evaluate the float network, then each method, post-training and fine-tuned."""
    start, tests = time.perf_counter(), data.tests
    networks = _Networks(task, data, config)
    if FLOAT in task.methods:
        parameters = sum(networks.kept.parameters)
        yield Answer(
            FLOAT,
            "",
            _float_answers(networks.kept, tests),
            networks.validated(networks.first),
            (),
            32.0,
            parameters,
            4.0 * parameters,
            4 * parameters,
            time.perf_counter() - start,
        )
    held = networks.held
    for method in dict.fromkeys((*task.methods, *task.fine_tuned)):
        if method == FLOAT:
            continue
        start = time.perf_counter()
        for tuning in (PTQ, QAT):
            if method not in (task.methods if tuning == PTQ else task.fine_tuned):
                continue
            widths = networks.widths(method, tuning)
            chooser, model = networks.models(widths, tuning)
            answer = Answer(
                method,
                tuning,
                {condition: classify(model, test) for condition, test in tests.items()},
                held.accuracy(classify(chooser, held.pooled)),
                tuple(widths),
                model.average_bits,
                model.parameters,
                model.weights_only_bytes,
                model.stored_bytes,
                time.perf_counter() - start,
            )
            yield answer
            if task.loss_split and tuning == PTQ:
                weights = _float_answers(dequantized(model, networks.kept), tests)
                score = networks.validated(dequantized(chooser, networks.first))
                yield replace(answer, tuning=WEIGHTS, predicted=weights, validation_accuracy=score)


def _float_answers(network: FloatNetwork, tests: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {condition: network.classify(network.standardise(test)) for condition, test in tests.items()}


_tuners: dict[Any, Any] = {}  # the last one of this process: a step serves all networks of a shape


def _network_tuner(
    network: FloatNetwork, train: Any, validation: Any, speakers: list[str], trained: Any, config: Config
) -> Tuner:
    """Make the tuner of a training; speakers: of the clips that train, then of those that validate."""
    from serq_mcu.training.qat import FineTuner, InnerFolds, NetworkTuner

    key = network.shape, changed(config.training, seed=0, split=0), config.tuning
    if key not in _tuners:
        _tuners.clear()
        _tuners[key] = FineTuner(network, config.training, config.tuning)
    inner = InnerFolds.dealt(train.joined(validation), speakers, config)
    tuner = _tuners[key].with_seed(config.training.seed)
    return NetworkTuner(tuner, train, validation, trained.best_epoch, inner)


def _judge_sequences(task: Task, data: TaskData, config: Config) -> Iterator[Answer]:
    """Evaluate a float network on sequences of frames."""
    from serq_mcu.experiments.sequence_networks import train_sequences

    start = time.perf_counter()
    found = train_sequences(
        task.model, data.values[0], data.truth, data.part, len(data.labels), config.training
    )
    predicted, size = found.predicted, 4 * found.parameters
    score = float((predicted == data.truth)[data.part == VALIDATION].mean())
    answered = {AS_RECORDED: predicted[data.part == TEST]}
    yield Answer(
        FLOAT, "", answered, score, (), 32.0, found.parameters, float(size), size, time.perf_counter() - start
    )


def _row(
    task: Task, test: str, data: TaskData, inside: NDArray[np.bool_], answer: Answer, condition: str
) -> Row:
    truth, predicted = data.truth[data.part == TEST][inside], answer.predicted[condition][inside]
    score = Score.of(truth, predicted, data.labels)
    return Row(
        task=task.key,
        study=task.study,
        train="+".join(task.train),
        test=test,
        model=task.model,
        features=task.features,
        inputs=int(np.prod(data.values.shape[2:])),
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
        condition=condition,
        bar=task.bar,
        inner=task.inner,
        speakers_out=data.speakers_out,
        validation=data.validation,
    )
