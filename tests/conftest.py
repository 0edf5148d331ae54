"""Fixtures shared by all tests.

Real corpora are optional: a test that needs one is skipped, with the reason, where it is absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

DEFAULT_CORPORA = Path(__file__).parents[2] / "shared" / "data"  # a development default beside the checkout


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from the user's cache or left in it, and a fault of our own shows as one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERQ_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SERQ_TRACEBACK", "1")  # so that a test which expects a refusal does not pass by a fault
        yield


def _corpus(name: str) -> Path:
    folder = Path(os.environ.get("SERQ_TEST_CORPORA", DEFAULT_CORPORA)) / name
    if not folder.is_dir():
        if (
            "SERQ_TEST_CORPORA" in os.environ
        ):  # somebody counts on these tests: their absence is a failure, not a pass
            pytest.fail(f"SERQ_TEST_CORPORA names a folder without {name}/: {folder.parent}")
        pytest.skip(
            f"no {name} recordings at {folder}; set SERQ_TEST_CORPORA to the folder that holds {name}/"
        )
    return folder


@pytest.fixture(scope="session")
def emodb_dir() -> Path:
    return _corpus("emodb")


@pytest.fixture(scope="session")
def savee_dir() -> Path:
    return _corpus("savee")


@pytest.fixture(scope="session")
def tess_dir() -> Path:
    return _corpus("tess")
