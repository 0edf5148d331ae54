"""The harness: frames, the C application built for the host, transports, and the comparison that names
what differs.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
import tty
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.build.host_program import FLAGS, PAYLOAD, host_build
from serq_mcu.codegen.export import export, read_project
from serq_mcu.codegen.plan import MODEL
from serq_mcu.codegen.render import ABI
from serq_mcu.corpus.loaders import Clip
from serq_mcu.errors import SerqError
from serq_mcu.frontend.analysis import MAX_FRAMES
from serq_mcu.frontend.blocks import Mfcc
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.harness.device import Device, DeviceError
from serq_mcu.harness.protocol import (
    Code,
    Frame,
    FrameReader,
    Result,
    Type,
    decode_frame,
    encode_frame,
    parse_digests,
    parse_values,
)
from serq_mcu.harness.serial_ports import why_not_open
from serq_mcu.harness.transports import ProcessTransport, SerialTransport
from serq_mcu.quantized_model.interpreter import stages as network_stages
from serq_mcu.quantized_model.store import save_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.target import Target
from serq_mcu.verification.verify import (
    Recording,
    digest,
    reference_stages,
    select_stratified,
    verify,
    verify_project,
)
from tests.support.models import made_up_features, made_up_model
from tests.support.native import SANITIZERS, WARNINGS, compile_program, run

LABELS = ("anger", "fear", "joy", "neutral", "sadness")


MODEL_UNDER_TEST = made_up_model([9, 6, 5], [3, 2, 8], labels=LABELS)
BOARD = "esp32"


def noise(seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    """Bursts of noise from silence to full scale, so that every stage is exercised."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 12000, round(16000 * seconds)) * np.abs(
        np.sin(np.arange(round(16000 * seconds)) / 700 + seed)
    )
    return np.clip(samples, -32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness") / "project"
    export(MODEL_UNDER_TEST, load_board(BOARD), folder)
    return folder


@pytest.fixture(scope="module")
def program(project: Path) -> Iterator[Path]:
    with host_build(project, (*FLAGS, *WARNINGS)) as path:
        yield path


@pytest.fixture(scope="module")
def sanitized(project: Path) -> Iterator[Path]:
    with host_build(project, (*FLAGS, *WARNINGS, *SANITIZERS)) as path:
        yield path


@pytest.fixture
def device(program: Path) -> Iterator[Device]:
    device = Device(ProcessTransport([str(program)]))
    yield device
    device.close()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A plain corpus of two noisy clips a label, one with samples beyond its last whole frame."""
    for index, label in enumerate(LABELS):
        for take in range(2):
            path = tmp_path / "clips" / label / f"{label}{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise(0.1 + 0.013 * index, 2 * index + take), 16000)
    return tmp_path / "clips"


def _number(stage: str) -> int:
    """A stage's number on the wire: its place in the model's table."""
    return [one.name for one in MODEL_UNDER_TEST.stages].index(stage) + 1


class Line:
    """The raw line to a device, for frames that Device would not send."""

    def __init__(self, program: Path) -> None:
        self._transport, self._reader, self.number = ProcessTransport([str(program)]), FrameReader(), 0

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def answers(self) -> list[Frame]:
        """All frames that come back before the answer to a final IDENTIFY, which proves that the device
        still serves.
        """
        self.number = (self.number + 1) % 2**32
        self.send(b"\0" + encode_frame(Frame(Type.IDENTIFY, self.number)))
        found: list[Frame] = []
        while not found or (found[-1].type, found[-1].number) != (Type.IDENTIFY | 0x80, self.number):
            data = self._transport.read(5)
            assert data, "the device fell silent"
            found += self._reader.feed(data)
        return found[:-1]

    def ask(self, request: int, payload: bytes = b"") -> Frame:
        self.number += 1
        self.send(encode_frame(Frame(request, self.number, payload)))
        (answer,) = self.answers()
        assert answer.number == (self.number - 1) % 2**32
        return answer

    def begin(self, stage: int = 0, event: int = 0) -> int:
        """BEGIN with a breakpoint; the clip's number."""
        answer = self.ask(Type.BEGIN, struct.pack("<BI", stage, event))
        assert (answer.type, answer.payload) == (Type.BEGIN | 0x80, b"")
        return answer.number

    def refusal(self, request: int, payload: bytes = b"") -> Code:
        answer = self.ask(request, payload)
        assert answer.type == Type.ERROR
        assert answer.payload[1] == request
        return Code(answer.payload[0])


@pytest.fixture
def line(program: Path) -> Iterator[Line]:
    with Line(program) as raw:
        yield raw


# ---- frames in Python ----


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=600) | st.integers(0, 1100).map(lambda n: b"\x07" * n),
)
def test_a_frame_comes_back_as_it_was(type_: int, number: int, payload: bytes) -> None:
    encoded = encode_frame(Frame(type_, number, payload))
    assert encoded.count(0) == 1
    assert decode_frame(encoded[:-1]) == Frame(type_, number, payload)


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 17))
def test_frames_survive_any_slicing_and_garbage_between(payloads: list[bytes], size: int) -> None:
    frames = [Frame(3, index, payload) for index, payload in enumerate(payloads)]
    stream = b"".join(b"\x05garbage\0\0" + encode_frame(frame) for frame in frames)
    reader = FrameReader()
    assert [
        found for start in range(0, len(stream), size) for found in reader.feed(stream[start : start + size])
    ] == frames


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_flipped_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    encoded = bytearray(encode_frame(Frame(3, 9, payload)))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 9))
    encoded[bit // 8] ^= 1 << bit % 8
    assert FrameReader().feed(bytes(encoded)) == []


# ---- frames in C ----

ECHO = """
#include "port.h"
#include "wire.h"

void application_run(void)
{
    static uint8_t bytes[5000];
    uint32_t length;

    while ((length = wire_receive(bytes, sizeof bytes)) != 0) {
        uint32_t number = bytes[4] | (uint32_t)bytes[5] << 8 | (uint32_t)bytes[6] << 16 |
                          (uint32_t)bytes[7] << 24;

        wire_begin((uint8_t)(bytes[0] | 0x80), number, (uint16_t)(length - WIRE_HEADER));
        wire_put(bytes + WIRE_HEADER, length - WIRE_HEADER);
        wire_end();
    }
}
"""


def test_frames_in_c_equal_those_in_python(tmp_path: Path) -> None:
    """All lengths around COBS's block of 254 bytes, with the zero at every place, none or many; and random
    ones.
    """
    (tmp_path / "echo.c").write_text(ECHO)
    harness, ports = FIRMWARE / "apps" / "harness", FIRMWARE / "ports"
    sources = [tmp_path / "echo.c", harness / "wire.c", ports / "port_host.c"]
    echo = compile_program(tmp_path / "echo", sources, (f"-I{harness}", f"-I{ports}", *SANITIZERS))
    rng = np.random.default_rng(0)
    payloads = (
        [bytes(n) for n in (0, 1, 260)]
        + [b"\x01" * n for n in range(240, 270)]
        + [b"\x01" * n for n in range(500, 520)]
    )
    payloads += [b"\x01" * n + b"\0" + b"\x01" * (259 - n) for n in range(260)]
    payloads += [
        rng.integers(low, 256, size, dtype=np.uint8).tobytes()
        for low in (0, 1, 200)
        for size in rng.integers(0, 4800, 20)
    ]
    frames = [
        Frame(index % 128, index * 0x01234567 % 2**32, payload) for index, payload in enumerate(payloads)
    ]
    answer = run(echo, b"".join(map(encode_frame, frames)))
    assert FrameReader().feed(answer) == [
        Frame(frame.type | 0x80, frame.number, frame.payload) for frame in frames
    ]


# ---- the application ----


def test_identify_tells_the_model(device: Device) -> None:
    spec, identity = MODEL_UNDER_TEST.spec, device.identity
    assert identity.model == MODEL_UNDER_TEST.identity.hex()
    assert (identity.abi, identity.max_payload, identity.board, identity.clock_hz) == (
        ABI,
        PAYLOAD,
        BOARD,
        240_000_000,
    )
    assert (identity.features, identity.classes, identity.layers) == (spec.feature_count, 5, 3)
    assert (identity.frame_length, identity.hop_length, identity.sample_rate) == (256, 128, 16000)


def test_a_clip_equals_the_reference_at_every_stage(device: Device) -> None:
    for seed in range(3):
        stages = reference_stages(MODEL_UNDER_TEST, noise(seed=seed))
        result = device.run_clip(noise(seed=seed))
        assert result.digests == {stage: zlib.crc32(values.tobytes()) for stage, values in stages.items()}
        assert result.scores.tolist() == stages["scores"][0].tolist()
        assert (result.label, result.frames) == (stages["scores"][0].argmax(), len(stages["mfcc"]))


def test_features_equal_the_reference(device: Device) -> None:
    for row in made_up_features(MODEL_UNDER_TEST, 12):
        result = device.run_features(row)
        expected = dict(network_stages(MODEL_UNDER_TEST, row))
        assert list(result.digests) == list(expected)
        assert result.digests["pooled"] == zlib.crc32(row.astype("<i4").tobytes())
        assert result.scores.tolist() == expected["scores"].tolist()
        assert result.frames == 0


def test_a_small_payload_gives_the_same(project: Path) -> None:
    with host_build(project, (*FLAGS, "-USERQ_HARNESS_PAYLOAD", *WARNINGS)) as program:
        device = Device(ProcessTransport([str(program)]))
        assert device.identity.max_payload == 256
        stages = reference_stages(MODEL_UNDER_TEST, noise())
        assert device.run_clip(noise()).digests == {stage: digest(values) for stage, values in stages.items()}
        assert device.values(noise(), "spectrum", 7).view(np.int32).tolist() == stages["spectrum"][7].tolist()
        device.close()


def test_every_byte_value_passes_both_ways(device: Device, line: Line) -> None:
    size = 4 * MODEL_UNDER_TEST.spec.feature_count
    rows = (np.arange(4 * size) % 256).astype(np.uint8).reshape(4, size)
    assert len(set(rows.tobytes())) == 256
    for row in (
        *rows,
        np.zeros(size, np.uint8),
        np.full(size, 7, np.uint8),
        np.repeat(np.array([0, 1, 255, 0], np.uint8), size // 4),
    ):
        assert device.run_features(np.frombuffer(row.tobytes(), "<i4")).digests["pooled"] == zlib.crc32(
            row.tobytes()
        )
    seen = set[int]()
    for event, expected in enumerate(reference_stages(MODEL_UNDER_TEST, noise())["window"]):
        assert device.values(noise(), "window", event).tobytes() == expected.tobytes()
        seen |= set(expected.tobytes())
    assert len(seen) == 256
    line.begin()
    for number in ((101 * byte + 77) % 256 * 0x01010101 for byte in range(256)):
        line.number = number
        line.send(encode_frame(Frame(Type.DIGESTS, number)))
        assert [answer.number for answer in line.answers()] == [number]


def test_damaged_frames_are_dropped_and_the_next_is_served(line: Line) -> None:
    good = encode_frame(Frame(Type.BEGIN, 0x70000, bytes(5)))
    for bit in range(8 * len(good) - 8):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        line.send(bytes(damaged))
        assert line.answers() == []
    for cut in range(len(good) - 1):
        line.send(good[:cut])
        assert line.answers() == []
    line.send(b"boot: some text\r\n\0" + b"\xff" * 9000 + b"\0\0" + good)
    assert line.answers() == [Frame(Type.BEGIN | 0x80, 0x70000)]


def test_the_longest_frame_is_served_and_a_longer_one_dropped(line: Line) -> None:
    fits = struct.pack("<I", 0) + bytes(PAYLOAD - 4)
    line.begin()
    assert line.ask(Type.PCM, fits).payload == struct.pack("<I", (PAYLOAD - 4) // 2)
    line.number += 1
    line.send(
        encode_frame(Frame(Type.PCM, line.number, struct.pack("<I", (PAYLOAD - 4) // 2) + bytes(PAYLOAD - 2)))
    )
    assert line.answers() == []


def test_requests_may_be_repeated(line: Line) -> None:
    pcm = noise()[:1000]
    answers = Counter[bytes]()
    for _ in range(2):
        answers[line.ask(Type.BEGIN, bytes(5)).payload] += 1
    for start in (0, 0, 500, 0, 500):
        answers[
            line.ask(Type.PCM, struct.pack("<I", start) + pcm[start : start + 500].tobytes()).payload
        ] += 1
    assert answers == {b"": 2, struct.pack("<I", 500): 2, struct.pack("<I", 1000): 3}
    first, second = line.ask(Type.FINISH, b"\0"), line.ask(Type.FINISH, b"\0")
    assert first.payload == second.payload
    scores = reference_stages(MODEL_UNDER_TEST, pcm)["scores"][0]
    assert first.payload[25:] == scores.tobytes()


def test_bad_requests_are_refused_each_with_its_code(line: Line) -> None:
    samples = struct.pack("<I", 0) + noise()[:300].tobytes()
    assert line.refusal(0x42) == Code.UNKNOWN_REQUEST
    for request in (Type.PCM, Type.FEATURES, Type.FINISH, Type.DIGESTS):
        assert line.refusal(request) == Code.NO_CLIP
    line.begin()
    for request, payload in (
        (Type.IDENTIFY, b"x"),
        (Type.BEGIN, b"x"),
        (Type.PCM, samples[:3]),
        (Type.PCM, samples[:-1]),
        (Type.FEATURES, b"\0"),
        (Type.FEATURES, b"\0\0abc"),
        (Type.FEATURES, struct.pack("<H", 0xFFFF) + bytes(4)),
        (Type.FEATURES, struct.pack("<H", 1) + bytes(4 * MODEL_UNDER_TEST.spec.feature_count)),
        (Type.FINISH, b""),
        (Type.FINISH, b"\2"),
        (Type.DIGESTS, b"x"),
        (Type.BEGIN, b""),
        (Type.LABEL, b""),
    ):
        assert line.refusal(request, payload) == Code.BAD_LENGTH, (request, payload)
    assert line.refusal(Type.FINISH, b"\0") == Code.TOO_FEW_SAMPLES
    assert line.refusal(Type.FINISH, b"\1") == Code.OUT_OF_ORDER
    assert line.refusal(Type.PCM, struct.pack("<I", 1) + samples[4:]) == Code.OUT_OF_ORDER
    assert line.refusal(Type.FEATURES, struct.pack("<H", 1) + bytes(4)) == Code.OUT_OF_ORDER
    assert line.refusal(Type.READ, b"\0\0") == line.refusal(Type.CONTINUE) == Code.NOT_STOPPED
    line.ask(Type.PCM, samples + noise()[:300].tobytes())
    line.ask(Type.FINISH, b"\0")
    assert line.refusal(Type.PCM, struct.pack("<I", 600) + b"ab") == Code.OUT_OF_ORDER
    assert line.refusal(Type.FEATURES, bytes(6)) == Code.OUT_OF_ORDER


def test_clips_too_short_and_too_long_are_refused(device: Device) -> None:
    spec = MODEL_UNDER_TEST.spec
    with pytest.raises(DeviceError, match="too few samples") as refused:
        device.run_clip(np.zeros(spec.min_samples - 1, np.int16))
    assert refused.value.code == Code.TOO_FEW_SAMPLES
    assert device.run_clip(np.zeros(spec.min_samples, np.int16)).frames == 2
    assert device.run_clip(np.zeros(spec.max_samples, np.int16)).frames == MAX_FRAMES
    with pytest.raises(DeviceError, match="too many frames"):
        device.run_clip(np.zeros(spec.max_samples + 1, np.int16))
    assert device.run_clip(noise()).digests["window"] == digest(
        reference_stages(MODEL_UNDER_TEST, noise())["window"]
    )


@pytest.mark.parametrize("stop", [False, True])
def test_a_clip_that_was_too_long_is_dead_until_the_next_one_begins(line: Line, stop: bool) -> None:
    spec, step = MODEL_UNDER_TEST.spec, (PAYLOAD - 4) // 2
    pcm = np.zeros(spec.max_samples + 1, np.int16)
    # or within the refused samples, at the last frame that is taken, where the device stops first
    line.begin(_number("window") if stop else 0, MAX_FRAMES - 1)
    for start in range(0, len(pcm), step):
        request = struct.pack("<I", start) + pcm[start : start + step].tobytes()
        answer = line.ask(Type.PCM, request)
        if answer.type == Type.STOPPED:
            line.ask(Type.CONTINUE)
            answer = line.ask(Type.PCM, request)
    assert (answer.type, answer.payload) == (Type.ERROR, bytes([Code.TOO_MANY_FRAMES, Type.PCM]))
    for again in (
        (Type.PCM, request),
        (Type.PCM, struct.pack("<I", 0) + pcm[:9].tobytes()),
        (Type.FEATURES, struct.pack("<H", 0) + bytes(4)),
        (Type.FINISH, b"\0"),
        (Type.FINISH, b"\1"),
        (Type.DIGESTS, b""),
    ):
        assert line.refusal(*again) == Code.TOO_MANY_FRAMES
    line.begin()
    line.ask(Type.PCM, struct.pack("<I", 0) + noise()[:600].tobytes())
    assert line.ask(Type.FINISH, b"\0").type == Type.FINISH | 0x80


def test_a_breakpoint_reads_every_stage(device: Device) -> None:
    pcm = noise()
    stages = reference_stages(MODEL_UNDER_TEST, pcm)
    for stage, expected in stages.items():
        for event in {0, len(expected) // 2, len(expected) - 1}:
            values = device.values(pcm, stage, event)
            assert values is not None
            assert values.view(expected.dtype).tolist() == expected[event].tolist(), (stage, event)
        assert device.values(pcm, stage, len(expected)) is None
    assert device.run_clip(pcm).digests["scores"] == digest(reference_stages(MODEL_UNDER_TEST, pcm)["scores"])


def test_what_is_served_at_a_breakpoint(line: Line) -> None:
    pcm = noise()[:900]
    stages = reference_stages(MODEL_UNDER_TEST, pcm)
    line.begin(_number("mfcc"), 1)
    line.number += 1
    request = Frame(Type.PCM, line.number, struct.pack("<I", 0) + pcm.tobytes())
    stopped = Frame(Type.STOPPED, line.number, struct.pack("<BI", _number("mfcc"), 1))
    line.send(2 * encode_frame(request))
    assert line.answers() == [stopped, stopped], "a repeated request is answered again"
    line.send(encode_frame(request))
    assert line.answers() == [], "but not after a later one"
    assert (
        line.refusal(Type.DIGESTS)
        == line.refusal(Type.FINISH, b"\0")
        == line.refusal(Type.PCM, request.payload)
        == Code.OUT_OF_ORDER
    )
    assert (
        line.refusal(Type.READ, b"\0")
        == line.refusal(Type.CONTINUE, b"x")
        == line.refusal(Type.BEGIN, b"x")
        == Code.BAD_LENGTH
    )
    assert line.ask(Type.LABEL, b"\1").payload == LABELS[1].encode()
    offset, values = parse_values(line.ask(Type.READ, struct.pack("<H", 5)).payload)
    assert (offset, values.view(np.int32).tolist()) == (5, stages["mfcc"][1][5:].tolist())
    offset, values = parse_values(line.ask(Type.READ, struct.pack("<H", 60000)).payload)
    assert (offset, len(values)) == (7, 0)
    line.number += 1
    line.send(2 * encode_frame(Frame(Type.CONTINUE, line.number)))
    assert line.answers() == 2 * [Frame(Type.CONTINUE | 0x80, line.number - 1)], (
        "repeated, as its answer may be lost, it is answered again"
    )
    assert line.refusal(Type.CONTINUE) == Code.NOT_STOPPED
    assert line.ask(Type.PCM, request.payload).payload == struct.pack("<I", 900)
    assert line.ask(Type.FINISH, b"\0").payload[25:] == stages["scores"][0].tobytes()


def test_a_device_that_was_met_is_asked_under_the_next_number(device: Device) -> None:
    """After a jump, what the line still delivers of earlier requests would be served."""
    asked = device._number
    device.confirm_identity()
    assert device._number == asked + 1


def test_begin_counts_events_anew(line: Line) -> None:
    three_frames = struct.pack("<I", 0) + noise()[: 256 + 2 * 128].tobytes()
    for _ in range(2):
        line.begin(_number("mfcc"), 2)
        assert line.ask(Type.PCM, three_frames[:-256]).type == Type.PCM | 0x80
    line.begin(_number("mfcc"), 2)
    assert line.ask(Type.PCM, three_frames).type == Type.STOPPED


@pytest.mark.parametrize("stage", ["window", "pooled", "scores"])
def test_a_new_clip_begins_at_a_breakpoint(line: Line, stage: str) -> None:
    """A BEGIN drops the interrupted request with its clip and its breakpoint, and is answered once."""
    pcm = struct.pack("<I", 0) + noise()[:900].tobytes()
    line.begin(_number(stage), 0)
    requests = [(Type.PCM, pcm), (Type.FINISH, b"\0")]
    assert any(line.ask(*request).type == Type.STOPPED for request in requests)
    number = line.begin()
    assert line.ask(Type.PCM, pcm).payload == struct.pack("<I", 900)
    answer = line.ask(Type.FINISH, b"\0")
    assert answer.payload[25:] == reference_stages(MODEL_UNDER_TEST, noise()[:900])["scores"][0].tobytes()
    assert struct.unpack_from("<I", answer.payload, 13)[0] == number
    expected = reference_stages(MODEL_UNDER_TEST, noise()[:900])
    assert parse_digests(line.ask(Type.DIGESTS).payload) == (
        number,
        {_number(stage): digest(values) for stage, values in expected.items()},
    )


def test_a_new_host_frees_a_stopped_device(program: Path) -> None:
    """The earlier host vanished at a breakpoint, with half a request on its way."""
    transport = ProcessTransport([str(program)])
    requests = ((Type.BEGIN, 1, struct.pack("<BI", 1, 0)), (Type.PCM, 2, bytes(4) + bytes(4000)))
    transport.write(b"".join(encode_frame(Frame(*frame)) for frame in requests) + b"\x09half a frame")
    device = Device(transport)
    assert device.run_clip(noise()).frames == MODEL_UNDER_TEST.spec.frame_count(len(noise()))
    device.close()


def test_the_end_of_input_ends_the_program_even_at_a_breakpoint(program: Path) -> None:
    requests = (
        (Type.BEGIN, 1, struct.pack("<BI", _number("scores"), 0)),
        (Type.PCM, 2, bytes(4) + bytes(2000)),
        (Type.FINISH, 3, b"\0"),
    )
    stream = b"".join(encode_frame(Frame(*request)) for request in requests)
    run = subprocess.run([str(program)], input=stream, capture_output=True, timeout=120)
    assert run.returncode == 0
    assert [frame.type for frame in FrameReader().feed(run.stdout)] == [
        Type.BEGIN | 0x80,
        Type.PCM | 0x80,
        Type.STOPPED,
    ]


def test_late_requests_are_dropped(line: Line) -> None:
    """What a line delays or repeats must not begin a clip anew, nor end it, once a later request was
    served.
    """
    pcm = noise()[:900]
    number = line.begin()
    late = [
        Frame(Type.BEGIN, number, bytes(5)),
        Frame(Type.PCM, number, bytes(4) + pcm[:300].tobytes()),
        Frame(Type.FINISH, number - 1, b"\0"),
    ]
    for start in (0, 450):
        assert line.ask(
            Type.PCM, struct.pack("<I", start) + pcm[start : start + 450].tobytes()
        ).payload == struct.pack("<I", start + 450)
        for frame in late:
            line.send(encode_frame(frame))
            assert line.answers() == []
    assert (
        line.ask(Type.FINISH, b"\0").payload[25:]
        == reference_stages(MODEL_UNDER_TEST, pcm)["scores"][0].tobytes()
    )
    late_by = {0xFFFF: 0, 0x10000: 1, -1: 1}
    for behind, answers in late_by.items():
        line.number = 0x12345678
        line.ask(Type.IDENTIFY)
        line.send(encode_frame(Frame(Type.IDENTIFY, line.number - behind)))
        line.number += 0x20000
        assert len(line.answers()) == answers


def test_frames_of_another_protocol_or_length_are_dropped(line: Line) -> None:
    for protocol, length in ((1, 0), (2, 0), (4, 0), (3, 1), (3, 256)):
        body = struct.pack("<BBHI", Type.IDENTIFY, protocol, length, 99)
        line.send(cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0")
        assert line.answers() == []


CLOCKED_PORT = """
#define port_cycles host_cycles
#include "port_host.c"
#undef port_cycles
#include <time.h>

uint32_t port_cycles(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}
"""


@pytest.mark.slow
def test_cycles_count_the_work_and_not_the_waiting(project: Path, tmp_path: Path) -> None:
    """With nanoseconds for cycles: a host that lingers 0.3 s at a breakpoint of a clip that takes
    milliseconds is not counted.
    """
    (tmp_path / "port.c").write_text(CLOCKED_PORT)
    sources = [
        tmp_path / "port.c",
        *(project / "lib/serq/src").glob("*.c"),
        project / "src/main.c",
        project / "src/wire.c",
    ]
    includes = [f"-I{folder}" for folder in (FIRMWARE / "ports", project / "lib/serq/src", project / "src")]
    clocked = compile_program(
        tmp_path / "clocked", sources, ("-D_POSIX_C_SOURCE=200112L", *FLAGS[2:], *includes)
    )
    with Line(clocked) as line:
        for stage in ("mfcc", "scores"):
            line.begin(_number(stage), 0)
            requests = [(Type.PCM, struct.pack("<I", 0) + noise()[:1500].tobytes()), (Type.FINISH, b"\0")]
            types = []
            for request in requests:
                answer = line.ask(*request)
                types.append(answer.type)
                if answer.type == Type.STOPPED:
                    time.sleep(0.3)
                    line.ask(Type.CONTINUE)
                    answer = line.ask(*request)
            assert Type.STOPPED in types
            frontend, network = struct.unpack("<II", answer.payload[5:13])
            assert 0 < frontend < 0.2e9
            assert 0 < network < 0.2e9


@pytest.mark.slow(10)
@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_do_no_harm(sanitized: Path, seed: int) -> None:
    """Noise, then frames with a good CRC and random content, then both cut and mixed: no sanitizer speaks,
    and the device still works.
    """
    rng = random.Random(seed)
    transport, number = ProcessTransport([str(sanitized)]), 0
    for _ in range(300):
        transport.write(rng.randbytes(rng.randrange(3000)))
        for _ in range(20):
            number = rng.choice([number + 1, number, rng.randrange(2**32)])
            frame = encode_frame(Frame(rng.choice([*Type, rng.randrange(256)]), number, _random_payload(rng)))
            transport.write(frame[: rng.randrange(len(frame))] if rng.random() < 0.1 else frame)
        while transport.read(0.001):
            pass
    transport.write(b"\0")
    while transport.read(0.3):
        pass
    device = Device(transport)
    assert device.run_clip(noise()).digests == {
        stage: digest(values) for stage, values in reference_stages(MODEL_UNDER_TEST, noise()).items()
    }
    device.close()


def _random_payload(rng: random.Random) -> bytes:
    plausible: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: rng.randbytes(rng.randrange(12)),
        lambda: struct.pack("<I", 0) + rng.randbytes(2 * rng.randrange(2000)),
        lambda: struct.pack("<BI", rng.randrange(len(MODEL_UNDER_TEST.stages) + 2), rng.randrange(4)),
        lambda: struct.pack("<H", rng.randrange(300)) + rng.randbytes(4 * rng.randrange(25)),
        lambda: rng.randbytes(rng.randrange(PAYLOAD + 20)),
    ]
    return rng.choice(plausible)()


# ---- the comparison ----


@pytest.mark.slow
def test_verify_finds_no_difference_in_what_was_exported(project: Path, clips: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = verify_project(project, clips, "host", progress=lambda *step: seen.append(step))
    assert report.ok
    assert (report.clips, report.differing_clips, report.differing_integers, report.differences) == (
        10,
        0,
        0,
        (),
    )
    assert seen[-1] == ("verify on host", 10, 10)
    spec = MODEL_UNDER_TEST.spec
    frames = sum(spec.frame_count(len(noise(0.1 + 0.013 * index))) for index in range(5)) * 2
    a_frame = 256 + 258 + 129 + 20 + 20 + 1 + 7
    network = 2 * spec.feature_count + 9 + 9 + 6 + 6 + 5 + 5
    spoken = sum(outcome.frames for outcome in report.outcomes[:6])  # a voice learns from these clips
    classes = len(MODEL_UNDER_TEST.labels)  # windows of each that a voice counts
    by_voice = spoken * a_frame + 6 * (network + spec.feature_count + classes)
    assert report.compared_integers == frames * a_frame + 10 * network + by_voice
    values = report.to_json()
    assert values["accuracy"]["n"] == 10
    assert (
        values["accuracy"]["interval95"][0]
        <= values["accuracy"]["value"]
        <= values["accuracy"]["interval95"][1]
    )
    assert "differing_clips: 0" in report_lines(report)
    assert report.network_cycles is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "file", "line", "mutated"),
    [
        ("mfcc", "serq_frontend.h", "mfcc[r] = a;", "mfcc[r] = (a + 1) & ~1;"),
        ("pooled", "serq_pool.c", "16 * sum + (int32_t)(n >> 1)", "16 * sum"),
        (
            "input",
            "serq_network.h",
            "return serq_rshift_round(deviation * (scale >> 5), scale & 31);",
            "return (deviation * (scale >> 5)) >> (scale & 31);",
        ),
        ("layer 0 output", "serq_network.c", "(2 * scale) >> 32) + 1) >> 1", "(2 * scale) >> 32)) >> 1"),
        (
            "layer 0 accumulator",
            "serq_network.c",
            "sum_up(activations, inputs); \\",
            "sum_up(activations, inputs) + 1; \\",
        ),
    ],
)
def test_a_changed_line_of_c_is_caught_and_its_stage_named(
    project: Path, clips: Path, tmp_path: Path, stage: str, file: str, line: str, mutated: str
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(project, changed)
    source = changed / "lib" / "serq" / "src" / file
    assert source.read_text().count(line) == 1
    source.write_text(source.read_text().replace(line, mutated))
    report = verify_project(changed, clips, "host", allow_changes=True)
    assert not report.ok
    assert report.differing_clips == len(report.differences) > 0
    assert report.differing_integers >= report.differing_clips
    for difference in report.differences:
        assert difference.stage == stage
        pcm = soundfile.read(next(clips.rglob(f"{Path(difference.clip).name}.wav")), dtype="int16")[0]
        expected = reference_stages(MODEL_UNDER_TEST, pcm)[stage]
        assert difference.expected == expected[difference.event][difference.index] != difference.actual
    assert any(f"first difference in stage {stage}, event" in text for text in report_lines(report))


def test_only_the_first_differing_event_is_named(program: Path) -> None:
    """A device that hears another sample late in the clip differs from that frame on."""

    def heard(pcm: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(pcm)) == 2000, pcm ^ 0x40, pcm)

    class Deaf(Device):
        def run_clip(self, pcm: np.ndarray) -> Result:
            return super().run_clip(heard(pcm))

        def digests_by_frame(self, pcm: np.ndarray, padding: int = 0) -> Iterator[dict[str, int]]:
            return super().digests_by_frame(heard(pcm), padding)

        def values(self, pcm: np.ndarray, stage: str, event: int) -> np.ndarray | None:
            return super().values(heard(pcm), stage, event)

    device = Deaf(ProcessTransport([str(program)]))
    report = verify(
        MODEL_UNDER_TEST,
        [Recording("clip", noise()), Recording("short", noise()[:1500])],
        Target(device, "deaf", BOARD),
    )
    (difference,) = report.differences
    assert (difference.clip, difference.stage, difference.event) == (
        "clip",
        "window",
        (2000 - 256) // 128 + 1,
    )
    assert (difference.count, report.differing_clips, report.differing_integers) == (1, 1, 1)
    device.close()


@pytest.fixture(scope="module")
def centred(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[QuantizedModel, Path]]:
    spec = FeatureSpec(
        name="centred", fft_length=256, hop_length=50, center=True, mel_bands=20, blocks=(Mfcc(7),)
    )
    model = made_up_model([4, 3], [3, 2], spec=spec)
    folder = tmp_path_factory.mktemp("centred") / "project"
    export(model, load_board(BOARD), folder)
    with host_build(folder, (*FLAGS, *WARNINGS)) as path:
        yield model, path


@pytest.mark.slow
def test_a_padded_clip_of_any_length_equals_the_reference(centred: tuple[QuantizedModel, Path]) -> None:
    model, program = centred
    spec = model.spec
    device = Device(ProcessTransport([str(program)]))
    lengths = [spec.min_samples, 99, 100, 127, 128, 129, 255, 256, 257, 1999, 2000]
    report = verify(
        model, [Recording(str(n), noise()[500 : 500 + n]) for n in lengths], Target(device, "host", BOARD)
    )
    assert report.ok, report_lines(report)
    with pytest.raises(DeviceError, match="too few samples"):
        device.run_clip(np.zeros(spec.min_samples - 1, np.int16))
    assert device.run_clip(np.zeros(spec.max_samples, np.int16)).frames == MAX_FRAMES
    with pytest.raises(DeviceError, match="too many frames"):
        device.run_clip(np.zeros(spec.max_samples + 1, np.int16))
    device.close()


@pytest.mark.parametrize(
    ("place", "event"), [(0, 0), (1000, (1000 - 128) // 50 + 1), (1999, (1999 - 128) // 50 + 1)]
)
def test_a_difference_in_a_padded_clip_is_found_at_its_frame(
    centred: tuple[QuantizedModel, Path], place: int, event: int
) -> None:
    """Also where only the zeros after the clip complete the frame."""

    class Deaf(Device):
        def run_clip(self, pcm: np.ndarray) -> Result:
            return super().run_clip(heard(pcm))

        def digests_by_frame(self, pcm: np.ndarray, padding: int = 0) -> Iterator[dict[str, int]]:
            return super().digests_by_frame(heard(pcm), padding)

        def values(self, pcm: np.ndarray, stage: str, event: int) -> np.ndarray | None:
            return super().values(heard(pcm), stage, event)

    def heard(pcm: np.ndarray) -> np.ndarray:
        changed = pcm.copy()
        changed[place : place + 1] ^= 0x40
        return changed

    model, program = centred
    device = Deaf(ProcessTransport([str(program)]))
    (difference,) = verify(
        model, [Recording("clip", noise()[:2000] | 1)], Target(device, "deaf", BOARD)
    ).differences
    assert (difference.stage, difference.event) == ("window", event)
    device.close()


def test_a_difference_that_does_not_return_is_said(program: Path) -> None:
    class Once(Device):
        def run_clip(self, pcm: np.ndarray):
            return super().run_clip(np.roll(pcm, 1))

    device = Once(ProcessTransport([str(program)]))
    report = verify(MODEL_UNDER_TEST, [Recording("clip", noise())], Target(device, "host", BOARD))
    assert not report.ok
    assert report.differing_integers == 1
    assert "not when the clip is repeated" in report_lines(report)[-1]
    device.close()


def test_firmware_of_another_model_or_board_is_refused_naming_both(
    program: Path, device: Device, project: Path, clips: Path, tmp_path: Path
) -> None:
    other = made_up_model([9, 6, 5], [3, 2, 8], seed=1)
    ours, theirs = MODEL_UNDER_TEST.identity.hex(), other.identity.hex()
    with pytest.raises(SerqError, match=f"carries model {ours}, not {theirs}"):
        verify(other, [], Target(device, "host", BOARD))
    with pytest.raises(SerqError, match=r"for board esp32, not for nucleo_f446re"):
        verify(MODEL_UNDER_TEST, [], Target(device, "host", "nucleo_f446re"))
    shutil.copytree(project, tmp_path / "swapped")
    save_model(other, tmp_path / "swapped" / MODEL)
    with pytest.raises(SerqError, match=f"{theirs}, but the folder is of {ours}"):
        verify_project(tmp_path / "swapped", clips, "host")


def test_a_clip_too_short_is_named(device: Device) -> None:
    with pytest.raises(SerqError, match=r"^hm: the clip has 100 samples"):
        verify(MODEL_UNDER_TEST, [Recording("hm", np.zeros(100, np.int16))], Target(device, "host", BOARD))


def test_a_stratified_choice_keeps_proportions() -> None:
    clips = [
        Clip(Path("x"), f"{label}{index}", label, "")
        for label, count in (("anger", 127), ("fear", 69), ("joy", 71))
        for index in range(count)
    ]
    chosen = select_stratified(clips, 60)
    assert Counter(clip.label for clip in chosen) == {
        "anger": 29,
        "fear": 15,
        "joy": 16,
    }  # 28.5, 15.5, 16.0: ties go by name
    assert chosen == select_stratified(clips, 60) != select_stratified(clips, 60, seed=1)
    assert [clips.index(clip) for clip in chosen] == sorted({clips.index(clip) for clip in chosen})
    assert select_stratified(clips, 1000) == clips


# ---- builds and transports ----


def test_no_compiler_is_one_sentence(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with (
        pytest.raises(SerqError, match="no C compiler found; install gcc or clang, or verify on a board"),
        host_build(project),
    ):
        pass


def test_code_that_does_not_compile_is_one_sentence(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "broken")
    (tmp_path / "broken" / "src" / "wire.c").write_text("#error nonsense\n")
    with (
        pytest.raises(SerqError, match=r"the C compiler refused .*nonsense") as refused,
        host_build(tmp_path / "broken"),
    ):
        pass
    assert "\n" not in str(refused.value)


def test_a_program_that_ends_or_is_silent_or_missing() -> None:
    with pytest.raises(SerqError, match=r"sh ended with exit code 3 before it had answered: oh no"):
        Device(ProcessTransport(["sh", "-c", "echo oh no >&2; exit 3"]))
    for silent in (["sleep", "9"], ["cat"]):
        transport = ProcessTransport(silent)
        with pytest.raises(SerqError, match="did not answer for 0 s"):
            Device(transport, timeout=0.02, attempts=3)
        threading.Thread(
            target=transport.close
        ).start()  # `sleep` heeds no end of input: closing waits, then kills
    with pytest.raises(SerqError, match="cannot start /no/such/program"):
        ProcessTransport(["/no/such/program"])


def test_a_serial_port_carries_the_same(program: Path, project: Path, clips: Path) -> None:
    """A pseudo-terminal is a serial port to both sides; the program behind it stands in for the board."""
    master, slave = os.openpty()
    tty.setraw(slave)
    process = subprocess.Popen([str(program)], stdin=master, stdout=master)
    try:
        report = verify_project(project, clips, os.ttyname(slave), count=2)
        assert report.ok
        assert (report.clips, report.target, report.board) == (2, os.ttyname(slave), BOARD)
        held = SerialTransport(os.ttyname(slave), 115200)
        with pytest.raises(SerqError, match="is in use by another program"):
            SerialTransport(os.ttyname(slave), 115200)
        held.close()
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def test_a_socket_carries_the_same(program: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                subprocess.run([str(program)], stdin=connection.fileno(), stdout=connection.fileno())

        thread = threading.Thread(target=serve)
        thread.start()
        device = Device(SerialTransport(f"socket://127.0.0.1:{server.getsockname()[1]}", 115200))
        report = verify(MODEL_UNDER_TEST, [Recording("clip", noise())], Target(device, "socket", BOARD))
        assert report.ok
        device.close()
        thread.join()


def test_ports_that_cannot_be_used(project: Path, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(SerqError, match="there is no port /dev/no-such-port"):
        verify_project(project, clips, "/dev/no-such-port")
    with pytest.raises(SerqError, match="no permission to use /dev/x"):
        raise SerqError(
            why_not_open(
                "/dev/x", PermissionError(13, "could not open port /dev/x: [Errno 13] Permission denied")
            )
        )
    export(MODEL_UNDER_TEST, load_board("m0"), tmp_path / "m0")
    with pytest.raises(SerqError, match="emulated-m0 is an emulated board and has no port"):
        verify_project(tmp_path / "m0", clips, "/dev/no-such-port")
    assert read_project(project).board == BOARD
