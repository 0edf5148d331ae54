"""What a feature vector is: the frozen specification that training, model file and firmware share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from serq_mcu.errors import SerqError

STATISTICS = ("mean", "sd", "delta_sd")
KINDS = ("mfcc", "mel", "chroma")
PITCH_CLASSES = 12
MIN_FRAMES, MAX_FRAMES = 2, 4096  # a difference needs two; sums are proved for 4096


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SerqError(message)


@dataclass(frozen=True)
class FeatureBlock:
    """One kind of per-frame feature and the statistics that pool it over a clip.

    mfcc: the first `size` cepstral coefficients; mel: the log energy of each of the `size` mel bands; chroma:
    the 12 pitch classes. An mfcc block may leave out the mean of coefficient 0, its loudness: then no
    statistic depends on the microphone's gain.
    """

    kind: str
    size: int
    statistics: tuple[str, ...] = STATISTICS
    loudness: bool = True

    def __post_init__(self) -> None:
        _require(self.kind in KINDS, f"feature kind {self.kind!r} is not one of {', '.join(KINDS)}")
        _require(
            _is_int(self.size) and 1 <= self.size <= 128, f"{self.kind}: size {self.size!r} must be 1 to 128"
        )
        _require(
            self.kind != "chroma" or self.size == PITCH_CLASSES,
            f"chroma: size {self.size} must be {PITCH_CLASSES}, the pitch classes",
        )
        known = bool(self.statistics) and all(s in STATISTICS for s in self.statistics)
        _require(
            known, f"{self.kind}: statistics {self.statistics!r} must be some of {', '.join(STATISTICS)}"
        )
        _require(
            len(set(self.statistics)) == len(self.statistics), f"{self.kind}: a statistic is named twice"
        )
        _require(
            isinstance(self.loudness, bool), f"{self.kind}: loudness {self.loudness!r} must be true or false"
        )
        _require(
            self.loudness or self.kind == "mfcc",
            f"{self.kind}: only an mfcc block can leave out its loudness",
        )
        _require(self.feature_count > 0, f"{self.kind}: without its loudness nothing is left of it")

    def first(self, statistic: str) -> int:
        """The first coefficient that a statistic is taken of: 0, or 1 where the loudness is left out."""
        return 1 if statistic == "mean" and not self.loudness else 0

    @property
    def feature_count(self) -> int:
        """Pooled features of the block."""
        return sum(self.size - self.first(statistic) for statistic in self.statistics)

    def to_json(self) -> dict[str, Any]:
        """Plain values; loudness only where it is left out, as the first model files have no such key."""
        plain = dataclasses.asdict(self)
        if self.loudness:
            del plain["loudness"]
        return plain


@dataclass(frozen=True)
class FeatureSpec:
    """The front end's parameters (SPEC.md section 2). Frequencies in Hz, lengths in samples.

    A frame has `window_length` samples (0: the FFT length), zeros follow up to the FFT length. With `center`,
    frame f is centred on sample f * hop_length: half a frame of zeros stands before a clip and after it.
    Blocks are pooled in the order given. Raises SerqError when a value is out of range or not built.
    """

    name: str = "speech235"
    sample_rate: int = 16000
    fft_length: int = 1024
    hop_length: int = 512
    center: bool = False
    window: str = "hann"
    mel_bands: int = 40
    fmin: float = 0.0
    fmax: float = 8000.0
    mel_scale: str = "slaney"
    mel_norm: str = "slaney"
    log_floor: float = 1e-10
    blocks: tuple[FeatureBlock, ...] = (
        FeatureBlock("mfcc", 40, loudness=False),
        FeatureBlock("mel", 40, ("sd", "delta_sd")),
        FeatureBlock("chroma", PITCH_CLASSES),
    )
    window_length: int = 0

    def __post_init__(self) -> None:
        _require(
            isinstance(self.name, str) and 0 < len(self.name) <= 64,
            "the specification's name must be 1 to 64 characters",
        )
        _require(
            _is_int(self.sample_rate) and 8000 <= self.sample_rate <= 48000,
            f"sample rate {self.sample_rate!r} must be 8000 to 48000 Hz",
        )
        _require(
            self.fft_length in (256, 512, 1024, 2048),
            f"FFT length {self.fft_length!r} must be 256, 512, 1024 or 2048",
        )
        halves = _is_int(self.window_length) and self.window_length % 2 == 0
        _require(
            halves
            and (self.window_length == 0 or self.fft_length // 2 <= self.window_length < self.fft_length),
            f"window length {self.window_length!r} must be an even number from half the FFT length to just"
            " below it, or 0 for the FFT length",
        )
        _require(
            _is_int(self.hop_length) and 1 <= self.hop_length <= self.frame_length,
            f"hop length {self.hop_length!r} must be 1 to the frame's",
        )
        _require(isinstance(self.center, bool), f"center {self.center!r} must be true or false")
        _require(self.window == "hann", f"window {self.window!r} is not built; use hann")
        _require(
            _is_int(self.mel_bands) and 2 <= self.mel_bands <= 128 and self.mel_bands % 2 == 0,
            f"mel bands {self.mel_bands!r} must be an even number from 2 to 128",
        )
        _require(
            0 <= self.fmin < self.fmax <= self.sample_rate / 2,
            f"mel range {self.fmin!r} to {self.fmax!r} Hz must rise and end at most at half the sample rate",
        )
        _require(self.mel_scale in ("slaney", "htk"), f"mel scale {self.mel_scale!r} must be slaney or htk")
        _require(self.mel_norm in ("slaney", "none"), f"mel norm {self.mel_norm!r} must be slaney or none")
        _require(1e-12 <= self.log_floor <= 1e-3, f"log floor {self.log_floor!r} must be 1e-12 to 1e-3")
        kinds = [block.kind for block in self.blocks]
        _require(bool(kinds), "a specification needs at least one feature block")
        _require(len(set(kinds)) == len(kinds), f"a feature kind may be named once, not {', '.join(kinds)}")
        mfcc, mel = self.block("mfcc"), self.block("mel")
        _require(mfcc is None or mfcc.size <= self.mel_bands, "more MFCC than mel bands")
        _require(
            mel is None or mel.size == self.mel_bands,
            f"the mel block's size must be the number of mel bands, {self.mel_bands}",
        )

    @property
    def frame_length(self) -> int:
        """Samples of a frame."""
        return self.window_length or self.fft_length

    @property
    def padding(self) -> int:
        """Zeros before a clip, and as many after it, in samples."""
        return self.frame_length // 2 if self.center else 0

    @property
    def uses_mel(self) -> bool:
        """Whether a block is made from mel bands."""
        return any(block.kind in ("mfcc", "mel") for block in self.blocks)

    def block(self, kind: str) -> FeatureBlock | None:
        """The block of a kind, if there is one."""
        return next((block for block in self.blocks if block.kind == kind), None)

    @property
    def feature_count(self) -> int:
        """Length of the pooled feature vector."""
        return sum(block.feature_count for block in self.blocks)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name per pooled feature, such as `mfcc3 sd`, in vector order."""
        return tuple(
            f"{b.kind}{i} {s}" for b in self.blocks for s in b.statistics for i in range(b.first(s), b.size)
        )

    @property
    def min_samples(self) -> int:
        """Samples of the shortest clip that has features: two frames."""
        return self.frame_length + (MIN_FRAMES - 1) * self.hop_length - 2 * self.padding

    @property
    def max_samples(self) -> int:
        """Samples of the longest clip whose sums are proved not to overflow."""
        return self.frame_length + MAX_FRAMES * self.hop_length - 1 - 2 * self.padding

    def frame_count(self, samples: int) -> int:
        """Whole frames in a clip of `samples` samples."""
        return max(0, (samples + 2 * self.padding - self.frame_length) // self.hop_length + 1)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the model file and configuration.

        A window length that is the FFT's is left out, as in the first model files.
        """
        plain = dataclasses.asdict(self) | {"blocks": [block.to_json() for block in self.blocks]}
        if self.window_length == 0:
            del plain["window_length"]
        return plain

    @staticmethod
    def from_json(value: Any) -> FeatureSpec:
        """The specification of `to_json`'s values.

        Raises SerqError if a key is unknown, missing or of the wrong type.
        """
        _require(isinstance(value, dict), "the feature specification must be a table")
        fields = {f.name: f for f in dataclasses.fields(FeatureSpec)}
        unknown = set(value) - set(fields)
        _require(not unknown, f"unknown feature specification key {', '.join(sorted(map(str, unknown)))}")
        plain = dict(value)
        try:
            if "blocks" in plain:
                plain["blocks"] = tuple(
                    FeatureBlock(**{**b, "statistics": tuple(b.get("statistics", STATISTICS))})
                    for b in plain["blocks"]
                )
            return FeatureSpec(**plain)
        except (TypeError, KeyError) as error:
            raise SerqError(f"the feature specification is malformed: {error}") from error
