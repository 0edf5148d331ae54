"""A file that remembers what firmware did, and what has become worse since.

Accuracy, classes, differing integers, flash and RAM are deterministic for the same clips: any step back is a
regression. Cycles are counted on a board with its interrupts and caches at work, so that a run differs from
the next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serq_mcu.base.files import read_regular, write_file
from serq_mcu.base.validation import parse_json
from serq_mcu.errors import SerqError
from serq_mcu.verification.report import VerifyReport

FORMAT = 1
# share by which cycles may grow: the system's tick and the caches' content fall into them (chosen, not
# measured on a chip)
CYCLES = 0.02
_SHOWN = 5  # clips that are named


@dataclass(frozen=True)
class Change:
    """One figure before and now.

    None: unknown, and never worse.
    """

    name: str
    before: float | None
    now: float | None
    better_is: int  # +1: more, -1: less
    tolerance: float = 0.0  # share of `before`

    @property
    def worse(self) -> bool:
        """Whether the figure has regressed."""
        if self.before is None or self.now is None:
            return False
        return (self.now - self.before) * self.better_is < -self.tolerance * self.before

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        if self.before is None or self.now is None:
            return "not compared"
        if self.worse or self.now == self.before:
            return "worse" if self.worse else "same"
        return "better" if (self.now > self.before) == (self.better_is > 0) else "within tolerance"


@dataclass(frozen=True)
class BaselineComparison:
    """A report against its baseline: every figure, and notes on what changed without being a figure."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """What has regressed."""
        return tuple(change for change in self.changes if change.worse)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        changes = [
            {"name": c.name, "before": c.before, "now": c.now, "verdict": c.verdict} for c in self.changes
        ]
        return {"worse": len(self.worse), "changes": changes, "notes": list(self.notes)}


@dataclass(frozen=True)
class Baseline:
    """What is remembered of a verification.

    `answers`: for each clip its true label and the device's answer.
    """

    on: str
    board: str
    mode: str
    identity: str
    answers: dict[str, list[str]]
    differing_by_stage: dict[str, int]
    frontend_cycles_per_frame: float | None
    network_cycles: float | None
    flash_bytes: int | None
    ram_bytes: int | None

    @staticmethod
    def of(report: VerifyReport) -> Baseline:
        """Make the baseline that remembers `report`.

        Raises SerqError if a clip has no result.
        """
        if report.failures:
            raise SerqError(
                f"{len(report.failures)} clips have no result, so that the run is no baseline; see to the"
                " line and run it again"
            )
        return Baseline(
            report.on,
            report.board,
            report.mode,
            report.identity,
            {outcome.clip: [outcome.label, outcome.answer] for outcome in report.outcomes},
            report.differing_by_stage,
            report.frontend_cycles_per_frame,
            report.network_cycles,
            report.flash_bytes,
            report.ram_bytes,
        )

    def compare(self, report: VerifyReport) -> BaselineComparison:
        """Compare a report: what is worse, better and the same.

        Raises SerqError if the report is of other clips or another board.
        """
        self.require_same(
            report.on, report.board, report.mode, {outcome.clip: outcome.label for outcome in report.outcomes}
        )
        now = {outcome.clip: [outcome.label, outcome.answer] for outcome in report.compared}
        before = {clip: answer for clip, answer in self.answers.items() if clip in now}
        changes = [Change("clips without a result", 0, len(report.failures), -1)]
        if report.correct is not None:
            changes.append(Change("correct labels", _right(before), _right(now), +1))
            for label in report.recall:
                changes.append(
                    Change(f"correct labels of {label}", _right(before, label), _right(now, label), +1)
                )
        for stage in sorted(self.differing_by_stage.keys() | report.differing_by_stage):
            changes.append(
                Change(
                    f"differing integers in {stage}",
                    self.differing_by_stage.get(stage, 0),
                    report.differing_by_stage.get(stage, 0),
                    -1,
                )
            )
        changes += [
            Change(
                "cycles per frame",
                self.frontend_cycles_per_frame,
                report.frontend_cycles_per_frame,
                -1,
                CYCLES,
            ),
            Change("cycles per decision", self.network_cycles, report.network_cycles, -1, CYCLES),
            Change("flash, bytes", self.flash_bytes, report.flash_bytes, -1),
            Change("RAM, bytes", self.ram_bytes, report.ram_bytes, -1),
        ]
        return BaselineComparison(tuple(changes), tuple(self._notes(report, before, now)))

    def require_same(self, on: str, board: str, mode: str, clips: Mapping[str, str]) -> None:
        """Raise SerqError if a run on `on`, of `clips` (name to label), cannot be compared with this one."""
        again = "make another with --update-baseline"
        for what, before, now in (
            ("board", self.board, board),
            ("place", self.on, on),
            ("mode", self.mode, mode),
        ):
            if before != now:
                raise SerqError(
                    f"the baseline is of {what} {before}, this run of {now}; name the baseline that belongs"
                    f" to it, or {again}"
                )
        known = {clip: label for clip, (label, _) in self.answers.items()}
        if clips != known:
            other = sorted(clip for clip in clips.keys() | known if clips.get(clip) != known.get(clip))
            raise SerqError(
                f"the baseline is of other clips ({len(other)} differ, such as {other[0]}); take the same, or"
                f" {again}"
            )

    def _notes(
        self, report: VerifyReport, before: dict[str, list[str]], now: dict[str, list[str]]
    ) -> list[str]:
        notes = (
            [f"the model changed from {self.identity} to {report.identity}"]
            if self.identity != report.identity
            else []
        )
        other = [clip for clip in now if before[clip] != now[clip]]
        notes += [
            f"{clip} ({now[clip][0]}): answered {before[clip][1]} before, {now[clip][1]} now"
            for clip in other[:_SHOWN]
        ]
        return notes + [f"and {len(other) - _SHOWN} more clips are answered otherwise"] * (
            len(other) > _SHOWN
        )


def save_baseline(path: Path, report: VerifyReport) -> Baseline:
    """Remember `report` in the file `path`, atomically.

    Raises SerqError if it cannot be written or is no baseline.
    """
    baseline = Baseline.of(report)
    write_file(path, json.dumps({"format": FORMAT} | asdict(baseline), indent=1, ensure_ascii=False) + "\n")
    return baseline


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises SerqError if there is none or it is damaged.
    """
    try:
        value = parse_json(read_regular(path))
        if value.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        baseline = Baseline(**value)
        _check(baseline)
    except FileNotFoundError as error:
        raise SerqError(
            f"there is no baseline {path}; make it with --baseline {path} --update-baseline"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SerqError(
            f"the baseline {path} is damaged ({error}); make it again with --update-baseline"
        ) from error
    return baseline


def _check(baseline: Baseline) -> None:
    texts = [baseline.on, baseline.board, baseline.mode, baseline.identity]
    figures = [
        baseline.frontend_cycles_per_frame,
        baseline.network_cycles,
        baseline.flash_bytes,
        baseline.ram_bytes,
    ]
    answers = all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in baseline.answers.values()
    )
    counts = all(type(count) is int for count in baseline.differing_by_stage.values())
    if not (
        answers
        and counts
        and all(isinstance(text, str) for text in texts)
        and all(_isfigure(figure) for figure in figures)
    ):
        raise ValueError("a value is not of its kind")


def _isfigure(value: object) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < 2**53)  # type: ignore[operator]


def _right(answers: dict[str, list[str]], of: str | None = None) -> int:
    return sum(label == answer for label, answer in answers.values() if of in (None, label))
