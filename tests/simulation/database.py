"""The database of a simulation: every change of an item is shown, and lost races are counted by what lost them."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from relay.stores.database import Item, Key, Table, Write
from tests.fakes.memory_database import MemoryDatabase, _holds

Changes = dict[Key, Item | None]
"""Items as they were before a write, by key."""


def _ignore(changes: Changes) -> None:
    """Look at nothing."""


class SimDatabase(MemoryDatabase):
    """`watch` sees every change after it was made; `races` counts writes whose expectation did not hold by kind."""

    def __init__(self, **hooks: Any) -> None:
        super().__init__(**hooks)
        self.watch: Callable[[Changes], None] = _ignore
        self.races: Counter[str] = Counter()
        self.partly_failed = 0
        """Calls that wrote some of their items, and others not."""
        self._control: dict[str, dict[str, None]] = {}
        """The partitions of the control table, by the first word of their keys."""

    def write(self, writes: Sequence[Write]) -> list[bool]:
        applied = super().write(writes)
        self.partly_failed += len(set(applied)) > 1
        return applied

    def _apply_all(self, writes: Sequence[Write], *, factor: int) -> bool:
        before = {write.key: self._items.get(write.key) for write in writes}
        applied = super()._apply_all(writes, factor=factor)
        if applied:
            self.watch(before)
        else:
            late = next(write for write in writes if not _holds(write.expect, self._items.get(write.key)))
            self.races[f"{what(late.key)}, by {_part()}"] += 1
        return applied

    def peek(self, key: Key) -> Item | None:
        """Return an item as it lies there, not to be changed; this is no step."""
        return self._items.get(key)

    def partition(self, table: Table, pk: str) -> list[Item]:
        """Return the items of a partition by `sk`, not to be changed; this is no step."""
        return [self._items[Key(table, pk, sk)] for sk in self._sorted.get((table, pk), ())]

    def of_table(self, table: Table) -> list[tuple[Key, Item]]:
        """Return the items of a table, not to be changed, in no order; this is no step."""
        return [(key, item) for key, item in self._items.items() if key.table is table]

    def control(self, *kinds: str) -> Iterator[tuple[Key, Item]]:
        """Yield the records of these kinds (`what` calls them), not to be changed; this is no step."""
        for kind in kinds:
            for pk in self._control.get(kind, ()):
                for sk in self._sorted[Table.CONTROL, pk]:
                    key = Key(Table.CONTROL, pk, sk)
                    yield key, self._items[key]

    def _store(self, key: Key, item: Item | None) -> None:
        super()._store(key, item)
        if key.table is Table.CONTROL:
            self._control.setdefault(key.pk.partition("#")[0], {})[key.pk] = None

    def expire(self, now: float) -> None:
        """Delete what has expired, as DynamoDB does some time later; this is no step."""
        for key, item in list(self._items.items()):
            expires_at = item.get("expires_at")
            if isinstance(expires_at, int) and expires_at < now:
                self._store(key, None)


def what(key: Key) -> str:
    """Return what kind of record lies at a key."""
    if key.table is not Table.CONTROL:
        return key.table.value
    kind = key.pk.partition("#")[0]
    return f"{kind} {key.sk.partition('#')[0]}" if kind == "run" else kind


def _part() -> str:
    """Return the part of the library that asked for the write: the innermost caller that is no store."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("relay.") and not module.startswith("relay.stores."):
            return f"{module.removeprefix('relay.')} {frame.f_code.co_qualname.rpartition('.')[2]}"
        frame = frame.f_back  # type: ignore[assignment]
    return "nobody"
