"""Layouts: what is packed comes back, at the size and the places that SPEC.md states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serq_mcu.codegen.packing import pack_scale
from serq_mcu.layers.packing import LAYOUTS, pack_bias
from serq_mcu.quantized_model.types import InputQuantization
from tests.support.models import dense, made_up_model

WIDTHS = [(layout, bits) for layout in LAYOUTS.values() for bits in layout.widths]


def _fields(inputs: int, outputs: int, bits: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**bits, (outputs, inputs)).astype(np.uint8)


@given(
    st.sampled_from(WIDTHS),
    st.integers(1, 130) | st.integers(500, 530),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_round_trip(width, inputs: int, outputs: int, seed: int) -> None:
    layout, bits = width
    u = _fields(inputs, outputs, bits, seed)
    assert np.array_equal(layout.unpack(layout.pack(u, bits), inputs, outputs, bits), u)


@pytest.mark.parametrize(("layout", "bits"), WIDTHS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(120, 256), (256, 512), (512, 64), (64, 7), (1, 1), (41, 3), (1100, 9)]
)
def test_a_layer_stores_its_bits_and_row_padding_only(layout, bits: int, inputs: int, outputs: int) -> None:
    padded_inputs, padded_outputs = -(-inputs // 8) * 8, -(-outputs // layout.rows) * layout.rows
    assert (
        layout.pack(_fields(inputs, outputs, bits, 0), bits).nbytes
        == padded_outputs * padded_inputs * bits // 8
    )


def _bit(packed: np.ndarray, position: int) -> int:
    return int(packed.view(np.uint8)[position // 8]) >> position % 8 & 1


def test_planes_are_where_spec_says() -> None:
    u = _fields(48, 2, 3, 5)
    packed = LAYOUTS["planes8"].pack(u, 3)
    # tile 0 has groups 0..3, then groups 4 and 5 alone; order output, plane from the top, group
    for output, plane, group, i in [(0, 0, 0, 0), (1, 2, 3, 7), (0, 1, 4, 2), (1, 0, 4, 5), (1, 1, 5, 0)]:
        offset = (
            (output * 3 + 2 - plane) * 4 + group
            if group < 4
            else 24 + (group - 4) * 6 + output * 3 + 2 - plane
        )
        assert packed[offset] >> i & 1 == u[output, 8 * group + i] >> plane & 1


def test_words_are_where_spec_says() -> None:
    # (layout, inputs, outputs), (output, input, bit), word, bit of the word, inverted: worked out by hand
    # from the table
    cases = [
        (("dsp8", 16, 8), (4, 5, 7), 16 + 4, 16 + 8 + 7, 1),
        (("dsp8", 16, 8), (7, 6, 7), 16 + 7, 7, 0),
        (("dsp8", 520, 8), (5, 515, 0), 2 * 512 + 8 + 2, 16, 0),
        (("dsp4", 16, 16), (11, 3, 3), 16 + 2, 16 + 12 + 3, 1),
        (("dsp4", 16, 16), (12, 3, 3), 16 + 3, 16 + 3, 0),
        (("dsp2", 16, 8), (3, 1, 1), 0, (16 + 14 + 1 + 4) % 32, 1),
        (("dsp2", 16, 8), (6, 14, 0), 7, 12, 0),
        (("dsp1", 16, 8), (6, 13, 0), 2 + 1, 8 + 7 - 4 - 1, 1),
        (("mul8", 16, 8), (3, 1, 4), 1, 8 + 4, 0),
        (("mul8", 16, 8), (4, 2, 4), 16 + 2, 16 + 4, 0),
        (("mul4", 16, 16), (13, 3, 2), 16 + 3, 20 + 2, 0),
        (("vec8", 24, 8), (5, 18, 3), (96 + 64 + 8) // 4, 8 * 2 + 3, 0),  # of the tail of 8 inputs
        (("vec4", 24, 8), (3, 5, 1), (16 + 4) // 4, 8 + 4 + 1, 0),
        (("vec2", 24, 8), (6, 17, 1), (24 + 16) // 4, 8 + 4 + 1, 0),
        (("vec1", 24, 16), (13, 20, 0), (24 + 20) // 4, 5, 0),
    ]
    for (name, inputs, outputs), (o, i, k), word, bit, inverted in cases:
        layout = LAYOUTS[name]
        u = _fields(inputs, outputs, layout.widths[0], 1)
        assert _bit(layout.pack(u, layout.widths[0]), 32 * word + bit) == int(u[o, i] >> k & 1) ^ inverted, (
            name,
            o,
            i,
            k,
        )


def test_wrong_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="do not hold"):
        LAYOUTS["planes8"].unpack(np.zeros(7, np.uint8), 8, 4, 2)


def test_stored_bytes_count_all_that_the_device_keeps() -> None:
    model = made_up_model((16, 4), (2, 5))
    assert [pack_bias(layer.bias).bits for layer in dense(model)] == [16, 16]
    assert model.stored_bytes == 16 * 2 * 3 + 16 * 2 + 8 + 4 * 5 * 2 + 4 * 2 + 8


def test_constants_are_where_spec_says() -> None:
    bias = pack_bias(np.array([-5, 2**17 - 5, 0x12345 - 5], np.int32))
    assert (bias.base, bias.bits) == (-5, 24)
    assert bias.array.tolist() == [0, 0, 0x2345, 0x0200, 0x01]
    constants = InputQuantization(
        np.zeros(3, np.int32), np.array([1, 2047, 5], np.uint16), np.array([1, 31, 9], np.uint8)
    )
    assert pack_scale(constants).tolist() == [33, 0xFFFF, 5 * 32 + 9]
