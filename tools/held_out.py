"""Models for judging: each as the commands make it, without the voices or clips that it is asked for.

They are kept in build/held_out/, so that whatever asks them need not train them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from serq_mcu.config import Config
from serq_mcu.quantization.pipeline import quantize
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.training.run import Dataset, fine_tuning, fit

KEPT = Path(__file__).parents[1] / "build" / "held_out"


def held_out_model(name: str, config: Config, dataset: Callable[[], Dataset]) -> QuantizedModel:
    """Do what `serq-mcu train` and `serq-mcu quantize` do with a configuration, or read what was kept.

    name: of what it learns from and leaves out; dataset: reads that, if it has to be.
    """
    made_by = hashlib.sha256(json.dumps(config.to_json(), sort_keys=True).encode()).hexdigest()[:8]
    kept = KEPT / f"{name}-{made_by}.serq"
    if not kept.exists():
        run, _ = fit(dataset(), config)
        save_model(quantize(run, tuner=fine_tuning(run))[0], kept)
    return load_model(kept)
