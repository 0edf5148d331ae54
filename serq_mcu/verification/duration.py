"""How long a verification over a serial line takes, printed before, and what makes it shorter."""

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


def line_time(model: QuantizedModel, target: Target, clips: Sequence[Path], mode: Mode) -> str:
    """Return a sentence: how long the line alone takes for these recordings, and shorter ways if it is long.

    Raises SerqError if a recording cannot be read.
    """
    payload, baud, count = target.device.identity.max_payload, target.baud, len(clips)
    features = count * (_A_CLIP + message_bytes(4 * model.spec.feature_count, payload)) * _BITS / baud
    if mode == "features":
        return f"{count} clips, features only: about {rough_duration(features)} at {baud} baud"
    audio = [round(seconds_of(path) * model.spec.sample_rate) for path in clips]
    seconds = sum(_A_CLIP + message_bytes(2 * samples, payload) for samples in audio) * _BITS / baud
    megabytes = f"{2 * sum(audio) / 1e6:.1f} MB of samples"
    needed = f"{count} clips, {megabytes}: about {rough_duration(seconds)} on the line at {baud} baud"
    if seconds < _LONG:
        return needed
    ways = [f"--features sends features alone ({rough_duration(features)}; the front end is not compared)"]
    if count > _FEWER:
        ways.insert(0, f"--count {_FEWER} takes {rough_duration(seconds * _FEWER / count)}")
    if baud < _FASTER:
        faster = f"baud = {_FASTER} under [port] of the board file, exported and flashed again"
        ways.append(f"{faster}, takes {rough_duration(seconds * baud / _FASTER)}")
    return f"{needed}; shorter: {'; '.join(ways)}"


def message_bytes(count: int, payload: int) -> int:
    """Return the bytes on the line for `count` bytes of input and the answers to them.

    They go in frames of `payload` bytes.
    """
    room = payload - 4
    whole, rest = divmod(count, room)
    frames = whole + (rest > 0)
    return count + frames * (4 + _FRAME + payload // _BLOCK + _FRAME + 4)


def rough_duration(seconds: float) -> str:
    """Return a time to one unit: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
