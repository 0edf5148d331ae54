"""The whole pipeline once: speech, features, network, bits per layer, C, firmware, and a check of all.

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
from serq_mcu.base.shell import quoted
from serq_mcu.boards.board import Relative, all_boards, load_board
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import save_model, shipped_model
from serq_mcu.quantized_model.types import QuantizedModel

SUMMARY = "summary.json"
SPLITS = 5
VERSIONS = 8  # of each clip; the model that ships was trained on more
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
        """Return plain values for `demo --json`."""
        return self.value


def run_demo(corpus: Path | None, out: Path, progress: Progress) -> Summary:
    """Run the whole pipeline with the recordings in `corpus` and write the folder `out`.

    Without a corpus, it takes synthesised speech and the shipped model. Raises SerqError if a step cannot be
    done.
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
            "protocol": f"stratified {SPLITS}-fold, validated by clips: mean over the held-out folds",
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
        (work / SUMMARY).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return Summary(out, value)


def _train_and_quantize(
    corpus: Path, work: Path, progress: Progress
) -> tuple[list[dict[str, Any]], list[QuantizedModel]]:
    """Train and quantize once per held-out fold; each leaves its run folder and model in `work`."""
    from serq_mcu.config import CLIPS, load_config
    from serq_mcu.quantization.pipeline import quantize
    from serq_mcu.show.quantization import allocation_lines
    from serq_mcu.training.run import fine_tuning, read_dataset, train_dataset

    config = load_config().changed(
        augmentation={"versions": VERSIONS},
        training={"validation": CLIPS, "folds": SPLITS},
        quantization={"folds": 0},  # validation clips choose the bits, in a third of the time
    )
    dataset = read_dataset(corpus, config, progress)
    splits, models = [], []
    for split in range(config.training.folds):
        progress(f"training and quantizing, fold {split + 1} of {config.training.folds} held out")
        run = train_dataset(dataset, work / f"run{split}", config.changed(training={"split": split}))
        model, allocation = quantize(run, tuner=fine_tuning(run))
        save_model(model, work / f"run{split}.serq")
        (work / f"run{split}.txt").write_text(
            "\n".join(allocation_lines(allocation)) + "\n", encoding="utf-8"
        )
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
    """Export a project per real board in `work` (which becomes `out`), and build it for its size.

    It is built where the vendor's packages are installed.
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
                f"exported; `serq-mcu build {quoted(out / name)}` builds it, and downloads"
                f" {', '.join(missing)} the first time"
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
    """Verify every clip on the host, and some on each emulated core that stands for a real board."""
    from serq_mcu.verification.verify import verify_project

    found = [
        {
            **verify_project(work / FIRMWARE_BOARDS[0], corpus, "host", None, progress).to_json(),
            "target": "host",
        }
    ]
    boards = all_boards()
    relatives = {board.emulator.relative for board in boards if isinstance(board.emulator, Relative)}
    for board in boards:
        if board.name in relatives:
            export(model, board, work / board.name)
            report = verify_project(work / board.name, corpus, "emulator", EMULATED_CLIPS, progress).to_json()
            found.append({**report, "target": board.name})
    return found


def _describe(model: QuantizedModel, *, shipped: bool) -> dict[str, Any]:
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
