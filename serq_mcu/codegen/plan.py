"""The plan of a project: everything that is decided about a model on a board before a file is written.

Computed once and shared by export, library, check, bench, the comparison with a build, and the report.
Templates read it; they decide nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serq_mcu.base import resources
from serq_mcu.base.csource import CArray, CPart
from serq_mcu.base.stages import Stage
from serq_mcu.boards.board import Board
from serq_mcu.codegen.packing import pack_scale
from serq_mcu.codegen.render import ABI, render
from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import MAX_FRAMES
from serq_mcu.frontend.code import (
    HISTOGRAM_BYTES,
    POOL_BYTES,
    Assertion,
    edges_part,
    extra_sources,
    features_part,
    frame_parts,
    frontend_arrays,
    frontend_assertions,
    pitch_points,
    selection_count,
)
from serq_mcu.layers.base import Operands
from serq_mcu.layers.choice import choose
from serq_mcu.layers.kernels import Choice, Core, CostStage, Storage, core_of
from serq_mcu.quantized_model.store import model_bytes
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import stored_bytes

MODEL = "model.serq"
GENERATED = ("serq_model.h", "serq_model.c", "serq_tables.h", "serq_weights.h")
LIBRARY = "lib/serq/src"
_FLOOR_BYTES = 16  # sizeof(serq_floor), and the frames of speech, or those of a block that were heard
_TIERS_BYTES = 16 + 4  # sizeof(serq_tiers) and sizeof(serq_grid)
_GRID_BYTES = 4  # sizeof(serq_grid)
_TABLE_BYTES = 2048  # sizeof(serq_table)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Buffers:
    """Where activations are in their arena: the offset of what each layer reads, and the arena's bytes."""

    offsets: tuple[int, ...]
    size: int


def place_buffers(sizes: Sequence[tuple[int, int]]) -> Buffers:
    """Place activations: for each layer the bytes of its input and of its output, padding included.

    A layer's output is the next one's input, and the two exist at the same time. Every second tensor begins
    at the arena's start and the others end at its end, so the arena is as large as the largest pair; a
    multiple of 8.
    """
    reads = [read for read, _ in sizes]
    size = max([reads[0], *(read + written for read, written in sizes[:-1])])
    return Buffers(tuple(0 if index % 2 == 0 else size - read for index, read in enumerate(reads)), size)


@dataclass(frozen=True)
class Plan:
    """A model on a board, with an application and a way of storing weights.

    All that follows from these is computed once.
    """

    model: QuantizedModel
    board: Board
    app: str = "harness"
    storage: Storage = Storage.COMPACT

    @functools.cached_property
    def identity(self) -> str:
        """The first 16 hexadecimal digits of the model's hash."""
        return self.model.sha256[:16]

    @functools.cached_property
    def core(self) -> Core:
        """The kind of core that the board has, and how fast it reads flash."""
        return core_of(self.board.mcu.features, self.board.memory.flash_bytes_per_cycle)

    @functools.cached_property
    def parts(self) -> Choice:
        """The kernels of each layer."""
        return choose(self.model.layers, self.core, self.storage)

    @functools.cached_property
    def buffers(self) -> Buffers:
        """Where activations are in memory."""
        memories = [layer.memory for layer in self.model.layers]
        return place_buffers([(memory.input_bytes, memory.output_bytes) for memory in memories])

    @functools.cached_property
    def accumulators(self) -> int:
        """int32 accumulators that the largest layer needs."""
        return max(layer.memory.accumulators for layer in self.model.layers)

    @functools.cached_property
    def work(self) -> int:
        """Bytes that the largest layer works in, beside its input and output."""
        return max(layer.memory.work_bytes for layer in self.model.layers)

    @functools.cached_property
    def layer_code(self) -> tuple[CPart, ...]:
        """The C of each layer: its calls and its packed weights."""
        names = [f"activations + {offset}" if offset else "activations" for offset in self.buffers.offsets]
        operands = (Operands(i, *pair) for i, pair in enumerate(zip(names, [*names[1:], ""], strict=True)))
        layers = zip(self.model.layers, operands, self.parts, strict=True)
        return tuple(layer.code(operand, parts) for layer, operand, parts in layers)

    @functools.cached_property
    def frame_code(self) -> tuple[CPart, ...]:
        """The C of a frame after its power: mel bands, then each feature block."""
        return frame_parts(self.model.spec, self.model.tables)

    @functools.cached_property
    def features_code(self) -> CPart:
        """The C that makes pooled features of the sums."""
        return features_part(self.model.spec)

    @functools.cached_property
    def edges_code(self) -> CPart:
        """The C that adds the differences between two blocks of a stream."""
        return edges_part(self.model.spec)

    @functools.cached_property
    def assertions(self) -> tuple[Assertion, ...]:
        """What the C compiler checks of the front end's buffers."""
        return tuple(frontend_assertions(self.model.spec, self.model.tables))

    @functools.cached_property
    def values(self) -> int:
        """int32 values that the largest feature block leaves before they are pooled."""
        return max([block.size for block in self.model.spec.blocks if block.own_stages] or [1])

    @functools.cached_property
    def pitch_points(self) -> int:
        """Complex points of the pitch stage's transform, 0 if there is none."""
        return pitch_points(self.model.spec, self.model.tables)

    @functools.cached_property
    def pools(self) -> int:
        """Coefficients of all feature blocks."""
        return sum(block.size for block in self.model.spec.blocks)

    @property
    def selections(self) -> int:
        """Selections of frames that are counted apart."""
        return selection_count(self.model.spec)

    @property
    def histograms(self) -> int:
        """Coefficients of all feature blocks that have a histogram."""
        return sum(len(block.histograms) for block in self.model.spec.blocks)

    @property
    def tiers(self) -> int:
        """Tiers that each coefficient has sums in."""
        return self.model.tables.tiers(self.model.spec).count

    @functools.cached_property
    def frontend_arrays(self) -> tuple[CArray, ...]:
        """The front end's tables."""
        return frontend_arrays(self.model.spec, self.model.tables)

    @functools.cached_property
    def input_arrays(self) -> tuple[CArray, ...]:
        """The constants of the input's standardisation, and what is known of all voices."""
        constants, voice = self.model.input, self.model.voice
        arrays = (
            CArray("serq_input_center", constants.center),
            CArray("serq_input_scale", pack_scale(constants)),
        )
        if voice is None:
            return arrays
        return (
            *arrays,
            CArray("serq_voice_counts", voice.counts),
            CArray("serq_voice_means", voice.means.ravel()),
        )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The model's table of stages."""
        return self.model.stages

    @functools.cached_property
    def headers(self) -> tuple[str, ...]:
        """Headers of extensions that the generated C includes."""
        return tuple(dict.fromkeys(name for part in self._parts for name in part.headers))

    @functools.cached_property
    def owners(self) -> dict[Path, str]:
        """The C files that extensions bring, and what brings each, for messages."""
        spec, tables = self.model.spec, self.model.tables
        found = {path: f"feature block {kind!r}" for path, kind in extra_sources(spec, tables).items()}
        for layer, part in zip(self.model.layers, self.layer_code, strict=True):
            found |= dict.fromkeys(part.sources, f"layer kind {layer.kind!r}")
        layouts = (part.layout for parts in self.parts for part in parts)
        return found | {path: f"layout {layout.name!r}" for layout in layouts for path in layout.sources}

    @functools.cached_property
    def model_files(self) -> Files:
        """The model's generated C, the C of extensions that it calls, and the model itself for the verifier.

        Raises SerqError, naming the extension, if its file has the name of another or cannot be read.
        """
        model = self.model
        names = {"plan": self, "model": model, "spec": model.spec, "tables": model.tables, "abi": ABI}
        sizes = {"max_frames": MAX_FRAMES, "points": model.spec.fft_length // 2}
        files = {f"{LIBRARY}/{name}": render(f"{name}.j2", **names, **sizes).encode() for name in GENERATED}
        return files | self._extension_files() | {MODEL: model_bytes(model)}

    @property
    def _parts(self) -> tuple[CPart, ...]:
        return (*self.frame_code, *self.layer_code)

    def _extension_files(self) -> Files:
        runtime = (resources.FIRMWARE / "lib" / "serq" / "src").iterdir()
        files: Files = {}
        taken = {path.name for path in runtime} | set(GENERATED)
        for path, owner in self.owners.items():
            if path.name in taken:
                raise SerqError(f"{owner} brings {path.name}, a name that is taken; rename it")
            taken.add(path.name)
            try:
                files[f"{LIBRARY}/{path.name}"] = path.read_bytes()
            except OSError as error:
                raise SerqError(f"{owner} brings {path}, which cannot be read: {error.strerror}") from error
        return files

    # ---- sizes in bytes

    @functools.cached_property
    def state_bytes(self) -> int:
        """sizeof(serq_state) on a 32-bit core, from the declaration in serq.h; the generated C checks it."""
        spec, values = self.model.spec, 4 * self.values
        bins, bands = 8 * spec.bins, 8 * spec.mel_bands * spec.uses_mel
        pitch = 8 * (self.pitch_points + 1) + 8 if spec.uses_pitch else 0
        frame = bins + bands + pitch + values + 4
        decision = (
            4 * spec.feature_count + 4 * self.accumulators + _TABLE_BYTES + self.work + self.buffers.size
        )
        scratch = max(_aligned(frame), _aligned(decision))
        samples = 2 * spec.frame_length + 4 + 2 + 2 + 2 + 2
        voice = 8 if self.model.voice else 0  # the room of a pointer
        return _aligned(scratch + self._kept_bytes + _FLOOR_BYTES + samples) + voice

    @property
    def _kept_bytes(self) -> int:
        """What is kept of frames: sums, or the last frames' values and steps, and the next one's place."""
        spec = self.model.spec
        if spec.sequence_frames:
            return _GRID_BYTES + 2 * spec.sequence_frames * (spec.coefficients + 1) + 2
        pools = (POOL_BYTES * self.pools + HISTOGRAM_BYTES * self.histograms) * self.tiers
        return pools + self._edge_bytes

    @property
    def _edge_bytes(self) -> int:
        """Counts, tiers, and the values of the first and latest frame, in the state and in a block."""
        return 4 * self.selections * self.tiers + _TIERS_BYTES + 4 * self.pools

    @functools.cached_property
    def stream_bytes(self) -> int:
        """sizeof(serq_stream) likewise, from serq_stream.h; 0 for a model that cannot stream."""
        rule = self.model.decision
        if rule is None:
            return 0
        places = max(rule.blocks - 1, 1)
        histogram = HISTOGRAM_BYTES // 2 if rule.block_frames < 256 else HISTOGRAM_BYTES
        sums = (self.pools * POOL_BYTES + self.histograms * histogram) * self.tiers
        block = 2 if self.model.spec.sequence_frames else sums + self._edge_bytes + 4
        older = -(-places * block // 4) * 4
        floors = _FLOOR_BYTES + 2 * 2 * max(rule.floor_blocks, 1)
        voice = 16 if self.model.voice else 0
        rest = 4 * len(self.model.labels) + 4 + floors + 5 + voice
        return _aligned(self.state_bytes + older + rest)

    @property
    def voice_bytes(self) -> int:
        """sizeof(serq_voice), from serq_voice.h; 0 for a model without a voice prior."""
        voice = self.model.voice
        return 0 if voice is None else stored_bytes(voice)

    @functools.cached_property
    def packed_bytes(self) -> int:
        """Packed weights of all layers."""
        layers = zip(self.model.layers, self.parts, strict=True)
        return sum(layer.packed_bytes(parts) for layer, parts in layers)

    @functools.cached_property
    def constant_bytes(self) -> int:
        """What the layers store beside: biases, scales."""
        layers = zip(self.model.layers, self.parts, strict=True)
        return sum(layer.constant_bytes(parts) for layer, parts in layers)

    @functools.cached_property
    def array_bytes(self) -> int:
        """All tables of the generated C: the front end's, the input's and the layers'."""
        layers = (array.values.nbytes for part in self.layer_code for array in part.arrays)
        return self.table_bytes + self.input_bytes + sum(layers)

    @functools.cached_property
    def input_bytes(self) -> int:
        """The input's constants."""
        return sum(array.values.nbytes for array in self.input_arrays)

    @functools.cached_property
    def table_bytes(self) -> int:
        """The front end's tables."""
        return sum(array.values.nbytes for array in self.frontend_arrays)

    @functools.cached_property
    def layer_costs(self) -> tuple[CostStage, ...]:
        """What the layers cost, stage by stage."""
        layers = enumerate(zip(self.model.layers, self.parts, strict=True))
        return tuple(stage for index, (layer, parts) in layers for stage in layer.cost_stages(index, parts))


def _aligned(size: int) -> int:
    return -(-size // 8) * 8
