"""Which version of a streaming export's settings already had its run."""

from dataclasses import dataclass
from datetime import datetime

from relay.domain import moments
from relay.stores.database import Database, Delete, Item, Key, Put, Table, write_one


@dataclass(frozen=True, slots=True)
class Activation:
    """The version that was activated, when, and whether its settling run has been started too."""

    version: int
    at: datetime
    settled: bool


def _key(export: str) -> Key:
    return Key(Table.CONTROL, f"activation#{export}", "latest")


def load(database: Database, export: str) -> Activation | None:
    """Return the last activation of an export."""
    item = database.get([_key(export)])[0]
    if item is None:
        return None
    return Activation(int(item["activated"]), moments.parse(str(item["at"])), bool(item["settled"]))


def save(database: Database, export: str, activation: Activation) -> None:
    """Keep an activation."""
    item: Item = {"activated": activation.version, "at": moments.text(activation.at), "settled": activation.settled}
    write_one(database, Put(_key(export), item))


def forget(database: Database, export: str) -> None:
    """Delete the activation of an export that is gone for good."""
    write_one(database, Delete(_key(export)))
