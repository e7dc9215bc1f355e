"""How much of the library the tests run, while coverage measures: examples count, repetitions do not.

Coverage costs about as much time as what it measures. So it looks on while the unit tests play examples. What plays
the same again with other values (properties, benchmarks, a defect at every place) would take twice as long and show
nothing more. The figure says what the cheapest tests run; the others come on top.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import is_hypothesis_test

UNIT = Path(__file__).parent / "unit"
REPEATING = {UNIT / "test_benchmarks.py", UNIT / "test_bench_route.py", UNIT / "workers/test_setting_aside.py"}


def is_measured(item: pytest.Item) -> bool:
    """Return whether coverage looks on during a test."""
    if UNIT not in item.path.parents or item.path in REPEATING:
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
