"""What a board says that runs no application of ours: a boot loader, a crash, another program, another rate.

The words are those of ESP-IDF 5.5.3 and of the ROMs that start it, and of ArduinoCore-mbed 4.5.0.
"""

from __future__ import annotations

import re

from serq_mcu.base.text import shown

LONGEST = 4096  # bytes of what was heard last that are worth keeping
_KNOWN = (  # the most telling first: a board that crashes also says that it restarts
    (r"(?i:brown_?out)", "its supply sags as it starts; take another cable or port"),
    (r"Guru Meditation|panic'ed|abort\(\) was called|MbedOS (Error|Fault)", "its program crashed"),
    (r"invalid header: 0x|flash read err", "its flash holds no program"),
    (r"waiting for download", "it waits in its boot loader; let go of its BOOT button, and reset it"),
    (r"WDT\w*_RE?SE?T", "a watchdog resets it"),
    (r'"serq": "live"', "it runs the application live"),
)
_ENDS = re.compile(r"[\r\n\0]")  # of lines; frames end with 0
_LETTERS = 0.75  # of what is text
_FEW = 16  # bytes that may be what a reset left on the line
_QUOTED = 80


def explained(heard: bytes | str) -> str:
    """Say what a board's bytes or text tell of it, or else quote its last line; "" if it said nothing."""
    text = heard if isinstance(heard, str) else heard.decode("ascii", errors="replace")
    found = _trouble(text)
    if found:
        line, meaning = found
        return f"it said {line!r}: {meaning}"
    letters = sum(
        character.isascii() and (character.isprintable() or character.isspace()) for character in text
    )
    if len(text) > _FEW and letters < _LETTERS * len(text):
        return "what it sends is no text: another baud rate, or another application"
    lines = [line.strip() for line in _ENDS.split(text) if line.strip()]
    return f"it said {shown(lines[-1])[:_QUOTED]!r}" if lines else ""


def in_trouble(heard: bytes | str) -> bool:
    """Tell whether a board said something that explains why it does not answer."""
    return _trouble(heard if isinstance(heard, str) else heard.decode("ascii", errors="replace")) is not None


def _trouble(text: str) -> tuple[str, str] | None:
    for pattern, meaning in _KNOWN:
        match = re.search(pattern, text)
        if match:
            before, after = _ENDS.split(text[: match.start()]), _ENDS.split(text[match.start() :])
            return shown(f"{before[-1]}{after[0]}".strip())[:_QUOTED], meaning
    return None
