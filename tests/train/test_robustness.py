"""The measurement of robustness, end to end on a handful of made-up clips of two speakers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.cli import main
from serq_mcu.config import load_config
from serq_mcu.training import robustness
from serq_mcu.training.robustness import CONDITIONS, RECIPES, UNSEEN_NOISES, measure_robustness

RATE = 16000
FEW = (CONDITIONS[0], CONDITIONS[3], CONDITIONS[-1])
CONFIG = """
[features]
hop_length = 1024
speech_frames = 0
[augmentation]
versions = 1
[training]
hidden = [8]
max_epochs = 2
presentations = 2
validation_fraction = 0.3
[quantization]
method = "4"
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips each of a high and a low tone by two speakers, named as SAVEE names them."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 4) / RATE
    for speaker in ("DC", "JE"):
        for letter, pitch in (("a", 250), ("sa", 110)):
            for take in range(1, 6):
                tone = np.sign(np.sin(2 * np.pi * pitch * (1 + 0.02 * take) * time))
                soundfile.write(
                    folder / f"{speaker}_{letter}{take:02}.wav",
                    0.1 * tone + 0.01 * rng.normal(size=time.size),
                    RATE,
                    subtype="PCM_16",
                )
    return folder


@pytest.mark.slow(7)
def test_every_clip_is_judged_once_under_each_condition_and_a_second_time_from_memory(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(robustness, "CONDITIONS", FEW)
    (tmp_path / "c.toml").write_text(CONFIG)
    arguments = [
        "robustness",
        str(clips),
        "--folds",
        "2",
        "--config",
        str(tmp_path / "c.toml"),
        "--page",
        str(tmp_path / "page.md"),
        "--json",
    ]
    first = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    value = json.loads(first.stdout)
    assert [(m["protocol"], m["recipe"], m["splits"]) for m in value["measured"]] == [
        (p, r, 2) for p in ("clips", "speakers") for r in RECIPES
    ]
    for measured in value["measured"]:
        assert len(measured["conditions"]) == len(FEW)
        assert all(score["n"] == 20 for score in (*measured["conditions"], measured["float_as_recorded"]))
        assert measured["average_bits"] == 4
    page = (tmp_path / "page.md").read_text()
    score = value["measured"][1]["conditions"][1]
    assert f"| {FEW[1]} | " in page and f"{score['accuracy']:.1%}" in page and "n = 20" in page
    assert "mean_over_speakers" not in score
    one = value["measured"][3]["conditions"][0]  # of two speakers, ten clips each
    low, high = one["interval95_over_speakers"]
    assert one["mean_over_speakers"] == pytest.approx(one["accuracy"])
    assert f"{one['mean_over_speakers']:.1%} ({100 * low:.1f} to {high:.1%})" in page
    monkeypatch.setattr(robustness, "fit", None)  # nothing is trained again
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).stdout == first.stdout
    config = load_config(tmp_path / "c.toml").changed(training={"folds": 2})
    other = config.changed(training={"seed": 1})
    with pytest.raises(TypeError):  # another seed is another measurement
        measure_robustness(clips, other, ["clips"])


def test_what_is_called_unseen_is_not_in_the_default_training() -> None:
    measured = {condition.noise for condition in CONDITIONS}
    assert set(UNSEEN_NOISES) <= measured
    assert {"white", "babble"} <= measured
    assert {condition.gain_db for condition in CONDITIONS} >= {-30, -18, -6, 12}
