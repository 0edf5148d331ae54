"""A page that writes a project to a board over Web Serial, and the server that a browser needs for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.base.files import new_folder
from serq_mcu.boards.board import BOARD_FILE, LISTENING, Board, read_board
from serq_mcu.boards.wiring import wires, wiring_line
from serq_mcu.build.espressif import Images
from serq_mcu.codegen.export import read_project
from serq_mcu.codegen.lines import purpose
from serq_mcu.codegen.plan import MODEL, Plan
from serq_mcu.quantized_model.store import load_model
from serq_mcu.show.live_page import board_page
from serq_mcu.show.local_server import LocalHandler, LocalServer
from serq_mcu.show.page import rendered

MANIFEST = "manifest.json"
_TOOLS = "esp-web-tools"  # the folder with the program that writes
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".json": "application/json"}
_OTHER = "application/octet-stream"
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self';"
    " img-src data:; base-uri 'none'"
)


@dataclass(frozen=True)
class WebProject:
    """What a page for a board says.

    app: the application; model: its identity; wiring: a sentence, or nothing.
    """

    board: Board
    app: str
    model: str
    purpose: str
    wiring: str

    @property
    def name(self) -> str:
        """What the program that writes calls the firmware."""
        return f"serq-mcu {self.app} for {self.board.title}"


def web_project(folder: Path) -> WebProject:
    """Read what a page says of an exported project; raises SerqError if it is none."""
    project, board = read_project(folder), read_board(folder / BOARD_FILE)
    plan = Plan(load_model(folder / MODEL), board, project.app, project.storage)
    wiring = wiring_line(board) if project.app in LISTENING and wires(board) else ""
    return WebProject(board, project.app, project.identity, purpose(plan), wiring)


def write_flash_page(
    out: Path, project: WebProject, images: Images, tools: dict[str, bytes]
) -> dict[str, bytes]:
    """Write a folder with a page, the images and the program that writes them; returns its files.

    tools: of ESP Web Tools. The folder appears whole or not at all; one that this function wrote is replaced.
    Raises SerqError where it cannot be written.
    """
    files = _files(project, images, tools)
    with new_folder(out, MANIFEST) as fresh:
        (fresh / _TOOLS).mkdir()
        for name, data in files.items():
            (fresh / name).write_bytes(data)
    return files


def _files(project: WebProject, images: Images, tools: dict[str, bytes]) -> dict[str, bytes]:
    files = {image.name: image.data for image in images.images}
    files |= {f"{_TOOLS}/{name}": data for name, data in tools.items()}
    files |= {MANIFEST: json.dumps(manifest(project, images), indent=1).encode() + b"\n"}
    if project.app == "live":
        files["live.html"] = board_page(project.board.baud).encode()
    return files | {"index.html": flash_page(project, images).encode()}


def manifest(project: WebProject, images: Images) -> dict[str, object]:
    """Return ESP Web Tools' description of what is written: name, version, and the parts for the chip."""
    parts = [{"path": image.name, "offset": image.place} for image in images.images]
    return {
        "name": project.name,
        "version": project.model,
        "new_install_prompt_erase": True,
        "new_install_improv_wait_time": 0,  # the firmware has no Wi-Fi to set up
        "builds": [{"chipFamily": images.chip, "parts": parts}],
    }


def flash_page(project: WebProject, images: Images) -> str:
    """Return the page that a browser writes the images from."""
    return rendered("flash.html", project=project, images=images, manifest=MANIFEST, tools=_TOOLS)


def serve(files: dict[str, bytes], port: int = 0) -> LocalServer:
    """Serve the files of a page to the browsers of this computer, until the server is closed.

    A browser lets a page use a serial port only where it came from this computer or over HTTPS. Raises
    SerqError if the port is taken; 0 takes a free one.
    """
    return LocalServer(port, type("Handler", (_Handler,), {"files": files}))


class _Handler(LocalHandler):
    """The files of a page."""

    files: dict[str, bytes]
    policy = _POLICY

    def answer(self, path: str) -> bool:
        """Send a file."""
        name = path.split("?")[0].removeprefix("/") or "index.html"
        if name not in self.files:
            return False
        self.send(self.files[name], _KINDS.get(Path(name).suffix, _OTHER))
        return True
