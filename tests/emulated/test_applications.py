"""Applications that listen: live's decisions equal the reference on every core, gaps included; record,
over a port, with its self-test.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import Emulator, all_boards, load_board, with_changes
from serq_mcu.boards.samples import Converter
from serq_mcu.build import platformio
from serq_mcu.build.sizes import compare
from serq_mcu.cli import main
from serq_mcu.codegen.budget import budget
from serq_mcu.codegen.export import APPS, export, read_project, retarget
from serq_mcu.codegen.plan import Plan
from serq_mcu.corpus.audio import read_audio
from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.listening.answers import Hello
from serq_mcu.listening.lines import LineReader
from serq_mcu.listening.recorder import Capture, PacketReader, record, self_test
from serq_mcu.quantized_model.store import save_model
from serq_mcu.quantized_model.streaming import Decision, confidence, stream_decisions
from serq_mcu.quantized_model.types import UNKNOWN_CONFIDENCE, QuantizedModel
from serq_mcu.show.firmware import size_lines
from serq_mcu.verification.target import open_target
from tests.support.models import SMALL_SPEC, made_up_model
from tests.support.native import SANITIZERS, WARNINGS
from tests.support.streaming import with_speech_rule
from tests.support.tools import needs
from tests.support.virtual_boards import capture_packets, packets_on_a_port, quiet_sound

PROGRAMS = Path(__file__).parents[1] / "programs"
EMULATED = [board.name for board in all_boards() if board.emulated]
LABELS = ('a "quoted"', "back\\slash", "日本語", "fear", "joy")
MODEL = made_up_model(
    (16, 5),
    (4, 3),
    seed=2,
    spec=with_speech_rule(SMALL_SPEC),
    labels=LABELS,
    unsure_margin=400,
    confidence=tuple(range(0, 19 * 60, 60)),
)
SET = ("microphone.dc_shift=7", "microphone.gain_db=-6")


def _speech(count: int = 30_000, seed: int = 3) -> np.ndarray:
    """Bursts of noise on a DC offset, silence between, and full scale at the end."""
    rng, t = np.random.default_rng(seed), np.arange(count)
    bursts = rng.normal(0, 9000, count) * np.maximum(np.sin(t / 2000), 0) ** 3 + 900
    bursts[-2000:] = rng.choice([-32768, 32767], 2000)
    return np.clip(np.rint(bursts), -32768, 32767).astype(np.int16)


def _check(
    lines: list[dict[str, object]], wanted: list[Decision], board: str, model: QuantizedModel = MODEL
) -> None:
    assert lines[0] == {
        "serq": "live",
        "board": board,
        "model": model.sha256[:16],
        "labels": list(model.labels),
    }
    names = {-1: "no speech", -2: "not sure"} | dict(enumerate(model.labels))
    found = [(d["answer"], d["label"], d["scores"], d["margin"], d["level"], d["frames"]) for d in lines[1:]]
    assert found == [
        (names[d.answer], d.answer if d.answer >= 0 else None, list(d.scores), d.margin, d.level, d.frames)
        for d in wanted
    ]
    assert [d.get("confidence", "none") for d in lines[1:]] == [_sure(model, d) for d in wanted]


def _sure(model: QuantizedModel, decision: Decision) -> int | str | None:
    """The confidence of a line: percent, null where it is unknown, or no such name without calibration."""
    if not model.decision.confidence:
        return "none"
    percent = confidence(model.decision, decision)
    return None if percent == UNKNOWN_CONFIDENCE else percent


def _lines(output: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.decode().splitlines()]


def _host(folder: Path, driver: Path) -> Path:
    """An exported project as a program of this computer with another driver; sanitizers are for what
    listens, as the model's own C has its tests.
    """
    flags = [
        "cc",
        "-std=c99",
        *WARNINGS,
        f"-I{folder}/lib/serq/src",
        f"-I{folder}/lib/serq_audio/src",
        f"-I{folder}/src",
    ]
    runtime = (
        sorted(map(str, (folder / "lib/serq/src").glob("*.c"))) if read_project(folder).app == "live" else []
    )
    listening = [
        *folder.glob("lib/serq_audio/src/*.c"),
        *(folder / "src").glob("*.c"),
        FIRMWARE / "ports" / "port_host.c",
        driver,
    ]
    kept = {
        str(path)
        for path in listening
        if path.name not in ("port_semihosting.c", "audio_port_line.c") or path == driver
    }
    for command in (
        [*flags, "-O1", "-c", *runtime],
        [*flags, *SANITIZERS, *sorted(kept), *(f"{Path(name).stem}.o" for name in runtime), "-o", "program"],
    ):
        if command[-1] != "-c":
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    return folder / "program"


WITHOUT_VOICES = "emulated-m7"  # and confidence: it is compiled otherwise; the answers are the same


@pytest.fixture(scope="module")
def heard() -> tuple[np.ndarray, list[Decision]]:
    """A clip as it goes over the line, and the decisions on what the microphone's conversion makes of it."""
    pcm = _speech()
    board = with_changes(load_board("emulated-m0"), None, SET)
    wanted = stream_decisions(MODEL, Converter(board.microphone.conversion).pcm(pcm))
    assert {-1, -2} < {decision.answer for decision in wanted}, "the clip must reach every kind of answer"
    return pcm, wanted


@pytest.mark.slow(5)
@pytest.mark.parametrize("board_name", EMULATED)
def test_live_on_an_emulated_board_answers_what_the_reference_does(
    board_name: str, tmp_path: Path, heard: tuple[np.ndarray, list[Decision]]
) -> None:
    board = with_changes(load_board(board_name), None, SET)
    plain = replace(MODEL, voice=None, decision=replace(MODEL.decision, confidence=()))
    model = plain if board_name == WITHOUT_VOICES else MODEL
    export(model, board, tmp_path / "p", app="live")
    built = platformio.build(tmp_path / "p")
    compared = compare(tmp_path / "p", built)
    assert compared.complete and compared.warnings == [], size_lines(compared)
    pcm, wanted = heard
    done = subprocess.run(
        platformio.emulator_command(board, built.elf),
        input=pcm.tobytes() + b"\x01",
        capture_output=True,
        timeout=300,
        check=True,
    )
    _check(_lines(done.stdout), wanted, board_name, model)


def test_a_statement_that_is_off_is_a_warning_and_a_framework_is_not(tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m4f"), tmp_path / "p", app="capture")
    stated = budget(Plan(MODEL, load_board("emulated-m4f"), app="capture"))
    assert not stated.rows and stated.items[0].name == "code of runtime and capture"
    compared = compare(tmp_path / "p", platformio.BuildResult(tmp_path, stated.flash, stated.ram, tmp_path))
    assert compared.complete and compared.errors == {"flash": 0, "RAM": 0}
    for factor, off in [(1.0, 0), (1.04, 0), (1.07, 1), (0.9, 1)]:
        warnings = replace(
            compared, built={"flash": round(stated.flash * factor), "RAM": stated.ram}
        ).warnings
        assert len(warnings) == off
        assert all("bytes were estimated and" in warning and "within 5 %" in warning for warning in warnings)
    export(MODEL, load_board("nano33ble"), tmp_path / "q", app="live")
    compared = compare(tmp_path / "q", platformio.BuildResult(tmp_path, 150_000, 60_000, tmp_path))
    assert not compared.complete and compared.warnings == []
    assert "of them estimated; the other" in size_lines(compared)[0]
    large = replace(compared, built={"flash": 150_000, "RAM": 600_000})
    assert large.warnings == ["RAM: the build takes 600000 bytes and nano33ble has 262144"]


def test_export_and_build_say_what_is_needed(tmp_path: Path) -> None:
    model = save_model(MODEL, tmp_path / "m.serq")
    done = CliRunner().invoke(
        main,
        ["export", str(model), "--board", "emulated-m0", "--app", "capture", "--out", str(tmp_path / "p")],
    )
    assert done.exit_code == 0, done.output
    assert "fits: " in done.stdout and "of 16 KiB RAM (1 KiB of it stack)" in done.stdout
    done = CliRunner().invoke(
        main, ["export", str(model), "--board", "nano33ble", "--app", "live", "--out", str(tmp_path / "q")]
    )
    assert "; the framework's own share is " in done.stdout
    done = CliRunner().invoke(main, ["check", str(model), "--board", "pico", "--app", "live"])
    (row,) = [line.split() for line in done.stdout.splitlines() if line.startswith("framework, drivers")]
    assert row[2:7] == ["84300", "41300", "the", "larger", "of"]
    done = CliRunner().invoke(main, ["build", str(tmp_path / "p"), "--json"])
    value = json.loads(done.stdout)
    assert (
        value["warnings"] == []
        and abs(value["flash_bytes"] - value["estimated_flash_bytes"]) <= 0.05 * value["flash_bytes"]
    )


def test_live_of_a_real_board_moves_to_its_emulated_relative(tmp_path: Path) -> None:
    project = export(MODEL, load_board("esp32"), tmp_path / "p", app="live")
    moved = retarget(project, load_board("emulated-xtensa"), tmp_path / "q")
    assert moved.app == "live"
    assert {name for name in moved.files if "audio" in Path(name).name} == {
        "lib/serq_audio/src/serq_audio.c",
        "lib/serq_audio/src/serq_audio.h",
        "src/audio.c",
        "src/audio.h",
        "src/audio_port_line.c",
    }
    kept = [name for name in project.files if name.startswith("lib/") or name == "src/main.c"]
    assert [project.files[name] for name in kept] == [moved.files[name] for name in kept]


def test_listen_lets_a_real_boards_firmware_hear_a_recording(tmp_path: Path) -> None:
    export(MODEL, load_board("nucleo_f446re"), tmp_path / "p", app="live")
    pcm = _speech(12_000)
    soundfile.write(tmp_path / "clip.wav", pcm, 16000)
    done = CliRunner().invoke(main, ["listen", str(tmp_path / "p"), str(tmp_path / "clip.wav")])
    assert done.exit_code == 0, done.output
    _check(_lines(done.stdout.encode()), stream_decisions(MODEL, pcm), "emulated-m4f")
    done = CliRunner().invoke(main, ["listen", str(tmp_path), str(tmp_path / "clip.wav")])
    assert done.exit_code == 1 and "is not an exported project" in done.output


def test_live_on_the_host_under_sanitizers_and_the_default_specification(tmp_path: Path) -> None:
    model = made_up_model((16, 5), (4, 3), labels=LABELS, spec=FeatureSpec())
    export(model, load_board("emulated-m4f"), tmp_path / "p", app="live")
    pcm = _speech(60_000)
    program = _host(tmp_path / "p", FIRMWARE / "ports" / "audio_port_line.c")
    done = subprocess.run([str(program)], input=pcm.tobytes(), capture_output=True, check=True)
    _check(_lines(done.stdout), stream_decisions(model, pcm), "emulated-m4f", model)


def test_live_greets_again_for_who_comes_late(tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    program = _host(tmp_path / "p", FIRMWARE / "ports" / "audio_port_line.c")
    pcm = _speech(21 * MODEL.spec.sample_rate)
    done = subprocess.run([str(program)], input=pcm.tobytes(), capture_output=True, check=True)
    first, *rest = _lines(done.stdout)
    again = [line for line in rest if "serq" in line]
    assert again == [first | {"again": True}] * 2
    _check(
        [first, *(line for line in rest if "serq" not in line)], stream_decisions(MODEL, pcm), "emulated-m0"
    )
    reader = LineReader()
    events = [type(event) for event in reader.feed(done.stdout, 0.0)]
    assert events.count(Hello) == 1 and events[0] is Hello
    late = LineReader()
    assert Hello in [type(event) for event in late.feed(done.stdout[done.stdout.index(b"\n") + 1 :], 0.0)]


def test_a_microphone_that_does_not_start_is_complained_of_again(tmp_path: Path) -> None:
    """A USB line loses what is sent before somebody listens."""
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    program = _host(tmp_path / "p", PROGRAMS / "silent_microphone.c")
    done = subprocess.run([str(program)], input=b"", capture_output=True, check=True)
    lines = _lines(done.stdout)
    assert [sorted(line) for line in lines[:2]] == [["board", "labels", "model", "serq"], ["error"]]
    assert lines[2:4] == [lines[0] | {"again": True}, lines[1]] and len(lines) == 6


def test_after_an_overrun_live_starts_afresh_and_counts_what_was_lost(tmp_path: Path) -> None:
    """A ring of 512: bursts up to that arrive whole, of a longer one the first 512, and nothing more until
    they were read.
    """
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    program = _host(tmp_path / "p", PROGRAMS / "live_feeder.c")
    pcm = _speech()
    bursts = [300, 512, 1] * 9 + [700] + [512] * 12 + [600, 5000] + [400] * 20
    at, parts, lost = 0, list[list[np.ndarray]]([[]]), [0]
    data = b""
    for burst in bursts:
        data += struct.pack("<H", burst) + pcm[at : at + burst].tobytes()
        parts[-1].append(pcm[at : at + min(burst, 512)])
        if burst > 512:
            parts.append([])
            lost.append(lost[-1] + burst - 512)
        at += burst
    done = subprocess.run([str(program)], input=data, capture_output=True, check=True)
    lines = _lines(done.stdout)
    streams = [np.concatenate(part) for part in parts if part]
    wanted = [stream_decisions(MODEL, stream) if len(stream) > 1000 else [] for stream in streams]
    _check(lines, [decision for decisions in wanted for decision in decisions], "emulated-m0")
    assert [line["overruns"] for line in lines[1:]][-1] == lost[-1] == 188 + 88 + 4488
    assert all(0 < int(str(line["latency_us"])) < 100 for line in lines[1:]), (
        "the clock wraps and latency does not"
    )


@pytest.mark.parametrize("app", ["live", "capture"])
@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=needs("clang")), *EMULATED])
def test_what_all_boards_share_compiles_without_a_word(app: str, compiler: str, tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app=app)
    emulator = None if compiler in ("gcc", "clang") else load_board(compiler).emulator
    assert emulator is None or isinstance(emulator, Emulator)
    command = [compiler] if emulator is None else [f"{emulator.compiler}gcc", *emulator.compile_flags]
    names = [
        name
        for name in read_project(tmp_path / "p").files
        if name.endswith(".c") and ("audio" in name or name == "src/main.c")
    ]
    assert len(names) == 5
    for name in names:
        flags = [
            "-std=c99",
            "-pedantic",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wconversion",
            "-Werror",
            "-Ilib/serq/src",
            "-Ilib/serq_audio/src",
            "-Isrc",
        ]
        done = subprocess.run(
            [*command, *flags, "-c", name, "-o", os.devnull],
            cwd=tmp_path / "p",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_arduino_cores_sleep_between_samples_and_over_none(tmp_path: Path) -> None:
    board = load_board("emulated-m4f")
    assert isinstance(board.emulator, Emulator)
    (tmp_path / "Arduino.h").write_text("void yield();\nunsigned long micros();\n")
    sources = [PROGRAMS / "arduino_sleep.cpp", FIRMWARE / "ports" / "audio_arduino.cpp"]
    flags = ["--oslib=semihost", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"]
    flags += [f"-Wl,--defsym={symbol}={value}" for symbol, value in board.linker_symbols.items()]
    flags += [f"-I{tmp_path}", f"-I{FIRMWARE / 'ports'}"]
    compiler = [f"{board.emulator.compiler}gcc", *board.emulator.compile_flags]
    subprocess.run([*compiler, *flags, *sources, "-o", tmp_path / "p"], check=True)
    time = ["-icount", "shift=6,sleep=off"]  # an instruction takes less than two of SysTick's cycles
    command = [*board.emulator.command_line, str(tmp_path / "p"), *time]
    done = subprocess.run(command, capture_output=True, timeout=20, check=True)
    assert done.stderr.split() == [b"1"]  # QEMU writes a console there


def test_a_model_that_cannot_listen_to_a_board_is_refused(tmp_path: Path) -> None:
    slow = made_up_model((3,), (2,), spec=FeatureSpec(sample_rate=8000, fmax=4000))
    with pytest.raises(
        SerqError, match=r"esp32 listens at 16000 Hz and the model at 8000 Hz; say --set audio.rate_hz=8000"
    ):
        export(slow, load_board("esp32"), tmp_path / "p", app="live")
    export(slow, with_changes(load_board("esp32"), None, ["audio.rate_hz=8000"]), tmp_path / "p", app="live")
    with pytest.raises(SerqError, match="listens at 15000 Hz"):
        export(
            MODEL,
            with_changes(load_board("esp32"), None, ["audio.true_rate_hz=15000"]),
            tmp_path / "q",
            app="live",
        )
    deaf = made_up_model((3,), (2,))
    object.__setattr__(deaf, "decision", None)
    with pytest.raises(SerqError, match="quantize its run again"):
        export(deaf, load_board("esp32"), tmp_path / "q", app="live")


def test_commands_for_another_application_say_which_they_need(tmp_path: Path) -> None:
    project = export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="live")
    with (
        pytest.raises(SerqError, match="is a live project, and this needs one exported with --app harness"),
        open_target(project, "host"),
    ):
        pass
    with pytest.raises(SerqError, match="needs one exported with --app capture"):
        record(tmp_path / "p", "/dev/null", None, None, 1, 1.0)
    assert APPS == ("harness", "live", "capture")


# ---- record ----


def test_capture_sends_every_sample_in_packets_that_the_host_reads(tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="capture")
    program = _host(tmp_path / "p", FIRMWARE / "ports" / "audio_port_line.c")
    pcm = _speech(5000)
    done = subprocess.run([str(program)], input=pcm.tobytes(), capture_output=True, check=True)
    stream = done.stdout[7:] + b"SQP1 not a packet" + done.stdout  # joined in mid-packet, and disturbed once
    reader, packets = PacketReader(), []
    for start in range(0, len(stream), 97):
        packets += list(reader.feed(stream[start : start + 97]))
    assert [packet.number for packet in packets] == [*range(1, 41), *range(41)]
    assert np.array_equal(np.concatenate([packet.pcm for packet in packets[40:]]), pcm[: 41 * 120])


def test_capture_drops_the_samples_before_a_gap_within_a_packet(tmp_path: Path) -> None:
    export(MODEL, load_board("emulated-m0"), tmp_path / "p", app="capture")
    program = _host(tmp_path / "p", PROGRAMS / "live_feeder.c")
    pcm = np.arange(3000, dtype=np.int16)
    data = struct.pack("<H", 1000) + pcm[:1000].tobytes() + struct.pack("<H", 500) + pcm[1000:1500].tobytes()
    done = subprocess.run([str(program)], input=data, capture_output=True, check=True)
    packets = list(PacketReader().feed(done.stdout))
    # 512 of 1000 fit: four packets of 120, and 32 samples that go because the next follow a gap
    assert [packet.pcm[0] for packet in packets] == [0, 120, 240, 360, 1000, 1120, 1240, 1360]
    assert [packet.overruns for packet in packets] == [488] * 8
    assert all(np.array_equal(np.diff(packet.pcm), np.ones(119)) for packet in packets)


@pytest.fixture
def serve() -> Iterator[Callable[[Iterator[bytes]], str]]:
    """Boards that send packets; gives the port's name."""
    with contextlib.ExitStack() as boards:
        yield lambda packets: boards.enter_context(packets_on_a_port(packets))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capture") / "p"
    export(MODEL, load_board("esp32"), folder, app="capture")
    return folder


def test_record_writes_labelled_clips_that_a_corpus_can_read(
    project: Path, tmp_path: Path, serve: Callable[[Iterator[bytes]], str]
) -> None:
    sound = quiet_sound()
    port, out = serve(capture_packets(sound)), tmp_path / "clips"
    arguments = [
        "record",
        str(project),
        "--port",
        port,
        "--label",
        "anger",
        "--out",
        str(out),
        "--count",
        "2",
        "--seconds",
        "0.5",
        "--json",
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["ok"] and report["findings"] == [] and report["rate_hz"] == pytest.approx(16000, abs=1)
    assert [Path(path).relative_to(out).as_posix() for path in report["clips"]] == [
        "anger/anger_0001.wav",
        "anger/anger_0002.wav",
    ]
    for path in report["clips"]:
        clip = read_audio(Path(path), 16000)
        assert len(clip.pcm) == 8000 and clip.notes == ()
        places = np.flatnonzero((sound[:-7999] == clip.pcm[0]) & (sound[1:-7998] == clip.pcm[1]))
        assert any(np.array_equal(sound[place : place + 8000], clip.pcm) for place in places), (
            "a clip is a piece of what was sent"
        )


def test_a_bad_microphone_is_told_in_words_and_nothing_is_recorded(
    project: Path, tmp_path: Path, serve: Callable[[Iterator[bytes]], str]
) -> None:
    arguments = [
        "record",
        str(project),
        "--port",
        serve(capture_packets(quiet_sound() * 0)),
        "--label",
        "anger",
        "--out",
        str(tmp_path / "clips"),
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "silent: nothing but 0; check the microphone's power" in done.stdout
    assert not (tmp_path / "clips").exists()


def test_anyway_records_with_a_finding(
    project: Path, tmp_path: Path, serve: Callable[[Iterator[bytes]], str]
) -> None:
    session = record(
        project,
        serve(capture_packets(quiet_sound() + 5000)),
        tmp_path,
        "joy",
        1,
        0.3,
        anyway=True,
        progress=lambda *_: None,
    )
    assert [finding.split(":")[0] for finding in session.findings] == ["DC offset"]
    assert len(session.clips) == 1


def test_a_line_that_says_nothing_or_something_else_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[[Iterator[bytes]], str]
) -> None:
    monkeypatch.setattr("serq_mcu.listening.recorder._PATIENCE", 0.3)
    with pytest.raises(SerqError, match=r"nothing comes from /dev/pts/.*--app capture"):
        record(project, serve(iter(())), None, None, 1, 1.0, progress=lambda *_: None)
    with pytest.raises(SerqError, match="is not the capture application"):
        record(
            project,
            serve(iter([b'{"answer": "joy"}\n'] * 2000)),
            None,
            None,
            1,
            1.0,
            progress=lambda *_: None,
        )
    with pytest.raises(SerqError, match="fell silent"):
        record(
            project,
            serve(capture_packets(quiet_sound()[:24000])),
            None,
            None,
            1,
            1.0,
            progress=lambda *_: None,
        )
    with pytest.raises(SerqError, match="cannot name a folder"):
        record(project, "/dev/null", None, "../evil", 1, 1.0)


@pytest.mark.slow(6)
def test_clips_with_lost_samples_are_recorded_again_and_not_for_ever(
    project: Path, tmp_path: Path, serve: Callable[[Iterator[bytes]], str]
) -> None:
    whole = list(capture_packets(quiet_sound()))
    holes = set(range(300, len(whole), 37))
    with pytest.raises(
        SerqError, match=r"lost from three clips in a row \(0 on the board, \d+ on the line\)"
    ):
        record(
            project,
            serve(p for i, p in enumerate(whole) if i not in holes),
            tmp_path,
            "joy",
            1,
            0.5,
            anyway=True,
            progress=lambda *_: None,
        )
    once = serve(p for i, p in enumerate(whole) if i != 500)
    assert len(record(project, once, tmp_path, "joy", 3, 1.0, progress=lambda *_: None).clips) == 3


TALK = np.rint(np.random.default_rng(2).normal(0, 700, 32000)).astype(np.int16)


@pytest.mark.parametrize(
    ("capture", "finding"),
    [
        (Capture(TALK, 0, 0, 16010.0), ""),
        (Capture(TALK, 0, 0, None), ""),
        (Capture(TALK // 2000, 0, 0, None), "silent: nothing but"),
        (Capture(TALK // 100, 0, 0, None), "faint: -"),
        (
            Capture(np.clip(TALK.astype(int) * 40, -32768, 32767).astype(np.int16), 0, 0, None),
            "wrong shift: the sign jumps",
        ),
        (
            Capture(
                np.clip(16 * np.convolve(TALK, np.ones(40), "same"), -32768, 32767).astype(np.int16),
                0,
                0,
                None,
            ),
            "clipped: ",
        ),
        (Capture(TALK + np.int16(2000), 0, 0, None), "DC offset: the mean is 20"),
        (Capture(TALK, 0, 0, 8005.0), "just half"),
        (Capture(TALK, 0, 0, 31990.0), "just double"),
        (Capture(TALK, 0, 0, 16300.0), "--set audio.true_rate_hz=16300"),
        (Capture(TALK, 7, 120, None), "lost: 7 samples on the board, 120 on the line"),
    ],
)
def test_the_self_test_says_in_words_what_is_wrong(capture: Capture, finding: str) -> None:
    found = list(self_test(capture, load_board("esp32")))
    assert [finding in text for text in found] == ([True] if finding else [])


@pytest.mark.parametrize("late", [1, 2])
def test_a_displaced_sign_bit_is_a_wrong_shift_whatever_the_gain(late: int) -> None:
    """A word read a bit early has the low bit of the one before as its sign; the microphone's noise makes
    that random.
    """
    rng = np.random.default_rng(4)
    words = (rng.normal(0, 2**19, 32000).astype(np.int64) << 8) & 0xFFFFFFFF
    displaced = (words >> late) | (rng.integers(0, 2**late, 32000) << (32 - late))
    samples = Converter(load_board("esp32").microphone.conversion).i2s(
        displaced.astype(np.uint32).view(np.int32)
    )
    assert next(self_test(Capture(samples, 0, 0, None), load_board("esp32"))).startswith("wrong shift")
