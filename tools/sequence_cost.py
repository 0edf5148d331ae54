"""The page of what layers on a sequence cost: a convolution and a GRU at four widths on a Cortex-M4.

`python -m tools.sequence_cost` counts them in QEMU and writes docs/sequence_cost.md again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import Board, load_board
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.counting.bench import bench
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import FloatConv1D, FloatDense, FloatGru, FloatLayer, FloatPooling, Windows
from serq_mcu.layers.kernels import Core, CostStage
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantized_model.types import DecisionRule, QuantizedModel
from serq_mcu.show.table import Column, Table, columns

PAGE = Path(__file__).parents[1] / "docs" / "sequence_cost.md"
BOARD = "emulated-m4f"
FRAMES, CHANNELS, FILTERS, TAPS, UNITS, CLASSES = 94, 40, 64, 3, 64, 7
WIDTHS = (8, 4, 2, 1)
SPEC = FeatureSpec(name="frames", blocks=(Mfcc(CHANNELS, ()),), sequence_frames=FRAMES)

_INTRODUCTION = f"""\
# What layers on a sequence cost

A convolution of {TAPS} frames of {CHANNELS} values to {FILTERS} filters, and a GRU of {UNITS} units on
frames of {CHANNELS} values, both on {FRAMES} frames, at one width each.
Weights are random, which changes only what requantization executes.
Instructions / estimated cycles on a Cortex-M4 (no wait states, no caches), of the whole layer and a frame.
Counted in QEMU by `python -m tools.sequence_cost`, which writes this page.

"""

_CONVOLUTION = f"""
A frame of the output has {TAPS * CHANNELS * FILTERS:,} products.
CMSIS-NN's fully connected layers take 2.7 cycles a product at 8 bits and 5.8 at 4 on this core
([network_cost.md](network_cost.md)); its convolutions were not measured.
"""

_PARTS = """
The same of one step, part by part, by counted costs (`serq_mcu/layers/kernel_costs.toml`).
Each of the three gates has a third of both matrices' rows.
*gates*: sigmoid, tanh and the new state, of all units; *rescale*: both matrices' sums to fixed point;
*state*: its activations.
"""

_STREAM = """
## A stream

A network of two convolutions on these frames, of 40 and 56 filters of 5 taps, each with a ReLU and a maximum
of 2 frames behind it, then the mean of all frames and a layer of 64 neurons: {size:.1f} KB of weights at 8
bits.
It listens all the time (application `live`) and answers each second; what `serq-mcu check` states before a
build, from cached weights to slow flash.

"""


def main() -> None:
    """Count everything and write the page."""
    board = load_board(BOARD)
    windows = Windows(FRAMES, CHANNELS, TAPS)
    convolutions = [(bits, model(_convolution(windows), (bits, 8))) for bits in WIDTHS]
    units = [(bits, model(_gru(), (bits, bits, 8))) for bits in WIDTHS]
    text = [
        _INTRODUCTION,
        f"## Convolution, {windows.count} frames\n\n",
        _counted(board, convolutions, windows.count, windows.size * FILTERS),
        _CONVOLUTION,
        f"\n## GRU, {FRAMES} steps\n\n",
        _counted(board, units, FRAMES, 3 * UNITS * (CHANNELS + UNITS)),
        _PARTS,
        "\n",
        _parts(board, units),
        *_stream(),
    ]
    write_file(PAGE, "".join(text))


def model(layers: Sequence[FloatLayer], widths: Sequence[int]) -> QuantizedModel:
    """Make a model of these layers, of random weights, and a dense one behind them."""
    rng = np.random.default_rng(0)
    pooled = rng.normal(0, 800, (40, SPEC.feature_count)).astype(np.int32)
    last = rng.normal(0, 0.1, (layers[-1].outputs, CLASSES))
    network = FloatNetwork.mlp([last], [np.zeros(CLASSES)], *standardisation(pooled, CHANNELS), layers)
    labels = [f"class {index}" for index in range(CLASSES)]
    return Lowering(network, pooled, SPEC, build_tables(SPEC), labels).model(widths)


def _convolution(windows: Windows) -> list[FloatLayer]:
    rng = np.random.default_rng(1)
    kernel = rng.normal(0, 0.1, (windows.size, FILTERS))
    return [
        FloatConv1D(kernel, np.zeros(FILTERS), windows),
        FloatPooling("mean", Windows(windows.count, FILTERS, windows.count)),
    ]


def _gru() -> list[FloatLayer]:
    rng, rows = np.random.default_rng(2), 3 * UNITS
    kernels = rng.normal(0, 0.2, (CHANNELS, rows)), rng.normal(0, 0.2, (UNITS, rows))
    return [FloatGru.of(*kernels, np.zeros((2, rows)), FRAMES, sequence=False)]


def _convolutions() -> QuantizedModel:
    """Make the network that streams."""
    rng, layers, frames, channels = np.random.default_rng(3), list[FloatLayer](), FRAMES, CHANNELS
    for filters in (40, 56):
        windows = Windows(frames, channels, 5, 1, 1, 2, 2)
        layers.append(FloatConv1D(rng.normal(0, 0.1, (windows.size, filters)), np.zeros(filters), windows))
        layers.append(FloatPooling("maximum", Windows(frames, filters, 2, 2)))
        frames, channels = frames // 2, filters
    layers.append(FloatPooling("mean", Windows(frames, channels, frames)))
    layers.append(FloatDense(rng.normal(0, 0.1, (channels, 64)), np.zeros(64)))
    second = round(SPEC.sample_rate / SPEC.hop_length)
    return replace(model(layers, (8, 8, 8, 8)), decision=DecisionRule(4, second, 8, 0, 1, 0))


def _stream() -> list[str]:
    """State what the stream needs on two boards."""
    streamed = _convolutions()
    lines = []
    for name in ("nucleo_f446re", "esp32"):
        found = budget(Plan(streamed, load_board(name), "live"))
        assert found.fits
        assert found.core_share is not None
        assert found.decision_milliseconds is not None
        shares = " to ".join(f"{100 * share:.1f} %" for share in found.core_share)
        times = " to ".join(f"{time:.1f}" for time in found.decision_milliseconds)
        mcu = found.board.mcu
        lines.append((name, f"{mcu.clock_hz // 10**6}", f"{found.ram:,} of {mcu.ram_bytes:,}", times, shares))
    titles = "MHz", "RAM, B", "a decision, ms", "share of the core"
    table = Table((Column("board"), *columns(titles, "right")), lines)
    return [_STREAM.format(size=streamed.weights_only_bytes / 1000), table.markdown() + "\n"]


def _counted(board: Board, models: Sequence[tuple[int, QuantizedModel]], repeats: int, products: int) -> str:
    """Count the first layer of each model."""
    lines = []
    for bits, made in models:
        with tempfile.TemporaryDirectory(prefix="serq-benchmark-") as folder:
            export(made, board, Path(folder) / "p")
            rows = bench(Path(folder) / "p").rows
        instructions, cycles = (
            sum(getattr(row, unit) or 0 for row in rows if row.name.startswith("layer 0"))
            for unit in ("instructions", "cycles")
        )
        weights = made.layers[0].weight_bits // 8
        each = f"{instructions / repeats:,.0f} / {cycles / repeats:,.0f}"
        share = f"{cycles / repeats / products:.2f}"
        lines.append((str(bits), f"{instructions:,} / {cycles:,}", each, share, f"{weights:,}"))
        print(*lines[-1], flush=True)
    names = "whole layer", "a frame", "cycles a product", "weights B"
    return Table((Column("bits"), *columns(names, "right")), lines).markdown() + "\n"


def _parts(board: Board, models: Sequence[tuple[int, QuantizedModel]]) -> str:
    """Give the instructions and cycles of one step by matrix, gates and the rest."""
    lines = []
    for bits, made in models:
        plan = Plan(made, board)
        (whole,) = made.layers[0].cost_stages(0, plan.parts[0])
        core, count = plan.core, len(whole.kernels) // 2
        named = {name: (name, of) for name, of in whole.further}
        starts = [(name, of) for name, of in whole.further if name.startswith("start")]
        matrices = [
            CostStage("decision", "", *start, kernels=kernels)
            for start, kernels in zip(starts, (whole.kernels[:count], whole.kernels[count:]), strict=True)
        ]
        others = [("gru", whole.terms), named["rescale"], named["give state"]]
        stages = [*matrices, *(CostStage("decision", "", *of) for of in others)]
        lines.append((str(bits), *(_step(core, stage) for stage in stages)))
    names = f"input matrix, {CHANNELS}x{3 * UNITS}", f"recurrent matrix, {UNITS}x{3 * UNITS}"
    titles = (*names, "gates", "rescale", "state")
    return Table((Column("bits"), *columns(titles, "right")), lines).markdown() + "\n"


def _step(core: Core, stage: CostStage) -> str:
    counts = core.instructions(stage) or 0, core.cycles(stage) or 0
    return " / ".join(f"{count / FRAMES:,.0f}" for count in counts)


if __name__ == "__main__":
    main()
