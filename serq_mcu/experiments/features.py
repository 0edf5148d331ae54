"""The features that an experiment can name: librosa's, as the paper has them, and the device's.

A specification gives the shape in either case. Device features are what the firmware computes. librosa's are
floats; they reach the integer network as 4096 steps per standard deviation of the training clips, which loses
nothing that its 16 input steps keep.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.cache import Cache, Key, key
from serq_mcu.base.files import file_digest
from serq_mcu.base.progress import Progress
from serq_mcu.config import load_config
from serq_mcu.corpus.audio import MOST_BYTES, read_audio
from serq_mcu.corpus.loaders import Clip
from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import FEATURE_CODE, FEATURE_VERSIONS, recorded_features
from serq_mcu.frontend.blocks import Chroma, Mel, Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables

FRAMES, FRAME_MFCC = 94, 40  # three seconds of hops of 512 at 16 kHz, for the networks on sequences
UNITS_PER_SD = 4096
DEFAULT = "default"
_RANGE = 2**18  # of librosa's features in device units; 64 standard deviations


@dataclass(frozen=True)
class FeatureSet:
    """Features by name.

    `source` is "device", "librosa" or "frames" (librosa's MFCC frame by frame), `spec` their shape, `words`
    what they are.
    """

    name: str
    source: str
    spec: FeatureSpec
    words: str

    def key(self, digest: str) -> Key:
        """Name these features of the clips of a `corpus_digest` in the cache."""
        return key(
            "experiments",
            digest,
            self.source,
            self.spec.to_json(),
            [FRAMES, FRAME_MFCC],
            code=(*FEATURE_CODE, "serq_mcu.experiments.features"),
            versions=FEATURE_VERSIONS if self.source == "device" else (*FEATURE_VERSIONS, "librosa"),
        )


def _paper_size(name: str, mfcc: int) -> FeatureSpec:
    return FeatureSpec(name=name, fft_length=2048, tiers=0, blocks=(Mfcc(mfcc, ("mean",)),))


_FULL = FeatureSpec(
    name="mean180",
    fft_length=2048,
    mel_bands=128,
    tiers=0,
    blocks=(Mfcc(40, ("mean",)), Chroma(12, ("mean",)), Mel(128, ("mean",))),
)
_FRAMES = FeatureSpec(name="frames", fft_length=2048, tiers=0, blocks=(Mfcc(FRAME_MFCC),))
_SHAPES = {
    "15": (_paper_size("mean15", 15), "means of 15 MFCC"),
    "31": (_paper_size("mean31", 31), "means of 31 MFCC"),
    "180": (_FULL, "means of 40 MFCC, 12 chroma and 128 mel bands"),
}
FEATURE_SETS = {
    **{
        f"librosa{key}": FeatureSet(f"librosa{key}", "librosa", spec, f"librosa's {words}")
        for key, (spec, words) in _SHAPES.items()
    },
    **{
        f"device{key}": FeatureSet(f"device{key}", "device", spec, f"the device's {words}")
        for key, (spec, words) in _SHAPES.items()
    },
    "frames": FeatureSet("frames", "frames", _FRAMES, f"librosa's {FRAME_MFCC} MFCC of {FRAMES} frames"),
}


def feature_set(name: str, specs: dict[str, FeatureSpec]) -> FeatureSet:
    """Return the features of a name.

    They are built in, "default" for the default configuration's, or the device's by one of `specs`. Raises
    SerqError if there are none.
    """
    if name == DEFAULT:
        return FeatureSet(
            name, "device", load_config().features, "the device's, of the default configuration"
        )
    if name in specs:
        return FeatureSet(name, "device", specs[name], f"the device's, specification {specs[name].name}")
    if name not in FEATURE_SETS:
        raise SerqError(
            f"features {name!r} are not known; choose among {', '.join([DEFAULT, *FEATURE_SETS, *specs])}"
        )
    return FEATURE_SETS[name]


def corpus_digest(clips: Sequence[Clip]) -> str:
    """Compute a digest that a change of any recording or name changes."""
    digest = hashlib.sha256()
    for clip in clips:
        try:
            content = file_digest(clip.path, MOST_BYTES)
        except OSError as error:
            raise SerqError(f"cannot read {clip.path}: {error.strerror or error}") from error
        digest.update(f"{clip.name}\0{clip.label}\0{clip.speaker}\0".encode() + content)
    return digest.hexdigest()


def compute(
    features: FeatureSet, clips: Sequence[Clip], digest: str, progress: Progress | None = None
) -> NDArray[Any]:
    """Compute features, kept by content.

    [clips, features] (int32 of the device, else float64), or float32 [clips, FRAMES, FRAME_MFCC]. `digest` is
    the clips' `corpus_digest`. Raises SerqError if a clip cannot be used, or librosa is not installed.
    """
    data = Cache().remembered(features.key(digest), lambda: _stored(_computed(features, clips, progress)))
    found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return found


def _computed(
    features: FeatureSet, clips: Sequence[Clip], progress: Callable[..., None] | None
) -> NDArray[Any]:
    """Compute as `compute` does, without a cache."""
    if features.source == "device":
        pooled = recorded_features(features.spec, build_tables(features.spec), clips, progress=progress)
        values: NDArray[Any] = pooled.reshape(len(clips), -1)
    else:
        rows = []
        for index, clip in enumerate(clips):
            signal = read_audio(clip.path, features.spec.sample_rate).pcm / 32768.0
            rows.append(
                _frames(signal, features.spec)
                if features.source == "frames"
                else _means(signal, features.spec)
            )
            if progress is not None:
                progress(f"computing {features.name} features", index + 1, len(clips))
        values = np.stack(rows)
    return values


def in_units(values: NDArray[Any], training: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Convert features [..., clips, features] to integers.

    Floats are scaled by mean and standard deviation of the training clips (a mask [clips]).
    """
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.int32)
    sd = values[training].std(axis=0)
    scaled = (values - values[training].mean(axis=0)) / np.where(sd > 0, sd, 1.0) * UNITS_PER_SD
    units: NDArray[np.int32] = np.clip(np.rint(scaled), -_RANGE, _RANGE).astype(np.int32)
    return units


def _means(signal: NDArray[np.float64], spec: FeatureSpec) -> NDArray[np.float64]:
    """Compute means over frames of librosa's features with its defaults, as in the paper's recipe.

    Its defaults are centre padding, top_db 80 and estimated tuning.
    """
    librosa = _librosa()
    common = {"sr": spec.sample_rate, "n_fft": spec.fft_length, "hop_length": spec.hop_length}
    parts = []
    for block in spec.blocks:
        if block.kind == "mfcc":
            values = librosa.feature.mfcc(y=signal, n_mfcc=block.size, **common)
        elif block.kind == "chroma":
            values = librosa.feature.chroma_stft(y=signal, **common)
        else:
            values = librosa.feature.melspectrogram(y=signal, n_mels=block.size, **common)
        parts.append(values.mean(axis=1))
    return np.concatenate(parts).astype(np.float64)


def _frames(signal: NDArray[np.float64], spec: FeatureSpec) -> NDArray[np.float32]:
    """Compute the MFCC of the first FRAMES frames, zeros after the last, float32 [FRAMES, FRAME_MFCC]."""
    values = _librosa().feature.mfcc(
        y=signal, sr=spec.sample_rate, n_mfcc=FRAME_MFCC, n_fft=spec.fft_length, hop_length=spec.hop_length
    )
    frames = np.zeros((FRAMES, FRAME_MFCC), dtype=np.float32)
    kept = values.T[:FRAMES]
    frames[: len(kept)] = kept
    return frames


@functools.cache
def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise SerqError(
            f"librosa's features need packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[train]'`"
        ) from error
    return librosa


def _stored(values: NDArray[Any]) -> bytes:
    """Write an array in NumPy's NPY format."""
    data = io.BytesIO()
    np.save(data, values, allow_pickle=False)
    return data.getvalue()
