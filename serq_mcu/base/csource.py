"""Pieces of generated C as data: what is called with what, what is traced, which tables are stored.

Templates write them down; they never compute (law 1). Whoever contributes C to a model (a feature block, a
layer) does it in these terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Call:
    """A statement `result = function(arguments);`. result: an lvalue or declaration, or empty."""

    function: str
    arguments: tuple[str | int, ...]
    result: str = ""


@dataclass(frozen=True)
class Trace:
    """The integers that a stage has just computed.

    They are `count` values of C type `type` at the expression `values`.
    """

    stage: str
    values: str
    count: int
    type: str


@dataclass(frozen=True)
class Declare:
    """A local variable: `type name = value;`."""

    type: str
    name: str
    value: str


@dataclass(frozen=True)
class Discard:
    """A statement `(void)name;`: what this model does not use."""

    name: str


@dataclass(frozen=True)
class Loop:
    """Steps that are repeated `count` times; `name` counts from 0, an unsigned integer."""

    name: str
    count: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class ReturnUnless:
    """A statement `if (!function(arguments)) { return; }`: what follows is not needed."""

    function: str
    arguments: tuple[str | int, ...]


Step: TypeAlias = "Call | Trace | Declare | Discard | Loop | ReturnUnless"


@dataclass(frozen=True, eq=False)
class CArray:
    """A constant table of generated C, `static const type name[]`.

    Its C type follows from the values' type.
    """

    name: str
    values: NDArray[Any]
    comment: str = ""

    @property
    def type(self) -> str:
        """The C type of an element."""
        return f"{self.values.dtype.name}_t"


@dataclass(frozen=True)
class CPart:
    """What one block or layer adds to a model's C: statements in order, tables, own sources and headers.

    sources: handwritten .c, .h and .S files that are copied beside the runtime's; headers: names to include.
    """

    steps: tuple[Step, ...]
    arrays: tuple[CArray, ...] = ()
    headers: tuple[str, ...] = ()
    sources: tuple[Path, ...] = field(default=())

    @property
    def functions(self) -> tuple[str, ...]:
        """The C functions that the steps call, in order, each once."""
        return tuple(dict.fromkeys(call.function for call in calls(self.steps)))


def calls(steps: Iterable[Step]) -> Iterator[Call]:
    """Yield the calls among steps, those of a loop once."""
    for step in steps:
        if isinstance(step, Loop):
            yield from calls(step.steps)
        elif isinstance(step, Call):
            yield step


def c_statement(step: Step) -> str:
    """Write a step as a line of C; a loop as several, of which the first stands four spaces in."""
    if isinstance(step, Call):
        call = f"{step.function}({', '.join(map(str, step.arguments))});"
        return f"{step.result} = {call}" if step.result else call
    if isinstance(step, Declare):
        return f"{step.type}{'' if step.type.endswith('*') else ' '}{step.name} = {step.value};"
    if isinstance(step, Discard):
        return f"(void){step.name};"
    if isinstance(step, Loop):
        head = f"for (unsigned {step.name} = 0; {step.name} < {step.count}; {step.name}++) {{"
        body = (f"        {c_statement(own)}" for own in step.steps)
        return "\n".join((head, *body, "    }"))
    if isinstance(step, ReturnUnless):
        return f"if (!{step.function}({', '.join(map(str, step.arguments))})) {{ return; }}"
    stage = step.stage.upper().replace(" ", "_")
    return f"SERQ_TRACE_STAGE(SERQ_STAGE_{stage}, {step.values}, {step.count}, sizeof({step.type}));"


def c_string(text: str) -> str:
    """Write any text as a C string literal.

    Every byte but plain ASCII letters, digits and ` _-.,:/()` becomes a three-digit octal escape.
    """
    plain = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _-.,:/()")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_numbers(values: Iterable[Any], indent: int = 4, width: int = 120) -> str:
    """Write integers as the lines of a C initialiser."""
    text = " ".join(f"{value}," for value in np.asarray(values).ravel().tolist())
    lines, start, room = [], 0, width - indent
    while len(text) - start > room:
        end = text.rindex(" ", start, start + room + 1)
        lines.append(text[start:end])
        start = end + 1
    return "\n".join(" " * indent + line for line in [*lines, text[start:]])
