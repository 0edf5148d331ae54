"""The quantized model: integers, constants and labels, proved on construction (SPEC.md sections 3 to 6)."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.stages import Stage
from serq_mcu.base.validation import check_types
from serq_mcu.frontend.analysis import MAX_FRAMES, MIN_FRAMES
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.stages import stage_table
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.layers import Grid, Layer
from serq_mcu.layers.base import frozen_array, require, within
from serq_mcu.layers.encodings import Width
from serq_mcu.quantized_model.voice import VoicePrior

FORMAT = 5
INPUT_ZERO_POINT = 64
INPUT_STEPS_PER_SD = 16
INPUT_GRID = Grid(1 / INPUT_STEPS_PER_SD, INPUT_ZERO_POINT)  # what the first layer's inputs stand for, in sd
MAX_LAYERS = 8
MAX_STAGES = 255  # a stage's number on the wire is a byte, and 0 is none
MAX_BLOCKS = 32
MAX_SMOOTHING = 4
MAX_FLOOR_BLOCKS = 64
CONFIDENCE_STEP = 5  # percent
CONFIDENCES = tuple(range(CONFIDENCE_STEP, 100, CONFIDENCE_STEP))  # percent, above 0
UNKNOWN_CONFIDENCE = -1
NEVER = 2**32 - 1  # more than any lead is
NO_SPEECH, NOT_SURE = -1, -2  # answers that are no label's index
NO_SPEECH_LABEL = "no speech"  # a class of this name is that answer


def canonical(header: dict[str, Any]) -> bytes:
    """Return the bytes of a header that its hash is of (SPEC.md section 6)."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class InputQuantization:
    """Standardisation of features to 0..127.

    center int32 [coefficients], multiplier uint16 [coefficients], shift uint8 [coefficients]: of pooled
    features each, of a sequence those of a frame, and the same for all frames. Raises SerqError on a wrong
    shape, type or range.
    """

    center: NDArray[np.int32]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name, kind in (("center", np.int32), ("multiplier", np.uint16), ("shift", np.uint8)):
            array = frozen_array(self, name, kind, 1)
            require(
                array.shape == self.center.shape,
                f"input {name} has {array.size} entries, center has {self.center.size}",
            )
        require(within(self.multiplier, 1, 2047), "input multipliers must be 1 to 2047")
        require(within(self.shift, 1, 31), "input shifts must be 1 to 31")
        require(within(self.center, -(2**19), 2**19), "input centers must be within 2^19")


@dataclass(frozen=True)
class DecisionRule:
    """When and how a stream is answered (SPEC.md section 12).

    A window has up to `blocks` blocks of `block_frames` frames. floor_blocks: earlier blocks whose noise
    floors are remembered; unsure_margin: the least lead, in score steps, of the best class of an answer;
    smoothing: a decision weighs 2^-smoothing in the average of scores; wake_rise: how far a frame's loudness
    rises above that of silence, Q8 log2, before frames are heard where there was no speech, 0 if all are.
    confidence: for each of CONFIDENCES the least lead that has it; empty where it was not calibrated.

    Raises SerqError on a value out of range.
    """

    blocks: int
    block_frames: int
    floor_blocks: int
    unsure_margin: int
    smoothing: int
    wake_rise: int
    confidence: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "decision: ")
        require(
            1 <= self.blocks <= MAX_BLOCKS,
            f"decision: a window has 1 to {MAX_BLOCKS} blocks, not {self.blocks}",
        )
        require(
            self.block_frames >= MIN_FRAMES,
            f"decision: a block has at least {MIN_FRAMES} frames, not {self.block_frames}",
        )
        frames = self.blocks * self.block_frames
        require(
            frames <= MAX_FRAMES,
            f"decision: a window of {frames} frames is longer than the {MAX_FRAMES} that can be pooled",
        )
        require(
            0 <= self.floor_blocks <= MAX_FLOOR_BLOCKS,
            f"decision: the floors of {self.floor_blocks} blocks; it must be 0 to {MAX_FLOOR_BLOCKS}",
        )
        require(
            0 <= self.unsure_margin < 2**31, f"decision: margin {self.unsure_margin} must be 0 to 2^31 - 1"
        )
        require(
            0 <= self.smoothing <= MAX_SMOOTHING,
            f"decision: smoothing {self.smoothing} must be 0 to {MAX_SMOOTHING}",
        )
        require(0 <= self.wake_rise < 2**15, f"decision: wake_rise {self.wake_rise} must be 0 to 2^15 - 1")
        leads = self.confidence
        require(
            len(leads) in (0, len(CONFIDENCES))
            and all(type(lead) is int and 0 <= lead <= NEVER for lead in leads)
            and leads == tuple(sorted(leads)),
            f"decision: the leads of confidence must be {len(CONFIDENCES)} whole numbers, 0 to 2^32 - 1, in"
            " their order",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the rule as the model file has it: without the leads of confidence if there are none."""
        values = {name: value for name, value in asdict(self).items() if name != "confidence"}
        return values | ({"confidence": list(self.confidence)} if self.confidence else {})

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DecisionRule:
        """Make the rule of a model file.

        Raises SerqError or TypeError if it is none.
        """
        return cls(**values | {"confidence": tuple(values.get("confidence", ()))})


@dataclass(frozen=True)
class QuantizedModel:
    """Everything the device and its verifier need.

    Immutable; arrays are read-only. Without a decision rule it is for clips alone; without a voice prior its
    answers are the same for all speakers.

    Raises SerqError when parts do not fit each other.
    """

    spec: FeatureSpec
    tables: FrontendTables
    input: InputQuantization
    layers: tuple[Layer, ...]
    labels: tuple[str, ...]
    score_scale: float
    provenance: dict[str, Any] = field(default_factory=dict)
    decision: DecisionRule | None = None
    voice: VoicePrior | None = None

    def __post_init__(self) -> None:
        check_types(self, "the model: ")
        require(isinstance(self.provenance, dict), "a model's provenance must be a table")
        require(
            1 <= len(self.layers) <= MAX_LAYERS,
            f"a model has 1 to {MAX_LAYERS} layers, not {len(self.layers)}",
        )
        require(
            self.input.center.size == self.spec.coefficients,
            f"{self.input.center.size} input constants for {self.spec.coefficients} features",
        )
        width = self.spec.feature_count
        for index, layer in enumerate(self.layers):
            require(layer.inputs == width, f"layer {index} takes {layer.inputs} inputs, but {width} arrive")
            width = layer.outputs
            last = index == len(self.layers) - 1
            require(layer.gives_scores == last, f"layer {index}: the last layer alone gives scores")
        require(len(self.labels) == width, f"{len(self.labels)} labels for {width} scores")
        require(2 <= len(self.labels) <= 64, "a model has 2 to 64 classes")
        for label in self.labels:
            require(
                isinstance(label, str) and label.isprintable() and 0 < len(label.encode()) <= 64,
                f"class name {label!r:.80} must be 1 to 64 printable bytes",
            )
        require(len(set(self.labels)) == len(self.labels), "two classes share a name")
        require(self.score_scale > 0, "the score scale must be positive")
        self.tables.check(self.spec)
        if self.voice is not None:
            require(not self.spec.sequence_frames, "a model that reads a sequence of frames learns no voice")
            shape, expected = self.voice.means.shape, (len(self.labels), self.spec.feature_count)
            require(shape == expected, f"voice means are {shape}, not {expected}")
        if self.decision is not None:
            require(
                not self.spec.center,
                "a specification that pads clips at both ends (center) cannot stream; set center = false",
            )
            reach = self.layers[-1].accumulator_bound << self.decision.smoothing
            require(
                reach < 2**31,
                f"smoothed scores can reach {reach}, more than 32 bits hold; set a smaller"
                " decision.smoothing",
            )

    @property
    def no_speech(self) -> int:
        """The index of the class whose answer is that there is no speech, or -1."""
        return self.labels.index(NO_SPEECH_LABEL) if NO_SPEECH_LABEL in self.labels else -1

    @property
    def widths(self) -> tuple[Width, ...]:
        """The width of each layer that has weights, of each matrix where a layer has several."""
        return tuple(matrix.width for matrix in self.matrices)

    @property
    def matrices(self) -> tuple[Layer, ...]:
        """What has a width each."""
        return tuple(matrix for layer in self.layers for matrix in layer.matrices)

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
        return sum(layer.weight_bits for layer in self.layers) / 8

    def header(self) -> dict[str, Any]:
        """Return the JSON part of the model file without its hash."""
        return {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "frontend": self.tables.scalars(),
            "labels": list(self.labels),
            "layers": [{"kind": layer.kind} | layer.header() for layer in self.layers],
            "score_scale": self.score_scale,
            "decision": None if self.decision is None else self.decision.to_json(),
            "voice": None if self.voice is None else {"most": self.voice.most},
            "provenance": self.provenance,
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the model file by name."""
        arrays: dict[str, NDArray[Any]] = {
            f"frontend.{name}": array for name, array in self.tables.arrays().items()
        }
        arrays |= {
            "input.center": self.input.center,
            "input.multiplier": self.input.multiplier,
            "input.shift": self.input.shift,
        }
        if self.voice is not None:
            arrays |= {"voice.means": self.voice.means, "voice.counts": self.voice.counts}
        for index, layer in enumerate(self.layers):
            arrays |= {f"layer{index}.{name}": array for name, array in layer.tensors().items()}
        return arrays

    @property
    def stored_bytes(self) -> int:
        """All bytes that a device keeps for the network: weights (rows not padded), biases, constants."""
        return sum(layer.stored_bytes for layer in self.layers)

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """What firmware shows the harness, in the order of computing.

        A stage's number on the wire is its place here, counted from 1 (SPEC.md section 7).
        """
        return tuple(self._stages())

    def _stages(self) -> Iterator[Stage]:
        yield from stage_table(self.spec.frame_stages)
        yield Stage("pooled", "int32")
        yield Stage("input", "uint8")
        for index, layer in enumerate(self.layers):
            yield from (
                Stage(f"layer {index} {name}", kind, events=events) for name, kind, events in layer.stages()
            )
        yield Stage("scores", "int32")

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content, independent of the file that carries it."""
        digest = hashlib.sha256(canonical(self.header()))
        for name, array in sorted(self.tensors().items()):
            little = array.astype(array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.dtype.name} {array.shape}".encode() + little.tobytes())
        return digest.hexdigest()

    @property
    def identity(self) -> bytes:
        """The first 8 bytes of the hash: what firmware carries and the harness compares."""
        return bytes.fromhex(self.sha256[:16])
