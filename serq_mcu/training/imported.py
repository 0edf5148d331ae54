"""A user's own network as a run, from where everything goes on as with one that was trained here.

Keras's `.keras` and `.h5` files and ONNX files are read as data: nothing in them is executed, and no
framework is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.files import read_regular
from serq_mcu.base.progress import Progress
from serq_mcu.config import Config
from serq_mcu.errors import SerqError
from serq_mcu.quantization.network import standardisation
from serq_mcu.quantization.run_folder import Run, save_run
from serq_mcu.training.chain import ImportedNetwork, fold, two_classes
from serq_mcu.training.keras_files import DAMAGED, MOST_BYTES, read_archive, read_h5
from serq_mcu.training.librosa_features import librosa_means, librosa_spec, on_integers, typical_floor
from serq_mcu.training.onnx_files import read_onnx
from serq_mcu.training.run import read_dataset, version_features
from serq_mcu.version import __version__

_OTHERS = (  # files of networks that are not read: where their mark stands, and what to do
    (4, b"TFL3", "is a .tflite file, whose integers are TensorFlow's; save the float model as .keras or .h5"),
    (0, b"\x80\x02", "is a pickle, which could run code when it is read; export the model to ONNX"),
    (0, b"\x80\x04", "is a pickle, which could run code when it is read; export the model to ONNX"),
    (0, b"\x80\x05", "is a pickle, which could run code when it is read; export the model to ONNX"),
    (0, b"{", "is JSON, layers without weights; save the whole model with model.save('name.keras')"),
)


def import_model(
    file: Path,
    folder: Path,
    labels: Sequence[str],
    out: Path,
    config: Config,
    progress: Progress | None = None,
    features: str = "",
) -> tuple[Run, list[str]]:
    """Write the network in `file` as the run folder `out`; returns the run, and what to know of its features.

    labels names its outputs in their order, of one sigmoid unit first the class that it answers with 0;
    `folder` has clips of each of them. Its inputs are the features of `config` in the device's units
    (`pooled` of a run's features.safetensors, of a sequence as frames of values), as its normalisation
    expects them; without one, in standard deviations of the training clips here. features: of librosa, such
    as librosa-mfcc40, in place of those of `config` (`librosa_features.py`). Raises SerqError, naming the
    layer, if the device cannot compute it, or it does not fit the features or the labels.
    """
    if features:
        config = config.changed(features=librosa_spec(features).to_json())
    spec = config.features
    frames = max(spec.sequence_frames, 1)
    found = for_labels(read_network(file, frames, spec.coefficients), labels)
    if found.features != spec.feature_count:
        raise SerqError(
            f"{file} takes {found.features} features, and specification {spec.name} has"
            f" {spec.feature_count}; give --config or --features"
        )
    if len(labels) != found.biases[-1].size or len(set(labels)) != len(labels):
        raise SerqError(
            f"{file} has {found.biases[-1].size} outputs; give as many different --labels, in their order,"
            f" not {', '.join(labels)}"
        )
    config = config.changed(augmentation={"versions": 0})
    dataset = read_dataset(folder, config, progress)
    if sorted(dataset.labels) != sorted(labels):
        raise SerqError(
            f"{folder} has clips of {', '.join(dataset.labels)}, and the network's labels are"
            f" {', '.join(labels)}; they must be the same"
        )
    truth = np.array([labels.index(dataset.labels[index]) for index in dataset.truth], dtype=np.int64)
    dataset = replace(dataset, labels=tuple(labels), truth=truth)
    split, training_part = _split(dataset, config)
    part = split.part
    means, notes = None, list[str]()
    if features:
        means, floors = librosa_means(config.features, dataset.recordings)
        floor = typical_floor(floors[part == training_part])
        config = config.changed(features={"log_floor": floor})
    pooled = version_features(dataset, part, training_part, config, progress)
    if means is not None:
        fitted = part == training_part
        found, notes = on_integers(found, config.features, pooled[0][fitted], means[fitted])
    network = found.standardised(
        *standardisation(pooled[0, part == training_part], len(pooled[0, 0]) // frames)
    )
    run = Run(
        config=config,
        corpus=dataset.corpus,
        labels=dataset.labels,
        names=dataset.names,
        speakers=dataset.speakers,
        recordings=dataset.recordings.short_digests,
        pooled=pooled,
        truth=truth,
        part=part,
        validated_by=split.words,
        network=network,
        epochs=0,
        best_epoch=0,
        versions={"serq-mcu": __version__, "imported": file.name},
    )
    save_run(run, out, {"config.toml": config.to_toml()})
    return run, notes


def _split(dataset: Any, config: Config) -> tuple[Any, int]:
    try:
        from serq_mcu.training.splits import TRAIN, split_clips
    except ImportError as error:
        raise SerqError(
            f"splitting needs packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[train]'`"
        ) from error
    parts = split_clips(dataset.truth, dataset.labels, dataset.speakers, config.training, dataset.stated)
    return parts, TRAIN


def read_network(file: Path, frames: int = 1, coefficients: int = 0) -> ImportedNetwork:
    """Read the network in a `.keras`, `.h5` or `.onnx` file, which is recognised by its content.

    frames, coefficients: of the sequence that it reads, and of a frame; 1 and any number of statistics.

    Raises SerqError if it is none, or a layer is not one that the device can compute.
    """
    if file.is_dir():
        raise SerqError(
            f"{file} is a folder, such as a SavedModel; load it in TensorFlow and save it with"
            " model.save('name.keras')"
        )
    try:
        data = read_regular(file, MOST_BYTES)
    except OSError as error:
        raise SerqError(f"cannot read {file}: {error.strerror or error}") from error
    for place, mark, words in _OTHERS:
        if data[place : place + len(mark)] == mark:
            raise SerqError(f"{file} {words}")
    kind, save = _kind(data, file)
    try:
        return fold(kind(data, file), frames, coefficients)
    except SerqError as error:
        raise SerqError(f"{file}: {error}") from error
    except (OSError, *DAMAGED) as error:
        raise SerqError(f"{file} cannot be read ({error!r}); {save}") from error


def _kind(data: bytes, file: Path) -> tuple[Any, str]:
    """Return what reads a file of such content, and how to write it again."""
    keras = "save the model again with model.save('name.keras')"
    if data.startswith(b"PK\x03\x04"):
        if b"data.pkl" in data[: 1 << 16]:
            raise SerqError(
                f"{file} is a PyTorch file, which could run code when it is read; export the model with"
                " torch.onnx.export"
            )
        return (lambda _, path: read_archive(path)), keras
    if data.startswith(b"\x89HDF\r\n\x1a\n"):
        return (lambda content, _: read_h5(content)), keras
    if file.suffix.lower() == ".onnx" or data[:1] == b"\x08":
        return (lambda content, _: read_onnx(content)), "export the model again"
    raise SerqError(f"{file} is not a .keras, .h5 or .onnx file; {keras}, or export the model to ONNX")


def for_labels(found: ImportedNetwork, labels: Sequence[str]) -> ImportedNetwork:
    """Give a network of one output without a sigmoid two classes, if two are named."""
    if found.biases[-1].size != 1 or len(labels) != 2:
        return found
    kernel, bias = two_classes(found.kernels[-1], found.biases[-1])
    return replace(found, kernels=(*found.kernels[:-1], kernel), biases=(*found.biases[:-1], bias))
