"""Pooled features that were computed before, in one SQLite file of the user's cache folder.

A key is a digest of all that decides the features, so nothing in here is ever out of date, and the file may
be removed at any time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.host import cache_folder

_AT_A_TIME = 500  # keys in a query


class FeatureCache:
    """Feature vectors int32 [features] by key.

    Where the file cannot be used, it finds nothing and keeps nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_folder() / "features.sqlite"

    def find(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.int32]]:
        """The vectors that are known, by key."""
        found: dict[bytes, NDArray[np.int32]] = {}
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as database:
            for start in range(0, len(keys), _AT_A_TIME):
                chunk = keys[start : start + _AT_A_TIME]
                rows = database.execute(
                    f"SELECT key, value FROM features WHERE key IN ({','.join('?' * len(chunk))})", chunk
                )
                found |= {key: np.frombuffer(value, dtype="<i4").astype(np.int32) for key, value in rows}
        return found

    def keep(self, vectors: Mapping[bytes, NDArray[np.int32]]) -> None:
        """Add vectors, all or none of them."""
        rows: Iterable[tuple[bytes, bytes]] = (
            (key, value.astype("<i4").tobytes()) for key, value in vectors.items()
        )
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as database, database:
            database.executemany("INSERT OR IGNORE INTO features VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT"
                " ROWID"
            )
            yield database
