"""Names and figures as the page of an experiment writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serq_mcu.experiments.plan import BUDGET
from serq_mcu.experiments.results import Group, Row

TITLES = {"emodb": "EMO-DB", "savee": "SAVEE", "tess": "TESS", "ravdess": "RAVDESS", "crema-d": "CREMA-D"}
_OWN_CLIPS = "each standardised by all of its own clips (transductive)"
_OWN_SPEAKERS = "each speaker standardised by all own clips (transductive)"
PROTOCOL_WORDS = {
    "holdout": "one stratified part held out a seed",
    "clips": "every stratified fold held out once a seed; speakers are in all parts",
    "speakers": "every speaker held out once a seed; of each the mean of the seeds, then over speakers",
    "corpus": "trained on one corpus, evaluated on another",
    "corpora": "trained on all corpora but one, evaluated on that",
    "corpus_transductive": f"trained on one corpus, evaluated on another, {_OWN_CLIPS}",
    "corpora_transductive": f"trained on all corpora but one, evaluated on that, {_OWN_CLIPS}",
    "corpus_transductive_by_speaker": f"trained on one corpus, evaluated on another, {_OWN_SPEAKERS}",
    "corpora_transductive_by_speaker": f"trained on all corpora but one, evaluated on that, {_OWN_SPEAKERS}",
}


VALIDATED_BY = {"clips": "validated by clips", "speakers": "validated by speakers who do not train"}


def cases(group: Group) -> str:
    """Return what an interval of a group counts, and how many of them."""
    n, most = group.cases.size, max(row.speakers_out for row in group.rows)
    if not group.by_speakers:
        return f"{n} splits"
    return f"{n} speakers" if most == 1 else f"{n} groups of up to {most} speakers"


def validated_by(rows: Iterable[Row]) -> str:
    """Return what stopped the training and chose the bits."""
    return " or ".join(VALIDATED_BY[kind] for kind in sorted({row.validation for row in rows}))


def corpus_title(name: str) -> str:
    """Return the name of a corpus, or of several joined by "+"."""
    return " + ".join(TITLES.get(part, part) for part in name.split("+"))


def method_name(method: str, tuning: str = "") -> str:
    """Return a method's name, and how it was tuned."""
    name, _, budget = method.partition(":")
    if name == BUDGET:
        name = f"within {float(budget) / 1000:g} KB"
    elif name.isdecimal():
        name = f"{name} bits" if name != "1" else "1 bit"
    return f"{name} {tuning}".rstrip()


def percent(share: float) -> str:
    """Return a share in %, to one decimal, without the sign."""
    return f"{100 * share:.1f}"


def span(interval: tuple[float, float]) -> str:
    """Return two shares in %."""
    return f"{percent(interval[0])} to {percent(interval[1])}"


def mean_and_span(values: Sequence[float]) -> str:
    """Return the mean of shares in % and, of several, the least and the most."""
    mean = percent(sum(values) / len(values))
    return f"{mean} ({span((min(values), max(values)))})" if len(values) > 1 else mean


def kilobytes(sizes: Iterable[float]) -> str:
    """Return sizes in KB of 1000 bytes: one, or the least and the most."""
    values = sorted(sizes)
    low, high = f"{values[0] / 1000:.1f}", f"{values[-1] / 1000:.1f}"
    return low if low == high else f"{low} to {high}"


def test_clips(group: Group) -> str:
    """Return how many test clips the splits have."""
    sizes = sorted({row.n for row in group.rows})
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
