"""Everything that parses, fuzzed: seeds and old findings every time, and a minute of new inputs
(docs/fuzzing.md has the long runs).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import hostile, native
from tests.fuzz.runs import C_TARGETS, COMMON, PYTHON_TARGETS, write
from tests.fuzz.targets import SEEDS, TARGETS, guarded
from tests.support.tools import require

FINDINGS = Path(__file__).parent / "findings"  # TARGET/any-name: an input that once was a finding
SECONDS = 7  # of new inputs for each parser, two at a time: 42 in all
PAIRS = [
    ("wire", "model_file"),
    ("application", "audio"),
    ("runtime", "board_file"),
    ("configuration", "corpus"),
    ("baseline", "decoder"),
    ("table", "network"),
]


def _findings(target: str) -> list[Path]:
    return sorted((FINDINGS / target).glob("*"))


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_findings_of_the_python_readers(target: str) -> None:
    for data in [*SEEDS[target](), b"", b"\0", *(path.read_bytes() for path in _findings(target))]:
        guarded(TARGETS[target])(data)


@pytest.mark.parametrize(
    "target", ["model_file", "board_file", "configuration", "audio", "corpus", "table", "network", "baseline"]
)
def test_a_seed_is_read_to_the_end(target: str) -> None:
    """So that fuzzing starts from what passes every check."""
    TARGETS[target](SEEDS[target]()[0])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The C parsers' fuzzers."""
    require("clang")
    return {target: native.build(target, tmp_path_factory.mktemp(target)) for target in native.SEEDS}


@pytest.mark.parametrize("target", native.SEEDS)
def test_seeds_and_findings_of_the_c_parsers(programs: dict[str, Path], target: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    seeds = sorted(Path(write(native.SEEDS[target], tmp_path / "seeds")).iterdir())
    done = subprocess.run(
        [programs[target], tmp_path / "empty", *seeds, *_findings(target)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_seeds_reach_every_function_of_the_application(programs: dict[str, Path], tmp_path: Path) -> None:
    """Breakpoints, features, refusals and all: fuzzing starts behind every door."""
    options = [
        "-runs=0",
        "-print_coverage=1",
        *COMMON,
        write(native.SEEDS["application"], tmp_path / "seeds"),
    ]
    done = subprocess.run([programs["application"], *options], capture_output=True, text=True)
    ours = {
        line.split()[-2]: line
        for line in done.stderr.splitlines()
        if "COVERED_FUNC" in line and ("/main.c:" in line or "/wire.c:" in line)
    }
    assert "application_run" in ours
    assert [name for name, line in ours.items() if line.startswith("UNCOVERED")] == []


@pytest.mark.slow(10)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_minute_of_new_inputs(programs: dict[str, Path], pair: tuple[str, ...], tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    running = []
    for target in pair:
        (tmp_path / target).mkdir()
        options = [f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path / target}/"]
        command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", target, *options]
        if target in programs:
            command = [
                str(programs[target]),
                *COMMON,
                *options,
                write(native.SEEDS[target], tmp_path / f"{target}-seeds"),
            ]
        log = (tmp_path / f"{target}.log").open("w")
        running.append(
            (
                target,
                subprocess.Popen(
                    command, cwd=root, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(root)}
                ),
            )
        )
    for target, process in running:
        code = process.wait()
        said = (tmp_path / f"{target}.log").read_text(errors="replace")
        assert code == 0, (
            f"{target}: keep {[*(tmp_path / target).iterdir()]} in {FINDINGS / target}\n{said[-3000:]}"
        )
        (runs,) = [int(line.split()[1]) for line in said.splitlines() if line.startswith("Done ")]
        assert runs > 20, f"{target} made {runs} inputs only"
        assert "no interesting inputs" not in said, (
            f"{target} is not instrumented: something of serq-mcu was imported too early"
        )


def test_every_parser_is_fuzzed() -> None:
    assert (
        sorted(target for pair in PAIRS for target in pair)
        == sorted([*C_TARGETS, *PYTHON_TARGETS])
        == sorted([*TARGETS, *native.SEEDS])
    )


@pytest.mark.skipif(os.name == "nt", reason="it forks")
def test_hostile_inputs_of_each_kind_get_a_sentence(tmp_path: Path) -> None:
    """One of each kind, forked from a process that holds little; docs/fuzzing.md has the figures of 500."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.fuzz import hostile\n"
        "hostile.shared_files(Path(sys.argv[1]))\n"
        "for kind in hostile.KINDS:\n"
        "    print(kind, hostile.attempt(kind, 1000, Path(sys.argv[1])).fault, sep='\\t')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.splitlines() == [f"{kind}\t" for kind in hostile.KINDS]
