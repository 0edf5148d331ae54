"""A speaker's voice: how the features of one speaker differ from the training speakers' (SPEC.md section 19).

What a clip's features differ by from the mean of its class is averaged over windows, and shrunk toward
nothing by pseudo-windows. For each feature these follow from the variance within speakers over that between
them, as in the best linear prediction of a random effect (Robinson, "That BLUP is a good thing", Statistical
Science 6, 1991). A speaker also differs from others in single emotions, by about as much: so the windows of
the class that was heard most count against what was learned, and an hour of one emotion says no more of a
voice than a few windows do.
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
HEARD = 256  # what a window adds to how much was heard of its class: a fraction can fade
_MAGIC, _VERSION = b"SRQV", 2
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
    """What was learned of a speaker: from so many windows, and the sums of residuals, int64 [features].

    heard: of these windows, those of each class, in steps of 1 / HEARD, int64 [classes].
    """

    windows: int
    sums: NDArray[np.int64]
    heard: NDArray[np.int64]

    @classmethod
    def unknown(cls, prior: VoicePrior) -> Voice:
        """Return the voice that nothing is known of, for a model with this prior."""
        classes, features = prior.means.shape
        return cls(0, np.zeros(features, np.int64), np.zeros(classes, np.int64))

    def shift(self, prior: VoicePrior) -> NDArray[np.int64]:
        """Compute how many steps the speaker's features deviate by, int64 [features]."""
        one_sided = (int(self.heard.max()) + HEARD // 2) // HEARD
        return divide(self.sums, self.windows + one_sided + prior.counts.astype(np.int64))

    def learned(
        self, prior: VoicePrior, steps: NDArray[np.int64], missing: NDArray[np.bool_], label: int
    ) -> Voice:
        """Learn from a window in an emotion, the index of its label.

        steps: its features' deviations from the input's centers, int64 [features]; missing: of these, bool
        [features].
        """
        residual = np.clip(steps, -STEP_MAX, STEP_MAX) - prior.means[label]
        residual = np.where(missing, self.shift(prior), residual)
        own = HEARD * (np.arange(self.heard.size) == label)
        if self.windows < prior.most:
            return Voice(self.windows + 1, self.sums + residual, self.heard + own)
        kept = (values - divide(values, np.int64(prior.most)) for values in (self.sums, self.heard))
        sums, heard = kept
        return Voice(self.windows, sums + residual, heard + own)

    def to_bytes(self, identity: bytes) -> bytes:
        """Return the bytes that are stored, for a model of this identity."""
        body = _HEADER.pack(_MAGIC, _VERSION, 0, self.windows, identity)
        body += self.heard.astype("<u2").tobytes() + self.sums.astype("<i2").tobytes()
        body += bytes(len(body) % 4)
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, stored: bytes, prior: VoicePrior, identity: bytes) -> Voice:
        """Read stored bytes. Raises SerqError if they are damaged, or of another model or runtime."""
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
        if len(stored) != stored_bytes(prior) or windows > prior.most:
            raise SerqError("the voice is damaged; calibrate again")
        voice = cls.in_memory(stored, prior)
        if np.abs(voice.sums).max() > RESIDUAL_MAX * windows or voice.heard.max() > HEARD * windows:
            raise SerqError("the voice is damaged; calibrate again")
        return voice

    @classmethod
    def in_memory(cls, stored: bytes, prior: VoicePrior) -> Voice:
        """Read the bytes of a voice that the runtime has in memory: nothing is checked."""
        windows = _HEADER.unpack_from(stored)[3]
        classes, features = prior.means.shape
        heard = np.frombuffer(stored, "<u2", classes, _HEADER.size)
        sums = np.frombuffer(stored, "<i2", features, _HEADER.size + heard.nbytes)
        return cls(windows, sums.astype(np.int64), heard.astype(np.int64))


def stored_bytes(prior: VoicePrior) -> int:
    """Return the bytes of a voice for a model with this prior, in memory and stored."""
    body = _HEADER.size + 2 * sum(prior.means.shape)
    return body + body % 4 + _CRC.size


def divide(sums: NDArray[np.int64], count: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    """Divide and round to nearest, ties away from zero."""
    quotient: NDArray[np.int64] = np.sign(sums) * ((2 * np.abs(sums) + count) // (2 * count))
    return quotient
