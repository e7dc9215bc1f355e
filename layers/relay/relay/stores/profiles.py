"""Profiles in DynamoDB: one item each (table `profiles`, pk the profile id), written over the version that was read.

An item is a profile, or an alias of one. Which of them wins when two profiles turn out to be one person, and in what
order that is written, is routing's (`relay.routing.write`); what holds whoever writes is here:

- A profile's item may become an alias, over the version that was read; an alias is never a profile again, and never of
  another one. A writer who read the profile before loses his condition, since versions only grow.
- Who writes an alias has seen its target stored as a profile.
- So there is no cycle: an id that was a profile once only ever points to a smaller id (routing keeps the smallest),
  and an id that never was one is pointed at by nobody.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from relay.domain.moments import from_microseconds, microseconds
from relay.domain.profiles import Alias, Forgotten, Membership, Profile, Register, Stamp
from relay.stores.database import ABSENT, Database, Item, Key, Put, Table, Update, Write, size_of

FORMAT: Final = 3
"""The version of the stored form. 1 had no receipts, and one time per value; 2 had each time at each value."""

MAX_BYTES: Final = 405_000
"""A little under the 400 KB (409,600 bytes) an item may have, names of attributes included.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

LONGEST_CHAIN: Final = 64
"""The most aliases between an id and its profile. Chains grow by one when a profile becomes an alias of a smaller one,
and ids are hashes: that happens to one of them a few times at most."""

Stored = Profile | Alias | None
"""What lies under an id."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Saved(Enum):
    """What became of a write."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    TOO_LARGE = "too large"


def items(database: Database, ids: Sequence[str]) -> dict[str, Item | None]:
    """Return the items under each id, for whom `version_of` may be enough to know."""
    ids = list(dict.fromkeys(ids))
    return dict(zip(ids, database.get([_key(profile_id) for profile_id in ids]), strict=True))


def of_item(item: Item | None) -> Stored:
    """Return what an item holds."""
    return None if item is None else _decode(item)


def version_of(item: Item | None) -> int:
    """Return how often what lies under an id was written, 0 where nothing does."""
    return 0 if item is None else int(item["version"])


def read(database: Database, ids: Sequence[str]) -> dict[str, Stored]:
    """Return what lies under each id."""
    return {profile_id: of_item(item) for profile_id, item in items(database, ids).items()}


def load(database: Database, profile_ids: Sequence[str]) -> list[Profile | None]:
    """Return the profiles in the order of their ids, None for those not stored and for aliases."""
    found = read(database, profile_ids)
    return [stored if isinstance(stored := found[one], Profile) else None for one in profile_ids]


def page(database: Database, after: str, limit: int) -> tuple[list[Item], str]:
    """Return a page of all items, aliases among them, after an id, and the id it ended at, empty at the end of all."""
    return database.scan(Table.PROFILES, after=after, limit=limit)


def follow(database: Database, ids: Iterable[str]) -> dict[str, Stored]:
    """Return what lies under the ids and, where that is an alias, under all it leads to.

    Raises RuntimeError for an alias of an alias of an alias without end, which is a defect.
    """
    found: dict[str, Stored] = {}
    wanted = set(ids)
    for _ in range(LONGEST_CHAIN):
        if not wanted:
            return found
        news = read(database, sorted(wanted))
        found |= news
        wanted = {stored.of for stored in news.values() if isinstance(stored, Alias)} - found.keys()
    raise RuntimeError("a chain of aliases is too long")


def root_of(profile_id: str, found: Mapping[str, Stored]) -> str:
    """Return the id of the profile that an id stands for, its own unless it is an alias; of what `follow` returned."""
    while isinstance(stored := found[profile_id], Alias):
        profile_id = stored.of
    return profile_id


def save(
    database: Database, profiles: Sequence[Profile], now: datetime, limits: Sequence[int] | None = None
) -> list[Saved]:
    """Write profiles as changed `now`, each over the version it was loaded with (0: it must not exist yet).

    CONFLICT means that somebody else wrote in between (or that the answer to our own write was lost): load again.
    TOO_LARGE profiles are not written: those of more bytes, as `size` counts, than their limit (MAX_BYTES).
    """
    outcome = [Saved.TOO_LARGE] * len(profiles)
    fitting: list[int] = []
    writes: list[Write] = []
    for index, profile in enumerate(profiles):
        item = _encode(profile, profile.version + 1, now)
        if _size(profile.id, item) <= (MAX_BYTES if limits is None else limits[index]):
            fitting.append(index)
            writes.append(_over(profile.version, _key(profile.id), item))
    for index, written in zip(fitting, database.write(writes), strict=True):
        outcome[index] = Saved.WRITTEN if written else Saved.CONFLICT
    return outcome


def touch(profile_id: str, version: int) -> Write:
    """Return the write after which nobody who has read this version of a profile can write it."""
    return Update(_key(profile_id), {"version": version + 1}, expect={"version": version})


def save_aliases(database: Database, aliases: Sequence[Alias]) -> list[bool]:
    """Write aliases, each over the version of what was read under its id (0: nothing); False where that has changed."""
    return database.write(
        [
            _over(
                alias.version,
                _key(alias.id),
                _item({"alias_of": alias.of, "changed_at": microseconds(alias.changed_at)}, alias.version + 1),
            )
            for alias in aliases
        ]
    )


def size(profile: Profile) -> int:
    """Return how many bytes a profile's item has when it is written; a few more than it may be."""
    return _size(profile.id, _encode(profile, profile.version + 1, _LATEST))


def _key(profile_id: str) -> Key:
    return Key(Table.PROFILES, profile_id)


def _over(version: int, key: Key, item: Item) -> Write:
    return Put(key, item, {"pk": ABSENT}) if version == 0 else Update(key, item, expect={"version": version})


def _item(document: Mapping[str, Any], version: int) -> Item:
    return {"format": FORMAT, "version": version, "doc": _text(document)}


def _size(profile_id: str, item: Item) -> int:
    return size_of(item) + len("pk") + len(profile_id)


class _Times:
    """The times of one profile, each written once: most of its values were set together."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self._places: dict[datetime, int] = {}

    def __call__(self, moment: datetime) -> int:
        """Return the place of a time in the list."""
        place = self._places.get(moment)
        if place is None:
            place = self._places[moment] = len(self.written)
            self.written.append(microseconds(moment))
        return place

    def of(self, registers: Mapping[str, Register]) -> dict[str, list[Any]]:
        """Return registers as value and places of their times: one place where a value has no time of its own."""
        found: dict[str, list[Any]] = {}
        last: Stamp | None = None
        places: list[int] = []
        for name, held in registers.items():
            _, at, received_at = held
            if last is None or at is not last[0] or received_at is not last[1]:
                last = at, received_at
                places = [self(at)] if at == received_at else [self(at), self(received_at)]
            found[name] = [held.value, *places]
        return found


def _encode(profile: Profile, version: int, changed_at: datetime | None) -> Item:
    place = _Times()
    document: dict[str, Any] = {
        "source": profile.source,
        "identities": place.of(profile.identities),
        "attributes": place.of(profile.attributes),
        "memberships": {
            segment: [int(held.realized), place(held.at), place(held.heard_at)]
            for segment, held in profile.memberships.items()
        },
        "times": place.written,
    }
    if profile.trace is not None:
        document["trace"] = profile.trace
    if profile.receipts:
        document["receipts"] = {one: place(first) for one, first in profile.receipts.items()}
    if profile.joined:
        document["joined"] = sorted(profile.joined)
    if profile.forgotten is not None:
        document["forgotten"] = [microseconds(profile.forgotten.at), int(profile.forgotten.at_destinations)]
    if profile.identities_floor is not None:
        document["identities_floor"] = list(map(place, profile.identities_floor))
    if profile.attributes_floor is not None:
        document["attributes_floor"] = list(map(place, profile.attributes_floor))
    if changed_at is not None:
        document["changed_at"] = microseconds(changed_at)
    return _item(document, version)


def _decode(item: Item) -> Profile | Alias:
    if item["format"] != FORMAT:
        raise ValueError(f"a profile is stored in form {int(item['format'])}, which this code does not read")
    profile_id, version = str(item["pk"]), int(item["version"])
    document = json.loads(str(item["doc"]))
    changed_at = from_microseconds(document["changed_at"]) if "changed_at" in document else None
    if "alias_of" in document:
        return Alias(profile_id, document["alias_of"], changed_at or _EPOCH, version)
    times = list(map(from_microseconds, document["times"]))
    return Profile(
        profile_id,
        document["source"],
        _registers(document["identities"], times),
        _floor(document.get("identities_floor"), times),
        _registers(document["attributes"], times),
        _floor(document.get("attributes_floor"), times),
        {
            segment: Membership(realized == 1, times[at], times[heard_at])
            for segment, (realized, at, heard_at) in document["memberships"].items()
        },
        {one: times[first] for one, first in document.get("receipts", {}).items()},
        frozenset(document.get("joined", ())),
        _forgotten(document.get("forgotten")),
        document.get("trace"),
        changed_at,
        version,
    )


def _forgotten(stored: Sequence[int] | None) -> Forgotten | None:
    return None if stored is None else Forgotten(from_microseconds(stored[0]), stored[1] == 1)


def _registers(stored: Mapping[str, Sequence[Any]], times: Sequence[datetime]) -> dict[str, Register]:
    return {name: Register(held[0], times[held[1]], times[held[-1]]) for name, held in stored.items()}


def _floor(stored: Sequence[int] | None, times: Sequence[datetime]) -> Stamp | None:
    return None if stored is None else (times[stored[0]], times[stored[1]])


_as_it_is = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_escaped = json.JSONEncoder(separators=(",", ":")).encode


def _text(document: Mapping[str, Any]) -> str:
    text = _as_it_is(document)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            # JSON may escape half a surrogate pair, which no UTF-8 text can hold: such values stay escaped.
            return _escaped(document)
    return text
