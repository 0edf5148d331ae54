"""What the pinned PlatformIO platforms say of boards: memory, linker script, packages that a build takes.

`python -m tools.platform_facts FOLDER` reads checkouts of the platforms, FOLDER/NAME at the tag of the board
files, through PlatformIO itself. It writes tests/support/platform_manifests.json, and for `--board esp32:ID`
boards/known/espressif32.csv.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from platformio.platform.factory import PlatformFactory

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import all_boards
from serq_mcu.boards.known import KNOWN, KnownBoard

MANIFESTS = Path(__file__).parents[1] / "tests" / "support" / "platform_manifests.json"
_CHIPS = ("esp32", "esp32s3", "esp32c3", "esp32c6")
_MEGABYTE = 2**20


def required_packages(platform: Path, board: str, framework: str) -> list[str]:
    """Return the packages that PlatformIO installs before it builds for a board."""
    loaded = PlatformFactory.new(str(platform))
    loaded.configure_default_packages({"board": board, "pioframework": [framework]}, [])
    packages = {name for name, options in loaded.packages.items() if not options.get("optional")}
    return sorted(packages | {loaded.frameworks[framework]["package"]})


def manifests(checkouts: Path) -> dict[str, Any]:
    """Return what the platforms say of every real board, by platform."""
    found: dict[str, Any] = {}
    for board in all_boards():
        if not board.emulated:
            name, version = board.platformio.platform.split("@")
            source = f"platform-{name}, tag v{version}: platform.json, platform.py, boards/*.json"
            platform = found.setdefault(board.platformio.platform, {"source": source, "boards": {}})
            manifest = json.loads(
                (checkouts / name / "boards" / f"{board.platformio.board}.json").read_text()
            )
            build = manifest["build"]
            platform["boards"][board.platformio.board] = {
                "packages": required_packages(
                    checkouts / name, board.platformio.board, board.platformio.framework
                ),
                "flash_bytes": manifest["upload"]["maximum_size"],
                "ram_bytes": manifest["upload"]["maximum_ram_size"],
                "ldscript": build.get("arduino", {}).get("ldscript", ""),
                "variant": build.get("variant", ""),
            }
    return found


def known_boards(platform: Path) -> list[KnownBoard]:
    """Return the ESP32 boards of a platform that it builds with ESP-IDF."""
    found = []
    for path in sorted((platform / "boards").glob("*.json")):
        board = json.loads(path.read_text())
        build, upload = board["build"], board["upload"]
        flags = str(build.get("extra_flags", ""))
        size = upload.get("flash_size", "")
        if build["mcu"] not in _CHIPS or "espidf" not in board["frameworks"] or not size.endswith("MB"):
            continue
        native = "ARDUINO_USB_CDC_ON_BOOT=1" in flags and build["mcu"] != "esp32"
        found.append(
            KnownBoard(
                id=path.stem,
                chip=build["mcu"],
                flash_bytes=int(size.removesuffix("MB")) * _MEGABYTE,
                usb=native,
                psram="BOARD_HAS_PSRAM" in flags,
                title=board["name"],
            )
        )
    return found


def main() -> None:
    """Write both files."""
    checkouts = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as core:
        os.environ["PLATFORMIO_CORE_DIR"] = core
        write_file(MANIFESTS, json.dumps(manifests(checkouts), indent=1) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(KnownBoard.__struct_fields__)
    writer.writerows(
        [getattr(b, name) for name in KnownBoard.__struct_fields__]
        for b in known_boards(checkouts / "espressif32")
    )
    write_file(KNOWN, text.getvalue())


if __name__ == "__main__":
    main()
