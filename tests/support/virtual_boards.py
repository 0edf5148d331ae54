"""Boards that are not there: pseudo-terminals behind which firmware runs or packets come."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import subprocess
import threading
import time
import tty
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from serq_mcu.build.host_program import host_build


@contextlib.contextmanager
def firmware_on_a_port(project: Path) -> Iterator[str]:
    """The port of a board that runs the exported project."""
    with host_build(project) as program, _line() as (near, port):
        process = subprocess.Popen([str(program)], stdin=near, stdout=near)
        try:
            yield port
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def packets_on_a_port(packets: Iterable[bytes]) -> Iterator[str]:
    """The port of a board that sends packets, 8 times faster than life."""
    with board_on_a_port(packets, 0.0009, lambda _: None) as port:
        yield port


@contextlib.contextmanager
def board_on_a_port(said: Iterable[bytes], seconds: float, hear: Callable[[bytes], None]) -> Iterator[str]:
    """The port of a board that says something so often, and hears what was sent meanwhile."""
    stop = threading.Event()
    with _line() as (near, port):

        def live() -> None:
            for words in said:
                if stop.is_set():
                    return
                if select.select([near], [], [], 0)[0]:
                    hear(os.read(near, 4096))
                os.write(near, words)
                time.sleep(seconds)

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            stop.set()
            thread.join(5)


def capture_packets(pcm: np.ndarray, rate: float = 16000.0, start: int = 0) -> Iterator[bytes]:
    """What the capture application sends of a sound: its packets, stamped by a board's clock."""
    for number in range(len(pcm) // 120):
        micros = round((start + number + 1) * 120 / rate * 1e6) % 2**32
        body = (
            struct.pack("<4sIII", b"SQP1", start + number, 0, micros)
            + pcm[120 * number : 120 * number + 120].astype("<i2").tobytes()
        )
        yield body + struct.pack("<I", zlib.crc32(body))


def quiet_sound(seed: int = 1) -> np.ndarray:
    """A quiet room, int16, 12.5 s at 16 kHz."""
    return np.rint(np.random.default_rng(seed).normal(0, 600, 200_000)).astype(np.int16)


@contextlib.contextmanager
def _line() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the board's end, and the name of the host's."""
    near, far = os.openpty()
    tty.setraw(far)
    try:
        yield near, os.ttyname(far)
    finally:
        os.close(near)
        os.close(far)
