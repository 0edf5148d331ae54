"""Writing is atomic: whole or not at all, and never over somebody else's work."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serq_mcu.base import files
from serq_mcu.base.files import check_file, check_folder, new_folder, open_log, write_file
from serq_mcu.errors import SerqError
from tests.support.kills import Killed, as_another_user, kill_at_every_step, run_whole


def test_a_file_appears_whole(tmp_path: Path) -> None:
    assert write_file(tmp_path / "a" / "b.txt", "text").read_text() == "text"
    write_file(tmp_path / "a" / "b.txt", b"more")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SerqError, match="cannot write"):
        write_file(tmp_path / "file" / "b.txt", "text")


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with new_folder(tmp_path / "f", "mark") as folder:
        (folder / "mark").write_text("1")
    for error in (ValueError, OSError, KeyboardInterrupt):
        raised = SerqError if error is OSError else error
        with pytest.raises(raised), new_folder(tmp_path / "f", "mark") as folder:  # noqa: PT012
            (folder / "mark").write_text("2")
            raise error("stop")
    assert (tmp_path / "f" / "mark").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_folder_without_our_mark_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with new_folder(tmp_path / "f", "mark") as folder:  # empty: nothing to lose
        (folder / "other").write_text("x")
    with pytest.raises(SerqError, match="was not made by serq-mcu"), new_folder(tmp_path / "f", "mark"):
        pass
    assert (tmp_path / "f" / "other").read_text() == "x"


def test_a_folder_is_put_aside_where_names_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchanger", lambda: None)
    for text in ("1", "2"):
        with new_folder(tmp_path / "f", "mark") as folder:
            (folder / "mark").write_text(text)
    assert (tmp_path / "f" / "mark").read_text() == "2"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_read_only_folder_inside_the_old_one_is_replaced_too() -> None:
    def write(folder: Path, text: str) -> None:
        with new_folder(folder / "f", "mark") as fresh:
            _fill(fresh, text)

    def work(folder: Path) -> None:
        write(folder, "1")
        (folder / "f" / "deep" / "er").chmod(0o500)
        (folder / "f" / "deep").chmod(0)
        write(folder, "2")
        assert _content(folder / "f") == ["2", "2", "2"]
        assert [p.name for p in folder.iterdir()] == ["f"]
        (folder / "shut").mkdir(0o500)
        for path in (folder / "shut" / "f", folder / "shut" / "a" / "f"):
            for check in (lambda path=path: check_folder(path, "mark"), lambda path=path: check_file(path)):
                with pytest.raises(SerqError, match=r"cannot write .*Permission denied"):
                    check()

    as_another_user(work)


def _fill(folder: Path, text: str) -> None:
    (folder / "mark").write_text(text)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "file").write_text(text)
    (folder / "deep" / "er" / "file").write_text(text)


def _content(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_link_to_a_folder_stays_and_the_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "new").symlink_to("later")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("link", "link", "new"):
        with new_folder(tmp_path / name, "mark") as folder:
            (folder / "mark").write_text(name)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "mark").read_text() == "link"
    assert (tmp_path / "later" / "mark").read_text() == "new"
    with pytest.raises(SerqError, match=r"cannot write .*symbolic links"), new_folder(tmp_path / "loop", "m"):
        pytest.fail("the work began")


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path, words in (
        (Path(), "the folder that you are in"),
        (tmp_path / "file", "was not made by serq-mcu"),
        (tmp_path / "file" / "below", "cannot write"),
        (Path("/proc"), "was not made by serq-mcu"),
        (tmp_path / ("n" * 300), "cannot write .*name too long"),
    ):
        with pytest.raises(SerqError, match=words), new_folder(path, "mark"):
            pytest.fail("the work began")
        with pytest.raises(SerqError, match=words):
            check_folder(path, "mark")
    check_folder(tmp_path / "a" / "b", "mark")
    assert not (tmp_path / "a").exists()


def test_a_finished_folder_stays_when_its_place_was_taken_meanwhile(tmp_path: Path) -> None:
    with (
        pytest.raises(SerqError, match=r"was not made by serq-mcu.*; what was made is in .*/f-2$"),
        new_folder(tmp_path / "f", "mark") as folder,
    ):
        _taken_meanwhile(folder, tmp_path / "f")
    assert (tmp_path / "f" / "theirs").read_text() == "x"
    assert (tmp_path / "f-2" / "mark").read_text() == "hours of work"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "f-2"]


def test_a_file_never_replaces_a_link_a_device_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to("target")
    for check in (check_file, lambda path: write_file(path, "x")):
        with pytest.raises(SerqError, match="is a link to target; name the file itself"):
            check(tmp_path / "link")
        with pytest.raises(SerqError, match="it is a folder"):
            check(tmp_path)
    with pytest.raises(SerqError, match="is a link to target"):
        open_log(tmp_path / "link")
    assert (tmp_path / "target").read_text() == "precious"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SerqError, match="nobody reads the pipe"):
        write_file(tmp_path / "pipe", "x")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", "heard")
    assert os.read(reader, 99) == b"heard"
    os.close(reader)
    write_file(Path("/dev/null"), "x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    (tmp_path / "null").symlink_to("/dev/null")
    write_file(tmp_path / "null", "x")
    assert (tmp_path / "null").is_symlink()
    with pytest.raises(SerqError, match="No space left"):
        write_file(Path("/dev/full"), "x")


def test_what_an_ended_process_left_is_swept_up_and_what_one_at_work_holds_is_not(tmp_path: Path) -> None:
    for name in (".f.serq-gone", ".f.serq-gone2.old"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "mark").write_text(name)
    (tmp_path / ".g.serq-other").mkdir()
    (tmp_path / ".f.serq-link").symlink_to(tmp_path)
    with new_folder(tmp_path / "f", "mark") as outer:
        with new_folder(tmp_path / "f", "mark") as inner:
            (inner / "mark").write_text("inner")
        (outer / "mark").write_text("outer")
    assert (tmp_path / "f" / "mark").read_text() == "outer"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".f.serq-link", ".g.serq-other", "f"]


def _taken_meanwhile(folder: Path, place: Path) -> None:
    (folder / "mark").write_text("hours of work")
    place.mkdir()
    (place / "theirs").write_text("x")


# --- kill at every step


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("end", [Killed.SIGKILL, Killed.CTRL_C])
def test_a_kill_at_any_step_of_a_folder_loses_nothing(tmp_path: Path, end: Killed, exchange: bool) -> None:
    def write(text: str) -> None:
        if not exchange:
            files._exchanger = lambda: None
        with new_folder(tmp_path / "f", "mark") as folder:
            _fill(folder, text)

    write("old")
    (tmp_path / "f" / "build").mkdir()
    (tmp_path / "f" / "build" / "object").write_text("old")

    def check(step: int) -> None:
        found = set(_content(tmp_path / "f")) if (tmp_path / "f").exists() else set()
        if not exchange and not found:  # between two renames: the next run puts the old one back
            aside = list(tmp_path.glob(".f.serq-*.old"))
            found = set(_content(aside[0]))
        assert found in ({"old"}, {"new"}), step
        run_whole(lambda: write("old"))
        assert _content(tmp_path / "f") == ["old"] * 3, step
        assert [path.name for path in tmp_path.iterdir()] == ["f"], step

    assert kill_at_every_step(lambda: write("new"), end, check) > 15


@pytest.mark.parametrize("end", [Killed.SIGKILL, Killed.CTRL_C])
def test_a_kill_at_any_step_of_a_file_loses_nothing(tmp_path: Path, end: Killed) -> None:
    path = tmp_path / "f"
    write_file(path, "old")

    def check(step: int) -> None:
        assert path.read_text() in ("old", "new"), step
        run_whole(lambda: write_file(path, "old"))
        assert path.read_text() == "old", step
        assert [found.name for found in tmp_path.iterdir()] == ["f"], step

    assert kill_at_every_step(lambda: write_file(path, "new"), end, check) > 3
