"""Screenshots of the live page and of a report for docs/, drawn by Chromium without a screen.

`python -m tools.screenshots FOLDER [REPORT]`, such as `python -m tools.screenshots docs/images report/`. The
live page shows made-up decisions: no recording, but the numbers are of the kind that boards write.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.errors import SerqError
from serq_mcu.listening.answers import WORDS, Damaged, Hello, LabelledDecision, TimedDecision
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.quantized_model.types import NO_SPEECH, NOT_SURE
from serq_mcu.show.live_page import HTML, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIVE_PICTURES = {  # name: width and height in pixels, dark
    "live_page.png": (1100, 830, False),
    "live_page_dark.png": (1100, 830, True),
    "live_page_phone.png": (390, 1190, False),
    "live_page_phone_dark.png": (390, 1190, True),
}
REPORT_PICTURES = {
    "report.png": (1100, 1500, False),
    "report_dark.png": (1100, 1500, True),
    "report_phone.png": (390, 1500, False),
    "report_phone_dark.png": (390, 1500, True),
}
_STORY = (
    (NO_SPEECH, 4),
    (5, 5),
    (NOT_SURE, 2),
    (0, 9),
    (NOT_SURE, 1),
    (4, 3),
    (NO_SPEECH, 3),
    (6, 7),
    (5, 4),
)  # answers, and how often in a row
_STREAM = 'new EventSource("events");'
_GAP = 20  # the decision before which samples were lost


def live_page_screenshot(path: Path, width: int = 1100, height: int = 980, *, dark: bool = False) -> Path:
    """Write a PNG of the live page to `path`.

    Raises SerqError without Chromium.
    """
    return picture(_replayed(), path, width, height, dark=dark)


def picture(page: str, path: Path, width: int, height: int, *, dark: bool) -> Path:
    """Write a PNG of a page's upper part to `path`.

    Raises SerqError without Chromium.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SerqError(
            "a screenshot needs Chromium; run `sudo apt-get install chromium` on Debian and Ubuntu"
        )
    with tempfile.TemporaryDirectory(prefix="serq-browser-") as work:
        source, drawn = Path(work) / "page.html", Path(work) / "page.png"
        source.write_text(page, encoding="utf-8")
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={work}/profile",
            "--hide-scrollbars",
        ]
        command += [
            f"--window-size={width},{height}",
            f"--screenshot={drawn}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        ]
        done = subprocess.run(
            [*command, source.as_uri()],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
        if not drawn.exists():
            raise SerqError(f"{browser} made no picture: {(done.stderr.splitlines() or ['no message'])[-1]}")
        return write_file(path, drawn.read_bytes())


def _replayed() -> str:
    """Return the live page with its events in it, so that a browser draws it whole at once."""
    page = Page()
    try:
        _play(page)
        with page.reading() as reader:
            events = [reader.get() for _ in range(reader.qsize())]
    finally:
        page.close()
    replay = (
        f"source.onopen(); for (const event of {json.dumps(events)}) source.onmessage({{ data:"
        " JSON.stringify(event) });"
    )
    before, after = HTML.read_text().split(_STREAM)
    return f"{before}{{ close() {{}} }};{after.replace('</script>', replay + '</script>')}"


def _play(page: Page) -> None:
    model = shipped_model()
    rng, overruns, number = np.random.default_rng(4), 0, 0
    page.hello(Hello("esp32", model.identity.hex(), model.labels))
    for answer, times in _STORY:
        for _ in range(times):
            number += 1
            overruns += 512 if number == _GAP else 0
            scores, level = rng.integers(-60_000, 20_000, len(model.labels)), float(rng.normal(-32, 4))
            if answer == NO_SPEECH:
                scores, level = scores * 0, float(rng.normal(-82, 2))
            elif answer >= 0:
                scores[answer] = 45_000 + int(rng.integers(0, 50_000))
            margin = int(np.sort(scores)[-1] - np.sort(scores)[-2])
            frames, label = (0 if answer == NO_SPEECH else 124), (answer if answer >= 0 else None)
            name = WORDS[answer] if answer < 0 else model.labels[answer]
            latency = int(rng.normal(23_400, 300))
            page.decided(
                LabelledDecision(
                    TimedDecision(
                        number * 0.992,
                        name,
                        label,
                        tuple(scores.tolist()),
                        margin,
                        level,
                        frames,
                        latency,
                        overruns,
                    ),
                    model.labels,
                )
            )
            if number == _GAP + 5:
                page.damaged(Damaged(""))
    newest = TimedDecision(
        39.7,
        model.labels[0],
        0,
        (88_100, -41_020, 12_310, 20_480, 61_730, 3_275, -58_900),
        26_370,
        -27.4,
        124,
        23_412,
        overruns,
    )
    page.decided(LabelledDecision(newest, model.labels))


def main() -> None:
    """Write the screenshots that the arguments ask for."""
    folder = Path(sys.argv[1])
    for name, (width, height, dark) in LIVE_PICTURES.items():
        print(f"wrote {live_page_screenshot(folder / name, width, height, dark=dark)}")
    if len(sys.argv) > 2:
        page = (Path(sys.argv[2]) / "report.html").read_text(encoding="utf-8")
        for name, (width, height, dark) in REPORT_PICTURES.items():
            print(f"wrote {picture(page, folder / name, width, height, dark=dark)}")


if __name__ == "__main__":
    main()
