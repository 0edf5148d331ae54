"""A sequence of frames as features: what it is, and that C computes the same, in clips and streams."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.extraction.extractor import clip_features
from serq_mcu.frontend.arithmetic import rshift_round
from serq_mcu.frontend.blocks import F0, Energy, Mel, Mfcc
from serq_mcu.frontend.reference import features, pool, pooled_frames
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.network import standardisation, standardise
from serq_mcu.quantized_model.interpreter import scores
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.streaming import (
    analyse,
    anchor,
    listen,
    require_decision_rule,
    stream_decisions,
)
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.firmware.test_streaming import answers, emulated_program, host_program, passed_over
from tests.support.models import SEQUENCE_SPEC, made_up_features, made_up_model, made_up_voices
from tests.support.native import SANITIZERS
from tests.support.streaming import RULE, quiet_and_loud, with_pauses

FRAMES = SEQUENCE_SPEC.sequence_frames
BOARDS = ["emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"]


def by_hand(spec: FeatureSpec, pcm: np.ndarray) -> np.ndarray:
    """The features of a clip with speech, value by value as SPEC.md says it."""
    tables, frames = build_tables(spec), pooled_frames(spec, build_tables(spec), pcm)
    levels = frames.level.tolist()
    hung = next((level for level in levels if level > -10240), None)
    steps = [(level - hung) // tables.tier_width if level > -10240 else None for level in levels]
    last = list(range(max(0, len(levels) - spec.sequence_frames), len(levels)))
    heard = [steps[f] for f in last if steps[f] is not None]
    counted = [f for f in last if steps[f] is not None and steps[f] > max(heard) - spec.tiers]
    rows = [[MISSING] * spec.coefficients for _ in range(spec.sequence_frames)]
    at = 0
    for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True):
        moved = {"mfcc": 1, "mel": block.size, "energy": 1}.get(block.kind, 0)
        own = [f for f in counted if block.kind != "f0" or frames.voiced[f]]
        value = {
            (f, i): int(rshift_round(frames.stages[block.stage][f, i], shift))
            for f in own
            for i in range(block.size)
        }
        loud = [value[f, i] for f in own for i in range(moved)]
        r = (16 * sum(loud) + len(loud) // 2) // len(loud) if loud else 0
        for f, i in value:
            row = spec.sequence_frames - (len(levels) - f)
            rows[row][at + i] = 16 * value[f, i] - (r if i < moved else 0)
        at += block.size
    return np.array(rows, np.int32).ravel()


def clip(frames: int, seed: int) -> np.ndarray:
    """The first frames of quiet and loud pieces."""
    spec = SEQUENCE_SPEC
    return quiet_and_loud(spec, seed)[: spec.frame_length + (frames - 1) * spec.hop_length]


@pytest.mark.parametrize("frames", [2, FRAMES - 1, FRAMES, FRAMES + 1, 90])
def test_the_features_are_the_values_of_the_last_frames(frames: int) -> None:
    spec = replace(SEQUENCE_SPEC, speech_frames=0)
    for seed in range(4):
        pcm = clip(frames, seed)
        found = features(spec, build_tables(spec), pcm)
        np.testing.assert_array_equal(found, by_hand(spec, pcm))
        rows = found.reshape(FRAMES, -1)
        assert (rows[: max(0, FRAMES - frames)] == MISSING).all()


def test_a_clip_without_speech_has_no_features() -> None:
    spec = SEQUENCE_SPEC
    pcm = np.random.default_rng(0).normal(0, 900, 9000).astype(np.int16)
    assert (features(spec, build_tables(spec), pcm) == MISSING).all()


def test_no_gain_changes_a_feature() -> None:
    """Twice as loud: logs of energies and the level move by whole steps, the DCT rounds."""
    spec = replace(SEQUENCE_SPEC, speech_frames=0)
    pcm = np.random.default_rng(1).normal(0, 2000, 9000).astype(np.int16)
    tables = build_tables(spec)
    once, twice = (features(spec, tables, gain * pcm).reshape(FRAMES, -1) for gain in (1, 2))
    assert (once != MISSING).any()
    np.testing.assert_array_equal(once[:, 9:], twice[:, 9:])
    assert np.abs(once[:, :9] - twice[:, :9]).max() <= 16
    assert np.abs(once[:, 0]).max() > 1000


def recordings() -> list[Recording]:
    whole = [with_pauses(SEQUENCE_SPEC, seed, 8) for seed in range(3)]
    clips = [*whole, whole[0][:1500], whole[1][5000:8000], clip(FRAMES, 3), clip(FRAMES + 1, 4)]
    return [Recording(f"clip {index}", pcm[:20000]) for index, pcm in enumerate(clips)]


@pytest.mark.parametrize(
    ("board", "on"),
    [("esp32", "host"), *(pytest.param(board, "emulator", marks=pytest.mark.emulator) for board in BOARDS)],
)
def test_firmware_equals_python(board: str, on: str, tmp_path: Path) -> None:
    model = made_up_model((12, 3), (3, 8), spec=SEQUENCE_SPEC, voices=False)
    project = export(model, load_board(board), tmp_path / "p")
    with open_target(project, on) as target:
        report = verify(model, recordings(), target)
        assert (report.ok, report.clips, report.differing_integers) == (True, 7, 0)
        given = verify(model, recordings()[:2], target, mode="features")
    assert (given.ok, given.clips) == (True, 2)


@pytest.mark.parametrize("rule", [RULE, {**RULE, "blocks": 1}, {**RULE, "blocks": 6, "wake_rise": 0}])
def test_a_stream_is_the_reference_whatever_the_pieces(rule: dict[str, Any], tmp_path: Path) -> None:
    model = made_up_model((12, 3), (3, 8), spec=SEQUENCE_SPEC, voices=False, **rule)
    pcm = with_pauses(model.spec, 5, 12)
    expected = stream_decisions(model, pcm)
    assert {0} < {decision.frames for decision in expected}
    program = host_program(model, tmp_path, SANITIZERS)
    for piece in (77, 1024):
        assert answers(program, model, pcm, piece) == expected
    assert (passed_over(model, pcm) > 0) == (rule["wake_rise"] > 0)


@pytest.mark.emulator
@pytest.mark.parametrize("board", BOARDS)
def test_every_core_hears_a_stream_alike(board: str, tmp_path: Path) -> None:
    model = made_up_model((12, 3), (3, 8), spec=SEQUENCE_SPEC, voices=False, **RULE)
    pcm = with_pauses(model.spec, 5, 6)
    command = emulated_program(model, board, tmp_path / "p")
    assert answers(command, model, pcm, 1000) == stream_decisions(model, pcm)


def test_a_decision_is_the_clips_of_its_window() -> None:
    spec = replace(SEQUENCE_SPEC, speech_frames=0)
    model = made_up_model((12, 3), (3, 8), spec=spec, voices=False, blocks=6, block_frames=4)
    rule = require_decision_rule(model)
    pcm = quiet_and_loud(spec, 5)
    grid = anchor(model, listen(model, rule, analyse(model, pcm)))
    for number, decision in enumerate(stream_decisions(model, pcm), start=1):
        last = number * rule.block_frames
        window = pcm[
            (last - decision.frames) * spec.hop_length : (last - 1) * spec.hop_length + spec.frame_length
        ]
        frames = pooled_frames(spec, model.tables, window)
        assert list(decision.scores) == scores(model, pool(spec, model.tables, frames, grid)).tolist()


def test_training_reads_what_the_device_computes(tmp_path: Path) -> None:
    spec = SEQUENCE_SPEC
    tables, extract = build_tables(spec), clip_features(spec, build_tables(spec))
    for recording in recordings():
        np.testing.assert_array_equal(extract(recording.pcm), features(spec, tables, recording.pcm))


def test_all_frames_share_their_standardisation() -> None:
    rng = np.random.default_rng(0)
    pooled = rng.normal(300, 50, (40, 6)).astype(np.int32)
    pooled[:, 0] = MISSING
    mean, sd = standardisation(pooled, 2)
    np.testing.assert_allclose(mean, [pooled[:, 2::2].mean(), pooled[:, 1::2].mean()])
    assert sd.shape == (2,)
    found = standardise(pooled, mean, sd)
    assert (found[:, 0] == 0).all()
    np.testing.assert_allclose(found[:, 3], (pooled[:, 3] - mean[1]) / sd[1])


def test_the_model_file_says_that_it_is_a_sequence(tmp_path: Path) -> None:
    model = made_up_model((12, 3), (3, 8), spec=SEQUENCE_SPEC, voices=False)
    again = load_model(save_model(model, tmp_path / "m.serq"))
    assert again.spec == model.spec
    assert again.spec.to_json()["sequence_frames"] == FRAMES
    assert "sequence_frames" not in FeatureSpec().to_json()
    pooled = made_up_features(model, 9)
    np.testing.assert_array_equal(scores(again, pooled), scores(model, pooled))
    assert model.input.center.size == model.spec.coefficients
    state = Plan(model, load_board("esp32")).state_bytes
    longer = made_up_model(
        (12, 3), (3, 8), spec=replace(SEQUENCE_SPEC, sequence_frames=FRAMES + 8), voices=False
    )
    # a frame more is a row and a step of 16 bits, a feature of 32 and an activation of 8
    assert Plan(longer, load_board("esp32")).state_bytes - state == 8 * (33 * (2 + 4 + 1) + 2)


def test_what_is_no_sequence_is_refused() -> None:
    with pytest.raises(SerqError, match=r"mfcc: statistics \['mean'\] must be none in a sequence"):
        FeatureSpec(blocks=(Mfcc(5, ("mean",)),), sequence_frames=8)
    with pytest.raises(SerqError, match=r"mel: statistics \[\] must be at least one"):
        FeatureSpec(blocks=(Mel(40, ()),))
    with pytest.raises(SerqError, match="must have at least 2 frames"):
        FeatureSpec(blocks=(Mel(40, ()),), sequence_frames=1)
    with pytest.raises(SerqError, match="at most 4096 values"):
        FeatureSpec(blocks=(Mel(40, ()), F0(1, ()), Energy(1, ())), sequence_frames=98)
    model = made_up_model((12, 3), (3, 8), spec=SEQUENCE_SPEC, voices=False)
    with pytest.raises(SerqError, match="a sequence of frames learns no voice"):
        replace(model, voice=made_up_voices(3, SEQUENCE_SPEC.feature_count))
    sequence = {"blocks": [{"kind": "mfcc", "size": 13, "statistics": []}], "sequence_frames": 64}
    assert not load_config().changed(features=sequence).learns_voices
    assert load_config().learns_voices
