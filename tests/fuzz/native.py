"""The C parsers under libFuzzer with the address and undefined-behaviour sanitizers: built here, run by `python -m tests.fuzz`."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serq_mcu.boards import load_board
from serq_mcu.codegen.export import export
from serq_mcu.resources import FIRMWARE
from serq_mcu.verification.protocol import Frame, Type, encode_frame
from tests.models import made_up_model

COMMON = ("-max_len=8192", "-timeout=20", "-rss_limit_mb=2000")  # options of every run
_HERE = Path(__file__).parent
_FLAGS = ("-std=c99", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def build(target: str, folder: Path) -> Path:
    """The fuzzer `target` as a program in `folder`, with libFuzzer's options; inputs that its arguments name are run and no others."""
    export(made_up_model([9, 6, 5], [3, 2, 8]), load_board("esp32"), folder / "project", force=True)
    library = folder / "project" / "lib" / "serq" / "src"
    application, ports = FIRMWARE / "apps" / "harness", FIRMWARE / "ports"
    sources = {"wire": [], "application": [application / "wire.c", *library.glob("*.c")], "runtime": [*library.glob("*.c")]}[target]
    trace = ["-DSERQ_TRACE=1"] if target == "application" else []
    includes = [f"-I{path}" for path in (library, application, ports, folder / "project" / "src", _HERE)]
    program = folder / f"fuzz_{target}"
    subprocess.run(["clang", *_FLAGS, *trace, *includes, _HERE / f"fuzz_{target}.c", *sources, "-o", program], check=True)
    return program


def _wire() -> list[bytes]:
    frames = [encode_frame(Frame(3, 1, bytes(range(200)))), encode_frame(Frame(1, 2)), encode_frame(Frame(3, 3, b"\7" * 300))]
    return [b"\xff" + b"".join(frames), b"\x10" + frames[0][:-9] + b"\0" + frames[1]]


def _frame(type_: int, payload: bytes, number: int = 1) -> bytes:
    return bytes([type_, number, len(payload) // 2]) + payload[: len(payload) // 2 * 2]


def _application() -> list[bytes]:
    noise = np.random.default_rng(0).integers(-9000, 9000, 900).astype("<i2")
    samples = [_frame(Type.PCM, struct.pack("<I", start) + noise[start : start + 126].tobytes()) for start in range(0, 882, 126)]
    begin = [bytes([Type.BEGIN, 1, 3]) + struct.pack("<BIB", stage, 1, 0) for stage in (0, 6, 16, 31)]
    finish, read = bytes([Type.FINISH, 1, 1, 0, 0]), _frame(Type.READ, b"\3\0")
    plain = b"".join([_frame(Type.IDENTIFY, b""), begin[0], *samples, finish, _frame(Type.DIGESTS, b""), _frame(Type.LABEL, b"\1\0")])
    stopped = [b"".join([start, *samples, finish, read, _frame(Type.CONTINUE, b""), finish, read, begin[0]]) for start in begin[1:]]
    features = [_frame(Type.FEATURES, struct.pack("<H", start) + bytes(40)) for start in (0, 10, 11)]
    return [plain, *stopped, b"".join([begin[0], *features, bytes([Type.FINISH, 1, 1, 1, 1])]), b"\x85\0\1\2\3\0" + plain]


def _runtime() -> list[bytes]:
    rng = np.random.default_rng(1)
    return [bytes([200, 3, 255, 1, 127, 128, 9, 77]) + rng.integers(-32768, 32768, count).astype("<i2").tobytes() for count in (300, 384, 1500)]


def write(seeds: Callable[[], list[bytes]], folder: Path) -> str:
    """The seeds as files of the new `folder`, whose name is returned."""
    folder.mkdir()
    for index, seed in enumerate(seeds()):
        (folder / str(index)).write_bytes(seed)
    return str(folder)


SEEDS: dict[str, Callable[[], list[bytes]]] = {"wire": _wire, "application": _application, "runtime": _runtime}
