from __future__ import annotations

import pytest

from tools.lint_comprehensions import too_deep


@pytest.mark.parametrize(
    "source",
    [
        "found = [a for row in rows for a in row]",
        "found = [[a for a in row] for row in rows]",
        "found = {name: sum(a for a in row) for name, row in rows.items()}",
        "found = [a for a in rows], [b for b in rows], [c for c in rows]",
    ],
)
def test_two_deep_is_allowed(source: str) -> None:
    assert list(too_deep(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "found = [a for table in tables for row in table for a in row]",
        "found = [[[a for a in row] for row in table] for table in tables]",
        "found = [a for row in [[a for a in row] for row in rows] for a in row]",
        "found = {a: f(sum(x for x in (y for y in a))) for a in rows}",
    ],
)
def test_a_third_is_found_at_its_line(source: str) -> None:
    assert [line for line, _ in too_deep("import this\n" + source)] == [2]
