"""Feature blocks: one file a kind, with all that is known of it; `BLOCKS` finds the class of a `kind`."""

from __future__ import annotations

from typing import TypeVar

from serq_mcu.base.registry import Registry
from serq_mcu.errors import SerqError
from serq_mcu.frontend.blocks.base import FeatureBlock, check_kind
from serq_mcu.frontend.blocks.chroma import Chroma
from serq_mcu.frontend.blocks.energy import Energy
from serq_mcu.frontend.blocks.mel import Mel
from serq_mcu.frontend.blocks.mfcc import Mfcc
from serq_mcu.frontend.blocks.pitch import F0, Voicing
from serq_mcu.frontend.stages import LEVEL_STAGE, MEL_STAGES, PITCH_STAGES, SPECTRAL_STAGES

__all__ = ["BLOCKS", "F0", "Chroma", "Energy", "FeatureBlock", "Mel", "Mfcc", "Voicing", "register"]

BLOCKS: Registry[type[FeatureBlock]] = Registry("feature block")
_STAGES = (*SPECTRAL_STAGES, *MEL_STAGES, LEVEL_STAGE, *PITCH_STAGES)
_RESERVED = {*_STAGES, "pooled", "input", "scores"} - {"mel"}
Kind = TypeVar("Kind", bound=type[FeatureBlock])


def register(cls: Kind) -> Kind:
    """Add a kind of block; usable as a decorator.

    Raises SerqError if a part is missing or the kind is taken or names another stage.
    """
    check_kind(cls)
    if cls.kind in _RESERVED:
        raise SerqError(f"feature block {cls.kind!r} has the name of a stage; give it another")
    BLOCKS.register(cls.kind, cls)
    return cls


for _kind in (Mfcc, Mel, Chroma, Energy, F0, Voicing):
    register(_kind)
