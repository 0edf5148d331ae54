"""What a package outside serq-mcu adds: each function registers one thing, and refuses it in a sentence.

Call them from a function that the entry point group `serq_mcu` names, or from a script before serq-mcu is
used.
"""

from __future__ import annotations

from serq_mcu.frontend.blocks import FeatureBlock, Kind, register

__all__ = ["FeatureBlock", "register_block"]


def register_block(cls: Kind) -> Kind:
    """Add a kind of feature block, a frozen dataclass derived from FeatureBlock; usable as a decorator.

    Raises SerqError, naming the block, if a part is missing or its kind is taken.
    """
    return register(cls)
