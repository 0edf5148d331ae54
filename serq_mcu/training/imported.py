"""A user's own Keras network as a run, from where everything goes on as with one that was trained here.

Reads the `.keras` archive (of Keras 3 and tf_keras alike) as data: `config.json` lists the layers,
`model.weights.h5` holds their arrays. Nothing in it is executed, and Keras is not needed.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base.progress import Progress
from serq_mcu.config import Config
from serq_mcu.errors import SerqError
from serq_mcu.quantization.network import FloatNetwork, standardisation
from serq_mcu.quantization.run_folder import Run, save_run
from serq_mcu.training.run import read_dataset, version_features
from serq_mcu.version import __version__

Floats = NDArray[np.float64]
_MOST_BYTES = 2**28  # of a member of the archive, unpacked
_EPSILON = 1e-7  # what Keras's Normalization takes for a deviation of 0
# what zipfile, json and h5py raise at an archive that is damaged, encrypted or not one
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError),
    *(AttributeError, RecursionError, NotImplementedError, RuntimeError),
)
_SILENT = (
    "InputLayer",
    "Dropout",
    "GaussianNoise",
    "ActivityRegularization",
)  # nothing at the time of an answer


@dataclass(frozen=True)
class KerasNetwork:
    """Dense layers with ReLU between them.

    kernels [inputs, outputs], biases [outputs]; mean and sd [features] of a Normalization before the first,
    or None.
    """

    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    normalization: tuple[Floats, Floats] | None


def import_keras(
    file: Path,
    folder: Path,
    labels: Sequence[str],
    out: Path,
    config: Config,
    progress: Progress | None = None,
) -> Run:
    """Write the network in `file` as the run folder `out`.

    labels names its outputs in their order; `folder` has clips of each of them. Its inputs are the features
    of `config` in the device's units (`pooled` of a run's features.safetensors), as its Normalization layer
    expects them; without one, in standard deviations of the training clips here. Raises SerqError, naming the
    layer, if the device cannot compute it, or it does not fit the features or the labels.
    """
    found = read_keras(file)
    spec = config.features
    if found.kernels[0].shape[0] != spec.feature_count:
        raise SerqError(
            f"{file} takes {found.kernels[0].shape[0]} features, and specification {spec.name} has"
            f" {spec.feature_count}; give --config"
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
    pooled = version_features(dataset, part, training_part, config, progress)
    mean, sd = found.normalization or standardisation(pooled[0, part == training_part])
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
        network=FloatNetwork.mlp(found.kernels, found.biases, mean, sd),
        epochs=0,
        best_epoch=0,
        versions={"serq-mcu": __version__, "imported": file.name},
    )
    save_run(run, out, {"config.toml": config.to_toml()})
    return run


def _split(dataset: Any, config: Config) -> tuple[Any, int]:
    try:
        from serq_mcu.training.splits import TRAIN, split_clips
    except ImportError as error:
        raise SerqError(
            f"splitting needs packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[train]'`"
        ) from error
    return split_clips(dataset.truth, dataset.labels, dataset.speakers, config.training), TRAIN


def read_keras(file: Path) -> KerasNetwork:
    """Read the network in a `.keras` file.

    Raises SerqError if it is none, or a layer is not one that the device can compute.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            config, weights = (_member(archive, name) for name in ("config.json", "model.weights.h5"))
        layers = _layers(json.loads(config))
    except OSError as error:
        raise SerqError(f"cannot read {file}: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise SerqError(
            f"{file} is not a .keras file that can be read ({error!r}); save the model with"
            " model.save('name.keras')"
        ) from error
    except SerqError as error:
        raise SerqError(f"{file}: {error}") from error
    try:
        return _network(layers, weights)
    except (KeyError, TypeError, ValueError) as error:
        raise SerqError(
            f"{file} describes its layers in a way that cannot be read ({error!r}); save the model again"
        ) from error
    except SerqError as error:
        raise SerqError(f"{file}: {error}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise SerqError(
            f"{name} is larger than {_MOST_BYTES >> 20} MiB; a network for a microcontroller is not"
        )
    return archive.read(name)


def _layers(config: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """List kind, path of the arrays, and configuration of each layer of a Sequential model."""
    if config["class_name"] != "Sequential" or config.get("registered_name"):
        raise SerqError(
            f"it is a {config['class_name']} model; only Sequential ones are read, so build it anew as"
            " keras.Sequential"
        )
    found: list[tuple[str, str, dict[str, Any]]] = []
    counts: dict[str, int] = {}
    for item in config["config"]["layers"]:
        kind = str(item["class_name"])
        if item.get("registered_name") or item.get("module") not in (None, "keras", "keras.layers"):
            own = item.get("registered_name") or item.get("module")
            raise SerqError(
                f"layer {len(found)} is a class of your own ({own}), which only your code can compute; use"
                " Keras's layers"
            )
        snake = {"ReLU": "re_lu", "InputLayer": "input_layer"}.get(kind, kind.lower())
        number = counts.get(snake, 0)
        counts[snake] = number + 1
        found.append((kind, f"layers/{snake}{f'_{number}' if number else ''}/vars", dict(item["config"])))
    return found


def _network(layers: list[tuple[str, str, dict[str, Any]]], weights: bytes) -> KerasNetwork:
    reader = _Reader(weights)
    for index, (kind, path, config) in enumerate(layers):
        reader.add(f"layer {index} ({kind} {config.get('name', '')!r})", kind, path, config)
    return reader.network()


class _Reader:
    """A network while its layers are read, in their order."""

    def __init__(self, weights: bytes) -> None:
        self._weights = weights
        self._kernels: list[Floats] = []
        self._biases: list[Floats] = []
        self._normalization: tuple[Floats, Floats] | None = None
        self._rectified = True  # whether there is a ReLU since the last dense layer
        self._finished = False  # whether a softmax came: neither a dense layer nor a ReLU may follow

    def add(self, name: str, kind: str, path: str, config: dict[str, Any]) -> None:
        """Add a layer, with the path of its arrays.

        Raises SerqError that begins with `name` if the device cannot compute it there.
        """
        activation = _activation(kind, config, name)
        self._require_order(name, kind, activation)
        if kind == "Normalization":
            self._add_normalization(name, path, config)
        elif kind == "Dense":
            self._add_dense(name, path, config)
        elif kind not in (*_SILENT, "ReLU", "Activation", "Softmax"):
            raise SerqError(
                f"{name} cannot be computed on the device; Dense, ReLU, Softmax, Dropout and one"
                f" Normalization can{_advice(kind)}"
            )
        self._rectified |= activation == "relu"
        self._finished |= activation == "softmax"

    def network(self) -> KerasNetwork:
        """Return the network of the layers that were added.

        Raises SerqError if they make no classifier.
        """
        if not self._kernels:
            raise SerqError("it has no Dense layer; build a multilayer perceptron")
        if self._rectified:
            raise SerqError(
                "its last layer has a ReLU; the scores of the classes must be able to fall below 0, so take"
                " it out and train again"
            )
        inputs = self._kernels[0].shape[0]
        if self._normalization is not None and self._normalization[0].size != inputs:
            raise SerqError(
                f"its Normalization is of {self._normalization[0].size} features, and its first Dense layer"
                f" takes {inputs}"
            )
        return KerasNetwork(tuple(self._kernels), tuple(self._biases), self._normalization)

    def _require_order(self, name: str, kind: str, activation: str) -> None:
        if activation == "relu" and kind != "Dense" and not self._kernels:
            raise SerqError(
                f"{name} comes before the first Dense layer, and the device takes features as they are; take"
                " it out and train again"
            )
        if self._finished and (kind == "Dense" or activation == "relu"):
            raise SerqError(
                f"{name} follows a softmax, which can only be the last; take the softmax before it out"
            )

    def _add_normalization(self, name: str, path: str, config: dict[str, Any]) -> None:
        if self._kernels or self._normalization is not None:
            raise SerqError(f"{name} is not the first layer; keep one Normalization, before all others")
        self._normalization = _normalization(self._weights, path, config, name)

    def _add_dense(self, name: str, path: str, config: dict[str, Any]) -> None:
        if config.get("quantization_config") or config.get("lora_rank") or "mode" in _policy(config):
            raise SerqError(
                f"{name} was quantized, or adapted by LoRA, in Keras; save the float model before that,"
                " serq-mcu chooses the bits"
            )
        if not self._rectified:
            raise SerqError(
                f"{name} follows a Dense layer without ReLU; give that one activation='relu', or merge the"
                " two"
            )
        kernel, *rest = _arrays(self._weights, path, name, 2 if config.get("use_bias", True) else 1)
        if kernel.ndim != 2 or any(bias.shape != kernel.shape[1:] for bias in rest):
            raise SerqError(
                f"{name} has a kernel of shape {kernel.shape} and biases {[bias.shape for bias in rest]};"
                " save the model again"
            )
        self._kernels.append(kernel)
        self._biases.append(rest[0] if rest else np.zeros(kernel.shape[-1]))
        self._rectified = False


def _policy(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a layer's type of numbers, where it is more than a name."""
    policy = config.get("dtype")
    return dict(policy["config"]) if isinstance(policy, dict) else {}


def _advice(kind: str) -> str:
    return "; fold it into the Dense layer before it" if kind == "BatchNormalization" else ""


def _activation(kind: str, config: dict[str, Any], name: str) -> str:
    """Return relu, softmax or linear."""
    if kind == "ReLU":
        plain = (
            config.get("max_value") is None
            and not config.get("negative_slope")
            and not config.get("threshold")
        )
        if not plain:
            raise SerqError(
                f"{name} is not a plain ReLU (max_value, negative_slope or threshold is set); train with"
                " plain ReLU"
            )
        return "relu"
    found = {"Softmax": "softmax"}.get(kind) or (
        config.get("activation") or "linear" if kind in ("Dense", "Activation") else "linear"
    )
    if found not in ("relu", "softmax", "linear"):
        shown = repr(found) if isinstance(found, str) else "that is code of your own"
        raise SerqError(
            f"{name} has the activation {shown}; the device computes relu between layers and linear or"
            " softmax at the end"
        )
    return str(found)


def _normalization(weights: bytes, path: str, config: dict[str, Any], name: str) -> tuple[Floats, Floats]:
    if config.get("invert") or config.get("axis") not in ([-1], [1], -1, 1):
        raise SerqError(f"{name} must normalise each feature by itself (axis=-1, invert=False)")
    if config.get("mean") is not None:
        try:
            mean, variance = (np.asarray(config[key], dtype=np.float64) for key in ("mean", "variance"))
        except (KeyError, TypeError, ValueError) as error:
            raise SerqError(
                f"{name} has a mean or variance that are not numbers ({error!r}); save the model again"
            ) from error
    else:
        mean, variance = _arrays(weights, path, name, 2)
    if mean.size != variance.size or not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise SerqError(
            f"{name} holds {mean.size} means and {variance.size} variances, or some that are not finite;"
            " adapt it again"
        )
    return mean.reshape(-1), np.maximum(np.sqrt(np.maximum(variance.reshape(-1), 0)), _EPSILON)


def _arrays(weights: bytes, path: str, name: str, count: int) -> list[Floats]:
    """Read the arrays of a layer that are in the archive itself.

    Neither links nor datasets whose values are in other files are followed.
    """
    try:
        import h5py
    except ImportError as error:
        raise SerqError(
            "Keras's files need a package that is not installed (h5py); run `pip install 'serq-mcu[train]'`"
        ) from error
    try:
        with h5py.File(io.BytesIO(weights), "r") as stored:
            found = []
            for number in range(count):
                group = stored
                for step in path.split("/"):
                    group = _own(group, step)
                array = _own(group, str(number))
                if array.dtype.kind != "f":
                    raise TypeError(f"numbers of type {array.dtype}, not float")
                if array.external or array.is_virtual:
                    raise KeyError(f"{path}/{number} lies in another file")
                if array.nbytes > _MOST_BYTES:
                    raise SerqError(
                        f"{name} is larger than {_MOST_BYTES >> 20} MiB; a network for a microcontroller"
                        " is not"
                    )
                found.append(np.asarray(array[()], dtype=np.float64))
            return found
    except (OSError, *_DAMAGED) as error:
        raise SerqError(f"the arrays of {name} cannot be read ({error!r}); save the model again") from error


def _own(group: Any, name: str) -> Any:
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise KeyError(f"{name} is not stored in the file itself")
    return group[name]
