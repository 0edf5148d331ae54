"""The front end in C, as devices run it, compiled for this computer: the fast way to features.

The runtime's sources and `firmware/apps/features` become a shared library, made once for each state of the
sources and the compiler. Tables are handed over at run time. Where there is no compiler, the reference in
numpy computes the same integers, some ten times slower.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serq_mcu.base import resources
from serq_mcu.base.files import write_file
from serq_mcu.base.host import cache_folder, compiler
from serq_mcu.errors import SerqError
from serq_mcu.frontend import reference
from serq_mcu.frontend.spec import KINDS, PITCH_CLASSES, STATISTICS, FeatureSpec
from serq_mcu.frontend.tables import FrontendTables

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared")
_RUNTIME = resources.FIRMWARE / "lib" / "serq" / "src"
_APPLICATION = resources.FIRMWARE / "apps" / "features"
_SIZES = (
    *("log2_length", "frame_length", "hop", "headroom", "first_bin", "log_floor"),
    *("bands", "mfcc", "chroma_runs", "mfcc_shift", "mel_shift", "chroma_shift"),
)
_TABLES = ("window", "twiddle", "segment", "mel_offset", "log_table", "dct", "chroma_run", "chroma_weight")

Frontend = Callable[[NDArray[np.int16]], NDArray[np.int32]]


class _Spec(ctypes.Structure):
    """serq_features_spec."""

    _fields_ = (*((name, ctypes.c_int32) for name in _SIZES), *((name, ctypes.c_void_p) for name in _TABLES))


def clip_features(
    spec: FeatureSpec, tables: FrontendTables, progress: Callable[..., None] | None = None
) -> Frontend:
    """A function from a clip, int16 [samples], to its pooled features, int32 [features]:
    `reference.features`, and bit for bit the same.

    Like that it raises SerqError for clips that are too short or too long. It may be called from several
    threads at once. progress is told if it is the slow way.
    """
    tables.check(spec)
    library = native_library()
    if library is None:
        if progress is not None:
            progress("no C compiler found: numpy computes the features, some ten times slower")
        return lambda pcm: reference.features(spec, tables, pcm)
    return _NativeFrontend(library, spec, tables)


@functools.cache
def native_library() -> ctypes.CDLL | None:
    """The shared library, compiled if it is not in the cache yet; None where this computer has no usable C
    compiler.
    """
    try:
        path = _library_path(compiler())
        return _loaded(path)
    except (SerqError, OSError):
        return None


class _NativeFrontend:
    """A specification's features by the library."""

    def __init__(self, library: ctypes.CDLL, spec: FeatureSpec, tables: FrontendTables) -> None:
        self._spec = spec
        self._function = library.serq_clip_features
        self._order = _order(spec)
        self._room = 3 * sum(_width(spec, kind) for kind in KINDS)
        self._arrays = _c_arrays(tables)  # kept as long as the pointers to them
        pointers = {name: array.ctypes.data for name, array in self._arrays.items()}
        self._c_spec = _Spec(**_c_sizes(spec, tables), **pointers)

    def __call__(self, pcm: NDArray[np.int16]) -> NDArray[np.int32]:
        """See `clip_features`."""
        clip = np.ascontiguousarray(reference.padded_clip(self._spec, pcm))
        pooled = np.empty(self._room, dtype=np.int32)
        self._function(
            ctypes.byref(self._c_spec),
            clip.ctypes.data_as(ctypes.c_void_p),
            clip.size,
            pooled.ctypes.data_as(ctypes.c_void_p),
        )
        return pooled[self._order]


def _width(spec: FeatureSpec, kind: str) -> int:
    block = spec.block(kind)
    return block.size if block else 0


def _order(spec: FeatureSpec) -> NDArray[np.intp]:
    """Where the library puts each pooled feature: it computes all statistics of each kind of block."""
    starts = dict(zip(KINDS, np.cumsum([0, *(3 * _width(spec, kind) for kind in KINDS)]), strict=False))
    places = [
        starts[block.kind] + STATISTICS.index(name) * block.size + np.arange(block.first(name), block.size)
        for block in spec.blocks
        for name in block.statistics
    ]
    return np.concatenate(places).astype(np.intp)


def _c_sizes(spec: FeatureSpec, tables: FrontendTables) -> dict[str, int]:
    shifts = {block.kind: shift for block, shift in zip(spec.blocks, tables.pool_shifts, strict=True)}
    return {
        "log2_length": spec.fft_length.bit_length() - 1,
        "frame_length": spec.frame_length,
        "hop": spec.hop_length,
        **{name: getattr(tables, name) for name in ("headroom", "first_bin", "log_floor")},
        "bands": spec.mel_bands if spec.uses_mel else 0,
        "mfcc": _width(spec, "mfcc"),
        "chroma_runs": 0 if tables.chroma is None else PITCH_CLASSES // 4,
        **{f"{kind}_shift": shifts.get(kind, 0) for kind in KINDS},
    }


def _c_arrays(tables: FrontendTables) -> dict[str, NDArray[np.generic]]:
    """The tables as the library reads them; of chroma, all bins three times, for 4 classes each."""
    arrays = {name: array for name, array in tables.arrays().items() if name != "chroma"}
    if tables.chroma is not None:
        bins = tables.chroma.shape[1]
        arrays["chroma_run"] = np.array(
            [(0, bins, first) for first in range(0, PITCH_CLASSES, 4)], dtype=np.uint16
        )
        arrays["chroma_weight"] = np.ascontiguousarray(
            tables.chroma.reshape(PITCH_CLASSES // 4, 4, bins).transpose(0, 2, 1)
        )
    return arrays


def source_digest() -> bytes:
    """SHA-256 of the sources that decide a clip's features."""
    digest = hashlib.sha256()
    for path in sorted([*_sources(), *_RUNTIME.glob("*.h"), *_APPLICATION.glob("*.h")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def _sources() -> list[Path]:
    return [_APPLICATION / "features.c", _RUNTIME / "serq_frontend.c"]


def _library_path(cc: str) -> Path:
    """The library of these sources, flags and compiler, compiled unless it is there."""
    version = subprocess.run([cc, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(repr((cc, FLAGS)).encode() + version + source_digest())
    library = cache_folder() / f"frontend-{digest.hexdigest()[:32]}.so"
    if not library.exists():
        _compile(cc, library)
    return library


def _compile(cc: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="serq-frontend-") as work:
        made = Path(work) / library.name
        done = subprocess.run(
            [cc, *FLAGS, f"-I{_RUNTIME}", "-o", str(made), *map(str, _sources())],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SerqError(
                f"{cc} does not compile the front end: {(done.stderr.splitlines() or ['no message'])[0]}"
            )
        write_file(library, made.read_bytes())
    os.chmod(library, 0o755)


def _loaded(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.serq_clip_features.argtypes = (
        ctypes.POINTER(_Spec),
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_void_p,
    )
    library.serq_clip_features.restype = ctypes.c_uint32
    return library
