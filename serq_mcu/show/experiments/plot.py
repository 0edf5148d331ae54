"""Accuracy against bits, drawn with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from serq_mcu.errors import SerqError
from serq_mcu.experiments.plan import ADAPTIVE, FLOAT
from serq_mcu.experiments.results import PTQ, QAT, Group
from serq_mcu.show.experiments.paper import PAPER_ACCURACY, PAPER_ADAPTIVE
from serq_mcu.show.experiments.words import corpus_title


def accuracy_plot(found: Sequence[Group]) -> str:
    """Draw accuracy against bits as SVG: fixed widths as lines, the adaptive result as a star.

    With 95 % intervals of the mean; the paper's results are grey.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    first = found[0].first
    if first.protocol == "holdout" and first.train in PAPER_ACCURACY:
        _paper_points(axes, first.train)
    for tuning, colour, aside in ((PTQ, "tab:blue", -0.04), (QAT, "tab:orange", 0.04)):
        own = {group.first.method: group for group in found if group.first.tuning == tuning}
        _points(
            axes, [(int(bits) + aside, own[bits]) for bits in "12345678" if bits in own], colour, "o-", tuning
        )
        if ADAPTIVE in own:
            _points(
                axes,
                [(own[ADAPTIVE].mean("average_bits") + aside, own[ADAPTIVE])],
                colour,
                "*",
                f"adaptive, {tuning}",
                size=14,
            )
    for group in found:
        if group.first.method == FLOAT:
            axes.axhline(100 * group.accuracy, color="grey", linestyle=":", label="32-bit")
    axes.set(
        xlabel="average bits per weight",
        ylabel="accuracy, %",
        title=f"{corpus_title(first.train)}, {first.features}, {len(found[0].rows)} splits",
    )
    axes.legend(fontsize=8, loc="lower right")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _paper_points(axes: Any, corpus: str) -> None:
    accuracy = PAPER_ACCURACY[corpus]
    axes.plot(
        range(1, 9),
        [accuracy[str(bits)] for bits in range(1, 9)],
        "x",
        color="grey",
        label="paper, one split",
    )
    axes.plot(
        PAPER_ADAPTIVE[corpus][1],
        accuracy[ADAPTIVE],
        "*",
        color="grey",
        markersize=14,
        label="paper, adaptive",
    )


def _points(
    axes: Any, points: Sequence[tuple[float, Group]], colour: str, style: str, label: str, size: int = 5
) -> None:
    if not points:
        return
    values = [100 * group.accuracy for _, group in points]
    spread = [
        [100 * abs(group.mean_interval[side] - group.accuracy) for _, group in points] for side in (0, 1)
    ]
    axes.errorbar(
        [bits for bits, _ in points],
        values,
        spread,
        fmt=style,
        color=colour,
        label=label,
        markersize=size,
        capsize=2,
        linewidth=1,
    )


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise SerqError(
            f"plots need packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[experiments]'`"
        ) from error
    matplotlib.use("agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "serq-mcu", "svg.fonttype": "none"}
    )  # the same results give the same bytes
    from matplotlib import pyplot

    return pyplot
