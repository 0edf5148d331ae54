"""Stage identifiers (SPEC.md section 7): the names by which Python, firmware and the harness speak of
intermediate integers.
"""

from __future__ import annotations

from serq_mcu.base.stages import Stage
from serq_mcu.frontend.spec import FeatureSpec

STAGE_WINDOW = 1
STAGE_SPECTRUM = 2
STAGE_POWER = 3
STAGE_MEL = 4
STAGE_LOG = 5
STAGE_MFCC = 6
STAGE_CHROMA = 7
STAGE_POOLED = 16
STAGE_INPUT = 17
STAGE_SCORES = 31
STAGE_ACCUMULATOR = 32  # of layer 0; + 2 for each further layer
STAGE_OUTPUT = 33  # of layer 0; + 2 for each further layer

# One event a frame, where the specification has them; the others have one a decision.
FRAME_STAGES = (STAGE_WINDOW, STAGE_SPECTRUM, STAGE_POWER, STAGE_MEL, STAGE_LOG, STAGE_MFCC, STAGE_CHROMA)
BLOCK_STAGES = {
    "mfcc": STAGE_MFCC,
    "mel": STAGE_LOG,
    "chroma": STAGE_CHROMA,
}  # the stage that a feature block pools

_NAMES = {
    STAGE_WINDOW: "window",
    STAGE_SPECTRUM: "spectrum",
    STAGE_POWER: "power",
    STAGE_MEL: "mel",
    STAGE_LOG: "log",
    STAGE_MFCC: "mfcc",
    STAGE_CHROMA: "chroma",
    STAGE_POOLED: "pooled",
    STAGE_INPUT: "input",
    STAGE_SCORES: "scores",
}


def stage_name(stage: int) -> str:
    """What a stage is called, such as `mel` or `layer 2 output`; `stage 99` for a number without a
    meaning.
    """
    if stage >= STAGE_ACCUMULATOR:
        layer, output = divmod(stage - STAGE_ACCUMULATOR, 2)
        return f"layer {layer} {'output' if output else 'accumulator'}"
    return _NAMES.get(stage, f"stage {stage}")


def frame_stage_table(spec: FeatureSpec) -> tuple[Stage, ...]:
    """The stages of a frame that a specification has, in the order of computing."""
    types = {STAGE_POWER: "uint64", STAGE_MEL: "uint64"}
    kinds = {block.kind for block in spec.blocks}
    there = [STAGE_WINDOW, STAGE_SPECTRUM, STAGE_POWER] + [STAGE_MEL, STAGE_LOG] * spec.uses_mel
    there += [STAGE_MFCC] * ("mfcc" in kinds) + [STAGE_CHROMA] * ("chroma" in kinds)
    return tuple(Stage(_NAMES[stage], types.get(stage, "int32"), per_frame=True) for stage in there)
