"""The page of what the front end costs: instructions a frame and a stage, in firmware without a trace.

So is a second of listening to silence. They are counted on every emulated kind of core. `python -m
tools.frontend_cost` writes docs/frontend_cost.md again.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import Board, load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.export import board_files, runtime_files, write_project
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import load_config
from serq_mcu.counting.qemu import code_bytes, counted, functions
from serq_mcu.frontend.blocks import Chroma, Mfcc
from serq_mcu.frontend.code import frame_functions, frontend_arrays, pitch_points
from serq_mcu.frontend.level import level_from_db
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantized_model.types import DecisionRule, QuantizedModel
from tools.network_cost import compiler_version, random_model, random_network

PAGE = Path(__file__).parents[1] / "docs" / "frontend_cost.md"
APPLICATION = Path(__file__).with_name("frontend_application.c")
LISTENING = Path(__file__).with_name("listening_application.c")
SECONDS = 2
_READ_BYTES = 1024  # of the application, which reads pieces of 512, and of the port

# 25 ms every 10 ms in an FFT of 512, 40 HTK bands without norm, 13 coefficients: what other front ends were
# measured at.
BENCHMARK = FeatureSpec(
    name="benchmark",
    fft_length=512,
    window_length=400,
    hop_length=160,
    fmin=20,
    mel_scale="htk",
    mel_norm="none",
    blocks=(Mfcc(13),),
)
DEFAULT = load_config().features
_CHROMA = Chroma()
SPECS = {
    "benchmark": BENCHMARK,
    "benchmark and chroma": replace(BENCHMARK, blocks=(*BENCHMARK.blocks, _CHROMA)),
    "default": DEFAULT,
    "default without chroma": replace(
        DEFAULT, blocks=tuple(block for block in DEFAULT.blocks if block.kind != "chroma")
    ),
}
BOARDS = ("emulated-m4f", "emulated-m7", "emulated-m0", "emulated-rv32imc", "emulated-xtensa")
# What is promised: instructions a frame, at most. tests/emulated/test_frontend_firmware.py counts again and
# holds them.
LIMITS = {
    ("emulated-m4f", "benchmark"): 19_500,
    ("emulated-m0", "benchmark"): 74_000,
    ("emulated-rv32imc", "benchmark"): 34_500,
    ("emulated-m4f", "benchmark and chroma"): 25_000,
    ("emulated-m0", "benchmark and chroma"): 90_000,
}

# Listening: the specifications of models that ship, steady white noise, and what a second of it costs at most
# on a Cortex-M4, in estimated cycles.
LISTENING_SPECS = {"default": DEFAULT, "light": load_config(preset="light").features}
SILENT_CYCLES = 180_000
NOISE_DB = -60.0
_SETTLED, _COUNTED = 10, 10  # blocks that are left out, and that are counted

_AROUND = ("application_run", "serq_push", "serq_take_frame", "serq_features", "serq_model_features")
_POOLING = ("place_frame", "select", "count_add", "pool_add", "histogram_add")
_STAGES = {
    "frame_shift": "shift of the frame",
    "fft": "window and FFT",
    "spectrum": "spectrum",
    "power": "power",
    "mel": "mel",
    "log": "log",
    "add_power": "powers outside the mel bands",
    "level": "level",
    "frame_rises": "whether it rises above the noise",
    "correlate": "autocorrelation",
    "pitch": "pitch",
    "voicing": "voicing",
    "add_speech": "whether there is speech",
    "dct": "DCT",
    "chroma": "chroma",
    "pooling": "pooling (not in the sums)",
}
_INTRODUCTION = """\
# What the front end costs

Instructions a frame, and on Cortex-M4 and M0 estimated cycles (no wait states), from the samples to the last
feature without pooling.
They are counted in QEMU over {seconds} seconds of synthetic speech by `python -m tools.frontend_cost`, which
writes this page.
The firmware has no trace.
Compilers: {compilers}, at -O2.
`tests/emulated/test_frontend_firmware.py` counts again and holds the limits.
`serq-mcu bench` counts any exported project alike.

*benchmark*: 16 kHz, 25 ms in an FFT of 512, 40 HTK mel bands without norm, 13 MFCC.
*default*: `{default}`, FFT {fft}, {blocks}; a frame every {hop:g} ms.
*light*: `{light}`, FFT {light_fft}, {light_blocks}; a frame every {light_hop:g} ms.
*limit* is what is promised.
A core whose RAM has no room for a specification has no figure for it.
"""


@dataclass(frozen=True)
class FrameCost:
    """What a frame executes on average, (instructions, estimated cycles).

    By stage, and in all without pooling. Bytes of code and stack.
    """

    stages: dict[str, tuple[int, int | None]]
    frame: tuple[int, int | None]
    code_bytes: int
    stack_bytes: int


def synthetic_speech(
    seed: int, seconds: float = SECONDS, level: float = 0.3, *, pauses: bool = False
) -> NDArray[np.int16]:
    """Make voiced harmonics with moving formants over a noise floor, at 16 kHz.

    They have the spectral shapes that a front end meets, without a recording. Their level moves by 20 dB, so
    that every frame counts; with `pauses`, it falls to that of the noise five times in two seconds.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(int(16000 * seconds)) / 16000
    pitch = np.cumsum(120 + 60 * np.sin(2 * np.pi * 0.7 * t + seed)) / 16000
    harmonics = np.sum([np.sin(2 * np.pi * k * pitch) / k for k in range(1, 30)], axis=0)
    syllables = np.sin(2 * np.pi * 2.5 * t)
    envelope = np.maximum(0, syllables) ** 2 if pauses else 0.55 + 0.45 * syllables
    signal = level * harmonics / np.abs(harmonics).max() * envelope + rng.normal(0, 10**-3.5, len(t))
    pcm: NDArray[np.int16] = np.clip(np.round(signal * 32768), -32768, 32767).astype(np.int16)
    return pcm


def steady_noise(seconds: float) -> NDArray[np.int16]:
    """Make white noise at NOISE_DB, int16 at 16 kHz, as a quiet room has it."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 32768 * 10 ** (NOISE_DB / 20), round(16000 * seconds))
    return np.rint(noise).astype(np.int16)


def build_frontend(
    board: Board, model: QuantizedModel, folder: Path, application: Path = APPLICATION, flag: str = ""
) -> platformio.BuildResult:
    """Build firmware of the model's front end as a product has it, in the new project `folder`.

    It has no harness, trace and network, reads samples until its input ends and writes the pooled features;
    or it is another application, with a flag of the compiler's. Raises SerqError if it cannot be built.
    """
    library = {
        name: data
        for name, data in runtime_files().items()
        if name.startswith("lib/") or name == "src/port.h"
    }
    files = (
        library
        | Plan(model, board).model_files
        | {"src/main.c": application.read_bytes()}
        | board_files(board)
    )
    assert files["platformio.ini"].count(b"-DSERQ_TRACE=1") == 1
    files["platformio.ini"] = files["platformio.ini"].replace(b"-DSERQ_TRACE=1", flag.encode())
    write_project(files, "", board, folder)
    return platformio.build(folder)


def frame_cost(board: Board, spec: FeatureSpec) -> FrameCost:
    """Count a frame of a specification on an emulated board.

    Raises SerqError if it cannot be built or counted.
    """
    pcm = synthetic_speech(3)
    called = frame_functions(spec, build_tables(spec))
    frames = spec.frame_count(len(pcm))
    with tempfile.TemporaryDirectory(prefix="serq-cost-") as work:
        folder = Path(work) / "p"
        elf = build_frontend(board, random_network(spec, 1), folder).elf
        code = code_bytes(board, elf, functions(board, folder, ("serq",)))
        with counted(board, elf, [], [*called, "serq_model_frame", *_AROUND]) as (command, read):
            subprocess.run(command, input=pcm.tobytes(), capture_output=True, timeout=120, check=True)
            counts = read()
    found = {
        record.function: (record.instructions, record.cycles)
        for record in counts.records
        if record.instructions
    }

    def mean(names: list[str]) -> tuple[int, int | None]:
        cycles = [found[name][1] for name in names]
        known = [value for value in cycles if value is not None]
        return round(sum(found[name][0] for name in names) / frames), (
            round(sum(known) / frames) if len(known) == len(cycles) else None
        )

    pooling = [f"serq_{name}" for name in _POOLING if f"serq_{name}" in found]
    own = [name for name in called if name in found and name not in pooling]
    stages = {name.removeprefix("serq_"): mean([name]) for name in own} | {"pooling": mean(pooling)}
    return FrameCost(stages, mean([*own, "serq_model_frame"]), code, counts.stack_bytes)


def has_room(board: Board, spec: FeatureSpec) -> bool:
    """Tell whether the RAM of a board holds the front end's state beside what the application reads into."""
    return fits(board, Plan(random_network(spec, 1), board).state_bytes)


def can_listen(board: Board, spec: FeatureSpec) -> bool:
    """Tell whether the RAM of a board holds a stream by the default rule, likewise."""
    return fits(board, Plan(listening_model(spec), board).stream_bytes)


def fits(board: Board, state_bytes: int) -> bool:
    """Tell whether the RAM of a board holds a state beside what an application reads into."""
    return state_bytes + _READ_BYTES + board.port.stack_bytes <= board.mcu.ram_bytes


def listening_model(spec: FeatureSpec, *, sparing: bool = True) -> QuantizedModel:
    """Make a small random network that listens by the default rule, or hears all frames if not `sparing`."""
    chosen = load_config().decision
    frames = round(chosen.block_seconds * spec.sample_rate / spec.hop_length)
    floors = round(chosen.floor_seconds / chosen.block_seconds)
    rise = level_from_db(chosen.wake_db) if sparing else 0
    rule = DecisionRule(chosen.blocks, frames, floors, 0, chosen.smoothing, rise)
    return replace(random_model(spec, (16, 7), (2, 2), seed=0), decision=rule)


def listening_cost(board: Board, model: QuantizedModel, pcm: NDArray[np.int16]) -> tuple[int, int | None]:
    """Count a second of listening on an emulated board, (instructions, estimated cycles).

    pcm: int16 [samples] at 16 kHz, of 20 blocks; the first ten, in which a stream learns how loud silence is,
    are left out. Raises SerqError if it cannot be built or counted.
    """
    assert model.decision is not None
    block = model.decision.block_frames * model.spec.hop_length
    with tempfile.TemporaryDirectory(prefix="serq-cost-") as work:
        elf = build_frontend(board, model, Path(work) / "p", LISTENING).elf
        found = []
        for blocks in (_SETTLED, _SETTLED + _COUNTED):
            with counted(board, elf, [], ["serq_stream_push", "application_run"]) as (command, read):
                heard = pcm[: blocks * block]
                subprocess.run(command, input=heard.tobytes(), capture_output=True, timeout=240, check=True)
                (record,) = (record for record in read().records if record.function == "serq_stream_push")
                found.append(record)
    before, after = found
    second = model.spec.sample_rate / (_COUNTED * block)
    cycles = None if after.cycles is None or before.cycles is None else after.cycles - before.cycles
    return (
        round((after.instructions - before.instructions) * second),
        None if cycles is None else round(cycles * second),
    )


def main() -> None:
    """Count everything and write the page."""
    boards = [load_board(name) for name in BOARDS]
    costs = {}
    for board in boards:
        for name, spec in SPECS.items():
            if has_room(board, spec):
                costs[board.name, name] = frame_cost(board, spec)
                print(board.name, name, *costs[board.name, name].frame, flush=True)
    heard = {}
    for board in boards:
        for name, spec in LISTENING_SPECS.items():
            if can_listen(board, spec):
                heard[board.name, name] = Listened.counted(board, spec)
                print(board.name, name, heard[board.name, name], flush=True)
    light = LISTENING_SPECS["light"]
    head = _INTRODUCTION.format(
        seconds=SECONDS,
        compilers=", ".join(dict.fromkeys(map(compiler_version, boards))),
        default=DEFAULT.name,
        fft=DEFAULT.fft_length,
        blocks=_blocks(DEFAULT),
        hop=1000 * DEFAULT.hop_length / DEFAULT.sample_rate,
        light=light.name,
        light_fft=light.fft_length,
        light_blocks=_blocks(light),
        light_hop=1000 * light.hop_length / light.sample_rate,
    )
    stages = [_stages_table(boards, costs, name) for name in ("benchmark and chroma", "default")]
    listening = _listening_table(boards, heard)
    write_file(PAGE, "\n".join([head, _frames_table(boards, costs), listening, *stages, _memory(costs)]))


@dataclass(frozen=True)
class Listened:
    """What a second of listening executes, (instructions, estimated cycles).

    Of steady noise and of digital silence by the default rule, and of noise where all frames are transformed.
    """

    noise: tuple[int, int | None]
    silence: tuple[int, int | None]
    hearing_all: tuple[int, int | None]

    @staticmethod
    def counted(board: Board, spec: FeatureSpec) -> Listened:
        """Count on an emulated board."""
        noise = steady_noise(_SETTLED + _COUNTED)
        sparing, hearing = listening_model(spec), listening_model(spec, sparing=False)
        return Listened(
            listening_cost(board, sparing, noise),
            listening_cost(board, sparing, np.zeros_like(noise)),
            listening_cost(board, hearing, noise),
        )


Costs = dict[tuple[str, str], FrameCost]


def _blocks(spec: FeatureSpec) -> str:
    return ", ".join(f"{block.size} {block.kind}" for block in spec.blocks)


def _listening_table(boards: list[Board], heard: dict[tuple[str, str], Listened]) -> str:
    rise, rows = load_config().decision.wake_db, []
    rows.append(
        ["a second of listening", "steady noise", "digital silence", "limit", "if all were transformed"]
    )
    rows.append(["---"] * 5)
    for board in boards:
        for name in LISTENING_SPECS:
            cost = heard.get((board.name, name))
            if cost is None:
                continue
            cells = (_millions(part) for part in (cost.noise, cost.silence, cost.hearing_all))
            noise, silence, hearing_all = cells
            limit = f"{SILENT_CYCLES / 1e6:g} M cycles" if board.name == "emulated-m4f" else "-"
            rows.append([f"{board.mcu.core}, {name}", noise, silence, limit, hearing_all])
    return (
        "A stream where nobody speaks, by the default rule: one frame of each block is transformed, and of"
        f" the others only how loud they are is computed, until one rises by {rise:g} dB.\nIt is a stream's"
        f" whole work, with pooling, after its first {_SETTLED} blocks; the noise is white, at {NOISE_DB:g}"
        " dB.\n\n" + lines(rows)
    )


def _millions(cost: tuple[int, int | None]) -> str:
    return _both(cost, lambda value: f"{value / 1e6:.2f} M")


def _frames_table(boards: list[Board], costs: Costs) -> str:
    second = DEFAULT.sample_rate / DEFAULT.hop_length
    head = ["core"]
    for name in SPECS:
        head += [name, "limit"] if any(key[1] == name for key in LIMITS) else [name]
    rows = [[*head, "default, a second of audio"], ["---"] * (len(head) + 1)]
    for board in boards:
        cells = [board.mcu.core]
        for name in SPECS:
            cost = costs.get((board.name, name))
            cells.append("-" if cost is None else _both(cost.frame, "{:,}".format))
            if name in head[:-1] and head[head.index(name) + 1] == "limit":
                limit = LIMITS.get((board.name, name))
                cells.append("-" if limit is None else f"{limit:,}")
        rows.append([*cells, _a_second(costs.get((board.name, "default")), second)])
    return lines(rows)


def _a_second(cost: FrameCost | None, frames: float) -> str:
    if cost is None:
        return "-"
    instructions, cycles = cost.frame
    a_second = (instructions * frames, None if cycles is None else cycles * frames)
    return _both(a_second, lambda value: f"{value / 1e6:.2f} M")


def _stages_table(boards: list[Board], costs: Costs, name: str) -> str:
    shown = [  # the M7 executes what the M4F does
        board for board in boards if board.name != "emulated-m7" and (board.name, name) in costs
    ]
    rows = [["stage", *(board.mcu.core for board in shown)], ["---"] * (len(shown) + 1)]
    for stage, title in _STAGES.items():
        found = [costs[board.name, name].stages.get(stage) for board in shown]
        if any(found):
            fused = "in mel and chroma"  # where a core stores no powers
            rows.append([title, *(fused if cost is None else f"{cost[0]:,}" for cost in found)])
    return f"The {name.replace(' and ', ' with ')} by stage, instructions:\n\n" + lines(rows)


def _memory(costs: Costs) -> str:
    rows = [["on a Cortex-M4F, bytes", "tables", "code", "work area", "stack"], ["---"] * 5]
    for name, spec in SPECS.items():
        stored = frontend_arrays(spec, build_tables(spec))
        values = max([block.size for block in spec.blocks if block.own_stages])
        pitch = 8 * (pitch_points(spec, build_tables(spec)) + 2) if spec.uses_pitch else 0
        work = 8 * (spec.fft_length // 2 + 1) + 8 * spec.mel_bands + pitch + 4 * values
        cost = costs["emulated-m4f", name]
        sizes = (sum(array.values.nbytes for array in stored), cost.code_bytes, work, cost.stack_bytes)
        rows.append([name, *(f"{size:,}" for size in sizes)])
    note = (
        "Besides these the state has a frame of samples and, for each of up to 3 tiers, 24 bytes of sums for"
        " each coefficient and 32 for each histogram.\n*code* is the runtime's and the model's without the"
        " network, *stack* the most that the whole program used, which reads samples and pushes them."
    )
    return lines(rows) + f"\n{note}\n"


def _both(cost: tuple[float, float | None], text: Callable[[float], str]) -> str:
    """Write instructions, and cycles where they are estimated."""
    instructions, cycles = cost
    return text(instructions) if cycles is None else f"{text(instructions)} / {text(cycles)}"


def lines(rows: list[list[str]]) -> str:
    """Write rows of cells as a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


if __name__ == "__main__":
    main()
