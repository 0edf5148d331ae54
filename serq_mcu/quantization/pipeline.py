"""A trained run to the integer model, with the account of how its bits were chosen and where accuracy
went.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu import __version__
from serq_mcu.base.metrics import Score
from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.quantization.allocation import LayerChoice, QuantizationConfig, choose_widths
from serq_mcu.quantization.budgeted import WidthBudget, WidthPlan, measure, plan_widths
from serq_mcu.quantization.decision import DecisionConfig, decision_rule
from serq_mcu.quantization.lowering import Lowering, TunedNetwork, dequantized, device_inputs
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.run_folder import PARTS, Run, load_run
from serq_mcu.quantized_model.interpreter import classify
from serq_mcu.quantized_model.types import QuantizedModel, Width

STEPS = ("float", "inputs quantized", "weights quantized", "all integers")
JUDGED = ("validation", "test")

Tune = Callable[[Lowering, Sequence[Width]], TunedNetwork]


@dataclass(frozen=True)
class Allocation:
    """How a model's bits were chosen, and what each step of quantization did to accuracy.

    plan: how a budget chose the bits, if one did. fine_tuned: whether the network was trained on with its
    quantizers in place (quantization-aware training). scores: for each of STEPS, in order, the score on
    validation and test clips as recorded (no score of test clips entered a choice).
    """

    config: QuantizationConfig
    layers: tuple[LayerChoice, ...]
    scores: dict[str, dict[str, Score]]
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
        """Plain values."""
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
            "validation_versions": self.validation_versions,
            "layers": [layer.to_json() for layer in self.layers],
            "accuracy": {
                step: {part: score.to_json() for part, score in parts.items()}
                for step, parts in self.scores.items()
            },
        }


def quantize_run(
    folder: Path,
    method: str | None = None,
    alpha: float | None = None,
    margin: float | None = None,
    progress: Callable[..., None] | None = None,
    tuner: Callable[[Run], Tune] | None = None,
    budget: Callable[[FloatNetwork], WidthBudget] | None = None,
) -> tuple[QuantizedModel, Allocation]:
    """`quantize` for the run in `folder`, fine-tuned by what `tuner` makes for it, within what `budget`
    says of its network, if given.

    Raises SerqError if the run is missing or damaged, or an option is out of range.
    """
    run = load_run(folder)
    return quantize(
        run,
        method,
        alpha,
        margin,
        progress,
        tuner(run) if tuner else None,
        budget(run.network) if budget else None,
    )


def quantize(
    run: Run,
    method: str | None = None,
    alpha: float | None = None,
    margin: float | None = None,
    progress: Callable[..., None] | None = None,
    tune: Tune | None = None,
    budget: WidthBudget | None = None,
) -> tuple[QuantizedModel, Allocation]:
    """The integer model of a run and the account of its bits; what is None comes from the run's
    configuration.

    `tune` fine-tunes the network at the widths chosen; without it quantization is post-training. A `budget`
    chooses the widths instead of a method. The same run and options give the same model, byte for byte.
    Raises SerqError if an option is out of range.
    """
    if budget is not None and method is not None:
        raise SerqError(f"the method {method} and a budget both choose the bits; give one of them")
    config = _options(run, method, alpha, margin)
    spec = FeatureSpec.from_json(run.config.get("features"))
    lowering = Lowering(run.network, run.calibration, spec, build_tables(spec), run.labels)
    plan = (
        plan_widths(lowering, run.validation, budget, measure(lowering, run.validation, progress))
        if budget
        else None
    )
    if plan is not None:
        config = replace(config, method=",".join(map(str, plan.widths)))
    layers = choose_widths(lowering, run.validation, config, progress)
    widths = [layer.bits for layer in layers]
    bare = lowering.tuned_model(tune(lowering, widths)) if tune else lowering.model(widths)
    scores = _scores(run, bare)
    sizes = bare.average_bits, bare.weights_only_bytes, 4 * bare.parameters
    allocation = Allocation(
        config, layers, scores, len(run.pooled), *sizes, fine_tuned=tune is not None, plan=plan
    )
    decision = decision_rule(bare, _decision_config(run), run.pooled[0, run.members("validation")])
    return replace(bare, provenance=_provenance(run, allocation), decision=decision), allocation


def _decision_config(run: Run) -> DecisionConfig:
    try:
        return DecisionConfig(**run.config["decision"])
    except (KeyError, TypeError) as error:
        raise SerqError(f"the run's configuration has no usable [decision] ({error}); train again") from error


def _options(run: Run, method: str | None, alpha: float | None, margin: float | None) -> QuantizationConfig:
    given = {"method": method, "alpha": alpha, "margin": margin}
    try:
        return QuantizationConfig(
            **{
                **run.config["quantization"],
                **{key: value for key, value in given.items() if value is not None},
            }
        )
    except (KeyError, TypeError) as error:
        raise SerqError(
            f"the run's configuration has no usable [quantization] ({error}); train again"
        ) from error


def _scores(run: Run, model: QuantizedModel) -> dict[str, dict[str, Score]]:
    scores: dict[str, dict[str, Score]] = {step: {} for step in STEPS}
    for part in JUDGED:
        members = run.members(part)
        pooled, truth = run.pooled[0, members], run.truth[members]
        inputs = device_inputs(model, pooled)
        predictions = (
            run.network.classify(run.network.standardise(pooled)),
            run.network.classify(inputs),
            dequantized(model, run.network).classify(inputs),
            classify(model, pooled),
        )
        for step, predicted in zip(STEPS, predictions, strict=True):
            scores[step][part] = Score.of(truth, predicted, run.labels)
    return scores


def _provenance(run: Run, allocation: Allocation) -> dict[str, Any]:
    """What the model file says of its making.

    No time stamp and no path: the same run gives the same bytes.
    """

    def brief(scores: dict[str, Score]) -> dict[str, Any]:
        keys = ("accuracy", "n", "correct", "interval95", "uar")
        return {part: {key: score.to_json()[key] for key in keys} for part, score in scores.items()}

    training = run.config.get("training", {})
    return {
        "corpus": run.corpus,
        "clips": {part: len(run.members(part)) for part in PARTS},
        "held_out": run.names_of("test"),
        "validation": run.names_of("validation"),
        "split": training.get("split"),
        "seed": training.get("seed"),
        "config": (
            run.config
            | {
                "quantization": {
                    "method": allocation.config.method,
                    "alpha": allocation.config.alpha,
                    "margin": allocation.config.margin,
                }
            }
        ),
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
