"""What a file is by its first bytes, whatever its name says, and where its samples begin and end.

Lengths in headers are not believed: recorders that lose power, programs that write to a pipe, and careless
ones leave lengths of 0, the greatest number, or some that are off by the size of the header. Such files are
read to their end; shorter ones than their header says are cut and refused.

RIFF: Microsoft and IBM, "Multimedia programming interface and data specifications 1.0", 1991. RF64: EBU Tech
3306. W64: Sonic Foundry. AIFF: Apple, 1989. AU: Sun. CAF: Apple, "Core Audio Format specification".
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from serq_mcu.corpus.mpeg import count_frames, counting_frame

HEAD = 64  # bytes from which a file is recognised


@dataclass(frozen=True)
class Container:
    """A kind of sound file.

    demuxer: what ffmpeg calls it, "" where libsndfile reads it.
    """

    name: str
    demuxer: str = ""


_SOUNDS = (  # a pattern of the first bytes, and what it is
    (rb"RIFF....WAVE", Container("WAV")),
    (rb"RIFX....WAVE", Container("RIFX")),
    (rb"RF64....WAVE", Container("RF64")),
    (rb"riff\x2e\x91\xcf\x11", Container("W64")),
    (rb"FORM....AIF[FC]", Container("AIFF")),
    (rb"FORM....(?:8SVX|16SV)", Container("SVX")),
    (rb"fLaC", Container("FLAC")),
    (rb"\.snd|dns\.", Container("AU")),
    (rb"caff", Container("CAF")),
    (rb"OggS.{24}\x7fFLAC|OggS.{24}Speex", Container("FLAC or Speex in Ogg", "ogg")),
    (rb"OggS", Container("Ogg")),
    (rb"NIST_1A", Container("NIST SPHERE")),
    (rb" paf|fap ", Container("PAF")),
    (rb"PVF1\n", Container("PVF")),
    (rb"2BIT", Container("AVR")),
    (rb"ALawSoundFile", Container("WVE")),
    (rb"\x64\xa3[\x00-\x04]\x00", Container("IRCAM")),
    (rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", Container("MP3")),
    (rb"\xff[\xf4-\xf7\xfc-\xff]", Container("MPEG Layer I or II", "mp3")),
    (rb"....ftyp", Container("MP4 or M4A", "mov")),
    (rb"\x1aE\xdf\xa3", Container("WebM or Matroska", "matroska")),
    (rb"\xff[\xf0\xf1\xf8\xf9]", Container("AAC", "aac")),
    (rb"#!AMR", Container("AMR", "amr")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Container("WMA (ASF)", "asf")),
    (rb"RIFF....AVI ", Container("AVI", "avi")),
    (rb"Creative Voice File", Container("VOC", "voc")),
    (rb"\x0bw", Container("AC-3", "ac3")),
    (rb"wvpk", Container("WavPack", "wv")),
    (rb"MAC ", Container("Monkey's Audio", "ape")),
    (rb"TTA1", Container("TTA", "tta")),
    (rb"ajkg", Container("Shorten", "shn")),
)
_CODINGS = {  # of WAV files, which ffmpeg decodes and libsndfile does not; the tags are those of RFC 2361
    0x14: "G.723 ADPCM",
    0x20: "Yamaha ADPCM",
    0x22: "TrueSpeech",
    0x42: "G.723.1",
    0x45: "G.726",
    0x50: "MPEG Layer I or II",
    0x64: "G.726",
    0x65: "G.722",
    0xFF: "AAC",
    0x160: "WMA",
    0x161: "WMA",
    0x162: "WMA",
    0x28F: "G.722",
    0x2000: "AC-3",
    0xF1AC: "FLAC",
}
_OTHERS = (  # and what to do about it
    (rb"version https://git-lfs", "is a Git LFS pointer and not the recording; run git lfs pull"),
    (
        rb"/annex/objects/|\.\./.*annex/objects",
        "is a git-annex pointer and not the recording; run git annex get",
    ),
    (rb"\s*(?i:<!doctype html|<html)", "is a web page, most likely of a failed download; download it again"),
    (rb"\s*<", "is XML and not a recording; download it again, or remove it"),
    (rb"\s*[{\[]\s*[\"{\[\]}\d-]", "is JSON and not a recording; download it again, or remove it"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "is an archive; unpack it"),
    (rb"%PDF|\x89PNG|\xff\xd8\xff|GIF8", "is a document or picture and not a recording; remove it"),
    (
        rb"SOUND SAMPLE DATA |FORM....MAUD|\x37\0\0\x10\x6d\0\0\x10",
        "is a sound file of a program that few have; convert it to WAV, as with sox",
    ),
    (rb"MThd", "is MIDI, notes and no sound; record it"),
    (rb"\x93NUMPY|\x89HDF", "is an array of numbers and not a recording; write it as WAV"),
)


def identify(head: bytes) -> Container | None:
    """Tell what sound file begins so; None if none that is known."""
    return next((kind for pattern, kind in _SOUNDS if re.match(pattern, head, re.DOTALL)), None)


def container_of(file: BinaryIO, head: bytes, size: int) -> Container | None:
    """Tell what sound file this is by its first bytes, and a WAV file also by its coding; None if none."""
    kind = identify(head)
    if kind is not None and kind.name == "WAV":
        file.seek(12)
        for identifier, _, begin, _ in _chunks(file, size, "little"):
            if identifier == b"fmt ":
                file.seek(begin)
                coding = _CODINGS.get(int.from_bytes(file.read(2), "little"))
                return Container(f"WAV with {coding}", "wav") if coding else kind
    return kind


def refusal(head: bytes, size: int) -> str:
    """Say what a file is that is no sound file, and what to do about it."""
    for pattern, words in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            return words
    if not head.strip(b"\0"):
        return "begins with zeros and has no header, as after a crash or a failed copy; fetch it again"
    printable = all(byte in b"\t\n\r" or byte >= 32 for byte in head)
    if printable:
        return "is text and not a recording; fetch it again, or remove it"
    return (
        f"has no header of a sound file; if its {size} bytes are raw samples, convert them to WAV with the"
        " rate that you know, as with sox -t raw -r 16000 -e signed -b 16 -c 1"
    )


class Truncated(Exception):
    """A header promises more than the file holds."""


class Chained(Exception):
    """Several recordings are in a file, one after another, and decoders stop after the first."""


def samples_of(file: BinaryIO, size: int, container: Container) -> tuple[Any, str]:
    """Return what a decoder shall read in place of a file of `size` bytes, and a note; "" if the file itself.

    Raises Truncated if it is cut, Chained if it has several recordings.
    """
    if container.name.endswith("Ogg"):
        _check_pages(file, size)
    if container.name == "MP3":
        return _mp3(file, size)
    if container.name == "RIFX" or container.name.startswith("WAV"):
        return _wave(file, size, "big" if container.name == "RIFX" else "little")
    claimed = _CLAIMED.get(container.name)
    if claimed is not None:
        begin, length = claimed(file)
        if length is None:
            return file, f"the length is unknown in its {container.name} header; read to the end of the file"
        if length < 0 or begin + length > size:
            raise Truncated
    return file, ""


def _mp3(file: BinaryIO, size: int) -> tuple[Any, str]:
    """Put the number of frames before an MP3 file that does not tell it, or tells too few."""
    frames = count_frames(file, size)
    if frames is None or not frames.count:
        return file, ""
    if frames.joined:
        raise Chained
    if not frames.complete or (frames.told or 0) > frames.count:
        raise Truncated
    if frames.told == frames.count:
        return file, ""
    start = counting_frame(frames, size)
    told = "" if frames.told is None else f"its header says {frames.told} frames and there are {frames.count}"
    return Spliced(start, file, frames.begin, size - frames.begin), told


def _check_pages(file: BinaryIO, size: int) -> None:
    """Raise Truncated or Chained if an Ogg file is."""
    place, sound = 0, False
    while place < size:
        file.seek(place)
        header = file.read(27)
        if len(header) < 27 or header[:4] != b"OggS":
            raise Truncated
        if sound and header[5] & 2:
            raise Chained
        sound = sound or int.from_bytes(header[6:14], "little", signed=True) > 0
        segments = file.read(header[26])
        place += 27 + header[26] + sum(segments)
    if place > size:
        raise Truncated


_MOST_FORMAT, _MOST_CHUNKS = 1 << 16, 10_000  # bytes of a header's chunk that are kept; chunks that are read
_LARGEST = 0x7FFFF000  # lengths from here on stand for "unknown": no data of 2 GiB is a clip
_OFF_BY = (8, 36, 44)  # of a plain header: the file's length less 8, or a header's length, counted in


def _wave(file: BinaryIO, size: int, order: Any) -> tuple[Any, str]:
    """Find the data of a WAV file, and splice a plain header before it if its own cannot be followed."""
    header = file.read(12)
    whole = int.from_bytes(header[4:8], order) + 8
    kept = b""
    odd_note = ""
    for identifier, length, begin, padded in _chunks(file, size, order):
        odd_note = odd_note or ("" if padded else "chunks of odd length lack their padding byte")
        if identifier in (b"fmt ", b"fact"):
            file.seek(begin)
            kept += _chunk(identifier, file.read(min(length, _MOST_FORMAT)), order)
        if identifier == b"data":
            left = size - begin
            followed = length == 0 and _followed(file, begin, size, order)
            actual, note = _actual(length, left, begin, told=whole == size, followed=followed)
            if not (note or odd_note):
                return file, ""
            start = _chunk(b"data", b"", order, actual)
            start = _chunk(header[:4], b"WAVE" + kept + start, order, 4 + len(kept) + 8 + actual)
            return Spliced(start, file, begin, actual), note or odd_note
    raise Truncated


def _chunk(name: bytes, content: bytes, order: Any, length: int | None = None) -> bytes:
    """Return a chunk of RIFF, padded; with a length of its own if more is to follow."""
    size = min(len(content) if length is None else length, 0xFFFFFFFF)
    return name + size.to_bytes(4, order) + content + b"\0" * (len(content) % 2)


def _actual(length: int, left: int, begin: int, *, told: bool, followed: bool) -> tuple[int, str]:
    """Return how many bytes of samples there are, and a note where the header says otherwise.

    length: what the header says; left: from there to the end of the file; begin: where the samples begin;
    told: whether the header tells the length of the whole file rightly; followed: whether other chunks come
    next. Raises Truncated if there are fewer and nothing tells that the header is to blame.
    """
    if length >= _LARGEST or (length == 0 and left and not followed):
        return left, "the length was never written to its header; read to the end of the file"
    excess = length - left
    if excess <= 0:
        return length, ""
    if excess in (*_OFF_BY, begin, begin - 8) or (told and excess <= begin):
        return left, f"its header says {excess} bytes more than there are; read to the end of the file"
    raise Truncated


def _followed(file: BinaryIO, begin: int, size: int, order: Any) -> bool:
    """Tell whether chunks begin at a place that fill the file to its end."""
    file.seek(begin)
    end = begin
    for identifier, length, start, _ in _chunks(file, size, order):
        if not identifier.isascii():
            return False
        end = start + length
    return size - 1 <= end <= size or begin == size


def _chunks(file: BinaryIO, size: int, order: Any) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield the name, length and place of each chunk from here on, and whether it stands where it should.

    A chunk of odd length is followed by a byte of padding, which some programs leave out.
    """
    place, padded = file.tell(), True
    for _ in range(_MOST_CHUNKS):
        if place + 8 > size:
            return
        file.seek(place)
        header = file.read(8)
        length = int.from_bytes(header[4:], order)
        yield header[:4], length, place + 8, padded
        place += 8 + length
        padded = True
        if length % 2:
            file.seek(place)
            ahead = file.read(5)
            padded = not _is_name(ahead[:4]) or _is_name(ahead[1:5])
            place += padded


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and bool(re.fullmatch(rb"[A-Za-z0-9_]{3}[A-Za-z0-9_ ]", name))


def _avi(file: BinaryIO) -> tuple[int, int | None]:
    file.seek(4)
    length = int.from_bytes(file.read(4), "little")
    return 8, length if 0 < length < _LARGEST else None


def _aiff(file: BinaryIO) -> tuple[int, int | None]:
    size = os.fstat(file.fileno()).st_size
    file.seek(12)
    for identifier, length, begin, _ in _chunks(file, size, "big"):
        if identifier == b"SSND":
            return begin, length
    return 0, -1


def _rf64(file: BinaryIO) -> tuple[int, int | None]:
    size = os.fstat(file.fileno()).st_size
    file.seek(12)
    data = None
    for identifier, length, begin, _ in _chunks(file, size, "little"):
        if identifier == b"ds64":
            file.seek(begin)
            data = int.from_bytes(file.read(16)[8:], "little")
        if identifier == b"data":
            return begin, data if length == 0xFFFFFFFF else length
    return 0, -1


def _w64(file: BinaryIO) -> tuple[int, int | None]:
    file.seek(40)
    for _ in range(_MOST_CHUNKS):
        header = file.read(24)
        length = int.from_bytes(header[16:], "little") - 24
        if header[:4] == b"data":
            return file.tell(), length
        if len(header) < 24 or length < 0:
            break
        file.seek(min(length + -length % 8, 1 << 40), os.SEEK_CUR)
    return 0, -1


def _au(file: BinaryIO) -> tuple[int, int | None]:
    file.seek(0)
    header = file.read(12)
    order: Any = "big" if header[:4] == b".snd" else "little"
    begin, length = int.from_bytes(header[4:8], order), int.from_bytes(header[8:], order)
    return begin, None if length == 0xFFFFFFFF else length


def _caf(file: BinaryIO) -> tuple[int, int | None]:
    file.seek(8)
    for _ in range(_MOST_CHUNKS):
        header = file.read(12)
        length = int.from_bytes(header[4:], "big", signed=True)
        if header[:4] == b"data":
            return file.tell(), None if length == -1 else length
        if len(header) < 12 or length < 0:
            break
        file.seek(min(length, 1 << 40), os.SEEK_CUR)
    return 0, -1


_CLAIMED = {"AIFF": _aiff, "AVI": _avi, "RF64": _rf64, "W64": _w64, "AU": _au, "CAF": _caf}


class Spliced(io.RawIOBase):
    """A file that begins with other bytes: `start`, then `length` bytes of a file from `begin` on."""

    def __init__(self, start: bytes, file: BinaryIO, begin: int, length: int) -> None:
        self._start, self._file, self._begin = start, file, begin
        self._size = len(start) + length
        self._place = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place from which is read next."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place; returns it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as there are bytes; returns how many."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._place))
        first = self._start[self._place : self._place + wanted]
        view[: len(first)] = first
        if len(first) < wanted:
            self._file.seek(self._begin + self._place + len(first) - len(self._start))
            rest = self._file.read(wanted - len(first))
            view[len(first) : len(first) + len(rest)] = rest
            wanted = len(first) + len(rest)
        self._place += wanted
        return wanted
