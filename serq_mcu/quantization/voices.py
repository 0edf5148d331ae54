"""What the clips of known speakers say about all voices: what a model knows before it hears its own speaker.

Of each feature: the mean of each class, and pseudo-windows, which are the variance of a clip within its
speaker over that between speakers (a random effect, see quantized_model/voice.py). Both of clips as recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.frontend.statistics import MISSING
from serq_mcu.quantized_model.types import InputQuantization
from serq_mcu.quantized_model.voice import STEP_MAX, VoicePrior

LEAST_SPEAKERS = 3  # between fewer, a variance says nothing
_MOST_COUNTS = 65535


@dataclass(frozen=True)
class VoiceStatistics:
    """Means float64 [classes, features] and pseudo-windows float64 [features].

    Means are in units of pooled integers.
    """

    means: NDArray[np.float64]
    counts: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        recorded: NDArray[np.int32],
        truth: NDArray[np.int64],
        speakers: Sequence[str],
        used: NDArray[np.bool_],
        classes: int,
        shrinkage: float,
    ) -> VoiceStatistics | None:
        """Compute them of the `used` clips, or return None where fewer than LEAST_SPEAKERS are known.

        recorded: features [clips, features]; truth: class indices [clips]; speakers: of each clip, "" where
        unknown; used: bool [clips]; shrinkage: times the ratio of variances.
        """
        spoken = _spoken(recorded, speakers) & used
        names = np.array(speakers)[spoken]
        if np.unique(names).size < LEAST_SPEAKERS:
            return None
        clips, truth = _filled(recorded[spoken]), truth[spoken]
        means = np.array([_class_mean(clips, names, truth == index) for index in range(classes)])
        residuals = clips - means[truth]
        return cls(means, shrinkage * _variance_ratio(residuals, names))

    def shifts(
        self,
        recorded: NDArray[np.int32],
        truth: NDArray[np.int64],
        speakers: Sequence[str],
        used: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Compute what each clip's speaker deviates by [clips, features], from his or her `used` clips.

        used: bool [clips]. Where a speaker is not known or has none of these it is 0.
        """
        found = np.zeros(recorded.shape)
        spoken, names = _spoken(recorded, speakers) & used, np.array(speakers)
        for name in np.unique(names[spoken]):
            own = spoken & (names == name)
            residuals = np.where(recorded[own] == MISSING, 0.0, recorded[own] - self.means[truth[own]])
            found[names == name] = residuals.sum(axis=0) / (own.sum() + self.counts)
        return found

    def prior(self, constants: InputQuantization, windows: int) -> VoicePrior:
        """Make the prior of a model whose input has these constants, for voices of so many windows."""
        steps = (self.means - constants.center) * constants.multiplier / 2.0**constants.shift
        return VoicePrior(
            np.clip(np.rint(steps), -STEP_MAX, STEP_MAX).astype(np.int8),
            np.clip(np.rint(self.counts), 1, _MOST_COUNTS).astype(np.uint16),
            windows,
        )


def heard_by_voice(pooled: NDArray[np.int32], shifts: NDArray[np.float64]) -> NDArray[np.int32]:
    """Make versions of clips as a device hears them that knows the speaker's voice.

    Clips as recorded are added so, and every second further version becomes so. pooled: [versions, clips,
    features], the first as recorded; shifts: of each clip's speaker [clips, features]. Returns one version
    more.
    """
    heard = np.concatenate([pooled[:1], pooled])  # a version at a time: there may be many
    for version in (heard[1], *heard[2::2]):
        known = version != MISSING
        version[known] = np.rint(version - shifts)[known]
    return heard


def _spoken(recorded: NDArray[np.int32], speakers: Sequence[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (recorded != MISSING).any(axis=1) & (np.array(speakers) != "")
    return found


def _filled(clips: NDArray[np.int32]) -> NDArray[np.float64]:
    """Put the mean of a feature where it is missing."""
    known = clips != MISSING
    mean = np.where(known, clips, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, clips, mean)


def _class_mean(
    clips: NDArray[np.float64], names: NDArray[np.str_], members: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Average the speakers' means of a class; of one that nobody speaks, those of all clips."""
    chosen = members if members.any() else np.ones(len(clips), np.bool_)
    own = [clips[chosen & (names == name)].mean(axis=0) for name in np.unique(names[chosen])]
    mean: NDArray[np.float64] = np.mean(own, axis=0)
    return mean


def _variance_ratio(residuals: NDArray[np.float64], names: NDArray[np.str_]) -> NDArray[np.float64]:
    """Estimate the variance within speakers over that between them [features], by the method of moments.

    No feature has less than a thousandth of the variance within between speakers: the ratio stays finite.
    """
    parts = [residuals[names == name] for name in np.unique(names)]
    squares = sum(((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in parts)
    within = squares / max(len(residuals) - len(parts), 1)
    between = np.var([part.mean(axis=0) for part in parts], axis=0, ddof=1)
    between = between - within * np.mean([1 / len(part) for part in parts])
    least = within / 1000 + 1e-9
    ratio: NDArray[np.float64] = within / np.maximum(between, least)
    return ratio
