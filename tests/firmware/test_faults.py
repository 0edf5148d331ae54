"""Bad lines, resets, other boards and full buffers: what the host reports is right or a failure with its
cause, and nobody hangs.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.build.host_program import SMALL_FRAMES, host_build
from serq_mcu.codegen.export import export
from serq_mcu.errors import SerqError
from serq_mcu.harness.device import Device, LineError
from serq_mcu.harness.faults import Faults, FaultyTransport
from serq_mcu.harness.protocol import Result, Type
from serq_mcu.harness.transports import ProcessTransport, Transport
from serq_mcu.verification.verify import digest, reference_stages
from tests.support.models import made_up_model
from tools.endurance import BAD_LINE, endure

MODEL = made_up_model([9, 6, 5], [3, 2, 8], labels=("anger", "fear", "joy", "neutral", "sadness"))


def noise(seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, 9000, round(16000 * seconds)), -32768, 32767).astype(np.int16)


def right(result: Result, pcm: np.ndarray) -> bool:
    stages = reference_stages(MODEL, pcm)
    digests = {stage: digest(values) for stage, values in stages.items()}
    return result.digests == digests and result.scores.tolist() == stages["scores"][0].tolist()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("faults") / "project"
    export(MODEL, load_board("esp32"), folder)
    with host_build(folder, SMALL_FRAMES) as path:
        yield path


class Replaced:
    """A transport to the first of several devices; each `write` that finds a number in `at` first puts the
    next device in its place.
    """

    def __init__(self, devices: Iterator[Transport], at: set[int]) -> None:
        self._devices, self._at, self._writes = devices, at, 0
        self._inner = next(devices)
        self.name = self._inner.name

    def write(self, data: bytes) -> None:
        self._writes += 1
        if self._writes in self._at:
            self._inner.close()
            self._inner = next(self._devices)
        self._inner.write(data)

    def read(self, timeout: float) -> bytes:
        return self._inner.read(timeout)

    def seconds(self, count: int) -> float:
        return 0.0

    def close(self) -> None:
        self._inner.close()


def _many(program: Path) -> Iterator[Transport]:
    while True:
        yield ProcessTransport([str(program)])


@pytest.mark.parametrize(
    "faults",
    [
        Faults(corrupted=2e-3),
        Faults(burst_every=900, burst_bytes=64),
        Faults(lost=0.1),
        Faults(cut=0.1),
        Faults(doubled=0.3),
        Faults(late=0.2),
        Faults(stale=0.3),
        Faults(corrupted=3e-4, burst_every=9000, lost=0.02, cut=0.02, doubled=0.1, late=0.05, stale=0.1),
    ],
    ids=lambda faults: " ".join(
        name for name, value in vars(faults).items() if value and name != "burst_bytes"
    ),
)
def test_a_bad_line_costs_time_but_no_bit(program: Path, faults: Faults) -> None:
    line = FaultyTransport(ProcessTransport([str(program)]), faults, seed=5)
    device = Device(line, timeout=0.1, shortest=0.005, attempts=100)  # on a busy computer too
    for seed in range(3):
        pcm = noise(0.4, seed)
        assert right(device.run_clip(pcm), pcm)
        assert (
            device.values(pcm, "mfcc", 11).view(np.int32).tolist()
            == reference_stages(MODEL, pcm)["mfcc"][11].tolist()
        )
    assert sum(line.incidents.values()) > 10
    device.close()


@pytest.mark.slow(5)
def test_no_result_is_wrong_over_a_bad_line(program: Path) -> None:
    """The endurance run (docs/verification.md has 2,000 clips of it): frames of 256 bytes, each byte
    corrupted with probability 1e-4, bursts of 64 lost bytes every 50 KB.
    """
    outcome = endure(MODEL, program, 40, BAD_LINE, seed=1)
    print(outcome)
    assert (outcome.clips, outcome.wrong) == (40, 0)
    assert outcome.right + outcome.failed == 40
    assert (
        outcome.incidents["corrupted"] > 150 and outcome.incidents["burst"] > 25
    )  # of 256 and 51 expected in 2.6 MB
    assert outcome.slowest < 60


def test_the_same_seed_gives_the_same_faults() -> None:
    class Nowhere:
        name = "nowhere"

        def __init__(self) -> None:
            self.came = b""

        def write(self, data: bytes) -> None:
            self.came += data

    messages = [bytes([n]) * 500 for n in range(100)]
    faults = Faults(corrupted=1e-3, burst_every=5000, lost=0.1, cut=0.1, doubled=0.1, late=0.1, stale=0.1)
    came = []
    for seed in (1, 1, 2):
        inner = Nowhere()
        line = FaultyTransport(inner, faults, seed)  # type: ignore[arg-type]
        for message in messages:
            line.write(message)
        came.append(inner.came)
    assert came[0] == came[1] != came[2]


def test_faults_are_as_frequent_as_asked() -> None:
    class Nowhere:
        name = "nowhere"
        count = 0

        def write(self, data: bytes) -> None:
            self.count += len(data)

    inner = Nowhere()
    line = FaultyTransport(inner, Faults(corrupted=1e-3, burst_every=10_000), 3)  # type: ignore[arg-type]
    for _ in range(2000):
        line.write(bytes(1000))
    assert 1850 <= line.incidents["corrupted"] <= 2150  # 2000 expected; 3.4 standard deviations
    assert 150 <= line.incidents["burst"] <= 250  # 200 expected; 3.5 standard deviations
    assert inner.count == 2_000_000 - 64 * line.incidents["burst"]


def test_a_device_that_resets_in_mid_clip_is_sent_the_clip_again(program: Path) -> None:
    pcm = noise(0.5)
    for at in (
        5,
        30,
        60,
        66,
        67,
    ):  # at the start, among the samples, at FINISH and at DIGESTS: 64 messages carry the samples
        device = Device(Replaced(_many(program), {at}), timeout=0.5)
        assert right(device.run_clip(pcm), pcm)
        assert device.clips_repeated == 1
        device.close()


def test_a_device_that_always_resets_is_reported(program: Path) -> None:
    device = Device(Replaced(_many(program), set(range(20, 10_000, 20))), timeout=0.5)
    with pytest.raises(
        LineError,
        match=r"lost the clip 3 times, at last because the device refused PCM: (no clip|out of order)",
    ):
        device.run_clip(noise(0.5))
    device.close()


@pytest.mark.slow
def test_another_board_in_its_place_is_reported(program: Path, tmp_path: Path) -> None:
    other = made_up_model([9, 6, 5], [3, 2, 8], seed=1)
    export(other, load_board("nucleo_f446re"), tmp_path / "other")
    with host_build(tmp_path / "other", SMALL_FRAMES) as others:
        devices = itertools.chain([ProcessTransport([str(program)])], _many(others))
        device = Device(Replaced(devices, {30}), timeout=0.5)
        with pytest.raises(
            SerqError,
            match=(
                f"changed meanwhile from model {MODEL.identity.hex()} for board esp32 to model"
                f" {other.identity.hex()} for"
            ),
        ):
            device.run_clip(noise(0.5))
        device.close()


def test_a_host_that_vanishes_in_mid_clip_leaves_a_device_that_serves_the_next(program: Path) -> None:
    transport = ProcessTransport([str(program)])
    for cut in (1, 100, 270, 271, 400):
        first = Device(transport, timeout=0.5)
        first._begin(first._stage_number("mfcc"), 0)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transport, "write", _vanishing(transport, cut))
            with pytest.raises(KeyboardInterrupt):
                first._push(noise())
        second = Device(transport, timeout=0.5)
        assert right(second.run_clip(noise()), noise())
    transport.close()


def _vanishing(transport: ProcessTransport, cut: int) -> Callable[[bytes], None]:
    """The transport's write, of a host that ends after `cut` bytes of a message."""
    whole = transport.write

    def write(data: bytes) -> None:
        whole(data[:cut])
        raise KeyboardInterrupt

    return write


def test_a_device_that_takes_no_bytes_for_a_while(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffers are full and stay so: the host gives up with a sentence; when it is back, the next clip
    is right.
    """
    monkeypatch.setattr("serq_mcu.harness.transports.FULL", 0.01)
    transport = ProcessTransport([str(program)])
    Device(transport)
    device = Device(
        transport, timeout=0.004, shortest=0.001, attempts=400
    )  # 400 requests of 280 bytes: more than a pipe holds
    os.kill(transport._process.pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(LineError, match="did not answer for"):
        device._push(noise())
    assert time.monotonic() - start < 400 * (
        0.004 + 0.01 + 0.25
    )  # each attempt waits for room, then for an answer; and a busy machine
    os.kill(transport._process.pid, signal.SIGCONT)
    assert right(device.run_clip(noise()), noise())
    device.close()


def test_what_the_device_did_not_hear_is_no_result(program: Path) -> None:
    """Damage that a frame's CRC misses: two chunks of samples swapped before they are framed.

    Sums tell, and the clip is sent again.
    """

    class Swapping(Device):
        swaps = 1

        def _push(self, pcm: np.ndarray, start: int = 0) -> bool:
            if self.swaps:
                self.swaps -= 1
                pcm = np.concatenate([pcm[100:200], pcm[:100], pcm[200:]])
            return super()._push(pcm, start)

    device = Swapping(ProcessTransport([str(program)]))
    assert right(device.run_clip(noise()), noise())
    assert device.clips_repeated == 1
    device.swaps = 99
    with pytest.raises(LineError, match="it did not hear what was sent"):
        device.run_clip(noise())
    device.close()


def test_a_begin_of_another_host_is_noticed(program: Path) -> None:
    """Two hosts on one line: a clip begun between FINISH and DIGESTS is not taken for ours."""

    class Intruded(Device):
        intrusions = 1

        def _request(self, request: Type, payload: bytes = b"", attempts: int = 0):
            if request == Type.DIGESTS and self.intrusions:
                self.intrusions -= 1
                super()._request(Type.BEGIN, bytes(5))
            return super()._request(request, payload, attempts)

    device = Intruded(ProcessTransport([str(program)]))
    assert right(device.run_clip(noise()), noise())
    assert device.clips_repeated == 1
    device.close()


def test_an_answer_to_an_earlier_request_is_not_taken_for_the_next(program: Path) -> None:
    """Every answer comes again after the next 256 requests, when 8 bits of a sequence would have come
    round.
    """

    class Echoing(ProcessTransport):
        def __init__(self, argv: list[str]) -> None:
            super().__init__(argv)
            self._past: list[bytes] = []

        def read(self, timeout: float) -> bytes:
            data = super().read(timeout)
            self._past.append(data)
            return self._past[-257] + data if len(self._past) > 257 else data

    device = Device(Echoing([str(program)]))
    for seed in range(8):
        pcm = noise(0.5, seed)
        assert right(device.run_clip(pcm), pcm)
    device.close()
