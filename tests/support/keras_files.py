"""`.keras` files, made without Keras."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np


def keras_archive(
    path: Path, layers: list[dict[str, object]], arrays: dict[str, np.ndarray], kind: str = "Sequential"
) -> Path:
    """Write a `.keras` file of these layers' configurations and arrays by path."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"class_name": kind, "config": {"layers": layers}}))
        archive.writestr("model.weights.h5", stored.getvalue())
    return path


def dense(units: int, activation: str = "relu", **config: object) -> dict[str, object]:
    """The configuration of a Dense layer."""
    return {
        "class_name": "Dense",
        "config": {"name": "dense", "units": units, "activation": activation, "use_bias": True, **config},
    }
