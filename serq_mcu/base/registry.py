"""Things that an extension can add: kinds of feature blocks and layers, layouts, chip families, boards.

An installed package adds its own through the entry point group `serq_mcu`: each entry names a function
without arguments, which calls the `register_…` functions of `serq_mcu.extension`. They are called once,
before the first registry is asked for what it holds. A script calls the same functions itself.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from serq_mcu.errors import SerqError

GROUP = "serq_mcu"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one sort, in the order in which they were registered.

    `what` is the sort, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._things: dict[str, T] = {}

    def register(self, name: str, thing: T) -> T:
        """Add a thing.

        Raises SerqError if the name is taken or no C identifier of lower-case letters.
        """
        if not _NAME.fullmatch(name):
            raise SerqError(
                f"{self._what} {name!r}: a name is 1 to 32 lower-case letters, digits and underscores,"
                " and begins with a letter"
            )
        if name in self._things:
            raise SerqError(f"{self._what} {name!r} is registered already; give the second another name")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """Return the thing of a name.

        Raises SerqError, which lists the names there are, if there is none.
        """
        things = self._all()
        if name not in things:
            raise SerqError(f"{self._what} {name!r} is not one of {', '.join(things)}")
        return things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._all()))

    def values(self) -> tuple[T, ...]:
        """Return everything registered, in order."""
        return tuple(self._all().values())

    def remove(self, name: str) -> None:
        """Take a thing out again, as a test does that registered it."""
        self._things.pop(name, None)

    def _all(self) -> dict[str, T]:
        load_extensions()
        return self._things


_loaded = False


def load_extensions() -> None:
    """Call every installed extension's function, once.

    Raises SerqError, naming the extension, if one cannot be loaded or refuses.
    """
    global _loaded
    if _loaded:
        return
    _loaded = True  # first, since an extension may ask a registry
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            entry.load()()
        except Exception as error:  # whatever somebody else's code raises
            raise SerqError(
                f"the extension {entry.name} ({entry.value}) cannot be loaded: {error}"
            ) from error
