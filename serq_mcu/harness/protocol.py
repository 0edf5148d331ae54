"""Frames of the harness protocol and what they contain (SPEC.md section 8).

Pure functions; bytes from a device are not trusted.

COBS: Cheshire and Baker, "Consistent overhead byte stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from cobs import cobs
from numpy.typing import NDArray

from serq_mcu.base.stages import Stage
from serq_mcu.errors import SerqError

PROTOCOL = 3
_MAX_ENCODED = (
    1 << 17
)  # more bytes than any frame has (payloads are announced in 16 bits): a stream without delimiters is garbage


class Type(IntEnum):
    """First byte of a frame; the answer to a request has bit 7 set."""

    IDENTIFY = 0x01
    BEGIN = 0x02
    PCM = 0x03
    FEATURES = 0x04
    FINISH = 0x05
    DIGESTS = 0x06
    LABEL = 0x07
    READ = 0x08
    CONTINUE = 0x09
    STAGE = 0x0A
    GET_VOICE = 0x0B
    PUT_VOICE = 0x0C
    RESET_VOICE = 0x0D
    LEARN = 0x0E
    STOPPED = 0x8A
    ERROR = 0xFF


class Code(IntEnum):
    """Why a device refused a request."""

    UNKNOWN_REQUEST = 1
    BAD_LENGTH = 2
    OUT_OF_ORDER = 3
    TOO_FEW_SAMPLES = 4
    TOO_MANY_FRAMES = 5
    NOT_STOPPED = 6
    NO_CLIP = 7
    VOICE_DAMAGED = 8
    VOICE_FOREIGN = 9


@dataclass(frozen=True)
class Frame:
    """One message: the type is a byte, the number 32 bits that an answer shares with its request."""

    type: int
    number: int
    payload: bytes = b""


_HEADER = struct.Struct("<BBHI")  # type, protocol, payload length, number
_CRC = struct.Struct("<I")


def encode_frame(frame: Frame) -> bytes:
    """Encode a frame as it goes over the wire, delimiter included."""
    body = _HEADER.pack(frame.type, PROTOCOL, len(frame.payload), frame.number) + frame.payload
    encoded: bytes = cobs.encode(body + _CRC.pack(zlib.crc32(body)))
    return encoded + b"\0"


def decode_frame(encoded: bytes) -> Frame | None:
    """Decode the frame between two delimiters; None if it is damaged or of another protocol."""
    body = _body(encoded)
    if body is None or len(body) < _HEADER.size:
        return None
    type_, version, length, number = _HEADER.unpack_from(body)
    payload = body[_HEADER.size :]
    return Frame(type_, number, payload) if (version, length) == (PROTOCOL, len(payload)) else None


def _body(encoded: bytes) -> bytes | None:
    """Return what stands before a good CRC."""
    try:
        body: bytes = cobs.decode(encoded)
    except cobs.DecodeError:
        return None
    good = len(body) >= _CRC.size and _CRC.pack(zlib.crc32(body[: -_CRC.size])) == body[-_CRC.size :]
    return body[: -_CRC.size] if good else None


class FrameReader:
    """Frames out of a byte stream; what is no good frame is dropped, and the next delimiter starts afresh."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the good frames that they complete."""
        *whole, self._rest = (self._rest + data).split(b"\0")
        self._rest = self._rest[-_MAX_ENCODED:]
        frames = [decode_frame(encoded) for encoded in whole]
        return [frame for frame in frames if frame is not None]


@dataclass(frozen=True)
class Identity:
    """What a device reports about itself."""

    abi: int
    model: str  # 16 hexadecimal digits
    max_payload: int
    features: int
    classes: int
    layers: int
    stages: int
    frame_length: int
    hop_length: int
    sample_rate: int
    clock_hz: int
    board: str


@dataclass(frozen=True)
class Result:
    """A device's decision on a clip: the index of a label, or -1 where there is no speech.

    scores int32 [classes], the CRC-32 of each stage, cycles without tracing (0 where nothing counts them).
    `clip` is the number of the clip's BEGIN and `sums` are those of the input, both as the device has them.
    """

    label: int
    frames: int
    frontend_cycles: int
    network_cycles: int
    clip: int
    sums: tuple[int, int]
    scores: NDArray[np.int32]
    digests: dict[str, int]


_IDENTITY = struct.Struct("<B8sHHBBBHHII")
_RESULT = struct.Struct("<bIIIIII")
_NO_SPEECH = -1  # in place of a label's index
_VALUES = struct.Struct("<BHH")
_VOICE = struct.Struct("<HH")
_UNSIGNED = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}


def input_sums(values: NDArray[np.int16] | NDArray[np.int32]) -> tuple[int, int]:
    """Add up the input's 16-bit words, and all sums on the way to that, modulo 2^32."""
    words = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view("<u2").astype(np.uint64)
    weighted = words * np.arange(len(words), 0, -1, dtype=np.uint64)
    return int(words.sum()) % 2**32, int(weighted.sum() % 2**32)


def parse_identity(payload: bytes) -> Identity:
    """Parse the answer to IDENTIFY.

    Raises SerqError if it is malformed.
    """
    _require(len(payload) >= _IDENTITY.size, "identity")
    abi, model, *numbers = _IDENTITY.unpack_from(payload)
    board = payload[_IDENTITY.size :].decode(errors="replace")
    identity = Identity(abi, model.hex(), *numbers, board)  # type: ignore[call-arg]  # struct's numbers are in the fields' order
    lengths = 0 < identity.hop_length <= identity.frame_length
    _require(identity.max_payload >= 32 and identity.classes > 0 and lengths, "identity")
    return identity


def parse_result(payload: bytes, digests: dict[str, int]) -> Result:
    """Parse the answer to FINISH, with the digests of the clip.

    Raises SerqError if it is malformed.
    """
    _require(len(payload) > _RESULT.size and (len(payload) - _RESULT.size) % 4 == 0, "result")
    label, frames, frontend, network, clip, *sums = _RESULT.unpack_from(payload)
    scores = np.frombuffer(payload, "<i4", offset=_RESULT.size).astype(np.int32)
    _require(_NO_SPEECH <= label < len(scores), "result")
    return Result(label, frames, frontend, network, clip, (sums[0], sums[1]), scores, digests)


def parse_digests(payload: bytes) -> tuple[int, dict[int, int]]:
    """Parse the answer to DIGESTS: the clip, and stage to CRC-32.

    Raises SerqError if it is malformed.
    """
    _require(len(payload) >= 4 and (len(payload) - 4) % 5 == 0, "digests")
    return int.from_bytes(payload[:4], "little"), dict(struct.iter_unpack("<BI", payload[4:]))


def parse_stage(payload: bytes) -> Stage:
    """Parse the answer to STAGE: a row of the device's table, whose types are of the right size only.

    Raises SerqError if it is malformed.
    """
    _require(len(payload) > 2 and payload[0] in _UNSIGNED and payload[1] in (0, 1), "stage")
    name = payload[2:].decode(errors="replace")
    return Stage(name, f"uint{8 * payload[0]}", bool(payload[1]))


def parse_values(payload: bytes) -> tuple[int, NDArray[np.unsignedinteger]]:
    """Parse the answer to READ: the first value's offset, and the values as unsigned integers.

    Raises SerqError if it is malformed.
    """
    _require(len(payload) >= _VALUES.size, "values")
    size, count, offset = _VALUES.unpack_from(payload)
    _require(size in _UNSIGNED and len(payload) == _VALUES.size + size * count, "values")
    return offset, np.frombuffer(payload, _UNSIGNED[size], offset=_VALUES.size)


def parse_voice(payload: bytes) -> tuple[int, int, bytes]:
    """Parse the answer to GET_VOICE: the size of all, the offset of these bytes, and the bytes.

    Raises SerqError if it is malformed.
    """
    _require(len(payload) >= _VOICE.size, "voice")
    size, offset = _VOICE.unpack_from(payload)
    return size, offset, payload[_VOICE.size :]


def parse_u16(payload: bytes) -> int:
    """Parse a lone u16, little-endian.

    Raises SerqError if it is not one.
    """
    _require(len(payload) == 2, "count")
    return int.from_bytes(payload, "little")


def parse_u32(payload: bytes) -> int:
    """Parse a lone u32, little-endian.

    Raises SerqError if it is not one.
    """
    _require(len(payload) == 4, "count")
    return int.from_bytes(payload, "little")


def _require(condition: object, what: str) -> None:
    if not condition:
        raise SerqError(
            f"the device sent a malformed {what} frame; export, build and flash the project again"
        )
