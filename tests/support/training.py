"""Configurations that train in seconds."""

from __future__ import annotations

from serq_mcu.config import Config, load_config


def small_config(**changes: object) -> Config:
    """A small network for six epochs, taught by labels; `changes` are of its [training] section.

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
        features={"speech_frames": 0}, augmentation={"versions": 2}, training={**small, **changes}
    )
