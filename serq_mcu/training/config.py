"""One configuration for features, training, quantization and decisions: default.toml, and what a user's
file changes in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from serq_mcu.corpus.conditions import Condition
from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantization.allocation import QuantizationConfig
from serq_mcu.quantization.decision import DecisionConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CLIPS, SPEAKERS = PROTOCOLS = ("clips", "speakers")
LABELS, KERNEL = TEACHERS = ("labels", "kernel")
DRAWN_ROOM = "diffuse"  # the rooms of training; the other kind is kept for measuring


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained and the clips are split; default.toml says what each means.

    Raises SerqError on values out of range.
    """

    hidden: tuple[int, ...]
    dropout: float
    tuning_dropout: float
    learning_rate: float
    batch_size: int
    hearings: int
    max_epochs: int
    patience: int
    weight_decay: float
    label_smoothing: float
    mixup: float
    teacher: str
    ensemble: int
    protocol: str
    folds: int
    split: int
    validation_fraction: float
    seed: int

    def __post_init__(self) -> None:
        _require(
            len(self.hidden) <= 7 and all(1 <= n <= 4096 for n in self.hidden),
            "hidden must be at most 7 widths from 1 to 4096",
        )
        for name in ("dropout", "tuning_dropout"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")
        _require(0 < self.learning_rate <= 1, "learning_rate must be above 0 and at most 1")
        _require(self.batch_size >= 1, "batch_size must be at least 1")
        _require(1 <= self.hearings <= 1000, "hearings must be 1 to 1000")
        _require(self.max_epochs >= 1, "max_epochs must be at least 1")
        _require(self.patience >= 1, "patience must be at least 1")
        _require(0 <= self.weight_decay <= 1, "weight_decay must be 0 to 1")
        _require(0 <= self.label_smoothing < 1, "label_smoothing must be at least 0 and below 1")
        _require(0 <= self.mixup <= 10, "mixup must be 0 to 10")
        _require(self.teacher in TEACHERS, f"teacher must be one of {', '.join(TEACHERS)}")
        _require(1 <= self.ensemble <= 100, "ensemble must be 1 to 100")
        _require(self.folds >= 2, "folds must be at least 2")
        _require(self.protocol in PROTOCOLS, f"protocol must be one of {', '.join(PROTOCOLS)}")
        last = (
            self.folds - 1 if self.protocol == CLIPS else 10**6
        )  # how many speakers there are, the recordings say
        _require(0 <= self.split <= last, f"split must be 0 to {last}, one of the {self.folds} folds")
        _require(0 < self.validation_fraction <= 0.5, "validation_fraction must be above 0 and at most 0.5")
        _require(0 <= self.seed < 2**32, "seed must be 0 to 2^32 - 1")


@dataclass(frozen=True)
class AugmentationConfig:
    """What the versions of a clip are drawn from; default.toml says what each means.

    Ranges are (low, high). Raises SerqError.
    """

    versions: int
    speed: tuple[float, float]
    room_share: float
    reverberation: tuple[float, float]
    noise_share: float
    noises: tuple[str, ...]
    snr_db: tuple[float, float]
    gain_db: tuple[float, float]

    def __post_init__(self) -> None:
        _require(0 <= self.versions <= 1000, "versions must be 0 to 1000", "augmentation")
        for name in ("room_share", "noise_share"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must be 0 to 1", "augmentation")
        for name in ("speed", "reverberation", "snr_db", "gain_db"):
            ends = getattr(self, name)
            _require(
                len(ends) == 2 and ends[0] <= ends[1], f"{name} must be a range [low, high]", "augmentation"
            )
        _require(
            bool(self.noises) or not self.noise_share,
            "noises must name at least one kind where noise_share is above 0",
            "augmentation",
        )
        for end in (0, 1):  # the ends of what can be drawn are conditions that there are
            for noise in self.noises or ("",):
                Condition(
                    self.speed[end],
                    DRAWN_ROOM,
                    self.reverberation[end],
                    noise,
                    self.snr_db[end],
                    self.gain_db[end],
                )


Section = TypeVar("Section", AugmentationConfig, TrainingConfig)


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on, besides the recordings."""

    features: FeatureSpec
    augmentation: AugmentationConfig
    training: TrainingConfig
    quantization: QuantizationConfig
    decision: DecisionConfig

    def to_json(self) -> dict[str, Any]:
        """Plain values, a table per section."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self) | {"features": self.features.to_json()}))
        return plain

    def to_toml(self) -> str:
        """The whole configuration as a file that `load_config` reads back."""
        sections = self.to_json().items()
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
            for name, table in sections
        )

    def without_augmentation(self) -> Config:
        """The same with every clip only as recorded."""
        return replace(self, augmentation=replace(self.augmentation, versions=0))

    def with_folds(self, folds: int) -> Config:
        """The same with so many folds of the clips."""
        return replace(self, training=replace(self.training, folds=folds))

    def with_split(self, split: int) -> Config:
        """The same with another fold held out."""
        return replace(self, training=replace(self.training, split=split))


def load_config(path: Path | None = None, split: int | None = None) -> Config:
    """The default configuration, changed by the TOML file at `path` and then by `split`.

    Raises SerqError, naming the key, when the file cannot be read, has a key that is not known, or a value of
    the wrong type or out of range.
    """
    plain = tomllib.loads(resources.files(__package__).joinpath("default.toml").read_text(encoding="utf-8"))
    if path is not None:
        try:
            _merge(plain, _read(path))
            config = _config(plain)
        except SerqError as error:
            raise SerqError(f"{path}: {error}") from error
    else:
        config = _config(plain)
    return config if split is None else config.with_split(split)


def training_config(plain: Mapping[str, Any]) -> TrainingConfig:
    """What a run's [training] says, in plain values; what a run from before there was a key does not say
    is the default's.
    """
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
    }
    return replace(load_config().training, **values)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SerqError(f"cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SerqError(f"is not a TOML file: {error}") from error


def _merge(plain: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change `plain` in place; each key must be there already, with a value of the same type."""
    for section, table in changes.items():
        if section not in plain or not isinstance(table, dict):
            raise SerqError(
                f"{section!r} is not one of the sections {', '.join(f'[{name}]' for name in plain)}"
            )
        for key, value in table.items():
            if key not in plain[section]:
                raise SerqError(f"unknown key {section}.{key}; known are {', '.join(plain[section])}")
            plain[section][key] = _like(plain[section][key], value, f"{section}.{key}")


def _like(example: Any, value: Any, name: str) -> Any:
    """`value`, if it has the type of `example`; whole numbers pass for floats."""
    if isinstance(example, float) and type(value) is int:
        return float(value)
    if type(value) is not type(example):
        kinds = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            str: "a text",
            list: "a list",
        }
        raise SerqError(f"{name} must be {kinds[type(example)]}, not {value!r}")
    if isinstance(example, list):
        return [
            _like(example[0], item, f"each entry of {name}") if not isinstance(example[0], dict) else item
            for item in value
        ]
    return value


def _config(plain: dict[str, Any]) -> Config:
    def section(kind: type[Section], name: str) -> Section:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain[name].items()
        }
        assert set(values) == {field.name for field in fields(kind)}, (
            f"default.toml and {kind.__name__} disagree"
        )
        return kind(**values)

    features, quantization = (
        FeatureSpec.from_json(plain["features"]),
        QuantizationConfig(**plain["quantization"]),
    )
    decision = DecisionConfig(**plain["decision"])
    return Config(
        features,
        section(AugmentationConfig, "augmentation"),
        section(TrainingConfig, "training"),
        quantization,
        decision,
    )


def _toml(value: Any) -> str:
    """A plain value in TOML, whose scalars and lists are written as in JSON, but not its tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _require(condition: bool, message: str, section: str = "training") -> None:
    if not condition:
        raise SerqError(f"{section}.{message}")
