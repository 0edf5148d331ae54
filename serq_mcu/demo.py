"""The whole way once: speech, features, network, bits per layer, C, firmware, and the proof that they agree.

`summary.json` holds the outcome under the names of SPEC.md section 11.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.files import new_folder
from serq_mcu.base.progress import Progress
from serq_mcu.boards.board import all_boards, load_board
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import save_model, shipped_model
from serq_mcu.quantized_model.types import QuantizedModel

SUMMARY = "summary.json"
SPLITS = 5
EMULATED_CLIPS = 60
FIRMWARE_BOARDS = ("esp32", "nucleo_f446re")


@dataclass(frozen=True)
class Summary:
    """What the demo found; `value` is the content of summary.json."""

    folder: Path
    value: dict[str, Any]

    @property
    def ok(self) -> bool:
        """No integer differs anywhere."""
        return all(
            target["differing_clips"] == 0 == target["differing_integers"]
            for target in self.value["verification"]
        )

    def to_json(self) -> dict[str, Any]:
        """For `demo --json`."""
        return self.value

    def lines(self) -> list[str]:
        """The closing table."""
        return [
            *_accuracy_lines(self.value),
            *_model_lines(self.value),
            *_verification_lines(self.value),
            f"all of it is in {self.folder}",
        ]


def run_demo(corpus: Path | None, out: Path, progress: Progress) -> Summary:
    """Go the whole way with the recordings in `corpus`, or with synthesised speech and the shipped model;
    write the folder `out`.

    Raises SerqError if a step cannot be done.
    """
    from serq_mcu.corpus.check import check_corpus
    from serq_mcu.corpus.loaders import load_corpus

    start = time.monotonic()
    with new_folder(out, SUMMARY) as work:
        synthetic = corpus is None
        if corpus is None:
            from serq_mcu.corpus.synthetic import synthesise

            corpus = synthesise(
                work / "speech",
                progress=lambda done, total: progress(
                    "synthesising speech (seconds)", round(done), round(total)
                ),
            )
        report = check_corpus(corpus)
        if not report.ok:
            raise SerqError(f"{corpus} has problems; `serq-mcu corpus check {corpus}` names them")
        splits, models = _train_and_quantize(corpus, work, progress)
        model = shipped_model() if synthetic else models[0]
        save_model(model, work / "model.serq")
        firmware = _export_firmware(model, work, out, progress)
        verification = _verify_everywhere(model, corpus, work, progress)
        value = {
            "synthetic": synthetic,
            "corpus": {"name": load_corpus(corpus).name, "clips": len(load_corpus(corpus).clips)},
            "protocol": f"stratified {SPLITS}-fold: mean over the held-out folds",
            "splits": splits,
            "float_accuracy_mean": float(np.mean([split["float"]["accuracy"] for split in splits])),
            "quantized_accuracy_mean": float(np.mean([split["quantized"]["accuracy"] for split in splits])),
            "model": _describe(model, shipped=synthetic),
            "firmware": firmware,
            "verification": verification,
            "differing_clips": sum(target["differing_clips"] for target in verification),
            "differing_integers": sum(target["differing_integers"] for target in verification),
            "seconds": round(time.monotonic() - start, 1),
        }
        (work / SUMMARY).write_text(json.dumps(value, indent=1) + "\n")
    return Summary(out, value)


def _train_and_quantize(
    corpus: Path, work: Path, progress: Progress
) -> tuple[list[dict[str, Any]], list[QuantizedModel]]:
    """One training and quantization per held-out fold; each leaves its run folder and model in `work`."""
    from serq_mcu.config import load_config
    from serq_mcu.quantization.pipeline import quantize
    from serq_mcu.training.run import read_dataset, train_dataset

    config = load_config()
    dataset = read_dataset(corpus, config, progress)
    splits, models = [], []
    for split in range(config.training.folds):
        progress(f"training and quantizing, fold {split + 1} of {config.training.folds} held out")
        run = train_dataset(dataset, work / f"run{split}", config.changed(training={"split": split}))
        model, allocation = quantize(run)
        save_model(model, work / f"run{split}.serq")
        (work / f"run{split}.txt").write_text("\n".join(allocation.lines()) + "\n")
        scores = {
            "float": allocation.float_scores["test"].to_json(),
            "quantized": allocation.quantized_scores["test"].to_json(),
        }
        splits.append({"split": split, "seed": config.training.seed, **_size(model), **scores})
        models.append(model)
    return splits, models


def _export_firmware(
    model: QuantizedModel, work: Path, out: Path, progress: Progress
) -> list[dict[str, Any]]:
    """A project per real board in `work` (which becomes `out`), built where the vendor's packages are at
    hand, and its size.
    """
    from serq_mcu.build import platformio

    found = []
    for name in FIRMWARE_BOARDS:
        board = load_board(name)
        folder = work / name
        export(model, board, folder)
        known = budget(Plan(model, board))
        state, flash, ram = "exported", known.flash, known.ram
        if missing := platformio.missing_packages(board):  # gigabytes: not without being asked
            state = (
                f"exported; `serq-mcu build {out / name}` builds it, and downloads {', '.join(missing)} the"
                " first time"
            )
        else:
            progress(f"building firmware for {board.title}")
            built = platformio.build(folder)
            state, flash, ram = "built", built.flash_bytes, built.ram_bytes
        found.append(
            {
                "board": name,
                "folder": name,
                "state": state,
                "flash_bytes": flash,
                "ram_bytes": ram,
                "fits": known.fits,
            }
        )
    return found


def _verify_everywhere(
    model: QuantizedModel, corpus: Path, work: Path, progress: Progress
) -> list[dict[str, Any]]:
    """Every clip on the host, a stratified choice of them on each emulated core."""
    from serq_mcu.build import platformio
    from serq_mcu.verification.verify import verify_project

    found = [
        {
            **verify_project(work / FIRMWARE_BOARDS[0], corpus, "host", None, progress).to_json(),
            "target": "host",
        }
    ]
    for board in all_boards():
        if board.emulated:
            export(model, board, work / board.name)
            built = platformio.build(work / board.name)
            report = verify_project(work / board.name, corpus, "emulator", EMULATED_CLIPS, progress).to_json()
            found.append(
                {
                    **report,
                    "target": board.name,
                    "flash_bytes": built.flash_bytes,
                    "ram_bytes": built.ram_bytes,
                }
            )
    return found


def _describe(model: QuantizedModel, shipped: bool) -> dict[str, Any]:
    layers = [[layer.inputs, layer.outputs] for layer in model.layers]
    return {
        "shipped": shipped,
        "identity": model.sha256[:16],
        "layers": layers,
        "labels": list(model.labels),
        **_size(model),
    }


def _size(model: QuantizedModel) -> dict[str, Any]:
    return {
        "widths": list(model.widths),
        "average_bits": model.average_bits,
        "weights_only_bytes": model.weights_only_bytes,
        "stored_bytes": model.stored_bytes,
    }


def _accuracy_lines(value: dict[str, Any]) -> list[str]:
    name = f"{value['corpus']['name']}, {value['corpus']['clips']} clips"
    lines = [f"speech: {name}; protocol: {value['protocol']}"]
    if value["synthetic"]:
        lines.append(
            "this speech is synthetic: accuracy on it means nothing, it only shows that each step runs"
        )
    lines.append(
        f"{'held-out fold':<15}{'n':>5}{'float':>8}{'95 % interval':>17}{'integers':>10}{'95 % interval':>17}"
        "  bits       average"
    )
    for split in value["splits"]:
        cells = "".join(
            f"{split[kind]['accuracy']:>{width}.1%}{_interval(split[kind]):>17}"
            for kind, width in (("float", 8), ("quantized", 10))
        )
        bits = " ".join(map(str, split["widths"]))
        lines.append(
            f"{split['split'] + 1:<15}{split['float']['n']:>5}{cells}  {bits:<11}{split['average_bits']:.2f}"
        )
    return [
        *lines,
        f"{'mean':<20}{value['float_accuracy_mean']:>8.1%}{'':>17}{value['quantized_accuracy_mean']:>10.1%}",
    ]


def _model_lines(value: dict[str, Any]) -> list[str]:
    model = value["model"]
    which = "the model that ships with serq-mcu" if model["shipped"] else "the model of fold 1"
    sizes = (
        f"weights only {model['weights_only_bytes'] / 1000:.1f} KB, stored {model['stored_bytes'] / 1000:.1f}"
        " KB (KB of 1000 bytes)"
    )
    lines = [
        f"firmware: {which}, {model['identity']}, bits {' '.join(map(str, model['widths']))}, average"
        f" {model['average_bits']:.2f}; {sizes}"
    ]
    for item in value["firmware"]:
        known = (
            f"{item['flash_bytes']} bytes of flash, {item['ram_bytes']} of RAM"
            f" {'in all' if item['state'] == 'built' else 'known before a build'}"
        )
        lines.append(f"{item['board']:<18}{known}; {item['state']}")
    return lines


def _verification_lines(value: dict[str, Any]) -> list[str]:
    lines = [
        f"{'same integers?':<18}{'clips':>6}{'integers':>12}{'differing clips':>17}"
        f"{'differing integers':>20}{'flash B':>9}{'RAM B':>7}"
    ]
    for target in value["verification"]:
        counts = f"{target['clips']:>6}{target['compared_integers']:>12}{target['differing_clips']:>17}"
        counts += f"{target['differing_integers']:>20}"
        lines.append(
            f"{target['target']:<18}{counts}{target['flash_bytes'] or '':>9}{target['ram_bytes'] or '':>7}"
        )
    return [
        *lines,
        (
            f"differing_clips: {value['differing_clips']}, differing_integers: {value['differing_integers']},"
            f" {value['seconds']:.0f} s in all"
        ),
    ]


def _interval(score: dict[str, Any]) -> str:
    low, high = score["interval95"]
    return f"{low:.1%} to {high:.1%}"
