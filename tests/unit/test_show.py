"""Presentation: one table in three forms, and drawings that are well formed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from serq_mcu.show import drawing
from serq_mcu.show.drawing import Figure
from serq_mcu.show.page import Page, Section
from serq_mcu.show.table import Column, Table, columns, escape_markdown

TABLE = Table(
    (Column("name"), Column("share", "right", ".1%"), Column("n", "right")),
    [("a | b", 0.5, "12"), ("<é>", None, "3")],
)


def test_text_is_aligned_by_column_and_has_no_spaces_at_the_end() -> None:
    assert TABLE.text() == ["name   share   n", "a | b  50.0%  12", "<é>            3"]
    assert Table(columns("ab"), [("x", "")]).text() == ["a  b", "x"]


def test_wide_characters_take_two_columns_of_a_terminal() -> None:
    assert Table(columns(("name", "n")), [("怒り", "1"), ("joy", "2")]).text()[1:] == ["怒り  1", "joy   2"]


def test_markdown_keeps_a_cell_in_its_column() -> None:
    assert TABLE.markdown().splitlines() == [
        "| name | share | n |",
        "| --- | ---: | ---: |",
        "| a \\| b | 50.0% | 12 |",
        "| <é> |  | 3 |",
    ]
    escaped = Table(columns(("a",)), [(escape_markdown("x|*y*"),)])
    assert escaped.markdown().splitlines()[-1] == "| x\\|\\*y\\* |"
    assert Table(columns(("a",)), [("x\ny",)]).markdown().splitlines()[-1] == "| x y |"


def test_html_holds_the_same_cells_and_escapes_them() -> None:
    root = ElementTree.fromstring(TABLE.html())
    assert [cell.text for cell in root.iter("th")] == ["name", "share", "n"]
    assert [cell.text for cell in root.iter("td")] == ["a | b", "50.0%", "12", "<é>", None, "3"]
    assert [cell.get("class") for cell in root.iter("th")] == [None, "number", "number"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a table of 2 columns has a row of 1 values"):
        Table(columns("ab"), [("x",)])


ELEMENTS = [
    drawing.text(1, 2, '<b> & "c"', "end", "soft"),
    drawing.line("grid", 0, 0, 1, 1),
    drawing.polyline("curve", [(0, 0), (1, 2)], "2 4"),
    drawing.polygon("star", drawing.star(5, 5, 4, 2), "<title>"),
    drawing.circle("best", 1, 2, 3, "a & b"),
    drawing.rectangle("bar", (1, 2, 3, 4), "x < y", opacity=0.5),
    drawing.image((0, 0, 10, 10), np.arange(6.0).reshape(2, 3)),
]


def test_every_element_is_well_formed_whatever_its_text() -> None:
    root = ElementTree.fromstring(drawing.document(100, 50, 'a "name" <of> & more', ELEMENTS))
    assert root.get("aria-label") == 'a "name" <of> & more'
    assert len(root) == len(ELEMENTS) + 1  # the theme
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["<title>", "a & b", "x < y"]


def test_each_class_of_a_drawing_has_a_rule_and_each_colour_two_values() -> None:
    svg = drawing.document(1, 1, "", [])
    for kind in ("soft", "grid", "curve", "star", "best", "bar", "wave", "open", "on", "whisker", "dotted"):
        assert f".serq .{kind} {{" in svg
    names = [part.split(")")[0] for part in svg.split("var(--")[1:]]
    assert names and all(svg.count(f"--{name}: #") == 2 for name in names)


def test_a_page_escapes_its_text_and_leaves_out_what_is_not_given() -> None:
    figure = Figure("f", "caption <1>", drawing.document(1, 1, "", ELEMENTS))
    sections = (Section("One & two", ("a < b",), (figure,), TABLE), Section("Nothing", missing="give --x"))
    text = Page("title", "<heading>", sections).html()
    assert "&lt;heading&gt;" in text and "caption &lt;1&gt;" in text and "a &lt; b" in text
    assert text.count("<section") == 2 and "<dl>" not in text and "<details>" in text
    assert "give --x" in text and "<td>a | b</td>" in text
