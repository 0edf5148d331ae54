"""The check of a corpus, and how a corpus is published, as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from serq_mcu.corpus.check import CorpusReport, Problem
from serq_mcu.corpus.fetch import Publication
from serq_mcu.corpus.loaders import RULES
from serq_mcu.show.table import Column, Table, columns

_SHOWN = 10  # problems of one kind; the JSON has all


def corpus_lines(report: CorpusReport) -> list[str]:
    """Return the check as lines of text."""
    titles = [rule.title for rule in RULES if rule.corpus in report.corpus.split("+")]
    title = " and ".join(titles) or "own recordings"
    speakers = len({speaker for row in report.counts.values() for speaker in row} - {""})
    people = _count(speakers, "speaker") if speakers else "speakers unknown"
    classes = _count(len(report.counts), "class", "classes")
    clips = _count(report.clips, "recording")
    head = f"{title}: {clips}, {people}, {classes}, {report.seconds / 60:.1f} minutes"
    table = clips_table(report.counts).text()
    return [head, "", *table, "", *_remarks(report), *_warnings(report), *_problems(report.problems)]


def publication_lines(publication: Publication) -> list[str]:
    """Return where a corpus is published, under which licence, and how to cite it."""
    size = f", about {publication.megabytes} MB" if publication.megabytes else ""
    return [
        publication.title,
        f"  published at   {publication.page}{size}",
        f"  licence        {publication.licence}",
        f"  please cite    {publication.cite}",
        *([f"  to get it      {publication.steps}"] if publication.steps else []),
    ]


def clips_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Return clips per class (rows) and speaker (columns), with totals; counts: by class and speaker."""
    speakers = sorted({speaker for row in counts.values() for speaker in row})
    shown = [] if speakers == [""] else speakers
    totals = {speaker: sum(row.get(speaker, 0) for row in counts.values()) for speaker in speakers}
    rows = [
        (label, *(str(row.get(speaker, 0)) for speaker in shown), str(sum(row.values())))
        for label, row in [*counts.items(), ("total", totals)]
    ]
    return Table((Column("class"), *columns((*shown, "total"), "right")), rows)


def _remarks(report: CorpusReport) -> Iterator[str]:
    yield f"classes      from {report.basis}"
    if report.hint:
        yield f"speakers     unknown; {report.hint}"
    if report.parts:
        yield "parts        " + ", ".join(f"{count} {part}" for part, count in report.parts.items())
    if report.passed_over:
        counts = (f"{count} {kind}" for kind, count in report.passed_over.items())
        yield "skipped      " + ", ".join(counts)
    for sums in report.checksums:
        yield (
            f"checksums    {sums.matching} match {sums.against}, {sums.differing} differ, {sums.unlisted}"
            " are not listed"
        )
    if not report.checksums:
        yield "checksums    none: these are not the published WAV files, and there is no MANIFEST.csv"
    if report.intensities:
        counts = (f"{count} {intensity}" for intensity, count in report.intensities.items())
        yield "intensity    " + ", ".join(counts)
    for note, count in report.conversions.items():
        yield f"converted    {count}: {note}"
    if report.clipped:
        yield f"clipping     {report.clipped} have two or more samples at full scale"
    if report.copies:
        yield f"copies       {report.copies} byte-identical second copies are skipped"


def _warnings(report: CorpusReport) -> Iterator[str]:
    yield f"warnings     {len(report.warnings) or 'none'}"
    for warning in report.warnings:
        yield f"  {warning.kind:<10} {warning.text}"


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    yield f"problems     {len(problems) or 'none'}"
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    for kind, found in kinds.items():
        for problem in found[:_SHOWN]:
            yield f"  {kind:<10} {problem.file}: {problem.text}"
        if len(found) > _SHOWN:
            yield f"  {kind:<10} … and {len(found) - _SHOWN} more"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
