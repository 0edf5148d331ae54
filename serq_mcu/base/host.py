"""The host computer: its C compiler, and the folder for files that can be made again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import platformdirs

from serq_mcu.errors import SerqError


def compiler() -> str:
    """Return this computer's C compiler.

    Raises SerqError if there is none.
    """
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise SerqError("no C compiler found; install gcc or clang, or verify on a board")


def cache_folder() -> Path:
    """Return the folder of what took long to compute: SERQ_CACHE, or the user's cache folder.

    It may be removed at any time.
    """
    return Path(os.environ.get("SERQ_CACHE") or platformdirs.user_cache_path("serq-mcu"))
