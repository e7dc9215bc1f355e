"""The rooms of the library lie one below the other: no arrow runs back up, and there is no circle."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from relay.destinations import registry

LIBRARY = Path(__file__).parents[2] / "layers/relay/relay"

TOP_DOWN = (
    "wiring_operators",
    "wiring_people",
    "wiring",
    "wiring_doors",
    "workers",
    "runs",
    "segment_imports",
    "reconcile",
    "routing",
    "intake",
    "breaker",
    "deployed",
    "schedules",
    "events",
    "settings",
    "files",
    "sources",
    "problem_details",
    "destinations",
    "stores",
    "messages",
    "queues",
    "aws",
    "observability",
    "domain",
    "clock",
    "json_text",
    "names",
    "version",
)
"""A room knows those that come after it, and no other."""


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """Return which modules of the library each module imports, by name without `relay.`."""
    modules = {_name(file): file for file in LIBRARY.rglob("*.py")}
    return {name: frozenset(_imported(file, frozenset(modules))) for name, file in modules.items()}


def _name(file: Path) -> str:
    return ".".join(file.relative_to(LIBRARY).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def _imported(file: Path, modules: frozenset[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "relay":
            source = (node.module or "").removeprefix("relay").removeprefix(".")
            for alias in node.names:
                whole = f"{source}.{alias.name}".removeprefix(".")
                yield whole if whole in modules else source


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_room_has_its_place() -> None:
    assert {room(module) for module in imports() if module} == set(TOP_DOWN)


def test_no_arrow_runs_back_up() -> None:
    below = {name: {*TOP_DOWN[place:], ""} for place, name in enumerate(TOP_DOWN)}
    back = {
        f"{module} -> {target}"
        for module, targets in imports().items()
        for target in targets
        if room(module) in below and room(target) not in below[room(module)]
    }
    assert back == set()


def test_there_is_no_circle() -> None:
    try:
        TopologicalSorter({module: targets - {module} for module, targets in imports().items()}).prepare()
    except CycleError as circle:
        raise AssertionError(" -> ".join(circle.args[1])) from None


PACKAGES = tuple(package.removeprefix("relay.") for package in registry.PACKAGES.values())


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_the_engine_knows_no_destination_by_name() -> None:
    known = {
        f"{module} -> {target}"
        for module, targets in imports().items()
        if not _is_in(module, PACKAGES)
        for target in targets
        if _is_in(target, PACKAGES)
    }
    assert known == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_is_sent_to_a_vendor_goes_out_by_the_account_and_is_in_its_package(package: str) -> None:
    """So a destination opens no connection of its own, and uses no other one's code."""
    reached = {
        f"{module} -> {target}"
        for module, targets in imports().items()
        if _is_in(module, (package,))
        for target in targets
        if room(target) != "domain" and not _is_in(target, (package,)) and target not in BASE
    }
    assert reached == set()
    outside = {name for module in imports() if _is_in(module, (package,)) for name in _libraries(module)}
    assert outside <= {*sys.stdlib_module_names, "pydantic"}
    assert not outside & {"socket", "ssl", "http", "subprocess"}


BASE = {f"destinations.{file.stem}" for file in (LIBRARY / "destinations").glob("*.py")} - {"destinations.registry"}


def _libraries(module: str) -> set[str]:
    """Return what a module imports from outside of the library."""
    path = LIBRARY.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.split(".")[0] for name in names}
    return found - {"relay"}
