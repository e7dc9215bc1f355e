"""The Checks queue: what became of asynchronous imports, and of what ended as unconfirmed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from relay.breaker import failures
from relay.breaker.accounts import Accounts
from relay.breaker.failures import Do, Paused, Stopped
from relay.breaker.stops import Stops
from relay.clock import Clock
from relay.destinations import contract
from relay.destinations.contract import Account, ImportReport, Step
from relay.domain.exports import Export
from relay.domain.identity import OUT, Answer, Record, Rejected, Taken, Unclear
from relay.domain.keyed_hash import KeyedHash
from relay.domain.ledger import Column
from relay.domain.problems import (
    DEFECT,
    UNCONFIRMED,
    Busy,
    ConnectionProblem,
    ExportProblem,
    Problem,
    Rejection,
    RejectionKind,
    SettingsProblem,
    Transient,
)
from relay.domain.runs import CUT_SHORT
from relay.messages import CheckImport, Confirm, from_json
from relay.observability import Count, Observability, during_call
from relay.queues import Received
from relay.reconcile.confirmation import Confirmation
from relay.reconcile.enqueue import LONGEST_DELAY, Enqueuer
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.set_aside import SetAside
from relay.reconcile.time_limits import within
from relay.runs.ending import Ending
from relay.runs.settlement import Settlement
from relay.settings.names import UnknownConnection, UnknownExport
from relay.stores import attempts, breakers, imports, runs, waits
from relay.stores.breakers import Breaker
from relay.stores.database import Database
from relay.stores.identities import Stored
from relay.stores.imports import OpenImport, Row
from relay.stores.waits import IdentityWait
from relay.workers.consumer import RetryLater
from relay.workers.opening import Opener
from relay.workers.traced import Traced, came_to

ENOUGH_TIME: Final = 45.0
"""Seconds a look must have left of the function's time-out to begin."""

FUNCTION: Final = "import checks"
"""What the function is called in traces."""

LAST_CALLS: Final = 30.0
"""Seconds that must be left for one more contact to be looked up; the rest is left to the next look."""

LAST_CALL: Final = 15.0
"""Seconds that must be left for one more call about a contact."""

MOST_TRIES: Final = 3
"""How often a row is sent in imports that come to nothing, before it ends as unconfirmed."""

FIRST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(minutes=5)
REST_PAUSE: Final = timedelta(seconds=2)
"""Between looks at parts of one import, so that others who talk to the account get their turn."""

ORPHANED: Final = timedelta(days=1)
"""How long an import whose export is gone is taken to be open: the export may be made again."""

CAME_TO_NOTHING: Final = Rejection(
    RejectionKind.DESTINATION,
    UNCONFIRMED,
    "the destination's import of the contact failed or was interrupted; it is tried again by a later run",
    is_certain=False,
)

NEVER_ENDED: Final = Rejection(
    RejectionKind.DESTINATION,
    UNCONFIRMED,
    "the destination never said whether it took the contact; it is tried again by a later run",
    is_certain=False,
)


@dataclass(slots=True)
class _Found:
    """What a look has brought, by the places of rows; those in `failed` met a defect of ours.

    `unreadable` are profiles whose rows could not even be read: their calls stay open until their deadline.
    """

    finished: set[bool] = field(default_factory=set)
    refused: dict[int, Rejection] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    failed: Mapping[int, Exception] = field(default_factory=dict)
    unreadable: Mapping[str, Exception] = field(default_factory=dict)
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
    def is_finished(self) -> bool:
        """Return whether every part of the import was reported to have ended."""
        return self.finished == {True}


class ImportChecker:
    """Looks at queued imports until they end, and at what ended as unconfirmed."""

    def __init__(
        self,
        database: Database,
        opener: Opener,
        accounts: Accounts,
        keyed: KeyedHash,
        reconciler: Reconciler,
        confirmation: Confirmation,
        settlement: Settlement,
        ending: Ending,
        enqueuer: Enqueuer,
        aside: SetAside,
        stops: Stops,
        clock: Clock,
        retry_later: RetryLater,
        observe: Observability,
    ) -> None:
        self._database = database
        self._opener = opener
        self._accounts = accounts
        self._keyed = keyed
        self._recorder = reconciler.recorder
        self._confirmation = confirmation
        self._settlement = settlement
        self._ending = ending
        self._enqueuer = enqueuer
        self._aside = aside
        self._stops = stops
        self._clock = clock
        self._retry_later = retry_later
        self._observe = observe

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
            elif isinstance(task, Confirm):
                self._confirm(task, seconds_left)
            else:
                raise ValueError("a message of another queue")
        except Problem as problem:
            row = failures.row_for(problem, receives=1)
            pause = failures.pause_before_retry(row.do, message.receive_count, _retry_after(problem))
            self._observe.problem("try again", problem, attempt=message.receive_count)
            self._retry_later(message.receipt_handle, pause.total_seconds())
            return False
        except Exception as error:  # noqa: BLE001 - a defect must harm only its own message, and be seen
            self._observe.problem("defect", error, message_id=message.id)
            attempts.note(self._database, self._observe, [message], error, self._clock.now())
            return False
        return True

    def _check(self, check: CheckImport, seconds_left: Callable[[], float]) -> None:
        """Look at an import that is still open, unless that was done already: a message may have a double."""
        opened = imports.load(self._database, check.connection, check.call)
        if opened is not None and check.number >= opened.number:
            self._look(check, opened, seconds_left)

    def _confirm(self, task: Confirm, seconds_left: Callable[[], float]) -> None:
        """Look at contacts that ended as unconfirmed. Trouble stops nothing: runs send them again anyway."""
        until = self._clock.now() + timedelta(seconds=seconds_left() - LAST_CALLS)
        try:
            opened = self._opener.open(f"{task.connection}/{task.export}", at_least=task.settings, until=until)
        except (SettingsProblem, ExportProblem, Stopped, Paused):
            return
        job, found = opened.job, 0

        def confirm(part: Sequence[str]) -> None:
            nonlocal found
            try:
                found += self._confirmation.confirm(job, part)
            except Busy:
                raise
            except (Transient, ConnectionProblem, ExportProblem) as problem:
                self._observe.problem("unconfirmed contacts not looked at", problem, export=job.export.key)

        self._aside.note(job.export.key, self._aside.by_halves(task.profiles, confirm))
        self._observe.info("unconfirmed contacts looked at", export=job.export.key, delivered=found)

    def _look(
        self, check: CheckImport, opened: OpenImport, seconds_left: Callable[[], float], *, fresh: bool = False
    ) -> None:
        """Look at an import and decide when to look again; trouble of the destination burns no receives."""
        settings = self._opener.settings
        try:
            export = settings.export(f"{opened.connection}/{opened.export}")
            connection = settings.connection(opened.connection, fresh=fresh)
        except (UnknownExport, UnknownConnection):
            self._keep_or_forget(check, opened)
            return
        except SettingsProblem:
            self._look_later(check, opened, LONGEST_DELAY)
            return
        breaker = breakers.load_one(self._database, opened.connection, None)
        if breaker.stop is not None:
            self._look_later(check, opened, LONGEST_DELAY)
            return
        account, _ = self._accounts.open(connection)
        traced = Traced(opened.trace, FUNCTION)
        account = traced.recorded(self._database, self._clock, account)
        unreadable: dict[str, Exception] = {}
        rows = imports.rows(self._database, self._keyed, opened, unreadable)
        try:
            given = self._ask(export, account, opened, rows, seconds_left)
        except Busy:
            raise
        except ConnectionProblem as problem:
            self._trace(traced, problem.code)
            if not fresh and self._stops.has_new_secret(connection):
                self._look(check, opened, seconds_left, fresh=True)
            else:
                self._react(check, opened, breaker, problem)
        except (Transient, ExportProblem) as problem:
            self._trace(traced, problem.code)
            self._react(check, opened, breaker, problem)
        else:
            breakers.note_success(self._database, breaker)
            if given.is_finished:
                given.unreadable = unreadable
                self._settle(export, check, opened, rows, given, traced)
            else:
                self._look_later(check, opened, _pause(check))
                self._trace(traced, Column.OUTSTANDING)

    def _trace(self, traced: Traced, outcome: str) -> None:
        traced.keep(self._database, self._clock, self._observe, outcome)

    def _react(self, check: CheckImport, opened: OpenImport, breaker: Breaker, problem: Problem) -> None:
        """Do what the table of failures says of the account or the export; the import is looked at later."""
        self._observe.problem("import check failed", problem, connection=opened.connection)
        failing = timedelta()
        if failures.tells_of_destination(problem):
            failing = breakers.note_failure(self._database, breaker, self._clock.now())
        do = failures.row_for(problem, failing=failing).do
        if do in (Do.STOP_CONNECTION, Do.STOP_EXPORT):
            export = None if do is Do.STOP_CONNECTION else opened.export
            self._stops.stop(opened.connection, export, problem)
            self._look_later(check, opened, LONGEST_DELAY)
        else:
            self._look_later(check, opened, max(_pause(check), _retry_after(problem) or timedelta()))

    def _keep_or_forget(self, check: CheckImport, opened: OpenImport) -> None:
        """Without its export an import cannot be asked about; its calls stay open while it may still arrive."""
        if self._clock.now() - opened.queued_at < ORPHANED:
            self._look_later(check, opened, LONGEST_DELAY)
            return
        imports.end(self._database, opened)

    def _ask(
        self,
        export: Export,
        account: Account,
        opened: OpenImport,
        rows: Sequence[Row],
        seconds_left: Callable[[], float],
    ) -> _Found:
        """Ask the destination about the rows that no look has settled yet, in halves where that meets a defect.

        An import that never ends is over at its bound, with nothing confirmed.
        """
        destination = self._opener.destinations(export.destination)
        account = within(account, lambda: seconds_left() >= LAST_CALL)
        now = self._clock.now()
        is_over = now - opened.queued_at > destination.import_bound
        asked = range(opened.again, len(rows))
        given = _Found()

        def ask(part: Sequence[int]) -> None:
            steps = [_step(rows[index]) for index in part]
            contacts = opened.queued if len(part) == len(asked) else None
            question = contract.OpenImport(
                opened.import_id,
                opened.queued_at,
                now,
                contacts,
                opened.note,
                is_time_left=lambda: seconds_left() >= LAST_CALLS,
            )
            with during_call(opened.call):
                given.add(part, destination.import_report(account, export, question, steps))

        try:
            if asked:
                given.failed = self._by_halves(rows, asked, ask)
            else:
                ask(asked)
        except (Busy, ConnectionProblem, ExportProblem):
            raise
        except Exception:  # once its time is over, nothing that is wrong with an answer may keep an import open
            if not is_over:
                raise
            return _never_ended(asked)
        # While every row met a defect nobody knows whether the import has ended.
        return _never_ended(asked) if is_over and not given.is_finished else given

    def _settle(
        self,
        export: Export,
        check: CheckImport,
        opened: OpenImport,
        rows: Sequence[Row],
        given: _Found,
        traced: Traced,
    ) -> None:
        """Record what is known; what the destination was not asked about yet stays open for the next look.

        What is to be sent again waits until all was looked at, so that it goes together.
        """
        again = given.again if given.again and self._may_send_again(export, opened) else set[int]()
        refused = {**given.refused, **dict.fromkeys(given.again - again, CAME_TO_NOTHING)}
        answers: dict[int, Answer] = {}
        for index in range(opened.again, len(rows)):
            if index in given.open or index in again or index in given.failed:
                continue
            rejection = refused.get(index)
            answers[index] = (
                Taken()
                if rejection is None
                else Rejected(rejection.code, opened.under, rejection.is_certain, given.may_come)
            )
        known, failed = self._record(opened, rows, answers)
        failed = {**given.failed, **failed}
        aside = {**given.unreadable, **self._left_open(export, opened, rows, failed)}
        self._aside.note(export.key, aside)
        if opened.run is not None and opened.page is not None:
            answered = [rows[index] for index in answers if index not in failed]
            self._count(opened.run, opened.page, answered, known, list(aside))
        to_send = [*rows[: opened.again], *(rows[index] for index in sorted(again))]
        codes = Counter(refused[index].code for index in refused.keys() & answers.keys())
        codes += Counter({DEFECT: len(failed)})
        ended = len(answers) + len(failed)
        if traced.trace is not None:
            # Before the import ends: whoever waits for it finds this attempt then.
            self._trace(traced, came_to(_counts(rows, ended, codes, len(given.open) + len(again))))
        if given.open:
            rest = [*to_send, *(rows[index] for index in sorted(given.open))]
            pause = REST_PAUSE if answers or again else _pause(check)
            number = check.number + 1
            self._enqueuer.check_import(check.connection, check.call, number, pause)
            seen = replace(
                opened, queued=None, note=given.note, again=len(to_send), looked_at=self._clock.now(), number=number
            )
            imports.leave_open(self._database, seen, rest)
        else:
            over = dict.fromkeys((*range(opened.again), *sorted(again)), Unclear(self._clock.now()))
            _, lost = self._record(opened, rows, over, tries=opened.tries + 1)
            self._aside.note(export.key, self._left_open(export, opened, rows, lost))
            imports.end(self._database, opened)
        self._tell(export, opened, ended, codes)
        if opened.run is not None:
            self._ending.go_on_if_over(export, opened.run)

    def _left_open(
        self, export: Export, opened: OpenImport, rows: Sequence[Row], failed: Mapping[int, Exception]
    ) -> dict[str, Exception]:
        """Have rows looked at that met a defect, when their calls can take no effect any more; return it by profile."""
        if failed:
            # Whoever may not be able to read the records need not know until when exactly.
            due = opened.queued_at + self._opener.destinations(export.destination).lost_answer_bound + LONGEST_DELAY
            waits.put(self._database, [IdentityWait(due, opened.connection, rows[index].key) for index in failed])
        return {rows[index].profile: error for index, error in failed.items()}

    def _record(
        self, opened: OpenImport, rows: Sequence[Row], answers: Mapping[int, Answer], *, tries: int = 0
    ) -> tuple[dict[str, Stored], dict[int, Exception]]:
        """Record answers by rows; return the records by key, and the rows that met a defect."""
        known: dict[str, Stored] = {}

        def record(part: Sequence[int]) -> None:
            by_key = {rows[index].key: answers[index] for index in part}
            known.update(self._recorder.record(opened.connection, opened.call, by_key, tries=tries))

        return known, self._by_halves(rows, sorted(answers), record)

    def _by_halves(
        self, rows: Sequence[Row], indices: Sequence[int], attempt: Callable[[Sequence[int]], None]
    ) -> dict[int, Exception]:
        """Do `attempt` for rows as `SetAside.by_halves`, which counts them by their records."""
        places = {rows[index].key: index for index in indices}
        failed = self._aside.by_halves(list(places), lambda keys: attempt([places[key] for key in keys]))
        return {places[key]: error for key, error in failed.items()}

    def _count(
        self, run: str, page: str, rows: Iterable[Row], known: Mapping[str, Stored], aside: Sequence[str]
    ) -> None:
        """Move profiles in the ledger of the run that counts them as outstanding."""
        whole: dict[str, dict[str, Record]] = {}
        partly = set()
        for row in rows:
            if row.is_all:
                whole[row.profile] = {row.key: known[row.key].record}
            else:
                partly.add(row.profile)
        self._settlement.answered(run, page, whole, sorted(partly), aside)

    def _tell(self, export: Export, opened: OpenImport, ended: int, codes: Counter[str]) -> None:
        rejected = codes.total()
        self._observe.info(
            "import settled",
            connection=opened.connection,
            export=export.key,
            import_id=opened.import_id,
            call=opened.call,
            delivered=ended - rejected,
            rejected=rejected,
        )
        self._observe.count(Count.DELIVERED, ended - rejected, connection=opened.connection)
        self._observe.count(Count.PROFILES_REJECTED, rejected, connection=opened.connection)
        for code, number in codes.items():
            self._observe.count(Count.REJECTIONS, number, connection=opened.connection, outcome=code)

    def _may_send_again(self, export: Export, opened: OpenImport) -> bool:
        """Return whether rows of an import that came to nothing are sent again: a few times, while the export acts.

        One that does not stream acts in its runs; what the last run began is brought to its end, unless it was ended.
        """
        if opened.tries + 1 >= MOST_TRIES or not export.active:
            return False
        last = None if export.stream else runs.current(self._database, export.key)
        return last is None or last.state not in CUT_SHORT

    def _look_later(self, check: CheckImport, opened: OpenImport, pause: timedelta) -> None:
        # First: a message lost after the note would be the last of this import for some minutes.
        self._enqueuer.check_import(check.connection, check.call, check.number + 1, pause)
        imports.note_look(self._database, opened, check.number + 1, self._clock.now())


def _retry_after(problem: Problem) -> timedelta | None:
    return problem.retry_after if isinstance(problem, Transient) else None


def _never_ended(asked: Sequence[int]) -> _Found:
    return _Found({True}, dict.fromkeys(asked, NEVER_ENDED))


def _step(row: Row) -> Step:
    return Step(*row.pair, row.content is not OUT, row.at, row.values)


def _counts(rows: Sequence[Row], ended: int, codes: Counter[str], still_open: int) -> dict[str, int]:
    """Return how many members among rows came to what, as a run counts them."""
    if all(row.content is OUT for row in rows):
        return {}
    rejected = codes.total()
    by_code = {f"{Column.REJECTED}:{code}": number for code, number in codes.items()}
    by_column = {Column.DELIVERED: ended - rejected, Column.REJECTED: rejected, Column.OUTSTANDING: still_open}
    return {**{str(column): number for column, number in by_column.items()}, **by_code}


def _pause(check: CheckImport) -> timedelta:
    return min(FIRST_PAUSE * float(1.5 ** min(check.number, 20)), LONGEST_PAUSE)
