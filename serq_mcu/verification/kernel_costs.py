"""Counts that the choice of kernels rests on: every kernel at many shapes on every emulated kind of core, fitted.

`python -m serq_mcu.verification.kernel_costs` writes serq_mcu/codegen/kernel_costs.toml anew.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from serq_mcu import platformio
from serq_mcu.boards import Board, Emulator, load_board
from serq_mcu.codegen.export import Files, board_files, runtime_files, write_project
from serq_mcu.codegen.kernels import COSTS, terms
from serq_mcu.codegen.packing import LAYOUTS, Layout
from serq_mcu.files import write_file
from serq_mcu.verification.counting import counted

# The emulated board that stands for a kind of core, and the features which tell that kind. The last is also taken for unknown cores.
CORES = {
    "emulated-m0": ("armv6-m",),
    "emulated-m4f": ("dsp",),
    "emulated-xtensa": ("mul32",),
    "emulated-rv32imc": ("rv32i", "m"),
}
INPUTS = (8, 16, 24, 40, 64, 88, 128, 200, 256, 480)
OUTPUTS = (8, 16, 40, 64, 136, 256)
KERNELS = [(layout, bits) for layout in LAYOUTS.values() for bits in layout.widths]

_PROGRAM = """\
/* Every kernel at every shape. What the weights and activations are does not change what a kernel executes. */
#include "port.h"
#include "serq_network.h"

static const uint32_t weights[{words}];
static uint8_t activations[{inputs}];
static int32_t accumulators[{outputs}];
static serq_table table;

void application_run(void)
{{
{calls}
}}
"""


def main() -> None:
    """Count, fit, write the table, and say how far the fit is from the counts."""
    text = [
        "# What a call of each kernel executes, in instructions: coefficients of blocks of rows x groups of 8 inputs, blocks x groups beyond a",
        "# multiple of 4, blocks, groups, and 1. Fitted to counts in QEMU by `python -m serq_mcu.verification.kernel_costs` (GCC 12.2, -O2).",
        "# [core.code]: bytes of each kernel with all it calls. A core is of the first kind whose features it has all; of the last, if of none.",
    ]
    for name, features in CORES.items():
        board = load_board(name)
        counts, code = measure(board)
        text += ["", "[[core]]", f'name = "{board.mcu.core}"', f"features = {list(features)}".replace("'", '"'), "", "[core.kernels]"]
        for layout, bits in KERNELS:
            fitted, error = fit(layout, counts[layout.kernel(bits)])
            text.append(f"{layout.kernel(bits)} = {[round(float(value), 2) + 0.0 for value in fitted]}")
            print(f"{name} {layout.kernel(bits)}: {100 * error:.1f} % from the counts at most")
        text += ["", "[core.code]", *(f"{kernel} = {size}" for kernel, size in code.items())]
    write_file(COSTS, "\n".join(text) + "\n")


def measure(board: Board) -> tuple[dict[str, dict[tuple[int, int], int]], dict[str, int]]:
    """Instructions of each kernel by (inputs, outputs), and its code in bytes."""
    shapes = list(itertools.product(INPUTS, OUTPUTS))
    with tempfile.TemporaryDirectory(prefix="serq-kernels-") as folder:
        project = write_project(_program(shapes) | board_files(board), "", board, Path(folder) / "p")
        elf = platformio.build(project.folder).elf
        names = [layout.kernel(bits) for layout, bits in KERNELS]
        with counted(board, elf, [f"serq_dense_{name}" for name in names], ["application_run"]) as (command, read):
            subprocess.run(command, stdin=subprocess.DEVNULL, check=True, capture_output=True)
            calls = [record for record in read().records if record.function.startswith("serq_dense_")]
        code = {name: _code(board, project.folder, name) for name in names}
    found: dict[str, dict[tuple[int, int], int]] = {name: {} for name in names}
    for record, (name, shape) in zip(calls, itertools.product(names, shapes), strict=True):
        assert record.function == f"serq_dense_{name}"
        found[name][shape] = record.instructions
    return found, code


def _code(board: Board, folder: Path, kernel: str) -> int:
    """Bytes of the sections that are left of the runtime when only the kernel is wanted."""
    assert isinstance(board.emulator, Emulator)
    objects = [str(path) for path in (folder / ".pio" / "build").rglob("serq_*.o")]
    machine = [flag for flag in board.emulator.compile_flags if flag.startswith("-m")]
    link = [*machine, "-nostdlib", "-r", "-Wl,--gc-sections", f"-Wl,--entry=serq_dense_{kernel}", *objects, "-o", str(folder / "kernel.o")]
    subprocess.run([f"{board.emulator.compiler}gcc", *link], check=True, capture_output=True)
    text = subprocess.run([f"{board.emulator.compiler}size", str(folder / "kernel.o")], check=True, capture_output=True, text=True).stdout
    return int(text.splitlines()[1].split()[0])


def fit(layout: Layout, counts: dict[tuple[int, int], int]) -> tuple[np.ndarray, float]:
    """Coefficients of `terms`, with the least sum of squared relative errors, and the largest relative error."""
    rows = np.array([terms(layout, *shape) for shape in counts], float)
    values = np.array(list(counts.values()), float)
    fitted = np.linalg.lstsq(rows / values[:, None], np.ones(len(values)), rcond=None)[0]
    return fitted, float(np.abs(rows @ fitted / values - 1).max())


def _program(shapes: list[tuple[int, int]]) -> Files:
    calls = [
        f"    serq_dense_{layout.kernel(bits)}((const uint{8 * layout.word_bytes}_t *)weights, {i}, {o}, 0, activations, &table, accumulators);"
        for layout, bits in KERNELS
        for i, o in shapes
    ]
    program = _PROGRAM.format(words=max(INPUTS) * max(OUTPUTS) // 4, inputs=max(INPUTS), outputs=max(OUTPUTS), calls="\n".join(calls))
    library = ("serq_network", "serq_dense", "serq_kernel", "serq_thumb", "serq_fixed")
    runtime = {name: data for name, data in runtime_files().items() if name == "src/port.h" or Path(name).name.startswith((*library, "library.json"))}
    return runtime | {"src/main.c": program.encode()}


if __name__ == "__main__":
    main()
