"""How many frames an MP3 file has, and a header that says so.

Decoders learn the length of a file from a first frame without sound (Xing's or LAME's, "Info"). Where it is
missing they guess from the first bit rate, and where files were joined it counts the first file alone: both
would end the recording too soon. ISO/IEC 11172-3 and 13818-3 have the frames' headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}  # Hz, by version
_KBITS = {  # of Layer III, by version: 1, or 2 and 2.5
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MOST_FRAMES = 1 << 20  # 10 minutes have some 23,000
_TAG_BYTES = 160  # a frame that holds the header's fields
_TAGS = (b"Xing", b"Info")


@dataclass(frozen=True)
class Frame:
    """A frame's header: its four bytes, its length in bytes, and where its side information ends."""

    header: bytes
    length: int
    side: int


@dataclass(frozen=True)
class Frames:
    """The frames of a file.

    begin: where the first with sound begins; count: how many there are; told: how many the file says, or
    None; complete: whether the last one is whole; joined: whether another file follows.
    """

    first: Frame
    begin: int
    count: int
    told: int | None
    complete: bool
    joined: bool


def count_frames(file: BinaryIO, size: int) -> Frames | None:
    """Count the frames of an MP3 file of `size` bytes; None if there is none where they should begin."""
    place = _after_tags(file)
    first = _frame(file, place)
    if first is None:
        return None
    told = _told(file, place, first)
    if told is not None:
        place += first.length
    begin, count, ahead = place, 0, _frame(file, place)
    while ahead is not None and place + ahead.length <= size and count < _MOST_FRAMES:
        place += ahead.length
        count += 1
        ahead = _frame(file, place)
    return Frames(first, begin, count, told, ahead is None, _after_tags(file, place) > place)


def counting_frame(frames: Frames, size: int) -> bytes:
    """Return a frame without sound that tells a decoder how many follow."""
    version, mono = frames.first.header[1] >> 3 & 3, frames.first.header[3] >> 6 == 3
    for index in range(1, 15):
        third = index << 4 | frames.first.header[2] & 0x0C
        header = bytes((frames.first.header[0], frames.first.header[1] | 1, third, frames.first.header[3]))
        frame = _parsed(header)
        if frame is not None and frame.length >= _TAG_BYTES:
            body = header + bytes(_side(version, mono=mono)) + b"Info" + (3).to_bytes(4, "big")
            body += frames.count.to_bytes(4, "big") + (size - frames.begin + frame.length).to_bytes(4, "big")
            return body.ljust(frame.length, b"\0")
    raise AssertionError("every version has a bit rate of such long frames")


def _after_tags(file: BinaryIO, place: int = 0) -> int:
    """Return the place after the ID3v2 tags that begin at one."""
    for _ in range(8):
        file.seek(place)
        header = file.read(10)
        if header[:3] != b"ID3" or len(header) < 10:
            break
        length = sum((byte & 0x7F) << shift for byte, shift in zip(header[6:], (21, 14, 7, 0), strict=True))
        place += 10 + length + (10 if header[5] & 0x10 else 0)
    return place


def _frame(file: BinaryIO, place: int) -> Frame | None:
    file.seek(place)
    return _parsed(file.read(4))


def _parsed(header: bytes) -> Frame | None:
    """Read a frame's header; None if it is none of Layer III."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    kilobits = _KBITS[3 if version == 3 else 2][bits]
    length = samples // 8 * kilobits * 1000 // _RATES[version][rate] + (header[2] >> 1 & 1)
    crc = 0 if header[1] & 1 else 2
    return Frame(header, length, 4 + crc + _side(version, mono=header[3] >> 6 == 3))


def _side(version: int, *, mono: bool) -> int:
    """Return the bytes of a frame's side information."""
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _told(file: BinaryIO, place: int, first: Frame) -> int | None:
    """Return the number of frames that a first frame without sound tells; None if it tells none."""
    for offset in (first.side, 4 + 32):  # Fraunhofer's tag stands at a fixed place
        file.seek(place + offset)
        tag = file.read(18)
        if tag[:4] in _TAGS and tag[7:8] and tag[7] & 1:
            return int.from_bytes(tag[8:12], "big")
        if tag[:4] == b"VBRI" and len(tag) == 18:
            return int.from_bytes(tag[14:18], "big")
    return None
