"""Firmware against the integer reference, clip by clip: digests of every stage first, then the first integer that differs."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.codegen.export import MODEL, Project, read_project
from serq_mcu.codegen.render import ABI
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import Clip, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import frame_stages, pool
from serq_mcu.frontend.stages import FRAME_STAGES, STAGE_INPUT, STAGE_OUTPUT, STAGE_SCORES, STAGE_WINDOW, stage_name
from serq_mcu.metrics import wilson_interval
from serq_mcu.quantized_model.interpreter import stages as network_stages
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.verification.device import Device
from serq_mcu.verification.protocol import Result
from serq_mcu.verification.target import Target, open_target

Stages = dict[int, NDArray[Any]]  # stage to integers [events, values], in pipeline order, in the types of SPEC.md section 7
_SHOWN = 5  # differing clips in the text; the JSON has all
ProgressCall = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Recording:
    """A clip to verify: PCM int16 [samples] at the model's rate; the label only serves the accuracy."""

    name: str
    pcm: NDArray[np.int16]
    label: str = ""


@dataclass(frozen=True)
class Reference:
    """What the integer reference computes for a recording."""

    digests: dict[int, int]
    scores: NDArray[np.int32]
    label: int
    frames: int
    integers: int  # how many the digests and the answer stand for

    def agrees(self, result: Result) -> bool:
        """Whether the device computed the same."""
        same = (result.digests, result.label, result.frames) == (self.digests, self.label, self.frames)
        return same and np.array_equal(result.scores, self.scores)


@dataclass(frozen=True)
class Difference:
    """The first integer of a clip that differs, and how many of its event do (`count`).

    Event, index and values are None if the clip, repeated, showed no difference any more.
    """

    clip: str
    stage: str
    count: int
    event: int | None = None
    index: int | None = None
    expected: int | None = None
    actual: int | None = None

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.clip}: {self.stage} differs, but not when the clip is repeated: suspect the power supply or the memory of the device"
        found = "nothing" if self.actual is None else self.actual
        where = f"{self.clip}: first difference in stage {self.stage}, event {self.event}, index {self.index}"
        return f"{where}: expected {self.expected}, found {found}; {self.count} integers of that event differ"


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of a verification (SPEC.md section 10)."""

    target: str
    board: str
    identity: str
    clips: int
    compared_integers: int
    differences: tuple[Difference, ...]  # one for each differing clip
    correct: int | None  # labels right; None where the corpus has other classes than the model
    frontend_cycles_per_frame: float | None  # None where nothing counts them
    network_cycles: float | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Every clip was computed bit for bit as the reference does."""
        return self.clips > 0 and not self.differences

    @property
    def differing_clips(self) -> int:
        """Clips with a digest, score, label or frame count other than the reference's."""
        return len(self.differences)

    @property
    def differing_integers(self) -> int:
        """Integers that differ in the first differing event of each differing clip, summed."""
        return sum(difference.count for difference in self.differences)

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names of SPEC.md section 10."""
        accuracy = None
        if self.correct is not None:
            accuracy = {"value": self.correct / self.clips, "n": self.clips, "interval95": list(wilson_interval(self.correct, self.clips))}
        return {
            "ok": self.ok,
            "target": self.target,
            "board": self.board,
            "identity": self.identity,
            "clips": self.clips,
            "compared_integers": self.compared_integers,
            "differing_clips": self.differing_clips,
            "differing_integers": self.differing_integers,
            "differences": [asdict(difference) for difference in self.differences],
            "accuracy": accuracy,
            "frontend_cycles_per_frame": self.frontend_cycles_per_frame,
            "network_cycles": self.network_cycles,
            "seconds": round(self.seconds, 2),
        }

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [
            f"{self.target}: firmware for {self.board}, model {self.identity}",
            f"{self.clips} clips in {self.seconds:.1f} s; {self.compared_integers} integers of every stage compared by their digests",
            f"differing_clips: {self.differing_clips}",
            f"differing_integers: {self.differing_integers}",
        ]
        if self.correct is not None:
            low, high = wilson_interval(self.correct, self.clips)
            lines.append(f"accuracy on these clips: {self.correct / self.clips:.3f} (n = {self.clips}, 95 % interval {low:.3f} to {high:.3f})")
        if self.frontend_cycles_per_frame is not None and self.network_cycles is not None:
            lines.append(f"cycles: {self.frontend_cycles_per_frame:.0f} a frame, {self.network_cycles:.0f} a decision of the network")
        lines += [str(difference) for difference in self.differences[:_SHOWN]]
        return lines + [f"and {self.differing_clips - _SHOWN} more clips"] * (self.differing_clips > _SHOWN)


def verify_project(folder: Path, clips: Path, on: str, count: int | None = None, progress: ProgressCall | None = None) -> VerifyReport:
    """Verify the exported project `folder` on `host`, `emulator` or a serial port, with the recordings in `clips` (or a stratified `count` of them).

    Raises SerqError if the folder, the clips or the device cannot be used; a difference is no error but part of the report.
    """
    project = read_project(folder)
    model = load_model(folder / MODEL)
    _require_same_model(project, model)
    corpus = load_corpus(clips)
    chosen = select_stratified(corpus.clips, count) if count else corpus.clips
    recordings = (Recording(clip.name, read_audio(clip.path, model.spec.sample_rate).pcm, clip.label) for clip in chosen)
    with open_target(project, on) as target:
        return verify(model, recordings, target, (lambda done: progress(f"verify on {target.name}", done, len(chosen))) if progress else None)


def verify(model: QuantizedModel, recordings: Iterable[Recording], target: Target, progress: Callable[[int], None] | None = None) -> VerifyReport:
    """Compare `target` with the integer reference on every recording. progress is called with the number of recordings done.

    Raises SerqError if the device carries another model, runtime or board, or cannot be talked to.
    """
    _require_same_firmware(model, target)
    start = time.monotonic()
    results: list[Result] = []
    labels: list[str] = []
    integers = 0
    differences: list[Difference] = []
    for recording in recordings:
        expected = reference(model, recording)
        result = target.device.run_clip(recording.pcm)
        if not expected.agrees(result):
            differences.append(locate(model, recording, expected, result, target.device))
        results.append(result)
        labels.append(recording.label)
        integers += expected.integers
        if progress is not None:
            progress(len(results))
    if not results:
        raise SerqError("there is no clip to verify on; name a folder with recordings")
    frames = sum(result.frames for result in results)
    frontend = sum(result.frontend_cycles for result in results)
    network = sum(result.network_cycles for result in results)
    return VerifyReport(
        target=target.name,
        board=target.device.identity.board,
        identity=target.device.identity.model,
        clips=len(results),
        compared_integers=integers,
        differences=tuple(differences),
        correct=_correct(model, labels, results),
        frontend_cycles_per_frame=frontend / frames if frontend and frames else None,
        network_cycles=network / len(results) if network else None,
        seconds=time.monotonic() - start,
    )


def reference_stages(model: QuantizedModel, pcm: NDArray[np.int16]) -> Stages:
    """Every stage's integers for a clip, int16 [samples]. Raises SerqError if it is too short or too long."""
    stages: Stages = dict(frame_stages(model.spec, model.tables, pcm))
    pooled = pool(model.spec, model.tables, stages)
    for stage, values in network_stages(model, pooled):
        stages[stage] = values.astype(np.uint8 if _is_activation(stage) else np.int32)[None]
    return stages


def digest(values: NDArray[Any], before: int = 0) -> int:
    """CRC-32 of integers as little-endian bytes, after those whose digest is `before`."""
    return zlib.crc32(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data, before)


def locate(model: QuantizedModel, recording: Recording, reference: Reference, result: Result, device: Device) -> Difference:
    """The first integer that differs: replay the clip frame by frame, then stop at the stage and event and read its values."""
    stages = reference_stages(model, recording.pcm)
    for stage, expected in stages.items():
        if result.digests.get(stage) != reference.digests[stage]:
            return _locate_in_stage(device, recording, model.spec.padding, stage, expected) or Difference(recording.name, stage_name(stage), 1)
    return _compare_answers(recording.name, reference, result)


def select_stratified(clips: Sequence[Clip], count: int, seed: int = 0) -> list[Clip]:
    """`count` clips, each label in its proportion (largest remainders first), in their order; all of them if there are no more."""
    if count >= len(clips):
        return list(clips)
    by_label: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        by_label.setdefault(clip.label, []).append(index)
    exact = {label: count * len(members) / len(clips) for label, members in by_label.items()}
    share = {label: int(quota) for label, quota in exact.items()}
    for label in sorted(exact, key=lambda label: (share[label] - exact[label], label))[: count - sum(share.values())]:
        share[label] += 1
    rng = np.random.default_rng(seed)
    chosen = [index for label in sorted(by_label) for index in rng.choice(by_label[label], share[label], replace=False)]
    return [clips[index] for index in sorted(chosen)]


def reference(model: QuantizedModel, recording: Recording) -> Reference:
    """What a device must answer. Raises SerqError, with the clip's name, if it is too short or too long."""
    try:
        stages = reference_stages(model, recording.pcm)
    except SerqError as error:
        raise SerqError(f"{recording.name}: {error}") from error
    scores = stages[STAGE_SCORES][0]
    return Reference(
        digests={stage: digest(values) for stage, values in stages.items()},
        scores=scores,
        label=int(np.argmax(scores)),
        frames=len(stages[STAGE_WINDOW]),
        integers=sum(values.size for values in stages.values()),
    )


def _locate_in_stage(device: Device, recording: Recording, padding: int, stage: int, expected: NDArray[Any]) -> Difference | None:
    """The first difference in a stage's integers [events, values]; None if the device now computes them right."""
    name = stage_name(stage)
    for event in _suspects(device, recording.pcm, padding, stage, expected) if stage in FRAME_STAGES else [0]:
        actual = device.values(recording.pcm, stage, event)
        difference = None if actual is None else _compare(recording.name, name, event, expected[event], _same_type(actual, expected, name))
        if difference is not None:
            return difference
    return None


def _suspects(device: Device, pcm: NDArray[np.int16], padding: int, stage: int, expected: NDArray[Any]) -> Iterable[int]:
    """The events that may differ first: the one at which the digest does, or else those that only the zeros after a padded clip complete."""
    crc, event = 0, -1
    for event, (values, digests) in enumerate(zip(expected, device.digests_by_frame(pcm, padding), strict=False)):
        crc = digest(values, crc)
        if digests.get(stage) != crc:
            return [event]
    return range(event + 1, len(expected))


def _compare(clip: str, stage: str, event: int, expected: NDArray[Any], actual: NDArray[Any]) -> Difference | None:
    """The first difference of two arrays; a value that one of them lacks differs."""
    common = min(len(actual), len(expected))
    differing = np.flatnonzero(actual[:common] != expected[:common])
    count = len(differing) + max(len(actual), len(expected)) - common
    if not count:
        return None
    index = int(differing[0]) if len(differing) else common
    expected_value, actual_value = (int(side[index]) if index < len(side) else None for side in (expected, actual))
    return Difference(clip, stage, count, event, index, expected_value, actual_value)


def _same_type(actual: NDArray[np.unsignedinteger], expected: NDArray[Any], stage: str) -> NDArray[Any]:
    if actual.dtype.itemsize != expected.dtype.itemsize:
        raise SerqError(f"the device computes stage {stage} in {actual.itemsize} bytes, not {expected.itemsize}; export the project again")
    return actual.view(expected.dtype)


def _compare_answers(clip: str, reference: Reference, result: Result) -> Difference:
    """For a device whose stages agree with the reference, but not what it says of them."""
    answers = {
        "scores": (reference.scores, result.scores),
        "label": (np.array([reference.label]), np.array([result.label])),
        "frames": (np.array([reference.frames]), np.array([result.frames])),
    }
    for name, (expected, actual) in answers.items():
        difference = _compare(clip, f"{name} (as answered)", 0, expected, actual)
        if difference is not None:
            return difference
    extra = min(set(result.digests) - set(reference.digests))
    raise SerqError(f"the device computes {stage_name(extra)}, which this serq-mcu does not know; export the project again")


def _require_same_model(project: Project, model: QuantizedModel) -> None:
    if project.identity != model.identity.hex():
        raise SerqError(f"{project.folder / MODEL} is model {model.identity.hex()}, but the folder is of {project.identity}; export it again")


def _require_same_firmware(model: QuantizedModel, target: Target) -> None:
    identity = target.device.identity
    again = "build and flash the exported project again"
    if identity.abi != ABI:
        raise SerqError(f"the firmware on {target.name} has runtime interface {identity.abi}, this serq-mcu has {ABI}; {again}")
    if identity.board != target.board:
        raise SerqError(f"the firmware on {target.name} was exported for board {identity.board}, not for {target.board}; {again}")
    if identity.model != model.identity.hex():
        raise SerqError(f"the firmware on {target.name} carries model {identity.model}, not {model.identity.hex()}; {again}")


def _correct(model: QuantizedModel, labels: list[str], results: list[Result]) -> int | None:
    if not set(labels) <= set(model.labels):
        return None
    return sum(model.labels[result.label] == label for label, result in zip(labels, results, strict=True))


def _is_activation(stage: int) -> bool:
    return stage == STAGE_INPUT or (stage >= STAGE_OUTPUT and (stage - STAGE_OUTPUT) % 2 == 0)
