"""The model file: a safetensors container with one JSON header (SPEC.md section 6).

Nothing loaded can run code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from serq_mcu.base import resources
from serq_mcu.base.files import open_regular, write_file
from serq_mcu.base.validation import parse_json
from serq_mcu.errors import SerqError
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.layers import LAYERS, Layer
from serq_mcu.quantized_model.provenance import check_provenance
from serq_mcu.quantized_model.types import FORMAT, DecisionRule, InputQuantization, QuantizedModel, canonical
from serq_mcu.quantized_model.voice import VoicePrior

DEFAULT_MODEL = "emodb"
MAX_BYTES = 64 * 2**20  # of a model file: far more than a microcontroller holds


def save_model(model: QuantizedModel, path: Path) -> Path:
    """Write the model atomically; the same model gives the same bytes.

    Raises SerqError if the path cannot be written.
    """
    return write_file(path, model_bytes(model))


def model_bytes(model: QuantizedModel) -> bytes:
    """Write the model file's content."""
    header = model.header() | {"sha256": model.sha256}
    return save(model.tensors(), metadata={"serq": json.dumps(header, sort_keys=True)})


def load_model(path: Path) -> QuantizedModel:
    """Read and prove a model file.

    Raises SerqError when the file is missing, damaged, not a model, or made by a newer version.
    """
    try:
        with open_regular(path) as opened:
            if os.fstat(opened.fileno()).st_size > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        names = ", ".join(shipped_models())
        raise SerqError(
            f"{path} does not exist; `serq-mcu quantize` writes model files, and these come with serq-mcu:"
            f" {names}"
        ) from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise SerqError(
            f"{path} is not a model file or is damaged ({error}); export it again with `serq-mcu quantize`"
        ) from error
    try:
        header = parse_json(metadata["serq"])
        version = header["format"]
        if version != FORMAT:
            raise SerqError(
                f"it has format {version!r:.40}, and this serq-mcu reads format {FORMAT}; make it again with"
                " `serq-mcu quantize`"
            )
        model = _model(header, tensors)
    except SerqError as error:
        raise SerqError(f"{path}: {error}") from error
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise SerqError(
            f"{path} is not a model file or is damaged ({error!r}); export it again with `serq-mcu quantize`"
        ) from error
    stated = header.pop("sha256", None)
    if (
        model.sha256 != stated
        or canonical(header) != canonical(model.header())
        or set(model.tensors()) != set(tensors)
    ):
        raise SerqError(
            f"{path} is damaged: its content does not match its hash; export it again with `serq-mcu"
            " quantize`"
        )
    return model


def shipped_models() -> dict[str, Path]:
    """List the files of the models that come with the package, by name.

    models/README.md has a card of each.
    """
    return dict(sorted((path.stem, path) for path in resources.MODELS.glob("*.serq")))


def shipped_model() -> QuantizedModel:
    """Load the model that is used where none is named.

    It was trained on EMO-DB by this pipeline; its provenance tells how.
    """
    return load_model(shipped_models()[DEFAULT_MODEL])


def find_model(model: Path) -> QuantizedModel:
    """Load the model file at a path, or the model of that name that comes with the package.

    Such a name is emodb-small, in letters of any case. Raises SerqError as `load_model` does.
    """
    named = shipped_models().get(str(model).lower())
    return load_model(model if named is None or model.is_file() else named)


def _model(header: dict[str, Any], tensors: dict[str, Any]) -> QuantizedModel:
    for name in ("labels", "layers"):
        if not isinstance(header[name], list):
            raise TypeError(f"{name} must be a list")
    check_provenance(header["provenance"])
    spec = FeatureSpec.from_json(header["spec"])
    frontend = {
        name.removeprefix("frontend."): array
        for name, array in tensors.items()
        if name.startswith("frontend.")
    }
    layers = tuple(_layer(index, item, tensors) for index, item in enumerate(header["layers"]))
    return QuantizedModel(
        spec=spec,
        tables=FrontendTables.from_parts(header["frontend"], frontend),
        input=InputQuantization(tensors["input.center"], tensors["input.multiplier"], tensors["input.shift"]),
        layers=layers,
        labels=tuple(header["labels"]),
        score_scale=header["score_scale"],
        provenance=header["provenance"],
        decision=None if header["decision"] is None else DecisionRule.from_json(header["decision"]),
        voice=None if header["voice"] is None else _voice(header["voice"], tensors),
    )


def _voice(header: dict[str, Any], tensors: dict[str, Any]) -> VoicePrior:
    return VoicePrior(tensors["voice.means"], tensors["voice.counts"], **header)


def _layer(index: int, header: dict[str, Any], tensors: dict[str, Any]) -> Layer:
    """Make one layer.

    Raises SerqError if its kind is unknown or a bound fails.
    """
    own = {name.removeprefix(f"layer{index}."): array for name, array in tensors.items()}
    return LAYERS[header["kind"]].from_parts(header, own)
