"""A sequence: the values of the last frames themselves, in place of their statistics (SPEC.md section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.statistics import MISSING, SCALE


def sequence_of(v: NDArray[np.int64], counted: NDArray[np.bool_], relative: slice) -> NDArray[np.int64]:
    """Return the features of one block, int64 [frames, coefficients] with 4 fractional bits.

    v: its rounded values [frames, coefficients]; counted: frames that count for it, bool [frames]; relative:
    coefficients that are relative to their mean over these frames. Where no frame counts, MISSING.
    """
    values = SCALE * v
    known = values[counted, relative]
    if known.size:
        values[:, relative] -= (known.sum() + (known.size >> 1)) // known.size
    return np.where(counted[:, None], values, MISSING)


def last_frames(rows: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Return the features of so many frames, rows [n, coefficients] last; those before them are MISSING."""
    missing = np.full((frames - len(rows), rows.shape[1]), MISSING)
    return np.concatenate([missing, rows])


def by_frame(features: NDArray[Any], coefficients: int) -> NDArray[Any]:
    """Return features [..., features] as [..., frames, coefficients]; statistics are one frame."""
    return features.reshape(*features.shape[:-1], features.shape[-1] // coefficients, coefficients)
