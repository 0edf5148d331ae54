"""How a clip becomes frames, spectra and mel bands: what all feature blocks of a specification share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.validation import check_types
from serq_mcu.errors import SerqError

Tables = Mapping[str, NDArray[Any]]  # tables of a stage or a block, by name

MIN_FRAMES, MAX_FRAMES = 2, 4096  # a difference needs two; sums are proved for 4096
MAX_TIERS = 8


class TableType(NamedTuple):
    """The element type and shape of a table."""

    type: type[np.generic]
    shape: tuple[int, ...]


def require(condition: object, message: str) -> None:
    """Raise SerqError with the message unless the condition holds."""
    if not condition:
        raise SerqError(message)


@dataclass(frozen=True)
class Analysis:
    """Frames, transform and mel bands (SPEC.md section 2).

    Frequencies in Hz, lengths in samples.

    A frame has `window_length` samples (0: the FFT length), zeros follow up to the FFT length. With `center`,
    frame f is centred on sample f * hop_length: half a frame of zeros stands before a clip and after it.

    Frames count that are at most `tiers` steps of `tier_db` below the loudest, or all if `tiers` is 0. A clip
    holds speech if `speech_frames` of its frames lie `speech_rise_db` above its noise floor and are voiced.
    Pitch is searched from `pitch_low` to `pitch_high`; a frame is voiced where its normalised autocorrelation
    there is at least `voiced_above`, or without a block that reads the pitch always.
    Raises SerqError when a value is out of range or not built.
    """

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
    window_length: int = 0
    tiers: int = 3
    tier_db: float = 16.0
    speech_frames: int = 0
    speech_rise_db: float = 6.0
    pitch_low: float = 65.0
    pitch_high: float = 500.0
    voiced_above: float = 0.3

    def __post_init__(self) -> None:
        check_types(self)
        require(
            8000 <= self.sample_rate <= 48000, f"sample rate {self.sample_rate!r} must be 8000 to 48000 Hz"
        )
        require(
            self.fft_length in (256, 512, 1024, 2048),
            f"FFT length {self.fft_length!r} must be 256, 512, 1024 or 2048",
        )
        require(
            self.window_length % 2 == 0
            and (self.window_length == 0 or self.fft_length // 2 <= self.window_length < self.fft_length),
            f"window length {self.window_length!r} must be an even number from half the FFT length to just"
            " below it, or 0 for the FFT length",
        )
        require(
            1 <= self.hop_length <= self.frame_length,
            f"hop length {self.hop_length!r} must be 1 to the frame's",
        )
        require(self.window == "hann", f"window {self.window!r} is not built; use hann")
        require(
            2 <= self.mel_bands <= 128 and self.mel_bands % 2 == 0,
            f"mel bands {self.mel_bands!r} must be an even number from 2 to 128",
        )
        require(
            0 <= self.fmin < self.fmax <= self.sample_rate / 2,
            f"mel range {self.fmin!r} to {self.fmax!r} Hz must rise and end at most at half the sample rate",
        )
        require(self.mel_scale in ("slaney", "htk"), f"mel scale {self.mel_scale!r} must be slaney or htk")
        require(self.mel_norm in ("slaney", "none"), f"mel norm {self.mel_norm!r} must be slaney or none")
        require(1e-12 <= self.log_floor <= 1e-3, f"log floor {self.log_floor!r} must be 1e-12 to 1e-3")
        require(
            0 <= self.tiers <= MAX_TIERS,
            f"tiers {self.tiers!r} must be 1 to {MAX_TIERS}, or 0 where all frames count",
        )
        require(3 <= self.tier_db <= 60, f"a tier of {self.tier_db!r} dB must be 3 to 60 dB")
        require(
            0 <= self.speech_frames <= MAX_FRAMES,
            f"speech frames {self.speech_frames!r} must be 0 to {MAX_FRAMES}",
        )
        require(
            1 <= self.speech_rise_db <= 60, f"a speech rise of {self.speech_rise_db!r} dB must be 1 to 60 dB"
        )
        require(
            self.pitch_low >= 40 and 2 * self.pitch_low <= self.pitch_high <= 1000,
            f"pitch range {self.pitch_low!r} to {self.pitch_high!r} Hz must lie within 40 to 1000 Hz and span"
            " an octave",
        )
        require(0 < self.voiced_above < 1, f"voiced_above {self.voiced_above!r} must lie between 0 and 1")

    @property
    def frame_length(self) -> int:
        """Samples of a frame."""
        return self.window_length or self.fft_length

    @property
    def bins(self) -> int:
        """Bins of a spectrum, from 0 Hz to half the sample rate."""
        return self.fft_length // 2 + 1

    @property
    def padding(self) -> int:
        """Zeros before a clip, and as many after it, in samples."""
        return self.frame_length // 2 if self.center else 0

    @property
    def min_samples(self) -> int:
        """Samples of the shortest clip that has features: two frames."""
        return self.frame_length + (MIN_FRAMES - 1) * self.hop_length - 2 * self.padding

    @property
    def max_samples(self) -> int:
        """Samples of the longest clip whose sums are proved not to overflow."""
        return self.frame_length + MAX_FRAMES * self.hop_length - 1 - 2 * self.padding

    def frame_count(self, samples: int) -> int:
        """Count the whole frames in a clip of `samples` samples."""
        return max(0, (samples + 2 * self.padding - self.frame_length) // self.hop_length + 1)
