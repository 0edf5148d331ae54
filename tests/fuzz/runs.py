"""What every run of a fuzzer needs. Imports nothing of serq-mcu: atheris instruments what is imported after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

C_TARGETS = ("wire", "application", "runtime")
PYTHON_TARGETS = ("model_file", "board_file", "configuration", "audio", "corpus", "baseline", "decoder")
COMMON = ("-max_len=8192", "-timeout=60", "-rss_limit_mb=2000")  # options of libFuzzer


def write(seeds: Callable[[], list[bytes]], folder: Path) -> str:
    """The seeds as files of the new `folder`, whose name is returned."""
    folder.mkdir()
    for index, seed in enumerate(seeds()):
        (folder / str(index)).write_bytes(seed)
    return str(folder)
