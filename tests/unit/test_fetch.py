"""Fetching corpora: from a server of this computer, of made-up recordings; what is interrupted, damaged,
hostile or not to be had.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.cli import main
from serq_mcu.corpus import fetch
from serq_mcu.corpus.check import published_checksums
from serq_mcu.corpus.fetch import MARKER, PUBLICATIONS, Publication, fetch_corpus, publication_of, unpack
from serq_mcu.corpus.loaders import RULES, load_corpus
from serq_mcu.errors import SerqError
from tests.support.commands import assert_one_line, interrupt

NAMES = ("03a01Wa", "03a01Fa", "03a01Nc", "08a01Wa")


def _nothing(*_: object) -> None:
    """No progress."""


def _wav(seed: int) -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 3000, 8000)
    soundfile.write(data, noise.astype(np.int16), 16000, format="WAV", subtype="PCM_16")
    return data.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


EMODB = _zip(
    {f"wav/{name}.wav": _wav(index) for index, name in enumerate(NAMES)}
    | {"erkennung.txt": b"text", "wav/": b"", "__MACOSX/wav/x.wav": b"no"}
)


def _damaged(method: int) -> bytes:
    """An archive whose compressed data is none."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        archive.writestr("wav/a.wav", _wav(0))
    content = bytearray(data.getvalue())
    content[60:2000] = bytes(1940)
    return bytes(content)


class _Server:
    """Serves `files` and remembers who asked for what. slow: bytes a second; cut: of what is left out at
    the end of a file; ranges: whether it can go on in the middle.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.started: list[int] = []  # at which byte each answer began
        self.slow = self.cut = 0
        self.ranges = self.states_length = True
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.lstrip("/")
        self.asked.append(path)
        if path not in self.files:
            request.send_error(404)
            return
        data = self.files[path]
        tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        first = re.fullmatch("bytes=([0-9]+)-", request.headers.get("Range") or "")
        same = self.ranges and first is not None and request.headers.get("If-Range") == tag
        self.started.append(int(first[1]) if first is not None and same else 0)
        data = data[self.started[-1] :]
        request.send_response(206 if same else 200)
        if self.states_length:
            request.send_header("Content-Length", str(len(data)))
        request.send_header("ETag", tag)
        request.send_header("Connection", "close")
        request.end_headers()
        data = data[: len(data) - self.cut]
        for start in range(0, len(data), 2000):
            try:
                request.wfile.write(data[start : start + 2000])
            except OSError:
                return
            time.sleep(2000 / self.slow if self.slow else 0)


@pytest.fixture
def server() -> Iterator[_Server]:
    made = _Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
    """Lets the table of published checksums be of these recordings."""

    def use(recordings: dict[str, bytes]) -> None:
        table = {name: hashlib.sha256(data).hexdigest() for name, data in recordings.items()}
        for place in (
            "serq_mcu.corpus.check.published_checksums",
            "serq_mcu.corpus.fetch.published_checksums",
        ):
            monkeypatch.setattr(place, lambda corpus: table)

    return use


def _recordings() -> dict[str, bytes]:
    return {name: _wav(index) for index, name in enumerate(NAMES)}


# --- what is said


def test_every_corpus_with_a_naming_is_in_the_table_and_says_everything() -> None:
    assert [found.corpus for found in PUBLICATIONS] == [rule.corpus for rule in RULES]
    for found in PUBLICATIONS:
        done = CliRunner().invoke(main, ["corpus", "fetch", found.corpus])
        assert done.exit_code == 0
        for words in (found.title, found.page, found.licence, found.cite):
            assert words in done.output
        assert bool(found.url) != bool(found.steps), "downloaded, or explained"
        assert (
            json.loads(CliRunner().invoke(main, ["corpus", "fetch", found.corpus, "--json"]).output)[
                "licence"
            ]
            == found.licence
        )
        known = bool(published_checksums(found.corpus))  # its recordings can be checked, or it says not
        assert known != ("knows no checksums" in found.steps)
        assert re.fullmatch(r"(md5:[0-9a-f]{32})?", found.checksum)


def test_what_cannot_be_fetched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*words: str) -> str:
        done = CliRunner().invoke(main, ["corpus", "fetch", *words])
        assert done.exit_code == 1 and "unexpected error" not in done.output
        return str(done.output)

    assert "choose emodb, savee, tess, ravdess, nemo, crema-d" in refused("iemocap")
    assert "register at that page" in refused("savee", "--out", str(tmp_path / "s"))
    assert "no address of a download" in refused(
        "emodb", "--out", str(tmp_path / "s"), "--from", "/etc/passwd"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all my work")
    assert "was not made by serq-mcu" in refused(
        "emodb", "--out", str(tmp_path / "mine"), "--from", "http://127.0.0.1:1/x.zip"
    )
    assert "could not be downloaded (ConnectionError)" in refused(
        "emodb", "--out", str(tmp_path / "s"), "--from", "http://127.0.0.1:1/x.zip"
    )
    monkeypatch.setitem(sys.modules, "requests", None)
    assert "pip install 'serq-mcu[fetch]'" in refused(
        "emodb", "--out", str(tmp_path / "t"), "--from", "http://127.0.0.1:1/x.zip"
    )
    assert not list(tmp_path.glob("*t*.part")) and not (tmp_path / "t").exists()
    assert (tmp_path / "mine" / "thesis.txt").exists() and not (tmp_path / "s").exists()


# --- archives


def test_an_archive_becomes_a_checked_corpus(server: _Server, published: Any, tmp_path: Path) -> None:
    published(_recordings())
    server.files["download.zip"] = EMODB
    words = [
        "corpus",
        "fetch",
        "emodb",
        "--out",
        str(tmp_path / "emodb"),
        "--from",
        f"{server.url}download.zip",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "4 match the published files" in done.stdout and "licence" in done.stdout
    for stage in ("downloading http", "unpacking recordings: 4 in", "checking the recordings in"):
        assert stage in done.stderr
    assert sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    ) == sorted([f"emodb/{MARKER}", *(f"emodb/wav/{name}.wav" for name in NAMES)])
    assert [clip.name for clip in load_corpus(tmp_path / "emodb").clips] == sorted(NAMES)
    again = CliRunner().invoke(main, [*words, "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout)["check"]["ok"] is True
    assert server.asked == ["download.zip"], "it is not downloaded again"


def test_a_recording_that_is_not_the_published_one_is_found(
    server: _Server, published: Any, tmp_path: Path
) -> None:
    published(_recordings() | {"03a01Wa": b"another"})
    server.files["a.zip"] = EMODB
    done = CliRunner().invoke(
        main, ["corpus", "fetch", "emodb", "--out", str(tmp_path / "e"), "--from", f"{server.url}a.zip"]
    )
    assert done.exit_code == 1
    assert "03a01Wa: differs from the published file" in done.stdout


def test_an_archive_with_another_checksum_is_refused(
    server: _Server, monkeypatch: pytest.MonkeyPatch, published: Any, tmp_path: Path
) -> None:
    published(_recordings())
    server.files["a.zip"] = EMODB
    with pytest.raises(SerqError, match=r"checksum differs; look at https://zenodo.org"):
        fetch_corpus("ravdess", tmp_path / "r", _nothing, f"{server.url}a.zip")
    assert not (tmp_path / "r").exists()
    stated = replace(
        publication_of("ravdess"), corpus="emodb", checksum=f"md5:{hashlib.md5(EMODB).hexdigest()}"
    )
    monkeypatch.setattr(fetch, "PUBLICATIONS", (stated,))
    found = fetch_corpus("emodb", tmp_path / "r", _nothing, f"{server.url}a.zip")
    assert found.report is not None and found.report.ok
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>please log in</html>", "no sound archive"),
        (EMODB[:-500], "no sound archive"),
        (EMODB[:5000] + b"x" * 50 + EMODB[5050:], "no sound archive"),
        (_zip({"readme.txt": b"empty"}), r"holds no recording"),
        (_zip({"../evil.wav": b"x"}), "leads out of its folder"),
        (_zip({"/etc/evil.wav": b"x"}), "leads out of its folder"),
        (_zip({"wav/..\\..\\evil.wav": b"x"}), "leads out of its folder"),
        (_zip({"C:/evil.wav": b"x"}), "leads out of its folder"),
        (_zip({"wav/a\x1b.wav": b"x"}), "leads out of its folder"),
        (_zip({f"wav/{'a' * 300}.wav": b"x"}), "longer than any name may be"),
        (_zip({"wav/a.wav": b"x", "wav/a.wav/b.wav": b"x"}), "two files of one name"),
        (_zip({"wav/a.wav": b"x", "wav\\a.wav": b"x"}), "two files of one name"),
        *((_damaged(method), "no sound archive") for method in (8, 12, 14)),  # deflate, bz2, lzma
    ],
)
def test_what_is_no_sound_archive_leaves_nothing(
    content: bytes, words: str, server: _Server, tmp_path: Path
) -> None:
    server.files["a.zip"] = content
    with pytest.raises(SerqError, match=words):
        fetch_corpus("emodb", tmp_path / "deep" / "e", _nothing, f"{server.url}a.zip")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [], (
        "the archive is removed too, so that it is downloaded anew"
    )


def test_archives_that_would_fill_the_disk_are_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(_zip({"a.wav": bytes(3_000_000)}))
    monkeypatch.setattr(fetch, "_MOST_BYTES", 2_000_000)
    with pytest.raises(SerqError, match="take more than"):
        unpack(tmp_path / "a.zip", tmp_path / "o", _nothing)
    (tmp_path / "a.zip").write_bytes(EMODB)
    with monkeypatch.context() as limited:
        limited.setattr(fetch, "_MOST_DIRECTORY", 100)
        with pytest.raises(SerqError, match="lists more files than"):
            unpack(tmp_path / "a.zip", tmp_path / "o", _nothing)
    (tmp_path / "a.zip").write_bytes(EMODB)
    monkeypatch.setattr(fetch, "_MOST_FILES", 3)
    with pytest.raises(SerqError, match="more than the 3 that any corpus has"):
        unpack(tmp_path / "a.zip", tmp_path / "o", _nothing)


def test_a_long_directory_is_found_where_zip64_says_how_long_it_is(tmp_path: Path) -> None:
    """The record that ZIP64 has for it, and the locator, stand before the last record."""
    at = EMODB.rfind(b"PK\5\6")
    start, size = int.from_bytes(EMODB[at + 16 : at + 20], "little"), at
    size -= start
    numbers = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 9, 9, size, start)
    record, locator = b"PK\6\6" + numbers, b"PK\6\7" + struct.pack("<IQI", 0, at, 1)
    for claimed, words in ((size, "readable"), (2**40, "lists more files than")):
        record = record[:40] + claimed.to_bytes(8, "little") + record[48:]
        (tmp_path / "a.zip").write_bytes(EMODB[:at] + record + locator + EMODB[at:])
        if claimed == size:
            unpack(tmp_path / "a.zip", tmp_path / "o", _nothing)
        else:
            with pytest.raises(SerqError, match=words):
                unpack(tmp_path / "a.zip", tmp_path / "o", _nothing)


def test_links_in_an_archive_become_files(tmp_path: Path) -> None:
    """A symbolic link's member holds its target's name; nothing is followed."""
    link = zipfile.ZipInfo("link.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    unpack(tmp_path / "a.zip", tmp_path / "o", _nothing)
    assert (tmp_path / "o" / "link.wav").read_text() == "/etc/passwd" and not (
        tmp_path / "o" / "link.wav"
    ).is_symlink()


def test_a_download_that_ends_too_soon_is_no_download(
    server: _Server, published: Any, tmp_path: Path
) -> None:
    published(_recordings())
    server.files["a.zip"], server.cut = EMODB, 700
    with pytest.raises(SerqError, match=r"could not be downloaded \(ChunkedEncodingError\)"):
        fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    with pytest.raises(SerqError, match=r"could not be downloaded \(HTTP 404\)"):
        fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}other.zip")
    assert not (tmp_path / "e").exists()
    server.cut = 0
    found = fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    assert found.report is not None and found.report.ok
    assert len(EMODB) - 700 - 2**14 < server.started[-1] < len(EMODB), "it went on where it stopped"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e"]


@pytest.mark.parametrize("why", ["it cannot go on", "it has another file by now"])
def test_a_download_starts_afresh_where_it_cannot_go_on(
    why: str, server: _Server, published: Any, tmp_path: Path
) -> None:
    published(_recordings())
    server.files["a.zip"], server.cut = EMODB + bytes(9), 700
    with pytest.raises(SerqError, match="could not be downloaded"):
        fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    server.files["a.zip"], server.cut = EMODB, 0
    server.ranges = why != "it cannot go on"
    found = fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    assert found.report is not None and found.report.ok
    assert server.started == [0, 0]


@pytest.mark.parametrize("stated", [True, False])
def test_a_download_without_end_is_stopped(
    stated: bool, server: _Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = replace(publication_of("emodb"), megabytes=1)
    monkeypatch.setattr(fetch, "PUBLICATIONS", (small,))
    server.files["a.zip"], server.states_length = bytes(12_000_000), stated
    with pytest.raises(SerqError, match="gives more than 1 MiB, which is not what was published"):
        fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 4_000_000


def test_a_corpus_that_lacks_recordings_is_fetched_again(
    server: _Server, published: Any, tmp_path: Path
) -> None:
    published(_recordings())
    server.files["a.zip"] = _zip({f"wav/{name}.wav": _wav(i) for i, name in enumerate(NAMES[:2])})
    found = fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    assert found.report is not None and not found.report.ok
    server.files["a.zip"] = EMODB
    found = fetch_corpus("emodb", tmp_path / "e", _nothing, f"{server.url}a.zip")
    assert found.report is not None and found.report.ok
    assert server.asked == ["a.zip", "a.zip"]


def test_ctrl_c_while_it_downloads_leaves_no_folder_and_the_next_run_fetches(
    server: _Server, tmp_path: Path
) -> None:
    server.files["a.zip"], server.slow = EMODB, 20_000
    words = ["corpus", "fetch", "emodb", "--out", str(tmp_path / "e"), "--from", f"{server.url}a.zip"]
    code, said = interrupt(
        words, lambda text: "downloading" in text and bool(server.asked), tmp_path / "errors"
    )
    assert code == 130
    assert_one_line(said, "`serq-mcu corpus fetch` resumes where it stopped when it is called again")
    assert not (tmp_path / "e").exists()
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} <= {tmp_path.name, ".e.part"}
    server.slow = 0
    done = CliRunner().invoke(main, words)
    assert "531 recordings" not in done.output and len(load_corpus(tmp_path / "e").clips) == 4


# --- single recordings


@pytest.fixture
def singles(server: _Server, published: Any, monkeypatch: pytest.MonkeyPatch) -> Publication:
    recordings = {
        f"{1001 + index}_DFA_{emotion}_XX": _wav(index)
        for index, emotion in enumerate(["ANG", "SAD", "HAP", "NEU", "FEA", "DIS"] * 4)
    }
    published(recordings)
    server.files |= {f"AudioWAV/{name}.wav": data for name, data in recordings.items()}
    return replace(publication_of("crema-d"), url=f"{server.url}AudioWAV/")


def test_single_recordings_are_held_to_their_checksums_and_not_fetched_twice(
    singles: Publication, server: _Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fetch, "PUBLICATIONS", (singles,))
    monkeypatch.setattr(fetch, "_AT_ONCE", 1)
    kept = server.files.pop("AudioWAV/1010_DFA_NEU_XX.wav")
    with pytest.raises(SerqError, match=r"1010_DFA_NEU_XX.wav could not be downloaded \(HTTP 404\)"):
        fetch_corpus("crema-d", tmp_path / "c", _nothing)
    assert not (tmp_path / "c").exists()
    before = len(server.asked) - 1
    assert before >= 9
    server.files["AudioWAV/1010_DFA_NEU_XX.wav"] = b"version https://git-lfs.github.com/spec/v1"
    with pytest.raises(SerqError, match=r"1010_DFA_NEU_XX.wav gives is not what was published"):
        fetch_corpus("crema-d", tmp_path / "c", _nothing)
    server.files["AudioWAV/1010_DFA_NEU_XX.wav"] = kept
    server.asked.clear()
    found = fetch_corpus("crema-d", tmp_path / "c", _nothing)
    assert found.report is not None and found.report.ok and found.report.clips == 24
    assert len(server.asked) <= 24 - before, "what came before is kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]
    assert json.loads((tmp_path / "c" / MARKER).read_text())["corpus"] == "crema-d"


def test_the_published_table_names_files_as_the_addresses_need_them() -> None:
    assert len(published_checksums("crema-d")) == 7442
    assert all(
        re.fullmatch(r"1\d{3}_[A-Z]{3}_[A-Z]{3}_[A-Z]{1,2}", name) for name in published_checksums("crema-d")
    )
    rows = csv.DictReader(
        io.StringIO(
            gzip.decompress(Path(fetch.__file__).with_name("published_sha256.csv.gz").read_bytes()).decode()
        )
    )
    assert all(row["file"].endswith(".wav") for row in rows)
