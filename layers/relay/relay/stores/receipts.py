"""The ledger of changes: what became of every change that route was handed, by source.

One item per source (pk `receipts#source`, sk `totals`). An invocation adds to it once, after all else is done and
before its messages are acknowledged. So every change is counted, or it still lies in a queue. A message that comes
again after it was counted is counted again: as received again, and as stale.

    receipts = merged + stale + ignored + rejected + (in a queue or a dead-letter queue)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from relay.domain import moments
from relay.stores.database import Database, Item, Key, Table, Update

FORMAT: Final = 1
"""The version of the stored form."""

MAX_NAMES: Final = 12
"""How many names of identities are kept of the last changes in which nobody was found."""


class Outcome(StrEnum):
    """What became of a change."""

    MERGED = "merged"
    """The conditional write of its profile brought it into the store."""
    STALE = "stale"
    """All it says was in the store before, or was beaten by something newer."""
    IGNORED = "ignored"
    """It says nothing."""
    REJECTED = "rejected"
    """It cannot be used: it names no profile, or the profile has no more room."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many changes of a source had each outcome."""

    merged: int = 0
    stale: int = 0
    ignored: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, counts: Mapping[Outcome, int]) -> "Counts":
        """Return the counts of a mapping by outcome."""
        return cls(**{outcome.value: counts.get(outcome, 0) for outcome in Outcome})

    @property
    def changes(self) -> int:
        """All of them."""
        return self.merged + self.stale + self.ignored + self.rejected

    def by_name(self) -> dict[str, int]:
        """Return the counts that are not nought."""
        return {outcome.value: amount for outcome in Outcome if (amount := getattr(self, outcome.value))}


@dataclass(frozen=True, slots=True)
class InVain:
    """How many changes in a row `profile_key` found nobody in, up to the last; whether these are all there were."""

    changes: int
    is_all: bool
    names: tuple[str, ...] = ()
    """What the identities in the last of them are called."""


def add(
    database: Database,
    source: str,
    counts: Counts,
    *,
    nobody: bool,
    names: Sequence[str],
    at: datetime | None = None,
) -> None:
    """Add counts to those of a source, in a transaction: its token keeps it from being done twice.

    `nobody` says that none of the changes names a profile; `names` are what the identities in the last of them are
    called, of which MAX_NAMES are kept then. `at` is when it happened. Raises Busy, and then it
    may have been added or not.
    """
    put: Item = {"format": FORMAT}
    if at is not None:
        put["at"] = moments.text(at)
    added = counts.by_name()
    if nobody:
        put["names"] = ",".join(names[:MAX_NAMES])
        added["nobody"] = counts.changes
    else:
        put["nobody"] = 0
    database.transact([Update(_totals(source), put, added)])


@dataclass(frozen=True, slots=True)
class Receipts:
    """All counts of a source since its first message, and when the last was counted."""

    counts: Counts
    last: datetime | None


def of_sources(database: Database, sources: Sequence[str]) -> dict[str, Receipts]:
    """Return what was counted of sources; nothing of those that never sent anything."""
    items = database.get([_totals(source) for source in sources])
    return {
        source: Receipts(_counts(item), moments.parse(str(item["at"])) if "at" in item else None)
        for source, item in zip(sources, items, strict=True)
        if item is not None
    }


def totals(database: Database, source: str) -> Counts:
    """Return all counts of a source since its first message."""
    return _counts(database.get([_totals(source)])[0] or {})


def in_vain(database: Database, sources: Sequence[str]) -> dict[str, InVain]:
    """Return the sources that found nobody in the last message they were sent."""
    items = database.get([_totals(source) for source in sources])
    found: dict[str, InVain] = {}
    for source, item in zip(sources, items, strict=True):
        nobody = 0 if item is None else int(item.get("nobody", 0))
        if item is not None and nobody > 0:
            is_all = nobody >= _counts(item).changes
            found[source] = InVain(nobody, is_all, tuple(filter(None, str(item.get("names", "")).split(","))))
    return found


def _counts(item: Item) -> Counts:
    return Counts(*(int(item.get(outcome.value, 0)) for outcome in Outcome))


def _totals(source: str) -> Key:
    return Key(Table.CONTROL, f"receipts#{source}", "totals")
