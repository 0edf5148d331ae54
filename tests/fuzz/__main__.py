"""Fuzz one reader: `python -m tests.fuzz TARGET [libFuzzer's options]`, coverage-guided by atheris."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["serq_mcu", "safetensors", "tomllib", "json", "cobs"]):
    from tests.fuzz.targets import SEEDS, TARGETS, guarded


def main() -> None:
    """Run atheris on the target, from its seeds."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [options of libFuzzer, such as -max_total_time=600]")
    name = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix=f"serq-seeds-{name}-") as seeds:
        for index, seed in enumerate(SEEDS[name]()):
            Path(seeds, str(index)).write_bytes(seed)
        atheris.Setup([sys.argv[0], "-max_len=8192", "-timeout=20", "-rss_limit_mb=2000", *sys.argv[2:], seeds], guarded(TARGETS[name]))
        atheris.Fuzz()


main()
