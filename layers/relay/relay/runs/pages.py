"""The pages of a run: read on until one destination call is full, reconcile, count, move the cursor.

Counts and cursor move in one transaction, if the cursor is still where the page began. So a page that comes twice is
counted once, and whoever dies in between leaves a cursor that the next one finds.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import attrgetter

from relay.clock import Clock
from relay.destinations.contract import Level
from relay.domain import ledger
from relay.domain.exports import Export
from relay.domain.identity import CLOCK_MARGIN
from relay.domain.keyed_hash import bucket_of
from relay.domain.ledger import Column, LeaverColumn
from relay.domain.problems import DEFECT, Conflict, ExportProblem, Problem
from relay.domain.runs import Phase, Run, RunState, Shard, buckets_of
from relay.messages import Page
from relay.reconcile import verdict
from relay.reconcile.job import Job, Pass
from relay.reconcile.reconciler import Reconciler
from relay.reconcile.setting_aside import SettingAside
from relay.reconcile.survey import Case, Listed, Survey
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
    """What one page has read: who needs work, the counts of the others, and where the cursor goes.

    `tried` is where the reading came to, `seen` how many profiles that were.
    """

    to: str
    tried: str = ""
    seen: int = 0
    done: bool = False
    survey: Survey = field(default_factory=Survey)
    counts: Counter[str] = field(default_factory=Counter)


class Pages:
    """Advances runs page by page."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        reconciler: Reconciler,
        ending: Ending,
        aside: SettingAside,
        *,
        scan: int = SCAN,
    ) -> None:
        self._database = database
        self._clock = clock
        self._reconciler = reconciler
        self._ending = ending
        self._aside = aside
        self._scan = scan

    def advance(self, job: Job, page: Page, *, redelivered: bool, calls: Callable[[], int] = lambda: 0) -> Counter[str]:
        """Do one page and return its counts; `calls` tells how many API calls were made so far.

        A message whose page was done already only makes sure that the next page's message exists. Raises as
        `Reconciler.reconcile`, or ExportProblem when the destination says beforehand that a whole segment cannot go;
        then nothing was counted and the cursor has not moved.
        """
        run = runs.load(self._database, page.run)
        shard = runs.shard(self._database, page.run, Phase(page.phase), page.shard)
        if run is None or shard is None or run.state is not RunState.RUNNING:
            return Counter()
        if job.export.version != run.settings:
            self._ending.give_way(job.export, run)
            return Counter()
        if (run.phase, shard.after, shard.done) != (shard.phase, page.after, False):
            if redelivered:
                self._ending.go_on(job.export, run, shard)
            return Counter()
        job = replace(job, run=Pass.of(run, f"{shard.index:03d}.{shard.phase}.{shard.after}"))
        before = calls()
        read = self._ask(job, shard) if run.phase is Phase.ASK else self._page(job, run, shard)
        read.counts["calls"] = calls() - before
        self._move(run, shard, read, [])
        self._ending.go_on(job.export, run, replace(shard, after=read.to, done=read.done))
        return read.counts

    def _ask(self, job: Job, shard: Shard) -> Read:
        """Do not send a whole segment where the destination says beforehand that it cannot go."""
        for finding in job.destination.check_before_run(job.account, job.export):
            if finding.level is Level.ERROR:
                raise ExportProblem("not_ready", finding.message)
        return Read(shard.after, done=True)
