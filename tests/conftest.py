"""What all tests share, and what coverage looks at: the examples that unit and contract tests play.

Measuring costs about as much time as what is measured. What plays the same at every step or with many values would take
twice as long and show nothing more: properties, and tests marked `exhaustive`. The figure is a lower bound.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import is_hypothesis_test

from relay.destinations.isolating import Refusals

MEASURED = {Path(__file__).parent / "unit", Path(__file__).parent / "contract"}


@pytest.fixture(autouse=True)
def _what_a_process_counts_is_of_one_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exports of most tests have the same name, and a module's tests share a destination."""
    for shared in vars(request.module).values() if request.module is not None else ():
        if isinstance(inspect.getattr_static(shared, "refusals", None), Refusals):
            monkeypatch.setattr(shared, "refusals", Refusals())


def is_measured(item: pytest.Item) -> bool:
    """Return whether coverage looks on during a test."""
    if MEASURED.isdisjoint(item.path.parents) or item.get_closest_marker("exhaustive") is not None:
        return False
    return not (isinstance(item, pytest.Function) and is_hypothesis_test(item.function))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let coverage, where it runs, look away during tests that are not measured."""
    measuring = Coverage.current()
    if measuring is None or is_measured(item):
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()
