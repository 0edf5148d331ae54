"""Stages: the integers between samples and scores that Python, firmware and the harness compare."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """A stage: its name, the type of its integers, and when they arise.

    The type is int32, uint8, uint64 …; there is one event of the stage for each frame, or so many for each
    decision, of as many integers each.
    """

    name: str
    type: str
    per_frame: bool = False
    events: int = 1

    @property
    def size(self) -> int:
        """Bytes of an integer."""
        return int("".join(filter(str.isdigit, self.type))) // 8

    @property
    def identifier(self) -> str:
        """The name as part of a C identifier, such as `LAYER_0_OUTPUT`."""
        return self.name.upper().replace(" ", "_")
