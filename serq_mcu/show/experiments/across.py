"""Tables across corpora: matrices of training and test corpora, and features chosen by what trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from serq_mcu.experiments.choice import Choice, choices
from serq_mcu.experiments.plan import ACROSS, SHARED_EMOTIONS
from serq_mcu.experiments.results import Group, Row
from serq_mcu.show.experiments.grouped import rank, tables
from serq_mcu.show.experiments.words import (
    PROTOCOL_WORDS,
    corpus_title,
    kilobytes,
    mean_and_span,
    method_name,
    percent,
)
from serq_mcu.show.table import Table, columns

Cells = dict[tuple[str, str], Group]  # by training and test corpus


class MatrixKey(NamedTuple):
    """All cells of one matrix share these."""

    study: str
    model: str
    features: str
    protocol: str
    method: str
    tuning: str


def matrix_parts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a matrix of UAR by training and test corpus for each study, features and method."""
    yield "## Across corpora"
    yield (
        f"UAR in % on the six shared emotions ({', '.join(SHARED_EMOTIONS)}; chance 16.7): the mean over"
        " seeds and, behind it, the least and the most of them. n: test clips, every one of the corpus that"
        " shows such an emotion. No statistic of a test clip is used, unless a table is called transductive."
        " A seed draws validation clips and the network; the test clips stay the same."
    )
    yield (
        "Features and network are the plan's; where the plan is described it is stated whether test clips had"
        " a part in their choice."
    )
    for key, cells in _matrices(rows).items():
        yield from _one_matrix(key, cells)


def _one_matrix(key: MatrixKey, cells: Cells) -> Iterator[str]:
    first, seeds = next(iter(cells.values())).first, max(len(group.rows) for group in cells.values())
    size = kilobytes(group.mean("weights_only_bytes") for group in cells.values())
    yield f"### {key.study}: {key.model}, {key.features}, {method_name(key.method, key.tuning)}"
    yield (
        f"{PROTOCOL_WORDS[key.protocol].capitalize()}; {first.inputs} inputs, {first.parameters} parameters,"
        f" {size} KB; {seeds} {'seed' if seeds == 1 else 'seeds'}."
    )
    yield _matrix(cells).markdown()
    values = [group.uar for group in cells.values()]
    mean = percent(sum(values) / len(values))
    yield f"From {percent(min(values))} to {percent(max(values))}, {mean} on average."


def _matrix(cells: Cells) -> Table:
    clips = {test: cells[train, test].first.n for train, test in sorted(cells, key=lambda key: key[1])}
    head = ("trained on", *(f"{corpus_title(test)}, n {count}" for test, count in clips.items()))
    rows = []
    for train in sorted({train for train, _ in cells}):
        groups = (cells.get((train, test)) for test in clips)
        rows.append((corpus_title(train), *("" if group is None else _seeds(group) for group in groups)))
    return Table(columns(head), rows)


def choice_parts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table for each protocol across corpora.

    It shows the features that the training corpora chose, and their figures on the test corpus.
    """
    by_protocol: dict[str, list[Choice]] = {}
    for choice in choices(rows):
        by_protocol.setdefault(choice.protocol, []).append(choice)
    if not by_protocol:
        return
    yield "## Across corpora, with features chosen by the corpora that train"
    yield (
        "Where several corpora train, the features of each line are those whose floats have the best mean UAR"
        " between these, each to each other; where one trains, those with the best UAR of its own speakers,"
        " held out in turn. UAR in %, mean over seeds (least to most)."
    )
    for protocol, found in by_protocol.items():
        yield f"### {PROTOCOL_WORDS[protocol].capitalize()}"
        yield _choice_table(found).markdown()


def _choice_table(found: Sequence[Choice]) -> Table:
    figures: dict[str, list[float]] = {}
    for group in (group for choice in found for group in choice.judged):
        figures.setdefault(method_name(group.first.method, group.first.tuning), []).append(group.uar)
    head = ("trained on", "evaluated on", "features", "UAR where chosen", *figures)
    rows = [_choice_row(choice, figures) for choice in found]
    means = (percent(sum(values) / len(values)) for values in figures.values())
    return Table(columns(head), [*rows, ("mean", "", "", "", *means)])


def _choice_row(choice: Choice, methods: Iterable[str]) -> tuple[str, ...]:
    own = {method_name(group.first.method, group.first.tuning): group for group in choice.judged}
    return (
        corpus_title(choice.train),
        corpus_title(choice.test),
        choice.features,
        percent(choice.chosen_at),
        *(_seeds(own[name]) if name in own else "" for name in methods),
    )


def _matrices(rows: Iterable[Row]) -> dict[MatrixKey, Cells]:
    """Return the groups by training and test corpus of each matrix, in the page's order."""
    found: dict[MatrixKey, Cells] = {}
    for _, groups in tables(rows):
        for group in groups:
            row = group.first
            key = MatrixKey(row.study, row.model, row.features, row.protocol, row.method, row.tuning)
            found.setdefault(key, {})[row.train, row.test] = group

    def order(key: MatrixKey) -> tuple[object, ...]:
        return ACROSS.index(key.protocol), key.study, rank(next(iter(found[key].values())))

    return {key: found[key] for key in sorted(found, key=order)}


def _seeds(group: Group) -> str:
    return mean_and_span([row.uar for row in group.rows])
