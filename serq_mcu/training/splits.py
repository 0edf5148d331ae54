"""Which clips train, which choose, which judge: stratified and seeded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, train_test_split

from serq_mcu.errors import SerqError
from serq_mcu.quantization.run_folder import PARTS
from serq_mcu.training.config import TrainingConfig

TRAIN, VALIDATION, TEST = range(len(PARTS))


def split_clips(truth: NDArray[np.int64], labels: Sequence[str], config: TrainingConfig) -> NDArray[np.uint8]:
    """The part (an index of PARTS) of each clip: uint8 [clips] for class indices [clips].

    One of the stratified folds is the test part; of the rest, a stratified fraction, at least one clip a class on average, is
    the validation part. Folds of one seed share no test clip. Raises SerqError if a class has fewer clips than there are folds, or the
    corpus is too small for three parts.
    """
    counts = np.bincount(truth, minlength=len(labels))
    rarest = int(np.argmin(counts))
    if (count := int(counts[rarest])) < config.folds:
        has = f"class {labels[rarest]!r} has {count} clip{'' if count == 1 else 's'}, fewer than the {config.folds} folds"
        raise SerqError(f"{has}; record more or set a smaller training.folds")
    folds = list(StratifiedKFold(config.folds, shuffle=True, random_state=config.seed).split(truth, truth))
    rest, test = folds[config.split]
    validation_count = max(math.ceil(config.validation_fraction * rest.size), len(labels))
    if rest.size - validation_count < len(labels) or np.bincount(truth[rest]).min() < 2:
        raise SerqError(f"{truth.size} clips of {len(labels)} classes are too few for training, validation and testing; record more")
    train, validation = train_test_split(rest, test_size=validation_count, stratify=truth[rest], random_state=config.seed)
    part = np.empty(truth.size, dtype=np.uint8)
    part[train], part[validation], part[test] = TRAIN, VALIDATION, TEST
    return part
