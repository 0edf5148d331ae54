"""Tables within one corpus: each method's accuracy and size, methods compared in pairs, and bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serq_mcu.experiments.choice import Bar, bars
from serq_mcu.experiments.plan import FLOAT
from serq_mcu.experiments.results import AS_RECORDED, PTQ, QAT, Group, Row, mcnemar, mean_difference
from serq_mcu.show.experiments.grouped import Key
from serq_mcu.show.experiments.paper import comparable, papers_cells
from serq_mcu.show.experiments.words import (
    PROTOCOL_WORDS,
    cases,
    corpus_title,
    kilobytes,
    method_name,
    percent,
    span,
    test_clips,
    validated_by,
)
from serq_mcu.show.table import Table, columns

_METHODS = ("method", "", "mean", "95 % of the mean")
_OF_EACH = ("UAR", "validation", "bits")
_SIZES = ("weights only", "stored")


def methods_parts(key: Key, found: Sequence[Group]) -> Iterator[str]:
    """Yield the heading, the basis and the table of one study: a row for each method."""
    first = found[0].first
    yield (
        f"## {corpus_title(key.train)}: {key.study}, {key.model}, {key.features} ({first.inputs} inputs,"
        f" {first.parameters} parameters)"
    )
    seeds = sorted({row.seed for group in found for row in group.rows})
    basis = f"seeds {seeds[0]} to {seeds[-1]}" if seeds != [0] else "seed 0"
    condition = "" if key.condition == AS_RECORDED else f"; test clips in noise, {key.condition}"
    n = f"; n = {cases(found[0])}" if found[0].by_speakers else ""
    yield (
        f"{PROTOCOL_WORDS[key.protocol].capitalize()}; {validated_by(found[0].rows)}; {basis}{condition};"
        f" {len(found[0].rows)} splits of {test_clips(found[0])} clips{n}."
    )
    paper = comparable(key)
    one = "speakers, least to most" if found[0].by_speakers else "one split"
    head = (*_METHODS, one, *_OF_EACH, *_SIZES, *(("paper: accuracy", "size") if paper else ()))
    rows = []
    for group in found:
        papers = papers_cells(key.train, group.first.method) if paper else ()
        rows.append((*_method_row(group), *papers))
    yield Table(columns(head), rows).markdown()


def _method_row(group: Group) -> tuple[str, ...]:
    return (
        method_name(group.first.method),
        group.first.tuning,
        percent(group.accuracy),
        span(group.mean_interval),
        span((group.cases.min(), group.cases.max()) if group.by_speakers else group.interval),
        percent(group.uar),
        percent(group.mean("validation_accuracy")),
        f"{group.mean('average_bits'):.2f}",
        f"{group.mean('weights_only_bytes') / 1000:.1f}",
        f"{group.mean('stored_bytes') / 1000:.1f}",
    )


def paired_parts(found: Sequence[Group]) -> Iterator[str]:
    """Yield a table of each fine-tuned method against the same after training, and the float network."""
    by_name = {(group.first.method, group.first.tuning): group for group in found}
    tuned = [method for method, tuning in by_name if tuning == QAT]
    pairs = [((method, QAT), (method, PTQ)) for method in tuned if (method, PTQ) in by_name]
    pairs += [((method, QAT), (FLOAT, "")) for method in tuned if (FLOAT, "") in by_name]
    if pairs:
        head = (
            "compared",
            "difference of means, points",
            "95 %, over speakers" if found[0].by_speakers else "95 %, bootstrap of seeds",
            "only the first correct",
            "only the second",
            "McNemar, first seed: p",
        )
        yield Table(
            columns(head), [_pair_row(by_name[one], by_name[other]) for one, other in pairs]
        ).markdown()


def _pair_row(one: Group, other: Group) -> tuple[str, ...]:
    first, second = one.rows, other.rows
    seeds = {row.seed for row in first}
    test = mcnemar([row for row in first if row.seed == min(seeds)], second)
    change, both = mean_difference(first, second), mcnemar(first, second)
    known = one.by_speakers or len(seeds) > 1
    spread = f"{change.low * 100:+.1f} to {change.high * 100:+.1f}" if known else "one seed"
    against = "float" if other.first.method == FLOAT else other.first.tuning
    return (
        f"{method_name(one.first.method)}, {one.first.tuning}, against {against}",
        f"{change.mean * 100:+.1f}",
        spread,
        str(both.only_first),
        str(both.only_second),
        f"{test.p:.2g}",
    )


def bar_parts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield for each bar what stands for it, and its candidates."""
    found = bars(rows)
    if not found:
        return
    yield "## Bars, and what inner folds chose for them"
    yield (
        "In every split the candidate whose integers have the most correct answers in the split's inner folds"
        " stands for the bar. Inner folds divide the clips that the split leaves in once more; a network that"
        " the other folds train is evaluated once on each. No test clip takes part."
    )
    for bar in found:
        yield f"### {corpus_title(bar.train)}: {bar.name}"
        judged = next(iter(bar.judged.values()))
        n = f"; n = {cases(judged)}" if judged.by_speakers else ""
        yield f"{PROTOCOL_WORDS[bar.protocol].capitalize()}; {validated_by(judged.rows)}{n}."
        yield _standing_table(bar).markdown()
        yield _candidates_table(bar).markdown()


def _standing_table(bar: Bar) -> Table:
    head = (
        "condition",
        "mean",
        "95 % of the mean",
        "each seed",
        "UAR",
        "splits",
        "answers",
        "weights only, KB",
        "stored",
    )
    return Table(columns(head), [_standing_row(condition, group) for condition, group in bar.judged.items()])


def _standing_row(condition: str, group: Group) -> tuple[str, ...]:
    seeds = (
        Group(tuple(row for row in group.rows if row.seed == seed))
        for seed in sorted({row.seed for row in group.rows})
    )
    return (
        condition,
        percent(group.accuracy),
        span(group.mean_interval),
        ", ".join(percent(seed.accuracy) for seed in seeds),
        percent(group.uar),
        str(len(group.rows)),
        str(sum(row.n for row in group.rows)),
        kilobytes(row.weights_only_bytes for row in group.rows),
        kilobytes(row.stored_bytes for row in group.rows),
    )


def _candidates_table(bar: Bar) -> Table:
    head = ("candidate", "features", "bits", "correct in inner folds, %", "chosen in splits")
    rows = []
    for candidate, share in bar.inner.items():
        study, features, method, tuning = candidate
        rows.append(
            (study, features, method_name(method, tuning), percent(share), str(bar.chosen[candidate]))
        )
    return Table(columns(head), rows)
