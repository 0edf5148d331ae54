"""An ONNX file as a chain of steps, read as data.

Such files come from PyTorch (`torch.onnx.export`), scikit-learn (skl2onnx) and others. The nodes are followed
from the input to a softmax, a sigmoid, or the output; what only shapes values and computes nothing is passed.
Operators: ONNX specification, domains ai.onnx and ai.onnx.ml.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from serq_mcu.errors import SerqError
from serq_mcu.training.chain import (
    RELU,
    SIGMOID,
    SOFTMAX,
    Activation,
    Floats,
    Linear,
    Scaling,
    Step,
    batch_normalization,
    not_imported,
    require_room,
)

_SILENT = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast")
_ENDS = {"Softmax": SOFTMAX, "LogSoftmax": SOFTMAX, "Sigmoid": SIGMOID}
_MOST_NODES = 1000
_MOST_BYTES = 17 * 2**20  # of a file; as many values as are read take 16 MiB
_MOST_PARTS = 2**17  # of a file, of which the parser makes an object of up to 200 bytes each


def read_onnx(data: bytes) -> Iterator[Step]:
    """Read the steps of an ONNX model.

    Raises SerqError if it is none, needs other files, or a node is not one that the device can compute.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise SerqError(
            "ONNX files need a package that is not installed (onnx); run `pip install 'serq-mcu[onnx]'`"
        ) from error
    if len(data) > _MOST_BYTES:
        raise SerqError(f"it is larger than {_MOST_BYTES >> 20} MiB; a network for a microcontroller is not")
    _require_few_parts(data, onnx.ModelProto.DESCRIPTOR)
    try:
        graph = onnx.load_model_from_string(data).graph
    except Exception as error:  # protobuf's own, of which there are several
        raise SerqError(
            f"it is not an ONNX file that can be read ({error}); export the model again"
        ) from error
    require_room("it", sum(abs(math.prod(tensor.dims)) for tensor in graph.initializer))
    constants = {tensor.name: _values(tensor, numpy_helper) for tensor in graph.initializer}
    yield from _Graph(graph, constants, numpy_helper).steps()


def _require_few_parts(data: bytes, kind: Any) -> None:
    """Raise SerqError if a protobuf message of a kind has too many fields, those within it too.

    What ends before its length says, or is no field, is left to the parser to refuse.
    """
    messages, parts = [(0, len(data), kind)], 0
    while messages:
        at, end, kind = messages.pop()
        while at < min(end, len(data)):
            parts += 1
            if parts > _MOST_PARTS:
                raise SerqError(
                    f"it has more than {_MOST_PARTS} parts; a network for a microcontroller has not"
                )
            tag, at = _varint(data, at)
            wire = tag & 7
            if wire == 2:
                length, at = _varint(data, at)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    messages.append((at, at + length, field.message_type))
                at += length
            elif wire == 0:
                _, at = _varint(data, at)
            else:
                at += {1: 8, 5: 4}.get(wire, 0)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, as protobuf stores it, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at] if at < len(data) else 0
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
    return value, at


def _values(tensor: Any, helper: Any) -> Any:
    """Return the numbers of a tensor, which are in the file itself."""
    if tensor.data_location or tensor.external_data:
        raise SerqError(
            f"the values of {tensor.name!r} are in another file; export the model into one file"
            " (external_data=False)"
        )
    try:
        return np.asarray(helper.to_array(tensor))
    except (TypeError, ValueError, KeyError) as error:
        raise SerqError(f"the values of {tensor.name!r} cannot be read ({error}); export it again") from error


class _Graph:
    """The nodes of a model, followed from its input."""

    def __init__(self, graph: Any, constants: dict[str, Any], helper: Any) -> None:
        inputs = [value.name for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise SerqError(f"it has {len(inputs)} inputs; keep one, the features")
        if len(graph.node) > _MOST_NODES:
            raise SerqError(f"it has {len(graph.node)} nodes; a network for a microcontroller has not")
        self._place, self._constants = inputs[0], constants
        self._users: dict[str, list[tuple[int, Any]]] = {}
        self._outputs = {value.name for value in graph.output}
        for index, node in enumerate(graph.node):
            if node.op_type == "Constant" and node.attribute:
                constants[node.output[0]] = _values(node.attribute[0].t, helper)
            for name in dict.fromkeys(node.input):
                self._users.setdefault(name, []).append((index, node))

    def steps(self) -> Iterator[Step]:
        """Yield the steps from the input to the end."""
        while users := self._users.get(self._place, []):
            index, node = users[0]
            name = f"node {index} ({node.op_type} {node.name!r})"
            if len(users) > 1:
                others = ", ".join(other.op_type for _, other in users[:4])
                raise SerqError(
                    f"{name} is one of several that take the same values ({others}); the device computes a"
                    " chain, so export the network alone"
                )
            yield from self._step(name, node)
            self._place = node.output[0]
            if node.op_type in _ENDS:
                return
        if self._place not in self._outputs:
            raise SerqError("its nodes do not lead from the input to an output; export the model again")

    def _step(self, name: str, node: Any) -> Iterator[Step]:
        attributes = {each.name: each for each in node.attribute}
        maker = {
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "BatchNormalization": self._batch_normalization,
            "Scaler": self._scaler,
            **dict.fromkeys(("Add", "Sub", "Mul", "Div"), self._arithmetic),
        }.get(node.op_type)
        if maker is not None:
            yield maker(name, node, attributes)
        elif node.op_type == "Relu":
            yield Activation(name, RELU)
        elif node.op_type in _ENDS:
            yield Activation(name, _ENDS[node.op_type])
        elif node.op_type not in _SILENT:
            known = "Gemm, MatMul, Add, Relu, BatchNormalization, scalers and a last Softmax"
            raise not_imported(name, node.op_type, known)

    def _constant(self, name: str, node: Any, index: int) -> Floats:
        """Return a constant input of a node. Raises SerqError if it is computed, or no floats."""
        values = self._constants.get(node.input[index]) if index < len(node.input) else None
        if values is None or values.dtype.kind not in "fiu":
            raise SerqError(
                f"{name} takes values that are no constants; export the network alone, with its weights"
            )
        return np.asarray(values, dtype=np.float64)

    def _gemm(self, name: str, node: Any, attributes: Mapping[str, Any]) -> Step:
        kernel = self._constant(name, node, 1)
        if attributes.get("transB") is not None and attributes["transB"].i:
            kernel = kernel.T
        if (attributes.get("transA") is not None and attributes["transA"].i) or node.input[0] != self._place:
            raise SerqError(f"{name} takes its values transposed; export a plain linear layer")
        alpha, beta = (attributes[key].f if key in attributes else 1.0 for key in ("alpha", "beta"))
        if kernel.ndim != 2:
            raise SerqError(f"{name} has weights of shape {kernel.shape}; export a plain linear layer")
        bias = beta * self._constant(name, node, 2) if len(node.input) > 2 else np.zeros(1)
        return Linear(name, alpha * kernel, _as_bias(name, bias, kernel.shape[1]))

    def _matmul(self, name: str, node: Any, attributes: Mapping[str, Any]) -> Step:
        del attributes
        if node.input[0] != self._place:
            raise SerqError(f"{name} has its weights on the left; export a plain linear layer")
        kernel = self._constant(name, node, 1)
        if kernel.ndim != 2:
            raise SerqError(f"{name} has weights of shape {kernel.shape}; export a plain linear layer")
        return Linear(name, kernel, np.zeros(kernel.shape[1]))

    def _arithmetic(self, name: str, node: Any, attributes: Mapping[str, Any]) -> Step:
        del attributes
        left = node.input[0] == self._place
        values = self._constant(name, node, 1 if left else 0).reshape(-1)
        one, none = np.ones(1), np.zeros(1)
        if node.op_type == "Add":
            return Scaling(name, one, values)
        if node.op_type == "Mul":
            return Scaling(name, values, none)
        if node.op_type == "Sub":
            return Scaling(name, one if left else -one, -values if left else values)
        if not left or not values.all():
            raise SerqError(f"{name} divides by the values, or by 0; export the network alone")
        return Scaling(name, 1 / values, none)

    def _batch_normalization(self, name: str, node: Any, attributes: Mapping[str, Any]) -> Step:
        gamma, beta, mean, variance = (self._constant(name, node, index).reshape(-1) for index in range(1, 5))
        if not gamma.size == beta.size == mean.size == variance.size:
            raise SerqError(f"{name} has arrays of different sizes; export the model again")
        epsilon = attributes["epsilon"].f if "epsilon" in attributes else 1e-5
        return batch_normalization(name, gamma, beta, mean, variance, epsilon)

    def _scaler(self, name: str, node: Any, attributes: Mapping[str, Any]) -> Step:
        del node
        offset, scale = (
            np.asarray(attributes[key].floats if key in attributes else [default], np.float64)
            for key, default in (("offset", 0.0), ("scale", 1.0))
        )
        if not (offset.size and scale.size and scale.all()):
            raise SerqError(f"{name} has no scale, or one of 0; export the model again")
        return Scaling(name, scale, -offset * scale)


def _as_bias(name: str, bias: Floats, size: int) -> Floats:
    try:
        return np.array(np.broadcast_to(bias.reshape(-1), size))
    except ValueError as error:
        raise SerqError(
            f"{name} has {bias.size} biases for {size} outputs; export the model again"
        ) from error
