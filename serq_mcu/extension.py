"""What an extension can add from outside the package: layers, layouts of weights, chip families and boards.

A script calls these functions itself. An installed package names a function without arguments in its entry
point group `serq_mcu`, which calls them; it runs once, when the first of its things is looked for.
"""

from serq_mcu.boards.board import register_boards
from serq_mcu.boards.family import register_family
from serq_mcu.layers.base import register_layer
from serq_mcu.layers.kernels import register_layout

__all__ = ["register_boards", "register_family", "register_layer", "register_layout"]
