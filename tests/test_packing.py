"""Layout planes8: what is packed comes back, at the size that SPEC.md states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serq_mcu.codegen.packing import pack_planes8, stored_bytes, unpack_planes8
from serq_mcu.quantized_model.types import DenseLayer
from tests.models import made_up_model


def _layer(inputs: int, outputs: int, bits: int, seed: int) -> DenseLayer:
    u = np.random.default_rng(seed).integers(0, 2**bits, (outputs, inputs)).astype(np.uint8)
    return DenseLayer(u, np.zeros(outputs, np.int32), f"b{bits}", None, None, 1.0, 1.0)


@given(st.integers(1, 130), st.integers(1, 20), st.integers(1, 8), st.integers(0, 99))
def test_round_trip(inputs: int, outputs: int, bits: int, seed: int) -> None:
    layer = _layer(inputs, outputs, bits, seed)
    assert np.array_equal(unpack_planes8(pack_planes8(layer), inputs, outputs, bits), layer.u)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("inputs", "outputs"), [(120, 256), (256, 512), (512, 64), (64, 7), (1, 1), (41, 3)])
def test_a_layer_stores_its_bits_and_row_padding_only(inputs: int, outputs: int, bits: int) -> None:
    padded_row = -(-inputs // 8) * 8
    size = len(pack_planes8(_layer(inputs, outputs, bits, 0)))
    assert size == outputs * bits * padded_row // 8
    assert size <= 1.03 * inputs * outputs * bits / 8 + outputs * bits * (padded_row - inputs) / 8


def test_bytes_are_where_spec_says() -> None:
    layer = _layer(40, 2, 3, 5)
    packed = pack_planes8(layer)
    # tile 0 has groups 0..3, tile 1 has group 4; order output, plane, group
    for output, plane, group, i in [(0, 0, 0, 0), (1, 2, 3, 7), (0, 1, 4, 2), (1, 0, 4, 5)]:
        offset = (output * 3 + plane) * 4 + group if group < 4 else 24 + output * 3 + plane
        assert packed[offset] >> i & 1 == layer.u[output, 8 * group + i] >> plane & 1


def test_wrong_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="do not hold"):
        unpack_planes8(b"\0" * 7, 8, 4, 2)


def test_stored_bytes_count_all_that_the_device_keeps() -> None:
    model = made_up_model((16, 4), (2, 5))
    assert stored_bytes(model) == 16 * 2 * 3 + 16 * 4 + 8 + 4 * 5 * 2 + 4 * 4 + 8
