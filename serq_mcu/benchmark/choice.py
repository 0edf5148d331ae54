"""Which features judge across corpora, chosen by corpora that train: no label of the corpus that judges has a part in it.

Where several corpora train, the features are those with the best mean UAR between these, each to each other. Where one trains, those
with the best UAR of its own speakers, held out in turn. Float networks choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from serq_mcu.benchmark.plan import ACROSS, FLOAT
from serq_mcu.benchmark.results import Group, Row, groups


@dataclass(frozen=True)
class Choice:
    """One cell of a matrix: its corpora, the features chosen, their UAR where they were chosen, and the groups of rows that judge."""

    train: str
    test: str
    protocol: str
    features: str
    chosen_at: float
    judged: tuple[Group, ...]


def choices(rows: Sequence[Row]) -> list[Choice]:
    """A choice for every cell across corpora of which there are rows to choose by."""
    cells: dict[tuple[str, str, str], dict[str, list[Group]]] = {}
    for group in groups(row for row in rows if row.protocol in ACROSS).values():
        row = group.first
        cells.setdefault((row.protocol, row.train, row.test), {}).setdefault(row.features, []).append(group)
    found = []
    for (protocol, train, test), candidates in sorted(cells.items(), key=lambda item: (ACROSS.index(item[0][0]), *item[0])):
        known = {name: value for name in candidates if (value := _uar_in_training(rows, protocol, train, name)) is not None}
        if known:
            best = max(known, key=lambda name: known[name])
            found.append(Choice(train, test, protocol, best, known[best], tuple(candidates[best])))
    return found


def _uar_in_training(rows: Sequence[Row], protocol: str, train: str, features: str) -> float | None:
    """Mean UAR of the float rows that the corpora in `train` alone make; None if there are none."""
    corpora = train.split("+")
    one_to_one = protocol.replace("corpora", "corpus")
    return _mean(
        row.uar
        for row in rows
        if row.method == FLOAT
        and row.features == features
        and row.train in corpora
        and row.test in corpora
        and row.protocol == ("speakers" if len(corpora) == 1 else one_to_one)
    )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None
