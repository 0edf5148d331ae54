"""What mkdocs needs beside mkdocs.yml: pages of other folders, links between them, the commands' pages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "spec.md": "SPEC.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "code_of_conduct.md": "CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
    "boards_files.md": "boards/README.md",
    "models.md": "serq_mcu/models/README.md",
    "example_repository.md": "examples/regression_tests/README.md",
}
DIRECTORIES = {"examples/regression_tests": "example_repository.md", "boards": "boards_files.md"}
PLAIN = (".csv",)  # files that pages name and the site leaves out


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands' pages after their index in the navigation.

    A page that mkdocs.yml does not name is a result.
    """
    reference = _section(config, "Reference")
    _section(config, "Results").extend(
        page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in repr(config.nav)
    )
    pages = sorted((ROOT / "docs/reference/commands").glob("*.md"))
    reference[0] = {
        "Commands": [
            "reference/commands/index.md",
            *(f"reference/commands/{page.name}" for page in pages if page.name != "index.md"),
        ]
    }
    return config


def _section(config: MkDocsConfig, title: str) -> list[Any]:
    return next(part[title] for part in config.nav or [] if title in part)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages that lie elsewhere."""
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links are relative to where a page lies in the project; here they become links of the site."""
    source = Path(ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def moved(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        path = os.path.normpath(source.parent / target)
        if Path(path).suffix in PLAIN:
            return str(text)
        places = {where: name for name, where in ELSEWHERE.items()} | DIRECTORIES
        place = places.get(path, path.removeprefix("docs/"))
        return f"[{text}]({os.path.relpath(place, Path(page.file.src_uri).parent)}{anchor or ''})"

    return re.sub(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", moved, markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Brackets such as a[i][j] are text: only the page of the Python interface has cross-references."""
    if page.file.src_uri == "reference/python_api.md":
        return html
    return re.sub(r'<autoref [^>]*?identifier="([^"]*)"[^>]*>(.*?)</autoref>', r"[\2][\1]", html, flags=re.S)
