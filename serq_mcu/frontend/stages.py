"""The stages of a frame: the integers between samples and pooled features, by name (SPEC.md section 7)."""

from __future__ import annotations

from collections.abc import Iterable

from serq_mcu.base.stages import Stage

SPECTRAL_STAGES = ("window", "spectrum", "power")  # of every specification
MEL_STAGES = ("mel", "log")  # of those with a block that reads logs of mel bands
LEVEL_STAGE = "level"  # of every specification
PITCH_STAGES = ("pitch",)  # of those with a block that reads it
_WIDE = ("power", "mel")  # sums of squares, 64 bits; all other stages have 32


def stage_table(names: Iterable[str]) -> tuple[Stage, ...]:
    """Describe the stages of a frame that have these names."""
    return tuple(Stage(name, "uint64" if name in _WIDE else "int32", per_frame=True) for name in names)
