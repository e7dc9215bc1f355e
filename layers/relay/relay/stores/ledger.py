"""The ledger of changes: every message of the Changes queue counted exactly once, whatever happens around it.

A batch's mark (pk `ledger#batch id`, sk `batch`) and its counts (pk `ledger#source`, sk `totals`) are written in one
transaction, so a redelivered message finds its mark and adds nothing. The mark names the changes that were set apart:
each goes on in a message of its own, which is sent after the mark is written and before the batch's own message is
acknowledged. So every change is counted or lies in a queue, at every moment.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from relay.stores.database import ABSENT, MAX_GROUP, Database, Item, Key, Put, Table, Update, Write, write_one

MARKS_KEPT = timedelta(days=60)
"""Longer than a message can come back: 4 days in the queue, 14 in the dead-letter queue, and again after a redrive."""


MAX_NAMES = 12


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of changes: in the store now, in it before, without content, or unusable."""

    merged: int = 0
    stale: int = 0
    ignored: int = 0
    rejected: int = 0

    @property
    def changes(self) -> int:
        """All of them."""
        return self.merged + self.stale + self.ignored + self.rejected

    def by_name(self) -> dict[str, int]:
        """Return the counts that are not nought."""
        return {name: amount for name in _NAMES if (amount := getattr(self, name))}

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(Counts))


@dataclass(frozen=True, slots=True)
class Line:
    """One message's entry. `apart` are the places of changes that it does not count: they go on by themselves."""

    batch: str
    source: str
    counts: Counts
    apart: tuple[int, ...] = ()
    """The changes that were set apart, by their places in the batch."""
    nobody: bool = False
    """Whether none of its changes names a profile: nobody was found in any of them."""
    names: tuple[str, ...] = ()
    """What identities are called in its changes; kept (some of them) where nobody was found."""


@dataclass(frozen=True, slots=True)
class InVain:
    """How many changes in a row `profile_key` found nobody in, up to the last; whether these are all there were."""

    changes: int
    is_all: bool
    names: tuple[str, ...] = ()
    """What the identities in the last of them are called."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The lines entered now, and by batch which of its changes were set apart when it was entered, now or before."""

    entered: Sequence[Line]
    apart: Mapping[str, tuple[int, ...]]


def record(database: Database, lines: Sequence[Line], now: datetime) -> Recorded:
    """Enter the lines that are not entered yet, each batch once."""
    lines = list({line.batch: line for line in lines}.values())
    marks = database.get([_mark(line.batch) for line in lines])
    fresh = [line for line, mark in zip(lines, marks, strict=True) if mark is None]
    entered: list[Line] = []
    for page in _pages(fresh):
        # One addition for many messages: their source's totals are a single, contended item.
        if write_one(database, *_entering(page, now)):
            entered += page
        else:
            entered += [line for line in page if write_one(database, *_entering([line], now))]
    apart = {line.batch: line.apart for line in entered if line.apart}
    ours = {line.batch for line in entered}
    raced = [line.batch for line in fresh if line.batch not in ours]
    for mark in [*marks, *database.get([_mark(batch) for batch in raced])]:
        if mark is not None and "apart" in mark:
            batch = str(mark["pk"]).removeprefix(_MARK)
            apart[batch] = tuple(map(int, str(mark["apart"]).split(",")))
    return Recorded(entered, apart)


def totals(database: Database, source: str) -> Counts:
    """Return all counts of a source since its first message."""
    item = database.get([_totals(source)])[0] or {}
    return Counts(*(int(item.get(name, 0)) for name in _NAMES))


def in_vain(database: Database, sources: Sequence[str]) -> dict[str, InVain]:
    """Return the sources that found nobody in the last message they were sent."""
    items = database.get([_totals(source) for source in sources])
    found: dict[str, InVain] = {}
    for source, item in zip(sources, items, strict=True):
        nobody = 0 if item is None else int(item.get("nobody", 0))
        if item is not None and nobody > 0:
            is_all = nobody >= sum(int(item.get(name, 0)) for name in _NAMES)
            found[source] = InVain(nobody, is_all, tuple(filter(None, str(item.get("names", "")).split(","))))
    return found


def _pages(lines: Sequence[Line]) -> Iterator[list[Line]]:
    by_source: dict[str, list[Line]] = {}
    for line in lines:
        by_source.setdefault(line.source, []).append(line)
    for same in by_source.values():
        for start in range(0, len(same), MAX_GROUP - 1):
            yield same[start : start + MAX_GROUP - 1]


def _entering(lines: Sequence[Line], now: datetime) -> list[Write]:
    """Return the group that marks lines of one source and adds their counts."""
    expires_at = int((now + MARKS_KEPT).timestamp())
    marks: list[Write] = []
    for line in lines:
        apart: Item = {"apart": ",".join(map(str, line.apart))} if line.apart else {}
        marks.append(Put(_mark(line.batch), {"expires_at": expires_at, **apart}, {"pk": ABSENT}))
    counts = sum((line.counts for line in lines), Counts())
    if counts.changes == 0:
        return marks
    if all(line.nobody for line in lines):
        names = ",".join(lines[-1].names[:MAX_NAMES])
        added = {**counts.by_name(), "nobody": counts.changes}
        totals = Update(_totals(lines[0].source), put={"names": names}, add=added)
    else:
        totals = Update(_totals(lines[0].source), put={"nobody": 0}, add=counts.by_name())
    return [*marks, totals]


_MARK = "ledger#"


def _mark(batch: str) -> Key:
    return Key(Table.CONTROL, f"{_MARK}{batch}", "batch")


def _totals(source: str) -> Key:
    return Key(Table.CONTROL, f"{_MARK}{source}", "totals")
