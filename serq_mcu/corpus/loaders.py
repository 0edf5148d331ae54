"""A folder of recordings to clips with labels and speakers.

A corpus is recognised by its own file naming (`RULES`), wherever in the folder the files are; another
published corpus is one more row of that table. Where no rule fits, the folder is read as `label/clip.wav`,
the speakers unknown.

EMO-DB: Burkhardt et al., "A database of German emotional speech", Interspeech 2005. SAVEE: Haq and Jackson,
"Multimodal emotion recognition", 2010. TESS: Pichora-Fuller and Dupuis, "Toronto emotional speech set", 2020.
RAVDESS: Livingstone and Russo, "The Ryerson audio-visual database of emotional speech and song", PLoS ONE,
2018 (its spoken, audio-only files). CREMA-D: Cao et al., "CREMA-D: crowd-sourced emotional multimodal actors
dataset", IEEE Transactions on Affective Computing, 2014. nEMO: Christop, "nEMO: dataset of emotional speech
in Polish", LREC-COLING 2024.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serq_mcu.errors import SerqError

SUFFIXES = (".wav", ".flac")  # an AIFF file under a .wav name is read too: TESS has two
MAX_LABEL_BYTES = 64
PLAIN = "plain"


@dataclass(frozen=True)
class Clip:
    """One recording.

    `name` is unique in its corpus: the published base name, or `label/stem` in a plain folder.
    """

    path: Path
    name: str
    label: str
    speaker: str  # "" where unknown
    intensity: str = (
        ""  # how strongly the emotion is acted: low, medium, normal or high; "" where the name does not say
    )
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
    of published recordings, by name, what is known to be wrong with them.
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
        pattern=r"(?P<speaker>DC|JE|JK|KL)[_/](?P<emotion>sa|su|[adfhn])(?P<number>[0-9]{2})",
        labels={
            "a": "anger",
            "d": "disgust",
            "f": "fear",
            "h": "happiness",
            "n": "neutral",
            "sa": "sadness",
            "su": "surprise",
        },
        name="{speaker}_{emotion}{number}",
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

_NAMING_HELP = (
    "; ".join(f"{rule.title} as {rule.example}" for rule in RULES) + "; anything else as label/clip.wav"
)


@dataclass(frozen=True)
class Scan:
    """All that a folder holds, before it is called fit for use."""

    corpus: str
    folder: Path
    clips: tuple[Clip, ...]
    copies: tuple[tuple[Path, Path], ...]  # a byte-identical copy of a clip, and the clip
    conflicts: tuple[tuple[Path, Path], ...]  # another file of the same name, and the clip
    unrecognised: tuple[Path, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the clips, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))


def load_corpus(folder: Path) -> Corpus:
    """List the clips of `folder`, whose corpus is recognised from the file names.

    Reads no audio. Byte-identical copies of a clip (TESS is often unpacked twice) count once. Raises
    SerqError if the folder is missing or empty, has files that no naming explains, two different files of one
    name, recordings of two corpora, fewer than two classes, or a class name that is not printable or longer
    than 64 bytes.
    """
    scan = scan_folder(folder)
    if scan.unrecognised:
        count, first = len(scan.unrecognised), scan.unrecognised[0]
        raise SerqError(
            f"{folder}: {_files(count)} not named as {_layout(scan.corpus)} (such as {first.name}); rename or"
            " remove"
        )
    if scan.conflicts:
        other, kept = (path.relative_to(folder) for path in scan.conflicts[0])
        raise SerqError(
            f"{folder}: {other} and {kept} are different recordings of one name; keep one of them"
        )
    return Corpus(scan.corpus, scan.folder, scan.clips, scan.labels)


def scan_folder(folder: Path) -> Scan:
    """List everything in `folder`, for `load_corpus` and the check.

    Raises SerqError as `load_corpus` does, except for files that no naming explains and for different files
    of one name, which it lists.
    """
    paths = _audio_files(folder)
    corpus, found = _recognise(folder, paths)
    if not found:
        raise SerqError(
            f"{folder}: no file is named as a known corpus names it ({_NAMING_HELP}); rename the files or"
            " choose another folder"
        )
    for label in {clip.label for clip in found.values()}:
        _check_label(label)
    labels = {clip.label for clip in found.values()}
    if len(labels) < 2:
        raise SerqError(
            f"{folder}: every recording is of the class {labels.pop()!r}; a corpus needs at least two classes"
        )
    by_name: dict[str, list[Clip]] = defaultdict(list)
    for clip in found.values():
        by_name[clip.name].append(clip)
    copies: list[tuple[Path, Path]] = []
    conflicts: list[tuple[Path, Path]] = []
    for first, *others in by_name.values():
        for other in others:
            (copies if _same_bytes(first.path, other.path) else conflicts).append((other.path, first.path))
    clips = tuple(by_name[name][0] for name in sorted(by_name))
    return Scan(
        corpus, folder, clips, tuple(copies), tuple(conflicts), tuple(p for p in paths if p not in found)
    )


def _audio_files(folder: Path) -> list[Path]:
    """List all audio files under `folder`, the shallowest first.

    Hidden files and macOS archive leftovers are passed over, links to folders not followed.
    """
    if not folder.is_dir():
        raise SerqError(f"{folder} is not a folder; give the folder that holds the recordings")
    paths: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        paths += [
            Path(parent, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not paths:
        raise SerqError(
            f"{folder} holds no {' or '.join(SUFFIXES)} file; give the folder that holds the recordings"
        )
    for path in paths:
        if not str(path.relative_to(folder)).isprintable():
            raise SerqError(
                f"{folder}: the name {str(path.relative_to(folder))!a} is not printable text; rename it"
            )
    return sorted(paths, key=lambda path: (len(path.parts), path.parts))


def _cannot_list(error: OSError) -> None:
    raise SerqError(f"cannot read the folder {error.filename}: {error.strerror}") from error


def _recognise(folder: Path, paths: list[Path]) -> tuple[str, dict[Path, Clip]]:
    """Return the corpus that most of the files belong to, and its clips.

    A few chance matches do not turn a plain folder into EMO-DB.
    """
    found = {rule.corpus: {path: clip for path in paths if (clip := rule.clip(path))} for rule in RULES}
    found = {corpus: clips for corpus, clips in found.items() if clips}
    if 2 * sum(map(len, found.values())) <= len(paths):
        return PLAIN, _plain_clips(folder, paths)
    if len(found) > 1:
        titles = " and ".join(rule.title for rule in RULES if rule.corpus in found)
        raise SerqError(f"{folder} holds recordings of {titles}; give the folder of one corpus")
    return next(iter(found.items()))


def _plain_clips(folder: Path, paths: Iterable[Path]) -> dict[Path, Clip]:
    in_label = (path for path in paths if path.parent.parent == folder)
    return {path: Clip(path, f"{path.parent.name}/{path.stem}", path.parent.name, "") for path in in_label}


def _check_label(label: str) -> None:
    """Raise SerqError unless a class name fits in C, in model files and on terminals.

    Any printable text will do (`_audio_files` sees to that).
    """
    if not label.strip():
        raise SerqError("a class folder's name is blank; rename it")
    if len(label.encode()) > MAX_LABEL_BYTES:
        raise SerqError(
            f"the class name {label[:20]!r}... is longer than {MAX_LABEL_BYTES} bytes; rename its folder"
        )


def _same_bytes(first: Path, second: Path) -> bool:
    try:
        return first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()
    except OSError as error:
        raise SerqError(f"cannot read {error.filename}: {error.strerror}") from error


def _layout(corpus: str) -> str:
    return next(
        (f"{rule.title} names its files, {rule.example}" for rule in RULES if rule.corpus == corpus),
        "label/clip.wav",
    )


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"


def label_counts(clips: Iterable[Clip]) -> dict[str, dict[str, int]]:
    """Count clips per label and, within it, per speaker, both sorted."""
    counts = Counter((clip.label, clip.speaker) for clip in clips)
    table: dict[str, dict[str, int]] = {}
    for (label, speaker), count in sorted(counts.items()):
        table.setdefault(label, {})[speaker] = count
    return table
