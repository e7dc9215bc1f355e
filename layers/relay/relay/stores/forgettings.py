"""What was removed of people who were forgotten, and what became of them at the destinations.

One item per profile and forgetting (pk `forgetting#profile`, sk the time): counts by what they are of. It holds no
personal data: the profile's id is a keyed hash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from relay.domain import moments
from relay.domain.profiles import Forgotten, Profile
from relay.stores.database import ABSENT, Database, Item, Key, Table, Update

FORMAT: Final = 1

KEPT: Final = timedelta(days=90)
"""How long the record of a forgetting is kept."""

AT_MOST: Final = timedelta(days=28)
"""How long an export that is paused, stopped or invalid is waited for: a request has to be met within a month.
https://gdpr-info.eu/art-12-gdpr/"""

_COUNT: Final = "count "


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Counts by what was removed, e.g. `index`, or by `export` and what became of its identities; and when it ended."""

    removed: Mapping[str, int] = field(default_factory=dict)
    departures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many identities of an export (its key) have ended how: left, deleted, kept, shared, or refused:<code>."""
    ended_at: datetime | None = None


def load(database: Database, profile: str, forgotten: Forgotten) -> Forgetting:
    """Return what is known of a forgetting."""
    item = database.get([_key(profile, forgotten)])[0] or {}
    counts = {name.removeprefix(_COUNT): int(number) for name, number in item.items() if name.startswith(_COUNT)}
    ended_at = str(item.get("ended_at", ""))
    return Forgetting(
        removed={name: number for name, number in counts.items() if " " not in name},
        departures={_departure(name): number for name, number in counts.items() if " " in name},
        ended_at=moments.parse(ended_at) if ended_at else None,
    )


def counted(profile: str, forgotten: Forgotten, removed: Mapping[str, int]) -> Update:
    """Return the write that adds counts, for the transaction that removes what they count."""
    return _update(profile, forgotten, {f"{_COUNT}{name}": number for name, number in removed.items()})


def departed(profile: str, forgotten: Forgotten, export: str, departures: Mapping[str, int]) -> Update:
    """Return the write that counts identities of an export (its key) by how they ended; as `counted`."""
    return counted(profile, forgotten, {f"{export} {how}": number for how, number in departures.items()})


def end(database: Database, profile: str, forgotten: Forgotten, now: datetime) -> None:
    """Note that nothing more is to be done; noted again, the first time stays."""
    ended = {**_rest(forgotten), "ended_at": moments.text(now)}
    database.write([Update(_key(profile, forgotten), ended, expect={"ended_at": ABSENT})])


def to_be_deleted(database: Database, people: Sequence[Profile], now: datetime) -> set[str]:
    """Return the ids of profiles that came back before they were deleted at the destinations, where that was asked.

    Until that forgetting has ended they count as forgotten, whatever came since.
    """
    asked = {
        one.id: [_key(known_by, one.forgotten) for known_by in (one.id, *sorted(one.joined))]
        for one in people
        if one.forgotten is not None
        and one.forgotten.at_destinations
        and not one.is_tombstone
        and now - one.forgotten.at < AT_MOST
    }
    keys = list(dict.fromkeys(key for of_one in asked.values() for key in of_one))
    found = dict(zip(keys, database.get(keys), strict=True)) if keys else {}
    # It may have ended under an id that became an alias of this one since.
    ended = {key for key, item in found.items() if item is not None and "ended_at" in item}
    return {one for one, of_one in asked.items() if ended.isdisjoint(of_one)}


def _update(profile: str, forgotten: Forgotten, add: Mapping[str, int]) -> Update:
    return Update(_key(profile, forgotten), _rest(forgotten), add)


def _rest(forgotten: Forgotten) -> Item:
    return {"format": FORMAT, "expires_at": int((forgotten.at + KEPT).timestamp())}


def _departure(name: str) -> tuple[str, str]:
    export, _, how = name.partition(" ")
    return export, how


def _key(profile: str, forgotten: Forgotten) -> Key:
    return Key(Table.CONTROL, f"forgetting#{profile}", moments.text(forgotten.at))
