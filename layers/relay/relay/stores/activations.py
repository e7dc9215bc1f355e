"""Which version of a streaming export's settings had its run (pk `activation#export`, sk `latest`)."""

from typing import Final

from relay.stores.database import Database, Delete, Key, Put, Table

FORMAT: Final = 1


def load(database: Database, export: str) -> int | None:
    """Return the version that was activated last."""
    item = database.get([_key(export)])[0]
    return None if item is None else int(item["activated"])


def save(database: Database, export: str, version: int) -> None:
    """Keep the version that was activated."""
    database.write([Put(_key(export), {"activated": version, "format": FORMAT})])


def forget(database: Database, export: str) -> None:
    """Delete the activation of an export that is gone for good."""
    database.write([Delete(_key(export))])


def _key(export: str) -> Key:
    return Key(Table.CONTROL, f"activation#{export}", "latest")
