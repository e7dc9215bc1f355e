"""Planting a mistake in a destination: one text of its source is another, in modules imported afresh."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from relay.domain.problems import Problem
from tests.contract.subject import Subject


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake of a destination, and the part of the suite that notices it.

    In the source of `module` each text of `changes` (there exactly once) becomes another. `noticed_by` is played with
    `kind`, where it has cases only with `case`.
    """

    name: str
    module: str
    changes: Mapping[str, str]
    noticed_by: Callable[..., None]
    kind: type[Subject]
    case: str | None = None


@contextmanager
def planted(mistake: Mistake, package: str) -> Iterator[None]:
    """Import the destination with its mistake, and the right one again afterwards."""
    gone = {name: module for name, module in sys.modules.items() if _is_imported_again(name, mistake, package)}
    finder = _Finder(mistake)
    _forget(gone)
    sys.meta_path.insert(0, finder)
    try:
        yield
        assert finder.was_asked, "the mistake was never imported"
    finally:
        sys.meta_path.remove(finder)
        _forget({name: module for name, module in sys.modules.items() if _is_imported_again(name, mistake, package)})
        sys.modules.update(gone)
        for name, module in gone.items():
            parent, _, last = name.rpartition(".")
            setattr(sys.modules[parent], last, module)


SHARED = tuple(
    f"relay.destinations.{name}" for name in ("api", "cutting", "error_table", "isolating", "outcomes", "standard")
)
"""What destinations are made of; a mistake in one of these shows in all that use it."""


def _is_imported_again(name: str, mistake: Mistake, package: str) -> bool:
    return name in (package, mistake.module, *SHARED) or name.startswith(f"{package}.")


def _forget(modules: dict[str, ModuleType]) -> None:
    for name in modules:
        del sys.modules[name]


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mistake: Mistake) -> None:
        self._mistake = mistake
        self.was_asked = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._mistake.module:
            return None
        self.was_asked = True
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert found is not None
        assert found.origin is not None
        loader = _Loader(name, found.origin, self._mistake)
        return importlib.util.spec_from_file_location(
            name, found.origin, loader=loader, submodule_search_locations=found.submodule_search_locations
        )


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, mistake: Mistake) -> None:
        super().__init__(name, path)
        self._mistake = mistake

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        for old, new in self._mistake.changes.items():
            times = source.count(old)
            assert times == 1, f"the source has this {times} times; write it as the source has it now: {old!r}"
            source = source.replace(old, new)
        return compile(source, self.path, "exec")


def is_noticed(mistake: Mistake) -> bool:
    """Return whether the part of the suite turns red; a mistake that merely breaks down (a TypeError) is none."""
    for arguments in _cases(mistake):
        try:
            mistake.noticed_by(**arguments)
        except (AssertionError, Problem, pytest.fail.Exception):
            return True
    return False


def _cases(mistake: Mistake) -> Iterator[dict[str, Any]]:
    """Yield arguments of the noticing test, as pytest would give them for the kind and case."""
    names = mistake.noticed_by.__code__.co_varnames[: mistake.noticed_by.__code__.co_argcount]
    marks = [mark for mark in getattr(mistake.noticed_by, "pytestmark", ()) if mark.name == "parametrize"]
    tables = [list(_rows(*mark.args[:2])) for mark in marks]
    for rows in product(*tables):
        arguments = {name: value for row in rows for name, value in row.items()}
        if arguments.setdefault("kind", mistake.kind) is not mistake.kind:
            continue
        if mistake.case is not None and mistake.case not in arguments.values():
            continue
        if "subject" in names:
            arguments["subject"] = mistake.kind()
        yield {name: value for name, value in arguments.items() if name in names}


def _rows(names: str | Sequence[str], values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    split = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for value in values:
        yield dict(zip(split, value if len(split) > 1 else (value,), strict=True))
