"""Imports of whole segments: a file, or a closed set of pages, replaces who is in a segment. Pure.

    checking -> applying -> counting -> removing -> done
                                     -> needs confirmation -> removing

A set that came in pages begins with counting: its members were stored as they came. An import of a set that is
no newer than the newest that was let in is superseded; a newer one takes the place of one that is under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from relay.domain import ledger, moments

MOST_FAULTS: Final = 20
"""How many broken rows the record of an import names; all are counted."""

MOST_BROKEN: Final = 100
BROKEN_SHARE: Final = 0.01
"""More rows that are broken or name nobody than this, or than this share of the members that a set names, and nobody
leaves unconfirmed."""


class ImportState(StrEnum):
    """Where an import stands."""

    CHECKING = "checking"
    """All parts are read to their ends. Nothing is changed yet."""
    APPLYING = "applying"
    """Rows are stored; who is new enters."""
    COUNTING = "counting"
    """Who is missing is counted."""
    NEEDS_CONFIRMATION = "needs-confirmation"
    REMOVING = "removing"
    """Who is missing leaves."""
    DONE = "done"
    REFUSED = "refused"
    """It cannot be used."""
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({ImportState.DONE, ImportState.REFUSED, ImportState.SUPERSEDED, ImportState.CANCELLED})


class FilePart(NamedTuple):
    """One object of a set of files."""

    key: str
    size: int
    etag: str
    columns: tuple[str, ...] | None = None
    """The names of its columns, where a manifest says them and it may have no header: the same in all of a set."""


class RowFault(NamedTuple):
    """A row that cannot be used: its part, its line (from 1), and why. No values."""

    part: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentImport:
    """One import. `at` is the set's time: who is in the segment by then is replaced, what is newer stays.

    `cursor` counts the rows that are applied, or the buckets that are counted or removed. `closed_set` is the id of a
    set that came in pages; where it is None the set came as files.
    """

    id: str
    segment: str
    at: datetime
    begun_at: datetime
    state: ImportState
    closed_set: str | None = None
    cursor: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[RowFault] = ()
    reason: str | None = None
    confirmed_by: str | None = None
    moved_at: datetime | None = None
    ended_at: datetime | None = None
    version: int = 0

    @property
    def order(self) -> str:
        """What sets of one segment are ordered by: the greater is the newer."""
        return f"{moments.text(self.at)}#{self.id}"


def to_confirm(counts: Mapping[str, int], left: int = 0) -> str | None:
    """Return why a person must confirm that members leave, None where nobody must.

    `left` of them have left already, by an earlier count.

    So many would leave that the rule of runs asks for it. Or so many rows are broken or name nobody: who stands in one
    of them cannot be told from who is missing.
    """
    leaving, before = (counts.get(name, 0) for name in ("leaving", "members_before"))
    broken = counts.get("broken", 0) + counts.get("unidentified", 0)
    what = f"{leaving} of {before} members would leave"
    if left:
        what += f": {left} of them have left already"
    if leaving and broken > min(MOST_BROKEN, BROKEN_SHARE * counts.get("members", 0)):
        return f"{what}, and {broken} rows are broken or name nobody: they may be among them"
    return what if ledger.needs_confirmation({"leaving": leaving, "assigned": before}, passed=False) else None


def with_faults(known: Sequence[RowFault], more: Sequence[RowFault]) -> Sequence[RowFault]:
    """Return the first faults of all, each once."""
    return tuple(dict.fromkeys((*known, *more)))[:MOST_FAULTS]
