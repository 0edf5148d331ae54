"""How a network's bits were chosen, as text."""

from __future__ import annotations

from collections.abc import Sequence

from serq_mcu.config import MAX_BITS, MIN_BITS
from serq_mcu.layers.encodings import width_label
from serq_mcu.quantization.allocation import LayerChoice
from serq_mcu.quantization.budgeted import WidthPlan
from serq_mcu.quantization.importance import LayerImportance
from serq_mcu.quantization.pipeline import JUDGED, STEPS, Allocation
from serq_mcu.show.table import Column, Table


def allocation_lines(allocation: Allocation) -> list[str]:
    """Return each layer's choice, the accuracy after each step, and the sizes as lines of text."""
    config = allocation.config
    by_rank = sorted(allocation.layers, key=lambda layer: layer.importance.rank)
    weights, floats = allocation.weights_only_bytes, allocation.float_bytes
    return [
        f"method {config.method}, alpha {config.alpha:g}, margin {config.margin:.2%}; chosen on"
        f" {_basis(allocation)}",
        *(line for layer in by_rank for line in choice_lines(layer)),
        *(plan_lines(allocation.plan, allocation.layers) if allocation.plan else []),
        *(["fine-tuned at these bits (quantization-aware training)"] if allocation.fine_tuned else []),
        *_score_lines(allocation),
        f"bits per layer: {' '.join(map(str, allocation.widths))}; average {allocation.average_bits:.2f}",
        f"weights only: {weights:.0f} bytes, {weights / 1000:.1f} KB; as floats {floats / 1000:.1f} KB",
    ]


def choice_lines(choice: LayerChoice) -> list[str]:
    """Return a layer's importance, the widths that were tried, and the reason for its bits."""
    it = choice.importance
    head = (
        f"{_name(it)} ({choice.inputs}x{choice.outputs}), rank {it.rank + 1}: importance"
        f" {it.importance:.3f} (parameters {it.parameter_share:.3f}, variance {it.variance:.2e} as"
        f" {it.variance_term:.3f}), margin {it.margin:.2%}, so at least {choice.required:.2%}"
    )
    tried = []
    for trial in choice.trials:
        low, high = trial.interval95
        kept = " kept" if trial.accepted else ""
        accuracy = f"{trial.accuracy:.2%} (95 % interval {low:.1%} to {high:.1%})"
        tried.append(f"  {width_label(trial.bits)}: {accuracy}{kept}")
    return [head, *tried, f"  {width_label(choice.bits)}: {choice.reason}"]


def _name(of: LayerImportance) -> str:
    return f"layer {of.layer}" + (f", {of.matrix} matrix" if of.matrix else "")


def plan_lines(plan: WidthPlan, layers: Sequence[LayerChoice]) -> list[str]:
    """Return what each width of each layer alone adds to the loss, and the best widths within the budget."""
    bits = range(MIN_BITS, MAX_BITS + 1)
    head = (Column("  added validation loss, by bits"), *(Column(str(n), "right", "+.3f") for n in bits))
    named = zip(layers, plan.added, strict=True)
    table = Table(head, [(f"  {_name(layer.importance)}", *row) for layer, row in named])
    cost = f"{plan.cost:.0f} of {plan.budget.most:.0f} {plan.budget.unit}"
    losses = f"loss {plan.loss:.3f}, estimate {plan.base + plan.foreseen:.3f}, {plan.base:.3f} with 8 bits"
    return [
        *table.text(),
        f"within {cost}: {' '.join(map(str, plan.widths))}, the best of {plan.judged} combinations evaluated"
        f" as models ({losses} everywhere)",
    ]


def _score_lines(allocation: Allocation) -> list[str]:
    return [f"{f'{step}, {part}:':<32}{allocation.scores[step][part]}" for part in JUDGED for step in STEPS]


def _basis(allocation: Allocation) -> str:
    versions = allocation.validation_versions
    each = f", each in {versions} versions" if versions > 1 else ""
    if allocation.judges > 1:
        whose = f"clips of {allocation.judges} inner folds, by fine-tuned networks that never saw them"
    else:
        whose = "validation clips"
    return f"{allocation.judging_clips} {whose}{each}"
