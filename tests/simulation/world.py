"""A whole relay in one process: all real but AWS, HTTP and time, and every step a place to die or to be overtaken.

Workers (one Lambda invocation each) run as greenlets. Before and after each access to a table, a queue or a
destination the world may let another worker go on, or kill this one; its messages then come back as SQS would bring
them. Everything is drawn from one seed.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlet import getcurrent, greenlet

from relay.delivery import wishes
from relay.delivery.consuming import Consumer
from relay.delivery.cursors import Cursors
from relay.delivery.engine import Engine
from relay.delivery.import_checks import MOST_TRIES, ImportChecker
from relay.delivery.opening import Opener
from relay.delivery.setting_aside import SettingAside
from relay.delivery.settling import Settling
from relay.delivery.starting import Starter
from relay.delivery.ticking import Ticker
from relay.delivery.wakeups import Wakeups
from relay.domain import changes
from relay.domain.changes import Change, ChangeBatch, MembershipChange
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import UNCONFIRMED, Rejection
from relay.domain.profiles import Alias, Profile
from relay.domain.runs import RunState, ledger_adds_up, total
from relay.queues import Message, Received
from relay.routing import Room, Router
from relay.stores import deliveries, ledger, profiles, runs
from relay.stores.database import Item, Key, Table
from relay.stores.directory import Directory
from tests.fakes.memory_database import MemoryDatabase
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.destinations import SimDestination
from tests.simulation.settings import SimSettings

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
SOURCE = "shop"
SEGMENTS = ("shop/vip", "shop/lapsed")
EMAILS = ("ann@x.example", "bob@x.example", "cy@x.example", "di@x.example", "refused@x.example", "nonsense", None)


class Death(BaseException):
    """The process is gone: nothing may catch this."""


class BrokenPromise(AssertionError):  # noqa: N818 - what it is, said plainly
    """The relay did not do what it promises."""


def promise(kept: object, otherwise: str) -> None:
    """Raise `BrokenPromise` with what is otherwise, unless the promise is kept."""
    if not kept:
        raise BrokenPromise(otherwise)


class Tripped(Exception):  # noqa: N818 - a defect of the code, played
    """Something the code did not expect."""


class TrippingRouter(Router):
    """Trips now and then over one of the profiles it works on."""

    trips: Callable[[], bool]

    def _note_segments(self, works: Any) -> None:
        super()._note_segments(works)
        if self.trips():
            raise Tripped

    def _say_look_again(self, works: Any, outlines: Any) -> None:
        if self.trips():
            raise Tripped
        super()._say_look_again(works, outlines)


class SteplessDatabase:
    """Reads of a check: nobody is overtaken by them, and nobody dies."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        stored = self._database.snapshot()
        return [stored.get(key) for key in keys]


class Silence:
    """Observability that says nothing, but remembers defects."""

    def __init__(self) -> None:
        self.defects: list[BaseException] = []

    def problem(self, event: str, error: BaseException, **_: Any) -> None:
        if isinstance(error, Tripped):
            return
        if event in ("defect", "set aside", "unreadable message", "not routed", "tick") and not hasattr(error, "actor"):
            self.defects.append(error)

    def info(self, event: str, **_: Any) -> None: ...

    def count(self, metric: Any, value: int = 1, **_: Any) -> None: ...


class SimClock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class World:
    """One schedule. `calm` switches all trouble off; the relay must then get everything right by itself."""

    router: type[TrippingRouter] = TrippingRouter

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        random.seed(seed)
        self.clock = SimClock()
        self.keyed = KeyedHash("simulation")
        self.database = MemoryDatabase(before=self.step, after=self.step)
        self.observe = Silence()
        self.death_rate = self.chance.choice([0.0, 0.002, 0.01])
        self.trip_rate = self.chance.choice([0.0, 0.0, 0.1])
        self.calm = False
        self.posted = 0
        self.restarts = 0
        self.confirmed = 0
        self._workers: list[tuple[greenlet, SimQueue | None, list[Received]]] = []
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self.settings = SimSettings(self.clock.now)
        self.destinations = {name: self._destination(name) for name in ("answers", "imports")}
        self.queues = {name: self._queue(name, fifo=True) for name in self.destinations}
        self.changes = self._queue("changes", fifo=False)
        self.checks = self._queue("checks", fifo=False)
        for name, destination in self.destinations.items():
            self.settings.edit(
                Export(name, "main", name, True, destination.streams, SEGMENTS, _mapping("email"), "7", 0)
            )
        self.people = [
            [self.keyed(SOURCE, f"{number}.{device}") for device in range(self.chance.choice([1, 1, 2, 3, 5]))]
            for number in range(self.chance.randint(2, 9))
        ]
        """Each with the ids it is known by. Which of them belong together is told only bit by bit."""
        self.batches: dict[str, ChangeBatch] = {}
        self._batch_of: dict[str, str] = {}

    def _destination(self, name: str) -> SimDestination:
        return SimDestination(
            name=name,
            imports_later=name == "imports",
            streams=name == "answers" or self.chance.random() < 0.5,
            now=self.clock.now,
            step=self.step,
            chance=self.chance,
            refuses=frozenset({"refused@x.example"}),
            call_size=self.chance.randint(1, 4),
            # Fewer than would end anybody as unconfirmed.
            bad_imports=self.chance.randint(0, MOST_TRIES - 1),
        )

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        return SimQueue(name, fifo, self.clock.now, self.step, self.chance)

    # Steps, deaths and overtaking.

    def step(self, name: str) -> None:
        """A place where a worker may die or be overtaken; nothing outside workers."""
        parent = getcurrent().parent
        if parent is None or self.calm:
            return
        if self.chance.random() < self.death_rate:
            raise Death(name)
        if self.chance.random() < 0.4:
            parent.switch()

    def _spawn(self, work: Callable[[], list[str]], queue: SimQueue | None, batch: list[Received]) -> None:
        def live() -> None:
            try:
                failed = work()
            except Death:
                self.restarts += 1
                return
            if queue is not None:
                queue.finish(batch, failed)

        worker = greenlet(live)
        self._workers.append((worker, queue, batch))
        self._go_on(worker)

    def _go_on(self, worker: greenlet) -> None:
        worker.switch()
        if worker.dead:
            self._workers = [entry for entry in self._workers if entry[0] is not worker]

    # The relay's functions. Each invocation gets parts of its own: nothing survives in memory but by luck.

    def _wakeups(self) -> Wakeups:
        return Wakeups(self.queues.__getitem__, self.checks, lambda name: self.destinations[name].shards, self.clock)

    def _opener(self) -> Opener:
        def caller(connection: Connection) -> Any:
            destination = self.destinations[connection.destination]
            before = destination.writes
            return None, lambda: destination.writes - before

        return Opener(self.database, self.settings, self.destinations.__getitem__, caller)  # type: ignore[arg-type]

    def _cursors(self) -> Cursors:
        return Cursors(self.database, self.clock, self._engine(), self._wakeups())

    def _engine(self) -> Engine:
        return Engine(*self._engine_parts(), **self._engine_options())

    def _engine_parts(self) -> tuple[MemoryDatabase, KeyedHash, SimClock, Wakeups]:
        return self.database, self.keyed, self.clock, self._wakeups()

    def _engine_options(self) -> dict[str, Any]:
        aside = SettingAside(self.database, self.clock, self.observe)  # type: ignore[arg-type]
        return {"new_id": lambda: next(self._ids), "aside": aside}

    def _settling(self) -> Settling:
        return Settling(self.database, self.clock, self._wakeups())

    def _starter(self) -> Starter:
        lookup = self.destinations.__getitem__
        return Starter(self.database, self.clock, self._cursors(), lookup, new_id=lambda: next(self._ids))

    def route(self) -> bool:
        batch = self.changes.receive()
        if batch:
            router = self.router(
                self.database,
                self.settings,
                Directory(self.database, self.clock),
                self.queues.__getitem__,
                self.changes,
                visibility=self.changes.visibility,
                clock=self.clock,
                observability=self.observe,  # type: ignore[arg-type]
                room=Room(values=1_900, most=2_300),
            )
            router.trips = lambda: not self.calm and self.chance.random() < self.trip_rate
            self._spawn(lambda: router.route(batch), self.changes, batch)
        return bool(batch)

    def consume(self, name: str) -> bool:
        queue = self.queues[name]
        batch = queue.receive()
        if batch:
            consumer = Consumer(
                self.database,
                self._opener(),
                self._engine(),
                self._cursors(),
                self.clock,
                queue.retry_later,
                self.observe,  # type: ignore[arg-type]
            )
            self._spawn(lambda: consumer.consume(batch, lambda: 100.0), queue, batch)
        return bool(batch)

    def check(self) -> bool:
        batch = self.checks.receive()
        if batch:
            checker = ImportChecker(
                self.database,
                self._opener(),
                self._settling(),
                self._cursors(),
                self._wakeups(),
                self.clock,
                self.checks.retry_later,
                self.observe,  # type: ignore[arg-type]
            )
            self._spawn(lambda: checker.consume(batch, lambda: 100.0), self.checks, batch)
        return bool(batch)

    def tick(self) -> None:
        ticker = Ticker(
            self.database,
            self._opener(),
            self._starter(),
            self._cursors(),
            self._wakeups(),
            Directory(self.database, self.clock),
            self.clock,
            self.observe,  # type: ignore[arg-type]
        )

        def work() -> list[str]:
            ticker.tick()
            return []

        self._spawn(work, None, [])

    def start_run(self, name: str) -> None:
        def work() -> list[str]:
            self._starter().start(self.settings.export(f"{name}/main"), "schedule")
            return []

        self._spawn(work, None, [])

    def confirm_runs(self) -> None:
        """An operator lets runs go on that wait for a word, and ends those that count under older settings."""

        def work() -> list[str]:
            for export in list(self.settings.exports_now.values()):
                active = runs.active(self.database, export.key)
                run = None if active is None else runs.load(self.database, active)
                if run is None or run.state is not RunState.NEEDS_CONFIRMATION:
                    continue
                starter = self._starter()
                if starter.confirm(export, run.id, "operator"):
                    self.confirmed += 1
                else:
                    starter.cancel(run.id, "operator", export)
            return []

        self._spawn(work, None, [])

    # What happens around the relay.

    def post(self) -> None:
        """A platform tells changes, or tells some once more; now and then they arrive twice."""
        name, now = f"batch-{self.posted}", self.clock.now()
        if self.batches and self.chance.random() < 0.15:
            before = self.chance.choice(list(self.batches.values()))
            told = [replace(change, received_at=now) for change in before.changes]
        else:
            told = [
                replace(self._change(), position=position, webhook_id=name)
                for position in range(self.chance.randint(1, 4))
            ]
        batch = self.batches[name] = ChangeBatch(name, SOURCE, told)
        self.posted += len(batch.changes)
        for _ in range(1 + (self.chance.random() < 0.1)):
            self.changes.send([Message(changes.to_json(batch))])

    @property
    def ids(self) -> list[str]:
        """Return all ids that anybody is known by."""
        return [one for ids in self.people for one in ids]

    def _change(self) -> Change:
        now = self.clock.now()
        at = now - timedelta(seconds=self.chance.randint(-5, 600))
        segments = self.chance.sample(SEGMENTS, self.chance.randint(1, 2))
        attributes: dict[str, Any] = {}
        if self.chance.random() < 0.8:
            attributes = {"email": self.chance.choice(EMAILS), "name": self.chance.choice("ABC")}
            attributes["backup"] = self.chance.choice(EMAILS)
        if self.chance.random() < 0.2:
            attributes[self.chance.choice(["note", "bio"])] = "x" * self.chance.randint(0, 900)
        person = self.chance.choice(self.people)
        known_by = self.chance.sample(person, min(self.chance.choice([1, 1, 1, 1, 2, 3]), len(person)))
        return Change(
            profile_ids=tuple(sorted(known_by)) if self.chance.random() > 0.03 else (),
            received_at=now,
            attributes=attributes,
            memberships=[MembershipChange(s, self.chance.random() < 0.6, at) for s in segments],
            rejection=None,
        )

    def edit_settings(self) -> None:
        """An administrator edits an export: segments, mapping, list, pause."""
        export = self.chance.choice(list(self.settings.exports_now.values()))
        edits: list[Callable[[], Export]] = [
            lambda: replace(export, segments=tuple(self.chance.sample(SEGMENTS, self.chance.randint(1, 2)))),
            lambda: replace(export, mapping=_mapping(self.chance.choice(["email", "backup"]))),
            lambda: replace(export, options=self.chance.choice(["7", "8"])),
            lambda: replace(export, active=not export.active),
        ]
        self.settings.edit(self.chance.choice(edits)())

    def change_the_weather(self) -> None:
        """A destination has trouble, or its key is revoked, or all is well again."""
        destination = self.chance.choice(list(self.destinations.values()))
        destination.trouble = self.chance.choice([0.0, 0.2, 0.6, 1.0])
        destination.key_is_bad = self.chance.random() < 0.15

    # Schedules.

    def run_wild(self, actions: int) -> None:
        """Do things at random, with several invocations under way at once."""
        for _ in range(actions):
            self._surprise()
            self.check_no_defect()
            self.check_ledgers()

    def _surprise(self) -> None:
        roll = self.chance.random()
        if self._workers and roll < 0.5:
            self._go_on(self.chance.choice(self._workers)[0])
        elif roll < 0.57:
            self.post()
        elif roll < 0.60:
            self.tick()
        elif roll < 0.62:
            self.start_run(self.chance.choice(list(self.destinations)))
        elif roll < 0.635:
            self.edit_settings()
        elif roll < 0.65:
            self.change_the_weather()
        elif roll < 0.70:
            self.pass_time(self.chance.choice([0.2, 5, 30, 400, 2500]))
        elif roll < 0.74:
            self.chance.choice(list(self.destinations.values())).land_some()
        elif roll < 0.75:
            self.confirm_runs()
        elif len(self._workers) < 4:
            self.chance.choice([self.route, self.check, *self._consumers()])()

    def _consumers(self) -> list[Callable[[], bool]]:
        return [lambda name=name: self.consume(name) for name in self.destinations]  # type: ignore[misc]

    def pass_time(self, seconds: float) -> None:
        """Time passes; what is bound to have arrived by then arrives, and workers that sat idle for long are killed."""
        self.clock.sleep(seconds)
        if seconds > 100:
            for worker, _, _ in list(self._workers):
                worker.throw(Death)
            self._workers.clear()
        for destination in self.destinations.values():
            if any(job.lands_before <= self.clock.now() for job in destination.under_way):
                destination.land_some()

    def settle_down(self) -> None:
        """End all trouble and let the relay run until nothing moves any more."""
        for worker, _, _ in list(self._workers):
            worker.throw(Death)
        self._workers.clear()
        self.calm = True
        for destination in self.destinations.values():
            destination.trouble, destination.key_is_bad = 0.0, False
        for export in list(self.settings.exports_now.values()):
            if not export.active:
                self.settings.edit(replace(export, active=True))
        self._drain(timedelta(hours=4))

    def _drain(self, at_least: timedelta) -> None:
        end, ticked = self.clock.now() + at_least, self.clock.now()
        while True:
            moved = self.route() or self.check() or sum(consume() for consume in self._consumers()) > 0
            if self.clock.now() - ticked >= timedelta(minutes=1):
                self.tick()
                self.confirm_runs()
                ticked = self.clock.now()
            self.check_no_defect()
            if moved:
                continue
            for destination in self.destinations.values():
                destination.land_some()
            if self.clock.now() >= end and self._is_idle():
                return
            promise(self.clock.now() < end + timedelta(days=3), "the relay never comes to rest")
            self._skip(end)

    def _skip(self, end: datetime) -> None:
        """Go to the next moment at which something happens: a message, or a tick while there is a reason for one."""
        queues = (self.changes, self.checks, *self.queues.values())
        moments = [moment for queue in queues if (moment := queue.next_time()) is not None]
        moments.append(self.clock.now() + timedelta(minutes=1 if not self._is_idle() else 16))
        self.clock.time = max(min(moments), self.clock.now() + timedelta(seconds=1))

    def _is_idle(self) -> bool:
        queued = any(q.parcels for q in (self.changes, self.checks, *self.queues.values()))
        active = any(runs.active(self.database, key) for key in self.settings.exports_now)
        owed = any(int(item.get("owed", 0)) for item in self.database.items(Table.CONTROL) if "owed" in item)
        under_way = any(destination.under_way for destination in self.destinations.values())
        return not (queued or active or owed or under_way or self._workers)

    def full_runs(self) -> None:
        for name in self.destinations:
            self.start_run(name)
        self._drain(timedelta(minutes=5))

    # What must be true.

    def check_ledgers(self) -> None:
        """Both ledgers add up, at this very moment."""
        self.check_where_changes_are()
        for run in self._all_runs():
            counts = total(runs.shards(self.database, run))
            promise(ledger_adds_up(counts), f"run {run}: {dict(counts)}")

    def _all_runs(self) -> Iterator[str]:
        for item in self.database.items(Table.CONTROL):
            if str(item["pk"]).startswith("run#") and item["sk"] == "header":
                yield str(item["pk"]).removeprefix("run#")

    def check_where_changes_are(self) -> None:
        """Every change posted is counted once, or it lies in a queue: in the message it came in, or in its own."""
        parcels = (*self.changes.parcels, *self.changes.dead)
        for parcel in parcels:
            if parcel.id not in self._batch_of:
                self._batch_of[parcel.id] = str(json.loads(parcel.body)["id"])
        queued = {self._batch_of[parcel.id] for parcel in parcels}
        counted = 0
        for name, batch in self.batches.items():
            places = self._set_apart(name)
            if places is None:
                promise(name in queued, f"{name} is nowhere")
                continue
            counted += len(batch.changes) - len(places)
            for one in (f"{name}.{place}" for place in places):
                is_counted = self._set_apart(one) is not None
                promise(is_counted or one in queued or name in queued, f"{one} is nowhere")
                counted += is_counted
        reader = SteplessDatabase(self.database)
        told = ledger.totals(reader, SOURCE).changes  # type: ignore[arg-type]
        promise(told == counted, f"{counted} changes were counted, the ledger says {told}")

    def _set_apart(self, batch: str) -> list[str] | None:
        """Return which changes of a counted batch go on by themselves; None when it is not counted."""
        key = Key(Table.CONTROL, f"ledger#{batch}", "batch")
        if key not in self.database:
            return None
        return str(self.database[key]["apart"]).split(",") if "apart" in self.database[key] else []

    def check_aliases(self, name: str) -> None:
        """Every alias leads to a profile, and has handed over whatever it was told."""
        found = profiles.follow(self.database, self.ids)
        for one, stored in found.items():
            if isinstance(stored, Alias):
                promise(isinstance(found[profiles.root_of(one, found)], Profile), "an alias of nobody")
                told = deliveries.load(self.database, f"{name}/main", [one])[one].told
                promise(not told, f"an alias is still told {told} of {name}")

    def check_change_ledger(self) -> None:
        """Every change posted is merged, stale, ignored or rejected, once."""
        counted = ledger.totals(self.database, SOURCE)
        columns = (counted.merged, counted.stale, counted.ignored, counted.rejected)
        promise(sum(columns) == self.posted, f"{self.posted} posted, counted {counted}")

    def check_no_defect(self) -> None:
        """Nothing tripped, the parts a test puts in included: that is raised as it was met."""
        for defect in self.observe.defects:
            raise defect

    def check_nothing_dead(self) -> None:
        for queue in (self.changes, self.checks, *self.queues.values()):
            promise(not queue.dead, f"{len(queue.dead)} messages of {queue.name} died")

    def check_converged(self, name: str) -> None:
        """The destination holds exactly what the store wishes, save what it refuses, with the winner's values."""
        destination, wished = self.destinations[name], self._wished(name)
        if self._waits_for_a_segment(name):
            return
        promise(destination.held == wished, f"{name} holds {destination.held}, wished {wished}")
        promise(not destination.complaints, ", ".join(destination.complaints))

    def check_nobody_is_missing(self, name: str) -> None:
        """The destination holds at least everybody whom the store wishes to be there."""
        if self._waits_for_a_segment(name):
            return
        missing = self._wished(name).keys() - self.destinations[name].held.keys()
        promise(not missing, f"{name} misses {missing}")

    def _waits_for_a_segment(self, name: str) -> bool:
        """Whether an export that acts in its runs had none, because one of its segments was never posted."""
        export = self.settings.exports_now[f"{name}/main"]
        newest = runs.newest(self.database, export.key)
        return not export.stream and newest is not None and newest.state is RunState.REFUSED

    def _wished(self, name: str) -> dict[tuple[str, str], dict[str, str]]:
        destination, export = self.destinations[name], self.settings.exports_now[f"{name}/main"]
        wished: dict[tuple[str, str], dict[str, str]] = {}
        for profile in sorted(self.ids, reverse=True):
            stored = profiles.load(self.database, [profile])[0]
            wish = wishes.wish_of(export, destination, stored, self.keyed)
            for want in wish.wanted.values():
                if want.identity not in destination.refuses:
                    wished[want.target, want.identity] = dict(want.values)
        return wished

    def has_unconfirmed(self) -> bool:
        """Whether the next runs send something again that nobody knows to be done."""
        return any(
            refusal.rejection.code == UNCONFIRMED
            for key in self.settings.exports_now
            for delivery in deliveries.load(self.database, key, sorted(self.ids)).values()
            for refusal in delivery.refusals.values()
        )

    def check_reasons(self, name: str) -> None:
        """Every member that is not delivered has a rejection with a reason."""
        destination, export = self.destinations[name], self.settings.exports_now[f"{name}/main"]
        for profile in self.ids:
            stored = profiles.load(self.database, [profile])[0]
            wish = wishes.wish_of(export, destination, stored, self.keyed)
            delivery = deliveries.load(self.database, export.key, [profile])[profile]
            refused = any(want.identity in destination.refuses for want in wish.wanted.values())
            if isinstance(wish.rejection, Rejection) or refused:
                claimed_by_other = refused and not delivery.refusals and delivery.told
                promise(delivery.refusals or claimed_by_other, f"{name}: no reason for a member that is not there")

    def check_finished_runs(self) -> None:
        """A finished run has nothing outstanding."""
        states: Counter[str] = Counter()
        for run_id in self._all_runs():
            run = runs.load(self.database, run_id)
            assert run is not None
            states[run.state.value] += 1
            counts = total(runs.shards(self.database, run_id))
            if run.state.value in ("finished", "many-rejected"):
                promise(counts["outstanding"] == 0, f"run {run_id} finished with {dict(counts)}")
                promise(counts["leaving"] == 0, f"run {run_id} finished with {dict(counts)}")
        promise(states["running"] == 0, f"runs never end: {states}")


def _mapping(attribute: str) -> dict[str, str]:
    return {"email": f"attributes.{attribute}", "name": "attributes.name"}


def play(seed: int, actions: int = 250, *, make: Callable[[int], World] = World) -> World:
    """Play one schedule to its end and check everything; BrokenPromise when one is, a defect as it was met."""
    world = make(seed)
    world.tick()
    world.run_wild(actions)
    world.settle_down()
    world.check_ledgers()
    world.check_change_ledger()
    world.check_nothing_dead()
    for name, destination in world.destinations.items():
        if destination.streams:
            world.check_converged(name)
            world.check_aliases(name)
    world.full_runs()
    for name in world.destinations:
        world.check_converged(name)
        world.check_aliases(name)
        world.check_reasons(name)
    world.check_finished_runs()
    if world.has_unconfirmed():
        world.full_runs()
    writes = sum(destination.writes for destination in world.destinations.values())
    world.full_runs()
    promise(sum(destination.writes for destination in world.destinations.values()) == writes, "a needless write call")
    world.check_ledgers()
    world.check_finished_runs()
    return world
