"""Small made-up models for tests: any shape, any widths, and the extremes of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from serq_mcu.frontend.blocks import F0, Energy, Mel, Mfcc, Voicing
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers import DenseLayer
from serq_mcu.layers.base import ACTIVATION_MAX
from serq_mcu.layers.encodings import ENCODINGS, Width, encoding_of
from serq_mcu.quantization.lowering import Lowering
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantized_model.types import INPUT_ZERO_POINT, DecisionRule, InputQuantization, QuantizedModel
from serq_mcu.quantized_model.voice import VoicePrior
from serq_mcu.training.sequences import RECURRENT, Attention, OverTime, Recurrent, sequence_layers

SMALL_SPEC = FeatureSpec(
    name="small", fft_length=256, hop_length=128, mel_bands=20, blocks=(Mfcc(7, ("mean", "sd", "delta_sd")),)
)
SEQUENCE_SPEC = FeatureSpec(
    name="sequence",
    fft_length=512,
    hop_length=200,
    mel_bands=20,
    pitch_low=80,
    speech_frames=3,
    blocks=(Mfcc(9, ()), Mel(20, ()), F0(1, ()), Voicing(2, ()), Energy(1, ())),
    sequence_frames=17,
)


_PLAIN_RULE: dict[str, Any] = {
    "blocks": 3,
    "block_frames": 4,
    "floor_blocks": 3,
    "unsure_margin": 0,
    "smoothing": 0,
    "wake_rise": 0,
}


def made_up_model(
    outputs: Sequence[int],
    bits: Sequence[Width],
    seed: int = 0,
    fill: str = "random",
    spec: FeatureSpec = SMALL_SPEC,
    labels: Sequence[str] | None = None,
    *,
    voices: bool = True,
    **decision: Any,
) -> QuantizedModel:
    """A model with layers of `outputs` neurons at `bits`; fill is random, low (all fields 0), high (all
    fields at the top) or alternating.

    voices: whether it can learn one, of 3 windows. decision: what differs from a rule of 3 blocks of 4 frames
    that never refuses to answer and hears all.
    """
    rng = np.random.default_rng(seed)
    layers, width = [], spec.feature_count
    for index, (count, width_bits) in enumerate(zip(outputs, bits, strict=True)):
        encoding = encoding_of(width_bits)
        top = ENCODINGS[encoding].levels - 1
        u = {
            "random": lambda shape, top=top: rng.integers(0, top + 1, shape),
            "low": lambda shape, top=top: np.zeros(shape),
            "high": lambda shape, top=top: np.full(shape, top),
            "alternating": lambda shape, top=top: np.indices(shape).sum(axis=0) % 2 * top,
        }[fill]((count, width)).astype(np.uint8)
        q = 2 * u.astype(np.int64) - top
        zero_point = INPUT_ZERO_POINT if index == 0 else 0
        bias = rng.integers(-50 * top, 50 * top + 1, count) - zero_point * q.sum(axis=1)
        last = index == len(outputs) - 1
        scale = ACTIVATION_MAX / (2 * np.sqrt(width) * top * 40)
        shift = next(s for s in range(24, 0, -1) if round(scale * 2**s) < 2**24)
        layers.append(
            DenseLayer(
                u=u,
                bias=bias.astype(np.int32),
                encoding=encoding,
                multiplier=None if last else max(1, round(scale * 2**shift)),
                shift=None if last else shift,
                weight_scale=1.0,
                input_scale=1.0,
            )
        )
        width = count
    features = spec.coefficients
    constants = InputQuantization(
        center=rng.integers(-2000, 2000, features).astype(np.int32),
        multiplier=rng.integers(1024, 2048, features).astype(np.uint16),
        shift=rng.integers(12, 18, features).astype(np.uint8),
    )
    names = tuple(labels) if labels else tuple(f"class {i}" for i in range(width))
    tables = build_tables(spec)
    rule = None if spec.center else DecisionRule(**_PLAIN_RULE | decision)
    prior = made_up_voices(width, features, seed) if voices else None
    return QuantizedModel(spec, tables, constants, tuple(layers), names, 1.0, {"made up": seed}, rule, prior)


def made_up_sequence(words: Sequence[str], widths: Sequence[Width], seed: int = 0) -> QuantizedModel:
    """A model on the frames of SEQUENCE_SPEC with the layers that the configuration's words name, of random
    weights, and a dense one of 3 classes behind them; widths: of each matrix.
    """
    rng, spec = np.random.default_rng(seed), SEQUENCE_SPEC
    named = sequence_layers(words, spec.sequence_frames, spec.coefficients)
    first = [layer.floats(rng.normal(0, 0.7, shape) for shape in _keras_shapes(layer)) for layer in named]
    pooled = rng.normal(0, 800, (60, spec.feature_count)).astype(np.int32)
    last = rng.normal(0, 1, (first[-1].outputs, 3)), rng.normal(0, 1, 3)
    network = FloatNetwork.mlp(last[:1], last[1:], *standardisation(pooled, spec.coefficients), first)
    model = Lowering(network, pooled, spec, build_tables(spec), ("calm", "loud", "sad")).model(widths)
    return replace(model, decision=DecisionRule(**_PLAIN_RULE))


def _keras_shapes(layer: OverTime) -> list[tuple[int, ...]]:
    """The shapes of a layer's weights in Keras."""
    if isinstance(layer, Attention):
        return [(layer.channels, 1)]
    if isinstance(layer, Recurrent):
        kind = RECURRENT[layer.name]
        rows = kind.gates * layer.units
        return [(layer.channels, rows), (layer.units, rows), (2, rows) if kind.biases == 2 else (rows,)]
    taps, channels = layer.windows.taps, layer.windows.channels
    if layer.filters:
        return [(taps, channels, layer.filters), (layer.filters,)]
    return [(taps, channels, 1), (channels,)] if layer.edges else []


def made_up_voices(classes: int, features: int, seed: int = 0) -> VoicePrior:
    """A prior of 3 windows, with the extremes of means and counts among random ones."""
    rng = np.random.default_rng(seed)
    means = rng.integers(-30, 31, (classes, features)).astype(np.int8)
    counts = rng.integers(1, 40, features).astype(np.uint16)
    means[0, :2], counts[:3] = (-127, 127), (1, 65535, 2)
    return VoicePrior(means, counts, 3)


def dense(model: QuantizedModel) -> list[DenseLayer]:
    """The layers of a model that has dense ones alone."""
    layers = [layer for layer in model.layers if isinstance(layer, DenseLayer)]
    assert len(layers) == len(model.layers)
    return layers


def made_up_features(model: QuantizedModel, count: int, seed: int = 0) -> np.ndarray:
    """Pooled features int32 [count, features] around the centers, the first rows at the extremes that
    saturate every input.
    """
    rng = np.random.default_rng(seed)
    spread = (INPUT_ZERO_POINT * 2.0**model.input.shift) / model.input.multiplier
    frames, center = max(model.spec.sequence_frames, 1), model.input.center
    rows = center + rng.normal(0, 0.5, (count, frames, center.size)) * spread
    rows[0], rows[1], rows[2] = 2**31 - 1, -(2**31) + 1, center
    rows = rows.reshape(count, -1)
    rows[3:4, ::3] = MISSING
    return np.clip(np.round(rows), MISSING, 2**31 - 1).astype(np.int32)
