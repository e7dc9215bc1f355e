"""A vendor who allows so many calls a second and takes its time for each, and processes of ours that call it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from relay.breaker.pace import Pace
from relay.destinations.contract import Account, Answer, Caller, Quota, Step
from relay.domain.exports import Connection, Export
from relay.domain.runs import Run
from relay.stores.database import Item, Key, Write
from relay.wiring import Stack
from tests.fakes.bench import CONNECTION, TOOL, VIP, Bench
from tests.fakes.bench_destination import BenchDestination
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.timeline import Timeline

SECOND = timedelta(seconds=1)


class CountingDatabase(MemoryDatabase):
    """Another's tables; it counts the calls that are made through it."""

    def __init__(self, tables: MemoryDatabase) -> None:
        super().__init__()
        self._tables = tables
        self.calls = 0

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        self.calls += 1
        return self._tables.get(keys)

    def write(self, writes: Sequence[Write]) -> list[bool]:
        self.calls += 1
        return self._tables.write(writes)


class Arrivals:
    """When calls have arrived."""

    def __init__(self) -> None:
        self.at: list[datetime] = []

    def most_within(self, span: timedelta) -> int:
        """Return the most that arrived in any span, its end not in it."""
        at = sorted(self.at)
        return max((bisect_left(at, one + span) - place for place, one in enumerate(at)), default=0)

    def per_second(self) -> float:
        """Return how many arrived each second, from the first to the last."""
        return (len(self.at) - 1) / (max(self.at) - min(self.at)).total_seconds()


class Slow(BenchDestination):
    """A call takes its time. Pages are of so many members; calls of one identity must not overlap."""

    at_once: int = 1
    page: int = 300
    inside: Counter[str]

    def page_is_full(self, export: Export, joins: int, leaves: int) -> bool:
        return joins + leaves >= self.page

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        identities = {step.identity for step in steps}
        assert identities.isdisjoint(+self.inside), "two calls of one identity are made at the same time"
        self.inside.update(identities)
        try:
            return super().send(account, export, steps)
        finally:
            self.inside.subtract(identities)


class VendorBench(Bench):
    """A relay whose destination takes calls beside each other; each process has a pace of its own."""

    def __init__(
        self, quota: Quota, *, at_once: int, takes: float = 0.25, shards: int = 1, segments: Sequence[str] = (VIP,)
    ) -> None:
        self.timeline = Timeline()
        self.quota, self.takes = quota, takes
        self.arrivals = Arrivals()
        self.pacing: list[CountingDatabase] = []
        super().__init__(call_size=1, streams=False, segments=segments, pool=self.timeline.pool, clock=self.timeline)
        self.tool.__class__ = Slow
        self.tool.inside = Counter()  # type: ignore[attr-defined]
        self.tool.at_once, self.tool.shards = at_once, shards

    def new_stack(self) -> Stack:
        stack = super().new_stack()
        counting = CountingDatabase(self.database)
        self.pacing.append(counting)
        stack.pace = pace = Pace(counting, self.timeline)

        def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
            made = [0]

            def call(*_: Any, **__: Any) -> Any:
                pace(connection.name, self.quota)
                self.arrivals.at.append(self.timeline.now())
                made[0] += 1
                self.timeline.sleep(self.takes)

            return call, lambda: made[0]

        stack.caller = caller
        return stack

    def members(self, count: int, *segments: str) -> None:
        """Store members, as many in each shard."""
        for number in range(count):
            self.store(number, inside=segments or (VIP,), email=f"{number}@x.example", name="A")

    def in_time(self, task: Callable[[], Any]) -> Any:
        """Do a task on the timeline; return what it returns, or raise what it raises."""
        results = []
        self.timeline.run(lambda: results.append(task()))
        return results[0]

    def run_in(self, processes: int, started: Run | None = None) -> None:
        """Work off a run in so many processes, each with the pages of its own shard."""
        run = self.start() if started is None else started
        stacks = [self.new_stack() for _ in range(processes)]

        def work(shard: int) -> None:
            consumer = stacks[shard].consumer(TOOL)
            while self.run(run).ended_at is None:
                mine = [one for one in self.queue.messages if one.group == f"{CONNECTION}#{shard}"]
                self.queue.messages = [one for one in self.queue.messages if one not in mine]
                if mine:
                    assert consumer.consume(self.received(mine), lambda: 100.0) == []
                else:
                    self.timeline.sleep(0.01)

        self.timeline.run(*(partial(work, shard) for shard in range(processes)))

    @property
    def pacing_calls(self) -> int:
        """Return the calls to the database that were made for pacing."""
        return sum(one.calls for one in self.pacing)
