"""The cache: keys with the code in them, integrity, the limit, several processes, unusable folders."""

# modules are patched where the cache sees them, and lambdas act and return in one
# mypy: disable-error-code="attr-defined, func-returns-value, arg-type"

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.base import cache as cache_module
from serq_mcu.base.cache import Cache, Key, environment_digest, key, size_limit, source_files
from serq_mcu.build import doctor
from serq_mcu.cli import main
from serq_mcu.errors import SerqError
from tests.support.kills import as_another_user

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _fresh_memory() -> Iterator[None]:
    """Sources are read again, and notes printed again."""
    environment_digest.cache_clear()
    cache_module._NOTED.clear()
    yield
    environment_digest.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a module in a subfolder."""
    (tmp_path / "room" / "inner").mkdir(parents=True)
    (tmp_path / "room" / "inner" / "a.py").write_text("x = 1")
    return tmp_path / "room"


def _key(number: int, kind: str = "features") -> Key:
    return key(kind, number)


def _rows(folder: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Change or read the database behind the cache's back."""
    database = sqlite3.connect(folder / "cache.sqlite")
    with database:
        rows = database.execute(statement, values).fetchall()
    database.close()
    return rows


# Keys


def test_a_key_changes_with_every_part_and_with_the_kind() -> None:
    parts: list[tuple[object, ...]] = [
        (),
        (1,),
        ("1",),
        (1, 2),
        ([1, 2],),
        (b"ab",),
        ("ab",),
        (b"ab".hex(),),
        ({"a": 1},),
        (None,),
        (np.zeros(2, np.int32),),
        (np.zeros((2, 1), np.int32),),
        (np.zeros(2, np.int64),),
    ]
    assert len({key("a", *those).digest for those in parts}) == len(parts)
    assert key("a", {"x": 1, "y": 2}) == key("a", {"y": 2, "x": 1})
    assert key("a", 1).digest != key("b", 1).digest
    with pytest.raises(TypeError, match="object cannot be part of a cache key"):
        key("a", object())
    with pytest.raises(TypeError, match="ndarray cannot be part of a cache key"):
        key("a", np.array([object()]))


def test_a_key_changes_with_the_code_of_a_room_and_with_a_new_file_in_it(source: Path) -> None:
    keys = [key("a", code=(source,))]
    for path, text in (
        (source / "inner" / "a.py", "x = 2"),
        (source / "b.py", ""),
        (source / "inner" / "c.h", "int x;"),
    ):
        path.write_text(text)
        environment_digest.cache_clear()
        keys.append(key("a", code=(source,)))
    (source / "b.py").rename(source / "d.py")
    environment_digest.cache_clear()
    keys.append(key("a", code=(source,)))
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "d.pyc").write_bytes(b"compiled")
    environment_digest.cache_clear()
    assert key("a", code=(source,)) == keys[-1]
    assert len(set(keys)) == len(keys)


def test_code_is_named_by_module_package_file_or_folder(source: Path) -> None:
    assert source_files("serq_mcu.base.cache") == [ROOT / "serq_mcu" / "base" / "cache.py"]
    assert set((ROOT / "serq_mcu" / "frontend").glob("*.py")) <= set(source_files("serq_mcu.frontend"))
    assert source_files(source) == [source / "inner" / "a.py"]
    for absent in ("serq_mcu.no_such_room", ROOT / "docs" / "images"):
        with pytest.raises(ValueError, match=r"no module|no source file"):
            source_files(absent)


def test_a_key_changes_with_a_library_s_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key("a", versions=("numpy",))
    assert before != key("a", versions=("soxr",)) and before != key("a")
    monkeypatch.setattr(cache_module.importlib.metadata, "version", lambda name: "0.0")
    environment_digest.cache_clear()
    assert key("a", versions=("numpy",)) != before
    monkeypatch.undo()
    environment_digest.cache_clear()
    assert key("a", versions=("no-such-distribution",)) != before  # not installed: a version, too


# Values


def test_values_are_found_again_by_their_keys_and_by_no_other(folder: Path) -> None:
    values = {_key(i): bytes([i % 256]) * i for i in range(1500)}
    Cache(folder).keep(values)
    assert Cache(folder).find(list(values)) == values
    assert Cache(folder).find([_key(1), _key(2000)]) == {_key(1): b"\x01"}
    assert Cache(folder).find([]) == {}
    Cache(folder).keep({_key(1): b"other"})
    assert Cache(folder).find([_key(1)]) == {_key(1): b"other"}
    calls: list[int] = []
    for _ in range(2):
        assert Cache(folder).remembered(_key(7000), lambda: calls.append(1) or b"made") == b"made"
    assert calls == [1]


@pytest.mark.parametrize("damage", ["value = x'00'", "value = x''", "value = 'text'", "value = 5"])
def test_a_damaged_entry_is_not_believed_but_made_again(folder: Path, damage: str) -> None:
    cache = Cache(folder)
    cache.keep({_key(1): b"one", _key(2): b"two"})
    _rows(folder, f"UPDATE entries SET {damage} WHERE key = ?", _key(1).digest)
    assert cache.find([_key(1), _key(2)]) == {_key(2): b"two"}
    assert cache.remembered(_key(1), lambda: b"one") == b"one"
    assert cache.find([_key(1)]) == {_key(1): b"one"}


def test_a_value_under_another_s_key_is_not_believed(folder: Path) -> None:
    cache = Cache(folder)
    cache.keep({_key(1): b"one"})
    _rows(folder, "UPDATE entries SET key = ?", _key(2).digest)
    assert cache.find([_key(2)]) == {}


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_database_is_made_again(
    folder: Path, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = Cache(folder)
    cache.keep({_key(i): os.urandom(900) for i in range(300)})
    database = folder / "cache.sqlite"
    data = bytearray(database.read_bytes())
    data[0 if whole else 100 :] = os.urandom(len(data) - (0 if whole else 100))
    database.write_bytes(data)
    assert cache.find([_key(1)]) == {}
    cache.keep({_key(1): b"one"})
    assert cache.find([_key(1)]) == {_key(1): b"one"}
    assert capsys.readouterr().err == ""


def test_nothing_that_is_loaded_can_run_code(folder: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(folder / "harmed"),))

    cache = Cache(folder)
    data = pickle.dumps(Harmful())
    cache.keep({_key(1): data})
    assert cache.find([_key(1)]) == {_key(1): data}
    assert not (folder / "harmed").exists()
    assert not {"pickle", "marshal", "shelve"} & set(vars(cache_module))


# The limit


def test_the_least_recently_used_entries_go_first(folder: Path) -> None:
    now = [1_000_000.0]
    cache = Cache(folder, limit=1000, clock=lambda: now[0])
    for number in range(10):
        now[0] += 7200
        cache.keep({_key(number): bytes(100)})
    now[0] += 7200
    assert len(cache.find([_key(0), _key(1)])) == 2  # used again
    now[0] += 7200
    cache.keep({_key(10): bytes(100)})
    assert {number for number in range(11) if cache.find([_key(number)])} == {0, 1, *range(4, 11)}
    assert cache.info().bytes == 900
    cache.keep({_key(11): bytes(1001), _key(12): bytes(10)})  # one that could never fit removes nothing
    assert cache.info().entries == 10 and not cache.find([_key(11)])


def test_reading_writes_at_most_once_an_hour(folder: Path) -> None:
    now = [1_000_000.0]
    cache = Cache(folder, clock=lambda: now[0])
    cache.keep({_key(1): b"one"})
    written = (folder / "cache.sqlite").read_bytes()
    now[0] += 3599
    assert cache.find([_key(1)])
    assert (folder / "cache.sqlite").read_bytes() == written
    now[0] += 1
    assert cache.find([_key(1)])
    assert cache.info().kinds[0].used == now[0]


def test_files_count_towards_the_limit_and_go_too(folder: Path) -> None:
    now = [1_000_000.0]
    cache = Cache(folder, limit=1000, clock=lambda: now[0])
    path = cache.file(_key(1, "code"), ".so", lambda path: path.write_bytes(bytes(600)) and None)
    now[0] += 1
    other = cache.file(_key(2, "code"), ".so", lambda path: path.write_bytes(bytes(600)) and None)
    assert not path.exists() and other.exists() and cache.info().entries == 1
    large = cache.file(_key(3, "code"), ".so", lambda path: path.write_bytes(bytes(1001)) and None)
    assert large.stat().st_size == 1001 and folder not in large.parents and other.exists()


@pytest.mark.parametrize(
    ("text", "size"), [("", 2 * 10**9), ("0", 0), ("5000", 5000), ("1.5 GB", 1_500_000_000), ("20kb", 20_000)]
)
def test_the_limit_is_set_by_the_environment(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERQ_CACHE_LIMIT", text)
    assert size_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "1 TB", "1e9", "GB"])
def test_a_limit_that_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERQ_CACHE_LIMIT", text)
    with pytest.raises(SerqError, match=f"SERQ_CACHE_LIMIT={text} is not a size"):
        Cache()


# Files


def test_a_file_is_built_once_and_again_when_damaged(folder: Path) -> None:
    built: list[Path] = []

    def build(path: Path) -> None:
        path.write_bytes(b"library")
        built.append(path)

    cache = Cache(folder)
    path = cache.file(_key(1, "code"), ".so", build)
    assert path == cache.file(_key(1, "code"), ".so", build) and len(built) == 1
    assert path.read_bytes() == b"library" and stat.S_IMODE(path.stat().st_mode) == 0o755
    assert list(path.parent.iterdir()) == [path]

    def change(content: bytes) -> None:
        path.write_bytes(content)

    outside = folder.parent / "outside.so"
    outside.write_bytes(b"library")
    damages = [
        lambda: change(b"Library"),
        lambda: change(b""),
        path.unlink,
        lambda: path.chmod(0o777),
        lambda: (path.unlink(), path.symlink_to(outside)),
    ]
    for count, damage in enumerate(damages, start=2):
        damage()
        assert cache.file(_key(1, "code"), ".so", build) == path
        assert len(built) == count and path.read_bytes() == b"library" and not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_build_that_fails_leaves_nothing(folder: Path) -> None:
    def build(path: Path) -> None:
        path.write_bytes(b"half")
        raise SerqError("the compiler refuses it")

    with pytest.raises(SerqError, match="the compiler refuses it"):
        Cache(folder).file(_key(1, "code"), ".so", build)
    assert not (folder / "files").exists() and not Cache(folder).info().entries


# Several processes


def _store_and_find(folder: Path, worker: int, both_here: Barrier) -> None:
    cache = Cache(folder)
    both_here.wait(60)
    for start in range(0, 400, 20):
        cache.keep({_key(i): b"%d" % i for i in range(start + worker, start + 20, 2)})
        cache.find([_key(i) for i in range(400)])
        cache.file(_key(start, "code"), ".so", lambda path: path.write_bytes(b"%d" % worker * 99) and None)
    assert not cache_module._NOTED


def test_two_processes_at_once_lose_nothing(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_store_and_find, args=(folder, i, barrier)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    cache = Cache(folder)
    assert cache.find([_key(i) for i in range(400)]) == {_key(i): b"%d" % i for i in range(400)}
    assert {usage.kind: usage.entries for usage in cache.info().kinds} == {"code": 20, "features": 400}

    def build(path: Path) -> None:
        raise AssertionError(f"{path} was lost")

    for start in range(0, 400, 20):
        cache.file(_key(start, "code"), ".so", build)
    assert len(list((folder / "files").iterdir())) == 20


# Folders that cannot be used


def _without_a_cache(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything goes on, with one note."""
    for _ in range(2):
        assert cache.remembered(_key(1), lambda: b"made") == b"made"
        path = cache.file(_key(2, "code"), ".so", lambda path: path.write_bytes(b"made") and None)
        assert path.read_bytes() == b"made" and cache.folder not in path.parents
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert cache.info().entries == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"note: the cache folder {cache.folder} cannot be used (")


def test_a_folder_that_cannot_be_made_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    _without_a_cache(Cache(tmp_path / "file" / "cache"), capsys)


def test_a_database_that_cannot_be_opened_is_done_without(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cache.sqlite").mkdir(parents=True)
    _without_a_cache(Cache(folder), capsys)


def test_a_full_disk_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Cache(folder).keep({_key(9): b"nine"})
    connect = sqlite3.connect

    def full(*arguments: object, **keywords: object) -> sqlite3.Connection:
        database = connect(*arguments, **keywords)  # type: ignore[call-overload]
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr(cache_module.sqlite3, "connect", full)
    cache = Cache(folder)
    assert cache.remembered(_key(1), lambda: bytes(10**5)) == bytes(10**5)
    assert cache.find([_key(9), _key(1)]) == {_key(9): b"nine"}
    assert "disk is full" in capsys.readouterr().err


def test_a_read_only_database_is_still_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Cache(folder, clock=lambda: 0).keep({_key(1): b"one"})
    connect = sqlite3.connect
    monkeypatch.setattr(
        cache_module.sqlite3, "connect", lambda path, **_: connect(f"file:{path}?mode=ro", uri=True)
    )
    cache = Cache(folder)
    assert cache.find([_key(1)]) == {_key(1): b"one"}
    assert capsys.readouterr().err == ""  # the use is not recorded, and nobody needs to know
    assert cache.remembered(_key(2), lambda: b"two") == b"two"
    assert "readonly" in capsys.readouterr().err
    with pytest.raises(SerqError, match="cannot remove entries"):
        cache.clear()


def test_a_read_only_folder_says_so_and_is_still_read() -> None:
    def work(place: Path) -> None:
        said = io.StringIO()
        cache_module._private_folder.cache_clear()  # it may be the parent's, who was another user
        tempfile.tempdir = str(place)
        cache = Cache(place / "cache")
        cache.keep({_key(1): b"one"})
        kept = cache.file(_key(2, "code"), ".so", lambda path: path.write_bytes(b"library") and None)
        for folder in (place / "cache" / "files", place / "cache"):
            (place / "cache" / "cache.sqlite").chmod(0o400)
            folder.chmod(0o500)
        with contextlib.redirect_stderr(said):
            assert cache.find([_key(1)]) == {_key(1): b"one"}
            assert cache.file(_key(2, "code"), ".so", lambda path: path.write_bytes(b"") and None) == kept
            assert said.getvalue() == ""
            assert cache.remembered(_key(3), lambda: b"three") == b"three"
            made = cache.file(_key(4, "code"), ".so", lambda path: path.write_bytes(b"new") and None)
        assert made.read_bytes() == b"new"
        assert said.getvalue().startswith(f"note: the cache folder {place / 'cache'} cannot be used (")
        (place / "cache").chmod(0o700)

    as_another_user(work)


def test_the_folder_is_private_to_the_user(folder: Path) -> None:
    Cache(folder).keep({_key(1): b"one"})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert Cache(folder).find([_key(1)])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files here")
def test_a_folder_that_others_own_or_may_change_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder)
    cache.keep({_key(1): b"one"})
    folder.chmod(0o770)
    with pytest.raises(SerqError, match=rf"others may write to the cache folder {folder}; remove it, or set"):
        cache.find([_key(1)])
    monkeypatch.setenv("SERQ_CACHE", str(folder))
    found = next(finding for finding in doctor.diagnose().findings if finding.name == "cache")
    assert not found.ready and str(folder) in found.found and "others may write" in found.found
    folder.chmod(0o700)
    folder.parent.chmod(0o777)
    with pytest.raises(
        SerqError, match=f"{folder.parent} is open to all; set SERQ_CACHE to a folder of your"
    ):
        cache.file(_key(2), ".so", lambda path: path.write_bytes(b"") and None)
    folder.parent.chmod(0o1777)
    assert cache.find([_key(1)])
    monkeypatch.setattr(cache_module.os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(SerqError, match=f"the cache folder {folder} belongs to another user; set SERQ_CACHE"):
        cache.keep({_key(2): b"two"})


@pytest.mark.skipif(os.name == "nt", reason="no owners of files here")
@pytest.mark.parametrize("name", ["cache.sqlite", "files"])
def test_what_another_user_put_into_the_folder_while_it_was_open_is_refused(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(folder)
    cache.file(_key(1, "code"), ".so", lambda path: path.write_bytes(b"library") and None)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        SerqError, match=f"{name} in the cache is a link or belongs to another user; remove it"
    ):
        cache.find([_key(1)])
    (folder / name).unlink()
    (tmp_path / "elsewhere").rename(folder / name)
    lstat = Path.lstat

    def another(path: Path) -> os.stat_result:
        state = list(lstat(path))
        state[4] += path.name == name  # its owner
        return os.stat_result(state)

    monkeypatch.setattr(Path, "lstat", another)
    with pytest.raises(
        SerqError, match=f"{name} in the cache is a link or belongs to another user; remove it"
    ):
        cache.file(_key(1, "code"), ".so", lambda path: path.write_bytes(b"") and None)


# Commands


def test_cache_info_and_clear_tell_what_is_there_by_kind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERQ_CACHE", str(folder))
    monkeypatch.setenv("SERQ_CACHE_LIMIT", "3 MB")

    def run(*words: str) -> str:
        done = CliRunner().invoke(main, ["cache", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert json.loads(run("info", "--json"))["entries"] == 0 and not folder.exists()
    assert run("clear") == "nothing to remove: the cache holds no entries\n"
    cache = Cache(clock=lambda: 1_600_000_000)
    cache.keep({_key(i): bytes(1000) for i in range(5)})
    path = cache.file(_key(1, "classify"), ".so", lambda path: path.write_bytes(b"code") and None)
    (path.parent / ".interrupted").write_bytes(b"half")
    info = json.loads(run("info", "--json"))
    assert info == {
        "folder": str(folder),
        "limit": 3_000_000,
        "entries": 6,
        "bytes": 5004,
        "kinds": {
            "classify": {"entries": 1, "bytes": 4, "last_use": "2020-09-13T12:26:40+00:00"},
            "features": {"entries": 5, "bytes": 5000, "last_use": "2020-09-13T12:26:40+00:00"},
        },
    }
    lines = run("info").splitlines()
    assert lines[:3] == [f"folder: {folder}", "limit: 3.0 MB", "used: 5.0 KB in 6 entries"]
    assert lines[3].startswith("  classify: 1 entry, 4 bytes, last used 2020-09-1")
    assert run("clear", "robustness") == "nothing to remove: the cache holds no entries of kind robustness\n"
    assert run("clear", "features") == "removed features: 5 entries, 5.0 KB\n"
    assert [usage.kind for usage in cache.info().kinds] == ["classify"] and path.exists()
    assert json.loads(run("clear", "--json"))["bytes"] == 4
    assert cache.info().entries == 0 and not path.parent.exists()


# A changed front end


_EXPERIMENT = """
import sys
from pathlib import Path
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.experiments.features import FEATURE_SETS, compute, corpus_digest
clips = load_corpus(Path(sys.argv[1])).clips
print(int(compute(FEATURE_SETS["device15"], clips, corpus_digest(clips)).sum()))
"""


def test_experiments_compute_features_again_after_the_front_end_changed(tmp_path: Path) -> None:
    for name in ("serq_mcu", "firmware", "templates", "boards"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    rng = np.random.default_rng(0)
    for label in ("calm", "angry"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "clips" / label / "0.wav", rng.normal(0, 0.1, 16000), 16000)

    def features() -> int:
        return int(
            subprocess.run(
                [sys.executable, "-c", _EXPERIMENT, str(tmp_path / "clips")],
                env=os.environ | {"PYTHONPATH": str(tmp_path), "SERQ_CACHE": str(tmp_path / "cache")},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )

    first = features()
    source = tmp_path / "serq_mcu" / "extraction" / "recordings.py"
    for text in ("\n# another comment\n", "\naugmented_features = lambda *_: np.ones((2, 15), np.int32)\n"):
        source.write_text(source.read_text() + text)
    assert first != 30
    assert features() == 30
