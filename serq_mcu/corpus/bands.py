"""What a narrow channel leaves of a recording: a lower sample rate, or a telephone.

Files of 8 and 11.025 kHz keep half of the band that the front end hears at 16 kHz, and less. Some of 8 kHz
code each sample in eight bits (ITU-T G.711, mu-law). A telephone also keeps 300 to 3400 Hz alone (ITU-T
G.712).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serq_mcu.corpus.audio import rounded

TELEPHONE, MU_LAW = "telephone", "mu-law"
BANDS = {"8k": 8000, "11k": 11025, MU_LAW: 8000, TELEPHONE: 8000}  # name: sample rate, Hz
_LOW_HZ, _HIGH_HZ = 300.0, 3400.0
_TAPS = 255  # of the telephone's filter; its edges are some 100 Hz wide at 8 kHz
_BIAS, _LARGEST = 132, 32635  # of mu-law in 16-bit units: four times G.711's 33, and 32767 less the bias


def in_band(pcm: NDArray[np.int16], rate: int, band: str) -> NDArray[np.int16]:
    """Return PCM, int16 [samples] at `rate` Hz, as one of BANDS lets it through: as long, at the same rate.

    It is resampled by soxr (quality HQ) down and up again, and is 16-bit PCM in between. A rate that is no
    higher than the band's is kept.
    """
    narrow = min(BANDS[band], rate)
    low = _resampled(pcm, rate, narrow)
    if band == TELEPHONE:
        low = rounded(np.convolve(low.astype(np.float64), _telephone_filter(narrow), mode="same"))
    if band in (TELEPHONE, MU_LAW):
        low = mu_law(low)
    back, wide = _resampled(low, narrow, rate)[: pcm.size], np.zeros(pcm.size, np.int16)
    wide[: back.size] = back
    return wide


def mu_law(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """Code PCM, int16 of any shape, in mu-law and decode it again.

    A magnitude and the bias of 132 (33 at G.711's 14 bits) make a number of one of eight octaves. The code
    keeps the octave and four bits below its leading one; decoded, it is the middle of what has that code.
    """
    values = pcm.astype(np.int64)
    biased = np.minimum(np.abs(values), _LARGEST) + _BIAS
    octave = np.frexp(biased.astype(np.float64))[1] - 8  # 0 to 7: the leading one is bit 7 to 14
    mantissa = (biased >> (octave + 3)) & 15
    decoded = ((2 * mantissa + 33) << (octave + 2)) - _BIAS
    coded: NDArray[np.int16] = np.where(values < 0, -decoded, decoded).astype(np.int16)
    return coded


def _telephone_filter(rate: int) -> NDArray[np.float64]:
    """Return the taps of a band-pass: two ideal low-passes' difference under a Hamming window."""
    place = np.arange(_TAPS) - _TAPS // 2
    low, high = (2 * edge / rate for edge in (_LOW_HZ, min(_HIGH_HZ, rate / 2)))
    taps: NDArray[np.float64] = (high * np.sinc(high * place) - low * np.sinc(low * place)) * np.hamming(
        _TAPS
    )
    return taps


def _resampled(pcm: NDArray[np.int16], rate: int, target: int) -> NDArray[np.int16]:
    if rate == target:
        return pcm
    import soxr

    # floats in and out: soxr dithers 16-bit output, and two runs must agree
    samples = soxr.resample(pcm.astype(np.float64), rate, target, quality="HQ")
    return rounded(samples[: math.ceil(pcm.size * target / rate)])
