"""The C parsers under libFuzzer with the address and undefined-behaviour sanitizers: built here, run by
`python -m tests.fuzz`.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.frontend.blocks import Chroma, Mel, Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.harness.protocol import Frame, Type, encode_frame
from tests.support.models import made_up_model
from tests.support.shared import made_once

_BLOCKS = (Mfcc(7, ("mean", "sd", "delta_sd")), Mel(20, ("mean",)), Chroma(12, ("sd",)))
_SPEC = FeatureSpec(name="every stage", fft_length=256, hop_length=128, mel_bands=20, blocks=_BLOCKS)
_HERE = Path(__file__).parent
_FLAGS = ("-std=c99", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def build(target: str, folder: Path) -> Path:
    """The fuzzer `target` as a program in `folder`, with libFuzzer's options; inputs that its arguments
    name are run and no others.
    """
    export(
        made_up_model([9, 6, 5], [3, 2, 8], spec=_SPEC), load_board("esp32"), folder / "project", force=True
    )
    library = folder / "project" / "lib" / "serq" / "src"
    application, ports = FIRMWARE / "apps" / "harness", FIRMWARE / "ports"
    sources = {
        "wire": [],
        "application": [application / "wire.c", *library.glob("*.c")],
        "runtime": [*library.glob("*.c")],
    }[target]
    trace = ["-DSERQ_TRACE=1"] if target == "application" else []
    includes = [f"-I{path}" for path in (library, application, ports, folder / "project" / "src", _HERE)]
    main = _HERE / f"fuzz_{target}.c"

    def compiled(program: Path) -> None:
        subprocess.run(["clang", *_FLAGS, *trace, *includes, main, *sources, "-o", program], check=True)

    headers = sorted(path for include in includes for path in Path(include[2:]).glob("*.h"))
    content = [path.read_bytes() for path in (main, *sources, *headers)]
    return made_once([*_FLAGS, *trace, *content], folder / f"fuzz_{target}", compiled)


def _wire() -> list[bytes]:
    frames = [
        encode_frame(Frame(3, 1, bytes(range(200)))),
        encode_frame(Frame(1, 2)),
        encode_frame(Frame(3, 3, b"\7" * 300)),
    ]
    return [b"\xff" + b"".join(frames), b"\x10" + frames[0][:-9] + b"\0" + frames[1]]


def _frame(type_: int, payload: bytes = b"") -> bytes:
    """A frame as fuzz_application.c reads it, numbered after the last."""
    length = len(payload)
    if length > 200:
        whole, rest = divmod(length - 200, 7)
        assert not rest, "the fuzzer has no such length"
        length = 200 + whole
    return bytes([type_, 1, length]) + payload


def _application() -> list[bytes]:
    noise = np.random.default_rng(0).integers(-9000, 9000, 882).astype("<i2")
    samples = [
        _frame(Type.PCM, struct.pack("<I", start) + noise[start : start + 126].tobytes())
        for start in range(0, 882, 126)
    ]
    begin = [
        _frame(Type.BEGIN, struct.pack("<BI", stage, 1 if stage < 16 else 0)) for stage in (0, 6, 16, 31)
    ]
    finish, read, go_on = _frame(Type.FINISH, b"\0"), _frame(Type.READ, b"\3\0"), _frame(Type.CONTINUE)
    plain = b"".join(
        [_frame(Type.IDENTIFY), begin[0], *samples, finish, _frame(Type.DIGESTS), _frame(Type.LABEL, b"\1")]
    )
    at_samples = b"".join(
        [begin[1], *samples[:4], read, _frame(Type.LABEL, b"\2"), go_on, *samples[3:], finish]
    )
    at_finish = [
        b"".join([start, *samples, finish, read, go_on, finish, read, begin[0]]) for start in begin[2:]
    ]
    abandoned = b"".join([begin[1], *samples[:4], read, begin[0], *samples, finish])
    features = [
        _frame(Type.FEATURES, struct.pack("<H", start) + bytes(4 * min(40, _SPEC.feature_count - start)))
        for start in (0, 40)
    ]
    return [
        plain,
        at_samples,
        *at_finish,
        abandoned,
        b"".join([begin[0], *features, _frame(Type.FINISH, b"\1")]),
        b"\x85\0\1\2\3\0" + plain,
    ]


def _runtime() -> list[bytes]:
    rng = np.random.default_rng(1)
    return [
        bytes([200, 3, 255, 1, 127, 128, 9, 77]) + rng.integers(-32768, 32768, count).astype("<i2").tobytes()
        for count in (300, 384, 1500)
    ]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "wire": _wire,
    "application": _application,
    "runtime": _runtime,
}
