"""Storing what the rows of a file say, through the same merge and writes as changes."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from relay.breaker import failures
from relay.domain.changes import Change, MembershipChange
from relay.domain.closed_sets import Kind
from relay.domain.problems import Busy
from relay.domain.profiles import Profile
from relay.domain.segment_imports import RowFault, SegmentImport
from relay.files.rows import Row
from relay.observability import Observability
from relay.routing import coalesce
from relay.routing.merge import Draft
from relay.routing.read import Arrival
from relay.routing.write import Writer
from relay.segment_imports.files import Member
from relay.stores.receipts import Outcome

ROWS_TAKE: Final = timedelta(seconds=10)
"""The time over which the rows of a set count as received: a microsecond each."""

DEFECT = "our code met a defect at this row"


class Applied(NamedTuple):
    """What was done with the members of a chunk: who they are and what became of them, and rows that met a defect.

    `revised` counts those who were known before, of whom identities or attributes are news.
    """

    kinds: list[tuple[str, Kind]]
    faults: list[RowFault]
    revised: int


class Applier:
    """Stores members. `writer` is that of routing."""

    def __init__(self, writer: Writer, observe: Observability) -> None:
        self._writer = writer
        self._observe = observe

    def apply(self, one: SegmentImport, members: Sequence[tuple[Row, Member]]) -> Applied:
        """Store members of one chunk; return what was done.

        Whom a defect is met at is present all the same, by the ids of the row. Raises Busy when others kept writing.
        """
        kinds: list[tuple[str, Kind]] = []
        faults: list[RowFault] = []
        revised = 0
        waiting = [members]
        while waiting:
            part = waiting.pop()
            try:
                drafts = self._write(one, [_change(one, member) for _, member in part])
            except Exception as error:  # what the table of failures calls a defect concerns one row; the rest is raised
                if failures.row_for(error).do is not failures.Do.DEAD_LETTER:
                    raise
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
                    continue
                [(row, member)] = part
                self._observe.problem("row not imported", error, import_id=one.id)
                faults.append(RowFault(row.part, row.line, DEFECT))
                kinds += [(profile_id, Kind.UNCHANGED) for profile_id in member.profile_ids]
            else:
                # One of each row, so that those of one person are counted.
                kinds += [(draft.profile.id, _kind(one, draft)) for draft in drafts for _ in draft.customer.arrivals]
                revised += sum(_is_revised(one, draft) for draft in drafts)
        return Applied(kinds, faults, revised)

    def exit(self, one: SegmentImport, profiles: Iterable[Profile], leaves: Callable[[Profile], bool]) -> int:
        """Let profiles leave the segment at the set's time; return how many have left. Raises Busy.

        `leaves` judges each profile as it is when it is written: it may have become one with somebody else by then.
        """
        leaving = [MembershipChange(one.segment, False, one.at)]
        changes = [
            Change((profile.id,), one.begun_at, at=one.at, memberships=leaving, restates=True) for profile in profiles
        ]
        return sum(draft.is_changed for draft in self._write(one, changes, leaves))

    def _write(
        self, one: SegmentImport, changes: Sequence[Change], only: Callable[[Profile], bool] = lambda _: True
    ) -> list[Draft]:
        source, _, _ = one.segment.partition("/")
        arrivals = [Arrival(source, change, one.id) for change in changes]
        drafts = self._writer.write(coalesce.by_id(arrivals), only=only)
        if sum(len(draft.customer.arrivals) for draft in drafts) < len(arrivals):
            raise Busy("busy_profile", "profiles of a file kept changing")
        return drafts


def _change(one: SegmentImport, member: Member) -> Change:
    return Change(
        member.profile_ids,
        one.begun_at,
        member.place,
        at=one.at,
        identities=member.identities,
        attributes=member.attributes,
        memberships=[MembershipChange(one.segment, True, one.at)],
        restates=True,
    )


def _kind(one: SegmentImport, draft: Draft) -> Kind:
    if all(outcome is Outcome.REJECTED for outcome, _ in draft.outcomes):
        return Kind.REJECTED
    held = [stored.memberships[one.segment] for stored in draft.stored if one.segment in stored.memberships]
    if not any(membership.realized and not _is_of(one, membership.at, membership.heard_at) for membership in held):
        is_in = one.segment in draft.profile.memberships and draft.profile.memberships[one.segment].realized
        return Kind.ENTERED if is_in else Kind.UNCHANGED
    is_news = draft.is_changed or any(stored.trace == one.id for stored in draft.stored)
    return Kind.UPDATED if is_news else Kind.UNCHANGED


def _is_revised(one: SegmentImport, draft: Draft) -> bool:
    """Return whether somebody known has new values: by this try, or perhaps by one that died."""
    new, old = draft.profile, draft.survivor
    is_news = len(draft.stored) > 1 or new.identities is not old.identities or new.attributes is not old.attributes
    return bool(draft.stored) and (is_news or old.trace == one.id)


def _is_of(one: SegmentImport, at: datetime, heard_at: datetime) -> bool:
    """Return whether a membership was written for an earlier row, or by an earlier try, of this import."""
    return at == one.at and one.begun_at <= heard_at < one.begun_at + ROWS_TAKE
