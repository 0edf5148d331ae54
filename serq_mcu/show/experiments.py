"""Tables and plots from a results file, as Markdown and SVG; nothing is trained."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from serq_mcu.base.files import write_file
from serq_mcu.errors import SerqError
from serq_mcu.experiments.choice import Bar, Choice, bars, choices
from serq_mcu.experiments.plan import ACROSS, ADAPTIVE, BUDGET, FLOAT, MLP, PROTOCOLS, SHARED_EMOTIONS
from serq_mcu.experiments.results import (
    AS_RECORDED,
    PTQ,
    QAT,
    WEIGHTS,
    Group,
    Row,
    groups,
    mcnemar,
    paired_bootstrap,
)

TITLES = {"emodb": "EMO-DB", "savee": "SAVEE", "tess": "TESS", "ravdess": "RAVDESS", "crema-d": "CREMA-D"}
WORDS = {
    "holdout": "one stratified part held out a seed",
    "clips": "every stratified fold held out once a seed; speakers are in all parts",
    "speakers": "every speaker held out once a seed",
    "corpus": "trained on one corpus, judged on another",
    "corpora": "trained on all corpora but one, judged on that",
    "corpus_transductive": (
        "trained on one corpus, judged on another, each standardised by all of its own clips (transductive)"
    ),
    "corpora_transductive": (
        "trained on all corpora but one, judged on that, each standardised by all of its own clips"
        " (transductive)"
    ),
    "corpus_transductive_by_speaker": (
        "trained on one corpus, judged on another, each speaker standardised by all own clips (transductive)"
    ),
    "corpora_transductive_by_speaker": (
        "trained on all corpora but one, judged on that, each speaker standardised by all own clips"
        " (transductive)"
    ),
}

# Shinde, Jain and Sharma 2024: accuracy in % and size in KB by method; sizes of fixed widths are the same for
# all corpora
PAPER_ACCURACY = {
    "tess": {**dict.fromkeys("876543", 99.29), "2": 97.86, "1": 96.43, ADAPTIVE: 99.29},
    "emodb": {
        **dict.fromkeys("8764", 74.07),
        "5": 72.22,
        "3": 75.93,
        "2": 75.93,
        "1": 64.81,
        ADAPTIVE: 75.93,
    },
    "savee": {**dict.fromkeys("87654", 81.25), "3": 79.17, "2": 68.75, "1": 70.83, ADAPTIVE: 81.25},
}
PAPER_SIZE = {"32": 676, "8": 169, "7": 147, "6": 126, "5": 105, "4": 84, "3": 63, "2": 42, "1": 21}
PAPER_ADAPTIVE = {"tess": (25, 1.22), "emodb": (43, 2.0), "savee": (56, 2.69)}  # KB, average bits


def write_page(rows: Sequence[Row], results: Path, page: Path, command: str) -> list[Path]:
    """Write the page, and a plot for each corpus whose fixed widths were judged beside it.

    Returns what was written.

    Raises SerqError if there are no rows, or matplotlib or scipy is not installed.
    """
    if not rows:
        raise SerqError(f"{results} holds no results; run the experiment first")
    plots = {}
    for key, found in _tables(rows):
        study, train, _, model, features, protocol, condition = key
        if (
            model == MLP
            and protocol not in ACROSS
            and condition == AS_RECORDED
            and sum(1 for group in found if group.first.method.isdecimal()) > 4
        ):
            name = "_".join([page.stem, *study.split(), train, features, protocol]) + ".svg"
            plots[key] = write_file(page.with_name(name), accuracy_plot(found))
    lines = list(page_lines(rows, results, command, {key: path.name for key, path in plots.items()}))
    return [write_file(page, "\n".join(lines) + "\n"), *plots.values()]


def _tables(rows: Iterable[Row]) -> Iterator[tuple[tuple[str, ...], list[Group]]]:
    """Groups that belong into one table: study, train, test, model, features, protocol, condition."""
    tables: dict[tuple[str, ...], list[Group]] = {}
    for key, group in groups(rows).items():
        tables.setdefault(key[:7], []).append(group)
    for key in sorted(
        tables, key=lambda key: (PROTOCOLS.index(key[5]), key[1:6], key[0], key[6] != AS_RECORDED, key[6])
    ):
        yield key, sorted(tables[key], key=lambda group: _rank(group.first))


def _rank(row: Row) -> tuple[int, float, str]:
    """Floats first, fixed widths from 8 down, then the others; post-training before fine-tuned."""
    name, _, budget = row.method.partition(":")
    order = [FLOAT, *"87654321", "ternary", ADAPTIVE, BUDGET]
    return (
        order.index(name) if name in order else len(order),
        float(budget or 0),
        {"": "0", WEIGHTS: "1", PTQ: "2", QAT: "3"}[row.tuning],
    )


def page_lines(
    rows: Sequence[Row], results: Path, command: str, plots: dict[tuple[str, ...], str]
) -> Iterator[str]:
    """The page in Markdown."""
    yield "# Benchmark tables"
    yield ""
    yield (
        f"Written by `{command}` from [{results.name}]({results.name}); nothing here is typed by hand."
        " Accuracy in % of held-out clips."
    )
    yield (
        "`mean` is over all splits, `95 % of the mean` its interval from the spread between splits (Student's"
        " t), `one split` the interval that"
    )
    yield (
        "a single split of n clips has around it (Wilson). UAR: unweighted average recall. Sizes in KB of"
        " 1000 bytes: weights only is the sum of"
    )
    yield (
        "parameters x bits / 8, stored all bytes that a device keeps for the network. `validation`: accuracy"
        " on the clips that chose bits and"
    )
    yield "epochs, in all versions that training draws; held-out clips chose nothing."
    across = [row for row in rows if row.protocol in ACROSS]
    yield from bar_lines(rows)
    for key, found in _tables(row for row in rows if row.protocol not in ACROSS):
        yield ""
        yield from _table_lines(key, found)
        if key in plots:
            yield ""
            yield f"![accuracy against bits]({plots[key]})"
        yield from _paired_lines(found)
    yield from _nearness_lines(rows)
    if lines := beside_paper_lines(rows):
        yield from ["", "## Beside the paper", "", *lines]
    if across:
        yield ""
        yield from _matrix_lines(across)
        yield from choice_lines(rows)


def bar_lines(rows: Sequence[Row]) -> Iterator[str]:
    """For each bar: what stands for it, and its candidates."""
    for index, bar in enumerate(bars(rows)):
        if not index:
            yield ""
            yield "## Bars, and what inner folds chose for them"
            yield ""
            yield (
                "In every split that candidate stands for the bar whose integers have the most right answers"
                " in the split's inner folds: the"
            )
            yield (
                "clips that it leaves in, parted again, each part judged once by a network that the others"
                " train. No clip that judges takes part."
            )
        yield from [
            "",
            f"### {_title(bar.train)}: {bar.name}",
            "",
            f"{WORDS[bar.protocol].capitalize()}.",
            "",
            *_standing_lines(bar),
            "",
            *_candidate_lines(bar),
        ]


def _standing_lines(bar: Bar) -> Iterator[str]:
    yield (
        "| heard | mean | 95 % of the mean | each seed | UAR | splits | answers | weights only, KB | stored |"
    )
    yield "|---" * 9 + "|"
    for condition, group in bar.judged.items():
        seeds = (
            Group(tuple(row for row in group.rows if row.seed == seed))
            for seed in sorted({row.seed for row in group.rows})
        )
        cells = [
            condition,
            f"{100 * group.accuracy:.1f}",
            _span(group.mean_interval),
            ", ".join(f"{100 * seed.accuracy:.1f}" for seed in seeds),
            f"{100 * group.uar:.1f}",
            len(group.rows),
            sum(row.n for row in group.rows),
            _kilobytes(row.weights_only_bytes for row in group.rows),
            _kilobytes(row.stored_bytes for row in group.rows),
        ]
        yield "| " + " | ".join(map(str, cells)) + " |"


def _candidate_lines(bar: Bar) -> Iterator[str]:
    yield "| candidate | features | bits | right in inner folds, % | chosen in splits |"
    yield "|---" * 5 + "|"
    for (study, features, method, tuning), share in bar.inner.items():
        yield (
            f"| {study} | {features} | {_method(method)} {tuning} | {100 * share:.1f} |"
            f" {bar.chosen[study, features, method, tuning]} |"
        )


def _table_lines(key: tuple[str, ...], found: Sequence[Group]) -> Iterator[str]:
    study, train, _, model, features, protocol, condition = key
    first = found[0].first
    seeds = sorted({row.seed for group in found for row in group.rows})
    yield (
        f"## {_title(train)}: {study}, {model}, {features} ({first.inputs} inputs, {first.parameters}"
        " parameters)"
    )
    yield ""
    span = f"seeds {seeds[0]} to {seeds[-1]}" if seeds != [0] else "seed 0"
    heard = "" if condition == AS_RECORDED else f"; clips heard in noise, {condition}"
    yield (
        f"{WORDS[protocol].capitalize()}; {span}{heard}; {len(found[0].rows)} splits of {_clips(found[0])}"
        " clips."
    )
    yield ""
    paper = PAPER_ACCURACY.get(train, {}) if model == MLP and protocol == "holdout" else {}
    heads = [
        "method",
        "",
        "mean",
        "95 % of the mean",
        "one split",
        "UAR",
        "validation",
        "bits",
        "weights only",
        "stored",
    ]
    heads += ["paper: accuracy", "size"] if paper else []
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for group in found:
        row = group.first
        cells = [
            _method(row.method),
            row.tuning,
            f"{group.accuracy:.1%}"[:-1],
            _span(group.mean_interval),
            _span(group.interval),
            f"{group.uar:.1%}"[:-1],
            f"{group.mean('validation_accuracy'):.1%}"[:-1],
            f"{group.mean('average_bits'):.2f}",
            f"{group.mean('weights_only_bytes') / 1000:.1f}",
            f"{group.mean('stored_bytes') / 1000:.1f}",
        ]
        if paper:
            size = PAPER_ADAPTIVE[train][0] if row.method == ADAPTIVE else PAPER_SIZE.get(row.method)
            cells += [
                f"{paper[row.method]:.2f}" if row.method in paper else "",
                "" if size is None else str(size),
            ]
        yield "| " + " | ".join(cells) + " |"


def _paired_lines(found: Sequence[Group]) -> Iterator[str]:
    """Each fine-tuned method against the same post-training, and the float network."""
    by_name = {(group.first.method, group.first.tuning): group for group in found}
    tests = [
        ((method, QAT), (method, PTQ))
        for method, tuning in by_name
        if tuning == QAT and (method, PTQ) in by_name
    ]
    tests += [
        ((method, QAT), (FLOAT, "")) for method, tuning in by_name if tuning == QAT and (FLOAT, "") in by_name
    ]
    if not tests:
        return
    yield ""
    yield (
        "| compared | difference of means, points | 95 %, bootstrap of seeds | only the first right | only"
        " the second | McNemar, first seed: p |"
    )
    yield "|---|---|---|---|---|---|"
    for one, other in tests:
        first, second = by_name[one].rows, by_name[other].rows
        seed = min(row.seed for row in first)
        test = mcnemar([row for row in first if row.seed == seed], second)
        change, both = paired_bootstrap(first, second), mcnemar(first, second)
        names = f"{_method(one[0])}, {one[1]}, against {'float' if other[0] == FLOAT else other[1]}"
        spread = (
            f"{change.low * 100:+.1f} to {change.high * 100:+.1f}"
            if len({row.seed for row in first}) > 1
            else "one seed"
        )
        yield (
            f"| {names} | {change.mean * 100:+.1f} | {spread} | {both.only_first} | {both.only_second} |"
            f" {test.p:.2g} |"
        )


def _nearness_lines(rows: Sequence[Row]) -> Iterator[str]:
    """How near each reading of the features comes to the paper's figures."""
    tables = [
        (key, found)
        for key, found in _tables(rows)
        if key[5] == "holdout" and key[3] == MLP and key[1] in PAPER_ACCURACY
    ]
    if not tables:
        return
    yield ""
    yield "## How near to the paper"
    yield ""
    yield (
        "Post-training rows for which the paper gives a figure. `inside`: the paper's figure lies within what"
        " one split would show of ours."
    )
    yield ""
    yield (
        "| corpus | features | rows | mean difference, points | mean absolute difference | inside | size of 8"
        " bits, KB (paper 169) |"
    )
    yield "|---|---|---|---|---|---|---|"
    for key, found in tables:
        paper = PAPER_ACCURACY[key[1]]
        judged = [
            (group, paper[group.first.method] / 100)
            for group in found
            if group.first.tuning == PTQ and group.first.method in paper
        ]
        if judged:
            apart = [100 * (group.accuracy - theirs) for group, theirs in judged]
            inside = sum(group.interval[0] <= theirs <= group.interval[1] for group, theirs in judged)
            size = judged[0][0].first.parameters / 1000
            spread = sum(map(abs, apart)) / len(apart)
            cells = [
                _title(key[1]),
                key[4],
                len(apart),
                f"{sum(apart) / len(apart):+.1f}",
                f"{spread:.1f}",
                f"{inside} of {len(apart)}",
                f"{size:.0f}",
            ]
            yield "| " + " | ".join(map(str, cells)) + " |"


def beside_paper_lines(rows: Sequence[Row]) -> list[str]:
    """A table that sets floats, the adaptive row and the best row within the paper's adaptive size beside
    the paper's: for each corpus and reading of the features under its protocol, by how many points ours
    exceeds the paper's accuracy, and how many splits reach it.
    """
    lines = []
    for _, found in _tables(rows):
        row = found[0].first
        corpus = row.train
        if row.protocol != "holdout" or row.model != MLP or corpus not in PAPER_ACCURACY:
            continue
        size, _ = PAPER_ADAPTIVE[corpus]
        within = [
            group
            for group in found
            if group.first.tuning == QAT and group.mean("weights_only_bytes") <= 1000 * size
        ]
        chosen = [
            group
            for group in found
            if group.first.method == FLOAT or (group.first.method, group.first.tuning) == (ADAPTIVE, QAT)
        ]
        if best := max(within, key=lambda group: group.mean("validation_accuracy"), default=None):
            chosen += [best] if best not in chosen else []
        for group in chosen:
            theirs = PAPER_ACCURACY[corpus][ADAPTIVE] / 100
            reached = sum(row.correct >= round(theirs * row.n) for row in group.rows)
            cells = [
                _title(corpus),
                f"{row.study}: {row.features}",
                f"{_method(group.first.method)} {group.first.tuning}".rstrip(),
                f"{100 * group.accuracy:.1f} ({_span(group.mean_interval)})",
                f"{group.mean('weights_only_bytes') / 1000:.1f}",
                f"{100 * theirs:.2f} at {size}",
                f"{100 * (group.accuracy - theirs):+.1f}",
                f"{reached} of {len(group.rows)}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return []
    heads = (
        "corpus",
        "study: features",
        "row",
        "mean (95 % of it)",
        "KB",
        "paper's adaptive, % at KB",
        "difference",
        "splits at or above it",
    )
    note = (
        "32 bits, the adaptive widths fine-tuned, and the fine-tuned row within the paper's adaptive size"
        " that is best on validation clips."
    )
    return [note, "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *lines]


def _matrix_lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Across corpora"
    yield ""
    yield (
        f"UAR in % on the six shared emotions ({', '.join(SHARED_EMOTIONS)}; chance 16.7): the mean over"
        " seeds and, behind it, the least and"
    )
    yield (
        "the most of them. n: clips that judge, every one of the corpus that shows such an emotion. No"
        " statistic of a test clip is used, unless"
    )
    yield (
        "a table is called transductive. A seed draws validation clips and the network; the clips that judge"
        " stay the same."
    )
    yield (
        "Features and network are the plan's; whether clips that judge had a part in their choice is said"
        " where the plan is described."
    )
    for name, found in _matrices(rows).items():
        study, model, features, protocol, method, tuning = name
        clips = {
            test: group.first.n for (_, test), group in sorted(found.items(), key=lambda item: item[0][1])
        }
        cells = {key: _seeds_span([row.uar for row in group.rows]) for key, group in found.items()}
        first, seeds = next(iter(found.values())).first, max(len(group.rows) for group in found.values())
        size = (
            f"{first.parameters} parameters,"
            f" {_kilobytes(group.mean('weights_only_bytes') for group in found.values())} KB"
        )
        yield ""
        yield f"### {study}: {model}, {features}, {_method(method)} {tuning}".rstrip()
        yield ""
        yield (
            f"{WORDS[protocol].capitalize()}; {first.inputs} inputs, {size}; {seeds}"
            f" {'seed' if seeds == 1 else 'seeds'}."
        )
        yield ""
        yield (
            "| trained on | "
            + " | ".join(f"{_title(test)}, n {count}" for test, count in clips.items())
            + " |"
        )
        yield "|---" * (len(clips) + 1) + "|"
        for train in sorted({train for train, _ in found}):
            yield f"| {_title(train)} | " + " | ".join(cells.get((train, test), "") for test in clips) + " |"
        values = [group.uar for group in found.values()]
        yield ""
        yield (
            f"From {100 * min(values):.1f} to {100 * max(values):.1f}, {100 * sum(values) / len(values):.1f}"
            " on average."
        )


def choice_lines(rows: Sequence[Row]) -> Iterator[str]:
    """A table for each protocol across corpora: the features that the corpora which train chose, and how
    these judge.
    """
    by_protocol: dict[str, list[Choice]] = {}
    for choice in choices(rows):
        by_protocol.setdefault(choice.protocol, []).append(choice)
    if not by_protocol:
        return
    yield ""
    yield "## Across corpora, with features chosen by the corpora that train"
    yield ""
    yield (
        "Where several corpora train, the features of each line are those whose floats have the best mean UAR"
        " between these, each to each other;"
    )
    yield (
        "where one trains, those with the best UAR of its own speakers, held out in turn. UAR in %, mean over"
        " seeds (least to most)."
    )
    for protocol, found in by_protocol.items():
        yield from ["", f"### {WORDS[protocol].capitalize()}", "", *_choice_table(found)]


def _choice_table(found: Sequence[Choice]) -> Iterator[str]:
    columns: dict[tuple[str, str], list[float]] = {}
    for group in (group for choice in found for group in choice.judged):
        columns.setdefault((group.first.method, group.first.tuning), []).append(group.uar)
    heads = [
        "trained on",
        "judged on",
        "features",
        "UAR where chosen",
        *(f"{_method(name)} {tuning}".rstrip() for name, tuning in columns),
    ]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for choice in found:
        judged = {
            (group.first.method, group.first.tuning): _seeds_span([row.uar for row in group.rows])
            for group in choice.judged
        }
        cells = [
            _title(choice.train),
            _title(choice.test),
            choice.features,
            f"{100 * choice.chosen_at:.1f}",
            *(judged.get(name, "") for name in columns),
        ]
        yield "| " + " | ".join(cells) + " |"
    yield (
        "| mean | | | |"
        f" {' | '.join(f'{100 * sum(values) / len(values):.1f}' for values in columns.values())} |"
    )


def _matrices(rows: Iterable[Row]) -> dict[tuple[str, ...], dict[tuple[str, str], Group]]:
    """Groups by train and test of each study, model, features, protocol, method and tuning."""
    matrices: dict[tuple[str, ...], dict[tuple[str, str], Group]] = {}
    for _, found in _tables(rows):
        for group in found:
            row = group.first
            name = row.study, row.model, row.features, row.protocol, row.method, row.tuning
            matrices.setdefault(name, {})[row.train, row.test] = group
    order = sorted(
        matrices,
        key=lambda name: (ACROSS.index(name[3]), name[0], _rank(next(iter(matrices[name].values())).first)),
    )
    return {name: matrices[name] for name in order}


def _seeds_span(values: Sequence[float]) -> str:
    mean = f"{100 * sum(values) / len(values):.1f}"
    return f"{mean} ({_span((min(values), max(values)))})" if len(values) > 1 else mean


def _kilobytes(sizes: Iterable[float]) -> str:
    values = sorted(sizes)
    low, high = f"{values[0] / 1000:.1f}", f"{values[-1] / 1000:.1f}"
    return low if low == high else f"{low} to {high}"


def accuracy_plot(found: Sequence[Group]) -> str:
    """Accuracy against bits as SVG: fixed widths as lines, the adaptive result as a star, with 95 %
    intervals of the mean; the paper's in grey.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    first = found[0].first
    if first.protocol == "holdout" and first.train in PAPER_ACCURACY:
        _paper_points(axes, first.train)
    for tuning, colour, aside in ((PTQ, "tab:blue", -0.04), (QAT, "tab:orange", 0.04)):
        own = {group.first.method: group for group in found if group.first.tuning == tuning}
        _points(
            axes, [(int(bits) + aside, own[bits]) for bits in "12345678" if bits in own], colour, "o-", tuning
        )
        if ADAPTIVE in own:
            _points(
                axes,
                [(own[ADAPTIVE].mean("average_bits") + aside, own[ADAPTIVE])],
                colour,
                "*",
                f"adaptive, {tuning}",
                size=14,
            )
    for group in found:
        if group.first.method == FLOAT:
            axes.axhline(100 * group.accuracy, color="grey", linestyle=":", label="32-bit")
    axes.set(
        xlabel="average bits per weight",
        ylabel="accuracy, %",
        title=f"{_title(first.train)}, {first.features}, {len(found[0].rows)} splits",
    )
    axes.legend(fontsize=8, loc="lower right")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _paper_points(axes: Any, corpus: str) -> None:
    accuracy = PAPER_ACCURACY[corpus]
    axes.plot(
        range(1, 9),
        [accuracy[str(bits)] for bits in range(1, 9)],
        "x",
        color="grey",
        label="paper, one split",
    )
    axes.plot(
        PAPER_ADAPTIVE[corpus][1],
        accuracy[ADAPTIVE],
        "*",
        color="grey",
        markersize=14,
        label="paper, adaptive",
    )


def _points(
    axes: Any, points: Sequence[tuple[float, Group]], colour: str, style: str, label: str, size: int = 5
) -> None:
    if not points:
        return
    values = [100 * group.accuracy for _, group in points]
    spread = [
        [100 * abs(group.mean_interval[side] - group.accuracy) for _, group in points] for side in (0, 1)
    ]
    axes.errorbar(
        [bits for bits, _ in points],
        values,
        spread,
        fmt=style,
        color=colour,
        label=label,
        markersize=size,
        capsize=2,
        linewidth=1,
    )


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise SerqError(
            f"plots need packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[experiments]'`"
        ) from error
    matplotlib.use("agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "serq-mcu", "svg.fonttype": "none"}
    )  # the same results give the same bytes
    from matplotlib import pyplot

    return pyplot


def _title(name: str) -> str:
    return " + ".join(TITLES.get(part, part) for part in name.split("+"))


def _method(method: str) -> str:
    name, _, budget = method.partition(":")
    if name == BUDGET:
        return f"within {float(budget) / 1000:g} KB"
    return f"{name} bits" if name.isdecimal() else name


def _clips(group: Group) -> str:
    sizes = sorted({row.n for row in group.rows})
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
