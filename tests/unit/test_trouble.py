"""What a board says that runs no application of ours is understood: boot loaders, crashes, other programs."""

from __future__ import annotations

import numpy as np
import pytest

from serq_mcu.harness.device import Device, LineError
from serq_mcu.harness.trouble import explained, in_trouble
from serq_mcu.listening import recorder

ROM = "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x{} ({}),boot:0x{} ({})\r\n"
RESTARTED = ROM.format(1, "POWERON_RESET", "13", "SPI_FAST_FLASH_BOOT")
CRASH = "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\n"

TROUBLES = [
    (
        f"\r\nBrownout detector was triggered\r\n\r\n{RESTARTED}",
        "'Brownout detector was triggered': its supply",
    ),
    (ROM.format("f", "RTCWDT_BROWN_OUT_RESET", "13", "x"), "RTCWDT_BROWN_OUT_RESET.*: its supply sags"),
    (CRASH + RESTARTED, r"Guru Meditation Error: Core  0 panic'ed.*: its program crashed"),
    ("++ MbedOS Error Info ++\r\nError Status: 0x80FF0144\r\n", "MbedOS Error Info.*its program crashed"),
    (
        ROM.format(1, "POWERON_RESET", "3", "DOWNLOAD_BOOT") + "waiting for download\r\n",
        "waiting.*BOOT button",
    ),
    (
        RESTARTED + "invalid header: 0xffffffff\r\n" * 3,
        "invalid header: 0xffffffff': its flash holds no program",
    ),
    (ROM.format(7, "TG0WDT_SYS_RESET", "13", "x"), "TG0WDT_SYS_RESET.*: a watchdog resets it"),
    ('{"serq": "live", "board": "esp32", "model": "0"}\n', "it runs the application live"),
]


@pytest.mark.parametrize(("heard", "words"), TROUBLES)
def test_the_telling_line_is_quoted_with_what_it_means(heard: str, words: str) -> None:
    for said in (heard, b"\x00\xff" + heard.encode()):
        assert in_trouble(said)
        with pytest.raises(AssertionError, match=f"^it said .*{words}"):
            raise AssertionError(explained(said))


def test_other_words_are_quoted_and_what_is_no_text_is_not() -> None:
    assert explained("") == explained(b"\r\n") == ""
    assert explained("hello\r\nAT+OK \x1b[2J\r\n") == r"it said 'AT+OK \\x1b[2J'"
    assert explained("x" * 999) == f"it said {'x' * 80!r}"
    wrong_rate = np.random.default_rng(0).bytes(200)
    assert explained(wrong_rate) == "what it sends is no text: another baud rate, or another application"
    assert not in_trouble(RESTARTED + "hello") and not in_trouble(wrong_rate)


class _Board:
    """A line on which a board says the same again and again."""

    name = "/dev/ttyUSB0"

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.requests = 0

    def write(self, data: bytes) -> None:
        self.requests += 1

    def read(self, timeout: float) -> bytes:
        return self.said

    def seconds(self, count: int) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (CRASH, r"did not answer for [0-9]+ s: it said .*crashed; check that it runs firmware"),
        ("hello\n", "did not answer for [0-9]+ s: it said 'hello'; check .*--app harness"),
        ("", "did not answer for [0-9]+ s; check that it runs firmware"),
    ],
)
def test_a_device_that_does_not_answer_is_quoted(said: str, words: str) -> None:
    board = _Board(said.encode())
    with pytest.raises(LineError, match=words):
        Device(board, timeout=0.01, attempts=2)
    requests = board.requests
    assert requests == (3 if said == CRASH else 5)  # who knows the reason does not ask again
    board.requests = 0
    with pytest.raises(LineError, match=words):
        Device(board, timeout=0.01)
    assert board.requests == (5 if said == CRASH else 17)


def test_what_is_not_the_capture_application_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_PATIENCE", 0.05)
    monkeypatch.setattr(recorder, "_drain", lambda _: None)
    with pytest.raises(Exception, match=r"is not the capture application \(it said .*its program crashed\)"):
        recorder.listen(_Board(CRASH.encode()), 1000)
