"""Progress: what is being done, how far, how long still; what reports it, and a terminal that shows it."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from serq_mcu.base.text import shown

_DRAW, _LOG = 0.1, 30.0  # seconds between two states of a terminal's line, and between two lines of a log


class Progress(Protocol):
    """What long work calls with a sentence, or with a sentence, the units done and their total."""

    def __call__(self, stage: str, done: int | None = None, total: int | None = None, /) -> None:
        """Report that `done` of `total` units of `stage` are finished."""


def silent(stage: str, done: int | None = None, total: int | None = None, /) -> None:
    """Show no progress."""


class TerminalProgress:
    """Progress on standard error.

    A terminal shows one moving line; a log, a line per stage and, of a long one, a line every half minute.
    Quiet, it shows nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stage = ""
        self._start = 0.0
        self._said = 0.0
        self._begun = 0

    def __call__(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Say that `done` of `total` units of `stage` are finished."""
        if self._quiet:
            return
        now = time.monotonic()
        first = stage != self._stage
        if first:
            self._stage, self._start, self._said, self._begun = (
                stage,
                now,
                now if not sys.stderr.isatty() else 0.0,
                done or 0,
            )
        if done is None or not total:
            self._write(stage, "\n")
        elif done >= total:
            self._write(f"{stage}: {total} in {duration(now - self._start)}", "\n")
            self._stage = ""
        elif first and not sys.stderr.isatty():
            self._write(f"{stage}: {total} to do", "\n")
        elif now - self._said >= (_DRAW if sys.stderr.isatty() else _LOG):
            self._said = now
            self._write(
                f"{stage}: {done}/{total}{self._left(now, done, total)}", "" if sys.stderr.isatty() else "\n"
            )

    def _left(self, now: float, done: int, total: int) -> str:
        finished = done - self._begun
        return (
            f", about {duration((now - self._start) * (total - done) / finished)} left"
            if finished > 0
            else ""
        )

    def _write(self, text: str, end: str) -> None:
        text = shown(text)
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}{text}", end=end, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Write a time in words: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
