"""How much a layer matters, after Shinde, Jain and Sharma.

The paper is "Layer-Importance guided Adaptive Quantization for Efficient Speech Emotion Recognition".
Importance(l) = alpha * N_P(l) + (1 - alpha) * N_V(l), with N_P the layer's share of all parameters and N_V =
log(e - 1 + Var(l) / max Var) of the float kernel's variance. Margin(l) = T_margin * Importance(l).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serq_mcu.config import QuantizationConfig
from serq_mcu.quantization.network import FloatNetwork


@dataclass(frozen=True)
class LayerImportance:
    """The terms of a layer's importance, or of a matrix's where a layer has several.

    layer: its number in the network; matrix: which of several, else empty. Rank 0 is the most important;
    margin is the validation accuracy that it may cost, as a fraction.
    """

    layer: int
    parameter_share: float
    variance: float
    variance_term: float
    importance: float
    rank: int
    margin: float
    matrix: str = ""


def layer_importance(network: FloatNetwork, config: QuantizationConfig) -> tuple[LayerImportance, ...]:
    """Compute the terms of each matrix that is given a width, in layer order."""
    variances = [float(np.var(matrix.weights)) for matrix in network.matrices]
    shares = [count / sum(network.parameters) for count in network.parameters]
    terms = [math.log(math.e - 1 + variance / max(variances)) for variance in variances]
    alpha = config.alpha
    scores = [alpha * share + (1 - alpha) * term for share, term in zip(shares, terms, strict=True)]
    order = sorted(range(len(scores)), key=lambda layer: (-scores[layer], layer))
    places = [(index, of.name) for index, layer in enumerate(network.layers) for of in layer.matrices]
    return tuple(
        LayerImportance(
            places[layer][0],
            shares[layer],
            variances[layer],
            terms[layer],
            scores[layer],
            order.index(layer),
            config.margin * scores[layer],
            places[layer][1],
        )
        for layer in range(len(scores))
    )
