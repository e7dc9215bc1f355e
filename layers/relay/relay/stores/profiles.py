"""Profiles in DynamoDB: one item each (table `profiles`, pk the profile id), written over the version that was read.

An item is a profile, or an alias of one (`alias_of`). Which of them wins when two profiles turn out to be one person,
and in what order that is written, is routing's (`relay.routing`); what holds whoever writes is here:

- A profile's item may become an alias, over the version that was read; an alias is never a profile again. A writer who
  read the profile before loses his condition, since versions only grow.
- Who writes an alias has seen its target stored as a profile.
- So there is no cycle: an id that was a profile once only ever points to a smaller id (routing keeps the smallest),
  and an id that never was one is pointed at by nobody.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from relay.domain import moments
from relay.domain.profiles import Alias, Membership, Profile, Register, Stamp
from relay.stores.database import Database, Item, Key, Put, Table
from relay.stores.documents import unchanged_since

FORMAT = 2
"""The version of the stored form. 1 had no receipts, and one time per value."""

MAX_BYTES = 405_000
"""A little under the 400 KB (409,600 bytes) an item may have, names of attributes included.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

LONGEST_CHAIN = 64
"""The most aliases between an id and its profile. Chains grow by one when a profile becomes an alias of a smaller one,
and ids are hashes: that happens to one of them a few times at most."""

Stored = Profile | Alias | None
"""What lies under an id."""

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Saved(Enum):
    """What became of a write."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    TOO_LARGE = "too large"


def read(database: Database, ids: Sequence[str]) -> dict[str, Stored]:
    """Return what lies under each id."""
    ids = list(dict.fromkeys(ids))
    items = database.get([_key(profile_id) for profile_id in ids])
    return {profile_id: None if item is None else _decode(item) for profile_id, item in zip(ids, items, strict=True)}


def load(database: Database, profile_ids: Sequence[str]) -> list[Profile | None]:
    """Return the profiles in the order of their ids, None for those not stored and for aliases."""
    found = read(database, profile_ids)
    return [stored if isinstance(stored := found[one], Profile) else None for one in profile_ids]


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
    items = [_encode(replace(profile, changed_at=now, version=profile.version + 1)) for profile in profiles]
    most = [MAX_BYTES] * len(items) if limits is None else limits
    outcome = [
        Saved.TOO_LARGE if _size(item) > limit else Saved.CONFLICT for item, limit in zip(items, most, strict=True)
    ]
    fitting = [index for index, saved in enumerate(outcome) if saved is not Saved.TOO_LARGE]
    groups = [
        [Put(_key(profiles[index].id), items[index], unchanged_since(profiles[index].version))] for index in fitting
    ]
    for index, written in zip(fitting, database.write(groups), strict=True):
        if written:
            outcome[index] = Saved.WRITTEN
    return outcome


def save_aliases(database: Database, aliases: Sequence[Alias]) -> list[bool]:
    """Write aliases, each over the version of what was read under its id (0: nothing); False where that has changed."""
    return database.write(
        [
            [
                Put(
                    _key(alias.id),
                    {
                        "format": FORMAT,
                        "alias_of": alias.of,
                        "changed_at": moments.text(alias.changed_at),
                        "version": alias.version + 1,
                    },
                    unchanged_since(alias.version),
                )
            ]
            for alias in aliases
        ]
    )


def size(profile: Profile) -> int:
    """Return how many bytes a profile's item has."""
    return _size(_encode(profile))


def _key(profile_id: str) -> Key:
    return Key(Table.PROFILES, profile_id)


def _encode(profile: Profile) -> Item:
    item: Item = {
        "format": FORMAT,
        "source": profile.source,
        "version": profile.version,
        "identities": _json({name: _register(held) for name, held in profile.identities.items()}),
        "attributes": _json({name: _register(held) for name, held in profile.attributes.items()}),
        "memberships": _json(
            {
                segment: [held.realized, moments.text(held.at), moments.text(held.heard_at)]
                for segment, held in profile.memberships.items()
            }
        ),
    }
    if profile.receipts:
        # Microseconds: sixteen of them lie in every profile of some sources.
        item["receipts"] = _json({one: (first - _EPOCH) // _MICROSECOND for one, first in profile.receipts.items()})
    floors = {"identities_floor": profile.identities_floor, "attributes_floor": profile.attributes_floor}
    item |= {name: _json(list(map(moments.text, floor))) for name, floor in floors.items() if floor is not None}
    return item if profile.changed_at is None else item | {"changed_at": moments.text(profile.changed_at)}


def _decode(item: Item) -> Profile | Alias:
    changed_at = moments.parse(str(item["changed_at"])) if "changed_at" in item else None
    if "alias_of" in item and changed_at is not None:
        return Alias(str(item["pk"]), str(item["alias_of"]), changed_at, int(item["version"]))
    return Profile(
        id=str(item["pk"]),
        source=str(item["source"]),
        identities=_registers(item["identities"]),
        identities_floor=_floor(item, "identities_floor"),
        attributes=_registers(item["attributes"]),
        attributes_floor=_floor(item, "attributes_floor"),
        memberships={
            segment: Membership(realized, moments.parse(at), moments.parse(heard_at))
            for segment, (realized, at, heard_at) in json.loads(str(item["memberships"])).items()
        },
        receipts={
            one: _EPOCH + first * _MICROSECOND for one, first in json.loads(str(item.get("receipts", "{}"))).items()
        },
        changed_at=changed_at,
        version=int(item["version"]),
    )


_MICROSECOND = timedelta(microseconds=1)


def _register(held: Register) -> list[Any]:
    times = (held.at,) if held.at == held.received_at else held.stamp
    return [held.value, *map(moments.text, times)]


def _registers(text: object) -> dict[str, Register]:
    return {
        name: Register(value, moments.parse(times[0]), moments.parse(times[-1]))
        for name, (value, *times) in json.loads(str(text)).items()
    }


def _floor(item: Item, name: str) -> Stamp | None:
    if name not in item:
        return None
    at, received_at = map(moments.parse, json.loads(str(item[name])))
    return at, received_at


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # JSON may escape half a surrogate pair, which no UTF-8 text can hold: such values stay escaped.
        return json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text


def _size(item: Item) -> int:
    return 64 + sum(len(name) + (len(value.encode()) if isinstance(value, str) else 21) for name, value in item.items())
