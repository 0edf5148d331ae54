"""How much stack an application uses at most: the compiler's figures, along its graph of calls.

GCC writes both for each file with -fcallgraph-info=su. The runtime calls nothing through pointers and has no
recursion, so the deepest path is found by looking at all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from serq_mcu.errors import SerqError

# of a function that the compiler did not compile: assembly (56 bytes at most), compiler's and C library's own
UNKNOWN = 64
INTERRUPT = (
    104  # what a Cortex-M with a floating-point unit stores when an interrupt comes; others store less
)
_ROOTS = ("main", "app_main", "application_run")
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_BYTES = re.compile(r"(\d+) bytes \((\w+)")


@dataclass
class _Graph:
    """Bytes of each function that was compiled, and which it calls."""

    own: dict[str, int] = field(default_factory=dict)
    calls: dict[str, set[str]] = field(default_factory=dict)


def deepest_stack(application: Sequence[str], libraries: Sequence[str]) -> int:
    """Return the most bytes of stack of an application, from the graphs of its own files and of libraries.

    That is the deepest path from its start and, on top of it, an interrupt with the deepest path from a
    function of its own that nobody calls, such as a driver's callback. Raises SerqError for recursion and for
    calls or frames whose size the compiler does not know.
    """
    graph = _read([*application, *libraries])
    called = {name for names in graph.calls.values() for name in names}
    starts = [name for name in _ROOTS if name in graph.own][:1]
    callbacks = [name for name in _read(application).own if name not in called and name not in starts]
    depths: dict[str, int] = {}
    main = max((_depth(graph, name, depths, ()) for name in starts), default=0)
    return main + INTERRUPT + max((_depth(graph, name, depths, ()) for name in callbacks), default=0)


def _read(graphs: Iterable[str]) -> _Graph:
    found = _Graph()
    for text in graphs:
        for name, label in _NODE.findall(text):
            if size := _BYTES.search(label):
                if size[2] != "static":
                    raise SerqError(f"the stack of {name} is not known before it runs ({size[2]})")
                found.own[name] = int(size[1])
        for caller, callee in _EDGE.findall(text):
            found.calls.setdefault(caller, set()).add(callee)
    return found


def _depth(graph: _Graph, name: str, depths: dict[str, int], path: tuple[str, ...]) -> int:
    if name in path or name == "__indirect_call":
        raise SerqError(f"the stack is not known: {' calls '.join([*path, name])}")
    if name not in depths:
        below = (_depth(graph, one, depths, (*path, name)) for one in sorted(graph.calls.get(name, ())))
        own = graph.own.get(name, 0)
        # one that calls nothing and has no frame may be assembly in C
        depths[name] = (own if own or graph.calls.get(name) else UNKNOWN) + max(below, default=0)
    return depths[name]
