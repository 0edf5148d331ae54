"""The microphone of this computer, through PortAudio (package sounddevice, of the extra `microphone`)."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError

_BLOCK = 0.05  # seconds of a piece
_PATIENCE = 5.0  # seconds without a sample
_NOTHING = "no microphone was found; plug one in, or give a recording instead"

Pieces = Iterator[tuple[NDArray[np.int16], int]]


@dataclass(frozen=True)
class Microphone:
    """A microphone by the number or a part of the name that its system has for it.

    "" is the system's own choice.
    """

    device: str = ""

    @contextlib.contextmanager
    def listen(self, rate: int) -> Iterator[Pieces]:
        """Yield samples as they come, at `rate` Hz: int16 [samples], and how many were lost just before them.

        Raises SerqError if there is no sounddevice, no PortAudio or no microphone, or nothing comes from it.
        """
        sounddevice = _sounddevice()
        arrived: queue.Queue[tuple[NDArray[np.int16], int]] = queue.Queue()
        piece = round(_BLOCK * rate)

        def take(samples: Any, _count: int, _time: Any, status: Any) -> None:
            arrived.put(
                (np.frombuffer(bytes(samples), np.int16), piece if status and status.input_overflow else 0)
            )

        name = int(self.device) if self.device.isdecimal() else self.device or None
        try:
            stream = sounddevice.RawInputStream(
                samplerate=rate, blocksize=piece, channels=1, dtype="int16", device=name, callback=take
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SerqError(_why_not(sounddevice, self.device, rate, error)) from error
        with stream:
            yield _pieces(arrived)


def _pieces(arrived: queue.Queue[tuple[NDArray[np.int16], int]]) -> Pieces:
    while True:
        try:
            yield arrived.get(timeout=_PATIENCE)
        except queue.Empty:
            raise SerqError(
                "nothing comes from the microphone; is it muted or in use by another program?"
            ) from None


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise SerqError(
            "listening to a microphone needs a package that is not installed; run `pip install"
            " 'serq-mcu[microphone]'`"
        ) from error
    except OSError as error:  # it looks for the library when it is imported
        raise SerqError(
            "sounddevice finds no PortAudio library; run `sudo apt-get install libportaudio2` on Debian and"
            " Ubuntu"
        ) from error
    return sounddevice


def _why_not(sounddevice: Any, device: str, rate: int, error: Exception) -> str:
    inputs = [
        f"{number}: {found['name']}"
        for number, found in enumerate(sounddevice.query_devices())
        if found["max_input_channels"]
    ]
    if not inputs:
        return _NOTHING
    which = f"microphone {device!r}" if device else "this computer's microphone"
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{which} does not give one channel of {rate} samples a second ({said}); choose another with"
        f" --device: {', '.join(inputs)}"
    )
