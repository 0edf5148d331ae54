"""What a project's firmware does and writes, for its README and for `serq-mcu export`."""

from __future__ import annotations

from typing import Any

from serq_mcu.codegen.plan import Plan

_SILENCE = -10240  # the level of digital silence (SPEC.md section 14)


def purpose(plan: Plan) -> str:
    """Return what the firmware of a plan does once it runs, in one or two sentences."""
    if plan.app == "harness":
        return "The board waits on its serial port for `serq-mcu verify`, and prints nothing by itself."
    if plan.app == "capture":
        return "The board sends what its microphone hears to `serq-mcu record`, and prints nothing readable."
    return (
        f"The board listens, and writes a line of JSON every {_seconds(plan)} seconds: the emotion that it"
        ' hears, "no speech" or "not sure".'
    )


def greeting(plan: Plan) -> dict[str, Any]:
    """Return the first line that the application live writes."""
    return {
        "serq": "live",
        "board": plan.board.name,
        "model": plan.identity,
        "labels": list(plan.model.labels),
    }


def silent_decision(plan: Plan) -> dict[str, Any]:
    """Return the line that the application live writes while nobody speaks, of digital silence."""
    line = {"answer": "no speech", "label": None, "scores": [0] * len(plan.model.labels), "margin": 0}
    line |= {"confidence": None} if plan.model.decision and plan.model.decision.confidence else {}
    line |= {"level": _SILENCE, "frames": 0, "latency_us": 0, "waiting": 0, "overruns": 0}
    return line | ({"voice": 0} if plan.model.voice else {})


def _seconds(plan: Plan) -> str:
    rule, spec = plan.model.decision, plan.model.spec
    assert rule is not None
    return f"{rule.block_frames * spec.hop_length / spec.sample_rate:.1f}"
