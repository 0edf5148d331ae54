"""The live application without a board: its emulated relative, fed from a recording."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.progress import Progress, silent
from serq_mcu.boards.board import BOARD_FILE, Relative, load_board, read_board
from serq_mcu.build import platformio
from serq_mcu.codegen.export import read_project, retarget
from serq_mcu.codegen.plan import MODEL
from serq_mcu.codegen.trust import buildable
from serq_mcu.corpus.audio import read_audio
from serq_mcu.errors import SerqError
from serq_mcu.harness.transports import offer
from serq_mcu.quantized_model.store import load_model

_PIECES = 64  # of what the board wrote that wait to be read
_PIECE = 0.05  # seconds of a recording that are played at once


def listen_to(
    folder: Path, clip: Path, progress: Progress = silent, *, allow_changes: bool = False
) -> Iterator[str]:
    """Yield the lines that the live firmware exported to `folder` writes while it listens to `clip`.

    It runs on the emulated board of its instruction set. The clip is taken as it is: what the board's
    microphone would do to it is left out. Raises SerqError if the folder is not a live project, or holds
    other code than its model and board give and not allow_changes, the clip cannot be read, or building or
    emulation fails.
    """
    with _emulator(folder, clip, progress, allow_changes=allow_changes) as (name, command, pcm, _):
        done = subprocess.run(command, input=pcm.astype("<i2").tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise SerqError(f"{name} ended with exit code {done.returncode}; export the project again")
        yield from done.stdout.decode().splitlines()


@contextlib.contextmanager
def emulated_board(
    folder: Path, clip: Path, progress: Progress = silent, *, allow_changes: bool = False
) -> Iterator[EmulatedBoard]:
    """Run the same firmware while `clip` is played to it in real time.

    Raises SerqError as `listen_to` does.
    """
    with _emulator(folder, clip, progress, allow_changes=allow_changes) as (name, command, pcm, rate):
        board = EmulatedBoard(name, command, pcm, rate)
        try:
            yield board
        finally:
            board.close()


class EmulatedBoard:
    """A source of lines: QEMU, and a recording int16 [samples] that goes in at `rate` samples a second."""

    def __init__(self, name: str, command: list[str], pcm: NDArray[np.int16], rate: int) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        self._arrived: queue.Queue[bytes] = queue.Queue(_PIECES)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._play, args=(pcm, rate), daemon=True),
            threading.Thread(target=self._listen, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def read(self, timeout: float) -> bytes:
        """Return what the emulated board wrote within `timeout` seconds."""
        try:
            data = self._arrived.get(timeout=timeout)
        except queue.Empty:
            return b""
        if not data:
            raise EOFError
        return data

    def close(self) -> None:
        """End the emulator."""
        self._stopped.set()
        self._process.kill()  # while it waits for input, it does not act on SIGTERM
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _play(self, pcm: NDArray[np.int16], rate: int) -> None:
        assert self._process.stdin is not None
        piece, start = round(_PIECE * rate), time.monotonic()
        with contextlib.suppress(OSError):  # it ended
            for first in range(0, len(pcm), piece):
                self._process.stdin.write(pcm[first : first + piece].astype("<i2").tobytes())
                if self._stopped.wait(max(0.0, start + (first + piece) / rate - time.monotonic())):
                    return
            self._process.stdin.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        data = b"begun"
        while data and not self._stopped.is_set():
            data = self._process.stdout.read(1 << 16)
            offer(self._arrived, data, self._stopped)


@contextlib.contextmanager
def _emulator(
    folder: Path, clip: Path, progress: Progress, *, allow_changes: bool
) -> Iterator[tuple[str, list[str], NDArray[np.int16], int]]:
    """Prepare the emulated board.

    Returns its name, the command that runs the folder's firmware on it, the clip and its rate.
    """
    project = read_project(folder)
    project.require_app("live")
    rate = load_model(folder / MODEL).spec.sample_rate
    pcm = read_audio(clip, rate).pcm
    board = read_board(folder / BOARD_FILE)
    with (
        buildable(project, allow_changes=allow_changes) as own,
        tempfile.TemporaryDirectory(prefix="serq-live-") as work,
    ):
        if isinstance(board.emulator, Relative):
            board = load_board(board.emulator.relative)
            own = retarget(own, board, Path(work) / board.name)
        progress(f"building {folder} for {board.title}")
        built = platformio.build(own.folder, log=folder / platformio.LOG)
        yield board.name, platformio.emulator_command(board, built.elf), pcm, rate
