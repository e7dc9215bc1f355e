"""Closed sets: all members of a segment at one time, in pages. Who is not named in any page has left. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from relay.domain.keyed_hash import BUCKETS

ID_BYTES: Final = 16
"""A profile id is a keyed hash of so many bytes."""

ENTRY_BYTES: Final = ID_BYTES + 1
"""How many bytes a profile takes in a page: its id and a `Kind`."""


class SetPage(NamedTuple):
    """Which page of which set a message of changes belongs to. `page` and `part` count from 1.

    A page may be cut into parts, since a request is cut into messages of limited size. The set is closed when all parts
    of all pages have come.
    """

    segment: str
    """`source/segment`."""
    set_id: str
    """The sender's own id of the set; the same in all of its pages."""
    page: int
    pages: int
    part: int = 1
    parts: int = 1


class Kind(IntEnum):
    """What a page did with a profile that the set names. Of several rows of one profile the greatest counts."""

    UNCHANGED = 0
    """It was a member before, and nothing of it was news."""
    UPDATED = 1
    """It was a member before; identities or attributes are news."""
    REJECTED = 2
    """It is named, but could not be stored."""
    ENTERED = 3
    """It was no member before."""


@dataclass(slots=True)
class Present:
    """Who a set names, and what its pages did with them: 17 bytes each, by bucket. Ids may come more than once."""

    _buckets: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in range(BUCKETS)])
    rows: int = 0
    """How many entries were added."""

    def add(self, page: bytes) -> None:
        """Add the entries of a page (see `packed`)."""
        for place in range(0, len(page), ENTRY_BYTES):
            self._buckets[page[place]] += page[place : place + ENTRY_BYTES]
        self.rows += len(page) // ENTRY_BYTES

    def names(self, profile: bytes) -> bool:
        """Return whether an id is among the entries."""
        entries = self._buckets[profile[0]]
        place = entries.find(profile)
        while place % ENTRY_BYTES and place >= 0:
            # Found across two entries.
            place = entries.find(profile, place + 1)
        return place >= 0

    def bucket(self, number: int) -> dict[bytes, int]:
        """Return the ids of one bucket and the greatest `Kind` of each."""
        entries, found = bytes(self._buckets[number]), dict[bytes, int]()
        for place in range(0, len(entries), ENTRY_BYTES):
            profile, kind = entries[place : place + ID_BYTES], entries[place + ID_BYTES]
            if kind >= found.get(profile, 0):
                found[profile] = kind
        return found


def packed(kinds: Iterable[tuple[str, Kind]]) -> bytes:
    """Return profile ids and kinds as the bytes of a page, sorted; ValueError for what is no id."""
    entries = sorted(bytes.fromhex(profile) + bytes([kind]) for profile, kind in kinds)
    if any(len(entry) != ENTRY_BYTES for entry in entries):
        raise ValueError(f"a profile id has {ID_BYTES} bytes")
    return b"".join(entries)


def unpacked(page: bytes) -> Iterator[tuple[str, Kind]]:
    """Yield the profile ids and kinds of a page."""
    for place in range(0, len(page), ENTRY_BYTES):
        yield page[place : place + ID_BYTES].hex(), Kind(page[place + ID_BYTES])
