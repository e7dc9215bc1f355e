"""The pages of a run: read on until one destination call is full, reconcile, count, move the cursor.

Counts and cursor move in one transaction, if the cursor is still where the page began. So a page that comes twice is
counted once, and whoever dies in between leaves a cursor that the next one finds.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from relay.clock import Clock
from relay.domain import ledger
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.keyed_hash import bucket_of
from relay.domain.ledger import Column, LeaverColumn
from relay.domain.problems import Conflict
from relay.domain.runs import Run, RunState, Shard, buckets_of
from relay.messages import Page
from relay.reconcile import verdict
from relay.reconcile.job import Job, Pass
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.survey import Case, Survey
from relay.reconcile.waking import Waking
from relay.runs.ending import Ending
from relay.runs.settling import ASKED_AGAIN
from relay.stores import assignments, outstanding, runs, segments, waits
from relay.stores.database import Database
from relay.stores.outstanding import Outstanding
from relay.stores.waits import OutstandingWait

SCAN = 15_000
"""The most profiles looked at in one page, so that a run over unchanged data lets streaming changes through.

With 2 % changed, a call of 250 is full before that.
"""

LISTING = 500
"""Ids read at a time from one listing."""

CHUNK = 250
"""Profiles surveyed at a time while a page fills."""


@dataclass(slots=True)
class Read:
    """What one page has read: who needs work, the counts of the others, and where the cursor goes."""

    survey: Survey
    counts: Counter[str]
    to: str
    done: bool = False


class Pages:
    """Advances runs page by page."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        reconciler: Reconciler,
        waking: Waking,
        ending: Ending,
        *,
        scan: int = SCAN,
    ) -> None:
        self._database = database
        self._clock = clock
        self._reconciler = reconciler
        self._waking = waking
        self._ending = ending
        self._scan = scan

    def advance(self, job: Job, page: Page, *, redelivered: bool, calls: Callable[[], int] = lambda: 0) -> Counter[str]:
        """Do one page and return its counts; `calls` tells how many API calls were made so far.

        A message whose page was done already only makes sure that the next page's message exists. Raises as
        `Reconciler.reconcile`; then nothing was counted and the cursor has not moved.
        """
        run = runs.load(self._database, page.run)
        shard = runs.shard(self._database, page.run, page.shard)
        if run is None or shard is None or run.state is not RunState.RUNNING:
            return Counter()
        if job.export.version != run.settings:
            self._ending.give_way(job.export, run)
            return Counter()
        if (shard.phase, shard.after, shard.done) != (page.phase, page.after, False):
            if redelivered:
                self._go_on(job.export, run, shard)
            return Counter()
        place = f"{shard.index:03d}.{shard.phase}.{shard.after}"
        job = replace(job, run=Pass(run.id, run.started_at, shard.phase == 2, place))
        before = calls()
        read = self._read(job, run, shard)
        self._reconciler.reconcile(job, read.survey)
        members, leavers = (self._count_leavers if shard.phase == 2 else self._count_members)(job, run, read)
        read.counts["calls"] = calls() - before
        self._move(run, shard, read, [*_records(job, shard, members), *_records(job, shard, leavers, leavers=True)])
        self._reconciler.reduce(job, read.survey)
        self._go_on(job.export, run, replace(shard, after=read.to, done=read.done))
        return read.counts

    def _read(self, job: Job, run: Run, shard: Shard) -> Read:
        """Survey profiles in order until one call is full, the scan's bound, or the end of the shard.

        Who needs nothing is counted at once and kept no longer.
        """
        read = Read(Survey(), Counter(), shard.after)
        joins = leaves = looked_at = 0
        for chunk in _chunks(self._listing(job.export, shard, run.shards), min(CHUNK, self._scan)):
            survey = self._reconciler.survey(job, [profile for profile, _ in chunk], dict(chunk))
            for case in survey.cases:
                read.to = case.profile
                if shard.phase == 1:
                    read.counts.update(_seen_at_first(case, run))
                    joins += len(case.members)
                elif _leaves_for_good(job, case, run):
                    leaves += len(case.unwanted)
                if case.verdict is None and (shard.phase == 1 or _leaves_for_good(job, case, run)):
                    read.survey.add(case, survey.records)
                if job.destination.page_is_full(job.export, joins, leaves):
                    return read
            looked_at += len(chunk)
            if looked_at >= self._scan:
                return read
        read.done = True
        return read

    def _listing(self, export: Export, shard: Shard, shards: int) -> Iterator[tuple[str, assignments.Stored]]:
        """Yield members and everyone ever assigned after the cursor, sorted, each once, with the assignment.

        The second pass takes out leavers, who are assigned: it lists no members.
        """
        start = bucket_of(shard.after) if shard.after else 0
        listed = export.segments if shard.phase == 1 else ()
        for bucket in buckets_of(shard.index, shards):
            if bucket >= start:
                members = [
                    ((profile, assignments.NONE) for profile in _members(self._database, segment, bucket, shard.after))
                    for segment in listed
                ]
                assigned = assignments.listing(self._database, export.key, bucket, shard.after)
                yield from _each_once(heapq.merge(assigned, *members, key=lambda entry: entry[0]))

    def _count_members(self, job: Job, run: Run, read: Read) -> tuple[list[str], list[str]]:
        now = self._clock.now()
        waiting = []
        for case in read.survey.cases:
            if case.is_member:
                found = case.rejected or verdict.on_member(read.survey.of_members(case), case.profile, job.began, now)
                read.counts.update(ledger.counted(*found))
                if found.column is Column.OUTSTANDING:
                    waiting.append(case.profile)
            read.counts["leaving"] += _leaves_for_good(job, case, run) and _is_named(case, read.survey)
        return waiting, []

    def _count_leavers(self, job: Job, run: Run, read: Read) -> tuple[list[str], list[str]]:  # noqa: ARG002
        now = self._clock.now()
        waiting = []
        for case in read.survey.cases:
            column = verdict.on_leaver(read.survey.of_leavers(case), case.profile, now)
            read.counts.update(ledger.leaver_counted(column))
            if column is LeaverColumn.OUTSTANDING:
                waiting.append(case.profile)
        return [], waiting

    def _move(self, run: Run, shard: Shard, read: Read, records: list[Outstanding]) -> None:
        now = self._clock.now()
        # First: a record without a wait could stay unseen, a wait without a record is looked at in vain.
        waits.put(self._database, [OutstandingWait(now + ASKED_AGAIN, run.id, record.id) for record in records])
        move = runs.move(run.id, shard, to=read.to, done=read.done, counts=read.counts, now=now)
        if not self._database.transact([move, *(outstanding.add(record, now) for record in records)]):
            raise Conflict("cursor", "somebody else moved the cursor")

    def _go_on(self, export: Export, run: Run, shard: Shard) -> None:
        if shard.done:
            self._ending.finish_if_over(export, run.id)
        else:
            self._waking.go_on(export.destination, pages_of(export, run, [shard]))


def pages_of(export: Export, run: Run, shards: Iterable[Shard]) -> list[Page]:
    """Return the messages of shards that are not through."""
    return [
        Page(export.connection, export.name, export.version, run.id, shard.index, shard.phase, shard.after)
        for shard in shards
        if not shard.done
    ]


def _members(database: Database, segment: str, bucket: int, after: str) -> Iterator[str]:
    """Yield the ids of a segment's index in one bucket, sorted, reading page by page."""
    while page := segments.listing(database, segment, bucket, after=after, limit=LISTING):
        yield from page
        after = page[-1]


def _each_once(entries: Iterable[tuple[str, assignments.Stored]]) -> Iterator[tuple[str, assignments.Stored]]:
    """Yield each profile once; `heapq.merge` keeps the order of its inputs, so an assignment comes first."""
    last = ""
    for profile, assigned in entries:
        if profile != last:
            yield profile, assigned
        last = profile


def _seen_at_first(case: Case, run: Run) -> Counter[str]:
    """Return what a profile adds to the counts whatever its work comes to."""
    counts = Counter() if case.verdict is None else ledger.counted(*case.verdict)
    since = case.assigned.assignment.since
    if since is not None and since < run.started_at:
        counts["assigned"] = 1
    return counts


def _leaves_for_good(job: Job, case: Case, run: Run) -> bool:
    """Return whether a profile has what it wants no more.

    One that changed since the run began is left to its own look or the next run, unless it streams: then the second pass
    takes it out as it is by then, but it is not counted as leaving.
    """
    if not case.unwanted:
        return False
    is_settled = case.changed_at is None or case.changed_at <= run.started_at - CLOCK_MARGIN
    return is_settled or (job.export.stream and job.removes)


def _is_named(case: Case, survey: Survey) -> bool:
    return any(record.names(case.profile) for record in survey.of_leavers(case))


def _records(job: Job, shard: Shard, profiles: list[str], *, leavers: bool = False) -> Iterator[Outstanding]:
    if job.run is not None:
        for number, start in enumerate(range(0, len(profiles), outstanding.MOST)):
            part = tuple(profiles[start : start + outstanding.MOST])
            yield Outstanding(job.run.run, f"{job.run.page}.{number}", shard.index, leavers, part)


def _chunks(
    entries: Iterator[tuple[str, assignments.Stored]], size: int
) -> Iterator[list[tuple[str, assignments.Stored]]]:
    chunk: list[tuple[str, assignments.Stored]] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
