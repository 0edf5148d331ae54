"""Standard output and error as they are found: of any encoding, closed, full, or left by their reader."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

import click

_PLAIN = {ord("…"): "..."} | dict.fromkeys(map(ord, "▏▎▍▌▋▊▉█"), "#")  # for encodings that lack our signs


class Output(io.TextIOBase):
    """A stream that takes any text, writes what its encoding has, and ends quietly when its reader has gone.

    What else the system refuses is an error in one sentence, or nothing where nobody could read that either
    (`lenient`). There is no `buffer`, so that nothing passes this by.
    """

    def __init__(self, below: TextIO, name: str, *, lenient: bool = False) -> None:
        self._below, self._name, self._lenient = below, name, lenient
        self.reader_left = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream below."""
        return self._below.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """How the stream below treats what its encoding lacks."""
        return self._below.errors

    def fileno(self) -> int:
        """Return the number of the file below."""
        return self._below.fileno()

    def isatty(self) -> bool:
        """Return whether a terminal shows it."""
        return self._below.isatty()

    def writable(self) -> bool:
        """Return true: that is what it is for."""
        return True

    def write(self, text: str | bytes) -> int:
        """Write text, or its UTF-8; raises click.ClickException where the system refuses it."""
        if not text:  # so click finds out of which kind a stream is
            if isinstance(text, bytes):
                raise TypeError("this is a stream of text")
            return 0
        text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        with self._refused():
            self._below.write(encodable(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written; raises click.ClickException where the system refuses it."""
        with self._refused():
            self._below.flush()

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._drain()
            if error.errno in (errno.EPIPE, errno.ESHUTDOWN):
                self.reader_left = True
            elif not self._lenient:
                raise click.ClickException(
                    f"cannot write {self._name}: {error.strerror or error}; send it elsewhere"
                ) from error

    def _drain(self) -> None:
        """Let nowhere take what is still to be written, when Python ends too."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._below.fileno())
            os.close(nowhere)


def encodable(text: str, encoding: str) -> str:
    """Return text that an encoding has: plain signs for ours that it lacks, and escapes for all others."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        known = "".join(sign if _has(encoding, sign) else sign.translate(_PLAIN) for sign in text)
        return known.encode(encoding, "backslashreplace").decode(encoding)
    return text


@contextlib.contextmanager
def outputs() -> Iterator[None]:
    """Put such streams in the place of this process's while the block runs; what fails late fails here."""
    found = sys.stdout, sys.stderr
    sys.stdout = out = _output(sys.stdout, "standard output")
    sys.stderr = _output(sys.stderr, "standard error", lenient=True)
    try:
        try:
            yield
        finally:
            out.flush()
            sys.stderr.flush()
    except click.ClickException as error:  # of this flush: click has shown all others
        error.show()
        sys.exit(error.exit_code)
    finally:
        sys.stdout, sys.stderr = found


def _output(below: TextIO | None, name: str, *, lenient: bool = False) -> Output:
    if isinstance(below, Output):
        return below
    # none: it was closed before this began
    return Output(below or io.TextIOWrapper(io.BytesIO(), "utf-8"), name, lenient=lenient)


def _has(encoding: str, sign: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
