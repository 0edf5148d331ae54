"""Find comprehensions of the package and the tools that are nested too deep: a check of `make lint`.

A comprehension counts for every `for` that it has, and for those of the comprehensions that stand inside it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

DEEPEST = 2
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_ROOT = Path(__file__).resolve().parents[1]


def too_deep(source: str, deepest: int = DEEPEST) -> Iterator[tuple[int, int]]:
    """Yield the line and the depth of each outermost comprehension of `source` that is nested deeper."""
    for node in _outermost(ast.parse(source)):
        if (depth := _depth(node)) > deepest:
            yield node.lineno, depth


def _outermost(node: ast.AST) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _COMPREHENSIONS):
            yield child
        else:
            yield from _outermost(child)


def _depth(node: ast.AST) -> int:
    own = len(node.generators) if isinstance(node, _COMPREHENSIONS) else 0
    return own + max((_depth(child) for child in ast.iter_child_nodes(node)), default=0)


def main() -> int:
    """Print what is too deep, one finding a line, and return the exit code: 1 if there is any."""
    paths = sorted(path for room in ("serq_mcu", "tools") for path in (_ROOT / room).rglob("*.py"))
    findings = [
        f"{path.relative_to(_ROOT)}:{line}: nested {depth} deep; write a function (at most {DEEPEST})"
        for path in paths
        for line, depth in too_deep(path.read_text(encoding="utf-8"))
    ]
    print("\n".join(findings) or f"{len(paths)} files: no comprehension is nested more than {DEEPEST} deep")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
