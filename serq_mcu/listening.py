"""The live application without a board: its emulated relative, fed from a recording."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from serq_mcu import platformio
from serq_mcu.boards import BOARD_FILE, Relative, load_board, read_board
from serq_mcu.codegen.export import MODEL, read_project, retarget
from serq_mcu.corpus.audio import read_audio
from serq_mcu.errors import SerqError
from serq_mcu.quantized_model.store import load_model

Progress = Callable[..., None]


def listen_to(folder: Path, clip: Path, progress: Progress = lambda line: None) -> Iterator[str]:
    """The lines that the live firmware exported to `folder` writes while it hears `clip`, on the emulated board of its instruction set.

    The clip is taken as it is: what the board's microphone would do to it is left out. Raises SerqError if the folder is not a live
    project, the clip cannot be read, or building or emulation fails.
    """
    project = read_project(folder)
    project.require_app("live")
    pcm = read_audio(clip, load_model(folder / MODEL).spec.sample_rate).pcm
    board = read_board(folder / BOARD_FILE)
    with tempfile.TemporaryDirectory(prefix="serq-live-") as work:
        if isinstance(board.emulator, Relative):
            board = load_board(board.emulator.relative)
            project = retarget(project, board, Path(work) / board.name)
        progress(f"building {folder} for {board.title}")
        command = platformio.emulator_command(board, platformio.build(project.folder).elf)
        done = subprocess.run(command, input=pcm.astype("<i2").tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise SerqError(f"{board.name} ended with exit code {done.returncode}; export the project again")
        yield from done.stdout.decode().splitlines()
