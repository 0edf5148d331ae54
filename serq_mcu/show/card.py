"""A model's card as text and as Markdown."""

from __future__ import annotations

from serq_mcu.quantized_model.card import Card
from serq_mcu.show.table import Column, Table, columns


def card_lines(card: Card) -> list[str]:
    """Return the card as lines of text."""
    return [
        f"{card.title}: {card.line}",
        f"licence: {card.licence}",
        f"trained on {_trained_on(card)}",
        "",
        card.protocol,
        *(_figures(card).text() if card.figures else []),
        "",
        "this model on corpora that it never heard, mean of the classes:",
        *_elsewhere(card).text(),
        "",
        "decisions that claim an emotion where nobody speaks:",
        *_false_answers(card).text(),
        "",
        *card.limits,
    ]


def card_markdown(card: Card) -> str:
    """Return the card as Markdown, without a heading."""
    parts = [
        f"{card.title}.\nTrained on {_trained_on(card)}.\nLicence: {card.licence}.",
        card.protocol,
        *([_figures(card).markdown()] if card.figures else []),
        "This model on corpora that it never heard, UAR (mean of the classes):",
        _elsewhere(card).markdown(),
        "Decisions that claim an emotion where nobody speaks:",
        _false_answers(card).markdown(),
        "\n".join(card.limits),
    ]
    return "\n\n".join(parts)


def _trained_on(card: Card) -> str:
    return ", ".join(
        f"{row.corpus} ({row.language}, {row.speakers} speakers, {row.clips} clips; {row.licence})"
        for row in card.trained_on
    )


def _figures(card: Card) -> Table:
    protocols = list(dict.fromkeys(row.protocol for row in card.figures))
    cells = {
        (row.condition, row.protocol): f"{row.percent:.1f} % ± {row.half_width:.1f}" for row in card.figures
    }
    conditions = dict.fromkeys(row.condition for row in card.figures)
    rows = [(name, *(cells.get((name, protocol), "") for protocol in protocols)) for name in conditions]
    return Table((Column("right answers"), *columns(protocols, "right")), rows)


def _elsewhere(card: Card) -> Table:
    head = (Column("corpus"), Column("language"), Column("UAR", "right"), Column("clips", "right"))
    return Table(head, [(row.corpus, row.language, f"{row.uar:.1f} %", row.clips) for row in card.elsewhere])


def _false_answers(card: Card) -> Table:
    head = (Column("sound"), Column("emotion claimed", "right"), Column("decisions", "right"))
    return Table(head, [(row.sound, f"{row.percent:.1f} %", row.decisions) for row in card.false_answers])
