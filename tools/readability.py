"""How easily a page is read: the Flesch reading ease of its prose, by textstat.

`python -m tools.readability [PAGE ...]` prints the figure of the README, the tutorial and the how-to pages,
and ends with 1 if one is below 55 ("fairly difficult" begins at 60, "difficult" at 50). Blocks of code,
tables and headings are left out, as they are no sentences; names in a sentence count as words.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import textstat

ROOT = Path(__file__).parents[1]
LEAST = 55.0  # of a page
_BLOCK = re.compile(r"^(```|~~~).*?^\1\s*$|^<!--.*?-->\s*$|(?:^ {4}[^\n]*\n)+", re.M | re.S)
_NO_SENTENCE = re.compile(r"^\s*(\||#|!\[|---|\?\?\?|!!!).*$", re.M)
_IMAGE, _LINK = re.compile(r"!\[[^\]]*\]\([^)]*\)"), re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(r"<?https?://\S+>?")
_ITEM, _MARKS = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+", re.M), re.compile(r"`|\*\*?")


def pages() -> list[Path]:
    """List the pages that the bar is for."""
    return [
        ROOT / "README.md",
        ROOT / "docs" / "tutorial.md",
        *sorted((ROOT / "docs" / "howto").glob("*.md")),
    ]


def prose(markdown: str) -> str:
    """Return the sentences of a page, one a line, without markup."""
    text = _NO_SENTENCE.sub("", _BLOCK.sub("", markdown))
    text = _LINK.sub(r"\1", _IMAGE.sub("", text))
    text = _MARKS.sub("", _ITEM.sub("", _ADDRESS.sub("link", text)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(line if line[-1] in ".!?" else f"{line.rstrip(':;,')}." for line in lines)


def ease(markdown: str) -> float:
    """Compute the Flesch reading ease of a page's prose: 206.8 less words a sentence and syllables a word."""
    return float(textstat.flesch_reading_ease(prose(markdown)))


def main() -> None:
    """Print the figure of each page, the hardest first."""
    named = [Path(name) for name in sys.argv[1:]] or pages()
    found = sorted((ease(path.read_text(encoding="utf-8")), path) for path in named)
    for figure, path in found:
        print(f"{figure:5.1f}  {os.path.relpath(path)}")
    sys.exit(1 if any(figure < LEAST for figure, _ in found) else 0)


if __name__ == "__main__":
    main()
