"""The page and its plots, written from a results file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from serq_mcu.base.files import write_file
from serq_mcu.errors import SerqError
from serq_mcu.experiments.plan import ACROSS, MLP
from serq_mcu.experiments.results import AS_RECORDED, Group, Row
from serq_mcu.show.experiments.across import choice_parts, matrix_parts
from serq_mcu.show.experiments.grouped import Key, tables
from serq_mcu.show.experiments.paper import beside_paper_parts, nearness_parts
from serq_mcu.show.experiments.plot import accuracy_plot
from serq_mcu.show.experiments.within import bar_parts, methods_parts, paired_parts

_LEGEND = (
    "Accuracy in % of held-out clips. `mean` is over all splits, `95 % of the mean` its interval from the"
    " spread between splits (Student's t), `one split` the interval that a single split of n clips has around"
    " it (Wilson). Where speakers are held out, each counts once: the seeds of each are averaged first,"
    " `mean` is over speakers, and its interval is from the spread between them. UAR: unweighted average"
    " recall. Sizes in KB of 1000 bytes: weights only is the sum of parameters x bits / 8, stored all bytes"
    " that a device keeps for the network. `validation`: accuracy"
    " on the clips that chose bits and epochs, in all versions that training draws; held-out clips chose"
    " nothing."
)


def write_page(rows: Sequence[Row], results: Path, page: Path, command: str) -> list[Path]:
    """Write the page, and a plot for each corpus with most fixed widths.

    Returns the files written.

    Raises SerqError if there are no rows, or matplotlib or scipy is not installed.
    """
    if not rows:
        raise SerqError(f"{results} holds no results; run the experiment first")
    plots = {
        key: write_file(page.with_name(_plot_name(page, key)), accuracy_plot(found))
        for key, found in tables(rows)
        if _has_plot(key, found)
    }
    names = {key: path.name for key, path in plots.items()}
    text = "\n\n".join(_parts(rows, results, command, names)) + "\n"
    return [write_file(page, text), *plots.values()]


def _parts(rows: Sequence[Row], results: Path, command: str, plots: Mapping[Key, str]) -> Iterator[str]:
    """Yield the headings, paragraphs and tables of the page."""
    yield "# Experiment tables"
    yield f"Written by `{command}` from [{results.name}]({results.name}); nothing here is typed by hand."
    yield _LEGEND
    yield from bar_parts(rows)
    for key, found in tables(row for row in rows if row.protocol not in ACROSS):
        yield from methods_parts(key, found)
        if key in plots:
            yield f"![accuracy against bits]({plots[key]})"
        yield from paired_parts(found)
    yield from nearness_parts(rows)
    if beside := beside_paper_parts(rows):
        yield from ("## Beside the paper", *beside)
    if across := [row for row in rows if row.protocol in ACROSS]:
        yield from matrix_parts(across)
        yield from choice_parts(rows)


def _has_plot(key: Key, found: Sequence[Group]) -> bool:
    fixed = sum(group.first.method.isdecimal() for group in found)
    recorded = key.condition == AS_RECORDED
    return key.model == MLP and key.protocol not in ACROSS and recorded and fixed > 4


def _plot_name(page: Path, key: Key) -> str:
    return "_".join([page.stem, *key.study.split(), key.train, key.features, key.protocol]) + ".svg"
