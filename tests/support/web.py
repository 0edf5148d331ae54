"""Pages in Chromium with a made-up board on a serial port, and what a build for such a board leaves."""

from __future__ import annotations

import html
import json
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serq_mcu.build.doctor import browser
from tools.browser import document, page_file

CHIPS = {"esp32": (0, "ESP32", 0x1000), "esp32c3": (5, "ESP32-C3", 0), "esp32s3": (9, "ESP32-S3", 0)}

_SERIAL = """<script>
const opened = [], pieces = %s;
const port = {
  open: async (options) => { opened.push(options); if (%s) throw new Error("Failed to open serial port."); },
  close: async () => {}, getInfo: () => ({ usbVendorId: 0x10c4, usbProductId: 0xea60 }),
  setSignals: async () => {},
  addEventListener: () => {}, removeEventListener: () => {}, forget: async () => {},
  readable: new ReadableStream({ start(line) {
    for (const piece of pieces) line.enqueue(Uint8Array.from(piece));
    if (%s) line.error(new Error("The device has been lost."));
  } }),
  writable: new WritableStream(),
};
const serial = { requestPort: async () => port, addEventListener: () => {} };
Object.defineProperty(navigator, "serial", { value: serial });
</script>"""
_TOLD = """<script type="module">%s
window.setTimeout(() => {
  const told = document.createElement("pre");
  told.id = "told";
  told.textContent = JSON.stringify(%s);
  document.body.append(told);
}, 3000);
</script></body>"""


def require_browser() -> None:
    """End the running test if Chromium is not installed."""
    if browser() is None:
        pytest.skip("Chromium is not installed; `make browser` installs it")


def with_board(page: str, pieces: Sequence[bytes], *, refuses: bool = False, lost: bool = False) -> str:
    """Return a page whose browser has a board that writes these pieces.

    refuses: its port cannot be opened; lost: it is unplugged then.
    """
    words = [json.dumps([list(piece) for piece in pieces]), json.dumps(refuses), json.dumps(lost)]
    return page.replace("<head>", "<head>" + _SERIAL % tuple(words), 1)


def with_script(page: str, script: str, told: str) -> str:
    """Return a page that runs a script when it is there, and three seconds later the expression `told`."""
    return page.replace("</body>", _TOLD % (script, told), 1)


def told_by(address: str) -> Any:
    """Return the value of the expression in such a page."""
    found = re.search(r'<pre id="told">(.*?)</pre>', document(address), re.S)
    assert found, "the page's scripts ended before"
    return json.loads(html.unescape(found[1]))


def told_by_page(page: str) -> Any:
    """Return the same of a page that is no file yet."""
    with page_file(page) as address:
        return told_by(address)


def write_images(folder: Path, board: str = "esp32", place: int = 0x10000) -> dict[str, bytes]:
    """Write what PlatformIO builds for a board with ESP-IDF, made up, and return it by name."""
    header = struct.pack("<BBBBIBBBBH", 0xE9, 4, 2, 0x20, 0x40080000, 0, 0, 0, 0, CHIPS[board][0])
    table = [(1, 2, 0x9000, 0x6000, b"nvs"), (0, 0, place, 0x100000, b"app")]
    entries = b"".join(struct.pack("<HBBII16sI", 0x50AA, *entry, 0) for entry in table)
    images = {
        "bootloader.bin": header + b"boot",
        "partitions.bin": entries.ljust(0xC00, b"\xff"),
        "firmware.bin": header + b"program" * 100,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in images.items():
        (folder / name).write_bytes(data)
    return images
