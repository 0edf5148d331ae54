"""Configurations that train in seconds, and a run that nobody trained."""

from __future__ import annotations

import numpy as np

from serq_mcu.config import Config, load_config
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.run_folder import Run


def small_config(**changes: object) -> Config:
    """A small network for six epochs, taught by labels, whose validation clips choose the bits.

    `changes` are of its [training] section.

    The tones that it trains on are no speech, so that every clip counts.
    """
    small = {
        "hidden": (16, 8),
        "max_epochs": 6,
        "validation_fraction": 0.2,
        "teacher": "labels",
        "batch_size": 32,
        "learning_rate": 0.001,
        "presentations": 10,
        "folds": 5,
    }
    return load_config().changed(
        features={"speech_frames": 0},
        augmentation={"versions": 2},
        training={**small, **changes},
        quantization={"folds": 0},
    )


def made_up_run() -> Run:
    """A run of a small untrained network on two classes of made-up features."""
    rng, spec = np.random.default_rng(0), FeatureSpec(mel_bands=10, blocks=(Mfcc(8),))
    truth = np.arange(40) % 2
    pooled = (rng.normal(0, 3000, (1, 40, spec.feature_count)) + 4000 * truth[:, None]).astype(np.int32)
    kernels = tuple(
        rng.normal(0, 0.3, shape).astype(np.float32).astype(np.float64)
        for shape in ((spec.feature_count, 64), (64, 2))
    )
    network = FloatNetwork.mlp(
        kernels, (np.zeros(64), np.zeros(2)), pooled[0].mean(axis=0), pooled[0].std(axis=0)
    )
    config = load_config().changed(features=spec.to_json())
    parts = (np.arange(40) // 14).astype(np.uint8)
    return Run(
        config,
        "made",
        ("calm", "loud"),
        tuple(f"c{i}" for i in range(40)),
        ("",) * 40,
        tuple(f"{i:012x}" for i in range(40)),
        pooled,
        truth,
        parts,
        "speaker b, who does not train",
        network,
        1,
        1,
        {},
    )
