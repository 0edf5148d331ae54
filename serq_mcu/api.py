"""The Python interface: what the commands do, as functions of paths, names and objects.

`import serq_mcu` gives everything here. A function takes a path as text or `Path`, and, where it takes a
model, a run or a board, either the object or what names it. What a user can mend is a `SerqError`, in one
sentence.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.files import check_folder
from serq_mcu.base.progress import Progress
from serq_mcu.base.resources import BEST
from serq_mcu.boards import board as boards
from serq_mcu.boards.board import Board
from serq_mcu.codegen.examples import export_project
from serq_mcu.codegen.export import Project
from serq_mcu.codegen.plan import Plan
from serq_mcu.config import Config
from serq_mcu.config import load_config as read_config
from serq_mcu.corpus.audio import read_audio
from serq_mcu.corpus.conditions import Condition
from serq_mcu.errors import SerqError
from serq_mcu.evaluation import calibration as voices
from serq_mcu.evaluation import clips as evaluation
from serq_mcu.evaluation.calibration import Calibration
from serq_mcu.evaluation.clips import Evaluation
from serq_mcu.extraction.extractor import Extractor, clip_features
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import build_tables
from serq_mcu.layers.kernels import Storage
from serq_mcu.quantization import pipeline, run_folder
from serq_mcu.quantization.adaptation import Adaptation
from serq_mcu.quantization.pipeline import Allocation
from serq_mcu.quantization.run_folder import Run
from serq_mcu.quantized_model import store
from serq_mcu.quantized_model.streaming import Decision, Stream
from serq_mcu.quantized_model.types import QuantizedModel
from serq_mcu.quantized_model.voice import Voice
from serq_mcu.training import run as training
from serq_mcu.verification import verify as verification
from serq_mcu.verification.report import VerifyReport

__all__ = [
    "Adaptation",
    "Allocation",
    "Board",
    "Calibration",
    "Config",
    "Decision",
    "Evaluation",
    "FeatureSpec",
    "Project",
    "QuantizedModel",
    "Run",
    "SerqError",
    "Stream",
    "VerifyReport",
    "Voice",
    "adapt",
    "calibrate",
    "evaluate",
    "export",
    "features",
    "load_board",
    "load_config",
    "load_model",
    "load_run",
    "load_voice",
    "quantize",
    "save_model",
    "save_voice",
    "train",
    "verify",
]

AnyPath = str | os.PathLike[str]


def load_config(path: AnyPath | None = None, *, preset: str = BEST, **sections: dict[str, Any]) -> Config:
    """Read the configuration of a training run.

    Args:
        path: A TOML file with what differs from the preset; without it, the preset.
        preset: `"best"`, `"light"` (some 60 % of the cycles of listening), `"tiny"` (weights of 3 KB) or
            `"paper"` (the network and hyper-parameters of Shinde, Jain and Sharma).
        **sections: What differs further, a dictionary for each section, such as `training={"seed": 1}`.

    Returns:
        The whole configuration, checked.

    Raises:
        SerqError: The file cannot be read, or a key or a value is wrong; the sentence names it.
    """
    return read_config(None if path is None else Path(path), preset=preset).changed(**sections)


def load_board(board: AnyPath) -> Board:
    """Read a board.

    Args:
        board: A name that `serq-mcu boards` lists, such as `"esp32"`, or the path of a board file (`.toml`).

    Returns:
        What is known of the board: chip, memory, port, microphone.

    Raises:
        SerqError: There is no such board, or its file is damaged.
    """
    return boards.load_board(os.fspath(board))


def load_model(model: AnyPath | None = None) -> QuantizedModel:
    """Read an integer model and check all its bounds.

    Args:
        model: The path of a model file (`.serq`), or the name of a model that comes with the package, such
            as `"emodb-small"`; without it, the model that `serq-mcu export` takes.

    Returns:
        The model: specification, integer layers, labels and provenance.

    Raises:
        SerqError: The file is missing, damaged or no model.
    """
    return store.shipped_model() if model is None else store.find_model(Path(model))


def save_model(model: QuantizedModel, path: AnyPath) -> Path:
    """Write a model file; the same model gives the same bytes.

    Args:
        model: The model.
        path: The file to write (`.serq`).

    Returns:
        The path.

    Raises:
        SerqError: The file cannot be written.
    """
    return store.save_model(model, Path(path))


def load_run(folder: AnyPath) -> Run:
    """Read the run folder that `train` or `serq-mcu train` wrote. It needs no TensorFlow.

    Args:
        folder: The run folder.

    Returns:
        The trained float network with its data, split and configuration.

    Raises:
        SerqError: The folder is no run, or is damaged.
    """
    return run_folder.load_run(Path(folder))


def train(
    folder: AnyPath,
    out: AnyPath,
    *,
    config: Config | AnyPath | None = None,
    other_sounds: AnyPath | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train a float network on recordings, with the features that the device computes.

    It needs the packages of `serq-mcu[train]`.

    Args:
        folder: The recordings: a corpus that is recognised by its file names, or `label/clip.wav`.
        out: The run folder to write, whole or not at all.
        config: A configuration, or the path of a TOML file with what differs from the preset `best`.
        other_sounds: A folder of recordings without speech, to learn a class "no speech" from.
        progress: Called with a sentence, the units done and their total.

    Returns:
        The run: network, features, split and configuration.

    Raises:
        SerqError: The recordings cannot be used, a class has too few of them, a package is missing, or `out`
            is a folder that no training wrote.
    """
    chosen = config if isinstance(config, Config) else load_config(config)
    sounds = None if other_sounds is None else Path(other_sounds)
    check_folder(Path(out), run_folder.MARKER)
    return training.train(Path(folder), Path(out), chosen, progress, sounds)


def quantize(
    run: Run | AnyPath, *, progress: Progress | None = None, **options: Any
) -> tuple[QuantizedModel, Allocation]:
    """Choose the bits of each layer and make the integer model of a run.

    The same run and options give the same model, byte for byte.

    Args:
        run: A run, or the path of its folder.
        progress: Called with a sentence, the units done and their total.
        **options: Keys of the configuration's `[quantization]`: `method` (`"adaptive"`, or widths such as
            `"4"` or `"8,ternary,2,1"`), `alpha` (0 to 1), `margin` (a fraction of accuracy),
            `max_bytes` (of weights: where the margin asks for more, the bits that lose least within them),
            `fine_tune` (whether to train on at the bits chosen; it needs the packages of `serq-mcu[train]`).

    Returns:
        The model, and how its bits were chosen with the scores of each step.

    Raises:
        SerqError: The run cannot be read, an option is wrong, or the options do not fit the network.
    """
    chosen = (run if isinstance(run, Run) else load_run(run)).changed(quantization=options)
    if {"method", "max_bytes"} <= set(options):
        raise SerqError("method and max_bytes both choose the bits; give one of them")
    tuner = training.fine_tuning(chosen, progress) if chosen.config.quantization.fine_tune else None
    return pipeline.quantize(chosen, progress, tuner)


def evaluate(
    model: QuantizedModel | AnyPath,
    folder: AnyPath,
    *,
    noise: str = "",
    snr_db: float = 20.0,
    gain_db: float = 0.0,
    pauses: Sequence[float] = (),
    room_noise_db: Sequence[float] = (),
    bands: Sequence[str] = (),
    offsets: Sequence[float] = (),
    voice: Voice | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compute the accuracy of the integer model on recordings.

    Where the recordings are those that the model was trained on, only its held-out clips count; `basis` of
    the result says which clips were used.

    Args:
        model: A model, its path, or the name of one that comes with the package.
        folder: The recordings, as for `train`.
        noise: The noise to add, such as `"white"` or `"babble"`, or nothing.
        snr_db: The signal-to-noise ratio in dB, of root mean squares over the whole clip.
        gain_db: The gain in dB; peaks saturate.
        pauses: Seconds of digital silence before and after each clip; each value is a condition of its own.
        room_noise_db: Levels of white noise under clips and pauses, dB of a full-scale square wave; each is a
            condition of its own for each of `pauses`, or without pauses.
        bands: Narrow channels, each a condition of its own: `"8k"`, `"11k"` or `"telephone"`.
        offsets: Constant offsets, 1 for full scale, each a condition of its own.
        voice: The speaker's, as `calibrate` learns it.
        progress: Called with a sentence, the units done and their total.

    Returns:
        The score with its number of clips, 95 % interval and confusion matrix; `others` has the scores under
        the conditions asked for, with the change clip by clip.

    Raises:
        SerqError: The model or a recording cannot be read, or no clip is of a class that the model has.
    """
    condition = Condition(noise=noise, snr_db=snr_db if noise else 0.0, gain_db=gain_db)
    others = evaluation.surroundings(condition, pauses, room_noise_db, bands, offsets)
    known = _model(model)
    return evaluation.evaluate(known, Path(folder), progress, condition, others=others, voice=voice)


def calibrate(
    model: QuantizedModel | AnyPath,
    folder: AnyPath,
    label: str = "",
    *,
    unlabelled: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Learn a speaker's voice from recordings.

    Args:
        model: A model, its path, or the name of one that comes with the package.
        folder: Recordings of one speaker.
        label: The class that all of them are of; without it their folders or names say it.
        unlabelled: Whether the model's own answers say it.
        progress: Called with a sentence, the units done and their total.

    Returns:
        The `voice`, which `evaluate` and `save_voice` take; where labels are known, scores without it and
        with it, each clip evaluated with what the others taught.

    Raises:
        SerqError: The model was not trained for voices, a recording cannot be read, or nothing can be learned
            from.
    """
    return voices.calibrate(_model(model), Path(folder), label, progress, unlabelled=unlabelled)


def load_voice(path: AnyPath, model: QuantizedModel | AnyPath) -> Voice:
    """Read a voice file.

    Args:
        path: What `save_voice` or `serq-mcu calibrate` wrote.
        model: The model that the voice was learned for.

    Returns:
        The voice.

    Raises:
        SerqError: The file is missing, damaged, or of another model.
    """
    return voices.load_voice(Path(path), _model(model))


def save_voice(voice: Voice, model: QuantizedModel | AnyPath, path: AnyPath) -> Path:
    """Write a voice file, whole or not at all. It is personal data.

    Args:
        voice: What `calibrate` learned.
        model: The model that it was learned for.
        path: The file.

    Returns:
        The path.

    Raises:
        SerqError: The file cannot be written.
    """
    return voices.save_voice(voice, _model(model), Path(path))


def adapt(
    model: QuantizedModel | AnyPath, folder: AnyPath, *, progress: Progress | None = None
) -> Adaptation:
    """Adapt a model to one speaker's labelled clips, 1 to 20 of each class.

    Args:
        model: A model, its path, or the name of one that comes with the package.
        folder: The clips, a folder for each class; these may be some of the model's, or others.
        progress: Called with a sentence, the units done and their total.

    Returns:
        The adapted `model`, and scores `before` and `after`, each clip left out in turn.

    Raises:
        SerqError: The model was not trained for voices, a clip cannot be read, or there are clips of fewer
            than two classes or of several speakers.
    """
    return voices.adapt_to_clips(_model(model), Path(folder), progress)


def features(audio: NDArray[np.int16] | AnyPath, spec: FeatureSpec | None = None) -> NDArray[np.int32]:
    """Compute the features of one clip: the integers that the device computes.

    The exported C of the specification computes them, compiled once; without a C compiler, numpy does.

    Args:
        audio: Samples, int16 [samples], at the specification's sample rate; or the path of a WAV, FLAC or
            AIFF file, which is converted to that rate and to one channel.
        spec: The specification, such as a model's `spec`; without it, the default one.

    Returns:
        The pooled features, int32 [features]; `spec.feature_names` names them.

    Raises:
        SerqError: The file cannot be read, or the clip is too short, too long or of another type.
    """
    chosen = spec or load_config().features
    pcm = audio if isinstance(audio, np.ndarray) else read_audio(Path(audio), chosen.sample_rate).pcm
    return _extractor(chosen)(pcm)


def export(
    model: QuantizedModel | AnyPath,
    board: Board | AnyPath,
    out: AnyPath,
    *,
    app: Literal["live", "harness", "capture"] = "live",
    storage: Literal["compact", "fast"] = "compact",
    force: bool = False,
) -> Project:
    """Write the PlatformIO project of a model for a board.

    The same model, board and options give the same bytes. An earlier export in the folder is replaced.

    Args:
        model: A model, its path, or the name of one that comes with the package.
        board: A board, its name, or the path of a board file.
        out: The folder to write.
        app: What the firmware does: `"live"` listens to the microphone and prints decisions, `"harness"` is
            the target of `verify`, `"capture"` sends the microphone's samples to `serq-mcu record`.
        storage: `"fast"` stores weights with more bits than they have where that runs faster.
        force: Whether to replace a folder in which files were changed or added since the export.

    Returns:
        The project: its folder, board, application and files.

    Raises:
        SerqError: The board cannot run the application, or the folder is not an export, or was changed.
    """
    target = board if isinstance(board, Board) else load_board(board)
    plan = Plan(_model(model), target, app, Storage(storage))
    return export_project(plan, Path(out), force=force)


def verify(
    project: Project | AnyPath,
    clips: AnyPath,
    *,
    on: str = "host",
    count: int | None = None,
    allow_changes: bool = False,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare firmware with the integer reference on recordings, at every stage and bit for bit.

    Args:
        project: An exported project with the application `"harness"`, or its folder.
        clips: The recordings, as for `train`.
        on: Where the firmware runs: `"host"` (compiled for this computer), `"emulator"` (QEMU), or the
            serial port of a board.
        count: How many recordings to use, an equal share of each class; without it, all.
        allow_changes: Whether to build and run the folder's own code where it is not what its model and board
            give; only for a folder whose makers you trust.
        progress: Called with a sentence, the units done and their total.

    Returns:
        What agreed and what differed: `ok`, `compared_integers`, `differences`, `failures`.

    Raises:
        SerqError: The project, the recordings or the device cannot be used. A difference is no error.
    """
    folder = project.folder if isinstance(project, Project) else Path(project)
    return verification.verify_project(folder, Path(clips), on, count, progress, allow_changes=allow_changes)


def _model(model: QuantizedModel | AnyPath) -> QuantizedModel:
    return model if isinstance(model, QuantizedModel) else load_model(model)


@functools.lru_cache(maxsize=8)
def _extractor(spec: FeatureSpec) -> Extractor:
    return clip_features(spec, build_tables(spec))
