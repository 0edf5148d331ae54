"""A device that answers the harness: clips in; decisions, digests and any stage's integers out.

The line may lose, damage, repeat, delay and reorder what passes, and the device may be reset at any time.
Requests are repeated until they are answered, a clip that the device lost is sent again, and what still fails
is a LineError: never a wrong result.
"""

from __future__ import annotations

import contextlib
import functools
import random
import struct
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.stages import Stage
from serq_mcu.errors import SerqError
from serq_mcu.harness import protocol
from serq_mcu.harness.protocol import Code, Frame, Identity, Result, Type, input_sums
from serq_mcu.harness.transports import Transport
from serq_mcu.harness.trouble import LONGEST, explained, in_trouble

# seconds until a request is repeated at the latest; a frame's transform takes milliseconds, an emulator's
# start about a second
TIMEOUT = 2.0
# and at the earliest: an answer that is only slow then costs a second one, which nobody takes for another's
SHORTEST = 0.1
ATTEMPTS = 12
CLIP_ATTEMPTS = 3
_FIRST_ATTEMPTS = (
    4  # under the first number: a board that starts answers then, and one in trouble has said so
)
_FROM_PCM, _FROM_FEATURES = 0, 1
_NO_STAGE = 0
_MOST_VALUES = 0xFFFF  # of a stage's event: READ has 16 bits for the place of one
_LOST = (
    Code.OUT_OF_ORDER,
    Code.NO_CLIP,
    Code.NOT_STOPPED,
)  # refusals of what was in order: the device was reset, or has another host

Answer = TypeVar("Answer")


class LineError(SerqError):
    """The device is silent, or lost the clip: nothing is known of its result."""


class DeviceError(SerqError):
    """The device refused a request; `code` gives the reason."""

    def __init__(self, code: int, request: Type) -> None:
        reason = Code(code).name.lower().replace("_", " ") if code in set(Code) else f"error {code}"
        super().__init__(f"the device refused {request.name}: {reason}")
        self.code = code


class Device:
    """The host's side of the protocol.

    Every method raises LineError when the line fails, SerqError when the device is gone or talks nonsense.

    A request is repeated after `timeout` seconds or, once the device's pace is known, sooner (not before
    `shortest`); `attempts` times.
    """

    identity: Identity

    def __init__(
        self,
        transport: Transport,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        shortest: float = SHORTEST,
    ) -> None:
        self._transport, self._attempts, self._pace = (
            transport,
            attempts,
            _Pace(timeout, min(shortest, timeout)),
        )
        self._reader = protocol.FrameReader()
        self._arrived: list[Frame] = []
        self._heard = b""  # lately, to explain a silence
        self._number = 0
        self.repeated = 0  # requests sent more than once, and clips
        self.clips_repeated = 0
        transport.write(b"\0")  # ends what an earlier host may have left unfinished
        self.identity = self._identify()

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self._transport.name

    def run_clip(self, pcm: NDArray[np.int16]) -> Result:
        """Run a clip, int16 [samples]: the decision and the digest of every stage.

        Raises DeviceError if it is too short or too long.
        """

        def run() -> Result:
            clip = self._begin()
            self._push(pcm)
            return self._finish(_FROM_PCM, clip, pcm)

        return self.persist(run)

    def run_features(self, pooled: NDArray[np.int32]) -> Result:
        """Run pooled features, int32 [features]: the decision and the digest of every stage from there."""

        def run() -> Result:
            clip = self._begin()
            self._push_features(pooled)
            return self._finish(_FROM_FEATURES, clip, pooled)

        return self.persist(run)

    def learn(self, sent: NDArray[np.int16] | NDArray[np.int32], label: int, voice: bytes) -> Result:
        """Run a clip, int16 [samples], or pooled features, int32 [features], of a voice, and learn from it.

        label: what the voice is of, or -1: what the device answers. voice: as stored, before.
        """
        pcm = sent.dtype == np.int16

        def run() -> Result:
            self._put_voice(voice)
            clip = self._begin()
            self._push(sent) if pcm else self._push_features(sent)  # type: ignore[arg-type]  # by dtype
            result = self._finish(_FROM_PCM if pcm else _FROM_FEATURES, clip, sent)
            self._request(Type.LEARN, struct.pack("<b", label))
            return result

        return self.persist(run)

    def voice(self) -> bytes:
        """Read the device's voice, as it is stored."""
        found = b""
        while True:
            payload = self._request(Type.GET_VOICE, struct.pack("<H", len(found))).payload
            size, offset, part = protocol.parse_voice(payload)
            if offset != len(found) or len(found) + len(part) > size or (not part and len(found) < size):
                raise SerqError(
                    f"{self.name} answered with a voice in wrong pieces; build and flash the project again"
                )
            found += part
            if len(found) == size:
                return found

    def put_voice(self, voice: bytes) -> None:
        """Give the device a voice, as it is stored.

        Raises DeviceError if it is damaged or of another model; the device then has none.
        """
        self.persist(lambda: self._put_voice(voice))

    def reset_voice(self) -> None:
        """Let the device forget its voice."""
        self._request(Type.RESET_VOICE)

    def digests_by_frame(self, pcm: NDArray[np.int16], padding: int = 0) -> Iterator[dict[str, int]]:
        """Yield the digests of a clip after each of its frames that the samples complete.

        pcm: int16 [samples] after `padding` zeros. For use within persist().
        """
        clip = self._begin()
        start = 0
        for end in range(self.identity.frame_length - padding, len(pcm) + 1, self.identity.hop_length):
            self._push(pcm[:end], start)
            start = end
            yield self._digests(clip)

    def values(self, pcm: NDArray[np.int16], stage: str, event: int) -> NDArray[np.unsignedinteger] | None:
        """Read the integers of one event of a stage while the device works on a clip, int16 [samples].

        Returns None if that event never comes.
        """
        return self.persist(lambda: self._values(_FROM_PCM, stage, event, lambda: self._push(pcm)))

    def values_of_features(self, pooled: NDArray[np.int32], stage: str) -> NDArray[np.unsignedinteger] | None:
        """Read the integers of a stage of the network while the device decides on pooled features.

        pooled: int32 [features]. Returns None if the stage never comes.
        """
        return self.persist(
            lambda: self._values(_FROM_FEATURES, stage, 0, lambda: self._push_features(pooled))
        )

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The device's table of stages, in the order of their numbers, which begin with 1."""
        rows = (self._request(Type.STAGE, bytes([index])) for index in range(self.identity.stages))
        return tuple(protocol.parse_stage(row.payload) for row in rows)

    def label(self, index: int) -> str:
        """Read the name of a label in the firmware, "" beyond the last."""
        return self._request(Type.LABEL, bytes([index])).payload.decode(errors="replace")

    def persist(self, action: Callable[[], Answer]) -> Answer:
        """Do `action` and return its answer; again if the device loses the clip, three times in all.

        Raises LineError for the last failure, SerqError if another firmware answers by then.
        """
        for _ in range(CLIP_ATTEMPTS - 1):
            with contextlib.suppress(_Lost):
                return action()
            self.clips_repeated += 1
            self.confirm_identity()
        try:
            return action()
        except _Lost as error:
            times = f"{self.name} lost the clip {CLIP_ATTEMPTS} times"
            raise LineError(f"{times}, at last because {error}; check cable and power supply") from error

    def confirm_identity(self) -> None:
        """Raise SerqError if the device is no longer the one that answered at first."""
        before, now = self.identity, self._identify(met=True)
        if now != before:
            was, found = (f"model {identity.model} for board {identity.board}" for identity in (before, now))
            raise SerqError(
                f"the firmware on {self.name} changed meanwhile from {was} to {found}; start again"
            )

    def close(self) -> None:
        """Let go of the transport."""
        self._transport.close()

    def _identify(self, *, met: bool = False) -> Identity:
        """Send IDENTIFY under a random number, and under another.

        The device takes the first for late if it is a little below the last host's. A device that was met
        before is asked under the next number first: after a jump it could not tell what the line still
        delivers late.
        """
        began = time.monotonic()
        for jumps, attempts in ((not met, min(_FIRST_ATTEMPTS, self._attempts)), (True, self._attempts)):
            if jumps:
                self._number = random.getrandbits(32)
            with contextlib.suppress(_Silent):
                return protocol.parse_identity(self._request(Type.IDENTIFY, attempts=attempts).payload)
            if in_trouble(self._heard):
                break
        waited = time.monotonic() - began
        said = explained(self._heard)
        raise LineError(
            f"{self.name} did not answer for {waited:.0f} s{said and ': '}{said}; check that it runs firmware"
            " that serq-mcu exported with --app harness"
        )

    def _begin(self, stage: int = _NO_STAGE, event: int = 0) -> int:
        """Begin a clip, with a breakpoint; returns its number."""
        self._request(Type.BEGIN, struct.pack("<BI", stage, event))
        return self._number

    def _push(self, pcm: NDArray[np.int16], start: int = 0) -> bool:
        """Send the samples from `start` on; True if the device stopped at the breakpoint."""
        step = (self.identity.max_payload - 4) // 2
        data = pcm.astype("<i2", copy=False)
        while start < len(pcm):
            answer = self._request(Type.PCM, struct.pack("<I", start) + data[start : start + step].tobytes())
            if answer.type == Type.STOPPED:
                return True
            start = self._advance(start, protocol.parse_u32(answer.payload), len(pcm))
        return False

    def _put_voice(self, voice: bytes) -> None:
        offset, step = 0, self.identity.max_payload - 2
        while offset < len(voice):
            part = voice[offset : offset + step]
            answer = self._request(Type.PUT_VOICE, struct.pack("<H", offset) + part)
            offset = self._advance(offset, protocol.parse_u16(answer.payload), len(voice))

    def _push_features(self, pooled: NDArray[np.int32]) -> bool:
        """Send pooled features; no breakpoint is met by that."""
        index, step = 0, (self.identity.max_payload - 2) // 4
        while index < len(pooled):
            values = pooled[index : index + step].astype("<i4").tobytes()
            taken = protocol.parse_u16(
                self._request(Type.FEATURES, struct.pack("<H", index) + values).payload
            )
            index = self._advance(index, taken, len(pooled))
        return False

    def _finish(self, mode: int, clip: int, sent: NDArray[np.int16] | NDArray[np.int32]) -> Result:
        decision = self._request(Type.FINISH, bytes([mode]))
        result = protocol.parse_result(decision.payload, self._digests(clip))
        if result.clip != clip:
            raise _Lost("it answered for another clip")
        if result.sums != input_sums(sent):
            raise _Lost("it did not hear what was sent")
        return result

    def _digests(self, clip: int) -> dict[str, int]:
        of, digests = protocol.parse_digests(self._request(Type.DIGESTS).payload)
        if of != clip:
            raise _Lost("it answered for another clip")
        return {self._stage_name(number): crc for number, crc in digests.items()}

    def _stage_name(self, number: int) -> str:
        table = self.stages
        return table[number - 1].name if 1 <= number <= len(table) else f"stage {number}"

    def _stage_number(self, name: str) -> int:
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise SerqError(f"{self.name} has no stage {name}; build and flash the project again")
        return names.index(name) + 1

    def _values(
        self, mode: int, stage: str, event: int, push: Callable[[], bool]
    ) -> NDArray[np.unsignedinteger] | None:
        self._begin(self._stage_number(stage), event)
        stopped = push() or self._request(Type.FINISH, bytes([mode])).type == Type.STOPPED
        if not stopped:
            return None
        values = self._read_values()
        self._request(Type.CONTINUE)
        return values

    def _read_values(self) -> NDArray[np.unsignedinteger]:
        parts: list[NDArray[np.unsignedinteger]] = []
        while True:
            count = sum(map(len, parts))
            offset, values = protocol.parse_values(self._request(Type.READ, struct.pack("<H", count)).payload)
            if offset != count:
                raise SerqError(
                    f"{self.name} answered a read at {count} with values from {offset}; build and flash the"
                    " project again"
                )
            parts.append(values)
            if not len(values):
                return np.concatenate(parts)
            if count + len(values) > _MOST_VALUES:
                raise SerqError(
                    f"{self.name} answered reads with more values than a stage has; build and flash the"
                    " project again"
                )

    def _advance(self, sent_from: int, expected: int, end: int) -> int:
        if not sent_from < expected <= end:
            raise _Lost(f"it expects sample {expected} after {sent_from}")
        return expected

    def _request(self, request: Type, payload: bytes = b"", attempts: int = 0) -> Frame:
        """Send a request and return the answer; repeat the request while none comes.

        attempts: 0 for those of the device.

        Every request may be repeated (SPEC.md section 8).
        """
        self._number = (self._number + 1) % 2**32
        message = protocol.encode_frame(Frame(request, self._number, payload))
        on_the_way = self._transport.seconds(len(message))
        began = time.monotonic()
        for attempt in range(attempts or self._attempts):
            self.repeated += attempt > 0
            self._transport.write(
                b"\0" + message if attempt else message
            )  # the delimiter ends a frame that was cut short
            sent = time.monotonic()
            answer = self._answer(request, sent + on_the_way + self._pace.patience(attempt))
            if answer is None:
                continue
            if not attempt:  # Karn's rule: of a repeated request it is not known which was answered
                self._pace.note(time.monotonic() - sent - on_the_way)
            if answer.type != Type.ERROR:
                return answer
            refusal = DeviceError(answer.payload[0], request)
            raise _Lost(str(refusal)) if refusal.code in _LOST else refusal
        waited = time.monotonic() - began
        raise _Silent(f"{self.name} did not answer for {waited:.0f} s; check cable, power supply and reset")

    def _answer(self, request: Type, deadline: float) -> Frame | None:
        while True:
            while self._arrived:
                frame = self._arrived.pop(0)
                if frame.number == self._number and _answers(frame, request):
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            data = self._transport.read(left)
            self._heard = (self._heard + data)[-LONGEST:]
            self._arrived = self._reader.feed(data)


class _Silent(LineError):
    """No answer came."""


class _Lost(LineError):
    """The device lost the clip, which may be sent again."""


class _Pace:
    """How long to wait for an answer.

    The mean time of answers and four mean deviations (RFC 6298), twice as long at every repetition.
    """

    def __init__(self, longest: float, shortest: float) -> None:
        self._longest, self._shortest = longest, shortest
        self._mean, self._deviation = longest, 0.0  # until the first answer
        self._known = False

    def patience(self, attempt: int) -> float:
        """Return the seconds to wait after the request was sent for the `attempt`-th time, counted from 0."""
        usual = max(self._shortest, self._mean + 4 * self._deviation)
        return float(min(self._longest, usual * 2**attempt))

    def note(self, seconds: float) -> None:
        """Take note of the time that an answer took."""
        if not self._known:
            self._mean, self._deviation, self._known = seconds, seconds / 2, True
        self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
        self._mean += (seconds - self._mean) / 8


def _answers(frame: Frame, request: Type) -> bool:
    """Tell whether a frame of the right number can be the answer to `request`.

    One that an earlier host left on the line cannot.
    """
    if frame.type == Type.ERROR:
        return frame.payload[1:] == bytes([request])
    return frame.type == request | 0x80 or (frame.type == Type.STOPPED and request in (Type.PCM, Type.FINISH))
