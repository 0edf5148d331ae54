"""The page of how well pitch is heard: gross errors against librosa.pyin, errors of the integers, cost.

`python -m tools.pitch_errors FOLDER...` reads folders of 16 kHz recordings and writes docs/pitch.md again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import load_board
from serq_mcu.frontend.blocks import F0, Voicing
from serq_mcu.frontend.librosa_reference import frame_values, summary
from serq_mcu.frontend.reference import frame_stages
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from tools.frontend_cost import FrameCost, frame_cost

PAGE = Path(__file__).parents[1] / "docs" / "pitch.md"
SPECS = {
    f"FFT {length}": FeatureSpec(name="pitch", fft_length=length, hop_length=512, blocks=(F0(), Voicing()))
    for length in (1024, 512)
}
# What is promised: instructions of the stage on a frame, at most.
LIMITS = {
    ("emulated-m4f", "FFT 1024"): 8_000,
    ("emulated-m4f", "FFT 512"): 5_000,
    ("emulated-m0", "FFT 1024"): 19_000,
    ("emulated-m0", "FFT 512"): 10_000,
}
GROSS = 0.2  # of the reference's frequency
_PYIN_RANGE = (60, 530)  # Hz

_WINDOWS = (2048, 1024)  # samples that pyin hears at a time: its default, and as many as FFT 1024

_HEAD = """\
# How well pitch is heard

`python -m tools.pitch_errors emodb savee` writes this page.
The pitch stage (SPEC.md section 2, step 11) is computed in integers on every frame of the recordings, with a
frame every 32 ms.

## Against librosa.pyin

`librosa.pyin` (60 to 530 Hz) searches for the best path through a clip, in windows around the same moments.
The pitch stage hears one frame and nothing else.
*window*: samples that pyin hears at a time; 2048 are its default, and 1024 are as many as FFT 1024 hears.
A *gross error* is a pitch that is more than 20 % off.
*both*: gross errors of the frames that both call voiced, which are the frames that the block `f0` counts.
*all*: gross errors of all frames that pyin calls voiced, whether the pitch stage does or not.
*heard*: the part of these that the pitch stage calls voiced.
*false*: the part that it calls voiced of the frames that pyin does not.
*deviation*: the median, in cents, where there is no gross error.
"""
_FLOATS = """\
## Integers against float64

Absolute error against the same definition in float64, on the power that librosa computes.
*another peak*: the part of all frames whose pitch is more than a tenth of an octave off: two peaks are nearly
equal there, and rounding decides.
"""
_COSTS = """\
## Cost

Of a frame, counted in QEMU as in [what the front end costs](frontend_cost.md), with the block `voicing`.
*limit* is what is promised; `tests/emulated/test_frontend_firmware.py` holds it.
*work area*: bytes of RAM that the frame has for it, beside its other stages and in the place of a decision's.
"""


@dataclass(frozen=True)
class Heard:
    """Frames of clips: what the integers, float64 and pyin say.

    integers and floats [frames, 2]: octaves above the lowest pitch, voicing; voiced bool [frames]; pyin's
    frequency in Hz, nan where unvoiced, by its window [frames].
    """

    integers: NDArray[np.float64]
    floats: NDArray[np.float64]
    voiced: NDArray[np.bool_]
    pyin: dict[int, NDArray[np.float64]]


def hear(spec: FeatureSpec, clips: Iterable[NDArray[np.int16]]) -> Heard:
    """Compute all frames of clips, int16 [samples] at the specification's rate. Needs librosa."""
    tables = build_tables(spec)
    parts, heard = [], []
    for pcm in clips:
        stages = frame_stages(spec, tables, pcm)
        pyin = [_pyin(spec, pcm, window) for window in _WINDOWS]
        known = min(len(stages["pitch"]), *map(len, pyin))
        integers = stages["pitch"] / np.array([65536, 32768])
        own = integers, frame_values(spec, pcm)["pitch"], stages["voicing"][:, 1] > 0
        parts.append([part[:known] for part in own])
        heard.append([part[:known] for part in pyin])
    by_window = [np.concatenate(part) for part in zip(*heard, strict=True)]
    integers, floats, voiced = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Heard(integers, floats, voiced, dict(zip(_WINDOWS, by_window, strict=True)))


def _pyin(spec: FeatureSpec, pcm: NDArray[np.int16], window: int) -> NDArray[np.float64]:
    """Return pyin's frequency around the middles of the frames, as far as it has any."""
    import librosa

    first, cut = divmod(spec.frame_length // 2, spec.hop_length)
    low, high = _PYIN_RANGE
    hop, rate = spec.hop_length, spec.sample_rate
    frequency, *_ = librosa.pyin(
        pcm[cut:] / 32768, fmin=low, fmax=high, sr=rate, hop_length=hop, frame_length=window
    )
    return np.asarray(frequency[first:])


def errors(spec: FeatureSpec, heard: Heard, window: int) -> dict[str, float]:
    """Return the shares of the page's first table by name, and the median deviation in cents."""
    reference = heard.pyin[window]
    sounding = np.isfinite(reference)
    off = heard.integers[:, 0] - np.log2(np.where(sounding, reference, 1) / spec.pitch_low)
    gross = np.abs(2**off - 1) > GROSS
    both = sounding & heard.voiced
    return {
        "both": float(gross[both].mean()),
        "all": float(gross[sounding].mean()),
        "heard": float(heard.voiced[sounding].mean()),
        "false": float(heard.voiced[~sounding].mean()),
        "deviation": 1200 * float(np.median(np.abs(off[both & ~gross]))),
    }


def rounding(heard: Heard) -> dict[str, dict[str, float]]:
    """Summarise errors of the integers against float64: of f0 in voiced frames, and of voicing."""
    off = np.abs(heard.integers - heard.floats)
    return {
        "f0": summary(off[heard.voiced, 0]) | {"another": float((off[:, 0] > 0.1).mean())},
        "voicing": summary(off[:, 1]),
    }


def stage_cost(cost: FrameCost) -> tuple[int, int]:
    """Return instructions and estimated cycles of the pitch stage and the block `voicing`."""
    counts = [cost.stages[name] for name in ("correlate", "pitch", "voicing")]
    return sum(count for count, _ in counts), sum(cycles or 0 for _, cycles in counts)


def _costs() -> str:
    rows = [["core", "frames of", "instructions", "limit", "cycles", "work area"]]
    for board, name in LIMITS:
        instructions, cycles = stage_cost(frame_cost(load_board(board), SPECS[name]))
        points = len(build_tables(SPECS[name]).pitch["weight"]) // 2
        numbers = (instructions, LIMITS[board, name], cycles, 8 * (points + 1) + 8)
        rows.append([load_board(board).mcu.core, name, *(f"{number:,}" for number in numbers)])
    return _table(rows)


def page(found: dict[tuple[str, str], Heard], costs: str) -> str:
    """Write the page, from frames by corpus and name of the specification, and the table of costs."""
    head = ("recordings", "frames of", "n")
    rows = [[*head, "window", "both", "all", "heard", "false", "deviation"]]
    floats = [[*head, "", "unit", "mean", "99 %", "worst", "another peak"]]
    for (corpus, name), heard in found.items():
        what = [corpus, name, f"{len(heard.voiced):,}"]
        for window in _WINDOWS:
            part = errors(SPECS[name], heard, window)
            shares = [f"{100 * part[key]:.1f} %" for key in ("both", "all", "heard", "false")]
            rows.append([*what, str(window), *shares, f"{part['deviation']:.0f}"])
        for kind, unit in (("f0", "octaves, voiced frames"), ("voicing", "of 1")):
            error = rounding(heard)[kind]
            numbers = [f"{error[key]:.5f}" for key in ("mean", "p99", "max")]
            other = f"{100 * error['another']:.2f} %" if "another" in error else ""
            floats.append([*what, kind, unit, *numbers, other])
    return f"{_HEAD}\n{_table(rows)}\n{_FLOATS}\n{_table(floats)}\n{_COSTS}\n{costs}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rest)) + "\n"


def main() -> None:
    """Hear all recordings of the folders and write the page."""
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    found = {}
    for folder in parser.parse_args().folders:
        clips = [soundfile.read(path, dtype="int16")[0] for path in sorted(folder.glob("*.flac"))]
        for name, spec in SPECS.items():
            found[folder.name, name] = hear(spec, clips)
            print(folder.name, name, errors(spec, found[folder.name, name], _WINDOWS[0]), flush=True)
    write_file(PAGE, page(found, _costs()))


if __name__ == "__main__":
    main()
