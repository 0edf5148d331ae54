"""Fuzz one parser: `python -m tests.fuzz TARGET [options of libFuzzer]`. C by libFuzzer itself, Python by atheris, which is built on it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import native

COMMON = ("-max_len=8192", "-timeout=20", "-rss_limit_mb=2000")
PYTHON = ("model_file", "board_file", "configuration", "audio", "corpus", "decoder")


def main() -> None:
    """Parse, fuzz."""
    if len(sys.argv) < 2 or sys.argv[1] not in (*native.SEEDS, *PYTHON):
        sys.exit(f"usage: python -m tests.fuzz {'|'.join((*native.SEEDS, *PYTHON))} [options of libFuzzer, such as -max_total_time=600]")
    target, options = sys.argv[1], [*COMMON, *sys.argv[2:]]
    with tempfile.TemporaryDirectory(prefix=f"serq-fuzz-{target}-") as work:
        if target in native.SEEDS:
            program = native.build(target, Path(work))
            sys.exit(subprocess.run([program, *options, _write(native.SEEDS[target], Path(work) / "seeds")]).returncode)
        _atheris(target, options, Path(work))


def _atheris(target: str, options: list[str], work: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["serq_mcu", "tomllib", "json", "cobs"]):
        from tests.fuzz.targets import SEEDS, TARGETS, guarded
    atheris.Setup([sys.argv[0], *options, _write(SEEDS[target], work / "seeds")], guarded(TARGETS[target]))
    atheris.Fuzz()


def _write(seeds: Callable[[], list[bytes]], folder: Path) -> str:
    folder.mkdir()
    for index, seed in enumerate(seeds()):
        (folder / str(index)).write_bytes(seed)
    return str(folder)


main()
