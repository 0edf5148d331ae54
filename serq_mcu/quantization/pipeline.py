"""A trained run to the integer model, with the account of its bits and of where accuracy went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.metrics import Score
from serq_mcu.base.progress import Progress
from serq_mcu.base.validation import changed
from serq_mcu.config import ADAPTIVE, MAX_BITS, QuantizationConfig
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers.encodings import Width
from serq_mcu.quantization.allocation import Judge, LayerChoice, ValidationData, choose_widths
from serq_mcu.quantization.budgeted import WidthBudget, WidthPlan, byte_costs, measure, plan_widths
from serq_mcu.quantization.decision import decision_rule
from serq_mcu.quantization.lowering import Lowering, TunedNetwork, dequantized, device_inputs
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.run_folder import PARTS, Run
from serq_mcu.quantized_model.interpreter import best_labels
from serq_mcu.quantized_model.types import NO_SPEECH_LABEL, QuantizedModel
from serq_mcu.version import __version__

STEPS = ("float", "inputs quantized", "weights quantized", "all integers")
JUDGED = ("validation", "test")
WITHIN_BUDGET = "of the widths that lose least within the budget"


class Tuner(Protocol):
    """What trains a run's networks on with quantizers in place (training/qat.py)."""

    def tune(self, lowering: Lowering, widths: Sequence[Width]) -> TunedNetwork:
        """Fine-tune on training clips, until validation clips say that it is best."""

    def retune(self, lowering: Lowering, widths: Sequence[Width], epochs: int) -> TunedNetwork:
        """Fine-tune on training and validation clips, for as many epochs."""

    def judges(self, lowering: Lowering) -> Sequence[Judge]:
        """Train networks on the inner folds of these clips, which judge what they are worth fine-tuned."""


@dataclass(frozen=True)
class Allocation:
    """How a model's bits were chosen, and what each step of quantization did to accuracy.

    judging_clips: how many clips chose the bits, with so many `judges`, each for its part of them.
    plan: how a budget chose the bits, if one did. fine_tuned: whether the network was trained on with its
    quantizers in place (quantization-aware training). scores: for each of STEPS, in order, the score on
    validation and test clips as recorded (no score of test clips entered a choice).
    """

    config: QuantizationConfig
    layers: tuple[LayerChoice, ...]
    scores: dict[str, dict[str, Score]]
    judging_clips: int
    judges: int
    validation_versions: int
    average_bits: float
    weights_only_bytes: float
    float_bytes: int
    fine_tuned: bool = False
    plan: WidthPlan | None = None

    @property
    def widths(self) -> tuple[Width, ...]:
        """The width of each layer."""
        return tuple(layer.bits for layer in self.layers)

    @property
    def float_scores(self) -> dict[str, Score]:
        """The float network, by part."""
        return self.scores[STEPS[0]]

    @property
    def quantized_scores(self) -> dict[str, Score]:
        """The integer model, by part."""
        return self.scores[STEPS[-1]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, name to value."""
        return {
            "method": self.config.method,
            "alpha": self.config.alpha,
            "margin": self.config.margin,
            "fine_tuned": self.fine_tuned,
            "budget": None if self.plan is None else self.plan.to_json(),
            "widths": list(self.widths),
            "average_bits": self.average_bits,
            "weights_only_bytes": self.weights_only_bytes,
            "float_bytes": self.float_bytes,
            "judging_clips": self.judging_clips,
            "judges": self.judges,
            "validation_versions": self.validation_versions,
            "layers": [layer.to_json() for layer in self.layers],
            "accuracy": {
                step: {part: score.to_json() for part, score in parts.items()}
                for step, parts in self.scores.items()
            },
        }


def quantize(
    run: Run, progress: Progress | None = None, tuner: Tuner | None = None, budget: WidthBudget | None = None
) -> tuple[QuantizedModel, Allocation]:
    """Quantize a run as its configuration says: the integer model and the account of its bits.

    `run.changed(quantization={"margin": 0.01})` quantizes otherwise. `tuner` fine-tunes the network at the
    widths chosen, and the networks of inner folds that choose them by importance; without it quantization is
    post-training, and the run's own validation clips choose. A `budget` chooses the widths in place of the
    configuration's method and bytes. Where validation clips train the network that ships, another that never
    saw them chooses: bits, epochs of fine-tuning, and when an answer is unsure. The same run and options give
    the same model, byte for byte. Raises SerqError if the configuration does not fit the network.
    """
    lowering, config = lower(run), run.config.quantization
    judges = width_judges(lowering, run.validation, config, tuner)
    layers, plan = allocate(lowering.network, judges, config, budget, progress)
    widths = [layer.bits for layer in layers]
    final = lower(run, run.network) if run.chooser else None
    chooser, bare = model_pair(lowering, final, widths, tuner)
    sizes = bare.average_bits, bare.weights_only_bytes, 4 * bare.parameters
    allocation = Allocation(
        config,
        layers,
        _scores(run, bare, chooser),
        sum(judge.validation.clips for judge in judges),
        len(judges),
        len(run.pooled),
        *sizes,
        fine_tuned=tuner is not None,
        plan=plan,
    )
    decision = decision_rule(chooser, run.config.decision, *_spoken_validation(run))
    voices, windows = run.voices, run.config.voice.windows
    voice = None if voices is None else voices.prior(bare.input, windows)
    provenance = _provenance(run, allocation)
    return replace(bare, provenance=provenance, decision=decision, voice=voice), allocation


def allocate(
    network: FloatNetwork,
    judges: Sequence[Judge],
    config: QuantizationConfig,
    budget: WidthBudget | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[LayerChoice, ...], WidthPlan | None]:
    """Choose the bits of each layer of a network, as the configuration says or within a budget.

    Where the margin asks for more than `max_bytes`, these are the budget. Returns the choices, and the plan
    if a budget made them. Raises SerqError if no widths fit.
    """
    if budget is not None:  # no width is tried, only importance is computed
        layers = choose_widths(network, judges, changed(config, method=str(MAX_BITS)))
    else:
        layers = choose_widths(network, judges, config, progress)
        if config.method != ADAPTIVE or not config.max_bytes:
            return layers, None
        budget = WidthBudget(byte_costs(network.parameters), config.max_bytes, "bytes")
        if budget.cost([int(layer.bits) for layer in layers]) <= budget.most:
            return layers, None
    plan = plan_widths(judges, budget, measure(judges, progress))
    chosen = zip(layers, plan.widths, strict=True)
    return tuple(replace(layer, bits=bits, reason=WITHIN_BUDGET) for layer, bits in chosen), plan


def width_judges(
    lowering: Lowering, validation: ValidationData, config: QuantizationConfig, tuner: Tuner | None
) -> Sequence[Judge]:
    """Return what judges widths: networks of inner folds, fine-tuned; or validation clips, post-training.

    Where the widths are given, nothing has to be trained to choose them.
    """
    if tuner is not None and config.method == ADAPTIVE and config.folds:
        return tuner.judges(lowering)
    return [Judge.after_training(lowering, validation)]


def model_pair(
    lowering: Lowering, final: Lowering | None, widths: Sequence[Width], tuner: Tuner | None
) -> tuple[QuantizedModel, QuantizedModel]:
    """Make the model of the network that chooses, and that of the `final` one; without it, they are the same.

    With a tuner both are fine-tuned. Raises SerqError if a bound cannot be proved.
    """
    tuned = tuner.tune(lowering, widths) if tuner else None
    chooser = lowering.tuned_model(tuned) if tuned else lowering.model(widths)
    if final is None:
        return chooser, chooser
    if tuner is None or tuned is None:
        return chooser, final.model(widths)
    return chooser, final.tuned_model(tuner.retune(final, widths, tuned.epochs))


def lower(run: Run, network: FloatNetwork | None = None) -> Lowering:
    """Return a network of a run with all that lowers it to integers; by default the one that chooses."""
    spec = run.config.features
    return Lowering(network or run.unbiased, run.calibration, spec, build_tables(spec), run.labels)


def _spoken_validation(run: Run) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return features int32 [clips, features] and labels of validation clips as recorded that are answered.

    They are of speech: neither of the class "no speech" nor without features.
    """
    members = run.members("validation")
    pooled, truth = run.pooled[0, members], run.truth[members]
    spoken = (np.array(run.labels)[truth] != NO_SPEECH_LABEL) & (pooled != MISSING).any(axis=1)
    return pooled[spoken], truth[spoken]


def _scores(run: Run, model: QuantizedModel, chooser: QuantizedModel) -> dict[str, dict[str, Score]]:
    judged = {"validation": (run.unbiased, chooser), "test": (run.network, model)}
    found = {part: step_scores(run, *judged[part], part) for part in JUDGED}
    return {step: {part: found[part][step] for part in JUDGED} for step in STEPS}


def step_scores(run: Run, network: FloatNetwork, model: QuantizedModel, part: str) -> dict[str, Score]:
    """Score each of STEPS from a network of `run` to the model made of it, on the clips of one of PARTS."""
    members = run.members(part)
    pooled, truth = run.pooled[0, members], run.truth[members]
    inputs = device_inputs(model, pooled)
    predictions = (
        network.classify(network.standardise(pooled)),
        network.classify(inputs),
        dequantized(model, network).classify(inputs),
        best_labels(model, pooled),
    )
    return {
        step: Score.of(truth, run.answers(predicted, pooled), run.labels)
        for step, predicted in zip(STEPS, predictions, strict=True)
    }


def _provenance(run: Run, allocation: Allocation) -> dict[str, Any]:
    """Return what the model file tells of its making.

    No time stamp and no path: the same run gives the same bytes.
    """

    def brief(scores: dict[str, Score]) -> dict[str, Any]:
        keys = ("accuracy", "n", "correct", "interval95", "uar")
        return {part: {key: score.to_json()[key] for key in keys} for part, score in scores.items()}

    return {
        "corpus": run.corpus,
        "clips": {part: len(run.members(part)) for part in PARTS},
        "held_out": run.names_of("test"),
        "validation": run.names_of("validation"),
        "validated_by": run.validated_by,
        "recordings": {part: run.recordings_of(part) for part in PARTS},
        "run": run.digest,
        "split": run.config.training.split,
        "seed": run.config.training.seed,
        "config": run.config.to_json(),
        "fine_tuned": allocation.fine_tuned,
        "budget": None if allocation.plan is None else allocation.plan.to_json(),
        "metrics": {"float": brief(allocation.float_scores), "quantized": brief(allocation.quantized_scores)},
        "allocation": [
            {
                "bits": layer.bits,
                "importance": layer.importance.importance,
                "rank": layer.importance.rank,
                "margin": layer.importance.margin,
                "required": layer.required,
                "tried": [[trial.bits, trial.accuracy] for trial in layer.trials],
                "reason": layer.reason,
            }
            for layer in allocation.layers
        ],
        "versions": run.versions | {"serq-mcu": __version__, "numpy": np.__version__},
    }
