"""Bits per layer under a budget: of all combinations of widths that fit, the one with the least loss.

What a width costs a layer is measured with the other layers at 8 bits, and taken to add up over layers; the
few combinations that look best by that are then evaluated as whole models, and the best of them is the
choice. Loss is validation cross-entropy, which sees what accuracy on some sixty clips cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.progress import Progress
from serq_mcu.config import MAX_BITS, MIN_BITS
from serq_mcu.errors import SerqError
from serq_mcu.layers.encodings import Width
from serq_mcu.quantization.allocation import Judge

JUDGED = 12  # combinations that are judged as whole models
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WidthBudget:
    """What each width costs each layer, and what all layers together may cost, in `unit`.

    costs: [layers, 8] for 1 to 8 bits.
    """

    costs: Floats
    most: float
    unit: str

    def cost(self, widths: Sequence[int]) -> float:
        """Compute what widths of 1 to 8 bits cost."""
        return _total(self.costs, widths)


@dataclass(frozen=True)
class WidthPlan:
    """The widths chosen and why.

    Validation loss with 8 bits everywhere (`base`), what each width of each layer alone adds to it (`added`,
    [layers][8]), the sum of that for these widths (`foreseen`), their loss as a whole model (`loss`), and how
    many combinations were evaluated as whole models.
    """

    budget: WidthBudget
    widths: tuple[int, ...]
    base: float
    added: tuple[tuple[float, ...], ...]
    foreseen: float
    loss: float
    judged: int

    @property
    def cost(self) -> float:
        """What the widths cost, in the budget's unit."""
        return self.budget.cost(self.widths)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        names = ("base", "added", "foreseen", "loss", "judged")
        return {"unit": self.budget.unit, "most": self.budget.most, "cost": self.cost} | {
            name: getattr(self, name) for name in names
        }


def byte_costs(parameters: Sequence[int]) -> Floats:
    """Compute the bytes, weights only, of layers of these numbers of parameters at 1 to 8 bits."""
    return np.outer(parameters, np.arange(MIN_BITS, MAX_BITS + 1)) / 8


@dataclass(frozen=True)
class Sensitivity:
    """Validation loss with 8 bits everywhere (`base`), and what each width of each layer alone adds to it.

    added: [layers, 8].
    """

    base: float
    added: Floats


def measure(judges: Sequence[Judge], progress: Progress | None = None) -> Sensitivity:
    """Measure the sensitivity of the judges' networks, which have one shape."""
    layers = len(judges[0].network.matrices)
    base = validation_loss(judges, [MAX_BITS] * layers)
    added = np.zeros((layers, MAX_BITS))
    for layer in range(layers):
        for bits in range(MIN_BITS, MAX_BITS):
            widths = [MAX_BITS] * layers
            widths[layer] = bits
            added[layer, bits - 1] = validation_loss(judges, widths) - base
            if progress is not None:
                progress(
                    "measuring each layer at each width",
                    layer * (MAX_BITS - 1) + bits,
                    layers * (MAX_BITS - 1),
                )
    return Sensitivity(base, added)


def validation_loss(judges: Sequence[Judge], widths: Sequence[Width]) -> float:
    """Compute the mean cross-entropy, in nats, of integer models on all versions of the judges' clips."""
    asked = [int(judge.validation.spoken.sum()) for judge in judges]
    return float(np.average([judge.loss(widths) for judge in judges], weights=asked))


def combinations(added: Floats, budget: WidthBudget, count: int) -> list[tuple[int, ...]]:
    """Find the `count` combinations of widths within the budget that add least loss, the least first.

    Of equals the cheaper comes first. Raises SerqError if even 1 bit everywhere is beyond the budget.
    """
    loss, cost = (_sums(table) for table in (added, budget.costs))
    fitting = np.flatnonzero(cost <= budget.most)
    if not fitting.size:
        least = f"{cost.min():.0f} {budget.unit}"
        raise SerqError(
            f"the smallest model needs {least}, more than the budget of {budget.most:.0f}; choose smaller"
            " layers or a larger budget"
        )
    if fitting.size > 64 * count:  # a full sort of 8^8 combinations is slow
        fitting = fitting[np.argpartition(loss[fitting], 64 * count)[: 64 * count]]
    order = np.lexsort((cost[fitting], loss[fitting]))[:count]
    chosen = np.array(np.unravel_index(fitting[order], (MAX_BITS,) * len(added))).T
    return [tuple(int(width) + MIN_BITS for width in row) for row in chosen]


def plan_widths(judges: Sequence[Judge], budget: WidthBudget, measured: Sensitivity) -> WidthPlan:
    """Choose the widths for a budget, by what the same judges measured.

    Looks at the judges' clips only. Raises SerqError if no widths fit.
    """
    added = measured.added
    candidates = combinations(added, budget, JUDGED)
    losses = [validation_loss(judges, widths) for widths in candidates]
    best = int(np.argmin(losses))
    widths = candidates[best]
    return WidthPlan(
        budget,
        widths,
        measured.base,
        tuple(map(tuple, added.tolist())),
        _total(added, widths),
        losses[best],
        len(candidates),
    )


def _sums(table: Floats) -> Floats:
    """Sum over layers for every combination of widths.

    The order is that of a counter whose last layer runs fastest.
    """
    total = np.zeros(1)
    for row in table:
        total = (total[:, None] + row).ravel()
    return total


def _total(table: Floats, widths: Sequence[int]) -> float:
    return float(sum(row[width - MIN_BITS] for row, width in zip(table, widths, strict=True)))
