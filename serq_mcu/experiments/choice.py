"""What judges, chosen without any label of the clips that it is judged on: features across corpora, and
candidates for a bar.

Across corpora: where several corpora train, the features are those with the best mean UAR between these, each
to each other. Where one trains, those with the best UAR of its own speakers, held out in turn. Float networks
choose.

For a bar: in every split, the candidate with the most right answers of the split's inner folds, integer
models (nested cross-validation: Cawley and Talbot, On Over-fitting in Model Selection, 2010). One choice for
all conditions that clips are heard in; of equal ones, the smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from serq_mcu.experiments.plan import ACROSS, FLOAT
from serq_mcu.experiments.results import PTQ, QAT, Group, Row, groups


@dataclass(frozen=True)
class Choice:
    """One cell of a matrix: its corpora, the features chosen, their UAR where they were chosen, and the
    groups of rows that judge.
    """

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
    for (protocol, train, test), candidates in sorted(
        cells.items(), key=lambda item: (ACROSS.index(item[0][0]), *item[0])
    ):
        known = {
            name: value
            for name in candidates
            if (value := _uar_in_training(rows, protocol, train, name)) is not None
        }
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


Candidate = tuple[str, str, str, str]  # study, features, method, tuning


@dataclass(frozen=True)
class Bar:
    """What stands for one bar: the rows that judge, by how clips were heard; for each candidate the share
    of right answers in the inner folds of all splits, and in how many splits it was chosen. Splits that a
    candidate has not run yet are left out.
    """

    name: str
    train: str
    protocol: str
    judged: dict[str, Group]
    inner: dict[Candidate, float]
    chosen: dict[Candidate, int]


def bars(rows: Sequence[Row]) -> list[Bar]:
    """Every bar of which a split is complete."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.bar and row.tuning in (PTQ, QAT):
            found.setdefault((row.bar, row.train, row.protocol), []).append(row)
    return [bar for key, own in sorted(found.items()) if (bar := _bar(*key, own)) is not None]


def _bar(name: str, train: str, protocol: str, rows: Sequence[Row]) -> Bar | None:
    asked, judging = (_by_split(row for row in rows if bool(row.inner) == inner) for inner in (True, False))
    candidates = sorted({_candidate(row) for row in rows})
    picked: dict[tuple[int, int], Candidate] = {}
    for (seed, split), judged in judging.items():
        inner = asked.get(
            (0 if protocol == "speakers" else seed, split), {}
        )  # every seed holds the same speakers out
        if (
            len(inner) == len(judged) == len(candidates)
            and len({_answers(own) for own in inner.values()}) == 1
        ):
            picked[seed, split] = min(
                candidates, key=lambda one: (-_share(inner[one]), judged[one][0].weights_only_bytes, one)
            )
    heard: dict[str, list[Row]] = {}
    for key, candidate in sorted(picked.items()):
        for row in judging[key][candidate]:
            heard.setdefault(row.condition, []).append(row)
    judged_groups = {condition: Group(tuple(own)) for condition, own in heard.items()}
    inner_shares = {
        one: _share([row for row in rows if row.inner and _candidate(row) == one])
        for one in candidates
        if picked
    }
    times = {one: sum(candidate == one for candidate in picked.values()) for one in candidates}
    return Bar(name, train, protocol, judged_groups, inner_shares, times) if picked else None


def _by_split(rows: Iterable[Row]) -> dict[tuple[int, int], dict[Candidate, list[Row]]]:
    found: dict[tuple[int, int], dict[Candidate, list[Row]]] = {}
    for row in rows:
        found.setdefault((row.seed, row.split), {}).setdefault(_candidate(row), []).append(row)
    return found


def _candidate(row: Row) -> Candidate:
    return row.study, row.features, row.method, row.tuning


def _answers(rows: Sequence[Row]) -> int:
    return sum(row.n for row in rows)


def _share(rows: Sequence[Row]) -> float:
    return sum(row.correct for row in rows) / _answers(rows)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None
