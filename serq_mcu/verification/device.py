"""A device that answers the harness: clips in; decisions, digests and any stage's integers out."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serq_mcu.errors import SerqError
from serq_mcu.verification import protocol
from serq_mcu.verification.protocol import Code, Frame, Identity, Result, Type
from serq_mcu.verification.transports import Transport

TIMEOUT = 2.0  # seconds until a request is repeated; a frame's transform takes milliseconds, an emulator's start about a second
ATTEMPTS = 8
_FROM_PCM, _FROM_FEATURES = 0, 1
_NO_STAGE = 0


class DeviceError(SerqError):
    """The device refused a request; `code` says why."""

    def __init__(self, code: int, request: Type) -> None:
        reason = Code(code).name.lower().replace("_", " ") if code in set(Code) else f"error {code}"
        super().__init__(f"the device refused {request.name}: {reason}")
        self.code = code


class Device:
    """The host's side of the protocol. Every method raises SerqError when the device is silent, gone or talks nonsense."""

    identity: Identity

    def __init__(self, transport: Transport, timeout: float = TIMEOUT, attempts: int = ATTEMPTS) -> None:
        self._transport, self._timeout, self._attempts = transport, timeout, attempts
        self._reader = protocol.FrameReader()
        self._arrived: list[Frame] = []
        self._sequence = random.randrange(256)  # so that an answer still under way to an earlier host is hardly taken for ours
        transport.write(b"\0")  # ends what an earlier host may have left unfinished
        self.identity = protocol.parse_identity(self._request(Type.IDENTIFY).payload)
        self._leave_breakpoint()

    def run_clip(self, pcm: NDArray[np.int16]) -> Result:
        """The decision on a clip, int16 [samples], and the digest of every stage. Raises DeviceError if it is too short or too long."""
        self._request(Type.BEGIN)
        self._push(pcm)
        return self._finish(_FROM_PCM)

    def run_features(self, pooled: NDArray[np.int32]) -> Result:
        """The decision on pooled features, int32 [features], and the digest of every stage from pooled on."""
        self._request(Type.BEGIN)
        index, step = 0, (self.identity.max_payload - 2) // 4
        while index < len(pooled):
            values = pooled[index : index + step].astype("<i4").tobytes()
            taken = protocol.parse_u16(self._request(Type.FEATURES, struct.pack("<H", index) + values).payload)
            index = self._advance(index, taken, len(pooled))
        return self._finish(_FROM_FEATURES)

    def digests_by_frame(self, pcm: NDArray[np.int16], padding: int = 0) -> Iterator[dict[int, int]]:
        """The digests of a clip, int16 [samples] after `padding` zeros, after each of its frames that the samples complete."""
        self._request(Type.BEGIN)
        start = 0
        for end in range(self.identity.frame_length - padding, len(pcm) + 1, self.identity.hop_length):
            self._push(pcm[:end], start)
            start = end
            yield protocol.parse_digests(self._request(Type.DIGESTS).payload)

    def values(self, pcm: NDArray[np.int16], stage: int, event: int) -> NDArray[np.unsignedinteger] | None:
        """The integers of one event of a stage while the device works on a clip, int16 [samples]; None if that event never comes."""
        self._request(Type.BREAK, struct.pack("<BI", stage, event))
        self._request(Type.BEGIN)
        stopped = self._push(pcm) or self._request(Type.FINISH, bytes([_FROM_PCM])).type == Type.STOPPED
        values = self._read_values() if stopped else None
        self._leave_breakpoint()
        return values

    def close(self) -> None:
        """Let go of the transport."""
        self._transport.close()

    def _push(self, pcm: NDArray[np.int16], start: int = 0) -> bool:
        """Send the samples from `start` on; True if the device stopped at the breakpoint."""
        step = (self.identity.max_payload - 4) // 2
        while start < len(pcm):
            samples = pcm[start : start + step].astype("<i2").tobytes()
            answer = self._request(Type.PCM, struct.pack("<I", start) + samples)
            if answer.type == Type.STOPPED:
                return True
            start = self._advance(start, protocol.parse_u32(answer.payload), len(pcm))
        return False

    def _finish(self, mode: int) -> Result:
        decision = self._request(Type.FINISH, bytes([mode]))
        return protocol.parse_result(decision.payload, self._request(Type.DIGESTS).payload)

    def _read_values(self) -> NDArray[np.unsignedinteger]:
        parts: list[NDArray[np.unsignedinteger]] = []
        while True:
            count = sum(map(len, parts))
            offset, values = protocol.parse_values(self._request(Type.READ, struct.pack("<H", count)).payload)
            if offset != count:
                raise SerqError(f"{self._transport.name} answered a read at {count} with values from {offset}; build and flash the project again")
            parts.append(values)
            if not len(values):
                return np.concatenate(parts)

    def _leave_breakpoint(self) -> None:
        try:
            self._request(Type.CONTINUE)
        except DeviceError as error:
            if error.code != Code.NOT_STOPPED:
                raise
        self._request(Type.BREAK, struct.pack("<BI", _NO_STAGE, 0))

    def _advance(self, sent_from: int, expected: int, end: int) -> int:
        if not sent_from < expected <= end:
            raise SerqError(f"{self._transport.name} lost its place in the clip (at {expected}, after {sent_from}); reset it and try again")
        return expected

    def _request(self, request: Type, payload: bytes = b"") -> Frame:
        """The answer to a request, which is repeated while none comes: every request may be (SPEC.md section 8)."""
        self._sequence = (self._sequence + 1) % 256
        message = protocol.encode_frame(Frame(request, self._sequence, payload))
        for attempt in range(self._attempts):
            self._transport.write(b"\0" + message if attempt else message)  # the delimiter ends a frame that was cut short
            answer = self._answer(request)
            if answer is None:
                continue
            if answer.type == Type.ERROR:
                raise DeviceError(answer.payload[0], request)
            return answer
        waited = self._attempts * self._timeout
        raise SerqError(f"{self._transport.name} did not answer for {waited:.0f} s; check that it runs firmware that serq-mcu exported")

    def _answer(self, request: Type) -> Frame | None:
        deadline = time.monotonic() + self._timeout
        while True:
            while self._arrived:
                frame = self._arrived.pop(0)
                if frame.sequence == self._sequence and _answers(frame, request):
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._arrived = self._reader.feed(self._transport.read(left))


def _answers(frame: Frame, request: Type) -> bool:
    """Whether a frame of the right sequence can be the answer to `request`, and not one that an earlier host left on the line."""
    if frame.type == Type.ERROR:
        return frame.payload[1:] == bytes([request])
    return frame.type == request | 0x80 or (frame.type == Type.STOPPED and request in (Type.PCM, Type.FINISH))
