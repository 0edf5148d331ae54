"""Text from outside (names, labels, messages, what a device says), made fit to be shown."""

from __future__ import annotations

import html
import re
import unicodedata

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
