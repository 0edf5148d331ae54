"""Kinds of layers, a file each: integers, proofs, lowering from floats, packing, costs, and the C call."""

from serq_mcu.layers.base import FLOAT_LAYERS, LAYERS, FloatLayer, Grid, Layer
from serq_mcu.layers.dense import DenseLayer, FloatDense

__all__ = ["FLOAT_LAYERS", "LAYERS", "DenseLayer", "FloatDense", "FloatLayer", "Grid", "Layer"]
