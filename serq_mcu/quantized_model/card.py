"""The card of a model: what it was trained on, how often it is right where, and what it must not be used for.

A file beside the model (`NAME.card.json`) that names the model by its identity; a card of another model is
no card. `python -m tools.cards` measures and writes those of the models that ship.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from serq_mcu.base import resources
from serq_mcu.base.files import read_regular
from serq_mcu.base.validation import Section, checked
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.types import QuantizedModel

SUFFIX = ".card.json"
Percent = Annotated[float, Meta(ge=0, le=100)]


class TrainedOn(Section, frozen=True):
    """A corpus that trained the model."""

    corpus: str
    language: str
    speakers: Annotated[int, Meta(ge=0)]
    clips: Annotated[int, Meta(ge=1)]
    licence: str


class Figure(Section, frozen=True):
    """A share of right answers of models made as this one, on clips that they never saw.

    protocol: what was held out; half_width: of the 95 % interval of the mean, in points.
    """

    condition: str
    protocol: str
    percent: Percent
    half_width: Annotated[float, Meta(ge=0)]


class Elsewhere(Section, frozen=True):
    """This model on a corpus that it never heard.

    uar: the mean over classes of the share of right answers, in %.
    """

    corpus: str
    language: str
    uar: Percent
    clips: Annotated[int, Meta(ge=1)]


class FalseAnswers(Section, frozen=True):
    """How many decisions claim an emotion where nobody speaks."""

    sound: str
    percent: Percent
    decisions: Annotated[int, Meta(ge=1)]


class Card(Section, frozen=True):
    """All that a card says; see the module."""

    identity: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    title: str
    voices: str
    licence: str
    protocol: str
    trained_on: tuple[TrainedOn, ...]
    figures: tuple[Figure, ...]
    elsewhere: tuple[Elsewhere, ...]
    false_answers: tuple[FalseAnswers, ...]
    limits: tuple[str, ...]

    @property
    def line(self) -> str:
        """The card in a line: whom the model knows, and how it fares with others."""
        if not self.elsewhere:
            return f"trained on {self.voices}; nothing is known of other corpora"
        found = [row.uar for row in self.elsewhere]
        low, high = round(min(found)), round(max(found))
        spread = f"{low} to {high}" if low < high else f"{high}"
        return (
            f"trained on {self.voices}; on corpora that it never heard, {spread} % of emotions right (mean of"
            " the classes)"
        )


def read_card(path: Path) -> Card:
    """Read a card. Raises SerqError if it cannot be read, or is no card."""
    try:
        value = msgspec.json.decode(read_regular(path))
    except OSError as error:
        raise SerqError(f"cannot read the card {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise SerqError(f"the card {path} is not JSON: {error}") from error
    return checked(value, Card, f"the card {path}")


def find_card(model: QuantizedModel, file: Path | None = None) -> Card | None:
    """Return the card of a model: beside its file, or among those of the models that ship; None without one.

    Raises SerqError as `read_card` does.
    """
    beside = [] if file is None else [file.with_name(file.name.removesuffix(".serq") + SUFFIX)]
    for path in (*beside, *sorted(resources.MODELS.glob(f"*{SUFFIX}"))):
        if path.is_file() and (card := read_card(path)).identity == model.sha256[:16]:
            return card
    return None


def card_line(model: QuantizedModel, file: Path | None = None) -> str:
    """Say in a line what a model knows, by its card, or else by what its file tells of its training."""
    card = find_card(model, file)
    if card is not None:
        return card.line
    told = model.provenance
    metrics = ((told.get("metrics") or {}).get("quantized") or {}).get("test") or {}
    if not metrics or not told.get("corpus"):
        return "what this model was trained on is not known"
    right = f"{100 * metrics['accuracy']:.0f} % of its {metrics['n']} held-out clips right"
    return f"trained on {told['corpus']}, {right}; how it answers in other corpora was not measured"
