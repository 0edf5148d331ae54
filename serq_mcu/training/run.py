"""From a folder of recordings to a run folder: features, a split, a trained float network.

Features are as the device computes them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.cache import Cache
from serq_mcu.base.progress import Progress
from serq_mcu.config import BY_CLASS, BY_CORPUS, UNBALANCED, Config
from serq_mcu.corpus.loaders import AS_FOUND, Corpus, CorpusOptions, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import Recordings, augmented_features, read_recordings
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.pipeline import Tuner
from serq_mcu.quantization.run_folder import Run, save_run
from serq_mcu.quantization.voices import VoiceStatistics, heard_by_voice
from serq_mcu.quantized_model.types import NO_SPEECH_LABEL
from serq_mcu.training.augmentation import draw_augmented_clips
from serq_mcu.training.no_speech import no_speech_recordings, validates
from serq_mcu.version import __version__

PACKAGES = ("tensorflow", "tf-keras", "scikit-learn", "numpy", "soxr", "soundfile")


@dataclass(frozen=True)
class Dataset:
    """A corpus in memory: class names, recordings, and the class of each as int64 [clips].

    sounds: how many of the recordings, the last ones, are no clips of the corpus: they are of the last class,
    "no speech", and train or validate.
    """

    corpus: str
    labels: tuple[str, ...]
    recordings: Recordings
    truth: NDArray[np.int64]
    sounds: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The clips' names."""
        return tuple(clip.name for clip in self.recordings.clips)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The clips' speakers."""
        return tuple(clip.speaker for clip in self.recordings.clips)

    @property
    def stated(self) -> tuple[str, ...]:
        """The parts that the corpus says the clips belong to, "" where it does not."""
        return tuple(clip.part for clip in self.recordings.clips)


def train(
    corpus: Corpus | Path,
    out: Path,
    config: Config,
    progress: Progress | None = None,
    other_sounds: Path | None = None,
    options: CorpusOptions = AS_FOUND,
) -> Run:
    """Train on the recordings of a corpus, or in its folder, and write the run folder `out`.

    It is written whole or not at all. other_sounds: a folder of recordings without speech, to learn a class
    "no speech" from. options: how a folder is read. Raises SerqError if the corpus or a clip cannot be used,
    a class has too few clips, or `out` is not ours to replace.
    """
    return train_dataset(read_dataset(corpus, config, progress, other_sounds, options), out, config, progress)


def read_dataset(
    corpus: Corpus | Path,
    config: Config,
    progress: Progress | None = None,
    other_sounds: Path | None = None,
    options: CorpusOptions = AS_FOUND,
) -> Dataset:
    """Read the recordings of a corpus, or in its folder, and those in `other_sounds`.

    They are at the features' sample rate. Raises SerqError if one cannot be used.
    """
    if isinstance(corpus, Path):
        corpus = load_corpus(corpus, options)
    truth = np.array([corpus.labels.index(clip.label) for clip in corpus.clips], dtype=np.int64)
    recordings = read_recordings(corpus.clips, config.features.sample_rate, progress)
    dataset = Dataset(corpus.name, corpus.labels, recordings, truth)
    return dataset if other_sounds is None else _with_sounds(dataset, other_sounds, progress)


def _with_sounds(dataset: Dataset, folder: Path, progress: Progress | None) -> Dataset:
    if NO_SPEECH_LABEL in dataset.labels:
        raise SerqError(
            f"the recordings have a class {NO_SPEECH_LABEL!r} of their own; leave out --other-sounds, or move"
            " these clips there"
        )
    own, sounds = dataset.recordings, no_speech_recordings(folder, dataset.recordings.rate, progress)
    together = Recordings((*own.clips, *sounds.clips), own.rate, (*own.audio, *sounds.audio))
    count = len(sounds.clips)
    truth = np.append(dataset.truth, np.full(count, len(dataset.labels)))
    return Dataset(dataset.corpus, (*dataset.labels, NO_SPEECH_LABEL), together, truth, count)


def train_dataset(dataset: Dataset, out: Path, config: Config, progress: Progress | None = None) -> Run:
    """Train as `train` does on recordings that were read already, as for several splits of one corpus."""
    run, history = fit(dataset, config, progress)
    save_run(run, out, {"config.toml": config.to_toml(), "history.csv": history})
    return run


def fit(dataset: Dataset, config: Config, progress: Progress | None = None) -> tuple[Run, str]:
    """Train on a split; returns the run, and the history of its training as CSV."""
    mlp, splits = _import_training()
    clips = len(dataset.truth) - dataset.sounds
    spoken = dataset.labels[: len(dataset.labels) - bool(dataset.sounds)]
    split = splits.split_clips(
        dataset.truth[:clips], spoken, dataset.speakers[:clips], config.training, dataset.stated[:clips]
    )
    held = [validates(name, config.training.validation_fraction) for name in dataset.names[clips:]]
    part = np.append(split.part, np.where(held, splits.VALIDATION, splits.TRAIN).astype(np.uint8))
    pooled = version_features(dataset, part, splits.TRAIN, config, progress)
    pooled = with_voices(dataset, part != splits.TEST, pooled, config)
    _require_speech(dataset, pooled[:, part == splits.TRAIN], dataset.truth[part == splits.TRAIN])

    weight = clip_weights(dataset, part != splits.TEST, config.training.balance)

    learn, choose = (np.flatnonzero(part == index) for index in (splits.TRAIN, splits.VALIDATION))
    used = np.concatenate([learn, choose])
    own = None if weight is None else weight[used]
    frames = max(config.features.sequence_frames, 1)
    examples = mlp.Examples(pooled[:, used], dataset.truth[used], own, frames)
    labels = len(dataset.labels)
    trained, refitted = mlp.train_and_refit(examples, learn.size, labels, config.training, progress)
    run = Run(
        config=config,
        corpus=dataset.corpus,
        labels=dataset.labels,
        names=dataset.names,
        speakers=dataset.speakers,
        recordings=dataset.recordings.short_digests,
        pooled=pooled,
        truth=dataset.truth,
        part=part,
        validated_by=split.words,
        network=refitted or trained.network,
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        versions={"serq-mcu": __version__} | {name: importlib.metadata.version(name) for name in PACKAGES},
        chooser=trained.network if refitted else None,
        weight=weight,
    )
    return run, _history_csv(mlp.HISTORY, trained.history)


def clip_weights(dataset: Dataset, used: NDArray[np.bool_], balance: str) -> NDArray[np.float64] | None:
    """Compute how often each clip is presented, relative to others, float64 [clips].

    None where all are alike. used: the clips that train or validate, a mask [clips]; their weights have the
    mean 1, and so have the sounds without speech, whose classes and corpora are not balanced. balance: as in
    the configuration.
    """
    speech = used & (np.arange(used.size) < used.size - dataset.sounds)
    corpora = np.array([clip.corpus for clip in dataset.recordings.clips])
    several = np.unique(corpora[speech]).size > 1
    if balance == UNBALANCED or (balance == BY_CORPUS and not several):
        return None
    if balance == BY_CLASS:
        corpora = np.full(corpora.shape, "")
    weight = np.ones(used.size)
    for corpus in np.unique(corpora[speech]):
        classes = np.unique(dataset.truth[speech & (corpora == corpus)])
        for index in classes:
            members = speech & (corpora == corpus) & (dataset.truth == index)
            weight[members] = 1 / (classes.size * members.sum())
    weight[speech] /= weight[speech].mean()
    return weight


def _require_speech(dataset: Dataset, pooled: NDArray[np.int32], truth: NDArray[np.int64]) -> None:
    """Raise SerqError if no training clip of a class holds speech; pooled: [versions, clips, features]."""
    spoken = (pooled != MISSING).any(axis=(0, 2))
    heard = set(truth[spoken].tolist())
    silent = [label for i, label in enumerate(dataset.labels) if i not in heard and label != NO_SPEECH_LABEL]
    if silent:
        raise SerqError(
            f"no training clip of {', '.join(silent)} holds speech (features.speech_frames voiced frames"
            " above the noise floor); check the recordings, or set features.speech_frames = 0"
        )


def version_features(
    dataset: Dataset,
    part: NDArray[np.uint8],
    training_part: int,
    config: Config,
    progress: Progress | None = None,
) -> NDArray[np.int32]:
    """Compute the features of the versions that the configuration draws, kept in the user's cache.

    Returns pooled features int32 [versions, clips, features].
    """
    versions = draw_augmented_clips(
        dataset.recordings, part, training_part, config.augmentation, config.training.seed, dataset.sounds
    )
    spec, flat = config.features, [clip for version in versions for clip in version]
    pooled = augmented_features(spec, build_tables(spec), dataset.recordings, flat, progress, Cache())
    return pooled.reshape(len(versions), len(dataset.truth), -1)


def with_voices(
    dataset: Dataset, used: NDArray[np.bool_], pooled: NDArray[np.int32], config: Config
) -> NDArray[np.int32]:
    """Let some versions be heard as by a device that knows the speaker, if the configuration says so.

    used: which clips train or validate, bool [clips]; pooled: [versions, clips, features]. Where speakers are
    not known, or too few, nothing is changed.
    """
    if not config.learns_voices:
        return pooled
    clips = pooled[0], dataset.truth, dataset.speakers, used
    voices = VoiceStatistics.of(*clips, len(dataset.labels), config.voice.shrinkage)
    return pooled if voices is None else heard_by_voice(pooled, voices.shifts(*clips))


def fine_tuning(run: Run, progress: Progress | None = None) -> Tuner:
    """Make what `quantize` calls to fine-tune a run at the bits chosen.

    Raises SerqError if the packages of training are not installed.
    """
    qat = _needing_tensorflow("fine-tuning", "qat")
    tuner: Tuner = qat.tuner(run, progress)
    return tuner


def _import_training() -> tuple[Any, Any]:
    """Import the modules that need TensorFlow and scikit-learn, when they are first used."""
    return _needing_tensorflow("training", "mlp"), _needing_tensorflow("training", "splits")


def _needing_tensorflow(what: str, module: str) -> Any:
    """Import a module of this room. Raises SerqError if a package that it needs is not installed."""
    try:
        return importlib.import_module(f"serq_mcu.training.{module}")
    except ImportError as error:
        raise SerqError(
            f"{what} needs packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[train]'`"
        ) from error


def _history_csv(names: tuple[str, ...], history: NDArray[np.float64]) -> str:
    rows = [
        f"{epoch}," + ",".join(f"{value:.9g}" for value in row) for epoch, row in enumerate(history, start=1)
    ]
    return "\n".join([",".join(("epoch", *names)), *rows]) + "\n"
