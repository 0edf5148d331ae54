"""The data of a report, computed from a run folder or read from a model file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.metrics import Score
from serq_mcu.base.progress import Progress, silent
from serq_mcu.codegen.export import MANIFEST, Project, read_project
from serq_mcu.codegen.plan import MODEL
from serq_mcu.codegen.trust import buildable
from serq_mcu.config import MAX_BITS, MIN_BITS
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.clips import choose_clips, evaluate
from serq_mcu.quantization.allocation import Judge
from serq_mcu.quantization.budgeted import measure
from serq_mcu.quantization.pipeline import STEPS, lower, quantize, step_scores
from serq_mcu.quantization.run_folder import load_run
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.report.figures import Point
from serq_mcu.verification.report import VerifyReport
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import recordings, verify


@dataclass(frozen=True)
class LayerSummary:
    """A layer as the report shows it.

    tried: bits and validation accuracy of each width that was tried; required: the least accuracy.
    """

    shape: str
    width: str
    bits: int
    importance: float
    rank: int
    margin: float
    required: float
    tried: tuple[tuple[int, float], ...]
    reason: str


@dataclass(frozen=True)
class StepAccuracy:
    """A step or part with its accuracy, clips and interval."""

    step: str
    part: str
    point: Point
    n: int


@dataclass(frozen=True)
class ReportData:
    """Everything known about a model.

    Some of it only where a run folder, a corpus or firmware was given (else None or empty). assumed: how the
    model came about where only a run was given. quantized: how its bits were chosen. fixed: accuracy on
    held-out clips with one width for all layers; added: validation loss that each layer alone adds,
    [layers][8].
    """

    model: QuantizedModel
    layers: tuple[LayerSummary, ...]
    steps: tuple[StepAccuracy, ...]
    average_bits: float
    quantized: str = ""
    assumed: str = ""
    fixed: tuple[Point, ...] = ()
    added: tuple[tuple[float, ...], ...] = ()
    float_score: Score | None = None
    integer_score: Score | None = None
    integer_basis: str = ""
    device_score: Score | None = None
    device: VerifyReport | None = None

    def accuracy(self, step: str, part: str = "test") -> StepAccuracy | None:
        """Return the score of a step on a part of the clips, if it is known."""
        return next((item for item in self.steps if (item.step, item.part) == (step, part)), None)


def gather(
    source: Path,
    model: Path | None = None,
    corpus: Path | None = None,
    firmware: Path | None = None,
    on: str = "host",
    progress: Progress = silent,
    *,
    allow_changes: bool = False,
) -> ReportData:
    """Gather the data on the run folder or model file `source`; of an exported project, it is its model.

    model: a model file that was quantized from the run; without it the run is quantized as its configuration
    says. corpus: recordings to evaluate a model file or a device on. firmware: an exported project of this
    very model, run on `on`: a fresh export of it, or with allow_changes the folder's own code. Raises
    SerqError if one of them cannot be used, or they do not belong together.
    """
    source = source / MODEL if (source / MANIFEST).is_file() else source
    if firmware is not None:
        if corpus is None:
            raise SerqError("firmware is evaluated on recordings; give --clips too")
        known = source if source.is_file() else model
        project = read_project(firmware) if known is None else _require_same(load_model(known), firmware)
        if known is None:  # it is made first
            _require_same_run(source, firmware)
        with buildable(project, allow_changes=allow_changes):  # before minutes of work
            pass
    if source.is_dir() or not source.exists():
        data = _from_run(source, model, progress)
    elif model is not None:
        raise SerqError(f"{source} is a file; give the run folder that {model} was quantized from before it")
    else:
        data = _from_model(load_model(source))
        if corpus is not None:
            found = evaluate(data.model, corpus, progress)
            data = replace(data, integer_score=found.score, integer_basis=found.basis)
    if firmware is not None and corpus is not None:
        asked = _from_device(data.model, firmware, corpus, on, progress, allow_changes=allow_changes)
        data = replace(data, **asked)
    return data


def _from_run(folder: Path, file: Path | None, progress: Progress) -> ReportData:
    """Gather what a run holds of the model in `file`, or of the one that its configuration makes."""
    run = load_run(folder)
    model = quantize(run, progress)[0] if file is None else load_model(file)
    if model.provenance.get("run") != run.digest:
        raise SerqError(f"{file} was not quantized from the run in {folder}; give the run that it came from")
    final, held = lower(run, run.network), run.members("test")
    fixed = []
    for bits in range(MIN_BITS, MAX_BITS + 1):
        answers = classify(final.model([bits] * len(model.widths)), run.pooled[0, held])
        fixed.append(_point(bits, Score.of(run.truth[held], answers, run.labels)))
        progress("evaluating every width", bits, MAX_BITS)
    scores, told = step_scores(run, run.network, model, "test"), _from_model(model)
    judge = Judge.after_training(lower(run), run.validation)
    return replace(
        told,
        assumed=(
            "No model file was given, so the run was quantized for this page as its configuration says,"
            " without fine-tuning or a budget. Give MODEL after the run to describe that one."
            if file is None
            else ""
        ),
        steps=(
            *(step for step in told.steps if step.part == "validation"),
            *(StepAccuracy(s, "test", _point(0, scores[s]), scores[s].n) for s in STEPS),
        ),
        fixed=tuple(fixed),
        added=tuple(map(tuple, measure([judge], progress).added.tolist())),
        float_score=run.float_score("test"),
        integer_score=scores[STEPS[-1]],
        integer_basis="the clips that were held out from training and from every choice",
    )


def _from_model(model: QuantizedModel) -> ReportData:
    """Read what a model file records of its training; empty where it records nothing."""
    kept = model.provenance.get("allocation") or []
    try:
        layers = tuple(
            LayerSummary(
                shape=f"{layer.inputs} x {layer.outputs}",
                width=_width(layer.bits, str(layer.width)),
                bits=layer.bits,
                importance=float(item["importance"]),
                rank=int(item["rank"]) + 1,
                margin=float(item["margin"]),
                required=float(item["required"]),
                tried=tuple((int(bits), float(accuracy)) for bits, accuracy in item["tried"]),
                reason=str(item["reason"]),
            )
            for item, layer in zip(kept, model.matrices, strict=bool(kept))
        )
        quantized = _how(model)
        steps = tuple(
            StepAccuracy(
                step, part, Point(0, float(values["accuracy"]), tuple(values["interval95"])), int(values["n"])
            )
            for key, step in (("float", STEPS[0]), ("quantized", STEPS[-1]))
            for part, values in (model.provenance.get("metrics") or {}).get(key, {}).items()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SerqError(
            f"the training record in the model file cannot be read ({error!r}); quantize the model again"
        ) from error
    return ReportData(model, layers, steps, model.average_bits, quantized)


def _how(model: QuantizedModel) -> str:
    """Describe how the bits of a model were chosen; nothing where its file does not tell."""
    config = (model.provenance.get("config") or {}).get("quantization")
    if not config:
        return ""
    budget = model.provenance.get("budget")
    chosen = (
        f"within {budget['most']:.0f} {budget['unit']}"
        if budget
        else f"method {config['method']}, alpha {config['alpha']:g}, margin {config['margin']:.2%}"
    )
    tuned = model.provenance.get("fine_tuned")
    return f"{chosen}; {'fine-tuned at these bits' if tuned else 'post-training'}"


def _require_same(model: QuantizedModel, firmware: Path) -> Project:
    """Return the project, of which the model must be."""
    project, own = read_project(firmware), load_model(firmware / MODEL)
    if own.identity != model.identity:
        raise SerqError(
            f"{firmware} holds model {own.identity.hex()}, and this is {model.identity.hex()}; export this"
            " one, or report on that one"
        )
    return project


def _require_same_run(folder: Path, firmware: Path) -> None:
    """Raise SerqError if the firmware's model cannot be one that the run gives."""
    if load_model(firmware / MODEL).provenance.get("run") != load_run(folder).digest:
        raise SerqError(
            f"{firmware} holds a model that was not quantized from the run in {folder}; export one that was,"
            " or give the run that it came from"
        )


def _from_device(
    model: QuantizedModel, firmware: Path, corpus: Path, on: str, progress: Progress, *, allow_changes: bool
) -> dict[str, Any]:
    """Run the device on the clips that the model is evaluated on."""
    project = _require_same(model, firmware)
    clips, _, _ = choose_clips(model, load_corpus(corpus))
    if not clips:
        raise SerqError(
            f"{corpus}: no clip has a class of the model ({', '.join(model.labels)}); give another corpus"
        )
    with open_target(project, on, allow_changes=allow_changes) as target:
        report = verify(
            model,
            recordings(clips, model.spec.sample_rate),
            target,
            lambda done: progress("asking the device", done, len(clips)),
        )
    answers = {outcome.clip: outcome.answer for outcome in report.compared}
    tested = [clip for clip in clips if clip.name in answers]
    truth, said = (
        np.array([model.labels.index(name) for name in names])
        for names in ([c.label for c in tested], [answers[c.name] for c in tested])
    )
    return {"device": report, "device_score": Score.of(truth, said, model.labels)}


def _point(x: float, score: Score) -> Point:
    return Point(x, score.accuracy, score.interval)


def _width(bits: int, width: str) -> str:
    return width if not width.isdecimal() else f"{bits} bit{'s' if bits > 1 else ''}"
