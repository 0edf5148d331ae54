"""How a stream is answered: from what a user wishes to the integers of a model's decision rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.level import level_from_db, level_offset
from serq_mcu.frontend.spec import MIN_FRAMES
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.types import MAX_BLOCKS, MAX_SMOOTHING, DecisionRule, QuantizedModel


@dataclass(frozen=True)
class DecisionConfig:
    """Blocks of a window, seconds of a block, dB below which a block is silent (0 = a full-scale square wave), the share of validation clips
    that are to have an answer, and the smoothing of scores; default.toml says more. Raises SerqError on a value out of range."""

    blocks: int
    block_seconds: float
    gate_db: float
    coverage: float
    smoothing: int

    def __post_init__(self) -> None:
        kinds: dict[str, tuple[tuple[type, ...], float, float]] = {
            "blocks": ((int,), 1, MAX_BLOCKS),
            "block_seconds": ((int, float), 0.01, 60),
            "gate_db": ((int, float), -120, 30),
            "coverage": ((int, float), 0.01, 1),
            "smoothing": ((int,), 0, MAX_SMOOTHING),
        }
        for name, (kind, low, high) in kinds.items():
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
                raise SerqError(f"decision.{name} {value!r} must be a {'number' if float in kind else 'whole number'} from {low} to {high}")


def decision_rule(model: QuantizedModel, config: DecisionConfig, validation: NDArray[np.int32]) -> DecisionRule | None:
    """The rule for a model; validation: pooled features int32 [clips, features] of validation clips. None if its specification cannot stream.

    Raises SerqError if the configuration does not fit the model.
    """
    if model.spec.center:
        return None
    frames = max(MIN_FRAMES, round(config.block_seconds * model.spec.sample_rate / model.spec.hop_length))
    offset = level_offset(model.spec, model.tables)
    margin = unsure_margin(scores(model, validation), config.coverage)
    return DecisionRule(config.blocks, frames, offset, level_from_db(config.gate_db), margin, config.smoothing)


def unsure_margin(validation: NDArray[np.int64], coverage: float) -> int:
    """The largest lead of the best score that a share of at least `coverage` of scores [clips, classes] has."""
    ordered = np.sort(validation, axis=1)
    leads = np.sort(ordered[:, -1] - ordered[:, -2])
    refused = int((1 - coverage) * len(leads) + 1e-9)
    return int(leads[refused])
