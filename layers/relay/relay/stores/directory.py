"""The directory of connections: what route must know of each without reading its secret. The tick keeps it."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.clock import Clock
from relay.stores.database import Database, Delete, Item, Key, Put, Table

FORMAT: Final = 1

_PK = "directory"

MISS_AGE = timedelta(milliseconds=200)
"""How long a connection that is not there is not looked for again: a change that comes just after it must count."""

MAX_AGE = timedelta(seconds=5)
"""How long a read may be answered from memory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection's destination, whether its exports stream unless they say otherwise, and its number of shards."""

    destination: str
    streams: bool
    shards: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was read when, and who was looked for in vain."""

    at: datetime
    entries: dict[str, Entry]
    missing: Set[str]


class Directory:
    """Reads and keeps the entries (table `control`, pk `directory`, sk the connection)."""

    def __init__(self, database: Database, clock: Clock, *, max_age: timedelta = MAX_AGE) -> None:
        self._database = database
        self._clock = clock
        self._max_age = max_age
        self._kept: _Kept | None = None

    def read(self) -> dict[str, Entry]:
        """Return all entries by connection, at most `max_age` old."""
        return dict((self._still_good() or self._read(frozenset())).entries)

    def look_up(self, needed: Set[str]) -> tuple[dict[str, Entry], Set[str]]:
        """Return all entries, and those of the `needed` that a read made for this call did not find.

        One that is missing is read for at once, the first time; then it is missing for `MISS_AGE`. A change that
        comes when the tick has just entered it is left to the run that follows when the settings are seen everywhere.
        """
        kept = self._still_good()
        if kept is not None and needed <= kept.entries.keys() | kept.missing:
            return dict(kept.entries), frozenset()
        kept = self._read(needed)
        return dict(kept.entries), kept.missing

    def _still_good(self) -> _Kept | None:
        kept = self._kept
        if kept is None:
            return None
        age = min(self._max_age, MISS_AGE) if kept.missing else self._max_age
        return None if self._clock.now() - kept.at > age else kept

    def _read(self, needed: Set[str]) -> _Kept:
        entries = {
            str(item["sk"]): Entry(str(item["destination"]), bool(item["streams"]), int(item["shards"]))
            for item in self._database.query(Table.CONTROL, _PK)
        }
        self._kept = _Kept(self._clock.now(), entries, needed - entries.keys())
        return self._kept

    def keep(self, connection: str, entry: Entry) -> None:
        """Write an entry."""
        place = Key(Table.CONTROL, _PK, connection)
        item: Item = {
            "destination": entry.destination,
            "streams": entry.streams,
            "shards": entry.shards,
            "format": FORMAT,
        }
        self._database.write([Put(place, item)])
        self._kept = None

    def forget(self, connection: str) -> None:
        """Delete an entry."""
        self._database.write([Delete(Key(Table.CONTROL, _PK, connection))])
        self._kept = None
