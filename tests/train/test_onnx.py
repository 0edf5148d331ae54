"""ONNX files: what they say is what the reference evaluator says, and what the device cannot compute is
refused by its node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serq_mcu.errors import SerqError
from serq_mcu.training.imported import read_network
from tests.support.imported import answers, as_saved
from tests.support.keras_models import inputs
from tests.support.onnx_models import constants, graphs, node, onnx, onnx_bytes


@pytest.mark.parametrize("name", graphs())
def test_onnx_models_answer_as_the_reference_evaluates_them(name: str, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    data = onnx_bytes(graphs()[name], constants())
    (tmp_path / "m.onnx").write_bytes(data)
    expected = np.asarray(next(iter(ReferenceEvaluator(data).run(None, {"x": inputs()}))), np.float64)
    found = as_saved(answers(read_network(tmp_path / "m.onnx"), inputs()), expected)
    assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Conv", "x w1", "y")], r"node 0 \(Conv '/Conv_y'\) cannot be imported.* --preset cnn1d"),
        ([node("Gemm", "x w1 b1", "a", transB=1), node("Tanh", "a", "y")], r"node 1 \(Tanh"),
        (
            [node("Gemm", "x w1 b1", "a", transB=1), node("Relu", "a", "b"), node("Add", "a b", "y")],
            r"is one of several that take the same values \(Relu, Add\)",
        ),
        ([node("Gemm", "w1 x b1", "y")], "takes values that are no constants|transposed"),
        ([node("MatMul", "w1 x", "y")], "has its weights on the left"),
        ([node("Mul", "x x", "y")], "takes values that are no constants"),
        ([node("Div", "centre x", "y")], "divides by the values"),
        ([node("Gemm", "x w1 b2", "y", transB=1)], "has 3 biases for 16 outputs"),
        ([node("Gemm", "x w1 b1", "z", transB=1)], "do not lead from the input to an output"),
        ([node("Softmax", "x", "y")], "has no Dense layer"),
    ],
)
def test_onnx_that_the_device_cannot_compute_is_refused_by_node(
    nodes: list[Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(onnx_bytes(nodes, constants()))
    with pytest.raises(SerqError, match=words):
        read_network(tmp_path / "m.onnx")


def test_onnx_whose_values_are_elsewhere_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(onnx_bytes(graphs()["linear_relu"], constants()))
    tensor = model.graph.initializer[0]
    (tmp_path / "secret").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, str(tmp_path / "secret"))
    tensor.ClearField("raw_data")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SerqError, match=r"the values of 'w1' are in another file"):
        read_network(tmp_path / "m.onnx")


def test_damaged_onnx_is_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    whole, rng = onnx_bytes(graphs()["standardised"], constants()), np.random.default_rng(1)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for place in rng.integers(0, 600 if rng.random() < 0.5 else len(whole), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        cut = rng.random() < 0.2
        (tmp_path / "m.onnx").write_bytes(damaged[: rng.integers(0, len(whole))] if cut else damaged)
        try:
            assert len(read_network(tmp_path / "m.onnx").kernels) in (1, 2)
        except SerqError:
            refused += 1
    assert refused > 20
