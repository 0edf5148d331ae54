"""Packages of npm, for pages: obtained by `npm pack` when they are needed, checked, and kept in the cache.

npm asks whatever registry or mirror the user has set it to, so none is named here. A package is known by its
pinned integrity, wherever it came from.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.base.cache import Cache, key
from serq_mcu.base.progress import Progress, silent
from serq_mcu.base.text import shown
from serq_mcu.errors import SerqError

_SECONDS = 180  # for npm, which tries twice
_PATIENCE = ("--fetch-retries=1", "--fetch-timeout=30000")
_ROOT = "package/"  # of an archive of npm
_ERROR = ("npm ERR! ", "npm error ")


@dataclass(frozen=True)
class Package:
    """A version of a package. integrity: as `npm view NAME@VERSION dist.integrity` prints it, of SHA-512."""

    name: str
    version: str
    integrity: str


def package_files(package: Package, progress: Progress = silent) -> dict[str, bytes]:
    """Return the files of a package, path to content, from the cache or by `npm pack`.

    Raises SerqError without npm, if npm cannot get the package, or if it is not the one that was pinned.
    """
    name = key("npm", package.name, package.version, package.integrity)
    archive = Cache().remembered(name, lambda: _packed(package, progress))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        files = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        return {name.removeprefix(_ROOT): file.read() for name, file in files.items() if file}


def _packed(package: Package, progress: Progress) -> bytes:
    """Return the archive of a package, as npm gives it."""
    npm, wanted = shutil.which("npm"), f"{package.name}@{package.version}"
    if npm is None:
        raise SerqError(
            f"{wanted} comes from npm, which is not installed; install Node.js with npm (`sudo apt-get"
            " install npm` on Debian and Ubuntu)"
        )
    progress(f"getting {wanted} from npm")
    with tempfile.TemporaryDirectory(prefix="serq-npm-") as folder:
        command = [npm, "pack", "--ignore-scripts", *_PATIENCE, "--pack-destination", folder, wanted]
        said = _run(command, folder)
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise SerqError(
                f"npm could not get {wanted} ({_reason(said)}); check the network and npm's settings"
            )
        archive = archives[0].read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != package.integrity:
        raise SerqError(
            f"what npm gives as {wanted} is not what was published: its SHA-512 differs; look at the"
            " registry that `npm config get registry` names"
        )
    return archive


def _run(command: list[str], folder: str) -> str:
    """Run npm, and return what it said on standard error."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,  # no package.json or .npmrc of a project counts
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS} seconds"
    return done.stderr


def _reason(said: str) -> str:
    """Return the first line of npm's errors that says more than a code."""
    lines = [line for line in said.splitlines() if line.startswith(_ERROR)]
    told = [
        line for line in lines if not line.split(maxsplit=2)[-1].startswith(("code ", "errno ", "syscall "))
    ]
    return shown((told or lines or said.splitlines() or ["it said nothing"])[0])[:200]
