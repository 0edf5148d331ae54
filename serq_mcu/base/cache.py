"""One cache for everything that takes long to compute: bytes by key, and files that must exist on disk.

SQLite from the standard library holds it, since diskcache (no release since 2023) and joblib.Memory pickle
what they store, and nothing that is loaded here may run code. A key contains the code that a value depends
on, so no entry is ever out of date, and the folder may be removed at any time.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from serq_mcu.base.host import cache_folder
from serq_mcu.base.text import shown
from serq_mcu.errors import SerqError

LIMIT_VARIABLE = "SERQ_CACHE_LIMIT"
DEFAULT_LIMIT = 2_000_000_000  # bytes
_KEPT_SHARE = 0.9  # of the limit, after an eviction: the next one is not due at once
_USE_STEP = 3600  # seconds by which the recorded last use may be late, so that most reads write nothing
_AT_A_TIME = 500  # keys in a query; SQLite before 3.32 allows 999 parameters
_WAIT = 30  # seconds for another process to finish writing
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_SOURCES = (".py", ".c", ".h", ".S", ".j2", ".toml")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key BLOB PRIMARY KEY, kind TEXT NOT NULL, used INTEGER NOT NULL, bytes INTEGER NOT NULL,
    digest BLOB NOT NULL, file TEXT, value BLOB);
CREATE INDEX IF NOT EXISTS by_use ON entries (used, kind, bytes);
"""

T = TypeVar("T")
_NOTED: set[Path] = set()  # folders whose note is printed


class Key(NamedTuple):
    """The name of one entry. kind: what it is, for people; digest: SHA-256 of all that decides the value."""

    kind: str
    digest: bytes


@dataclass(frozen=True)
class Usage:
    """Entries of one kind: their number, their bytes, and the last use in seconds since 1970."""

    kind: str
    entries: int
    bytes: int
    used: int


@dataclass(frozen=True)
class CacheInfo:
    """What the cache in `folder` holds, by kind; limit: bytes."""

    folder: Path
    limit: int
    kinds: tuple[Usage, ...]

    @property
    def entries(self) -> int:
        """Return the number of entries of all kinds."""
        return sum(usage.entries for usage in self.kinds)

    @property
    def bytes(self) -> int:
        """Return the bytes of all values and files."""
        return sum(usage.bytes for usage in self.kinds)


# Keys


def key(kind: str, *parts: Any, code: Iterable[str | Path] = (), versions: Iterable[str] = ()) -> Key:
    """Make the key of a value that `parts`, the sources `code` and the libraries `versions` decide.

    parts: JSON values, bytes and numpy arrays. code: modules and packages by dotted name, and files and
    folders; of a package or folder every source file counts, new ones too. versions: names of distributions.
    Sources are read once per process. Raises ValueError for code that does not exist.
    """
    text = json.dumps([kind, parts], sort_keys=True, default=_plain)
    digest = hashlib.sha256(environment_digest(tuple(code), tuple(versions)) + text.encode())
    return Key(kind, digest.digest())


@functools.cache
def environment_digest(code: tuple[str | Path, ...], versions: tuple[str, ...]) -> bytes:
    """Return the SHA-256 of sources and versions, as `key` has them; read once per process."""
    installed = [[name, _version(name)] for name in versions]
    digest = hashlib.sha256(json.dumps(installed).encode())
    for item in code:
        folder = _place(item).parent
        for path in source_files(item):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.digest()


def source_files(item: str | Path) -> list[Path]:
    """List the source files of a module, package, file or folder, sorted; ValueError if there are none."""
    place = _place(item)
    if place.is_file():
        return [place]
    found = sorted(path for path in place.rglob("*") if path.suffix in _SOURCES and path.is_file())
    if not found:
        raise ValueError(f"{place} holds no source file")
    return found


def _place(item: str | Path) -> Path:
    """Return the file or folder of a source.

    Imports no package for it but its parents.
    """
    if isinstance(item, Path):
        return item
    spec = importlib.util.find_spec(item)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ValueError(f"there is no module {item}")
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(str(spec.origin))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": [value.dtype.str, list(value.shape), content]}
    raise TypeError(f"a {type(value).__name__} cannot be part of a cache key")


# Entries


class Cache:
    """Bytes and files by key in the user's cache folder, shared by all processes of the user.

    A folder or disk that cannot be written is no error: nothing is found or stored, and one note on standard
    error says so. Raises SerqError where the folder is not the user's own or others may write to it, and for
    an invalid SERQ_CACHE_LIMIT. clock: seconds since 1970.
    """

    def __init__(
        self, folder: Path | None = None, limit: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder or cache_folder()
        self.limit = size_limit() if limit is None else limit
        self._clock = clock
        self._database = self.folder / "cache.sqlite"
        self._files = self.folder / "files"

    def find(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """Return the intact values among `keys`; damaged ones are left out."""
        return self._attempt(lambda database: self._find(database, keys), {}) if keys else {}

    def keep(self, values: Mapping[Key, bytes]) -> None:
        """Store values, all or none of them; those larger than the limit are left out."""
        rows = [
            (*self._row(key, value), None, value) for key, value in values.items() if len(value) <= self.limit
        ]
        if rows:
            self._attempt(lambda database: self._insert(database, rows), None)

    def remembered(self, key: Key, compute: Callable[[], bytes]) -> bytes:
        """Return the value of `key`, computed and stored if it is not there."""
        found = self.find([key])
        if key not in found:
            found[key] = compute()
            self.keep(found)
        return found[key]

    def file(self, key: Key, suffix: str, build: Callable[[Path], None]) -> Path:
        """Return a file with mode 0755 that `build` wrote to the path it was given, now or before.

        Without a usable cache the file is in a private folder that is removed when this process ends. Raises
        what `build` raises.
        """
        path = self._files / f"{key.kind}-{key.digest.hex()[:32]}{suffix}"
        if self._attempt(lambda database: self._intact(database, key, path), default=False):
            return path
        made = private_file(path.name, build)
        data = made.read_bytes()
        row = (*self._row(key, data), path.name, None)
        stored = len(data) <= self.limit and self._attempt(
            lambda database: self._store(database, path, data, row), default=False
        )
        return path if stored else made

    def info(self) -> CacheInfo:
        """Count what is stored, without creating anything."""
        kinds: list[Usage] = []
        if os.path.exists(self._database):
            query = "SELECT kind, count(*), sum(bytes), max(used) FROM entries GROUP BY kind ORDER BY kind"
            kinds = self._attempt(lambda database: [Usage(*row) for row in database.execute(query)], kinds)
        return CacheInfo(self.folder, self.limit, tuple(kinds))

    def clear(self, kind: str | None = None) -> CacheInfo:
        """Remove all entries, or those of one kind, and return what was removed.

        Raises SerqError if they cannot be removed.
        """
        removed = tuple(usage for usage in self.info().kinds if kind in (None, usage.kind))
        if removed and not self._attempt(lambda database: self._clear(database, kind), default=False):
            raise SerqError(f"cannot remove entries from {self.folder}; check that you may write to it")
        return CacheInfo(self.folder, self.limit, removed)

    def _row(self, key: Key, value: bytes) -> tuple[bytes, str, int, int, bytes]:
        return key.digest, key.kind, int(self._clock()), len(value), _seal(key.digest, value)

    def _find(self, database: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, bytes]:
        found: dict[Key, bytes] = {}
        by_digest = {key.digest: key for key in keys}
        digests, late, now = list(by_digest), [], int(self._clock())
        for start in range(0, len(digests), _AT_A_TIME):
            chunk = digests[start : start + _AT_A_TIME]
            rows = database.execute(
                "SELECT key, used, digest, value FROM entries WHERE value IS NOT NULL AND key IN"
                f" ({','.join('?' * len(chunk))})",
                chunk,
            )
            for digest, used, seal, value in rows:
                if isinstance(value, bytes) and _seal(digest, value) == seal:
                    found[by_digest[digest]] = value
                    if now - used >= _USE_STEP:
                        late.append((now, digest))
        if late:
            _touch(database, late)
        return found

    def _insert(
        self,
        database: sqlite3.Connection,
        rows: Sequence[tuple[Any, ...]],
        publish: Callable[[], None] | None = None,
    ) -> None:
        """Store rows and evict what exceeds the limit; `publish` runs while no other process writes."""
        with database:
            database.execute("BEGIN IMMEDIATE")
            if publish is not None:
                publish()
            database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._evict(database)

    def _evict(self, database: sqlite3.Connection) -> None:
        """Delete the least recently used entries where the limit is exceeded."""
        (total,) = database.execute("SELECT coalesce(sum(bytes), 0) FROM entries").fetchone()
        if total <= self.limit:
            return
        chosen: list[tuple[int]] = []
        for row, size in database.execute("SELECT rowid, bytes FROM entries ORDER BY used"):
            chosen.append((row,))
            total -= size
            if total <= self.limit * _KEPT_SHARE:
                break
        for row in chosen:
            (file,) = database.execute("SELECT file FROM entries WHERE rowid = ?", row).fetchone()
            if file is not None:
                self._unlink(file)
        database.executemany("DELETE FROM entries WHERE rowid = ?", chosen)

    def _intact(self, database: sqlite3.Connection, key: Key, path: Path) -> bool:
        row = database.execute(
            "SELECT bytes, digest FROM entries WHERE key = ? AND file = ?", (key.digest, path.name)
        ).fetchone()
        data = _own_file(path) if row else None
        if data is None or (len(data), _seal(key.digest, data)) != row:
            return False
        _touch(database, [(int(self._clock()), key.digest)])
        return True

    def _store(self, database: sqlite3.Connection, path: Path, data: bytes, row: tuple[Any, ...]) -> bool:
        self._files.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._files, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o755)
            self._insert(database, [row], lambda: os.replace(name, path))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        return path.exists()

    def _clear(self, database: sqlite3.Connection, kind: str | None) -> bool:
        which, values = ("", ()) if kind is None else (" WHERE kind = ?", (kind,))
        with database:
            database.execute("BEGIN IMMEDIATE")
            for (file,) in database.execute(f"SELECT file FROM entries{which}", values):
                if file is not None:
                    self._unlink(file)
            database.execute(f"DELETE FROM entries{which}", values)
        if kind is None:  # what an interrupted process left, too
            shutil.rmtree(self._files, ignore_errors=True)
        with contextlib.suppress(sqlite3.OperationalError):  # somebody reads: the space is reused instead
            database.execute("VACUUM")
        return True

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._files / Path(name).name).unlink()

    def _attempt(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        """Do `work` on the database; a damaged database is removed and made again, once."""
        for first in (True, False):
            try:
                with self._open() as database:
                    return work(database)
            except (sqlite3.Error, OSError) as error:
                if first and type(error) is sqlite3.DatabaseError:  # not a database, or a malformed one
                    self._remove_database()
                    continue
                _note(self.folder, error)
                break
        return default

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(self.folder)
        for path in (self._database, self._files):
            check_own(path)
        with contextlib.closing(sqlite3.connect(self._database, timeout=_WAIT)) as database:
            database.execute("PRAGMA synchronous = NORMAL")
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'by_use'").fetchone():
                database.executescript(_SCHEMA)
            yield database

    def _remove_database(self) -> None:
        for name in (f"{self._database}-journal", self._database):
            with contextlib.suppress(OSError):
                os.unlink(name)


def size_limit() -> int:
    """Read the limit in bytes from SERQ_CACHE_LIMIT ("500 MB"; KB of 1000), else 2 GB.

    Raises SerqError for what is not a size.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_LIMIT
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SerqError(f"{LIMIT_VARIABLE}={text} is not a size; write bytes, or a number with KB, MB or GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _seal(key: bytes, value: bytes) -> bytes:
    """Compute the SHA-256 that binds a value to its key."""
    return hashlib.sha256(key + value).digest()


def _touch(database: sqlite3.Connection, uses: Sequence[tuple[int, bytes]]) -> None:
    """Record last uses (seconds, key); a read-only cache does without."""
    with contextlib.suppress(sqlite3.OperationalError), database:
        database.executemany("UPDATE entries SET used = ? WHERE key = ?", uses)


def _own_file(path: Path) -> bytes | None:
    """Read a regular file that only this user can have written; None if it is not one."""
    try:
        state = path.lstat()
        own = os.name == "nt" or (state.st_uid == os.geteuid() and not state.st_mode & 0o022)
        return path.read_bytes() if stat.S_ISREG(state.st_mode) and own else None
    except OSError:
        return None


def check_private(folder: Path) -> None:
    """Make the folder private to the user.

    Code is loaded from it: raises SerqError if somebody else owns it, may write to it or may replace it.
    """
    if os.name == "nt":  # the user's profile has its own access control
        return
    state, advice = folder.stat(), "set SERQ_CACHE to a folder of your own"
    if state.st_uid != os.geteuid():
        raise SerqError(f"the cache folder {folder} belongs to another user; {advice}")
    if state.st_mode & 0o022:
        raise SerqError(f"others may write to the cache folder {folder}; remove it, or {advice}")
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise SerqError(
                f"everybody may replace the cache folder, since {parent} is open to all; {advice}"
            )
    if state.st_mode & 0o077:
        with contextlib.suppress(OSError):  # on a read-only disk nobody writes
            folder.chmod(0o700)


def check_own(path: Path) -> None:
    """Raise SerqError if what is at the path, if anything, is a link or somebody else's.

    It may have been put there while the folder was open to others.
    """
    if os.name == "nt" or not os.path.lexists(path):
        return
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode) or state.st_uid != os.geteuid():
        raise SerqError(f"{path} in the cache is a link or belongs to another user; remove it")


def private_file(name: str, build: Callable[[Path], None]) -> Path:
    """Return a file with mode 0755 that `build` wrote to a folder of this process, removed when it ends."""
    made = _private_folder() / name
    build(made)
    made.chmod(0o755)
    return made


@functools.cache
def _private_folder() -> Path:
    """Make a folder for this process alone, removed when it ends."""
    folder = tempfile.mkdtemp(prefix="serq-mcu-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _note(folder: Path, error: Exception) -> None:
    """Print on standard error why a cache is not used, once per process and folder."""
    if folder not in _NOTED:
        _NOTED.add(folder)
        note = shown(f"note: the cache folder {folder} cannot be used ({error}); nothing is kept")
        print(note, file=sys.stderr)
