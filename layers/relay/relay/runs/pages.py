"""The pages of a run: read on until one destination call is full, reconcile, count, move the cursor.

Counts and cursor move in one transaction, if the cursor is still where the page began. So a page that comes twice is
counted once, and whoever dies in between leaves a cursor that the next one finds.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from relay.clock import Clock
from relay.destinations.contract import Level
from relay.domain import ledger
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.ledger import Column, LeaverColumn
from relay.domain.problems import DEFECT, Conflict, ExportProblem, Problem
from relay.domain.runs import Phase, Run, RunState, Shard, buckets_of
from relay.messages import Page
from relay.reconcile import verdict
from relay.reconcile.job import Job, Pass
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.set_aside import SetAside
from relay.reconcile.survey import Case, Listed, Survey
from relay.runs.candidates import Candidates
from relay.runs.ending import EDITED, NEW_OWNER, Ending
from relay.runs.leaving import Leaving, counts_of, leaving_of, was_assigned
from relay.runs.settlement import ASKED_AGAIN
from relay.stores import breakers, defects, outstanding, owners, runs, waits
from relay.stores.database import Database
from relay.stores.outstanding import Outstanding, page_id
from relay.stores.waits import OutstandingWait

SCAN = 15_000
"""The most profiles looked at in one page, so that a run over unchanged data lets streaming changes through.

With 2 % changed, a call of 250 is full before that.
"""

CHUNK = 250
LEAST = 10
"""The most and the fewest profiles surveyed at a time while a page fills: about as many as the call has room for."""


@dataclass(slots=True)
class Read:
    """What one page has read: who needs work, the counts of the others, and where the cursor goes.

    `tried` is where the reading came to, `seen` how many profiles that were.
    """

    to: str
    tried: str = ""
    seen: int = 0
    done: bool = False
    survey: Survey = field(default_factory=Survey)
    counts: Counter[str] = field(default_factory=Counter)
    leavers: set[str] = field(default_factory=set)
    """Who is counted as leaving: what a run of an export that streams takes out besides is not."""
    aside: set[str] = field(default_factory=set)
    """Who is left to the next run."""


class Pages:
    """Advances runs page by page."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        reconciler: Reconciler,
        ending: Ending,
        aside: SetAside,
        *,
        scan: int = SCAN,
    ) -> None:
        self._database = database
        self._clock = clock
        self._reconciler = reconciler
        self._ending = ending
        self._aside = aside
        self._scan = scan
        self._candidates = Candidates(database)
        self._taken: dict[tuple[str, Phase], int] = {}
        """How many profiles the last full page of an export took: what is read beyond is read again by the next."""

    def advance(self, job: Job, page: Page, *, redelivered: bool, calls: Callable[[], int] = lambda: 0) -> Counter[str]:
        """Do one page and return its counts, with the calls that the destination answered as `answered`.

        `calls` returns how many API calls were made so far: what a page has made is counted beside its columns.
        A message whose page was done already only makes sure that the next page's message exists. Raises as
        `Reconciler.reconcile`, or ExportProblem when the destination says beforehand that a whole segment cannot go;
        then nothing was counted and the cursor has not moved.
        """
        run = runs.load(self._database, page.run)
        shard = runs.shard(self._database, page.run, Phase(page.phase), page.shard)
        if run is None or shard is None or run.state is not RunState.RUNNING:
            if redelivered and job.export.stream:
                # A call of an earlier try may be open, and nobody but this run would look.
                breakers.request_resync(self._database, job.export.connection, job.export.name)
            return Counter()
        if job.export.version != run.settings:
            self._ending.give_way(job.export, run, EDITED)
            return Counter()
        if job.adopts_from is not None and run.started_at < job.adopts_from:
            self._ending.give_way(job.export, run, NEW_OWNER)
            return Counter()
        if (run.phase, shard.after, shard.done) != (shard.phase, page.after, False):
            if redelivered:
                self._ending.go_on(job.export, run, shard)
            return Counter()
        adopts: Mapping[str, frozenset[str]] = {}
        if run.phase is Phase.DELIVER:
            adopts = owners.to_adopt(self._database, job.export.connection, job.export.name)
        job = replace(job, run=Pass.of(run, page_id(shard)), adopts=adopts)
        before = calls()
        is_first = run.phase is Phase.ASK
        read = self._ask(job, run, shard) if is_first else self._work(job, run, shard, lambda: calls() - before)
        self._ending.go_on(job.export, run, replace(shard, after=read.to, done=read.done))
        return read.counts + Counter(answered=read.survey.answered)

    def _ask(self, job: Job, run: Run, shard: Shard) -> Read:
        """Do not send a whole segment where the destination says beforehand that it cannot go."""
        for finding in job.destination.check_before_run(job.account, job.export):
            if finding.level is Level.ERROR:
                raise ExportProblem("not_ready", finding.message)
        read = Read(shard.after, done=True)
        self._move(run, shard, read, [])
        return read

    def _work(self, job: Job, run: Run, shard: Shard, calls: Callable[[], int]) -> Read:
        """Do a page. Where that meets a defect of ours half as much is tried, down to the one profile it concerns."""
        most = self._scan
        while True:
            read = Read(shard.after)
            try:
                self._read(job, run, shard, read, most)
                self._reconciler.reconcile(job, read.survey)
                read.counts["calls"] = calls()
                self._move(run, shard, read, list(self._count(job, run, read)))
            except Problem:
                raise
            except Exception as error:  # a defect concerns one profile of the page, which is found by halves
                if read.seen == 0:
                    raise
                if read.seen > 1:
                    most = read.seen // 2
                    continue
                self._aside.set_aside(job.export.key, {read.tried: error})
                rejected = ledger.counted(Column.REJECTED, DEFECT) if run.phase is Phase.DELIVER else {}
                read = Read(read.tried, seen=1, counts=Counter(rejected))
                self._move(run, shard, read, [])
                return read
            if read.seen:
                self._aside.went_well()
            if job.removes and job.export.stream and any(map(read.survey.lacks_claimants, read.survey.cases)):
                # Those who were turned away may have been asked before the last claimant left.
                breakers.request_resync(self._database, job.export.connection, job.export.name)
            # Who is counted as leaving is looked for again in the last phase, by the assignment.
            self._reduce(
                job, read, [case for case in read.survey.cases if job.removes or case.profile not in read.leavers]
            )
            return read

    def _reduce(self, job: Job, read: Read, settled: Sequence[Case]) -> None:
        cases, records = {case.profile: case for case in settled}, read.survey.records
        failed = self._aside.by_halves(
            list(cases), lambda part: self._reconciler.reduce(job, Survey([cases[one] for one in part], records))
        )
        self._aside.note(job.export.key, failed)

    def _read(self, job: Job, run: Run, shard: Shard, read: Read, most: int) -> None:
        """Survey profiles in order until one call is full, the scan's bound, or the end of the shard.

        Who needs nothing is counted at once and kept no longer.
        """
        joins = leaves = 0
        if run.phase is Phase.REMOVE:
            # Who met a defect on the first pass was not counted there.
            seen = defects.of_export(self._database, job.export.key, defects.MOST_SHOWN)
            read.aside = {defect.profile for defect in seen if defect.at >= run.started_at - CLOCK_MARGIN}
        full = job.destination.call_size * job.destination.at_once
        listing, taken = self._listing(job, run, shard), self._taken.get((job.export.key, run.phase), 0)
        while read.seen < most:
            room = taken - read.seen if taken > read.seen else full - joins - leaves
            chunk = list(islice(listing, min(max(room, LEAST), CHUNK, most - read.seen)))
            if not chunk:
                read.done = True
                return
            before, read.seen, read.tried = read.seen, read.seen + len(chunk), chunk[-1].profile
            survey = self._reconciler.survey_listed(job, chunk)
            read.seen, read.tried = before + len(survey.cases), survey.cases[-1].profile
            listing = chain(chunk[len(survey.cases) :], listing)
            for place, case in enumerate(survey.cases):
                read.to = case.profile
                if not self._take(job, run, case, survey, read):
                    continue
                read.survey.add(case, survey.records)
                joins += len(case.members)
                leaves += len(case.unwanted) if job.removes else 0
                if job.destination.page_is_full(job.export, joins, leaves):
                    # What was read beyond is left to the next page: nothing that happens here concerns it.
                    read.seen = self._taken[job.export.key, run.phase] = before + place + 1
                    read.tried = case.profile
                    return

    def _take(self, job: Job, run: Run, case: Case, survey: Survey, read: Read) -> bool:
        """Count what is known of a case whatever its work comes to; return whether it needs work in this phase."""
        is_last = run.phase is Phase.REMOVE
        if case.verdict is not None:
            if not is_last:
                read.counts["assigned"] += was_assigned(job, case)
                read.counts.update(ledger.counted(*case.verdict))
            return False
        leaving = Leaving(leaves=False, is_counted=False)
        if case.profile not in read.aside:
            leaving = leaving_of(job, case, survey, is_last=is_last)
        if leaving.is_counted:
            read.leavers.add(case.profile)
        if is_last:
            return leaving.leaves
        read.counts.update(counts_of(job, case, survey, leaving))
        read.counts.update(ledger.warned(case.warnings))
        return case.concerns_us

    def _listing(self, job: Job, run: Run, shard: Shard) -> Iterator[Listed]:
        """Return members and everyone ever assigned after the cursor, sorted, each once.

        The last phase takes out leavers, who are assigned: it lists no members.
        """
        buckets = buckets_of(shard.index, run.shards)
        if run.phase is not Phase.DELIVER:
            return self._candidates.assigned(job.export, buckets, shard.after)
        former = sorted(set().union(*job.adopts.values()))
        return self._candidates.all(job.export, buckets, shard.after, former=former)

    def _count(self, job: Job, run: Run, read: Read) -> Iterator[Outstanding]:
        """Count those who needed work; yield records of those who are outstanding."""
        now = self._clock.now()
        waiting = []
        for case in read.survey.cases:
            if run.phase is Phase.REMOVE and case.profile in read.leavers:
                column = verdict.on_leaver(read.survey.of_leavers(case), case.profile, now)
                read.counts.update(ledger.leaver_counted(column))
                if column is LeaverColumn.OUTSTANDING:
                    waiting.append(case.profile)
            elif run.phase is Phase.DELIVER and case.is_member:
                stands = case.rejected or verdict.on_member(read.survey.of_members(case), case.profile, job.began, now)
                read.counts.update(ledger.counted(*stands))
                if stands.column is Column.OUTSTANDING:
                    waiting.append(case.profile)
        if job.run is not None:
            for number, start in enumerate(range(0, len(waiting), outstanding.MOST)):
                part = tuple(waiting[start : start + outstanding.MOST])
                yield Outstanding(run.id, f"{job.run.page}.{number}", part)

    def _move(self, run: Run, shard: Shard, read: Read, records: list[Outstanding]) -> None:
        now = self._clock.now()
        # First: a record without a wait could stay unseen, a wait without a record is looked at in vain.
        waits.put(self._database, [OutstandingWait(now + ASKED_AGAIN, run.id, record.id) for record in records])
        move = runs.move(run, shard, to=read.to, done=read.done, counts=read.counts, seen=read.seen, now=now)
        if not self._database.transact([move, *(outstanding.add(record, now) for record in records)]):
            raise Conflict("cursor", "somebody else moved the cursor")
