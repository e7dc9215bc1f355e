"""Segments: which there are, and how many members of one we hold, counted now or by the runs of the last 90 days."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final

from pydantic import Field

from relay.breaker.accounts import Accounts
from relay.clock import Clock
from relay.destinations.contract import Account, Destination
from relay.domain import ledger
from relay.domain.keyed_hash import BUCKETS, bucket_of
from relay.domain.ledger import Column
from relay.domain.problems import Problem, QuestionProblem
from relay.domain.profiles import Membership, Profile
from relay.domain.runs import Run, RunState
from relay.settings.settings import Settings
from relay.stores import profiles, runs, segments
from relay.stores.database import Database
from relay.workers.operators.protocol import MORE, Answer, Question

LONGEST: Final = timedelta(seconds=15)
"""How long one page is worked at."""

CHUNK: Final = 100
"""How many profiles are read together: what one call of the database takes."""

LISTING: Final = 500

_COUNTED: Final = frozenset({RunState.FINISHED, RunState.MANY_REJECTED})
"""The states of runs that have seen every member."""


class ListSegments(Question):
    """Which segments were ever seen, and which exports name them?"""


class DayPart(Answer):
    """How many members a run has seen. Only runs of an export of this segment alone, without `only_if`, tell that."""

    day: date = Field(description="In UTC. Of several runs of a day the last.")
    count: int
    confirmed: int = Field(description="How many of them the destination had confirmed when the run ended.")
    run: str
    export: str


class SegmentPart(Answer):
    """A segment of the catalogue."""

    segment: str
    name: str | None = Field(description="As the platform calls it, where it says so.")
    first_seen: datetime
    exports: list[str]
    last_count: int | None = Field(description="How many members the last run counted that counts them.")
    last_count_on: date | None


class SegmentList(Answer):
    """All segments, sorted, and those that exports name though nothing was ever received of them."""

    segments: list[SegmentPart]
    never_seen: list[str]


class ShowSegment(Question):
    """How many members of a segment do we hold?"""

    segment: str = Field(min_length=1, max_length=1_024, description="`source/segment`.")
    after: str | None = Field(default=None, description=MORE)
    ask_destinations: bool = Field(
        default=False, description="Also ask the destinations of its exports how many are there now."
    )


class TargetCount(Answer):
    """How many a destination says are in what an export puts the members of a segment in."""

    export: str
    target: str
    segments: list[str] = Field(description="The segments of the export whose members belong there.")
    count: int | None = Field(description="How many are there now, whoever put them there.")
    problem: str | None = Field(description="Why there is no count.")


class SegmentPage(Answer):
    """A page of the count: the asker adds up `members`, and takes the first and the last of the times."""

    segment: str
    name: str | None
    first_seen: datetime
    exports: list[str]
    members: int = Field(description="Members among the profiles of this page.")
    left: int = Field(description="Profiles of this page that were members and left within the last 30 days or so.")
    first_change: datetime | None = Field(description="The earliest qualification or exit in this page.")
    last_change: datetime | None = Field(description="The latest one.")
    last_received: datetime | None = Field(description="When the latest one of them was received.")
    days: list[DayPart] = Field(description="What runs have counted, oldest first; with the first page alone.")
    destinations: dict[str, int] = Field(
        description="How many members the destination had confirmed at the end of the last run, by export; with the "
        "first page alone."
    )
    at_destinations: list[TargetCount] = Field(
        description="What the destinations say now; with the first page alone, and only when it was asked for."
    )
    next: str | None = Field(description="Ask again with it as `after`. Null at the end.")


@dataclass(frozen=True, slots=True)
class Segments:
    """Answers `segments` and `segment`."""

    database: Database
    settings: Settings
    destinations: Callable[[str], Destination]
    accounts: Accounts
    clock: Clock

    def segments(self, question: ListSegments) -> SegmentList:  # noqa: ARG002 - it has no arguments
        """Return all segments."""
        exports, counters = self._exports()
        known = segments.catalogue(self.database)
        last = {export: self._counted(export, 5) for named in counters.values() for export in named}
        listed = []
        for one in known:
            counts = [days[-1] for export in counters.get(one.id, ()) if (days := last[export])]
            newest = max(counts, key=lambda count: count.day, default=None)
            listed.append(
                SegmentPart(
                    segment=one.id,
                    name=one.name,
                    first_seen=one.first_seen,
                    exports=exports.get(one.id, []),
                    last_count=None if newest is None else newest.count,
                    last_count_on=None if newest is None else newest.day,
                )
            )
        return SegmentList(segments=listed, never_seen=sorted(exports.keys() - {one.id for one in known}))

    def segment(self, question: ShowSegment) -> SegmentPage:
        """Return a page of the count of one segment; raises QuestionProblem for one that was never seen."""
        known = segments.load(self.database, question.segment)
        if known is None:
            raise QuestionProblem("unknown_segment", "nothing was ever received of this segment", field="segment")
        exports, counters = self._exports()
        until, after = self.clock.now() + LONGEST, question.after or ""
        held: list[Membership] = []
        listing, last = self._listing(known.id, after), None
        while ids := list(islice(listing, CHUNK)):
            held += self._memberships(known.id, ids)
            if self.clock.now() >= until:
                last = ids[-1]
                break
        times = [membership.at for membership in held]
        named = [] if after else counters.get(known.id, [])
        of_runs = {export: days for export in named if (days := self._counted(export, 100))}
        return SegmentPage(
            segment=known.id,
            name=known.name,
            first_seen=known.first_seen,
            exports=exports.get(known.id, []),
            members=sum(membership.realized for membership in held),
            left=sum(not membership.realized for membership in held),
            first_change=min(times, default=None),
            last_change=max(times, default=None),
            last_received=max((membership.heard_at for membership in held), default=None),
            days=sorted((day for days in of_runs.values() for day in days), key=lambda one: one.day),
            destinations={export: days[-1].confirmed for export, days in of_runs.items()},
            at_destinations=list(self._asked(known.id)) if question.ask_destinations and not after else [],
            next=last,
        )

    def _asked(self, segment: str) -> Iterator[TargetCount]:
        """Ask the destinations how many are in each target of the segment."""
        for key, export in sorted(self.settings.exports().valid.items()):
            if segment not in export.segments:
                continue
            connection = self.settings.connection(export.connection)
            destination = self.destinations(connection.destination)
            account, _ = self.accounts.open(connection)
            for target, qualifying in sorted(destination.targets(export).items()):
                if segment in qualifying:
                    count, why = _counted_at(destination, account, target)
                    belong = sorted(qualifying)
                    yield TargetCount(export=key, target=target, segments=belong, count=count, problem=why)

    def _exports(self) -> tuple[Mapping[str, list[str]], Mapping[str, list[str]]]:
        """Return the exports by each segment they name, and those whose runs count the members of one segment."""
        exports: dict[str, list[str]] = {}
        counters: dict[str, list[str]] = {}
        for key, export in sorted(self.settings.exports().valid.items()):
            for segment in export.segments:
                exports.setdefault(segment, []).append(key)
            if len(export.segments) == 1 and export.only_if is None:
                counters.setdefault(export.segments[0], []).append(key)
        return exports, counters

    def _counted(self, export: str, most: int) -> list[DayPart]:
        """Return what the last runs of an export have counted, of each day the last one, oldest first."""
        by_day: dict[str, Run] = {}
        version = self.settings.export(export).version
        for run in reversed(runs.latest(self.database, export, most)):
            # Under other settings the export may have had other segments.
            if run.state in _COUNTED and run.settings == version:
                by_day[f"{run.started_at:%Y-%m-%d}"] = run
        found = []
        for run in by_day.values():
            counts = ledger.total(shard.counts for shard in runs.shards(self.database, run.id))
            found.append(
                DayPart(
                    day=run.started_at.date(),
                    count=counts["selected"],
                    confirmed=counts[Column.DELIVERED] + counts[Column.UNCHANGED],
                    run=run.id,
                    export=export,
                )
            )
        return found

    def _listing(self, segment: str, after: str) -> Iterator[str]:
        for bucket in range(bucket_of(after) if after else 0, BUCKETS):
            while page := segments.listing(self.database, segment, bucket, after=after, limit=LISTING):
                yield from page
                after = page[-1]

    def _memberships(self, segment: str, ids: list[str]) -> Iterator[Membership]:
        """Yield the memberships of those of the profiles that have one; an alias has none of its own."""
        for stored in profiles.read(self.database, ids).values():
            if isinstance(stored, Profile) and segment in stored.memberships:
                yield stored.memberships[segment]


def _counted_at(destination: Destination, account: Account, target: str) -> tuple[int | None, str | None]:
    """Return how many the destination says are in a target, or why that is not known."""
    try:
        count = destination.members(account, target)
    except Problem as problem:
        return None, str(problem)
    return count, None if count is not None else "its API does not say how many are in it"
