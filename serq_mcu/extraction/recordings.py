"""Recordings to the feature arrays of training and evaluation, clip by clip and condition by condition.

They are what the device computes.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base import resources
from serq_mcu.base.cache import Cache, Key, key
from serq_mcu.base.parallel import processors
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.conditions import AS_RECORDED, VOICES, Condition, apply_condition
from serq_mcu.corpus.loaders import Clip
from serq_mcu.errors import SerqError
from serq_mcu.extraction.extractor import clip_features, extractor_digest
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables

# what the features of a recording depend on, for keys of the cache
FEATURE_CODE: tuple[str | Path, ...] = (
    *("serq_mcu.frontend", "serq_mcu.extraction", "serq_mcu.codegen", "serq_mcu.layers"),
    *("serq_mcu.corpus.audio", "serq_mcu.corpus.conditions", "serq_mcu.corpus.noise"),
    *("serq_mcu.corpus.bands", "serq_mcu.corpus.loudness"),
    *(resources.FIRMWARE / "lib" / "serq", resources.FIRMWARE / "apps" / "classify", resources.TEMPLATES),
)
FEATURE_VERSIONS = ("numpy", "soxr", "soundfile")
SHORT_DIGEST = 12  # 48 bits: two of 10,000 recordings agree by chance in 1 of 5 million corpora
_BATCH = 256  # clips between two reports of progress, kept together


def audio_digest(pcm: NDArray[np.int16]) -> str:
    """Compute the SHA-256 of a clip's samples, int16 [samples]."""
    return hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Recordings:
    """Clips at a sample rate in Hz: the audio int16 [samples] of each."""

    clips: tuple[Clip, ...]
    rate: int
    audio: tuple[NDArray[np.int16], ...]

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each clip's samples."""
        return tuple(map(audio_digest, self.audio))

    @property
    def short_digests(self) -> tuple[str, ...]:
        """The first SHORT_DIGEST hexadecimal digits of the digests, by which models know recordings again."""
        return tuple(digest[:SHORT_DIGEST] for digest in self.digests)


@dataclass(frozen=True)
class AugmentedClip:
    """A clip, by its place among the recordings, under a condition.

    seed: of its noise and room; voices: the clips that its babble is made of.
    """

    clip: int
    condition: Condition = AS_RECORDED
    seed: int = 0
    voices: tuple[int, ...] = ()


def read_recordings(
    clips: Sequence[Clip], rate: int, progress: Callable[..., None] | None = None
) -> Recordings:
    """Decode the clips at `rate` Hz.

    Raises SerqError, naming the clip, if one cannot be read.
    """
    audio = []
    for index, clip in enumerate(clips):
        audio.append(read_audio(clip.path, rate).pcm)
        if progress is not None:
            progress("reading recordings", index + 1, len(clips))
    return Recordings(tuple(clips), rate, tuple(audio))


def choose_voices(
    recordings: Recordings, clip: int, allowed: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...]:
    """Choose the clips whose babble a clip may be mixed with, by their places among the recordings.

    They are VOICES of those allowed, by other speakers where there are any.
    """
    others = [index for index in allowed if index != clip]
    speaker = recordings.clips[clip].speaker
    strangers = [index for index in others if recordings.clips[index].speaker != speaker]
    among = strangers or others
    if not among:
        raise SerqError(
            f"there is no other clip to make babble of for {recordings.clips[clip].name}; choose another"
            " noise"
        )
    return tuple(int(index) for index in rng.choice(among, size=min(VOICES, len(among)), replace=False))


def augmented_clips(
    recordings: Recordings, clips: Iterable[int], voices: Sequence[int], condition: Condition, seed: int
) -> list[AugmentedClip]:
    """Return each of `clips` under a condition.

    Its babble is made of `voices`; what is random follows the seed and the clip's name.
    """
    augmented = []
    for clip in clips:
        rng = np.random.default_rng([seed, zlib.crc32(f"{condition} {recordings.clips[clip].name}".encode())])
        chosen = choose_voices(recordings, clip, voices, rng) if condition.needs_voices else ()
        augmented.append(AugmentedClip(clip, condition, int(rng.integers(2**31)), chosen))
    return augmented


def recorded_features(
    spec: FeatureSpec,
    tables: FrontendTables,
    clips: Sequence[Clip],
    progress: Callable[..., None] | None = None,
) -> NDArray[np.int32]:
    """Compute pooled features int32 [clips, features] of each clip as recorded.

    Raises SerqError as `augmented_features` does, or if a clip cannot be read.
    """
    recordings = read_recordings(clips, spec.sample_rate, progress)
    return augmented_features(
        spec, tables, recordings, [AugmentedClip(index) for index in range(len(clips))], progress
    )


def augmented_features(
    spec: FeatureSpec,
    tables: FrontendTables,
    recordings: Recordings,
    augmented: Sequence[AugmentedClip],
    progress: Callable[..., None] | None = None,
    cache: Cache | None = None,
) -> NDArray[np.int32]:
    """Compute pooled features int32 [clips, features], kept by content in a cache where one is given.

    progress is called with a sentence, the clips done and their number. Raises SerqError, naming the clip, if
    one is too short or too long.
    """
    pooled = np.empty((len(augmented), spec.feature_count), dtype=np.int32)
    keys = [_key(spec, tables, recordings, item) for item in augmented] if cache else []
    todo = _not_cached(keys, pooled, cache) if cache else list(range(len(augmented)))
    features = clip_features(spec, tables, progress)

    def compute(index: int) -> NDArray[np.int32]:
        item = augmented[index]
        voices = [recordings.audio[voice] for voice in item.voices]
        try:
            return features(
                apply_condition(
                    recordings.audio[item.clip],
                    recordings.rate,
                    item.condition,
                    np.random.default_rng(item.seed),
                    voices,
                )
            )
        except SerqError as error:
            raise SerqError(f"{recordings.clips[item.clip].path}{_words(item.condition)}: {error}") from error

    with ThreadPoolExecutor(processors()) as pool:
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            pooled[batch] = list(pool.map(compute, batch))
            if cache:
                cache.keep({keys[index]: pooled[index].astype("<i4").tobytes() for index in batch})
            if progress is not None:
                progress("computing features", start + len(batch), len(todo))
    return pooled


def _not_cached(keys: Sequence[Key], pooled: NDArray[np.int32], cache: Cache) -> list[int]:
    """Fill in the rows that the cache has; return the numbers of the others."""
    missing = []
    for start in range(0, len(keys), _BATCH):
        found = cache.find(keys[start : start + _BATCH])
        for index, name in enumerate(keys[start : start + _BATCH], start):
            if name in found:
                pooled[index] = np.frombuffer(found[name], dtype="<i4")
            else:
                missing.append(index)
    return missing


def _words(condition: Condition) -> str:
    return "" if condition == AS_RECORDED else f" ({condition})"


def _key(spec: FeatureSpec, tables: FrontendTables, recordings: Recordings, item: AugmentedClip) -> Key:
    """Name all that determines an augmented clip's features."""
    return key(
        "features",
        extractor_digest(spec, tables),
        recordings.rate,
        recordings.digests[item.clip],
        item.condition.to_json(),
        item.seed,
        [recordings.digests[voice] for voice in item.voices],
        code=FEATURE_CODE,
        versions=FEATURE_VERSIONS,
    )
