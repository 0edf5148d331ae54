"""The front end on every core, as a product has it: without a trace, so that stages are fused and each core takes its own shortest way."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serq_mcu import platformio
from serq_mcu.boards import load_board
from serq_mcu.codegen.export import board_files, export, model_files, runtime_files, write_project
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureBlock, FeatureSpec
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.verification.counting import counted
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.models import made_up_model
from tests.native import SANITIZERS, compile_program
from tests.test_frontend import SPECS, stimulus, synthetic_speech

BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
# A first pass of radix 2 and of radix 4; with zeros behind the frame and without; every kind of block.
ON_CORES = {
    "all blocks": SPECS["all blocks"],
    "short window": SPECS["short window"],
    "narrow window": SPECS["narrow window"],
    "centred": SPECS["centred"],
    "chroma alone": FeatureSpec(name="pitch", fft_length=512, hop_length=200, blocks=(FeatureBlock("chroma", 12),)),
}


def _application(board_name: str, spec: FeatureSpec, folder: Path) -> platformio.BuildResult:
    board = load_board(board_name)
    application = {"src/main.c": Path(__file__).with_name("frontend_application.c").read_bytes()}
    library = {name: data for name, data in runtime_files().items() if name.startswith("lib/") or name == "src/port.h"}
    files = library | model_files(made_up_model((4, 2), (1, 2), spec=spec), board) | application | board_files(board)
    assert files["platformio.ini"].count(b"-DSERQ_TRACE=1") == 1
    files["platformio.ini"] = files["platformio.ini"].replace(b"-DSERQ_TRACE=1", b"")
    write_project(files, "0" * 16, board, folder)
    return platformio.build(folder)


@pytest.mark.parametrize("name", ON_CORES)
@pytest.mark.parametrize("board", BOARDS)
def test_features_without_a_trace_are_the_references(board: str, name: str, tmp_path: Path) -> None:
    spec = ON_CORES[name]
    elf = _application(board, spec, tmp_path / "p").elf
    for pcm in (stimulus(spec.fft_length, seed=4), stimulus(spec.fft_length, seed=5)[1:]):
        model = made_up_model((4, 2), (1, 2), spec=spec)
        done = subprocess.run(platformio.emulator_command(load_board(board), elf), input=pcm.tobytes(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.frombuffer(done.stdout, dtype=np.int32), features(spec, model.tables, pcm))


@pytest.mark.parametrize("name", ["all blocks", "chroma alone", "centred"])
@pytest.mark.parametrize("board", BOARDS)
def test_every_stage_on_the_emulators(board: str, name: str, tmp_path: Path) -> None:
    spec = ON_CORES[name]
    model = made_up_model((8, 3), (2, 5), spec=spec)
    with open_target(export(model, load_board(board), tmp_path / "p"), "emulator") as target:
        report = verify(model, [Recording("hard", stimulus(spec.fft_length))], target)
    assert report.ok, report.lines()


@pytest.mark.parametrize("name", SPECS)
def test_every_stage_of_every_specification_on_the_host(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    model = made_up_model((8, 3), (2, 5), spec=spec)
    with open_target(export(model, load_board("esp32"), tmp_path / "p"), "host") as target:
        report = verify(model, [Recording("hard", stimulus(spec.fft_length))], target)
    assert report.ok, report.lines()


def test_a_padded_clip_ends_when_it_is_asked_for(tmp_path: Path) -> None:
    """The interface's answers: 1 when two frames will be there, then the same decision however often, then no more samples until it starts anew."""
    spec = SPECS["centred"]
    model = made_up_model((4, 2), (1, 2), spec=spec)
    runtime = tmp_path / "p/lib/serq/src"
    export(model, load_board("esp32"), tmp_path / "p")
    flags = [*SANITIZERS, f"-I{runtime}"]
    program = compile_program(tmp_path / "clip", [Path(__file__).with_name("padded_clip.c"), *runtime.glob("*.c")], flags)

    def answers(count: int, piece: int) -> list[int]:
        done = subprocess.run([program, str(count), str(piece)], capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    for count in (spec.min_samples, 511, 512, 513, 5000):
        pcm = (np.arange(count) ** 2 % 20011 - 10000).astype(np.int16)
        label = classify(model, features(spec, model.tables, pcm)[None])[0]
        for piece in (1, 77, count):
            assert answers(count, piece) == [1, label, 1, -3, 1]
    assert answers(spec.min_samples - 1, 50) == [0, -1]


# What was promised of a frame of 25 ms in an FFT of 512, 40 HTK mel bands, 13 MFCC: instructions to the last feature, without pooling.
MFCC = SPECS["short window"].block("mfcc")
BENCHMARK = replace(SPECS["short window"], blocks=(MFCC,))
WITH_CHROMA = replace(SPECS["short window"], blocks=(MFCC, FeatureBlock("chroma", 12)))
INSTRUCTIONS = [
    ("emulated-m4f", BENCHMARK, 23_000),
    ("emulated-m0", BENCHMARK, 82_000),
    ("emulated-rv32imc", BENCHMARK, 35_000),
    ("emulated-m4f", WITH_CHROMA, 30_000),
    ("emulated-m0", WITH_CHROMA, 96_000),
]


@pytest.mark.parametrize(("board", "spec", "limit"), INSTRUCTIONS, ids=lambda value: getattr(value, "feature_count", value))
def test_a_frame_costs_no_more_instructions_than_promised(board: str, spec: FeatureSpec, limit: int, tmp_path: Path) -> None:
    elf = _application(board, spec, tmp_path / "p").elf
    pcm = synthetic_speech(3)
    around = ["application_run", "serq_push", "take_frame", "serq_features", "serq_model_features"]
    with counted(load_board(board), elf, [], ["serq_model_frame", "serq_pool_add", *around]) as (command, read):
        subprocess.run(command, input=pcm.tobytes(), capture_output=True, timeout=120, check=True)
        (frames,) = [record.instructions for record in read().records if record.function == "serq_model_frame"]
    assert 0.5 * limit < frames / spec.frame_count(len(pcm)) <= limit


def test_the_exported_code_holds_only_what_the_specification_uses() -> None:
    def text(spec: FeatureSpec) -> str:
        files = model_files(made_up_model((4, 2), (1, 2), spec=spec), load_board("esp32"))
        return "".join(data.decode() for name, data in files.items() if name.endswith((".c", ".h")))

    def mentions(spec: FeatureSpec) -> set[str]:
        return {
            word
            for word in ("serq_mel(", "serq_segment_table", "serq_dct(", "serq_dct_table", "serq_chroma(", "serq_chroma_run")
            if word in text(spec)
        }

    mel = {"serq_mel(", "serq_segment_table"}
    assert mentions(SPECS["speech120"]) == mel | {"serq_dct(", "serq_dct_table"}
    assert mentions(SPECS["shortest window"]) == mel
    assert mentions(SPECS["chroma alone"]) == {"serq_chroma(", "serq_chroma_run"}
