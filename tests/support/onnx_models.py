"""ONNX models as PyTorch, scikit-learn and others write them, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.keras_models import CLASSES, FEATURES

onnx = pytest.importorskip("onnx", reason="needs serq-mcu[onnx]")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
HIDDEN = 16


def onnx_bytes(nodes: list[Any], constants: dict[str, np.ndarray], output: str = "y") -> bytes:
    """A model of these nodes from `x` to an output."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return made


def constants(seed: int = 3) -> dict[str, np.ndarray]:
    """Weights of a network of one hidden layer, as PyTorch has them (w: [outputs, inputs]) and others (k)."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    w1, w2 = draw(HIDDEN, FEATURES), draw(CLASSES, HIDDEN)
    positive = rng.uniform(0.5, 2, (4, HIDDEN)).astype(np.float32)
    return {
        **{"w1": w1, "w2": w2, "k1": w1.T.copy(), "k2": w2.T.copy(), "b1": draw(HIDDEN), "b2": draw(CLASSES)},
        **{"gamma": positive[0], "beta": draw(HIDDEN), "mean": draw(HIDDEN), "var": positive[1]},
        **{"centre": draw(FEATURES), "spread": rng.uniform(0.5, 3, FEATURES).astype(np.float32)},
        **{"half": np.float32(0.5), "w3": draw(1, HIDDEN), "b3": draw(1)},
        **{"one": np.float32(1), "shape": np.array([-1, FEATURES], np.int64)},
        **{"kd": w1.T.astype(np.float64), "kh": w1.T.astype(np.float16)},
    }


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    """A node, its inputs separated by spaces."""
    domain = "ai.onnx.ml" if op == "Scaler" else ""
    return helper.make_node(
        op, inputs.split(), output.split(), name=f"/{op}_{output}", domain=domain, **attributes
    )


def graphs() -> dict[str, list[Any]]:
    """Nodes of models by name; those that end in `y`."""
    gemm1, gemm2 = node("Gemm", "x w1 b1", "a", transB=1), node("Gemm", "b w2 b2", "y", transB=1)
    relu, soft = node("Relu", "a", "b"), node("Softmax", "s", "y", axis=-1)
    last = node("Gemm", "b w2 b2", "s", transB=1)
    norm = ("gamma beta mean var",)
    return {
        "linear_relu": [gemm1, relu, gemm2],
        "softmax": [gemm1, relu, last, soft],
        "log_softmax": [gemm1, relu, last, node("LogSoftmax", "s", "y", axis=1)],
        "matmul_add": [
            node("MatMul", "x k1", "m"),
            node("Add", "m b1", "a"),
            relu,
            node("MatMul", "b k2", "n"),
            node("Add", "b2 n", "y"),
        ],
        "untransposed": [node("Gemm", "x k1 b1", "a"), relu, gemm2],
        "scaled": [node("Gemm", "x w1 b1", "a", transB=1, alpha=0.5, beta=2.0), relu, gemm2],
        "no_bias": [node("Gemm", "x w1", "a", transB=1), relu, gemm2],
        "dropout": [node("Dropout", "x", "d"), node("Gemm", "d w1 b1", "a", transB=1), relu, gemm2],
        "flatten": [node("Flatten", "x", "f", axis=1), node("Gemm", "f w1 b1", "a", transB=1), relu, gemm2],
        "reshape": [node("Reshape", "x shape", "f"), node("Gemm", "f w1 b1", "a", transB=1), relu, gemm2],
        "batch_norm": [gemm1, node("BatchNormalization", f"a {norm[0]}", "n"), node("Relu", "n", "b"), gemm2],
        "batch_norm_after_relu": [
            gemm1,
            node("Relu", "a", "r"),
            node("BatchNormalization", f"r {norm[0]}", "b", epsilon=0.01),
            gemm2,
        ],
        "standardised": [
            node("Sub", "x centre", "c"),
            node("Div", "c spread", "z"),
            node("Gemm", "z w1 b1", "a", transB=1),
            relu,
            gemm2,
        ],
        "scaler": [
            node(
                "Scaler", "x", "z", offset=[0.5] * FEATURES, scale=[0.25 + 0.1 * i for i in range(FEATURES)]
            ),
            node("Gemm", "z w1 b1", "a", transB=1),
            relu,
            gemm2,
        ],
        "halved": [node("Mul", "half x", "z"), node("Gemm", "z w1 b1", "a", transB=1), relu, gemm2],
        "negated": [node("Sub", "centre x", "z"), node("Gemm", "z w1 b1", "a", transB=1), relu, gemm2],
        "sigmoid": [gemm1, relu, node("Gemm", "b w3 b3", "s", transB=1), node("Sigmoid", "s", "y")],
        "classifier": [  # what scikit-learn's has after its softmax
            gemm1,
            relu,
            last,
            node("Softmax", "s", "p", axis=1),
            node("ArgMax", "p", "l", axis=1),
            node("Identity", "p", "y"),
        ],
        "identities": [node("Identity", "x", "i"), node("Gemm", "i w1 b1", "a", transB=1), relu, gemm2],
    }
