"""The outcome of `serq-mcu demo` as text.

All functions take the content of its summary.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serq_mcu.show.table import Column, Table, columns

_VERIFICATION = {  # title: key
    "clips": "clips",
    "integers": "compared_integers",
    "differing clips": "differing_clips",
    "differing integers": "differing_integers",
    "flash B": "flash_bytes",
    "RAM B": "ram_bytes",
}


def demo_lines(summary: dict[str, Any], folder: Path) -> list[str]:
    """Return accuracy, sizes and verification as lines of text; folder: where the files are."""
    corpus = summary["corpus"]
    lines = [f"speech: {corpus['name']}, {corpus['clips']} clips; protocol: {summary['protocol']}"]
    if summary["synthetic"]:
        lines.append(
            "this speech is synthetic: its accuracy is meaningless and only shows that each step runs"
        )
    return [
        *lines,
        *_accuracy_table(summary).text(),
        _model_line(summary["model"]),
        *_firmware_table(summary["firmware"]).text(),
        *_verification_table(summary["verification"]).text(),
        f"differing_clips: {summary['differing_clips']}, differing_integers: {summary['differing_integers']},"
        f" {summary['seconds']:.0f} s in all",
        f"all files are in {folder}",
    ]


def _accuracy_table(summary: dict[str, Any]) -> Table:
    interval = Column("95 % interval", "right")
    head = (
        Column("held-out fold"),
        Column("n", "right"),
        Column("float", "right", ".1%"),
        interval,
        Column("integers", "right", ".1%"),
        interval,
        Column("bits"),
        Column("average", "right", ".2f"),
    )
    rows = [_split_row(split) for split in summary["splits"]]
    means = summary["float_accuracy_mean"], summary["quantized_accuracy_mean"]
    return Table(head, [*rows, ("mean", None, means[0], None, means[1], None, None, None)])


def _split_row(split: dict[str, Any]) -> tuple[str | float | None, ...]:
    floats, integers = split["float"], split["quantized"]
    return (
        str(split["split"] + 1),
        str(floats["n"]),
        floats["accuracy"],
        _interval(floats),
        integers["accuracy"],
        _interval(integers),
        " ".join(map(str, split["widths"])),
        split["average_bits"],
    )


def _model_line(model: dict[str, Any]) -> str:
    which = "the model that ships with serq-mcu" if model["shipped"] else "the model of fold 1"
    weights, stored = model["weights_only_bytes"] / 1000, model["stored_bytes"] / 1000
    return (
        f"firmware: {which}, {model['identity']}, bits {' '.join(map(str, model['widths']))}, average"
        f" {model['average_bits']:.2f}; weights only {weights:.1f} KB, stored {stored:.1f} KB (KB of 1000"
        " bytes)"
    )


def _firmware_table(firmware: list[dict[str, Any]]) -> Table:
    head = (Column("board"), *columns(("flash B", "RAM B"), "right"), Column("sizes are"), Column("state"))
    rows = []
    for item in firmware:
        sizes = "totals" if item["state"] == "built" else "known before a build"
        rows.append((item["board"], str(item["flash_bytes"]), str(item["ram_bytes"]), sizes, item["state"]))
    return Table(head, rows)


def _verification_table(targets: list[dict[str, Any]]) -> Table:
    head = (Column("same integers?"), *columns(_VERIFICATION, "right"))
    rows = [(target["target"], *(_text(target[key]) for key in _VERIFICATION.values())) for target in targets]
    return Table(head, rows)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _interval(score: dict[str, Any]) -> str:
    low, high = score["interval95"]
    return f"{low:.1%} to {high:.1%}"
