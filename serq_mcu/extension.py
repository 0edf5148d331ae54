"""What an extension adds from outside: feature blocks, layers, layouts, chip families, boards.

Each function registers one thing, or refuses it in a sentence. A script calls them itself. An installed
package names a function without arguments in its entry point group `serq_mcu`, which calls them; it runs
once, when the first of its things is looked for.
"""

from serq_mcu.boards.board import register_boards
from serq_mcu.boards.family import register_family
from serq_mcu.frontend.blocks import FeatureBlock
from serq_mcu.frontend.blocks import register as register_block
from serq_mcu.layers.base import register_layer
from serq_mcu.layers.kernels import register_layout

__all__ = [
    "FeatureBlock",
    "register_block",
    "register_boards",
    "register_family",
    "register_layer",
    "register_layout",
]
