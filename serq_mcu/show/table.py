"""Tables, rendered as text for a terminal, as GitHub Markdown and as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from serq_mcu.base.text import html_text, shown

Align = Literal["left", "right"]
Value = str | float | None
_TAG = re.compile(r"(?<!\\)<(?=[A-Za-z/!?])")


@dataclass(frozen=True)
class Column:
    """A column. format: the format specification of its numbers, such as ".1%"; text is shown as it is."""

    title: str
    align: Align = "left"
    format: str = ""

    def cell(self, value: Value) -> str:
        """Return a value as text; None is an empty cell."""
        if value is None or isinstance(value, str):
            return value or ""
        return format(value, self.format)


def columns(titles: Iterable[str], align: Align = "left") -> tuple[Column, ...]:
    """Make a column for each title, all with the same alignment."""
    return tuple(Column(title, align) for title in titles)


@dataclass(frozen=True)
class Table:
    """Columns and rows of values.

    Raises ValueError if a row has more or fewer values than columns.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Value]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a table of {len(self.columns)} columns has a row of {len(row)} values")

    @property
    def titles(self) -> list[str]:
        """The columns' titles."""
        return [column.title for column in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """All rows as text, without the titles."""
        return [
            [column.cell(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows
        ]

    def text(self) -> list[str]:
        """Render as lines of plain text, aligned by terminal columns, the titles first."""
        lines = [[shown(cell) for cell in line] for line in (self.titles, *self.cells)]
        widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
        return ["  ".join(self._padded(line, widths)).rstrip() for line in lines]

    def markdown(self) -> str:
        """Render as a GitHub Markdown table.

        Pipes, line ends and HTML are escaped, other markup is kept.
        """
        rules = ["---:" if column.align == "right" else "---" for column in self.columns]
        body = [[_one_cell(cell) for cell in line] for line in (self.titles, *self.cells)]
        return "\n".join("| " + " | ".join(line) + " |" for line in (body[0], rules, *body[1:]))

    def html(self) -> str:
        """Render as an HTML table; all text is escaped."""
        head = "".join(
            f'<th scope="col"{_number(column)}>{html_text(column.title)}</th>' for column in self.columns
        )
        body = "\n".join(f"<tr>{self._html_row(row)}</tr>" for row in self.cells)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"

    def _html_row(self, row: Sequence[str]) -> str:
        return "".join(
            f"<td{_number(column)}>{html_text(cell)}</td>"
            for column, cell in zip(self.columns, row, strict=True)
        )

    def _padded(self, line: Sequence[str], widths: Sequence[int]) -> list[str]:
        padded = []
        for column, cell, width in zip(self.columns, line, widths, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if column.align == "right" else cell + space)
        return padded


def _one_cell(text: str) -> str:
    """Escape what would end a cell; a pipe that is escaped already stays."""
    line = shown(text.replace("\n", " "))
    return _TAG.sub("&lt;", line.replace("\\|", "|").replace("|", "\\|"))


def _number(column: Column) -> str:
    return ' class="number"' if column.align == "right" else ""
