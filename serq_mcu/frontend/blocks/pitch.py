"""F0 and voicing blocks: fundamental frequency in voiced frames, and how voiced every frame is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CPart, Declare, Trace
from serq_mcu.frontend import pitch
from serq_mcu.frontend.analysis import Analysis, require
from serq_mcu.frontend.arithmetic import Q15
from serq_mcu.frontend.blocks.base import (
    VALUES,
    Bounds,
    Buffer,
    Cost,
    FeatureBlock,
    FloatFrames,
    Frames,
    Tables,
)


@dataclass(frozen=True)
class F0(FeatureBlock):
    """The fundamental frequency, in octaves above the lowest pitch; only voiced frames count."""

    kind: ClassVar[str] = "f0"
    reads: ClassVar[Buffer] = "pitch"
    selective: ClassVar[bool] = True
    unit: ClassVar[str] = "octaves"

    size: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size == 1, f"f0: size {self.size} must be 1")

    def misfit(self, analysis: Analysis) -> str | None:
        """Return a sentence if frames are too short to hear the lowest pitch."""
        return pitch.misfit(analysis)

    def value_range(self, _tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what is proved of the pitch."""
        assert bounds.pitch_low is not None and bounds.pitch_high is not None
        return bounds.pitch_low[:1], bounds.pitch_high[:1]

    def integers(self, frames: Frames, _tables: Tables) -> NDArray[np.int64]:
        """Return the pitch as it is."""
        assert frames.pitch is not None
        return frames.pitch[:1]

    def spread(self, analysis: Analysis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the range of the search."""
        return np.zeros(1), np.array([np.log2(analysis.pitch_high / analysis.pitch_low)])

    def counts(self, frames: Frames, _tables: Tables) -> NDArray[np.bool_]:
        """Tell which frames are voiced."""
        assert frames.voiced is not None
        return frames.voiced

    def floats(self, frames: FloatFrames, _analysis: Analysis) -> NDArray[np.float64]:
        """Return the pitch in octaves."""
        assert frames.pitch is not None
        return frames.pitch[:1]

    def steps(self, _analysis: Analysis) -> NDArray[np.float64]:
        """Return a step of Q16 octaves."""
        return np.array(1 / 65536)

    def code(self, _analysis: Analysis, _tables: Tables) -> CPart:
        """Name what is there: the first of the pitch stage's integers."""
        return CPart(
            steps=(
                Declare("const int32_t *", "f0", "pitch"),
                Declare("uint8_t", "f0_counts", "voiced"),
                Trace("f0", "f0", self.size, "int32_t"),
            )
        )

    def costs(self, _analysis: Analysis, _tables: Tables) -> tuple[Cost, ...]:
        """Add nothing but the pooling that all blocks have."""
        return ()


@dataclass(frozen=True)
class Voicing(FeatureBlock):
    """How voiced a frame is from 0 to 1, and whether it is voiced: 0 or 1."""

    kind: ClassVar[str] = "voicing"
    reads: ClassVar[Buffer] = "pitch"
    unit: ClassVar[str] = "of all power"

    size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size == 2, f"voicing: size {self.size} must be 2")

    def misfit(self, analysis: Analysis) -> str | None:
        """Return a sentence if frames are too short to hear the lowest pitch."""
        return pitch.misfit(analysis)

    def value_range(self, _tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what is proved of the voicing, and 0 and 1 in Q15."""
        assert bounds.pitch_low is not None and bounds.pitch_high is not None
        return np.append(bounds.pitch_low[1:], 0), np.append(bounds.pitch_high[1:], Q15)

    def integers(self, frames: Frames, _tables: Tables) -> NDArray[np.int64]:
        """Return the voicing, and Q15 where the frame is voiced."""
        assert frames.pitch is not None and frames.voiced is not None
        return np.stack([frames.pitch[1], Q15 * frames.voiced])

    def floats(self, frames: FloatFrames, _analysis: Analysis) -> NDArray[np.float64]:
        """Return the voicing, and 1 where the frame is voiced."""
        assert frames.pitch is not None and frames.voiced is not None
        return np.stack([frames.pitch[1], frames.voiced])

    def steps(self, _analysis: Analysis) -> NDArray[np.float64]:
        """Return a step of Q15."""
        return np.array(1 / Q15)

    def code(self, _analysis: Analysis, _tables: Tables) -> CPart:
        """Copy the voicing and scale the decision."""
        return CPart(
            steps=(
                Declare("int32_t *", "voicing", VALUES),
                Call("serq_voicing", ("pitch", "voiced", "voicing")),
                Trace("voicing", "voicing", self.size, "int32_t"),
            )
        )

    def costs(self, _analysis: Analysis, _tables: Tables) -> tuple[Cost, ...]:
        """Count as a whole."""
        return (Cost("voicing", "voicing", (1,)),)
