"""Recordings of other sounds than the speech of a corpus, by kind."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row["file"] or "": row["kind"] or "" for row in csv.DictReader(file) if row.get("kind")}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise SerqError(f"{path} cannot be read ({error}); it needs the columns file and kind") from error
