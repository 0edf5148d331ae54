"""Chromium without a screen: pictures of pages, and what is in a page once its scripts have run."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serq_mcu.build.doctor import browser
from serq_mcu.errors import SerqError

_SCRIPTS = 5000  # milliseconds of the page's own time that its scripts have
_SECONDS = 120


def picture(address: str, width: int, height: int, *, dark: bool) -> bytes:
    """Return a PNG of the upper `height` pixels of a page.

    Raises SerqError without Chromium, or if it makes no picture.
    """
    with tempfile.TemporaryDirectory(prefix="serq-picture-") as work:
        drawn = Path(work) / "page.png"
        size = [f"--window-size={width},{height}", "--hide-scrollbars", f"--screenshot={drawn}"]
        said = _run(address, [*size, f"--blink-settings=preferredColorScheme={0 if dark else 1}"])[1]
        if not drawn.exists():
            raise SerqError(f"Chromium made no picture: {(said.splitlines() or ['no message'])[-1]}")
        return drawn.read_bytes()


def document(address: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> str:
    """Return the HTML of a page after its scripts have run.

    Raises SerqError without Chromium, or if it shows nothing.
    """
    size = [f"--window-size={width},{height}", "--dump-dom"]
    found, said = _run(address, [*size, f"--blink-settings=preferredColorScheme={0 if dark else 1}"])
    if "</html>" not in found:
        raise SerqError(f"Chromium shows no page: {(said.splitlines() or ['no message'])[-1]}")
    return found


@contextmanager
def page_file(text: str) -> Iterator[str]:
    """Yield the address of a file with this page."""
    with tempfile.TemporaryDirectory(prefix="serq-page-") as work:
        path = Path(work) / "page.html"
        path.write_text(text, encoding="utf-8")
        yield path.as_uri()


def _run(address: str, options: list[str]) -> tuple[str, str]:
    """Run Chromium on an address, and return what it wrote to standard output and error."""
    found = browser()
    if found is None:
        raise SerqError(
            "pages are drawn by Chromium; run `sudo apt-get install chromium` on Debian and Ubuntu"
        )
    with tempfile.TemporaryDirectory(prefix="serq-browser-") as profile:
        command = [found, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += [f"--virtual-time-budget={_SCRIPTS}", *options, address]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    return done.stdout, done.stderr
