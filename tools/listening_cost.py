"""The page of what a second of listening costs: each model that ships, by stage on each core, and by board.

Everything is counted in the emulators, of the models' own firmware. `python -m tools.listening_cost` writes
docs/cost.md again.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec.structs
import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import Board, Emulator, Relative, all_boards, load_board
from serq_mcu.codegen.plan import Plan
from serq_mcu.counting.qemu import Count, counted, functions
from serq_mcu.quantized_model.store import load_model, shipped_models
from serq_mcu.quantized_model.types import QuantizedModel
from tools.frontend_cost import BOARDS, LISTENING, build_frontend, fits, lines, steady_noise, synthetic_speech
from tools.network_cost import compiler_version

PAGE = Path(__file__).parents[1] / "docs" / "cost.md"
_SETTLED, _COUNTED = 10, 6  # blocks that are left out, and that are counted
SECONDS = _SETTLED + _COUNTED
# What is promised: estimated cycles of a second of speech on a Cortex-M4F, at most.
SPEECH_CYCLES = {"default": 2_550_000, "light": 1_530_000}

# The functions of each row of the tables, without `serq_`; the rest belong to the row of their source file.
# Where the transforms are functions of their own, that of the pitch is in the first two.
_PASSES = (
    *(f"thumb2_first{points}" for points in (4, 8)),
    *(f"thumb2_pass{m}" for m in (2, 4, 8, 16, 32, 64)),
    *(f"thumb2_last{m}" for m in (4, 8, 16, 32, 64, 128)),
    "thumb1_first4",
)
STAGES = {
    "window, FFT": ("frame_shift", "all_changes", "thumb2_changes", "fft", "thumb1_level", *_PASSES),
    "spectrum, power": ("spectrum", "power", "add_power", "thumb1_split", "thumb2_split"),
    "mel, log, level": ("mel", "thumb2_mel", "log", "level"),
    "pitch, voicing": ("correlate", "pitch", "voicing", "refined", "best_lag"),
    "MFCC": ("dct", "thumb1_rows", "thumb2_rows"),
    "chroma": ("chroma", "scale_powers", "weigh_runs", "thumb1_runs", "thumb2_runs"),
    "sums of frames": (
        *("place_frame", "pool_add", "thumb2_pool", "histogram_add", "select", "count_add", "next_place"),
    ),
    "loudness": ("loudness", "model_loudness", "rest_of_pieces", "thumb1_piece", "thumb2_pieces"),
    "samples": ("push", "fill", "stream_push", "take_frame", "pass_over", "model_frame", "move_samples"),
}
FILES = {
    "network": ("serq_network.", "serq_dense", "serq_thumb."),
    "statistics, windows": (
        "serq_thumb2.",
        "serq_pool.",
        "serq_stream.",
        "serq_model.",
        "serq.",
        "serq_speech.",
    ),
}
OTHER = "other"

_INTRODUCTION = """\
# What a second of listening costs

The models that ship, as `serq-mcu export --app live` makes them: all that the model's own code executes for a
second of audio, from samples to the decision.
*Speech* is synthetic and has no pauses, so that every frame is transformed and counts, and every decision is
made; *with pauses*, almost half of the frames are too quiet to count, and end at their level; *silence* is
white noise at -60 dB, in which a stream passes over all frames but one of a second.
Counted in QEMU by `python -m tools.listening_cost`, which writes this page, over {counted} seconds after the
first {settled}.
Compilers: {compilers}, at -O2.

## By board

Milliseconds of a second, at the board's clock.
On Cortex-M0 to M4F they are estimated cycles; elsewhere instructions, one a cycle.
They hold no wait states and no misses of a cache: a board that runs from slow or serial flash takes longer.
What an audio driver, a system and idle time take is not in them.
A board's core is counted as the closest one that is emulated.
The code of a Cortex-M0 is run by a Cortex-M3, which executes the same instructions, with the RAM of a
Raspberry Pi Pico.
A dash: that one has too little RAM for the model.
"""
_BY_STAGE = """\
## By stage

Thousands a second of speech: estimated cycles on a Cortex-M4F and M0, instructions elsewhere.
On Cortex-M the transform of the pitch is in the first two rows, as it is that of the frame.
"""
_VOICE = """\
## A voice that learns

The same second of speech, thousands, where a board learns its speaker's voice from its own answers
(`serq_stream_use_voice`): the input of a decision is standardised by the voice, and every window that shares
no block with the last that taught teaches.
"""
_PEERS = """\
## Beside others

A frame of 25 ms every 10 ms at 16 kHz, FFT of 512, 40 mel bands, 13 MFCC: instructions / estimated cycles,
all by one compiler (GCC 12.2 -O2) and counted alike.
serq-mcu's figure is in [what the front end costs](frontend_cost.md) (*benchmark*), the network's peers are in
[what the network costs](network_cost.md).

| front end | Cortex-M4 | Cortex-M0+ |
| --- | --- | --- |
| CMSIS-DSP `arm_mfcc_q15` (commit ec1bb75, July 2026) | 62,817 / 77,489 | 308,535 / 428,004 |
| CMSIS-DSP `arm_mfcc_f32`, with the conversion of the samples | 54,037 / 84,185 | 1.92 M / 2.50 M |
"""


@dataclass(frozen=True)
class Second:
    """What a second of audio takes on a core, stage by stage, in the core's unit."""

    stages: dict[str, float]

    @property
    def total(self) -> float:
        """All stages."""
        return sum(self.stages.values())


def count_seconds(
    board: Board, model: QuantizedModel, *streams: NDArray[np.int16], learns: bool = False
) -> list[Second]:
    """Count a second of each stream on an emulated board, after the first blocks.

    streams: int16 [samples] at the model's rate, of 16 blocks; learns: a voice, from its answers. Raises
    SerqError if it cannot be built or counted.
    """
    with tempfile.TemporaryDirectory(prefix="serq-cost-") as work:
        elf = build_frontend(board, model, Path(work) / "p", LISTENING, f"-DLEARNS={learns:d}").elf
        row_of = _rows(board, Path(work) / "p")
        return [_second(board, model, elf, row_of, pcm) for pcm in streams]


def _second(
    board: Board, model: QuantizedModel, elf: Path, row_of: dict[str, str], pcm: NDArray[np.int16]
) -> Second:
    assert model.decision is not None
    block = model.decision.block_frames * model.spec.hop_length
    found = []
    for blocks in (_SETTLED, _SETTLED + _COUNTED):
        with counted(board, elf, [], [*row_of, "application_run"]) as (command, read):
            heard = pcm[: blocks * block].tobytes()
            subprocess.run(command, input=heard, capture_output=True, timeout=240, check=True)
            found.append({record.function: record for record in read().records})
    before, after = found
    per_second = model.spec.sample_rate / (_COUNTED * block)
    second = dict.fromkeys((*STAGES, *FILES, OTHER), 0.0)
    for name, row in row_of.items():
        if name in after:
            second[row] += (_time(after[name]) - _time(before[name])) * per_second
    return Second({row: time for row, time in second.items() if time})


def _time(count: Count) -> int:
    return count.instructions if count.cycles is None else count.cycles


def _rows(board: Board, folder: Path) -> dict[str, str]:
    """Return the row of each of the runtime's functions."""
    own = {name: row for row, names in STAGES.items() for name in names}
    rows = dict.fromkeys(functions(board, folder, ("serq",)), OTHER)
    for row, files in FILES.items():
        rows |= dict.fromkeys(functions(board, folder, files), row)
    return {name: own.get(name.removeprefix("serq_"), row) for name, row in rows.items()}


def roomy(board: Board) -> Board:
    """Give the Cortex-M0 the RAM of a larger chip: a machine whose Cortex-M3 executes all that it can."""
    if board.name != "emulated-m0":
        return board
    assert isinstance(board.emulator, Emulator)
    mcu = msgspec.structs.replace(board.mcu, ram_bytes=264 * 1024)  # of a Raspberry Pi Pico
    emulator = msgspec.structs.replace(board.emulator, machine="mps2-an385")
    return replace(board, mcu=mcu, emulator=emulator)


def main() -> None:
    """Count everything and write the page."""
    cores = [roomy(load_board(name)) for name in BOARDS]
    models = {name: load_model(path) for name, path in shipped_models().items()}
    speech, paused, silence, learning = {}, {}, {}, {}
    for board in cores:
        for name, model in models.items():
            if fits(board, Plan(model, board).stream_bytes):
                talks, pauses = (synthetic_speech(3, SECONDS, pauses=some) for some in (False, True))
                key, streams = (board.name, name), (talks, pauses, steady_noise(SECONDS))
                speech[key], paused[key], silence[key] = count_seconds(board, model, *streams)
                (learning[key],) = count_seconds(board, model, talks, learns=True)
                print(*key, *(round(of[key].total) for of in (speech, paused, silence)), flush=True)
    compilers = ", ".join(dict.fromkeys(map(compiler_version, cores)))
    head = _INTRODUCTION.format(counted=_COUNTED, settled=_SETTLED, compilers=compilers)
    by_stage = [_stages_table(cores, name, speech, paused, silence) for name in models]
    boards = _boards_table(list(models), speech, silence)
    voice = _voice_table(cores, list(models), speech, learning)
    write_file(PAGE, "\n".join([head, boards, _BY_STAGE, *by_stage, _VOICE, voice, _PEERS]))


Seconds = dict[tuple[str, str], Second]


def _boards_table(models: list[str], speech: Seconds, silence: Seconds) -> str:
    head = ["board", "core", "MHz"]
    for name in models:
        head += [f"`{name}`: speech", "share of the core", "silence"]
    rows = [head, ["---"] * len(head)]
    for board in all_boards():
        if isinstance(board.emulator, Relative) and board.mcu.clock_hz:
            cells = [f"`{board.name}`", board.mcu.core, f"{board.mcu.clock_hz / 1e6:g}"]
            for name in models:
                key = board.emulator.relative, name
                cells += _cells(board, speech[key], silence[key]) if key in speech else ["-"] * 3
            rows.append(cells)
    return lines(rows)


def _voice_table(cores: list[Board], models: list[str], speech: Seconds, learning: Seconds) -> str:
    rows = [["model", "core", "without", "learning", "more"], ["---"] * 5]
    for name in models:
        for board in cores:
            if (board.name, name) in speech:
                before, after = speech[board.name, name].total, learning[board.name, name].total
                figures = (
                    f"{before / 1000:,.0f}",
                    f"{after / 1000:,.0f}",
                    f"{100 * (after / before - 1):.1f} %",
                )
                rows.append([f"`{name}`", board.mcu.core, *figures])
    return lines(rows)


def _cells(board: Board, speech: Second, silence: Second) -> list[str]:
    clock = board.mcu.clock_hz
    heard, quiet = speech.total / clock, silence.total / clock
    return [f"{1000 * heard:.1f} ms", f"{100 * heard:.1f} %", f"{1000 * quiet:.1f} ms"]


def _stages_table(cores: list[Board], name: str, speech: Seconds, paused: Seconds, silence: Seconds) -> str:
    shown = [board for board in cores if (board.name, name) in speech]
    rows = [[f"`{name}`", *(board.mcu.core for board in shown)], ["---"] * (len(shown) + 1)]
    for stage in (*STAGES, *FILES, OTHER):
        found = [speech[board.name, name].stages.get(stage, 0) for board in shown]
        if any(found):
            rows.append([stage, *(f"{value / 1000:,.0f}" for value in found)])
    for title, seconds in (("speech", speech), ("speech with pauses", paused), ("silence", silence)):
        rows.append(
            [
                f"**a second of {title}**",
                *(f"**{seconds[board.name, name].total / 1000:,.0f}**" for board in shown),
            ]
        )
    return lines(rows)


if __name__ == "__main__":
    main()
