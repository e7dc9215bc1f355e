"""The ledger of a run: every selected profile is in exactly one column, at every moment. Pure.

    selected = delivered + unchanged + rejected + duplicate + outstanding
    leaving  = removed + kept + leaving_outstanding + returned        (`returned` is what the others leave of `leaving`)

Beside the ledger a run counts `assigned` (who was assigned before it began), `changed` (leavers who changed since then:
they are not counted as leaving, and may be taken out all the same), `kept_before` (leavers whom the destination has
refused to let go before), and the `calls` of its pages.

Counts only ever change by the moves below, so the sums hold by construction. A page counts what is final at once and
the rest as outstanding; whoever learns more moves profiles out of there.
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
    """The destination refuses to let it go, or another profile that was turned away may want the identity."""
    OUTSTANDING = "leaving_outstanding"


Counts = Mapping[str, int]

REJECTED_SHARE = 0.2
REJECTED_LEAST = 20
"""A run that rejects more than this share of the selected for one reason, and more than this many, is not well."""

_WARNING = "warning:"
_REJECTED = "rejected:"


def counted(column: Column, code: str | None = None) -> dict[str, int]:
    """Return the move that counts a member for the first time; `code` is the reason of a rejection."""
    return {"selected": 1, column.value: 1, **_reason(column, code)}


def settled(column: Column, code: str | None = None) -> Counter[str]:
    """Return the move of a member out of `outstanding`."""
    if column is Column.OUTSTANDING:
        return Counter()
    return Counter({Column.OUTSTANDING.value: -1, column.value: 1, **_reason(column, code)})


def leaver_counted(column: LeaverColumn) -> Counter[str]:
    """Return the move that counts what became of a leaver, who was counted as leaving before."""
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
    """Return how many were counted as leaving and changed before their turn came.

    They are members again, or were taken out without being counted.
    """
    return counts.get("leaving", 0) - sum(counts.get(column.value, 0) for column in LeaverColumn)


def adds_up(counts: Counts) -> bool:
    """Return whether every selected profile is in exactly one column, and no more left than were leaving."""
    selected = sum(counts.get(column.value, 0) for column in Column)
    return counts.get("selected", 0) == selected and returned(counts) >= 0


def would_leave(counts: Counts, *, looks: bool) -> int:
    """Return how many leavers a person may have to confirm.

    `looks` says that looks take leavers out at any time, so that whoever changed since the run began is no matter of
    the run. Whom the destination kept before was confirmed before.
    """
    changed = 0 if looks else counts.get("changed", 0)
    return counts.get("leaving", 0) + changed - counts.get("kept_before", 0)


def needs_confirmation(
    counts: Counts, *, passed: bool, streams: bool = False, share: float = 0.2, least: int = 100
) -> bool:
    """Return whether so many of those assigned before would leave that a person must confirm it first.

    `passed` says whether a run under the same settings was let through before; until then a list of any size that
    would be emptied may be a mistake in the settings. `streams` says whether the export streams.
    """
    leaving, assigned = would_leave(counts, looks=passed and streams), counts.get("assigned", 0)
    emptied = assigned > 1 and leaving >= assigned
    return leaving > max(least, share * assigned) or (emptied and not passed)


def is_settled(counts: Counts) -> bool:
    """Return whether nothing is outstanding."""
    return counts.get(Column.OUTSTANDING, 0) == 0 and counts.get(LeaverColumn.OUTSTANDING, 0) == 0


def rejections(counts: Counts) -> dict[str, int]:
    """Return how many were rejected by the code of the reason."""
    return _by_code(counts, _REJECTED)


def warned(codes: Iterable[str]) -> Counter[str]:
    """Return what counts a profile with warnings, beside the ledger."""
    return Counter(f"{_WARNING}{code}" for code in codes)


def warnings(counts: Counts) -> dict[str, int]:
    """Return how many profiles were counted with each warning, by its code."""
    return _by_code(counts, _WARNING)


def rejects_too_many(counts: Counts) -> str | None:
    """Return what a finished run has to say of its rejections, None when they are within what is usual.

    They are not when nobody at all was taken, or one reason met more than `REJECTED_SHARE` of the selected.
    """
    selected, rejected = counts.get("selected", 0), counts.get(Column.REJECTED, 0)
    code, most = max(rejections(counts).items(), key=lambda pair: (pair[1], pair[0]), default=("", 0))
    if rejected > 0 and counts.get(Column.DELIVERED, 0) + counts.get(Column.UNCHANGED, 0) == 0:
        return f"nobody was taken: {rejected} rejected, {most} of them for {code}"
    if most > max(REJECTED_LEAST, REJECTED_SHARE * selected):
        return f"{most} of {selected} were rejected for {code}"
    return None


COMPARED_LEAST = 20
"""Runs that have selected fewer say nothing by their share of rejected."""


def rejected_more(before: Counts, now: Counts) -> int:
    """Return by how many percent points the share of rejected has risen from one run to the next; 0 where it has not.

    0, too, where one of them has selected fewer than `COMPARED_LEAST`.
    """
    if min(before.get("selected", 0), now.get("selected", 0)) < COMPARED_LEAST:
        return 0
    shares = [counts.get(Column.REJECTED, 0) / counts["selected"] for counts in (before, now)]
    return max(round(100 * (shares[1] - shares[0])), 0)


def _by_code(counts: Counts, prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): number for name, number in counts.items() if name.startswith(prefix) and number > 0
    }


def _reason(column: Column, code: str | None) -> dict[str, int]:
    return {f"{_REJECTED}{code}": 1} if column is Column.REJECTED and code is not None else {}
