"""A whole relay in one process: the real stack over the database in memory, the real destination over its sandbox.

One invocation at a time: a loop hands out messages as SQS would, moves the clock and ticks every minute.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from relay.breaker.pace import Pace
from relay.destinations.contract import Quota
from relay.domain import moments
from relay.domain.exports import Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.runs import RETRY_ALL, Run, RunState
from relay.queues import Received
from relay.runs.ending import BOUND
from relay.settings.inventory import Inventory
from relay.stores import activations, breakers, imports, runs
from relay.stores.database import Database, Table
from relay.stores.waits import PARTITIONS
from relay.wiring import Stack
from relay.workers.tick import STALLED_AFTER
from tests.fakes.invocations import EventSource, Invocations, Wire
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.observing import Observed
from tests.fakes.outside import FakeBucket, FakeBus
from tests.fakes.simulated_queue import SimQueue
from tests.fakes.virtual_clock import Killed, VirtualClock
from tests.fakes.wsgi_session import wsgi_session
from tests.histories.people import People
from tests.histories.promises import promise
from tests.histories.settings import SeenSettings
from tests.histories.side import CONNECTION, Side
from tests.simulation.settings import SEEN_WITHIN, Console

BASE_URL = "http://sandbox.invalid"

WARM = 0.9
"""How often an invocation finds the process of the one before it."""


class BudgetedPace(Pace):
    """Keeps a daily budget that can be used up."""

    def __init__(self, database: Database, clock: VirtualClock, a_day: int | None) -> None:
        super().__init__(database, clock)
        self._a_day = a_day

    def __call__(self, connection: str, quota: Quota) -> None:
        """Take the next slot."""
        super().__call__(connection, quota if self._a_day is None else replace(quota, a_day=self._a_day))


class World:
    """The relay of one history; everything random is drawn from `chance`."""

    def __init__(self, chance: random.Random, side: Side, clock: VirtualClock) -> None:
        self.chance, self.side, self.clock = chance, side, clock
        self.happened: deque[str] = deque(maxlen=20_000)
        self.observe = Observed(self.tell)
        self.death_rate = chance.choice([0.0, 0.0, 0.0005])
        self.budget = chance.choice([None] * 6 + [300])
        """The most calls of a quota in a day, where that is less than the destination's own."""
        self.kills = 0
        self.queue = self._queue("destination", fifo=True)
        self.checks = self._queue("checks", fifo=False)
        self.database = MemoryDatabase(before=self._step, after=self._step)
        self.keyed = KeyedHash("history")
        self.people = People(self.database, self.keyed, chance, clock.now)
        self.changes = self._queue("changes", fifo=False)
        self.console = Console(clock.now)
        self.edit(side.export)
        self._session = wsgi_session(Wire(side.app, clock))
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self._stacks: dict[str, Stack] = {}
        """The processes, by the function they belong to."""
        self._function = ""
        """Which function works at present."""
        self.invocations = Invocations(
            clock,
            chance,
            [EventSource(self.queue, self._consume), EventSource(self.checks, self._check_imports)],
            self._tick,
            killed=self._killed,
            over=self._check,
            idle=self._next_tick,
        )

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        return SimQueue(name, fifo, self.clock.now, self._step, self.chance)

    def tell(self, line: str) -> None:
        """Keep a line for whoever has to find out what went wrong."""
        self.happened.append(f"{self.clock.now():%d %H:%M:%S.%f} {line}"[:400])

    def _step(self, name: str) -> None:
        """A place where an invocation may die of bad luck."""
        if self.clock.deadline is not None and self.death_rate and self.chance.random() < self.death_rate:
            raise Killed(name)

    # Settings.

    def edit(self, export: Export) -> Export:
        """Save an export."""
        self.side.seen(export)
        return self.console.edit(export)

    @property
    def exports(self) -> list[Export]:
        """Return the exports as they are saved now."""
        return [export for _, export in sorted(self.console.exports.items())]

    # The relay's processes.

    def stack(self, function: str) -> Stack:
        """Return the process in which a function works now: the one of its last invocation, or a new one."""
        self._function = function
        if self.chance.random() > WARM:
            self._stacks.pop(function, None)
        if function not in self._stacks:
            self._stacks[function] = self._new_stack()
        return self._stacks[function]

    def _new_stack(self) -> Stack:
        stack = Stack({"RELAY_PREFIX": "history"})
        destination = self.side.new_destination()
        stack.clock, stack.observe, stack.database = self.clock, self.observe.as_observability(), self.database
        stack.pace = BudgetedPace(self.database, self.clock, self.budget)
        stack.monotonic, stack.session, stack.keyed = self.clock.timestamp, self._session, self.keyed
        stack.settings = SeenSettings(self.console, self.clock.now, self.side.connection).as_settings()
        stack.settings_age = SEEN_WITHIN
        stack.destinations = {self.side.name: destination}.__getitem__
        stack.sandboxes = {self.side.name: BASE_URL}
        stack.queue_of, stack.checks = {self.side.name: self.queue}.__getitem__, self.checks
        stack.new_id = lambda size: next(self._ids)
        stack.inventories, stack.recent_schedules = Inventory, None
        stack.dead_changes = self.changes
        stack.bus, stack.bucket = FakeBus, FakeBucket
        return stack

    # Invocations.

    def _consume(self, batch: Sequence[Received]) -> Sequence[str]:
        return self.stack("destination").consumer(self.side.name).consume(batch, self.clock.seconds_left)

    def _check_imports(self, batch: Sequence[Received]) -> Sequence[str]:
        return self.stack("import_checks").import_checker().consume(batch, self.clock.seconds_left)

    def _tick(self) -> None:
        self.stack("tick").ticker().tick()

    def _killed(self, killed: Killed) -> None:
        self.kills += 1
        self._stacks.pop(self._function, None)
        self.tell(f"{self._function} killed: {killed}")

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
            self.confirm_runs()
            if not self.unrest():
                return
            promise(self.clock.now() < end, f"not at rest within {within}: {self.unrest()}")
            self.invocations.skip(end)
            self.invocations.tick_if_due()

    def _next_tick(self) -> datetime:
        """Return when a tick finds something to do; at least every quarter of an hour one looks."""
        now = self.clock.now()
        return min([now + STALLED_AFTER, *self._due(now)])

    def _due(self, now: datetime) -> Iterator[datetime]:
        late = STALLED_AFTER + timedelta(seconds=1)
        yield from (due for due, _ in self.waits())
        yield from (opened.looked_at + late for opened in imports.all_open(self.database, CONNECTION))
        for breaker in breakers.load_all(self.database, CONNECTION):
            if breaker.stop is not None:
                yield breaker.stop.probe_at
            elif breaker.resync:
                yield now
        for export in self.exports:
            if export.active and export.stream and activations.load(self.database, export.key) != export.version:
                yield now
        for run in self.active_runs():
            for shard in runs.shards(self.database, run.id, run.phase):
                yield run.started_at + BOUND if shard.done else (shard.moved_at or run.started_at) + late

    # Runs.

    def start_run(self, export: Export) -> None:
        """Start a run of an export, as its schedule does."""
        self.tell(f"a run of {export.key} is asked for")
        self.invocations.invoke(lambda: self.stack("export").starter.start(export, "schedule"))

    def retry(self, export: Export) -> None:
        """An operator has everything tried again at once that was rejected."""
        self.tell(f"a retry of {export.key} is asked for")
        self.invocations.invoke(lambda: self.stack("admin").starter.start(export, "retry", retry=RETRY_ALL))

    def cancel(self, run: Run) -> None:
        """An operator cancels a run."""
        self.tell(f"{run.id} is cancelled")
        self.invocations.invoke(lambda: self.stack("admin").starter.cancel(run.id, "operator"))

    def active_runs(self) -> list[Run]:
        """Return the runs that go on or wait for confirmation."""
        found = (runs.active(self.database, key) for key in sorted({key for key, _ in self.console.versions}))
        return [run for run in found if run is not None]

    def confirm_runs(self) -> None:
        """An operator lets runs go on that wait for a word."""
        for run in self.active_runs():
            if run.state is RunState.NEEDS_CONFIRMATION and self._goes_on(run):
                self.tell(f"{run.id} is confirmed")
                self.invocations.invoke(partial(self._confirm, self.console.exports[run.export], run.id))

    def _confirm(self, export: Export, run: str) -> None:
        promise(self.stack("admin").starter.confirm(export, run, "operator"), f"run {run} cannot be confirmed")

    def _goes_on(self, run: Run) -> bool:
        """Return whether a run goes on, or would once it is confirmed; after an edit the next run takes its place."""
        export = self.console.exports.get(run.export)
        return export is not None and (run.state is RunState.RUNNING or run.settings == export.version)

    def waits(self) -> list[tuple[datetime, str]]:
        """Return what waits for what is due: when, and what it is."""
        found = []
        for number in range(PARTITIONS):
            for item in self.database.query(Table.CONTROL, f"waits#{number:02d}"):
                due, _, what = str(item["sk"]).partition("#")
                found.append((moments.parse(due), what))
        return found

    def unrest(self) -> Mapping[str, Any]:
        """Return what is still to be done; empty when the relay is at rest."""
        stopped = breakers.load_all(self.database, CONNECTION)
        there = {None, *(export.name for export in self.exports)}
        held_up = [run for run in self.active_runs() if not self._goes_on(run)]
        of_no_concern = ("confirm#", *(f"outstanding#{run.id}#" for run in held_up))
        found = {
            "messages": [parcel.body[:200] for parcel in (*self.queue.parcels, *self.checks.parcels)],
            "runs": [(run.id, run.state.value) for run in self.active_runs() if self._goes_on(run)],
            "stopped": [(one.subject, one.stop.reason) for one in stopped if one.stop and one.export in there],
            "resync": [one.subject for one in stopped if one.resync and one.export in there],
            "imports": [opened.call for opened in imports.all_open(self.database, CONNECTION)],
            "waits": [wait for wait in self.waits() if not wait[1].startswith(of_no_concern)],
        }
        return {name: value for name, value in found.items() if value}

    def _check(self) -> None:
        """Make sure of what must be true at every moment."""
        for defect in self.observe.defects:
            raise defect
        complaints = [*self.side.limits_exceeded(), *self.side.complaints()]
        promise(not complaints, "; ".join(complaints))
