"""Feature blocks outside the package, with table and C: the spectral centroid, and that of bright frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CArray, CPart, Declare, Trace
from serq_mcu.extension import FeatureBlock
from serq_mcu.frontend.analysis import Analysis, require
from serq_mcu.frontend.arithmetic import top_bit
from serq_mcu.frontend.blocks.base import VALUES, Bounds, Buffer, FloatFrames, Frames, Tables, TableType

HERE = Path(__file__).parent
MAX_POSITION = 1024


@dataclass(frozen=True)
class Centroid(FeatureBlock):
    """The mean position of a frame's power, in bins."""

    kind: ClassVar[str] = "centroid"
    reads: ClassVar[Buffer] = "power"
    needs_total: ClassVar[bool] = True
    unit: ClassVar[str] = "bins"
    sources: ClassVar[tuple[Path, ...]] = (HERE / "centroid.c", HERE / "centroid.h")

    size: int = 1

    def misfit(self, analysis: Analysis) -> str | None:
        return None if self.size == 1 else "a spectrum has one centroid"

    def table_types(self, analysis: Analysis) -> dict[str, TableType]:
        return {"position": TableType(np.uint16, (analysis.bins,))}

    def build_tables(self, analysis: Analysis) -> dict[str, NDArray[Any]]:
        return {"position": np.arange(analysis.bins, dtype=np.uint16)}

    def value_range(self, tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        highest = int(tables["position"].max())
        require(highest <= MAX_POSITION, f"front-end tables: a centroid position is {highest}")
        return np.zeros(1, np.int64), np.array([highest << 10])

    def integers(self, frames: Frames, tables: Tables) -> NDArray[np.int64]:
        total = frames.power.sum(axis=0, dtype=np.uint64)
        right = np.maximum(top_bit(total) - 19, 0).astype(np.uint64)
        power = (frames.power >> right).astype(np.int64)
        weighted = (power * tables["position"].astype(np.int64)[:, None]).sum(axis=0)
        divisor = np.maximum(power.sum(axis=0), 1)
        centroid: NDArray[np.int64] = (weighted // divisor << 10) + (weighted % divisor << 10) // divisor
        return centroid[None]

    def floats(self, frames: FloatFrames, analysis: Analysis) -> NDArray[np.float64]:
        total = np.maximum(frames.power.sum(axis=0), np.finfo(float).tiny)
        centroid: NDArray[np.float64] = (frames.power * np.arange(analysis.bins)[:, None]).sum(axis=0) / total
        return centroid[None]

    def steps(self, analysis: Analysis) -> NDArray[np.float64]:
        return np.array(1 / 1024)

    def code(self, analysis: Analysis, tables: Tables) -> CPart:
        table = CArray(f"toy_{self.kind}_position_table", tables["position"])
        return CPart(
            steps=(
                Declare("int32_t *", self.stage, VALUES),
                Call("toy_centroid", ("bins", analysis.bins, "power", table.name, self.stage)),
                Trace(self.stage, self.stage, self.size, "int32_t"),
            ),
            arrays=(table,),
            headers=("centroid.h",),
            sources=self.sources,
        )


@dataclass(frozen=True)
class Bright(Centroid):
    """The centroid of the frames where it lies high: a selective block, which percentiles may pool."""

    kind: ClassVar[str] = "bright"
    selective: ClassVar[bool] = True

    above: int = 100  # bins

    def counts(self, frames: Frames, tables: Tables) -> NDArray[np.bool_]:
        return np.asarray(self.integers(frames, tables)[0] >= self.above << 10)

    def spread(self, analysis: Analysis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array([float(self.above)]), np.array([float(analysis.bins)])

    def code(self, analysis: Analysis, tables: Tables) -> CPart:
        part = super().code(analysis, tables)
        counts = Call("toy_is_bright", (self.stage, self.above), result=f"uint8_t {self.stage}_counts")
        return replace(part, steps=(*part.steps, counts))
