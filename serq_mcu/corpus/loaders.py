"""A folder of recordings to clips with labels and speakers.

Three things may say what a recording is: its file name, as published corpora have it (`RULES`; another one is
one more row of that table), a table (`tables.py`), and the folders around it (`layouts.py`). Where two of
them give different classes, nothing is read until the user has chosen.

EMO-DB: Burkhardt et al., "A database of German emotional speech", Interspeech 2005. SAVEE: Haq and Jackson,
"Multimodal emotion recognition", 2010. TESS: Pichora-Fuller and Dupuis, "Toronto emotional speech set", 2020.
RAVDESS: Livingstone and Russo, "The Ryerson audio-visual database of emotional speech and song", PLoS ONE,
2018 (its spoken, audio-only files). CREMA-D: Cao et al., "CREMA-D: crowd-sourced emotional multimodal actors
dataset", IEEE Transactions on Affective Computing, 2014. nEMO: Christop, "nEMO: dataset of emotional speech
in Polish", LREC-COLING 2024.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from serq_mcu.base.files import file_digest
from serq_mcu.corpus.audio import MOST_BYTES
from serq_mcu.corpus.emotions import emotion_of
from serq_mcu.corpus.layouts import LABEL, Tags, by_folders, by_layout, check_layout
from serq_mcu.corpus.tables import Table, find_table, is_table, read_table
from serq_mcu.corpus.walk import LOSSY, SUFFIXES, Found, find_recordings
from serq_mcu.errors import SerqError

MAX_LABEL_BYTES = 64
PLAIN = "plain"
NAMES, FOLDERS, TABLE = "names", "folders", "table"


@dataclass(frozen=True)
class Clip:
    """One recording.

    `name` is unique in its corpus: the published base name, or else the path in the folder without suffix.
    `part` is what the folder or table says of it, such as train or test; where there are two, training takes
    them.
    """

    path: Path
    name: str
    label: str
    speaker: str  # "" where unknown
    intensity: str = (
        ""  # how strongly the emotion is acted: low, medium, normal or high; "" where the name does not say
    )
    part: str = ""
    corpus: str = ""  # which of several it is of; "" where there is one


@dataclass(frozen=True)
class Corpus:
    """Labelled recordings: clips sorted by name, labels sorted."""

    name: str
    folder: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class NamingRule:
    """How one corpus names its files.

    `pattern` is matched against the whole stem, then against `folder/stem`. Its groups `emotion` and
    `speaker` are looked up in `labels` and `speakers` (a speaker that is not there stands for itself),
    `intensity`, if there is one, in `intensities`; `name` makes the base name from all groups. `faults` says
    of published recordings, by name, what is known to be wrong with them. `relatives` are patterns of files
    that the publisher offers beside the corpus and that are no part of it, by what they are.
    """

    corpus: str
    title: str
    example: str
    pattern: str
    labels: Mapping[str, str]
    speakers: Mapping[str, str] = field(default_factory=dict)
    name: str = "{stem}"
    intensities: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    relatives: Mapping[str, str] = field(default_factory=dict)

    def relative(self, path: Path) -> str:
        """Return which of `relatives` a file is; "" if none."""
        kinds = (kind for kind, pattern in self.relatives.items() if re.fullmatch(pattern, path.stem))
        return next(kinds, "")

    def clip(self, path: Path) -> Clip | None:
        """Return the clip that `path` names, or None if this corpus does not name its files so."""
        match = re.fullmatch(self.pattern, path.stem) or re.fullmatch(
            self.pattern, f"{path.parent.name}/{path.stem}"
        )
        if match is None:
            return None
        groups = match.groupdict()
        speaker = self.speakers.get(groups["speaker"], groups["speaker"])
        intensity = self.intensities.get(groups.get("intensity", ""), "")
        return Clip(
            path,
            self.name.format(stem=path.stem, **groups),
            self.labels[groups["emotion"]],
            speaker,
            intensity,
        )


RULES = (
    NamingRule(
        corpus="emodb",
        title="EMO-DB",
        example="03a01Fa.wav",
        pattern=r"(?P<speaker>[0-9]{2})[ab][0-9]{2}(?P<emotion>[WLEAFTN])[a-z]",
        labels={
            "W": "anger",
            "L": "boredom",
            "E": "disgust",
            "A": "fear",
            "F": "happiness",
            "T": "sadness",
            "N": "neutral",
        },
    ),
    NamingRule(
        corpus="savee",
        title="SAVEE",
        example="DC_a01.wav or DC/a01.wav",
        pattern=r"(?P<speaker>DC|JE|JK|KL)[_/](?P<emotion>sa|su|[adfhn])(?P<number>[0-9]{1,2})",
        labels={
            "a": "anger",
            "d": "disgust",
            "f": "fear",
            "h": "happiness",
            "n": "neutral",
            "sa": "sadness",
            "su": "surprise",
        },
        name="{speaker}_{emotion}{number:0>2}",
    ),
    NamingRule(
        corpus="tess",
        title="TESS",
        example="OAF_back_angry.wav",
        pattern=r"(?P<speaker>OAF?|YAF)_[a-z]+_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)",
        labels={
            "angry": "anger",
            "disgust": "disgust",
            "fear": "fear",
            "happy": "happiness",
            "neutral": "neutral",
            "ps": "surprise",  # "pleasant surprise"
            "sad": "sadness",
        },
        speakers={"OA": "OAF"},  # the published OA_bite_neutral.wav
    ),
    NamingRule(
        corpus="ravdess",
        title="RAVDESS (speech)",
        example="03-01-05-01-02-01-12.wav",
        pattern=(
            r"03-01-(?P<emotion>0[1-8])-(?P<intensity>0[12])-0[12]-0[12]-(?P<speaker>0[1-9]|1[0-9]|2[0-4])"
        ),
        labels={
            "01": "neutral",
            "02": "calm",
            "03": "happiness",
            "04": "sadness",
            "05": "anger",
            "06": "fear",
            "07": "disgust",
            "08": "surprise",
        },
        intensities={"01": "normal", "02": "high"},
        faults={"03-01-03-01-02-02-07": "published twice: the same recording as 03-01-03-01-02-01-07"},
        relatives={"songs": r"0[1-3]-02(-[0-9]{2}){5}", "videos": r"0[12]-01(-[0-9]{2}){5}"},
    ),
    NamingRule(
        corpus="nemo",
        title="nEMO",
        example="EB0_anger_10.wav",
        pattern=r"(?P<speaker>[A-Z]{2}[0-9])_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised)_[0-9]+",
        labels={
            "anger": "anger",
            "fear": "fear",
            "happiness": "happiness",
            "neutral": "neutral",
            "sadness": "sadness",
            "surprised": "surprise",
        },
    ),
    NamingRule(
        corpus="crema-d",
        title="CREMA-D",
        example="1001_DFA_ANG_XX.wav",
        pattern=r"(?P<speaker>10[0-9]{2})_[A-Z]{3}_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)",
        labels={
            "ANG": "anger",
            "DIS": "disgust",
            "FEA": "fear",
            "HAP": "happiness",
            "NEU": "neutral",
            "SAD": "sadness",
        },
        intensities={"LO": "low", "MD": "medium", "HI": "high"},  # XX, once X: not specified
        faults={
            "1076_MTI_SAD_XX": "published without sound",
            "1006_TIE_HAP_XX": "published under two emotions: the same recording as 1006_TIE_NEU_XX",
            "1013_WSI_DIS_XX": "published under two emotions: the same recording as 1013_WSI_SAD_XX",
            "1017_IWW_ANG_XX": "published under two emotions: the same recording as 1017_IWW_FEA_XX",
        },
    ),
)

RELATIVES = tuple(kind for rule in RULES for kind in rule.relatives)
_NAMING_HELP = (
    "; ".join(f"{rule.title} as {rule.example}" for rule in RULES) + "; anything else as label/clip.wav"
)


@dataclass(frozen=True)
class CorpusOptions:
    """How a folder is read, where it does not say so itself.

    labels: what gives the classes: `names`, `folders`, `table`, or a layout of folders such as
    speaker/label; "" for what the folder has, if all that it has agrees. speaker_pattern: a regular
    expression that is searched in a recording's path inside the folder, without suffix; its first group, or
    the one with the name speaker, is the speaker. skip: which of RELATIVES to pass over.
    """

    labels: str = ""
    speaker_pattern: str = ""
    skip: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise SerqError if the options are none that can be used."""
        if self.labels not in ("", NAMES, FOLDERS, TABLE):
            check_layout(self.labels)
        for kind in self.skip:
            if kind not in RELATIVES:
                raise SerqError(f"there are no {kind!r} to skip; {' and '.join(RELATIVES)} can be skipped")
        try:
            groups = re.compile(self.speaker_pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise SerqError(
                f"the speaker pattern {self.speaker_pattern!r} is no regular expression ({error}); mend it"
            ) from error
        if self.speaker_pattern and not groups:
            raise SerqError(
                f"the speaker pattern {self.speaker_pattern!r} has no group; put the speaker's part in"
                " parentheses, as in '([^_]+)_.*'"
            )


AS_FOUND = CorpusOptions()


@dataclass(frozen=True)
class Scan:
    """All that a folder holds, before it is called fit for use.

    basis: what gave the classes, in words. passed_over: how many files or folders of each kind are not read.
    """

    corpus: str
    folder: Path
    basis: str
    clips: tuple[Clip, ...]
    copies: tuple[tuple[Path, Path], ...]  # a byte-identical copy of a clip, and the clip
    conflicts: tuple[tuple[Path, Path], ...]  # another file of the same name, and the clip
    unrecognised: tuple[Path, ...]
    relatives: tuple[tuple[Path, str], ...]  # a file that is no part of the corpus, and which of RELATIVES
    missing: tuple[str, ...]  # files that the table lists
    lost: Mapping[str, int]  # by class: files without one that is read
    passed_over: Mapping[str, int]
    hint: str = ""  # which parts of the names may be speakers

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the clips, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))

    @property
    def corpora(self) -> tuple[str, ...]:
        """The published corpora whose names the files have; none if others gave the classes."""
        return () if self.corpus == PLAIN else tuple(self.corpus.split("+"))


def load_corpus(source: Path, options: CorpusOptions = AS_FOUND) -> Corpus:
    """List the clips of a folder, or of a table (.csv, .tsv, .jsonl) beside its recordings.

    Reads no audio. Byte-identical copies of a clip (TESS is often unpacked twice) count once. Raises
    SerqError if the folder is missing or empty, its names, folders and table give different classes, has
    files that none of them explains, two different files of one name, fewer than two classes, or a class
    name that is not printable or longer than 64 bytes.
    """
    scan = scan_folder(source, options)
    if scan.relatives:
        path, kind = scan.relatives[0]
        raise SerqError(
            f"{source}: {_files(len(scan.relatives))} no part of the corpus but of its {kind} (such as"
            f" {path.name}); skip them with --skip {kind}, or remove them"
        )
    if scan.unrecognised:
        count, first = len(scan.unrecognised), scan.unrecognised[0]
        raise SerqError(
            f"{source}: {_files(count)} not named as {_layout(scan)} (such as {first.name}); rename or remove"
            f"{_other_way(scan)}"
        )
    if scan.missing:
        raise SerqError(
            f"{source}: {_files(len(scan.missing))} listed and not there (such as {scan.missing[0]}); add"
            f" {'it' if len(scan.missing) == 1 else 'them'}, or take out the rows"
        )
    if scan.conflicts:
        other, kept = (path.relative_to(scan.folder) for path in scan.conflicts[0])
        raise SerqError(
            f"{source}: {other} and {kept} are different recordings of one name; keep one of them"
        )
    return Corpus(scan.corpus, scan.folder, scan.clips, scan.labels)


def scan_folder(source: Path, options: CorpusOptions = AS_FOUND) -> Scan:
    """List everything in a folder, for `load_corpus` and the check.

    Raises SerqError as `load_corpus` does, except for files that nothing explains, of which there are
    different ones of one name, or that are listed and not there: it lists them.
    """
    options.check()
    given = read_table(source) if is_table(source) else None
    folder = source.parent if given else source
    found = _listed_files(source, given) if given else find_recordings(folder)
    reader = _Reader(folder, found, given or find_table(folder), options)
    basis, corpus, clips = reader.read(table_given=given is not None)
    if not clips:
        raise SerqError(
            f"{source}: no file is named as a known corpus names it ({_NAMING_HELP}); rename the files or"
            " choose another folder"
        )
    labels = {clip.label for clip in clips.values()}
    for label in labels:
        _check_label(label)
    if len(labels) < 2:
        raise SerqError(
            f"{source}: every recording is of class {labels.pop()!r}; a corpus needs at least two classes;"
            " add recordings of another, or choose another folder"
        )
    kept, copies, conflicts = _by_name(clips.values())
    others = [path for path in reader.paths if path not in clips]
    nested = dict(_nested_copies(folder, others, kept))
    passed_over = reader.passed_over
    if basis.startswith(TABLE):
        unlisted = [path for path in others if path not in nested]
        passed_over += Counter({"recordings that the table does not list": len(unlisted)})
        others = []
    clips_named = tuple(_with_speakers(folder, kept, options.speaker_pattern))
    return Scan(
        corpus=corpus,
        folder=folder,
        basis=basis,
        clips=clips_named,
        copies=(*copies, *nested.items()),
        conflicts=tuple(conflicts),
        unrecognised=tuple(path for path in others if path not in nested and path not in reader.relatives),
        relatives=tuple((path, kind) for path, kind in reader.relatives.items() if path in others),
        missing=reader.missing if basis.startswith(TABLE) else (),
        lost=reader.lost(corpus, labels),
        passed_over=dict(passed_over.most_common()),
        hint=_speaker_hint(clips_named),
    )


def _listed_files(source: Path, table: Table) -> Found:
    """Find the recordings of a table that was given itself, beside which other files may lie."""
    found = [path for file in table.rows if (path := _existing(source.parent / file))]
    if not found:
        raise SerqError(f"{source} lists no file that is there; list paths from the table's own folder")
    return Found(tuple(sorted(set(found))), Counter(), ())


def _existing(path: Path) -> Path | None:
    """Return a file's path, or that of a recording whose name has another suffix or one more."""
    names = [path, *(path.with_suffix(s) for s in SUFFIXES), *(Path(f"{path}{s}") for s in SUFFIXES)]
    return next((name for name in names if name.is_file()), None)


class _Reader:
    """What names, folders and a table say of the recordings of a folder, and which of them is believed."""

    def __init__(self, folder: Path, found: Found, table: Table | None, options: CorpusOptions) -> None:
        self._folder, self._found, self._table, self._options = folder, found, table, options
        self.passed_over = Counter(found.passed_over)
        kinds = {path: kind for path in found.recordings if (kind := _relative_kind(path))}
        skipped = {path: kind for path, kind in kinds.items() if kind in options.skip}
        self.passed_over.update(skipped.values())
        self.relatives = {path: kind for path, kind in kinds.items() if path not in skipped}
        kept = [path for path in found.recordings if path not in skipped]
        self._named = _named(kept)
        self.paths = _without_lossy_copies(kept, self._named)
        if len(self.paths) < len(kept):
            self.passed_over["lossy copies of other files"] = len(kept) - len(self.paths)
            self._named = {path: self._named[path] for path in self.paths if path in self._named}
        self._listed, self.missing = _listed(folder, self.paths, table) if table else ({}, ())
        if table and table.unlabelled:
            self.passed_over["rows of the table without a label"] += table.unlabelled
        self._foldered = by_folders(folder, self.paths, asked=options.labels == FOLDERS)
        if LABEL in options.labels.split("/"):
            self._foldered = by_layout(folder, self.paths, options.labels)

    def read(self, *, table_given: bool) -> tuple[str, str, dict[Path, Clip]]:
        """Return what gave the classes, in words, the corpus, and the clips.

        table_given: whether the user named the table itself. Raises SerqError if there is a choice that the
        user must make.
        """
        asked = self._options.labels or (TABLE if table_given else "")
        chosen = asked if asked in ("", NAMES, FOLDERS, TABLE) else FOLDERS
        if chosen == TABLE and self._table is None:
            raise SerqError(
                f"{self._folder} has no table with a column for file and label; add metadata.csv, or choose"
                " other --labels"
            )
        if chosen == FOLDERS and not self._foldered.tags:
            doubt = self._foldered.doubt or "no such folders are around the recordings; choose other --labels"
            raise SerqError(f"{self._folder}: {doubt}")
        return self._clips(chosen or self._automatic())

    def _clips(self, chosen: str) -> tuple[str, str, dict[Path, Clip]]:
        if chosen == NAMES:
            corpora = sorted({corpus for corpus, _ in self._named.values()})
            titles = " and ".join(title_of(corpus) for corpus in corpora)
            clips = {path: clip for path, (_, clip) in self._named.items()}
            if len(corpora) > 1:
                clips = {
                    path: replace(clip, speaker=f"{self._named[path][0]}/{clip.speaker}")
                    for path, clip in clips.items()
                }
            return f"file names ({titles})", "+".join(corpora), clips
        tags, basis = self._foldered.tags, f"folders ({self._foldered.layout}/clip)"
        if chosen == TABLE and self._table is not None:
            tags, basis = self._listed, f"table {self._table.name}"
        return basis, PLAIN, {path: self._tagged(path, own) for path, own in tags.items()}

    def _tagged(self, path: Path, tags: Tags) -> Clip:
        """Make a clip of what a table or folders say; who speaks, its name may say."""
        name = path.relative_to(self._folder).with_suffix("").as_posix()
        corpus, named = self._named.get(path, ("", None))
        speaker = tags.speaker or (f"{corpus}/{named.speaker}" if named else "")
        return Clip(path, name, tags.label, speaker, named.intensity if named else "", tags.part)

    def _automatic(self) -> str:
        """Choose what gives the classes, if all that could do so agrees."""
        known = len(self._named) + len(self.relatives)
        folders = self._foldered.tags
        readings: dict[str, Mapping[Path, Clip]] = {}
        if 2 * known > len(self.paths):
            readings[NAMES] = {path: clip for path, (_, clip) in self._named.items()}
        if self._listed:
            readings[TABLE] = self._clips(TABLE)[2]
        if len({tags.label for tags in folders.values()}) > 1:
            readings[FOLDERS] = self._clips(FOLDERS)[2]
        for chosen in readings:
            for other in readings:
                if other != chosen and _disagree(readings[chosen], readings[other]):
                    raise self._choice(readings)
            return chosen
        if self._named:
            return NAMES
        if not folders and self._foldered.doubt:
            raise SerqError(f"{self._folder}: {self._foldered.doubt}")
        return FOLDERS

    def _choice(self, readings: Mapping[str, Mapping[Path, Clip]]) -> SerqError:
        said = "; ".join(
            f"by {name} "
            + ", ".join(f"{label} {count}" for label, count in sorted(_label_sizes(clips.values()).items()))
            for name, clips in readings.items()
        )
        ways = " or ".join(f"--labels {name}" for name in readings)
        ways += " to train or corpus check; its --table writes the choice down for all other commands"
        which = " and ".join(readings)
        return SerqError(f"{self._folder}: its {which} give different classes: {said}; give {ways}")

    def lost(self, corpus: str, labels: set[str]) -> dict[str, int]:
        """Count the files that are not read, of classes of which nothing is read."""
        counts: Counter[str] = Counter()
        for path in self._found.media:
            named = _rule_clip(path)
            folders = path.relative_to(self._folder).parts[:-1]
            label = (named[1].label if named else "") if corpus != PLAIN else self._foldered.label_of(folders)
            counts[label] += label not in labels | {""}
        return dict(+counts)


def title_of(corpus: str) -> str:
    """Return the name that people know a published corpus by."""
    return next(rule.title for rule in RULES if rule.corpus == corpus)


def _rule_clip(path: Path) -> tuple[str, Clip] | None:
    clips = ((rule.corpus, clip) for rule in RULES if (clip := rule.clip(path)))
    return next(clips, None)


def _relative_kind(path: Path) -> str:
    return next((kind for rule in RULES if (kind := rule.relative(path))), "")


def _named(paths: Iterable[Path]) -> dict[Path, tuple[str, Clip]]:
    return {path: found for path in paths if (found := _rule_clip(path))}


def _listed(folder: Path, paths: Iterable[Path], table: Table) -> tuple[dict[Path, Tags], tuple[str, ...]]:
    """Find the recordings that a table lists, also under another suffix; and list what is not there."""
    by_file = {path.relative_to(folder).as_posix(): path for path in paths}
    by_stem = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    found: dict[Path, Tags] = {}
    missing = []
    for file, tags in table.rows.items():
        path = by_file.get(file) or by_stem.get(str(Path(file).with_suffix("")) if Path(file).name else file)
        path = path or by_stem.get(file)
        if path is None:
            missing.append(file)
        else:
            found[path] = tags
    return found, tuple(missing)


def _disagree(chosen: Mapping[Path, Clip], other: Mapping[Path, Clip]) -> bool:
    """Tell whether another reading gives other classes, or parts those of the chosen one.

    Speakers may have folders of their own within a class, such as OAF_angry and YAF_angry.
    """
    merged: dict[str, set[str]] = defaultdict(set)
    parted: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in chosen.keys() & other.keys():
        clip, label = chosen[path], other[path].label
        merged[label].add(clip.label)
        if clip.speaker:
            parted[clip.label, clip.speaker].add(label)
        own, others = emotion_of(clip.label), emotion_of(label)
        if own and others and own != others:
            return True
    return any(len(labels) > 1 for labels in (*merged.values(), *parted.values()))


def _without_lossy_copies(paths: Iterable[Path], named: Mapping[Path, tuple[str, Clip]]) -> tuple[Path, ...]:
    """Leave out what was compressed where a lossless file of the same name is there."""
    names = {path: named[path][1].name if path in named else str(path.with_suffix("")) for path in paths}
    lossless = {name for path, name in names.items() if path.suffix.lower() not in LOSSY}
    return tuple(
        path for path, name in names.items() if path.suffix.lower() not in LOSSY or name not in lossless
    )


def _by_name(clips: Iterable[Clip]) -> tuple[list[Clip], list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """Keep a clip of each name; returns them by name, second copies, and files that conflict with a clip."""
    by_name: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_name[clip.name].append(clip)
    copies: list[tuple[Path, Path]] = []
    conflicts: list[tuple[Path, Path]] = []
    for first, *others in by_name.values():
        for other in others:
            (copies if _same_bytes(first.path, other.path) else conflicts).append((other.path, first.path))
    return [by_name[name][0] for name in sorted(by_name)], copies, conflicts


def _nested_copies(
    folder: Path, others: Iterable[Path], clips: Iterable[Clip]
) -> Iterator[tuple[Path, Path]]:
    """Find files in further folders that are copies of clips, as of a folder inside itself."""
    by_inside = {clip.path.relative_to(folder).parts: clip.path for clip in clips}
    for path in others:
        parts = path.relative_to(folder).parts
        for start in range(1, len(parts)):
            kept = by_inside.get(parts[start:])
            if kept is not None and _same_bytes(kept, path):
                yield path, kept
                break


def _with_speakers(folder: Path, clips: Iterable[Clip], pattern: str) -> Iterator[Clip]:
    """Set the speakers that a pattern finds in the clips' paths.

    Raises SerqError where it finds none.
    """
    for clip in clips:
        if pattern:
            inside = clip.path.relative_to(folder).with_suffix("").as_posix()
            match = re.search(pattern, inside)
            groups = (match.groupdict() | {"": match[1]}) if match else {}
            speaker = groups.get("speaker") or groups.get("")
            if not speaker:
                raise SerqError(
                    f"the speaker pattern {pattern!r} finds no speaker in {inside}; change it so that it fits"
                    " every recording"
                )
            clip = replace(clip, speaker=speaker)
        yield clip


_TOKEN = re.compile(r"([^_. -]+)([_. -]).*")


def _speaker_hint(clips: Iterable[Clip]) -> str:
    """Say what may be speakers in the names of recordings whose speakers are not known; "" if nothing may."""
    labels: dict[str, set[str]] = defaultdict(set)
    separators: set[str] = set()
    count = 0
    for clip in clips:
        match = _TOKEN.fullmatch(clip.path.stem)
        if clip.speaker or match is None:
            return ""
        count += 1
        labels[match[1]].add(clip.label)
        separators.add(match[2])
    if not 2 <= len(labels) <= count / 3 or len(separators) > 1 or min(map(len, labels.values())) < 2:
        return ""
    first, second, *rest = sorted(labels)
    separator = re.escape(separators.pop())
    return (
        f"{len(labels)} beginnings of names go with several classes each ({first}, {second}"
        f"{', …' if rest else ''}); if they are speakers, give --speaker-pattern"
        f" '([^/{separator}]+){separator}[^/]*$'"
    )


def _check_label(label: str) -> None:
    """Raise SerqError unless a class name fits in C, in model files and on terminals.

    Any printable text will do (`find_recordings` and `read_table` see to that).
    """
    if not label.strip():
        raise SerqError("a class folder's name is blank; rename it")
    if len(label.encode()) > MAX_LABEL_BYTES:
        raise SerqError(
            f"the class name {label[:20]!r}... is longer than {MAX_LABEL_BYTES} bytes; rename its folder"
        )


def _same_bytes(first: Path, second: Path) -> bool:
    try:
        if first.stat().st_size != second.stat().st_size:
            return False
        return file_digest(first, MOST_BYTES) == file_digest(second, MOST_BYTES)
    except OSError as error:
        raise SerqError(f"cannot read {error.filename}: {error.strerror}") from error


def _layout(scan: Scan) -> str:
    if not scan.corpora:
        return scan.basis.removeprefix("folders (").rstrip(")") + ".wav"
    rules = [rule for rule in RULES if rule.corpus in scan.corpora]
    return " or ".join(f"{rule.title} names its files, {rule.example}" for rule in rules)


def _other_way(scan: Scan) -> str:
    return ", or give --labels folders if the folders are classes" if scan.corpora else ""


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"


def _label_sizes(clips: Iterable[Clip]) -> Counter[str]:
    return Counter(clip.label for clip in clips)


def label_counts(clips: Iterable[Clip]) -> dict[str, dict[str, int]]:
    """Count clips per label and, within it, per speaker, both sorted."""
    counts = Counter((clip.label, clip.speaker) for clip in clips)
    table: dict[str, dict[str, int]] = {}
    for (label, speaker), count in sorted(counts.items()):
        table.setdefault(label, {})[speaker] = count
    return table
