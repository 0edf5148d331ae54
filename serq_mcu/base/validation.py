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


def checked(value: Any, kind: type[T], where: str, within: str = "") -> T:
    """Convert plain values, as TOML or JSON gives them, to a `kind`.

    Raises SerqError that begins with `where` and names the key, its value and what it must be; `within` is
    the path of the table in its file. A ValueError of a `__post_init__` is a rule that failed: its text
    begins with a key of the section. No text may hold a control character: a pattern's end would let a
    final line feed pass.
    """
    for path, text in _texts(value):
        if _CONTROL.search(text):
            raise SerqError(f"{where}: {_join(within, path)} {text!r} holds a control character; take it out")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SerqError(f"{where}: {_sentence(str(error), value, kind, within)}") from error


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


def _sentence(message: str, value: Any, kind: type[msgspec.Struct], within: str) -> str:
    match = _PLACE.fullmatch(message)
    assert match is not None
    text, place = match[1], (match[2] or "").lstrip(".")
    path = _join(within, place)
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", text):
        known = _keys(kind, place)
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(known)}"
        return f"unknown key {unknown[1]!r}{f' in [{path}]' if path else ''}; {hint}"
    if missing := re.fullmatch("Object missing required field `(.*)`", text):
        return f"{_join(path, missing[1])} is missing"
    if re.match("Expected `|Invalid enum value ", text):
        return f"{path or 'the value'} is {_at(value, place)!r}; it must be {_wanted(_type_at(kind, place))}"
    return f"{path}.{text}" if path else text


def _wanted(info: Any) -> str:
    """What a value of a type must be, as msgspec knows the type."""
    described = getattr(info, "extra_json_schema", None) or {}
    if "description" in described:
        return str(described["description"])
    info = _bare(info)
    if hasattr(info, "values"):
        return f"one of {', '.join(map(str, info.values))}"
    if hasattr(info, "item_types"):
        return f"a list of {len(info.item_types)}, each {_wanted(info.item_types[0])}"
    noun = _NOUNS.get(type(info).__name__, "of another type")
    if hasattr(info, "item_type"):
        most = "" if info.max_length is None else f" of at most {info.max_length}"
        return f"{noun}{most}, each {_wanted(info.item_type)}"
    if getattr(info, "pattern", None):
        return f"{noun} of the form {info.pattern}"
    low, high = getattr(info, "ge", None), getattr(info, "le", None)
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    limits = {word: getattr(info, name, None) for name, word in _LIMITS.items()}
    limited = " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)
    return ", ".join(filter(None, [noun, limited]))


_LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_NOUNS = {
    "IntType": "a whole number",
    "FloatType": "a number",
    "StrType": "text",
    "BoolType": "true or false",
    "VarTupleType": "a list",
    "ListType": "a list",
    "StructType": "a table",
    "DictType": "a table",
}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


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
    return [field.encode_name for field in getattr(_bare(_type_at(kind, place)), "fields", ())]


def _type_at(kind: type[msgspec.Struct], place: str) -> Any:
    """What msgspec knows of the type at a path such as `a.b[2]`."""
    info: Any = msgspec.inspect.type_info(kind)
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]", place):
        info = _bare(info)
        if index:
            items = getattr(info, "item_types", None)
            info = getattr(info, "item_type", info) if items is None else items[int(index)]
        else:
            fields = {field.encode_name: field.type for field in getattr(info, "fields", ())}
            info = fields.get(name, info)
    return info


def _bare(info: Any) -> Any:
    """A type without its metadata; of a type or nothing, the type."""
    while type(info).__name__ == "Metadata":
        info = info.type
    if hasattr(info, "types"):
        (info,) = (_bare(one) for one in info.types if type(one).__name__ != "NoneType")
    return info
