"""One idiom for data from outside: a msgspec Struct says what may stand in it, and every refusal names the
key.

A Struct's annotations (`Annotated[int, Meta(ge=1)]`) are also the JSON schema that editors read.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from serq_mcu.errors import SerqError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T", bound=msgspec.Struct)
_PLACE = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$([^`]*)`)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A validated, immutable table.

    Subclass it; give each key its type, range or pattern, and its default.
    """


def checked(value: Any, kind: type[T], where: str) -> T:
    """Convert plain values, as TOML or JSON gives them, to a `kind`.

    Raises SerqError that begins with `where` and names the key, its value and what it must be. No text may
    hold a control character: a pattern's end would let a final line feed pass.
    """
    for path, text in _texts(value):
        if _CONTROL.search(text):
            raise SerqError(f"{where}: {path} {text!r} holds a control character; take it out")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SerqError(f"{where}: {_sentence(str(error), value, kind)}") from error


def changed(section: T, **changes: Any) -> T:
    """Copy a section with other values, checked as when it was read. Raises SerqError."""
    plain = {name: getattr(section, name) for name in section.__struct_fields__} | changes
    return checked(msgspec.to_builtins(plain), type(section), "the change")


def read_toml(path: Path, what: str) -> tuple[dict[str, Any], str]:
    """Read a TOML file: its values and its text.

    Raises SerqError if it cannot be read or is not TOML; `what` says in the message what kind of file it is.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except OSError as error:
        raise SerqError(f"cannot read the {what} file {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are both ValueErrors
        raise SerqError(f"the {what} file {path} is not valid TOML: {error}") from error


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path or "the value", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _sentence(message: str, value: Any, kind: type[msgspec.Struct]) -> str:
    match = _PLACE.fullmatch(message)
    assert match is not None
    text, place = match[1], (match[2] or "").lstrip(".")
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", text):
        known = _keys(kind, place)
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(known)}"
        return f"unknown key {unknown[1]!r}{f' in [{place}]' if place else ''}; {hint}"
    if missing := re.fullmatch("Object missing required field `(.*)`", text):
        return f"{place + '.' if place else ''}{missing[1]} is missing"
    expected = re.fullmatch(
        "Expected `(.*?)`(?: (matching regex .*|of length .*|[<>]=? .*))?(?:, got .*)?", text
    )
    found = _at(value, place)
    if expected and place:
        limit = (expected[2] or "").replace("matching regex", "of the form")
        wanted = f"{_NOUNS.get(expected[1], expected[1])} {limit}".rstrip()
        return f"{place} is {found!r}; it must be {wanted}"
    return f"{place}: {text}" if place else text


_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def _at(value: Any, place: str) -> Any:
    """The value at a path such as `a.b[2]`; None where there is none."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", place):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _keys(kind: type[msgspec.Struct], place: str) -> list[str]:
    """The keys that the table at a path may have, as far as the types say."""
    info: Any = msgspec.inspect.type_info(kind)
    for name in re.findall(r"[^.\[\]]+", place):
        fields = {field.encode_name: field.type for field in getattr(info, "fields", ())}
        info = fields.get(name, info)
        info = getattr(info, "item_type", info)
    return [field.encode_name for field in getattr(info, "fields", ())]
