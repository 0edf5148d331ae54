"""Clips to the feature matrix that training and evaluation use: exactly what the device computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables


def extract(
    spec: FeatureSpec, tables: FrontendTables, clips: Iterable[NDArray[np.int16]], progress: Callable[[int], None] | None = None
) -> NDArray[np.int32]:
    """Pooled features int32 [clips, features] of PCM clips, each int16 [samples] at the specification's rate.

    progress is called with the number of clips done. Raises SerqError, naming the clip by its place, if one is too short or too long.
    """
    rows = []
    for index, pcm in enumerate(clips):
        try:
            rows.append(features(spec, tables, pcm))
        except SerqError as error:
            raise SerqError(f"clip number {index}: {error}") from error
        if progress is not None:
            progress(index + 1)
    return np.array(rows, dtype=np.int32).reshape(-1, spec.feature_count)
