"""Plans: what a run would do if it began now. They read what a run reads, write nothing and call nobody.

A plan comes in pages, each of as many profiles as there is time for. No state is kept: whoever asks adds the counts up
and hands the place back where a page ended. So two new profiles with one identity that are not of the same page both
count as joining; in a run one of them is a duplicate.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from relay.clock import Clock
from relay.domain import ledger
from relay.domain.exports import Export
from relay.domain.identity import OUT, Do, wanted_content
from relay.domain.keyed_hash import BUCKETS
from relay.domain.ledger import Column
from relay.domain.problems import DEFECT, UNCONFIRMED, Problem
from relay.reconcile.job import Job
from relay.reconcile.reconciler import visitors_of
from relay.reconcile.survey import Case, Listed, Survey, Surveyor
from relay.reconcile.visit import Visit, visit
from relay.runs.cancelled import cancelled_before
from relay.runs.candidates import Candidates
from relay.runs.leaving import counts_of, leaving_of, was_assigned
from relay.stores import breakers, imports, segments
from relay.stores.database import Database
from relay.stores.identities import Stored
from relay.workers.opening import Opener

WORKS_FOR: Final = timedelta(seconds=15)
"""How long one page works; what it has begun then it ends."""

MOST: Final = 20_000
"""The most profiles of one page."""

CHUNK: Final = 250
"""Profiles surveyed at a time."""


class Kind(StrEnum):
    """What a run would do with a member, the most telling first where its identities differ."""

    WAITING = "waiting"
    """An earlier call has to end first."""
    REJECTED = "rejected"
    """The mapping rejects it, or the destination has refused it with these values under these settings."""
    JOIN = "join"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"


_RANKS: Final = {kind: rank for rank, kind in enumerate(Kind)}

LEAVE: Final = "leave"


@dataclass(slots=True)
class Plan:
    """One page of a plan.

    `counts` are `selected`, one for each `Kind`, `rejected:<code>`, `warning:<code>`, `assigned` (before), and `leave`:
    of how many the guard of a run would say that they leave. `cancelled` is the run that somebody cancelled while it
    took leavers out: another one waits for a confirmation if anybody leaves. A profile whose identity changes counts in
    `leave` besides. `first` are the first ids of those who join, change and leave, `first_rejected` come with their
    code. `after` is where the next page goes on, None at the end.
    """

    export: Export
    passed_guard: bool
    cancelled: str | None
    obstacles: Sequence[str]
    counts: Counter[str] = field(default_factory=Counter)
    first: Mapping[str, list[str]] = field(default_factory=lambda: {Kind.JOIN: [], Kind.CHANGE: [], LEAVE: []})
    first_rejected: list[tuple[str, str]] = field(default_factory=list)
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes plans."""

    database: Database
    opener: Opener
    surveyor: Surveyor
    clock: Clock
    most: int = MOST

    def plan(self, key: str, after: str = "", *, first: int = 20) -> Plan:
        """Return the page of a plan that begins after a profile id, with so many ids of each kind.

        Raises SettingsProblem (unknown or invalid export), ExportProblem when a target belongs to another export,
        StaleSettings when somebody acts under newer settings.
        """
        until = self.clock.now() + WORKS_FOR
        job = self.opener.as_if(key, until=until)
        breaker = breakers.load_one(self.database, job.export.connection, job.export.name)
        cancelled = cancelled_before(self.database, key)
        plan = Plan(
            job.export,
            breaker.passed == job.export.version,
            None if cancelled is None else cancelled.id,
            list(self._obstacles(job.export)),
        )
        former = sorted(set().union(*job.adopts.values()))
        listing = Candidates(self.database).all(job.export, range(BUCKETS), after, former=former)
        page = _Page(self.database, self.surveyor, job, plan, first, self.clock.now())
        seen = 0
        while chunk := list(islice(listing, CHUNK)):
            if seen and (seen >= self.most or self.clock.now() >= until):
                plan.after = page.after
                break
            seen += len(chunk)
            rest: Sequence[Listed] = chunk
            while rest:
                rest = page.add(rest)
        return plan

    def _obstacles(self, export: Export) -> Iterable[str]:
        """Yield what would keep a run from starting now."""
        if not export.active:
            yield "the export is paused"
        for breaker in breakers.load(self.database, export.connection, export.name):
            if breaker.stop is not None:
                yield f"{breaker.subject} is stopped ({breaker.stop.code}: {breaker.stop.reason})"
        unseen = sorted(set(export.segments) - segments.known(self.database, export.segments))
        if unseen:
            yield f"segments never seen: {', '.join(unseen)}"


class _Page:
    """Adds profiles to a page of a plan, in ascending order."""

    def __init__(self, database: Database, surveyor: Surveyor, job: Job, plan: Plan, first: int, now: datetime) -> None:
        self._database = database
        self._surveyor = surveyor
        self._job = job
        self._plan = plan
        self._first = first
        self._now = now
        self._claimed: dict[str, Stored] = {}
        """The records that members of this page would write."""
        self.after = ""

    def add(self, listed: Sequence[Listed]) -> Sequence[Listed]:
        """Add profiles; return those there was no room for. Whoever meets a defect of ours is rejected, and alone."""
        try:
            survey = self._surveyor.survey_listed(self._job, listed)
            survey.records |= {key: found for key, found in self._claimed.items() if key in survey.records}
            members = self._members(survey)
        except Problem:
            raise
        except Exception:  # noqa: BLE001 - a run would set the profile aside that it was met with
            if len(listed) > 1:
                middle = len(listed) // 2
                return [*self.add(listed[:middle]), *listed[middle:]]
            self._note(listed[0].profile, Kind.REJECTED, DEFECT)
            return []
        for case in survey.cases:
            self._count(case, survey, members)
            self.after = case.profile
        return listed[len(survey.cases) :]

    def _members(self, survey: Survey) -> Mapping[str, Visit]:
        """Return what members would make of the records they want, by key."""
        job = self._job
        calls = {stored.record.open.id for stored in survey.records.values() if stored.record.open is not None}
        queued = imports.still_open(self._database, job.export.connection, {call for call in calls if call})
        found = {
            key: visit(job, key, pair, visitors, survey.records[key].record, self._now, queued)
            for key, (pair, visitors) in visitors_of(job, survey.cases).items()
        }
        self._claimed |= {key: Stored(one.record, survey.records[key].version) for key, one in found.items()}
        return found

    def _count(self, case: Case, survey: Survey, visits: Mapping[str, Visit]) -> None:
        counts = self._plan.counts
        if case.verdict is not None:
            counts["assigned"] += was_assigned(self._job, case)
            self._note(case.profile, Kind.UNCHANGED)
            return
        beside = counts_of(self._job, case, survey, leaving_of(self._job, case, survey))
        looks = self._plan.passed_guard and self._job.export.stream
        leaves = ledger.would_leave(beside, looks=looks)
        counts["assigned"] += beside["assigned"]
        counts.update(ledger.warned(case.warnings))
        if leaves:
            counts[LEAVE] += leaves
            self._remember(LEAVE, case.profile)
        if case.rejection is not None:
            self._note(case.profile, Kind.REJECTED, case.rejection.code)
        elif case.members:
            stands = (self._stands(visits[key], case.profile) for key in case.members)
            self._note(case.profile, *min(stands, key=lambda stand: _RANKS[stand[0]]))

    def _stands(self, found: Visit, profile: str) -> tuple[Kind, str | None]:
        """Return what a run would do about one identity of a member."""
        record, content = found.record, wanted_content(found.record)
        if record.winner != profile:
            return Kind.DUPLICATE, None
        refused = record.refused
        if refused is not None and refused.content == content != record.acknowledged:
            # A run may try it again, but nothing speaks for another answer.
            is_known = refused.under == self._job.under and refused.code != UNCONFIRMED
            if is_known or found.step.do is Do.NOTHING:
                return Kind.REJECTED, refused.code
        if found.step.do is Do.NOTHING:
            return Kind.UNCHANGED, None
        if found.sender is None:
            return Kind.WAITING, None
        return (Kind.JOIN if record.acknowledged is OUT else Kind.CHANGE), None

    def _note(self, profile: str, kind: Kind, code: str | None = None) -> None:
        counts = self._plan.counts
        counts["selected"] += 1
        counts[kind] += 1
        if code is not None:
            counts[f"{Column.REJECTED}:{code}"] += 1
            if len(self._plan.first_rejected) < self._first:
                self._plan.first_rejected.append((profile, code))
        elif kind in self._plan.first:
            self._remember(kind, profile)

    def _remember(self, kind: str, profile: str) -> None:
        if len(self._plan.first[kind]) < self._first:
            self._plan.first[kind].append(profile)
