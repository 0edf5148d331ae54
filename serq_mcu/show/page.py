"""Pages in HTML that need no other file and no network: one skeleton for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from serq_mcu.base.text import shown
from serq_mcu.show.drawing import Figure, theme
from serq_mcu.show.table import Table


@dataclass(frozen=True)
class Section:
    """A part of a page.

    points: numbered, each a name and a sentence; missing: what is not there, and which option adds it; table:
    folded where there are figures; audio: a data URL of a recording to play.
    """

    title: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    points: tuple[tuple[str, str], ...] = ()
    missing: str = ""
    audio: str = ""


@dataclass(frozen=True)
class Tile:
    """A figure that leads a page: its name, the value in large type, a note, and shares drawn as gauges."""

    name: str
    value: str
    note: str
    gauges: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Page:
    """A page.

    tiles, then facts (names and values) are shown first; width: of the text, at most; drawing_width: of a
    drawing, at most, in CSS units. A drawing is at least as wide as its view box, or its text would be small.
    """

    title: str
    heading: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""
    width: str = "60rem"
    drawing_width: str = "46rem"
    tiles: tuple[Tile, ...] = ()

    def html(self) -> str:
        """Render the page; all text in it is escaped."""
        return rendered("page.html", page=self) + "\n"


def rendered(template: str, **names: Any) -> str:
    """Render a template of this folder, with the colours of all pages; all text in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("serq_mcu.show", ""),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(theme=theme(":root"), **names)


def _shown(value: Any) -> Any:
    """Make text from outside fit to be shown; what is markup already was made so where it was made."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
