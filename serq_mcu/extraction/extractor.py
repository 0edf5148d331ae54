"""Features on this computer, by the C that the specification exports: what the device computes, and fast.

A complete model of the specification with a trivial network is exported as for a board, and compiled once
with firmware/apps/classify. Where there is no compiler, the reference in numpy computes the same integers,
some ten times slower.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base import resources
from serq_mcu.base.host import compiler
from serq_mcu.boards.board import load_board
from serq_mcu.build.host_library import host_library
from serq_mcu.codegen.export import runtime_files
from serq_mcu.codegen.plan import Plan
from serq_mcu.errors import SerqError
from serq_mcu.frontend import reference
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.tables import FrontendTables
from serq_mcu.layers import DenseLayer
from serq_mcu.quantized_model.types import InputQuantization, QuantizedModel

_BOARD = "esp32"  # all boards' C computes the same integers; this one's is plain C
_PLACE = "lib/serq/src/"

Extractor = Callable[[NDArray[np.int16]], NDArray[np.int32]]


def clip_features(
    spec: FeatureSpec, tables: FrontendTables, progress: Callable[..., None] | None = None
) -> Extractor:
    """Return a function from a clip, int16 [samples], to its pooled features, int32 [features].

    Bit for bit, it is `reference.features`, and like that it raises SerqError for clips that are too short or
    too long. It may be called from several threads at once. progress is told when C is compiled, and if it is
    the slow way. Raises SerqError if the tables are not proved, or if the C of a block does not compile; the
    sentence names the block.
    """
    tables.check(spec)
    try:
        compiler()
    except SerqError:
        if progress is not None:
            progress("no C compiler found: numpy computes the features, some ten times slower")
        return lambda pcm: reference.features(spec, tables, pcm)
    return _CompiledExtractor(spec, tables, progress)


@functools.lru_cache(maxsize=8)
def _plan(spec: FeatureSpec, tables: FrontendTables) -> Plan:
    return Plan(_trivial_model(spec, tables), load_board(_BOARD))


@functools.lru_cache(maxsize=8)
def extractor_files(spec: FeatureSpec, tables: FrontendTables) -> dict[str, bytes]:
    """Return the C files, by name, that decide the features of a specification."""
    files = {
        name.removeprefix(_PLACE): data
        for name, data in (runtime_files() | _plan(spec, tables).model_files).items()
        if name.startswith(_PLACE) and "stream" not in name
    }
    application = resources.FIRMWARE / "apps" / "classify" / "classify.c"
    return files | {application.name: application.read_bytes()}


@functools.lru_cache(maxsize=8)
def extractor_digest(spec: FeatureSpec, tables: FrontendTables) -> str:
    """Return the SHA-256 of those files, which hold the tables too: equal digests, equal features."""
    return hashlib.sha256(repr(sorted(extractor_files(spec, tables).items())).encode()).hexdigest()


class _CompiledExtractor:
    """The features of a specification by its library; each call has a state of its own."""

    def __init__(
        self, spec: FeatureSpec, tables: FrontendTables, progress: Callable[..., None] | None
    ) -> None:
        self._spec = spec
        owners = {path.name: owner for path, owner in _plan(spec, tables).owners.items()}
        library = host_library("features", extractor_files(spec, tables), (), progress, owners)
        self._features = library.clip_features
        self._words = -(-library.state_bytes() // 8)

    def __call__(self, pcm: NDArray[np.int16]) -> NDArray[np.int32]:
        """Compute a clip's features, as `clip_features` promises."""
        clip = np.ascontiguousarray(reference.check_clip(self._spec, pcm))
        state = np.empty(self._words, np.int64)
        pooled = np.empty(self._spec.feature_count, np.int32)
        result = self._features(_pointer(state), _pointer(clip), ctypes.c_uint32(clip.size), _pointer(pooled))
        if result < 0:
            raise SerqError(f"the compiled front end refuses a clip of {clip.size} samples ({result})")
        return pooled


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def _trivial_model(spec: FeatureSpec, tables: FrontendTables) -> QuantizedModel:
    """Make a complete model of the specification: one layer and two classes."""
    count = spec.feature_count
    layer = DenseLayer(
        u=np.zeros((2, count), np.uint8),
        bias=np.zeros(2, np.int32),
        encoding="b1",
        multiplier=None,
        shift=None,
        weight_scale=1.0,
        input_scale=1.0,
    )
    alike = spec.coefficients
    constants = InputQuantization(
        np.zeros(alike, np.int32), np.ones(alike, np.uint16), np.ones(alike, np.uint8)
    )
    return QuantizedModel(spec, tables, constants, (layer,), ("no", "yes"), 1.0)
