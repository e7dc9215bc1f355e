"""Runs: full exports as cursors. Pure.

A run goes through phases, each with a cursor for every shard; when all of them are through, the next phase begins. A
page reads on from the cursor of its shard.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from relay.domain.keyed_hash import BUCKETS

RETRY_ALL = "all"
"""`Run.retry` where every rejection is tried again, whatever its code."""


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    NEEDS_CONFIRMATION = "needs-confirmation"
    FINISHED = "finished"
    MANY_REJECTED = "many-rejected"
    """Finished, with so many rejected that it is not well (`ledger.rejects_too_many`)."""
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    REFUSED = "refused"


ENDED = frozenset({RunState.FINISHED, RunState.MANY_REJECTED, RunState.CANCELLED, RunState.STOPPED, RunState.REFUSED})

CUT_SHORT = frozenset({RunState.CANCELLED, RunState.STOPPED, RunState.REFUSED})
"""States of an export's last run that leave what it has not done to the next one."""

WAITS_FOR_SOMEBODY = frozenset({RunState.NEEDS_CONFIRMATION, RunState.REFUSED, RunState.MANY_REJECTED})
"""States of an export's last run in which nothing gets better by itself."""


class Phase(IntEnum):
    """What a run does at present."""

    ASK = 0
    """The account is asked, once, whether a whole segment can go; only the first shard has a page of this phase."""
    DELIVER = 1
    """Members are delivered and leavers are counted."""
    REMOVE = 2
    """Leavers are taken out."""


Progress = Sequence[tuple[int, int]]
"""Seconds after a run's start, and how many profiles were looked at by then; both only ever grow."""

MOST_MARKS: Final = 24
"""So that the item of a shard stays below a write unit."""

_DIGITS: Final = 8


def marked(progress: Progress, seconds: int, more: int) -> Progress:
    """Return a series with the mark of one more page. When it is full, every other mark is dropped."""
    done = (progress[-1][1] if progress else 0) + more
    before = progress[:-1] if progress and progress[-1][0] >= seconds else progress
    if len(before) >= MOST_MARKS:
        before = before[1::2]
    return (*before, (seconds, done))


def together(series: Iterable[Progress]) -> Progress:
    """Return the sum of several series, with a mark at each moment that one of them has."""
    steps = sorted(
        (seconds, done - before)
        for one in series
        for (seconds, done), before in zip(one, (0, *(done for _, done in one)), strict=False)
    )
    found: dict[int, int] = {}
    total = 0
    for seconds, more in steps:
        total += more
        found[seconds] = total
    return tuple(found.items())


@dataclass(frozen=True, slots=True)
class Shard:
    """The cursor of one shard in one phase of a run, and its part of the ledger.

    `after` is the last profile id done, `moved_at` when a page moved it (or its message was sent again) last.
    `progress` says how many profiles it had looked at so many seconds after the run's start: at most `MOST_MARKS`.
    """

    index: int
    phase: Phase
    after: str = ""
    done: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    moved_at: datetime | None = None
    progress: Progress = ()

    @property
    def share(self) -> float:
        """Return which part of the phase the cursor has behind it: ids are keyed hashes, so they lie evenly."""
        if self.done:
            return 1.0
        return int(self.after[:_DIGITS], 16) / 16**_DIGITS if self.after else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """One full export of an export's segments, under one version of its settings.

    `retry` is set where an operator asked for rejections to be tried again: those of this code, or `RETRY_ALL`.
    `full` says that every member is sent, also where the destination holds it as desired. `planned_leaving` is set
    where an operator has agreed beforehand that so many may leave, as a plan has counted them.
    """

    id: str
    export: str
    cause: str
    state: RunState
    phase: Phase
    shards: int
    settings: int
    started_at: datetime
    ended_at: datetime | None = None
    reason: str | None = None
    confirmed_by: str | None = None
    retry: str | None = None
    full: bool = False
    planned_leaving: int | None = None
    version: int = 0


def first_shards(run: Run) -> list[Shard]:
    """Return the cursors of all phases of a run before their first page."""
    return [
        Shard(index, phase, moved_at=run.started_at)
        for phase in Phase
        for index in range(1 if phase is Phase.ASK else run.shards)
    ]


def buckets_of(shard: int, shards: int) -> Iterable[int]:
    """Return the buckets of a shard in ascending order."""
    return range(shard, BUCKETS, shards)
