"""A bench for the relay: the real parts over the database in memory, two scripted destinations, and still queues.

Nothing happens by itself: a test stores profiles, hands messages over, and looks at what was written, sent and called.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from relay.deployed import Deployed
from relay.destinations.contract import Account, Caller
from relay.domain import ledger, merging
from relay.domain.assignment import Assignment, Pair
from relay.domain.exports import Connection, Export
from relay.domain.identity import Record
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem
from relay.domain.profiles import Alias, Membership, Profile, Register
from relay.domain.runs import Run
from relay.messages import CheckImport, Confirm, Look, Page, from_json
from relay.observability import Observability
from relay.queues import Message, Received
from relay.reconcile import verdict
from relay.reconcile.job import Job
from relay.reconcile.pool import Pool
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.verdict import Verdict
from relay.runs.pages import Pages
from relay.schedules import Schedule, Timetable
from relay.settings.inventory import Inventory
from relay.stores import assignments, breakers, identities, imports, profiles, runs, segments
from relay.stores.breakers import Breaker
from relay.wiring import Stack
from relay.wiring_operators import Operators
from relay.workers.operators.operator import Operator
from relay.workers.operators.protocol import Level
from relay.workers.tick import STALLED_AFTER
from tests.fakes.bench_destination import BenchDestination
from tests.fakes.bench_settings import BenchSettings
from tests.fakes.clock import FakeClock
from tests.fakes.deployed import FakeAws
from tests.fakes.memory_database import MemoryDatabase

VIP, LAPSED = "shop/vip", "shop/lapsed"
CONNECTION, OTHER_CONNECTION = "letters", "others"
TOOL, OTHER = "tool", "other"
KEYED = KeyedHash("bench")
MINUTE = timedelta(minutes=1)


MakesPools = Callable[[int], AbstractContextManager[Pool]]


class Crash(BaseException):
    """The process is gone: nothing may catch this."""


def person(number: int) -> str:
    """Return a profile id; a smaller number is a smaller id. Even numbers are in shard 0 of 2, odd ones in shard 1."""
    return f"{number % 256:02x}{number:010x}{0:020x}"


def number_of(profile: str) -> int:
    """Return the number of a profile."""
    return int(profile[2:12], 16)


class BenchQueue:
    """A queue that keeps what is sent, and how long received messages are hidden."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self.messages: list[Message] = []
        self.failures: list[Problem] = []
        """What the next sends end with."""
        self.hidden: list[tuple[str, float]] = []
        self._step = step

    def send(self, messages: Sequence[Message]) -> None:
        self._step("before send")
        if self.failures:
            raise self.failures.pop(0)
        self.messages.extend(messages)
        self._step("after send")

    def retry_later(self, receipt_handle: str, seconds: float) -> None:
        self.hidden.append((receipt_handle, seconds))

    def take(self) -> list[Message]:
        """Return what was sent since the last time."""
        taken, self.messages = self.messages, []
        return taken

    @property
    def tasks(self) -> list[Look | Page | CheckImport | Confirm]:
        """Return what the messages say."""
        return [from_json(message.body) for message in self.messages]


class Bench:
    """One relay with two destinations.

    Most tests are about `tool` and its export `letters/main` of VIP members; it answers at once, or, with `imports`, it
    imports. The export `others/main` of lapsed members goes to `other`, which does the opposite; it does not stream.
    """

    def __init__(
        self,
        *,
        imports: bool = False,
        streams: bool = True,
        call_size: int = 3,
        segments: Sequence[str] = (VIP,),
        scan: int | None = None,
        pool: MakesPools | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = FakeClock() if clock is None else clock
        self.steps = 0
        self.crash_at: int | None = None
        self.database = MemoryDatabase(after=self.step)
        self.tool = self._destination(TOOL, imports=imports, streams=streams, call_size=call_size)
        self.other = self._destination(OTHER, imports=not imports, streams=False, call_size=call_size)
        self.queue, self.other_queue = BenchQueue(self.step), BenchQueue(self.step)
        self.checks, self.changes = BenchQueue(self.step), BenchQueue(self.step)
        self.settings = BenchSettings({CONNECTION: TOOL, OTHER_CONNECTION: OTHER})
        self.inventory = Inventory()
        self.aws = FakeAws(self.clock.now())
        """What AWS shows of the stack."""
        self.own_schedules: frozenset[str] = frozenset()
        """Exports with a schedule of their own; the default one starts the others."""
        self.scheduled_now: Timetable | None = None
        """What schedules there are instead."""
        self.log = io.StringIO()
        self.observe = Observability(self.log)
        self.api_calls = 0
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self._scan = scan
        self._pool = pool
        self.stack = self.new_stack()
        self.edit(segments=tuple(segments))
        self.edit(connection=OTHER_CONNECTION, segments=(LAPSED,))

    def _destination(self, name: str, *, imports: bool, streams: bool, call_size: int) -> BenchDestination:
        return BenchDestination(name, imports, streams, self.clock.now, self.step, call_size=call_size)

    def new_stack(self) -> Stack:
        """Return the stack of a new process."""
        stack = Stack({"RELAY_PREFIX": "bench"})
        stack.clock, stack.observe, stack.database = self.clock, self.observe, self.database
        stack.settings = self.settings.as_settings()
        stack.outlines = self.settings
        stack.keyed = KEYED
        stack.destinations = {TOOL: self.tool, OTHER: self.other}.__getitem__
        stack.queue_of = {TOOL: self.queue, OTHER: self.other_queue}.__getitem__
        stack.checks, stack.changes = self.checks, self.changes
        stack.caller = self._caller
        stack.new_id = lambda size: next(self._ids)
        stack.schedules = stack.recent_schedules = self.timetable
        stack.inventories = lambda: self.inventory
        if self._pool is not None:
            stack.reconciler = Reconciler(
                self.database, KEYED, self.clock, stack.enqueuer, new_id=lambda: next(self._ids), pool=self._pool
            )
        if self._scan is not None:
            parts = stack.reconciler, stack.ending, stack.aside
            stack.pages = Pages(self.database, self.clock, *parts, scan=self._scan)
        return stack

    def restart(self) -> None:
        """Forget what a process keeps in memory."""
        self.stack = self.new_stack()

    def _caller(self, connection: Connection) -> tuple[Caller, Callable[[], int]]:
        before = self.api_calls

        def call(*_: Any, **__: Any) -> Any:
            self.api_calls += 1

        return call, lambda: self.api_calls - before

    def step(self, name: str) -> None:
        """Count a step that changed something, and die after the one that `crash_at` names.

        Who dies while reading, or before a change, leaves what whoever died after the change before leaves.
        """
        if name.startswith(("get", "query", "before")):
            return
        self.steps += 1
        if self.steps == self.crash_at:
            raise Crash(name)

    def die(self) -> None:
        """Die here."""
        raise Crash

    # Settings and data.

    def edit(self, name: str = "main", *, connection: str = CONNECTION, **changes: Any) -> Export:
        """Save an export, as edited now; each edit has a later version."""
        destination = self.tool if connection == CONNECTION else self.other
        mapping = {"email": "attributes.email", "name": "attributes.name"}
        fresh = Export(connection, name, destination.name, True, destination.streams, (VIP,), mapping, "7", 0)
        old = self.settings.saved.get(f"{connection}/{name}", fresh)
        return self.settings.save(replace(old, **{"version": old.version + 1, **changes}))

    @property
    def export(self) -> Export:
        return self.settings.saved[f"{CONNECTION}/main"]

    @property
    def other_export(self) -> Export:
        return self.settings.saved[f"{OTHER_CONNECTION}/main"]

    def store(self, number: int, *, inside: Sequence[str] = (VIP,), outside: Sequence[str] = (), **values: Any) -> str:
        """Write a profile as route would: index, catalogue, profile."""
        return self.store_as(person(number), inside=inside, outside=outside, **values)

    def store_as(
        self, profile_id: str, *, inside: Sequence[str] = (VIP,), outside: Sequence[str] = (), **values: Any
    ) -> str:
        """Write a profile under any id."""
        now = self.clock.now()
        segments.add(self.database, [(segment, profile_id) for segment in inside])
        segments.note(self.database, dict.fromkeys([*inside, *outside]), now)
        old = profiles.load(self.database, [profile_id])[0] or Profile(profile_id, "shop")
        memberships = {segment: Membership(segment in inside, now, now) for segment in (*inside, *outside)}
        attributes = {name: Register(value, now, now) for name, value in values.items()}
        profiles.save(
            self.database,
            [
                replace(
                    old,
                    attributes={**old.attributes, **attributes},
                    memberships={**old.memberships, **memberships},
                )
            ],
            now,
        )
        return profile_id

    def stop(self, export: str | None = None, code: str = "unpaid", reason: str = "refuses to work") -> None:
        """Stop the connection `letters`, or one of its exports."""
        kind = ConnectionProblem if export is None else ExportProblem
        breakers.stop(self.database, self.breaker(export), kind(code, reason), self.clock.now())

    def breaker(self, export: str | None = None) -> Breaker:
        """Return the breaker of the connection `letters`, or of one of its exports."""
        return breakers.load_one(self.database, CONNECTION, export)

    def leave(self, number: int, *segments_left: str) -> str:
        """Let a profile leave segments, VIP unless others are named."""
        return self.store(number, inside=(), outside=segments_left or (VIP,))

    def join(self, number: int, survivor: int) -> None:
        """Let a profile turn out to be the same person as another one: as route writes it."""
        ids = [person(survivor), person(number)]
        kept, gone = profiles.load(self.database, ids)
        assert gone is not None
        whole = merging.join(kept or Profile(person(survivor), "shop"), gone)
        inside = [segment for segment, held in whole.memberships.items() if held.realized]
        segments.add(self.database, [(segment, person(survivor)) for segment in inside])
        profiles.save(self.database, [whole], self.clock.now())
        profiles.save_aliases(self.database, [Alias(person(number), person(survivor), self.clock.now(), gone.version)])

    # Questions.

    def question(self, ask: str, level: Level = Level.OPERATE, **arguments: Any) -> dict[str, Any]:
        """Return what the function of a level sends back to a question."""
        return self.operator(level).handle({"ask": ask, **arguments})

    def operator(self, level: Level = Level.OPERATE) -> Operator:
        """Return what answers the questions of the function of a level."""
        self.stack.environment = {**self.stack.environment, "RELAY_ADMIN": level.value}
        operators = Operators(self.stack)
        operators.destination_names = [TOOL, OTHER]
        self.aws.now = self.clock.now()
        operators.deployed = Deployed("bench", "https://sqs/1", [TOOL, OTHER], self.clock, self.aws)
        return operators.operator()

    def ask(self, ask: str, **arguments: Any) -> Any:
        """Return the answer to a question; an error fails."""
        sent = self.question(ask, **arguments)
        assert "answer" in sent, sent
        return sent["answer"]

    def refused(self, ask: str, **arguments: Any) -> Any:
        """Return the error that a question is answered with."""
        return self.question(ask, **arguments)["error"]

    # What is stored.

    def target(self, export: Export | None = None) -> str:
        """Return the first target of an export, `letters/main` unless another is given."""
        of = self.export if export is None else export
        return sorted(self.stack.destinations(of.destination).targets(of))[0]

    def record(self, email: str, target: str | None = None, connection: str = CONNECTION) -> Record:
        """Return the identity record of an address, at the first target of `letters/main` unless another is given."""
        key = self.key(email, target, connection)
        return identities.load(self.database, [key])[key].record

    def key(self, email: str, target: str | None = None, connection: str = CONNECTION) -> str:
        """Return the key of an identity record."""
        return identities.key_of(KEYED, connection, target or self.target(), email)

    def assignment(self, number: int, export: str = f"{CONNECTION}/main") -> Assignment:
        """Return what a profile stands for in an export."""
        profile = person(number)
        return assignments.load(self.database, export, [profile])[profile].assignment

    def assigned(self, number: int, export: str = f"{CONNECTION}/main") -> set[Pair]:
        """Return the pairs a profile stands for in an export."""
        return set(self.assignment(number, export).pairs)

    def counts(self, run: Run | str) -> dict[str, int]:
        """Return a run's columns that are not nought, without its calls; the ledger must add up."""
        counts = ledger.total(
            shard.counts for shard in runs.shards(self.database, run if isinstance(run, str) else run.id)
        )
        assert ledger.adds_up(counts), counts
        return {name: number for name, number in counts.items() if number and name != "calls"}

    def run(self, run: Run | str) -> Run:
        """Return a run as it is now."""
        found = runs.load(self.database, run if isinstance(run, str) else run.id)
        assert found is not None
        return found

    @property
    def sent(self) -> list[list[str]]:
        """Return the identities of every call to `tool`, those who leave with a minus."""
        return self.tool.sent

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def events(self) -> list[str]:
        return [line["message"] for line in self.logged()]

    # Work.

    def account(self, connection: str = CONNECTION) -> Account:
        account, _ = self.stack.accounts.open(self.settings.connection(connection))
        return account

    def job(self, export: str = f"{CONNECTION}/main", seconds: float = 60, **changes: Any) -> Job:
        """Open an export for work, with so many seconds for calls."""
        until = self.clock.now() + timedelta(seconds=seconds)
        return replace(self.stack.opener.open(export, at_least=0, until=until).job, **changes)

    def reconcile(self, *numbers: int, **changes: Any) -> dict[int, Verdict]:
        """Look at profiles directly; return where those stand who are members."""
        job, now = self.job(**changes), self.clock.now()
        survey = self.stack.reconciler.look(job, sorted(map(person, numbers)))
        return {
            number_of(case.profile): case.rejected
            or case.verdict
            or verdict.on_member(survey.of_members(case), case.profile, now, now)
            for case in survey.cases
            if case.is_member
        }

    def look(self, *numbers: int, **changes: Any) -> Message:
        """Return a message that asks for a look at profiles."""
        ids = tuple(person(number) for number in numbers)
        asked = Look(CONNECTION, "main", self.export.version, ids)
        return Message(replace(asked, **changes).to_json(), f"{CONNECTION}#0")

    def received(self, messages: Sequence[Message], receives: int = 1) -> list[Received]:
        """Return messages as Lambda hands them over: `m0`, `m1`, ..."""
        return [
            Received(f"m{place}", dict(message.body), receives, message.group, f"m{place}", self.clock.now())
            for place, message in enumerate(messages)
        ]

    def consume(
        self, *messages: Message, receives: int = 1, seconds_left: float = 100.0, destination: str = TOOL
    ) -> list[str]:
        """Hand messages over as one batch `m0`, `m1`, ...; return the ids of those to keep."""
        given = self.clock.now()
        return self.stack.consumer(destination).consume(
            self.received(messages, receives), lambda: seconds_left - (self.clock.now() - given).total_seconds()
        )

    def check(self, *messages: Message, receives: int = 1, seconds_left: float = 100.0) -> list[str]:
        """Hand messages of the Checks queue over as one batch."""
        given = self.clock.now()
        return self.stack.import_checker().consume(
            self.received(messages, receives), lambda: seconds_left - (self.clock.now() - given).total_seconds()
        )

    def tick(self, after: timedelta = timedelta()) -> None:
        self.clock.time += after
        self.stack.ticker().tick()

    def timetable(self) -> Timetable:
        """Return what schedules there are."""
        if self.scheduled_now is not None:
            return self.scheduled_now
        own = [Schedule(key.replace("/", "."), key) for key in sorted(self.own_schedules)]
        return Timetable(own, Schedule("relay-default", None))

    def start(self, export: Export | None = None) -> Run:
        run = self.stack.starter.start(export or self.export, "test")
        assert run is not None
        return run

    def full_run(self, export: Export | None = None) -> Run:
        """Start a run in a minute, work it off, and return it."""
        self.clock.time += MINUTE
        run = self.start(export)
        self.work_off()
        return self.run(run)

    def work_off(self, rounds: int = 200) -> None:
        """Hand over what is queued, and whatever that queues, until nothing is left; imports land in between."""
        for _ in range(rounds):
            for destination in (self.tool, self.other):
                destination.land()
            work = [(name, queue.take()) for name, queue in ((TOOL, self.queue), (OTHER, self.other_queue))]
            checks = self.checks.take()
            if not checks and not any(messages for _, messages in work):
                if not any(imports.all_open(self.database, name) for name in self.settings.connections):
                    return
                # The check of an import whose message was lost is sent again by the clock.
                self.tick(after=STALLED_AFTER + MINUTE)
            for name, messages in work:
                for message in messages:
                    assert self.consume(message, destination=name) == [], self.logged()
            for message in checks:
                self.clock.time += message.delay
                assert self.check(message) == [], self.logged()
        raise AssertionError("the relay never comes to rest")

    def pass_time(self, span: timedelta) -> None:
        """Let the clock tick every minute, and work off what that asks for."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.tick(after=min(MINUTE, end - self.clock.now()))
            self.work_off()
