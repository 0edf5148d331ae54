"""The words that the project does not use: found wherever they stand, and nowhere in the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import lint_words
from tools.lint_words import INSTEAD, findings, of_file

ROOT = Path(__file__).parents[2]


def test_no_such_word_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.lint_words"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_word_is_found_in_pages_strings_and_docstrings_and_not_in_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint_words, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("Good.\nDo it anew.\n")
    (tmp_path / "b.py").write_text('"""Do.\n\nTrained anew."""\nanew = f"all but for {1}"\n')
    assert list(of_file(tmp_path / "a.md")) == ["a.md:2: 'anew': write 'again'"]
    assert list(of_file(tmp_path / "b.py")) == [
        "b.py:3: 'anew': write 'again'",
        "b.py:4: 'but for': write 'except'",
    ]
    assert len(INSTEAD) > 20 and not list(findings("again, except, available"))
