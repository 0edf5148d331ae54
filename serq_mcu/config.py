"""The configuration of features, augmentation, training, fine-tuning, quantization and decisions.

default.toml holds every default and explains each key; the classes here define what each may be. A preset
and a file of a user's hold only what differs (`load_config`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from serq_mcu.base.resources import BEST, PRESETS
from serq_mcu.base.validation import Section, checked, parse_toml, read_toml
from serq_mcu.corpus.bands import BANDS
from serq_mcu.corpus.conditions import FLOORS, Condition
from serq_mcu.corpus.noise import NOISES
from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.layers.encodings import TERNARY, Width
from serq_mcu.quantized_model.types import MAX_BLOCKS, MAX_SMOOTHING
from serq_mcu.quantized_model.voice import MOST_WINDOWS

Protocol = Literal["clips", "speakers"]  # of testing and of validation alike
Teacher = Literal["labels", "kernel"]
Balance = Literal["none", "classes", "corpora"]
CLIPS, SPEAKERS = PROTOCOLS = get_args(Protocol)
LABELS, KERNEL = get_args(Teacher)
UNBALANCED, BY_CLASS, BY_CORPUS = get_args(Balance)
_RANGES = (  # of augmentation
    *("speed", "reverberation", "snr_db", "gain_db", "pause", "within", "floor_db", "offset"),
    *("window_blocks", "block_seconds"),
)
DRAWN_ROOM = "diffuse"  # the rooms of training; the other kind is kept for measuring

ADAPTIVE = "adaptive"
MIN_BITS, MAX_BITS = 1, 8
FIXED: dict[str, Width] = {str(bits): bits for bits in range(MAX_BITS, MIN_BITS - 1, -1)} | {
    TERNARY: TERNARY
}  # the widths that a method may name
_WIDTH = f"({'|'.join(FIXED)})"

Share = Annotated[float, Meta(ge=0, le=1)]
DropoutRate = Annotated[float, Meta(ge=0, lt=1)]
LearningRate = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Noise = Annotated[str, Meta(pattern=f"^({'|'.join(NOISES)})$", description=f"one of {', '.join(NOISES)}")]
Range = Annotated[tuple[float, float], Meta(description="a range [low, high] of two numbers")]
Whole = Annotated[tuple[int, int], Meta(description="a range [low, high] of two whole numbers")]
_NUMBER = "[1-9][0-9]{0,3}"
_EDGES = f"( stride {_NUMBER})?( dilation {_NUMBER})?( same| causal| valid)?"
SequenceWords = Annotated[
    str,
    Meta(
        pattern=f"^((conv {_NUMBER}|depthwise) {_NUMBER}{_EDGES}|(mean|maximum)( {_NUMBER})?"
        f"|(gru|lstm) {_NUMBER}( last)?|attention)$",
        description="conv FILTERS TAPS or depthwise TAPS, then [stride S] [dilation D]"
        " [same|causal|valid]; mean [FRAMES] or maximum [FRAMES]; gru UNITS or lstm UNITS, then [last]; or"
        " attention",
    ),
]
Floor = Annotated[str, Meta(pattern=f"^({'|'.join(FLOORS)})$", description=f"one of {', '.join(FLOORS)}")]
Band = Annotated[str, Meta(pattern=f"^({'|'.join(BANDS)})$", description=f"one of {', '.join(BANDS)}")]


class AugmentationConfig(Section, frozen=True):
    """What the versions of a clip are drawn from; ranges are (low, high)."""

    versions: Annotated[int, Meta(ge=0, le=1000)]
    speed: Range
    room_share: Share
    reverberation: Range
    noise_share: Share
    noises: tuple[Noise, ...]
    snr_db: Range
    gain_db: Range
    pause_share: Share
    pause: Range
    within_share: Share
    within: Range
    floor_share: Share
    floors: tuple[Floor, ...]
    floor_db: Range
    offset_share: Share
    offset: Range
    band_share: Share
    bands: tuple[Band, ...]
    window_share: Share
    window_blocks: Whole
    block_seconds: Range

    def __post_init__(self) -> None:
        for name in _RANGES:
            low, high = getattr(self, name)
            _require(low <= high, f"{name} is [{low:g}, {high:g}]; it must be a range [low, high]")
        for kinds, share in (("noises", "noise_share"), ("floors", "floor_share"), ("bands", "band_share")):
            _require(
                bool(getattr(self, kinds)) or not getattr(self, share),
                f"{kinds} is empty; name at least one kind, or set {share} to 0",
            )
        _require(self.window_blocks[0] >= 1, "window_blocks must be 1 block and more")
        for end in (0, 1):
            self._require_conditions({name: getattr(self, name)[end] for name in _RANGES})

    def _require_conditions(self, at: Mapping[str, Any]) -> None:
        """Require that what can be drawn at one end of every range are conditions that there are."""
        try:
            for noise in self.noises or ("",):
                Condition(at["speed"], DRAWN_ROOM, at["reverberation"], noise, at["snr_db"], at["gain_db"])
            Condition(before=at["pause"], after=at["pause"], within=at["within"])
            Condition(floor=FLOORS[0], floor_db=at["floor_db"], offset=at["offset"])
            Condition(blocks=at["window_blocks"], block_seconds=at["block_seconds"])
        except SerqError as error:
            raise ValueError(str(error)) from error


class TrainingConfig(Section, frozen=True, omit_defaults=True):
    """How the clips are split and the float network is trained."""

    hidden: Annotated[tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(max_length=7)]
    dropout: DropoutRate
    learning_rate: LearningRate
    batch_size: Count
    presentations: Annotated[int, Meta(ge=1, le=1000)]
    max_epochs: Count
    patience: Count
    weight_decay: Share
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)]
    mixup: Annotated[float, Meta(ge=0, le=10)]
    teacher: Teacher
    kernel_gamma: Annotated[float, Meta(gt=0, le=100)]
    balance: Balance
    protocol: Protocol
    folds: Annotated[int, Meta(ge=2)]
    speakers_out: Count
    split: Annotated[int, Meta(ge=0)]  # how many speakers there are, the recordings say
    validation: Protocol
    validation_fraction: Annotated[float, Meta(gt=0, le=0.5)]
    refit: bool
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    sequence_layers: Annotated[tuple[SequenceWords, ...], Meta(max_length=6)] = ()

    def speaker_groups(self, speakers: int) -> int:
        """Return into how many groups so many speakers fall that are held out one group a split."""
        return -(-speakers // self.speakers_out)

    def __post_init__(self) -> None:
        _require(
            self.protocol != CLIPS or self.split < self.folds,
            f"split is {self.split}; it must be 0 to {self.folds - 1}, one of the {self.folds} folds",
        )


class TuningConfig(Section, frozen=True):
    """How the network is fine-tuned at the bits chosen (quantization-aware training).

    Clips are presented as in training: batch_size, presentations, mixup and seed are those of [training].
    """

    epochs: Count
    learning_rate: LearningRate
    dropout: DropoutRate
    distillation: Share
    ensemble: Annotated[int, Meta(ge=1, le=100)]


class QuantizationConfig(Section, frozen=True):
    """How the bits of each layer are chosen."""

    method: Annotated[
        str,
        Meta(
            pattern=f"^({ADAPTIVE}|{_WIDTH}(,{_WIDTH})*)$",
            description=f"{ADAPTIVE}, one of {', '.join(FIXED)}, or one of these for each layer",
        ),
    ]
    alpha: Share
    margin: Share
    max_bytes: Annotated[int, Meta(ge=0)]
    fine_tune: bool
    folds: Annotated[int, Meta(ge=0, le=20)]
    trial_epochs: Count

    def __post_init__(self) -> None:
        _require(self.folds != 1, "folds is 1; it must be 0, or 2 and more")

    def start(self, layers: int) -> list[Width]:
        """Return the widths from which the choice starts: those that were asked for, or the most.

        Raises SerqError if their number is wrong.
        """
        if self.method == ADAPTIVE:
            return [MAX_BITS] * layers
        widths = [FIXED[name] for name in self.method.split(",")]
        if len(widths) not in (1, layers):
            raise SerqError(
                f"quantization.method {self.method!r} names {len(widths)} widths, but the network takes"
                f" {layers}: one for each layer with weights, two for a gru or lstm"
            )
        return widths * (layers // len(widths))


class DecisionConfig(Section, frozen=True):
    """How live audio is answered (SPEC.md section 12)."""

    blocks: Annotated[int, Meta(ge=1, le=MAX_BLOCKS)]
    block_seconds: Annotated[float, Meta(ge=0.01, le=60)]
    floor_seconds: Annotated[float, Meta(ge=0, le=60)]
    coverage: Annotated[float, Meta(ge=0.01, le=1)]
    smoothing: Annotated[int, Meta(ge=0, le=MAX_SMOOTHING)]
    wake_db: Annotated[float, Meta(ge=0, le=60)]


class VoiceConfig(Section, frozen=True):
    """What a model learns of its speaker (SPEC.md section 19)."""

    train: bool
    shrinkage: Annotated[float, Meta(gt=0, le=100)]
    windows: Annotated[int, Meta(ge=1, le=MOST_WINDOWS)]


class Config(Section, frozen=True):
    """Everything that a run depends on, besides the recordings."""

    features: FeatureSpec
    augmentation: AugmentationConfig
    training: TrainingConfig
    tuning: TuningConfig
    quantization: QuantizationConfig
    decision: DecisionConfig
    voice: VoiceConfig

    @property
    def learns_voices(self) -> bool:
        """Whether networks are trained for speakers' voices, which a sequence of frames has no place for."""
        return self.voice.train and not self.features.sequence_frames

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> Config:
        """Make the configuration of whole tables of plain values, one for each section.

        Raises SerqError, which begins with `where` and names section and key, if one is missing, unknown, of
        the wrong type or out of range.
        """
        kinds: dict[str, type[Section]] = {
            "augmentation": AugmentationConfig,
            "training": TrainingConfig,
            "tuning": TuningConfig,
            "quantization": QuantizationConfig,
            "decision": DecisionConfig,
            "voice": VoiceConfig,
        }
        known = ("features", *kinds)
        _require_sections(value, known, where)
        for name in known:
            if name not in value:
                raise SerqError(f"{where}: [{name}] is missing")
        tables: dict[str, Any] = {
            name: checked(value[name], kind, where, within=name) for name, kind in kinds.items()
        }
        features, layers = _features(value["features"], where), tables["training"].sequence_layers
        if layers and not features.sequence_frames:
            raise SerqError(
                f"{where}: training.sequence_layers read a sequence; set features.sequence_frames and"
                " statistics = [] for each block, or take the layers out"
            )
        if tables["training"].teacher == KERNEL and tables["tuning"].distillation != 1:
            raise SerqError(
                f"{where}: tuning.distillation is {tables['tuning'].distillation:g}; it must be 1 where"
                f" training.teacher is {KERNEL!r}, since no label teaches then"
            )
        return cls(features=features, **tables)

    def changed(self, /, **tables: Mapping[str, Any]) -> Config:
        """Return the configuration with other values: `config.changed(training={"split": 3})`.

        Raises SerqError as `from_json` does.
        """
        return self.merged(tables, "the configuration")

    def merged(self, tables: Mapping[str, Any], where: str) -> Config:
        """Return the configuration with the values of some tables from outside.

        `where` begins the message of SerqError.
        """
        plain = self.to_json()
        _require_sections(tables, tuple(plain), where)
        return Config.from_json(
            {name: table | dict(tables.get(name, {})) for name, table in plain.items()}, where
        )

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return plain values, a table per section."""
        plain = {name: getattr(self, name) for name in self.__struct_fields__}
        text = msgspec.json.encode(plain | {"features": self.features.to_json()})
        built: dict[str, dict[str, Any]] = msgspec.json.decode(text)
        return built

    def to_toml(self) -> str:
        """Write the whole configuration as a file that `load_config` reads back."""
        import tomlkit

        return tomlkit.dumps(self.to_json())


def load_config(path: Path | None = None, split: int | None = None, preset: str = BEST) -> Config:
    """Load one of PRESETS, changed by the TOML file at `path` and then by `split`.

    Raises SerqError, naming the file, section and key, when the file cannot be read, has a key that is not
    known, or a value of the wrong type or out of range; or when there is no such preset.
    """
    if preset not in PRESETS:
        raise SerqError(f"there is no preset {preset!r}; choose among {', '.join(PRESETS)}")
    config = _preset(preset)
    if path is not None:
        config = config.merged(read_toml(path, "configuration")[0], str(path))
    return config if split is None else config.changed(training={"split": split})


@functools.cache
def _preset(name: str) -> Config:
    if name == BEST:
        return Config.from_json(_shipped("default.toml"), "default.toml")
    return _preset(BEST).merged(_shipped("presets", f"{name}.toml"), f"presets/{name}.toml")


def _shipped(*parts: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath(*parts).read_text(encoding="utf-8")
    return parse_toml(text, "/".join(parts))


def _features(value: Mapping[str, Any], where: str) -> FeatureSpec:
    """Make the specification of [features]; whole numbers pass for floats, as in the other sections."""
    usual = FeatureSpec().to_json()
    try:
        plain = {
            key: float(item) if type(item) is int and isinstance(usual.get(key), float) else item
            for key, item in value.items()
        }
        return FeatureSpec.from_json(plain)
    except (SerqError, OverflowError) as error:
        raise SerqError(f"{where}: features: {error}") from error


def _require_sections(tables: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name, table in tables.items():
        if name not in known or not isinstance(table, Mapping):
            sections = ", ".join(f"[{section}]" for section in known)
            raise SerqError(f"{where}: {name!r} is not one of the sections {sections}")


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)
