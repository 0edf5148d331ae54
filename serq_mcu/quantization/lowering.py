"""Float network and widths to the integer model: layer by layer, each fitted to what the layers before it
really deliver.

Post-training, without gradients. For each layer, on calibration clips run through the already quantized
front:

1. the kernel's fields come from the quantizer (least squared error);
2. the accumulator's unit is refitted by least squares to the float network's pre-activations, which repairs
   the gain that few
   bits lose, and the bias is set so that each neuron's mean is the float network's (bias correction, Nagel et
   al. 2019);
3. the activation's scale, the value of a step of 0..127, minimises clipping and rounding error together.

A network that was fine-tuned with its quantizers in place (training/qat.py) brings its scales and steps along
and is only written down as integers.
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
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.quantizer import Ordered, fields, quantize
from serq_mcu.quantized_model.interpreter import accumulate, quantize_input, requantize
from serq_mcu.quantized_model.types import (
    ACTIVATION_MAX,
    ENCODINGS,
    INPUT_STEPS_PER_SD,
    INPUT_ZERO_POINT,
    DenseLayer,
    InputQuantization,
    QuantizedModel,
    Width,
    encoding_of,
)

Floats = NDArray[np.float64]

_CLIPPING = np.linspace(0.2, 1.0, 33)  # activation ranges tried, as parts of the largest value
_BIAS_MAX = (
    2.0**24
)  # steps; leaves the accumulator's bound to the weights, and matters only for layers without any signal


@dataclass(frozen=True)
class TunedNetwork:
    """A network with its quantization: widths in bits; per layer a kernel [inputs, outputs], a bias
    [outputs] and the kernel's scale; per hidden layer the value of a step of its output. Everything
    float32, as it was trained.
    """

    widths: tuple[Width, ...]
    kernels: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    scales: tuple[np.float32, ...]
    steps: tuple[np.float32, ...]


class Lowering:
    """Makes the integer model of any widths from one float network; kernels are quantized once per width.

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
        self._targets = network.preactivations(network.standardise(calibration))
        self._quantized: dict[tuple[int, Width], tuple[NDArray[np.uint8], float]] = {}

    def model(self, widths: Sequence[Width], provenance: dict[str, Any] | None = None) -> QuantizedModel:
        """The integer model with a width for each layer.

        Raises SerqError if one of its bounds cannot be proved.
        """
        layers: list[DenseLayer] = []
        activations, scale, zero = self._inputs, 1 / INPUT_STEPS_PER_SD, INPUT_ZERO_POINT
        for index, bits in enumerate(widths):
            last = index == len(widths) - 1
            layer = _lower_layer(
                self._fields(index, bits), bits, activations, scale, zero, self._targets[index], last
            )
            layers.append(layer)
            if not last:
                activations, scale, zero = (
                    requantize(layer, accumulate(layer, activations)),
                    _output_scale(layer),
                    0,
                )
        return QuantizedModel(
            self._spec,
            self._tables,
            self._input,
            tuple(layers),
            self._labels,
            _unit(layers[-1]),
            provenance or {},
        )

    def start(self, widths: Sequence[Width]) -> TunedNetwork:
        """Where fine-tuning begins: the float kernels with the scales, biases and steps of `model`."""
        layers = self.model(widths).layers
        biases = dequantized_biases(layers)
        return TunedNetwork(
            tuple(widths),
            tuple(kernel.astype(np.float32) for kernel in self.network.kernels),
            tuple(bias.astype(np.float32) for bias in biases),
            tuple(np.float32(layer.weight_scale) for layer in layers),
            tuple(np.float32(_output_scale(layer)) for layer in layers[:-1]),
        )

    def tuned_model(self, tuned: TunedNetwork, provenance: dict[str, Any] | None = None) -> QuantizedModel:
        """The integer model of a fine-tuned network.

        Raises SerqError if one of its bounds cannot be proved.
        """
        layers: list[DenseLayer] = []
        scale, zero = 1 / INPUT_STEPS_PER_SD, INPUT_ZERO_POINT
        for index, (bits, kernel, bias, weight_scale) in enumerate(
            zip(tuned.widths, tuned.kernels, tuned.biases, tuned.scales, strict=True)
        ):
            u = fields(kernel.T, bits, weight_scale)  # in float32, as it was trained
            step = float(tuned.steps[index]) if index < len(tuned.steps) else None
            layers.append(
                _integer_layer(
                    u, bits, float(weight_scale) * scale / 2, bias.astype(np.float64), scale, zero, step
                )
            )
            scale, zero = (scale, zero) if step is None else (_output_scale(layers[-1]), 0)
        return QuantizedModel(
            self._spec,
            self._tables,
            self._input,
            tuple(layers),
            self._labels,
            _unit(layers[-1]),
            provenance or {},
        )

    def device_inputs(self, pooled: NDArray[np.integer]) -> Floats:
        """The standard deviations [..., features] that integer inputs stand for."""
        return _input_values(self._input, pooled)

    def _fields(self, index: int, bits: Width) -> tuple[NDArray[np.uint8], float]:
        if (index, bits) not in self._quantized:
            self._quantized[index, bits] = quantize(self.network.kernels[index].T, bits)
        return self._quantized[index, bits]


def device_inputs(model: QuantizedModel, pooled: NDArray[np.integer]) -> Floats:
    """The standard deviations [..., features] that the model's integer inputs stand for."""
    return _input_values(model.input, pooled)


def _input_values(constants: InputQuantization, pooled: NDArray[np.integer]) -> Floats:
    return (quantize_input(constants, pooled) - INPUT_ZERO_POINT) / INPUT_STEPS_PER_SD


def dequantized(model: QuantizedModel, network: FloatNetwork) -> FloatNetwork:
    """The float network with the model's quantized weights and biases: integer weights, but float
    activations.
    """
    kernels = tuple(layer.weight_scale / 2 * layer.q.T.astype(np.float64) for layer in model.layers)
    return FloatNetwork(kernels, dequantized_biases(model.layers), network.mean, network.sd)


def dequantized_biases(layers: Sequence[DenseLayer]) -> tuple[Floats, ...]:
    """What each layer's biases [outputs] stand for, the input's zero point taken out."""
    zeros = [
        INPUT_ZERO_POINT * layer.q.sum(axis=1) if index == 0 else 0 for index, layer in enumerate(layers)
    ]
    return tuple(
        _unit(layer) * (layer.bias.astype(np.int64) + zero) for layer, zero in zip(layers, zeros, strict=True)
    )


def _input_constants(network: FloatNetwork) -> InputQuantization:
    ratios = [_ratio(INPUT_STEPS_PER_SD / float(sd), multiplier_max=2047, shift_max=31) for sd in network.sd]
    center = np.rint(network.mean)
    if np.abs(center).max() > 2**19:
        raise SerqError(
            "a feature's mean is outside what the device's input holds; train again on other recordings"
        )
    multipliers, shifts = zip(*ratios, strict=True)
    return InputQuantization(
        center.astype(np.int32), np.array(multipliers, dtype=np.uint16), np.array(shifts, dtype=np.uint8)
    )


def _lower_layer(
    quantized: tuple[NDArray[np.uint8], float],
    bits: Width,
    activations: NDArray[np.int64],
    scale: float,
    zero: int,
    target: Floats,
    last: bool,
) -> DenseLayer:
    """One layer from its fields and weight scale, the integer activations that reach it, and the float
    pre-activations it should give.
    """
    u, weight_scale = quantized
    q = _odd(u, encoding_of(bits))
    sums = (activations - zero).astype(np.float64) @ q.T.astype(np.float64)
    unit = _fitted_unit(sums, target) or scale * weight_scale / 2
    bias = (target - unit * sums).mean(axis=0)
    least = float(np.abs(bias).max()) / _BIAS_MAX
    if unit <= least or unit == 0:  # no signal: any unit will do in which the bias can be written
        unit = least or 1.0
        bias = (target - unit * sums).mean(axis=0)
    return _integer_layer(
        u, bits, unit, bias, scale, zero, None if last else _activation_scale(unit * sums + bias, unit)
    )


def _integer_layer(
    u: NDArray[np.uint8], bits: Width, unit: float, bias: Floats, scale: float, zero: int, step: float | None
) -> DenseLayer:
    """A layer from its fields, the value of a step of its accumulator, of its input and (None: the last
    layer) of its output.
    """
    encoding = encoding_of(bits)
    q = _odd(u, encoding)
    steps = (np.rint(bias / unit).astype(np.int64) - zero * q.sum(axis=1)).astype(np.int32)
    multiplier, shift = (
        (None, None) if step is None else _ratio(unit / step, multiplier_max=2**24 - 1, shift_max=24)
    )
    return DenseLayer(u, steps, encoding, multiplier, shift, weight_scale=2 * unit / scale, input_scale=scale)


def _odd(u: NDArray[np.uint8], encoding: str) -> NDArray[np.int64]:
    """DenseLayer.q of fields."""
    q: NDArray[np.int64] = 2 * u.astype(np.int64) - (ENCODINGS[encoding].levels - 1)
    return q


def _fitted_unit(sums: Floats, target: Floats) -> float:
    """The value of an accumulator step that explains the float pre-activations best, means aside; 0 where
    none does.
    """
    centred = sums - sums.mean(axis=0)
    power = float(np.square(centred).sum())
    return max(0.0, float((centred * target).sum()) / power) if power > 0 else 0.0


def _activation_scale(values: Floats, unit: float) -> float:
    """The step that costs pre-activations [n, outputs] least when their positive part becomes 0..127."""
    kept = Ordered(values[values > 0])
    largest = float(values.max())
    if largest <= 0:  # no neuron of the layer ever fires
        return float(np.abs(values).max()) / ACTIVATION_MAX or unit
    steps = largest / ACTIVATION_MAX * _CLIPPING
    levels = np.arange(ACTIVATION_MAX + 1.0)
    errors = [kept.excess(step, step * (levels[1:] - 0.5), levels) for step in steps]
    return float(steps[int(np.argmin(errors))])


def _ratio(value: float, multiplier_max: int, shift_max: int) -> tuple[int, int]:
    """(multiplier, shift) with multiplier / 2^shift next to `value`: the largest shift that the
    multiplier's range allows.
    """
    for shift in range(shift_max, 0, -1):
        multiplier = round(value * 2**shift)
        if multiplier <= multiplier_max:
            return max(multiplier, 1), shift
    raise SerqError(f"a requantization by {value:g} is outside the device's range; train again")


def _unit(layer: DenseLayer) -> float:
    """What a step of the layer's accumulator stands for."""
    return layer.input_scale * layer.weight_scale / 2


def _output_scale(layer: DenseLayer) -> float:
    """What a step of the layer's output stands for, exactly as its multiplier and shift make it."""
    assert layer.multiplier is not None and layer.shift is not None
    return _unit(layer) * 2.0**layer.shift / layer.multiplier
