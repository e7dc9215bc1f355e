"""The database on disk, for benchmarks: DynamoDB cannot be had at their speed, and memory must not hold a segment.

One SQLite file, one connection, one writer at a time. Losing the file loses nothing, so nothing is ever synced.
"""

import marshal
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from relay.stores.database import (
    ABSENT,
    MAX_ITEM_BYTES,
    Delete,
    Expectation,
    Item,
    Key,
    Put,
    Table,
    Update,
    Write,
    check_key,
    check_transaction,
    check_write,
    size_of,
)

_HIGHEST = "\U0010ffff"
_CACHE_KIBIBYTES = 16_384
"""What SQLite keeps in this process; the operating system's own cache does the rest, outside of it."""

_Attributes = dict[str, str | int | bool | bytes]


class DiskDatabase:
    """Keeps what `Database` promises, in one SQLite file.

    `cpu_seconds` is the CPU time that went into its methods: the store's share of a benchmark.
    """

    def __init__(self, path: Path) -> None:
        self.cpu_seconds = 0.0
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
        for table in Table:
            self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table.value} "
                "(pk TEXT NOT NULL, sk TEXT NOT NULL, item BLOB NOT NULL, PRIMARY KEY (pk, sk)) WITHOUT ROWID"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items in the order of the keys, None where there is none."""
        for key in keys:
            check_key(key)
        with self._at_work():
            return [self._item(key) for key in keys]

    def query(
        self,
        table: Table,
        pk: str,
        *,
        after: str = "",
        until: str = "",
        prefix: str = "",
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Item]:
        """Return items of one partition by `sk`: greater than `after`, at most `until`, starting with `prefix`."""
        check_key(Key(table, pk, prefix or after or "?"))
        last = min(until or _HIGHEST, prefix + _HIGHEST)
        select = (
            f"SELECT sk, item FROM {table.value} WHERE pk = ? AND sk > ? AND sk >= ? AND sk <= ? "
            f"ORDER BY sk {'DESC' if newest_first else 'ASC'} LIMIT ?"
        )
        asked = (pk, after, prefix, last, -1 if limit is None else max(limit, 0))
        with self._at_work(), closing(self._connection.execute(select, asked)) as rows:
            return [{"pk": pk, "sk": sk, **_unpack(packed)} for sk, packed in rows]

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """Apply each write by itself, and say which applied."""
        for write in writes:
            check_write(write)
        with self._at_work(), self._transaction():
            return [self._apply([write], alone=True) for write in writes]

    def transact(self, writes: Sequence[Write]) -> bool:
        """Apply all writes or none."""
        check_transaction(writes)
        with self._at_work(), self._transaction():
            return self._apply(writes)

    def load(self, writes: Iterable[Put | Delete]) -> None:
        """Put items without looking at expectations: many times faster, for what is there before a benchmark.

        Nothing is deleted: that is no part of a load.
        """
        rows: dict[Table, list[tuple[str, str, bytes]]] = {}
        for put in writes:
            if isinstance(put, Delete):
                raise TypeError("a load deletes nothing")
            rows.setdefault(put.key.table, []).append((put.key.pk, put.key.sk, marshal.dumps(put.item)))
        with self._at_work(), self._transaction():
            for table, values in rows.items():
                self._connection.executemany(f"INSERT OR REPLACE INTO {table.value} VALUES (?, ?, ?)", values)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            began = time.thread_time()
            try:
                yield
            finally:
                self.cpu_seconds += time.thread_time() - began

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit in any case: what belongs together was applied as a whole or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def _item(self, key: Key) -> Item | None:
        select = f"SELECT item FROM {key.table.value} WHERE pk = ? AND sk = ?"
        row = self._connection.execute(select, (key.pk, key.sk)).fetchone()
        return None if row is None else {**_own(key), **_unpack(row[0])}

    def _apply(self, writes: Sequence[Write], *, alone: bool = False) -> bool:
        stored = {write.key: self._item(write.key) for write in writes if _depends_on_what_is_stored(write)}
        if not all(_holds(write.expect, stored.get(write.key)) for write in writes):
            return alone and isinstance(writes[0], Delete) and stored[writes[0].key] is None
        # Worked out before anything is written: what fails on the way must leave nothing behind.
        after = [(write.key, _after(write, stored.get(write.key))) for write in writes]
        for key, attributes in after:
            if attributes is not None and size_of({**_own(key), **attributes}) > MAX_ITEM_BYTES:
                raise ValueError(f"an item of {key.table.value} is larger than 400 KB")
        for key, attributes in after:
            if attributes is None:
                self._connection.execute(f"DELETE FROM {key.table.value} WHERE pk = ? AND sk = ?", (key.pk, key.sk))
            else:
                row = (key.pk, key.sk, marshal.dumps(attributes))
                self._connection.execute(f"INSERT OR REPLACE INTO {key.table.value} VALUES (?, ?, ?)", row)
        return True


class Loading:
    """A `Database` whose writes are loads: what the stores' own functions write lands in its stored form."""

    def __init__(self, disk: DiskDatabase) -> None:
        self._disk = disk
        self.get = disk.get
        self.query = disk.query
        self.transact = disk.transact

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """Load items, whatever is expected of them."""
        found = iter(self._disk.get([write.key for write in writes if isinstance(write, Update)]))
        self._disk.load(_whole(write, next(found)) if isinstance(write, Update) else write for write in writes)
        return [True] * len(writes)


def _whole(write: Update, item: Item | None) -> Put:
    return Put(write.key, _after(write, item) or {})


def _own(key: Key) -> _Attributes:
    return {"pk": key.pk, "sk": key.sk} if key.sk else {"pk": key.pk}


def _unpack(packed: bytes) -> _Attributes:
    attributes: _Attributes = marshal.loads(packed)
    return attributes


def _depends_on_what_is_stored(write: Write) -> bool:
    return bool(write.expect) or not isinstance(write, Put | Delete)


def _holds(expect: Expectation, item: Item | None) -> bool:
    for name, wanted in expect.items():
        value = None if item is None else item.get(name)
        if wanted is ABSENT:
            if value is not None:
                return False
        elif type(value) is not type(wanted) or value != wanted:
            return False
    return True


def _after(write: Write, item: Item | None) -> _Attributes | None:
    """Return an item's attributes, without its key, once a write is done; None when it is deleted."""
    if isinstance(write, Put):
        return write.item
    if isinstance(write, Delete):
        return None
    attributes = {name: value for name, value in (item or {}).items() if name not in ("pk", "sk")} | write.put
    for name, amount in write.add.items():
        old = attributes.get(name, 0)
        if isinstance(old, bool) or not isinstance(old, int):
            raise TypeError(f"{name} is not a number")
        attributes[name] = old + amount
    return attributes
