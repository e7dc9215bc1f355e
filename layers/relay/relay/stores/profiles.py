"""Profiles in DynamoDB: one item each (table `profiles`, pk the profile id), written over the version that was read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Any

from relay.domain import moments
from relay.domain.profiles import Membership, Profile, Register
from relay.stores.database import Database, Item, Key, Put, Table
from relay.stores.documents import unchanged_since

MAX_BYTES = 390_000
"""A little under the 400 KB an item may have, names of attributes included.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


class Saved(Enum):
    """What became of a write."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    TOO_LARGE = "too large"


def load(database: Database, profile_ids: Sequence[str]) -> list[Profile | None]:
    """Return the profiles in the order of their ids, None for those not stored."""
    items = database.get([_key(profile_id) for profile_id in profile_ids])
    return [None if item is None else _decode(item) for item in items]


def save(database: Database, profiles: Sequence[Profile], now: datetime) -> list[Saved]:
    """Write profiles as changed `now`, each over the version it was loaded with (0: it must not exist yet).

    CONFLICT means that somebody else wrote in between (or that the answer to our own write was lost): load again.
    TOO_LARGE profiles are not written.
    """
    items = [_encode(replace(profile, changed_at=now, version=profile.version + 1)) for profile in profiles]
    outcome = [Saved.TOO_LARGE if _size(item) > MAX_BYTES else Saved.CONFLICT for item in items]
    fitting = [index for index, saved in enumerate(outcome) if saved is not Saved.TOO_LARGE]
    groups = [
        [Put(_key(profiles[index].id), items[index], unchanged_since(profiles[index].version))] for index in fitting
    ]
    for index, written in zip(fitting, database.write(groups), strict=True):
        if written:
            outcome[index] = Saved.WRITTEN
    return outcome


def _key(profile_id: str) -> Key:
    return Key(Table.PROFILES, profile_id)


def _encode(profile: Profile) -> Item:
    item: Item = {
        "source": profile.source,
        "version": profile.version,
        "identities": _json({name: [held.value, moments.text(held.at)] for name, held in profile.identities.items()}),
        "attributes": _json({name: [held.value, moments.text(held.at)] for name, held in profile.attributes.items()}),
        "memberships": _json(
            {
                segment: [held.realized, moments.text(held.at), moments.text(held.heard_at)]
                for segment, held in profile.memberships.items()
            }
        ),
    }
    times = {
        "identities_floor": profile.identities_floor,
        "attributes_floor": profile.attributes_floor,
        "changed_at": profile.changed_at,
    }
    return item | {name: moments.text(time) for name, time in times.items() if time is not None}


def _decode(item: Item) -> Profile:
    return Profile(
        id=str(item["pk"]),
        source=str(item["source"]),
        identities=_registers(item["identities"]),
        identities_floor=_time(item, "identities_floor"),
        attributes=_registers(item["attributes"]),
        attributes_floor=_time(item, "attributes_floor"),
        memberships={
            segment: Membership(realized, moments.parse(at), moments.parse(heard_at))
            for segment, (realized, at, heard_at) in json.loads(str(item["memberships"])).items()
        },
        changed_at=_time(item, "changed_at"),
        version=int(item["version"]),
    )


def _registers(text: object) -> dict[str, Register]:
    return {name: Register(value, moments.parse(at)) for name, (value, at) in json.loads(str(text)).items()}


def _time(item: Item, name: str) -> datetime | None:
    return moments.parse(str(item[name])) if name in item else None


def _json(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # JSON may escape half a surrogate pair, which no UTF-8 text can hold: such values stay escaped.
        return json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text


def _size(item: Item) -> int:
    return 64 + sum(len(name) + (len(value.encode()) if isinstance(value, str) else 21) for name, value in item.items())
