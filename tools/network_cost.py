"""The page of what the network costs: one network at every width on every emulated kind of core.

It stands beside plain C and what other runtimes were measured at. `python -m tools.network_cost` writes
docs/network_cost.md again.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import Board, Emulator, load_board
from serq_mcu.build import platformio
from serq_mcu.codegen.export import board_files, export, runtime_files, write_project
from serq_mcu.counting.bench import Bench, bench
from serq_mcu.counting.qemu import counted
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import DenseLayer
from serq_mcu.layers.encodings import ENCODINGS, TERNARY, Width, encoding_of
from serq_mcu.quantized_model.types import InputQuantization, QuantizedModel

PAGE = Path(__file__).parents[1] / "docs" / "network_cost.md"
BOARDS = ("emulated-m4f", "emulated-m0", "emulated-m55", "emulated-rv32imc", "emulated-xtensa")
WIDTHS: tuple[Width, ...] = (8, 7, 6, 5, 4, 3, 2, TERNARY, 1)
OUTPUTS = (256, 512, 64, 7)
STATISTICS = {40: ("mean",), 120: ("mean", "sd", "delta_sd")}  # of 40 MFCC, by the number of inputs

_INTRODUCTION = """\
# What the network costs

A whole decision of the networks N-256-512-64-7 with N = {inputs}, from pooled features to the label:
standardization, four layers, bias, ReLU, requantization, argmax.
All layers have the same width.
Weights are random, which changes only what requantization executes.
Rows of Cortex-M4F and M0 are instructions / estimated cycles (no wait states, no caches), the others
instructions.
*plain C* is a loop over int8 weights (the sums alone), compiled by the same compiler.

Counted in QEMU by `python -m tools.network_cost`, which writes this page.
`serq-mcu bench` counts any exported project alike.
Compilers: {compilers}, at -O2.

5, 6 and 7 bits are 4 bits and a part for the rest, so they take longer than 8: they save bytes.
`serq-mcu export --storage fast` stores such layers with 8 bits, and then they take what 8 bits take.
Ternary weights are stored in fields of 2 bits.

*code* is all of the network's code in the program, *weights* the packed weights.
*stack* is the most that the whole harness application used.
Working RAM beside the activations: {work} bytes.
"""

_OTHERS = """\
## Other runtimes

One inference of 40-256-512-64-7, measured with the same compiler on a Cortex-M4 in an emulator: executed
instructions, and estimated cycles without wait states.
CMSIS-NN's and TensorFlow Lite Micro's outputs were checked against a reference, the others' were not.

| runtime | weight bits | instructions | estimated cycles | code B | RAM B |
|---|---|---|---|---|---|
| CMSIS-NN s8 | 8 | 369,835 | 467,756 | 4,728 | 1,072 |
| TensorFlow Lite Micro with CMSIS-NN | 8 | 371,054 | 469,685 | 27,320 | 1,956 |
| TensorFlow Lite Micro, reference kernels | 8 | 1,271,706 | 1,809,104 | 19,640 | 1,844 |
| NNoM | 8 | 544,633 | 671,970 | 5,156 | 3.3 K |
| TinyMaix | 8 | 588,328 | 741,213 | 648 | 1,080 |
| CMix-NN | 8 / 4 / 2 | 595,235 / 611,156 / 589,999 | 780,569 / 753,686 / 711,131 | 3.4-3.9 K | 3,120 |
| CMSIS-NN s4 | 4 | 892,329 | 1,011,281 | 2,792 | 1,072 |
| BitNetMCU | 4 / 2 / 1.6 / 1 | 1,059,268 / 1,526,991 / 1,340,181 / 1,505,166 | \
1.57 M / 1.74 M / 1.76 M / 2.06 M | 2,120 | 2.6 K |
| bitneural32 (float activations) | 2 | 3,767,132 | 5,182,439 | 680 | 4,264 |
| emlearn | float32 | 1,068,690 | 2,125,090 | 3,320 | 4,384 |

On a Cortex-M55, instructions: CMSIS-NN s8 94,249, s4 89,987.
On a Cortex-M0+: NNoM int8 964,498 / 1,204,050, CMSIS-NN s8 1,131,587 / 1,514,537, BitNetMCU at 1 bit
1,803,194 / 2,272,614.
"""

_PLAIN = """\
#include "port.h"

const int8_t weights[512 * 256] = {1};
uint8_t activations[512];
int32_t accumulators[512];

void dense_plain(const int8_t *w, uint16_t inputs, uint16_t outputs);

void __attribute__((noinline)) dense_plain(const int8_t *w, uint16_t inputs, uint16_t outputs)
{
    for (uint16_t o = 0; o < outputs; o++) {
        int32_t sum = 0;
        for (uint16_t i = 0; i < inputs; i++) {
            sum += *w++ * activations[i];
        }
        accumulators[o] = sum;
    }
}

void application_run(void)
{
CALLS
}
"""


def main() -> None:
    """Count everything and write the page."""
    boards = [load_board(name) for name in BOARDS]
    work = 4 * max(OUTPUTS) + 2048  # accumulators, and the kernels' table
    text = [
        _INTRODUCTION.format(
            inputs=" or ".join(map(str, STATISTICS)),
            compilers=", ".join(dict.fromkeys(map(compiler_version, boards))),
            work=work,
        )
    ]
    for board in boards:
        text.append(_table(board))
    write_file(PAGE, "\n".join([*text, _OTHERS]))


def network(inputs: int, bits: Width) -> QuantizedModel:
    """Make inputs-256-512-64-7 with random weights of `bits` bits."""
    return random_network(FeatureSpec(name="benchmark", blocks=(Mfcc(40, STATISTICS[inputs]),)), bits)


def random_network(spec: FeatureSpec, bits: Width) -> QuantizedModel:
    """Make features-256-512-64-7 with random weights of `bits` bits."""
    return random_model(spec, OUTPUTS, (bits,) * len(OUTPUTS), seed=ENCODINGS[encoding_of(bits)].bits)


def random_model(
    spec: FeatureSpec, outputs: Sequence[int], widths: Sequence[Width], seed: int
) -> QuantizedModel:
    """Make layers with random weights, and requantization that spreads the activations over their range."""
    rng = np.random.default_rng(seed)
    layers, inputs = [], spec.feature_count
    for index, (count, width) in enumerate(zip(outputs, widths, strict=True)):
        last, encoding = index == len(outputs) - 1, encoding_of(width)
        levels = ENCODINGS[encoding].levels
        multiplier = None if last else round(2**24 * 127 / (2 * np.sqrt(inputs) * (levels - 1) * 40))
        u, bias = (
            rng.integers(0, levels, (count, inputs)).astype(np.uint8),
            rng.integers(-1000, 1000, count).astype(np.int32),
        )
        layers.append(DenseLayer(u, bias, encoding, multiplier, None if last else 24, 1.0, 1.0))
        inputs = count
    features = spec.coefficients
    constants = InputQuantization(
        np.zeros(features, np.int32), np.full(features, 1024, np.uint16), np.full(features, 14, np.uint8)
    )
    return QuantizedModel(
        spec,
        build_tables(spec),
        constants,
        tuple(layers),
        tuple(f"class {i}" for i in range(inputs)),
        1.0,
        {},
    )


def _table(board: Board) -> str:
    lines = [
        f"## {board.mcu.core}",
        "",
        "| weight bits | 40 inputs | 120 inputs | code B | weights B, 40 / 120 | stack B |",
        "|---|---|---|---|---|---|",
    ]
    plain = _plain(board)
    lines.append(f"| plain C, 8 | {plain[40]:,} | {plain[120]:,} | | | |")
    for bits in WIDTHS:
        reports = {inputs: _bench(board, network(inputs, bits)) for inputs in STATISTICS}
        sizes = " / ".join(
            f"{sum(one.inputs * one.outputs * one.bits for one in network(inputs, bits).layers) // 8:,}"
            for inputs in STATISTICS
        )
        cells = [_cell(report) for report in reports.values()]
        code, stack = (
            reports[40].network_code_bytes,
            max(report.stack_bytes or 0 for report in reports.values()),
        )
        lines.append(f"| {bits} | {cells[0]} | {cells[1]} | {code:,} | {sizes} | {stack} |")
        print(board.name, lines[-1])
    return "\n".join([*lines, ""])


def _bench(board: Board, model: QuantizedModel) -> Bench:
    with tempfile.TemporaryDirectory(prefix="serq-benchmark-") as folder:
        export(model, board, Path(folder) / "p")
        return bench(Path(folder) / "p")


def _cell(report: Bench) -> str:
    rows = [row for row in report.rows if row.part == "decision" and row.name != "statistics"]
    cycles = [row.cycles for row in rows if row.cycles is not None]
    return f"{sum(row.instructions or 0 for row in rows):,}" + (
        f" / {sum(cycles):,}" if len(cycles) == len(rows) else ""
    )


def _plain(board: Board) -> dict[int, int]:
    """Count the instructions of the layers' sums in plain C, by the number of inputs."""
    found = {}
    for inputs in STATISTICS:
        shapes = zip((inputs, *OUTPUTS), OUTPUTS, strict=False)
        calls = "\n".join(f"    dense_plain(weights, {i}, {o});" for i, o in shapes)
        files = {
            "src/port.h": runtime_files()["src/port.h"],
            "src/main.c": _PLAIN.replace("CALLS", calls).encode(),
        }
        with tempfile.TemporaryDirectory(prefix="serq-benchmark-") as folder:
            project = write_project(files | board_files(board), "", board, Path(folder) / "p")
            elf = platformio.build(project.folder).elf
            with counted(board, elf, ["dense_plain"], ["application_run"]) as (command, read):
                subprocess.run(command, stdin=subprocess.DEVNULL, check=True, capture_output=True)
                found[inputs] = sum(
                    record.instructions for record in read().records if record.function == "dense_plain"
                )
    return found


def compiler_version(board: Board) -> str:
    """Return the name and version of an emulated board's compiler."""
    assert isinstance(board.emulator, Emulator)
    name = f"{board.emulator.compiler}gcc"
    version = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    return f"{name} {version.strip()}"


if __name__ == "__main__":
    main()
