"""Networks that were trained on librosa's mean MFCC: the integer front end in the place of librosa.

That is `librosa.feature.mfcc(y=y, sr=sr, n_mfcc=n).mean(axis=1)` with librosa's defaults: frames of 2048
samples every 512, 128 mel bands (Slaney) up to half the sample rate, powers in dB no further than 80 below a
clip's greatest. What the integers have otherwise: no padding of the edges, and one floor for all clips in
place of 80 dB below each, chosen on the given clips. The mean difference that remains is an offset of each
feature.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.extraction.recordings import Recordings
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.librosa_reference import pooled_in_units
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.training.chain import Floats, ImportedNetwork, Scaling, after

_NAME = re.compile(r"librosa-mfcc([1-9][0-9]?)(-16k)?")
_MOST = 64  # coefficients of 128 bands that say anything of speech
_TOP_DB = 80.0  # librosa's power_to_db
LOWEST_FLOOR = 1e-10  # its amin


def librosa_spec(name: str, log_floor: float = LOWEST_FLOOR) -> FeatureSpec:
    """Return the specification of `librosa-mfccN`, at 22.05 kHz, or `librosa-mfccN-16k`.

    log_floor: the least power of a mel band. Raises SerqError if there are no such features.
    """
    match = _NAME.fullmatch(name)
    if match is None or int(match[1]) > _MOST:
        raise SerqError(
            f"there are no features {name!r}; name librosa-mfcc13, librosa-mfcc20 or librosa-mfcc40, each"
            " also with -16k"
        )
    rate = 16000 if match[2] else 22050
    return FeatureSpec(
        name=name,
        sample_rate=rate,
        fft_length=2048,
        window_length=0,
        hop_length=512,
        center=False,
        mel_bands=128,
        fmin=0.0,
        fmax=rate / 2,
        log_floor=log_floor,
        tiers=0,
        speech_frames=0,
        blocks=(Mfcc(int(match[1]), ("mean",)),),
    )


def librosa_means(spec: FeatureSpec, recordings: Recordings) -> tuple[Floats, Floats]:
    """Compute librosa's features of recordings [clips, coefficients], and the least power of each [clips].

    That is 80 dB below the greatest power of the clip's mel bands. Raises SerqError if librosa is not
    installed.
    """
    try:
        import librosa
    except ImportError as error:
        raise SerqError(
            "features of librosa need a package that is not installed (librosa); run `pip install"
            " 'serq-mcu[train]'`"
        ) from error
    means, floors = [], []
    for pcm in recordings.audio:
        power = librosa.feature.melspectrogram(y=pcm.astype(np.float32) / 32768, sr=spec.sample_rate)
        logs = librosa.power_to_db(power, top_db=_TOP_DB)
        means.append(librosa.feature.mfcc(S=logs, n_mfcc=spec.blocks[0].size).mean(axis=1))
        floors.append(max(float(power.max()) * 10 ** (-_TOP_DB / 10), LOWEST_FLOOR))
    return np.array(means, dtype=np.float64), np.array(floors)


def typical_floor(floors: Floats) -> float:
    """Return one floor for all clips: the geometric mean of theirs."""
    return float(np.exp(np.log(floors).mean()))


def on_integers(
    found: ImportedNetwork, spec: FeatureSpec, pooled: NDArray[np.int32], means: Floats
) -> tuple[ImportedNetwork, list[str]]:
    """Fold the integers' scale and offset into a network of librosa's features, and say how near they are.

    pooled: int32 [clips, features], means: librosa's [clips, features], of the same clips.
    """
    unit = pooled_in_units(spec, build_tables(spec), np.ones((1, pooled.shape[1]), np.int32))[0]
    values = pooled.astype(np.float64)
    offset = (means - values * unit).mean(axis=0)
    first = found.first or Scaling("the features", np.ones(1), np.zeros(1))
    scaling = Scaling("librosa's features", unit, offset)
    if first.mean is None and first.scale.size == 1:  # it does not say what it expects: the clips do
        scaling = replace(scaling, mean=values.mean(axis=0), sd=values.std(axis=0))
    folded = replace(found, first=after(scaling, first))
    apart = np.abs(values * unit + offset - means)
    spread = np.maximum(means.std(axis=0), 1e-9)
    plain = replace(found, first=first)
    same = int((folded.scores(values).argmax(axis=1) == plain.scores(means).argmax(axis=1)).sum())
    return folded, [
        f"{spec.name}: the integers differ from librosa's features by {apart.mean():.2f} dB on average,"
        f" {(apart.mean(axis=0) / spread).max():.0%} of a standard deviation in the worst coefficient",
        f"{same} of {len(means)} calibration clips get the same answer from the float network on both",
    ]
