"""A model run on this computer: the device's C code, compiled once for each model.

Where there is no compiler, the reference takes its place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base import resources
from serq_mcu.boards.board import load_board
from serq_mcu.build.host_library import host_library
from serq_mcu.codegen.export import runtime_files
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.frontend import reference
from serq_mcu.quantized_model import interpreter
from serq_mcu.quantized_model.interpreter import require_voices
from serq_mcu.quantized_model.streaming import LEARN_NOTHING, Decision, Stream, require_decision_rule
from serq_mcu.quantized_model.types import NO_SPEECH, QuantizedModel
from serq_mcu.quantized_model.voice import Voice

C, PYTHON = "the device's C code, compiled for this computer", "the Python reference"
_BOARD = "esp32"  # its kernels are plain C; all boards' compute the same integers
_PLACE = "lib/serq/src/"
_SOURCE = resources.FIRMWARE / "apps" / "classify" / "classify.c"
_HEAD = 4  # integers of a decision before its scores


@dataclass(frozen=True)
class ClipAnswer:
    """What a clip is answered: the index of a label or NO_SPEECH, and the scores of all labels."""

    label: int
    scores: tuple[int, ...]


class Engine(Protocol):
    """A model that runs on samples.

    `by` names what computes.
    """

    by: str

    def start(self) -> None:
        """Forget all earlier samples."""

    def push(self, pcm: NDArray[np.int16]) -> list[Decision]:
        """Take samples, int16 [samples] of any number, and return the decisions that they complete.

        Raises SerqError if the model cannot stream.
        """

    def use_voice(self, voice: Voice | None, learns: int = LEARN_NOTHING) -> None:
        """Answer clips, and the stream until its next start, by a voice, which the stream may teach.

        learns: the index of a label, LEARN_ANSWERS or LEARN_NOTHING. Raises SerqError if the model was not
        trained for voices.
        """

    def voice(self) -> Voice | None:
        """Return the voice, with what the stream has taught it."""

    def clip(self, pcm: NDArray[np.int16]) -> ClipAnswer | None:
        """Answer a whole clip, int16 [samples].

        Returns None if it is shorter or longer than a clip may be.
        """


def open_engine(model: QuantizedModel, progress: Callable[..., None]) -> Engine:
    """Return the model, ready for samples. progress is told when C is compiled, and without a compiler."""
    try:
        return _NativeEngine(model, progress)
    except (SerqError, OSError) as error:
        reason = str(error).split(";")[0]
        progress(f"{reason}: the Python reference answers instead, with the same integers")
        return _ReferenceEngine(model, reason)


class _ReferenceEngine:
    def __init__(self, model: QuantizedModel, reason: str) -> None:
        self.by = f"{PYTHON} ({reason})"
        self._model = model
        self._stream = Stream(model) if model.decision else None
        self._voice: Voice | None = None

    def start(self) -> None:
        if self._stream:
            self._stream.start()

    def use_voice(self, voice: Voice | None, learns: int = LEARN_NOTHING) -> None:
        require_voices(self._model)
        self._voice = voice
        if self._stream:
            self._stream.use_voice(voice, learns)

    def voice(self) -> Voice | None:
        return self._stream.voice if self._stream else self._voice

    def push(self, pcm: NDArray[np.int16]) -> list[Decision]:
        return self._stream.push(pcm) if self._stream else _cannot_stream(self._model)

    def clip(self, pcm: NDArray[np.int16]) -> ClipAnswer | None:
        if not self._model.spec.min_samples <= len(pcm) <= self._model.spec.max_samples:
            return None
        pooled = reference.features(self._model.spec, self._model.tables, pcm)
        scores = tuple(interpreter.scores(self._model, pooled, self._voice).tolist())
        return ClipAnswer(int(interpreter.classify(self._model, pooled, self._voice)), scores)


class _NativeEngine:
    by = C

    def __init__(self, model: QuantizedModel, progress: Callable[..., None]) -> None:
        self._model = model
        self._library = _library(model, progress)
        if model.decision:
            self._library.stream_push.restype = ctypes.c_uint32
            self._state = np.zeros(-(-self._library.stream_bytes() // 8), np.int64)
        self._voice: NDArray[np.uint8] | None = None  # as the library has it in memory: as it is stored
        self.start()

    def start(self) -> None:
        if self._model.decision:
            self._library.stream_start(_pointer(self._state))

    def use_voice(self, voice: Voice | None, learns: int = LEARN_NOTHING) -> None:
        require_voices(self._model)
        stored = b"" if voice is None else voice.to_bytes(self._model.identity)
        self._voice = np.frombuffer(bytearray(stored), np.uint8) if stored else None
        if self._model.decision:
            at = _pointer_or_none(self._voice)
            self._library.stream_use_voice(_pointer(self._state), at, ctypes.c_int32(learns))

    def voice(self) -> Voice | None:
        if self._voice is None:
            return None
        return Voice.in_memory(self._voice.tobytes(), require_voices(self._model))

    def push(self, pcm: NDArray[np.int16]) -> list[Decision]:
        if not self._model.decision:
            return _cannot_stream(self._model)
        found: list[Decision] = []
        decision, decided = np.zeros(_HEAD + len(self._model.labels), np.int32), ctypes.c_int32()
        pcm = np.ascontiguousarray(pcm)
        while len(pcm):
            words = (
                _pointer(self._state),
                _pointer(pcm),
                ctypes.c_uint32(len(pcm)),
                _pointer(decision),
                ctypes.byref(decided),
            )
            pcm = pcm[self._library.stream_push(*words) :]
            if decided.value:
                answer, level, frames, margin, *scores = decision.tolist()
                found.append(Decision(answer, tuple(scores), margin, level, frames))
        return found

    def clip(self, pcm: NDArray[np.int16]) -> ClipAnswer | None:
        pcm, scores = np.ascontiguousarray(pcm), np.zeros(len(self._model.labels), np.int32)
        words = _pointer(pcm), ctypes.c_uint32(len(pcm)), _pointer(scores), _pointer_or_none(self._voice)
        label: int = self._library.classify_clip(*words)
        return None if label < NO_SPEECH else ClipAnswer(label, tuple(scores.tolist()))


def _cannot_stream(model: QuantizedModel) -> list[Decision]:
    require_decision_rule(model)  # which says why
    return []


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def _pointer_or_none(array: NDArray[np.generic] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p() if array is None else _pointer(array)


def _library(model: QuantizedModel, progress: Callable[..., None]) -> ctypes.CDLL:
    """Load the model's shared library.

    Raises SerqError without a compiler, or one that refuses the code.
    """
    can_stream = model.decision is not None
    files = {
        name.removeprefix(_PLACE): data
        for name, data in (runtime_files() | Plan(model, load_board(_BOARD)).model_files).items()
        if name.startswith(_PLACE) and (can_stream or "stream" not in name)
    }
    files |= {_SOURCE.name: _SOURCE.read_bytes()}
    return host_library("classify", files, ["SERQ_CAN_STREAM"] if can_stream else [], progress)
