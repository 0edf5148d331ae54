"""Which clips train, choose and test: seeded, by stratified folds of the clips or by speakers.

What chooses (validation) stops the training and decides bits and coverage. Speakers who do not train choose
as a new voice would; where they are unknown or too few, clips of those who train do.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from serq_mcu.config import CLIPS, SPEAKERS, TrainingConfig
from serq_mcu.corpus.layouts import PART_NAMES, TESTS, VALIDATES
from serq_mcu.errors import SerqError
from serq_mcu.quantization.run_folder import PARTS

TRAIN, VALIDATION, TEST = range(len(PARTS))
UNKNOWN = (
    "clips; the speakers are unknown, so the same voice may train, validate and test, and accuracy may"
    " flatter: a new voice was not asked"
)
_LEAST_TRAINING = 2  # speakers; with one, a network learns his or her voice for the emotion
_ORDERS = 100  # of speakers that are tried until every class is in both parts


@dataclass(frozen=True)
class Split:
    """A part for each clip, uint8 [clips], an index of PARTS; and what validates.

    validation: SPEAKERS or CLIPS, as it came out; words: the same as a person reads it.
    """

    part: NDArray[np.uint8]
    validation: str
    words: str


def split_clips(
    truth: NDArray[np.int64],
    labels: Sequence[str],
    speakers: Sequence[str],
    config: TrainingConfig,
    stated: Sequence[str] = (),
) -> Split:
    """Part the clips for one split of the protocol.

    truth: class indices [clips]; speakers: names [clips], "" where unknown. The test part is one of the
    stratified folds, fewer where a class has fewer clips; or all clips of a group of `speakers_out` speakers.
    stated: which part each clip belongs to by the corpus itself, "" where it does not say; if that tells two
    parts apart, it takes the place of the folds (`_stated_split`).
    `part_clips` parts the rest. Splits of one seed share no test clip. Raises SerqError if there is no such
    fold or speaker, a class has a single clip, nobody is left to train, or the corpus is too small for three
    parts.
    """
    if config.protocol == CLIPS and len({*stated}) > 1:
        return _stated_split(truth, labels, speakers, config, stated)
    test = (
        np.isin(speakers, _group(speakers, config))
        if config.protocol == SPEAKERS
        else _fold(truth, labels, config)
    )
    return part_clips(truth, labels, speakers, test, config)


def _stated_split(
    truth: NDArray[np.int64],
    labels: Sequence[str],
    speakers: Sequence[str],
    config: TrainingConfig,
    stated: Sequence[str],
) -> Split:
    """Part the clips as the corpus says.

    What it calls validation validates if something else tests, and tests otherwise; without it, clips of
    those that train validate as in `part_clips`. Raises SerqError for a name that is no part's, for clips
    without one, for a part that lacks a class, and for another split than the only one.
    """
    unknown = [name for name in stated if name.lower() not in PART_NAMES]
    if unknown:
        raise SerqError(
            f"{len(unknown)} recordings belong to "
            + (f"the part {unknown[0]!r}" if unknown[0] else "no part, and others do")
            + "; call the part of each train, validation or test, or leave parts out"
        )
    if config.split:
        raise SerqError("the recordings say which of them test, which is the only split; leave out --split")
    names = np.array([PART_NAMES[name.lower()] for name in stated])
    for name in np.unique(names):
        lacking = set(range(len(labels))) - set(truth[names == name].tolist())
        if lacking:
            raise SerqError(
                f"the part {name} that the recordings state has no clip of {labels[min(lacking)]!r}; each"
                " part needs every class"
            )
    tests = TESTS if TESTS in names else VALIDATES
    if tests == VALIDATES or VALIDATES not in names:
        split = part_clips(truth, labels, speakers, names == tests, config)
    else:
        part = np.select([names == TESTS, names == VALIDATES], [TEST, VALIDATION], TRAIN).astype(np.uint8)
        split = Split(part, CLIPS, "the clips that the corpus states")
    return replace(split, words=f"{split.words}; the corpus says which clips test")


def part_clips(
    truth: NDArray[np.int64],
    labels: Sequence[str],
    speakers: Sequence[str],
    test: NDArray[np.bool_],
    config: TrainingConfig,
) -> Split:
    """Part the clips outside a test part (a mask [clips]) into training and validation.

    By `validation`: whole speakers of about `validation_fraction` of these clips, drawn by the seed, so that
    two speakers or more train and every class is in both parts; or a stratified fraction, at least one clip a
    class on average. Raises SerqError if the clips are too few.
    """
    part = np.where(test, TEST, TRAIN).astype(np.uint8)
    rest = np.flatnonzero(~test)
    count = max(math.ceil(config.validation_fraction * rest.size), len(labels))
    if rest.size - count < len(labels) or np.bincount(truth[rest], minlength=len(labels)).min() < 2:
        raise SerqError(
            f"{truth.size} clips of {len(labels)} classes are too few for training, validation and testing;"
            " record more"
        )
    held: tuple[str, ...] = ()
    if not all(speakers):
        words = UNKNOWN
    elif config.validation == CLIPS:
        words = "clips of speakers who train too, as training.validation says"
    else:
        names = np.array(speakers)[rest]
        held = _validating(truth[rest], names, len(labels), config)
        words = _words(held, np.unique(names).size)
    if held:
        part[np.isin(speakers, held) & ~test] = VALIDATION
        return Split(part, SPEAKERS, words)
    _, validation = train_test_split(rest, test_size=count, stratify=truth[rest], random_state=config.seed)
    part[validation] = VALIDATION
    return Split(part, CLIPS, words)


def inner_folds(
    truth: NDArray[np.int64], speakers: Sequence[str], folds: int, seed: int
) -> NDArray[np.int64]:
    """Deal clips that train and validate to folds, each of which is left out once: the fold of each [clips].

    No speaker is in two folds; a clip of an unknown speaker stands for itself. Where a fold would take all
    clips of a class, clips are dealt whoever speaks. Classes are shared out evenly either way.
    """
    alone = len(set(speakers)) < 2  # one speaker cannot be left out
    groups = [f"\0{index}" if alone or not name else name for index, name in enumerate(speakers)]
    folds = min(folds, len(set(groups)), int(np.bincount(truth).max()))
    dealt = np.zeros(truth.size, dtype=np.int64)
    for dealer in (StratifiedGroupKFold, StratifiedKFold):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a class has fewer clips than there are folds
            parts = dealer(folds, shuffle=True, random_state=seed).split(truth, truth, groups)
            for fold, (_, held) in enumerate(parts):
                dealt[held] = fold
        learned = (np.unique(truth[dealt != fold]).size for fold in range(folds))
        if all(classes == np.unique(truth).size for classes in learned):
            break
    return dealt


def split_count(speakers: Sequence[str], config: TrainingConfig) -> int:
    """Return how many splits hold every clip out once."""
    return config.speaker_groups(len(set(speakers))) if config.protocol == SPEAKERS else config.folds


def _words(held: Sequence[str], others: int) -> str:
    if held:
        names = f"speaker{'' if len(held) == 1 else 's'} {', '.join(held)}"
        return f"{names}, who {'does' if len(held) == 1 else 'do'} not train"
    spared = "the only speaker cannot" if others == 1 else f"none of the {others} speakers can"
    return f"clips of speakers who train too: {spared} be spared from training"


def _validating(
    truth: NDArray[np.int64], names: NDArray[np.str_], classes: int, config: TrainingConfig
) -> tuple[str, ...]:
    """Draw the speakers who validate, sorted; none where it is impossible.

    truth and names: of the clips that are not held out. Seeded orders of the speakers are tried in turn; the
    first that leaves every class in both parts stands. At first only speakers who fit into the fraction are
    taken, then the first of each order whatever his or her clips are, up to half of all.
    """
    speakers, counts = np.unique(names, return_counts=True)
    rng = np.random.default_rng(config.seed)
    wanted = config.validation_fraction * names.size
    for first in (2 * wanted, names.size) if speakers.size > _LEAST_TRAINING else ():
        for _ in range(_ORDERS):
            held = _filled(rng.permutation(speakers.size), counts, wanted, first)
            chosen = np.isin(names, speakers[held])
            complete = all(np.unique(truth[own]).size == classes for own in (chosen, ~chosen))
            if complete and 2 * chosen.sum() <= names.size:
                return tuple(speakers[sorted(held)].tolist())
    return ()


def _filled(order: NDArray[np.intp], counts: NDArray[np.intp], wanted: float, first: float) -> list[int]:
    """Take speakers in an order while each brings the number of clips nearer to what is wanted.

    first: fewer clips than these must the first one have. Never so many are taken that fewer than two are
    left.
    """
    held: list[int] = []
    have = 0
    for index in order.tolist():
        most = 2 * (wanted - have) if held else first
        if counts[index] < most and len(held) < order.size - _LEAST_TRAINING:
            held.append(index)
            have += int(counts[index])
    return held


def _fold(truth: NDArray[np.int64], labels: Sequence[str], config: TrainingConfig) -> NDArray[np.bool_]:
    counts = np.bincount(truth, minlength=len(labels))
    rarest = int(np.argmin(counts))
    count = min(int(counts[rarest]), config.folds)
    if count < 2:
        raise SerqError(f"class {labels[rarest]!r} has {counts[rarest]} clips; record at least two of each")
    if config.split >= count:
        raise SerqError(
            f"training.split must be 0 to {count - 1}, one of the {count} folds: class {labels[rarest]!r} has"
            f" {counts[rarest]} clips, and each fold needs one of them"
        )
    folds = list(StratifiedKFold(count, shuffle=True, random_state=config.seed).split(truth, truth))
    return np.isin(np.arange(truth.size), folds[config.split][1])


def _group(speakers: Sequence[str], config: TrainingConfig) -> list[str]:
    """Return the names of the speakers that the split holds out: neighbours in the order of names."""
    names = sorted(set(speakers))
    if not all(names) or len(names) < 2:
        raise SerqError(
            "the recordings do not name at least two speakers; hold out clips instead (training.protocol)"
        )
    if config.speakers_out >= len(names):
        raise SerqError(
            f"training.speakers_out is {config.speakers_out}, and there are {len(names)} speakers; some must"
            " be left to train"
        )
    groups = config.speaker_groups(len(names))
    if config.split >= groups:
        what = "speakers" if groups == len(names) else f"groups of the {len(names)} speakers"
        raise SerqError(f"training.split must be 0 to {groups - 1}, one of the {groups} {what}")
    held: list[str] = np.array_split(np.array(names), groups)[config.split].tolist()
    return held
