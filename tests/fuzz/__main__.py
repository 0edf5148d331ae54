"""Fuzz one parser: `python -m tests.fuzz TARGET [options of libFuzzer]`.

C by libFuzzer itself, Python by atheris, which is built on it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runs import C_TARGETS, COMMON, PYTHON_TARGETS, write


def main() -> None:
    """Parse, fuzz."""
    if len(sys.argv) < 2 or sys.argv[1] not in (*C_TARGETS, *PYTHON_TARGETS):
        sys.exit(
            f"usage: python -m tests.fuzz {'|'.join((*C_TARGETS, *PYTHON_TARGETS))} [options of libFuzzer,"
            " such as -max_total_time=600]"
        )
    target, options = sys.argv[1], [*COMMON, *sys.argv[2:]]
    with tempfile.TemporaryDirectory(prefix=f"serq-fuzz-{target}-") as work:
        if target in C_TARGETS:
            from tests.fuzz import native

            program = native.build(target, Path(work))
            sys.exit(
                subprocess.run(
                    [program, *options, write(native.SEEDS[target], Path(work) / "seeds")]
                ).returncode
            )
        _atheris(target, options, Path(work))


def _atheris(target: str, options: list[str], work: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["serq_mcu", "tomllib", "json", "cobs"]):
        from tests.fuzz.targets import SEEDS, TARGETS, guarded
    atheris.Setup([sys.argv[0], *options, write(SEEDS[target], work / "seeds")], guarded(TARGETS[target]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
