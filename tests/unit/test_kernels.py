"""The choice of kernels: legal, small and the cheapest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from serq_mcu.boards.board import all_boards, load_board
from serq_mcu.codegen.kernels import (
    MOST_CODE,
    choose,
    choose_layer,
    core_of,
    cores,
    packed_bytes,
    possible_parts,
)
from serq_mcu.codegen.packing import LAYOUTS, Part
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantized_model.types import DenseLayer
from tests.support.models import made_up_model

WIDTHS = (*range(1, 9), "ternary")
SHAPES = [(40, 256), (120, 256), (256, 512), (512, 64), (64, 7), (1, 1), (41, 3), (600, 9)]


def _layer(inputs: int, outputs: int, bits: int) -> DenseLayer:
    return DenseLayer(
        np.zeros((outputs, inputs), np.uint8), np.zeros(outputs, np.int32), f"b{bits}", None, None, 1.0, 1.0
    )


@pytest.mark.parametrize("board", ["emulated-m0", "emulated-m4f", "emulated-rv32imc", "emulated-xtensa"])
@pytest.mark.parametrize(
    "bits",
    [
        *((b,) * 4 for b in WIDTHS),
        (8, 4, 2, 1),
        (8, 2, "ternary", 1),
        (7, 6, 5, 3),
        (1, 2, 3, 8),
        (5, 4, 7, 6),
    ],
)
def test_kernels_of_a_model_stay_small(board: str, bits: tuple[int | str, ...]) -> None:
    model, mcu = made_up_model((256, 512, 64, 7), bits, spec=FeatureSpec()), load_board(board).mcu
    parts = choose(model, mcu)
    assert [sum(part.bits for part in way) for way in parts] == [layer.bits for layer in model.layers]
    assert (
        sum(core_of(mcu).code[kernel] for kernel in {part.kernel for way in parts for part in way})
        <= MOST_CODE
    )


def test_a_kernel_that_saves_next_to_nothing_is_left_out() -> None:
    model, mcu = (
        made_up_model((256, 512, 64, 7), (4, 4, 4, 4), spec=FeatureSpec()),
        load_board("emulated-m0").mcu,
    )
    fastest = [choose_layer(layer, core_of(mcu), frozenset(core_of(mcu).kernels)) for layer in model.layers]
    assert (
        len({part.kernel for way in fastest for part in way or ()})
        > len({part.kernel for way in choose(model, mcu) for part in way})
        == 1
    )


def test_every_kind_of_core_has_a_cost_for_every_kernel() -> None:
    kernels = {layout.kernel(bits) for layout in LAYOUTS.values() for bits in layout.widths}
    assert all(set(core.kernels) == set(core.code) == kernels for core in cores())


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
@pytest.mark.parametrize("bits", range(1, 9))
def test_the_choice_is_legal_small_and_the_cheapest(core, bits: int) -> None:
    for inputs, outputs in SHAPES:
        layer = _layer(inputs, outputs, bits)

        def ways(first: int, layer: DenseLayer = layer) -> list[tuple[Part, ...]]:
            if first == layer.bits:
                return [()]
            return [
                (part, *rest) for part in possible_parts(layer, first) for rest in ways(first + part.bits)
            ]

        def cost(parts, inputs: int = inputs, outputs: int = outputs) -> float:
            return sum(core.cost(part, inputs, outputs) for part in parts)

        chosen = choose_layer(layer, core, frozenset(core.kernels))
        assert [part.first for part in chosen] == list(
            itertools.accumulate([0] + [part.bits for part in chosen[:-1]])
        )
        assert sum(part.bits for part in chosen) == bits
        assert cost(chosen) == pytest.approx(min(map(cost, ways(0))))
        assert packed_bytes(layer, chosen) <= min(outputs + 3, outputs * 4 // 3) * -(-inputs // 8) * bits
        assert packed_bytes(layer, chosen) == sum(part.pack(layer).nbytes for part in chosen)


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
def test_more_bits_are_stored_only_on_request_and_only_to_run_faster(core) -> None:
    for bits, shape in itertools.product(range(1, 9), SHAPES):
        layer, allowed = _layer(*shape, bits), frozenset(core.kernels)
        dense, fast = choose_layer(layer, core, allowed), choose_layer(layer, core, allowed, wider=True)
        assert sum(part.bits for part in dense) == bits <= sum(part.bits for part in fast)
        assert core.layer_cost(layer, fast) <= core.layer_cost(layer, dense)
        eight = choose_layer(_layer(*shape, 8), core, allowed)
        assert core.layer_cost(layer, fast) <= core.layer_cost(
            layer, eight
        )  # no width is slower than 8 bits then


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
def test_fewer_bits_are_expected_to_run_faster(core) -> None:
    def network(bits: int) -> float:
        return sum(
            core.cost(part, *shape)
            for shape in SHAPES[1:5]
            for part in choose_layer(_layer(*shape, bits), core, frozenset(core.kernels))
        )

    assert network(1) < network(2) < network(4)
    assert network(2) < network(
        8
    )  # with DSP instructions, 4 bits take more instructions than 8, though fewer cycles


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.name)
def test_every_board_is_of_the_kind_that_its_emulator_is_of(board) -> None:
    if not board.emulated:
        assert core_of(board.mcu) is core_of(load_board(board.emulator.relative).mcu)
