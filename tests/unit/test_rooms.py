"""The rooms of the library lie one below the other: no arrow runs back up, and there is no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "layers/relay/relay"

TOP_DOWN = (
    "wiring",
    "workers",
    "runs",
    "reconcile",
    "routing",
    "breaker",
    "schedules",
    "events",
    "settings",
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
