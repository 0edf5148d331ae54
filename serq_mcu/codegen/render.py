"""Templates to text. Templates emit data, names and the order of calls; what they need is computed here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from serq_mcu.base import resources
from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.kernels import choose
from serq_mcu.codegen.packing import ChromaRuns, chroma_runs, pack_bias, pack_scale, start_bias, start_factor
from serq_mcu.frontend.spec import KINDS, MAX_FRAMES, FeatureSpec
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.quantized_model.types import QuantizedModel

ABI = 2  # of firmware/lib/serq: generated files refuse another runtime


def render(template: str, **names: Any) -> str:
    """The text of a template; an undefined name is an error, and the same values give the same bytes."""
    return _environment().get_template(template).render(**names)


def c_string(text: str) -> str:
    """A C string literal of any text: every byte but plain ASCII letters, digits and ` _-.,:/()` as a
    three-digit octal escape.
    """
    plain = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-.,:/()")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_numbers(values: Iterable[Any], indent: int = 4, width: int = 120) -> str:
    """Integers as the lines of a C initialiser."""
    lines, line = [], ""
    for value in np.asarray(values).ravel().tolist():
        item = f"{value},"
        if line and len(line) + 1 + len(item) > width - indent:
            lines.append(line)
            line = item
        else:
            line = f"{line} {item}" if line else item
    return "\n".join(" " * indent + text for text in [*lines, line])


def model_names(model: QuantizedModel, mcu: Mcu, wider: bool = False) -> dict[str, Any]:
    """What the model's templates read, for a core; wider: see `choose`."""
    spec, tables, layers = model.spec, model.tables, model.layers
    parts = choose(model, mcu, wider)
    blocks = _blocks(model)
    runs = None if tables.chroma is None else chroma_runs(tables.chroma)
    return {
        "abi": ABI,
        "model": model,
        "spec": spec,
        "tables": tables,
        "identity": model.sha256[:16],
        "identity_bytes": list(model.identity),
        "log2_length": spec.fft_length.bit_length() - 1,
        "points": spec.fft_length // 2,
        "blocks": blocks,
        **{kind: next((block for block in blocks if block["kind"] == kind), None) for kind in KINDS},
        "max_values": max([block["size"] for block in blocks if block["kind"] != "mel"] or [1]),
        "pools": sum(block.size for block in spec.blocks),
        "bins_outside_mel": _bins_outside_mel(spec, tables),
        "chroma_runs": runs,
        "c_tables": c_tables(spec, tables, runs) | ({"log": tables.log_table} if model.decision else {}),
        "max_frames": MAX_FRAMES,
        "max_outputs": max(_padded(layer.outputs) for layer in layers),
        "even_width": max(_padded(layer.inputs) for layer in layers[0::2]),
        "odd_width": max([_padded(layer.inputs) for layer in layers[1::2]] or [8]),
        "parts": [
            [(part, part.pack(layer)) for part in chosen] for layer, chosen in zip(layers, parts, strict=True)
        ],
        "input_scale": pack_scale(model.input),
        "biases": [pack_bias(start_bias(layer, chosen)) for layer, chosen in zip(layers, parts, strict=True)],
        "start_factor": [start_factor(layer, chosen) for layer, chosen in zip(layers, parts, strict=True)],
    }


def c_tables(spec: FeatureSpec, tables: FrontendTables, runs: ChromaRuns | None) -> dict[str, NDArray[Any]]:
    """The front end's tables as the device stores them, and only those that it uses."""
    names = (
        ["window", "twiddle"]
        + ["segment", "mel_offset", "log_table"] * spec.uses_mel
        + ["dct"] * (tables.dct is not None)
    )
    stored = {name.removesuffix("_table"): tables.arrays()[name] for name in names}
    return stored if runs is None else stored | {"chroma_run": runs.runs, "chroma_weight": runs.weights}


def _blocks(model: QuantizedModel) -> list[dict[str, Any]]:
    """The feature blocks, each with its place among the pools and the pooled features."""
    rows: list[dict[str, Any]] = []
    place = feature = 0
    for block, shift in zip(model.spec.blocks, model.tables.pool_shifts, strict=True):
        statistics = []
        for name in block.statistics:
            first = block.first(name)
            statistics.append(
                {"name": name, "place": place + first, "size": block.size - first, "feature": feature}
            )
            feature += block.size - first
        rows.append(
            {
                "kind": block.kind,
                "size": block.size,
                "statistics": statistics,
                "pool_shift": shift,
                "place": place,
            }
        )
        place += block.size
    return rows


def _bins_outside_mel(spec: FeatureSpec, tables: FrontendTables) -> list[tuple[int, int]]:
    """First bin and count of the bins that no mel segment reads."""
    bins = spec.fft_length // 2 + 1
    start, end = (
        (tables.first_bin, tables.first_bin + int(tables.segment[:, 0].sum())) if spec.uses_mel else (0, 0)
    )
    return [(first, count) for first, count in ((0, start), (end, bins - end)) if count]


def _padded(count: int) -> int:
    return -(-count // 8) * 8


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resources.TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; strings pass c_string
    )
    environment.filters |= {"c_string": c_string, "c_numbers": c_numbers}
    return environment
