"""The reference is written from the code; every command has help, examples that parse and a page; the site
loads nothing from elsewhere.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from serq_mcu.base import resources
from serq_mcu.cli import main
from serq_mcu.config import load_config
from tools.docs_reference import commands, examples, page_name, pages, schemas

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOYS = ROOT / "tests" / "support" / "toy_family" / "boards"
COMMANDS = dict(commands())
BY_HAND = ("python_api.md",)  # its signatures come from the code when the site is built
REGENERATE = "run `python -m tools.docs_reference docs/reference` and commit what it writes"
FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//|<link\b(?![^>]*canonical)[^>]*\bhref=[\"']?(?:https?:)?//",
    re.I,
)


def test_no_page_is_stale_missing_or_left_over() -> None:
    wanted, there = (
        pages(),
        {
            path.relative_to(DOCS / "reference").as_posix(): path.read_text()
            for path in (DOCS / "reference").rglob("*.md")
            if path.name not in BY_HAND
        },
    )
    assert sorted(there) == sorted(wanted), REGENERATE
    assert [name for name in wanted if wanted[name] != there[name]] == [], REGENERATE


def test_no_schema_is_stale_missing_or_left_over() -> None:
    there = {path.name: path.read_text() for path in resources.SCHEMAS.iterdir()}
    assert there == schemas(), REGENERATE


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("board", [*resources.BOARDS.glob("*.toml"), *TOYS.glob("*.toml")]),
        ("microphone", [*resources.MICROPHONES.glob("*.toml")]),
    ],
)
def test_files_that_ship_validate_against_their_schema_and_a_bad_one_does_not(
    name: str, files: list[Path], tmp_path: Path
) -> None:
    def check(*paths: Path) -> subprocess.CompletedProcess[str]:
        where = str(resources.SCHEMAS / f"{name}.schema.json")
        command = [sys.executable, "-m", "check_jsonschema", "--schemafile", where, *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = check(*files)
    assert len(files) > 5 and done.returncode == 0, done.stdout + done.stderr
    for index, (old, new) in enumerate([('name = "', 'nmae = "'), ('title = "', 'title = "$')]):
        bad = tmp_path / f"bad{index}.toml"
        bad.write_text(files[0].read_text().replace(old, new, 1))
        assert check(bad).returncode == 1


def test_configurations_validate_against_their_schema_and_bad_ones_do_not(tmp_path: Path) -> None:
    def check(*paths: Path) -> subprocess.CompletedProcess[str]:
        where = str(resources.SCHEMAS / "config.schema.json")
        command = [sys.executable, "-m", "check_jsonschema", "--schemafile", where, *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    default = ROOT / "serq_mcu" / "default.toml"
    (named,) = re.findall(r"^#:schema (.*)$", default.read_text(), re.M)
    assert (default.parent / named).resolve() == (resources.SCHEMAS / "config.schema.json").resolve()
    (tmp_path / "run.toml").write_text(load_config().to_toml())
    done = check(default, tmp_path / "run.toml", *resources.MODELS.glob("*.toml"))
    assert done.returncode == 0, done.stdout + done.stderr
    bad_ones = ("[training]\nsede = 1", "[tuning]\nepochs = 0", "[feature]\nhop_length = 1")
    for index, bad in enumerate(bad_ones):
        (tmp_path / f"{index}.toml").write_text(bad)
        assert check(tmp_path / f"{index}.toml").returncode == 1


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_has_help_an_example_that_parses_and_a_page(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option)), (
        "an option has no help"
    )
    lines = examples(command)
    assert lines, "its help gives no example"
    for line in lines:
        words = shlex.split(line)
        assert words[1 : 1 + len(path)] == list(path)
        command.make_context(
            " ".join(path), words[1 + len(path) :], parent=main.context_class(main, **main.context_settings)
        )  # refuses what it does not know
    page = (DOCS / "reference/commands" / f"{page_name(path)}.md").read_text()
    assert f"# serq-mcu {' '.join(path)}\n" in page and all(line in page for line in lines)
    assert f"]({page_name(path)}.md)" in (DOCS / "reference/commands/index.md").read_text()


def test_the_check_notices_a_changed_default(monkeypatch: pytest.MonkeyPatch) -> None:
    option = next(parameter for parameter in COMMANDS["verify",].params if parameter.name == "target")
    monkeypatch.setattr(option, "default", "emulator")
    assert pages()["commands/verify.md"] != (DOCS / "reference/commands/verify.md").read_text()


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=quiet,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    found = list((tmp_path / "site").rglob("*.html"))
    assert len(found) > 40
    assert [page.name for page in found if FROM_ELSEWHERE.search(page.read_text())] == []
    assert {f"{page_name(path)}.html" for path in COMMANDS} <= {page.name for page in found}
