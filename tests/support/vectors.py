"""Test vectors for anybody's implementation of SPEC.md: samples in, every integer's digest out.

    python -m tests.support.vectors

writes tests/vectors again: run it after a change of SPEC.md's integers, of the model file or of the wire.
It needs a C compiler, as the transcript is what the compiled harness answers. tests/vectors/README.md
describes the files.
"""

from __future__ import annotations

import itertools
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cobs import cobs

from serq_mcu.boards.board import load_board
from serq_mcu.boards.samples import Converter, conversion
from serq_mcu.build.host_program import SMALL_FRAMES, host_build
from serq_mcu.codegen.export import export
from serq_mcu.config import load_config
from serq_mcu.frontend.reference import clip_features, pooled_frames
from serq_mcu.harness.protocol import Frame, FrameReader, Type, encode_frame, input_sums
from serq_mcu.harness.transports import ProcessTransport
from serq_mcu.quantized_model.interpreter import classify, learn, require_voices, scores
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.streaming import stream_decisions
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from serq_mcu.verification.verify import digest, reference_stages
from tests.support.frontend import stimulus
from tests.support.golden import MODELS as GOLDEN
from tests.support.models import made_up_model
from tests.support.streaming import RULE

FOLDER = Path(__file__).parents[1] / "vectors"
SAMPLES = "samples.s16"
MICROPHONES, WIRE = "microphones.json", "wire.json"
FORMAT = 1
BOARD = "emulated-m4f"
RATE = 16000
WIRE_MODEL = "decides"
_WHOLE = ("pooled", "input", "layer", "scores")  # stages whose integers are written down, not only digests


def default_model() -> QuantizedModel:
    """A model of the default specification, which says "no speech" and "not sure" and passes frames over."""
    labels = ("anger", "no speech", "sadness", "é")
    return made_up_model((16, 4), (4, 8), seed=1, spec=load_config().features, labels=labels, **RULE)


MODELS: dict[str, Callable[[], QuantizedModel]] = {**GOLDEN, "default": default_model}


def samples() -> np.ndarray:
    """PCM, int16 [samples]: silence, noise at three levels, tones like vowels, and what saturates."""
    rng, t = np.random.default_rng(0), np.arange(7000) / RATE
    glide = 2 * np.pi * (110 * t + 60 * t**2)
    vowel = 9000 * sum(np.sin(k * glide) / k for k in range(1, 9)) * np.sin(np.pi * t / t[-1])
    parts = [
        np.zeros(3000),
        rng.normal(0, 2, 13000),
        vowel,
        rng.normal(0, 2000, 3000),
        stimulus(128)[:6000],
        rng.normal(-300, 20, 5000),
        vowel[::-1] / 12,
    ]
    return np.clip(np.rint(np.concatenate(parts)), -32768, 32767).astype("<i2")


@dataclass(frozen=True)
class Slice:
    """A clip's place in the samples."""

    name: str
    start: int
    samples: int


def clips(model: QuantizedModel) -> list[Slice]:
    """List the clips of a model: what each is of, and how long."""
    shortest = model.spec.min_samples
    return [
        Slice("silence", 0, 3000),
        Slice("two frames", 18000, shortest),
        Slice("vowel after noise", 12000, 9000),
        Slice("saturated", 26000, 6000 + shortest % 7),
    ]


def expected(model: QuantizedModel, pcm: np.ndarray) -> dict[str, Any]:
    """Compute what an implementation must answer for a model: of clips and of all samples as a stream."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "identity": model.identity.hex(),
        "sha256": model.sha256,
        "rate": model.spec.sample_rate,
        "clips": [_clip(model, one, pcm[one.start : one.start + one.samples]) for one in clips(model)],
    }
    if model.decision is not None:
        found["stream"] = [
            {
                "answer": one.answer,
                "scores": list(one.scores),
                "margin": one.margin,
                "level": one.level,
                "frames": one.frames,
            }
            for one in stream_decisions(model, pcm)
        ]
    if model.voice is not None:
        found["voice"] = list(_voices(model, pcm))
    return found


def _voices(model: QuantizedModel, pcm: np.ndarray) -> Iterator[dict[str, Any]]:
    """Let a voice learn from one clip after another, each of another class."""
    voice = Voice.unknown(require_voices(model))
    for place, label in zip(clips(model), itertools.cycle(range(len(model.labels)))):
        part = pcm[place.start : place.start + place.samples]
        pooled = clip_features(model.spec, model.tables, pooled_frames(model.spec, model.tables, part))
        by_voice = scores(model, pooled, voice).tolist()
        voice = learn(model, voice, pooled, label)
        stored = voice.to_bytes(model.identity).hex()
        yield {"clip": place.name, "scores": by_voice, "learns": label, "stored": stored}


def _clip(model: QuantizedModel, place: Slice, pcm: np.ndarray) -> dict[str, Any]:
    stages = reference_stages(model, pcm)
    pooled = clip_features(model.spec, model.tables, pooled_frames(model.spec, model.tables, pcm))
    return {
        "name": place.name,
        "start": place.start,
        "samples": place.samples,
        "sums": list(input_sums(pcm)),
        "frames": model.spec.frame_count(len(pcm)),
        "answer": int(classify(model, pooled)),
        "stages": [_stage(name, values) for name, values in stages.items()],
    }


def _stage(name: str, values: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "type": values.dtype.name,
        "digest": f"{digest(values):08x}",
        "events": [f"{digest(event):08x}" for event in values],
    }
    return found | ({"integers": values[0].tolist()} if name.startswith(_WHOLE) else {})


def microphones() -> dict[str, Any]:
    """Compute PCM of raw samples of every interface, by settings at the ends of their ranges."""
    rng, cases = np.random.default_rng(1), []
    for interface, bit_shift, dc_shift, gain_db in (
        ("i2s", 0, 0, 0),
        ("i2s", 8, 11, 40),
        ("pcm", 0, 5, -20),
        ("adc", 0, 3, 17),
        ("pdm", 0, 9, 6),
    ):
        settings = conversion(bit_shift, dc_shift, gain_db)
        kind = {"i2s": "int32", "pcm": "int16"}.get(interface, "uint16")
        ends = np.iinfo(np.dtype(kind))
        raw = rng.integers(ends.min, ends.max, 240 if interface == "pdm" else 40, endpoint=True).astype(kind)
        pcm = getattr(Converter(settings), interface)(raw)
        cases.append(
            {
                "interface": interface,
                "bit_shift": bit_shift,
                "dc_shift": dc_shift,
                "gain_db": gain_db,
                "gain": settings.gain,
                "gain_shift": settings.gain_shift,
                "raw": raw.tolist(),
                "pcm": pcm.tolist(),
            }
        )
    return {"format": FORMAT, "cases": cases}


# ---- the wire ----


def transcript(pcm: np.ndarray, program: Path) -> dict[str, Any]:
    """Talk to the harness `program` of the wire's model, and write down every byte of both sides."""
    transport = ProcessTransport([str(program)])
    try:
        steps = [
            {"what": what, "send": sent.hex(), "receive": _answer(transport, sent, answers).hex()}
            for what, sent, answers in _requests(pcm)
        ]
    finally:
        transport.close()
    return {"format": FORMAT, "model": f"{WIRE_MODEL}.serq", "board": BOARD, "steps": steps}


def _answer(transport: ProcessTransport, sent: bytes, answers: int) -> bytes:
    transport.write(sent)
    got, reader, frames = b"", FrameReader(), 0
    while frames < answers:
        data = transport.read(60)
        assert data, "the harness fell silent"
        got, frames = got + data, frames + len(reader.feed(data))
    assert frames == answers
    return got


def _requests(pcm: np.ndarray) -> Iterator[tuple[str, bytes, int]]:
    """Yield what each step is for, the bytes to the device, and how many frames it answers."""
    number = 0xFFFFFFF6  # numbers go round

    def frame(type_: int, payload: bytes = b"", step: int = 1) -> bytes:
        nonlocal number
        number = (number + step) % 2**32
        return encode_frame(Frame(type_, number, payload))

    def samples_from(start: int, end: int) -> bytes:
        return struct.pack("<I", start) + pcm[start:end].astype("<i2").tobytes()

    yield "a stray delimiter, then IDENTIFY", b"\0" + frame(Type.IDENTIFY), 1
    yield "STAGE: the first", frame(Type.STAGE, b"\0"), 1
    yield "STAGE: beyond the last", frame(Type.STAGE, b"\xc8"), 1
    yield "LABEL: UTF-8", frame(Type.LABEL, b"\2"), 1
    yield "LABEL: beyond the last", frame(Type.LABEL, b"\xff"), 1
    yield "an unknown request", frame(0x7F, b"abc"), 1
    yield "samples without a clip", frame(Type.PCM, samples_from(0, 3)), 1
    yield "BEGIN without a breakpoint", frame(Type.BEGIN, bytes(5)), 1
    yield "of a bad length", frame(Type.BEGIN, bytes(4)), 1
    yield "too few samples", frame(Type.FINISH, b"\0"), 1
    for start in range(0, 500, 100):
        yield "samples", frame(Type.PCM, samples_from(start, start + 100)), 1
    yield "the same number: answered again", frame(Type.PCM, samples_from(400, 500), 0), 1
    yield "an earlier offset: ignored", frame(Type.PCM, samples_from(100, 200)), 1
    yield "a later offset", frame(Type.PCM, samples_from(600, 700)), 1
    damaged = bytearray(frame(Type.FINISH, b"\0"))
    damaged[5] ^= 0x10
    yield (
        "a damaged frame, another protocol, and a number that is late: no answer; then FINISH",
        b"".join(
            [
                bytes(damaged),
                _of_another_protocol(number),
                encode_frame(Frame(Type.FINISH, (number - 9) % 2**32, b"\0")),
                frame(Type.FINISH, b"\0"),
            ]
        ),
        1,
    )
    yield "FINISH, repeated under another number", frame(Type.FINISH, b"\0"), 1
    yield "DIGESTS", frame(Type.DIGESTS), 1
    yield "samples after FINISH", frame(Type.PCM, samples_from(500, 600)), 1
    yield (
        "BEGIN with a breakpoint at the second frame's stage 3",
        frame(Type.BEGIN, struct.pack("<BI", 3, 1)),
        1,
    )
    yield "samples: stopped", frame(Type.PCM, samples_from(0, 120)), 1
    yield "samples: stopped", frame(Type.PCM, samples_from(120, 240)), 1
    yield "samples: stopped", frame(Type.PCM, samples_from(240, 360)), 1
    yield "samples: stopped", frame(Type.PCM, samples_from(360, 480)), 1
    yield "READ from 0", frame(Type.READ, struct.pack("<H", 0)), 1
    yield "READ from 120: fewer than fit", frame(Type.READ, struct.pack("<H", 120)), 1
    yield (
        "READ from beyond the end: none, and the end as offset",
        frame(Type.READ, struct.pack("<H", 60000)),
        1,
    )
    yield "out of order while stopped", frame(Type.FINISH, b"\0"), 1
    yield "CONTINUE", frame(Type.CONTINUE), 1
    yield "the interrupted request again", frame(Type.PCM, samples_from(360, 480)), 1
    yield "READ while not stopped", frame(Type.READ, struct.pack("<H", 0)), 1
    yield "BEGIN for features", frame(Type.BEGIN, bytes(5)), 1
    yield "features", frame(Type.FEATURES, struct.pack("<H", 0) + _features()[:12].tobytes()), 1
    yield "features", frame(Type.FEATURES, struct.pack("<H", 12) + _features()[12:].tobytes()), 1
    yield "LEARN before FINISH", frame(Type.LEARN, b"\0"), 1
    yield "FINISH from features", frame(Type.FINISH, b"\1"), 1
    yield "DIGESTS", frame(Type.DIGESTS), 1
    yield "GET_VOICE: nothing is known", frame(Type.GET_VOICE, struct.pack("<H", 0)), 1
    yield "LEARN the first class", frame(Type.LEARN, b"\0"), 1
    yield "LEARN once more: only answered", frame(Type.LEARN, b"\0"), 1
    yield "GET_VOICE", frame(Type.GET_VOICE, struct.pack("<H", 0)), 1
    yield "GET_VOICE from 60", frame(Type.GET_VOICE, struct.pack("<H", 60)), 1
    model = MODELS[WIRE_MODEL]()
    learned = learn(model, Voice.unknown(require_voices(model)), _features(), 1)
    voice = learned.to_bytes(model.identity)
    spoiled = voice[:-1] + bytes([voice[-1] ^ 1])
    foreign = learned.to_bytes(bytes(8))
    yield "PUT_VOICE: its first half", frame(Type.PUT_VOICE, struct.pack("<H", 0) + voice[:32]), 1
    yield "PUT_VOICE: out of order", frame(Type.PUT_VOICE, struct.pack("<H", 40) + voice[40:]), 1
    yield "PUT_VOICE: an earlier part", frame(Type.PUT_VOICE, struct.pack("<H", 8) + voice[8:16]), 1
    yield "PUT_VOICE: its second half", frame(Type.PUT_VOICE, struct.pack("<H", 32) + voice[32:]), 1
    yield "BEGIN with a voice", frame(Type.BEGIN, bytes(5)), 1
    yield "features", frame(Type.FEATURES, struct.pack("<H", 0) + _features().tobytes()), 1
    yield "FINISH of a voice", frame(Type.FINISH, b"\1"), 1
    yield "DIGESTS", frame(Type.DIGESTS), 1
    yield "PUT_VOICE: damaged", frame(Type.PUT_VOICE, struct.pack("<H", 0) + spoiled), 1
    yield "PUT_VOICE: of another model", frame(Type.PUT_VOICE, struct.pack("<H", 0) + foreign), 1
    yield "RESET_VOICE", frame(Type.RESET_VOICE), 1
    yield "GET_VOICE: nothing is known", frame(Type.GET_VOICE, struct.pack("<H", 0)), 1


def _of_another_protocol(number: int) -> bytes:
    body = bytearray(cobs.decode(encode_frame(Frame(Type.IDENTIFY, number))[:-1])[:-4])
    body[1] += 1
    return bytes(cobs.encode(bytes(body) + struct.pack("<I", _crc(body)))) + b"\0"


def _crc(data: bytes | bytearray) -> int:
    return digest(np.frombuffer(bytes(data), np.uint8))


def _features() -> np.ndarray:
    model = load_model(FOLDER / f"{WIRE_MODEL}.serq")
    return (model.input.center + np.arange(model.spec.feature_count) * 37 - 300).astype("<i4")


@contextmanager
def harness(model: QuantizedModel) -> Iterator[Path]:
    """Compile the harness of a model for this computer, with a board's payload of 256 bytes."""
    with tempfile.TemporaryDirectory() as work:
        export(model, load_board(BOARD), Path(work) / "project")
        with host_build(Path(work) / "project", SMALL_FRAMES) as program:
            yield program


def text(value: Any, indent: str = "") -> str:
    """Write JSON with a line for each list of plain values, so that a difference can be read."""
    inner = indent + " "
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(key)}: {text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = [inner + text(item, inner) for item in value]
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _write(name: str, value: Any) -> None:
    (FOLDER / name).write_text(text(value) + "\n", encoding="utf-8")


def main() -> None:
    """Write all files again."""
    pcm = samples()
    (FOLDER / SAMPLES).write_bytes(pcm.tobytes())
    for name, make in MODELS.items():
        model = make()
        save_model(model, FOLDER / f"{name}.serq")
        _write(f"{name}.json", expected(model, pcm.astype(np.int16)))
    _write(MICROPHONES, microphones())
    with harness(load_model(FOLDER / f"{WIRE_MODEL}.serq")) as program:
        _write(WIRE, transcript(clip_of_wire(pcm), program))


def clip_of_wire(pcm: np.ndarray) -> np.ndarray:
    """Return the 700 samples that the transcript sends parts of."""
    return pcm[18000:18700].astype(np.int16)


if __name__ == "__main__":
    main()
