"""Profiles that were set aside because of a defect of ours: pk `defects#connection/export`, sk the profile's id.

An item of its own, because a profile's assignment may be the very thing that cannot be read or written.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from relay.domain import moments
from relay.stores.database import Database, Delete, Item, Key, Put, Table

FORMAT: Final = 1

KEPT = timedelta(days=90)
"""A profile that nobody looks at any more is forgotten after this."""

MOST_SHOWN = 1_000
"""How many profiles of an export are counted and shown."""


@dataclass(frozen=True, slots=True)
class Defect:
    """What went wrong with a profile: the exception's class, where it passed in our code, and which code that was.

    No message of an exception is kept: it may repeat personal data.
    """

    profile: str
    error: str
    places: tuple[str, ...]
    code: str
    at: datetime


def note(database: Database, export: str, defects: Iterable[Defect]) -> None:
    """Record profiles of an export (`connection/name`) as set aside; a later record replaces an earlier one."""
    database.write([Put(_key(export, defect.profile), _item(defect)) for defect in defects])


def forget(database: Database, export: str, profiles: Iterable[str]) -> None:
    """Delete records of profiles that went well since."""
    database.write([Delete(_key(export, profile)) for profile in profiles])


def forget_older(database: Database, export: str, than: datetime) -> None:
    """Delete records of before a run that has looked at everybody whom the export concerns."""
    old = [defect.profile for defect in of_export(database, export, MOST_SHOWN) if defect.at < than]
    forget(database, export, old)


def of_export(database: Database, export: str, most: int) -> list[Defect]:
    """Return the profiles set aside of an export, by id, not more than `most`."""
    return [_defect(item) for item in database.query(Table.CONTROL, _partition(export), limit=most)]


def load(database: Database, export: str, profiles: Sequence[str]) -> dict[str, Defect]:
    """Return those of the profiles that are set aside of an export."""
    items = database.get([_key(export, profile) for profile in profiles])
    return {profile: _defect(item) for profile, item in zip(profiles, items, strict=True) if item is not None}


def listing(database: Database, export: str, *, after: str = "", limit: int) -> list[Defect]:
    """Return the profiles set aside of an export, by id, those after a given id."""
    return [_defect(item) for item in database.query(Table.CONTROL, _partition(export), after=after, limit=limit)]


def _item(defect: Defect) -> Item:
    return {
        "format": FORMAT,
        "error": defect.error,
        "places": "\n".join(defect.places),
        "code": defect.code,
        "at": moments.text(defect.at),
        "expires_at": int((defect.at + KEPT).timestamp()),
    }


def _defect(item: Item) -> Defect:
    return Defect(
        profile=str(item["sk"]),
        error=str(item["error"]),
        places=tuple(str(item["places"]).splitlines()),
        code=str(item["code"]),
        at=moments.parse(str(item["at"])),
    )


def _partition(export: str) -> str:
    return f"defects#{export}"


def _key(export: str, profile: str) -> Key:
    return Key(Table.CONTROL, _partition(export), profile)
