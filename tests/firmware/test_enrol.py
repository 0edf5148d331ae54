"""A voice learned on a board that listens: the lines of text that it takes, and the host that sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import load_board
from serq_mcu.cli import main
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.evaluation.calibration import save_voice
from serq_mcu.listening.enrol import learn_on
from serq_mcu.quantized_model.interpreter import learn, require_voices
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from tests.support.models import made_up_features, made_up_model
from tests.support.native import RUNTIME, SANITIZERS, compile_program, run
from tests.support.virtual_boards import board_on_a_port

PROGRAM = Path(__file__).parents[1] / "programs" / "voice_commands.c"
LONG = "ä" * 32
DONE, SHOW, LOADING, REFUSED = 1, 2, 3, 4


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    return made_up_model((8, 5), (4, 2), labels=("anger", "joy", "neutral", LONG, "no speech"))


@pytest.fixture(scope="module")
def send(model: QuantizedModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    folder = tmp_path_factory.mktemp("commands")
    for name, data in Plan(model, load_board("esp32")).model_files.items():
        (folder / Path(name).name).write_bytes(data)
    sources = [PROGRAM, FIRMWARE / "apps" / "live" / "commands.c", folder / "serq_model.c"]
    flags = (*SANITIZERS, f"-I{folder}", f"-I{FIRMWARE / 'apps' / 'live'}")
    program = compile_program(folder / "commands", [*sources, *sorted(RUNTIME.glob("*.c"))], flags)
    return lambda text: run(program, text.encode()).decode().splitlines()


def stored_voice(model: QuantizedModel) -> bytes:
    voice = learn(model, Voice.unknown(require_voices(model)), made_up_features(model, 8)[5], 1)
    return voice.to_bytes(model.identity)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("learn joy", f"{DONE} 1 0"),
        (f"learn {LONG}", f"{DONE} 3 0"),
        ("learn answers\r", f"{DONE} -1 0"),
        ("learn nothing", f"{DONE} -2 0"),
        ("forget", f"{DONE} -2 0"),
        ("learn no speech", f"{REFUSED} -2 0"),
        ("learn ", f"{REFUSED} -2 0"),
        ("learn joys", f"{REFUSED} -2 0"),
        ("sing", f"{REFUSED} -2 0"),
        ("learn joy" + "y" * 500, f"{REFUSED} -2 0"),
    ],
)
def test_lines_say_what_is_learned(send: Callable[[str], list[str]], line: str, answer: str) -> None:
    assert send(f"\n{line}\n") == [answer]


def test_a_voice_is_shown_and_given_back(send: Callable[[str], list[str]], model: QuantizedModel) -> None:
    stored = stored_voice(model).hex()
    assert send(f"voice {stored}\nvoice\nforget\n") == [
        f"{LOADING} -2 0",
        f"{DONE} -2 1",
        stored,
        f"{DONE} -2 0",
    ]


@pytest.mark.parametrize("spoiled", ["short", "long", "letter", "bit", "foreign", "none"])
def test_a_spoiled_voice_is_refused_and_nobody_is_known(
    send: Callable[[str], list[str]], model: QuantizedModel, spoiled: str
) -> None:
    stored = stored_voice(model).hex()
    sent = {
        "short": stored[:-2],
        "long": stored + "00",
        "letter": stored[:40] + "g" + stored[41:],
        "bit": stored[:41] + ("1" if stored[41] == "0" else "0") + stored[42:],
        "foreign": Voice.unknown(require_voices(model)).to_bytes(bytes(8)).hex(),
        "none": "",
    }[spoiled]
    unknown = Voice.unknown(require_voices(model)).to_bytes(model.identity).hex()
    assert send(f"voice {sent}\nvoice\n") == [f"{LOADING} -2 0", f"{REFUSED} -2 0", unknown]


class Board:
    """A board that decides once a read, and learns from every second decision once it is asked to."""

    name = "the board"

    def __init__(self, *, learns: bool = True, refuses: bool = False, hears: bool = True) -> None:
        self.learns, self.refuses, self.hears = learns, refuses, hears
        self.sent: list[str] = []
        self.windows = self.decisions = 0
        self.queue: list[dict[str, object]] = [
            {"serq": "live", "board": "b", "model": "00", "labels": ["anger", "neutral"]}
        ]

    def write(self, data: bytes) -> None:
        for line in filter(None, data.decode().splitlines()):
            self.sent.append(line)
            if not self.learns:
                continue
            if line == "voice":
                self.queue.append({"stored": "0102"})
                continue
            refused: dict[str, object] = (
                {"refused": True} if self.refuses and line.startswith("learn") else {}
            )
            self.queue.append({"voice": self.windows, "learns": line.split()[-1], **refused})

    def read(self, _: float) -> bytes:
        self.decisions += 1
        if self.hears and "learn neutral" in self.sent:
            self.windows += self.decisions % 2
        decision: dict[str, object] = {
            "answer": "anger",
            "label": 0,
            "scores": [3, 1],
            "margin": 2,
            "level": 0,
            "frames": 8,
        }
        found = [
            *self.queue,
            decision | {"latency_us": 0, "waiting": 0, "overruns": 0, "voice": self.windows},
        ]
        self.queue = []
        return "".join(json.dumps(line) + "\n" for line in found).encode()


def test_a_person_calibrates_a_board_and_gives_the_voice_back(tmp_path: Path) -> None:
    board = Board()
    with board_on_a_port(iter(lambda: board.read(0), b""), 0.02, board.write) as name:
        _calibrate(name, board, tmp_path)


def _calibrate(name: str, board: Board, tmp_path: Path) -> None:
    voice = tmp_path / "anna.voice"
    done = CliRunner().invoke(main, ["calibrate", name, "--windows", "2", "--out", str(voice)])
    assert done.exit_code == 0, done.output
    assert "speak towards the microphone, a few sentences (neutral)" in done.stderr
    assert f"{name} has learned from 2 windows" in done.stdout and f"wrote {voice}" in done.stdout
    assert voice.read_bytes() == b"\x01\x02"
    assert board.sent == ["forget", "learn neutral", "learn answers", "voice"]

    known = shipped_model()
    save_voice(Voice.unknown(require_voices(known)), known, voice)
    done = CliRunner().invoke(main, ["calibrate", name, "--voice", str(voice)])
    assert done.exit_code == 0, done.output
    assert board.sent[-1] == f"voice {voice.read_bytes().hex()}"
    done = CliRunner().invoke(main, ["calibrate", name, "--voice", str(tmp_path / "none.voice")])
    assert done.exit_code == 1 and "none.voice does not exist" in done.stderr
    done = CliRunner().invoke(main, ["calibrate", name, "--label", "anger", "--unlabelled"])
    assert done.exit_code == 1 and "exclude each other" in done.stderr


def test_the_host_asks_waits_and_reads_the_voice() -> None:
    board, told = Board(), []
    assert learn_on(board, "neutral", 3, lambda *words: told.append(words)) == b"\x01\x02"
    assert board.sent == ["forget", "learn neutral", "learn answers", "voice"]
    assert "speak towards the microphone" in told[0][0]
    assert [words[1:] for words in told[1:]] == [(1, 3), (2, 3), (3, 3)]


def test_a_board_that_refuses_or_does_not_understand_is_told_apart() -> None:
    with pytest.raises(SerqError, match="the board refused to learn 'neutral': it is no class of its model"):
        learn_on(Board(refuses=True), "neutral", 3, print)
    with pytest.raises(SerqError, match="does not learn voices; flash the project"):
        learn_on(Board(learns=False), "neutral", 3, print)


def test_a_board_that_talks_of_other_things_for_ever_is_not_waited_for() -> None:
    board = Board()

    def read(_: float) -> bytes:
        return b"boot: something\n" if "learn answers" in board.sent else Board.read(board, 0)

    board.read = read  # type: ignore[method-assign]
    with pytest.raises(SerqError, match="does not learn voices; flash the project"):
        learn_on(board, "neutral", 2, lambda *_: None)


def test_a_silent_room_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serq_mcu.listening.enrol._SPEAKING", 0.0)
    with pytest.raises(SerqError, match="heard nothing to learn from"):
        learn_on(Board(hears=False), "neutral", 3, print)
