"""The generated C that was reviewed: of models that between them have every kind of stage.

    python -m tests.support.golden

writes it anew into tests/golden. Read the difference before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.plan import Plan
from serq_mcu.frontend.blocks import F0, Chroma, Energy, Mel, Mfcc, Voicing
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantized_model.types import QuantizedModel
from tests.support.models import made_up_model

FOLDER = Path(__file__).parents[1] / "golden"
FILES = ("serq_model.h", "serq_model.c")
HOSTILE = '"; } int x = 0;'  # a class name that would end a string and begin a statement
BOARD = "emulated-m4f"


def deciding_model() -> QuantizedModel:
    """A model of mfcc alone that answers while sound comes, with class names made to break out of C."""
    return made_up_model((16, 9, 3), (3, 8, 1), labels=("anger", HOSTILE, "日本語 */ ??/ %s \\"))


def centred_model() -> QuantizedModel:
    """A model of mel and chroma, whose clips are padded at both ends and which decides on whole clips."""
    blocks = (Mel(20, ("mean", "sd")), Chroma(12, ("mean", "delta_sd")))
    spec = FeatureSpec(
        name="centred",
        fft_length=512,
        window_length=400,
        hop_length=160,
        mel_bands=20,
        center=True,
        blocks=blocks,
    )
    return made_up_model((8, 4), ("ternary", 5), spec=spec)


def selecting_model() -> QuantizedModel:
    """A model with pitch, a block of voiced frames alone, percentiles, and both ways to say "no speech"."""
    mfcc = Mfcc(7, ("mean", "p10", "p90"), loudness=False, bands=16)
    blocks = (mfcc, F0(1, ("delta_mean", "p50")), Voicing(2, ("sd",)), Energy())
    spec = FeatureSpec(name="selects", mel_bands=20, tiers=2, speech_frames=6, blocks=blocks)
    return made_up_model((8, 3), (2, 4), spec=spec, labels=("anger", "neutral", "no speech"))


MODELS: dict[str, Callable[[], QuantizedModel]] = {
    "decides": deciding_model,
    "centred": centred_model,
    "selects": selecting_model,
}


def generated(model: QuantizedModel) -> dict[str, str]:
    """The text of FILES for a model.

    Its identity is left out: that covers tables whose last bits depend on the platform's cosine.
    """
    files = Plan(model, load_board(BOARD)).model_files
    identity = ", ".join(map(str, model.identity))
    return {
        name: files[f"lib/serq/src/{name}"]
        .decode()
        .replace(model.sha256[:16], "IDENTITY")
        .replace(identity, "IDENTITY")
        for name in FILES
    }


if __name__ == "__main__":
    for kind, make in MODELS.items():
        (FOLDER / kind).mkdir(parents=True, exist_ok=True)
        for name, text in generated(make()).items():
            (FOLDER / kind / name).write_text(text)
