"""The dense layer: 1 to 8 bits or ternary weights, ReLU between layers (SPEC.md sections 3 and 4).

Lowering is post-training, without gradients. On calibration clips run through the already quantized front:

1. the kernel's fields come from the quantizer (least squared error);
2. the accumulator's unit is refitted by least squares to the float layer's pre-activations, which repairs the
   gain that few bits lose, and the bias is set so that each neuron's mean is the float network's (bias
   correction, Nagel et al. 2019);
3. the activation's scale, the value of a step of 0..127, minimises clipping and rounding error together.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CArray, CPart, Step, Trace
from serq_mcu.base.validation import check_types
from serq_mcu.errors import SerqError
from serq_mcu.frontend.arithmetic import rshift_round
from serq_mcu.layers.base import (
    ACTIVATION_MAX,
    FLOAT_LAYERS,
    LAYERS,
    MAX_WIDTH,
    FloatLayer,
    Floats,
    Grid,
    Layer,
    LayerStage,
    Memory,
    Operands,
    Tuned,
    frozen_array,
    require,
    within,
)
from serq_mcu.layers.encodings import ENCODINGS, TERNARY, Width, encoding_of, width_label
from serq_mcu.layers.kernels import Core, CostStage, Storage, cheapest_parts, terms
from serq_mcu.layers.packing import GROUP, PackedBias, Part, Shape, pack_bias, whole_groups
from serq_mcu.layers.quantizer import Ordered, fields, quantize

CONSTANT_BYTES = 8  # base of the biases 4, multiplier 3, shift 1
_CLIPPING = np.linspace(0.2, 1.0, 33)  # activation ranges tried, as parts of the largest value
_BIAS_MAX = (
    2.0**24
)  # steps; leaves the accumulator's bound to the weights, and matters only without any signal
_STAGES = LayerStage("accumulator", "int32"), LayerStage("output", "uint8")


@dataclass(frozen=True)
class DenseLayer(Layer):
    """A dense layer in integers.

    Fields u uint8 [outputs, inputs]; bias int32 [outputs] with the input's zero point folded in; multiplier
    and shift requantize the accumulator to 0..127 and are None in the last layer; weight_scale and
    input_scale (real units per step) are for reading, not for computing. Raises SerqError when a bound of
    SPEC.md section 5 fails.
    """

    kind: ClassVar[str] = "dense"

    u: NDArray[np.uint8]
    bias: NDArray[np.int32]
    encoding: str
    multiplier: int | None
    shift: int | None
    weight_scale: float
    input_scale: float

    def __post_init__(self) -> None:
        check_types(self, "a dense layer: ")
        require(self.weight_scale > 0 and self.input_scale > 0, "a layer's scales must be positive")
        require(self.encoding in ENCODINGS, f"unknown weight encoding {self.encoding!r}")
        frozen_array(self, "u", np.uint8, 2)
        frozen_array(self, "bias", np.int32, 1)
        shape = f"a layer of {self.inputs}x{self.outputs}"
        fits = 1 <= self.inputs <= MAX_WIDTH and 1 <= self.outputs <= MAX_WIDTH
        require(fits, f"{shape} is outside 1..{MAX_WIDTH}")
        require(self.bias.size == self.outputs, f"{self.bias.size} biases for {self.outputs} outputs")
        require(within(self.u, 0, self.levels - 1), f"a weight field does not fit {width_label(self.width)}")
        require((self.multiplier is None) == (self.shift is None), "multiplier and shift go together")
        if self.multiplier is not None and self.shift is not None:
            in_range = 1 <= self.multiplier < 2**24 and 1 <= self.shift <= 24
            require(in_range, f"requantization {self.multiplier} >> {self.shift} is out of range")
        require(
            self.accumulator_bound < 2**31,
            f"an accumulator of {shape} can reach {self.accumulator_bound}, more than 32 bits hold",
        )

    @property
    def bits(self) -> int:
        """Bits of a field."""
        return ENCODINGS[self.encoding].bits

    @property
    def levels(self) -> int:
        """Number of values that a weight can have; its field is below it."""
        return ENCODINGS[self.encoding].levels

    @property
    def width(self) -> Width:
        """Bits of a field, or TERNARY."""
        return TERNARY if self.encoding == TERNARY else self.bits

    @property
    def inputs(self) -> int:
        """Number of inputs of each neuron (fan-in)."""
        return int(self.u.shape[1])

    @property
    def outputs(self) -> int:
        """Number of neurons."""
        return int(self.u.shape[0])

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.u.size + self.outputs

    @property
    def gives_scores(self) -> bool:
        """Whether it is the last layer, which has no requantization."""
        return self.multiplier is None

    @property
    def q(self) -> NDArray[np.int64]:
        """Signed weights 2u - (levels - 1) in half steps, shape [outputs, inputs]."""
        return signed(self.u, self.encoding)

    @functools.cached_property
    def _weights(self) -> Floats:
        """The signed weights as float64 [inputs, outputs], for exact matrix products."""
        return self.q.T.astype(np.float64)

    @property
    def accumulator_bound(self) -> int:
        """A magnitude that no accumulator exceeds, nor any partial sum in any order of summation."""
        reach: int = self.inputs * ACTIVATION_MAX * (self.levels - 1)
        return reach + int(np.abs(self.bias.astype(np.int64)).max())

    @property
    def unit(self) -> float:
        """What a step of the accumulator stands for."""
        return self.input_scale * self.weight_scale / 2

    @property
    def output_grid(self) -> Grid:
        """What its outputs stand for, exactly as multiplier and shift make them; of scores, the unit."""
        if self.multiplier is None or self.shift is None:
            return Grid(self.unit, 0)
        return Grid(self.unit * 2.0**self.shift / self.multiplier, 0)

    def header(self) -> dict[str, Any]:
        """Return the values for the model file's JSON header."""
        names = ("encoding", "multiplier", "shift", "weight_scale", "input_scale")
        sizes = {"inputs": self.inputs, "outputs": self.outputs}
        return sizes | {name: getattr(self, name) for name in names}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return fields and biases."""
        return {"u": self.u, "bias": self.bias}

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> DenseLayer:
        """Make the layer of `header()` and `tensors()` again.

        Raises SerqError if a bound fails.
        """
        names = ("encoding", "multiplier", "shift", "weight_scale", "input_scale")
        return cls(tensors["u"], tensors["bias"], **{name: header[name] for name in names})

    def stages(self) -> tuple[LayerStage, ...]:
        """Return the stages: accumulators and, except in the last layer, outputs."""
        return _STAGES[:1] if self.gives_scores else _STAGES

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute accumulators and, except in the last layer, outputs from activations [..., inputs]."""
        accumulators = self.accumulate(activations)
        return (accumulators,) if self.gives_scores else (accumulators, self.requantize(accumulators))

    def accumulate(self, activations: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute accumulators [..., outputs], exactly."""
        # float64 matrix products are exact here: every partial sum is an integer below 2^31
        # (accumulator_bound)
        return (activations.astype(np.float64) @ self._weights).astype(np.int64) + self.bias

    def requantize(self, accumulators: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the next layer's activations 0..127: ReLU, scale, saturation."""
        assert self.multiplier is not None and self.shift is not None
        return np.clip(rshift_round(accumulators * self.multiplier, self.shift), 0, ACTIVATION_MAX)

    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64; activations are saturated as they are read."""
        sums: Floats = np.clip(activations, 0, ACTIVATION_MAX) @ self._weights + self.bias
        if self.multiplier is None or self.shift is None:
            return sums
        return sums * self.multiplier / 2.0**self.shift

    def dequantized(self, zero: int) -> FloatDense:
        """Make the float layer whose weights and biases are what these integers stand for."""
        kernel = self.weight_scale / 2 * self.q.T.astype(np.float64)
        return FloatDense(kernel, self.dequantized_bias(zero), relu=not self.gives_scores)

    def dequantized_bias(self, zero: int) -> Floats:
        """Return what the biases [outputs] stand for, the input's zero point taken out."""
        bias: Floats = self.unit * (self.bias.astype(np.int64) + (zero * self.q.sum(axis=1) if zero else 0))
        return bias

    def choose(self, core: Core, allowed: frozenset[str], storage: Storage) -> tuple[Part, ...] | None:
        """Choose the cheapest kernels among those allowed on a core; None if these do not suffice."""
        return cheapest_parts(self.inputs, self.outputs, self.bits, core, allowed, storage)

    def packed_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed weights for the chosen kernels."""
        return sum(part.packed_bytes(self.inputs, self.outputs) for part in parts)

    def constant_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed biases and the constants of the requantization."""
        return self.packed_bias(parts).array.nbytes + CONSTANT_BYTES

    @property
    def stored_bytes(self) -> int:
        """All bytes that a device keeps for it, rows of weights not padded."""
        weights = self.outputs * Shape(self.inputs, 1, 8).padded_inputs * self.bits // 8
        return weights + pack_bias(self.bias).array.nbytes + CONSTANT_BYTES

    @property
    def memory(self) -> Memory:
        """Bytes of inputs and outputs in whole groups, accumulators in whole blocks of rows, the table."""
        inputs, outputs = whole_groups(self.inputs), whole_groups(self.outputs)
        return Memory(inputs, outputs, outputs, table=True)

    def code(self, operands: Operands, parts: tuple[Part, ...]) -> CPart:
        """Write the calls: start, a kernel for each part, requantization; with biases and packed weights."""
        number, shape = operands.suffix, (self.inputs, self.outputs)
        bias, x = self.packed_bias(parts), operands.input
        name = f"serq_bias{number}"
        title = f"Layer {operands.number}: {self.inputs} inputs, {self.outputs} outputs, {self.bits} bits"
        arrays = [CArray(name, bias.array, title)]
        start = (name, bias.base, self.start_factor(parts), *shape, x, operands.accumulators)
        steps: list[Step] = [Call(f"serq_dense_start{bias.bits}", start)]
        for part in parts:
            weights = f"serq_weights{number}_{part.first}"
            title = f"bits {part.first} to {part.first + part.bits - 1} in layout {part.layout.name}"
            arrays.append(CArray(weights, part.pack(self.u), title))
            given = (weights, *shape, part.first, x, operands.table, operands.accumulators)
            steps.append(Call(f"serq_dense_{part.kernel}", given))
        steps.append(Trace(operands.stage("accumulator"), operands.accumulators, self.outputs, "int32_t"))
        steps += self._requantization(operands)
        headers = tuple(dict.fromkeys(name for part in parts for name in part.layout.headers))
        sources = tuple(dict.fromkeys(path for part in parts for path in part.layout.sources))
        return CPart(tuple(steps), tuple(arrays), headers, sources)

    def _requantization(self, operands: Operands) -> list[Step]:
        if self.multiplier is None or self.shift is None:
            return []
        to = operands.output
        given = (operands.accumulators, self.outputs, self.multiplier, self.shift, to)
        return [Call("serq_requantize", given), Trace(operands.stage("output"), to, self.outputs, "uint8_t")]

    def cost_stages(self, number: int, parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return what start and kernels cost together, and the requantization."""
        kernels = " + ".join(part.kernel for part in parts)
        name = f"layer {number}: {self.inputs}x{self.outputs}, {width_label(self.width)}, {kernels}"
        bits = self.packed_bias(parts).bits
        start = "start 24" if bits == 24 else "start"
        calls = (f"serq_dense_start{bits}", *(f"serq_dense_{part.kernel}" for part in parts))
        called = tuple((part.kernel, terms(part.layout, self.inputs, self.outputs)) for part in parts)
        own = (self.outputs, -(-self.inputs // GROUP), 1)
        products = CostStage("decision", name, start, own, called, calls)
        if self.multiplier is None or self.shift is None:
            return (products,)
        long = self.multiplier << 2 >> self.shift == 0  # what serq_requantize() tells apart
        cost = "requantize" if long else "requantize large"
        title = f"layer {number}: ReLU, requantization"
        rest = CostStage("decision", title, cost, (self.outputs, 1), calls=("serq_requantize",))
        return products, rest

    def start_factor(self, parts: tuple[Part, ...]) -> int:
        """Return what serq_dense_start…() multiplies the sum of the activations by."""
        factor: int = sum(2**part.first for part in parts if part.layout.zero_bit)
        return factor - (self.levels - 1)

    def packed_bias(self, parts: tuple[Part, ...]) -> PackedBias:
        """Compute what serq_dense_start…() starts from, modulo 2^32.

        That is the bias, less what kernels add for zero bits.
        """
        bias = self.bias.astype(np.int64)
        for part in parts:
            if part.layout.zero_bit:
                zeros = (self.u >> part.first & 1 == 0).sum(axis=1)
                bias -= 2**part.first * part.layout.zero_bit * zeros
        return pack_bias(bias.astype(np.int32))


class OfDense(Layer):
    """A layer on a sequence whose products are those of one dense layer, computed again and again."""

    dense: DenseLayer

    @property
    @abstractmethod
    def repeats(self) -> int:
        """How often they are computed for a decision."""

    @property
    def bits(self) -> int:
        """Bits of a field."""
        return self.dense.bits

    @property
    def width(self) -> Width:
        """Bits of a field, or TERNARY."""
        return self.dense.width

    @property
    def gives_scores(self) -> bool:
        """Never."""
        return False

    @property
    def accumulator_bound(self) -> int:
        """A magnitude that no accumulator exceeds, nor any partial sum."""
        return self.dense.accumulator_bound

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return fields and biases."""
        return self.dense.tensors()

    def choose(self, core: Core, allowed: frozenset[str], storage: Storage) -> tuple[Part, ...] | None:
        """Choose the cheapest kernels; None if those allowed do not suffice."""
        return self.dense.choose(core, allowed, storage)

    def kernel_cost(self, core: Core, parts: tuple[Part, ...]) -> float:
        """Return the time of the kernels, all repeats together."""
        return self.repeats * self.dense.kernel_cost(core, parts)

    def packed_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed weights for the chosen kernels."""
        return self.dense.packed_bytes(parts)

    def constant_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed biases and of further constants."""
        return self.dense.constant_bytes(parts)

    @property
    def stored_bytes(self) -> int:
        """All bytes that a device keeps for it, rows of weights not padded."""
        return self.dense.stored_bytes


@dataclass(frozen=True, eq=False)
class FloatDense(FloatLayer):
    """kernel [inputs, outputs] and bias [outputs]; relu: a ReLU follows (after all but the last layer).

    Raises SerqError if shapes do not fit each other or a number is not finite.
    """

    kind: ClassVar[str] = "dense"

    kernel: Floats
    bias: Floats
    relu: bool = True
    _quantized: dict[Width, tuple[NDArray[np.uint8], float]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        fits = self.kernel.ndim == 2 and self.bias.shape == (self.kernel.shape[1],)
        require(fits, f"a kernel of shape {self.kernel.shape} does not fit biases {self.bias.shape}")
        finite = bool(np.isfinite(self.kernel).all() and np.isfinite(self.bias).all())
        require(finite, "it holds numbers that are not finite; train again")

    @property
    def inputs(self) -> int:
        """Number of inputs of each neuron (fan-in)."""
        return int(self.kernel.shape[0])

    @property
    def outputs(self) -> int:
        """Number of neurons."""
        return int(self.kernel.shape[1])

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.kernel.size + self.bias.size

    @property
    def weights(self) -> Floats:
        """The kernel, without the biases."""
        return self.kernel

    def tensors(self) -> dict[str, Floats]:
        """Return kernel and bias."""
        return {"kernel": self.kernel, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], *, last: bool) -> FloatDense:
        """Make the layer of `tensors()` again."""
        return cls(tensors["kernel"], tensors["bias"], relu=not last)

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute pre-activations and outputs [n, outputs]."""
        found = x @ self.kernel + self.bias
        return found, np.maximum(found, 0) if self.relu else found

    def lower(self, width: Width, activations: NDArray[np.int64], grid: Grid, target: Floats) -> DenseLayer:
        """Make the integer layer of a width; the module explains how.

        Fields are computed once per width.
        """
        if width not in self._quantized:
            self._quantized[width] = quantize(self.kernel.T, width)
        u, weight_scale = self._quantized[width]
        q = signed(u, encoding_of(width)).T.astype(np.float64)
        sums = (activations - grid.zero).astype(np.float64) @ q
        return fitted_layer(u, width, weight_scale, sums, grid, target, relu=self.relu)

    def start(self, lowered: DenseLayer, zero: int) -> Tuned:  # type: ignore[override]
        """Return kernel, bias, the kernel's scale, and the step of the output if there is a ReLU."""
        values = {
            "kernel": self.kernel.astype(np.float32),
            "bias": lowered.dequantized_bias(zero).astype(np.float32),
            "kernel_scale": np.array(lowered.weight_scale, np.float32),
        }
        step = {"output_step": np.array(lowered.output_grid.scale, np.float32)}
        return values | step if self.relu else values

    def tuned(self, values: Tuned, width: Width, grid: Grid) -> DenseLayer:
        """Write a fine-tuned layer down as integers."""
        step = float(values["output_step"]) if self.relu else None
        return tuned_layer(
            values["kernel"], values["bias"], width, np.float32(values["kernel_scale"]), grid, step
        )


LAYERS.register(DenseLayer.kind, DenseLayer)
FLOAT_LAYERS.register(FloatDense.kind, FloatDense)


def fitted_layer(
    u: NDArray[np.uint8],
    width: Width,
    weight_scale: float,
    sums: Floats,
    grid: Grid,
    target: Floats,
    *,
    relu: bool,
) -> DenseLayer:
    """Make the integer layer of fields [outputs, inputs] whose sums [n, outputs] stand for `target`.

    sums: of the signed weights times activations less the grid's zero. Raises SerqError if a bound cannot be
    proved.
    """
    unit = _fitted_unit(sums, target) or grid.scale * weight_scale / 2
    bias = (target - unit * sums).mean(axis=0)
    least = float(np.abs(bias).max()) / _BIAS_MAX
    if unit <= least or unit == 0:  # no signal: any unit will do in which the bias can be written
        unit = least or 1.0
        bias = (target - unit * sums).mean(axis=0)
    step = _activation_scale(unit * sums + bias, unit) if relu else None
    return _integer_layer(u, width, unit, bias, grid, step)


def tuned_layer(
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    width: Width,
    weight_scale: np.float32,
    grid: Grid,
    step: float | None,
) -> DenseLayer:
    """Make the integer layer of a kernel [inputs, outputs] that was fine-tuned with its quantizers in place.

    weight_scale: of the kernel; step: of the output, None for the last layer. Everything is as it was
    trained, in float32. Raises SerqError if a bound cannot be proved.
    """
    u = fields(kernel.T, width, weight_scale)
    unit = float(weight_scale) * grid.scale / 2
    return _integer_layer(u, width, unit, bias.astype(np.float64), grid, step)


def requantization(value: float, multiplier_max: int, shift_max: int) -> tuple[int, int]:
    """Find (multiplier, shift) with multiplier / 2^shift next to `value`, for the largest possible shift.

    Raises SerqError if there are none.
    """
    for shift in range(shift_max, 0, -1):
        multiplier = round(value * 2**shift)
        if multiplier <= multiplier_max:
            return max(multiplier, 1), shift
    raise SerqError(f"a requantization by {value:g} is outside the device's range; train again")


def _integer_layer(
    u: NDArray[np.uint8], width: Width, unit: float, bias: Floats, grid: Grid, step: float | None
) -> DenseLayer:
    """Make a layer from its fields and the values of a step of its accumulator and of its output.

    step: None for scores, which are not requantized.
    """
    encoding = encoding_of(width)
    zeros = grid.zero * signed(u, encoding).sum(axis=1)
    steps = (np.rint(bias / unit).astype(np.int64) - zeros).astype(np.int32)
    multiplier, shift = (None, None) if step is None else requantization(unit / step, 2**24 - 1, 24)
    return DenseLayer(u, steps, encoding, multiplier, shift, 2 * unit / grid.scale, grid.scale)


def signed(u: NDArray[np.uint8], encoding: str) -> NDArray[np.int64]:
    """Return the signed weights 2u - (levels - 1), in half steps."""
    q: NDArray[np.int64] = 2 * u.astype(np.int64) - (ENCODINGS[encoding].levels - 1)
    return q


def _fitted_unit(sums: Floats, target: Floats) -> float:
    """Find the value of an accumulator step that explains the float pre-activations best, means aside.

    Returns 0 where none does.
    """
    centred = sums - sums.mean(axis=0)
    power = float(np.square(centred).sum())
    return max(0.0, float((centred * target).sum()) / power) if power > 0 else 0.0


def _activation_scale(values: Floats, unit: float) -> float:
    """Find the step that costs pre-activations [n, outputs] least when their positive part becomes 0..127."""
    kept = Ordered(values[values > 0])
    largest = float(values.max())
    if largest <= 0:  # no neuron of the layer ever fires
        return float(np.abs(values).max()) / ACTIVATION_MAX or unit
    steps = largest / ACTIVATION_MAX * _CLIPPING
    levels = np.arange(ACTIVATION_MAX + 1.0)
    errors = [kept.excess(step, step * (levels[1:] - 0.5), levels) for step in steps]
    return float(steps[int(np.argmin(errors))])
