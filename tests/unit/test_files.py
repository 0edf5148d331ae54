"""Writing is atomic: whole or not at all, and never over somebody else's work."""

from __future__ import annotations

from pathlib import Path

import pytest

from serq_mcu.base.files import new_folder, write_file
from serq_mcu.errors import SerqError


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
