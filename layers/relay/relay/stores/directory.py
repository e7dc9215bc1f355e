"""The directory of connections: what route must know of each without reading its secret. The tick keeps it."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.clock import Clock
from relay.stores.database import Database, Item, Key, Put, Table, write_one

_PK = "directory"

MAX_AGE = timedelta(seconds=5)
"""How long a read may be answered from memory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection's destination, whether its exports stream unless they say otherwise, and its number of shards."""

    destination: str
    streams: bool
    shards: int


class Directory:
    """Reads and keeps the entries (table `control`, pk `directory`, sk the connection)."""

    def __init__(self, database: Database, clock: Clock, *, max_age: timedelta = MAX_AGE) -> None:
        self._database = database
        self._clock = clock
        self._max_age = max_age
        self._read: tuple[datetime, dict[str, Entry]] | None = None

    def read(self, needed: Set[str] = frozenset()) -> dict[str, Entry]:
        """Return all entries by connection, at most `max_age` old; read anew when one that is `needed` is not there.

        So a connection is known from the moment the tick has entered it, before its first run begins.
        """
        now = self._clock.now()
        if self._read is None or now - self._read[0] > self._max_age or not needed <= self._read[1].keys():
            self._read = (
                now,
                {
                    str(item["sk"]): Entry(str(item["destination"]), bool(item["streams"]), int(item["shards"]))
                    for item in self._database.query(Table.CONTROL, _PK)
                },
            )
        return dict(self._read[1])

    def keep(self, connection: str, entry: Entry) -> None:
        """Write an entry."""
        place = Key(Table.CONTROL, _PK, connection)
        item: Item = {"destination": entry.destination, "streams": entry.streams, "shards": entry.shards}
        write_one(self._database, Put(place, item))
        self._read = None
