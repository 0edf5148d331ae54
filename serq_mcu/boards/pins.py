"""Which pins a microphone may be wired to: what the chip has, and what the board and its port use themselves.

The chip's table is boards/pins/CHIP.toml; [pins] of a board file adds to it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from serq_mcu.base import resources
from serq_mcu.base.validation import Section, checked, read_toml
from serq_mcu.errors import SerqError

OUTPUTS = ("i2s_clock", "i2s_select", "pdm_clock")  # of the chip; the others are inputs
INTERFACE_PINS = {
    "i2s": ("i2s_clock", "i2s_select", "i2s_data"),
    "pdm": ("pdm_clock", "pdm_data"),
    "adc": ("adc_pin",),
}
_RANGE = re.compile(r"([A-Z_]*)([0-9]+)-([0-9]+)")
_SUGGESTED = 6

PinKey = Annotated[str, Meta(pattern="^(?:i2s_clock|i2s_select|i2s_data|pdm_clock|pdm_data|adc_pin)$")]
Name = Annotated[str, Meta(pattern="^(?:[A-Z][A-Z0-9_]{0,31}|[0-9]{1,3})$")]
PinRange = Annotated[str, Meta(pattern="^(?:[A-Z_]*[0-9]{1,3}-[0-9]{1,3}|[A-Z][A-Z0-9_]{0,31}|[0-9]{1,3})$")]
Reason = Annotated[str, Meta(pattern=r'^(?:[^\x00-\x1f\x7f-\x9f"\\$%{}]+)$')]


class Pins(Section, frozen=True):
    """[pins]: what a pin of [audio] can be.

    "4-7" are four pins, and "PA0-7" eight. exist: the pins there are (none: they are not checked). chip: the
    table boards/pins/CHIP.toml, which these lists add to; the one of the board's core is taken without it.
    taken, caution: pins to a reason; the first are refused and the second warned of. uart, usb: those of the
    port's line. only: what the driver can take for a key. after: the pin of a key must follow that of
    another. wired: soldered on the board, so not warned of. names: what else a pin is called.
    """

    chip: Annotated[str, Meta(pattern="^(?:[a-z0-9]+)$")] = ""
    core: str = ""
    exist: tuple[PinRange, ...] = ()
    input_only: tuple[PinRange, ...] = ()
    uart: tuple[PinRange, ...] = ()
    usb: tuple[PinRange, ...] = ()
    taken: dict[PinRange, Reason] = msgspec.field(default_factory=dict)
    caution: dict[PinRange, Reason] = msgspec.field(default_factory=dict)
    only: dict[PinKey, tuple[PinRange, ...]] = msgspec.field(default_factory=dict)
    after: dict[PinKey, PinKey] = msgspec.field(default_factory=dict)
    wired: tuple[PinRange, ...] = ()
    names: dict[Name, Name] = msgspec.field(default_factory=dict)

    def canonical(self, pin: str) -> str:
        """Return the name of a pin that the lists have."""
        return self.names.get(pin, pin)

    def reasons_against(self, pin: str, key: str, port: Iterable[str]) -> Iterator[str]:
        """Yield why a pin cannot be what the key names; port: the pins of the port's line."""
        pin = self.canonical(pin)
        if pin not in expanded(self.exist):
            yield "does not exist on this chip"
        if reason := _reason(self.taken, pin):
            yield reason
        if pin in port:
            yield "belongs to the line to the host"
        if key in OUTPUTS and pin in expanded(self.input_only):
            yield "can only be an input"
        if key in self.only and pin not in expanded(self.only[key]):
            yield f"is none that the driver can take for {key}"

    def free(self, key: str, used: Iterable[str], port: Iterable[str]) -> list[str]:
        """Return pins that the key may name, and that nothing speaks against."""
        taken, port = {self.canonical(pin) for pin in used}, set(port)
        return [
            pin
            for pin in expanded(self.only.get(key, self.exist))
            if pin not in taken
            and not _reason(self.caution, self.canonical(pin))
            and not any(self.reasons_against(pin, key, port))
        ]

    def free_outputs(self, used: Iterable[str], port: Iterable[str]) -> list[str]:
        """Return pins that can drive something, and that nothing speaks against."""
        taken, port, inputs = {self.canonical(pin) for pin in used}, set(port), expanded(self.input_only)
        return [
            pin
            for pin in expanded(self.exist)
            if pin not in taken
            and pin not in inputs
            and not _reason(self.caution, pin)
            and not any(self.reasons_against(pin, "", port))
        ]

    def warning(self, pin: str) -> str | None:
        """Return what a pin does besides, where a user should know."""
        pin = self.canonical(pin)
        return None if pin in expanded(self.wired) else _reason(self.caution, pin)


class _ChipFile(Section, frozen=True):
    """A pin table."""

    pins: Pins
    sources: dict[str, str] = msgspec.field(default_factory=dict)


def with_chip(pins: Pins, core: str, family: str, where: str) -> Pins:
    """Return a board's pins with those of its chip's table.

    Raises SerqError, beginning with `where`, for a table that does not exist.
    """
    tables = chip_tables()
    if pins.chip and pins.chip not in tables:
        raise SerqError(f"{where}: pins.chip {pins.chip!r} is not one of {', '.join(sorted(tables))}")
    by_core = (table for table in tables.values() if family == "esp32" and table.core == core)
    chip = tables[pins.chip] if pins.chip else next(by_core, None)
    if chip is None or pins.exist:
        return pins
    both = {name: getattr(chip, name) | getattr(pins, name) for name in ("taken", "caution", "only", "names")}
    lists = {name: getattr(chip, name) + getattr(pins, name) for name in ("uart", "usb", "wired")}
    return msgspec.structs.replace(pins, exist=chip.exist, input_only=chip.input_only, **both, **lists)


@functools.cache
def chip_tables() -> dict[str, Pins]:
    """Read every pin table, by the chip's name."""
    paths = sorted((resources.BOARDS / "pins").glob("*.toml"))
    return {path.stem: checked(read_toml(path, "pin")[0], _ChipFile, str(path)).pins for path in paths}


def expanded(ranges: Iterable[str]) -> list[str]:
    """Return the pins of ranges, in order."""
    pins = []
    for item in ranges:
        match = _RANGE.fullmatch(item)
        if match:
            first, last = int(match[2]), int(match[3])
            pins += [f"{match[1]}{number}" for number in range(first, last + 1)]
        else:
            pins.append(item)
    return pins


def suggestion(free: list[str]) -> str:
    """Name some free pins."""
    if not free:
        return "no other pin is free for it"
    return f"{', '.join(free[:_SUGGESTED])} {'are' if len(free) > 1 else 'is'} free"


def _reason(reasons: Mapping[str, str], pin: str) -> str | None:
    return next((reason for item, reason in reasons.items() if pin in expanded([item])), None)
