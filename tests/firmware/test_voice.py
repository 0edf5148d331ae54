"""A speaker's voice: the C equals the reference in clips, in streams and on the wire; it is stored and read
again; what is damaged or of another model is refused by name; and nothing that comes can carry it away.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serq_mcu.boards.board import load_board
from serq_mcu.codegen.export import Project, export
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.frontend.reference import features
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.harness.device import Device, DeviceError
from serq_mcu.listening.engine import C, open_engine
from serq_mcu.quantized_model.interpreter import classify, input_steps, learn, require_voices, scores
from serq_mcu.quantized_model.store import load_model, save_model
from serq_mcu.quantized_model.streaming import LEARN_ANSWERS, LEARN_NOTHING, Stream
from serq_mcu.quantized_model.types import NO_SPEECH, QuantizedModel
from serq_mcu.quantized_model.voice import HEARD, MOST_WINDOWS, RESIDUAL_MAX, Voice, VoicePrior, divide
from serq_mcu.verification.target import open_target
from serq_mcu.verification.verify import Recording, verify
from tests.support.models import SMALL_SPEC, made_up_features, made_up_model, made_up_voices
from tests.support.native import RUNTIME, SANITIZERS, compile_program, run

NO_ROWS = np.zeros((0, 21), np.int64)
NOISE = np.random.default_rng(3).normal(0, 3000, 16000 * 3).astype(np.int16)


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    return made_up_model((8, 5), (4, 2), labels=("anger", "joy", "neutral", "sadness", "no speech"))


def taught(model: QuantizedModel, rows: np.ndarray, label: int = 1) -> Voice:
    voice = Voice.unknown(require_voices(model))
    for row in rows:
        voice = learn(model, voice, row, label)
    return voice


def test_division_rounds_to_nearest_and_ties_away_from_zero() -> None:
    assert divide(np.array([7, -7, 5, -5, 4, -4, 0]), np.int64(10)).tolist() == [1, -1, 1, -1, 0, 0, 0]


def test_a_voice_shifts_by_its_mean_residual_shrunk_by_pseudo_windows(model: QuantizedModel) -> None:
    prior = model.voice
    assert prior is not None
    row = made_up_features(model, 8)[5]
    voice = taught(model, np.array([row, row]))
    residual = np.clip(input_steps(model.input, row), -127, 127) - prior.means[1]
    exact = 2 * residual / (2 + 2 + prior.counts.astype(int))  # both windows are of one class
    assert np.abs(voice.shift(prior) - exact).max() <= 0.5
    steps = 64 + input_steps(model.input, row) - voice.shift(prior)
    from_voice = np.clip(steps, 0, 127)
    assert (from_voice != np.clip(64 + input_steps(model.input, row), 0, 127)).any()


def test_one_emotion_says_less_of_a_voice_than_several(model: QuantizedModel) -> None:
    """The same residuals count for half as much where all are of one class; older ones fade from it too."""
    prior = model.voice
    assert prior is not None
    flat = dataclasses.replace(prior, means=np.zeros_like(prior.means), counts=np.ones_like(prior.counts))
    steps, known = np.full(21, 60), np.zeros(21, bool)
    one = several = Voice.unknown(flat)
    for window in range(4 * flat.most):
        one, several = one.learned(flat, steps, known, 1), several.learned(flat, steps, known, window % 4)
    assert (one.sums == several.sums).all()
    n = flat.most
    assert np.abs(one.shift(flat) - 60 * n / (2 * n + 1)).max() <= 1
    assert np.abs(several.shift(flat) - 60 * n / (1.25 * n + 1)).max() <= 4  # the newest class a little more
    for _ in range(8 * flat.most):  # another emotion, until the first is forgotten
        one = one.learned(flat, steps, known, 2)
    assert one.heard[1] < 256
    assert one.heard[2] > 255 * n


def test_what_is_missing_teaches_nothing_and_is_answered_as_the_mean(model: QuantizedModel) -> None:
    prior = model.voice
    assert prior is not None
    row = made_up_features(model, 8)[6]
    voice = taught(model, np.array([row] * 2))
    row[4] = MISSING
    after = learn(model, voice, row, 1)
    assert after.sums[4] == voice.sums[4] + voice.shift(prior)[4]
    silent = np.full_like(row, MISSING)
    assert learn(model, voice, silent, 1) is voice
    assert classify(model, silent, voice) == NO_SPEECH


@pytest.mark.parametrize("label", [-1, -2, 4], ids=["no speech", "not sure", "the class no speech"])
def test_nothing_is_learned_of_what_is_no_emotion(model: QuantizedModel, label: int) -> None:
    voice = Voice.unknown(require_voices(model))
    assert learn(model, voice, made_up_features(model, 8)[5], label) is voice


def test_sums_stay_within_what_int16_holds_whatever_comes() -> None:
    prior = VoicePrior(np.array([[-127, 127]], np.int8), np.array([1, 1], np.uint16), MOST_WINDOWS)
    voice = Voice.unknown(prior)
    for _ in range(4 * MOST_WINDOWS):
        voice = voice.learned(prior, np.array([10**6, -(10**6)]), np.zeros(2, bool), 0)
    assert voice.windows == MOST_WINDOWS
    assert np.abs(voice.sums).max() == RESIDUAL_MAX * MOST_WINDOWS < 2**15


def test_an_old_voice_is_forgotten_by_a_new_one(model: QuantizedModel) -> None:
    rows = made_up_features(model, 30)
    first, second = (taught(model, np.array([row] * 30)) for row in rows[5:7])
    changed = first
    for _ in range(30):
        changed = learn(model, changed, rows[6], 1)
    assert np.abs(changed.sums - second.sums).max() <= 2  # a step of rounding each way
    assert np.abs(first.sums - second.sums).max() > 20


def test_clips_and_streams_of_a_voice_are_the_references(model: QuantizedModel) -> None:
    """Sure or not, with the label that was asked for, and over the window's end."""
    rows = made_up_features(model, 8)
    voice = taught(model, rows[5:8])
    for learns in (2, LEARN_ANSWERS, LEARN_NOTHING, 4, 99):
        engine, reference = open_engine(model, print), Stream(model)
        assert engine.by == C
        engine.use_voice(voice, learns)
        reference.use_voice(voice, learns)
        answered = engine.clip(NOISE)
        assert answered is not None
        assert answered.scores == tuple(scores(model, features(model.spec, model.tables, NOISE), voice))
        assert engine.push(NOISE) == reference.push(NOISE)
        found = engine.voice()
        assert found is not None
        assert reference.voice is not None
        assert found.windows == reference.voice.windows
        assert (found.sums == reference.voice.sums).all()
        assert (found.heard == reference.voice.heard).all()
        assert (found.sums != voice.sums).any() == (learns in (2, LEARN_ANSWERS))
        assert engine.push(NOISE) == reference.push(NOISE), "with what was learned"


def test_a_stream_learns_from_windows_that_share_no_block(model: QuantizedModel) -> None:
    stream = Stream(model)
    stream.use_voice(Voice.unknown(require_voices(model)), 2)
    windows = []
    block = 4 * SMALL_SPEC.hop_length
    for at in range(0, 12 * block, block):
        stream.push(NOISE[at : at + block])
        assert stream.voice is not None
        windows.append(stream.voice.windows)
    first = windows.index(1)
    assert [windows[first + i] for i in (0, 2, 3, 5, 6)] == [1, 1, 2, 2, 3]  # of three blocks


def test_a_stream_forgets_whose_voice_it_heard_when_it_starts_again(model: QuantizedModel) -> None:
    stream, other = Stream(model), Stream(model)
    stream.use_voice(taught(model, made_up_features(model, 8)[5:]), 2)
    stream.start()
    assert stream.push(NOISE) == other.push(NOISE)


def test_a_voice_is_stored_and_read_again(model: QuantizedModel) -> None:
    prior = model.voice
    assert prior is not None
    voice = taught(model, made_up_features(model, 8)[5:])
    stored = voice.to_bytes(model.identity)
    assert len(stored) == Plan(model, load_board("esp32")).voice_bytes
    again = Voice.from_bytes(stored, prior, model.identity)
    assert again.windows == voice.windows
    assert (again.sums == voice.sums).all()
    assert (again.heard == voice.heard).all()


def damaged(stored: bytes) -> dict[str, bytes]:
    """One bit changed at every place that a check of its own guards, and other lengths."""
    changed = {str(at): stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :] for at in (0, 6, 9, 20, 63)}
    return changed | {"short": stored[:-1], "empty": b"", "long": stored + b"\0"}


def impossible_voices(prior: VoicePrior) -> list[Voice]:
    """Voices that no learning leads to: too large a sum, too much of a class, too many windows."""
    unknown = Voice.unknown(prior)
    sums, heard = np.full_like(unknown.sums, 2 * RESIDUAL_MAX + 1), np.full_like(unknown.heard, 2 * HEARD + 1)
    return [
        Voice(2, sums, unknown.heard),
        Voice(2, unknown.sums, heard),
        Voice(prior.most + 1, unknown.sums, unknown.heard),
    ]


def test_a_damaged_voice_is_refused_by_name(model: QuantizedModel) -> None:
    prior = model.voice
    assert prior is not None
    stored = taught(model, made_up_features(model, 8)[5:]).to_bytes(model.identity)
    for changed in damaged(stored).values():
        with pytest.raises(SerqError, match=r"it is no voice|the voice is damaged"):
            Voice.from_bytes(changed, prior, model.identity)
    with pytest.raises(SerqError, match=rf"of model {'00' * 8}, not {model.identity.hex()}"):
        Voice.from_bytes(Voice.unknown(prior).to_bytes(bytes(8)), prior, model.identity)
    for impossible in impossible_voices(prior):
        with pytest.raises(SerqError, match="damaged"):
            Voice.from_bytes(impossible.to_bytes(model.identity), prior, model.identity)


def test_a_model_file_keeps_its_voices(model: QuantizedModel, tmp_path: Path) -> None:
    loaded = load_model(save_model(model, tmp_path / "model.serq"))
    assert loaded.voice is not None
    assert model.voice is not None
    assert (loaded.voice.means == model.voice.means).all()
    assert (loaded.voice.counts == model.voice.counts).all()
    assert loaded.voice.most == model.voice.most
    assert dataclasses.replace(model, voice=None).sha256 != model.sha256


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"most": 129}, "1 to 128 windows, not 129"),
        ({"most": 2.0}, "1 to 128 windows, not 2.0"),
        ({"counts": np.zeros(21, np.uint16)}, "counts must be 1 to 65535"),
        ({"counts": np.ones(20, np.uint16)}, "means are of 21 features, counts of 20"),
        ({"means": np.full((5, 21), -128, np.int8)}, "means must be within 127"),
        ({"means": np.zeros((5, 21), np.int16)}, "means"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(SerqError, match=why):
        dataclasses.replace(made_up_voices(5, 21), **change)


def test_a_prior_of_other_classes_is_refused(model: QuantizedModel) -> None:
    with pytest.raises(SerqError, match=r"voice means are \(4, 21\), not \(5, 21\)"):
        dataclasses.replace(model, voice=made_up_voices(4, 21))


def test_a_model_without_voices_says_so() -> None:
    plain = made_up_model((5,), (4,), voices=False)
    with pytest.raises(SerqError, match="was not trained for voices"):
        open_engine(plain, print).use_voice(None)
    with pytest.raises(SerqError, match="was not trained for voices"):
        learn(plain, Voice.unknown(made_up_voices(5, 21)), made_up_features(plain, 8)[5], 0)


def test_a_model_without_voices_is_verified_and_knows_no_request_of_them(tmp_path: Path) -> None:
    plain = made_up_model((5,), (4,), voices=False)
    exported = export(plain, load_board("emulated-m0"), tmp_path / "plain")
    with open_target(exported, "host") as target:
        assert verify(plain, [Recording("a clip", NOISE)], target).ok
        for ask in (target.device.voice, target.device.reset_voice, lambda: target.device.put_voice(b"12")):
            with pytest.raises(DeviceError, match="unknown request"):
                ask()
    engine = open_engine(plain, print)
    assert engine.by == C
    assert engine.push(NOISE) == Stream(plain).push(NOISE)


def test_what_the_how_to_shows_compiles(model: QuantizedModel, tmp_path: Path) -> None:
    """With functions that store nothing; what the vendors' cores store is not compiled here."""
    for name, data in Plan(model, load_board("esp32")).model_files.items():
        (tmp_path / Path(name).name).write_bytes(data)
    page = (Path(__file__).parents[2] / "docs" / "howto" / "make_it_know_your_voice.md").read_text()
    shown = page.split("```c\n")[1].split("```")[0]
    stored = (
        "#include <stdbool.h>\n#include <stddef.h>\n"
        "static bool load(void *bytes, size_t size) { (void)bytes; return size == 0; }\n"
        "static void store(const void *bytes, size_t size) { (void)bytes; (void)size; }\n"
        "void start(void);\nvoid keep(void);\n"
    )
    (tmp_path / "shown.c").write_text(stored + shown + "int main(void) { start(); keep(); return 0; }\n")
    sources = [tmp_path / "shown.c", tmp_path / "serq_model.c", *sorted(RUNTIME.glob("*.c"))]
    run(compile_program(tmp_path / "shown", sources, (*SANITIZERS, f"-I{tmp_path}")), b"")


@pytest.fixture(scope="module")
def project(model: QuantizedModel, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return export(model, load_board("emulated-m0"), tmp_path_factory.mktemp("voice") / "project")


def test_the_wire_carries_a_voice_there_and_back(model: QuantizedModel, project: Project) -> None:
    unknown = Voice.unknown(require_voices(model)).to_bytes(model.identity)
    rows = made_up_features(model, 8)
    voice = taught(model, rows[5:])
    stored = voice.to_bytes(model.identity)
    with open_target(project, "host") as target:
        device = target.device
        assert device.voice() == unknown
        device.put_voice(stored)
        assert device.voice() == stored
        result = device.run_features(rows[4])
        assert result.scores.tolist() == scores(model, rows[4], voice).tolist()
        for name, changed in damaged(stored).items():
            if name in ("short", "empty", "long"):
                continue
            device.put_voice(stored)
            with pytest.raises(DeviceError, match="voice damaged"):
                device.put_voice(changed)
            assert device.voice() == unknown, "the prior answers"
        with pytest.raises(DeviceError, match="voice foreign"):
            device.put_voice(voice.to_bytes(bytes(8)))
        device.put_voice(stored)
        device.reset_voice()
        assert device.voice() == unknown
        for nothing in (4, 5, 99):  # the class no speech, and labels that are none
            device.learn(rows[5], nothing, stored)
            assert device.voice() == stored
        learned = taught(model, NO_ROWS)
        for row, label in zip(rows[2:], (3, 0, 3, 1, 2, 2), strict=True):  # until it is full, and beyond
            device.learn(row, label, learned.to_bytes(model.identity))
            learned = learn(model, learned, row, label)
            assert device.voice() == learned.to_bytes(model.identity)


def test_half_a_voice_is_none(model: QuantizedModel, project: Project) -> None:
    rows = made_up_features(model, 8)
    stored = taught(model, rows[5:]).to_bytes(model.identity)
    with open_target(project, "host") as target:
        device = target.device
        device.put_voice(stored)
        _send_part(device, stored[:20])
        assert device.run_features(rows[4]).scores.tolist() == scores(model, rows[4]).tolist()


def _send_part(device: Device, part: bytes) -> None:
    device.put_voice(part)  # the host sends what it has; the device waits for more


def test_verification_compares_what_is_learned(model: QuantizedModel, project: Project) -> None:
    clips = [Recording(f"clip {i}", NOISE[1000 * i :]) for i in range(3)]
    with open_target(project, "host") as target:
        report = verify(model, clips, target)
    assert report.ok
    other = dataclasses.replace(model, voice=made_up_voices(5, 21, seed=9))
    with open_target(project, "host") as target, pytest.raises(SerqError, match="carries model"):
        verify(other, clips, target)


def test_verification_finds_a_voice_that_learns_wrongly(model: QuantizedModel, tmp_path: Path) -> None:
    wrong = export(model, load_board("emulated-m0"), tmp_path / "wrong")
    source = wrong.folder / "lib" / "serq" / "src" / "serq_voice.c"
    right = "residual = serq_clamp(step, -STEP_MAX, STEP_MAX) - means[i];"
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, right.replace("means[i]", "means[i] / 2")))
    clips = [Recording(f"clip {i}", NOISE[1000 * i :]) for i in range(3)]
    with open_target(wrong, "host", allow_changes=True) as target:
        report = verify(model, clips, target)
    assert not report.ok
    assert report.differing_by_stage == {"voice": 3}


def test_the_runtime_opens_only_what_it_can_have_learned(model: QuantizedModel, tmp_path: Path) -> None:
    """Under the sanitizers; the bytes are those that Python writes."""
    files = Plan(model, load_board("esp32")).model_files
    for name, data in files.items():
        (tmp_path / Path(name).name).write_bytes(data)
    (tmp_path / "open.c").write_text(
        '#include <stdio.h>\n#include "serq.h"\nint main(void) { static serq_voice v; int error;\n'
        "while (fread(&v, 1, sizeof v, stdin) == sizeof v) { error = serq_voice_open(&v);"
        " serq_voice_seal(&v); fwrite(&error, 4, 1, stdout); fwrite(&v, 1, sizeof v, stdout); }"
        " return 0; }\n"
    )
    sources = [tmp_path / "open.c", tmp_path / "serq_model.c", *sorted(RUNTIME.glob("*.c"))]
    program = compile_program(tmp_path / "open", sources, (*SANITIZERS, f"-I{tmp_path}"))
    voice = taught(model, made_up_features(model, 8)[5:])
    stored, unknown = (v.to_bytes(model.identity) for v in (voice, taught(model, NO_ROWS)))
    impossible = [one.to_bytes(model.identity) for one in impossible_voices(require_voices(model))]
    foreign = voice.to_bytes(bytes(8))
    changed = [bad for bad in damaged(stored).values() if len(bad) == len(stored)]
    cases = [(stored, 0, stored), (foreign, -9, unknown)]
    cases += [(bad, -8, unknown) for bad in [*impossible, *changed]]
    answers = run(program, b"".join(given for given, _, _ in cases))
    size = 4 + len(stored)
    for place, (_, error, after) in enumerate(cases):
        answer = answers[place * size :][:size]
        assert int.from_bytes(answer[:4], "little", signed=True) == error
        assert answer[4:] == after
