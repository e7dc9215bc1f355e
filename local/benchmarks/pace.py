"""How far a vendor's calls a second are used, and what pacing costs: real threads against a made-up vendor.

The pace and the pool of threads are those of the functions. The tables are in memory, and each call to them takes as
long as a call to DynamoDB.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from local.benchmarks.report import Figure, Goal, Report
from relay.breaker.pace import Pace
from relay.clock import SystemClock
from relay.destinations.contract import Quota
from relay.reconcile.pool import pool_of
from relay.stores.database import Database, Item, Key, Write
from tests.fakes.memory_database import MemoryDatabase

ALLOWED = 75
"""Calls a second."""
QUOTA = Quota("calls", ALLOWED, timedelta(seconds=1))
ANSWERS_WITHIN = 0.25
"""Seconds that the vendor takes for a call."""
DATABASE = 0.005
"""Seconds that a call to the tables takes."""
SECONDS = 30
AT_ONCE = 24

_HOW = (
    f"A vendor allows {ALLOWED} calls a second and takes {ANSWERS_WITHIN * 1000:.0f} ms for each. Processes call it "
    f"for {SECONDS} seconds, with the functions' pace and threads. Tables are in memory; a call to them takes "
    f"{DATABASE * 1000:.0f} ms."
)

CASES = {
    "alone": ("one process, one call after the other", 1, 1),
    "one": (f"one process, {AT_ONCE} at the same time", 1, AT_ONCE),
    "four": (f"four processes, {AT_ONCE} at the same time each", 4, AT_ONCE),
    "few": ("four processes, 8 at the same time each", 4, 8),
}
"""What is measured: how it is named, how many processes, and how many calls each makes at the same time."""


@dataclass
class Tables:
    """The tables as one process calls them, and when it does."""

    kept: MemoryDatabase
    called: list[float] = field(default_factory=list)

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Read items."""
        return cast("list[Item | None]", self._call(self.kept.get, keys))

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """Write items."""
        return cast("list[bool]", self._call(self.kept.write, writes))

    def _call(self, work: Callable[[Any], object], asked: Any) -> object:
        self.called.append(time.monotonic())
        time.sleep(DATABASE)
        return work(asked)


@dataclass
class Measured:
    """When calls left, in seconds, and when the tables were called for that.

    Rates are without the first and the last tenth of the time: then all have begun and none has ended.
    """

    left: list[float]
    called: list[float]

    @property
    def per_second(self) -> float:
        """How many left each second."""
        return len(self._middle(self.left)) / (0.8 * (max(self.left) - min(self.left)))

    @property
    def called_per_call(self) -> float:
        """How often the tables were called for each."""
        return len(self._middle(self.called)) / len(self._middle(self.left))

    @property
    def most(self) -> int:
        """The most that left in any second."""
        left = sorted(self.left)
        return max(bisect_left(left, one + 1) - place for place, one in enumerate(left))

    def _middle(self, times: Sequence[float]) -> list[float]:
        began, ended = min(self.left), max(self.left)
        edge = (ended - began) / 10
        return [one for one in times if began + edge <= one < ended - edge]


def benchmark(seconds: float = SECONDS) -> Report:
    """Measure all cases, and report."""
    figures = [figure for case in CASES for figure in _figures(case, measure(*CASES[case][1:], seconds))]
    return Report("pace", {"seconds": seconds}, figures, (_HOW,), {case: text for case, (text, *_) in CASES.items()})


def measure(processes: int, at_once: int, seconds: float) -> Measured:
    """Let processes call the vendor for some seconds, each from so many threads."""
    kept, left = MemoryDatabase(), list[float]()
    tables = [Tables(kept) for _ in range(processes)]
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_process, args=(one, at_once, end, left)) for one in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Measured(left, [moment for one in tables for moment in one.called])


def _process(tables: Tables, at_once: int, end: float, left: list[float]) -> None:
    pace = Pace(cast("Database", tables), SystemClock())

    def call() -> None:
        pace("acme", QUOTA)
        left.append(time.monotonic())
        time.sleep(ANSWERS_WITHIN)

    with pool_of(at_once) as pool:
        for _ in range(at_once):
            pool.begin(call)
        under_way = at_once
        while under_way:
            pool.ended()
            under_way -= 1
            if time.monotonic() < end:
                pool.begin(call)
                under_way += 1


def _figures(case: str, found: Measured) -> Iterator[Figure]:
    is_enough = case != "alone"
    used = Goal(">=", 70) if is_enough else None
    cost = Goal("<=", 0.05) if case in ("one", "four") else None
    yield Figure("calls_per_second", "calls a second", found.per_second, used, 1, case)
    yield Figure("most_in_a_second", "the most calls in any second", found.most, None, 0, case)
    yield Figure("database_calls_per_call", "calls to the tables for each call", found.called_per_call, cost, 3, case)
