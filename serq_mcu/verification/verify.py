"""Firmware against the integer reference, clip by clip.

Digests of every stage come first, then the first integer that differs.
"""

from __future__ import annotations

import functools
import hashlib
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.parallel import in_threads
from serq_mcu.codegen.export import Project, read_project
from serq_mcu.codegen.plan import MODEL
from serq_mcu.codegen.render import ABI
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.loaders import Clip, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import clip_features, traced_frames
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.harness.device import Device, LineError
from serq_mcu.harness.protocol import Result
from serq_mcu.quantized_model.interpreter import classify, learn, require_voices
from serq_mcu.quantized_model.interpreter import stages as network_stages
from serq_mcu.quantized_model.store import load_model
from serq_mcu.quantized_model.types import NO_SPEECH, NO_SPEECH_LABEL, QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from serq_mcu.verification.baseline import Baseline
from serq_mcu.verification.duration import line_time
from serq_mcu.verification.report import Difference, Mode, Outcome, VerifyReport
from serq_mcu.verification.target import Target, open_target

# Stage to integers [events, values], in the order of computing, in the types of SPEC.md section 7.
Stages = dict[str, NDArray[Any]]
_VOICE_CLIPS = 6  # by which learning of a voice is compared, and answers with what was learned
VOICE = "voice"  # as a stage of a difference: what was learned
_IN_A_ROW = 3  # clips that fail before it is given up
ProgressCall = Callable[..., None]  # a sentence; or a sentence, the units done and their total


@dataclass(frozen=True)
class Recording:
    """A clip to verify: PCM int16 [samples] at the model's rate; the label only serves the accuracy."""

    name: str
    pcm: NDArray[np.int16]
    label: str = ""


@dataclass(frozen=True)
class Reference:
    """What the integer reference computes for a recording.

    That is every stage, or (frames = 0) those from the pooled features on.
    """

    pooled: NDArray[np.int32]
    digests: dict[str, int]
    scores: NDArray[np.int32]
    label: int
    frames: int
    integers: int  # how many the digests and the answer stand for

    def agrees(self, result: Result) -> bool:
        """Tell whether the device computed the same."""
        same = (result.digests, result.label, result.frames) == (self.digests, self.label, self.frames)
        return same and np.array_equal(result.scores, self.scores)


def verify_project(
    folder: Path,
    clips: Path,
    on: str,
    count: int | None = None,
    progress: ProgressCall | None = None,
    mode: Mode = "pcm",
    baseline: Baseline | None = None,
    *,
    allow_changes: bool = False,
) -> VerifyReport:
    """Verify the exported project `folder` with the recordings in `clips`, or a stratified `count` of them.

    on: `host`, `emulator` or a serial port. In mode `features` the device gets the pooled features that the
    reference computes, and only its network is compared. What runs on this computer is a fresh export of the
    folder's model and board, or with allow_changes the folder's own code. Raises SerqError if the folder, the
    clips or the device cannot be used, or do not belong to the `baseline`; a difference is no error but part
    of the report.
    """
    project = read_project(folder)
    model = load_model(folder / MODEL)
    _require_same_model(project, model)
    chosen = choose_clips(clips, count)
    with open_target(project, on, allow_changes=allow_changes) as target:
        if baseline:
            baseline.require_same(
                target.on, target.device.identity.board, mode, {clip.name: clip.label for clip in chosen}
            )
        if progress and target.baud:
            progress(line_time(model, target, [clip.path for clip in chosen], mode))
        return verify(
            model,
            recordings(chosen, model.spec.sample_rate),
            target,
            (lambda done: progress(f"verify on {target.name}", done, len(chosen))) if progress else None,
            mode,
        )


def choose_clips(folder: Path, count: int | None = None) -> list[Clip]:
    """Choose the clips of a corpus, or a stratified `count` of them.

    Raises SerqError as the corpus's loader does.
    """
    corpus = load_corpus(folder)
    return select_stratified(corpus.clips, count) if count else list(corpus.clips)


def recordings(clips: Iterable[Clip], sample_rate: int) -> Iterator[Recording]:
    """Yield the clips, each read when it is asked for.

    Raises SerqError for one that cannot be read.
    """
    for clip in clips:
        yield Recording(clip.name, read_audio(clip.path, sample_rate).pcm, clip.label)


def verify(
    model: QuantizedModel,
    clips: Iterable[Recording],
    target: Target,
    progress: Callable[[int], None] | None = None,
    mode: Mode = "pcm",
) -> VerifyReport:
    """Compare `target` with the integer reference on every recording.

    progress is called with the number of recordings done. Raises SerqError if the device carries another
    model, runtime or board, or does not communicate: when it is gone, or has failed three clips in a row.
    """
    require_same_firmware(model, target)
    start = time.monotonic()
    outcomes: list[Outcome] = []
    speaker = Speaker(model, target.device, mode) if model.voice else None

    def expect(recording: Recording) -> tuple[Recording, Reference]:
        return recording, reference(model, recording, mode)

    for recording, expected in in_threads(expect, clips, threads=1):  # the next, while the line is busy
        outcomes.append(_verify_clip(model, recording, expected, target, mode))
        if speaker and not outcomes[-1].failure and len(outcomes) <= _VOICE_CLIPS:
            outcomes[-1] = speaker.verified(recording, outcomes[-1])
        if len(outcomes) >= _IN_A_ROW and all(outcome.failure for outcome in outcomes[-_IN_A_ROW:]):
            raise SerqError(
                f"{_IN_A_ROW} clips in a row failed, at last {recording.name}: {outcomes[-1].failure}"
            )
        if progress is not None:
            progress(len(outcomes))
    if not outcomes:
        raise SerqError("there is no clip to verify on; name a folder with recordings")
    return VerifyReport(
        target=target.name,
        on=target.on,
        board=target.device.identity.board,
        identity=target.device.identity.model,
        mode=mode,
        labels=model.labels,
        outcomes=tuple(outcomes),
        requests_repeated=target.device.repeated,
        flash_bytes=target.flash_bytes,
        ram_bytes=target.ram_bytes,
        seconds=time.monotonic() - start,
    )


def _verify_clip(
    model: QuantizedModel, recording: Recording, expected: Reference, target: Target, mode: Mode
) -> Outcome:
    """Compare one clip.

    Raises SerqError if the device is gone or another by now.
    """
    device = target.device
    start = time.monotonic()
    try:
        result = device.run_clip(recording.pcm) if mode == "pcm" else device.run_features(expected.pooled)
        difference = None
        if not expected.agrees(result):
            device.confirm_identity()
            difference = locate(model, recording, expected, result, device)
    except LineError as error:
        return Outcome(recording.name, recording.label, seconds=time.monotonic() - start, failure=str(error))
    return Outcome(
        clip=recording.name,
        label=recording.label,
        answer=_answer(model, result.label),
        integers=expected.integers,
        frames=result.frames,
        frontend_cycles=target.counted(result.frontend_cycles),
        network_cycles=target.counted(result.network_cycles),
        difference=difference,
        seconds=time.monotonic() - start,
    )


class Speaker:
    """A voice that device and reference learn from clip by clip, each from its own answers."""

    def __init__(self, model: QuantizedModel, device: Device, mode: Mode) -> None:
        self._model, self._device, self._mode = model, device, mode
        self._voice = Voice.unknown(require_voices(model))

    def verified(self, recording: Recording, outcome: Outcome) -> Outcome:
        """Compare one clip more: what it is answered with the voice so far, and what is learned of it.

        Returns the clip's outcome with that. A difference is of the stage `voice`, or of one of the network.
        """
        model, identity = self._model, self._model.identity
        expected = _of_voice(model, reference(model, recording, self._mode), self._voice)
        sent = recording.pcm if self._mode == "pcm" else expected.pooled
        try:
            result = self._device.learn(sent, -1, self._voice.to_bytes(identity))
            learned = self._device.voice()
            self._device.reset_voice()
        except LineError as error:
            return replace(outcome, failure=str(error))
        self._voice = learn(model, self._voice, expected.pooled, expected.label)
        stage = next((name for name, crc in expected.digests.items() if result.digests.get(name) != crc), "")
        if not stage and not expected.agrees(result):
            stage = "scores"
        if not stage and learned != self._voice.to_bytes(identity):
            stage = VOICE
        difference = Difference(recording.name, stage, 1) if stage else None
        return replace(
            outcome,
            integers=outcome.integers + expected.integers + self._voice.sums.size + self._voice.heard.size,
            difference=outcome.difference or difference,
        )


def _answer(model: QuantizedModel, label: int) -> str:
    if label == NO_SPEECH:
        return NO_SPEECH_LABEL
    return model.labels[label] if label < len(model.labels) else f"label {label}"


def reference_stages(model: QuantizedModel, pcm: NDArray[np.int16]) -> Stages:
    """Compute every stage's integers for a clip, int16 [samples].

    Raises SerqError if it is too short or too long.
    """
    stages, frames = traced_frames(model.spec, model.tables, pcm)
    pooled = clip_features(model.spec, model.tables, frames)
    of_decision = {stage.name: stage.events for stage in model.stages}
    found: dict[str, NDArray[Any]] = stages | {
        stage: values.reshape(of_decision[stage], -1) for stage, values in network_stages(model, pooled)
    }
    return {stage.name: found[stage.name].astype(stage.type, copy=False) for stage in model.stages}


def digest(values: NDArray[Any], before: int = 0) -> int:
    """Compute the CRC-32 of integers as little-endian bytes, after those whose digest is `before`."""
    return zlib.crc32(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data, before)


def locate(
    model: QuantizedModel, recording: Recording, expected: Reference, result: Result, device: Device
) -> Difference:
    """Find the first integer that differs.

    Replays the clip frame by frame, then stops at the stage and event and reads its values. Raises LineError
    if the line fails meanwhile.
    """
    stages = reference_stages(model, recording.pcm)
    for stage, values in stages.items():
        if stage in expected.digests and result.digests.get(stage) != expected.digests[stage]:
            return _locate_in_stage(device, recording, model.spec, expected, stage, values) or Difference(
                recording.name, stage, 1
            )
    return _compare_answers(recording.name, expected, result)


def select_stratified(clips: Sequence[Clip], count: int, seed: int = 0) -> list[Clip]:
    """Select `count` clips, each label in its proportion (largest remainders first), in their order.

    Returns all of them if there are no more.
    """
    if count >= len(clips):
        return list(clips)
    by_label: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        by_label.setdefault(clip.label, []).append(index)
    exact = {label: count * len(members) / len(clips) for label, members in by_label.items()}
    share = {label: int(quota) for label, quota in exact.items()}
    for label in sorted(exact, key=lambda label: (share[label] - exact[label], label))[
        : count - sum(share.values())
    ]:
        share[label] += 1
    rng = np.random.default_rng(seed)
    chosen = [
        index
        for label in sorted(by_label)
        for index in rng.choice(by_label[label], share[label], replace=False)
    ]
    return [clips[index] for index in sorted(chosen)]


def reference(model: QuantizedModel, recording: Recording, mode: Mode = "pcm") -> Reference:
    """Compute what a device must answer; once, however many devices are asked.

    Raises SerqError, with the clip's name, if it is too short or too long.
    """
    samples = hashlib.sha256(recording.pcm.tobytes()).hexdigest()
    return _computed(_Question(model.sha256, samples, mode, model, recording))


def _of_voice(model: QuantizedModel, plain: Reference, voice: Voice) -> Reference:
    """Return what a device answers by a voice: its front end computes the same."""
    types = {stage.name: stage.type for stage in model.stages}
    stages = dict(network_stages(model, plain.pooled, voice))
    digests = {name: digest(values.astype(types[name])) for name, values in stages.items()}
    label = int(classify(model, plain.pooled, voice))
    scores = stages["scores"].astype(np.int32)
    return replace(plain, digests=plain.digests | digests, scores=scores, label=label)


@dataclass(frozen=True)
class _Question:
    """A model and samples, alike where their hashes are."""

    model_hash: str
    samples_hash: str
    mode: Mode
    model: QuantizedModel = field(compare=False)
    recording: Recording = field(compare=False)


@functools.lru_cache(maxsize=128)  # more than the clips that each emulated core is asked
def _computed(asked: _Question) -> Reference:
    model, recording = asked.model, asked.recording
    try:
        stages = reference_stages(model, recording.pcm)
    except SerqError as error:
        raise SerqError(f"{recording.name}: {error}") from error
    frames = len(stages["window"])
    if asked.mode == "features":
        per_frame = {stage.name for stage in model.stages if stage.per_frame}
        stages, frames = {name: values for name, values in stages.items() if name not in per_frame}, 0
    return Reference(
        pooled=stages["pooled"][0],
        digests={stage: digest(values) for stage, values in stages.items()},
        scores=stages["scores"][0],
        label=int(classify(model, stages["pooled"][0])),
        frames=frames,
        integers=sum(values.size for values in stages.values()),
    )


def _locate_in_stage(
    device: Device,
    recording: Recording,
    spec: FeatureSpec,
    reference: Reference,
    stage: str,
    expected: NDArray[Any],
) -> Difference | None:
    """Find the first difference in a stage's integers [events, values].

    Returns None if the device now computes them right.
    """
    from_features = reference.frames == 0
    events: Iterable[int] = range(len(expected))
    if stage in spec.frame_stages:
        events = device.persist(lambda: _suspects(device, recording.pcm, spec.padding, stage, expected))
    for event in events:
        actual = (
            device.values_of_features(reference.pooled, stage)
            if from_features
            else device.values(recording.pcm, stage, event)
        )
        difference = (
            None
            if actual is None
            else _compare(recording.name, stage, event, expected[event], _same_type(actual, expected, stage))
        )
        if difference is not None:
            return difference
    return None


def _suspects(
    device: Device, pcm: NDArray[np.int16], padding: int, stage: str, expected: NDArray[Any]
) -> Iterable[int]:
    """List the events that may differ first.

    That is the one at which the digest does, or else those that only the zeros after a padded clip complete.
    """
    crc, event = 0, -1
    for event, (values, digests) in enumerate(
        zip(expected, device.digests_by_frame(pcm, padding), strict=False)
    ):
        crc = digest(values, crc)
        if digests.get(stage) != crc:
            return [event]
    return range(event + 1, len(expected))


def _compare(
    clip: str, stage: str, event: int, expected: NDArray[Any], actual: NDArray[Any]
) -> Difference | None:
    """Find the first difference of two arrays; a value that one of them lacks differs."""
    common = min(len(actual), len(expected))
    differing = np.flatnonzero(actual[:common] != expected[:common])
    count = len(differing) + max(len(actual), len(expected)) - common
    if not count:
        return None
    index = int(differing[0]) if len(differing) else common
    expected_value, actual_value = (
        int(side[index]) if index < len(side) else None for side in (expected, actual)
    )
    return Difference(clip, stage, count, event, index, expected_value, actual_value)


def _same_type(actual: NDArray[np.unsignedinteger], expected: NDArray[Any], stage: str) -> NDArray[Any]:
    if actual.dtype.itemsize != expected.dtype.itemsize:
        raise SerqError(
            f"the device computes stage {stage} in {actual.itemsize} bytes, not {expected.itemsize}; export"
            " the project again"
        )
    return actual.view(expected.dtype)


def _compare_answers(clip: str, reference: Reference, result: Result) -> Difference:
    """Describe a device whose stages agree with the reference, but not what it reports of them."""
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
    raise SerqError(
        f"the device computes {extra}, which this serq-mcu does not know; export the project again"
    )


def _require_same_model(project: Project, model: QuantizedModel) -> None:
    if project.identity != model.identity.hex():
        raise SerqError(
            f"{project.folder / MODEL} is model {model.identity.hex()}, but the folder is of"
            f" {project.identity}; export it again"
        )


def require_same_firmware(model: QuantizedModel, target: Target) -> None:
    """Raise SerqError, naming what differs, if the device runs another firmware.

    That is another runtime, board, model or order of labels.
    """
    identity = target.device.identity
    again = "build and flash the exported project again"
    if identity.abi != ABI:
        raise SerqError(
            f"the firmware on {target.name} has runtime interface {identity.abi}, this serq-mcu has {ABI};"
            f" {again}"
        )
    if identity.board != target.board:
        raise SerqError(
            f"the firmware on {target.name} was exported for board {identity.board}, not for {target.board};"
            f" {again}"
        )
    if identity.model != model.identity.hex():
        raise SerqError(
            f"the firmware on {target.name} carries model {identity.model}, not {model.identity.hex()};"
            f" {again}"
        )
    shown, expected = (
        [(one.name, one.size, one.per_frame) for one in table]
        for table in (target.device.stages, model.stages)
    )
    if shown != expected:
        raise SerqError(f"the firmware on {target.name} shows other stages than its model has; {again}")
    for index, label in enumerate((*model.labels, "")):
        if (told := target.device.label(index)) != label:
            raise SerqError(
                f"label {index} of the firmware on {target.name} is {told!r}, not {label!r}: its labels are"
                f" not the model's; {again}"
            )
