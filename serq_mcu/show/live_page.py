"""A page on this computer that shows decisions as they come.

One file and server-sent events, on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from serq_mcu.listening.answers import Damaged, Hello, LabelledDecision
from serq_mcu.show.local_server import LocalHandler, LocalServer

HTML = Path(__file__).with_name("live.html")
SERVED = 'data-source="events" data-baud="115200"'  # in the page: where its decisions come from
_KEPT = 120  # events that a page is told when it is opened late
_PATIENCE = 5.0  # seconds between two signs of life to a page
_WAITING = 1000  # events for a browser that does not read; then it is left, and may come back
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src"
    " data:; base-uri 'none'"
)


class Page:
    """A view (see views.py) that any number of browsers of this computer can look at, at `url`.

    Raises SerqError if the port is taken. 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._lock = threading.Lock()
        self._hello: dict[str, Any] | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._number = self._damaged = 0
        self._readers: list[queue.Queue[dict[str, Any] | None]] = []
        handler = type("Handler", (_Handler,), {"page": self})
        self._server = LocalServer(port, handler)
        self.url = self._server.url

    def hello(self, hello: Hello) -> None:
        """Tell the browsers what listens."""
        with self._lock:
            self._events.clear()
            self._number = self._damaged = 0
        self._tell(
            {"type": "hello", "board": hello.board, "model": hello.model, "labels": list(hello.labels)}
        )

    def decided(self, decision: LabelledDecision) -> None:
        """Send a decision to the browsers."""
        self._number += 1
        counts = {"number": self._number, "damaged": self._damaged}
        self._tell(
            {"type": "decision", **decision.decision.to_json(), "labels": list(decision.labels), **counts}
        )

    def damaged(self, _line: Damaged) -> None:
        """Count a corrupted line and tell the browsers."""
        self._damaged += 1
        self._tell({"type": "damaged", "lines": self._damaged})

    def end(self, text: str) -> None:
        """Tell the browsers why nothing more will come."""
        self._tell({"type": "end", "text": text})

    def failed(self, text: str) -> None:
        """Tell the browsers what went wrong."""
        self._tell({"type": "error", "text": text})

    def close(self) -> None:
        """Tell the browsers that nothing more comes, and stop serving."""
        with self._lock:
            for reader in self._readers:
                _tell_or_end(reader, None)
        self._server.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[queue.Queue[dict[str, Any] | None]]:
        """Return a queue of events, from those that are remembered on; None is the last."""
        reader: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        with self._lock:
            for event in ([self._hello] if self._hello else []) + list(self._events):
                reader.put(event)
            self._readers.append(reader)
        try:
            yield reader
        finally:
            with self._lock, contextlib.suppress(ValueError):  # it was left
                self._readers.remove(reader)

    def _tell(self, event: dict[str, Any]) -> None:
        with self._lock:
            if event["type"] == "hello":
                self._hello = event
            else:
                self._events.append(event)
            for reader in tuple(self._readers):
                if not _tell_or_end(reader, event):
                    self._readers.remove(reader)


def board_page(baud: int) -> str:
    """Return the live page as a file of its own, whose browser reads a board's serial port at `baud`."""
    return HTML.read_text(encoding="utf-8").replace(SERVED, f'data-source="serial" data-baud="{baud}"')


def _tell_or_end(reader: queue.Queue[dict[str, Any] | None], event: dict[str, Any] | None) -> bool:
    """Give a reader an event, or the end where too much waits for it; return whether it took the event."""
    try:
        reader.put_nowait(event)
    except queue.Full:
        with reader.mutex:
            reader.queue.clear()
        reader.put_nowait(None)
        return False
    return True


class _Handler(LocalHandler):
    """The page and its events."""

    page: Page
    policy = _POLICY

    def answer(self, path: str) -> bool:
        """Send the page or its events."""
        if path == "/":
            self.send(HTML.read_bytes(), "text/html; charset=utf-8")
        elif path == "/events":
            self._stream()
        else:
            return False
        return True

    def _stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError), self.page.reading() as reader:  # the browser left
            self._write(b"retry: 1000\n\n")
            while True:
                try:
                    event = reader.get(timeout=_PATIENCE)
                except queue.Empty:
                    self._write(b": still here\n\n")
                    continue
                if event is None:
                    return
                self._write(f"data: {json.dumps(event)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()
