"""What the stores need of a database: consistent reads, sorted listings, and conditional writes of single items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple, Protocol


class Missing(Enum):
    """`ABSENT` in an expectation: the attribute (or the whole item) must not be there."""

    ABSENT = "absent"


ABSENT = Missing.ABSENT

Item = dict[str, str | int | bool | bytes]
"""A flat record; nested values are kept as JSON text by the module that owns them. None is never stored."""

Expectation = Mapping[str, str | int | bool | Missing]
"""Attributes that must be equal to the given values (or absent) at the moment of writing.

Of the key's own attributes `{"pk": ABSENT}` says that there is no item, and their own value that there is one.
"""


class Table(StrEnum):
    """The stack's tables. `profiles` and `identities` have the key `pk` alone, the others `pk` and `sk`."""

    PROFILES = "profiles"
    SEGMENTS = "segments"
    ASSIGNMENTS = "assignments"
    IDENTITIES = "identities"
    CONTROL = "control"

    # Keys are hashed by the million; Enum's own way takes a function of Python.
    __hash__ = object.__hash__


SORTED_TABLES = frozenset({Table.SEGMENTS, Table.ASSIGNMENTS, Table.CONTROL})
"""The tables whose key is `pk` and `sk`."""


class Key(NamedTuple):
    """Where an item lies; `sk` is empty in tables without a sort key."""

    table: Table
    pk: str
    sk: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole item (without its key attributes), whatever is there; with `{"pk": ABSENT}` only where none is."""

    key: Key
    item: Item
    expect: Expectation = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update:
    """Set attributes and add to counters (absent counts as 0) if `expect` holds; makes the item if absent."""

    key: Key
    put: Item = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)
    expect: Expectation = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an item if `expect` holds.

    A `write` counts what is not there as deleted, whatever was expected; in a `transact` the expectation counts.
    """

    key: Key
    expect: Expectation = field(default_factory=dict)


Write = Put | Update | Delete

MAX_TRANSACTION = 100
"""Writes of one transaction. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""

MAX_TRANSACTION_BYTES = 4_000_000
"""A little less than the 4 MB of all items, since keys are not counted here."""

MAX_ITEM_BYTES = 400 * 1024
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items"""


class Database(Protocol):
    """The operations every store is made of. All reads are consistent reads. All methods raise Busy."""

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items (with `pk` and `sk`) in the order of the keys, None where there is none."""
        ...

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
        """Return items of one partition by `sk`: greater than `after`, at most `until`, starting with `prefix`.

        They are sorted by `sk`, upwards or, with `newest_first`, downwards.
        """
        ...

    def scan(self, table: Table, *, after: str = "", limit: int) -> tuple[list[Item], str]:
        """Return a page of a table without sort key: the items after the key `after`, and the key it ended at.

        The order is the table's own, and stays the same. The key is empty where the table has ended. A page may hold
        fewer items than its limit, or none.
        """
        ...

    def write(self, writes: Sequence[Write]) -> list[bool]:
        """Apply each write by itself and say, in order, which applied; False means an expectation did not hold.

        Writes of one key are applied in the order given. After Busy some may have been applied.
        """
        ...

    def transact(self, writes: Sequence[Write]) -> bool:
        """Apply writes of different keys all or not at all; False when an expectation did not hold.

        Costs twice the write units: for what truly belongs together, and for counters, to which nothing may be added
        twice.
        """
        ...


def check_key(key: Key) -> None:
    """Refuse, with ValueError, a key that does not fit its table."""
    if not key.pk or bool(key.sk) != (key.table in SORTED_TABLES):
        raise ValueError(f"a key does not fit the table {key.table.value}")


def check_write(write: Write) -> None:
    """Refuse, with ValueError, what no database may be asked to do: these are defects, whatever is stored.

    An item of more than `MAX_ITEM_BYTES` is one of them, as far as the write shows it.
    """
    key, expect = write.key, write.expect
    check_key(key)
    table = key.table.value
    for name, value in (("pk", key.pk), ("sk", key.sk)):
        if name in expect and expect[name] not in (ABSENT, value):
            raise ValueError(f"a write to {table} expects another key than its own")
    item: Mapping[str, object] = {}
    if isinstance(write, Put):
        if expect and dict(expect) != {"pk": ABSENT}:
            raise ValueError(f"a put to {table} expects more than that there is no item: update it")
        item = write.item
    elif isinstance(write, Update):
        if not write.put and not write.add:
            raise ValueError(f"an update of {table} changes nothing")
        if write.add and write.put.keys() & write.add.keys():
            raise ValueError(f"an update of {table} sets and adds to the same attribute")
        item = {**write.put, **write.add} if write.add else write.put
    if "pk" in item or "sk" in item:
        raise ValueError(f"a write to {table} names a key attribute in its item")
    if size_of(item) > MAX_ITEM_BYTES - len(key.pk.encode()) - len(key.sk.encode()) - len("pksk"):
        raise ValueError(f"an item of {table} is larger than 400 KB")


def size_of(item: Mapping[str, object]) -> int:
    """Return the bytes that DynamoDB counts for attributes; of a number its documented upper bound.

    ValueError for a value of an unknown type.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    size = 0
    for name, value in item.items():
        size += len(name)
        if isinstance(value, str):
            size += len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
        elif isinstance(value, bool):
            size += 1
        elif isinstance(value, int):
            size += (len(str(abs(value))) + 1) // 2 + (1 if value >= 0 else 2)
        elif isinstance(value, bytes):
            size += len(value)
        else:
            raise ValueError(f"the attribute {name} has values of unknown type")
    return size


def check_transaction(writes: Sequence[Write]) -> None:
    """Refuse, with ValueError, a transaction that is empty, too large, or writes a key twice."""
    if not 0 < len(writes) <= MAX_TRANSACTION:
        raise ValueError(f"a transaction has 1 to {MAX_TRANSACTION} writes, not {len(writes)}")
    if len({write.key for write in writes}) < len(writes):
        raise ValueError("a transaction writes a key twice")
    size = 0
    for write in writes:
        check_write(write)
        if not isinstance(write, Delete):
            size += size_of(write.item if isinstance(write, Put) else write.put)
    if size > MAX_TRANSACTION_BYTES:
        raise ValueError("a transaction is larger than 4 MB")
