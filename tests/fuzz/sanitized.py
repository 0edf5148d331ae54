"""The exported C of every model that ships, and of fourteen odd ones, under sanitizers and valgrind.

    python -m tests.fuzz.sanitized          # all; with names of models, those

Each model's C, with the kernels of four cores, is compiled for this computer by clang with the address and
undefined-behaviour sanitizers, and by gcc for valgrind's memcheck. It hears silence, noise, full scale, steps
and tones, as clips and as streams, whole and in pieces. What must hold: no word of a sanitizer or of
valgrind, and the same answers however the samples are cut.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from serq_mcu.base.resources import MODELS
from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import runtime_files
from serq_mcu.codegen.plan import Plan
from serq_mcu.frontend.blocks import F0, Chroma, Mel, Mfcc, Voicing
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import QuantizedModel
from tests.support.golden import MODELS as GOLDEN
from tests.support.models import made_up_model, made_up_sequence

BOARDS = ("esp32", "emulated-m4f", "emulated-m0", "emulated-m55")  # whose kernels differ
SANITIZERS = ("clang", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PLAIN = ("gcc", "-g", "-O1")
MEMCHECK = ("valgrind", "-q", "--error-exitcode=9", "--track-origins=no")
_HERE = Path(__file__).parent
_OTHERS = _HERE.parents[1] / "models"  # of several corpora, under their own licence


def odd_models() -> Iterator[tuple[str, QuantizedModel]]:
    """Fourteen models unlike those that ship: widths, fills, shapes and front ends at their ends."""
    for name, make in GOLDEN.items():
        yield name, make()
    yield "every width", made_up_model((24, 17, 9, 13, 8, 5, 3), (1, 2, 3, 5, 6, 7, "ternary"))
    for fill in ("low", "high", "alternating"):
        yield f"fields {fill}", made_up_model((33, 20, 2), (1, 4, 8), fill=fill)
    yield "wide", made_up_model((515, 40, 2), (1, 2, 8), seed=3)
    pitch = FeatureSpec(name="pitch", fft_length=512, hop_length=200, blocks=(Chroma(), F0(), Voicing()))
    yield "pitch", made_up_model((8, 2), (4, 8), spec=pitch)
    long = FeatureSpec(
        name="long",
        fft_length=2048,
        window_length=1500,
        hop_length=1024,
        mel_bands=8,
        blocks=(Mfcc(4), Mel(8)),
    )
    yield "long", made_up_model((5, 2), (6, 3), spec=long)
    convolutions = ("conv 11 3 same", "maximum 2", "conv 9 2 stride 3", "conv 16 1", "mean")
    yield "convolutions", made_up_sequence(convolutions, (3, 8, 1, "ternary"))
    yield "depthwise, attention", made_up_sequence(("depthwise 3 dilation 2 causal", "attention"), (5, 2, 4))
    yield "gru", made_up_sequence(("gru 13", "gru 5 last"), (2, 7, "ternary", 4, 8))
    yield "lstm", made_up_sequence(("lstm 9", "attention"), (1, 6, 3, 8))


def sounds(folder: Path) -> list[Path]:
    """Write what the models hear: 8 bytes that choose the pieces, then samples."""
    rng, time = np.random.default_rng(0), np.arange(24_000)
    made = {
        "silence": np.zeros(24_000),
        "noise": rng.normal(0, 3000, 24_000),
        "loud noise": rng.normal(0, 60_000, 24_000),
        "full scale": np.where(time // 50 % 2, 32767, -32768),
        "steps": np.where(time // 4000 % 2, 9000, -9000) + rng.integers(-2, 3, 24_000),
        "tones": 9000 * np.sin(time * (1 + time / 9000) / 40) * (time % 8000 > 3000),
        "one sample": np.array([32767]),
        "two frames": rng.normal(0, 3000, 2048),
    }
    for name, pcm in made.items():
        samples = np.clip(np.rint(pcm), -32768, 32767).astype("<i2")
        (folder / name).write_bytes(rng.bytes(8) + samples.tobytes())
    return sorted(folder / name for name in made)


def check(model: QuantizedModel, board: str, heard: list[Path], memcheck: bool) -> str:
    """Return what a sanitizer or valgrind says of a model's C for a board; "" if nothing."""
    with tempfile.TemporaryDirectory(prefix="serq-sanitized-") as name:
        folder = Path(name)
        for file, data in (runtime_files() | Plan(model, load_board(board)).model_files).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        runtime = folder / "lib" / "serq" / "src"
        sources = [_HERE / "sanitized.c", _HERE / "fuzz_runtime.c", *sorted(runtime.glob("*.c"))]
        compiler = PLAIN if memcheck else SANITIZERS
        program = folder / "program"
        subprocess.run([*compiler, "-std=c99", f"-I{runtime}", *sources, "-o", program], check=True)
        command = [*(MEMCHECK if memcheck else ()), program, *heard]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 and not done.stderr else done.stderr or f"exit {done.returncode}"


def main(names: list[str]) -> int:
    """Check all models, or those of these names, and print what was found."""
    shipped = sorted([*MODELS.glob("*.serq"), *_OTHERS.glob("*.serq")])
    known = dict([*((path.stem, load_model(path)) for path in shipped), *odd_models()])
    models = [(name, model) for name, model in known.items() if not names or name in names]
    runs = findings = 0
    with tempfile.TemporaryDirectory(prefix="serq-sounds-") as folder:
        heard = sounds(Path(folder))
        for name, model in models:
            for board in BOARDS:
                for memcheck in (False, True):
                    said = check(model, board, heard, memcheck)
                    runs, findings = runs + 1, findings + bool(said)
                    if said:
                        print(f"{name} for {board}: {said[:2000]}", file=sys.stderr, flush=True)
            print(f"{name}: {len(BOARDS)} kernels, sanitizers and valgrind", flush=True)
    print(f"{len(models)} models, {runs} programs of {len(heard)} sounds each: {findings} findings")
    return findings


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
