"""What a kind of layer is: integers with their proofs, the C that computes them, and their floats.

One file of this room holds all that is known of a kind. A model, the code generator, the cost model and the
quantization use layers through the classes here and never ask of which kind one is. An extension adds a kind
with `serq_mcu.extension.register_layer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import CPart
from serq_mcu.base.registry import Registry
from serq_mcu.errors import SerqError
from serq_mcu.layers.encodings import Width
from serq_mcu.layers.kernels import Core, CostStage, Storage
from serq_mcu.layers.packing import Part

ACTIVATION_MAX = 127
MAX_WIDTH = 4096
MAX_SEQUENCE = 32768  # values of a sequence between two layers
Floats = NDArray[np.float64]
Tuned = Mapping[str, NDArray[np.float32]]


class LayerStage(NamedTuple):
    """Integers that a layer shows the harness: what they are, and their C type without `_t`.

    They come in so many events of a decision, of as many integers each.
    """

    name: str
    type: str
    events: int = 1


class Matrix(NamedTuple):
    """Weights of a float layer that are given a width of their own.

    name: which of a layer's several; inputs and outputs of its products, and how often these are computed for
    an answer; parameters: weights and biases that the width counts for; weights: those whose variance shows
    how much they matter (importance).
    """

    name: str
    inputs: int
    outputs: int
    repeats: int
    parameters: int
    weights: Floats


class Grid(NamedTuple):
    """What activations 0..127 stand for: `scale * (activation - zero)`."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Memory:
    """What a layer works in.

    Bytes of its input and its output, padding included, int32 accumulators, whether it needs the kernels'
    table, and further bytes while it computes.
    """

    input_bytes: int
    output_bytes: int
    accumulators: int
    table: bool
    work_bytes: int = 0


@dataclass(frozen=True)
class Operands:
    """C expressions for a layer's memory.

    uint8_t pointers `input` and `output` (empty after the last layer), int32_t `accumulators`, the kernels'
    `table`, and the uint8_t pointer `work`, at a multiple of 8. matrix: which one
    it is, of a layer of several.
    """

    number: int
    input: str
    output: str
    accumulators: str = "accumulators"
    table: str = "table"
    work: str = "work"
    matrix: str = ""

    def stage(self, name: str) -> str:
        """Name a stage of this layer as the model's table does."""
        return " ".join(filter(None, ("layer", str(self.number), self.matrix, name)))

    @property
    def suffix(self) -> str:
        """What names of the layer's tables end with, so that they are its own."""
        return "_".join(filter(None, (str(self.number), self.matrix)))


class Layer(ABC):
    """A layer of a quantized model.

    Subclasses are frozen, and prove their bounds when they are made.

    A layer takes activations 0..127 and gives activations, or, as the last of a model, scores.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Activations that it takes."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Activations or scores that it gives."""

    @property
    def sums(self) -> int:
        """Accumulators that it sums up at a time; the C compiler checks that there is room."""
        return self.outputs

    @property
    def work(self) -> int:
        """Bytes that it writes of its further ones; the C compiler checks that there is room."""
        return 0

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Weights and biases; a layer of none has no width."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits that a weight is stored in."""

    @property
    @abstractmethod
    def width(self) -> Width:
        """What was asked for: bits of a weight, or ternary."""

    @property
    def matrices(self) -> tuple[Layer, ...]:
        """What has a width each: the layer, if it has weights."""
        return (self,) if self.parameters else ()

    @property
    def weight_bits(self) -> int:
        """Bits of all weights and biases, as the paper counts them."""
        return self.parameters * self.bits

    @property
    @abstractmethod
    def gives_scores(self) -> bool:
        """Whether it can only be the last layer of a model, and must be."""

    @property
    @abstractmethod
    def accumulator_bound(self) -> int:
        """A magnitude that no accumulator exceeds, nor any partial sum in any order of summation."""

    @property
    @abstractmethod
    def output_grid(self) -> Grid:
        """What its outputs stand for; of scores, with zero 0."""

    # ---- the model file

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """Return the values for the model file's JSON header, without the kind."""

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays for the model file by name."""

    @classmethod
    @abstractmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Layer:
        """Make the layer of `header()` and `tensors()` again.

        Raises SerqError if a bound fails; KeyError or TypeError where something is missing or of a wrong
        type.
        """

    # ---- the integers

    @abstractmethod
    def stages(self) -> tuple[LayerStage, ...]:
        """Return the stages that it shows the harness, in order."""

    @abstractmethod
    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute the integers [..., n] of each of `stages` from activations [..., inputs].

        The last are the layer's outputs. This is the reference that C equals.
        """

    def answer(self, activations: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the outputs [..., outputs] alone: a layer with large stages need not keep them all."""
        return self.run(activations)[-1]

    @abstractmethod
    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64 [..., outputs], neither rounded nor saturated above."""

    @abstractmethod
    def dequantized(self, zero: int) -> FloatLayer:
        """Make the float layer whose weights are what these integers stand for; zero: of the input's grid."""

    # ---- the code

    @abstractmethod
    def choose(self, core: Core, allowed: frozenset[str], storage: Storage) -> tuple[Part, ...] | None:
        """Choose the cheapest kernels among those allowed on a core; None if these do not suffice."""

    def kernel_cost(self, core: Core, parts: tuple[Part, ...]) -> float:
        """Return the time of these kernels on a core, in its unit."""
        return core.cost(parts, self.inputs, self.outputs)

    @abstractmethod
    def packed_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed weights for the chosen kernels."""

    @abstractmethod
    def constant_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes that it stores beside the packed weights: biases, scales."""

    @property
    @abstractmethod
    def stored_bytes(self) -> int:
        """All bytes that a device keeps for it, rows of weights not padded."""

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """What it works in."""

    @abstractmethod
    def code(self, operands: Operands, parts: tuple[Part, ...]) -> CPart:
        """Write the C that computes it, with its packed weights."""

    @abstractmethod
    def cost_stages(self, number: int, parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return what its computation costs, stage by stage."""


class FloatLayer(ABC):
    """A layer of a float network, with what follows it up to the next layer (such as a ReLU).

    Frozen.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Values that it takes."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Values that it gives."""

    @property
    def repeated(self) -> tuple[int, int, int]:
        """Inputs and outputs of its products, and how often they are computed for an answer."""
        return self.inputs, self.outputs, 1

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Weights and biases; a layer of none is given no width."""

    @property
    @abstractmethod
    def weights(self) -> Floats:
        """The weights whose variance shows how much the layer matters (importance)."""

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """What is given a width each: the layer, if it has weights."""
        if not self.parameters:
            return ()
        return (Matrix("", *self.repeated, self.parameters, self.weights),)

    @abstractmethod
    def tensors(self) -> dict[str, Floats]:
        """Return the arrays for the run folder by name."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], *, last: bool) -> FloatLayer:
        """Make the layer of `tensors()` again; last: nothing follows it."""

    @abstractmethod
    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute what `lower` fits (before the activation function) and the outputs [n, outputs].

        x: inputs [n, inputs].
        """

    @abstractmethod
    def lower(self, width: Width, activations: NDArray[np.int64], grid: Grid, target: Floats) -> Layer:
        """Make the integer layer of a width, fitted to what the layers before it really deliver.

        activations: integers [n, inputs] of calibration clips on `grid`; target: what `forward` gives for the
        same clips. Raises SerqError if a bound cannot be proved.
        """

    def start(self, lowered: Layer, zero: int) -> Tuned:
        """Return what fine-tuning changes, as float32 by name: where `lowered` stands, with float weights.

        lowered: this layer in integers; zero: of the input's grid. A kind that has a twin in training has
        this and `tuned`. Raises SerqError if this one has none.
        """
        del lowered, zero
        raise self.not_tuned()

    def tuned(self, values: Tuned, width: Width, grid: Grid) -> Layer:
        """Write a fine-tuned layer down as integers.

        values: those of `start`, as they were trained, of an input on `grid`. Raises SerqError if a bound
        cannot be proved, or if this kind has no twin in training.
        """
        del values, width, grid
        raise self.not_tuned()

    def not_tuned(self) -> SerqError:
        """Return the refusal to fine-tune a layer of this kind."""
        return SerqError(f"a layer {self.kind} cannot be fine-tuned; set quantization.fine_tune = false")


LAYERS: Registry[type[Layer]] = Registry("layer kind")
FLOAT_LAYERS: Registry[type[FloatLayer]] = Registry("kind of float layer")


def register_layer(layer: type[Layer], floats: type[FloatLayer] | None = None) -> None:
    """Add a kind of layer, and the float layer of the same kind that is lowered to it, if there is one.

    Raises SerqError, naming the kind, if it lacks a part or the name is taken.
    """
    kind = getattr(layer, "kind", layer.__name__)
    for part in (layer, floats):
        missing = sorted(getattr(part, "__abstractmethods__", ()))
        require(
            not missing,
            f"layer kind {kind!r} lacks {', '.join(missing)}; add what serq_mcu/layers/base.py names",
        )
    same = floats is None or floats.kind == kind
    require(same, f"layer kind {kind!r} has a float layer of another kind; give both the same")
    LAYERS.register(kind, layer)
    if floats is not None:
        FLOAT_LAYERS.register(kind, floats)


def require(condition: object, message: str) -> None:
    """Raise SerqError with the message unless the condition holds."""
    if not condition:
        raise SerqError(message)


def frozen_array(owner: object, name: str, kind: type[np.generic], dimensions: int) -> NDArray[Any]:
    """Replace a frozen owner's array by a read-only copy of the right type, and return it.

    Raises SerqError if type or dimensions are wrong.
    """
    array = np.asarray(getattr(owner, name))
    require(
        array.dtype == kind and array.ndim == dimensions,
        f"{name} must be a {dimensions}-dimensional {np.dtype(kind).name} array",
    )
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    object.__setattr__(owner, name, copy)
    return copy


def within(array: NDArray[Any], low: int, high: int) -> bool:
    """Tell whether there are values and all are within low to high."""
    return array.size > 0 and int(array.min()) >= low and int(array.max()) <= high
