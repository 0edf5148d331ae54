"""What recurrent layers share: a state that each frame of a sequence changes (SPEC.md section 3).

For each frame two dense layers give the sums of all gates: the input matrix reads the frame, the recurrent
one reads the state before it. Each has a width and a scale of its own; a width for each gate would cut a
matrix into a dense layer a gate. A kind says what the gates do (serq_mcu/layers/gru.py).

The state has 16 bits and is what goes on from frame to frame, so that rounding does not add up. Rounded to
activations it is what the recurrent matrix reads, and what the layer gives.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.csource import Call, CPart, Loop, Step, Trace
from serq_mcu.frontend.arithmetic import Q15, rshift_round
from serq_mcu.layers.base import (
    ACTIVATION_MAX,
    MAX_SEQUENCE,
    FloatLayer,
    Floats,
    Grid,
    Layer,
    LayerStage,
    Matrix,
    Memory,
    Operands,
    Tuned,
    require,
)
from serq_mcu.layers.dense import DenseLayer, FloatDense
from serq_mcu.layers.encodings import Width, joined_width, width_label
from serq_mcu.layers.functions import Q12, Rescale
from serq_mcu.layers.kernels import Core, CostStage, Storage, times
from serq_mcu.layers.packing import Part, whole_groups
from serq_mcu.layers.windows import Windows, clip_by_clip, sequence_memory

ZERO = 64  # the activation of a state of 0
MAX_FRAMES = 4096
_FITTED = 20_000  # frames that a width is fitted to
_OF_A_CLIP = 16  # frames of a clip that a width is fitted to, evenly spaced
_SHIFTS = range(1, 10)  # from a state in Q15 to activations; the last one holds all states


class OverFrames:
    """A layer of `gates` gates and `memories` states a unit, whose first state is what it gives.

    biases: of each gate; where there is one, the recurrent matrix's own only mend what rounding did.

    sequence: it gives the states after all frames; else that after the last one.
    """

    gates: ClassVar[int]
    memories: ClassVar[int]
    biases: ClassVar[int]

    input: DenseLayer | FloatDense
    recurrent: DenseLayer | FloatDense
    frames: int
    sequence: bool

    @property
    def channels(self) -> int:
        """Values of a frame that it takes."""
        return self.input.inputs

    @property
    def units(self) -> int:
        """Values of a state that it gives."""
        return self.recurrent.inputs

    @property
    def inputs(self) -> int:
        """Values of the sequence that it takes."""
        return self.frames * self.channels

    @property
    def outputs(self) -> int:
        """Values of the states that it gives."""
        return self.units * (self.frames if self.sequence else 1)

    @property
    def parameters(self) -> int:
        """Weights of both matrices, and biases."""
        rows = self.gates * self.units
        return rows * (self.channels + self.units + self.biases)

    def require_shapes(self) -> None:
        """Raise SerqError unless both matrices have a row for each gate of each unit."""
        kind = type(self).__name__
        rows = self.gates * self.units
        fits = self.input.outputs == self.recurrent.outputs == rows
        require(fits, f"{kind}: {self.input.outputs} and {self.recurrent.outputs} sums, not {rows}")
        require(type(self.frames) is int and type(self.sequence) is bool, f"{kind}: frames must be a number")
        require(1 <= self.frames <= MAX_FRAMES, f"{kind}: frames must be 1 to {MAX_FRAMES}")
        most = max(self.inputs, self.outputs)
        require(most <= MAX_SEQUENCE, f"{kind}: a sequence of {most} values; {MAX_SEQUENCE} are the most")


@dataclass(frozen=True)
class RecurrentLayer(OverFrames, Layer):
    """A recurrent layer in integers.

    input, recurrent: the sums of all gates, unit after unit, gate after gate, of a frame and of a state's
    activations; input_scale, recurrent_scale: bring these to Q12; shift: of a state in Q15 to activations.
    Raises SerqError when shapes do not fit or a bound fails.
    """

    input: DenseLayer
    recurrent: DenseLayer
    input_scale: Rescale
    recurrent_scale: Rescale
    frames: int
    sequence: bool
    shift: int

    def __post_init__(self) -> None:
        plain = self.input.gives_scores and self.recurrent.gives_scores
        require(plain, f"{self.kind}: the sums of gates are not requantized")
        self.require_shapes()
        require(type(self.shift) is int and self.shift in _SHIFTS, f"{self.kind}: shift must be 1 to 9")
        self.input_scale.require_room(self.input.accumulator_bound)
        self.recurrent_scale.require_room(self.recurrent.accumulator_bound)

    @staticmethod
    @abstractmethod
    def advance(x: NDArray[np.int64], h: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the next state [n, memories * units] from sums [n, gates * units] in Q12."""

    @property
    def matrices(self) -> tuple[DenseLayer, DenseLayer]:
        """What sums up."""
        return self.input, self.recurrent

    @property
    def sums(self) -> int:
        """Accumulators of both matrices, in whole groups, and the state."""
        return self._rows * 2 + self.memories * self.units

    @property
    def _rows(self) -> int:
        return whole_groups(self.gates * self.units)

    @property
    def work(self) -> int:
        """Bytes of the state's activations, in whole groups, and of a frame."""
        return whole_groups(self.units) + self.channels

    @property
    def weight_bits(self) -> int:
        """Bits of all weights and biases, each at its matrix's width."""
        extra = self.gates * self.units * (2 - self.biases)
        return self.input.weight_bits + self.recurrent.weight_bits - extra * self.recurrent.bits

    @property
    def bits(self) -> int:
        """Bits of the wider matrix's fields."""
        return max(matrix.bits for matrix in self.matrices)

    @property
    def width(self) -> Width:
        """Bits of a field, or TERNARY; where the matrices differ both, as `8+2`: input, recurrent."""
        return joined_width([matrix.width for matrix in self.matrices])

    @property
    def gives_scores(self) -> bool:
        """Never."""
        return False

    @property
    def accumulator_bound(self) -> int:
        """A magnitude that no accumulator exceeds, nor any partial sum: that of the larger matrix."""
        return max(matrix.accumulator_bound for matrix in self.matrices)

    @property
    def output_grid(self) -> Grid:
        """What its outputs stand for."""
        return state_grid(self.shift)

    def header(self) -> dict[str, Any]:
        """Return the values for the model file's JSON header."""
        own = {name: getattr(self, name) for name in ("frames", "sequence", "shift")}
        matrices = {"input": self.input.header(), "recurrent": self.recurrent.header()}
        scales = self.input_scale.to_json(), self.recurrent_scale.to_json()
        return own | matrices | dict(zip(("input_scale", "recurrent_scale"), scales, strict=True))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return fields and biases of both matrices."""
        recurrent = {f"recurrent_{name}": array for name, array in self.recurrent.tensors().items()}
        return self.input.tensors() | recurrent

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> RecurrentLayer:
        """Make the layer of `header()` and `tensors()` again. Raises SerqError if a bound fails."""
        recurrent = {name: tensors[f"recurrent_{name}"] for name in ("u", "bias")}
        return cls(
            DenseLayer.from_parts(header["input"], tensors),
            DenseLayer.from_parts(header["recurrent"], recurrent),
            Rescale.from_json(header["input_scale"]),
            Rescale.from_json(header["recurrent_scale"]),
            *(header[name] for name in ("frames", "sequence", "shift")),
        )

    def stages(self) -> tuple[LayerStage, ...]:
        """Return the sums of both matrices and the states, an event for every frame, and the outputs."""
        sums = (LayerStage(f"{name} accumulator", "int32", self.frames) for name in ("input", "recurrent"))
        given = LayerStage("output", "uint8", self.frames if self.sequence else 1)
        return *sums, LayerStage("state", "int32", self.frames), given

    def run(self, activations: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Compute all sums, states and outputs [..., n] from activations [..., inputs]."""
        return clip_by_clip(activations, self._run)

    def answer(self, activations: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the outputs alone: the sums of all gates and frames are many times as large."""
        return clip_by_clip(activations, lambda some: self._run(some)[-1:])[0]

    def _run(self, some: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        state = np.zeros((len(some), self.memories * self.units), np.int64)
        given, found = self.activations(state), []
        sums = self.input.accumulate(some.reshape(-1, self.frames, self.channels))
        for x in np.moveaxis(sums, 1, 0):
            h = self.recurrent.accumulate(given)
            state = self.advance(self.input_scale.run(x), self.recurrent_scale.run(h), state)
            given = self.activations(state)
            found.append((x, h, state, given))
        *rest, last = (np.stack(each, axis=1) for each in zip(*found, strict=True))
        return *rest, last if self.sequence else given

    def activations(self, state: NDArray[np.int64]) -> NDArray[np.int64]:
        """Round states to activations [n, units]."""
        return state_activations(state[:, : self.units], self.shift)

    def run_without_rounding(self, activations: Floats) -> Floats:
        """Compute the same in float64; activations are saturated as they are read."""
        read = self.input.input_scale * np.clip(activations, 0, ACTIVATION_MAX)
        _, states = self.dequantized(0).forward(read)
        return ZERO + states / self.output_grid.scale

    @abstractmethod
    def dequantized(self, zero: int) -> FloatRecurrent:
        """Make the float layer whose weights and biases are what these integers stand for."""

    def dequantized_matrices(self, zero: int) -> tuple[FloatDense, FloatDense]:
        """Make the matrices of `dequantized`."""
        return self.input.dequantized(zero), self.recurrent.dequantized(ZERO)

    def choose(self, core: Core, allowed: frozenset[str], storage: Storage) -> tuple[Part, ...] | None:
        """Choose the cheapest kernels of each matrix, one after another; None if those allowed do not do."""
        found = [matrix.choose(core, allowed, storage) for matrix in self.matrices]
        chosen = [parts for parts in found if parts is not None]
        return tuple(part for parts in chosen for part in parts) if len(chosen) == len(found) else None

    def _each(self, parts: tuple[Part, ...]) -> list[tuple[DenseLayer, tuple[Part, ...]]]:
        """Return each matrix with its parts: the second one's begin at bit 0 again."""
        second = max(index for index, part in enumerate(parts) if part.first == 0)
        return list(zip(self.matrices, (parts[:second], parts[second:]), strict=True))

    def kernel_cost(self, core: Core, parts: tuple[Part, ...]) -> float:
        """Return the time of the kernels on all frames."""
        return self.frames * sum(matrix.kernel_cost(core, own) for matrix, own in self._each(parts))

    def packed_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed weights for the chosen kernels."""
        return sum(matrix.packed_bytes(own) for matrix, own in self._each(parts))

    def constant_bytes(self, parts: tuple[Part, ...]) -> int:
        """Return the bytes of the packed biases and the constants of the rescaling."""
        return sum(matrix.constant_bytes(own) for matrix, own in self._each(parts))

    @property
    def stored_bytes(self) -> int:
        """All bytes that a device keeps for it, rows of weights not padded."""
        return sum(matrix.stored_bytes for matrix in self.matrices)

    @property
    def memory(self) -> Memory:
        """Both sequences, the sums of both matrices and the state, its activations, and a frame."""
        return sequence_memory(self, table=True)

    def code(self, operands: Operands, parts: tuple[Part, ...]) -> CPart:
        """Write a loop over the frames: the sums of both matrices, the next state, its activations."""
        sums, work, counter = operands.accumulators, operands.work, f"frame{operands.number}"
        recurrent, state = f"{sums} + {self._rows}", f"{sums} + {2 * self._rows}"
        room = f"{work} + {whole_groups(self.units)}"
        window = (operands.input, self.frames, self.channels, 1, 1, 1, 0, counter, 0, room)
        made: list[CPart] = []
        steps: list[Step] = [Call("serq_cut_window", window, result="uint8_t *window")]
        names = (
            ("input", "window", sums, self.input_scale),
            ("recurrent", work, recurrent, self.recurrent_scale),
        )
        for (name, x, to, scale), (matrix, own) in zip(names, self._each(parts), strict=True):
            of = replace(operands, matrix=name, input=x, accumulators=to)
            made.append(matrix.code(of, own))
            factor = scale.multiplier, scale.left, scale.right
            steps += [*made[-1].steps, Call("serq_rescale", (to, matrix.outputs, *factor))]
        steps.append(Call(f"serq_{self.kind}", (sums, recurrent, self.units, state)))
        steps.append(Trace(operands.stage("state"), state, self.memories * self.units, "int32_t"))
        row = operands.output
        if self.sequence:
            steps.append(Call("serq_row", (row, self.units, counter), result="uint8_t *row"))
            row = "row"
        steps.append(Call("serq_state_give", (state, self.units, self.shift, work, row)))
        start = Call("serq_state_start", (state, self.memories * self.units, work, self.units))
        output = Trace(operands.stage("output"), row, self.units, "uint8_t")
        whole: tuple[Step, ...] = start, Loop(counter, self.frames, (*steps, output))
        if not self.sequence:
            whole = start, Loop(counter, self.frames, tuple(steps)), output
        headers = ("serq_conv1d.h", "serq_recurrent.h", f"serq_{self.kind}.h")
        return CPart(
            whole,
            tuple(array for part in made for array in part.arrays),
            (*headers, *(name for part in made for name in part.headers)),
            tuple(path for part in made for path in part.sources),
        )

    def cost_stages(self, number: int, parts: tuple[Part, ...]) -> tuple[CostStage, ...]:
        """Return the cost of all frames as one."""
        frames, rows = self.frames, self.gates * self.units
        products = [matrix.cost_stages(number, own)[0] for matrix, own in self._each(parts)]
        kernels = " + ".join(part.kernel for part in parts)
        shape = f"{self.channels} and {self.units}x{rows} on {frames} frames"
        copied = 0 if len(Windows(frames, self.channels, 1).in_place) == frames else frames
        further = (
            ("cut window", (copied * self.channels, copied, frames)),
            ("rescale", (2 * frames * rows, 2 * frames)),
            ("give state", (frames * self.units, frames)),
            *((stage.cost, times(stage.terms, frames)) for stage in products),
        )
        each = "serq_rescale", f"serq_{self.kind}", "serq_state_give"
        calls = "serq_cut_window", *products[0].calls, "serq_rescale", *products[1].calls, *each
        return (
            CostStage(
                "decision",
                f"layer {number}: {self.kind} {shape}, {width_label(self.width)}, {kernels}",
                self.kind,
                (frames * self.units, frames),
                tuple((name, times(terms, frames)) for stage in products for name, terms in stage.kernels),
                ("serq_state_start", *calls * frames),
                further,
            ),
        )


@dataclass(frozen=True, eq=False)
class FloatRecurrent(OverFrames, FloatLayer):
    """A recurrent layer as Keras has it.

    input, recurrent: kernels [channels, gates * units] and [units, gates * units] with their biases. Raises
    SerqError if shapes do not fit each other or a number is not finite.
    """

    integers: ClassVar[type[RecurrentLayer]]

    input: FloatDense
    recurrent: FloatDense
    frames: int
    sequence: bool

    def __post_init__(self) -> None:
        self.require_shapes()

    @classmethod
    def of(
        cls, kernel: Floats, recurrent: Floats, bias: Floats, frames: int, *, sequence: bool
    ) -> FloatRecurrent:
        """Make the layer of Keras' weights: a bias for each matrix, or that of the input alone."""
        first, second = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
        return cls(
            FloatDense(kernel, first, relu=False), FloatDense(recurrent, second, relu=False), frames, sequence
        )

    @staticmethod
    @abstractmethod
    def advance(x: Floats, h: Floats, state: Floats) -> Floats:
        """Compute the next state [n, memories * units] from the sums [n, gates * units] of both matrices."""

    @property
    def weights(self) -> Floats:
        """Both kernels, without the biases."""
        return np.concatenate([self.input.kernel.ravel(), self.recurrent.kernel.ravel()])

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """Both matrices: each is given a width; biases that only mend rounding count for none."""
        rows, unit = self.input.outputs, self.units
        own = rows * (self.channels + 1), rows * (unit + self.biases - 1)
        return (
            Matrix("input", self.channels, rows, self.frames, own[0], self.input.kernel),
            Matrix("recurrent", unit, rows, self.frames, own[1], self.recurrent.kernel),
        )

    def tensors(self) -> dict[str, Floats]:
        """Return kernels, biases, the number of frames, and whether it gives all states."""
        recurrent = {f"recurrent_{name}": array for name, array in self.recurrent.tensors().items()}
        shape = np.array([self.frames, self.sequence], np.float64)
        return self.input.tensors() | recurrent | {"shape": shape}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats], *, last: bool) -> FloatRecurrent:
        """Make the layer of `tensors()` again. Raises SerqError if it is the last one."""
        require(not last, f"a layer {cls.kind} cannot be the last layer; train again")
        bias = np.stack([tensors["bias"], tensors["recurrent_bias"]])
        frames, sequence = map(int, tensors["shape"])
        return cls.of(tensors["kernel"], tensors["recurrent_kernel"], bias, frames, sequence=bool(sequence))

    @property
    def _fitted(self) -> slice:
        """The frames of a clip that a width is fitted to."""
        return slice(None, None, -(-self.frames // _OF_A_CLIP))

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Compute what is fitted, and outputs [n, outputs].

        That is, of some frames, the sums of both matrices and the outputs before and after.
        """
        target, outputs = clip_by_clip(x, self._forward)
        return target, outputs

    def _forward(self, some: Floats) -> tuple[Floats, Floats]:
        state, kept, outputs = np.zeros((len(some), self.memories * self.units)), [], []
        sums, _ = self.input.forward(some.reshape(-1, self.frames, self.channels))
        for x in np.moveaxis(sums, 1, 0):
            before = state[:, : self.units]
            h, _ = self.recurrent.forward(before)
            state = self.advance(x, h, state)
            outputs.append(state[:, : self.units])
            kept.append(np.concatenate([x, h, before, outputs[-1]], axis=-1))
        found = np.stack(outputs, axis=1) if self.sequence else outputs[-1]
        return np.stack(kept[self._fitted], axis=1), found

    def lower(
        self, width: Width, activations: NDArray[np.int64], grid: Grid, target: Floats
    ) -> RecurrentLayer:
        """Make the integer layer of a width, or of one for each matrix: `8+2` for input and recurrent.

        The input matrix is fitted to the frames that arrive, the recurrent one to the float layer's states,
        rounded to activations.
        """
        widths = each_width(width)
        rows = activations.reshape(-1, self.frames, self.channels)[:, self._fitted].reshape(-1, self.channels)
        size = self.input.outputs
        step = -(-len(rows) // _FITTED)
        cuts = [size, 2 * size, 2 * size + self.units]
        x, h, before, after = np.split(target.reshape(len(rows), -1)[::step], cuts, axis=-1)
        first = self.input.lower(widths[0], rows[::step], grid, x)
        shift = _best_shift(after)
        own = state_grid(shift)
        second = self.recurrent.lower(widths[1], _activations(before, own), own, h)
        return self._of(first, second, shift)

    def _of(self, first: DenseLayer, second: DenseLayer, shift: int) -> RecurrentLayer:
        scales = Rescale.by(Q12 * first.unit), Rescale.by(Q12 * second.unit)
        return self.integers(first, second, *scales, self.frames, self.sequence, shift)

    def start(self, lowered: RecurrentLayer, zero: int) -> Tuned:  # type: ignore[override]
        """Return what a dense layer does of both matrices, and the shift of states to activations."""
        recurrent = self.recurrent.start(lowered.recurrent, ZERO).items()
        shift = {"shift": np.array(lowered.shift, np.float32)}
        named = {f"recurrent_{name}": value for name, value in recurrent}
        return {**self.input.start(lowered.input, zero), **named, **shift}

    def tuned(self, values: Tuned, width: Width, grid: Grid) -> RecurrentLayer:
        """Write a fine-tuned layer down as integers."""
        widths, shift = each_width(width), int(values["shift"])
        recurrent = {name: values[f"recurrent_{name}"] for name in ("kernel", "bias", "kernel_scale")}
        second = self.recurrent.tuned(recurrent, widths[1], state_grid(shift))
        return self._of(self.input.tuned(values, widths[0], grid), second, shift)


def state_activations(state: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Round states in Q15 to activations."""
    active: NDArray[np.int64] = np.clip(ZERO + rshift_round(state, shift), 0, ACTIVATION_MAX)
    return active


def state_grid(shift: int) -> Grid:
    """Return what a state's activations stand for."""
    return Grid(2.0**shift / Q15, ZERO)


def each_width(width: Width) -> tuple[Width, Width]:
    """Read the widths of the input and the recurrent matrix, both alike or as in `8+2`."""
    names = str(width).split("+")
    first, second = (int(name) if name.isdecimal() else name for name in (names[0], names[-1]))
    require(len(names) <= 2, f"{width} are the widths of more than two matrices")
    return first, second


def _activations(states: Floats, grid: Grid) -> NDArray[np.int64]:
    active: Floats = np.clip(grid.zero + np.rint(states / grid.scale), 0, ACTIVATION_MAX)
    return active.astype(np.int64)


def _best_shift(states: Floats) -> int:
    """Find the shift whose activations are nearest to the states [n, units]."""

    def error(shift: int) -> float:
        grid = state_grid(shift)
        return float(np.square(grid.scale * (_activations(states, grid) - grid.zero) - states).sum())

    return min(reversed(_SHIFTS), key=error)
