"""The vectors of tests/vectors: the reference and the C give every integer and byte that stands in them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from serq_mcu.harness.device import Device
from serq_mcu.harness.protocol import FrameReader, Type, parse_digests
from serq_mcu.harness.transports import ProcessTransport
from serq_mcu.listening.engine import C, open_engine
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.streaming import Decision, analyse, listen, require_decision_rule
from serq_mcu.quantized_model.types import QuantizedModel
from tests.support import vectors

REGENERATE = "run `python -m tests.support.vectors`, and review the difference"


def _pcm() -> np.ndarray:
    return np.fromfile(vectors.FOLDER / vectors.SAMPLES, "<i2").astype(np.int16)


def _model(name: str) -> QuantizedModel:
    return load_model(vectors.FOLDER / f"{name}.serq")


def _expected(name: str) -> Any:
    return json.loads((vectors.FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", vectors.MODELS)
def test_the_reference_computes_what_stands_there(name: str) -> None:
    text = vectors.text(vectors.expected(_model(name), _pcm())) + "\n"
    assert text == (vectors.FOLDER / f"{name}.json").read_text(encoding="utf-8"), REGENERATE


@pytest.mark.parametrize("name", vectors.MODELS)
def test_the_models_are_those_that_the_generator_makes(name: str) -> None:
    """But for tables, whose last bits may depend on the platform's cosine."""
    stored, made = _model(name), vectors.MODELS[name]()
    assert stored.header() == made.header(), REGENERATE
    for tensor, values in made.tensors().items():
        assert np.allclose(values, stored.tensors()[tensor], rtol=0, atol=1), (tensor, REGENERATE)


def test_the_microphones_samples_are_those_that_stand_there() -> None:
    assert _expected(vectors.MICROPHONES) == vectors.microphones(), REGENERATE


def test_the_stream_has_every_kind_of_answer_and_passes_frames_over() -> None:
    model, stream = _model("default"), _expected("default.json")["stream"]
    kinds = {(min(one["answer"], 0), one["frames"] > 0) for one in stream}
    assert kinds == {(0, True), (-1, True), (-2, True), (-1, False)}
    blocks = listen(model, require_decision_rule(model), analyse(model, _pcm()))
    assert not all(block.heard.all() for block in blocks)


@pytest.mark.parametrize("name", vectors.MODELS)
def test_the_c_computes_what_stands_there(name: str) -> None:
    model, expected, pcm = _model(name), _expected(f"{name}.json"), _pcm()
    with vectors.harness(model) as program:
        device = Device(ProcessTransport([str(program)]))
        assert device.identity.model == expected["identity"]
        for clip in expected["clips"]:
            result = device.run_clip(pcm[clip["start"] : clip["start"] + clip["samples"]])
            assert {stage["name"]: int(stage["digest"], 16) for stage in clip["stages"]} == result.digests
            assert (result.label, result.frames) == (clip["answer"], clip["frames"])
            assert result.sums == tuple(clip["sums"])
            assert result.scores.tolist() == clip["stages"][-1]["integers"]
        device.close()


@pytest.mark.parametrize("name", ["selects", "default"])
def test_the_c_decides_on_the_stream_as_it_stands_there(name: str) -> None:
    engine = open_engine(_model(name), lambda *_: None)
    assert engine.by == C
    found = engine.push(_pcm())
    assert found == [
        Decision(**{**one, "scores": tuple(one["scores"])}) for one in _expected(f"{name}.json")["stream"]
    ]


def test_the_harness_says_every_byte_of_the_transcript() -> None:
    wire = _expected(vectors.WIRE)
    with vectors.harness(_model(vectors.WIRE_MODEL)) as program:
        assert vectors.transcript(vectors.clip_of_wire(_pcm()), program) == wire, REGENERATE
    received = FrameReader().feed(bytes.fromhex("".join(step["receive"] for step in wire["steps"])))
    types = [frame.type for frame in received]
    assert {Type.STOPPED, Type.ERROR, *(request | 0x80 for request in Type if request < 0x80)} == set(types)
    codes = {frame.payload[0] for frame in received if frame.type == Type.ERROR}
    assert codes == {1, 2, 3, 4, 6, 7, 8, 9}  # 5 takes 4096 frames
    _, digests = parse_digests(received[types.index(Type.DIGESTS | 0x80)].payload)
    assert len(digests) == len(_model(vectors.WIRE_MODEL).stages)
