"""The exported firmware on every core: all widths in all positions, clips stage by stage, memory, and
compilers without a word.
"""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import Emulator, load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import export, read_project
from serq_mcu.codegen.plan import Plan
from serq_mcu.codegen.render import ABI
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.layers.packing import LAYOUTS, Part
from serq_mcu.quantized_model.interpreter import stages
from serq_mcu.quantized_model.store import load_model, shipped_models
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, digest, verify
from tests.support.models import SMALL_SPEC, made_up_features, made_up_model
from tests.support.tools import needs
from tools.parity import generated_signals

EMULATED = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
# bytes of the whole harness on the Cortex-M0, stack included: all that there is; the light one as counted
RAM_LIMITS = {"emodb": 16_384, "emodb-light": 14_400}
WIDTHS = (*range(1, 9), "ternary")
SIZES = (33, 9, 40, 1, 17, 8, 31, 7)  # multiples of nothing, one neuron, multiples of the kernels' groups
# For each layer a kernel, or two, whatever the core would choose: all of them, at sizes that are no
# multiples, one beyond 512 inputs.
FORCED = {
    "planes": (
        (13, 525, 7, 31, 5, 9, 6),
        (
            "planes8:1",
            "planes8:4",
            "planes8:3",
            "planes8:2",
            "planes8:4+planes8:4",
            "planes8:2+planes8:3",
            "planes8:1",
        ),
    ),
    "words": (
        (16, 525, 7, 30, 8, 15, 6),
        ("dsp1:1", "dsp4:4", "dsp8:8", "dsp2:2", "mul4:4", "mul8:8", "dsp2:2+dsp1:1"),
    ),
    "split": (
        (14, 525, 7, 30, 7, 5),
        ("mul8:8", "mul4:4+dsp1:1", "dsp2:2", "dsp4:4+dsp2:2", "mul4:4+planes8:3", "dsp4:4+planes8:1"),
    ),
    "vectors": (
        (16, 525, 7, 30, 8, 21, 6),
        ("vec1:1", "vec4:4", "vec8:8", "vec2:2", "vec4:4+vec2:2", "vec2:2+vec1:1", "vec4:4+vec1:1"),
    ),
}

# Eight layers and nine rotations of the nine widths: each width once in each position.
MODELS = [("random", turn) for turn in range(9)] + [("high", 2), ("low", 5)]


def _layered(fill: str, turn: int) -> QuantizedModel:
    return made_up_model(
        SIZES, [WIDTHS[(position + turn) % 9] for position in range(8)], seed=turn, fill=fill
    )


def _signals(spec: FeatureSpec) -> list[Recording]:
    """Six frames of each."""
    return generated_signals(spec.sample_rate, (spec.fft_length + 5 * spec.hop_length) / spec.sample_rate)


def _check_decisions(model: QuantizedModel, folder: Path, board: str, on: str) -> None:
    project = export(model, load_board(board), folder)
    with open_target(project, on) as target:
        for pooled in made_up_features(model, 6):
            types = {stage.name: stage.type for stage in model.stages}
            expected = {stage: values.astype(types[stage]) for stage, values in stages(model, pooled)}
            result = target.device.run_features(pooled)
            assert result.digests == {stage: digest(values) for stage, values in expected.items()}
            assert np.array_equal(result.scores, expected["scores"])
            assert result.label == int(np.argmax(expected["scores"]))


@pytest.mark.parametrize(("fill", "turn"), MODELS)
def test_every_width_in_every_position_on_the_host(fill: str, turn: int, tmp_path: Path) -> None:
    _check_decisions(_layered(fill, turn), tmp_path / "p", "esp32", "host")


@pytest.mark.slow(20)
@pytest.mark.parametrize("board", [*EMULATED, "emulated-m33", "emulated-m55"])
def test_every_width_in_every_position_on_the_emulators(board: str, tmp_path: Path) -> None:
    own = MODELS if board != "emulated-m33" else MODELS[-3:]  # its C is the M4F's
    for fill, turn in own:
        _check_decisions(_layered(fill, turn), tmp_path / f"{fill}{turn}", board, "emulator")


@pytest.mark.parametrize("fill", ["random", "high"])
@pytest.mark.parametrize(
    ("board", "forced"),
    [
        *itertools.product(
            ["emulated-m0", "emulated-m4f", "emulated-m55", "emulated-rv32imc", "emulated-xtensa"], FORCED
        )
    ],
)
def test_every_kernel_on_the_emulators(
    board: str, forced: str, fill: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, names = FORCED[forced]
    layers = [[text.split(":") for text in name.split("+")] for name in names]
    parts = [
        tuple(
            Part(LAYOUTS[name], sum(int(bits) for _, bits in layer[:i]), int(b))
            for i, (name, b) in enumerate(layer)
        )
        for layer in layers
    ]
    monkeypatch.setattr("serq_mcu.codegen.plan.choose", lambda *given: parts)
    _check_decisions(
        made_up_model(sizes, [sum(p.bits for p in layer) for layer in parts], seed=3, fill=fill),
        tmp_path / "p",
        board,
        "emulator",
    )


def test_every_kernel_is_forced_once() -> None:
    used = {part for _, names in FORCED.values() for name in names for part in name.split("+")}
    assert used == {f"{layout.name}:{bits}" for layout in LAYOUTS.values() for bits in layout.widths}


@pytest.mark.parametrize(
    "spec",
    [
        SMALL_SPEC,
        FeatureSpec(),
        FeatureSpec(
            name="wide", fft_length=2048, hop_length=2048, mel_bands=64, blocks=(Mfcc(20, ("mean",)),)
        ),
        FeatureSpec(
            name="slow",
            sample_rate=8000,
            fft_length=512,
            hop_length=1,
            mel_bands=26,
            fmin=100,
            fmax=3800,
            blocks=(Mfcc(13, ("delta_sd", "mean")),),
        ),
    ],
    ids=lambda spec: spec.name,
)
def test_every_stage_of_extreme_clips_on_the_host(spec: FeatureSpec, tmp_path: Path) -> None:
    model = made_up_model((16, 5), (4, 3), spec=spec)
    with open_target(export(model, load_board("esp32"), tmp_path / "p"), "host") as target:
        report = verify(model, _signals(spec), target)
    assert report.ok, report_lines(report)


@pytest.mark.parametrize("board", ["esp32", "esp32c3", "nucleo_f446re", *EMULATED])
def test_every_stage_of_extreme_clips_on_the_emulators(board: str, tmp_path: Path) -> None:
    model = made_up_model((256, 512, 64, 7), (2, 1, 3, 8), spec=FeatureSpec())
    project = export(model, load_board(board), tmp_path / "p")
    with open_target(project, "emulator") as target:
        report = verify(model, _signals(model.spec), target)
    assert report.ok, report_lines(report)


@pytest.mark.parametrize(("name", "ram"), RAM_LIMITS.items())
def test_a_model_that_ships_fits_a_cortex_m0(name: str, ram: int, tmp_path: Path) -> None:
    export(load_model(shipped_models()[name]), load_board("m0"), tmp_path / "p")
    built = platformio.build(tmp_path / "p")
    assert built.ram_bytes <= ram
    assert built.flash_bytes <= 256 * 1024


@pytest.mark.parametrize("board", EMULATED)
def test_the_stated_state_is_what_the_compiler_makes_of_it(board: str, tmp_path: Path) -> None:
    emulator = load_board(board).emulator
    assert isinstance(emulator, Emulator)
    for index, model in enumerate(
        [
            _layered("random", 0),
            made_up_model((256, 512, 64, 7), (1, 1, 1, 1), spec=FeatureSpec()),
            made_up_model((3,), (1,)),
        ]
    ):
        export(model, load_board(board), tmp_path / f"{index}")
        size = Plan(model, load_board(board)).state_bytes
        line = f'#include "serq.h"\nchar right[sizeof(serq_state) == {size} ? 1 : -1];\n'
        command = [
            f"{emulator.compiler}gcc",
            *emulator.compile_flags,
            "-I",
            str(tmp_path / f"{index}/lib/serq/src"),
            "-c",
            "-x",
            "c",
            "-",
            "-o",
            "/dev/null",
        ]
        subprocess.run(command, input=line, text=True, check=True)


@pytest.mark.parametrize("board", EMULATED)
def test_the_budget_before_a_build_is_near_the_build(board: str, tmp_path: Path) -> None:
    model = made_up_model((256, 512, 64, 7), (2, 1, 3, 8), spec=FeatureSpec())
    stated = budget(Plan(model, load_board(board)))
    export(model, load_board(board), tmp_path / "p")
    built = platformio.build(tmp_path / "p")
    # what is left is what the budget calls unknown, start-up code and C library, and code that the linker
    # finds unused
    assert abs(built.flash_bytes - stated.flash) <= 0.05 * built.flash_bytes
    assert abs(built.ram_bytes - stated.ram) <= 0.05 * built.ram_bytes


@pytest.mark.parametrize("standard", ["c99", "c11"])
@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=needs("clang"))])
def test_the_portable_c_compiles_without_a_word_on_the_host(
    compiler: str, standard: str, tmp_path: Path
) -> None:
    export(_layered("random", 0), load_board("esp32"), tmp_path / "p")
    _compile_portable(tmp_path / "p", [compiler], standard)


@pytest.mark.parametrize("board", EMULATED)
def test_the_portable_c_compiles_without_a_word_for_the_core(board: str, tmp_path: Path) -> None:
    emulator = load_board(board).emulator
    assert isinstance(emulator, Emulator)
    export(_layered("random", 0), load_board(board), tmp_path / "p")
    for standard in ("c99", "c11"):
        _compile_portable(tmp_path / "p", [f"{emulator.compiler}gcc", *emulator.compile_flags], standard)


def _compile_portable(folder: Path, compiler: list[str], standard: str) -> None:
    for trace in ([], ["-DSERQ_TRACE=1"]):
        for name in read_project(folder).files:
            if name.endswith(".c") and "port_" not in name and (trace or name.startswith("lib/")):
                flags = [
                    f"-std={standard}",
                    "-pedantic",
                    "-O2",
                    "-Wall",
                    "-Wextra",
                    "-Wconversion",
                    "-Werror",
                    *trace,
                ]
                done = subprocess.run(
                    [*compiler, *flags, "-Ilib/serq/src", "-Isrc", "-c", name, "-o", "/dev/null"],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stderr


def test_generated_code_refuses_another_runtime(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    export(_layered("random", 0), load_board("esp32"), folder)
    header = folder / "lib/serq/src/serq_model.h"
    text = header.read_text()
    assert f"SERQ_MODEL_ABI {ABI}\n" in text
    header.write_text(text.replace(f"SERQ_MODEL_ABI {ABI}", f"SERQ_MODEL_ABI {ABI - 1}"))
    done = subprocess.run(
        ["cc", "-Ilib/serq/src", "-c", "lib/serq/src/serq.c", "-o", "/dev/null"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "generated for another serq runtime" in done.stderr
