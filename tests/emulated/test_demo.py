"""The whole way, with and without real recordings: what `make demo` promises, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serq_mcu.cli import main
from serq_mcu.evaluation.clips import evaluate
from serq_mcu.quantization.run_folder import load_run
from serq_mcu.quantized_model.store import load_model

EMULATED = {"emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa"}


def _demo(out: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    result = CliRunner().invoke(main, ["demo", "--out", str(out), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads((out / "summary.json").read_text()), result.output


@pytest.mark.slow(96)
@pytest.mark.train
def test_without_a_corpus_it_goes_the_whole_way_and_says_that_speech_is_synthetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERQ_CORPUS", raising=False)
    summary, output = _demo(tmp_path / "demo")
    assert summary["synthetic"] is True
    assert "synthetic" in output
    assert "meaningless" in output
    assert (summary["differing_clips"], summary["differing_integers"]) == (0, 0)
    assert {target["target"] for target in summary["verification"]} == {"host", *EMULATED}
    assert all(target["clips"] > 0 and target["compared_integers"] > 0 for target in summary["verification"])
    assert (tmp_path / "demo" / "esp32" / "platformio.ini").exists()


@pytest.mark.slow(330)
@pytest.mark.train
def test_emodb_reaches_its_bars(tmp_path: Path, emodb_dir: Path) -> None:
    summary, output = _demo(tmp_path / "demo", "--corpus", str(emodb_dir))
    assert summary["synthetic"] is False
    assert len(summary["splits"]) == 5
    assert sum(split["float"]["n"] for split in summary["splits"]) == 535  # every clip is held out once
    assert summary["float_accuracy_mean"] >= 0.78
    assert summary["quantized_accuracy_mean"] >= summary["float_accuracy_mean"] - 0.03
    assert (summary["differing_clips"], summary["differing_integers"]) == (0, 0)
    clips = {target["target"]: target["clips"] for target in summary["verification"]}
    assert clips == {"host": 535} | dict.fromkeys(EMULATED, 60)
    cortex_m0 = next(target for target in summary["verification"] if target["target"] == "emulated-m0")
    assert cortex_m0["ram_bytes"] <= 16_384  # all that there is, stack included
    assert "95 %" in output
    _assert_first_fold(tmp_path / "demo", emodb_dir)


def _assert_first_fold(demo: Path, emodb_dir: Path) -> None:
    """Check the split of the first run, and that both its network and its model learned."""
    run, model = load_run(demo / "run0"), load_model(demo / "run0.serq")
    assert [len(run.members(part)) for part in ("train", "validation", "test")] == [363, 65, 107]
    found = evaluate(model, emodb_dir)
    assert (found.held_out, found.score.n) == (True, 107)
    low, _ = run.float_score("test").interval
    assert low > 127 / 535  # surely better than always naming the commonest class
    assert found.score.interval[0] > 127 / 535
