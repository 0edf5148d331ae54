"""What each Python reader must do with any bytes: succeed, or raise SerqError. Anything else is a finding.

A target takes bytes and returns nothing; `SEEDS` gives good inputs to start from, so that fuzzing begins
behind the door.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import soundfile
from safetensors.numpy import save

from serq_mcu.base import resources
from serq_mcu.boards.board import read_board, with_changes
from serq_mcu.config import load_config
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import RULES, load_corpus
from serq_mcu.corpus.tables import read_table
from serq_mcu.errors import SerqError
from serq_mcu.harness import protocol
from serq_mcu.quantized_model.store import load_model, model_bytes
from serq_mcu.show.verification import comparison_lines
from serq_mcu.training.imported import read_network
from serq_mcu.verification.baseline import load_baseline, save_baseline
from serq_mcu.verification.report import Difference, Outcome, VerifyReport
from tests.support.models import made_up_model

_WORK = Path(tempfile.mkdtemp(prefix="serq-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
_MODEL = made_up_model([3, 2], [2, 3])
_VALUES: list[Any] = [
    None,
    [],
    {},
    True,
    "",
    "mfcc",
    "b8",
    "b9",
    -1,
    0,
    1,
    2,
    3,
    12,
    2**16,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    0.5,
]
_VALUES += ["x" * 300, ["a", "a"], [{}], {"kind": "mel"}, "\ud800", "\x00", '"; int x', 2048, 128, 257]
_ARRAYS: list[Callable[[Any, int], Any]] = [
    lambda array, how: array[: how % (len(array) + 1)],
    lambda array, how: array.astype(("i1", "u1", "i2", "u2", "i4", "i8", "f4", "f8")[how % 8]),
    lambda array, how: array.T if how % 2 else array.ravel(),
    lambda array, how: array + np.array(how).astype(array.dtype),
    lambda array, how: np.frombuffer(bytes([how]) * array.nbytes, array.dtype).reshape(array.shape),
]


def _file(name: str, data: bytes) -> Path:
    path = _WORK / name
    path.write_bytes(data)
    return path


def model_file(data: bytes) -> None:
    """The first byte chooses: the rest is a whole model file, the JSON header of one whose tensors are
    good, or changes to a good one.
    """
    kind, rest = data[:1], data[1:]
    if kind >= b"\xc0":
        rest = _changed_model(rest)
    elif kind >= b"\x80":
        rest = save(_MODEL.tensors(), metadata={"serq": rest.decode(errors="replace")})
    model = load_model(_file("fuzz.serq", rest))
    assert load_model(_file("again.serq", model_bytes(model))).sha256 == model.sha256


def _changed_model(data: bytes) -> bytes:
    """A good model file with values of its header, or tensors, replaced: three bytes a change (which, into
    what, and how).
    """
    header = json.loads(json.dumps(_MODEL.header() | {"sha256": _MODEL.sha256}))
    tensors = {name: array.copy() for name, array in _MODEL.tensors().items()}
    for which, what, how in zip(data[0::3], data[1::3], data[2::3], strict=False):
        if which >= 128:
            name = sorted(tensors)[which % len(tensors)]
            tensors[name] = _ARRAYS[what % len(_ARRAYS)](tensors[name], how)
        else:
            places = [*_places(header)]
            holder, key = places[(which * 256 + how) % len(places)]
            holder[key] = copy.deepcopy(_VALUES[what % len(_VALUES)])
    return save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        metadata={"serq": json.dumps(header)},
    )


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every container and key within a JSON value."""
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield value, key
        yield from _places(inner)


def board_file(data: bytes) -> None:
    """A board's TOML; one that is read can be made into a project's files, and its settings changed."""
    from serq_mcu.codegen.render import render

    board = read_board(_file("fuzz.toml", data))
    assert all(text.isprintable() or "\n" in text for text in board.project_files(render).values())
    assert with_changes(board, None, ["microphone.gain_db=3"]).microphone.gain_db == 3


def configuration(data: bytes) -> None:
    """A training configuration."""
    load_config(_file("config.toml", data))


def audio(data: bytes) -> None:
    """A recording in any container; what is decoded is int16 and not empty."""
    pcm = read_audio(_file("fuzz.wav", data), 16000).pcm
    assert pcm.dtype == np.int16 and len(pcm)


def corpus(data: bytes) -> None:
    """A folder whose file names are the lines of the input."""
    folder = _WORK / "corpus"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for line in data.decode(errors="surrogateescape").split("\n")[:12]:
        path = folder / line.lstrip("/")
        if ".." in path.parts or "\0" in line:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(line.encode(errors="surrogateescape")[:3])
        except (OSError, ValueError):  # a name that the file system itself refuses
            continue
    loaded = load_corpus(folder)
    assert len(loaded.labels) >= 2
    assert len({clip.name for clip in loaded.clips}) == len(loaded.clips)


def table(data: bytes) -> None:
    """A table of recordings: CSV, or JSON Lines where the first byte is odd."""
    suffix = "jsonl" if data[:1] and data[0] % 2 else "csv"
    listed = read_table(_file(f"table.{suffix}", data[1:]))
    assert all(
        tags.label.isprintable() and ".." not in Path(file).parts for file, tags in listed.rows.items()
    )


def network(data: bytes) -> None:
    """A network's file: an archive of Keras 3 from its configuration and arrays, or ONNX or HDF5 as it is."""
    if data[:1] == b"{":
        config, _, _ = data.partition(b"\0")
        over_time = any(kind in config for kind in (b"1D", b"GRU", b"LSTM"))
        found = read_network(_file("fuzz.keras", keras_file(config)), *((3, 2) if over_time else (1, 0)))
    else:
        found = read_network(_file("fuzz.onnx", data))
    features = found.features
    network = found.standardised(np.zeros(found.coefficients), np.ones(found.coefficients))
    assert network.features == features


def keras_file(config: bytes | str) -> bytes:
    """Return an archive of Keras 3 with this description of layers."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", _WEIGHTS)
    return made.getvalue()


def baseline(data: bytes) -> None:
    """A baseline file; one that is read can be compared."""
    remembered = load_baseline(_file("baseline.json", data))
    outcomes = tuple(Outcome(clip, label, answer) for clip, (label, answer) in remembered.answers.items())
    mode: Any = remembered.mode
    report = VerifyReport(
        "host", remembered.on, remembered.board, "", mode, ("a", "b"), outcomes, 0, None, None, 0.0
    )
    assert comparison_lines(remembered.compare(report))


def decoder(data: bytes) -> None:
    """What a device sends: any bytes through the frame reader, and the same bytes as every answer's
    payload.
    """
    reader = protocol.FrameReader()
    for start in range(0, len(data), 37):
        for frame in reader.feed(data[start : start + 37]):
            assert protocol.decode_frame(protocol.encode_frame(frame)[:-1]) == frame
    for parse in (
        protocol.parse_identity,
        protocol.parse_digests,
        protocol.parse_stage,
        protocol.parse_values,
        protocol.parse_u16,
        protocol.parse_u32,
    ):
        _allowed(parse, data)
    _allowed(lambda payload: protocol.parse_result(payload, {}), data)


def _allowed(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(SerqError):
        parse(data)


def guarded(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The target with SerqError, the one allowed refusal, taken for an answer."""

    def run(data: bytes) -> None:
        try:
            target(data)
        except SerqError as refusal:
            if not str(refusal):
                raise AssertionError("a refusal says why") from refusal

    return run


def _recordings() -> list[bytes]:
    samples = (np.sin(np.arange(400) / 9) * 9000).astype(np.int16)
    found = []
    for kind, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "IMA_ADPCM"),
        ("RF64", "PCM_16"),
        ("W64", "ULAW"),
        ("AU", "PCM_16"),
        ("CAF", "ALAC_16"),
        ("WAV", "FLOAT"),
        ("WAVEX", "PCM_24"),
        ("AIFF", "PCM_16"),
        ("FLAC", "PCM_16"),
    ):
        buffer = io.BytesIO()
        soundfile.write(buffer, np.stack([samples, samples], 1), 24414, format=kind, subtype=subtype)
        found.append(buffer.getvalue())
    for kind in ("MP3", "OGG"):
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 16000, format=kind)
        found.append(buffer.getvalue())
    return found


def _networks() -> list[bytes]:
    layers: list[dict[str, Any]] = [
        {
            "class_name": "Normalization",
            "config": {"name": "n", "axis": [-1], "mean": [0, 1], "variance": [1, 2]},
        },
        {"class_name": "Dense", "config": {"name": "dense", "units": 3, "activation": "relu"}},
        {"class_name": "BatchNormalization", "config": {"name": "b"}},
        {"class_name": "Dense", "config": {"name": "last", "units": 2, "activation": "softmax"}},
    ]
    wired = [
        layer | {"name": layer["config"]["name"], "inbound_nodes": [[[before, 0, 0, {}]]] if before else []}
        for layer, before in zip(layers[1:], ("", "dense", "b"), strict=True)
    ]
    functional = {"layers": wired, "output_layers": [["last", 0, 0]]}
    configs: list[Any] = [{"class_name": "Sequential", "config": {"layers": layers}}]
    configs.append({"class_name": "Functional", "config": functional})
    gates = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    over_time: list[dict[str, Any]] = [
        layers[0],
        {"class_name": "Conv1D", "config": {"name": "c", "padding": "same", "activation": "relu"}},
        {"class_name": "DepthwiseConv1D", "config": {"name": "d", "activation": "relu"}},
        {"class_name": "GRU", "config": {"name": "g", "return_sequences": True, **gates}},
        {"class_name": "MaxPooling1D", "config": {"name": "p", "pool_size": 2, "strides": 1}},
        {"class_name": "LSTM", "config": {"name": "l", **gates}},
        *layers[1:],
    ]
    configs.append({"class_name": "Sequential", "config": {"layers": over_time}})
    old = io.BytesIO()
    with h5py.File(old, "w") as file:
        for name, shape in (("kernel:0", (2, 2)), ("bias:0", (2,))):
            file[f"model_weights/last/last/{name}"] = np.ones(shape, np.float32)
        file["model_weights/last"].attrs["weight_names"] = [b"last/kernel:0", b"last/bias:0"]
        inner = {"class_name": "Sequential", "config": [layers[3]]}
        file.attrs["model_config"] = json.dumps(inner)
    return [*(json.dumps(config).encode() for config in configs), old.getvalue(), *_onnx()]


def _onnx() -> list[bytes]:
    if importlib.util.find_spec("onnx") is None:  # an extra
        return []
    from tests.support.onnx_models import constants, graphs, onnx_bytes

    return [onnx_bytes(graphs()[name], constants()) for name in ("linear_relu", "standardised", "batch_norm")]


def _weights() -> bytes:
    """The arrays of the networks of `_networks`."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        for path, shape in (
            *(
                ("dense/vars/0", (2, 3)),
                ("dense/vars/1", (3,)),
                ("dense_1/vars/0", (3, 2)),
                ("dense_1/vars/1", (2,)),
            ),
            *((f"batch_normalization/vars/{number}", (3,)) for number in range(4)),
            *(("conv1d/vars/0", (2, 2, 3)), ("conv1d/vars/1", (3,))),
            *(("depthwise_conv1d/vars/0", (2, 3, 1)), ("depthwise_conv1d/vars/1", (3,))),
            *((f"gru/cell/vars/{number}", shape) for number, shape in enumerate(((3, 6), (2, 6), (2, 6)))),
            *((f"lstm/cell/vars/{number}", shape) for number, shape in enumerate(((2, 8), (2, 8), (8,)))),
        ):
            file[f"layers/{path}"] = np.ones(shape, np.float32)
    return stored.getvalue()


_WEIGHTS = _weights()


def _frames() -> list[bytes]:
    good = protocol.encode_frame(protocol.Frame(0x81, 1, bytes(range(60))))
    return [good, good + b"\0garbage\0" + good, struct.pack("<BHH", 4, 2, 0) + bytes(8), bytes(40)]


def _baselines() -> list[bytes]:
    outcomes = (
        Outcome("x/1", "a", "a", 9, 2, 7, 5),
        Outcome("x/2", "b", "a", 9, 2, 7, 5, Difference("x/2", "mfcc", 1)),
    )
    save_baseline(
        _WORK / "seed.json",
        VerifyReport("host", "host", "esp32", "00", "pcm", ("a", "b"), outcomes, 0, 5, 6, 0.0),
    )
    return [(_WORK / "seed.json").read_bytes()]


TARGETS = {
    f.__name__: f
    for f in (*(model_file, board_file, configuration, audio, corpus, table, network, baseline), decoder)
}
SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "model_file": lambda: [
        b"\0" + model_bytes(_MODEL),
        b"\x80" + json.dumps(_MODEL.header() | {"sha256": _MODEL.sha256}).encode(),
        b"\xc0\x05\x03\x07",
    ],
    "board_file": lambda: [path.read_bytes() for path in sorted(resources.BOARDS.glob("*.toml"))],
    "configuration": lambda: [(resources.MODELS.parent / "default.toml").read_bytes()],
    "audio": _recordings,
    "corpus": lambda: [
        b"joy/a.wav\nfear/b.wav",
        b"03a01Fa.wav\n03a01Wa.wav",
        "\n".join(rule.example.split(" ")[0] for rule in RULES).encode(),
    ],
    "table": lambda: [
        b"0file,label,speaker,split\nanger/a.wav,anger,x,train\nb.wav,fear,y,test\n",
        b"0file;emotion\na.wav;joy\n",
        b'1{"file_name": "a.wav", "label": "joy"}\n{"file_name": "b.wav", "label": "fear", "speaker": "x"}\n',
    ],
    "network": _networks,
    "baseline": _baselines,
    "decoder": _frames,
}
