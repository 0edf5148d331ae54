"""What every run of a fuzzer needs.

Imports nothing of serq-mcu: atheris instruments what is imported after it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

C_TARGETS = ("wire", "application", "runtime")
PYTHON_TARGETS = (
    *("model_file", "board_file", "configuration", "audio", "corpus", "table", "network", "baseline"),
    "decoder",
)
# Options of libFuzzer. It is one allocation that is limited, not the process: Linux counts in that what its
# parent had when it was started.
COMMON = ("-max_len=8192", "-timeout=60", "-rss_limit_mb=0", "-malloc_limit_mb=1000")


def write(seeds: Callable[[], list[bytes]], folder: Path) -> str:
    """The seeds as files of the new `folder`, whose name is returned."""
    folder.mkdir()
    for index, seed in enumerate(seeds()):
        (folder / str(index)).write_bytes(seed)
    return str(folder)
