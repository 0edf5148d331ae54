"""Text from outside is shown as what it is, wherever it is shown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from serq_mcu.base.progress import TerminalProgress
from serq_mcu.base.text import html_text, markdown_text, shown, shown_lines
from serq_mcu.boards.board import load_board, read_board
from serq_mcu.cli import main
from serq_mcu.cli.shared import print_result
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.listening.answers import Hello
from serq_mcu.listening.lines import LineReader, Passed
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.show.drawing import text as drawn
from serq_mcu.show.page import Page, Section
from serq_mcu.show.table import Table, columns
from serq_mcu.show.verification import junit, markdown, report_text
from serq_mcu.verification.report import Outcome, VerifyReport
from tests.support.commands import SERQ

HOSTILE = "a\x1b]0;title\x07\x9b31m\u202egpj\u2066\u200b<img src=x onerror=alert(1)>\ud800\u2028|`b`"


def harmless(text: str) -> bool:
    """Nothing in it is more than a letter, a sign, a space or the end of a line."""
    return all(line.isprintable() for line in text.split("\n"))


def test_what_is_no_letter_is_an_escape() -> None:
    assert shown("fear \u00e9 \u65e5\u672c \u00a0|") == "fear \u00e9 \u65e5\u672c \u00a0|"
    assert shown("a\x1b[2J\x9b\n\u202e\U000e0001\udc80") == r"a\x1b[2J\x9b\n\u202e\U000e0001\udc80"
    assert shown_lines("a\r\nb\t") == "a\\r\nb\\t"
    assert html_text('<\x1b&">') == "&lt;\\x1b&amp;&quot;&gt;"
    assert markdown_text("<a>\n&lt;") == r"\<a\>\\n\&lt;"
    assert harmless(shown(HOSTILE))


def test_results_errors_and_progress_are_harmless(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    @main.command("hostile", hidden=True)
    def hostile() -> None:
        TerminalProgress()(HOSTILE)
        TerminalProgress()(HOSTILE, 1, 1)
        print_result({"x": HOSTILE}, [HOSTILE, "second"], as_json=False)
        print_result({"x": HOSTILE}, [], as_json=True)
        raise SerqError(HOSTILE)

    try:
        done = CliRunner().invoke(main, ["hostile"])
    finally:
        main.commands.pop("hostile")
    assert done.exit_code == 1
    assert harmless(done.stdout) and harmless(done.stderr)
    assert done.stdout.splitlines()[1] == "second"
    assert json.loads("\n".join(done.stdout.splitlines()[2:])) == {"x": HOSTILE}
    assert r"Error: a\x1b]0;title" in done.stderr


def test_a_manifest_of_somebody_else_s_project_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    project = export(shipped_model(), load_board("emulated-m0"), tmp_path / "p")
    content = json.loads((project.folder / "serq.json").read_text())
    (project.folder / "serq.json").write_text(json.dumps(content | {"app": HOSTILE.replace("\ud800", "")}))
    done = subprocess.run(
        [*SERQ, "listen", str(project.folder), str(tmp_path / "clip.wav")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert r"\x1b]0;title" in done.stderr
    assert harmless(done.stderr)


def test_pages_drawings_and_tables_are_harmless() -> None:
    table = Table(columns(("name",)), [(HOSTILE,)])
    page = Page(
        HOSTILE, HOSTILE, (Section(HOSTILE, (HOSTILE,), (), table, ((HOSTILE, HOSTILE),), HOSTILE),)
    ).html()
    for text in (page, table.html(), drawn(0, 0, HOSTILE), table.markdown(), "\n".join(table.text())):
        assert harmless(text)
    for text in (page, table.html(), drawn(0, 0, HOSTILE), table.markdown()):
        assert "<img" not in text


def test_reports_of_a_verification_are_harmless() -> None:
    report = _report()
    assert harmless(report_text(report))
    assert harmless(markdown(report))
    assert "<img" not in markdown(report).replace("\\<", "")
    assert harmless(junit(report))
    assert "<img" not in junit(report)


def _report() -> VerifyReport:
    outcomes = (Outcome(HOSTILE, HOSTILE, failure=HOSTILE), Outcome("b", HOSTILE, HOSTILE, integers=1))
    return VerifyReport(
        target=HOSTILE,
        on="port",
        board=HOSTILE,
        identity="0",
        mode="pcm",
        labels=(HOSTILE, "b"),
        outcomes=outcomes,
        requests_repeated=0,
        flash_bytes=None,
        ram_bytes=None,
        seconds=1.0,
    )


def test_what_a_device_says_is_harmless() -> None:
    reader = LineReader()
    said = HOSTILE.replace("\ud800", "")  # JSON with half a character is no line of a board
    line = json.dumps({"serq": "live", "board": said, "model": said, "labels": [said]})
    (hello,) = reader.feed(line.encode() + b"\n", 0.0)
    (passed,) = reader.feed(HOSTILE.encode("utf-8", "replace") + b"\n", 0.0)
    assert isinstance(hello, Hello) and isinstance(passed, Passed)
    assert harmless(passed.text)
    assert harmless(hello.board) and harmless(hello.labels[0])


@pytest.mark.parametrize("bad", ["\x9b31m", "\u202egpj", "\x7f", "\u2066", "\u2028"])
def test_a_board_s_title_is_prose(bad: str, tmp_path: Path) -> None:
    text = load_board("emulated-m0").toml.replace('title = "', f'title = "{bad}', 1)
    (tmp_path / "b.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SerqError, match="title"):
        read_board(tmp_path / "b.toml")


def test_a_project_s_readme_escapes_its_title_and_labels(tmp_path: Path) -> None:
    text = load_board("emulated-m0").toml.replace('title = "', 'title = "<img src=x> ', 1)
    (tmp_path / "b.toml").write_text(text)
    export(shipped_model(), read_board(tmp_path / "b.toml"), tmp_path / "p")
    assert r"\<img src=x\>" in (tmp_path / "p" / "README.md").read_text()
