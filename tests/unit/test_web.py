"""A board in the browser: the page that writes firmware, the packages that it takes from npm, its server, and
the live page with a made-up board on a serial port.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from serq_mcu.base.npm import Package, package_files
from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio, web
from serq_mcu.build.espressif import built_images
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.listening.answers import Damaged, Hello, LabelledDecision
from serq_mcu.listening.lines import LineReader
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.show.flash_page import serve, web_project, write_flash_page
from serq_mcu.show.live_page import Page, board_page
from tests.support.commands import heed_interrupts
from tests.support.kills import Killed, kill_at_every_step, run_whole
from tests.support.web import (
    CHIPS,
    require_browser,
    told_by,
    told_by_page,
    with_board,
    with_script,
    write_images,
)

NPM = """#!{python}
import sys
wanted, folder = sys.argv[-1], sys.argv[sys.argv.index("--pack-destination") + 1]
if wanted != "made-up@1.2.3":
    sys.exit("npm error code E404\\nnpm error 404 Not Found - no package " + wanted)
open(folder + "/made-up-1.2.3.tgz", "wb").write(open({archive!r}, "rb").read())
"""


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--quiet"])


# --- packages of npm


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package, and an npm that has it."""
    archive = tmp_path / "archive.tgz"
    with tarfile.open(archive, "w:gz") as made:
        for name, data in (("package/dist/a.js", b"export {}"), ("package/LICENSE", b"free")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(NPM.format(python=sys.executable, archive=str(archive)))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    monkeypatch.setenv("SERQ_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha512(archive.read_bytes()).digest()
    return Package("made-up", "1.2.3", "sha512-" + base64.b64encode(digest).decode())


def test_a_package_is_had_from_npm_once(package: Package, tmp_path: Path) -> None:
    files = {"dist/a.js": b"export {}", "LICENSE": b"free"}
    assert package_files(package) == files
    (tmp_path / "bin" / "npm").unlink()
    assert package_files(package) == files
    with pytest.raises(
        SerqError, match=r"made-up@9 comes from npm, which is not installed; install Node\.js"
    ):
        package_files(dataclasses.replace(package, version="9"))


def test_a_package_that_npm_lacks_or_that_is_another_is_refused(package: Package, tmp_path: Path) -> None:
    with pytest.raises(
        SerqError, match=r"could not get other@1\.2\.3 \(npm error 404 Not Found - no package"
    ):
        package_files(dataclasses.replace(package, name="other"))
    (tmp_path / "archive.tgz").write_bytes(b"something else")
    with pytest.raises(SerqError, match=r"made-up@1\.2\.3 is not what was published: its SHA-512 differs"):
        package_files(package)


# --- what is written to the board


@pytest.mark.parametrize("board", CHIPS)
def test_each_image_has_its_place_on_its_chip(board: str, tmp_path: Path) -> None:
    _, name, loader = CHIPS[board]
    files = write_images(tmp_path, board, place=0x20000)
    found = built_images(tmp_path)
    assert found.chip == name
    assert [(image.name, image.place, image.data) for image in found.images] == [
        ("bootloader.bin", loader, files["bootloader.bin"]),
        ("partitions.bin", 0x8000, files["partitions.bin"]),
        ("firmware.bin", 0x20000, files["firmware.bin"]),
    ]


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    whole = write_images(tmp_path)
    for name, data, reason in (
        ("firmware.bin", b"\x7fELF" * 9, "firmware.bin is no program for a chip of Espressif's"),
        ("firmware.bin", b"\xe9", "firmware.bin is no program"),
        (
            "firmware.bin",
            b"\xe9" + bytes(11) + b"\x63\x00" + bytes(9),
            "number 99, which is none of ESP32, ESP32-C3",
        ),
        ("partitions.bin", b"\xff" * 0xC00, "partitions.bin names no place for a program"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SerqError, match=reason):
            built_images(tmp_path)
        (tmp_path / name).write_bytes(whole[name])
    (tmp_path / "bootloader.bin").unlink()
    with pytest.raises(SerqError, match=r"built no bootloader\.bin"):
        built_images(tmp_path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live project for an ESP32, and a PlatformIO that builds images for it."""
    folder = tmp_path / "lamp"
    export(shipped_model(), load_board("esp32"), folder, app="live")

    def build(place: Path, *_: object) -> None:
        write_images(place / ".pio" / "build" / "esp32")

    monkeypatch.setattr(platformio, "build", build)
    monkeypatch.setattr(
        web,
        "package_files",
        lambda *_: {"dist/web/install-button.js": b"//", "LICENSE": b"free", "dist/x.js": b""},
    )
    return folder


def test_flash_web_writes_a_page_a_manifest_and_the_images(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "lamp-web"
    for _ in range(2):  # its own folder is replaced
        done = _run("flash", str(project), "--web", "--no-serve")
        assert done.exit_code == 0, done.output
        assert done.stdout == f"wrote {out}: 8 files that write {project} to an ESP32\n"
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {
        *("index.html", "live.html", "manifest.json", "bootloader.bin", "partitions.bin", "firmware.bin"),
        *("esp-web-tools/install-button.js", "esp-web-tools/LICENSE"),
    }
    manifest = json.loads((out / "manifest.json").read_text())
    (build,) = manifest["builds"]
    assert build["chipFamily"] == "ESP32" and manifest["version"] == shipped_model().sha256[:16]
    assert [(part["path"], part["offset"]) for part in build["parts"]] == [
        ("bootloader.bin", 0x1000),
        ("partitions.bin", 0x8000),
        ("firmware.bin", 0x10000),
    ]
    assert 'data-source="serial" data-baud="460800"' in (out / "live.html").read_text()
    page = (out / "index.html").read_text()
    assert "SCK to GPIO 26" in page and 'manifest="manifest.json"' in page
    assert set(re.findall(r"https?://[^\"'\s]+", page)) == {"http://www.w3.org/2000/svg"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused = _run("flash", str(project), "--web", "--no-serve", "--out", str(tmp_path / "mine"))
    assert refused.exit_code == 1 and "mine" in refused.stderr
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("board", "words", "reason"),
    [
        ("pico", ("--web",), r"pico has none; run `serq-mcu flash .*` instead"),
        ("emulated-m4f", ("--web",), r"emulated-m4f has none; run `serq-mcu listen .*` instead"),
        ("esp32", ("--web", "--port", "COM3"), "leave --port out"),
        ("esp32", ("--no-serve",), "are for --web; add it"),
        ("esp32", ("--out", "x"), "are for --web; add it"),
    ],
)
def test_what_the_page_is_not_for_is_one_sentence(
    board: str, words: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    export(shipped_model(), load_board(board), tmp_path / "p", app="live")
    done = _run("flash", str(tmp_path / "p"), *words)
    assert done.exit_code == 1 and re.search(reason, done.stderr), done.output


def test_the_files_of_a_page_are_served_to_this_computer_alone(tmp_path: Path) -> None:
    server = serve({"index.html": b"<p>", "a/b.js": b"1", "firmware.bin": b"\xe9"})
    try:
        for path, kind, data in (
            ("", "text/html; charset=utf-8", b"<p>"),
            ("a/b.js?x=1", "text/javascript", b"1"),
            ("firmware.bin", "application/octet-stream", b"\xe9"),
        ):
            with urllib.request.urlopen(server.url + path, timeout=60) as answer:
                assert answer.read() == data and answer.headers["Content-Type"] == kind
                assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
        for path, host, code in (("../etc/passwd", None, 404), ("", "evil.example", 403)):
            request = urllib.request.Request(server.url + path, headers={"Host": host} if host else {})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=60)
            assert refused.value.code == code
            refused.value.close()
    finally:
        server.close()


@pytest.mark.parametrize("end", [Killed.SIGKILL, Killed.CTRL_C])
def test_a_kill_while_the_page_is_written_leaves_the_old_one_or_the_new(
    end: Killed, project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page" / "lamp-web"
    out.parent.mkdir()

    def run() -> None:
        write_images(tmp_path / "built")
        write_flash_page(out, web_project(project), built_images(tmp_path / "built"), {"tool.js": b"//"})

    run_whole(run)
    whole = {path.name for path in out.rglob("*")}
    (out / "old.bin").write_bytes(b"old")

    def check(step: int) -> None:
        assert {path.name for path in out.rglob("*")} in (whole, {*whole, "old.bin"}), step
        run_whole(run)
        assert {path.name for path in out.rglob("*")} == whole, step
        assert [path.name for path in out.parent.iterdir()] == ["lamp-web"], step
        (out / "old.bin").write_bytes(b"old")

    assert kill_at_every_step(run, end, check, within=out.parent, every=2) > 3


def test_a_port_that_is_taken_is_told_before_the_build(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []
    monkeypatch.setattr(platformio, "build", lambda place, *_: built.append(place))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run("flash", str(project), "--web", "--browser-port", port)
    assert done.exit_code == 1 and f"cannot use port {port}" in done.stderr, done.output
    assert not built and not (tmp_path / "lamp-web").exists()


SERVED = """
import sys
from pathlib import Path
from serq_mcu.build import platformio, web
from serq_mcu.__main__ import main
from tests.support.web import write_images
platformio.build = lambda place, *_: write_images(place / ".pio" / "build" / "esp32")
web.package_files = lambda *_: {"dist/web/install-button.js": b"//", "LICENSE": b""}
sys.argv = ["serq-mcu", "flash", *sys.argv[1:], "--web"]
main()
"""


def test_flash_web_serves_the_page_until_it_is_interrupted(project: Path) -> None:
    command = [sys.executable, "-c", SERVED, str(project)]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=heed_interrupts,
    ) as process:
        try:
            assert process.stderr
            said = next(line for line in process.stderr if "the page is at" in line)
            with urllib.request.urlopen(said.split()[4], timeout=60) as answer:
                assert b"esp-web-install-button" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()


# --- in a browser


@pytest.fixture(scope="module")
def esp_web_tools() -> dict[str, bytes]:
    """ESP Web Tools as npm has it; a computer without a network has none."""
    require_browser()
    try:
        return web.web_tools()
    except SerqError as error:  # also in continuous integration: a registry is not ours
        pytest.skip(str(error))


@pytest.mark.slow(10)
def test_esp_web_tools_finds_a_board_and_offers_this_firmware(
    project: Path, tmp_path: Path, esp_web_tools: dict[str, bytes]
) -> None:
    write_images(tmp_path / "built")
    files = write_flash_page(
        tmp_path / "page", web_project(project), built_images(tmp_path / "built"), esp_web_tools
    )
    install = "document.querySelector('esp-web-install-button')"
    defined = "await customElements.whenDefined('esp-web-install-button');"
    press = f"{defined} {install}.querySelector('button').click();"
    told = (
        f"[{install}.hasAttribute('install-supported'), opened,"
        " document.querySelector('ewt-install-dialog')?.shadowRoot.textContent]"
    )
    page = with_script(with_board(files["index.html"].decode(), []), press, told)
    server = serve(files | {"index.html": page.encode()})
    try:
        supported, opened, dialog = told_by(server.url)
    finally:
        server.close()
    assert supported and opened == [{"baudRate": 115200, "bufferSize": 8192}]
    assert "serq-mcu live for ESP32 DevKitC" in " ".join(dialog.split()), dialog


LABELS = ("anger", "日本語", "joy")
GREETING = {"serq": "live", "board": "esp32", "model": "0123456789abcdef", "labels": list(LABELS)}
SPOKEN = {
    "answer": "joy",
    "label": 2,
    "scores": [1, -2, 900],
    "margin": 896,
    "confidence": 85,
    "level": -2560,
}
SPOKEN |= {"frames": 12, "latency_us": 5300, "waiting": 0, "overruns": 0}
SILENT = SPOKEN | {"answer": "no speech", "label": None, "scores": [0, 0, 0], "frames": 0, "confidence": None}


def _written(*values: object) -> bytes:
    """Lines of a board: JSON, or bytes as they are."""
    return b"".join(
        value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode() + b"\n"
        for value in values
    )


LINES = _written(
    b"ets Jul 29 2019 12:21:46\r\n\x1b[0;32mI (29) boot: ESP-IDF\x1b[0m\r\n",
    b'"answer", cut\n',
    SPOKEN,  # before the greeting: its label is known, the others are not
    b"I (30) " + _written(GREETING),
    SPOKEN,
    SPOKEN | {"confidence": 101, "margin": 2**32 - 1, "overruns": 3},
    GREETING | {"again": True},
    _written(SPOKEN)[:40] + b"\n",
    SILENT,
    {"voice": 3, "learns": "nothing"},
    b"my own line\n",
    *(
        SPOKEN | wrong
        for wrong in ({"scores": [1]}, {"label": 7}, {"answer": 3}, {"margin": "1"}, {"label": None})
    ),
    SPOKEN | {"answer": "not sure", "label": None},
    b"{" * 20_000 + b"\n",
    SPOKEN,
    GREETING | {"board": "esp32s3"},
    SPOKEN,
)


def _by_python(data: bytes) -> list[dict[str, Any]]:
    """What the server would send to the page of these lines."""
    page, sent = Page(), list[dict[str, Any]]()
    page._tell = sent.append  # type: ignore[method-assign, assignment]
    try:
        for event in LineReader().feed(data, 0):
            if isinstance(event, Hello):
                page.hello(event)
            elif isinstance(event, LabelledDecision):
                page.decided(event)
            elif isinstance(event, Damaged):
                page.damaged(event)
    finally:
        page.close()
    return [json.loads(json.dumps(event)) for event in sent]


@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_the_browser_reads_a_boards_lines_as_python_does(piece: int) -> None:
    require_browser()
    pieces = [LINES[start : start + piece] for start in range(0, len(LINES), piece)]
    page = with_script(
        with_board(board_page(460800), pieces),
        "const shown = take; window.all = []; take = (event) => { window.all.push(event); shown(event); };"
        "document.getElementById('connect').click();",
        "[opened, window.all, document.title]",
    )
    opened, told, title = told_by_page(page)
    assert opened == [{"baudRate": 460800, "bufferSize": 65536}] and title == "joy · serq-mcu live"
    wanted = _by_python(LINES)
    assert [event["type"] for event in told] == [event["type"] for event in wanted]
    for found, event in zip(told, wanted, strict=True):
        assert {name: found[name] for name in event if name not in ("seconds", "level_db")} == {
            name: value for name, value in event.items() if name not in ("seconds", "level_db")
        }
        assert found.get("level_db") == pytest.approx(event.get("level_db"), abs=0.01)


NOTE = "document.getElementById('note')"
CONNECT = "document.getElementById('connect').click()"


@pytest.mark.parametrize(
    ("pieces", "refuses", "lost", "note"),
    [
        ([], True, False, "The line to the board was lost (Failed to open serial port.). Check the cable"),
        ([_written(GREETING)], False, True, "The line to the board was lost (The device has been lost.)"),
        ([_written({"error": "no driver"})], False, False, "The board reports: no driver"),
        ([_written(GREETING, SPOKEN)], False, False, None),
    ],
)
def test_what_goes_wrong_on_the_browsers_line_is_a_sentence_in_a_red_box(
    pieces: list[bytes], refuses: bool, lost: bool, note: str | None
) -> None:
    require_browser()
    page = with_board(board_page(115200), pieces, refuses=refuses, lost=lost)
    told = f"[{NOTE}.hidden, {NOTE}.textContent, document.getElementById('connect').hidden]"
    hidden, text, connected = told_by_page(with_script(page, CONNECT, told))
    assert hidden == (note is None) and (note or "") in text
    assert connected == (not refuses and not lost)


def test_a_browser_without_serial_ports_is_told_which_one_has_them() -> None:
    require_browser()
    page = board_page(115200).replace("navigator.serial", "navigator.nothing")
    hidden, text = told_by_page(with_script(page, "", f"[{NOTE}.hidden, {NOTE}.textContent]"))
    assert not hidden and "Open this page in Chrome, Edge or Opera" in text
