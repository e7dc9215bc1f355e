"""The database in memory, with a hook around every step so that tests can crash, reorder or interrupt them.

It counts the units that DynamoDB would charge.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import cache

from relay.domain.problems import Busy
from relay.stores.database import (
    ABSENT,
    MAX_ITEM_BYTES,
    SORTED_TABLES,
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

HIGHEST = "\U0010ffff"


class Trouble(Enum):
    """What may happen to one write of several, though its expectation holds. The call ends as Busy."""

    THROTTLED = "throttled"
    """It is not applied."""
    LOST = "lost"
    """It is applied, but its answer is lost."""


def _nothing(step: str) -> None:
    """Let the step pass."""


def _no_trouble(write: Write) -> Trouble | None:
    """Let the write pass."""


def _in_order(writes: int) -> Sequence[int]:
    """Apply writes in the order given."""
    return range(writes)


class MemoryDatabase:
    """Keeps what `Database` promises.

    `before` and `after` are called around every step with its name: `get`, `query`, `write` or `transact` and the
    tables it touches, e.g. `get control+profiles`. Each write of a `write` is a step of its own, as it is on DynamoDB:
    an exception from `before` means that the step did not happen, one from `after` that it did and the caller died.
    Hooks may use the database: what they write lies between the steps of others.

    `trouble` may throttle single writes, or lose their answers. `order` says in which order the writes of one call are
    applied; writes of one key keep theirs.

    `steps` keeps the names of all steps that happened, `lost_races` the number of writes by table that were refused
    because their expectation did not hold, `read_units` and `write_units` what DynamoDB would charge.
    """

    def __init__(
        self,
        *,
        before: Callable[[str], None] = _nothing,
        after: Callable[[str], None] = _nothing,
        trouble: Callable[[Write], Trouble | None] = _no_trouble,
        order: Callable[[int], Sequence[int]] = _in_order,
    ) -> None:
        self.before = before
        self.after = after
        self.trouble = trouble
        self.order = order
        self.steps: list[str] = []
        self.lost_races: Counter[Table] = Counter()
        self.read_units: Counter[Table] = Counter()
        self.write_units: Counter[Table] = Counter()
        self._interruptions: list[tuple[str, Callable[[], object]]] = []
        self._items: dict[Key, Item] = {}
        self._sizes: dict[Key, int] = {}
        self._sorted: dict[tuple[Table, str], list[str]] = {}
        self._lock = threading.Lock()

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        for key in keys:
            check_key(key)
        if not keys:
            return []
        step = self._begin("get", {key.table for key in keys})
        with self._lock:
            for key in set(keys):
                self.read_units[key.table] += _units(self._size(key), 4096)
            found = [dict(self._items[key]) if key in self._items else None for key in keys]
        self.after(step)
        return found

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
        check_key(Key(table, pk, prefix or after or "?"))
        if limit is not None and limit <= 0:
            return []
        step = self._begin("query", {table})
        with self._lock:
            keys = self._sorted.get((table, pk), [])
            start = max(bisect_right(keys, after) if after else 0, bisect_left(keys, prefix))
            end = min(
                bisect_right(keys, until) if until else len(keys),
                bisect_right(keys, prefix + HIGHEST) if prefix else len(keys),
            )
            within = keys[start:end][::-1] if newest_first else keys[start:end]
            asked = [Key(table, pk, sk) for sk in within[:limit]]
            found = [dict(self._items[key]) for key in asked]
            self.read_units[table] += _units(sum(map(self._size, asked)), 4096)
        self.after(step)
        return found

    def scan(self, table: Table, *, after: str = "", limit: int) -> tuple[list[Item], str]:
        step = self._begin("scan", {table})
        with self._lock:
            keys = sorted(key for key in self._items if key.table is table and key.pk > after)[:limit]
            self.read_units[table] += _units(sum(map(self._size, keys)), 4096)
            found = [dict(self._items[key]) for key in keys]
        self.after(step)
        return found, keys[-1].pk if len(keys) == limit else ""

    def write(self, writes: Sequence[Write]) -> list[bool]:
        for write in writes:
            check_write(write)
        applied = [False] * len(writes)
        troubles: list[Trouble] = []
        for index in self._order_of(writes):
            write = writes[index]
            step = self._begin("write", {write.key.table})
            trouble = self.trouble(write)
            if trouble is not None:
                troubles.append(trouble)
            if trouble is not Trouble.THROTTLED:
                # An addition travels as a transaction, so that it is not done twice.
                adds = isinstance(write, Update) and bool(write.add)
                applied[index] = self._apply_all([write], factor=2 if adds else 1) or self._is_gone(write)
            self.after(step)
        if troubles:
            raise Busy("throttled", "DynamoDB kept throttling statements")
        return applied

    def transact(self, writes: Sequence[Write]) -> bool:
        check_transaction(writes)
        step = self._begin("transact", {write.key.table for write in writes})
        troubles = {self.trouble(write) for write in writes}
        applied = Trouble.THROTTLED not in troubles and self._apply_all(writes, factor=2)
        self.after(step)
        if troubles != {None}:
            raise Busy("busy", "DynamoDB kept refusing a transaction for conflicts or throttling")
        return applied

    def interrupt(self, step: str, action: Callable[[], object]) -> None:
        """Do something once, right before the next step whose name begins so."""
        self._interruptions.append((step, action))

    def _order_of(self, writes: Sequence[Write]) -> list[int]:
        """Return the indices in the order of `order`, those of one key among themselves in the order given."""
        asked = list(self.order(len(writes)))
        assert sorted(asked) == list(range(len(writes)))
        waiting: dict[Key, list[int]] = {}
        for index in reversed(range(len(writes))):
            waiting.setdefault(writes[index].key, []).append(index)
        return [waiting[writes[index].key].pop() for index in asked]

    def _begin(self, operation: str, tables: set[Table]) -> str:
        step = _name(operation, frozenset(tables))
        for interruption in [one for one in self._interruptions if step.startswith(one[0])]:
            if interruption in self._interruptions:
                self._interruptions.remove(interruption)
                interruption[1]()
        self.before(step)
        self.steps.append(step)
        return step

    def _apply_all(self, writes: Sequence[Write], *, factor: int) -> bool:
        with self._lock:
            new = {write.key: self._after(write) for write in writes}
            sizes = {key: 0 if item is None else size_of(item) for key, item in new.items()}
            for key, size in sizes.items():
                self.write_units[key.table] += factor * _units(max(self._size(key), size), 1024)
            refused = [write for write in writes if not _holds(write.expect, self._items.get(write.key))]
            self.lost_races.update(write.key.table for write in refused)
            if refused:
                return False
            for key, size in sizes.items():
                if size > MAX_ITEM_BYTES:
                    raise ValueError(f"an item of {key.table.value} is larger than 400 KB")
            for key, item in new.items():
                self._store(key, item)
            self._sizes |= sizes
            return True

    def _is_gone(self, write: Write) -> bool:
        """Return whether a refused write is a deletion of what is not there, which takes a look."""
        if not isinstance(write, Delete):
            return False
        with self._lock:
            self.read_units[write.key.table] += _units(self._size(write.key), 4096)
            return write.key not in self._items

    def _after(self, write: Write) -> Item | None:
        key = write.key
        own: Item = {"pk": key.pk, "sk": key.sk} if key.sk else {"pk": key.pk}
        if isinstance(write, Put):
            return own | write.item
        if not isinstance(write, Update):
            return None
        item = dict(self._items.get(key, own)) | write.put
        for name, amount in write.add.items():
            old = item.get(name, 0)
            if isinstance(old, bool) or not isinstance(old, int):
                raise TypeError(f"{name} is not a number")
            item[name] = old + amount
        return item

    def _store(self, key: Key, item: Item | None) -> None:
        is_there, sorted_keys = key in self._items, self._sorted.setdefault((key.table, key.pk), [])
        if item is None:
            self._items.pop(key, None)
            self._sizes.pop(key, None)
        else:
            self._items[key] = item
        if key.table in SORTED_TABLES and is_there != (item is not None):
            insort(sorted_keys, key.sk) if item is not None else sorted_keys.remove(key.sk)

    def _size(self, key: Key) -> int:
        return self._sizes.get(key, 0)

    # For asserts: these are no steps and run no hooks.

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Key) -> bool:
        return key in self._items

    def __getitem__(self, key: Key) -> Item:
        """Return a copy of an item; KeyError when it is not there."""
        return dict(self._items[key])

    def items(self, table: Table, pk: str | None = None) -> Iterator[Item]:
        """Yield copies of the items of a table (or of one partition), sorted by key."""
        for key in sorted(self._items, key=lambda key: (key.pk, key.sk)):
            if key.table is table and pk in (None, key.pk):
                yield dict(self._items[key])

    def snapshot(self) -> dict[Key, Item]:
        """Return copies of everything, to compare two states."""
        return {key: dict(item) for key, item in self._items.items()}

    def steps_on(self, table: Table, operation: str = "write") -> int:
        """Count the steps of one operation that touched a table."""
        return sum(
            step.startswith(f"{operation} ") and table.value in step.split(" ")[1].split("+") for step in self.steps
        )

    def forget_units(self) -> None:
        """Begin to count units and lost races again."""
        for counts in (self.read_units, self.write_units, self.lost_races):
            counts.clear()


@cache
def _name(operation: str, tables: frozenset[Table]) -> str:
    return f"{operation} {'+'.join(sorted(table.value for table in tables))}"


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))


def _holds(expect: Expectation, item: Item | None) -> bool:
    for name, wanted in expect.items():
        value = None if item is None else item.get(name)
        if wanted is ABSENT:
            if value is not None:
                return False
        elif value is None or type(value) is not type(wanted) or value != wanted:
            return False
    return True
