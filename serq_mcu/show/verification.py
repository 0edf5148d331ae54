"""A verification and its comparison with a baseline as text, JUnit XML and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from serq_mcu.base.metrics import wilson_interval
from serq_mcu.base.text import markdown_text, shown, shown_lines
from serq_mcu.show.table import Column, Table, columns
from serq_mcu.verification.baseline import BaselineComparison, Change
from serq_mcu.verification.report import Difference, Outcome, VerifyReport

_SHOWN = 5  # differing or failed clips; the JSON has all


def report_text(report: VerifyReport) -> str:
    """Return the report as one text, such as for the message of an assertion."""
    return shown_lines("\n".join(report_lines(report)))


def comparison_text(comparison: BaselineComparison) -> str:
    """Return the comparison as one text, such as for the message of an assertion."""
    return shown_lines("\n".join(comparison_lines(comparison)))


def report_lines(report: VerifyReport) -> list[str]:
    """Return the report as lines of text."""
    what = "every stage" if report.mode == "pcm" else "the network's stages"
    return [
        f"{report.target}: firmware for {report.board}, model {report.identity}",
        f"{report.clips} clips in {report.seconds:.1f} s; {report.compared_integers} integers of {what}"
        " compared by their digests",
        f"differing_clips: {report.differing_clips}",
        f"differing_integers: {report.differing_integers}",
        *([f"failed_clips: {len(report.failures)}"] if report.failures else []),
        *_accuracy_lines(report),
        *_cost_lines(report),
        *_problem_lines(report),
    ]


def comparison_lines(comparison: BaselineComparison) -> list[str]:
    """Return as lines of text what is worse, what else moved, the notes, and a summary."""
    moved = [
        change
        for change in comparison.changes
        if not change.worse and change.verdict not in ("same", "not compared")
    ]
    count, worse = len(comparison.changes), len(comparison.worse)
    return [
        *(f"REGRESSION {change_text(change)}" for change in comparison.worse),
        *map(change_text, moved),
        *comparison.notes,
        f"{worse} of {count} figures are worse than the baseline"
        if worse
        else f"no figure of {count} is worse than the baseline",
    ]


def difference_text(difference: Difference) -> str:
    """Return a sentence on the first integer of a clip that differs."""
    if difference.index is None:
        return (
            f"{difference.clip}: {difference.stage} differs, but not when the clip is repeated: suspect the"
            " power supply or the memory of the device"
        )
    found = "nothing" if difference.actual is None else difference.actual
    return (
        f"{difference.clip}: first difference in stage {difference.stage}, event {difference.event}, index"
        f" {difference.index}: expected {difference.expected}, found {found}; {difference.count} integers of"
        " that event differ"
    )


def change_text(change: Change) -> str:
    """Return a figure before and now."""
    return f"{change.name}: {_figure(change.before)} before, {_figure(change.now)} now, {change.verdict}"


def junit(report: VerifyReport, comparison: BaselineComparison | None = None) -> str:
    """Return JUnit XML: a test case for each clip, and one for each figure of the baseline."""
    from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

    board = shown(report.board)
    suite = TestSuite(shown(f"serq-mcu verify on {report.target}"))
    for outcome in report.outcomes:
        case = TestCase(shown(outcome.clip), f"serq.{board}.clips", round(outcome.seconds, 3))
        if outcome.difference:
            case.result = [Failure(shown(difference_text(outcome.difference)), "difference")]
        elif outcome.failure:
            case.result = [Error(shown(outcome.failure), "no result")]
        suite.add_testcase(case)
    for change in comparison.changes if comparison else ():
        case = TestCase(shown(change.name), f"serq.{board}.baseline", 0.0)
        if change.worse:
            case.result = [Failure(shown(change_text(change)), "regression")]
        suite.add_testcase(case)
    document = JUnitXml("serq-mcu")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return '<?xml version="1.0" encoding="utf-8"?>\n' + text.decode() + "\n"


def markdown(report: VerifyReport, comparison: BaselineComparison | None = None) -> str:
    """Return a summary in Markdown, as continuous integration shows it."""
    good = report.ok and not (comparison and comparison.worse)
    parts = [
        f"### serq-mcu verify: {'passed' if good else 'FAILED'} on {markdown_text(report.target)}",
        Table(columns(("figure", "value")), list(_figures(report))).markdown(),
    ]
    if comparison:
        parts += [_changes_table(comparison).markdown(), _bullets(comparison.notes)]
    parts.append(_bullets(_problem_lines(report)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _changes_table(comparison: BaselineComparison) -> Table:
    head = (Column("against the baseline"), *columns(("before", "now"), "right"), Column("verdict"))
    rows = [
        (markdown_text(change.name), _figure(change.before), _figure(change.now), change.verdict)
        for change in comparison.changes
    ]
    return Table(head, rows)


def _figures(report: VerifyReport) -> Iterator[tuple[str, str]]:
    yield "firmware", markdown_text(f"{report.board}, model {report.identity}, {report.mode}")
    clips = f"{report.clips} / {report.differing_clips} / {len(report.failures)}"
    yield "clips compared / differing / failed", clips
    yield "integers compared / differing", f"{report.compared_integers} / {report.differing_integers}"
    if report.correct is not None:
        low, high = wilson_interval(report.correct, report.clips)
        accuracy = f"{report.correct / report.clips:.1%}"
        yield (
            "accuracy on these clips",
            f"{accuracy} (n = {report.clips}, 95 % interval {low:.1%} to {high:.1%})",
        )
    for label, (right, count) in report.recall.items():
        yield f"recall {markdown_text(label)}", f"{right} of {count}"
    for name, value in (
        (f"{_counted(report)} per frame", report.frontend_cycles_per_frame),
        (f"{_counted(report)} per decision", report.network_cycles),
        ("flash, bytes", report.flash_bytes),
        ("RAM, bytes", report.ram_bytes),
    ):
        if value is not None:
            yield name, f"{value:.0f}"


def _accuracy_lines(report: VerifyReport) -> list[str]:
    if report.correct is None:
        return []
    low, high = wilson_interval(report.correct, report.clips)
    accuracy = f"{report.correct / report.clips:.3f}"
    return [
        f"accuracy on these clips: {accuracy} (n = {report.clips}, 95 % interval {low:.3f} to {high:.3f})"
    ]


def _counted(report: VerifyReport) -> str:
    """Name what a report's cycles are: an emulator counts instructions."""
    return "instructions" if report.on == "emulator" else "cycles"


def _cost_lines(report: VerifyReport) -> list[str]:
    lines, frame = [], report.frontend_cycles_per_frame
    if report.network_cycles is not None:
        frontend = "" if frame is None else f"{frame:.0f} a frame, "
        lines.append(f"{_counted(report)}: {frontend}{report.network_cycles:.0f} a decision of the network")
    if report.flash_bytes is not None:
        lines.append(f"flash {report.flash_bytes} bytes, RAM {report.ram_bytes} bytes with the stack")
    return lines


def _problem_lines(report: VerifyReport) -> list[str]:
    """Return the first differing and the first failed clips."""
    differences = [difference_text(difference) for difference in report.differences]
    return _shown(differences) + _shown([_failed(outcome) for outcome in report.failures])


def _failed(outcome: Outcome) -> str:
    return f"{outcome.clip}: no result: {outcome.failure}"


def _shown(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"and {more} more {'clip' if more == 1 else 'clips'}"] if more > 0 else [])


def _bullets(sentences: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
