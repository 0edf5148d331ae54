"""Energy block: the contour of a frame's level, which the frame has computed already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import CPart
from serq_mcu.frontend.analysis import Analysis, require
from serq_mcu.frontend.arithmetic import LEVEL_MIN
from serq_mcu.frontend.blocks.base import Bounds, Buffer, Cost, FeatureBlock, FloatFrames, Frames, Tables
from serq_mcu.frontend.blocks.mel import DECIBEL

GAIN_FREE = ("sd", "delta_mean", "delta_sd")


@dataclass(frozen=True)
class Energy(FeatureBlock):
    """The level of a frame, and only what no gain changes of it: how it spreads, rises and changes."""

    kind: ClassVar[str] = "energy"
    reads: ClassVar[Buffer] = "level"
    unit: ClassVar[str] = "dB"
    loud: ClassVar[int] = 1

    size: int = 1
    statistics: tuple[str, ...] = GAIN_FREE

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size == 1, f"energy: size {self.size} must be 1, the level")

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        """List the statistics that no gain changes."""
        return GAIN_FREE

    @property
    def stage(self) -> str:
        """The level, which every specification has."""
        return "level"

    @property
    def own_stages(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    def value_range(self, _tables: Tables, _bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the floor of a level, and what 16 bits hold."""
        return np.array([LEVEL_MIN]), np.array([2**15 - 1])

    def integers(self, frames: Frames, _tables: Tables) -> NDArray[np.int64]:
        """Return the levels as they are."""
        return frames.level[None]

    def floats(self, frames: FloatFrames, _analysis: Analysis) -> NDArray[np.float64]:
        """Return the levels in dB."""
        return frames.level[None]

    def steps(self, _analysis: Analysis) -> NDArray[np.float64]:
        """Return the dB of a step of Q8 log2 of power."""
        return np.array(DECIBEL / 256)

    def code(self, _analysis: Analysis, _tables: Tables) -> CPart:
        """Add nothing: `level` is there."""
        return CPart(steps=())

    def costs(self, _analysis: Analysis, _tables: Tables) -> tuple[Cost, ...]:
        """Add nothing but the pooling that all blocks have."""
        return ()
