"""How the input's constants are laid out in bytes (SPEC.md section 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serq_mcu.quantized_model.types import InputQuantization


def pack_scale(constants: InputQuantization) -> NDArray[np.uint16]:
    """Pack multipliers (11 bits) and shifts (5) of the input for serq_standardize()."""
    return (constants.multiplier << 5 | constants.shift).astype(np.uint16)
