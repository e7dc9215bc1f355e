"""Candidates of an export: members and everyone ever assigned, sorted, each once. Runs and plans go through them."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from relay.domain.exports import Export
from relay.domain.keyed_hash import bucket_of
from relay.reconcile.survey import Listed
from relay.stores import assignments, segments
from relay.stores.database import Database, Item

LISTING: Final = 500
"""Ids read at a time from one listing."""

_profile = attrgetter("profile")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Lists candidates."""

    database: Database

    def all(
        self, export: Export, buckets: Iterable[int], after: str, *, former: Sequence[str] = ()
    ) -> Iterator[Listed]:
        """Yield the candidates of some buckets, in ascending order, after a profile id.

        `former` are the keys of exports that owned a target of this one before: whoever they have assigned is one too.
        """
        for bucket in _from(buckets, after):
            parts = [
                self._assigned(export.key, bucket, after),
                *(self._members(segment, bucket, after) for segment in export.segments),
                *(self._formerly_assigned(other, bucket, after) for other in former),
            ]
            by_profile = groupby(heapq.merge(*parts, key=_profile), key=_profile)
            yield from (_together(profile, entries) for profile, entries in by_profile)

    def assigned(self, export: Export, buckets: Iterable[int], after: str) -> Iterator[Listed]:
        """Yield those who were ever assigned alone: all leavers are among them."""
        for bucket in _from(buckets, after):
            yield from self._assigned(export.key, bucket, after)

    def _assigned(self, export: str, bucket: int, after: str) -> Iterator[Listed]:
        for profile, item in assignments.listing(self.database, export, bucket, after):
            yield Listed(profile, item)

    def _formerly_assigned(self, export: str, bucket: int, after: str) -> Iterator[Listed]:
        for profile, item in assignments.listing(self.database, export, bucket, after):
            yield Listed(profile, former=((export, item),))

    def _members(self, segment: str, bucket: int, after: str) -> Iterator[Listed]:
        """Yield a segment's index in one bucket, reading page by page."""
        while page := segments.listing(self.database, segment, bucket, after=after, limit=LISTING):
            yield from map(Listed, page)
            after = page[-1]


def _from(buckets: Iterable[int], after: str) -> Iterator[int]:
    start = bucket_of(after) if after else 0
    return (bucket for bucket in buckets if bucket >= start)


def _together(profile: str, entries: Iterable[Listed]) -> Listed:
    """Return one entry of what several listings say of a profile."""
    assignment: Item | None = None
    former: tuple[tuple[str, Item], ...] = ()
    for one in entries:
        assignment = one.assignment if assignment is None else assignment
        former = (*former, *one.former) if one.former else former
    return Listed(profile, assignment, former)
