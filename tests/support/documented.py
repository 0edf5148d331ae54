"""Commands, files and printed lines that the documentation shows, in the order of a page."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/tutorial.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/howto").glob("*.md")),
)
PROGRAMS = ("serq-mcu", "make", "pip", "pytest", "python")


@dataclass(frozen=True)
class Command:
    """A line to type, without its remark."""

    line: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)

    @property
    def of_a_checkout(self) -> bool:
        """Whether it is for contributors: it tests, counts or writes the project's own files."""
        program, *words = self.words
        return program == "python" or (program == "pytest" and words[0].startswith("tests/"))


@dataclass(frozen=True)
class TextFile:
    """A file that the reader is to write."""

    name: str
    text: str


@dataclass(frozen=True)
class Printed:
    """Lines that the commands of the block before are said to print."""

    lines: tuple[str, ...]


def shown(page: str) -> list[Command | TextFile | Printed]:
    """What a page shows: blocks fenced as sh, or indented, are commands; with a title, a file; text right
    after commands, what they print.
    """
    found: list[Command | TextFile | Printed] = []
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.compile(
        r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```\n|(?:^\n|\A)((?: {4}[^\n]*\n)+)", re.M | re.S
    )
    end = -1
    for match in blocks.finditer(text):
        language, title, fenced, indented = match.groups()
        follows = match.start() - end <= 1 and bool(found) and isinstance(found[-1], Command)
        if title:
            found.append(TextFile(title, fenced))
        elif indented or language == "sh":
            lines = [
                shlex.join(shlex.split(line, comments=True)) for line in (indented or fenced).splitlines()
            ]
            found += [Command(line) for line in lines if line]
            end = match.end()
        elif language == "text" and follows:
            found.append(Printed(tuple(line.strip() for line in fenced.splitlines())))
    return found


@dataclass(frozen=True)
class Example:
    """Python code of a page, and the lines that it is said to print, if the page says it."""

    code: str
    printed: tuple[str, ...] = ()


def examples(page: str) -> list[Example]:
    """The Python code of a page that is no file to write, with the block of text right after it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
    return [Example(code, tuple((printed or "").splitlines())) for code, printed in blocks.findall(text)]


_EMOTIONS = re.compile(r"\b(anger|boredom|disgust|fear|happiness|neutral|sadness|no speech|not sure)\b")


def masked(line: str) -> str:
    """A printed line without its figures, emotions and spaces: what stays the same with other recordings
    and models.
    """
    plain = re.sub(r"\b[0-9a-f]{16}\b", "#", " ".join(line.split()))
    plain = _EMOTIONS.sub("@", plain)
    return re.sub(r"-?[\d.]*\d(e-\d+)?", "#", plain)
