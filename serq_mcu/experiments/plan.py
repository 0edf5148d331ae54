"""What an experiment runs: a TOML file of studies, and the tasks that they come to.

A study is a table of corpora x models x features x protocol x seeds, with the methods that each of its
networks is quantized by. A task trains one network, on one split, and evaluates all methods on it; its key
changes with anything that it depends on.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from serq_mcu.base.files import read_regular
from serq_mcu.base.validation import parse_toml
from serq_mcu.config import Config, load_config
from serq_mcu.errors import SerqError
from serq_mcu.experiments.features import FeatureSet, feature_set
from serq_mcu.frontend.blocks import BLOCKS
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.version import __version__

FLOAT, ADAPTIVE, BUDGET = "32", "adaptive", "budget"
METHODS = (FLOAT, *(str(bits) for bits in range(8, 0, -1)), ADAPTIVE, BUDGET)  # "budget:BYTES"
MLP = "mlp"
MODELS = (MLP, "lstm", "gru_attention", "cnn1d")
BY_CORPUS, BY_SPEAKER = "_transductive", "_transductive_by_speaker"
ACROSS = tuple(
    protocol + calibrated for calibrated in ("", BY_CORPUS, BY_SPEAKER) for protocol in ("corpus", "corpora")
)
PROTOCOLS = ("holdout", "clips", "speakers", *ACROSS)  # see Study
SHARED_EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
PLANS = ("paper", "product", "transfer", "validation", "short")
LATER = {  # shares of augmentation that came after rows in docs/ were measured, 0 then; what each draws from
    "pause_share": ("pause",),
    "within_share": ("within",),
    "floor_share": ("floors", "floor_db"),
    "offset_share": ("offset",),
    "band_share": ("bands",),
    "window_share": ("window_blocks", "block_seconds"),
}
LATER_FEATURES = {  # and of features, 0 then; what each reads
    "tiers": ("tier_db",),
    "speech_frames": ("speech_rise_db",),
}

LATER_TRAINING = {"refit": False, "kernel_gamma": 1.0}.items()  # keys that came later, and what there was


@dataclass(frozen=True)
class Study:
    """One table of a plan.

    methods are evaluated by post-training quantization, those in `fine_tuned` by quantization-aware training
    too. protocol "holdout" holds out one stratified fold a seed, "clips" every fold, "speakers" every speaker
    (or group of `speakers_out` of them); "corpus" trains on one corpus and evaluates on each other, "corpora"
    trains on all but one and evaluates on that, both on the six shared emotions. With "_transductive" behind
    it, either standardises each corpus by its own clips, the test clips included; with
    "_transductive_by_speaker", each speaker. training, tuning, quantization and augmentation: what differs
    from base.toml; without an augmentation, or on librosa's features, clips are as recorded only.
    white_noise_db: methods are evaluated in white noise at these signal-to-noise ratios too, where there is
    an augmentation. loss_split: post-training methods are also evaluated with their integer weights, but
    floats for inputs and activations. bar: studies of one bar are candidates for it. In every split the clips
    that it does not hold out are parted into `inner_folds` (speakers, where speakers are held out), each of
    which evaluates once a network that the others train; the candidate that these answers speak for stands
    for the bar in that split (choice.py).
    """

    name: str
    corpora: tuple[str, ...]
    models: tuple[str, ...]
    features: tuple[str, ...]
    methods: tuple[str, ...]
    fine_tuned: tuple[str, ...]
    protocol: str
    folds: int
    seeds: int
    training: Mapping[str, Any]
    tuning: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    white_noise_db: tuple[float, ...] = ()
    loss_split: bool = False
    bar: str = ""
    inner_folds: int = 0

    def __post_init__(self) -> None:
        for kind, given, known in (("model", self.models, MODELS), ("protocol", (self.protocol,), PROTOCOLS)):
            for name in given:
                if name not in known:
                    raise SerqError(f"study {self.name}: {kind} {name!r} is not one of {', '.join(known)}")
        for method in (*self.methods, *self.fine_tuned):
            name, _, budget = method.partition(":")
            if name not in METHODS or (name == BUDGET) != budget.isdecimal():
                raise SerqError(
                    f"study {self.name}: method {method!r} is not one of {', '.join(METHODS[:-1])},"
                    " budget:BYTES"
                )
        if not (self.folds >= 2 and self.seeds >= 1):
            raise SerqError(f"study {self.name}: folds must be at least 2 and seeds at least 1")
        if self.white_noise_db and not self.augmentation:
            raise SerqError(
                f"study {self.name}: white_noise_db needs an augmentation, so that recordings are read"
            )
        if bool(self.bar) != (self.inner_folds >= 2) or (
            self.bar and self.protocol not in ("clips", "speakers")
        ):
            raise SerqError(
                f"study {self.name}: a bar needs inner_folds of at least 2, these a bar, and both one corpus"
                " whose clips or speakers are held out"
            )
        base().merged(configured(self), f"study {self.name}")


@dataclass(frozen=True)
class Plan:
    """The studies of a plan, its device specifications by name, and what it says of itself."""

    title: str
    studies: tuple[Study, ...]
    specs: Mapping[str, FeatureSpec]

    @property
    def corpora(self) -> tuple[str, ...]:
        """Every corpus that a study names."""
        return tuple(dict.fromkeys(name for study in self.studies for name in study.corpora))

    def features(self, name: str) -> FeatureSet:
        """Return a feature set of that name."""
        return feature_set(name, dict(self.specs))


@dataclass(frozen=True)
class Task:
    """One network to train and evaluate.

    train and test name corpora; they are one corpus where `split` tells which part is held out. inner: 0, or
    which of the `inner_folds` of the other clips is evaluated, from 1; the clips that the split holds out are
    then not used at all.
    """

    study: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    model: str
    features: str
    spec: Mapping[str, Any]
    methods: tuple[str, ...]
    fine_tuned: tuple[str, ...]
    protocol: str
    folds: int
    seed: int
    split: int
    training: Mapping[str, Any]
    tuning: Mapping[str, Any]
    quantization: Mapping[str, Any]
    augmentation: Mapping[str, Any]
    content: str
    white_noise_db: tuple[float, ...] = ()
    loss_split: bool = False
    bar: str = ""
    inner: int = 0
    inner_folds: int = 0

    @property
    def key(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all that the task depends on.

        Keys of the configuration that came after rows were measured count by what they are in the task,
        wherever that was said, and not at all where it is what there was before them. So do those of
        the features.
        """
        values = {name: value for name, value in asdict(self).items() if name not in ("study", "bar")}
        values["spec"] = _without_unused_features(self.spec)
        values["training"] = {
            name: value for name, value in self.training.items() if (name, value) not in LATER_TRAINING
        }
        if self.augmentation:
            whole = base().merged(configured(self), f"study {self.study}").to_json()["augmentation"]
            later = {name: whole[name] for name in _later_keys(whole)}
            values["augmentation"] = _without_later_keys(self.augmentation) | later
        return hashlib.sha256(json.dumps([values, __version__], sort_keys=True).encode()).hexdigest()[:16]


def _later_keys(augmentation: Mapping[str, Any]) -> list[str]:
    """List the keys of LATER that take part in an augmentation: shares above 0, and what they draw from."""
    return [key for share, used in LATER.items() if augmentation[share] for key in (share, *used)]


def _without_later_keys(augmentation: Mapping[str, Any]) -> dict[str, Any]:
    known = {key for share, used in LATER.items() for key in (share, *used)}
    return {key: value for key, value in augmentation.items() if key not in known}


def _without_unused_features(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a specification without the keys that came after rows were measured and take no part in it."""
    blocks = [
        {key: value for key, value in block.items() if (key, value) != ("bands", 0)}
        for block in spec["blocks"]
    ]
    off = {name for key, read in LATER_FEATURES.items() if not spec[key] for name in (key, *read)}
    if not any(BLOCKS[block["kind"]].reads == "pitch" for block in blocks):
        off |= {"pitch_low", "pitch_high", "voiced_above"}
    return {key: value for key, value in spec.items() if key not in off} | {"blocks": blocks}


@functools.cache
def base() -> Config:
    """Return the configuration that studies change: base.toml, and the default features."""
    text = resources.files(__package__).joinpath("base.toml").read_text(encoding="utf-8")
    return load_config().merged(parse_toml(text, "base.toml"), "base.toml")


def configured(of: Study | Task) -> dict[str, Mapping[str, Any]]:
    """Return the tables of the configuration that a study or task changes, except the features."""
    return {
        "training": of.training,
        "tuning": of.tuning,
        "quantization": of.quantization,
        "augmentation": of.augmentation,
    }


def load_plan(name: str) -> Plan:
    """Load the plan that ships under that name, or the TOML file at that path.

    Raises SerqError if there is none, or it has a key that is not known or a value of the wrong kind.
    """
    try:
        shipped = resources.files(__package__).joinpath("plans", f"{name}.toml")
        text = shipped.read_text(encoding="utf-8") if name in PLANS else read_regular(Path(name)).decode()
    except OSError as error:
        raise SerqError(
            f"there is no plan {name}: {error.strerror or error}; give a file, or one of {', '.join(PLANS)}"
        ) from error
    except UnicodeDecodeError as error:
        raise SerqError(f"the plan {name} is not valid TOML: {error}") from error
    plain = parse_toml(text, f"the plan {name}")
    try:
        specs = {key: FeatureSpec.from_json(value) for key, value in plain.get("features", {}).items()}
        studies = tuple(_study(value) for value in plain["study"])
        plan = Plan(str(plain["title"]), studies, specs)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SerqError(f"the plan {name} is malformed: {error}") from error
    for study in plan.studies:
        for features in study.features:
            plan.features(features)
    return plan


def _study(plain: dict[str, Any]) -> Study:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
    }
    return Study(**values)


def tasks(plan: Plan, contents: Mapping[str, str], speakers: Mapping[str, int]) -> list[Task]:
    """List every task of the plan.

    contents: each corpus's digest; speakers: how many it has. Corpora that are not there are left out.
    """
    return [task for study in plan.studies for task in _study_tasks(plan, study, contents, speakers)]


def _study_tasks(
    plan: Plan, study: Study, contents: Mapping[str, str], speakers: Mapping[str, int]
) -> Iterator[Task]:
    corpora = [name for name in study.corpora if name in contents]
    for train, test in _pairs(study.protocol, corpora):
        for seed in range(study.seeds):
            for split in range(_splits(study, speakers.get(test[0], 0))):
                for model in study.models:
                    for features in study.features:
                        task = Task(
                            study=study.name,
                            train=train,
                            test=test,
                            model=model,
                            features=features,
                            spec=plan.features(features).spec.to_json(),
                            methods=study.methods,
                            fine_tuned=study.fine_tuned,
                            protocol=study.protocol,
                            folds=study.folds,
                            seed=seed,
                            split=split,
                            training=dict(study.training),
                            tuning=dict(study.tuning),
                            quantization=dict(study.quantization),
                            augmentation=dict(study.augmentation),
                            content=" ".join(contents[name] for name in dict.fromkeys((*train, *test))),
                            white_noise_db=study.white_noise_db,
                            loss_split=study.loss_split,
                            bar=study.bar,
                        )
                        yield task
                        if (
                            seed == 0 or study.protocol == "clips"
                        ):  # every seed holds the same speakers out: one choice serves all
                            inner = range(1, study.inner_folds + 1)
                            yield from (
                                replace(task, inner=fold, inner_folds=study.inner_folds) for fold in inner
                            )


def _pairs(protocol: str, corpora: list[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield corpora to train on and corpora to evaluate on."""
    for name in corpora:
        others = tuple(other for other in corpora if other != name)
        if protocol.startswith("corpus") and others:
            yield (name,), others
        elif protocol.startswith("corpora") and len(others) > 1:
            yield others, (name,)
        elif protocol not in ACROSS:
            yield (name,), (name,)


def _splits(study: Study, speakers: int) -> int:
    training = base().merged(configured(study), f"study {study.name}").training
    groups = training.speaker_groups(speakers)
    return {"clips": study.folds, "speakers": groups}.get(study.protocol, 1)
