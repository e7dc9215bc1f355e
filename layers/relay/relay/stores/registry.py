"""Every export there is or was, so that what a deleted one leaves behind can be found (pk `exports`, sk its key)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.domain import moments
from relay.stores.database import Database, Delete, Item, Key, Put, Table

FORMAT: Final = 1

_PK: Final = "exports"


@dataclass(frozen=True, slots=True)
class Registered:
    """One export (`connection/export`): since when it is missing (None while it is there).

    `bucket` is how far the removal of what it left has come: all buckets before it are empty.
    """

    key: str
    missing_since: datetime | None = None
    bucket: int = 0


def load(database: Database) -> dict[str, Registered]:
    """Return all registered exports by key."""
    items = database.query(Table.CONTROL, _PK)
    return {str(item["sk"]): _registered(item) for item in items}


def save(database: Database, registered: Registered) -> None:
    """Write what is known of an export."""
    since = registered.missing_since
    missing_since = "" if since is None else moments.text(since)
    item: Item = {"missing_since": missing_since, "bucket": registered.bucket, "format": FORMAT}
    database.write([Put(_place(registered.key), item)])


def forget(database: Database, key: str) -> None:
    """Delete an export's entry; nothing is left of it then."""
    database.write([Delete(_place(key))])


def _place(key: str) -> Key:
    return Key(Table.CONTROL, _PK, key)


def _registered(item: Item) -> Registered:
    since = str(item["missing_since"])
    return Registered(str(item["sk"]), moments.parse(since) if since else None, int(item["bucket"]))
