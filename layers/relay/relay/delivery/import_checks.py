"""The Checks queue: what became of asynchronous imports, and wake-ups whose time has come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from relay.clock import Clock
from relay.delivery.cases import Job
from relay.delivery.confirming import LOOKS_AFTER
from relay.delivery.consuming import RetryLater, backoff
from relay.delivery.cursors import Cursors
from relay.delivery.messages import CheckImport, Confirm, WakeLater, from_json
from relay.delivery.opening import Opener
from relay.delivery.settling import Settling
from relay.delivery.stopping import Stopping
from relay.delivery.time_limits import within
from relay.delivery.wakeups import LONGEST_DELAY, Wakeups
from relay.destinations.contract import ImportReport, OpenImport, Step
from relay.domain.problems import (
    UNCONFIRMED,
    Busy,
    Conflict,
    ConnectionProblem,
    ExportProblem,
    Problem,
    Rejection,
    RejectionKind,
    SettingsProblem,
    Transient,
)
from relay.domain.runs import RunState
from relay.observability import Count, Observability
from relay.queues import Received
from relay.settings.names import UnknownConnection, UnknownExport
from relay.stores import attempts, flights, gates, runs
from relay.stores.database import Database
from relay.stores.flights import Entry, QueuedImport

ENOUGH_TIME = 45.0
"""Seconds a look must have left of the function's time-out to begin."""

LAST_CALLS = 30.0
"""Seconds that must be left for one more contact to be looked up; the rest is left to the next look."""

LAST_CALL = 15.0
"""Seconds that must be left for one more call about a contact."""

MOST_TRIES = 3
"""How often a step is sent in imports that come to nothing, before it ends as unconfirmed."""

UNSEEN_PAUSE = timedelta(minutes=1)
"""Before those are looked at who could not be for want of time or calls."""

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
REST_PAUSE = timedelta(seconds=2)
"""Between looks at parts of one import, so that others who talk to the account get their turn."""

ORPHANED = timedelta(days=1)
"""How long an import whose export is gone is taken to be in flight: the export may be made again."""

EXPORT_DELETED = "its export was deleted"

CAME_TO_NOTHING = Rejection(
    RejectionKind.DESTINATION,
    UNCONFIRMED,
    "the destination's import of the contact failed or was interrupted; it is tried again by a later run",
    is_certain=False,
)

NEVER_ENDED = Rejection(
    RejectionKind.DESTINATION,
    UNCONFIRMED,
    "the destination never said whether it took the contact; it is tried again by a later run",
    is_certain=False,
)


@dataclass(slots=True)
class _Told:
    """What a look has brought, by the places of the rows, also where parts of them were asked about."""

    finished: set[bool] = field(default_factory=set)
    refused: dict[int, Rejection] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    note: str | None = None
    may_come: bool = False

    def add(self, part: Sequence[int], report: ImportReport) -> None:
        """Add the report on a part of the rows."""
        self.finished.add(report.finished)
        self.refused |= {part[place]: rejection for place, rejection in report.refused.items()}
        self.open |= {part[place] for place in report.open}
        self.again |= {part[place] for place in report.again}
        self.note = report.note
        self.may_come |= report.may_come

    @property
    def report(self) -> ImportReport:
        """The report on all rows: the import has ended when that was told of every part."""
        return ImportReport(
            self.finished == {True},
            self.refused,
            frozenset(self.open),
            frozenset(self.again),
            self.note,
            self.may_come,
        )


class ImportChecker:
    """Looks at queued imports until they end, and passes on wake-ups that had to wait."""

    def __init__(
        self,
        database: Database,
        opener: Opener,
        settling: Settling,
        cursors: Cursors,
        wakeups: Wakeups,
        clock: Clock,
        retry_later: RetryLater,
        observe: Observability,
    ) -> None:
        self._database = database
        self._opener = opener
        self._settling = settling
        self._stopping = Stopping(database, opener.settings, clock, observe)
        self._cursors = cursors
        self._wakeups = wakeups
        self._clock = clock
        self._retry_later = retry_later
        self._observe = observe
        self._aside = cursors.aside

    def consume(self, received: Sequence[Received], seconds_left: Callable[[], float]) -> list[str]:
        """Handle a batch; return the ids of the messages SQS must keep."""
        failed = []
        for message in received:
            if seconds_left() < ENOUGH_TIME:
                self._retry_later(message.receipt_handle, 0)
                failed.append(message.id)
            elif not self._handle(message, seconds_left):
                failed.append(message.id)
        return failed

    def _handle(self, message: Received, seconds_left: Callable[[], float]) -> bool:
        try:
            task = from_json(message.body)
            if isinstance(task, CheckImport):
                self._check(task, seconds_left)
            elif isinstance(task, WakeLater):
                self._wake(task)
            elif isinstance(task, Confirm):
                self._confirm(task, seconds_left)
            else:
                raise ValueError("a message of another queue")
        except Problem as problem:
            at_least = problem.retry_after if isinstance(problem, Transient) else None
            pause = backoff(message.receive_count, at_least)
            self._observe.problem("try again", problem, attempt=message.receive_count)
            self._retry_later(message.receipt_handle, pause.total_seconds())
            return False
        except Exception as error:  # noqa: BLE001 - a defect must harm only its own message, and be seen
            self._observe.problem("defect", error, message_id=message.id)
            attempts.note(self._database, self._observe, [message], error, self._clock.now())
            return False
        return True

    def _wake(self, wake: WakeLater) -> None:
        if wake.due > self._clock.now() and not self._is_cleared(wake):
            self._wakeups.postpone(wake)
            return
        try:
            export = self._opener.settings.export(f"{wake.connection}/{wake.export}")
        except SettingsProblem:
            return
        self._cursors.wake(export, wake.profiles, wake.run)

    def _is_cleared(self, wake: WakeLater) -> bool:
        """Whether the lost call a wake-up waits for is known to be over before its bound is; asked in peace only."""
        try:
            job = self._job(wake, fresh=False)
            connection_gate, _ = gates.load(self._database, wake.connection, wake.export)
            if connection_gate.closed:
                return False
            cleared = job.destination.cleared_before(job.account, self._clock.now())
        except Problem:
            return False
        return cleared is not None and wake.due - job.destination.lost_answer_bound <= cleared

    def _confirm(self, task: Confirm, seconds_left: Callable[[], float]) -> None:
        """Look at contacts that ended as unconfirmed. Trouble stops nothing: runs send them again anyway."""
        if task.due > self._clock.now():
            self._wakeups.postpone(task)
            return
        try:
            job = self._job(task, fresh=False)
        except SettingsProblem:
            return
        connection_gate, export_gate = gates.load(self._database, task.connection, task.export)
        if connection_gate.closed or export_gate.closed:
            return
        job = replace(job, account=within(job.account, lambda: seconds_left() >= LAST_CALLS))
        try:
            seen = self._cursors.engine.confirm(job, task.profiles)
        except Busy:
            raise
        except Problem as problem:
            self._observe.problem("unconfirmed contacts not looked at", problem, export=job.export.key)
            self._wakeups.confirm(job.export, task.profiles, self._clock.now() + LONGEST_DELAY, task.look)
            return
        now = self._clock.now()
        if seen.unseen:
            self._wakeups.confirm(job.export, seen.unseen, now + UNSEEN_PAUSE, task.look)
        if seen.missing and task.look + 1 < len(LOOKS_AFTER):
            due = task.due + LOOKS_AFTER[task.look + 1] - LOOKS_AFTER[task.look]
            self._wakeups.confirm(job.export, seen.missing, max(due, now), task.look + 1)
        self._observe.info("unconfirmed contacts looked at", export=job.export.key, delivered=seen.found)

    def _check(self, check: CheckImport, seconds_left: Callable[[], float]) -> None:
        """Look at an import that is still open, unless that was done already: a message may have a double."""
        found = flights.load_import(self._database, check.connection, check.flight)
        if found is not None and check.attempt >= found[0].looks:
            self._look(check, *found, seconds_left)

    def _look(
        self,
        check: CheckImport,
        queued: QueuedImport,
        entries: Sequence[Entry],
        seconds_left: Callable[[], float],
        *,
        fresh: bool = False,
    ) -> None:
        """Look at an import and decide when to look again; trouble of the destination burns no receives."""
        try:
            job = self._job(check, fresh=fresh)
        except (UnknownExport, UnknownConnection):
            self._keep_or_forget(check, queued)
            return
        except SettingsProblem:
            self._look_later(check, queued, LONGEST_DELAY)
            return
        connection_gate, _ = gates.load(self._database, check.connection, check.export)
        if connection_gate.closed:
            self._look_later(check, queued, LONGEST_DELAY)
            return
        try:
            report, failed = self._report(job, queued, entries, seconds_left)
        except Busy:
            raise
        except Transient as problem:
            self._stopping.passing(check.connection, connection_gate, problem)
            self._observe.problem("import check failed", problem, connection=check.connection, export=job.export.key)
            self._look_later(check, queued, max(_pause(check), problem.retry_after or timedelta()))
        except ConnectionProblem as problem:
            if not fresh and self._stopping.secret_changed(job.account.connection):
                self._look(check, queued, entries, seconds_left, fresh=True)
                return
            self._stopping.connection(check.connection, connection_gate, problem)
            self._look_later(check, queued, LONGEST_DELAY)
        except ExportProblem as problem:
            self._stopping.export(check.connection, check.export, problem)
            self._look_later(check, queued, LONGEST_DELAY)
        else:
            gates.note_success(self._database, check.connection, connection_gate)
            if report.finished:
                self._settle(job, check, queued, entries, report, failed)
            else:
                self._look_later(check, queued, _pause(check))

    def _keep_or_forget(self, check: CheckImport, queued: QueuedImport) -> None:
        """Without its export an import cannot be asked about; it stays in flight while it may still arrive."""
        if self._clock.now() - queued.queued_at < ORPHANED:
            self._look_later(check, queued, LONGEST_DELAY)
            return
        # First, because nothing would come back to it: a run that waits for this import would wait for ever, and an
        # export made again under this name could have no run.
        active = runs.active(self._database, f"{check.connection}/{check.export}")
        run = None if active is None else runs.load(self._database, active)
        stopped = run is None or runs.change_state(
            self._database, run, RunState.STOPPED, self._clock.now(), EXPORT_DELETED
        )
        if not stopped:
            raise Conflict("run", "somebody else changed the run")
        flights.forget(self._database, check.connection, check.flight)

    def _job(self, check: CheckImport | WakeLater | Confirm, *, fresh: bool) -> Job:
        settings = self._opener.settings
        connection = settings.connection(check.connection, fresh=fresh)
        export = settings.export(f"{check.connection}/{check.export}")
        account, _ = self._opener.account(connection)
        return Job(export, self._opener.destinations(export.destination), account)

    def _report(
        self, job: Job, queued: QueuedImport, entries: Sequence[Entry], seconds_left: Callable[[], float]
    ) -> tuple[ImportReport, dict[int, Exception]]:
        """Ask the destination about the entries that no look has told of yet.

        An import that never ends is over at its bound, with nothing confirmed.

        Where asking meets a defect of ours parts of the import are asked about; returned are also the rows it concerns.
        """
        now = self._clock.now()
        over = now - queued.queued_at > job.destination.import_bound
        account = within(job.account, lambda: seconds_left() >= LAST_CALL)
        told = _Told({True} if queued.ended else set())

        def ask(part: Sequence[int]) -> None:
            asked = OpenImport(
                queued.import_id,
                queued.queued_at,
                now,
                queued.queued if len(part) == len(entries) else None,
                queued.note,
                is_time_left=lambda: seconds_left() >= LAST_CALLS,
            )
            steps = [_step(entries[index]) for index in part]
            told.add(part, job.destination.import_report(account, job.export, asked, steps))

        failed = {index: entry.unread for index, entry in enumerate(entries) if entry.unread is not None}
        rows = [index for index in range(queued.again, len(entries)) if index not in failed]
        try:
            if rows:
                failed |= self._aside.by_parts("report", rows, ask)
            else:
                ask(rows)
        except (Busy, Conflict, ConnectionProblem, ExportProblem):
            raise
        except Exception:
            if not over:
                raise
            told.finished.add(False)
        # When every row meets a defect nobody knows whether the import has ended, unless an earlier look has shown it.
        if over and told.finished != {True}:
            return ImportReport(True, dict.fromkeys(rows, NEVER_ENDED)), failed
        return told.report, failed

    def _settle(
        self,
        job: Job,
        check: CheckImport,
        queued: QueuedImport,
        entries: Sequence[Entry],
        report: ImportReport,
        failed: Mapping[int, Exception],
    ) -> None:
        """Record what is known; what the destination was not asked about yet stays in flight for the next look.

        What is to be sent again waits until all was looked at, so that it goes together. A row that a defect of ours
        concerns, as those in `failed`, is set aside.
        """
        aside = flights.rows_aside(self._database, queued.flight)
        rows = [index for index in range(len(entries)) if entries[index].claim not in aside]
        may_send_again = self._may_send_again(job, queued)
        again = {
            index
            for index in rows
            if index not in failed and (index < queued.again or (may_send_again and index in report.again))
        }
        refused = {**report.refused, **dict.fromkeys(report.again - again, CAME_TO_NOTHING)}
        ended = [index for index in rows if index not in report.open | again]
        concerned = {tag.run for index in ended if (tag := entries[index].run) is not None}

        def settle(part: Sequence[int]) -> None:
            concerned.update(
                self._settling.settle(
                    job.export,
                    queued.flight,
                    [entries[index] for index in part],
                    {place: refused[index] for place, index in enumerate(part) if index in refused},
                    settings=queued.settings,
                    ledger=True,
                    lasts=report.may_come,
                )
            )

        def give_up(index: int) -> None:
            self._settling.set_aside(job.export, queued.flight, entries[index])
            if (tag := entries[index].run) is not None:
                concerned.add(tag.run)

        for index in failed:
            give_up(index)
        told = [index for index in ended if index not in failed]
        failed = {**failed, **self._aside.by_parts("settle", told, settle, give_up)}
        if report.open:
            looks = check.attempt + 1
            pause = REST_PAUSE if ended or len(again) > queued.again else _pause(check)
            self._wakeups.check_import(check.connection, check.export, check.flight, looks, pause)
            seen = replace(
                queued,
                queued=None,
                ended=True,
                note=report.note,
                again=len(again),
                looked_at=self._clock.now(),
                looks=looks,
            )
            self._keep_rest(seen, [entries[index] for index in (*sorted(again), *sorted(report.open))])
        else:
            failed |= self._send_again(job, queued, {index: entries[index] for index in sorted(again)}, give_up)
            flights.forget(self._database, queued.connection, queued.flight)
        self._aside.note(job.export, {entries[index].profile: error for index, error in failed.items()})
        delivered = sum(index not in failed and index not in refused for index in ended)
        rejected = len(failed) + sum(index not in failed and index in refused for index in ended)
        self._observe.info(
            "import settled",
            connection=queued.connection,
            export=job.export.key,
            import_id=queued.import_id,
            delivered=delivered,
            rejected=rejected,
        )
        self._observe.count(Count.DELIVERED, delivered, connection=queued.connection)
        self._observe.count(Count.PROFILES_REJECTED, rejected, connection=queued.connection)
        for run in sorted(concerned):
            self._cursors.finish_if_over(job.export, run)

    def _send_again(
        self, job: Job, queued: QueuedImport, rows: Mapping[int, Entry], give_up: Callable[[int], None]
    ) -> dict[int, Exception]:
        """Have rows of an import that came to nothing sent again; return those that a defect of ours concerns."""

        def release(part: Sequence[int]) -> None:
            self._settling.release(job.export, queued.flight, [rows[index] for index in part])

        failed = self._aside.by_parts("release", rows, release, give_up)
        # A run does not wait for those whom the import was not to count.
        waits: dict[str, str | None] = {}
        for index, entry in rows.items():
            if index not in failed:
                waits[entry.profile] = waits.get(entry.profile) or (None if entry.run is None else entry.run.run)
        for run in {*waits.values()}:
            profiles = sorted(profile for profile, waiting in waits.items() if waiting == run)
            self._cursors.wake(job.export, profiles, run, queued.tries + 1)
        return failed

    def _keep_rest(self, queued: QueuedImport, rest: Sequence[Entry]) -> None:
        """Keep only the rows that are still open; where that meets a defect all stay, and are asked for once more."""
        try:
            flights.record_import(self._database, queued, rest)
        except Problem:
            raise
        except Exception as error:  # noqa: BLE001 - one row's defect must not hold up the import
            self._observe.problem("the rest of an import was not kept", error, connection=queued.connection)
            flights.note_look(self._database, queued, queued.looks, self._clock.now())

    def _may_send_again(self, job: Job, queued: QueuedImport) -> bool:
        """Whether steps of an import that came to nothing are sent again: a few times, while the export acts.

        One that does not stream acts in its runs; what the last run began is brought to its end, unless it was ended.
        """
        if queued.tries + 1 >= MOST_TRIES or not job.export.active:
            return False
        last = None if job.export.stream else runs.newest(self._database, job.export.key)
        return last is None or last.state not in (RunState.CANCELLED, RunState.STOPPED, RunState.REFUSED)

    def _look_later(self, check: CheckImport, queued: QueuedImport, pause: timedelta) -> None:
        later = replace(check, attempt=check.attempt + 1)
        # First: a message lost after the note would be the last of this import for some minutes.
        self._wakeups.check_import(later.connection, later.export, later.flight, later.attempt, pause)
        flights.note_look(self._database, queued, later.attempt, self._clock.now())


def _step(entry: Entry) -> Step:
    return Step(entry.target, entry.identity, entry.joins, entry.at, entry.values)


def _pause(check: CheckImport) -> timedelta:
    return min(FIRST_PAUSE * float(1.5 ** min(check.attempt, 20)), LONGEST_PAUSE)
