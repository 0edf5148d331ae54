"""The float network as numpy sees it: standardised features, dense layers, ReLU between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError

UNINFORMATIVE = (
    2.0**20
)  # the standard deviation given to a feature that does not vary: whatever arrives stays next to 0
CLIP = 4.0  # standard deviations: beyond them a feature saturates, on the device and in training


@dataclass(frozen=True)
class FloatNetwork:
    """kernels [inputs, outputs] and biases [outputs] per layer; mean and sd [features] of pooled features
    in device units.

    Raises SerqError if shapes do not fit each other or a number is not finite.
    """

    kernels: tuple[NDArray[np.float64], ...]
    biases: tuple[NDArray[np.float64], ...]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not self.kernels or len(self.kernels) != len(self.biases):
            raise SerqError("a network needs as many biases as kernels, and at least one")
        width = self.mean.size
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if kernel.ndim != 2 or kernel.shape[0] != width or bias.shape != (kernel.shape[1],):
                raise SerqError(f"layer {index} of the network does not fit the layer before it")
            if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise SerqError(
                    f"layer {index} of the network holds numbers that are not finite; train again"
                )
            width = kernel.shape[1]
        if self.sd.shape != self.mean.shape or not np.isfinite(self.mean).all() or not (self.sd > 0).all():
            raise SerqError("the network's feature means and standard deviations do not fit each other")

    @property
    def parameters(self) -> tuple[int, ...]:
        """Weights and biases of each layer."""
        return tuple(kernel.size + bias.size for kernel, bias in zip(self.kernels, self.biases, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Features, neurons of each hidden layer, classes."""
        return (self.mean.size, *(bias.size for bias in self.biases))

    def standardise(self, pooled: NDArray[np.integer]) -> NDArray[np.float64]:
        """Pooled features [n, features] to standard deviations, clipped."""
        return standardise(pooled, self.mean, self.sd)

    def logits(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits [n, classes] of standardised features [n, features]."""
        return self.preactivations(standardised)[-1]

    def classify(self, standardised: NDArray[np.float64]) -> NDArray[np.intp]:
        """Label indices [...] of standardised features [..., features]."""
        labels: NDArray[np.intp] = np.argmax(self.logits(standardised), axis=-1)
        return labels

    def preactivations(self, standardised: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """What each layer [n, outputs] computes before its ReLU; the last are the logits."""
        found, x = [], standardised
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            found.append(x @ kernel + bias)
            x = np.maximum(found[-1], 0)
        return found


def standardise(
    pooled: NDArray[np.integer], mean: NDArray[np.float64], sd: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pooled features [..., features] to standard deviations, clipped."""
    return np.clip((pooled - mean) / sd, -CLIP, CLIP)


def standardisation(pooled: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation [features] of training features [n, features], in device units.

    A feature that varies by less than half a unit says nothing; its deviation is set so large that it stays
    at 0.
    """
    sd = pooled.std(axis=0)
    return pooled.mean(axis=0), np.where(sd < 0.5, UNINFORMATIVE, sd)
