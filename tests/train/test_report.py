"""The report: what it tells is what was measured, it needs nothing else, and what is missing it says."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from serq_mcu.base.metrics import Score
from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.config import load_config
from serq_mcu.extraction.recordings import SHORT_DIGEST, audio_digest
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantization.run_folder import Run, load_run, save_run
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.store import save_model
from serq_mcu.report import figures
from tests.support.models import made_up_sequence

LABELS = ("calm", "<b>&loud")  # names that HTML would take for its own


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of a second for each class: quiet low noise, loud harmonics; file names of label folders."""
    folder, rng, time = tmp_path_factory.mktemp("report"), np.random.default_rng(3), np.arange(20000) / 16000
    for number in range(10):
        tone = sum(np.sin(2 * np.pi * (200 + 10 * number) * k * time) / k for k in range(1, 9))
        for label, signal in zip(
            LABELS, (0.02 * rng.normal(size=time.size).cumsum() / 20, 0.1 * tone), strict=True
        ):
            place = folder / "clips" / label
            place.mkdir(parents=True, exist_ok=True)
            soundfile.write(
                place / f"{'ab'[LABELS.index(label)]}{number}.wav", signal, 16000, subtype="PCM_16"
            )
    return folder / "clips"


@pytest.fixture(scope="module")
def run_folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network is drawn at random, on the clips' own features."""
    from serq_mcu.corpus.loaders import load_corpus

    loaded = load_corpus(corpus)
    spec = FeatureSpec(
        name="small", fft_length=256, hop_length=256, mel_bands=16, blocks=(Mfcc(8, ("mean", "sd")),)
    )
    tables = build_tables(spec)
    pcm = [(soundfile.read(clip.path, dtype="int16")[0]) for clip in loaded.clips]
    pooled = np.stack([features(spec, tables, clip) for clip in pcm])[None]
    truth = np.array([loaded.labels.index(clip.label) for clip in loaded.clips], dtype=np.int64)
    rng = np.random.default_rng(0)
    shape = (spec.feature_count, 8, 6, len(loaded.labels))
    kernels = tuple(rng.normal(0, 1, pair) / np.sqrt(pair[0]) for pair in itertools.pairwise(shape))
    network = FloatNetwork.mlp(
        kernels, tuple(np.zeros(n) for n in shape[1:]), pooled[0].mean(axis=0), pooled[0].std(axis=0) + 1
    )
    config = load_config().changed(features=spec.to_json())
    part = (np.arange(len(truth)) % 3).astype(np.uint8)
    run = Run(
        config,
        loaded.name,
        loaded.labels,
        tuple(clip.name for clip in loaded.clips),
        tuple(clip.speaker for clip in loaded.clips),
        tuple(audio_digest(clip)[:SHORT_DIGEST] for clip in pcm),
        pooled,
        truth,
        part,
        "clips",
        network,
        3,
        2,
        {},
    )
    return save_run(run, tmp_path_factory.mktemp("run") / "run", {})


def _report(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


class _Page(HTMLParser):
    """What a page asks of elsewhere, its headings and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.asks: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asks += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_run_is_told_whole(run_folder: Path, corpus: Path, tmp_path: Path) -> None:
    model, allocation = quantize(load_run(run_folder))
    firmware = export(model, load_board("emulated-m0"), tmp_path / "fw").folder
    clip = corpus / LABELS[1] / "b0.wav"
    out = tmp_path / "report"
    done = _report(
        run_folder,
        "--corpus",
        corpus,
        "--firmware",
        firmware,
        "--clip",
        clip,
        "--board",
        "emulated-m0",
        "--out",
        out,
        "--json",
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    run = load_run(run_folder)
    held = run.members("test")
    judged = {(item["step"], item["part"]): item["accuracy"] for item in told["accuracy"]}
    assert judged["all integers", "test"] == allocation.quantized_scores["test"].accuracy
    assert judged["float", "validation"] == allocation.float_scores["validation"].accuracy
    assert [point["bits"] for point in told["fixed_widths"]] == list(range(1, 9))
    assert told["device"]["differing_integers"] == 0
    assert told["device"]["clips"] == len(held)
    assert len(told["sensitivity"]) == 3 and all(row[-1] == 0 for row in told["sensitivity"])
    assert sorted(path.name for path in out.iterdir()) == sorted(Path(path).name for path in told["wrote"])
    page = (out / "report.html").read_text()
    reader = _Page()
    reader.feed(page)
    assert all(link.startswith(("#part", "data:image/png;base64,")) for link in reader.asks)
    assert "@import" not in page and "url(" not in page and "<script" not in page
    assert "<b>" not in page.replace("&lt;b&gt;", "")  # a class's name stays text
    assert f"{allocation.quantized_scores['test'].accuracy:.1%}" in reader.text
    for choice in allocation.layers:
        assert choice.reason in reader.text
    assert "Give --" not in reader.text
    losses = (out / "losses.svg").read_text()
    assert f"this computer, {len(held)} clips" in losses
    right = Score.of(run.truth[held], classify(model, run.pooled[0, held]), model.labels).correct
    assert (
        "Integers, Python: true classes in rows, predicted classes in columns;"
        f" {right} of {len(held)} correct." in reader.text
    )


def test_each_drawing_is_a_file_of_its_own_and_the_same_each_time(run_folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert _report(run_folder, "--board", "emulated-m0", "--out", tmp_path / name).exit_code == 0
    names = sorted(path.name for path in (tmp_path / "one").glob("*.svg"))
    assert {
        "accuracy.svg",
        "network.svg",
        "layers.svg",
        "losses.svg",
        "sensitivity.svg",
        "flash.svg",
        "ram.svg",
        "time_frame.svg",
        "time_decision.svg",
    } <= set(names)
    for name in [*names, "report.html"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for name in names:
        root = ElementTree.parse(tmp_path / "one" / name).getroot()
        assert root.get("aria-label")
        assert "prefers-color-scheme: dark" in (tmp_path / "one" / name).read_text()


def test_a_model_file_tells_what_it_knows_and_says_what_is_missing(
    run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    model, _ = quantize(load_run(run_folder))
    path = save_model(model, tmp_path / "m.serq")
    assert _report(path, "--board", "emulated-m0", "--out", tmp_path / "bare").exit_code == 0
    reader = _Page()
    reader.feed((tmp_path / "bare" / "report.html").read_text())
    assert "Needs a run folder: `serq-mcu report run/`." in reader.text
    assert "Give --clips to evaluate a model file on recordings" in reader.text
    assert "Memory" in reader.text and "flash: " in reader.text
    folder = export(model, load_board("emulated-m0"), tmp_path / "project").folder
    assert _report(folder, "--board", "emulated-m0", "--out", tmp_path / "same").exit_code == 0
    pages = [(tmp_path / name / "report.html").read_bytes() for name in ("bare", "same")]
    assert pages[0] == pages[1], "a project's report is that of its model"
    assert "Give --clip FILE" in reader.text
    assert model.provenance["allocation"][0]["reason"] in reader.text
    assert (
        _report(path, "--corpus", corpus, "--board", "emulated-m0", "--out", tmp_path / "judged").exit_code
        == 0
    )
    assert (tmp_path / "judged" / "confusion_integers.svg").exists()


@pytest.mark.parametrize(
    ("words", "widths", "told"),
    [
        (("gru 5 last",), (8, 2, 4), ["8+2", "4 bits"]),
        (("conv 6 3", "maximum 2", "mean"), (1, 3), ["1 bit", "pooling", "3 bits"]),
    ],
    ids=["gru", "convolution"],
)
def test_a_network_on_a_sequence_is_drawn_layer_by_layer(
    words: tuple[str, ...], widths: tuple[int, ...], told: list[str], tmp_path: Path
) -> None:
    path = save_model(made_up_sequence(words, widths), tmp_path / "m.serq")
    done = _report(path, "--board", "esp32", "--out", tmp_path / "page")
    assert done.exit_code == 0, done.output
    drawn = (tmp_path / "page" / "network.svg").read_text()
    assert all(f">{word}<" in drawn for word in told), drawn


def test_a_model_is_described_as_it_was_quantized(run_folder: Path, tmp_path: Path) -> None:
    run = load_run(run_folder)
    as_configured, (otherwise, allocation) = (
        quantize(run)[0],
        quantize(run.changed(quantization={"method": "2,8,1"})),
    )
    path = save_model(otherwise, tmp_path / "m.serq")
    told = {}
    for name, given in {"run": (run_folder,), "both": (run_folder, path)}.items():
        done = _report(*given, "--board", "emulated-m0", "--out", tmp_path / name, "--json")
        assert done.exit_code == 0, done.output
        told[name], reader = json.loads(done.stdout), _Page()
        reader.feed((tmp_path / name / "report.html").read_text())
        assert ("No model file was given" in reader.text) == (name == "run")
        assert ("method 2,8,1, alpha 0.5" in reader.text) == (name == "both")
    assert (
        told["run"]["model"]
        == as_configured.identity.hex()
        != told["both"]["model"]
        == otherwise.identity.hex()
    )
    judged = {(item["step"], item["part"]): item["accuracy"] for item in told["both"]["accuracy"]}
    assert judged["all integers", "test"] == allocation.quantized_scores["test"].accuracy
    assert told["both"]["average_bits"] == otherwise.average_bits
    assert told["run"]["fixed_widths"] == told["both"]["fixed_widths"]  # what the run tells beside the model


def test_a_model_of_another_run_is_refused(run_folder: Path, tmp_path: Path) -> None:
    run = load_run(run_folder)
    other = replace(run, network=replace(run.network, mean=run.network.mean + 1))
    path = save_model(quantize(other)[0], tmp_path / "m.serq")
    refused = _report(run_folder, path, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert f"{path} was not quantized from the run in {run_folder}" in " ".join(refused.output.split())
    assert _report(path, path, "--out", tmp_path / "out").exit_code == 1
    assert not (tmp_path / "out").exists()


def test_what_does_not_belong_together_is_refused_and_nothing_is_lost(
    run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    model, _ = quantize(load_run(run_folder).changed(quantization={"method": "8"}))
    firmware = export(model, load_board("emulated-m0"), tmp_path / "fw").folder
    other = _report(run_folder, "--corpus", corpus, "--firmware", firmware, "--out", tmp_path / "out")
    assert other.exit_code == 1
    assert "export this one, or report on that one" in other.output
    alone = _report(run_folder, "--firmware", firmware, "--out", tmp_path / "out")
    assert alone.exit_code == 1
    assert "give --clips too" in alone.output
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    kept = _report(
        save_model(model, tmp_path / "m.serq"), "--board", "emulated-m0", "--out", tmp_path / "mine"
    )
    assert kept.exit_code == 1
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_heat_shows_every_value_in_its_place() -> None:
    import base64
    import io

    values = np.arange(12.0).reshape(4, 3)  # four frames of three rows
    svg = figures.heat("h", "words", values, 1.0, "low", "high").svg
    png = base64.b64decode(re.search(r"base64,([^\"]+)", svg).group(1))
    image_module = pytest.importorskip("PIL.Image")
    image = np.asarray(image_module.open(io.BytesIO(png)).convert("L"), dtype=int)
    assert image.shape == (3, 4)
    assert (np.diff(image, axis=1) > 0).all()  # later frames hold larger values, which are lighter
    assert (np.diff(image, axis=0) < 0).all()  # the first row is at the bottom


def test_a_confusion_matrix_shows_each_count_in_its_row_and_column() -> None:
    score = Score(("calm", "loud", "low"), np.array([[7, 1, 0], [2, 9, 3], [0, 4, 5]]))
    root = ElementTree.fromstring(figures.confusion("c", "Title", score).svg)
    space = "{http://www.w3.org/2000/svg}"
    cells = {rect.findtext(f"{space}title"): rect for rect in root.iter(f"{space}rect")}
    counts = [
        (float(text.get("x")), float(text.get("y")), text.text)
        for text in root.iter(f"{space}text")
        if text.text.isdigit()
    ]
    assert len(cells) == len(counts) == 9
    for true, row in zip(score.labels, score.confusion, strict=True):
        for answer, count in zip(score.labels, row, strict=True):
            rect = cells[f"{true} classified as {answer}: {count}"]
            cell = {name: float(rect.get(name)) for name in ("x", "y", "width", "height")}
            inside = [
                text
                for x, y, text in counts
                if 0 < x - cell["x"] < cell["width"] and 0 < y - cell["y"] < cell["height"]
            ]
            assert inside == [str(count)]
