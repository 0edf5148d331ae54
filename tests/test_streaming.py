"""Streams: firmware on every core against the numpy reference, the reference against clips, gate, answers and smoothing, and a long run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from serq_mcu import platformio
from serq_mcu.boards import load_board
from serq_mcu.codegen.export import board_files, model_files, runtime_files, write_project
from serq_mcu.frontend.level import level_from_db
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureBlock, FeatureSpec
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.streaming import NOT_SURE, SILENCE, Decision, decision_rule, stream_decisions
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.resources import FIRMWARE
from tests.models import made_up_model
from tests.native import SANITIZERS, compile_program
from tests.test_frontend import SPECS, stimulus

BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
HERE = Path(__file__).parent
PITCH = FeatureSpec(name="pitch", fft_length=512, hop_length=200, blocks=(FeatureBlock("chroma", 12),))
GATE, QUIET = level_from_db(-50), level_from_db(-70)


def quiet_and_loud(spec: FeatureSpec, seed: int, pieces: int = 40) -> np.ndarray:
    """PCM of pieces of one to four frames at levels around GATE: silence, direct current, runs of -32768, squares, noise and tones."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = [stimulus(spec.frame_length, seed)]
    for _ in range(pieces):
        n = np.arange(rng.integers(spec.frame_length, 4 * spec.frame_length))
        height = 10 ** rng.uniform(-4.5, 0) * 32767
        parts.append(
            [
                np.zeros(n.size),
                np.full(n.size, rng.choice([-32768, 32767, -1, 100])),
                np.where(n // rng.integers(1, 99) % 2, 32767, -32768),
                height * rng.normal(size=n.size),
                height * np.sin(n * rng.uniform(0.01, 3)),
            ][rng.integers(5)]
        )
    return np.clip(np.rint(np.concatenate(parts)), -32768, 32767).astype(np.int16)


def library(model: QuantizedModel, board: str) -> dict[str, bytes]:
    kept = {name: data for name, data in runtime_files().items() if name.startswith("lib/") or name == "src/port.h"}
    return kept | model_files(model, load_board(board)) | {"src/main.c": (HERE / "stream_application.c").read_bytes()}


def host_program(model: QuantizedModel, folder: Path, flags: Iterable[str] = SANITIZERS, application: str = "stream_application.c") -> Path:
    """The application and the model's library as a program of this computer."""
    for name, data in library(model, "esp32").items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    port = [FIRMWARE / "ports" / "port_host.c"] if application == "stream_application.c" else []
    sources = [HERE / application, *port, *sorted((folder / "lib/serq/src").glob("*.c"))]
    return compile_program(folder / "program", sources, [f"-I{FIRMWARE / 'ports'}", *flags], runtime=folder / "lib/serq/src")


def emulated_program(model: QuantizedModel, board_name: str, folder: Path) -> list[str]:
    board = load_board(board_name)
    files = library(model, board_name) | board_files(board)
    files["platformio.ini"] = files["platformio.ini"].replace(b"-DSERQ_TRACE=1", b"")
    write_project(files, "0" * 16, board, folder)
    return platformio.emulator_command(board, platformio.build(folder).elf)


def answers(command: list[str] | Path, model: QuantizedModel, pcm: np.ndarray, piece: int) -> list[Decision]:
    """The decisions of the application on `pcm`, pushed in pieces of so many samples."""
    words = command if isinstance(command, list) else [str(command)]
    done = subprocess.run(words, input=np.uint16(piece).tobytes() + pcm.tobytes(), capture_output=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    rows = np.frombuffer(done.stdout, dtype=np.int32).reshape(-1, 4 + len(model.labels)).tolist()
    return [Decision(answer, tuple(values), margin, level, frames) for answer, level, frames, margin, *values in rows]


# --- firmware against the reference

RULES = [
    {"blocks": 3, "block_frames": 4, "gate_level": GATE, "unsure_margin": 700, "smoothing": 1},
    {"blocks": 1, "block_frames": 5, "gate_level": GATE, "smoothing": 2},
    {"blocks": 8, "block_frames": 2, "unsure_margin": 300, "smoothing": 4},
]


@pytest.mark.parametrize("name", [name for name in SPECS if name not in ("speech120", "long", "long segments")])
def test_host_c_is_the_reference_whatever_the_pieces(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    for number, rule in enumerate(RULES if name in ("short window", "all blocks") else RULES[:1]):
        model = made_up_model((6, 3), (2, 5), spec=spec, **rule)
        program = host_program(model, tmp_path / str(number))
        pcm = quiet_and_loud(spec, number)
        expected = stream_decisions(model, pcm)
        for piece in (1, 77, 1024):
            assert answers(program, model, pcm, piece) == expected


def test_the_signals_reach_every_answer() -> None:
    model = made_up_model((6, 3), (2, 5), spec=SPECS["short window"], **RULES[0])
    found = stream_decisions(model, quiet_and_loud(model.spec, 0))
    assert {SILENCE, NOT_SURE, 0} <= {decision.answer for decision in found}
    assert {decision.frames for decision in found} == {0, 4, 8, 12}


@pytest.mark.parametrize(("board", "spec"), [*((board, SPECS["short window"]) for board in BOARDS), ("emulated-m0", PITCH)])
def test_every_core_answers_as_the_reference(board: str, spec: FeatureSpec, tmp_path: Path) -> None:
    model = made_up_model((6, 3), (2, 5), spec=spec, **RULES[0])
    command = emulated_program(model, board, tmp_path / "p")
    pcm = quiet_and_loud(spec, 3, pieces=12)
    expected = stream_decisions(model, pcm)
    for piece in (1, 1000):
        assert answers(command, model, pcm, piece) == expected


# --- the reference against clips


def test_a_decision_is_the_clips_of_its_window() -> None:
    model = made_up_model((6, 3), (2, 5), gate_level=GATE)
    spec, rule = model.spec, decision_rule(model)
    pcm = quiet_and_loud(spec, 5)
    found = stream_decisions(model, pcm)
    assert len(found) == spec.frame_count(len(pcm)) // rule.block_frames
    for number, decision in enumerate(found, start=1):
        if decision.frames:
            last = number * rule.block_frames
            window = pcm[(last - decision.frames) * spec.hop_length : (last - 1) * spec.hop_length + spec.frame_length]
            assert list(decision.scores) == scores(model, features(spec, model.tables, window)).tolist()
