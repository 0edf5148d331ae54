"""Which rows of a results file belong into one table, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from serq_mcu.experiments.plan import ADAPTIVE, BUDGET, FLOAT, PROTOCOLS
from serq_mcu.experiments.results import AS_RECORDED, PTQ, QAT, WEIGHTS, Group, Row, groups

_METHODS = [FLOAT, *"87654321", "ternary", ADAPTIVE, BUDGET]
_TUNINGS = ["", WEIGHTS, PTQ, QAT]


class Key(NamedTuple):
    """All rows of one table share these."""

    study: str
    train: str
    test: str
    model: str
    features: str
    protocol: str
    condition: str


def tables(rows: Iterable[Row]) -> Iterator[tuple[Key, list[Group]]]:
    """Yield each table's key and its groups, one a row."""
    found: dict[Key, list[Group]] = {}
    for key, group in groups(rows).items():
        found.setdefault(Key(*key[: len(Key._fields)]), []).append(group)
    for key in sorted(found, key=_order):
        yield key, sorted(found[key], key=rank)


def rank(group: Group) -> tuple[int, float, int]:
    """Order methods: floats, fixed widths from 8 down, the others; after training before fine-tuned."""
    name, _, budget = group.first.method.partition(":")
    place = _METHODS.index(name) if name in _METHODS else len(_METHODS)
    return place, float(budget or 0), _TUNINGS.index(group.first.tuning)


def _order(key: Key) -> tuple[object, ...]:
    recorded_last = key.condition != AS_RECORDED, key.condition
    return PROTOCOLS.index(key.protocol), key[1:6], key.study, recorded_last
