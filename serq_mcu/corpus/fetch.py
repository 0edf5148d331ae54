"""Published corpora: where they are, under which licence, and how to get them.

Downloads what may be downloaded and checks it. An archive whose checksum its publisher states is held to
that; of the others every recording is held to the SHA-256 of the published file (`published_sha256.csv.gz`)
by the check that follows. Archives are unpacked beside the folder, which appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from serq_mcu.base.files import new_folder, read_regular, write_file
from serq_mcu.base.validation import parse_json
from serq_mcu.corpus.check import CorpusReport, check_corpus, published_checksums
from serq_mcu.corpus.walk import SUFFIXES
from serq_mcu.errors import SerqError

MARKER = "serq_fetched.json"
_MOST_BYTES, _MOST_FILES = (
    4 * 10**9,
    20_000,
)  # of an archive's recordings: the largest corpus has 1.5 GB and 7442
_MOST_DIRECTORY = 1000 * _MOST_FILES  # bytes of an archive's table of contents
_MOST_SINGLE = 100 * 10**6  # bytes of a single recording
_PARTIAL = 206  # of HTTP: what is missing follows
_NOT_WHOLE = ("missing", "checksum", "unreadable")  # problems of a corpus that another download may mend
_RECEIVED = 1 << 14  # bytes that are written at once: what is lost where a connection breaks
_LONGEST_NAME = 255  # bytes
_PIECE = 1 << 20
_AT_ONCE = 8  # downloads of single files
_TIMEOUT = 30  # seconds without an answer

_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of which zipfile unpacks a piece at a time
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"

Progress = Callable[..., None]


@dataclass(frozen=True)
class Publication:
    """How a corpus is published.

    url: of its archive, or, with `single`, what each recording's name is added to; "" where a person has to
    ask for it (`steps`). checksum: of the archive, as its publisher states it ("md5:…"), or nothing.
    """

    corpus: str
    title: str
    page: str
    licence: str
    cite: str
    url: str = ""
    checksum: str = ""
    single: bool = False
    megabytes: int = 0
    steps: str = ""


PUBLICATIONS = (
    Publication(
        corpus="emodb",
        title="EMO-DB, the Berlin database of emotional speech",
        page="http://emodb.bilderbar.info/",
        licence=(
            "offered there for free use, with a citation; no licence text is known to us, so ask its authors"
            " before anything commercial"
        ),
        cite="Burkhardt et al., A Database of German Emotional Speech, Interspeech 2005",
        url="http://emodb.bilderbar.info/download/download.zip",
        megabytes=40,
    ),
    Publication(
        corpus="savee",
        title="SAVEE, Surrey audio-visual expressed emotion",
        page="http://kahlan.eps.surrey.ac.uk/savee/",
        licence="for research, after registration; not to be passed on",
        cite="Haq and Jackson, Multimodal Emotion Recognition, in Machine Audition, IGI Global 2010",
        steps=(
            "register at that page; unpack the audio that you are given, as DC/a01.wav or DC_a01.wav, and run"
            " `serq-mcu corpus check FOLDER`"
        ),
    ),
    Publication(
        corpus="tess",
        title="TESS, the Toronto emotional speech set",
        page="https://doi.org/10.5683/SP2/E8H2MF",
        licence="Creative Commons BY-NC-ND 4.0 (not commercial, no derivatives)",
        cite="Pichora-Fuller and Dupuis, Toronto emotional speech set (TESS), Borealis, 2020",
        url="https://borealisdata.ca/api/access/dataset/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF",
        megabytes=270,
    ),
    Publication(
        corpus="ravdess",
        title="RAVDESS, its spoken, audio-only part",
        page="https://zenodo.org/records/1188976",
        licence=(
            "Creative Commons BY-NC-SA 4.0 (not commercial, share alike); its authors sell commercial"
            " licences"
        ),
        cite=(
            "Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE"
            " 13(5): e0196391, 2018"
        ),
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        checksum="md5:bc696df654c87fed845eb13823edef8a",
        megabytes=215,
    ),
    Publication(
        corpus="nemo",
        title="nEMO, emotional speech in Polish",
        page="https://github.com/amu-cai/nEMO",
        licence="Creative Commons BY-NC-SA 4.0 (not commercial, share alike)",
        cite="Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
        steps=(
            "get it as that page says; unpack the samples, as EB0_anger_10.wav, and run"
            " `serq-mcu corpus check FOLDER`, which knows no checksums of them"
        ),
    ),
    Publication(
        corpus="crema-d",
        title="CREMA-D, crowd-sourced emotional multimodal actors dataset: its AudioWAV files",
        page="https://github.com/CheyneyComputerScience/CREMA-D",
        licence="Open Database License 1.0, its contents under the Database Contents License 1.0",
        cite=(
            "Cao et al., CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset, IEEE Transactions on"
            " Affective Computing 5(4), 2014"
        ),
        url="https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master/AudioWAV/",
        single=True,
        megabytes=610,
    ),
)


@dataclass(frozen=True)
class Fetched:
    """What was reported and done.

    report: of the check; None where nothing was asked for but information, or a person has to act.
    """

    publication: Publication
    report: CorpusReport | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        found = {
            name: getattr(self.publication, name)
            for name in ("corpus", "title", "page", "licence", "cite", "url", "checksum", "steps")
        }
        return found | {"check": self.report.to_json() if self.report else None}


def publication_of(name: str) -> Publication:
    """Return how a corpus is published.

    Raises SerqError for a name that is not one of PUBLICATIONS.
    """
    for found in PUBLICATIONS:
        if found.corpus == name:
            return found
    raise SerqError(
        f"there is no corpus {name!r}; choose {', '.join(found.corpus for found in PUBLICATIONS)}"
    )


def fetch_corpus(name: str, out: Path, progress: Progress, source: str = "") -> Fetched:
    """Download the corpus `name` to the folder `out`, unless it was fetched there before, and check it.

    source: a mirror instead of its `url`. What is interrupted resumes: single recordings are not downloaded
    twice, and an archive resumes where it stopped, if the server can. Raises SerqError where it may not be
    downloaded, the network or the disk fails, or what came is not what was published.
    """
    publication = publication_of(name)
    url = source or publication.url
    if not url:
        raise SerqError(f"{publication.title} cannot be downloaded by a program: {publication.steps}")
    if not url.startswith(("http://", "https://")):
        raise SerqError(f"{url!r} is no address of a download; it would begin with https:// or http://")
    if not _is_whole(out / MARKER):
        _requests()  # before anything is written
        with new_folder(out, MARKER) as fresh, _part_folder(out) as part:
            _download_all(publication, url, part, fresh, progress)
            (fresh / MARKER).write_text(_marker(name, url, whole=True), encoding="utf-8")
    checking = f"checking the recordings in {out}"
    report = check_corpus(out, progress=lambda done, total: progress(checking, done, total))
    if any(problem.kind in _NOT_WHOLE for problem in report.problems):
        write_file(out / MARKER, _marker(name, url, whole=False))  # so that it is fetched again
    return Fetched(publication, report)


def _marker(name: str, url: str, *, whole: bool) -> str:
    return json.dumps({"corpus": name, "from": url, "whole": whole}, indent=1) + "\n"


def _is_whole(marker: Path) -> bool:
    """Tell whether a corpus was fetched, and every recording was the published one."""
    try:
        return parse_json(read_regular(marker))["whole"] is True
    except (OSError, ValueError, TypeError, KeyError):
        return False


@contextlib.contextmanager
def _part_folder(out: Path) -> Iterator[Path]:
    """Make the folder where downloads wait beside `out`.

    It stays if the block fails, for the next attempt.
    """
    part = out.parent / f".{out.name}.part"
    try:
        part.mkdir(exist_ok=True)
        yield part
        shutil.rmtree(part)
    except OSError as error:
        raise SerqError(f"cannot write {part}: {error.strerror or error}") from error


def _download_all(publication: Publication, url: str, part: Path, fresh: Path, progress: Progress) -> None:
    if not publication.single:
        stage = f"downloading {url}"
        progress(stage)
        archive = _download(
            publication,
            url,
            part / "archive.zip",
            publication.checksum,
            2 * publication.megabytes * 10**6,
            lambda done, total: progress(f"{stage}, bytes", done, total) if total > done else None,
        )
        unpack(archive, fresh, progress)
        return
    checksums = published_checksums(publication.corpus)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [
            pool.submit(
                _download,
                publication,
                f"{url.rstrip('/')}/{stem}.wav",
                part / f"{stem}.wav",
                f"sha256:{digest}",
                _MOST_SINGLE,
                lambda *_: None,
            )
            for stem, digest in checksums.items()
        ]
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                future.result()
                progress(f"downloading {len(waiting)} recordings from {url}", done, len(waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for future in waiting:
        future.result().rename(fresh / future.result().name)


def _download(
    publication: Publication, url: str, path: Path, checksum: str, most: int, progress: Progress
) -> Path:
    """Download the file at `path` unless it came whole before; resume an earlier attempt.

    checksum: `md5:…` or `sha256:…` of what is published, or "". Raises SerqError for more than `most` bytes,
    another checksum (what came is removed then), or a network that fails.
    """
    if path.exists():
        return path
    part = path.with_name(f"{path.name}.part")
    requests, failures = _requests()
    try:
        _receive(requests, url, part, most, progress)
    except failures as error:
        raise SerqError(
            f"{url} could not be downloaded ({_reason(error)}); try again later, or by hand from"
            f" {publication.page}"
        ) from error
    if checksum and not _has_checksum(part, checksum):
        part.unlink()
        raise SerqError(
            f"what {url} gives is not what was published: its checksum differs; look at {publication.page}"
        )
    part.rename(path)
    _validator(part).unlink(missing_ok=True)
    return path


def _receive(requests: Any, url: str, part: Path, most: int, progress: Progress) -> None:
    """Write what a server sends to `part`, after what is there already if the server says it is the same."""
    headers = {"Accept-Encoding": "identity"}
    done, known = part.stat().st_size if part.exists() else 0, _validator(part)
    if done and known.exists():
        headers |= {"Range": f"bytes={done}-", "If-Range": known.read_text(encoding="utf-8")}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        answer.raise_for_status()
        if answer.status_code != _PARTIAL:
            done = 0
            known.write_text(_state(answer.headers), encoding="utf-8")
        total = done + int(answer.headers.get("Content-Length") or 0)
        _require_size(url, total, most)
        with part.open("ab" if done else "wb") as file:
            for piece in answer.iter_content(_RECEIVED):
                file.write(piece)
                done += len(piece)
                _require_size(url, done, most)
                progress(done, total)


def _require_size(url: str, size: int, most: int) -> None:
    if size > most:
        raise SerqError(f"{url} gives more than {most >> 20} MiB, which is not what was published")


def _validator(part: Path) -> Path:
    """Return the file that keeps by which a server knows again what came in part."""
    return part.with_name(f"{part.name}.tag")


def _state(headers: Any) -> str:
    """Return a strong entity tag, or the time of the last change, as RFC 9110 wants it for If-Range."""
    tag = str(headers.get("ETag") or "")
    return str(headers.get("Last-Modified") or "none") if not tag or tag.startswith("W/") else tag


def _has_checksum(path: Path, checksum: str) -> bool:
    kind, _, wanted = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.new(kind, usedforsecurity=False)
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest() == wanted


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"HTTP {response.status_code}" if response is not None else type(error).__name__


def _requests() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return the package, and what it raises when the network fails."""
    try:
        import requests
        import urllib3
    except ImportError as error:
        raise SerqError(
            f"downloading needs packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[fetch]'`"
        ) from error
    return requests, (requests.RequestException, urllib3.exceptions.HTTPError)


def unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Write an archive's recordings (.zip) to the folder, each at its place in it.

    Its other files are left out. Raises SerqError, with the archive removed, if it is damaged, encrypted or
    no archive, has names that lead out of the folder, or would fill the disk.
    """
    try:
        _require_short_directory(archive)
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if _is_recording(member)]
            if not members:
                raise SerqError("the archive holds no recording")
            if len(members) > _MOST_FILES:
                raise SerqError(
                    f"the archive holds {len(members)} recordings, more than the {_MOST_FILES} that any"
                    " corpus has"
                )
            places = [folder / _inside(member.filename) for member in members]
            _require_apart(places)
            left = _MOST_BYTES
            for done, (member, place) in enumerate(zip(members, places, strict=True), start=1):
                place.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(opened, member, place, left)
                progress("unpacking recordings", done, len(members))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        archive.unlink()
        raise SerqError(f"what came is no sound archive ({error}); run the command again") from error
    except SerqError as error:
        archive.unlink()
        raise SerqError(f"{error}; it is not what was published, and was removed") from error


def _require_short_directory(archive: Path) -> None:
    """Raise SerqError for an archive whose table of contents is longer than that of any corpus.

    Its length stands in the last record, or in that of ZIP64 before it, where zipfile looks for them.
    """
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - (1 << 16) - 100))
        tail = file.read()
    end = tail.rfind(_END)
    longer = end - 76
    size = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if longer >= 0 and tail.startswith(_END_64, longer):
        size = int.from_bytes(tail[longer + 40 : longer + 48], "little")
    if size > _MOST_DIRECTORY:
        raise SerqError(f"the archive lists more files than the {_MOST_FILES} that any corpus has")


def _is_recording(member: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in name.parts)
    return not member.is_dir() and name.suffix.lower() in SUFFIXES and not hidden


def _inside(name: str) -> Path:
    """Return a member's place in a folder.

    Raises SerqError if it leads out of it.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise SerqError(
            f"the archive has a file named {name[:40]!a}..., which is longer than any name may be"
        )
    if not name.isprintable() or any(part == ".." or ":" in part or part.startswith("/") for part in parts):
        raise SerqError(f"the archive has a file named {name!a}, which leads out of its folder")
    return Path(*parts)


def _require_apart(places: list[Path]) -> None:
    """Raise SerqError if two members have one place, or one lies within another."""
    taken = set(places)
    within = any(parent in taken for place in places for parent in place.parents)
    if len(taken) < len(places) or within:
        raise SerqError("the archive has two files of one name")


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, most: int) -> int:
    """Unpack one member; its size, counted and not believed."""
    size = 0
    if member.compress_type not in _PACKED:
        raise zipfile.BadZipFile("it is packed by another method than deflate")
    with opened.open(member) as source, place.open("xb") as target:
        while data := source.read(_PIECE):
            size += len(data)
            if size > most:
                raise SerqError(f"the archive's recordings take more than {_MOST_BYTES // 10**9} GB")
            target.write(data)
    return size
