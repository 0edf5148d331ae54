"""What users install: source archive and wheel carry everything, and the wheel works in an empty
environment, without TensorFlow.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from serq_mcu import __version__
from serq_mcu.corpus.synthetic import synthesise

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CARRIED = ("templates", "firmware", "boards", "docs/schemas")  # beside the package; inside it in a wheel
IMPORTED_AS = {"pyserial": "serial", "rich-click": "rich_click"}
NOT_CORE = (
    "tensorflow",
    "tf_keras",
    "keras",
    "librosa",
    "sklearn",
    "scipy",
    "matplotlib",
    "platformio",
    "distributed",
    "mkdocs",
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def test_both_carry_everything(archives: tuple[Path, Path]) -> None:
    source, wheel = archives
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in (*CARRIED, "serq_mcu")
        for path in _files(ROOT / folder)
    }
    assert len(wanted) > 200 and "serq_mcu/py.typed" in wanted and "serq_mcu/models/emodb.serq" in wanted
    with tarfile.open(source) as archive:
        assert wanted | {"README.md", "LICENSE", "CHANGELOG.md"} <= {
            name.split("/", 1)[-1] for name in archive.getnames()
        }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"serq_mcu-{__version__}.dist-info/METADATA").decode()
    assert found == {
        name if name.startswith("serq_mcu/") else f"serq_mcu/data/{name.removeprefix('docs/')}"
        for name in wanted
    }
    assert (ROOT / "README.md").read_text() in metadata and "License-File: LICENSE" in metadata


@pytest.mark.slow(15)
@pytest.mark.emulator
def test_the_wheel_exports_builds_and_verifies_in_an_empty_environment(
    archives: tuple[Path, Path], tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    _run(programs / "pip", "install", "--quiet", "--disable-pip-version-check", archives[1])
    there = _run(
        programs / "python",
        "-c",
        f"import importlib.util as u; print([name for name in {NOT_CORE} if u.find_spec(name)])",
    )
    assert there.strip() == "[]"
    speech = synthesise(tmp_path / "speech", 12)
    serq = programs / "serq-mcu"
    assert __version__ in _run(serq, "--version")
    assert "esp32" in _run(
        serq, "export", "--board", "esp32", "--app", "harness", "--out", tmp_path / "esp32"
    )
    assert {"platformio.ini", "model.serq", "serq.json"} <= {
        path.name for path in (tmp_path / "esp32").iterdir()
    }
    _run(serq, "export", "--board", "emulated-m4f", "--app", "live", "--out", tmp_path / "m4f")
    said = _run(
        serq,
        "verify",
        tmp_path / "esp32",
        "--clips",
        speech,
        "--on",
        "host",
        "--baseline",
        tmp_path / "b.json",
        "--update-baseline",
    )
    assert "differing_clips: 0" in said and "differing_integers: 0" in said
    assert int(re.findall(r"(\d+) integers of every stage", said)[0]) > 100_000


def test_every_dependency_of_the_core_is_used_and_nothing_else_is_needed_to_import_it() -> None:
    imported = set()
    for path in (ROOT / "serq_mcu").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [item.name for item in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", None) or ""]
            )
            imported |= {name.split(".")[0] for name in names}
    core = {re.split(r"[><=;\[ ]", line)[0] for line in PROJECT["dependencies"]}
    assert {name for name in core if IMPORTED_AS.get(name, name) not in imported} <= {"rich"}  # of rich-click


def _files(folder: Path) -> list[Path]:
    """What is there but for what Python and a build leave."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".o")
    ]


def _run(*command: str | Path) -> str:
    """Standard output of a command in an environment that knows nothing of this checkout."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], cwd="/", env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
