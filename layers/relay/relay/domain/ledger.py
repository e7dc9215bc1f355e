"""The ledger of a run: every selected profile is in exactly one column, at every moment. Pure.

    selected = delivered + unchanged + rejected + duplicate + outstanding
    leaving  = removed + kept + leaving_outstanding + returned        (`returned` is what the others leave of `leaving`)

Counts only ever change by the moves below, so the sums hold by construction. A page counts what is final at once and the
rest as outstanding; whoever learns more moves profiles out of there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum


class Column(StrEnum):
    """Where a member stands in a run."""

    DELIVERED = "delivered"
    """The destination acknowledged it as desired since the run began."""
    UNCHANGED = "unchanged"
    """The destination held it as desired before."""
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    """Another profile with the same identity is sent in its place."""
    OUTSTANDING = "outstanding"
    """A call is open, or somebody else's has to end first."""


class LeaverColumn(StrEnum):
    """Where a profile stands that leaves in a run."""

    REMOVED = "removed"
    KEPT = "kept"
    """The destination refuses to let it go."""
    OUTSTANDING = "leaving_outstanding"


Counts = Mapping[str, int]


def counted(column: Column, code: str | None = None) -> Counter[str]:
    """Return the move that counts a member for the first time; `code` is the reason of a rejection."""
    return Counter({"selected": 1, column.value: 1, **_reason(column, code)})


def settled(column: Column, code: str | None = None) -> Counter[str]:
    """Return the move of a member out of `outstanding`."""
    if column is Column.OUTSTANDING:
        return Counter()
    return Counter({Column.OUTSTANDING.value: -1, column.value: 1, **_reason(column, code)})


def leaver_counted(column: LeaverColumn) -> Counter[str]:
    """Return the move that counts what became of a leaver, who was counted as leaving on the first pass."""
    return Counter({column.value: 1})


def leaver_settled(column: LeaverColumn) -> Counter[str]:
    """Return the move of a leaver out of `leaving_outstanding`."""
    if column is LeaverColumn.OUTSTANDING:
        return Counter()
    return Counter({LeaverColumn.OUTSTANDING.value: -1, column.value: 1})


def total(parts: Iterable[Counts]) -> Counter[str]:
    """Return the counts of all shards together."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part)
    return counts


def returned(counts: Counts) -> int:
    """Return how many who were leaving on the first pass were members again on the second."""
    return counts.get("leaving", 0) - sum(counts.get(column.value, 0) for column in LeaverColumn)


def adds_up(counts: Counts) -> bool:
    """Return whether every selected profile is in exactly one column, and no more left than were leaving."""
    selected = sum(counts.get(column.value, 0) for column in Column)
    return counts.get("selected", 0) == selected and returned(counts) >= 0


def needs_confirmation(counts: Counts, *, passed: bool, share: float = 0.2, least: int = 100) -> bool:
    """Return whether so many of those assigned before would leave that a person must confirm it first.

    `passed` tells whether a run under the same settings was let through before; until then a list of any size that would
    be emptied may be a slip in the settings.
    """
    leaving, assigned = counts.get("leaving", 0), counts.get("assigned", 0)
    emptied = assigned > 1 and leaving >= assigned
    return leaving > max(least, share * assigned) or (emptied and not passed)


def _reason(column: Column, code: str | None) -> dict[str, int]:
    return {f"rejected:{code}": 1} if column is Column.REJECTED and code is not None else {}
