"""Presentation: one table in three forms, and drawings that are well formed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.base.text import markdown_text
from serq_mcu.show import drawing
from serq_mcu.show.demo import demo_lines
from serq_mcu.show.drawing import Figure
from serq_mcu.show.page import Page, Section, Tile
from serq_mcu.show.table import Column, Table, columns

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
    escaped = Table(columns(("a",)), [(markdown_text("x|*y*"),)])
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


def test_the_demos_tables_hold_its_figures() -> None:
    score = {"accuracy": 0.5, "interval95": [0.25, 0.75], "n": 8}
    split = {"split": 0, "float": score, "quantized": score, "widths": [8, "ternary"], "average_bits": 4.5}
    sizes = {"weights_only_bytes": 2000, "stored_bytes": 2500}
    firmware = {"board": "esp32", "flash_bytes": 900, "ram_bytes": 80, "state": "exported; build it"}
    target = {
        "target": "host",
        "clips": 8,
        "compared_integers": 1234,
        "differing_clips": 0,
        "differing_integers": 0,
        "flash_bytes": None,
        "ram_bytes": None,
    }
    summary = {
        "corpus": {"name": "c", "clips": 8},
        "protocol": "p",
        "synthetic": True,
        "splits": [split],
        "float_accuracy_mean": 0.5,
        "quantized_accuracy_mean": 0.25,
        "model": {"shipped": True, "identity": "ab", "widths": [8, "ternary"], "average_bits": 4.5, **sizes},
        "firmware": [firmware],
        "verification": [target],
        "differing_clips": 0,
        "differing_integers": 0,
        "seconds": 1.0,
    }
    lines = [" ".join(line.split()) for line in demo_lines(summary, Path("out"))]
    assert "1 8 50.0% 25.0% to 75.0% 50.0% 25.0% to 75.0% 8 ternary 4.50" in lines
    assert "mean 50.0% 25.0%" in lines
    assert "esp32 900 80 known before a build exported; build it" in lines
    assert "host 8 1234 0 0" in lines
    assert any("meaningless" in line for line in lines) and lines[-1] == "all files are in out"


def test_a_tile_has_a_gauge_for_each_share_and_says_where_one_is_too_large() -> None:
    tile = Tile("Memory", "Does not <fit>", "of the board", (("flash", 0.048), ("RAM", 1.5)))
    text = Page("title", "heading", (Section("part", ("sentence",)),), tiles=(tile,)).html()
    assert "Does not &lt;fit&gt;" in text and "flash: 4.8 %" in text and "RAM: 150.0 %" in text
    assert '<div style="width: 4.8%">' in text and '<div class="over" style="width: 100.0%">' in text


def test_a_drawing_in_a_page_is_as_wide_as_its_text_needs() -> None:
    figure = Figure("f", "caption", drawing.document(880, 40, "a drawing", []))
    assert figure.width == 880
    assert 'style="--least: 880px"' in Page("title", "heading", (Section("part", (), (figure,)),)).html()
