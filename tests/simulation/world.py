"""A whole relay in one process: all real but AWS, HTTP and time, and every step a place to die or to be overtaken.

Workers (one Lambda invocation each) run as greenlets. Around each access to a table, a queue or a destination, and
before each single write, the world may let another worker go on, or kill this one; its messages then come back as SQS
would bring them. Now and then another worker runs on between a worker's read and its write until both have written the
same item. Everything is drawn from one seed.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from greenlet import getcurrent, greenlet

from relay.domain import changes
from relay.domain import runs as domain_runs
from relay.domain.changes import Change, ChangeBatch, Forget, MembershipChange
from relay.domain.closed_sets import SetPage
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Busy, Problem
from relay.domain.profiles import Alias
from relay.domain.runs import RunState
from relay.queues import Message, Received
from relay.stores import breakers, identities, outstanding, runs
from relay.stores.database import Key, Table, Write
from relay.workers.consumer import ENOUGH_TIME
from tests.fakes.memory_database import Trouble
from tests.fakes.simulated_queue import SimQueue
from tests.simulation.buggify import buggified
from tests.simulation.database import SimDatabase, what
from tests.simulation.destinations import Kind, SimDestination, targets_of
from tests.simulation.meetings import rivals
from tests.simulation.process import Process
from tests.simulation.promises import promise
from tests.simulation.settings import Console, Options, options_of
from tests.simulation.watch import Watch, digest_text

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
SOURCE = "shop"
SEGMENTS = ("shop/vip", "shop/lapsed")
EMAILS = ("ann@x.example", "bob@x.example", "cy@x.example", "di@x.example", "moody@x.example", "refused@x.example")
ODD = ("nonsense", None)

BUCKETS = 6

MEETING = 150
"""Steps that another worker may take, while one waits, until both have written the same item."""

NEVER_RACED = frozenset({"activation", "defects", "directory", "exports", "import", "receipts", "runs", "waits"})
"""Records that are written whatever was written before, so that nobody can come too late."""

TIMEOUT = timedelta(seconds=100)
"""How long an invocation may take."""


class Death(BaseException):
    """The process is gone: nothing may catch this."""


class Silence:
    """Observability that says nothing, but remembers defects."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.defects: list[BaseException] = []
        self.tell = tell

    def problem(self, event: str, error: BaseException, **fields: Any) -> None:
        if self.tell is not None:
            self.tell(f"{event}: {type(error).__name__} {error} {fields}")
        if not isinstance(error, Problem):
            self.defects.append(error)

    def info(self, event: str, **fields: Any) -> None:
        if self.tell is not None:
            self.tell(f"{event} {fields}")

    def count(self, metric: Any, value: int = 1, **_: Any) -> None: ...


class Worker(greenlet):
    """One invocation."""

    name: str
    process: Process
    queue: SimQueue | None
    batch: list[Received]
    born: datetime
    wakes_at: datetime | None = None
    """While it sleeps."""
    is_on_its_way = False
    """A call has left, or waits for its turn: the process stands still for nothing else."""


class FewBuckets(KeyedHash):
    """Keyed hashes whose ids lie in `BUCKETS` buckets: pages then read a few full listings, not many empty ones."""

    def __call__(self, *parts: str) -> str:
        digest = super().__call__(*parts)
        return f"{int(digest[:2], 16) % BUCKETS:02x}{digest[2:]}"


class World:
    """One schedule. `is_calm` switches all trouble off; the relay must then get everything right by itself."""

    process: type[Process] = Process
    segments: tuple[str, ...] = SEGMENTS
    replaced: frozenset[str] = frozenset()
    """Segments whose members are replaced by whole sets."""
    database_kind: type[SimDatabase] = SimDatabase
    is_flawed = False
    """Whether our own code has defects, which may hold up single profiles."""
    is_crowded = False
    """Whether more profiles want an identity than its record names."""

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.chance = chance = random.Random(seed)
        random.seed(seed)
        self.time = START
        self.tell = tell
        self.keyed = FewBuckets("simulation")
        self.database = self.database_kind(before=self.step, after=self.step, trouble=self.trouble, order=self.order)
        self.observed: Any = Silence(None if tell is None else self.say)
        self.watch = Watch(self)
        self.database.watch = self.watch
        self.death_rate = chance.choice([0.0, 0.002, 0.01])
        self.switch_rate = chance.choice([0.05, 0.4])
        self.meeting_rate = chance.choice([0.0, 0.2, 0.5, 0.9])
        self.throttle_rate = chance.choice([0.0, 0.0, 0.01, 0.05])
        self.rare_rate = chance.choice([0.0, 0.03, 0.1])
        self.rare = 0
        self.skew = chance.choice([0.0, 2.0])
        self.visibility = chance.choice([timedelta(minutes=2), timedelta(minutes=12)])
        self.is_calm = False
        self.posted: list[ChangeBatch] = []
        self.deaths = 0
        self.has_run = False
        """Whether every export has had a run at the end: some let a forgotten person go in a run only."""
        self.confirmed = 0
        self.was_deleted: set[str] = set()
        """Exports that were deleted at any time, by key."""
        self.invocations = 0
        self.happened: Counter[str] = Counter()
        """What has happened that must happen in a session, by name."""
        self.member_seconds = 0.0
        self._workers: list[Worker] = []
        self._meeting: Key | None = None
        self._meeting_steps = 0
        self._keys: dict[tuple[str, str, str], str] = {}
        self._digests: dict[str, str] = {}
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self._tokens = itertools.count(1)
        self.console = Console(lambda: self.time)
        self.destinations = {kind.value: self._destination(kind) for kind in Kind}
        self.queues = {name: self._queue(name, fifo=True) for name in self.destinations}
        self.changes = self._queue("changes", fifo=False)
        # The trouble of a schedule lasts as long as it plays; in earnest what fails for so long waits for an operator.
        self.changes.receive_limit = 1000
        self.checks = self._queue("checks", fifo=False)
        self._processes: list[Process] = []
        for name, destination in self.destinations.items():
            self.console.secrets[name] = destination.key
            self._make_exports(name)
        self.people = [
            [self.keyed(SOURCE, f"{number}.{device}") for device in range(chance.choice([1, 1, 2, 3, 5]))]
            for number in range(chance.randint(2, 9))
        ]
        """Each with the ids it is known by. Which of them belong together is told only bit by bit."""

    def _destination(self, kind: Kind) -> SimDestination:
        return SimDestination(
            name=kind.value,
            kind=kind,
            streams=kind is Kind.ANSWERS or self.chance.random() < 0.5,
            now=lambda: self.time,
            step=self.step,
            chance=self.chance,
            arrives=lambda export, step: self._arrives(export, step.target, step.identity),
            deletes=lambda identity: self.watch.check_deletion(kind.value, identity),
            refuses=frozenset({"refused@x.example"}),
            excludes=frozenset({"moody@x.example"}) if self.chance.random() < 0.5 else frozenset(),
            shards=self.chance.choice([1, 2, 3, 4]),
            call_size=self.chance.randint(1, 4),
            at_once=self.chance.choice([1, 1, 3]),
            flaws=self.chance.choice([0.0, 0.3, 0.5]),
        )

    def _queue(self, name: str, *, fifo: bool) -> SimQueue:
        return SimQueue(name, fifo, lambda: self.time, self.step, self.chance, visibility=self.visibility)

    def _make_exports(self, name: str) -> None:
        self.console.edit(self._export(name, "main", self.segments, Options("7")))

    def _export(self, name: str, export: str, segments: tuple[str, ...], options: Options) -> Export:
        streams = self.destinations[name].streams
        return Export(name, export, name, True, streams, segments, mapping_of("email"), options, 0)

    # What everybody may ask.

    def new_id(self) -> str:
        return next(self._ids)

    def record_key(self, connection: str, target: str, identity: str) -> str:
        """Return the key of an identity record."""
        place = connection, target, identity
        if place not in self._keys:
            self._keys[place] = identities.key_of(self.keyed, *place)
        return self._keys[place]

    def digest(self, values: Any) -> str:
        """Return the digest of a member's values."""
        text = digest_text(values)
        if text not in self._digests:
            self._digests[text] = self.keyed("payload", text)
        return self._digests[text]

    def owner(self, connection: str, target: str) -> tuple[str, int] | None:
        """Return the export that owns a target, and since which epoch."""
        item = self.database.peek(Key(Table.CONTROL, f"owners#{connection}", target))
        return None if item is None else (str(item["export"]), int(item["epoch"]))

    def targets(self, connection: str) -> list[str]:
        """Return the targets of a connection that were ever owned."""
        return [str(item["sk"]) for item in self.database.partition(Table.CONTROL, f"owners#{connection}")]

    def say(self, text: str) -> None:
        """Tell what happens, where somebody wants to read it."""
        if self.tell is not None:
            current = getcurrent()
            who = current.name if isinstance(current, Worker) else "-"
            self.tell(f"{self.time:%d %H:%M:%S} {who:14} {text}")

    # Steps, deaths and overtaking.

    def step(self, name: str) -> None:
        """A place where a worker may die, meet trouble or be overtaken; nothing outside workers."""
        worker = getcurrent()
        if self.is_calm or not isinstance(worker, Worker):
            return
        roll = self.chance.random()
        if roll < self.death_rate:
            raise Death(name)
        if roll > 1 - self.throttle_rate / 4 and not name.startswith("after"):
            raise Busy("throttled", "kept refusing")
        if self._meeting is not None:
            self._meeting_steps -= 1
            if self._meeting_steps <= 0 and not worker.is_on_its_way:
                self._leave(worker)
        elif self.chance.random() < self.switch_rate and not worker.is_on_its_way:
            self._leave(worker)

    def trouble(self, write: Write) -> Trouble | None:
        """Let others write first, now and then; and let single writes fail, or lose their answers."""
        worker = getcurrent()
        if self.is_calm or not isinstance(worker, Worker):
            return None
        is_rare = write.key.table is Table.ASSIGNMENTS or write.key.sk.startswith("out#")
        rate = min(1.0, self.meeting_rate * (4 if is_rare else 1))
        if self._meeting is None and what(write.key) not in NEVER_RACED and self.chance.random() < rate:
            self._meeting, self._meeting_steps = write.key, MEETING
            self._leave(worker)
        elif self._meeting == write.key:
            self._meeting_steps = 1
        if self.chance.random() < self.throttle_rate:
            trouble = self.chance.choice((Trouble.THROTTLED, Trouble.LOST))
            self.happened[f"single writes {trouble.value}"] += 1
            return trouble
        return None

    def order(self, writes: int) -> Sequence[int]:
        """Draw the order in which the writes of one call are applied."""
        return range(writes) if self.is_calm else self.chance.sample(range(writes), writes)

    def _leave(self, worker: Worker) -> None:
        parent = worker.parent
        assert parent is not None
        parent.switch()
        self._end_if_late(worker)

    def _end_if_late(self, worker: Worker) -> None:
        """End a worker whose time is up: AWS stops an invocation there, long before its messages come back."""
        if self.time - worker.born > TIMEOUT:
            raise Death("time-out")

    def sleep(self, seconds: float) -> None:
        """Let a worker sleep; the others go on meanwhile."""
        worker = getcurrent()
        is_on_its_way = any(other.is_on_its_way for other in self._workers if other is not worker)
        waits_for_us = self._meeting is not None and not is_on_its_way
        if self.is_calm or waits_for_us or not isinstance(worker, Worker):
            # While two are to meet, time passes for the one that waits, too.
            self._move_clock(seconds)
            if not self.is_calm and isinstance(worker, Worker):
                self._end_if_late(worker)
        elif seconds > 0:
            worker.wakes_at = self.time + timedelta(seconds=seconds)
            self._leave(worker)

    def has_time_left(self) -> bool:
        """Return whether the invocation under way has the time left that a call may need."""
        worker = getcurrent()
        assert isinstance(worker, Worker)
        return self.time - worker.born <= TIMEOUT - timedelta(seconds=ENOUGH_TIME)

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """Mark the time between the last look at the clock and the moment at which a call has left."""
        worker: Any = getcurrent()
        worker.is_on_its_way = True
        try:
            yield
        finally:
            worker.is_on_its_way = False

    def _arrives(self, export: Export, target: str, identity: str) -> None:
        """A call arrives by the time that its record says, which may have the latest moment from an earlier call.

        Its own process sees to that by its own clock: the margin for clocks is for those of others.
        """
        record = self.watch.records[self.record_key(export.connection, target, identity)]
        promise(record.open is not None, "a call arrives that is not open")
        assert record.open is not None
        worker = getcurrent()
        assert isinstance(worker, Worker)
        # All open calls of a record have one content and one deadline: that of whichever may leave last.
        bound = self.destinations[export.connection].lost_answer_bound
        last = max(record.open.send_by, record.open.deadline - bound - CLOCK_MARGIN)
        late = worker.process.clock.now() - last
        promise(late <= timedelta(), f"a call arrives {late} after the last moment at which it could leave")

    def invoke(
        self, name: str, work: Callable[[Process], list[str]], queue: SimQueue | None, batch: list[Received]
    ) -> None:
        """Begin an invocation, in a process that served others before or in a new one."""
        self.invocations += 1
        idle = [process for process in self._processes if not process.is_busy]
        if idle and self.chance.random() < 0.8:
            process = self.chance.choice(idle)
        else:
            process = self.process(self)
            self._processes = [*self._processes[-5:], process]
        process.is_busy = True

        def live() -> None:
            try:
                failed = work(process)
            except Death as death:
                self.deaths += 1
                self.say(f"dies {death}")
                self._processes = [other for other in self._processes if other is not process]
                return
            except Problem as problem:
                # The function fails: its messages come back after a while.
                self.say(f"fails: {problem}")
                failed = None
            finally:
                process.is_busy = False
            if queue is not None and failed is not None:
                queue.finish(batch, failed)

        worker = Worker(live)
        worker.name = f"{name}.{self.invocations}"
        worker.process, worker.queue, worker.batch, worker.born = process, queue, batch, self.time
        if self.tell is not None:
            self.say(f"begins {worker.name} {[message.body for message in batch]}")
        if self.is_calm:
            worker.switch()
            return
        self._workers.append(worker)
        self._go_on(worker)

    def _go_on(self, worker: Worker) -> None:
        """Let a worker go on until it is overtaken, or to its end."""
        worker.wakes_at = None
        worker.switch()
        while self._meeting is not None and self._meeting_steps == MEETING and not worker.dead:
            self._meet(worker)
            worker.switch()
        self._forget_dead()

    def _meet(self, waiting: Worker) -> None:
        """Let another worker go on while one waits between its read and its write."""
        others = [one for one in self._workers if one is not waiting and one.wakes_at is None]
        near = [one for one in others if one.queue is waiting.queue] or others
        assert self._meeting is not None
        likely = rivals(self, self._meeting)
        roll = self.chance.random()
        if near and roll < (0.3 if likely else 0.6):
            self.chance.choice(near).switch()
        else:
            self._meeting_steps -= 1
            self.chance.choice(likely if likely and roll < 0.9 else self._invocations_beside(waiting))()
        self._meeting = None

    def _invocations_beside(self, waiting: Worker) -> list[Callable[[], object]]:
        """Return what may write the same items as a worker."""
        if waiting.queue is self.changes:
            return [self.route]
        name = next((name for name, queue in self.queues.items() if queue is waiting.queue), None)
        same: list[Callable[[], object]] = list(self._consumers()) if name is None else [lambda: self.consume(name)] * 3
        return [
            *same,
            *same,
            self.check,
            self.check,
            self.tick,
            self.confirm_runs,
            self.cancel_a_run,
            self._start_a_run,
        ]

    def _forget_dead(self) -> None:
        self._workers = [worker for worker in self._workers if not worker.dead]

    # The relay's functions.

    def route(self, about: str = "") -> bool:
        """Work on a batch of the Changes queue, of messages about a batch of changes or of any."""
        batch = self.changes.receive(wanted=lambda parcel: about in parcel.body) if self.changes.parcels else []
        if batch:
            self.invoke("route", lambda process: process.stack.router().route(batch), self.changes, batch)
        return bool(batch)

    def consume(self, name: str, group: str | None = None) -> bool:
        """Work on a batch of a destination's queue, of one group or of any."""
        queue = self.queues[name]
        batch = queue.receive(wanted=lambda parcel: group in (None, parcel.group)) if queue.parcels else []
        if batch:
            left = self._seconds_left()

            def work(process: Process) -> list[str]:
                return process.stack.consumer(name).consume(batch, left)

            self.invoke(name, work, queue, batch)
        return bool(batch)

    def check(self, about: str = "") -> bool:
        """Work on a batch of the Checks queue, of messages about a call or profile or of any."""
        batch = self.checks.receive(wanted=lambda parcel: about in parcel.body) if self.checks.parcels else []
        if batch:
            left = self._seconds_left()
            self.invoke(
                "checks", lambda process: process.stack.import_checker().consume(batch, left), self.checks, batch
            )
        return bool(batch)

    @property
    def plain_queues(self) -> tuple[SimQueue, ...]:
        """Return the queues beside those of the destinations."""
        return self.changes, self.checks

    def work_beside(self) -> bool:
        """Work on a queue that only some worlds have."""
        return False

    def _seconds_left(self) -> Callable[[], float]:
        end = self.time + TIMEOUT
        return lambda: (end - self.time).total_seconds()

    def tick(self) -> None:
        def work(process: Process) -> list[str]:
            process.stack.ticker().tick()
            return []

        self.invoke("tick", work, None, [])

    def start_run(self, key: str, retry: str | None = None) -> None:
        """A schedule, or an operator, starts a run."""

        def work(process: Process) -> list[str]:
            process.stack.starter.start(process.settings.export(key), "schedule", retry=retry)
            return []

        self.invoke("start", work, None, [])

    def confirm_runs(self) -> None:
        """An operator lets runs go on that wait for a word, and ends those that count under older settings."""

        def work(process: Process) -> list[str]:
            for export in list(process.settings.exports().valid.values()):
                run = runs.active(self.database, export.key)
                if run is None or run.state is not RunState.NEEDS_CONFIRMATION:
                    continue
                if process.stack.starter.confirm(export, run.id, "operator"):
                    self.confirmed += 1
                else:
                    process.stack.starter.cancel(run.id, "operator")
            return []

        self.invoke("operator", work, None, [])

    def forget(self) -> None:
        """An operator forgets a person, by any of the person's ids."""
        how, one = self.chance.choice(list(Forget)), self.chance.choice(self.ids)
        self.happened["people forgotten"] += 1

        def work(process: Process) -> list[str]:
            # What our own code trips over here fails the operator's question; the tick goes on by itself.
            if process.stack.forgetting.begin(one, how) is not None and not self.is_flawed:
                process.stack.forgetting.step(one, process.settings.exports())
            return []

        self.invoke("operator", work, None, [])

    def cancel_a_run(self) -> None:
        """An operator ends a run where it stands."""

        def work(process: Process) -> list[str]:
            for export in list(process.settings.exports().valid.values()):
                run = runs.active(self.database, export.key)
                if run is not None and self.chance.random() < 0.5:
                    process.stack.starter.cancel(run.id, "operator")
            return []

        self.invoke("operator", work, None, [])

    # What happens around the relay.

    def post(self) -> None:
        """A platform tells changes, or tells some once more."""
        now = self.time
        if self.posted and self.chance.random() < 0.15:
            given = [replace(change, received_at=now) for change in self.chance.choice(self.posted).changes]
        else:
            given = [self.change() for _ in range(self.chance.randint(1, 4))]
        self.post_changes(given)

    def post_changes(self, given: Sequence[Change], page: SetPage | None = None) -> str:
        """A platform tells these changes, or that they are a page of a segment; now and then they arrive twice.

        Return the name of their batch.
        """
        name = f"batch-{len(self.posted)}"
        new = [replace(one, position=place, webhook_id=one.webhook_id or name) for place, one in enumerate(given)]
        batch = ChangeBatch(name, SOURCE, new, page)
        self.posted.append(batch)
        for _ in range(1 + (self.chance.random() < 0.1)):
            self.changes.send([Message(changes.to_json(batch))])
        return name

    @property
    def ids(self) -> list[str]:
        """Return all ids that anybody is known by."""
        return [one for ids in self.people for one in ids]

    def change(self) -> Change:
        """Draw a change."""
        now = self.time
        at = now - timedelta(seconds=self.chance.randint(-5, 600))
        segments = self.chance.sample(self.segments, self.chance.randint(1, 2))
        attributes: dict[str, Any] = {}
        if self.chance.random() < 0.8:
            attributes = {"email": self._address(), "name": self.chance.choice("ABC"), "backup": self._address()}
        if self.chance.random() < 0.2:
            attributes[self.chance.choice(["note", "bio"])] = "x" * self.chance.randint(0, 900)
        person = self.chance.choice(self.people)
        known_by = self.chance.sample(person, min(self.chance.choice([1, 1, 1, 1, 2, 3]), len(person)))
        if self.chance.random() < 0.03:
            self.happened["changes that forget"] += 1
            return Change(tuple(sorted(known_by)), now, forget=self.chance.choice(list(Forget)))
        return Change(
            profile_ids=tuple(sorted(known_by)) if self.chance.random() > 0.03 else (),
            received_at=now,
            attributes=attributes,
            memberships=[MembershipChange(s, self.chance.random() < 0.6, at) for s in segments],
            rejection=None,
        )

    def _address(self) -> Any:
        roll = self.chance.random()
        if roll < 0.1:
            return self.chance.choice(ODD)
        return self.chance.sample(EMAILS, 2) if roll < 0.25 else self.chance.choice(EMAILS)

    def edit_settings(self) -> None:
        """An administrator edits an export: segments, mapping, list, pause, whether it keeps leavers."""
        if not self.console.exports:
            return
        self.edit_export(self.chance.choice(sorted(self.console.exports)))

    def edit_export(self, key: str) -> None:
        """An administrator edits one thing of an export."""
        export = self.console.exports[key]
        options = options_of(export)
        edits: list[Callable[[], Export]] = [
            lambda: replace(export, segments=tuple(self.chance.sample(self.segments, self.chance.randint(1, 2)))),
            lambda: replace(export, mapping=mapping_of(self.chance.choice(["email", "backup"]))),
            lambda: replace(export, options=replace(options, list=self.chance.choice("78"))),
            lambda: replace(export, options=replace(options, keep=not options.keep)),
            lambda: replace(export, active=not export.active),
        ]
        self._edit(self.chance.choice(edits)())

    def _edit(self, export: Export) -> None:
        self.console.edit(export)
        self.say(f"edits {export}")

    def change_the_weather(self) -> None:
        """A destination has trouble, or its key is revoked, or a list goes, or all is well again."""
        destination = self.chance.choice(list(self.destinations.values()))
        destination.trouble = self.chance.choice([0.0, 0.2, 0.6, 1.0])
        destination.flaws = self.chance.choice([0.0, 0.2, 0.5])
        destination.key = self.chance.choice([self.console.secrets[destination.name]] * 4 + ["another"])
        targets = sorted(t for e in self.console.exports.values() for t in targets_of(destination.kind, e))
        destination.gone = {self.chance.choice(targets)} if targets and self.chance.random() < 0.15 else set()

    # Schedules.

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Surround the whole schedule."""
        tokens = SimpleNamespace(token_hex=lambda _: f"token-{next(self._tokens)}")
        with (
            patch.object(domain_runs, "BUCKETS", BUCKETS),
            patch.object(breakers, "secrets", tokens),
            buggified(self.chance, self.happens),
        ):
            yield

    def happens(self, point: str) -> None:
        """Let something rare happen in our own code: it dies, stalls, or is overtaken."""
        worker = getcurrent()
        if self.is_calm or not isinstance(worker, Worker):
            return
        roll = self.chance.random()
        if roll >= self.rare_rate:
            return
        self.rare += 1
        what = self.chance.choice(("dies", "stalls", "stalls", "is overtaken", "is overtaken"))
        self.say(f"{what} {point}")
        if what == "dies" and self.death_rate:
            raise Death(point)
        if what == "stalls":
            self.sleep(self.chance.choice((1, 10, 40)))
        elif self._meeting is None and not worker.is_on_its_way:
            self._leave(worker)

    def run_wild(self, actions: int) -> None:
        """Do things at random, with several invocations under way at once."""
        for _ in range(actions):
            self._surprise()
            self.check_no_defect()

    def _surprise(self) -> None:
        awake = [worker for worker in self._workers if worker.wakes_at is None]
        if awake and self.chance.random() < 0.5:
            self._go_on(self.chance.choice(awake))
            return
        roll = self.chance.random()
        if roll < 0.12:
            self.post()
        elif roll < 0.18:
            self.tick()
        elif roll < 0.23:
            self._start_a_run()
        elif roll < 0.25:
            self.edit_settings()
        elif roll < 0.27:
            self.change_the_weather()
        elif roll < 0.35:
            self.pass_time(self.chance.choice([0.2, 5, 30, 400, 2500]))
        elif roll < 0.43:
            self.chance.choice(list(self.destinations.values())).land_some()
        elif roll < 0.435:
            self.forget()
        elif roll < 0.45:
            self.chance.choice([self.confirm_runs, self.confirm_runs, self.cancel_a_run])()
        else:
            self._work()

    def _work(self) -> None:
        """Begin an invocation for which there is something to do; with none, time passes until there is."""
        waiting = self._waiting()
        if waiting and len(self._workers) < 4:
            self.chance.choice(waiting)()
        elif not waiting:
            moments = [worker.wakes_at for worker in self._workers if worker.wakes_at is not None]
            moments += self._next_moments()
            if moments:
                self.pass_time(max(0.2, (min(moments) - self.time).total_seconds()))

    def _waiting(self) -> list[Callable[[], object]]:
        found: list[Callable[[], object]] = [
            lambda name=name: self.consume(name)  # type: ignore[misc]
            for name, queue in self.queues.items()
            if queue.has_ready()
        ]
        found += [self.route] * self.changes.has_ready() + [self.check] * self.checks.has_ready()
        return found

    def _start_a_run(self) -> None:
        keys = sorted(self.console.exports)
        if keys:
            self.start_run(self.chance.choice(keys), self.chance.choice([None, None, "all"]))

    def _consumers(self) -> list[Callable[[], bool]]:
        return [lambda name=name: self.consume(name) for name in self.destinations]  # type: ignore[misc]

    def pass_time(self, seconds: float) -> None:
        """Time passes: who sleeps wakes up, what is bound to arrive arrives, who takes too long is killed."""
        end = self.time + timedelta(seconds=seconds)
        while True:
            sleeping = [worker for worker in self._workers if worker.wakes_at is not None and worker.wakes_at <= end]
            if not sleeping:
                break
            worker = min(sleeping, key=lambda one: one.wakes_at or end)
            self._move_clock(max(0.0, ((worker.wakes_at or end) - self.time).total_seconds()))
            self._go_on(worker)
        self._move_clock((end - self.time).total_seconds())
        for worker in list(self._workers):
            if self.time - worker.born > TIMEOUT:
                worker.throw(Death("time-out"))
        self._forget_dead()

    def _move_clock(self, seconds: float) -> None:
        self.member_seconds += seconds * sum(len(destination.held) for destination in self.destinations.values())
        self.time += timedelta(seconds=seconds)
        for destination in self.destinations.values():
            landing = destination.next_landing()
            if landing is not None and landing <= self.time:
                destination.land_some()
        if seconds > 40_000:
            self.database.expire(self.time.timestamp())

    # Coming to rest.

    def settle_down(self) -> None:
        """End all trouble and let the relay run until nothing moves any more."""
        for worker in list(self._workers):
            worker.throw(Death("the end of trouble"))
        self._forget_dead()
        self.is_calm = True
        self._meeting = None
        for destination in self.destinations.values():
            destination.is_calm = True
            destination.trouble = destination.flaws = 0.0
            destination.key = self.console.secrets[destination.name]
            destination.gone, destination.excludes = set(), frozenset()
        self._mend_settings()
        self.come_to_rest()

    def _mend_settings(self) -> None:
        for export in list(self.console.exports.values()):
            if not export.active:
                self._edit(replace(export, active=True))

    def come_to_rest(self) -> None:
        """Let the relay work until nothing is left to do, which must not take long."""
        begun, steps, ticked = self.time, len(self.database.steps), None
        while True:
            if (
                self.route()
                or self.check()
                or self.work_beside()
                or sum(consume() for consume in self._consumers()) > 0
            ):
                self.check_no_defect()
                promise(len(self.database.steps) - steps < 60_000, f"the relay works without end: {self.unrest()}")
                continue
            if ticked is None or self.time - ticked >= timedelta(minutes=1):
                self.tick()
                self.confirm_runs()
                ticked = self.time
                self.check_no_defect()
                continue
            if self.is_at_rest():
                return
            promise(self.time - begun < timedelta(hours=20), f"the relay never comes to rest: {self.unrest()}")
            self._skip(ticked)

    def _skip(self, ticked: datetime) -> None:
        """Go to the next moment at which something happens: a message, a landing, a tick with something to do."""
        moments = [*self._next_moments(), max(ticked + timedelta(minutes=1), self._next_tick())]
        self._move_clock(max(1.0, (min(moments) - self.time).total_seconds()))

    def _next_moments(self) -> list[datetime]:
        """Return when messages become visible next, and when what was called for has landed at the latest."""
        queues = (*self.plain_queues, *self.queues.values())
        moments = [moment for queue in queues if (moment := queue.next_time()) is not None]
        return moments + [moment for one in self.destinations.values() if (moment := one.next_landing()) is not None]

    def _next_tick(self) -> datetime:
        """Return when the next tick may find something to do."""
        soon = self.time + timedelta(minutes=1)
        moments = [self.time + timedelta(minutes=16)]
        for key, _ in self.database.control("waits"):
            moments.append(datetime.fromisoformat(key.sk.partition("#")[0]) + timedelta(seconds=5))
        for key, item in self.database.control("breakers"):
            if item.get("code"):
                moments.append(datetime.fromisoformat(str(item["probe_at"])) + timedelta(seconds=5))
            elif item.get("resync") and not self._is_running(key.pk.partition("#")[2], key.sk.partition("#")[2]):
                moments.append(soon)
        if any(not self._is_running(*key.split("/")) for key in self._unactivated()):
            moments.append(soon)
        return min(moments)

    def _is_running(self, connection: str, export: str) -> bool:
        last = self.database.peek(Key(Table.CONTROL, f"export#{connection}/{export}", "run"))
        header = None if last is None else self.database.peek(Key(Table.CONTROL, f"run#{last['run']!s}", "header"))
        return header is not None and header["state"] == "running"

    def is_at_rest(self) -> bool:
        """Return whether nothing is left to do."""
        queues = (*self.plain_queues, *self.queues.values())
        return not any(queue.parcels for queue in queues) and not self.unrest()

    def unrest(self) -> list[str]:
        """Return what is still to be done."""
        found = [queue.name for queue in (*self.plain_queues, *self.queues.values()) if queue.parcels]
        found += [f"rows of {one.name}" for one in self.destinations.values() if one.rows]
        found += [
            f"{key.pk} {key.sk}"
            for key, _ in self.database.control("waits", "imports")
            if self.has_run or "#forget#" not in key.sk
        ]
        for key, item in self.database.control("breakers"):
            export = f"{key.pk.partition('#')[2]}/{key.sk.partition('#')[2]}"
            if item.get("code") or (item.get("resync") and not self._was_refused(export)):
                found.append(f"{key.pk} {key.sk} {item}")
        found += [f"{export} as it was edited" for export in self._unactivated()]
        for key, item in self.database.control("run"):
            if key.sk == "header" and item["state"] in ("running", "needs-confirmation"):
                found.append(f"{key.pk} {item['state']}")
            elif key.sk.startswith("out#") and self._has_finished(key.pk):
                found.append(str(outstanding._record(key.pk, item)))
        return found

    def _unactivated(self) -> list[str]:
        """Return the exports that stream whose settings have not had their run."""
        return [
            key
            for key, export in sorted(self.console.exports.items())
            if export.stream and self._activated(key) != export.version and not self._was_refused(key)
        ]

    def _activated(self, export: str) -> int | None:
        item = self.database.peek(Key(Table.CONTROL, f"activation#{export}", "latest"))
        return None if item is None else int(item["activated"])

    def _was_refused(self, export: str) -> bool:
        """Return whether the last run of an export was refused: one of its segments was never posted."""
        listed = self.database.partition(Table.CONTROL, f"runs#{export}")
        header = self.database.peek(Key(Table.CONTROL, f"run#{listed[-1]['sk']!s}", "header")) if listed else None
        return header is not None and header["state"] == "refused"

    def _has_finished(self, run: str) -> bool:
        """Return whether a run has gone through; one that was ended before waits for nobody."""
        header = self.database.peek(Key(Table.CONTROL, run, "header"))
        return header is not None and header["state"] in ("finished", "many-rejected")

    def edit_at_rest(self) -> None:
        """An administrator edits an export when all is well."""
        self.edit_export(self.chance.choice(sorted(self.console.exports)))
        self._mend_settings()
        self.come_to_rest()

    def full_runs(self) -> None:
        """A run of every export."""
        for key in sorted(self.console.exports):
            self.start_run(key)
        self.come_to_rest()

    def told_by_sets(self) -> list[tuple[set[str], str, datetime, datetime]]:
        """Return whom whole sets name: ids, segment, time and receipt."""
        return []

    # What is true in the end is checked in `tests.simulation.ending`.

    def check_no_defect(self) -> None:
        """Nothing tripped: what did is raised as it was met."""
        for defect in self.observed.defects:
            raise defect

    def check_where_changes_are(self) -> None:
        """Every change that was posted was counted, or it lies in a queue."""
        queued = [json.loads(parcel.body)["id"] for parcel in (*self.changes.parcels, *self.changes.dead)]
        totals = self.database.peek(Key(Table.CONTROL, f"receipts#{SOURCE}", "totals")) or {}
        counted = sum(int(totals.get(name, 0)) for name in ("merged", "stale", "ignored", "rejected"))
        missing = sum(len(batch.changes) for batch in self.posted if batch.id not in queued)
        promise(counted >= missing, f"{missing} changes are in no queue, {counted} are counted")

    def seen(self) -> Counter[str]:
        """Return what this schedule has seen, for the report of a session."""
        shared = max(
            Counter(place for by in self.watch.assigned.values() for held in by.values() for place in held).values(),
            default=0,
        )
        return self.happened + Counter(
            {
                "deaths": self.deaths,
                "invocations": self.invocations,
                "identities taken out": self.watch.removals,
                "rare events in our own code": self.rare,
                "aliases": sum(isinstance(held, Alias) for held in self.watch.profiles.values()),
                "runs confirmed": self.confirmed,
                "batches of writes of which some failed": self.database.partly_failed,
                "identities shared by a hundred": int(shared >= 100),
            }
        )


def mapping_of(attribute: str) -> dict[str, str]:
    """Return the mapping that takes the identity from an attribute."""
    return {"email": f"attributes.{attribute}", "name": "attributes.name"}
