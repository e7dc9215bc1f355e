"""The one step everything is made of: claim or release identity records, make the calls they need, record the answers.

The order of writes, and why a crash between any two does no harm, is a table in docs/how-it-works.md:

1. assignments     a pair too many costs a look in vain
2. records         with the call open, each over the version that was read
3. looks, waits    for every record whose next step is somebody else's
4. calls           the message comes back and repeats the identical call, or waits for its deadline
5. answers         or the queued import, whose rows an import check answers
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from relay.breaker.failures import tells_of_destination
from relay.clock import Clock
from relay.destinations.contract import Account, Answer, Step
from relay.domain.assignment import Assignment, MappingRejection, Pair
from relay.domain.identity import (
    CLOCK_MARGIN,
    OUT,
    NotTaken,
    Record,
    Rejected,
    Taken,
    Unclear,
    begin,
    wanted_content,
)
from relay.domain.identity import Answer as Recorded
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import UNCONFIRMED, Conflict, Problem, Transient
from relay.observability import Fields, Observability, during_call
from relay.reconcile.adoption import Adoption
from relay.reconcile.enqueue import Enqueuer
from relay.reconcile.forgetting import Forgetter
from relay.reconcile.handover import Handover
from relay.reconcile.job import Job
from relay.reconcile.pool import Pool, pool_of
from relay.reconcile.recorder import Recorder
from relay.reconcile.survey import Case, Listed, Survey, Surveyor
from relay.reconcile.time_limits import LEAVES_WITHIN, out_of_time, within
from relay.reconcile.visit import Visit, Visitor, ended, visit
from relay.stores import assignments, identities, imports
from relay.stores.database import Database
from relay.stores.identities import Stored
from relay.stores.imports import OpenImport, Row

LOST_RACES: Final = 12
"""How often records are visited again because others wrote them meanwhile, before the message is put back."""

WHOLE_CALLS: Final = 3
"""How often calls are tried as they are; then in quarters, sixteenths and so on, down to one row: one row at which the
destination fails must not hold up the others."""

MOST_FAILING: Final = 3
"""After so many calls that failed nothing more is sent with the message: then it is not a row."""

FIRST_LOOK: Final = timedelta(seconds=10)
"""When a queued import is looked at first: one contact alone was seen to take 6 s."""

FIRST_WAIT: Final = timedelta(minutes=5)
"""How long after a lost call a destination is asked first whether it is over; then it is asked with growing pauses."""


class Call(NamedTuple):
    """Rows that go out together."""

    id: str
    rows: Sequence[Row]

    @property
    def identities(self) -> set[str]:
        """Return the identities that the call is about."""
        return {row.pair.identity for row in self.rows}


class Reconciler:
    """Makes a destination agree with the store; AWS, HTTP and time are behind its collaborators."""

    def __init__(
        self,
        database: Database,
        keyed: KeyedHash,
        clock: Clock,
        enqueuer: Enqueuer,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
        pool: Callable[[int], AbstractContextManager[Pool]] = pool_of,
        observe: Observability | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._enqueuer = enqueuer
        self._new_id = new_id
        self._pool = pool
        self._observe = observe
        self._surveyor = Surveyor(database, keyed, clock)
        self._handover = Handover(database, keyed, clock, enqueuer)
        self._adoption = Adoption(database)
        self.recorder = Recorder(database, clock, enqueuer)
        self._forgetter = Forgetter(database, keyed, clock, self.recorder, new_id)

    def survey(self, job: Job, profile_ids: Sequence[str]) -> Survey:
        """Compare desired with stored state of profiles, given in ascending order (`Surveyor.survey`)."""
        return self._surveyor.survey(job, profile_ids)

    def survey_listed(self, job: Job, listed: Iterable[Listed]) -> Survey:
        """Compare desired with stored state of profiles whose assignments were listed (`Surveyor.survey_listed`)."""
        return self._surveyor.survey_listed(job, listed)

    def look(self, job: Job, profile_ids: Sequence[str]) -> Survey:
        """Survey profiles as `survey`, do what they need, and reduce their assignments. Raises as `reconcile`."""
        survey = self.survey(job, profile_ids)
        self.reconcile(job, survey)
        if job.removes:
            self.reduce(job, survey)
        return survey

    def reconcile(self, job: Job, survey: Survey) -> None:
        """Do what surveyed profiles need; `survey.records` are then as the work left them.

        Raises Transient, ConnectionProblem or ExportProblem when a call failed (what was answered is recorded),
        Conflict when others kept writing or time ran out, StaleSettings when somebody acted under newer settings.
        """
        taken_over = self._handover.hand_over(job, survey.cases)
        for case in survey.cases:
            case.assigned = taken_over.get(case.profile, case.assigned)
        if taken_over:
            handed = {
                key for case in survey.cases if case.survivor is not None for key in self._handover.keys(job, case)
            }
            survey.records |= identities.load(self._database, sorted(handed & survey.records.keys()))
        self._assign(job, survey)
        self._adoption.take_out(job, survey.cases)
        visitors = visitors_of(job, survey.cases)
        waiting = list(visitors)
        for _ in range(LOST_RACES):
            if not waiting:
                return
            queued = self._queued(job, [survey.records[key].record for key in waiting])
            now = self._clock.now()
            visits = [visit(job, key, *visitors[key], survey.records[key].record, now, queued) for key in waiting]
            waiting = self._round(job, survey, visits, queued)
            survey.records |= identities.load(self._database, waiting)
        raise Conflict("contention", "others kept writing the same identity records")

    def reduce(self, job: Job, survey: Survey) -> None:
        """Take out of assignments what is settled: pairs nobody wants whose record names the profile no more.

        What forgotten people are assigned ends as `relay.reconcile.forgetting` says; raises as that.
        """
        writes = []
        for case in survey.cases:
            if case.forgotten is not None:
                self._forgetter.finish(job, case, survey)
                continue
            done = _released(job, case, survey)
            if done & case.assigned.assignment.pairs:
                stored = case.assigned
                rest = stored.assignment._replace(pairs=stored.assignment.pairs - done)
                writes.append(assignments.save(job.export.key, case.profile, rest, stored.version))
        # Whoever was overtaken is left to the next look: a pair too many does no harm.
        self._database.write(writes)

    def _assign(self, job: Job, survey: Survey) -> None:
        """Write what profiles stand for before any record names them."""
        now = self._clock.now()
        changed = {}
        for case in survey.cases:
            assignment = _assignment_of(job, case, survey, now)
            if assignment != case.assigned.assignment:
                changed[case.profile] = case, assignment
        writes = [
            assignments.save(job.export.key, profile, assignment, case.assigned.version)
            for profile, (case, assignment) in changed.items()
        ]
        for (case, assignment), is_written in zip(changed.values(), self._database.write(writes), strict=True):
            if not is_written:
                raise Conflict("assignment", "somebody else wrote the assignment of a profile")
            case.assigned = assignments.Stored(assignment, case.assigned.version + 1)

    def _queued(self, job: Job, records: Iterable[Record]) -> set[str]:
        """Return which of the open calls are queued imports."""
        calls = {record.open.id for record in records if record.open is not None}
        return imports.still_open(self._database, job.export.connection, {call for call in calls if call})

    def _round(self, job: Job, survey: Survey, visits: Sequence[Visit], queued: set[str]) -> list[str]:
        """Write records, make calls, see to the rest; return the keys whose record somebody else wrote meanwhile."""
        visits, asked_at = self._with_what_is_over(job, visits)
        calls, written = self._begin(job, visits)
        changed = {key: record for key, record in written.items() if record != survey.records[key].record}
        now = self._clock.now()
        writes = [identities.save(key, record, survey.records[key].version, now) for key, record in changed.items()]
        lost = set()
        for (key, record), is_written in zip(changed.items(), self._database.write(writes), strict=True):
            if is_written:
                survey.records[key] = Stored(record, survey.records[key].version + 1)
            else:
                lost.add(key)
        sent = {row.key for call in calls for row in call.rows}
        left = {found.key: found.record for found in visits if found.concerns_visitors and found.key not in lost | sent}
        self.recorder.see_to(job.export.connection, left, queued=queued, asked_at=asked_at)
        self._make_calls(job, survey, [Call(c.id, [row for row in c.rows if row.key not in lost]) for c in calls])
        return [found.key for found in visits if found.key in lost]

    def _with_what_is_over(self, job: Job, visits: Sequence[Visit]) -> tuple[Sequence[Visit], Mapping[str, datetime]]:
        """End calls that the destination shows to be over before their deadline; say when it is asked about the others.

        What it does not show now it may show later.
        """
        if not any(found.waits_for_a_call for found in visits):
            return visits, {}
        now = self._clock.now()
        try:
            cleared = job.destination.cleared_before(job.account, now)
        except Transient:
            cleared = None
        if cleared is not None:
            visits = [ended(job, found, cleared) for found in visits]
        still = {found.key: found.record.open for found in visits if found.waits_for_a_call}
        return visits, {key: _asked_next(call.send_by, now) for key, call in still.items() if call is not None}

    def _begin(self, job: Job, visits: Sequence[Visit]) -> tuple[list[Call], dict[str, Record]]:
        """Open calls in the records that are ours to send, and cut the rows into calls."""
        written = {found.key: found.record for found in visits}
        rows = [row for found in visits if (row := self._row(job, found, written)) is not None]
        calls = []
        whole = job.destination.calls(job.account, job.export, list(map(_step, rows))) if rows else ()
        most = max(len(rows) >> 2 * max(job.receives - WHOLE_CALLS, 0), 1)
        for indices in (part[start : start + most] for part in whole for start in range(0, len(part), most)):
            call = Call(self._new_id(), [rows[index] for index in indices])
            for row in call.rows:
                opened = written[row.key].open
                assert opened is not None  # noqa: S101 - `_row` has opened it
                written[row.key] = written[row.key]._replace(open=opened._replace(id=call.id))
            calls.append(call)
        return calls, written

    def _row(self, job: Job, found: Visit, written: dict[str, Record]) -> Row | None:
        """Return what is sent for a record, and open its call in `written`; None when it is not ours to send."""
        sender = found.sender
        if sender is None:
            return None
        bound, send_by = job.destination.lost_answer_bound, job.until + LEAVES_WITHIN
        record = begin(found.record, "", send_by=send_by, bound=bound, at=min(sender.role.at, self._clock.now()))
        content, sent_at = wanted_content(record), record.sent_at
        assert content is not None and sent_at is not None  # noqa: S101, PT018 - `begin` has seen to both
        written[found.key] = record
        case = sender.case
        is_all = len(case.assigned.assignment.pairs) == 1
        values, left = sender.role.values, (record.evidence, record.last_refusal)
        return Row(case.profile, found.key, found.pair, content, sent_at, values, is_all, *left)

    def _make_calls(self, job: Job, survey: Survey, calls: Iterable[Call]) -> None:
        """Make calls, `at_once` of them at the same time, and record each answer.

        After a failure that is more than a row's, or an answer that could not be recorded, no other call begins. Those
        under way end, and are recorded.
        """
        waiting = [call for call in calls if call.rows]
        under_way: list[Call] = []
        failed: list[tuple[Call, Problem]] = []
        stop: Exception | None = None
        account = within(job.account, lambda: self._clock.now() < job.until)
        with self._pool(job.destination.at_once) as pool:
            while True:
                while stop is None and len(under_way) < job.destination.at_once:
                    call = _next(waiting, under_way)
                    if call is None:
                        break
                    waiting.remove(call)
                    under_way.append(call)
                    pool.begin(partial(self._make, job, account, call))
                if not under_way:
                    break
                call, outcome = pool.ended()
                under_way.remove(call)
                self._log(job, survey, call, outcome)
                if isinstance(outcome, Answer):
                    try:
                        self._take(job, survey, call, outcome)
                    except Exception as error:  # noqa: BLE001 - it is raised when the calls beside it are recorded
                        stop = stop or error
                    continue
                if isinstance(outcome, Problem):
                    failed.append((call, outcome))
                if not _may_be_a_row(job, outcome) or len(failed) > MOST_FAILING:
                    stop = stop or outcome
        if isinstance(stop, Problem):
            self._close(job, survey, failed, waiting)
        if stop is not None:
            raise stop
        self._leave_out(job, survey, failed)

    def _make(self, job: Job, account: Account, call: Call) -> tuple[Call, Answer | Exception]:
        """Make one call; return its answer, or why there is none. Several threads may be here."""
        try:
            if self._clock.now() >= job.until:
                raise out_of_time()
            with during_call(call.id):
                return call, job.destination.send(account, job.export, [_step(row) for row in call.rows])
        except Exception as problem:  # noqa: BLE001 - it is raised when the calls beside it have ended
            return call, problem

    def _log(self, job: Job, survey: Survey, call: Call, outcome: Answer | Exception) -> None:
        """Log one line of an attempt: for whom, which requests led to it, and how it ended."""
        if self._observe is None:
            return
        rows = {row.profile for row in call.rows}
        refused = len(outcome.refused) if isinstance(outcome, Answer) else 0
        line = Fields(
            call=call.id,
            export=job.export.key,
            attempt=job.receives,
            outcome=_ended_as(outcome),
            refused=refused,
            profiles=sorted(rows),
            traces=sorted({case.trace for case in survey.cases if case.profile in rows and case.trace is not None}),
        )
        if job.run is not None:
            line["run"] = job.run.run
        self._observe.info("attempt", **line)

    def _leave_out(self, job: Job, survey: Survey, failed: Sequence[tuple[Call, Problem]]) -> None:
        """Leave rows out at which the destination fails, though it is well otherwise; raise where more may be wrong."""
        if not failed:
            return
        _, problem = failed[0]
        try:
            if any(len(call.rows) > 1 for call, _ in failed):
                raise problem
            if survey.answered == 0:
                job.destination.check(job.account, [job.export])
        except Problem:
            self._close(job, survey, failed, [])
            raise
        for call, trouble in failed:
            is_certain = trouble.taken is False
            rejected = Rejected(UNCONFIRMED, job.under, is_certain=is_certain, may_come=not is_certain)
            self._record(job, survey, call, {0: rejected})

    def _close(self, job: Job, survey: Survey, failed: Sequence[tuple[Call, Problem]], unsent: Sequence[Call]) -> None:
        """Close what certainly did nothing, so that other values need not wait, and bound what nobody knows."""
        profiles = {row.profile for call in (*(call for call, _ in failed), *unsent) for row in call.rows}
        over: list[tuple[Call, Recorded]] = [(call, NotTaken()) for call in unsent]
        for call, problem in failed:
            if problem.taken is False:
                over.append((call, NotTaken()))
            elif problem.taken is None and problem.effect_within is not None:
                over.append((call, Unclear(self._clock.now() + problem.effect_within + CLOCK_MARGIN)))
        for call, ending in over:
            self._record(job, survey, call, dict.fromkeys(range(len(call.rows)), ending), besides=profiles)

    def _take(self, job: Job, survey: Survey, call: Call, answer: Answer) -> None:
        survey.answered += 1
        refused: dict[int, Recorded] = {
            index: Rejected(rejection.code, job.under, rejection.is_certain)
            for index, rejection in answer.refused.items()
        }
        if answer.import_id is None:
            taken = {i: Taken(answer.evidence.get(i)) for i in range(len(call.rows)) if i not in refused}
            self._record(job, survey, call, {**taken, **refused})
            return
        # First: a row that the import's record does not name is nobody's once that record is there.
        self._record(job, survey, call, refused)
        now, export = self._clock.now(), job.export
        opened = OpenImport(
            call=call.id,
            connection=export.connection,
            export=export.name,
            under=job.under,
            import_id=answer.import_id,
            queued=answer.queued,
            queued_at=now,
            looked_at=now,
            run=None if job.run is None else job.run.run,
            page=None if job.run is None else job.run.page,
            tries=job.tries,
            trace=job.trace,
        )
        imports.record(self._database, opened, [row for i, row in enumerate(call.rows) if i not in refused])
        self._enqueuer.check_import(export.connection, call.id, 0, FIRST_LOOK)

    def _record(
        self,
        job: Job,
        survey: Survey,
        call: Call,
        answers: Mapping[int, Recorded],
        *,
        besides: Collection[str] = (),
    ) -> None:
        by_key = {call.rows[index].key: answer for index, answer in answers.items()}
        if by_key:
            known = {key: survey.records[key] for key in by_key}
            survey.records |= self.recorder.record(job.export.connection, call.id, by_key, known, besides=besides)


def _ended_as(outcome: Answer | Exception) -> str:
    if isinstance(outcome, Answer):
        return "answered" if outcome.import_id is None else "queued"
    return outcome.code if isinstance(outcome, Problem) else type(outcome).__name__


def _next(waiting: Sequence[Call], under_way: Sequence[Call]) -> Call | None:
    """Return the first call that has no identity in common with one under way, or with one that waits before it."""
    taken = set[str]().union(*(call.identities for call in under_way))
    for call in waiting:
        if taken.isdisjoint(call.identities):
            return call
        taken |= call.identities
    return None


def _may_be_a_row(job: Job, problem: Exception) -> bool:
    """Return whether a problem may be one of a single row, and calls are small enough to find out."""
    is_passing = isinstance(problem, Transient) and problem.retry_after is None and tells_of_destination(problem)
    return is_passing and job.receives > WHOLE_CALLS


def _asked_next(send_by: datetime, now: datetime) -> datetime:
    """Return when a destination is asked next whether a call is over.

    The pauses grow with the age of the call. They are the same for whoever waits for it, so that all waits are one.
    """
    pause = FIRST_WAIT
    while send_by + pause <= now:
        pause *= 1.5
    return send_by + pause


def _assignment_of(job: Job, case: Case, survey: Survey, now: datetime) -> Assignment:
    """Return what an assignment has to say before the profile's records are visited.

    The DELIVER phase of a run takes out what is released. Then whoever is assigned in vain in REMOVE is one of those
    who were counted as leaving, also when a page is done once more after it has taken them out.
    """
    old = case.assigned.assignment
    if case.survivor is not None:
        return old
    assignment = old
    wanted = {member.pair for member in case.members.values()} if job.claims else set[Pair]()
    wanted |= case.adopted
    if job.run is not None and job.claims and case.forgotten is None:
        gone = _released(job, case, survey)
        wanted -= gone
        assignment = old = old._replace(pairs=old.pairs - gone)
    if not old.pairs >= wanted or (old.pairs and old.settings < job.export.version and case.verdict is None):
        assignment = old.grown(wanted, job.export.version, now)
    return assignment._replace(rejection=_rejection_of(case, now))


def _released(job: Job, case: Case, survey: Survey) -> set[Pair]:
    """Return the pairs that a profile does not want and has nothing to release of."""
    return {
        leaver.pair
        for key, leaver in case.unwanted.items()
        if job.has_released(case.profile, leaver.pair, survey.records[key].record)
    }


def _rejection_of(case: Case, now: datetime) -> MappingRejection | None:
    old, new = case.assigned.assignment.rejection, case.rejection
    if new is None:
        return old if case.verdict is not None else None
    if old is not None and (old.kind, old.code) == (new.kind, new.code):
        return old
    return MappingRejection(new.kind, new.code, now)


def visitors_of(job: Job, cases: Iterable[Case]) -> dict[str, tuple[Pair, list[Visitor]]]:
    """Return who visits which record of a job, in the order of the profiles: the smallest comes first and wins."""
    found: dict[str, tuple[Pair, list[Visitor]]] = {}
    for case in sorted(cases, key=lambda case: case.profile):
        for key, member in case.members.items() if job.claims else ():
            found.setdefault(key, (member.pair, []))[1].append(Visitor(case, member))
        for key, leaver in case.unwanted.items() if job.removes else ():
            found.setdefault(key, (leaver.pair, []))[1].append(Visitor(case, leaver))
    return found


def _step(row: Row) -> Step:
    joins = row.content is not OUT
    return Step(row.pair.target, row.pair.identity, joins, row.at, row.values, row.evidence, row.last_refusal)
