"""What an exported project costs on a core: instructions, estimated cycles, memory.

They are counted per stage of the front end and per layer.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.boards.board import BOARD_FILE, Board, Emulator, Relative, load_board, read_board
from serq_mcu.build import platformio
from serq_mcu.codegen.costs import Row, milliseconds, timing, total
from serq_mcu.codegen.export import Project, export, read_project, retarget
from serq_mcu.codegen.plan import MODEL, Plan
from serq_mcu.codegen.trust import buildable
from serq_mcu.counting.qemu import Count, Counts, code_bytes, counted, functions
from serq_mcu.errors import SerqError
from serq_mcu.frontend.code import features_part, frame_functions
from serq_mcu.frontend.statistics import STATISTICS
from serq_mcu.harness.device import Device
from serq_mcu.harness.transports import ProcessTransport
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.target import open_target

_AROUND = (
    "serq_push",
    "serq_take_frame",
    "serq_features",
    "serq_decide",
    "serq_model_frame",
    "serq_model_features",
    "serq_model_network",
    "serq_trace",
)
_FRAMES = 20  # to count the front end's stages
_PITCH_HZ = 150


@dataclass(frozen=True)
class Bench:
    """All figures of a project on a board.

    Bytes of flash, RAM and stack are of the whole harness application.
    """

    board: Board
    ran_on: str
    identity: str
    rows: tuple[Row, ...]
    flash_bytes: int | None
    ram_bytes: int | None
    stack_bytes: int | None
    network_code_bytes: int | None

    def total(self, part: str) -> Row:
        """Add up the rows of a frame or a decision."""
        return total(self.rows, part)

    def milliseconds(self, row: Row) -> float | None:
        """Convert a row to milliseconds at the board's clock.

        It takes the row's cycles, or its instructions at one a cycle.
        """
        return milliseconds(row, self.board.mcu.clock_hz)

    @property
    def basis(self) -> str:
        """What the figures rest on, in a sentence."""
        if self.ran_on not in ("emulator", self.board.name) and not self.ran_on.startswith("emulated-"):
            return f"cycles counted by the board at {self.ran_on}"
        return f"instructions counted in QEMU on {self.ran_on}; {timing(self.board.mcu)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `bench --json`."""
        rows = [
            asdict(row) | {"milliseconds": self.milliseconds(row)}
            for row in (*self.rows, self.total("frame"), self.total("decision"))
        ]
        memory = {
            name: getattr(self, name)
            for name in ("flash_bytes", "ram_bytes", "stack_bytes", "network_code_bytes")
        }
        return {
            "board": self.board.name,
            "ran_on": self.ran_on,
            "identity": self.identity,
            "basis": self.basis,
            "rows": rows,
        } | memory


def bench(
    folder: Path, board: Board | None = None, on: str = "emulator", *, allow_changes: bool = False
) -> Bench:
    """Count the costs of the project `folder`.

    It runs in the emulator of its board, or of another `board` that its model is exported for; or on a port.
    In the emulator it computes as a product does, without the trace. What is built is a fresh export of the
    folder's model and board, or with allow_changes the folder. Raises SerqError if the folder holds other
    code, or it cannot be built, started or reached.
    """
    project = read_project(folder)
    own = read_board(folder / BOARD_FILE)
    if on != "emulator":
        if board is not None and board.name != own.name:
            raise SerqError(
                f"the firmware in {folder} is for {own.name}; export it for {board.name} to measure that"
                " board"
            )
        return _on_board(project, own, on)
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="serq-bench-"))
        if board is not None and board.name != own.name:
            project, own = export(load_model(folder / MODEL), board, Path(work) / "exported"), board
        else:
            project = stack.enter_context(buildable(project, allow_changes=allow_changes))
        runs = own
        if isinstance(own.emulator, Relative):
            runs = load_board(own.emulator.relative)
        project = retarget(project, runs, Path(work) / "counted", trace=False)
        return _in_emulator(project, load_model(project.folder / MODEL), own, runs, folder / platformio.LOG)


def _on_board(project: Project, board: Board, port: str) -> Bench:
    """Read the two totals that the board's cycle counter gives."""
    model = load_model(project.folder / MODEL)
    pcm = _speech(model)
    with open_target(project, port) as target:
        result = target.device.run_clip(pcm)
    if not result.network_cycles:
        raise SerqError(f"{board.name} at {port} has no cycle counter that its port reads; use --on emulator")
    rows = (
        Row("frame", "front end", None, result.frontend_cycles // result.frames),
        Row("decision", "statistics, network", None, result.network_cycles),
    )
    return Bench(board, port, project.identity, rows, None, None, None, None)


def _in_emulator(project: Project, model: QuantizedModel, board: Board, runs: Board, log: Path) -> Bench:
    assert isinstance(runs.emulator, Emulator)
    built = platformio.build(project.folder, log=log)
    plan = Plan(model, board, project.app, project.storage)
    frame, statistics = frame_functions(model.spec, model.tables), features_part(model.spec).functions
    calls = [*frame, *statistics, "serq_standardize", *_network_calls(plan), "serq_argmax"]
    harness = functions(runs, project.folder, ("main.", "wire.", "port_"))
    with counted(runs, built.elf, calls, [*_AROUND, *sorted(harness - set(_AROUND))]) as (command, read):
        transport = ProcessTransport(command)
        try:
            Device(transport, timeout=60).run_clip(_speech(model))
        finally:
            transport.close()
        counts = read()
    code = code_bytes(
        runs,
        built.elf,
        functions(runs, project.folder, ("serq_network", "serq_dense", "serq_thumb."))
        | {"serq_model_network"},
    )
    rows = (*_frame_rows(counts, frame), *_decision_rows(counts, plan, statistics))
    return Bench(
        board, runs.name, project.identity, rows, built.flash_bytes, built.ram_bytes, counts.stack_bytes, code
    )


def _speech(model: QuantizedModel) -> np.ndarray:
    """Make samples that count as speech: voiced, in noise, and 10 dB louder after a quarter of the frames."""
    spec = model.spec
    count = spec.frame_length + (_FRAMES - 1) * spec.hop_length
    phase = np.arange(count) * _PITCH_HZ / spec.sample_rate % 1
    signal = np.random.default_rng(0).normal(0, 1000, count) + 12000 * np.exp(-20 * phase)
    signal[: count // 4] *= 0.3
    samples: np.ndarray = signal.astype(np.int16)
    return samples


def _frame_rows(counts: Counts, functions: tuple[str, ...]) -> Iterator[Row]:
    for name in functions:
        title = name.removeprefix("serq_").replace("_", " ")
        records = [record for record in counts.records if record.function == name]
        if records:
            yield _row("frame", title, records, _FRAMES)
        else:  # a part of other stages on this core
            timed = any(record.cycles is not None for record in counts.records)
            yield Row("frame", title, 0, 0 if timed else None)
    yield _row(
        "frame",
        "calls, moving samples",
        [r for r in counts.records if r.function in ("serq_model_frame", "serq_push", "serq_take_frame")],
        _FRAMES,
    )


def _decision_rows(counts: Counts, plan: Plan, statistics: tuple[str, ...]) -> Iterator[Row]:
    of_cost = {function: function.removeprefix("serq_").replace("_", " ") for function in statistics}
    of_cost |= {STATISTICS[name].function: STATISTICS[name].cost for name in STATISTICS}
    for cost in dict.fromkeys(of_cost[function] for function in statistics):
        functions = [function for function in statistics if of_cost[function] == cost]
        yield _row("decision", cost, _of(counts, *functions))
    yield _row("decision", "standardize", _of(counts, "serq_standardize"))
    called = iter(_of(counts, *_network_calls(plan)))
    for stage in plan.layer_costs:
        records = list(itertools.islice(called, len(stage.calls)))
        if [record.function for record in records] != list(stage.calls):
            raise SerqError(
                f"{stage.name}: the firmware called other functions than {', '.join(stage.calls)}"
            )
        yield _row("decision", stage.name, records)
    yield _row("decision", "argmax", _of(counts, "serq_argmax"))
    yield _row("decision", "calls", _of(counts, "serq_model_features", "serq_model_network", "serq_decide"))


def _of(counts: Counts, *functions: str) -> list[Count]:
    """Return the records of these functions, in the order of the calls."""
    return [record for record in counts.records if record.function in functions]


def _network_calls(plan: Plan) -> list[str]:
    """List the functions that compute the layers."""
    return sorted({function for stage in plan.layer_costs for function in stage.calls})


def _row(part: str, name: str, records: list[Count], events: int = 1) -> Row:
    cycles = [record.cycles for record in records if record.cycles is not None]
    return Row(
        part,
        name,
        sum(r.instructions for r in records) // events,
        sum(cycles) // events if len(cycles) == len(records) else None,
    )
