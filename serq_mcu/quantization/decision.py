"""How a stream is answered: from what a user wishes to the integers of a model's decision rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serq_mcu.config import DecisionConfig
from serq_mcu.frontend.analysis import MIN_FRAMES
from serq_mcu.frontend.level import level_from_db
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.types import DecisionRule, QuantizedModel


def decision_rule(
    model: QuantizedModel, config: DecisionConfig, validation: NDArray[np.int32]
) -> DecisionRule | None:
    """Make the decision rule of a model, or return None if its specification cannot stream.

    validation: pooled features int32 [clips, features] of validation clips.

    Raises SerqError if the configuration does not fit the model.
    """
    if model.spec.center:
        return None
    frames = max(MIN_FRAMES, round(config.block_seconds * model.spec.sample_rate / model.spec.hop_length))
    margin = unsure_margin(scores(model, validation), config.coverage)
    floor_blocks = round(config.floor_seconds / config.block_seconds)
    wake_rise = level_from_db(config.wake_db)
    return DecisionRule(config.blocks, frames, floor_blocks, margin, config.smoothing, wake_rise)


def unsure_margin(validation: NDArray[np.int64], coverage: float) -> int:
    """Find the largest lead of the best score that a share of at least `coverage` has.

    validation: scores [clips, classes]; without a clip it is 0.
    """
    if len(validation) == 0:
        return 0
    ordered = np.sort(validation, axis=1)
    leads = np.sort(ordered[:, -1] - ordered[:, -2])
    refused = int((1 - coverage) * len(leads) + 1e-9)
    return int(leads[refused])
