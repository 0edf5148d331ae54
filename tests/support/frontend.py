"""Feature specifications, tables and clips made to be hard, for tests of the front end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from serq_mcu.errors import SerqError
from serq_mcu.frontend import pitch
from serq_mcu.frontend.blocks import F0, Chroma, Energy, Mel, Mfcc, Voicing
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables

SOME = ("p10", "mean", "p50", "delta_sd", "p90")
SPEECH120 = FeatureSpec(name="speech120", blocks=(Mfcc(40),))
SPECS = {  # every FFT length (so odd and even numbers of levels), and the ends of the other ranges
    "speech120": SPEECH120,
    "speech235": FeatureSpec(),
    "short": FeatureSpec(name="short", fft_length=256, hop_length=160, mel_bands=20, blocks=(Mfcc(7),)),
    "empty segments": FeatureSpec(
        name="dense", fft_length=256, hop_length=256, mel_bands=128, blocks=(Mfcc(128),)
    ),
    "telephone": FeatureSpec(
        name="tel",
        sample_rate=8000,
        fft_length=512,
        hop_length=200,
        mel_bands=26,
        fmin=300,
        fmax=3400,
        blocks=(Mfcc(13),),
    ),
    "long": FeatureSpec(
        name="long",
        sample_rate=48000,
        fft_length=2048,
        hop_length=700,
        mel_bands=64,
        fmax=24000,
        blocks=(Mfcc(20),),
    ),
    "long segments": FeatureSpec(
        name="two", fft_length=2048, hop_length=2048, mel_bands=2, blocks=(Mfcc(1),)
    ),
    "all blocks": FeatureSpec(name="all", mel_bands=26, blocks=(Chroma(), Mel(26), Energy(), Mfcc(20, SOME))),
    "low bands": FeatureSpec(name="low", blocks=(Mel(40, ("sd",)), Mfcc(20, loudness=False, bands=28))),
    "every frame": FeatureSpec(name="every", tiers=0, blocks=(Mfcc(13), Energy())),
    "narrow tiers": FeatureSpec(name="narrow", tiers=8, tier_db=3.0, blocks=(Mel(40, ("delta_mean", "sd")),)),
    "short window": FeatureSpec(
        name="htk",
        fft_length=512,
        window_length=400,
        hop_length=160,
        fmin=20,
        mel_scale="htk",
        mel_norm="none",
        blocks=(Mfcc(13), Chroma(12, ("mean", "delta_sd"))),
    ),
    "shortest window": FeatureSpec(
        name="half",
        sample_rate=11025,
        fft_length=2048,
        window_length=1024,
        hop_length=333,
        mel_bands=30,
        fmax=5512.5,
        blocks=(Mel(30),),
    ),
    "narrow window": FeatureSpec(
        name="narrow",
        sample_rate=8000,
        fft_length=256,
        window_length=130,
        hop_length=80,
        fmax=4000,
        mel_bands=18,
        blocks=(Mel(18, ("sd",)),),
    ),
    "chroma alone": FeatureSpec(
        name="pitch", sample_rate=11025, fft_length=2048, hop_length=512, fmax=5000, blocks=(Chroma(),)
    ),
    "chroma of few bins": FeatureSpec(
        name="coarse", fft_length=256, hop_length=256, blocks=(Chroma(12, ("mean",)),)
    ),
    "centred": FeatureSpec(
        name="centred", fft_length=512, hop_length=200, center=True, blocks=(Mfcc(13), Chroma())
    ),
    "centred short window": FeatureSpec(
        name="centred400",
        sample_rate=11025,
        fft_length=1024,
        window_length=552,
        hop_length=552,
        center=True,
        fmax=5000,
        mel_bands=32,
        blocks=(Mel(32),),
    ),
    "pitch": FeatureSpec(
        name="pitch", mel_bands=20, blocks=(Mfcc(8), F0(), Voicing(2, ("mean",)), Chroma(12, ("mean",)))
    ),
    "pitch alone": FeatureSpec(name="f0", fft_length=512, hop_length=512, blocks=(Voicing(), F0())),
    "pitch of a short window": FeatureSpec(
        name="f0 of 400",
        fft_length=512,
        window_length=400,
        hop_length=200,
        fmin=100,
        mel_bands=20,
        pitch_low=80,
        blocks=(F0(1, ("mean", "sd", "p10", "p90", "delta_mean")), Mel(20), Voicing(2, ("sd",))),
    ),
    "pitch of few bins": FeatureSpec(
        name="high",
        sample_rate=48000,
        fft_length=256,
        hop_length=256,
        pitch_low=375,
        pitch_high=800,
        blocks=(F0(), Voicing()),
    ),
    "pitch of many bins": FeatureSpec(
        name="low",
        sample_rate=8000,
        fft_length=2048,
        hop_length=512,
        fmax=4000,
        pitch_low=40,
        pitch_high=1000,
        voiced_above=0.9,
        blocks=(Voicing(), F0()),
    ),
}

GRID = {
    f"{rate} Hz, FFT {length}": FeatureSpec(
        name="grid",
        sample_rate=rate,
        fft_length=length,
        hop_length={8000: length, 11025: length // 3 + 1, 16000: length // 2}[
            rate
        ],  # the frame, one that does not divide it, half of it
        fmin=fmin,
        fmax=min(fmax, rate / 2),
        mel_bands=bands,
        mel_scale=scale,
        blocks=blocks,
    )
    for rate in (8000, 11025, 16000)
    for length, fmin, fmax, bands, scale, blocks in (
        (256, 0, 8000, 20, "slaney", (Mfcc(20), Chroma())),
        (512, 60, 3800, 26, "htk", (Mfcc(13),)),
        (1024, 125.5, 5500, 40, "slaney", (Mel(40), Mfcc(12))),
        (2048, 0, 8000, 128, "htk", (Mfcc(40), Mel(128), Chroma())),
    )
}


def stimulus(length: int, seed: int = 0) -> np.ndarray:
    """PCM made to be hard: pieces of at least one frame each of extremes, squares, impulses, chirps and
    noise at every level.
    """
    rng = np.random.default_rng(seed)
    n = np.arange(length)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / length)
    impulses = [
        np.eye(1, length, place)[0] * height
        for place, height in ((0, 1), (1, -32768), (length // 2, 32767), (length // 2 + 1, -32768))
    ]
    squares = [
        np.where(np.sin(2 * np.pi * (n + 0.5) / period) >= 0, 32767, -32768)
        for period in (2, 3, 4, 5, 8, 21, 64, length // 2, length)
    ]
    # the sign of each product with a bin's basis function: what takes that bin's sum to its L1 bound
    worst = [
        np.where(window * np.cos(2 * np.pi * k * n / length + phase) >= 0, 32767, -32768)
        for k in (0, 1, 7, length // 4, length // 2)
        for phase in (0, 1)
    ]
    chirps = [height * np.sin(np.pi * n * n / (2 * length)) for height in (32767, 900, 3)]
    noise = [rng.integers(-(2**bits), 2**bits, length) for bits in range(16)]
    constants = [np.full(length, value) for value in (0, -32768, 32767, -1, 1, -16384, 16384)]
    pieces = [*constants, *impulses, *squares, *worst, *chirps, *noise, np.zeros(length)]
    return np.concatenate([np.round(piece) for piece in pieces]).astype(np.int16)


def random_pitch(extreme: Any, spec: FeatureSpec) -> dict[str, np.ndarray]:
    """Tables of the pitch stage at the ends of their types; compressed bins stay within 15 bits."""
    types = pitch.table_types(spec)
    first = pitch.lag_range(spec)[0]
    return {
        "weight": extreme(0, 65535, types["weight"].shape).astype(np.uint16),
        "compress": np.concatenate([extreme(0, 65535, 32), extreme(0, 16383, 32)]).astype(np.uint16),
        "cost": extreme(0, 32767, types["cost"].shape).astype(np.int16),
        "search": np.array(
            [first, extreme(0, 1, ()), extreme(-(2**24), 2**24, ()), extreme(1, 32768, ())]
        ).astype(np.int32),
    }


def random_tables(rng: np.random.Generator, spec: FeatureSpec) -> FrontendTables:
    def extreme(low, high, shape):
        ends, between = rng.random(shape) < 0.3, rng.integers
        return np.where(ends, rng.choice([low, high], shape), between(low, high + 1, shape))

    cuts = np.sort(rng.integers(0, spec.fft_length // 2 + 2, spec.mel_bands + 2))
    segment = []
    for bins in np.diff(cuts).tolist():
        slope = int(rng.integers(0, 32768 // max(bins - 1, 1) + 1))
        segment.append((bins, slope, 32768 - (bins - 1) * slope if bins else 7))
    tables = FrontendTables(
        window=extreme(-32768, 32767, spec.frame_length).astype(np.int16),
        twiddle=extreme(-32767, 32767, (spec.fft_length // 4, 2)).astype(np.int16),
        segment=np.array(segment, dtype=np.uint16),
        mel_offset=extreme(-(2**24), 2**24, spec.mel_bands).astype(np.int32),
        log_table=extreme(0, 65535, (64, 2)).astype(np.uint16),
        blocks={
            "mfcc": {
                "dct": extreme(-32768, 32767, (spec.blocks[0].size, spec.mel_bands // 2)).astype(np.int16)
            }
        }
        | (
            {"chroma": {"weights": extreme(0, 32767, (12, spec.bins)).astype(np.int16)}}
            if spec.block("chroma")
            else {}
        )
        | ({"pitch": random_pitch(extreme, spec)} if spec.uses_pitch else {}),
        headroom=0,
        first_bin=int(cuts[0]),
        log_floor=int(rng.integers(-(2**24), 0)),
        level_offset=int(rng.integers(-(62 << 16), (62 << 16) + 1)),
        tier_width=int(rng.integers(16, 2**15)) if spec.tiers else 0,
        speech_rise=int(rng.integers(1, 2**15)),
        pool_shifts=(1,) * len(spec.blocks),
    )
    for headroom in range(24):
        for shift in range(1, 17):
            candidate = replace(tables, headroom=headroom, pool_shifts=(shift, 1, 12, 1)[: len(spec.blocks)])
            try:
                candidate.check(spec)
                return candidate
            except SerqError:
                continue
    raise AssertionError("no scaling makes these tables safe")
