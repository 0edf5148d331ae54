"""What the folders around recordings say: class, speaker, and part (train, test).

Folders are read by their level below the corpus. A level that all recordings share says nothing. Of the
others, names of emotions are classes, and names such as `Actor_01` are speakers and never classes, unless
the user says so by a layout such as `label/*/speaker`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.corpus.emotions import emotion_of
from serq_mcu.errors import SerqError

LABEL, SPEAKER, PART, ANY = "label", "speaker", "part", "*"
_LAYOUT = re.compile(r"(?:label|speaker|part|\*)(?:/(?:label|speaker|part|\*))*")
TRAINS, VALIDATES, TESTS = "train", "validation", "test"
PART_NAMES = {  # of folders, and of what a table says: which part of a corpus it is
    **dict.fromkeys(("train", "training"), TRAINS),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), VALIDATES),
    **dict.fromkeys(("test", "testing", "eval"), TESTS),
}

_SPEAKERS = re.compile(
    r"(?:[^\W\d_]*[ _.-]*\d{1,6}[a-zA-Z]?)"  # Actor_01, 01, s1, M03, 0011a
    r"|(?:[A-Z]{1,3}[ _-]?\d*)"  # DC, KL, EB0
    r"|(?:(?i:(?:fe)?male|(?:wo)?m[ae]n|boys?|girls?))"
    r"|(?:(?i:actor|actress|speaker|spk|subject|subj|participant|person|voice|talker|user|child)s?[ _.-].*)"
)
_CLASSES = re.compile(r"(?i:class|label|emotion|emo|category)[ _.-]*\d+")


@dataclass(frozen=True)
class Tags:
    """What something says of one recording; "" where it says nothing."""

    label: str
    speaker: str = ""
    part: str = ""


@dataclass(frozen=True)
class Foldered:
    """What folders say of recordings.

    levels: what each level of folders is, the innermost last. doubt: why folders give no classes by
    themselves, with what to do; `tags` is empty then.
    """

    tags: Mapping[Path, Tags]
    levels: tuple[str, ...]
    doubt: str = ""

    @property
    def layout(self) -> str:
        """The levels as a layout that `by_layout` reads, from the outermost that says something."""
        said = [index for index, name in enumerate(self.levels) if name != ANY]
        return "/".join(self.levels[said[0] :]) if said else ""

    def label_of(self, folders: Sequence[str]) -> str:
        """Return the class of a recording in these folders; "" where they say none."""
        if LABEL not in self.levels or len(folders) < len(self.levels):
            return ""
        return _tags(folders[-len(self.levels) :], self.levels).label


def names_a_speaker(name: str) -> bool:
    """Tell whether a folder is called as speakers are, and as no emotion."""
    return bool(_SPEAKERS.fullmatch(name)) and not emotion_of(name) and not _CLASSES.fullmatch(name)


def check_layout(layout: str) -> None:
    """Raise SerqError unless a layout names the levels of folders, the label once."""
    levels = layout.split("/")
    if not _LAYOUT.fullmatch(layout) or any(levels.count(name) > 1 for name in (LABEL, SPEAKER, PART)):
        raise SerqError(
            f"{layout!r} is no layout of folders; name each level from the outermost, label, speaker, part or"
            " *, as in label/speaker or part/*/label"
        )
    if LABEL not in levels:
        raise SerqError(f"the layout {layout!r} has no level 'label'; add it, as in {layout}/label")


def by_layout(folder: Path, paths: Iterable[Path], layout: str) -> Foldered:
    """Read the innermost folders as a layout names them; recordings with fewer folders have no tags."""
    levels = tuple(layout.split("/"))
    tags = {}
    for path in paths:
        inside = path.relative_to(folder).parts[:-1]
        if len(inside) >= len(levels):
            tags[path] = _tags(inside[-len(levels) :], levels)
    return Foldered(tags, levels)


def by_folders(folder: Path, paths: Iterable[Path], *, asked: bool = False) -> Foldered:
    """Find out which level of folders has the classes, and which the speakers.

    asked: whether the user says that folders are classes, so that names like those of speakers are taken,
    too. Recordings at another depth than most have no tags.
    """
    inside = {path: path.relative_to(folder).parts[:-1] for path in paths}
    depths = Counter(map(len, inside.values()))
    depth = min(depths, key=lambda each: (-depths[each], each))
    rows = {path: folders for path, folders in inside.items() if len(folders) == depth}
    levels, doubt = _levels(list(zip(*rows.values(), strict=True)), asked=asked)
    tags = {path: _tags(row, levels) for path, row in rows.items()} if LABEL in levels else {}
    return Foldered(tags, tuple(levels), doubt)


def _levels(columns: Sequence[Sequence[str]], *, asked: bool) -> tuple[list[str], str]:
    """Name each level of folders; and say why, if there is doubt about the classes."""
    levels = [ANY] * len(columns)
    varied = [index for index, names in enumerate(columns) if len(set(names)) > 1]
    if not varied:
        return ([*levels[:-1], LABEL] if levels else []), ""
    for index in varied:
        if {name.lower() for name in columns[index]} <= PART_NAMES.keys():
            levels[index] = PART
    rest = [index for index in varied if levels[index] == ANY]
    people = [index for index in rest if _most(columns[index], names_a_speaker)]
    emotions = [index for index in rest if _most(columns[index], emotion_of)]
    others = emotions or [index for index in rest if index not in people]
    label = others[0] if len(others) == 1 else rest[0] if len(rest) == 1 and asked else None
    if label is None:
        return levels, _doubt(columns, rest, people)
    levels[label] = LABEL
    speakers = [i for i in people or rest if i != label and (people or _crossed(columns[i], columns[label]))]
    if len(speakers) == 1:
        levels[speakers[0]] = SPEAKER
    return levels, ""


def _doubt(columns: Sequence[Sequence[str]], rest: Sequence[int], people: Sequence[int]) -> str:
    """Say why levels of folders give no classes by themselves."""
    if len(rest) == 1:
        return (
            f"the folders ({_some(columns[rest[0]])}) are called as speakers are, so they are not taken for"
            " classes; give a table of labels, or --labels folders if they are classes"
        )
    if not rest:
        return "the folders name parts, such as train and test, and no classes; give a table of labels"
    read = " and ".join(f"'{_some(columns[index])}'" for index in rest)
    what = "speakers" if len(people) == len(rest) else "classes"
    return (
        f"the levels of folders {read} may all be {what}; say which is which, as in --labels"
        f" {'/'.join([LABEL, SPEAKER, *[ANY] * (len(rest) - 2)])}"
    )


def _most(names: Sequence[str], true: Callable[[str], object]) -> bool:
    """Tell whether something is true of more than half of the different names."""
    different = set(names)
    return 2 * sum(bool(true(name)) for name in different) > len(different)


def _crossed(names: Sequence[str], labels: Sequence[str]) -> bool:
    """Tell whether each name goes with two labels or more, as a speaker's does."""
    pairs = Counter(name for name, _ in set(zip(names, labels, strict=True)))
    return min(pairs.values()) > 1


def _some(names: Sequence[str]) -> str:
    different = sorted(set(names))
    return ", ".join(different[:3]) + (", …" if len(different) > 3 else "")


def _tags(folders: Sequence[str], levels: Sequence[str]) -> Tags:
    named = dict(zip(levels, folders, strict=True))
    return Tags(named[LABEL], named.get(SPEAKER, ""), named.get(PART, ""))
