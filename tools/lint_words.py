"""Words that the project does not use, in pages for users and in all text that the program prints.

`python -m tools.lint_words` names each place and what to write instead, and exits with status 1 if there is
one. Pages of results are left out: their sentences say what was measured.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/tutorial.md",
    "docs/listening.md",
    "docs/boards.md",
    "docs/report.md",
    "docs/verification.md",
    "docs/howto/",
    "docs/explanation/",
    "templates/",
    "serq_mcu/",
)
# what is not written: a pattern, and what is written instead
INSTEAD = {
    r"\banew\b": "again",
    r"\bbut for\b": "except",
    r"\bat hand\b": "available",
    r"\bfor want of\b": "for lack of",
    r"\bso (many|much) (bytes|clips|decisions|speech|digital|silence)\b": "N, or at most N",
    r"\bspeed of life\b": "real time",
    r"\bas life has it\b": "in realistic conditions",
    r"\bgo(es)? on where\b": "resumes where",
    r"\btyped wrongly\b": "usage error",
    r"\bdid not foresee\b|\bnobody foresaw\b": "unexpected error",
    r"\bspeaks otherwise\b": "random seed",
    r"\bKeep progress to yourself\b": "Suppress progress output",
    r"\bon the spot\b": "on the fly",
    r"\bcannot fool\b": "failure modes that are detected",
    r"\bwhat comes of it\b": "outcome",
    r"\btaken for what\b": "confusion matrix",
    r"\bis said\b": "is printed",
    r"\bOf a serial line\b": "Baud rate",
    r"\bwhole (path|way) once\b": "the whole pipeline",
    r"\bmore or less with\b": "plus or minus",
    r"\bno width holds\b|\bholds the margin\b": "stays within the margin",
    r"\bSee the class\b": "a sentence that begins with a verb",
    r"\bFor people\.": "a sentence that begins with a verb",
}


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words found and what to write instead."""
    for pattern, instead in INSTEAD.items():
        for match in re.finditer(pattern, text):
            yield text.count("\n", 0, match.start()) + 1, match[0], instead


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each string of a Python file, docstrings among them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def of_file(path: Path) -> Iterator[str]:
    """Yield a sentence for each place in a file."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
    parts = strings(text) if path.suffix == ".py" else [(1, text)]
    for first, part in parts:
        for line, found, instead in findings(part):
            yield f"{name}:{first + line - 1}: {found!r}: write {instead!r}"


def main() -> None:
    """Print all findings; exit with status 1 if there are any."""
    listed = subprocess.run(
        ["git", "ls-files", *PAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in listed if name.endswith((".md", ".j2", ".py"))]
    found = [line for path in paths if path.exists() for line in of_file(path)]
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
