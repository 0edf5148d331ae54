"""The outcome of a verification (SPEC.md section 10)."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serq_mcu.base.metrics import wilson_interval

Mode = Literal["pcm", "features"]


@dataclass(frozen=True)
class Difference:
    """The first integer of a clip that differs, and how many of its event do (`count`).

    Event, index and values are None if the clip, repeated, showed no difference any more.
    """

    clip: str
    stage: str
    count: int
    event: int | None = None
    index: int | None = None
    expected: int | None = None
    actual: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one clip: compared, with or without a difference, or not (`failure`: why)."""

    clip: str
    label: str  # the true one
    answer: str = ""  # the device's
    integers: int = 0  # compared
    frames: int = 0
    frontend_cycles: int = 0
    network_cycles: int = 0
    difference: Difference | None = None
    failure: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of a verification."""

    target: str
    on: str  # host, emulator or port
    board: str
    identity: str
    mode: Mode
    labels: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    requests_repeated: int
    flash_bytes: int | None  # of the build that was verified; None where there is none
    ram_bytes: int | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Every clip was compared and computed bit for bit as the reference does."""
        return bool(self.outcomes) and not self.differences and not self.failures

    @property
    def compared(self) -> list[Outcome]:
        """The clips that were compared."""
        return [outcome for outcome in self.outcomes if not outcome.failure]

    @property
    def clips(self) -> int:
        """How many clips were compared."""
        return len(self.compared)

    @property
    def failures(self) -> list[Outcome]:
        """The clips of which the device gave no result."""
        return [outcome for outcome in self.outcomes if outcome.failure]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """One for each differing clip."""
        return tuple(outcome.difference for outcome in self.outcomes if outcome.difference)

    @property
    def compared_integers(self) -> int:
        """Integers that the digests and answers stand for."""
        return sum(outcome.integers for outcome in self.outcomes)

    @property
    def differing_clips(self) -> int:
        """Clips with a digest, score, label or frame count other than the reference's."""
        return len(self.differences)

    @property
    def differing_integers(self) -> int:
        """Integers that differ in the first differing event of each differing clip, summed."""
        return sum(self.differing_by_stage.values())

    @property
    def differing_by_stage(self) -> dict[str, int]:
        """The same by the stage in which each clip first differs."""
        counts: Counter[str] = Counter()
        for difference in self.differences:
            counts[difference.stage] += difference.count
        return dict(sorted(counts.items()))

    @property
    def correct(self) -> int | None:
        """Labels of the device that are right; None where the clips have other classes than the model."""
        if not self.compared or not {outcome.label for outcome in self.outcomes} <= set(self.labels):
            return None
        return sum(outcome.answer == outcome.label for outcome in self.compared)

    @property
    def recall(self) -> dict[str, tuple[int, int]]:
        """Of each class that the clips have: how many were answered rightly, and how many there are.

        Empty where `correct` is None.
        """
        if self.correct is None:
            return {}
        of_class = {
            label: [outcome.answer == label for outcome in self.compared if outcome.label == label]
            for label in self.labels
        }
        return {label: (sum(right), len(right)) for label, right in of_class.items() if right}

    @property
    def frontend_cycles_per_frame(self) -> float | None:
        """Mean over all frames; None where nothing counts cycles."""
        frames, cycles = (
            sum(getattr(outcome, name) for outcome in self.compared) for name in ("frames", "frontend_cycles")
        )
        return cycles / frames if frames and cycles else None

    @property
    def network_cycles(self) -> float | None:
        """Mean over all clips; None where nothing counts cycles."""
        return (
            sum(outcome.network_cycles for outcome in self.compared) / self.clips or None
            if self.clips
            else None
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values under the names of SPEC.md section 10."""
        return {
            "ok": self.ok,
            "target": self.target,
            "on": self.on,
            "board": self.board,
            "identity": self.identity,
            "mode": self.mode,
            "clips": self.clips,
            "compared_integers": self.compared_integers,
            "differing_clips": self.differing_clips,
            "differing_integers": self.differing_integers,
            "differing_by_stage": self.differing_by_stage,
            "differences": [asdict(difference) for difference in self.differences],
            "failures": [{"clip": outcome.clip, "cause": outcome.failure} for outcome in self.failures],
            "accuracy": None if self.correct is None else _proportion(self.correct, self.clips),
            "recall": {label: _proportion(*counts) for label, counts in self.recall.items()},
            "answers": {outcome.clip: outcome.answer for outcome in self.compared},
            "frontend_cycles_per_frame": self.frontend_cycles_per_frame,
            "network_cycles": self.network_cycles,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "requests_repeated": self.requests_repeated,
            "seconds": round(self.seconds, 2),
        }


def _proportion(right: int, count: int) -> dict[str, Any]:
    return {
        "value": right / count,
        "n": count,
        "correct": right,
        "interval95": list(wilson_interval(right, count)),
    }
