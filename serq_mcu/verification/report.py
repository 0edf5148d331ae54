"""The outcome of a verification (SPEC.md section 10), as plain values, text, JUnit XML and Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from serq_mcu.base.metrics import wilson_interval

if TYPE_CHECKING:
    from serq_mcu.verification.baseline import Comparison

Mode = Literal["pcm", "features"]
_SHOWN = 5  # differing or failed clips in the text; the JSON has all


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

    def __str__(self) -> str:
        if self.index is None:
            return (
                f"{self.clip}: {self.stage} differs, but not when the clip is repeated: suspect the power"
                " supply or the memory of the device"
            )
        found = "nothing" if self.actual is None else self.actual
        where = f"{self.clip}: first difference in stage {self.stage}, event {self.event}, index {self.index}"
        return f"{where}: expected {self.expected}, found {found}; {self.count} integers of that event differ"


@dataclass(frozen=True)
class Outcome:
    """What became of one clip: compared, with or without a difference, or not (`failure` says why)."""

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
        """Plain values under the names of SPEC.md section 10."""
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

    def lines(self) -> list[str]:
        """The report as text."""
        what = "every stage" if self.mode == "pcm" else "the network's stages"
        lines = [
            f"{self.target}: firmware for {self.board}, model {self.identity}",
            (
                f"{self.clips} clips in {self.seconds:.1f} s; {self.compared_integers} integers of {what}"
                " compared by their digests"
            ),
            f"differing_clips: {self.differing_clips}",
            f"differing_integers: {self.differing_integers}",
            *([f"failed_clips: {len(self.failures)}"] if self.failures else []),
        ]
        if self.correct is not None:
            low, high = wilson_interval(self.correct, self.clips)
            lines.append(
                f"accuracy on these clips: {self.correct / self.clips:.3f} (n = {self.clips}, 95 % interval"
                f" {low:.3f} to {high:.3f})"
            )
        lines += self._cost_lines()
        return (
            lines
            + _shown([str(difference) for difference in self.differences])
            + _shown([_failed(outcome) for outcome in self.failures])
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _cost_lines(self) -> list[str]:
        lines = []
        if self.network_cycles is not None:
            frontend = (
                ""
                if self.frontend_cycles_per_frame is None
                else f"{self.frontend_cycles_per_frame:.0f} a frame, "
            )
            lines.append(f"cycles: {frontend}{self.network_cycles:.0f} a decision of the network")
        if self.flash_bytes is not None:
            lines.append(f"flash {self.flash_bytes} bytes, RAM {self.ram_bytes} bytes with the stack")
        return lines


def junit(report: VerifyReport, comparison: Comparison | None = None) -> str:
    """JUnit XML: a test case for each clip, and one for each figure of the baseline."""
    from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

    suite = TestSuite(f"serq-mcu verify on {report.target}")
    for outcome in report.outcomes:
        case = TestCase(outcome.clip, f"serq.{report.board}.clips", round(outcome.seconds, 3))
        if outcome.difference:
            case.result = [Failure(str(outcome.difference), "difference")]
        elif outcome.failure:
            case.result = [Error(outcome.failure, "no result")]
        suite.add_testcase(case)
    for change in comparison.changes if comparison else ():
        case = TestCase(change.name, f"serq.{report.board}.baseline", 0.0)
        if change.worse:
            case.result = [Failure(str(change), "regression")]
        suite.add_testcase(case)
    document = JUnitXml("serq-mcu")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return '<?xml version="1.0" encoding="utf-8"?>\n' + text.decode() + "\n"


def markdown(report: VerifyReport, comparison: Comparison | None = None) -> str:
    """A job's summary."""
    good = report.ok and not (comparison and comparison.worse)
    lines = [
        f"### serq-mcu verify: {'passed' if good else 'FAILED'} on {report.target}",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in _figures(report).items()]
    if comparison:
        lines += ["", "| against the baseline | before | now | |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(c.name)} | {c.figures[0]} | {c.figures[1]} | {c.verdict} |" for c in comparison.changes
        ]
        lines += ["", *(f"- {_cell(note)}" for note in comparison.notes)]
    problems = [str(difference) for difference in report.differences] + [
        _failed(outcome) for outcome in report.failures
    ]
    return "\n".join([*lines, "", *(f"- {_cell(problem)}" for problem in _shown(problems))]).rstrip() + "\n"


def _figures(report: VerifyReport) -> dict[str, str]:
    found = {
        "firmware": f"{report.board}, model {report.identity}, {report.mode}",
        "clips compared / differing / failed": (
            f"{report.clips} / {report.differing_clips} / {len(report.failures)}"
        ),
        "integers compared / differing": f"{report.compared_integers} / {report.differing_integers}",
    }
    if report.correct is not None:
        low, high = wilson_interval(report.correct, report.clips)
        found["accuracy on these clips"] = (
            f"{report.correct / report.clips:.1%} (n = {report.clips}, 95 % interval {low:.1%} to {high:.1%})"
        )
        found |= {
            f"recall {_cell(label)}": f"{right} of {count}" for label, (right, count) in report.recall.items()
        }
    costs = {"cycles a frame": report.frontend_cycles_per_frame, "cycles a decision": report.network_cycles}
    costs |= {"flash, bytes": report.flash_bytes, "RAM, bytes": report.ram_bytes}
    return found | {name: f"{value:.0f}" for name, value in costs.items() if value is not None}


def _proportion(right: int, count: int) -> dict[str, Any]:
    return {
        "value": right / count,
        "n": count,
        "correct": right,
        "interval95": list(wilson_interval(right, count)),
    }


def _failed(outcome: Outcome) -> str:
    return f"{outcome.clip}: no result: {outcome.failure}"


def _shown(lines: list[str]) -> list[str]:
    return lines[:_SHOWN] + [f"and {len(lines) - _SHOWN} more clips"] * (len(lines) > _SHOWN)


def _cell(text: str) -> str:
    """Text that Markdown does not take for its own signs."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>()#+-!|" else character for character in text)
