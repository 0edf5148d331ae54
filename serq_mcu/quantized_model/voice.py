"""A speaker's voice: how the features of one speaker differ from the training speakers' (SPEC.md section 19).

What a clip's features differ by from the mean of its class is averaged over windows, and shrunk toward
nothing by pseudo-windows. For each feature these follow from the variance within speakers over that between
them, as in the best linear prediction of a random effect (Robinson, "That BLUP is a good thing", Statistical
Science 6, 1991).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.layers.base import frozen_array, require, within

STEP_MAX = 127  # of a deviation that is learned from, in steps of the network's inputs
RESIDUAL_MAX = 2 * STEP_MAX  # of it from the mean of a class
MOST_WINDOWS = 128  # sums of so many residuals fit int16
_MAGIC, _VERSION = b"SRQV", 1
_HEADER = struct.Struct("<4sBBH8s")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class VoicePrior:
    """What is known of all voices, as a model holds it.

    means: int8 [classes, features], the mean of each class over training speakers, in steps from the input's
    center; counts: uint16 [features], pseudo-windows; most: windows that a voice remembers. Raises SerqError
    on a wrong shape, type or range.
    """

    means: NDArray[np.int8]
    counts: NDArray[np.uint16]
    most: int

    def __post_init__(self) -> None:
        means = frozen_array(self, "means", np.int8, 2)
        counts = frozen_array(self, "counts", np.uint16, 1)
        require(
            means.shape[1] == counts.size,
            f"voice means are of {means.shape[1]} features, counts of {counts.size}",
        )
        require(within(means, -STEP_MAX, STEP_MAX), f"voice means must be within {STEP_MAX}")
        require(within(counts, 1, 65535), "voice counts must be 1 to 65535")
        require(
            type(self.most) is int and 1 <= self.most <= MOST_WINDOWS,
            f"a voice remembers 1 to {MOST_WINDOWS} windows, not {self.most!r:.40}",
        )


@dataclass(frozen=True, eq=False)
class Voice:
    """What was learned of a speaker: from so many windows, and the sums of residuals, int64 [features]."""

    windows: int
    sums: NDArray[np.int64]

    @classmethod
    def unknown(cls, features: int) -> Voice:
        """Return the voice that nothing is known of."""
        return cls(0, np.zeros(features, np.int64))

    def shift(self, prior: VoicePrior) -> NDArray[np.int64]:
        """Compute how many steps the speaker's features deviate by, int64 [features]."""
        return divide(self.sums, self.windows + prior.counts.astype(np.int64))

    def learned(
        self, prior: VoicePrior, steps: NDArray[np.int64], missing: NDArray[np.bool_], label: int
    ) -> Voice:
        """Learn from a window in an emotion, the index of its label.

        steps: its features' deviations from the input's centers, int64 [features]; missing: of these, bool
        [features].
        """
        residual = np.clip(steps, -STEP_MAX, STEP_MAX) - prior.means[label]
        residual = np.where(missing, self.shift(prior), residual)
        if self.windows < prior.most:
            return Voice(self.windows + 1, self.sums + residual)
        return Voice(self.windows, self.sums - divide(self.sums, np.int64(prior.most)) + residual)

    def to_bytes(self, identity: bytes) -> bytes:
        """Return the bytes that are stored, for a model of this identity."""
        body = _HEADER.pack(_MAGIC, _VERSION, 0, self.windows, identity)
        sums = np.append(self.sums, np.zeros(self.sums.size % 2, np.int64)).astype("<i2")
        body += sums.tobytes()
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, stored: bytes, prior: VoicePrior, identity: bytes) -> Voice:
        """Read stored bytes. Raises SerqError if they are damaged, or of another model or runtime."""
        features = prior.counts.size
        padded = features + features % 2
        if len(stored) < _HEADER.size or stored[:4] != _MAGIC:
            raise SerqError("it is no voice; `serq-mcu calibrate` writes one")
        _, version, _, windows, model = _HEADER.unpack_from(stored)
        whole = _CRC.pack(zlib.crc32(stored[: -_CRC.size])) == stored[-_CRC.size :]
        if not whole:
            raise SerqError("the voice is damaged; calibrate again")
        if version != _VERSION or model != identity:
            raise SerqError(
                f"the voice is of model {model.hex()}, not {identity.hex()}; calibrate with this model"
            )
        if len(stored) != _HEADER.size + 2 * padded + _CRC.size or windows > prior.most:
            raise SerqError("the voice is damaged; calibrate again")
        voice = cls.in_memory(stored, features)
        if np.abs(voice.sums).max() > RESIDUAL_MAX * windows:
            raise SerqError("the voice is damaged; calibrate again")
        return voice

    @classmethod
    def in_memory(cls, stored: bytes, features: int) -> Voice:
        """Read the bytes of a voice that the runtime has in memory: nothing is checked."""
        windows = _HEADER.unpack_from(stored)[3]
        return cls(windows, np.frombuffer(stored, "<i2", features, _HEADER.size).astype(np.int64))


def divide(sums: NDArray[np.int64], count: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    """Divide and round to nearest, ties away from zero."""
    quotient: NDArray[np.int64] = np.sign(sums) * ((2 * np.abs(sums) + count) // (2 * count))
    return quotient
