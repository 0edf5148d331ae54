"""The choice of kernels: legal, small and the cheapest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from serq_mcu.boards.board import all_boards, load_board
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.layers import DenseLayer, kernels
from serq_mcu.layers.choice import MOST_CODE, choose
from serq_mcu.layers.kernels import Core, Storage, cheapest_parts, core_of, cores, possible_parts
from serq_mcu.layers.packing import LAYOUTS, Part
from tests.support.models import dense, made_up_model

WIDTHS = (*range(1, 9), "ternary")
SHAPES = [(40, 256), (120, 256), (256, 512), (512, 64), (64, 7), (1, 1), (41, 3), (600, 9)]


def _cheapest(layer: DenseLayer, core: Core, storage: Storage = Storage.COMPACT) -> tuple[Part, ...]:
    parts = cheapest_parts(layer.inputs, layer.outputs, layer.bits, core, core.kernels, storage)
    assert parts is not None
    return parts


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
    parts = choose(dense(model), core_of(mcu.features))
    assert [sum(part.bits for part in way) for way in parts] == [layer.bits for layer in dense(model)]
    assert (
        sum(core_of(mcu.features).code[kernel] for kernel in {part.kernel for way in parts for part in way})
        <= MOST_CODE
    )


def test_a_kernel_that_saves_next_to_nothing_is_left_out() -> None:
    core = core_of(load_board("emulated-xtensa").mcu.features)
    layers = [_layer(*shape, 2) for shape in SHAPES[1:5]]
    fastest = [_cheapest(layer, core) for layer in layers]
    assert len({part.kernel for way in fastest for part in way}) > 1
    assert len({part.kernel for way in choose(layers, core) for part in way}) == 1


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
                (part, *rest)
                for part in possible_parts(layer.outputs, layer.bits, first)
                for rest in ways(first + part.bits)
            ]

        def cost(parts, inputs: int = inputs, outputs: int = outputs) -> float:
            return core.cost(parts, inputs, outputs)

        chosen = _cheapest(layer, core)
        assert [part.first for part in chosen] == list(
            itertools.accumulate([0] + [part.bits for part in chosen[:-1]])
        )
        assert sum(part.bits for part in chosen) == bits
        assert cost(chosen) == pytest.approx(min(map(cost, ways(0))))
        assert layer.packed_bytes(chosen) <= min(outputs + 3, outputs * 4 // 3) * -(-inputs // 8) * bits
        assert layer.packed_bytes(chosen) == sum(part.pack(layer.u).nbytes for part in chosen)


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
def test_more_bits_are_stored_only_on_request_and_only_to_run_faster(core) -> None:
    for bits, shape in itertools.product(range(1, 9), SHAPES):
        layer = _layer(*shape, bits)
        dense, fast = _cheapest(layer, core), _cheapest(layer, core, Storage.FAST)
        assert sum(part.bits for part in dense) == bits <= sum(part.bits for part in fast)
        assert core.cost(fast, *shape) <= core.cost(dense, *shape)
        eight = _cheapest(_layer(*shape, 8), core)
        assert core.cost(fast, *shape) <= core.cost(eight, *shape)  # no width is slower than 8 bits then


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
@pytest.mark.parametrize("bits", [(5, 5, 5, 5), (4, 3, 4, 7), (8, 4, 2, 1), (3, 3, 7, 8), (6, 2, 5, 4)])
def test_a_model_is_never_stored_larger_to_run_slower(core, bits: tuple[int, ...]) -> None:
    shapes = ((120, 64), (64, 48), (48, 40), (40, 7))
    layers = [_layer(*shape, width) for shape, width in zip(shapes, bits, strict=True)]

    def time_and_bytes(storage: Storage) -> tuple[float, int]:
        chosen = list(zip(layers, choose(layers, core, storage), strict=True))
        time = sum(core.cost(parts, layer.inputs, layer.outputs) for layer, parts in chosen)
        return time, sum(layer.packed_bytes(parts) for layer, parts in chosen)

    (time, size), (fast, larger) = time_and_bytes(Storage.COMPACT), time_and_bytes(Storage.FAST)
    assert fast < time if larger > size else fast == time


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
def test_kernels_are_chosen_by_cycles_where_they_are_estimated(core) -> None:
    part = next(possible_parts(64, 8, 0))
    terms_of = kernels.terms(part.layout, 128, 64)
    timed = core.name in ("Cortex-M0", "Cortex-M4F")
    counted = core.kernel_cycles if timed else core.kernels
    assert core.unit == ("cycles" if timed else "instructions")
    assert core.cost((part,), 128, 64) == pytest.approx(np.dot(counted[part.kernel], terms_of))


def test_slow_flash_is_part_of_the_time_by_which_weights_are_stored() -> None:
    pico, shape = load_board("pico"), (256, 512)
    speed = pico.memory.flash_bytes_per_cycle
    fast, slow = core_of(pico.mcu.features), core_of(pico.mcu.features, speed)
    chosen = [_cheapest(_layer(*shape, 5), core, Storage.FAST) for core in (fast, slow)]
    assert [sum(part.bits for part in parts) for parts in chosen] == [8, 5]
    read = _layer(*shape, 5).packed_bytes(chosen[1])
    assert slow.cost(chosen[1], *shape) == pytest.approx(fast.cost(chosen[1], *shape) + read / speed)


@pytest.mark.parametrize("core", cores(), ids=lambda core: core.name)
def test_fewer_bits_are_expected_to_run_faster(core) -> None:
    def network(bits: int) -> float:
        return sum(core.cost(_cheapest(_layer(*shape, bits), core), *shape) for shape in SHAPES[1:5])

    assert network(2) < network(4)
    assert network(2) < network(8)  # 4 bits may take as many instructions as 8
    if core.name != "Cortex-M55":  # where a bit takes a vector as long as two do
        assert network(1) < network(2)


@pytest.mark.parametrize("board", all_boards(), ids=lambda board: board.name)
def test_every_board_is_of_the_kind_that_its_emulator_is_of(board) -> None:
    if not board.emulated:
        assert core_of(board.mcu.features) is core_of(load_board(board.emulator.relative).mcu.features)
