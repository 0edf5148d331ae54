"""Functions in fixed point that layers share: rescaling, sigmoid, tanh, powers of 2 (SPEC.md section 3).

The tables are the same for all models, so they are no part of one: C has them in serq_functions.c.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.validation import check_types
from serq_mcu.frontend.arithmetic import Q15, rshift_round
from serq_mcu.layers.base import Floats, require

Q12 = 4096  # what sums are brought to before a function is taken of them
_REACH = 10 * Q12 - 1  # of the sigmoid's argument: beyond 10 it stays
_SHIFT = 8  # an entry of the sigmoid's table each 1/16
_PART = 7  # an entry of the powers' table each 1/32
POWERS = np.rint(Q15 * 2.0 ** (-np.arange(33) / 32)).astype(np.int64)
SIGMOID = np.rint(Q15 / (1 + np.exp(-np.arange(161) / 16))).astype(np.int64)

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Rescale:
    """A factor `multiplier * 2^left / 2^(16 + right)` that brings accumulators to fixed point.

    Raises SerqError when a number is out of range.
    """

    multiplier: int
    left: int
    right: int

    def __post_init__(self) -> None:
        check_types(self, "a rescaling: ")
        fits = 2**14 <= self.multiplier < 2**15 and 0 <= self.left <= 30 and 1 <= self.right <= 31
        require(fits, f"a rescaling by {self.multiplier}, {self.left}, {self.right} is out of range")

    @classmethod
    def by(cls, factor: float) -> Rescale:
        """Find the nearest one to a factor. Raises SerqError if there is none."""
        refusal = f"a rescaling by {factor:g} is outside the device's range; train again"
        require(0 < factor < math.inf, refusal)
        mantissa, exponent = math.frexp(factor)
        multiplier = round(mantissa * 2**15)
        if multiplier == 2**15:
            multiplier, exponent = 2**14, exponent + 1
        shift = exponent + 1  # left - right
        require(-31 <= shift <= 29, refusal)
        return cls(multiplier, max(shift + 1, 0), max(-shift, 1))

    @property
    def factor(self) -> float:
        """What it multiplies by."""
        return self.multiplier * 2.0 ** (self.left - self.right - 16)

    def require_room(self, bound: int) -> None:
        """Raise SerqError unless accumulators of at most this magnitude may be shifted left."""
        reach = bound << self.left
        require(reach < 2**31, f"a sum of {bound}, rescaled, can reach {reach}, more than 32 bits hold")

    def run(self, accumulators: Integers) -> Integers:
        """Compute the fixed-point numbers; all are below 2^29 in magnitude, or equal to it."""
        return rshift_round((accumulators << self.left) * self.multiplier >> 16, self.right)

    def to_json(self) -> dict[str, int]:
        """Return plain values for the model file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rescale:
        """Make it of `to_json`'s values. Raises TypeError where a key is missing or unknown."""
        if not isinstance(value, dict):
            raise TypeError("a rescaling must be a table")
        return cls(**value)


def sigmoid(x: Integers) -> Integers:
    """Compute 1 / (1 + e^-x) in Q15 for x in Q12, linear between 161 points; within 3 steps of it."""
    size = np.minimum(np.abs(x), _REACH)
    index, fraction = size >> _SHIFT, size & ((1 << _SHIFT) - 1)
    risen = (SIGMOID[index + 1] - SIGMOID[index]) * fraction
    above = SIGMOID[index] + rshift_round(risen, _SHIFT)
    found: Integers = np.where(x < 0, Q15 - above, above)
    return found


def tanh(x: Integers) -> Integers:
    """Compute tanh in Q15 for x in Q12: 2 * sigmoid(2x) - 1, within 6 steps of it."""
    curved: Integers = 2 * sigmoid(2 * np.clip(x, -5 * Q12, 5 * Q12)) - Q15
    return curved


def exp2_minus(x: Integers) -> Integers:
    """Compute 2^-x in Q15 for x >= 0 in Q12, linear between 32 points of an octave; within 3 steps of it."""
    octaves, rest = np.minimum(x // Q12, 31), x % Q12
    index, fraction = rest >> _PART, rest & ((1 << _PART) - 1)
    value = POWERS[index] + rshift_round((POWERS[index + 1] - POWERS[index]) * fraction, _PART)
    found: Integers = np.where(octaves == 0, value, rshift_round(value, np.maximum(octaves, 1)))
    return found


def float_sigmoid(x: Floats) -> Floats:
    """Compute the sigmoid in float64, also of large numbers."""
    found: Floats = 0.5 + 0.5 * np.tanh(x / 2)
    return found
