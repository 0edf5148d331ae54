"""Model selection without test labels: nested cross-validation across corpora, and for a bar.

Across corpora: where several corpora train, the features are those with the best mean UAR between these, each
to each other. Where one trains, those with the best UAR of its own speakers, held out in turn. Float networks
choose.

For a bar: in every split, the candidate with the most right answers of the split's inner folds, integer
models (nested cross-validation: Cawley and Talbot, On Over-fitting in Model Selection, 2010). One choice for
all conditions of the test clips; of equal ones, the smaller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from serq_mcu.experiments.plan import ACROSS, FLOAT
from serq_mcu.experiments.results import PTQ, QAT, Group, Row, groups


@dataclass(frozen=True)
class Choice:
    """One cell of a matrix.

    Its corpora, the features chosen, their UAR where they were chosen, and the groups of test rows.
    """

    train: str
    test: str
    protocol: str
    features: str
    chosen_at: float
    judged: tuple[Group, ...]


def choices(rows: Sequence[Row]) -> list[Choice]:
    """Return a choice for every cell across corpora of which there are rows to choose by."""
    cells: dict[tuple[str, str, str], dict[str, list[Group]]] = {}
    for group in groups(row for row in rows if row.protocol in ACROSS).values():
        row = group.first
        cell = cells.setdefault((row.protocol, row.train, row.test), {})
        cell.setdefault(row.features, []).append(group)
    order = sorted(cells, key=lambda key: (ACROSS.index(key[0]), key))
    found = (_choice(rows, *key, candidates=cells[key]) for key in order)
    return [choice for choice in found if choice is not None]


def _choice(
    rows: Sequence[Row], protocol: str, train: str, test: str, candidates: dict[str, list[Group]]
) -> Choice | None:
    """Return the features with the best UAR among the corpora that train; None if none is known."""
    uars = {name: _uar_in_training(rows, protocol, train, name) for name in candidates}
    known = {name: uar for name, uar in uars.items() if uar is not None}
    if not known:
        return None
    best = max(known, key=lambda name: known[name])
    return Choice(train, test, protocol, best, known[best], tuple(candidates[best]))


def _uar_in_training(rows: Sequence[Row], protocol: str, train: str, features: str) -> float | None:
    """Compute the mean UAR of the float rows that the corpora in `train` alone make.

    Returns None if there are none.
    """
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
Split = tuple[int, int]  # seed, split
Splits = dict[Split, dict[Candidate, list[Row]]]


@dataclass(frozen=True)
class Bar:
    """What stands for one bar.

    The test rows by condition; for each candidate the share of correct answers in the inner folds of all
    splits, and in how many splits it was chosen. Splits that a candidate has not run yet are left out.
    """

    name: str
    train: str
    protocol: str
    judged: dict[str, Group]
    inner: dict[Candidate, float]
    chosen: dict[Candidate, int]


def bars(rows: Sequence[Row]) -> list[Bar]:
    """List every bar of which a split is complete."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.bar and row.tuning in (PTQ, QAT):
            found.setdefault((row.bar, row.train, row.protocol), []).append(row)
    return [bar for key, own in sorted(found.items()) if (bar := _bar(*key, own)) is not None]


def _bar(name: str, train: str, protocol: str, rows: Sequence[Row]) -> Bar | None:
    """Choose a candidate in every complete split; None if no split is complete."""
    inner_rows = [row for row in rows if row.inner]
    tests = _by_split(row for row in rows if not row.inner)
    candidates = sorted({_candidate(row) for row in rows})
    picked = _pick(candidates, protocol, _by_split(inner_rows), tests)
    if not picked:
        return None
    conditions: dict[str, list[Row]] = {}
    for split, candidate in sorted(picked.items()):
        for row in tests[split][candidate]:
            conditions.setdefault(row.condition, []).append(row)
    inner = {one: _share([row for row in inner_rows if _candidate(row) == one]) for one in candidates}
    times = Counter(picked.values())
    return Bar(
        name,
        train,
        protocol,
        {condition: Group(tuple(own)) for condition, own in conditions.items()},
        inner,
        {one: times[one] for one in candidates},
    )


def _pick(
    candidates: Sequence[Candidate], protocol: str, inner: Splits, tests: Splits
) -> dict[Split, Candidate]:
    """Return the candidate of each split that all candidates have run, on the same inner clips."""
    picked = {}
    for (seed, split), tested in tests.items():
        # every seed holds the same speakers out, so one seed's inner folds serve all
        asked = inner.get((0 if protocol == "speakers" else seed, split), {})
        complete = len(asked) == len(tested) == len(candidates)
        if complete and len({_answers(own) for own in asked.values()}) == 1:
            picked[seed, split] = _best(candidates, asked, tested)
    return picked


def _best(
    candidates: Sequence[Candidate], asked: dict[Candidate, list[Row]], tested: dict[Candidate, list[Row]]
) -> Candidate:
    """Return the candidate with the most correct answers when asked; of equal ones, the smaller."""
    return min(candidates, key=lambda one: (-_share(asked[one]), tested[one][0].weights_only_bytes, one))


def _by_split(rows: Iterable[Row]) -> Splits:
    found: Splits = {}
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
