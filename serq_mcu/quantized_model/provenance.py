"""What a model file may tell of its making: the keys that something reads, each of its type.

Others may be there. Firmware depends on none of them. They are shown in reports, and tell which recordings
were held out.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serq_mcu.errors import SerqError

_Share = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]


class _Score(msgspec.Struct, frozen=True):
    accuracy: _Share
    n: _Count
    interval95: tuple[_Share, _Share]


class _Metrics(msgspec.Struct, frozen=True):
    float: dict[str, _Score] = {}
    quantized: dict[str, _Score] = {}


class _Recordings(msgspec.Struct, frozen=True):
    train: list[str] = []
    validation: list[str] = []
    test: list[str] = []


class _Chosen(msgspec.Struct, frozen=True):
    method: str
    alpha: float
    margin: float


class _Config(msgspec.Struct, frozen=True):
    quantization: _Chosen | None = None


class _Budget(msgspec.Struct, frozen=True):
    most: float
    unit: str


class _Layer(msgspec.Struct, frozen=True):
    importance: float
    rank: _Count
    margin: float
    required: float
    tried: list[tuple[int, float]]
    reason: str


class _Provenance(msgspec.Struct, frozen=True):
    corpus: str = ""
    split: int | str | None = None
    seed: int | None = None
    validated_by: str = ""
    held_out: list[str] = []
    validation: list[str] = []
    recordings: _Recordings | None = None
    run: str = ""
    config: _Config | None = None
    fine_tuned: bool = False
    budget: _Budget | None = None
    metrics: _Metrics | None = None
    allocation: list[_Layer] | None = None
    versions: dict[str, str] | None = None


def check_provenance(value: Any) -> None:
    """Raise SerqError, naming the key, unless what is read of a provenance has its type."""
    try:
        msgspec.convert(value, _Provenance)
    except msgspec.ValidationError as error:
        raise SerqError(f"its provenance cannot be read ({error}); quantize the model again") from error
