"""A Keras model file as a chain of steps: `.keras` and `.h5`, of Keras 2 and 3, read as data.

`.keras` is an archive whose `config.json` lists the layers and whose `model.weights.h5` holds their arrays;
`.h5` holds both, the list as an attribute. Nothing in them is executed, and Keras is not needed.
"""

from __future__ import annotations

import functools
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.errors import SerqError
from serq_mcu.layers.pooling import MAXIMUM, MEAN
from serq_mcu.training.chain import (
    RELU,
    SIGMOID,
    SOFTMAX,
    Activation,
    Floats,
    Linear,
    Scaling,
    Shaped,
    Step,
    batch_normalization,
    not_imported,
    require_room,
)
from serq_mcu.training.chain_over_time import Convolution, Pooling, Recurrence
from serq_mcu.training.sequences import RECURRENT

MOST_BYTES = 2**26  # of a file, and of the arrays in an archive unpacked
_MOST_TEXT = 2**22  # bytes of the layers' description: Python's objects take 20 times that
_NORMALIZATION_EPSILON = 1e-7
# what zipfile, json and h5py raise at an archive that is damaged, encrypted or not one
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError),
    *(AttributeError, RecursionError, NotImplementedError, RuntimeError, OverflowError),
)
_SILENT = (  # nothing at the time of an answer
    *("Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout"),
    *("ActivityRegularization", "Identity"),
)
_MODELS = ("Sequential", "Functional", "Model")
_MODULES = re.compile(r"(?:tf_)?keras(?:\..*)?")
_NUMBERED = {  # in .keras files: the arrays of a layer, in their order
    "Dense": ("kernel", "bias"),
    "Normalization": ("mean", "variance"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Conv1D": ("kernel", "bias"),
    "DepthwiseConv1D": ("kernel", "bias"),
    "GRU": ("kernel", "recurrent_kernel", "bias"),
    "LSTM": ("kernel", "recurrent_kernel", "bias"),
}
_CELLS = ("GRU", "LSTM")  # whose arrays are those of a layer within
_POOLINGS = {  # function, and whether it is of all frames
    "AveragePooling1D": (MEAN, False),
    "MaxPooling1D": (MAXIMUM, False),
    "GlobalAveragePooling1D": (MEAN, True),
    "GlobalMaxPooling1D": (MAXIMUM, True),
}
_ADVICE = {
    "PruneLowMagnitude": "strip the wrapper with tfmot.sparsity.keras.strip_pruning before you save",
    "QuantizeWrapperV2": "save the float model before tfmot's quantization; serq-mcu chooses the bits",
    "QuantizeLayer": "save the float model before tfmot's quantization; serq-mcu chooses the bits",
    "LayerNormalization": "train with BatchNormalization, which is folded into the layers",
    "SeparableConv1D": "build it of DepthwiseConv1D with activation='relu' and Conv1D of 1 tap",
    "Bidirectional": "a device hears no end before it has come; take a GRU or LSTM that goes forward",
    "TimeDistributed": "give its Dense layer the sequence itself, which it reads frame by frame",
    "SimpleRNN": "train a GRU or an LSTM in its place",
    "Conv2D": "take Conv1D, whose windows hold all values of so many frames",
    "Attention": "pool with GlobalAveragePooling1D or GlobalMaxPooling1D",
    "MultiHeadAttention": "pool with GlobalAveragePooling1D or GlobalMaxPooling1D",
}


@dataclass(frozen=True)
class _Layer:
    """A layer: its kind, configuration, and the place of its arrays among those of its model.

    path: in a `.keras` file's arrays; group: the outermost layer's name in an `.h5` file.
    """

    kind: str
    path: str
    group: str
    config: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.config.get("name", ""))


def read_archive(file: Path) -> Iterator[Step]:
    """Read the steps of a `.keras` file.

    Raises SerqError if it is none, or a layer is not one that the device can compute.
    """
    with zipfile.ZipFile(file) as archive:
        config = _member(archive, "config.json", _MOST_TEXT)
        weights = _member(archive, "model.weights.h5", MOST_BYTES)
    layers = list(_layers(json.loads(config), "", ""))
    with _open_h5(weights) as stored:
        yield from _steps(layers, functools.partial(_numbered, stored))


def read_h5(data: bytes) -> Iterator[Step]:
    """Read the steps of an `.h5` file.

    Raises SerqError as `read_archive` does.
    """
    with _open_h5(data) as stored:
        text = stored.attrs.get("model_config")
        if text is None:
            raise SerqError(
                "it holds weights alone, and no layers; save the whole model with model.save(...)"
            )
        if len(text) > _MOST_TEXT:
            raise _too_large("its description of layers", _MOST_TEXT)
        layers = list(_layers(json.loads(text), "", ""))
        yield from _steps(layers, functools.partial(_named, stored))


def _open_h5(data: bytes) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise SerqError(
            "Keras's files need a package that is not installed (h5py); run `pip install 'serq-mcu[train]'`"
        ) from error
    return h5py.File(io.BytesIO(data), "r")


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Unpack a member of at most `most` bytes, whatever size the archive states."""
    if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SerqError(f"{name} is packed as Keras packs nothing; save the model again")
    with archive.open(name) as file:
        data = file.read(most + 1)  # no more is unpacked than is asked for
    if len(data) > most:
        raise _too_large(name, most)
    return data


def _too_large(name: str, most: int) -> SerqError:
    return SerqError(f"{name} is larger than {most >> 20} MiB; a network for a microcontroller is not")


def _layers(config: Mapping[str, Any], path: str, group: str) -> Iterator[_Layer]:
    """List the layers of a model in the order of computation, those of models within it in their place."""
    kind = str(config["class_name"])
    if kind not in _MODELS or _own_name(config):
        raise SerqError(
            f"it is a {_own_name(config) or kind} model; only Sequential and Functional ones are read, so"
            " build it again as keras.Sequential"
        )
    inner: Any = config["config"]
    items = inner["layers"] if isinstance(inner, dict) else inner  # an old Sequential is the list itself
    counts: dict[str, int] = {}
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    for index, item in enumerate(items):
        of = str(item["class_name"])
        if own := _own_name(item):
            advice = _ADVICE.get(of, "use Keras's layers")
            raise SerqError(
                f"layer {index} is a class of your own ({own}), which only your code can compute; {advice}"
            )
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z]+)", "_", of).lower()  # as Keras does
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        name = str(item.get("name") or item["config"].get("name") or f"layer {index}")
        place = f"{path}layers/{snake}{f'_{number}' if number else ''}"
        found[name if name not in found else f"{name} {index}"] = (item, place)
    names = list(found) if kind == "Sequential" else _order(inner, found)
    for name in names:
        item, place = found[name]
        if str(item["class_name"]) in _MODELS:
            yield from _layers(item, f"{place}/", group or name)
        else:
            kind = str(item["class_name"])
            within = f"{place}/cell/vars" if kind in _CELLS else f"{place}/vars"
            yield _Layer(kind, within, group or name, dict(item["config"]))


def _own_name(item: Mapping[str, Any]) -> str:
    """Return the name of a class that is not Keras's; "" if it is."""
    kind = str(item.get("class_name"))
    registered = item.get("registered_name")
    if registered and registered != kind:
        return str(registered)
    module = str(item.get("module") or "keras")
    return "" if _MODULES.fullmatch(module) else module


def _order(config: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the layers of a Functional model from its input to its output.

    Raises SerqError unless it is a chain.
    """
    before = {name: _sources(item.get("inbound_nodes", []), found) for name, (item, _) in found.items()}
    ends = _sources(config.get("output_layers", []), found)
    if len(ends) != 1:
        raise SerqError(f"it has {len(ends)} outputs; keep one, the classes")
    order = [ends[0]]
    while sources := before[order[-1]]:
        if len(sources) > 1 or len(order) > len(found):
            raise SerqError(
                f"layer {order[-1]!r} joins several ({', '.join(sources[:3])}); the device computes a chain,"
                " so build the model without branches"
            )
        order.append(sources[0])
    rest = [name for name in found if name not in order]
    if rest:
        raise SerqError(
            f"layer {rest[0]!r} is not on the way from the input to the output; take it out of the model"
        )
    return order[::-1]


def _sources(value: Any, known: Mapping[str, Any]) -> list[str]:
    """List the layers that a description of connections names, of Keras 2 and 3 alike, each once."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += reversed(item.values())
        elif isinstance(item, (list, tuple)):
            if len(item) >= 3 and isinstance(item[0], str) and type(item[1]) is int and item[0] in known:
                found.append(item[0])
            else:
                waiting += reversed(item)
    return list(dict.fromkeys(found))


def _steps(layers: list[_Layer], arrays: Any) -> Iterator[Step]:
    """Yield the steps of layers; arrays: gives a layer's array by its name."""
    for index, layer in enumerate(layers):
        name = f"layer {index} ({layer.kind} {layer.name!r})"
        maker = _MAKERS.get(layer.kind)
        if maker is not None:
            yield from maker(name, layer, functools.partial(_array, arrays, layer, name))
        elif layer.kind not in _SILENT:
            known = (
                "Dense, Conv1D, DepthwiseConv1D, GRU, LSTM, pooling of one dimension, ReLU, Softmax,"
                " Normalization, BatchNormalization, Rescaling and kinds of Dropout"
            )
            raise not_imported(name, layer.kind, known, _ADVICE.get(layer.kind, ""))
        yield from _activations(name, layer)


def _dense(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    config = layer.config
    if config.get("quantization_config") or config.get("lora_rank") or "mode" in _policy(config):
        raise SerqError(
            f"{name} was quantized, or adapted by LoRA, in Keras; save the float model before that, serq-mcu"
            " chooses the bits"
        )
    kernel = array("kernel")
    bias = array("bias") if config.get("use_bias", True) else np.zeros(kernel.shape[-1:])
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
        raise SerqError(
            f"{name} has a kernel of shape {kernel.shape} and biases {bias.shape}; save the model again"
        )
    yield Linear(name, kernel, bias)


def _normalization(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    config = layer.config
    if config.get("invert") or config.get("axis") not in ([-1], [1], -1, 1):
        raise SerqError(f"{name} must normalise each feature by itself (axis=-1, invert=False)")
    if config.get("mean") is not None:
        try:
            mean, variance = (np.asarray(config[key], dtype=np.float64) for key in ("mean", "variance"))
        except (KeyError, TypeError, ValueError) as error:
            raise SerqError(
                f"{name} has a mean or variance that are not numbers ({error!r}); save the model again"
            ) from error
    else:
        mean, variance = array("mean"), array("variance")
    mean, variance = mean.reshape(-1), variance.reshape(-1)
    if mean.size != variance.size or not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise SerqError(
            f"{name} holds {mean.size} means and {variance.size} variances, or some that are not finite;"
            " adapt it again"
        )
    sd = np.maximum(np.sqrt(np.maximum(variance, 0)), _NORMALIZATION_EPSILON)
    yield Scaling(name, 1 / sd, -mean / sd, mean, sd)


def _batch_normalization(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    config = layer.config
    mean, variance = array("moving_mean").reshape(-1), array("moving_variance").reshape(-1)
    gamma = array("gamma").reshape(-1) if config.get("scale", True) else np.ones(mean.size)
    beta = array("beta").reshape(-1) if config.get("center", True) else np.zeros(mean.size)
    if not gamma.size == beta.size == mean.size == variance.size:
        raise SerqError(f"{name} has arrays of different sizes; save the model again")
    yield batch_normalization(name, gamma, beta, mean, variance, float(config.get("epsilon", 1e-3)))


def _rescaling(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    del array
    scale, offset = (np.asarray(layer.config.get(key), np.float64).reshape(-1) for key in ("scale", "offset"))
    yield Scaling(name, scale, offset)


def _shaped(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    del array
    config = layer.config
    given = config.get("batch_shape") or config.get("batch_input_shape")
    shape = config["target_shape"] if layer.kind == "Reshape" else (given or [])[1:]
    if layer.kind == "Flatten":
        shape = (None,)
    if shape:
        yield Shaped(name, tuple(None if size is None else int(size) for size in shape))


def _convolution(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    config, depthwise = layer.config, layer.kind == "DepthwiseConv1D"
    plain = config.get("groups", 1) == 1 and config.get("depth_multiplier", 1) == 1
    if not plain or config.get("data_format") == "channels_first":
        raise SerqError(
            f"{name} has groups, a depth_multiplier or channels first; build it with groups=1,"
            " depth_multiplier=1 and data_format='channels_last'"
        )
    kernel = array("kernel")
    if kernel.ndim != 3 or (depthwise and kernel.shape[2] != 1):
        raise SerqError(f"{name} has a kernel of shape {kernel.shape}; save the model again")
    kernel = kernel[..., 0] if depthwise else kernel
    bias = array("bias") if config.get("use_bias", True) else np.zeros(kernel.shape[-1:])
    if bias.shape != kernel.shape[-1:]:
        raise SerqError(f"{name} has biases {bias.shape} for a kernel {kernel.shape}; save the model again")
    stride, dilation = (_number(config.get(key, 1)) for key in ("strides", "dilation_rate"))
    yield Convolution(name, kernel, bias, stride, dilation, str(config.get("padding", "valid")))


def _number(value: Any) -> int:
    """Return a number, also where Keras has a list of it."""
    return int(value[0] if isinstance(value, (list, tuple)) else value)


def _pooling(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    del array
    (function, whole), config = _POOLINGS[layer.kind], layer.config
    if config.get("padding", "valid") != "valid" or config.get("data_format") == "channels_first":
        raise SerqError(f"{name} pads, or has channels first; build it with padding='valid', channels last")
    size = 0 if whole else _number(config.get("pool_size", 2))
    yield Pooling(name, function, size, 0 if whole else _number(config.get("strides") or size))


def _recurrence(name: str, layer: _Layer, array: Any) -> Iterator[Step]:
    config, kind = layer.config, layer.kind.lower()
    if kind == "gru" and not config.get("reset_after", True):
        raise SerqError(
            f"{name} has reset_after=False, whose reset gate stands between the state and its matrix; train"
            " it with reset_after=True, Keras's default"
        )
    known = config.get("activation") == "tanh" and config.get("recurrent_activation") == "sigmoid"
    odd = [key for key in ("go_backwards", "stateful", "return_state", "time_major") if config.get(key)]
    if not known or odd:
        raise SerqError(
            f"{name} has {', '.join(odd) or 'other activations than tanh and sigmoid'}, which the device does"
            " not compute; train it with Keras's defaults"
        )
    kernel, recurrent = array("kernel"), array("recurrent_kernel")
    of = RECURRENT[kind]
    rows = kernel.shape[-1]
    shape = (2, rows) if of.biases == 2 else (rows,)
    bias = array("bias") if config.get("use_bias", True) else np.zeros(shape)
    units = rows // of.gates
    if kernel.ndim != 2 or recurrent.shape != (units, rows) or rows % of.gates or bias.shape != shape:
        raise SerqError(f"{name} has arrays that do not fit each other; save the model again")
    yield Recurrence(name, kind, kernel, recurrent, bias, bool(config.get("return_sequences")))


_MAKERS: dict[str, Callable[[str, _Layer, Any], Iterable[Step]]] = {
    "Dense": _dense,
    "Normalization": _normalization,
    "BatchNormalization": _batch_normalization,
    "Rescaling": _rescaling,
    **dict.fromkeys(("InputLayer", "Flatten", "Reshape"), _shaped),
    **dict.fromkeys(("Conv1D", "DepthwiseConv1D"), _convolution),
    **dict.fromkeys(_POOLINGS, _pooling),
    **dict.fromkeys(_CELLS, _recurrence),
    **dict.fromkeys(("ReLU", "Activation", "Softmax"), lambda *_: ()),
}


def _policy(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a layer's type of numbers, where it is more than a name."""
    policy = config.get("dtype")
    return dict(policy["config"]) if isinstance(policy, dict) else {}


def _activations(name: str, layer: _Layer) -> Iterator[Step]:
    """Yield the activation of a layer, or that a layer is, if there is one."""
    kind, config = layer.kind, layer.config
    if kind in ("Dense", "Conv1D", "DepthwiseConv1D", "Activation"):
        found = config.get("activation") or "linear"
        if (
            isinstance(found, dict)
            and not _own_name(found)
            and found.get("class_name") in ("ReLU", "Softmax")
        ):
            kind, config = found["class_name"], found["config"]  # a layer in place of a function
    else:
        found = "linear"
    if kind == "ReLU":
        if any(config.get(key) for key in ("max_value", "negative_slope", "threshold")):
            raise SerqError(
                f"{name} is not a plain ReLU (max_value, negative_slope or threshold is set); train with"
                " plain ReLU"
            )
        found = RELU
    elif kind == "Softmax":
        found = SOFTMAX
    if found not in (RELU, SOFTMAX, SIGMOID, "linear"):
        shown = repr(found) if isinstance(found, str) else "that is code of your own"
        raise SerqError(
            f"{name} has the activation {shown}; the device computes relu between layers, and linear, softmax"
            " or the sigmoid of one unit at the end"
        )
    if found != "linear":
        yield Activation(name, str(found))


def _array(arrays: Any, layer: _Layer, name: str, what: str) -> Floats:
    """Return a layer's array as floats. Raises SerqError, with the layer's name, if it cannot be read."""
    try:
        stored = arrays(layer, what)
        if stored.dtype.kind != "f":
            raise TypeError(f"numbers of type {stored.dtype}, not float")
        if stored.external or stored.is_virtual:
            raise KeyError(f"{what} lies in another file")
        require_room(name, stored.size)
        return np.asarray(stored[()], dtype=np.float64)
    except (OSError, *DAMAGED) as error:
        raise SerqError(f"the arrays of {name} cannot be read ({error!r}); save the model again") from error


def _numbered(stored: Any, layer: _Layer, what: str) -> Any:
    """Find an array of a `.keras` file, where those of a layer are numbered as they were made."""
    group = stored
    for step in layer.path.split("/"):
        group = _own(group, step)
    made = [
        name
        for name in _NUMBERED[layer.kind]
        if not (name == "gamma" and not layer.config.get("scale", True))
        and not (name == "beta" and not layer.config.get("center", True))
    ]
    return _own(group, str(made.index(what)))


def _named(stored: Any, layer: _Layer, what: str) -> Any:
    """Find an array of an `.h5` file, whose names a layer's group lists, such as dense/kernel:0."""
    group = _own(_own(stored, "model_weights"), layer.group)
    listed = [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs["weight_names"]]
    own = rf"(?:depthwise_)?{what}(?::0)?"  # one framework's name of a depthwise kernel
    wanted = re.compile(rf"(?:.*/)?{re.escape(layer.name)}/(?:[^/]*cell[^/]*/)?{own}")
    found = [name for name in listed if wanted.fullmatch(name)]
    if len(found) != 1:
        found = [name for name in listed if re.fullmatch(rf"(?:.*/)?{own}", name)]
    if len(found) != 1:
        raise KeyError(f"{layer.name}/{what}")
    for step in found[0].split("/"):
        group = _own(group, step)
    return group


def _own(group: Any, name: str) -> Any:
    """Return what is stored under a name in the file itself: no link out of it is followed."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise KeyError(f"{name} is not stored in the file itself")
    return group[name]
