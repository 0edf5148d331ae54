"""One recording to 16-bit mono PCM at the sample rate the front end wants.

libsndfile decodes what it knows; for the rest ffmpeg does, if it is installed. A file is recognised by its
first bytes and not by its name (`containers.py`).

Everything is computed in float64 with full scale at 1.0: decoding is exact for up to 32-bit integers,
channels are averaged, the rate is converted by soxr (quality HQ). Then one rounding: value * 32768 to the
nearest integer, ties to even, saturated to -32768..32767. So 16-bit mono at the right rate comes through bit
for bit.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from serq_mcu.base.files import open_regular
from serq_mcu.corpus.containers import HEAD, Chained, Container, Truncated, container_of, refusal, samples_of
from serq_mcu.errors import SerqError

MAX_SECONDS = 600
MAX_FRAMES = MAX_SECONDS * 48_000  # a file of some KB can claim any number
MAX_VALUES = 2 * MAX_FRAMES  # of all channels
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8000, 192_000
MOST_BYTES = 2**31  # of a file: ten minutes of video are as large
CANCELLED_DB = -6.0  # of Audio.mix_db: what chance and a delay between microphones do not come near
FFMPEG_SECONDS = 60
_ADDRESS = re.compile(r"\[[^]]* @ 0x[0-9a-f]+\] ")  # what ffmpeg puts before an error
_MOST_DECODED = 4 * MAX_VALUES + (1 << 20)  # bytes that ffmpeg writes: 32-bit floats, some more than are read
_MPEG_SLACK = 2 * 1152  # samples of two frames: decoders leave out an encoder's delay, containers count it
_ENDLESS = 1 << 62  # frames: what libsndfile says of a stream whose header does not tell
_BLOCK = (
    1 << 16
)  # samples per channel decoded at a time: memory follows what is there, not what a header claims

_ENCODINGS = {  # libsndfile's subtype: what to say about its reduction to 16 bits; of others, what they are
    "PCM_16": None,
    "PCM_S8": "8-bit widened to 16",
    "PCM_U8": "8-bit widened to 16",
    "PCM_24": "24-bit reduced to 16",
    "PCM_32": "32-bit reduced to 16",
    "FLOAT": "float reduced to 16-bit",
    "DOUBLE": "float reduced to 16-bit",
}


@dataclass(frozen=True)
class Audio:
    """A decoded recording: `pcm` int16 [samples], and a note for each conversion it took.

    rate: of the file, Hz. mix_db: the level of the mix against what unrelated channels would leave, dB; so 0
    where one of several channels speaks, 3 where two are alike, far below 0 where they cancel each other.
    """

    pcm: npt.NDArray[np.int16]
    notes: tuple[str, ...]
    rate: int
    mix_db: float = 0.0

    @property
    def cancels(self) -> bool:
        """Whether the channels cancel each other in the mix."""
        return self.mix_db < CANCELLED_DB


def read_audio(path: Path, sample_rate: int) -> Audio:
    """Decode a sound file to int16 mono at `sample_rate` Hz.

    Raises SerqError if the file is none, or none that can be read here, is cut short, holds no or NaN
    samples, is longer than 10 minutes (or than MAX_FRAMES or MAX_VALUES), or has more than 8 channels or an
    unusual sample rate.
    """
    try:
        with open_regular(path) as file:
            container, size = _container(path, file)
            if container.demuxer:
                with _refusals(path, container):
                    samples_of(file, size, container)
                with _by_ffmpeg(path, container) as decoded:
                    size = os.fstat(decoded.fileno()).st_size
                    signal, rate, notes, mix_db = _decode(path, decoded, Container("WAV"), size)
                own = (note for note in notes if "header" not in note and note != _ENCODINGS["FLOAT"])
                notes = [f"{container.name} decoded by ffmpeg", *own]
            else:
                signal, rate, notes, mix_db = _decode(path, file, container, size)
    except OSError as error:
        raise SerqError(f"cannot read {path}: {error.strerror or error}") from error
    if rate != sample_rate:
        signal = _resample(signal, rate, sample_rate)
        if not signal.size:
            raise SerqError(
                f"{path} is too short: nothing is left of it at {sample_rate} Hz; record or fetch it again"
            )
        notes.append(f"{rate} Hz resampled to {sample_rate}")
    if (np.abs(signal) > 1.0).any():
        notes.append("samples beyond full scale clipped")
    return Audio(rounded(signal * 32768.0), tuple(notes), rate, mix_db)


def rounded(signal: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Round to the nearest of 16 bits, ties to even, saturated; the signal itself is overwritten."""
    np.clip(np.rint(signal, out=signal), -32768, 32767, out=signal)
    return signal.astype(np.int16)


def seconds_of(path: Path) -> float:
    """Return the length that a recording's header states.

    Raises SerqError if it has no header that can be read.
    """
    try:
        with path.open("rb") as file:
            container, size = _container(path, file)
            if container.demuxer:
                return read_audio(path, MIN_RATE).pcm.size / MIN_RATE
            with _refusals(path, container):
                view, _ = samples_of(file, size, container)
                view.seek(0)
                with _stream(view) as sound:
                    return float(sound.frames / sound.samplerate)
    except OSError as error:
        raise SerqError(f"cannot read {path}: {error.strerror or error}") from error


def _decode(
    path: Path, file: BinaryIO, container: Container, size: int
) -> tuple[npt.NDArray[np.float64], int, list[str], float]:
    """Decode a recording: mono float64 samples, their rate, notes, and what mixing left (Audio.mix_db)."""
    with _refusals(path, container):
        view, irregular = samples_of(file, size, container)
        view.seek(0)
        with _stream(view) as sound:
            _check_header(path, sound)
            signal, power = _read_mono(path, sound)
            claimed = sound.frames
    if not signal.size and container.name == "Ogg":
        raise _truncated(path)  # libsndfile finds no length where the last page is cut
    if not signal.size:
        raise SerqError(f"{path} holds no samples; record or fetch it again")
    slack = _MPEG_SLACK if sound.subtype.startswith("MPEG") else 0
    if signal.size + slack < claimed < _ENDLESS:
        raise _truncated(path)
    if not np.isfinite(signal).all():
        raise SerqError(f"{path} holds samples that are not numbers (NaN or infinite); export it again")
    notes = [irregular] if irregular else []
    mix_db = _mix_db(signal, power, sound.channels)
    if sound.channels > 1:
        channels = "stereo" if sound.channels == 2 else f"{sound.channels} channels"
        cancelled = ", whose channels cancel each other" if mix_db < CANCELLED_DB else ""
        notes.append(f"{channels} mixed to mono{cancelled}")
    if note := _ENCODINGS.get(sound.subtype, f"{sound.subtype_info} decoded"):
        notes.append(note)
    return signal, sound.samplerate, notes, mix_db


@contextmanager
def _refusals(path: Path, container: Container) -> Iterator[None]:
    """Turn what a decoder raises into a sentence about the file."""
    import soundfile

    try:
        yield
    except Truncated as error:
        raise _truncated(path) from error
    except Chained as error:
        raise SerqError(
            f"{path} is several {container.name} recordings one after another; cut it into one file each, or"
            " convert it to WAV"
        ) from error
    except soundfile.SoundFileError as error:
        if "unsupported encoding" in str(error):
            raise SerqError(
                f"{path} is {container.name} in an encoding that is not read; convert it to WAV"
            ) from error
        raise SerqError(
            f"{path} cannot be decoded ({_reason(error)}); it is damaged: fetch or export it again"
        ) from error


def _stream(view: Any) -> Any:
    """Open a sound file that is read from its beginning to its end: not every encoding can be searched."""
    import soundfile

    class Stream(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Stream(view)


def _mix_db(mix: npt.NDArray[np.float64], power: float, channels: int) -> float:
    """Compare the mix of channels, of a summed `power` in all, with that of unrelated ones (Audio.mix_db)."""
    if channels == 1 or not power > 0:
        return 0.0
    with np.errstate(over="ignore"):
        ratio = channels**2 * float(np.dot(mix, mix)) / power
    return 10 * math.log10(max(ratio, 1e-12)) if math.isfinite(ratio) else 0.0


def _read_mono(path: Path, sound: Any) -> tuple[npt.NDArray[np.float64], float]:
    """Read the channels' mean, block by block, until the data ends; and all their samples' power.

    Raises SerqError if there is too much of it.
    """
    power, done = 0.0, 0
    room = min(MAX_SECONDS * sound.samplerate, MAX_FRAMES, MAX_VALUES // sound.channels)
    if room < sound.frames < _ENDLESS:
        raise _too_long(path)
    mix = np.empty(room)  # whose memory comes as it is written to
    while len(block := sound.read(_BLOCK, dtype="float64", always_2d=True)):
        if done + len(block) > room:
            raise _too_long(path)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs; refused below
            block.mean(axis=1, out=mix[done : done + len(block)])
            power += float(np.sum(np.square(block)))
        done += len(block)
    return mix[:done], power


def _check_header(path: Path, sound: Any) -> None:
    if not 1 <= sound.channels <= MAX_CHANNELS:
        raise SerqError(f"{path} has {sound.channels} channels; mix it to mono or stereo")
    if not MIN_RATE <= sound.samplerate <= MAX_RATE:
        raise SerqError(
            f"{path} has a sample rate of {sound.samplerate} Hz; it must be {MIN_RATE} to {MAX_RATE} Hz"
        )


def _container(path: Path, file: BinaryIO) -> tuple[Container, int]:
    """Return what sound file this is, and its size in bytes; the file is at its beginning again.

    Raises SerqError if it is none.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD)
    if size == 0:
        raise SerqError(f"{path} is empty (zero bytes); record or fetch it again")
    if size > MOST_BYTES:
        raise SerqError(f"{path} is larger than {MOST_BYTES >> 30} GiB; cut it into clips")
    container = container_of(file, head, size)
    if container is None:
        raise SerqError(f"{path} {refusal(head, size)}")
    file.seek(0)
    return container, size


@contextmanager
def _by_ffmpeg(path: Path, container: Container) -> Iterator[BinaryIO]:
    """Decode a recording by ffmpeg into a WAV file without a name, which is gone afterwards.

    The program is told which format it is, so that no playlist within it opens other files. Raises SerqError
    if it is not installed, takes longer than FFMPEG_SECONDS, or cannot decode the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise SerqError(
            f"{path} is {container.name}, which is read where ffmpeg is installed; install ffmpeg, or convert"
            " the file to WAV or FLAC"
        )
    command = [
        program,
        "-v",
        "error",
        "-nostdin",
        "-protocol_whitelist",
        "file,pipe",
        "-f",
        container.demuxer,
    ]
    command += ["-i", f"file:{path.absolute()}", "-map", "0:a:0", "-t", str(MAX_SECONDS + 1)]
    command += ["-fs", str(_MOST_DECODED), "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    with tempfile.TemporaryFile() as decoded:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=decoded,
                stderr=subprocess.PIPE,
                timeout=FFMPEG_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SerqError(
                f"{path}: ffmpeg needed more than {FFMPEG_SECONDS} s; convert the file to WAV"
            ) from error
        said = [_ADDRESS.sub("", line).strip() for line in done.stderr.decode(errors="replace").splitlines()]
        if done.returncode:
            reason = said[-1] if said else f"exit status {done.returncode}"
            raise SerqError(
                f"{path} is {container.name}, and ffmpeg cannot decode it ({reason}); fetch it again"
            )
        if said:
            raise SerqError(
                f"{path} is {container.name}, and ffmpeg decodes a part of it ({said[0]}); it is cut or"
                " damaged: fetch or export it again"
            )
        decoded.seek(0)
        yield decoded


def _resample(signal: npt.NDArray[np.float64], rate: int, target: int) -> npt.NDArray[np.float64]:
    import soxr

    return np.asarray(soxr.resample(signal, rate, target, quality="HQ"), dtype=np.float64)


def _too_long(path: Path) -> SerqError:
    return SerqError(
        f"{path} is longer than {MAX_SECONDS // 60} minutes, or has as many samples; cut it into clips of one"
        " utterance each"
    )


def _truncated(path: Path) -> SerqError:
    return SerqError(f"{path} is truncated: it holds less than its header says; fetch or export it again")


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".").strip()
