"""Templates to text. Templates emit data, names and the order of calls; what they need is computed here."""

from __future__ import annotations

from typing import Any

import jinja2

from serq_mcu.base import resources
from serq_mcu.base.csource import CArray, c_numbers, c_statement, c_string
from serq_mcu.boards.board import Mcu
from serq_mcu.codegen.kernels import choose
from serq_mcu.codegen.packing import pack_bias, pack_scale, start_bias, start_factor
from serq_mcu.frontend.analysis import MAX_FRAMES
from serq_mcu.frontend.code import features_part, frame_parts, frontend_arrays, frontend_assertions
from serq_mcu.frontend.stages import FIRST_FREE, wire_numbers
from serq_mcu.quantized_model.types import QuantizedModel

ABI = 2  # of firmware/lib/serq: generated files refuse another runtime


def render(template: str, **names: Any) -> str:
    """The text of a template; an undefined name is an error, and the same values give the same bytes."""
    return _environment().get_template(template).render(**names)


def model_names(model: QuantizedModel, mcu: Mcu, wider: bool = False) -> dict[str, Any]:
    """What the model's templates read, for a core; wider: see `choose`."""
    spec, tables, layers = model.spec, model.tables, model.layers
    parts = choose(model, mcu, wider)
    frame = frame_parts(spec, tables)
    numbers = wire_numbers(spec.frame_stages)
    return {
        "abi": ABI,
        "model": model,
        "spec": spec,
        "tables": tables,
        "identity": model.sha256[:16],
        "identity_bytes": list(model.identity),
        "log2_length": spec.fft_length.bit_length() - 1,
        "points": spec.fft_length // 2,
        "frame_parts": frame,
        "features_part": features_part(spec),
        "assertions": tuple(frontend_assertions(spec, tables)),
        "block_headers": tuple(dict.fromkeys(name for part in frame for name in part.headers)),
        "block_stages": {
            block.stage: numbers[block.stage] for block in spec.blocks if numbers[block.stage] >= FIRST_FREE
        },
        "max_values": max([block.size for block in spec.blocks if block.own_stages] or [1]),
        "pools": sum(block.size for block in spec.blocks),
        "tables_of_frontend": _arrays(model),
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


def _arrays(model: QuantizedModel) -> tuple[CArray, ...]:
    """The front end's tables, and that of the level where only live audio needs it."""
    arrays = frontend_arrays(model.spec, model.tables)
    level = CArray("serq_log_table", model.tables.log_table)
    needed = model.decision is not None and level.name not in [array.name for array in arrays]
    return (*arrays, level) if needed else arrays


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
    environment.filters |= {"c_string": c_string, "c_numbers": c_numbers, "c_statement": c_statement}
    return environment
