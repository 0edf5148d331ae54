"""Streams: firmware on every core against the numpy reference, the reference against clips, gate, answers
and smoothing, and a long run.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.build import platformio
from serq_mcu.cli import main
from serq_mcu.codegen.export import board_files, runtime_files, write_project
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import load_config
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import Clip, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.sessions import in_room_noise
from serq_mcu.evaluation.streams import in_noise
from serq_mcu.extraction.recordings import read_recordings
from serq_mcu.frontend.arithmetic import LEVEL_MIN
from serq_mcu.frontend.blocks import Chroma
from serq_mcu.frontend.level import level_in_db
from serq_mcu.frontend.reference import features, pool, pooled_frames
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantized_model.interpreter import classify, scores
from serq_mcu.quantized_model.store import save_model, shipped_model
from serq_mcu.quantized_model.streaming import (
    Block,
    Decision,
    Frames,
    Stream,
    analyse,
    anchor,
    decide,
    listen,
    require_decision_rule,
    stream_decisions,
)
from serq_mcu.quantized_model.types import NO_SPEECH, NOT_SURE, DecisionRule, QuantizedModel
from tests.support.frontend import SPECS
from tests.support.models import dense, made_up_model
from tests.support.native import SANITIZERS, compile_program, run
from tests.support.streaming import RULE, quiet_and_loud, with_pauses, with_speech_rule
from tests.support.tools import needs
from tools.frontend_cost import synthetic_speech

BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]
PROGRAMS = Path(__file__).parents[1] / "programs"
PITCH = FeatureSpec(name="pitch", fft_length=512, hop_length=200, blocks=(Chroma(),))


def library(model: QuantizedModel, board: str) -> dict[str, bytes]:
    kept = {
        name: data
        for name, data in runtime_files().items()
        if name.startswith("lib/") or name == "src/port.h"
    }
    return (
        kept
        | Plan(model, load_board(board)).model_files
        | {"src/main.c": (PROGRAMS / "stream_application.c").read_bytes()}
    )


def host_program(
    model: QuantizedModel,
    folder: Path,
    flags: Iterable[str] = ("-O1",),
    application: str = "stream_application.c",
) -> Path:
    """The application and the model's library as a program of this computer."""
    for name, data in library(model, "esp32").items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    port = [FIRMWARE / "ports" / "port_host.c"] if application == "stream_application.c" else []
    sources = [PROGRAMS / application, *port, *sorted((folder / "lib/serq/src").glob("*.c"))]
    includes = [f"-I{FIRMWARE / 'ports'}", *flags]
    return compile_program(folder / "program", sources, includes, runtime=folder / "lib/serq/src")


def emulated_program(model: QuantizedModel, board_name: str, folder: Path) -> list[str]:
    board = load_board(board_name)
    files = library(model, board_name) | board_files(board)
    files["platformio.ini"] = files["platformio.ini"].replace(b"-DSERQ_TRACE=1", b"")
    write_project(files, "0" * 16, board, folder)
    return platformio.emulator_command(board, platformio.build(folder).elf)


def answers(command: list[str] | Path, model: QuantizedModel, pcm: np.ndarray, piece: int) -> list[Decision]:
    """The decisions of the application on `pcm`, pushed in pieces of so many samples."""
    words = command if isinstance(command, list) else [str(command)]
    done = subprocess.run(
        words, input=np.uint16(piece).tobytes() + pcm.tobytes(), capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    rows = np.frombuffer(done.stdout, dtype=np.int32).reshape(-1, 4 + len(model.labels)).tolist()
    return [
        Decision(answer, tuple(values), margin, level, frames)
        for answer, level, frames, margin, *values in rows
    ]


# --- firmware against the reference

RULES: list[dict[str, Any]] = [
    RULE,
    {"blocks": 1, "block_frames": 5, "floor_blocks": 0, "smoothing": 2, "wake_rise": 255},
    {"blocks": 8, "block_frames": 2, "unsure_margin": 300, "smoothing": 4, "wake_rise": 9},
    {"blocks": 1, "block_frames": 9, "floor_blocks": 4, "wake_rise": 510},
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all blocks", "short window", "telephone", "narrow window", "chroma alone"])
def test_host_c_is_the_reference_whatever_the_pieces(name: str, tmp_path: Path) -> None:
    spec = with_speech_rule(SPECS[name])
    for number, rule in enumerate(RULES if name == "narrow window" else RULES[:1]):
        model = made_up_model((6, 3), (2, 5), spec=spec, **rule)
        program = host_program(model, tmp_path / str(number))
        pcm = with_pauses(spec, number)
        expected = stream_decisions(model, pcm)
        for piece in (1, 77, 1024):
            assert answers(program, model, pcm, piece) == expected
        assert (passed_over(model, pcm) > 0) == (require_decision_rule(model).floor_blocks > 0)


def test_the_signals_reach_every_answer() -> None:
    model = made_up_model((6, 3), (2, 5), spec=with_speech_rule(SPECS["short window"]), **RULES[0])
    found = stream_decisions(model, quiet_and_loud(model.spec, 0))
    assert {NO_SPEECH, NOT_SURE, 0} <= {decision.answer for decision in found}
    assert {decision.frames for decision in found} == {0, 4, 8, 12}


@pytest.mark.emulator
@pytest.mark.parametrize("board", BOARDS)
def test_every_core_answers_as_the_reference(board: str, tmp_path: Path) -> None:
    model = made_up_model((6, 3), (2, 5), spec=with_speech_rule(SPECS["short window"]), **RULES[0])
    command = emulated_program(model, board, tmp_path / "p")
    pcm = with_pauses(model.spec, 3, pieces=12)
    assert passed_over(model, pcm) > 0
    expected = stream_decisions(model, pcm)
    for piece in (1, 1000):
        assert answers(command, model, pcm, piece) == expected


def passed_over(model: QuantizedModel, pcm: np.ndarray) -> int:
    """How many frames of the stream are not heard."""
    return sum(int((~block.heard).sum()) for block in hear(model, pcm))


def hear(model: QuantizedModel, pcm: np.ndarray) -> list[Block]:
    return listen(model, require_decision_rule(model), analyse(model, pcm))


# --- the reference against clips


def test_a_decision_is_the_clips_of_its_window() -> None:
    model = made_up_model((6, 3), (2, 5), spec=with_speech_rule(FeatureSpec()))
    spec, rule = model.spec, require_decision_rule(model)
    pcm = quiet_and_loud(spec, 5)
    found = stream_decisions(model, pcm)
    assert len(found) == spec.frame_count(len(pcm)) // rule.block_frames
    # a stream's grid of levels hangs from its first frame, not the window's
    grid = anchor(model, listen(model, rule, analyse(model, pcm)))
    for number, decision in enumerate(found, start=1):
        if decision.frames:
            last = number * rule.block_frames
            window = pcm[
                (last - decision.frames) * spec.hop_length : (last - 1) * spec.hop_length + spec.frame_length
            ]
            pooled = pool(spec, model.tables, pooled_frames(spec, model.tables, window), grid)
            assert list(decision.scores) == scores(model, pooled).tolist()


# --- the gate


def tone(spec: FeatureSpec, frames: int, db: float, hertz: float = 1000.0) -> np.ndarray:
    """PCM [frames * hop] of a sine whose mean square is `db` relative to a full-scale square wave's."""
    t = np.arange(frames * spec.hop_length) / spec.sample_rate
    return np.clip(
        np.rint(32768 * np.sqrt(2) * 10 ** (db / 20) * np.sin(2 * np.pi * hertz * t)), -32768, 32767
    ).astype(np.int16)


@pytest.mark.parametrize(
    "name", ["speech120", "short window", "shortest window", "chroma alone", "all blocks"]
)
@pytest.mark.parametrize("db", [-3.5, -20.0, -50.0])
def test_a_level_is_the_mean_square_in_db(name: str, db: float) -> None:
    model = made_up_model((6, 3), (2, 5), spec=SPECS[name])
    levels = analyse(model, tone(SPECS[name], 12, db)).levels[:8]
    # 0.05 dB: the logarithm's chords, Q8 steps and, at -50 dB, the samples' rounding
    assert np.abs([level_in_db(level) - db for level in levels.tolist()]).max() < 0.05


def test_levels_at_the_ends() -> None:
    model = made_up_model((6, 3), (2, 5), spec=SPECS["speech120"])
    assert set(analyse(model, np.zeros(20_000, np.int16)).levels.tolist()) == {LEVEL_MIN}
    square = np.where(np.arange(20_000) // 8 % 2, 32767, -32768).astype(np.int16)
    assert np.abs([level_in_db(level) for level in analyse(model, square).levels.tolist()]).max() < 0.1


def test_hum_below_the_lowest_band_is_no_speech() -> None:
    model = made_up_model((6, 3), (2, 5), spec=with_speech_rule(SPECS["telephone"]))
    hum = tone(model.spec, 40, -20, hertz=50)
    hum[: hum.size // 2] //= 8  # it rises by 18 dB
    assert {decision.answer for decision in stream_decisions(model, hum)} == {NO_SPEECH}


def blocks_of(model: QuantizedModel, pattern: str) -> np.ndarray:
    """PCM whose blocks are quiet (q) or loud (L) in turn; the frame that spans two blocks belongs to the
    earlier one.
    """
    rule, spec = require_decision_rule(model), model.spec
    rng = np.random.default_rng(0)
    parts = [
        tone(spec, rule.block_frames, -20 if kind == "L" else -70, hertz=rng.uniform(300, 3000))
        for kind in pattern
    ]
    for part in parts:  # what lies in the earlier one too
        part[: spec.frame_length - spec.hop_length] //= 300
    return np.concatenate([*parts, parts[-1]])


def test_a_window_begins_with_speech_and_without_it_there_is_none() -> None:
    spec = with_speech_rule(FeatureSpec())
    model = made_up_model((6, 3), (2, 5), spec=spec, blocks=3, block_frames=20, floor_blocks=8)
    found = list(
        decide(model, require_decision_rule(model), analyse(model, blocks_of(model, "qLqqqLLLLLq")))
    )[:11]
    assert [decision.frames // 20 for decision in found] == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3, 3]
    assert [decision.answer == NO_SPEECH for decision in found] == [
        decision.frames == 0 for decision in found
    ]
    assert all(
        decision.scores == (0, 0, 0) and decision.margin == 0 for decision in found if decision.frames == 0
    )


def test_steady_noise_of_any_level_is_no_speech_and_the_floor_follows_it() -> None:
    spec = with_speech_rule(FeatureSpec(), frames=8)
    model = made_up_model((6, 3), (2, 5), spec=spec, blocks=2, block_frames=16, floor_blocks=4)
    rng = np.random.default_rng(0)
    steady = np.rint(rng.normal(scale=3, size=20 * 16000)).astype(np.int16)
    assert {decision.answer for decision in stream_decisions(model, steady)} == {NO_SPEECH}
    steady[8 * 16000 :] *= 100
    found = [decision.answer == NO_SPEECH for decision in stream_decisions(model, steady)]
    assert not all(found)  # what rises may be speech, until the quiet blocks are forgotten
    assert all(found[:15]) and all(found[-12:])


def test_speech_needs_its_number_of_frames_above_the_floor() -> None:
    spec = FeatureSpec(speech_frames=1)
    model = made_up_model((6, 3), (2, 5), spec=spec, blocks=2, block_frames=20, floor_blocks=8)
    rule, frames = require_decision_rule(model), analyse(model, blocks_of(model, "qqLqq"))
    counts = [block.speech for block in listen(model, rule, frames)]
    most = max(sum(pair) for pair in itertools.pairwise(counts))
    for enough, answered in ((most, True), (most + 1, False)):
        found = decide(replace_spec(model, speech_frames=enough), rule, frames)
        assert any(decision.answer != NO_SPEECH for decision in found) == answered


# --- frames that are passed over

PINK = in_room_noise(np.zeros(16000 * 30, np.int16), -55, 16000, 0, "pink")
HUM = np.rint(500 * np.sin(2 * np.pi * 50 * np.arange(16000 * 30) / 16000)).astype(np.int16)
NOISES = [
    np.zeros(1, np.int16),
    *(
        np.rint(np.random.default_rng(0).normal(offset, scale, 16000 * 30)).astype(np.int16)
        for offset, scale in ((0, 0.2), (0, 1), (0, 30), (-2000, 3000))
    ),
    PINK,
    PINK + HUM,
]


def listening_model(**rule: int) -> QuantizedModel:
    """The default features and a rule as the default one."""
    plain: dict[str, Any] = {"blocks": 4, "block_frames": 31, "floor_blocks": 8, "wake_rise": 255}
    return made_up_model((6, 3), (2, 5), spec=load_config().features, **plain | {"smoothing": 1} | rule)


@pytest.mark.parametrize(
    "noise", NOISES, ids=["nothing", "below a step", "-90 dB", "-61 dB", "offset", "pink", "hum in pink"]
)
def test_of_silence_and_steady_noise_one_frame_a_block_is_heard(noise: np.ndarray) -> None:
    heard = [int(block.heard.sum()) for block in hear(listening_model(), np.resize(noise, 16000 * 30))]
    assert heard == [31] + [1] * 29
    asked = listening_model(wake_rise=0), listening_model(floor_blocks=0)
    for model in (*asked, replace_spec(listening_model(), speech_frames=0)):
        assert passed_over(model, np.resize(noise, 16000 * 8)) == 0


def test_from_the_frame_on_that_rises_all_are_heard_until_no_block_has_speech() -> None:
    model = listening_model()
    pcm = np.rint(np.random.default_rng(0).normal(0, 10, 16000 * 20)).astype(np.int16)
    at = 5 * 16000 + 8000
    pcm[at : at + 16000] += synthetic_speech(3, seconds=1.0)
    blocks = hear(model, pcm)
    speech = [number for number, block in enumerate(blocks) if block.speech]
    assert speech and speech[0] in (5, 6)
    before = np.concatenate([block.heard for block in blocks[: speech[0] + 1]])
    rises = int(np.flatnonzero(~before)[-1]) + 1
    assert at - 512 < rises * 512 + 512 < at + 4 * 512  # where its newest samples begin
    for number, block in enumerate(blocks[1:], start=1):
        if any(earlier.speech for earlier in blocks[max(0, number - 3) : number]):
            assert block.heard.all()
        elif not block.speech:
            assert block.heard.sum() == 1
    assert blocks[-1].heard.sum() == 1


def test_speech_after_silence_is_answered_as_if_all_frames_were_heard() -> None:
    for seed in range(3):
        pcm = np.rint(np.random.default_rng(seed).normal(0, 10, 16000 * 20)).astype(np.int16)
        pcm[8 * 16000 : 11 * 16000] += synthetic_speech(seed, seconds=3.0)
        sparing, hearing = listening_model(), listening_model(wake_rise=0)
        found, wanted = stream_decisions(sparing, pcm), stream_decisions(hearing, pcm)
        assert [d.frames for d in found] == [d.frames for d in wanted]
        assert [d.answer for d in found] == [d.answer for d in wanted] != [NO_SPEECH] * len(found)


def test_a_stream_in_pieces_passes_over_what_it_does_at_once() -> None:
    model = made_up_model((6, 3), (2, 5), spec=with_speech_rule(SPECS["short window"]), **RULES[0])
    pcm, rng = with_pauses(model.spec, 4), np.random.default_rng(0)
    stream, found = Stream(model), []
    cuts = np.sort(rng.integers(0, len(pcm), 60))
    for piece in np.split(pcm, cuts):
        found += stream.push(piece)
    assert found == stream_decisions(model, pcm)
    assert passed_over(model, pcm) > 0


@pytest.mark.parametrize("piece", [160, 1023])
def test_c_transforms_one_frame_of_a_silent_block(piece: int, tmp_path: Path) -> None:
    model = made_up_model((6, 3), (2, 5), spec=with_speech_rule(SPECS["short window"]), **RULES[0])
    program = host_program(model, tmp_path, ["-O1", "-DSERQ_TRACE=1"], "stream_frames.c")
    for pcm in (np.resize(NOISES[0], 30000), NOISES[3][:30000], with_pauses(model.spec, 5)):
        counted = run(program, np.uint16(piece).tobytes() + pcm.tobytes())
        heard = [int(block.heard.sum()) for block in hear(model, pcm)]
        assert np.frombuffer(counted, np.int32).tolist() == heard
        assert min(heard) == 1 < max(heard) == 4


def test_a_window_without_any_feature_is_no_speech_as_its_clip_is(tmp_path: Path) -> None:
    model = made_up_model((6, 3), (2, 5))  # which asks for no speech
    assert model.spec.speech_frames == 0
    spec = model.spec
    silence = np.zeros(20 * spec.hop_length, np.int16)
    assert classify(model, features(spec, model.tables, silence)[None]).tolist() == [NO_SPEECH]
    pcm = np.concatenate([silence, quiet_and_loud(spec, 1, pieces=4), silence])
    found = stream_decisions(model, pcm)
    assert found[0] == Decision(NO_SPEECH, (0, 0, 0), 0, LEVEL_MIN, 0) == found[-1]
    assert any(decision.frames for decision in found)
    assert answers(host_program(model, tmp_path), model, pcm, 300) == found


def replace_spec(model: QuantizedModel, **changes: Any) -> QuantizedModel:
    return dataclasses.replace(model, spec=dataclasses.replace(model.spec, **changes))


def test_a_class_may_say_that_there_is_no_speech() -> None:
    plain = made_up_model((6, 3), (2, 5))
    pcm = quiet_and_loud(plain.spec, 1)
    labels = [decision.answer for decision in stream_decisions(plain, pcm)]
    for index in set(labels):
        names = tuple("no speech" if i == index else f"class {i}" for i in range(3))
        found = stream_decisions(dataclasses.replace(plain, labels=names), pcm)
        assert [decision.answer for decision in found] == [
            NO_SPEECH if label == index else label for label in labels
        ]


# --- "not sure" and smoothing


def test_an_answer_needs_its_margin() -> None:
    model = made_up_model((6, 3), (2, 5))
    rule, frames = require_decision_rule(model), analyse(model, quiet_and_loud(model.spec, 1))
    for decision in list(decide(model, rule, frames))[:20]:
        first, second = sorted(decision.scores, reverse=True)[:2]
        assert decision.margin == first - second
        assert decision.answer == decision.scores.index(first)
    margin = next(decide(model, rule, frames)).margin
    for least, sure in ((margin, True), (margin + 1, False)):
        assert (
            next(decide(model, dataclasses.replace(rule, unsure_margin=least), frames)).answer != NOT_SURE
        ) == sure


@pytest.mark.parametrize("smoothing", [0, 1, 2, 4])
def test_smoothed_scores_are_an_exponential_average_that_starts_afresh_after_silence(smoothing: int) -> None:
    spec = with_speech_rule(FeatureSpec())
    model = made_up_model((6, 3), (2, 5), spec=spec, blocks=2, block_frames=20, floor_blocks=15)
    frames = analyse(model, blocks_of(model, "LLLLLLLLqqqLLLL"))
    plain = list(decide(model, require_decision_rule(model), frames))
    smoothed = decide(model, dataclasses.replace(require_decision_rule(model), smoothing=smoothing), frames)
    average: np.ndarray | None = None
    for new, decision in zip(plain, smoothed, strict=True):
        if new.answer == NO_SPEECH:
            average = None
            assert decision == new
            continue
        scores_now = np.array(new.scores, dtype=float)
        average = scores_now if average is None else average + (scores_now - average) / 2**smoothing
        # floor of the average whose own floors add less than one step each time, of which 2^-smoothing
        # remains
        assert (np.abs(np.array(decision.scores) - average) <= 1 + 1e-9).all()
    assert sum(decision.answer == NO_SPEECH for decision in plain) >= 1


def test_a_lasting_score_is_reached_exactly() -> None:
    model = made_up_model((6, 3), (2, 5), blocks=1, block_frames=4, smoothing=4)
    heard = analyse(model, quiet_and_loud(model.spec, 1))
    first, lasting = np.arange(4), np.tile(np.arange(20, 24), 300)
    for order in (first, lasting), (lasting[:4], np.tile(first, 300)):  # from above and from below
        index = np.concatenate(order)
        frames = heard[index]
        found = list(decide(model, require_decision_rule(model), frames))
        last = list(decide(model, dataclasses.replace(require_decision_rule(model), smoothing=0), frames))[-1]
        assert found[0].scores != last.scores
        assert found[-1].scores == last.scores


@pytest.mark.slow
def test_smoothing_that_could_overflow_is_refused_and_the_largest_proved_scores_do_not(
    tmp_path: Path,
) -> None:
    plain = made_up_model((8, 2), (8, 8), fill="high", blocks=2, block_frames=2, smoothing=4)
    last = dense(plain)[-1]
    room = (2**31 - 1 >> 4) - last.inputs * 127 * (2**last.bits - 1)
    bias = np.array([room, -room], dtype=np.int32)
    largest = dataclasses.replace(plain, layers=(dense(plain)[0], dataclasses.replace(last, bias=bias)))
    with pytest.raises(SerqError, match="smaller decision"):
        dataclasses.replace(
            plain, layers=(dense(plain)[0], dataclasses.replace(last, bias=bias + np.array([1, 0], np.int32)))
        )
    pcm = quiet_and_loud(largest.spec, 2)
    expected = stream_decisions(largest, pcm)
    assert max(max(decision.scores) for decision in expected) > 0.99 * (2**31 >> 4)
    assert min(min(decision.scores) for decision in expected) < -0.9 * (2**31 >> 4)
    assert answers(host_program(largest, tmp_path, SANITIZERS), largest, pcm, 513) == expected


# --- an hour


def long_recording(clips: list[np.ndarray], minutes: float, rate: int, seed: int = 0) -> np.ndarray:
    """Clips in random order at random levels, pauses of self-noise and of nothing, bursts of full-scale
    squares, noise and -32768.
    """
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    total = 0
    while total < minutes * 60 * rate:
        pause = rng.integers(1, 4 * rate)
        burst = np.arange(rng.integers(1, rate))
        parts += [
            np.rint(clips[rng.integers(len(clips))] * 10 ** rng.uniform(-2, 0)),
            np.rint(rng.normal(scale=1.5, size=pause)) if rng.random() < 0.8 else np.zeros(pause),
        ]
        if rng.random() < 0.1:
            bursts = [
                np.full(burst.size, -32768),
                np.where(burst // 9 % 2, 32767, -32768),
                rng.integers(-32768, 32768, burst.size),
            ]
            parts.append(bursts[rng.integers(3)])
        total += sum(part.size for part in parts[-3:])
    return np.concatenate(parts)[: int(minutes * 60 * rate)].astype(np.int16)


def long_model(**rule: int) -> QuantizedModel:
    spec = with_speech_rule(FeatureSpec(), frames=8)
    plain: dict[str, Any] = {"blocks": 4, "block_frames": 16, "floor_blocks": 8, "smoothing": 2}
    return made_up_model((16, 7), (2, 5), spec=spec, **plain | {"unsure_margin": 2000} | rule)


def check_sparing_stream(clips: list[np.ndarray], minutes: float, folder: Path) -> None:
    """All decisions where frames are passed over, in pieces of all sizes, against numpy's at once."""
    model = long_model(wake_rise=255)
    pcm = long_recording(clips, minutes, model.spec.sample_rate, seed=1)
    program = host_program(model, folder / "sparing", SANITIZERS, "stream_hour.c")
    rows = np.frombuffer(run(program, pcm.tobytes()), dtype=np.int64).reshape(-1, 5 + 2 * len(model.labels))
    wanted = stream_decisions(model, pcm)
    assert [tuple(row) for row in rows[:, 1 : 5 + len(model.labels)].tolist()] == [
        (d.answer, d.level, d.frames, d.margin, *d.scores) for d in wanted
    ]
    assert 0.02 < passed_over(model, pcm) / (16 * len(wanted)) < 0.9


def check_long_stream(clips: list[np.ndarray], minutes: float, folder: Path) -> None:
    """All decisions against the clip's way on the same samples in C, and a sample of them and of the
    levels against numpy.
    """
    model = long_model()
    spec, rule, classes = model.spec, require_decision_rule(model), len(model.labels)
    pcm = long_recording(clips, minutes, spec.sample_rate)
    fast = host_program(model, folder / "fast", ["-O3"], "stream_hour.c")
    rows = np.frombuffer(run(fast, pcm.tobytes(), "clips"), dtype=np.int64).reshape(-1, 5 + 2 * classes)
    careful = host_program(model, folder / "careful", SANITIZERS, "stream_hour.c")
    assert (
        np.frombuffer(run(careful, pcm.tobytes()), dtype=np.int64).reshape(rows.shape)[:, : 5 + classes]
        == rows[:, : 5 + classes]
    ).all()

    ends, levels, windows, clip_scores = rows[:, 0], rows[:, 2], rows[:, 3], rows[:, 5 + classes :]
    blocks = np.arange(1, len(rows) + 1)
    assert len(rows) == spec.frame_count(len(pcm)) // rule.block_frames
    assert (ends == (blocks * rule.block_frames - 1) * spec.hop_length + spec.frame_length).all()
    assert {0, 16, 32, 48, 64} == set(windows.tolist())
    start = analyse(model, pcm[: 10 * 60 * spec.sample_rate])
    grid = anchor(model, listen(model, rule, start))
    assert (windows[: len(start) // 16] == 16 * np.array(by_plain_speech(model, start))).all()
    assert [tuple(row) for row in rows[:, [1, 4, *range(5, 5 + classes)]].tolist()] == list(
        by_plain_rule(rule, clip_scores, windows)
    )
    for i in np.random.default_rng(1).permutation(np.flatnonzero(windows))[:20]:
        heard = pcm[ends[i] - (windows[i] - 1) * spec.hop_length - spec.frame_length : ends[i]]
        pooled = pool(spec, model.tables, pooled_frames(spec, model.tables, heard), grid)
        assert scores(model, pooled).tolist() == clip_scores[i].tolist()
        newest = analyse(model, heard).levels[-rule.block_frames :]
        assert (newest.sum() + rule.block_frames // 2) // rule.block_frames == levels[i]


def by_plain_speech(model: QuantizedModel, frames: Frames) -> list[int]:
    """Blocks of each window, 0 without speech: SPEC.md section 12, with lists of all frames so far."""
    rule, size = require_decision_rule(model), require_decision_rule(model).block_frames
    levels = frames.levels.tolist()
    recent: list[int] = []
    counts: list[int] = []
    floors: list[int] = []
    for start in range(0, len(levels) - size + 1, size):
        floor, speech = 2**15 - 1, 0
        for level in (level for level in levels[start : start + size] if level > LEVEL_MIN):
            recent = [*recent, level][-4:]
            if len(recent) == 4:
                floor = min(floor, sum(recent) // 4)
                speech += level - min([floor, *floors[-rule.floor_blocks :]]) >= model.tables.speech_rise
        floors.append(floor)
        counts.append(speech)
    windows = [counts[max(0, i + 1 - rule.blocks) : i + 1] for i in range(len(counts))]
    return [
        next(len(window) - i for i, count in enumerate(window) if count)
        if sum(window) >= model.spec.speech_frames
        else 0
        for window in windows
    ]


def by_plain_rule(
    rule: DecisionRule, clip_scores: np.ndarray, windows: np.ndarray
) -> Iterable[tuple[int, ...]]:
    """Answer, margin and smoothed scores, from the scores of each window as a clip."""
    sums: list[int] | None = None
    for new, window in zip(clip_scores.tolist(), windows.tolist(), strict=True):
        if window == 0:
            sums = None
            yield NO_SPEECH, 0, *[0] * len(new)
            continue
        sums = (
            [2**rule.smoothing * s for s in new]
            if sums is None
            else [a - (a >> rule.smoothing) + s for a, s in zip(sums, new, strict=True)]
        )
        now = [a >> rule.smoothing for a in sums]
        lead = max(now) - sorted(now)[-2]
        yield now.index(max(now)) if lead >= rule.unsure_margin else NOT_SURE, lead, *now


@pytest.mark.slow(9)
def test_minutes_of_anything_are_the_clips_of_their_windows(tmp_path: Path) -> None:
    check_long_stream([synthetic_speech(3), synthetic_speech(1)], 3, tmp_path)
    check_sparing_stream([synthetic_speech(3), synthetic_speech(1)], 3, tmp_path)


@pytest.mark.slow(20)
def test_an_hour_of_speech_and_noise_is_the_clips_of_its_windows(emodb_dir: Path, tmp_path: Path) -> None:
    clips = [read_audio(clip.path, 16000).pcm for clip in load_corpus(emodb_dir).clips]
    check_long_stream(clips, 60, tmp_path)
    check_sparing_stream(clips, 20, tmp_path)


# --- what is linked, and what it takes


def compiled(
    folder: Path, source: str, *flags: str, compiler: str = "cc"
) -> subprocess.CompletedProcess[str]:
    words = [
        compiler,
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-pedantic",
        f"-I{folder / 'lib/serq/src'}",
        *flags,
    ]
    return subprocess.run(
        [*words, "-c", "-x", "c", "-", "-o", "/dev/null"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_decision_rule_clips_are_classified_and_streams_are_refused(tmp_path: Path) -> None:
    model = dataclasses.replace(made_up_model((6, 3), (2, 5), spec=PITCH), decision=None)
    for name, data in library(model, "esp32").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for source in sorted((tmp_path / "lib/serq/src").glob("*.c")):
        assert compiled(tmp_path, f'#include "{source.name}"\n').stderr == ""
    refused = compiled(tmp_path, '#include "serq_stream.h"\n')
    assert refused.returncode != 0
    assert "no parameters for live audio" in refused.stderr
    with pytest.raises(SerqError, match="cannot stream"):
        stream_decisions(model, np.zeros(9999, np.int16))


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=needs("clang"))])
@pytest.mark.parametrize(
    "rule",
    [
        {"blocks": 1, "block_frames": 2},
        {"blocks": 32, "block_frames": 128, "floor_blocks": 64, "smoothing": 4},
    ],
)
def test_rules_at_their_ends_compile_without_a_word(
    rule: dict[str, Any], compiler: str, tmp_path: Path
) -> None:
    for name, data in library(made_up_model((6, 3), (2, 5), **rule), "esp32").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for flags in (["-O2"], ["-O2", "-DSERQ_TRACE=1"]):
        done = compiled(
            tmp_path, '#include "serq_stream.c"\nint main(void) { return 0; }\n', *flags, compiler=compiler
        )
        assert (done.returncode, done.stderr) == (0, "")


def stream_size(model: QuantizedModel, blocks: int, folder: Path) -> int:
    """sizeof(serq_stream) on a Cortex-M0 of the model with so many blocks."""
    rule = dataclasses.replace(require_decision_rule(model), blocks=blocks)
    for name, data in library(dataclasses.replace(model, decision=rule), "emulated-m0").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    command = [
        "arm-none-eabi-gcc",
        "-mcpu=cortex-m0",
        "-mthumb",
        "--specs=picolibc.specs",
        f"-I{folder / 'lib/serq/src'}",
        "-S",
        "-o",
        "-",
    ]
    text = '#include "serq_stream.h"\nunsigned size_is = sizeof(serq_stream);\n'
    listing = subprocess.run(
        [*command, "-x", "c", "-"], input=text, capture_output=True, text=True, check=True
    ).stdout
    return int(listing.split("size_is:")[1].split(".word")[1].split()[0])


def place_bytes(spec: FeatureSpec) -> int:
    """A place for a block: sums, histograms of bytes and counts for each tier, the frames at its edges."""
    pools = sum(block.size for block in spec.blocks)
    histograms = sum(len(block.histograms) for block in spec.blocks)
    selections = 1 + sum(block.selective for block in spec.blocks)
    return max(spec.tiers, 1) * (20 * pools + 16 * histograms + 4 * selections) + 4 * pools + 16 + 2


@pytest.mark.emulator
@pytest.mark.parametrize("tiers", [0, 3])
def test_ram_grows_by_a_place_a_block(tiers: int, tmp_path: Path) -> None:
    spec = dataclasses.replace(load_config().features, tiers=tiers)
    model = made_up_model((6, 3), (2, 5), spec=spec, block_frames=31)
    sizes = {blocks: stream_size(model, blocks, tmp_path) for blocks in (1, 2, 4, 8)}
    assert 0 <= sizes[8] - sizes[4] - 4 * place_bytes(spec) <= 4 * 4  # each ends at a whole word
    assert 0 <= sizes[4] - sizes[2] - 2 * place_bytes(spec) <= 2 * 4
    assert sizes[2] == sizes[1]
    for blocks, size in sizes.items():
        rule = dataclasses.replace(require_decision_rule(model), blocks=blocks)
        stated = Plan(dataclasses.replace(model, decision=rule), load_board("emulated-m0")).stream_bytes
        assert size <= stated <= size + 8 * (blocks + 2)  # what is stated ends each part at 8 bytes


@pytest.mark.emulator
def test_how_it_works_says_what_a_stream_of_the_shipped_model_takes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/how_it_works.md").read_text()
    said = re.search(
        r"shipped model, (\d+) coefficients, a stream's state takes ([\d,]+) bytes on a Cortex-M0 with (\d+)"
        r" blocks, plus or minus ([\d,]+) bytes per block",
        page,
    )
    assert said is not None
    coefficients, size, blocks, more = (int(number.replace(",", "")) for number in said.groups())
    model = shipped_model()
    assert coefficients == sum(block.size for block in model.spec.blocks)
    assert stream_size(model, blocks, tmp_path) == size
    assert stream_size(model, blocks + 1, tmp_path) - size == more


# --- evaluation


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six clips of two seconds, of two classes, peak at about -20 dB."""
    for number in range(6):
        label = ("calm", "loud")[number % 2]
        (tmp_path / "corpus" / label).mkdir(parents=True, exist_ok=True)
        pcm = synthetic_speech(number, seconds=2.0, level=0.1, pauses=True)
        soundfile.write(tmp_path / "corpus" / label / f"{number}.wav", pcm, 16000, subtype="PCM_16")
    return tmp_path / "corpus"


@pytest.mark.slow
def test_the_evaluation_counts_what_streams_answer(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serq_mcu.evaluation.sessions.ALONE_SECONDS", 2.0)
    bare = made_up_model(
        (8, 2),
        (2, 4),
        spec=with_speech_rule(FeatureSpec(), frames=8),
        labels=("calm", "loud"),
        blocks=3,
        block_frames=16,
        smoothing=1,
    )
    clips = load_corpus(corpus).clips
    names = {"held_out": [clip.name for clip in clips[:4]], "validation": [clip.name for clip in clips[4:]]}
    own = read_recordings(clips, 16000).short_digests
    recordings = {"train": [], "validation": list(own[4:]), "test": list(own[:4])}
    provenance = {"corpus": load_corpus(corpus).name, "recordings": recordings, **names}
    trained = dataclasses.replace(bare, provenance=provenance)
    margin = sorted(d.margin for clip in clips for d in _decisions(trained, clip) if d.answer != NO_SPEECH)[3]
    model = dataclasses.replace(
        trained, decision=dataclasses.replace(require_decision_rule(trained), unsure_margin=margin)
    )
    path = save_model(model, tmp_path / "m.serq")
    soundfile.write(tmp_path / "rain.wav", synthetic_speech(9, seconds=2.0, level=0.1), 16000)
    played = ("--pauses", "1", "2", "--room-noise", "-60", "--sounds", str(tmp_path))
    for option, part in ((played, clips[:4]), (("--validation",), clips[4:])):
        page = tmp_path / "page.md"
        done = CliRunner().invoke(
            main,
            ["evaluate-streams", str(path), "--corpus", str(corpus), *option, "--page", str(page), "--json"],
        )
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        spoken = [
            (d.answer, model.labels.index(clip.label))
            for clip in part
            for d in _decisions(model, clip)
            if d.answer != NO_SPEECH
        ]
        (own,) = [row for row in report["margins"] if row["unsure_margin"] == margin]
        assert own["decisions"] == len(spoken)
        assert own["answered"] == sum(answer != NOT_SURE for answer, _ in spoken)
        assert own["correct"] == sum(answer == truth for answer, truth in spoken)
        assert len(report["variants"]) == 4 * 3 * 3
        silence, noise = report["noise"][:2]
        assert silence["not_silent"] == 0 == noise["not_silent"]
        assert -88 < noise["loudest_db"] < -86
        medians = [row["median_db"] for row in report["levels"]]
        assert all(
            -18 <= later - earlier < -1 for earlier, later in itertools.pairwise(medians)
        )  # pauses have the noise's level at all of them
        assert f"{own['accuracy']:.1%}" in page.read_text()
        assert [row["floor_db"] for row in report["sessions"]] == (
            [-60] if option == played else [-87, -60, -50]
        )
        assert all(row["clips"] == len(part) for row in report["sessions"])
        assert len(report["floors"]) == (1 if option == played else 2)
        assert report["pauses"] == ([1, 2] if option == played else [0.5, 8])
        sounds = {row["kind"]: row["sounds"] for row in report["sounds"]}
        assert sounds == ({"corpus": 6, "sounds": 1} if option == played else {})
        share = report["sessions"][0]["share_right"]
        assert (
            f"| -{60 if option == played else 87} dB |" in page.read_text()
            and f"{share:.1%}" in page.read_text()
        )
        words = (
            f"--pauses 1 2 --room-noise -60 --sounds {tmp_path.name}/" if option == played else "--validation"
        )
        assert f"corpus/ {words} --page docs/page.md" in page.read_text()


def _decisions(model: QuantizedModel, clip: Clip) -> list[Decision]:
    """The decisions on a clip with its noise, whose seed is the clip's place among those that are judged
    together.
    """
    part = next(part for part in ("held_out", "validation") if clip.name in model.provenance[part])
    place = model.provenance[part].index(clip.name)
    return stream_decisions(model, in_noise(read_audio(clip.path, 16000).pcm, 0, 16000, place))


def test_a_model_for_clips_alone_has_no_streams_to_evaluate(corpus: Path, tmp_path: Path) -> None:
    path = save_model(
        dataclasses.replace(made_up_model((8, 2), (2, 4), labels=("calm", "loud")), decision=None),
        tmp_path / "m.serq",
    )
    done = CliRunner().invoke(main, ["evaluate-streams", str(path), "--corpus", str(corpus)])
    assert done.exit_code == 1
    assert "cannot stream" in done.output
