"""The quantized model: integers, constants and labels, proved on construction (SPEC.md sections 3 to 6)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import MAX_FRAMES, MIN_FRAMES
from serq_mcu.frontend.level import LEVEL_MIN
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables

FORMAT = 3
ACTIVATION_MAX = 127
INPUT_ZERO_POINT = 64
INPUT_STEPS_PER_SD = 16
MAX_LAYERS = 8
MAX_WIDTH = 4096
MAX_BLOCKS = 32
MAX_SMOOTHING = 4
GATE_MAX = 2560  # Q8 log2, +30 dB: louder than any block
TERNARY = "ternary"
Width = int | str  # what a layer is asked to have: 1 to 8 bits a weight, or TERNARY


class Encoding(NamedTuple):
    """What a layer's weights may be: `levels` evenly spaced values around zero, written as fields of
    `bits` bits below `levels`.
    """

    bits: int
    levels: int


ENCODINGS = {f"b{bits}": Encoding(bits, 2**bits) for bits in range(1, 9)} | {TERNARY: Encoding(2, 3)}


def encoding_of(width: Width) -> str:
    """The name of the encoding for a width. Raises SerqError if there is none."""
    name = width if width == TERNARY else f"b{width}"
    _require(name in ENCODINGS, f"{width} bits per weight are not offered; choose 1 to 8, or {TERNARY}")
    return str(name)


def spoken(width: Width) -> str:
    """A width in words."""
    return TERNARY if width == TERNARY else f"{width} bits"


@dataclass(frozen=True)
class InputQuantization:
    """Standardisation of pooled features to 0..127: center int32 [features], multiplier uint16 and shift
    uint8 alike.

    Raises SerqError on a wrong shape, type or range.
    """

    center: NDArray[np.int32]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name, kind in (("center", np.int32), ("multiplier", np.uint16), ("shift", np.uint8)):
            array = _frozen(self, name, kind, 1)
            _require(
                array.shape == self.center.shape,
                f"input {name} has {array.size} entries, center has {self.center.size}",
            )
        _require(_within(self.multiplier, 1, 2047), "input multipliers must be 1 to 2047")
        _require(_within(self.shift, 1, 31), "input shifts must be 1 to 31")
        _require(_within(self.center, -(2**19), 2**19), "input centers must be within 2^19")


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer: fields u uint8 [outputs, inputs], bias int32 [outputs] with the input's zero point
    folded in.

    multiplier and shift requantize the accumulator to 0..127 and are None in the last layer; weight_scale and
    input_scale (real units per step) are for reading, not for computing. Raises SerqError when a bound of
    SPEC.md section 5 fails.
    """

    u: NDArray[np.uint8]
    bias: NDArray[np.int32]
    encoding: str
    multiplier: int | None
    shift: int | None
    weight_scale: float
    input_scale: float

    def __post_init__(self) -> None:
        _require(self.encoding in ENCODINGS, f"unknown weight encoding {self.encoding!r}")
        _frozen(self, "u", np.uint8, 2)
        _frozen(self, "bias", np.int32, 1)
        _require(
            1 <= self.inputs <= MAX_WIDTH and 1 <= self.outputs <= MAX_WIDTH,
            f"a layer of {self.inputs}x{self.outputs} is outside 1..{MAX_WIDTH}",
        )
        _require(self.bias.size == self.outputs, f"{self.bias.size} biases for {self.outputs} outputs")
        _require(_within(self.u, 0, self.levels - 1), f"a weight field does not fit {spoken(self.width)}")
        _require((self.multiplier is None) == (self.shift is None), "multiplier and shift go together")
        if self.multiplier is not None and self.shift is not None:
            _require(
                1 <= self.multiplier < 2**24 and 1 <= self.shift <= 24,
                f"requantization {self.multiplier} >> {self.shift} is out of range",
            )
        _require(
            self.accumulator_bound < 2**31,
            f"an accumulator of a layer of {self.inputs}x{self.outputs} can reach {self.accumulator_bound},"
            " more than 32 bits hold",
        )

    @property
    def bits(self) -> int:
        """Bits of a field."""
        return ENCODINGS[self.encoding].bits

    @property
    def levels(self) -> int:
        """Values that a weight may have; its field is below it."""
        return ENCODINGS[self.encoding].levels

    @property
    def width(self) -> Width:
        """Bits of a field, or TERNARY."""
        return TERNARY if self.encoding == TERNARY else self.bits

    @property
    def inputs(self) -> int:
        """Fan-in."""
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
    def q(self) -> NDArray[np.int64]:
        """Signed weights 2u - (levels - 1) in half steps, shape [outputs, inputs]."""
        q: NDArray[np.int64] = 2 * self.u.astype(np.int64) - (self.levels - 1)
        return q

    @property
    def accumulator_bound(self) -> int:
        """No accumulator exceeds this in magnitude, nor does any partial sum in any order of summation."""
        fields: int = self.inputs * ACTIVATION_MAX * (self.levels - 1)
        return fields + int(np.abs(self.bias.astype(np.int64)).max())


@dataclass(frozen=True)
class DecisionRule:
    """When and how a stream is answered (SPEC.md section 12).

    A window has up to `blocks` blocks of `block_frames` frames. level_offset: Q16 log2 of full scale's power;
    gate_level: Q8 log2 of the power of the quietest block that is not silent; unsure_margin: the least lead,
    in score steps, of the best class of an answer; smoothing: a decision weighs 2^-smoothing in the average
    of scores. Raises SerqError on a value out of range.
    """

    blocks: int
    block_frames: int
    level_offset: int
    gate_level: int
    unsure_margin: int
    smoothing: int

    def __post_init__(self) -> None:
        for name in ("blocks", "block_frames", "level_offset", "gate_level", "unsure_margin", "smoothing"):
            value = getattr(self, name)
            _require(
                isinstance(value, int) and not isinstance(value, bool),
                f"decision: {name} {value!r} must be a whole number",
            )
        _require(
            1 <= self.blocks <= MAX_BLOCKS,
            f"decision: a window has 1 to {MAX_BLOCKS} blocks, not {self.blocks}",
        )
        _require(
            self.block_frames >= MIN_FRAMES,
            f"decision: a block has at least {MIN_FRAMES} frames, not {self.block_frames}",
        )
        frames = self.blocks * self.block_frames
        _require(
            frames <= MAX_FRAMES,
            f"decision: a window of {frames} frames is longer than the {MAX_FRAMES} that can be pooled",
        )
        _require(
            abs(self.level_offset) <= 64 << 16, f"decision: level offset {self.level_offset} is out of range"
        )
        _require(
            LEVEL_MIN <= self.gate_level <= GATE_MAX,
            f"decision: gate level {self.gate_level} must be {LEVEL_MIN} to {GATE_MAX}",
        )
        _require(
            0 <= self.unsure_margin < 2**31, f"decision: margin {self.unsure_margin} must be 0 to 2^31 - 1"
        )
        _require(
            0 <= self.smoothing <= MAX_SMOOTHING,
            f"decision: smoothing {self.smoothing} must be 0 to {MAX_SMOOTHING}",
        )


@dataclass(frozen=True)
class QuantizedModel:
    """Everything the device and its verifier need.

    Immutable; arrays are read-only. Without a decision rule it is for clips alone.

    Raises SerqError when parts do not fit each other.
    """

    spec: FeatureSpec
    tables: FrontendTables
    input: InputQuantization
    layers: tuple[DenseLayer, ...]
    labels: tuple[str, ...]
    score_scale: float
    provenance: dict[str, Any] = field(default_factory=dict)
    decision: DecisionRule | None = None

    def __post_init__(self) -> None:
        _require(
            1 <= len(self.layers) <= MAX_LAYERS,
            f"a model has 1 to {MAX_LAYERS} layers, not {len(self.layers)}",
        )
        _require(
            self.input.center.size == self.spec.feature_count,
            f"{self.input.center.size} input constants for {self.spec.feature_count} features",
        )
        width = self.spec.feature_count
        for index, layer in enumerate(self.layers):
            _require(layer.inputs == width, f"layer {index} takes {layer.inputs} inputs, but {width} arrive")
            width = layer.outputs
            last = index == len(self.layers) - 1
            _require(
                (layer.multiplier is None) == last,
                f"layer {index}: the last layer alone has no requantization",
            )
        _require(len(self.labels) == width, f"{len(self.labels)} labels for {width} scores")
        _require(2 <= len(self.labels) <= 64, "a model has 2 to 64 classes")
        _require(len(set(self.labels)) == len(self.labels), "two classes share a name")
        for label in self.labels:
            _require(
                isinstance(label, str) and 0 < len(label.encode()) <= 64 and label.isprintable(),
                f"class name {label!r} must be 1 to 64 printable bytes",
            )
        _require(np.isfinite(self.score_scale) and self.score_scale > 0, "the score scale must be positive")
        self.tables.check(self.spec)
        if self.decision is not None:
            _require(
                not self.spec.center,
                "a specification that pads clips at both ends (center) cannot stream; set center = false",
            )
            reach = self.layers[-1].accumulator_bound << self.decision.smoothing
            _require(
                reach < 2**31,
                f"smoothed scores can reach {reach}, more than 32 bits hold; set a smaller"
                " decision.smoothing",
            )

    @property
    def widths(self) -> tuple[Width, ...]:
        """The width of each layer."""
        return tuple(layer.width for layer in self.layers)

    @property
    def average_bits(self) -> float:
        """The paper's average: sum over layers of (share of parameters) * bits, 2 for ternary."""
        return self.weights_only_bytes * 8 / self.parameters

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def weights_only_bytes(self) -> float:
        """The paper's size: sum of parameters * bits / 8."""
        return sum(layer.parameters * layer.bits for layer in self.layers) / 8

    def header(self) -> dict[str, Any]:
        """The JSON part of the model file without its hash."""
        return {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "frontend": self.tables.scalars(),
            "labels": list(self.labels),
            "layers": [
                {
                    "inputs": layer.inputs,
                    "outputs": layer.outputs,
                    "encoding": layer.encoding,
                    "multiplier": layer.multiplier,
                    "shift": layer.shift,
                    "weight_scale": layer.weight_scale,
                    "input_scale": layer.input_scale,
                }
                for layer in self.layers
            ],
            "score_scale": self.score_scale,
            "decision": None if self.decision is None else asdict(self.decision),
            "provenance": self.provenance,
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays of the model file by name."""
        arrays: dict[str, NDArray[Any]] = {
            f"frontend.{name}": array for name, array in self.tables.arrays().items()
        }
        arrays |= {
            "input.center": self.input.center,
            "input.multiplier": self.input.multiplier,
            "input.shift": self.input.shift,
        }
        for index, layer in enumerate(self.layers):
            arrays |= {f"layer{index}.u": layer.u, f"layer{index}.bias": layer.bias}
        return arrays

    @property
    def sha256(self) -> str:
        """Hash of the content, independent of the file that carries it."""
        digest = hashlib.sha256(json.dumps(self.header(), sort_keys=True, separators=(",", ":")).encode())
        for name, array in sorted(self.tensors().items()):
            little = array.astype(array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.dtype.name} {array.shape}".encode() + little.tobytes())
        return digest.hexdigest()

    @property
    def identity(self) -> bytes:
        """The first 8 bytes of the hash: what firmware carries and the harness compares."""
        return bytes.fromhex(self.sha256[:16])


def _frozen(owner: object, name: str, kind: type[np.generic], dimensions: int) -> NDArray[Any]:
    """Replace the owner's array by a read-only copy of the right type, or refuse it."""
    array = np.asarray(getattr(owner, name))
    _require(
        array.dtype == kind and array.ndim == dimensions,
        f"{name} must be a {dimensions}-dimensional {np.dtype(kind).name} array",
    )
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    object.__setattr__(owner, name, copy)
    return copy


def _within(array: NDArray[Any], low: int, high: int) -> bool:
    return array.size > 0 and int(array.min()) >= low and int(array.max()) <= high


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SerqError(message)
