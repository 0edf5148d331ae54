"""Mel block: the log energy of each mel band, which the frame has computed already."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import CPart
from serq_mcu.frontend.analysis import Analysis
from serq_mcu.frontend.blocks.base import Bounds, Buffer, Cost, FeatureBlock, FloatFrames, Frames, Tables

DECIBEL = 10 * math.log10(2)  # of an octave of power


@dataclass(frozen=True)
class Mel(FeatureBlock):
    """The log energies of all `size` mel bands."""

    kind: ClassVar[str] = "mel"
    reads: ClassVar[Buffer] = "log"
    unit: ClassVar[str] = "dB"

    @property
    def stage(self) -> str:
        """The logs of the mel energies, which every specification with mel bands has."""
        return "log"

    @property
    def own_stages(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    @property
    def moved_by_gain(self) -> range:
        """All of them."""
        return self.sequence_range

    def misfit(self, analysis: Analysis) -> str | None:
        """Return a sentence unless the size is the number of mel bands."""
        fits = self.size == analysis.mel_bands
        return None if fits else f"the mel block's size must be the number of mel bands, {analysis.mel_bands}"

    def value_range(self, _tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what is proved of the logs."""
        return bounds.log_low, bounds.log_high

    def integers(self, frames: Frames, _tables: Tables) -> NDArray[np.int64]:
        """Return the logs as they are."""
        assert frames.log is not None
        return frames.log

    def floats(self, frames: FloatFrames, _analysis: Analysis) -> NDArray[np.float64]:
        """Return the logs in dB."""
        assert frames.log is not None
        return frames.log

    def steps(self, _analysis: Analysis) -> NDArray[np.float64]:
        """Return the dB of a step of Q16 log2 of power."""
        return np.array(DECIBEL / 65536)

    def code(self, _analysis: Analysis, _tables: Tables) -> CPart:
        """Add nothing: `log` is there."""
        return CPart(steps=())

    def costs(self, _analysis: Analysis, _tables: Tables) -> tuple[Cost, ...]:
        """Add nothing but the pooling that all blocks have."""
        return ()
