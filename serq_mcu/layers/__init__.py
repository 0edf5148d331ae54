"""Kinds of layers, a file each: integers, proofs, lowering from floats, packing, costs, and the C call."""

from serq_mcu.layers.base import FLOAT_LAYERS, LAYERS, FloatLayer, Grid, Layer
from serq_mcu.layers.conv1d import Conv1DLayer, FloatConv1D
from serq_mcu.layers.dense import DenseLayer, FloatDense
from serq_mcu.layers.depthwise import DepthwiseLayer, FloatDepthwise
from serq_mcu.layers.gru import FloatGru, GruLayer
from serq_mcu.layers.lstm import FloatLstm, LstmLayer
from serq_mcu.layers.pooling import AttentionLayer, FloatAttention, FloatPooling, PoolingLayer
from serq_mcu.layers.windows import Windows

__all__ = [
    "FLOAT_LAYERS",
    "LAYERS",
    "AttentionLayer",
    "Conv1DLayer",
    "DenseLayer",
    "DepthwiseLayer",
    "FloatAttention",
    "FloatConv1D",
    "FloatDense",
    "FloatDepthwise",
    "FloatGru",
    "FloatLayer",
    "FloatLstm",
    "FloatPooling",
    "Grid",
    "GruLayer",
    "Layer",
    "LstmLayer",
    "PoolingLayer",
    "Windows",
]
