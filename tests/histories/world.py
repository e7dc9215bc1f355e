"""A whole relay in one process: the real engine over the database in memory, the real destination over its sandbox.

One invocation at a time: a loop hands out messages as SQS would, moves the clock and ticks every minute.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from relay.delivery.consuming import Consumer
from relay.delivery.cursors import Cursors
from relay.delivery.engine import Engine
from relay.delivery.import_checks import ImportChecker
from relay.delivery.memos import memo_at
from relay.delivery.opening import Opener
from relay.delivery.pace import Pace
from relay.delivery.setting_aside import SettingAside
from relay.delivery.settling import Settling
from relay.delivery.starting import Starter
from relay.delivery.ticking import Ticker
from relay.delivery.wakeups import Wakeups
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Caller
from relay.domain.exports import Connection
from relay.domain.keyed_hash import KeyedHash
from relay.domain.runs import Run, RunState
from relay.queues import Received
from relay.stores import gates, runs
from relay.stores.directory import Directory
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
        self.told: deque[str] = deque(maxlen=20_000)
        self.observe = Observed(self.tell)
        self.death_rate = chance.choice([0.0, 0.0, 0.0005])
        self.kills = 0
        self.queue = self._queue("destination", fifo=True)
        self.checks = self._queue("checks", fifo=False)
        self.database = MemoryDatabase(before=self._step, after=self._step)
        self.keyed = KeyedHash("history")
        self.people = People(self.database, self.keyed, chance, clock.now)
        self.settings = StillSettings(side.connection, side.export)
        self._pace = Pace(self.database, clock)
        self._session = wsgi_session(Wire(side.app, clock))
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self.invocations = Invocations(
            clock,
            chance,
            [EventSource(self.queue, self._consume), EventSource(self.checks, self._check_imports)],
            lambda: self._ticker().tick(),
            killed=self._killed,
            over=self._check,
        )

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        return SimQueue(name, fifo, self.clock.now, self._step, self.chance)

    def tell(self, line: str) -> None:
        """Keep a line for whoever has to find out what went wrong."""
        self.told.append(f"{self.clock.now():%d %H:%M:%S.%f} {line}"[:400])

    def _step(self, name: str) -> None:
        """A place where an invocation may die of bad luck."""
        if self.clock.deadline is not None and self.death_rate and self.chance.random() < self.death_rate:
            raise Killed(name)

    # The relay's parts. Each invocation gets its own: nothing survives in memory but by luck.

    def caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        caller = HttpCaller(
            connection.name,
            pace=partial(self._pace, connection.name),
            log=self.observe.info,
            hold=partial(self._pace.hold_all, connection.name),
            session=self._session,
            monotonic=self.clock.timestamp,
        )
        return caller, lambda: sum(caller.counts.values())

    def _opener(self) -> Opener:
        urls = {self.side.name: BASE_URL}
        settings = self.settings.as_settings()
        paced = (self._pace.backlog, self._pace.hold)
        memos = partial(memo_at, self.database, self.keyed)
        return Opener(self.database, settings, self._lookup, self.caller, urls, *paced, memos)

    def _lookup(self, name: str) -> Any:
        assert name == self.side.name
        return self.side.destination

    def _wakeups(self) -> Wakeups:
        return Wakeups(lambda _: self.queue, self.checks, lambda _: self.side.destination.shards, self.clock)

    def _engine(self) -> Engine:
        aside = SettingAside(self.database, self.clock, self.observe.as_observability())
        new_id = lambda: next(self._ids)  # noqa: E731
        return Engine(self.database, self.keyed, self.clock, self._wakeups(), new_id=new_id, aside=aside)

    def _cursors(self) -> Cursors:
        return Cursors(self.database, self.clock, self._engine(), self._wakeups())

    def starter(self) -> Starter:
        return Starter(self.database, self.clock, self._cursors(), self._lookup, new_id=lambda: next(self._ids))

    def _consumer(self) -> Consumer:
        retry = self.queue.retry_later
        parts = (self._opener(), self._engine(), self._cursors(), self.clock, retry, self.observe.as_observability())
        return Consumer(self.database, *parts)

    def _checker(self) -> ImportChecker:
        settling = Settling(self.database, self.clock, self._wakeups())
        retry = self.checks.retry_later
        parts = (settling, self._cursors(), self._wakeups(), self.clock, retry, self.observe.as_observability())
        return ImportChecker(self.database, self._opener(), *parts)

    def _ticker(self) -> Ticker:
        directory = Directory(self.database, self.clock, max_age=timedelta())
        parts = (self._opener(), self.starter(), self._cursors(), self._wakeups(), directory, self.clock)
        return Ticker(self.database, *parts, self.observe.as_observability())

    # Invocations.

    def _consume(self, batch: Sequence[Received]) -> Sequence[str]:
        return self._consumer().consume(batch, self.clock.seconds_left)

    def _check_imports(self, batch: Sequence[Received]) -> Sequence[str]:
        return self._checker().consume(batch, self.clock.seconds_left)

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
        self.invocations.invoke(lambda: self.starter().start(self.side.export, "schedule"))

    def active_run(self) -> Run | None:
        active = runs.active(self.database, self.side.export.key)
        return None if active is None else runs.load(self.database, active)

    def confirm_run(self) -> None:
        """An operator lets a run go on that waits for a word."""
        run = self.active_run()
        if run is None or run.state is not RunState.NEEDS_CONFIRMATION:
            return
        self.tell("the run is confirmed")
        self.invocations.invoke(lambda: self.starter().confirm(self.side.export, run.id, "operator"))

    def unrest(self) -> Mapping[str, Any]:
        """Return what is still to be done; empty when the relay is at rest."""
        run = self.active_run()
        scopes = gates.load(self.database, self.side.export.connection, self.side.export.name)
        found = {
            "messages": [parcel.body[:200] for parcel in (*self.queue.parcels, *self.checks.parcels)],
            "run": None if run is None else (run.id, run.state.value),
            "stopped": [gate.reason for gate in scopes if gate.closed],
            "owed": sum(gate.owed for gate in scopes),
        }
        return {name: value for name, value in found.items() if value}

    def _check(self) -> None:
        """Make sure of what must be true at every moment."""
        for defect in self.observe.defects:
            raise defect
        complaints = [*self.side.limits_exceeded(), *self.side.complaints()]
        promise(not complaints, "; ".join(complaints))
