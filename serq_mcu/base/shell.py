"""Names that reach a shell, SCons, make or CMake: which are safe there as they are, and what is done else.

PlatformIO and its vendors' builders write paths into command lines that a shell reads, and most of that code
is not ours to mend. So they only ever see plain paths: a project whose path is not plain is built in a copy.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serq_mcu.errors import SerqError

# of no meaning to a shell, SCons, make, CMake, a linker's -Wl, PlatformIO's interpolation
PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
_TEMPORARY = ("/tmp", "/var/tmp")  # where the system's own folder for temporary files is not plain
_ESCAPES = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def is_plain(path: Path) -> bool:
    """Return whether no tool can take a part of the absolute path for anything but a name."""
    return PLAIN.fullmatch(str(path)) is not None


def quoted(word: str | Path) -> str:
    """Quote a word for a command line that somebody may copy into a shell; one line, whatever it holds."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(character) for character in text) + "'"


@contextlib.contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Yield the folder's real path if it is plain, or the path of a copy, which is removed afterwards.

    Links are copied as links. Raises SerqError if no copy can be made.
    """
    place = folder.resolve()
    if is_plain(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="serq-build-", dir=_plain_temporary(folder)) as work:
        copy = Path(work) / "project"
        try:
            shutil.copytree(place, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        except OSError as error:  # shutil.Error, which lists them, is one too
            first = error.args[0][0] if isinstance(error, shutil.Error) else (place, copy, error)
            raise SerqError(f"cannot copy {first[0]} to build it: {first[2]}") from error
        yield copy


def _plain_temporary(folder: Path) -> str:
    for name in (tempfile.gettempdir(), *_TEMPORARY):
        place = Path(name).resolve()
        if is_plain(place) and place.is_dir():
            return str(place)
    raise SerqError(
        f"the path of {folder} has characters that compilers' tools misread, and so has that of temporary"
        " files; set TMPDIR to a folder whose path has only letters, digits and ._+-/"
    )


def _escaped(character: str) -> str:
    if character.isprintable() and character not in _ESCAPES:
        return character
    return _ESCAPES.get(character) or "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
