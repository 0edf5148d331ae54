"""Text from outside (names, labels, messages, what a device says), made fit to be shown."""

from __future__ import annotations

import difflib
import html
import re
import unicodedata
from collections.abc import Iterable

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# signs anywhere, the start of an entity, and the start of a heading, a list or a rule
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>|~]|&(?=[#A-Za-z])|^[#+\-=]")


def shown(text: str, keep: str = "") -> str:
    r"""Return text whose control, direction and unpaired characters are escapes, such as `\x1b` or `\u202e`.

    Nothing that is left moves a cursor, turns the order of letters or hides. keep: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep or unicodedata.category(character) == "Zs"
        else _escape(character)
        for character in text
    )


def shown_lines(text: str) -> str:
    """Return text of several lines, each as `shown` has it."""
    return shown(text, "\n")


def memory_text(size: int) -> str:
    """Write bytes of memory as vendors count them: KiB of 1024 bytes, and MiB."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.{0 if size >= 10 * unit or size % unit == 0 else 1}f} {name}"
    return f"{size} bytes"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is none of those that are known, and which is nearest."""
    names = [other for other in known if other]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {near[0]}? It is" if near else "it is"
    return f"unknown {what} {name!r}; {meant} one of {', '.join(names)}"


def html_text(text: str) -> str:
    """Return text for HTML, SVG and XML, in elements and attributes."""
    return html.escape(shown(text))


def markdown_text(text: str) -> str:
    """Return text of which Markdown reads nothing as markup, at the start of a line or within one."""
    return _MARKDOWN.sub(r"\\\g<0>", shown(text))


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
