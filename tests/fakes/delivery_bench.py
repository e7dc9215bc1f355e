"""A bench for the delivery engine: real parts over the database in memory, a scripted destination, and still queues.

Nothing happens by itself: a test stores profiles, hands messages over, and looks at what was written, sent and called.
"""

import io
import itertools
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from relay.delivery.cases import Job, Result, Retry
from relay.delivery.checking import Checker
from relay.delivery.consuming import Consumer
from relay.delivery.cursors import SCAN, Cursors
from relay.delivery.engine import Engine
from relay.delivery.import_checks import ImportChecker
from relay.delivery.launching import Launcher
from relay.delivery.messages import Confirm, LookAgain, WakeLater, from_json
from relay.delivery.opening import Opener
from relay.delivery.operating import Operator
from relay.delivery.probing import Prober
from relay.delivery.removing import Remover
from relay.delivery.scheduled import ScheduledStarts
from relay.delivery.setting_aside import SettingAside
from relay.delivery.settling import Settling
from relay.delivery.starting import Starter
from relay.delivery.ticking import STALLED_AFTER, Ticker
from relay.delivery.wakeups import Wakeups
from relay.delivery.wishes import claim_key
from relay.destinations.contract import Account, Answer, Caller, Finding, ImportReport, Level, OpenImport, Step
from relay.domain import merging
from relay.domain.claims import Claim, RunTag
from relay.domain.deliveries import Delivery
from relay.domain.exports import Connection, Export
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Problem, Rejection, SettingsProblem, StaleSettings, Transient
from relay.domain.profiles import Alias, Membership, Profile, Register
from relay.domain.runs import Run, ledger_adds_up, total
from relay.observability import Observability
from relay.queues import Message, Received
from relay.schedules import Schedule, Timetable
from relay.settings.exports import Outline
from relay.settings.inventory import Inventory
from relay.settings.names import UnknownExport
from relay.settings.settings import Settings
from relay.settings.shapes import Invalid, Listing
from relay.stores import claims, deliveries, flights, profiles, runs, segments
from relay.stores.directory import Directory
from tests.fakes.clock import FakeClock
from tests.fakes.memory_database import MemoryDatabase
from tests.simulation.destinations import UNKNOWN_USER, Import, SimDestination

VIP, LAPSED = "shop/vip", "shop/lapsed"
CONNECTION = "letters"
KEYED = KeyedHash("bench")


class Crash(BaseException):
    """The process is gone: nothing may catch this."""


class Lost(Transient):
    """The destination took the call, the answer was lost."""

    def __init__(self) -> None:
        super().__init__("timeout", "no answer")


TOO_MANY = Transient("too_many_requests", "slow down", taken=False, retry_after=timedelta(seconds=30))
DOWN = Transient("server_error", "500")


def person(number: int) -> str:
    """Return a profile id; a smaller number is a smaller id. Even numbers are in shard 0 of 2, odd ones in shard 1."""
    return f"{number % 256:02x}{number:030x}"


@dataclass
class BenchDestination(SimDestination):
    """Answers every call by its script, one entry per call; without one it takes what it is told."""

    script: list[Exception] = field(default_factory=list)
    calls_made: list[list[Step]] = field(default_factory=list)
    rejection: Rejection = UNKNOWN_USER
    findings: list[Finding] = field(default_factory=list)
    missing: str | None = None
    """A list that a check finds gone."""
    probes: list[list[str]] = field(default_factory=list)
    probe_script: list[Exception] = field(default_factory=list)
    keeps: bool = False
    answered: Callable[[], None] = lambda: None
    """Called after each answer."""
    memo: str | None = None
    """What it asks to remember of everybody it is told about."""
    cleared: datetime | Exception | None = None
    """What it answers when it is asked before when all is over."""
    asks: bool = False
    """Whether that takes a call."""
    failing_imports: int = 0
    """How many of the next imports fail as a whole."""

    def says_goodbye(self, export: Export) -> bool:
        return not self.keeps

    def send(self, account: Account, export: Export, steps: Sequence[Step]) -> Answer:
        account.call("POST", "", quota=None)  # type: ignore[arg-type]
        self.calls_made.append(list(steps))
        problem = self.script.pop(0) if self.script else None
        if problem is not None and not isinstance(problem, Lost):
            raise problem
        answer = super().send(account, export, steps)
        self.answered()
        if problem is not None:
            raise problem
        memos = {} if self.memo is None else dict.fromkeys(range(len(steps)), self.memo)
        return replace(answer, refused=dict.fromkeys(answer.refused, self.rejection), memos=memos)

    def import_report(
        self, account: Account, export: Export, queued: OpenImport, steps: Sequence[Step]
    ) -> ImportReport:
        if self.script:
            raise self.script.pop(0)
        report = super().import_report(account, export, queued, steps)
        return replace(report, refused=dict.fromkeys(report.refused, self.rejection))

    def _land(self, job: Import) -> None:
        if self.failing_imports > 0:
            self.failing_imports -= 1
            job.landed, job.undone = True, frozenset(range(len(job.steps)))
        else:
            super()._land(job)

    def cleared_before(self, account: Account, now: datetime) -> datetime | None:
        if self.asks:
            account.call("GET", "", quota=None)  # type: ignore[arg-type]
        if isinstance(self.cleared, Exception):
            raise self.cleared
        return self.cleared

    def check(self, account: Account, exports: Sequence[Export]) -> list[Finding]:
        self.probes.append([export.key for export in exports])
        if self.probe_script:
            raise self.probe_script.pop(0)
        gone = [
            Finding(export.key, Level.ERROR, "the list is gone") for export in exports if export.options == self.missing
        ]
        return [*self.findings, *gone]

    def holds(self) -> dict[str, dict[str, str]]:
        """Return what is in the one target of an export with a single one, by identity."""
        return {identity: values for (_, identity), values in self.held.items()}


class Outbox:
    """A queue that only keeps what is sent."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self.messages: list[Message] = []
        self.failures: list[Problem] = []
        self._step = step

    def send(self, messages: Sequence[Message]) -> None:
        self._step("before send")
        if self.failures:
            raise self.failures.pop(0)
        self.messages.extend(messages)
        self._step("after send")

    def take(self) -> list[Message]:
        """Return what was sent since the last time."""
        taken, self.messages = self.messages, []
        return taken

    @property
    def tasks(self) -> list[Any]:
        return [from_json(message.body) for message in self.messages]


class BenchSettings:
    """Settings a test writes; a problem under an export's or a connection's name is raised instead."""

    def __init__(self) -> None:
        self.saved: dict[str, Export] = {}
        self.problems: dict[str, SettingsProblem] = {}
        self.profile_key = "identities.crm"
        self.secrets: dict[str, str] = {}
        self.fresh_secrets: dict[str, str] = {}

    def save(self, export: Export) -> Export:
        self.saved[export.key] = export
        return export

    def export(self, key: str, *, at_least: int = 0) -> Export:
        if key in self.problems:
            raise self.problems[key]
        if key not in self.saved:
            raise UnknownExport("unknown_export", "there is none", field="export")
        if self.saved[key].version < at_least:
            raise StaleSettings("stale_settings", "not readable yet")
        return self.saved[key]

    def exports(self) -> Listing:
        valid = {key: export for key, export in self.saved.items() if key not in self.problems}
        invalid = {key: problem for key, problem in self.problems.items() if not key.startswith("source ")}
        return Listing(
            {key: export for key, export in valid.items() if export.connection not in invalid},
            [Invalid(f"{'export' if '/' in key else 'connection'} {key}", problem) for key, problem in invalid.items()],
        )

    def export_keys(self) -> list[str]:
        return sorted({*self.saved, *(key for key in self.problems if "/" in key)})

    def source(self, name: str) -> Any:
        if f"source {name}" in self.problems:
            raise self.problems[f"source {name}"]
        return SimpleNamespace(name=name, profile_key=self.profile_key)

    def export_outlines(self) -> Mapping[str, Outline]:
        return {}

    def connection(self, name: str, *, fresh: bool = False) -> Connection:
        if name in self.problems:
            raise self.problems[name]
        if fresh and name in self.fresh_secrets:
            self.secrets[name] = self.fresh_secrets[name]
        return Connection(name, self.saved_destination(name), name, self.secrets.get(name, "first secret"))

    def saved_destination(self, connection: str) -> str:
        return next((e.destination for e in self.saved.values() if e.connection == connection), "tool")


class Bench:
    """One relay with one destination `tool`, its export `letters/main` of VIP members, and every part made once."""

    def __init__(
        self,
        *,
        imports: bool = False,
        streams: bool = True,
        call_size: int = 3,
        segments: Sequence[str] = (VIP,),
        scan: int = SCAN,
    ) -> None:
        random.seed(0)
        self.clock = FakeClock()
        self.steps = 0
        self.crash_at: int | None = None
        self.database = MemoryDatabase(before=self.step, after=self.step)
        self.tool = BenchDestination(
            name="tool",
            imports_later=imports,
            streams=streams,
            now=self.clock.now,
            step=self.step,
            chance=random.Random(0),
            refuses=frozenset(),
            call_size=call_size,
            lost_answer_bound=timedelta(minutes=5),
        )
        self.queue, self.checks = Outbox(self.step), Outbox(self.step)
        self.settings = BenchSettings()
        self.inventory = Inventory()
        self.scheduled_now: Timetable | None = None
        self.log = io.StringIO()
        self.observe = Observability(self.log)
        self.hidden: list[tuple[str, float]] = []
        self.api_calls = 0
        self._ids = (f"{number:06x}" for number in itertools.count(1))
        self.wakeups = Wakeups(lambda _: self.queue, self.checks, lambda _: self.tool.shards, self.clock)
        self.opener = self.new_opener()
        self.engine = Engine(
            self.database,
            KEYED,
            self.clock,
            self.wakeups,
            new_id=lambda: next(self._ids),
            aside=SettingAside(self.database, self.clock, self.observe),
        )
        self.cursors = Cursors(self.database, self.clock, self.engine, self.wakeups, scan=scan)
        self.settling = Settling(self.database, self.clock, self.wakeups)
        self.starter = Starter(
            self.database, self.clock, self.cursors, lambda _: self.tool, new_id=lambda: next(self._ids)
        )
        self.edit(segments=tuple(segments))

    def step(self, name: str) -> None:
        """Count a step, and die at the one that `crash_at` names."""
        self.steps += 1
        if self.steps == self.crash_at:
            raise Crash(name)

    # Settings and data.

    def edit(self, name: str = "main", **changes: Any) -> Export:
        """Save an export, as edited now."""
        key = f"{CONNECTION}/{name}"
        mapping = {"email": "attributes.email", "name": "attributes.name"}
        fresh = Export(CONNECTION, name, "tool", True, self.tool.streams, (VIP,), mapping, "7", 0)
        old = self.settings.saved.get(key, fresh)
        return self.settings.save(replace(old, version=old.version + 1, **changes))

    @property
    def export(self) -> Export:
        return self.settings.saved[f"{CONNECTION}/main"]

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

    # What it did.

    def delivery(self, number: int, name: str = "main") -> Delivery:
        profile = person(number)
        return deliveries.load(self.database, f"{CONNECTION}/{name}", [profile])[profile]

    def claim(self, email: str, target: str | None = None) -> Claim:
        place = target or (f"list/{self.export.options}" if self.tool.imports_later else f"segment/{VIP}")
        key = claim_key(KEYED, CONNECTION, place, email)
        return claims.load(self.database, [key])[key]

    def counts(self, run: Run | str) -> dict[str, int]:
        """Return a run's columns that are not nought; the ledger must add up."""
        counts = total(runs.shards(self.database, run if isinstance(run, str) else run.id))
        assert ledger_adds_up(counts), counts
        return {name: number for name, number in counts.items() if number and name != "calls"}

    def run(self, run: Run | str) -> Run:
        found = runs.load(self.database, run if isinstance(run, str) else run.id)
        assert found is not None
        return found

    @property
    def sent(self) -> list[list[str]]:
        """Return the identities of every call, those who leave with a minus."""
        return [[("" if step.joins else "-") + step.identity for step in call] for call in self.tool.calls_made]

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    # Work.

    def account(self) -> Account:
        account, _ = self.opener.account(self.settings.connection(CONNECTION))
        return account

    def new_opener(self) -> Opener:
        """Return the opener of a new process."""

        def caller(connection: Connection) -> tuple[Caller, Callable[[], int]]:
            before = self.api_calls

            def call(*_: Any, **__: Any) -> Any:
                self.api_calls += 1

            return call, lambda: self.api_calls - before

        return Opener(self.database, as_settings(self.settings), lambda _: self.tool, caller)

    def job(self, **changes: Any) -> Job:
        return replace(Job(self.export, self.tool, self.account()), **changes)

    def deliver(self, *numbers: int, run: RunTag | None = None, thorough: bool = False) -> dict[int, Result]:
        """Look at profiles, for a run that begins now if there is one; return what became of each."""
        retry = None if run is None else Retry(self.clock.now())
        job = self.job(run=run, retry=retry, thorough=thorough)
        results = self.engine.deliver(job, [person(number) for number in numbers])
        return {int(profile[2:], 16): result for profile, result in results.items()}

    def consumer(self) -> Consumer:
        retry = lambda handle, seconds: self.hidden.append((handle, seconds))  # noqa: E731
        return Consumer(self.database, self.opener, self.engine, self.cursors, self.clock, retry, self.observe)

    def consume(self, *messages: Message, receives: int = 1, seconds_left: float = 100.0) -> list[str]:
        """Hand messages over as one batch `m0`, `m1`, ...; return the ids of those to keep."""
        return self.consumer().consume(self.received(messages, receives), lambda: seconds_left)

    def received(self, messages: Sequence[Message], receives: int = 1) -> list[Received]:
        return [
            Received(f"m{place}", dict(message.body), receives, message.group, f"m{place}", self.clock.now())
            for place, message in enumerate(messages)
        ]

    def look(self, *numbers: int, thorough: bool = False, run: str | None = None, **changes: Any) -> Message:
        ids = tuple(person(number) for number in numbers)
        told = LookAgain(CONNECTION, "main", self.export.version, ids, thorough, run)
        return Message(replace(told, **changes).to_json(), f"{CONNECTION}#0")

    def checker(self) -> ImportChecker:
        retry = lambda handle, seconds: self.hidden.append((handle, seconds))  # noqa: E731
        return ImportChecker(
            self.database, self.opener, self.settling, self.cursors, self.wakeups, self.clock, retry, self.observe
        )

    def check(self, *messages: Message, receives: int = 1, seconds_left: float = 100.0) -> list[str]:
        """Hand messages of the Checks queue over as one batch."""
        return self.checker().consume(self.received(messages, receives), lambda: seconds_left)

    def ticker(self) -> Ticker:
        directory = Directory(self.database, self.clock, max_age=timedelta())
        return Ticker(
            self.database,
            self.opener,
            self.starter,
            self.cursors,
            self.wakeups,
            directory,
            self.clock,
            self.observe,
            schedules=self.timetable,
            more=[self.remover(directory).step],
        )

    def remover(self, directory: Directory, **options: int) -> Remover:
        return Remover(self.database, as_settings(self.settings), directory, self.clock, self.observe, **options)

    def tick(self, after: timedelta = timedelta()) -> None:
        self.clock.time += after
        self.ticker().tick()

    def timetable(self, own: Iterable[str] = ()) -> Timetable:
        """Return schedules of exports' own, and a default schedule that starts the others, unless one was set."""
        if self.scheduled_now is not None:
            return self.scheduled_now
        return Timetable([Schedule(key.replace("/", "."), key) for key in own], Schedule("relay-default", None))

    def launcher(self) -> Launcher:
        return Launcher(self.database, as_settings(self.settings), self.starter, self.observe)

    def scheduled(self, own: frozenset[str] = frozenset()) -> ScheduledStarts:
        return ScheduledStarts(self.launcher(), lambda: self.timetable(own), self.clock)

    def prober(self) -> Prober:
        return Prober(self.database, self.opener, self.clock, self.observe)

    def account_checker(self, own: frozenset[str] = frozenset()) -> Checker:
        return Checker(
            self.database,
            self.opener,
            self.prober(),
            lambda: self.timetable(own),
            lambda: self.inventory,
        )

    def operator(self, own: frozenset[str] = frozenset()) -> Operator:
        return Operator(
            self.database,
            as_settings(self.settings),
            self.starter,
            self.launcher(),
            self.scheduled(own),
            self.account_checker(own),
            self.prober(),
            self.observe,
        )

    def start(self) -> Run:
        run = self.starter.start(self.export, "test")
        assert run is not None
        return run

    def work_off(self, rounds: int = 200) -> None:
        """Hand over what is queued, and whatever that queues, until nothing is left; imports land in between."""
        for _ in range(rounds):
            self.tool.land_some(everything=True)
            work, checks = self.queue.take(), self.checks.take()
            if not work and not checks:
                if not flights.open_imports(self.database, CONNECTION):
                    return
                # The check of an import whose message was lost is sent again by the clock.
                self.clock.time += STALLED_AFTER + timedelta(seconds=1)
                self.ticker()._imports(CONNECTION)
            for message in work:
                assert self.consume(message) == [], self.logged()
            due = [self._made_due(message) for message in checks]
            assert self.check(*due) == [], self.logged()
        raise AssertionError("the relay never comes to rest")

    def _made_due(self, message: Message) -> Message:
        task = from_json(message.body)
        if isinstance(task, WakeLater | Confirm):
            self.clock.time = max(self.clock.now(), task.due)
        return message


def as_settings(settings: BenchSettings) -> Settings:
    """Present a bench's settings as the real ones, of which it has every method that delivery uses."""
    return settings  # type: ignore[return-value]
