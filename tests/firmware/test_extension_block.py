"""A feature block from outside the package, as somebody's extension adds it: no product file knows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import export
from serq_mcu.codegen.library import export_library
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.extension import FeatureBlock, register_block
from serq_mcu.extraction.extractor import clip_features
from serq_mcu.frontend.blocks import BLOCKS, Chroma, Mel, Mfcc
from serq_mcu.frontend.compare import compare_frontend
from serq_mcu.frontend.librosa_reference import pooled_in_units
from serq_mcu.frontend.reference import features, frame_stages
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.frontend import stimulus
from tests.support.models import made_up_model
from tests.support.native import VARIANTS, compile_program
from tests.support.toy_centroid import HERE, Bright, Centroid
from tools.frontend_cost import synthetic_speech


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_block(Centroid)
    register_block(Bright)
    yield
    BLOCKS.remove("centroid")
    BLOCKS.remove("bright")


SELECTED = ("p10", "mean", "p50", "delta_mean", "delta_sd", "p90")


def specification(**analysis: Any) -> FeatureSpec:
    centroids = Centroid(statistics=("mean", "delta_sd")), Bright(statistics=SELECTED)
    blocks = (Mfcc(9, loudness=False), *centroids, Chroma())
    return FeatureSpec(name="brightness", mel_bands=20, blocks=blocks, **analysis)


def test_the_centroid_is_that_of_the_spectrum() -> None:
    spec = specification()
    pcm = np.rint(9000 * np.sin(2 * np.pi * 1000 / 16000 * np.arange(8000))).astype(np.int16)
    centroids = frame_stages(spec, build_tables(spec), pcm)["centroid"]
    np.testing.assert_allclose(centroids / 1024, 1000 / 16000 * 1024, atol=0.02)


def test_it_agrees_with_its_float_reference() -> None:
    report = compare_frontend(specification(), [synthetic_speech(1)])
    assert report.stages["centroid"]["max"] < 0.5
    assert "bins" in report.page("")


def test_a_selective_block_pools_the_frames_that_it_selects() -> None:
    """A clip whose frames all count by level: a low tone, then a high one, and the high one alone."""
    spec = specification(hop_length=1024)
    tables = build_tables(spec)
    low, high = (np.sin(2 * np.pi * hertz / 16000 * np.arange(8 * 1024)) for hertz in (500, 4000))
    pcm = np.rint(9000 * np.concatenate([low, high])).astype(np.int16)
    pooled = dict(
        zip(spec.feature_names, pooled_in_units(spec, tables, features(spec, tables, pcm)), strict=True)
    )
    assert pooled["centroid0 mean"] == pytest.approx((32 + 256) / 2, abs=0.1)
    assert pooled["bright0 mean"] == pytest.approx(256, abs=0.1)
    # one bin of a histogram over 100 to 513 holds 26 bins of the spectrum
    assert [pooled[f"bright0 {name}"] for name in ("p10", "p50", "p90")] == pytest.approx([256] * 3, abs=26)
    assert pooled["bright0 delta_sd"] < 0.1 < pooled["centroid0 delta_sd"]


def test_a_model_with_it_passes_through_json_and_the_model_file(tmp_path: Path) -> None:
    spec = specification()
    assert FeatureSpec.from_json(spec.to_json()) == spec
    model = made_up_model((5, 3), (2, 3), spec=spec)
    again = load_model(save_model(model, tmp_path / "m.serq"))
    assert again.sha256 == model.sha256 and "frontend.centroid.position" in again.tensors()


@pytest.mark.parametrize("fft_length", [256, 1024])
def test_the_host_computes_the_references_features(fft_length: int) -> None:
    spec = specification(fft_length=fft_length, hop_length=fft_length // 2)
    tables = build_tables(spec)
    compute = clip_features(spec, tables)
    for pcm in (stimulus(fft_length), synthetic_speech(2)):
        assert compute(pcm).tolist() == features(spec, tables, pcm).tolist()


def test_every_stage_on_the_host_is_the_references(tmp_path: Path) -> None:
    spec = specification()
    model = made_up_model((8, 3), (2, 5), spec=spec)
    with open_target(export(model, load_board("esp32"), tmp_path / "p"), "host") as target:
        report = verify(model, [Recording("hard", stimulus(spec.fft_length))], target)
    assert report.ok, report_lines(report)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "sanitizers" not in name])
def test_its_c_is_clean_on_every_kind_of_core(variant: str, tmp_path: Path) -> None:
    model = made_up_model((5, 3), (2, 3), spec=specification(), labels=("no", "maybe", "yes"))
    export_library(model, load_board("esp32"), "header", tmp_path / "library")
    assert "toy_centroid" in (tmp_path / "library" / "serq_amalgamated.h").read_text()
    export(model, load_board("esp32"), tmp_path / "p")
    runtime = tmp_path / "p" / "lib" / "serq" / "src"
    flags = [*VARIANTS[variant], f"-I{runtime}", "-shared", "-fPIC"]
    compile_program(tmp_path / "library.so", sorted(runtime.glob("*.c")), flags)


def test_what_it_costs_is_said_to_be_unknown() -> None:
    stated = budget(Plan(made_up_model((5, 3), (2, 3), spec=specification()), load_board("emulated-m0")))
    rows = {row.name: row.instructions for row in stated.rows if row.name.startswith("toy")}
    assert rows == {"toy centroid": None, "toy is bright": None}


# --- what is refused


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(SerqError, match="feature block 'centroid' is registered already"):
        register_block(Centroid)


def test_a_kind_without_a_part_is_refused_by_name() -> None:
    @dataclass(frozen=True)
    class Half(FeatureBlock):
        kind: ClassVar[str] = "half"

        steps = Centroid.steps
        value_range = Centroid.value_range
        floats = Centroid.floats

    with pytest.raises(SerqError, match="feature block 'half' lacks code, integers, reads, unit") as refusal:
        register_block(Half)
    assert "\n" not in str(refusal.value) and "half" not in BLOCKS


@pytest.mark.parametrize("kind", ["power", "log", "scores"])
def test_a_kind_with_the_name_of_a_stage_is_refused(kind: str) -> None:
    with pytest.raises(SerqError, match=f"'{kind}' has the name of a stage"):
        register_block(type("Taken", (Centroid,), {"kind": kind}))


def changed_centroid(tmp_path: Path, old: str, new: str) -> type[Centroid]:
    """The block with its C changed."""
    for name in ("centroid.c", "centroid.h"):
        (tmp_path / name).write_text((HERE / name).read_text().replace(old, new))
    sources = (tmp_path / "centroid.c", tmp_path / "centroid.h")
    return type("Changed", (Centroid,), {"sources": sources})


def test_c_that_does_not_compile_is_refused_by_name(tmp_path: Path) -> None:
    broken = changed_centroid(tmp_path, "sum == 0", "sum === 0")
    spec = FeatureSpec(name="broken", blocks=(broken(),))
    with pytest.raises(
        SerqError, match=r"does not compile the C of feature block 'centroid': centroid\.c:1\d:\d+: error: "
    ) as refusal:
        clip_features(spec, build_tables(spec))
    assert "\n" not in str(refusal.value)


def test_a_changed_line_of_its_c_changes_the_features(tmp_path: Path) -> None:
    """The cache of libraries does not serve the C of before."""
    pcm = synthetic_speech(3)
    wrong = changed_centroid(tmp_path, "sum += power", "sum += power + 1")
    results = []
    for block in (Centroid(), wrong()):
        spec = FeatureSpec(name="changed", blocks=(block,))
        results.append(clip_features(spec, build_tables(spec))(pcm).tolist())
    assert results[0] != results[1]


def test_a_source_with_the_name_of_a_runtime_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "serq.c").write_text("")
    taken = type("Taken", (Centroid,), {"sources": (tmp_path / "serq.c",)})
    spec = FeatureSpec(name="taken", blocks=(taken(),))
    with pytest.raises(SerqError, match=r"feature block 'centroid' brings serq\.c, a name that is taken"):
        clip_features(spec, build_tables(spec))


def test_two_blocks_that_overwrite_one_buffer_are_refused_by_name() -> None:
    greedy = type("Greedy", (Centroid,), {"destroys": True})
    with pytest.raises(SerqError, match="centroid and chroma both overwrite the frame's power"):
        FeatureSpec(blocks=(greedy(), Chroma()))


def test_blocks_that_destroy_what_they_read_come_last() -> None:
    spec = FeatureSpec(mel_bands=20, blocks=(Chroma(), Mfcc(9), Centroid(), Mel(20)))
    assert [block.kind for block in spec.order] == ["centroid", "mel", "chroma", "mfcc"]
    assert spec.frame_stages[6:] == ("centroid", "chroma", "mfcc")
    assert [name.split()[0].rstrip("0123456789") for name in spec.feature_names[::36]][:1] == ["chroma"]


def test_an_unknown_kind_is_refused_with_what_there_is() -> None:
    with pytest.raises(
        SerqError, match="feature block 'cqt' is not one of mfcc, mel, chroma, energy, f0, voicing, centroid"
    ):
        FeatureSpec.from_json({"blocks": [{"kind": "cqt", "size": 3}]})
    with pytest.raises(SerqError, match="mel: unknown key loudness"):
        FeatureSpec.from_json({"blocks": [{"kind": "mel", "size": 40, "loudness": False}]})
