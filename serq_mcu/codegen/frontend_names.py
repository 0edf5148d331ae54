"""What the templates read of the front end."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from serq_mcu.codegen.packing import ChromaRuns, chroma_runs
from serq_mcu.frontend.spec import KINDS, MAX_FRAMES, FeatureSpec
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.quantized_model.types import QuantizedModel


def frontend_names(model: QuantizedModel) -> dict[str, Any]:
    """Names for the templates."""
    spec, tables = model.spec, model.tables
    blocks = _blocks(model)
    runs = None if tables.chroma is None else chroma_runs(tables.chroma)
    return {
        "spec": spec,
        "tables": tables,
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
