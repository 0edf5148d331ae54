"""Record through a board's own microphone: the capture application's packets to labelled clips.

A self-test comes first, with its findings in words.
"""

from __future__ import annotations

import io
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from serq_mcu.base.files import check_file, write_file
from serq_mcu.boards.board import BOARD_FILE, Board, read_board
from serq_mcu.codegen.export import read_project
from serq_mcu.errors import SerqError
from serq_mcu.harness.transports import SerialTransport, Transport
from serq_mcu.harness.trouble import LONGEST, explained, in_trouble

SELF_TEST_SECONDS = 2.0
_PACKET = struct.Struct("<4sIII240sI")  # magic, number, overruns, microseconds, samples, CRC-32 of all before
_MAGIC = b"SQP1"
_SAMPLES = 120
_SILENT = 2  # largest magnitude of a line on which nothing talks
_FAINT = 16  # root mean square below which speech is lost in the last four bits
_FULL_SCALE = 32767
_CLIPPED = 0.001  # share of samples at full scale that no speech at a proper gain has
_JUMPS = 0.01  # share of steps beyond half of full scale that only a displaced sign bit makes
_OFFSET = 0.02  # of full scale: -34 dBFS, as loud as speech
_RATE = 0.01
_PATIENCE = 3.0  # seconds without a packet

Progress = Callable[..., None]


@dataclass(frozen=True)
class Packet:
    """One packet of int16 [120].

    Its number, samples that the board had dropped until then, and its time in microseconds (0: none).
    """

    number: int
    overruns: int
    micros: int
    pcm: NDArray[np.int16]


class PacketReader:
    """Packets out of a byte stream; what is no good packet is passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take bytes and yield the good packets that they complete."""
        self._rest += data
        while (start := self._rest.find(_MAGIC)) >= 0 and len(self._rest) >= start + _PACKET.size:
            body = self._rest[start : start + _PACKET.size]
            _, number, overruns, micros, samples, crc = _PACKET.unpack(body)
            good = crc == zlib.crc32(body[:-4])
            self._rest = self._rest[start + (_PACKET.size if good else 1) :]
            if good:
                yield Packet(number, overruns, micros, np.frombuffer(samples, "<i2").astype(np.int16))
        self._rest = self._rest[-_PACKET.size :] if start < 0 else self._rest[start:]


@dataclass(frozen=True)
class Capture:
    """Samples as they came, int16 [samples].

    How many were lost on the board and on the line, and how many came a second (None: not known).
    """

    pcm: NDArray[np.int16]
    dropped: int
    missed: int
    rate_hz: float | None


@dataclass(frozen=True)
class Session:
    """What `serq-mcu record` did: what the self-test found wrong, in words, and the clips written."""

    board: str
    findings: tuple[str, ...]
    clips: tuple[Path, ...]
    peak_dbfs: float
    rate_hz: float | None

    @property
    def ok(self) -> bool:
        """Whether the self-test found nothing."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `record --json`."""
        return {
            "board": self.board,
            "ok": self.ok,
            "findings": list(self.findings),
            "peak_dbfs": round(self.peak_dbfs, 1),
            "rate_hz": None if self.rate_hz is None else round(self.rate_hz, 1),
            "clips": [str(path) for path in self.clips],
        }


def record(
    folder: Path,
    port: str,
    out: Path | None,
    label: str | None,
    count: int,
    seconds: float,
    progress: Progress = print,
    *,
    anyway: bool = False,
) -> Session:
    """Record through the capture firmware exported to `folder`, on `port`: a self-test, then clips.

    These are `count` clips of `label`, written as out/label/*.wav. Without a label only the self-test. With a
    finding nothing is recorded, unless `anyway`. Raises SerqError if the folder is not a capture project, the
    port cannot be opened or nothing comes.
    """
    read_project(folder).require_app("capture")
    if label is not None and not re.fullmatch(r"\w[\w .-]{0,63}", label):
        raise SerqError(
            f"the label {label!r} cannot name a folder; use letters, digits, spaces, dots, dashes and"
            " underscores"
        )
    board = read_board(folder / BOARD_FILE)
    if label is not None and out is not None:  # before somebody speaks for minutes
        check_file(out / label / f"{label}.wav", round(count * seconds * board.audio.nominal_rate_hz) * 2)
    transport = SerialTransport(port, board.baud)
    try:
        progress(f"self-test: speak towards the microphone for {SELF_TEST_SECONDS:.0f} s")
        tested = listen(transport, round(SELF_TEST_SECONDS * board.audio.nominal_rate_hz))
        findings = tuple(self_test(tested, board))
        clips: list[Path] = []
        if label is not None and out is not None and (anyway or not findings):
            clips = list(_clips(transport, board, out / label, label, count, seconds, progress))
    finally:
        transport.close()
    peak = int(np.abs(tested.pcm.astype(int)).max())
    return Session(board.name, findings, tuple(clips), 20 * np.log10(max(peak, 1) / 32768), tested.rate_hz)


def listen(transport: Transport, count: int) -> Capture:
    """Receive the next `count` samples of the board's microphone, from now on.

    Raises SerqError if nothing comes, or something else.
    """
    _drain(transport)
    reader, packets, heard = PacketReader(), list[Packet](), b""
    last_at = time.monotonic()
    while len(packets) * _SAMPLES < count:
        data = transport.read(0.2)
        new = list(reader.feed(data))
        heard, last_at = (heard + data)[-LONGEST:], time.monotonic() if new else last_at
        packets += new
        if time.monotonic() - last_at > _PATIENCE:
            raise SerqError(_nothing(transport.name, heard, packets))
    return _capture(packets, count)


def self_test(capture: Capture, board: Board) -> Iterator[str]:
    """Yield what is wrong with a capture, each in a sentence that tells what to do."""
    pcm = capture.pcm.astype(np.int64)
    centred = pcm - round(float(pcm.mean()))
    loudest, level = int(np.abs(centred).max()), float(np.sqrt((centred**2).mean()))
    steps = np.abs(np.diff(pcm)) > 32768
    if capture.dropped or capture.missed:
        lost = f"{capture.dropped} samples on the board, {capture.missed} on the line"
        yield (
            f"lost: {lost}; use a shorter cable or another USB port, and close what else is using this"
            " computer"
        )
    if loudest <= _SILENT:
        yield (
            f"silent: nothing but {int(pcm[0])}; check the microphone's power and data pin, and audio.channel"
            " (left or right) against its L/R pin"
        )
    elif steps.mean() > _JUMPS:
        yield (
            "wrong shift: the sign jumps from sample to sample; try --set microphone.slot=msb (or philips),"
            " or another microphone.bit_shift"
        )
    elif level < _FAINT:
        yield (
            f"faint: {20 * np.log10(level / 32768):.0f} dBFS; a wrong shift, or raise microphone.gain_db (now"
            f" {board.microphone.gain_db})"
        )
    elif (np.abs(pcm) >= _FULL_SCALE).mean() > _CLIPPED:
        share = 100 * (np.abs(pcm) >= _FULL_SCALE).mean()
        yield (
            f"clipped: {share:.1f} % of the samples are at full scale; lower microphone.gain_db (now"
            f" {board.microphone.gain_db}), or a wrong shift"
        )
    if abs(pcm.mean()) > _OFFSET * 32768 and loudest > _SILENT:
        yield (
            f"DC offset: the mean is {pcm.mean():.0f} of 32768; --set microphone.dc_shift=7 (now"
            f" {board.microphone.dc_shift}) takes it away"
        )
    if capture.rate_hz is not None and abs(capture.rate_hz / board.audio.nominal_rate_hz - 1) > _RATE:
        yield _wrong_rate(capture.rate_hz, board.audio.nominal_rate_hz)


def _wrong_rate(found: float, wanted: int) -> str:
    if abs(found / wanted - 0.5) < 0.02:
        return (
            f"wrong rate: {found:.0f} samples a second and not {wanted}, just half; the driver reads one of"
            " two channels as if both were wanted"
        )
    if abs(found / wanted - 2) < 0.04:
        return (
            f"wrong rate: {found:.0f} samples a second and not {wanted}, just double; the driver delivers"
            " both channels"
        )
    return (
        f"wrong rate: {found:.0f} samples a second and not {wanted}; --set audio.true_rate_hz={found:.0f} if"
        " the driver can give no other"
    )


def _clips(
    transport: Transport,
    board: Board,
    folder: Path,
    label: str,
    count: int,
    seconds: float,
    progress: Progress,
) -> Iterator[Path]:
    """Record clips and write them.

    A clip from which samples were lost is recorded again, three times in a row at most.
    """
    rate, failures = board.audio.nominal_rate_hz, 0
    numbers = iter(range(1, 10**6))
    for index in range(count):
        while True:
            progress(f"clip {index + 1} of {count}: {label}, {seconds:g} s, now")
            capture = listen(transport, round(seconds * rate))
            if not (capture.dropped or capture.missed):
                break
            failures += 1
            if failures == 3:
                raise SerqError(
                    f"samples were lost from three clips in a row ({capture.dropped} on the board,"
                    f" {capture.missed} on the line); try another USB port"
                )
        failures = 0
        path = next(path for number in numbers if not (path := folder / f"{label}_{number:04}.wav").exists())
        wav = io.BytesIO()
        soundfile.write(wav, capture.pcm, rate, format="WAV", subtype="PCM_16")
        yield write_file(path, wav.getvalue())


def _drain(transport: Transport) -> None:
    """Drop what came while nobody listened."""
    until = time.monotonic() + 0.5
    while transport.read(0.0) and time.monotonic() < until:
        pass


def _capture(packets: list[Packet], count: int) -> Capture:
    first, last = packets[0], packets[-1]
    missed = ((last.number - first.number) % 2**32 + 1 - len(packets)) * _SAMPLES
    dropped = (last.overruns - first.overruns) % 2**32
    between = (len(packets) - 1) * _SAMPLES + missed + dropped
    board_seconds = (last.micros - first.micros) % 2**32 / 1e6
    pcm = np.concatenate([packet.pcm for packet in packets])[:count]
    return Capture(pcm, dropped, missed, between / board_seconds if board_seconds else None)


def _nothing(name: str, heard: bytes, packets: list[Packet]) -> str:
    if packets:
        said = f": {explained(heard)}" if in_trouble(heard) else ""
        return f"{name} fell silent{said}; check the cable and reset the board"
    said = explained(heard)
    if said:
        return (
            f"what comes from {name} is not the capture application ({said}); flash the project of"
            " `serq-mcu export --app capture`, or name the right port"
        )
    return (
        f"nothing comes from {name}; flash the project of `serq-mcu export --app capture`, and check that its"
        " microphone's pins are free"
    )
