"""How a stream is answered: from what a user wishes to the integers of a model's decision rule."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serq_mcu.config import DecisionConfig
from serq_mcu.frontend.analysis import MIN_FRAMES
from serq_mcu.frontend.level import level_from_db
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.types import CONFIDENCE_STEP, CONFIDENCES, NEVER, DecisionRule, QuantizedModel

_MOST_STEPS = 50
_PRECISION = 1e-9


def decision_rule(
    model: QuantizedModel, config: DecisionConfig, validation: NDArray[np.int32], truth: NDArray[np.int64]
) -> DecisionRule | None:
    """Make the decision rule of a model, or return None if its specification cannot stream.

    validation: pooled features int32 [clips, features] of validation clips; truth: the index of each one's
    label, int64 [clips].

    Raises SerqError if the configuration does not fit the model.
    """
    if model.spec.center:
        return None
    frames = max(MIN_FRAMES, round(config.block_seconds * model.spec.sample_rate / model.spec.hop_length))
    found = scores(model, validation)
    margin = unsure_margin(found, config.coverage)
    floor_blocks = round(config.floor_seconds / config.block_seconds)
    wake_rise = level_from_db(config.wake_db)
    sure = confidence_leads(_leads(found), found.argmax(axis=1) == truth)
    return DecisionRule(config.blocks, frames, floor_blocks, margin, config.smoothing, wake_rise, sure)


def unsure_margin(validation: NDArray[np.int64], coverage: float) -> int:
    """Find the largest lead of the best score that a share of at least `coverage` has.

    validation: scores [clips, classes]; without a clip it is 0.
    """
    if len(validation) == 0:
        return 0
    leads = np.sort(_leads(validation))
    refused = int((1 - coverage) * len(leads) + 1e-9)
    return int(leads[refused])


def confidence_leads(leads: NDArray[np.int64], right: NDArray[np.bool_]) -> tuple[int, ...]:
    """Find the least lead of each of CONFIDENCES by Platt's calibration; none without a clip.

    leads: of the best score of each validation clip over the second; right: whether its class is the clip's.
    The chance of being right is a logistic function of the lead that does not fall. Its parameters are the
    likeliest, for Platt's targets in place of 0 and 1, which keep it from certainty where clips are few.
    """
    if len(leads) == 0:
        return ()
    hits, misses = int(right.sum()), int((~right).sum())
    wanted = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    unit = max(float(leads.mean()), 1.0)
    offset, slope = _logistic(leads / unit, wanted)
    if slope <= 0:  # the lead tells nothing
        offset, slope = _log_odds(float(wanted.mean())), 0.0
    chances = [(percent - CONFIDENCE_STEP / 2) / 100 for percent in CONFIDENCES]
    return tuple(_lead_of(chance, offset, slope / unit) for chance in chances)


def _lead_of(chance: float, offset: float, slope: float) -> int:
    """Return the least lead whose chance is at least this one."""
    missing = _log_odds(chance) - offset
    if missing <= 0:
        return 0
    return min(math.ceil(missing / slope), NEVER) if slope > missing / NEVER else NEVER


def _logistic(leads: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[float, float]:
    """Fit offset and slope of log-odds by Newton's method, with steps halved until the loss falls."""
    inputs = np.stack([np.ones(len(leads)), leads])
    found = np.array([_log_odds(float(wanted.mean())), 0.0])

    def loss(parameters: NDArray[np.float64]) -> float:
        odds = parameters @ inputs
        return float((np.logaddexp(0, odds) - wanted * odds).sum())

    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + np.exp(-(found @ inputs)))
        curvature = (inputs * (chance * (1 - chance))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, inputs @ (wanted - chance))
        while loss(found + step) > loss(found) and np.abs(step).max() > _PRECISION:
            step = step / 2
        if np.abs(step).max() <= _PRECISION:
            break
        found = found + step
    return float(found[0]), float(found[1])


def _log_odds(chance: float) -> float:
    return math.log(chance / (1 - chance))


def _leads(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lead of the best of each row of scores [clips, classes] over the second."""
    ordered = np.sort(found, axis=1)
    leads: NDArray[np.int64] = ordered[:, -1] - ordered[:, -2]
    return leads
