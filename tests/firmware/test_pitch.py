"""Pitch and voicing: what is heard, what is refused, and how near a published estimator is."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.extraction.extractor import clip_features, extractor_files
from serq_mcu.frontend import pitch
from serq_mcu.frontend.blocks import F0, Mel, Voicing
from serq_mcu.frontend.blocks.base import Frames
from serq_mcu.frontend.reference import features, frame_stages
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import FrontendTables, build_tables
from tests.support.frontend import SPECS
from tests.support.native import RUNTIME, compile_program
from tools.frontend_cost import synthetic_speech
from tools.pitch_errors import SPECS as HEARD
from tools.pitch_errors import errors, hear, rounding

BLOCKS = (F0(), Voicing())
SPEC = FeatureSpec(blocks=BLOCKS)
TABLES = build_tables(SPEC)


def harmonics(hertz: float, rate: int = 16000, seconds: float = 0.5) -> np.ndarray:
    n = np.arange(round(rate * seconds))
    wave = sum(np.sin(2 * np.pi * hertz * k * n / rate) / k for k in range(1, 10))
    return np.round(wave / np.abs(wave).max() * 9000).astype(np.int16)


def heard_hertz(spec: FeatureSpec, stages: dict[str, Any]) -> np.ndarray:
    return spec.pitch_low * 2 ** (stages["pitch"][:, 0] / 65536)


@pytest.mark.parametrize("hertz", [80, 100, 123.4, 200, 350, 480])
@pytest.mark.parametrize(("rate", "length"), [(16000, 1024), (16000, 512), (8000, 512)])
def test_the_pitch_of_harmonics_is_heard(rate: int, length: int, hertz: float) -> None:
    """A parabola through lags of a quarter of a millisecond is a few cents off; two periods of 80 Hz in 32 ms
    give a low peak, and 3 %.
    """
    spec = replace(SPEC, sample_rate=rate, fft_length=length, hop_length=length, fmax=4000)
    stages = frame_stages(spec, build_tables(spec), harmonics(hertz, rate))
    few = hertz * length / rate < 4
    np.testing.assert_allclose(heard_hertz(spec, stages), hertz, rtol=0.03 if few else 0.008)
    assert few or stages["voicing"][:, 1].tolist() == [32768] * len(stages["voicing"])


def test_silence_and_a_constant_have_no_pitch() -> None:
    for pcm in (np.zeros(4096, np.int16), np.full(4096, -32768, np.int16), np.full(4096, 1, np.int16)):
        stages = frame_stages(SPEC, TABLES, pcm)
        assert not stages["pitch"].any() and not stages["f0"].any() and not stages["voicing"].any()


def test_noise_is_rarely_voiced() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 512 * 400).astype(np.int16)
    assert (frame_stages(SPEC, TABLES, noise)["voicing"][:, 1] > 0).mean() < 0.02


@pytest.mark.parametrize("gain", [1 / 3, 1 / 32])
def test_pitch_does_not_depend_on_gain(gain: float) -> None:
    """What is left is the rounding of samples to 16 bits."""
    loud = synthetic_speech(2, level=0.9)
    stages = [frame_stages(SPEC, TABLES, np.round(loud * g).astype(np.int16)) for g in (1, gain)]
    voiced = np.logical_and(*[stage["voicing"][:, 1] > 0 for stage in stages])
    assert voiced.sum() > 20
    differences = np.abs(stages[0]["pitch"] - stages[1]["pitch"])[voiced]
    assert differences[:, 0].max() < 0.01 * 65536 and differences[:, 1].max() < 0.02 * 32768


def test_only_voiced_frames_count_for_f0() -> None:
    stages = frame_stages(SPEC, TABLES, synthetic_speech(1, pauses=True))
    values = stages["pitch"].T.astype(np.int64)
    voiced = pitch.voiced(TABLES.pitch, values)
    power = stages["power"].astype(np.uint64)
    silent = np.zeros(len(voiced), np.int64)
    frames = Frames(power.T, None, silent, silent, values, voiced)
    np.testing.assert_array_equal(F0().counts(frames, {}), stages["voicing"][:, 1] == 32768)
    np.testing.assert_array_equal(voiced, stages["voicing"][:, 0] >= round(0.3 * 32768))
    assert F0.selective and not Voicing.selective and Voicing().counts(frames, {}).all()
    assert 0.2 < voiced.mean() < 0.8


def test_voices_that_are_too_quiet_to_count_are_speech_all_the_same() -> None:
    """In C without a trace, which computes a frame's pitch only where it is asked for."""
    rng = np.random.default_rng(0)
    floor, noise = rng.normal(0, 3, 8000), rng.normal(0, 6000, 8000)
    quiet = synthetic_speech(1, seconds=1.5, level=0.003)  # 40 dB below the noise
    pcm = np.rint(np.concatenate([floor, noise, quiet])).clip(-32768, 32767).astype(np.int16)
    missing = []
    for frames in (1, 20, 30):
        spec = replace(load_config().features, speech_frames=frames)
        tables = build_tables(spec)
        found = features(spec, tables, pcm)
        np.testing.assert_array_equal(clip_features(spec, tables)(pcm), found)
        missing.append(bool((found == MISSING).all()))
    assert missing == [False, False, True]


@pytest.mark.parametrize("largest", [2, 9, 2**29])
def test_the_search_equals_numpy_at_ties_and_without_a_sum(largest: int, tmp_path: Path) -> None:
    """Autocorrelations that no spectrum has: ties, and a lag 0 that is negative or small."""
    library = ctypes.CDLL(
        str(compile_program(tmp_path / "pitch.so", [RUNTIME / "serq_pitch.c"], ["-shared", "-fPIC"]))
    )
    rng = np.random.default_rng(largest)
    r = rng.integers(-largest, largest + 1, (1000, 64)).astype(np.int32)
    expected = pitch.best_pitch(TABLES.pitch, TABLES.log_table, r.T.astype(np.int64))
    voiced = pitch.voiced(TABLES.pitch, expected)
    first, _, offset, threshold = TABLES.pitch["search"].tolist()
    cost, log_table = TABLES.pitch["cost"], TABLES.log_table
    for row, values, is_voiced in zip(r, expected.T.tolist(), voiced.tolist(), strict=True):
        found = np.zeros(2, np.int32)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (row, cost, log_table, found)]
        answer = library.serq_pitch(
            pointers[0], first, len(cost), pointers[1], offset, threshold, pointers[2], pointers[3]
        )
        assert (found.tolist(), bool(answer & 1)) == (values, is_voiced)
    silent = (expected == 0).all(axis=0)
    assert 0.3 < silent.mean() < 0.7 and (r[:, 0] > 0)[~silent].all() and (expected[1] == 32768).any()


def changed(name: str, index: Any, value: Any) -> Callable[[], dict[str, Any]]:
    def change() -> dict[str, Any]:
        array = TABLES.pitch[name].copy()
        array[index] = value
        return {name: array}

    return change


HOSTILE: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "lags from 0 on": (changed("search", 0, 0), "lags leave the 128"),
    "lags beyond the last": (changed("search", 0, 75), "lags leave the 128"),
    "a large first lag": (changed("search", 0, 2**31 - 1), "lags leave the 128"),
    "a negative scale": (changed("search", 1, -1), "scale -1"),
    "a large scale": (changed("search", 1, 5), "scale 5"),
    "a scale too large": (changed("search", 1, 4), "autocorrelation can reach"),
    "a large offset": (changed("search", 2, -(2**31)), "offset"),
    "always voiced": (changed("search", 3, 0), "threshold 0"),
    "a large threshold": (changed("search", 3, 32769), "threshold 32769"),
    "a negative cost": (changed("cost", 3, -1), "cost is negative"),
    "heavy weights": (changed("weight", slice(None), 65535), "compressed bin can reach"),
    "heavy octaves": (changed("compress", 40, 65535), "compressed bin can reach"),
    "heavy mantissas": (changed("compress", 31, 65535), "compressed bin can reach"),
    "another type": (lambda: {"weight": TABLES.pitch["weight"].astype(np.int16)}, "pitch.weight must be of"),
    "another shape": (lambda: {"cost": TABLES.pitch["cost"][1:]}, "pitch.cost has shape"),
    "another name": (lambda: {"costs": TABLES.pitch["cost"]}, "pitch.costs is for a block"),
}


def with_pitch(tables: FrontendTables, own: dict[str, Any]) -> FrontendTables:
    return replace(tables, blocks={**tables.blocks, "pitch": own})


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tables_are_refused(case: str) -> None:
    make, message = HOSTILE[case]
    with pytest.raises(SerqError, match=message):
        with_pitch(TABLES, {**TABLES.pitch, **make()}).check(SPEC)


def test_missing_and_needless_tables_are_refused() -> None:
    with pytest.raises(SerqError, match=r"pitch\.compress, pitch\.cost, pitch\.search, pitch\.weight is mis"):
        replace(TABLES, blocks={}).check(SPEC)
    mel = FeatureSpec(blocks=(Mel(40),))
    with pytest.raises(SerqError, match="is for a block that there is not"):
        with_pitch(build_tables(mel), dict(TABLES.pitch)).check(mel)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.uses_pitch])
def test_the_scale_is_the_largest_that_is_proved(name: str) -> None:
    tables = build_tables(SPECS[name])
    scale = int(tables.pitch["search"][1])
    search = tables.pitch["search"].copy()
    search[1] += 1
    if scale < pitch.MAX_SCALE:
        with pytest.raises(SerqError, match="autocorrelation can reach"):
            with_pitch(tables, {**tables.pitch, "search": search}).check(SPECS[name])


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "short frames": ({"fft_length": 256, "hop_length": 256}, "two periods of the lowest pitch, 65 Hz"),
    "a short window": ({"fft_length": 512, "window_length": 400, "hop_length": 160}, "frames of 25 ms"),
    "many samples a second": ({"sample_rate": 48000}, "raise pitch_low"),
    "a pitch that is too low": ({"pitch_low": 30.0}, "within 40 to 1000 Hz"),
    "a pitch that is too high": ({"pitch_high": 1001.0}, "within 40 to 1000 Hz"),
    "less than an octave": ({"pitch_low": 100.0, "pitch_high": 199.0}, "span an octave"),
    "not a number": ({"pitch_low": float("nan")}, "pitch low nan must be a number"),
    "never voiced": ({"voiced_above": 1.0}, "between 0 and 1"),
    "two pitches": ({"blocks": (F0(1), F0(1))}, "named once"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_specification_that_cannot_work_is_refused_in_a_sentence(case: str) -> None:
    fields, words = REFUSALS[case]
    with pytest.raises(SerqError, match=words) as refusal:
        replace(SPEC, **fields)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 150


def test_blocks_have_one_size() -> None:
    for kind, size in ((F0, 2), (Voicing, 1)):
        with pytest.raises(SerqError, match=f"{kind.kind}: size {size} must be"):
            kind(size)


def test_a_specification_comes_back_from_its_json() -> None:
    spec = replace(SPEC, pitch_low=70.0, voiced_above=0.5)
    assert FeatureSpec.from_json(spec.to_json()) == spec
    plain = {key: value for key, value in spec.to_json().items() if key != "pitch_low"}
    assert FeatureSpec.from_json(plain) == replace(spec, pitch_low=65.0)
    silent = FeatureSpec(blocks=(Mel(40),))
    unused = replace(silent, pitch_low=70.0)
    assert FeatureSpec.from_json(unused.to_json()) == unused
    with pytest.raises(SerqError, match=r"pitch low .deep. must be a number"):
        FeatureSpec.from_json(spec.to_json() | {"pitch_low": "deep"})


def test_too_little_room_for_lags_does_not_compile(tmp_path: Path) -> None:
    for file, data in extractor_files(SPEC, TABLES).items():
        (tmp_path / file).write_bytes(data)
    header = tmp_path / "serq_model.h"
    (points,) = re.findall(r"#define SERQ_PITCH_POINTS (\d+)", header.read_text())
    assert points == "64"
    header.write_text(header.read_text().replace("SERQ_PITCH_POINTS 64", "SERQ_PITCH_POINTS 63"))
    command = ["gcc", "-std=c99", "-fsyntax-only", "serq_model.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "serq_check_pitch_points" in done.stderr


# --- against a published estimator, on recordings (all of them are in docs/pitch.md)


@pytest.mark.slow(20)
@pytest.mark.train
@pytest.mark.parametrize(("name", "both", "all_voiced"), [("FFT 1024", 0.02, 0.1), ("FFT 512", 0.03, 0.18)])
@pytest.mark.parametrize("corpus", ["emodb_dir", "savee_dir"])
def test_few_pitches_are_grossly_wrong(
    corpus: str, name: str, both: float, all_voiced: float, request: pytest.FixtureRequest
) -> None:
    """Bars for 20 clips of a corpus, some above what all clips give; pyin hears windows of 1024 samples."""
    import soundfile

    paths = sorted(request.getfixturevalue(corpus).glob("*.flac"))
    clips = [soundfile.read(path, dtype="int16")[0] for path in paths[:: len(paths) // 20]]
    heard = hear(HEARD[name], clips)
    found = errors(HEARD[name], heard, 1024)
    assert found["both"] < both and found["all"] < all_voiced
    assert found["heard"] > 0.6 and found["false"] < 0.3 and found["deviation"] < 40
    off = rounding(heard)
    assert off["f0"]["p99"] < 0.002 and off["voicing"]["p99"] < 0.03 and off["f0"]["another"] < 0.02
