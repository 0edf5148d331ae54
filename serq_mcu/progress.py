"""Progress on standard error: what is being done, how far, how long still."""

from __future__ import annotations

import sys
import time


class Progress:
    """Call it with a sentence, or with a sentence, the units done and their total. A terminal sees one moving line; a log, a line per stage."""

    def __init__(self) -> None:
        self._stage = ""
        self._start = 0.0
        self._drawn = 0.0

    def __call__(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Say that `done` of `total` units of `stage` are finished."""
        now = time.monotonic()
        first = stage != self._stage
        if first:
            self._stage, self._start, self._drawn = stage, now, 0.0
        if done is None or not total:
            self._write(stage, "\n")
        elif done >= total:
            self._write(f"{stage}: {total} in {now - self._start:.0f} s", "\n")
        elif sys.stderr.isatty() and now - self._drawn >= 0.1:
            self._drawn = now
            left = f", {(now - self._start) * (total - done) / done:.0f} s left" if done else ""
            self._write(f"{stage}: {done}/{total}{left}", "")
        elif first:
            self._write(f"{stage}: {total} to do", "\n")

    def _write(self, text: str, end: str) -> None:
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}{text}", end=end, file=sys.stderr, flush=True)
