"""Pictures of a report as a browser without a screen draws it: `python -m tools.report_screenshots REPORT
[FOLDER]` makes those in docs/, and those of the live page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.live_screenshots import PICTURES as LIVE_PICTURES
from tools.live_screenshots import live_page_screenshot, picture

PICTURES = {  # name: width and height in pixels, dark
    "report.png": (1100, 1500, False),
    "report_dark.png": (1100, 1500, True),
    "report_phone.png": (390, 1500, False),
    "report_phone_dark.png": (390, 1500, True),
}


def main() -> None:
    """See the module."""
    page, folder = (
        Path(sys.argv[1]) / "report.html",
        Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images"),
    )
    for name, (width, height, dark) in PICTURES.items():
        print(f"wrote {picture(page.read_text(encoding='utf-8'), folder / name, width, height, dark)}")
    for name, (width, height, dark) in LIVE_PICTURES.items():
        print(f"wrote {live_page_screenshot(folder / name, width, height, dark)}")


if __name__ == "__main__":
    main()
