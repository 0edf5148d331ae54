"""Results as rows of a CSV file: a dataclass whose fields are int, float or str."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_KINDS: dict[str, type] = {"int": int, "str": str, "float": float}


def read_rows(path: Path, kind: type[T]) -> list[T]:
    """Read the results, none where there is no file."""
    if not path.exists():
        return []
    kinds = {field.name: _KINDS[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    with path.open(encoding="utf-8", newline="") as file:
        return [kind(**{name: kinds[name](row[name]) for name in kinds}) for row in csv.DictReader(file)]


def to_csv(rows: Sequence[Any]) -> str:
    """Write results, at least one, as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return out.getvalue()
