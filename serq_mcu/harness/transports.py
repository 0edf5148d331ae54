"""Bytes to and from a device: a process (host build, emulator) or a serial port.

The protocol is the same on all.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from serq_mcu.errors import SerqError
from serq_mcu.harness.serial_ports import why_not_open as _why_not_open

FULL = 1.0  # seconds that a line may take no byte; then what is being sent is lost, as it would be on a wire
_CONNECT = 20.0  # seconds within which an emulator connects its line
_BITS = 10  # on a serial line for each byte: start, 8 data, stop
_PIECES = 64  # of at most 64 KiB of a program's output that wait to be read
_BUFFER = 4096  # bytes that may lie before what is being sent, in the computer's serial driver


def offer(pieces: queue.Queue[bytes], data: bytes, closed: threading.Event) -> None:
    """Put a piece of a program's output into a queue when there is room, or never if nobody takes any more.

    The program waits meanwhile, as at a full pipe, so what it writes without end takes no memory.
    """
    while not closed.is_set():
        with contextlib.suppress(queue.Full):
            pieces.put(data, timeout=0.1)
            return


class Transport(Protocol):
    """A byte stream in both directions."""

    name: str  # for messages

    def write(self, data: bytes) -> None:
        """Send `data`; what the other side does not take is lost.

        Raises SerqError if the other side is gone.
        """

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, waiting at most `timeout` seconds for it; b"" if nothing came.

        Raises SerqError if the other side is gone.
        """

    def seconds(self, _count: int) -> float:
        """Return how long `count` bytes take on the line; 0 where that is no time to speak of."""

    def close(self) -> None:
        """Let go of the other side; may be called twice."""


class ProcessTransport:
    """A program that serves the protocol on its standard input and output.

    Raises SerqError if it cannot be started.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.name = os.path.basename(argv[0])
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the transport)
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                bufsize=0,
                start_new_session=True,  # a Ctrl-C is for us, who end the program
            )
        except OSError as error:
            self._messages.close()
            raise SerqError(
                f"cannot start {argv[0]}: {error.strerror}; check that it is installed"
            ) from error
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._arrived: queue.Queue[bytes] = queue.Queue(_PIECES)  # b"" last: it closed its output
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read_all, daemon=True)
        self._reader.start()
        self._ended = False

    def write(self, data: bytes) -> None:
        """Write to the program's standard input."""
        assert self._process.stdin is not None
        try:
            pipe = self._process.stdin.fileno()
            while data:
                if not select.select([], [pipe], [], FULL)[1]:
                    return
                data = data[os.write(pipe, data) :]
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def read(self, timeout: float) -> bytes:
        """Return what the program wrote within `timeout` seconds."""
        if self._ended:
            raise self._gone()
        try:
            data = self._arrived.get(timeout=timeout)
        except queue.Empty:
            return b""
        if not data:
            self._ended = True
            raise self._gone()
        return data

    def seconds(self, _count: int) -> float:
        """Return 0: a pipe takes no time."""
        return 0.0

    def close(self) -> None:
        """End the program: by the end of its input, and by force if it does not heed that."""
        if self._messages.closed:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._closed.set()
        self._reader.join()
        self._process.stdout.close()
        self._messages.close()

    def _read_all(self) -> None:
        assert self._process.stdout is not None
        data = b"begun"
        while data and not self._closed.is_set():
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            offer(self._arrived, data, self._closed)

    def _gone(self) -> SerqError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        said = ""
        if not self._messages.closed:
            self._messages.seek(0)
            said = self._messages.read()[-2000:].decode(errors="replace").strip()
        last = f": {said.splitlines()[-1]}" if said else ""
        return SerqError(
            f"{self.name} ended with exit code {self._process.poll()} before it had answered{last}"
        )


class SocketTransport(ProcessTransport):
    """An emulator that serves the protocol on a socket, to which it connects.

    argv: its command line for a port of this computer, where this waits for it. Raises SerqError if it cannot
    be started or does not connect.
    """

    def __init__(self, argv: Callable[[int], Sequence[str]]) -> None:
        self._line: socket.socket | None = None
        with socket.create_server(("127.0.0.1", 0)) as waiting:
            waiting.settimeout(0.2)
            super().__init__(argv(waiting.getsockname()[1]))
            try:
                self._line = self._connected(waiting)
            except SerqError:
                self.close()
                raise
        self._line.settimeout(FULL)

    def _connected(self, waiting: socket.socket) -> socket.socket:
        until = time.monotonic() + _CONNECT
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                return waiting.accept()[0]
            if self._process.poll() is not None:
                raise self._gone()
        raise SerqError(f"{self.name} did not connect its serial line within {_CONNECT:.0f} s")

    def write(self, data: bytes) -> None:
        """Write to the emulator's serial line."""
        assert self._line is not None
        try:
            with contextlib.suppress(TimeoutError):
                self._line.sendall(data)
        except OSError as error:
            raise self._gone() from error

    def read(self, timeout: float) -> bytes:
        """Return what the emulator's serial line sent within `timeout` seconds."""
        assert self._line is not None
        try:
            if not select.select([self._line], [], [], timeout)[0]:
                return b""
            data = self._line.recv(1 << 16)
        except (OSError, ValueError) as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        return data

    def close(self) -> None:
        """End the emulator, which heeds no end of input."""
        if self._line is not None:
            self._line.close()
        self._process.kill()
        super().close()


class SerialTransport:
    """A serial port, or any other URL that pyserial opens (`socket://host:port`).

    Raises SerqError if it cannot be opened.
    """

    def __init__(self, port: str, baud: int) -> None:
        import serial

        self.name, self._baud = port, baud
        try:
            self._serial: Any = serial.serial_for_url(
                port, baudrate=baud, exclusive=True, write_timeout=FULL + _BITS * _BUFFER / baud
            )
        except (OSError, ValueError) as error:  # serial.SerialException is an OSError
            raise SerqError(_why_not_open(port, error)) from error

    def write(self, data: bytes) -> None:
        """Write to the port."""
        import serial

        try:
            with contextlib.suppress(serial.SerialTimeoutException):
                self._serial.write(data)
        except OSError as error:
            raise self._gone(error) from error

    def read(self, timeout: float) -> bytes:
        """Return what the port received within `timeout` seconds."""
        try:
            self._serial.timeout = timeout
            first: bytes = self._serial.read(1)
            waiting = self._serial.in_waiting if first else 0
            return first + self._serial.read(waiting) if waiting else first
        except (
            OSError,
            TypeError,
        ) as error:  # pyserial 3.5 lets a TypeError out of a port closed by another thread
            raise self._gone(error) from error

    def seconds(self, count: int) -> float:
        """Return how long `count` bytes take at the port's baud rate."""
        return _BITS * count / self._baud

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def _gone(self, error: Exception) -> SerqError:
        return SerqError(f"{self.name} was lost ({error}); check the cable and try again")
