"""Exports of everything, to compare two states of the project.

    python -m tools.exports write FOLDER

exports every shipped model for every board, as every application and kind of library;

    python -m tools.exports compare BEFORE AFTER

prints each distinct change of a line once, with how often it occurs, and exits with 1 if there is any. Run
the first with the checkout of either state (`PYTHONPATH=CHECKOUT python tools/exports.py write FOLDER`); it
uses the command line alone. Compilers are hidden from it, so nothing is compiled.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MODELS = ("emodb", "emodb-small", "emodb-light")
APPLICATIONS = ("harness", "live", "capture")
LIBRARIES = ("arduino", "espidf", "header")
_DIGEST = re.compile(r'": "[0-9a-f]{64}"')  # a manifest's, of a file that is compared itself


def write(out: Path) -> int:
    """Export everything below `out`, a folder each; what is refused leaves its sentence in a file instead."""
    import serq_mcu

    os.environ["PATH"] = ""
    checkout = Path(serq_mcu.__file__).parents[1]
    boards = sorted(path.stem for path in (checkout / "boards").glob("*.toml"))
    for model in MODELS:
        for board in boards:
            for app in APPLICATIONS:
                options = ["export", model, "--board", board, "--app", app]
                _export(options, out / model / board / app)
            for kind in LIBRARIES:
                _export(["library", model, "--board", board, "--kind", kind], out / model / board / kind)
        print(f"exported {model} for {len(boards)} boards", file=sys.stderr)
    return 0


def _export(options: list[str], folder: Path) -> None:
    from serq_mcu.cli import main

    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main([*options, "--out", str(folder)], standalone_mode=False)
        except Exception as error:  # a refusal is a result, too
            folder.with_suffix(".refused").write_text(f"{error}\n")


def compare(before: Path, after: Path) -> int:
    """Print what differs; return 1 if anything does."""
    names = sorted({path.relative_to(root) for root in (before, after) for path in _files(root)})
    changes: Counter[tuple[str, str]] = Counter()
    for name in names:
        for change in _changes(before / name, after / name):
            changes[name.name, change] += 1
    for (file, change), count in sorted(changes.items()):
        print(f"{count:>6} x {file}: {change}")
    print(f"{len(names)} files, {len(changes)} distinct changes of lines")
    return 1 if changes else 0


def _changes(before: Path, after: Path) -> Iterator[str]:
    if not before.exists() or not after.exists():
        yield "only after" if after.exists() else "only before"
        return
    if before.read_bytes() == after.read_bytes():
        return
    if before.suffix == ".serq":
        yield "differs (a model file)"
        return
    old, new = (path.read_text(encoding="utf-8").splitlines() for path in (before, after))
    for line in difflib.unified_diff(old, new, lineterm="", n=0):
        if not line.startswith(("---", "+++", "@@")) and not _DIGEST.search(line):
            yield line if len(line) <= 300 else f"{line[:300]}…"


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())


if __name__ == "__main__":
    command, *folders = sys.argv[1:] or ["help"]
    if command == "write" and len(folders) == 1:
        sys.exit(write(Path(folders[0])))
    if command == "compare" and len(folders) == 2:
        sys.exit(compare(Path(folders[0]), Path(folders[1])))
    sys.exit(__doc__)
