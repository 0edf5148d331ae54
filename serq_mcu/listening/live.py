"""A board's decisions as they come, from a serial port or the emulator, for a terminal and a page."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serq_mcu.errors import SerqError
from serq_mcu.harness.transports import SerialTransport
from serq_mcu.harness.trouble import LONGEST, explained, in_trouble
from serq_mcu.listening.answers import Damaged, LiveEvent
from serq_mcu.listening.emulated import emulated_board
from serq_mcu.listening.lines import Complaint, LineReader, Passed, StoredVoice, VoiceReport

_PATIENCE = 10.0  # seconds without a decision; a board makes one each second or so, silence or not
_MAKE_ONE = "flash the project of `serq-mcu export --app live`"

Progress = Callable[..., None]


class Source(Protocol):
    """Where a board's lines come from."""

    name: str

    def read(self, timeout: float) -> bytes:
        """Return what has come; wait up to `timeout` seconds for anything.

        Raises SerqError if the line is lost, EOFError at its end.
        """


@contextlib.contextmanager
def open_source(
    port: str, clip: Path | None, baud: int, progress: Progress, *, allow_changes: bool = False
) -> Iterator[Source]:
    """Open a serial port or URL, or a folder of a live project, whose emulator listens to `clip`.

    Raises SerqError if it cannot be opened.
    """
    if Path(port).is_dir():
        if clip is None:
            raise SerqError(
                f"{port} is a folder: give its emulator a recording to hear with --clip, or name a board's"
                " port instead of the folder"
            )
        with emulated_board(Path(port), clip, progress, allow_changes=allow_changes) as board:
            yield board
        return
    if clip is not None:
        raise SerqError(
            f"--clip is for the emulator of a folder, and {port} is none; a board hears its microphone"
        )
    transport = SerialTransport(port, baud)
    try:
        yield transport
    finally:
        transport.close()


def live_events(source: Source, progress: Progress) -> Iterator[LiveEvent]:
    """Yield what a board reports, until its line ends. progress is told once of lines that are no decisions.

    Raises SerqError if nothing comes, or something else; if the board falls silent, sends damaged lines
    alone, is unplugged or reports an error.
    """
    reader, state = LineReader(), _State(source.name)
    start = state.last_at = time.monotonic()
    while True:
        try:
            data = source.read(0.2)
        except EOFError:
            if state.alive:
                return
            raise SerqError(_nothing(source.name, state.passed)) from None
        now = time.monotonic()
        for event in reader.feed(data, now - start):
            if isinstance(event, Complaint):
                raise SerqError(f"the board reports: {event.text}")
            if isinstance(event, VoiceReport | StoredVoice):
                continue  # an answer to somebody else
            if isinstance(event, Passed):
                if not state.passed:
                    progress(f"skipped non-JSON output such as {event.text!r} (boot messages are normal)")
                state.passed = f"{state.passed}{event.text}\n"[-LONGEST:]
            else:
                state.note(event, now)
                yield event
        if now - state.last_at > _PATIENCE:
            raise SerqError(state.silence())


@dataclass
class _State:
    """What is known of a board's line: whether and when it last said something that is whole."""

    name: str
    last_at: float = 0.0
    alive: bool = False
    damaged: int = 0  # lines in a row
    passed: str = ""  # the last lines that are no decisions

    def note(self, event: LiveEvent, now: float) -> None:
        """Take note of an event; a damaged line is no sign of life, as lines may be damaged for ever."""
        if isinstance(event, Damaged):
            self.damaged += 1
        else:
            self.last_at, self.alive, self.damaged = now, True, 0

    def silence(self) -> str:
        """Say why nothing more is waited for."""
        if self.damaged:
            lines = f"{self.damaged} lines in a row" if self.damaged > 1 else "a line"
            return f"{lines} came damaged from {self.name}; check the cable and --baud"
        if self.alive:
            said = f": {explained(self.passed)}" if in_trouble(self.passed) else ""
            return f"{self.name} fell silent{said}; check the cable and reset the board"
        return _nothing(self.name, self.passed)


def _nothing(name: str, passed: str) -> str:
    if passed:
        return (
            f"what comes from {name} is not the live application ({explained(passed)}); {_MAKE_ONE}, or name"
            " its --baud"
        )
    return f"nothing comes from {name}; {_MAKE_ONE}, and reset the board"
