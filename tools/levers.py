"""What each lever of features and training gives alone: with and without it, held-out folds and speakers.

`python -m tools.levers emodb/` writes docs/levers.md.
Kernel ridge regression answers, the teacher of the networks that ship (training/teacher.py): it has no random
start, so that differences are those of the lever, and it is trained in seconds.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.cache import Cache
from serq_mcu.base.files import write_file
from serq_mcu.base.metrics import half_width
from serq_mcu.config import CLIPS, PROTOCOLS, SPEAKERS, Config, load_config
from serq_mcu.corpus.conditions import AS_RECORDED, Condition
from serq_mcu.extraction.recordings import augmented_clips, augmented_features
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.network import standardisation, standardise
from serq_mcu.show.table import Table, columns
from serq_mcu.training.augmentation import draw_augmented_clips
from serq_mcu.training.run import Dataset, read_dataset
from serq_mcu.training.splits import TEST, TRAIN, split_clips
from serq_mcu.training.teacher import KernelTeacher

PAGE = Path(__file__).parents[1] / "docs" / "levers.md"
VERSIONS = 5  # of each clip; the kernel keeps all of them
CONDITIONS = {
    "as recorded": AS_RECORDED,
    "pauses of 0.5 s, -60 dB": Condition(before=0.5, after=0.5, floor="white", floor_db=-60.0),
    "8 kHz, mu-law": Condition(band="mu-law"),
    "white noise at 10 dB": Condition(noise="white", snr_db=10.0),
}


@dataclass(frozen=True)
class Lever:
    """What is changed: tables of the configuration, features that are left out, and clips that do not train.

    features: a pattern of the names of those that are left out.
    """

    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    features: str = ""
    without_validation: bool = False


def _shares(**shares: float) -> dict[str, dict[str, float]]:
    return {"augmentation": {f"{name}_share": share for name, share in shares.items()}}


def _blocks(change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    blocks = load_config().features.to_json()["blocks"]
    return {"features": {"blocks": [change(dict(block)) for block in blocks]}}


def _with_slopes(block: dict[str, Any]) -> dict[str, Any]:
    slopes = block["kind"] in ("mfcc", "f0", "energy")
    return block | ({"statistics": [*block["statistics"], "delta_mean"]} if slopes else {})


LEVERS = {
    "without frames that count (all do)": Lever({"features": {"tiers": 0}}),
    "without percentiles of MFCC": Lever(features=r"mfcc\d+ p\d+"),
    "without pitch, voicing and energy": Lever(features=r"(f0|voicing|energy)\d+"),
    "without pitch": Lever(features=r"f0\d+"),
    "without voicing": Lever(features=r"voicing\d+"),
    "without energy": Lever(features=r"energy\d+"),
    "without chroma": Lever(features=r"chroma\d+"),
    "without log-mel": Lever(features=r"mel\d+"),
    "MFCC of all 40 bands": Lever(_blocks(lambda block: block | ({"bands": 0} if "bands" in block else {}))),
    "with slopes of MFCC, pitch and energy": Lever(_blocks(_with_slopes)),
    "clips as recorded alone in training": Lever({"augmentation": {"versions": 0}}),
    "without pauses in training": Lever(_shares(pause=0.0, within=0.0, floor=0.0, window=0.0)),
    "without windows of streams in training": Lever(_shares(window=0.0)),
    "without narrow bands in training": Lever(_shares(band=0.0)),
    "without noise in training": Lever(_shares(noise=0.0)),
    "without rooms in training": Lever(_shares(room=0.0)),
    "speeds from 0.88 to 1.12 in training": Lever({"augmentation": {"speed": (0.88, 1.12)}}),
    "without the clips that validate (no refit)": Lever(without_validation=True),
}

_INTRODUCTION = """\
# What each lever gives

Written by `python -m tools.levers emodb/`.
Each row changes one thing of the preset `best`.
It gives the accuracy and, behind it, the difference from the recipe.
The 95 % interval is that of the mean difference over the splits (Student's t).
They are {folds} folds of the clips (n = 535) and 10 speakers, each held out in turn.
Kernel ridge regression answers.
It teaches the networks that ship, has no random start, and is trained in seconds.
It keeps {versions} versions of each clip and the clip as recorded.
A difference whose interval holds 0 is not told from none.
Rhythm is in `voicing`: the mean of its flag is the share of voiced frames, and the spread of the flag's
differences counts where voicing begins and ends.
A slope is the mean difference between neighbouring frames that count; the default features have none.
"""


@dataclass(frozen=True)
class Judged:
    """Accuracies [splits] by protocol and condition."""

    shares: Mapping[tuple[str, str], NDArray[np.float64]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every lever, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    given = parser.parse_args(arguments)
    found = {}
    for name, lever in {"the recipe": Lever(), **LEVERS}.items():
        found[name] = judge(lever, given.corpus)
        print(name, {key: f"{own.mean():.1%}" for key, own in found[name].shares.items()}, flush=True)
    write_file(PAGE, page(found))


def judge(lever: Lever, corpus: Path) -> Judged:
    """Hold out every fold and every speaker in turn; the kernel method answers for them."""
    base = load_config().changed(augmentation={"versions": VERSIONS})
    tables = {name: dict(table) for name, table in lever.changes.items()}
    config = base.merged(tables, "a lever")
    dataset = read_dataset(corpus, config)
    names = config.features.feature_names
    kept = np.array([not (lever.features and re.match(rf"{lever.features}\b", name)) for name in names])
    if lever.features and kept.all():
        raise ValueError(f"no feature is named {lever.features}")
    everyone = list(range(len(dataset.truth)))
    tests = {
        name: _features(
            dataset, config, augmented_clips(dataset.recordings, everyone, everyone, condition, 0)
        )
        for name, condition in CONDITIONS.items()
    }
    shares: dict[tuple[str, str], list[float]] = {}
    for protocol in PROTOCOLS:
        for split in range(10):
            own = config.changed(training={"protocol": protocol, "folds": 10, "split": split})
            part = split_clips(dataset.truth, dataset.labels, dataset.speakers, own.training).part
            trains = part == TRAIN if lever.without_validation else part != TEST
            answers = _answers(dataset, own, trains, {k: v[part == TEST] for k, v in tests.items()}, kept)
            for name, answer in answers.items():
                right = float((answer == dataset.truth[part == TEST]).mean())
                shares.setdefault((protocol, name), []).append(right)
    return Judged({key: np.array(own) for key, own in shares.items()})


def _features(dataset: Dataset, config: Config, clips: Sequence[Any]) -> NDArray[np.int32]:
    spec = config.features
    return augmented_features(spec, build_tables(spec), dataset.recordings, clips, cache=Cache())


def _answers(
    dataset: Dataset,
    config: Config,
    trains: NDArray[np.bool_],
    tests: Mapping[str, NDArray[np.int32]],
    kept: NDArray[np.bool_],
) -> dict[str, NDArray[np.int64]]:
    """Train on the versions of some clips [clips], and answer; -1 where there is no speech."""
    part = np.where(trains, TRAIN, TEST).astype(np.uint8)
    drawn = draw_augmented_clips(dataset.recordings, part, TRAIN, config.augmentation, config.training.seed)
    members = np.flatnonzero(trains)
    rows = _features(dataset, config, [version[clip] for version in drawn for clip in members])
    truth = np.tile(dataset.truth[members], len(drawn))
    spoken = (rows != MISSING).any(axis=1)
    mean, sd = standardisation(rows[spoken])

    def inputs(pooled: NDArray[np.int32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = standardise(pooled, mean, sd).astype(np.float32)[:, kept]
        return found

    targets = np.eye(len(dataset.labels), dtype=np.float32)[truth[spoken]]
    teacher = KernelTeacher(inputs(rows[spoken]), targets, config.training.kernel_gamma)
    return {
        name: np.where((pooled != MISSING).any(axis=1), teacher.answers(inputs(pooled)).argmax(axis=1), -1)
        for name, pooled in tests.items()
    }


def page(found: Mapping[str, Judged]) -> str:
    """Write the page; the first of `found` is what the others are compared with."""
    base, parts = next(iter(found.values())), [_INTRODUCTION.format(folds=10, versions=VERSIONS)]
    titles = {CLIPS: "Clips", SPEAKERS: "Other speakers"}
    for protocol in PROTOCOLS:
        lines = [
            (name, *(_cell(judged, base, (protocol, condition)) for condition in CONDITIONS))
            for name, judged in found.items()
        ]
        table = Table(columns(["", *CONDITIONS]), lines)
        parts.append(f"## {titles[protocol]}\n\n{table.markdown()}\n")
    return "\n".join(parts)


def _cell(judged: Judged, base: Judged, key: tuple[str, str]) -> str:
    own = judged.shares[key]
    if judged is base:
        return f"{own.mean():.1%} ± {100 * half_width(own):.1f}"
    apart = own - base.shares[key]
    return f"{own.mean():.1%} ({100 * apart.mean():+.1f} ± {100 * half_width(apart):.1f})"


if __name__ == "__main__":
    main()
