"""Decisions as they come, shown in several places at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import click

from serq_mcu.listening.answers import Damaged, Hello, LabelledDecision, LiveEvent
from serq_mcu.show.terminal import Rows


class View(Protocol):
    """A place where decisions are shown."""

    def hello(self, hello: Hello) -> None:
        """Take note that listening began, or the board started again."""

    def decided(self, decision: LabelledDecision) -> None:
        """Show a decision."""

    def damaged(self, line: Damaged) -> None:
        """Take note of a corrupted line."""

    def end(self, text: str) -> None:
        """Show that nothing more will come, and why."""


class TerminalView:
    """Rows on standard output; what was lost goes to progress."""

    def __init__(self, progress: Callable[..., None]) -> None:
        self._progress = progress
        self._rows: Rows | None = None
        self._overruns = 0

    def hello(self, hello: Hello) -> None:
        """Report what listens, and begin new rows."""
        self._progress(f"{hello.board} listens with model {hello.model}")
        self._rows, self._overruns = None, 0

    def decided(self, decision: LabelledDecision) -> None:
        """Print the decision as a row, and report lost samples."""
        timed = decision.decision
        if self._rows is None or self._rows.labels != decision.labels:
            self._rows = Rows(decision.labels)
            self._rows.heading()
        if timed.overruns != self._overruns:
            self._progress(
                f"{(timed.overruns - self._overruns) % 2**32} samples were lost, as nobody read them in time;"
                " the stream started afresh"
            )
            self._overruns = timed.overruns
        self._rows.row(timed)

    def damaged(self, line: Damaged) -> None:
        """Report a corrupted line."""
        self._progress(f"skipped a corrupted line: {line.text!r}")

    def end(self, text: str) -> None:
        """Report why nothing more will come."""
        self._progress(text)


class JsonView:
    """A line of JSON on standard output for each event."""

    def hello(self, hello: Hello) -> None:
        """Print what listens."""
        _line({"event": "hello", "board": hello.board, "model": hello.model, "labels": list(hello.labels)})

    def decided(self, decision: LabelledDecision) -> None:
        """Print the decision."""
        _line({"event": "decision", **decision.decision.to_json()})

    def damaged(self, line: Damaged) -> None:
        """Print the corrupted line."""
        _line({"event": "damaged line", "text": line.text})

    def end(self, text: str) -> None:
        """Print why nothing more will come."""
        _line({"event": "end", "text": text})


def show(events: Iterable[LiveEvent], views: Sequence[View], count: int | None = None) -> None:
    """Show events until they end, or `count` decisions have come."""
    decisions = 0
    for event in events:
        for view in views:
            if isinstance(event, Hello):
                view.hello(event)
            elif isinstance(event, LabelledDecision):
                view.decided(event)
            else:
                view.damaged(event)
        decisions += isinstance(event, LabelledDecision)
        if decisions == count or (len(views) == 1 and getattr(sys.stdout, "reader_left", False)):
            break
    for view in views:
        view.end(f"listening ended after {decisions} decisions")


def _line(value: dict[str, object]) -> None:
    click.echo(json.dumps(value))
