"""A speaker's voice learned by a board that listens, through its own microphone.

The board runs the live application, which takes lines of text (SPEC.md section 14).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from serq_mcu.errors import SerqError
from serq_mcu.harness.transports import SerialTransport
from serq_mcu.listening.lines import Complaint, Event, LineReader, StoredVoice, VoiceReport

_PATIENCE = 10.0  # seconds without a line; a board makes a decision each second or so
_MEANWHILE = 8  # lines before an answer: decisions, a greeting
_SPEAKING = 60.0  # seconds without a window that taught
_MAKE_ONE = "flash the project of `serq-mcu export --app live` with a model that learns voices"

Progress = Callable[..., None]
Answer = TypeVar("Answer", VoiceReport, StoredVoice)


class Line(Protocol):
    """A board's line."""

    name: str

    def read(self, timeout: float) -> bytes:
        """Return what has come; wait up to `timeout` seconds for anything."""

    def write(self, data: bytes) -> None:
        """Send bytes."""


def enrol(port: str, baud: int, label: str, windows: int, progress: Progress) -> bytes:
    """Let the board on `port` learn a voice from `windows` windows of somebody who speaks.

    label: the emotion that is spoken, or "answers": the board's own. Afterwards the board goes on learning
    from its answers. Returns the voice as it is stored. Raises SerqError if the board does not listen, does
    not know the label, or hears no speech for a minute.
    """
    with _line(port, baud) as line:
        return learn_on(line, label, windows, progress)


def send_voice(port: str, baud: int, stored: bytes) -> None:
    """Give the board on `port` a voice, as it is stored. Raises SerqError if the board refuses it."""
    with _line(port, baud) as line:
        board = _Board(line)
        board.ask(f"voice {stored.hex()}", "the voice: it is damaged, or of another model")


def learn_on(line: Line, label: str, windows: int, progress: Progress) -> bytes:
    """Do what `enrol` does on a line that is open."""
    board = _Board(line)
    board.ask("forget", "to forget")
    board.ask(f"learn {label}", f"to learn {label!r}: it is no class of its model")
    progress(f"speak towards the microphone, a few sentences ({label}), until {windows} windows are learned")
    learned, since = 0, time.monotonic()
    while learned < windows:
        board.event()
        now = board.windows or 0
        if now > learned:
            learned, since = now, time.monotonic()
            progress("learning the voice", learned, windows)
        if time.monotonic() - since > _SPEAKING:
            raise SerqError(
                f"{line.name} heard nothing to learn from for {_SPEAKING:.0f} s; speak louder or nearer, and"
                " check the microphone with `serq-mcu live`"
            )
    board.ask("learn answers", "to go on")
    return board.stored()


@contextlib.contextmanager
def _line(port: str, baud: int) -> Iterator[SerialTransport]:
    transport = SerialTransport(port, baud)
    try:
        yield transport
    finally:
        transport.close()


class _Board:
    """A board's events, one after another."""

    def __init__(self, line: Line) -> None:
        self._line, self._reader = line, LineReader()
        self._events: list[Event] = []
        self._start = time.monotonic()
        line.write(b"\n")  # ends what an earlier host may have left unfinished

    @property
    def windows(self) -> int | None:
        """The windows that the voice was learned from, as the last decision says."""
        return self._reader.windows

    def event(self) -> Event:
        """Wait for the next event. Raises SerqError if none comes, or the board reports an error."""
        deadline = time.monotonic() + _PATIENCE
        while not self._events:
            if time.monotonic() > deadline:
                raise SerqError(f"nothing comes from {self._line.name}; {_MAKE_ONE}, and reset the board")
            now = time.monotonic() - self._start
            self._events = list(self._reader.feed(self._line.read(0.2), now))
        event = self._events.pop(0)
        if isinstance(event, Complaint):
            raise SerqError(f"the board reports: {event.text}")
        return event

    def ask(self, command: str, what: str) -> None:
        """Send a command and wait until it is done. Raises SerqError if it is refused, or not understood."""
        if self._answer(command, VoiceReport).refused:
            raise SerqError(f"the board refused {what}")

    def stored(self) -> bytes:
        """Read the voice, as it is stored."""
        found = self._answer("voice", StoredVoice)
        return found.stored

    def _answer(self, command: str, kind: type[Answer]) -> Answer:
        """Send a command and wait for the event that answers it, among the few that come meanwhile."""
        self._line.write(f"{command}\n".encode())
        for _ in range(_MEANWHILE):
            event = self.event()
            if isinstance(event, kind):
                return event
        raise SerqError(f"{self._line.name} does not learn voices; {_MAKE_ONE}")
