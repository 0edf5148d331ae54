"""Configurations that train in seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serq_mcu.training.config import Config, load_config


def small_config(**changes: object) -> Config:
    """A small network for six epochs; `changes` are of its [training] section."""
    config = load_config()
    small: dict[str, Any] = {"hidden": (16, 8), "max_epochs": 6, "validation_fraction": 0.2}
    return replace(
        config,
        augmentation=replace(config.augmentation, versions=2),
        training=replace(config.training, **small | changes),
    )
