"""What the stores need of a database: consistent reads, sorted listings, small atomic groups of conditional writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Missing(Enum):
    """`ABSENT` in an expectation: the attribute (or the whole item) must not be there."""

    ABSENT = "absent"


ABSENT = Missing.ABSENT

Item = dict[str, str | int | bool | bytes]
"""A flat record; nested values are kept as JSON text by the module that owns them. None is never stored."""

Expectation = Mapping[str, str | int | bool | Missing]
"""Attributes that must be equal to the given values (or absent) at the moment of writing."""


class Table(Enum):
    """The stack's tables. `profiles` and `claims` have the key `pk` alone, the others `pk` and `sk`."""

    PROFILES = "profiles"
    SEGMENTS = "segments"
    DELIVERIES = "deliveries"
    CLAIMS = "claims"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Key:
    """Where an item lies; `sk` is empty in tables without a sort key."""

    table: Table
    pk: str
    sk: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole item (without its key attributes) if `expect` holds."""

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
    """Delete an item if `expect` holds; deleting what is not there is fine unless `expect` says otherwise."""

    key: Key
    expect: Expectation = field(default_factory=dict)


Write = Put | Update | Delete
Group = Sequence[Write]
"""Writes that happen all or not at all. At most 100, no key twice."""

MAX_GROUP = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""


class Database(Protocol):
    """The operations every store is made of. All reads are consistent reads."""

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return the items (with `pk` and `sk`) in the order of the keys, None where there is none."""
        ...

    def query(
        self, table: Table, pk: str, *, after: str = "", prefix: str = "", limit: int | None = None
    ) -> list[Item]:
        """Return items of one partition sorted by `sk`: those greater than `after` and starting with `prefix`."""
        ...

    def write(self, groups: Sequence[Group]) -> list[bool]:
        """Apply each group atomically and say, in order, which applied; False means an expectation did not hold."""
        ...


def write_one(database: Database, *writes: Write) -> bool:
    """Apply one atomic group; False when an expectation did not hold."""
    return database.write([writes])[0]
