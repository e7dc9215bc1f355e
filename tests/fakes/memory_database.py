"""The database in memory, with a hook around every step so that a simulation can crash or reorder them."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence

from relay.stores.database import ABSENT, Expectation, Group, Item, Key, Put, Table, Update, Write
from relay.stores.dynamodb import SORTED_TABLES, check_groups, check_key


def _nothing(step: str) -> None:
    """Let the step pass."""


class MemoryDatabase:
    """Keeps what `Database` promises.

    `before` and `after` are called around every step with its name: `get`, `query` or `write` and the tables it
    touches, e.g. `write control+profiles`. Every group of a `write` is a step of its own, as it is on DynamoDB: an
    exception from `before` means that the step did not happen, one from `after` that it did and the caller died.
    `steps` keeps the names of all steps that happened.
    """

    def __init__(self, *, before: Callable[[str], None] = _nothing, after: Callable[[str], None] = _nothing) -> None:
        self.before = before
        self.after = after
        self.steps: list[str] = []
        self._items: dict[Key, Item] = {}
        self._sorted: dict[tuple[Table, str], list[str]] = {}
        self._lock = threading.Lock()

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        for key in keys:
            check_key(key)
        step = self._begin("get", {key.table for key in keys})
        with self._lock:
            found = [dict(self._items[key]) if key in self._items else None for key in keys]
        self.after(step)
        return found

    def query(
        self, table: Table, pk: str, *, after: str = "", prefix: str = "", limit: int | None = None
    ) -> list[Item]:
        check_key(Key(table, pk, prefix or after or "?"))
        step = self._begin("query", {table})
        with self._lock:
            keys = self._sorted.get((table, pk), [])
            start = max(bisect_right(keys, after) if after else 0, bisect_left(keys, prefix))
            found: list[Item] = []
            for sk in keys[start : None if limit is None else start + max(limit, 0)]:
                if not sk.startswith(prefix):
                    break
                found.append(dict(self._items[Key(table, pk, sk)]))
        self.after(step)
        return found

    def write(self, groups: Sequence[Group]) -> list[bool]:
        check_groups(groups)
        applied = []
        for group in groups:
            step = self._begin("write", {write.key.table for write in group})
            with self._lock:
                holds = all(_holds(write.expect, self._items.get(write.key)) for write in group)
                if holds:
                    for write in group:
                        self._apply(write)
            applied.append(holds)
            self.after(step)
        return applied

    def _begin(self, operation: str, tables: set[Table]) -> str:
        step = f"{operation} {'+'.join(sorted(table.value for table in tables))}"
        self.before(step)
        self.steps.append(step)
        return step

    def _apply(self, write: Write) -> None:
        key = write.key
        own: Item = {"pk": key.pk, "sk": key.sk} if key.sk else {"pk": key.pk}
        if isinstance(write, Put):
            self._store(key, own | write.item)
        elif isinstance(write, Update):
            item = dict(self._items.get(key, own)) | write.put
            for name, amount in write.add.items():
                old = item.get(name, 0)
                if isinstance(old, bool) or not isinstance(old, int):
                    raise TypeError(f"{name} is not a number")
                item[name] = old + amount
            self._store(key, item)
        elif self._items.pop(key, None) is not None and key.table in SORTED_TABLES:
            self._sorted[key.table, key.pk].remove(key.sk)

    def _store(self, key: Key, item: Item) -> None:
        if key not in self._items and key.table in SORTED_TABLES:
            insort(self._sorted.setdefault((key.table, key.pk), []), key.sk)
        self._items[key] = item

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
        return sum(step.startswith(operation) and table.value in step.split(" ")[1] for step in self.steps)


def _holds(expect: Expectation, item: Item | None) -> bool:
    for name, wanted in expect.items():
        value = None if item is None else item.get(name)
        if wanted is ABSENT:
            if value is not None:
                return False
        elif value is None or type(value) is not type(wanted) or value != wanted:
            return False
    return True
