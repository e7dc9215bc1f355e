"""Which version of a streaming export's settings already had its run."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.domain import moments
from relay.stores.database import Database, Delete, Item, Key, Put, Table

FORMAT: Final = 1


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
    at = moments.text(activation.at)
    item: Item = {"activated": activation.version, "at": at, "settled": activation.settled, "format": FORMAT}
    database.write([Put(_key(export), item)])


def forget(database: Database, export: str) -> None:
    """Delete the activation of an export that is gone for good."""
    database.write([Delete(_key(export))])
