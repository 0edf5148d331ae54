"""What a feature block is: everything that is known of one kind of per-frame feature, in one class.

A block's C runs inside `serq_model_frame()` of the generated serq_model.c, where these names stand:

    bins    serq_bin [bins], the power spectrum; serq_plus_power() reads a bin, as some cores store no powers
    log     int32_t [mel bands], the logs of mel energies, if a block reads "log"
    pitch   int32_t [2], pitch and voicing, if a block reads "pitch"; voiced uint8_t, whether the frame is
    power   uint64_t, the sum of all bins' powers, if a block needs the total
    level   int32_t, the frame's level in Q8 log2 of full scale
    shift   uint8_t, the doublings of the frame's samples
    state->scratch.frame.values    int32_t, room for the block's integers until they are pooled

Its integers are in a variable that has the name of its stage; pooling follows. A block that is `selective`
also leaves uint8_t `<stage>_counts`, 1 if the frame counts for it, else 0.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import CPart
from serq_mcu.base.validation import check_types
from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import Analysis, require
from serq_mcu.frontend.analysis import Tables as Tables
from serq_mcu.frontend.analysis import TableType as TableType
from serq_mcu.frontend.statistics import PERCENTILES, STATISTICS

Buffer = Literal["log", "power", "level", "pitch"]

VALUES = "state->scratch.frame.values"
MAX_SIZE = 128


@dataclass(frozen=True)
class Bounds:
    """What is proved of a frame before any block.

    The sum of all bins' powers does not exceed `power`, and logs are within log_low and log_high, int64
    [bands]; pitch and voicing within pitch_low and pitch_high, int64 [2], or None if no block reads them.
    """

    power: float
    log_low: NDArray[np.int64]
    log_high: NDArray[np.int64]
    pitch_low: NDArray[np.int64] | None = None
    pitch_high: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Frames:
    """The integers of a clip's frames that blocks read.

    power uint64 [bins, frames]; log int64 [bands, frames], or None if no block reads it; shift int64
    [frames]; level int64 [frames], Q8 log2 of full scale; pitch int64 [2, frames], pitch and voicing, and
    voiced bool [frames], or None if no block reads them.
    """

    power: NDArray[np.uint64]
    log: NDArray[np.int64] | None
    shift: NDArray[np.int64]
    level: NDArray[np.int64]
    pitch: NDArray[np.int64] | None = None
    voiced: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class FloatFrames:
    """The same by librosa in float64.

    power [bins, frames] relative to full scale; log and level in dB, log None if no block reads it; pitch
    [2, frames]: octaves above the lowest pitch, and voicing from 0 to 1; voiced bool [frames]; or None.
    """

    power: NDArray[np.float64]
    log: NDArray[np.float64] | None
    level: NDArray[np.float64]
    pitch: NDArray[np.float64] | None = None
    voiced: NDArray[np.bool_] | None = None


class Cost(NamedTuple):
    """A stage's row in `check` and `bench`: the name of its counted cost, and the terms of that.

    Names are those of kernel_costs.toml; a cost is a linear function of its terms.
    """

    name: str
    cost: str
    terms: tuple[int, ...]


@dataclass(frozen=True)
class FeatureBlock(ABC):
    """One kind of per-frame feature of `size` coefficients and the statistics that pool it over a clip.

    In a sequence of frames it has no statistics.

    kind: its name in JSON; reads: the buffer that it is made from; destroys: whether it overwrites it;
    needs_total: whether its C reads the sum of all bins' powers; selective: whether it counts in some of the
    frames alone; unit: of its float reference; loud: leading coefficients that are the loudness. Raises
    SerqError when a value is out of range.
    """

    kind: ClassVar[str]
    reads: ClassVar[Buffer]
    destroys: ClassVar[bool] = False
    needs_total: ClassVar[bool] = False
    selective: ClassVar[bool] = False
    unit: ClassVar[str]
    loud: ClassVar[int] = 0

    size: int
    statistics: tuple[str, ...] = ("mean", "sd", "delta_sd")

    def __post_init__(self) -> None:
        check_types(self, f"{self.kind}: ")
        require(1 <= self.size <= MAX_SIZE, f"{self.kind}: size {self.size!r} must be 1 to {MAX_SIZE}")
        offered = self.offered()
        require(
            all(name in offered for name in self.statistics),
            f"{self.kind}: statistics {self.statistics!r} must be some of {', '.join(offered)}",
        )
        require(len(set(self.statistics)) == len(self.statistics), f"{self.kind}: a statistic is named twice")

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        """List the statistics that may pool this kind of block: percentiles where it has a spread."""
        return tuple(
            name for name in STATISTICS if name not in PERCENTILES or cls.spread != FeatureBlock.spread
        )

    def spread(self, _analysis: Analysis) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return between which values a histogram for percentiles spreads, [size] each, in `unit`.

        Values beyond count as those at the ends. A kind that does not define it has no percentiles.
        """
        raise SerqError(f"{self.kind}: has no percentiles")

    @property
    def percentiles(self) -> tuple[str, ...]:
        """The statistics that are percentiles."""
        return tuple(name for name in self.statistics if name in PERCENTILES)

    @property
    def histograms(self) -> range:
        """The coefficients that need a histogram."""
        names = self.percentiles
        return range(self.first(names[0]), self.end(names[0])) if names else range(0)

    @property
    def stage(self) -> str:
        """The stage whose integers are pooled: the block's own, named as its kind."""
        return self.kind

    @property
    def own_stages(self) -> tuple[str, ...]:
        """The stages that the block adds to a frame."""
        return (self.stage,)

    def first(self, _statistic: str) -> int:
        """Return the first coefficient that a statistic is taken of."""
        return 0

    def end(self, _statistic: str) -> int:
        """Return the coefficient before which a statistic ends."""
        return self.size

    @property
    def sequence_range(self) -> range:
        """The coefficients that a sequence of frames has: those that the mean is taken of."""
        return range(self.first("mean"), self.end("mean"))

    @property
    def moved_by_gain(self) -> range:
        """Those of `sequence_range` that a gain changes: a sequence has them relative to their mean."""
        first = self.sequence_range.start
        return range(first, max(first, self.loud))

    @property
    def feature_count(self) -> int:
        """Pooled features of the block."""
        return sum(self.end(statistic) - self.first(statistic) for statistic in self.statistics)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name per pooled feature, such as `mfcc3 sd`, in vector order."""
        return tuple(
            f"{self.kind}{index} {statistic}"
            for statistic in self.statistics
            for index in range(self.first(statistic), self.end(statistic))
        )

    def misfit(self, _analysis: Analysis) -> str | None:
        """Return a sentence if the block does not go with the analysis, or None."""
        return None

    def table_types(self, _analysis: Analysis) -> dict[str, TableType]:
        """Return the type and shape of each table that the block keeps in the model file."""
        return {}

    def build_tables(self, _analysis: Analysis) -> dict[str, NDArray[Any]]:
        """Make the block's tables."""
        return {}

    @abstractmethod
    def value_range(self, tables: Tables, bounds: Bounds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Prove that no samples make the block's arithmetic overflow, and return the bounds of its values.

        Returns the lowest and the highest value of each coefficient, int64 [size] each, within int32. Look at
        the tables themselves, never at how they were made: they may come from a hostile file. Raises
        SerqError if the proof fails.
        """

    @abstractmethod
    def integers(self, frames: Frames, tables: Tables) -> NDArray[np.int64]:
        """Compute the block's stage, int64 [size, frames]: the reference that its C equals bit for bit."""

    def counts(self, frames: Frames, _tables: Tables) -> NDArray[np.bool_]:
        """Tell in which frames a selective block counts, bool [frames]: of those that count at all."""
        return np.ones(frames.shift.shape, np.bool_)

    @abstractmethod
    def floats(self, frames: FloatFrames, analysis: Analysis) -> NDArray[np.float64]:
        """Compute the same in float64, [size, frames] in `unit`: what the integers are held to."""

    @abstractmethod
    def steps(self, analysis: Analysis) -> NDArray[np.float64]:
        """Return the value of one step of the stage's integers in `unit`, one or [size]."""

    @abstractmethod
    def code(self, analysis: Analysis, tables: Tables) -> CPart:
        """Return the block's C: statements that leave its integers in a variable named as its stage."""

    def costs(self, analysis: Analysis, tables: Tables) -> tuple[Cost, ...]:
        """Return the rows that a frame's costs have for the block.

        A cost that nobody counted is shown as unknown.
        """
        return tuple(
            Cost(name.removeprefix("serq_").replace("_", " "), name.removeprefix("serq_"), ())
            for name in self.code(analysis, tables).functions
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the model file and configuration."""
        return {"kind": self.kind} | asdict(self)


def check_kind(cls: type[FeatureBlock]) -> None:
    """Raise SerqError, naming the class, if it lacks a part of a feature block."""
    name = getattr(cls, "kind", None) or getattr(cls, "__name__", repr(cls))
    require(
        inspect.isclass(cls) and issubclass(cls, FeatureBlock),
        f"feature block {name!r} is not a subclass of FeatureBlock",
    )
    missing = sorted(cls.__abstractmethods__) + [
        part for part in ("kind", "reads", "unit") if not hasattr(cls, part)
    ]
    if missing:
        raise SerqError(f"feature block {name!r} lacks {', '.join(missing)}; define it in {cls.__name__}")
    require(
        cls.reads in get_args(Buffer),
        f"feature block {name!r} reads {cls.reads!r}; it may read {', '.join(get_args(Buffer))}",
    )
