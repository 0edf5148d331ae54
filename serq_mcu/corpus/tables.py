"""Tables that list recordings: which file, which label, and perhaps speaker and part.

CSV with commas, semicolons or tabs, and JSON Lines, as people write them and as Hugging Face's audiofolder
has them (metadata.csv, metadata.jsonl).
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from serq_mcu.base.files import read_regular
from serq_mcu.corpus.layouts import LABEL, PART, SPEAKER, Tags
from serq_mcu.errors import SerqError

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.tsv", "labels.csv", "labels.tsv", "manifest.csv")
_FILE = "file"
_COLUMNS = {  # what people call them, the likeliest first
    _FILE: ("file", "file_name", "filename", "path", "filepath", "file_path", "audio", "wav", "clip", "name"),
    LABEL: ("label", "emotion", "class", "category", "target", "sentiment"),
    SPEAKER: ("speaker", "speaker_id", "spk", "actor", "actor_id", "subject", "client_id", "person"),
    PART: ("split", "part", "subset", "partition", "set"),
}
_DELIMITERS = ",;\t"
_MOST_BYTES, _MOST_LINE = 1 << 24, 1 << 16  # of a table, and of a line of it
_MOST_ROWS, _MOST_CELLS = 200_000, 1 << 21


class Labelled(Protocol):
    """A recording with its tags, as a table lists them."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def label(self) -> str:
        """Its class."""

    @property
    def speaker(self) -> str:
        """Who speaks; "" where unknown."""

    @property
    def part(self) -> str:
        """Its part, such as train; "" where unknown."""


@dataclass(frozen=True)
class Table:
    """Recordings that a table lists.

    name: of its file. rows: the tags of each file, by its path relative to the corpus, with / between
    folders. unlabelled: how many rows have no label.
    """

    name: str
    rows: Mapping[str, Tags]
    unlabelled: int


def is_table(path: Path) -> bool:
    """Tell whether a path is a file that a table's name may have."""
    return path.suffix.lower() in (".csv", ".tsv", ".jsonl") and path.is_file()


def read_table(path: Path) -> Table:
    """Read a table whose files lie in its own folder or below it.

    Raises SerqError if it cannot be read, has no column for file and label, lists a file twice with
    different labels, or names a file elsewhere.
    """
    rows = list(read_rows(path))
    columns = _columns(rows[0] if rows else {})
    for wanted in (_FILE, LABEL):
        if wanted not in columns:
            raise SerqError(
                f"{path} has no column for the {wanted}; name it {' or '.join(_COLUMNS[wanted][:2])}"
            )
    return _table(path, path.parent, rows, columns, "")


def find_table(folder: Path) -> Table | None:
    """Read the table that a folder carries: its own, or those of its folders train, test and the like.

    Returns None where there is none with labels. Raises SerqError as `read_table` does.
    """
    for place in (folder, *sorted(child for child in folder.iterdir() if child.is_dir())):
        for path in sorted(child for child in place.iterdir() if child.name.lower() in NAMES):
            rows = _probed(path)
            columns = _columns(rows[0] if rows else {})
            if _FILE in columns and LABEL in columns:
                if place == folder:
                    return _table(path, folder, rows, columns, "")
                return _joined(folder, path.name)
    return None


def _probed(path: Path) -> list[dict[str, str]]:
    """Read the rows of what may be a table; none of a manifest that `corpus check` finds fault with."""
    try:
        return list(read_rows(path)) if path.is_file() else []
    except SerqError:
        if path.name.lower() == "manifest.csv":
            return []
        raise


def table_text(path: Path, clips: Iterable[Labelled]) -> str:
    """Return a table of recordings, to be written to `path`.

    Raises SerqError if one of them lies outside the folder of `path`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((_FILE, LABEL, SPEAKER, PART))
    home = os.path.abspath(path.parent)
    for clip in clips:
        inside = PurePosixPath(os.path.relpath(os.path.abspath(clip.path), home))
        if inside.parts[:1] == ("..",):
            raise SerqError(
                f"{clip.path} is outside the folder of {path}; put the table beside the recordings"
            )
        writer.writerow((inside.as_posix(), clip.label, clip.speaker, clip.part))
    return text.getvalue()


def _joined(folder: Path, name: str) -> Table:
    """Read the tables of one name in the folders of the corpus as one."""
    joined: dict[str, Tags] = {}
    unlabelled = 0
    for path in sorted(folder.glob(f"*/{name}")):
        rows = list(read_rows(path))
        table = _table(path, folder, rows, _columns(rows[0] if rows else {}), path.parent.name)
        joined |= table.rows
        unlabelled += table.unlabelled
    return Table(f"*/{name}", joined, unlabelled)


def _table(
    path: Path, folder: Path, rows: list[dict[str, str]], columns: Mapping[str, str], part: str
) -> Table:
    found: dict[str, Tags] = {}
    unlabelled = 0
    for number, row in enumerate(rows, 1):
        file = _inside(path, folder, row.get(columns.get(_FILE, ""), ""), number)
        tags = Tags(*(row.get(columns.get(name, ""), "").strip() for name in (LABEL, SPEAKER, PART)))
        if not tags.label:
            unlabelled += 1
            continue
        if not (tags.label.isprintable() and tags.speaker.isprintable() and tags.part.isprintable()):
            raise SerqError(f"{path}: row {number} has text that is not printable; write it again")
        tags = Tags(tags.label, tags.speaker, tags.part or part)
        if found.setdefault(file, tags) != tags:
            raise SerqError(
                f"{path} lists {file} twice, as {found[file].label} and {tags.label}; keep one row"
            )
    return Table(path.name, found, unlabelled)


def _inside(path: Path, folder: Path, file: str, number: int) -> str:
    """Return a listed file's path relative to the corpus."""
    if not file.strip():
        raise SerqError(f"{path}: row {number} names no file; fill it in or remove the row")
    here = os.path.normpath(os.path.join(path.parent, file.strip().replace("\\", "/")))
    inside = os.path.relpath(here, folder) if "\0" not in here else ".."
    if PurePosixPath(inside).parts[:1] == ("..",):
        raise SerqError(
            f"{path}: row {number} names {file.strip()!a}, which is outside the folder; list files inside it"
        )
    return PurePosixPath(inside).as_posix()


def _columns(row: Mapping[str, str]) -> dict[str, str]:
    """Find the columns of a table, by what they are for."""
    by_name = {name.strip().lower(): name for name in row}
    found = {
        what: next((by_name[name] for name in names if name in by_name), "")
        for what, names in _COLUMNS.items()
    }
    return {what: name for what, name in found.items() if name}


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Read the rows of a table, CSV or JSON Lines, as text by the name of its column.

    Raises SerqError if it cannot be read, is none, or is larger than that of any corpus.
    """
    try:
        text = read_regular(path, _MOST_BYTES).decode("utf-8-sig")
        _require_size(path, text)
        yield from _json_rows(text) if path.suffix.lower() == ".jsonl" else _csv_rows(text)
    except OSError as error:
        raise SerqError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise SerqError(
            f"{path} is not a table that can be read ({error}); save it as CSV in UTF-8"
        ) from error


def _require_size(path: Path, text: str) -> None:
    """Raise SerqError for more than any corpus lists, as each row and cell becomes objects of Python."""
    rows = max(text.count("\n"), text.count("\r"))
    cells = rows * max(text.split("\n", 1)[0].count(sign) for sign in _DELIMITERS)
    if rows > _MOST_ROWS or cells > _MOST_CELLS:
        raise SerqError(
            f"{path} has more than {_MOST_ROWS} rows or {_MOST_CELLS} cells; list the recordings alone"
        )
    if any(len(line) > _MOST_LINE for line in text.splitlines()):
        raise SerqError(f"{path} has a line of more than {_MOST_LINE} characters; write it again")


def _csv_rows(text: str) -> Iterator[dict[str, str]]:
    header = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
        yield {key: value or "" for key, value in row.items() if isinstance(key, str)}


def _json_rows(text: str) -> Iterator[dict[str, str]]:
    for line in filter(str.strip, text.splitlines()):
        row: Any = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("a line is not an object")
        yield {str(key): str(value) for key, value in row.items() if isinstance(value, (str, int))}
