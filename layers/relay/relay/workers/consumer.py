"""A batch of a destination queue: merge what belongs together, work, and decide about every message."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from relay.breaker.opening import Opened, Opener, Paused, Stopped
from relay.breaker.stopping import Stopping
from relay.clock import Clock
from relay.domain import ledger
from relay.domain.ledger import Column
from relay.domain.problems import (
    DEFECT,
    Busy,
    Conflict,
    ConnectionProblem,
    ExportProblem,
    Problem,
    SettingsProblem,
    StaleSettings,
    Transient,
)
from relay.domain.runs import RunState
from relay.messages import Look, Page, from_json
from relay.observability import Count, Fields, Observability
from relay.queues import Received
from relay.reconcile import verdict
from relay.reconcile.job import Job
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.setting_aside import SettingAside
from relay.reconcile.survey import Survey
from relay.reconcile.time_limits import OUT_OF_TIME
from relay.reconcile.waking import Waking
from relay.runs.pages import Pages
from relay.settings.names import UnknownConnection, UnknownExport
from relay.stores import attempts, breakers, runs
from relay.stores.database import Database

LONGEST_BACKOFF: Final = timedelta(minutes=15)
FIRST_BACKOFF: Final = timedelta(seconds=5)

MOST_RECEIVES: Final = 25
"""After so many receives, some hours, passing trouble is left to a run: the queue's limit (30) is for defects."""

ENOUGH_TIME: Final = 30.0
"""Seconds of the function's time-out that a unit of work or one of its calls must have left to begin."""

_METRICS: Final = {
    Column.DELIVERED: Count.DELIVERED,
    Column.UNCHANGED: Count.UNCHANGED,
    Column.REJECTED: Count.PROFILES_REJECTED,
    Column.DUPLICATE: Count.DUPLICATE,
}


class RetryLater(Protocol):
    """Hides a received message for some seconds more."""

    def __call__(self, receipt_handle: str, seconds: float) -> None:
        """As SQS' ChangeMessageVisibility."""
        ...


def backoff(receives: int, at_least: timedelta | None, chance: Callable[[], float] = random.random) -> timedelta:
    """Return a pause with full jitter: up to 5 s after the first receive, doubling to 15 minutes."""
    pause = min(FIRST_BACKOFF * float(2 ** min(receives - 1, 20)), LONGEST_BACKOFF) * chance()
    return min(pause if at_least is None else max(pause, at_least), timedelta(hours=11))


@dataclass(frozen=True, slots=True)
class _Unit:
    """Messages handled as one: all looks of an export, or one page of a run."""

    export: str
    received: Sequence[Received]
    looks: Sequence[Look] = ()
    page: Page | None = None

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
        waking: Waking,
        aside: SettingAside,
        stopping: Stopping,
        clock: Clock,
        retry_later: RetryLater,
        observe: Observability,
    ) -> None:
        self._database = database
        self._opener = opener
        self._reconciler = reconciler
        self._pages = pages
        self._waking = waking
        self._aside = aside
        self._stopping = stopping
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
                failed += self._handle(unit, self._clock.now() + timedelta(seconds=spare))
        return failed

    def _units(self, received: Sequence[Received]) -> tuple[list[_Unit], list[str]]:
        looks: dict[str, list[tuple[Received, Look]]] = {}
        pages: list[_Unit] = []
        failed = []
        for message in received:
            try:
                task = from_json(message.body)
                if isinstance(task, Page):
                    pages.append(_Unit(f"{task.connection}/{task.export}", [message], page=task))
                elif isinstance(task, Look):
                    looks.setdefault(f"{task.connection}/{task.export}", []).append((message, task))
                else:
                    raise ValueError("a message of another queue")
            except (KeyError, ValueError) as error:
                self._observe.problem("unreadable message", error, message_id=message.id)
                attempts.note(self._database, self._observe, [message], error, self._clock.now())
                failed.append(message.id)
        merged = [
            _Unit(key, [message for message, _ in pairs], [look for _, look in pairs]) for key, pairs in looks.items()
        ]
        return merged + pages, failed

    def _handle(self, unit: _Unit, until: datetime) -> list[str]:
        try:
            return self._try(unit, until)
        except (Busy, Conflict) as problem:
            return self._try_again(unit, problem)
        except Exception as error:  # noqa: BLE001 - a defect must harm only its own messages, and be seen
            self._observe.problem("defect", error, export=unit.export, attempt=unit.receives)
            attempts.note(self._database, self._observe, unit.received, error, self._clock.now())
            return [message.id for message in unit.received]

    def _try(self, unit: _Unit, until: datetime, *, fresh: bool = False, at_least: int = 0) -> list[str]:
        """Open the export, work, and decide: nothing (acknowledge), or the ids of the messages to keep."""
        try:
            opened = self._opener.open(
                unit.export, at_least=max(unit.settings, at_least), until=until, fresh=fresh
            )
        except (Stopped, Paused) as state:
            return self._leave_to_a_run(unit, str(state))
        except (UnknownExport, UnknownConnection):
            return []
        except SettingsProblem as problem:
            self._observe.problem("settings", problem, export=unit.export)
            return self._leave_to_a_run(unit, problem.what)
        except ExportProblem as problem:
            return self._stop_export(unit, problem)
        except (StaleSettings, Transient) as problem:
            return self._try_again(unit, problem)
        try:
            self._tell(unit, opened, self._work(unit, opened))
        except StaleSettings as problem:
            if at_least >= problem.version:
                return self._try_again(unit, problem)
            return self._try(unit, until, fresh=fresh, at_least=problem.version)
        except ConnectionProblem as problem:
            if not fresh and self._stopping.secret_changed(opened.job.account.connection):
                return self._try(unit, until, fresh=True, at_least=at_least)
            self._stopping.connection(opened.connection, problem)
            return self._put_back(unit, timedelta())
        except Problem as problem:
            return self._after_trouble(unit, opened, problem)
        return []

    def _after_trouble(self, unit: _Unit, opened: Opened, problem: Problem) -> list[str]:
        if isinstance(problem, ExportProblem):
            return self._stop_export(unit, problem)
        if problem.code == OUT_OF_TIME and opened.calls():
            return self._send_again(unit, opened)
        if isinstance(problem, Busy | Conflict):
            return self._try_again(unit, problem)
        if isinstance(problem, Transient):
            if self._stopping.passing(opened.connection, problem):
                return self._put_back(unit, timedelta())
            return self._try_again(unit, problem)
        raise problem

    def _work(self, unit: _Unit, opened: Opened) -> Counter[str]:
        """Do a unit's work and return how many profiles came to what."""
        job = opened.job
        if unit.page is not None:
            redelivered = unit.receives > 1
            return self._pages.advance(job, unit.page, redelivered=redelivered, calls=opened.calls)
        job = replace(job, tries=max(look.tries for look in unit.looks))
        profiles = sorted({profile for look in unit.looks for profile in look.profiles})
        counts: Counter[str] = Counter()

        def look(part: Sequence[str]) -> None:
            survey = self._reconciler.look(job, part)
            self._count(job, survey, counts)

        failed = self._aside.by_halves(profiles, look)
        self._aside.note(job.export, failed)
        counts.update({Column.REJECTED: len(failed), f"rejected:{DEFECT}": len(failed)})
        return counts

    def _count(self, job: Job, survey: Survey, counts: Counter[str]) -> None:
        now = self._clock.now()
        is_held = False
        for case in survey.cases:
            is_held = is_held or (bool(case.unwanted) and not job.removes)
            if case.is_member:
                stands = case.verdict or case.rejected
                if stands is None:
                    stands = verdict.on_member(survey.of_members(case), case.profile, now, now)
                counts.update(ledger.counted(*stands))
            counts.update(ledger.warned(case.warnings))
        if is_held:
            # Leavers are held back until a run under these settings has counted them.
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
        for code, number in ledger.warnings(counts).items():
            self._observe.count(Count.WARNINGS, number, connection=export.connection, outcome=code)
        self._observe.count(Count.CALLS, calls, connection=export.connection)
        if calls and any(counts[column] for column in (Column.DELIVERED, Column.REJECTED, Column.OUTSTANDING)):
            # While all wait, calls only asked how long: that says nothing.
            breakers.note_success(self._database, opened.connection)

    def _stop_export(self, unit: _Unit, problem: ExportProblem) -> list[str]:
        connection, name = unit.export.split("/", 1)
        self._stopping.export(connection, name, problem)
        return self._put_back(unit, timedelta())

    def _try_again(self, unit: _Unit, problem: Problem) -> list[str]:
        if unit.receives >= MOST_RECEIVES:
            self._observe.problem("left to a run", problem, export=unit.export, attempt=unit.receives)
            return self._leave_to_a_run(unit, problem.what)
        if isinstance(problem, Transient):
            pause = backoff(unit.receives, problem.retry_after)
        else:
            pause = timedelta(seconds=1 + 4 * random.random())  # noqa: S311 - jitter, not a secret
        self._observe.problem(
            "try again", problem, export=unit.export, attempt=unit.receives, pause_seconds=pause.total_seconds()
        )
        return self._put_back(unit, pause)

    def _send_again(self, unit: _Unit, opened: Opened) -> list[str]:
        """Acknowledge work that got on but needs another go, after sending it once more: it is no failed receive.

        Without a call there was no progress, and the messages are put back: their receives are counted.
        """
        export, calls = opened.job.export, opened.calls()
        tasks: Sequence[Look | Page] = unit.looks if unit.page is None else [unit.page]
        groups = [message.group or "" for message in unit.received]
        self._waking.send_again(export.destination, zip(tasks, groups, strict=True))
        if unit.page is not None:
            shard = runs.shard(self._database, unit.page.run, unit.page.phase, unit.page.shard)
            if shard is not None:
                runs.note_sent_again(self._database, unit.page.run, [shard], self._clock.now())
        breakers.note_success(self._database, opened.connection)
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
