"""Waits: what is to be looked at again at a due time. One small item each, read once when it is due.

pk `waits#n` (16 partitions, so that many waits at once do not meet one partition's limit), sk due time and what waits.
An entry too many is a look in vain; the same wait written twice is one item.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from zlib import crc32

from relay.domain import moments
from relay.stores.database import Database, Delete, Key, Put, Table

PARTITIONS: Final = 16
READ_AT_ONCE: Final = 500
"""The most waits of one partition that one look at the list takes."""


class IdentityWait(NamedTuple):
    """An identity record of a connection."""

    due: datetime
    connection: str
    key: str


class ConfirmWait(NamedTuple):
    """An identity record of a connection whose last call ended as unconfirmed: the destination is asked again."""

    due: datetime
    connection: str
    key: str


class OutstandingWait(NamedTuple):
    """A record of outstanding profiles of a run."""

    due: datetime
    run: str
    record: str


class ForgetWait(NamedTuple):
    """A profile of a source that was forgotten: what is left of it is looked for."""

    due: datetime
    source: str
    profile: str


class SegmentWait(NamedTuple):
    """A whole segment that came as files or pages. `about` is the id of its import or closed set.

    It is empty where the files of the segment (`source/segment`) are to be looked at.
    """

    due: datetime
    about: str
    segment: str = ""


Wait = IdentityWait | ConfirmWait | OutstandingWait | ForgetWait | SegmentWait


def put(database: Database, waits: Iterable[Wait]) -> None:
    """Write waits."""
    database.write([Put(place, {}) for place in _places(waits)])


def due(database: Database, now: datetime) -> Iterator[list[Wait]]:
    """Yield the waits that are due, of one partition after the other, oldest first."""
    # The due time is followed by "#": "$" comes right after it.
    last = f"{moments.text(now)}$"
    for number in range(PARTITIONS):
        items = database.query(Table.CONTROL, f"waits#{number:02d}", until=last, limit=READ_AT_ONCE)
        if items:
            yield [_wait(str(item["sk"])) for item in items]


def drop(database: Database, waits: Iterable[Wait]) -> None:
    """Delete waits."""
    database.write([Delete(place) for place in _places(waits)])


def _places(waits: Iterable[Wait]) -> list[Key]:
    """Return where waits lie, each place once. Waits of different kinds may be equal as tuples, but lie apart."""
    return list(dict.fromkeys(map(_place, waits)))


def _place(wait: Wait) -> Key:
    what = "#".join((_WORDS[type(wait)], *wait[1:]))
    partition = f"waits#{crc32(what.encode()) % PARTITIONS:02d}"
    return Key(Table.CONTROL, partition, f"{moments.text(wait.due)}#{what}")


_WORDS: Final[Mapping[type[Wait], str]] = {
    IdentityWait: "identity",
    ConfirmWait: "confirm",
    OutstandingWait: "outstanding",
    ForgetWait: "forget",
    SegmentWait: "segment",
}
_KINDS: Final = {word: kind for kind, word in _WORDS.items()}


def _wait(text: str) -> Wait:
    due, word, first, second = text.split("#", 3)
    return _KINDS[word](moments.parse(due), first, second)
