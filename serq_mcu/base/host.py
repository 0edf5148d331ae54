"""The host computer: its C compiler, and the folder for files that can be made again."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

from serq_mcu.errors import SerqError

# what a compiler reads beside its command
_VARIABLES = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX")


def compiler() -> str:
    """Return this computer's C compiler.

    Raises SerqError if there is none.
    """
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise SerqError("no C compiler found; install gcc or clang, or verify on a board")


def compiler_identity(cc: str) -> list[str]:
    """Return what decides, beside sources and command, what a compiler of this computer makes."""
    said = [
        subprocess.run([cc, option], capture_output=True, text=True, errors="replace", check=False).stdout
        for option in ("--version", "-dumpmachine")
    ]
    return [sys.platform, platform.machine(), *said, *(os.environ.get(name, "") for name in _VARIABLES)]


def cache_folder() -> Path:
    """Return the folder of what took long to compute: SERQ_CACHE, or the user's cache folder.

    It may be removed at any time. Raises SerqError for a user without a home folder.
    """
    if named := os.environ.get("SERQ_CACHE"):
        return Path(named)
    try:
        folder = platformdirs.user_cache_path("serq-mcu")
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():
        raise SerqError("the cache would be in your home folder, and you have none; set SERQ_CACHE")
    return folder
