"""Which clips train, choose and test: seeded, by stratified folds of the clips or by speakers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, train_test_split

from serq_mcu.config import SPEAKERS, TrainingConfig
from serq_mcu.errors import SerqError
from serq_mcu.quantization.run_folder import PARTS

TRAIN, VALIDATION, TEST = range(len(PARTS))


def split_clips(
    truth: NDArray[np.int64], labels: Sequence[str], speakers: Sequence[str], config: TrainingConfig
) -> NDArray[np.uint8]:
    """Assign a part to each clip: uint8 [clips], an index of PARTS.

    truth: class indices [clips]; speakers: names [clips]. The test part is one of the stratified folds, or
    all clips of one speaker; of the rest, a stratified fraction, at least one clip a class on average, is the
    validation part. Splits of one seed share no test clip. Raises SerqError if a class has fewer clips than
    there are folds, there is no such speaker, or the corpus is too small for three parts.
    """
    test = (
        np.flatnonzero(np.array(speakers) == _speaker(speakers, config.split))
        if config.protocol == SPEAKERS
        else _fold(truth, labels, config)
    )
    rest = np.setdiff1d(np.arange(truth.size), test)
    validation_count = max(math.ceil(config.validation_fraction * rest.size), len(labels))
    if (
        rest.size - validation_count < len(labels)
        or np.bincount(truth[rest], minlength=len(labels)).min() < 2
    ):
        raise SerqError(
            f"{truth.size} clips of {len(labels)} classes are too few for training, validation and testing;"
            " record more"
        )
    train, validation = train_test_split(
        rest, test_size=validation_count, stratify=truth[rest], random_state=config.seed
    )
    part = np.empty(truth.size, dtype=np.uint8)
    part[train], part[validation], part[test] = TRAIN, VALIDATION, TEST
    return part


def split_count(speakers: Sequence[str], config: TrainingConfig) -> int:
    """Return how many splits hold every clip out once."""
    return len(set(speakers)) if config.protocol == SPEAKERS else config.folds


def _fold(truth: NDArray[np.int64], labels: Sequence[str], config: TrainingConfig) -> NDArray[np.intp]:
    counts = np.bincount(truth, minlength=len(labels))
    rarest = int(np.argmin(counts))
    if (count := int(counts[rarest])) < config.folds:
        has = (
            f"class {labels[rarest]!r} has {count} clip{'' if count == 1 else 's'}, fewer than the"
            f" {config.folds} folds"
        )
        raise SerqError(f"{has}; record more or set a smaller training.folds")
    folds = list(StratifiedKFold(config.folds, shuffle=True, random_state=config.seed).split(truth, truth))
    test: NDArray[np.intp] = folds[config.split][1]
    return test


def _speaker(speakers: Sequence[str], split: int) -> str:
    names = sorted(set(speakers))
    if len(names) < 2:
        raise SerqError(
            "the recordings do not name at least two speakers; hold out clips instead (training.protocol)"
        )
    if split >= len(names):
        raise SerqError(f"training.split must be 0 to {len(names) - 1}, one of the {len(names)} speakers")
    return names[split]
