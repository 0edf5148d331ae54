"""Counts that the choice of kernels and the estimates of `check` rest on.

Every kernel and stage at many sizes on every kind of core, fitted. `python -m tools.kernel_costs` writes
serq_mcu/layers/kernel_costs.toml again, which takes some minutes.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import Board, Emulator, load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.costs import loudness_terms, stages
from serq_mcu.codegen.export import board_files, export, runtime_files, write_project
from serq_mcu.codegen.plan import Files, Plan
from serq_mcu.config import load_config
from serq_mcu.counting.bench import bench
from serq_mcu.counting.qemu import Count, counted, functions
from serq_mcu.frontend.blocks import BLOCKS, Energy, FeatureBlock, Mel, Mfcc, Voicing
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import PERCENTILES
from serq_mcu.layers import DenseLayer, Layer, PoolingLayer, Windows
from serq_mcu.layers.kernels import COSTS, terms
from serq_mcu.layers.packing import GROUP, LAYOUTS
from serq_mcu.quantized_model.types import QuantizedModel
from tools.frontend_cost import LISTENING, build_frontend, listening_model, steady_noise
from tools.network_cost import random_model

# The emulated board that stands for a kind of core, and the features which tell that kind. The last is also
# taken for unknown cores.
CORES = {
    "emulated-m0": ("armv6-m",),
    "emulated-m55": ("dsp", "mve"),
    "emulated-m4f": ("dsp",),
    "emulated-xtensa": ("mul32",),
    "emulated-rv32imc": ("rv32i", "m"),
}
HOPS = (64, 100, 128, 200, 256)  # of frames whose loudness is counted
INPUTS = (8, 16, 24, 40, 64, 88, 128, 200, 256, 480)
OUTPUTS = (8, 16, 40, 64, 136, 256)
KERNELS = {layout.kernel(bits): layout for layout in LAYOUTS.values() for bits in layout.widths}
STARTS = {"start": "start16", "start 24": "start24"}  # with biases of 8 and 32 bits it is as with 16


STATISTICS = dict(zip("msdr12579", ("mean", "sd", "delta_sd", "delta_mean", *PERCENTILES), strict=True))


def _blocks(
    mfcc: tuple[int, str], mel: tuple[int, str] = (0, ""), chroma: str = "", f0: str = ""
) -> tuple[FeatureBlock, ...]:
    """Make blocks of a size and the statistics whose letters are given; with `f0` comes voicing."""
    given = {"mfcc": mfcc, "mel": mel, "chroma": (12 * bool(chroma), chroma), "f0": (1 * bool(f0), f0)}
    blocks = [
        BLOCKS[kind](size, tuple(STATISTICS[letter] for letter in letters))
        for kind, (size, letters) in given.items()
        if size
    ]
    return (*blocks, *([Voicing(2, ("mean",))] if f0 else []))


# Each length of the transform with two frames, and in all of them every other size that a stage depends on at
# several values. The emulated Cortex-M0 has room for all.
SPECS = (
    FeatureSpec(
        fft_length=256,
        hop_length=128,
        mel_bands=20,
        pitch_low=150,
        tiers=0,
        blocks=_blocks((7, "msd1"), f0="m"),
    ),
    FeatureSpec(
        fft_length=256,
        hop_length=80,
        window_length=200,
        mel_bands=26,
        tiers=2,
        blocks=(*_blocks((0, ""), (26, "m"), "s"), Energy(1, ("sd", "delta_mean"))),
    ),
    FeatureSpec(
        fft_length=512,
        hop_length=160,
        window_length=400,
        mel_bands=40,
        mel_scale="htk",
        mel_norm="none",
        blocks=_blocks((13, "m25")),
    ),
    FeatureSpec(
        fft_length=512,
        hop_length=256,
        mel_bands=32,
        fmax=4000,
        blocks=_blocks((20, "r79"), (32, "ms"), "m", f0="m19"),
    ),
    FeatureSpec(fft_length=512, hop_length=512, mel_bands=26, tiers=8, blocks=_blocks((9, "ms2"), f0="s5")),
    FeatureSpec(
        sample_rate=8000,
        fft_length=256,
        hop_length=256,
        mel_bands=24,
        fmax=4000,
        tiers=5,
        blocks=_blocks((13, "rd57"), chroma="m"),
    ),
    FeatureSpec(),
    load_config().features,
    FeatureSpec(
        hop_length=320,
        window_length=800,
        mel_bands=64,
        tiers=2,
        blocks=_blocks((30, "ms5"), (64, "d"), "msd", f0="m"),
    ),
    FeatureSpec(
        hop_length=1024, mel_bands=24, fmin=100, tiers=2, blocks=(Mfcc(16, ("sd", "p90"), bands=16), Energy())
    ),
    FeatureSpec(
        fft_length=2048, hop_length=512, window_length=1024, mel_bands=48, blocks=_blocks((16, "sd"), f0="m")
    ),
    FeatureSpec(
        fft_length=2048, hop_length=640, window_length=1280, tiers=0, blocks=_blocks((0, ""), (0, ""), "md")
    ),
)
# What reads a sequence, at two sizes; pooling comes as layers of these models (`pooled_model`).
SEQUENCES = tuple(
    FeatureSpec(
        fft_length=256,
        hop_length=128,
        mel_bands=20,
        pitch_low=150,
        blocks=(Mfcc(size, ()), *more, Energy(1, ())),
        sequence_frames=frames,
    )
    for size, more, frames in ((13, (), 12), (7, (Mel(20, ()), Voicing(2, ())), 23), (19, (Mel(20, ()),), 7))
)
POOLED = ((1, 1), (2, 2), (3, 1))  # frames of a window and stride, of the pooling in their networks
# Windows that are cut from 8 frames: channels, taps, dilation; those of dilation 1 lie in place.
CUTS = ((8, 1, 2), (8, 4, 2), (40, 2, 2), (64, 3, 2), (13, 4, 2), (8, 2, 1), (64, 3, 1))
DEPTHS = ((1, 3), (8, 3), (16, 5), (64, 2), (40, 8))  # channels and taps of a depthwise convolution
CUT, DEPTH = "cut window", "depthwise"
COUNTS = (1, 5, 16, 40)  # units of recurrent layers, sums that are rescaled, frames of attention
MEANS = ((2, 3), (9, 8), (30, 5), (24, 16))  # frames and channels of attention
EACH = {"rescale": "sums, {0}, 20000, 1, 1", "give state": "sums, {0}, 9, work, activations"}
EACH |= {
    "gru": "sums, sums, {0}, sums + 192",
    "lstm": "sums, sums, {0}, sums + 192",
    "attention weights": "sums, {0}",
}
FUNCTIONS = {name: f"serq_{name.replace(' ', '_')}" for name in EACH} | {"give state": "serq_state_give"}
MEAN = "time attention"
NETWORK = ((24, 5, 48, 9, 40, 64, 33, 7), (8, 1, 4, 2, 6, 1, 3, 7))  # outputs and widths of their networks

_PROGRAM = """\
/* Every kernel at every shape. What the weights and activations are does not change what a kernel executes.
*/
#include "port.h"
#include "serq_conv1d.h"
#include "serq_depthwise.h"
#include "serq_gru.h"
#include "serq_lstm.h"
#include "serq_network.h"
#include "serq_pooling.h"
#include "serq_recurrent.h"

static const uint32_t weights[{words}];
static uint8_t activations[{inputs}], work[512];
static int32_t accumulators[{outputs}], sums[280];
static serq_table table;

void application_run(void)
{{
{calls}
}}
"""

Fitted = dict[str, list[float]]
Shape = tuple[int, int]


def main() -> None:
    """Count, fit, write the table, and say how far the fit is from the counts."""
    text = [
        (
            "# What was counted in QEMU and fitted by `python -m tools.kernel_costs` (GCC 12.2, -O2). A core"
            " is of the first kind"
        ),
        "# whose features it has all; of the last, if of none.",
        (
            "# [core.kernels], a call of each kernel, in instructions: coefficients of blocks of rows x"
            " groups of 8 inputs, blocks x groups beyond a"
        ),
        (
            "# multiple of 4, blocks, groups, and 1. [core.stages], the other stages of a frame and a"
            " decision: those of the terms in costs.py."
        ),
        (
            "# [core.kernel_cycles], [core.stage_cycles]: the same in estimated cycles. [core.code]: bytes of"
            " each kernel with all it calls."
        ),
        "# stack: the most bytes of it that the harness application used.",
    ]
    for name, features in CORES.items():
        board = load_board(name)
        calls, of_windows, code = measure(board)
        counts, stack = measure_stages(board)
        counts |= of_windows
        kernels = {
            kernel: [(terms(KERNELS[kernel], *shape), count) for shape, count in calls[kernel].items()]
            for kernel in KERNELS
        }
        for start, kernel in STARTS.items():
            counts[start] = [
                ((shape[1], shape[0] // GROUP, 1), count) for shape, count in calls[kernel].items()
            ]
        text += [
            "",
            "[[core]]",
            f'name = "{board.mcu.core}"',
            f"features = {list(features)}".replace("'", '"'),
            f"stack = {stack}",
        ]
        for unit, suffix in (("instructions", "s"), ("cycles", "_cycles")):
            for table, rows in (("kernel", kernels), ("stage", counts)):
                fitted = _fit_all(f"{name} {unit}", rows, unit)
                if fitted:
                    text += [
                        "",
                        f"[core.{table}{suffix}]",
                        *(
                            f'"{row}" = {values}' if " " in row else f"{row} = {values}"
                            for row, values in fitted.items()
                        ),
                    ]
        text += ["", "[core.code]", *(f"{kernel} = {size}" for kernel, size in code.items())]
    write_file(COSTS, "\n".join(text) + "\n")


Counted = dict[str, list[tuple[tuple[int, ...], Count]]]  # by name: terms and counts


def _fit_all(of: str, counts: Counted, unit: str) -> Fitted:
    """Fit coefficients by name; none where the unit was not counted."""
    found = {}
    for name, rows in counts.items():
        values = [getattr(count, unit) for _, count in rows]
        if None not in values:
            found[name], error = fit([terms for terms, _ in rows], values)
            print(f"{of}, {name}: {100 * error:.1f} % from the counts at most")
    return found


def measure(board: Board) -> tuple[dict[str, dict[Shape, Count]], Counted, dict[str, int]]:
    """Count each kernel and start by (inputs, outputs), what convolutions add, and kernels' code in bytes."""
    shapes = list(itertools.product(INPUTS, OUTPUTS))
    names = [*KERNELS, *STARTS.values()]
    with tempfile.TemporaryDirectory(prefix="serq-kernels-") as folder:
        project = write_project(_program(shapes) | board_files(board), "", board, Path(folder) / "p")
        elf = platformio.build(project.folder).elf
        more = ["serq_cut_window", "serq_depthwise", *FUNCTIONS.values(), "serq_time_attention"]
        functions = [*(f"serq_dense_{name}" for name in names), *more]
        with counted(board, elf, functions, ["application_run"]) as (command, read):
            subprocess.run(command, stdin=subprocess.DEVNULL, check=True, capture_output=True)
            records = [record for record in read().records if record.function in functions]
        code = {name: _code(board, project.folder, name) for name in KERNELS}
    found: dict[str, dict[Shape, Count]] = {name: {} for name in names}
    counted_terms: list[tuple[str, tuple[int, ...]]] = [
        *((CUT, _cut_terms(cut)) for cut in CUTS),
        *((DEPTH, (channels * taps, channels, 1)) for channels, taps in DEPTHS),
        *((name, (count, 1)) for name in EACH for count in COUNTS),
        *((MEAN, (frames * channels, channels, frames, 1)) for frames, channels in MEANS),
    ]
    calls, others = records[: -len(counted_terms)], records[-len(counted_terms) :]
    of_windows: Counted = defaultdict(list)
    for (name, own), record in zip(counted_terms, others, strict=True):
        of_windows[name].append((own, record))
    for record, (name, shape) in zip(calls, itertools.product(names, shapes), strict=True):
        assert record.function == f"serq_dense_{name}"
        found[name][shape] = record
    return found, of_windows, code


def _cut_terms(cut: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return what the cost of a window depends on: bytes and frames that are copied, and 1."""
    channels, taps, dilation = cut
    copied = dilation > 1
    return channels * taps * copied, taps * copied, 1


def pooled_model(spec: FeatureSpec, taps: int, stride: int, seed: int) -> QuantizedModel:
    """Make a network that pools the sequence by the mean and by the maximum, and has a dense layer."""
    model, windows = random_model(spec, (3,), (4,), seed), Windows(spec.sequence_frames, spec.coefficients, 1)
    layers: list[Layer] = []
    for function in ("mean", "maximum"):
        windows = Windows(windows.count, spec.coefficients, taps, stride)
        layers.append(PoolingLayer(function, windows, 1.0, 64))
    inputs = windows.count * spec.coefficients
    dense = DenseLayer(np.zeros((3, inputs), np.uint8), np.zeros(3, np.int32), "b4", None, None, 1.0, 1.0)
    return replace(model, layers=(*layers, dense))


def measure_stages(board: Board) -> tuple[Counted, int]:
    """Count the other stages, by the names of their costs, and the most bytes of stack."""
    found: Counted = defaultdict(list)
    stack = 0
    models = [random_model(spec, *NETWORK, seed=index) for index, spec in enumerate(SPECS)]
    models += [pooled_model(spec, *of, seed=0) for spec, of in zip(SEQUENCES, POOLED, strict=True)]
    for model in models:
        with tempfile.TemporaryDirectory(prefix="serq-stages-") as folder:
            export(model, board, Path(folder) / "p")
            report = bench(Path(folder) / "p")
        rows = {(row.part, row.name): row for row in report.rows}
        for stage in stages(Plan(model, board)):
            row = rows[stage.part, stage.name]
            if not (stage.kernels or stage.further):
                assert row.instructions is not None
                found[stage.cost].append((stage.terms, Count(stage.name, row.instructions, row.cycles)))
        stack = max(stack, report.stack_bytes or 0)
    found["loudness"] = [(loudness_terms(hop), measure_loudness(board, hop)) for hop in HOPS]
    return found, stack


def measure_loudness(board: Board, hop: int) -> Count:
    """Count the loudness of a frame of a stream that moves on by `hop` samples."""
    spec = replace(SPECS[0], hop_length=hop, speech_frames=1)
    pcm = steady_noise(0.5)
    with tempfile.TemporaryDirectory(prefix="serq-loudness-") as folder:
        project = Path(folder) / "p"
        elf = build_frontend(board, listening_model(spec), project, LISTENING).elf
        own = {"serq_loudness", "rest_of_pieces"}
        others = sorted(
            name
            for name in functions(board, project, ("serq",)) - own
            if not name.startswith("serq_thumb")  # parts of others
        )
        with counted(board, elf, ["serq_loudness"], others) as (command, read):
            subprocess.run(command, input=pcm.tobytes(), check=True, capture_output=True)
            return next(record for record in read().records if record.function == "serq_loudness")


def _code(board: Board, folder: Path, kernel: str) -> int:
    """Return the bytes of the sections that are left of the runtime when only the kernel is wanted."""
    assert isinstance(board.emulator, Emulator)
    objects = [str(path) for path in (folder / ".pio" / "build").rglob("serq_*.o")]
    machine = [flag for flag in board.emulator.compile_flags if flag.startswith("-m")]
    link = [
        *machine,
        "-nostdlib",
        "-r",
        "-Wl,--gc-sections",
        f"-Wl,--entry=serq_dense_{kernel}",
        *objects,
        "-o",
        str(folder / "kernel.o"),
    ]
    subprocess.run([f"{board.emulator.compiler}gcc", *link], check=True, capture_output=True)
    text = subprocess.run(
        [f"{board.emulator.compiler}size", str(folder / "kernel.o")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return int(text.splitlines()[1].split()[0])


def fit(rows: list[tuple[int, ...]], counts: list[int]) -> tuple[list[float], float]:
    """Fit coefficients of terms with the least sum of squared relative errors.

    Returns them and the largest relative error.
    """
    matrix, values = np.array(rows, float), np.array(counts, float)
    if not values.any():  # a stage that this core does as a part of others
        return [0.0] * matrix.shape[1], 0.0
    fitted = np.linalg.lstsq(matrix / values[:, None], np.ones(len(values)), rcond=None)[0]
    return [round(float(value), 2) + 0.0 for value in fitted], float(
        np.abs(matrix @ fitted / values - 1).max()
    )


def _program(shapes: list[Shape]) -> Files:
    calls = [
        f"    serq_dense_{kernel}((const uint{8 * layout.word_bytes}_t *)weights, {i}, {o}, 0, activations,"
        " &table, accumulators);"
        for kernel, layout in KERNELS.items()
        for i, o in shapes
    ]
    calls += [
        f"    serq_dense_{start}((const uint16_t *)weights, 0, 1, {i}, {o}, activations, accumulators);"
        for start in STARTS.values()
        for i, o in shapes
    ]
    calls += [
        f"    serq_cut_window(activations, 8, {channels}, {taps}, 1, {dilation}, 0, 0, 64, work);"
        for channels, taps, dilation in CUTS
    ]
    calls += [
        "    serq_depthwise((const uint8_t *)weights, 4, 15, accumulators, activations,"
        f" {taps}, {channels}, accumulators);"
        for channels, taps in DEPTHS
    ]
    calls += [
        f"    {FUNCTIONS[name]}({given.format(count)});" for name, given in EACH.items() for count in COUNTS
    ]
    calls += [
        f"    serq_time_attention(activations, sums, {frames}, {channels}, work);"
        for frames, channels in MEANS
    ]
    program = _PROGRAM.format(
        words=max(INPUTS) * max(OUTPUTS) // 4,
        inputs=max(*INPUTS, *(8 * channels for channels, _, _ in CUTS)),
        outputs=max(OUTPUTS),
        calls="\n".join(calls),
    )
    library = (
        "serq_network",
        "serq_conv1d",
        "serq_depthwise",
        "serq_functions",
        "serq_recurrent",
        "serq_gru",
        "serq_lstm",
        "serq_pooling",
        "serq_dense",
        "serq_kernel",
        "serq_thumb",
        "serq_fixed",
        "serq_cores",
        "serq_pool.h",
    )
    runtime = {
        name: data
        for name, data in runtime_files().items()
        if name == "src/port.h" or Path(name).name.startswith((*library, "library.json"))
    }
    return runtime | {"src/main.c": program.encode()}


if __name__ == "__main__":
    main()
