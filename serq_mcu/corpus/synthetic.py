"""Synthetic speech, so that every step can run on a machine without a corpus.

Accuracies on it mean nothing for emotion.

espeak-ng (from the wheel `espeakng-loader`) speaks a few sentences in several voices; a "class" is a setting
of its rate, pitch, pitch range and volume, after what Burkhardt and Sendlmeier, "Verification of acoustical
correlates of emotional speech using formant synthesis", 2000, report for acted emotions.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import itertools
import json
import math
import shutil
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from serq_mcu.base.files import new_folder
from serq_mcu.errors import SerqError

SAMPLE_RATE = 16000
MARKER = "serq-synthetic.json"  # says how the folder was made, and that it may be replaced
MAX_SECONDS = 3600


@dataclass(frozen=True)
class Style:
    """espeak-ng's settings: words a minute, pitch and pitch range (0..100), volume (100 is normal)."""

    rate: int
    pitch: int
    range: int
    volume: int


STYLES = {
    "anger": Style(rate=210, pitch=58, range=85, volume=115),
    "fear": Style(rate=230, pitch=80, range=45, volume=75),
    "happiness": Style(rate=190, pitch=70, range=95, volume=105),
    "neutral": Style(rate=170, pitch=45, range=50, volume=90),
    "sadness": Style(rate=120, pitch=35, range=20, volume=60),
}
_SPREAD = Style(
    rate=12, pitch=5, range=6, volume=12
)  # each clip differs from its style by up to this, either way

VOICES = ("de+m1", "de+f2", "en+m3", "en+f4")
_SENTENCES = {
    "de": (
        "Der Zug kommt um sieben Uhr an.",
        "Die Schlüssel liegen auf dem Tisch.",
        "Morgen gehen wir zusammen in die Stadt.",
        "Das Fenster im Flur steht noch offen.",
        "Er hat den Brief gestern geschrieben.",
        "Heute Abend bleibe ich zu Hause.",
    ),
    "en": (
        "The train arrives at seven o'clock.",
        "The keys are lying on the table.",
        "Tomorrow we will walk into town together.",
        "The window in the hall is still open.",
        "He wrote the letter yesterday.",
        "This evening I am staying at home.",
    ),
}

_README = """This speech is synthetic: espeak-ng spoke it, and the "emotions" are settings of its rate, pitch,
pitch range and
volume. It exercises the toolchain where there are no recordings. A model trained on it knows nothing about
people, and its accuracy means nothing.
"""


def synthesise(
    folder: Path, seconds: float = 180, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write `label/clip.wav` recordings (16 kHz, 16-bit, mono) of at least `seconds` in all.

    Returns `folder`. Each class has the same sentences in the same voices; a file's name begins with its
    voice. The same seed, length and espeak-ng give the same bytes. `progress(done, total)` counts seconds.
    Raises SerqError if espeakng-loader is not installed or does not work, `seconds` is not between 1 and
    3600, or `folder` exists and is not an earlier result.
    """
    if not (math.isfinite(seconds) and 1 <= seconds <= MAX_SECONDS):
        raise SerqError(f"{seconds:g} seconds of synthetic speech cannot be made; ask for 1 to {MAX_SECONDS}")
    if seed < 0:
        raise SerqError(f"the seed {seed} must not be negative")
    rng = np.random.default_rng(seed)
    with _Espeak() as espeak, new_folder(folder, MARKER) as fresh:
        samples = 0
        for number in itertools.count():
            voice = VOICES[number % len(VOICES)]
            sentences = _SENTENCES[voice[:2]]
            sentence = sentences[number // len(VOICES) % len(sentences)]
            for label, style in STYLES.items():
                pcm = espeak.speak(voice, _vary(style, rng), sentence)
                samples += len(pcm)
                clip = fresh / label / f"{voice.replace('+', '-')}_{number:03d}.wav"
                clip.parent.mkdir(exist_ok=True)
                clip.write_bytes(_wav(pcm))
            if progress:
                progress(min(samples // SAMPLE_RATE, int(seconds)), int(seconds))
            if samples >= seconds * SAMPLE_RATE:
                break
        (fresh / "README.txt").write_text(_README, encoding="utf-8")
        made = {
            "synthetic": True,
            "engine": f"espeak-ng {espeak.version}",
            "seconds": seconds,
            "seed": seed,
            "voices": VOICES,
        }
        (fresh / MARKER).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return folder


def _vary(style: Style, rng: np.random.Generator) -> Style:
    def near(centre: int, spread: int) -> int:
        return centre + int(rng.integers(-spread, spread + 1))

    return Style(
        near(style.rate, _SPREAD.rate),
        near(style.pitch, _SPREAD.pitch),
        min(near(style.range, _SPREAD.range), 100),
        near(style.volume, _SPREAD.volume),
    )


def _wav(pcm: npt.NDArray[np.int16]) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.astype("<i2").tobytes())
    return data.getvalue()


class _Espeak:
    """espeak-ng through ctypes (`speak_lib.h`), as a private copy of the library.

    The synthesiser keeps its state in static variables that nothing resets, so the same sentence sounds
    different the second time; a fresh copy begins from the same state every time.
    """

    _RETRIEVAL, _DONT_EXIT, _UTF8 = 1, 0x8000, 1
    _RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
    _CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

    def __enter__(self) -> _Espeak:
        self._chunks: list[bytes] = []
        self._library, data_path = _private_copy()
        self._rate = self._library.espeak_Initialize(self._RETRIEVAL, 0, data_path.encode(), self._DONT_EXIT)
        if self._rate <= 0:
            raise SerqError(
                "espeak-ng cannot find its data; install it again: pip install --force-reinstall"
                " 'serq-mcu[demo]'"
            )
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the library seeds its noise from the clock
        self._callback = self._CALLBACK(self._take)  # kept: the library holds only the address
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version = self._library.espeak_Info(None).decode()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.espeak_Terminate()

    def speak(self, voice: str, style: Style, text: str) -> npt.NDArray[np.int16]:
        """Speak `text` as int16 [samples] at 16 kHz."""
        import soxr

        self._chunks.clear()
        self._try(self._library.espeak_SetVoiceByName(voice.encode()), f"set the voice {voice}")
        settings = {
            self._RATE: style.rate,
            self._PITCH: style.pitch,
            self._RANGE: style.range,
            self._VOLUME: style.volume,
        }
        for parameter, value in settings.items():
            self._try(
                self._library.espeak_SetParameter(parameter, value, 0),
                f"set parameter {parameter} to {value}",
            )
        data = text.encode() + b"\0"
        self._try(
            self._library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, self._UTF8, None, None),
            "speak",
        )
        self._try(self._library.espeak_Synchronize(), "speak")
        pcm = np.frombuffer(b"".join(self._chunks), dtype=np.int16)
        if not pcm.any():
            raise SerqError(
                f"espeak-ng said nothing with the voice {voice}; install it again: pip install"
                " --force-reinstall 'serq-mcu[demo]'"
            )
        signal = soxr.resample(pcm.astype(np.float64), self._rate, SAMPLE_RATE, quality="HQ")
        return np.asarray(np.clip(np.rint(signal), -32768, 32767), dtype=np.int16)

    def _take(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    @staticmethod
    def _try(status: int, what: str) -> None:
        if status != 0:
            raise SerqError(
                f"espeak-ng could not {what} (error {status}); install it again: pip install"
                " --force-reinstall 'serq-mcu[demo]'"
            )


def _private_copy() -> tuple[Any, str]:
    """Load a library of our own, and return it with the folder of its data."""
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise SerqError(
            "synthetic speech needs espeak-ng; install it with: pip install 'serq-mcu[demo]'"
        ) from error
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return ctypes.CDLL(shutil.copy(loader.get_library_path(), folder)), loader.get_data_path()
    except OSError as error:
        raise SerqError(
            f"espeak-ng cannot be loaded ({error}); install it again: pip install --force-reinstall"
            " 'serq-mcu[demo]'"
        ) from error
