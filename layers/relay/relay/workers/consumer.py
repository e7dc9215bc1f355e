"""A batch of a destination queue: merge what belongs together, work, and decide about every message."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from relay.breaker import failures
from relay.breaker.failures import Do, Paused, Stopped
from relay.breaker.stops import Stops
from relay.clock import Clock
from relay.domain import ledger
from relay.domain.ledger import Column
from relay.domain.problems import (
    DEFECT,
    ConnectionProblem,
    Problem,
    StaleSettings,
    Transient,
)
from relay.domain.runs import CUT_SHORT, ENDED, Phase, RunState
from relay.messages import Look, Page, from_json
from relay.observability import Count, Fields, Observability
from relay.queues import Received
from relay.reconcile import verdict
from relay.reconcile.enqueue import Enqueuer
from relay.reconcile.job import Job
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.set_aside import SetAside
from relay.reconcile.survey import Survey
from relay.reconcile.time_limits import OUT_OF_TIME
from relay.runs.pages import Pages
from relay.stores import attempts, breakers, runs
from relay.stores.database import Database
from relay.workers.opening import Opened, Opener
from relay.workers.traced import Traced, came_to

ENOUGH_TIME: Final = 30.0
"""Seconds of the function's time-out that a unit of work or one of its calls must have left to begin."""

_METRICS: Final = {
    Column.DELIVERED: Count.DELIVERED,
    Column.UNCHANGED: Count.UNCHANGED,
    Column.REJECTED: Count.PROFILES_REJECTED,
    Column.DUPLICATE: Count.DUPLICATE,
}


FUNCTION: Final = "destination"
"""What the function is called in traces; the destination is the export's."""

LEFT_TO_ITS_RUN: Final = "left to the next run"
"""How a traced look ends for an export that acts only in its runs."""


class RetryLater(Protocol):
    """Hides a received message for some seconds more."""

    def __call__(self, receipt_handle: str, seconds: float) -> None:
        """As SQS' ChangeMessageVisibility."""
        ...


@dataclass(frozen=True, slots=True)
class _Unit:
    """Messages handled as one: all looks of an export after so many tries, or one page of a run.

    A look that an operator traces is by itself, so that nobody else's requests are kept with it.
    """

    export: str
    received: Sequence[Received]
    looks: Sequence[Look] = ()
    page: Page | None = None
    traced: Traced = field(default_factory=lambda: Traced(None, FUNCTION))

    @property
    def settings(self) -> int:
        versions = [look.settings for look in self.looks]
        return max(versions if self.page is None else [*versions, self.page.settings])

    @property
    def receives(self) -> int:
        return max(message.receive_count for message in self.received)


class Consumer:
    """Works on the messages of one destination's queue."""

    def __init__(
        self,
        database: Database,
        opener: Opener,
        reconciler: Reconciler,
        pages: Pages,
        enqueuer: Enqueuer,
        aside: SetAside,
        stops: Stops,
        clock: Clock,
        retry_later: RetryLater,
        observe: Observability,
    ) -> None:
        self._database = database
        self._opener = opener
        self._reconciler = reconciler
        self._pages = pages
        self._enqueuer = enqueuer
        self._aside = aside
        self._stops = stops
        self._clock = clock
        self._retry_later = retry_later
        self._observe = observe

    def consume(self, received: Sequence[Received], seconds_left: Callable[[], float]) -> list[str]:
        """Handle a batch; return the ids of the messages SQS must keep."""
        units, failed = self._units(received)
        # What was put back for want of time goes first, so that it is not put back again and again.
        for unit in sorted(units, key=lambda unit: unit.receives, reverse=True):
            spare = seconds_left() - ENOUGH_TIME
            if spare < 0:
                failed += self._put_back(unit, timedelta())
            else:
                failed += self._safely(unit, self._clock.now() + timedelta(seconds=spare))
        return failed

    def _units(self, received: Sequence[Received]) -> tuple[list[_Unit], list[str]]:
        looks: dict[tuple[str, int, str | None], list[tuple[Received, Look]]] = {}
        pages: list[_Unit] = []
        failed = []
        for message in received:
            try:
                task = from_json(message.body)
                if isinstance(task, Page):
                    pages.append(_Unit(f"{task.connection}/{task.export}", [message], page=task))
                elif isinstance(task, Look):
                    place = f"{task.connection}/{task.export}", task.tries, task.trace
                    looks.setdefault(place, []).append((message, task))
                else:
                    raise ValueError("a message of another queue")
            except (KeyError, ValueError) as error:
                self._observe.problem("unreadable message", error, message_id=message.id)
                attempts.note(self._database, self._observe, [message], error, self._clock.now())
                failed.append(message.id)
        merged = [
            _Unit(key, [message for message, _ in pairs], [look for _, look in pairs], traced=Traced(trace, FUNCTION))
            for (key, _, trace), pairs in looks.items()
        ]
        return merged + pages, failed

    def _safely(self, unit: _Unit, until: datetime) -> list[str]:
        """Handle a unit; keep its messages, and no others, where not even what the table says can be done."""
        try:
            return self._handle(unit, until)
        except Exception as problem:  # noqa: BLE001 - it must harm only its own messages, and be seen
            self._observe.problem("undecided", problem, export=unit.export, attempt=unit.receives)
            return [message.id for message in unit.received]

    def _handle(self, unit: _Unit, until: datetime, *, fresh: bool = False, at_least: int = 0) -> list[str]:
        """Open the export, work, and decide: nothing (acknowledge), or the ids of the messages to keep."""
        opened = None
        try:
            version = max(unit.settings, at_least)
            opened = self._opener.open(unit.export, at_least=version, until=until, fresh=fresh)
            self._tell(unit, opened, self._work(unit, opened))
        except StaleSettings as problem:
            if at_least < problem.version:
                return self._handle(unit, until, fresh=fresh, at_least=problem.version)
            return self._react(unit, opened, problem)
        except ConnectionProblem as problem:
            if opened is not None and not fresh and self._stops.has_new_secret(opened.job.account.connection):
                return self._handle(unit, until, fresh=True, at_least=at_least)
            return self._react(unit, opened, problem)
        except Exception as problem:  # noqa: BLE001 - a defect must harm only its own messages, and be seen
            return self._react(unit, opened, problem)
        return []

    def _react(self, unit: _Unit, opened: Opened | None, problem: Exception) -> list[str]:
        """Do what the table of failures says."""
        self._trace(unit, problem.code if isinstance(problem, Problem) else type(problem).__name__)
        now, failing = self._clock.now(), timedelta()
        if opened is not None and failures.tells_of_destination(problem):
            failing = breakers.note_failure(self._database, opened.breaker, now)
        got_on = opened is not None and getattr(problem, "code", "") == OUT_OF_TIME and opened.calls() > 0
        row = failures.row_for(problem, receives=unit.receives, failing=failing, got_on=got_on)
        if row.do is Do.DROP:
            return []
        if row.do is Do.GO_ON and opened is not None:
            return self._send_again(unit, opened)
        if row.do is Do.DEAD_LETTER:
            self._observe.problem("defect", problem, export=unit.export, attempt=unit.receives)
            attempts.note(self._database, self._observe, unit.received, problem, now)
            return [message.id for message in unit.received]
        connection, name = unit.export.split("/", 1)
        if row.do in (Do.STOP_CONNECTION, Do.STOP_EXPORT) and isinstance(problem, Problem):
            self._stops.stop(connection, None if row.do is Do.STOP_CONNECTION else name, problem)
        elif row.do in (Do.RETRY, Do.RETRY_SOON):
            return self._try_again(unit, row.do, problem)
        elif not isinstance(problem, Stopped | Paused):
            self._observe.problem("left to a run", problem, export=unit.export, attempt=unit.receives)
        return self._leave_to_a_run(unit, problem.what if isinstance(problem, Problem) else str(problem))

    def _try_again(self, unit: _Unit, do: Do, problem: Exception) -> list[str]:
        at_least = problem.retry_after if isinstance(problem, Transient) else None
        pause = failures.pause_before_retry(do, unit.receives, at_least)
        self._observe.problem(
            "try again", problem, export=unit.export, attempt=unit.receives, pause_seconds=pause.total_seconds()
        )
        return self._put_back(unit, pause)

    def _work(self, unit: _Unit, opened: Opened) -> Counter[str]:
        """Do a unit's work; return how many profiles came to what, and how many calls were `answered`."""
        job = replace(opened.job, receives=unit.receives)
        if unit.page is not None:
            redelivered = unit.receives > 1
            return self._pages.advance(job, unit.page, redelivered=redelivered, calls=opened.calls)
        counts: Counter[str] = Counter()
        if not self._may_look(job):
            self._trace(unit, LEFT_TO_ITS_RUN)
            return counts
        account = unit.traced.recorded(self._database, self._clock, job.account)
        job = replace(job, tries=unit.looks[0].tries, trace=unit.traced.trace, account=account)
        profiles = sorted({profile for look in unit.looks for profile in look.profiles})

        def look(part: Sequence[str]) -> None:
            of_part: Counter[str] = Counter()
            while part:
                began = self._clock.now()
                survey = self._reconciler.look(job, part)
                self._count(job, survey, began, of_part)
                of_part["answered"] += survey.answered
                part = part[len(survey.cases) :]
            counts.update(of_part)

        failed = self._aside.by_halves(profiles, look)
        self._aside.note(job.export.key, failed)
        self._aside.recovered(job.export.key, set(profiles) - failed.keys())
        counts.update({Column.REJECTED: len(failed), f"rejected:{DEFECT}": len(failed)})
        self._trace(unit, came_to(counts))
        return counts

    def _trace(self, unit: _Unit, outcome: str) -> None:
        unit.traced.keep(self._database, self._clock, self._observe, outcome)

    def _may_look(self, job: Job) -> bool:
        """Return whether looks may act for an export: one that does not stream acts under settings of its runs only.

        Nor does it go on with what its last run left to the next one. What is looked for here its next run does.
        """
        if job.export.stream:
            return True
        last = runs.current(self._database, job.export.key)
        if last is None or last.state in ENDED:
            return job.has_passed_guard and (last is None or last.state not in CUT_SHORT)
        return job.has_passed_guard or last.settings == job.export.version

    def _count(self, job: Job, survey: Survey, began: datetime, counts: Counter[str]) -> None:
        now = self._clock.now()
        is_held = False
        for case in survey.cases:
            is_held = is_held or (bool(case.unwanted) and not job.removes) or survey.lacks_claimants(case)
            if case.is_member:
                stands = case.verdict or case.rejected
                if stands is None:
                    stands = verdict.on_member(survey.of_members(case), case.profile, began, now)
                counts.update(ledger.counted(*stands))
            counts.update(ledger.warned(case.warnings))
        if is_held:
            # Leavers are held back until a run under these settings has counted them, and an identity until a run has
            # asked all who were turned away from it.
            breakers.request_resync(self._database, job.export.connection, job.export.name)

    def _tell(self, unit: _Unit, opened: Opened, counts: Counter[str]) -> None:
        """Log one line, add to the metrics, and note that the destination is well where calls have shown it."""
        export, calls = opened.job.export, opened.calls()
        line = Fields(
            export=export.key,
            attempt=unit.receives,
            calls=calls,
            delivered=counts[Column.DELIVERED],
            unchanged=counts[Column.UNCHANGED],
            rejected=counts[Column.REJECTED],
            duplicate=counts[Column.DUPLICATE],
            outstanding=counts[Column.OUTSTANDING],
        )
        if unit.page is not None:
            line["run"], line["shard"] = unit.page.run, unit.page.shard
        self._observe.info("worked", **line)
        for column, metric in _METRICS.items():
            self._observe.count(metric, counts[column], connection=export.connection)
        for code, number in ledger.rejections(counts).items():
            self._observe.count(Count.REJECTIONS, number, connection=export.connection, outcome=code)
        for code, number in ledger.warnings(counts).items():
            self._observe.count(Count.WARNINGS, number, connection=export.connection, outcome=code)
        self._observe.count(Count.CALLS, calls, connection=export.connection)
        if counts["answered"]:
            # Other calls only asked how long something has to wait: that says nothing.
            breakers.note_success(self._database, opened.breaker)

    def _send_again(self, unit: _Unit, opened: Opened) -> list[str]:
        """Acknowledge work that got on but needs another go, after sending it once more: it is no failed receive.

        Without a call there was no progress, and the messages are put back: their receives are counted.
        """
        export, calls = opened.job.export, opened.calls()
        tasks: Sequence[Look | Page] = unit.looks if unit.page is None else [unit.page]
        groups = [message.group or "" for message in unit.received]
        self._enqueuer.send_again(export.destination, zip(tasks, groups, strict=True))
        if unit.page is not None:
            shard = runs.shard(self._database, unit.page.run, Phase(unit.page.phase), unit.page.shard)
            if shard is not None:
                runs.note_sent_again(self._database, unit.page.run, [shard], self._clock.now())
        breakers.note_success(self._database, opened.breaker)
        self._observe.info("sent again", export=export.key, attempt=unit.receives, calls=calls)
        self._observe.count(Count.CALLS, calls, connection=export.connection)
        return []

    def _leave_to_a_run(self, unit: _Unit, reason: str) -> list[str]:
        """Acknowledge what is not done now, after asking for a run that makes up for it."""
        connection, name = unit.export.split("/", 1)
        breakers.request_resync(self._database, connection, name)
        run = None if unit.page is None else runs.load(self._database, unit.page.run)
        if run is not None and run.state is RunState.RUNNING:
            runs.change_state(self._database, run, RunState.STOPPED, self._clock.now(), reason)
        return []

    def _put_back(self, unit: _Unit, pause: timedelta) -> list[str]:
        """Keep a unit's messages, visible again after the pause."""
        for message in unit.received:
            self._retry_later(message.receipt_handle, pause.total_seconds())
        return [message.id for message in unit.received]
