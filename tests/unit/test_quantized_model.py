"""The waist: its proofs, its file, its interpreter."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from serq_mcu.base import resources
from serq_mcu.config import load_config
from serq_mcu.errors import SerqError
from serq_mcu.layers import DenseLayer
from serq_mcu.quantized_model.interpreter import classify, classify_in_float, quantize_input, scores, stages
from serq_mcu.quantized_model.store import (
    find_model,
    load_model,
    model_bytes,
    save_model,
    shipped_model,
    shipped_models,
)
from serq_mcu.quantized_model.types import NO_SPEECH_LABEL, QuantizedModel
from tests.support.models import dense, made_up_features, made_up_model


@pytest.fixture
def model() -> QuantizedModel:
    return made_up_model((16, 9, 4), (3, 8, 1))


def test_file_round_trip_is_exact_and_repeatable(model: QuantizedModel, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "m.serq")
    again = load_model(path)
    assert model_bytes(again) == path.read_bytes() == model_bytes(model)
    assert again.sha256 == model.sha256
    assert again.widths == (3, 8, 1)
    features = made_up_features(model, 20)
    assert np.array_equal(scores(model, features), scores(again, features))


def test_a_ternary_layer_is_kept_as_what_it_is(tmp_path: Path) -> None:
    model = made_up_model((16, 9, 4), ("ternary", 8, "ternary"))
    again = load_model(save_model(model, tmp_path / "m.serq"))
    assert again.widths == ("ternary", 8, "ternary")
    assert [set(np.unique(layer.q)) for layer in dense(again)[::2]] == [{-2, 0, 2}] * 2
    assert dense(again)[0].accumulator_bound == 21 * 127 * 2 + np.abs(dense(again)[0].bias).max()
    assert again.weights_only_bytes == ((21 * 16 + 16) * 2 + (16 * 9 + 9) * 8 + (9 * 4 + 4) * 2) / 8


def test_every_damaged_byte_of_the_file_is_noticed(model: QuantizedModel, tmp_path: Path) -> None:
    data = bytearray(model_bytes(model))
    rng = np.random.default_rng(1)
    for position in [*range(0, 40), *rng.integers(40, len(data), 200).tolist()]:
        hurt = data.copy()
        hurt[position] ^= 1 << int(rng.integers(0, 8))
        (tmp_path / "m.serq").write_bytes(hurt)
        try:
            same = load_model(tmp_path / "m.serq")
        except SerqError:
            continue
        # JSON has bytes that mean nothing (a number's last zeros, the case of an escape): then nothing of the
        # content may differ
        assert same.sha256 == model.sha256


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 2000])
def test_a_truncated_file_is_refused_with_a_sentence(
    model: QuantizedModel, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "m.serq"
    path.write_bytes(model_bytes(model)[:size])
    with pytest.raises(SerqError, match=r"m\.serq.*damaged"):
        load_model(path)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (6, "format 6.*reads format 5.*serq-mcu quantize"),
        (3, "format 3.*serq-mcu quantize"),
        ("5", "format '5'"),
    ],
)
def test_another_format_is_refused_with_what_to_do(
    model: QuantizedModel, tmp_path: Path, version: object, words: str
) -> None:
    header = model.header() | {"format": version, "sha256": model.sha256}
    (tmp_path / "m.serq").write_bytes(save(model.tensors(), metadata={"serq": json.dumps(header)}))
    with pytest.raises(SerqError, match=words):
        load_model(tmp_path / "m.serq")


def test_a_model_without_a_decision_rule_survives_its_file(model: QuantizedModel, tmp_path: Path) -> None:
    assert load_model(save_model(model, tmp_path / "m.serq")).decision == model.decision
    assert model.decision is not None and "confidence" not in model.header()["decision"]
    rule = dataclasses.replace(model.decision, confidence=tuple(range(0, 190, 10)))
    sure = dataclasses.replace(model, decision=rule)
    assert load_model(save_model(sure, tmp_path / "c.serq")).decision == rule
    silent = dataclasses.replace(model, decision=None)
    assert load_model(save_model(silent, tmp_path / "s.serq")).decision is None
    assert silent.sha256 != model.sha256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"blocks": 0}, "1 to 32 blocks"),
        ({"blocks": 33, "block_frames": 2}, "1 to 32 blocks"),
        ({"block_frames": 1}, "at least 2 frames"),
        ({"blocks": 4, "block_frames": 1025}, "4100 frames"),
        ({"floor_blocks": 65}, "floors"),
        ({"unsure_margin": -1}, "margin"),
        ({"smoothing": 5}, "smoothing"),
        ({"smoothing": 1.0}, "whole number"),
        ({"wake_rise": -1}, "wake_rise"),
        ({"wake_rise": 2**15}, "wake_rise"),
        ({"blocks": True}, "whole number"),
        ({"confidence": (1, 2)}, "19 whole numbers"),
        ({"confidence": (*range(18), 16)}, "in their order"),
        ({"confidence": (*range(18), 2**32)}, "0 to 2\\^32 - 1"),
        ({"confidence": (*range(18), 18.0)}, "19 whole numbers"),
    ],
)
def test_a_decision_rule_out_of_range_is_refused(
    model: QuantizedModel, change: dict[str, Any], words: str
) -> None:
    assert model.decision is not None
    with pytest.raises(SerqError, match=words):
        dataclasses.replace(model.decision, **change)


def test_a_missing_file_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="does not exist"):
        load_model(tmp_path / "none.serq")
    (tmp_path / "other.serq").write_bytes(save({"x": np.zeros(3)}))
    with pytest.raises(SerqError, match="not a model file"):
        load_model(tmp_path / "other.serq")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"u": np.full((4, 9), 2, np.uint8)}, "does not fit 1 bit"),
        ({"u": np.zeros((4, 9), np.int64)}, "uint8"),
        ({"bias": np.zeros(3, np.int32)}, "3 biases for 4 outputs"),
        ({"bias": np.full(4, 2**31 - 1, np.int32)}, "32 bits"),
        ({"encoding": "b9"}, "encoding"),
        ({"u": np.full((4, 9), 3, np.uint8), "encoding": "ternary"}, "does not fit ternary"),
        ({"multiplier": 5, "shift": None}, "together"),
        ({"multiplier": 2**24, "shift": 3}, "out of range"),
    ],
)
def test_a_layer_that_cannot_be_proved_is_refused(
    model: QuantizedModel, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(SerqError, match=words):
        dataclasses.replace(dense(model)[2], **change)


def test_parts_must_fit_each_other(model: QuantizedModel) -> None:
    with pytest.raises(SerqError, match="layer 1 takes 9 inputs, but 16 arrive"):
        dataclasses.replace(model, layers=(dense(model)[0], dense(model)[2]))
    with pytest.raises(SerqError, match="3 labels for 4 scores"):
        dataclasses.replace(model, labels=("a", "b", "c"))
    with pytest.raises(SerqError, match="share a name"):
        dataclasses.replace(model, labels=("a", "b", "c", "a"))
    with pytest.raises(SerqError, match="printable"):
        dataclasses.replace(model, labels=("a", "b", "c", "line\nbreak"))


def test_arrays_are_read_only(model: QuantizedModel) -> None:
    with pytest.raises(ValueError, match="read-only"):
        dense(model)[0].u[0, 0] = 1


def test_sizes_are_the_papers(model: QuantizedModel) -> None:
    parameters = [21 * 16 + 16, 16 * 9 + 9, 9 * 4 + 4]
    assert model.parameters == sum(parameters)
    assert model.weights_only_bytes == (3 * parameters[0] + 8 * parameters[1] + parameters[2]) / 8
    assert model.average_bits == pytest.approx(
        sum(p * b for p, b in zip(parameters, (3, 8, 1), strict=True)) / sum(parameters)
    )


def _by_hand(model: QuantizedModel, features: list[int]) -> list[list[int]]:
    """SPEC.md section 3 once more, in plain Python integers."""
    found = []
    x = []
    for value, center, multiplier, shift in zip(
        features,
        *(a.tolist() for a in (model.input.center, model.input.multiplier, model.input.shift)),
        strict=True,
    ):
        t = max(-(2**20 - 1), min(2**20 - 1, value - center))
        quantized = max(0, min(127, 64 + ((t * multiplier + 2 ** (shift - 1)) >> shift)))
        x.append(64 if value == -(2**31) else quantized)
    found.append(x)
    for layer in dense(model):
        accumulators = [
            sum(
                (2 * u - (2 if layer.width == "ternary" else 2**layer.bits - 1)) * v
                for u, v in zip(row, x, strict=True)
            )
            + bias
            for row, bias in zip(layer.u.tolist(), layer.bias.tolist(), strict=True)
        ]
        found.append(accumulators)
        if layer.multiplier is not None and layer.shift is not None:
            x = [
                max(0, min(127, (a * layer.multiplier + 2 ** (layer.shift - 1)) >> layer.shift))
                for a in accumulators
            ]
            found.append(x)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from([*range(1, 9), "ternary"]), min_size=1, max_size=4),
    st.sampled_from(["random", "low", "high", "alternating"]),
)
def test_the_interpreter_equals_the_formulas(seed: int, bits: list[int | str], fill: str) -> None:
    outputs = np.random.default_rng(seed).integers(2, 20, len(bits)).tolist()
    model = made_up_model(outputs, bits, seed, fill)
    for features in made_up_features(model, 4, seed):
        found = [
            values.tolist() for stage, values in stages(model, features) if stage not in ("pooled", "scores")
        ]
        assert found == _by_hand(model, features.tolist())


def test_the_lowest_index_wins_a_tie(model: QuantizedModel) -> None:
    last = dataclasses.replace(dense(model)[-1], u=np.ones((4, 9), np.uint8), bias=np.zeros(4, np.int32))
    tied = dataclasses.replace(model, layers=(*dense(model)[:-1], last))
    assert classify(tied, made_up_features(tied, 5)).tolist() == [0] * 5


def test_rounding_goes_up_at_a_half() -> None:
    layer = DenseLayer(np.zeros((1, 1), np.uint8), np.zeros(1, np.int32), "b1", 1, 1, 1.0, 1.0)
    assert layer.requantize(np.array([-1, 0, 1, 2, 3, 253, 254, 10**6])).tolist() == [
        0,
        0,
        1,
        1,
        2,
        127,
        127,
        127,
    ]


def test_input_saturates_at_both_ends(model: QuantizedModel) -> None:
    rows = quantize_input(model.input, made_up_features(model, 3))
    assert rows[0].tolist() == [127] * 21
    assert rows[1].tolist() == [0] * 21
    assert rows[2].tolist() == [64] * 21


def test_the_float_network_is_the_integer_one_without_rounding() -> None:
    model = made_up_model((5,), (3,))
    steps = np.random.default_rng(2).integers(-3, 4, (20, model.spec.feature_count))
    exact = model.input.center + steps * 2 ** model.input.shift.astype(
        np.int64
    )  # the standardised input is an integer
    assert classify_in_float(model, exact).tolist() == classify(model, exact).tolist()

    deep = made_up_model((12, 9, 4), (4, 2, 8))
    pooled = made_up_features(deep, 200)
    x = np.clip(
        64 + (pooled.astype(float) - deep.input.center) * (deep.input.multiplier / 2.0**deep.input.shift),
        0,
        127,
    )
    for layer in dense(deep)[:-1]:
        x = np.clip(
            (x @ (2.0 * layer.u - (2**layer.bits - 1)).T + layer.bias) * layer.multiplier / 2**layer.shift,
            0,
            127,
        )
    last = dense(deep)[-1]
    expected = np.argmax(x @ (2.0 * last.u - (2**last.bits - 1)).T + last.bias, axis=1)
    assert classify_in_float(deep, pooled).tolist() == expected.tolist()


CARDS = (resources.MODELS / "README.md").read_text(encoding="utf-8")


def test_models_that_ship_are_named_and_a_file_goes_first(
    model: QuantizedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(shipped_models()) == ["emodb", "emodb-light", "emodb-small"]
    assert (
        find_model(Path("emodb")).sha256 == shipped_model().sha256 != find_model(Path("emodb-small")).sha256
    )
    monkeypatch.chdir(tmp_path)
    save_model(model, Path("emodb-small"))
    assert find_model(Path("emodb-small")).sha256 == model.sha256
    (tmp_path / "emodb").mkdir()  # such as the recordings
    assert find_model(Path("emodb")).sha256 == shipped_model().sha256
    with pytest.raises(SerqError, match=r"emodb-tiny does not exist.*emodb, emodb-light, emodb-small"):
        find_model(Path("emodb-tiny"))


@pytest.mark.parametrize("name", shipped_models())
def test_a_model_that_ships_is_what_its_card_says(name: str) -> None:
    model, (_, _, card) = load_model(shipped_models()[name]), CARDS.partition(f"\n## {name}\n")
    card = card.partition("\n## ")[0]
    assert f"identity `{model.sha256[:16]}`" in card
    assert f"{model.weights_only_bytes:.0f} bytes of weights" in card
    assert f"{model.stored_bytes} stored" in card
    emotions = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
    assert model.labels == (*emotions, NO_SPEECH_LABEL)
    config = load_config(preset={"emodb": "best", "emodb-light": "light", "emodb-small": "tiny"}[name])
    assert model.provenance["config"] == config.to_json()  # by the default commands
    assert model.spec == config.features
    assert [len(layer.bias) for layer in dense(model)[:-1]] == list(config.training.hidden)


@pytest.mark.parametrize(("name", "most"), [("emodb-small", 3000), ("emodb-light", 25000), ("emodb", 25000)])
def test_a_small_model_keeps_within_its_bytes(name: str, most: int) -> None:
    assert load_model(shipped_models()[name]).weights_only_bytes <= most
