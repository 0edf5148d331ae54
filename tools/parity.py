"""The proof page: every stage of exported firmware against the integer reference, on every core.

On whole corpora and on generated signals. `python -m tools.parity emodb/ savee/` writes docs/parity.md again:
the host on all clips, each emulated core on a stratified 60.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import write_file
from serq_mcu.boards.board import Board, load_board
from serq_mcu.codegen.export import export
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import Corpus, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.frontend.blocks import F0, Chroma, Energy, FeatureBlock, Mel, Mfcc, Voicing
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.quantized_model.store import shipped_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.show.verification import report_lines
from serq_mcu.verification.report import VerifyReport
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, select_stratified, verify
from tools.network_cost import random_network

PAGE = Path(__file__).parents[1] / "docs" / "parity.md"
HOST = "host"
EMULATED = ("emulated-m0", "emulated-m4f", "emulated-m7", "emulated-rv32imc", "emulated-xtensa")
EMULATED_CLIPS = 60


def _every_statistic(*blocks: FeatureBlock) -> tuple[FeatureBlock, ...]:
    return tuple(replace(block, statistics=block.offered()) for block in blocks)


# Of sizes that a Cortex-M0 with 16 KB of RAM has room for.
WHOLE = FeatureSpec(
    name="every block",
    mel_bands=20,
    blocks=_every_statistic(Mfcc(13, loudness=False, bands=16), Mel(20), Chroma(), F0(), Voicing(), Energy()),
)
# Frames shorter than the FFT, whose number of levels is odd where the others' is even; HTK's bands without
# norm; padded clips.
PADDED = FeatureSpec(
    name="every block, padded",
    fft_length=512,
    window_length=400,
    hop_length=160,
    center=True,
    fmin=20,
    mel_scale="htk",
    mel_norm="none",
    mel_bands=26,
    pitch_low=80,
    blocks=_every_statistic(Energy(), Voicing(), F0(), Chroma(), Mel(26), Mfcc(13)),
)

_INTRODUCTION = """\
# The same integers everywhere

Every integer of every stage of section 7 of [SPEC.md](../SPEC.md), from the window to the scores, as exported
firmware computes it, against the integer reference in Python.
The host ran all clips of {corpora}; each emulated core ran {count} of them, stratified by class.
All ran {signals} generated signals of a second each: {names}.

Written by `python -m tools.parity {folders}`, which exports, builds and compares everything anew and fails if
an integer differs.
`tests/emulated/test_parity.py` runs the generated signals and two clips.
"""


def proof_models() -> dict[str, QuantizedModel]:
    """Return what is proved: the model that ships, and two specifications with every block and statistic.

    Their networks have random weights.
    """
    shipped = shipped_model()
    return {
        f"The model that ships ({shipped.spec.name})": shipped,
        "Every block, FFT 1024": random_network(WHOLE, 3),
        "Every block, 25 ms in FFT 512, padded": random_network(PADDED, 4),
    }


def generated_signals(rate: int, seconds: float = 1.0) -> list[Recording]:
    """Make clips that reach the ends of every stage's range, at `rate` Hz."""
    rng = np.random.default_rng(7)
    n = round(rate * seconds)
    t = np.arange(n)

    def square(hertz: float) -> NDArray[np.float64]:
        return np.where(np.sin(2 * np.pi * hertz * (t + 0.5) / rate) >= 0, 32767, -32768)

    def chirp(peak: float) -> NDArray[np.float64]:
        return peak * np.sin(np.pi * t * t / n / 2)  # from 0 Hz to a quarter of the rate

    runs = np.where((t // 700) % 3 == 0, -32768, rng.integers(-200, 200, n))
    signals = {
        "silence": np.zeros(n),
        "largest constant": np.full(n, 32767),
        "lowest constant": np.full(n, -32768),
        "full-scale square at 440 Hz": square(440),
        "full-scale square near half the rate": square(rate * 0.49),
        "alternating extremes": np.where(t % 2 == 0, -32768, 32767),
        "impulses": np.where(t % 397 == 0, -32768, 0),
        "one impulse in silence": np.where(t == n // 2, 32767, 0),
        "white noise": rng.integers(-32768, 32768, n),
        "noise of one unit": rng.integers(-1, 2, n),
        "loud chirp": chirp(32767),
        "chirp of three units": chirp(3),
        "runs of -32768 in quiet noise": runs,
        "silence, then -32768": np.where(t < n // 2, 0, -32768),
        "rising noise": rng.normal(0, 1, n) * 2 ** (t / n * 15),
    }
    return [
        Recording(name, np.clip(np.rint(values), -32768, 32767).astype(np.int16))
        for name, values in signals.items()
    ]


def prove(model: QuantizedModel, on: str, recordings: Sequence[Recording]) -> VerifyReport:
    """Export the model for an emulated board or for the host, and verify the recordings there.

    `host` runs the C of a real board on this computer. Raises SerqError if it cannot be built or run.
    """
    board: Board = load_board("esp32" if on == HOST else on)
    with tempfile.TemporaryDirectory(prefix="serq-parity-") as folder:
        project = export(model, board, Path(folder) / "p")
        with open_target(project, HOST if on == HOST else "emulator") as target:
            return verify(model, recordings, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove everything, write the page, and return 1 if an integer differs."""
    parser = argparse.ArgumentParser(prog="python -m tools.parity", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="recordings, such as emodb/")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write (default: docs/parity.md)")
    given = parser.parse_args(arguments)
    try:
        corpora = [load_corpus(folder) for folder in given.folders]
        reports = _prove_all(corpora)
        write_file(given.page, _page(corpora, given.folders, reports))
    except SerqError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0 if all(report.ok for report in reports.values()) else 1


def _prove_all(corpora: Sequence[Corpus]) -> dict[tuple[str, str], VerifyReport]:
    """Prove each model on each target; prints each report as it comes."""
    found = {}
    clips = [replace(clip, name=f"{corpus.name} {clip.name}") for corpus in corpora for clip in corpus.clips]
    for name, model in proof_models().items():
        rate = model.spec.sample_rate
        for on in (HOST, *EMULATED):
            chosen = clips if on == HOST else select_stratified(clips, EMULATED_CLIPS)
            recordings = [
                Recording(clip.name, read_audio(clip.path, rate).pcm, clip.label) for clip in chosen
            ]
            report = prove(model, on, [*recordings, *generated_signals(rate)])
            print("\n".join([name, *report_lines(report)]), flush=True)
            found[name, on] = report
    return found


def _page(
    corpora: Sequence[Corpus], folders: Sequence[Path], reports: dict[tuple[str, str], VerifyReport]
) -> str:
    signals = [recording.name for recording in generated_signals(16000)]
    introduction = _INTRODUCTION.format(
        corpora=" and ".join(f"{corpus.name} ({len(corpus.clips)})" for corpus in corpora),
        count=EMULATED_CLIPS,
        signals=len(signals),
        names=", ".join(signals),
        folders=" ".join(f"{folder.name}/" for folder in folders),
    )
    lines = [introduction]
    for name in dict.fromkeys(name for name, _ in reports):
        lines += [
            f"## {name}",
            "",
            "| on | clips | signals | integers compared | integers differing |",
            "|---|---|---|---|---|",
        ]
        for on in (HOST, *EMULATED):
            report = reports[name, on]
            core = "host" if on == HOST else load_board(on).mcu.core
            clips = report.clips - len(signals)
            lines.append(
                f"| {core} | {clips} | {len(signals)} | {report.compared_integers:,} |"
                f" {report.differing_integers} |"
            )
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
