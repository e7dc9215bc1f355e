"""Runs: full exports as cursors, and the ledger that adds up at every moment."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from relay.domain.keyed_hash import BUCKETS

COUNTS = ("selected", "delivered", "unchanged", "rejected", "duplicate", "outstanding")
"""The ledger of a run: selected = delivered + unchanged + rejected + duplicate + outstanding, at every moment."""


_WARNING = "warning:"


def warning_column(code: str) -> str:
    """Return the name under which profiles with a warning are counted, beside the ledger."""
    return f"{_WARNING}{code}"


def warnings_in(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many profiles were counted with each warning, by its code."""
    return {name.removeprefix(_WARNING): number for name, number in counts.items() if name.startswith(_WARNING)}


class Outcome(StrEnum):
    """What became of one profile in one look; the values are the ledger's columns."""

    DELIVERED = "delivered"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    OUTSTANDING = "outstanding"
    """An import will tell; whoever settles it moves the profile to another column."""
    WAITING = "waiting"
    """Somebody else's call is open: the run is told when it ends. Counted as outstanding."""
    HELD = "held"
    """A leaver on the first pass. Counted as outstanding."""
    ABSENT = "absent"
    """Neither a member nor ever told: not selected."""


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    NEEDS_CONFIRMATION = "needs-confirmation"
    FINISHED = "finished"
    MANY_REJECTED = "many-rejected"
    """Finished, with so many rejected that it is not well (`rejects_too_many`)."""
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    REFUSED = "refused"


ENDED = {RunState.FINISHED, RunState.MANY_REJECTED, RunState.CANCELLED, RunState.STOPPED, RunState.REFUSED}

WAITS_FOR_SOMEBODY = {RunState.NEEDS_CONFIRMATION, RunState.REFUSED, RunState.MANY_REJECTED}
"""States of an export's last run in which nothing gets better by itself."""

REJECTED_SHARE = 0.2
REJECTED_LEAST = 20
"""A run that rejects more than this share of the selected for one reason, and more than this many, is not well."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a run: its cursor, and its part of the ledger.

    `phase` 1 delivers joins and updates and counts the leavers, `phase` 2 removes them. `after` is the last profile
    id done. `leaving` is how many leavers the first pass held back and the second has not accounted for yet.
    """

    index: int
    phase: int = 1
    after: str = ""
    done: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    moved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One full export of an export's segments."""

    id: str
    export: str
    cause: str
    state: RunState
    phase: int
    shards: int
    settings: int
    started_at: datetime
    ended_at: datetime | None = None
    reason: str | None = None
    confirmed_by: str | None = None
    version: int = 0


def buckets_of(shard: int, shards: int) -> Iterable[int]:
    """Return the buckets of a shard in ascending order."""
    return range(shard, BUCKETS, shards)


def total(shards: Iterable[Shard]) -> Counter[str]:
    """Return the counts of all shards together."""
    counts: Counter[str] = Counter()
    for shard in shards:
        counts.update(shard.counts)
    return counts


def ledger_adds_up(counts: Mapping[str, int]) -> bool:
    """Return whether every selected profile is in exactly one column."""
    return counts.get("selected", 0) == sum(counts.get(column, 0) for column in COUNTS[1:])


def rejects_too_many(counts: Mapping[str, int]) -> str | None:
    """Return what a finished run has to say of its rejections, None when they are within what is usual.

    They are not when nobody at all was taken, or one reason met more than `REJECTED_SHARE` of the selected.
    """
    selected, rejected = counts.get("selected", 0), counts.get("rejected", 0)
    code, most = max(rejections(counts).items(), key=lambda pair: (pair[1], pair[0]), default=("", 0))
    if rejected > 0 and counts.get("delivered", 0) + counts.get("unchanged", 0) == 0:
        return f"nobody was taken: {rejected} rejected, {most} of them for {code}"
    if most > max(REJECTED_LEAST, REJECTED_SHARE * selected):
        return f"{most} of {selected} were rejected for {code}"
    return None


def rejections(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many were rejected by the code of the reason."""
    prefix = "rejected:"
    return {name[len(prefix) :]: number for name, number in counts.items() if name.startswith(prefix) and number > 0}


def needs_confirmation(counts: Mapping[str, int], *, passed: bool, share: float = 0.2, least: int = 100) -> bool:
    """Return whether so many of those told would leave that a person must confirm it first.

    `passed` tells whether a run under the same settings was let through before; until then a list of any size that
    would be emptied may be a slip in the settings.
    """
    leaving, told = counts.get("leaving", 0), counts.get("told", 0)
    emptied = told > 1 and leaving >= told
    return leaving > max(least, share * told) or (emptied and not passed)
