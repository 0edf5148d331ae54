"""Pictures of every page for docs/, and a check of each page by axe-core; drawn by Chromium without a screen.

`python -m tools.screenshots docs/images REPORT`, where REPORT is a folder that `serq-mcu report` wrote of a
run on EMO-DB; without it, the report's pictures stay. The live page shows made-up decisions: no recording,
but the numbers are of the kind that boards write. It ends with 1 where axe-core finds a serious or critical
fault.
"""

from __future__ import annotations

import html
import io
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from serq_mcu.base.files import write_file
from serq_mcu.base.npm import Package, package_files
from serq_mcu.base.progress import silent
from serq_mcu.boards.board import load_board
from serq_mcu.build.espressif import Image, Images
from serq_mcu.codegen.export import export
from serq_mcu.corpus.example import example_file
from serq_mcu.listening.answers import WORDS, Damaged, Hello, LabelledDecision, TimedDecision
from serq_mcu.listening.classify import classify_file
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.quantized_model.types import NO_SPEECH, NOT_SURE
from serq_mcu.show.flash_page import flash_page, web_project
from serq_mcu.show.live_page import HTML, SERVED, Page
from serq_mcu.show.recording import html as classify_page
from tools.browser import document, page_file, picture

WIDTHS = {"": 1280, "_phone": 390}
THEMES = {"": False, "_dark": True}
_HIGHEST = 1600  # pixels of a picture; a report is longer
_FRAME = 120  # pixels of a window's height that its page may not have
_COLOURS = 128  # of a picture
AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
_FAULTS = ("serious", "critical")
_HEIGHT = "document.documentElement.scrollHeight"
_FAULTY = (
    "(await axe.run()).violations.map((one) => [one.impact, one.id, one.help, one.nodes.map((node) =>"
    " node.target.join(' '))])"
)
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
_GAP = 20  # the decision before which samples were lost


def pages(report: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page; of a report, if there is a folder with one."""
    yield "live_page", live_page()
    yield "flash_page", _flash_page()
    yield "classify_page", _classify_page()
    if report is not None:
        yield "report", (report / "report.html").read_text(encoding="utf-8")


def screenshot(page: str, width: int, *, dark: bool) -> bytes:
    """Return a PNG of a page, whole or its upper part, with few colours so that it is small.

    Raises SerqError without Chromium.
    """
    with page_file(page) as address:
        height = min(int(value_of(page, _HEIGHT, width, dark=dark)), _HIGHEST)
        drawn = Picture.open(io.BytesIO(picture(address, width, height + _FRAME, dark=dark)))
    small, out = drawn.convert("RGB").crop((0, 0, width, height)).quantize(_COLOURS), io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def faults(page: str, axe: str, width: int, *, dark: bool) -> list[tuple[str, str, str, list[str]]]:
    """Return what axe-core finds in a page: impact, rule, a sentence, and where."""
    found = value_of(page.replace("</head>", f"<script>{axe}</script></head>", 1), _FAULTY, width, dark=dark)
    return [(impact, rule, text, places) for impact, rule, text, places in found]


def value_of(page: str, expression: str, width: int, *, dark: bool) -> Any:
    """Return the value of an expression of JavaScript in a page."""
    script = (
        f"<script type='module'>const value = {expression}; const told = document.createElement('pre');"
        " told.id = 'told'; told.textContent = JSON.stringify(value); document.body.append(told);</script>"
    )
    with page_file(page.replace("</body>", script + "</body>", 1)) as address:
        found = re.search(r'<pre id="told">(.*?)</pre>', document(address, width, dark=dark), re.S)
    assert found, "the page's scripts ended before"
    return json.loads(html.unescape(found[1]))


def live_page() -> str:
    """Return the live page with its events in it, so that a browser draws it whole at once."""
    page = Page()
    try:
        _play(page)
        with page.reading() as reader:
            events = [reader.get() for _ in range(reader.qsize())]
    finally:
        page.close()
    replay = f"for (const event of {json.dumps(events)}) take(event); state('connected');"
    return HTML.read_text().replace(SERVED, 'data-source=""').replace("</script>", f"{replay}</script>")


def _flash_page() -> str:
    """Return the page that flashes a board, with images of usual sizes and no program that writes."""
    sizes = {
        "bootloader.bin": (0x1000, 26_000),
        "partitions.bin": (0x8000, 3072),
        "firmware.bin": (0x10000, 360_000),
    }
    images = Images("ESP32", tuple(Image(name, place, bytes(size)) for name, (place, size) in sizes.items()))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "lamp"
        export(shipped_model(), load_board("esp32"), folder, app="live")
        return flash_page(web_project(folder), images)


def _classify_page() -> str:
    model = shipped_model()
    with example_file(model.spec.sample_rate) as path:
        return classify_page(classify_file(path, model, silent))


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
                        None if answer == NO_SPEECH else min(95, margin // 5000 * 5),
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
        (88_100, -41_020, 12_310, 20_480, 61_730, 3_275, -58_900, -71_300),
        26_370,
        -27.4,
        124,
        23_412,
        overruns,
        85,
    )
    page.decided(LabelledDecision(newest, model.labels))


def main() -> None:
    """Write the pictures of all pages, and print what axe-core finds in them."""
    folder, report = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    axe, bad = package_files(AXE)["axe.min.js"].decode(), 0
    for name, page in pages(report):
        for (width_name, width), (theme, dark) in itertools.product(WIDTHS.items(), THEMES.items()):
            path = write_file(folder / f"{name}{width_name}{theme}.png", screenshot(page, width, dark=dark))
            found = faults(page, axe, width, dark=dark)
            print(f"wrote {path}: {path.stat().st_size} bytes, {len(found)} faults")
            for impact, rule, text, places in found:
                print(f"  {impact}: {rule}: {text}: {', '.join(places[:3])}")
            bad += sum(impact in _FAULTS for impact, *_ in found)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
