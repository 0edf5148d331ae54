"""The proof page's quick subset: generated signals and two clips, where the page has whole corpora."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serq_mcu.frontend.blocks import BLOCKS
from serq_mcu.frontend.statistics import STATISTICS
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.report import Difference
from tools import parity
from tools.parity import EMULATED, HOST, generated_signals, main, proof_models, prove

MODELS = proof_models()


@pytest.fixture
def two_clips(tmp_path: Path) -> Path:
    for label in ("anger", "fear"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        soundfile.write(
            tmp_path / "clips" / label / "a.wav", np.random.default_rng(0).normal(0, 0.1, 4000), 16000
        )
    return tmp_path / "clips"


def test_every_block_and_statistic_is_proved() -> None:
    specs = [model.spec for model in MODELS.values()]
    whole = [
        spec
        for spec in specs
        if len(spec.blocks) == len(tuple(BLOCKS))
        and all(block.statistics == block.offered() for block in spec.blocks)
    ]
    assert {spec.center for spec in whole} == {False, True}
    proved = {name for block in whole[0].blocks for name in block.statistics}
    assert proved == set(STATISTICS) and all(spec.tiers > 1 for spec in whole)


@pytest.mark.parametrize("name", MODELS)
def test_generated_signals_on_the_host(name: str) -> None:
    signals = generated_signals(16000, 0.3)
    report = prove(MODELS[name], HOST, signals)
    assert report.ok, report_lines(report)
    assert report.clips == len(signals)


@pytest.mark.parametrize("on", EMULATED)
def test_generated_signals_on_the_emulators(on: str) -> None:
    report = prove(MODELS["Every block, FFT 1024"], on, generated_signals(16000, 0.15))
    assert report.ok, report_lines(report)


@pytest.mark.slow(8)
def test_the_page_has_a_row_for_each_target(
    two_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "EMULATED", ("emulated-m0",))
    monkeypatch.setattr(parity, "EMULATED_CLIPS", 1)
    monkeypatch.setattr(
        parity,
        "proof_models",
        lambda: {"Padded": next(model for model in MODELS.values() if model.spec.center)},
    )
    assert main([str(two_clips), "--page", str(tmp_path / "parity.md")]) == 0
    text = (tmp_path / "parity.md").read_text()
    signals = len(generated_signals(16000))
    assert "## Padded" in text
    assert f"| host | 2 | {signals} |" in text and f"| Cortex-M0 | 1 | {signals} |" in text
    assert text.count("| 0 |") == 2


def test_a_difference_fails_the_command(
    two_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = prove(next(iter(MODELS.values())), HOST, generated_signals(16000, 0.1))
    bad = replace(
        good,
        outcomes=(replace(good.outcomes[0], difference=Difference("clip", "mel", 3)), *good.outcomes[1:]),
    )
    monkeypatch.setattr(parity, "prove", lambda model, on, recordings: bad)
    assert main([str(two_clips), "--page", str(tmp_path / "parity.md")]) == 1
    assert "| 3 |" in (tmp_path / "parity.md").read_text()
    assert main([str(tmp_path / "nothing")]) == 1
    assert "Error: " in capsys.readouterr().err
