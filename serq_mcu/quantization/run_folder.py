"""The run folder: all that a training left behind, written once, read without TensorFlow and without pickle.

run.json                what was done and how well it went; names the clips of each part
config.toml             the whole configuration
features.safetensors    `pooled` int32 [versions, clips, features]; of each clip `truth` int64, `part` uint8
                        and, where some were presented more often, `weight` float64
weights.safetensors     of each layer its float32 arrays; `mean` and `sd` float64 [features]; with `chooser.`
                        before each name, those of the network that chose where another was trained again
history.csv             losses and accuracies, epoch by epoch
confusion.csv, .txt     of the held-out clips
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from serq_mcu.base.files import file_digest, kept_if_refused, new_folder, read_regular
from serq_mcu.base.metrics import Score
from serq_mcu.base.validation import parse_json
from serq_mcu.config import Config
from serq_mcu.errors import SerqError
from serq_mcu.frontend.statistics import MISSING
from serq_mcu.layers import FLOAT_LAYERS, FloatLayer
from serq_mcu.quantization.allocation import ValidationData
from serq_mcu.quantization.network import FloatNetwork
from serq_mcu.quantization.voices import VoiceStatistics
from serq_mcu.quantized_model.types import NO_SPEECH, NO_SPEECH_LABEL

MARKER = "run.json"
FEATURES, WEIGHTS = "features.safetensors", "weights.safetensors"
FORMAT = 2
_MOST_ARRAYS = 4 * 2**30  # bytes of a file of arrays: all corpora's clips in all their versions
CALIBRATION_VERSIONS = 4  # of each clip: as recorded and three more
CHOOSER = "chooser."  # before the names of its weights
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Run:
    """A trained float network with its data, split and configuration.

    speakers: of each clip, "" where unknown; recordings: the digest of each clip's samples; pooled: int32
    [versions, clips, features], the first as recorded; truth: int64 [clips]; part: uint8 [clips], an index of
    PARTS; validated_by: whose clips the validation part is of, in words. chooser: a network that never saw
    validation clips, by which everything is chosen, where `network` was trained on these too. weight: how
    often each clip was presented, relative to others, [clips]; None where all were alike. Raises SerqError if
    shapes or values do not fit.
    """

    config: Config
    corpus: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    speakers: tuple[str, ...]
    recordings: tuple[str, ...]
    pooled: NDArray[np.int32]
    truth: NDArray[np.int64]
    part: NDArray[np.uint8]
    validated_by: str
    network: FloatNetwork
    epochs: int
    best_epoch: int
    versions: dict[str, str]
    chooser: FloatNetwork | None = None
    weight: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        clips = len(self.names)
        shapes = (
            self.pooled.ndim == 3
            and self.pooled.shape[1:] == (clips, self.network.features)
            and self.truth.shape == self.part.shape == (clips,)
            and len(self.recordings) == len(self.speakers) == clips
            and (self.weight is None or self.weight.shape == (clips,))
        )
        if not (
            shapes and self.pooled.dtype == np.int32 and self.network.layers[-1].outputs == len(self.labels)
        ):
            raise SerqError("the arrays do not fit each other; train again")
        if self.chooser is not None and self.chooser.shape != self.network.shape:
            raise SerqError("the two networks do not fit each other; train again")
        if not (
            set(self.part.tolist()) == {0, 1, 2}
            and int(self.truth.min()) >= 0
            and int(self.truth.max()) < len(self.labels)
        ):
            raise SerqError("classes or parts are out of range; train again")

    def changed(self, /, **tables: Mapping[str, Any]) -> Run:
        """Return the run with other values in its configuration.

        For example `run.changed(quantization={"margin": 0.01})`. Raises SerqError, naming section and key, if
        a value is refused.
        """
        return self.merged(tables, "the configuration")

    def merged(self, tables: Mapping[str, Any], where: str) -> Run:
        """Return the run with the values of some tables from outside; `where` begins an error.

        What made the run stays as it is: SerqError refuses another [features], [augmentation],
        [training] or [voice].
        """
        for name in tables:
            if name in ("features", "augmentation", "training", "voice"):
                raise SerqError(f"{where}: [{name}] made the run; train again with another, or take it out")
        return replace(self, config=self.config.merged(tables, where))

    @property
    def unbiased(self) -> FloatNetwork:
        """The network for which validation clips are new: the chooser if there is one."""
        return self.network if self.chooser is None else self.chooser

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of network, features, classes and parts.

        The model file keeps it, to tell which run the model was quantized from.
        """
        arrays = (*_all_weights(self).values(), self.pooled, self.truth, self.part)
        return _sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))[:16]

    def members(self, part: str) -> NDArray[np.intp]:
        """Return the indices of the clips of one of PARTS."""
        return np.flatnonzero(self.part == PARTS.index(part))

    def names_of(self, part: str) -> list[str]:
        """List the clip names of one of PARTS."""
        return [self.names[index] for index in self.members(part)]

    def recordings_of(self, part: str) -> list[str]:
        """List the digests of the recordings of one of PARTS."""
        return [self.recordings[index] for index in self.members(part)]

    @property
    def calibration(self) -> NDArray[np.int32]:
        """Pooled features int32 [n, features] of the training clips that calibrate.

        These are the clips as recorded and in the first few further versions.
        """
        training: NDArray[np.int32] = self.pooled[:CALIBRATION_VERSIONS, self.members("train")]
        return training.reshape(-1, training.shape[-1])

    @property
    def voices(self) -> VoiceStatistics | None:
        """What the speakers who are not held out say about all voices, if the networks were trained so."""
        if not self.config.learns_voices or not self.epochs:
            return None
        clips = self.pooled[0], self.truth, self.speakers, self.part != PARTS.index("test")
        return VoiceStatistics.of(*clips, len(self.labels), self.config.voice.shrinkage)

    @property
    def validation(self) -> ValidationData:
        """The validation clips in every version."""
        members = self.members("validation")
        return ValidationData(self.pooled[:, members], self.truth[members])

    def float_score(self, part: str) -> Score:
        """Score the float network on the clips of one of PARTS, as recorded; validation: the unbiased one."""
        members = self.members(part)
        pooled = self.pooled[0, members]
        network = self.unbiased if part == "validation" else self.network
        predicted = network.classify(network.standardise(pooled))
        return Score.of(self.truth[members], self.answers(predicted, pooled), self.labels)

    def answers(self, predicted: NDArray[np.integer], pooled: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return what a network's labels [n] become where the features [n, features] hold no speech.

        That is the class "no speech" if there is one, and no label else.
        """
        none = self.labels.index(NO_SPEECH_LABEL) if NO_SPEECH_LABEL in self.labels else NO_SPEECH
        return np.where((pooled == MISSING).all(axis=-1), none, predicted)

    def to_json(self) -> dict[str, Any]:
        """Return the content of run.json, except its format and checksums."""
        return {
            "corpus": self.corpus,
            "labels": list(self.labels),
            "clips": {part: len(self.members(part)) for part in PARTS},
            "validated_by": self.validated_by,
            "layers": [
                {"kind": layer.kind, "inputs": layer.inputs, "outputs": layer.outputs}
                for layer in self.network.layers
            ],
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "metrics": {part: self.float_score(part).to_json() for part in PARTS},
            "versions": self.versions,
            "config": self.config.to_json(),
            "split": {part: self.names_of(part) for part in PARTS},
        }

    def lines(self) -> list[str]:
        """Write the lines that describe the run to a person."""
        test = self.float_score("test")
        return [
            f"{self.corpus}: {len(self.names)} clips, "
            + ", ".join(f"{len(self.members(part))} {part}" for part in PARTS),
            f"validation is by {self.validated_by}",
            (
                f"best of {self.epochs} epochs: {self.best_epoch}"
                if self.epochs
                else f"the network is imported from {self.versions.get('imported')}"
            ),
            *(["then trained again, with the validation clips"] if self.chooser else []),
            *(f"float accuracy, {part}: {self.float_score(part)}" for part in PARTS),
            "held-out clips, true class by row:",
            *test.confusion_lines(),
        ]


def save_run(run: Run, folder: Path, texts: Mapping[str, str]) -> Path:
    """Write `run` and further text files as the folder `folder`, whole or not at all.

    Raises SerqError if the folder exists and is not a run, or cannot be written; what was computed is then in
    a folder for temporary files, which the error names, if there is room.
    """
    weight = {} if run.weight is None else {"weight": run.weight}
    tensors = {
        FEATURES: save({"pooled": run.pooled, "truth": run.truth, "part": run.part, **weight}),
        WEIGHTS: save(_all_weights(run)),
    }
    test = run.float_score("test")
    header = {
        "format": FORMAT,
        "sha256": {name: _sha256(data) for name, data in tensors.items()},
        "names": list(run.names),
        "speakers": list(run.speakers),
        "recordings": list(run.recordings),
    } | run.to_json()
    files = {
        MARKER: json.dumps(header, indent=1) + "\n",
        "confusion.csv": test.confusion_csv(),
        "confusion.txt": "\n".join(test.confusion_lines()) + "\n",
    }
    contents = tensors | {name: text.encode() for name, text in {**files, **texts}.items()}
    kept_if_refused(lambda place: _write(contents, place), folder)
    return folder


def _write(contents: Mapping[str, bytes], folder: Path) -> None:
    with new_folder(folder, MARKER) as fresh:
        for name, data in contents.items():
            (fresh / name).write_bytes(data)


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises SerqError when it is missing, damaged or made by a newer version.
    """
    try:
        header = parse_json(read_regular(folder / MARKER))
        version = header["format"]
        if version != FORMAT:
            raise SerqError(
                f"it has format {version}, and this serq-mcu reads format {FORMAT}; train again with it"
            )
        return _run(
            header, *(_tensors(folder / name, header["sha256"][name]) for name in (FEATURES, WEIGHTS))
        )
    except SerqError as error:
        raise SerqError(f"the run folder {folder} cannot be used: {error}") from error
    except FileNotFoundError as error:
        what = (
            f"is not a run folder (no {Path(error.filename).name})" if folder.exists() else "does not exist"
        )
        raise SerqError(f"{folder} {what}; `serq-mcu train` makes a run folder") from error
    except OSError as error:
        raise SerqError(f"cannot read the run folder {folder}: {error.strerror or error}") from error
    except (
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RecursionError,
    ) as error:
        raise SerqError(f"the run folder {folder} is damaged ({error!r}); train again") from error


def _weights(network: FloatNetwork) -> dict[str, NDArray[Any]]:
    weights: dict[str, NDArray[Any]] = {
        f"layer{index}.{name}": array.astype(np.float32)
        for index, layer in enumerate(network.layers)
        for name, array in layer.tensors().items()
    }
    return weights | {"mean": network.mean, "sd": network.sd}


def _all_weights(run: Run) -> dict[str, NDArray[Any]]:
    chooser = {} if run.chooser is None else _weights(run.chooser)
    return _weights(run.network) | {f"{CHOOSER}{name}": array for name, array in chooser.items()}


def _run(header: dict[str, Any], features: dict[str, NDArray[Any]], weights: dict[str, NDArray[Any]]) -> Run:
    kinds = [str(layer["kind"]) for layer in header["layers"]]
    chooser = {
        name.removeprefix(CHOOSER): array for name, array in weights.items() if name.startswith(CHOOSER)
    }
    return Run(
        config=_config(header["config"]),
        corpus=str(header["corpus"]),
        labels=tuple(map(str, header["labels"])),
        names=tuple(map(str, header["names"])),
        speakers=tuple(map(str, header["speakers"])),
        recordings=tuple(map(str, header["recordings"])),
        pooled=features["pooled"],
        truth=features["truth"],
        part=features["part"],
        validated_by=str(header["validated_by"]),
        network=_network(kinds, weights),
        epochs=int(header["epochs"]),
        best_epoch=int(header["best_epoch"]),
        versions=dict(header["versions"]),
        chooser=_network(kinds, chooser) if chooser else None,
        weight=features.get("weight"),
    )


def _network(kinds: list[str], weights: dict[str, NDArray[Any]]) -> FloatNetwork:
    layers = tuple(_layer(kind, index, len(kinds), weights) for index, kind in enumerate(kinds))
    return FloatNetwork(layers, weights["mean"], weights["sd"])


def _layer(kind: str, index: int, count: int, weights: dict[str, NDArray[Any]]) -> FloatLayer:
    own = {
        name.removeprefix(f"layer{index}."): array.astype(np.float64)
        for name, array in weights.items()
        if name.startswith(f"layer{index}.")
    }
    return FLOAT_LAYERS[kind].from_tensors(own, last=index == count - 1)


def _config(value: dict[str, Any]) -> Config:
    try:
        return Config.from_json(value, "its configuration")
    except SerqError as error:
        raise SerqError(f"{error}; train again") from error


def _tensors(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    if file_digest(path, _MOST_ARRAYS).hex() != sha256:  # before a large file takes memory
        raise ValueError(f"{path.name} does not match its checksum")
    return dict(load_file(path))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
