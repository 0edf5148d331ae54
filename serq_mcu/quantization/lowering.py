"""Float network and widths to the integer model: layer by layer, each fitted to what those before it deliver.

Each kind of layer lowers itself (serq_mcu/layers). A network that was fine-tuned with its quantizers
in place (training/qat.py) brings its scales and steps along and is only written down as integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.layers import Layer
from serq_mcu.layers.base import Grid, Tuned
from serq_mcu.layers.dense import requantization
from serq_mcu.layers.encodings import Width, joined_width
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantized_model.interpreter import quantize_input
from serq_mcu.quantized_model.types import (
    INPUT_GRID,
    INPUT_STEPS_PER_SD,
    INPUT_ZERO_POINT,
    InputQuantization,
    QuantizedModel,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TunedNetwork:
    """A network with its quantization, all float32 as it was trained.

    Widths of all matrices; of each layer the values by name that `FloatLayer.start` gives. epochs: of
    fine-tuning until it was so.
    """

    widths: tuple[Width, ...]
    values: tuple[Tuned, ...]
    epochs: int = 0


class _Made(NamedTuple):
    """A layer that was lowered to a width, and its activations uint8 [n, outputs] for calibration clips."""

    width: Width
    layer: Layer
    given: NDArray[np.uint8] | None


class Lowering:
    """A maker of integer models of any widths from one float network.

    calibration: pooled features int32 [n, features] of training clips.
    """

    def __init__(
        self,
        network: FloatNetwork,
        calibration: NDArray[np.int32],
        spec: FeatureSpec,
        tables: FrontendTables,
        labels: Sequence[str],
    ) -> None:
        self.network = network
        self._spec, self._tables, self._labels = spec, tables, tuple(labels)
        self._input = _input_constants(network)
        self._inputs = quantize_input(self._input, calibration)
        self._targets = network.targets(network.standardise(calibration))
        self._made: list[_Made] = []  # the layers of the last model: the first ones may serve the next

    def of(self, network: FloatNetwork, calibration: NDArray[np.int32]) -> Lowering:
        """Return what lowers another network of the same features and labels."""
        return Lowering(network, calibration, self._spec, self._tables, self._labels)

    def model(self, widths: Sequence[Width], provenance: dict[str, Any] | None = None) -> QuantizedModel:
        """Make the integer model with a width for each layer that has weights, or each of its matrices.

        Raises SerqError if a bound cannot be proved.
        """
        each = self._by_layer(widths)
        kept = [known.width == width for known, width in zip(self._made, each, strict=False)]
        del self._made[(*kept, False).index(False) :]
        wanted = zip(self.network.layers, each, self._targets, strict=True)
        for layer, width, target in itertools.islice(wanted, len(self._made), None):
            activations, grid = self._arriving()
            lowered = layer.lower(width, activations, grid, target)
            last = len(self._made) == len(self.network.layers) - 1
            given = None if last else lowered.answer(activations).astype(np.uint8)
            self._made.append(_Made(width, lowered, given))
        return self._model([made.layer for made in self._made], provenance)

    def _arriving(self) -> tuple[NDArray[np.int64], Grid]:
        """Return the activations of calibration clips that the next layer takes, and their grid."""
        if not self._made:
            return self._inputs, INPUT_GRID
        made = self._made[-1]
        assert made.given is not None
        return made.given.astype(np.int64), made.layer.output_grid

    def start(self, widths: Sequence[Width]) -> TunedNetwork:
        """Return where fine-tuning begins: the float kernels with the scales, biases and steps of `model`."""
        layers = self.model(widths).layers
        each = zip(self.network.layers, layers, input_zeros(layers), strict=True)
        return TunedNetwork(tuple(widths), tuple(layer.start(lowered, zero) for layer, lowered, zero in each))

    def tuned_model(self, tuned: TunedNetwork, provenance: dict[str, Any] | None = None) -> QuantizedModel:
        """Make the integer model of a fine-tuned network.

        Raises SerqError if a bound cannot be proved.
        """
        layers: list[Layer] = []
        grid = INPUT_GRID
        each = self._by_layer(tuned.widths)
        for layer, width, values in zip(self.network.layers, each, tuned.values, strict=True):
            layers.append(layer.tuned(values, width, grid))
            grid = layers[-1].output_grid
        return self._model(layers, provenance)

    def _by_layer(self, widths: Sequence[Width]) -> list[Width]:
        """Return the width of each layer, of one of several matrices as in `8+2`."""
        given = iter(widths)
        return [joined_width([next(given) for _ in layer.matrices]) for layer in self.network.layers]

    def _model(self, layers: Sequence[Layer], provenance: dict[str, Any] | None) -> QuantizedModel:
        scale = layers[-1].output_grid.scale
        parts = self._spec, self._tables, self._input, tuple(layers), self._labels
        return QuantizedModel(*parts, scale, provenance or {})

    def device_inputs(self, pooled: NDArray[np.integer]) -> Floats:
        """Compute the standard deviations [..., features] that integer inputs stand for."""
        return _input_values(self._input, pooled)


def device_inputs(model: QuantizedModel, pooled: NDArray[np.integer]) -> Floats:
    """Compute the standard deviations [..., features] that the model's integer inputs stand for."""
    return _input_values(model.input, pooled)


def _input_values(constants: InputQuantization, pooled: NDArray[np.integer]) -> Floats:
    return (quantize_input(constants, pooled) - INPUT_ZERO_POINT) / INPUT_STEPS_PER_SD


def dequantized(model: QuantizedModel, network: FloatNetwork) -> FloatNetwork:
    """Make the float network of the model's quantized weights and biases: activations are floats."""
    zeros = input_zeros(model.layers)
    layers = (layer.dequantized(zero) for layer, zero in zip(model.layers, zeros, strict=True))
    return FloatNetwork(tuple(layers), network.mean, network.sd)


def input_zeros(layers: Sequence[Layer]) -> list[int]:
    """Return the zero point of each layer's input."""
    return [INPUT_GRID.zero, *(layer.output_grid.zero for layer in layers[:-1])]


def _input_constants(network: FloatNetwork) -> InputQuantization:
    ratios = [requantization(INPUT_STEPS_PER_SD / float(sd), 2047, 31) for sd in network.sd]
    center = np.rint(network.mean)
    if np.abs(center).max() > 2**19:
        raise SerqError(
            "a feature's mean is outside what the device's input holds; train again on other recordings"
        )
    multipliers, shifts = zip(*ratios, strict=True)
    return InputQuantization(
        center.astype(np.int32), np.array(multipliers, dtype=np.uint16), np.array(shifts, dtype=np.uint8)
    )
