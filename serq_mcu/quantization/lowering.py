"""Float network and widths to the integer model: layer by layer, each fitted to what those before it deliver.

Each kind of layer lowers itself (serq_mcu/layers). A network that was fine-tuned with its quantizers
in place (training/qat.py) brings its scales and steps along and is only written down as integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.layers import DenseLayer, Layer
from serq_mcu.layers.dense import requantization, tuned_layer
from serq_mcu.layers.encodings import NO_WIDTH, Width
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
    """A multilayer perceptron with its quantization, all float32 as it was trained.

    Widths in bits; per layer a kernel [inputs, outputs], a bias [outputs] and the kernel's scale; per hidden
    layer the value of a step of its output. epochs: of fine-tuning until it was so.
    """

    widths: tuple[Width, ...]
    kernels: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    scales: tuple[np.float32, ...]
    steps: tuple[np.float32, ...]
    epochs: int = 0


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

    def of(self, network: FloatNetwork, calibration: NDArray[np.int32]) -> Lowering:
        """Return what lowers another network of the same features and labels."""
        return Lowering(network, calibration, self._spec, self._tables, self._labels)

    def model(self, widths: Sequence[Width], provenance: dict[str, Any] | None = None) -> QuantizedModel:
        """Make the integer model with a width for each layer that has weights.

        Raises SerqError if a bound cannot be proved.
        """
        layers: list[Layer] = []
        activations, grid = self._inputs, INPUT_GRID
        given = iter(widths)
        for layer, target in zip(self.network.layers, self._targets, strict=True):
            width = next(given) if layer.parameters else NO_WIDTH
            layers.append(layer.lower(width, activations, grid, target))
            if len(layers) < len(self.network.layers):
                activations, grid = layers[-1].answer(activations), layers[-1].output_grid
        return self._model(layers, provenance)

    def start(self, widths: Sequence[Width]) -> TunedNetwork:
        """Return where fine-tuning begins: the float kernels with the scales, biases and steps of `model`."""
        layers = _dense(self.model(widths).layers)
        zeros = [INPUT_GRID.zero] + [0] * (len(layers) - 1)
        biases = [layer.dequantized_bias(zero) for layer, zero in zip(layers, zeros, strict=True)]
        return TunedNetwork(
            tuple(widths),
            tuple(layer.kernel.astype(np.float32) for layer in self.network.dense),
            tuple(bias.astype(np.float32) for bias in biases),
            tuple(np.float32(layer.weight_scale) for layer in layers),
            tuple(np.float32(layer.output_grid.scale) for layer in layers[:-1]),
        )

    def tuned_model(self, tuned: TunedNetwork, provenance: dict[str, Any] | None = None) -> QuantizedModel:
        """Make the integer model of a fine-tuned network.

        Raises SerqError if a bound cannot be proved.
        """
        layers: list[Layer] = []
        grid = INPUT_GRID
        steps = [*map(float, tuned.steps), None]
        for parts in zip(tuned.kernels, tuned.biases, tuned.widths, tuned.scales, steps, strict=True):
            kernel, bias, width, scale, step = parts
            layers.append(tuned_layer(kernel, bias, width, scale, grid, step))
            grid = layers[-1].output_grid
        return self._model(layers, provenance)

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
    zeros = [INPUT_GRID.zero, *(layer.output_grid.zero for layer in model.layers[:-1])]
    layers = (layer.dequantized(zero) for layer, zero in zip(model.layers, zeros, strict=True))
    return FloatNetwork(tuple(layers), network.mean, network.sd)


def _dense(layers: Sequence[Layer]) -> list[DenseLayer]:
    return [layer for layer in layers if isinstance(layer, DenseLayer)]


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
