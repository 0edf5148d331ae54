"""What a corpus folder holds, and what is missing, damaged or odd about it.

Recordings are held to two lists: the SHA-256 of the corpora's published WAV files (`published_sha256.csv.gz`:
columns corpus, file, sha256), and a `MANIFEST.csv` (columns file, sha256, and any others) that a repackaged
folder may carry for its own files.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.files import file_digest, open_regular
from serq_mcu.corpus.audio import MOST_BYTES, read_audio
from serq_mcu.corpus.loaders import AS_FOUND, RULES, Clip, CorpusOptions, Scan, label_counts, scan_folder
from serq_mcu.corpus.quality import CorpusWarning, Traits, find_warnings, traits_of
from serq_mcu.corpus.tables import read_rows
from serq_mcu.errors import SerqError

MANIFEST = "MANIFEST.csv"
LEAST_CLIPS = 5  # of a class, below which it is told
_PUBLISHED = Path(__file__).with_name("published_sha256.csv.gz")


@dataclass(frozen=True)
class Problem:
    """One thing that keeps the corpus from being used as it is.

    `kind` groups them: missing, damaged, checksum, …
    """

    kind: str
    file: str
    text: str


@dataclass(frozen=True)
class Checksums:
    """How many recordings equal, differ from, or are not in one list of checksums."""

    against: str
    matching: int
    differing: int
    unlisted: int


@dataclass(frozen=True)
class CorpusReport:
    """The result of `check_corpus`.

    `counts` is clips per label and speaker ("" where unknown), `seconds` the length of all that could be
    read, `conversions` the files that took each conversion, `clipped` the files with two or more samples at
    full scale (one is a normalised peak), `copies` the byte-identical second copies, which are not counted,
    `intensities` the clips of each intensity that names state, `warnings` what may mislead training. `basis`
    is what gave the classes, `parts` the clips of each part that folders or a table state, `passed_over` how
    many files or folders of each kind are not read, `hint` which parts of names may be speakers.
    """

    corpus: str
    folder: str
    basis: str
    sample_rate: int
    clips: int
    seconds: float
    counts: Mapping[str, Mapping[str, int]]
    conversions: Mapping[str, int]
    clipped: int
    copies: int
    intensities: Mapping[str, int]
    checksums: tuple[Checksums, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[CorpusWarning, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    hint: str = ""

    @property
    def ok(self) -> bool:
        """Whether every recording can be used and none is missing."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with `ok`."""
        return {"ok": self.ok, **asdict(self)}


def check_corpus(
    source: Path,
    sample_rate: int = 16000,
    minimum_samples: int = 1536,
    maximum_samples: int = 2_098_175,
    progress: Callable[[int, int], None] | None = None,
    options: CorpusOptions = AS_FOUND,
) -> CorpusReport:
    """Read every recording of a folder, or of a table beside them, as the front end would and report on it.

    Lengths are samples per clip after conversion to `sample_rate` Hz; the defaults are two and 4096 frames of
    the default specification. `progress(done, total)` is called after each recording. Raises SerqError only
    where there is no corpus to report on: an empty folder, no recognisable names, fewer than two classes, a
    class name that cannot be used.
    """
    scan = scan_folder(source, options)
    problems = list(_naming_problems(scan))
    audio = _AudioCheck(sample_rate, minimum_samples, maximum_samples)
    digests: dict[str, str] = {}
    for done, clip in enumerate(scan.clips, 1):
        if data := audio.check(clip):
            digests[clip.name] = data
        if progress:
            progress(done, len(scan.clips))
    problems += [*audio.problems, *audio.duplicates(), *_known_faults(scan)]
    checksums = []
    published: dict[str, str] = {}
    for corpus in scan.corpora:
        published |= published_checksums(corpus)
    for sums, found in (
        _against_published(scan, digests, published),
        _against_manifest(scan, digests, published),
    ):
        checksums += [sums] if sums else []
        problems += found
    return CorpusReport(
        corpus=scan.corpus,
        folder=str(source),
        basis=scan.basis,
        sample_rate=sample_rate,
        clips=len(scan.clips),
        seconds=round(audio.samples / sample_rate, 3),
        counts=label_counts(scan.clips),
        conversions=dict(sorted(audio.conversions.items())),
        clipped=audio.clipped,
        copies=len(scan.copies),
        intensities=dict(sorted(Counter(clip.intensity for clip in scan.clips if clip.intensity).items())),
        checksums=tuple(checksums),
        problems=tuple(problems),
        warnings=(*_small_classes(scan), *find_warnings(audio.traits, sample_rate)),
        parts=dict(sorted(Counter(clip.part for clip in scan.clips if clip.part).items())),
        passed_over=scan.passed_over,
        hint=scan.hint,
    )


class _AudioCheck:
    """A reader of clips, one by one, that gathers its findings."""

    def __init__(self, sample_rate: int, minimum: int, maximum: int) -> None:
        self.sample_rate, self.minimum, self.maximum = sample_rate, minimum, maximum
        self.samples = self.clipped = 0
        self.conversions: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self.traits: list[Traits] = []
        self._by_content: dict[bytes, list[str]] = defaultdict(list)

    def check(self, clip: Clip) -> str:
        """Take in one clip; returns the SHA-256 of its file, "" if it cannot be opened."""
        try:
            digest = file_digest(clip.path, MOST_BYTES).hex()
        except OSError as error:
            self._problem("damaged", clip, f"cannot be read: {error.strerror}")
            return ""
        try:
            audio = read_audio(clip.path, self.sample_rate)
        except SerqError as error:
            self._problem("damaged", clip, str(error).removeprefix(f"{clip.path} "))
            return digest
        pcm = audio.pcm
        self.samples += pcm.size
        self.conversions.update(audio.notes)
        self.clipped += int(np.count_nonzero((pcm == 32767) | (pcm == -32768)) > 1)
        if pcm.size < self.minimum:
            self._problem(
                "too short",
                clip,
                f"{pcm.size} samples at {self.sample_rate} Hz, two frames need {self.minimum}",
            )
        elif pcm.size > self.maximum:
            self._problem(
                "too long",
                clip,
                f"{pcm.size / self.sample_rate:.0f} s, the most is {self.maximum / self.sample_rate:.0f} s",
            )
        if pcm.any():
            self._by_content[hashlib.sha256(pcm.tobytes()).digest()].append(clip.name)
            self.traits.append(traits_of(clip, audio, self.sample_rate))
        else:
            mixed = " once its channels are mixed: they cancel each other" if audio.cancels else ""
            self._problem("silent", clip, f"every sample is zero{mixed}")
        return digest

    def duplicates(self) -> Iterator[Problem]:
        for first, *others in self._by_content.values():
            for name in others:
                yield Problem(
                    "duplicate", name, f"the same recording as {first}; train and test sets would share it"
                )

    def _problem(self, kind: str, clip: Clip, text: str) -> None:
        self.problems.append(Problem(kind, clip.name, text))


def _naming_problems(scan: Scan) -> Iterator[Problem]:
    for label, count in scan.lost.items():
        yield Problem("class lost", label, f"none of its {count} files is read; convert them to WAV")
    for path, kind in scan.relatives:
        yield Problem(
            kind,
            _relative(path, scan.folder),
            f"no part of the corpus but of its {kind}; skip with --skip {kind}",
        )
    for file in scan.missing:
        yield Problem("missing", file, "listed in the table, but not there")
    for path in scan.unrecognised:
        yield Problem("misnamed", _relative(path, scan.folder), "not named as the corpus names its files")
    for other, kept in scan.conflicts:
        yield Problem(
            "conflict",
            _relative(other, scan.folder),
            f"differs from {_relative(kept, scan.folder)}, which has the same name",
        )


def _small_classes(scan: Scan) -> Iterator[CorpusWarning]:
    sizes = Counter(clip.label for clip in scan.clips)
    small = {label: count for label, count in sorted(sizes.items()) if count < LEAST_CLIPS}
    if small:
        counts = ", ".join(f"{label} {count}" for label, count in small.items())
        yield CorpusWarning(
            "small class",
            sum(small.values()),
            f"of {counts} there are fewer than {LEAST_CLIPS} recordings; train refuses a class of one, and"
            " with few it holds out fewer folds, in which one or two clips test the class; record more",
        )


def _known_faults(scan: Scan) -> Iterator[Problem]:
    faults = {
        name: fault for rule in RULES if rule.corpus in scan.corpora for name, fault in rule.faults.items()
    }
    for clip in scan.clips:
        if clip.name in faults:
            yield Problem("known fault", clip.name, faults[clip.name])


def _against_published(
    scan: Scan, digests: Mapping[str, str], published: Mapping[str, str]
) -> tuple[Checksums | None, list[Problem]]:
    """List missing recordings, and WAV files that differ from the published ones.

    Differences count where others match (else all were converted).
    """
    names = {clip.name for clip in scan.clips}
    problems = [
        Problem("missing", name, "published, but not in the folder")
        for name in sorted(published.keys() - names)
    ]
    waves = [clip for clip in scan.clips if clip.path.suffix.lower() == ".wav" and clip.name in digests]
    sums, differing = _compare("the published files", waves, digests, published)
    if not sums.matching:
        return None, problems
    problems += [
        Problem("checksum", name, "differs from the published file; fetch it again") for name in differing
    ]
    return sums, problems


def _against_manifest(
    scan: Scan, digests: Mapping[str, str], published: Mapping[str, str]
) -> tuple[Checksums | None, list[Problem]]:
    """Compare recordings with the folder's own list.

    What the published list lacks too is already reported as missing.
    """
    path = scan.folder / MANIFEST
    if not path.is_file() or (scan.basis == f"table {MANIFEST}" and "sha256" not in _first_line(path)):
        return None, []
    try:
        listed = _read_manifest(path)
    except SerqError as error:
        return None, [Problem("manifest", MANIFEST, str(error))]
    files = {_relative(clip.path, scan.folder): clip for clip in scan.clips}
    by_name = {files[file].name: digest for file, digest in listed.items() if file in files}
    known = published.keys() | {Path(file).stem for file in scan.missing}
    absent = sorted(file for file in listed.keys() - files.keys() if Path(file).stem not in known)
    problems = [Problem("missing", file, f"listed in {MANIFEST}, but not in the folder") for file in absent]
    sums, differing = _compare(
        MANIFEST, [clip for clip in scan.clips if clip.name in digests], digests, by_name
    )
    return sums, problems + [
        Problem("checksum", name, f"differs from its SHA-256 in {MANIFEST}") for name in differing
    ]


def _compare(
    against: str, clips: Iterable[Clip], digests: Mapping[str, str], expected: Mapping[str, str]
) -> tuple[Checksums, list[str]]:
    names = [clip.name for clip in clips]
    listed = [name for name in names if name in expected]
    differing = [name for name in listed if digests[name] != expected[name]]
    return (
        Checksums(against, len(listed) - len(differing), len(differing), len(names) - len(listed)),
        differing,
    )


def published_checksums(corpus: str) -> dict[str, str]:
    """Read the base name and SHA-256 (hexadecimal) of each published WAV file of `corpus`.

    Returns nothing for a corpus without a published list.
    """
    rows = csv.DictReader(io.StringIO(gzip.decompress(_PUBLISHED.read_bytes()).decode()))
    return {Path(row["file"]).stem: row["sha256"] for row in rows if row["corpus"] == corpus}


def _read_manifest(path: Path) -> dict[str, str]:
    rows = list(read_rows(path))
    if not rows or not all(row.get("file") and row.get("sha256") for row in rows):
        raise SerqError("needs the columns file and sha256, filled in every row; fetch it again")
    return {row["file"]: row["sha256"].strip().lower() for row in rows}


def _first_line(path: Path) -> str:
    with open_regular(path) as file:
        return file.readline(4096).decode("utf-8-sig", "replace")


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
