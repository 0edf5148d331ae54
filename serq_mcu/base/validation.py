"""One idiom for data from outside: a msgspec Struct tells what is allowed, and every refusal names the key.

A Struct's annotations (`Annotated[int, Meta(ge=1)]`) are also the JSON schema that editors read.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from serq_mcu.base.files import read_regular
from serq_mcu.errors import SerqError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T", bound=msgspec.Struct)
_PLACE = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$([^`]*)`)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DEEPEST = 32  # tables and lists within each other: twice what any file of ours has
_MOST_TOML = 2**20  # bytes
_HUGE = 1e30  # beyond any number of ours, and far from float64's end
_MOST_DOTS = 5 * 10**7  # of TOML, the sum of their squares in lines: a key of many parts takes so long


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A validated, immutable table.

    Subclass it, with `frozen=True` again for type checkers; give each key its type, range or pattern, and its
    default. A default is not checked, so it may be a value that a file cannot give.
    """


def checked(value: Any, kind: type[T], where: str, within: str = "") -> T:
    """Convert plain values, as TOML or JSON gives them, to a `kind`.

    Raises SerqError that begins with `where` and names the key, its value and what it must be; `within` is
    the path of the table in its file. A rule between keys is a ValueError of `__post_init__`, whose text
    begins with a key. No text may hold a control character: a pattern's end would let a final line feed pass.
    """
    for path, text in _texts(value):
        if _CONTROL.search(text):
            raise SerqError(f"{where}: {_join(within, path)} {text!r} holds a control character; take it out")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SerqError(f"{where}: {_sentence(str(error), value, kind, within)}") from error


def changed(section: T, **changes: Any) -> T:
    """Copy a section with other values, checked as when it was read.

    Raises SerqError.
    """
    values = [(field, getattr(section, field.name)) for field in msgspec.structs.fields(section)]
    kept = {field.name: value for field, value in values if value != field.default}
    return checked(msgspec.to_builtins(kept | changes), type(section), "the change")


def read_toml(path: Path, what: str) -> tuple[dict[str, Any], str]:
    """Read a TOML file: its values and its text.

    Raises SerqError if it cannot be read or is not TOML; `what` names the kind of file in the message.
    """
    try:
        text = read_regular(path, _MOST_TOML).decode().replace("\r\n", "\n")
    except OSError as error:
        raise SerqError(f"cannot read the {what} file {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8
        raise SerqError(f"the {what} file {path} is not valid TOML: {error}") from error
    return parse_toml(text, f"the {what} file {path}"), text


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return the values of a TOML text.

    Raises SerqError that begins with `where` if it is not TOML.
    """
    try:
        if sum(line.count(".") ** 2 for line in text.split("\n")) > _MOST_DOTS:
            raise ValueError("its keys have too many parts")
        value = tomllib.loads(text)
        check_plain(value)
    except (ValueError, RecursionError) as error:
        raise SerqError(f"{where} is not valid TOML: {error}") from error
    return value


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text of somebody else's.

    Raises ValueError if it is not JSON, nested too deep, or holds a number or text that cannot be written
    again.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    check_plain(value)
    return value


def check_plain(value: Any) -> None:
    """Raise ValueError if plain values are nested too deep, or hold NaN, infinity or half a character."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, (list, tuple)):
                below += item
            elif isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"it holds the number {item}")
            elif isinstance(item, str) and not item.isascii():
                item.encode()  # UnicodeEncodeError is a ValueError
        if not below:
            return
        level = below
    raise ValueError("it is nested too deep")


def is_int(value: object) -> bool:
    """Tell whether a value is a whole number; True, False and 2.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number; True and False are not."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) < _HUGE  # False of NaN


_EXACT = {
    "int": (is_int, "a whole number"),
    "float": (is_number, "a number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "str": (lambda value: isinstance(value, str) and value.isprintable(), "printable text"),
}


def check_types(thing: Any, where: str = "") -> None:
    """Check the fields of a dataclass that are annotated as int, float, bool or str, or one of these or None.

    Raises SerqError, which begins with `where`, for any other type: 1024.0 and True are no int.
    """
    for field in dataclasses.fields(thing):
        named = getattr(field.type, "__name__", str(field.type))
        value = getattr(thing, field.name)
        fits, wanted = _EXACT.get(named.removesuffix(" | None"), (None, ""))
        if fits is None or fits(value) or (value is None and named.endswith(" | None")):
            continue
        raise SerqError(f"{where}{field.name.replace('_', ' ')} {value!r:.60} must be {wanted}")


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path or "the value", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _sentence(message: str, value: Any, kind: type[msgspec.Struct], within: str) -> str:
    """Say msgspec's message with the key, its value, and what the type of that key allows."""
    match = _PLACE.fullmatch(message)
    assert match is not None
    text, place = match[1], (match[2] or "").lstrip(".")
    path = _join(within, place)
    table = f" in [{path}]" if path else ""
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", text):
        known = [field.encode_name for field in _fields(_type_at(kind, place))]
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(known)}"
        return f"unknown key {unknown[1]!r}{table}; {hint}"
    if missing := re.fullmatch("Object missing required field `(.*)`", text):
        return f"{_join(path, missing[1])} is missing"
    wanted = _allowed(_type_at(kind, place))
    if not wanted or not re.match("Expected `|Invalid enum value ", text):
        return _join(path, text)
    if path.endswith("[...]"):  # msgspec does not tell the key
        return f"each value of {path.removesuffix('[...]')} must be {wanted}"
    return f"{path or 'it'} is {_at(value, place)!r}; it must be {wanted}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


_STEPS = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _at(value: Any, place: str) -> Any:
    """Return the value at a path such as `a.b[2]`; None where there is none."""
    for name, index in _STEPS.findall(place):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return value


def _type_at(kind: type[msgspec.Struct], place: str) -> Any:
    """Return msgspec's description of the type at such a path; None where it has none."""
    info: Any = msgspec.inspect.type_info(kind)
    for name, index in _STEPS.findall(place):
        info = _plain(info)
        if isinstance(info, msgspec.inspect.TupleType):
            info = info.item_types[int(index)]
        elif index:
            info = getattr(info, "item_type", getattr(info, "value_type", None))
        else:
            info = next((field.type for field in _fields(info) if field.encode_name == name), None)
    return info


def _plain(info: Any) -> Any:
    """Take off what wraps a type: a title or description, and `| None`."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        kinds = [kind for kind in info.types if not isinstance(kind, msgspec.inspect.NoneType)]
        return _plain(kinds[0]) if len(kinds) == 1 else info
    return info


def _fields(info: Any) -> tuple[Any, ...]:
    return getattr(_plain(info), "fields", ())


def _allowed(info: Any) -> str:
    """Describe what a type allows, its description if it has one; nothing where there are no words."""
    described = getattr(info, "extra_json_schema", None) or {}
    if "description" in described:
        return str(described["description"])
    info = _plain(info)
    match info:
        case msgspec.inspect.IntType():
            return f"a whole number{_limits(info)}"
        case msgspec.inspect.FloatType():
            return f"a number{_limits(info)}"
        case msgspec.inspect.StrType(pattern=str() as pattern):
            inner = re.fullmatch(r"\^\(\?:(.*)\)\$", pattern)
            return f"text of the form {inner[1] if inner else pattern}"
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.LiteralType():
            return f"one of {', '.join(str(item) for item in info.values if item != '')}"
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            most = "" if info.max_length is None else f" of at most {info.max_length}"
            inner_words = _allowed(info.item_type)
            return f"a list{most}{f', each item {inner_words}' if inner_words else ''}"
        case msgspec.inspect.DictType() | msgspec.inspect.StructType():
            return "a table"
    return ""


def _limits(info: Any) -> str:
    """Say the range of a number: ` from 1 to 8`, ` of at least 1`, ` above 0 and below 1`."""
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}"
    bounds = ((info.ge, "of at least"), (info.gt, "above"), (info.le, "of at most"), (info.lt, "below"))
    found = [f"{words} {bound}" for bound, words in bounds if bound is not None]
    return f" {' and '.join(found)}" if found else ""
