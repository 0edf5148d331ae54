"""The pages that users read first are easy to read, by a figure that tells easy prose from hard."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.tools import absent

ROOT = Path(__file__).parents[2]
HOW_TOS = sorted(path.name for path in (ROOT / "docs/howto").glob("*.md"))
PAGES = ["README.md", "docs/tutorial.md", *(f"docs/howto/{name}" for name in HOW_TOS)]
HARD = "Notwithstanding considerable methodological heterogeneity, interpretability predominates."


@pytest.fixture(autouse=True)
def _textstat() -> None:
    if importlib.util.find_spec("textstat") is None:
        absent("textstat is not installed")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_easy_to_read(page: str) -> None:
    from tools.readability import LEAST, ease, pages

    assert ROOT / page in pages()
    assert ease((ROOT / page).read_text(encoding="utf-8")) >= LEAST


def test_hard_prose_is_told_from_easy_and_code_does_not_count() -> None:
    from tools.readability import LEAST, ease, prose

    easy = "Plug the board in.\nThen press the button.\n"
    code = "# Heading\n\n```sh\nserq-mcu export\n```\n\n| a | b |\n|---|---|\n\n"
    code += "- [wire](x.md) `it` **now**:\n\n    indented code\n"
    assert prose(code + easy) == "wire it now.\nPlug the board in.\nThen press the button."
    assert ease(easy) > 90 > LEAST > ease(HARD) and ease(code + easy) > 90
