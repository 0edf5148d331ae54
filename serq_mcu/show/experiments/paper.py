"""The figures of Shinde, Jain and Sharma (2024), and ours beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serq_mcu.experiments.plan import ADAPTIVE, FLOAT, MLP
from serq_mcu.experiments.results import PTQ, QAT, Group, Row
from serq_mcu.show.experiments.grouped import Key, tables
from serq_mcu.show.experiments.words import corpus_title, method_name, percent, span
from serq_mcu.show.table import Table, columns

# accuracy in % and size in KB by method; sizes of fixed widths are the same for all corpora
PAPER_ACCURACY = {
    "tess": {**dict.fromkeys("876543", 99.29), "2": 97.86, "1": 96.43, ADAPTIVE: 99.29},
    "emodb": {
        **dict.fromkeys("8764", 74.07),
        "5": 72.22,
        "3": 75.93,
        "2": 75.93,
        "1": 64.81,
        ADAPTIVE: 75.93,
    },
    "savee": {**dict.fromkeys("87654", 81.25), "3": 79.17, "2": 68.75, "1": 70.83, ADAPTIVE: 81.25},
}
PAPER_SIZE = {"32": 676, "8": 169, "7": 147, "6": 126, "5": 105, "4": 84, "3": 63, "2": 42, "1": 21}
PAPER_ADAPTIVE = {"tess": (25, 1.22), "emodb": (43, 2.0), "savee": (56, 2.69)}  # KB, average bits


def papers_cells(corpus: str, method: str) -> tuple[str, str]:
    """Return the paper's accuracy and size of a method, empty where it gives none."""
    accuracy = PAPER_ACCURACY[corpus].get(method)
    size = PAPER_ADAPTIVE[corpus][0] if method == ADAPTIVE else PAPER_SIZE.get(method)
    return "" if accuracy is None else f"{accuracy:.2f}", "" if size is None else str(size)


def comparable(key: Key) -> bool:
    """Tell whether the paper has the table's corpus, under its protocol and with its network."""
    return key.protocol == "holdout" and key.model == MLP and key.train in PAPER_ACCURACY


def nearness_parts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how near each reading of the features comes to the paper's figures."""
    found = [(key, groups) for key, groups in tables(rows) if comparable(key)]
    if not found:
        return
    yield "## How near to the paper"
    yield (
        "Post-training rows for which the paper gives a figure. `inside`: the paper's figure is within the"
        " interval that one split of ours has."
    )
    head = columns(
        (
            "corpus",
            "features",
            "rows",
            "mean difference, points",
            "mean absolute difference",
            "inside",
            "size of 8 bits, KB (paper 169)",
        )
    )
    cells = [_nearness(key, groups) for key, groups in found]
    yield Table(head, [row for row in cells if row]).markdown()


def _nearness(key: Key, groups: Sequence[Group]) -> tuple[str, ...]:
    """Return a row of the table; empty if the paper gives no figure for any group."""
    paper = PAPER_ACCURACY[key.train]
    pairs = [
        (group, paper[group.first.method] / 100)
        for group in groups
        if group.first.tuning == PTQ and group.first.method in paper
    ]
    if not pairs:
        return ()
    apart = [100 * (group.accuracy - theirs) for group, theirs in pairs]
    inside = sum(group.interval[0] <= theirs <= group.interval[1] for group, theirs in pairs)
    return (
        corpus_title(key.train),
        key.features,
        str(len(apart)),
        f"{sum(apart) / len(apart):+.1f}",
        f"{sum(map(abs, apart)) / len(apart):.1f}",
        f"{inside} of {len(apart)}",
        f"{pairs[0][0].first.parameters / 1000:.0f}",
    )


def beside_paper_parts(rows: Sequence[Row]) -> list[str]:
    """Return a table of our figures beside the paper's adaptive row.

    For each corpus and reading of the features: our floats, adaptive row and best row within the paper's
    adaptive size, by how many points ours exceeds the paper's accuracy, and how many splits reach it.
    """
    chosen = [group for key, groups in tables(rows) if comparable(key) for group in _beside(key, groups)]
    if not chosen:
        return []
    head = (
        "corpus",
        "study: features",
        "row",
        "mean (95 % of it)",
        "KB",
        "paper's adaptive, % at KB",
        "difference",
        "splits at or above it",
    )
    note = (
        "32 bits, the adaptive widths fine-tuned, and the fine-tuned row within the paper's adaptive size"
        " that is best on validation clips."
    )
    return [note, Table(columns(head), [_beside_row(group) for group in chosen]).markdown()]


def _beside(key: Key, groups: Sequence[Group]) -> list[Group]:
    size, _ = PAPER_ADAPTIVE[key.train]
    chosen = [
        group
        for group in groups
        if group.first.method == FLOAT or (group.first.method, group.first.tuning) == (ADAPTIVE, QAT)
    ]
    within = [
        group
        for group in groups
        if group.first.tuning == QAT and group.mean("weights_only_bytes") <= 1000 * size
    ]
    best = max(within, key=lambda group: group.mean("validation_accuracy"), default=None)
    return chosen if best is None or best in chosen else [*chosen, best]


def _beside_row(group: Group) -> tuple[str, ...]:
    row = group.first
    theirs, (size, _) = PAPER_ACCURACY[row.train][ADAPTIVE] / 100, PAPER_ADAPTIVE[row.train]
    reached = sum(own.correct >= round(theirs * own.n) for own in group.rows)
    return (
        corpus_title(row.train),
        f"{row.study}: {row.features}",
        method_name(row.method, row.tuning),
        f"{percent(group.accuracy)} ({span(group.mean_interval)})",
        f"{group.mean('weights_only_bytes') / 1000:.1f}",
        f"{100 * theirs:.2f} at {size}",
        f"{100 * (group.accuracy - theirs):+.1f}",
        f"{reached} of {len(group.rows)}",
    )
