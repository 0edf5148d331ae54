"""Every command that README, CONTRIBUTING, the tutorial and the how-to pages show is run, in their order, in
a folder of its own; those that need what no test can have are read by the command line's own parser, and are
named below. Of a contributor's commands, the files that they name exist.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from serq_mcu.cli import main
from serq_mcu.config import Config, load_config
from serq_mcu.corpus.synthetic import synthesise
from serq_mcu.quantized_model.store import save_model, shipped_model
from tests.support.documented import PAGES, PROGRAMS, ROOT, Command, Printed, TextFile, masked, shown
from tests.support.keras_files import dense, keras_archive
from tests.support.virtual_boards import capture_packets, firmware_on_a_port, packets_on_a_port, quiet_sound

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PORT = "/dev/ttyUSB0"
VENDOR = "needs the vendor's packages, gigabytes from PlatformIO's registry"
BOARD = "needs a board on a serial port, and the vendor's packages"
MONITOR = "shows what a board says until the user ends it"

# What is not run: command, and why. Everything else that the pages show is.
NOT_RUN = {
    "serq-mcu build fw/": VENDOR,
    "serq-mcu build firmware/": VENDOR,
    "serq-mcu build capture/": VENDOR,
    f"serq-mcu flash fw/ --port {PORT}": BOARD,
    f"serq-mcu flash firmware/ --port {PORT}": BOARD,
    f"serq-mcu flash capture/ --port {PORT}": BOARD,
    f"serq-mcu flash live/ --port {PORT}": BOARD,
    f"serq-mcu flash lamp/ --port {PORT}": BOARD,
    "serq-mcu flash lamp/ --web": f"{VENDOR}; tests/unit/test_web.py has what it does then",
    f"serq-mcu monitor live/ --port {PORT}": MONITOR,
    f"serq-mcu live {PORT} --browser": (
        "shows what a board says until the user ends it; tests/unit/test_listening.py has a board on a"
        " pseudo-terminal"
    ),
    f"serq-mcu calibrate {PORT} --label neutral --out anna.voice": (
        "needs a board that listens; tests/firmware/test_enrol.py has its side of the line"
    ),
    f"serq-mcu calibrate {PORT} --voice anna.voice": "needs a board that listens",
    "serq-mcu corpus fetch emodb --out emodb/": "downloads 40 MB from the publisher",
    "serq-mcu train emodb/ nemo/ ravdess/ --out multi/": "tests/unit/test_joined.py joins corpora",
    "make demo": "goes the whole way in minutes; tests/emulated/test_demo.py runs its command",
    "make test": "is what runs this test",
    "make setup": "sets up what this test runs in",
    "make check": "runs tests",
    "make reference": "tests/docs/test_docs_reference.py compares what it writes",
    "pip install serq-mcu": "tests/docs/test_packaging.py installs the wheel",
    "pip install 'serq-mcu[build]'": "tests/docs/test_packaging.py installs the wheel without extras",
    "pip install .": "tests/docs/test_packaging.py installs the wheel",
    "pip install '.[train]'": "gigabytes of TensorFlow",
    **{
        f"pip install '.[{extra}]'": "tests/docs/test_packaging.py installs the wheel without extras"
        for extra in ("build", "experiments", "fetch", "microphone")
    },
    "pip uninstall serq-mcu": "removes what this test runs",
    "serq-mcu cache clear": "empties the cache that all tests share",
    "pip install 'serq-mcu[train,build,demo]'": "gigabytes of TensorFlow",
    "pip download 'serq-mcu[train,build]' --dest wheels/": "gigabytes of TensorFlow",
    "pip install --no-index --find-links wheels/ 'serq-mcu[train,build]'": "gigabytes of TensorFlow",
}
# What is run with less work than a reader has: what is added to the command. `--config` is the page's or the
# default, made small.
SMALLER = {
    "corpus synthesise": ["--seconds", "30"],
    "train": ["--config", "SMALL"],
    "import-model": ["--config", "SMALL"],
    "robustness": ["--protocol", "clips", "--folds", "2", "--no-baseline", "--config", "SMALL"],
    "experiment run": ["--plan", "small_plan.toml", "--jobs", "1"],
    "record": ["--count", "1", "--seconds", "0.3"],
    "toolchain setup": ["--offline"],
}
PLAN = """title = "Small"
[[study]]
name = "short"
corpora = ["plain"]
models = ["mlp"]
features = ["librosa15"]
methods = ["32", "2"]
fine_tuned = []
protocol = "holdout"
folds = 2
seeds = 1
training = { hidden = [8], max_epochs = 2, presentations = 1 }
"""


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some clips of five classes."""
    return synthesise(tmp_path_factory.mktemp("documentation") / "speech", 30)


@pytest.fixture
def folder(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has before a page: recordings under the pages' names, a model, and a network of their
    own.
    """
    for name in ("speech", "emodb", "savee"):
        shutil.copytree(speech, tmp_path / name)
    shutil.copy(speech / "anger" / "de-m1_000.wav", tmp_path / "angry.wav")
    save_model(shipped_model(), tmp_path / "model.serq")
    (tmp_path / "small_plan.toml").write_text(PLAN)
    for label in ("anger", "neutral"):
        shutil.copytree(speech / label, tmp_path / "clips" / label)
    _own_network(tmp_path / "mine.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERQ_CORPUS", raising=False)
    return tmp_path


def _own_network(path: Path) -> None:
    """A network for the default features and two classes, its weights drawn."""
    rng, features = np.random.default_rng(1), load_config(None).features.feature_count
    arrays = {"layers/dense/vars/0": rng.normal(size=(features, 8)) / 15, "layers/dense/vars/1": np.zeros(8)}
    arrays |= {"layers/dense_1/vars/0": rng.normal(size=(8, 2)), "layers/dense_1/vars/1": np.zeros(2)}
    keras_archive(path, [dense(8), dense(2, "softmax")], arrays)


@pytest.mark.slow(15)
@pytest.mark.emulator
@pytest.mark.train
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(page: str, folder: Path) -> None:
    printed: list[str] = []
    assert any(isinstance(item, Command) for item in shown(page))
    for item in shown(page):
        if isinstance(item, TextFile):
            Path(item.name).parent.mkdir(parents=True, exist_ok=True)
            Path(item.name).write_text(item.text)
        elif isinstance(item, Printed):
            _expect(item, printed)
        elif item.line in NOT_RUN or item.of_a_checkout:
            _read(item)
        else:
            printed = _run(item)


def test_what_is_not_run_is_exactly_what_is_named() -> None:
    there = {item.line for page in PAGES for item in shown(page) if isinstance(item, Command)}
    assert set(NOT_RUN) <= there, "named above, but on no page"
    assert {line.split()[0] for line in there} <= set(PROGRAMS)
    needs_more = {
        line
        for line in there
        if line.split()[0] in ("make", "pip") or " flash " in line or " monitor " in line
    }
    assert needs_more <= set(NOT_RUN)
    run = {" ".join(path) for path in SMALLER}
    assert all(any(line.startswith(f"serq-mcu {name}") for line in there) for name in SMALLER), run


def test_a_command_that_fails_fails_the_test(folder: Path) -> None:
    with pytest.raises(AssertionError, match="such option"):
        _run(Command("serq-mcu boards --nonsense"))
    with pytest.raises(AssertionError, match="esp33"):
        _run(Command("serq-mcu check model.serq --board esp33"))
    with pytest.raises(click.UsageError):
        _read(Command("serq-mcu flash fw/ --prot X"))
    for line in ("pytest tests/unit/test_nothing.py", "python -m tests.support.nothing"):
        with pytest.raises(AssertionError, match="nothing"):
            _read(Command(line))
    with pytest.raises(AssertionError, match="is not printed"):
        _expect(Printed(("differing_clips: 0",)), ["accuracy: 1"])


def _run(command: Command) -> list[str]:
    """The lines that a command prints; it must end well."""
    if command.words[0] == "pytest":
        arguments = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "serq_mcu.verification.pytest_plugin",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *command.words[1:],
        ]
        done = subprocess.run(
            arguments, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == 0, f"{command.line}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()
    assert command.words[0] == "serq-mcu", command.line
    words = command.words[1:]
    words += [
        _small_config(words) if word == "SMALL" else word
        for name, added in SMALLER.items()
        if _names(words, name)
        for word in added
    ]
    with _port(words) as port:
        result = CliRunner().invoke(main, [port if word == PORT else word for word in words])
    assert result.exit_code == 0, f"{command.line}\n{result.output}\n{result.exception!r}"
    return result.output.splitlines()


def _names(words: list[str], command: str) -> bool:
    return words[: len(command.split())] == command.split()


@contextlib.contextmanager
def _port(words: list[str]) -> Iterator[str]:
    """A board for a command that names a port: the exported firmware, or a microphone that hears a quiet
    room.
    """
    if PORT not in words:
        yield ""
    elif words[0] == "record":
        with packets_on_a_port(capture_packets(quiet_sound())) as port:
            yield port
    else:
        with firmware_on_a_port(Path(words[1])) as port:
            yield port


def _read(command: Command) -> None:
    """Let the program that a command names read its words, without doing anything."""
    program, *words = command.words
    if program == "serq-mcu":
        found: click.Command = main
        context = main.context_class(main, **main.context_settings)
        while isinstance(found, click.Group):
            name, found, words = found.resolve_command(context, words)
        found.make_context(name, words, parent=context)
    elif program == "make":
        assert subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True).returncode == 0
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in words), command.line
    elif program == "python":
        assert words[0] == "-m" and (ROOT / f"{words[1].replace('.', '/')}.py").is_file(), command.line
    else:
        named = next(word for word in words if word.startswith(("serq-mcu", ".")))
        wanted = Requirement(f"serq-mcu{named[1:]}" if named.startswith(".") else named)
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert wanted.name == "serq-mcu" and wanted.extras <= set(extras)


def _small_config(words: list[str]) -> str:
    """The configuration of a command, made small, in a file."""
    config: Config = load_config(Path(words[words.index("--config") + 1]) if "--config" in words else None)
    small = config.changed(
        training={"hidden": [16, 12], "max_epochs": 3, "presentations": 1, "folds": 2},
        augmentation={"versions": 1},
    )
    Path("small_config.toml").write_text(small.to_toml())
    return "small_config.toml"


def _expect(said: Printed, printed: list[str]) -> None:
    """Every line that a page shows is printed, in that order, but for its figures."""
    rest = iter([masked(line) for line in printed])
    for line in said.lines:
        assert masked(line) in rest, f"{line!r} is not printed, or not there:\n" + "\n".join(printed)
