"""One recording to 16-bit mono PCM at the sample rate the front end wants.

Everything is computed in float64 with full scale at 1.0: decoding is exact for up to 32-bit integers,
channels are averaged, the rate is converted by soxr (quality HQ). Then one rounding: value * 32768 to the
nearest integer, ties to even, saturated to -32768..32767. So 16-bit mono at the right rate comes through bit
for bit.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from serq_mcu.base.files import open_regular
from serq_mcu.errors import SerqError

MAX_SECONDS = 600
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8000, 192_000
CANCELLED_DB = -6.0  # of Audio.mix_db: what chance and a delay between microphones do not come near
_BLOCK = (
    1 << 16
)  # samples per channel decoded at a time: memory follows what is there, not what a header claims

_ENCODINGS = {  # libsndfile's subtype: what to say about its reduction to 16 bits
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
    """Decode a WAV, FLAC or AIFF file (recognised by content) to int16 mono at `sample_rate` Hz.

    Raises SerqError if the file is not such audio, is cut short, holds no or NaN samples, is longer than 10
    minutes, or has more than 8 channels, an unusual sample rate or a compressed encoding.
    """
    try:
        with open_regular(path) as file:
            _check_container(path, file)
            signal, rate, notes, mix_db = _decode(path, file)
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
    import soundfile

    try:
        return float(soundfile.info(path).duration)
    except (OSError, soundfile.SoundFileError) as error:
        raise SerqError(
            f"{path} cannot be decoded ({_reason(error)}); it is damaged: fetch or export it again"
        ) from error


def _decode(path: Path, file: BinaryIO) -> tuple[npt.NDArray[np.float64], int, list[str], float]:
    """Decode a recording: mono float64 samples, their rate, notes, and what mixing left (Audio.mix_db)."""
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            _check_header(path, sound)
            blocks, power = _read_blocks(path, sound)
            claimed = sound.frames
    except soundfile.SoundFileError as error:
        raise SerqError(
            f"{path} cannot be decoded ({_reason(error)}); it is damaged: fetch or export it again"
        ) from error
    signal = np.concatenate(blocks) if blocks else np.zeros(0)
    if not signal.size:
        raise SerqError(f"{path} holds no samples; record or fetch it again")
    if signal.size < claimed:
        raise _truncated(path)
    if not np.isfinite(signal).all():
        raise SerqError(f"{path} holds samples that are not numbers (NaN or infinite); export it again")
    notes = (
        []
        if sound.channels == 1
        else [f"{'stereo' if sound.channels == 2 else f'{sound.channels} channels'} mixed to mono"]
    )
    mix_db = _mix_db(signal, power, sound.channels)
    if mix_db < CANCELLED_DB:
        notes[0] += ", whose channels cancel each other"
    if note := _ENCODINGS[sound.subtype]:
        notes.append(note)
    return signal, sound.samplerate, notes, mix_db


def _mix_db(mix: npt.NDArray[np.float64], power: float, channels: int) -> float:
    """Compare the mix of channels, of a summed `power` in all, with that of unrelated ones (Audio.mix_db)."""
    if channels == 1 or not power > 0:
        return 0.0
    with np.errstate(over="ignore"):
        ratio = channels**2 * float(np.sum(np.square(mix))) / power
    return 10 * math.log10(max(ratio, 1e-12)) if math.isfinite(ratio) else 0.0


def _read_blocks(path: Path, sound: Any) -> tuple[list[npt.NDArray[np.float64]], float]:
    """Read the channels' mean, block by block, until the data ends; and all their samples' power."""
    blocks: list[npt.NDArray[np.float64]] = []
    power = 0.0
    room = MAX_SECONDS * sound.samplerate
    while len(block := sound.read(_BLOCK, dtype="float64", always_2d=True)):
        room -= len(block)
        if room < 0:
            raise SerqError(
                f"{path} is longer than {MAX_SECONDS // 60} minutes; cut it into clips of one utterance each"
            )
        with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs; refused below
            blocks.append(block.mean(axis=1))
            power += float(np.sum(np.square(block)))
    return blocks, power


def _check_header(path: Path, sound: Any) -> None:
    if sound.subtype not in _ENCODINGS:
        raise SerqError(f"{path} is {sound.subtype_info}, which is not read; convert it to 16-bit PCM")
    if not 1 <= sound.channels <= MAX_CHANNELS:
        raise SerqError(f"{path} has {sound.channels} channels; mix it to mono or stereo")
    if not MIN_RATE <= sound.samplerate <= MAX_RATE:
        raise SerqError(
            f"{path} has a sample rate of {sound.samplerate} Hz; it must be {MIN_RATE} to {MAX_RATE} Hz"
        )


def _check_container(path: Path, file: BinaryIO) -> None:
    """Refuse what is not WAV, FLAC or AIFF, and a WAV or AIFF whose sound data is cut.

    libsndfile shortens those silently.
    """
    size = os.fstat(file.fileno()).st_size
    magic = file.read(12)
    if size == 0:
        raise SerqError(f"{path} is empty (zero bytes); record or fetch it again")
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        whole = _chunk_fits(file, size, b"data", "little")
    elif magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
        whole = _chunk_fits(file, size, b"SSND", "big")
    elif magic[:4] == b"fLaC":
        whole = True  # its frames are counted while decoding
    else:
        raise SerqError(f"{path} is not a WAV, FLAC or AIFF file; convert it to 16-bit WAV")
    if not whole:
        raise _truncated(path)
    file.seek(0)


def _chunk_fits(file: BinaryIO, size: int, wanted: bytes, order: Any) -> bool:
    """Tell whether the chunk `wanted` is there and is inside the file."""
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], order)
        if header[:4] == wanted:
            return file.tell() + length <= size
        file.seek(length + length % 2, os.SEEK_CUR)
    return False


def _resample(signal: npt.NDArray[np.float64], rate: int, target: int) -> npt.NDArray[np.float64]:
    import soxr

    return np.asarray(soxr.resample(signal, rate, target, quality="HQ"), dtype=np.float64)


def _truncated(path: Path) -> SerqError:
    return SerqError(f"{path} is truncated: it holds less than its header says; fetch or export it again")


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".").strip()
