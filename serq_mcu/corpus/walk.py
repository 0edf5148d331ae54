"""Which files of a folder are recordings, and what else it holds, by kind.

Nothing is left out without being counted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.corpus.tables import NAMES as TABLES
from serq_mcu.errors import SerqError

# what read_audio decodes, the last row with ffmpeg
SUFFIXES = (
    *(".wav", ".wave", ".flac", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph"),
    *(".mp3", ".ogg", ".oga", ".opus"),
    *(".m4a", ".aac", ".webm", ".wma", ".amr", ".3gp"),
)
LOSSY = SUFFIXES[12:]
MEDIA = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".mpg", ".mpeg", ".wmv", ".flv", ".raw", ".pcm")
LINKED_AGAIN = "linked folders that were read already"


@dataclass(frozen=True)
class Found:
    """What is in a folder.

    recordings: paths, the shallowest first. passed_over: how many files or folders of each kind are neither
    a recording nor read. media: paths of the files among them that hold sound or video.
    """

    recordings: tuple[Path, ...]
    passed_over: Counter[str]
    media: tuple[Path, ...]


def find_recordings(folder: Path) -> Found:
    """List the recordings in a folder and below it.

    Linked folders are followed, each folder once. Hidden files and what macOS leaves in archives are passed
    over. Raises SerqError if the folder is missing or cannot be listed, holds no recording, or a
    recording's name is not printable text.
    """
    if not folder.is_dir():
        raise SerqError(f"{folder} is not a folder; give the folder that holds the recordings")
    paths: list[Path] = []
    media: list[Path] = []
    passed_over: Counter[str] = Counter()
    for path in _files(folder, passed_over):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            paths.append(path)
            continue
        if path.name.lower() in TABLES:
            continue
        passed_over[f"{suffix or 'no suffix'} files"] += 1
        if suffix in MEDIA:
            media.append(path)
    if not paths:
        others = f" (but {counted(passed_over)})" if passed_over else ""
        raise SerqError(
            f"{folder} holds no recording{others}: no .wav, .flac, .mp3 or other sound file; give the folder"
            " that holds the recordings"
        )
    for path in paths:
        if not str(path.relative_to(folder)).isprintable():
            raise SerqError(
                f"{folder}: the name {str(path.relative_to(folder))!a} is not printable text; rename it"
            )
    paths.sort(key=lambda path: (len(path.parts), path.parts))
    return Found(tuple(paths), passed_over, tuple(media))


def counted(kinds: Counter[str]) -> str:
    """Return counts of kinds as words, the most first."""
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _files(folder: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """Yield the files below a folder, first those that no link leads to; count what is passed over."""
    seen: set[tuple[int, int]] = set()
    links = [folder]
    while links:
        start = links.pop(0)
        home = folder.resolve()
        if start != folder and home.is_relative_to(start.resolve()):
            passed_over[LINKED_AGAIN] += 1
            continue
        for parent, folders, names in os.walk(start, onerror=_cannot_list):
            if not _first_time(Path(parent), seen):
                passed_over[LINKED_AGAIN] += 1
                folders.clear()
                continue
            hidden = [name for name in folders if name.startswith(".") or name == "__MACOSX"]
            passed_over.update({"hidden folders": len(hidden)} if hidden else {})
            kept = sorted(set(folders) - set(hidden))
            links += [Path(parent, name) for name in kept if Path(parent, name).is_symlink()]
            folders[:] = [name for name in kept if not Path(parent, name).is_symlink()]
            for name in sorted(names):
                if name.startswith("."):
                    passed_over["hidden files"] += 1
                elif Path(parent, name).is_file():
                    yield Path(parent, name)
                else:
                    passed_over["broken links or devices"] += 1


def _first_time(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Tell whether a folder is met for the first time, by its place on the disk."""
    status = folder.stat()
    place = status.st_dev, status.st_ino
    if place in seen:
        return False
    seen.add(place)
    return True


def _cannot_list(error: OSError) -> None:
    raise SerqError(f"cannot read the folder {error.filename}: {error.strerror}") from error
