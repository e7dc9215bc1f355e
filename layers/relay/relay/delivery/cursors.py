"""Runs: a run is a cursor, not a plan.

One page: read the sorted listings on until one destination call is full or a bound is reached, deliver, then add the
counts and move the cursor in one transaction, then send the continuation to the tail of the group.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

from relay.clock import Clock
from relay.delivery.cases import Case, Job, Result, Retry, tally
from relay.delivery.engine import Engine
from relay.delivery.messages import Cursor
from relay.delivery.wakeups import Wakeups
from relay.destinations.contract import Level
from relay.domain.claims import RunTag
from relay.domain.exports import Export
from relay.domain.keyed_hash import bucket_of
from relay.domain.problems import DEFECT, Busy, Conflict, ExportProblem
from relay.domain.runs import (
    Outcome,
    Run,
    RunState,
    Shard,
    buckets_of,
    needs_confirmation,
    rejects_too_many,
    total,
    warning_column,
)
from relay.stores import defects, deliveries, gates, runs, segments
from relay.stores.database import Database

SCAN = 15_000
"""The most profiles looked at in one page, so that a run over unchanged data lets streaming changes through.

With 2 % changed, a call of 250 is full before that.
"""

LISTING = 500
"""Ids read at a time from one listing."""

CHUNK = 250
"""Profiles read at a time while a page fills."""

MOST_ASIDE = 100
"""A page ends where so many profiles were set aside: each of them takes tries of its own."""

MOST_WAITING = 80
"""Profiles of one page that wait for somebody else's call: they are recorded with the cursor, in one transaction."""

CLOCKS = timedelta(minutes=2)
"""How far apart the clocks of functions may be, and how far `Claim.more` may lag behind (`claims.REFRESHED_AFTER`)."""
ASKING = timedelta(seconds=2)
"""How long a shard waits for another one that asks the account."""

EDITED = "the export's settings were edited during the run"


@dataclass(frozen=True, slots=True)
class Page:
    """What one step of a cursor looked at: cases in order, where the cursor goes, and whether the shard is through.

    `aside` counts those of a second pass that were set aside before it was known whether they leave.
    """

    cases: Sequence[Case]
    to: str
    done: bool
    aside: int = 0


class Cursors:
    """Advances runs page by page, and ends them."""

    def __init__(self, database: Database, clock: Clock, engine: Engine, wakeups: Wakeups, *, scan: int = SCAN) -> None:
        self._database = database
        self._clock = clock
        self.engine = engine
        self.aside = engine.aside
        self.wakeups = wakeups
        self._scan = scan

    def advance(
        self, job: Job, cursor: Cursor, *, redelivered: bool, calls: Callable[[], int] = lambda: 0
    ) -> Counter[str]:
        """Do one page of a cursor message and return how many profiles came to which outcome.

        `calls` tells how many API calls were made so far.

        A message whose page was done already only makes sure that its continuation exists. Raises as
        `Engine.deliver`; then nothing was counted and the cursor has not moved.
        """
        run = runs.load(self._database, cursor.run)
        shard = runs.shard(self._database, cursor.run, cursor.shard)
        if run is None or shard is None or run.state is not RunState.RUNNING:
            return Counter()
        if job.export.version != run.settings:
            self._give_up(run, job.export)
            return Counter()
        if (shard.phase, shard.after, shard.done) != (cursor.phase, cursor.after, False):
            if redelivered:
                self._continue(job.export, run, shard)
            return Counter()
        job = replace(
            job,
            run=RunTag(run.id, shard.index, shard.phase),
            hold_leavers=shard.phase == 1,
            guarded=True,
            retry=Retry.of(run),
            asked=run.started_at - CLOCKS if shard.phase == 2 else None,
        )
        before = calls()
        if (shard.phase, shard.after) == (1, ""):
            self._require_readiness(job, run, shard)
        page = self._read(job, run, shard)
        results = self.engine.perform(job, page.cases)
        step = _Step(self._database, self._clock, run, shard, page, results, lambda: calls() - before)
        if page.cases:
            failed = self.aside.by_parts("count", [case.profile for case in page.cases], step.count, step.count_aside)
            self.aside.note(job.export, failed)
        else:
            step.count(())
        self._continue(job.export, run, step.shard)
        return tally(results.values())

    def _require_readiness(self, job: Job, run: Run, shard: Shard) -> None:
        """Do not send a whole segment where the destination says beforehand that it cannot go.

        The account is asked once per run: the first shard that comes asks, the others wait for it (Busy).
        """
        match runs.readiness(self._database, run, shard.index, self._clock.now()):
            case runs.Readiness.WAIT:
                raise Busy("asking", "another shard asks the account first", taken=False, retry_after=ASKING)
            case runs.Readiness.ASK:
                try:
                    _ask(job)
                except Exception:
                    runs.ask_again(self._database, run)
                    raise
                runs.note_ready(self._database, run)

    def _continue(self, export: Export, run: Run, shard: Shard) -> None:
        if shard.done:
            self.finish_if_over(export, run.id)
        else:
            self.resume(export, run, [shard])

    def resume(self, export: Export, run: Run, shards: Iterable[Shard]) -> None:
        """Send the cursors of shards that are not through."""
        self.wakeups.go_on(
            export,
            [
                Cursor(export.connection, export.name, export.version, run.id, shard.index, shard.phase, shard.after)
                for shard in shards
                if not shard.done
            ],
        )

    def wake(self, export: Export, profiles: Sequence[str], run_id: str | None, tries: int = 0) -> None:
        """Have profiles looked at again, for the run that waits for them if there is one.

        `tries` is how often they were sent before in imports that came to nothing.
        """
        run = None if run_id is None else runs.load(self._database, run_id)

        def look_again(part: Sequence[str]) -> None:
            self.wakeups.look_again(export, part, run_id, tries)

        def give_up(profile: str) -> None:
            if run is not None:
                self.aside.end_wait(export, run, profile)

        failed = self.aside.by_parts("wake", profiles, look_again, give_up)
        self.aside.note(export, failed)
        if failed and run is not None:
            self.finish_if_over(export, run.id)

    def send_anew(self, export: Export, cursor: Cursor) -> None:
        """Send a cursor whose page takes more than one go to the tail of its group; it does not count as stalled."""
        self.wakeups.go_on(export, [cursor])
        runs.note_nudge(self._database, cursor.run, cursor.shard, self._clock.now())

    def _read(self, job: Job, run: Run, shard: Shard) -> Page:
        """Survey profiles in order until one call is full, the scan's bound, or the end of the shard."""
        cases: list[Case] = []
        joins, leaves, looked_at, position = 0, 0, 0, shard.after
        defects = aside = 0
        # Whom the run waits for since its first pass is counted when that wait ends, and only then.
        awaited = runs.waited_for(self._database, run.id) if shard.phase == 2 else set()
        for chunk in _chunks(self._ids(job.export, shard, run.shards), min(CHUNK, self._scan)):
            looked = self.engine.survey(job, chunk)
            wanted, failed = (set(chunk), set[str]()) if shard.phase == 1 else self._leavers(job, run, looked)
            wanted -= awaited
            for case in looked:
                defects += case.defect
                aside += case.profile in failed - awaited and not case.set_aside
                if case.profile in wanted:
                    cases.append(case)
                    joins += len(case.joins)
                    leaves += len(case.leaves)
                position = case.profile
                if job.destination.page_is_full(job.export, joins, leaves) or defects >= MOST_ASIDE:
                    return Page(cases, position, done=False, aside=aside)
            looked_at += len(chunk)
            if looked_at >= self._scan:
                return Page(cases, position, done=False, aside=aside)
        return Page(cases, position, done=True, aside=aside)

    def _leavers(self, job: Job, run: Run, cases: Sequence[Case]) -> tuple[set[str], set[str]]:
        """Return who is to be removed by a second pass, and of whom that cannot be told for a defect of ours."""
        known = {case.profile: case for case in cases}
        leavers: set[str] = set()

        def choose(part: Sequence[str]) -> None:
            leavers.update(profile for profile in part if _leaves_for_good(known[profile], run))

        failed = self.aside.by_parts("choose", known, choose)
        self.aside.note(job.export, failed)
        return leavers, (failed.keys() | {case.profile for case in cases if case.defect}) - leavers

    def _ids(self, export: Export, shard: Shard, shards: int) -> Iterator[str]:
        """Yield the ids of members and of everyone ever told, sorted, each once, after the cursor."""
        start = bucket_of(shard.after) if shard.after else 0
        last = ""
        for bucket in buckets_of(shard.index, shards):
            if bucket < start:
                continue
            listings = [_members(self._database, segment, bucket, shard.after) for segment in export.segments]
            told = deliveries.profiles_of(self._database, export.key, bucket, shard.after)
            for profile in heapq.merge(*listings, told):
                if profile != last:
                    yield profile
                last = profile

    def _give_up(self, run: Run, export: Export) -> None:
        """A run never goes on under other settings than it began with: the guard of its first pass would not hold."""
        gates.owe_always(self._database, export.connection, export.name)
        runs.change_state(self._database, run, RunState.STOPPED, self._clock.now(), EDITED)

    def finish_if_over(self, export: Export, run_id: str) -> None:
        """Begin the second pass, ask for confirmation or end a run whose cursors are all through."""
        run = runs.load(self._database, run_id)
        if run is None or run.state is not RunState.RUNNING:
            return
        shards = runs.shards(self._database, run_id)
        if len(shards) < run.shards or not all(shard.done for shard in shards):
            return
        counts, now = total(shards), self._clock.now()
        if run.phase == 1 and counts["leaving"] > 0:
            _, gate = gates.load(self._database, export.connection, export.name)
            if needs_confirmation(counts, passed=gate.passed == run.settings):
                reason = f"{counts['leaving']} of {counts['told']} told would leave: confirm the run or mend the data"
                runs.change_state(self._database, run, RunState.NEEDS_CONFIRMATION, now, reason)
            else:
                self.second_pass(export, run)
            return
        if run.phase == 1:
            gates.pass_guard(self._database, export.connection, export.name, run.settings)
        if counts["outstanding"] == 0:
            rejects = rejects_too_many(counts)
            state = RunState.FINISHED if rejects is None else RunState.MANY_REJECTED
            if runs.change_state(self._database, run, state, now, rejects):
                defects.forget_older(self._database, export.key, run.started_at - CLOCKS)

    def second_pass(self, export: Export, run: Run, confirmed_by: str | None = None) -> None:
        """Remove the leavers the first pass counted."""
        gates.pass_guard(self._database, export.connection, export.name, run.settings)
        if runs.second_pass(self._database, run, confirmed_by, self._clock.now()):
            self.resume(export, replace(run, phase=2), runs.shards(self._database, run.id))


def _ask(job: Job) -> None:
    for finding in job.destination.check_before_run(job.account, job.export):
        if finding.level is Level.ERROR:
            raise ExportProblem("not_ready", finding.message)


def _members(database: Database, segment: str, bucket: int, after: str) -> Iterator[str]:
    """Yield the ids of a segment's index in one bucket, sorted, reading page by page."""
    while page := segments.listing(database, segment, bucket, after=after, limit=LISTING):
        yield from page
        after = page[-1]


def _leaves_for_good(case: Case, run: Run) -> bool:
    """A leaver of the first pass: one that changed since the run began is left to its own message or the next run.

    Whoever an earlier try of this page began a call for is looked at again, since that call may move the ledger.
    Whoever was set aside on the first pass is counted already, and left to the next run.
    """
    if case.stored.begun_in == RunTag(run.id, 0, 2).mark:
        return True
    if case.set_aside or case.survivor is not None:
        # The first pass has had an alias hand over; one that became an alias since has a message of its own.
        return False
    settled = case.outcome in (Outcome.OUTSTANDING, Outcome.DELIVERED) or bool(case.difference.leaves)
    return settled and (case.changed_at is None or case.changed_at <= run.started_at)


class _Step:
    """Adds a page's counts and moves the cursor, in one transaction; in parts of the page where that meets a defect."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        run: Run,
        shard: Shard,
        page: Page,
        results: Mapping[str, Result],
        calls: Callable[[], int],
    ) -> None:
        self._database = database
        self._clock = clock
        self._run = run
        self._page = page
        self._results = results
        self._calls = calls
        self._cases = {case.profile: case for case in page.cases}
        self._extra = Counter(aside=page.aside)
        self._called = 0
        self._is_cut = False
        self.shard = shard

    def count(self, profiles: Sequence[str]) -> None:
        """Move the cursor over profiles that follow where it stands.

        Where more profiles would wait than one transaction can record the page ends, and the rest is left to the next.
        """
        if self._is_cut:
            return
        counts: Counter[str] = Counter()
        waiting: list[str] = []
        counted: list[str] = []
        for profile in profiles:
            result = self._results[profile]
            if result.outcome is Outcome.WAITING:
                if len(waiting) == MOST_WAITING:
                    self._is_cut = True
                    break
                waiting.append(profile)
            counts.update(_columns(self._cases[profile], result, self._run))
            counted.append(profile)
        self._move(counted, counts, waiting)

    def count_aside(self, profile: str) -> None:
        """Move the cursor over a profile that cannot be counted otherwise."""
        outcome = Outcome.REJECTED
        counts = Counter({"selected": 1, "rejected": 1, f"rejected:{DEFECT}": 1})
        if self._results[profile].outcome is Outcome.OUTSTANDING:
            outcome = Outcome.OUTSTANDING
            counts = Counter(selected=1, outstanding=1)
        self._move([profile], counts, [], aside={profile: outcome})

    def _move(
        self,
        profiles: Sequence[str],
        counts: Counter[str],
        waiting: Sequence[str],
        aside: Mapping[str, Outcome] = MappingProxyType({}),
    ) -> None:
        shard, page = self.shard, self._page
        is_last = not page.cases or (profiles[-1:] == [page.cases[-1].profile])
        place = page.to if is_last else profiles[-1] if profiles else shard.after
        done = page.done and is_last
        if shard.phase == 2:
            counts = _from_held(counts + self._extra, shard, done)
        counts["calls"] = self._calls() - self._called
        group = runs.move(
            self._run.id,
            shard.index,
            phase=shard.phase,
            after=shard.after,
            to=place,
            done=done,
            counts=counts,
            waiting=waiting,
            aside=aside,
            now=self._clock.now(),
        )
        if not self._database.write([group])[0]:
            raise Conflict("cursor", "somebody else moved the cursor")
        self._extra.clear()
        self._called += counts["calls"]
        self.shard = replace(shard, after=place, done=done, counts=Counter(shard.counts) + counts)


def _columns(case: Case, result: Result, run: Run) -> dict[str, int]:
    """Return what a profile adds to the ledger. Whom this run itself began to tell of does not count as told before."""
    columns: dict[str, int] = {"told": 1} if case.stored.told and case.stored.new_in != run.id else {}
    outcome = result.outcome
    if outcome is Outcome.ABSENT:
        return columns
    columns["selected"] = 1
    if outcome in (Outcome.WAITING, Outcome.HELD):
        columns["outstanding"] = 1
    else:
        columns[outcome.value] = 1
    if outcome is Outcome.HELD:
        columns["leaving"] = 1
    if outcome is Outcome.REJECTED:
        columns[f"rejected:{result.reason}"] = 1
    return columns | dict.fromkeys(map(warning_column, result.warnings), 1)


def _from_held(counts: Counter[str], shard: Shard, done: bool) -> Counter[str]:
    """Turn the second pass' counts into moves out of `outstanding`, no more than the first pass put there."""
    held = shard.counts.get("leaving", 0)
    handled = counts["selected"]
    rest = max(held - handled, 0) if done else 0
    aside = min(rest, shard.counts.get("aside", 0) + counts["aside"])
    moves = Counter({name: number for name, number in counts.items() if name not in ("told", "selected")})
    moves["outstanding"] -= min(handled, held) + rest
    moves["leaving"] -= min(handled, held) + rest
    moves["unchanged"] += rest - aside
    moves["rejected"] += aside
    moves[f"rejected:{DEFECT}"] += aside
    moves["selected"] += max(handled - held, 0)
    return moves


def _chunks(ids: Iterator[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for profile in ids:
        chunk.append(profile)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
