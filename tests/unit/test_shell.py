"""What reaches a shell is plain or quoted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from serq_mcu.base.shell import is_plain, plain_folder, quoted
from serq_mcu.errors import SerqError

ODD = [
    "a b",
    "a;b",
    "$(x)",
    "`x`",
    "a'b",
    'a"b',
    "a&b",
    "new\nline",
    "%s",
    "back\\slash",
    "ü",
    "\x1b[2J",
    "a,b",
    "",
]


@pytest.mark.parametrize("name", [*ODD, "plain-1.2_x+y"])
def test_a_quoted_word_is_one_word_of_one_line(name: str) -> None:
    word = quoted(name)
    assert word.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
    assert os.fsdecode(said) == name


def test_a_plain_folder_is_itself_and_another_is_a_copy(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with plain_folder(tmp_path / "plain") as place:
        assert place == (tmp_path / "plain").resolve()
    for name in filter(None, ODD):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_text(name)
        (folder / "link").symlink_to("/dev/zero")
        with plain_folder(folder) as place:
            assert is_plain(place)
            assert (place / "file").read_text() == name
            assert (place / "link").is_symlink()
        assert not place.exists()


def test_what_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    os.mkfifo(tmp_path / "a b" / "pipe")
    with pytest.raises(SerqError, match=r"cannot copy .*/pipe to build it"), plain_folder(tmp_path / "a b"):
        pytest.fail("a pipe was copied")
