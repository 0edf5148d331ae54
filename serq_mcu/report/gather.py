"""What a report tells, computed from a run folder or read from a model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.metrics import Score
from serq_mcu.codegen.export import MODEL, read_project
from serq_mcu.corpus.loaders import load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.clips import choose_clips, evaluate
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.allocation import MAX_BITS, MIN_BITS
from serq_mcu.quantization.budgeted import measure
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.pipeline import JUDGED, STEPS, Allocation, quantize
from serq_mcu.quantization.run_folder import Run, load_run
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.report.figures import Point
from serq_mcu.verification.report import VerifyReport
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import recordings, verify

Progress = Callable[..., None]


@dataclass(frozen=True)
class Layer:
    """A layer as the report shows it. tried: bits and validation accuracy of each width that was tried;
    required: what it had to hold.
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
class Judged:
    """A step or part with its accuracy, clips and interval."""

    step: str
    part: str
    point: Point
    n: int


@dataclass(frozen=True)
class Told:
    """Everything that is known of a model, some of it only where a run folder, a corpus or firmware was
    given (else None or empty).

    fixed: accuracy on held-out clips with one width for all layers; added: validation loss that each layer
    alone adds, [layers][8].
    """

    model: QuantizedModel
    layers: tuple[Layer, ...]
    judged: tuple[Judged, ...]
    average_bits: float
    fixed: tuple[Point, ...] = ()
    added: tuple[tuple[float, ...], ...] = ()
    float_score: Score | None = None
    integer_score: Score | None = None
    integer_basis: str = ""
    device_score: Score | None = None
    device: VerifyReport | None = None

    def accuracy(self, step: str, part: str = "test") -> Judged | None:
        """The score of a step on a part of the clips, if it is known."""
        return next((item for item in self.judged if (item.step, item.part) == (step, part)), None)


def gather(
    source: Path,
    corpus: Path | None = None,
    firmware: Path | None = None,
    on: str = "host",
    progress: Progress = lambda *_: None,
) -> Told:
    """What can be told of the run folder or model file `source`; corpus: recordings to judge a model file
    or a device by; firmware: an exported project of this very model, run on `on`.

    Raises SerqError if one of them cannot be used, or they do not belong together.
    """
    if source.is_dir() or not source.exists():
        told = _from_run(load_run(source), progress)
    else:
        told = _from_model(load_model(source))
        if corpus is not None:
            found = evaluate(told.model, corpus, progress)
            told = _with(told, integer_score=found.score, integer_basis=found.basis)
    if firmware is not None:
        if corpus is None:
            raise SerqError("firmware is judged on recordings; give --corpus too")
        told = _with(told, **_from_device(told.model, firmware, corpus, on, progress))
    return told


def _with(told: Told, **changes: Any) -> Told:
    return Told(**{**told.__dict__, **changes})


def _from_run(run: Run, progress: Progress) -> Told:
    model, allocation = quantize(run, progress=progress)
    spec = FeatureSpec.from_json(run.config.get("features"))
    lowering = Lowering(run.network, run.calibration, spec, build_tables(spec), run.labels)
    held = run.members("test")
    fixed = []
    for bits in range(MIN_BITS, MAX_BITS + 1):
        answers = classify(lowering.model([bits] * len(model.layers)), run.pooled[0, held])
        fixed.append(_point(bits, Score.of(run.truth[held], answers, run.labels)))
        progress("judging every width", bits, MAX_BITS)
    return Told(
        model=model,
        layers=_layers(model, allocation),
        judged=tuple(
            Judged(s, part, _point(0, allocation.scores[s][part]), allocation.scores[s][part].n)
            for part in JUDGED
            for s in STEPS
        ),
        average_bits=model.average_bits,
        fixed=tuple(fixed),
        added=tuple(map(tuple, measure(lowering, run.validation, progress).added.tolist())),
        float_score=run.float_score("test"),
        integer_score=Score.of(run.truth[held], classify(model, run.pooled[0, held]), run.labels),
        integer_basis="the clips that were held out from training and from every choice",
    )


def _layers(model: QuantizedModel, allocation: Allocation) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            shape=f"{choice.inputs} x {choice.outputs}",
            width=_width(layer.bits, str(layer.width)),
            bits=layer.bits,
            importance=choice.importance.importance,
            rank=choice.importance.rank + 1,
            margin=choice.importance.margin,
            required=choice.required,
            tried=tuple((trial.bits, trial.accuracy) for trial in choice.trials),
            reason=choice.reason,
        )
        for choice, layer in zip(allocation.layers, model.layers, strict=True)
    )


def _from_model(model: QuantizedModel) -> Told:
    """What a model's file says of its making; nothing of it where the file says nothing."""
    kept = model.provenance.get("allocation") or []
    try:
        layers = tuple(
            Layer(
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
            for item, layer in zip(kept, model.layers, strict=bool(kept))
        )
        judged = tuple(
            Judged(
                step, part, Point(0, float(values["accuracy"]), tuple(values["interval95"])), int(values["n"])
            )
            for key, step in (("float", STEPS[0]), ("quantized", STEPS[-1]))
            for part, values in (model.provenance.get("metrics") or {}).get(key, {}).items()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SerqError(
            f"what the model's file says of its making cannot be read ({error!r}); quantize it again"
        ) from error
    return Told(model, layers, judged, model.average_bits)


def _from_device(
    model: QuantizedModel, firmware: Path, corpus: Path, on: str, progress: Progress
) -> dict[str, Any]:
    """The device's answers on the clips that the model is judged by."""
    project, own = read_project(firmware), load_model(firmware / MODEL)
    if own.identity != model.identity:
        raise SerqError(
            f"{firmware} holds model {own.identity.hex()}, and this is {model.identity.hex()}; export this"
            " one, or report on that one"
        )
    clips, _, _ = choose_clips(model, load_corpus(corpus))
    if not clips:
        raise SerqError(
            f"{corpus}: no clip is of a class the model knows ({', '.join(model.labels)}); give another"
            " corpus"
        )
    with open_target(project, on) as target:
        report = verify(
            model,
            recordings(clips, model.spec.sample_rate),
            target,
            lambda done: progress("asking the device", done, len(clips)),
        )
    answers = {outcome.clip: outcome.answer for outcome in report.compared}
    judged = [clip for clip in clips if clip.name in answers]
    truth, said = (
        np.array([model.labels.index(name) for name in names])
        for names in ([c.label for c in judged], [answers[c.name] for c in judged])
    )
    return {"device": report, "device_score": Score.of(truth, said, model.labels)}


def _point(x: float, score: Score) -> Point:
    return Point(x, score.accuracy, score.interval)


def _width(bits: int, width: str) -> str:
    return width if not width.isdecimal() else f"{bits} bit{'s' if bits > 1 else ''}"
