"""How long a verification over a serial line will take, said before it starts, and what makes it shorter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serq_mcu.corpus.audio import seconds_of
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.report import Mode
from serq_mcu.verification.target import Target

_FRAME = 8 + 4 + 2  # header, CRC, COBS code and delimiter
_BLOCK = 254  # bytes that one more byte of COBS carries
_A_CLIP = 400  # bytes of BEGIN, FINISH, DIGESTS and their answers
_BITS = 10  # on the line for a byte
_LONG = 60.0  # seconds from which shorter ways are offered
_FEWER = 60  # clips of the subset that is offered
_FASTER = 921_600  # baud that common USB bridges reach


def estimate(model: QuantizedModel, target: Target, clips: Sequence[Path], mode: Mode) -> str:
    """A sentence: the time that the line alone needs for these recordings, and shorter ways if it is long.

    Raises SerqError if a recording cannot be read.
    """
    payload = target.device.identity.max_payload
    features = len(clips) * (_A_CLIP + message_bytes(4 * model.spec.feature_count, payload))
    said = f"{len(clips)} clips, "
    if mode == "features":
        return said + f"features only: about {duration(features * _BITS / target.baud)} at {target.baud} baud"
    audio = [round(seconds_of(path) * model.spec.sample_rate) for path in clips]
    total = sum(_A_CLIP + message_bytes(2 * samples, payload) for samples in audio)
    seconds = total * _BITS / target.baud
    said += (
        f"{2 * sum(audio) / 1e6:.1f} MB of samples: about {duration(seconds)} on the line at {target.baud}"
        " baud"
    )
    if seconds < _LONG:
        return said
    ways = [
        f"--features sends features alone ({duration(features * _BITS / target.baud)}; the front end is not"
        " compared)"
    ]
    if len(clips) > _FEWER:
        ways.insert(0, f"--count {_FEWER} takes {duration(seconds * _FEWER / len(clips))}")
    if target.baud < _FASTER:
        faster = f"baud = {_FASTER} under [port] of the board file, exported and flashed again"
        ways.append(f"{faster}, takes {duration(total * _BITS / _FASTER)}")
    return said + "; shorter: " + "; ".join(ways)


def message_bytes(count: int, payload: int) -> int:
    """Bytes on the line for `count` bytes of input and the answers to them, in frames of `payload` bytes."""
    room = payload - 4
    whole, rest = divmod(count, room)
    frames = whole + (rest > 0)
    return count + frames * (4 + _FRAME + payload // _BLOCK + _FRAME + 4)


def duration(seconds: float) -> str:
    """In words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
