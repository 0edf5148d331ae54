"""Microphones: recorded driver words in, exact PCM out, per microphone; the ring loses nothing uncounted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serq_mcu.base.resources import FIRMWARE
from serq_mcu.boards.board import Microphone, all_microphones
from serq_mcu.boards.samples import MAX_DC_SHIFT, Conversion, Converter, conversion
from tests.support.native import SANITIZERS, compile_program, run

SOURCES = FIRMWARE / "lib" / "serq_audio" / "src"
PROGRAMS = Path(__file__).parents[1] / "programs"
RATE = 16000
KINDS = {
    "i2s": b"i",
    "line": b"p",
    "pdm": b"p",
    "adc": b"a",
    "bits": b"m",
}  # pdm: decimated by hardware; bits: raw
MICROPHONES = all_microphones()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [PROGRAMS / "audio_words.c", SOURCES / "serq_audio.c"]
    return compile_program(tmp_path_factory.mktemp("audio") / "words", sources, [*SANITIZERS, f"-I{SOURCES}"])


def _device(program: Path, kind: str, settings: Conversion, words: np.ndarray) -> np.ndarray:
    how = (
        KINDS[kind]
        + bytes([settings.bit_shift, settings.dc_shift, settings.gain_shift])
        + settings.gain.to_bytes(2, "little")
        + b"\0\0"
    )
    return np.frombuffer(run(program, how + words.tobytes()), np.int16)


def _reference(kind: str, settings: Conversion, words: np.ndarray) -> np.ndarray:
    converter = Converter(settings)
    convert: Any = {
        "i2s": converter.i2s,
        "line": converter.pcm,
        "pdm": converter.pcm,
        "adc": converter.adc,
        "bits": converter.pdm,
    }[kind]
    cut = len(words) // 3 // 4 * 4
    return np.concatenate([convert(words[:cut]), convert(words[cut:])])


def _speech(count: int = 4000, level: float = 0.01) -> np.ndarray:
    """Something that swells and dies like speech, as a fraction of full scale; a bias is the microphone's
    affair.
    """
    t = np.arange(count) / RATE
    return (
        level * np.sin(2 * np.pi * 3 * t) * (np.sin(2 * np.pi * 180 * t) + 0.5 * np.sin(2 * np.pi * 1330 * t))
    )


def _words(interface: str, signal: np.ndarray, offset: float = 0.0, bits: int = 24) -> np.ndarray:
    """What a microphone's driver delivers for a signal, to the last bit that the microphone has."""
    value = signal + offset
    if interface == "adc":
        return (
            np.clip(np.round(2048 + 2048 * value), 0, 4095).astype(np.uint16)
        ) | 0xA000  # rubbish above the 12 bits
    if interface == "i2s":
        return np.left_shift(
            np.round(np.clip(value, -1, 1 - 2.0**-23) * 2 ** (bits - 1)).astype(np.int64), 32 - bits
        ).astype(np.int32)
    return np.round(np.clip(value, -1, 1 - 2.0**-15) * 32768).astype(np.int16)


def _bits(signal: np.ndarray) -> np.ndarray:
    """A second-order sigma-delta microphone: a bit for each value, in words of 16."""
    one = two = 0.0
    bits = []
    for value in signal.tolist():
        bit = two >= 0
        back = 1.0 if bit else -1.0
        one += value - back
        two += one - back
        bits.append(bit)
    return np.packbits(np.array(bits).reshape(-1, 16), axis=1).astype(np.uint16) @ np.array(
        [256, 1], np.uint16
    )


@pytest.mark.parametrize("microphone", MICROPHONES, ids=lambda m: m.name)
def test_words_of_each_microphone_become_exactly_the_reference_samples(
    microphone: Microphone, program: Path
) -> None:
    rng = np.random.default_rng(5)
    kind, settings = microphone.interface, microphone.conversion
    dtype: Any = {"i2s": np.int32, "adc": np.uint16}.get(kind, np.int16)
    limits = np.iinfo(dtype)
    for words in (
        _words(kind, _speech(), 0.07, 18 if microphone.name == "sph0645" else 24),
        rng.integers(limits.min, limits.max, 3000, dtype, endpoint=True),
        np.resize(np.array([limits.min, limits.max], dtype), 600),
        np.full(900, limits.max),
        np.full(900, limits.min),
    ):
        assert np.array_equal(
            _device(program, kind, settings, words.astype(dtype)),
            _reference(kind, settings, words.astype(dtype)),
        )


def test_known_words_have_known_samples() -> None:
    """By hand, from the words' own formats: a 24-bit and an 18-bit microphone, late by a bit, a converter
    at its ends, unity gain.
    """
    unity = conversion(0, 0, 0)
    assert (unity.gain, unity.gain_shift) == (512, 13)
    assert Converter(unity).i2s(
        np.array([0x12345600, -0x12345600, 0x7FFFFF00, -(2**31)], np.int32)
    ).tolist() == [0x1234, -0x1234, 32767, -32768]
    assert Converter(conversion(1, 0, 0)).i2s(
        np.array([0x091A2B00, -0x091A2B00, 0x7FFFFFFF], np.int32)
    ).tolist() == [0x1234, -0x1234, 32767]
    assert Converter(conversion(0, 0, 24)).i2s(np.array([0x00123400], np.int32)).tolist() == [
        288
    ]  # 291 / 16 times 15.85
    assert Converter(unity).adc(np.array([2048, 0, 4095, 0xF800], np.uint16)).tolist() == [
        0,
        -32768,
        32752,
        0,
    ]
    assert Converter(unity).pcm(np.array([-32768, -1, 0, 1, 32767], np.int16)).tolist() == [
        -32768,
        -1,
        0,
        1,
        32767,
    ]


@settings(deadline=None, max_examples=60)  # an example is a process, whose start has no deadline
@given(
    kind=st.sampled_from(sorted(KINDS)),
    bit_shift=st.integers(0, 8),
    dc_shift=st.integers(0, MAX_DC_SHIFT),
    gain_db=st.integers(-20, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_setting_gives_the_reference_samples(
    program: Path, kind: str, bit_shift: int, dc_shift: int, gain_db: int, seed: int
) -> None:
    made = conversion(bit_shift if kind == "i2s" else 0, dc_shift, gain_db)
    raw = np.random.default_rng(seed).bytes(4096)
    words = np.frombuffer(
        raw, np.int32 if kind == "i2s" else np.int16 if kind in ("line", "pdm") else np.uint16
    )
    assert np.array_equal(_device(program, kind, made, words), _reference(kind, made, words))


def test_a_gain_is_what_it_says_and_within_its_bits() -> None:
    for gain_db in range(-20, 41):
        made = conversion(0, 0, gain_db)
        assert 512 <= made.gain <= 1023
        assert made.gain * 16 / 2**made.gain_shift == pytest.approx(10 ** (gain_db / 20), rel=1e-3)


@pytest.mark.parametrize("dc_shift", [4, 7, 11])
def test_direct_current_goes_and_speech_stays(dc_shift: int) -> None:
    converter = Converter(conversion(0, dc_shift, 0))
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    samples = converter.i2s(_words("i2s", tone, 0.6)).astype(float)
    settled = samples[8 * 2**dc_shift :]
    assert abs(settled[: len(settled) // 16 * 16].mean()) < 2
    assert np.sqrt((settled**2).mean()) == pytest.approx(0.1 * 32768 / np.sqrt(2), rel=0.02)
    assert abs(samples[0]) < 2  # no thump at the start


def test_raw_pdm_becomes_the_signal_that_made_it(program: Path) -> None:
    settings = conversion(0, 0, 0)
    t = np.arange(3200 * 64) / (RATE * 64)
    words = _bits(0.3 * np.sin(2 * np.pi * 1000 * t) + 0.1 * np.sin(2 * np.pi * 5000 * t))
    samples = _device(program, "bits", settings, words)
    assert np.array_equal(samples, _reference("bits", settings, words))
    spectrum = np.abs(np.fft.rfft(samples[1600:] * np.hanning(1600))) / (400 * 32768)
    assert spectrum[100] == pytest.approx(0.3, rel=0.02)
    assert spectrum[500] == pytest.approx(0.1, rel=0.02)
    rest = np.delete(spectrum, [*range(3), *range(97, 104), *range(497, 504)])
    assert 20 * np.log10(np.sqrt((rest**2).sum()) / 0.3) < -60


def test_above_the_band_little_of_raw_pdm_folds_back() -> None:
    """A 12 kHz tone, at the 64 times faster rate, would fold to 4 kHz."""
    t = np.arange(1600 * 64) / (RATE * 64)
    words = _bits(0.3 * np.sin(2 * np.pi * 12000 * t))
    samples = Converter(conversion(0, 0, 0)).pdm(words)[200:].astype(float)
    assert 20 * np.log10(np.sqrt((samples**2).mean()) / (0.3 * 32768 / np.sqrt(2))) < -50


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_the_ring_loses_nothing_uncounted_between_threads(sanitizer: str, tmp_path: Path) -> None:
    sources = [PROGRAMS / "ring_exerciser.c", SOURCES / "serq_ring.c"]
    flags = ["-g", "-O1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-pthread", f"-I{SOURCES}"]
    program = compile_program(tmp_path / "ring", sources, flags)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written, received, lost, gaps_in_turns, gaps_of_a_slow_reader, _ = map(int, done.stdout.split())
    assert written == received + lost
    assert received >= 1_000_000
    assert gaps_in_turns == 64
    assert gaps_of_a_slow_reader >= 100
