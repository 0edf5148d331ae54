"""What a feature vector is: the frozen specification that training, model file and firmware share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import MIN_FRAMES, Analysis, require
from serq_mcu.frontend.blocks import BLOCKS, Chroma, FeatureBlock, Mel, Mfcc
from serq_mcu.frontend.stages import LEVEL_STAGE, MEL_STAGES, PITCH_STAGES, SPECTRAL_STAGES

MAX_SEQUENCE = 4096  # features of a sequence: a sum of 16 * v over all of them fits int32


def _speech235() -> tuple[FeatureBlock, ...]:
    return (Mfcc(40, loudness=False), Mel(40, ("sd", "delta_sd")), Chroma())


@dataclass(frozen=True)
class FeatureSpec(Analysis):
    """The front end's parameters (SPEC.md section 2).

    That is the analysis of frames, and feature blocks, pooled in the order given. With `sequence_frames` the
    features are no statistics but the values of the last so many frames, oldest first. Raises SerqError when
    a value is out of range, or blocks do not go together.
    """

    name: str = "speech235"
    blocks: tuple[FeatureBlock, ...] = field(default_factory=_speech235)
    sequence_frames: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < len(self.name) <= 64, "the specification's name must be 1 to 64 characters")
        kinds = [block.kind for block in self.blocks]
        require(bool(kinds), "a specification needs at least one feature block")
        require(len(set(kinds)) == len(kinds), f"a feature kind may be named once, not {', '.join(kinds)}")
        for block in self.blocks:
            misfit = block.misfit(self)
            require(misfit is None, misfit or "")
            fits = bool(block.statistics) != bool(self.sequence_frames)
            need = "none in a sequence of frames" if self.sequence_frames else "at least one"
            require(fits, f"{block.kind}: statistics {list(block.statistics)} must be {need}")
        if self.sequence_frames:
            require(
                self.sequence_frames >= MIN_FRAMES and self.feature_count <= MAX_SEQUENCE,
                f"a sequence of {self.sequence_frames} frames of {self.coefficients} coefficients must have"
                f" at least {MIN_FRAMES} frames and at most {MAX_SEQUENCE} values",
            )
        destroyers: dict[str, str] = {}
        for block in self.blocks:
            if block.destroys and (other := destroyers.setdefault(block.reads, block.kind)) != block.kind:
                raise SerqError(
                    f"the blocks {other} and {block.kind} both overwrite the frame's {block.reads}; use one"
                    " of them"
                )

    @property
    def uses_mel(self) -> bool:
        """Whether a block is made from mel bands."""
        return any(block.reads == "log" for block in self.blocks)

    @property
    def uses_pitch(self) -> bool:
        """Whether a block is made from pitch and voicing."""
        return any(block.reads == "pitch" for block in self.blocks)

    @property
    def order(self) -> tuple[FeatureBlock, ...]:
        """The blocks as a frame computes them: those that destroy what they read come last."""
        return tuple(sorted(self.blocks, key=lambda block: block.destroys))

    @property
    def needs_total(self) -> bool:
        """Whether the sum of all bins' powers is needed: by a block, the pitch, or as the level."""
        needed = self.uses_pitch or any(block.needs_total for block in self.blocks)
        return needed or not self.uses_mel

    @property
    def frame_stages(self) -> tuple[str, ...]:
        """The stages of a frame, in the order of computation."""
        mel = MEL_STAGES if self.uses_mel else ()
        pitch = PITCH_STAGES if self.uses_pitch else ()
        return (
            *SPECTRAL_STAGES,
            *mel,
            LEVEL_STAGE,
            *pitch,
            *(stage for block in self.order for stage in block.own_stages),
        )

    def block(self, kind: str) -> FeatureBlock | None:
        """Return the block of a kind, if there is one."""
        return next((block for block in self.blocks if block.kind == kind), None)

    @property
    def coefficients(self) -> int:
        """Features that differ in kind: those of a frame of a sequence, or all statistics."""
        if self.sequence_frames:
            return sum(len(block.sequence_range) for block in self.blocks)
        return sum(block.feature_count for block in self.blocks)

    @property
    def feature_count(self) -> int:
        """Length of the feature vector."""
        return self.coefficients * max(self.sequence_frames, 1)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name per feature, in vector order: `mfcc3 sd`, or of a sequence's oldest frame `mfcc3 @0`."""
        if not self.sequence_frames:
            return tuple(name for block in self.blocks for name in block.feature_names)
        names = [f"{block.kind}{index}" for block in self.blocks for index in block.sequence_range]
        return tuple(f"{name} @{frame}" for frame in range(self.sequence_frames) for name in names)

    def place_in_sequence(self, block: FeatureBlock) -> int:
        """Return where a block's values begin in a frame of a sequence."""
        return sum(len(other.sequence_range) for other in self.blocks[: self.blocks.index(block)])

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the model file and configuration; `sequence_frames` only if there are."""
        plain = dataclasses.asdict(self) | {"blocks": [block.to_json() for block in self.blocks]}
        return {name: value for name, value in plain.items() if name != "sequence_frames" or value}

    @staticmethod
    def from_json(value: Any) -> FeatureSpec:
        """Make the specification of `to_json`'s values.

        Raises SerqError if a key is unknown, missing or of the wrong type.
        """
        require(isinstance(value, dict), "the feature specification must be a table")
        unknown = set(value) - {f.name for f in dataclasses.fields(FeatureSpec)}
        require(not unknown, f"unknown feature specification key {', '.join(sorted(map(str, unknown)))}")
        plain = dict(value)
        try:
            if "blocks" in plain:
                plain["blocks"] = tuple(_block(item) for item in plain["blocks"])
            return FeatureSpec(**plain)
        except (TypeError, KeyError) as error:
            raise SerqError(f"the feature specification is malformed: {error}") from error


def _block(value: Mapping[str, Any]) -> FeatureBlock:
    """Make the block of `FeatureBlock.to_json`'s values."""
    require(isinstance(value, Mapping), f"the feature block {value!r} must be a table")
    kind = BLOCKS[value["kind"]]
    plain = {key: item for key, item in value.items() if key != "kind"}
    unknown = set(plain) - {f.name for f in dataclasses.fields(kind)}
    require(not unknown, f"{kind.kind}: unknown key {', '.join(sorted(map(str, unknown)))}")
    if "statistics" in plain:
        plain["statistics"] = tuple(plain["statistics"])
    return kind(**plain)
