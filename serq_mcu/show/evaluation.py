"""The evaluation of a model on recordings, and what librosa's features would change, as text and Markdown."""

from __future__ import annotations

from serq_mcu.base.metrics import Score, wilson_interval
from serq_mcu.base.text import markdown_text
from serq_mcu.evaluation.calibration import Calibration
from serq_mcu.evaluation.clips import Evaluation
from serq_mcu.quantization.adaptation import Adaptation
from serq_mcu.quantized_model.types import NO_SPEECH_LABEL
from serq_mcu.show.table import Table, columns
from serq_mcu.verification.frontend_effect import FrontendEffect


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """Return the evaluation as lines of text, with its confusion matrix."""
    return [
        f"{evaluation.corpus}: {evaluation.basis}",
        f"accuracy: {evaluation.score}",
        "true class by row:",
        *evaluation.score.confusion_lines(),
        *(["", *conditions_table(evaluation).text()] if evaluation.others else []),
    ]


def calibration_lines(found: Calibration) -> list[str]:
    """Return what was learned of a voice, and what that changes."""
    learned = f"learned from {found.voice.windows} of {found.clips} recordings"
    lines = [f"{learned}; features deviate by {found.deviation:.2f} standard deviations (root mean square)"]
    if found.before is None or found.after is None:
        return lines
    return [
        *lines,
        f"without the voice: {found.before}",
        f"with it, each clip by what the others taught: {found.after}",
    ]


def adaptation_lines(found: Adaptation) -> list[str]:
    """Return what adapting to a speaker changes."""
    lines = [
        f"{found.clips} clips with speech of "
        + ", ".join(label for label in found.before.labels if label != NO_SPEECH_LABEL),
        f"the model as it was: {found.before}",
        f"adapted, each clip left out in turn: {found.after}",
    ]
    if not found.helps:
        lines.append("adapting does not help on these clips; more of them, or other ones, may")
    return lines


def conditions_table(evaluation: Evaluation) -> Table:
    """Return a row for each condition, with the change against the first, clip by clip, in points."""
    head = ("condition", "accuracy", "95 % interval", "change", "95 % interval", "no answer")
    first = (str(evaluation.condition), *_accuracy(evaluation.score), "", "", _unanswered(evaluation.score))
    rows = [
        (
            str(other.condition),
            *_accuracy(other.score),
            f"{100 * other.change.mean:+.1f}",
            "{:+.1f} to {:+.1f}".format(*(100 * end for end in other.change.interval)),
            _unanswered(other.score),
        )
        for other in evaluation.others
    ]
    return Table((*columns(head[:1]), *columns(head[1:], "right")), [first, *rows])


def _accuracy(score: Score) -> tuple[str, str]:
    low, high = score.interval
    return f"{score.accuracy:.1%}", f"{100 * low:.1f} to {high:.1%}"


def _unanswered(score: Score) -> str:
    return str(sum(score.unanswered))


def effect_lines(effect: FrontendEffect) -> list[str]:
    """Return the front end's effect as lines of text."""
    scores = [
        f"network in {network}; features {kind}: {score}" for (network, kind), score in effect.scores.items()
    ]
    changed = [f"network in {network}: {_changed(effect, network)}" for network in effect.changed]
    return [f"model {effect.identity} on {effect.corpus}, {effect.basis}", *scores, *changed]


def effect_section(effect: FrontendEffect) -> str:
    """Return the front end's effect as a section of the comparison's Markdown page."""
    head = (*columns(("network", "features")), *columns(("correct", "accuracy", "95 % interval"), "right"))
    rows = []
    for (network, kind), score in effect.scores.items():
        low, high = score.interval
        interval = f"{low:.1%} to {high:.1%}"
        rows.append((network, kind, f"{score.correct} of {score.n}", f"{score.accuracy:.1%}", interval))
    changed = "; ".join(f"network in {network}: {_changed(effect, network)}" for network in effect.changed)
    about = (
        f"Model {effect.identity} on {markdown_text(effect.corpus)}, {effect.basis}. Librosa's features are"
        " pooled in float64, and rounded to integers only for the integer network. The float64 network has"
        " the model's weights and rounds neither its input nor its activations."
    )
    table = Table(head, rows).markdown()
    title = "## What the difference does to the answers"
    return "\n\n".join([title, about, table, f"{changed[:1].upper()}{changed[1:]}."])


def _changed(effect: FrontendEffect, network: str) -> str:
    count = effect.changed[network]
    low, high = wilson_interval(count, effect.clips)
    share = f"{count / effect.clips:.1%}, 95 % interval {low:.1%} to {high:.1%}"
    return f"{count} of {effect.clips} answers change with librosa's features ({share})"
