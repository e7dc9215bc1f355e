"""The ledger of changes: what became of every change that route was handed, by source.

PARTS items per source (pk `receipts#source` and `receipts#source#n`, sk `totals`), whose sum counts: so that functions
that work at the same time do not meet at one item. An invocation adds to one of them once, after all else is done and
before its messages are acknowledged. So every change is counted, or it still lies in a queue. A message that comes
again after it was counted is counted again: as received again, and as stale.

    receipts = merged + stale + ignored + rejected + (in a queue or a dead-letter queue)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import Final

from relay.domain import moments
from relay.stores.database import Database, Item, Key, Table, Update

FORMAT: Final = 1
"""The version of the stored form."""

PARTS: Final = 16
"""How many items the counts of a source are spread over."""

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
    part: int = 0,
) -> None:
    """Add counts to a part of those of a source, in a transaction: its token keeps it from being done twice.

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
    database.transact([Update(_totals(source, part), put, added)])


@dataclass(frozen=True, slots=True)
class Receipts:
    """All counts of a source since its first message, and when the last was counted."""

    counts: Counts
    last: datetime | None


def of_sources(database: Database, sources: Sequence[str]) -> dict[str, Receipts]:
    """Return what was counted of sources; nothing of those that never sent anything."""
    return {
        source: Receipts(_sum(parts), max(filter(None, map(_at, parts)), default=None))
        for source, parts in _parts(database, sources).items()
        if parts
    }


def totals(database: Database, source: str) -> Counts:
    """Return all counts of a source since its first message."""
    return _sum(_parts(database, [source])[source])


def in_vain(database: Database, sources: Sequence[str]) -> dict[str, InVain]:
    """Return the sources that found nobody in the last message they were sent."""
    found: dict[str, InVain] = {}
    for source, parts in _parts(database, sources).items():
        newest_first = sorted(parts, key=lambda item: str(item.get("at", "")), reverse=True)
        last = list(takewhile(lambda item: int(item.get("nobody", 0)) > 0, newest_first))
        if last:
            nobody = sum(int(item["nobody"]) for item in last)
            names = tuple(filter(None, str(last[0].get("names", "")).split(",")))
            found[source] = InVain(nobody, nobody >= _sum(parts).changes, names)
    return found


def _parts(database: Database, sources: Sequence[str]) -> dict[str, list[Item]]:
    """Return the parts there are, by source."""
    keys = [(source, _totals(source, part)) for source in sources for part in range(PARTS)]
    found: dict[str, list[Item]] = {source: [] for source in sources}
    for (source, _), item in zip(keys, database.get([key for _, key in keys]), strict=True):
        if item is not None:
            found[source].append(item)
    return found


def _sum(parts: Iterable[Item]) -> Counts:
    counts: Counter[Outcome] = Counter()
    for item in parts:
        counts.update({outcome: int(item.get(outcome.value, 0)) for outcome in Outcome})
    return Counts.of(counts)


def _at(item: Item) -> datetime | None:
    return moments.parse(str(item["at"])) if "at" in item else None


def _totals(source: str, part: int) -> Key:
    return Key(Table.CONTROL, f"receipts#{source}#{part}" if part else f"receipts#{source}", "totals")
