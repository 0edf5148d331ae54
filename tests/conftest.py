"""Markers and fixtures shared by all tests.

Real corpora are optional: a test that needs one is skipped, with the reason, where it is absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shared import FOLDER, shared_folder
from tests.support.tools import require, require_emulators

DEFAULT_CORPORA = Path(__file__).parents[2] / "shared" / "data"  # a development default beside the checkout
CORPORA = {"emodb_dir", "savee_dir", "tess_dir"}
OF_FOLDER = {"emulated": ["emulator"], "train": ["train"], "fuzz": ["slow"], "docs": []}
SHARED_OBJECTS = Path(__file__).parent / "support" / "shared_objects.py"
ONE_PROCESSOR = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
LONG = 5.0  # seconds of a test that is marked slow, if the mark does not tell them

for _name in ONE_PROCESSOR:  # what is trained depends on it, and threads of several workers wait, busily
    os.environ.setdefault(_name, "1")  # for each other; workers begin later, and read this before numpy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and their fixtures, and run the longest first, so that no worker begins
    one when the others are done.
    """
    tests = Path(__file__).parent
    for item in items:
        for marker in OF_FOLDER.get(item.path.relative_to(tests).parts[0], []):
            item.add_marker(marker)
        if CORPORA & set(getattr(item, "fixturenames", ())):
            item.add_marker("corpora")
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("slow")
    return 0.0 if marker is None else float((*marker.args, LONG)[0])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are not installed."""
    for marker in item.iter_markers("needs"):
        require(*marker.args)
    if item.get_closest_marker("emulator"):
        require_emulators()


@pytest.fixture(scope="session", autouse=True)
def _run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache and one store of compiled programs for all workers of a run: nothing is read from the
    user's cache or left in it. A fault of the package shows as one.
    """
    folder = shared_folder(tmp_path_factory.getbasetemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERQ_CACHE", str(folder / "cache"))
        patch.setenv(FOLDER, str(folder))
        patch.setenv("PLATFORMIO_EXTRA_SCRIPTS", f"pre:{SHARED_OBJECTS}")
        patch.setenv("SERQ_TRACEBACK", "1")  # so that a test which expects a refusal does not pass by a fault
        yield


def _corpus(name: str) -> Path:
    named = os.environ.get("SERQ_TEST_CORPORA")
    folder = Path(named or DEFAULT_CORPORA) / name
    if folder.is_dir():
        return folder
    if named:  # somebody counts on these tests: their absence is a failure, not a pass
        pytest.fail(f"SERQ_TEST_CORPORA names a folder without {name}/: {folder.parent}")
    pytest.skip(f"no {name} recordings at {folder}; set SERQ_TEST_CORPORA to the folder that holds {name}/")


@pytest.fixture(scope="session")
def emodb_dir() -> Path:
    """The folder of EMO-DB."""
    return _corpus("emodb")


@pytest.fixture(scope="session")
def savee_dir() -> Path:
    """The folder of SAVEE."""
    return _corpus("savee")


@pytest.fixture(scope="session")
def tess_dir() -> Path:
    """The folder of TESS."""
    return _corpus("tess")
