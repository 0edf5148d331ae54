"""What about recordings misleads training without making them unusable.

Each threshold has its reason where it stands; none is met by the studio recordings of EMO-DB and TESS, of
which the distances below are told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.audio import Audio
from serq_mcu.corpus.loaders import Clip
from serq_mcu.corpus.loudness import FRAME_SECONDS, frame_levels, loud_level

EDGE_SECONDS, EDGE_DB = 0.3, 40.0  # a quarter of a second already costs a model without pauses 22 points
EDGE_SHARE = 0.05  # of the clips: fewer move no accuracy by more than a point; EMO-DB has 1 %, TESS none
CLIFF_DB = 25.0  # 99 of 100 studio clips stay below 22; 99 of 100 at 8 kHz of EMO-DB are above 36
OFFSET_SHARE = 0.05  # of a clip's root mean square: 0.08 cost 13 points, 0.39 cost 15; EMO-DB has 0.04
FAINT_DB = -60.0  # of the loud part: what lies 40 dB lower is the rounding to 16 bits (-101 dB)
CLASS_CLIPS, CLASS_SHARE = 5, 0.5  # clips that a class needs to be compared; and how much of it is apart
LEVEL_SHARE = 0.75  # of a class that its level tells: acted anger is louder, at most 0.68 in studio corpora
LEVEL_DB = 6.0  # between the medians of what level tells: a narrow band alone costs 3
_SPECTRUM_SECONDS, _SPECTRUM_FRAMES = 0.032, 2000
_EDGE_HZ = 125.0  # between places where a band may end


@dataclass(frozen=True)
class CorpusWarning:
    """One thing that may mislead training, in a sentence that says what to do; of how many clips."""

    kind: str
    clips: int
    text: str


@dataclass(frozen=True)
class Traits:
    """What is measured of one recording.

    rate: of the file, Hz; edge: the longer of the quiet stretches at its ends, s; content: where its spectrum
    ends, Hz; offset: its mean, of full scale, and as a share of its root mean square; level: of its loud
    part, dB; cancels: whether its channels cancel each other.
    """

    name: str
    label: str
    speaker: str
    rate: int
    edge: float
    content: float
    offset: float
    offset_share: float
    level: float
    cancels: bool


def traits_of(clip: Clip, audio: Audio, sample_rate: int) -> Traits:
    """Measure a recording, which was decoded at `sample_rate` Hz."""
    levels = frame_levels(audio.pcm, sample_rate)
    loud = np.flatnonzero(levels >= loud_level(levels) - EDGE_DB)
    mean, spread = float(audio.pcm.mean()) / 32768, float(audio.pcm.std()) / 32768
    return Traits(
        clip.name,
        clip.label,
        clip.speaker,
        audio.rate,
        FRAME_SECONDS * float(max(loud[0], levels.size - 1 - loud[-1])),
        content_end(audio.pcm, sample_rate),
        mean,
        abs(mean) / spread if spread else 0.0,
        loud_level(levels),
        audio.cancels,
    )


def remarks(audio: Audio, sample_rate: int) -> tuple[str, ...]:
    """Say what is odd about a recording at `sample_rate` Hz, and may make a model answer wrongly."""
    pcm = audio.pcm
    if not pcm.any():
        cancel = ": its channels cancel each other, so keep one of them" if audio.cancels else ""
        return (f"every sample is zero{cancel}",)
    mean, spread = float(pcm.mean()) / 32768, float(pcm.std()) / 32768
    end = content_end(pcm, sample_rate)
    level = loud_level(frame_levels(pcm, sample_rate))
    clipped = int(np.count_nonzero((pcm == 32767) | (pcm == -32768)))
    found = (
        (
            abs(mean) > max(OFFSET_SHARE * spread, 1e-3),
            f"its mean is {mean:+.3f} of full scale: a DC offset, where models are less accurate; take it"
            " off, as with a high-pass at 20 Hz",
        ),
        (clipped > 1, f"{clipped} samples are at full scale: it is clipped"),
        (level < FAINT_DB, f"even its loud part is at {level:.0f} dB: 16 bits hold little of it"),
        (
            end < sample_rate / 2,
            f"nothing is above some {end:.0f} Hz: it was a telephone's or at a lower rate, where models are"
            " less accurate",
        ),
    )
    return tuple(words for odd, words in found if odd)


def content_end(pcm: NDArray[np.int16], rate: int) -> float:
    """Return the frequency in Hz above which a recording holds next to nothing; half its rate if none.

    That is where the mean spectrum of its louder frames falls by CLIFF_DB within 250 Hz and stays down.
    Voices and microphones fall more slowly; a resampler or a telephone does not.
    """
    size = 2 ** round(np.log2(_SPECTRUM_SECONDS * rate))
    if pcm.size < size:
        return rate / 2
    spectrum = _mean_spectrum(pcm, size)
    ends = np.arange(rate / 8, 0.46 * rate, _EDGE_HZ).tolist()
    falls = [_fall(spectrum, end, rate / size) for end in ends]
    return float(ends[int(np.argmax(falls))]) if max(falls) >= CLIFF_DB else rate / 2


def _fall(spectrum: NDArray[np.float64], end: float, width: float) -> float:
    """Compute by how much a spectrum is lower everywhere above `end` Hz than just below it, dB.

    width: of a bin, Hz; the last bins are left out, where converters have their own edge.
    """
    places = (end - 5 * _EDGE_HZ, end - _EDGE_HZ, end + _EDGE_HZ, 0.98 * width * (spectrum.size - 1))
    first, last, above, top = (round(hertz / width) for hertz in places)
    return float(spectrum[first:last].mean() - spectrum[above:top].max())


def _mean_spectrum(pcm: NDArray[np.int16], size: int) -> NDArray[np.float64]:
    """Compute the mean power spectrum, dB, of the louder half of the frames of `size` samples."""
    frames = np.lib.stride_tricks.sliding_window_view(pcm, size)[:: size // 2]
    frames = frames[:: -(-len(frames) // _SPECTRUM_FRAMES)].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    energy = np.square(frames).sum(axis=1)
    louder = frames[energy >= np.median(energy)]
    power = np.square(np.abs(np.fft.rfft(louder * np.hanning(size), axis=1))).mean(axis=0)
    decibels: NDArray[np.float64] = 10 * np.log10(power + 1e-9)
    return decibels


def find_warnings(found: Sequence[Traits], sample_rate: int) -> list[CorpusWarning]:
    """List what is odd about recordings, at most one warning of each kind."""
    return [
        *_edges(found),
        *_bands(found, sample_rate),
        *_offsets(found),
        *_faint(found),
        *_cancelled(found),
        *_told_by(found, "sample rate", "Hz", lambda traits: traits.rate),
        *_told_by(found, "bandwidth", "Hz", lambda traits: traits.content),
        *_told_by(found, "level", "dB", lambda traits: traits.level, "loudness", LEVEL_SHARE, LEVEL_DB),
        *_told_by_speaker(found),
    ]


def _edges(found: Sequence[Traits]) -> Iterator[CorpusWarning]:
    odd = [traits for traits in found if traits.edge > EDGE_SECONDS]
    if len(odd) > EDGE_SHARE * len(found):
        most = max(odd, key=lambda traits: traits.edge)
        yield CorpusWarning(
            "long edges",
            len(odd),
            f"{_clips(odd)} or end with more than {EDGE_SECONDS:g} s that lie {EDGE_DB:g} dB under the rest,"
            f" {most.name} with {most.edge:.1f} s; keep pauses in training (augmentation.pause_share), or cut"
            " them off",
        )


def _bands(found: Sequence[Traits], sample_rate: int) -> Iterator[CorpusWarning]:
    odd = [traits for traits in found if traits.content < sample_rate / 2]
    if odd:
        end = float(np.median([traits.content for traits in odd]))
        yield CorpusWarning(
            "half-empty",
            len(odd),
            f"{_names(odd)}: nothing is above some {end:.0f} Hz, though {sample_rate / 2:.0f} Hz are heard;"
            " look for recordings that were never at a lower rate, or train on narrow bands"
            " (augmentation.band_share)",
        )


def _offsets(found: Sequence[Traits]) -> Iterator[CorpusWarning]:
    odd = [traits for traits in found if traits.offset_share > OFFSET_SHARE]
    if odd:
        most = max(odd, key=lambda traits: abs(traits.offset))
        yield CorpusWarning(
            "offset",
            len(odd),
            f"{_names(odd)}: the mean is more than a twentieth of the signal, in {most.name}"
            f" {most.offset:+.3f} of full scale; take it off, as with a high-pass at 20 Hz",
        )


def _faint(found: Sequence[Traits]) -> Iterator[CorpusWarning]:
    odd = [traits for traits in found if traits.level < FAINT_DB]
    if odd:
        yield CorpusWarning(
            "faint",
            len(odd),
            f"{_names(odd)}: even the loud part is below {FAINT_DB:g} dB, so that 16 bits hold little of it;"
            " record louder, or leave them out",
        )


def _cancelled(found: Sequence[Traits]) -> Iterator[CorpusWarning]:
    odd = [traits for traits in found if traits.cancels]
    if odd:
        yield CorpusWarning(
            "cancelled",
            len(odd),
            f"{_names(odd)}: the channels cancel each other when they are mixed to one; keep one channel",
        )


def _told_by(
    found: Sequence[Traits],
    what: str,
    unit: str,
    value: Callable[[Traits], float],
    kind: str = "told apart",
    share: float = CLASS_SHARE,
    least: float = 0.0,
) -> Iterator[CorpusWarning]:
    """Warn of the class that a value tells best from the others, if it tells so great a share of it.

    least: by how much the medians of the class and of the others must differ.

    By the greatest difference between the shares of the class, and of the others, that are no higher than any
    value (Kolmogorov and Smirnov's distance).
    """
    by_label: dict[str, list[float]] = defaultdict(list)
    for traits in found:
        by_label[traits.label].append(value(traits))
    best = max(
        (
            (abs(own - rest), label, limit, own, rest)
            for label in by_label
            for limit, own, rest in _shares(by_label, label, least)
        ),
        default=(0.0, "", 0.0, 0.0, 0.0),
    )
    distance, label, limit, own, rest = best
    if distance >= share:
        yield CorpusWarning(
            kind,
            len(by_label[label]),
            f"the class {label} differs from the others in {what}: at most {limit:.0f} {unit} in {own:.0%} of"
            f" its clips and in {rest:.0%} of theirs, so a model can tell it without listening to the voice;"
            f" record all classes alike{', or resample all to the lowest rate' if unit == 'Hz' else ''}",
        )


def _told_by_speaker(found: Sequence[Traits]) -> Iterator[CorpusWarning]:
    """Warn of the class whose speakers differ most from those of the others, if half of its clips do.

    By half the sum of the differences between each speaker's shares of the class and of the others (the total
    variation distance).
    """
    by_label: dict[str, Counter[str]] = defaultdict(Counter)
    for traits in found:
        by_label[traits.label][traits.speaker] += 1
    everybody = sum(by_label.values(), Counter())
    best = (0.0, "")
    for label, own in by_label.items():
        rest = everybody - own
        if min(own.total(), rest.total()) >= CLASS_CLIPS and "" not in everybody:
            apart = (abs(own[who] / own.total() - rest[who] / rest.total()) for who in everybody)
            best = max(best, (sum(apart) / 2, label))
    distance, label = best
    if distance >= CLASS_SHARE:
        own = by_label[label]
        yield CorpusWarning(
            "speakers",
            own.total(),
            f"the class {label} differs from the others in who speaks: its {own.total()} clips are by"
            f" {len(own)} of {len(everybody)} speakers, {own.most_common(1)[0][1]} of them by"
            f" {own.most_common(1)[0][0]}, so a model can tell it by the voice; record all classes with the"
            " same speakers, and hold out speakers (training.protocol)",
        )


def _shares(
    by_label: dict[str, list[float]], label: str, least: float
) -> Iterator[tuple[float, float, float]]:
    """Yield each value with the shares of a class and of all others that are no higher."""
    own = np.array(by_label[label])
    rest = np.array([value for name, values in by_label.items() if name != label for value in values])
    if min(own.size, rest.size) >= CLASS_CLIPS and abs(np.median(own) - np.median(rest)) >= least:
        for limit in np.unique(np.concatenate([own, rest])).tolist():
            yield limit, float((own <= limit).mean()), float((rest <= limit).mean())


def _clips(odd: Sequence[Traits]) -> str:
    return "1 recording begins" if len(odd) == 1 else f"{len(odd)} recordings begin"


def _names(odd: Sequence[Traits]) -> str:
    return odd[0].name if len(odd) == 1 else f"{len(odd)} recordings, such as {odd[0].name}"
