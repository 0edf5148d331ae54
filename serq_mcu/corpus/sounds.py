"""Recordings of other sounds than the speech of a corpus, by kind."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from serq_mcu.corpus.tables import read_rows
from serq_mcu.corpus.walk import find_recordings
from serq_mcu.errors import SerqError

SPEECH = "speech"  # kinds of sounds that begin so are people who speak
MANIFEST = "MANIFEST.csv"


def find_sounds(folder: Path) -> dict[str, list[Path]]:
    """List the recordings in a folder and below it, by kind.

    A kind is what the column `kind` of the folder's MANIFEST.csv says of a `file`, else the name of the
    subfolder, else "sounds". Raises SerqError if there are none, or the list cannot be read.
    """
    paths = sorted(find_recordings(folder).recordings)
    listed = _listed_kinds(folder / MANIFEST)
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        inside = path.relative_to(folder)
        usual = inside.parts[0] if len(inside.parts) > 1 else "sounds"
        found[listed.get(inside.as_posix()) or usual].append(path)
    return dict(sorted(found.items()))


def _listed_kinds(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    rows = [row for row in read_rows(path) if row.get("kind")]
    if not all("file" in row for row in rows):
        raise SerqError(f"{path} has no column file; it needs the columns file and kind")
    return {row["file"]: row["kind"] for row in rows}
