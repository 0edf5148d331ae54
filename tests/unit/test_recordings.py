"""Recordings as people have them: read with the right samples whatever they are called, or refused for the
right reason.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serq_mcu.corpus.audio import read_audio, seconds_of
from serq_mcu.corpus.containers import identify
from serq_mcu.corpus.mpeg import count_frames
from serq_mcu.corpus.quality import remarks
from serq_mcu.errors import SerqError

RATE = 16000


def tone(seconds: float = 1.0, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    """A rising tone, so that a shift in time shows."""
    time = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * (200 + 300 * time) * time)


def encoded(rate: int = RATE, **options: Any) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, tone(rate=rate), rate, **options)
    return data.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


WAV = encoded(format="WAV", subtype="PCM_16")
PCM = np.frombuffer(WAV[44:], np.int16)

# the note, samples that a decoder may add at the end, and the root mean square of its error beside full scale
ENCODINGS: list[tuple[dict[str, Any], str, int, float]] = [
    ({"format": "WAV", "subtype": "ULAW"}, "U-Law decoded", 0, 0.005),
    ({"format": "WAV", "subtype": "ALAW"}, "A-Law decoded", 0, 0.005),
    ({"format": "WAV", "subtype": "IMA_ADPCM"}, "IMA ADPCM decoded", 1016, 0.02),
    ({"format": "WAV", "subtype": "MS_ADPCM"}, "Microsoft ADPCM decoded", 1012, 0.01),
    ({"format": "WAV", "subtype": "GSM610"}, "GSM 6.10 decoded", 320, 0.1),
    ({"format": "WAV", "subtype": "G721_32"}, "32kbs G721 ADPCM decoded", 120, 0.02),
    ({"format": "WAV", "subtype": "PCM_16", "endian": "BIG"}, "", 0, 0),
    ({"format": "RF64", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "W64", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "W64", "subtype": "ULAW"}, "U-Law decoded", 0, 0.005),
    ({"format": "AU", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "AU", "subtype": "PCM_16", "endian": "LITTLE"}, "", 0, 0),
    ({"format": "AU", "subtype": "ULAW"}, "U-Law decoded", 0, 0.005),
    ({"format": "CAF", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "CAF", "subtype": "PCM_24"}, "24-bit reduced to 16", 0, 0.0001),
    ({"format": "CAF", "subtype": "ALAC_16"}, "16 bit ALAC decoded", 0, 0.0001),
    ({"format": "AIFF", "subtype": "ULAW"}, "U-Law decoded", 0, 0.005),
    ({"format": "NIST", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "PAF", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "PVF", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "AVR", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "SVX", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "IRCAM", "subtype": "PCM_16"}, "", 0, 0),
    ({"format": "MP3", "subtype": "MPEG_LAYER_III"}, "MPEG Layer III decoded", 0, 0.01),
    ({"format": "OGG", "subtype": "VORBIS"}, "Vorbis decoded", 0, 0.01),
    ({"format": "OGG", "subtype": "OPUS"}, "Opus decoded", 0, 0.03),
    ({"format": "FLAC", "subtype": "PCM_24"}, "24-bit reduced to 16", 0, 0.0001),
]


@pytest.mark.parametrize(
    ("options", "note", "added", "error"),
    ENCODINGS,
    ids=[f"{o['format']}-{o['subtype']}" for o, *_ in ENCODINGS],
)
def test_what_libsndfile_reads_is_read_whatever_it_is_called(
    tmp_path: Path, options: dict[str, Any], note: str, added: int, error: float
) -> None:
    path = put(tmp_path / "a.wav", encoded(**options))
    audio = read_audio(path, RATE)
    assert audio.notes == ((note,) if note else ())
    assert PCM.size <= audio.pcm.size <= PCM.size + added
    differences = audio.pcm[: PCM.size].astype(float) - PCM
    assert np.sqrt(np.mean(np.square(differences))) <= 32768 * error
    assert seconds_of(path) == pytest.approx(audio.pcm.size / RATE, abs=0.05)


TELL_LENGTH = (
    "WAV",
    "RF64",
    "W64",
    "AU",
    "CAF",
    "AIFF",
    "MP3",
    "OGG",
    "FLAC",
)  # headers of the others do not


def wave_file(*chunks: tuple[bytes, bytes, int | None], pad: bool = True) -> bytes:
    """A WAV file of these chunks; a chunk's length is stated wrongly if one is given."""
    body = b"WAVE"
    for name, content, stated in chunks:
        length = len(content) if stated is None else stated
        body += name + (length & 0xFFFFFFFF).to_bytes(4, "little") + content
        body += b"\0" * (len(content) % 2 if pad else 0)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


FORMAT = (b"fmt ", WAV[20:36], None)
STEREO = (b"fmt ", struct.pack("<HHIIHH", 1, 2, 48_000, 4 * 48_000, 4, 16), None)
DATA = WAV[44:]
LIST = (b"LIST", b"INFOISFT\x05\0\0\0Lavf\0", None)


@pytest.mark.parametrize(
    "data",
    [
        *(wave_file(FORMAT, (b"data", DATA, length)) for length in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF024, 0)),
        *(wave_file(FORMAT, (b"data", DATA, len(DATA) + excess)) for excess in (8, 36, 44)),
        WAV[:4] + b"\xff\xff\xff\xff" + WAV[8:40] + b"\xff\xff\xff\xff" + DATA,  # written to a pipe
        WAV[:4] + bytes(4) + WAV[8:40] + bytes(4) + DATA,  # lost power
        wave_file(FORMAT, LIST, (b"data", DATA, None), pad=False),
        wave_file((b"junk", b"odd", None), FORMAT, (b"data", DATA, 0xFFFFFFFF), pad=False),
    ],
)
def test_lengths_that_were_never_written_or_are_off_are_read_to_the_end(tmp_path: Path, data: bytes) -> None:
    audio = read_audio(put(tmp_path / "a.wav", data), RATE)
    assert np.array_equal(audio.pcm, PCM)
    assert len(audio.notes) == 1 and ("header" in audio.notes[0] or "padding" in audio.notes[0])


@pytest.mark.parametrize(
    "data",
    [
        wave_file(FORMAT, LIST, (b"data", DATA, None), LIST),
        wave_file(FORMAT, (b"data", DATA, None)) + b"TAG" + bytes(125),  # ID3v1
        wave_file(FORMAT, (b"data", DATA, None)) + b"\0",
        wave_file((b"JUNK", bytes(28), None), (b"bext", bytes(602), None), FORMAT, (b"data", DATA, None)),
    ],
)
def test_other_chunks_need_no_note(tmp_path: Path, data: bytes) -> None:
    audio = read_audio(put(tmp_path / "a.wav", data), RATE)
    assert np.array_equal(audio.pcm, PCM) and audio.notes == ()


@pytest.mark.parametrize(
    "options", [options for options, *_ in ENCODINGS if options["format"] in TELL_LENGTH]
)
def test_what_is_cut_is_refused_in_every_container(tmp_path: Path, options: dict[str, Any]) -> None:
    data = encoded(**options)
    for left in (len(data) * 2 // 3, len(data) - 100):
        with pytest.raises(SerqError, match=r"is truncated|cannot be decoded|encoding that is not read"):
            read_audio(put(tmp_path / "a.wav", data[:left]), RATE)


def test_an_empty_data_chunk_holds_no_samples(tmp_path: Path) -> None:
    for data in (wave_file(FORMAT, (b"data", b"", None)), wave_file(FORMAT, (b"data", b"", None), LIST)):
        with pytest.raises(SerqError, match="holds no samples"):
            read_audio(put(tmp_path / "a.wav", data), RATE)


def without_count(data: bytes) -> bytes:
    """An MP3 file without the frame that counts the others."""
    frames = count_frames(io.BytesIO(data), len(data))
    return data[frames.begin :]


def test_mp3_without_a_count_or_with_a_wrong_one_is_read_to_its_end(tmp_path: Path) -> None:
    data = encoded(format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.3)
    frames = count_frames(io.BytesIO(data), len(data))
    whole = read_audio(put(tmp_path / "a.mp3", data), RATE).pcm
    bare = without_count(data)
    more = data.replace(frames.count.to_bytes(4, "big"), (frames.count // 2).to_bytes(4, "big"), 1)
    for other, note in ((bare, False), (bare + b"TAG" + bytes(125), False), (more, True)):
        audio = read_audio(put(tmp_path / "b.mp3", other), RATE)
        assert frames.count * 576 - 1200 <= audio.pcm.size <= frames.count * 576
        assert any("its header says" in each for each in audio.notes) == note
        delay = int(np.argmax(np.correlate(audio.pcm.astype(float), whole[:4000].astype(float), "valid")))
        left = min(whole.size, audio.pcm.size - delay)
        assert np.abs(audio.pcm[delay : delay + left].astype(int) - whole[:left]).max() < 200
    with pytest.raises(SerqError, match="truncated"):
        read_audio(put(tmp_path / "c.mp3", bare[:-5]), RATE)


@pytest.mark.parametrize("options", [{"format": "MP3"}, {"format": "OGG"}])
def test_recordings_that_were_joined_as_bytes_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    data = encoded(**options)
    if options["format"] == "MP3":
        data = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + data
    with pytest.raises(SerqError, match=r"is several \w+ recordings one after another"):
        read_audio(put(tmp_path / "a.mp3", data + data), RATE)


OTHERS = {
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "git lfs pull",
    ),
    "git-annex pointer": (b"/annex/objects/SHA256E-s1--00.wav\n", "git annex get"),
    "web page": (b"\n<!DOCTYPE html><title>404</title>", "is a web page, most likely of a failed download"),
    "XML": (b"<?xml version='1.0'?><Error/>", "is XML"),
    "JSON": (b'{"error": "rate limit"}', "is JSON"),
    "zip": (b"PK\x03\x04" + bytes(40), "is an archive; unpack it"),
    "PDF": (b"%PDF-1.7", "is a document or picture"),
    "numpy": (b"\x93NUMPY\x01\0", "is an array of numbers"),
    "text": (b"file,label\na,b\n", "is text and not a recording"),
    "zeros": (bytes(4096), "begins with zeros"),
    "raw samples": (DATA[1000:], r"if its 31000 bytes are raw samples, convert them to WAV with the rate"),
    "MIDI": (b"MThd\0\0\0\x06", "is MIDI"),
    "SampleVision": (b"SOUND SAMPLE DATA 2.1 ", "is a sound file of a program that few have; convert it"),
    "MAUD": (b"FORM\0\0\xeb\x0aMAUDMHDR", "is a sound file of a program that few have; convert it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_recording_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    data, message = OTHERS[name]
    with pytest.raises(SerqError, match=message) as refused:
        read_audio(put(tmp_path / "a.wav", data), RATE)
    assert "\n" not in str(refused.value) and "a.wav" in str(refused.value)


# --- what ffmpeg decodes, with a stand-in for it
# ---------------------------------------------------------------------------------------------------------

BY_FFMPEG = {
    "mov": b"\0\0\0\x20ftypM4A ",
    "matroska": b"\x1aE\xdf\xa3\x9fB\x86\x81",
    "aac": b"\xff\xf1\x60\x40",
    "amr": b"#!AMR\n",
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "mp3": b"\xff\xfd\x80\x04",  # Layer II
    "ogg": b"OggS\0\x02" + bytes(20) + b"\x01\x05\x7fFLAC",
    "wv": b"wvpk",
    "voc": b"Creative Voice File\x1a",
}


def in_wav(tag: int) -> bytes:
    """A WAV file of another coding, whose format is not the first chunk."""
    return wave_file(LIST, (b"fmt ", tag.to_bytes(2, "little") + FORMAT[1][2:], None), (b"data", DATA, None))


@pytest.mark.parametrize(
    ("tag", "coding"),
    [(0x20, "Yamaha ADPCM"), (0x45, r"G\.726"), (0x50, "MPEG Layer I or II"), (0x28F, r"G\.722")],
)
def test_a_coding_of_wav_that_libsndfile_lacks_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: int, coding: str
) -> None:
    path = put(tmp_path / "a.wav", in_wav(tag))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SerqError, match=rf"is WAV with {coding}, which is read where ffmpeg is installed"):
        read_audio(path, RATE)
    put(tmp_path / "decoded", WAV)
    script = f"""
assert sys.argv[sys.argv.index("-f") + 1] == "wav", sys.argv
sys.stdout.buffer.write(open({str(tmp_path / "decoded")!r}, "rb").read())
"""
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script))
    audio = read_audio(path, RATE)
    assert np.array_equal(audio.pcm, PCM) and re.match(f"WAV with {coding} decoded", audio.notes[0])


def stand_in(folder: Path, script: str) -> str:
    """A program `ffmpeg` that runs Python; returns the search path with it in front."""
    folder.mkdir()
    program = put(folder / "ffmpeg", f"#!{sys.executable}\nimport sys\n{script}".encode())
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("demuxer", BY_FFMPEG)
def test_without_ffmpeg_it_is_said_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demuxer: str
) -> None:
    assert identify(BY_FFMPEG[demuxer]).demuxer == demuxer
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SerqError, match=r"which is read where ffmpeg is installed; install ffmpeg, or convert"
    ):
        read_audio(put(tmp_path / "a.wav", BY_FFMPEG[demuxer]), RATE)


def test_ffmpeg_is_told_the_format_and_what_it_decodes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = encoded(format="WAV", subtype="FLOAT")
    place = streamed.index(b"data") + 4
    put(tmp_path / "decoded", streamed[:place] + b"\xff\xff\xff\xff" + streamed[place + 4 :])
    script = f"""
a = sys.argv
assert a[a.index("-f") + 1] == "mov" and a[a.index("-i") + 1] == "file:{tmp_path}/-i odd.m4a", a
assert a[a.index("-protocol_whitelist") + 1] == "file,pipe"
sys.stdout.buffer.write(open({str(tmp_path / "decoded")!r}, "rb").read())
"""
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script))
    audio = read_audio(put(tmp_path / "-i odd.m4a", BY_FFMPEG["mov"]), RATE)
    assert audio.notes == ("MP4 or M4A decoded by ffmpeg",)
    assert np.abs(audio.pcm.astype(int) - PCM).max() <= 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "sys.stderr.write('x\\n\\ta.m4a: Invalid data\\n'); sys.exit(1)",
            r"cannot decode it \(a.m4a: Invalid data\)",
        ),
        (
            f"sys.stderr.write('[mov @ 0x55f8] partial file\\n'); sys.stdout.buffer.write({WAV!r})",
            r"decodes a part of it \(partial file\); it is cut or damaged",
        ),
        ("sys.exit(3)", r"cannot decode it \(exit status 3\)"),
        ("pass", "is truncated"),
        ("import time; time.sleep(30)", "ffmpeg needed more than 0.2 s"),
    ],
)
def test_what_ffmpeg_cannot_decode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    if "sleep" in script:
        monkeypatch.setattr("serq_mcu.corpus.audio.FFMPEG_SECONDS", 0.2)
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script))
    with pytest.raises(SerqError, match=message):
        read_audio(put(tmp_path / "a.m4a", BY_FFMPEG["mov"]), RATE)


@pytest.mark.parametrize(
    "data",
    [
        in_wav(0x65),
        b"RIFF" + (4 + 600).to_bytes(4, "little") + b"AVI " + bytes(600),
        b"OggS\0\x02" + bytes(20) + b"\x01\x69\x7fFLAC" + bytes(100),
    ],
    ids=["WAV", "AVI", "Ogg"],
)
def test_what_is_cut_is_refused_before_ffmpeg_would_shorten_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    put(tmp_path / "decoded", WAV)
    script = f"sys.stdout.buffer.write(open({str(tmp_path / 'decoded')!r}, 'rb').read())"
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script))
    assert np.array_equal(read_audio(put(tmp_path / "whole", data), RATE).pcm, PCM)
    with pytest.raises(SerqError, match="is truncated"):
        read_audio(put(tmp_path / "cut", data[: len(data) * 2 // 3]), RATE)


# --- limits
# ---------------------------------------------------------------------------------------------------------


def bombs(folder: Path) -> list[Path]:
    """Files that claim or unpack to far more than they are."""
    sparse = put(folder / "sparse.wav", wave_file(FORMAT, (b"data", b"", 0xFFFFFFFF)))
    with sparse.open("r+b") as file:
        file.truncate(1 << 32)
    longest = put(folder / "longest.wav", wave_file(STEREO, (b"data", b"", 4 * 48_000 * 600)))
    with longest.open("r+b") as file:
        file.truncate(longest.stat().st_size + 4 * 48_000 * 600)
    flac = bytearray(encoded(format="FLAC", subtype="PCM_16"))
    flac[21] |= 0x0F  # the upper bits of its number of samples
    return [
        sparse,
        longest,  # is read
        put(folder / "chunks.wav", b"RIFF\0\0\0\0WAVE" + b"abcd\0\0\0\0" * 500_000),
        put(folder / "frames.mp3", without_count(encoded(48000, format="MP3")) * 650),
        put(folder / "claims.flac", bytes(flac)),
    ]


def test_bombs_end_within_two_seconds_and_500_megabytes(tmp_path: Path) -> None:
    """In a process of its own, whose memory is limited, and whose time is its own."""
    paths = [str(path) for path in bombs(tmp_path)]
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from serq_mcu.corpus.audio import read_audio\n"
        "from serq_mcu.errors import SerqError\n"
        "for path in sys.argv[1:]:\n"
        "    begin = time.process_time()\n"
        "    try:\n"
        "        read_audio(Path(path), 16000)\n"
        "    except SerqError as error:\n"
        "        pass\n"
        "    print(Path(path).name, time.process_time() - begin)\n"
        # what getrusage says is at least what the parent had
        "(peak,) = [x for x in open('/proc/self/status') if x.startswith('VmHWM')]\n"
        "print('peak', int(peak.split()[1]) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    figures = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert float(figures.pop("peak")) < 500
    assert len(figures) == len(paths) and all(float(seconds) < 2 for seconds in figures.values()), figures


# --- remarks
# ---------------------------------------------------------------------------------------------------------


def test_what_is_odd_about_a_recording_is_remarked(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.1, RATE)
    for samples, words in (
        (np.zeros(RATE), "every sample is zero"),
        (np.stack([noise, -noise], axis=1), "every sample is zero: its channels cancel each other"),
        (noise + 0.05, "its mean is +0.05"),
        (noise + 0.008, "a DC offset, where models are less accurate; take it off, as with a high-pass"),
        (noise * 30, "samples are at full scale: it is clipped"),
        (noise / 1000, "even its loud part is at -79 dB"),
    ):
        soundfile.write(tmp_path / "a.wav", samples, RATE)
        found = remarks(read_audio(tmp_path / "a.wav", RATE), RATE)
        assert len(found) == 1 and words in found[0], found
    soundfile.write(tmp_path / "a.wav", noise[::2], RATE // 2)
    (narrow,) = remarks(read_audio(tmp_path / "a.wav", RATE), RATE)
    assert "nothing is above some 4" in narrow or "nothing is above some 3" in narrow
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    assert remarks(read_audio(tmp_path / "a.wav", RATE), RATE) == ()
