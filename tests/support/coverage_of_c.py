"""Line and branch coverage of the handwritten C, counted by gcov in whatever the tests compile here.

    python -m tests.support.coverage_of_c shim FOLDER

writes FOLDER/bin/cc, which compiles with counters; put it first in PATH.

    python -m tests.support.coverage_of_c report FOLDER

adds up all that was run since, and exits with 1 below 95 % of the runtime's lines.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from serq_mcu.base.resources import FIRMWARE

RUNTIME, HARNESS = FIRMWARE / "lib" / "serq" / "src", FIRMWARE / "apps" / "harness"
LEAST = 95.0  # per cent of the runtime's lines
_SHIM = (
    '#!/bin/sh\nexec "{compiler}" --coverage -fprofile-abs-path -fprofile-update=atomic -dumpdir "{data}/$$-"'
    ' "$@"\n'
)


def shim(folder: Path) -> None:
    """Write the compiler that counts."""
    compiler = shutil.which("gcc")
    assert compiler, "gcov counts for gcc only"
    for name in ("bin", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "cc").write_text(_SHIM.format(compiler=compiler, data=(folder / "data").resolve()))
    (folder / "bin" / "cc").chmod(0o755)


def count(folder: Path) -> tuple[dict[str, dict[int, int]], dict[str, dict[tuple[int, int], int]]]:
    """Of each file of runtime and harness: how often each line ran, and each branch of a line was taken."""
    lines: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    branches: dict[str, dict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))
    ours = {path.name for room in (RUNTIME, HARNESS) for path in room.glob("*.[ch]")}
    for data in sorted((folder / "data").glob("*.gcda")):
        done = subprocess.run(
            ["gcov", "--json-format", "--stdout", "--branch-probabilities", str(data)],
            capture_output=True,
            text=True,
            check=True,
        )
        for file in (file for report in done.stdout.splitlines() for file in json.loads(report)["files"]):
            name = Path(file["file"]).name
            for line in file["lines"] if name in ours else ():
                lines[name][line["line_number"]] += line["count"]
                for index, branch in enumerate(line["branches"]):
                    branches[name][line["line_number"], index] += branch["count"]
    return lines, branches


def report(folder: Path) -> bool:
    """Print the shares, file by file. Returns whether the runtime's lines are covered as they should be."""
    lines, branches = count(folder)
    print(f"{'file':<24}{'lines':>7}{'run':>9}{'branches':>10}{'taken':>9}  lines never run")
    for title, room in (("runtime", RUNTIME), ("harness", HARNESS)):
        names = sorted(name for name in lines if (room / name).exists())
        for name in names:
            missing = [line for line, times in sorted(lines[name].items()) if not times]
            print(f"{name:<24}{_share(lines[name])}{_share(branches[name])}  {' '.join(map(str, missing))}")
        of_room = [
            {(name, key): times for name in names for key, times in counts[name].items()}
            for counts in (lines, branches)
        ]
        print(f"{title + ', all':<24}{_share(of_room[0])}{_share(of_room[1])}")
        if room == RUNTIME:
            share = 100 * sum(map(bool, of_room[0].values())) / max(1, len(of_room[0]))
    return share >= LEAST


def _share(counts: dict) -> str:  # type: ignore[type-arg]
    ran = sum(map(bool, counts.values()))
    return f"{len(counts):>8}{100 * ran / len(counts) if counts else 100:>7.1f} %"


if __name__ == "__main__":
    if sys.argv[1] == "shim":
        shim(Path(sys.argv[2]))
    else:
        sys.exit(0 if report(Path(sys.argv[2])) else 1)
