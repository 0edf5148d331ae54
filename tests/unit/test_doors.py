"""What others bring is refused with one sentence: other types, depth, infinities, pipes, devices."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from serq_mcu.base.validation import parse_json, parse_toml
from serq_mcu.boards.board import BOARD_FILE, read_board
from serq_mcu.codegen.export import MANIFEST, read_project
from serq_mcu.config import load_config
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.check import check_corpus
from serq_mcu.corpus.tables import read_table
from serq_mcu.errors import SerqError
from serq_mcu.experiments.plan import load_plan
from serq_mcu.experiments.results import read_results
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.harness import device, protocol
from serq_mcu.layers import DenseLayer
from serq_mcu.quantization.run_folder import MARKER, WEIGHTS, load_run, save_run
from serq_mcu.quantized_model.card import read_card
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import DecisionRule, QuantizedModel
from serq_mcu.training.imported import read_network
from serq_mcu.verification.baseline import load_baseline
from tests.support.models import made_up_model
from tests.support.training import made_up_run

MODEL = made_up_model([3, 2], [2, 3])
WRONG: list[Any] = [
    *(None, [], {}, True, "", "1", "a\nb", 2.0, 1024.0, 0.5, -1, 10**30),
    *([[]], [{}], {"kind": "mel"}, float("nan"), float("inf"), "\ud800"),
]
DEEP = 3000


def _file(header: dict[str, Any], path: Path, sha256: str | None = None) -> Path:
    """Write the made-up model's tensors under another header, whose hash is right unless one is given."""
    tensors = {name: np.ascontiguousarray(array) for name, array in MODEL.tensors().items()}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype.name} {array.shape}".encode() + array.tobytes())
    text = json.dumps(header | {"sha256": sha256 or digest.hexdigest()})
    path.write_bytes(save(tensors, metadata={"serq": text}))
    return path


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield (*way, key)
        yield from _places(inner, (*way, key))


def _refusal(action: Callable[[], object]) -> str:
    """Return the sentence of a SerqError, or nothing; any other error goes on."""
    try:
        action()
    except SerqError as error:
        return str(error)
    return ""


def _with(header: dict[str, Any], way: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(header)
    holder: Any = changed
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = value
    return changed


def test_a_header_with_any_value_of_another_type_is_refused_or_is_the_model_that_it_says(
    tmp_path: Path,
) -> None:
    """Whatever is taken has the very values and types of the file, and computes."""
    header: dict[str, Any] = json.loads(json.dumps(MODEL.header()))
    ways = list(_places(header))
    refused: dict[tuple[Any, ...], int] = dict.fromkeys(ways, 0)
    for way in ways:
        for value in WRONG:
            changed = _with(header, way, value)
            path = _file(changed, tmp_path / "odd.serq")
            if said := _refusal(lambda path=path: load_model(path)):  # type: ignore[misc]
                assert "\n" not in said
                refused[way] += 1
                continue
            model = load_model(path)
            assert json.dumps(model.header(), sort_keys=True) == json.dumps(changed, sort_keys=True)
    taken = {way: len(WRONG) - count for way, count in refused.items()}
    # of the 18, text that may be empty or a name, and numbers that may be other numbers
    assert max(count for way, count in taken.items() if way[0] != "provenance") <= 4
    for way in (("spec", "fft_length"), ("layers", 0, "shift"), ("spec", "center"), ("format",), ("labels",)):
        assert refused[way] >= len(WRONG) - 1
    assert load_model(_file(header, tmp_path / "good.serq")).sha256 == MODEL.sha256


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        (("spec", "fft_length"), 256.0, r"fft length 256\.0 must be a whole number"),
        (("layers", 0, "shift"), True, r"a dense layer: shift True must be a whole number"),
        (("layers", 0, "multiplier"), 12345.5, r"a dense layer: multiplier 12345\.5 must be a whole number"),
        (("layers", 1, "weight_scale"), "1", r"a dense layer: weight scale '1' must be a number"),
        (("spec", "name"), "a\x1b[31mb", r"name 'a\\x1b\[31mb' must be printable text"),
        (("provenance",), [], "its provenance cannot be read"),
        (("provenance", "metrics"), [1], r"its provenance cannot be read \(Expected `object \| null`"),
        (("layers", 0, "inputs"), 7, "its content does not match its hash"),
        (("more",), 1, "its content does not match its hash"),
    ],
)
def test_the_refusal_names_the_value(tmp_path: Path, way: tuple[Any, ...], value: Any, said: str) -> None:
    header = json.loads(json.dumps(MODEL.header()))
    with pytest.raises(SerqError, match=said):
        load_model(_file(_with(header, way, value), tmp_path / "odd.serq"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: FeatureSpec(hop_length=512.0),  # type: ignore[arg-type]
        lambda: FeatureSpec(fmin="0"),  # type: ignore[arg-type]
        lambda: FeatureSpec(fmax=float("nan")),
        lambda: FeatureSpec(name="a\nb"),
        lambda: FeatureSpec(center=1),  # type: ignore[arg-type]
        lambda: Mfcc(True),
        lambda: Mfcc(13, bands=20.0),  # type: ignore[arg-type]
        lambda: DecisionRule(3, 4, 2, 0.0, 0, 0),  # type: ignore[arg-type]
        lambda: DenseLayer(np.zeros((2, 3), np.uint8), np.zeros(2, np.int32), "b1", None, None, 1.0, -1.0),
        lambda: DenseLayer(np.zeros((2, 3), np.uint8), np.zeros(2, np.int32), "b1", 5.0, 3, 1.0, 1.0),  # type: ignore[arg-type]
        lambda: QuantizedModel(MODEL.spec, MODEL.tables, MODEL.input, MODEL.layers, ("a", ["b"]), 1.0),  # type: ignore[arg-type]
        lambda: QuantizedModel(MODEL.spec, MODEL.tables, MODEL.input, MODEL.layers, ("a", "b"), "1"),  # type: ignore[arg-type]
    ],
)
def test_what_is_made_in_python_has_exact_types_too(make: Callable[[], object]) -> None:
    with pytest.raises(SerqError):
        make()


@pytest.mark.parametrize(
    "text",
    ["[" * DEEP + "]" * DEEP, "[1e999]", "[NaN]", '{"a": -Infinity}', '["\\ud800"]', "[" * 40 + "]" * 40],
)
def test_deep_and_infinite_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"deep|number|surrogates"):
        parse_json(text)
    assert parse_json('[[1e308, "\\ud83d\\ude00"]]') == [[1e308, "😀"]]


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * DEEP + "]" * DEEP,
        "a = " + "[" * 40 + "]" * 40,
        "a = inf",
        "b = [nan]",
        ".".join(["a"] * 100_000) + " = 1",
        "\n".join(f"{'.'.join(['a'] * 1200)}.k{i} = 1" for i in range(60)),
        "\n".join(".".join(['"a"', "'b'"] * 3500) + f".k{i} = 1" for i in range(9)),
    ],
)
def test_deep_and_infinite_toml_is_refused_at_once(text: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(SerqError, match="is not valid TOML"):
        parse_toml(text, "it")
    (tmp_path / "x.toml").write_text(text)
    for door in (lambda path: load_config(path), read_board, lambda path: load_plan(str(path))):
        with pytest.raises(SerqError):
            door(tmp_path / "x.toml")
    assert time.monotonic() - began < 60  # it was minutes, of one key


def _run_beside(path: Path) -> Path:
    """Make the rest of a run, and return its folder."""
    made = save_run(made_up_run(), path.parent.parent / "made", {})
    for file in made.iterdir():
        if file.name != path.name:
            file.rename(path.parent / file.name)
    return path.parent


DOORS: dict[str, Callable[[Path], object]] = {
    "a.serq": load_model,
    "baseline.json": load_baseline,
    f"project/{MANIFEST}": lambda path: read_project(path.parent),
    f"run/{MARKER}": lambda path: load_run(path.parent),
    f"b/{BOARD_FILE}": read_board,
    "config.toml": load_config,
    "plan.toml": lambda path: load_plan(str(path)),
    "results.csv": read_results,
    "clip.wav": lambda path: read_audio(path, 16000),
    "network.onnx": read_network,
    f"r/{WEIGHTS}": lambda path: load_run(_run_beside(path)),
    "table.csv": read_table,
    "a.card.json": read_card,
}


def _fifo(path: Path) -> None:
    os.mkfifo(path)


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe that nobody writes to": _fifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "random bytes for ever": lambda path: path.symlink_to("/dev/urandom"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a folder": Path.mkdir,
}


@pytest.mark.skipif(os.name == "nt", reason="these files are of POSIX")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_file_is_refused_at_once(door: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / door
    path.parent.mkdir(exist_ok=True)
    KINDS[kind](path)
    with pytest.raises(SerqError) as refused:
        DOORS[door](path)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="these files are of POSIX")
def test_a_corpus_with_pipes_and_devices_ends(tmp_path: Path) -> None:
    for label in ("joy", "fear"):
        (tmp_path / label).mkdir()
    (tmp_path / "fear" / "zero.wav").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "joy" / "pipe.wav")
    said = _refusal(lambda: check_corpus(tmp_path))  # that nothing is left, where these are passed over
    assert "\n" not in said
    assert said or not check_corpus(tmp_path).ok


@pytest.mark.parametrize(
    "door",
    [
        "a.serq",
        "baseline.json",
        "config.toml",
        f"b/{BOARD_FILE}",
        "clip.wav",
        "network.onnx",
        "table.csv",
        f"r/{WEIGHTS}",
    ],
)
def test_a_file_that_is_too_large_is_refused_without_reading_it(door: str, tmp_path: Path) -> None:
    path = tmp_path / door
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: the disk has none of it
    with pytest.raises(SerqError, match="larger than"):
        DOORS[door](path)


@pytest.mark.parametrize(
    "text",
    [
        "file,label\n" + "a,b\n" * 200_001,
        "file,label" + "," * 30_000 + "\n" + "a,b\n" * 100,
        "file,label\na," + "b" * 70_000,
        "file,label\n" + "\n" * 2**24,
    ],
    ids=["rows", "cells", "line", "bytes"],
)
def test_a_table_of_more_than_any_corpus_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(SerqError, match=r"(more|larger) than"):
        read_table(tmp_path / "table.csv")


# ---- devices ----


def test_an_identity_that_cannot_be_is_refused() -> None:
    good = protocol._IDENTITY.pack(4, bytes(8), 256, 9, 2, 2, 20, 256, 128, 16000, 0)
    assert protocol.parse_identity(good + b"board").hop_length == 128
    for odd in ((256, 0), (0, 0), (128, 256)):
        with pytest.raises(SerqError, match="malformed identity"):
            protocol.parse_identity(protocol._IDENTITY.pack(4, bytes(8), 256, 9, 2, 2, 20, *odd, 16000, 0))


def test_reads_that_never_end_are_refused() -> None:
    class Endless(device.Device):
        def __init__(self) -> None:
            self._transport = type("Line", (), {"name": "it"})()
            self.sent = 0

        def _request(self, request: protocol.Type, payload: bytes = b"", attempts: int = 0) -> protocol.Frame:
            self.sent += 1
            values = protocol._VALUES.pack(1, 100, int.from_bytes(payload, "little")) + bytes(100)
            return protocol.Frame(request | 0x80, 0, values)

    endless = Endless()
    with pytest.raises(SerqError, match="more values than a stage has"):
        endless._read_values()
    assert endless.sent <= 656
