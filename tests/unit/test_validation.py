"""Data from outside: every refusal names the place, the key, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from serq_mcu.base.validation import Section, changed, checked, parse_toml, read_toml
from serq_mcu.errors import SerqError


class Inner(Section, frozen=True):
    """A table in a table."""

    size: Annotated[int, Meta(ge=2, le=9)] = 0  # a default that a file cannot give
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    names: tuple[Annotated[str, Meta(pattern="^(?:[a-z]+|B)$")], ...] = ()


class Outer(Section, frozen=True):
    """A table."""

    kind: Literal["a", "b"]
    on: bool = False
    count: Annotated[int, Meta(ge=1)] = 1
    inner: Inner | None = None
    notes: dict[str, str] = msgspec.field(default_factory=dict)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "f: it is []; it must be a table"),
        ({}, "f: kind is missing"),
        ({"kind": "c"}, "f: kind is 'c'; it must be one of a, b"),
        ({"kind": "a", "on": 1}, "f: on is 1; it must be true or false"),
        ({"kind": "a", "count": 0}, "f: count is 0; it must be a whole number of at least 1"),
        ({"kind": "a", "count": True}, "f: count is True; it must be a whole number of at least 1"),
        (
            {"kind": "a", "inner": {"size": 10**40}},
            f"f: inner.size is {10**40}; it must be a whole number from 2 to 9",
        ),
        ({"kind": "a", "inner": 1}, "f: inner is 1; it must be a table"),
        ({"kind": "a", "inner": {"size": 1}}, "f: inner.size is 1; it must be a whole number from 2 to 9"),
        (
            {"kind": "a", "inner": {"size": 2.5}},
            "f: inner.size is 2.5; it must be a whole number from 2 to 9",
        ),
        (
            {"kind": "a", "inner": {"share": 1}},
            "f: inner.share is 1; it must be a number above 0 and below 1",
        ),
        (
            {"kind": "a", "inner": {"share": float("nan")}},
            "f: inner.share is nan; it must be a number above 0 and below 1",
        ),
        (
            {"kind": "a", "inner": {"names": ["a", "A"]}},
            "f: inner.names[1] is 'A'; it must be text of the form [a-z]+|B",
        ),
        (
            {"kind": "a", "inner": {"names": "a"}},
            "f: inner.names is 'a'; it must be a list, each item text of the form [a-z]+|B",
        ),
        ({"kind": "a", "notes": {"x": 1}}, "f: each value of notes must be text"),
        ({"kind": "a", "knd": 1}, "f: unknown key 'knd'; did you mean kind?"),
        ({"kind": "a", "zz": 1}, "f: unknown key 'zz'; it may have kind, on, count, inner, notes"),
        ({"kind": "a", "inner": {"sise": 1}}, "f: unknown key 'sise' in [inner]; did you mean size?"),
        (
            {"kind": "a", "inner": {"names": ["B\n"]}},
            "f: inner.names[0] 'B\\n' holds a control character; take it out",
        ),
        ({"kind": "a", "notes": {"x": "\x9b"}}, "f: notes.x '\\x9b' holds a control character; take it out"),
    ],
)
def test_what_is_refused_is_named_with_what_is_allowed(value: Any, sentence: str) -> None:
    with pytest.raises(SerqError) as caught:
        checked(value, Outer, "f")
    assert str(caught.value) == sentence


def test_what_fits_is_read_and_a_change_is_checked_without_the_defaults() -> None:
    outer = checked({"kind": "b", "inner": {"names": ["a", "B"]}}, Outer, "f")
    assert outer.inner is not None and outer.inner.names == ("a", "B")
    assert changed(outer.inner, share=0.25) == Inner(share=0.25, names=("a", "B"))
    with pytest.raises(SerqError, match="the change: size is 1; it must be a whole number from 2 to 9"):
        changed(outer.inner, size=1)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    with pytest.raises(SerqError, match=r"cannot read the plan file .*x\.toml: No such file"):
        read_toml(path, "plan")
    for data in (b"a = ", b"\xff", b"a = " + b"[" * 100_000):
        path.write_bytes(data)
        with pytest.raises(SerqError, match=r"the plan file .*x\.toml is not valid TOML"):
            read_toml(path, "plan")
    with pytest.raises(SerqError, match="the setting is not valid TOML"):
        parse_toml("=", "the setting")
