"""Defects planted for one profile: any function that is called for it, and any access to the database that touches it.

Functions are found by looking through modules, so that what is added to them is tried without being listed.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from relay.stores.database import Item, Key, Table, Write
from tests.fakes.memory_database import MemoryDatabase

DEPTH = 6
"""How deep arguments are searched for a profile."""


_OF_TUPLES = frozenset({"_replace", "_asdict", "_make"})
"""What every named tuple has."""


class PlantedError(Exception):
    """A defect: nothing of ours."""


@dataclass(frozen=True)
class Victim:
    """The texts that name one profile: its id, its identities, the keys of its records.

    `besides` are kinds of objects that may hold such texts without being about the profile.
    """

    texts: frozenset[str]
    besides: tuple[type, ...] = ()

    def is_named_in(self, value: object, depth: int = DEPTH) -> bool:
        """Return whether a value holds one of the texts."""
        if isinstance(value, str):
            return any(text in value for text in self.texts)
        if depth == 0 or value is None or isinstance(value, (int, float, bytes, Enum, *self.besides)):
            return False
        return any(self.is_named_in(part, depth - 1) for part in _parts(value))


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, Sequence | Set):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return ()


def functions_of(
    modules: Iterable[ModuleType], classes: Iterable[type] = ()
) -> dict[str, tuple[type | None, str, Any]]:
    """Return the functions and methods that modules and classes define: (class, name, function) by qualified name."""
    found: dict[str, tuple[type | None, str, Any]] = {}
    for module in modules:
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value):
                found[f"{_short(module)}.{name}"] = (None, name, value)
            elif inspect.isclass(value):
                found |= _methods(f"{_short(module)}.{value.__name__}", value)
    for one in classes:
        found |= _methods(one.__name__, one)
    return found


def _methods(prefix: str, one: type) -> dict[str, tuple[type | None, str, Any]]:
    return {
        f"{prefix}.{name}": (one, name, value)
        for name, value in vars(one).items()
        if inspect.isfunction(value) and not name.startswith("__") and name not in _OF_TUPLES
    }


def _short(module: ModuleType) -> str:
    return module.__name__.removeprefix("relay.")


@contextmanager
def planted(
    functions: Mapping[str, tuple[type | None, str, Any]], met: Callable[[str, tuple[Any, ...], dict[str, Any]], None]
) -> Iterator[None]:
    """Call `met` with each function's name and arguments before it does its work."""
    with pytest.MonkeyPatch.context() as patch:
        for qualified, (owner, name, function) in functions.items():
            wrapper = _wrapped(qualified, function, met)
            if owner is not None:
                patch.setattr(owner, name, wrapper)
                continue
            for module in [one for key, one in sys.modules.items() if key.startswith(("relay.", "tests."))]:
                for used, value in list(vars(module).items()):
                    if value is function:
                        patch.setattr(module, used, wrapper)
        yield


def _wrapped(qualified: str, function: Any, met: Callable[[str, tuple[Any, ...], dict[str, Any]], None]) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        met(qualified, args, kwargs)
        return function(*args, **kwargs)

    return wrapper


class FaultyDatabase(MemoryDatabase):
    """Refuses what touches a victim's keys in one table by one operation, `get` or `write`, while told to.

    What records that a profile was set aside is spared: it must itself work.
    """

    fault: tuple[str, Table] | None = None
    victim = Victim(frozenset())

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        self._refuse("get", keys)
        return super().get(keys)

    def write(self, writes: Sequence[Write]) -> list[bool]:
        self._refuse("write", [write.key for write in writes])
        return super().write(writes)

    def _refuse(self, operation: str, keys: Sequence[Key]) -> None:
        for key in keys:
            spared = key.pk.startswith("defects#")
            named = self.victim.is_named_in(key.pk) or self.victim.is_named_in(key.sk)
            if self.fault == (operation, key.table) and named and not spared:
                raise PlantedError("not for logs: Ada Lovelace")
