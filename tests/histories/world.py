"""A whole relay in one process: the real engine over the database in memory, the real destination over its sandbox.

One invocation at a time: a loop hands out messages as SQS would, moves the clock and ticks every minute.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from relay.domain.keyed_hash import KeyedHash
from relay.domain.runs import Run, RunState
from relay.queues import Received
from relay.stores import breakers, runs
from relay.stores.database import Table
from relay.wiring import Stack
from tests.fakes.invocations import EventSource, Invocations, Wire
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.observing import Observed
from tests.fakes.simulated_queue import SimQueue
from tests.fakes.virtual_clock import Killed, VirtualClock
from tests.fakes.wsgi_session import wsgi_session
from tests.histories.people import People
from tests.histories.promises import promise
from tests.histories.settings import StillSettings
from tests.histories.side import Side

BASE_URL = "http://sandbox.invalid"


class World:
    """The relay of one history; everything random is drawn from `chance`."""

    def __init__(self, chance: random.Random, side: Side, clock: VirtualClock) -> None:
        self.chance, self.side, self.clock = chance, side, clock
        self.lines: deque[str] = deque(maxlen=20_000)
        """What happened, for whoever has to find out what went wrong."""
        self.observe = Observed(self.tell)
        self.death_rate = chance.choice([0.0, 0.0, 0.0005])
        self.kills = 0
        self.queue = self._queue("destination", fifo=True)
        self.checks = self._queue("checks", fifo=False)
        self.database = MemoryDatabase(before=self._step, after=self._step)
        self.keyed = KeyedHash("history")
        self.people = People(self.database, self.keyed, chance, clock.now)
        self.settings = StillSettings(side.connection, side.export)
        self._session = wsgi_session(Wire(side.app, clock))
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self.invocations = Invocations(
            clock,
            chance,
            [EventSource(self.queue, self._consume), EventSource(self.checks, self._check_imports)],
            lambda: self.stack().ticker().tick(),
            killed=self._killed,
            over=self._check,
        )

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        return SimQueue(name, fifo, self.clock.now, self._step, self.chance)

    def tell(self, line: str) -> None:
        """Keep a line of what happened."""
        self.lines.append(f"{self.clock.now():%d %H:%M:%S.%f} {line}"[:400])

    def _step(self, name: str) -> None:
        """A place where an invocation may die of bad luck."""
        if self.clock.deadline is not None and self.death_rate and self.chance.random() < self.death_rate:
            raise Killed(name)

    def stack(self) -> Stack:
        """Return the relay for one invocation: nothing survives in memory but by luck."""
        stack = Stack({"RELAY_SANDBOXES": f"{self.side.name}={BASE_URL}"})
        stack.clock, stack.monotonic = self.clock, self.clock.timestamp
        stack.new_id = lambda _: next(self._ids)
        stack.observe = self.observe.as_observability()
        stack.database, stack.keyed, stack.settings = self.database, self.keyed, self.settings.as_settings()
        stack.queue_of, stack.checks = {self.side.name: self.queue}.__getitem__, self.checks
        stack.destinations = {self.side.name: self.side.destination}.__getitem__
        stack.session = self._session
        stack.recent_schedules = None
        return stack

    # Invocations.

    def _consume(self, batch: Sequence[Received]) -> Sequence[str]:
        return self.stack().consumer(self.side.name).consume(batch, self.clock.seconds_left)

    def _check_imports(self, batch: Sequence[Received]) -> Sequence[str]:
        return self.stack().import_checker().consume(batch, self.clock.seconds_left)

    def _killed(self, killed: Killed) -> None:
        self.kills += 1
        self.tell(f"killed: {killed}")

    def run_until(self, moment: datetime) -> None:
        """Let the relay work until a moment has come."""
        self.invocations.run_until(moment)

    def rest(self, within: timedelta) -> None:
        """Let the relay work until nothing is left to do."""
        end = self.clock.now() + within
        while True:
            while self.invocations.work_once():
                self.invocations.tick_if_due()
                promise(self.clock.now() < end, f"not at rest within {within}: {self.unrest()}")
            self.confirm_run()
            if not self.unrest():
                return
            promise(self.clock.now() < end, f"not at rest within {within}: {self.unrest()}")
            self.invocations.skip(end)
            self.invocations.tick_if_due()

    # Runs.

    def start_run(self) -> None:
        self.tell("a run is asked for")
        self.invocations.invoke(lambda: self.stack().starter.start(self.side.export, "schedule"))

    def active_run(self) -> Run | None:
        return runs.active(self.database, self.side.export.key)

    def confirm_run(self) -> None:
        """An operator lets a run go on that waits for a word."""
        run = self.active_run()
        if run is None or run.state is not RunState.NEEDS_CONFIRMATION:
            return
        self.tell("the run is confirmed")
        self.invocations.invoke(lambda: self.stack().starter.confirm(self.side.export, run.id, "operator"))

    def unrest(self) -> Mapping[str, Any]:
        """Return what is still to be done; empty when the relay is at rest."""
        run = self.active_run()
        found = breakers.load_all(self.database, self.side.export.connection)
        control = self.database.items(Table.CONTROL)
        still = {
            "messages": [parcel.body[:200] for parcel in (*self.queue.parcels, *self.checks.parcels)],
            "run": None if run is None else (run.id, run.state.value),
            "stopped": [breaker.stop.reason for breaker in found if breaker.stop is not None],
            "requested": sum(bool(breaker.resync) for breaker in found),
            "waits": [str(item["sk"]) for item in control if str(item["pk"]).startswith("waits#")],
        }
        return {name: value for name, value in still.items() if value}

    def _check(self) -> None:
        """Make sure of what must be true at every moment."""
        for defect in self.observe.defects:
            raise defect
        complaints = [*self.side.limits_exceeded(), *self.side.complaints()]
        promise(not complaints, "; ".join(complaints))
