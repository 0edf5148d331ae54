"""Pages that this computer serves to its own browsers, on 127.0.0.1 only."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serq_mcu.errors import SerqError

_ADDRESS = "127.0.0.1"
_IDLE = 10.0  # seconds that a browser may take to ask, or to take what it is sent
_CONNECTIONS = 64  # at once


class LocalServer:
    """A server at `url`, in threads of its own, until it is closed.

    handler: a class that answers paths. Raises SerqError if the port is taken; 0 takes a free one.
    """

    def __init__(self, port: int, handler: type[LocalHandler]) -> None:
        try:
            self.server = _Server((_ADDRESS, port), handler)
        except OSError as error:
            raise SerqError(
                f"the page cannot use port {port} ({error.strerror}); choose another with --browser-port"
            ) from error
        self.url = f"http://{_ADDRESS}:{self.server.server_port}/"
        self._thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class LocalHandler(BaseHTTPRequestHandler, ABC):
    """Answers to a browser that asked this computer by its own name; to others, a refusal.

    policy: the Content-Security-Policy of all that is sent.
    """

    policy = "default-src 'none'"
    protocol_version = "HTTP/1.1"
    timeout = _IDLE

    @abstractmethod
    def answer(self, path: str) -> bool:
        """Send what is at a path, and return whether there was anything."""

    def do_GET(self) -> None:
        """Answer a request for a page, a file or events."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in (_ADDRESS, "localhost"):  # another site's name that leads here
            self.send_error(HTTPStatus.FORBIDDEN)
        elif not self.answer(self.path):
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_: object) -> None:
        """Log nothing: requests are of no interest."""

    def send(self, body: bytes, kind: str) -> None:
        """Send a whole body of a media type."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.policy)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


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
