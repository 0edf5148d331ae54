"""All parsers, or those named, in turns, until each has been fuzzed for so many CPU seconds: `python -m
tests.fuzz.campaign FOLDER [SECONDS [PARSER …]]`.

FOLDER keeps the inputs that reach something new, what was found, and the figures so far, so that a campaign
may be broken off and gone on with. Prints a table for docs/fuzzing.md; exit 1 if anything was found.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fuzz import native
from tests.fuzz.runs import C_TARGETS, COMMON, PYTHON_TARGETS, write

SLICE = 60  # seconds of a turn


def main() -> None:
    """The command."""
    if len(sys.argv) < 2:
        sys.exit(
            "usage: python -m tests.fuzz.campaign FOLDER [CPU SECONDS for each parser, 600 [PARSER ...]]"
        )
    folder, wanted = Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    targets = sys.argv[3:] or [*C_TARGETS, *PYTHON_TARGETS]
    state_file = folder / "figures.json"
    state: dict[str, Any] = json.loads(state_file.read_text()) if state_file.exists() else {}
    while due := [target for target in targets if state.get(target, {}).get("cpu_seconds", 0) < wanted]:
        for target in due:
            state[target] = _turn(
                folder,
                target,
                state.get(target, {"cpu_seconds": 0.0, "inputs": 0, "edges": 0, "findings": 0}),
            )
            state_file.write_text(json.dumps(state, indent=1))
    print("| parser | CPU seconds | inputs | edges reached | findings left |\n|---|---|---|---|---|")
    for target, figures in state.items():
        print(
            f"| {target} | {figures['cpu_seconds']:.0f} | {figures['inputs']:,} | {figures['edges']} |"
            f" {figures['findings']} |"
        )
    sys.exit(1 if any(figures["findings"] for figures in state.values()) else 0)


def _turn(folder: Path, target: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Fuzz one parser for a slice; its figures so far."""
    kept, found = folder / "inputs" / target, folder / "findings" / target
    for path in (kept, found):
        path.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={SLICE}", f"-artifact_prefix={found}/", str(kept)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", target, *options]
    if target in C_TARGETS:
        program = folder / "programs" / target / f"fuzz_{target}"
        if not program.exists():
            program.parent.mkdir(parents=True)
            native.build(target, program.parent)
            write(native.SEEDS[target], program.parent / "seeds")
        command = [str(program), *COMMON, *options, str(program.parent / "seeds")]
    before = _cpu_seconds()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    (folder / f"{target}.log").write_text(done.stderr)
    figures["cpu_seconds"] += _cpu_seconds() - before
    figures["inputs"] += sum(int(runs) for runs in re.findall(r"Done (\d+) runs", done.stderr)[-1:])
    figures["edges"] = max(
        [figures["edges"], *(int(edges) for edges in re.findall(r"cov: (\d+)", done.stderr))]
    )
    figures["findings"] = len([*found.iterdir()])
    return figures


def _cpu_seconds() -> float:
    """Used so far by processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
