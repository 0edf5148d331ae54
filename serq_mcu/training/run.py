"""From a folder of recordings to a run folder: features as the device computes them, a split, a trained float network."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu import __version__
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.frontend.recordings import recorded_features
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.run_folder import Run, save_run
from serq_mcu.training.config import Config

PACKAGES = ("tensorflow", "tf-keras", "scikit-learn", "numpy", "soxr", "soundfile")


@dataclass(frozen=True)
class Dataset:
    """A corpus as features: pooled int32 [speeds, clips, features], the first speed 1; truth int64 [clips]."""

    corpus: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    truth: NDArray[np.int64]
    pooled: NDArray[np.int32]


def train(folder: Path, out: Path, config: Config, progress: Callable[..., None] | None = None) -> Run:
    """Train on the recordings in `folder` and write the run folder `out`, whole or not at all.

    Raises SerqError if the corpus or a clip cannot be used, a class has too few clips, or `out` is not ours to replace.
    """
    return train_dataset(read_dataset(folder, config, progress), out, config, progress)


def read_dataset(folder: Path, config: Config, progress: Callable[..., None] | None = None) -> Dataset:
    """The recordings in `folder` as features at speed 1 and the configured others. Raises SerqError if a clip cannot be used."""
    corpus = load_corpus(folder)
    truth = np.array([corpus.labels.index(clip.label) for clip in corpus.clips], dtype=np.int64)
    speeds = (1.0, *config.training.speeds)
    pooled = recorded_features(config.features, build_tables(config.features), corpus.clips, speeds, progress)
    return Dataset(corpus.name, corpus.labels, tuple(clip.name for clip in corpus.clips), truth, pooled)


def train_dataset(dataset: Dataset, out: Path, config: Config, progress: Callable[..., None] | None = None) -> Run:
    """`train` on features that are there already, as for several splits of one corpus."""
    mlp, splits = _import_training()
    part = splits.split_clips(dataset.truth, dataset.labels, config.training)

    def examples(index: int) -> Any:
        pooled, truth = dataset.pooled[:, part == index], dataset.truth[part == index]
        return mlp.Examples(pooled.reshape(-1, pooled.shape[-1]), np.tile(truth, len(pooled)))

    trained = mlp.train_mlp(examples(splits.TRAIN), examples(splits.VALIDATION), len(dataset.labels), config.training, progress)
    run = Run(
        config=config.to_json(),
        corpus=dataset.corpus,
        labels=dataset.labels,
        names=dataset.names,
        pooled=dataset.pooled,
        truth=dataset.truth,
        part=part,
        network=trained.network,
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        versions={"serq-mcu": __version__} | {name: importlib.metadata.version(name) for name in PACKAGES},
    )
    save_run(run, out, {"config.toml": config.to_toml(), "history.csv": _history_csv(mlp.HISTORY, trained.history)})
    return run


def _import_training() -> tuple[Any, Any]:
    """The modules that need TensorFlow and scikit-learn, imported when they are first used."""
    try:
        from serq_mcu.training import mlp, splits
    except ImportError as error:
        raise SerqError(f"training needs packages that are not installed ({error.name}); run `pip install 'serq-mcu[train]'`") from error
    return mlp, splits


def _history_csv(names: tuple[str, ...], history: NDArray[np.float64]) -> str:
    rows = [f"{epoch}," + ",".join(f"{value:.9g}" for value in row) for epoch, row in enumerate(history, start=1)]
    return "\n".join([",".join(("epoch", *names)), *rows]) + "\n"
