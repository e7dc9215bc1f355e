"""Segments in DynamoDB (table `segments`): who to look at per segment and bucket, and a catalogue of what was seen.

An index entry (pk `segment#bucket`, sk profile id) only means "look at this profile": the profile itself says whether
it is a member. A profile stored as a member always has its entry, because the entry is written first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.domain import moments
from relay.domain.keyed_hash import bucket_of
from relay.stores.database import ABSENT, Database, Item, Key, Put, Table, Update, Write

FORMAT: Final = 1
"""The version of the stored form of a catalogue entry. An index entry holds nothing but its key."""

_CATALOGUE: Final = "catalogue"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of the catalogue: its id `source/segment`, its display name where the platform sends one."""

    id: str
    name: str | None
    first_seen: datetime


def add(database: Database, entries: Iterable[tuple[str, str]]) -> None:
    """Add (segment, profile id) pairs to the index; those already there stay."""
    database.write([Put(_entry(segment, profile_id), {}) for segment, profile_id in dict.fromkeys(entries)])


def listing(database: Database, segment: str, bucket: int, *, after: str = "", limit: int | None = None) -> list[str]:
    """Return the profile ids to look at of one segment and bucket, sorted, those greater than `after`."""
    return [
        str(item["sk"])
        for item in database.query(Table.SEGMENTS, _partition(segment, bucket), after=after, limit=limit)
    ]


def known(database: Database, segments: Iterable[str]) -> set[str]:
    """Return those of the segments that the store has seen at least one member or leaver of."""
    asked = list(dict.fromkeys(segments))
    items = database.get([Key(Table.SEGMENTS, _CATALOGUE, segment) for segment in asked])
    return {segment for segment, item in zip(asked, items, strict=True) if item is not None}


def catalogue(database: Database) -> list[Segment]:
    """Return all segments ever seen, sorted by id."""
    return list(map(_segment, database.query(Table.SEGMENTS, _CATALOGUE)))


def load(database: Database, segment: str) -> Segment | None:
    """Return a segment of the catalogue, None for one that was never seen."""
    item = database.get([Key(Table.SEGMENTS, _CATALOGUE, segment)])[0]
    return None if item is None else _segment(item)


def name_of(database: Database, segment: str) -> str | None:
    """Return the platform's display name of a segment, None where it sent none."""
    item = database.get([Key(Table.SEGMENTS, _CATALOGUE, segment)])[0]
    return None if item is None or "name" not in item else str(item["name"])


def note(database: Database, segments: Mapping[str, str | None], now: datetime) -> None:
    """Put segments (id -> name, None where unknown) into the catalogue; a later name replaces an earlier one."""
    ids = list(segments)
    items = database.get([Key(Table.SEGMENTS, _CATALOGUE, segment) for segment in ids])
    writes: list[Write] = []
    for segment, item in zip(ids, items, strict=True):
        key, name = Key(Table.SEGMENTS, _CATALOGUE, segment), segments[segment]
        named = {} if name is None else {"name": name.encode(errors="replace").decode()}
        if item is None:
            # Two may see a segment first; whoever loses has nothing to add but a name, which comes again.
            writes.append(Put(key, {"format": FORMAT, "first_seen": moments.text(now), **named}, {"pk": ABSENT}))
        elif named and item.get("name") != named["name"]:
            writes.append(Update(key, {**named}))
    database.write(writes)


def _segment(item: Item) -> Segment:
    name = str(item["name"]) if "name" in item else None
    return Segment(str(item["sk"]), name, moments.parse(str(item["first_seen"])))


def _partition(segment: str, bucket: int) -> str:
    return f"{segment}#{bucket:02x}"


def _entry(segment: str, profile_id: str) -> Key:
    return Key(Table.SEGMENTS, _partition(segment, bucket_of(profile_id)), profile_id)
