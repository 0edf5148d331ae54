"""Decisions as rows of a terminal: when, how loud, the answer, and a bar for each class's score."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from serq_mcu.listening.answers import TimedDecision

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_ANSWER = 12  # columns
_BAR = (4, 14)  # columns of a class, at least and at most
_SPAN = 1000  # the least that a full bar stands for: no noise looks like an answer


class Rows:
    """A printer of a heading and then a row for each decision.

    All rows draw a score alike: a bar is full at the largest span so far.

    A terminal too narrow for a bar for each class gets the three best by name.
    """

    def __init__(self, labels: Sequence[str], span: int = 0) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.labels, self._span = tuple(labels), max(span, _SPAN)
        width = (self.console.width - len(_head(0.0, 0.0, "", 0))) // max(len(labels), 1) - 1
        self._bar = min(width, _BAR[1]) if width >= _BAR[0] else 0
        self._plain = not _unicode()

    def heading(self) -> None:
        """Print what the columns are."""
        names = [_fit(label, self._bar) for label in self.labels] if self._bar else ["best three"]
        self.console.print(
            Text(
                f"{'time':>7}  {'level':>7}  {_fit('answer', _ANSWER)} {'lead':>8}  "
                f"{' '.join(names)}".rstrip(),
                "bold",
            )
        )

    def row(self, decision: TimedDecision) -> None:
        """Print a decision."""
        self._span = max(self._span, decision.span)
        text = Text(
            _head(decision.seconds, decision.level_db, decision.answer, decision.margin),
            "bold" if decision.label is not None else "dim",
        )
        self.console.print(text.append(Text(self._scores(decision), "not bold not dim")))

    def _scores(self, decision: TimedDecision) -> str:
        if not decision.frames:
            return ""
        shares = decision.shares(self._span)
        if self._bar:
            return " ".join(bar(share, self._bar, plain=self._plain) for share in shares).rstrip()
        best = sorted(range(len(shares)), key=lambda index: -decision.scores[index])[:3]
        return "  ".join(f"{self.labels[index]} {decision.scores[index]}" for index in best)


def bar(share: float, width: int, *, plain: bool = False) -> str:
    """Draw a bar of `width` columns, full at 1; the least that is seen is an eighth of a column.

    plain: of ASCII.
    """
    if plain:
        return ("#" * round(share * width)).ljust(width)
    eighths = max(1, round(share * width * 8))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(width)


def _head(seconds: float, level_db: float, answer: str, margin: int) -> str:
    return f"{seconds:>5.1f} s  {level_db:>4.0f} dB  {_fit(answer, _ANSWER)} {margin:>8}  "


def _fit(text: str, width: int) -> str:
    cut = "…" if _unicode() else "~"
    return set_cell_size(text if cell_len(text) <= width else set_cell_size(text, width - 1) + cut, width)


def _unicode() -> bool:
    """Return whether standard output has more than ASCII's signs."""
    return (sys.stdout.encoding or "").lower().startswith("utf")
