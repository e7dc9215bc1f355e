"""The one step everything is made of: claim or release identity records, make the calls they need, record the answers.

The order of writes, and why a crash between any two does no harm, is a table in docs/how-it-works.md:

1. assignments     a pair too many costs a look in vain
2. records         with the call open, each over the version that was read
3. calls           the message comes back and repeats the identical call, or waits for its deadline
4. answers         or the queued import, whose rows an import check answers
5. looks, waits    for every record whose next step is somebody else's
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from relay.clock import Clock
from relay.destinations.contract import Answer, Step
from relay.domain.identity import OUT, Do, NotTaken, Record, Rejected, Taken, begin, lapse, wanted_content
from relay.domain.identity import Answer as Recorded
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import Conflict, Problem, Rejection, Transient
from relay.reconcile.desired import Member
from relay.reconcile.job import Job
from relay.reconcile.recording import Recorder
from relay.reconcile.survey import Case, Survey, Surveyor
from relay.reconcile.visit import Visit, Visitor, step_of, visit
from relay.reconcile.waking import Waking
from relay.stores import assignments, identities, imports
from relay.stores.database import Database
from relay.stores.identities import Stored
from relay.stores.imports import OpenImport, Row

LOST_RACES = 12
"""How often records are visited again because others wrote them meanwhile, before the message is put back."""

FIRST_LOOK = timedelta(seconds=10)
"""When a queued import is looked at first: one contact alone was seen to take 6 s."""

OUT_OF_TIME = "out_of_time"
"""The code of calls that were not begun because the function's time is nearly over."""


class Call(NamedTuple):
    """Rows that go out together, and their records as they are written with the call open."""

    id: str
    rows: Sequence[Row]


class Reconciler:
    """Makes a destination agree with the store; AWS, HTTP and time are behind its collaborators."""

    def __init__(
        self,
        database: Database,
        keyed: KeyedHash,
        clock: Clock,
        waking: Waking,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._database = database
        self._clock = clock
        self._waking = waking
        self._new_id = new_id
        self._surveyor = Surveyor(database, keyed, clock)
        self.recorder = Recorder(database, clock, waking)

    def survey(
        self, job: Job, profile_ids: Sequence[str], assigned: Mapping[str, assignments.Stored] | None = None
    ) -> Survey:
        """Compare desired with stored state of profiles, given in ascending order (`Surveyor.survey`)."""
        return self._surveyor.survey(job, profile_ids, assigned)

    def reconcile(self, job: Job, survey: Survey) -> None:
        """Do what surveyed profiles need; `survey.records` are then as the work left them.

        Raises Transient, ConnectionProblem or ExportProblem when a call failed (what was answered is recorded), Conflict
        when others kept writing or time ran out, StaleSettings when somebody acted under newer settings.
        """
        self._assign(job, survey)
        visitors = _visitors(job, survey.cases)
        waiting = list(visitors)
        for _ in range(LOST_RACES):
            if not waiting:
                return
            now = self._clock.now()
            visits = [visit(job, key, *visitors[key], survey.records[key], now) for key in waiting]
            visits = self._with_what_is_over(job, self._without_queued(job, visits), now)
            waiting = self._round(job, survey, visits)
            survey.records |= identities.load(self._database, waiting)
        raise Conflict("contention", "others kept writing the same identity records")

    def reduce(self, job: Job, survey: Survey) -> None:
        """Take out of assignments what is settled: pairs nobody wants whose record names the profile no more."""
        writes = []
        for case in survey.cases:
            stored = case.assigned
            named = {key for key in case.unwanted if survey.records[key].record.names(case.profile)}
            done = [leaver.pair for key, leaver in case.unwanted.items() if key not in named]
            if done:
                rest = stored.assignment._replace(pairs=stored.assignment.pairs.difference(done))
                writes.append(assignments.save(job.export.key, case.profile, rest, stored.version))
        # Who was overtaken is left to the next look: a pair too many does no harm.
        self._database.write(writes)

    def _assign(self, job: Job, survey: Survey) -> None:
        """Write what profiles stand for before any record names them."""
        now = self._clock.now()
        changed = {}
        for case in survey.cases:
            assignment = _assignment_of(job, case, now)
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

    def _without_queued(self, job: Job, visits: list[Visit]) -> list[Visit]:
        """An open call that is a queued import is not made again, and needs no wait: its check answers it."""
        calls = {v.record.open.id for v in visits if v.record.open is not None and v.step.do in (Do.SEND, Do.WAIT)}
        open_imports = imports.still_open(self._database, job.export.connection, {call for call in calls if call})
        if not open_imports:
            return visits
        return [v._replace(is_queued=v.record.open is not None and v.record.open.id in open_imports) for v in visits]

    def _with_what_is_over(self, job: Job, visits: list[Visit], now: datetime) -> list[Visit]:
        """End calls that the destination shows to be over before their deadline."""
        lost = [v for v in visits if v.step.do is Do.WAIT and v.record.open is not None and not v.is_queued]
        if not lost:
            return visits
        try:
            cleared = job.destination.cleared_before(job.account, now)
        except Transient:
            cleared = None
        if cleared is None:
            return visits
        return [self._ended(job, v, cleared, now) if v in lost else v for v in visits]

    def _ended(self, job: Job, found: Visit, cleared: datetime, now: datetime) -> Visit:
        call = found.record.open
        if call is None or call.send_by > cleared:
            return found
        record = lapse(found.record, call.deadline)
        return found._replace(record=record, step=step_of(job, record, now))

    def _round(self, job: Job, survey: Survey, visits: Sequence[Visit]) -> list[str]:
        """Write records, make calls, see to the rest; return the keys whose record somebody else wrote meanwhile."""
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
        left = {v.key: v.record for v in visits if v.key not in lost | sent and not v.is_queued}
        self.recorder.see_to(job.export.connection, left, asks_again=job.destination.asks_again)
        self._make_calls(job, survey, [Call(c.id, [row for row in c.rows if row.key not in lost]) for c in calls])
        return [v.key for v in visits if v.key in lost]

    def _begin(self, job: Job, visits: Sequence[Visit]) -> tuple[list[Call], dict[str, Record]]:
        """Open calls in the records that are ours to send, and cut the rows into calls."""
        written = {v.key: v.record for v in visits}
        rows: list[Row] = []
        for found in visits:
            sender = found.sender
            if found.step.do is not Do.SEND or found.is_queued or sender is None:
                continue
            bound = job.destination.lost_answer_bound
            record = begin(found.record, "", send_by=job.until, bound=bound, at=min(sender.role.at, self._clock.now()))
            written[found.key] = record
            values = sender.role.values if isinstance(sender.role, Member) else {}
            content, told_at = wanted_content(record), record.told_at
            assert content is not None  # noqa: S101 - begin has seen to both
            assert told_at is not None  # noqa: S101
            rows.append(Row(sender.case.profile, found.key, found.pair, content, told_at, values, record.evidence))
        steps = [_step(row) for row in rows]
        calls = []
        for indices in job.destination.calls(job.account, job.export, steps) if steps else ():
            call = Call(self._new_id(), [rows[index] for index in indices])
            for row in call.rows:
                opened = written[row.key]
                assert opened.open is not None  # noqa: S101 - opened above
                written[row.key] = opened._replace(open=opened.open._replace(id=call.id))
            calls.append(call)
        return calls, written

    def _make_calls(self, job: Job, survey: Survey, calls: Iterable[Call]) -> None:
        waiting = [call for call in calls if call.rows]
        while waiting:
            try:
                if self._clock.now() >= job.until:
                    raise Conflict(OUT_OF_TIME, "the function's time is nearly over; the rest is sent in its next one")
                answer = job.destination.send(job.account, job.export, [_step(row) for row in waiting[0].rows])
            except Problem as problem:
                # What nobody knows stays open; what certainly did nothing is closed, so that other values need not wait.
                for call in waiting if problem.taken is False else waiting[1:]:
                    self._record(job, survey, call, dict.fromkeys(range(len(call.rows)), NotTaken()))
                raise
            call = waiting.pop(0)
            self._take(job, survey, call, answer)

    def _take(self, job: Job, survey: Survey, call: Call, answer: Answer) -> None:
        refused: dict[int, Recorded] = {
            index: Rejected(rejection.kind, rejection.code, job.under, rejection.is_certain)
            for index, rejection in answer.refused.items()
        }
        if answer.import_id is None:
            taken = {i: Taken(answer.memos.get(i)) for i in range(len(call.rows)) if i not in refused}
            self._record(job, survey, call, {**taken, **refused})
            return
        now, export = self._clock.now(), job.export
        run = None if job.run is None else job.run.run
        opened = OpenImport(
            call.id, export.connection, export.name, answer.import_id, answer.queued, now, now, run=run
        )
        imports.record(self._database, opened, [row for i, row in enumerate(call.rows) if i not in refused])
        self._waking.check_import(export.connection, call.id, 0, FIRST_LOOK)
        self._record(job, survey, call, refused)

    def _record(self, job: Job, survey: Survey, call: Call, answers: Mapping[int, Recorded]) -> None:
        by_key = {call.rows[index].key: answer for index, answer in answers.items()}
        if by_key:
            known = {key: survey.records[key] for key in by_key}
            survey.records |= self.recorder.record(job.export.connection, call.id, by_key, known)


def _assignment_of(job: Job, case: Case, now: datetime) -> assignments.Assignment:
    """Return what an assignment has to say before the profile's records are visited."""
    old = case.assigned.assignment
    assignment = old
    wanted = [member.pair for member in case.members.values()]
    if not old.pairs.issuperset(wanted) or (old.pairs and old.settings < job.export.version and case.verdict is None):
        assignment = old.grown(wanted, job.export.version, now)
    return assignment._replace(rejection=_rejection_of(case, now))


def _rejection_of(case: Case, now: datetime) -> assignments.MappingRejection | None:
    old, new = case.assigned.assignment.rejection, case.rejection
    if new is None:
        return old if case.verdict is not None else None
    if old is not None and (old.kind, old.code) == (new.kind, new.code):
        return old
    return assignments.MappingRejection(new.kind, new.code, now)


def _visitors(job: Job, cases: Iterable[Case]) -> dict[str, tuple[assignments.Pair, list[Visitor]]]:
    """Return who visits which record, in the order of the profiles: the smallest comes first and wins."""
    found: dict[str, tuple[assignments.Pair, list[Visitor]]] = {}
    claims = job.run is None or not job.run.is_second
    for case in sorted(cases, key=lambda case: case.profile):
        for key, member in case.members.items() if claims else ():
            found.setdefault(key, (member.pair, []))[1].append(Visitor(case, member))
        for key, leaver in case.unwanted.items() if job.removes else ():
            found.setdefault(key, (leaver.pair, []))[1].append(Visitor(case, leaver))
    return found


def _step(row: Row) -> Step:
    joins = row.content is not OUT
    return Step(row.pair.target, row.pair.identity, joins, row.at, row.values, row.evidence)
