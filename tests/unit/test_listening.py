"""Listening: the device's C code equals the reference piece by piece; recordings, microphones, boards over a
wire and what goes wrong; the page.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
import urllib.error
import urllib.request
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.build import host_library as host_libraries
from serq_mcu.cli import main
from serq_mcu.codegen.export import export
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.harness.transports import SerialTransport
from serq_mcu.listening import engine as ears
from serq_mcu.listening import microphone
from serq_mcu.listening.answers import Damaged, Hello, LabelledDecision, TimedDecision
from serq_mcu.listening.classify import classify_file
from serq_mcu.listening.engine import PYTHON, C, ClipAnswer, Engine, open_engine
from serq_mcu.listening.lines import Complaint, LineReader, Passed
from serq_mcu.listening.live import live_events
from serq_mcu.quantized_model import interpreter
from serq_mcu.quantized_model.store import save_model, shipped_model
from serq_mcu.quantized_model.streaming import Decision, stream_decisions
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show import live_page
from serq_mcu.show.live_page import HTML, Page
from serq_mcu.show.terminal import bar
from tests.support.frontend import SPECS
from tests.support.models import SMALL_SPEC, made_up_model
from tests.support.native import WARNINGS
from tests.support.streaming import RULE, quiet_and_loud, with_pauses, with_speech_rule
from tests.support.tools import needs
from tests.support.web import require_browser
from tools.screenshots import live_page as drawn_page
from tools.screenshots import screenshot

LABELS = ('a "quoted" & <b>', "back\\slash", "日本語", "fear", "joy")
MODEL = made_up_model((16, 5), (4, 3), spec=with_speech_rule(SMALL_SPEC), labels=LABELS, unsure_margin=40)


def _nothing(*_: object) -> None:
    """No progress."""


def _reference(model: QuantizedModel, monkeypatch: pytest.MonkeyPatch) -> Engine:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        patch.delenv("CC", raising=False)
        ear = open_engine(model, _nothing)
    assert ear.by == f"{PYTHON} (no C compiler found)"
    return ear


# --- the device's C code, and the reference


@pytest.mark.slow
@pytest.mark.parametrize("name", ["narrow window", "all blocks", "small"])
def test_both_ears_answer_as_the_reference_whatever_the_pieces(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = with_speech_rule(SPECS.get(name, SMALL_SPEC))
    model = MODEL if name == "small" else made_up_model((6, 3), (2, 5), spec=spec, **RULE)
    # it ends quieter than it begins: what is left of that at a new start would be a floor
    pcm = np.concatenate([with_pauses(spec, 3), np.zeros(8 * spec.frame_length, np.int16)])
    wanted = stream_decisions(model, pcm)
    native, reference = open_engine(model, _nothing), _reference(model, monkeypatch)
    assert native.by == C
    for ear in (native, reference):
        for piece in (77, 5000, len(pcm)):
            ear.start()
            assert [
                found for first in range(0, len(pcm), piece) for found in ear.push(pcm[first : first + piece])
            ] == wanted


@pytest.mark.slow
def test_both_ears_score_clips_alike_and_refuse_the_same_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    padded = made_up_model((5,), (3,), spec=FeatureSpec(center=True))
    for model in (MODEL, padded):
        native, reference = open_engine(model, _nothing), _reference(model, monkeypatch)
        for length in (
            model.spec.min_samples - 1,
            model.spec.min_samples,
            20_000,
            model.spec.max_samples,
            model.spec.max_samples + 1,
        ):
            pcm = np.resize(quiet_and_loud(model.spec, 1), max(length, 0))
            assert native.clip(pcm) == reference.clip(pcm)
            assert (reference.clip(pcm) is None) == (
                not model.spec.min_samples <= length <= model.spec.max_samples
            )
        pcm = quiet_and_loud(model.spec, 2)
        pooled = features(model.spec, model.tables, pcm)
        assert native.clip(pcm) == ClipAnswer(
            int(interpreter.classify(model, pooled)), tuple(interpreter.scores(model, pooled).tolist())
        )
    for ear in (open_engine(padded, _nothing), _reference(padded, monkeypatch)):
        with pytest.raises(SerqError, match="cannot stream"):
            ear.push(pcm)


@pytest.mark.slow
def test_c_is_compiled_once_for_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERQ_CACHE", str(tmp_path))
    said: list[str] = []
    first, second = MODEL, made_up_model((5,), (2,), seed=9)
    for model in (first, first, second, first):
        assert open_engine(model, said.append).by == C
    assert said == ["compiling the model's C for this computer, once"] * 2
    assert len(list((tmp_path / "files").iterdir())) == 2
    monkeypatch.setattr(host_libraries, "FLAGS", (*host_libraries.FLAGS, "-DANOTHER"))
    open_engine(first, said.append)
    assert len(said) == 3


def test_another_machine_or_compiler_compiles_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERQ_CACHE", str(tmp_path))
    said: list[str] = []
    files = {"one.c": b"int one(void) { return 1; }"}

    def load() -> int:
        one: int = host_libraries.host_library("one", files, (), said.append).one()
        return one

    assert [load(), load(), len(said)] == [1, 1, 1]
    monkeypatch.setattr("platform.machine", lambda: "another")
    assert [load(), len(said)] == [1, 2]
    monkeypatch.setenv("CPATH", str(tmp_path))
    assert [load(), len(said)] == [1, 3]


def test_a_library_that_does_not_load_is_compiled_where_it_does_or_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERQ_CACHE", str(tmp_path))
    load = ctypes.CDLL

    def refuse(path: str) -> ctypes.CDLL:  # as a disk mounted without the right to run programs does
        if str(tmp_path) in path:
            raise OSError(f"{path}: failed to map segment from shared object")
        return load(path)

    monkeypatch.setattr("ctypes.CDLL", refuse)
    assert open_engine(MODEL, _nothing).by == C
    monkeypatch.setattr("ctypes.CDLL", lambda path: refuse(f"{tmp_path}{path}"))
    said: list[str] = []
    by = open_engine(MODEL, said.append).by
    assert "this computer does not load the C that it compiled" in by
    assert "no C compiler found" not in by + said[-1]


def test_a_compiler_that_fails_is_named_and_the_reference_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERQ_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", shutil.which("false") or "false")
    said: list[str] = []
    by = open_engine(MODEL, said.append).by
    assert by.startswith(f"{PYTHON} (") and "does not compile the C of the model" in by
    assert (
        "does not compile the C of the model" in said[-1]
        and "the Python reference answers instead" in said[-1]
    )
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=needs("clang"))])
def test_its_c_compiles_without_a_word(compiler: str, tmp_path: Path) -> None:
    for model in (MODEL, made_up_model((5,), (3,), spec=FeatureSpec(center=True))):
        for name, data in Plan(model, load_board("esp32")).model_files.items():
            (tmp_path / Path(name).name).write_bytes(data)
        stream = ["-DSERQ_CAN_STREAM"] if model.decision else []
        includes = [f"-I{tmp_path}", f"-I{FIRMWARE / 'lib' / 'serq' / 'src'}"]
        command = [
            compiler,
            "-std=c99",
            *WARNINGS,
            *stream,
            *includes,
            "-c",
            str(ears._SOURCE),
            "-o",
            str(tmp_path / "classify.o"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == "", done.stderr


# --- classify a recording


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip <1>.wav", quiet_and_loud(MODEL.spec, 5), 16000, subtype="PCM_16")
    return tmp_path / "clip <1>.wav"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return save_model(MODEL, tmp_path / "m.serq")


def _run(*words: str | Path) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def _of(decisions: list[Decision], model: QuantizedModel) -> list[tuple[object, ...]]:
    names = {-1: "no speech", -2: "not sure"} | dict(enumerate(model.labels))
    return [(names[d.answer], list(d.scores), d.margin, d.frames) for d in decisions]


def test_classify_answers_the_same_with_a_compiler_and_without(
    clip: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_c = json.loads(_run("classify", clip, "--model", model_file, "--json").stdout)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    done = _run("classify", clip, "--model", model_file, "--json")
    assert "no C compiler found: the Python reference answers instead" in done.stderr
    without = json.loads(done.stdout)
    assert with_c.pop("computed_by") == C
    assert without.pop("computed_by") == f"{PYTHON} (no C compiler found)"
    assert with_c == without
    pcm = quiet_and_loud(MODEL.spec, 5)
    wanted = stream_decisions(MODEL, pcm)
    assert {-1, -2, 0} <= {decision.answer for decision in wanted} | {0}
    assert [(d["answer"], d["scores"], d["margin"], d["frames"]) for d in with_c["decisions"]] == _of(
        wanted, MODEL
    )
    block = 4 * MODEL.spec.hop_length
    ends = [
        (number * block - MODEL.spec.hop_length + MODEL.spec.frame_length) / 16000
        for number in range(1, len(wanted) + 1)
    ]
    assert [d["seconds"] for d in with_c["decisions"]] == pytest.approx(ends, abs=1e-3)
    assert ends[-1] <= with_c["seconds"]
    scores = interpreter.scores(MODEL, features(MODEL.spec, MODEL.tables, pcm))
    assert with_c["scores"] == scores.tolist() and with_c["answer"] == MODEL.labels[int(scores.argmax())]


def test_classify_draws_a_row_for_each_decision(
    clip: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = stream_decisions(MODEL, quiet_and_loud(MODEL.spec, 5))
    for columns, pattern in (("120", "[█▏▎▍▌▋▊▉]"), ("40", r"(fear|joy) -?\d+")):
        monkeypatch.setenv("COLUMNS", columns)
        lines = _run("classify", clip, "--model", model_file).stdout.splitlines()
        assert [line for line in lines if "it is clipped" in line and line.startswith("note: ")]
        head, *rows, last = [line for line in lines if not line.startswith("note: ")]
        assert head.split()[:4] == ["time", "level", "answer", "lead"]
        assert len(rows) == len(wanted)
        assert last.startswith("as a clip: ") and f"model {MODEL.identity.hex()}, by {C}" in last
        for row, (answer, _, margin, frames) in zip(rows, _of(wanted, MODEL), strict=True):
            assert str(margin) in row and bool(re.search(pattern, row)) == bool(frames), row
            assert str(answer)[:8] in row


def test_bars_are_as_long_as_their_shares() -> None:
    assert [bar(share, 4) for share in (0.0, 0.5, 1.0)] == ["▏   ", "██  ", "████"]
    assert bar(0.7, 4, plain=True) == "### "


def test_drawings_hold_every_decision_and_need_nothing_else(
    clip: Path, model_file: Path, tmp_path: Path
) -> None:
    done = _run(
        "classify",
        clip,
        "--model",
        model_file,
        "--svg",
        tmp_path / "o" / "t.svg",
        "--page",
        tmp_path / "t.html",
    )
    assert done.exit_code == 0 and f"wrote {tmp_path / 't.html'}" in done.output
    wanted = stream_decisions(MODEL, quiet_and_loud(MODEL.spec, 5))
    drawn = xml.etree.ElementTree.parse(tmp_path / "o" / "t.svg").getroot()
    rects = list(drawn.iter("{http://www.w3.org/2000/svg}rect"))
    assert len(rects) == len(wanted) + 5 * sum(decision.frames > 0 for decision in wanted)
    assert sum(rect.get("class") == "open" for rect in rects) == sum(
        decision.answer < 0 for decision in wanted
    )
    for path in (tmp_path / "o" / "t.svg", tmp_path / "t.html"):
        text = path.read_text()
        assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?https?:", text)
        assert "<b>" not in text and "&lt;b&gt;" in text and "clip <1>" not in text
    assert (tmp_path / "t.html").read_text().count("<tr>") == len(wanted) + 1


def test_what_cannot_be_classified_is_said(tmp_path: Path, model_file: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(50, np.int16), 16000)
    (tmp_path / "no.wav").write_text("no audio")
    for words, said in [
        (("classify", tmp_path / "none.wav"), "none.wav"),
        (("classify", tmp_path / "no.wav"), "no.wav"),
        (("classify", tmp_path / "short.wav"), "too short for an answer: 50 samples"),
        (("classify", tmp_path / "short.wav", "--model", tmp_path / "no.serq"), "no.serq does not exist"),
    ]:
        done = _run(*words)
        assert done.exit_code == 1 and said in done.output and "unexpected error" not in done.output, (
            done.output
        )


def test_a_model_for_clips_alone_answers_the_clip(clip: Path, tmp_path: Path) -> None:
    padded = save_model(made_up_model((5,), (3,), spec=FeatureSpec(center=True)), tmp_path / "p.serq")
    done = _run("classify", clip, "--model", padded, "--svg", tmp_path / "p.svg")
    assert done.exit_code == 0 and "\nas a clip: class" in done.stdout


def test_the_shipped_model_hears_real_speech_as_its_evaluation_does(emodb_dir: Path) -> None:
    model, path = shipped_model(), emodb_dir / "03a01Wa.flac"
    found = classify_file(path, model, _nothing)
    assert (found.answer, found.by) == ("anger", C)
    assert [decision.scores for decision in found.decisions] == [
        decision.scores for decision in stream_decisions(model, found.pcm)
    ]


# --- this computer's microphone


class _FakeMicrophones(SimpleNamespace):
    """The part of sounddevice that is used: plays pcm in pieces, `overflow` says which were preceded by a
    gap.
    """

    class PortAudioError(Exception):
        pass

    def __init__(
        self,
        pcm: np.ndarray,
        overflow: tuple[int, ...] = (),
        refuse: str = "",
        devices: tuple[str, ...] = ("Mic",),
    ) -> None:
        super().__init__(pcm=pcm, overflow=overflow, refuse=refuse, devices=devices)

    def query_devices(self) -> list[dict[str, object]]:
        return [
            {"name": "Speaker", "max_input_channels": 0},
            *({"name": name, "max_input_channels": 1} for name in self.devices),
        ]

    def RawInputStream(
        self,
        samplerate: int,
        blocksize: int,
        channels: int,
        dtype: str,
        device: object,
        callback: Callable[..., None],
    ) -> Any:
        assert (channels, dtype) == (1, "int16")
        if self.refuse:
            raise self.PortAudioError(self.refuse)

        @contextlib.contextmanager
        def stream() -> Iterator[None]:
            for number in range(len(self.pcm) // blocksize):
                status = SimpleNamespace(input_overflow=number in self.overflow)
                callback(
                    memoryview(self.pcm[number * blocksize :][:blocksize].tobytes()), blocksize, None, status
                )
            yield

        return stream()


def test_a_microphone_is_heard_as_a_recording_and_afresh_after_a_gap(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = quiet_and_loud(MODEL.spec, 7)[:24_000]
    monkeypatch.setitem(sys.modules, "sounddevice", _FakeMicrophones(pcm, overflow=(10,)))
    monkeypatch.setattr(microphone, "_PATIENCE", 0.2)
    done = _run("classify", "mic", "--model", model_file, "--json")
    assert done.exit_code == 1 and "nothing comes from the microphone" in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0] == {
        "event": "hello",
        "board": "this computer's microphone",
        "model": MODEL.identity.hex(),
        "labels": list(LABELS),
    }
    before, after = stream_decisions(MODEL, pcm[:8000]), stream_decisions(MODEL, pcm[8000:])
    assert [(d["answer"], d["scores"], d["margin"], d["frames"]) for d in events[1:]] == _of(
        before + after, MODEL
    )
    assert [d["overruns"] for d in events[1:]] == [0] * len(before) + [800] * len(after)
    times = [d["seconds"] for d in events[1:]]
    assert times[len(before)] == pytest.approx(times[0] + 0.55, abs=2e-3) and times == sorted(times)
    counted = _run("classify", "mic", "--model", model_file, "--count", "3")
    assert counted.exit_code == 0 and len(counted.stdout.splitlines()) == 1 + 3
    assert "listening ended after 3 decisions" in counted.stderr


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (None, r"pip install 'serq-mcu\[microphone\]'"),
        (
            _FakeMicrophones(np.zeros(9, np.int16), refuse="Error querying device -1", devices=()),
            "no microphone was found",
        ),
        (
            _FakeMicrophones(np.zeros(9, np.int16), refuse="Invalid sample rate"),
            r"16000 samples a second \(Invalid sample rate\).*--device: 1: Mic",
        ),
    ],
)
def test_a_missing_microphone_is_one_sentence(
    module: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    done = _run("classify", "mic")
    assert done.exit_code == 1 and re.search(words, done.output), done.output
    assert "draw a recording" in _run("classify", "mic", "--svg", "x.svg").output


def test_portaudio_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "apt-get install libportaudio2" in _run("classify", "mic").output


# --- what a board writes


def _line(
    answer: str = "joy",
    label: int | None = 4,
    overruns: int = 0,
    scores: tuple[int, ...] = (1, -2, 3, 4, 900),
    frames: int = 12,
    **more: object,
) -> bytes:
    value = more | {
        "answer": answer,
        "label": label,
        "scores": list(scores),
        "margin": 896,
        "level": -2560,
        "frames": frames,
    }
    return (
        json.dumps(value | {"latency_us": 5300, "waiting": 0, "overruns": overruns}, ensure_ascii=False)
        + "\n"
    ).encode()


def _hello(labels: tuple[str, ...] = LABELS) -> bytes:
    return (
        json.dumps({"serq": "live", "board": "esp32", "model": "0123456789abcdef", "labels": list(labels)})
        + "\n"
    ).encode()


BOOT = (
    b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\n\x1b[0;32mI (29) boot:"
    b" ESP-IDF\x1b[0m\r\n"
)


def test_lines_become_events_however_they_are_cut() -> None:
    data = (
        BOOT
        + _hello()
        + _line()
        + _line(confidence=85)
        + _line(confidence=101)
        + _line()[:40]
        + b"\n"
        + _line("no speech", None, frames=0)
        + b'{"error": "no driver"}\n'
    )
    for piece in (1, 7, 4096):
        reader, events = LineReader(), list[Any]()
        for start in range(0, len(data), piece):
            events += list(reader.feed(data[start : start + piece], 2.5))
        assert [type(event) for event in events] == [
            Passed,
            Passed,
            Passed,
            Hello,
            LabelledDecision,
            LabelledDecision,
            LabelledDecision,
            Damaged,
            LabelledDecision,
            Complaint,
        ]
        assert [event.decision.confidence for event in events[4:7]] == [None, 85, None]
        level: Any = pytest.approx(-30.103, abs=1e-3)
        assert events[3] == Hello("esp32", "0123456789abcdef", LABELS)
        assert events[4] == LabelledDecision(
            TimedDecision(2.5, "joy", 4, (1, -2, 3, 4, 900), 896, level, 12, 5300, 0), LABELS
        )
        assert events[8].decision.label is None and events[8].decision.answer == "no speech"
        assert "\x1b" not in events[2].text


def test_labels_are_learnt_from_a_board_that_said_them_before() -> None:
    events: list[Any] = list(
        LineReader().feed(
            b'7}\n{"answer": "not\n' + _line("no speech", None) + _line("joy", 4) + _line("fear", 3), 0.0
        )
    )
    assert [type(event) for event in events] == [
        Passed,
        Damaged,
        LabelledDecision,
        LabelledDecision,
        LabelledDecision,
    ]
    assert events[-1].labels == ("class 0", "class 1", "class 2", "fear", "joy")


@pytest.mark.parametrize(
    "line",
    [
        b'{"answer": "joy"}',
        (
            b'{"answer": 3, "label": 4, "scores": [1], "margin": 1, "level": 1, "frames": 1, "latency_us": 1,'
            b' "overruns": 1}'
        ),
        _line(label=9).strip(),
        _line(scores=(1, 2)).strip(),
        _line("joy", None).strip(),
        _line().replace(b"896", b"true").strip(),
        _line().replace(b"896", b"1e3").strip(),
        _line().replace(b"896", b"9" * 40).strip(),
        b'{"serq": "live", "board": "x", "labels": 7}',
        b'{"serq": "live", "labels": []}',
        b"[" * 5000 + b'{"answer"',
        b"x" * 40_000,
    ],
)
def test_what_is_not_a_decision_is_none(line: bytes) -> None:
    reader = LineReader()
    list(reader.feed(_hello(), 0.0))
    events = list(reader.feed(line + b"\n", 0.0))
    assert events and all(isinstance(event, (Passed, Damaged)) for event in events)
    assert [type(event) for event in reader.feed(b"\n" + _line(), 0.0)] == [LabelledDecision]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from([_line(), _hello(), b"\n", b'{"answer": "', b"\xff\x00\x1b[2J\n"]),
        ),
        max_size=12,
    )
)
def test_no_bytes_break_the_reader_or_reach_the_terminal_raw(pieces: list[bytes]) -> None:
    reader = LineReader()
    for piece in pieces:
        for event in reader.feed(piece, 0.0):
            texts = [event.text] if isinstance(event, (Passed, Damaged, Complaint)) else []
            texts += [event.decision.answer, *event.labels] if isinstance(event, LabelledDecision) else []
            assert all(text.isprintable() for text in texts)


# --- live over a wire


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once `live` has opened its port: pyserial throws away what arrives before."""
    event = threading.Event()

    class Opened(SerialTransport):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            event.set()

    monkeypatch.setattr("serq_mcu.listening.live.SerialTransport", Opened)
    return event


@pytest.fixture
def board(opened: threading.Event) -> Iterator[Callable[..., str]]:
    """A board on a pseudo-terminal that says these bytes; gives the port's name. unplugged: the port is
    lost after them. watched: what comes after the first of them waits for this.
    """
    descriptors: list[int] = []
    threads: list[threading.Thread] = []

    def start(*said: bytes, unplugged: bool = False, watched: threading.Event | None = None) -> str:
        master, slave = os.openpty()
        tty.setraw(slave)
        descriptors.append(slave)

        def send() -> None:
            opened.wait(600)
            for place, part in enumerate(said):
                os.write(master, part)
                time.sleep(0.02)
                if place == 0 and watched is not None:
                    watched.wait(600)
            if unplugged:
                while int.from_bytes(fcntl.ioctl(slave, termios.FIONREAD, bytes(4)), sys.byteorder):
                    time.sleep(0.02)  # what is not read when a terminal closes is lost
                os.close(master)
            else:
                descriptors.append(master)

        threads.append(threading.Thread(target=send, daemon=True))
        threads[-1].start()
        return os.ttyname(slave)

    yield start
    for thread in threads:
        thread.join(5)
    for descriptor in descriptors:
        os.close(descriptor)


def test_live_shows_what_a_board_says(board: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    said = [
        BOOT,
        _hello(),
        _line(),
        b'{"voice": 3, "learns": "joy"}\n{"stored": "00ff"}\n',  # answers to somebody else
        _line()[:30] + b"\n",
        _line("no speech", None, overruns=700, frames=0),
        _line("fear", 3, overruns=700),
    ]
    done = _run("live", board(*said), "--count", "3")
    assert done.exit_code == 0, done.output
    head, *rows = done.stdout.splitlines()
    assert head.split()[:4] == ["time", "level", "answer", "lead"]
    assert ["joy" in rows[0], "no speech" in rows[1], "fear" in rows[2], len(rows)] == [True, True, True, 3]
    assert "esp32 listens with model 0123456789abcdef" in done.stderr
    assert "skipped non-JSON output such as 'ets Jul 29 2019 12:21:46'" in done.stderr
    assert "skipped a corrupted line" in done.stderr
    assert "700 samples were lost" in done.stderr and done.stderr.count("samples were lost") == 1


def test_damaged_lines_without_end_are_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        name = "it"

        def read(self, timeout: float) -> bytes:
            self.pieces = getattr(self, "pieces", -1) + 1
            return _line()[9:] if self.pieces else _hello()

    clock = itertools.count()
    monkeypatch.setattr("serq_mcu.listening.live.time.monotonic", lambda: float(next(clock)))
    with pytest.raises(SerqError, match=r"\d+ lines in a row came damaged from it; check the cable"):
        list(itertools.islice(live_events(Endless(), lambda *_: None), 1000))


def test_live_writes_json_lines(board: Callable[..., str]) -> None:
    done = _run("live", board(_hello(), _line()[9:], _line()), "--count", "1", "--json", "--quiet")
    assert done.exit_code == 0 and done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["hello", "damaged line", "decision", "end"]
    assert events[2]["scores"] == [1, -2, 3, 4, 900] and events[2]["latency_us"] == 5300


@pytest.mark.parametrize(
    ("said", "unplugged", "words"),
    [
        ((), False, "nothing comes from /dev/pts/.*--app live`, and reset the board"),
        ((b"hello world\n", b"nothing else\n"), False, "is not the live application.*'nothing else'.*--baud"),
        (
            (b"Brownout detector was triggered\n", b"rst:0x1 (POWERON_RESET)\n"),
            False,
            "is not the live application .it said 'Brownout detector was triggered': its supply sags",
        ),
        (
            (_hello(), _line(), b"waiting for download\n"),
            False,
            "fell silent: it said 'waiting for download'",
        ),
        ((_hello(), _line()), False, "/dev/pts/.* fell silent; check the cable"),
        ((_hello(), _line()), True, "/dev/pts/.* was lost .*check the cable"),
        (
            (b'{"error": "the microphone\'s driver did not start"}\n',),
            False,
            "the board reports: the microphone's driver did not start",
        ),
    ],
)
def test_what_goes_wrong_on_a_wire_is_one_sentence(
    said: tuple[bytes, ...],
    unplugged: bool,
    words: str,
    board: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serq_mcu.listening.live._PATIENCE", 2.0)
    done = _run("live", board(*said, unplugged=unplugged), "--quiet")
    assert done.exit_code == 1
    assert re.search(f"^Error: .*{words}", done.stderr, re.MULTILINE), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_live_refuses_ports_that_are_none(tmp_path: Path) -> None:
    assert "there is no port" in _run("live", "/dev/ttyUSB77").output
    assert "cannot open socket://127.0.0.1:1" in _run("live", "socket://127.0.0.1:1").output
    assert "--clip is for the emulator" in _run("live", "/dev/null", "--clip", tmp_path / "x.wav").output
    assert "give its emulator a recording" in _run("live", tmp_path).output


def test_live_reads_a_socket(opened: threading.Event) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                opened.wait(600)
                connection.sendall(_hello() + _line() * 5)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = _run("live", f"socket://127.0.0.1:{server.getsockname()[1]}", "--json")
        thread.join(5)
    assert done.stdout.count('"event": "decision"') == 5
    assert done.exit_code == 1 and "was lost" in done.stderr


@pytest.mark.emulator
def test_live_in_the_emulator_answers_as_the_reference(tmp_path: Path) -> None:
    export(MODEL, load_board("nucleo_f446re"), tmp_path / "p", app="live")
    pcm = quiet_and_loud(MODEL.spec, 4)[:20_000]
    soundfile.write(tmp_path / "clip.wav", pcm, 16000, subtype="PCM_16")
    done = _run("live", tmp_path / "p", "--clip", tmp_path / "clip.wav", "--json")
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["board"] == "emulated-m4f"
    decisions = [event for event in events if event["event"] == "decision"]
    assert [(d["answer"], d["scores"], d["margin"], d["frames"]) for d in decisions] == _of(
        stream_decisions(MODEL, pcm), MODEL
    )
    assert decisions[-1]["seconds"] > 1.0, "at the speed of life"
    assert (
        "is a harness project, and this needs"
        in _run("live", _harness(tmp_path), "--clip", tmp_path / "clip.wav").output
    )


def _harness(folder: Path) -> Path:
    export(MODEL, load_board("emulated-m4f"), folder / "harness")
    return folder / "harness"


# --- the page


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.close()


def _events(page: Page, count: int, opened: threading.Event | None = None) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{page.url}events", timeout=120) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        if opened:
            opened.set()
        found: list[dict[str, Any]] = []
        while len(found) < count:
            line = answer.readline()
            assert line
            found += [json.loads(line[6:])] if line.startswith(b"data: ") else []
        return found


HELLO = Hello("esp32", "0123456789abcdef", LABELS)
JOY = LabelledDecision(TimedDecision(1.0, "joy", 4, (1, 2, 3, 4, 900), 896, -30.0, 12, 5300, 7), LABELS)


def test_the_page_tells_late_readers_what_they_missed(page: Page) -> None:
    page.hello(HELLO)
    page.damaged(Damaged("x"))
    page.decided(JOY)
    hello, _, decision = _events(page, 3)
    assert hello == {"type": "hello", "board": "esp32", "model": "0123456789abcdef", "labels": list(LABELS)}
    assert (
        decision["answer"],
        decision["number"],
        decision["damaged"],
        decision["overruns"],
        decision["labels"],
    ) == ("joy", 1, 1, 7, list(LABELS))
    for _ in range(300):
        page.decided(JOY)
    assert [event["number"] for event in _events(page, 121)[1:]] == list(range(182, 302)), (
        "the first are forgotten, the hello is not"
    )
    page.hello(HELLO)
    page.end("over")
    assert [event["type"] for event in _events(page, 2)] == ["hello", "end"]


def test_the_page_is_one_file_for_this_computer_alone(page: Page) -> None:
    assert page.url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(page.url, timeout=120) as answer:
        assert answer.read() == HTML.read_bytes()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    text = HTML.read_text()
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    for path, host, code in (
        ("other", None, 404),
        ("", "evil.example", 403),
        ("events", "evil.example:80", 403),
    ):
        request = urllib.request.Request(page.url + path, headers={"Host": host} if host else {})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=120)
        assert refused.value.code == code
        refused.value.close()


def _raw(page: Page, text: bytes) -> socket.socket:
    """Open a connection to the page and send no more than this."""
    made = socket.create_connection(("127.0.0.1", int(page.url.rsplit(":", 1)[1].strip("/"))), 60)
    made.sendall(text)
    return made


def test_clients_that_say_nothing_are_left(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page._Handler, "timeout", 0.3)
    idle = [_raw(page, text) for text in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n")]
    for one in idle:
        assert one.recv(9) == b""  # it was closed
        one.close()


def test_more_clients_than_browsers_are_left_at_once(page: Page) -> None:
    page._server.server._free = threading.BoundedSemaphore(2)
    held = [_raw(page, b"") for _ in range(2)]
    more = _raw(page, b"")
    assert more.recv(9) == b""
    for one in (*held, more):
        one.close()


def test_a_reader_that_does_not_read_is_left(page: Page) -> None:
    with page.reading() as reader:
        for _ in range(live_page._WAITING + 1):
            page.decided(JOY)
        assert reader.get(timeout=60) is None
        assert reader.empty() and not page._readers
    page.decided(JOY)


def test_a_port_that_is_taken_is_said(page: Page) -> None:
    with pytest.raises(SerqError, match="choose another with --browser-port"):
        Page(int(page.url.rsplit(":", 1)[1].strip("/")))


def test_live_with_a_page_serves_it_while_it_listens(board: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    watched, found = threading.Event(), list[dict[str, Any]]()
    port = board(_hello(), *[_line()] * 100, watched=watched)

    def look() -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:  # until it listens, it refuses
            with contextlib.suppress(OSError):
                found.extend(_events(SimpleNamespace(url=f"http://127.0.0.1:{number}/"), 5, watched))  # type: ignore[arg-type]
                return
            time.sleep(0.05)

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    done = _run("live", port, "--count", "100", "--browser", "--browser-port", str(number))
    reader.join(120)
    assert done.exit_code == 0 and f"the page is at http://127.0.0.1:{number}/" in done.stderr
    assert [event["type"] for event in found][:2] == ["hello", "decision"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_drawn_by_a_browser(dark: bool) -> None:
    require_browser()
    data = screenshot(drawn_page(), 390, dark=dark)
    assert data.startswith(b"\x89PNG") and int.from_bytes(data[16:20], "big") == 390
