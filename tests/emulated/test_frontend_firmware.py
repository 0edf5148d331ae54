"""The front end on every core, as a product has it: without a trace, so that stages are fused and each
core takes its own shortest way.
"""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.costs import silence
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.counting.qemu import symbols
from serq_mcu.frontend.blocks import F0, Chroma, FeatureBlock, Mfcc, Voicing
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.speech import loudness
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.frontend import SPECS, random_tables, stimulus
from tests.support.models import made_up_model
from tests.support.native import SANITIZERS, compile_program
from tools.frontend_cost import (
    LIMITS,
    LISTENING_SPECS,
    SILENT_CYCLES,
    build_frontend,
    frame_cost,
    listening_cost,
    listening_model,
    steady_noise,
    synthetic_speech,
)
from tools.frontend_cost import SPECS as COST_SPECS
from tools.listening_cost import OTHER, SECONDS, SPEECH_CYCLES, count_seconds
from tools.pitch_errors import LIMITS as PITCH_LIMITS
from tools.pitch_errors import SPECS as PITCH_SPECS
from tools.pitch_errors import stage_cost

BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
# A first pass of radix 2 and of radix 4; with zeros behind the frame and without; every kind of block.
ON_CORES = {
    "all blocks": SPECS["all blocks"],
    "short window": SPECS["short window"],
    "narrow window": SPECS["narrow window"],
    "centred": SPECS["centred"],
    "pitch": SPECS["pitch"],
    "pitch alone": SPECS["pitch alone"],
    "chroma alone": FeatureSpec(name="pitch", fft_length=512, hop_length=200, blocks=(Chroma(),)),
}
OTHERS = [("emulated-m4f", "longest"), ("emulated-m33", "pitch"), ("emulated-m55", "all blocks")]
LONGEST = {"longest": replace(ON_CORES["pitch"], fft_length=2048, hop_length=1000)}


@pytest.mark.parametrize(("board", "name"), [*itertools.product(BOARDS, ON_CORES), *OTHERS])
def test_features_without_a_trace_are_the_references(board: str, name: str, tmp_path: Path) -> None:
    assert_computes_the_features(
        board, made_up_model((4, 2), (1, 2), spec=(ON_CORES | LONGEST)[name]), tmp_path / "p"
    )


# Odd and even numbers of levels, of folded bands and of rows of the DCT. Extreme tables of the pitch are only
# safe in the shortest transform, those of the window up to 512.
ENDS = [
    *((board, 256, 10, 9, (F0(), Voicing())) for board in ("emulated-m0", "emulated-m4f")),
    ("emulated-m0", 512, 12, 8, ()),
    ("emulated-m4f", 512, 12, 8, ()),
]


@pytest.mark.parametrize(("board", "fft_length", "bands", "rows", "pitch"), ENDS)
def test_assembly_and_intrinsics_take_the_ends_of_every_table(
    board: str, fft_length: int, bands: int, rows: int, pitch: tuple[FeatureBlock, ...], tmp_path: Path
) -> None:
    spec = FeatureSpec(
        name="any",
        fft_length=fft_length,
        hop_length=fft_length // 2,
        mel_bands=bands,
        pitch_low=200,
        blocks=(Mfcc(rows), Chroma(), *pitch),
    )
    for seed in (1, 3) if fft_length == 256 else (2,):
        tables = random_tables(np.random.default_rng(seed), spec)
        assert_computes_the_features(
            board, replace(made_up_model((4, 2), (1, 2), spec=spec), tables=tables), tmp_path / f"{seed}"
        )


def assert_computes_the_features(board: str, model: QuantizedModel, folder: Path) -> None:
    elf = build_frontend(load_board(board), model, folder).elf
    length = model.spec.fft_length
    for pcm in (stimulus(length, seed=4), stimulus(length, seed=5)[1:]):
        done = subprocess.run(
            platformio.emulator_command(load_board(board), elf),
            input=pcm.tobytes(),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(
            np.frombuffer(done.stdout, dtype=np.int32), features(model.spec, model.tables, pcm)
        )


@pytest.mark.parametrize("name", ["all blocks", "chroma alone", "centred", "pitch", "pitch alone"])
@pytest.mark.parametrize("board", BOARDS)
def test_every_stage_on_the_emulators(board: str, name: str, tmp_path: Path) -> None:
    spec = ON_CORES[name]
    model = made_up_model((8, 3), (2, 5), spec=spec)
    with open_target(export(model, load_board(board), tmp_path / "p"), "emulator") as target:
        report = verify(model, [Recording("hard", stimulus(spec.fft_length))], target)
    assert report.ok, report_lines(report)


@pytest.mark.parametrize("name", SPECS)
def test_every_stage_of_every_specification_on_the_host(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    model = made_up_model((8, 3), (2, 5), spec=spec)
    with open_target(export(model, load_board("esp32"), tmp_path / "p"), "host") as target:
        report = verify(model, [Recording("hard", stimulus(spec.fft_length))], target)
    assert report.ok, report_lines(report)


@pytest.mark.parametrize("board", ["emulated-m0", "emulated-m4f"])
def test_loudness_in_assembly_is_the_references(board: str, tmp_path: Path) -> None:
    """Where two samples lie in a word and where they do not, of whole pieces and of what is left."""
    model, rng = made_up_model((4, 2), (1, 2), spec=ON_CORES["narrow window"]), np.random.default_rng(7)
    program = Path(__file__).parents[1] / "programs" / "loudness_application.c"
    elf = build_frontend(load_board(board), model, tmp_path / "p", program).elf
    parts = [np.full(256, -32768), np.full(192, 32767), np.zeros(64), rng.integers(-32768, 32768, 130)]
    parts += [rng.integers(-3, 3, count) for count in (63, 64, 80, 128)]
    parts = [part.astype(np.int16) for part in parts for _ in range(2)]
    records = b"".join(np.uint16(part.size).tobytes() + part.tobytes() for part in parts)
    done = subprocess.run(
        platformio.emulator_command(load_board(board), elf),
        input=model.tables.log_table.tobytes() + records,
        capture_output=True,
        timeout=300,
        check=True,
    )
    specs = [FeatureSpec(fft_length=2048, hop_length=part.size) for part in parts]
    frames = [np.concatenate([np.zeros(2048 - part.size, np.int16), part]) for part in parts]
    table = model.tables.log_table
    expected = [loudness(spec, table, frame) for spec, frame in zip(specs, frames, strict=True)]
    assert np.frombuffer(done.stdout, np.int32).tolist() == np.concatenate(expected).tolist()


@pytest.mark.slow(9)
def test_a_padded_clip_ends_when_it_is_asked_for(tmp_path: Path) -> None:
    """The interface's answers: 1 when two frames will be there, then the same decision however often, then
    no more samples until it starts anew.
    """
    spec = SPECS["centred"]
    model = made_up_model((4, 2), (1, 2), spec=spec)
    runtime = tmp_path / "p/lib/serq/src"
    export(model, load_board("esp32"), tmp_path / "p")
    flags = [*SANITIZERS, f"-I{runtime}"]
    program = compile_program(
        tmp_path / "clip",
        [Path(__file__).parents[1] / "programs" / "padded_clip.c", *runtime.glob("*.c")],
        flags,
    )

    def answers(count: int, piece: int) -> list[int]:
        done = subprocess.run([program, str(count), str(piece)], capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    for count in (spec.min_samples, 511, 512, 5000):
        pcm = (np.arange(count) ** 2 % 20011 - 10000).astype(np.int16)
        label = classify(model, features(spec, model.tables, pcm)[None])[0]
        for piece in (1, 77):
            assert answers(count, piece) == [1, label, 1, -5, 1]
    assert answers(spec.min_samples - 1, 50) == [0, -3]


@pytest.mark.parametrize(("board", "name"), LIMITS)
def test_a_frame_costs_no_more_instructions_than_promised(board: str, name: str) -> None:
    instructions, _ = frame_cost(load_board(board), COST_SPECS[name]).frame
    assert 0.5 * LIMITS[board, name] < instructions <= LIMITS[board, name]


@pytest.mark.parametrize(("board", "name"), PITCH_LIMITS)
def test_pitch_costs_no_more_instructions_than_promised(board: str, name: str) -> None:
    instructions, _ = stage_cost(frame_cost(load_board(board), PITCH_SPECS[name]))
    assert 0.5 * PITCH_LIMITS[board, name] < instructions <= PITCH_LIMITS[board, name]


@pytest.mark.slow(9)
@pytest.mark.parametrize("name", LISTENING_SPECS)
def test_a_second_of_silence_costs_no_more_cycles_than_promised(name: str) -> None:
    board, noise = load_board("emulated-m4f"), steady_noise(20.0)
    sparing = listening_model(LISTENING_SPECS[name])
    stated = silence(Plan(sparing, board))
    assert stated is not None and stated.cycles is not None
    for pcm in (noise, np.zeros_like(noise)):
        _, cycles = listening_cost(board, sparing, pcm)
        assert cycles is not None and 0.2 * SILENT_CYCLES < cycles <= SILENT_CYCLES
        assert stated.cycles == pytest.approx(cycles, rel=0.1)
    _, all_heard = listening_cost(board, listening_model(LISTENING_SPECS[name], sparing=False), noise)
    assert all_heard is not None and all_heard > 2 * SILENT_CYCLES


@pytest.mark.slow(6)
@pytest.mark.parametrize("name", SPEECH_CYCLES)
def test_a_second_of_speech_costs_no_more_cycles_than_promised(name: str) -> None:
    model = listening_model(LISTENING_SPECS[name])
    streams = [synthetic_speech(3, SECONDS, pauses=some) for some in (False, True)]
    second, paused = count_seconds(load_board("emulated-m4f"), model, *streams)
    assert 0.5 * SPEECH_CYCLES[name] < second.total <= SPEECH_CYCLES[name]
    assert paused.total < 0.92 * second.total  # frames that are too quiet to count end at their level
    assert second.stages["window, FFT"] == max(second.stages.values())
    assert OTHER not in second.stages  # each function has its row


ALWAYS = {
    f"serq_{name}"
    for name in (
        "init",
        "push",
        "features",
        "model_frame",
        "model_features",
        "frame_shift",
        "fft",
        "spectrum",
        "level",
        "pool_add",
    )
}
ALWAYS |= {"serq_twiddle_table", "serq_window_table", "serq_log_table"}
# Which frames count, and whether there is speech.
ALWAYS |= {f"serq_{name}" for name in ("place_frame", "step", "tier", "next_place", "raise_top", "count_add")}
ALWAYS |= {f"serq_{name}" for name in ("floor_init", "rises", "frame_rises", "add_speech")}
STATISTICS = {"serq_pool_mean", "serq_pool_sd", "serq_pool_delta_sd"}
PERCENTILES = {
    "serq_histogram_add",
    "serq_percentiles",
    "serq_mfcc_histogram_table",
    "serq_mfcc_percent_table",
}
MEL = {"serq_mel", "serq_segment_table", "serq_mel_offset_table", "serq_log"}
DCT = {"serq_dct", "serq_dct_table"}
CHROMA = {"serq_chroma", "serq_chroma_run_table", "serq_chroma_weight_table", "serq_add_power"}
PITCH = {"serq_correlate", "serq_pitch", "serq_voicing", "serq_add_power", "serq_select"}
PITCH |= {f"serq_pitch_{name}_table" for name in ("weight", "compress", "cost", "twiddle")}
USED = {
    "speech120": STATISTICS | MEL | DCT,
    "narrow window": MEL | {"serq_pool_sd"},
    "chroma alone": STATISTICS | CHROMA,
    "all blocks": STATISTICS | {"serq_pool_delta_mean"} | PERCENTILES | MEL | DCT | CHROMA,
    "pitch alone": STATISTICS | PITCH,
}


@pytest.mark.parametrize("name", USED)
def test_the_program_holds_only_what_the_specification_uses(name: str, tmp_path: Path) -> None:
    board = load_board("emulated-m4f")
    elf = build_frontend(board, made_up_model((4, 2), (1, 2), spec=SPECS[name]), tmp_path / "p").elf
    held = {symbol for symbol in symbols(board, elf) if symbol.startswith("serq_")}
    held = {symbol for symbol in held if not symbol.startswith("serq_thumb")}  # parts of the others
    assert held - {"serq_clear_pools"} == ALWAYS | USED[name]  # inlined or not, as the compiler likes
