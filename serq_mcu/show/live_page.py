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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from serq_mcu.errors import SerqError
from serq_mcu.listening.answers import Damaged, Hello, LabelledDecision

HTML = Path(__file__).with_name("live.html")
_ADDRESS = "127.0.0.1"
_KEPT = 120  # events that a page is told when it is opened late
_PATIENCE = 5.0  # seconds between two signs of life to a page
_IDLE = 10.0  # seconds that a browser may take to ask, or to take what it is sent
_WAITING = 1000  # events for a browser that does not read; then it is left, and may come back
_CONNECTIONS = 64  # at once
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
        try:
            self._server = _Server((_ADDRESS, port), handler)
        except OSError as error:
            raise SerqError(
                f"the page cannot use port {port} ({error.strerror}); choose another with --browser-port"
            ) from error
        self.url = f"http://{_ADDRESS}:{self._server.server_port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

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

    def close(self) -> None:
        """Tell the browsers that nothing more comes, and stop serving."""
        with self._lock:
            for reader in self._readers:
                _end(reader)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

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
                try:
                    reader.put_nowait(event)
                except queue.Full:
                    self._readers.remove(reader)
                    _end(reader)


def _end(reader: queue.Queue[dict[str, Any] | None]) -> None:
    """Let a reader's thread end, whatever waits for it."""
    with reader.mutex:
        reader.queue.clear()
    reader.put_nowait(None)


class _Server(ThreadingHTTPServer):
    """A thread for each connection, and no more of them than browsers need."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or close it where there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: Any) -> None:
        """Print nothing: a browser that leaves, or falls silent, is no error."""


class _Handler(BaseHTTPRequestHandler):
    """Server of the page and its events, to a browser that asked this computer by its own name."""

    page: Page
    protocol_version = "HTTP/1.1"
    timeout = _IDLE

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in (_ADDRESS, "localhost"):  # another site's name that leads here
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path == "/":
            self._send(HTML.read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/events":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_: object) -> None:
        """Log nothing: requests are of no interest."""

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

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
