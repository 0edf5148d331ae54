"""The float network as numpy sees it: standardised features, and layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.sequence import by_frame
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers import FloatDense, FloatLayer
from serq_mcu.layers.base import Matrix

UNINFORMATIVE = 2.0**20  # the standard deviation given to a feature that does not vary: it stays next to 0
_COLUMNS = 32  # whose mean and deviation are computed at a time
CLIP = 4.0  # standard deviations: beyond them a feature saturates, on the device and in training
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FloatNetwork:
    """Layers, and mean and sd [coefficients] of the features in device units.

    All frames of a sequence share them. Raises SerqError if shapes do not fit each other or a number is not
    finite.
    """

    layers: tuple[FloatLayer, ...]
    mean: Floats
    sd: Floats

    def __post_init__(self) -> None:
        if not self.layers:
            raise SerqError("a network needs at least one layer")
        width = self.features
        if width % self.mean.size:
            raise SerqError("the network's first layer does not fit the features")
        for index, layer in enumerate(self.layers):
            if layer.inputs != width:
                raise SerqError(f"layer {index} of the network does not fit the layer before it")
            width = layer.outputs
        if self.sd.shape != self.mean.shape or not np.isfinite(self.mean).all() or not (self.sd > 0).all():
            raise SerqError("the network's feature means and standard deviations do not fit each other")

    @classmethod
    def mlp(
        cls,
        kernels: Sequence[Floats],
        biases: Sequence[Floats],
        mean: Floats,
        sd: Floats,
        first: Sequence[FloatLayer] = (),
    ) -> FloatNetwork:
        """Make a multilayer perceptron, with a ReLU after every layer except the last.

        kernels [inputs, outputs], biases [outputs]; first: layers before them. Raises SerqError as the class
        does.
        """
        if len(kernels) != len(biases):
            raise SerqError("a network needs as many biases as kernels")
        layers = [*first]
        for index, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            try:
                layers.append(FloatDense(kernel, bias, relu=index < len(kernels) - 1))
            except SerqError as error:
                raise SerqError(f"layer {index} of the network: {error}") from error
        return cls(tuple(layers), mean, sd)

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """What is given a width each: the layers that have weights, or each matrix of one of several."""
        return tuple(matrix for layer in self.layers for matrix in layer.matrices)

    @property
    def parameters(self) -> tuple[int, ...]:
        """Weights and biases of each matrix."""
        return tuple(matrix.parameters for matrix in self.matrices)

    @property
    def features(self) -> int:
        """Features that the network reads: those of all frames of a sequence."""
        return self.layers[0].inputs

    @property
    def shape(self) -> tuple[int, ...]:
        """Features, outputs of each layer."""
        return (self.features, *(layer.outputs for layer in self.layers))

    @property
    def dense(self) -> tuple[FloatDense, ...]:
        """The dense layers."""
        return tuple(layer for layer in self.layers if isinstance(layer, FloatDense))

    def standardise(self, pooled: NDArray[np.integer]) -> Floats:
        """Turn pooled features [n, features] into standard deviations, clipped."""
        return standardise(pooled, self.mean, self.sd)

    def logits(self, standardised: Floats) -> Floats:
        """Compute logits [n, classes] of standardised features [n, features]."""
        return self.targets(standardised)[-1]

    def classify(self, standardised: Floats) -> NDArray[np.intp]:
        """Compute label indices [...] of standardised features [..., features]."""
        labels: NDArray[np.intp] = np.argmax(self.logits(standardised), axis=-1)
        return labels

    def targets(self, standardised: Floats) -> list[Floats]:
        """Compute what each layer [n, outputs] gives before its activation function.

        The last are the logits.
        """
        found, x = [], standardised
        for layer in self.layers:
            target, x = layer.forward(x)
            found.append(target)
        return found


def standardise(pooled: NDArray[np.integer], mean: Floats, sd: Floats) -> Floats:
    """Turn pooled features [..., features] into standard deviations, clipped; 0 for what is missing."""
    rows = by_frame(pooled, mean.size)
    found = np.where(rows == MISSING, 0.0, np.clip((rows - mean) / sd, -CLIP, CLIP))
    return found.reshape(pooled.shape)


def standardisation(pooled: NDArray[np.integer], coefficients: int | None = None) -> tuple[Floats, Floats]:
    """Compute mean and standard deviation [coefficients] of features [..., features], in device units.

    coefficients: of a frame of a sequence, which all frames share; without it each feature is of its own.
    What is missing is left out. A feature that varies by less than half a unit carries no information; its
    deviation is set so large that it stays at 0.
    """
    coefficients = coefficients or pooled.shape[-1]
    frames = pooled.reshape(*pooled.shape[:-1], -1, coefficients)
    ends = np.linspace(0, coefficients, -(-coefficients // _COLUMNS) + 1).astype(int)
    of_columns = [  # copies of few at a time
        _mean_and_deviation(frames[..., first:end].reshape(-1, end - first))
        for first, end in itertools.pairwise(ends)
    ]
    mean, sd = (np.concatenate(values) for values in zip(*of_columns, strict=True))
    return mean, np.where(sd < 0.5, UNINFORMATIVE, sd)


def _mean_and_deviation(rows: NDArray[np.integer]) -> tuple[Floats, Floats]:
    known = np.ma.masked_equal(rows, MISSING)
    mean, sd = (np.ma.filled(values, 0.0) for values in (known.mean(axis=0), known.std(axis=0)))
    return mean, sd
