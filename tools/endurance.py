"""Many clips over a bad line: `python -m tools.endurance` counts what comes out right, failed and wrong.

The device is the shipped model's firmware as a process of this computer, with frames of at most 256 bytes of
payload. A result is right if every digest, score and the label equal the Python reference's, failed if the
host said so, and wrong otherwise: there must be none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.boards.board import load_board
from serq_mcu.build.host_program import SMALL_FRAMES, host_build
from serq_mcu.codegen.export import export
from serq_mcu.harness.device import Device, LineError
from serq_mcu.harness.faults import Faults, FaultyTransport
from serq_mcu.harness.transports import ProcessTransport
from serq_mcu.quantized_model.store import load_model, shipped_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.verify import Recording, reference

BAD_LINE = Faults(corrupted=1e-4, burst_every=50_000, burst_bytes=64)
SECONDS = 2.0  # of a clip
_SHORTEST = 0.01  # seconds to wait for an answer at least: a process on this computer answers in less


@dataclass(frozen=True)
class Endurance:
    """How the clips fared, and what the line did to them."""

    clips: int
    right: int
    failed: int
    passed_bytes: int
    incidents: dict[str, int]
    requests_repeated: int
    clips_repeated: int
    slowest: float  # seconds of one clip
    seconds: float

    @property
    def wrong(self) -> int:
        """Results that were reported and are not the reference's."""
        return self.clips - self.right - self.failed

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.incidents.items()))
        counts = f"{self.clips} clips: {self.right} right, {self.failed} failed, {self.wrong} wrong"
        line = f"{self.passed_bytes / 1e6:.1f} MB passed, faults: {faults}"
        repeated = f"{self.requests_repeated} requests and {self.clips_repeated} clips repeated"
        return f"{counts}; {line}; {repeated}; slowest clip {self.slowest:.1f} s, {self.seconds:.0f} s in all"


def endure(
    model: QuantizedModel,
    program: Path,
    clips: int,
    faults: Faults,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Endurance:
    """Run `clips` clips of noise through the host build `program` of `model` over a line with `faults`."""
    line = FaultyTransport(ProcessTransport([str(program)]), faults, seed)
    start = time.monotonic()
    right = failed = 0
    slowest = 0.0
    device = Device(line, shortest=_SHORTEST)
    try:
        for index in range(clips):
            pcm = noise(model.spec.sample_rate, seed + index)
            expected = reference(model, Recording(str(index), pcm))
            began = time.monotonic()
            try:
                right += expected.agrees(device.run_clip(pcm))
            except LineError:
                failed += 1
            slowest = max(slowest, time.monotonic() - began)
            if progress:
                progress(index + 1)
    finally:
        line.close()
    return Endurance(
        clips,
        right,
        failed,
        line.passed,
        line.incidents,
        device.repeated,
        device.clips_repeated,
        slowest,
        time.monotonic() - start,
    )


def noise(sample_rate: int, seed: int) -> NDArray[np.int16]:
    """Make a clip of noise that swells and fades, int16."""
    rng = np.random.default_rng(seed)
    count = round(SECONDS * sample_rate)
    swell = np.sin(np.arange(count) * (seed % 7 + 1) * np.pi / count)
    return np.clip(rng.normal(0, 9000, count) * swell, -32768, 32767).astype(np.int16)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.endurance", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a model file; without it the model that ships")
    arguments = parser.parse_args()
    model = load_model(arguments.model) if arguments.model else shipped_model()
    with tempfile.TemporaryDirectory(prefix="serq-endurance-") as work:
        export(model, load_board("esp32"), Path(work) / "project")
        with host_build(Path(work) / "project", SMALL_FRAMES) as program:
            outcome = endure(
                model,
                program,
                arguments.clips,
                BAD_LINE,
                arguments.seed,
                lambda done: _say(done, arguments.clips),
            )
    print(outcome)
    sys.exit(1 if outcome.wrong else 0)


def _say(done: int, clips: int) -> None:
    if done % 100 == 0 or done == clips:
        print(f"{done} of {clips} clips", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
