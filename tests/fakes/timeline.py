"""Time that several share: whoever sleeps lets the others go on, and time passes when all of them sleep.

It plays what threads do, one step after the other and always in the same order.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from tests.fakes.clock import FakeClock


class Timeline(FakeClock):
    """A clock, and those who live by it. Outside of `run` a sleep passes the time as that of any fake clock."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0
        self._waking: list[tuple[datetime, int, greenlet]] = []
        self._hub: greenlet | None = None

    def begin(self, task: Callable[[], object]) -> None:
        """Begin a task beside the others."""
        self.wake(greenlet(task, parent=self._hub))

    def run(self, *tasks: Callable[[], object]) -> None:
        """Do tasks beside each other, and whatever they begin, until all have ended."""
        self._hub = getcurrent()
        for task in tasks:
            self.begin(task)
        try:
            while self._waking:
                at, _, one = heapq.heappop(self._waking)
                self.time = max(self.time, at)
                one.switch()
        finally:
            # Where one has died the others died with it.
            self._hub = None
            self._waking.clear()

    def sleep(self, seconds: float) -> None:
        if self._hub is None:
            super().sleep(seconds)
            return
        self.slept.append(seconds)
        self.wake(getcurrent(), seconds)
        self.wait()

    def wait(self) -> None:
        """Let the others go on until somebody wakes whoever asks."""
        assert self._hub is not None
        self._hub.switch()

    def wake(self, one: greenlet, after: float = 0.0) -> None:
        """Let somebody who waits go on, some seconds from now."""
        self._next += 1
        heapq.heappush(self._waking, (self.time + timedelta(seconds=after), self._next, one))

    @contextmanager
    def pool(self, most: int) -> Iterator[TimelinePool]:
        """Make a pool whose tasks take place beside each other. At its end it waits for those under way."""
        pool = TimelinePool(self, most)
        try:
            yield pool
        finally:
            pool.wait()


class TimelinePool:
    """A pool as the reconciler wants it."""

    def __init__(self, timeline: Timeline, most: int) -> None:
        self._timeline = timeline
        self._most = most
        self._under_way = 0
        self._ends: deque[Callable[[], Any]] = deque()
        self._waits: greenlet | None = None

    def begin(self, task: Callable[[], Any]) -> None:
        assert self._under_way < self._most, "more are under way than the pool was made for"
        self._under_way += 1
        self._timeline.begin(lambda: self._do(task))

    def ended(self) -> Any:
        assert self._under_way or self._ends, "nothing is under way"
        while not self._ends:
            self._waits = getcurrent()
            self._timeline.wait()
        return self._ends.popleft()()

    def wait(self) -> None:
        """Wait for all that are under way."""
        while self._under_way:
            self._waits = getcurrent()
            self._timeline.wait()

    def _do(self, task: Callable[[], Any]) -> None:
        try:
            result = task()
            self._ends.append(lambda: result)
        except Exception as problem:  # noqa: BLE001 - it is raised where the end is asked for
            self._ends.append(partial(_raise, problem))
        self._under_way -= 1
        if self._waits is not None:
            self._timeline.wake(self._waits)
            self._waits = None


def _raise(problem: Exception) -> None:
    raise problem
